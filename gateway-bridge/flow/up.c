/* Upward: datagrams are acknowledged at once, every frame inside becomes one context of the flow below. */
#include <stdlib.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/lorawan/phy.h"
#include "gateway-bridge/flow/bridge.h"

/* Frames inside the flow before it runs; a datagram can hold more. */
#define BATCH 512
#define MESSAGE_MAX (256u * 1024)

struct gb_up {
	struct rt_flow_ctx flow; /* first */
	struct gb_up *next_idle;
	struct gb_bridge *bridge;
	struct gb_listener *listener;
	struct gb_gateway *gateway; /* NULL: sends frames but has not asked for downlinks */
	char gateway_id[LW_EUI_TEXT];
	uint16_t token;
	struct gb_position position;
	struct lw_span element; /* of the datagram, which outlives the flow's run */
	struct semtech_rxpk rx;
	struct lw_buf out; /* one message for each antenna, one after the other */
	size_t end[SEMTECH_MAX_ANTENNAS];
};

static struct gb_up *up_of(struct rt_flow_ctx *c)
{
	return (struct gb_up *)c;
}

static enum rt_flow_rc drop(struct gb_up *u, Longwave__V1__Reason reason)
{
	u->flow.drop_reason = (uint16_t)reason;
	return RT_FLOW_DROP;
}

static Longwave__V1__Reason reason_of(int err)
{
	switch (err) {
	case LW_EUNSUPPORTED:
		return LONGWAVE__V1__REASON__UNKNOWN_MODULATION;
	case LW_EBIG:
		return LONGWAVE__V1__REASON__TOO_LARGE;
	default:
		return LONGWAVE__V1__REASON__MALFORMED;
	}
}

static enum rt_flow_rc up_decode(struct rt_flow_ctx *c)
{
	struct gb_up *u = up_of(c);
	int err = semtech_rxpk_parse(u->element, &u->rx);
	return err < 0 ? drop(u, reason_of(err)) : RT_FLOW_NEXT;
}

static enum rt_flow_rc up_check_crc(struct rt_flow_ctx *c)
{
	struct gb_up *u = up_of(c);
	if (u->rx.crc == SEMTECH_CRC_OK || u->bridge->conf->udp.skip_crc_check)
		return RT_FLOW_NEXT;
	return drop(u, LONGWAVE__V1__REASON__CRC_FAILED);
}

static enum rt_flow_rc up_filter(struct rt_flow_ctx *c)
{
	struct gb_up *u = up_of(c);
	if (gb_filter_pass(&u->bridge->filter, lw_span(u->rx.phy, u->rx.phy_n)))
		return RT_FLOW_NEXT;
	return drop(u, LONGWAVE__V1__REASON__FILTERED);
}

static enum rt_flow_rc up_count(struct rt_flow_ctx *c)
{
	struct gb_up *u = up_of(c);
	rt_metric_add(u->bridge->m.lost_parts, u->rx.lost);
	if (u->gateway)
		gb_counters_received(&u->gateway->counters, u->rx.freq_hz, &(struct gb_modulation){.rate = u->rx.rate},
				     (uint32_t)u->rx.n_antennas);
	return RT_FLOW_NEXT;
}

static enum rt_flow_rc up_convert(struct rt_flow_ctx *c)
{
	struct gb_up *u = up_of(c);
	struct gb_uplink_message m;
	lw_buf_reset(&u->out);
	for (size_t i = 0; i < u->rx.n_antennas; i++) {
		gb_uplink_message_init(&m, &u->rx, i, u->gateway_id, u->token, &u->position);
		if (gb_marshal(&u->bridge->marshaler, &m.frame.base, &u->out) < 0)
			return drop(u, LONGWAVE__V1__REASON__TOO_LARGE);
		u->end[i] = u->out.n;
	}
	return RT_FLOW_NEXT;
}

static bool is_join(struct lw_span phy)
{
	unsigned mtype = phy.n ? phy.p[0] >> 5 : 7;
	return mtype == LW_MTYPE_JOIN_REQUEST || mtype == LW_MTYPE_REJOIN_REQUEST;
}

