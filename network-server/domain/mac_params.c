#include "network-server/domain/mac_params.h"

#include <string.h>

#include "common/base/clock.h"
#include "network-server/domain/channels.h"

#define NEW_CHANNELS_AT_ONCE 3

static const struct lw_region *region_of(const struct ns_mac_down *m)
{
	return lw_region_by_id(m->rc->region);
}

static bool rejected(const struct ns_mac_down *m, enum ns_mac_what what, uint64_t value)
{
	return ns_session_rejected(&m->dev->session, what, value);
}

void ns_mac_settled(struct ns_mac_answer *a, bool accepted)
{
	if (accepted)
		ns_session_error_clear(a->s, a->req[0].cid);
	else
		ns_session_error_add(a->s, a->req[0].cid);
}

/* The profile's settings first, then the region configuration's. NULL: neither. */
#define SETTING(m, has) ((m)->dev->profile.mac.has ? &(m)->dev->profile.mac : (m)->rc->mac.has ? &(m)->rc->mac : NULL)

/* ---- channels ---- */

static uint64_t channel_value(unsigned index, const struct lw_channel *c)
{
	return (uint64_t)index << 48 | (uint64_t)c->min_dr << 40 | (uint64_t)c->max_dr << 32 | c->hz;
}

/* The channel with those of its rates that the device can send at. False: it has none of them. */
static bool for_device(const struct ns_mac_down *m, const struct lw_channel *c, struct lw_channel *out)
{
	const struct lw_region *region = region_of(m);
	uint16_t all = lw_region_dr_range(region, c->min_dr, c->max_dr);
	uint16_t drs = ns_profile_drs(&m->dev->profile, all);
	*out = *c;
	if (c->hz == 0 || drs == all)
		return true;
	if (drs == 0)
		return false;
	/* Not all sets can be said; what lies between the lowest and the highest can. */
	if (lw_region_dr_range_code(region, drs, &out->min_dr, &out->max_dr) < 0) {
		out->min_dr = (uint8_t)__builtin_ctz(drs);
		out->max_dr = (uint8_t)(31 - __builtin_clz(drs));
	}
	return true;
}

/* Channels of the network's plan that the device does not have yet, or has otherwise. */
static void want_channels(struct ns_mac_down *m)
{
	const struct lw_region *region = region_of(m);
	struct lw_plan want;
	unsigned sent = 0;
	if (!region->user_channels)
		return;
	ns_region_config_plan(m->rc, &want);
	for (unsigned i = 0; i < want.n_user && sent < NEW_CHANNELS_AT_ONCE; i++) {
		const struct lw_channel *has = &m->dev->session.user_channels[i];
		struct lw_channel w;
		unsigned index = region->first_user_channel + i;
		if (!for_device(m, &want.user[i], &w))
			continue;
		if (has->hz == w.hz && has->min_dr == w.min_dr && has->max_dr == w.max_dr)
			continue;
		if (rejected(m, NS_WHAT_CHANNEL, channel_value(index, &w)))
			continue;
		struct lw_mac_cmd cmd = {.cid = LW_CID_NEW_CHANNEL, .dir = LW_DOWN};
		cmd.u.new_channel_req.index = (uint8_t)index;
		cmd.u.new_channel_req.freq_hz = w.hz;
		cmd.u.new_channel_req.min_dr = w.min_dr;
		cmd.u.new_channel_req.max_dr = w.max_dr;
		ns_mac_down_add(m, &cmd);
		sent++;
	}
}

static void settle_channels(struct ns_mac_answer *a)
{
	for (size_t i = 0; i < a->n_ans && i < a->n_req; i++) {
		const struct lw_mac_cmd *r = &a->req[i];
		struct lw_channel ch = {r->u.new_channel_req.freq_hz, r->u.new_channel_req.min_dr,
					r->u.new_channel_req.max_dr};
		bool ok = a->ans[i].u.new_channel_ans.freq_ok && a->ans[i].u.new_channel_ans.dr_ok;
		if (ok) {
			ns_channels_put(a->up->rc, a->s, r->u.new_channel_req.index, ch);
			/* It is one channel for both directions again. */
			if (r->u.new_channel_req.index < NS_DL_CHANNELS)
				a->s->dl_hz[r->u.new_channel_req.index] = 0;
		} else
			ns_session_reject(a->s, NS_WHAT_CHANNEL, channel_value(r->u.new_channel_req.index, &ch));
		ns_mac_settled(a, ok);
	}
}

