/* Numbers, times and durations as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "common/pb/json_out.h"

static void test_double(void **state)
{
	static const struct {
		double v;
		const char *point, *plain;
	} cases[] = {
		{0, "0.0", "0"},
		{-0.0, "-0.0", "-0"},
		{22, "22.0", "22"},
		{-7, "-7.0", "-7"},
		{52.3731, "52.3731", "52.3731"},
		{0.1, "0.1", "0.1"},
		{0.1 + 0.2, "0.30000000000000004", "0.30000000000000004"},
		{1.0 / 3, "0.3333333333333333", "0.3333333333333333"},
		{123456789012345680.0, "1.2345678901234568e17", "1.2345678901234568e17"},
		{1e15, "1000000000000000.0", "1000000000000000"},
		{1e16, "1e16", "1e16"},
		{9007199254740993.0, "9007199254740992.0", "9007199254740992"},
		{0.0001, "0.0001", "0.0001"},
		{0.00001, "0.00001", "0.00001"},
		{0.000001, "1e-6", "1e-6"},
		{1.5e-7, "1.5e-7", "1.5e-7"},
		{DBL_MAX, "1.7976931348623157e308", "1.7976931348623157e308"},
		{5e-324, "5e-324", "5e-324"},
	};
	char text[LW_NUMBER_MAX];
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(lw_number_format_double(cases[i].v, true, text), strlen(cases[i].point));
		assert_string_equal(text, cases[i].point);
		lw_number_format_double(cases[i].v, false, text);
		assert_string_equal(text, cases[i].plain);
	}
}

static void test_float(void **state)
{
	static const struct {
		float v;
		const char *text;
	} cases[] = {
		{75.19685f, "75.19685"},
		{4.5f, "4.5"},
		{0.1f, "0.1"},
		{20, "20.0"},
		{16777216, "16777216.0"},
		{3.4028235e38f, "3.4028235e38"},
		{1e-45f, "1e-45"},
		{-13.2f, "-13.2"},
		{0.33333334f, "0.33333334"},
	};
	char text[LW_NUMBER_MAX];
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		lw_number_format_float(cases[i].v, true, text);
		assert_string_equal(text, cases[i].text);
	}
}

/* Whatever the value, its text reads back as that value, and none with fewer digits does. */
static void test_round_trip(void **state)
{
	uint64_t x = 88172645463325252u;
	char text[LW_NUMBER_MAX], shorter[400];
	(void)state;
	for (int i = 0; i < 20000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		double d = i % 2 ? (double)(int64_t)x / 1e18 * 180 : (double)(x % 100000) / 1000;
		if (i % 5 == 0)
			memcpy(&d, &x, sizeof(d));
		float f = (float)d;
		if (isfinite(d)) {
			lw_number_format_double(d, true, text);
			assert_true(strtod(text, NULL) == d);
			int digits = 0;
			for (const char *p = text; *p && *p != 'e'; p++)
				digits += (*p >= '0' && *p <= '9') && !(digits == 0 && *p == '0');
			if (digits > 2 && !strchr(text, 'e') && text[strlen(text) - 1] != '0') {
				snprintf(shorter, sizeof(shorter), "%.*g", digits - 1, d);
				assert_false(strtod(shorter, NULL) == d);
			}
		}
		if (isfinite(f)) {
			lw_number_format_float(f, true, text);
			assert_true(strtof(text, NULL) == f);
		}
	}
}

