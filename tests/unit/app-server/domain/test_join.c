/* Join server's rules: requests of every wrong kind, keys against an independent calculation on the device's side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "app-server/domain/join.h"
#include "common/base/hex.h"
#include "common/lorawan/cipher.h"
#include "common/lorawan/mic.h"
#include "common/lorawan/phy.h"

/* contracts/backend-interfaces.md §8 (the MIC 11223344 is invented there). */
#define BASE                                                                                                           \
	"\"ProtocolVersion\":\"1.0\",\"SenderID\":\"000042\",\"ReceiverID\":\"70b3d57ed0000001\",\"TransactionID\":"   \
	"1234"
#define EXAMPLE(phy, settings)                                                                                         \
	"{" BASE ",\"MessageType\":\"JoinReq\",\"MACVersion\":\"1.0.3\",\"PHYPayload\":\"" phy                         \
	"\",\"DevEUI\":\"70b3d57ed0001a2b\",\"DevAddr\":\"0101f3a4\",\"DLSettings\":\"" settings                       \
	"\",\"RxDelay\":1,\"CFList\":\"184f84e85684b85e84886684586e8400\"}"
#define PHY "00010000d07ed5b3702b1a00d07ed5b370010211223344"

static struct lw_keycache *kc;

static struct lw_key key(const char *text)
{
	struct lw_key k;
	assert_int_equal(lw_key_parse(&k, text), 0);
	return k;
}

static struct as_join_req parsed(const char *json)
{
	struct as_join_req r;
	struct lw_diag diag = {0};
	if (as_join_parse(lw_span_str(json), &r, &diag) < 0)
		fail_msg("%s", diag.text);
	return r;
}

/* The example's request with the right MIC. */
static struct as_join_req request(const struct lw_key *root, const char *settings)
{
	char json[600];
	struct lw_diag diag = {0};
	snprintf(json, sizeof(json), EXAMPLE(PHY, "%s"), settings);
	struct as_join_req r = parsed(json);
	assert_int_equal(as_join_check(&r, &diag), AS_JOIN_SUCCESS);
	struct lw_mic mic = lw_mic_plain(kc, root, lw_span(r.phy, AS_JOIN_PHY - 4));
	memcpy(r.phy + AS_JOIN_PHY - 4, mic.b, 4);
	return r;
}

static void test_example(void **state)
{
	struct lw_diag diag = {0};
	(void)state;
	struct as_join_req r = parsed(EXAMPLE(PHY, "00"));
	assert_int_equal(as_join_check(&r, &diag), AS_JOIN_SUCCESS);
	assert_int_equal(r.transaction_id, 1234);
	assert_int_equal(r.netid.v, 0x42);
	assert_int_equal(r.mac_version, LW_MAC_1_0_3);
	assert_int_equal(lw_dev_eui_u64(r.dev_eui), 0x70b3d57ed0001a2b);
	assert_int_equal(lw_join_eui_u64(r.join_eui), 0x70b3d57ed0000001);
	assert_int_equal(r.dev_nonce, 0x0201);
	assert_int_equal(r.accept.devaddr.v, 0x0101f3a4);
	assert_int_equal(r.accept.rx_delay, 1);
	assert_true(r.accept.has_cflist);
}

static void test_not_answerable(void **state)
{
	static const char *const bad[] = {
		"",
		"x",
		"[]",
		"{}",
		"{" BASE "}",
		"{" BASE ",\"MessageType\":\"JoinReq\"",
		"{" BASE ",\"MessageType\":1}",
		"{\"SenderID\":\"000042\",\"ReceiverID\":\"1\",\"MessageType\":\"JoinReq\"}",
		"{" BASE ",\"MessageType\":\"JoinReq\",\"TransactionID\":4294967296}",
		"{" BASE ",\"MessageType\":\"JoinReq\",\"SenderID\":\"000043\"}",
		"{" BASE ",\"MessageType\":\"JoinReq\"}}",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct as_join_req r;
		struct lw_diag diag = {0};
		if (as_join_parse(lw_span_str(bad[i]), &r, &diag) != LW_EINVAL)
			fail_msg("accepted: %s", bad[i]);
		assert_true(diag.text[0] != 0);
	}
}

