/* Which integrations there are, and which of them are this replica's to serve.
 *
 * A replica takes an endpoint by writing its name into the row, and raises the row's beat every few seconds. One whose
 * beat has not moved for a while, by the observer's own monotonic clock, is taken over; who cannot beat stops before
 * that. */
#include "app-server/integration/outlets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app-server/integration/internal.h"
#include "app-server/replicas.h"
#include "common/base/xmalloc.h"

#define POLL_MS 1000
#define PRUNE_MS 10000
#define REFRESH_SOON_MS 500

static const struct sql_stmt select_all = {
	.name = "as_outlets_all",
	.text = "SELECT p.id, p.application_id, p.kind, p.target, i.version, i.body, p.owner, p.beat, p.last_ok_at,"
		" p.failing_since, p.last_error, p.last_error_at FROM integration_endpoint AS p"
		" JOIN integration AS i ON i.application_id = p.application_id AND i.kind = p.kind",
	.cols = "ltltlytlllt"
		"l",
};
/* Also the beat of what is ours already. */
static const struct sql_stmt claim = {
	.name = "as_outlets_claim",
	.text = "UPDATE integration_endpoint SET owner = $1, beat = integration_endpoint.beat + 1,"
		" delivered = integration_endpoint.delivered + b.delivered, last_ok_at = b.last_ok_at,"
		" failing_since = b.failing_since, next_at = b.next_at, last_error = b.last_error,"
		" last_error_at = b.last_error_at FROM {batch}"
		" WHERE integration_endpoint.id = b.id AND integration_endpoint.owner = b.owner"
		" AND integration_endpoint.beat = b.beat RETURNING integration_endpoint.id, integration_endpoint.beat",
	.params = "t",
	.batch = "id:l owner:t beat:l delivered:l last_ok_at:l failing_since:l next_at:l last_error:t last_error_at:l",
	.cols = "ll",
};
static const struct sql_stmt release = {
	.name = "as_outlets_release",
	.text = "UPDATE integration_endpoint SET owner = '' WHERE owner = $1",
	.params = "t",
};
/* Oldest row that waits. */
static const struct sql_stmt poll_oldest = {
	.name = "as_outlets_poll",
	.text = "SELECT b.id, e.seq, e.received_at FROM {batch} JOIN integration_event AS e ON e.seq ="
		" (SELECT min(d.event_seq) FROM integration_delivery AS d WHERE d.endpoint_id = b.id)",
	.batch = "id:l",
	.cols = "lll",
};

/* ---- lease ---- */

struct claim {
	struct as_outlets *o;
	int64_t sent_ns;
	size_t n;
	int64_t id[];
};

static void on_claimed_rows(void *arg, const struct sql_result *r)
{
	struct claim *c = arg;
	struct as_outlets *o = c->o;
	for (size_t i = 0; i < sql_rows(r); i++) {
		struct as_endpoint *e = lw_map_find(&o->endpoints, (uint64_t)sql_i64(r, i, 0));
		if (!e)
			continue;
		e->beat = sql_i64(r, i, 1);
		e->beat_seen_ns = c->sent_ns;
		free(e->owner);
		e->owner = lw_xstrdup(o->owner);
	}
}

static void on_claimed(void *arg, const struct sql_outcome *out)
{
	struct claim *c = arg;
	struct as_outlets *o = c->o;
	o->beating = false;
	for (size_t i = 0; out->err == 0 && i < c->n; i++) {
		struct as_endpoint *e = lw_map_find(&o->endpoints, (uint64_t)c->id[i]);
		if (!e)
			continue;
		bool got = e->beat_seen_ns == c->sent_ns && strcmp(e->owner, o->owner) == 0;
		if (got && !e->mine && !o->stopping)
			as_endpoint_take(e);
		else if (!got && e->mine)
			as_endpoint_leave(e);
		as_endpoint_wake(e);
	}
	if (out->err == 0) {
		o->lease_until_ns = c->sent_ns + AS_OUTLET_LEASE_MS * LW_NS_PER_MS;
	} else if (out->err != LW_ECANCELLED) {
		RT_LOG_WARN(o->as->log, "integrations could not be claimed", rt_err(out->err),
			    rt_str("detail", out->diag.text));
	}
	free(c);
}

