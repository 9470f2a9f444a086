/* How a device's link fares: what does not come, and what it costs the air. Asked of the network-server, whose frame
 * log may be away without hiding the rest. */
#include "app-server/api/handlers.h"
#include "app-server/domain/link_series.h"
#include "app-server/store/row.h"
#include "proto/google/protobuf/empty.pb-c.h"
#include "proto/longwave/app/v1/device.pb-c.h"

#define KIND(name) LONGWAVE__NS__V1__LINK_TALLY__KIND__##name
#define FRAMES 200 /* of both directions: enough for the 64 uplinks that make a rhythm */

static void on_metrics(struct as_call *c, const ProtobufCMessage *msg)
{
	const Longwave__Ns__V1__LinkMetricsResponse *in = (const void *)msg;
	Longwave__App__V1__GetLinkResponse *resp = c->state;
	resp->lost = as_series_of(c->arena, in, "Lost", "lost", KIND(LOST), 1);
	resp->uplink_airtime = as_series_of(c->arena, in, "Uplink air time", "ms", KIND(RX_AIRTIME_US), 1e-3F);
	resp->downlink_airtime = as_series_of(c->arena, in, "Downlink air time", "ms", KIND(TX_AIRTIME_US), 1e-3F);
	resp->downlinks = as_series_of(c->arena, in, "Downlinks", "tx_count", KIND(TX), 1);
	as_reply(c, &resp->base);
}

static void on_session(struct as_call *c, const ProtobufCMessage *msg)
{
	const Longwave__App__V1__GetLinkRequest *req = c->req;
	const Longwave__Ns__V1__GetSessionResponse *in = (const void *)msg;
	Longwave__App__V1__GetLinkResponse *resp = c->state;
	Longwave__Ns__V1__LinkMetricsRequest out = LONGWAVE__NS__V1__LINK_METRICS_REQUEST__INIT;
	if (in->session) {
		const Longwave__Ns__V1__Session *s = in->session;
		resp->next_f_cnt = s->f_cnt_up;
		resp->missing_f_cnts = LW_ARENA_ARRAY(c->arena, uint32_t, s->n_missing_f_cnts + 1);
		for (size_t i = 0; i < s->n_missing_f_cnts; i++)
			resp->missing_f_cnts[resp->n_missing_f_cnts++] = s->missing_f_cnts[i];
	}
	out.dev_eui = (char *)(uintptr_t)c->object_id;
	out.start = req->start;
	out.end = req->end;
	out.aggregation = req->aggregation;
	as_ns(c, "GetLinkMetrics", &out.base, &longwave__ns__v1__link_metrics_response__descriptor, on_metrics);
}

static void on_quarantine(struct as_call *c, const ProtobufCMessage *msg)
{
	const Longwave__Ns__V1__GetQuarantineResponse *in = (const void *)msg;
	Longwave__App__V1__GetLinkResponse *resp = c->state;
	Longwave__Ns__V1__DeviceRequest out = LONGWAVE__NS__V1__DEVICE_REQUEST__INIT;
	if (in && in->quarantine)
		resp->quarantine = as_msg_copy(c->arena, &in->quarantine->base);
	out.dev_eui = (char *)(uintptr_t)c->object_id;
	as_ns(c, "GetSession", &out.base, &longwave__ns__v1__get_session_response__descriptor, on_session);
}

static void on_frames(struct as_call *c, const ProtobufCMessage *msg)
{
	const Longwave__Ns__V1__ListFramesResponse *in = (const void *)msg;
	Longwave__App__V1__GetLinkResponse *resp = c->state;
	Longwave__Ns__V1__DeviceRequest out = LONGWAVE__NS__V1__DEVICE_REQUEST__INIT;
	if (in && in->cadence)
		resp->cadence = as_msg_copy(c->arena, &in->cadence->base);
	out.dev_eui = (char *)(uintptr_t)c->object_id;
	as_ns_if(c, "GetQuarantine", &out.base, &longwave__ns__v1__get_quarantine_response__descriptor, on_quarantine);
}

void as_device_link(struct as_call *c)
{
	const Longwave__App__V1__GetLinkRequest *req = c->req;
	Longwave__Ns__V1__StreamFramesRequest out = LONGWAVE__NS__V1__STREAM_FRAMES_REQUEST__INIT;
	if (!req->start || !req->end) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "%s is missing", req->start ? "end" : "start");
		return;
	}
	c->state = as_msg_new(c->arena, &longwave__app__v1__get_link_response__descriptor);
	out.dev_eui = (char *)(uintptr_t)c->object_id;
	out.limit = FRAMES;
	as_ns_if(c, "ListFrames", &out.base, &longwave__ns__v1__list_frames_response__descriptor, on_frames);
}

static void on_released(struct as_call *c, const ProtobufCMessage *msg)
{
	(void)msg;
	as_reply_empty(c);
}

void as_device_release(struct as_call *c)
{
	Longwave__Ns__V1__DeviceRequest out = LONGWAVE__NS__V1__DEVICE_REQUEST__INIT;
	out.dev_eui = (char *)(uintptr_t)c->object_id;
	as_ns(c, "ReleaseQuarantine", &out.base, &google__protobuf__empty__descriptor, on_released);
}
