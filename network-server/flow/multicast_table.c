/* Downlinks to multicast groups. Each group has at most one run at a time, and one network-server that sends to it. The
 * items of a group go in the order of their counters: one that has a gateway left that is heard holds back those behind
 * it, so that a device between two gateways never hears a higher counter first. At a gateway that is heard again, what
 * it has missed goes before what comes after: no later counter passes an earlier one there. No polling: a run comes
 * when something was enqueued, when gateways have answered, and at the time that the run before it has named. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "network-server/flow/multicast_run.h"

#define RUN_MEM_MAX (64u << 20) /* a group may have as many devices as there are */
enum { ATTEMPTS = 4 };

static rt_flow_io_fn mc_take, mc_commit;
static rt_flow_pure_fn mc_check, mc_send;

const struct rt_flow_step ns_multicast_steps[] = {
	{"take", .io = mc_take},             /* the group's lease, and the item that is first */
	{"check", .pure = mc_check},         /* is there anything to be sent at all */
	{"devices", .io = mc_devices},       /* who is to hear it, where no gateways were chosen */
	{"receptions", .io = mc_receptions}, /* which gateways hear these devices */
	{"gateways", .io = mc_gateways},     /* when they were heard last, by whomever */
	{"cover", .pure = mc_cover},         /* the fewest that reach all */
	{"decide", .pure = mc_decide},       /* gateways and time */
	{"commit", .io = mc_commit},         /* an attempt counts before the frame leaves */
	{"send", .pure = mc_send},
};
const size_t ns_multicast_n_steps = sizeof(ns_multicast_steps) / sizeof(ns_multicast_steps[0]);

/* ---- when ---- */

static void woken(struct rt_timer *t, void *arg)
{
	struct ns_mc_state *st = arg;
	(void)t;
	ns_multicast_try(st->f, st->id);
}

static struct lw_span key_of(const struct lw_uuid *id)
{
	return lw_span(id->b, sizeof(id->b));
}

static struct ns_mc_state *state_of(struct ns_flows *f, struct lw_uuid id)
{
	struct ns_mc_state *st = lw_bmap_find(&f->multicast_groups, key_of(&id));
	if (st != NULL)
		return st;
	st = lw_xcalloc(1, sizeof(*st));
	st->f = f;
	st->id = id;
	rt_timer_init(&st->timer, f->loop, "multicast", woken, st);
	lw_bmap_put(&f->multicast_groups, key_of(&id), st);
	return st;
}

static void forget(struct ns_mc_state *st)
{
	rt_timer_stop(&st->timer);
	lw_bmap_remove(&st->f->multicast_groups, key_of(&st->id));
	free(st);
}

void ns_multicast_try(struct ns_flows *f, struct lw_uuid group_id)
{
	if (f->ports->multicast.self == NULL)
		return;
	struct ns_mc_state *st = state_of(f, group_id);
	rt_timer_stop(&st->timer);
	if (st->running || st->in_flight > 0) {
		st->again = true;
		return;
	}
	struct ns_mc_run *m = lw_xcalloc(1, sizeof(*m));
	ns_ctx_init(&m->c, f, NULL, 0);
	m->c.arena.max = RUN_MEM_MAX;
	ns_mc_cover_init(m);
	m->st = st;
	st->running = true;
	st->again = false;
	rt_flow_enter(f->multicast, &m->c.flow);
}

void ns_multicast_init(struct ns_flows *f)
{
	lw_bmap_init(&f->multicast_groups);
}

void ns_multicast_free(struct ns_flows *f)
{
	size_t it = 0;
	struct lw_span key;
	void *value;
	while (lw_bmap_next(&f->multicast_groups, &it, &key, &value)) {
		struct ns_mc_state *st = value;
		rt_timer_stop(&st->timer);
		free(st);
	}
	lw_bmap_deinit(&f->multicast_groups);
}

