#include "tools/sim/device.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "common/lorawan/airtime.h"
#include "common/lorawan/cipher.h"
#include "common/lorawan/join.h"
#include "common/lorawan/mac.h"
#include "common/lorawan/mic.h"

static void plan_init(struct sim_device *d, const struct sim_options *o)
{
	lw_plan_init(&d->plan, o->region);
	if (!o->region->user_channels && o->sub_band * 8 + 8 <= d->plan.n) {
		lw_plan_disable_all(&d->plan);
		for (unsigned i = 0; i < 8; i++)
			lw_plan_enable(&d->plan, o->sub_band * 8 + i, true);
		if (o->region->mask_control == LW_MASK_64_8)
			lw_plan_enable(&d->plan, 64 + o->sub_band, true);
	}
}

static void receive_defaults(struct sim_device *d, const struct lw_region *r)
{
	d->rx1_delay_s = r->rx1_delay_s;
	d->rx1_dr_offset = 0;
	d->rx2_dr = r->rx2_dr;
	d->rx2_hz = r->rx2_hz;
}

void sim_device_init(struct sim_device *d, const struct sim_options *o, uint32_t n)
{
	*d = (struct sim_device){.n = n, .v11 = o->version == LW_MAC_1_1_0};
	struct lw_rng rng;
	lw_rng_init_seeded(&rng, o->seed * UINT64_C(0x9E3779B97F4A7C15) + n);
	d->dev_eui = lw_dev_eui_from_u64(UINT64_C(0x70b3d57ed1000000) + n + ((o->seed & 0xff) << 24));
	d->join_eui = lw_join_eui_from_u64(UINT64_C(0x70b3d57ed0000001));
	lw_rng_fill(&rng, d->app_key.b, sizeof(d->app_key.b));
	lw_rng_fill(&rng, d->nwk_key.b, sizeof(d->nwk_key.b));
	if (!d->v11)
		d->app_key = d->nwk_key; /* a 1.0 device has one root key; the API keeps it as nwk_key */
	double r = o->radius_m * sqrt(lw_rng_unit(&rng));
	double phi = 2 * M_PI * lw_rng_unit(&rng);
	d->lat = o->latitude + r * cos(phi) / 111320.0;
	d->lon = o->longitude + r * sin(phi) / (111320.0 * cos(o->latitude * M_PI / 180));
	plan_init(d, o);
	receive_defaults(d, o->region);
	d->dr = o->region->adr_max_dr;
	if (o->abp) {
		lw_rng_fill(&rng, &d->keys, sizeof(d->keys));
		if (!d->v11) {
			d->keys.s_nwk_s_int = d->keys.f_nwk_s_int;
			d->keys.nwk_s_enc = d->keys.f_nwk_s_int;
		}
		d->devaddr = (struct lw_devaddr){(uint32_t)(0x00010000u + n + ((o->seed & 0x3f) << 19)) & 0x01ffffffu};
		d->joined = d->ever_joined = true;
		d->f_cnt_up = d->sent_base = o->f_cnt;
	}
}

void sim_device_deinit(struct sim_device *d)
{
	free(d->sent);
	*d = (struct sim_device){0};
}

static uint32_t pick_channel(struct sim_device *d, struct lw_rng *rng)
{
	for (int attempt = 0; attempt < 1000; attempt++) {
		unsigned i = (unsigned)lw_rng_below(rng, d->plan.n);
		struct lw_channel ch;
		if (lw_plan_enabled(&d->plan, i) && lw_plan_channel(&d->plan, i, &ch) == 0 && d->dr >= ch.min_dr &&
		    d->dr <= ch.max_dr)
			return ch.hz;
	}
	return 0;
}

