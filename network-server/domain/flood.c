#include "network-server/domain/flood.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"

#define WINDOW_NS (NS_FLOOD_WINDOW_S * LW_NS_PER_S)

void ns_flood_init(struct ns_flood *f, const struct ns_flood_limits *limits)
{
	*f = (struct ns_flood){.limits = *limits, .window = -2};
	f->airtime_ms = lw_xcalloc(NS_FLOOD_CELLS, sizeof(*f->airtime_ms));
	f->joins = lw_xcalloc(NS_FLOOD_CELLS, sizeof(*f->joins));
	lw_map_init(&f->suspects);
}

static void forget(struct ns_flood *f, uint64_t eui, struct ns_suspect *s)
{
	f->n_quarantined -= s->kind != NS_FLOOD_NONE;
	lw_map_remove(&f->suspects, eui);
	free(s);
}

void ns_flood_deinit(struct ns_flood *f)
{
	size_t it = 0;
	uint64_t eui;
	void *s;
	while (lw_map_next(&f->suspects, &it, &eui, &s))
		free(s);
	lw_map_deinit(&f->suspects);
	free(f->airtime_ms);
	free(f->joins);
}

static uint32_t limit_ms(const struct ns_flood *f)
{
	return f->limits.airtime_percent * NS_FLOOD_WINDOW_S * 10;
}

static bool over(uint32_t n, uint32_t limit)
{
	return limit > 0 && n > limit;
}

/* The minute is over: is it one more in a row? */
static void close_minute(const struct ns_flood *f, struct ns_suspect *s, bool in_a_row)
{
	bool up = in_a_row && over(s->airtime_ms, limit_ms(f)), join = in_a_row && over(s->joins, f->limits.joins);
	s->minutes[0] = up ? s->minutes[0] + 1 : 0;
	s->minutes[1] = join ? s->minutes[1] + 1 : 0;
	s->airtime_ms = 0;
	s->joins = 0;
}

/* A new minute: all begin anew, and quarantines that are over end. */
static void advance(struct ns_flood *f, int64_t now_ns)
{
	int64_t window = now_ns / WINDOW_NS;
	size_t it = 0;
	uint64_t eui;
	void *value;
	if (window == f->window)
		return;
	bool in_a_row = window == f->window + 1;
	f->window = window;
	memset(f->airtime_ms, 0, NS_FLOOD_CELLS * sizeof(*f->airtime_ms));
	memset(f->joins, 0, NS_FLOOD_CELLS * sizeof(*f->joins));
	while (lw_map_next(&f->suspects, &it, &eui, &value)) {
		struct ns_suspect *s = value;
		close_minute(f, s, in_a_row);
		if (s->kind == NS_FLOOD_NONE ? s->minutes[0] + s->minutes[1] == 0 : s->until_ns <= now_ns)
			forget(f, eui, s);
	}
}

static struct ns_suspect *find(struct ns_flood *f, uint64_t eui, int64_t now_ns)
{
	advance(f, now_ns);
	struct ns_suspect *s = lw_map_count(&f->suspects) > 0 ? lw_map_find(&f->suspects, eui) : NULL;
	if (s != NULL && s->kind != NS_FLOOD_NONE && s->until_ns <= now_ns) {
		forget(f, eui, s);
		return NULL;
	}
	return s;
}

static struct ns_suspect *add(struct ns_flood *f, uint64_t eui)
{
	if (lw_map_count(&f->suspects) >= NS_FLOOD_SUSPECTS)
		return NULL;
	struct ns_suspect *s = lw_xcalloc(1, sizeof(*s));
	lw_map_put(&f->suspects, eui, s);
	return s;
}

const struct ns_suspect *ns_flood_find(struct ns_flood *f, uint64_t eui, int64_t now_ns)
{
	const struct ns_suspect *s = find(f, eui, now_ns);
	return s != NULL && s->kind != NS_FLOOD_NONE ? s : NULL;
}

static const struct ns_suspect *quarantine(struct ns_flood *f, struct ns_suspect *s, enum ns_flood_kind kind,
					   uint32_t measured, int64_t now_ns, int64_t until_ns)
{
	f->n_quarantined += s->kind == NS_FLOOD_NONE;
	s->kind = kind;
	s->measured = measured;
	s->since_ns = now_ns;
	s->until_ns = until_ns;
	s->join_passed_ns = now_ns;
	return s;
}