const struct ns_region_config *ns_mc_region_of(const struct ns_flows *f, enum lw_region_id region,
					       const struct lw_gateway_id *gateway)
{
	const struct ns_region_config *rc = gateway != NULL ? ns_gateway_reports_in(f, *gateway) : NULL;
	if (rc != NULL && rc->region == region)
		return rc;
	for (size_t i = 0; i < f->cfg.n_regions; i++)
		if (f->cfg.regions[i]->region == region)
			return f->cfg.regions[i];
	return NULL;
}

/* ---- take ---- */

static void taken(struct ns_mc_take *req)
{
	struct ns_mc_run *m = req->owner;
	rt_flow_resume(&m->c.flow, RT_FLOW_NEXT);
}

static void mc_take(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_mc_take *req[NS_BATCH];
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_mc_run *m = ns_mc_run_of(v[i]);
		m->take = (struct ns_mc_take){.group_id = m->st->id,
					      .now_ns = ns_now(f),
					      .lease_until_ns = ns_now(f) + NS_MC_LEASE_NS,
					      .arena = &m->c.arena,
					      .done = taken,
					      .owner = m};
		req[i] = &m->take;
	}
	f->ports->multicast.take(f->ports->multicast.self, req, n);
}

void ns_mc_gone(struct ns_mc_run *m, const struct lw_gateway_id *gateway, ns_reason reason, const char *fmt, ...)
{
	char text[200];
	va_list ap;
	if (m->n_gone == NS_MC_GONE_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	struct ns_mc_gone *g = &m->gone[m->n_gone++];
	*g = (struct ns_mc_gone){.has_gateway = gateway != NULL, .reason = reason};
	if (gateway != NULL)
		g->gateway_id = *gateway;
	g->text = lw_arena_strdup(&m->c.arena, text);
}

void ns_mc_item_gone(struct ns_mc_run *m, ns_reason reason, const char *fmt, ...)
{
	char text[200];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	m->change.delete_item = true;
	m->again = true;
	const struct ns_mc_take *t = &m->take;
	size_t n = t->n_copies > 0 ? t->n_copies : t->n_gateways;
	for (size_t i = 0; i < n; i++)
		ns_mc_gone(m, t->n_copies > 0 ? &t->copies[i].gateway_id : &t->gateways[i], reason, "%s", text);
	if (n == 0)
		ns_mc_gone(m, NULL, reason, "%s", text);
}

static void wake_parked(struct ns_mc_run *m)
{
	for (size_t i = 0; i < m->take.n_parked; i++)
		ns_mc_wake(m, m->take.parked[i].due_ns);
}

/* What ends an item without any gateway. */
static bool ends_item(struct ns_mc_run *m)
{
	const struct ns_mc_take *t = &m->take;
	const struct ns_mc_item *item = &t->item;
	const struct ns_region_config *rc = ns_mc_region_of(m->c.f, t->group.region, NULL);
	int64_t now_ns = ns_now(m->c.f);
	if (item->is_damaged) {
		ns_mc_item_gone(m, LONGWAVE__V1__REASON__INTERNAL_ERROR,
				"the item is damaged in the database: it cannot be read");
		return true;
	}
	if (item->expires_at_ns != 0 && item->expires_at_ns <= now_ns) {
		ns_mc_item_gone(m, LONGWAVE__V1__REASON__EXPIRED, "the item expired %.1f s before it could be sent",
				(double)(now_ns - item->expires_at_ns) / LW_NS_PER_S);
		return true;
	}
	if (rc == NULL) {
		ns_mc_item_gone(m, LONGWAVE__V1__REASON__UNKNOWN_REGION,
				"no region configuration of the group's region is enabled");
		return true;
	}
	int max = ns_mc_max_payload(&t->group, rc);
	if ((int)item->payload.n > max) {
		ns_mc_item_gone(m, LONGWAVE__V1__REASON__PAYLOAD_SIZE,
				"%zu bytes are more than the %d that DR%u carries", item->payload.n, max < 0 ? 0 : max,
				(unsigned)t->group.dr);
		return true;
	}
	return false;
}

static enum rt_flow_rc mc_check(struct rt_flow_ctx *flow)
{
	struct ns_mc_run *m = ns_mc_run_of(flow);
	int64_t now_ns = ns_now(m->c.f);
	switch (m->take.err) {
	case 0:
		break;
	case LW_ECONFLICT:
		ns_mc_wake(m, m->take.leased_until_ns > now_ns ? m->take.leased_until_ns : now_ns + LW_NS_PER_S);
		return RT_FLOW_DONE;
	case LW_ENOTFOUND:
		return RT_FLOW_DONE;
	case LW_EPROTO: /* an item of ours that cannot be read is of no use to anybody */
		m->change = (struct ns_mc_change){.item_id = m->take.item.id};
		ns_mc_item_gone(m, LONGWAVE__V1__REASON__MALFORMED, "the item cannot be read");
		return RT_FLOW_NEXT;
	default:
		ns_mc_wake(m, now_ns + NS_MC_RETRY_NS);
		return ns_drop(&m->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE, "the group could not be read");
	}
	m->change = (struct ns_mc_change){.item_id = m->take.item.id};
	if (!m->take.has_item)
		wake_parked(m);
	else
		(void)ends_item(m);
	return RT_FLOW_NEXT;
}

/* ---- commit ---- */

static void committed(struct ns_mc_change *req)
{
	struct ns_mc_run *m = req->owner;
	if (req->err == 0) {
		rt_flow_resume(&m->c.flow, RT_FLOW_NEXT);
		return;
	}
	m->again = false;
	m->wake_ns = 0;
	ns_mc_wake(m, ns_now(m->c.f) + (req->err == LW_ECONFLICT ? NS_MC_LEASE_NS : NS_MC_RETRY_NS));
	ns_drop(&m->c,
		req->err == LW_ECONFLICT ? LONGWAVE__V1__REASON__CONFLICT : LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE,
		"the plan could not be written");
	rt_flow_resume(&m->c.flow, RT_FLOW_DROP);
}

static void mc_commit(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_mc_change *req[NS_BATCH];
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_mc_run *m = ns_mc_run_of(v[i]);
		m->change.done = committed;
		m->change.owner = m;
		req[i] = &m->change;
	}
	f->ports->multicast.commit(f->ports->multicast.self, req, n);
}

