#include "network-server/domain/link_counts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/err.h"
#include "common/base/xmalloc.h"

#define ZONES "/usr/share/zoneinfo/"

void ns_link_counts_deinit(struct ns_link_counts *c)
{
	free(c->v);
	free(c->band);
	*c = (struct ns_link_counts){0};
}

void ns_link_add(struct ns_link_counts *c, ns_tally_kind kind, uint32_t key, int64_t n)
{
	if (n == 0)
		return;
	for (size_t i = 0; i < c->n; i++)
		if (c->v[i].kind == kind && c->v[i].key == key) {
			c->v[i].n += n;
			return;
		}
	if (c->n == NS_LINK_TALLIES_MAX)
		return;
	if (c->n == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 8;
		c->v = lw_xrealloc(c->v, c->cap * sizeof(*c->v));
	}
	c->v[c->n++] = (struct ns_tally){kind, key, n};
}

void ns_link_add_band(struct ns_link_counts *c, const struct ns_duty_band *b)
{
	for (size_t i = 0; i < c->n_bands; i++) {
		struct ns_duty_band *k = &c->band[i];
		if (k->min_hz != b->min_hz || k->max_hz != b->max_hz || k->counted_by != b->counted_by)
			continue;
		uint32_t used_ms = k->used_ms > b->used_ms ? k->used_ms : b->used_ms;
		*k = *b;
		k->used_ms = used_ms;
		return;
	}
	if (c->n_bands == NS_LINK_BANDS_MAX)
		return;
	c->band = lw_xreallocarray(c->band, c->n_bands + 1, sizeof(*c->band));
	c->band[c->n_bands++] = *b;
}

int64_t ns_link_get(const struct ns_link_counts *c, ns_tally_kind kind, uint32_t key)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->v[i].kind == kind && c->v[i].key == key)
			return c->v[i].n;
	return 0;
}

int ns_link_counts_unpack(struct ns_link_counts *c, const uint8_t *p, size_t n)
{
	Longwave__Ns__V1__LinkCounts *m = longwave__ns__v1__link_counts__unpack(NULL, n, p);
	if (m == NULL)
		return LW_EINVAL;
	for (size_t i = 0; i < m->n_tallies; i++)
		ns_link_add(c, m->tallies[i]->kind, m->tallies[i]->key, m->tallies[i]->n);
	for (size_t i = 0; i < m->n_bands; i++) {
		const Longwave__Ns__V1__DutyBand *b = m->bands[i];
		struct ns_duty_band band = {.min_hz = b->min_hz,
					    .max_hz = b->max_hz,
					    .window_s = b->window_s,
					    .max_ms = b->max_ms,
					    .used_ms = b->used_ms,
					    .counted_by = b->counted_by};
		ns_link_add_band(c, &band);
	}
	longwave__ns__v1__link_counts__free_unpacked(m, NULL);
	return 0;
}

static void fill_tally(Longwave__Ns__V1__LinkTally *m, const struct ns_tally *t)
{
	longwave__ns__v1__link_tally__init(m);
	m->kind = t->kind;
	m->key = t->key;
	m->n = t->n;
}

static void fill_band(Longwave__Ns__V1__DutyBand *m, const struct ns_duty_band *b)
{
	longwave__ns__v1__duty_band__init(m);
	m->min_hz = b->min_hz;
	m->max_hz = b->max_hz;
	m->window_s = b->window_s;
	m->max_ms = b->max_ms;
	m->used_ms = b->used_ms;
	m->counted_by = b->counted_by;
}

uint8_t *ns_link_counts_pack(const struct ns_link_counts *c, size_t *n)
{
	Longwave__Ns__V1__LinkCounts m = LONGWAVE__NS__V1__LINK_COUNTS__INIT;
	Longwave__Ns__V1__LinkTally tally[NS_LINK_TALLIES_MAX], *tallies[NS_LINK_TALLIES_MAX];
	Longwave__Ns__V1__DutyBand band[NS_LINK_BANDS_MAX], *bands[NS_LINK_BANDS_MAX];
	m.tallies = tallies;
	m.bands = bands;
	for (; m.n_tallies < c->n; m.n_tallies++) {
		fill_tally(&tally[m.n_tallies], &c->v[m.n_tallies]);
		tallies[m.n_tallies] = &tally[m.n_tallies];
	}
	for (; m.n_bands < c->n_bands; m.n_bands++) {
		fill_band(&band[m.n_bands], &c->band[m.n_bands]);
		bands[m.n_bands] = &band[m.n_bands];
	}
	*n = longwave__ns__v1__link_counts__get_packed_size(&m);
	uint8_t *p = lw_xmalloc(*n ? *n : 1);
	longwave__ns__v1__link_counts__pack(&m, p);
	return p;
}

/* ---- time ---- */

int ns_link_set_time_zone(const char *name)
{
	char path[256];
	int n = snprintf(path, sizeof(path), ZONES "%s", name);
	if (name[0] == '\0') {
		tzset();
		return 0;
	}
	if (strcmp(name, "UTC") != 0) {
		bool outside = name[0] == '/' || strstr(name, "..") != NULL;
		if (outside || n < 0 || (size_t)n >= sizeof(path) || access(path, R_OK) != 0)
			return LW_ENOTFOUND;
	}
	if (setenv("TZ", name, 1) != 0)
		return LW_EINVAL;
	tzset();
	return 0;
}

static int64_t midnight(struct tm day)
{
	day.tm_hour = 0;
	day.tm_min = 0;
	day.tm_sec = 0;
	day.tm_isdst = -1;
	return (int64_t)mktime(&day);
}

/* The last multiple of `length_s`, by the clock on the wall there: zones may be off by half an hour. */
static int64_t cut(int64_t at_s, int64_t length_s, int64_t offset_s)
{
	int64_t rest = (at_s + offset_s) % length_s;
	return at_s - (rest < 0 ? rest + length_s : rest);
}

int64_t ns_span_begin(enum ns_span span, int64_t at_s)
{
	time_t t = (time_t)at_s;
	struct tm local;
	if (localtime_r(&t, &local) == NULL)
		return 0;
	switch (span) {
	case NS_SPAN_MINUTE:
		return cut(at_s, 60, 0);
	case NS_SPAN_HOUR:
		return cut(at_s, 3600, local.tm_gmtoff);
	case NS_SPAN_MONTH:
		local.tm_mday = 1;
		return midnight(local);
	case NS_SPAN_DAY:
	default:
		return midnight(local);
	}
}

int64_t ns_span_next(enum ns_span span, int64_t begin_s)
{
	time_t t = (time_t)begin_s;
	struct tm local;
	if (span == NS_SPAN_MINUTE)
		return begin_s + 60;
	if (span == NS_SPAN_HOUR)
		return begin_s + 3600;
	if (localtime_r(&t, &local) == NULL)
		return begin_s + 86400;
	if (span == NS_SPAN_DAY) {
		local.tm_mday++;
	} else {
		local.tm_mday = 1;
		local.tm_mon++;
	}
	return midnight(local);
}
