/* The downlink to one device: after an uplink that calls for one, or when something was queued in time. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "network-server/domain/class_b.h"
#include "network-server/flow/internal.h"

/* A ping slot is met when it is a second away, and sent to the gateway at most five seconds before. */
#define PING_SLOT_LEAD_NS LW_NS_PER_S
#define PING_SLOT_AHEAD_NS (5 * LW_NS_PER_S)
/* A class B or C downlink that no gateway took is tried again after 5 s, 10 s … up to 320 s. */
enum { CLASS_C_RETRY_MS = 5000, CLASS_C_RETRY_DOUBLINGS = 6 };

static rt_flow_io_fn down_wait, down_fetch, down_fetch_queue, down_commit;
static rt_flow_key_fn down_key;
static rt_flow_pure_fn down_check, down_decide, down_send;

const struct rt_flow_step ns_downlink_steps[] = {
	{"wait", .io = down_wait}, /* the application may answer the very uplink */
	{"one_per_device", .key = down_key},
	{"fetch_device", .io = down_fetch},
	{"check", .pure = down_check}, /* may anything be sent now at all */
	{"fetch_queue", .io = down_fetch_queue},
	{"decide", .pure = down_decide}, /* windows, content, counters, gateway */
	{"commit", .io = down_commit},   /* counters count as used before the frame leaves */
	{"send", .pure = down_send},
};
const size_t ns_downlink_n_steps = sizeof(ns_downlink_steps) / sizeof(ns_downlink_steps[0]);

static struct ns_down *down_of(struct rt_flow_ctx *flow)
{
	return (struct ns_down *)(void *)flow;
}

/* ---- entries ---- */

static void enter(struct ns_down *d)
{
	struct ns_flows *f = d->c.f;
	lw_map_put(&f->down_by_device, lw_dev_eui_u64(d->dev_eui), d);
	rt_flow_enter(f->downlink, &d->c.flow);
}

void ns_answer_uplink(struct ns_up *u)
{
	struct ns_flows *f = u->c.f;
	const struct lw_data_frame *fr = &u->up.phy.u.data;
	bool ack = u->up.phy.mtype == LW_MTYPE_CONFIRMED_UP;
	bool force = !u->retransmission && (u->mac.force_downlink || fr->fctrl.adr_ack_req);
	bool wanted = ack || force || u->mac.n_answers > 0 || u->n_queued > 0 ||
		      (!u->retransmission && u->dev->session.mac_queue_len > 0);
	if (!wanted && !f->cfg.mac_commands_disabled && !u->rc->mac_commands_disabled && !u->retransmission) {
		struct ns_mac_down m = {.dev = u->dev,
					.rc = u->rc,
					.now_ns = u->up.received_ns,
					.max_error_count = f->cfg.max_mac_command_error_count,
					.rng = f->rng};
		ns_mac_down(&m);
		wanted = m.n > 0;
	}
	if (!wanted)
		return;
	struct ns_down *d = ns_down_new(f);
	d->dev_eui = u->dev->dev_eui;
	d->rc = u->rc;
	d->delay_ms = f->cfg.downlink_data_delay_ms;
	d->ack = ack;
	d->force = force;
	d->n_answers = u->mac.n_answers;
	memcpy(d->answers, u->mac.answers, u->mac.n_answers);
	memcpy(d->dedup_id, u->dedup_id, sizeof(d->dedup_id));
	enter(d);
}

void ns_down_try(struct ns_flows *f, struct lw_dev_eui dev_eui)
{
	/* One that has not decided yet will see the new items by itself. */
	if (lw_map_find(&f->down_by_device, lw_dev_eui_u64(dev_eui)) != NULL)
		return;
	struct ns_down *d = ns_down_new(f);
	d->dev_eui = dev_eui;
	d->by_hint = true;
	enter(d);
}

static void once_more(struct ns_flows *f, struct lw_dev_eui dev_eui, uint8_t attempt)
{
	unsigned n = attempt < CLASS_C_RETRY_DOUBLINGS ? attempt : CLASS_C_RETRY_DOUBLINGS;
	ns_down_try_later(f, dev_eui, (uint32_t)CLASS_C_RETRY_MS << n, (uint8_t)(n + 1));
}

