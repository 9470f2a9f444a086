/* Unit tests of region.h. The plan tables are compared, row by row, with tests/vectors/regions/<plan>.tsv: facts
 * gathered from several implementations (columns: region table key subkey value unit sources note). */
#include "tests/unit/common/lorawan/vectors.h"

#include "common/base/err.h"
#include "common/lorawan/region.h"

#define KEY v->field[2]
#define SUBKEY v->field[3]
#define VALUE v->field[4]
#define UNIT v->field[5]
#define NOTE v->field[7]

static unsigned number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);
	assert_ptr_not_equal(end, text);
	return (unsigned)n;
}

/* "SF12/125", "FSK50000", "LRFHSS 1/3 137" */
static struct lw_modulation modulation_of(const char *text)
{
	struct lw_modulation m = {0};
	unsigned a;
	unsigned b;
	char cr[8];
	if (sscanf(text, "SF%u/%u", &a, &b) == 2) {
		m = (struct lw_modulation){.kind = LW_MOD_LORA, .sf = (uint8_t)a, .bw_hz = b * 1000, .cr = LW_CR_4_5};
	} else if (sscanf(text, "FSK%u", &a) == 1) {
		m = (struct lw_modulation){.kind = LW_MOD_FSK, .bitrate_bps = a};
	} else if (sscanf(text, "LRFHSS %7s %u", cr, &a) == 2) {
		m = (struct lw_modulation){.kind = LW_MOD_LRFHSS, .bw_hz = a * 1000};
		assert_int_equal(lw_code_rate_parse(cr, &m.cr), 0);
	} else {
		fail_msg("no modulation: %s", text);
	}
	return m;
}

static void check_dr(const struct lw_region *r, struct vec *v)
{
	enum lw_dir dir = strcmp(SUBKEY, "down") == 0 ? LW_DOWN : LW_UP;
	struct lw_modulation want = modulation_of(VALUE);
	const struct lw_modulation *got = lw_region_dr(r, dir, number(KEY));
	if (!got)
		fail_msg("DR%s %s is missing", KEY, SUBKEY);
	assert_int_equal(got->kind, want.kind);
	assert_int_equal(got->sf, want.sf);
	assert_int_equal(got->bw_hz, want.bw_hz);
	assert_int_equal(got->bitrate_bps, want.bitrate_bps);
	assert_int_equal(got->cr, want.cr);
	assert_int_equal(lw_region_dr_index(r, dir, &want), number(KEY));
}

static void check_rx1_dr(const struct lw_region *r, struct vec *v)
{
	unsigned up;
	unsigned offset;
	assert_int_equal(sscanf(KEY, "up DR%u", &up), 1);
	assert_int_equal(sscanf(SUBKEY, "offset %u", &offset), 1);
	assert_int_equal(lw_region_rx1_dr(r, up, offset, false), number(VALUE));
	assert_int_equal(lw_region_rx1_dr(r, up, offset, true), number(VALUE));
}

static const struct {
	const char *text;
	enum lw_reg_params rp;
} revisions[] = {
	{"A", LW_RP_A},
	{"B", LW_RP_B},
	{"RP2-1.0.0", LW_RP_002_1_0_0},
	{"RP2-1.0.1", LW_RP_002_1_0_1},
	{"RP2-1.0.2", LW_RP_002_1_0_2},
	{"RP2-1.0.3", LW_RP_002_1_0_3},
	{"RP2-1.0.4", LW_RP_002_1_0_4},
	{"RP2-1.0.5", LW_RP_002_1_0_5},
	{"newest", LW_RP_002_1_0_5},
};

static enum lw_reg_params revision_of(const char *text)
{
	for (size_t i = 0; i < sizeof revisions / sizeof revisions[0]; i++)
		if (strcmp(revisions[i].text, text) == 0)
			return revisions[i].rp;
	fail_msg("unknown revision %s", text);
	return LW_RP_A;
}

