/* Users of this installation. Passwords are hashed on a worker thread. */
#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/domain/password.h"
#include "app-server/store/row.h"
#include "proto/api/user.pb-c.h"

#include <string.h>

#define FIELDS "is_admin is_active email note"

static const struct sql_stmt insert = {
	.name = "as_user_insert",
	.text = "INSERT INTO account (id, is_admin, is_active, email, note, password_hash, created_at, updated_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
	.params = "tllttt"
		  "l",
};
static const struct sql_stmt insert_tenant = {
	.name = "as_user_insert_tenants",
	.text = "INSERT INTO tenant_user (tenant_id, user_id, is_admin, is_device_admin, is_gateway_admin, created_at,"
		" updated_at) SELECT tenant_id, $1, is_admin, is_device_admin, is_gateway_admin, $2, $2 FROM {batch}",
	.params = "tl",
	.batch = "tenant_id:t is_admin:l is_device_admin:l is_gateway_admin:l",
};
static const struct sql_stmt select_one = {
	.name = "as_user_get",
	.text = "SELECT id, is_admin, is_active, email, note, created_at, updated_at FROM account WHERE id = $1",
	.params = "t",
	.cols = "tllttll",
};
static const struct sql_stmt update = {
	.name = "as_user_update",
	.text = "UPDATE account SET is_admin = $2, is_active = $3, email = $4, note = $5, updated_at = $6 WHERE id = "
		"$1",
	.params = "tllttl",
};
static const struct sql_stmt update_password = {
	.name = "as_user_update_password",
	.text = "UPDATE account SET password_hash = $2, updated_at = $3 WHERE id = $1",
	.params = "ttl",
};
static const struct sql_stmt delete_one = {
	.name = "as_user_delete",
	.text = "DELETE FROM account WHERE id = $1",
	.params = "t",
};
static const struct sql_stmt count = {
	.name = "as_user_count",
	.text = "SELECT count(*) FROM account",
	.cols = "l",
};
static const struct sql_stmt page = {
	.name = "as_user_page",
	.text = "SELECT id, created_at, updated_at, email, is_admin, is_active FROM account ORDER BY email"
		" LIMIT $1 OFFSET $2",
	.params = "ll",
	.cols = "tlltll",
};

struct hashing {
	struct as_call *c;
	const char *password;
	char hash[AS_PASSWORD_HASH_MAX];
	int rc;
	void (*then)(struct as_call *c);
};

static void changed(struct as_call *c, const struct sql_result *r)
{
	(void)r;
	as_access_forget(c->as->access);
	as_reply_empty(c);
}

/* ---- hashing ---- */

static void work(void *arg)
{
	struct hashing *h = arg;
	h->rc = as_password_hash(h->password, h->hash);
}

static void work_done(void *arg, int status)
{
	struct hashing *h = arg;
	if (status < 0)
		as_fail(h->c, GRPC_UNAVAILABLE, "shutting down");
	else if (h->rc < 0)
		as_fail(h->c, GRPC_INTERNAL, "the password could not be hashed");
	else
		h->then(h->c);
}

static void hash_password(struct as_call *c, const char *password, void (*then)(struct as_call *c))
{
	struct hashing *h = LW_ARENA_NEW(c->arena, struct hashing);
	if (as_password_check_length(password) < 0) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "Password must have %d to %d characters", AS_PASSWORD_MIN,
			AS_PASSWORD_MAX);
		return;
	}
	h->c = c;
	h->password = password;
	h->then = then;
	c->state = h;
	rt_loop_work(c->as->loop, work, work_done, h);
}

/* ---- e-mail ---- */

static bool is_email(const char *s)
{
	const char *at = strchr(s, '@');
	size_t n = strlen(s);
	if (!at || at == s || n > 254 || strchr(at + 1, '@'))
		return false;
	for (const char *p = s; *p; p++) {
		if ((unsigned char)*p <= ' ' || *p == ',' || *p == ';')
			return false;
	}
	/* A host without a dot is fine; an empty label is not. */
	return at[1] && at[1] != '.' && s[n - 1] != '.' && !strstr(at, "..");
}

/* The first administrator is called by a name. */
static bool email_ok(struct as_call *c, const char *email)
{
	if (is_email(email) || strcmp(email, "admin") == 0)
		return true;
	as_fail(c, GRPC_INVALID_ARGUMENT, "email is not an e-mail address");
	return false;
}

/* ---- RPCs ---- */

