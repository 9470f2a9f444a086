/* Unit tests of region.h: what the facts (contracts/regions.md) say in words about revisions, and about the plans of
 * CN470 that depend on the join channel. */
#include "tests/unit/common/lorawan/vectors.h"

#include "common/base/err.h"
#include "common/lorawan/region.h"

static uint32_t channel_hz(const struct lw_channel_run *run, size_t n, unsigned index)
{
	for (size_t i = 0; i < n; i++)
		if (index >= run[i].first && index < run[i].first + (unsigned)run[i].count)
			return run[i].first_hz + (index - run[i].first) * run[i].step_hz;
	return 0;
}

/* Plans of 20 MHz: beacon and ping slots follow the join channel (regions.md, CN470 under RP002). */
static void test_cn470_by_join_channel(void **state)
{
	(void)state;
	for (unsigned j = 0; j < 10; j++) {
		const struct lw_region *r = lw_region_by_id((enum lw_region_id)(0x100 + j));
		assert_non_null(r);
		const struct lw_join_channel *c = &r->join_channels[j < 8 ? j : j - 8];
		assert_int_equal(r->rx2_hz, c->rx2_hz);
		assert_int_equal(lw_region_base(r->id), LW_REGION_CN470);
		for (uint32_t period = 0; period < 70; period++) {
			uint32_t t = period * 128;
			uint32_t addr = 0x01020304 + period * 7;
			unsigned beacon = j < 8 ? j * 8 + period % 8 : j == 8 ? 23 : 55;
			unsigned ping = j < 8 ? j * 8 + (addr + period) % 8 : (j == 9 ? 32 : 0) + (addr + period) % 32;
			assert_int_equal(lw_hop_hz(&r->beacon, t, 0), channel_hz(r->down, r->n_down, beacon));
			assert_int_equal(lw_hop_hz(&r->ping_slot, t, addr), channel_hz(r->down, r->n_down, ping));
		}
	}
	assert_int_equal(lw_region_by_id(LW_REGION_CN470_26A)->rx2_hz, 492500000);
	assert_int_equal(lw_region_by_id(LW_REGION_CN470_26B)->rx2_hz, 502500000);
	assert_null(lw_region_by_id((enum lw_region_id)0x10B));
}

static void test_cn470_join_windows(void **state)
{
	struct lw_plan p;
	uint32_t hz;
	(void)state;
	/* 26 MHz: a join is answered on one frequency, other frames by index; 480.3 is join channel 15 and channel 0.
	 */
	lw_plan_init(&p, lw_region_by_id(LW_REGION_CN470_26B));
	assert_int_equal(lw_plan_join_rx1_hz(&p, 480300000, 5, &hz), 0);
	assert_int_equal(hz, 502500000);
	assert_int_equal(lw_plan_rx1_hz(&p, 480300000, 5, &hz), 0);
	assert_int_equal(hz, 500100000);
	assert_int_equal(lw_plan_rx1_hz(&p, 480300000 + 25 * 200000, 5, &hz), 0);
	assert_int_equal(hz, 500300000);
	/* 20 MHz, A: channel 35 is in the second half of both bands. */
	lw_plan_init(&p, lw_region_by_id(LW_REGION_CN470_20A_4));
	assert_int_equal(lw_plan_rx1_hz(&p, 504100000, 1, &hz), 0);
	assert_int_equal(hz, 490900000);
	assert_int_equal(lw_plan_join_rx1_hz(&p, 504100000, 1, &hz), 0);
	assert_int_equal(hz, 490900000);
	assert_int_equal(lw_plan_rx1_hz(&p, 486900000, 1, &hz), LW_ENOTFOUND);
	/* Where there are none, a join is answered as any frame. */
	lw_plan_init(&p, lw_region_by_id(LW_REGION_EU868));
	assert_int_equal(lw_plan_join_rx1_hz(&p, 868300000, 5, &hz), 0);
	assert_int_equal(hz, 868300000);
}

