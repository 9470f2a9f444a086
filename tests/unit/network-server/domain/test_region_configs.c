/* Unit tests of region_config.h: the ready-made configurations against what the reference ships (contracts/regions.md
 * §7; intended differences: tests/vectors/regions/differences.tsv, table "config"). */
#include "tests/unit/common/lorawan/vectors.h"

#include "common/lorawan/adr_mask.h"
#include "network-server/domain/region_config.h"

/* The reference's files; `n` sub-bands of eight channels, with one of 500 kHz each where there are such. */
static const struct {
	const char *id;
	unsigned n;
	enum lw_region_id region;
	uint32_t rx2_hz;
	uint8_t rx2_dr;
	uint8_t max_dr;
	uint8_t ping_slot_dr;
} shipped[] = {
	{"eu868", 0, LW_REGION_EU868, 869525000, 0, 5, 3},     {"us915", 8, LW_REGION_US915, 923300000, 8, 3, 8},
	{"au915", 8, LW_REGION_AU915, 923300000, 8, 5, 8},     {"cn470", 12, LW_REGION_CN470, 505300000, 0, 5, 2},
	{"as923", 0, LW_REGION_AS923, 923200000, 2, 5, 3},     {"as923_2", 0, LW_REGION_AS923_2, 921400000, 0, 5, 3},
	{"as923_3", 0, LW_REGION_AS923_3, 916600000, 2, 5, 3}, {"as923_4", 0, LW_REGION_AS923_4, 917300000, 2, 5, 3},
	{"cn779", 0, LW_REGION_CN779, 786000000, 0, 5, 3},     {"eu433", 0, LW_REGION_EU433, 434665000, 0, 5, 3},
	{"in865", 0, LW_REGION_IN865, 866550000, 2, 5, 4},     {"ism2400", 0, LW_REGION_ISM2400, 2423000000, 0, 7, 0},
	{"kr920", 0, LW_REGION_KR920, 921900000, 0, 5, 3},     {"ru864", 0, LW_REGION_RU864, 869100000, 0, 5, 3},
};

/* Ours where it is meant to differ. */
static unsigned or_intended(const char *id, const char *what, unsigned reference)
{
	struct vec v;
	unsigned value = reference;
	for (vec_open(&v, "tests/vectors/regions/differences.tsv"); vec_next(&v);) {
		if (strcmp(v.field[1], "config") != 0 || strcmp(v.field[2], id) != 0 || strcmp(v.field[3], what) != 0)
			continue;
		value = (unsigned)strtoul(v.field[5], NULL, 10);
		assert_int_not_equal(value, reference);
	}
	return value;
}

static void check(const char *id, size_t i, unsigned sub_band)
{
	const struct ns_region_config *rc = ns_region_config_find(id);
	struct lw_plan plan;
	uint16_t want[LW_PLAN_WORDS] = {0};
	if (!rc)
		fail_msg("no configuration %s", id);
	assert_string_equal(rc->topic_prefix, id);
	assert_ptr_equal(lw_region_by_name(rc->common_name), lw_region_by_id(rc->region));
	assert_null(strchr(rc->common_name, '-')); /* "AS923_2" in metadata */
	assert_int_equal(rc->region, shipped[i].region);
	assert_int_equal(rc->rx2_hz, shipped[i].rx2_hz);
	assert_int_equal(rc->rx2_dr, or_intended(id, "rx2_dr", shipped[i].rx2_dr));
	assert_int_equal(rc->min_dr, 0);
	assert_int_equal(rc->max_dr, shipped[i].max_dr);
	assert_int_equal(rc->class_b_ping_slot_dr, shipped[i].ping_slot_dr);
	assert_int_equal(rc->class_b_ping_slot_hz, 0);
	assert_int_equal(rc->installation_margin_db, 10);
	assert_int_equal(rc->gateway_prefer_min_margin_db, 10);
	assert_int_equal(rc->rx_window, 0);
	assert_int_equal(rc->rx1_delay_s, 1);
	assert_int_equal(rc->rx1_dr_offset, 0);
	assert_int_equal(rc->downlink_tx_power_dbm, -1);
	assert_false(rc->force_gws_private || rc->repeater_compatible || rc->adr_disabled || rc->dwell_time_400ms);
	ns_region_config_plan(rc, &plan);
	if (shipped[i].n == 0) {
		want[0] = (uint16_t)((1U << (plan.region->first_user_channel + plan.n_user)) - 1);
	} else {
		want[sub_band / 2] = sub_band % 2 ? 0xff00 : 0x00ff;
		if (plan.region->mask_control == LW_MASK_64_8)
			want[4] = (uint16_t)(1U << sub_band);
	}
	assert_memory_equal(plan.enabled, want, sizeof(want));
}