static bool to_claim(const struct as_endpoint *e, int64_t now)
{
	if (e->mine || !e->owner[0] || strcmp(e->owner, e->o->owner) == 0)
		return true;
	return now - e->beat_seen_ns > AS_OUTLET_STALE_MS * LW_NS_PER_MS;
}

static void put_claim(struct sql_params *p, struct as_endpoint *e)
{
	sql_put_i64(p, e->id);
	sql_put_text(p, e->owner);
	sql_put_i64(p, e->beat);
	sql_put_i64(p, e->delivered);
	sql_put_i64(p, e->last_ok_us);
	sql_put_i64(p, e->failing_since_us);
	sql_put_i64(p, e->next_us);
	sql_put_text(p, e->last_error);
	sql_put_i64(p, e->last_error_us);
	/* Lost when this write fails: a figure for people. */
	e->delivered = 0;
}

static void claim_all(struct as_outlets *o)
{
	int64_t now = rt_loop_mono_ns(o->as->loop);
	size_t it = 0;
	uint64_t key;
	void *value;
	if (o->beating || o->stopping || lw_map_count(&o->endpoints) == 0)
		return;
	o->beat_soon = false;
	struct claim *c = lw_xcalloc(1, sizeof(*c) + lw_map_count(&o->endpoints) * sizeof(c->id[0]));
	c->o = o;
	c->sent_ns = now;
	struct sql_tx *tx = sql_tx_new(o->as->db);
	struct sql_params *p = sql_tx_add(tx, &claim, on_claimed_rows, c);
	sql_put_text(p, o->owner);
	while (lw_map_next(&o->endpoints, &it, &key, &value)) {
		struct as_endpoint *e = value;
		if (!to_claim(e, now))
			continue;
		c->id[c->n++] = e->id;
		put_claim(p, e);
	}
	o->beating = true;
	sql_tx_commit(tx, on_claimed, c);
}

/* ---- what there is ---- */

static struct as_outlet_app *app_of(struct as_outlets *o, const char *id)
{
	struct as_outlet_app *app = lw_bmap_find(&o->applications, lw_span_str(id));
	if (!app) {
		app = lw_xcalloc(1, sizeof(*app));
		lw_list_init(&app->endpoints);
		lw_bmap_put(&o->applications, lw_span_str(id), app);
	}
	return app;
}

static const struct as_outlet_kind *kind_of(int64_t number, size_t *index)
{
	for (size_t i = 0; i < as_outlet_kinds_count; i++) {
		*index = i;
		if (as_outlet_kinds[i]->kind == number)
			return as_outlet_kinds[i];
	}
	return NULL;
}

static struct as_endpoint *endpoint_new(struct as_outlets *o, int64_t id, const char *application_id)
{
	struct as_endpoint *e = lw_xcalloc(1, sizeof(*e));
	as_endpoint_init(o, e);
	e->id = id;
	snprintf(e->application_id, sizeof(e->application_id), "%s", application_id);
	e->app = app_of(o, application_id);
	lw_list_push_back(&e->app->endpoints, &e->app_node);
	lw_map_put(&o->endpoints, (uint64_t)id, e);
	e->owner = lw_xstrdup("");
	return e;
}

static void take_config(struct as_endpoint *e, const struct sql_result *r, size_t i)
{
	struct lw_span body = sql_span(r, i, 5);
	bool was_mine = e->mine;
	if (e->target && e->version == sql_i64(r, i, 4) && strcmp(e->target, sql_text(r, i, 3)) == 0)
		return;
	if (was_mine)
		as_endpoint_leave(e);
	free(e->target);
	free(e->config);
	e->target = lw_xstrdup(sql_text(r, i, 3));
	e->config = lw_xmemdup(body.n ? (const void *)body.p : "", body.n + (body.n == 0));
	e->config_len = body.n;
	e->version = sql_i64(r, i, 4);
	e->broken = false;
	if (was_mine)
		as_endpoint_take(e);
}

