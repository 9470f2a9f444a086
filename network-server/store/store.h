/* The network-server's durable state over SQL, and what of it is kept in memory. Implements the store port of the flows
 * and the changes that the API makes. Knows no radio, no MQTT, no gRPC; never logs keys. */
#pragma once

#include "common/base/ids.h"
#include "common/io/sql.h"
#include "network-server/domain/device.h"
#include "network-server/flow/ports.h"

struct rt_loop;
struct rt_log;
struct rt_metric;
struct ns_store;

/* An event that is durable and has its number. Borrowed during the call. */
struct ns_stored_event {
	uint64_t seq;
	struct lw_span packed; /* complete longwave.ns.v1.Event */
};

struct ns_store_opts {
	struct rt_loop *loop;
	struct rt_log *log;
	struct sql_db *db;
	const char *origin;           /* stable id of this replica */
	size_t max_cached;            /* devices kept in memory; 0: 300000 */
	uint32_t max_queue;           /* items of a device; 0: 1000 */
	uint32_t max_multicast_queue; /* items of a multicast group; 0: 1000 */
	struct lw_rng *rng;
	struct rt_metric *damaged; /* counts rows that could not be read; may be NULL */
	/* Once, when the tables are there and gateways and profiles are loaded; or err and its text: end the daemon. */
	void (*on_ready)(void *arg, int err, const char *detail);
	/* In the order of seq, after their commit. */
	void (*on_events)(void *arg, const struct ns_stored_event *v, size_t n);
	/* true: a commit's outcome is unknown, events may be in the outbox that on_events never gets; hand on nothing
	 * more. false: it is certain now, go on with what the outbox holds. */
	void (*on_gap)(void *arg, bool open);
	/* What other replicas must know of, for their ns_store_hear(). May be NULL. */
	void (*tell)(void *arg, const char *kind, struct lw_span body);
	void *arg;
};

struct ns_store *ns_store_new(const struct ns_store_opts *o);
/* Writes what is written at leisure; before the database is freed. */
void ns_store_flush(struct ns_store *s);
/* After the database was freed, so that every answer under way has come. */
void ns_store_free(struct ns_store *s);
void ns_store_fill_port(struct ns_store *s, struct ns_store_port *out);
void ns_store_fill_gateway_port(struct ns_store *s, struct ns_gateway_port *out);
void ns_store_fill_multicast_port(struct ns_store *s, struct ns_multicast_port *out);
const char *ns_store_origin(const struct ns_store *s);

/* ---- replicas ---- */

/* Another replica changed something that may be in memory here. */
void ns_store_hear(struct ns_store *s, const char *kind, struct lw_span body);
/* It may have, and was not heard: sessions are read again when they are needed, gateways and profiles now. */
void ns_store_resync(struct ns_store *s);
/* Names of all replicas that ever wrote to this database, this one included. */
typedef void ns_origins_fn(void *arg, const char *const *names, size_t n);
void ns_store_origins(struct ns_store *s, ns_origins_fn *done, void *arg);

/* A device with a session and something in its queue. */
struct ns_queued {
	int64_t place; /* its EUI as the database counts: the next page is from the one behind the last place */
	struct lw_dev_eui dev_eui;
	bool at_any_time;         /* its profile is of class B or C */
	bool half_sent;           /* something was given to a gateway, and nothing was heard of it yet */
	int64_t timeout_after_ns; /* when waiting for an acknowledgement ends; 0: waits for none, or until an uplink */
};
typedef void ns_queued_fn(void *arg, int err, const struct ns_queued *v, size_t n);
/* In the order of their places, `from` on, at most `limit`; fewer: these were the last. */
void ns_store_queued_page(struct ns_store *s, int64_t from, uint32_t limit, ns_queued_fn *done, void *arg);

struct ns_store_stats {
	size_t cached_devices, gateways, profiles;
	uint64_t cache_hits, cache_misses, commits, conflicts;
};
void ns_store_get_stats(const struct ns_store *s, struct ns_store_stats *out);

/* ---- configuration (Apply) ---- */

/* done is called once; errors[i] is "" or what is wrong with change i (then nothing of that change was done). err: the
 * whole did not happen. `req` stays valid until then. */
typedef void ns_apply_fn(void *arg, int err, const char *const *errors, size_t n);
void ns_store_apply(struct ns_store *s, const Longwave__Ns__V1__ApplyRequest *req, ns_apply_fn *done, void *arg);

