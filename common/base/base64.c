/* Base64 (RFC 4648). */
#include "common/base/base64.h"

#include "common/base/err.h"

static const char std_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t encode(const uint8_t *b, size_t n, char *out, const char *alphabet, int padded)
{
	char *o = out;
	for (; n >= 3; n -= 3, b += 3) {
		*o++ = alphabet[b[0] >> 2];
		*o++ = alphabet[(b[0] & 3) << 4 | b[1] >> 4];
		*o++ = alphabet[(b[1] & 15) << 2 | b[2] >> 6];
		*o++ = alphabet[b[2] & 63];
	}
	if (n) {
		unsigned second = n == 2 ? b[1] : 0;
		*o++ = alphabet[b[0] >> 2];
		*o++ = alphabet[(b[0] & 3U) << 4 | second >> 4];
		if (n == 2)
			*o++ = alphabet[(second & 15) << 2];
		else if (padded)
			*o++ = '=';
		if (padded)
			*o++ = '=';
	}
	*o = '\0';
	return (size_t)(o - out);
}

size_t lw_base64_encode(const void *p, size_t n, char *out)
{
	return encode(p, n, out, std_alphabet, 1);
}

size_t lw_base64url_encode(const void *p, size_t n, char *out)
{
	return encode(p, n, out, url_alphabet, 0);
}

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	if (c == '/' || c == '_')
		return 63;
	return -1;
}

int lw_base64_decode(const char *text, size_t n, uint8_t *out, size_t cap)
{
	for (int i = 0; i < 2 && n && text[n - 1] == '='; i++)
		n--;
	if (n % 4 == 1)
		return LW_EINVAL;
	size_t bytes = n / 4 * 3 + (n % 4 ? n % 4 - 1 : 0);
	if (bytes > cap || bytes > INT32_MAX)
		return LW_EBIG;
	uint32_t acc = 0;
	unsigned bits = 0;
	size_t o = 0;
	for (size_t i = 0; i < n; i++) {
		int v = value_of(text[i]);
		if (v < 0)
			return LW_EINVAL;
		acc = (acc << 6 | (uint32_t)v) & 0xFFFFFF;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[o++] = (uint8_t)(acc >> bits);
		}
	}
	return (int)o;
}
