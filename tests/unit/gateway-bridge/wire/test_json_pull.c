#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gateway-bridge/wire/json_pull.h"

static bool valid(const char *text)
{
	struct gb_json j = gb_json_init(lw_span_str(text));
	return gb_json_skip(&j) && gb_json_at_end(&j);
}

static void test_grammar(void **state)
{
	(void)state;
	static const char *const good[] = {"0",
					   "-0",
					   "1.5e-3",
					   "1E+2",
					   "\"\"",
					   "\"a\\u00e9\\\\\\/\"",
					   "true",
					   "false",
					   "null",
					   "[]",
					   "{}",
					   " [ 1 , [ ] , { \"a\" : { } } ] ",
					   "{\"a\":1,\"b\":[true,false,null,\"x\"]}"};
	static const char *const bad[] = {"",     "-",       "01",          "1.",       ".5",         "1e",    "+1",
					  "\"",   "\"\\x\"", "\"\\u12g4\"", "\"\n\"",   "tru",        "nul",   "[1,]",
					  "[,1]", "[1 2]",   "{\"a\"}",     "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:1}",
					  "[",    "{",       "[1",          "{\"a\":1", "1 1",        "[]]",   "NaN",
					  "'a'",  "[1}",     "{\"a\":1]"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(valid(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (valid(bad[i]))
			fail_msg("accepted: %s", bad[i]);
	}
}

static void test_depth_is_bounded(void **state)
{
	(void)state;
	char deep[2 * (GB_JSON_MAX_DEPTH + 1) + 1];
	for (size_t d = GB_JSON_MAX_DEPTH; d <= GB_JSON_MAX_DEPTH + 1; d++) {
		memset(deep, '[', d);
		memset(deep + d, ']', d);
		deep[2 * d] = '\0';
		assert_int_equal(valid(deep), d == GB_JSON_MAX_DEPTH);
	}
}

static void test_members(void **state)
{
	(void)state;
	struct gb_json j = gb_json_init(lw_span_str("{\"a\\\"b\":[1,{\"x\":2}], \"c\" : 3}"));
	struct lw_span key, v;
	bool first = true;
	assert_true(gb_json_open(&j, '{'));
	assert_true(gb_json_member(&j, &first, &key));
	assert_true(lw_span_eq_str(key, "a\\\"b"));
	assert_true(gb_json_value(&j, &v));
	assert_true(lw_span_eq_str(v, "[1,{\"x\":2}]"));
	assert_true(gb_json_member(&j, &first, &key));
	assert_true(lw_span_eq_str(key, "c"));
	assert_true(gb_json_value(&j, &v));
	assert_false(gb_json_member(&j, &first, &key));
	assert_true(gb_json_at_end(&j));
}

static int64_t fixed(const char *text, int decimals)
{
	int64_t v;
	assert_true(gb_json_fixed(lw_span_str(text), decimals, INT64_MIN, INT64_MAX, &v));
	return v;
}

static void test_fixed(void **state)
{
	(void)state;
	int64_t v;
	assert_int_equal(fixed("868.1", 6), 868100000);
	assert_int_equal(fixed("868", 6), 868000000);
	assert_int_equal(fixed("868.1234567", 6), 868123457);
	assert_int_equal(fixed("868.1234564999", 6), 868123456);
	assert_int_equal(fixed("8.683e2", 6), 868300000);
	assert_int_equal(fixed("-1", 0), -1);
	assert_int_equal(fixed("-97.5", 0), -98);
	assert_int_equal(fixed("0.4", 0), 0);
	assert_int_equal(fixed("1e-400", 0), 0);
	assert_int_equal(fixed("0e99999999999", 6), 0);
	assert_int_equal(fixed("4294967295", 0), 4294967295);
	assert_int_equal(fixed("9223372036854775", 3), 9223372036854775000);
	assert_false(gb_json_fixed(lw_span_str("1e30"), 0, INT64_MIN, INT64_MAX, &v));
	assert_false(gb_json_fixed(lw_span_str("4294967296"), 0, 0, UINT32_MAX, &v));
	assert_false(gb_json_fixed(lw_span_str("-1"), 0, 0, UINT32_MAX, &v));
	assert_false(gb_json_fixed(lw_span_str("\"1\""), 0, 0, 10, &v));
	assert_false(gb_json_fixed(lw_span_str("true"), 0, 0, 10, &v));
}

/* Every frequency that a plan can hold comes back as the same integer. */
static void test_fixed_is_exact(void **state)
{
	(void)state;
	char text[32];
	for (uint32_t hz = 863000000; hz <= 870000000; hz += 100) {
		snprintf(text, sizeof(text), "%u.%06u", hz / 1000000, hz % 1000000);
		assert_int_equal(fixed(text, 6), hz);
	}
}

static void test_double(void **state)
{
	(void)state;
	static const char *const texts[] = {"0",      "-0.1",
					    "4.5",    "52.2",
					    "-4.9",   "1e22",
					    "1e23",   "0.1234567890123456789",
					    "1e-300", "123456789012345678901234567890"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		double v;
		assert_true(gb_json_double(lw_span_str(texts[i]), &v));
		assert_true(v == strtod(texts[i], NULL));
	}
	double v;
	assert_false(gb_json_double(lw_span_str("1e999"), &v));
	assert_false(gb_json_double(lw_span_str("null"), &v));
}

static void test_strings(void **state)
{
	(void)state;
	char out[32];
	struct lw_span s;
	int n = gb_json_string(lw_span_str("\"a\\/\\n\\u00e9\\ud83d\\ude00\""), out, sizeof(out));
	assert_int_equal(n, 9);
	assert_memory_equal(out, "a/\n\xc3\xa9\xf0\x9f\x98\x80", 9);
	assert_int_equal(gb_json_string(lw_span_str("\"\\ud83d\""), out, sizeof(out)), -1);
	assert_int_equal(gb_json_string(lw_span_str("\"\\ude00\""), out, sizeof(out)), -1);
	assert_int_equal(gb_json_string(lw_span_str("\"abc\""), out, 2), -1);
	assert_int_equal(gb_json_string(lw_span_str("12"), out, sizeof(out)), -1);
	assert_true(gb_json_plain(lw_span_str("\"abc\""), &s));
	assert_true(lw_span_eq_str(s, "abc"));
	assert_false(gb_json_plain(lw_span_str("\"a\\/c\""), &s));
}

static void test_utf8(void **state)
{
	(void)state;
	assert_true(gb_utf8_valid("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10));
	assert_false(gb_utf8_valid("\0", 1));
	assert_false(gb_utf8_valid("\xc3", 1));
	assert_false(gb_utf8_valid("\xc0\x80", 2));
	assert_false(gb_utf8_valid("\xed\xa0\x80", 3));
	assert_false(gb_utf8_valid("\xf4\x90\x80\x80", 4));
	assert_false(gb_utf8_valid("\x80", 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grammar),        cmocka_unit_test(test_depth_is_bounded),
		cmocka_unit_test(test_members),        cmocka_unit_test(test_fixed),
		cmocka_unit_test(test_fixed_is_exact), cmocka_unit_test(test_double),
		cmocka_unit_test(test_strings),        cmocka_unit_test(test_utf8),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
