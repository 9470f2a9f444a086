/* Hexadecimal text. */
#include "common/base/hex.h"

#include "common/base/err.h"

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int lw_hex_decode(const char *text, size_t n, uint8_t *out, size_t cap)
{
	if (n % 2)
		return LW_EINVAL;
	if (n / 2 > cap || n / 2 > INT32_MAX)
		return LW_EBIG;
	for (size_t i = 0; i < n / 2; i++) {
		int hi = digit(text[2 * i]);
		int lo = digit(text[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return LW_EINVAL;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return (int)(n / 2);
}

char *lw_hex_encode(const void *p, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *b = p;
	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[b[i] >> 4];
		out[2 * i + 1] = digits[b[i] & 15];
	}
	out[2 * n] = '\0';
	return out;
}
