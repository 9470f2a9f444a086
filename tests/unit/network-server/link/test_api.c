/* The network-server's service as a gRPC client sees it, over a real database and a real Redis. */
#include "tests/unit/network-server/store/rig.h"

#include "common/io/grpc_client.h"
#include "common/runtime/metrics.h"
#include "network-server/domain/proprietary.h"
#include "network-server/link/api_server.h"
#include "network-server/link/event_stream.h"
#include "network-server/link/frame_log.h"

#define SERVICE "/longwave.ns.v1.NetworkServer/"
#define DEV "0000000000000001"

struct world {
	struct rig *rig;
	struct fix_server redis_server;
	struct redis *redis;
	bool redis_up;
	struct rt_metrics *metrics;
	struct lw_schema *schema;
	struct ns_frame_log *log;
	struct ns_event_stream *events;
	struct ns_api *api;
	struct grpc_client *client;
	const struct ns_region_config *regions[1];
	unsigned hints;
	unsigned refused;
	struct lw_uuid refused_item; /* the last one */
	int proprietary;             /* what becomes of frames of that type */
	/* The last answer. */
	bool answered;
	int status;
	char message[512];
	struct lw_arena arena;
	ProtobufCMessage *resp;
};

static void drop_answer(struct world *w)
{
	if (w->resp)
		protobuf_c_message_free_unpacked(w->resp, NULL);
	w->resp = NULL;
}

static void on_redis(void *arg, bool up, const char *detail)
{
	(void)detail;
	((struct world *)arg)->redis_up = up;
}

static void on_enqueued(void *arg, struct lw_dev_eui eui)
{
	(void)eui;
	((struct world *)arg)->hints++;
}

static void on_refused(void *arg, const struct ns_device *dev, struct lw_uuid item, const char *why)
{
	struct world *w = arg;
	assert_int_equal(lw_dev_eui_u64(dev->dev_eui), 1);
	assert_non_null(strstr(why, "holds 3 items"));
	w->refused++;
	w->refused_item = item;
}

static int on_proprietary(void *arg, const struct ns_proprietary *p, uint32_t *downlink_id)
{
	assert_int_equal(p->hz, 868100000);
	*downlink_id = 7;
	return ((struct world *)arg)->proprietary;
}

static int setup_any(void **state, bool pg)
{
	struct world *w = lw_xcalloc(1, sizeof(*w));
	w->rig = rig_new(pg, 0);
	struct rt_loop *loop = w->rig->loop;
	fix_redis_start(&w->redis_server);
	struct redis_options ro = {.url = w->redis_server.url, .on_state = on_redis, .arg = w};
	assert_int_equal(redis_open(&w->redis, loop, &ro, NULL), 0);
	assert_true(rt_loop_run_until(loop, &w->redis_up, RIG_WAIT_MS));
	w->metrics = rt_metrics_new("t_");
	w->schema = lw_schema_new();
	w->log = ns_frame_log_new(w->redis, 20, 20);
	w->events = ns_event_stream_new(loop, w->rig->store, w->rig->log, w->metrics);
	w->regions[0] = ns_region_config_find("eu868");
	struct lw_netid netid = {0};
	struct ns_api_opts o = {.loop = loop,
				.log = w->rig->log,
				.rng = &w->rig->rng,
				.schema = w->schema,
				.bind = "127.0.0.1:0",
				.store = w->rig->store,
				.events = w->events,
				.frame_log = w->log,
				.regions = w->regions,
				.n_regions = 1,
				.devaddr_prefix = lw_netid_prefix(netid),
				.on_enqueued = on_enqueued,
				.on_refused = on_refused,
				.on_proprietary = on_proprietary,
				.arg = w};
	assert_int_equal(ns_api_new(&w->api, &o, NULL), 0);
	char address[32];
	snprintf(address, sizeof(address), "127.0.0.1:%d", ns_api_port(w->api));
	struct grpc_client_config c = {.address = address};
	w->client = grpc_client_new(loop, &c);
	lw_arena_init(&w->arena, NULL, 0, SIZE_MAX);
	*state = w;
	return 0;
}

static int setup_lite(void **state)
{
	return setup_any(state, false);
}

static int setup_pg(void **state)
{
	return setup_any(state, true);
}

/* Queues of three items. */
static int setup_short(void **state, bool pg)
{
	rig_fix.max_queue = 3;
	int err = setup_any(state, pg);
	rig_fix.max_queue = 0;
	return err;
}

static int setup_short_lite(void **state)
{
	return setup_short(state, false);
}

