#include "device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/hex.h"
#include "common/lorawan/cipher.h"
#include "common/lorawan/mic.h"

static size_t from_hex(const char *hex, uint8_t *out)
{
	int n = hex == NULL ? 0 : lw_hex_decode(hex, strlen(hex), out, LW_PHY_MAX);
	assert_true(n >= 0);
	return (size_t)n;
}

static void to_hex(struct lw_span s, char *out)
{
	lw_hex_encode(s.p, s.n, out);
}

void device_frame_join(struct device *d, struct frame *out)
{
	struct lw_phy phy = {.mtype = LW_MTYPE_JOIN_REQUEST};
	phy.u.join_request.join_eui = d->join_eui;
	phy.u.join_request.dev_eui = d->dev_eui;
	phy.u.join_request.dev_nonce = d->dev_nonce;
	d->asked = LW_JOIN_REQ_JOIN;
	int n = lw_phy_encode(&phy, out->b, sizeof(out->b));
	assert_true(n > 0);
	out->n = (size_t)n;
	lw_phy_set_mic(out->b, out->n,
		       lw_mic_plain(d->kc, d->is_11 ? &d->nwk_key : &d->app_key, lw_span(out->b, out->n - 4)));
}

void device_frame_rejoin(struct device *d, uint8_t type, uint16_t rj_count, struct frame *out)
{
	struct lw_phy phy = {.mtype = LW_MTYPE_REJOIN_REQUEST};
	struct lw_key js_int, js_enc;
	phy.u.rejoin.type = type;
	phy.u.rejoin.dev_eui = d->dev_eui;
	phy.u.rejoin.join_eui = d->join_eui;
	phy.u.rejoin.rj_count = rj_count;
	d->dev_nonce = rj_count;
	d->asked = (enum lw_join_req_type)type;
	int n = lw_phy_encode(&phy, out->b, sizeof(out->b));
	assert_true(n > 0);
	out->n = (size_t)n;
	lw_keys_js(d->kc, &d->nwk_key, d->dev_eui, &js_int, &js_enc);
	lw_phy_set_mic(out->b, out->n,
		       lw_mic_plain(d->kc, type == 1 ? &js_int : &d->keys.s_nwk_s_int, lw_span(out->b, out->n - 4)));
}

void device_accept(struct device *d, const uint8_t *phy, size_t n, struct lw_join_accept *out)
{
	uint8_t plain[LW_JOIN_ACCEPT_MAX];
	const struct lw_key *key = d->is_11 ? &d->nwk_key : &d->app_key;
	struct lw_key js_int, js_enc;
	assert_true(n == 17 || n == 33);
	plain[0] = phy[0];
	lw_keys_js(d->kc, &d->nwk_key, d->dev_eui, &js_int, &js_enc);
	if (d->asked != LW_JOIN_REQ_JOIN)
		key = &js_enc; /* the answer to a rejoin-request */
	assert_int_equal(lw_cipher_join_accept_decrypt(d->kc, key, phy + 1, n - 1, plain + 1), 0);
	assert_int_equal(lw_join_accept_parse(lw_span(plain + 1, n - 5), out), 0);
	struct lw_mic mic;
	if (out->dl_settings.opt_neg) {
		mic = lw_mic_join_accept_11(d->kc, &js_int, d->asked, d->join_eui, d->dev_nonce, lw_span(plain, n - 4));
		lw_keys_session_11(d->kc, &d->nwk_key, &d->app_key, out->join_nonce, d->join_eui, d->dev_nonce,
				   &d->keys);
	} else {
		mic = lw_mic_plain(d->kc, key, lw_span(plain, n - 4));
		lw_keys_session_10(d->kc, key, out->join_nonce, out->netid, d->dev_nonce, &d->keys);
	}
	assert_memory_equal(mic.b, plain + n - 4, 4);
	d->devaddr = out->devaddr;
	d->f_cnt_up = 0;
	d->conf_f_cnt = 0;
}

