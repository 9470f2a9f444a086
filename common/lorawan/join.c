/* The body of a join-accept. */
#include "common/lorawan/join.h"

#include "common/base/err.h"

#define BODY_MIN 12

uint8_t lw_dl_settings_encode(struct lw_dl_settings s)
{
	return (uint8_t)((s.opt_neg ? 0x80 : 0) | (s.rx1_dr_offset & 7) << 4 | (s.rx2_dr & 15));
}

struct lw_dl_settings lw_dl_settings_parse(uint8_t octet)
{
	return (struct lw_dl_settings){
		.opt_neg = octet & 0x80,
		.rx1_dr_offset = (octet >> 4) & 7,
		.rx2_dr = octet & 15,
	};
}

int lw_join_accept_parse(struct lw_span body, struct lw_join_accept *out)
{
	*out = (struct lw_join_accept){0};
	if (body.n != BODY_MIN && body.n != LW_JOIN_ACCEPT_BODY_MAX)
		return body.n > LW_JOIN_ACCEPT_BODY_MAX ? LW_EBIG : LW_ETRUNC;
	out->join_nonce = lw_get_le24(body.p);
	out->netid.v = lw_get_le24(body.p + 3);
	out->devaddr.v = lw_get_le32(body.p + 6);
	out->dl_settings = lw_dl_settings_parse(body.p[10]);
	out->rx_delay = body.p[11] & 15;
	out->has_cflist = body.n == LW_JOIN_ACCEPT_BODY_MAX;
	if (out->has_cflist)
		memcpy(out->cflist, body.p + BODY_MIN, LW_CFLIST_LEN);
	return 0;
}

int lw_join_accept_encode(const struct lw_join_accept *ja, uint8_t *out, size_t cap)
{
	int n = ja->has_cflist ? LW_JOIN_ACCEPT_BODY_MAX : BODY_MIN;
	if (ja->join_nonce > 0xFFFFFF || ja->netid.v > 0xFFFFFF || ja->rx_delay > 15 ||
	    ja->dl_settings.rx1_dr_offset > 7 || ja->dl_settings.rx2_dr > 15)
		return LW_EINVAL;
	if (cap < (size_t)n)
		return LW_EBIG;
	lw_put_le24(out, ja->join_nonce);
	lw_put_le24(out + 3, ja->netid.v);
	lw_put_le32(out + 6, ja->devaddr.v);
	out[10] = lw_dl_settings_encode(ja->dl_settings);
	out[11] = ja->rx_delay;
	if (ja->has_cflist)
		memcpy(out + BODY_MIN, ja->cflist, LW_CFLIST_LEN);
	return n;
}
