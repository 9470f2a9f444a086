/* Order of a device, holding, passing over and reading again, what a read may bring that is over already. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "app-server/integration/lane.h"

#define S INT64_C(1000000000)

static bool add(struct as_lanes *l, uint64_t dev, int64_t seq)
{
	return as_lanes_add(l, as_lane_row_new(seq, 0, dev, "up", "key", lw_span("body", 4)));
}

static struct as_lane_row *next(struct as_lanes *l, int64_t now, int64_t seq)
{
	struct as_lane_row *row = as_lanes_next(l, now);
	if (!row)
		assert_int_equal(seq, 0);
	else
		assert_int_equal(row->seq, seq);
	return row;
}

static void test_order(void **state)
{
	struct as_lanes l;
	(void)state;
	as_lanes_init(&l);
	assert_true(add(&l, 1, 10));
	assert_true(add(&l, 1, 12));
	assert_true(add(&l, 2, 13));
	assert_false(add(&l, 1, 12)); /* known */
	/* One of each device at a time. */
	struct as_lane_row *a = next(&l, 0, 10), *b = next(&l, 0, 13);
	next(&l, 0, 0);
	assert_string_equal(a->name, "up");
	assert_string_equal(a->idempotency, "key");
	assert_true(lw_span_eq_str(a->body, "body"));
	assert_true(add(&l, 1, 11)); /* late: goes before 12 */
	as_lanes_done(&l, a);
	as_lanes_done(&l, next(&l, 0, 11));
	as_lanes_retry(&l, b, 0, 0);
	struct as_lane_row *c = next(&l, 0, 12);
	assert_ptr_equal(next(&l, 0, 13), b);
	as_lanes_done(&l, c);
	as_lanes_done(&l, b);
	next(&l, 0, 0);
	assert_int_equal(l.queued + l.in_flight, 0);
	/* Over, but still in the database: not taken again. */
	assert_false(add(&l, 1, 10));
	as_lanes_settled(&l, 10);
	assert_false(as_lanes_knows(&l, 10));
	assert_true(as_lanes_knows(&l, 11));
	as_lanes_deinit(&l);
}

static void test_a_read_under_way(void **state)
{
	struct as_lanes l;
	(void)state;
	as_lanes_init(&l);
	add(&l, 1, 10);
	as_lanes_read_begin(&l, false);
	as_lanes_done(&l, next(&l, 0, 10));
	as_lanes_settled(&l, 10);
	assert_false(add(&l, 1, 10)); /* the read began before it was deleted */
	as_lanes_read_end(&l);
	assert_false(as_lanes_knows(&l, 10));
	as_lanes_deinit(&l);
}

static void test_hold(void **state)
{
	struct as_lanes l;
	(void)state;
	as_lanes_init(&l);
	add(&l, 1, 10);
	as_lanes_retry(&l, next(&l, 0, 10), 0, 5 * S);
	assert_int_equal(as_lanes_due(&l), 5 * S);
	/* What is behind it is left in the database; others go. */
	assert_false(add(&l, 1, 11));
	assert_true(add(&l, 2, 12));
	as_lanes_done(&l, next(&l, S, 12));
	next(&l, S, 0);
	struct as_lane_row *row = next(&l, 5 * S, 10);
	assert_int_equal(row->attempts, 0);
	/* 11 was not taken: 13 must not pass it. */
	assert_false(add(&l, 1, 13));
	assert_false(l.rescan);
	as_lanes_done(&l, row);
	assert_true(l.rescan);
	as_lanes_read_begin(&l, true);
	assert_false(l.rescan);
	assert_false(add(&l, 1, 10)); /* settling */
	assert_true(add(&l, 1, 11));
	assert_true(add(&l, 1, 13));
	as_lanes_read_end(&l);
	as_lanes_done(&l, next(&l, 6 * S, 11));
	as_lanes_done(&l, next(&l, 6 * S, 13));
	assert_int_equal(as_lanes_due(&l), INT64_MAX);
	as_lanes_deinit(&l);
}

static void test_release(void **state)
{
	struct as_lanes l;
	(void)state;
	as_lanes_init(&l);
	add(&l, 1, 10);
	as_lanes_retry(&l, next(&l, 0, 10), 0, 500 * S);
	next(&l, S, 0);
	as_lanes_release(&l);
	as_lanes_done(&l, next(&l, S, 10));
	as_lanes_deinit(&l);
}

static void test_forget(void **state)
{
	struct as_lanes l;
	(void)state;
	as_lanes_init(&l);
	add(&l, 1, 10);
	add(&l, 1, 11);
	add(&l, 2, 12);
	struct as_lane_row *a = next(&l, 0, 10);
	as_lanes_forget(&l);
	assert_int_equal(l.queued, 0);
	assert_int_equal(l.in_flight, 1);
	assert_true(l.rescan);
	/* An answer to a read from before. */
	assert_false(add(&l, 2, 14));
	next(&l, 0, 0);
	as_lanes_done(&l, a);
	as_lanes_read_begin(&l, true);
	assert_true(add(&l, 1, 11));
	assert_true(add(&l, 2, 12));
	assert_true(add(&l, 2, 14));
	as_lanes_read_end(&l);
	next(&l, 0, 11);
	as_lanes_abandon(&l);
	assert_int_equal(l.queued + l.in_flight, 0);
	assert_false(as_lanes_knows(&l, 11));
	assert_true(as_lanes_knows(&l, 10)); /* its end is not in the database yet */
	as_lanes_deinit(&l);
}

static void test_delay(void **state)
{
	struct lw_rng rng;
	uint32_t low = UINT32_MAX, high = 0;
	(void)state;
	lw_rng_init_seeded(&rng, 7);
	for (unsigned n = 0; n < 64; n++) {
		uint32_t full = n < 9 ? 1000u << n : 300000;
		uint32_t ms = as_retry_delay_ms(n, 300000, &rng);
		assert_in_range(ms, full - full / 4, full);
	}
	for (int i = 0; i < 200; i++) {
		uint32_t ms = as_retry_delay_ms(3, 300000, &rng);
		low = ms < low ? ms : low;
		high = ms > high ? ms : high;
	}
	assert_true(high - low > 1000); /* they do not all come at once */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),   cmocka_unit_test(test_a_read_under_way), cmocka_unit_test(test_hold),
		cmocka_unit_test(test_release), cmocka_unit_test(test_forget),           cmocka_unit_test(test_delay),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