static void created(struct as_call *c, const struct sql_result *r)
{
	(void)r;
	Api__CreateUserResponse resp = API__CREATE_USER_RESPONSE__INIT;
	resp.id = (char *)(uintptr_t)c->object_id2;
	as_reply(c, &resp.base);
}

static void create_hashed(struct as_call *c)
{
	const Api__CreateUserRequest *req = c->req;
	const struct hashing *h = c->state;
	int64_t now = as_now_us(c->as);
	struct sql_tx *tx = sql_tx_new(c->as->db);
	struct sql_params *p = sql_tx_add(tx, &insert, NULL, NULL);

	c->object_id2 = as_new_uuid(c);
	sql_put_text(p, c->object_id2);
	as_row_bind(p, &req->user->base, FIELDS);
	sql_put_text(p, h->hash);
	sql_put_i64(p, now);
	p = sql_tx_add(tx, &insert_tenant, NULL, NULL);
	sql_put_text(p, c->object_id2);
	sql_put_i64(p, now);
	for (size_t i = 0; i < req->n_tenants; i++) {
		struct lw_uuid id;
		char text[LW_UUID_TEXT];
		lw_uuid_parse(&id, req->tenants[i]->tenant_id);
		sql_put_text(p, lw_uuid_print(id, text));
		as_row_bind(p, &req->tenants[i]->base, "is_admin is_device_admin is_gateway_admin");
	}
	c->what = "user";
	as_commit(c, tx, created);
}

void as_user_create(struct as_call *c)
{
	const Api__CreateUserRequest *req = c->req;
	if (!req->user) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "user is missing");
		return;
	}
	if (!email_ok(c, req->user->email))
		return;
	for (size_t i = 0; i < req->n_tenants; i++) {
		if (!as_uuid_arg(c, req->tenants[i]->tenant_id, "tenant_id"))
			return;
	}
	hash_password(c, req->password, create_hashed);
}

void as_user_get(struct as_call *c)
{
	static const struct as_get get = {.stmt = &select_one,
					  .response = &api__get_user_response__descriptor,
					  .member = "user",
					  .member_fields = "id " FIELDS,
					  .fields = "created_at updated_at"};
	as_get(c, &get);
}

void as_user_update(struct as_call *c)
{
	const Api__User *u = ((const Api__UpdateUserRequest *)c->req)->user;
	if (!email_ok(c, u->email))
		return;
	struct sql_tx *tx = sql_tx_new(c->as->db);
	struct sql_params *p = sql_tx_add(tx, &update, NULL, NULL);
	sql_put_text(p, c->object_id);
	as_row_bind(p, &u->base, FIELDS);
	sql_put_i64(p, as_now_us(c->as));
	sql_tx_expect(tx, 1, 1, AS_ROW_MISSING);
	c->what = "user";
	as_commit(c, tx, changed);
}

void as_user_delete(struct as_call *c)
{
	struct lw_uuid id;
	lw_uuid_parse(&id, c->object_id);
	if (c->caller.kind == AS_CALLER_USER && lw_uuid_eq(id, c->caller.id)) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "you cannot delete your own user");
		return;
	}
	struct sql_tx *tx = sql_tx_new(c->as->db);
	sql_put_text(sql_tx_add(tx, &delete_one, NULL, NULL), c->object_id);
	sql_tx_expect(tx, 1, 1, AS_ROW_MISSING);
	as_commit(c, tx, changed);
}

void as_user_list(struct as_call *c)
{
	const Api__ListUsersRequest *req = c->req;
	as_list(c, &(struct as_list){.count = &count,
				     .page = &page,
				     .fields = "id created_at updated_at email is_admin is_active",
				     .response = &api__list_users_response__descriptor,
				     .limit = req->limit,
				     .offset = req->offset});
}

static void password_hashed(struct as_call *c)
{
	const struct hashing *h = c->state;
	struct sql_tx *tx = sql_tx_new(c->as->db);
	struct sql_params *p = sql_tx_add(tx, &update_password, NULL, NULL);
	sql_put_text(p, c->object_id);
	sql_put_text(p, h->hash);
	sql_put_i64(p, as_now_us(c->as));
	sql_tx_expect(tx, 1, 1, AS_ROW_MISSING);
	as_commit(c, tx, changed);
}

void as_user_update_password(struct as_call *c)
{
	hash_password(c, ((const Api__UpdateUserPasswordRequest *)c->req)->password, password_hashed);
}