static int send_join(struct sim_device *d, struct lw_keycache *kc, struct lw_rng *rng, struct sim_uplink *out)
{
	d->dev_nonce = d->v11 ? (uint16_t)(d->dev_nonce + 1) : (uint16_t)lw_rng_below(rng, 0x10000);
	if (d->v11 && d->dev_nonce == 1)
		d->dev_nonce = (uint16_t)lw_rng_below(rng, 0x8000);
	struct lw_phy phy = {
		.mtype = LW_MTYPE_JOIN_REQUEST,
		.u.join_request = {.join_eui = d->join_eui, .dev_eui = d->dev_eui, .dev_nonce = d->dev_nonce}};
	int n = lw_phy_encode(&phy, out->phy, sizeof(out->phy));
	if (n < 0)
		return n;
	lw_phy_set_mic(out->phy, (size_t)n, lw_mic_plain(kc, &d->nwk_key, lw_span(out->phy, (size_t)n - LW_MIC_LEN)));
	out->n = (size_t)n;
	out->is_join = true;
	d->joining = true;
	return 0;
}

static void remember(struct sim_device *d, int64_t now_us)
{
	if (d->n_sent == d->cap_sent) {
		d->cap_sent = d->cap_sent ? d->cap_sent * 2 : 16;
		d->sent = lw_xreallocarray(d->sent, d->cap_sent, sizeof(*d->sent));
	}
	d->sent[d->n_sent++] = (struct sim_sent){.at_us = now_us};
}

/* Payload of the demo: counter, temperature, humidity, battery: small and alive. */
static size_t payload(const struct sim_device *d, uint32_t f_cnt, uint8_t out[8])
{
	double t = 18 + 6 * sin((double)f_cnt / 9 + d->n);
	lw_put_be16(out, (uint16_t)f_cnt);
	lw_put_be16(out + 2, (uint16_t)(int16_t)(t * 100));
	out[4] = (uint8_t)(55 + 20 * cos((double)f_cnt / 13 + d->n));
	out[5] = (uint8_t)(200 - (f_cnt / 500) % 100);
	lw_put_be16(out + 6, (uint16_t)d->n);
	return 8;
}

static int send_data(struct sim_device *d, const struct sim_options *o, struct lw_keycache *kc, bool confirmed,
		     struct sim_uplink *out)
{
	uint8_t fopts[LW_FOPTS_MAX];
	size_t n_fopts = 0;
	if (d->rekey_pending) {
		struct lw_mac_cmd cmd = {.cid = LW_CID_REKEY, .dir = LW_UP, .u.rekey_ind = {.minor = 1}};
		lw_mac_append(&cmd, fopts, &n_fopts, sizeof(fopts));
	}
	size_t take = d->n_answers < sizeof(fopts) - n_fopts ? d->n_answers : sizeof(fopts) - n_fopts;
	memcpy(fopts + n_fopts, d->answers, take);
	n_fopts += take;
	d->n_answers = 0;
	if (d->v11)
		lw_cipher_fopts(kc, &d->keys.nwk_s_enc, LW_UP, LW_FOPTS_FCNT, d->devaddr, out->f_cnt, fopts, n_fopts,
				fopts);
	uint8_t frm[8];
	size_t n_frm = payload(d, out->f_cnt, frm);
	lw_cipher_frm(kc, &d->keys.app_s, LW_UP, d->devaddr, out->f_cnt, frm, n_frm, frm);
	struct lw_phy phy = {
		.mtype = confirmed ? LW_MTYPE_CONFIRMED_UP : LW_MTYPE_UNCONFIRMED_UP,
		.u.data = {.devaddr = d->devaddr,
			   .fctrl = {.adr = o->adr, .ack = d->ack_due},
			   .fcnt = (uint16_t)out->f_cnt,
			   .fopts = lw_span(fopts, n_fopts),
			   .fport = 2,
			   .frm = lw_span(frm, n_frm)},
	};
	int n = lw_phy_encode(&phy, out->phy, sizeof(out->phy));
	if (n < 0)
		return n;
	struct lw_span msg = lw_span(out->phy, (size_t)n - LW_MIC_LEN);
	struct lw_mic mic;
	if (d->v11) {
		int ch = lw_plan_channel_index(&d->plan, out->hz, out->dr);
		struct lw_mic_up_11 p = {
			.conf_fcnt = d->ack_due ? d->conf_f_cnt : 0, .tx_dr = out->dr, .tx_ch = (uint8_t)ch};
		mic = lw_mic_data_up_11(kc, &d->keys.f_nwk_s_int, &d->keys.s_nwk_s_int, &p, d->devaddr, out->f_cnt,
					msg);
	} else {
		mic = lw_mic_data_10(kc, &d->keys.f_nwk_s_int, LW_UP, d->devaddr, out->f_cnt, msg);
	}
	lw_phy_set_mic(out->phy, (size_t)n, mic);
	out->n = (size_t)n;
	d->ack_due = false;
	return 0;
}

