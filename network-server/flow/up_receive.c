/* Steps of the receive table: from bytes to a parsed frame with all its receptions. */
#include <inttypes.h>
#include <string.h>

#include "network-server/flow/up_steps.h"

enum rt_flow_rc up_decode(struct rt_flow_ctx *flow)
{
	struct ns_up *u = (struct ns_up *)(void *)flow;
	ProtobufCMessage *m = NULL;
	u->rc = u->in.region;
	if (ns_decode(&u->c, &gw__uplink_frame__descriptor, u->payload, &m) != 0)
		return ns_drop(&u->c, LONGWAVE__V1__REASON__MALFORMED, "the message cannot be decoded");
	u->frame = (Gw__UplinkFrame *)(void *)m;
	const Gw__UplinkFrame *f = u->frame;
	if (f->rx_info == NULL || f->tx_info == NULL || f->phy_payload.len == 0)
		return ns_drop(&u->c, LONGWAVE__V1__REASON__MALFORMED, "rx_info, tx_info or phy_payload is missing");
	if (f->phy_payload.len > LW_PHY_MAX)
		return ns_drop(&u->c, LONGWAVE__V1__REASON__TOO_LARGE, "the PHYPayload is longer than 255 bytes");
	if (lw_gateway_id_parse(&u->gateway_id, f->rx_info->gateway_id) != 0)
		return ns_drop(&u->c, LONGWAVE__V1__REASON__MALFORMED, "the gateway id cannot be read");
	if (ns_modulation(f->tx_info->modulation).kind == LW_MOD_NONE)
		return ns_drop(&u->c, LONGWAVE__V1__REASON__UNKNOWN_MODULATION,
			       "the gateway names no modulation that is known (LoRa, FSK, LR-FHSS)");
	if (f->rx_info->crc_status == GW__CRCSTATUS__BAD_CRC)
		return ns_drop_f(&u->c, LONGWAVE__V1__REASON__CRC_FAILED, "gateway %s reports a wrong checksum",
				 f->rx_info->gateway_id);
	return RT_FLOW_NEXT;
}

#define LOOKS_PER_S 200 /* at what nobody knows: any other network's devices and gateways can send */

bool ns_may_look(const struct ns_flows *f, struct ns_looks *l)
{
	int64_t now = rt_loop_mono_ns(f->loop);
	if (now - l->since_ns >= LW_NS_PER_S)
		*l = (struct ns_looks){.since_ns = now};
	return l->n++ < LOOKS_PER_S;
}

bool ns_wants_look(struct ns_flows *f, struct lw_gateway_id id)
{
	const struct ns_gateway_port *p = &f->ports->gateways;
	return p->look != NULL && p->find(p->self, id) == NULL && ns_may_look(f, &f->gateway_looks);
}

static void looked(struct ns_gateway_look *req)
{
	struct ns_up *u = req->owner;
	if (req->err == 0) {
		rt_flow_resume(&u->c.flow, RT_FLOW_NEXT);
		return;
	}
	ns_drop(&u->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE, "the database is away: the gateway is not in memory");
	rt_flow_resume(&u->c.flow, RT_FLOW_DROP);
}

void up_look(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	const struct ns_gateway_port *p = &f->ports->gateways;
	struct ns_gateway_look *req[NS_BATCH];
	size_t n_req = 0;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_up *u = (struct ns_up *)(void *)v[i];
		if (!ns_wants_look(f, u->gateway_id)) {
			rt_flow_resume(v[i], RT_FLOW_NEXT);
			continue;
		}
		u->look = (struct ns_gateway_look){.id = u->gateway_id, .done = looked, .owner = u};
		req[n_req++] = &u->look;
	}
	if (n_req > 0)
		p->look(p->self, req, n_req);
}

/* Stamps the reception and adds the gateway's position where it did not report one. */
static void annotate(struct ns_up *u, const struct ns_gateway *g)
{
	Gw__UplinkRxInfo *rx = u->frame->rx_info;
	struct lw_arena *a = &u->c.arena;
	rx->ns_time = ns_timestamp(a, u->in.received_at_ns);
	ns_metadata_put(a, rx, "region_config_id", u->rc->id);
	ns_metadata_put(a, rx, "region_common_name", u->rc->common_name);
	if (rx->location != NULL || g == NULL || !g->has_location)
		return;
	rx->location = LW_ARENA_NEW(a, Common__Location);
	if (rx->location == NULL)
		return;
	common__location__init(rx->location);
	rx->location->latitude = g->latitude;
	rx->location->longitude = g->longitude;
	rx->location->altitude = g->altitude;
}

