/* The join server over HTTP with its database: nonces used once, keys that stay here, many at once. */
#include "../world.h"

#include "app-server/domain/join.h"
#include "app-server/link/join_server.h"
#include "common/base/hex.h"
#include "common/io/http_client.h"
#include "common/lorawan/mic.h"

#define FIRST 0x70b3d57ed0000100u
#define JOIN_EUI "70b3d57ed0000001"

struct answer {
	bool done;
	int status;
	char body[4096];
};

static struct world w;
static struct http_client *http;
static size_t n_open;
static bool none_open;

static void on_answer(void *arg, const struct http_client_response *resp)
{
	struct answer *a = arg;
	a->done = true;
	a->status = resp->err ? resp->err : resp->status;
	snprintf(a->body, sizeof(a->body), "%.*s", (int)resp->body.n, (const char *)resp->body.p);
	none_open = --n_open == 0;
}

static void post(const char *body, struct answer *a)
{
	char url[64];
	struct http_client_request r = {
		.url = url, .body = lw_span_str(body), .content_type = "application/json", .timeout_ms = WORLD_WAIT_MS};
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/", as_join_port(w.as.join));
	memset(a, 0, sizeof(*a));
	n_open++;
	none_open = false;
	http_client_send(http, &r, on_answer, a);
}

static void wait_all(void)
{
	assert_true(rt_loop_run_until(w.as.loop, &none_open, WORLD_WAIT_MS));
}

/* The join-request of device number `i`. */
static void build(size_t i, uint16_t nonce, const char *settings, bool wrong_mic, char body[600])
{
	uint8_t phy[23] = {0};
	char hex[47], eui[LW_EUI_TEXT], nwk[40];
	struct lw_key key;
	struct lw_join_eui join_eui;
	lw_join_eui_parse(&join_eui, JOIN_EUI);
	lw_join_eui_put_le(join_eui, phy + 1);
	lw_dev_eui_put_le(lw_dev_eui_from_u64(FIRST + i), phy + 9);
	lw_put_le16(phy + 17, nonce);
	snprintf(nwk, sizeof(nwk), "11%030zx", i);
	assert_int_equal(lw_key_parse(&key, nwk), 0);
	struct lw_mic mic = lw_mic_plain(w.as.keys, &key, lw_span(phy, 19));
	memcpy(phy + 19, mic.b, 4);
	phy[22] = (uint8_t)(phy[22] ^ wrong_mic);
	snprintf(body, 600,
		 "{\"ProtocolVersion\":\"1.0\",\"SenderID\":\"000000\",\"ReceiverID\":\"" JOIN_EUI
		 "\",\"TransactionID\":%u,\"MessageType\":\"JoinReq\",\"MACVersion\":\"1.0.3\",\"PHYPayload\":\"%s\","
		 "\"DevEUI\":\"%s\",\"DevAddr\":\"00000001\",\"DLSettings\":\"%s\",\"RxDelay\":1}",
		 (unsigned)(i * 65536 + nonce), lw_hex_encode(phy, 23, hex),
		 lw_dev_eui_print(lw_dev_eui_from_u64(FIRST + i), eui), settings);
}

static void join(size_t i, uint16_t nonce, const char *settings, bool wrong_mic, struct answer *a)
{
	char body[600];
	build(i, nonce, settings, wrong_mic, body);
	post(body, a);
}

static bool has(const struct answer *a, const char *text)
{
	return a->status == 200 && strstr(a->body, text);
}

static const struct sql_stmt session_key = {.name = "t_session",
					    .text = "SELECT app_s_key FROM device_session WHERE session_key_id = $1",
					    .params = "t",
					    .cols = "t"};
static const struct sql_stmt sessions = {.name = "t_sessions",
					 .text = "SELECT dev_eui FROM device_session WHERE dev_eui = $1",
					 .params = "t",
					 .cols = "t"};
static const struct sql_stmt nonce_of = {.name = "t_nonce",
					 .text = "SELECT CAST(join_nonce AS TEXT) FROM device_keys WHERE dev_eui = $1",
					 .params = "t",
					 .cols = "t"};

static void test_once(void **state)
{
	struct answer a, b;
	char id[33], eui[LW_EUI_TEXT];
	(void)state;
	join(0, 1, "00", false, &a);
	wait_all();
	assert_true(has(&a, "\"ResultCode\":\"Success\""));
	assert_true(has(&a, "\"NwkSKey\":"));
	assert_true(has(&a, "\"TransactionID\":1,"));
	/* The AppSKey lies under the session's name and is not in the answer. */
	const char *at = strstr(a.body, "\"SessionKeyID\":\"");
	assert_non_null(at);
	snprintf(id, sizeof(id), "%s", at + 16);
	const char *key = world_ask(&w, &session_key, id, NULL);
	assert_int_equal(strlen(key), 32);
	assert_null(strstr(a.body, key));
	assert_null(strstr(a.body, "AppSKey"));
	lw_dev_eui_print(lw_dev_eui_from_u64(FIRST), eui);
	assert_string_equal(world_ask(&w, &nonce_of, eui, NULL), "2");
	join(0, 1, "00", false, &b);
	wait_all();
	assert_true(has(&b, "{\"ResultCode\":\"JoinReqFailed\",\"Description\":\"DevNonce has been used before\"}"));
	assert_string_equal(world_ask(&w, &nonce_of, eui, NULL), "2");
	join(0, 2, "80", false, &b);
	wait_all();
	assert_true(has(&b, "\"SNwkSIntKey\":"));
	assert_string_equal(world_ask(&w, &nonce_of, eui, NULL), "3");
}