static void test_malformed(void **state)
{
	static const struct {
		const char *was, *is;
		enum as_join_result result;
	} table[] = {
		{"000042\"", "0042\"", AS_JOIN_MALFORMED},
		{"\"JoinReq\"", "\"RejoinReq\"", AS_JOIN_MALFORMED}, /* a join-request */
		{"\"JoinReq\"", "\"PRStartReq\"", AS_JOIN_OTHER},
		{"\"1.0.3\"", "\"1.7\"", AS_JOIN_MALFORMED},
		{PHY, "00", AS_JOIN_MALFORMED},
		{PHY, "40010000d07ed5b3702b1a00d07ed5b370010211223344", AS_JOIN_MALFORMED},
		{"\"DevEUI\":\"70b3d57ed0001a2b\"", "\"DevEUI\":\"70b3d57ed0001a2c\"", AS_JOIN_MALFORMED},
		{"\"DevEUI\":\"70b3d57ed0001a2b\",", "", AS_JOIN_MALFORMED},
		{"0101f3a4", "0101f3", AS_JOIN_MALFORMED},
		{"\"DLSettings\":\"00\"", "\"DLSettings\":\"0\"", AS_JOIN_MALFORMED},
		{"\"RxDelay\":1,", "", AS_JOIN_MALFORMED},
		{"184f84e85684b85e84886684586e8400", "184f84", AS_JOIN_MALFORMED},
		{"\"ReceiverID\":\"70b3d57ed0000001\"", "\"ReceiverID\":\"70b3d57ed0000002\"",
		 AS_JOIN_UNKNOWN_RECEIVER},
		/* Allowed: 0x, upper case, null for a member that is optional. */
		{"000042\"", "0x000042\"", AS_JOIN_SUCCESS},
		{"0101f3a4", "0x0101F3A4", AS_JOIN_SUCCESS},
		{"\"184f84e85684b85e84886684586e8400\"", "null", AS_JOIN_SUCCESS},
	};
	const char *example = EXAMPLE(PHY, "00");
	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char json[600];
		struct lw_diag diag = {0};
		const char *at = strstr(example, table[i].was);
		assert_non_null(at);
		snprintf(json, sizeof(json), "%.*s%s%s", (int)(at - example), example, table[i].is,
			 at + strlen(table[i].was));
		struct as_join_req r = parsed(json);
		enum as_join_result result = as_join_check(&r, &diag);
		if (result != table[i].result)
			fail_msg("%s: %s (%s)", table[i].is, as_join_result_text(result), diag.text);
	}
}

static void test_verify(void **state)
{
	struct as_join_device d = {.nwk_key = key("00112233445566778899aabbccddeeff"), .join_nonce = 1};
	struct as_join_req r = request(&d.nwk_key, "00");
	struct lw_diag diag = {0};
	(void)state;
	assert_int_equal(as_join_verify(kc, &r, &d, &diag), AS_JOIN_SUCCESS);
	d.nonce_used = true;
	assert_int_equal(as_join_verify(kc, &r, &d, &diag), AS_JOIN_REQ_FAILED);
	assert_string_equal(diag.text, "DevNonce has been used before");
	r.phy[22] ^= 1;
	assert_int_equal(as_join_verify(kc, &r, &d, &diag), AS_JOIN_MIC_FAILED);
	r.phy[22] ^= 1;
	d.nonce_used = false;
	/* Up to 1.0.3 random, then a counter. */
	d.last_nonce = r.dev_nonce + 1;
	assert_int_equal(as_join_verify(kc, &r, &d, &diag), AS_JOIN_SUCCESS);
	r.mac_version = LW_MAC_1_0_4;
	assert_int_equal(as_join_verify(kc, &r, &d, &diag), AS_JOIN_REQ_FAILED);
	assert_non_null(strstr(diag.text, "it must rise"));
	r.mac_version = LW_MAC_1_1_0;
	assert_int_equal(as_join_verify(kc, &r, &d, &diag), AS_JOIN_REQ_FAILED);
	d.last_nonce = r.dev_nonce - 1;
	assert_int_equal(as_join_verify(kc, &r, &d, &diag), AS_JOIN_SUCCESS);
	d.last_nonce = -1;
	assert_int_equal(as_join_verify(kc, &r, &d, &diag), AS_JOIN_SUCCESS);
	d.join_nonce = AS_JOIN_MAX_NONCE + 1;
	assert_int_equal(as_join_verify(kc, &r, &d, &diag), AS_JOIN_REQ_FAILED);
}

