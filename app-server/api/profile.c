/* Device profiles: stored whole as protobuf, told to the network-server in the part that it needs. */
#include <string.h>

#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/domain/profile.h"
#include "app-server/link/nschange.h"
#include "app-server/link/nsync.h"
#include "app-server/store/row.h"
#include "common/base/bug.h"
#include "common/pb/unpack.h"
#include "proto/api/device_profile.pb-c.h"

#define COLUMNS                                                                                                        \
	"name, region, mac_version, reg_params_revision, supports_otaa, supports_class_b, supports_class_c,"           \
	" uplink_interval, device_id, firmware_version"
#define FIELDS                                                                                                         \
	"name region mac_version reg_params_revision supports_otaa supports_class_b supports_class_c uplink_interval " \
	"device_id firmware_version"
#define TYPES                                                                                                          \
	"name:t region:l mac_version:l reg_params_revision:l supports_otaa:l supports_class_b:l supports_class_c:l "   \
	"uplink_interval:l device_id:t firmware_version:t"

static const struct sql_stmt insert = {
	.name = "as_profile_insert",
	.text = "INSERT INTO device_profile (id, tenant_id, " COLUMNS ", body, created_at, updated_at)"
		" SELECT id, tenant_id, " COLUMNS ", body, now_us, now_us FROM {batch}",
	.batch = "id:t tenant_id:t " TYPES " body:y now_us:l",
};
static const struct sql_stmt update = {
	.name = "as_profile_update",
	.text = "UPDATE device_profile SET name = b.name, region = b.region, mac_version = b.mac_version,"
		" reg_params_revision = b.reg_params_revision, supports_otaa = b.supports_otaa,"
		" supports_class_b = b.supports_class_b, supports_class_c = b.supports_class_c,"
		" uplink_interval = b.uplink_interval, device_id = b.device_id, firmware_version = b.firmware_version,"
		" body = b.body, updated_at = b.now_us FROM {batch}"
		" WHERE device_profile.id = b.id AND device_profile.updated_at = b.was_us RETURNING {b.n}",
	.batch = "id:t " TYPES " body:y now_us:l was_us:l",
	.cols = "l",
};
static const struct sql_stmt select_one = {
	.name = "as_profile_get",
	.text = "SELECT id, tenant_id, body, created_at, updated_at FROM device_profile WHERE id = $1",
	.params = "t",
	.cols = "ttyll",
};
static const struct sql_stmt in_use = {
	.name = "as_profile_in_use",
	.text = "SELECT count(*) FROM device WHERE device_profile_id = $1",
	.params = "t",
	.cols = "l",
};
static const struct sql_stmt intent = {
	.name = "as_profile_intent",
	.text = "INSERT INTO ns_intent (kind, id, created_at) VALUES ('device_profile', $1, $2)"
		" ON CONFLICT (kind, id) DO NOTHING",
	.params = "tl",
};
static const struct sql_stmt delete_one = {
	.name = "as_profile_delete",
	.text = "DELETE FROM device_profile WHERE id = $1",
	.params = "t",
};
/* $1 tenant ('' any), $2 search, $3 only global, $4 no global, $5 model of the catalogue. */
#define MATCH                                                                                                          \
	" FROM device_profile WHERE lower(name) LIKE lower($2) ESCAPE '\\' AND ($5 = '' OR device_id = $5)"            \
	" AND CASE WHEN tenant_id IS NULL THEN $4 = 0 ELSE $3 = 0 AND ($1 = '' OR tenant_id = $1) END"
static const struct sql_stmt count = {
	.name = "as_profile_count",
	.text = "SELECT count(*)" MATCH,
	.params = "ttllt",
	.cols = "l",
};
static const struct sql_stmt page = {
	.name = "as_profile_page",
	.text = "SELECT id, created_at, updated_at, name, region, mac_version, reg_params_revision, supports_otaa,"
		" supports_class_b, supports_class_c, device_id, firmware_version" MATCH
		" ORDER BY name, id LIMIT $6 OFFSET $7",
	.params = "ttlltll",
	.cols = "tlltllllll"
		"tt",
};

/* What the handlers of create and update keep until the row is written. */
struct change {
	const char *id;
	const char *tenant_id; /* NULL: global */
	Api__DeviceProfile profile;
	struct lw_span body;
	int64_t was_us;                  /* update: of the row that was read */
	void (*next)(struct as_call *c); /* when the region configuration is known to be there */
};

