/* Inside of the store; for its own files only. */
#pragma once

#include "common/base/map.h"
#include "common/base/pace.h"
#include "common/io/sql.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"
#include "network-server/store/store.h"

struct ns_profile_row {
	struct ns_profile profile;
	bool deleted;    /* kept for the cached devices that point here */
	unsigned loaded; /* number of the load that saw it last */
	unsigned fresh;  /* number of the load under way when somebody changed it: that may have read it before */
	char id[LW_UUID_TEXT];
};

struct ns_gateway_row {
	struct ns_gateway gateway;
	Longwave__Ns__V1__Gateway *body; /* as configured, with the position as last reported */
	unsigned loaded, fresh;          /* as those of a profile */
	bool dirty;                      /* last_seen or position changed since the last write */
	bool body_dirty;
	bool region_dirty;
	bool untold; /* other replicas are to hear of it */
};

/* A device in memory: small; the session stays packed until a frame needs it. */
struct ns_cached {
	struct ns_cached *next_addr; /* others with this DevAddr */
	struct ns_cached *older, *newer;
	struct lw_dev_eui dev_eui;
	struct lw_join_eui join_eui;
	struct lw_uuid tenant_id;
	struct ns_profile_row *profile;
	uint64_t version;
	bool is_disabled;
	bool skip_f_cnt_check;
	bool has_session;
	/* False: the queue is empty; what an enqueue elsewhere adds shows as a conflict of the version. */
	bool may_have_queue;
	uint32_t queue_stamp; /* of this entry and its knowledge about the queue; never the same twice */
	struct lw_devaddr devaddr;
	uint32_t blob_len, blob_cap;
	uint8_t *blob;
};

struct ns_store {
	struct ns_store_opts o;
	char origin[64];
	struct sql_db *db;
	bool ready;
	uint64_t next_seq;
	uint64_t next_position;
	uint64_t next_writer;

	struct lw_bmap profiles; /* id text → ns_profile_row */
	struct lw_map gateways;  /* EUI → ns_gateway_row */

	struct lw_map devices; /* EUI → ns_cached */
	struct lw_map by_addr; /* DevAddr → chain of ns_cached, or &s->none: known to have nobody */
	struct ns_cached *oldest, *newest;
	struct ns_cached none;
	/* What changed while the database was being asked for devices: such rows may be old when the answer comes, and
	 * are not put into the cache. Number of the change by EUI and by the address that a device got. */
	uint64_t generation;
	uint64_t floor; /* answers to questions before this change are not put into the cache at all */
	size_t n_asking;
	struct lw_map changed;
	struct lw_map changed_addr;
	uint32_t queue_stamp;

	/* Changes of this turn; they leave together. */
	struct ns_change **changes;
	size_t n_changes, cap_changes;
	size_t n_flights;    /* transactions of them under way */
	unsigned doubts;     /* so many are not sent as a whole, see commit.c */
	struct lw_pace pace; /* what comes next may wait for company, see commit.c */
	struct rt_timer gap_timer;
	struct rt_tick *tick;

	uint64_t ack_seq; /* outbox rows up to here may go */
	bool ack_dirty;
	struct rt_timer ack_timer;
	struct rt_timer seen_timer;
	struct rt_timer heard_timer;
	struct rt_timer start_timer;
	unsigned load; /* how often gateways and profiles were read */
	bool loading;
	bool load_again;   /* something was missed while it could not be read */
	unsigned n_gone;   /* gateways that were deleted */
	size_t n_applying; /* Apply under way: bodies of gateways are its own */
	struct ns_fence *fences;
	struct rt_timer fence_timer;
	struct ns_store_stats stats;
};

static inline int64_t ns_i64(uint64_t v)
{
	return (int64_t)v;
}

/* replicas.c */
void ns_tell(struct ns_store *s, const char *kind, struct lw_span body);
void ns_tell_device(struct ns_store *s, struct lw_dev_eui dev_eui);
void ns_tell_addr(struct ns_store *s, struct lw_dev_eui dev_eui, struct lw_devaddr addr);
void ns_tell_change(struct ns_store *s, const Longwave__Ns__V1__Change *c);

/* store.c: the catalog is in memory, or could not be loaded. */
void ns_store_loaded(struct ns_store *s, const struct sql_outcome *outcome);
/* What others changed in the catalog may have been missed: it is read again, as soon as that can be done. */
void ns_store_reload(struct ns_store *s);

/* What a row holds in `column` cannot be read: its place in the log, and counted. */
void ns_store_damaged(struct ns_store *s, const char *table, const char *id, const char *column);

