/* MAC commands: table, iterator, decoding and encoding. */
#include "common/lorawan/mac.h"

#include "common/base/err.h"
#include "common/lorawan/cflist.h"
#include "common/lorawan/join.h"

struct cid_row {
	uint8_t cid;
	const char *name[2]; /* by direction */
	int8_t len[2];
};

static const struct cid_row table[] = {
#define LW_CID(sym, cid, up, up_len, down, down_len) {(cid), {(up), (down)}, {(up_len), (down_len)}},
#include "common/lorawan/cid.def"
#undef LW_CID
};

static const struct cid_row *find_row(uint8_t cid)
{
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (table[i].cid == cid)
			return &table[i];
	return NULL;
}

const char *lw_mac_cmd_name(uint8_t cid, enum lw_dir dir)
{
	const struct cid_row *row = find_row(cid);
	return row ? row->name[dir] : NULL;
}

int lw_mac_cmd_len(uint8_t cid, enum lw_dir dir)
{
	const struct cid_row *row = find_row(cid);
	return row ? row->len[dir] : -1;
}

/* p: the payload after the identifier, of the table's length. */
static void parse_up(const uint8_t *p, struct lw_mac_cmd *c)
{
	switch (c->cid) {
	case LW_CID_RESET:
		c->u.reset_ind.minor = p[0] & 15;
		break;
	case LW_CID_REKEY:
		c->u.rekey_ind.minor = p[0] & 15;
		break;
	case LW_CID_LINK_ADR:
		c->u.link_adr_ans.ch_mask_ack = p[0] & 1;
		c->u.link_adr_ans.dr_ack = p[0] & 2;
		c->u.link_adr_ans.power_ack = p[0] & 4;
		break;
	case LW_CID_RX_PARAM_SETUP:
		c->u.rx_param_setup_ans.channel_ack = p[0] & 1;
		c->u.rx_param_setup_ans.rx2_dr_ack = p[0] & 2;
		c->u.rx_param_setup_ans.rx1_dr_offset_ack = p[0] & 4;
		break;
	case LW_CID_DEV_STATUS:
		c->u.dev_status_ans.battery = p[0];
		/* Six bits, signed. */
		c->u.dev_status_ans.margin_db = (int8_t)((p[1] & 0x1F) - (p[1] & 0x20));
		break;
	case LW_CID_NEW_CHANNEL:
		c->u.new_channel_ans.freq_ok = p[0] & 1;
		c->u.new_channel_ans.dr_ok = p[0] & 2;
		break;
	case LW_CID_PING_SLOT_CHANNEL:
		c->u.ping_slot_channel_ans.freq_ok = p[0] & 1;
		c->u.ping_slot_channel_ans.dr_ok = p[0] & 2;
		break;
	case LW_CID_DL_CHANNEL:
		c->u.dl_channel_ans.freq_ok = p[0] & 1;
		c->u.dl_channel_ans.uplink_freq_exists = p[0] & 2;
		break;
	case LW_CID_REJOIN_PARAM_SETUP:
		c->u.rejoin_param_setup_ans.time_ok = p[0] & 1;
		break;
	case LW_CID_PING_SLOT_INFO:
		c->u.ping_slot_info_req.periodicity = p[0] & 7;
		break;
	case LW_CID_BEACON_FREQ:
		c->u.beacon_freq_ans.freq_ok = p[0] & 1;
		break;
	case LW_CID_DEVICE_MODE:
		c->u.device_mode_ind.device_class = p[0];
		break;
	default: /* no payload */
		break;
	}
}

