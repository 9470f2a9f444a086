/* JoinReq and JoinAns (TS002-1.0, LoRaWAN Backend Interfaces): what is written, every kind of answer, and a real HTTP
 * server in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/rng.h"
#include "common/crypto/keywrap.h"
#include "common/io/http_server.h"
#include "common/runtime/loop.h"
#include "network-server/link/join_client.h"

#define KEY_A "00112233445566778899aabbccddeeff"
#define KEY_B "0102030405060708090a0b0c0d0e0f10"
#define ACCEPT "204dd85ae608b87fc4889970b7d2042c9e72959b0057aed6094b16003df12de145"

static struct lw_arena arena;
static const uint8_t PHY[23] = {0, 1, 2, 3};

static int setup(void **state)
{
	(void)state;
	lw_arena_init(&arena, NULL, 0, SIZE_MAX);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lw_arena_deinit(&arena);
	return 0;
}

static struct ns_join_ask sample(void)
{
	struct ns_join_ask a = {.devaddr = {0x01ABCDEF},
				.mac_version = LW_MAC_1_0_3,
				.phy = lw_span(PHY, sizeof(PHY)),
				.dl_settings = 0x12,
				.rx_delay_s = 3,
				.arena = &arena};
	assert_int_equal(lw_join_eui_parse(&a.join_eui, "0102030405060708"), 0);
	assert_int_equal(lw_dev_eui_parse(&a.dev_eui, "1112131415161718"), 0);
	assert_int_equal(lw_netid_parse(&a.netid, "000013"), 0);
	return a;
}

static const char *member(json_object *o, const char *name)
{
	json_object *v = NULL;
	assert_true(json_object_object_get_ex(o, name, &v));
	return json_object_get_string(v);
}

static void test_build(void **state)
{
	(void)state;
	struct ns_join_ask a = sample();
	struct lw_buf out;
	lw_buf_init(&out, 4096);
	a.has_cflist = true;
	memset(a.cflist, 0xC1, sizeof(a.cflist));
	assert_int_equal(ns_join_build(&a, 4000000000u, &out), 0);
	json_object *o = json_tokener_parse((char *)out.p);
	assert_non_null(o);
	assert_string_equal(member(o, "ProtocolVersion"), "1.0");
	assert_string_equal(member(o, "MessageType"), "JoinReq");
	assert_string_equal(member(o, "SenderID"), "000013");
	assert_string_equal(member(o, "ReceiverID"), "0102030405060708");
	assert_string_equal(member(o, "TransactionID"), "4000000000");
	assert_string_equal(member(o, "MACVersion"), "1.0.3");
	assert_string_equal(member(o, "PHYPayload"), "0001020300000000000000000000000000000000000000");
	assert_string_equal(member(o, "DevEUI"), "1112131415161718");
	assert_string_equal(member(o, "DevAddr"), "01abcdef");
	assert_string_equal(member(o, "DLSettings"), "12");
	assert_string_equal(member(o, "RxDelay"), "3");
	assert_string_equal(member(o, "CFList"), "c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1");
	json_object_put(o);
	a.has_cflist = false;
	lw_buf_reset(&out);
	assert_int_equal(ns_join_build(&a, 1, &out), 0);
	lw_buf_append(&out, "", 1);
	assert_null(strstr((char *)out.p, "CFList"));
	a.is_rejoin = true;
	a.rejoin_type = 1;
	lw_buf_reset(&out);
	assert_int_equal(ns_join_build(&a, 1, &out), 0);
	o = json_tokener_parse((char *)out.p);
	assert_string_equal(member(o, "MessageType"), "RejoinReq");
	json_object_put(o);
	uint8_t big[65] = {0};
	a.phy = lw_span(big, sizeof(big));
	assert_int_equal(ns_join_build(&a, 1, &out), LW_EBIG);
	lw_buf_deinit(&out);
}

static struct ns_join_ask read_with(const char *json, bool is_own, const struct ns_kek *kek)
{
	struct ns_join_ask a = sample();
	ns_join_read(&a, lw_span(json, strlen(json)), 7, kek, kek ? 1 : 0, is_own);
	return a;
}

static bool key_is(const struct lw_key *k, const char *hex)
{
	char text[33];
	lw_hex_encode(k->b, sizeof(k->b), text);
	return strcmp(text, hex) == 0;
}

#define HEAD "{\"TransactionID\":7,\"Result\":{\"ResultCode\":\"Success\"},\"PHYPayload\":\"" ACCEPT "\""

static void test_success(void **state)
{
	(void)state;
	struct ns_join_ask a = read_with(HEAD ",\"NwkSKey\":{\"AESKey\":\"" KEY_A "\"},\"AppSKey\":{\"KEKLabel\":\"k\","
					      "\"AESKey\":\"" KEY_B "\"},\"SessionKeyID\":\"0xA1B2\"}",
					 false, NULL);
	assert_int_equal(a.result, NS_JOIN_OK);
	assert_true(a.is_10);
	assert_int_equal(a.accept.n, 33);
	assert_true(key_is(&a.f_nwk_s_int_key, KEY_A) && key_is(&a.s_nwk_s_int_key, KEY_A) &&
		    key_is(&a.nwk_s_enc_key, KEY_A));
	assert_int_equal(a.session_key_id_len, 2);
	assert_int_equal(a.session_key_id[0], 0xA1);
	assert_true(a.is_foreign);
	assert_string_equal(a.app_s_key_kek, "k");
	assert_int_equal(a.app_s_key.n, 16);
	/* Our own application server keeps the AppSKey. */
	a = read_with(HEAD ",\"NwkSKey\":{\"AESKey\":\"" KEY_A "\"},\"AppSKey\":{\"AESKey\":\"" KEY_B "\"}}", true,
		      NULL);
	assert_int_equal(a.result, NS_JOIN_OK);
	assert_false(a.is_foreign);
	assert_int_equal(a.app_s_key.n, 0);
}

