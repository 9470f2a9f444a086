/* What is counted of the links, from frames that have come to their end and from what gateways report. */
#include <string.h>

#include "common/lorawan/airtime.h"
#include "network-server/flow/internal.h"

#define KIND(name) LONGWAVE__NS__V1__LINK_TALLY__KIND__##name

void ns_count_uplink(const struct ns_up *u)
{
	const struct ns_link_port *p = &u->c.f->ports->link;
	struct ns_tally v[8];
	size_t n = 0;
	if (p->device == NULL || u->dev == NULL || u->c.reason == LONGWAVE__V1__REASON__UNKNOWN_DEVICE)
		return;
	if (u->c.outcome == LONGWAVE__V1__OUTCOME__DROPPED) {
		v[n++] = (struct ns_tally){KIND(ERROR), (uint32_t)u->c.reason, 1};
	} else if (u->c.outcome == LONGWAVE__V1__OUTCOME__DELIVERED && lw_mtype_is_data_up(u->up.phy.mtype)) {
		size_t length = u->frame->phy_payload.len;
		v[n++] = (struct ns_tally){KIND(RX), 0, 1};
		v[n++] = (struct ns_tally){KIND(RSSI_DBM), 0, u->up.best_rssi_dbm};
		v[n++] = (struct ns_tally){KIND(SNR_DDB), 0, u->up.best_snr_ddb};
		v[n++] = (struct ns_tally){KIND(RX_FREQUENCY), u->up.hz, 1};
		v[n++] = (struct ns_tally){KIND(RX_DR), u->up.dr, 1};
		v[n++] = (struct ns_tally){KIND(LOST), 0, u->lost};
		v[n++] = (struct ns_tally){KIND(RX_AIRTIME_US), 0, lw_airtime_us(&u->up.mod, LW_UP, length)};
	}
	if (n > 0)
		p->device(p->self, u->dev->dev_eui, u->in.received_at_ns, v, n);
}

void ns_count_tx(const struct ns_tx *tx, ns_outcome outcome, ns_reason reason, int taken)
{
	const struct ns_link_port *p = &tx->f->ports->link;
	struct ns_tally v[2];
	size_t n = 0;
	if (p->device == NULL || tx->is_multicast || tx->is_proprietary)
		return;
	if (outcome == LONGWAVE__V1__OUTCOME__DROPPED) {
		v[n++] = (struct ns_tally){KIND(ERROR), (uint32_t)reason, 1};
	} else if (outcome == LONGWAVE__V1__OUTCOME__DELIVERED && taken >= 0) {
		const struct ns_down_frame *f = &tx->frame[taken];
		v[n++] = (struct ns_tally){KIND(TX), 0, 1};
		v[n++] = (struct ns_tally){KIND(TX_AIRTIME_US), 0, lw_airtime_us(f->window.mod, LW_DOWN, f->n)};
	}
	if (n > 0)
		p->device(p->self, tx->dev_eui, ns_now(tx->f), v, n);
}

void ns_count_dropped(const struct ns_flows *f, struct lw_dev_eui dev_eui, ns_outcome outcome, ns_reason reason)
{
	const struct ns_link_port *p = &f->ports->link;
	struct ns_tally v = {KIND(ERROR), (uint32_t)reason, 1};
	if (p->device != NULL && outcome == LONGWAVE__V1__OUTCOME__DROPPED)
		p->device(p->self, dev_eui, ns_now(f), &v, 1);
}

/* ---- gateways ---- */

static void add_rates(struct ns_link_counts *c, const struct lw_region *region, bool up, Gw__PerModulationCount **v,
		      size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct lw_modulation mod = ns_modulation(v[i]->modulation);
		int dr = lw_region_dr_index(region, up ? LW_UP : LW_DOWN, &mod);
		if (dr >= 0)
			ns_link_add(c, up ? KIND(RX_DR) : KIND(TX_DR), (uint32_t)dr, v[i]->count);
	}
}

