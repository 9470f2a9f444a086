/* grpc.health.v1.Health. */
#include "common/io/grpc_server.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "proto/grpc/health/v1/health.pb-c.h"

#define MAX_WATCHERS 1000

typedef Grpc__Health__V1__HealthCheckRequest Request;
typedef Grpc__Health__V1__HealthCheckResponse Response;
typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus Status;

#define SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

struct service {
	Status status;
};

struct watcher {
	struct lw_list node;
	struct grpc_health *health;
	struct grpc_call *call;
	char *service;
};

struct grpc_health {
	struct lw_bmap services;
	struct lw_list watchers;
	size_t n_watchers;
};

static Status status_of(const struct grpc_health *h, const char *service)
{
	const struct service *s = lw_bmap_find(&h->services, lw_span_str(service));
	return s ? s->status : SERVICE_UNKNOWN;
}

static void on_check(struct grpc_call *c, const ProtobufCMessage *msg, void *arg)
{
	const Request *req = (const Request *)msg;
	Response resp = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	resp.status = status_of(arg, req->service);
	if (resp.status == SERVICE_UNKNOWN)
		grpc_call_finish(c, GRPC_NOT_FOUND, "unknown service");
	else
		grpc_call_reply(c, &resp.base);
}

static void watcher_free(struct watcher *w)
{
	lw_list_remove(&w->node);
	w->health->n_watchers--;
	free(w->service);
	free(w);
}

static void on_watch_cancel(struct grpc_call *c)
{
	watcher_free(grpc_call_user(c));
	grpc_call_finish(c, GRPC_CANCELLED, NULL);
}

static void send_status(struct watcher *w)
{
	Response resp = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
	resp.status = status_of(w->health, w->service);
	/* A watcher whose queue is full has stopped reading: it misses changes, and loses nothing else. */
	grpc_call_send(w->call, &resp.base);
}

static const struct grpc_call_events WATCH_EVENTS = {.cancel = on_watch_cancel};

static void on_watch(struct grpc_call *c, const ProtobufCMessage *msg, void *arg)
{
	struct grpc_health *h = arg;
	const Request *req = (const Request *)msg;
	if (h->n_watchers >= MAX_WATCHERS) {
		grpc_call_finish(c, GRPC_RESOURCE_EXHAUSTED, "too many watchers");
		return;
	}
	struct watcher *w = lw_xcalloc(1, sizeof(*w));
	w->health = h;
	w->call = c;
	w->service = lw_xstrdup(req->service);
	lw_list_push_back(&h->watchers, &w->node);
	h->n_watchers++;
	grpc_call_set_user(c, w);
	grpc_call_set_events(c, &WATCH_EVENTS);
	send_status(w);
}

struct grpc_health *grpc_health_new(struct grpc_methods *m)
{
	struct grpc_health *h = lw_xcalloc(1, sizeof(*h));
	lw_bmap_init(&h->services);
	lw_list_init(&h->watchers);
	grpc_health_set(h, "", true);
	struct grpc_method method = {.path = "/grpc.health.v1.Health/Check",
				     .input = &grpc__health__v1__health_check_request__descriptor,
				     .output = &grpc__health__v1__health_check_response__descriptor,
				     .fn = on_check,
				     .arg = h};
	grpc_methods_add(m, &method);
	method.path = "/grpc.health.v1.Health/Watch";
	method.server_streaming = true;
	method.fn = on_watch;
	grpc_methods_add(m, &method);
	return h;
}

void grpc_health_set(struct grpc_health *h, const char *service, bool serving)
{
	Status status = serving ? SERVING : NOT_SERVING;
	struct service *s = lw_bmap_find(&h->services, lw_span_str(service));
	if (s && s->status == status)
		return;
	if (!s) {
		s = lw_xcalloc(1, sizeof(*s));
		lw_bmap_put(&h->services, lw_span_str(service), s);
	}
	s->status = status;
	LW_LIST_FOREACH (node, tmp, &h->watchers) {
		struct watcher *w = LW_CONTAINER_OF(node, struct watcher, node);
		if (strcmp(w->service, service) == 0)
			send_status(w);
	}
}

void grpc_health_free(struct grpc_health *h)
{
	if (!h)
		return;
	LW_LIST_FOREACH (node, tmp, &h->watchers) {
		struct watcher *w = LW_CONTAINER_OF(node, struct watcher, node);
		struct grpc_call *call = w->call;
		watcher_free(w);
		grpc_call_finish(call, GRPC_CANCELLED, "the server stops");
	}
	size_t it = 0;
	struct lw_span key;
	void *value;
	while (lw_bmap_next(&h->services, &it, &key, &value))
		free(value);
	lw_bmap_deinit(&h->services);
	free(h);
}
