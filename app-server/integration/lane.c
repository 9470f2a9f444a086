#include "app-server/integration/lane.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"

#define FIRST_DELAY_MS 1000

struct as_lane {
	struct lw_list node; /* in ready or held; alone while a row is in flight or nothing is queued */
	struct lw_list rows; /* queued, by seq */
	uint64_t dev_eui;
	bool in_flight;
	bool passed_over; /* rows of it were not kept */
	int64_t until_ns; /* held until then; 0: not held */
};

void as_lanes_init(struct as_lanes *l)
{
	memset(l, 0, sizeof(*l));
	lw_map_init(&l->by_device);
	lw_map_init(&l->by_seq);
	lw_list_init(&l->ready);
	lw_list_init(&l->held);
	lw_list_init(&l->settled);
}

void as_lanes_deinit(struct as_lanes *l)
{
	size_t it = 0;
	uint64_t key;
	void *value;
	while (lw_map_next(&l->by_seq, &it, &key, &value))
		free(value);
	for (it = 0; lw_map_next(&l->by_device, &it, &key, &value);)
		free(value);
	lw_map_deinit(&l->by_seq);
	lw_map_deinit(&l->by_device);
}

struct as_lane_row *as_lane_row_new(int64_t seq, int64_t queued_us, uint64_t dev_eui, const char *name,
				    const char *idempotency, struct lw_span body)
{
	size_t n_name = strlen(name) + 1, n_id = strlen(idempotency) + 1;
	struct as_lane_row *row = lw_xcalloc(1, sizeof(*row) + n_name + n_id + body.n);
	char *p = (char *)(row + 1);
	lw_list_init(&row->node);
	row->seq = seq;
	row->queued_us = queued_us;
	row->dev_eui = dev_eui;
	row->name = memcpy(p, name, n_name);
	row->idempotency = memcpy(p + n_name, idempotency, n_id);
	if (body.n)
		memcpy(p + n_name + n_id, body.p, body.n);
	row->body = lw_span(p + n_name + n_id, body.n);
	return row;
}

static void row_free(struct as_lanes *l, struct as_lane_row *row)
{
	lw_map_remove(&l->by_seq, (uint64_t)row->seq);
	lw_list_remove(&row->node);
	free(row);
}

/* Puts the lane where it belongs, or ends it when nothing is left to remember. */
static void place(struct as_lanes *l, struct as_lane *lane)
{
	lw_list_remove(&lane->node);
	if (lane->in_flight)
		return;
	if (lane->until_ns) {
		lw_list_push_back(&l->held, &lane->node);
	} else if (!lw_list_empty(&lane->rows)) {
		lw_list_push_back(&l->ready, &lane->node);
	} else if (lane->passed_over) {
		l->rescan = true;
	} else {
		lw_map_remove(&l->by_device, lane->dev_eui);
		free(lane);
	}
}

static struct as_lane *lane_of(struct as_lanes *l, uint64_t dev_eui)
{
	struct as_lane *lane = lw_map_find(&l->by_device, dev_eui);
	if (!lane) {
		lane = lw_xcalloc(1, sizeof(*lane));
		lane->dev_eui = dev_eui;
		lw_list_init(&lane->node);
		lw_list_init(&lane->rows);
		lw_map_put(&l->by_device, dev_eui, lane);
	}
	return lane;
}

bool as_lanes_add(struct as_lanes *l, struct as_lane_row *row)
{
	if (lw_map_find(&l->by_seq, (uint64_t)row->seq)) {
		free(row);
		return false;
	}
	struct as_lane *lane = lane_of(l, row->dev_eui);
	if (lane->until_ns || lane->passed_over) {
		/* The first row of a held lane is kept; the others would fill the window for nothing. */
		if (lane->passed_over || !lw_list_empty(&lane->rows)) {
			lane->passed_over = true;
			free(row);
			return false;
		}
	}
	row->lane = lane;
	row->state = AS_ROW_QUEUED;
	struct lw_list *at = lane->rows.prev;
	while (at != &lane->rows && LW_CONTAINER_OF(at, struct as_lane_row, node)->seq > row->seq)
		at = at->prev;
	lw_list_insert_after(at, &row->node);
	lw_map_put(&l->by_seq, (uint64_t)row->seq, row);
	l->queued++;
	if (lw_list_empty(&lane->node))
		place(l, lane);
	return true;
}

