/* AES key wrap (RFC 3394 §2.2, index based). Rare enough to prepare the KEK each time. */
#include "common/crypto/keywrap.h"

#include <string.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/crypto/aes.h"

#define WRAP_MAX 64

static const uint8_t initial_value[8] = {0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6, 0xA6};

static void xor_counter(uint8_t a[8], uint64_t t)
{
	lw_put_be64(a, lw_get_be64(a) ^ t);
}

int lw_keywrap(const struct lw_key *kek, const uint8_t *in, size_t n, uint8_t *out)
{
	if (n % 8 || n < 16 || n > WRAP_MAX)
		return LW_EINVAL;
	size_t blocks = n / 8;
	struct lw_aes *aes = lw_aes_new(kek);
	uint8_t b[LW_AES_BLOCK]; /* A, then one register */
	memmove(out + 8, in, n);
	memcpy(b, initial_value, 8);
	for (size_t j = 0; j < 6; j++) {
		for (size_t i = 1; i <= blocks; i++) {
			memcpy(b + 8, out + 8 * i, 8);
			lw_aes_encrypt(aes, b, b, 1);
			xor_counter(b, blocks * j + i);
			memcpy(out + 8 * i, b + 8, 8);
		}
	}
	memcpy(out, b, 8);
	lw_wipe(b, sizeof b);
	lw_aes_free(aes);
	return (int)(n + 8);
}

int lw_keyunwrap(const struct lw_key *kek, const uint8_t *in, size_t n, uint8_t *out)
{
	if (n % 8 || n < 24 || n > WRAP_MAX + 8)
		return LW_EINVAL;
	size_t blocks = n / 8 - 1;
	struct lw_aes *aes = lw_aes_new(kek);
	uint8_t b[LW_AES_BLOCK];
	memcpy(b, in, 8);
	memmove(out, in + 8, n - 8);
	for (size_t j = 6; j-- > 0;) {
		for (size_t i = blocks; i >= 1; i--) {
			xor_counter(b, blocks * j + i);
			memcpy(b + 8, out + 8 * (i - 1), 8);
			lw_aes_decrypt(aes, b, b, 1);
			memcpy(out + 8 * (i - 1), b + 8, 8);
		}
	}
	int rc = (int)(n - 8);
	if (!lw_ct_equal(b, initial_value, 8)) {
		lw_wipe(out, n - 8);
		rc = LW_EAUTH;
	}
	lw_wipe(b, sizeof b);
	lw_aes_free(aes);
	return rc;
}
