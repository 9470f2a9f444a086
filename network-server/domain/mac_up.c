#include "network-server/domain/mac_up.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "network-server/domain/activate.h"
#include "network-server/domain/class_b.h"
#include "network-server/domain/mac_params.h"

#define BLOCK_MAX 16

/* Consecutive commands with one identifier: answers to a block of requests come as a block. */
struct block {
	struct lw_mac_cmd cmd[BLOCK_MAX];
	size_t n;
};

static void answer(struct ns_mac_up *m, const struct lw_mac_cmd *cmd)
{
	/* One that does not fit is lost, as if the downlink were: the device asks again. */
	(void)lw_mac_append(cmd, m->answers, &m->n_answers, sizeof(m->answers));
}

static void link_check_req(struct ns_mac_up *m, const struct block *b)
{
	(void)b;
	int margin = ns_snr_margin_ddb(&m->up->mod, m->up->best_snr_ddb) / 10;
	struct lw_mac_cmd ans = {.cid = LW_CID_LINK_CHECK, .dir = LW_DOWN};
	ans.u.link_check_ans.margin_db = (uint8_t)(margin < 0 ? 0 : margin > 254 ? 254 : margin);
	ans.u.link_check_ans.gw_count = (uint8_t)(m->up->n_gateways > 255 ? 255 : m->up->n_gateways);
	answer(m, &ans);
}

static void device_time_req(struct ns_mac_up *m, const struct block *b)
{
	(void)b;
	struct lw_mac_cmd ans = {.cid = LW_CID_DEVICE_TIME, .dir = LW_DOWN};
	ans.u.device_time_ans.gps_s = (uint32_t)(m->up->gps_ns / LW_NS_PER_S);
	ans.u.device_time_ans.frac_256 = (uint8_t)(m->up->gps_ns % LW_NS_PER_S * 256 / LW_NS_PER_S);
	answer(m, &ans);
}

/* The minor version that both understand: 1 is the highest there is. */
static uint8_t minor_version(uint8_t device)
{
	return device > 1 ? 1 : device;
}

static void rekey_ind(struct ns_mac_up *m, const struct block *b)
{
	if (!ns_session_is_11(m->s))
		return;
	struct lw_mac_cmd ans = {.cid = LW_CID_REKEY, .dir = LW_DOWN};
	ans.u.rekey_conf.minor = minor_version(b->cmd[0].u.rekey_ind.minor);
	answer(m, &ans);
}

/* A 1.1 ABP device lost its state: it has its factory settings again. Counters and keys live on. */
static void reset_ind(struct ns_mac_up *m, const struct block *b)
{
	struct ns_session *s = m->s;
	if (!ns_session_is_11(s) || m->profile->supports_otaa)
		return;
	ns_session_factory_rx(s, m->profile, m->up->rc);
	ns_session_boot(s, m->profile, m->up->rc);
	s->enabled_class = LW_CLASS_A; /* until it says otherwise */
	struct lw_mac_cmd ans = {.cid = LW_CID_RESET, .dir = LW_DOWN};
	ans.u.reset_conf.minor = minor_version(b->cmd[0].u.reset_ind.minor);
	answer(m, &ans);
}

static void device_mode_ind(struct ns_mac_up *m, const struct block *b)
{
	uint8_t class = b->cmd[0].u.device_mode_ind.device_class;
	if (class == 0)
		m->s->enabled_class = LW_CLASS_A;
	else if (class == 2)
		m->s->enabled_class = LW_CLASS_C;
	else
		return;
	struct lw_mac_cmd ans = {.cid = LW_CID_DEVICE_MODE, .dir = LW_DOWN};
	ans.u.device_mode_conf.device_class = class;
	answer(m, &ans);
}

static void dev_status_ans(struct ns_mac_up *m, const struct block *b)
{
	m->has_status = true;
	m->battery = b->cmd[0].u.dev_status_ans.battery;
	m->margin_db = b->cmd[0].u.dev_status_ans.margin_db;
	ns_session_pending_remove(m->s, LW_CID_DEV_STATUS);
}

static void ping_slot_info_req(struct ns_mac_up *m, const struct block *b)
{
	m->s->ping_slot_nb = (uint8_t)(1u << (7 - b->cmd[0].u.ping_slot_info_req.periodicity));
	struct lw_mac_cmd ans = {.cid = LW_CID_PING_SLOT_INFO, .dir = LW_DOWN};
	answer(m, &ans);
}

