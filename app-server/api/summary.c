/* Counts for the dashboard. */
#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/store/row.h"
#include "proto/api/internal.pb-c.h"

/* $1 tenant ('' all), $2 now. A device is active while its last uplink is younger than 1.5 uplink intervals. */
static const struct sql_stmt devices = {
	.name = "as_summary_devices",
	.text = "SELECT CAST(coalesce(sum(CASE WHEN d.last_seen_at <> 0 AND $2 - d.last_seen_at <= p.uplink_interval * "
		"1500000"
		" THEN 1 ELSE 0 END), 0) AS BIGINT), CAST(coalesce(sum(CASE WHEN d.last_seen_at <> 0"
		" AND $2 - d.last_seen_at > p.uplink_interval * 1500000 THEN 1 ELSE 0 END), 0) AS BIGINT),"
		" CAST(coalesce(sum(CASE WHEN d.last_seen_at = 0 THEN 1 ELSE 0 END), 0) AS BIGINT)"
		" FROM device AS d JOIN device_profile AS p ON p.id = d.device_profile_id"
		" WHERE $1 = '' OR d.tenant_id = $1",
	.params = "tl",
	.cols = "lll",
};
static const struct sql_stmt rates = {
	.name = "as_summary_rates",
	.text = "SELECT dr, count(*) FROM device WHERE dr >= 0 AND ($1 = '' OR tenant_id = $1) GROUP BY dr ORDER BY dr",
	.params = "t",
	.cols = "ll",
};
static const struct sql_stmt gateways = {
	.name = "as_summary_gateways",
	.text = "SELECT CAST(coalesce(sum(CASE WHEN last_seen_at <> 0 AND $2 - last_seen_at <= stats_interval * 2000000"
		" THEN 1 ELSE 0 END), 0) AS BIGINT), CAST(coalesce(sum(CASE WHEN last_seen_at <> 0"
		" AND $2 - last_seen_at > stats_interval * 2000000 THEN 1 ELSE 0 END), 0) AS BIGINT),"
		" CAST(coalesce(sum(CASE WHEN last_seen_at = 0 THEN 1 ELSE 0 END), 0) AS BIGINT)"
		" FROM gateway WHERE $1 = '' OR tenant_id = $1",
	.params = "tl",
	.cols = "lll",
};

/* An empty tenant is the whole installation, for administrators only. False: the call is finished. */
static bool tenant_arg(struct as_call *c, const char *text)
{
	struct lw_uuid id;
	if (!text[0])
		return as_allowed(c, "IsAdmin", NULL);
	if (!(c->object_id = as_uuid_arg(c, text, "tenant_id")))
		return false;
	lw_uuid_parse(&id, c->object_id);
	return as_allowed(c, "TenantAccess:Read", &id);
}

static void ask(struct as_call *c, const struct sql_stmt *stmt,
		void (*then)(struct as_call *c, const struct sql_result *r))
{
	struct sql_query *q = sql_query_new(c->as->db, stmt);
	sql_put_text(sql_query_params(q), c->object_id);
	sql_put_i64(sql_query_params(q), as_now_us(c->as));
	as_query(c, q, then);
}

static void on_rates(struct as_call *c, const struct sql_result *r)
{
	Api__GetDevicesSummaryResponse *resp = c->state;
	Api__GetDevicesSummaryResponse__DrCountEntry **v =
		(void *)as_msg_list(c->arena, &resp->base, "dr_count", sql_rows(r));
	for (size_t i = 0; i < sql_rows(r); i++) {
		v[i]->key = (uint32_t)sql_i64(r, i, 0);
		v[i]->value = (uint32_t)sql_i64(r, i, 1);
	}
	as_reply(c, &resp->base);
}

static void on_devices(struct as_call *c, const struct sql_result *r)
{
	Api__GetDevicesSummaryResponse *resp = as_msg_new(c->arena, &api__get_devices_summary_response__descriptor);
	as_row_fill(c->arena, &resp->base, "active_count inactive_count never_seen_count", r, 0, 0);
	c->state = resp;
	as_query_text(c, &rates, c->object_id, on_rates);
}

void as_devices_summary(struct as_call *c)
{
	if (tenant_arg(c, ((const Api__GetDevicesSummaryRequest *)c->req)->tenant_id))
		ask(c, &devices, on_devices);
}

static void on_gateways(struct as_call *c, const struct sql_result *r)
{
	ProtobufCMessage *resp = as_msg_new(c->arena, &api__get_gateways_summary_response__descriptor);
	as_row_fill(c->arena, resp, "online_count offline_count never_seen_count", r, 0, 0);
	as_reply(c, resp);
}

void as_gateways_summary(struct as_call *c)
{
	if (tenant_arg(c, ((const Api__GetGatewaysSummaryRequest *)c->req)->tenant_id))
		ask(c, &gateways, on_gateways);
}