/* What a device makes of the accept: decrypts, checks the MIC, derives the same keys. */
static void test_accept_10(void **state)
{
	struct as_join_device d = {.nwk_key = key("00112233445566778899aabbccddeeff"),
				   .app_key = key("ffeeddccbbaa99887766554433221100"),
				   .join_nonce = 0x0a0b0c};
	struct as_join_req r = request(&d.nwk_key, "21");
	struct as_join_session s = {0};
	struct lw_session_keys want;
	struct lw_join_accept got;
	uint8_t plain[32];
	(void)state;
	as_join_accept(kc, &r, &d, &s);
	assert_false(s.is_11);
	assert_int_equal(s.accept_len, 33);
	assert_int_equal(s.accept[0], 0x20);
	assert_int_equal(lw_cipher_join_accept_decrypt(kc, &d.nwk_key, s.accept + 1, 32, plain), 0);
	uint8_t msg[29] = {0x20};
	memcpy(msg + 1, plain, 28);
	struct lw_mic mic = lw_mic_plain(kc, &d.nwk_key, lw_span(msg, sizeof(msg)));
	assert_memory_equal(mic.b, plain + 28, 4);
	assert_int_equal(lw_join_accept_parse(lw_span(plain, 28), &got), 0);
	assert_int_equal(got.join_nonce, 0x0a0b0c);
	assert_int_equal(got.netid.v, 0x42);
	assert_int_equal(got.devaddr.v, 0x0101f3a4);
	assert_int_equal(got.dl_settings.rx1_dr_offset, 2);
	assert_int_equal(got.dl_settings.rx2_dr, 1);
	/* Both kinds of session key by hand: AES(AppKey, type | JoinNonce | NetID | DevNonce | 0). */
	uint8_t block[16] = {0x02, 0x0c, 0x0b, 0x0a, 0x42, 0, 0, 0x01, 0x02};
	lw_aes_encrypt(lw_keycache_get(kc, &d.nwk_key), block, want.app_s.b, 1);
	assert_true(lw_key_eq(s.keys.app_s, want.app_s));
	block[0] = 0x01;
	lw_aes_encrypt(lw_keycache_get(kc, &d.nwk_key), block, want.f_nwk_s_int.b, 1);
	assert_true(lw_key_eq(s.keys.f_nwk_s_int, want.f_nwk_s_int));
}

static void test_accept_11(void **state)
{
	struct as_join_device d = {.nwk_key = key("00112233445566778899aabbccddeeff"),
				   .app_key = key("ffeeddccbbaa99887766554433221100"),
				   .join_nonce = 7};
	struct as_join_req r = request(&d.nwk_key, "80");
	struct as_join_session s = {0};
	struct lw_key js_int, js_enc, want;
	uint8_t plain[32], msg[29] = {0x20};
	(void)state;
	as_join_accept(kc, &r, &d, &s);
	assert_true(s.is_11);
	assert_int_equal(lw_cipher_join_accept_decrypt(kc, &d.nwk_key, s.accept + 1, 32, plain), 0);
	memcpy(msg + 1, plain, 28);
	lw_keys_js(kc, &d.nwk_key, r.dev_eui, &js_int, &js_enc);
	struct lw_mic mic = lw_mic_join_accept_11(kc, &js_int, LW_JOIN_REQ_JOIN, r.join_eui, r.dev_nonce,
						  lw_span(msg, sizeof(msg)));
	assert_memory_equal(mic.b, plain + 28, 4);
	/* AppSKey from AppKey: 02 | JoinNonce LE3 | JoinEUI LE8 | DevNonce LE2. */
	uint8_t block[16] = {0x02, 7, 0, 0, 0x01, 0x00, 0x00, 0xd0, 0x7e, 0xd5, 0xb3, 0x70, 0x01, 0x02};
	lw_aes_encrypt(lw_keycache_get(kc, &d.app_key), block, want.b, 1);
	assert_true(lw_key_eq(s.keys.app_s, want));
	block[0] = 0x03;
	lw_aes_encrypt(lw_keycache_get(kc, &d.nwk_key), block, want.b, 1);
	assert_true(lw_key_eq(s.keys.s_nwk_s_int, want));
}

/* ---- rejoin ---- */