static void test_timestamp(void **state)
{
	static const struct {
		int64_t seconds;
		int32_t nanos;
		const char *text;
	} cases[] = {
		{0, 0, "1970-01-01T00:00:00Z"},
		{-1, 999999999, "1969-12-31T23:59:59.999999999Z"},
		{1714564800, 251307000, "2024-05-01T12:00:00.251307Z"},
		{1714564800, 100000000, "2024-05-01T12:00:00.100Z"},
		{1709164800, 0, "2024-02-29T00:00:00Z"},
		{951782400, 1, "2000-02-29T00:00:00.000000001Z"},
		{-62135596800, 0, "0001-01-01T00:00:00Z"},
		{253402300799, 999000000, "9999-12-31T23:59:59.999Z"},
		{-2203891200, 0, "1900-03-01T00:00:00Z"},
	};
	char text[LW_TIME_MAX];
	int64_t seconds;
	int32_t nanos;
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		lw_timestamp_format(cases[i].seconds, cases[i].nanos, true, text);
		assert_string_equal(text, cases[i].text);
		assert_int_equal(lw_timestamp_parse(lw_span_str(text), &seconds, &nanos), 0);
		assert_int_equal(seconds, cases[i].seconds);
		assert_int_equal(nanos, cases[i].nanos);
	}
	lw_timestamp_format(0, 0, false, text);
	assert_string_equal(text, "1970-01-01T00:00:00+00:00");
	lw_timestamp_format(INT64_MAX, -5, true, text);
	assert_string_equal(text, "9999-12-31T23:59:59.999999999Z");
	lw_timestamp_format(INT64_MIN, 2000000000, true, text);
	assert_string_equal(text, "0001-01-01T00:00:00Z");

	static const struct {
		const char *text;
		int rc;
		int64_t seconds;
	} parse[] = {
		{"2024-05-01T12:00:00+02:00", 0, 1714557600},
		{"2024-05-01t12:00:00.5z", 0, 1714564800},
		{"2024-05-01 12:00:00-00:30", 0, 1714566600},
		{"2024-05-01T12:00:00.1234567891Z", 0, 1714564800},
		{"2024-05-01T12:00:00", LW_EINVAL, 0},
		{"2023-02-29T00:00:00Z", LW_EINVAL, 0},
		{"2024-13-01T00:00:00Z", LW_EINVAL, 0},
		{"2024-05-01T24:00:00Z", LW_EINVAL, 0},
		{"2024-05-01T12:00:00.Z", LW_EINVAL, 0},
		{"2024-05-01T12:00:00Zx", LW_EINVAL, 0},
		{"2024-05-01T12:00:00+24:00", LW_EINVAL, 0},
		{"0000-01-01T00:00:00Z", LW_EINVAL, 0},
		{"0001-01-01T00:00:00+01:00", LW_ERANGE, 0},
		{"24-05-01T12:00:00Z", LW_EINVAL, 0},
		{"", LW_EINVAL, 0},
	};
	for (size_t i = 0; i < sizeof(parse) / sizeof(parse[0]); i++) {
		assert_int_equal(lw_timestamp_parse(lw_span_str(parse[i].text), &seconds, &nanos), parse[i].rc);
		if (parse[i].rc == 0)
			assert_int_equal(seconds, parse[i].seconds);
	}
}

static void test_duration(void **state)
{
	static const struct {
		const char *text;
		int rc;
		int64_t seconds;
		int32_t nanos;
		const char *printed;
	} cases[] = {
		{"1s", 0, 1, 0, "1s"},
		{"0.1s", 0, 0, 100000000, "0.100s"},
		{"1398600018.251307123s", 0, 1398600018, 251307123, "1398600018.251307123s"},
		{"-1.5s", 0, -1, -500000000, "-1.500s"},
		{"-0.000001s", 0, 0, -1000, "-0.000001s"},
		{"315576000000s", 0, 315576000000, 0, "315576000000s"},
		{"315576000001s", LW_ERANGE, 0, 0, NULL},
		{"99999999999999999999s", LW_ERANGE, 0, 0, NULL},
		{"1", LW_EINVAL, 0, 0, NULL},
		{"s", LW_EINVAL, 0, 0, NULL},
		{".s", LW_EINVAL, 0, 0, NULL},
		{"1.0000000001s", LW_EINVAL, 0, 0, NULL},
		{"+1s", LW_EINVAL, 0, 0, NULL},
		{"1s ", LW_EINVAL, 0, 0, NULL},
		{"", LW_EINVAL, 0, 0, NULL},
	};
	char text[LW_TIME_MAX];
	int64_t seconds;
	int32_t nanos;
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(lw_duration_parse(lw_span_str(cases[i].text), &seconds, &nanos), cases[i].rc);
		if (cases[i].rc < 0)
			continue;
		assert_int_equal(seconds, cases[i].seconds);
		assert_int_equal(nanos, cases[i].nanos);
		lw_duration_format(seconds, nanos, text);
		assert_string_equal(text, cases[i].printed);
	}
}

/* Each byte at each place of a text that is looked through eight bytes at a time. */
static void test_strings(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		for (size_t at = 0; at < 20; at++) {
			static const char *const short_escapes[] = {
				['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r"};
			char text[] = "!##[[]]~ 0123456789a", want[64], piece[8] = {(char)c};
			if (c == '"' || c == '\\')
				snprintf(piece, sizeof(piece), "\\%c", (int)c);
			else if (c >= 0x80)
				snprintf(piece, sizeof(piece), "\xef\xbf\xbd");
			else if (c < sizeof(short_escapes) / sizeof(short_escapes[0]) && short_escapes[c])
				snprintf(piece, sizeof(piece), "%s", short_escapes[c]);
			else if (c < 0x20)
				snprintf(piece, sizeof(piece), "\\u%04x", c);
			snprintf(want, sizeof(want), "\"%.*s%s%s\"", (int)at, text, piece, text + at + 1);
			text[at] = (char)c;
			struct lw_buf out;
			lw_buf_init(&out, 64);
			lw_json_put_string(&out, lw_span(text, 20));
			assert_string_equal(lw_buf_str(&out), want);
			lw_buf_deinit(&out);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strings),    cmocka_unit_test(test_double),    cmocka_unit_test(test_float),
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_timestamp), cmocka_unit_test(test_duration),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
