/* Region configurations of an operator's file: what is taken over, and what is refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "network-server/config.h"

static int load(const char *yaml, struct ns_conf *conf, struct lw_diag *diag)
{
	return conf_load_text(&ns_conf_table, conf, lw_span_str(yaml), "test.yaml", NULL, NULL, diag);
}

static void make(const char *yaml, struct ns_conf *conf, struct ns_regions *out)
{
	struct lw_diag diag = {""};
	if (load(yaml, conf, &diag) < 0 || ns_regions_make(&conf->own_regions, &conf->regions, out, &diag) < 0)
		fail_msg("%s", diag.text);
}

static void nothing(void **state)
{
	struct ns_conf conf;
	struct ns_regions r;
	(void)state;
	make("{}", &conf, &r);
	assert_int_equal(r.n, ns_region_configs_count);
	for (size_t i = 0; i < r.n; i++)
		assert_ptr_equal(r.v[i], &ns_region_configs[i]);
	ns_regions_deinit(&r);
	conf_release(&ns_conf_table, &conf);
	make("network:\n  enabled_regions: [us915_1, eu868]\n", &conf, &r);
	assert_int_equal(r.n, 2);
	assert_string_equal(r.v[0]->id, "us915_1");
	assert_ptr_equal(ns_regions_find(&r, "as923"), ns_region_config_find("as923"));
	assert_null(ns_regions_find(&r, "mars"));
	ns_regions_deinit(&r);
	conf_release(&ns_conf_table, &conf);
}

/* Each setting arrives, and nothing else changes. */
static void everything(void **state)
{
	static const char yaml[] = "network:\n"
				   "  regions:\n"
				   "    - id: eu868\n"
				   "      description: ours\n"
				   "      topic_prefix: roof/eu\n"
				   "      installation_margin: 7\n"
				   "      rx_window: 2\n"
				   "      rx1_delay: 3\n"
				   "      rx1_dr_offset: 2\n"
				   "      rx2_dr: 3\n"
				   "      rx2_frequency: 869400000\n"
				   "      rx2_prefer_on_rx1_dr_lt: 4\n"
				   "      rx2_prefer_on_link_budget: true\n"
				   "      gateway_prefer_min_margin: 5\n"
				   "      downlink_tx_power: 12\n"
				   "      mac_commands_disabled: true\n"
				   "      adr_disabled: true\n"
				   "      min_dr: 1\n"
				   "      max_dr: 4\n"
				   "      repeater_compatible: true\n"
				   "      dwell_time_400ms: true\n"
				   "      force_gws_private: true\n"
				   "      class_b:\n"
				   "        ping_slot_dr: 2\n"
				   "        ping_slot_frequency: 868300000\n"
				   "        beacon_frequency: 868500000\n"
				   "      max_duty_cycle: 0\n"
				   "      adr_ack_limit_exp: 5\n"
				   "      adr_ack_delay_exp: 0\n"
				   "      uplink_max_eirp: 14\n"
				   "      uplink_dwell_time_400ms: true\n"
				   "      rejoin_request:\n"
				   "        max_time_n: 0\n"
				   "        max_count_n: 15\n"
				   "      keep_extra_channels: false\n"
				   "      extra_channels:\n"
				   "        - frequency: 865100000\n"
				   "        - frequency: 865300000\n"
				   "          min_dr: 1\n"
				   "          max_dr: 3\n"
				   "      enabled_uplink_channels: [0, 3-4]\n";
	struct ns_conf conf;
	struct ns_regions r;
	struct lw_plan plan;
	(void)state;
	make(yaml, &conf, &r);
	assert_int_equal(r.n, ns_region_configs_count);
	const struct ns_region_config *rc = ns_regions_find(&r, "eu868");
	assert_ptr_equal(rc, r.v[0]);
	assert_string_equal(rc->description, "ours");
	assert_string_equal(rc->topic_prefix, "roof/eu");
	assert_string_equal(rc->common_name, "EU868");
	assert_int_equal(rc->installation_margin_db, 7);
	assert_int_equal(rc->rx_window, 2);
	assert_int_equal(rc->rx1_delay_s, 3);
	assert_int_equal(rc->rx1_dr_offset, 2);
	assert_int_equal(rc->rx2_dr, 3);
	assert_int_equal(rc->rx2_hz, 869400000);
	assert_int_equal(rc->rx2_prefer_on_rx1_dr_lt, 4);
	assert_true(rc->rx2_prefer_on_link_budget);
	assert_int_equal(rc->gateway_prefer_min_margin_db, 5);
	assert_int_equal(rc->downlink_tx_power_dbm, 12);
	assert_true(rc->mac_commands_disabled && rc->adr_disabled && rc->repeater_compatible && rc->dwell_time_400ms &&
		    rc->force_gws_private);
	assert_int_equal(rc->min_dr, 1);
	assert_int_equal(rc->max_dr, 4);
	assert_int_equal(rc->class_b_ping_slot_dr, 2);
	assert_int_equal(rc->class_b_ping_slot_hz, 868300000);
	assert_int_equal(rc->mac.beacon_hz, 868500000);
	assert_true(rc->mac.has_duty_cycle && rc->mac.max_duty_cycle == 0);
	assert_true(rc->mac.has_adr_ack && rc->mac.adr_ack_limit_exp == 5 && rc->mac.adr_ack_delay_exp == 0);
	assert_true(rc->mac.has_tx_params && rc->mac.max_eirp_dbm == 14 && rc->mac.uplink_dwell_400ms &&
		    !rc->mac.downlink_dwell_400ms);
	assert_true(rc->mac.has_rejoin && rc->mac.rejoin_max_time_n == 0 && rc->mac.rejoin_max_count_n == 15);
	ns_region_config_plan(rc, &plan);
	assert_int_equal(plan.n, 5);
	struct lw_channel c;
	assert_int_equal(lw_plan_channel(&plan, 4, &c), 0);
	assert_true(c.hz == 865300000 && c.min_dr == 1 && c.max_dr == 3);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(lw_plan_enabled(&plan, i), i == 0 || i > 2);
	/* The ready-made one is as it was. */
	assert_int_equal(ns_region_config_find("eu868")->n_extra_channels, 5);
	ns_regions_deinit(&r);
	conf_release(&ns_conf_table, &conf);
}

