/* API keys. Their token is shown once, at creation. */
#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/domain/jwt.h"
#include "app-server/store/row.h"
#include "proto/api/internal.pb-c.h"

static const struct sql_stmt insert = {
	.name = "as_api_key_insert",
	.text = "INSERT INTO api_key (id, tenant_id, name, is_admin, is_read_only, created_at)"
		" VALUES ($1, $2, $3, $4, $5, $6)",
	.params = "tttlll",
};
static const struct sql_stmt delete_one = {
	.name = "as_api_key_delete",
	.text = "DELETE FROM api_key WHERE id = $1",
	.params = "t",
};
#define MATCH " FROM api_key WHERE CASE WHEN $1 = 1 THEN is_admin = 1 ELSE ($2 = '' OR tenant_id = $2) END"
static const struct sql_stmt count = {
	.name = "as_api_key_count",
	.text = "SELECT count(*)" MATCH,
	.params = "lt",
	.cols = "l",
};
static const struct sql_stmt page = {
	.name = "as_api_key_page",
	.text = "SELECT id, name, is_admin, tenant_id, is_read_only" MATCH " ORDER BY name, id LIMIT $3 OFFSET $4",
	.params = "ltll",
	.cols = "ttltl",
};

static void created(struct as_call *c, const struct sql_result *r)
{
	struct as_claims claims = {.is_key = true};
	char token[AS_JWT_MAX];
	Api__CreateApiKeyResponse resp = API__CREATE_API_KEY_RESPONSE__INIT;

	(void)r;
	lw_uuid_parse(&claims.sub, c->object_id2);
	as_jwt_sign(&claims, lw_span(c->as->secrets.token, c->as->secrets.token_len), token);
	resp.id = (char *)(uintptr_t)c->object_id2;
	resp.token = token;
	as_reply(c, &resp.base);
}

void as_api_key_create(struct as_call *c)
{
	const Api__ApiKey *k = ((const Api__CreateApiKeyRequest *)c->req)->api_key;
	if (!as_name_arg(c, k->name))
		return;
	if (k->is_admin == c->has_tenant) {
		as_fail(c, GRPC_INVALID_ARGUMENT,
			k->is_admin ? "an administrator's key has no tenant_id" : "tenant_id is missing");
		return;
	}
	/* The right was checked for the tenant; an administrator's key has none, so only administrators came here. */
	c->object_id2 = as_new_uuid(c);
	struct sql_tx *tx = sql_tx_new(c->as->db);
	struct sql_params *p = sql_tx_add(tx, &insert, NULL, NULL);
	sql_put_text(p, c->object_id2);
	sql_put_text(p, c->has_tenant ? c->object_id : NULL);
	as_row_bind(p, &k->base, "name is_admin is_read_only");
	sql_put_i64(p, as_now_us(c->as));
	c->what = "API key";
	as_commit(c, tx, created);
}

static void deleted(struct as_call *c, const struct sql_result *r)
{
	(void)r;
	as_access_forget(c->as->access);
	as_reply_empty(c);
}

void as_api_key_delete(struct as_call *c)
{
	struct sql_tx *tx = sql_tx_new(c->as->db);
	sql_put_text(sql_tx_add(tx, &delete_one, NULL, NULL), c->object_id);
	sql_tx_expect(tx, 1, 1, AS_ROW_MISSING);
	as_commit(c, tx, deleted);
}

static void bind_list(struct as_call *c, struct sql_params *p)
{
	sql_put_i64(p, ((const Api__ListApiKeysRequest *)c->req)->is_admin);
	sql_put_text(p, c->object_id);
}

void as_api_key_list(struct as_call *c)
{
	const Api__ListApiKeysRequest *req = c->req;
	/* Administrators' keys are no tenant's business. */
	if (req->is_admin && !as_allowed(c, "ApiKeysAccess:List", NULL))
		return;
	as_list(c, &(struct as_list){.count = &count,
				     .page = &page,
				     .bind = bind_list,
				     .fields = "id name is_admin tenant_id is_read_only",
				     .response = &api__list_api_keys_response__descriptor,
				     .limit = req->limit,
				     .offset = req->offset});
}
