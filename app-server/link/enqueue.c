#include "app-server/link/enqueue.h"

#include <string.h>

#include "app-server/as.h"
#include "app-server/domain/payload.h"
#include "app-server/store/session.h"
#include "common/base/clock.h"
#include "common/base/time.h"
#include "common/io/grpc_client.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

#define DEADLINE_MS 10000

static void call(struct as_enqueue *e, const char *path, const ProtobufCMessage *req,
		 const ProtobufCMessageDescriptor *output, grpc_done_fn *done)
{
	struct grpc_client_request r = {.path = path, .deadline_ms = DEADLINE_MS, .output = output};
	grpc_client_call(e->as->ns, &r, req, done, e);
}

static void call_device(struct as_enqueue *e, const char *path, const ProtobufCMessageDescriptor *output,
			grpc_done_fn *done)
{
	Longwave__Ns__V1__DeviceRequest req = LONGWAVE__NS__V1__DEVICE_REQUEST__INIT;
	req.dev_eui = e->dev_eui;
	call(e, path, &req.base, output, done);
}

static void on_enqueued(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct as_enqueue *e = arg;
	const Longwave__Ns__V1__EnqueueResponse *r = (const void *)resp;
	lw_wipe(&e->app_s_key, sizeof(e->app_s_key));
	if (status == GRPC_OK && r->n_errors > 0 && r->errors[0][0])
		e->done(e, GRPC_FAILED_PRECONDITION, r->errors[0]);
	else
		e->done(e, status, message);
}

static void send(struct as_enqueue *e, uint32_t first)
{
	char id[LW_UUID_TEXT];
	uint8_t nonce[16];
	uint8_t sealed[AS_PAYLOAD_MAX + AS_SEAL_OVERHEAD];
	uint8_t window[AS_PAYLOAD_WINDOW * AS_PAYLOAD_MAX];
	ProtobufCBinaryData payloads[AS_PAYLOAD_WINDOW];
	Google__Protobuf__Timestamp expires = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	Longwave__Ns__V1__QueueItem item = LONGWAVE__NS__V1__QUEUE_ITEM__INIT;
	Longwave__Ns__V1__QueueItem *items[] = {&item};
	Longwave__Ns__V1__EnqueueRequest req = LONGWAVE__NS__V1__ENQUEUE_REQUEST__INIT;

	item.id = lw_uuid_print(e->id, id);
	item.dev_eui = e->dev_eui;
	item.f_port = e->f_port;
	item.confirmed = e->confirmed;
	item.first_f_cnt = first;
	item.frm_payloads = payloads;
	if (e->is_encrypted) {
		item.is_encrypted_by_caller = true;
		item.n_frm_payloads = 1;
		payloads[0] = (ProtobufCBinaryData){.len = e->data.n, .data = (uint8_t *)(uintptr_t)e->data.p};
	} else {
		if (e->has_key) {
			as_payload_encrypt_down(e->as->keys, &e->app_s_key, e->addr, first, AS_PAYLOAD_WINDOW, e->data,
						window);
			item.n_frm_payloads = AS_PAYLOAD_WINDOW;
			for (size_t i = 0; i < AS_PAYLOAD_WINDOW; i++)
				payloads[i] = (ProtobufCBinaryData){.len = e->data.n, .data = window + i * e->data.n};
		}
		lw_rng_fill(&e->as->rng, nonce, sizeof(nonce));
		item.sealed.data = sealed;
		item.sealed.len = as_payload_seal(e->as->keys, &e->as->secrets.seal, id, nonce, e->data, sealed);
	}
	item.session_key_id = (ProtobufCBinaryData){.len = e->session_key_id_len, .data = e->session_key_id};
	if (e->expires_at_us) {
		struct lw_sec_nanos t = lw_split_ns(e->expires_at_us * LW_NS_PER_US);
		expires.seconds = t.sec;
		expires.nanos = t.nanos;
		item.expires_at = &expires;
	}
	req.n_items = 1;
	req.items = items;
	req.flush_queue = e->flush_queue;
	call(e, "/longwave.ns.v1.NetworkServer/Enqueue", &req.base, &longwave__ns__v1__enqueue_response__descriptor,
	     on_enqueued);
}

static void on_next(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct as_enqueue *e = arg;
	if (status != GRPC_OK)
		e->done(e, status, message);
	else
		send(e, ((const Longwave__Ns__V1__GetNextFCntDownResponse *)(const void *)resp)->f_cnt_down);
}

static void on_key(void *arg, int err, const struct lw_key *key)
{
	struct as_enqueue *e = arg;
	if (err < 0 && err != LW_ENOTFOUND) {
		e->done(e, GRPC_UNAVAILABLE, "the database is not available");
		return;
	}
	e->has_key = err == 0;
	if (e->has_key)
		e->app_s_key = *key;
	call_device(e, "/longwave.ns.v1.NetworkServer/GetNextFCntDown",
		    &longwave__ns__v1__get_next_fcnt_down_response__descriptor, on_next);
}

static void on_session(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct as_enqueue *e = arg;
	if (status != GRPC_OK) {
		e->done(e, status, message);
		return;
	}
	const Longwave__Ns__V1__Session *s =
		((const Longwave__Ns__V1__GetSessionResponse *)(const void *)resp)->session;
	if (!s || s->session_key_id.len > sizeof(e->session_key_id) || lw_devaddr_parse(&e->addr, s->dev_addr) < 0) {
		send(e, 0);
		return;
	}
	e->session_key_id_len = s->session_key_id.len;
	if (e->session_key_id_len)
		memcpy(e->session_key_id, s->session_key_id.data, s->session_key_id.len);
	as_session_key(e->as, e->dev_eui, lw_span(e->session_key_id, e->session_key_id_len), on_key, e);
}

void as_enqueue(struct as *as, struct as_enqueue *e)
{
	e->as = as;
	e->has_key = false;
	e->session_key_id_len = 0;
	if (e->is_encrypted)
		send(e, e->f_cnt_down);
	else
		call_device(e, "/longwave.ns.v1.NetworkServer/GetSession",
			    &longwave__ns__v1__get_session_response__descriptor, on_session);
}
