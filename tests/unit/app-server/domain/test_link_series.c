#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "app-server/domain/link_series.h"
#include "proto/longwave/v1/reason.pb-c.h"

#define KIND(name) LONGWAVE__NS__V1__LINK_TALLY__KIND__##name
#define BUCKETS 16

static struct {
	struct lw_arena arena;
	Longwave__Ns__V1__LinkMetricsResponse msg;
	Longwave__Ns__V1__LinkMetricsResponse__Bucket bucket[BUCKETS], *buckets[BUCKETS];
	Google__Protobuf__Timestamp start[BUCKETS];
	Longwave__Ns__V1__LinkCounts counts[BUCKETS];
	Longwave__Ns__V1__LinkTally tally[BUCKETS][8], *tallies[BUCKETS][8];
	Longwave__Ns__V1__DutyBand band[BUCKETS][4], *bands[BUCKETS][4];
} in;

static int setup(void **state)
{
	(void)state;
	memset(&in, 0, sizeof(in));
	lw_arena_init(&in.arena, NULL, 0, SIZE_MAX);
	longwave__ns__v1__link_metrics_response__init(&in.msg);
	in.msg.buckets = in.buckets;
	in.msg.n_buckets = BUCKETS;
	for (size_t i = 0; i < BUCKETS; i++) {
		longwave__ns__v1__link_metrics_response__bucket__init(&in.bucket[i]);
		google__protobuf__timestamp__init(&in.start[i]);
		longwave__ns__v1__link_counts__init(&in.counts[i]);
		in.start[i].seconds = 1000 + 60 * (int64_t)i;
		in.bucket[i].start = &in.start[i];
		in.bucket[i].counts = &in.counts[i];
		in.counts[i].tallies = in.tallies[i];
		in.counts[i].bands = in.bands[i];
		in.buckets[i] = &in.bucket[i];
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lw_arena_deinit(&in.arena);
	return 0;
}

static void tally(size_t bucket, as_tally_kind kind, uint32_t key, int64_t n)
{
	size_t k = in.counts[bucket].n_tallies++;
	longwave__ns__v1__link_tally__init(&in.tally[bucket][k]);
	in.tally[bucket][k].kind = kind;
	in.tally[bucket][k].key = key;
	in.tally[bucket][k].n = n;
	in.tallies[bucket][k] = &in.tally[bucket][k];
}

static void band(size_t bucket, uint32_t min_hz, uint32_t used_ms, uint32_t counted_by)
{
	size_t k = in.counts[bucket].n_bands++;
	Longwave__Ns__V1__DutyBand *b = &in.band[bucket][k];
	longwave__ns__v1__duty_band__init(b);
	b->min_hz = min_hz;
	b->max_hz = min_hz + 600000;
	b->window_s = 3600;
	b->max_ms = 36000;
	b->used_ms = used_ms;
	b->counted_by = counted_by;
	in.bands[bucket][k] = b;
}

static bool near(float a, double b)
{
	return a > b - 1e-4 && a < b + 1e-4;
}

static void sums_and_means(void **state)
{
	(void)state;
	tally(1, KIND(RX), 0, 4);
	tally(1, KIND(SNR_DDB), 0, -150);
	tally(3, KIND(RX), 0, 1);
	tally(3, KIND(SNR_DDB), 0, 75);
	const Common__Metric *m = as_series_of(&in.arena, &in.msg, "Received", "rx_count", KIND(RX), 1);
	assert_string_equal(m->name, "Received");
	assert_int_equal(m->n_timestamps, BUCKETS);
	assert_int_equal(m->timestamps[1]->seconds, 1060);
	assert_int_equal(m->n_datasets, 1);
	assert_string_equal(m->datasets[0]->label, "rx_count");
	assert_true(near(m->datasets[0]->data[1], 4) && near(m->datasets[0]->data[2], 0));
	m = as_series_mean(&in.arena, &in.msg, "SNR", "snr", KIND(SNR_DDB), 0.1F);
	assert_int_equal(m->kind, COMMON__METRIC_KIND__ABSOLUTE);
	assert_true(near(m->datasets[0]->data[1], -3.75));
	assert_true(near(m->datasets[0]->data[2], 0));
	assert_true(near(m->datasets[0]->data[3], 7.5));
}

static void a_data_set_for_each_key(void **state)
{
	(void)state;
	tally(0, KIND(RX_FREQUENCY), 868300000, 2);
	tally(0, KIND(RX_FREQUENCY), 868100000, 1);
	tally(2, KIND(RX_FREQUENCY), 868100000, 3);
	tally(2, KIND(ERROR), LONGWAVE__V1__REASON__MIC_MISMATCH, 1);
	tally(2, KIND(ERROR), 95, 2);
	const Common__Metric *m = as_series_by_key(&in.arena, &in.msg, "x", KIND(RX_FREQUENCY), NULL);
	assert_int_equal(m->n_datasets, 2);
	assert_string_equal(m->datasets[0]->label, "868100000");
	assert_true(near(m->datasets[0]->data[0], 1) && near(m->datasets[0]->data[2], 3));
	assert_true(near(m->datasets[1]->data[0], 2) && near(m->datasets[1]->data[2], 0));
	m = as_series_by_key(&in.arena, &in.msg, "x", KIND(ERROR), &longwave__v1__reason__descriptor);
	assert_int_equal(m->n_datasets, 2);
	assert_string_equal(m->datasets[0]->label, "MIC_MISMATCH");
	assert_string_equal(m->datasets[1]->label, "95");
	assert_int_equal(as_series_by_key(&in.arena, &in.msg, "x", KIND(TX_DR), NULL)->n_datasets, 0);
}

/* A gateway may report as many frequencies as it likes. */
static void data_sets_are_not_more_than_some(void **state)
{
	enum { MANY = 1000, MOST = 256 };
	static Longwave__Ns__V1__LinkTally v[MANY], *list[MANY];
	(void)state;
	for (uint32_t i = 0; i < MANY; i++) {
		longwave__ns__v1__link_tally__init(&v[i]);
		v[i].kind = KIND(RX_FREQUENCY);
		v[i].key = 868000000 + i;
		v[i].n = 1;
		list[i] = &v[i];
	}
	in.counts[0].tallies = list;
	in.counts[0].n_tallies = MANY;
	const Common__Metric *m = as_series_by_key(&in.arena, &in.msg, "x", KIND(RX_FREQUENCY), NULL);
	assert_int_equal(m->n_datasets, MOST);
	assert_string_equal(m->datasets[MOST - 1]->label, "868000255");
}

static void duty_cycles(void **state)
{
	(void)state;
	band(1, 868000000, 1800, 7); /* two network-servers */
	band(1, 868000000, 1800, 9);
	band(2, 868000000, 100, 7); /* the gateway knows better */
	band(2, 868000000, 9000, 0);
	band(2, 865000000, 36000, 0);
	const Common__Metric *m = as_series_duty(&in.arena, &in.msg, "x", false);
	assert_int_equal(m->n_datasets, 2);
	assert_string_equal(m->datasets[0]->label, "865.000-865.600 MHz, 1 %");
	assert_true(near(m->datasets[0]->data[2], 100));
	assert_true(near(m->datasets[1]->data[0], 0));
	assert_true(near(m->datasets[1]->data[1], 10));
	assert_true(near(m->datasets[1]->data[2], 25));
	/* No report for a while is no use of nothing. */
	assert_true(near(m->datasets[1]->data[12], 25));
	assert_true(near(m->datasets[1]->data[13], 0));
	m = as_series_duty(&in.arena, &in.msg, "x", true);
	assert_true(near(m->datasets[1]->data[2], 0.25));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sums_and_means, setup, teardown),
		cmocka_unit_test_setup_teardown(a_data_set_for_each_key, setup, teardown),
		cmocka_unit_test_setup_teardown(data_sets_are_not_more_than_some, setup, teardown),
		cmocka_unit_test_setup_teardown(duty_cycles, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
