#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "gateway-bridge/link/denied.h"

#define A "eu868/gateway/a/event/up"
#define B "eu868/gateway/b/event/up"

static int setup(void **state)
{
	static struct gb_denied d;
	gb_denied_init(&d);
	*state = &d;
	return 0;
}

static int teardown(void **state)
{
	gb_denied_deinit(*state);
	return 0;
}

/* Nothing is taken: whatever is tried, and however often, it waits. */
static void test_all(void **state)
{
	struct gb_denied *d = *state;
	assert_false(gb_denied_any(d));
	assert_int_equal(gb_denied_rules(d, A, 0), GB_MAY_GO);
	for (int64_t s = 0; s < 3; s++) {
		assert_false(gb_denied_note(d, A, 7, s * LW_NS_PER_S));
		assert_false(gb_denied_note(d, B, 7, s * LW_NS_PER_S));
		assert_int_equal(gb_denied_rules(d, A, s * LW_NS_PER_S), GB_WAITS);
		gb_denied_again(d, A);
		assert_int_equal(gb_denied_rules(d, A, s * LW_NS_PER_S), GB_MAY_GO);
		assert_int_equal(gb_denied_rules(d, B, s * LW_NS_PER_S), GB_WAITS);
	}
	/* The rules are right again. */
	gb_denied_taken(d, A);
	assert_int_equal(gb_denied_rules(d, A, 0), GB_MAY_GO);
	assert_true(gb_denied_any(d));
	gb_denied_taken(d, B);
	assert_false(gb_denied_any(d));
}

/* Denied, another one taken, denied again: it is lost, and tried each minute. */
static void test_one(void **state)
{
	struct gb_denied *d = *state;
	assert_false(gb_denied_note(d, A, 7, 0));
	assert_true(gb_denied_note(d, A, 8, 0));
	assert_int_equal(gb_denied_rules(d, A, 59 * LW_NS_PER_S), GB_IS_LOST);
	assert_int_equal(gb_denied_rules(d, B, 59 * LW_NS_PER_S), GB_MAY_GO);
	assert_int_equal(gb_denied_rules(d, A, 60 * LW_NS_PER_S), GB_MAY_GO);
	assert_true(gb_denied_note(d, A, 8, 60 * LW_NS_PER_S));
	assert_int_equal(gb_denied_rules(d, A, 61 * LW_NS_PER_S), GB_IS_LOST);
	/* Taken, it begins anew. */
	gb_denied_taken(d, A);
	assert_false(gb_denied_note(d, A, 9, 62 * LW_NS_PER_S));
	assert_int_equal(gb_denied_rules(d, A, 62 * LW_NS_PER_S), GB_WAITS);
}

/* More topics than are remembered: none is lost for it. */
static void test_many(void **state)
{
	struct gb_denied *d = *state;
	char topic[32];
	for (int i = 0; i <= 10000; i++) {
		snprintf(topic, sizeof(topic), "%d", i);
		assert_false(gb_denied_note(d, topic, 0, 0));
	}
	assert_int_equal(gb_denied_rules(d, "10000", 0), GB_WAITS);
	assert_int_equal(gb_denied_rules(d, "0", 0), GB_MAY_GO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
