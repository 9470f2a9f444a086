/* Unit tests of region.h: look-ups, and a network's channel plan. The tables themselves: test_region_tables.c. */
#include "tests/unit/common/lorawan/vectors.h"

#include "common/base/err.h"
#include "common/lorawan/region.h"

static void test_names(void **state)
{
	(void)state;
	assert_ptr_equal(lw_region_by_name("eu868"), lw_region_by_id(LW_REGION_EU868));
	assert_ptr_equal(lw_region_by_name("US915"), lw_region_by_id(LW_REGION_US915));
	assert_ptr_equal(lw_region_by_name("as923_2"), lw_region_by_id(LW_REGION_AS923_2));
	assert_ptr_equal(lw_region_by_name("AS923-2"), lw_region_by_id(LW_REGION_AS923_2));
	assert_ptr_equal(lw_region_by_name("cn470_20a_7"), lw_region_by_id(LW_REGION_CN470_20A_7));
	for (unsigned id = 0; id < 0x200; id++) {
		const struct lw_region *r = lw_region_by_id((enum lw_region_id)id);
		assert_int_equal(r != NULL, (id < 15 && id != 1) || (id >= 0x100 && id <= 0x10A) || id == 0x10F);
		if (!r)
			continue;
		assert_int_equal(r->id, id);
		assert_ptr_equal(lw_region_by_name(r->name), r);
		assert_int_equal(lw_region_base(r->id), id < 0x100 ? id : (unsigned)LW_REGION_CN470);
	}
	assert_null(lw_region_by_name("US91"));
	assert_null(lw_region_by_name("US9155"));
	assert_null(lw_region_by_name(""));
	assert_null(lw_region_by_id((enum lw_region_id)99));
}

static void test_limits(void **state)
{
	(void)state;
	const struct lw_region *eu = lw_region_by_id(LW_REGION_EU868);
	struct lw_max_payload mp;
	assert_int_equal(lw_region_rx1_dr(eu, 5, 6, false), LW_EINVAL);
	assert_int_equal(lw_region_rx1_dr(eu, 14, 0, false), LW_EINVAL);
	assert_int_equal(lw_region_rx1_dr(eu, 16, 0, false), LW_EINVAL);
	assert_null(lw_region_dr(eu, LW_DOWN, 8));
	assert_null(lw_region_dr(eu, LW_UP, 16));
	assert_int_equal(lw_region_max_payload(eu, LW_DOWN, LW_MAC_1_0_3, LW_RP_A, false, false, 14, &mp),
			 LW_ENOTFOUND);
	assert_int_equal(lw_region_max_payload(eu, LW_DOWN, LW_MAC_1_0_3, LW_RP_A, false, false, 99, &mp),
			 LW_ENOTFOUND);
	/* A pair that no standard has: 1.0.4 with revision A takes the newest of 1.0.4. */
	assert_int_equal(lw_region_max_payload(eu, LW_DOWN, LW_MAC_1_0_4, LW_RP_A, false, false, 13, &mp), 0);
	assert_int_equal(mp.n, 242);
	struct lw_modulation m = {.kind = LW_MOD_LORA, .sf = 7, .bw_hz = 500000};
	assert_int_equal(lw_region_dr_index(eu, LW_UP, &m), LW_ENOTFOUND);
	m.kind = LW_MOD_NONE;
	assert_int_equal(lw_region_dr_index(eu, LW_UP, &m), LW_ENOTFOUND);
	/* contracts: 29 dBm in 869.4 ≤ f < 869.65, else 16; US915 21. */
	assert_int_equal(lw_region_downlink_eirp_dbm(eu, 869525000), 29);
	assert_int_equal(lw_region_downlink_eirp_dbm(eu, 869400000), 29);
	assert_int_equal(lw_region_downlink_eirp_dbm(eu, 869650000), 16);
	assert_int_equal(lw_region_downlink_eirp_dbm(eu, 868100000), 16);
	assert_int_equal(lw_region_downlink_eirp_dbm(lw_region_by_id(LW_REGION_US915), 923300000), 21);
	assert_int_equal(lw_max_eirp_dbm(0), 8);
	assert_int_equal(lw_max_eirp_dbm(15), 36);
}