static void test_success_11_wrapped(void **state)
{
	(void)state;
	struct ns_kek kek = {.label = "ns"};
	uint8_t plain[16], wrapped[24];
	char hex[49], json[1024];
	memset(kek.key.b, 0x5A, sizeof(kek.key.b));
	lw_hex_decode(KEY_B, 32, plain, sizeof(plain));
	assert_int_equal(lw_keywrap(&kek.key, plain, sizeof(plain), wrapped), 24);
	lw_hex_encode(wrapped, sizeof(wrapped), hex);
	snprintf(json, sizeof(json),
		 HEAD ",\"FNwkSIntKey\":{\"KEKLabel\":\"ns\",\"AESKey\":\"%s\"},\"SNwkSIntKey\":{\"AESKey\":\"" KEY_A
		      "\"},\"NwkSEncKey\":{\"KEKLabel\":\"\",\"AESKey\":\"" KEY_A "\"}}",
		 hex);
	struct ns_join_ask a = read_with(json, false, &kek);
	assert_int_equal(a.result, NS_JOIN_OK);
	assert_false(a.is_10);
	assert_true(key_is(&a.f_nwk_s_int_key, KEY_B));
	assert_true(key_is(&a.s_nwk_s_int_key, KEY_A));
	/* Without the key, with another label's, and damaged. */
	assert_int_equal(read_with(json, false, NULL).result, NS_JOIN_REFUSED);
	kek.label = "other";
	assert_int_equal(read_with(json, false, &kek).result, NS_JOIN_REFUSED);
	kek.label = "ns";
	kek.key.b[0] ^= 1;
	assert_int_equal(read_with(json, false, &kek).result, NS_JOIN_REFUSED);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *json;
		enum ns_join_result want;
	} ROWS[] = {
		{"", NS_JOIN_REFUSED},
		{"nonsense", NS_JOIN_REFUSED},
		{"[]", NS_JOIN_REFUSED},
		{"{}", NS_JOIN_REFUSED},
		{"{\"TransactionID\":7,\"Result\":7}", NS_JOIN_REFUSED},
		{"{\"TransactionID\":7,\"Result\":{}}", NS_JOIN_REFUSED},
		{"{\"Result\":{\"ResultCode\":\"Success\"}}", NS_JOIN_REFUSED},
		{"{\"TransactionID\":8,\"Result\":{\"ResultCode\":\"MICFailed\"}}", NS_JOIN_REFUSED},
		{"{\"TransactionID\":7,\"Result\":{\"ResultCode\":\"MICFailed\"}}", NS_JOIN_MIC},
		{"{\"TransactionID\":7,\"Result\":{\"ResultCode\":\"UnknownDevEUI\",\"Description\":\"x\"}}",
		 NS_JOIN_UNKNOWN_DEV},
		{"{\"TransactionID\":7,\"Result\":{\"ResultCode\":\"FrameReplayed\"}}", NS_JOIN_NONCE_REUSED},
		{"{\"TransactionID\":7,\"Result\":{\"ResultCode\":\"JoinReqFailed\",\"Description\":\"DevNonce was "
		 "used\"}}",
		 NS_JOIN_NONCE_REUSED},
		{"{\"TransactionID\":7,\"Result\":{\"ResultCode\":\"JoinReqFailed\",\"Description\":\"no\"}}",
		 NS_JOIN_REFUSED},
		{"{\"TransactionID\":7,\"Result\":{\"ResultCode\":\"UnknownReceiver\"}}", NS_JOIN_UNKNOWN_EUI},
		{"{\"TransactionID\":7,\"Result\":{\"ResultCode\":\"SomethingNew\"}}", NS_JOIN_REFUSED},
		/* Success that is none. */
		{HEAD "}", NS_JOIN_REFUSED},
		{HEAD ",\"NwkSKey\":{\"AESKey\":\"" KEY_A "0\"}}", NS_JOIN_REFUSED},
		{HEAD ",\"NwkSKey\":{\"AESKey\":\"" KEY_A "00\"}}", NS_JOIN_REFUSED},
		{HEAD ",\"NwkSKey\":{\"AESKey\":\"0011zz33445566778899aabbccddeeff\"}}", NS_JOIN_REFUSED},
		{HEAD ",\"NwkSKey\":\"" KEY_A "\"}", NS_JOIN_REFUSED},
		{HEAD ",\"FNwkSIntKey\":{\"AESKey\":\"" KEY_A "\"},\"SNwkSIntKey\":{\"AESKey\":\"" KEY_A "\"}}",
		 NS_JOIN_REFUSED},
		{"{\"TransactionID\":7,\"Result\":{\"ResultCode\":\"Success\"},\"NwkSKey\":{\"AESKey\":\"" KEY_A "\"}}",
		 NS_JOIN_REFUSED},
		{"{\"TransactionID\":7,\"Result\":{\"ResultCode\":\"Success\"},\"PHYPayload\":\"" ACCEPT ACCEPT ACCEPT
		 "\",\"NwkSKey\":{\"AESKey\":\"" KEY_A "\"}}",
		 NS_JOIN_REFUSED},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
		struct ns_join_ask a = read_with(ROWS[i].json, false, NULL);
		if (a.result != ROWS[i].want)
			fail_msg("row %zu: %d: %s", i, (int)a.result, ROWS[i].json);
		assert_true(strlen(a.detail) < sizeof(a.detail));
	}
}

