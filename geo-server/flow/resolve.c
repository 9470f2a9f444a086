/* Resolve: a request goes to a thread of the pool as plain structs and comes back as an answer. The loop only copies.
 */
#include <stdlib.h>

#include "proto/longwave/geo/v1/geo.pb-c.h"

#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_call.h"
#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"
#include "geo-server/domain/geo.h"
#include "geo-server/flow/resolve.h"

#define MAX_ITEMS 1000

struct item {
	struct geo_frame frames[GEO_MAX_FRAMES];
	size_t n_frames;
	struct geo_reception receptions[GEO_MAX_RECEPTIONS];
	size_t n_receptions;
	struct geo_result result;
};

struct job {
	struct lw_list node;
	struct geo_resolve *owner; /* NULL: gone meanwhile */
	struct grpc_call *call;
	const Longwave__Geo__V1__ResolveRequest *req; /* lives as long as the call */
	struct item *items;
	size_t n;
	int64_t start_ns;
};

static struct geo_reception reception_of(const Longwave__Geo__V1__Reception *r)
{
	struct geo_reception out = {
		.fine_time_ns = r->fine_time_ns, .rssi_dbm = r->rssi_dbm, .snr_db = (double)r->snr_db};
	if (r->gateway)
		out.gateway = (struct geo_position){r->gateway->latitude, r->gateway->longitude, r->gateway->altitude};
	return out;
}

/* What does not fit is left out: the newest frames come first by convention of the caller. */
static void item_init(struct item *it, const Longwave__Geo__V1__ResolveItem *in)
{
	for (size_t i = 0; i < in->n_frames && it->n_frames < GEO_MAX_FRAMES; i++) {
		const Longwave__Geo__V1__Frame *f = in->frames[i];
		struct geo_frame *out = &it->frames[it->n_frames++];
		out->receptions = &it->receptions[it->n_receptions];
		out->frequency_hz = f->frequency_hz;
		out->spreading_factor = f->spreading_factor;
		for (size_t k = 0; k < f->n_receptions && it->n_receptions < GEO_MAX_RECEPTIONS; k++, out->n++)
			it->receptions[it->n_receptions++] = reception_of(f->receptions[k]);
	}
}

static void work(void *arg)
{
	struct job *j = arg;
	for (size_t i = 0; i < j->n; i++)
		geo_solve(j->items[i].frames, j->items[i].n_frames, &j->items[i].result);
}

static Longwave__Geo__V1__ResolveResult *result_new(struct lw_arena *a, const char *id, const struct geo_result *r)
{
	Longwave__Geo__V1__ResolveResult *out = LW_ARENA_NEW(a, Longwave__Geo__V1__ResolveResult);
	Longwave__Geo__V1__Position *pos = LW_ARENA_NEW(a, Longwave__Geo__V1__Position);
	if (!out || !pos)
		return NULL;
	longwave__geo__v1__resolve_result__init(out);
	longwave__geo__v1__position__init(pos);
	pos->latitude = r->position.latitude;
	pos->longitude = r->position.longitude;
	pos->altitude = r->position.altitude_m;
	out->id = (char *)(uintptr_t)id;
	out->method = (Longwave__Geo__V1__Method)r->method;
	out->position = r->method == GEO_UNKNOWN ? NULL : pos;
	out->uncertainty_m = r->uncertainty_m;
	out->receptions_used = r->receptions_used;
	out->detail = (char *)(uintptr_t)r->detail;
	return out;
}

static void reply(struct job *j)
{
	struct lw_arena *a = grpc_call_arena(j->call);
	Longwave__Geo__V1__ResolveResponse resp = LONGWAVE__GEO__V1__RESOLVE_RESPONSE__INIT;
	resp.results = LW_ARENA_ARRAY(a, Longwave__Geo__V1__ResolveResult *, j->n + 1);
	bool ok = resp.results != NULL;
	for (size_t i = 0; ok && i < j->n; i++) {
		resp.results[i] = result_new(a, j->req->items[i]->id, &j->items[i].result);
		ok = resp.results[i] != NULL;
	}
	resp.n_results = j->n;
	if (ok)
		grpc_call_reply(j->call, &resp.base);
	else
		grpc_call_finish(j->call, GRPC_RESOURCE_EXHAUSTED, "answer is too large");
}

static void count(const struct job *j)
{
	const struct geo_resolve *m = j->owner;
	for (size_t i = 0; i < j->n; i++) {
		rt_metric_inc_at(m->items, (size_t)j->items[i].result.method);
		rt_metric_add(m->receptions, j->items[i].n_receptions);
	}
	rt_metric_observe(m->seconds, (double)(lw_mono_ns() - j->start_ns) / 1e9);
}

static void done(void *arg, int status)
{
	struct job *j = arg;
	lw_list_remove(&j->node);
	if (!j->owner || status) {
		grpc_call_finish(j->call, GRPC_CANCELLED, "the server is stopping");
	} else {
		count(j);
		reply(j);
	}
	free(j->items);
	free(j);
}

static void on_resolve(struct grpc_call *c, const ProtobufCMessage *msg, void *arg)
{
	struct geo_resolve *g = arg;
	const Longwave__Geo__V1__ResolveRequest *req = (const Longwave__Geo__V1__ResolveRequest *)(const void *)msg;
	if (req->n_items > MAX_ITEMS) {
		grpc_call_finishf(c, GRPC_INVALID_ARGUMENT, "more than %d items", MAX_ITEMS);
		return;
	}
	struct job *j = lw_xcalloc(1, sizeof(*j));
	j->owner = g;
	j->call = c;
	j->req = req;
	j->n = req->n_items;
	j->items = lw_xcalloc(j->n + 1, sizeof(*j->items));
	j->start_ns = lw_mono_ns();
	for (size_t i = 0; i < j->n; i++)
		item_init(&j->items[i], req->items[i]);
	lw_list_push_back(&g->jobs, &j->node);
	rt_loop_work(g->loop, work, done, j);
}

void geo_resolve_init(struct geo_resolve *r, struct rt_loop *loop, struct grpc_methods *methods)
{
	r->loop = loop;
	lw_list_init(&r->jobs);
	grpc_methods_add(methods, &(struct grpc_method){
					  .path = "/longwave.geo.v1.GeoServer/Resolve",
					  .input = &longwave__geo__v1__resolve_request__descriptor,
					  .output = &longwave__geo__v1__resolve_response__descriptor,
					  .fn = on_resolve,
					  .arg = r,
				  });
}

void geo_resolve_deinit(struct geo_resolve *r)
{
	LW_LIST_FOREACH (n, tmp, &r->jobs) {
		LW_CONTAINER_OF(n, struct job, node)->owner = NULL;
		lw_list_remove(n);
	}
}
