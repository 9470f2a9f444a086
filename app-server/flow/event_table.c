/* Event: network-server → application. The table, its steps below in the same order. */
#include <stdlib.h>

#include "app-server/domain/payload.h"
#include "app-server/flow/event_internal.h"
#include "app-server/integration/outlets.h"
#include "app-server/link/live.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_client.h"
#include "proto/google/protobuf/empty.pb-c.h"

#define FETCH_RETRY_MS 500
#define REENCRYPT_RETRY_MS 1000
#define REENCRYPT_ATTEMPTS 10
#define REENCRYPT_DEADLINE_MS 10000
#define REENCRYPT_MAX_ITEMS 64

static enum rt_flow_rc check(struct rt_flow_ctx *f);
static bool by_device(const struct rt_flow_ctx *f, uint64_t *key);
static void find_device(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n);
static enum rt_flow_rc build(struct rt_flow_ctx *f);
static void reencrypt(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n);
static void note_rows(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n);
static void show_live(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n);
static void spool(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n);
static void publish(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n);

const struct rt_flow_step as_event_steps[] = {
	{.name = "check", .pure = check}, /* whose event it is */
	{.name = "one at a time", .key = by_device},
	{.name = "device", .io = find_device},  /* names, tags, AppSKey: memory, else one statement for all */
	{.name = "build", .pure = build},       /* decrypt, integration message */
	{.name = "reencrypt", .io = reencrypt}, /* downlinks whose counter window has passed */
	{.name = "rows", .io = note_rows},      /* last seen, battery … (written later) */
	{.name = "live", .io = show_live},      /* streams for browsers */
	{.name = "spool", .io = spool},         /* for integrations other than the broker: one transaction for all */
	{.name = "publish", .io = publish},     /* to the broker, in the order of the stream */
};
const size_t as_event_steps_count = sizeof(as_event_steps) / sizeof(as_event_steps[0]);

static bool is_gateway(const struct as_event_ctx *c)
{
	return c->ev->kind_case == LONGWAVE__NS__V1__EVENT__KIND_GATEWAY_STATS;
}

static enum rt_flow_rc drop(struct rt_flow_ctx *f, enum as_event_drop why)
{
	f->drop_reason = (uint16_t)why;
	return RT_FLOW_DROP;
}

static enum rt_flow_rc check(struct rt_flow_ctx *f)
{
	struct as_event_ctx *c = as_event_ctx_of(f);
	struct lw_dev_eui eui;
	if (!c->ev)
		return drop(f, AS_DROP_MALFORMED);
	if (is_gateway(c))
		return RT_FLOW_NEXT;
	if (c->ev->kind_case == LONGWAVE__NS__V1__EVENT__KIND__NOT_SET || lw_dev_eui_parse(&eui, c->ev->dev_eui) < 0)
		return drop(f, AS_DROP_MALFORMED);
	c->dev_eui = lw_dev_eui_u64(eui);
	return RT_FLOW_NEXT;
}

static bool by_device(const struct rt_flow_ctx *f, uint64_t *key)
{
	const struct as_event_ctx *c = as_event_ctx_of((struct rt_flow_ctx *)(uintptr_t)f);
	*key = c->dev_eui;
	return !is_gateway(c);
}

/* ---- device ---- */

static void on_devices(void *arg, int err, struct as_device_ask **v, size_t n)
{
	struct as_events *e = arg;
	for (size_t i = 0; i < n; i++) {
		struct as_event_ctx *c = v[i]->arg;
		c->dev = v[i]->dev;
		if (err < 0)
			lw_list_push_back(&e->waiting, &c->node);
		else if (c->dev)
			rt_flow_resume(&c->flow, RT_FLOW_NEXT);
		else
			rt_flow_resume_drop(&c->flow, AS_DROP_UNKNOWN_DEVICE);
	}
	/* The database is away: nothing is lost, the network-server is held back meanwhile. */
	if (err < 0 && err != LW_ECANCELLED && !rt_timer_armed(&e->fetch_timer))
		rt_timer_start(&e->fetch_timer, FETCH_RETRY_MS);
}

static void find_device(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct as_events *e = owner;
	struct as_device_ask **asks = NULL;
	size_t n_asks = 0;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct as_event_ctx *c = as_event_ctx_of(v[i]);
		struct lw_span session = as_event_session(c->ev);
		if (!is_gateway(c))
			c->dev = as_devices_find(e->devices, c->dev_eui, session);
		if (c->dev || is_gateway(c)) {
			rt_flow_resume(&c->flow, RT_FLOW_NEXT);
			continue;
		}
		if (!asks)
			asks = lw_xcalloc(n, sizeof(*asks));
		c->ask = (struct as_device_ask){.dev_eui = c->dev_eui, .session_key_id = session, .arg = c};
		asks[n_asks++] = &c->ask;
	}
	if (n_asks > 0)
		as_devices_fetch(e->devices, asks, n_asks, on_devices, e);
	free(asks);
}