/* A rejoin-request of DevEUI 70b3d57ed0001a2b with RJcount 0x0201, signed with `sign`. */
static struct as_join_req rejoin(unsigned type, const struct lw_key *sign, const char *settings)
{
	static const char *const HEAD[] = {"c000420000",
					   "c0010100"
					   "00d07ed5b370",
					   "c002420000"};
	char json[600];
	struct lw_diag diag = {0};
	snprintf(json, sizeof(json),
		 "{" BASE ",\"MessageType\":\"RejoinReq\",\"MACVersion\":\"1.1.0\",\"PHYPayload\":\"%s%s\","
		 "\"DevEUI\":\"70b3d57ed0001a2b\",\"DevAddr\":\"0101f3a4\",\"DLSettings\":\"%s\",\"RxDelay\":1,"
		 "\"CFList\":\"184f84e85684b85e84886684586e8400\"}",
		 HEAD[type], "2b1a00d07ed5b370010200000000", settings);
	struct as_join_req r = parsed(json);
	if (as_join_check(&r, &diag) != AS_JOIN_SUCCESS)
		fail_msg("%s", diag.text);
	struct lw_mic mic = lw_mic_plain(kc, sign, lw_span(r.phy, r.phy_len - 4));
	memcpy(r.phy + r.phy_len - 4, mic.b, 4);
	return r;
}

static void test_rejoin(void **state)
{
	struct as_join_device d = {.nwk_key = key("00112233445566778899aabbccddeeff"),
				   .app_key = key("ffeeddccbbaa99887766554433221100"),
				   .join_nonce = 7};
	struct lw_key js_int, js_enc, want, other = key("01010101010101010101010101010101");
	(void)state;
	lw_keys_js(kc, &d.nwk_key, lw_dev_eui_from_u64(0x70b3d57ed0001a2b), &js_int, &js_enc);
	for (unsigned type = 0; type < 3; type++) {
		struct lw_diag diag = {0};
		struct as_join_session s = {0};
		uint8_t plain[32], msg[29] = {0x20};
		/* Types 0 and 2 are signed with a key that the join server need not have. */
		struct as_join_req r = rejoin(type, type == 1 ? &js_int : &other, "80");
		assert_int_equal(r.type, type);
		assert_int_equal(r.dev_nonce, 0x0201);
		assert_int_equal(lw_join_eui_u64(r.join_eui), 0x70b3d57ed0000001);
		assert_int_equal(lw_dev_eui_u64(r.dev_eui), 0x70b3d57ed0001a2b);
		assert_int_equal(as_join_verify(kc, &r, &d, &diag), AS_JOIN_SUCCESS);
		as_join_accept(kc, &r, &d, &s);
		assert_true(s.is_11);
		assert_int_equal(lw_cipher_join_accept_decrypt(kc, &js_enc, s.accept + 1, 32, plain), 0);
		memcpy(msg + 1, plain, 28);
		struct lw_mic mic = lw_mic_join_accept_11(kc, &js_int, (enum lw_join_req_type)type, r.join_eui, 0x0201,
							  lw_span(msg, sizeof(msg)));
		assert_memory_equal(mic.b, plain + 28, 4);
		/* RJcount takes the place of DevNonce. */
		uint8_t block[16] = {0x02, 7, 0, 0, 0x01, 0x00, 0x00, 0xd0, 0x7e, 0xd5, 0xb3, 0x70, 0x01, 0x02};
		lw_aes_encrypt(lw_keycache_get(kc, &d.app_key), block, want.b, 1);
		assert_true(lw_key_eq(s.keys.app_s, want));
	}
}