/* RX1 in RP001: the rate is capped at DR5 (regions.md §9). */
static void test_revisions(void **state)
{
	static const int8_t as923[4][8] = {
		{4, 3, 2, 1, 0, 0, 5, 5}, {5, 4, 3, 2, 1, 0, 5, 5}, {5, 5, 4, 3, 2, 1, 5, 5}, {5, 5, 5, 4, 3, 2, 5, 5}};
	static const int8_t as923_dwell[3][8] = {
		{4, 3, 2, 2, 2, 2, 5, 5}, {5, 4, 3, 2, 2, 2, 5, 5}, {5, 5, 4, 3, 2, 2, 5, 5}};
	static const enum lw_region_id groups[] = {LW_REGION_AS923, LW_REGION_AS923_2, LW_REGION_AS923_3,
						   LW_REGION_AS923_4};
	(void)state;
	for (size_t g = 0; g < 4; g++) {
		const struct lw_region *r = lw_region_by_id(groups[g]);
		const struct lw_region *old = lw_region_revision(r, LW_MAC_1_0_3, LW_RP_A);
		assert_ptr_equal(lw_region_revision(r, LW_MAC_1_1_0, LW_RP_B), old);
		assert_ptr_equal(lw_region_revision(r, LW_MAC_1_1_0, LW_RP_002_1_0_0), r);
		/* No standard has this pair; 1.0.4 came with RP002. */
		assert_ptr_equal(lw_region_revision(r, LW_MAC_1_0_4, LW_RP_A), r);
		assert_int_equal(old->id, r->id);
		assert_int_equal(old->rx2_hz, r->rx2_hz);
		assert_int_equal(old->up[0].first_hz, r->up[0].first_hz);
		for (unsigned o = 0; o < 8; o++) {
			for (unsigned dr = 4; dr < 8; dr++)
				assert_int_equal(lw_region_rx1_dr(old, dr, o, false), as923[dr - 4][o]);
			for (unsigned dr = 4; dr < 7; dr++)
				assert_int_equal(lw_region_rx1_dr(old, dr, o, true), as923_dwell[dr - 4][o]);
			for (unsigned dr = 0; dr < 4; dr++)
				for (int dwell = 0; dwell < 2; dwell++)
					assert_int_equal(lw_region_rx1_dr(old, dr, o, dwell != 0),
							 lw_region_rx1_dr(r, dr, o, dwell != 0));
		}
		assert_null(lw_region_dr(old, LW_UP, 12));
	}
	static const int8_t in865[8] = {5, 5, 5, 4, 3, 2, 5, 5};
	const struct lw_region *in = lw_region_revision(lw_region_by_id(LW_REGION_IN865), LW_MAC_1_0_2, LW_RP_B);
	for (unsigned o = 0; o < 8; o++)
		assert_int_equal(lw_region_rx1_dr(in, 7, o, false), in865[o]);
	assert_int_equal(lw_region_rx1_dr(in, 5, 7, false), 5);
	/* AU915 had the rates of US915; 1.0.2 is served with the later ones. */
	const struct lw_region *au = lw_region_by_id(LW_REGION_AU915);
	const struct lw_region *us = lw_region_by_id(LW_REGION_US915);
	const struct lw_region *legacy = lw_region_revision(au, LW_MAC_1_0_1, LW_RP_A);
	assert_ptr_equal(lw_region_revision(au, LW_MAC_1_0_2, LW_RP_A), au);
	for (unsigned dr = 0; dr < 5; dr++)
		for (unsigned o = 0; o < 4; o++)
			assert_int_equal(lw_region_rx1_dr(legacy, dr, o, false), lw_region_rx1_dr(us, dr, o, false));
	assert_int_equal(lw_region_rx1_dr(legacy, 5, 0, false), LW_EINVAL);
	assert_int_equal(legacy->up[0].max_dr, 3);
	assert_int_equal(legacy->up[1].min_dr, 4);
	assert_int_equal(legacy->up[1].first_hz, 915900000);
}

