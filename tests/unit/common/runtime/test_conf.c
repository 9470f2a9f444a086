#include "common/runtime/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct listener {
	char *bind;
	char *region;
	int mode;
};

struct conf {
	char *server;
	char *password;
	uint64_t keepalive_s;
	int64_t offset;
	double ratio;
	bool tls;
	uint64_t window_ms;
	uint64_t spool_bytes;
	int level;
	uint8_t net_id[3];
	struct conf_strs topics;
	struct conf_list listeners;
};

static const char *const levels[] = {"debug", "info", "warn", NULL};
static const char *const modes[] = {"udp", "ws", NULL};

static const struct conf_item listener_items[] = {
	{.key = "bind",
	 .type = CONF_STR,
	 .offset = offsetof(struct listener, bind),
	 .def = "0.0.0.0:1700",
	 .flags = CONF_REQUIRED,
	 .sentence = "Address."},
	{.key = "region",
	 .type = CONF_STR,
	 .offset = offsetof(struct listener, region),
	 .def = "eu868",
	 .sentence = "Region."},
	{.key = "mode",
	 .type = CONF_ENUM,
	 .offset = offsetof(struct listener, mode),
	 .def = "udp",
	 .names = modes,
	 .sentence = "Kind."},
};
static const struct conf_table listener_table = CONF_TABLE(listener_items, struct listener, NULL);

static const struct conf_item items[] = {
	{.key = "mqtt.server",
	 .type = CONF_STR,
	 .offset = offsetof(struct conf, server),
	 .def = "tcp://127.0.0.1:1883",
	 .flags = CONF_REQUIRED,
	 .sentence = "Broker, with a \"|\" in the sentence."},
	{.key = "mqtt.password",
	 .type = CONF_STR,
	 .offset = offsetof(struct conf, password),
	 .flags = CONF_SECRET,
	 .sentence = "Password."},
	{.key = "mqtt.keepalive",
	 .type = CONF_UINT,
	 .offset = offsetof(struct conf, keepalive_s),
	 .def = "30",
	 .min = 5,
	 .max = 65535,
	 .unit = "s",
	 .sentence = "Keep-alive."},
	{.key = "mqtt.tls",
	 .type = CONF_BOOL,
	 .offset = offsetof(struct conf, tls),
	 .def = "false",
	 .sentence = "TLS."},
	{.key = "radio.offset",
	 .type = CONF_INT,
	 .offset = offsetof(struct conf, offset),
	 .def = "-5",
	 .min = -10,
	 .max = 10,
	 .sentence = "Offset."},
	{.key = "radio.ratio",
	 .type = CONF_DOUBLE,
	 .offset = offsetof(struct conf, ratio),
	 .def = "0.5",
	 .sentence = "Ratio."},
	{.key = "dedup.window",
	 .type = CONF_DURATION,
	 .offset = offsetof(struct conf, window_ms),
	 .def = "200ms",
	 .min = 1,
	 .max = 60000,
	 .sentence = "Window."},
	{.key = "spool.max_size",
	 .type = CONF_SIZE,
	 .offset = offsetof(struct conf, spool_bytes),
	 .def = "64MiB",
	 .sentence = "Size."},
	{.key = "log.level",
	 .type = CONF_ENUM,
	 .offset = offsetof(struct conf, level),
	 .def = "info",
	 .names = levels,
	 .flags = CONF_RELOADABLE,
	 .sentence = "Level."},
	{.key = "net_id",
	 .type = CONF_HEX,
	 .offset = offsetof(struct conf, net_id),
	 .def = "000000",
	 .size = 3,
	 .sentence = "NetID."},
	{.key = "mqtt.topics",
	 .type = CONF_STR_LIST,
	 .offset = offsetof(struct conf, topics),
	 .def = "a/#, b",
	 .max = 4,
	 .sentence = "Topics."},
	{.key = "listeners",
	 .type = CONF_LIST,
	 .offset = offsetof(struct conf, listeners),
	 .sub = &listener_table,
	 .max = 3,
	 .def_list = "[{bind: \"0.0.0.0:1700\", region: eu868}]",
	 .sentence = "Listeners."},
};