static void build(struct device *d, const struct up *up, uint32_t f_cnt, struct frame *out)
{
	uint8_t fopts[LW_PHY_MAX];
	uint8_t data[LW_PHY_MAX];
	struct lw_phy phy = {.mtype = up->confirmed ? LW_MTYPE_CONFIRMED_UP : LW_MTYPE_UNCONFIRMED_UP};
	struct lw_data_frame *f = &phy.u.data;
	f->devaddr = d->devaddr;
	f->fctrl = (struct lw_fctrl){
		.adr = d->adr, .adr_ack_req = d->adr_ack_req, .ack = up->ack, .class_b = d->beacon_locked};
	f->fcnt = (uint16_t)f_cnt;
	f->fopts = lw_span(fopts, from_hex(up->fopts_hex, fopts));
	f->fport = up->f_port;
	f->frm = lw_span(data, from_hex(up->data_hex, data));
	if (f->frm.n > 0)
		lw_cipher_frm(d->kc, up->f_port == 0 ? &d->keys.nwk_s_enc : &d->keys.app_s, LW_UP, d->devaddr, f_cnt,
			      data, f->frm.n, data);
	if (d->is_11 && f->fopts.n > 0)
		lw_cipher_fopts(d->kc, &d->keys.nwk_s_enc, LW_UP, LW_FOPTS_FCNT, d->devaddr, f_cnt, fopts, f->fopts.n,
				fopts);
	int n = lw_phy_encode(&phy, out->b, sizeof(out->b));
	assert_true(n > 0);
	out->n = (size_t)n;
	struct lw_span msg = lw_span(out->b, out->n - 4);
	struct lw_mic mic;
	if (d->is_11) {
		struct lw_mic_up_11 p = {
			.conf_fcnt = up->ack ? (uint16_t)d->conf_f_cnt : 0, .tx_dr = up->dr, .tx_ch = up->channel};
		mic = lw_mic_data_up_11(d->kc, &d->keys.f_nwk_s_int, &d->keys.s_nwk_s_int, &p, d->devaddr, f_cnt, msg);
	} else {
		mic = lw_mic_data_10(d->kc, &d->keys.f_nwk_s_int, LW_UP, d->devaddr, f_cnt, msg);
	}
	if (up->wrong_mic)
		mic.b[0] ^= 0x55;
	lw_phy_set_mic(out->b, out->n, mic);
}

void device_frame_up(struct device *d, const struct up *up, struct frame *out)
{
	build(d, up, d->f_cnt_up++, out);
}

void device_frame_again(struct device *d, const struct up *up, struct frame *out)
{
	build(d, up, d->f_cnt_up - 1, out);
}

void device_hear(struct device *d, const uint8_t *bytes, size_t n, uint32_t f_cnt, uint32_t ack_f_cnt_up,
		 struct heard *out)
{
	struct lw_phy phy;
	uint8_t plain[LW_PHY_MAX];
	memset(out, 0, sizeof(*out));
	assert_int_equal(lw_phy_parse(lw_span(bytes, n), &phy), 0);
	assert_true(lw_mtype_is_data_down(phy.mtype));
	const struct lw_data_frame *f = &phy.u.data;
	assert_int_equal(f->devaddr.v, d->devaddr.v);
	assert_int_equal(f->fcnt, f_cnt & 0xFFFF);
	struct lw_mic mic =
		d->is_11 ? lw_mic_data_down_11(d->kc, &d->keys.s_nwk_s_int, f->fctrl.ack ? (uint16_t)ack_f_cnt_up : 0,
					       d->devaddr, f_cnt, phy.msg)
			 : lw_mic_data_10(d->kc, &d->keys.f_nwk_s_int, LW_DOWN, d->devaddr, f_cnt, phy.msg);
	assert_memory_equal(mic.b, phy.mic.b, 4);
	out->confirmed = phy.mtype == LW_MTYPE_CONFIRMED_DOWN;
	out->ack = f->fctrl.ack;
	out->adr = f->fctrl.adr;
	out->fpending = f->fctrl.fpending;
	out->f_cnt = f_cnt;
	out->f_port = f->fport;
	if (out->confirmed)
		d->conf_f_cnt = f_cnt;
	if (d->is_11 && f->fopts.n > 0)
		lw_cipher_fopts(d->kc, &d->keys.nwk_s_enc, LW_DOWN, f->fport > 0 ? LW_FOPTS_AFCNT_DOWN : LW_FOPTS_FCNT,
				d->devaddr, f_cnt, f->fopts.p, f->fopts.n, plain);
	else if (f->fopts.n > 0)
		memcpy(plain, f->fopts.p, f->fopts.n);
	to_hex(lw_span(plain, f->fopts.n), out->fopts_hex);
	if (f->frm.n > 0)
		lw_cipher_frm(d->kc, f->fport == 0 ? &d->keys.nwk_s_enc : &d->keys.app_s, LW_DOWN, d->devaddr, f_cnt,
			      f->frm.p, f->frm.n, plain);
	to_hex(lw_span(plain, f->frm.n), out->data_hex);
}