void ns_down_failed(const struct ns_tx *tx)
{
	if (tx->enabled_class != LW_CLASS_A)
		once_more(tx->f, tx->dev_eui, tx->attempt);
}

void ns_down_try_later(struct ns_flows *f, struct lw_dev_eui dev_eui, uint32_t ms, uint8_t attempt)
{
	struct ns_down *d = ns_down_new(f);
	d->dev_eui = dev_eui;
	d->by_hint = true;
	d->delay_ms = ms;
	d->attempt = attempt;
	/* Not in the table of undecided ones: others need not wait for it. */
	rt_flow_enter(f->downlink, &d->c.flow);
}

/* ---- wait ---- */

static void waited(struct rt_timer *t, void *arg)
{
	struct ns_down *d = arg;
	(void)t;
	lw_list_remove(&d->waiting);
	d->c.f->n_later -= d->by_hint;
	rt_flow_resume(&d->c.flow, RT_FLOW_NEXT);
}

static void down_wait(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_down *d = down_of(v[i]);
		if (d->delay_ms == 0) {
			rt_flow_resume(v[i], RT_FLOW_NEXT);
			continue;
		}
		rt_timer_init(&d->timer, f->loop, "downlink delay", waited, d);
		lw_list_push_back(&f->waiting, &d->waiting);
		f->n_later += d->by_hint;
		rt_timer_start(&d->timer, d->delay_ms);
	}
}

static bool down_key(const struct rt_flow_ctx *flow, uint64_t *key)
{
	*key = lw_dev_eui_u64(((const struct ns_down *)(const void *)flow)->dev_eui);
	return true;
}

/* ---- device and queue ---- */

static void undecided_no_more(struct ns_down *d)
{
	struct ns_flows *f = d->c.f;
	uint64_t key = lw_dev_eui_u64(d->dev_eui);
	if (lw_map_find(&f->down_by_device, key) == d)
		lw_map_remove(&f->down_by_device, key);
}

static void fetched(struct ns_fetch *req)
{
	struct ns_down *d = req->owner;
	if (req->err == 0) {
		rt_flow_resume(&d->c.flow, RT_FLOW_NEXT);
		return;
	}
	ns_drop(&d->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE, "the device could not be read");
	rt_flow_resume(&d->c.flow, RT_FLOW_DROP);
}

static void down_fetch(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_fetch *req[NS_BATCH];
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_down *d = down_of(v[i]);
		d->fetch = (struct ns_fetch){.dev_eui = d->dev_eui, .arena = &d->c.arena, .done = fetched, .owner = d};
		req[i] = &d->fetch;
	}
	f->ports->store.fetch(f->ports->store.self, req, n);
}

static bool in_ping_slots_only(const struct ns_down *d)
{
	return d->dev->profile.class_b_downlink_only && d->dev->session.enabled_class == LW_CLASS_B;
}

/* Class B and C: one downlink at a time. While RX1 of an uplink that has no answer yet can be met, that is the sooner
 * and faster way. */
