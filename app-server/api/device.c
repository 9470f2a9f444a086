/* Devices: identity, lists. Keys, activation and queue have files of their own. */
#include <string.h>

#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/link/nschange.h"
#include "app-server/link/nsync.h"
#include "app-server/store/row.h"
#include "proto/api/device.pb-c.h"

#define INSERT                                                                                                         \
	"INSERT INTO device (dev_eui, tenant_id, application_id, device_profile_id, join_eui, name, description,"      \
	" skip_fcnt_check, is_disabled, variables, tags, last_seen_at, class_enabled, dev_addr, dr, status_at, "       \
	"margin,"                                                                                                      \
	" battery, created_at, updated_at) SELECT dev_eui, tenant_id, application_id, device_profile_id, join_eui, "   \
	"name,"                                                                                                        \
	" description, skip_fcnt_check, is_disabled, variables, tags, 0, 0, '', -1, 0, 0, 255, now_us, now_us"         \
	" FROM {batch}"
#define INSERT_BATCH                                                                                                   \
	"dev_eui:t tenant_id:t application_id:t device_profile_id:t join_eui:t name:t description:t "                  \
	"skip_fcnt_check:l is_disabled:l variables:t tags:t now_us:l"
static const struct sql_stmt insert = {
	.name = "as_device_insert",
	.text = INSERT,
	.batch = INSERT_BATCH,
};
/* One at a time: what was counted must still be true when the row is written. */
static const struct sql_stmt insert_limited = {
	.name = "as_device_insert_limited",
	.text = INSERT " WHERE (SELECT count(*) FROM device AS d WHERE d.tenant_id = b.tenant_id) <"
		       " (SELECT t.max_device_count FROM tenant AS t WHERE t.id = b.tenant_id)"
		       " RETURNING CAST(0 AS BIGINT)",
	.batch = INSERT_BATCH,
	.cols = "l",
};
static const struct sql_stmt update = {
	.name = "as_device_update",
	.text = "UPDATE device SET application_id = b.application_id, device_profile_id = b.device_profile_id,"
		" join_eui = b.join_eui, name = b.name, description = b.description,"
		" skip_fcnt_check = b.skip_fcnt_check, is_disabled = b.is_disabled, variables = b.variables,"
		" tags = b.tags, updated_at = b.now_us FROM {batch} WHERE device.dev_eui = b.dev_eui RETURNING {b.n}",
	.batch = "dev_eui:t application_id:t device_profile_id:t join_eui:t name:t description:t skip_fcnt_check:l "
		 "is_disabled:l variables:t tags:t now_us:l",
	.cols = "l",
};
/* $1 device, $2 its application from now on: it belongs to no multicast group of another one. */
#define OTHER_GROUPS                                                                                                   \
	" WHERE dev_eui = $1 AND group_id IN (SELECT g.id FROM multicast_group AS g WHERE g.application_id <> $2)"
static const struct sql_stmt leave_intents = {
	.name = "as_device_leave_intents",
	.text = "INSERT INTO ns_intent (kind, id, created_at) SELECT 'multicast_device', group_id || '/' || dev_eui, $3"
		" FROM multicast_group_device" OTHER_GROUPS " ON CONFLICT (kind, id) DO NOTHING",
	.params = "ttl",
};
static const struct sql_stmt leave = {
	.name = "as_device_leave",
	.text = "DELETE FROM multicast_group_device" OTHER_GROUPS " RETURNING group_id",
	.params = "tt",
	.cols = "t",
};
static const struct sql_stmt select_one = {
	.name = "as_device_get",
	.text = "SELECT dev_eui, name, description, application_id, device_profile_id, skip_fcnt_check, is_disabled,"
		" variables, tags, join_eui, created_at, updated_at, last_seen_at, class_enabled, status_at, margin,"
		" battery FROM device WHERE dev_eui = $1",
	.params = "t",
	.cols = "tttttllttt"
		"lllllll",
};
static const struct sql_stmt intent = {
	.name = "as_device_intent",
	.text = "INSERT INTO ns_intent (kind, id, created_at) VALUES ('device', $1, $2) ON CONFLICT (kind, id) DO "
		"NOTHING",
	.params = "tl",
};
static const struct sql_stmt delete_one = {
	.name = "as_device_delete",
	.text = "DELETE FROM device WHERE dev_eui = $1",
	.params = "t",
};
/* $1 tenant, $2 device, $3 profile: what a create must know. */
static const struct sql_stmt create_check = {
	.name = "as_device_create_check",
	.text = "SELECT t.max_device_count, CASE WHEN t.max_device_count = 0 THEN 0 ELSE"
		" (SELECT count(*) FROM device AS d WHERE d.tenant_id = t.id) END,"
		" (SELECT count(*) FROM device AS d WHERE d.dev_eui = $2),"
		" (SELECT count(*) FROM device_profile AS p WHERE p.id = $3 AND (p.tenant_id IS NULL"
		" OR p.tenant_id = t.id)) FROM tenant AS t WHERE t.id = $1",
	.params = "ttt",
	.cols = "llll",
};
/* $1 tenant, $2 application, $3 profile: both must be of the device's tenant. */
static const struct sql_stmt update_check = {
	.name = "as_device_update_check",
	.text = "SELECT (SELECT count(*) FROM application AS a WHERE a.id = $2 AND a.tenant_id = t.id),"
		" (SELECT count(*) FROM device_profile AS p WHERE p.id = $3 AND (p.tenant_id IS NULL"
		" OR p.tenant_id = t.id)) FROM tenant AS t WHERE t.id = $1",
	.params = "ttt",
	.cols = "ll",
};