/* A new one beside its base; channels of a fixed plan. */
static void a_new_one(void **state)
{
	struct ns_conf conf;
	struct ns_regions r;
	struct lw_plan plan;
	(void)state;
	make("network:\n  enabled_regions: [us915_0, us915_all, eu868]\n  enforce_duty_cycle: [us915_all]\n  regions:\n"
	     "    - id: us915_all\n      base: us915_0\n      enabled_uplink_channels: [0-71]\n"
	     "    - id: eu868\n      extra_channels:\n        - frequency: 868900000\n",
	     &conf, &r);
	assert_int_equal(r.n, 3);
	const struct ns_region_config *rc = r.v[1];
	assert_string_equal(rc->id, "us915_all");
	assert_string_equal(rc->topic_prefix, "us915_all");
	assert_int_equal(rc->region, LW_REGION_US915);
	ns_region_config_plan(rc, &plan);
	for (unsigned i = 0; i < 72; i++)
		assert_true(lw_plan_enabled(&plan, i));
	assert_int_equal(r.v[2]->n_extra_channels, 6);
	assert_int_equal(r.v[2]->extra_channels[5].max_dr, 5);
	ns_regions_deinit(&r);
	conf_release(&ns_conf_table, &conf);
}

static void refused(void **state)
{
#define EU "network:\n  regions:\n    - id: eu868\n"
#define US "network:\n  regions:\n    - id: us915_0\n"
	static const struct {
		const char *yaml, *words;
	} v[] = {
		{"network:\n  regions:\n    - id: mars\n", "mars: id is no ready-made configuration"},
		{"network:\n  regions:\n    - id: a\n      base: mars\n", "a: base \"mars\" is no ready-made"},
		{"network:\n  regions:\n    - rx_window: 1\n", "id"},
		{EU "    - id: eu868\n", "eu868 is there twice"},
		{"network:\n  regions:\n    - id: a/b\n      base: eu868\n", "id is not made of"},
		{"network:\n  regions:\n    - id: abcdefghijklmnopqrstuvwxyz\n      base: eu868\n",
		 "id has more than 23"},
		{"network:\n  regions:\n    - id: eu2\n      base: eu868\n      topic_prefix: eu868\n",
		 "have the same topic_prefix, eu868"},
		{EU "      topic_prefix: a/+\n", "topic_prefix \"a/+\""},
		{EU "      rx_window: 3\n", "rx_window"},
		{EU "      rx_windw: 1\n", "did you mean"},
		{EU "      rx1_dr_offset: 6\n", "rx1_dr_offset 6 is above 5, the highest in EU868"},
		{EU "      rx2_dr: 14\n", "rx2_dr 14 is no data rate of downlinks in EU868"},
		{US "      rx2_dr: 3\n", "rx2_dr 3 is no data rate of downlinks in US915"},
		{EU "      rx2_frequency: 923300000\n", "rx2_frequency 923300000 is outside of EU868"},
		{EU "      min_dr: 5\n      max_dr: 3\n", "min_dr 5 is above max_dr, 3"},
		{EU "      max_dr: 15\n", "max_dr 15 is no data rate of uplinks"},
		{EU "      downlink_tx_power: 36\n", "downlink_tx_power 36 dBm is above 29"},
		{EU "      class_b:\n        ping_slot_frequency: 1000\n",
		 "class_b.ping_slot_frequency 1000 is outside"},
		{EU "      class_b:\n        beacon_frequency: 1000\n", "class_b.beacon_frequency 1000 is outside"},
		{EU "      adr_ack_limit_exp: 5\n", "both, or none"},
		{EU "      rejoin_request:\n        max_time_n: 5\n", "wants max_time_n and max_count_n"},
		{EU "      uplink_dwell_time_400ms: true\n", "uplink_max_eirp is wanted"},
		{EU "      uplink_max_eirp: 3\n", "uplink_max_eirp is 8 to 36"},
		{EU "      adr_disabled: perhaps\n", "adr_disabled"},
		{EU "      extra_channels:\n        - frequency: 868100000\n",
		 "extra_channels 868100000 Hz is there already"},
		{EU "      extra_channels:\n        - frequency: 915000000\n", "does not belong to EU868"},
		{EU "      extra_channels:\n        - min_dr: 1\n", "0 Hz"},
		{US "      extra_channels:\n        - frequency: 905000000\n", "the channels of US915 are fixed"},
		{EU "      enabled_uplink_channels: [0-8]\n", "8 is no channel of EU868 with the extra channels"},
		{US "      enabled_uplink_channels: [72]\n", "72 is no channel of US915"},
		{EU "      enabled_uplink_channels: [two]\n", "\"two\" is no channel"},
		{EU "      enabled_uplink_channels: [3-1]\n", "\"3-1\" is no channel"},
		{"network:\n  enabled_regions: [mars]\n", "enabled_regions: there is no region configuration \"mars\""},
		{"network:\n  enforce_duty_cycle: [mars]\n", "enforce_duty_cycle: there is no region"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct ns_conf conf;
		struct lw_diag diag = {""};
		if (load(v[i].yaml, &conf, &diag) == 0)
			fail_msg("taken: %s", v[i].yaml);
		if (!strstr(diag.text, v[i].words))
			fail_msg("%s: says \"%s\"", v[i].yaml, diag.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing),
		cmocka_unit_test(everything),
		cmocka_unit_test(a_new_one),
		cmocka_unit_test(refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