static void take_endpoint(struct as_outlets *o, const struct sql_result *r, size_t i)
{
	size_t index = 0;
	const struct as_outlet_kind *kind = kind_of(sql_i64(r, i, 2), &index);
	struct as_endpoint *e = lw_map_find(&o->endpoints, (uint64_t)sql_i64(r, i, 0));
	if (!kind)
		return;
	if (!e) {
		e = endpoint_new(o, sql_i64(r, i, 0), sql_text(r, i, 1));
		e->beat = -1;
	}
	e->mark = o->mark;
	e->app->mark = o->mark;
	e->kind = kind;
	e->kind_index = index;
	take_config(e, r, i);
	if (e->mine)
		return; /* what we know of it is newer than the row */
	if (e->beat != sql_i64(r, i, 7) || strcmp(e->owner, sql_text(r, i, 6)) != 0) {
		e->beat = sql_i64(r, i, 7);
		e->beat_seen_ns = rt_loop_mono_ns(o->as->loop);
		free(e->owner);
		e->owner = lw_xstrdup(sql_text(r, i, 6));
	}
	e->last_ok_us = sql_i64(r, i, 8);
	e->failing_since_us = sql_i64(r, i, 9);
	snprintf(e->last_error, sizeof(e->last_error), "%s", sql_text(r, i, 10));
	e->last_error_us = sql_i64(r, i, 11);
}

static void drop_unseen(struct as_outlets *o)
{
	size_t it = 0;
	uint64_t id;
	struct lw_span name;
	void *value;
	while (lw_map_next(&o->endpoints, &it, &id, &value)) {
		struct as_endpoint *e = value;
		if (e->mark == o->mark)
			continue;
		lw_map_remove(&o->endpoints, id);
		as_endpoint_free(e);
	}
	for (it = 0; lw_bmap_next(&o->applications, &it, &name, &value);) {
		struct as_outlet_app *app = value;
		if (app->mark >= o->mark || !lw_list_empty(&app->endpoints))
			continue;
		lw_bmap_remove(&o->applications, name);
		free(app);
	}
}

static void on_all(void *arg, const struct sql_outcome *out, const struct sql_result *r)
{
	struct as_outlets *o = arg;
	o->refreshing = false;
	if (out->err < 0) {
		if (out->err != LW_ECANCELLED) {
			RT_LOG_WARN(o->as->log, "integrations could not be read", rt_err(out->err),
				    rt_str("detail", out->diag.text));
			if (!o->loaded)
				rt_timer_start(&o->beat_timer, REFRESH_SOON_MS);
		}
		return;
	}
	for (size_t i = 0; i < sql_rows(r); i++)
		take_endpoint(o, r, i);
	drop_unseen(o);
	rt_metric_set(o->known, (double)lw_map_count(&o->endpoints));
	o->loaded = true;
	claim_all(o);
	if (o->refresh_again) {
		o->refresh_again = false;
		as_outlets_refresh(o);
	}
}

void as_outlets_refresh(struct as_outlets *o)
{
	if (o->refreshing) {
		o->refresh_again = true;
		return;
	}
	o->refreshing = true;
	o->mark++;
	sql_query_send(sql_query_new(o->as->db, &select_all), on_all, o);
}

static void on_beat(struct rt_timer *t, void *arg)
{
	struct as_outlets *o = arg;
	if (o->stopping)
		return;
	rt_timer_start(t, AS_OUTLET_BEAT_MS);
	as_outlets_refresh(o);
}

/* ---- poll ---- */

static void take_oldest(struct as_endpoint *e, int64_t seq, int64_t at_us)
{
	e->oldest_us = at_us;
	if (as_lanes_knows(&e->lanes, seq))
		return;
	/* Below what was read: a replay, a dead letter tried again, or written by another replica. */
	if (seq <= e->cursor)
		e->lanes.rescan = true;
	e->dirty = true;
	as_endpoint_wake(e);
}