static enum rt_flow_rc check_at_any_time(struct ns_down *d)
{
	struct ns_flows *f = d->c.f;
	const struct ns_session *s = &d->dev->session;
	/* One that has just joined is heard of first: in which session it listens is not certain before. */
	if (!s->has_uplink || ns_session_is_joining(s) ||
	    lw_map_find(&f->tx_by_device, lw_dev_eui_u64(d->dev_eui)) != NULL)
		return RT_FLOW_DONE;
	int64_t delay_ns = (s->rx1_delay_s == 0 ? 1 : s->rx1_delay_s) * LW_NS_PER_S;
	int64_t left_ns = s->last_uplink_at_ns + delay_ns - ns_now(f); /* more than there was: the clock was set back */
	if (!s->answered && left_ns > 0 && left_ns <= delay_ns && !in_ping_slots_only(d))
		return RT_FLOW_NEXT;
	d->mode = s->enabled_class == LW_CLASS_C ? NS_DOWN_CLASS_C : NS_DOWN_CLASS_B;
	/* Asked to listen on another frequency or at another rate, and not heard of since: its next uplink says whether
	 * it does (TS001-1.0.4 §5.4, §12.3: the answer is in every uplink until it hears a downlink). */
	if (ns_session_unsettled(s, d->mode == NS_DOWN_CLASS_C ? LW_CID_RX_PARAM_SETUP : LW_CID_PING_SLOT_CHANNEL))
		return RT_FLOW_DONE;
	if (d->mode == NS_DOWN_CLASS_C)
		return RT_FLOW_NEXT;
	if (s->ping_slot_nb == 0)
		return RT_FLOW_DONE; /* it has not said when it listens */
	/* A gateway's queue is no place for what is due in two minutes. */
	int64_t now_gps = lw_gps_from_unix_ns(ns_now(f));
	int64_t after = now_gps + PING_SLOT_LEAD_NS;
	if (after <= s->ping_slot_used_ns && s->ping_slot_used_ns - now_gps < NS_BEACON_PERIOD_S * 2 * LW_NS_PER_S)
		after = s->ping_slot_used_ns + 1; /* one frame in each */
	d->ping_slot_gps_ns = ns_next_ping_slot(f->kc, after, s->devaddr, s->ping_slot_nb);
	if (d->ping_slot_gps_ns - now_gps <= PING_SLOT_AHEAD_NS)
		return RT_FLOW_NEXT;
	int64_t wait_ns = d->ping_slot_gps_ns - now_gps - PING_SLOT_AHEAD_NS;
	if (d->dev->may_have_queue)
		ns_down_try_later(f, d->dev_eui, (uint32_t)(wait_ns / LW_NS_PER_MS) + 1, d->attempt);
	return RT_FLOW_DONE;
}

/* Class A has one downlink per uplink. */
static enum rt_flow_rc down_check(struct rt_flow_ctx *flow)
{
	struct ns_down *d = down_of(flow);
	struct ns_flows *f = d->c.f;
	/* What is queued from now on comes too late for this one. */
	undecided_no_more(d);
	/* An uplink came meanwhile and has its own answer under way, with more to say. */
	if (d->by_hint && lw_map_find(&f->down_by_device, lw_dev_eui_u64(d->dev_eui)) != NULL)
		return RT_FLOW_DONE;
	if (d->fetch.n == 0)
		return ns_drop(&d->c, LONGWAVE__V1__REASON__UNKNOWN_DEVICE, "the device was deleted meanwhile");
	d->dev = d->fetch.devices[0];
	const struct ns_session *s = &d->dev->session;
	if (!d->dev->has_session)
		return d->by_hint ? RT_FLOW_DONE
				  : ns_drop(&d->c, LONGWAVE__V1__REASON__NOT_ACTIVATED,
					    "the device has no session any more: it has to join");
	if (d->dev->is_disabled)
		return d->by_hint ? RT_FLOW_DONE
				  : ns_drop(&d->c, LONGWAVE__V1__REASON__DEVICE_DISABLED,
					    "the device was disabled meanwhile");
	if (d->rc == NULL)
		d->rc = ns_region_of(f, s->region_config_id);
	if (d->rc == NULL)
		return ns_drop_f(&d->c, LONGWAVE__V1__REASON__UNKNOWN_REGION,
				 "the session belongs to region configuration %s, which is not enabled",
				 s->region_config_id);
	d->mode = NS_DOWN_CLASS_A;
	if (!d->by_hint || s->enabled_class == LW_CLASS_A)
		return s->answered || !s->has_uplink ? RT_FLOW_DONE : RT_FLOW_NEXT;
	return check_at_any_time(d);
}

static void queue_fetched(struct ns_queue_fetch *req)
{
	struct ns_down *d = req->owner;
	if (req->err == 0) {
		rt_flow_resume(&d->c.flow, RT_FLOW_NEXT);
		return;
	}
	ns_drop(&d->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE, "the queue could not be read");
	rt_flow_resume(&d->c.flow, RT_FLOW_DROP);
}

