/* Unit tests of adr_mask.h: what a series of LinkADRReq does, that it is the shortest, and the series that were
 * recorded from the reference (tests/vectors/regions/linkadr.tsv). */
#include "tests/unit/common/lorawan/vectors.h"

#include "common/base/err.h"
#include "common/lorawan/adr_mask.h"
#include "common/lorawan/cflist.h"
#include "common/lorawan/mac.h"

static uint32_t seed = 0x5eed;

static uint32_t draw(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

static const enum lw_region_id plans[] = {
	LW_REGION_EU868,       LW_REGION_US915,       LW_REGION_AU915,     LW_REGION_CN470,
	LW_REGION_CN470_20A_2, LW_REGION_CN470_20B_1, LW_REGION_CN470_26A, LW_REGION_ISM2400,
};

/* Any set of the plan's channels, often whole blocks or banks. */
static void draw_words(const struct lw_plan *all, uint16_t out[LW_PLAN_WORDS])
{
	static const uint16_t usual[] = {0, 0, 0, 0x00ff, 0xff00, 0xffff, 0x0001};
	for (unsigned w = 0; w < LW_PLAN_WORDS; w++) {
		uint32_t which = draw() % 8;
		out[w] = (uint16_t)(all->enabled[w] & (which == 7 ? draw() : usual[which]));
	}
}

static bool is_empty(const uint16_t w[LW_PLAN_WORDS])
{
	for (unsigned i = 0; i < LW_PLAN_WORDS; i++)
		if (w[i])
			return false;
	return true;
}

static bool reaches(const struct lw_plan *p, const struct lw_adr_mask *m, unsigned n,
		    const uint16_t want[LW_PLAN_WORDS])
{
	uint16_t state[LW_PLAN_WORDS];
	memcpy(state, p->enabled, sizeof(state));
	for (unsigned i = 0; i < n; i++)
		if (lw_adr_mask_apply(p, &m[i], state) < 0)
			return false;
	return memcmp(state, want, sizeof(state)) == 0;
}

/* Whether `n` commands of any kind can do it. The last one of each block must carry what is wanted there, so that only
 * commands that touch several blocks need all their masks tried. */
static bool possible(const struct lw_plan *p, bool banks, const uint16_t want[LW_PLAN_WORDS], struct lw_adr_mask *m,
		     unsigned depth, unsigned n)
{
	if (depth == n)
		return reaches(p, m, n, want);
	for (uint8_t cntl = 0; cntl < 8; cntl++) {
		bool wide = p->region->mask_control == LW_MASK_64_8 && cntl >= 5;
		if (wide && cntl == 5 && !banks)
			continue;
		for (unsigned mask = 0; mask <= (wide ? 0xffU : 0U); mask++) {
			m[depth].cntl = cntl;
			m[depth].mask = wide ? (uint16_t)mask : cntl < LW_PLAN_WORDS ? want[cntl] : 0;
			if (possible(p, banks, want, m, depth + 1, n))
				return true;
		}
	}
	return false;
}

static void check_series(const struct lw_plan *p, enum lw_mac_version mac, const uint16_t want[LW_PLAN_WORDS],
			 const struct lw_adr_mask *m, int n)
{
	uint16_t state[LW_PLAN_WORDS];
	assert_true(n >= 1 && n <= LW_ADR_MASKS_MAX);
	memcpy(state, p->enabled, sizeof(state));
	for (int i = 0; i < n; i++) {
		assert_true(mac >= LW_MAC_1_0_3 || p->region->mask_control != LW_MASK_64_8 || m[i].cntl != 5);
		assert_int_equal(lw_adr_mask_apply(p, &m[i], state), 0);
		if (mac < LW_MAC_1_0_2)
			assert_false(is_empty(state));
	}
	assert_memory_equal(state, want, sizeof(state));
}

static void test_any_change(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 40000; round++) {
		struct lw_plan p;
		struct lw_plan all;
		uint16_t want[LW_PLAN_WORDS];
		struct lw_adr_mask m[LW_ADR_MASKS_MAX];
		enum lw_mac_version mac = (enum lw_mac_version)(draw() % LW_MAC_VERSIONS);
		lw_plan_init(&all, lw_region_by_id(plans[draw() % (sizeof(plans) / sizeof(plans[0]))]));
		p = all;
		draw_words(&all, p.enabled);
		draw_words(&all, want);
		/* A device has a channel on. */
		if (is_empty(p.enabled))
			p = all;
		int n = lw_adr_masks(&p, mac, want, m);
		if (is_empty(want)) {
			assert_int_equal(n, LW_EINVAL);
			continue;
		}
		check_series(&p, mac, want, m, n);
		bool same = memcmp(p.enabled, want, sizeof(want)) == 0;
		if (same)
			assert_int_equal(n, 1);
		/* Blocks alone never take more. */
		int blocks = 0;
		for (unsigned w = 0; w < LW_PLAN_WORDS; w++)
			blocks += p.enabled[w] != want[w];
		assert_true(n <= (same ? 1 : blocks));
	}
}

