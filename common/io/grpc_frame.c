/* Encodings of gRPC over HTTP/2. */
#include "common/io/grpc_frame.h"

#include <stdio.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/pb/unpack.h"

int grpc_frame_next(struct lw_span in, size_t max, struct lw_span *msg, size_t *used)
{
	if (in.n < 1)
		return 0;
	if (in.p[0] > 1)
		return LW_EPROTO;
	if (in.p[0] == 1)
		return LW_EUNSUPPORTED;
	if (in.n < GRPC_PREFIX_LEN)
		return 0;
	size_t n = lw_get_be32(in.p + 1);
	if (n > max)
		return LW_EBIG;
	if (in.n - GRPC_PREFIX_LEN < n)
		return 0;
	*msg = lw_span(in.p + GRPC_PREFIX_LEN, n);
	*used = GRPC_PREFIX_LEN + n;
	return 1;
}

int grpc_pack(struct lw_buf *out, const ProtobufCMessage *msg, size_t max)
{
	size_t before = out->n;
	if (lw_pb_pack(msg, out) < 0)
		return LW_EBIG;
	if (out->n - before <= max)
		return 0;
	out->n = before;
	return LW_EBIG;
}

int grpc_frame_append(struct lw_buf *out, const ProtobufCMessage *msg, size_t max)
{
	static const uint8_t PREFIX[GRPC_PREFIX_LEN];
	size_t before = out->n;
	int rc = lw_buf_append(out, PREFIX, sizeof(PREFIX));
	if (rc == 0)
		rc = lw_pb_pack(msg, out);
	size_t n = rc == 0 ? out->n - before - GRPC_PREFIX_LEN : 0;
	if (rc < 0 || n > max || n > UINT32_MAX) {
		out->n = before;
		return LW_EBIG;
	}
	lw_put_be32(out->p + before + 1, (uint32_t)n);
	return 0;
}

int grpc_timeout_parse(const char *text, int64_t *ns)
{
	static const int64_t TEN_YEARS_NS = INT64_C(10) * 365 * 86400 * LW_NS_PER_S;
	int64_t v = 0;
	size_t digits = 0;
	for (; text[digits] >= '0' && text[digits] <= '9'; digits++) {
		if (digits == 8)
			return LW_EINVAL;
		v = v * 10 + (text[digits] - '0');
	}
	if (digits == 0 || text[digits] == 0 || text[digits + 1] != 0)
		return LW_EINVAL;
	int64_t unit;
	switch (text[digits]) {
	case 'H':
		unit = 3600 * LW_NS_PER_S;
		break;
	case 'M':
		unit = 60 * LW_NS_PER_S;
		break;
	case 'S':
		unit = LW_NS_PER_S;
		break;
	case 'm':
		unit = LW_NS_PER_MS;
		break;
	case 'u':
		unit = LW_NS_PER_US;
		break;
	case 'n':
		unit = 1;
		break;
	default:
		return LW_EINVAL;
	}
	*ns = v > TEN_YEARS_NS / unit ? TEN_YEARS_NS : v * unit;
	return 0;
}

void grpc_timeout_format(int64_t ns, char out[GRPC_TIMEOUT_LEN])
{
	/* At most eight digits: the finest unit that fits. */
	static const struct {
		int64_t ns;
		char name;
	} UNITS[] = {{LW_NS_PER_US, 'u'}, {LW_NS_PER_MS, 'm'}, {LW_NS_PER_S, 'S'}, {60 * LW_NS_PER_S, 'M'}};
	if (ns < 0)
		ns = 0;
	for (size_t i = 0; i < sizeof(UNITS) / sizeof(UNITS[0]); i++) {
		int64_t v = (ns + UNITS[i].ns - 1) / UNITS[i].ns;
		if (v <= 99999999) {
			snprintf(out, GRPC_TIMEOUT_LEN, "%d%c", (int)v, UNITS[i].name);
			return;
		}
	}
	snprintf(out, GRPC_TIMEOUT_LEN, "99999999M");
}

int grpc_message_encode(struct lw_buf *out, const char *text)
{
	static const char HEX[] = "0123456789ABCDEF";
	int rc = 0;
	for (const unsigned char *p = (const unsigned char *)text; *p && rc == 0; p++) {
		if (*p >= 0x20 && *p <= 0x7e && *p != '%') {
			rc = lw_buf_append_u8(out, *p);
		} else {
			char esc[3] = {'%', HEX[*p >> 4], HEX[*p & 15]};
			rc = lw_buf_append(out, esc, 3);
		}
	}
	return rc;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

void grpc_message_decode(char *text)
{
	char *w = text;
	for (const char *p = text; *p; p++) {
		int hi = p[0] == '%' ? hex_value(p[1]) : -1;
		int lo = hi >= 0 ? hex_value(p[2]) : -1;
		/* %00 would cut the text short. */
		if (lo >= 0 && (hi | lo) != 0) {
			*w++ = (char)(hi << 4 | lo);
			p += 2;
		} else {
			*w++ = *p;
		}
	}
	*w = 0;
}

bool grpc_content_type_ok(const char *value)
{
	static const char BASE[] = "application/grpc";
	size_t n = sizeof(BASE) - 1;
	if (strncasecmp(value, BASE, n) != 0)
		return false;
	const char *rest = value + n;
	if (strncasecmp(rest, "+proto", 6) == 0)
		rest += 6;
	while (*rest == ' ')
		rest++;
	return *rest == 0 || *rest == ';';
}

ProtobufCMessage *grpc_unpack(const ProtobufCMessageDescriptor *d, struct lw_span bytes, struct lw_arena *arena)
{
	ProtobufCMessage *m;
	return lw_pb_unpack(d, bytes, arena, &m) == 0 ? m : NULL;
}
