/* SHA-256, HMAC-SHA256 and random bytes for secrets. A failure of the library aborts. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define LW_SHA256_LEN 32

void lw_sha256(const void *p, size_t n, uint8_t out[LW_SHA256_LEN]);
void lw_hmac_sha256(const void *key, size_t key_len, const void *p, size_t n, uint8_t out[LW_SHA256_LEN]);
/* Bytes fit for keys and tokens. */
void lw_random_bytes(void *out, size_t n);