static void test_none_is_shorter(void **state)
{
	unsigned longest = 0;
	(void)state;
	for (unsigned round = 0; round < 400; round++) {
		struct lw_plan p;
		struct lw_plan all;
		uint16_t want[LW_PLAN_WORDS];
		struct lw_adr_mask m[LW_ADR_MASKS_MAX];
		struct lw_adr_mask tried[LW_ADR_MASKS_MAX];
		bool banks = round & 1;
		lw_plan_init(&all, lw_region_by_id(plans[draw() % (sizeof(plans) / sizeof(plans[0]))]));
		p = all;
		draw_words(&all, p.enabled);
		draw_words(&all, want);
		if (is_empty(want))
			continue;
		int n = lw_adr_masks(&p, banks ? LW_MAC_1_0_3 : LW_MAC_1_0_2, want, m);
		assert_true(n >= 1);
		/* Three commands would be half a billion ways. */
		for (int less = 1; less < n && less <= 2; less++)
			assert_false(possible(&p, banks, want, tried, 0, (unsigned)less));
		if ((unsigned)n > longest)
			longest = (unsigned)n;
	}
	assert_true(longest >= 3);
}

static void set(struct lw_plan *p, uint16_t w0, uint16_t w1, uint16_t w2, uint16_t w3, uint16_t w4)
{
	const uint16_t w[LW_PLAN_WORDS] = {w0, w1, w2, w3, w4, 0};
	memcpy(p->enabled, w, sizeof(w));
}

static void check_text(const struct lw_adr_mask *m, int n, const char *expected)
{
	char text[128] = "";
	for (int i = 0; i < n; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%u:%04x", i ? " " : "", m[i].cntl,
			       m[i].mask);
	assert_string_equal(text, expected);
}

static void test_us915(void **state)
{
	struct lw_plan p;
	struct lw_adr_mask m[LW_ADR_MASKS_MAX];
	const uint16_t sub_band[LW_PLAN_WORDS] = {0x00ff, 0, 0, 0, 0x0001, 0};
	(void)state;
	lw_plan_init(&p, lw_region_by_id(LW_REGION_US915));
	/* From all channels to a sub-band. */
	check_text(m, lw_adr_masks(&p, LW_MAC_1_0_2, sub_band, m), "7:0001 0:00ff");
	check_text(m, lw_adr_masks(&p, LW_MAC_1_0_3, sub_band, m), "5:0001");
	check_text(m, lw_adr_masks(&p, LW_MAC_1_1_0, sub_band, m), "5:0001");
	/* One by one: 7:0001 first would leave the device with 500 kHz only. */
	check_text(m, lw_adr_masks(&p, LW_MAC_1_0_1, sub_band, m), "6:0001 0:00ff 1:0000 2:0000 3:0000");
	/* Back to all. */
	const uint16_t all[LW_PLAN_WORDS] = {0xffff, 0xffff, 0xffff, 0xffff, 0x00ff, 0};
	memcpy(p.enabled, sub_band, sizeof(sub_band));
	check_text(m, lw_adr_masks(&p, LW_MAC_1_0_0, all, m), "6:00ff");
	/* Nothing to change: the first block that has a channel. */
	check_text(m, lw_adr_masks(&p, LW_MAC_1_0_3, sub_band, m), "0:00ff");
	const uint16_t wide[LW_PLAN_WORDS] = {0, 0, 0, 0, 0x0080, 0};
	set(&p, 0, 0, 0, 0, 0x0080);
	check_text(m, lw_adr_masks(&p, LW_MAC_1_0_3, wide, m), "4:0080");
	/* Without 125 kHz. */
	set(&p, 0x00ff, 0, 0, 0, 0x0001);
	check_text(m, lw_adr_masks(&p, LW_MAC_1_0_0, wide, m), "7:0080");
	/* Two sub-bands, but one wide channel. */
	const uint16_t two[LW_PLAN_WORDS] = {0x00ff, 0, 0, 0xff00, 0x0001, 0};
	set(&p, 0xffff, 0xffff, 0xffff, 0xffff, 0x00ff);
	check_text(m, lw_adr_masks(&p, LW_MAC_1_0_4, two, m), "5:0001 3:ff00");
	/* Moved by one sub-band, one by one: what grows goes first. */
	const uint16_t next[LW_PLAN_WORDS] = {0, 0x00ff, 0, 0, 0x0004, 0};
	set(&p, 0x00ff, 0, 0, 0, 0x0001);
	check_text(m, lw_adr_masks(&p, LW_MAC_1_0_1, next, m), "1:00ff 4:0004 0:0000");
}

