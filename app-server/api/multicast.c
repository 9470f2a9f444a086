/* Multicast groups. Their members and queue have files of their own. */
#include <string.h>

#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/link/nschange.h"
#include "app-server/link/nsync.h"
#include "app-server/store/row.h"
#include "common/lorawan/region.h"
#include "proto/api/multicast_group.pb-c.h"

#define PLAIN "region group_type dr frequency class_b_ping_slot_periodicity class_c_scheduling_type"

static const struct sql_stmt insert = {
	.name = "as_multicast_insert",
	.text = "INSERT INTO multicast_group (id, application_id, name, mc_addr, mc_nwk_s_key, mc_app_s_key, f_cnt,"
		" region, group_type, dr, frequency, class_b_ping_slot_periodicity, class_c_scheduling_type,"
		" created_at, updated_at) SELECT id, application_id, name, mc_addr, mc_nwk_s_key, mc_app_s_key, f_cnt,"
		" region, group_type, dr, frequency, periodicity, scheduling, now_us, now_us FROM {batch}",
	.batch = "id:t application_id:t name:t mc_addr:t mc_nwk_s_key:t mc_app_s_key:t f_cnt:l region:l group_type:l "
		 "dr:l frequency:l periodicity:l scheduling:l now_us:l",
};
static const struct sql_stmt update = {
	.name = "as_multicast_update",
	.text = "UPDATE multicast_group SET name = b.name, mc_addr = b.mc_addr, mc_nwk_s_key = b.mc_nwk_s_key,"
		" mc_app_s_key = b.mc_app_s_key, f_cnt = b.f_cnt, region = b.region, group_type = b.group_type,"
		" dr = b.dr, frequency = b.frequency, class_b_ping_slot_periodicity = b.periodicity,"
		" class_c_scheduling_type = b.scheduling, updated_at = b.now_us FROM {batch}"
		" WHERE multicast_group.id = b.id RETURNING {b.n}",
	.batch = "id:t name:t mc_addr:t mc_nwk_s_key:t mc_app_s_key:t f_cnt:l region:l group_type:l dr:l frequency:l "
		 "periodicity:l scheduling:l now_us:l",
	.cols = "l",
};
static const struct sql_stmt select_one = {
	.name = "as_multicast_get",
	.text = "SELECT id, name, application_id, mc_addr, mc_nwk_s_key, mc_app_s_key, region, group_type, dr,"
		" frequency, class_b_ping_slot_periodicity, class_c_scheduling_type, created_at, updated_at"
		" FROM multicast_group WHERE id = $1",
	.params = "t",
	.cols = "ttttttllllllll",
};
static const struct sql_stmt intent = {
	.name = "as_multicast_intent",
	.text = "INSERT INTO ns_intent (kind, id, created_at) VALUES ('multicast_group', $1, $2)"
		" ON CONFLICT (kind, id) DO NOTHING",
	.params = "tl",
};
static const struct sql_stmt delete_one = {
	.name = "as_multicast_delete",
	.text = "DELETE FROM multicast_group WHERE id = $1",
	.params = "t",
};
static const struct sql_stmt tenant_of_application = {
	.name = "as_multicast_tenant_application",
	.text = "SELECT tenant_id FROM application WHERE id = $1",
	.params = "t",
	.cols = "t",
};
static const struct sql_stmt tenant_of_device = {
	.name = "as_multicast_tenant_device",
	.text = "SELECT tenant_id FROM device WHERE dev_eui = $1",
	.params = "t",
	.cols = "t",
};

#define MATCH                                                                                                          \
	" FROM multicast_group AS g JOIN application AS a ON a.id = g.application_id"                                  \
	" WHERE ($1 = '' OR g.application_id = $1) AND ($2 = '' OR a.tenant_id = $2)"                                  \
	" AND ($3 = '' OR EXISTS (SELECT 1 FROM multicast_group_device AS m WHERE m.group_id = g.id"                   \
	" AND m.dev_eui = $3)) AND lower(g.name) LIKE lower($4) ESCAPE '\\'"
static const struct sql_stmt count = {
	.name = "as_multicast_count",
	.text = "SELECT count(*)" MATCH,
	.params = "tttt",
	.cols = "l",
};
static const struct sql_stmt page = {
	.name = "as_multicast_page",
	.text = "SELECT g.id, g.created_at, g.updated_at, g.name, g.region, g.group_type, g.application_id, "
		"a.name" MATCH " ORDER BY g.name, g.id LIMIT $5 OFFSET $6",
	.params = "ttttll",
	.cols = "tlltlltt",
};

/* The request's group in the form in which it is stored. */
struct group {
	const Api__MulticastGroup *msg;
	const char *mc_addr, *mc_nwk_s_key, *mc_app_s_key;
};