static void down_fetch_queue(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_queue_fetch *req[NS_BATCH];
	size_t n_req = 0;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_down *d = down_of(v[i]);
		d->queue = (struct ns_queue_fetch){.dev_eui = d->dev_eui,
						   .max = NS_QUEUE_LOOK,
						   .arena = &d->c.arena,
						   .done = queue_fetched,
						   .owner = d};
		if (d->dev->may_have_queue)
			req[n_req++] = &d->queue;
		else
			rt_flow_resume(v[i], RT_FLOW_NEXT);
	}
	if (n_req > 0)
		f->ports->store.queue_head(f->ports->store.self, req, n_req);
}

/* ---- decision ---- */

bool ns_gateway_may_send(const struct ns_flows *f, struct lw_gateway_id id, struct lw_uuid tenant, uint32_t *priority)
{
	const struct ns_gateway *g = f->ports->gateways.find(f->ports->gateways.self, id);
	*priority = g != NULL ? g->downlink_priority : 1;
	if (g == NULL)
		return f->cfg.allow_unknown_gateways;
	return !g->is_private_down || lw_uuid_eq(g->tenant_id, tenant);
}

static void choose_gateways(struct ns_down *d)
{
	struct ns_flows *f = d->c.f;
	const struct ns_session *s = &d->dev->session;
	const struct lw_modulation none = {.kind = LW_MOD_NONE};
	const struct lw_modulation *mod = lw_region_dr(lw_region_by_id(d->rc->region), LW_UP, s->dr);
	d->gw = LW_ARENA_ARRAY(&d->c.arena, struct ns_tx_gateway, NS_TX_GATEWAYS);
	d->n_gw = d->gw == NULL
			  ? 0
			  : ns_plan_gateways(f, d->dev->tenant_id, mod != NULL ? mod : &none, s->rx, s->n_rx, d->gw);
}

/* Where nothing may be sent that has no room: found out before a counter is used for it. Class B and C try later. */
static bool has_room(struct ns_down *d)
{
	d->rank = d->ack || d->out->item == NULL ? NS_PLAN_ACK : NS_PLAN_DATA;
	struct ns_plan_question q = {.rc = d->rc,
				     .rank = d->rank,
				     .uplink_at_ns = d->dev->session.last_uplink_at_ns,
				     .frame = d->out->frame,
				     .n_frames = d->out->n_frames,
				     .gw = d->gw,
				     .n_gw = d->n_gw};
	d->plan = LW_ARENA_NEW(&d->c.arena, struct ns_plan);
	if (d->plan == NULL) {
		ns_drop(&d->c, LONGWAVE__V1__REASON__OVERLOAD, NULL);
		return false;
	}
	ns_plan_ask(d->c.f, &q, d->plan);
	if (d->plan->found)
		return true;
	struct ns_looked_at looked = ns_down_looked_at(d);
	ns_drop_no_room(&d->c, &looked, d->dev->session.last_uplink_at_ns);
	if (d->mode != NS_DOWN_CLASS_A)
		ns_down_try_later(d->c.f, d->dev_eui, CLASS_C_RETRY_MS, d->attempt);
	return false;
}

static void add_event(struct ns_down *d, struct ns_event e)
{
	if (e.packed.n > 0)
		d->event[d->n_events++] = e;
}

/* For the record, once it is written. */
static void __attribute__((format(printf, 4, 5)))
gone(struct ns_down *d, const struct ns_queue_item *item, ns_reason reason, const char *fmt, ...)
{
	char text[200];
	va_list ap;
	if (d->n_gone == sizeof(d->gone) / sizeof(d->gone[0]))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	struct ns_gone g = {.reason = reason,
			    .text = lw_arena_strdup(&d->c.arena, text),
			    .f_cnt = item->f_cnt_down,
			    .f_port = item->f_port,
			    .confirmed = item->confirmed};
	if (g.text != NULL)
		d->gone[d->n_gone++] = g;
}

