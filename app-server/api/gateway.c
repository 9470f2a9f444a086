/* Gateways. */
#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/link/nschange.h"
#include "app-server/link/nsync.h"
#include "app-server/store/row.h"
#include "proto/api/gateway.pb-c.h"

#define DEFAULT_PRIORITY 10

#define INSERT                                                                                                         \
	"INSERT INTO gateway (gateway_id, tenant_id, name, description, stats_interval, tags, latitude, longitude,"    \
	" altitude, downlink_priority, properties, last_seen_at, created_at, updated_at)"                              \
	" SELECT gateway_id, tenant_id, name, description, stats_interval, tags, latitude, longitude, altitude,"       \
	" downlink_priority, '{}', 0, now_us, now_us FROM {batch}"
#define INSERT_BATCH                                                                                                   \
	"gateway_id:t tenant_id:t name:t description:t stats_interval:l tags:t latitude:d longitude:d altitude:d "     \
	"downlink_priority:l now_us:l"
static const struct sql_stmt insert = {
	.name = "as_gateway_insert",
	.text = INSERT,
	.batch = INSERT_BATCH,
};
/* One at a time: what was counted must still be true when the row is written. */
static const struct sql_stmt insert_limited = {
	.name = "as_gateway_insert_limited",
	.text = INSERT " WHERE (SELECT count(*) FROM gateway AS g WHERE g.tenant_id = b.tenant_id) <"
		       " (SELECT t.max_gateway_count FROM tenant AS t WHERE t.id = b.tenant_id)"
		       " RETURNING CAST(0 AS BIGINT)",
	.batch = INSERT_BATCH,
	.cols = "l",
};
static const struct sql_stmt update = {
	.name = "as_gateway_update",
	.text = "UPDATE gateway SET name = b.name, description = b.description, stats_interval = b.stats_interval,"
		" tags = b.tags, latitude = b.latitude, longitude = b.longitude, altitude = b.altitude,"
		" downlink_priority = b.downlink_priority, updated_at = b.now_us FROM {batch}"
		" WHERE gateway.gateway_id = b.gateway_id RETURNING {b.n}",
	.batch = "gateway_id:t name:t description:t stats_interval:l tags:t latitude:d longitude:d altitude:d "
		 "downlink_priority:l now_us:l",
	.cols = "l",
};
static const struct sql_stmt select_one = {
	.name = "as_gateway_get",
	.text = "SELECT gateway_id, name, description, tenant_id, tags, properties, stats_interval, downlink_priority,"
		" created_at, updated_at, last_seen_at, latitude, longitude, altitude FROM gateway"
		" WHERE gateway_id = $1",
	.params = "t",
	.cols = "ttttttlllllddd",
};
static const struct sql_stmt intent = {
	.name = "as_gateway_intent",
	.text = "INSERT INTO ns_intent (kind, id, created_at) VALUES ('gateway', $1, $2)"
		" ON CONFLICT (kind, id) DO NOTHING",
	.params = "tl",
};
static const struct sql_stmt delete_one = {
	.name = "as_gateway_delete",
	.text = "DELETE FROM gateway WHERE gateway_id = $1",
	.params = "t",
};
/* $1 tenant, $2 gateway: what a create must know. */
static const struct sql_stmt create_check = {
	.name = "as_gateway_create_check",
	.text = "SELECT t.can_have_gateways, t.max_gateway_count, CASE WHEN t.max_gateway_count = 0 THEN 0 ELSE"
		" (SELECT count(*) FROM gateway AS g WHERE g.tenant_id = t.id) END, t.private_gateways_up,"
		" t.private_gateways_down, (SELECT count(*) FROM gateway AS g WHERE g.gateway_id = $2)"
		" FROM tenant AS t WHERE t.id = $1",
	.params = "tt",
	.cols = "llllll",
};
static const struct sql_stmt tenant_of = {
	.name = "as_gateway_tenant",
	.text = "SELECT t.private_gateways_up, t.private_gateways_down, g.tenant_id FROM gateway AS g"
		" JOIN tenant AS t ON t.id = g.tenant_id WHERE g.gateway_id = $1",
	.params = "t",
	.cols = "llt",
};

