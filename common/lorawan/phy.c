/* PHYPayload: parsing and encoding of every frame type. */
#include "common/lorawan/phy.h"

#include "common/base/err.h"

#define JOIN_REQUEST_LEN 23
#define REJOIN_02_LEN 19
#define REJOIN_1_LEN 24
#define DATA_MIN_LEN 12
#define FHDR_MIN_LEN 7

#define FCTRL_ADR 0x80
#define FCTRL_ADR_ACK_REQ 0x40
#define FCTRL_ACK 0x20
#define FCTRL_BIT4 0x10 /* uplink: class B; downlink: FPending */

static int check_length(size_t n, size_t want)
{
	if (n < want)
		return LW_ETRUNC;
	return n > want ? LW_EBIG : 0;
}

static int parse_join_request(struct lw_span f, struct lw_phy *out)
{
	int rc = check_length(f.n, JOIN_REQUEST_LEN);
	if (rc < 0)
		return rc;
	struct lw_join_request_frame *jr = &out->u.join_request;
	jr->join_eui = lw_join_eui_from_le(f.p + 1);
	jr->dev_eui = lw_dev_eui_from_le(f.p + 9);
	jr->dev_nonce = lw_get_le16(f.p + 17);
	return 0;
}

static int parse_join_accept(struct lw_span f, struct lw_phy *out)
{
	if (f.n < 17)
		return LW_ETRUNC;
	if (f.n > 33)
		return LW_EBIG;
	if (f.n != 17 && f.n != 33)
		return LW_ETRUNC;
	out->u.encrypted = lw_span(f.p + 1, f.n - 1);
	return 0;
}

static int parse_rejoin(struct lw_span f, struct lw_phy *out)
{
	struct lw_rejoin_frame *rj = &out->u.rejoin;
	if (f.n < 2)
		return LW_ETRUNC;
	rj->type = f.p[1];
	if (rj->type > 2)
		return LW_EPROTO;
	int rc = check_length(f.n, rj->type == 1 ? REJOIN_1_LEN : REJOIN_02_LEN);
	if (rc < 0)
		return rc;
	const uint8_t *p = f.p + 2;
	if (rj->type == 1) {
		rj->join_eui = lw_join_eui_from_le(p);
		p += 8;
	} else {
		rj->netid.v = lw_get_le24(p);
		p += 3;
	}
	rj->dev_eui = lw_dev_eui_from_le(p);
	rj->rj_count = lw_get_le16(p + 8);
	return 0;
}

static int parse_data(struct lw_span f, struct lw_phy *out)
{
	if (f.n < DATA_MIN_LEN)
		return LW_ETRUNC;
	struct lw_data_frame *d = &out->u.data;
	bool up = lw_mtype_is_data_up(out->mtype);
	uint8_t fctrl = f.p[5];
	d->devaddr.v = lw_get_le32(f.p + 1);
	d->fctrl.adr = fctrl & FCTRL_ADR;
	d->fctrl.adr_ack_req = up && (fctrl & FCTRL_ADR_ACK_REQ);
	d->fctrl.ack = fctrl & FCTRL_ACK;
	d->fctrl.class_b = up && (fctrl & FCTRL_BIT4);
	d->fctrl.fpending = !up && (fctrl & FCTRL_BIT4);
	d->fcnt = lw_get_le16(f.p + 6);
	size_t n_fopts = fctrl & 0x0F;
	size_t end = f.n - LW_MIC_LEN;
	size_t at = 1 + FHDR_MIN_LEN + n_fopts;
	if (at > end)
		return LW_ETRUNC;
	d->fopts = lw_span(f.p + 1 + FHDR_MIN_LEN, n_fopts);
	d->fport = LW_FPORT_NONE;
	d->frm = lw_span(f.p + end, 0);
	if (at < end) {
		d->fport = f.p[at];
		d->frm = lw_span(f.p + at + 1, end - at - 1);
		if (d->fport == 0 && n_fopts > 0)
			return LW_EPROTO;
	}
	return 0;
}

int lw_phy_parse(struct lw_span f, struct lw_phy *out)
{
	*out = (struct lw_phy){0};
	if (f.n < 1)
		return LW_ETRUNC;
	out->mhdr = f.p[0];
	out->mtype = (enum lw_mtype)(f.p[0] >> 5);
	out->major = f.p[0] & 3;
	if (f.n > LW_PHY_MAX)
		return LW_EBIG;
	if (out->mtype == LW_MTYPE_PROPRIETARY) {
		out->u.proprietary = lw_span(f.p + 1, f.n - 1);
		return 0;
	}
	if (out->major != 0)
		return LW_EUNSUPPORTED;
	if (out->mtype == LW_MTYPE_JOIN_ACCEPT)
		return parse_join_accept(f, out);
	if (f.n < 1 + LW_MIC_LEN)
		return LW_ETRUNC;
	out->msg = lw_span(f.p, f.n - LW_MIC_LEN);
	memcpy(out->mic.b, f.p + f.n - LW_MIC_LEN, LW_MIC_LEN);
	switch (out->mtype) {
	case LW_MTYPE_JOIN_REQUEST:
		return parse_join_request(f, out);
	case LW_MTYPE_REJOIN_REQUEST:
		return parse_rejoin(f, out);
	default:
		return parse_data(f, out);
	}
}

/* Writes to memory of known size; remembers that it did not suffice. */
struct writer {
	uint8_t *p;
	size_t n;
	size_t cap;
};