static int check(const void *c, struct lw_diag *diag)
{
	const struct conf *x = c;
	if (x->tls && strncmp(x->server, "ssl://", 6) != 0) {
		lw_diag_set(diag, "mqtt.tls needs an ssl:// server");
		return LW_EINVAL;
	}
	return 0;
}
static const struct conf_table table = CONF_TABLE(items, struct conf, check);

static int load(struct conf *c, const char *text, char *const *env, struct lw_diag *d)
{
	*d = (struct lw_diag){0};
	return conf_load_text(&table, c, lw_span_str(text), "test.yml", env, "network-server", d);
}

static const struct listener *listener(const struct conf *c, size_t i)
{
	return (const struct listener *)c->listeners.v + i;
}

static void defaults_without_a_file(void **state)
{
	(void)state;
	struct conf c;
	struct lw_diag d;
	assert_int_equal(load(&c, "", NULL, &d), 0);
	assert_string_equal(c.server, "tcp://127.0.0.1:1883");
	assert_string_equal(c.password, "");
	assert_int_equal(c.keepalive_s, 30);
	assert_int_equal(c.offset, -5);
	assert_true(c.ratio == 0.5);
	assert_int_equal(c.window_ms, 200);
	assert_int_equal(c.spool_bytes, 64u << 20);
	assert_int_equal(c.level, 1);
	assert_int_equal(c.topics.n, 2);
	assert_string_equal(c.topics.v[1], "b");
	assert_int_equal(c.listeners.n, 1);
	assert_string_equal(listener(&c, 0)->region, "eu868");
	conf_release(&table, &c);
}

static void file_sets_every_kind(void **state)
{
	(void)state;
	struct conf c;
	struct lw_diag d;
	int rc = load(&c,
		      "# comment\nmqtt:\n  server: ssl://broker:8883\n  tls: yes\n  password: 'p w'\n  keepalive: 10\n"
		      "  topics: [x, 'y/+']\nradio: {offset: 3, ratio: -1.25}\ndedup:\n  window: 2s\nspool:\n  "
		      "max_size: 10MB\n"
		      "log:\n  level: debug\nnet_id: 0000AB\nlisteners:\n  - bind: ':1700'\n  - bind: ':1701'\n"
		      "    region: us915_0\n    mode: ws\n",
		      NULL, &d);
	assert_string_equal(d.text, "");
	assert_int_equal(rc, 0);
	assert_string_equal(c.server, "ssl://broker:8883");
	assert_true(c.tls);
	assert_string_equal(c.password, "p w");
	assert_int_equal(c.keepalive_s, 10);
	assert_int_equal(c.topics.n, 2);
	assert_string_equal(c.topics.v[1], "y/+");
	assert_int_equal(c.offset, 3);
	assert_true(c.ratio == -1.25);
	assert_int_equal(c.window_ms, 2000);
	assert_int_equal(c.spool_bytes, 10000000);
	assert_int_equal(c.level, 0);
	assert_int_equal(c.net_id[2], 0xab);
	assert_int_equal(c.listeners.n, 2);
	assert_string_equal(listener(&c, 1)->bind, ":1701");
	assert_string_equal(listener(&c, 1)->region, "us915_0");
	assert_int_equal(listener(&c, 1)->mode, 1);
	assert_string_equal(listener(&c, 0)->region, "eu868");
	conf_release(&table, &c);
}

