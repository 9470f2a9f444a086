/* Server-sent events: GET /api/live/devices/{dev_eui}/frames, …/events, /api/live/gateways/{gateway_id}/frames and
 * /api/live/overview?tenantId=. Who may look is decided by the API itself: a call of the matching Get (as the same
 * caller) comes first. The token comes as a header, or as ?token= for EventSource; it is never logged. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app-server/link/live_internal.h"
#include "common/base/time.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_call.h"
#include "common/io/http_server.h"
#include "common/pb/json_out.h"
#include "common/pb/pbjson.h"
#include "proto/api/device.pb-c.h"
#include "proto/api/gateway.pb-c.h"
#include "proto/api/tenant.pb-c.h"
#include "proto/google/protobuf/empty.pb-c.h"

#define KEEPALIVE_MS 15000
#define MAX_WATCHERS 1000
#define MAX_ITEM (1u << 20)
#define QUEUE_HIGH (256u * 1024)
#define TOKEN_MAX 4096

struct sse {
	struct lw_list node;
	struct as_live *live;
	struct http_request *r;
	enum as_live_kind kind;
	char id[LW_UUID_TEXT]; /* EUI or tenant; "" for all tenants */
	struct lw_uuid tenant_id;
	struct grpc_call *probe; /* the question whether this is allowed, under way */
	bool open;
	struct as_live_source *source;
};

static void sse_free(struct sse *s)
{
	if (s->open && s->kind == AS_LIVE_OVERVIEW)
		s->live->n_overviews--;
	lw_list_remove(&s->node);
	as_live_unfollow(s->source);
	free(s);
}

static void on_close(struct http_request *r, void *arg)
{
	struct sse *s = arg;
	struct grpc_call *probe = s->probe;
	if (s->open)
		http_stream_end(r);
	else
		http_respond(r, 499, NULL, NULL, 0, NULL, 0);
	s->probe = NULL;
	sse_free(s);
	if (probe) {
		grpc_call_cancel(probe);
		grpc_call_unref(probe);
	}
}

/* ---- items ---- */

static void put_event(struct lw_buf *out, const char *event, const char *id)
{
	if (id)
		lw_buf_printf(out, "id: %s\n", id);
	lw_buf_printf(out, "event: %s\ndata: ", event);
}

static void put_time(struct lw_buf *out, const ProtobufCMessage *m)
{
	char text[LW_RFC3339_MAX];
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "time");
	const Google__Protobuf__Timestamp *t =
		f ? *(Google__Protobuf__Timestamp *const *)(const void *)((const char *)m + f->offset) : NULL;
	if (!t)
		return;
	lw_rfc3339_format(lw_join_ns(t->seconds, t->nanos), LW_FRAC_AUTO, "Z", text);
	lw_buf_printf(out, "\"time\":\"%s\",", text);
}

static int put_item(struct as_live *l, const struct as_live_item *item, struct lw_buf *out)
{
	put_event(out, item->name ? item->name : "frame", item->id);
	if (item->name) {
		lw_buf_printf(out, "{\"id\":\"%s\",\"description\":\"%s\",", item->id, item->name);
		put_time(out, item->msg);
		lw_buf_append_str(out, "\"body\":");
	}
	int rc = lw_pbjson_encode(l->as->schema, item->msg, item->name ? LW_PBJSON_EVENT : LW_PBJSON_REST, out);
	lw_buf_append_str(out, item->name ? "}\n\n" : "\n\n");
	return rc < 0 ? rc : out->err;
}

static void on_item(void *arg, const struct as_live_item *item)
{
	struct sse *s = arg;
	struct lw_buf out;
	/* A reader that is too slow misses events; frames wait at the network-server. */
	if (item->name && http_stream_queued(s->r) > QUEUE_HIGH)
		return;
	lw_buf_init(&out, MAX_ITEM);
	if (put_item(s->live, item, &out) == 0)
		http_stream_write(s->r, out.p, out.n);
	lw_buf_deinit(&out);
	if (!item->name && http_stream_queued(s->r) > QUEUE_HIGH)
		as_live_pause(s->source, true);
}

static void on_drain(struct http_request *r, void *arg)
{
	struct sse *s = arg;
	(void)r;
	if (s->source)
		as_live_pause(s->source, false);
}