static void test_refused(void **state)
{
	struct answer mic, unknown, other, text, get;
	(void)state;
	join(1, 1, "00", true, &mic);
	join(4000, 1, "00", false, &unknown);
	post("{\"SenderID\":\"000000\",\"ReceiverID\":\"" JOIN_EUI
	     "\",\"TransactionID\":7,\"MessageType\":\"PRStartReq\"}",
	     &other);
	post("hello", &text);
	post("[]", &get);
	wait_all();
	assert_true(has(&mic, "\"ResultCode\":\"MICFailed\""));
	assert_true(has(&unknown, "\"ResultCode\":\"UnknownDevEUI\""));
	assert_true(has(&other, "\"MessageType\":\"PRStartAns\""));
	assert_true(has(&other, "\"ResultCode\":\"Other\""));
	assert_int_equal(text.status, 400);
	assert_int_equal(get.status, 400);
	/* A wrong MIC uses nothing up. */
	join(1, 1, "00", false, &mic);
	wait_all();
	assert_true(has(&mic, "\"ResultCode\":\"Success\""));
}

/* The same request over several ways at the same time is answered once; another nonce in the meantime is fine. */
static void test_race(void **state)
{
	struct answer a[6];
	size_t ok = 0, used = 0, rows;
	char eui[LW_EUI_TEXT];
	(void)state;
	for (size_t i = 0; i < 5; i++)
		join(2, 77, "00", false, &a[i]);
	join(2, 78, "00", false, &a[5]);
	wait_all();
	for (size_t i = 0; i < 6; i++) {
		ok += has(&a[i], "\"Success\"");
		used += has(&a[i], "DevNonce has been used before");
	}
	assert_int_equal(ok, 2);
	assert_int_equal(used, 4);
	lw_dev_eui_print(lw_dev_eui_from_u64(FIRST + 2), eui);
	assert_string_equal(world_ask(&w, &nonce_of, eui, NULL), "3");
	world_ask(&w, &sessions, eui, &rows);
	assert_int_equal(rows, 2);
}

/* Several questions in one request: answers in their order, whatever each of them is. */
static void test_array(void **state)
{
	char q[4][600], body[2600];
	struct answer a, bad;
	(void)state;
	build(3, 1, "00", false, q[0]);
	build(3, 1, "00", false, q[1]);
	build(4, 9, "00", true, q[2]);
	build(5, 2, "00", false, q[3]);
	snprintf(body, sizeof(body), "[%s, %s,%s ,\n%s]", q[0], q[1], q[2], q[3]);
	post(body, &a);
	snprintf(body, sizeof(body), "[%s,{}]", q[3]);
	post(body, &bad);
	wait_all();
	assert_int_equal(a.status, 200);
	assert_int_equal(bad.status, 400); /* and none of it was taken */
	static const char *const IN_ORDER[] = {"\"TransactionID\":196609,", "\"ResultCode\":\"Success\"",
					       "\"TransactionID\":196609,", "\"ResultCode\":\"JoinReqFailed\"",
					       "\"TransactionID\":262153,", "\"ResultCode\":\"MICFailed\"",
					       "\"TransactionID\":327682,", "\"ResultCode\":\"Success\""};
	const char *at = a.body;
	for (size_t i = 0; i < sizeof(IN_ORDER) / sizeof(IN_ORDER[0]); i++) {
		at = strstr(at, IN_ORDER[i]);
		if (!at)
			fail_msg("%s is missing in %s", IN_ORDER[i], a.body);
	}
	assert_null(strstr(at, "TransactionID"));
}

static void test_many(void **state)
{
	enum { N = 2000 };
	struct answer *a = calloc(N, sizeof(*a));
	struct sql_stats before, after;
	size_t ok = 0;
	(void)state;
	assert_non_null(a);
	sql_get_stats(w.as.db, &before);
	int64_t began = lw_mono_ns();
	for (size_t i = 0; i < N; i++)
		join(10 + i, 5, "00", false, &a[i]);
	wait_all();
	int64_t took_ms = (lw_mono_ns() - began) / LW_NS_PER_MS;
	sql_get_stats(w.as.db, &after);
	for (size_t i = 0; i < N; i++)
		ok += has(&a[i], "\"Success\"");
	assert_int_equal(ok, N);
	/* Together, not one by one. */
	assert_true(after.transactions - before.transactions < N / 4);
	print_message("%d joins in %lld ms, %llu transactions\n", N, (long long)took_ms,
		      (unsigned long long)(after.transactions - before.transactions));
	free(a);
}

static int setup(void **state)
{
	struct lw_diag diag = {0};
	(void)state;
	world_open(&w);
	w.conf.join_bind = "127.0.0.1:0";
	world_add_devices(&w, FIRST, 2010);
	http = http_client_new(w.as.loop, &(struct http_client_config){.max_connections_per_host = 64});
	if (as_join_init(&w.as, NULL, &diag) < 0)
		fail_msg("%s", diag.text);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	http_client_free(http);
	world_close_db(&w);
	as_join_deinit(&w.as);
	world_close(&w);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_once), cmocka_unit_test(test_refused),
					   cmocka_unit_test(test_race), cmocka_unit_test(test_array),
					   cmocka_unit_test(test_many)};
	return cmocka_run_group_tests(tests, setup, teardown);
}