/* regions.md §9: numbers of powers by revision. */
static void test_powers_by_revision(void **state)
{
	static const struct {
		enum lw_region_id id;
		enum lw_mac_version mac;
		enum lw_reg_params rp;
		unsigned max;
		int eirp_dbm;
	} cases[] = {
		{LW_REGION_EU868, LW_MAC_1_0_0, LW_RP_A, 5, 16},   {LW_REGION_EU868, LW_MAC_1_0_2, LW_RP_A, 5, 16},
		{LW_REGION_EU868, LW_MAC_1_0_2, LW_RP_B, 7, 16},   {LW_REGION_EU868, LW_MAC_1_0_3, LW_RP_A, 7, 16},
		{LW_REGION_US915, LW_MAC_1_0_2, LW_RP_B, 10, 30},  {LW_REGION_US915, LW_MAC_1_0_3, LW_RP_A, 14, 30},
		{LW_REGION_AU915, LW_MAC_1_0_2, LW_RP_A, 10, 30},  {LW_REGION_AU915, LW_MAC_1_1_0, LW_RP_A, 10, 30},
		{LW_REGION_AU915, LW_MAC_1_1_0, LW_RP_B, 14, 30},  {LW_REGION_AS923, LW_MAC_1_0_2, LW_RP_A, 5, 14},
		{LW_REGION_AS923_4, LW_MAC_1_0_2, LW_RP_B, 7, 16}, {LW_REGION_KR920, LW_MAC_1_0_2, LW_RP_A, 6, 20},
		{LW_REGION_KR920, LW_MAC_1_0_2, LW_RP_B, 7, 14},   {LW_REGION_IN865, LW_MAC_1_0_3, LW_RP_A, 10, 30},
		{LW_REGION_CN779, LW_MAC_1_0_3, LW_RP_A, 5, 12},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lw_tx_power p;
		lw_region_tx_power(lw_region_by_id(cases[i].id), cases[i].mac, cases[i].rp, &p);
		assert_int_equal(p.max_index, cases[i].max);
		assert_int_equal(p.eirp_cdbm / 100, cases[i].eirp_dbm);
		assert_int_equal(p.db[0], 0);
		for (unsigned k = 1; k <= p.max_index; k++)
			assert_true(p.db[k] < p.db[k - 1]);
	}
}

static void test_tx_param_by_revision(void **state)
{
	const struct lw_region *au = lw_region_by_id(LW_REGION_AU915);
	const struct lw_region *as = lw_region_by_id(LW_REGION_AS923_3);
	bool up;
	bool down;
	(void)state;
	assert_false(lw_region_tx_param_setup(au, LW_MAC_1_0_2, LW_RP_B));
	assert_false(lw_region_tx_param_setup(au, LW_MAC_1_1_0, LW_RP_A));
	assert_true(lw_region_tx_param_setup(au, LW_MAC_1_1_0, LW_RP_B));
	assert_true(lw_region_tx_param_setup(au, LW_MAC_1_0_3, LW_RP_A));
	/* The command came with 1.0.2. */
	assert_false(lw_region_tx_param_setup(as, LW_MAC_1_0_1, LW_RP_A));
	assert_true(lw_region_tx_param_setup(as, LW_MAC_1_0_2, LW_RP_A));
	assert_false(lw_region_tx_param_setup(lw_region_by_id(LW_REGION_EU868), LW_MAC_1_0_4, LW_RP_002_1_0_5));
	lw_region_boot_dwell(as, LW_MAC_1_0_2, LW_RP_B, &up, &down);
	assert_true(up && down);
	lw_region_boot_dwell(as, LW_MAC_1_0_3, LW_RP_A, &up, &down);
	assert_true(up && !down);
	lw_region_boot_dwell(as, LW_MAC_1_0_2, LW_RP_A, &up, &down);
	assert_false(up || down);
	lw_region_boot_dwell(au, LW_MAC_1_0_2, LW_RP_B, &up, &down);
	assert_false(up || down);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cn470_by_join_channel),
		cmocka_unit_test(test_cn470_join_windows),
		cmocka_unit_test(test_revisions),
		cmocka_unit_test(test_powers_by_revision),
		cmocka_unit_test(test_tx_param_by_revision),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
