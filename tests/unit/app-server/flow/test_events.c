/* The event flow against a network-server in the same process and a database: what is acknowledged and when, repeats,
 * unknown devices, rows, re-encryption. Without a broker; with one see tests/e2e/test_positions.py. */
#include "../world.h"

#include "app-server/domain/payload.h"
#include "app-server/flow/event_internal.h"
#include "common/io/grpc_client.h"
#include "common/io/grpc_server.h"
#include "common/lorawan/cipher.h"
#include "proto/google/protobuf/empty.pb-c.h"

#define FIRST 0x70b3d57ed0000100u
#define EUI "70b3d57ed0000100"
#define NOW_S 1714564800

static struct world w;
static struct grpc_methods *methods;
static struct grpc_server *server;

/* The network-server's side. */
static struct {
	struct grpc_call *stream;
	bool opened, acked;
	size_t opens;
	uint64_t first_seq, last_seq; /* of the last opening, of the last acknowledgement */
	uint64_t wanted;
	char consumer[32];
	size_t n_reencrypts, refuse_reencrypts;
	Longwave__Ns__V1__ReencryptRequest *reencrypt;
	bool reencrypted;
} ns;

static void on_ack(struct grpc_call *c, const ProtobufCMessage *msg)
{
	const Longwave__Ns__V1__Ack *a = (const void *)msg;
	uint64_t seq = 0;
	(void)c;
	for (size_t i = 0; i < a->n_positions; i++)
		if (strcmp(a->positions[i]->origin, "ns1") == 0)
			seq = a->positions[i]->seq;
	if (!ns.opened) {
		ns.opened = true;
		ns.opens++;
		ns.first_seq = seq;
		snprintf(ns.consumer, sizeof(ns.consumer), "%s", a->consumer);
	}
	assert_true(seq >= ns.last_seq);
	ns.last_seq = seq;
	ns.acked = ns.last_seq >= ns.wanted;
}

static void on_stream_gone(struct grpc_call *c)
{
	ns.stream = NULL;
	grpc_call_finish(c, GRPC_CANCELLED, NULL);
}

static void serve_events(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	static const struct grpc_call_events ev = {
		.message = on_ack, .cancel = on_stream_gone, .half_close = on_stream_gone};
	(void)req;
	(void)arg;
	ns.stream = c;
	ns.opened = false;
	grpc_call_set_events(c, &ev);
}

static void serve_reencrypt(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	Google__Protobuf__Empty e = GOOGLE__PROTOBUF__EMPTY__INIT;
	struct lw_buf b;
	(void)arg;
	ns.n_reencrypts++;
	if (ns.refuse_reencrypts > 0) {
		ns.refuse_reencrypts--;
		grpc_call_finish(c, GRPC_UNAVAILABLE, "not now");
		return;
	}
	lw_buf_init(&b, 1 << 20);
	lw_pb_pack(req, &b);
	ns.reencrypt = longwave__ns__v1__reencrypt_request__unpack(NULL, b.n, b.p);
	lw_buf_deinit(&b);
	grpc_call_reply(c, &e.base);
	ns.reencrypted = true;
}

static Longwave__Ns__V1__Event event(uint64_t seq, const char *eui)
{
	Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
	static Google__Protobuf__Timestamp t;
	google__protobuf__timestamp__init(&t);
	t.seconds = NOW_S;
	e.origin = "ns1";
	e.seq = seq;
	e.time = &t;
	e.dev_eui = (char *)(uintptr_t)eui;
	e.dev_addr = "01020304";
	return e;
}

static void send(Longwave__Ns__V1__Event *v, size_t n)
{
	Longwave__Ns__V1__EventBatch b = LONGWAVE__NS__V1__EVENT_BATCH__INIT;
	Longwave__Ns__V1__Event **list = calloc(n, sizeof(*list));
	assert_non_null(list);
	for (size_t i = 0; i < n; i++)
		list[i] = &v[i];
	b.events = list;
	b.n_events = n;
	assert_int_equal(grpc_call_send(ns.stream, &b.base), 0);
	free(list);
}

static void wait_open(void)
{
	assert_true(rt_loop_run_until(w.as.loop, &ns.opened, WORLD_WAIT_MS));
}