/* Most pairs that a list can be narrowed by. */
#define MAX_TAGS 8
/* The pair is somewhere among the tags; '' stands for no pair. */
#define HAS(pair) " AND (" pair " = '' OR replace(',' || substr(d.tags, 2), " pair ", '') <> ',' || substr(d.tags, 2))"
#define MATCH                                                                                                          \
	" FROM device AS d JOIN device_profile AS p ON p.id = d.device_profile_id WHERE d.application_id = $1"         \
	" AND (lower(d.name) LIKE lower($2) ESCAPE '\\' OR d.dev_eui LIKE lower($2) ESCAPE '\\')"                      \
	" AND ($12 = '' OR EXISTS (SELECT 1 FROM multicast_group_device AS m WHERE m.group_id = $12"                   \
	" AND m.dev_eui = d.dev_eui))"                                                                                 \
	" AND ($3 = '' OR d.device_profile_id = $3)" HAS("$4") HAS("$5") HAS("$6") HAS("$7") HAS("$8") HAS("$9")       \
		HAS("$10") HAS("$11")
static const struct sql_stmt count = {
	.name = "as_device_count",
	.text = "SELECT count(*)" MATCH,
	.params = "tttttttttttt",
	.cols = "l",
};
#define PAGE(label, order)                                                                                             \
	{                                                                                                              \
		.name = "as_device_page_" label,                                                                       \
		.text = "SELECT d.dev_eui, d.created_at, d.updated_at, d.last_seen_at, d.name, d.description,"         \
			" d.device_profile_id, p.name, d.tags, d.status_at, d.margin, d.battery" MATCH                 \
			" ORDER BY " order " LIMIT $13 OFFSET $14",                                                    \
		.params = "ttttttttttttll",                                                                            \
		.cols = "tlllttttt"                                                                                    \
			"lll",                                                                                         \
	}
static const struct sql_stmt pages[][2] = {
	[API__LIST_DEVICES_REQUEST__ORDER_BY__NAME] = {PAGE("name", "d.name, d.dev_eui"),
						       PAGE("name_d", "d.name DESC, d.dev_eui")},
	[API__LIST_DEVICES_REQUEST__ORDER_BY__DEV_EUI] = {PAGE("eui", "d.dev_eui"), PAGE("eui_d", "d.dev_eui DESC")},
	[API__LIST_DEVICES_REQUEST__ORDER_BY__LAST_SEEN_AT] = {PAGE("seen", "d.last_seen_at, d.name, d.dev_eui"),
							       PAGE("seen_d",
								    "d.last_seen_at DESC, d.name, d.dev_eui")},
	[API__LIST_DEVICES_REQUEST__ORDER_BY__DEVICE_PROFILE_NAME] = {PAGE("profile", "p.name, d.name, d.dev_eui"),
								      PAGE("profile_d",
									   "p.name DESC, d.name, d.dev_eui")},
};

/* Canonical ids of the request, found by the handlers of create and update. */
struct ids {
	const char *dev_eui, *tenant_id, *application_id, *device_profile_id, *join_eui;
};

