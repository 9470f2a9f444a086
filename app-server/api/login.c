/* Signing in, and what a caller is told about itself and this installation. */
#include <string.h>

#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/domain/jwt.h"
#include "app-server/domain/password.h"
#include "app-server/store/row.h"
#include "proto/api/internal.pb-c.h"

#define TOKEN_LIFE_S 86400
/* Each verification takes a core for tens of milliseconds and 19 MiB: a flood must not starve the thread pool. */
#define MAX_LOGINS 32
/* A hash that no password has, so that an unknown user takes as long as a wrong password. */
#define NOBODY "$argon2id$v=19$m=19456,t=3,p=1$bG9uZ3dhdmUtbm9ib2R5$8pUxF1mC0o8tqD1o9D0m5cJb1Z0m0yZpQm4b3m1yWkE"

static const struct sql_stmt find_user = {
	.name = "as_login_find",
	.text = "SELECT id, password_hash, is_active FROM account WHERE lower(email) = lower($1)",
	.params = "t",
	.cols = "ttl",
};
static const struct sql_stmt user_row = {
	.name = "as_profile_user",
	.text = "SELECT id, is_admin, is_active, email, note FROM account WHERE id = $1",
	.params = "t",
	.cols = "tlltt",
};

struct login {
	struct as_call *c;
	struct lw_uuid id;
	const char *password;
	const char *hash;
	bool allowed;
	int rc;
};

static void work(void *arg)
{
	struct login *l = arg;
	l->rc = as_password_verify(l->hash, l->password);
}

static void refuse(struct as_call *c)
{
	as_fail(c, GRPC_UNAUTHENTICATED, "Invalid username or password");
}

static void work_done(void *arg, int status)
{
	struct login *l = arg;
	struct as_call *c = l->c;
	char token[AS_JWT_MAX];

	if (status < 0) {
		as_fail(c, GRPC_UNAVAILABLE, "shutting down");
		return;
	}
	if (l->rc < 0 || !l->allowed) {
		refuse(c);
		return;
	}
	struct as_claims claims = {.sub = l->id, .exp_s = rt_loop_now_ns(c->as->loop) / LW_NS_PER_S + TOKEN_LIFE_S};
	as_jwt_sign(&claims, lw_span(c->as->secrets.token, c->as->secrets.token_len), token);
	Api__LoginResponse resp = API__LOGIN_RESPONSE__INIT;
	resp.jwt = token;
	as_reply(c, &resp.base);
}

static void on_user(struct as_call *c, const struct sql_result *r)
{
	struct login *l = LW_ARENA_NEW(c->arena, struct login);
	bool found = sql_rows(r) > 0 && lw_uuid_parse(&l->id, sql_text(r, 0, 0)) == 0;

	l->c = c;
	l->password = ((const Api__LoginRequest *)c->req)->password;
	l->hash = found ? lw_arena_strdup(c->arena, sql_text(r, 0, 1)) : NOBODY;
	l->allowed = found && sql_i64(r, 0, 2) != 0;
	rt_loop_work(c->as->loop, work, work_done, l);
}

void as_login(struct as_call *c)
{
	const Api__LoginRequest *req = c->req;
	if (!req->email[0] || !req->password[0] || strlen(req->password) > AS_PASSWORD_MAX) {
		refuse(c);
		return;
	}
	if (rt_loop_work_count(c->as->loop) >= MAX_LOGINS) {
		as_fail(c, GRPC_RESOURCE_EXHAUSTED, "too many logins at once, try again");
		return;
	}
	as_query_text(c, &find_user, req->email, on_user);
}

static void on_row(struct as_call *c, const struct sql_result *r)
{
	Api__ProfileResponse *resp = as_msg_new(c->arena, &api__profile_response__descriptor);
	char id[LW_UUID_TEXT];

	if (sql_rows(r) == 0) {
		as_fail(c, GRPC_UNAUTHENTICATED, "the user of this token does not exist");
		return;
	}
	resp->user = as_msg_new(c->arena, &api__user__descriptor);
	as_row_fill(c->arena, &resp->user->base, "id is_admin is_active email note", r, 0, 0);
	Api__UserTenantLink **v = (void *)as_msg_list(c->arena, &resp->base, "tenants", c->caller.nroles);
	for (size_t i = 0; i < c->caller.nroles; i++) {
		const struct as_role *role = &c->caller.roles[i];
		v[i]->tenant_id = lw_arena_strdup(c->arena, lw_uuid_print(role->tenant_id, id));
		v[i]->is_admin = role->is_admin;
		v[i]->is_device_admin = role->is_device_admin;
		v[i]->is_gateway_admin = role->is_gateway_admin;
		v[i]->created_at = as_timestamp(c->arena, role->created_at_us);
		v[i]->updated_at = as_timestamp(c->arena, role->updated_at_us);
	}
	as_reply(c, &resp->base);
}

void as_profile_of_caller(struct as_call *c)
{
	char id[LW_UUID_TEXT];
	as_query_text(c, &user_row, lw_uuid_print(c->caller.id, id), on_row);
}

/* Single sign-on comes later: both are there and switched off. */
void as_settings(struct as_call *c)
{
	Api__SettingsResponse resp = API__SETTINGS_RESPONSE__INIT;
	Api__OpenIdConnect oidc = API__OPEN_ID_CONNECT__INIT;
	Api__OAuth2 oauth2 = API__OAUTH2__INIT;
	resp.openid_connect = &oidc;
	resp.oauth2 = &oauth2;
	resp.tileserver_url = c->as->conf->tileserver_url;
	resp.map_attribution = c->as->conf->map_attribution;
	as_reply(c, &resp.base);
}

void as_version(struct as_call *c)
{
	Api__GetVersionResponse resp = API__GET_VERSION_RESPONSE__INIT;
	resp.version = (char *)(uintptr_t)LW_VERSION;
	as_reply(c, &resp.base);
}
