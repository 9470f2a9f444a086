/* What makes a downlink command valid. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "app-server/domain/event_command.h"

#define APP "ca739e26-7b67-4f14-b69e-d568c22a5a75"
#define EUI "70b3d57ed0001a2b"

static const struct {
	const char *why;
	const char *app, *topic_eui, *command, *eui, *id;
	uint32_t f_port;
	size_t len;
	int rc;
} table[] = {
	{"valid", APP, EUI, "down", EUI, "", 10, 3, 0},
	{"valid, with id", APP, EUI, "down", EUI, "9f7b2c10-57a6-4b39-a0f3-2d9e9a6f1b22", 1, 0, 0},
	{"highest port", APP, EUI, "down", EUI, "", 255, 255, 0},
	{"another command", APP, EUI, "up", EUI, "", 10, 3, LW_EINVAL},
	{"port 0", APP, EUI, "down", EUI, "", 0, 3, LW_EINVAL},
	{"port 256", APP, EUI, "down", EUI, "", 256, 3, LW_EINVAL},
	{"another device", APP, EUI, "down", "70b3d57ed0001a2c", "", 10, 3, LW_EINVAL},
	{"case matters", APP, EUI, "down", "70B3D57ED0001A2B", "", 10, 3, LW_EINVAL},
	{"no device", APP, EUI, "down", "", "", 10, 3, LW_EINVAL},
	{"topic is no EUI", APP, "70b3", "down", "70b3", "", 10, 3, LW_EINVAL},
	{"application is no UUID", "7", EUI, "down", EUI, "", 10, 3, LW_EINVAL},
	{"id is no UUID", APP, EUI, "down", EUI, "7", 10, 3, LW_EINVAL},
	{"too long", APP, EUI, "down", EUI, "", 10, 256, LW_EINVAL},
};

static void test_table(void **state)
{
	uint8_t data[256] = {0};
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		Integration__DownlinkCommand m = INTEGRATION__DOWNLINK_COMMAND__INIT;
		struct as_command_topic t = {lw_span_str(table[i].app), lw_span_str(table[i].topic_eui),
					     lw_span_str(table[i].command)};
		struct as_command c;
		struct lw_diag diag = {0};
		m.dev_eui = (char *)(uintptr_t)table[i].eui;
		m.id = (char *)(uintptr_t)table[i].id;
		m.f_port = table[i].f_port;
		m.data = (ProtobufCBinaryData){.len = table[i].len, .data = data};
		int rc = as_command_check(&t, &m, &c, &diag);
		if (rc != table[i].rc)
			fail_msg("%s: %d (%s)", table[i].why, rc, diag.text);
		assert_true((rc == 0) == (diag.text[0] == 0));
		if (rc == 0) {
			assert_int_equal(lw_dev_eui_u64(c.dev_eui), 0x70b3d57ed0001a2b);
			assert_int_equal(c.f_port, table[i].f_port);
			assert_int_equal(c.data.n, table[i].len);
			assert_int_equal(c.has_id, table[i].id[0] != 0);
			assert_int_equal(c.expires_at_us, 0);
		}
	}
}

static void test_members(void **state)
{
	Integration__DownlinkCommand m = INTEGRATION__DOWNLINK_COMMAND__INIT;
	Google__Protobuf__Timestamp expires = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	Google__Protobuf__Struct object = GOOGLE__PROTOBUF__STRUCT__INIT;
	struct as_command_topic t = {lw_span_str(APP), lw_span_str(EUI), lw_span_str("down")};
	struct as_command c;
	struct lw_diag diag = {0};
	(void)state;
	expires.seconds = 1714568400;
	expires.nanos = 500000000;
	m.dev_eui = EUI;
	m.f_port = 10;
	m.confirmed = true;
	m.expires_at = &expires;
	m.object = &object; /* empty: as if it were not there */
	assert_int_equal(as_command_check(&t, &m, &c, &diag), 0);
	assert_true(c.confirmed);
	assert_int_equal(c.expires_at_us, INT64_C(1714568400500000));
	object.n_fields = 1;
	assert_int_equal(as_command_check(&t, &m, &c, &diag), LW_EUNSUPPORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_members)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