static void wait_acked(uint64_t seq)
{
	ns.wanted = seq;
	ns.acked = ns.last_seq >= seq;
	if (!rt_loop_run_until(w.as.loop, &ns.acked, WORLD_WAIT_MS))
		fail_msg("acknowledged %llu, not %llu", (unsigned long long)ns.last_seq, (unsigned long long)seq);
}

static void wait_rows(void)
{
	while (!as_rows_idle(w.as.events->rows)) {
		bool never = false;
		rt_loop_run_until(w.as.loop, &never, 5);
	}
}

static Longwave__Ns__V1__UplinkEvent uplink(uint32_t f_cnt)
{
	Longwave__Ns__V1__UplinkEvent u = LONGWAVE__NS__V1__UPLINK_EVENT__INIT;
	u.f_cnt = f_cnt;
	u.dr = 5;
	return u;
}

static const struct sql_stmt device_row = {.name = "t_device",
					   .text = "SELECT CAST(last_seen_at AS TEXT) || ' ' || dev_addr || ' ' || "
						   "CAST(dr AS TEXT) || ' ' || CAST(battery AS"
						   " TEXT) FROM device WHERE dev_eui = $1",
					   .params = "t",
					   .cols = "t"};
static const struct sql_stmt session_count = {
	.name = "t_count", .text = "SELECT dev_eui FROM device_session WHERE dev_eui = $1", .params = "t", .cols = "t"};

/* Every kind of end leads to the acknowledgement: shown, unknown, contradictory. */
static void test_all_acknowledged(void **state)
{
	Longwave__Ns__V1__UplinkEvent u = uplink(1), bad = uplink(1);
	Longwave__Ns__V1__StatusEvent s = LONGWAVE__NS__V1__STATUS_EVENT__INIT;
	(void)state;
	wait_open();
	assert_int_equal(ns.first_seq, 0);
	assert_string_equal(ns.consumer, "test");
	Longwave__Ns__V1__Event v[] = {event(1, EUI), event(2, "70b3d57ed0ffffff"), event(3, "nonsense"), event(5, EUI),
				       event(6, EUI), event(9, "70b3d57ed0000101")};
	v[0].kind_case = v[1].kind_case = v[4].kind_case = v[5].kind_case = LONGWAVE__NS__V1__EVENT__KIND_UPLINK;
	v[0].uplink = v[1].uplink = v[5].uplink = &u;
	uint8_t data[] = {1};
	bad.f_port = 1;
	bad.frm_payload = (ProtobufCBinaryData){.len = 1, .data = data};
	v[4].uplink = &bad;
	v[4].dev_addr = "no address";
	v[3].kind_case = LONGWAVE__NS__V1__EVENT__KIND_STATUS;
	s.battery = 77;
	v[3].status = &s;
	send(v, 6);
	wait_acked(9);
	struct as_events *e = w.as.events;
	assert_int_equal(rt_metric_get_at(e->dropped, AS_DROP_UNKNOWN_DEVICE), 1);
	assert_int_equal(rt_metric_get_at(e->dropped, AS_DROP_MALFORMED), 2);
	wait_rows();
	assert_string_equal(world_ask(&w, &device_row, EUI, NULL), "1714564800000000 01020304 5 77");
	assert_string_equal(world_ask(&w, &device_row, "70b3d57ed0000101", NULL), "1714564800000000 01020304 5 255");
}

/* The stream ends: it is opened again from what is safe, and what comes twice is skipped. */
static void test_repeats(void **state)
{
	Longwave__Ns__V1__UplinkEvent u = uplink(2);
	Longwave__Ns__V1__Event v[] = {event(8, EUI), event(9, EUI), event(10, EUI)};
	double before = rt_metric_get(w.as.events->repeated);
	size_t opens = ns.opens;
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		v[i].kind_case = LONGWAVE__NS__V1__EVENT__KIND_UPLINK;
		v[i].uplink = &u;
	}
	grpc_call_finish(ns.stream, GRPC_UNAVAILABLE, "away");
	ns.opened = false;
	wait_open();
	assert_int_equal(ns.opens, opens + 1);
	assert_int_equal(ns.first_seq, 9);
	send(v, 3);
	wait_acked(10);
	assert_int_equal(rt_metric_get(w.as.events->repeated) - before, 2);
	assert_int_equal(rt_metric_get(w.as.events->taken_total), 7);
}

