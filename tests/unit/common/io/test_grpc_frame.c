/* Encodings of gRPC over HTTP/2, status tables, addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/io/grpc_frame.h"
#include "common/io/grpc_status.h"
#include "common/io/net_addr.h"
#include "proto/grpc/health/v1/health.pb-c.h"

static void test_frames(void **state)
{
	(void)state;
	const uint8_t bytes[] = {0, 0, 0, 0, 2, 'a', 'b', 0, 0, 0, 0, 0};
	struct lw_span msg;
	size_t used;
	for (size_t n = 0; n < 7; n++)
		assert_int_equal(grpc_frame_next(lw_span(bytes, n), 100, &msg, &used), 0);
	assert_int_equal(grpc_frame_next(lw_span(bytes, sizeof(bytes)), 100, &msg, &used), 1);
	assert_int_equal(used, 7);
	assert_true(lw_span_eq_str(msg, "ab"));
	assert_int_equal(grpc_frame_next(lw_span(bytes + 7, 5), 100, &msg, &used), 1);
	assert_int_equal(msg.n, 0);
	/* The size is refused before the message is there. */
	assert_int_equal(grpc_frame_next(lw_span(bytes, 5), 1, &msg, &used), LW_EBIG);
	const uint8_t compressed[] = {1, 0, 0};
	assert_int_equal(grpc_frame_next(lw_span(compressed, 3), 100, &msg, &used), LW_EUNSUPPORTED);
	const uint8_t unknown[] = {0x80};
	assert_int_equal(grpc_frame_next(lw_span(unknown, 1), 100, &msg, &used), LW_EPROTO);
	const uint8_t huge[] = {0, 0xff, 0xff, 0xff, 0xff};
	assert_int_equal(grpc_frame_next(lw_span(huge, 5), SIZE_MAX, &msg, &used), 0);
	assert_int_equal(grpc_frame_next(lw_span(huge, 5), 1000, &msg, &used), LW_EBIG);
}

static void test_messages(void **state)
{
	(void)state;
	Grpc__Health__V1__HealthCheckRequest m = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	m.service = (char *)(uintptr_t) "abc";
	struct lw_buf b;
	lw_buf_init(&b, 100);
	assert_int_equal(grpc_frame_append(&b, &m.base, 4), LW_EBIG);
	assert_int_equal(b.n, 0);
	assert_int_equal(grpc_frame_append(&b, &m.base, 5), 0);
	assert_memory_equal(b.p, "\0\0\0\0\5\x0a\3abc", 10);
	struct lw_arena a;
	lw_arena_init(&a, NULL, 0, 4096);
	ProtobufCMessage *back = grpc_unpack(m.base.descriptor, lw_span(b.p + 5, 5), &a);
	assert_non_null(back);
	assert_string_equal(((Grpc__Health__V1__HealthCheckRequest *)back)->service, "abc");
	assert_null(grpc_unpack(m.base.descriptor, lw_span("\x0a\xff", 2), &a));
	lw_arena_deinit(&a);
	lw_buf_reset(&b);
	m.service = (char *)(uintptr_t) "";
	assert_int_equal(grpc_pack(&b, &m.base, 5), 0);
	assert_int_equal(b.n, 0);
	lw_buf_deinit(&b);
}

static void test_timeout(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ns;
	} GOOD[] = {{"1H", 3600 * LW_NS_PER_S},
		    {"2M", 120 * LW_NS_PER_S},
		    {"3S", 3 * LW_NS_PER_S},
		    {"100m", 100 * LW_NS_PER_MS},
		    {"5u", 5000},
		    {"99999999n", 99999999},
		    {"0S", 0}};
	int64_t ns;
	for (size_t i = 0; i < sizeof(GOOD) / sizeof(GOOD[0]); i++) {
		assert_int_equal(grpc_timeout_parse(GOOD[i].text, &ns), 0);
		assert_int_equal(ns, GOOD[i].ns);
	}
	assert_int_equal(grpc_timeout_parse("99999999H", &ns), 0);
	assert_true(ns > 0);
	static const char *const BAD[] = {"", "S", "1", "1s", "-1S", "1SS", "123456789S", " 1S", "1.5S"};
	for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++)
		assert_int_equal(grpc_timeout_parse(BAD[i], &ns), LW_EINVAL);
	static const int64_t TRIPS[] = {0, 1000, LW_NS_PER_MS, 5 * LW_NS_PER_S, 86400 * LW_NS_PER_S, INT64_MAX / 2};
	for (size_t i = 0; i < sizeof(TRIPS) / sizeof(TRIPS[0]); i++) {
		char text[GRPC_TIMEOUT_LEN];
		grpc_timeout_format(TRIPS[i], text);
		assert_int_equal(grpc_timeout_parse(text, &ns), 0);
		/* Never shorter than asked, up to the ten years that parsing allows. */
		assert_true(ns >= TRIPS[i] || ns >= 3650 * 86400 * LW_NS_PER_S);
	}
}

