#include "gateway-bridge/wire/json_pull.h"

#include <math.h>
#include <stdlib.h>

static void skip_space(struct gb_json *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r'))
		j->p++;
}

static bool fail(struct gb_json *j)
{
	j->broken = true;
	return false;
}

enum gb_json_kind gb_json_peek(struct gb_json *j)
{
	if (j->broken)
		return GB_JSON_BROKEN;
	skip_space(j);
	if (j->p == j->end)
		return GB_JSON_BROKEN;
	switch (*j->p) {
	case '{':
		return GB_JSON_OBJECT;
	case '[':
		return GB_JSON_ARRAY;
	case '"':
		return GB_JSON_STRING;
	case 't':
	case 'f':
		return GB_JSON_BOOL;
	case 'n':
		return GB_JSON_NULL;
	default:
		return *j->p == '-' || (*j->p >= '0' && *j->p <= '9') ? GB_JSON_NUMBER : GB_JSON_BROKEN;
	}
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Where the walk through a string has something to decide: control characters, the quote, the backslash. */
#define EIGHT 1, 1, 1, 1, 1, 1, 1, 1
static const uint8_t stops[256] = {EIGHT, EIGHT, EIGHT, EIGHT, ['"'] = 1, ['\\'] = 1};
#undef EIGHT

static bool skip_string(struct gb_json *j)
{
	const char *p = j->p + 1;
	for (;;) {
		while (p < j->end && !stops[(unsigned char)*p])
			p++;
		if (p == j->end || *p == '"')
			break;
		if (*p++ != '\\')
			return fail(j);
		if (p == j->end)
			return fail(j);
		switch (*p++) {
		case '"':
		case '\\':
		case '/':
		case 'b':
		case 'f':
		case 'n':
		case 'r':
		case 't':
			break;
		case 'u':
			for (int i = 0; i < 4; i++, p++) {
				if (p == j->end || !is_hex(*p))
					return fail(j);
			}
			break;
		default:
			return fail(j);
		}
	}
	if (p == j->end)
		return fail(j);
	j->p = p + 1;
	return true;
}

static bool is_digit(const struct gb_json *j)
{
	return j->p < j->end && *j->p >= '0' && *j->p <= '9';
}

static bool skip_digits(struct gb_json *j)
{
	if (!is_digit(j))
		return fail(j);
	while (is_digit(j))
		j->p++;
	return true;
}

static bool skip_number(struct gb_json *j)
{
	if (*j->p == '-')
		j->p++;
	if (j->p < j->end && *j->p == '0')
		j->p++;
	else if (!skip_digits(j))
		return false;
	if (j->p < j->end && *j->p == '.') {
		j->p++;
		if (!skip_digits(j))
			return false;
	}
	if (j->p < j->end && (*j->p == 'e' || *j->p == 'E')) {
		j->p++;
		if (j->p < j->end && (*j->p == '+' || *j->p == '-'))
			j->p++;
		return skip_digits(j);
	}
	return true;
}

static bool skip_word(struct gb_json *j, const char *word)
{
	size_t n = strlen(word);
	if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n) != 0)
		return fail(j);
	j->p += n;
	return true;
}

static bool skip_scalar(struct gb_json *j, enum gb_json_kind kind)
{
	switch (kind) {
	case GB_JSON_STRING:
		return skip_string(j);
	case GB_JSON_NUMBER:
		return skip_number(j);
	case GB_JSON_NULL:
		return skip_word(j, "null");
	case GB_JSON_BOOL:
		return skip_word(j, *j->p == 't' ? "true" : "false");
	default:
		return fail(j);
	}
}

/* `stop` is set to the key's closing quote. */
static bool skip_key(struct gb_json *j, const char **stop)
{
	skip_space(j);
	if (j->p == j->end || *j->p != '"' || !skip_string(j))
		return fail(j);
	*stop = j->p - 1;
	skip_space(j);
	if (j->p == j->end || *j->p != ':')
		return fail(j);
	j->p++;
	return true;
}

/* Into the container at the cursor; true when it is not empty (then the cursor is at its first value). */
static bool enter_container(struct gb_json *j, bool object, bool *empty)
{
	j->p++;
	skip_space(j);
	*empty = j->p < j->end && *j->p == (object ? '}' : ']');
	if (*empty) {
		j->p++;
		return true;
	}
	const char *stop;
	return !object || skip_key(j, &stop);
}