/* The note names the versions: "1.0.2:A+B | 1.0.4:RP2-1.0.0+RP2-1.0.1". */
static void check_payload(const struct lw_region *r, enum lw_dir dir, struct vec *v)
{
	unsigned dr;
	unsigned m;
	unsigned n;
	bool repeater = strstr(SUBKEY, "repeater=true") != NULL;
	assert_int_equal(sscanf(KEY, "DR%u", &dr), 1);
	assert_int_equal(sscanf(VALUE, "%u/%u", &m, &n), 2);
	char note[1024];
	(void)snprintf(note, sizeof note, "%s", NOTE);
	char *rest = note;
	for (char *part; (part = strsep(&rest, "|"));) {
		part += strspn(part, " ");
		char *revs = part;
		const char *mac_text = strsep(&revs, ":");
		assert_non_null(revs);
		revs[strcspn(revs, " ")] = '\0';
		enum lw_mac_version mac;
		assert_int_equal(lw_mac_version_parse(strcmp(mac_text, "later MACs") == 0 ? "1.0.4" : mac_text, &mac),
				 0);
		for (char *rev; (rev = strsep(&revs, "+"));) {
			struct lw_max_payload got;
			for (int dwell = 0; dwell < 2; dwell++) {
				if (lw_region_max_payload(r, dir, mac, revision_of(rev), repeater, dwell, dr, &got) < 0)
					fail_msg("line %u: no payload for %s %s %s", v->number, mac_text, rev, KEY);
				if (got.m != m || got.n != n)
					fail_msg("line %u: %u/%u, not %u/%u (%s %s)", v->number, got.m, got.n, m, n,
						 mac_text, rev);
			}
		}
	}
}

static void check_sub_band(const struct lw_region *r, struct vec *v)
{
	double duty;
	unsigned min;
	unsigned max;
	double eirp;
	assert_int_equal(sscanf(SUBKEY, "duty=%lf", &duty), 1);
	assert_int_equal(sscanf(VALUE, "%u-%u", &min, &max), 2);
	assert_int_equal(sscanf(UNIT, "max EIRP %lf", &eirp), 1);
	const struct lw_sub_band *b = lw_region_sub_band(r, min);
	assert_non_null(b);
	assert_int_equal(b->min_hz, min);
	assert_int_equal(b->max_hz, max);
	assert_int_equal(b->duty_permille, (int)(duty * 1000 + 0.5));
	assert_int_equal(b->max_eirp_cdbm, (int)(eirp * 100 + 0.5));
	assert_ptr_equal(lw_region_sub_band(r, max - 1), b);
	assert_ptr_not_equal(lw_region_sub_band(r, max), b);
}

static void check_param(const struct lw_region *r, struct vec *v)
{
	if (strcmp(KEY, "freq_min") == 0)
		assert_int_equal(r->min_hz, number(VALUE));
	else if (strcmp(KEY, "freq_max") == 0)
		assert_int_equal(r->max_hz, number(VALUE));
	else if (strcmp(KEY, "freq_step_in_24bit_fields") == 0)
		assert_int_equal(r->step_hz, number(VALUE));
	else if (strcmp(KEY, "default_max_eirp_device") == 0)
		assert_int_equal(r->device_eirp_cdbm, 100 * number(VALUE));
	else if (strcmp(KEY, "rx2_frequency") == 0)
		assert_int_equal(r->rx2_hz, number(VALUE));
	else if (strcmp(KEY, "rx2_dr") == 0)
		assert_int_equal(r->rx2_dr, number(VALUE));
	else if (strcmp(KEY, "receive_delay1") == 0)
		assert_int_equal(r->rx1_delay_s, number(VALUE));
	else if (strcmp(KEY, "join_accept_delay1") == 0)
		assert_int_equal(r->join_accept_delay1_s, number(VALUE));
	else if (strcmp(KEY, "join_accept_delay2") == 0)
		assert_int_equal(r->join_accept_delay2_s, number(VALUE));
	else if (strcmp(KEY, "max_fcnt_gap") == 0)
		assert_int_equal(r->max_fcnt_gap, number(VALUE));
	else if (strcmp(KEY, "tts_max_adr_dr") == 0)
		assert_int_equal(r->adr_max_dr, number(VALUE));
	else if (strcmp(KEY, "cs_min_ul_dr") == 0)
		assert_int_equal(r->adr_min_dr, number(VALUE));
	else if (strcmp(KEY, "beacon_dr") == 0)
		assert_int_equal(r->beacon.dr, number(VALUE));
	else if (strcmp(KEY, "beacon_frequency") == 0)
		assert_int_equal(r->beacon.base_hz, number(VALUE));
	else if (strcmp(KEY, "ping_slot_frequency") == 0)
		assert_int_equal(r->ping_slot.base_hz, number(VALUE));
	else if (strcmp(KEY, "ping_slot_dr") == 0)
		assert_int_equal(r->ping_slot.dr, number(VALUE));
	else if (strcmp(KEY, "cflist") == 0)
		assert_int_equal(r->cflist_type, strstr(VALUE, "mask") ? LW_CFLIST_MASKS : LW_CFLIST_FREQUENCIES);
	else if (strcmp(KEY, "tx_param_setup_req") == 0)
		assert_int_equal(r->tx_param_setup, strcmp(VALUE, "yes") == 0);
	else if (strcmp(KEY, "new_channel_req") == 0)
		assert_int_equal(r->user_channels, strcmp(VALUE, "yes") == 0);
	else if (strcmp(KEY, "max_rx1_dr_offset") == 0)
		assert_int_equal(r->max_rx1_dr_offset, number(VALUE));
}

