/* Tenants. A change of what is private concerns their gateways, so it is pushed to the network-server. */
#include <stdlib.h>
#include <string.h>

#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/link/nsync.h"
#include "app-server/store/row.h"
#include "proto/api/tenant.pb-c.h"

#define FIELDS                                                                                                         \
	"name description can_have_gateways max_gateway_count max_device_count private_gateways_up "                   \
	"private_gateways_down tags dev_addr_prefixes"
#define COLUMNS                                                                                                        \
	"name, description, can_have_gateways, max_gateway_count, max_device_count, private_gateways_up,"              \
	" private_gateways_down, tags, dev_addr_prefixes"

static const struct sql_stmt insert = {
	.name = "as_tenant_insert",
	.text = "INSERT INTO tenant (id, " COLUMNS ", created_at, updated_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)",
	.params = "tttlllllttl",
};
static const struct sql_stmt select_one = {
	.name = "as_tenant_get",
	.text = "SELECT id, " COLUMNS ", created_at, updated_at FROM tenant WHERE id = $1",
	.params = "t",
	.cols = "tttlllllttll",
};
static const struct sql_stmt update = {
	.name = "as_tenant_update",
	.text = "UPDATE tenant SET name = $2, description = $3, can_have_gateways = $4, max_gateway_count = $5,"
		" max_device_count = $6, private_gateways_up = $7, private_gateways_down = $8, tags = $9,"
		" dev_addr_prefixes = $10, updated_at = $11 WHERE id = $1",
	.params = "tttlllllttl",
};
static const struct sql_stmt intents_of_private = {
	.name = "as_tenant_intents_private",
	.text = "INSERT INTO ns_intent (kind, id, created_at) SELECT 'gateway', g.gateway_id, $4 FROM gateway AS g"
		" JOIN tenant AS t ON t.id = g.tenant_id WHERE t.id = $1"
		" AND (t.private_gateways_up <> $2 OR t.private_gateways_down <> $3) ON CONFLICT (kind, id) DO NOTHING",
	.params = "tlll",
};
static const struct sql_stmt intents_devices = {
	.name = "as_tenant_intents_devices",
	.text = "INSERT INTO ns_intent (kind, id, created_at) SELECT 'device', dev_eui, $2 FROM device"
		" WHERE tenant_id = $1 ON CONFLICT (kind, id) DO NOTHING",
	.params = "tl",
};
static const struct sql_stmt intents_profiles = {
	.name = "as_tenant_intents_profiles",
	.text = "INSERT INTO ns_intent (kind, id, created_at) SELECT 'device_profile', id, $2 FROM device_profile"
		" WHERE tenant_id = $1 ON CONFLICT (kind, id) DO NOTHING",
	.params = "tl",
};
static const struct sql_stmt intents_gateways = {
	.name = "as_tenant_intents_gateways",
	.text = "INSERT INTO ns_intent (kind, id, created_at) SELECT 'gateway', gateway_id, $2 FROM gateway"
		" WHERE tenant_id = $1 ON CONFLICT (kind, id) DO NOTHING",
	.params = "tl",
};
static const struct sql_stmt intents_groups = {
	.name = "as_tenant_intents_groups",
	.text = "INSERT INTO ns_intent (kind, id, created_at) SELECT 'multicast_group', g.id, $2 FROM multicast_group "
		"AS g"
		" JOIN application AS a ON a.id = g.application_id WHERE a.tenant_id = $1"
		" ON CONFLICT (kind, id) DO NOTHING",
	.params = "tl",
};
/* Before the tenant: its profiles go with it, and a profile in use cannot go. */
static const struct sql_stmt delete_devices = {
	.name = "as_tenant_delete_devices",
	.text = "DELETE FROM device WHERE tenant_id = $1",
	.params = "t",
};
static const struct sql_stmt delete_one = {
	.name = "as_tenant_delete",
	.text = "DELETE FROM tenant WHERE id = $1",
	.params = "t",
};

#define MATCH                                                                                                          \
	" FROM tenant AS t WHERE lower(t.name) LIKE lower($1) ESCAPE '\\' AND ($2 = '' OR EXISTS"                      \
	" (SELECT 1 FROM tenant_user AS tu WHERE tu.tenant_id = t.id AND tu.user_id = $2))"