static void not_acknowledged(struct ns_down *d, const struct ns_queue_item *item)
{
	bool is_c = d->dev->session.enabled_class == LW_CLASS_C;
	uint32_t s = is_c ? d->dev->profile.class_c_timeout_s : d->dev->profile.class_b_timeout_s;
	if (d->dev->session.enabled_class == LW_CLASS_A)
		gone(d, item, LONGWAVE__V1__REASON__NOT_ACKNOWLEDGED,
		     "the device did not acknowledge FCnt %" PRIu32 " in time", item->f_cnt_down);
	else
		gone(d, item, LONGWAVE__V1__REASON__NOT_ACKNOWLEDGED,
		     "FCnt %" PRIu32
		     " was sent %s, as the profile's class %c has it, and not acknowledged within %u s: "
		     "does the device really listen then? One of class A does not",
		     item->f_cnt_down, is_c ? "at once" : "in a ping slot", is_c ? 'C' : 'B',
		     s != 0 ? s : NS_RESP_TIMEOUT_S);
}

/* An item that waits for the device's acknowledgement holds back those behind it, until its time is over. */
static size_t sendable(struct ns_down *d)
{
	size_t queued = d->queue.total;
	bool held = false;
	d->items = d->queue.items;
	d->n_items = 0;
	for (size_t i = 0; i < d->queue.n; i++) {
		struct ns_queue_item *item = &d->queue.items[i];
		if (item->state != NS_ITEM_PENDING) {
			d->items[d->n_items++] = *item;
			continue;
		}
		queued--;
		int64_t now_ns = ns_now(d->c.f);
		if (item->timeout_after_ns == 0 || !ns_item_timed_out(d->dev, item, now_ns, now_ns)) {
			held = true;
			continue;
		}
		struct ns_subject s = ns_subject_of(d->dev, d->rc, NULL, ns_now(d->c.f));
		add_event(d, ns_ack_event(&d->c.arena, &s, item->id, false, item->f_cnt_down));
		not_acknowledged(d, item);
		d->queue_op[d->n_queue_ops++] = (struct ns_queue_op){.kind = NS_QUEUE_DELETE, .id = item->id};
	}
	if (held)
		d->n_items = 0;
	return held ? 0 : queued;
}

static void discard_items(struct ns_down *d)
{
	struct ns_subject s = ns_subject_of(d->dev, d->rc, NULL, ns_now(d->c.f));
	for (unsigned i = 0; i < d->out->n_discard; i++) {
		const struct ns_queue_item *item = d->out->discard[i].item;
		char id[LW_UUID_TEXT];
		char n[12];
		char max[12];
		const char *context[] = {"queue_item_id", lw_uuid_print(item->id, id), NULL, NULL, NULL, NULL, NULL};
		d->queue_op[d->n_queue_ops++] = (struct ns_queue_op){.kind = NS_QUEUE_DELETE, .id = item->id};
		switch (d->out->discard[i].why) {
		case NS_DISCARD_EXPIRED:
			add_event(d, ns_log_event(&d->c.arena, &s, INTEGRATION__LOG_LEVEL__ERROR,
						  INTEGRATION__LOG_CODE__EXPIRED, "Device queue-item has expired",
						  context));
			gone(d, item, LONGWAVE__V1__REASON__EXPIRED,
			     "queue item %s expired %.1f s before it could be sent", id,
			     (double)(ns_now(d->c.f) - item->expires_at_ns) / LW_NS_PER_S);
			break;
		case NS_DISCARD_SIZE:
			snprintf(n, sizeof(n), "%zu", item->payload[0].n);
			snprintf(max, sizeof(max), "%u", d->out->discard[i].max_size);
			context[2] = "item_size";
			context[3] = n;
			context[4] = "max_payload_size";
			context[5] = max;
			add_event(d, ns_log_event(&d->c.arena, &s, INTEGRATION__LOG_LEVEL__ERROR,
						  INTEGRATION__LOG_CODE__DOWNLINK_PAYLOAD_SIZE,
						  "Device queue-item discarded because of max. payload size", context));
			gone(d, item, LONGWAVE__V1__REASON__PAYLOAD_SIZE,
			     "queue item %s has %s bytes, no more than %s fit at the data rate of its receive window",
			     id, n, max);
			break;
		case NS_DISCARD_F_CNT:
			add_event(d, ns_log_event(&d->c.arena, &s, INTEGRATION__LOG_LEVEL__ERROR,
						  INTEGRATION__LOG_CODE__F_CNT_DOWN,
						  "Device queue-item discarded because its frame-counter was used",
						  context));
			gone(d, item, LONGWAVE__V1__REASON__FCNT_DOWN_USED,
			     "queue item %s was encrypted by its sender for FCnt %" PRIu32 ", the next one is %" PRIu32
			     ": encrypt it anew",
			     id, item->first_f_cnt, ns_session_next_f_cnt_down(&d->dev->session, true));
			break;
		case NS_DISCARD_DAMAGED:
			add_event(d, ns_log_event(&d->c.arena, &s, INTEGRATION__LOG_LEVEL__ERROR,
						  INTEGRATION__LOG_CODE__UNKNOWN,
						  "Device queue-item discarded because what was stored cannot be read",
						  context));
			gone(d, item, LONGWAVE__V1__REASON__INTERNAL_ERROR,
			     "queue item %s is damaged in the database: it cannot be read", id);
			break;
		case NS_DISCARD_NONE:
			break;
		}
	}
}