/* Borrowed until the loop is reached again; NULL: unknown. */
const struct ns_profile *ns_store_find_profile(const struct ns_store *s, const char *id);
/* All of them, as memory has them. */
typedef void ns_profile_fn(void *arg, const struct ns_profile *p);
void ns_store_each_profile(const struct ns_store *s, ns_profile_fn *fn, void *arg);

/* ---- queue ---- */

typedef void ns_store_done_fn(void *arg, int err);
enum ns_enqueue_result {
	NS_ENQUEUED,
	NS_ENQUEUE_NO_DEVICE,
	NS_ENQUEUE_EXISTS, /* an item with this id waits already */
	NS_ENQUEUE_FULL,   /* the device has as many as it may */
};
/* Adds items behind the others; `req` (with valid EUIs and UUIDs) stays valid until done. What became of each is in
 * `results` (one per item; may be NULL). When none was added: LW_ENOTFOUND none of the devices is there, LW_EEXISTS
 * the ids are; LW_EFULL: one of them did not get in for that reason. */
void ns_store_enqueue(struct ns_store *s, const Longwave__Ns__V1__EnqueueRequest *req, enum ns_enqueue_result *results,
		      ns_store_done_fn *done, void *arg);
/* Removes what is still waiting. */
void ns_store_flush_queue(struct ns_store *s, struct lw_dev_eui dev_eui, ns_store_done_fn *done, void *arg);
/* The first `limit` items (at least one) as messages in `arena`, oldest first; a row that cannot be read is left out.
 * total: of the queue. */
typedef void ns_queue_list_fn(void *arg, int err, Longwave__Ns__V1__QueueItem **v, size_t n, size_t total);
void ns_store_list_queue(struct ns_store *s, struct lw_dev_eui dev_eui, size_t limit, struct lw_arena *arena,
			 ns_queue_list_fn *done, void *arg);
/* Items that a queue may hold. */
uint32_t ns_store_max_queue(const struct ns_store *s);
uint32_t ns_store_max_multicast_queue(const struct ns_store *s);
/* New ciphertexts for items that still wait. */
void ns_store_reencrypt(struct ns_store *s, const Longwave__Ns__V1__ReencryptRequest *req, ns_store_done_fn *done,
			void *arg);

/* ---- multicast ---- */

/* err: 0; LW_ENOTFOUND no such group; LW_ECONFLICT none of the payloads is for the group's counter; LW_EFULL the group
 * has as many items as it may. */
typedef void ns_multicast_enqueued_fn(void *arg, int err, uint32_t f_cnt);
/* `item` (with valid ids and payloads) may go at once. */
void ns_store_enqueue_multicast(struct ns_store *s, const Longwave__Ns__V1__MulticastItem *item,
				ns_multicast_enqueued_fn *done, void *arg);
/* With the counter of the next item. */
typedef void ns_multicast_got_fn(void *arg, int err, const Longwave__Ns__V1__MulticastGroup *group);
void ns_store_get_multicast(struct ns_store *s, struct lw_uuid group, struct lw_arena *arena, ns_multicast_got_fn *got,
			    void *arg);
typedef void ns_multicast_list_fn(void *arg, int err, Longwave__Ns__V1__MulticastItem **v, size_t n, size_t total);
void ns_store_list_multicast(struct ns_store *s, struct lw_uuid group, size_t limit, struct lw_arena *arena,
			     ns_multicast_list_fn *list, void *arg);
void ns_store_flush_multicast(struct ns_store *s, struct lw_uuid group, ns_store_done_fn *done, void *arg);
/* Groups with something in their queue. */
typedef void ns_multicast_waiting_fn(void *arg, const struct lw_uuid *v, size_t n);
void ns_store_waiting_multicast(struct ns_store *s, ns_multicast_waiting_fn *waiting, void *arg);

/* ---- outbox ---- */

/* Events of an origin (ours, or a replica's that is gone) after `seq`, oldest first: about a KiB for each of `limit`,
 * at least one. `more`: there may be further ones. */
typedef void ns_outbox_fn(void *arg, int err, const struct ns_stored_event *v, size_t n, bool more);
void ns_store_read_outbox(struct ns_store *s, const char *origin, uint64_t after_seq, uint32_t limit,
			  ns_outbox_fn *done, void *arg);
/* They are safe with the application server; removed a little later, in one statement for all calls until then. A
 * number that was never given to an event is ignored. */
void ns_store_ack_outbox(struct ns_store *s, uint64_t up_to_seq);
/* The same for a replica that is gone, at once. */
void ns_store_ack_orphans(struct ns_store *s, const char *origin, uint64_t up_to_seq);
/* The number of the last event that was written, or of none. */
uint64_t ns_store_last_seq(const struct ns_store *s);
