/* AES key wrap with a 128-bit KEK (RFC 3394), as Backend Interfaces uses it for session keys. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/ids.h"

/* n: multiple of 8, at least 16, at most 64. out has n + 8 bytes. Returns the length written, or LW_EINVAL. */
int lw_keywrap(const struct lw_key *kek, const uint8_t *in, size_t n, uint8_t *out);
/* n: length of the wrapped form (24..72). out has n - 8 bytes. Returns the length written, LW_EINVAL for a wrong
 * length, LW_EAUTH when the integrity check fails (then out is wiped). */
int lw_keyunwrap(const struct lw_key *kek, const uint8_t *in, size_t n, uint8_t *out);