/* ---- send ---- */

static void record_gone(struct ns_mc_run *m, const struct ns_mc_gone *g)
{
	const struct ns_log_port *log = &m->c.f->ports->log;
	Longwave__Ns__V1__Frame fr = LONGWAVE__NS__V1__FRAME__INIT;
	char gw[LW_EUI_TEXT];
	char addr[LW_DEVADDR_TEXT];
	char group[LW_UUID_TEXT];
	fr.time = ns_timestamp(&m->c.arena, ns_now(m->c.f));
	fr.multicast_group_id = lw_uuid_print(m->st->id, group);
	fr.dev_addr = lw_devaddr_print(m->take.group.addr, addr);
	fr.f_type = COMMON__FTYPE__UNCONFIRMED_DATA_DOWN;
	fr.taken = -1;
	fr.f_cnt = m->take.item.f_cnt;
	fr.f_port = m->take.item.f_port;
	fr.dr = m->take.group.dr;
	fr.outcome = LONGWAVE__V1__OUTCOME__DROPPED;
	fr.reason = g->reason;
	fr.detail = (char *)(uintptr_t)(g->text != NULL ? g->text : "");
	if (g->has_gateway)
		fr.gateway_id = lw_gateway_id_print(g->gateway_id, gw);
	log->frame(log->self, &fr);
	log->outcome(log->self, "downlink", LONGWAVE__V1__OUTCOME__DROPPED, g->reason);
}

static void send_one(struct ns_mc_run *m, const struct ns_mc_copy *k)
{
	struct ns_flows *f = m->c.f;
	const struct ns_mc_group *g = &m->take.group;
	struct ns_down_window w;
	struct ns_tx *tx = ns_tx_new(f);
	tx->is_multicast = true;
	tx->group_id = m->st->id;
	tx->rc = ns_mc_region_of(f, g->region, &k->gateway_id);
	tx->devaddr = g->addr;
	tx->has_item = true;
	tx->item_id = m->take.item.id;
	tx->attempt = k->attempts;
	tx->n_gw = 1;
	tx->gw[0] = (struct ns_tx_gateway){.rx.gateway_id = k->gateway_id, .margin_ddb = NS_MARGIN_UNKNOWN};
	if (ns_mc_window(g, tx->rc, m->gps_ns, &w)) {
		tx->n_frames = 1;
		ns_mc_build(f->kc, g, &m->take.item, &w, &tx->frame[0]);
	}
	m->st->in_flight++;
	ns_tx_send(tx, &m->c);
}