static bool prepare(struct as_call *c, const Api__DeviceProfile *p, const char *id)
{
	struct lw_diag diag;
	struct change *ch = LW_ARENA_NEW(c->arena, struct change);
	char *tenant = NULL;
	char text[LW_UUID_TEXT];

	if (!as_name_arg(c, p->name))
		return false;
	if (as_profile_check(p, &diag) < 0) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "%s", diag.text);
		return false;
	}
	if (p->device_id[0] && !as_uuid_arg(c, p->device_id, "device_id"))
		return false;
	if (c->has_tenant)
		tenant = lw_arena_strdup(c->arena, lw_uuid_print(c->tenant_id, text));
	ch->id = id;
	ch->tenant_id = tenant;
	/* A flat copy: normalising changes scalars only. Identity stands in the columns. */
	ch->profile = *p;
	as_profile_normalise(&ch->profile);
	ch->profile.id = (char *)(uintptr_t) "";
	ch->profile.tenant_id = (char *)(uintptr_t) "";
	c->state = ch;
	return true;
}

static void pack(struct as_call *c, struct change *ch)
{
	size_t n = protobuf_c_message_get_packed_size(&ch->profile.base);
	uint8_t *p = lw_arena_alloc(c->arena, n);
	BUG_ON(!p);
	ch->body = lw_span(p, protobuf_c_message_pack(&ch->profile.base, p));
}

static void put_common(struct sql_params *p, struct as_call *c, const struct change *ch)
{
	int64_t now_us = as_now_us(c->as);
	as_row_bind(p, &ch->profile.base, FIELDS);
	sql_put_bytes(p, ch->body);
	sql_put_i64(p, now_us > ch->was_us ? now_us : ch->was_us + 1);
}

static void bind_insert(const struct as_nsop *op, struct sql_params *p)
{
	struct as_call *c = op->arg;
	const struct change *ch = c->state;
	sql_put_text(p, ch->id);
	sql_put_text(p, ch->tenant_id);
	put_common(p, c, ch);
}

static void bind_update(const struct as_nsop *op, struct sql_params *p)
{
	struct as_call *c = op->arg;
	const struct change *ch = c->state;
	sql_put_text(p, ch->id);
	put_common(p, c, ch);
	sql_put_i64(p, ch->was_us);
}

static void created(struct as_call *c)
{
	Api__CreateDeviceProfileResponse resp = API__CREATE_DEVICE_PROFILE_RESPONSE__INIT;
	resp.id = (char *)(uintptr_t)((const struct change *)c->state)->id;
	as_reply(c, &resp.base);
}

static void on_regions(struct as_call *c, const ProtobufCMessage *regions)
{
	const struct change *ch = c->state;
	if (as_region_config_arg(c, regions, ch->profile.region_config_id, ch->profile.region))
		ch->next(c);
}

static void check_region_config(struct as_call *c, void (*next)(struct as_call *c))
{
	struct change *ch = c->state;
	ch->next = next;
	if (ch->profile.region_config_id[0])
		as_region_ask(c, on_regions);
	else
		next(c);
}

static const struct sql_stmt tenant_exists = {
	.name = "as_profile_tenant_exists",
	.text = "SELECT 1 FROM tenant WHERE id = $1",
	.params = "t",
	.cols = "i",
};

static void create_checked(struct as_call *c, const struct sql_result *r)
{
	struct change *ch = c->state;
	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
		return;
	}
	c->then_put = created;
	as_put(c, AS_KIND_PROFILE, ch->id,
	       as_change_profile(c->arena, ch->id, ch->tenant_id, &ch->profile, lw_span(NULL, 0)), &insert, false,
	       bind_insert, "device profile");
}

static void look_for_tenant(struct as_call *c)
{
	as_query_text(c, &tenant_exists, c->object_id, create_checked);
}

/* The ports of the packages start at their defaults; an update stores what it is given. */
void as_profile_create(struct as_call *c)
{
	const Api__DeviceProfile *p = ((const Api__CreateDeviceProfileRequest *)c->req)->device_profile;
	if (!prepare(c, p, as_new_uuid(c)))
		return;
	struct change *ch = c->state;
	Api__AppLayerParams *params = as_msg_new(c->arena, &api__app_layer_params__descriptor);
	if (p->app_layer_params)
		*params = *p->app_layer_params;
	params->ts003_f_port = 202;
	params->ts004_f_port = 201;
	params->ts005_f_port = 200;
	ch->profile.app_layer_params = params;
	pack(c, ch);
	check_region_config(c, look_for_tenant);
}

static const struct sql_stmt radio_of = {
	.name = "as_profile_radio_of",
	.text = "SELECT updated_at, radio FROM device_profile WHERE id = $1",
	.params = "t",
	.cols = "ly",
};

/* The radio settings go to the network-server with the profile; who changes them at the same time is told to try again.
 */
static void update_with_radio(struct as_call *c, const struct sql_result *r)
{
	struct change *ch = c->state;
	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
		return;
	}
	ch->was_us = sql_i64(r, 0, 0);
	c->miss = LW_ECONFLICT;
	Longwave__Ns__V1__Change *change =
		as_change_profile(c->arena, ch->id, ch->tenant_id, &ch->profile,
				  sql_is_null(r, 0, 1) ? lw_span(NULL, 0) : sql_span(r, 0, 1));
	if (change)
		as_put(c, AS_KIND_PROFILE, ch->id, change, &update, true, bind_update, "device profile");
	else
		as_fail_row(c, "device_profile", ch->id, "radio");
}

