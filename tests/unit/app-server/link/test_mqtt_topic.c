/* Topic templates: made, read back, subscribed to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "app-server/link/mqtt_topic.h"
#include "common/io/mqtt.h"

#define APP "ca739e26-7b67-4f14-b69e-d568c22a5a75"
#define EUI "70b3d57ed0001a2b"
#define DEFAULT "application/{{application_id}}/device/{{dev_eui}}/command/{{command}}"

static const struct {
	const char *template, *topic, *filter;
} good[] = {
	{DEFAULT, "application/" APP "/device/" EUI "/command/down",
	 "$share/longwave/application/+/device/+/command/+"},
	{"{{ dev_eui }}/{{command}}/{{ application_id}}", EUI "/down/" APP, "$share/longwave/+/+/+"},
	{"a/{{application_id}}/dev-{{dev_eui}}.x/{{command}}/z", "a/" APP "/dev-" EUI ".x/down/z",
	 "$share/longwave/a/+/+/+/z"},
	{"{{dev_eui}}_{{application_id}}/{{command}}", EUI "_" APP "/down", "$share/longwave/+/+"},
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct as_topic t;
		struct lw_diag diag = {0};
		struct lw_span app, eui, name;
		char out[AS_TOPIC_MAX];
		assert_int_equal(as_topic_parse(&t, good[i].template, "command", &diag), 0);
		assert_int_equal(as_topic_print(&t, APP, EUI, "down", out, sizeof(out)), strlen(good[i].topic));
		assert_string_equal(out, good[i].topic);
		assert_true(as_topic_match(&t, good[i].topic, &app, &eui, &name));
		assert_true(lw_span_eq_str(app, APP));
		assert_true(lw_span_eq_str(eui, EUI));
		assert_true(lw_span_eq_str(name, "down"));
		assert_true(as_topic_filter(&t, "$share/longwave/", out, sizeof(out)) > 0);
		assert_string_equal(out, good[i].filter);
		assert_true(mqtt_topic_matches(out, good[i].topic));
		assert_int_equal(as_topic_print(&t, APP, EUI, "down", out, strlen(good[i].topic)), LW_EBIG);
	}
}

static void test_bad_templates(void **state)
{
	static const char *const bad[] = {
		"",
		"application/{{application_id}}/device/{{dev_eui}}/command/down",
		"{{application_id}}/{{dev_eui}}/{{event}}",
		"{{application_id}}{{dev_eui}}/{{command}}",
		"{{application_id}}/{{dev_eui}}/{{command}}/{{dev_eui}}",
		"{{application_id}}/{{dev_eui}}/{{command",
		"{{application_id}}/{{dev_eui}}/{{command}}/#",
		"+/{{application_id}}/{{dev_eui}}/{{command}}",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct as_topic t;
		struct lw_diag diag = {0};
		assert_int_equal(as_topic_parse(&t, bad[i], "command", &diag), LW_EINVAL);
		assert_true(diag.text[0] != 0);
	}
}

static void test_bad_topics(void **state)
{
	static const char *const bad[] = {
		"",
		"application",
		"application/" APP "/device/" EUI "/command/",
		"application//device/" EUI "/command/down",
		"application/" APP "/device/" EUI "/command/down/more",
		"application/a/b/device/" EUI "/command/down",
		"application/" APP "/device/" EUI "/event/down",
		"x/application/" APP "/device/" EUI "/command/down",
	};
	struct as_topic t;
	struct lw_span app, eui, name;
	(void)state;
	assert_int_equal(as_topic_parse(&t, DEFAULT, "command", NULL), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(as_topic_match(&t, bad[i], &app, &eui, &name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad_templates),
					   cmocka_unit_test(test_bad_topics)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