/* The answer to a request of ours, or to one that we know nothing of any more. */
static void settle(struct ns_mac_up *m, const struct ns_mac_param *p, const struct block *b)
{
	struct lw_mac_cmd req[BLOCK_MAX];
	struct ns_mac_pending *pending = ns_session_pending(m->s, p->cid);
	struct ns_mac_answer a = {.up = m->up, .s = m->s, .req = req, .ans = b->cmd, .n_ans = b->n};
	if (p->sticky)
		m->force_downlink = true;
	if (pending == NULL) {
		for (size_t i = 0; i < b->n && m->s->mac_queue_sent; i++)
			(void)lw_mac_append(&b->cmd[i], m->foreign, &m->n_foreign, sizeof(m->foreign));
		return;
	}
	struct ns_mac_pending sent = *pending;
	struct lw_mac_iter it;
	ns_session_pending_remove(m->s, p->cid);
	lw_mac_iter_init(&it, LW_DOWN, lw_span(sent.bytes, sent.len));
	while (a.n_req < BLOCK_MAX && lw_mac_iter_next(&it, &req[a.n_req]) == 1 && req[a.n_req].cid == p->cid)
		a.n_req++;
	if (p->settle != NULL && a.n_req > 0)
		p->settle(&a);
}

/* Until the next beacon, in units of 30 ms from the end of the uplink; and its channel (deprecated by DeviceTimeReq).
 */
static void beacon_timing_req(struct ns_mac_up *m, const struct block *b)
{
	(void)b;
	int64_t next = ns_beacon_start(m->up->gps_ns) + NS_BEACON_PERIOD_S * LW_NS_PER_S;
	struct lw_mac_cmd ans = {.cid = LW_CID_BEACON_TIMING, .dir = LW_DOWN};
	ans.u.beacon_timing_ans.delay = (uint16_t)((next - m->up->gps_ns) / (30 * LW_NS_PER_MS));
	if (m->up->region->beacon.count > 1)
		ans.u.beacon_timing_ans.channel =
			(uint8_t)(next / LW_NS_PER_S / NS_BEACON_PERIOD_S % m->up->region->beacon.count);
	answer(m, &ans);
}

/* What a device says of itself, or asks. Answers to our requests: mac_params.c. Anything else is read over. */
static const struct {
	uint8_t cid;
	void (*handle)(struct ns_mac_up *m, const struct block *b);
} HANDLERS[] = {
	{LW_CID_RESET, reset_ind},
	{LW_CID_LINK_CHECK, link_check_req},
	{LW_CID_DEV_STATUS, dev_status_ans},
	{LW_CID_REKEY, rekey_ind},
	{LW_CID_DEVICE_TIME, device_time_req},
	{LW_CID_PING_SLOT_INFO, ping_slot_info_req},
	{LW_CID_BEACON_TIMING, beacon_timing_req},
	{LW_CID_DEVICE_MODE, device_mode_ind},
};

static void dispatch(struct ns_mac_up *m, const struct block *b, uint64_t seen[4])
{
	uint8_t cid = b->cmd[0].cid;
	/* One handling of each kind per frame: a frame full of LinkCheckReq gets one answer. */
	if (seen[cid / 64] & (UINT64_C(1) << (cid % 64)))
		return;
	seen[cid / 64] |= UINT64_C(1) << (cid % 64);
	for (size_t i = 0; i < sizeof(HANDLERS) / sizeof(HANDLERS[0]); i++) {
		if (HANDLERS[i].cid == cid) {
			HANDLERS[i].handle(m, b);
			return;
		}
	}
	const struct ns_mac_param *p = ns_mac_param_find(cid);
	if (p != NULL)
		settle(m, p, b);
}

/* The class B bit says whether it hears beacons; without them it is of class A. */
static void beacon_lock(struct ns_mac_up *m)
{
	bool locked = m->up->phy.u.data.fctrl.class_b;
	if (!m->profile->supports_class_b || locked == m->s->beacon_locked)
		return;
	m->s->beacon_locked = locked;
	m->s->enabled_class = locked ? LW_CLASS_B : LW_CLASS_A;
}

