/* Shared by the two files of the way to the network-server: nsync.c (the cycle), nsync_settle.c (what is left over). */
#pragma once

#include "app-server/as.h"
#include "app-server/link/nsync.h"
#include "common/io/grpc_client.h"

#define AS_NSYNC_RETRY_MIN_MS 500
#define AS_NSYNC_RETRY_MAX_MS 30000

struct as_nsync {
	struct as *as;
	struct lw_list waiting;
	size_t n_pending;
	bool busy;
	bool closing;
	uint64_t call;               /* under way at the network-server … */
	struct grpc_client *call_at; /* … at this replica */

	struct lw_list puts;    /* of this cycle */
	struct lw_list singles; /* to be committed one by one, since the batch failed */
	struct lw_list deletes;
	struct lw_list settled; /* committed, answered after the network-server was told of the intents they left */
	size_t deletes_open;

	struct lw_arena arena;
	Longwave__Ns__V1__ApplyRequest request;
	Longwave__Ns__V1__Change **changes;
	const char **kinds; /* of `changes`, while settling */
	const char **ids;
	size_t n_changes;
	size_t damaged; /* of them could not be read */
	bool more;      /* a kind had more intents than one round takes */

	bool dirty; /* intents are left */
	bool due;   /* … and it is time to settle them */
	uint32_t retry_ms;
	struct rt_timer retry;
};

/* Removes intents: (kind t, id t) by batch. */
extern const struct sql_stmt as_nsync_intent_remove;

/* Pushes what the database says for every intent, then ends the cycle. */
void as_nsync_settle(struct as_nsync *s);
/* Intents are left: they are settled when the retry timer says so. */
void as_nsync_mark_dirty(struct as_nsync *s);
void as_nsync_end_cycle(struct as_nsync *s);
/* Sends s->changes; `done` as of a gRPC call. */
void as_nsync_apply(struct as_nsync *s, grpc_done_fn *done);
/* Words of the network-server against change i, or "". */
const char *as_nsync_error(const ProtobufCMessage *resp, size_t i);
