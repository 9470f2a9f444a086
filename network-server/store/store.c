#include "network-server/store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/io/sql_migrate.h"
#include "common/runtime/metrics.h"
#include "network-server/store/store_impl.h"

extern const struct sql_migration_set ns_migrations;

#define SEQ_BITS 32               /* events of one start: four thousand million, then it runs on into the next */
#define EPOCH_ZERO_S 1577836800LL /* 2020-01-01: keeps the numbers within 63 bits until 2088 */
#define START_RETRY_MS 1000
#define SEEN_INTERVAL_MS 2000 /* how late a gateway's last-seen time may be in the database */

static const struct sql_stmt START_ORIGIN = {
	.name = "start_origin",
	.text = "INSERT INTO origin (name, epoch) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET epoch ="
		" CASE WHEN origin.epoch >= excluded.epoch THEN origin.epoch + 1 ELSE excluded.epoch END"
		" RETURNING epoch",
	.params = "tl",
	.cols = "l",
};

static const struct sql_stmt LAST_POSITION = {
	.name = "last_position",
	.text = "SELECT coalesce(max(position), 0) FROM queue_item",
	.cols = "l",
};

static void start(struct ns_store *s);

/* A database that goes away between the steps of the start is waited for, like one that was never there. */
static void start_failed(struct ns_store *s, const struct sql_outcome *outcome)
{
	if (outcome->err == LW_EUNAVAILABLE || outcome->err == LW_ETIMEDOUT)
		rt_timer_start(&s->start_timer, START_RETRY_MS);
	else if (outcome->err != LW_ECANCELLED)
		s->o.on_ready(s->o.arg, outcome->err, outcome->diag.text);
}

void ns_store_loaded(struct ns_store *s, const struct sql_outcome *outcome)
{
	s->loading = false;
	if (!s->ready && outcome->err) {
		start_failed(s, outcome);
		return;
	}
	if (outcome->err) {
		s->load_again = true;
		if (outcome->err != LW_ECANCELLED)
			rt_timer_start(&s->start_timer, START_RETRY_MS);
		return;
	}
	if (s->ready)
		ns_catalog_sweep(s); /* once more, see ns_store_resync() */
	if (s->load_again)
		ns_catalog_load(s);
	if (s->ready)
		return;
	s->ready = true;
	s->o.on_ready(s->o.arg, 0, "");
}

void ns_store_reload(struct ns_store *s)
{
	s->load_again = true;
	if (s->loading || !s->ready || rt_timer_armed(&s->start_timer))
		return; /* behind the load under way, or with the next one */
	if (sql_is_up(s->db))
		ns_catalog_load(s);
	else
		rt_timer_start(&s->start_timer, START_RETRY_MS);
}

static void on_last_position(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct ns_store *s = arg;
	if (outcome->err) {
		start_failed(s, outcome);
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
		start_failed(s, outcome);
	else
		sql_query_send(sql_query_new(s->db, &LAST_POSITION), on_last_position, s);
}

/* The epoch is a time, so that the numbers rise even when the database was replaced by an empty one: who has heard
 * events keeps the last number. */
static void start(struct ns_store *s)
{
	struct sql_tx *tx = sql_tx_new(s->db);
	struct sql_params *p = sql_tx_add(tx, &START_ORIGIN, on_epoch, s);
	int64_t now_s = rt_loop_now_ns(s->o.loop) / LW_NS_PER_S - EPOCH_ZERO_S;
	sql_put_text(p, s->origin);
	sql_put_i64(p, now_s > 0 ? now_s : 1);
	sql_tx_commit(tx, on_origin, s);
}

static void on_start_timer(struct rt_timer *t, void *arg)
{
	struct ns_store *s = arg;
	(void)t;
	if (s->ready)
		ns_store_reload(s);
	else
		start(s);
}

static void on_migrated(void *arg, int err, const struct lw_diag *diag)
{
	struct ns_store *s = arg;
	if (err) {
		s->o.on_ready(s->o.arg, err, diag->text);
		return;
	}
	start(s);
}

static void on_seen_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	ns_catalog_flush_seen(arg);
}

static void on_heard_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	ns_catalog_tell_heard(arg);
	ns_catalog_flush_seen(arg);
}

struct ns_store *ns_store_new(const struct ns_store_opts *o)
{
	struct ns_store *s = lw_xcalloc(1, sizeof(*s));
	s->o = *o;
	s->db = o->db;
	if (!s->o.max_cached)
		s->o.max_cached = 300000;
	s->o.max_queue = s->o.max_queue ? s->o.max_queue : 1000;
	s->o.max_multicast_queue = s->o.max_multicast_queue ? s->o.max_multicast_queue : 1000;
	snprintf(s->origin, sizeof(s->origin), "%s", o->origin);
	s->next_writer = (lw_rng_u64(o->rng) >> 2) | 1; /* replicas must not meet; 0 means none */
	lw_bmap_init(&s->profiles);
	lw_map_init(&s->gateways);
	lw_map_init(&s->devices);
	lw_map_init(&s->by_addr);
	lw_map_init(&s->changed);
	lw_map_init(&s->changed_addr);
	ns_outbox_init(s);
	ns_commit_init(s);
	s->tick = rt_loop_on_tick(o->loop, RT_TICK_COMMIT, "commit", ns_commit_flush, s);
	rt_timer_init(&s->start_timer, o->loop, "store_start", on_start_timer, s);
	rt_timer_init(&s->seen_timer, o->loop, "gateways_seen", on_seen_timer, s);
	rt_timer_init(&s->heard_timer, o->loop, "gateways_heard", on_heard_timer, s);
	rt_timer_start_every(&s->seen_timer, SEEN_INTERVAL_MS);
	sql_migrate(s->db, &ns_migrations, on_migrated, s);
	return s;
}

void ns_store_flush(struct ns_store *s)
{
	ns_commit_flush_all(s);
	ns_catalog_flush_seen(s);
	ns_outbox_flush_acks(s);
}

void ns_store_free(struct ns_store *s)
{
	if (!s)
		return;
	rt_timer_stop(&s->seen_timer);
	rt_timer_stop(&s->heard_timer);
	rt_timer_stop(&s->start_timer);
	rt_tick_remove(s->tick);
	free(s->changes);
	ns_outbox_deinit(s);
	ns_commit_deinit(s);
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
				      .addr_check = ns_store_addr_check,
				      .forget = ns_cache_drop_addr,
				      .is_shared = !sql_is_sqlite(s->db)};
}

void ns_store_fill_gateway_port(struct ns_store *s, struct ns_gateway_port *out)
{
	*out = (struct ns_gateway_port){
		.self = s, .find = ns_catalog_find, .seen = ns_catalog_seen, .region = ns_catalog_region};
	if (!sql_is_sqlite(s->db))
		out->look = ns_catalog_look;
}

const char *ns_store_origin(const struct ns_store *s)
{
	return s->origin;
}

void ns_store_damaged(struct ns_store *s, const char *table, const char *id, const char *column)
{
	if (s->o.damaged)
		rt_metric_inc(s->o.damaged);
	RT_LOG_ERROR(s->o.log, "a row of the database is damaged", rt_str("table", table), rt_str("id", id),
		     rt_str("column", column));
}

void ns_store_get_stats(const struct ns_store *s, struct ns_store_stats *out)
{
	*out = s->stats;
	out->cached_devices = lw_map_count(&s->devices);
	out->gateways = lw_map_count(&s->gateways);
	out->profiles = lw_bmap_count(&s->profiles);
}
