/* Unit tests of airtime.h, netid.h, types.h. */
#include "tests/unit/common/lorawan/vectors.h"

#include "common/base/err.h"
#include "common/lorawan/airtime.h"
#include "common/lorawan/netid.h"
#include "common/lorawan/types.h"

/* SX1276 data sheet §4.1.1.7, computed with a separate script; the first five also stand in Semtech's calculator. */
static void test_airtime_lora(void **state)
{
	(void)state;
	static const struct {
		uint8_t sf;
		uint32_t bw_hz;
		enum lw_code_rate cr;
		bool crc;
		size_t n;
		uint32_t us;
	} cases[] = {
		{7, 125000, LW_CR_4_5, true, 13, 46336},    {12, 125000, LW_CR_4_5, true, 13, 1155072},
		{12, 125000, LW_CR_4_5, true, 64, 2793472}, {7, 125000, LW_CR_4_5, true, 255, 399616},
		{10, 125000, LW_CR_4_5, true, 24, 370688},  {11, 125000, LW_CR_4_5, true, 13, 577536},
		{9, 125000, LW_CR_4_5, false, 17, 164864},  {12, 500000, LW_CR_4_5, false, 33, 411648},
		{7, 250000, LW_CR_4_5, true, 20, 28288},    {7, 125000, LW_CR_4_8, true, 13, 61696},
		{8, 500000, LW_CR_4_5, true, 30, 30848},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct lw_airtime_lora p = {
			.bw_hz = cases[i].bw_hz, .sf = cases[i].sf, .cr = cases[i].cr, .crc = cases[i].crc};
		uint32_t got = lw_airtime_lora_us(&p, cases[i].n);
		if (got != cases[i].us)
			fail_msg("case %zu: %u us, not %u", i, got, cases[i].us);
	}
	struct lw_airtime_lora p = {.bw_hz = 125000, .sf = 4, .cr = LW_CR_4_5};
	assert_int_equal(lw_airtime_lora_us(&p, 10), 0);
	p = (struct lw_airtime_lora){.bw_hz = 0, .sf = 7, .cr = LW_CR_4_5};
	assert_int_equal(lw_airtime_lora_us(&p, 10), 0);
	p = (struct lw_airtime_lora){.bw_hz = 125000, .sf = 7, .cr = LW_CR_NONE};
	assert_int_equal(lw_airtime_lora_us(&p, 10), 0);
}

static void test_airtime_others(void **state)
{
	(void)state;
	/* 8 bits * (5 preamble + 3 sync + 1 length + 13 + 2 CRC) at 50 kbit/s */
	assert_int_equal(lw_airtime_fsk_us(50000, 13), 3840);
	assert_int_equal(lw_airtime_fsk_us(0, 13), 0);
	/* Three headers of 233.472 ms, six hops of 102.4 ms, a rest of 20 bits. */
	assert_int_equal(lw_airtime_lrfhss_us(LW_CR_2_6, 0, 10), 1355776);
	/* Two headers, 153 coded bits: three hops and 11 bits. */
	assert_int_equal(lw_airtime_lrfhss_us(LW_CR_4_6, 0, 10), 466944 + 3 * 102400 + 11 * 2048);
	assert_int_equal(lw_airtime_lrfhss_us(LW_CR_4_5, 0, 10), 0);
	struct lw_modulation m = {.kind = LW_MOD_LORA, .sf = 9, .bw_hz = 125000, .cr = LW_CR_4_5};
	assert_int_equal(lw_airtime_us(&m, LW_DOWN, 17), 164864);
	assert_true(lw_airtime_us(&m, LW_UP, 18) > lw_airtime_us(&m, LW_DOWN, 18));
	m = (struct lw_modulation){.kind = LW_MOD_FSK, .bitrate_bps = 50000};
	assert_int_equal(lw_airtime_us(&m, LW_UP, 13), 3840);
	m = (struct lw_modulation){0};
	assert_int_equal(lw_airtime_us(&m, LW_UP, 13), 0);
}

static void test_snr(void **state)
{
	(void)state;
	assert_int_equal(lw_required_snr_ddb(7), -75);
	assert_int_equal(lw_required_snr_ddb(12), -200);
	assert_int_equal(lw_required_snr_ddb(5), -25);
	assert_int_equal(lw_sensitivity_dbm(125000, 7), -125);
	assert_int_equal(lw_sensitivity_dbm(125000, 12), -137);
	assert_int_equal(lw_sensitivity_dbm(500000, 12), -131);
}