static void look_for_radio(struct as_call *c)
{
	as_query_text(c, &radio_of, c->object_id, update_with_radio);
}

void as_profile_update(struct as_call *c)
{
	const Api__DeviceProfile *p = ((const Api__UpdateDeviceProfileRequest *)c->req)->device_profile;
	if (!prepare(c, p, c->object_id))
		return;
	struct change *ch = c->state;
	if (!p->app_layer_params)
		ch->profile.app_layer_params = as_msg_new(c->arena, &api__app_layer_params__descriptor);
	pack(c, ch);
	check_region_config(c, look_for_radio);
}

static void on_got(struct as_call *c, const struct sql_result *r)
{
	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
		return;
	}
	Api__GetDeviceProfileResponse *resp = as_msg_new(c->arena, &api__get_device_profile_response__descriptor);
	if (!as_unpack(c, &api__device_profile__descriptor, sql_span(r, 0, 2), "device_profile", c->object_id, "body",
		       (ProtobufCMessage **)&resp->device_profile))
		return;
	as_row_fill(c->arena, &resp->device_profile->base, "id tenant_id", r, 0, 0);
	as_row_fill(c->arena, &resp->base, "created_at updated_at", r, 0, 3);
	as_reply(c, &resp->base);
}

void as_profile_get(struct as_call *c)
{
	as_query_text(c, &select_one, c->object_id, on_got);
}

static void build_delete(const struct as_nsop *op, struct sql_tx *tx)
{
	struct as_call *c = op->arg;
	struct sql_params *p = sql_tx_add(tx, &intent, NULL, NULL);
	sql_put_text(p, op->id);
	sql_put_i64(p, as_now_us(c->as));
	sql_put_text(sql_tx_add(tx, &delete_one, NULL, NULL), op->id);
	sql_tx_expect(tx, 1, 1, AS_ROW_MISSING);
	c->forget = true;
}

static void on_use(struct as_call *c, const struct sql_result *r)
{
	int64_t n = sql_i64(r, 0, 0);
	if (n > 0)
		as_fail(c, GRPC_FAILED_PRECONDITION, "the device profile is used by %lld device%s", (long long)n,
			n == 1 ? "" : "s");
	else
		as_push(c, AS_KIND_PROFILE, c->object_id, build_delete, "device profile");
}

void as_profile_delete(struct as_call *c)
{
	as_query_text(c, &in_use, c->object_id, on_use);
}

static void bind_list(struct as_call *c, struct sql_params *p)
{
	const Api__ListDeviceProfilesRequest *req = c->req;
	sql_put_text(p, c->object_id);
	sql_put_text(p, as_search_pattern(c, req->search));
	sql_put_i64(p, req->global_only);
	sql_put_i64(p, req->tenant_only);
	sql_put_text(p, c->object_id2);
}

void as_profile_list(struct as_call *c)
{
	const Api__ListDeviceProfilesRequest *req = c->req;
	struct lw_uuid tenant;

	if (req->tenant_id[0] && !(c->object_id = as_uuid_arg(c, req->tenant_id, "tenant_id")))
		return;
	if (req->device_id[0] && !(c->object_id2 = as_uuid_arg(c, req->device_id, "device_id")))
		return;
	bool has_tenant = c->object_id[0] && lw_uuid_parse(&tenant, c->object_id) == 0;
	if (req->global_only ? !as_allowed(c, "GlobalDeviceProfileAccess:List", NULL)
			     : !as_allowed(c, "DeviceProfilesAccess:List", has_tenant ? &tenant : NULL))
		return;
	as_list(c, &(struct as_list){.count = &count,
				     .page = &page,
				     .bind = bind_list,
				     .fields = "id created_at updated_at name region mac_version reg_params_revision "
					       "supports_otaa supports_class_b supports_class_c device_id "
					       "firmware_version",
				     .response = &api__list_device_profiles_response__descriptor,
				     .limit = req->limit,
				     .offset = req->offset});
}

void as_profile_list_adr(struct as_call *c)
{
	static const char *const algorithms[][2] = {{"default", "Default ADR algorithm (LoRa only)"},
						    {"lr_fhss", "LR-FHSS only ADR algorithm"},
						    {"lora_lr_fhss", "LoRa & LR-FHSS ADR algorithm"}};
	Api__ListDeviceProfileAdrAlgorithmsResponse *resp =
		as_msg_new(c->arena, &api__list_device_profile_adr_algorithms_response__descriptor);
	Api__AdrAlgorithmListItem **v = (void *)as_msg_list(c->arena, &resp->base, "result", 3);
	for (size_t i = 0; i < 3; i++) {
		v[i]->id = (char *)(uintptr_t)algorithms[i][0];
		v[i]->name = (char *)(uintptr_t)algorithms[i][1];
	}
	resp->total_count = 3;
	as_reply(c, &resp->base);
}