int sim_device_send(struct sim_device *d, const struct sim_options *o, struct lw_keycache *kc, struct lw_rng *rng,
		    bool confirmed, bool repeat, int64_t now_us, struct sim_uplink *out)
{
	*out = (struct sim_uplink){.dr = d->dr, .confirmed = confirmed, .repeat = repeat};
	out->hz = pick_channel(d, rng);
	if (!out->hz)
		return LW_ENOTFOUND;
	int err;
	if (!d->joined) {
		err = send_join(d, kc, rng, out);
	} else {
		out->f_cnt = repeat ? d->f_cnt_up - 1 : d->f_cnt_up++;
		if (!repeat)
			remember(d, now_us);
		err = send_data(d, o, kc, confirmed, out);
		d->joining = false;
	}
	d->listening = err == 0;
	d->up_end_us = now_us;
	d->up_hz = out->hz;
	d->up_dr = out->dr;
	d->awaits_ack = confirmed;
	d->got_downlink = false;
	d->repeats = repeat ? (uint8_t)(d->repeats + 1) : 0;
	return err;
}

static bool same_modulation(const struct lw_modulation *a, const struct lw_modulation *b)
{
	return a->kind == b->kind && a->bw_hz == b->bw_hz && a->sf == b->sf && a->bitrate_bps == b->bitrate_bps;
}

static bool near(int64_t a, int64_t b)
{
	return llabs(a - b) <= SIM_WINDOW_US;
}

/* Which window begins then, and whether the radio listens on what was sent. */
static enum sim_verdict window(const struct sim_device *d, const struct sim_options *o, int64_t start_us, uint32_t hz,
			       const struct lw_modulation *mod)
{
	int64_t delay1 = d->joining ? o->region->join_accept_delay1_s : d->rx1_delay_s;
	int64_t delay2 = d->joining ? o->region->join_accept_delay2_s : delay1 + 1;
	if (!d->listening)
		return SIM_BAD_TIME;
	if (near(start_us, d->up_end_us + delay1 * 1000000)) {
		uint32_t rx1_hz = 0;
		int dr = lw_region_rx1_dr(o->region, d->up_dr, d->rx1_dr_offset, false);
		const struct lw_modulation *want = dr < 0 ? NULL : lw_region_dr(o->region, LW_DOWN, (unsigned)dr);
		int err = d->joining ? lw_plan_join_rx1_hz(&d->plan, d->up_hz, d->up_dr, &rx1_hz)
				     : lw_plan_rx1_hz(&d->plan, d->up_hz, d->up_dr, &rx1_hz);
		return !err && want && rx1_hz == hz && same_modulation(want, mod) ? SIM_OK : SIM_BAD_RADIO;
	}
	if (near(start_us, d->up_end_us + delay2 * 1000000)) {
		const struct lw_modulation *want = lw_region_dr(o->region, LW_DOWN, d->rx2_dr);
		return want && hz == d->rx2_hz && same_modulation(want, mod) ? SIM_OK : SIM_BAD_RADIO;
	}
	return SIM_BAD_TIME;
}

