/* AES-128 over OpenSSL's EVP interface, CMAC on top of it, and the cache of schedules. The cipher is fetched once per
 * cache; afterwards a block costs one EVP call and no allocation. */
#include "common/crypto/aes.h"

#include <stdlib.h>

#include <openssl/evp.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"

struct lw_aes {
	EVP_CIPHER_CTX *enc;
	EVP_CIPHER_CTX *dec; /* made when first needed: few keys decrypt */
	EVP_CIPHER *cipher;  /* borrowed from the cache, or owned by a single schedule */
	struct lw_key key;
	uint8_t k1[LW_AES_BLOCK]; /* CMAC subkeys */
	uint8_t k2[LW_AES_BLOCK];
	bool has_subkeys;
	bool dec_stale; /* `dec` holds the schedule of an earlier key */
};

struct lw_keycache {
	EVP_CIPHER *cipher;
	struct lw_aes *slots; /* enc NULL: never used */
	size_t mask;
	uint64_t hits;
	uint64_t misses;
};

static EVP_CIPHER *fetch_cipher(void)
{
	EVP_CIPHER *c = EVP_CIPHER_fetch(NULL, "AES-128-ECB", NULL);
	BUG_ON(!c);
	return c;
}

static EVP_CIPHER_CTX *new_context(void)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	BUG_ON(!ctx);
	return ctx;
}

/* Puts `key` into a schedule whose cipher is set; its contexts may hold another key. */
static void set_key(struct lw_aes *aes, const struct lw_key *key)
{
	/* A context that knows its cipher is only given the new key: a quarter of the cost. */
	const EVP_CIPHER *cipher = aes->enc ? NULL : aes->cipher;
	if (!aes->enc)
		aes->enc = new_context();
	BUG_ON(!EVP_EncryptInit_ex2(aes->enc, cipher, key->b, NULL, NULL));
	EVP_CIPHER_CTX_set_padding(aes->enc, 0);
	aes->key = *key;
	aes->has_subkeys = false;
	aes->dec_stale = true;
}

static void drop_key(struct lw_aes *aes)
{
	EVP_CIPHER_CTX_free(aes->enc);
	EVP_CIPHER_CTX_free(aes->dec);
	lw_wipe(aes, sizeof *aes);
}

struct lw_aes *lw_aes_new(const struct lw_key *key)
{
	struct lw_aes *aes = lw_xcalloc(1, sizeof *aes);
	aes->cipher = fetch_cipher();
	set_key(aes, key);
	return aes;
}

void lw_aes_free(struct lw_aes *aes)
{
	if (!aes)
		return;
	EVP_CIPHER_free(aes->cipher);
	drop_key(aes);
	free(aes);
}

void lw_aes_encrypt(struct lw_aes *aes, const uint8_t *in, uint8_t *out, size_t nblocks)
{
	BUG_ON(nblocks > INT32_MAX / LW_AES_BLOCK);
	int n = 0;
	if (nblocks)
		BUG_ON(!EVP_EncryptUpdate(aes->enc, out, &n, in, (int)(nblocks * LW_AES_BLOCK)) ||
		       (size_t)n != nblocks * LW_AES_BLOCK);
}

void lw_aes_decrypt(struct lw_aes *aes, const uint8_t *in, uint8_t *out, size_t nblocks)
{
	BUG_ON(nblocks > INT32_MAX / LW_AES_BLOCK);
	if (!aes->dec || aes->dec_stale) {
		const EVP_CIPHER *cipher = aes->dec ? NULL : aes->cipher;
		if (!aes->dec)
			aes->dec = new_context();
		BUG_ON(!EVP_DecryptInit_ex2(aes->dec, cipher, aes->key.b, NULL, NULL));
		EVP_CIPHER_CTX_set_padding(aes->dec, 0);
		aes->dec_stale = false;
	}
	int n = 0;
	if (nblocks)
		BUG_ON(!EVP_DecryptUpdate(aes->dec, out, &n, in, (int)(nblocks * LW_AES_BLOCK)) ||
		       (size_t)n != nblocks * LW_AES_BLOCK);
}

/* Doubling in GF(2^128) as RFC 4493 §2.3 has it. */
static void gf_double(const uint8_t in[LW_AES_BLOCK], uint8_t out[LW_AES_BLOCK])
{
	uint64_t hi = lw_get_be64(in);
	uint64_t lo = lw_get_be64(in + 8);
	uint64_t reduce = (0 - (hi >> 63)) & 0x87;
	lw_put_be64(out, hi << 1 | lo >> 63);
	lw_put_be64(out + 8, lo << 1 ^ reduce);
}

static void make_subkeys(struct lw_aes *aes)
{
	uint8_t l[LW_AES_BLOCK] = {0};
	lw_aes_encrypt(aes, l, l, 1);
	gf_double(l, aes->k1);
	gf_double(aes->k1, aes->k2);
	aes->has_subkeys = true;
}

static void xor_block(uint8_t *x, const uint8_t *y)
{
	for (size_t i = 0; i < LW_AES_BLOCK; i++)
		x[i] ^= y[i];
}

void lw_aes_cmac(struct lw_aes *aes, const struct lw_span *parts, size_t n, uint8_t out[LW_AES_BLOCK])
{
	if (!aes->has_subkeys)
		make_subkeys(aes);
	/* x collects input by xor; a full block is encrypted only once more input follows, as the last one is special.
	 */
	uint8_t x[LW_AES_BLOCK] = {0};
	size_t fill = 0;
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < parts[i].n; k++) {
			if (fill == LW_AES_BLOCK) {
				lw_aes_encrypt(aes, x, x, 1);
				fill = 0;
			}
			x[fill++] ^= parts[i].p[k];
		}
	}
	if (fill == LW_AES_BLOCK) {
		xor_block(x, aes->k1);
	} else {
		x[fill] ^= 0x80;
		xor_block(x, aes->k2);
	}
	lw_aes_encrypt(aes, x, out, 1);
}

struct lw_keycache *lw_keycache_new(size_t slots)
{
	size_t n = 1;
	while (n < slots)
		n *= 2;
	struct lw_keycache *kc = lw_xcalloc(1, sizeof *kc);
	kc->cipher = fetch_cipher();
	kc->slots = lw_xcalloc(n, sizeof *kc->slots);
	kc->mask = n - 1;
	return kc;
}

void lw_keycache_free(struct lw_keycache *kc)
{
	if (!kc)
		return;
	for (size_t i = 0; i <= kc->mask; i++)
		drop_key(&kc->slots[i]);
	free(kc->slots);
	EVP_CIPHER_free(kc->cipher);
	free(kc);
}

struct lw_aes *lw_keycache_get(struct lw_keycache *kc, const struct lw_key *key)
{
	struct lw_aes *aes = &kc->slots[lw_key_hash(*key) & kc->mask];
	if (aes->enc && lw_key_eq(aes->key, *key)) {
		kc->hits++;
		return aes;
	}
	kc->misses++;
	aes->cipher = kc->cipher;
	set_key(aes, key);
	return aes;
}

uint64_t lw_keycache_hits(const struct lw_keycache *kc)
{
	return kc->hits;
}

uint64_t lw_keycache_misses(const struct lw_keycache *kc)
{
	return kc->misses;
}