/* ---- through HTTP ---- */

struct server {
	int status;
	const char *answer; /* with %u for the transaction */
	char path[64];
	char authorization[64];
	unsigned asked;
	struct http_request *held;
	bool hold;
};

static void on_request(struct http_request *r, void *arg)
{
	struct server *s = arg;
	struct lw_span body = http_request_body(r);
	char text[2048], answer[2048];
	unsigned id = 0;
	s->asked++;
	snprintf(text, sizeof(text), "%.*s", (int)body.n, (const char *)body.p);
	snprintf(s->path, sizeof(s->path), "%s", http_request_path(r));
	const char *auth = http_request_header(r, "authorization");
	snprintf(s->authorization, sizeof(s->authorization), "%s", auth ? auth : "");
	const char *at = strstr(text, "\"TransactionID\":");
	assert_non_null(at);
	sscanf(at, "\"TransactionID\":%u", &id);
	if (s->hold) {
		s->held = r;
		return;
	}
	int n = snprintf(answer, sizeof(answer), "{\"TransactionID\":%u,%s}", id, s->answer);
	http_respond(r, s->status, "application/json", answer, (size_t)n, NULL, 0);
}

static void on_answered(struct ns_join_ask *a)
{
	*(bool *)a->owner = true;
}

static struct ns_join_ask ask(struct rt_loop *loop, struct ns_join_client *c, const char *join_eui)
{
	struct ns_join_port port;
	bool done = false;
	struct ns_join_ask a = sample(), *v[1] = {&a};
	assert_int_equal(lw_join_eui_parse(&a.join_eui, join_eui), 0);
	a.done = on_answered;
	a.owner = &done;
	ns_join_client_fill_port(c, &port);
	port.ask(port.self, v, 1);
	assert_true(rt_loop_run_until(loop, &done, 60000));
	return a;
}

