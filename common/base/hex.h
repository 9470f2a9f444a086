/* Hexadecimal text. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Decodes exactly n digits of either case into n/2 bytes. LW_EINVAL: odd length or another character;
 * LW_EBIG: more than cap bytes. Returns the number of bytes. */
int lw_hex_decode(const char *text, size_t n, uint8_t *out, size_t cap);
/* Writes 2*n lower-case digits and a NUL; out has room for 2*n+1. Returns out. */
char *lw_hex_encode(const void *p, size_t n, char *out);