static int setup_short_pg(void **state)
{
	return setup_short(state, true);
}

static int teardown(void **state)
{
	struct world *w = *state;
	struct rig *r = w->rig;
	/* The order of parts.c: the database first. */
	ns_store_flush(r->store);
	sql_free(r->db);
	ns_event_stream_free(w->events);
	ns_api_free(w->api);
	grpc_client_free(w->client);
	ns_frame_log_free(w->log);
	ns_store_free(r->store);
	redis_free(w->redis);
	for (int i = 0; i < 20; i++)
		rt_loop_turn(r->loop);
	rt_metrics_free(w->metrics);
	lw_schema_free(w->schema);
	rt_loop_free(r->loop);
	rt_log_free(r->log);
	free(r);
	fix_stop(&w->redis_server);
	drop_answer(w);
	lw_arena_deinit(&w->arena);
	free(w);
	return 0;
}

static void on_answer(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct world *w = arg;
	w->answered = true;
	w->status = status;
	snprintf(w->message, sizeof(w->message), "%s", message);
	drop_answer(w);
	if (!resp)
		return;
	size_t n = protobuf_c_message_get_packed_size(resp);
	uint8_t *bytes = lw_xmalloc(n + 1);
	protobuf_c_message_pack(resp, bytes);
	w->resp = protobuf_c_message_unpack(resp->descriptor, NULL, n, bytes);
	free(bytes);
}

/* The answer's status; the message is in w->resp until drop_answer(). */
static int call(struct world *w, const char *method, const ProtobufCMessage *req,
		const ProtobufCMessageDescriptor *output)
{
	char path[96];
	snprintf(path, sizeof(path), SERVICE "%s", method);
	struct grpc_client_request r = {.path = path, .output = output, .deadline_ms = 60000, .wait_for_ready = true};
	drop_answer(w);
	w->answered = false;
	grpc_client_call(w->client, &r, req, on_answer, w);
	assert_true(rt_loop_run_until(w->rig->loop, &w->answered, 70000));
	return w->status;
}

static int call_empty(struct world *w, const char *method, const ProtobufCMessage *req)
{
	int status = call(w, method, req, &google__protobuf__empty__descriptor);
	drop_answer(w);
	return status;
}

static const Longwave__Ns__V1__DeviceRequest *device(const char *eui)
{
	static Longwave__Ns__V1__DeviceRequest r;
	longwave__ns__v1__device_request__init(&r);
	r.dev_eui = (char *)(uintptr_t)eui;
	return &r;
}

static int activate(struct world *w, uint32_t a_f_cnt_down, bool flush)
{
	Longwave__Ns__V1__ActivateRequest req = LONGWAVE__NS__V1__ACTIVATE_REQUEST__INIT;
	Longwave__Ns__V1__Session s = LONGWAVE__NS__V1__SESSION__INIT;
	uint8_t key[16] = {1, 2, 3};
	char dev[] = DEV, addr[] = "01020304";
	s.dev_eui = dev;
	s.dev_addr = addr;
	s.f_nwk_s_int_key = s.s_nwk_s_int_key = s.nwk_s_enc_key = (ProtobufCBinaryData){sizeof(key), key};
	s.f_cnt_up = 10;
	s.n_f_cnt_down = a_f_cnt_down;
	s.a_f_cnt_down = a_f_cnt_down;
	s.mac_version = COMMON__MAC_VERSION__LORAWAN_1_0_3;
	req.session = &s;
	req.flush_queue = flush;
	return call_empty(w, "Activate", &req.base);
}

static void put_device(struct world *w)
{
	rig_put_profile(w->rig);
	rig_put_device(w->rig, 1);
}

static void test_not_before_ready(void **state)
{
	struct world *w = *state;
	assert_int_equal(call_empty(w, "FlushQueue", &device(DEV)->base), GRPC_UNAVAILABLE);
	ns_api_open(w->api);
	assert_int_equal(call_empty(w, "FlushQueue", &device(DEV)->base), GRPC_OK);
	assert_int_equal(call_empty(w, "FlushQueue", &device("no EUI")->base), GRPC_INVALID_ARGUMENT);
}

static int enqueue_these(struct world *w, const char *dev, uint8_t *commands, size_t n)
{
	Longwave__Ns__V1__EnqueueMacCommandsRequest req = LONGWAVE__NS__V1__ENQUEUE_MAC_COMMANDS_REQUEST__INIT;
	req.dev_eui = (char *)(uintptr_t)dev;
	req.commands = (ProtobufCBinaryData){n, commands};
	return call_empty(w, "EnqueueMacCommands", &req.base);
}