static void wrong_files_say_where_and_what(void **state)
{
	(void)state;
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"mqtt:\n  sever: x\n", "test.yml:2: unknown key \"mqtt.sever\"; did you mean \"mqtt.server\"?"},
		{"mqt:\n  server: x\n", "test.yml:1: unknown key \"mqt\"; did you mean \"mqtt\"?"},
		{"\n\nkeepalive: 5\n", "test.yml:3: unknown key \"keepalive\"; did you mean \"mqtt.keepalive\"?"},
		{"completely_different_thing: 1\n", "test.yml:1: unknown key \"completely_different_thing\""},
		{"listeners:\n  - bind: a\n    regoin: b\n",
		 "test.yml:3: unknown key \"regoin\"; did you mean \"region\"?"},
		{"mqtt.server: x\n", "test.yml:1: \"mqtt.server\": write sections as nested keys"},
		{"mqtt:\n  keepalive: ten\n", "test.yml:2: mqtt.keepalive: expected a whole number, found \"ten\""},
		{"mqtt:\n  keepalive: 70000\n", "test.yml:2: mqtt.keepalive: must be 5 to 65535 s"},
		{"mqtt:\n  keepalive: -7\n", "test.yml:2: mqtt.keepalive: expected a whole number"},
		{"mqtt:\n  keepalive: 99999999999999999999\n", "test.yml:2: mqtt.keepalive: expected a whole number"},
		{"mqtt:\n  keepalive:\n", "test.yml:2: mqtt.keepalive: has no value"},
		{"mqtt:\n  tls: maybe\n", "test.yml:2: mqtt.tls: expected true or false"},
		{"mqtt:\n  tls: true\n", "test.yml: mqtt.tls needs an ssl:// server"},
		{"mqtt:\n  server: ''\n", "test.yml: mqtt.server: must be given"},
		{"mqtt:\n  server: [a]\n", "test.yml:2: mqtt.server: expected a single value"},
		{"mqtt: 5\n", "test.yml:1: mqtt: is a section"},
		{"log:\n  level: loud\n", "test.yml:2: log.level: expected one of debug, info, warn, found \"loud\""},
		{"dedup:\n  window: 2 parsecs\n", "test.yml:2: dedup.window: expected a duration"},
		{"dedup:\n  window: 2h\n", "test.yml:2: dedup.window: must be 1 to 60000 ms"},
		{"net_id: 12345\n", "test.yml:1: net_id: expected 6 hex digits"},
		{"net_id: 00000g\n", "test.yml:1: net_id: expected 6 hex digits"},
		{"listeners: x\n", "test.yml:1: listeners: expected a list"},
		{"listeners: [x]\n", "test.yml:1: listeners: expected key: value pairs"},
		{"listeners: [{}, {}, {}, {}]\n", "test.yml:1: listeners: more than 3 elements"},
		{"listeners:\n  - bind: ''\n", "test.yml: listeners[0]: bind: must be given"},
		{"mqtt:\n  topics: [a, [b]]\n", "test.yml:2: mqtt.topics: expected text"},
		{"net_id: 000000\nlog:\n  level: info\nnet_id: 000001\n",
		 "test.yml:4: key \"net_id\" is given twice, first in line 1"},
		{"mqtt: [\n", "test.yml:2: "},
		{"a: \"\x01\"\n", "test.yml:1: "},
		{"- a\n", "test.yml:1: expected key: value pairs"},
		{"? [a]\n: b\n", "test.yml:1: a key must be text"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct conf c;
		struct lw_diag d;
		if (load(&c, cases[i].text, NULL, &d) >= 0)
			fail_msg("\"%s\" was accepted", cases[i].text);
		if (strncmp(d.text, cases[i].want, strlen(cases[i].want)) != 0)
			fail_msg("\"%s\" gave \"%s\", not \"%s\"", cases[i].text, d.text, cases[i].want);
	}
}

