/* Downward: a command becomes a downlink with all its alternatives encoded; the first goes out, the gateway's TX_ACK
 * decides about the next. The exchange with the gateway lives in domain/downlink. */
#include <stdlib.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "gateway-bridge/flow/bridge.h"

#define ARENA_INLINE 2048
#define ARENA_MAX (256u * 1024)
#define PAYLOAD_MAX (64u * 1024)

struct gb_down {
	struct rt_flow_ctx flow; /* first */
	struct gb_down *next_idle;
	struct gb_bridge *bridge;
	struct gb_listener *listener;
	char gateway_id[LW_EUI_TEXT];
	struct lw_buf payload;
	struct lw_arena arena; /* of `frame` */
	const Gw__DownlinkFrame *frame;
	struct gb_gateway *gateway;
	struct gb_downlink *downlink; /* until it waits for its answer */
	_Alignas(16) uint8_t room[ARENA_INLINE];
};

static struct gb_down *down_of(struct rt_flow_ctx *c)
{
	return (struct gb_down *)c;
}

static enum rt_flow_rc drop(struct gb_down *d, Longwave__V1__Reason reason)
{
	d->flow.drop_reason = (uint16_t)reason;
	return RT_FLOW_DROP;
}

/* --- answers to the network ------------------------------------------------------------------------------------- */

static void publish(struct gb_bridge *b, const struct gb_listener *l, const char *gateway_id, const char *event,
		    const ProtobufCMessage *m)
{
	lw_buf_reset(&b->out);
	if (gb_marshal(&b->marshaler, m, &b->out) == 0)
		gb_broker_event(b->broker, l->prefix, gateway_id, event, lw_buf_span(&b->out), false);
}

static void publish_ack(struct gb_bridge *b, const struct gb_listener *l, const char *gateway_id, uint32_t id,
			const int *status, size_t n)
{
	Gw__DownlinkTxAck ack = GW__DOWNLINK_TX_ACK__INIT;
	Gw__DownlinkTxAckItem items[GB_DOWNLINK_MAX_ITEMS], *p[GB_DOWNLINK_MAX_ITEMS];
	ack.gateway_id = (char *)(uintptr_t)gateway_id;
	ack.downlink_id = id;
	ack.n_items = n;
	ack.items = p;
	for (size_t i = 0; i < n; i++) {
		gw__downlink_tx_ack_item__init(&items[i]);
		items[i].status = (Gw__TxAckStatus)status[i];
		p[i] = &items[i];
		rt_metric_inc_at(b->m.tx_acks, (size_t)status[i]);
	}
	publish(b, l, gateway_id, "ack", &ack.base);
}

static void publish_downlink_ack(struct gb_bridge *b, const struct gb_listener *l, const struct gb_downlink *d)
{
	int status[GB_DOWNLINK_MAX_ITEMS];
	for (size_t i = 0; i < d->n_items; i++)
		status[i] = d->items[i].status;
	publish_ack(b, l, d->gateway->id_text, d->id, status, d->n_items);
}

/* None of the alternatives can be sent: the network learns it at once and may choose another gateway. */
static void publish_refusal(struct gb_down *d)
{
	int status[GB_DOWNLINK_MAX_ITEMS];
	size_t n = d->frame->n_items < GB_DOWNLINK_MAX_ITEMS ? d->frame->n_items : GB_DOWNLINK_MAX_ITEMS;
	for (size_t i = 0; i < n; i++)
		status[i] = GB_TX_INTERNAL_ERROR;
	publish_ack(d->bridge, d->listener, d->gateway_id, d->frame->downlink_id, status, n);
}

/* --- the flow --------------------------------------------------------------------------------------------------- */

static enum rt_flow_rc down_decode(struct rt_flow_ctx *c)
{
	struct gb_down *d = down_of(c);
	d->frame = (const Gw__DownlinkFrame *)gb_unmarshal(&d->bridge->marshaler, &gw__downlink_frame__descriptor,
							   lw_buf_span(&d->payload), &d->arena);
	return d->frame ? RT_FLOW_NEXT : drop(d, LONGWAVE__V1__REASON__MALFORMED);
}

static enum rt_flow_rc down_validate(struct rt_flow_ctx *c)
{
	struct gb_down *d = down_of(c);
	/* A payload meant for another gateway than its topic names was misrouted. */
	if (d->frame->gateway_id[0] && strcmp(d->frame->gateway_id, d->gateway_id) != 0)
		return drop(d, LONGWAVE__V1__REASON__MALFORMED);
	if (d->frame->n_items == 0)
		return drop(d, LONGWAVE__V1__REASON__MALFORMED);
	if (d->frame->n_items > GB_DOWNLINK_MAX_ITEMS)
		return drop(d, LONGWAVE__V1__REASON__TOO_LARGE);
	return RT_FLOW_NEXT;
}

