/* SHA-256, HMAC-SHA256, random bytes over OpenSSL. */
#include "common/crypto/hash.h"

#include <limits.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "common/base/bug.h"

void lw_sha256(const void *p, size_t n, uint8_t out[LW_SHA256_LEN])
{
	unsigned len = 0;
	BUG_ON(!EVP_Digest(p, n, out, &len, EVP_sha256(), NULL) || len != LW_SHA256_LEN);
}

void lw_hmac_sha256(const void *key, size_t key_len, const void *p, size_t n, uint8_t out[LW_SHA256_LEN])
{
	unsigned len = 0;
	BUG_ON(key_len > INT_MAX);
	/* A NULL key would mean "the previous one" to the library. */
	BUG_ON(!HMAC(EVP_sha256(), key ? key : "", (int)key_len, p, n, out, &len) || len != LW_SHA256_LEN);
}

void lw_random_bytes(void *out, size_t n)
{
	BUG_ON(n > INT_MAX);
	BUG_ON(RAND_bytes(out, (int)n) != 1);
}