static const struct sql_stmt tenant_of_group = {
	.name = "as_gateway_tenant_of_group",
	.text = "SELECT a.tenant_id FROM multicast_group AS g JOIN application AS a ON a.id = g.application_id"
		" WHERE g.id = $1",
	.params = "t",
	.cols = "t",
};

#define MATCH                                                                                                          \
	" FROM gateway WHERE ($3 = '' OR EXISTS (SELECT 1 FROM multicast_group_gateway AS m WHERE m.group_id = $3"     \
	" AND m.gateway_id = gateway.gateway_id)) AND ($1 = '' OR tenant_id = $1) AND (lower(name) LIKE lower($2) "    \
	"ESCAPE '\\'"                                                                                                  \
	" OR gateway_id LIKE lower($2) ESCAPE '\\')"
static const struct sql_stmt count = {
	.name = "as_gateway_count",
	.text = "SELECT count(*)" MATCH,
	.params = "ttt",
	.cols = "l",
};
#define PAGE(label, order)                                                                                             \
	{                                                                                                              \
		.name = "as_gateway_page_" label,                                                                      \
		.text = "SELECT tenant_id, gateway_id, name, description, properties, created_at, updated_at,"         \
			" last_seen_at, downlink_priority, latitude, longitude, altitude, stats_interval" MATCH        \
			" ORDER BY " order " LIMIT $4 OFFSET $5",                                                      \
		.params = "tttll", .cols = "tttttlllldddl",                                                            \
	}
static const struct sql_stmt pages[][2] = {
	[API__LIST_GATEWAYS_REQUEST__ORDER_BY__NAME] = {PAGE("name", "name, gateway_id"),
							PAGE("name_d", "name DESC, gateway_id")},
	[API__LIST_GATEWAYS_REQUEST__ORDER_BY__GATEWAY_ID] = {PAGE("id", "gateway_id"),
							      PAGE("id_d", "gateway_id DESC")},
	[API__LIST_GATEWAYS_REQUEST__ORDER_BY__LAST_SEEN_AT] = {PAGE("seen", "last_seen_at, name, gateway_id"),
								PAGE("seen_d", "last_seen_at DESC, name, gateway_id")},
};

static uint32_t priority(const Api__Gateway *g)
{
	return g->downlink_priority ? g->downlink_priority : DEFAULT_PRIORITY;
}

static Longwave__Ns__V1__Change *change_of(struct as_call *c, const Api__Gateway *g, const char *id, const char *tenant,
					   bool private_up, bool private_down)
{
	struct as_ns_gateway ns = {.gateway_id = id,
				   .tenant_id = tenant,
				   .stats_interval_s = g->stats_interval,
				   .downlink_priority = priority(g),
				   .is_private_up = private_up,
				   .is_private_down = private_down};
	if (g->location) {
		ns.latitude = g->location->latitude;
		ns.longitude = g->location->longitude;
		ns.altitude = g->location->altitude;
	}
	return as_change_gateway(c->arena, &ns);
}

static void put_common(struct sql_params *p, struct as_call *c, const Api__Gateway *g)
{
	as_row_bind(p, &g->base, "name description stats_interval tags");
	sql_put_f64(p, g->location ? g->location->latitude : 0);
	sql_put_f64(p, g->location ? g->location->longitude : 0);
	sql_put_f64(p, g->location ? g->location->altitude : 0);
	sql_put_i64(p, priority(g));
	sql_put_i64(p, as_now_us(c->as));
}

