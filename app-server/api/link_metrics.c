/* Series of what was counted of devices and gateways. The network-server counts; nothing of it is kept here. */
#include "app-server/api/handlers.h"
#include "app-server/domain/link_series.h"
#include "app-server/store/row.h"
#include "common/base/bug.h"
#include "common/pb/unpack.h"
#include "proto/api/device.pb-c.h"
#include "proto/api/device_profile.pb-c.h"
#include "proto/api/gateway.pb-c.h"
#include "proto/longwave/v1/reason.pb-c.h"

#define KIND(name) LONGWAVE__NS__V1__LINK_TALLY__KIND__##name

static void ask(struct as_call *c, bool is_gateway, Google__Protobuf__Timestamp *start,
		Google__Protobuf__Timestamp *end, Common__Aggregation aggregation,
		void (*then)(struct as_call *c, const ProtobufCMessage *resp))
{
	Longwave__Ns__V1__LinkMetricsRequest req = LONGWAVE__NS__V1__LINK_METRICS_REQUEST__INIT;
	if (!start || !end) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "%s is missing", start ? "end" : "start");
		return;
	}
	*(is_gateway ? &req.gateway_id : &req.dev_eui) = (char *)(uintptr_t)c->object_id;
	req.start = start;
	req.end = end;
	req.aggregation = aggregation;
	as_ns(c, "GetLinkMetrics", &req.base, &longwave__ns__v1__link_metrics_response__descriptor, then);
}

/* Minutes are kept of duty cycles only. */
static bool no_minutes(struct as_call *c, Common__Aggregation aggregation)
{
	if (aggregation == COMMON__AGGREGATION__HOUR || aggregation == COMMON__AGGREGATION__DAY ||
	    aggregation == COMMON__AGGREGATION__MONTH)
		return true;
	as_fail(c, GRPC_INVALID_ARGUMENT, "aggregation is not HOUR, DAY or MONTH");
	return false;
}

/* ---- devices ---- */

static void on_device(struct as_call *c, const ProtobufCMessage *msg)
{
	const Longwave__Ns__V1__LinkMetricsResponse *in = (const void *)msg;
	Api__GetDeviceLinkMetricsResponse resp = API__GET_DEVICE_LINK_METRICS_RESPONSE__INIT;
	struct lw_arena *a = c->arena;
	resp.rx_packets = as_series_of(a, in, "Received", "rx_count", KIND(RX), 1);
	resp.gw_rssi = as_series_mean(a, in, "RSSI", "rssi", KIND(RSSI_DBM), 1);
	resp.gw_snr = as_series_mean(a, in, "SNR", "snr", KIND(SNR_DDB), 0.1F);
	resp.rx_packets_per_freq = as_series_by_key(a, in, "Received / frequency", KIND(RX_FREQUENCY), NULL);
	resp.rx_packets_per_dr = as_series_by_key(a, in, "Received / DR", KIND(RX_DR), NULL);
	resp.errors = as_series_by_key(a, in, "Errors", KIND(ERROR), &longwave__v1__reason__descriptor);
	as_reply(c, &resp.base);
}

void as_device_link_metrics(struct as_call *c)
{
	const Api__GetDeviceLinkMetricsRequest *req = c->req;
	if (no_minutes(c, req->aggregation))
		ask(c, false, req->start, req->end, req->aggregation, on_device);
}

/* What payloads say. Nothing decodes them yet, so each measurement of the profile has its name and no values. */
static const struct sql_stmt profile_of = {
	.name = "as_device_profile_body",
	.text = "SELECT p.body FROM device AS d JOIN device_profile AS p ON p.id = d.device_profile_id"
		" WHERE d.dev_eui = $1",
	.params = "t",
	.cols = "y",
};

static Common__MetricKind kind_of(Api__MeasurementKind kind)
{
	switch (kind) {
	case API__MEASUREMENT_KIND__COUNTER:
		return COMMON__METRIC_KIND__COUNTER;
	case API__MEASUREMENT_KIND__ABSOLUTE:
		return COMMON__METRIC_KIND__ABSOLUTE;
	default:
		return COMMON__METRIC_KIND__GAUGE;
	}
}

/* An entry of a map may have come without its value. */
static Api__MeasurementKind kind_at(const Api__DeviceProfile *p, size_t i)
{
	const Api__Measurement *m = p->measurements[i]->value;
	return m ? m->kind : API__MEASUREMENT_KIND__UNKNOWN;
}