/* Link parameters: what changes how frames travel. */
static bool parse_down_link(const uint8_t *p, struct lw_mac_cmd *c)
{
	switch (c->cid) {
	case LW_CID_LINK_ADR:
		c->u.link_adr_req.dr = p[0] >> 4;
		c->u.link_adr_req.tx_power = p[0] & 15;
		c->u.link_adr_req.ch_mask = lw_get_le16(p + 1);
		c->u.link_adr_req.ch_mask_cntl = (p[3] >> 4) & 7;
		c->u.link_adr_req.nb_trans = p[3] & 15;
		return true;
	case LW_CID_DUTY_CYCLE:
		c->u.duty_cycle_req.max_duty_cycle = p[0] & 15;
		return true;
	case LW_CID_RX_PARAM_SETUP: {
		struct lw_dl_settings s = lw_dl_settings_parse(p[0]);
		c->u.rx_param_setup_req.rx1_dr_offset = s.rx1_dr_offset;
		c->u.rx_param_setup_req.rx2_dr = s.rx2_dr;
		c->u.rx_param_setup_req.rx2_hz = lw_freq24_parse(p + 1);
		return true;
	}
	case LW_CID_NEW_CHANNEL:
		c->u.new_channel_req.index = p[0];
		c->u.new_channel_req.freq_hz = lw_freq24_parse(p + 1);
		c->u.new_channel_req.min_dr = p[4] & 15;
		c->u.new_channel_req.max_dr = p[4] >> 4;
		return true;
	case LW_CID_RX_TIMING_SETUP:
		c->u.rx_timing_setup_req.delay_s = p[0] & 15;
		return true;
	case LW_CID_TX_PARAM_SETUP:
		c->u.tx_param_setup_req.downlink_dwell = p[0] & 0x20;
		c->u.tx_param_setup_req.uplink_dwell = p[0] & 0x10;
		c->u.tx_param_setup_req.max_eirp_index = p[0] & 15;
		return true;
	case LW_CID_DL_CHANNEL:
		c->u.dl_channel_req.index = p[0];
		c->u.dl_channel_req.freq_hz = lw_freq24_parse(p + 1);
		return true;
	case LW_CID_ADR_PARAM_SETUP:
		c->u.adr_param_setup_req.limit_exp = p[0] >> 4;
		c->u.adr_param_setup_req.delay_exp = p[0] & 15;
		return true;
	default:
		return false;
	}
}

static void parse_down(const uint8_t *p, struct lw_mac_cmd *c)
{
	if (parse_down_link(p, c))
		return;
	switch (c->cid) {
	case LW_CID_RESET:
		c->u.reset_conf.minor = p[0] & 15;
		break;
	case LW_CID_REKEY:
		c->u.rekey_conf.minor = p[0] & 15;
		break;
	case LW_CID_LINK_CHECK:
		c->u.link_check_ans.margin_db = p[0];
		c->u.link_check_ans.gw_count = p[1];
		break;
	case LW_CID_DEVICE_TIME:
		c->u.device_time_ans.gps_s = lw_get_le32(p);
		c->u.device_time_ans.frac_256 = p[4];
		break;
	case LW_CID_FORCE_REJOIN: {
		unsigned v = lw_get_le16(p);
		c->u.force_rejoin_req.period = (v >> 11) & 7;
		c->u.force_rejoin_req.max_retries = (v >> 8) & 7;
		c->u.force_rejoin_req.rejoin_type = (v >> 4) & 7;
		c->u.force_rejoin_req.dr = v & 15;
		break;
	}
	case LW_CID_REJOIN_PARAM_SETUP:
		c->u.rejoin_param_setup_req.max_time_n = p[0] >> 4;
		c->u.rejoin_param_setup_req.max_count_n = p[0] & 15;
		break;
	case LW_CID_PING_SLOT_CHANNEL:
		c->u.ping_slot_channel_req.freq_hz = lw_freq24_parse(p);
		c->u.ping_slot_channel_req.dr = p[3] & 15;
		break;
	case LW_CID_BEACON_TIMING:
		c->u.beacon_timing_ans.delay = lw_get_le16(p);
		c->u.beacon_timing_ans.channel = p[2];
		break;
	case LW_CID_BEACON_FREQ:
		c->u.beacon_freq_req.freq_hz = lw_freq24_parse(p);
		break;
	case LW_CID_DEVICE_MODE:
		c->u.device_mode_conf.device_class = p[0];
		break;
	default: /* no payload */
		break;
	}
}

void lw_mac_iter_init(struct lw_mac_iter *it, enum lw_dir dir, struct lw_span commands)
{
	*it = (struct lw_mac_iter){.rest = commands, .dir = dir};
}

int lw_mac_iter_next(struct lw_mac_iter *it, struct lw_mac_cmd *out)
{
	if (it->rest.n == 0)
		return 0;
	*out = (struct lw_mac_cmd){.cid = it->rest.p[0], .dir = it->dir};
	int len = lw_mac_cmd_len(out->cid, it->dir);
	if (len < 0)
		return LW_EPROTO;
	if (it->rest.n < 1 + (size_t)len)
		return LW_ETRUNC;
	if (it->dir == LW_UP)
		parse_up(it->rest.p + 1, out);
	else
		parse_down(it->rest.p + 1, out);
	it->rest = lw_span(it->rest.p + 1 + len, it->rest.n - 1 - (size_t)len);
	return 1;
}

static uint8_t flags(bool b0, bool b1, bool b2)
{
	return (uint8_t)(b0 | b1 << 1 | b2 << 2);
}

