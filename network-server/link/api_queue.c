/* The downlink queue as the API shows it. */
#include <stdlib.h>
#include <string.h>

#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "network-server/link/api_impl.h"

#define MAX_ITEMS 1000
#define LIST_BYTES (3u << 20) /* below the 4 MiB that gRPC clients take */

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
	enum ns_enqueue_result *results; /* of the accepted ones */
	size_t *places;                  /* of the accepted ones in the request */
	const char **errors;
	uint32_t *statuses;
	struct ns_fetch *fetches;
	size_t waiting;
};

static void free_enqueue(struct enqueue_call *e)
{
	free(e->fetches);
	free(e->errors);
	free(e->statuses);
	free(e->results);
	free(e->places);
	free(e->accepted.items);
	free(e);
}

static void refuse_item(struct enqueue_call *e, size_t i, int status, const char *error)
{
	e->statuses[i] = (uint32_t)status;
	e->errors[i] = error;
}

static void reply_enqueued(struct enqueue_call *e)
{
	Longwave__Ns__V1__EnqueueResponse resp = LONGWAVE__NS__V1__ENQUEUE_RESPONSE__INIT;
	struct lw_arena *arena = grpc_call_arena(e->call);
	resp.errors = LW_ARENA_ARRAY(arena, char *, e->req->n_items ? e->req->n_items : 1);
	for (size_t i = 0; resp.errors && i < e->req->n_items; i++)
		resp.errors[resp.n_errors++] = lw_arena_strdup(arena, e->errors[i]);
	resp.statuses = e->statuses;
	resp.n_statuses = e->req->n_items;
	grpc_call_reply(e->call, &resp.base);
}

static const char *full_text(struct enqueue_call *e)
{
	return lw_arena_printf(grpc_call_arena(e->call),
			       "the device's queue is full: it holds %u items (network.device_queue_items)",
			       (unsigned)ns_store_max_queue(e->api->o.store));
}

/* The application hears of it as of any other downlink that nobody will get: who enqueues over MQTT has no answer. */
static void tell_refused(struct enqueue_call *e)
{
	struct lw_uuid id;
	for (size_t k = 0; k < e->accepted.n_items && e->api->o.on_refused; k++) {
		const struct ns_fetch *f = &e->fetches[e->places[k]];
		if (e->results[k] == NS_ENQUEUE_FULL && lw_uuid_parse(&id, e->accepted.items[k]->id) == 0)
			e->api->o.on_refused(e->api->o.arg, f->devices[0], id, full_text(e));
	}
}

