#include "network-server/link/geo_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/time.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_client.h"
#include "common/runtime/loop.h"
#include "proto/longwave/geo/v1/geo.pb-c.h"

#define MAX_BATCH 256
#define DEADLINE_MS 2000

struct ns_geo_client {
	struct rt_loop *loop;
	struct grpc_client *grpc;
	struct ns_geo_ask *waiting[MAX_BATCH];
	size_t n;
	bool armed;
};

struct batch {
	size_t n;
	struct ns_geo_ask *v[];
};

typedef Longwave__Geo__V1__ResolveResult Result;

static void answer(struct ns_geo_ask *ask, const Result *r)
{
	const ProtobufCEnumValue *name =
		r ? protobuf_c_enum_descriptor_get_value(&longwave__geo__v1__method__descriptor, (int)r->method) : NULL;
	ask->err = LW_ENOTFOUND;
	if (!r || !r->position || r->method == LONGWAVE__GEO__V1__METHOD__UNKNOWN)
		return;
	common__location__init(&ask->location);
	ask->location.latitude = r->position->latitude;
	ask->location.longitude = r->position->longitude;
	ask->location.altitude = r->position->altitude;
	ask->location.accuracy = (float)r->uncertainty_m;
	ask->location.source = r->method == LONGWAVE__GEO__V1__METHOD__TDOA
				       ? COMMON__LOCATION_SOURCE__GEO_RESOLVER_TDOA
				       : COMMON__LOCATION_SOURCE__GEO_RESOLVER_RSSI;
	snprintf(ask->method, sizeof(ask->method), "%s", name ? name->name : "");
	ask->err = 0;
}

static void on_resolved(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct batch *b = arg;
	const Longwave__Geo__V1__ResolveResponse *r = (const Longwave__Geo__V1__ResolveResponse *)resp;
	(void)message;
	for (size_t i = 0; i < b->n; i++) {
		if (status == GRPC_OK)
			answer(b->v[i], i < r->n_results ? r->results[i] : NULL);
		else
			b->v[i]->err = LW_EUNAVAILABLE;
		b->v[i]->done(b->v[i]);
	}
	free(b);
}

static Longwave__Geo__V1__Reception *reception(const Gw__UplinkRxInfo *rx, struct lw_arena *a)
{
	Longwave__Geo__V1__Reception *out = LW_ARENA_NEW(a, Longwave__Geo__V1__Reception);
	Longwave__Geo__V1__Position *at = LW_ARENA_NEW(a, Longwave__Geo__V1__Position);
	longwave__geo__v1__reception__init(out);
	longwave__geo__v1__position__init(at);
	out->gateway_id = rx->gateway_id;
	out->rssi_dbm = rx->rssi;
	out->snr_db = rx->snr;
	if (rx->fine_time_since_gps_epoch)
		out->fine_time_ns = (uint64_t)lw_join_ns(rx->fine_time_since_gps_epoch->seconds,
							 rx->fine_time_since_gps_epoch->nanos);
	if (rx->location && (rx->location->latitude != 0 || rx->location->longitude != 0)) {
		at->latitude = rx->location->latitude;
		at->longitude = rx->location->longitude;
		at->altitude = rx->location->altitude;
		out->gateway = at;
	}
	return out;
}

static Longwave__Geo__V1__ResolveItem *item(const struct ns_geo_ask *ask, size_t number, struct lw_arena *a)
{
	Longwave__Geo__V1__ResolveItem *out = LW_ARENA_NEW(a, Longwave__Geo__V1__ResolveItem);
	Longwave__Geo__V1__Frame *frame = LW_ARENA_NEW(a, Longwave__Geo__V1__Frame);
	longwave__geo__v1__resolve_item__init(out);
	longwave__geo__v1__frame__init(frame);
	out->id = lw_arena_printf(a, "%zu", number);
	out->n_frames = 1;
	out->frames = LW_ARENA_ARRAY(a, Longwave__Geo__V1__Frame *, 1);
	out->frames[0] = frame;
	frame->frequency_hz = ask->tx_info ? ask->tx_info->frequency : 0;
	if (ask->tx_info && ask->tx_info->modulation &&
	    ask->tx_info->modulation->parameters_case == GW__MODULATION__PARAMETERS_LORA)
		frame->spreading_factor = ask->tx_info->modulation->lora->spreading_factor;
	frame->receptions = LW_ARENA_ARRAY(a, Longwave__Geo__V1__Reception *, ask->n_rx_info ? ask->n_rx_info : 1);
	for (size_t i = 0; i < ask->n_rx_info; i++)
		frame->receptions[frame->n_receptions++] = reception(ask->rx_info[i], a);
	return out;
}

static void flush(void *arg)
{
	struct ns_geo_client *c = arg;
	struct batch *b = lw_xmalloc(sizeof(*b) + c->n * sizeof(b->v[0]));
	Longwave__Geo__V1__ResolveRequest req = LONGWAVE__GEO__V1__RESOLVE_REQUEST__INIT;
	struct grpc_client_request call = {.path = "/longwave.geo.v1.GeoServer/Resolve",
					   .deadline_ms = DEADLINE_MS,
					   .output = &longwave__geo__v1__resolve_response__descriptor};
	struct lw_arena a;
	lw_arena_init(&a, NULL, 0, SIZE_MAX);
	b->n = c->n;
	req.items = LW_ARENA_ARRAY(&a, Longwave__Geo__V1__ResolveItem *, c->n);
	for (size_t i = 0; i < c->n; i++) {
		b->v[i] = c->waiting[i];
		req.items[req.n_items++] = item(c->waiting[i], i, &a);
	}
	c->n = 0;
	c->armed = false;
	grpc_client_call(c->grpc, &call, &req.base, on_resolved, b);
	lw_arena_deinit(&a);
}

static void resolve(void *self, struct ns_geo_ask *req)
{
	struct ns_geo_client *c = self;
	if (c->n == MAX_BATCH) {
		req->err = LW_EUNAVAILABLE;
		req->done(req);
		return;
	}
	c->waiting[c->n++] = req;
	if (!c->armed)
		rt_loop_defer(c->loop, flush, c);
	c->armed = true;
}

struct ns_geo_client *ns_geo_client_new(struct rt_loop *loop, const char *address)
{
	struct ns_geo_client *c = lw_xcalloc(1, sizeof(*c));
	struct grpc_client_config config = {.address = address};
	c->loop = loop;
	c->grpc = grpc_client_new(loop, &config);
	return c;
}

void ns_geo_client_free(struct ns_geo_client *c)
{
	if (!c)
		return;
	grpc_client_free(c->grpc);
	free(c);
}

void ns_geo_client_fill_port(struct ns_geo_client *c, struct ns_geo_port *out)
{
	*out = (struct ns_geo_port){.self = c, .resolve = c ? resolve : NULL};
}
