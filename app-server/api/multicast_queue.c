/* The queue of a multicast group, which lives in the network-server: it knows the next counter, we know the McAppSKey.
 */
#include <string.h>

#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/domain/payload.h"
#include "app-server/store/row.h"
#include "common/base/bug.h"
#include "common/io/grpc_client.h"
#include "proto/api/multicast_group.pb-c.h"
#include "proto/google/protobuf/empty.pb-c.h"

#define MAX_DATA 242
#define DEADLINE_MS 10000
/* Others that enqueue to the same group at the same moment use up the counters that we encrypted for. */
#define TRIES 8

static const struct sql_stmt select_keys = {
	.name = "as_multicast_keys",
	.text = "SELECT mc_addr, mc_app_s_key FROM multicast_group WHERE id = $1",
	.params = "t",
	.cols = "tt",
};

struct keys {
	struct lw_devaddr addr;
	struct lw_key app_s_key;
	unsigned tries;
};

/* False after as_fail(). */
static bool take_keys(struct as_call *c, const struct sql_result *r)
{
	struct keys *k = LW_ARENA_NEW(c->arena, struct keys);
	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
		return false;
	}
	if (lw_devaddr_parse(&k->addr, sql_text(r, 0, 0)) < 0 || lw_key_parse(&k->app_s_key, sql_text(r, 0, 1)) < 0) {
		as_fail_row(c, "multicast_group", c->object_id, "mc_addr or mc_app_s_key");
		return false;
	}
	c->state = k;
	return true;
}

static void forget_keys(struct as_call *c)
{
	struct keys *k = c->state;
	lw_wipe(&k->app_s_key, sizeof(k->app_s_key));
}

/* What an answer other than OK ends with: the keys are not kept for it. */
static void refused(struct as_call *c, int status, const char *message)
{
	forget_keys(c);
	as_fail(c, status, "network-server: %s", message);
}

static Longwave__Ns__V1__MulticastGroupRequest group_request(const struct as_call *c)
{
	Longwave__Ns__V1__MulticastGroupRequest req = LONGWAVE__NS__V1__MULTICAST_GROUP_REQUEST__INIT;
	req.id = (char *)(uintptr_t)c->object_id;
	return req;
}

/* With keys in c->state, so that the answer, whichever, comes to `done`. */
static void ask_with_keys(struct as_call *c, const char *path, const ProtobufCMessageDescriptor *output,
			  grpc_done_fn *done)
{
	Longwave__Ns__V1__MulticastGroupRequest req = group_request(c);
	struct grpc_client_request r = {.path = path, .deadline_ms = DEADLINE_MS, .output = output};
	grpc_client_call(c->as->ns, &r, &req.base, done, c);
}

/* ---- enqueue ---- */

static void ask_counter(struct as_call *c);

static void on_enqueued(void *arg, int status, const char *message, const ProtobufCMessage *msg)
{
	struct as_call *c = arg;
	struct keys *k = c->state;
	Api__EnqueueMulticastGroupQueueItemResponse resp = API__ENQUEUE_MULTICAST_GROUP_QUEUE_ITEM_RESPONSE__INIT;
	if (status == GRPC_ABORTED && ++k->tries < TRIES) {
		ask_counter(c);
		return;
	}
	if (status != GRPC_OK) {
		refused(c, status, message);
		return;
	}
	forget_keys(c);
	resp.f_cnt = ((const Longwave__Ns__V1__EnqueueMulticastResponse *)(const void *)msg)->f_cnt;
	as_reply(c, &resp.base);
}

static void send_item(struct as_call *c, const ProtobufCMessage *msg)
{
	const Api__MulticastGroupQueueItem *in =
		((const Api__EnqueueMulticastGroupQueueItemRequest *)c->req)->queue_item;
	const struct keys *k = c->state;
	Longwave__Ns__V1__EnqueueMulticastRequest req = LONGWAVE__NS__V1__ENQUEUE_MULTICAST_REQUEST__INIT;
	Longwave__Ns__V1__MulticastItem item = LONGWAVE__NS__V1__MULTICAST_ITEM__INIT;
	ProtobufCBinaryData payloads[AS_PAYLOAD_WINDOW];
	uint8_t bytes[AS_PAYLOAD_WINDOW * MAX_DATA];
	struct grpc_client_request r = {.path = "/longwave.ns.v1.NetworkServer/EnqueueMulticast",
					.deadline_ms = DEADLINE_MS,
					.output = &longwave__ns__v1__enqueue_multicast_response__descriptor};
	item.id = (char *)(uintptr_t)c->object_id2;
	item.multicast_group_id = (char *)(uintptr_t)c->object_id;
	item.f_port = in->f_port;
	item.first_f_cnt = ((const Longwave__Ns__V1__GetMulticastGroupResponse *)(const void *)msg)->f_cnt;
	item.expires_at = in->expires_at;
	as_payload_encrypt_down(c->as->keys, &k->app_s_key, k->addr, item.first_f_cnt, AS_PAYLOAD_WINDOW,
				lw_span(in->data.data, in->data.len), bytes);
	for (size_t i = 0; i < AS_PAYLOAD_WINDOW; i++)
		payloads[i] = (ProtobufCBinaryData){.len = in->data.len, .data = bytes + i * in->data.len};
	item.frm_payloads = payloads;
	item.n_frm_payloads = AS_PAYLOAD_WINDOW;
	req.item = &item;
	grpc_client_call(c->as->ns, &r, &req.base, on_enqueued, c);
}

