/* AES-128 with prepared key schedules, AES-CMAC, and a cache of schedules by key. Never blocks, never logs. A failure
 * of the cipher library means no memory or a mistake of ours, and aborts. Objects belong to one thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/ids.h"

#define LW_AES_BLOCK 16

/* One key, ready for use. */
struct lw_aes;

struct lw_aes *lw_aes_new(const struct lw_key *key);
void lw_aes_free(struct lw_aes *aes);
/* ECB of n whole blocks; in and out may be the same. n = 0 does nothing. */
void lw_aes_encrypt(struct lw_aes *aes, const uint8_t *in, uint8_t *out, size_t nblocks);
void lw_aes_decrypt(struct lw_aes *aes, const uint8_t *in, uint8_t *out, size_t nblocks);
/* AES-CMAC (RFC 4493) of the parts laid end to end. */
void lw_aes_cmac(struct lw_aes *aes, const struct lw_span *parts, size_t n, uint8_t out[LW_AES_BLOCK]);

/* Direct-mapped cache: a key's schedule is built when it is first asked for and kept until another key takes its slot.
 */
struct lw_keycache;

/* `slots` is rounded up to a power of two. A used slot costs about 1 KiB. */
struct lw_keycache *lw_keycache_new(size_t slots);
/* Wipes all keys. */
void lw_keycache_free(struct lw_keycache *kc);
/* Borrowed until the next call with the same cache (that key may need the same slot). */
struct lw_aes *lw_keycache_get(struct lw_keycache *kc, const struct lw_key *key);
/* For metrics. */
uint64_t lw_keycache_hits(const struct lw_keycache *kc);
uint64_t lw_keycache_misses(const struct lw_keycache *kc);