static bool valid(struct as_call *c, const Api__Gateway *g)
{
	const Common__Location *l = g->location;
	if (l && !(l->latitude >= -90 && l->latitude <= 90 && l->longitude >= -180 && l->longitude <= 180)) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "location is not on Earth");
		return false;
	}
	return as_name_arg(c, g->name);
}

static void bind_insert(const struct as_nsop *op, struct sql_params *p)
{
	struct as_call *c = op->arg;
	sql_put_text(p, op->id);
	sql_put_text(p, c->object_id);
	put_common(p, c, ((const Api__CreateGatewayRequest *)c->req)->gateway);
}

static void create_checked(struct as_call *c, const struct sql_result *r)
{
	const Api__Gateway *g = ((const Api__CreateGatewayRequest *)c->req)->gateway;
	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
	} else if (!sql_i64(r, 0, 0)) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "Not allowed: the tenant cannot have gateways");
	} else if (sql_i64(r, 0, 5)) {
		as_fail(c, GRPC_ALREADY_EXISTS, "gateway exists already");
	} else if (sql_i64(r, 0, 1) && sql_i64(r, 0, 2) >= sql_i64(r, 0, 1)) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "Not allowed: the tenant has its maximum of gateways");
	} else {
		const char *id = c->object_id2;
		Longwave__Ns__V1__Change *ch =
			change_of(c, g, id, c->object_id, sql_i64(r, 0, 3) != 0, sql_i64(r, 0, 4) != 0);
		c->limited = sql_i64(r, 0, 1) != 0;
		as_put(c, AS_KIND_GATEWAY, id, ch, c->limited ? &insert_limited : &insert, c->limited, bind_insert,
		       "gateway");
	}
}

void as_gateway_create(struct as_call *c)
{
	const Api__Gateway *g = ((const Api__CreateGatewayRequest *)c->req)->gateway;
	const char *id = as_eui_arg(c, g->gateway_id, "gateway_id");
	if (!id || !valid(c, g))
		return;
	c->object_id2 = id;
	struct sql_query *q = sql_query_new(c->as->db, &create_check);
	sql_put_text(sql_query_params(q), c->object_id);
	sql_put_text(sql_query_params(q), id);
	as_query(c, q, create_checked);
}

static void fill_location(struct as_call *c, const struct sql_result *r, size_t row, size_t col, Common__Location **out)
{
	*out = as_msg_new(c->arena, &common__location__descriptor);
	as_row_fill(c->arena, &(*out)->base, "latitude longitude altitude", r, row, col);
}

static void complete_get(struct as_call *c, const struct sql_result *r, ProtobufCMessage *member, ProtobufCMessage *msg)
{
	(void)msg;
	fill_location(c, r, 0, 11, &((Api__Gateway *)(void *)member)->location);
}

void as_gateway_get(struct as_call *c)
{
	static const struct as_get get = {
		.stmt = &select_one,
		.response = &api__get_gateway_response__descriptor,
		.member = "gateway",
		.member_fields = "gateway_id name description tenant_id tags metadata stats_interval downlink_priority",
		.fields = "created_at updated_at last_seen_at",
		.complete = complete_get};
	as_get(c, &get);
}

static void bind_update(const struct as_nsop *op, struct sql_params *p)
{
	struct as_call *c = op->arg;
	sql_put_text(p, op->id);
	put_common(p, c, ((const Api__UpdateGatewayRequest *)c->req)->gateway);
}

static void update_checked(struct as_call *c, const struct sql_result *r)
{
	const Api__Gateway *g = ((const Api__UpdateGatewayRequest *)c->req)->gateway;
	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
		return;
	}
	const char *tenant = lw_arena_strdup(c->arena, sql_text(r, 0, 2));
	Longwave__Ns__V1__Change *ch =
		change_of(c, g, c->object_id, tenant, sql_i64(r, 0, 0) != 0, sql_i64(r, 0, 1) != 0);
	as_put(c, AS_KIND_GATEWAY, c->object_id, ch, &update, true, bind_update, "gateway");
}