static void test_through_http(void **state)
{
	(void)state;
	struct rt_loop *loop = rt_loop_new();
	struct server s = {.status = 200, .answer = "\"Result\":{\"ResultCode\":\"MICFailed\"}"};
	struct http_server_config config = {.bind = "127.0.0.1:0", .fn = on_request, .arg = &s};
	struct http_server *http = NULL;
	struct lw_rng rng;
	char own[64], other[64];
	lw_rng_init_system(&rng);
	assert_int_equal(http_server_new(loop, &config, &http, NULL), 0);
	snprintf(own, sizeof(own), "http://127.0.0.1:%d/own", http_server_port(http));
	snprintf(other, sizeof(other), "http://127.0.0.1:%d/other", http_server_port(http));
	const struct ns_join_server servers[] = {{"01", own, "", true},
						 {"0102AB", other, "Bearer xyz", false},
						 {"09", "http://127.0.0.1:1/", "", false}};
	struct ns_join_client_opts o = {
		.loop = loop, .rng = &rng, .timeout_ms = 60000, .servers = servers, .n_servers = 3};
	struct ns_join_client *c = ns_join_client_new(&o);

	assert_int_equal(ask(loop, c, "0102030405060708").result, NS_JOIN_MIC);
	assert_string_equal(s.path, "/own");
	assert_string_equal(s.authorization, "");
	/* The longest prefix counts, in either case; another party's own authorization. */
	assert_int_equal(ask(loop, c, "0102ab0405060708").result, NS_JOIN_MIC);
	assert_string_equal(s.path, "/other");
	assert_string_equal(s.authorization, "Bearer xyz");
	/* Nobody is responsible; nobody is there. */
	unsigned asked = s.asked;
	assert_int_equal(ask(loop, c, "0202030405060708").result, NS_JOIN_UNKNOWN_EUI);
	assert_int_equal(ask(loop, c, "0902030405060708").result, NS_JOIN_UNAVAILABLE);
	assert_int_equal(s.asked, asked);
	/* A result with a status of its own; none at all. */
	s.status = 400;
	assert_int_equal(ask(loop, c, "0102030405060708").result, NS_JOIN_MIC);
	s.status = 503;
	struct ns_join_ask a = ask(loop, c, "0102030405060708");
	assert_int_equal(a.result, NS_JOIN_UNAVAILABLE);
	assert_non_null(strstr(a.detail, "503"));
	/* No answer in time; on a busy machine the time may be over before the question has left. */
	s.hold = true;
	for (o.timeout_ms = 300; !s.held && o.timeout_ms < 60000; o.timeout_ms *= 2) {
		struct ns_join_client *brief = ns_join_client_new(&o);
		assert_int_equal(ask(loop, brief, "0102030405060708").result, NS_JOIN_UNAVAILABLE);
		for (int i = 0; i < 20; i++)
			rt_loop_turn(loop);
		ns_join_client_free(brief);
	}
	assert_non_null(s.held);
	http_respond_text(s.held, 200, "late");
	/* Taken down with a question under way: it is answered. */
	struct ns_join_port port;
	bool done = false;
	struct ns_join_ask last = sample(), *v[1] = {&last};
	last.done = on_answered;
	last.owner = &done;
	ns_join_client_fill_port(c, &port);
	port.ask(port.self, v, 1);
	ns_join_client_free(c);
	assert_true(done);
	assert_int_equal(last.result, NS_JOIN_UNAVAILABLE);
	http_server_free(http);
	for (int i = 0; i < 10; i++)
		rt_loop_turn(loop);
	rt_loop_free(loop);
}

/* ---- several questions in one request ---- */

struct batch_server {
	bool refuses; /* arrays, from now on */
	unsigned singles, arrays, elements;
};

