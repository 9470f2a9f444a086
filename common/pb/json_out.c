#include "common/pb/json_out.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "common/pb/utf8.h"

#define NANOS_PER_S 1000000000

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Whether one of eight bytes is none of those that stand for themselves: 0x20 to 0x7f but for the quote and the
 * backslash. A byte that borrows from the next can only make a second one of it when there was a first. */
static bool has_special(const uint8_t *p)
{
	uint64_t x;
	memcpy(&x, p, sizeof(x));
	uint64_t quote = x ^ EACH('"'), backslash = x ^ EACH('\\');
	return ((x | (x - EACH(0x20)) | (quote - EACH(1)) | (backslash - EACH(1))) & EACH(0x80)) != 0;
}

void lw_json_put_string(struct lw_buf *out, struct lw_span text)
{
	static const char hex[] = "0123456789abcdef";
	static const char escapes[32] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
	size_t run = 0, i = 0;

	lw_buf_append(out, "\"", 1);
	while (i < text.n) {
		while (text.n - i >= 8 && !has_special(text.p + i))
			i += 8;
		if (i == text.n)
			break;
		uint8_t c = text.p[i];
		if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
			i++;
			continue;
		}
		size_t n = c >= 0x80 ? lw_utf8_length(text.p + i, text.n - i) : 0;
		if (n) {
			i += n;
			continue;
		}
		lw_buf_append(out, text.p + run, i - run);
		if (c >= 0x80)
			lw_buf_append(out, "\xef\xbf\xbd", 3);
		else if (c >= 0x20)
			lw_buf_append(out, (char[]){'\\', (char)c}, 2);
		else if (escapes[c])
			lw_buf_append(out, (char[]){'\\', escapes[c]}, 2);
		else
			lw_buf_append(out, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
		run = ++i;
	}
	if (text.n)
		lw_buf_append(out, text.p + run, text.n - run);
	lw_buf_append(out, "\"", 1);
}

/* Writes the digits of v to the end of the array; returns where they start. */
static char *decimal(uint64_t v, char *end)
{
	do {
		*--end = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	return end;
}

void lw_json_put_u64(struct lw_buf *out, uint64_t v)
{
	char text[20];
	char *from = decimal(v, text + sizeof(text));
	lw_buf_append(out, from, (size_t)(text + sizeof(text) - from));
}

void lw_json_put_i64(struct lw_buf *out, int64_t v)
{
	char text[21];
	char *from = decimal(v < 0 ? 0 - (uint64_t)v : (uint64_t)v, text + sizeof(text));
	if (v < 0)
		*--from = '-';
	lw_buf_append(out, from, (size_t)(text + sizeof(text) - from));
}

/* ---- shortest numbers -------------------------------------------------------------------------------------------- */

/* value = 0.d1d2d3… * 10^point */
struct decimal {
	char digits[24];
	int n;
	int point;
};

static void set_digits(struct decimal *d, uint64_t m, int scale)
{
	char text[20];
	char *from = decimal(m, text + sizeof(text));
	d->n = (int)(text + sizeof(text) - from);
	d->point = d->n - scale;
	memcpy(d->digits, from, (size_t)d->n);
	while (d->n > 1 && d->digits[d->n - 1] == '0')
		d->n--;
}

/* Most measured values are m / 10^k with small m and k: both are exact in a double and the division rounds correctly,
 * so that equality proves the decimal reads back as v, and the least k is the shortest. */
static bool digits_by_scaling(double v, bool is_float, struct decimal *d)
{
	static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12};
	const double limit = is_float ? 1e8 : 1e15;
	for (int k = 0; k < (int)(sizeof(powers) / sizeof(powers[0])); k++) {
		double scaled = v * powers[k];
		if (scaled >= limit)
			return false;
		uint64_t m = (uint64_t)(scaled + 0.5);
		double back = (double)m / powers[k];
		if (m && (is_float ? (double)(float)back == v : back == v)) {
			set_digits(d, m, k);
			return true;
		}
	}
	return false;
}

static void digits_by_search(double v, bool is_float, struct decimal *d)
{
	char text[40];
	int most = is_float ? 9 : 17;
	for (int precision = 1; precision <= most; precision++) {
		snprintf(text, sizeof(text), "%.*e", precision - 1, v);
		if (is_float ? strtof(text, NULL) == (float)v : strtod(text, NULL) == v)
			break;
	}
	const char *p = text;
	d->n = 0;
	for (; *p && *p != 'e'; p++)
		if (*p >= '0' && *p <= '9')
			d->digits[d->n++] = *p;
	d->point = (int)strtol(p + 1, NULL, 10) + 1;
	while (d->n > 1 && d->digits[d->n - 1] == '0')
		d->n--;
}