static void up_publish(struct rt_flow *f, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct gb_bridge *b = owner;
	(void)f;
	for (size_t i = 0; i < n; i++) {
		struct gb_up *u = up_of(v[i]);
		/* A join-request is of use for seconds only: it goes past what waits. */
		bool in_order = !is_join(lw_span(u->rx.phy, u->rx.phy_n));
		for (size_t k = 0, start = 0; k < u->rx.n_antennas; start = u->end[k++])
			gb_broker_event(b->broker, u->listener->prefix, u->gateway_id, "up",
					lw_span(u->out.p + start, u->end[k] - start), in_order);
	}
	rt_flow_resume_all(v, n, RT_FLOW_DONE);
}

static const struct rt_flow_step UP[] = {
	{"decode", .pure = up_decode},       /* JSON element -> rxpk */
	{"check_crc", .pure = up_check_crc}, /* the radio's checksum */
	{"filter", .pure = up_filter},       /* networks and JoinEUIs of interest */
	{"count", .pure = up_count},         /* for the next statistics report */
	{"convert", .pure = up_convert},     /* rxpk -> gw.UplinkFrame, one for each antenna */
	{"publish", .io = up_publish},       /* to the broker, or the spool */
};

static void up_end(void *owner, struct rt_flow_ctx *c, enum rt_flow_rc rc)
{
	struct gb_bridge *b = owner;
	struct gb_up *u = up_of(c);
	if (rc == RT_FLOW_DROP)
		gb_drop(b, (Longwave__V1__Reason)c->drop_reason);
	else
		rt_metric_inc(b->m.uplinks);
	u->next_idle = b->up_idle;
	b->up_idle = u;
}

void gb_up_init(struct gb_bridge *b)
{
	b->up = rt_flow_new(b->loop, &(struct rt_flow_opts){.name = "up",
							    .steps = UP,
							    .n_steps = sizeof(UP) / sizeof(UP[0]),
							    .owner = b,
							    .on_end = up_end,
							    .max_in_flight = BATCH,
							    .max_batch = BATCH});
	rt_flow_register_metrics(b->up, b->registry);
}

void gb_up_deinit(struct gb_bridge *b)
{
	rt_flow_free(b->up);
	while (b->up_idle) {
		struct gb_up *u = b->up_idle;
		b->up_idle = u->next_idle;
		lw_buf_deinit(&u->out);
		free(u);
	}
}

static struct gb_up *up_new(struct gb_bridge *b)
{
	struct gb_up *u = b->up_idle;
	if (u) {
		b->up_idle = u->next_idle;
	} else {
		u = lw_xcalloc(1, sizeof(*u));
		u->bridge = b;
		lw_buf_init(&u->out, MESSAGE_MAX);
	}
	u->flow = (struct rt_flow_ctx){0};
	return u;
}

/* --- datagrams -------------------------------------------------------------------------------------------------- */

static void publish_stats(struct gb_listener *l, struct gb_gateway *gw, const char *gateway_id,
			  const struct semtech_stat *stat)
{
	static const struct gb_counters none;
	struct gb_bridge *b = l->bridge;
	lw_arena_reset(&b->arena);
	lw_buf_reset(&b->out);
	const Gw__GatewayStats *m =
		gb_stats_message(&b->arena, stat, gw ? &gw->counters : &none, gateway_id, b->meta, b->n_meta);
	if (!m || gb_marshal(&b->marshaler, &m->base, &b->out) < 0) {
		gb_drop(b, LONGWAVE__V1__REASON__TOO_LARGE);
		return;
	}
	if (gw)
		gb_counters_reset(&gw->counters);
	if (stat->has_ackr)
		rt_metric_observe(b->m.ack_rate, stat->ackr / 100);
	rt_metric_add(b->m.lost_parts, stat->lost);
	rt_metric_inc(b->m.stats);
	gb_broker_event(b->broker, l->prefix, gateway_id, "stats", lw_buf_span(&b->out), true);
}