static void test_as_shipped(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(shipped) / sizeof(shipped[0]); i++) {
		char id[32];
		for (unsigned n = 0; n < shipped[i].n; n++) {
			(void)snprintf(id, sizeof(id), "%s_%u", shipped[i].id, n);
			check(id, i, n);
		}
		if (shipped[i].n == 0)
			check(shipped[i].id, i, 0);
	}
}

/* regions.tsv, table cs_toml_extra_channel. */
static void test_extra_channels(void **state)
{
	struct lw_plan plan;
	struct vec v;
	unsigned rows = 0;
	(void)state;
	ns_region_config_plan(ns_region_config_find("eu868"), &plan);
	for (vec_open(&v, "tests/vectors/regions/regions.tsv"); vec_next(&v);) {
		struct lw_channel c;
		if (strcmp(v.field[1], "cs_toml_extra_channel") != 0)
			continue;
		assert_int_equal(lw_plan_channel(&plan, (unsigned)strtoul(v.field[2], NULL, 10), &c), 0);
		assert_int_equal(c.hz, strtoul(v.field[4], NULL, 10));
		assert_int_equal(c.min_dr, 0);
		assert_int_equal(c.max_dr, 5);
		rows++;
	}
	assert_int_equal(rows, plan.n_user);
	for (size_t i = 0; i < ns_region_configs_count; i++)
		if (strcmp(ns_region_configs[i].id, "eu868") != 0)
			assert_int_equal(ns_region_configs[i].n_extra_channels, 0);
}

/* Each configuration of the plans of RP002 hears a join channel, and says what such a device has. */
static void test_cn470_rp002(void **state)
{
	unsigned found = 0;
	(void)state;
	for (size_t i = 0; i < ns_region_configs_count; i++) {
		const struct ns_region_config *rc = &ns_region_configs[i];
		const struct lw_region *r = lw_region_by_id(rc->region);
		struct lw_plan plan;
		unsigned joins = 0;
		if (r->n_join_channels == 0)
			continue;
		ns_region_config_plan(rc, &plan);
		for (unsigned k = 0; k < plan.n; k++) {
			struct lw_channel c;
			if (!lw_plan_enabled(&plan, k) || lw_plan_channel(&plan, k, &c) < 0)
				continue;
			const struct lw_join_channel *join = lw_region_join_channel(r, c.hz);
			joins += join != NULL;
			if (join)
				assert_int_equal(join->rx2_hz, rc->rx2_hz);
		}
		assert_int_equal(joins, 1);
		assert_int_equal(rc->rx2_dr, 1);
		assert_int_equal(rc->min_dr, 1);
		assert_string_equal(rc->common_name, "CN470");
		assert_int_equal(lw_region_base(rc->region), LW_REGION_CN470);
		found++;
	}
	assert_int_equal(found, 12);
}

static void test_consistent(void **state)
{
	(void)state;
	for (size_t i = 0; i < ns_region_configs_count; i++) {
		const struct ns_region_config *rc = &ns_region_configs[i];
		const struct lw_region *r = lw_region_by_id(rc->region);
		struct lw_plan network;
		struct lw_plan device;
		uint16_t want[LW_PLAN_WORDS];
		struct lw_adr_mask m[LW_ADR_MASKS_MAX];
		assert_non_null(r);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(rc->id, ns_region_configs[k].id);
		assert_non_null(lw_region_dr(r, LW_DOWN, rc->rx2_dr));
		assert_non_null(lw_region_dr(r, LW_DOWN, rc->class_b_ping_slot_dr));
		for (unsigned dr = rc->min_dr; dr <= rc->max_dr; dr++)
			assert_non_null(lw_region_dr(r, LW_UP, dr));
		assert_true(lw_region_freq_ok(r, rc->rx2_hz));
		/* A device that boots can be led to it. */
		ns_region_config_plan(rc, &network);
		lw_plan_init(&device, r);
		lw_adr_wanted(&network, &device, want);
		assert_true(lw_adr_masks(&device, LW_MAC_1_0_4, want, m) >= 1);
	}
	/* Worlds of scenarios take the first nine. */
	assert_string_equal(ns_region_configs[0].id, "eu868");
	assert_string_equal(ns_region_configs[8].id, "us915_7");
	/* A profile without a configuration gets the first of its region. */
	for (size_t i = 0; i < ns_region_configs_count; i++) {
		if (lw_region_base(ns_region_configs[i].region) == LW_REGION_CN470) {
			assert_string_equal(ns_region_configs[i].id, "cn470_0");
			break;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_shipped),
		cmocka_unit_test(test_extra_channels),
		cmocka_unit_test(test_cn470_rp002),
		cmocka_unit_test(test_consistent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