void as_gateway_update(struct as_call *c)
{
	if (valid(c, ((const Api__UpdateGatewayRequest *)c->req)->gateway))
		as_query_text(c, &tenant_of, c->object_id, update_checked);
}

static void build_delete(const struct as_nsop *op, struct sql_tx *tx)
{
	struct as_call *c = op->arg;
	struct sql_params *p = sql_tx_add(tx, &intent, NULL, NULL);
	sql_put_text(p, op->id);
	sql_put_i64(p, as_now_us(c->as));
	sql_put_text(sql_tx_add(tx, &delete_one, NULL, NULL), op->id);
	sql_tx_expect(tx, 1, 1, AS_ROW_MISSING);
}

void as_gateway_delete(struct as_call *c)
{
	as_push(c, AS_KIND_GATEWAY, c->object_id, build_delete, "gateway");
}

static void bind_list(struct as_call *c, struct sql_params *p)
{
	sql_put_text(p, c->object_id);
	sql_put_text(p, as_search_pattern(c, ((const Api__ListGatewaysRequest *)c->req)->search));
	sql_put_text(p, c->object_id2);
}

static void complete_item(struct as_call *c, const struct sql_result *r, size_t i, ProtobufCMessage *msg)
{
	Api__GatewayListItem *item = (void *)msg;
	int64_t seen = sql_i64(r, i, 7);
	fill_location(c, r, i, 9, &item->location);
	if (seen == 0)
		item->state = API__GATEWAY_STATE__NEVER_SEEN;
	else if (as_now_us(c->as) - seen > 2 * sql_i64(r, i, 12) * 1000000)
		item->state = API__GATEWAY_STATE__OFFLINE;
	else
		item->state = API__GATEWAY_STATE__ONLINE;
}

static void list(struct as_call *c, const struct lw_uuid *tenant)
{
	const Api__ListGatewaysRequest *req = c->req;
	if (!as_allowed(c, "GatewaysAccess:List", tenant))
		return;
	as_list(c, &(struct as_list){.count = &count,
				     .page = &pages[req->order_by][req->order_by_desc ? 1 : 0],
				     .bind = bind_list,
				     .fields = "tenant_id gateway_id name description properties created_at "
					       "updated_at last_seen_at downlink_priority",
				     .item = complete_item,
				     .response = &api__list_gateways_response__descriptor,
				     .limit = req->limit,
				     .offset = req->offset});
}

/* A group's gateways are of the group's tenant: whoever may see these and the group, may see them. */
static void with_group(struct as_call *c, const struct sql_result *r)
{
	struct lw_uuid tenant;
	bool found = sql_rows(r) > 0 && lw_uuid_parse(&tenant, sql_text(r, 0, 0)) == 0;
	if (!as_allowed(c, "MulticastGroupAccess:Read", found ? &tenant : NULL))
		return;
	if (!found)
		as_fail_missing(c, c->object_id2);
	else
		list(c, &tenant);
}

void as_gateway_list(struct as_call *c)
{
	const Api__ListGatewaysRequest *req = c->req;
	struct lw_uuid tenant;
	if (req->tenant_id[0] && !(c->object_id = as_uuid_arg(c, req->tenant_id, "tenant_id")))
		return;
	if (req->multicast_group_id[0] &&
	    !(c->object_id2 = as_uuid_arg(c, req->multicast_group_id, "multicast_group_id")))
		return;
	if ((unsigned)req->order_by >= sizeof(pages) / sizeof(pages[0]))
		as_fail(c, GRPC_INVALID_ARGUMENT, "order_by is unknown");
	else if (c->object_id2[0])
		as_query_text(c, &tenant_of_group, c->object_id2, with_group);
	else
		list(c, c->object_id[0] && lw_uuid_parse(&tenant, c->object_id) == 0 ? &tenant : NULL);
}