static const struct sql_stmt count = {
	.name = "as_tenant_count",
	.text = "SELECT count(*)" MATCH,
	.params = "tt",
	.cols = "l",
};
static const struct sql_stmt page = {
	.name = "as_tenant_page",
	.text = "SELECT t.id, t.created_at, t.updated_at, t.name, t.can_have_gateways, t.private_gateways_up,"
		" t.private_gateways_down, t.max_gateway_count, t.max_device_count" MATCH
		" ORDER BY t.name, t.id LIMIT $3 OFFSET $4",
	.params = "ttll",
	.cols = "tlltlllll",
};
#define ITEM                                                                                                           \
	"id created_at updated_at name can_have_gateways private_gateways_up private_gateways_down max_gateway_count " \
	"max_device_count"

/* "01000000/8" */
static bool parse_prefix(const char *text, uint32_t *addr, unsigned *bits)
{
	struct lw_devaddr a;
	char *end;
	if (strlen(text) < 10 || text[8] != '/' || lw_devaddr_parse_n(&a, text, 8) < 0 || text[9] < '0' ||
	    text[9] > '9')
		return false;
	unsigned long n = strtoul(text + 9, &end, 10);
	if (*end || n > 32)
		return false;
	*addr = a.v;
	*bits = (unsigned)n;
	return true;
}

static bool valid(struct as_call *c, const Api__Tenant *t)
{
	uint32_t addr;
	unsigned bits;
	for (size_t i = 0; i < t->n_dev_addr_prefixes; i++) {
		if (!parse_prefix(t->dev_addr_prefixes[i], &addr, &bits)) {
			as_fail(c, GRPC_INVALID_ARGUMENT, "dev_addr_prefixes: \"%s\" is not like 01000000/8",
				t->dev_addr_prefixes[i]);
			return false;
		}
	}
	return as_name_arg(c, t->name);
}

static void created(struct as_call *c, const struct sql_result *r)
{
	(void)r;
	Api__CreateTenantResponse resp = API__CREATE_TENANT_RESPONSE__INIT;
	resp.id = c->state;
	as_reply(c, &resp.base);
}

void as_tenant_create(struct as_call *c)
{
	const Api__CreateTenantRequest *req = c->req;
	if (!req->tenant) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "tenant is missing");
		return;
	}
	if (!valid(c, req->tenant))
		return;
	c->state = (void *)(uintptr_t)as_new_uuid(c);
	struct sql_tx *tx = sql_tx_new(c->as->db);
	struct sql_params *p = sql_tx_add(tx, &insert, NULL, NULL);
	sql_put_text(p, c->state);
	as_row_bind(p, &req->tenant->base, FIELDS);
	sql_put_i64(p, as_now_us(c->as));
	as_commit(c, tx, created);
}

void as_tenant_get(struct as_call *c)
{
	static const struct as_get get = {.stmt = &select_one,
					  .response = &api__get_tenant_response__descriptor,
					  .member = "tenant",
					  .member_fields = "id " FIELDS,
					  .fields = "created_at updated_at"};
	as_get(c, &get);
}

static void build_update(const struct as_nsop *op, struct sql_tx *tx)
{
	struct as_call *c = op->arg;
	const Api__Tenant *t = ((const Api__UpdateTenantRequest *)c->req)->tenant;
	int64_t now = as_now_us(c->as);
	struct sql_params *p = sql_tx_add(tx, &intents_of_private, NULL, NULL);
	sql_put_text(p, op->id);
	sql_put_i64(p, t->private_gateways_up);
	sql_put_i64(p, t->private_gateways_down);
	sql_put_i64(p, now);
	p = sql_tx_add(tx, &update, NULL, NULL);
	sql_put_text(p, op->id);
	as_row_bind(p, &t->base, FIELDS);
	sql_put_i64(p, now);
	sql_tx_expect(tx, 1, 1, AS_ROW_MISSING);
}

void as_tenant_update(struct as_call *c)
{
	const Api__UpdateTenantRequest *req = c->req;
	if (valid(c, req->tenant))
		as_push(c, "tenant", c->object_id, build_update, "tenant");
}