enum rt_flow_rc up_admit(struct rt_flow_ctx *flow)
{
	struct ns_up *u = (struct ns_up *)(void *)flow;
	const struct ns_gateway_port *p = &u->c.f->ports->gateways;
	const struct ns_gateway *g = p->find(p->self, u->gateway_id);
	if (g == NULL && !u->c.f->cfg.allow_unknown_gateways)
		return ns_drop_f(&u->c, LONGWAVE__V1__REASON__UNKNOWN_GATEWAY, "gateway %s is not known here: add it",
				 u->frame->rx_info->gateway_id);
	annotate(u, g);
	return RT_FLOW_NEXT;
}

static int16_t clamp16(double v)
{
	return (int16_t)(v > 32767 ? 32767 : v < -32768 ? -32768 : v);
}

static void take_rx(const Gw__UplinkRxInfo *rx, struct lw_gateway_id id, struct ns_rx_gateway *out)
{
	memset(out, 0, sizeof(*out));
	out->gateway_id = id;
	out->rssi_dbm = clamp16(rx->rssi);
	out->snr_ddb = clamp16(rx->snr * 10.0f + (rx->snr < 0 ? -0.5f : 0.5f));
	out->board = rx->board;
	out->antenna = rx->antenna;
	out->context_len = (uint8_t)(rx->context.len < NS_CONTEXT_MAX ? rx->context.len : NS_CONTEXT_MAX);
	if (out->context_len > 0)
		memcpy(out->context, rx->context.data, out->context_len);
}

static bool before(const struct ns_rx_gateway *a, const struct ns_rx_gateway *b)
{
	return a->snr_ddb != b->snr_ddb ? a->snr_ddb > b->snr_ddb : a->rssi_dbm > b->rssi_dbm;
}

static void add_rx(struct ns_up *u, Gw__UplinkRxInfo *rx, struct lw_gateway_id id)
{
	struct ns_rx_gateway g;
	take_rx(rx, id, &g);
	size_t at = u->n_rx++;
	for (; at > 0 && before(&g, &u->rx_gw[at - 1]); at--) {
		u->rx_gw[at] = u->rx_gw[at - 1];
		u->rx[at] = u->rx[at - 1];
	}
	u->rx_gw[at] = g;
	u->rx[at] = rx;
}

/* All receptions in one list, strongest first. */
static void gather(struct ns_up *u)
{
	size_t n = 0;
	for (struct ns_up *k = u; k != NULL; k = k == u ? u->copies : k->next_copy)
		n++;
	for (const struct ns_foreign *k = u->foreign; k != NULL; k = k->next)
		n++;
	u->rx = LW_ARENA_ARRAY(&u->c.arena, Gw__UplinkRxInfo *, n);
	u->rx_gw = LW_ARENA_ARRAY(&u->c.arena, struct ns_rx_gateway, n);
	if (u->rx == NULL || u->rx_gw == NULL)
		return;
	for (struct ns_up *k = u; k != NULL; k = k == u ? u->copies : k->next_copy) {
		if (k->frame->rx_info != NULL)
			add_rx(u, k->frame->rx_info, k->gateway_id);
	}
	for (const struct ns_foreign *k = u->foreign; k != NULL; k = k->next)
		add_rx(u, k->rx, k->gateway_id);
}

