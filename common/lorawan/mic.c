/* Message integrity codes. */
#include "common/lorawan/mic.h"

#define BLOCK 16

/* B0 of either version; conf_fcnt, tx_dr and tx_ch are 0 where the version or direction has none. */
static void make_block(uint8_t b[BLOCK], uint16_t conf_fcnt, uint8_t tx_dr, uint8_t tx_ch, enum lw_dir dir,
		       struct lw_devaddr devaddr, uint32_t fcnt, size_t len)
{
	b[0] = 0x49;
	lw_put_le16(b + 1, conf_fcnt);
	b[3] = tx_dr;
	b[4] = tx_ch;
	b[5] = (uint8_t)dir;
	lw_put_le32(b + 6, devaddr.v);
	lw_put_le32(b + 10, fcnt);
	b[14] = 0;
	b[15] = (uint8_t)len;
}

static struct lw_mic first_four(const uint8_t cmac[BLOCK])
{
	struct lw_mic m;
	memcpy(m.b, cmac, sizeof m.b);
	return m;
}

static void cmac_of(struct lw_keycache *kc, const struct lw_key *key, const uint8_t *head, size_t n_head,
		    struct lw_span msg, uint8_t out[BLOCK])
{
	struct lw_span parts[2] = {lw_span(head, n_head), msg};
	lw_aes_cmac(lw_keycache_get(kc, key), parts, 2, out);
}

struct lw_mic lw_mic_data_10(struct lw_keycache *kc, const struct lw_key *nwk_s_key, enum lw_dir dir,
			     struct lw_devaddr devaddr, uint32_t fcnt, struct lw_span msg)
{
	uint8_t b0[BLOCK];
	uint8_t cmac[BLOCK];
	make_block(b0, 0, 0, 0, dir, devaddr, fcnt, msg.n);
	cmac_of(kc, nwk_s_key, b0, sizeof b0, msg, cmac);
	return first_four(cmac);
}

struct lw_mic lw_mic_data_up_11(struct lw_keycache *kc, const struct lw_key *f_nwk_s_int,
				const struct lw_key *s_nwk_s_int, const struct lw_mic_up_11 *p,
				struct lw_devaddr devaddr, uint32_t fcnt, struct lw_span msg)
{
	uint8_t block[BLOCK];
	uint8_t cmac_f[BLOCK];
	uint8_t cmac_s[BLOCK];
	make_block(block, 0, 0, 0, LW_UP, devaddr, fcnt, msg.n);
	cmac_of(kc, f_nwk_s_int, block, sizeof block, msg, cmac_f);
	make_block(block, p->conf_fcnt, p->tx_dr, p->tx_ch, LW_UP, devaddr, fcnt, msg.n);
	cmac_of(kc, s_nwk_s_int, block, sizeof block, msg, cmac_s);
	return (struct lw_mic){{cmac_s[0], cmac_s[1], cmac_f[0], cmac_f[1]}};
}

bool lw_mic_up_11_check_f(struct lw_keycache *kc, const struct lw_key *f_nwk_s_int, struct lw_devaddr devaddr,
			  uint32_t fcnt, struct lw_span msg, struct lw_mic mic)
{
	struct lw_mic f = lw_mic_data_10(kc, f_nwk_s_int, LW_UP, devaddr, fcnt, msg);
	return lw_ct_equal(f.b, mic.b + 2, 2);
}

struct lw_mic lw_mic_data_down_11(struct lw_keycache *kc, const struct lw_key *s_nwk_s_int, uint16_t conf_fcnt,
				  struct lw_devaddr devaddr, uint32_t fcnt, struct lw_span msg)
{
	uint8_t b0[BLOCK];
	uint8_t cmac[BLOCK];
	make_block(b0, conf_fcnt, 0, 0, LW_DOWN, devaddr, fcnt, msg.n);
	cmac_of(kc, s_nwk_s_int, b0, sizeof b0, msg, cmac);
	return first_four(cmac);
}

struct lw_mic lw_mic_plain(struct lw_keycache *kc, const struct lw_key *key, struct lw_span msg)
{
	uint8_t cmac[BLOCK];
	lw_aes_cmac(lw_keycache_get(kc, key), &msg, 1, cmac);
	return first_four(cmac);
}

struct lw_mic lw_mic_join_accept_11(struct lw_keycache *kc, const struct lw_key *js_int_key, enum lw_join_req_type type,
				    struct lw_join_eui join_eui, uint16_t dev_nonce, struct lw_span msg)
{
	uint8_t head[11];
	uint8_t cmac[BLOCK];
	head[0] = (uint8_t)type;
	lw_join_eui_put_le(join_eui, head + 1);
	lw_put_le16(head + 9, dev_nonce);
	cmac_of(kc, js_int_key, head, sizeof head, msg, cmac);
	return first_four(cmac);
}

bool lw_mic_eq(struct lw_mic a, struct lw_mic b)
{
	return lw_ct_equal(a.b, b.b, sizeof a.b);
}