static void test_cn470(void **state)
{
	struct lw_plan p;
	struct lw_adr_mask m[LW_ADR_MASKS_MAX];
	const uint16_t eight[LW_PLAN_WORDS] = {0x00ff, 0, 0, 0, 0, 0};
	(void)state;
	/* 96 channels cannot be turned off at once. */
	lw_plan_init(&p, lw_region_by_id(LW_REGION_CN470));
	check_text(m, lw_adr_masks(&p, LW_MAC_1_0_3, eight, m), "0:00ff 1:0000 2:0000 3:0000 4:0000 5:0000");
	struct lw_plan all = p;
	memcpy(p.enabled, eight, sizeof(eight));
	check_text(m, lw_adr_masks(&p, LW_MAC_1_0_3, all.enabled, m), "6:0000");
	lw_plan_init(&p, lw_region_by_id(LW_REGION_CN470_20A_0));
	check_text(m, lw_adr_masks(&p, LW_MAC_1_0_4, eight, m), "7:0000 0:00ff");
	lw_plan_init(&p, lw_region_by_id(LW_REGION_CN470_26A));
	check_text(m, lw_adr_masks(&p, LW_MAC_1_0_4, eight, m), "4:0000 0:00ff");
	all = p;
	memcpy(p.enabled, eight, sizeof(eight));
	check_text(m, lw_adr_masks(&p, LW_MAC_1_0_4, all.enabled, m), "3:0000");
}

static void test_added_channels(void **state)
{
	struct lw_plan network;
	struct lw_plan device;
	struct lw_adr_mask m[LW_ADR_MASKS_MAX];
	uint16_t want[LW_PLAN_WORDS];
	uint16_t enabled[LW_PLAN_WORDS] = {0x0007};
	(void)state;
	lw_plan_init(&network, lw_region_by_id(LW_REGION_EU868));
	for (uint32_t i = 0; i < 5; i++)
		lw_plan_add(&network, 867100000 + 200000 * i, 0, 5);
	lw_plan_init(&device, lw_region_by_id(LW_REGION_EU868));
	lw_adr_wanted(&network, &device, want);
	assert_int_equal(want[0], 0x0007);
	check_text(m, lw_adr_masks(&device, LW_MAC_1_0_3, want, m), "0:0007");
	assert_int_equal(lw_adr_masks(&device, LW_MAC_1_0_3, network.enabled, m), LW_EINVAL);
	/* The device has the second one otherwise, the third not yet, the fourth and its list has a gap. */
	device.n_user = 4;
	device.n = 7;
	device.user[0] = network.user[0];
	device.user[1] = (struct lw_channel){868800000, 0, 5};
	device.user[3] = network.user[3];
	device.enabled[0] = 0x005f;
	lw_adr_wanted(&network, &device, want);
	assert_int_equal(want[0], 0x004f);
	check_text(m, lw_adr_masks(&device, LW_MAC_1_0_3, want, m), "0:004f");
	want[0] |= 0x0020; /* the gap */
	assert_int_equal(lw_adr_masks(&device, LW_MAC_1_0_3, want, m), LW_EINVAL);
	assert_int_equal(lw_adr_mask_apply(&device, &(struct lw_adr_mask){0, 0x0020}, enabled), LW_EINVAL);
	assert_int_equal(enabled[0], 0x0007);
	assert_int_equal(lw_adr_mask_apply(&device, &(struct lw_adr_mask){6, 0}, enabled), 0);
	assert_int_equal(enabled[0], 0x005f);
	for (uint8_t cntl = 1; cntl < 9; cntl++)
		if (cntl != 6)
			assert_int_equal(lw_adr_mask_apply(&device, &(struct lw_adr_mask){cntl, 0}, enabled),
					 LW_EINVAL);
}

