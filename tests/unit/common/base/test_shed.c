/* What is shed and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/shed.h"
#include "common/base/clock.h"

#define MS(x) ((int64_t)(x)*LW_NS_PER_MS)
#define MAX 100
#define AFTER_MS 3000

static struct lw_shed s;
static int64_t now;
static int64_t since[1 << 16]; /* when entry i came in */
static unsigned dropped;

static int setup(void **state)
{
	(void)state;
	lw_shed_init(&s, MAX, AFTER_MS);
	now = MS(1000000);
	dropped = 0;
	return 0;
}

static void in(unsigned n, bool safe)
{
	while (n--) {
		since[s.in % (1 << 16)] = now;
		lw_shed_in(&s, now, safe);
	}
}

static void take(unsigned n)
{
	while (n-- && lw_shed_count(&s)) {
		lw_shed_out(&s);
		lw_shed_progress(&s, now);
	}
}

/* Does what is said; the last answer. */
static enum lw_shed_verdict look(void)
{
	enum lw_shed_verdict v;
	while ((v = lw_shed_head(&s, now, since[s.out % (1 << 16)])) == LW_SHED_DROP) {
		lw_shed_out(&s);
		dropped++;
	}
	return v;
}

/* 100 ms steps of so many in and out; true when it was ever full. */
static bool run(unsigned ms, unsigned n_in, unsigned n_out, bool safe)
{
	bool full = false;
	for (unsigned t = 0; t < ms; t += 100) {
		now += MS(100);
		in(n_in, safe);
		full = look() == LW_SHED_FULL || full;
		take(n_out);
	}
	return full;
}

static void what_is_carried_stays(void **state)
{
	(void)state;
	assert_false(run(60000, 10, 10, false));
	assert_int_equal(dropped, 0);
}

/* Too much comes in: the wait and the number stand, the rest goes, and it is over at once when the load is. */
static void overload(void **state)
{
	(void)state;
	assert_false(run(60000, 6, 2, false));
	assert_true(dropped > 600 * 4 - 100 && dropped <= 600 * 4);
	assert_true(lw_shed_count(&s) <= MAX);
	assert_true(now - since[s.out % (1 << 16)] <= MS(AFTER_MS));
	unsigned before = dropped;
	run(AFTER_MS, 1, 10, false);
	assert_int_equal(lw_shed_count(&s), 0);
	assert_int_equal(dropped, before);
}

static void the_number_is_bounded(void **state)
{
	(void)state;
	in(5 * MAX, false);
	assert_int_equal(look(), LW_SHED_KEEP);
	assert_int_equal(lw_shed_count(&s), MAX);
	assert_int_equal(dropped, 4 * MAX);
}

/* Nobody takes anything: all is kept, then nothing more is taken in. What waited is served when it is over, and what
 * came meanwhile behind it. */
static void a_stall_costs_nothing(void **state)
{
	(void)state;
	run(1000, 2, 2, false);
	bool full = false;
	for (unsigned t = 0; t < 60000 && !full; t += 100)
		full = run(100, 2, 0, false);
	assert_true(full);
	assert_int_equal(dropped, 0);
	assert_int_equal(lw_shed_count(&s), MAX + 2);
	run(4000, 2, 3, false);
	assert_int_equal(dropped, 0);
	assert_true(lw_shed_count(&s) > 0);
	run(20000, 2, 10, false);
	assert_int_equal(lw_shed_count(&s), 0);
	assert_int_equal(dropped, 0);
}

/* A backlog from a spool, longer than anything that may wait. */
static void a_backlog_costs_nothing(void **state)
{
	(void)state;
	in(90, true);
	run(5000, 0, 1, false);
	run(3000, 1, 1, false); /* fresh ones behind it */
	assert_int_equal(dropped, 0);
	run(10000, 1, 5, false);
	assert_int_equal(lw_shed_count(&s), 0);
	assert_int_equal(dropped, 0);
	/* Worked off: overload is overload again. */
	run(10000, 6, 2, false);
	assert_true(dropped > 0);
}

/* After a connection came back what was kept elsewhere arrives, and nothing tells it from what is new. */
static void a_connection_that_was_away(void **state)
{
	(void)state;
	lw_shed_outage(&s, now, 2000, 600000);
	in(MAX, false);
	run(10000, 1, 1, false);
	assert_int_equal(dropped, 0);
	assert_true(run(100, 10, 0, false));
	run(3000, 0, 10, false);
	assert_int_equal(lw_shed_count(&s), 0);
	run(10000, 6, 2, false);
	assert_true(dropped > 0);
}

/* Not for ever: who is overloaded from the end of an outage on sheds after a while. */
static void grace_ends(void **state)
{
	(void)state;
	in(10, true);
	run(LW_SHED_GRACE_MS - 1000, 6, 2, false);
	assert_int_equal(dropped, 0);
	/* As before, the feeder waits while it is full. */
	run(LW_SHED_GRACE_MS, 2, 2, false);
	while (s.safe > s.out)
		run(100, 2, 2, false);
	run(10000, 6, 2, false);
	assert_true(dropped > 0);
}

static void never(void **state)
{
	(void)state;
	lw_shed_init(&s, MAX, 0);
	assert_false(run(2000, 6, 2, false));
	assert_true(run(10000, 6, 2, false));
	assert_int_equal(dropped, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(what_is_carried_stays, setup),
		cmocka_unit_test_setup(overload, setup),
		cmocka_unit_test_setup(the_number_is_bounded, setup),
		cmocka_unit_test_setup(a_stall_costs_nothing, setup),
		cmocka_unit_test_setup(a_backlog_costs_nothing, setup),
		cmocka_unit_test_setup(a_connection_that_was_away, setup),
		cmocka_unit_test_setup(grace_ends, setup),
		cmocka_unit_test_setup(never, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
