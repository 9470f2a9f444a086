/* The downlink queue as the API shows it. */
#include <stdlib.h>
#include <string.h>

#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "network-server/link/api_impl.h"

#define MAX_ITEMS 1000

/* "" when the item can be taken. */
static const char *check_item(const Longwave__Ns__V1__QueueItem *item)
{
	struct lw_dev_eui eui;
	struct lw_uuid id;
	if (lw_dev_eui_parse(&eui, item->dev_eui))
		return "dev_eui is not an EUI of 16 hex digits";
	if (lw_uuid_parse(&id, item->id))
		return "id is not a UUID";
	if (item->f_port < 1 || item->f_port > 255)
		return "f_port wants 1 to 255";
	/* None: the device had no session yet; its first one asks for them, as for one that does not fit any more. */
	if (item->n_frm_payloads > NS_QUEUE_PAYLOADS || (!item->n_frm_payloads && !item->sealed.len))
		return "1 to 16 frm_payloads are wanted, or none with sealed";
	if (item->is_encrypted_by_caller && item->n_frm_payloads != 1)
		return "an item encrypted by the caller has exactly one payload";
	for (size_t i = 0; i < item->n_frm_payloads; i++)
		if (item->frm_payloads[i].len > 242 || item->frm_payloads[i].len != item->frm_payloads[0].len)
			return "payloads of one length, at most 242 bytes, are wanted";
	return "";
}

/* Devices are looked up first: an item for nobody is refused, not stored. */
struct enqueue_call {
	struct ns_api *api;
	struct grpc_call *call;
	const Longwave__Ns__V1__EnqueueRequest *req;
	Longwave__Ns__V1__EnqueueRequest accepted;
	const char **errors;
	struct ns_fetch *fetches;
	size_t waiting;
};

static void free_enqueue(struct enqueue_call *e)
{
	free(e->fetches);
	free(e->errors);
	free(e->accepted.items);
	free(e);
}

static void on_enqueued(void *arg, int err)
{
	struct enqueue_call *e = arg;
	Longwave__Ns__V1__EnqueueResponse resp = LONGWAVE__NS__V1__ENQUEUE_RESPONSE__INIT;
	struct lw_arena *arena = grpc_call_arena(e->call);
	struct lw_dev_eui eui;
	if (err) {
		ns_api_fail(e->call, err, "the queue cannot be written");
		free_enqueue(e);
		return;
	}
	resp.errors = LW_ARENA_ARRAY(arena, char *, e->req->n_items ? e->req->n_items : 1);
	for (size_t i = 0; resp.errors && i < e->req->n_items; i++)
		resp.errors[resp.n_errors++] = lw_arena_strdup(arena, e->errors[i]);
	/* The request, and with it the items, lives as long as the call. */
	struct grpc_call *call = grpc_call_ref(e->call);
	grpc_call_reply(call, &resp.base);
	for (size_t i = 0; i < e->accepted.n_items; i++) {
		/* Once per device of a run of items. */
		if (i && strcmp(e->accepted.items[i]->dev_eui, e->accepted.items[i - 1]->dev_eui) == 0)
			continue;
		if (lw_dev_eui_parse(&eui, e->accepted.items[i]->dev_eui) == 0)
			e->api->o.on_enqueued(e->api->o.arg, eui);
	}
	free_enqueue(e);
	grpc_call_unref(call);
}

static void on_device(struct ns_fetch *req)
{
	struct enqueue_call *e = req->owner;
	size_t i = (size_t)(req - e->fetches);
	if (req->err)
		e->errors[i] = "the device cannot be read";
	else if (!req->n)
		e->errors[i] = "device does not exist";
	if (--e->waiting)
		return;
	longwave__ns__v1__enqueue_request__init(&e->accepted);
	e->accepted.flush_queue = e->req->flush_queue;
	e->accepted.items = lw_xcalloc(e->req->n_items ? e->req->n_items : 1, sizeof(*e->accepted.items));
	for (size_t k = 0; k < e->req->n_items; k++)
		if (!e->errors[k][0])
			e->accepted.items[e->accepted.n_items++] = e->req->items[k];
	if (e->accepted.n_items)
		ns_store_enqueue(e->api->o.store, &e->accepted, on_enqueued, e);
	else
		on_enqueued(e, 0);
}

void ns_api_enqueue(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	const Longwave__Ns__V1__EnqueueRequest *r = (const Longwave__Ns__V1__EnqueueRequest *)req;
	struct ns_api *a = arg;
	if (!r->n_items || r->n_items > MAX_ITEMS) {
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "1 to 1000 items are wanted");
		return;
	}
	struct enqueue_call *e = lw_xcalloc(1, sizeof(*e));
	e->api = a;
	e->call = c;
	e->req = r;
	e->errors = lw_xcalloc(r->n_items, sizeof(*e->errors));
	e->fetches = lw_xcalloc(r->n_items, sizeof(*e->fetches));
	struct ns_fetch **v = lw_xcalloc(r->n_items, sizeof(struct ns_fetch *));
	size_t n = 0;
	for (size_t i = 0; i < r->n_items; i++) {
		struct ns_fetch *f = &e->fetches[i];
		e->errors[i] = check_item(r->items[i]);
		if (e->errors[i][0])
			continue;
		*f = (struct ns_fetch){.arena = grpc_call_arena(c), .done = on_device, .owner = e};
		lw_dev_eui_parse(&f->dev_eui, r->items[i]->dev_eui);
		v[n++] = f;
	}
	e->waiting = n;
	if (n) {
		struct ns_store_port port;
		ns_store_fill_port(a->o.store, &port);
		port.fetch(port.self, v, n);
	} else {
		on_enqueued(e, 0);
	}
	free(v);
}