static void secret_is_not_repeated_in_an_error(void **state)
{
	(void)state;
	static const struct conf_item secret[] = {{.key = "key",
						   .type = CONF_HEX,
						   .offset = 0,
						   .def = "0000",
						   .size = 2,
						   .flags = CONF_SECRET,
						   .sentence = "Key."}};
	static const struct conf_table t = {.items = secret, .n = 1, .size = 2};
	uint8_t c[2];
	struct lw_diag d = {0};
	assert_true(conf_load_text(&t, c, lw_span_str("key: hunter2\n"), "f", NULL, NULL, &d) < 0);
	assert_null(strstr(d.text, "hunter"));
	assert_non_null(strstr(d.text, "f:1: key: expected 4 hex digits"));
}

static void environment_overrides(void **state)
{
	(void)state;
	char *env[] = {"PATH=/bin",
		       "LONGWAVE_MQTT__SERVER=tcp://env:1",
		       "LONGWAVE_NETWORK_SERVER__MQTT__SERVER=tcp://mine:2",
		       "LONGWAVE_MQTT__TOPICS=one,two , three",
		       "LONGWAVE_LISTENERS__1__BIND=:1701",
		       "LONGWAVE_LISTENERS__1__REGION=us915_0",
		       "LONGWAVE_LISTENERS__0__BIND=:1",
		       "LONGWAVE_SOMEONE_ELSES__KEY=x",
		       "LONGWAVE_ADMIN_PASSWORD=x",
		       NULL};
	struct conf c;
	struct lw_diag d;
	int rc = load(&c, "mqtt:\n  server: tcp://file:1\n", env, &d);
	assert_string_equal(d.text, "");
	assert_int_equal(rc, 0);
	assert_string_equal(c.server, "tcp://mine:2");
	assert_int_equal(c.topics.n, 3);
	assert_string_equal(c.topics.v[1], "two");
	assert_int_equal(c.listeners.n, 2);
	assert_string_equal(listener(&c, 0)->bind, ":1");
	assert_string_equal(listener(&c, 1)->bind, ":1701");
	assert_string_equal(listener(&c, 1)->region, "us915_0");
	conf_release(&table, &c);

	char *list[] = {"LONGWAVE_LISTENERS=[{bind: ':5'}, {bind: ':6', mode: ws}]", NULL};
	assert_int_equal(load(&c, "", list, &d), 0);
	assert_int_equal(c.listeners.n, 2);
	assert_int_equal(listener(&c, 1)->mode, 1);
	conf_release(&table, &c);
}