/* Returns the number of rows that were compared. */
static unsigned check_plan(const struct lw_region *r, const char *path)
{
	struct vec vector;
	struct vec *v = &vector;
	struct lw_plan plan;
	unsigned n = 0;
	lw_plan_init(&plan, r);
	for (vec_open(v, path); vec_next(v);) {
		const char *table = v->field[1];
		struct lw_channel c;
		int db;
		n++;
		if (strcmp(table, "dr") == 0) {
			check_dr(r, v);
		} else if (strcmp(table, "rx1_dr") == 0) {
			check_rx1_dr(r, v);
		} else if (strcmp(table, "max_payload_downlink") == 0) {
			check_payload(r, LW_DOWN, v);
		} else if (strcmp(table, "max_payload_uplink") == 0) {
			check_payload(r, LW_UP, v);
		} else if (strcmp(table, "subband") == 0) {
			check_sub_band(r, v);
		} else if (strcmp(table, "param") == 0) {
			check_param(r, v);
		} else if (strcmp(table, "uplink_channel") == 0) {
			assert_int_equal(lw_plan_channel(&plan, number(KEY), &c), 0);
			assert_int_equal(c.hz, number(VALUE));
			assert_int_equal(lw_plan_channel_index(&plan, c.hz, c.min_dr), number(KEY));
		} else if (strcmp(table, "downlink_channel") == 0 && r->n_down) {
			assert_int_equal(r->down[0].first_hz + number(KEY) * r->down[0].step_hz, number(VALUE));
		} else if (strcmp(table, "tx_power") == 0) {
			assert_int_equal(lw_region_tx_power_db(r, number(KEY), &db), 0);
			assert_int_equal(db, atoi(VALUE));
		} else {
			n--;
		}
	}
	return n;
}

static void test_eu868_table(void **state)
{
	(void)state;
	const struct lw_region *r = lw_region_by_id(LW_REGION_EU868);
	assert_non_null(r);
	assert_true(check_plan(r, "tests/vectors/regions/eu868.tsv") >= 220);
	int db;
	assert_int_equal(lw_region_tx_power_db(r, 8, &db), LW_EINVAL);
}

static void test_us915_table(void **state)
{
	(void)state;
	const struct lw_region *r = lw_region_by_id(LW_REGION_US915);
	assert_non_null(r);
	assert_true(check_plan(r, "tests/vectors/regions/us915.tsv") >= 255);
	int db;
	assert_int_equal(lw_region_tx_power_db(r, 15, &db), LW_EINVAL);
}

static void test_names(void **state)
{
	(void)state;
	assert_ptr_equal(lw_region_by_name("eu868"), lw_region_by_id(LW_REGION_EU868));
	assert_ptr_equal(lw_region_by_name("US915"), lw_region_by_id(LW_REGION_US915));
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
		cmocka_unit_test(test_eu868_table), cmocka_unit_test(test_us915_table),
		cmocka_unit_test(test_names),       cmocka_unit_test(test_limits),
		cmocka_unit_test(test_plan_eu868),  cmocka_unit_test(test_plan_us915),
		cmocka_unit_test(test_hop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