/* The reference's default configuration eu868, and its join-accept's CFList. */
static void test_plan_eu868(void **state)
{
	(void)state;
	struct lw_plan p;
	struct lw_cflist l;
	uint8_t bytes[16];
	uint8_t want[16];
	uint32_t hz;
	lw_plan_init(&p, lw_region_by_id(LW_REGION_EU868));
	assert_int_equal(p.n, 3);
	assert_int_equal(lw_plan_cflist(&p, LW_MAC_1_0_3, &l), 0);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(lw_plan_add(&p, 867100000 + 200000 * i, 0, 5), 3 + i);
	assert_int_equal(lw_plan_add(&p, 867100000, 0, 5), LW_EEXISTS);
	assert_int_equal(lw_plan_add(&p, 915000000, 0, 5), LW_EINVAL);
	assert_int_equal(lw_plan_add(&p, 867100000, 5, 0), LW_EINVAL);
	assert_int_equal(lw_plan_add(&p, 867100000, 0, 14), LW_EINVAL);
	assert_int_equal(p.enabled[0], 0x00ff);
	assert_int_equal(lw_plan_cflist(&p, LW_MAC_1_0_0, &l), 1);
	assert_int_equal(lw_cflist_encode(&l, bytes), 0);
	vec_bytes("184f84e85684b85e84886684586e8400", want, sizeof want);
	assert_memory_equal(bytes, want, 16);
	assert_int_equal(lw_plan_channel_index(&p, 867300000, 3), 4);
	assert_int_equal(lw_plan_channel_index(&p, 867300000, 6), 4);
	assert_int_equal(lw_plan_channel_index(&p, 867300001, 3), LW_ENOTFOUND);
	assert_int_equal(lw_plan_rx1_hz(&p, 867300000, 5, &hz), 0);
	assert_int_equal(hz, 867300000);
	/* A second channel on a frequency, for other rates; a channel that is off leaves a gap in the list. */
	assert_int_equal(lw_plan_add(&p, 868300000, 6, 6), 8);
	assert_int_equal(lw_plan_channel_index(&p, 868300000, 6), 8);
	assert_int_equal(lw_plan_channel_index(&p, 868300000, 5), 1);
	assert_int_equal(lw_plan_enable(&p, 4, false), 0);
	assert_int_equal(lw_plan_cflist(&p, LW_MAC_1_0_3, &l), 1);
	assert_int_equal(l.freq_hz[0], 867100000);
	assert_int_equal(l.freq_hz[1], 0);
	assert_int_equal(l.freq_hz[2], 867500000);
	assert_int_equal(lw_plan_enable(&p, 9, true), LW_ENOTFOUND);
	for (uint32_t i = 0; i < 7; i++)
		assert_int_equal(lw_plan_add(&p, 863100000 + 200000 * i, 0, 5), 9 + i);
	assert_int_equal(lw_plan_add(&p, 865100000, 0, 5), LW_EFULL);
}

