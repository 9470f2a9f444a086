/* What was counted of a link, by stretches of time; and whether its device floods. */
#include <stdlib.h>

#include "common/base/time.h"
#include "common/base/xmalloc.h"
#include "network-server/link/api_impl.h"
#include "network-server/store/link_store.h"

struct answer {
	struct grpc_call *call; /* NULL: nobody waits any more */
};

static const enum ns_span SPANS[] = {
	[COMMON__AGGREGATION__MINUTE] = NS_SPAN_MINUTE,
	[COMMON__AGGREGATION__HOUR] = NS_SPAN_HOUR,
	[COMMON__AGGREGATION__DAY] = NS_SPAN_DAY,
	[COMMON__AGGREGATION__MONTH] = NS_SPAN_MONTH,
};

static void fill(Longwave__Ns__V1__LinkMetricsResponse__Bucket *b, const struct ns_link_bucket *from)
{
	size_t n;
	uint8_t *p = ns_link_counts_pack(&from->counts, &n);
	longwave__ns__v1__link_metrics_response__bucket__init(b);
	b->start = lw_xmalloc(sizeof(*b->start));
	google__protobuf__timestamp__init(b->start);
	b->start->seconds = from->begin_s;
	b->counts = longwave__ns__v1__link_counts__unpack(NULL, n, p);
	free(p);
}

static void on_read(void *arg, int err, const struct ns_link_bucket *v, size_t n)
{
	struct answer *a = arg;
	Longwave__Ns__V1__LinkMetricsResponse resp = LONGWAVE__NS__V1__LINK_METRICS_RESPONSE__INIT;
	if (!a->call) {
		free(a);
		return;
	}
	if (err) {
		grpc_call_finish(a->call, err == LW_EUNAVAILABLE ? GRPC_UNAVAILABLE : GRPC_INVALID_ARGUMENT,
				 err == LW_EBIG     ? "that is more than 1500 values"
				 : err == LW_EINVAL ? "end is before start"
						    : "the database does not answer");
		free(a);
		return;
	}
	Longwave__Ns__V1__LinkMetricsResponse__Bucket *rows = lw_xcalloc(n, sizeof(*rows));
	resp.buckets = lw_xcalloc(n, sizeof(*resp.buckets));
	for (; resp.n_buckets < n; resp.n_buckets++) {
		fill(&rows[resp.n_buckets], &v[resp.n_buckets]);
		resp.buckets[resp.n_buckets] = &rows[resp.n_buckets];
	}
	grpc_call_reply(a->call, &resp.base);
	for (size_t i = 0; i < n; i++) {
		free(rows[i].start);
		longwave__ns__v1__link_counts__free_unpacked(rows[i].counts, NULL);
	}
	free(rows);
	free(resp.buckets);
	free(a);
}

static void on_cancel(struct grpc_call *c)
{
	struct answer *a = grpc_call_user(c);
	grpc_call_finish(c, GRPC_CANCELLED, NULL);
	if (a)
		a->call = NULL;
}

static const struct grpc_call_events EVENTS = {.cancel = on_cancel};

void ns_api_link_metrics(struct grpc_call *c, const ProtobufCMessage *msg, void *arg)
{
	const struct ns_api *api = arg;
	const Longwave__Ns__V1__LinkMetricsRequest *req = (const Longwave__Ns__V1__LinkMetricsRequest *)msg;
	struct lw_dev_eui dev;
	struct lw_gateway_id gw;
	bool by_gateway = req->gateway_id[0] != 0;
	if (by_gateway == (req->dev_eui[0] != 0)) {
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "exactly one of dev_eui and gateway_id is wanted");
		return;
	}
	if (by_gateway ? lw_gateway_id_parse(&gw, req->gateway_id) : lw_dev_eui_parse(&dev, req->dev_eui)) {
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "not an EUI of 16 hex digits");
		return;
	}
	if (!req->start || !req->end) {
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "start and end are wanted");
		return;
	}
	if ((size_t)req->aggregation >= sizeof(SPANS) / sizeof(SPANS[0])) {
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "aggregation is unknown");
		return;
	}
	/* Far beyond what any calendar is asked for, and what the C library can count. */
	const int64_t max_s = 253402300799;
	if (req->start->seconds < 0 || req->start->seconds > max_s || req->end->seconds < 0 ||
	    req->end->seconds > max_s) {
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "start or end is no time");
		return;
	}
	struct answer *a = lw_xcalloc(1, sizeof(*a));
	a->call = c;
	grpc_call_set_user(c, a);
	grpc_call_set_events(c, &EVENTS);
	ns_link_store_read(api->o.links, by_gateway ? NS_LINK_GATEWAY : NS_LINK_DEVICE,
			   by_gateway ? lw_gateway_id_u64(gw) : lw_dev_eui_u64(dev), SPANS[req->aggregation],
			   req->start->seconds, req->end->seconds, on_read, a);
}

/* ---- quarantine ---- */

static void set_time(Google__Protobuf__Timestamp *t, int64_t ns)
{
	struct lw_sec_nanos at = lw_split_ns(ns);
	google__protobuf__timestamp__init(t);
	t->seconds = at.sec;
	t->nanos = at.nanos;
}

void ns_api_quarantine(struct grpc_call *c, const ProtobufCMessage *msg, void *arg)
{
	const struct ns_api *api = arg;
	Longwave__Ns__V1__GetQuarantineResponse resp = LONGWAVE__NS__V1__GET_QUARANTINE_RESPONSE__INIT;
	Longwave__Ns__V1__Quarantine q = LONGWAVE__NS__V1__QUARANTINE__INIT;
	Google__Protobuf__Timestamp since, until;
	struct ns_quarantine now;
	struct lw_dev_eui eui;
	if (!ns_api_dev_eui(c, ((const Longwave__Ns__V1__DeviceRequest *)msg)->dev_eui, &eui))
		return;
	if (api->o.quarantine && api->o.quarantine(api->o.arg, eui, &now)) {
		q.cause = now.kind == NS_FLOOD_JOINS ? LONGWAVE__NS__V1__QUARANTINE__CAUSE__JOINS
						     : LONGWAVE__NS__V1__QUARANTINE__CAUSE__UPLINKS;
		q.measured = now.measured;
		q.limit = now.limit;
		q.dropped = now.dropped;
		set_time(&since, now.since_ns);
		set_time(&until, now.until_ns);
		q.since = &since;
		q.until = &until;
		resp.quarantine = &q;
	}
	grpc_call_reply(c, &resp.base);
}

void ns_api_release(struct grpc_call *c, const ProtobufCMessage *msg, void *arg)
{
	const struct ns_api *api = arg;
	struct lw_dev_eui eui;
	if (!ns_api_dev_eui(c, ((const Longwave__Ns__V1__DeviceRequest *)msg)->dev_eui, &eui))
		return;
	if (api->o.release && api->o.release(api->o.arg, eui))
		ns_api_reply_empty(c);
	else
		grpc_call_finish(c, GRPC_NOT_FOUND, "the device is in no quarantine");
}
