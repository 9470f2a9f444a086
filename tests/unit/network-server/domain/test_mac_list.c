/* MAC commands as the API shows them: names and values; what nobody can read, as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "network-server/domain/mac_list.h"

struct want {
	uint8_t cid;
	const char *name, *text;
};

static void expect(enum lw_dir dir, struct lw_span commands, const struct want *want, size_t n_want)
{
	struct lw_arena a;
	size_t n = 77;
	lw_arena_init(&a, NULL, 0, 1 << 16);
	Longwave__Ns__V1__MacCommand **v = ns_mac_list(&a, dir, commands, &n);
	assert_int_equal(n, n_want);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(v[i]->cid, want[i].cid);
		assert_int_equal(v[i]->uplink, dir == LW_UP);
		assert_string_equal(v[i]->name, want[i].name);
		assert_string_equal(v[i]->text, want[i].text);
	}
	lw_arena_deinit(&a);
}

#define SPAN(...) lw_span((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void none(void **state)
{
	(void)state;
	expect(LW_DOWN, lw_span(NULL, 0), NULL, 0);
}

static void by_name(void **state)
{
	(void)state;
	expect(LW_DOWN, SPAN(0x06, 0x04, 0x05),
	       (struct want[]){{6, "DevStatusReq", ""}, {4, "DutyCycleReq", "max_duty_cycle=1/32"}}, 2);
	expect(LW_UP, SPAN(0x04, 0x06, 0xFF, 0x3F),
	       (struct want[]){{4, "DutyCycleAns", ""}, {6, "DevStatusAns", "battery=255 margin=-1"}}, 2);
}

/* The length of a proprietary command is not known: all that follows is its own. */
static void unreadable(void **state)
{
	(void)state;
	expect(LW_DOWN, SPAN(0x06, 0x80, 0xC0, 0x06), (struct want[]){{6, "DevStatusReq", ""}, {0x80, "", "c006"}}, 2);
	expect(LW_UP, SPAN(0x80), (struct want[]){{0x80, "", ""}}, 1);
	expect(LW_UP, SPAN(0x06, 0xFF), (struct want[]){{6, "", "ff"}}, 1); /* cut off */
	expect(LW_UP, SPAN(0x7F, 0x01), (struct want[]){{0x7F, "", "01"}}, 1);
}

static void at_most_32(void **state)
{
	uint8_t many[40];
	struct want want[32];
	(void)state;
	memset(many, 0x06, sizeof(many));
	many[39] = 0x80;
	for (size_t i = 0; i < 32; i++)
		want[i] = (struct want){6, "DevStatusReq", ""};
	expect(LW_DOWN, lw_span(many, sizeof(many)), want, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none),
		cmocka_unit_test(by_name),
		cmocka_unit_test(unreadable),
		cmocka_unit_test(at_most_32),
	};
	return cmocka_run_group_tests_name("MAC commands by name", tests, NULL, NULL);
}