/* us915_0: channels 0–7 and 64. */
static void test_plan_us915(void **state)
{
	(void)state;
	struct lw_plan p;
	struct lw_cflist l;
	uint32_t hz;
	lw_plan_init(&p, lw_region_by_id(LW_REGION_US915));
	assert_int_equal(p.n, 72);
	assert_int_equal(p.enabled[3], 0xffff);
	assert_int_equal(p.enabled[4], 0x00ff);
	assert_int_equal(p.enabled[5], 0);
	lw_plan_disable_all(&p);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(lw_plan_enable(&p, i, true), 0);
	assert_int_equal(lw_plan_enable(&p, 64, true), 0);
	assert_int_equal(lw_plan_enable(&p, 72, true), LW_ENOTFOUND);
	assert_true(lw_plan_enabled(&p, 64));
	assert_false(lw_plan_enabled(&p, 65));
	assert_false(lw_plan_enabled(&p, 1000));
	assert_int_equal(lw_plan_cflist(&p, LW_MAC_1_0_2, &l), 0);
	assert_int_equal(lw_plan_cflist(&p, LW_MAC_1_0_3, &l), 1);
	assert_int_equal(l.type, LW_CFLIST_MASKS);
	assert_int_equal(l.mask[0], 0x00ff);
	assert_int_equal(l.mask[1], 0);
	assert_int_equal(l.mask[4], 1);
	assert_int_equal(lw_plan_add(&p, 903900000, 0, 3), LW_EUNSUPPORTED);
	/* Channel 12 → downlink 4; 500 kHz channel 66 → downlink 2. */
	assert_int_equal(lw_plan_rx1_hz(&p, 904700000, 0, &hz), 0);
	assert_int_equal(hz, 925700000);
	assert_int_equal(lw_plan_rx1_hz(&p, 906200000, 4, &hz), 0);
	assert_int_equal(hz, 924500000);
	assert_int_equal(lw_plan_rx1_hz(&p, 904750000, 0, &hz), LW_ENOTFOUND);
}

/* Sets of rates of NewChannelReq (regions.md §1). */
static void test_dr_ranges(void **state)
{
	static const struct {
		unsigned min, max;
		uint16_t rates;
	} codes[] = {{1, 0, 0x303f}, {2, 0, 0x303e}, {3, 0, 0x303c},   {4, 0, 0x3038}, {5, 0, 0x3030},
		     {6, 0, 0x3020}, {0, 5, 0x003f}, {3, 3, 0x0008},   {7, 0, 0},      {2, 1, 0},
		     {16, 0, 0},     {0, 16, 0},     {12, 13, 0x3000}, {0, 15, 0xffff}};
	const struct lw_region *eu = lw_region_by_id(LW_REGION_EU868);
	const struct lw_region *cn = lw_region_by_id(LW_REGION_CN779);
	uint8_t min;
	uint8_t max;
	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		assert_int_equal(lw_region_dr_range(eu, codes[i].min, codes[i].max), codes[i].rates);
		if (codes[i].rates == 0)
			continue;
		assert_int_equal(lw_region_dr_range_code(eu, codes[i].rates, &min, &max), 0);
		assert_int_equal(min, codes[i].min);
		assert_int_equal(max, codes[i].max);
	}
	assert_int_equal(lw_region_dr_range_code(eu, 0, &min, &max), LW_EUNSUPPORTED);
	assert_int_equal(lw_region_dr_range_code(eu, 0x0005, &min, &max), LW_EUNSUPPORTED);
	assert_int_equal(lw_region_dr_range(cn, 1, 0), 0);
	assert_int_equal(lw_region_dr_range_code(cn, 0x303f, &min, &max), LW_EUNSUPPORTED);

	struct lw_plan p;
	lw_plan_init(&p, eu);
	assert_int_equal(lw_plan_add_rates(&p, 867100000, 0x3030), 3);
	assert_int_equal(lw_plan_add_rates(&p, 867100000, 0x3030), LW_EEXISTS);
	assert_int_equal(lw_plan_add(&p, 867100000, 0, 3), 4);
	assert_int_equal(p.user[0].min_dr, 5);
	assert_int_equal(p.user[0].max_dr, 0);
	/* The channel that allows the rate. */
	assert_int_equal(lw_plan_channel_index(&p, 867100000, 13), 3);
	assert_int_equal(lw_plan_channel_index(&p, 867100000, 4), 3);
	assert_int_equal(lw_plan_channel_index(&p, 867100000, 3), 4);
	assert_int_equal(lw_plan_add_rates(&p, 867300000, 0x0005), LW_EINVAL);
	assert_int_equal(lw_plan_add(&p, 867300000, 6, 0), LW_EINVAL);
	lw_plan_init(&p, lw_region_by_id(LW_REGION_IN865));
	assert_int_equal(lw_plan_add_rates(&p, 866000000, 0x3020), 3);
	lw_plan_init(&p, lw_region_by_id(LW_REGION_AU915));
	assert_int_equal(lw_plan_add_rates(&p, 916000000, 0x003f), LW_EUNSUPPORTED);
}

