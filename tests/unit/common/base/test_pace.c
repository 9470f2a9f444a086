/* Gaps by rate: none at little, whole at much, steady in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/pace.h"

#define T0 (1000 * LW_NS_PER_S)

/* A second at a rate, each piece as soon as it may and at most every `every_us`; the last gap in µs. */
static int64_t gap_us(struct lw_pace *p, int64_t *now, uint32_t per_s, int64_t every_us)
{
	int64_t end = *now + LW_NS_PER_S;
	double left = 0;
	while (*now < end) {
		int64_t next = *now + every_us * 1000;
		int64_t may = lw_pace_next_ns(p);
		if (may > next)
			next = may;
		double come = left + (double)(next - *now) / (double)LW_NS_PER_S * per_s;
		*now = next;
		lw_pace_begun(p, next, (size_t)come);
		left = come - (double)(size_t)come;
	}
	return (lw_pace_next_ns(p) - *now) / 1000;
}

static void no_gap_at_little(void **state)
{
	(void)state;
	struct lw_pace p;
	int64_t now = T0;
	lw_pace_init(&p, 2000, 6000, 20, now);
	assert_true(lw_pace_next_ns(&p) <= now);
	assert_int_equal(gap_us(&p, &now, 1000, 1000), 0);
	assert_int_equal(gap_us(&p, &now, 1900, 2000), 0);
}

static void the_whole_gap_at_much(void **state)
{
	(void)state;
	struct lw_pace p;
	int64_t now = T0;
	lw_pace_init(&p, 2000, 6000, 20, now);
	assert_int_equal(gap_us(&p, &now, 8000, 1000), 20000);
	assert_int_equal(gap_us(&p, &now, 100000, 1000), 20000);
}

static void between_it_grows_with_the_rate(void **state)
{
	(void)state;
	struct lw_pace p;
	int64_t now = T0;
	lw_pace_init(&p, 2000, 6000, 20, now);
	assert_in_range(gap_us(&p, &now, 3000, 1000), 4000, 6000);
	assert_in_range(gap_us(&p, &now, 4000, 1000), 9000, 11000);
	assert_in_range(gap_us(&p, &now, 5000, 1000), 14000, 16000);
}

/* Where the rate came from does not matter for long. */
static void it_comes_back(void **state)
{
	(void)state;
	struct lw_pace p;
	int64_t now = T0;
	lw_pace_init(&p, 2000, 6000, 20, now);
	gap_us(&p, &now, 20000, 1000);
	assert_int_equal(gap_us(&p, &now, 1500, 1000), 0);
	gap_us(&p, &now, 20000, 1000);
	now += 10 * LW_NS_PER_S;
	lw_pace_begun(&p, now, 1);
	assert_int_equal(lw_pace_next_ns(&p), now);
}

/* A clock that stands, and a piece that is a burst by itself. */
static void a_burst_counts_for_a_while(void **state)
{
	(void)state;
	struct lw_pace p;
	lw_pace_init(&p, 2000, 6000, 20, T0);
	lw_pace_begun(&p, T0, 40);
	assert_int_equal(lw_pace_next_ns(&p), T0);
	lw_pace_begun(&p, T0, 400);
	assert_true(lw_pace_next_ns(&p) > T0);
	lw_pace_begun(&p, T0 - LW_NS_PER_S, 0);
	assert_true(lw_pace_next_ns(&p) <= T0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_gap_at_little),
		cmocka_unit_test(the_whole_gap_at_much),
		cmocka_unit_test(between_it_grows_with_the_rate),
		cmocka_unit_test(it_comes_back),
		cmocka_unit_test(a_burst_counts_for_a_while),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
