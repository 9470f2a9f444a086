/* One gateway's timeline: overlaps and the guard between them, the hour's ledger, the round trip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "network-server/domain/timeline.h"

#define S 1000000000LL
#define MS 1000000LL

/* 1 %: 36 s of air time in an hour. */
static const struct lw_sub_band percent = {.min_hz = 868000000, .max_hz = 868600000, .duty_permille = 10};
static const struct lw_sub_band free_band = {.min_hz = 902000000, .max_hz = 928000000, .duty_permille = 1000};

static void overlaps(void **state)
{
	struct ns_timeline t = {0};
	(void)state;
	ns_timeline_advance(&t, 100 * S);
	assert_null(ns_timeline_conflict(&t, 101 * S, 500000));
	assert_true(ns_timeline_plan(&t, 1, 101 * S, 500000, &percent));
	assert_non_null(ns_timeline_conflict(&t, 101 * S, 1));
	assert_non_null(ns_timeline_conflict(&t, 101 * S + 500 * MS, 1)); /* touches: no time to load the next */
	assert_null(ns_timeline_conflict(&t, 101 * S + 500 * MS + NS_TIMELINE_GUARD_NS, 1));
	assert_non_null(ns_timeline_conflict(&t, 100 * S + 600 * MS, 400000));
	assert_null(ns_timeline_conflict(&t, 100 * S + 560 * MS, 400000));
	assert_true(ns_timeline_first_free(&t, 101 * S, 1000) == 101 * S + 500 * MS + NS_TIMELINE_GUARD_NS);
	assert_true(ns_timeline_first_free(&t, 100 * S, 1000) == 100 * S);
	assert_int_equal(ns_timeline_depth(&t), 1);
	ns_timeline_advance(&t, 102 * S);
	assert_int_equal(ns_timeline_depth(&t), 0);
}

static void first_free_passes_neighbours(void **state)
{
	struct ns_timeline t = {0};
	(void)state;
	ns_timeline_advance(&t, 0);
	/* Gaps of 100 ms are too short for 50 ms and two guards. */
	for (uint32_t i = 0; i < 10; i++)
		assert_true(ns_timeline_plan(&t, i + 1, (9 - i) * 600 * MS, 500000, NULL));
	assert_true(ns_timeline_first_free(&t, 0, 50000) == 9 * 600 * MS + 500 * MS + NS_TIMELINE_GUARD_NS);
	assert_true(ns_timeline_first_free(&t, 0, 20000) == 500 * MS + NS_TIMELINE_GUARD_NS);
}

static void the_hour(void **state)
{
	struct ns_timeline t = {0};
	int64_t now = 7200 * S;
	(void)state;
	ns_timeline_advance(&t, now);
	for (uint32_t i = 0; i < 18; i++, now += 10 * S) {
		ns_timeline_advance(&t, now);
		assert_true(ns_timeline_duty_ok(&t, &percent, 2000000, 100));
		assert_int_equal(ns_timeline_duty_ok(&t, &percent, 2000000, 80), i < 14);
		assert_true(ns_timeline_plan(&t, i + 1, now, 2000000, &percent));
	}
	assert_false(ns_timeline_duty_ok(&t, &percent, 1, 100));
	assert_true(ns_timeline_duty_ok(&t, &free_band, 1000000, 80));
	assert_true(ns_timeline_duty_ok(&t, NULL, 1000000, 80));
	assert_true(ns_timeline_used_us(&t, &percent) == 36000000);
	/* The hour is not over before its time, and is soon after. */
	ns_timeline_advance(&t, (7200 + 3600) * S);
	assert_false(ns_timeline_duty_ok(&t, &percent, 1, 100));
	ns_timeline_advance(&t, (7200 + 3600 + 170 + 4 * 60 + 10) * S);
	assert_true(ns_timeline_duty_ok(&t, &percent, 36000000, 100));
	assert_true(ns_timeline_used_us(&t, &percent) == 0);
	ns_timeline_advance(&t, 1000000 * S);
	assert_true(ns_timeline_used_us(&t, &percent) == 0);
}

static void what_is_refused_comes_back(void **state)
{
	struct ns_timeline t = {0};
	(void)state;
	ns_timeline_advance(&t, 119 * S);
	ns_timeline_plan(&t, 7, 121 * S, 30000000, &percent); /* in the next bucket */
	assert_false(ns_timeline_duty_ok(&t, &percent, 7000000, 100));
	ns_timeline_release(&t, 8);
	assert_false(ns_timeline_duty_ok(&t, &percent, 7000000, 100));
	ns_timeline_release(&t, 7);
	ns_timeline_release(&t, 7);
	assert_true(ns_timeline_duty_ok(&t, &percent, 36000000, 100));
	assert_int_equal(ns_timeline_depth(&t), 0);
	assert_null(ns_timeline_conflict(&t, 121 * S, 1));
}

static void more_than_fits(void **state)
{
	struct ns_timeline t = {0};
	(void)state;
	ns_timeline_advance(&t, 0);
	for (uint32_t i = 0; i < NS_TIMELINE_SLOTS; i++)
		assert_true(ns_timeline_plan(&t, i + 1, i * S, 500000, &percent));
	assert_false(ns_timeline_plan(&t, 99, 50 * S, 500000, &percent));
	assert_true(ns_timeline_used_us(&t, &percent) == (NS_TIMELINE_SLOTS + 1) * 500000);
}

static void gateway_moves_to_another_region(void **state)
{
	struct lw_sub_band band[NS_TIMELINE_BANDS + 1];
	struct ns_timeline t = {0};
	(void)state;
	ns_timeline_advance(&t, 0);
	for (uint32_t i = 0; i <= NS_TIMELINE_BANDS; i++) {
		band[i] = percent;
		ns_timeline_plan(&t, i + 1, i * S, 1000 * (i + 1), &band[i]);
	}
	assert_true(ns_timeline_used_us(&t, &band[0]) == 0);
	for (uint32_t i = 1; i <= NS_TIMELINE_BANDS; i++)
		assert_true(ns_timeline_used_us(&t, &band[i]) == 1000 * (i + 1));
}

static void round_trip(void **state)
{
	struct ns_timeline t = {0};
	(void)state;
	assert_int_equal(ns_timeline_rtt_p90_ms(&t), -1);
	assert_true(ns_timeline_lead_ns(&t) == NS_TIMELINE_LEAD_NS);
	for (uint32_t i = 1; i <= 10; i++)
		ns_timeline_rtt(&t, 110 - i * 10); /* 100 … 10 */
	assert_int_equal(ns_timeline_rtt_p90_ms(&t), 90);
	assert_true(ns_timeline_lead_ns(&t) == 90 * MS + NS_TIMELINE_PREPARE_NS);
	for (uint32_t i = 0; i < NS_RTT_SAMPLES; i++)
		ns_timeline_rtt(&t, 5);
	assert_int_equal(ns_timeline_rtt_p90_ms(&t), 5);
	ns_timeline_rtt(&t, 1000000);
	assert_int_equal(ns_timeline_rtt_p90_ms(&t), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overlaps),       cmocka_unit_test(first_free_passes_neighbours),
		cmocka_unit_test(the_hour),       cmocka_unit_test(what_is_refused_comes_back),
		cmocka_unit_test(more_than_fits), cmocka_unit_test(gateway_moves_to_another_region),
		cmocka_unit_test(round_trip),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