static void build_delete(const struct as_nsop *op, struct sql_tx *tx)
{
	static const struct sql_stmt *const intents[] = {&intents_devices, &intents_profiles, &intents_gateways,
							 &intents_groups};
	struct as_call *c = op->arg;
	for (size_t i = 0; i < sizeof(intents) / sizeof(intents[0]); i++) {
		struct sql_params *p = sql_tx_add(tx, intents[i], NULL, NULL);
		sql_put_text(p, op->id);
		sql_put_i64(p, as_now_us(c->as));
	}
	sql_put_text(sql_tx_add(tx, &delete_devices, NULL, NULL), op->id);
	sql_put_text(sql_tx_add(tx, &delete_one, NULL, NULL), op->id);
	sql_tx_expect(tx, 1, 1, AS_ROW_MISSING);
	c->forget = true;
}

void as_tenant_delete(struct as_call *c)
{
	as_push(c, "tenant", c->object_id, build_delete, "tenant");
}

static void bind_list(struct as_call *c, struct sql_params *p)
{
	const Api__ListTenantsRequest *req = c->req;
	sql_put_text(p, as_search_pattern(c, req->search));
	sql_put_text(p, c->object_id);
}

/* Users see their tenants; administrators and their keys all, or those of one user. */
void as_tenant_list(struct as_call *c)
{
	const Api__ListTenantsRequest *req = c->req;
	char id[LW_UUID_TEXT];

	if (c->caller.is_admin) {
		if (req->user_id[0] && !(c->object_id = as_uuid_arg(c, req->user_id, "user_id")))
			return;
	} else {
		c->object_id = lw_arena_strdup(c->arena, lw_uuid_print(c->caller.id, id));
	}
	as_list(c, &(struct as_list){.count = &count,
				     .page = &page,
				     .bind = bind_list,
				     .fields = ITEM,
				     .response = &api__list_tenants_response__descriptor,
				     .limit = req->limit,
				     .offset = req->offset});
}

/* ---- by DevAddr prefix ---- */

static const struct sql_stmt with_prefixes = {
	.name = "as_tenant_with_prefixes",
	.text = "SELECT t.id, t.created_at, t.updated_at, t.name, t.can_have_gateways, t.private_gateways_up,"
		" t.private_gateways_down, t.max_gateway_count, t.max_device_count, t.dev_addr_prefixes"
		" FROM tenant AS t WHERE t.dev_addr_prefixes <> '[]' AND ($1 = '' OR EXISTS"
		" (SELECT 1 FROM tenant_user AS tu WHERE tu.tenant_id = t.id AND tu.user_id = $1))"
		" ORDER BY t.name, t.id",
	.params = "t",
	.cols = "tlltlllllt",
};

static bool overlap(const Api__Tenant *t, uint32_t addr, unsigned bits)
{
	for (size_t i = 0; i < t->n_dev_addr_prefixes; i++) {
		uint32_t a;
		unsigned b;
		if (!parse_prefix(t->dev_addr_prefixes[i], &a, &b))
			continue;
		unsigned shorter = b < bits ? b : bits;
		if (shorter == 0 || (a ^ addr) >> (32 - shorter) == 0)
			return true;
	}
	return false;
}

static void on_prefixes(struct as_call *c, const struct sql_result *r)
{
	const Api__ListTenantsByDevAddrPrefixOverlapRequest *req = c->req;
	Api__ListTenantsResponse *resp = as_msg_new(c->arena, &api__list_tenants_response__descriptor);
	ProtobufCMessage **items = as_msg_list(c->arena, &resp->base, "result", sql_rows(r));
	uint32_t addr = 0;
	unsigned bits = 0;

	parse_prefix(req->dev_addr_prefix, &addr, &bits);
	resp->n_result = 0;
	for (size_t i = 0; i < sql_rows(r); i++) {
		Api__Tenant *t = as_msg_new(c->arena, &api__tenant__descriptor);
		as_row_fill(c->arena, &t->base, "dev_addr_prefixes", r, i, 9);
		if (overlap(t, addr, bits))
			as_row_fill(c->arena, items[resp->n_result++], ITEM, r, i, 0);
	}
	resp->total_count = (uint32_t)resp->n_result;
	as_reply(c, &resp->base);
}

void as_tenant_list_by_prefix(struct as_call *c)
{
	const Api__ListTenantsByDevAddrPrefixOverlapRequest *req = c->req;
	char id[LW_UUID_TEXT];
	uint32_t addr;
	unsigned bits;

	if (!parse_prefix(req->dev_addr_prefix, &addr, &bits)) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "dev_addr_prefix is not like 01000000/8");
		return;
	}
	const char *user = c->caller.is_admin ? "" : lw_uuid_print(c->caller.id, id);
	as_query_text(c, &with_prefixes, user, on_prefixes);
}