static void on_counter(void *arg, int status, const char *message, const ProtobufCMessage *msg)
{
	if (status == GRPC_OK)
		send_item(arg, msg);
	else
		refused(arg, status, message);
}

static void ask_counter(struct as_call *c)
{
	ask_with_keys(c, "/longwave.ns.v1.NetworkServer/GetMulticastGroup",
		      &longwave__ns__v1__get_multicast_group_response__descriptor, on_counter);
}

static void with_keys(struct as_call *c, const struct sql_result *r)
{
	if (take_keys(c, r))
		ask_counter(c);
}

void as_multicast_enqueue(struct as_call *c)
{
	const Api__MulticastGroupQueueItem *item =
		((const Api__EnqueueMulticastGroupQueueItemRequest *)c->req)->queue_item;
	if (item->f_port < 1 || item->f_port > 255) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "FPort must be between 1 - 255");
		return;
	}
	if (item->data.len > MAX_DATA) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "data is longer than %d bytes", MAX_DATA);
		return;
	}
	c->object_id2 = as_new_uuid(c);
	as_query_text(c, &select_keys, c->object_id, with_keys);
}

/* ---- flush ---- */

static void on_flushed(struct as_call *c, const ProtobufCMessage *resp)
{
	(void)resp;
	as_reply_empty(c);
}

void as_multicast_flush(struct as_call *c)
{
	Longwave__Ns__V1__MulticastGroupRequest req = group_request(c);
	as_ns(c, "FlushMulticastQueue", &req.base, &google__protobuf__empty__descriptor, on_flushed);
}

/* ---- list ---- */

static void fill_item(struct as_call *c, const Longwave__Ns__V1__MulticastItem *in, Api__MulticastGroupQueueItem *out)
{
	const struct keys *k = c->state;
	out->multicast_group_id = (char *)(uintptr_t)c->object_id;
	out->f_cnt = in->f_cnt;
	out->f_port = in->f_port;
	out->expires_at = in->expires_at;
	if (in->n_frm_payloads == 0 || in->frm_payloads[0].len == 0 || in->frm_payloads[0].len > MAX_DATA)
		return;
	out->data.len = in->frm_payloads[0].len;
	out->data.data = lw_arena_alloc(c->arena, out->data.len);
	BUG_ON(!out->data.data);
	/* Encrypting again is decrypting. */
	as_payload_encrypt_down(c->as->keys, &k->app_s_key, k->addr, in->f_cnt, 1,
				lw_span(in->frm_payloads[0].data, out->data.len), out->data.data);
}

static void on_list(void *arg, int status, const char *message, const ProtobufCMessage *msg)
{
	struct as_call *c = arg;
	const Longwave__Ns__V1__ListMulticastQueueResponse *in = (const void *)msg;
	if (status != GRPC_OK) {
		refused(c, status, message);
		return;
	}
	Api__ListMulticastGroupQueueResponse *resp =
		as_msg_new(c->arena, &api__list_multicast_group_queue_response__descriptor);
	Api__MulticastGroupQueueItem **v = (void *)as_msg_list(c->arena, &resp->base, "items", in->n_items);
	for (size_t i = 0; i < in->n_items; i++)
		fill_item(c, in->items[i], v[i]);
	resp->total_count = in->total;
	forget_keys(c);
	as_reply(c, &resp->base);
}

static void list_with_keys(struct as_call *c, const struct sql_result *r)
{
	if (take_keys(c, r))
		ask_with_keys(c, "/longwave.ns.v1.NetworkServer/ListMulticastQueue",
			      &longwave__ns__v1__list_multicast_queue_response__descriptor, on_list);
}

void as_multicast_list_queue(struct as_call *c)
{
	as_query_text(c, &select_keys, c->object_id, list_with_keys);
}