/* Writes the payload; 0, or LW_EINVAL when a value does not fit. */
static int encode_up(const struct lw_mac_cmd *c, uint8_t *p)
{
	switch (c->cid) {
	case LW_CID_RESET:
		p[0] = c->u.reset_ind.minor;
		return p[0] > 15 ? LW_EINVAL : 0;
	case LW_CID_REKEY:
		p[0] = c->u.rekey_ind.minor;
		return p[0] > 15 ? LW_EINVAL : 0;
	case LW_CID_LINK_ADR:
		p[0] = flags(c->u.link_adr_ans.ch_mask_ack, c->u.link_adr_ans.dr_ack, c->u.link_adr_ans.power_ack);
		return 0;
	case LW_CID_RX_PARAM_SETUP:
		p[0] = flags(c->u.rx_param_setup_ans.channel_ack, c->u.rx_param_setup_ans.rx2_dr_ack,
			     c->u.rx_param_setup_ans.rx1_dr_offset_ack);
		return 0;
	case LW_CID_DEV_STATUS:
		p[0] = c->u.dev_status_ans.battery;
		p[1] = (uint8_t)c->u.dev_status_ans.margin_db & 0x3F;
		return c->u.dev_status_ans.margin_db < -32 || c->u.dev_status_ans.margin_db > 31 ? LW_EINVAL : 0;
	case LW_CID_NEW_CHANNEL:
		p[0] = flags(c->u.new_channel_ans.freq_ok, c->u.new_channel_ans.dr_ok, false);
		return 0;
	case LW_CID_PING_SLOT_CHANNEL:
		p[0] = flags(c->u.ping_slot_channel_ans.freq_ok, c->u.ping_slot_channel_ans.dr_ok, false);
		return 0;
	case LW_CID_DL_CHANNEL:
		p[0] = flags(c->u.dl_channel_ans.freq_ok, c->u.dl_channel_ans.uplink_freq_exists, false);
		return 0;
	case LW_CID_REJOIN_PARAM_SETUP:
		p[0] = c->u.rejoin_param_setup_ans.time_ok;
		return 0;
	case LW_CID_PING_SLOT_INFO:
		p[0] = c->u.ping_slot_info_req.periodicity;
		return p[0] > 7 ? LW_EINVAL : 0;
	case LW_CID_BEACON_FREQ:
		p[0] = c->u.beacon_freq_ans.freq_ok;
		return 0;
	case LW_CID_DEVICE_MODE:
		p[0] = c->u.device_mode_ind.device_class;
		return 0;
	default: /* no payload */
		return 0;
	}
}

/* Two values of four bits. */
static int put_nibbles(uint8_t *p, uint8_t high, uint8_t low)
{
	if (high > 15 || low > 15)
		return LW_EINVAL;
	*p = (uint8_t)(high << 4 | low);
	return 0;
}

static int encode_link_adr(const struct lw_mac_cmd *c, uint8_t *p)
{
	lw_put_le16(p + 1, c->u.link_adr_req.ch_mask);
	if (c->u.link_adr_req.ch_mask_cntl > 7 ||
	    put_nibbles(p + 3, c->u.link_adr_req.ch_mask_cntl, c->u.link_adr_req.nb_trans) < 0)
		return LW_EINVAL;
	return put_nibbles(p, c->u.link_adr_req.dr, c->u.link_adr_req.tx_power);
}

static int encode_rx_param_setup(const struct lw_mac_cmd *c, uint8_t *p)
{
	if (c->u.rx_param_setup_req.rx1_dr_offset > 7 ||
	    put_nibbles(p, c->u.rx_param_setup_req.rx1_dr_offset, c->u.rx_param_setup_req.rx2_dr) < 0)
		return LW_EINVAL;
	return lw_freq24_encode(c->u.rx_param_setup_req.rx2_hz, p + 1);
}

static int encode_new_channel(const struct lw_mac_cmd *c, uint8_t *p)
{
	p[0] = c->u.new_channel_req.index;
	if (put_nibbles(p + 4, c->u.new_channel_req.max_dr, c->u.new_channel_req.min_dr) < 0)
		return LW_EINVAL;
	return lw_freq24_encode(c->u.new_channel_req.freq_hz, p + 1);
}