static void test_refused(void **state)
{
	struct lw_plan p;
	uint16_t enabled[LW_PLAN_WORDS];
	(void)state;
	lw_plan_init(&p, lw_region_by_id(LW_REGION_US915));
	for (uint8_t cntl = 4; cntl < 8; cntl++) {
		memcpy(enabled, p.enabled, sizeof(enabled));
		assert_int_equal(lw_adr_mask_apply(&p, &(struct lw_adr_mask){cntl, 0x0100}, enabled), LW_EINVAL);
		assert_memory_equal(enabled, p.enabled, sizeof(enabled));
	}
	lw_plan_init(&p, lw_region_by_id(LW_REGION_CN470_20A_0));
	assert_int_equal(lw_adr_mask_apply(&p, &(struct lw_adr_mask){4, 0}, enabled), LW_EINVAL);
	assert_int_equal(lw_adr_mask_apply(&p, &(struct lw_adr_mask){5, 1}, enabled), LW_EINVAL);
	lw_plan_init(&p, lw_region_by_id(LW_REGION_CN470_26B));
	assert_int_equal(lw_adr_mask_apply(&p, &(struct lw_adr_mask){6, 0}, enabled), LW_EINVAL);
	lw_plan_init(&p, lw_region_by_id(LW_REGION_CN470));
	assert_int_equal(lw_adr_mask_apply(&p, &(struct lw_adr_mask){7, 0}, enabled), LW_EINVAL);
}

/* The masks of the reference's requests, from what the device had; rates, powers and NbTrans are not ours to say. */
static void test_recorded(void **state)
{
	struct vec vector;
	struct vec *v = &vector;
	unsigned rows = 0;
	(void)state;
	for (vec_open(v, "tests/vectors/regions/linkadr.tsv"); vec_next(v); rows++) {
		struct lw_plan p;
		struct lw_plan network;
		enum lw_mac_version mac;
		uint16_t want[LW_PLAN_WORDS];
		struct lw_adr_mask m[LW_ADR_MASKS_MAX];
		lw_plan_init(&p, lw_region_by_id(v->field[0][0] == 'u' ? LW_REGION_US915 : LW_REGION_AU915));
		network = p;
		set(&network, 0x00ff, 0, 0, 0, 0x0001);
		assert_int_equal(lw_mac_version_parse(v->field[3], &mac), 0);
		if (strcmp(v->field[4], "boot") != 0) {
			struct lw_cflist l;
			uint8_t bytes[16];
			assert_int_equal(vec_bytes(v->field[4], bytes, sizeof(bytes)), 16);
			assert_int_equal(lw_cflist_parse(bytes, &l), 0);
			memcpy(p.enabled, l.mask, sizeof(p.enabled));
		}
		lw_adr_wanted(&network, &p, want);
		int n = lw_adr_masks(&p, mac, want, m);
		char *rest = v->field[5];
		int i = 0;
		for (char *hex; (hex = strsep(&rest, " ")); i++) {
			uint8_t bytes[5] = {LW_CID_LINK_ADR};
			struct lw_mac_iter it;
			struct lw_mac_cmd cmd;
			assert_int_equal(vec_bytes(hex, bytes + 1, 4), 4);
			lw_mac_iter_init(&it, LW_DOWN, lw_span(bytes, 5));
			assert_int_equal(lw_mac_iter_next(&it, &cmd), 1);
			if (i >= n || m[i].cntl != cmd.u.link_adr_req.ch_mask_cntl ||
			    m[i].mask != cmd.u.link_adr_req.ch_mask)
				fail_msg("linkadr.tsv:%u: request %d is another", v->number, i);
		}
		assert_int_equal(i, n);
	}
	assert_true(rows > 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_change),     cmocka_unit_test(test_none_is_shorter),
		cmocka_unit_test(test_us915),          cmocka_unit_test(test_cn470),
		cmocka_unit_test(test_added_channels), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_recorded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
