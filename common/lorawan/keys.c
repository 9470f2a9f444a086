/* Derivation of session and lifetime keys: each is one encrypted block whose first byte says which key it is. */
#include "common/lorawan/keys.h"

#include "common/base/bytes.h"

enum {
	KEY_F_NWK_S_INT = 0x01, /* also NwkSKey of 1.0.x */
	KEY_APP_S = 0x02,
	KEY_S_NWK_S_INT = 0x03,
	KEY_NWK_S_ENC = 0x04,
	KEY_JS_ENC = 0x05,
	KEY_JS_INT = 0x06,
};

static void derive(struct lw_keycache *kc, const struct lw_key *root, uint8_t block[LW_AES_BLOCK], uint8_t kind,
		   struct lw_key *out)
{
	block[0] = kind;
	lw_aes_encrypt(lw_keycache_get(kc, root), block, out->b, 1);
}

void lw_keys_session_10(struct lw_keycache *kc, const struct lw_key *app_key, uint32_t join_nonce,
			struct lw_netid netid, uint16_t dev_nonce, struct lw_session_keys *out)
{
	uint8_t b[LW_AES_BLOCK] = {0};
	lw_put_le24(b + 1, join_nonce);
	lw_put_le24(b + 4, netid.v);
	lw_put_le16(b + 7, dev_nonce);
	derive(kc, app_key, b, KEY_F_NWK_S_INT, &out->f_nwk_s_int);
	out->s_nwk_s_int = out->f_nwk_s_int;
	out->nwk_s_enc = out->f_nwk_s_int;
	derive(kc, app_key, b, KEY_APP_S, &out->app_s);
}

void lw_keys_session_11(struct lw_keycache *kc, const struct lw_key *nwk_key, const struct lw_key *app_key,
			uint32_t join_nonce, struct lw_join_eui join_eui, uint16_t dev_nonce,
			struct lw_session_keys *out)
{
	uint8_t b[LW_AES_BLOCK] = {0};
	lw_put_le24(b + 1, join_nonce);
	lw_join_eui_put_le(join_eui, b + 4);
	lw_put_le16(b + 12, dev_nonce);
	derive(kc, nwk_key, b, KEY_F_NWK_S_INT, &out->f_nwk_s_int);
	derive(kc, nwk_key, b, KEY_S_NWK_S_INT, &out->s_nwk_s_int);
	derive(kc, nwk_key, b, KEY_NWK_S_ENC, &out->nwk_s_enc);
	derive(kc, app_key, b, KEY_APP_S, &out->app_s);
}

void lw_keys_js(struct lw_keycache *kc, const struct lw_key *nwk_key, struct lw_dev_eui dev_eui, struct lw_key *js_int,
		struct lw_key *js_enc)
{
	uint8_t b[LW_AES_BLOCK] = {0};
	lw_dev_eui_put_le(dev_eui, b + 1);
	derive(kc, nwk_key, b, KEY_JS_INT, js_int);
	derive(kc, nwk_key, b, KEY_JS_ENC, js_enc);
}
