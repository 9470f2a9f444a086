/* Base64 (RFC 4648). Encodes the standard alphabet with padding; decodes tolerantly. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Characters needed for n bytes, without the NUL. */
#define LW_BASE64_LEN(n) (((n) + 2) / 3 * 4)
/* Bytes that n characters can hold at most. */
#define LW_BASE64_MAX_BYTES(n) (((n) + 3) / 4 * 3)

/* Standard alphabet with padding; out has room for LW_BASE64_LEN(n)+1. Returns the length of the text. */
size_t lw_base64_encode(const void *p, size_t n, char *out);
/* URL alphabet without padding (JWT); same room. */
size_t lw_base64url_encode(const void *p, size_t n, char *out);
/* Standard or URL alphabet, with, without or with part of the padding. Returns the number of bytes, LW_EINVAL (another
 * character, an impossible length, bits set that belong to no byte are tolerated) or LW_EBIG (more than cap bytes). */
int lw_base64_decode(const char *text, size_t n, uint8_t *out, size_t cap);