/* Backend Interfaces §13: leading bits and sizes of each type; NwkID of the NetID's lower bits. */
static void test_netid(void **state)
{
	(void)state;
	static const struct {
		const char *netid;
		unsigned type;
		const char *prefix;
	} cases[] = {
		{"000000", 0, "00000000/7"},  {"000013", 0, "26000000/7"},  {"00003f", 0, "7e000000/7"},
		{"20003f", 1, "bf000000/8"},  {"4001ff", 2, "dff00000/12"}, {"600013", 3, "e0260000/15"},
		{"6007ff", 3, "effe0000/15"}, {"800fff", 4, "f7ff8000/17"}, {"a01fff", 5, "fbffe000/19"},
		{"c07fff", 6, "fdfffc00/22"}, {"e1ffff", 7, "feffff80/25"}, {"c1ffff", 6, "fdfffc00/22"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct lw_netid id;
		char t[16];
		assert_int_equal(lw_netid_parse(&id, cases[i].netid), 0);
		assert_int_equal(lw_netid_type(id), cases[i].type);
		struct lw_devaddr_prefix p = lw_netid_prefix(id);
		assert_string_equal(lw_devaddr_prefix_print(p, t), cases[i].prefix);
		struct lw_devaddr_prefix back;
		assert_int_equal(lw_devaddr_prefix_parse(cases[i].prefix, &back), 0);
		assert_int_equal(back.addr.v, p.addr.v);
		assert_int_equal(back.len, p.len);
		struct lw_devaddr lo = lw_devaddr_make(p, 0);
		struct lw_devaddr hi = lw_devaddr_make(p, UINT32_MAX);
		assert_true(lw_devaddr_in_netid(lo, id) && lw_devaddr_in_netid(hi, id));
		assert_false(lw_devaddr_in_netid((struct lw_devaddr){hi.v + 1}, id));
		assert_false(lw_devaddr_in_netid((struct lw_devaddr){lo.v - 1}, id));
		assert_int_equal(lw_devaddr_netid_type(lo), cases[i].type);
		assert_int_equal(lw_devaddr_netid_type(hi), cases[i].type);
		assert_int_equal(lw_devaddr_nwkid(hi), lw_devaddr_nwkid(lo));
	}
	assert_int_equal(lw_devaddr_netid_type((struct lw_devaddr){0xff000000}), -1);
	assert_int_equal(lw_devaddr_nwkid((struct lw_devaddr){0xff000000}), 0);
	assert_int_equal(lw_devaddr_nwkid((struct lw_devaddr){0x26011234}), 0x13);
	struct lw_devaddr_prefix p;
	assert_int_equal(lw_devaddr_prefix_parse("01020304/33", &p), LW_EINVAL);
	assert_int_equal(lw_devaddr_prefix_parse("01020304", &p), LW_EINVAL);
	assert_int_equal(lw_devaddr_prefix_parse("01020304/", &p), LW_EINVAL);
	assert_int_equal(lw_devaddr_prefix_parse("0102030/8", &p), LW_EINVAL);
	assert_int_equal(lw_devaddr_prefix_parse("01020304/8x", &p), LW_EINVAL);
	assert_int_equal(lw_devaddr_prefix_parse("ffffffff/0", &p), 0);
	assert_int_equal(p.addr.v, 0);
	assert_true(lw_devaddr_in_prefix((struct lw_devaddr){0x12345678}, p));
}

static void test_texts(void **state)
{
	(void)state;
	enum lw_mac_version mac;
	enum lw_reg_params rp;
	enum lw_code_rate cr;
	for (unsigned i = 0; i < LW_MAC_VERSIONS; i++) {
		assert_int_equal(lw_mac_version_parse(lw_mac_version_text((enum lw_mac_version)i), &mac), 0);
		assert_int_equal(mac, i);
	}
	assert_int_equal(lw_mac_version_parse("1.1", &mac), 0);
	assert_int_equal(mac, LW_MAC_1_1_0);
	assert_int_equal(lw_mac_version_parse("1.2", &mac), LW_EINVAL);
	for (unsigned i = 0; i < LW_REG_PARAMS; i++) {
		assert_int_equal(lw_reg_params_parse(lw_reg_params_text((enum lw_reg_params)i), &rp), 0);
		assert_int_equal(rp, i);
	}
	assert_int_equal(lw_reg_params_parse("C", &rp), LW_EINVAL);
	for (unsigned i = LW_CR_4_5; i <= LW_CR_LI_4_8; i++) {
		assert_int_equal(lw_code_rate_parse(lw_code_rate_text((enum lw_code_rate)i), &cr), 0);
		assert_int_equal(cr, i);
	}
	assert_int_equal(lw_code_rate_parse("2/3", &cr), 0);
	assert_int_equal(cr, LW_CR_4_6);
	assert_int_equal(lw_code_rate_parse("", &cr), LW_EINVAL);
	assert_int_equal(lw_code_rate_parse("4/9", &cr), LW_EINVAL);
	assert_string_equal(lw_mtype_text(LW_MTYPE_CONFIRMED_DOWN), "ConfirmedDataDown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_airtime_lora), cmocka_unit_test(test_airtime_others), cmocka_unit_test(test_snr),
		cmocka_unit_test(test_netid),        cmocka_unit_test(test_texts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