/* Nobody but who asked knows how long a proprietary command is. */
static void foreign_rest(struct ns_mac_up *m, struct lw_span rest)
{
	size_t room = sizeof(m->foreign) - m->n_foreign;
	if (rest.p[0] < LW_CID_PROPRIETARY)
		return;
	memcpy(m->foreign + m->n_foreign, rest.p, rest.n < room ? rest.n : room);
	m->n_foreign += rest.n < room ? rest.n : room;
}

void ns_mac_up(struct ns_mac_up *m, struct lw_span commands)
{
	struct lw_mac_iter it;
	struct lw_mac_cmd cmd;
	struct block b = {.n = 0};
	uint64_t seen[4] = {0};
	int rc;
	beacon_lock(m);
	lw_mac_iter_init(&it, LW_UP, commands);
	while ((rc = lw_mac_iter_next(&it, &cmd)) == 1) {
		if (b.n > 0 && (b.cmd[0].cid != cmd.cid || b.n == BLOCK_MAX)) {
			dispatch(m, &b, seen);
			b.n = 0;
		}
		b.cmd[b.n++] = cmd;
	}
	if (b.n > 0)
		dispatch(m, &b, seen);
	if (rc < 0 && it.rest.n > 0) {
		m->unknown_cid = it.rest.p[0];
		foreign_rest(m, it.rest);
	}
	if (m->n_foreign > 0)
		m->s->mac_queue_sent = false;
}

static char *text_up(const struct lw_mac_cmd *c, char *out, size_t cap)
{
	switch (c->cid) {
	case LW_CID_RESET:
	case LW_CID_REKEY:
		snprintf(out, cap, "minor=%u", c->u.reset_ind.minor);
		break;
	case LW_CID_LINK_ADR:
		snprintf(out, cap, "channel_mask_ack=%d dr_ack=%d power_ack=%d", c->u.link_adr_ans.ch_mask_ack,
			 c->u.link_adr_ans.dr_ack, c->u.link_adr_ans.power_ack);
		break;
	case LW_CID_RX_PARAM_SETUP:
		snprintf(out, cap, "channel_ack=%d rx2_dr_ack=%d rx1_dr_offset_ack=%d",
			 c->u.rx_param_setup_ans.channel_ack, c->u.rx_param_setup_ans.rx2_dr_ack,
			 c->u.rx_param_setup_ans.rx1_dr_offset_ack);
		break;
	case LW_CID_DEV_STATUS:
		snprintf(out, cap, "battery=%u margin=%d", c->u.dev_status_ans.battery, c->u.dev_status_ans.margin_db);
		break;
	case LW_CID_NEW_CHANNEL:
	case LW_CID_PING_SLOT_CHANNEL:
		snprintf(out, cap, "freq_ok=%d dr_ok=%d", c->u.new_channel_ans.freq_ok, c->u.new_channel_ans.dr_ok);
		break;
	case LW_CID_DL_CHANNEL:
		snprintf(out, cap, "freq_ok=%d uplink_freq_exists=%d", c->u.dl_channel_ans.freq_ok,
			 c->u.dl_channel_ans.uplink_freq_exists);
		break;
	case LW_CID_REJOIN_PARAM_SETUP:
		snprintf(out, cap, "time_ok=%d", c->u.rejoin_param_setup_ans.time_ok);
		break;
	case LW_CID_PING_SLOT_INFO:
		snprintf(out, cap, "periodicity=%u", c->u.ping_slot_info_req.periodicity);
		break;
	case LW_CID_BEACON_FREQ:
		snprintf(out, cap, "freq_ok=%d", c->u.beacon_freq_ans.freq_ok);
		break;
	case LW_CID_DEVICE_MODE:
		snprintf(out, cap, "class=%c", 'A' + c->u.device_mode_ind.device_class);
		break;
	default:
		break;
	}
	return out;
}

