/* Inside of the store; for its own files only. */
#pragma once

#include "common/base/map.h"
#include "common/io/sql.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"
#include "network-server/store/store.h"

struct ns_profile_row {
	struct ns_profile profile;
	char id[LW_UUID_TEXT];
};

struct ns_gateway_row {
	struct ns_gateway gateway;
	Longwave__Ns__V1__Gateway *body; /* as configured, with the position as last reported */
	bool dirty;                      /* last_seen or position changed since the last write */
	bool body_dirty;
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
	struct lw_devaddr devaddr;
	uint32_t blob_len;
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
	/* Rises whenever a device row changes otherwise than by a commit that the cache sees: an answer of the database
	 * that was asked for before is not put into the cache. */
	uint64_t generation;

	uint64_t ack_seq; /* outbox rows up to here go with the next tick */
	bool ack_dirty;
	struct rt_tick *tick;
	struct rt_timer seen_timer;
	struct ns_store_stats stats;
};

static inline int64_t ns_i64(uint64_t v)
{
	return (int64_t)v;
}

/* catalog.c */
void ns_catalog_load(struct ns_store *s);
void ns_catalog_deinit(struct ns_store *s);
struct ns_profile_row *ns_catalog_put_profile(struct ns_store *s, const Longwave__Ns__V1__DeviceProfile *body);
void ns_catalog_delete_profile(struct ns_store *s, const char *id);
void ns_catalog_put_gateway(struct ns_store *s, const Longwave__Ns__V1__Gateway *body, int64_t last_seen_ns);
void ns_catalog_delete_gateway(struct ns_store *s, struct lw_gateway_id id);
void ns_catalog_flush_seen(struct ns_store *s);
void ns_catalog_seen(void *self, struct lw_gateway_id id, int64_t now_ns, const Common__Location *location);
const struct ns_gateway *ns_catalog_find(void *self, struct lw_gateway_id id);

/* device_cache.c */
void ns_cache_deinit(struct ns_store *s);
void ns_cache_drop(struct ns_store *s, struct lw_dev_eui dev_eui);
/* NULL blob: no session. Replaces what was there. NULL when the profile is unknown. */
struct ns_cached *ns_cache_put(struct ns_store *s, const Longwave__Ns__V1__Device *body, uint64_t version,
			       struct lw_devaddr devaddr, struct lw_span blob);
void ns_cache_set_session(struct ns_store *s, struct ns_cached *c, uint64_t version, struct lw_devaddr devaddr,
			  struct lw_span blob);
void ns_cache_touch(struct ns_store *s, struct ns_cached *c);
/* A new address may exist in the database that the cache calls empty. */
void ns_cache_forget_addr(struct ns_store *s, struct lw_devaddr devaddr);
struct ns_device *ns_cache_copy(const struct ns_cached *c, struct lw_arena *arena);

/* fetch.c */
void ns_store_fetch(void *self, struct ns_fetch **v, size_t n);
void ns_store_addr_check(void *self, struct ns_addr_check **v, size_t n);
/* commit.c */
void ns_store_commit(void *self, struct ns_change **v, size_t n);
/* queue.c */
void ns_store_queue_head(void *self, struct ns_queue_fetch **v, size_t n);
/* outbox.c */
void ns_outbox_flush_acks(struct ns_store *s);
