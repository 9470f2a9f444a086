/* ABP sessions: what stands in the profile, what the region gives, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "network-server/domain/activate.h"
#include "network-server/domain/channels.h"

static uint8_t key[3][16] = {{1}, {2}, {3}};

static Longwave__Ns__V1__Session message(void)
{
	Longwave__Ns__V1__Session s = LONGWAVE__NS__V1__SESSION__INIT;
	s.dev_addr = (char *)(uintptr_t) "0119a5fb";
	s.f_nwk_s_int_key = (ProtobufCBinaryData){16, key[0]};
	s.s_nwk_s_int_key = (ProtobufCBinaryData){16, key[1]};
	s.nwk_s_enc_key = (ProtobufCBinaryData){16, key[2]};
	s.f_cnt_up = 10;
	s.n_f_cnt_down = 11;
	s.a_f_cnt_down = 12;
	return s;
}

static void defaults_of_the_region(void **state)
{
	Longwave__Ns__V1__Session in = message();
	struct ns_profile p = {.mac_version = LW_MAC_1_0_3, .region = LW_REGION_US915};
	struct ns_session s;
	const char *why = "x";
	(void)state;
	assert_int_equal(ns_activate(&in, &p, ns_region_config_find("us915_1"), &s, &why), 0);
	assert_null(why);
	assert_int_equal(s.devaddr.v, 0x0119a5fb);
	assert_int_equal(s.rx1_delay_s, 1);
	assert_int_equal(s.rx1_dr_offset, 0);
	assert_int_equal(s.rx2_dr, 8);
	assert_int_equal(s.rx2_hz, 923300000);
	assert_int_equal(s.f_cnt_up, 10);
	assert_int_equal(s.n_f_cnt_down, 11);
	assert_string_equal(s.region_config_id, "us915_1");
	assert_int_equal(s.enabled_channels[0], 0xFFFF); /* as a device boots */
	assert_false(s.has_uplink);
	assert_int_equal(s.enabled_class, LW_CLASS_A);
}

static void values_of_the_profile(void **state)
{
	Longwave__Ns__V1__Session in = message();
	struct ns_profile p = {.mac_version = LW_MAC_1_1_0,
			       .region = LW_REGION_EU868,
			       .supports_class_c = true,
			       .abp_rx1_delay_s = 3,
			       .abp_rx1_dr_offset = 1,
			       .abp_rx2_dr = 2,
			       .abp_rx2_hz = 868100000};
	struct ns_session s;
	const char *why;
	(void)state;
	assert_int_equal(ns_activate(&in, &p, ns_region_config_find("eu868"), &s, &why), 0);
	assert_int_equal(s.rx1_delay_s, 3);
	assert_int_equal(s.rx1_dr_offset, 1);
	assert_int_equal(s.rx2_dr, 2);
	assert_int_equal(s.rx2_hz, 868100000);
	assert_int_equal(s.enabled_class, LW_CLASS_A); /* 1.1 says so itself */
	assert_int_equal(s.a_f_cnt_down, 12);
	p.mac_version = LW_MAC_1_0_2;
	assert_int_equal(ns_activate(&in, &p, ns_region_config_find("eu868"), &s, &why), 0);
	assert_int_equal(s.enabled_class, LW_CLASS_C);
}

static void refused(void **state)
{
	struct ns_profile p = {.mac_version = LW_MAC_1_0_3, .region = LW_REGION_EU868};
	struct ns_session s;
	const char *why;
	(void)state;
	Longwave__Ns__V1__Session in = message();
	in.dev_addr = (char *)(uintptr_t) "0119a5f";
	assert_int_equal(ns_activate(&in, &p, ns_region_config_find("eu868"), &s, &why), LW_EINVAL);
	assert_string_equal(why, "dev_addr");
	in = message();
	in.nwk_s_enc_key.len = 15;
	assert_int_equal(ns_activate(&in, &p, ns_region_config_find("eu868"), &s, &why), LW_EINVAL);
	assert_string_equal(why, "nwk_s_enc_key");
	in = message();
	in.session_key_id.len = 17;
	assert_int_equal(ns_activate(&in, &p, ns_region_config_find("eu868"), &s, &why), LW_EINVAL);
	assert_string_equal(why, "session_key_id");
}

static void shown_again(void **state)
{
	Longwave__Ns__V1__Session in = message();
	Longwave__Ns__V1__Session out;
	struct ns_profile p = {.mac_version = LW_MAC_1_1_0, .region = LW_REGION_EU868};
	struct ns_session s;
	struct lw_arena a;
	const char *why;
	(void)state;
	lw_arena_init(&a, NULL, 0, 4096);
	assert_int_equal(ns_activate(&in, &p, ns_region_config_find("eu868"), &s, &why), 0);
	ns_session_to_pb(lw_dev_eui_from_u64(0x0102), &s, &a, &out);
	assert_string_equal(out.dev_eui, "0000000000000102");
	assert_string_equal(out.dev_addr, "0119a5fb");
	assert_memory_equal(out.s_nwk_s_int_key.data, key[1], 16);
	assert_int_equal(out.f_cnt_up, 10);
	assert_int_equal(out.mac_version, COMMON__MAC_VERSION__LORAWAN_1_1_0);
	assert_null(out.last_uplink_at);
	lw_arena_deinit(&a);
}

static void configurations(void **state)
{
	struct lw_plan plan;
	(void)state;
	for (size_t i = 0; i < ns_region_configs_count; i++) {
		const struct ns_region_config *rc = &ns_region_configs[i];
		const struct lw_region *r = lw_region_by_id(rc->region);
		assert_non_null(r);
		assert_ptr_equal(ns_region_config_find(rc->id), rc);
		assert_ptr_equal(lw_region_by_name(rc->common_name), lw_region_by_id(lw_region_base(rc->region)));
		assert_int_equal(rc->rx2_hz, r->rx2_hz);
		assert_int_equal(rc->rx2_dr, r->rx2_dr);
		ns_region_config_plan(rc, &plan);
		unsigned enabled = 0;
		for (unsigned k = 0; k < plan.n; k++)
			enabled += lw_plan_enabled(&plan, k);
		unsigned want = rc->n_enabled_channels ? rc->n_enabled_channels
						       : r->first_user_channel + (unsigned)rc->n_extra_channels;
		assert_int_equal(enabled, want);
	}
	ns_region_config_plan(ns_region_config_find("us915_7"), &plan);
	assert_true(lw_plan_enabled(&plan, 56));
	assert_true(lw_plan_enabled(&plan, 63));
	assert_true(lw_plan_enabled(&plan, 71));
	assert_false(lw_plan_enabled(&plan, 55));
	assert_null(ns_region_config_find("us915_8"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_of_the_region),
		cmocka_unit_test(values_of_the_profile),
		cmocka_unit_test(refused),
		cmocka_unit_test(shown_again),
		cmocka_unit_test(configurations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
