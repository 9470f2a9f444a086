#include "network-server/domain/mac_down.h"

#include <string.h>

#include "common/base/clock.h"
#include "network-server/domain/channels.h"

#define NEW_CHANNELS_AT_ONCE 3

static void add(struct ns_mac_down *m, const struct lw_mac_cmd *cmd)
{
	size_t at = m->n;
	if (lw_mac_append(cmd, m->bytes, &m->n, sizeof(m->bytes)) != 0)
		return;
	if (m->n_blocks > 0 && m->block[m->n_blocks - 1].cid == cmd->cid) {
		m->block[m->n_blocks - 1].len = (uint8_t)(m->block[m->n_blocks - 1].len + (m->n - at));
		return;
	}
	if (m->n_blocks == NS_MAC_BLOCKS) {
		m->n = at;
		return;
	}
	m->block[m->n_blocks].cid = cmd->cid;
	m->block[m->n_blocks].at = (uint8_t)at;
	m->block[m->n_blocks++].len = (uint8_t)(m->n - at);
}

/* Channels of the network's plan that the device does not have yet, or has otherwise. */
static void new_channels(struct ns_mac_down *m)
{
	const struct lw_region *region = lw_region_by_id(m->rc->region);
	if (!region->user_channels)
		return;
	struct lw_plan want;
	ns_region_config_plan(m->rc, &want);
	unsigned sent = 0;
	for (unsigned i = 0; i < want.n_user && sent < NEW_CHANNELS_AT_ONCE; i++) {
		const struct lw_channel *has = &m->dev->session.user_channels[i];
		const struct lw_channel *w = &want.user[i];
		if (has->hz == w->hz && has->min_dr == w->min_dr && has->max_dr == w->max_dr)
			continue;
		struct lw_mac_cmd cmd = {.cid = LW_CID_NEW_CHANNEL, .dir = LW_DOWN};
		cmd.u.new_channel_req.index = (uint8_t)(region->first_user_channel + i);
		cmd.u.new_channel_req.freq_hz = w->hz;
		cmd.u.new_channel_req.min_dr = w->min_dr;
		cmd.u.new_channel_req.max_dr = w->max_dr;
		add(m, &cmd);
		sent++;
	}
}

static void dev_status(struct ns_mac_down *m)
{
	uint32_t per_day = m->dev->profile.device_status_req_interval;
	if (per_day == 0)
		return;
	int64_t every_ns = INT64_C(86400) * LW_NS_PER_S / per_day;
	if (m->dev->session.dev_status_req_at_ns != 0 && m->now_ns - m->dev->session.dev_status_req_at_ns < every_ns)
		return;
	struct lw_mac_cmd cmd = {.cid = LW_CID_DEV_STATUS, .dir = LW_DOWN};
	add(m, &cmd);
}

static void rx_params(struct ns_mac_down *m)
{
	const struct ns_session *s = &m->dev->session;
	if (s->rx2_hz == m->rc->rx2_hz && s->rx2_dr == m->rc->rx2_dr && s->rx1_dr_offset == m->rc->rx1_dr_offset)
		return;
	struct lw_mac_cmd cmd = {.cid = LW_CID_RX_PARAM_SETUP, .dir = LW_DOWN};
	cmd.u.rx_param_setup_req.rx2_hz = m->rc->rx2_hz;
	cmd.u.rx_param_setup_req.rx2_dr = m->rc->rx2_dr;
	cmd.u.rx_param_setup_req.rx1_dr_offset = m->rc->rx1_dr_offset;
	add(m, &cmd);
}

uint8_t ns_wanted_rx1_delay(const struct ns_device *dev, const struct ns_region_config *rc)
{
	uint8_t d = rc->rx1_delay_s > dev->profile.rx1_delay_s ? rc->rx1_delay_s : dev->profile.rx1_delay_s;
	return d == 0 ? 1 : d;
}

static void rx_timing(struct ns_mac_down *m)
{
	uint8_t want = ns_wanted_rx1_delay(m->dev, m->rc);
	uint8_t has = m->dev->session.rx1_delay_s == 0 ? 1 : m->dev->session.rx1_delay_s;
	if (has == want)
		return;
	struct lw_mac_cmd cmd = {.cid = LW_CID_RX_TIMING_SETUP, .dir = LW_DOWN};
	cmd.u.rx_timing_setup_req.delay_s = want;
	add(m, &cmd);
}

/* In the reference's order. LinkADRReq (channel mask, then rate) belongs after NewChannelReq and never goes with it;
 * RejoinParamSetupReq and PingSlotChannelReq come after DevStatusReq, TxParamSetupReq is last. */
static const struct {
	uint8_t cid;
	void (*request)(struct ns_mac_down *m);
} REQUESTERS[] = {
	{LW_CID_NEW_CHANNEL, new_channels},
	{LW_CID_DEV_STATUS, dev_status},
	{LW_CID_RX_PARAM_SETUP, rx_params},
	{LW_CID_RX_TIMING_SETUP, rx_timing},
};

void ns_mac_down(struct ns_mac_down *m)
{
	m->n = 0;
	m->n_blocks = 0;
	for (size_t i = 0; i < sizeof(REQUESTERS) / sizeof(REQUESTERS[0]); i++)
		if (ns_session_errors(&m->dev->session, REQUESTERS[i].cid) <= m->max_error_count)
			REQUESTERS[i].request(m);
}

void ns_mac_down_limit(struct ns_mac_down *m, size_t max)
{
	while (m->n_blocks > 0 && m->n > max) {
		m->n_blocks--;
		m->n = m->block[m->n_blocks].at;
	}
}

void ns_mac_down_sent(const struct ns_mac_down *m, struct ns_session *s)
{
	for (size_t i = 0; i < m->n_blocks; i++) {
		ns_session_pending_put(s, m->block[i].cid, m->bytes + m->block[i].at, m->block[i].len);
		if (m->block[i].cid == LW_CID_DEV_STATUS)
			s->dev_status_req_at_ns = m->now_ns;
	}
}
