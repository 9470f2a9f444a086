#include "common/runtime/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "common/base/err.h"

struct rig {
	int fd[2];
	struct rt_log *log;
	char text[65536];
};

static int setup(void **state)
{
	static struct rig r;
	memset(&r, 0, sizeof(r));
	if (pipe(r.fd) != 0)
		return -1;
	fcntl(r.fd[0], F_SETFL, O_NONBLOCK);
	r.log = rt_log_new(r.fd[1], RT_LOG_TEXT, RT_INFO);
	*state = &r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;
	rt_log_free(r->log);
	close(r->fd[0]);
	close(r->fd[1]);
	return 0;
}

/* What has been written since the last call. */
static const char *take(struct rig *r)
{
	ssize_t n = read(r->fd[0], r->text, sizeof(r->text) - 1);
	r->text[n > 0 ? n : 0] = 0;
	return r->text;
}

static size_t count(const char *s, char c)
{
	size_t n = 0;
	for (; *s; s++)
		n += *s == c;
	return n;
}

static void text_line_has_level_event_and_fields(void **state)
{
	struct rig *r = *state;
	RT_LOG_INFO(r->log, "gateway connected", rt_eui("gateway_id", 0x0102030405060708), rt_u64("n", 7),
		    rt_str("name", "a b\"c"), rt_err(LW_ENOTFOUND), rt_bool("ok", true), rt_hex32("addr", 0xab),
		    rt_hex("phy", lw_span("\x01\xff", 2)), rt_f64("x", 1.5), rt_i64("i", -3));
	const char *s = take(r);
	assert_non_null(strstr(s, "Z INFO  gateway connected gateway_id=0102030405060708 n=7 name=\"a b\\\"c\" "
				  "error=\"not found\" ok=true addr=000000ab phy=01ff x=1.5 i=-3\n"));
	assert_int_equal(count(s, '\n'), 1);
}

static void level_decides(void **state)
{
	struct rig *r = *state;
	RT_LOG_DEBUG(r->log, "not shown");
	assert_string_equal(take(r), "");
	rt_log_set_level(r->log, RT_DEBUG);
	RT_LOG_DEBUG(r->log, "shown");
	assert_non_null(strstr(take(r), "DEBUG shown\n"));
	rt_log_set_level(r->log, RT_OFF);
	RT_LOG_ERROR(r->log, "not shown");
	assert_string_equal(take(r), "");
	RT_LOG_ERROR((struct rt_log *)NULL, "no log at all");
	enum rt_level l;
	assert_int_equal(rt_level_parse("warn", &l), 0);
	assert_int_equal(l, RT_WARN);
	assert_int_equal(rt_level_parse("loud", &l), LW_EINVAL);
}

static void json_line_parses_whatever_the_fields_hold(void **state)
{
	struct rig *r = *state;
	rt_log_set_format(r->log, RT_LOG_JSON);
	rt_log_set_daemon(r->log, "network-server");
	RT_LOG_WARN(r->log, "odd \"event\"", rt_str("s", "line\nbreak\x01 \"q\" \\ \xc3\xa9 \xff end"),
		    rt_u64("u", UINT64_MAX), rt_i64("i", INT64_MIN), rt_bool("b", false), rt_eui("e", 1),
		    rt_f64("nan", 0.0 / 0.0), rt_span("sp", lw_span("abc", 2)));
	struct json_object *o = json_tokener_parse(take(r));
	assert_non_null(o);
	assert_string_equal(json_object_get_string(json_object_object_get(o, "event")), "odd \"event\"");
	assert_string_equal(json_object_get_string(json_object_object_get(o, "daemon")), "network-server");
	assert_string_equal(json_object_get_string(json_object_object_get(o, "level")), "warn");
	assert_string_equal(json_object_get_string(json_object_object_get(o, "s")),
			    "line\nbreak\x01 \"q\" \\ \xc3\xa9 \xef\xbf\xbd end");
	assert_true(json_object_get_uint64(json_object_object_get(o, "u")) == UINT64_MAX);
	assert_string_equal(json_object_get_string(json_object_object_get(o, "e")), "0000000000000001");
	assert_string_equal(json_object_get_string(json_object_object_get(o, "sp")), "ab");
	json_object_put(o);
}

static void long_line_is_cut_and_still_json(void **state)
{
	struct rig *r = *state;
	rt_log_set_format(r->log, RT_LOG_JSON);
	char big[5000];
	memset(big, '"', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	RT_LOG_INFO(r->log, "big", rt_str("a", big), rt_str("b", big), rt_str("c", big), rt_str("d", big));
	const char *s = take(r);
	assert_true(strlen(s) <= RT_LOG_LINE_MAX);
	struct json_object *o = json_tokener_parse(s);
	assert_non_null(o);
	assert_true(json_object_get_boolean(json_object_object_get(o, "cut")));
	json_object_put(o);
}

static void call_site_is_limited(void **state)
{
	struct rig *r = *state;
	struct rt_log_site site = {0};
	for (int i = 0; i < 500; i++)
		rt_log_write(r->log, &site, RT_INFO, "flood", NULL, 0);
	size_t n = count(take(r), '\n');
	/* The second may change once while this runs. */
	assert_true(n >= RT_LOG_SITE_LIMIT && n <= 2 * RT_LOG_SITE_LIMIT);
	assert_int_equal(rt_log_suppressed(r->log), 500 - n);
	/* The next second reports what was left out. */
	site.second -= 1;
	uint32_t left = site.left_out;
	rt_log_write(r->log, &site, RT_INFO, "flood", NULL, 0);
	char want[40];
	snprintf(want, sizeof(want), "flood left_out=%u\n", left);
	assert_non_null(strstr(take(r), want));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(text_line_has_level_event_and_fields),
		T(level_decides),
		T(json_line_parses_whatever_the_fields_hold),
		T(long_line_is_cut_and_still_json),
		T(call_site_is_limited),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