void as_live_sse_overview(struct as_live *l, const struct lw_uuid *tenant, const char *event, struct lw_span data)
{
	struct lw_buf out;
	lw_buf_init(&out, MAX_ITEM);
	put_event(&out, event, NULL);
	lw_buf_append_span(&out, data);
	lw_buf_append_str(&out, "\n\n");
	LW_LIST_FOREACH (node, tmp, &l->watchers) {
		struct sse *s = LW_CONTAINER_OF(node, struct sse, node);
		if (s->open && s->kind == AS_LIVE_OVERVIEW &&
		    (!tenant || lw_uuid_is_zero(s->tenant_id) || lw_uuid_eq(s->tenant_id, *tenant)))
			http_stream_write(s->r, out.p, out.n);
	}
	lw_buf_deinit(&out);
}

static void on_keepalive(struct rt_timer *t, void *arg)
{
	struct as_live *l = arg;
	(void)t;
	LW_LIST_FOREACH (node, tmp, &l->watchers) {
		struct sse *s = LW_CONTAINER_OF(node, struct sse, node);
		if (s->open)
			http_stream_write(s->r, ":\n\n", 3);
	}
}

/* ---- opening ---- */

static void open_stream(struct sse *s)
{
	static const struct http_header headers[] = {{"Content-Type", "text/event-stream; charset=utf-8"},
						     {"Cache-Control", "no-store"},
						     {"X-Accel-Buffering", "no"}};
	char after[AS_LIVE_ID_MAX];
	const char *last = http_request_header(s->r, "last-event-id");
	if (!last)
		last = http_request_query(s->r, "last_event_id");
	/* What is no id of a stream is not passed on. */
	snprintf(after, sizeof(after), "%s",
		 last && last[0] && strlen(last) < sizeof(after) && strspn(last, "0123456789-") == strlen(last) ? last
														: "");
	s->open = true;
	http_stream_begin(s->r, 200, headers, sizeof(headers) / sizeof(headers[0]));
	http_stream_on_drain(s->r, on_drain, s);
	http_stream_write(s->r, ":\n\n", 3);
	if (s->kind == AS_LIVE_OVERVIEW)
		s->live->n_overviews++;
	else
		s->source = as_live_follow(s->live, s->kind, s->id, after, on_item, s);
}

static void refuse(struct http_request *r, int status, const char *message)
{
	struct lw_buf out;
	lw_buf_init(&out, 4096);
	lw_buf_printf(&out, "{\"code\":%d,\"message\":", status);
	lw_json_put_string(&out, lw_span_str(message));
	lw_buf_append_str(&out, ",\"details\":[]}");
	http_respond(r, grpc_status_to_http(status), "application/json", out.p, out.n, NULL, 0);
	lw_buf_deinit(&out);
}

static void on_probe_done(void *arg, int status, const char *message)
{
	struct sse *s = arg;
	struct grpc_call *probe = s->probe;
	s->probe = NULL;
	if (status == GRPC_OK) {
		open_stream(s);
	} else {
		struct http_request *r = s->r;
		sse_free(s);
		refuse(r, status, message);
	}
	if (probe)
		grpc_call_unref(probe);
}

static int on_probe_message(void *arg, const ProtobufCMessage *msg)
{
	(void)arg;
	(void)msg;
	return 0;
}

/* The request that only someone who may see the object gets answered. */
static const ProtobufCMessage *probe_request(struct sse *s, struct grpc_call *call)
{
	struct lw_arena *a = grpc_call_arena(call);
	char *id = lw_arena_strdup(a, s->id);
	Api__GetDeviceRequest *d = LW_ARENA_NEW(a, Api__GetDeviceRequest);
	Api__GetGatewayRequest *g = LW_ARENA_NEW(a, Api__GetGatewayRequest);
	Api__GetTenantRequest *t = LW_ARENA_NEW(a, Api__GetTenantRequest);
	Google__Protobuf__Empty *e = LW_ARENA_NEW(a, Google__Protobuf__Empty);
	switch (s->kind) {
	case AS_LIVE_GATEWAY_FRAMES:
		api__get_gateway_request__init(g);
		g->gateway_id = id;
		return &g->base;
	case AS_LIVE_OVERVIEW:
		api__get_tenant_request__init(t);
		google__protobuf__empty__init(e);
		t->id = id;
		return s->id[0] ? &t->base : &e->base;
	default:
		api__get_device_request__init(d);
		d->dev_eui = id;
		return &d->base;
	}
}

static const char *probe_path(const struct sse *s)
{
	switch (s->kind) {
	case AS_LIVE_GATEWAY_FRAMES:
		return "/api.GatewayService/Get";
	case AS_LIVE_OVERVIEW:
		return s->id[0] ? "/api.TenantService/Get" : "/api.InternalService/GetVersion"; /* administrators */
	default:
		return "/api.DeviceService/Get";
	}
}

