/* What waits for one endpoint, in memory: a window of the rows in the database, with one lane for each device. A lane
 * has at most one row on its way; the next goes when that one has ended, so the order of a device is kept while
 * devices do not wait for each other. A lane whose row failed is held for a time; what comes for it meanwhile is not
 * kept here but read again later. Pure: no database, no network, no clock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/rng.h"

struct as_lane;

enum as_lane_row_state { AS_ROW_QUEUED, AS_ROW_IN_FLIGHT, AS_ROW_SETTLING, AS_ROW_SETTLED };

/* From as_lane_row_new(); texts and body lie behind it. */
struct as_lane_row {
	struct lw_list node; /* in its lane, or settled */
	struct as_lane *lane;
	void *owner; /* the caller's */
	enum as_lane_row_state state;
	int64_t seq;
	int64_t queued_us;
	uint64_t dev_eui;
	unsigned attempts;
	int64_t first_failed_ns; /* 0: not yet */
	const char *name;        /* "up" … */
	const char *idempotency;
	struct lw_span body; /* protobuf */
};

struct as_lanes {
	struct lw_map by_device;
	struct lw_map by_seq;
	struct lw_list ready; /* lanes whose first row may go */
	struct lw_list held;
	struct lw_list settled;
	size_t queued, in_flight;
	bool reading; /* a page is being read from the database */
	bool rescan;  /* rows were passed over: they have to be read again, from the beginning */
};

void as_lanes_init(struct as_lanes *l);
void as_lanes_deinit(struct as_lanes *l);

struct as_lane_row *as_lane_row_new(int64_t seq, int64_t queued_us, uint64_t dev_eui, const char *name,
				    const char *idempotency, struct lw_span body);
/* Takes the row. False: it was here already, or its lane is held; it is freed. */
bool as_lanes_add(struct as_lanes *l, struct as_lane_row *row);
/* The next row to send, now in flight, or NULL. */
struct as_lane_row *as_lanes_next(struct as_lanes *l, int64_t now_ns);
/* In flight → to be tried again, before all others of its device. hold_ns 0: as soon as its turn comes. */
void as_lanes_retry(struct as_lanes *l, struct as_lane_row *row, int64_t now_ns, int64_t hold_ns);
/* In flight → over. The row stays known until the database has forgotten it: as_lanes_settled(). */
void as_lanes_done(struct as_lanes *l, struct as_lane_row *row);
/* seq that is not known is ignored. */
void as_lanes_settled(struct as_lanes *l, int64_t seq);
/* Around a read; `from_start`: it reads from the beginning, so nothing is passed over any more. */
void as_lanes_read_begin(struct as_lanes *l, bool from_start);
void as_lanes_read_end(struct as_lanes *l);
/* No lane is held any longer. */
void as_lanes_release(struct as_lanes *l);
/* Forgets what is queued; in flight and settling rows stay. Asks for a rescan. */
void as_lanes_forget(struct as_lanes *l);
/* As above, for an endpoint that has been closed: what was in flight is forgotten, too. */
void as_lanes_abandon(struct as_lanes *l);
bool as_lanes_knows(const struct as_lanes *l, int64_t seq);
/* Monotonic time at which the next held lane is free; INT64_MAX: none is held. */
int64_t as_lanes_due(const struct as_lanes *l);

/* Delay before attempt number `attempts` + 1: doubling from a second up to max_ms, shortened by up to a quarter at
 * random. */
uint32_t as_retry_delay_ms(unsigned attempts, uint32_t max_ms, struct lw_rng *rng);