static bool bad(struct as_call *c, const char *why)
{
	as_fail(c, GRPC_INVALID_ARGUMENT, "%s", why);
	return false;
}

static bool valid_radio(struct as_call *c, const Api__MulticastGroup *g)
{
	const struct lw_region *region = lw_region_by_id((enum lw_region_id)g->region);
	bool is_b = g->group_type == API__MULTICAST_GROUP_TYPE__CLASS_B;
	if (!region)
		return bad(c, "region is unknown");
	if (!is_b && g->group_type != API__MULTICAST_GROUP_TYPE__CLASS_C)
		return bad(c, "group_type is unknown");
	if ((unsigned)g->class_c_scheduling_type > API__MULTICAST_GROUP_SCHEDULING_TYPE__GPS_TIME)
		return bad(c, "class_c_scheduling_type is unknown");
	if (g->dr > 15 || !lw_region_dr(region, LW_DOWN, g->dr))
		return bad(c, "dr is not a data rate of downlinks in this region");
	if (g->class_b_ping_slot_periodicity > 7)
		return bad(c, "class_b_ping_slot_periodicity wants 0 to 7");
	if (!(is_b && g->frequency == 0) && !lw_region_freq_ok(region, g->frequency))
		return bad(c, "frequency lies outside the region");
	return true;
}

static const char *key_arg(struct as_call *c, const char *text, const char *name)
{
	if (text[0])
		return as_key_arg(c, text, name);
	as_fail(c, GRPC_INVALID_ARGUMENT, "%s is missing", name);
	return NULL;
}

static struct group *group_arg(struct as_call *c, const Api__MulticastGroup *msg)
{
	struct group *g = LW_ARENA_NEW(c->arena, struct group);
	struct lw_devaddr addr;
	char text[LW_DEVADDR_TEXT];
	g->msg = msg;
	if (!as_name_arg(c, msg->name) || !valid_radio(c, msg))
		return NULL;
	if (lw_devaddr_parse(&addr, msg->mc_addr) < 0) {
		bad(c, "mc_addr is not an address of 8 hexadecimal digits");
		return NULL;
	}
	g->mc_addr = lw_arena_strdup(c->arena, lw_devaddr_print(addr, text));
	if (!(g->mc_nwk_s_key = key_arg(c, msg->mc_nwk_s_key, "mc_nwk_s_key")) ||
	    !(g->mc_app_s_key = key_arg(c, msg->mc_app_s_key, "mc_app_s_key")))
		return NULL;
	return g;
}

static void put_common(struct sql_params *p, struct as_call *c)
{
	const struct group *g = c->state;
	sql_put_text(p, g->msg->name);
	sql_put_text(p, g->mc_addr);
	sql_put_text(p, g->mc_nwk_s_key);
	sql_put_text(p, g->mc_app_s_key);
	sql_put_i64(p, g->msg->f_cnt);
	as_row_bind(p, &g->msg->base, PLAIN);
	sql_put_i64(p, as_now_us(c->as));
}

static Longwave__Ns__V1__Change *change_of(struct as_call *c, const char *id)
{
	const struct group *g = c->state;
	char tenant[LW_UUID_TEXT];
	struct as_ns_group ns = {
		.id = id,
		.tenant_id = lw_arena_strdup(c->arena, lw_uuid_print(c->tenant_id, tenant)),
		.mc_addr = g->mc_addr,
		.mc_nwk_s_key = g->mc_nwk_s_key,
		.mc_app_s_key = g->mc_app_s_key,
		.f_cnt = g->msg->f_cnt,
		.region = (int)g->msg->region,
		.group_type = (int)g->msg->group_type,
		.scheduling = (int)g->msg->class_c_scheduling_type,
		.dr = g->msg->dr,
		.frequency = g->msg->frequency,
		.periodicity = g->msg->class_b_ping_slot_periodicity,
	};
	return as_change_group(c->arena, c->as->keys, &ns);
}

static void bind_insert(const struct as_nsop *op, struct sql_params *p)
{
	struct as_call *c = op->arg;
	sql_put_text(p, op->id);
	sql_put_text(p, c->object_id);
	put_common(p, c);
}

static void created(struct as_call *c)
{
	Api__CreateMulticastGroupResponse resp = API__CREATE_MULTICAST_GROUP_RESPONSE__INIT;
	resp.id = (char *)(uintptr_t)c->object_id2;
	as_reply(c, &resp.base);
}

void as_multicast_create(struct as_call *c)
{
	if (!(c->state = group_arg(c, ((const Api__CreateMulticastGroupRequest *)c->req)->multicast_group)))
		return;
	c->object_id2 = as_new_uuid(c);
	c->then_put = created;
	as_put(c, AS_KIND_MULTICAST, c->object_id2, change_of(c, c->object_id2), &insert, false, bind_insert,
	       "multicast group");
}

