/* Downlinks on their way into the network-server's queue: encrypts each for the coming counters of its device's
 * session. The API and the MQTT commands come through here. All of a loop turn go together: two calls to the
 * network-server and one read of keys for up to 500; what comes while two such batches are under way goes with the
 * next. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/base/list.h"

struct as;
struct as_enqueuer;

/* In memory of the caller until `done`. */
struct as_enqueue {
	struct lw_uuid id;
	char dev_eui[LW_EUI_TEXT];
	uint32_t f_port; /* 1..255 */
	bool confirmed;
	struct lw_span data; /* at most AS_PAYLOAD_MAX; borrowed */
	bool is_encrypted;   /* data is for exactly f_cnt_down */
	uint32_t f_cnt_down;
	int64_t expires_at_us; /* 0: never */
	bool flush_queue;
	/* gRPC status and words. ALREADY_EXISTS: an item with this id waits already. */
	void (*done)(struct as_enqueue *e, int status, const char *message);
	void *arg;
	/* Internal. */
	struct lw_list node;
};

struct as_enqueuer *as_enqueuer_new(struct as *as);
/* Ends what waits with UNAVAILABLE, as everything from now on. Before the database and the network-server's client go.
 */
void as_enqueuer_stop(struct as_enqueuer *q);
/* After them: they have answered what they were asked. */
void as_enqueuer_free(struct as_enqueuer *q);

/* A device without a session gets its item too, encrypted later, when the network-server asks for it. Items of one
 * device keep their order when each is handed over after the one before is done. */
void as_enqueue(struct as *as, struct as_enqueue *e);