static void on_maybe_array(struct http_request *r, void *arg)
{
	static const struct http_header header = {.name = "Longwave-Batch", .value = "64"};
	struct batch_server *s = arg;
	struct lw_span body = http_request_body(r);
	char *text = strndup((const char *)body.p, body.n);
	json_object *root = json_tokener_parse(text);
	free(text);
	bool is_array = json_object_is_type(root, json_type_array);
	s->singles += !is_array;
	s->arrays += is_array;
	if (is_array && s->refuses) {
		http_respond_text(r, 400, "what is this?");
		json_object_put(root);
		return;
	}
	struct lw_buf out;
	lw_buf_init(&out, 65536);
	for (size_t i = 0; i < (is_array ? json_object_array_length(root) : 1); i++) {
		s->elements++;
		lw_buf_printf(
			&out,
			"%s{\"TransactionID\":%s,\"Result\":{\"ResultCode\":\"UnknownDevEUI\",\"Description\":\"%s\"}}",
			!is_array ? ""
			: i       ? ","
				  : "[",
			member(is_array ? json_object_array_get_idx(root, i) : root, "TransactionID"),
			member(is_array ? json_object_array_get_idx(root, i) : root, "DevEUI"));
	}
	lw_buf_append_str(&out, is_array ? "]" : "");
	http_respond(r, 200, "application/json", out.p, out.n, s->refuses ? NULL : &header, !s->refuses);
	lw_buf_deinit(&out);
	json_object_put(root);
}

static unsigned left;

static void on_one(struct ns_join_ask *a)
{
	*(bool *)a->owner = --left == 0;
}

/* Each gets the answer that names its own device. */
static void ask_many(struct rt_loop *loop, struct ns_join_client *c, struct ns_join_ask *asks, size_t n)
{
	struct ns_join_port port;
	struct ns_join_ask *v[80];
	bool all = false;
	ns_join_client_fill_port(c, &port);
	for (size_t i = 0; i < n; i++) {
		asks[i] = sample();
		asks[i].dev_eui = lw_dev_eui_from_u64(1000 + i);
		asks[i].done = on_one;
		asks[i].owner = &all;
		v[i] = &asks[i];
	}
	left = (unsigned)n;
	port.ask(port.self, v, n);
	assert_true(rt_loop_run_until(loop, &all, 60000));
	for (size_t i = 0; i < n; i++) {
		char eui[LW_EUI_TEXT];
		assert_int_equal(asks[i].result, NS_JOIN_UNKNOWN_DEV);
		assert_non_null(strstr(asks[i].detail, lw_dev_eui_print(asks[i].dev_eui, eui)));
	}
}

static void test_batch(void **state)
{
	(void)state;
	struct rt_loop *loop = rt_loop_new();
	struct batch_server s = {0};
	struct http_server_config config = {.bind = "127.0.0.1:0", .fn = on_maybe_array, .arg = &s};
	struct http_server *http = NULL;
	struct ns_join_ask asks[80];
	struct lw_rng rng;
	char url[64];
	lw_rng_init_system(&rng);
	assert_int_equal(http_server_new(loop, &config, &http, NULL), 0);
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/", http_server_port(http));
	const struct ns_join_server server = {"", url, "", true};
	struct ns_join_client_opts o = {
		.loop = loop, .rng = &rng, .timeout_ms = 60000, .servers = &server, .n_servers = 1};
	struct ns_join_client *c = ns_join_client_new(&o);
	/* As the standard has it until the server has said more. */
	ask_many(loop, c, asks, 1);
	assert_int_equal(s.singles, 1);
	ask_many(loop, c, asks, 70);
	assert_int_equal(s.singles, 1);
	assert_int_equal(s.arrays, 2); /* 64 and 6 */
	assert_int_equal(s.elements, 71);
	/* Another one in its place: nothing is lost, and it is not asked that way again. */
	s = (struct batch_server){.refuses = true};
	ask_many(loop, c, asks, 70);
	assert_in_range(s.arrays, 1, 2);
	assert_int_equal(s.singles, 70);
	ask_many(loop, c, asks, 5);
	assert_in_range(s.arrays, 1, 2);
	ns_join_client_free(c);
	http_server_free(http);
	for (int i = 0; i < 10; i++)
		rt_loop_turn(loop);
	rt_loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_build, setup, teardown),
		cmocka_unit_test_setup_teardown(test_success, setup, teardown),
		cmocka_unit_test_setup_teardown(test_success_11_wrapped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_through_http, setup, teardown),
		cmocka_unit_test_setup_teardown(test_batch, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