struct as_lane_row *as_lanes_next(struct as_lanes *l, int64_t now_ns)
{
	LW_LIST_FOREACH (node, tmp, &l->held) {
		struct as_lane *lane = LW_CONTAINER_OF(node, struct as_lane, node);
		if (lane->until_ns <= now_ns) {
			lane->until_ns = 0;
			place(l, lane);
		}
	}
	struct lw_list *node = lw_list_pop_front(&l->ready);
	if (!node)
		return NULL;
	struct as_lane *lane = LW_CONTAINER_OF(node, struct as_lane, node);
	struct as_lane_row *row = LW_CONTAINER_OF(lw_list_pop_front(&lane->rows), struct as_lane_row, node);
	row->state = AS_ROW_IN_FLIGHT;
	lane->in_flight = true;
	l->queued--;
	l->in_flight++;
	return row;
}

static struct as_lane *landed(struct as_lanes *l, struct as_lane_row *row)
{
	BUG_ON(row->state != AS_ROW_IN_FLIGHT);
	row->lane->in_flight = false;
	l->in_flight--;
	return row->lane;
}

void as_lanes_retry(struct as_lanes *l, struct as_lane_row *row, int64_t now_ns, int64_t hold_ns)
{
	struct as_lane *lane = landed(l, row);
	row->state = AS_ROW_QUEUED;
	lw_list_push_front(&lane->rows, &row->node);
	l->queued++;
	lane->until_ns = hold_ns > 0 ? now_ns + hold_ns : 0;
	place(l, lane);
}

void as_lanes_done(struct as_lanes *l, struct as_lane_row *row)
{
	struct as_lane *lane = landed(l, row);
	row->state = AS_ROW_SETTLING;
	row->lane = NULL;
	place(l, lane);
}

void as_lanes_settled(struct as_lanes *l, int64_t seq)
{
	struct as_lane_row *row = lw_map_find(&l->by_seq, (uint64_t)seq);
	if (!row || row->state != AS_ROW_SETTLING)
		return;
	row->state = AS_ROW_SETTLED;
	/* A read under way may have seen it before it was deleted. */
	if (l->reading)
		lw_list_push_back(&l->settled, &row->node);
	else
		row_free(l, row);
}

void as_lanes_read_begin(struct as_lanes *l, bool from_start)
{
	size_t it = 0;
	uint64_t key;
	void *value;
	l->reading = true;
	if (!from_start)
		return;
	l->rescan = false;
	while (lw_map_next(&l->by_device, &it, &key, &value)) {
		struct as_lane *lane = value;
		lane->passed_over = false;
		if (lw_list_empty(&lane->node))
			place(l, lane);
	}
}

void as_lanes_read_end(struct as_lanes *l)
{
	struct lw_list *node;
	l->reading = false;
	while ((node = lw_list_pop_front(&l->settled)))
		row_free(l, LW_CONTAINER_OF(node, struct as_lane_row, node));
}

void as_lanes_release(struct as_lanes *l)
{
	while (!lw_list_empty(&l->held)) {
		struct as_lane *lane = LW_CONTAINER_OF(l->held.next, struct as_lane, node);
		lane->until_ns = 0;
		place(l, lane);
	}
}

static void drop(struct as_lanes *l, bool in_flight)
{
	size_t it = 0;
	uint64_t key;
	void *value;
	while (lw_map_next(&l->by_seq, &it, &key, &value)) {
		struct as_lane_row *row = value;
		if (row->state == AS_ROW_QUEUED) {
			l->queued--;
			row->lane->passed_over = true;
			row_free(l, row);
		} else if (in_flight && row->state == AS_ROW_IN_FLIGHT) {
			row->lane->passed_over = true;
			landed(l, row);
			row_free(l, row);
		}
	}
	for (it = 0; lw_map_next(&l->by_device, &it, &key, &value);)
		place(l, value);
	l->rescan = true;
}

void as_lanes_forget(struct as_lanes *l)
{
	drop(l, false);
}

void as_lanes_abandon(struct as_lanes *l)
{
	drop(l, true);
}

bool as_lanes_knows(const struct as_lanes *l, int64_t seq)
{
	return lw_map_find(&l->by_seq, (uint64_t)seq) != NULL;
}

int64_t as_lanes_due(const struct as_lanes *l)
{
	int64_t due = INT64_MAX;
	for (struct lw_list *n = l->held.next; n != &l->held; n = n->next) {
		const struct as_lane *lane = LW_CONTAINER_OF(n, struct as_lane, node);
		if (lane->until_ns < due)
			due = lane->until_ns;
	}
	return due;
}

uint32_t as_retry_delay_ms(unsigned attempts, uint32_t max_ms, struct lw_rng *rng)
{
	uint32_t ms = attempts < 20 ? (uint32_t)FIRST_DELAY_MS << attempts : max_ms;
	if (ms > max_ms)
		ms = max_ms;
	return ms - (uint32_t)lw_rng_below(rng, ms / 4 + 1);
}