bool gb_json_skip(struct gb_json *j)
{
	bool object[GB_JSON_MAX_DEPTH];
	size_t depth = 0;
	for (;;) {
		enum gb_json_kind kind = gb_json_peek(j);
		bool is_object = kind == GB_JSON_OBJECT;
		if (is_object || kind == GB_JSON_ARRAY) {
			bool empty;
			if (depth == GB_JSON_MAX_DEPTH || !enter_container(j, is_object, &empty))
				return fail(j);
			if (!empty) {
				object[depth++] = is_object;
				continue;
			}
		} else if (!skip_scalar(j, kind)) {
			return false;
		}
		/* A value ended: close what ends with it. */
		for (; depth > 0; depth--) {
			skip_space(j);
			if (j->p == j->end)
				return fail(j);
			if (*j->p == ',') {
				j->p++;
				const char *stop;
				if (object[depth - 1] && !skip_key(j, &stop))
					return false;
				break;
			}
			if (*j->p != (object[depth - 1] ? '}' : ']'))
				return fail(j);
			j->p++;
		}
		if (depth == 0)
			return true;
	}
}

bool gb_json_value(struct gb_json *j, struct lw_span *out)
{
	enum gb_json_kind kind = gb_json_peek(j);
	const char *start = j->p;
	bool scalar = kind != GB_JSON_OBJECT && kind != GB_JSON_ARRAY;
	if (!(scalar ? skip_scalar(j, kind) : gb_json_skip(j)))
		return false;
	*out = lw_span(start, (size_t)(j->p - start));
	return true;
}

bool gb_json_at_end(struct gb_json *j)
{
	if (j->broken)
		return false;
	skip_space(j);
	return j->p == j->end;
}

bool gb_json_open(struct gb_json *j, char bracket)
{
	if (gb_json_peek(j) == GB_JSON_BROKEN)
		return fail(j);
	if (*j->p != bracket)
		return false;
	j->p++;
	return true;
}

/* After the opening bracket or a value: true when another value follows, false at the closing bracket. */
static bool more(struct gb_json *j, bool *first, char close)
{
	if (j->broken)
		return false;
	skip_space(j);
	if (j->p == j->end)
		return fail(j);
	if (*j->p == close) {
		j->p++;
		return false;
	}
	if (!*first) {
		if (*j->p != ',')
			return fail(j);
		j->p++;
		skip_space(j);
	}
	*first = false;
	return true;
}

bool gb_json_member(struct gb_json *j, bool *first, struct lw_span *key)
{
	if (!more(j, first, '}'))
		return false;
	const char *start = j->p + 1, *stop;
	if (!skip_key(j, &stop))
		return false;
	*key = lw_span(start, (size_t)(stop - start));
	return true;
}

bool gb_json_element(struct gb_json *j, bool *first)
{
	if (!more(j, first, ']'))
		return false;
	return gb_json_peek(j) != GB_JSON_BROKEN || fail(j);
}

/* A number as digits * 10^exp10, the digits cut after 18 (`cut` then). */
struct decimal {
	uint64_t digits;
	int exp10;
	bool negative;
	bool cut;
};

#define MAX_DIGITS UINT64_C(100000000000000000)
#define MAX_EXPONENT 9999

static bool parse_decimal(struct lw_span v, struct decimal *d)
{
	*d = (struct decimal){0};
	if (v.n == 0)
		return false;
	const char *p = (const char *)v.p, *end = p + v.n;
	if (*p != '-' && (*p < '0' || *p > '9'))
		return false;
	if (*p == '-') {
		d->negative = true;
		p++;
	}
	bool fraction = false;
	for (; p < end && (*p == '.' || (*p >= '0' && *p <= '9')); p++) {
		if (*p == '.') {
			fraction = true;
			continue;
		}
		if (d->digits < MAX_DIGITS) {
			d->digits = d->digits * 10 + (uint64_t)(*p - '0');
			d->exp10 -= fraction;
		} else {
			d->cut = true;
			d->exp10 += !fraction;
		}
	}
	if (p < end) { /* 'e', checked when the value was skipped */
		p++;
		bool minus = p < end && *p == '-';
		if (p < end && (*p == '-' || *p == '+'))
			p++;
		int e = 0;
		for (; p < end && e < MAX_EXPONENT; p++)
			e = e * 10 + (*p - '0');
		d->exp10 += minus ? -e : e;
	}
	return true;
}

bool gb_json_fixed(struct lw_span value, int decimals, int64_t min, int64_t max, int64_t *out)
{
	struct decimal d;
	if (!parse_decimal(value, &d))
		return false;
	uint64_t v = d.digits;
	int shift = d.exp10 + decimals;
	for (; shift > 0 && v != 0; shift--) {
		if (v > (uint64_t)INT64_MAX / 10)
			return false;
		v *= 10;
	}
	/* Only the last digit cut away decides about rounding. */
	for (; shift < -1 && v != 0; shift++)
		v /= 10;
	if (shift < 0)
		v = v / 10 + (v % 10 >= 5);
	if (v > (uint64_t)INT64_MAX)
		return false;
	int64_t r = d.negative ? -(int64_t)v : (int64_t)v;
	if (r < min || r > max)
		return false;
	*out = r;
	return true;
}