void as_events_fetch_again(struct rt_timer *t, void *arg)
{
	struct as_events *e = arg;
	struct as_device_ask *asks[256];
	(void)t;
	while (!lw_list_empty(&e->waiting)) {
		size_t n = 0;
		struct lw_list *node;
		while (n < 256 && (node = lw_list_pop_front(&e->waiting)))
			asks[n++] = &LW_CONTAINER_OF(node, struct as_event_ctx, node)->ask;
		as_devices_fetch(e->devices, asks, n, on_devices, e);
	}
}

/* ---- build ---- */

static const struct lw_key *key_of(const struct as_event_ctx *c)
{
	struct lw_span session = as_event_session(c->ev);
	bool same = session.n && lw_span_eq(session, lw_span(c->dev->session_key_id, c->dev->session_key_id_len));
	return same && c->dev->has_key ? &c->dev->app_s_key : NULL;
}

static enum rt_flow_rc build(struct rt_flow_ctx *f)
{
	struct as_event_ctx *c = as_event_ctx_of(f);
	struct as_events *e = c->owner;
	if (!c->dev)
		return RT_FLOW_NEXT;
	const struct lw_key *key = key_of(c);
	if (!key && c->ev->kind_case == LONGWAVE__NS__V1__EVENT__KIND_UPLINK && c->ev->uplink->f_port > 0)
		rt_metric_inc(e->no_key);
	int rc = as_event_build(c->ev, &c->dev->text, key, e->as->keys, &c->arena, &c->out);
	return rc < 0 ? drop(f, AS_DROP_MALFORMED) : RT_FLOW_NEXT;
}

/* ---- reencrypt ---- */

static void on_reencrypted(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct as_event_ctx *c = arg;
	struct as_events *e = c->owner;
	(void)resp;
	if (status == GRPC_OK || status == GRPC_NOT_FOUND) {
		rt_flow_resume(&c->flow, RT_FLOW_NEXT);
		return;
	}
	bool temporary = status == GRPC_UNAVAILABLE || status == GRPC_DEADLINE_EXCEEDED || status == GRPC_CANCELLED;
	if (temporary && ++c->attempts < REENCRYPT_ATTEMPTS) {
		lw_list_push_back(&e->again, &c->node);
		if (!rt_timer_armed(&e->again_timer))
			rt_timer_start(&e->again_timer, REENCRYPT_RETRY_MS);
		return;
	}
	RT_LOG_WARN(e->as->log, "queued downlinks could not be encrypted again", rt_eui("dev_eui", c->dev_eui),
		    rt_i64("status", status), rt_str("detail", message));
	rt_flow_resume_drop(&c->flow, AS_DROP_NOT_REENCRYPTED);
}

/* Fills one item; false when what we sealed cannot be opened. */
static bool encrypt_item(struct as_event_ctx *c, const struct lw_key *key, struct lw_devaddr addr,
			 const Longwave__Ns__V1__QueueItem *in, Longwave__Ns__V1__QueueItem *out)
{
	const Longwave__Ns__V1__ReencryptEvent *r = c->ev->reencrypt;
	struct as *as = c->owner->as;
	uint8_t clear[AS_PAYLOAD_MAX + AS_SEAL_OVERHEAD];
	if (in->sealed.len > sizeof(clear))
		return false;
	int n = as_payload_unseal(as->keys, &as->secrets.seal, in->id, lw_span(in->sealed.data, in->sealed.len), clear);
	if (n < 0)
		return false;
	*out = *in;
	out->first_f_cnt = r->next_f_cnt;
	out->session_key_id = r->session_key_id;
	out->frm_payloads = LW_ARENA_ARRAY(&c->arena, ProtobufCBinaryData, AS_PAYLOAD_WINDOW);
	uint8_t *window = lw_arena_alloc(&c->arena, (size_t)AS_PAYLOAD_WINDOW * (size_t)n);
	if (!out->frm_payloads || !window)
		return false;
	as_payload_encrypt_down(as->keys, key, addr, r->next_f_cnt, AS_PAYLOAD_WINDOW, lw_span(clear, (size_t)n),
				window);
	lw_wipe(clear, sizeof(clear));
	out->n_frm_payloads = AS_PAYLOAD_WINDOW;
	for (size_t i = 0; i < AS_PAYLOAD_WINDOW; i++)
		out->frm_payloads[i] = (ProtobufCBinaryData){.len = (size_t)n, .data = window + i * (size_t)n};
	return true;
}