static enum rt_flow_rc down_find_gateway(struct rt_flow_ctx *c)
{
	struct gb_down *d = down_of(c);
	struct lw_gateway_id id;
	d->gateway = lw_gateway_id_parse(&id, d->gateway_id) == 0 ? gb_gateways_find(&d->listener->gateways, id) : NULL;
	return d->gateway ? RT_FLOW_NEXT : drop(d, LONGWAVE__V1__REASON__NO_GATEWAY);
}

static enum rt_flow_rc down_encode(struct rt_flow_ctx *c)
{
	struct gb_down *d = down_of(c);
	struct semtech_txpk tx[GB_DOWNLINK_MAX_ITEMS];
	int err[GB_DOWNLINK_MAX_ITEMS];
	for (size_t i = 0; i < d->frame->n_items; i++)
		err[i] = gb_downlink_item(d->frame->items[i], &tx[i]);
	d->downlink = gb_downlink_new(d->gateway, d->frame->downlink_id, tx, err, d->frame->n_items);
	return gb_downlink_current(d->downlink) ? RT_FLOW_NEXT : drop(d, LONGWAVE__V1__REASON__INTERNAL_ERROR);
}

static void send_current(struct gb_bridge *b, struct gb_listener *l, struct gb_downlink *d)
{
	const struct gb_downlink_item *item = gb_downlink_current(d);
	gb_udp_send(l->udp, &d->gateway->peer, lw_span(item->datagram, item->len));
	rt_metric_inc_at(b->m.sent, SEMTECH_PULL_RESP);
}

static void down_send(struct rt_flow *f, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct gb_bridge *b = owner;
	(void)f;
	for (size_t i = 0; i < n; i++) {
		struct gb_down *d = down_of(v[i]);
		send_current(b, d->listener, d->downlink);
		if (d->gateway->version == 1) /* never answers */
			continue;
		gb_downlink_sent(&b->downlinks, d->downlink, rt_loop_mono_ns(b->loop));
		d->downlink = NULL;
	}
	rt_flow_resume_all(v, n, RT_FLOW_DONE);
}

static const struct rt_flow_step DOWN[] = {
	{"decode", .pure = down_decode},             /* payload -> gw.DownlinkFrame */
	{"validate", .pure = down_validate},         /* for this gateway, a number of items we can hold */
	{"find_gateway", .pure = down_find_gateway}, /* where its last PULL_DATA came from */
	{"encode", .pure = down_encode},             /* every item -> PULL_RESP */
	{"send", .io = down_send},                   /* the first item; the others wait for the TX_ACK */
};

static void down_end(void *owner, struct rt_flow_ctx *c, enum rt_flow_rc rc)
{
	struct gb_bridge *b = owner;
	struct gb_down *d = down_of(c);
	if (rc == RT_FLOW_DROP) {
		gb_drop(b, (Longwave__V1__Reason)c->drop_reason);
		RT_LOG_DEBUG(b->log, "downlink refused", rt_str("gateway_id", d->gateway_id),
			     rt_str("reason", b->m.reasons[c->drop_reason]));
		if (c->drop_reason == LONGWAVE__V1__REASON__NO_GATEWAY ||
		    c->drop_reason == LONGWAVE__V1__REASON__INTERNAL_ERROR)
			publish_refusal(d);
	} else {
		rt_metric_inc(b->m.downlinks);
	}
	if (d->downlink)
		gb_downlink_free(&b->downlinks, d->downlink);
	d->downlink = NULL;
	lw_arena_reset(&d->arena);
	d->next_idle = b->down_idle;
	b->down_idle = d;
}

void gb_down_init(struct gb_bridge *b)
{
	gb_downlinks_init(&b->downlinks);
	b->down = rt_flow_new(b->loop, &(struct rt_flow_opts){.name = "down",
							      .steps = DOWN,
							      .n_steps = sizeof(DOWN) / sizeof(DOWN[0]),
							      .owner = b,
							      .on_end = down_end,
							      .max_in_flight = 4096});
	rt_flow_register_metrics(b->down, b->registry);
}

void gb_down_deinit(struct gb_bridge *b)
{
	rt_flow_free(b->down);
	while (b->down_idle) {
		struct gb_down *d = b->down_idle;
		b->down_idle = d->next_idle;
		lw_buf_deinit(&d->payload);
		lw_arena_deinit(&d->arena);
		free(d);
	}
}