static void on_measurements(struct as_call *c, const struct sql_result *r)
{
	Api__GetDeviceMetricsResponse *resp = as_msg_new(c->arena, &api__get_device_metrics_response__descriptor);
	ProtobufCMessage *body = NULL;
	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
		return;
	}
	if (!as_unpack(c, &api__device_profile__descriptor, sql_span(r, 0, 0), "device_profile of device", c->object_id,
		       "body", &body))
		return;
	const Api__DeviceProfile *p = (const void *)body;
	size_t n_states = 0, n_metrics = 0;
	for (size_t i = 0; i < p->n_measurements; i++) {
		Api__MeasurementKind kind = kind_at(p, i);
		n_states += kind == API__MEASUREMENT_KIND__STRING;
		n_metrics += kind != API__MEASUREMENT_KIND__STRING && kind != API__MEASUREMENT_KIND__UNKNOWN;
	}
	Api__GetDeviceMetricsResponse__MetricsEntry **m =
		(void *)as_msg_list(c->arena, &resp->base, "metrics", n_metrics);
	Api__GetDeviceMetricsResponse__StatesEntry **s = (void *)as_msg_list(c->arena, &resp->base, "states", n_states);
	for (size_t i = 0; i < p->n_measurements; i++) {
		const Api__Measurement *from = p->measurements[i]->value;
		if (kind_at(p, i) == API__MEASUREMENT_KIND__STRING) {
			(*s)->key = p->measurements[i]->key;
			(*s)->value = as_msg_new(c->arena, &api__device_state__descriptor);
			(*s++)->value->name = from->name;
		} else if (kind_at(p, i) != API__MEASUREMENT_KIND__UNKNOWN) {
			(*m)->key = p->measurements[i]->key;
			(*m)->value = as_msg_new(c->arena, &common__metric__descriptor);
			(*m)->value->name = from->name;
			(*m++)->value->kind = kind_of(from->kind);
		}
	}
	as_reply(c, &resp->base);
}

void as_device_metrics(struct as_call *c)
{
	const Api__GetDeviceMetricsRequest *req = c->req;
	if (!req->start || !req->end)
		as_fail(c, GRPC_INVALID_ARGUMENT, "%s is missing", req->start ? "end" : "start");
	else if (no_minutes(c, req->aggregation))
		as_query_text(c, &profile_of, c->object_id, on_measurements);
}

/* ---- gateways ---- */

static void on_gateway(struct as_call *c, const ProtobufCMessage *msg)
{
	const Longwave__Ns__V1__LinkMetricsResponse *in = (const void *)msg;
	Api__GetGatewayMetricsResponse resp = API__GET_GATEWAY_METRICS_RESPONSE__INIT;
	struct lw_arena *a = c->arena;
	resp.rx_packets = as_series_of(a, in, "Received", "rx_count", KIND(RX), 1);
	resp.tx_packets = as_series_of(a, in, "Transmitted", "tx_count", KIND(TX), 1);
	resp.rx_packets_per_freq = as_series_by_key(a, in, "Received / frequency", KIND(RX_FREQUENCY), NULL);
	resp.tx_packets_per_freq = as_series_by_key(a, in, "Transmitted / frequency", KIND(TX_FREQUENCY), NULL);
	resp.rx_packets_per_dr = as_series_by_key(a, in, "Received / DR", KIND(RX_DR), NULL);
	resp.tx_packets_per_dr = as_series_by_key(a, in, "Transmitted / DR", KIND(TX_DR), NULL);
	resp.tx_packets_per_status =
		as_series_by_key(a, in, "TX packets / status", KIND(TX_STATUS), &gw__tx_ack_status__descriptor);
	as_reply(c, &resp.base);
}

void as_gateway_metrics(struct as_call *c)
{
	const Api__GetGatewayMetricsRequest *req = c->req;
	if (no_minutes(c, req->aggregation))
		ask(c, true, req->start, req->end, req->aggregation, on_gateway);
}

static void on_duty(struct as_call *c, const ProtobufCMessage *msg)
{
	const Longwave__Ns__V1__LinkMetricsResponse *in = (const void *)msg;
	Api__GetGatewayDutyCycleMetricsResponse resp = API__GET_GATEWAY_DUTY_CYCLE_METRICS_RESPONSE__INIT;
	resp.max_load_percentage = as_series_duty(c->arena, in, "Percentage of max tx duty-cycle", false);
	resp.window_percentage = as_series_duty(c->arena, in, "Tx duty-cycle", true);
	as_reply(c, &resp.base);
}

void as_gateway_duty_metrics(struct as_call *c)
{
	const Api__GetGatewayDutyCycleMetricsRequest *req = c->req;
	ask(c, true, req->start, req->end, COMMON__AGGREGATION__MINUTE, on_duty);
}