static enum sim_verdict hear_join_accept(struct sim_device *d, const struct sim_options *o, struct lw_keycache *kc,
					 struct lw_span encrypted, uint8_t mhdr)
{
	uint8_t plain[1 + LW_JOIN_ACCEPT_MAX] = {mhdr};
	if (lw_cipher_join_accept_decrypt(kc, &d->nwk_key, encrypted.p, encrypted.n, plain + 1))
		return SIM_MALFORMED;
	struct lw_join_accept ja;
	size_t n = encrypted.n - LW_MIC_LEN;
	struct lw_mic mic, want;
	memcpy(mic.b, plain + 1 + n, LW_MIC_LEN);
	if (lw_join_accept_parse(lw_span(plain + 1, n), &ja))
		return SIM_MALFORMED;
	bool v11 = d->v11 && ja.dl_settings.opt_neg;
	if (v11) {
		struct lw_key js_int, js_enc;
		lw_keys_js(kc, &d->nwk_key, d->dev_eui, &js_int, &js_enc);
		want = lw_mic_join_accept_11(kc, &js_int, LW_JOIN_REQ_JOIN, d->join_eui, d->dev_nonce,
					     lw_span(plain, 1 + n));
	} else {
		want = lw_mic_plain(kc, &d->nwk_key, lw_span(plain, 1 + n));
	}
	if (!lw_mic_eq(mic, want))
		return SIM_BAD_MIC;
	if (v11)
		lw_keys_session_11(kc, &d->nwk_key, &d->app_key, ja.join_nonce, d->join_eui, d->dev_nonce, &d->keys);
	else
		lw_keys_session_10(kc, &d->nwk_key, ja.join_nonce, ja.netid, d->dev_nonce, &d->keys);
	plan_init(d, o);
	if (ja.has_cflist) {
		struct lw_cflist list;
		if (lw_cflist_parse(ja.cflist, &list) == 0 && list.type == LW_CFLIST_FREQUENCIES)
			for (size_t i = 0; i < LW_CFLIST_FREQS; i++)
				if (list.freq_hz[i])
					lw_plan_add(&d->plan, list.freq_hz[i], o->region->user_min_dr,
						    o->region->user_max_dr);
	}
	d->devaddr = ja.devaddr;
	d->rx1_delay_s = ja.rx_delay ? ja.rx_delay : 1;
	d->rx1_dr_offset = ja.dl_settings.rx1_dr_offset;
	d->rx2_dr = ja.dl_settings.rx2_dr;
	d->rx2_hz = o->region->rx2_hz;
	d->joined = d->ever_joined = true;
	d->joins++;
	d->rekey_pending = v11;
	d->f_cnt_up = d->n_f_cnt_down = d->a_f_cnt_down = 0;
	d->n_sent = 0;
	d->sent_base = 0;
	d->n_answers = 0;
	d->ack_due = false;
	d->listening = d->joining = false;
	return SIM_OK;
}

/* The answer to one request; obedient. */
static void obey(struct sim_device *d, const struct lw_mac_cmd *c)
{
	struct lw_mac_cmd a = {.cid = c->cid, .dir = LW_UP};
	switch (c->cid) {
	case LW_CID_REKEY:
		d->rekey_pending = false;
		return;
	case LW_CID_LINK_ADR:
		a.u.link_adr_ans.ch_mask_ack = a.u.link_adr_ans.dr_ack = a.u.link_adr_ans.power_ack = true;
		if (c->u.link_adr_req.dr != 15)
			d->dr = c->u.link_adr_req.dr;
		break;
	case LW_CID_RX_PARAM_SETUP:
		a.u.rx_param_setup_ans.channel_ack = a.u.rx_param_setup_ans.rx2_dr_ack =
			a.u.rx_param_setup_ans.rx1_dr_offset_ack = true;
		d->rx2_hz = c->u.rx_param_setup_req.rx2_hz;
		d->rx2_dr = c->u.rx_param_setup_req.rx2_dr;
		d->rx1_dr_offset = c->u.rx_param_setup_req.rx1_dr_offset;
		break;
	case LW_CID_RX_TIMING_SETUP:
		d->rx1_delay_s = c->u.rx_timing_setup_req.delay_s ? c->u.rx_timing_setup_req.delay_s : 1;
		break;
	case LW_CID_DEV_STATUS:
		a.u.dev_status_ans.battery = 200;
		a.u.dev_status_ans.margin_db = 7;
		break;
	case LW_CID_NEW_CHANNEL:
		a.u.new_channel_ans.freq_ok = a.u.new_channel_ans.dr_ok = true;
		if (c->u.new_channel_req.freq_hz)
			lw_plan_add(&d->plan, c->u.new_channel_req.freq_hz, c->u.new_channel_req.min_dr,
				    c->u.new_channel_req.max_dr);
		break;
	default:
		if (lw_mac_cmd_len(c->cid, LW_UP) != 0)
			return; /* nothing to answer, or an answer with values that this device has no opinion on */
		if (c->cid == LW_CID_LINK_CHECK || c->cid == LW_CID_DEVICE_TIME)
			return;
	}
	lw_mac_append(&a, d->answers, &d->n_answers, sizeof(d->answers));
}