static void test_message_text(void **state)
{
	(void)state;
	struct lw_buf b;
	lw_buf_init(&b, 1000);
	assert_int_equal(grpc_message_encode(&b, "50% \xc3\xbc\n~"), 0);
	assert_string_equal(lw_buf_str(&b), "50%25 %C3%BC%0A~");
	char text[64];
	strcpy(text, lw_buf_str(&b));
	grpc_message_decode(text);
	assert_string_equal(text, "50% \xc3\xbc\n~");
	strcpy(text, "%zz%4%00a%2");
	grpc_message_decode(text);
	assert_string_equal(text, "%zz%4%00a%2");
	lw_buf_deinit(&b);
}

static void test_content_type(void **state)
{
	(void)state;
	assert_true(grpc_content_type_ok("application/grpc"));
	assert_true(grpc_content_type_ok("application/grpc+proto"));
	assert_true(grpc_content_type_ok("Application/GRPC; charset=utf-8"));
	assert_false(grpc_content_type_ok("application/grpc+json"));
	assert_false(grpc_content_type_ok("application/grpc-web"));
	assert_false(grpc_content_type_ok("application/json"));
	assert_false(grpc_content_type_ok(""));
}

static void test_status(void **state)
{
	(void)state;
	assert_string_equal(grpc_status_name(GRPC_NOT_FOUND), "NOT_FOUND");
	assert_string_equal(grpc_status_name(99), "UNKNOWN");
	assert_string_equal(grpc_status_name(-1), "UNKNOWN");
	assert_int_equal(grpc_status_to_http(GRPC_UNAUTHENTICATED), 401);
	assert_int_equal(grpc_status_from_err(0), GRPC_OK);
	assert_int_equal(grpc_status_from_err(LW_ENOTFOUND), GRPC_NOT_FOUND);
	assert_int_equal(grpc_status_from_err(LW_EINTERNAL), GRPC_INTERNAL);
	assert_int_equal(grpc_status_from_err(-5), GRPC_INTERNAL);
	assert_int_equal(grpc_status_from_http(503), GRPC_UNAVAILABLE);
	for (int s = 0; s <= 16; s++) {
		if (s != GRPC_UNKNOWN && s != GRPC_OK)
			assert_int_equal(grpc_status_from_err(grpc_status_to_err(s)), s);
	}
}

static void test_addresses(void **state)
{
	(void)state;
	char host[NET_HOST_LEN];
	uint16_t port;
	assert_int_equal(net_addr_split("example.org:8000", host, &port), 0);
	assert_string_equal(host, "example.org");
	assert_int_equal(port, 8000);
	assert_int_equal(net_addr_split("[::1]:1", host, &port), 0);
	assert_string_equal(host, "::1");
	static const char *const BAD[] = {"", "x", "x:", "x:65536", "x:-1", "::1:80", "[::1:80", "x:80y", "[::1]80"};
	for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++)
		assert_int_equal(net_addr_split(BAD[i], host, &port), LW_EINVAL);
	struct sockaddr_storage sa;
	char text[NET_ADDR_LEN];
	static const char *const TRIPS[][2] = {{"127.0.0.1:80", "127.0.0.1:80"},
					       {"localhost:1", "127.0.0.1:1"},
					       {":8080", "0.0.0.0:8080"},
					       {"[::1]:443", "[::1]:443"}};
	for (size_t i = 0; i < sizeof(TRIPS) / sizeof(TRIPS[0]); i++) {
		assert_int_equal(net_addr_parse(TRIPS[i][0], &sa), 0);
		net_addr_format((struct sockaddr *)&sa, text);
		assert_string_equal(text, TRIPS[i][1]);
	}
	assert_int_equal(net_addr_parse("example.org:80", &sa), LW_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),       cmocka_unit_test(test_messages),
		cmocka_unit_test(test_timeout),      cmocka_unit_test(test_message_text),
		cmocka_unit_test(test_content_type), cmocka_unit_test(test_status),
		cmocka_unit_test(test_addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