static void wrong_environment_names_the_variable(void **state)
{
	(void)state;
	static const struct {
		char *var;
		const char *want;
	} cases[] = {
		{"LONGWAVE_MQTT__KEEPALIVE=x",
		 "environment LONGWAVE_MQTT__KEEPALIVE: mqtt.keepalive: expected a whole number"},
		{"LONGWAVE_NETWORK_SERVER__MQTT__SEVER=x", "did you mean \"mqtt.server\"?"},
		{"LONGWAVE_LISTENERS__7__BIND=x", "listeners has 1 elements, so the next number is 1"},
		{"LONGWAVE_LISTENERS=[{bnd: x}]", "unknown key \"bnd\"; did you mean \"bind\"?"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *env[] = {cases[i].var, NULL};
		struct conf c;
		struct lw_diag d;
		assert_true(load(&c, "", env, &d) < 0);
		if (!strstr(d.text, cases[i].want))
			fail_msg("%s gave \"%s\"", cases[i].var, d.text);
	}
}

static void printed_defaults_load_as_the_defaults(void **state)
{
	(void)state;
	struct lw_buf out;
	lw_buf_init(&out, 1u << 16);
	conf_print_defaults(&table, &out);
	struct conf a, b;
	struct lw_diag d;
	assert_int_equal(load(&a, "", NULL, &d), 0);
	int rc = load(&b, lw_buf_str(&out), NULL, &d);
	assert_string_equal(d.text, "");
	assert_int_equal(rc, 0);
	assert_int_equal(conf_diff_reloadable(&table, &a, &b, &d), 0);
	assert_int_equal(a.level, b.level);
	/* Sections once, though mqtt.topics stands apart from the others in the table. */
	const char *first = strstr(lw_buf_str(&out), "mqtt:");
	assert_non_null(first);
	assert_null(strstr(first + 1, "\nmqtt:"));
	assert_non_null(strstr(lw_buf_str(&out), "# Keep-alive. 5 to 65535 s."));
	conf_release(&table, &a);
	conf_release(&table, &b);
	lw_buf_reset(&out);
	conf_print_docs(&table, &out);
	assert_non_null(strstr(lw_buf_str(&out),
			       "| `mqtt.server` | text | `tcp://127.0.0.1:1883` | `LONGWAVE_MQTT__SERVER` | "
			       "Broker, with a \"\\|\" in the sentence. Must be given. |"));
	assert_non_null(strstr(lw_buf_str(&out),
			       "| `listeners[].bind` | text | `0.0.0.0:1700` | `LONGWAVE_LISTENERS__N__BIND`"));
	lw_buf_deinit(&out);
}

static void reload_tells_what_needs_a_restart(void **state)
{
	(void)state;
	struct conf a, b;
	struct lw_diag d;
	assert_int_equal(load(&a, "", NULL, &d), 0);
	assert_int_equal(load(&b, "log:\n  level: warn\n", NULL, &d), 0);
	assert_int_equal(conf_diff_reloadable(&table, &a, &b, &d), 0);
	conf_release(&table, &b);
	assert_int_equal(load(&b, "mqtt:\n  keepalive: 60\nlisteners: []\n", NULL, &d), 0);
	assert_true(conf_diff_reloadable(&table, &a, &b, &d) < 0);
	assert_string_equal(d.text, "needs a restart: mqtt.keepalive, listeners");
	conf_release(&table, &a);
	conf_release(&table, &b);
}

static void file_on_disk(void **state)
{
	(void)state;
	char path[] = "/tmp/lw_conf_XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "net_id: 000007\n", 15), 15);
	close(fd);
	struct conf c;
	struct lw_diag d = {0};
	assert_int_equal(conf_load(&table, &c, path, NULL, NULL, &d), 0);
	assert_int_equal(c.net_id[2], 7);
	conf_release(&table, &c);
	unlink(path);
	assert_true(conf_load(&table, &c, path, NULL, NULL, &d) < 0);
	assert_non_null(strstr(d.text, "No such file"));
}

static void units(void **state)
{
	(void)state;
	uint64_t v;
	assert_int_equal(conf_parse_duration_ms("1d", &v), 0);
	assert_int_equal(v, 86400000);
	assert_int_equal(conf_parse_duration_ms("15", &v), 0);
	assert_int_equal(v, 15);
	assert_int_equal(conf_parse_duration_ms("2 m", &v), 0);
	assert_int_equal(v, 120000);
	assert_int_equal(conf_parse_duration_ms("", &v), LW_EINVAL);
	assert_int_equal(conf_parse_duration_ms("-1s", &v), LW_EINVAL);
	assert_int_equal(conf_parse_duration_ms("18446744073709551615d", &v), LW_ERANGE);
	assert_int_equal(conf_parse_size("2GiB", &v), 0);
	assert_true(v == UINT64_C(2147483648));
	assert_int_equal(conf_parse_size("2gib", &v), LW_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_without_a_file),
		cmocka_unit_test(file_sets_every_kind),
		cmocka_unit_test(wrong_files_say_where_and_what),
		cmocka_unit_test(secret_is_not_repeated_in_an_error),
		cmocka_unit_test(environment_overrides),
		cmocka_unit_test(wrong_environment_names_the_variable),
		cmocka_unit_test(printed_defaults_load_as_the_defaults),
		cmocka_unit_test(reload_tells_what_needs_a_restart),
		cmocka_unit_test(file_on_disk),
		cmocka_unit_test(units),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