/* catalog.c */
void ns_catalog_load(struct ns_store *s);
/* All were read again: who was not among them is gone. */
void ns_catalog_sweep(struct ns_store *s);
void ns_catalog_deinit(struct ns_store *s);
struct ns_profile_row *ns_catalog_put_profile(struct ns_store *s, const Longwave__Ns__V1__DeviceProfile *body);
/* False: it was not there. */
bool ns_catalog_delete_profile(struct ns_store *s, const char *id);
/* NULL: unknown or deleted. */
struct ns_profile_row *ns_catalog_profile(const struct ns_store *s, const char *id);
void ns_catalog_put_gateway(struct ns_store *s, const Longwave__Ns__V1__Gateway *body, int64_t last_seen_ns);
void ns_catalog_delete_gateway(struct ns_store *s, struct lw_gateway_id id);
void ns_catalog_region(void *self, struct lw_gateway_id id, const char *region_config_id);
/* The database or another replica knows this of a gateway. */
void ns_catalog_heard(struct ns_store *s, struct lw_gateway_id id, int64_t last_seen_ns, const char *region_config_id);
/* Tells other replicas which gateways are there again, or elsewhere, and what one of them has told. */
void ns_catalog_tell_heard(struct ns_store *s);
void ns_catalog_hear(struct ns_store *s, struct lw_span body);
void ns_catalog_flush_seen(struct ns_store *s);
void ns_catalog_seen(void *self, struct lw_gateway_id id, int64_t now_ns, const Common__Location *location);
const struct ns_gateway *ns_catalog_find(void *self, struct lw_gateway_id id);
void ns_catalog_look(void *self, struct ns_gateway_look **v, size_t n);
/* Brings into memory what the database knows of these gateways. */
typedef void ns_catalog_read_fn(void *arg, int err);
void ns_catalog_read(struct ns_store *s, const struct lw_gateway_id *v, size_t n, ns_catalog_read_fn *done, void *arg);
/* Reads the profiles with these ids; those that are there are in memory when done is called. */
typedef void ns_profiles_fn(void *arg, int err);
void ns_catalog_look_profiles(struct ns_store *s, const char *const *ids, size_t n, ns_profiles_fn *done, void *arg);

/* device_cache.c */
void ns_cache_deinit(struct ns_store *s);
void ns_cache_drop(struct ns_store *s, struct lw_dev_eui dev_eui);
void ns_cache_drop_all(struct ns_store *s);
/* Who has this address must be asked again. */
void ns_cache_drop_addr(void *store, struct lw_devaddr devaddr);
/* A device outside of the cache, from a row. NULL blob: no session. NULL when it cannot be read or its profile is
 * unknown. */
struct ns_cached *ns_cached_new(struct ns_store *s, const Longwave__Ns__V1__Device *body, uint64_t version,
				struct lw_devaddr devaddr, struct lw_span blob);
void ns_cached_free(struct ns_cached *c);
/* Takes it; replaces what was there; may evict others. */
void ns_cache_insert(struct ns_store *s, struct ns_cached *c);
/* Items may be there now, and the row has this version. */
void ns_cache_enqueued(struct ns_store *s, struct lw_dev_eui dev_eui, uint64_t version);
/* The row changed: answers of the database that are under way may not know it. */
void ns_cache_note(struct ns_store *s, struct lw_dev_eui dev_eui);
void ns_cache_note_addr(struct ns_store *s, struct lw_devaddr devaddr);
bool ns_cache_changed_since(const struct ns_store *s, struct lw_dev_eui dev_eui, uint64_t generation);
bool ns_cache_addr_changed_since(const struct ns_store *s, struct lw_devaddr devaddr, uint64_t generation);
/* Bracket a question to the database. */
uint64_t ns_cache_ask(struct ns_store *s);
void ns_cache_answered(struct ns_store *s);
void ns_cache_set_session(struct ns_store *s, struct ns_cached *c, uint64_t version, struct lw_devaddr devaddr,
			  struct lw_span blob);
void ns_cache_touch(struct ns_store *s, struct ns_cached *c);
/* A new address may exist in the database that the cache calls empty. */
void ns_cache_forget_addr(struct ns_store *s, struct lw_devaddr devaddr);
struct ns_device *ns_cache_copy(struct ns_store *s, const struct ns_cached *c, struct lw_arena *arena);

/* multicast_objects.c: changes of multicast groups; the others are not asked */
const char *ns_multicast_check(const Longwave__Ns__V1__Change *c);
/* there: gets the groups that members were put into. */
void ns_multicast_add(struct sql_tx *tx, const Longwave__Ns__V1__Change *c, struct lw_bmap *there);
/* "" or why the change had no effect. */
const char *ns_multicast_applied(const Longwave__Ns__V1__Change *c, const struct lw_bmap *there);
/* A device or gateway that is deleted belongs to no group any more. */
void ns_multicast_forget(struct sql_tx *tx, bool gateway, uint64_t eui);

/* fetch.c */
void ns_store_fetch(void *self, struct ns_fetch **v, size_t n);
void ns_store_addr_check(void *self, struct ns_addr_check **v, size_t n);
/* commit.c */
void ns_store_commit(void *self, struct ns_change **v, size_t n);
/* What was handed over, when there is room for a transaction. */
void ns_commit_init(struct ns_store *s);
void ns_commit_deinit(struct ns_store *s);
void ns_commit_flush(void *store);
void ns_commit_flush_all(struct ns_store *s);
/* queue.c */
void ns_store_queue_head(void *self, struct ns_queue_fetch **v, size_t n);
/* outbox.c */
void ns_outbox_init(struct ns_store *s);
void ns_outbox_deinit(struct ns_store *s);
void ns_outbox_flush_acks(struct ns_store *s);
#define NS_OUTBOX_ROW (32u << 10) /* bytes from which a row of several events takes no more */
/* A row of several events: this first, then before each event its length. */
void ns_outbox_begin_row(struct lw_buf *b);
void ns_outbox_put_length(struct lw_buf *b, size_t n);
/* A transaction that wrote events from `seq` on ended with an unknown outcome: nothing is handed on or removed until it
 * is certain whether they are there. */
void ns_outbox_fence(struct ns_store *s, uint64_t seq);