static void test_rejoin_refused(void **state)
{
	struct as_join_device d = {.nwk_key = key("00112233445566778899aabbccddeeff"), .join_nonce = 7};
	struct lw_key js_int, js_enc;
	struct lw_diag diag = {0};
	(void)state;
	lw_keys_js(kc, &d.nwk_key, lw_dev_eui_from_u64(0x70b3d57ed0001a2b), &js_int, &js_enc);
	struct as_join_req r = rejoin(1, &d.nwk_key, "80");
	assert_int_equal(as_join_verify(kc, &r, &d, &diag), AS_JOIN_MIC_FAILED);
	r = rejoin(1, &js_int, "80");
	d.rj_count1 = 0x0201;
	assert_int_equal(as_join_verify(kc, &r, &d, &diag), AS_JOIN_SUCCESS);
	d.rj_count1 = 0x0202;
	assert_int_equal(as_join_verify(kc, &r, &d, &diag), AS_JOIN_REQ_FAILED);
	assert_string_equal(diag.text, "RJcount1 513 has been used before: 514 is the next");
	r = rejoin(0, &js_int, "80");
	assert_int_equal(as_join_verify(kc, &r, &d, &diag), AS_JOIN_SUCCESS);
	d.join_nonce = AS_JOIN_MAX_NONCE + 1;
	assert_int_equal(as_join_verify(kc, &r, &d, &diag), AS_JOIN_REQ_FAILED);
	/* Without OptNeg there is no rejoin. */
	snprintf(r.dl_settings_text, sizeof(r.dl_settings_text), "00");
	r.phy_len = 0;
	assert_int_equal(as_join_check(&r, &diag), AS_JOIN_MALFORMED);
}

static void expect_answer(const struct as_join_req *r, enum as_join_result result, const char *words,
			  const struct as_join_session *s, const char *json)
{
	struct lw_buf out;
	lw_buf_init(&out, 4096);
	as_join_answer(r, result, words, s, &out);
	assert_string_equal(lw_buf_str(&out), json);
	lw_buf_deinit(&out);
}

static void test_answer(void **state)
{
	struct lw_key app = key("0123456789abcdef0123456789abcdef");
	struct as_join_session s = {.accept = {0x20, 0xab}, .accept_len = 2};
	struct as_join_req r = parsed(EXAMPLE(PHY, "00"));
	(void)state;
	s.keys.app_s = app;
	memset(s.keys.f_nwk_s_int.b, 0x11, 16);
	memset(s.keys.s_nwk_s_int.b, 0x22, 16);
	memset(s.keys.nwk_s_enc.b, 0x33, 16);
	memset(s.id, 0x44, 16);
#define ANSWER                                                                                                         \
	"{\"ProtocolVersion\":\"1.0\",\"SenderID\":\"70b3d57ed0000001\",\"ReceiverID\":\"000042\",\"TransactionID\":"  \
	"1234,"                                                                                                        \
	"\"MessageType\":\"JoinAns\",\"Result\":{\"ResultCode\":"
#define ENV(b) "{\"KEKLabel\":\"\",\"AESKey\":\"" b b b b b b b b b b b b b b b b "\"}"
#define ID "\"SessionKeyID\":\"44444444444444444444444444444444\"}"
	expect_answer(&r, AS_JOIN_SUCCESS, NULL, &s,
		      ANSWER "\"Success\"},\"PHYPayload\":\"20ab\",\"Lifetime\":0,\"NwkSKey\":" ENV("11") "," ID);
	s.is_11 = true;
	expect_answer(&r, AS_JOIN_SUCCESS, NULL, &s,
		      ANSWER "\"Success\"},\"PHYPayload\":\"20ab\",\"Lifetime\":0,\"SNwkSIntKey\":" ENV(
			      "22") ",\"FNwkSIntKey\":" ENV("11") ",\"NwkSEncKey\":" ENV("33") "," ID);
	expect_answer(&r, AS_JOIN_REQ_FAILED, "DevNonce has been used before", NULL,
		      ANSWER "\"JoinReqFailed\",\"Description\":\"DevNonce has been used before\"}}");
	/* A token comes back as the receiver's; the type follows the request's. */
	r = parsed("{" BASE ",\"MessageType\":\"HomeNSReq\",\"SenderToken\":\"a1\"}");
	expect_answer(&r, AS_JOIN_OTHER, "", NULL,
		      "{\"ProtocolVersion\":\"1.0\",\"SenderID\":\"70b3d57ed0000001\",\"ReceiverID\":\"000042\","
		      "\"TransactionID\":1234,\"MessageType\":\"HomeNSAns\",\"ReceiverToken\":\"a1\",\"Result\":{"
		      "\"ResultCode\":\"Other\"}}");
}

static int setup(void **state)
{
	(void)state;
	kc = lw_keycache_new(64);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lw_keycache_free(kc);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_example), cmocka_unit_test(test_not_answerable), cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_verify),  cmocka_unit_test(test_accept_10),      cmocka_unit_test(test_accept_11),
		cmocka_unit_test(test_rejoin),  cmocka_unit_test(test_rejoin_refused), cmocka_unit_test(test_answer),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