/* GPS time of a receiver, else a gateway's clock when it is near ours, else ours. */
static void set_time(struct ns_up *u)
{
	struct ns_uplink *up = &u->up;
	int64_t drift_ns = u->c.f->cfg.rx_timestamp_max_drift_ms * LW_NS_PER_MS;
	up->received_ns = u->in.received_at_ns;
	up->time_ns = up->received_ns;
	bool has_gps = false;
	int64_t off_ns = 0; /* a clock that cannot be right */
	size_t off = 0;
	for (size_t i = 0; i < u->n_rx && !has_gps; i++) {
		const Google__Protobuf__Duration *d = u->rx[i]->time_since_gps_epoch;
		if (d != NULL && (d->seconds != 0 || d->nanos != 0)) {
			up->gps_ns = lw_join_ns(d->seconds, d->nanos);
			up->time_ns = lw_gps_to_unix_ns(up->gps_ns);
			has_gps = true;
			off_ns = up->time_ns - up->received_ns;
			off = i;
			if (off_ns > -drift_ns && off_ns < drift_ns)
				off_ns = 0;
		}
	}
	for (size_t i = 0; i < u->n_rx && !has_gps; i++) {
		const Google__Protobuf__Timestamp *t = u->rx[i]->gw_time;
		if (t == NULL)
			continue;
		int64_t ns = lw_join_ns(t->seconds, t->nanos);
		if (ns > up->received_ns - drift_ns && ns < up->received_ns + drift_ns) {
			up->time_ns = ns;
			break;
		}
		off_ns = ns - up->received_ns;
		off = i;
	}
	if (off_ns != 0 && drift_ns > 0)
		ns_note(&u->c, "parse",
			"the clock of gateway %s is %.1f s %s ours, more than the %" PRId64 " s allowed: %s",
			u->rx[off]->gateway_id, (double)(off_ns < 0 ? -off_ns : off_ns) / 1e9,
			off_ns < 0 ? "behind" : "ahead of", drift_ns / LW_NS_PER_S,
			has_gps ? "its GPS time is used all the same" : "its time is not used");
	if (!has_gps)
		up->gps_ns = lw_gps_from_unix_ns(up->time_ns);
}

static enum rt_flow_rc unknown_data_rate(struct ns_up *u)
{
	const struct lw_modulation *m = &u->up.mod;
	if (m->kind == LW_MOD_LORA)
		return ns_drop_f(&u->c, LONGWAVE__V1__REASON__UNKNOWN_DATA_RATE,
				 "SF%u at %" PRIu32 " kHz is no uplink data rate of %s", m->sf, m->bw_hz / 1000,
				 u->up.region->name);
	return ns_drop_f(&u->c, LONGWAVE__V1__REASON__UNKNOWN_DATA_RATE, "%s is no uplink data rate of %s",
			 m->kind == LW_MOD_FSK ? "this FSK rate" : "this LR-FHSS channel width", u->up.region->name);
}

enum rt_flow_rc up_parse(struct rt_flow_ctx *flow)
{
	struct ns_up *u = (struct ns_up *)(void *)flow;
	struct ns_uplink *up = &u->up;
	const Gw__UplinkFrame *f = u->frame;
	ns_up_begin_work(u);
	lw_uuid_print(lw_uuid_new(u->c.f->rng), u->dedup_id);
	gather(u);
	set_time(u);
	up->rc = u->rc;
	up->region = lw_region_by_id(u->rc->region);
	up->hz = f->tx_info->frequency;
	up->mod = ns_modulation(f->tx_info->modulation);
	if (lw_phy_parse(lw_span(f->phy_payload.data, f->phy_payload.len), &up->phy) != 0)
		return ns_drop(&u->c, LONGWAVE__V1__REASON__MALFORMED, "not a LoRaWAN frame");
	bool data = lw_mtype_is_data_up(up->phy.mtype);
	bool proprietary = up->phy.mtype == LW_MTYPE_PROPRIETARY;
	bool join = up->phy.mtype == LW_MTYPE_JOIN_REQUEST || up->phy.mtype == LW_MTYPE_REJOIN_REQUEST;
	if (!data && !join && !proprietary)
		return ns_drop(&u->c, LONGWAVE__V1__REASON__UNSUPPORTED_FRAME_TYPE, lw_mtype_text(up->phy.mtype));
	int dr = lw_region_dr_index(up->region, LW_UP, &up->mod);
	if (dr < 0 && !proprietary)
		return unknown_data_rate(u);
	up->dr = dr < 0 ? NS_DR_UNKNOWN : (uint8_t)dr;
	u->next = data ? NS_UP_DATA : join ? NS_UP_JOIN : NS_UP_PROPRIETARY;
	return RT_FLOW_DONE;
}
