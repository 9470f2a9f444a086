#include "app-server/domain/link_series.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"

#define BANDS_MAX 32
#define CARRY_S 600
#define KEYS_MAX 256 /* data sets of one series: what a gateway reports is not ours to choose */

static void *get(struct lw_arena *a, size_t n, size_t size)
{
	void *p = lw_arena_alloc(a, n * size + 1);
	BUG_ON(p == NULL);
	memset(p, 0, n * size + 1);
	return p;
}

static char *text(struct lw_arena *a, const char *s)
{
	char *p = lw_arena_strdup(a, s);
	BUG_ON(p == NULL);
	return p;
}

static Common__Metric *metric(struct lw_arena *a, const Longwave__Ns__V1__LinkMetricsResponse *in, const char *name,
			      size_t n_sets)
{
	Common__Metric *m = get(a, 1, sizeof(*m));
	Common__MetricDataset *sets = get(a, n_sets, sizeof(*sets));
	common__metric__init(m);
	m->name = text(a, name);
	m->kind = COMMON__METRIC_KIND__ABSOLUTE; /* of every series, as clients of the reference expect */
	m->n_timestamps = in->n_buckets;
	m->timestamps = get(a, in->n_buckets, sizeof(*m->timestamps));
	for (size_t i = 0; i < in->n_buckets; i++) {
		m->timestamps[i] = get(a, 1, sizeof(*m->timestamps[i]));
		google__protobuf__timestamp__init(m->timestamps[i]);
		m->timestamps[i]->seconds = in->buckets[i]->start ? in->buckets[i]->start->seconds : 0;
	}
	m->n_datasets = n_sets;
	m->datasets = get(a, n_sets, sizeof(*m->datasets));
	for (size_t i = 0; i < n_sets; i++) {
		m->datasets[i] = &sets[i];
		common__metric_dataset__init(&sets[i]);
		sets[i].n_data = in->n_buckets;
		sets[i].data = get(a, in->n_buckets, sizeof(float));
	}
	return m;
}

/* Tallies of bucket i; none: an empty one. */
static size_t tallies(const Longwave__Ns__V1__LinkMetricsResponse *in, size_t i, Longwave__Ns__V1__LinkTally ***v)
{
	const Longwave__Ns__V1__LinkCounts *c = in->buckets[i]->counts;
	*v = c ? c->tallies : NULL;
	return c ? c->n_tallies : 0;
}

static int64_t sum(const Longwave__Ns__V1__LinkMetricsResponse *in, size_t bucket, as_tally_kind kind)
{
	Longwave__Ns__V1__LinkTally **v;
	size_t n = tallies(in, bucket, &v);
	int64_t out = 0;
	for (size_t i = 0; i < n; i++)
		out += v[i]->kind == kind ? v[i]->n : 0;
	return out;
}

Common__Metric *as_series_of(struct lw_arena *a, const Longwave__Ns__V1__LinkMetricsResponse *in, const char *name,
			     const char *label, as_tally_kind kind, float unit)
{
	Common__Metric *m = metric(a, in, name, 1);
	m->datasets[0]->label = text(a, label);
	for (size_t i = 0; i < in->n_buckets; i++)
		m->datasets[0]->data[i] = (float)sum(in, i, kind) * unit;
	return m;
}