static enum rt_flow_rc mc_send(struct rt_flow_ctx *flow)
{
	struct ns_mc_run *m = ns_mc_run_of(flow);
	for (size_t i = 0; i < m->n_gone; i++)
		record_gone(m, &m->gone[i]);
	for (size_t i = 0; i < m->n_send; i++)
		send_one(m, m->send[i]);
	return RT_FLOW_DONE;
}

static void wait_until(struct ns_mc_state *st, int64_t at_ns)
{
	int64_t ms = (at_ns - ns_now(st->f)) / LW_NS_PER_MS + 1;
	rt_timer_start(&st->timer, ms > 1 ? (uint32_t)(ms < UINT32_MAX ? ms : UINT32_MAX) : 1);
}

void ns_multicast_ended(void *owner, struct rt_flow_ctx *flow, enum rt_flow_rc rc)
{
	struct ns_flows *f = owner;
	struct ns_mc_run *m = ns_mc_run_of(flow);
	struct ns_mc_state *st = m->st;
	(void)rc;
	ns_mc_cover_deinit(m);
	bool again = m->again || st->again;
	int64_t wake_ns = m->wake_ns;
	ns_ctx_free(&m->c);
	if (f->closing)
		return;
	st->running = false;
	if (st->in_flight > 0)
		return; /* the last answer goes on */
	if (again)
		ns_multicast_try(f, st->id);
	else if (wake_ns != 0)
		wait_until(st, wake_ns);
	else
		forget(st);
}

/* ---- answers ---- */

/* Refusals that are none of this frame's: they end by themselves. */
static bool passes_by(ns_reason reason)
{
	return reason == LONGWAVE__V1__REASON__BROKER_UNAVAILABLE ||
	       reason == LONGWAVE__V1__REASON__DUTY_CYCLE_OVERFLOW || reason == LONGWAVE__V1__REASON__QUEUE_FULL;
}

void ns_multicast_settle(const struct ns_tx *tx, bool taken, struct ns_mc_answer *out)
{
	struct ns_flows *f = tx->f;
	int64_t now_ns = ns_now(f);
	bool counts = tx->n_offers > 0 || !passes_by(tx->last_error);
	out->change = (struct ns_mc_change){.group_id = tx->group_id, .item_id = tx->item_id};
	out->copy = (struct ns_mc_copy){.gateway_id = tx->gw[0].rx.gateway_id,
					.attempts = (uint8_t)(counts ? tx->attempt : tx->attempt - 1)};
	out->gateway_id = tx->gw[0].rx.gateway_id;
	out->given_up = !taken && out->copy.attempts >= ATTEMPTS;
	if (taken || out->given_up) {
		out->change.remove = &out->gateway_id;
		out->change.n_remove = 1;
		return;
	}
	/* In class B the next opportunity is the next slot. */
	bool is_b = tx->n_frames > 0 && tx->frame[0].window.gps_ns != 0;
	out->copy.due_ns = is_b && counts ? now_ns : now_ns + (NS_MC_RETRY_NS << (counts ? tx->attempt - 1 : 0));
	out->change.put = &out->copy;
	out->change.n_put = 1;
}

void ns_multicast_answered(const struct ns_tx *tx)
{
	struct ns_flows *f = tx->f;
	struct ns_mc_state *st = lw_bmap_find(&f->multicast_groups, key_of(&tx->group_id));
	if (st == NULL)
		return;
	if (st->in_flight > 0)
		st->in_flight--;
	if (st->in_flight == 0)
		ns_multicast_try(f, st->id);
}