static size_t layout(const struct decimal *d, bool negative, bool point, int most_integer, int least_point, char *out)
{
	char *o = out;
	if (negative)
		*o++ = '-';
	if (d->point > 0 && d->point <= most_integer) {
		for (int i = 0; i < d->point || i < d->n; i++) {
			if (i == d->point)
				*o++ = '.';
			*o++ = i < d->n ? d->digits[i] : '0';
		}
		if (point && d->n <= d->point) {
			*o++ = '.';
			*o++ = '0';
		}
	} else if (d->point <= 0 && d->point > least_point) {
		*o++ = '0';
		*o++ = '.';
		for (int i = d->point; i < 0; i++)
			*o++ = '0';
		for (int i = 0; i < d->n; i++)
			*o++ = d->digits[i];
	} else {
		*o++ = d->digits[0];
		if (d->n > 1)
			*o++ = '.';
		for (int i = 1; i < d->n; i++)
			*o++ = d->digits[i];
		o += snprintf(o, 8, "e%d", d->point - 1);
	}
	*o = '\0';
	return (size_t)(o - out);
}

static size_t format_zero(bool negative, bool point, char *out)
{
	return (size_t)snprintf(out, LW_NUMBER_MAX, "%s%s", negative ? "-0" : "0", point ? ".0" : "");
}

size_t lw_number_format_double(double v, bool point, char out[LW_NUMBER_MAX])
{
	struct decimal d;
	bool negative = signbit(v) != 0;
	if (v == 0)
		return format_zero(negative, point, out);
	v = fabs(v);
	if (!digits_by_scaling(v, false, &d))
		digits_by_search(v, false, &d);
	return layout(&d, negative, point, 16, -5, out);
}

size_t lw_number_format_float(float v, bool point, char out[LW_NUMBER_MAX])
{
	struct decimal d;
	bool negative = signbit(v) != 0;
	if (v == 0)
		return format_zero(negative, point, out);
	v = fabsf(v);
	if (!digits_by_scaling((double)v, true, &d))
		digits_by_search((double)v, true, &d);
	size_t n = layout(&d, negative, point, 13, -6, out);
	/* A decimal next to the middle of two floats may have been rounded twice. */
	if (strtof(out, NULL) != (negative ? -v : v)) {
		digits_by_search((double)v, true, &d);
		n = layout(&d, negative, point, 13, -6, out);
	}
	return n;
}

/* ---- timestamps and durations ------------------------------------------------------------------------------------ */

#define FIRST_SECOND (-62135596800) /* 0001-01-01T00:00:00Z */
#define LAST_SECOND 253402300799    /* 9999-12-31T23:59:59Z */

static char *put_digits(char *o, unsigned v, int n)
{
	for (int i = n - 1; i >= 0; i--) {
		o[i] = (char)('0' + v % 10);
		v /= 10;
	}
	return o + n;
}

static char *put_fraction(char *o, unsigned nanos)
{
	if (nanos == 0)
		return o;
	*o++ = '.';
	if (nanos % 1000000 == 0)
		return put_digits(o, nanos / 1000000, 3);
	if (nanos % 1000 == 0)
		return put_digits(o, nanos / 1000, 6);
	return put_digits(o, nanos, 9);
}

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar, counting years from March so that the leap day
 * is the last of its year. */
static int64_t days_from_date(int64_t year, unsigned month, unsigned day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	unsigned year_of_era = (unsigned)(year - era * 400);
	unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
	unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
	return era * 146097 + (int64_t)day_of_era - 719468;
}

static void date_from_days(int64_t days, unsigned *year, unsigned *month, unsigned *day)
{
	days += 719468; /* since 0000-03-01; never negative for years from 1 on */
	unsigned era = (unsigned)(days / 146097);
	unsigned day_of_era = (unsigned)(days % 146097);
	unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	unsigned shifted = (5 * day_of_year + 2) / 153;
	*day = day_of_year - (153 * shifted + 2) / 5 + 1;
	*month = shifted < 10 ? shifted + 3 : shifted - 9;
	*year = era * 400 + year_of_era + (*month <= 2);
}

size_t lw_timestamp_format(int64_t seconds, int32_t nanos, bool zulu, char out[LW_TIME_MAX])
{
	if (nanos < 0 || nanos >= NANOS_PER_S)
		nanos = nanos < 0 ? 0 : NANOS_PER_S - 1;
	if (seconds < FIRST_SECOND || seconds > LAST_SECOND) {
		nanos = seconds < FIRST_SECOND ? 0 : NANOS_PER_S - 1;
		seconds = seconds < FIRST_SECOND ? FIRST_SECOND : LAST_SECOND;
	}
	int64_t days = seconds / 86400 - (seconds % 86400 < 0);
	unsigned second = (unsigned)(seconds - days * 86400);
	unsigned year, month, day;
	date_from_days(days, &year, &month, &day);

	char *o = put_digits(out, year, 4);
	*o++ = '-';
	o = put_digits(o, month, 2);
	*o++ = '-';
	o = put_digits(o, day, 2);
	*o++ = 'T';
	o = put_digits(o, second / 3600, 2);
	*o++ = ':';
	o = put_digits(o, second / 60 % 60, 2);
	*o++ = ':';
	o = put_digits(o, second % 60, 2);
	o = put_fraction(o, (unsigned)nanos);
	const char *suffix = zulu ? "Z" : "+00:00";
	memcpy(o, suffix, strlen(suffix) + 1);
	return (size_t)(o - out) + strlen(suffix);
}