Common__Metric *as_series_mean(struct lw_arena *a, const Longwave__Ns__V1__LinkMetricsResponse *in, const char *name,
			       const char *label, as_tally_kind kind, float unit)
{
	Common__Metric *m = metric(a, in, name, 1);
	m->datasets[0]->label = text(a, label);
	for (size_t i = 0; i < in->n_buckets; i++) {
		int64_t n = sum(in, i, LONGWAVE__NS__V1__LINK_TALLY__KIND__RX);
		if (n > 0)
			m->datasets[0]->data[i] = (float)sum(in, i, kind) * unit / (float)n;
	}
	return m;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

/* The keys of the kind, each once, rising; the lowest of too many. */
static size_t keys_of(const Longwave__Ns__V1__LinkMetricsResponse *in, as_tally_kind kind, uint32_t **out)
{
	size_t n = 0, cap = 1, unique = 0;
	Longwave__Ns__V1__LinkTally **v;
	for (size_t i = 0; i < in->n_buckets; i++)
		cap += tallies(in, i, &v);
	uint32_t *keys = calloc(cap, sizeof(*keys));
	BUG_ON(keys == NULL);
	for (size_t i = 0; i < in->n_buckets; i++) {
		size_t n_tallies = tallies(in, i, &v);
		for (size_t k = 0; k < n_tallies; k++)
			if (v[k]->kind == kind)
				keys[n++] = v[k]->key;
	}
	qsort(keys, n, sizeof(*keys), by_number);
	for (size_t i = 0; i < n; i++)
		if (unique == 0 || keys[unique - 1] != keys[i])
			keys[unique++] = keys[i];
	*out = keys;
	return unique < KEYS_MAX ? unique : KEYS_MAX;
}

Common__Metric *as_series_by_key(struct lw_arena *a, const Longwave__Ns__V1__LinkMetricsResponse *in, const char *name,
				 as_tally_kind kind, const ProtobufCEnumDescriptor *names)
{
	uint32_t *keys;
	size_t n = keys_of(in, kind, &keys);
	Common__Metric *m = metric(a, in, name, n);
	for (size_t k = 0; k < n; k++) {
		char number[12];
		const ProtobufCEnumValue *named =
			names ? protobuf_c_enum_descriptor_get_value(names, (int)keys[k]) : NULL;
		snprintf(number, sizeof(number), "%u", (unsigned)keys[k]);
		m->datasets[k]->label = text(a, named ? named->name : number);
	}
	for (size_t i = 0; i < in->n_buckets; i++) {
		Longwave__Ns__V1__LinkTally **v;
		size_t n_tallies = tallies(in, i, &v);
		for (size_t t = 0; t < n_tallies; t++) {
			const uint32_t *at =
				v[t]->kind == kind ? bsearch(&v[t]->key, keys, n, sizeof(*keys), by_number) : NULL;
			if (at)
				m->datasets[at - keys]->data[i] += (float)v[t]->n;
		}
	}
	free(keys);
	return m;
}

/* ---- duty cycles ---- */

struct band {
	uint32_t min_hz, max_hz;
	uint32_t max_ms, window_s; /* the latest */
};

static int by_frequency(const void *a, const void *b)
{
	const struct band *x = a, *y = b;
	if (x->min_hz != y->min_hz)
		return x->min_hz < y->min_hz ? -1 : 1;
	return (x->max_hz > y->max_hz) - (x->max_hz < y->max_hz);
}

static size_t bands_of(const Longwave__Ns__V1__LinkMetricsResponse *in, struct band out[BANDS_MAX])
{
	size_t n = 0;
	for (size_t i = 0; i < in->n_buckets; i++) {
		const Longwave__Ns__V1__LinkCounts *c = in->buckets[i]->counts;
		for (size_t k = 0; c && k < c->n_bands; k++) {
			const Longwave__Ns__V1__DutyBand *b = c->bands[k];
			size_t at = 0;
			while (at < n && (out[at].min_hz != b->min_hz || out[at].max_hz != b->max_hz))
				at++;
			if (at == BANDS_MAX || b->window_s == 0)
				continue;
			n += at == n;
			out[at] = (struct band){b->min_hz, b->max_hz, b->max_ms, b->window_s};
		}
	}
	qsort(out, n, sizeof(*out), by_frequency);
	return n;
}

/* What the gateway says of itself; else what all network-servers sent. -1: nothing is known. */
static double used_ms(const Longwave__Ns__V1__LinkCounts *c, const struct band *band)
{
	double planned = -1, reported = -1;
	for (size_t k = 0; c && k < c->n_bands; k++) {
		const Longwave__Ns__V1__DutyBand *b = c->bands[k];
		if (b->min_hz != band->min_hz || b->max_hz != band->max_hz)
			continue;
		if (b->counted_by == 0)
			reported = b->used_ms;
		else
			planned = (planned < 0 ? 0 : planned) + b->used_ms;
	}
	return reported >= 0 ? reported : planned;
}

static void name_band(struct lw_arena *a, Common__MetricDataset *d, const struct band *b)
{
	char label[80];
	if (b->max_ms > 0)
		snprintf(label, sizeof(label), "%.3f-%.3f MHz, %g %%", b->min_hz / 1e6, b->max_hz / 1e6,
			 (double)b->max_ms / 10 / b->window_s);
	else
		snprintf(label, sizeof(label), "%.3f-%.3f MHz", b->min_hz / 1e6, b->max_hz / 1e6);
	d->label = text(a, label);
}

Common__Metric *as_series_duty(struct lw_arena *a, const Longwave__Ns__V1__LinkMetricsResponse *in, const char *name,
			       bool of_window)
{
	struct band band[BANDS_MAX];
	size_t n = bands_of(in, band);
	Common__Metric *m = metric(a, in, name, n);
	for (size_t k = 0; k < n; k++) {
		double whole_ms = of_window ? band[k].window_s * 1e3 : band[k].max_ms;
		double last = 0;
		int64_t last_s = INT64_MIN / 2;
		name_band(a, m->datasets[k], &band[k]);
		for (size_t i = 0; i < in->n_buckets; i++) {
			int64_t at_s = m->timestamps[i]->seconds;
			double ms = used_ms(in->buckets[i]->counts, &band[k]);
			if (ms >= 0) {
				last = ms;
				last_s = at_s;
			}
			if (at_s - last_s <= CARRY_S && whole_ms > 0)
				m->datasets[k]->data[i] = (float)(last * 100 / whole_ms);
		}
	}
	return m;
}