static uint8_t *take(struct writer *w, size_t n)
{
	static const size_t failed = SIZE_MAX;
	if (w->n == failed || n > w->cap - w->n) {
		w->n = failed;
		return NULL;
	}
	w->n += n;
	return w->p + w->n - n;
}

static void put(struct writer *w, const void *src, size_t n)
{
	uint8_t *p = take(w, n);
	if (p && n)
		memcpy(p, src, n);
}

static void put_u8(struct writer *w, uint8_t v)
{
	put(w, &v, 1);
}

static void put_u16(struct writer *w, uint16_t v)
{
	uint8_t b[2];
	lw_put_le16(b, v);
	put(w, b, sizeof b);
}

static int encode_data(const struct lw_phy *phy, struct writer *w)
{
	const struct lw_data_frame *d = &phy->u.data;
	bool up = lw_mtype_is_data_up(phy->mtype);
	if (d->fopts.n > LW_FOPTS_MAX || d->fport > 255 || d->fport < LW_FPORT_NONE)
		return LW_EINVAL;
	if ((d->fport == LW_FPORT_NONE && d->frm.n > 0) || (d->fport == 0 && d->fopts.n > 0))
		return LW_EINVAL;
	uint8_t b[4];
	lw_put_le32(b, d->devaddr.v);
	put(w, b, sizeof b);
	unsigned fctrl = (unsigned)d->fopts.n;
	fctrl |= d->fctrl.adr ? FCTRL_ADR : 0;
	fctrl |= up && d->fctrl.adr_ack_req ? FCTRL_ADR_ACK_REQ : 0;
	fctrl |= d->fctrl.ack ? FCTRL_ACK : 0;
	fctrl |= (up ? d->fctrl.class_b : d->fctrl.fpending) ? FCTRL_BIT4 : 0;
	put_u8(w, (uint8_t)fctrl);
	put_u16(w, d->fcnt);
	put(w, d->fopts.p, d->fopts.n);
	if (d->fport != LW_FPORT_NONE) {
		put_u8(w, (uint8_t)d->fport);
		put(w, d->frm.p, d->frm.n);
	}
	return 0;
}

static void encode_join_request(const struct lw_join_request_frame *jr, struct writer *w)
{
	uint8_t b[16];
	lw_join_eui_put_le(jr->join_eui, b);
	lw_dev_eui_put_le(jr->dev_eui, b + 8);
	put(w, b, sizeof b);
	put_u16(w, jr->dev_nonce);
}

static int encode_rejoin(const struct lw_rejoin_frame *rj, struct writer *w)
{
	uint8_t b[8];
	if (rj->type > 2 || rj->netid.v > 0xFFFFFF)
		return LW_EINVAL;
	put_u8(w, rj->type);
	if (rj->type == 1) {
		lw_join_eui_put_le(rj->join_eui, b);
		put(w, b, 8);
	} else {
		lw_put_le24(b, rj->netid.v);
		put(w, b, 3);
	}
	lw_dev_eui_put_le(rj->dev_eui, b);
	put(w, b, 8);
	put_u16(w, rj->rj_count);
	return 0;
}

int lw_phy_encode(const struct lw_phy *phy, uint8_t *out, size_t cap)
{
	struct writer w = {.p = out, .cap = cap < LW_PHY_MAX ? cap : LW_PHY_MAX};
	if ((unsigned)phy->mtype > 7 || phy->major > 3)
		return LW_EINVAL;
	put_u8(&w, (uint8_t)((unsigned)phy->mtype << 5 | phy->major));
	int rc = 0;
	bool has_mic = true;
	switch (phy->mtype) {
	case LW_MTYPE_JOIN_REQUEST:
		encode_join_request(&phy->u.join_request, &w);
		break;
	case LW_MTYPE_REJOIN_REQUEST:
		rc = encode_rejoin(&phy->u.rejoin, &w);
		break;
	case LW_MTYPE_JOIN_ACCEPT:
		has_mic = false;
		if (phy->u.encrypted.n != 16 && phy->u.encrypted.n != 32)
			return LW_EINVAL;
		put(&w, phy->u.encrypted.p, phy->u.encrypted.n);
		break;
	case LW_MTYPE_PROPRIETARY:
		has_mic = false;
		put(&w, phy->u.proprietary.p, phy->u.proprietary.n);
		break;
	default:
		rc = encode_data(phy, &w);
		break;
	}
	if (rc < 0)
		return rc;
	if (has_mic)
		put(&w, phy->mic.b, LW_MIC_LEN);
	return w.n == SIZE_MAX ? LW_EBIG : (int)w.n;
}

void lw_phy_set_mic(uint8_t *frame, size_t n, struct lw_mic mic)
{
	memcpy(frame + n - LW_MIC_LEN, mic.b, LW_MIC_LEN);
}

uint32_t lw_fcnt_full(uint32_t next, uint16_t fcnt16)
{
	uint32_t v = (next & 0xFFFF0000U) | fcnt16;
	return v < next ? v + 0x10000U : v;
}

uint32_t lw_fcnt_nearest(uint32_t last, uint16_t fcnt16)
{
	int32_t diff = (int16_t)(uint16_t)(fcnt16 - (uint16_t)last);
	int64_t v = (int64_t)last + diff;
	if (v < 0)
		v += 0x10000;
	else if (v > UINT32_MAX)
		v -= 0x10000;
	return (uint32_t)v;
}