static void ask(struct sse *s)
{
	char bearer[TOKEN_MAX + 8];
	const char *token = http_request_query(s->r, "token");
	const char *header = http_request_header(s->r, "authorization");
	if (!header)
		header = http_request_header(s->r, "grpc-metadata-authorization");
	if (!header && token && strlen(token) <= TOKEN_MAX) {
		snprintf(bearer, sizeof(bearer), "Bearer %s", token);
		header = bearer;
	}
	struct grpc_metadata md = {"authorization", header ? header : ""};
	struct grpc_local local = {.path = probe_path(s),
				   .transport = "sse",
				   .peer = http_request_peer(s->r),
				   .metadata = &md,
				   .n_metadata = header != NULL,
				   .arg = s,
				   .message = on_probe_message,
				   .finish = on_probe_done};
	struct grpc_call *call = grpc_call_new(s->live->as->methods, &local);
	lw_wipe(bearer, sizeof(bearer));
	/* Held here until start returns, by the probe until it is answered. */
	grpc_call_ref(call);
	s->probe = call;
	grpc_call_start(call, probe_request(s, call));
	grpc_call_unref(call);
}

/* ---- requests ---- */

static bool parse_path(struct sse *s, const char *path)
{
	struct lw_dev_eui eui;
	const char *rest = strchr(path, '/');
	if (strcmp(path, "overview") == 0) {
		s->kind = AS_LIVE_OVERVIEW;
		return true;
	}
	if (!rest || strlen(rest) < 18 || rest[17] != '/' || lw_dev_eui_parse_n(&eui, rest + 1, 16) < 0)
		return false;
	lw_dev_eui_print(eui, s->id);
	if (strncmp(path, "devices/", 8) == 0 && strcmp(rest + 18, "frames") == 0)
		s->kind = AS_LIVE_DEVICE_FRAMES;
	else if (strncmp(path, "devices/", 8) == 0 && strcmp(rest + 18, "events") == 0)
		s->kind = AS_LIVE_DEVICE_EVENTS;
	else if (strncmp(path, "gateways/", 9) == 0 && strcmp(rest + 18, "frames") == 0)
		s->kind = AS_LIVE_GATEWAY_FRAMES;
	else
		return false;
	return true;
}

static bool parse_tenant(struct sse *s, struct http_request *r)
{
	const char *tenant = http_request_query(r, "tenantId");
	if (!tenant)
		tenant = http_request_query(r, "tenant_id");
	if (!tenant || !tenant[0])
		return true;
	if (lw_uuid_parse(&s->tenant_id, tenant) < 0)
		return false;
	lw_uuid_print(s->tenant_id, s->id);
	return true;
}

static size_t count(const struct lw_list *l)
{
	size_t n = 0;
	for (const struct lw_list *node = l->next; node != l; node = node->next)
		n++;
	return n;
}

bool as_live_serve(struct as *as, struct http_request *r)
{
	static const char prefix[] = "/api/live/";
	const char *path = http_request_path(r);
	struct as_live *l = as->live;
	if (strncmp(path, prefix, sizeof(prefix) - 1) != 0 || !l)
		return false;
	if (strcmp(http_request_method(r), "GET") != 0) {
		http_respond_text(r, 405, "only GET\n");
		return true;
	}
	if (count(&l->watchers) >= MAX_WATCHERS) {
		refuse(r, GRPC_RESOURCE_EXHAUSTED, "too many live streams");
		return true;
	}
	struct sse *s = lw_xcalloc(1, sizeof(*s));
	s->live = l;
	s->r = r;
	if (!parse_path(s, path + sizeof(prefix) - 1) || (s->kind == AS_LIVE_OVERVIEW && !parse_tenant(s, r))) {
		bool is_overview = s->kind == AS_LIVE_OVERVIEW;
		free(s);
		refuse(r, is_overview ? GRPC_INVALID_ARGUMENT : GRPC_NOT_FOUND,
		       is_overview ? "tenantId is not a UUID" : "there is no such live stream");
		return true;
	}
	lw_list_push_back(&l->watchers, &s->node);
	http_request_on_close(r, on_close, s);
	ask(s);
	return true;
}

/* ---- life ---- */

void as_live_sse_init(struct as_live *l)
{
	rt_timer_init(&l->keepalive, l->as->loop, "live keepalive", on_keepalive, l);
	rt_timer_start_every(&l->keepalive, KEEPALIVE_MS);
}

/* The HTTP server went before, and with it every watcher. */
void as_live_sse_deinit(struct as_live *l)
{
	rt_timer_stop(&l->keepalive);
	while (!lw_list_empty(&l->watchers)) {
		struct sse *s = LW_CONTAINER_OF(l->watchers.next, struct sse, node);
		s->source = NULL;
		sse_free(s);
	}
}