static void with_counter(struct as_call *c, const ProtobufCMessage *msg)
{
	Api__GetMulticastGroupResponse *resp = c->state;
	resp->multicast_group->f_cnt = ((const Longwave__Ns__V1__GetMulticastGroupResponse *)(const void *)msg)->f_cnt;
	as_reply(c, &resp->base);
}

static void on_got(struct as_call *c, const struct sql_result *r)
{
	Longwave__Ns__V1__MulticastGroupRequest req = LONGWAVE__NS__V1__MULTICAST_GROUP_REQUEST__INIT;
	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
		return;
	}
	Api__GetMulticastGroupResponse *resp = as_msg_new(c->arena, &api__get_multicast_group_response__descriptor);
	resp->multicast_group = as_msg_new(c->arena, &api__multicast_group__descriptor);
	as_row_fill(c->arena, &resp->multicast_group->base,
		    "id name application_id mc_addr mc_nwk_s_key mc_app_s_key " PLAIN, r, 0, 0);
	as_row_fill(c->arena, &resp->base, "created_at updated_at", r, 0, 12);
	c->state = resp;
	req.id = (char *)(uintptr_t)c->object_id;
	as_ns(c, "GetMulticastGroup", &req.base, &longwave__ns__v1__get_multicast_group_response__descriptor,
	      with_counter);
}

void as_multicast_get(struct as_call *c)
{
	as_query_text(c, &select_one, c->object_id, on_got);
}

static void bind_update(const struct as_nsop *op, struct sql_params *p)
{
	sql_put_text(p, op->id);
	put_common(p, op->arg);
}

void as_multicast_update(struct as_call *c)
{
	if (!(c->state = group_arg(c, ((const Api__UpdateMulticastGroupRequest *)c->req)->multicast_group)))
		return;
	as_put(c, AS_KIND_MULTICAST, c->object_id, change_of(c, c->object_id), &update, true, bind_update,
	       "multicast group");
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

void as_multicast_delete(struct as_call *c)
{
	as_push(c, AS_KIND_MULTICAST, c->object_id, build_delete, "multicast group");
}

/* ---- list ---- */

/* Application and tenant in object_id and object_id2. */
static void bind_list(struct as_call *c, struct sql_params *p)
{
	const Api__ListMulticastGroupsRequest *req = c->req;
	sql_put_text(p, c->object_id);
	sql_put_text(p, c->object_id2);
	sql_put_text(p, req->dev_eui[0] ? as_eui_arg(c, req->dev_eui, "dev_eui") : ""); /* checked */
	sql_put_text(p, as_search_pattern(c, req->search));
}

static void list(struct as_call *c, const struct lw_uuid *tenant)
{
	const Api__ListMulticastGroupsRequest *req = c->req;
	if (!as_allowed(c, "MulticastGroupsAccess:List", tenant))
		return;
	as_list(c, &(struct as_list){.count = &count,
				     .page = &page,
				     .bind = bind_list,
				     .fields = "id created_at updated_at name region group_type application_id "
					       "application_name",
				     .response = &api__list_multicast_groups_response__descriptor,
				     .limit = req->limit,
				     .offset = req->offset});
}

static void on_tenant(struct as_call *c, const struct sql_result *r)
{
	struct lw_uuid tenant;
	bool found = sql_rows(r) > 0 && lw_uuid_parse(&tenant, sql_text(r, 0, 0)) == 0;
	list(c, found ? &tenant : NULL);
}

/* Whatever narrows the list says whose it is: what it shows is that tenant's. */
void as_multicast_list(struct as_call *c)
{
	const Api__ListMulticastGroupsRequest *req = c->req;
	struct lw_uuid tenant;
	const char *dev_eui = NULL;
	if (req->application_id[0] && !(c->object_id = as_uuid_arg(c, req->application_id, "application_id")))
		return;
	if (req->tenant_id[0] && !(c->object_id2 = as_uuid_arg(c, req->tenant_id, "tenant_id")))
		return;
	if (req->dev_eui[0] && !(dev_eui = as_eui_arg(c, req->dev_eui, "dev_eui")))
		return;
	if (c->object_id2[0] && lw_uuid_parse(&tenant, c->object_id2) == 0)
		list(c, &tenant);
	else if (c->object_id[0])
		as_query_text(c, &tenant_of_application, c->object_id, on_tenant);
	else if (dev_eui)
		as_query_text(c, &tenant_of_device, dev_eui, on_tenant);
	else
		list(c, NULL);
}