static bool prepare(struct as_call *c, const Api__Device *d)
{
	struct ids *ids = LW_ARENA_NEW(c->arena, struct ids);
	char tenant[LW_UUID_TEXT];

	if (!as_name_arg(c, d->name))
		return false;
	if (!(ids->dev_eui = as_eui_arg(c, d->dev_eui, "dev_eui")) ||
	    !(ids->join_eui = as_eui_arg_optional(c, d->join_eui, "join_eui")) ||
	    !(ids->application_id = as_uuid_arg(c, d->application_id, "application_id")) ||
	    !(ids->device_profile_id = as_uuid_arg(c, d->device_profile_id, "device_profile_id")))
		return false;
	ids->tenant_id = lw_arena_strdup(c->arena, lw_uuid_print(c->tenant_id, tenant));
	c->state = ids;
	return true;
}

static Longwave__Ns__V1__Change *change_of(struct as_call *c, const Api__Device *d)
{
	const struct ids *ids = c->state;
	struct as_ns_device ns = {.dev_eui = ids->dev_eui,
				  .join_eui = ids->join_eui,
				  .tenant_id = ids->tenant_id,
				  .device_profile_id = ids->device_profile_id,
				  .is_disabled = d->is_disabled,
				  .skip_fcnt_check = d->skip_fcnt_check};
	return as_change_device(c->arena, &ns);
}

static void put_common(struct sql_params *p, struct as_call *c, const Api__Device *d)
{
	const struct ids *ids = c->state;
	sql_put_text(p, ids->application_id);
	sql_put_text(p, ids->device_profile_id);
	sql_put_text(p, ids->join_eui);
	as_row_bind(p, &d->base, "name description skip_fcnt_check is_disabled variables tags");
	sql_put_i64(p, as_now_us(c->as));
}

static void bind_insert(const struct as_nsop *op, struct sql_params *p)
{
	struct as_call *c = op->arg;
	const struct ids *ids = c->state;
	sql_put_text(p, ids->dev_eui);
	sql_put_text(p, ids->tenant_id);
	put_common(p, c, ((const Api__CreateDeviceRequest *)c->req)->device);
}

static void create_checked(struct as_call *c, const struct sql_result *r)
{
	const Api__Device *d = ((const Api__CreateDeviceRequest *)c->req)->device;
	const struct ids *ids = c->state;
	if (sql_rows(r) == 0)
		as_fail_missing(c, ids->tenant_id);
	else if (sql_i64(r, 0, 2))
		as_fail(c, GRPC_ALREADY_EXISTS, "device exists already");
	else if (!sql_i64(r, 0, 3))
		as_fail_missing(c, ids->device_profile_id);
	else if (sql_i64(r, 0, 0) && sql_i64(r, 0, 1) >= sql_i64(r, 0, 0))
		as_fail(c, GRPC_INVALID_ARGUMENT, "Not allowed: the tenant has its maximum of devices");
	else {
		c->limited = sql_i64(r, 0, 0) != 0;
		as_put(c, AS_KIND_DEVICE, ids->dev_eui, change_of(c, d), c->limited ? &insert_limited : &insert,
		       c->limited, bind_insert, "device");
	}
}

void as_device_create(struct as_call *c)
{
	if (!prepare(c, ((const Api__CreateDeviceRequest *)c->req)->device))
		return;
	const struct ids *ids = c->state;
	struct sql_query *q = sql_query_new(c->as->db, &create_check);
	struct sql_params *p = sql_query_params(q);
	sql_put_text(p, ids->tenant_id);
	sql_put_text(p, ids->dev_eui);
	sql_put_text(p, ids->device_profile_id);
	as_query(c, q, create_checked);
}

static void bind_update(const struct as_nsop *op, struct sql_params *p)
{
	struct as_call *c = op->arg;
	sql_put_text(p, ((const struct ids *)c->state)->dev_eui);
	put_common(p, c, ((const Api__UpdateDeviceRequest *)c->req)->device);
}

static void on_left(void *arg, const struct sql_result *r)
{
	struct as_nsop *op = arg;
	op->leaves = sql_rows(r) > 0;
}

static void leave_groups(struct as_nsop *op, struct sql_tx *tx)
{
	struct as_call *c = op->arg;
	const struct ids *ids = c->state;
	struct sql_params *p = sql_tx_add(tx, &leave_intents, NULL, NULL);
	sql_put_text(p, ids->dev_eui);
	sql_put_text(p, ids->application_id);
	sql_put_i64(p, as_now_us(c->as));
	p = sql_tx_add(tx, &leave, on_left, op);
	sql_put_text(p, ids->dev_eui);
	sql_put_text(p, ids->application_id);
}

