/* Passwords, profiles and the order of search results. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app-server/domain/password.h"
#include "app-server/domain/profile.h"
#include "app-server/domain/similarity.h"

static void test_password(void **state)
{
	char a[AS_PASSWORD_HASH_MAX];
	char b[AS_PASSWORD_HASH_MAX];
	(void)state;
	assert_int_equal(as_password_hash("secret-pass-1", a), 0);
	assert_int_equal(as_password_hash("secret-pass-1", b), 0);
	assert_string_not_equal(a, b); /* salted */
	assert_int_equal(strncmp(a, "$argon2id$", 10), 0);
	assert_int_equal(as_password_verify(a, "secret-pass-1"), 0);
	assert_int_equal(as_password_verify(a, "secret-pass-2"), LW_EAUTH);
	assert_int_equal(as_password_verify("plain", "plain"), LW_EINVAL);
	assert_int_equal(as_password_check_length("1234567"), LW_EINVAL);
	assert_int_equal(as_password_check_length("12345678"), 0);
	char longest[AS_PASSWORD_MAX + 2];
	memset(longest, 'x', sizeof(longest));
	longest[AS_PASSWORD_MAX + 1] = 0;
	assert_int_equal(as_password_check_length(longest), LW_EINVAL);
	longest[AS_PASSWORD_MAX] = 0;
	assert_int_equal(as_password_check_length(longest), 0);
}

static void test_profile_switches(void **state)
{
	Api__DeviceProfile p = API__DEVICE_PROFILE__INIT;
	(void)state;
	p.supports_otaa = true;
	p.abp_rx1_delay = 5;
	p.abp_rx2_freq = 868100000;
	p.class_b_timeout = 7;
	p.class_c_timeout = 8;
	p.relay_enabled = true;
	p.relay_ed_back_off = 3;
	as_profile_normalise(&p);
	assert_int_equal(p.abp_rx1_delay, 0);
	assert_int_equal(p.abp_rx2_freq, 0);
	assert_int_equal(p.class_b_timeout, 0);
	assert_int_equal(p.class_c_timeout, 0);
	assert_false(p.relay_enabled);
	assert_int_equal(p.relay_ed_back_off, 0);

	p = (Api__DeviceProfile)API__DEVICE_PROFILE__INIT;
	p.supports_class_b = p.supports_class_c = p.is_relay = p.is_relay_ed = true;
	p.abp_rx1_delay = 5;
	p.class_b_timeout = 7;
	p.class_c_timeout = 8;
	p.relay_enabled = true;
	p.relay_ed_back_off = 3;
	as_profile_normalise(&p);
	assert_int_equal(p.abp_rx1_delay, 5);
	assert_int_equal(p.class_b_timeout, 7);
	assert_int_equal(p.class_c_timeout, 8);
	assert_true(p.relay_enabled);
	assert_int_equal(p.relay_ed_back_off, 3);
}

static void test_profile_limits(void **state)
{
	struct lw_diag d;
	Api__DeviceProfile p = API__DEVICE_PROFILE__INIT;
	(void)state;
	p.abp_rx1_delay = 15;
	p.rx1_delay = 15;
	assert_int_equal(as_profile_check(&p, &d), 0);
	p.rx1_delay = 16;
	assert_int_equal(as_profile_check(&p, &d), LW_EINVAL);
	assert_string_equal(d.text, "rx1_delay is above 15");
	p.rx1_delay = 0;
	p.region = (Common__Region)1; /* a gap in the numbers */
	assert_int_equal(as_profile_check(&p, &d), LW_EINVAL);
	p.region = COMMON__REGION__US915;
	p.mac_version = (Common__MacVersion)6;
	assert_int_equal(as_profile_check(&p, &d), LW_EINVAL);
}

static bool ok(const Api__DeviceProfile *p, const char *why)
{
	struct lw_diag d = {.text = ""};
	bool fine = as_profile_check(p, &d) == 0;
	assert_true(fine || strstr(d.text, why) != NULL);
	return fine;
}

/* What no device of the region can be told is refused before it is stored. */
static void test_profile_radio(void **state)
{
	uint32_t rates[] = {0, 5, 12, 6};
	Api__DeviceProfile p = API__DEVICE_PROFILE__INIT;
	(void)state;
	p.region = COMMON__REGION__US915;
	p.abp_rx2_freq = 923300000;
	p.abp_rx2_dr = 8;
	p.abp_rx1_dr_offset = 3;
	assert_true(ok(&p, ""));
	p.abp_rx2_dr = 4; /* of uplinks only */
	assert_false(ok(&p, "abp_rx2_dr: 4 is no data rate of downlinks in US915"));
	p.abp_rx2_dr = 0;
	p.abp_rx2_freq = 869525000;
	assert_false(ok(&p, "abp_rx2_freq: 869525000 Hz is outside US915"));
	p.abp_rx2_freq = 0;
	p.abp_rx1_dr_offset = 4;
	assert_false(ok(&p, "abp_rx1_dr_offset is above 3"));
	p.supports_otaa = true; /* then none of these counts */
	assert_true(ok(&p, ""));
	p.class_b_ping_slot_freq = 1;
	assert_true(ok(&p, ""));
	p.supports_class_b = true;
	assert_false(ok(&p, "class_b_ping_slot_freq: 1 Hz"));
	p.class_b_ping_slot_freq = 923300000;
	p.class_b_ping_slot_dr = 7;
	assert_false(ok(&p, "class_b_ping_slot_dr: 7"));
	p.class_b_ping_slot_dr = 8;
	assert_true(ok(&p, ""));
	p.supported_uplink_data_rates = rates;
	p.n_supported_uplink_data_rates = 2;
	assert_true(ok(&p, ""));
	p.n_supported_uplink_data_rates = 3;
	assert_false(ok(&p, "supported_uplink_data_rates: 12 is no data rate of uplinks in US915"));
	p.n_supported_uplink_data_rates = 0;
	/* plans of one region: 20 MHz and 26 MHz are CN470, too */
	p.region = COMMON__REGION__CN470;
	p.class_b_ping_slot_freq = 500300000;
	p.class_b_ping_slot_dr = 1;
	assert_true(ok(&p, ""));
	p.adr_algorithm_id = (char *)(uintptr_t) "lora_lr_fhss";
	assert_true(ok(&p, ""));
	p.adr_algorithm_id = (char *)(uintptr_t) "mine";
	assert_false(ok(&p, "adr_algorithm_id: there is no mine"));
}

static void test_similarity(void **state)
{
	(void)state;
	assert_true(as_similarity("sensor", "Sensor") > 0.99f);
	assert_true(as_similarity("sensor", "sensor 2") > as_similarity("sensor", "humidity sensor"));
	assert_true(as_similarity("sensor", "humidity sensor") > as_similarity("sensor", "gateway"));
	assert_true(as_similarity("", "x") < 0.01f);
	assert_true(as_similarity("", "") < 0.01f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_password),       cmocka_unit_test(test_profile_switches),
		cmocka_unit_test(test_profile_limits), cmocka_unit_test(test_profile_radio),
		cmocka_unit_test(test_similarity),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
