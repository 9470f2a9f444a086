/* Serving the endpoints that are ours: pages of rows in, requests out, what is over back to the database. Reads of all
 * endpoints go in one statement, endings in one transaction. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app-server/integration/internal.h"
#include "common/base/xmalloc.h"

#define DOWN_AFTER 8 /* failures in a row, each of which might be the event's */
#define FIRST_DOWN_MS 500
#define POISON_ATTEMPTS 16 /* then an event that alone fails is given up */
#define SETTLE_RETRY_MS 500
#define LOW_WATER (AS_OUTLET_WINDOW / 2)

/* id l: endpoint, after l: rows up to it are known. At most AS_OUTLET_WINDOW rows for each. */
static const struct sql_stmt read_rows = {
	.name = "as_outlet_read",
	.text = "SELECT b.id, d.event_seq, d.queued_at, e.dev_eui, e.name, e.idempotency, e.body FROM {batch}"
		" JOIN integration_delivery AS d ON d.endpoint_id = b.id AND d.event_seq > b.after"
		" AND d.event_seq <= coalesce((SELECT x.event_seq FROM integration_delivery AS x"
		" WHERE x.endpoint_id = b.id AND x.event_seq > b.after ORDER BY x.event_seq LIMIT 1 OFFSET 63),"
		" 9223372036854775807)"
		" JOIN integration_event AS e ON e.seq = d.event_seq ORDER BY d.event_seq",
	.batch = "id:l after:l",
	.cols = "lllttty",
};
_Static_assert(AS_OUTLET_WINDOW == 64, "OFFSET in read_rows");

static const struct sql_stmt delete_deliveries = {
	.name = "as_outlet_done",
	.text = "DELETE FROM integration_delivery WHERE (endpoint_id, event_seq) IN (SELECT id, seq FROM {batch})",
	.batch = "id:l seq:l",
};
static const struct sql_stmt insert_dead = {
	.name = "as_outlet_dead",
	.text = "INSERT INTO integration_dead (endpoint_id, event_seq, dead_at, attempts, status, error)"
		" SELECT ep.id, b.seq, b.dead_at, b.attempts, b.status, b.error FROM {batch}"
		" JOIN integration_endpoint AS ep ON ep.id = b.id WHERE true ON CONFLICT (endpoint_id, event_seq)"
		" DO UPDATE SET dead_at = excluded.dead_at, attempts = excluded.attempts, status = excluded.status,"
		" error = excluded.error",
	.batch = "id:l seq:l dead_at:l attempts:l status:l error:t",
};

static int64_t now_us(const struct as_outlets *o)
{
	return rt_loop_now_ns(o->as->loop) / LW_NS_PER_US;
}

void as_endpoint_wake(struct as_endpoint *e)
{
	if (lw_list_empty(&e->due_node))
		lw_list_push_back(&e->o->due, &e->due_node);
}

static void count_rows(struct as_endpoint *e)
{
	e->o->n_rows += e->lanes.queued;
	e->o->n_rows -= e->counted;
	e->counted = e->lanes.queued;
}

/* ---- endings ---- */

static void settle(struct as_endpoint *e, struct as_lane_row *row, bool dead, const struct as_outlet_outcome *out)
{
	struct as_outlets *o = e->o;
	if (o->n_settle == o->cap_settle) {
		o->cap_settle = o->cap_settle ? 2 * o->cap_settle : 64;
		o->settle = lw_xreallocarray(o->settle, o->cap_settle, sizeof(*o->settle));
	}
	struct as_settle *s = &o->settle[o->n_settle++];
	memset(s, 0, sizeof(*s));
	s->endpoint_id = e->id;
	s->seq = row->seq;
	s->dead = dead;
	if (dead) {
		s->attempts = row->attempts;
		s->status = out->status;
		snprintf(s->error, sizeof(s->error), "%s", out->text);
		rt_metric_inc_at(o->dead, e->kind_index);
	}
	as_lanes_done(&e->lanes, row);
}

static void on_settled(void *arg, const struct sql_outcome *out)
{
	struct as_outlets *o = arg;
	if (out->err < 0) {
		if (out->err == LW_ECANCELLED)
			return;
		RT_LOG_WARN(o->as->log, "deliveries of integrations not noted yet", rt_err(out->err),
			    rt_str("detail", out->diag.text));
		o->settle_held = true;
		rt_timer_start(&o->settle_timer, SETTLE_RETRY_MS);
		return;
	}
	for (size_t i = 0; i < o->n_settling; i++) {
		struct as_endpoint *e = lw_map_find(&o->endpoints, (uint64_t)o->settling[i].endpoint_id);
		if (!e)
			continue;
		as_lanes_settled(&e->lanes, o->settling[i].seq);
		as_endpoint_wake(e);
	}
	free(o->settling);
	o->settling = NULL;
	o->n_settling = 0;
}