static void on_poll(void *arg, const struct sql_outcome *out, const struct sql_result *r)
{
	struct as_outlets *o = arg;
	size_t it = 0;
	uint64_t key;
	void *value;
	double age_s = 0, failing = 0;
	int64_t now_us = rt_loop_now_ns(o->as->loop) / LW_NS_PER_US;
	o->polling = false;
	if (out->err < 0)
		return;
	while (lw_map_next(&o->endpoints, &it, &key, &value))
		((struct as_endpoint *)value)->oldest_us = 0;
	for (size_t i = 0; i < sql_rows(r); i++) {
		struct as_endpoint *e = lw_map_find(&o->endpoints, (uint64_t)sql_i64(r, i, 0));
		if (e && e->mine)
			take_oldest(e, sql_i64(r, i, 1), sql_i64(r, i, 2));
	}
	for (it = 0; lw_map_next(&o->endpoints, &it, &key, &value);) {
		const struct as_endpoint *e = value;
		double s = e->oldest_us ? (double)(now_us - e->oldest_us) / 1e6 : 0;
		age_s = s > age_s ? s : age_s;
		failing += e->mine && e->failing_since_us;
	}
	rt_metric_set(o->waiting_age, age_s);
	rt_metric_set(o->failing, failing);
}

static void on_poll_timer(struct rt_timer *t, void *arg)
{
	struct as_outlets *o = arg;
	size_t it = 0;
	uint64_t key;
	void *value;
	(void)t;
	if (o->polling || o->stopping || lw_map_count(&o->endpoints) == 0)
		return;
	struct sql_query *q = sql_query_new(o->as->db, &poll_oldest);
	while (lw_map_next(&o->endpoints, &it, &key, &value)) {
		struct as_endpoint *e = value;
		if (!e->mine)
			continue;
		sql_put_i64(sql_query_params(q), e->id);
		if (e->dirty)
			as_endpoint_wake(e);
	}
	o->polling = true;
	sql_query_send(q, on_poll, o);
	if (o->beat_soon)
		claim_all(o);
}

/* ---- life ---- */

/* The same at each start of this replica, so that it takes up its endpoints at once; another's is another folder or
 * another host. */
static void name_owner(struct as_outlets *o)
{
	char host[48] = "", path[4096];
	const char *dir = o->as->conf->state_dir;
	gethostname(host, sizeof(host) - 1);
	if (!realpath(dir, path))
		snprintf(path, sizeof(path), "%s", dir);
	snprintf(o->owner, sizeof(o->owner), "%s-%016llx", host, (unsigned long long)lw_hash_bytes(path, strlen(path)));
}

static void make_metrics(struct as_outlets *o)
{
	struct rt_metrics *m = o->as->metrics;
	static const char *kinds[16];
	for (size_t i = 0; i < as_outlet_kinds_count; i++)
		kinds[i] = as_outlet_kinds[i]->name;
	o->delivered = rt_counter_vec(m, "integration_delivered_total", "Events that an endpoint took", "kind", kinds,
				      as_outlet_kinds_count);
	o->retried = rt_counter_vec(m, "integration_retried_total", "Attempts that failed and are repeated", "kind",
				    kinds, as_outlet_kinds_count);
	o->dead = rt_counter_vec(m, "integration_dead_total", "Events that became dead letters", "kind", kinds,
				 as_outlet_kinds_count);
	o->dropped = rt_counter(m, "integration_dropped_total",
				"Deliveries given up because the log of events reached its size");
	o->written = rt_counter(m, "integration_written_total", "Events written for integrations");
	o->waiting_age = rt_gauge(m, "integration_waiting_seconds",
				  "Age of the oldest event that waits for an endpoint served here");
	o->known = rt_gauge(m, "integration_endpoints", "Endpoints that this process knows of");
	o->failing = rt_gauge(m, "integration_failing_endpoints", "Endpoints served here that fail");
}

int as_outlets_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct as *as = owner;
	(void)env;
	(void)diag;
	struct as_outlets *o = lw_xcalloc(1, sizeof(*o));
	as->outlets = o;
	o->as = as;
	lw_map_init(&o->endpoints);
	lw_bmap_init(&o->applications);
	lw_list_init(&o->due);
	lw_list_init(&o->intake);
	rt_timer_init(&o->beat_timer, as->loop, "integrations", on_beat, o);
	rt_timer_init(&o->poll_timer, as->loop, "integrations poll", on_poll_timer, o);
	rt_timer_init(&o->settle_timer, as->loop, "integrations settle", as_outlets_settle_again, o);
	rt_timer_init(&o->prune_timer, as->loop, "integrations prune", as_outlets_prune, o);
	make_metrics(o);
	o->tick = rt_loop_on_tick(as->loop, RT_TICK_COMMIT - 1, "integrations", as_outlets_run, o);
	return 0;
}