/* One that is damaged does not stand in the way of the others, nor ends the stream. */
static void test_unreadable(void **state)
{
	Longwave__Ns__V1__UplinkEvent u = uplink(2);
	Longwave__Ns__V1__Event v[] = {event(11, EUI), event(12, EUI), event(13, EUI)};
	double before = rt_metric_get(w.as.events->taken_total);
	size_t opens = ns.opens;
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		v[i].kind_case = LONGWAVE__NS__V1__EVENT__KIND_UPLINK;
		v[i].uplink = &u;
	}
	v[1].dev_addr = "\xff";
	send(v, 3);
	wait_acked(13);
	assert_int_equal(rt_metric_get(w.as.events->unreadable), 1);
	assert_int_equal(rt_metric_get(w.as.events->taken_total) - before, 2);
	assert_int_equal(ns.opens, opens);
}

/* More than the flow holds at once: the network-server is held back, nothing is lost, the last one is acknowledged
 * last. */
static void test_many(void **state)
{
	enum { N = 20000, BATCH = 250 };
	Longwave__Ns__V1__UplinkEvent u = uplink(3);
	static Longwave__Ns__V1__Event v[BATCH];
	char eui[BATCH][LW_EUI_TEXT];
	double before = rt_metric_get(w.as.events->taken_total);
	uint64_t seq = 100;
	(void)state;
	int64_t began = lw_mono_ns();
	for (size_t sent = 0; sent < N; sent += BATCH) {
		for (size_t i = 0; i < BATCH; i++) {
			lw_dev_eui_print(lw_dev_eui_from_u64(FIRST + i % 200), eui[i]);
			v[i] = event(seq++, eui[i]);
			v[i].kind_case = LONGWAVE__NS__V1__EVENT__KIND_UPLINK;
			v[i].uplink = &u;
		}
		send(v, BATCH);
	}
	wait_acked(seq - 1);
	print_message("%d events in %lld ms\n", N, (long long)((lw_mono_ns() - began) / LW_NS_PER_MS));
	assert_int_equal(rt_metric_get(w.as.events->taken_total) - before, N);
	assert_int_equal(rt_metric_get_at(w.as.events->dropped, AS_DROP_UNKNOWN_DEVICE), 1);
	assert_int_equal(w.as.events->head_no, w.as.events->next_no);
}

static void add_session(const char *id, const char *key, int64_t at_us)
{
	static const struct sql_stmt insert = {.name = "t_add",
					       .text = "INSERT INTO device_session VALUES ('" EUI "', $1, $2, '', $3)",
					       .params = "ttl"};
	struct sql_tx *tx = sql_tx_new(w.as.db);
	struct sql_params *p = sql_tx_add(tx, &insert, NULL, NULL);
	sql_put_text(p, id);
	sql_put_text(p, key);
	sql_put_i64(p, at_us);
	world_commit(&w, tx);
}

/* The first frame of a new session ends the older ones. */
static void test_session_pruned(void **state)
{
	Longwave__Ns__V1__UplinkEvent u = uplink(0);
	uint8_t id[] = {0xbb};
	size_t rows;
	(void)state;
	add_session("aa", "000102030405060708090a0b0c0d0e0f", 1);
	add_session("bb", "101112131415161718191a1b1c1d1e1f", 2);
	add_session("cc", "202122232425262728292a2b2c2d2e2f", 3);
	Longwave__Ns__V1__Event v = event(50000, EUI);
	v.kind_case = LONGWAVE__NS__V1__EVENT__KIND_UPLINK;
	u.session_key_id = (ProtobufCBinaryData){.len = 1, .data = id};
	v.uplink = &u;
	send(&v, 1);
	wait_acked(50000);
	wait_rows();
	world_ask(&w, &session_count, EUI, &rows);
	assert_int_equal(rows, 2); /* not the one that was joined but not used yet */
}