static void commit_settling(struct as_outlets *o)
{
	struct sql_tx *tx = sql_tx_new(o->as->db);
	struct sql_params *p = sql_tx_add(tx, &insert_dead, NULL, NULL);
	for (size_t i = 0; i < o->n_settling; i++) {
		const struct as_settle *s = &o->settling[i];
		if (!s->dead)
			continue;
		sql_put_i64(p, s->endpoint_id);
		sql_put_i64(p, s->seq);
		sql_put_i64(p, now_us(o));
		sql_put_i64(p, s->attempts);
		sql_put_i64(p, s->status);
		sql_put_text(p, s->error);
	}
	p = sql_tx_add(tx, &delete_deliveries, NULL, NULL);
	for (size_t i = 0; i < o->n_settling; i++) {
		sql_put_i64(p, o->settling[i].endpoint_id);
		sql_put_i64(p, o->settling[i].seq);
	}
	sql_tx_commit(tx, on_settled, o);
}

void as_outlets_settle_again(struct rt_timer *t, void *arg)
{
	struct as_outlets *o = arg;
	(void)t;
	o->settle_held = false;
	commit_settling(o);
}

static void settle_all(struct as_outlets *o)
{
	if (o->n_settle == 0 || o->n_settling > 0 || !o->as->db)
		return;
	o->settling = o->settle;
	o->n_settling = o->n_settle;
	o->settle = NULL;
	o->n_settle = o->cap_settle = 0;
	commit_settling(o);
}

/* ---- results ---- */

static void say_failing(struct as_endpoint *e, const struct as_outlet_outcome *out)
{
	struct as_outlets *o = e->o;
	e->last_error_us = now_us(o);
	snprintf(e->last_error, sizeof(e->last_error), "%s", out->text);
	if (e->failing_since_us)
		return;
	e->failing_since_us = e->last_error_us;
	o->beat_soon = true;
	RT_LOG_WARN(o->as->log, "an integration's endpoint fails", rt_str("kind", e->kind->name),
		    rt_str("application_id", e->application_id), rt_i64("endpoint", e->id), rt_str("error", out->text));
}

static void say_well(struct as_endpoint *e)
{
	struct as_outlets *o = e->o;
	e->failures = 0;
	e->last_ok_ns = rt_loop_mono_ns(o->as->loop);
	o->beat_soon = o->beat_soon || !e->last_ok_us;
	e->last_ok_us = now_us(o);
	if (e->down_until_ns) {
		e->down_until_ns = 0;
		as_lanes_release(&e->lanes);
	}
	lw_backoff_reset(&e->backoff);
	if (!e->failing_since_us)
		return;
	e->failing_since_us = 0;
	e->next_us = 0;
	o->beat_soon = true;
	RT_LOG_INFO(o->as->log, "an integration's endpoint works again", rt_str("kind", e->kind->name),
		    rt_str("application_id", e->application_id), rt_i64("endpoint", e->id));
}

/* Nothing but one attempt at a time until it answers. */
static void go_down(struct as_endpoint *e, uint32_t retry_after_ms)
{
	struct as_outlets *o = e->o;
	int64_t now = rt_loop_mono_ns(o->as->loop);
	if (e->down_until_ns > now)
		return; /* others that were under way */
	uint32_t ms = lw_backoff_next_ms(&e->backoff, &o->as->rng);
	if (retry_after_ms > ms)
		ms = retry_after_ms;
	e->down_until_ns = now + (int64_t)ms * LW_NS_PER_MS;
	e->next_us = now_us(o) + (int64_t)ms * 1000;
	as_lanes_forget(&e->lanes);
}

static bool is_hopeless(const struct as_endpoint *e, const struct as_lane_row *row, const struct as_outlet_outcome *out)
{
	const struct as_outlets *o = e->o;
	if (now_us(o) - row->queued_us > (int64_t)o->as->conf->integrations.give_up_ms * 1000)
		return true;
	return out->answered && row->attempts >= POISON_ATTEMPTS && e->last_ok_ns > row->first_failed_ns;
}

