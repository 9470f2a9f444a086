#include "network-server/store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/io/sql_migrate.h"
#include "network-server/store/store_impl.h"

extern const struct sql_migration_set ns_migrations;

#define SEQ_BITS 40           /* events of one start: a million million */
#define SEEN_INTERVAL_MS 2000 /* how late a gateway's last-seen time may be in the database */

static const struct sql_stmt START_ORIGIN = {
	.name = "start_origin",
	.text = "INSERT INTO origin (name, epoch) VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET epoch = origin.epoch "
		"+ 1"
		" RETURNING epoch",
	.params = "t",
	.cols = "l",
};

static const struct sql_stmt LAST_POSITION = {
	.name = "last_position",
	.text = "SELECT coalesce(max(position), 0) FROM queue_item",
	.cols = "l",
};

static void on_last_position(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct ns_store *s = arg;
	if (outcome->err) {
		s->o.on_ready(s->o.arg, outcome->err, outcome->diag.text);
		return;
	}
	uint64_t last = (uint64_t)sql_i64(r, 0, 0);
	s->next_position = last + 1;
	ns_catalog_load(s);
}

static void on_epoch(void *arg, const struct sql_result *r)
{
	struct ns_store *s = arg;
	s->next_seq = ((uint64_t)sql_i64(r, 0, 0) << SEQ_BITS) + 1;
}

static void on_origin(void *arg, const struct sql_outcome *outcome)
{
	struct ns_store *s = arg;
	if (outcome->err)
		s->o.on_ready(s->o.arg, outcome->err, outcome->diag.text);
	else
		sql_query_send(sql_query_new(s->db, &LAST_POSITION), on_last_position, s);
}

static void on_migrated(void *arg, int err, const struct lw_diag *diag)
{
	struct ns_store *s = arg;
	if (err) {
		s->o.on_ready(s->o.arg, err, diag->text);
		return;
	}
	struct sql_tx *tx = sql_tx_new(s->db);
	sql_put_text(sql_tx_add(tx, &START_ORIGIN, on_epoch, s), s->origin);
	sql_tx_commit(tx, on_origin, s);
}

static void on_tick(void *arg)
{
	ns_outbox_flush_acks(arg);
}

static void on_seen_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	ns_catalog_flush_seen(arg);
}

struct ns_store *ns_store_new(const struct ns_store_opts *o)
{
	struct ns_store *s = lw_xcalloc(1, sizeof(*s));
	s->o = *o;
	s->db = o->db;
	if (!s->o.max_cached)
		s->o.max_cached = 300000;
	snprintf(s->origin, sizeof(s->origin), "%s", o->origin);
	s->next_writer = (lw_rng_u64(o->rng) >> 2) | 1; /* replicas must not meet; 0 means none */
	lw_bmap_init(&s->profiles);
	lw_map_init(&s->gateways);
	lw_map_init(&s->devices);
	lw_map_init(&s->by_addr);
	s->tick = rt_loop_on_tick(o->loop, RT_TICK_COMMIT, "outbox_acks", on_tick, s);
	rt_timer_init(&s->seen_timer, o->loop, "gateways_seen", on_seen_timer, s);
	rt_timer_start_every(&s->seen_timer, SEEN_INTERVAL_MS);
	sql_migrate(s->db, &ns_migrations, on_migrated, s);
	return s;
}

void ns_store_free(struct ns_store *s)
{
	if (!s)
		return;
	ns_catalog_flush_seen(s);
	ns_outbox_flush_acks(s);
	rt_timer_stop(&s->seen_timer);
	rt_tick_remove(s->tick);
	ns_cache_deinit(s);
	ns_catalog_deinit(s);
	free(s);
}

void ns_store_fill_port(struct ns_store *s, struct ns_store_port *out)
{
	*out = (struct ns_store_port){.self = s,
				      .fetch = ns_store_fetch,
				      .queue_head = ns_store_queue_head,
				      .commit = ns_store_commit,
				      .addr_check = ns_store_addr_check};
}

void ns_store_fill_gateway_port(struct ns_store *s, struct ns_gateway_port *out)
{
	*out = (struct ns_gateway_port){.self = s, .find = ns_catalog_find, .seen = ns_catalog_seen};
}

const char *ns_store_origin(const struct ns_store *s)
{
	return s->origin;
}

void ns_store_get_stats(const struct ns_store *s, struct ns_store_stats *out)
{
	*out = s->stats;
	out->cached_devices = lw_map_count(&s->devices);
	out->gateways = lw_map_count(&s->gateways);
	out->profiles = lw_bmap_count(&s->profiles);
}
