#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "network-server/domain/link_counts.h"

#define KIND(name) LONGWAVE__NS__V1__LINK_TALLY__KIND__##name

static void tallies_add_up(void **state)
{
	struct ns_link_counts c = {0};
	(void)state;
	ns_link_add(&c, KIND(RX), 0, 1);
	ns_link_add(&c, KIND(RX), 0, 2);
	ns_link_add(&c, KIND(RX_DR), 5, 1);
	ns_link_add(&c, KIND(RX_DR), 4, 0);
	ns_link_add(&c, KIND(RSSI_DBM), 0, -120);
	assert_int_equal(c.n, 3);
	assert_int_equal(ns_link_get(&c, KIND(RX), 0), 3);
	assert_int_equal(ns_link_get(&c, KIND(RX_DR), 5), 1);
	assert_int_equal(ns_link_get(&c, KIND(RSSI_DBM), 0), -120);
	for (uint32_t hz = 0; hz < 2 * NS_LINK_TALLIES_MAX; hz++)
		ns_link_add(&c, KIND(RX_FREQUENCY), hz, 1);
	assert_int_equal(c.n, NS_LINK_TALLIES_MAX);
	ns_link_counts_deinit(&c);
}

static void end_to_end_is_the_sum(void **state)
{
	struct ns_link_counts a = {0}, b = {0}, sum = {0};
	uint8_t both[256];
	size_t n_a, n_b;
	(void)state;
	ns_link_add(&a, KIND(RX), 0, 3);
	ns_link_add(&a, KIND(SNR_DDB), 0, -75);
	ns_link_add_band(&a, &(struct ns_duty_band){868000000, 868600000, 3600, 36000, 1000, 7});
	ns_link_add(&b, KIND(RX), 0, 4);
	ns_link_add(&b, KIND(RX_FREQUENCY), 868100000, 4);
	ns_link_add_band(&b, &(struct ns_duty_band){868000000, 868600000, 3600, 36000, 900, 7});
	ns_link_add_band(&b, &(struct ns_duty_band){868000000, 868600000, 3600, 36000, 50, 9});
	uint8_t *p_a = ns_link_counts_pack(&a, &n_a), *p_b = ns_link_counts_pack(&b, &n_b);
	assert_true(n_a + n_b < sizeof(both));
	memcpy(both, p_a, n_a);
	memcpy(both + n_a, p_b, n_b);
	assert_int_equal(ns_link_counts_unpack(&sum, both, n_a + n_b), 0);
	assert_int_equal(ns_link_get(&sum, KIND(RX), 0), 7);
	assert_int_equal(ns_link_get(&sum, KIND(SNR_DDB), 0), -75);
	assert_int_equal(ns_link_get(&sum, KIND(RX_FREQUENCY), 868100000), 4);
	assert_int_equal(sum.n_bands, 2);
	assert_int_equal(sum.band[0].used_ms, 1000); /* of one counter, the larger; not the sum */
	assert_int_equal(sum.band[1].used_ms, 50);
	assert_int_equal(ns_link_counts_unpack(&sum, both, n_a + n_b - 1), LW_EINVAL);
	assert_int_equal(ns_link_get(&sum, KIND(RX), 0), 7);
	free(p_a);
	free(p_b);
	ns_link_counts_deinit(&a);
	ns_link_counts_deinit(&b);
	ns_link_counts_deinit(&sum);
}

static void cuts(enum ns_span span, int64_t at_s, int64_t begin_s, int64_t next_s)
{
	assert_int_equal(ns_span_begin(span, at_s), begin_s);
	assert_int_equal(ns_span_begin(span, next_s - 1), begin_s);
	assert_int_equal(ns_span_begin(span, next_s), next_s);
	assert_int_equal(ns_span_next(span, begin_s), next_s);
}

static void time_in_utc(void **state)
{
	(void)state;
	assert_int_equal(ns_link_set_time_zone("UTC"), 0);
	/* 2026-02-28 23:10:05 */
	cuts(NS_SPAN_MINUTE, 1772320205, 1772320200, 1772320260);
	cuts(NS_SPAN_HOUR, 1772320205, 1772319600, 1772323200);
	cuts(NS_SPAN_DAY, 1772320205, 1772236800, 1772323200);
	cuts(NS_SPAN_MONTH, 1772320205, 1769904000, 1772323200);
}

/* The clocks go forward on 2026-03-29 and back on 2026-10-25. */
static void days_of_23_and_25_hours(void **state)
{
	(void)state;
	assert_int_equal(ns_link_set_time_zone("Europe/Berlin"), 0);
	cuts(NS_SPAN_DAY, 1774782000, 1774738800, 1774738800 + 23 * 3600);
	cuts(NS_SPAN_DAY, 1792922400, 1792879200, 1792879200 + 25 * 3600);
	/* 2026-03-01 00:00 +01:00 to 2026-04-01 00:00 +02:00 */
	cuts(NS_SPAN_MONTH, 1774782000, 1772319600, 1774994400);
	/* Each hour once, also the one that comes twice by the clock on the wall. */
	cuts(NS_SPAN_HOUR, 1792890000 + 60, 1792890000, 1792893600);
	cuts(NS_SPAN_HOUR, 1792893600 + 60, 1792893600, 1792897200);
}

static void half_an_hour_off(void **state)
{
	(void)state;
	assert_int_equal(ns_link_set_time_zone("Asia/Kolkata"), 0);
	cuts(NS_SPAN_HOUR, 1772320205, 1772317800, 1772321400);
	cuts(NS_SPAN_DAY, 1772320205, 1772303400, 1772389800);
}

static void no_such_zone(void **state)
{
	(void)state;
	assert_int_equal(ns_link_set_time_zone("Europe/Atlantis"), LW_ENOTFOUND);
	assert_int_equal(ns_link_set_time_zone("../../../etc/hostname"), LW_ENOTFOUND);
	assert_int_equal(ns_link_set_time_zone("/etc/localtime"), LW_ENOTFOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tallies_add_up),   cmocka_unit_test(end_to_end_is_the_sum),
		cmocka_unit_test(time_in_utc),      cmocka_unit_test(days_of_23_and_25_hours),
		cmocka_unit_test(half_an_hour_off), cmocka_unit_test(no_such_zone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