static void update_checked(struct as_call *c, const struct sql_result *r)
{
	const Api__Device *d = ((const Api__UpdateDeviceRequest *)c->req)->device;
	const struct ids *ids = c->state;
	/* What belongs to another tenant is as good as not there. */
	if (sql_rows(r) == 0 || !sql_i64(r, 0, 0))
		as_fail_missing(c, ids->application_id);
	else if (!sql_i64(r, 0, 1))
		as_fail_missing(c, ids->device_profile_id);
	else {
		c->also = leave_groups;
		as_put(c, AS_KIND_DEVICE, ids->dev_eui, change_of(c, d), &update, true, bind_update, "device");
	}
}

void as_device_update(struct as_call *c)
{
	if (!prepare(c, ((const Api__UpdateDeviceRequest *)c->req)->device))
		return;
	const struct ids *ids = c->state;
	struct sql_query *q = sql_query_new(c->as->db, &update_check);
	struct sql_params *p = sql_query_params(q);
	sql_put_text(p, ids->tenant_id);
	sql_put_text(p, ids->application_id);
	sql_put_text(p, ids->device_profile_id);
	as_query(c, q, update_checked);
}

/* From status_at, margin, battery at `col`; absent until the device has reported. */
static Api__DeviceStatus *status_of(struct as_call *c, const struct sql_result *r, size_t row, size_t col)
{
	if (sql_i64(r, row, col) == 0)
		return NULL;
	int64_t battery = sql_i64(r, row, col + 2);
	Api__DeviceStatus *s = as_msg_new(c->arena, &api__device_status__descriptor);
	s->margin = (int32_t)sql_i64(r, row, col + 1);
	s->external_power_source = battery == 0;
	s->battery_level = battery > 0 && battery < 255 ? (float)battery / 254.0f * 100.0f : -1.0f;
	return s;
}

static void complete_get(struct as_call *c, const struct sql_result *r, ProtobufCMessage *member, ProtobufCMessage *msg)
{
	(void)member;
	((Api__GetDeviceResponse *)(void *)msg)->device_status = status_of(c, r, 0, 14);
}

void as_device_get(struct as_call *c)
{
	static const struct as_get get = {
		.stmt = &select_one,
		.response = &api__get_device_response__descriptor,
		.member = "device",
		.member_fields = "dev_eui name description application_id device_profile_id skip_fcnt_check "
				 "is_disabled variables tags join_eui",
		.fields = "created_at updated_at last_seen_at class_enabled",
		.complete = complete_get};
	as_get(c, &get);
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

void as_device_delete(struct as_call *c)
{
	as_push(c, AS_KIND_DEVICE, c->object_id, build_delete, "device");
}

static void bind_list(struct as_call *c, struct sql_params *p)
{
	const Api__ListDevicesRequest *req = c->req;
	sql_put_text(p, c->object_id);
	sql_put_text(p, as_search_pattern(c, req->search));
	sql_put_text(p, c->object_id2);
	for (size_t i = 0; i < MAX_TAGS; i++)
		sql_put_text(p, i < req->n_tags ? as_pair_text(c->arena, req->tags[i]->key, req->tags[i]->value) : "");
	const char *group = req->multicast_group_id; /* checked */
	sql_put_text(p, group[0] ? as_uuid_arg(c, group, "multicast_group_id") : "");
}

static void complete_item(struct as_call *c, const struct sql_result *r, size_t i, ProtobufCMessage *msg)
{
	((Api__DeviceListItem *)(void *)msg)->device_status = status_of(c, r, i, 9);
}

void as_device_list(struct as_call *c)
{
	const Api__ListDevicesRequest *req = c->req;
	if (req->multicast_group_id[0] && !as_uuid_arg(c, req->multicast_group_id, "multicast_group_id"))
		return;
	if ((unsigned)req->order_by >= sizeof(pages) / sizeof(pages[0])) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "order_by is unknown");
		return;
	}
	if (req->n_tags > MAX_TAGS) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "at most %d tags", MAX_TAGS);
		return;
	}
	if (req->device_profile_id[0] && !(c->object_id2 = as_uuid_arg(c, req->device_profile_id, "device_profile_id")))
		return;
	as_list(c, &(struct as_list){.count = &count,
				     .page = &pages[req->order_by][req->order_by_desc ? 1 : 0],
				     .bind = bind_list,
				     .fields = "dev_eui created_at updated_at last_seen_at name description "
					       "device_profile_id device_profile_name tags",
				     .item = complete_item,
				     .response = &api__list_devices_response__descriptor,
				     .limit = req->limit,
				     .offset = req->offset});
}
