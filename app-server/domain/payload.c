#include "app-server/domain/payload.h"

#include "common/base/bug.h"
#include "common/base/err.h"
#include "common/lorawan/cipher.h"

#define NONCE 16
#define TAG 8

void as_payload_decrypt_up(struct lw_keycache *keys, const struct lw_key *app_s_key, struct lw_devaddr addr,
			   uint32_t f_cnt, struct lw_span in, uint8_t *out)
{
	BUG_ON(in.n > AS_PAYLOAD_MAX);
	lw_cipher_frm(keys, app_s_key, LW_UP, addr, f_cnt, in.p, in.n, out);
}

void as_payload_encrypt_down(struct lw_keycache *keys, const struct lw_key *app_s_key, struct lw_devaddr addr,
			     uint32_t first, unsigned window, struct lw_span in, uint8_t *out)
{
	BUG_ON(in.n > AS_PAYLOAD_MAX);
	for (unsigned i = 0; i < window; i++)
		lw_cipher_frm(keys, app_s_key, LW_DOWN, addr, first + i, in.p, in.n, out + i * in.n);
}

/* Two keys from one: encryption and authentication never share a key. */
static struct lw_key derive(struct lw_keycache *keys, const struct lw_key *key, uint8_t purpose)
{
	uint8_t block[LW_AES_BLOCK] = {purpose};
	struct lw_key out;
	lw_aes_encrypt(lw_keycache_get(keys, key), block, out.b, 1);
	return out;
}

static void crypt(struct lw_keycache *keys, const struct lw_key *key, const uint8_t nonce[NONCE], const uint8_t *in,
		  size_t n, uint8_t *out)
{
	struct lw_key k = derive(keys, key, 1);
	struct lw_aes *aes = lw_keycache_get(keys, &k);
	for (size_t at = 0; at < n; at += LW_AES_BLOCK) {
		uint8_t block[LW_AES_BLOCK];
		memcpy(block, nonce, NONCE);
		/* The nonce is random, so adding the counter to its end cannot meet another one's in practice. */
		lw_put_be32(block + 12, lw_get_be32(block + 12) + (uint32_t)(at / LW_AES_BLOCK));
		lw_aes_encrypt(aes, block, block, 1);
		for (size_t i = 0; i < LW_AES_BLOCK && at + i < n; i++)
			out[at + i] = in[at + i] ^ block[i];
	}
	lw_wipe(&k, sizeof(k));
}

static void tag_of(struct lw_keycache *keys, const struct lw_key *key, const char *id, const uint8_t *p, size_t n,
		   uint8_t out[LW_AES_BLOCK])
{
	struct lw_key k = derive(keys, key, 2);
	const struct lw_span parts[] = {lw_span(p, n), lw_span_str(id)};
	lw_aes_cmac(lw_keycache_get(keys, &k), parts, 2, out);
	lw_wipe(&k, sizeof(k));
}

size_t as_payload_seal(struct lw_keycache *keys, const struct lw_key *key, const char *id, const uint8_t nonce[16],
		       struct lw_span in, uint8_t *out)
{
	uint8_t tag[LW_AES_BLOCK];
	memcpy(out, nonce, NONCE);
	crypt(keys, key, nonce, in.p, in.n, out + NONCE);
	tag_of(keys, key, id, out, NONCE + in.n, tag);
	memcpy(out + NONCE + in.n, tag, TAG);
	return NONCE + in.n + TAG;
}

int as_payload_unseal(struct lw_keycache *keys, const struct lw_key *key, const char *id, struct lw_span sealed,
		      uint8_t *out)
{
	uint8_t tag[LW_AES_BLOCK];
	if (sealed.n < AS_SEAL_OVERHEAD || sealed.n > AS_PAYLOAD_MAX + AS_SEAL_OVERHEAD)
		return LW_EINVAL;
	size_t n = sealed.n - AS_SEAL_OVERHEAD;
	tag_of(keys, key, id, sealed.p, NONCE + n, tag);
	if (!lw_ct_equal(tag, sealed.p + NONCE + n, TAG))
		return LW_EAUTH;
	crypt(keys, key, sealed.p, sealed.p + NONCE, n, out);
	return (int)n;
}