static void reencrypt_one(struct as_event_ctx *c)
{
	struct as_events *e = c->owner;
	const Longwave__Ns__V1__ReencryptEvent *r = c->ev->reencrypt;
	Longwave__Ns__V1__ReencryptRequest req = LONGWAVE__NS__V1__REENCRYPT_REQUEST__INIT;
	Longwave__Ns__V1__QueueItem items[REENCRYPT_MAX_ITEMS];
	Longwave__Ns__V1__QueueItem *list[REENCRYPT_MAX_ITEMS];
	const struct lw_key *key = key_of(c);
	struct lw_devaddr addr;

	req.dev_eui = c->ev->dev_eui;
	req.items = list;
	for (size_t i = 0; key && lw_devaddr_parse(&addr, c->ev->dev_addr) == 0 && i < r->n_items &&
			   req.n_items < REENCRYPT_MAX_ITEMS;
	     i++) {
		longwave__ns__v1__queue_item__init(&items[req.n_items]);
		if (!encrypt_item(c, key, addr, r->items[i], &items[req.n_items]))
			continue;
		list[req.n_items] = &items[req.n_items];
		req.n_items++;
	}
	if (req.n_items == 0) {
		RT_LOG_WARN(e->as->log, "queued downlinks cannot be encrypted: no key for the session",
			    rt_eui("dev_eui", c->dev_eui));
		rt_flow_resume_drop(&c->flow, AS_DROP_NOT_REENCRYPTED);
		return;
	}
	struct grpc_client_request call = {.path = "/longwave.ns.v1.NetworkServer/Reencrypt",
					   .deadline_ms = REENCRYPT_DEADLINE_MS,
					   .output = &google__protobuf__empty__descriptor};
	grpc_client_call(e->as->ns, &call, &req.base, on_reencrypted, c);
}

static void reencrypt(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	(void)flow;
	(void)owner;
	for (size_t i = 0; i < n; i++) {
		struct as_event_ctx *c = as_event_ctx_of(v[i]);
		if (c->ev->kind_case == LONGWAVE__NS__V1__EVENT__KIND_REENCRYPT)
			reencrypt_one(c);
		else
			rt_flow_resume(v[i], RT_FLOW_NEXT);
	}
}

void as_events_try_again(struct rt_timer *t, void *arg)
{
	struct as_events *e = arg;
	struct lw_list now;
	struct lw_list *node;
	(void)t;
	lw_list_init(&now);
	lw_list_splice_back(&now, &e->again);
	while ((node = lw_list_pop_front(&now)))
		reencrypt_one(LW_CONTAINER_OF(node, struct as_event_ctx, node));
}

/* ---- rows, live, publish ---- */

static void note_rows(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct as_events *e = owner;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct as_event_ctx *c = as_event_ctx_of(v[i]);
		if (c->dev)
			as_rows_note(e->rows, c->ev, c->dev);
		else
			as_rows_note_gateway(e->rows, c->ev);
	}
	rt_flow_resume_all(v, n, RT_FLOW_NEXT);
}

static void show_live(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct as_events *e = owner;
	(void)flow;
	for (size_t i = 0; i < n && e->as->live; i++) {
		struct as_event_ctx *c = as_event_ctx_of(v[i]);
		/* Begun again after a loss of the broker: shown once is enough. */
		char name[AS_ORIGIN_MAX];
		const char *position = as_position_name(c->ev->origin, c->ev->dev_eui, c->split, name);
		if (as_positions_cover(&e->shown, c->ev->origin, c->ev->dev_eui, c->ev->seq))
			continue;
		as_positions_note(&e->shown, position, c->ev->seq);
		struct as_device *d = c->dev;
		if (d)
			as_live_event(
				e->as->live, c->ev, &c->out,
				&(struct as_live_device){d->dev_eui, d->tenant_id, &d->text, &d->stream_until_ns});
		else
			as_live_gateway(e->as->live, c->ev);
	}
	rt_flow_resume_all(v, n, RT_FLOW_NEXT);
}

static void on_spooled(void *arg, void *const *ctx, size_t n)
{
	(void)arg;
	for (size_t i = 0; i < n; i++)
		rt_flow_resume(&((struct as_event_ctx *)ctx[i])->flow, RT_FLOW_NEXT);
}

static void spool(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct as_events *e = owner;
	struct as_intake_item *items = NULL;
	size_t n_items = 0;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct as_event_ctx *c = as_event_ctx_of(v[i]);
		if (!c->out.name || !c->dev || !as_outlets_wants(e->as, c->dev->text.application_id)) {
			rt_flow_resume(v[i], RT_FLOW_NEXT);
			continue;
		}
		if (!items)
			items = lw_xcalloc(n, sizeof(*items));
		items[n_items++] = (struct as_intake_item){.application_id = c->dev->text.application_id,
							   .dev_eui = c->dev->text.dev_eui,
							   .origin = c->ev->origin,
							   .origin_seq = c->ev->seq,
							   .name = c->out.name,
							   .msg = c->out.msg,
							   .ctx = c};
	}
	if (n_items > 0)
		as_outlets_write(e->as, items, n_items, on_spooled, e);
	free(items);
}

static void publish(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct as_events *e = owner;
	(void)flow;
	for (size_t i = 0; i < n; i++)
		e->ring[as_event_ctx_of(v[i])->no % AS_EVENTS_RING].state = AS_SLOT_READY;
	as_events_advance(e);
}