static int enqueue_mac(struct world *w, const char *dev, size_t n)
{
	uint8_t commands[64] = {0x80};
	return enqueue_these(w, dev, commands, n);
}

/* Bytes that wait, one proprietary command being all of them. */
static unsigned waiting_mac(struct world *w)
{
	assert_int_equal(call(w, "GetSession", &device(DEV)->base, &longwave__ns__v1__get_session_response__descriptor),
			 GRPC_OK);
	const Longwave__Ns__V1__GetSessionResponse *resp = (const void *)w->resp;
	unsigned n = resp->mac_command_bytes;
	assert_int_equal(resp->n_mac_commands, n > 0);
	if (n > 0) {
		assert_int_equal(resp->mac_commands[0]->cid, 0x80);
		assert_int_equal(strlen(resp->mac_commands[0]->text), 2 * (n - 1));
	}
	drop_answer(w);
	return n;
}

static void test_mac_commands(void **state)
{
	struct world *w = *state;
	ns_api_open(w->api);
	assert_int_equal(enqueue_mac(w, DEV, 2), GRPC_NOT_FOUND);
	put_device(w);
	assert_int_equal(enqueue_mac(w, DEV, 2), GRPC_FAILED_PRECONDITION);
	assert_int_equal(activate(w, 5, false), GRPC_OK);
	assert_int_equal(enqueue_mac(w, DEV, 0), GRPC_INVALID_ARGUMENT);
	assert_int_equal(enqueue_mac(w, "no EUI", 2), GRPC_INVALID_ARGUMENT);
	assert_int_equal(enqueue_these(w, DEV, (uint8_t[]){0x0e, 0x05}, 2), GRPC_INVALID_ARGUMENT);       /* cut off */
	assert_int_equal(enqueue_these(w, DEV, (uint8_t[]){0x06, 0x7f, 0x80}, 3), GRPC_INVALID_ARGUMENT); /* unknown */
	assert_int_equal(enqueue_mac(w, DEV, 2), GRPC_OK);
	assert_int_equal(enqueue_mac(w, DEV, 46), GRPC_OK);
	assert_int_equal(enqueue_mac(w, DEV, 1), GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(waiting_mac(w), 48);
	assert_int_equal(call_empty(w, "FlushMacCommands", &device(DEV)->base), GRPC_OK);
	assert_int_equal(waiting_mac(w), 0);
	assert_int_equal(call_empty(w, "FlushMacCommands", &device(DEV)->base), GRPC_OK); /* none: fine */
	assert_int_equal(enqueue_mac(w, DEV, 48), GRPC_OK);
	/* a new session has none waiting */
	assert_int_equal(activate(w, 5, false), GRPC_OK);
	assert_int_equal(enqueue_mac(w, DEV, 48), GRPC_OK);
}

static void test_sessions(void **state)
{
	struct world *w = *state;
	ns_api_open(w->api);
	assert_int_equal(activate(w, 5, false), GRPC_NOT_FOUND);
	put_device(w);
	const ProtobufCMessageDescriptor *out = &longwave__ns__v1__get_session_response__descriptor;
	assert_int_equal(call(w, "GetSession", &device(DEV)->base, out), GRPC_OK);
	assert_null(((Longwave__Ns__V1__GetSessionResponse *)w->resp)->session);
	assert_int_equal(activate(w, 5, false), GRPC_OK);
	assert_int_equal(call(w, "GetSession", &device(DEV)->base, out), GRPC_OK);
	const Longwave__Ns__V1__Session *s = ((Longwave__Ns__V1__GetSessionResponse *)w->resp)->session;
	assert_non_null(s);
	assert_string_equal(s->dev_addr, "01020304");
	assert_int_equal(s->f_cnt_up, 10);
	drop_answer(w);
	assert_int_equal(rig_count_addr(w->rig, 0x01020304), 1);
	assert_int_equal(call_empty(w, "Deactivate", &device(DEV)->base), GRPC_OK);
	assert_int_equal(rig_count_addr(w->rig, 0x01020304), 0);
	assert_int_equal(call(w, "GetRandomDevAddr", &device(DEV)->base,
			      &longwave__ns__v1__get_random_dev_addr_response__descriptor),
			 GRPC_OK);
	const char *addr = ((Longwave__Ns__V1__GetRandomDevAddrResponse *)w->resp)->dev_addr;
	assert_int_equal(strlen(addr), 8);
	assert_int_equal(addr[0], '0'); /* NetID 000000: type 0, NwkID 0 */
	drop_answer(w);
}

struct item {
	Longwave__Ns__V1__QueueItem m;
	ProtobufCBinaryData payload[2];
	char id[LW_UUID_TEXT];
};

static Longwave__Ns__V1__QueueItem *item(struct item *i, const char *dev, unsigned id, uint32_t f_port)
{
	longwave__ns__v1__queue_item__init(&i->m);
	snprintf(i->id, sizeof(i->id), "00000000-0000-4000-8000-%012x", id);
	i->payload[0] = i->payload[1] = (ProtobufCBinaryData){2, (uint8_t *)(uintptr_t) "ab"};
	i->m.id = i->id;
	i->m.dev_eui = (char *)(uintptr_t)dev;
	i->m.f_port = f_port;
	i->m.frm_payloads = i->payload;
	i->m.n_frm_payloads = 2;
	return &i->m;
}

static Longwave__Ns__V1__ListQueueResponse *list(struct world *w)
{
	assert_int_equal(call(w, "ListQueue", &device(DEV)->base, &longwave__ns__v1__list_queue_response__descriptor),
			 GRPC_OK);
	return (Longwave__Ns__V1__ListQueueResponse *)w->resp;
}

/* What encrypting for many devices takes, in one call; each item has an answer of its own. */
static void test_prepare(void **state)
{
	struct world *w = *state;
	const ProtobufCMessageDescriptor *out = &longwave__ns__v1__prepare_downlinks_response__descriptor;
	Longwave__Ns__V1__PrepareDownlinksRequest req = LONGWAVE__NS__V1__PREPARE_DOWNLINKS_REQUEST__INIT;
	Longwave__Ns__V1__EnqueueRequest enqueue = LONGWAVE__NS__V1__ENQUEUE_REQUEST__INIT;
	char dev[] = DEV, unknown[] = "0000000000000002", wrong[] = "what";
	char *euis[] = {unknown, dev, wrong};
	struct item it[2];
	Longwave__Ns__V1__QueueItem *v[] = {item(&it[0], DEV, 1, 7), item(&it[1], DEV, 2, 7)};
	ns_api_open(w->api);
	put_device(w);
	assert_int_equal(call(w, "PrepareDownlinks", &req.base, out), GRPC_INVALID_ARGUMENT);
	req.dev_euis = euis;
	req.n_dev_euis = 3;
	assert_int_equal(call(w, "PrepareDownlinks", &req.base, out), GRPC_OK);
	const Longwave__Ns__V1__PrepareDownlinksResponse *r = (Longwave__Ns__V1__PrepareDownlinksResponse *)w->resp;
	assert_int_equal(r->n_contexts, 3);
	assert_int_equal(r->contexts[0]->status, GRPC_NOT_FOUND);
	assert_int_equal(r->contexts[1]->status, GRPC_OK);
	assert_false(r->contexts[1]->has_session);
	assert_int_equal(r->contexts[2]->status, GRPC_INVALID_ARGUMENT);
	assert_int_equal(activate(w, 5, false), GRPC_OK);
	enqueue.items = v;
	enqueue.n_items = 1;
	it[0].m.is_encrypted_by_caller = true;
	it[0].m.n_frm_payloads = 1;
	it[0].m.first_f_cnt = 9;
	assert_int_equal(call(w, "Enqueue", &enqueue.base, &longwave__ns__v1__enqueue_response__descriptor), GRPC_OK);
	assert_int_equal(call(w, "PrepareDownlinks", &req.base, out), GRPC_OK);
	r = (Longwave__Ns__V1__PrepareDownlinksResponse *)w->resp;
	assert_true(r->contexts[1]->has_session);
	assert_int_equal(strlen(r->contexts[1]->dev_addr), 8);
	assert_int_equal(r->contexts[1]->f_cnt_down, 10); /* 9 is spoken for */
	/* One that waits already does not keep the other out. */
	enqueue.n_items = 2;
	assert_int_equal(call(w, "Enqueue", &enqueue.base, &longwave__ns__v1__enqueue_response__descriptor), GRPC_OK);
	const Longwave__Ns__V1__EnqueueResponse *e = (Longwave__Ns__V1__EnqueueResponse *)w->resp;
	assert_int_equal(e->n_statuses, 2);
	assert_int_equal(e->statuses[0], GRPC_ALREADY_EXISTS);
	assert_int_equal(e->statuses[1], GRPC_OK);
	assert_string_equal(e->errors[1], "");
	assert_int_equal(list(w)->n_items, 2);
	drop_answer(w);
}

static void test_queue(void **state)
{
	struct world *w = *state;
	const ProtobufCMessageDescriptor *out = &longwave__ns__v1__enqueue_response__descriptor;
	Longwave__Ns__V1__EnqueueRequest req = LONGWAVE__NS__V1__ENQUEUE_REQUEST__INIT;
	struct item it[6];
	Longwave__Ns__V1__QueueItem *v[6];
	static const char *const EUIS[] = {DEV, "0000000000000002", "what", DEV, DEV, DEV};
	ns_api_open(w->api);
	put_device(w);
	for (unsigned i = 0; i < 6; i++)
		v[i] = item(&it[i], EUIS[i], i + 1, i == 3 ? 0 : 7);
	it[4].m.is_encrypted_by_caller = true; /* with two payloads */
	it[5].m.n_frm_payloads = 0;            /* waits for a first session, so it needs what is sealed */
	it[5].m.sealed = it[5].payload[0];
	req.items = v;
	assert_int_equal(call(w, "Enqueue", &req.base, out), GRPC_INVALID_ARGUMENT);
	req.n_items = 6;
	assert_int_equal(call(w, "Enqueue", &req.base, out), GRPC_OK);
	const Longwave__Ns__V1__EnqueueResponse *resp = (Longwave__Ns__V1__EnqueueResponse *)w->resp;
	assert_int_equal(resp->n_errors, 6);
	assert_string_equal(resp->errors[0], "");
	assert_string_equal(resp->errors[1], "device does not exist");
	for (int i = 2; i < 5; i++)
		assert_true(resp->errors[i][0] != 0);
	assert_string_equal(resp->errors[5], "");
	assert_true(w->hints >= 1);
	assert_int_equal(list(w)->n_items, 2);
	/* A device can do without a session; its counter starts at 0. */
	assert_int_equal(call(w, "GetNextFCntDown", &device(DEV)->base,
			      &longwave__ns__v1__get_next_fcnt_down_response__descriptor),
			 GRPC_OK);
	assert_int_equal(((Longwave__Ns__V1__GetNextFCntDownResponse *)w->resp)->f_cnt_down, 0);
	/* A second time the same id. */
	req.n_items = 1;
	assert_int_equal(call(w, "Enqueue", &req.base, out), GRPC_ALREADY_EXISTS);
	/* In place of the others. */
	v[0] = item(&it[0], DEV, 20, 9);
	req.flush_queue = true;
	assert_int_equal(call(w, "Enqueue", &req.base, out), GRPC_OK);
	assert_int_equal(list(w)->n_items, 1);
	assert_int_equal(((Longwave__Ns__V1__ListQueueResponse *)w->resp)->items[0]->f_port, 9);
	/* Encrypted anew. */
	Longwave__Ns__V1__ReencryptRequest re = LONGWAVE__NS__V1__REENCRYPT_REQUEST__INIT;
	char dev[] = DEV;
	re.dev_eui = dev;
	re.items = v;
	re.n_items = 1;
	it[0].m.first_f_cnt = 42;
	unsigned hints = w->hints;
	assert_int_equal(call_empty(w, "Reencrypt", &re.base), GRPC_OK);
	assert_int_equal(w->hints, hints + 1);
	assert_int_equal(list(w)->items[0]->first_f_cnt, 42);
	/* An activation keeps or empties the queue. */
	assert_int_equal(activate(w, 5, false), GRPC_OK);
	assert_int_equal(list(w)->n_items, 1);
	assert_int_equal(call(w, "GetNextFCntDown", &device(DEV)->base,
			      &longwave__ns__v1__get_next_fcnt_down_response__descriptor),
			 GRPC_OK);
	assert_int_equal(((Longwave__Ns__V1__GetNextFCntDownResponse *)w->resp)->f_cnt_down, 5);
	assert_int_equal(activate(w, 5, true), GRPC_OK);
	assert_int_equal(list(w)->n_items, 0);
	drop_answer(w);
}

static int list_frames(struct world *w, uint32_t limit, const char *after)
{
	Longwave__Ns__V1__StreamFramesRequest req = LONGWAVE__NS__V1__STREAM_FRAMES_REQUEST__INIT;
	char dev[] = DEV;
	req.dev_eui = dev;
	req.limit = limit;
	req.after_id = (char *)(uintptr_t)after;
	return call(w, "ListFrames", &req.base, &longwave__ns__v1__list_frames_response__descriptor);
}

/* More than a queue may hold is refused, item by item, whatever the order of one request; what is listed has an end. */
static void test_full_queue(void **state)
{
	struct world *w = *state;
	const ProtobufCMessageDescriptor *out = &longwave__ns__v1__enqueue_response__descriptor;
	Longwave__Ns__V1__EnqueueRequest req = LONGWAVE__NS__V1__ENQUEUE_REQUEST__INIT;
	Longwave__Ns__V1__ListQueueRequest some = LONGWAVE__NS__V1__LIST_QUEUE_REQUEST__INIT;
	struct item it[5];
	Longwave__Ns__V1__QueueItem *v[5];
	ns_api_open(w->api);
	put_device(w);
	rig_put_device(w->rig, 2);
	for (unsigned i = 0; i < 5; i++)
		v[i] = item(&it[i], i == 3 ? "0000000000000002" : DEV, i + 1, 7);
	req.items = v;
	req.n_items = 2;
	assert_int_equal(call(w, "Enqueue", &req.base, out), GRPC_OK);
	/* Two again, one that fits, another device's, and one too many. */
	req.n_items = 5;
	assert_int_equal(call(w, "Enqueue", &req.base, out), GRPC_OK);
	const Longwave__Ns__V1__EnqueueResponse *r = (Longwave__Ns__V1__EnqueueResponse *)w->resp;
	static const uint32_t WANTED[] = {GRPC_ALREADY_EXISTS, GRPC_ALREADY_EXISTS, GRPC_RESOURCE_EXHAUSTED, GRPC_OK,
					  GRPC_RESOURCE_EXHAUSTED};
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(r->statuses[i], WANTED[i]);
	assert_string_equal(r->errors[4], "the device's queue is full: it holds 3 items (network.device_queue_items)");
	assert_int_equal(w->refused, 2);
	req.items = &v[2];
	req.n_items = 1;
	assert_int_equal(call(w, "Enqueue", &req.base, out), GRPC_OK);
	req.items = &v[4];
	assert_int_equal(call(w, "Enqueue", &req.base, out), GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(w->refused, 3);
	/* One that waits is known, however full the queue is. */
	req.items = v;
	assert_int_equal(call(w, "Enqueue", &req.base, out), GRPC_ALREADY_EXISTS);
	assert_int_equal(w->refused, 3);
	/* It is told of which one, whatever stood before it; what another replica has added meanwhile counts, too. */
	struct item odd[3];
	Longwave__Ns__V1__QueueItem *mixed[3] = {item(&odd[0], "00000000000000ff", 20, 7), item(&odd[1], DEV, 21, 0),
						 item(&odd[2], DEV, 0x22, 7)};
	uint64_t position = w->rig->store->next_position;
	w->rig->store->next_position = 0; /* before theirs */
	req.items = mixed;
	req.n_items = 3;
	assert_int_equal(call(w, "Enqueue", &req.base, out), GRPC_OK);
	w->rig->store->next_position = position;
	r = (Longwave__Ns__V1__EnqueueResponse *)w->resp;
	assert_int_equal(r->statuses[0], GRPC_NOT_FOUND);
	assert_int_equal(r->statuses[1], GRPC_INVALID_ARGUMENT);
	assert_int_equal(r->statuses[2], GRPC_RESOURCE_EXHAUSTED);
	assert_int_equal(w->refused, 4);
	assert_int_equal(w->refused_item.b[15], 0x22);
	req.items = v;
	assert_int_equal(list(w)->n_items, 3);
	assert_int_equal(((Longwave__Ns__V1__ListQueueResponse *)w->resp)->total, 3);
	some.dev_eui = (char *)(uintptr_t)DEV;
	some.limit = 2;
	assert_int_equal(call(w, "ListQueue", &some.base, &longwave__ns__v1__list_queue_response__descriptor), GRPC_OK);
	const Longwave__Ns__V1__ListQueueResponse *l = (Longwave__Ns__V1__ListQueueResponse *)w->resp;
	assert_int_equal(l->n_items, 2);
	assert_int_equal(l->total, 3);
	assert_string_equal(l->items[0]->id, it[0].id);
	/* Emptied first, three fit. */
	for (unsigned i = 0; i < 5; i++)
		v[i] = item(&it[i], DEV, i + 10, 7);
	req.flush_queue = true;
	req.n_items = 5;
	assert_int_equal(call(w, "Enqueue", &req.base, out), GRPC_OK);
	r = (Longwave__Ns__V1__EnqueueResponse *)w->resp;
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(r->statuses[i], i < 3 ? GRPC_OK : GRPC_RESOURCE_EXHAUSTED);
	drop_answer(w);
}

static void test_frames(void **state)
{
	struct world *w = *state;
	ns_api_open(w->api);
	for (uint32_t i = 0; i < 8; i++) {
		Longwave__Ns__V1__Frame f = LONGWAVE__NS__V1__FRAME__INIT;
		char dev[] = DEV;
		f.dev_eui = dev;
		f.f_cnt = i;
		ns_frame_log_put(w->log, &f);
	}
	assert_int_equal(list_frames(w, 5, ""), GRPC_OK);
	const Longwave__Ns__V1__ListFramesResponse *r = (Longwave__Ns__V1__ListFramesResponse *)w->resp;
	assert_int_equal(r->n_frames, 5);
	assert_int_equal(r->frames[0]->f_cnt, 3);
	assert_int_equal(r->frames[4]->f_cnt, 7);
	char after[32];
	snprintf(after, sizeof(after), "%s", r->frames[2]->id);
	assert_int_equal(list_frames(w, 5, after), GRPC_OK);
	r = (Longwave__Ns__V1__ListFramesResponse *)w->resp;
	assert_int_equal(r->n_frames, 2);
	assert_int_equal(r->frames[0]->f_cnt, 6);
	Longwave__Ns__V1__StreamFramesRequest none = LONGWAVE__NS__V1__STREAM_FRAMES_REQUEST__INIT;
	assert_int_equal(call(w, "ListFrames", &none.base, &longwave__ns__v1__list_frames_response__descriptor),
			 GRPC_INVALID_ARGUMENT);
	/* Redis stops answering in the middle, or is away: an error, not a wait without end. */
	fix_freeze(w->redis_server.pid);
	assert_int_equal(list_frames(w, 5, ""), GRPC_UNAVAILABLE);
	fix_thaw(w->redis_server.pid);
	fix_kill9(&w->redis_server);
	bool never = false;
	for (int i = 0; i < 5000 && w->redis_up; i++)
		rt_loop_run_until(w->rig->loop, &never, 1);
	assert_int_equal(list_frames(w, 5, ""), GRPC_UNAVAILABLE);
	drop_answer(w);
}

static void test_regions(void **state)
{
	struct world *w = *state;
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
	ns_api_open(w->api);
	assert_int_equal(call(w, "ListRegions", &empty.base, &longwave__ns__v1__list_regions_response__descriptor),
			 GRPC_OK);
	const Longwave__Ns__V1__ListRegionsResponse *r = (Longwave__Ns__V1__ListRegionsResponse *)w->resp;
	assert_int_equal(r->n_regions, 1);
	assert_string_equal(r->regions[0]->id, "eu868");
	assert_true(r->regions[0]->n_uplink_frequencies_hz >= 3);
	drop_answer(w);
}

/* A region configuration that is not there is named, and so are those that are. */
static void test_unknown_region(void **state)
{
	struct world *w = *state;
	Longwave__Ns__V1__SendProprietaryRequest frame_req = LONGWAVE__NS__V1__SEND_PROPRIETARY_REQUEST__INIT;
	Longwave__Ns__V1__ProprietaryFrame frame = LONGWAVE__NS__V1__PROPRIETARY_FRAME__INIT;
	Longwave__Ns__V1__ActivateRequest req = LONGWAVE__NS__V1__ACTIVATE_REQUEST__INIT;
	Longwave__Ns__V1__Session s = LONGWAVE__NS__V1__SESSION__INIT;
	uint8_t byte = 1;
	frame.payload = (ProtobufCBinaryData){1, &byte};
	frame.region_config_id = (char *)(uintptr_t) "mars";
	frame_req.frame = &frame;
	ns_api_open(w->api);
	assert_int_equal(
		call(w, "SendProprietary", &frame_req.base, &longwave__ns__v1__send_proprietary_response__descriptor),
		GRPC_INVALID_ARGUMENT);
	assert_string_equal(w->message, "frame.region_config_id: mars is not enabled here; enabled are eu868");
	put_device(w);
	s.dev_eui = (char *)(uintptr_t)DEV;
	s.region_config_id = (char *)(uintptr_t) "us915_9";
	req.session = &s;
	assert_int_equal(call_empty(w, "Activate", &req.base), GRPC_FAILED_PRECONDITION);
	assert_string_equal(w->message,
			    "region_config_id: us915_9 is not enabled here; of its region are enabled: eu868");
}

/* Each reason why a gateway was not asked has its own words. */
static void test_proprietary(void **state)
{
	static const struct {
		int err;
		const char *words;
	} v[] = {
		{0, ""},
		{LW_ENOTFOUND, "region is not known"},
		{LW_EINVAL, "outside the region"},
		{LW_EUNAVAILABLE, "broker is away"},
		{LW_ETIMEDOUT, "epoch is past"},
		{LW_ERANGE, "further ahead"},
		{LW_EEXHAUSTED, "duty cycle"},
		{LW_EBIG, "dwell time"},
		{LW_EAGAIN, "something else"},
	};
	struct world *w = *state;
	Longwave__Ns__V1__SendProprietaryRequest req = LONGWAVE__NS__V1__SEND_PROPRIETARY_REQUEST__INIT;
	Longwave__Ns__V1__ProprietaryFrame frame = LONGWAVE__NS__V1__PROPRIETARY_FRAME__INIT;
	Gw__Modulation modulation = GW__MODULATION__INIT;
	Gw__FskModulationInfo fsk = GW__FSK_MODULATION_INFO__INIT;
	char gateway[] = "0000000000000002", *gateways[] = {gateway};
	uint8_t byte = 1;
	fsk.datarate = 50000;
	modulation.parameters_case = GW__MODULATION__PARAMETERS_FSK;
	modulation.fsk = &fsk;
	frame.payload = (ProtobufCBinaryData){1, &byte};
	frame.frequency_hz = 868100000;
	frame.modulation = &modulation;
	req.frame = &frame;
	req.gateway_ids = gateways;
	req.n_gateway_ids = 1;
	ns_api_open(w->api);
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		w->proprietary = v[i].err;
		assert_int_equal(
			call(w, "SendProprietary", &req.base, &longwave__ns__v1__send_proprietary_response__descriptor),
			GRPC_OK);
		const Longwave__Ns__V1__SendProprietaryResponse *r = (const void *)w->resp;
		assert_int_equal(r->n_results, 1);
		assert_string_equal(r->results[0]->gateway_id, gateway);
		assert_int_equal(r->results[0]->error[0] != 0, v[i].err != 0);
		assert_non_null(strstr(r->results[0]->error, v[i].words));
		drop_answer(w);
	}
}

/* The caller goes, or the daemon ends, while the database is asked. */
static void test_gone_in_between(void **state)
{
	struct world *w = *state;
	ns_api_open(w->api);
	put_device(w);
	assert_int_equal(activate(w, 1, false), GRPC_OK);
	for (int i = 0; i < 8; i++) {
		struct grpc_client_request r = {.path = SERVICE "GetNextFCntDown",
						.output = &longwave__ns__v1__get_next_fcnt_down_response__descriptor};
		uint64_t id = grpc_client_call(w->client, &r, &device(DEV)->base, on_answer, w);
		for (int k = 0; k < i; k++)
			rt_loop_turn(w->rig->loop);
		grpc_client_cancel(w->client, id);
		ns_cache_drop(w->rig->store, rig_eui(1));
	}
	struct grpc_client_request r = {.path = SERVICE "ListQueue",
					.output = &longwave__ns__v1__list_queue_response__descriptor};
	grpc_client_call(w->client, &r, &device(DEV)->base, on_answer, w);
	for (int k = 0; k < 5; k++)
		rt_loop_turn(w->rig->loop);
	/* teardown ends everything with the question still open */
}

#define BOTH(fn)                                                                                                       \
	{#fn " [sqlite]", fn, setup_lite, teardown, NULL},                                                             \
	{                                                                                                              \
#fn " [postgres]", fn, setup_pg, teardown, NULL                                                        \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_not_before_ready),
		BOTH(test_mac_commands),
		BOTH(test_sessions),
		BOTH(test_prepare),
		BOTH(test_queue),
		BOTH(test_gone_in_between),
		{"test_full_queue [sqlite]", test_full_queue, setup_short_lite, teardown, NULL},
		{"test_full_queue [postgres]", test_full_queue, setup_short_pg, teardown, NULL},
		{"test_frames", test_frames, setup_lite, teardown, NULL},
		{"test_proprietary", test_proprietary, setup_lite, teardown, NULL},
		{"test_regions", test_regions, setup_lite, teardown, NULL},
		{"test_unknown_region", test_unknown_region, setup_lite, teardown, NULL},
	};
	return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