static char *text_down(const struct lw_mac_cmd *c, char *out, size_t cap)
{
	switch (c->cid) {
	case LW_CID_RESET:
	case LW_CID_REKEY:
		snprintf(out, cap, "minor=%u", c->u.reset_conf.minor);
		break;
	case LW_CID_LINK_CHECK:
		snprintf(out, cap, "margin=%u gateways=%u", c->u.link_check_ans.margin_db,
			 c->u.link_check_ans.gw_count);
		break;
	case LW_CID_LINK_ADR:
		snprintf(out, cap, "dr=%u tx_power=%u ch_mask=%04x ch_mask_cntl=%u nb_trans=%u", c->u.link_adr_req.dr,
			 c->u.link_adr_req.tx_power, c->u.link_adr_req.ch_mask, c->u.link_adr_req.ch_mask_cntl,
			 c->u.link_adr_req.nb_trans);
		break;
	case LW_CID_RX_PARAM_SETUP:
		snprintf(out, cap, "rx2_hz=%u rx2_dr=%u rx1_dr_offset=%u", c->u.rx_param_setup_req.rx2_hz,
			 c->u.rx_param_setup_req.rx2_dr, c->u.rx_param_setup_req.rx1_dr_offset);
		break;
	case LW_CID_NEW_CHANNEL:
		snprintf(out, cap, "index=%u hz=%u min_dr=%u max_dr=%u", c->u.new_channel_req.index,
			 c->u.new_channel_req.freq_hz, c->u.new_channel_req.min_dr, c->u.new_channel_req.max_dr);
		break;
	case LW_CID_RX_TIMING_SETUP:
		snprintf(out, cap, "delay_s=%u", c->u.rx_timing_setup_req.delay_s);
		break;
	case LW_CID_TX_PARAM_SETUP:
		snprintf(out, cap, "uplink_dwell=%d downlink_dwell=%d max_eirp_dbm=%d",
			 c->u.tx_param_setup_req.uplink_dwell, c->u.tx_param_setup_req.downlink_dwell,
			 lw_max_eirp_dbm(c->u.tx_param_setup_req.max_eirp_index));
		break;
	case LW_CID_DUTY_CYCLE:
		snprintf(out, cap, "max_duty_cycle=1/%u", 1u << c->u.duty_cycle_req.max_duty_cycle);
		break;
	case LW_CID_DL_CHANNEL:
		snprintf(out, cap, "index=%u hz=%u", c->u.dl_channel_req.index, c->u.dl_channel_req.freq_hz);
		break;
	case LW_CID_ADR_PARAM_SETUP:
		snprintf(out, cap, "limit=%u delay=%u", 1u << c->u.adr_param_setup_req.limit_exp,
			 1u << c->u.adr_param_setup_req.delay_exp);
		break;
	case LW_CID_FORCE_REJOIN:
		snprintf(out, cap, "period=%u max_retries=%u rejoin_type=%u dr=%u", c->u.force_rejoin_req.period,
			 c->u.force_rejoin_req.max_retries, c->u.force_rejoin_req.rejoin_type,
			 c->u.force_rejoin_req.dr);
		break;
	case LW_CID_REJOIN_PARAM_SETUP:
		snprintf(out, cap, "max_time_n=%u max_count_n=%u", c->u.rejoin_param_setup_req.max_time_n,
			 c->u.rejoin_param_setup_req.max_count_n);
		break;
	case LW_CID_PING_SLOT_CHANNEL:
		snprintf(out, cap, "hz=%u dr=%u", c->u.ping_slot_channel_req.freq_hz, c->u.ping_slot_channel_req.dr);
		break;
	case LW_CID_BEACON_TIMING:
		snprintf(out, cap, "delay_ms=%u channel=%u", c->u.beacon_timing_ans.delay * 30,
			 c->u.beacon_timing_ans.channel);
		break;
	case LW_CID_BEACON_FREQ:
		snprintf(out, cap, "hz=%u", c->u.beacon_freq_req.freq_hz);
		break;
	case LW_CID_DEVICE_TIME:
		snprintf(out, cap, "gps_s=%u frac_256=%u", c->u.device_time_ans.gps_s, c->u.device_time_ans.frac_256);
		break;
	case LW_CID_DEVICE_MODE:
		snprintf(out, cap, "class=%c", 'A' + c->u.device_mode_conf.device_class);
		break;
	default:
		break;
	}
	return out;
}

char *ns_mac_text(const struct lw_mac_cmd *cmd, char *out, size_t cap)
{
	out[0] = '\0';
	return cmd->dir == LW_UP ? text_up(cmd, out, cap) : text_down(cmd, out, cap);
}