/* Only for channels that the device has: it refuses the others, and what is refused is not proposed again. */
static void want_dl_channels(struct ns_mac_down *m)
{
	const struct ns_mac_settings *set = SETTING(m, n_dl_channels);
	struct lw_plan has;
	struct lw_channel ch;
	/* Came with 1.0.2; an older device would not read what follows it. */
	if (set == NULL || !region_of(m)->user_channels || m->dev->session.mac_version < LW_MAC_1_0_2)
		return;
	ns_channels_plan(m->rc, &m->dev->session, &has);
	for (unsigned i = 0; i < set->n_dl_channels; i++) {
		uint8_t index = set->dl_channels[i].index;
		uint32_t hz = set->dl_channels[i].hz;
		if (index >= NS_DL_CHANNELS || m->dev->session.dl_hz[index] == hz ||
		    lw_plan_channel(&has, index, &ch) != 0 || ch.hz == 0 ||
		    rejected(m, NS_WHAT_DL_CHANNEL, (uint64_t)index << 32 | hz))
			continue;
		struct lw_mac_cmd cmd = {.cid = LW_CID_DL_CHANNEL, .dir = LW_DOWN};
		cmd.u.dl_channel_req.index = index;
		cmd.u.dl_channel_req.freq_hz = hz;
		ns_mac_down_add(m, &cmd);
	}
}

static void settle_dl_channels(struct ns_mac_answer *a)
{
	for (size_t i = 0; i < a->n_ans && i < a->n_req; i++) {
		uint8_t index = a->req[i].u.dl_channel_req.index;
		uint32_t hz = a->req[i].u.dl_channel_req.freq_hz;
		bool ok = a->ans[i].u.dl_channel_ans.freq_ok && a->ans[i].u.dl_channel_ans.uplink_freq_exists;
		if (!ok)
			ns_session_reject(a->s, NS_WHAT_DL_CHANNEL, (uint64_t)index << 32 | hz);
		else if (index < NS_DL_CHANNELS)
			a->s->dl_hz[index] = hz;
		ns_mac_settled(a, ok);
	}
}

/* ---- receive windows ---- */

/* Part by part: for a refused one the device keeps what it has. */
static void want_rx_params(struct ns_mac_down *m)
{
	const struct ns_session *s = &m->dev->session;
	uint32_t hz = rejected(m, NS_WHAT_RX2_HZ, m->rc->rx2_hz) ? s->rx2_hz : m->rc->rx2_hz;
	uint8_t dr = rejected(m, NS_WHAT_RX2_DR, m->rc->rx2_dr) ? s->rx2_dr : m->rc->rx2_dr;
	uint8_t offset =
		rejected(m, NS_WHAT_RX1_DR_OFFSET, m->rc->rx1_dr_offset) ? s->rx1_dr_offset : m->rc->rx1_dr_offset;
	if (s->rx2_hz == hz && s->rx2_dr == dr && s->rx1_dr_offset == offset)
		return;
	struct lw_mac_cmd cmd = {.cid = LW_CID_RX_PARAM_SETUP, .dir = LW_DOWN};
	cmd.u.rx_param_setup_req.rx2_hz = hz;
	cmd.u.rx_param_setup_req.rx2_dr = dr;
	cmd.u.rx_param_setup_req.rx1_dr_offset = offset;
	ns_mac_down_add(m, &cmd);
}

static void settle_rx_params(struct ns_mac_answer *a)
{
	if (a->n_req == 0)
		return;
	const struct lw_mac_cmd *r = &a->req[0];
	const struct lw_mac_cmd *n = &a->ans[0];
	bool ok = n->u.rx_param_setup_ans.channel_ack && n->u.rx_param_setup_ans.rx2_dr_ack &&
		  n->u.rx_param_setup_ans.rx1_dr_offset_ack;
	ns_mac_settled(a, ok);
	if (ok) {
		a->s->rx2_hz = r->u.rx_param_setup_req.rx2_hz;
		a->s->rx2_dr = r->u.rx_param_setup_req.rx2_dr;
		a->s->rx1_dr_offset = r->u.rx_param_setup_req.rx1_dr_offset;
		return;
	}
	if (!n->u.rx_param_setup_ans.channel_ack)
		ns_session_reject(a->s, NS_WHAT_RX2_HZ, r->u.rx_param_setup_req.rx2_hz);
	if (!n->u.rx_param_setup_ans.rx2_dr_ack)
		ns_session_reject(a->s, NS_WHAT_RX2_DR, r->u.rx_param_setup_req.rx2_dr);
	if (!n->u.rx_param_setup_ans.rx1_dr_offset_ack)
		ns_session_reject(a->s, NS_WHAT_RX1_DR_OFFSET, r->u.rx_param_setup_req.rx1_dr_offset);
}