static void on_enqueued(void *arg, int err)
{
	struct enqueue_call *e = arg;
	struct lw_dev_eui eui;
	bool is_partly = (err == LW_EEXISTS || err == LW_ENOTFOUND || err == LW_EFULL) && e->req->n_items > 1;
	if (err == LW_EFULL && !is_partly) {
		tell_refused(e);
		grpc_call_finish(e->call, GRPC_RESOURCE_EXHAUSTED, full_text(e));
		free_enqueue(e);
		return;
	}
	if (err && !is_partly) {
		ns_api_fail(e->call, err, "the queue cannot be written");
		free_enqueue(e);
		return;
	}
	for (size_t k = 0; k < e->accepted.n_items; k++) {
		if (e->results[k] == NS_ENQUEUE_NO_DEVICE)
			refuse_item(e, e->places[k], GRPC_NOT_FOUND, "device does not exist");
		else if (e->results[k] == NS_ENQUEUE_EXISTS)
			refuse_item(e, e->places[k], GRPC_ALREADY_EXISTS, "an item with this id is there");
		else if (e->results[k] == NS_ENQUEUE_FULL)
			refuse_item(e, e->places[k], GRPC_RESOURCE_EXHAUSTED, full_text(e));
	}
	/* The request, and with it the items, lives as long as the call. */
	struct grpc_call *call = grpc_call_ref(e->call);
	reply_enqueued(e);
	tell_refused(e);
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

static void store_accepted(struct enqueue_call *e)
{
	size_t n = e->req->n_items;
	longwave__ns__v1__enqueue_request__init(&e->accepted);
	e->accepted.flush_queue = e->req->flush_queue;
	e->accepted.items = lw_xcalloc(n, sizeof(*e->accepted.items));
	e->results = lw_xcalloc(n, sizeof(*e->results));
	e->places = lw_xcalloc(n, sizeof(*e->places));
	for (size_t k = 0; k < n; k++) {
		if (e->errors[k][0])
			continue;
		e->places[e->accepted.n_items] = k;
		e->accepted.items[e->accepted.n_items++] = e->req->items[k];
	}
	if (e->accepted.n_items)
		ns_store_enqueue(e->api->o.store, &e->accepted, e->results, on_enqueued, e);
	else
		on_enqueued(e, 0);
}

static void on_device(struct ns_fetch *req)
{
	struct enqueue_call *e = req->owner;
	size_t i = (size_t)(req - e->fetches);
	if (req->err)
		refuse_item(e, i, GRPC_UNAVAILABLE, "the device cannot be read");
	else if (!req->n)
		refuse_item(e, i, GRPC_NOT_FOUND, "device does not exist");
	if (--e->waiting == 0)
		store_accepted(e);
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
	e->statuses = lw_xcalloc(r->n_items, sizeof(*e->statuses));
	e->fetches = lw_xcalloc(r->n_items, sizeof(*e->fetches));
	struct ns_fetch **v = lw_xcalloc(r->n_items, sizeof(struct ns_fetch *));
	size_t n = 0;
	for (size_t i = 0; i < r->n_items; i++) {
		struct ns_fetch *f = &e->fetches[i];
		e->errors[i] = check_item(r->items[i]);
		if (e->errors[i][0]) {
			e->statuses[i] = GRPC_INVALID_ARGUMENT;
			continue;
		}
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
		store_accepted(e);
	}
	free(v);
}

struct list_call {
	struct grpc_call *call;
	const Longwave__Ns__V1__ListQueueRequest *req; /* lives as long as the call */
};

static void on_list(void *arg, int err, Longwave__Ns__V1__QueueItem **v, size_t n, size_t total)
{
	struct list_call *l = arg;
	Longwave__Ns__V1__ListQueueResponse resp = LONGWAVE__NS__V1__LIST_QUEUE_RESPONSE__INIT;
	size_t bytes = 0;
	if (err) {
		ns_api_fail(l->call, err, "the queue cannot be read");
		free(l);
		return;
	}
	for (; resp.n_items < n; resp.n_items++) {
		Longwave__Ns__V1__QueueItem *item = v[resp.n_items];
		if (l->req->without_payloads && item->sealed.len && !item->is_encrypted_by_caller)
			item->n_frm_payloads = 0;
		bytes += longwave__ns__v1__queue_item__get_packed_size(item) + 8;
		if (bytes > LIST_BYTES)
			break;
	}
	resp.items = v;
	resp.total = (uint32_t)total;
	grpc_call_reply(l->call, &resp.base);
	free(l);
}

void ns_api_list_queue(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	const Longwave__Ns__V1__ListQueueRequest *r = (const Longwave__Ns__V1__ListQueueRequest *)req;
	struct ns_api *a = arg;
	struct lw_dev_eui eui;
	if (!ns_api_dev_eui(c, r->dev_eui, &eui))
		return;
	struct list_call *l = lw_xmalloc(sizeof(*l));
	*l = (struct list_call){c, r};
	ns_store_list_queue(a->o.store, eui, r->limit && r->limit < MAX_ITEMS ? r->limit : MAX_ITEMS,
			    grpc_call_arena(c), on_list, l);
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

static void on_counter_queue(void *arg, int err, Longwave__Ns__V1__QueueItem **v, size_t n, size_t total)
{
	(void)total;
	struct counter_call *s = arg;
	const struct ns_device *d = s->fetch.devices[0];
	Longwave__Ns__V1__GetNextFCntDownResponse resp = LONGWAVE__NS__V1__GET_NEXT_FCNT_DOWN_RESPONSE__INIT;
	if (err) {
		ns_api_fail(s->call, err, "the queue cannot be read");
	} else {
		resp.f_cnt_down = d->has_session && !ns_session_is_joining(&d->session)
					  ? ns_session_next_f_cnt_down(&d->session, true)
					  : 0;
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
		ns_store_list_queue(s->api->o.store, req->dev_eui, ns_store_max_queue(s->api->o.store), req->arena,
				    on_counter_queue, s);
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

/* ---- the same for many, with what else encrypting takes ---- */

struct prepare_call {
	struct ns_api *api;
	struct grpc_call *call;
	size_t n, waiting;
	Longwave__Ns__V1__DownlinkContext *contexts;
	struct ns_fetch *fetches;
	struct ns_queue_fetch *queues;
};

static void reply_prepared(struct prepare_call *s)
{
	Longwave__Ns__V1__PrepareDownlinksResponse resp = LONGWAVE__NS__V1__PREPARE_DOWNLINKS_RESPONSE__INIT;
	Longwave__Ns__V1__DownlinkContext **v = lw_xcalloc(s->n, sizeof(*v));
	for (size_t i = 0; i < s->n; i++)
		v[i] = &s->contexts[i];
	resp.n_contexts = s->n;
	resp.contexts = v;
	grpc_call_reply(s->call, &resp.base);
	free(v);
	free(s->fetches);
	free(s->queues);
	free(s->contexts);
	free(s);
}

static void refuse_context(Longwave__Ns__V1__DownlinkContext *d, int status, const char *error)
{
	d->status = (uint32_t)status;
	d->error = (char *)(uintptr_t)error; /* only read */
}

static void on_prepared_queue(struct ns_queue_fetch *req)
{
	struct prepare_call *s = req->owner;
	Longwave__Ns__V1__DownlinkContext *d = &s->contexts[req - s->queues];
	if (req->err)
		refuse_context(d, GRPC_UNAVAILABLE, "the queue cannot be read");
	for (size_t i = 0; !req->err && i < req->n; i++)
		if (req->items[i].is_encrypted_by_caller && req->items[i].first_f_cnt + 1 > d->f_cnt_down)
			d->f_cnt_down = req->items[i].first_f_cnt + 1;
	if (--s->waiting == 0)
		reply_prepared(s);
}

static void prepare_session(struct prepare_call *call, const struct ns_device *dev,
			    Longwave__Ns__V1__DownlinkContext *d)
{
	struct lw_arena *arena = grpc_call_arena(call->call);
	char text[LW_DEVADDR_TEXT];
	d->has_session = dev->has_session;
	if (!dev->has_session)
		return;
	const struct ns_session *s = &dev->session;
	d->dev_addr = lw_arena_strdup(arena, lw_devaddr_print(s->devaddr, text));
	/* Keys in the call's arena. One that has just joined is most likely in its new session. */
	if (ns_session_is_joining(s)) {
		d->session_key_id.len = s->rekey.session_key_id_len;
		d->session_key_id.data = (uint8_t *)(uintptr_t)s->rekey.session_key_id;
		return;
	}
	d->f_cnt_down = ns_session_next_f_cnt_down(s, true);
	d->session_key_id.len = s->session_key_id_len;
	d->session_key_id.data = (uint8_t *)(uintptr_t)s->session_key_id;
}

/* All devices are known; what waits for them may hold counters that are spoken for. */
static void prepare_queues(struct prepare_call *s)
{
	struct ns_queue_fetch **v = lw_xcalloc(s->n, sizeof(*v));
	size_t n = 0;
	for (size_t i = 0; i < s->n; i++) {
		const struct ns_fetch *f = &s->fetches[i];
		if (s->contexts[i].status)
			continue;
		prepare_session(s, f->devices[0], &s->contexts[i]);
		if (!f->devices[0]->may_have_queue)
			continue;
		s->queues[i] = (struct ns_queue_fetch){.dev_eui = f->dev_eui,
						       .max = MAX_ITEMS,
						       .arena = f->arena,
						       .done = on_prepared_queue,
						       .owner = s};
		v[n++] = &s->queues[i];
	}
	s->waiting = n;
	if (n) {
		struct ns_store_port port;
		ns_store_fill_port(s->api->o.store, &port);
		port.queue_head(port.self, v, n);
	} else {
		reply_prepared(s);
	}
	free(v);
}

static void on_prepared_device(struct ns_fetch *req)
{
	struct prepare_call *s = req->owner;
	Longwave__Ns__V1__DownlinkContext *d = &s->contexts[req - s->fetches];
	if (req->err)
		refuse_context(d, GRPC_UNAVAILABLE, "the device cannot be read");
	else if (!req->n)
		refuse_context(d, GRPC_NOT_FOUND, "device does not exist");
	if (--s->waiting == 0)
		prepare_queues(s);
}

void ns_api_prepare_downlinks(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	const Longwave__Ns__V1__PrepareDownlinksRequest *r =
		(const Longwave__Ns__V1__PrepareDownlinksRequest *)(const void *)req;
	struct ns_api *a = arg;
	struct ns_store_port port;
	if (!r->n_dev_euis || r->n_dev_euis > MAX_ITEMS) {
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "1 to 1000 dev_euis are wanted");
		return;
	}
	struct prepare_call *s = lw_xcalloc(1, sizeof(*s));
	struct ns_fetch **v = lw_xcalloc(r->n_dev_euis, sizeof(*v));
	size_t n = 0;
	*s = (struct prepare_call){.api = a, .call = c, .n = r->n_dev_euis};
	s->contexts = lw_xcalloc(s->n, sizeof(*s->contexts));
	s->fetches = lw_xcalloc(s->n, sizeof(*s->fetches));
	s->queues = lw_xcalloc(s->n, sizeof(*s->queues));
	for (size_t i = 0; i < s->n; i++) {
		struct ns_fetch *f = &s->fetches[i];
		longwave__ns__v1__downlink_context__init(&s->contexts[i]);
		*f = (struct ns_fetch){.arena = grpc_call_arena(c), .done = on_prepared_device, .owner = s};
		if (lw_dev_eui_parse(&f->dev_eui, r->dev_euis[i]))
			refuse_context(&s->contexts[i], GRPC_INVALID_ARGUMENT,
				       "dev_eui is not an EUI of 16 hex digits");
		else
			v[n++] = f;
	}
	s->waiting = n;
	ns_store_fill_port(a->o.store, &port);
	if (n)
		port.fetch(port.self, v, n);
	else
		reply_prepared(s);
	free(v);
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
