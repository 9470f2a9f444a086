/* Unit tests of common/base/time: RFC 3339 both ways, the GPS epoch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/base/time.h"

static int64_t parsed(const char *text)
{
	int64_t ns;
	if (lw_rfc3339_parse(text, &ns) < 0)
		fail_msg("does not parse: %s", text);
	return ns;
}

static void test_parse(void **state)
{
	(void)state;
	int64_t base = INT64_C(1709208000) * LW_NS_PER_S; /* date -u -d 2024-02-29T12:00:00Z +%s */
	assert_true(parsed("2024-02-29T12:00:00Z") == base);
	assert_true(parsed("2024-02-29t12:00:00z") == base);
	assert_true(parsed("2024-02-29 12:00:00") == base);
	assert_true(parsed("2024-02-29T12:00:00+00:00") == base);
	assert_true(parsed("2024-02-29T14:30:00+02:30") == base);
	assert_true(parsed("2024-02-29T07:00:00-0500") == base);
	assert_true(parsed("2024-02-29T13:00:00+01") == base);
	assert_true(parsed("2024-02-29T12:00:00.5Z") == base + 500000000);
	assert_true(parsed("2024-02-29T12:00:00.000000001Z") == base + 1);
	assert_true(parsed("2024-02-29T12:00:00.0000000019999Z") == base + 1);
	assert_true(parsed("2016-12-31T23:59:60Z") == parsed("2017-01-01T00:00:00Z"));
	assert_true(parsed("1969-12-31T23:59:59.5Z") == -500000000);
	int64_t ns;
	static const char *const bad[] = {
		"",
		"2024",
		"2024-02-30T12:00:00Z",
		"2023-02-29T12:00:00Z",
		"2024-13-01T12:00:00Z",
		"2024-02-29T24:00:00Z",
		"2024-02-29T12:60:00Z",
		"2024-02-29T12:00:61Z",
		"2024-02-29T12:00:00.Z",
		"2024-02-29T12:00:00Zx",
		"2024-02-29T12:00:00+2",
		"2024-02-29T12:00:00+99:00",
		"2024-02-29T12:00",
		"2024-02-29X12:00:00Z",
		"-024-02-29T12:00:00Z",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(lw_rfc3339_parse(bad[i], &ns), LW_EINVAL);
	assert_int_equal(lw_rfc3339_parse("9999-01-01T00:00:00Z", &ns), LW_ERANGE);
	assert_int_equal(lw_rfc3339_parse("0001-01-01T00:00:00Z", &ns), LW_ERANGE);
}

static void test_format(void **state)
{
	(void)state;
	char t[LW_RFC3339_MAX];
	int64_t base = parsed("2024-02-29T12:00:00Z");
	assert_string_equal(lw_rfc3339_format(base, LW_FRAC_AUTO, "Z", t), "2024-02-29T12:00:00Z");
	assert_string_equal(lw_rfc3339_format(base, LW_FRAC_3, "+00:00", t), "2024-02-29T12:00:00.000+00:00");
	assert_string_equal(lw_rfc3339_format(base + 1500000, LW_FRAC_AUTO, "Z", t), "2024-02-29T12:00:00.001500Z");
	assert_string_equal(lw_rfc3339_format(base + 1000000, LW_FRAC_AUTO, "Z", t), "2024-02-29T12:00:00.001Z");
	assert_string_equal(lw_rfc3339_format(base + 1, LW_FRAC_AUTO, "Z", t), "2024-02-29T12:00:00.000000001Z");
	assert_string_equal(lw_rfc3339_format(base + 999999999, LW_FRAC_0, "Z", t), "2024-02-29T12:00:00Z");
	assert_string_equal(lw_rfc3339_format(-1, LW_FRAC_AUTO, "Z", t), "1969-12-31T23:59:59.999999999Z");
	struct lw_rng rng;
	lw_rng_init_seeded(&rng, 9);
	for (int i = 0; i < 20000; i++) {
		int64_t ns = (int64_t)lw_rng_u64(&rng);
		assert_true(parsed(lw_rfc3339_format(ns, LW_FRAC_9, "Z", t)) == ns);
		/* The C library as second opinion. */
		time_t sec = (time_t)lw_split_ns(ns).sec;
		struct tm tm;
		char want[32];
		assert_non_null(gmtime_r(&sec, &tm));
		assert_true(strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%S", &tm) == 19);
		assert_memory_equal(t, want, 19);
	}
	lw_rfc3339_format(INT64_MIN, LW_FRAC_9, "Z", t);
	lw_rfc3339_format(INT64_MAX, LW_FRAC_9, "Z", t);
}

static void test_gps(void **state)
{
	(void)state;
	/* The epoch itself; today's difference; around the newest leap second. */
	assert_true(lw_gps_from_unix_ns(parsed("1980-01-06T00:00:00Z")) == 0);
	assert_true(lw_gps_from_unix_ns(parsed("2024-05-01T12:00:00Z")) == INT64_C(1398600018) * LW_NS_PER_S);
	int64_t leap = parsed("2017-01-01T00:00:00Z");
	assert_true(lw_gps_from_unix_ns(leap) - lw_gps_from_unix_ns(leap - LW_NS_PER_S) == 2 * LW_NS_PER_S);
	for (int y = 0; y < 60; y++) {
		int64_t t = parsed("1980-01-06T00:00:00Z") + y * INT64_C(31557600) * LW_NS_PER_S + 123;
		assert_true(lw_gps_to_unix_ns(lw_gps_from_unix_ns(t)) == t);
	}
}

static void test_split(void **state)
{
	(void)state;
	struct lw_sec_nanos s = lw_split_ns(-1);
	assert_true(s.sec == -1 && s.nanos == 999999999);
	assert_true(lw_join_ns(s.sec, s.nanos) == -1);
	assert_true(lw_join_ns(INT64_MAX, 0) == INT64_MAX);
	assert_true(lw_join_ns(INT64_MIN, 0) == INT64_MIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_gps),
		cmocka_unit_test(test_split),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