uint8_t ns_wanted_rx1_delay(const struct ns_device *dev, const struct ns_region_config *rc)
{
	uint8_t d = rc->rx1_delay_s > dev->profile.rx1_delay_s ? rc->rx1_delay_s : dev->profile.rx1_delay_s;
	return d == 0 ? 1 : d;
}

static void want_rx_timing(struct ns_mac_down *m)
{
	uint8_t want = ns_wanted_rx1_delay(m->dev, m->rc);
	uint8_t has = m->dev->session.rx1_delay_s == 0 ? 1 : m->dev->session.rx1_delay_s;
	if (has == want)
		return;
	struct lw_mac_cmd cmd = {.cid = LW_CID_RX_TIMING_SETUP, .dir = LW_DOWN};
	cmd.u.rx_timing_setup_req.delay_s = want;
	ns_mac_down_add(m, &cmd);
}

static void settle_rx_timing(struct ns_mac_answer *a)
{
	if (a->n_req == 0)
		return;
	uint8_t delay = a->req[0].u.rx_timing_setup_req.delay_s;
	a->s->rx1_delay_s = delay == 0 ? 1 : delay;
	ns_mac_settled(a, true);
}

/* ---- status ---- */

static void want_status(struct ns_mac_down *m)
{
	uint32_t per_day = m->dev->profile.device_status_req_interval;
	if (per_day == 0)
		return;
	int64_t every_ns = INT64_C(86400) * LW_NS_PER_S / per_day;
	if (m->dev->session.dev_status_req_at_ns != 0 && m->now_ns - m->dev->session.dev_status_req_at_ns < every_ns)
		return;
	struct lw_mac_cmd cmd = {.cid = LW_CID_DEV_STATUS, .dir = LW_DOWN};
	ns_mac_down_add(m, &cmd);
}

/* ---- transmitter limits ---- */

/* The index of the highest EIRP that is not above the wanted one. */
static uint8_t eirp_index(int dbm)
{
	uint8_t best = 0;
	for (uint8_t i = 0; i < 16; i++)
		if (lw_max_eirp_dbm(i) <= dbm)
			best = i;
	return best;
}

static void want_tx_params(struct ns_mac_down *m)
{
	const struct ns_session *s = &m->dev->session;
	const struct ns_mac_settings *set = SETTING(m, has_tx_params);
	if (set == NULL || !lw_region_tx_param_setup(region_of(m), s->mac_version, m->dev->profile.reg_params))
		return;
	uint8_t eirp = eirp_index(set->max_eirp_dbm);
	if ((s->uplink_dwell_400ms != 0) == set->uplink_dwell_400ms &&
	    (s->downlink_dwell_400ms != 0) == set->downlink_dwell_400ms && s->uplink_eirp_index == eirp)
		return;
	struct lw_mac_cmd cmd = {.cid = LW_CID_TX_PARAM_SETUP, .dir = LW_DOWN};
	cmd.u.tx_param_setup_req.uplink_dwell = set->uplink_dwell_400ms;
	cmd.u.tx_param_setup_req.downlink_dwell = set->downlink_dwell_400ms;
	cmd.u.tx_param_setup_req.max_eirp_index = eirp;
	ns_mac_down_add(m, &cmd);
}

static void settle_tx_params(struct ns_mac_answer *a)
{
	if (a->n_req == 0)
		return;
	a->s->uplink_dwell_400ms = a->req[0].u.tx_param_setup_req.uplink_dwell;
	a->s->downlink_dwell_400ms = a->req[0].u.tx_param_setup_req.downlink_dwell;
	a->s->uplink_eirp_index = a->req[0].u.tx_param_setup_req.max_eirp_index;
	ns_mac_settled(a, true);
}