bool gb_json_double(struct lw_span value, double *out)
{
	static const double pow10[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
				       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
	struct decimal d;
	if (!parse_decimal(value, &d))
		return false;
	double v = (double)d.digits;
	/* Both operands exact: one rounding, so the result is the nearest double. */
	if (!d.cut && d.digits <= (UINT64_C(1) << 53) && d.exp10 >= -22 && d.exp10 <= 22) {
		v = d.exp10 < 0 ? v / pow10[-d.exp10] : v * pow10[d.exp10];
	} else {
		char text[64];
		if (value.n >= sizeof(text))
			return false;
		memcpy(text, value.p, value.n);
		text[value.n] = '\0';
		*out = strtod(text, NULL);
		return isfinite(*out);
	}
	*out = d.negative ? -v : v;
	return true;
}

static unsigned hex4(const char *p)
{
	unsigned v = 0;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		v = v * 16 + (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return v;
}

static size_t put_utf8(unsigned c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xC0 | (c >> 6));
		out[1] = (char)(0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xE0 | (c >> 12));
		out[1] = (char)(0x80 | ((c >> 6) & 0x3F));
		out[2] = (char)(0x80 | (c & 0x3F));
		return 3;
	}
	out[0] = (char)(0xF0 | (c >> 18));
	out[1] = (char)(0x80 | ((c >> 12) & 0x3F));
	out[2] = (char)(0x80 | ((c >> 6) & 0x3F));
	out[3] = (char)(0x80 | (c & 0x3F));
	return 4;
}

/* The escape behind the backslash at p[-1]; the text was checked when it was skipped. */
static bool unescape(const char **pp, const char *end, char out[4], size_t *n)
{
	const char *p = *pp;
	char c = *p++;
	*n = 1;
	switch (c) {
	case 'b':
		out[0] = '\b';
		break;
	case 'f':
		out[0] = '\f';
		break;
	case 'n':
		out[0] = '\n';
		break;
	case 'r':
		out[0] = '\r';
		break;
	case 't':
		out[0] = '\t';
		break;
	case 'u': {
		unsigned u = hex4(p);
		p += 4;
		if (u >= 0xDC00 && u <= 0xDFFF)
			return false;
		if (u >= 0xD800 && u <= 0xDBFF) {
			if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
				return false;
			unsigned low = hex4(p + 2);
			if (low < 0xDC00 || low > 0xDFFF)
				return false;
			u = 0x10000 + ((u - 0xD800) << 10) + (low - 0xDC00);
			p += 6;
		}
		*n = put_utf8(u, out);
		break;
	}
	default:
		out[0] = c;
	}
	*pp = p;
	return true;
}

bool gb_json_plain(struct lw_span value, struct lw_span *out)
{
	if (value.n < 2 || value.p[0] != '"' || memchr(value.p, '\\', value.n))
		return false;
	*out = lw_span(value.p + 1, value.n - 2);
	return true;
}

int gb_json_string(struct lw_span value, char *out, size_t cap)
{
	if (value.n < 2 || value.p[0] != '"')
		return -1;
	const char *p = (const char *)value.p + 1, *end = (const char *)value.p + value.n - 1;
	size_t n = 0;
	while (p < end) {
		char c[4];
		size_t k = 1;
		if (*p == '\\') {
			p++;
			if (!unescape(&p, end, c, &k))
				return -1;
		} else {
			c[0] = *p++;
		}
		if (cap - n < k)
			return -1;
		memcpy(out + n, c, k);
		n += k;
	}
	return (int)n;
}

bool gb_utf8_valid(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s, *end = p + n;
	while (p < end) {
		unsigned c = *p++;
		if (c == 0)
			return false;
		if (c < 0x80)
			continue;
		unsigned more_bytes = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
		if (c < 0xC2 || c > 0xF4 || (size_t)(end - p) < more_bytes)
			return false;
		unsigned v = c & (0x3Fu >> more_bytes);
		for (unsigned i = 0; i < more_bytes; i++, p++) {
			if ((*p & 0xC0) != 0x80)
				return false;
			v = (v << 6) | (*p & 0x3Fu);
		}
		if ((more_bytes == 2 && (v < 0x800 || (v >= 0xD800 && v <= 0xDFFF))) ||
		    (more_bytes == 3 && (v < 0x10000 || v > 0x10FFFF)))
			return false;
	}
	return true;
}
