/* What may be configured, where an event goes, what an answer means. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app-server/integration/http.h"
#include "app-server/integration/kind.h"

static void test_urls(void **state)
{
	static const char *const bad[] = {"",
					  " , ",
					  "ftp://x/",
					  "http://",
					  "https:///x",
					  "example.org",
					  "http://a b/",
					  "http://u:p@h/",
					  "http://h/\x01",
					  "http://a/,gopher://b/"};
	struct lw_span v[AS_HTTP_URLS_MAX];
	struct lw_diag diag;
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(as_http_urls(bad[i], v, &diag), LW_EINVAL);
	assert_int_equal(as_http_urls(" http://a/x ,, HTTPS://b:8443/?q=1@2,http://a/x", v, &diag), 2);
	assert_true(lw_span_eq_str(v[0], "http://a/x"));
	assert_true(lw_span_eq_str(v[1], "HTTPS://b:8443/?q=1@2"));
	assert_int_equal(
		as_http_urls("http://1,http://2,http://3,http://4,http://5,http://6,http://7,http://8,http://9,"
			     "http://a,http://b,http://c,http://d,http://e,http://f,http://g,http://h",
			     v, &diag),
		LW_EINVAL);
}

static void test_headers(void **state)
{
	struct lw_diag diag;
	(void)state;
	assert_int_equal(as_http_header_check("Authorization", "Bearer a.b-c", &diag), 0);
	assert_int_equal(as_http_header_check("X-Tab", "a\tb", &diag), 0);
	assert_int_equal(as_http_header_check("", "x", &diag), LW_EINVAL);
	assert_int_equal(as_http_header_check("a:", "x", &diag), LW_EINVAL);
	assert_int_equal(as_http_header_check("a", "x\ny: z", &diag), LW_EINVAL);
	assert_int_equal(as_http_header_check("Transfer-ENCODING", "chunked", &diag), LW_EINVAL);
	assert_int_equal(as_http_header_check("idempotency-key", "1", &diag), LW_EINVAL);
}

static void check_url(const char *url, const char *want)
{
	struct lw_buf b;
	lw_buf_init(&b, 4096);
	as_http_event_url(&b, lw_span_str(url), "up");
	assert_string_equal(lw_buf_str(&b), want);
	lw_buf_deinit(&b);
}

static void test_event_url(void **state)
{
	(void)state;
	check_url("http://h", "http://h?event=up");
	check_url("http://h/a", "http://h/a?event=up");
	check_url("http://h/a?", "http://h/a?event=up");
	check_url("http://h/a?x=1", "http://h/a?x=1&event=up");
	check_url("http://h/a?x=1&", "http://h/a?x=1&event=up");
	check_url("http://h/a#f?", "http://h/a?event=up");
}

static void test_results(void **state)
{
	static const int again[] = {408, 425, 429, 500, 502, 503, 504, 599};
	static const int never[] = {301, 302, 307, 400, 401, 403, 404, 410, 413, 422};
	(void)state;
	for (int s = 200; s < 300; s++)
		assert_int_equal(as_http_result(s), AS_OUTLET_DELIVERED);
	for (size_t i = 0; i < sizeof(again) / sizeof(again[0]); i++)
		assert_int_equal(as_http_result(again[i]), AS_OUTLET_RETRY);
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		assert_int_equal(as_http_result(never[i]), AS_OUTLET_REFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_event_url),
		cmocka_unit_test(test_results),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