static void want_duty_cycle(struct ns_mac_down *m)
{
	const struct ns_mac_settings *set = SETTING(m, has_duty_cycle);
	if (set == NULL || m->dev->session.max_duty_cycle == set->max_duty_cycle)
		return;
	struct lw_mac_cmd cmd = {.cid = LW_CID_DUTY_CYCLE, .dir = LW_DOWN};
	cmd.u.duty_cycle_req.max_duty_cycle = set->max_duty_cycle;
	ns_mac_down_add(m, &cmd);
}

static void settle_duty_cycle(struct ns_mac_answer *a)
{
	if (a->n_req == 0)
		return;
	a->s->max_duty_cycle = a->req[0].u.duty_cycle_req.max_duty_cycle;
	ns_mac_settled(a, true);
}

static void want_adr_params(struct ns_mac_down *m)
{
	const struct ns_mac_settings *set = SETTING(m, has_adr_ack);
	const struct ns_session *s = &m->dev->session;
	if (set == NULL ||
	    (s->adr_ack_limit_exp == set->adr_ack_limit_exp && s->adr_ack_delay_exp == set->adr_ack_delay_exp))
		return;
	struct lw_mac_cmd cmd = {.cid = LW_CID_ADR_PARAM_SETUP, .dir = LW_DOWN};
	cmd.u.adr_param_setup_req.limit_exp = set->adr_ack_limit_exp;
	cmd.u.adr_param_setup_req.delay_exp = set->adr_ack_delay_exp;
	ns_mac_down_add(m, &cmd);
}

static void settle_adr_params(struct ns_mac_answer *a)
{
	if (a->n_req == 0)
		return;
	a->s->adr_ack_limit_exp = a->req[0].u.adr_param_setup_req.limit_exp;
	a->s->adr_ack_delay_exp = a->req[0].u.adr_param_setup_req.delay_exp;
	ns_mac_settled(a, true);
}

/* ---- rejoin ---- */

static void want_rejoin(struct ns_mac_down *m)
{
	const struct ns_mac_settings *set = SETTING(m, has_rejoin);
	const struct ns_session *s = &m->dev->session;
	if (set == NULL || (s->rejoin_enabled && s->rejoin_max_count_n == set->rejoin_max_count_n &&
			    (s->rejoin_max_time_n == set->rejoin_max_time_n ||
			     rejected(m, NS_WHAT_REJOIN_TIME, set->rejoin_max_time_n))))
		return;
	struct lw_mac_cmd cmd = {.cid = LW_CID_REJOIN_PARAM_SETUP, .dir = LW_DOWN};
	cmd.u.rejoin_param_setup_req.max_time_n = set->rejoin_max_time_n;
	cmd.u.rejoin_param_setup_req.max_count_n = set->rejoin_max_count_n;
	ns_mac_down_add(m, &cmd);
}

/* The count is always taken; a device without a clock says so of the time. */
static void settle_rejoin(struct ns_mac_answer *a)
{
	if (a->n_req == 0)
		return;
	a->s->rejoin_enabled = true;
	a->s->rejoin_max_count_n = a->req[0].u.rejoin_param_setup_req.max_count_n;
	if (a->ans[0].u.rejoin_param_setup_ans.time_ok)
		a->s->rejoin_max_time_n = a->req[0].u.rejoin_param_setup_req.max_time_n;
	else
		ns_session_reject(a->s, NS_WHAT_REJOIN_TIME, a->req[0].u.rejoin_param_setup_req.max_time_n);
	ns_mac_settled(a, true);
}

/* ---- class B ---- */

static void want_ping_slot(struct ns_mac_down *m)
{
	const struct ns_session *s = &m->dev->session;
	if (!m->dev->profile.supports_class_b)
		return;
	uint32_t hz = m->rc->class_b_ping_slot_hz;
	uint8_t dr = m->rc->class_b_ping_slot_dr;
	if (rejected(m, NS_WHAT_PING_SLOT_HZ, hz))
		hz = s->ping_slot_hz;
	if (rejected(m, NS_WHAT_PING_SLOT_DR, dr))
		dr = s->ping_slot_dr;
	if (s->ping_slot_hz == hz && s->ping_slot_dr == dr)
		return;
	struct lw_mac_cmd cmd = {.cid = LW_CID_PING_SLOT_CHANNEL, .dir = LW_DOWN};
	cmd.u.ping_slot_channel_req.freq_hz = hz;
	cmd.u.ping_slot_channel_req.dr = dr;
	ns_mac_down_add(m, &cmd);
}