/* Cells are shared by devices that have nothing else in common: spread the bits of addresses that follow each other. */
static size_t cell_of(uint64_t eui)
{
	return (size_t)(eui * 0x9E3779B97F4A7C15ULL >> 48) % NS_FLOOD_CELLS;
}

static bool is_flood(const struct ns_flood *f, uint32_t minutes_before)
{
	return minutes_before + 1 >= f->limits.minutes;
}

const struct ns_suspect *ns_flood_uplink(struct ns_flood *f, uint64_t eui, uint32_t airtime_us, int64_t now_ns)
{
	uint32_t ms = airtime_us / 1000, limit = limit_ms(f);
	struct ns_suspect *s = find(f, eui, now_ns);
	if (limit == 0)
		return NULL;
	uint32_t *cell = &f->airtime_ms[cell_of(eui)];
	*cell += ms;
	/* Alone or with others: from a quarter of the limit on the device has a count of its own, which holds nothing
	 * of what came before. */
	if (s == NULL && *cell >= limit / 4)
		s = add(f, eui);
	if (s == NULL || s->kind != NS_FLOOD_NONE)
		return NULL;
	s->airtime_ms += ms;
	if (!over(s->airtime_ms, limit) || !is_flood(f, s->minutes[0]))
		return NULL;
	uint32_t gone_ms = (uint32_t)((now_ns - f->window * WINDOW_NS) / LW_NS_PER_MS);
	uint32_t percent = gone_ms > s->airtime_ms ? s->airtime_ms * 100 / gone_ms : 100;
	return quarantine(f, s, NS_FLOOD_UPLINKS, percent, now_ns,
			  now_ns + (int64_t)f->limits.duration_s * LW_NS_PER_S);
}

const struct ns_suspect *ns_flood_join(struct ns_flood *f, uint64_t eui, int64_t now_ns)
{
	struct ns_suspect *s = find(f, eui, now_ns);
	if (f->limits.joins == 0)
		return NULL;
	uint16_t *cell = &f->joins[cell_of(eui)];
	*cell = (uint16_t)(*cell + (*cell < UINT16_MAX));
	if (s == NULL && *cell > f->limits.joins / 4)
		s = add(f, eui);
	if (s == NULL || s->kind != NS_FLOOD_NONE)
		return NULL;
	s->joins++;
	if (!over(s->joins, f->limits.joins) || !is_flood(f, s->minutes[1]))
		return NULL;
	return quarantine(f, s, NS_FLOOD_JOINS, s->joins, now_ns, now_ns + (int64_t)f->limits.duration_s * LW_NS_PER_S);
}

bool ns_flood_drops(struct ns_flood *f, uint64_t eui, bool is_join, int64_t now_ns)
{
	struct ns_suspect *s = find(f, eui, now_ns);
	if (s == NULL || s->kind == NS_FLOOD_NONE)
		return false;
	/* Who floods with joins may have a session that works. */
	if (!is_join && s->kind == NS_FLOOD_JOINS)
		return false;
	if (is_join && now_ns - s->join_passed_ns >= NS_FLOOD_JOIN_EVERY_S * LW_NS_PER_S) {
		s->join_passed_ns = now_ns;
		return false;
	}
	s->dropped++;
	return true;
}

void ns_flood_begin(struct ns_flood *f, uint64_t eui, enum ns_flood_kind kind, uint32_t measured, int64_t now_ns,
		    int64_t until_ns)
{
	struct ns_suspect *s = find(f, eui, now_ns);
	if (s == NULL)
		s = add(f, eui);
	if (s != NULL && s->kind == NS_FLOOD_NONE)
		(void)quarantine(f, s, kind, measured, now_ns, until_ns);
}

bool ns_flood_release(struct ns_flood *f, uint64_t eui)
{
	struct ns_suspect *s = lw_map_find(&f->suspects, eui);
	bool was = s != NULL && s->kind != NS_FLOOD_NONE;
	if (s != NULL)
		forget(f, eui, s);
	return was;
}