static int encode_force_rejoin(const struct lw_mac_cmd *c, uint8_t *p)
{
	if (c->u.force_rejoin_req.period > 7 || c->u.force_rejoin_req.max_retries > 7 ||
	    c->u.force_rejoin_req.rejoin_type > 7 || c->u.force_rejoin_req.dr > 15)
		return LW_EINVAL;
	lw_put_le16(p, (uint16_t)(c->u.force_rejoin_req.period << 11 | c->u.force_rejoin_req.max_retries << 8 |
				  c->u.force_rejoin_req.rejoin_type << 4 | c->u.force_rejoin_req.dr));
	return 0;
}

static int encode_down(const struct lw_mac_cmd *c, uint8_t *p)
{
	switch (c->cid) {
	case LW_CID_RESET:
		p[0] = c->u.reset_conf.minor;
		return p[0] > 15 ? LW_EINVAL : 0;
	case LW_CID_REKEY:
		p[0] = c->u.rekey_conf.minor;
		return p[0] > 15 ? LW_EINVAL : 0;
	case LW_CID_LINK_CHECK:
		p[0] = c->u.link_check_ans.margin_db;
		p[1] = c->u.link_check_ans.gw_count;
		return 0;
	case LW_CID_LINK_ADR:
		return encode_link_adr(c, p);
	case LW_CID_DUTY_CYCLE:
		p[0] = c->u.duty_cycle_req.max_duty_cycle;
		return p[0] > 15 ? LW_EINVAL : 0;
	case LW_CID_RX_PARAM_SETUP:
		return encode_rx_param_setup(c, p);
	case LW_CID_NEW_CHANNEL:
		return encode_new_channel(c, p);
	case LW_CID_RX_TIMING_SETUP:
		p[0] = c->u.rx_timing_setup_req.delay_s;
		return p[0] > 15 ? LW_EINVAL : 0;
	case LW_CID_TX_PARAM_SETUP:
		p[0] = (uint8_t)(c->u.tx_param_setup_req.downlink_dwell << 5 |
				 c->u.tx_param_setup_req.uplink_dwell << 4 | c->u.tx_param_setup_req.max_eirp_index);
		return c->u.tx_param_setup_req.max_eirp_index > 15 ? LW_EINVAL : 0;
	case LW_CID_DL_CHANNEL:
		p[0] = c->u.dl_channel_req.index;
		return lw_freq24_encode(c->u.dl_channel_req.freq_hz, p + 1);
	case LW_CID_ADR_PARAM_SETUP:
		return put_nibbles(p, c->u.adr_param_setup_req.limit_exp, c->u.adr_param_setup_req.delay_exp);
	case LW_CID_DEVICE_TIME:
		lw_put_le32(p, c->u.device_time_ans.gps_s);
		p[4] = c->u.device_time_ans.frac_256;
		return 0;
	case LW_CID_FORCE_REJOIN:
		return encode_force_rejoin(c, p);
	case LW_CID_REJOIN_PARAM_SETUP:
		return put_nibbles(p, c->u.rejoin_param_setup_req.max_time_n, c->u.rejoin_param_setup_req.max_count_n);
	case LW_CID_PING_SLOT_CHANNEL:
		p[3] = c->u.ping_slot_channel_req.dr;
		return p[3] > 15 ? LW_EINVAL : lw_freq24_encode(c->u.ping_slot_channel_req.freq_hz, p);
	case LW_CID_BEACON_TIMING:
		lw_put_le16(p, c->u.beacon_timing_ans.delay);
		p[2] = c->u.beacon_timing_ans.channel;
		return 0;
	case LW_CID_BEACON_FREQ:
		return lw_freq24_encode(c->u.beacon_freq_req.freq_hz, p);
	case LW_CID_DEVICE_MODE:
		p[0] = c->u.device_mode_conf.device_class;
		return 0;
	default: /* no payload */
		return 0;
	}
}

int lw_mac_encode(const struct lw_mac_cmd *cmd, uint8_t *out, size_t cap)
{
	uint8_t bytes[LW_MAC_CMD_MAX] = {cmd->cid};
	int len = lw_mac_cmd_len(cmd->cid, cmd->dir);
	if (len < 0)
		return LW_EINVAL;
	int rc = cmd->dir == LW_UP ? encode_up(cmd, bytes + 1) : encode_down(cmd, bytes + 1);
	if (rc < 0)
		return rc;
	if (cap < 1 + (size_t)len)
		return LW_EBIG;
	memcpy(out, bytes, 1 + (size_t)len);
	return 1 + len;
}

int lw_mac_append(const struct lw_mac_cmd *cmd, uint8_t *buf, size_t *n, size_t cap)
{
	int rc = lw_mac_encode(cmd, buf + *n, cap - *n);
	if (rc < 0)
		return rc;
	*n += (size_t)rc;
	return 0;
}
