#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/runtime/clock_watch.h"

#define H (3600 * LW_NS_PER_S)

static void test_steps(void **state)
{
	struct rt_clock_watch w = {0};
	int64_t by = 7, now = 1700000000 * LW_NS_PER_S, mono = 5 * LW_NS_PER_S;
	(void)state;
	assert_false(rt_clock_watch_look(&w, now, mono, &by)); /* the first look knows nothing */
	assert_int_equal(by, 0);
	assert_false(rt_clock_watch_look(&w, now + LW_NS_PER_S, mono + LW_NS_PER_S, &by));
	assert_true(rt_clock_watch_look(&w, now + 2 * LW_NS_PER_S + H, mono + 2 * LW_NS_PER_S, &by));
	assert_int_equal(by, H);
	assert_false(rt_clock_watch_look(&w, now + 3 * LW_NS_PER_S + H, mono + 3 * LW_NS_PER_S, &by)); /* told once */
	assert_true(rt_clock_watch_look(&w, now + 4 * LW_NS_PER_S - H, mono + 4 * LW_NS_PER_S, &by));
	assert_int_equal(by, -2 * H);
	/* Slewed: half a millisecond in a second, for long. */
	for (int i = 5; i < 10000; i++)
		assert_false(rt_clock_watch_look(&w, now - H + i * (LW_NS_PER_S + LW_NS_PER_MS / 2),
						 mono + i * LW_NS_PER_S, &by));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