static void add_tallies(struct ns_link_counts *c, const struct lw_region *region, const Gw__GatewayStats *m)
{
	ns_link_add(c, KIND(RX), 0, m->rx_packets_received_ok);
	ns_link_add(c, KIND(TX), 0, m->tx_packets_emitted);
	for (size_t i = 0; i < m->n_rx_packets_per_frequency; i++)
		ns_link_add(c, KIND(RX_FREQUENCY), m->rx_packets_per_frequency[i]->key,
			    m->rx_packets_per_frequency[i]->value);
	for (size_t i = 0; i < m->n_tx_packets_per_frequency; i++)
		ns_link_add(c, KIND(TX_FREQUENCY), m->tx_packets_per_frequency[i]->key,
			    m->tx_packets_per_frequency[i]->value);
	add_rates(c, region, true, m->rx_packets_per_modulation, m->n_rx_packets_per_modulation);
	add_rates(c, region, false, m->tx_packets_per_modulation, m->n_tx_packets_per_modulation);
	for (size_t i = 0; i < m->n_tx_packets_per_status; i++) {
		const ProtobufCEnumValue *status = protobuf_c_enum_descriptor_get_value_by_name(
			&gw__tx_ack_status__descriptor, m->tx_packets_per_status[i]->key);
		if (status != NULL)
			ns_link_add(c, KIND(TX_STATUS), (uint32_t)status->value, m->tx_packets_per_status[i]->value);
	}
}

static uint32_t to_ms(const Google__Protobuf__Duration *d)
{
	if (d == NULL || d->seconds < 0 || d->nanos < 0)
		return 0;
	uint64_t ms = d->seconds > UINT32_MAX ? UINT32_MAX : (uint64_t)d->seconds * 1000 + (uint64_t)d->nanos / 1000000;
	return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

/* As the gateway says, which also knows of other servers' downlinks. */
static void add_reported(struct ns_link_counts *c, const Gw__DutyCycleStats *d)
{
	for (size_t i = 0; i < d->n_bands; i++) {
		const Gw__DutyCycleBand *b = d->bands[i];
		struct ns_duty_band band = {.min_hz = b->frequency_min,
					    .max_hz = b->frequency_max,
					    .window_s = to_ms(d->window) / 1000,
					    .max_ms = to_ms(b->load_max),
					    .used_ms = to_ms(b->load_tracked)};
		if (band.window_s > 0)
			ns_link_add_band(c, &band);
	}
}

/* As we count it. */
static void add_planned(struct ns_link_counts *c, struct ns_flows *f, struct lw_gateway_id id)
{
	const struct ns_timeline *t = ns_plan_timeline(f, id);
	for (size_t i = 0; t != NULL && i < NS_TIMELINE_BANDS; i++) {
		const struct lw_sub_band *b = t->use[i].band;
		if (b == NULL || b->duty_permille >= 1000)
			continue;
		struct ns_duty_band band = {.min_hz = b->min_hz,
					    .max_hz = b->max_hz,
					    .window_s = NS_DUTY_WINDOW_S,
					    .max_ms = NS_DUTY_WINDOW_S * (uint32_t)b->duty_permille,
					    .used_ms = (uint32_t)(ns_timeline_used_us(t, b) / 1000),
					    .counted_by = 1};
		ns_link_add_band(c, &band);
	}
}

void ns_count_stats(const struct ns_stats *st)
{
	struct ns_flows *f = st->c.f;
	const struct ns_link_port *p = &f->ports->link;
	struct ns_link_counts c = {0};
	struct lw_gateway_id id;
	if (p->gateway == NULL || lw_gateway_id_parse(&id, st->msg->gateway_id) != 0)
		return;
	add_tallies(&c, lw_region_by_id(st->in.region->region), st->msg);
	if (st->msg->duty_cycle_stats != NULL)
		add_reported(&c, st->msg->duty_cycle_stats);
	else
		add_planned(&c, f, id);
	p->gateway(p->self, id, st->in.received_at_ns, &c);
	ns_link_counts_deinit(&c);
}