void as_outlets_start(struct as *as)
{
	struct as_outlets *o = as->outlets;
	if (!o || o->started)
		return;
	name_owner(o);
	o->started = true;
	rt_timer_start(&o->beat_timer, 0);
	rt_timer_start_every(&o->poll_timer, POLL_MS);
	rt_timer_start_every(&o->prune_timer, PRUNE_MS);
}

static void on_released(void *arg, const struct sql_outcome *out)
{
	struct as_outlets *o = arg;
	void (*done)(void *arg) = o->stop_done;
	(void)out;
	o->stop_done = NULL;
	if (done)
		done(o->stop_arg);
}

void as_outlets_stop(struct as *as, void (*done)(void *arg), void *arg)
{
	struct as_outlets *o = as->outlets;
	size_t it = 0;
	uint64_t key;
	void *value;
	if (!o || !o->started || o->stopping || lw_map_count(&o->endpoints) == 0) {
		done(arg);
		return;
	}
	o->stopping = true;
	o->stop_done = done;
	o->stop_arg = arg;
	while (lw_map_next(&o->endpoints, &it, &key, &value)) {
		struct as_endpoint *e = value;
		if (e->mine)
			as_endpoint_leave(e);
	}
	as_outlets_run(o); /* what was delivered is noted before the next one begins */
	struct sql_tx *tx = sql_tx_new(as->db);
	sql_put_text(sql_tx_add(tx, &release, NULL, NULL), o->owner);
	sql_tx_commit(tx, on_released, o);
}

void as_outlets_deinit(void *owner)
{
	struct as *as = owner;
	struct as_outlets *o = as->outlets;
	size_t it = 0;
	uint64_t key;
	struct lw_span name;
	void *value;
	if (!o)
		return;
	rt_timer_stop(&o->beat_timer);
	rt_timer_stop(&o->poll_timer);
	rt_timer_stop(&o->settle_timer);
	rt_timer_stop(&o->prune_timer);
	rt_tick_remove(o->tick);
	as_intake_free(o);
	while (lw_map_next(&o->endpoints, &it, &key, &value)) {
		lw_map_remove(&o->endpoints, key);
		as_endpoint_free(value);
	}
	for (it = 0; lw_bmap_next(&o->applications, &it, &name, &value);)
		free(value);
	lw_map_deinit(&o->endpoints);
	lw_bmap_deinit(&o->applications);
	free(o->settle);
	free(o->settling);
	free(o);
	as->outlets = NULL;
}

bool as_outlets_loaded(const struct as *as)
{
	return !as->outlets || as->outlets->loaded;
}

bool as_outlets_wants(const struct as *as, const char *application_id)
{
	const struct as_outlets *o = as->outlets;
	return o && lw_bmap_count(&o->applications) > 0 &&
	       lw_bmap_find(&o->applications, lw_span_str(application_id)) != NULL;
}

void as_outlets_hear(struct as *as, const char *application_id)
{
	struct as_outlets *o = as->outlets;
	size_t it = 0;
	uint64_t key;
	void *value;
	if (!o || !o->started)
		return;
	/* From now on, not only from the end of the refresh. */
	if (application_id)
		app_of(o, application_id)->mark = o->mark + 2;
	while (lw_map_next(&o->endpoints, &it, &key, &value)) {
		struct as_endpoint *e = value;
		if (!e->mine || (application_id && strcmp(e->application_id, application_id) != 0))
			continue;
		e->lanes.rescan = true;
		as_endpoint_wake(e);
	}
	as_outlets_refresh(o);
}

void as_outlets_changed(struct as *as, const char *application_id)
{
	as_outlets_hear(as, application_id);
	/* Events that one takes who does not know of it are lost to the endpoint. */
	as_replicas_announce(as, "integration", application_id ? application_id : "");
}
