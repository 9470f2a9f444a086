/* Positions: forward only, bounded, written and read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "app-server/domain/event_position.h"
#include "common/base/err.h"

static void test_note(void **state)
{
	struct as_positions p = {0};
	(void)state;
	assert_int_equal(as_positions_get(&p, "a"), 0);
	assert_true(as_positions_note(&p, "a", 5));
	assert_true(as_positions_note(&p, "b", 1));
	assert_true(as_positions_note(&p, "a", 3));
	assert_int_equal(as_positions_get(&p, "a"), 5);
	assert_int_equal(as_positions_get(&p, "b"), 1);
	assert_int_equal(p.n, 2);
	char name[AS_ORIGIN_MAX + 1];
	memset(name, 'x', AS_ORIGIN_MAX);
	name[AS_ORIGIN_MAX] = 0;
	assert_false(as_positions_note(&p, name, 1));
	assert_false(as_positions_note(&p, "", 1));
	name[AS_ORIGIN_MAX - 1] = 0;
	assert_true(as_positions_note(&p, name, 1));
}

static void test_full(void **state)
{
	struct as_positions p = {0};
	char name[16];
	(void)state;
	for (unsigned i = 0; i < AS_POSITIONS_MAX + 1; i++) {
		snprintf(name, sizeof(name), "o%u", i);
		as_positions_note(&p, "often", i + 1);
		as_positions_note(&p, name, 7);
	}
	assert_int_equal(p.n, AS_POSITIONS_MAX);
	assert_int_equal(as_positions_get(&p, "often"), AS_POSITIONS_MAX + 1);
	assert_int_equal(as_positions_get(&p, "o0"), 0);
	assert_int_equal(as_positions_get(&p, name), 7);
}

static void test_text(void **state)
{
	struct as_positions p = {0}, q = {0};
	struct lw_buf b;
	(void)state;
	lw_buf_init(&b, 4096);
	as_positions_print(&p, &b);
	assert_string_equal(lw_buf_str(&b), "{}");
	assert_int_equal(as_positions_parse(&q, lw_buf_span(&b)), 0);
	assert_int_equal(q.n, 0);
	as_positions_note(&p, "ns\"1", 1);
	as_positions_note(&p, "ns2", UINT64_MAX);
	lw_buf_reset(&b);
	as_positions_print(&p, &b);
	assert_string_equal(lw_buf_str(&b), "{\"ns2\":\"18446744073709551615\",\"ns\\\"1\":\"1\"}");
	as_positions_note(&q, "ns\"1", 9);
	assert_int_equal(as_positions_parse(&q, lw_buf_span(&b)), 0);
	assert_int_equal(as_positions_get(&q, "ns2"), UINT64_MAX);
	assert_int_equal(as_positions_get(&q, "ns\"1"), 9); /* never back */
	lw_buf_deinit(&b);
}

static void test_broken_text(void **state)
{
	static const char *const bad[] = {"",
					  "[]",
					  "{",
					  "{\"a\":1}",
					  "{\"a\":\"x\"}",
					  "{\"a\":\"\"}",
					  "{\"a\":\"-1\"}",
					  "{\"\":\"1\"}",
					  "{\"a\":\"1\"}x",
					  "{\"a\":\"1\",\"b\":null}"};
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct as_positions p = {0};
		assert_int_equal(as_positions_parse(&p, lw_span_str(bad[i])), LW_EINVAL);
		assert_int_equal(p.n, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_note), cmocka_unit_test(test_full),
					   cmocka_unit_test(test_text), cmocka_unit_test(test_broken_text)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
