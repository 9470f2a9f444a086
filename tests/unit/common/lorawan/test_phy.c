/* Unit tests of phy.h, join.h, cflist.h: limits, malformed frames, counters. Good frames: test_vectors.c. */
#include "tests/unit/common/lorawan/vectors.h"

#include "common/base/err.h"
#include "common/lorawan/cflist.h"
#include "common/lorawan/cipher.h"
#include "common/lorawan/phy.h"

static int parse_hex(const char *hex, struct lw_phy *phy)
{
	/* A copy of exactly the right size, so that the sanitizer sees a read beyond it. */
	uint8_t b[512];
	size_t n = vec_bytes(hex, b, sizeof b);
	uint8_t *exact = malloc(n ? n : 1);
	assert_non_null(exact);
	memcpy(exact, b, n);
	int rc = lw_phy_parse(lw_span(exact, n), phy);
	free(exact);
	return rc;
}

static void test_malformed(void **state)
{
	(void)state;
	struct lw_phy phy;
	assert_int_equal(parse_hex("", &phy), LW_ETRUNC);
	assert_int_equal(parse_hex("40", &phy), LW_ETRUNC);
	assert_int_equal(parse_hex("4001020304000000aabbcc", &phy), LW_ETRUNC);   /* 11 bytes */
	assert_int_equal(parse_hex("4001020304000000aabbccdd", &phy), 0);         /* the shortest */
	assert_int_equal(parse_hex("4001020304010000aabbccdd", &phy), LW_ETRUNC); /* one byte of FOpts is missing */
	assert_int_equal(parse_hex("4001020304010000000000aabbccdd", &phy), LW_EPROTO); /* FOpts and port 0 */
	assert_int_equal(parse_hex("4101020304000000aabbccdd", &phy), LW_EUNSUPPORTED); /* major 1 */
	assert_int_equal(phy.mtype, LW_MTYPE_UNCONFIRMED_UP);
	assert_int_equal(parse_hex("00c83a8fcda220c002018ef2d9366f6f020700391549", &phy), LW_ETRUNC);
	assert_int_equal(parse_hex("00c83a8fcda220c002018ef2d9366f6f020700391549aabb", &phy), LW_EBIG);
	assert_int_equal(parse_hex("c003000000112233445566778899aabbccddee", &phy), LW_EPROTO);
	assert_int_equal(parse_hex("c000000000112233445566778899aabbccdd", &phy), LW_ETRUNC);
	assert_int_equal(parse_hex("c001000000112233445566778899aabbccddee", &phy), LW_ETRUNC);
	assert_int_equal(parse_hex("c0", &phy), LW_ETRUNC);
	assert_int_equal(parse_hex("2000112233445566778899aabbccddeeff", &phy), 0);
	assert_int_equal(parse_hex("2000112233445566778899aabbccddeeff00", &phy), LW_ETRUNC);
	assert_int_equal(parse_hex("2000112233445566778899aabbccddee", &phy), LW_ETRUNC);
	assert_int_equal(parse_hex("e0", &phy), 0);
	assert_int_equal(phy.u.proprietary.n, 0);
	assert_int_equal(parse_hex("e3abcd", &phy), 0);
	assert_int_equal(phy.major, 3);
	assert_int_equal(phy.u.proprietary.n, 2);
	uint8_t big[256] = {0x40};
	assert_int_equal(lw_phy_parse(lw_span(big, sizeof big), &phy), LW_EBIG);
	assert_int_equal(lw_phy_parse(lw_span(big, 255), &phy), 0);
	assert_int_equal(phy.u.data.frm.n, 255 - 13);
}

static void test_fctrl(void **state)
{
	(void)state;
	struct lw_phy phy;
	assert_int_equal(parse_hex("4001020304f00000aabbccdd", &phy), 0);
	assert_true(phy.u.data.fctrl.adr && phy.u.data.fctrl.adr_ack_req && phy.u.data.fctrl.ack &&
		    phy.u.data.fctrl.class_b);
	assert_false(phy.u.data.fctrl.fpending);
	assert_int_equal(phy.u.data.devaddr.v, 0x04030201);
	assert_int_equal(phy.u.data.fport, LW_FPORT_NONE);
	assert_int_equal(parse_hex("6001020304f00000aabbccdd", &phy), 0);
	assert_true(phy.u.data.fctrl.adr && phy.u.data.fctrl.ack && phy.u.data.fctrl.fpending);
	assert_false(phy.u.data.fctrl.class_b || phy.u.data.fctrl.adr_ack_req);
	assert_int_equal(parse_hex("400102030400cdab05aabbccdd", &phy), 0);
	assert_int_equal(phy.u.data.fcnt, 0xabcd);
	assert_int_equal(phy.u.data.fport, 5);
	assert_int_equal(phy.u.data.frm.n, 0);
}

static void test_encode_limits(void **state)
{
	(void)state;
	uint8_t out[300];
	uint8_t zeros[300] = {0};
	struct lw_phy p = {.mtype = LW_MTYPE_UNCONFIRMED_DOWN};
	p.u.data.fport = LW_FPORT_NONE;
	assert_int_equal(lw_phy_encode(&p, out, sizeof out), 12);
	p.u.data.frm = lw_span(zeros, 1);
	assert_int_equal(lw_phy_encode(&p, out, sizeof out), LW_EINVAL);
	p.u.data.fport = 1;
	assert_int_equal(lw_phy_encode(&p, out, sizeof out), 14);
	p.u.data.frm = lw_span(zeros, 242);
	assert_int_equal(lw_phy_encode(&p, out, sizeof out), 255);
	p.u.data.frm = lw_span(zeros, 243);
	assert_int_equal(lw_phy_encode(&p, out, sizeof out), LW_EBIG);
	p.u.data.frm = lw_span(zeros, 1);
	p.u.data.fport = 256;
	assert_int_equal(lw_phy_encode(&p, out, sizeof out), LW_EINVAL);
	p.u.data.fport = 0;
	p.u.data.fopts = lw_span(zeros, 1);
	assert_int_equal(lw_phy_encode(&p, out, sizeof out), LW_EINVAL);
	p.u.data.fport = 1;
	p.u.data.fopts = lw_span(zeros, 16);
	assert_int_equal(lw_phy_encode(&p, out, sizeof out), LW_EINVAL);
	struct lw_mic mic = {{9, 8, 7, 6}};
	lw_phy_set_mic(out, 14, mic);
	assert_memory_equal(out + 10, mic.b, 4);
}

