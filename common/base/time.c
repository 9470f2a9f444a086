/* RFC 3339 text and the GPS epoch. */
#include "common/base/time.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/err.h"

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar; years begin in March so that the leap day is
 * last. */
static int64_t days_from_civil(int64_t y, int m, int d)
{
	y -= m <= 2;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + doe - 719468;
}

static void civil_from_days(int64_t days, int64_t *y, int *m, int *d)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	int64_t doe = days - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;
	*d = (int)(doy - (153 * mp + 2) / 5 + 1);
	*m = (int)(mp < 10 ? mp + 3 : mp - 9);
	*y = yoe + era * 400 + (*m <= 2);
}

struct text {
	const char *p;
	const char *end;
};

/* Exactly `digits` decimal digits, or -1. */
static int number(struct text *t, int digits)
{
	if (t->end - t->p < digits)
		return -1;
	int v = 0;
	for (int i = 0; i < digits; i++) {
		char c = *t->p++;
		if (c < '0' || c > '9')
			return -1;
		v = v * 10 + (c - '0');
	}
	return v;
}

static bool skip(struct text *t, char c)
{
	if (t->p == t->end || *t->p != c)
		return false;
	t->p++;
	return true;
}

/* ".digits" → nanoseconds; 0 when there is none, -1 when malformed. */
static int64_t fraction(struct text *t)
{
	if (!skip(t, '.') && !skip(t, ','))
		return 0;
	int64_t ns = 0;
	int64_t unit = LW_NS_PER_S / 10;
	const char *start = t->p;
	for (; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++) {
		ns += unit * (*t->p - '0');
		unit /= 10;
	}
	return t->p == start ? -1 : ns;
}

/* Offset from UTC in seconds to *out. */
static int offset(struct text *t, int *out)
{
	*out = 0;
	if (t->p == t->end || skip(t, 'Z') || skip(t, 'z'))
		return 0;
	int sign = 1;
	if (skip(t, '-'))
		sign = -1;
	else if (!skip(t, '+'))
		return LW_EINVAL;
	int h = number(t, 2);
	int m = 0;
	if (skip(t, ':') || t->p != t->end)
		m = number(t, 2);
	if (h < 0 || h > 23 || m < 0 || m > 59)
		return LW_EINVAL;
	*out = sign * (h * 3600 + m * 60);
	return 0;
}

static int days_in_month(int y, int m)
{
	static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
	return days[m - 1] + (m == 2 && leap);
}

int lw_rfc3339_parse_n(const char *text, size_t n, int64_t *unix_ns)
{
	struct text t = {text, text + n};
	int y = number(&t, 4);
	if (y < 0 || !skip(&t, '-'))
		return LW_EINVAL;
	int mo = number(&t, 2);
	if (mo < 1 || mo > 12 || !skip(&t, '-'))
		return LW_EINVAL;
	int d = number(&t, 2);
	if (d < 1 || d > days_in_month(y, mo) || (!skip(&t, 'T') && !skip(&t, 't') && !skip(&t, ' ')))
		return LW_EINVAL;
	int h = number(&t, 2);
	if (h < 0 || h > 23 || !skip(&t, ':'))
		return LW_EINVAL;
	int mi = number(&t, 2);
	if (mi < 0 || mi > 59 || !skip(&t, ':'))
		return LW_EINVAL;
	int s = number(&t, 2);
	int64_t frac = fraction(&t);
	int off;
	if (s < 0 || s > 60 || frac < 0 || offset(&t, &off) < 0 || t.p != t.end)
		return LW_EINVAL;
	int64_t sec = days_from_civil(y, mo, d) * 86400 + h * 3600 + mi * 60 + s - off;
	if (__builtin_mul_overflow(sec, LW_NS_PER_S, unix_ns) || __builtin_add_overflow(*unix_ns, frac, unix_ns))
		return LW_ERANGE;
	return 0;
}

int lw_rfc3339_parse(const char *text, int64_t *unix_ns)
{
	return lw_rfc3339_parse_n(text, strlen(text), unix_ns);
}

static int auto_digits(int32_t nanos)
{
	if (nanos == 0)
		return 0;
	if (nanos % 1000000 == 0)
		return 3;
	return nanos % 1000 == 0 ? 6 : 9;
}

/* Writes `digits` decimal digits of v (never negative here) and returns the end. */
static char *put_digits(char *p, uint32_t v, int digits)
{
	for (int i = digits - 1; i >= 0; i--) {
		p[i] = (char)('0' + v % 10);
		v /= 10;
	}
	return p + digits;
}