static void hear_commands(struct sim_device *d, const struct sim_options *o, struct lw_span commands)
{
	struct lw_mac_iter it;
	struct lw_mac_cmd cmd;
	lw_mac_iter_init(&it, LW_DOWN, commands);
	while (!o->deaf && lw_mac_iter_next(&it, &cmd) > 0)
		obey(d, &cmd);
}

static enum sim_verdict hear_data(struct sim_device *d, const struct sim_options *o, struct lw_keycache *kc,
				  const struct lw_phy *phy, bool *acked)
{
	const struct lw_data_frame *f = &phy->u.data;
	bool app = d->v11 && f->fport > 0;
	uint32_t *next = app ? &d->a_f_cnt_down : &d->n_f_cnt_down;
	uint32_t f_cnt = lw_fcnt_full(*next, f->fcnt);
	if (f_cnt - *next > 16384 && *next) {
		uint32_t nearest = lw_fcnt_nearest(*next ? *next - 1 : 0, f->fcnt);
		if (nearest < *next)
			return SIM_FCNT_REPEATED;
	}
	struct lw_mic want;
	if (d->v11)
		want = lw_mic_data_down_11(kc, &d->keys.s_nwk_s_int, f->fctrl.ack ? (uint16_t)(d->f_cnt_up - 1) : 0,
					   d->devaddr, f_cnt, phy->msg);
	else
		want = lw_mic_data_10(kc, &d->keys.f_nwk_s_int, LW_DOWN, d->devaddr, f_cnt, phy->msg);
	if (!lw_mic_eq(want, phy->mic))
		return SIM_BAD_MIC;
	*next = f_cnt + 1;
	uint8_t buf[LW_PHY_MAX];
	if (f->fopts.n) {
		memcpy(buf, f->fopts.p, f->fopts.n);
		if (d->v11)
			lw_cipher_fopts(kc, &d->keys.nwk_s_enc, LW_DOWN, app ? LW_FOPTS_AFCNT_DOWN : LW_FOPTS_FCNT,
					d->devaddr, f_cnt, buf, f->fopts.n, buf);
		hear_commands(d, o, lw_span(buf, f->fopts.n));
	}
	if (f->fport == 0) {
		lw_cipher_frm(kc, &d->keys.nwk_s_enc, LW_DOWN, d->devaddr, f_cnt, f->frm.p, f->frm.n, buf);
		hear_commands(d, o, lw_span(buf, f->frm.n));
	}
	if (lw_mtype_is_confirmed(phy->mtype)) {
		d->ack_due = true;
		d->conf_f_cnt = (uint16_t)f_cnt;
	}
	*acked = f->fctrl.ack && d->awaits_ack;
	if (*acked)
		d->awaits_ack = false;
	d->listening = false;
	d->got_downlink = true;
	return SIM_OK;
}

enum sim_verdict sim_device_hear(struct sim_device *d, const struct sim_options *o, struct lw_keycache *kc,
				 int64_t start_us, uint32_t hz, const struct lw_modulation *mod, struct lw_span bytes,
				 bool *acked)
{
	struct lw_phy phy;
	*acked = false;
	if (lw_phy_parse(bytes, &phy))
		return SIM_MALFORMED;
	bool is_join = phy.mtype == LW_MTYPE_JOIN_ACCEPT;
	if (is_join != d->joining)
		return SIM_NOT_MINE;
	enum sim_verdict v = window(d, o, start_us, hz, mod);
	if (is_join)
		return v != SIM_OK ? v : hear_join_accept(d, o, kc, phy.u.encrypted, phy.mhdr);
	if (!lw_mtype_is_data_down(phy.mtype) || !lw_devaddr_eq(phy.u.data.devaddr, d->devaddr))
		return SIM_NOT_MINE;
	return v != SIM_OK ? v : hear_data(d, o, kc, &phy, acked);
}