static void test_counters(void **state)
{
	(void)state;
	assert_int_equal(lw_fcnt_full(0, 0), 0);
	assert_int_equal(lw_fcnt_full(0, 5), 5);
	assert_int_equal(lw_fcnt_full(11, 10), 0x1000a);
	assert_int_equal(lw_fcnt_full(0x1fffe, 0xffff), 0x1ffff);
	assert_int_equal(lw_fcnt_full(0x20000, 0xffff), 0x2ffff);
	assert_int_equal(lw_fcnt_full(0x1ffff, 0), 0x20000);
	assert_int_equal(lw_fcnt_full(0xffffffff, 3), 3);
	assert_int_equal(lw_fcnt_nearest(0x10000, 0xffff), 0xffff);
	assert_int_equal(lw_fcnt_nearest(0x1ffff, 0), 0x20000);
	assert_int_equal(lw_fcnt_nearest(100, 90), 90);
	assert_int_equal(lw_fcnt_nearest(100, 110), 110);
	assert_int_equal(lw_fcnt_nearest(0, 0xffff), 0xffff);
	assert_int_equal(lw_fcnt_nearest(0xffffffff, 0), 0xffff0000U);
}

static void test_cflist(void **state)
{
	(void)state;
	/* The list of the reference's default EU868 configuration, as recorded. */
	uint8_t bytes[16];
	uint8_t again[16];
	struct lw_cflist l;
	vec_bytes("184f84e85684b85e84886684586e8400", bytes, sizeof bytes);
	assert_int_equal(lw_cflist_parse(bytes, &l), 0);
	assert_int_equal(l.type, LW_CFLIST_FREQUENCIES);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(l.freq_hz[i], 867100000 + 200000 * i);
	assert_int_equal(lw_cflist_encode(&l, again), 0);
	assert_memory_equal(again, bytes, 16);
	l.freq_hz[2] = 867100001;
	assert_int_equal(lw_cflist_encode(&l, again), LW_EINVAL);
	vec_bytes("ff000000000000000100000000000001", bytes, sizeof bytes);
	assert_int_equal(lw_cflist_parse(bytes, &l), 0);
	assert_int_equal(l.type, LW_CFLIST_MASKS);
	assert_int_equal(l.mask[0], 0x00ff);
	assert_int_equal(l.mask[4], 0x0001);
	assert_int_equal(lw_cflist_encode(&l, again), 0);
	assert_memory_equal(again, bytes, 16);
	bytes[15] = 2;
	assert_int_equal(lw_cflist_parse(bytes, &l), LW_EINVAL);
}

static void test_freq24(void **state)
{
	(void)state;
	uint8_t b[3];
	static const uint32_t good[] = {0,          100,         868100000,   923300000,
					1677721500, 2400000000U, 2479000000U, 3355443000U};
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		if (good[i] == 1677721500) { /* its raw value lies in the range of the larger step */
			assert_int_equal(lw_freq24_encode(good[i], b), LW_EINVAL);
			continue;
		}
		assert_int_equal(lw_freq24_encode(good[i], b), 0);
		assert_int_equal(lw_freq24_parse(b), good[i]);
	}
	assert_int_equal(lw_freq24_encode(868100050, b), LW_EINVAL);
	assert_int_equal(lw_freq24_encode(2400000100U, b), LW_EINVAL);
	assert_int_equal(lw_freq24_encode(4000000000U, b), LW_EINVAL);
}

static void test_join_accept_limits(void **state)
{
	(void)state;
	uint8_t b[64] = {0};
	struct lw_join_accept ja;
	for (size_t n = 0; n < 40; n++)
		assert_int_equal(lw_join_accept_parse(lw_span(b, n), &ja),
				 n == 12 || n == 28 ? 0 : (n > 28 ? LW_EBIG : LW_ETRUNC));
	ja = (struct lw_join_accept){.join_nonce = 0x1000000};
	assert_int_equal(lw_join_accept_encode(&ja, b, sizeof b), LW_EINVAL);
	ja = (struct lw_join_accept){.rx_delay = 16};
	assert_int_equal(lw_join_accept_encode(&ja, b, sizeof b), LW_EINVAL);
	ja = (struct lw_join_accept){.has_cflist = true};
	assert_int_equal(lw_join_accept_encode(&ja, b, 27), LW_EBIG);
	struct lw_keycache *kc = lw_keycache_new(1);
	struct lw_key key = {{0}};
	assert_int_equal(lw_cipher_join_accept_encrypt(kc, &key, b, 17, b), LW_EINVAL);
	assert_int_equal(lw_cipher_join_accept_decrypt(kc, &key, b, 0, b), LW_EINVAL);
	lw_keycache_free(kc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_fctrl),
		cmocka_unit_test(test_encode_limits),
		cmocka_unit_test(test_counters),
		cmocka_unit_test(test_cflist),
		cmocka_unit_test(test_freq24),
		cmocka_unit_test(test_join_accept_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
