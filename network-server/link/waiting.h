/* Receptions between the broker and the flows: a copy of each until it has had its effect, a queue for those that the
 * flows have no room for, and what gives way when more comes in than the flows carry (decision 0008). Knows the kind of
 * a message and the type of a frame, nothing else of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "network-server/link/gw_mqtt.h"

struct ns_waiting;

struct ns_waiting_opts {
	struct rt_loop *loop;
	struct rt_log *log;
	struct rt_metrics *metrics;
	size_t max;             /* uplinks that may wait */
	uint32_t shed_after_ms; /* 0: nothing is shed */
	ns_gw_message_fn *take; /* 0, or LW_EFULL */
	/* No more may come in (true), or again (false). */
	void (*full)(void *arg, bool full);
	/* It is given up; after its turn nobody remembers it. */
	void (*shed)(void *arg, const struct ns_gw_message *m);
	void *arg;
};

struct ns_waiting *ns_waiting_new(const struct ns_waiting_opts *o);
void ns_waiting_free(struct ns_waiting *w);

/* Offered to the flows, or queued. Join-requests and acknowledgements pass what waits. has_past: of a journal or a
 * spool, never shed. */
void ns_waiting_put(struct ns_waiting *w, const struct ns_gw_message *m, bool has_past);
/* The flows would take again. */
void ns_waiting_room(struct ns_waiting *w);
/* Has had its effect. */
void ns_waiting_done(struct ns_waiting *w, uint64_t journal_position);
/* Could not have it now: offered again a little later, as a replay. */
void ns_waiting_retry(struct ns_waiting *w, uint64_t journal_position);
/* The broker is there (again): what it kept for us comes now. */
void ns_waiting_reconnected(struct ns_waiting *w);
/* Offers nothing any more; the journal has it. */
void ns_waiting_stop(struct ns_waiting *w);
bool ns_waiting_is_full(const struct ns_waiting *w);

/* MType of the frame in a gw.UplinkFrame, protobuf or JSON, without decoding it; -1: cannot be told. */
int ns_peek_mtype(struct lw_span uplink_frame);