char *lw_rfc3339_format(int64_t unix_ns, enum lw_frac frac, const char *suffix, char out[LW_RFC3339_MAX])
{
	struct lw_sec_nanos t = lw_split_ns(unix_ns);
	int64_t days = t.sec / 86400 - (t.sec % 86400 < 0);
	uint32_t rest = (uint32_t)(t.sec - days * 86400);
	int64_t y;
	int m;
	int d;
	civil_from_days(days, &y, &m, &d);
	char *p = put_digits(out, (uint32_t)y, 4);
	*p++ = '-';
	p = put_digits(p, (uint32_t)m, 2);
	*p++ = '-';
	p = put_digits(p, (uint32_t)d, 2);
	*p++ = 'T';
	p = put_digits(p, rest / 3600, 2);
	*p++ = ':';
	p = put_digits(p, rest / 60 % 60, 2);
	*p++ = ':';
	p = put_digits(p, rest % 60, 2);
	int digits = frac == LW_FRAC_AUTO ? auto_digits(t.nanos) : (int)frac;
	if (digits > 0) {
		uint32_t v = (uint32_t)t.nanos;
		for (int i = digits; i < 9; i++)
			v /= 10;
		*p++ = '.';
		p = put_digits(p, v, digits);
	}
	(void)snprintf(p, LW_RFC3339_MAX - (size_t)(p - out), "%s", suffix);
	return out;
}

/* UTC instants (Unix seconds) right after which one more leap second separates GPS from UTC. */
static const int64_t leap_unix_s[] = {
	362793600,  /* 1981-07-01 */
	394329600,  /* 1982-07-01 */
	425865600,  /* 1983-07-01 */
	489024000,  /* 1985-07-01 */
	567993600,  /* 1988-01-01 */
	631152000,  /* 1990-01-01 */
	662688000,  /* 1991-01-01 */
	709948800,  /* 1992-07-01 */
	741484800,  /* 1993-07-01 */
	773020800,  /* 1994-07-01 */
	820454400,  /* 1996-01-01 */
	867715200,  /* 1997-07-01 */
	915148800,  /* 1999-01-01 */
	1136073600, /* 2006-01-01 */
	1230768000, /* 2009-01-01 */
	1341100800, /* 2012-07-01 */
	1435708800, /* 2015-07-01 */
	1483228800, /* 2017-01-01 */
};
_Static_assert(sizeof leap_unix_s / sizeof leap_unix_s[0] == LW_GPS_UTC_LEAP_S, "leap second table");

#define GPS_EPOCH_UNIX_S INT64_C(315964800)
#define LEAPS (sizeof leap_unix_s / sizeof leap_unix_s[0])

int64_t lw_gps_from_unix_ns(int64_t unix_ns)
{
	int64_t leap = 0;
	while (leap < (int64_t)LEAPS && unix_ns >= leap_unix_s[leap] * LW_NS_PER_S)
		leap++;
	int64_t shift = (leap - GPS_EPOCH_UNIX_S) * LW_NS_PER_S;
	int64_t out;
	return __builtin_add_overflow(unix_ns, shift, &out) ? INT64_MIN : out;
}

int64_t lw_gps_to_unix_ns(int64_t gps_ns)
{
	int64_t leap = 0;
	while (leap < (int64_t)LEAPS && gps_ns >= (leap_unix_s[leap] - GPS_EPOCH_UNIX_S + leap + 1) * LW_NS_PER_S)
		leap++;
	int64_t shift = (GPS_EPOCH_UNIX_S - leap) * LW_NS_PER_S;
	int64_t out;
	return __builtin_add_overflow(gps_ns, shift, &out) ? INT64_MAX : out;
}

struct lw_sec_nanos lw_split_ns(int64_t ns)
{
	int64_t sec = ns / LW_NS_PER_S;
	int64_t nanos = ns % LW_NS_PER_S;
	if (nanos < 0) {
		nanos += LW_NS_PER_S;
		sec--;
	}
	return (struct lw_sec_nanos){.sec = sec, .nanos = (int32_t)nanos};
}

int64_t lw_join_ns(int64_t sec, int32_t nanos)
{
	int64_t ns;
	if (__builtin_mul_overflow(sec, LW_NS_PER_S, &ns) || __builtin_add_overflow(ns, (int64_t)nanos, &ns))
		return sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}