/* Exactly n digits; -1 when there are other characters. */
static int get_digits(struct lw_span *s, int n)
{
	int v = 0;
	if (s->n < (size_t)n)
		return -1;
	for (int i = 0; i < n; i++) {
		if (s->p[i] < '0' || s->p[i] > '9')
			return -1;
		v = v * 10 + (s->p[i] - '0');
	}
	s->p += n;
	s->n -= (size_t)n;
	return v;
}

static bool get_char(struct lw_span *s, const char *any_of)
{
	if (s->n == 0 || s->p[0] == '\0' || !strchr(any_of, s->p[0]))
		return false;
	s->p++;
	s->n--;
	return true;
}

/* The digits after the point, as nanoseconds; returns how many there were, 0 when there is none. */
static int get_fraction(struct lw_span *s, int32_t *nanos)
{
	int n = 0;
	int32_t unit = NANOS_PER_S / 10;
	*nanos = 0;
	while (s->n && s->p[0] >= '0' && s->p[0] <= '9') {
		*nanos += unit * (s->p[0] - '0');
		unit /= 10;
		s->p++;
		s->n--;
		n++;
	}
	return n;
}

static int get_offset(struct lw_span *s, int64_t *offset_s)
{
	*offset_s = 0;
	if (get_char(s, "Zz"))
		return 0;
	bool west = s->n && s->p[0] == '-';
	if (!get_char(s, "+-"))
		return LW_EINVAL;
	int hours = get_digits(s, 2);
	if (!get_char(s, ":"))
		return LW_EINVAL;
	int minutes = get_digits(s, 2);
	if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
		return LW_EINVAL;
	*offset_s = (hours * 60 + minutes) * 60 * (west ? -1 : 1);
	return 0;
}

int lw_timestamp_parse(struct lw_span s, int64_t *seconds, int32_t *nanos)
{
	static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t offset_s;
	int year = get_digits(&s, 4);
	if (!get_char(&s, "-"))
		return LW_EINVAL;
	int month = get_digits(&s, 2);
	if (!get_char(&s, "-"))
		return LW_EINVAL;
	int day = get_digits(&s, 2);
	if (!get_char(&s, "Tt "))
		return LW_EINVAL;
	int hour = get_digits(&s, 2);
	if (!get_char(&s, ":"))
		return LW_EINVAL;
	int minute = get_digits(&s, 2);
	if (!get_char(&s, ":"))
		return LW_EINVAL;
	int second = get_digits(&s, 2);
	*nanos = 0;
	if (get_char(&s, ".") && get_fraction(&s, nanos) == 0)
		return LW_EINVAL;
	if (get_offset(&s, &offset_s) < 0 || s.n)
		return LW_EINVAL;

	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	if (year < 1 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
	    second < 0 || second > 60)
		return LW_EINVAL;
	if (day > month_days[month - 1] + (month == 2 && leap))
		return LW_EINVAL;
	*seconds = days_from_date(year, (unsigned)month, (unsigned)day) * 86400 + hour * 3600 + minute * 60 + second -
		   offset_s;
	return *seconds < FIRST_SECOND || *seconds > LAST_SECOND ? LW_ERANGE : 0;
}

size_t lw_duration_format(int64_t seconds, int32_t nanos, char out[LW_TIME_MAX])
{
	char text[20];
	bool negative = seconds < 0 || nanos < 0;
	uint64_t s = seconds < 0 ? 0 - (uint64_t)seconds : (uint64_t)seconds;
	unsigned ns = nanos < 0 ? 0 - (unsigned)nanos : (unsigned)nanos;
	char *o = out;
	if (negative)
		*o++ = '-';
	char *from = decimal(s, text + sizeof(text));
	size_t n = (size_t)(text + sizeof(text) - from);
	memcpy(o, from, n);
	o = put_fraction(o + n, ns < NANOS_PER_S ? ns : NANOS_PER_S - 1);
	*o++ = 's';
	*o = '\0';
	return (size_t)(o - out);
}

int lw_duration_parse(struct lw_span s, int64_t *seconds, int32_t *nanos)
{
	bool negative = get_char(&s, "-");
	bool some = false;
	int64_t v = 0;
	*nanos = 0;
	while (s.n && s.p[0] >= '0' && s.p[0] <= '9') {
		v = v * 10 + (s.p[0] - '0');
		if (v > INT64_C(315576000000))
			return LW_ERANGE;
		some = true;
		s.p++;
		s.n--;
	}
	if (get_char(&s, ".")) {
		int n = get_fraction(&s, nanos);
		if (n > 9 || (n == 0 && !some))
			return LW_EINVAL;
		some = true;
	}
	if (!some || !get_char(&s, "s") || s.n)
		return LW_EINVAL;
	*seconds = negative ? -v : v;
	*nanos = negative ? -*nanos : *nanos;
	return 0;
}