static void settle_ping_slot(struct ns_mac_answer *a)
{
	if (a->n_req == 0)
		return;
	const struct lw_mac_cmd *r = &a->req[0];
	bool freq_ok = a->ans[0].u.ping_slot_channel_ans.freq_ok;
	bool dr_ok = a->ans[0].u.ping_slot_channel_ans.dr_ok;
	if (freq_ok && dr_ok) {
		a->s->ping_slot_hz = r->u.ping_slot_channel_req.freq_hz;
		a->s->ping_slot_dr = r->u.ping_slot_channel_req.dr;
	}
	if (!freq_ok)
		ns_session_reject(a->s, NS_WHAT_PING_SLOT_HZ, r->u.ping_slot_channel_req.freq_hz);
	if (!dr_ok)
		ns_session_reject(a->s, NS_WHAT_PING_SLOT_DR, r->u.ping_slot_channel_req.dr);
	ns_mac_settled(a, freq_ok && dr_ok);
}

static void want_beacon(struct ns_mac_down *m)
{
	const struct ns_mac_settings *set = SETTING(m, beacon_hz);
	uint32_t hz = set != NULL ? set->beacon_hz : 0; /* 0: the region's again */
	if (!m->dev->profile.supports_class_b || m->dev->session.beacon_hz == hz || rejected(m, NS_WHAT_BEACON_HZ, hz))
		return;
	struct lw_mac_cmd cmd = {.cid = LW_CID_BEACON_FREQ, .dir = LW_DOWN};
	cmd.u.beacon_freq_req.freq_hz = hz;
	ns_mac_down_add(m, &cmd);
}

static void settle_beacon(struct ns_mac_answer *a)
{
	if (a->n_req == 0)
		return;
	uint32_t hz = a->req[0].u.beacon_freq_req.freq_hz;
	bool ok = a->ans[0].u.beacon_freq_ans.freq_ok;
	if (ok)
		a->s->beacon_hz = hz;
	else
		ns_session_reject(a->s, NS_WHAT_BEACON_HZ, hz);
	ns_mac_settled(a, ok);
}

/* The reference's order as far as it goes. */
const struct ns_mac_param ns_mac_params[] = {
	{LW_CID_NEW_CHANNEL, .want = want_channels, .settle = settle_channels},
	{LW_CID_LINK_ADR, .want = ns_mac_want_link, .settle = ns_mac_settle_link},
	{LW_CID_DEV_STATUS, .want = want_status},
	{LW_CID_REJOIN_PARAM_SETUP, .only_11 = true, .want = want_rejoin, .settle = settle_rejoin},
	{LW_CID_PING_SLOT_CHANNEL, .sticky = true, .want = want_ping_slot, .settle = settle_ping_slot},
	{LW_CID_RX_PARAM_SETUP, .sticky = true, .want = want_rx_params, .settle = settle_rx_params},
	{LW_CID_RX_TIMING_SETUP, .sticky = true, .want = want_rx_timing, .settle = settle_rx_timing},
	{LW_CID_TX_PARAM_SETUP, .sticky = true, .want = want_tx_params, .settle = settle_tx_params},
	{LW_CID_DUTY_CYCLE, .want = want_duty_cycle, .settle = settle_duty_cycle},
	{LW_CID_ADR_PARAM_SETUP, .only_11 = true, .want = want_adr_params, .settle = settle_adr_params},
	{LW_CID_DL_CHANNEL, .sticky = true, .want = want_dl_channels, .settle = settle_dl_channels},
	{LW_CID_BEACON_FREQ, .want = want_beacon, .settle = settle_beacon},
};
const size_t ns_mac_params_count = sizeof(ns_mac_params) / sizeof(ns_mac_params[0]);

const struct ns_mac_param *ns_mac_param_find(uint8_t cid)
{
	for (size_t i = 0; i < ns_mac_params_count; i++)
		if (ns_mac_params[i].cid == cid)
			return &ns_mac_params[i];
	return NULL;
}