static void failed(struct as_endpoint *e, struct as_lane_row *row, const struct as_outlet_outcome *out)
{
	struct as_outlets *o = e->o;
	int64_t now = rt_loop_mono_ns(o->as->loop);
	int64_t hold_ns = 0;
	row->attempts++;
	if (!row->first_failed_ns)
		row->first_failed_ns = now;
	rt_metric_inc_at(o->retried, e->kind_index);
	say_failing(e, out);
	if (out->answered) {
		uint32_t ms = as_retry_delay_ms(row->attempts - 1, (uint32_t)o->as->conf->integrations.retry_max_ms,
						&o->as->rng);
		hold_ns = (int64_t)(out->retry_after_ms > ms ? out->retry_after_ms : ms) * LW_NS_PER_MS;
	}
	if (is_hopeless(e, row, out))
		settle(e, row, true, out);
	else
		as_lanes_retry(&e->lanes, row, now, hold_ns);
	if (!out->answered || ++e->failures >= DOWN_AFTER)
		go_down(e, out->answered ? 0 : out->retry_after_ms);
}

static void on_result(void *arg, const struct as_outlet_outcome *out)
{
	struct as_lane_row *row = arg;
	struct as_endpoint *e = row->owner;
	struct as_outlets *o = e->o;
	e->in_flight--;
	switch (out->result) {
	case AS_OUTLET_DELIVERED:
		say_well(e);
		e->delivered++;
		rt_metric_inc_at(o->delivered, e->kind_index);
		settle(e, row, false, out);
		break;
	case AS_OUTLET_REFUSED:
		/* It is there; what is wrong shows in the dead letters and as the last error. */
		row->attempts++;
		say_well(e);
		e->last_error_us = now_us(o);
		snprintf(e->last_error, sizeof(e->last_error), "%s", out->text);
		o->beat_soon = true;
		settle(e, row, true, out);
		break;
	case AS_OUTLET_RETRY:
		failed(e, row, out);
		break;
	}
	as_endpoint_wake(e);
}

/* ---- sending ---- */

static void send_row(struct as_endpoint *e, struct as_lane_row *row)
{
	struct as_outlet_item item = {.name = row->name, .idempotency = row->idempotency, .body = row->body};
	row->owner = e;
	e->in_flight++;
	int rc = e->kind->send(e->state, &item, on_result, row);
	if (rc == 0)
		return;
	struct as_outlet_outcome out = {.result = AS_OUTLET_REFUSED, .text = lw_err_text(rc)};
	e->in_flight--;
	settle(e, row, true, &out);
}

static bool may_send(const struct as_endpoint *e, int64_t now)
{
	const struct as_outlets *o = e->o;
	if (!e->mine || !e->state || o->stopping || now > o->lease_until_ns)
		return false;
	if (e->down_until_ns)
		return now >= e->down_until_ns && e->in_flight == 0;
	return e->in_flight < (unsigned)o->as->conf->integrations.connections;
}

static bool wants_rows(const struct as_endpoint *e, int64_t now)
{
	const struct as_outlets *o = e->o;
	if (!e->mine || !e->state || o->stopping || now > o->lease_until_ns || e->lanes.reading)
		return false;
	if (e->down_until_ns > now || e->lanes.queued > LOW_WATER || o->n_rows > AS_OUTLET_MAX_ROWS)
		return false;
	return e->dirty || e->lanes.rescan;
}

static void pump(struct as_endpoint *e)
{
	int64_t now = rt_loop_mono_ns(e->o->as->loop);
	struct as_lane_row *row;
	while (may_send(e, now) && (row = as_lanes_next(&e->lanes, now))) {
		send_row(e, row);
	}
	count_rows(e);
	int64_t due = e->down_until_ns > now ? e->down_until_ns : as_lanes_due(&e->lanes);
	if (e->mine && due != INT64_MAX && due > now)
		rt_timer_start_at(&e->timer, due);
}

/* ---- reading ---- */

struct page {
	struct as_outlets *o;
	size_t n;
	struct {
		int64_t id;
		uint64_t epoch;
		size_t rows;
		int64_t last;
	} v[AS_OUTLET_READ_MAX];
};

static void take_row(struct as_endpoint *e, const struct sql_result *r, size_t i)
{
	struct lw_dev_eui eui;
	if (lw_dev_eui_parse(&eui, sql_text(r, i, 3)) < 0)
		return;
	struct as_lane_row *row = as_lane_row_new(sql_i64(r, i, 1), sql_i64(r, i, 2), lw_dev_eui_u64(eui),
						  sql_text(r, i, 4), sql_text(r, i, 5), sql_span(r, i, 6));
	as_lanes_add(&e->lanes, row);
}

