/* Devices and gateways of multicast groups. A member is named towards the network-server by both ids: "group/eui". */
#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/link/nschange.h"
#include "app-server/link/nsync.h"
#include "proto/api/multicast_group.pb-c.h"

#define KIND(table_, column_, other_, condition_)                                                                      \
	{                                                                                                              \
		.check = {.name = "as_multicast_check_" other_,                                                        \
			  .text = "SELECT count(*) FROM multicast_group AS g JOIN application AS a"                    \
				  " ON a.id = g.application_id JOIN " other_ " AS x ON " condition_                    \
				  " WHERE g.id = $1 AND x." column_ " = $2",                                           \
			  .params = "tt",                                                                              \
			  .cols = "l"},                                                                                \
		.insert = {.name = "as_multicast_add_" other_,                                                         \
			   .text = "INSERT INTO " table_ " (group_id, " column_ ", created_at)"                        \
				   " SELECT b.group_id, b.member, b.now_us FROM {batch} WHERE true"                    \
				   " ON CONFLICT (group_id, " column_ ") DO NOTHING",                                  \
			   .batch = "group_id:t member:t now_us:l"},                                                   \
		.remove = {.name = "as_multicast_remove_" other_,                                                      \
			   .text = "DELETE FROM " table_ " WHERE group_id = $1 AND " column_ " = $2",                  \
			   .params = "tt"},                                                                            \
	}

/* By whether the member is a gateway. */
static const struct member_kind {
	struct sql_stmt check, insert, remove;
} kinds[] = {
	KIND("multicast_group_device", "dev_eui", "device", "x.application_id = a.id"),
	KIND("multicast_group_gateway", "gateway_id", "gateway", "x.tenant_id = a.tenant_id"),
};
static const char *const ns_kinds[] = {AS_KIND_MULTICAST_DEVICE, AS_KIND_MULTICAST_GATEWAY};

static const struct sql_stmt intent = {
	.name = "as_multicast_member_intent",
	.text = "INSERT INTO ns_intent (kind, id, created_at) VALUES ($1, $2, $3) ON CONFLICT (kind, id) DO NOTHING",
	.params = "ttl",
};

static bool is_gateway(const struct as_call *c)
{
	return c->state != NULL;
}

static void put_member(struct sql_params *p, const struct as_call *c)
{
	sql_put_text(p, c->object_id);
	sql_put_text(p, c->object_id2);
}

static void bind_insert(const struct as_nsop *op, struct sql_params *p)
{
	struct as_call *c = op->arg;
	put_member(p, c);
	sql_put_i64(p, as_now_us(c->as));
}

static const char *both_ids(struct as_call *c)
{
	return lw_arena_printf(c->arena, "%s/%s", c->object_id, c->object_id2);
}

static void checked(struct as_call *c, const struct sql_result *r)
{
	if (sql_i64(r, 0, 0) == 0) {
		as_fail_missing(c, c->object_id2);
		return;
	}
	const char *id = both_ids(c);
	as_put(c, ns_kinds[is_gateway(c)], id, as_change_member(c->arena, id, is_gateway(c), true),
	       &kinds[is_gateway(c)].insert, false, bind_insert, "member");
}

static bool prepare(struct as_call *c, const char *eui, bool gateway)
{
	c->state = gateway ? c : NULL;
	c->object_id2 = as_eui_arg(c, eui, gateway ? "gateway_id" : "dev_eui");
	return c->object_id2 != NULL;
}

/* One that belongs to another application, or the gateway to another tenant, is as good as not there. */
static void add(struct as_call *c, const char *eui, bool gateway)
{
	if (!prepare(c, eui, gateway))
		return;
	struct sql_query *q = sql_query_new(c->as->db, &kinds[gateway].check);
	put_member(sql_query_params(q), c);
	as_query(c, q, checked);
}

static void build_remove(const struct as_nsop *op, struct sql_tx *tx)
{
	struct as_call *c = op->arg;
	struct sql_params *p = sql_tx_add(tx, &intent, NULL, NULL);
	sql_put_text(p, op->kind);
	sql_put_text(p, op->id);
	sql_put_i64(p, as_now_us(c->as));
	put_member(sql_tx_add(tx, &kinds[is_gateway(c)].remove, NULL, NULL), c);
	sql_tx_expect(tx, 1, 1, AS_ROW_MISSING);
}

static void drop(struct as_call *c, const char *eui, bool gateway)
{
	if (prepare(c, eui, gateway))
		as_push(c, ns_kinds[gateway], both_ids(c), build_remove, "member");
}

void as_multicast_add_device(struct as_call *c)
{
	add(c, ((const Api__AddDeviceToMulticastGroupRequest *)c->req)->dev_eui, false);
}

void as_multicast_remove_device(struct as_call *c)
{
	drop(c, ((const Api__RemoveDeviceFromMulticastGroupRequest *)c->req)->dev_eui, false);
}

void as_multicast_add_gateway(struct as_call *c)
{
	add(c, ((const Api__AddGatewayToMulticastGroupRequest *)c->req)->gateway_id, true);
}

void as_multicast_remove_gateway(struct as_call *c)
{
	drop(c, ((const Api__RemoveGatewayFromMulticastGroupRequest *)c->req)->gateway_id, true);
}
