/* Encryption of payloads, FOpts and join-accepts. */
#include "common/lorawan/cipher.h"

#include "common/base/bug.h"
#include "common/base/err.h"

#define BLOCK 16
#define BLOCKS_MAX 16

static void make_a(uint8_t a[BLOCK], uint8_t counter_kind, enum lw_dir dir, struct lw_devaddr devaddr, uint32_t fcnt,
		   uint8_t i)
{
	memset(a, 0, BLOCK);
	a[0] = 0x01;
	a[4] = counter_kind;
	a[5] = (uint8_t)dir;
	lw_put_le32(a + 6, devaddr.v);
	lw_put_le32(a + 10, fcnt);
	a[15] = i;
}

void lw_cipher_frm(struct lw_keycache *kc, const struct lw_key *key, enum lw_dir dir, struct lw_devaddr devaddr,
		   uint32_t fcnt, const uint8_t *in, size_t n, uint8_t *out)
{
	uint8_t s[BLOCKS_MAX * BLOCK];
	size_t blocks = (n + BLOCK - 1) / BLOCK;
	BUG_ON(blocks > BLOCKS_MAX);
	for (size_t i = 0; i < blocks; i++)
		make_a(s + i * BLOCK, 0, dir, devaddr, fcnt, (uint8_t)(i + 1));
	lw_aes_encrypt(lw_keycache_get(kc, key), s, s, blocks);
	for (size_t i = 0; i < n; i++)
		out[i] = in[i] ^ s[i];
}

void lw_cipher_fopts(struct lw_keycache *kc, const struct lw_key *nwk_s_enc, enum lw_dir dir,
		     enum lw_fopts_counter which, struct lw_devaddr devaddr, uint32_t fcnt, const uint8_t *in, size_t n,
		     uint8_t *out)
{
	uint8_t s[BLOCK];
	BUG_ON(n > 15);
	make_a(s, (uint8_t)which, dir, devaddr, fcnt, 1);
	lw_aes_encrypt(lw_keycache_get(kc, nwk_s_enc), s, s, 1);
	for (size_t i = 0; i < n; i++)
		out[i] = in[i] ^ s[i];
}

int lw_cipher_join_accept_encrypt(struct lw_keycache *kc, const struct lw_key *key, const uint8_t *in, size_t n,
				  uint8_t *out)
{
	if (n != BLOCK && n != 2 * BLOCK)
		return LW_EINVAL;
	lw_aes_decrypt(lw_keycache_get(kc, key), in, out, n / BLOCK);
	return 0;
}

int lw_cipher_join_accept_decrypt(struct lw_keycache *kc, const struct lw_key *key, const uint8_t *in, size_t n,
				  uint8_t *out)
{
	if (n != BLOCK && n != 2 * BLOCK)
		return LW_EINVAL;
	lw_aes_encrypt(lw_keycache_get(kc, key), in, out, n / BLOCK);
	return 0;
}