static void on_list(void *arg, int err, Longwave__Ns__V1__QueueItem **v, size_t n)
{
	struct grpc_call *c = arg;
	Longwave__Ns__V1__ListQueueResponse resp = LONGWAVE__NS__V1__LIST_QUEUE_RESPONSE__INIT;
	if (err) {
		ns_api_fail(c, err, "the queue cannot be read");
		return;
	}
	resp.items = v;
	resp.n_items = n;
	grpc_call_reply(c, &resp.base);
}

void ns_api_list_queue(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct ns_api *a = arg;
	struct lw_dev_eui eui;
	if (ns_api_dev_eui(c, ((const Longwave__Ns__V1__DeviceRequest *)req)->dev_eui, &eui))
		ns_store_list_queue(a->o.store, eui, grpc_call_arena(c), on_list, c);
}

static void on_done(void *arg, int err)
{
	if (err)
		ns_api_fail(arg, err, "the queue cannot be written");
	else
		ns_api_reply_empty(arg);
}

void ns_api_flush_queue(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct ns_api *a = arg;
	struct lw_dev_eui eui;
	if (ns_api_dev_eui(c, ((const Longwave__Ns__V1__DeviceRequest *)req)->dev_eui, &eui))
		ns_store_flush_queue(a->o.store, eui, on_done, c);
}

/* ---- next counter: the session's, or behind what waits ---- */

struct counter_call {
	struct ns_api *api;
	struct grpc_call *call;
	struct ns_fetch fetch;
};

static void on_counter_queue(void *arg, int err, Longwave__Ns__V1__QueueItem **v, size_t n)
{
	struct counter_call *s = arg;
	const struct ns_device *d = s->fetch.devices[0];
	Longwave__Ns__V1__GetNextFCntDownResponse resp = LONGWAVE__NS__V1__GET_NEXT_FCNT_DOWN_RESPONSE__INIT;
	if (err) {
		ns_api_fail(s->call, err, "the queue cannot be read");
	} else {
		resp.f_cnt_down = d->has_session ? ns_session_next_f_cnt_down(&d->session, true) : 0;
		for (size_t i = 0; i < n; i++)
			if (v[i]->is_encrypted_by_caller && v[i]->first_f_cnt + 1 > resp.f_cnt_down)
				resp.f_cnt_down = v[i]->first_f_cnt + 1;
		grpc_call_reply(s->call, &resp.base);
	}
	free(s);
}

static void on_counter_device(struct ns_fetch *req)
{
	struct counter_call *s = req->owner;
	if (!req->err && req->n) {
		ns_store_list_queue(s->api->o.store, req->dev_eui, req->arena, on_counter_queue, s);
		return;
	}
	if (req->err)
		ns_api_fail(s->call, req->err, "the device cannot be read");
	else
		grpc_call_finish(s->call, GRPC_NOT_FOUND, "device does not exist");
	free(s);
}

void ns_api_next_f_cnt_down(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct ns_api *a = arg;
	struct lw_dev_eui eui;
	struct ns_store_port port;
	if (!ns_api_dev_eui(c, ((const Longwave__Ns__V1__DeviceRequest *)req)->dev_eui, &eui))
		return;
	struct counter_call *s = lw_xcalloc(1, sizeof(*s));
	s->api = a;
	s->call = c;
	s->fetch =
		(struct ns_fetch){.dev_eui = eui, .arena = grpc_call_arena(c), .done = on_counter_device, .owner = s};
	struct ns_fetch *v[1] = {&s->fetch};
	ns_store_fill_port(a->o.store, &port);
	port.fetch(port.self, v, 1);
}

/* ---- Reencrypt ---- */

struct reencrypt_call {
	struct ns_api *api;
	struct grpc_call *call;
	struct lw_dev_eui dev_eui;
};

static void on_reencrypted(void *arg, int err)
{
	struct reencrypt_call *s = arg;
	on_done(s->call, err);
	if (!err)
		s->api->o.on_enqueued(s->api->o.arg, s->dev_eui);
	free(s);
}

void ns_api_reencrypt(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	const Longwave__Ns__V1__ReencryptRequest *r = (const Longwave__Ns__V1__ReencryptRequest *)req;
	struct lw_dev_eui eui;
	if (!ns_api_dev_eui(c, r->dev_eui, &eui))
		return;
	for (size_t i = 0; i < r->n_items; i++) {
		const char *why = check_item(r->items[i]);
		if (why[0]) {
			grpc_call_finish(c, GRPC_INVALID_ARGUMENT, why);
			return;
		}
	}
	struct reencrypt_call *s = lw_xcalloc(1, sizeof(*s));
	*s = (struct reencrypt_call){arg, c, eui};
	ns_store_reencrypt(s->api->o.store, r, on_reencrypted, s);
}