static void push_data(struct gb_listener *l, const struct semtech_datagram *d, const struct gb_peer *peer)
{
	struct gb_bridge *b = l->bridge;
	struct semtech_push push;
	if (semtech_push_open(d->json, &push) < 0) {
		gb_drop(b, LONGWAVE__V1__REASON__MALFORMED);
		return;
	}
	uint8_t ack[SEMTECH_ACK_LEN];
	semtech_ack_encode(d, ack);
	gb_udp_send(l->udp, peer, lw_span(ack, sizeof(ack)));
	rt_metric_inc_at(b->m.sent, SEMTECH_PUSH_ACK);
	if (push.broken)
		gb_drop(b, LONGWAVE__V1__REASON__MALFORMED);

	char id[LW_EUI_TEXT];
	struct gb_gateway *gw = gb_gateways_find(&l->gateways, d->gateway);
	struct gb_position position = {0};
	lw_gateway_id_print(d->gateway, id);
	if (push.has_stat) {
		struct semtech_stat stat;
		if (semtech_stat_parse(&push, &stat) == 0) {
			position = (struct gb_position){.known = stat.has_position,
							.latitude = stat.latitude,
							.longitude = stat.longitude,
							.altitude_m = stat.altitude_m};
			publish_stats(l, gw, id, &stat);
		} else {
			gb_drop(b, LONGWAVE__V1__REASON__MALFORMED);
		}
	}
	struct lw_span element;
	while (semtech_push_element(&push, &element)) {
		struct gb_up *u = up_new(b);
		u->listener = l;
		u->gateway = gw;
		memcpy(u->gateway_id, id, sizeof(id));
		u->token = d->token;
		u->position = position;
		u->element = element;
		rt_flow_enter(b->up, &u->flow);
		if (rt_flow_full(b->up))
			rt_flow_sweep(b->up);
	}
}

static void pull_data(struct gb_listener *l, const struct semtech_datagram *d, const struct gb_peer *peer)
{
	struct gb_bridge *b = l->bridge;
	bool is_new;
	struct gb_gateway *gw =
		gb_gateways_pull(&l->gateways, d->gateway, d->version, peer, rt_loop_mono_ns(b->loop), &is_new);
	if (!gw) {
		gb_drop(b, LONGWAVE__V1__REASON__OVERLOAD);
		return;
	}
	uint8_t ack[SEMTECH_ACK_LEN];
	semtech_ack_encode(d, ack);
	gb_udp_send(l->udp, peer, lw_span(ack, sizeof(ack)));
	rt_metric_inc_at(b->m.sent, SEMTECH_PULL_ACK);
	if (!is_new)
		return;
	rt_metric_inc(b->m.connects);
	RT_LOG_INFO(b->log, "gateway connected", rt_str("gateway_id", gw->id_text), rt_str("listener", l->name),
		    rt_u64("version", d->version));
	gb_broker_online(b->broker, l->prefix, gw->id_text);
}

static void datagram(struct gb_listener *l, const struct gb_udp_datagram *in)
{
	struct semtech_datagram d;
	int err = semtech_datagram_parse(in->bytes, &d);
	if (err < 0) {
		rt_metric_inc_at(l->bridge->m.received, SEMTECH_N_TYPES);
		gb_drop(l->bridge, err == LW_EUNSUPPORTED ? LONGWAVE__V1__REASON__UNSUPPORTED_VERSION
							  : LONGWAVE__V1__REASON__MALFORMED);
		return;
	}
	rt_metric_inc_at(l->bridge->m.received, d.type);
	if (d.type == SEMTECH_PUSH_DATA)
		push_data(l, &d, &in->peer);
	else if (d.type == SEMTECH_PULL_DATA)
		pull_data(l, &d, &in->peer);
	else
		gb_down_tx_ack(l, &d);
}

void gb_up_datagrams(void *arg, const struct gb_udp_datagram *v, size_t n)
{
	struct gb_listener *l = arg;
	for (size_t i = 0; i < n; i++)
		datagram(l, &v[i]);
	rt_flow_sweep(l->bridge->up); /* before the datagrams' memory is used again */
	BUG_ON(rt_flow_in_flight(l->bridge->up) != 0);
}