static void drop_too_late(struct ns_down *d)
{
	struct ns_down_window w[2];
	const struct ns_session *s = &d->dev->session;
	unsigned n = ns_down_windows(d->dev, d->rc, NS_DOWN_CLASS_A, w);
	int64_t last_ns = 0;
	for (unsigned i = 0; i < n; i++)
		if (s->last_uplink_at_ns + w[i].delay_s * LW_NS_PER_S > last_ns)
			last_ns = s->last_uplink_at_ns + w[i].delay_s * LW_NS_PER_S;
	if (n == 0)
		(void)ns_drop(&d->c, LONGWAVE__V1__REASON__TOO_LATE,
			      "the region has no receive window for this uplink's channel and data rate");
	else
		(void)ns_drop_f(&d->c, LONGWAVE__V1__REASON__TOO_LATE,
				"the last receive window was %" PRId64 " ms ago: the answer took %" PRId64 " ms",
				(ns_now(d->c.f) - last_ns) / LW_NS_PER_MS,
				(ns_now(d->c.f) - s->last_uplink_at_ns) / LW_NS_PER_MS);
}

static enum rt_flow_rc down_decide(struct rt_flow_ctx *flow)
{
	struct ns_down *d = down_of(flow);
	struct ns_flows *f = d->c.f;
	size_t n_queued = sendable(d);
	if (d->mode == NS_DOWN_CLASS_A && in_ping_slots_only(d)) {
		if (d->n_items > 0)
			ns_down_try_later(f, d->dev_eui, 1, 0);
		d->n_items = n_queued = 0;
	}
	d->out = LW_ARENA_NEW(&d->c.arena, struct ns_down_out);
	if (d->out == NULL)
		return ns_drop(&d->c, LONGWAVE__V1__REASON__OVERLOAD, NULL);
	struct ns_down_in in = {
		.kc = f->kc,
		.dev = d->dev,
		.rc = d->rc,
		.mode = d->mode,
		.now_ns = ns_now(f),
		.ping_slot_gps_ns = d->ping_slot_gps_ns,
		.ack = d->ack,
		.ack_f_cnt_up = d->dev->session.f_cnt_up - 1,
		.force = d->force,
		.answers = lw_span(d->answers, d->n_answers),
		.mac_requests = !d->by_hint && !f->cfg.mac_commands_disabled && !d->rc->mac_commands_disabled,
		.mac_queue = !d->by_hint,
		.max_mac_error_count = f->cfg.max_mac_command_error_count,
		.rng = f->rng,
		.items = d->items,
		.n_items = d->n_items,
		.n_queued = n_queued,
	};
	d->dev_status_req_at_ns = d->dev->session.dev_status_req_at_ns;
	ns_down_build(&in, d->out);
	discard_items(d);
	if (d->out->n_frames == 0) {
		if (d->ack || d->force || d->n_answers > 0)
			drop_too_late(d);
		return d->n_queue_ops > 0 ? RT_FLOW_NEXT : d->c.outcome != 0 ? RT_FLOW_DROP : RT_FLOW_DONE;
	}
	choose_gateways(d);
	if (d->n_gw == 0)
		return ns_drop_f(
			&d->c, LONGWAVE__V1__REASON__NO_GATEWAY,
			"none of the %u gateways that heard the last uplink may send to this device: unknown, or "
			"private to another tenant",
			d->dev->session.n_rx);
	if (ns_plan_enforced(f, d->rc) && !has_room(d))
		return RT_FLOW_DROP;
	const struct ns_queue_item *item = d->out->item;
	if (item != NULL) {
		uint32_t f_cnt = 0;
		for (unsigned i = 0; i < d->out->n_frames; i++)
			if (d->out->frame[i].carries_item)
				f_cnt = d->out->frame[i].f_cnt;
		d->queue_op[d->n_queue_ops++] = (struct ns_queue_op){
			.kind = NS_QUEUE_MARK, .id = item->id, .state = NS_ITEM_SENT, .f_cnt_down = f_cnt};
	}
	return RT_FLOW_NEXT;
}

