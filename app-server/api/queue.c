/* The downlink queue, which lives in the network-server. */
#include <stdlib.h>
#include <string.h>

#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/domain/payload.h"
#include "app-server/link/enqueue.h"
#include "app-server/store/row.h"
#include "common/base/bug.h"
#include "proto/api/device.pb-c.h"
#include "proto/google/protobuf/empty.pb-c.h"

/* Largest FRMPayload that any data rate of any region carries. */
#define MAX_DATA 242

static void on_enqueued(struct as_enqueue *e, int status, const char *message)
{
	struct as_call *c = e->arg;
	char id[LW_UUID_TEXT];
	Api__EnqueueDeviceQueueItemResponse resp = API__ENQUEUE_DEVICE_QUEUE_ITEM_RESPONSE__INIT;
	if (status != GRPC_OK) {
		as_fail(c, status, "network-server: %s", message);
		return;
	}
	resp.id = lw_uuid_print(e->id, id);
	as_reply(c, &resp.base);
}

void as_queue_enqueue(struct as_call *c)
{
	const Api__EnqueueDeviceQueueItemRequest *req = c->req;
	const Api__DeviceQueueItem *item = req->queue_item;
	struct as_enqueue *e = LW_ARENA_NEW(c->arena, struct as_enqueue);

	if (item->f_port < 1 || item->f_port > 255) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "FPort must be between 1 - 255");
		return;
	}
	if (item->data.len > MAX_DATA) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "data is longer than %d bytes", MAX_DATA);
		return;
	}
	if (item->object && item->data.len == 0) {
		as_fail(c, GRPC_UNIMPLEMENTED, "payload codecs are not available yet: give data instead of object");
		return;
	}
	e->id = lw_uuid_new(&c->as->rng);
	memcpy(e->dev_eui, c->object_id, sizeof(e->dev_eui));
	e->f_port = item->f_port;
	e->confirmed = item->confirmed;
	e->data = lw_span(item->data.data, item->data.len);
	e->is_encrypted = item->is_encrypted;
	e->f_cnt_down = item->f_cnt_down;
	e->expires_at_us = as_timestamp_us(item->expires_at);
	e->flush_queue = req->flush_queue;
	e->done = on_enqueued;
	e->arg = c;
	as_enqueue(c->as, e);
}

static Longwave__Ns__V1__DeviceRequest device_request(const struct as_call *c)
{
	Longwave__Ns__V1__DeviceRequest req = LONGWAVE__NS__V1__DEVICE_REQUEST__INIT;
	req.dev_eui = (char *)(uintptr_t)c->object_id;
	return req;
}

static void on_flushed(struct as_call *c, const ProtobufCMessage *resp)
{
	(void)resp;
	as_reply_empty(c);
}

void as_queue_flush(struct as_call *c)
{
	Longwave__Ns__V1__DeviceRequest req = device_request(c);
	as_ns(c, "FlushQueue", &req.base, &google__protobuf__empty__descriptor, on_flushed);
}

static void fill_item(struct as_call *c, const Longwave__Ns__V1__QueueItem *in, Api__DeviceQueueItem *out)
{
	out->id = in->id;
	out->dev_eui = (char *)(uintptr_t)c->object_id;
	out->confirmed = in->confirmed;
	out->f_port = in->f_port;
	out->is_pending = in->is_pending;
	out->is_encrypted = in->is_encrypted_by_caller;
	out->f_cnt_down = in->is_encrypted_by_caller && !in->is_pending ? in->first_f_cnt : in->f_cnt_down;
	out->expires_at = in->expires_at;
	if (in->is_encrypted_by_caller) {
		if (in->n_frm_payloads)
			out->data = in->frm_payloads[0];
		return;
	}
	if (in->sealed.len < AS_SEAL_OVERHEAD)
		return;
	uint8_t *data = lw_arena_alloc(c->arena, in->sealed.len);
	BUG_ON(!data);
	int n = as_payload_unseal(c->as->keys, &c->as->secrets.seal, in->id, lw_span(in->sealed.data, in->sealed.len),
				  data);
	if (n >= 0)
		out->data = (ProtobufCBinaryData){.len = (size_t)n, .data = data};
}

static void on_list(struct as_call *c, const ProtobufCMessage *msg)
{
	const Api__GetDeviceQueueItemsRequest *req = c->req;
	const Longwave__Ns__V1__ListQueueResponse *in = (const void *)msg;
	Api__GetDeviceQueueItemsResponse *resp =
		as_msg_new(c->arena, &api__get_device_queue_items_response__descriptor);

	resp->total_count = in->total;
	if (!req->count_only) {
		Api__DeviceQueueItem **v = (void *)as_msg_list(c->arena, &resp->base, "result", in->n_items);
		for (size_t i = 0; i < in->n_items; i++)
			fill_item(c, in->items[i], v[i]);
	}
	as_reply(c, &resp->base);
}

void as_queue_list(struct as_call *c)
{
	Longwave__Ns__V1__ListQueueRequest req = LONGWAVE__NS__V1__LIST_QUEUE_REQUEST__INIT;
	req.dev_eui = (char *)(uintptr_t)c->object_id;
	req.limit = ((const Api__GetDeviceQueueItemsRequest *)c->req)->count_only ? 1 : 0;
	req.without_payloads = true;
	as_ns(c, "ListQueue", &req.base, &longwave__ns__v1__list_queue_response__descriptor, on_list);
}

static void on_next(struct as_call *c, const ProtobufCMessage *msg)
{
	Api__GetDeviceNextFCntDownResponse resp = API__GET_DEVICE_NEXT_FCNT_DOWN_RESPONSE__INIT;
	resp.f_cnt_down = ((const Longwave__Ns__V1__GetNextFCntDownResponse *)(const void *)msg)->f_cnt_down;
	as_reply(c, &resp.base);
}

void as_queue_next_fcnt(struct as_call *c)
{
	Longwave__Ns__V1__DeviceRequest req = device_request(c);
	as_ns(c, "GetNextFCntDown", &req.base, &longwave__ns__v1__get_next_fcnt_down_response__descriptor, on_next);
}