static void test_reencrypt(void **state)
{
	static const char clear[] = "open the valve";
	Longwave__Ns__V1__ReencryptEvent r = LONGWAVE__NS__V1__REENCRYPT_EVENT__INIT;
	Longwave__Ns__V1__QueueItem a = LONGWAVE__NS__V1__QUEUE_ITEM__INIT, b = LONGWAVE__NS__V1__QUEUE_ITEM__INIT;
	Longwave__Ns__V1__QueueItem *items[] = {&a, &b};
	uint8_t sealed[sizeof(clear) + AS_SEAL_OVERHEAD], id[] = {0xcc}, nonce[16] = {7}, out[sizeof(clear)];
	struct lw_key key;
	(void)state;
	lw_key_parse(&key, "202122232425262728292a2b2c2d2e2f");
	a.id = "9f7b2c10-57a6-4b39-a0f3-2d9e9a6f1b22";
	b.id = "9f7b2c10-57a6-4b39-a0f3-2d9e9a6f1b23"; /* sealed for another item: left out */
	size_t n = as_payload_seal(w.as.keys, &w.as.secrets.seal, a.id, nonce, lw_span(clear, sizeof(clear)), sealed);
	a.sealed = b.sealed = (ProtobufCBinaryData){.len = n, .data = sealed};
	r.items = items;
	r.n_items = 2;
	r.next_f_cnt = 65530;
	r.session_key_id = (ProtobufCBinaryData){.len = 1, .data = id};
	Longwave__Ns__V1__Event v = event(50001, EUI);
	v.kind_case = LONGWAVE__NS__V1__EVENT__KIND_REENCRYPT;
	v.reencrypt = &r;
	ns.refuse_reencrypts = 1; /* is tried again */
	send(&v, 1);
	assert_true(rt_loop_run_until(w.as.loop, &ns.reencrypted, WORLD_WAIT_MS));
	wait_acked(50001);
	assert_int_equal(ns.n_reencrypts, 2);
	assert_string_equal(ns.reencrypt->dev_eui, EUI);
	assert_int_equal(ns.reencrypt->n_items, 1);
	const Longwave__Ns__V1__QueueItem *got = ns.reencrypt->items[0];
	assert_string_equal(got->id, a.id);
	assert_int_equal(got->first_f_cnt, 65530);
	assert_int_equal(got->n_frm_payloads, AS_PAYLOAD_WINDOW);
	assert_int_equal(got->session_key_id.data[0], 0xcc);
	for (uint32_t i = 0; i < AS_PAYLOAD_WINDOW; i++) {
		assert_int_equal(got->frm_payloads[i].len, sizeof(clear));
		lw_cipher_frm(w.as.keys, &key, LW_DOWN, (struct lw_devaddr){0x01020304}, 65530 + i,
			      got->frm_payloads[i].data, sizeof(clear), out);
		assert_string_equal((char *)out, clear);
	}
	longwave__ns__v1__reencrypt_request__free_unpacked(ns.reencrypt, NULL);
}

static int setup(void **state)
{
	struct lw_diag diag = {0};
	char address[32];
	(void)state;
	world_open(&w);
	world_add_devices(&w, FIRST, 200);
	methods = grpc_methods_new();
	grpc_methods_add(methods, &(struct grpc_method){.path = "/longwave.ns.v1.NetworkServer/Events",
							.input = &longwave__ns__v1__ack__descriptor,
							.output = &longwave__ns__v1__event_batch__descriptor,
							.client_streaming = true,
							.server_streaming = true,
							.fn = serve_events});
	grpc_methods_add(methods, &(struct grpc_method){.path = "/longwave.ns.v1.NetworkServer/Reencrypt",
							.input = &longwave__ns__v1__reencrypt_request__descriptor,
							.output = &google__protobuf__empty__descriptor,
							.fn = serve_reencrypt});
	struct grpc_server_config sc = {.bind = "127.0.0.1:0", .methods = methods, .queue_hard = 64u << 20};
	assert_int_equal(grpc_server_new(w.as.loop, &sc, &server, &diag), 0);
	if (as_events_init(&w.as, NULL, &diag) < 0 || as_events_start(&w.as, NULL, &diag) < 0)
		fail_msg("%s", diag.text);
	snprintf(address, sizeof(address), "127.0.0.1:%d", grpc_server_port(server));
	w.as.ns = grpc_client_new(w.as.loop, &(struct grpc_client_config){.address = address});
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	world_close_db(&w);
	grpc_client_free(w.as.ns);
	as_events_deinit(&w.as);
	grpc_server_free(server);
	grpc_methods_free(methods);
	world_close(&w);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_acknowledged), cmocka_unit_test(test_repeats),
					   cmocka_unit_test(test_unreadable),       cmocka_unit_test(test_many),
					   cmocka_unit_test(test_session_pruned),   cmocka_unit_test(test_reencrypt)};
	return cmocka_run_group_tests(tests, setup, teardown);
}