static void on_page(void *arg, const struct sql_outcome *out, const struct sql_result *r)
{
	struct page *p = arg;
	struct as_outlets *o = p->o;
	o->reading = false;
	for (size_t i = 0; i < (out->err ? 0 : sql_rows(r)); i++) {
		for (size_t k = 0; k < p->n; k++) {
			struct as_endpoint *e = p->v[k].id == sql_i64(r, i, 0)
							? lw_map_find(&o->endpoints, (uint64_t)p->v[k].id)
							: NULL;
			if (!e)
				continue;
			p->v[k].rows++;
			p->v[k].last = sql_i64(r, i, 1);
			if (e->mine && e->epoch == p->v[k].epoch)
				take_row(e, r, i);
			break;
		}
	}
	for (size_t k = 0; k < p->n; k++) {
		struct as_endpoint *e = lw_map_find(&o->endpoints, (uint64_t)p->v[k].id);
		if (!e)
			continue;
		as_lanes_read_end(&e->lanes);
		if (out->err || e->epoch != p->v[k].epoch)
			e->dirty = true;
		else if (p->v[k].rows)
			e->cursor = p->v[k].last;
		if (p->v[k].rows >= AS_OUTLET_WINDOW)
			e->dirty = true;
		count_rows(e);
		if (!out->err)
			as_endpoint_wake(e); /* otherwise with the next poll */
	}
	free(p);
}

static void ask_for(struct page *p, struct sql_params *params, struct as_endpoint *e)
{
	bool from_start = e->lanes.rescan;
	if (from_start) {
		e->cursor = 0;
		e->epoch++;
	}
	e->dirty = false;
	as_lanes_read_begin(&e->lanes, from_start || e->cursor == 0);
	p->v[p->n].id = e->id;
	p->v[p->n].epoch = e->epoch;
	p->v[p->n].rows = 0;
	p->n++;
	sql_put_i64(params, e->id);
	sql_put_i64(params, e->cursor);
}

void as_outlets_run(void *arg)
{
	struct as_outlets *o = arg;
	struct lw_list later;
	struct lw_list *node;
	struct page *p = NULL;
	struct sql_query *q = NULL;
	if (!o->started || !o->as->db)
		return;
	lw_list_init(&later);
	while ((node = lw_list_pop_front(&o->due))) {
		struct as_endpoint *e = LW_CONTAINER_OF(node, struct as_endpoint, due_node);
		pump(e);
		if (!wants_rows(e, rt_loop_mono_ns(o->as->loop)))
			continue;
		if (o->reading || (p && p->n == AS_OUTLET_READ_MAX)) {
			lw_list_push_back(&later, node);
			continue;
		}
		if (!p) {
			p = lw_xcalloc(1, sizeof(*p));
			p->o = o;
			q = sql_query_new(o->as->db, &read_rows);
		}
		ask_for(p, sql_query_params(q), e);
	}
	lw_list_splice_back(&o->due, &later);
	if (p) {
		o->reading = true;
		sql_query_send(q, on_page, p);
	}
	settle_all(o);
}

/* ---- life of an endpoint ---- */

static void on_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	as_endpoint_wake(arg);
}

void as_endpoint_init(struct as_outlets *o, struct as_endpoint *e)
{
	e->o = o;
	lw_list_init(&e->due_node);
	lw_list_init(&e->app_node);
	as_lanes_init(&e->lanes);
	rt_timer_init(&e->timer, o->as->loop, "integration endpoint", on_timer, e);
	lw_backoff_init(&e->backoff, FIRST_DOWN_MS, (uint32_t)o->as->conf->integrations.retry_max_ms);
}

void as_endpoint_take(struct as_endpoint *e)
{
	struct lw_diag diag = {.text = ""};
	struct as_outlet_opts opts = {.as = e->o->as, .target = e->target, .config = lw_span(e->config, e->config_len)};
	e->mine = true;
	if (!e->state && !e->broken) {
		e->state = e->kind->open(&opts, &diag);
		e->broken = !e->state;
		if (e->broken)
			RT_LOG_ERROR(e->o->as->log, "an integration cannot be used", rt_str("kind", e->kind->name),
				     rt_str("application_id", e->application_id), rt_str("detail", diag.text));
	}
	e->lanes.rescan = true;
	as_endpoint_wake(e);
}

void as_endpoint_leave(struct as_endpoint *e)
{
	e->mine = false;
	e->epoch++;
	rt_timer_stop(&e->timer);
	lw_list_remove(&e->due_node);
	if (e->state)
		e->kind->close(e->state);
	e->state = NULL;
	e->broken = false;
	as_lanes_abandon(&e->lanes);
	count_rows(e);
	e->in_flight = 0;
	e->failures = 0;
	e->down_until_ns = 0;
	e->cursor = 0;
}

void as_endpoint_free(struct as_endpoint *e)
{
	as_endpoint_leave(e);
	lw_list_remove(&e->app_node);
	as_lanes_deinit(&e->lanes);
	free(e->target);
	if (e->config)
		lw_wipe(e->config, e->config_len);
	free(e->config);
	free(e->owner);
	free(e);
}
