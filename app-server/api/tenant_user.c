/* Users of a tenant and what they may do in it. */
#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/store/row.h"
#include "proto/api/tenant.pb-c.h"

static const struct sql_stmt find_user = {
	.name = "as_tenant_user_find",
	.text = "SELECT id FROM account WHERE ($1 <> '' AND lower(email) = lower($1)) OR ($1 = '' AND id = $2)",
	.params = "tt",
	.cols = "t",
};
static const struct sql_stmt insert = {
	.name = "as_tenant_user_insert",
	.text = "INSERT INTO tenant_user (tenant_id, user_id, is_admin, is_device_admin, is_gateway_admin, created_at,"
		" updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6)",
	.params = "ttllll",
};
static const struct sql_stmt select_one = {
	.name = "as_tenant_user_get",
	.text = "SELECT tu.tenant_id, tu.user_id, tu.is_admin, tu.is_device_admin, tu.is_gateway_admin, a.email,"
		" tu.created_at, tu.updated_at FROM tenant_user AS tu JOIN account AS a ON a.id = tu.user_id"
		" WHERE tu.tenant_id = $1 AND tu.user_id = $2",
	.params = "tt",
	.cols = "ttllltll",
};
static const struct sql_stmt update = {
	.name = "as_tenant_user_update",
	.text = "UPDATE tenant_user SET is_admin = $3, is_device_admin = $4, is_gateway_admin = $5, updated_at = $6"
		" WHERE tenant_id = $1 AND user_id = $2",
	.params = "ttllll",
};
static const struct sql_stmt delete_one = {
	.name = "as_tenant_user_delete",
	.text = "DELETE FROM tenant_user WHERE tenant_id = $1 AND user_id = $2",
	.params = "tt",
};
static const struct sql_stmt count = {
	.name = "as_tenant_user_count",
	.text = "SELECT count(*) FROM tenant_user WHERE tenant_id = $1",
	.params = "t",
	.cols = "l",
};
static const struct sql_stmt page = {
	.name = "as_tenant_user_page",
	.text = "SELECT tu.tenant_id, tu.user_id, tu.created_at, tu.updated_at, a.email, tu.is_admin,"
		" tu.is_device_admin, tu.is_gateway_admin FROM tenant_user AS tu JOIN account AS a ON a.id = tu.user_id"
		" WHERE tu.tenant_id = $1 ORDER BY a.email LIMIT $2 OFFSET $3",
	.params = "tll",
	.cols = "ttlltlll",
};

static void changed(struct as_call *c, const struct sql_result *r)
{
	(void)r;
	as_access_forget(c->as->access);
	as_reply_empty(c);
}

static void write_one(struct as_call *c, const struct sql_stmt *stmt, const char *user, const Api__TenantUser *tu)
{
	struct sql_tx *tx = sql_tx_new(c->as->db);
	struct sql_params *p = sql_tx_add(tx, stmt, NULL, NULL);
	sql_put_text(p, c->object_id);
	sql_put_text(p, user);
	if (tu) {
		as_row_bind(p, &tu->base, "is_admin is_device_admin is_gateway_admin");
		sql_put_i64(p, as_now_us(c->as));
	}
	if (stmt != &insert)
		sql_tx_expect(tx, 1, 1, AS_ROW_MISSING);
	c->what = "tenant user";
	as_commit(c, tx, changed);
}

static void on_user(struct as_call *c, const struct sql_result *r)
{
	const Api__TenantUser *tu = ((const Api__AddTenantUserRequest *)c->req)->tenant_user;
	if (sql_rows(r) == 0)
		as_fail_missing(c, tu->email[0] ? tu->email : tu->user_id);
	else
		write_one(c, &insert, lw_arena_strdup(c->arena, sql_text(r, 0, 0)), tu);
}

void as_tenant_user_add(struct as_call *c)
{
	const Api__TenantUser *tu = ((const Api__AddTenantUserRequest *)c->req)->tenant_user;
	const char *id = "";

	if (!tu->email[0] && !(id = as_uuid_arg(c, tu->user_id, "user_id")))
		return;
	struct sql_query *q = sql_query_new(c->as->db, &find_user);
	sql_put_text(sql_query_params(q), tu->email);
	sql_put_text(sql_query_params(q), id);
	as_query(c, q, on_user);
}

static void on_got(struct as_call *c, const struct sql_result *r)
{
	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id2);
		return;
	}
	Api__GetTenantUserResponse *resp = as_msg_new(c->arena, &api__get_tenant_user_response__descriptor);
	resp->tenant_user = as_msg_new(c->arena, &api__tenant_user__descriptor);
	as_row_fill(c->arena, &resp->tenant_user->base,
		    "tenant_id user_id is_admin is_device_admin is_gateway_admin email", r, 0, 0);
	as_row_fill(c->arena, &resp->base, "created_at updated_at", r, 0, 6);
	as_reply(c, &resp->base);
}

void as_tenant_user_get(struct as_call *c)
{
	struct sql_query *q = sql_query_new(c->as->db, &select_one);
	sql_put_text(sql_query_params(q), c->object_id);
	sql_put_text(sql_query_params(q), c->object_id2);
	as_query(c, q, on_got);
}

void as_tenant_user_update(struct as_call *c)
{
	write_one(c, &update, c->object_id2, ((const Api__UpdateTenantUserRequest *)c->req)->tenant_user);
}

void as_tenant_user_delete(struct as_call *c)
{
	write_one(c, &delete_one, c->object_id2, NULL);
}

static void bind_list(struct as_call *c, struct sql_params *p)
{
	sql_put_text(p, c->object_id);
}

void as_tenant_user_list(struct as_call *c)
{
	const Api__ListTenantUsersRequest *req = c->req;
	as_list(c, &(struct as_list){.count = &count,
				     .page = &page,
				     .bind = bind_list,
				     .fields = "tenant_id user_id created_at updated_at email is_admin is_device_admin "
					       "is_gateway_admin",
				     .response = &api__list_tenant_users_response__descriptor,
				     .limit = req->limit,
				     .offset = req->offset});
}