/* The channel lists of join-accepts: frequencies from the first added channel on, masks by blocks of 16. */
static void test_cflists(void **state)
{
	struct lw_plan p;
	struct lw_cflist l;
	uint8_t bytes[16];
	uint8_t want[16];
	(void)state;
	lw_plan_init(&p, lw_region_by_id(LW_REGION_AS923_3));
	assert_int_equal(lw_plan_add(&p, 917000000, 0, 5), 2);
	assert_int_equal(lw_plan_cflist(&p, LW_MAC_1_0_2, &l), 1);
	assert_int_equal(lw_cflist_encode(&l, bytes), 0);
	vec_bytes("50ec8b00000000000000000000000000", want, sizeof want); /* 9,170,000 */
	assert_memory_equal(bytes, want, 16);
	/* 2.4 GHz counts in 200 Hz: 12,025,000. */
	lw_plan_init(&p, lw_region_by_id(LW_REGION_ISM2400));
	assert_int_equal(lw_plan_add(&p, 2405000000, 0, 7), 3);
	assert_int_equal(lw_plan_cflist(&p, LW_MAC_1_0_4, &l), 1);
	assert_int_equal(lw_cflist_encode(&l, bytes), 0);
	vec_bytes("a87cb700000000000000000000000000", want, sizeof want);
	assert_memory_equal(bytes, want, 16);
	/* au915_0 as recorded. */
	lw_plan_init(&p, lw_region_by_id(LW_REGION_AU915));
	lw_plan_disable_all(&p);
	for (unsigned i = 0; i < 8; i++)
		lw_plan_enable(&p, i, true);
	lw_plan_enable(&p, 64, true);
	assert_int_equal(lw_plan_cflist(&p, LW_MAC_1_0_3, &l), 1);
	assert_int_equal(lw_cflist_encode(&l, bytes), 0);
	vec_bytes("ff000000000000000100000000000001", want, sizeof want);
	assert_memory_equal(bytes, want, 16);
	/* All of CN470: six blocks, or as many as a plan has. */
	lw_plan_init(&p, lw_region_by_id(LW_REGION_CN470));
	assert_int_equal(lw_plan_cflist(&p, LW_MAC_1_0_2, &l), 0);
	assert_int_equal(lw_plan_cflist(&p, LW_MAC_1_0_3, &l), 1);
	assert_int_equal(lw_cflist_encode(&l, bytes), 0);
	vec_bytes("ffffffffffffffffffffffff00000001", want, sizeof want);
	assert_memory_equal(bytes, want, 16);
	lw_plan_init(&p, lw_region_by_id(LW_REGION_CN470_26B));
	assert_int_equal(lw_plan_cflist(&p, LW_MAC_1_0_4, &l), 1);
	assert_int_equal(lw_cflist_encode(&l, bytes), 0);
	vec_bytes("ffffffffffff00000000000000000001", want, sizeof want);
	assert_memory_equal(bytes, want, 16);
}

/* regions.md: ping index = (DevAddr + floor(t/128)) mod 8, the sum in 32 bits. */
static void test_hop(void **state)
{
	(void)state;
	const struct lw_region *us = lw_region_by_id(LW_REGION_US915);
	const struct lw_region *eu = lw_region_by_id(LW_REGION_EU868);
	assert_int_equal(lw_hop_hz(&us->beacon, 128 * 9, 0), 923900000);
	assert_int_equal(lw_hop_hz(&us->ping_slot, 128 * 9, 7), 923300000);
	assert_int_equal(lw_hop_hz(&us->ping_slot, 128, 0xffffffff), 923300000);
	assert_int_equal(lw_hop_hz(&eu->ping_slot, 128 * 9, 7), 869525000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),      cmocka_unit_test(test_limits),    cmocka_unit_test(test_plan_eu868),
		cmocka_unit_test(test_plan_us915), cmocka_unit_test(test_dr_ranges), cmocka_unit_test(test_cflists),
		cmocka_unit_test(test_hop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