/* ---- commit ---- */

static void committed(struct ns_change *req)
{
	struct ns_down *d = req->owner;
	if (req->err == 0) {
		rt_flow_resume(&d->c.flow, RT_FLOW_NEXT);
		return;
	}
	if (req->err == LW_ECONFLICT)
		ns_drop(&d->c, LONGWAVE__V1__REASON__CONFLICT, "the session changed meanwhile");
	else if (req->err == LW_ENOTFOUND)
		ns_drop(&d->c, LONGWAVE__V1__REASON__UNKNOWN_DEVICE, "the device was deleted meanwhile");
	else
		ns_drop(&d->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE, "the session could not be written");
	rt_flow_resume(&d->c.flow, RT_FLOW_DROP);
}

static void down_commit(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_change *req[NS_BATCH];
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_down *d = down_of(v[i]);
		d->change = (struct ns_change){
			.dev_eui = d->dev_eui,
			.op = d->out->n_frames > 0 ? NS_SESSION_PUT : NS_SESSION_KEEP,
			.version = d->dev->version,
			.session = &d->out->session,
			.queue_ops = d->queue_op,
			.n_queue_ops = d->n_queue_ops,
			.events = d->event,
			.n_events = d->n_events,
			.done = committed,
			.owner = d,
		};
		req[i] = &d->change;
	}
	f->ports->store.commit(f->ports->store.self, req, n);
}

/* ---- send ---- */