static struct gb_down *down_new(struct gb_bridge *b)
{
	struct gb_down *d = b->down_idle;
	if (d) {
		b->down_idle = d->next_idle;
	} else {
		d = lw_xcalloc(1, sizeof(*d));
		d->bridge = b;
		lw_buf_init(&d->payload, PAYLOAD_MAX);
		lw_arena_init(&d->arena, d->room, sizeof(d->room), ARENA_MAX);
	}
	d->flow = (struct rt_flow_ctx){0};
	d->frame = NULL;
	d->gateway = NULL;
	return d;
}

static void down_frame(struct gb_bridge *b, const struct gb_command *c)
{
	if (c->payload.n > PAYLOAD_MAX) {
		gb_drop(b, LONGWAVE__V1__REASON__TOO_LARGE);
		return;
	}
	struct gb_down *d = down_new(b);
	d->listener = &b->listeners[c->listener];
	memcpy(d->gateway_id, c->gateway_id, sizeof(d->gateway_id));
	lw_buf_reset(&d->payload);
	lw_buf_append_span(&d->payload, c->payload);
	rt_flow_enter(b->down, &d->flow);
	if (rt_flow_full(b->down))
		rt_flow_sweep(b->down);
}

/* No command of this bridge can be executed: who asks gets an answer instead of silence. */
static void answer_exec(struct gb_bridge *b, const struct gb_command *c)
{
	lw_arena_reset(&b->arena);
	const Gw__GatewayCommandExecRequest *request = (const Gw__GatewayCommandExecRequest *)gb_unmarshal(
		&b->marshaler, &gw__gateway_command_exec_request__descriptor, c->payload, &b->arena);
	if (!request) {
		gb_drop(b, LONGWAVE__V1__REASON__MALFORMED);
		return;
	}
	Gw__GatewayCommandExecResponse response = GW__GATEWAY_COMMAND_EXEC_RESPONSE__INIT;
	response.gateway_id = (char *)(uintptr_t)c->gateway_id;
	response.exec_id = request->exec_id;
	response.error = (char *)(uintptr_t) "command does not exist";
	publish(b, &b->listeners[c->listener], c->gateway_id, "exec", &response.base);
}

void gb_down_command(struct gb_bridge *b, const struct gb_command *c)
{
	static const char *const names[] = {"down", "config", "exec", "raw", "mesh"};
	size_t i = 0;
	while (i < sizeof(names) / sizeof(names[0]) && strcmp(c->name, names[i]) != 0)
		i++;
	rt_metric_inc_at(b->m.commands, i);
	if (i == 0)
		down_frame(b, c);
	else if (i == 2)
		answer_exec(b, c);
	/* The others mean nothing to a packet-forwarder: counted, not answered. */
}

/* --- the gateway's answers -------------------------------------------------------------------------------------- */

void gb_down_tx_ack(struct gb_listener *l, const struct semtech_datagram *dg)
{
	struct gb_bridge *b = l->bridge;
	struct gb_gateway *gw = gb_gateways_find(&l->gateways, dg->gateway);
	struct gb_downlink *d = gw ? gb_downlink_find(gw, dg->token) : NULL;
	if (!d) {
		RT_LOG_DEBUG(b->log, "answer to no downlink", rt_eui("gateway_id", lw_gateway_id_u64(dg->gateway)),
			     rt_u64("token", dg->token));
		return;
	}
	struct semtech_tx_ack ack;
	semtech_tx_ack_parse(dg->json, &ack);
	gb_downlink_answer(d, gb_tx_status(ack.error));
	if (gb_downlink_current(d)) {
		send_current(b, l, d);
		gb_downlink_sent(&b->downlinks, d, rt_loop_mono_ns(b->loop));
		return;
	}
	publish_downlink_ack(b, l, d);
	gb_downlink_free(&b->downlinks, d);
}

void gb_down_expire(struct gb_bridge *b, int64_t before_ns)
{
	struct gb_downlink *d;
	while ((d = gb_downlinks_stale(&b->downlinks, before_ns))) {
		/* Not reported: the frame may have been sent, and only a refusal gives its counter back. */
		gb_drop(b, LONGWAVE__V1__REASON__GATEWAY_SILENT);
		gb_downlink_free(&b->downlinks, d);
	}
}

void gb_down_forget_gateway(struct gb_bridge *b, struct gb_gateway *gw)
{
	while (!lw_list_empty(&gw->downlinks)) {
		gb_drop(b, LONGWAVE__V1__REASON__GATEWAY_SILENT);
		gb_downlink_free(&b->downlinks, LW_CONTAINER_OF(gw->downlinks.next, struct gb_downlink, in_gateway));
	}
}
