/* Bounds of the log: what waits too long becomes a dead letter; events and dead letters go with their age, and the
 * oldest of all when there are too many. A bounded number of rows at a time, so that the database is never held up for
 * long. */
#include "app-server/integration/internal.h"

/* Older than $2 and of this replica's endpoints. */
#define TOO_OLD                                                                                                        \
	" FROM integration_delivery AS d JOIN integration_endpoint AS p ON p.id = d.endpoint_id"                       \
	" WHERE p.owner = $1 AND d.queued_at < $2 ORDER BY d.endpoint_id, d.event_seq LIMIT 2000"

static const struct sql_stmt give_up = {
	.name = "as_prune_give_up",
	.text = "INSERT INTO integration_dead (endpoint_id, event_seq, dead_at, attempts, status, error)"
		" SELECT o.endpoint_id, o.event_seq, $3, 0, 0, 'given up: it waited too long' FROM"
		" (SELECT d.endpoint_id, d.event_seq" TOO_OLD ") AS o"
		" WHERE true ON CONFLICT (endpoint_id, event_seq) DO NOTHING",
	.params = "tll",
};
static const struct sql_stmt give_up_waiting = {
	.name = "as_prune_waiting",
	.text = "DELETE FROM integration_delivery WHERE (endpoint_id, event_seq) IN"
		" (SELECT d.endpoint_id, d.event_seq" TOO_OLD ")",
	.params = "tl",
};
static const struct sql_stmt old_dead = {
	.name = "as_prune_dead",
	.text = "DELETE FROM integration_dead WHERE dead_at < $1",
	.params = "l",
};
/* An event is kept for its dead letters. */
static const struct sql_stmt old_events = {
	.name = "as_prune_events",
	.text = "DELETE FROM integration_event WHERE seq IN (SELECT e.seq FROM integration_event AS e"
		" WHERE e.received_at < $1 AND NOT EXISTS (SELECT 1 FROM integration_dead AS d WHERE d.event_seq = "
		"e.seq)"
		" ORDER BY e.received_at LIMIT 5000)",
	.params = "l",
};
/* Up to here the log is longer than $1. */
#define CUT " (SELECT (SELECT coalesce(max(seq), 0) FROM integration_event) - $1)"
static const struct sql_stmt over_waiting = {
	.name = "as_prune_over_waiting",
	.text = "DELETE FROM integration_delivery WHERE event_seq <=" CUT,
	.params = "l",
};
static const struct sql_stmt over_dead = {
	.name = "as_prune_over_dead",
	.text = "DELETE FROM integration_dead WHERE event_seq <=" CUT,
	.params = "l",
};
static const struct sql_stmt over_events = {
	.name = "as_prune_over_events",
	.text = "DELETE FROM integration_event WHERE seq IN (SELECT seq FROM integration_event WHERE seq <=" CUT
		" ORDER BY seq LIMIT 5000)",
	.params = "l",
};
static const struct sql_stmt size_of_log = {
	.name = "as_prune_size",
	.text = "SELECT coalesce(min(seq), 0), coalesce(max(seq), 0) FROM integration_event",
	.cols = "ll",
};

static void on_dropped(void *arg, const struct sql_result *r)
{
	struct as_outlets *o = arg;
	if (sql_affected(r) == 0)
		return;
	rt_metric_add(o->dropped, sql_affected(r));
	RT_LOG_WARN(o->as->log, "the log of events for integrations is full, the oldest were dropped",
		    rt_u64("deliveries", sql_affected(r)));
}

static void on_dead(void *arg, const struct sql_result *r)
{
	struct as_outlets *o = arg;
	if (sql_affected(r) > 0)
		RT_LOG_WARN(o->as->log, "events for integrations were given up: dead letters",
			    rt_u64("deliveries", sql_affected(r)));
}

static void on_pruned(void *arg, const struct sql_outcome *out)
{
	struct as_outlets *o = arg;
	o->pruning = false;
	if (out->err < 0 && out->err != LW_ECANCELLED)
		RT_LOG_WARN(o->as->log, "old events of integrations were not removed", rt_err(out->err),
			    rt_str("statement", out->stmt ? out->stmt : ""), rt_str("detail", out->diag.text));
}

/* Spares looking through all that waits. */
static bool any_older(const struct as_outlets *o, int64_t than_us)
{
	size_t it = 0;
	uint64_t key;
	void *value;
	while (lw_map_next(&o->endpoints, &it, &key, &value)) {
		const struct as_endpoint *e = value;
		if (e->mine && e->oldest_us && e->oldest_us < than_us)
			return true;
	}
	return false;
}

static void add_give_up(struct as_outlets *o, struct sql_tx *tx, int64_t now, int64_t older_than)
{
	struct sql_params *p = sql_tx_add(tx, &give_up, on_dead, o);
	sql_put_text(p, o->owner);
	sql_put_i64(p, older_than);
	sql_put_i64(p, now);
	p = sql_tx_add(tx, &give_up_waiting, NULL, NULL);
	sql_put_text(p, o->owner);
	sql_put_i64(p, older_than);
}

static void on_size(void *arg, const struct sql_outcome *out, const struct sql_result *r)
{
	struct as_outlets *o = arg;
	const struct as_integrations_conf *c = &o->as->conf->integrations;
	int64_t now = rt_loop_now_ns(o->as->loop) / LW_NS_PER_US;
	if (out->err < 0 || sql_rows(r) == 0 || sql_i64(r, 0, 1) == 0) {
		o->pruning = false;
		return;
	}
	struct sql_tx *tx = sql_tx_new(o->as->db);
	if (any_older(o, now - (int64_t)c->give_up_ms * 1000))
		add_give_up(o, tx, now, now - (int64_t)c->give_up_ms * 1000);
	sql_put_i64(sql_tx_add(tx, &old_dead, NULL, NULL), now - (int64_t)c->dead_retention_ms * 1000);
	/* A replay may put the oldest back into a queue: they stay for as long as it may take, too. */
	sql_put_i64(sql_tx_add(tx, &old_events, NULL, NULL), now - (int64_t)(c->retention_ms + c->give_up_ms) * 1000);
	if (sql_i64(r, 0, 1) - sql_i64(r, 0, 0) >= (int64_t)c->max_events) {
		sql_put_i64(sql_tx_add(tx, &over_waiting, on_dropped, o), (int64_t)c->max_events);
		sql_put_i64(sql_tx_add(tx, &over_dead, NULL, NULL), (int64_t)c->max_events);
		sql_put_i64(sql_tx_add(tx, &over_events, NULL, NULL), (int64_t)c->max_events);
	}
	sql_tx_commit(tx, on_pruned, o);
}

void as_outlets_prune(struct rt_timer *t, void *arg)
{
	struct as_outlets *o = arg;
	(void)t;
	/* Whoever has endpoints cleans up; without any there is nothing to clean but what is left of deleted ones. */
	if (o->pruning || o->stopping || !o->loaded)
		return;
	o->pruning = true;
	sql_query_send(sql_query_new(o->as->db, &size_of_log), on_size, o);
}