static enum rt_flow_rc down_send(struct rt_flow_ctx *flow)
{
	struct ns_down *d = down_of(flow);
	const struct ns_down_out *out = d->out;
	for (unsigned i = 0; i < d->n_gone; i++) {
		ns_record_gone(d, &d->gone[i]);
		ns_count_dropped(d->c.f, d->dev_eui, LONGWAVE__V1__OUTCOME__DROPPED, d->gone[i].reason);
		d->c.f->ports->log.outcome(d->c.f->ports->log.self, "downlink", LONGWAVE__V1__OUTCOME__DROPPED,
					   d->gone[i].reason);
	}
	if (out->n_frames == 0)
		return d->c.outcome != 0 ? RT_FLOW_DROP : RT_FLOW_DONE;
	struct ns_tx *tx = ns_tx_new(d->c.f);
	tx->rc = d->rc;
	tx->dev_eui = d->dev_eui;
	tx->devaddr = d->dev->session.devaddr;
	tx->session_key_id_len = d->dev->session.session_key_id_len;
	memcpy(tx->session_key_id, d->dev->session.session_key_id, sizeof(tx->session_key_id));
	tx->enabled_class = d->dev->session.enabled_class;
	memcpy(tx->dedup_id, d->dedup_id, sizeof(tx->dedup_id));
	tx->uplink_at_ns = d->dev->session.last_uplink_at_ns;
	tx->attempt = d->attempt;
	tx->n_frames = out->n_frames;
	memcpy(tx->frame, out->frame, sizeof(tx->frame));
	tx->ack = d->ack;
	if (out->item != NULL) {
		tx->has_item = true;
		tx->item_confirmed = out->item->confirmed;
		tx->item_id = out->item->id;
	}
	if (d->mode == NS_DOWN_CLASS_C)
		tx->item_timeout_ns = (d->dev->profile.class_c_timeout_s != 0 ? d->dev->profile.class_c_timeout_s
									      : NS_RESP_TIMEOUT_S) *
				      LW_NS_PER_S;
	if (d->mode == NS_DOWN_CLASS_B)
		tx->item_timeout_ns = lw_gps_to_unix_ns(d->ping_slot_gps_ns) - ns_now(d->c.f) +
				      (d->dev->profile.class_b_timeout_s != 0 ? d->dev->profile.class_b_timeout_s
									      : NS_RESP_TIMEOUT_S) *
					      LW_NS_PER_S;
	tx->dev_status_req_at_ns = d->dev_status_req_at_ns;
	memcpy(tx->mac_bytes, out->mac_bytes, out->n_mac_bytes);
	tx->n_mac_bytes = out->n_mac_bytes;
	tx->mac_queue_len = (uint8_t)out->n_mac_queue;
	memcpy(tx->mac_queue, d->dev->session.mac_queue, out->n_mac_queue);
	for (size_t i = 0; i < out->mac.n_blocks; i++)
		tx->mac_request[tx->n_mac_requests++] = out->mac.block[i].cid;
	tx->n_gw = d->n_gw;
	memcpy(tx->gw, d->gw, d->n_gw * sizeof(*d->gw));
	ns_tx_send(tx, &d->c);
	d->c.outcome = LONGWAVE__V1__OUTCOME__PENDING;
	return RT_FLOW_DONE;
}

/* ---- end ---- */

/* A conflict is met with a new attempt: whatever changed the session, this one is made from its new state. */
static bool try_again(struct ns_down *d)
{
	struct ns_flows *f = d->c.f;
	if (d->c.reason != LONGWAVE__V1__REASON__CONFLICT || d->c.tries + 1 >= NS_TRIES)
		return false;
	struct ns_down *again = ns_down_new(f);
	again->c.tries = d->c.tries + 1;
	again->dev_eui = d->dev_eui;
	again->rc = d->rc;
	again->by_hint = d->by_hint;
	again->attempt = d->attempt;
	again->ack = d->ack;
	again->force = d->force;
	again->n_answers = d->n_answers;
	memcpy(again->answers, d->answers, sizeof(again->answers));
	memcpy(again->dedup_id, d->dedup_id, sizeof(again->dedup_id));
	enter(again);
	return true;
}

/* Without a word from the database: a device that was to be sent something now has no uplink to be answered. */
static bool is_left_waiting(const struct ns_down *d)
{
	bool listens = d->by_hint || (d->dev != NULL && d->dev->session.enabled_class != LW_CLASS_A);
	return d->c.reason == LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE && listens;
}

void ns_down_ended(void *owner, struct rt_flow_ctx *flow, enum rt_flow_rc rc)
{
	struct ns_flows *f = owner;
	struct ns_down *d = down_of(flow);
	undecided_no_more(d);
	if (rc == RT_FLOW_DROP && d->c.outcome == LONGWAVE__V1__OUTCOME__OUTCOME_UNSPECIFIED)
		ns_drop(&d->c, (ns_reason)d->c.flow.drop_reason, NULL);
	if (!f->closing && rc == RT_FLOW_DROP && !try_again(d)) {
		if (is_left_waiting(d))
			once_more(f, d->dev_eui, d->attempt);
		ns_record_no_downlink(d);
		ns_count_dropped(f, d->dev_eui, d->c.outcome, d->c.reason);
		f->ports->log.outcome(f->ports->log.self, "downlink", d->c.outcome, d->c.reason);
	}
	ns_ctx_free(&d->c);
}
