#include "app-server/replicas.h"
#include "app-server/api/access.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "app-server/domain/jwt.h"
#include "common/base/bug.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"

/* Another process on the same database may change rights too: then they are seen after this time. */
#define CACHE_NS (5 * LW_NS_PER_S)
#define CACHE_MAX 10000

struct known {
	struct as_caller caller;
	struct lw_uuid owner; /* of an application or profile */
	bool has_owner;
	int64_t until_ns;
	size_t nroles;
	struct as_role roles[];
};

struct as_access {
	struct as *as;
	struct lw_bmap callers; /* id → struct known */
	struct lw_bmap owners;  /* "kind id" → struct known */
};

static const struct sql_stmt user_stmt = {
	.name = "as_caller_user",
	.text = "SELECT a.is_active, a.is_admin, tu.tenant_id, tu.is_admin, tu.is_device_admin, tu.is_gateway_admin,"
		" tu.created_at, tu.updated_at FROM account AS a LEFT JOIN tenant_user AS tu ON tu.user_id = a.id"
		" WHERE a.id = $1 ORDER BY tu.tenant_id",
	.params = "t",
	.cols = "lltlllll",
};
static const struct sql_stmt key_stmt = {
	.name = "as_caller_key",
	.text = "SELECT is_admin, tenant_id, is_read_only FROM api_key WHERE id = $1",
	.params = "t",
	.cols = "ltl",
};

/* The owner of each kind of object. */
static const struct sql_stmt owner_stmts[] = {
	[AS_OBJ_API_KEY] = {.name = "as_owner_api_key",
			    .text = "SELECT tenant_id FROM api_key WHERE id = $1",
			    .params = "t",
			    .cols = "t"},
	[AS_OBJ_APPLICATION] = {.name = "as_owner_application",
				.text = "SELECT tenant_id FROM application WHERE id = $1",
				.params = "t",
				.cols = "t"},
	[AS_OBJ_DEVICE] = {.name = "as_owner_device",
			   .text = "SELECT tenant_id FROM device WHERE dev_eui = $1",
			   .params = "t",
			   .cols = "t"},
	[AS_OBJ_GATEWAY] = {.name = "as_owner_gateway",
			    .text = "SELECT tenant_id FROM gateway WHERE gateway_id = $1",
			    .params = "t",
			    .cols = "t"},
	[AS_OBJ_DEVICE_PROFILE] = {.name = "as_owner_device_profile",
				   .text = "SELECT tenant_id FROM device_profile WHERE id = $1",
				   .params = "t",
				   .cols = "t"},
	[AS_OBJ_MULTICAST] = {.name = "as_owner_multicast",
			      .text = "SELECT a.tenant_id FROM multicast_group AS g JOIN application AS a"
				      " ON a.id = g.application_id WHERE g.id = $1",
			      .params = "t",
			      .cols = "t"},
};

static const char *const object_words[] = {
	[AS_OBJ_TENANT] = "tenant_id",
	[AS_OBJ_TENANT_OPTIONAL] = "tenant_id",
	[AS_OBJ_USER] = "user_id",
	[AS_OBJ_TENANT_USER] = "tenant_id",
	[AS_OBJ_API_KEY] = "id",
	[AS_OBJ_APPLICATION] = "application_id",
	[AS_OBJ_DEVICE] = "dev_eui",
	[AS_OBJ_GATEWAY] = "gateway_id",
	[AS_OBJ_DEVICE_PROFILE] = "device_profile_id",
	[AS_OBJ_MULTICAST] = "multicast_group_id",
};

struct as_access *as_access_new(struct as *as)
{
	struct as_access *a = lw_xcalloc(1, sizeof(*a));
	a->as = as;
	lw_bmap_init(&a->callers);
	lw_bmap_init(&a->owners);
	return a;
}

static void clear(struct lw_bmap *m)
{
	size_t it = 0;
	struct lw_span key;
	void *v;
	while (lw_bmap_next(m, &it, &key, &v))
		free(v);
	lw_bmap_clear(m);
}

void as_access_hear(struct as_access *a)
{
	clear(&a->callers);
	clear(&a->owners);
}

void as_access_forget(struct as_access *a)
{
	as_access_hear(a);
	as_replicas_tell(a->as, "access", "");
}

void as_access_free(struct as_access *a)
{
	if (!a)
		return;
	as_access_hear(a);
	lw_bmap_deinit(&a->callers);
	lw_bmap_deinit(&a->owners);
	free(a);
}

static struct known *cache_find(struct as_access *a, struct lw_bmap *m, const char *key)
{
	struct known *k = lw_bmap_find(m, lw_span_str(key));
	return k && k->until_ns > rt_loop_mono_ns(a->as->loop) ? k : NULL;
}

static void cache_put(struct as_access *a, struct lw_bmap *m, const char *key, struct known *k)
{
	if (lw_bmap_count(m) >= CACHE_MAX)
		clear(m);
	k->until_ns = rt_loop_mono_ns(a->as->loop) + CACHE_NS;
	free(lw_bmap_put(m, lw_span_str(key), k));
}

/* ---- the right ---- */

static void decide(struct as_call *c, bool found)
{
	const struct as_right *right;
	enum as_action action;
	struct lw_uuid user;
	struct as_object o = {.tenant_id = c->has_tenant ? &c->tenant_id : NULL};

	int rc = as_right_parse(c->rpc->right, &right, &action);
	BUG_ON(rc < 0);
	if (c->rpc->kind == AS_OBJ_USER || c->rpc->kind == AS_OBJ_TENANT_USER) {
		const char *text = c->rpc->kind == AS_OBJ_USER ? c->object_id : c->object_id2;
		if (lw_uuid_parse(&user, text) == 0)
			o.user_id = &user;
	}
	if (c->rpc->kind == AS_OBJ_DEVICE_PROFILE && found && !c->has_tenant)
		right = as_right_find("GlobalDeviceProfileAccess");
	switch (as_right_check(right, action, &c->caller, &o)) {
	case 0:
		break;
	case LW_EPERM:
		as_fail(c, GRPC_PERMISSION_DENIED, "not permitted: %s", c->rpc->right);
		return;
	default:
		as_fail(c, GRPC_UNAUTHENTICATED, "the user is not active");
		return;
	}
	if (!found) {
		as_fail_missing(c, c->object_id);
		return;
	}
	c->rpc->fn(c);
}

static const char *owner_key(struct as_call *c)
{
	return lw_arena_printf(c->arena, "%d %s", (int)c->rpc->kind, c->object_id);
}

static void on_owner(struct as_call *c, const struct sql_result *r)
{
	struct as_access *a = c->as->access;
	bool found = sql_rows(r) > 0;
	c->has_tenant = found && lw_uuid_parse(&c->tenant_id, sql_text(r, 0, 0)) == 0;
	if (found && (c->rpc->kind == AS_OBJ_APPLICATION || c->rpc->kind == AS_OBJ_DEVICE_PROFILE)) {
		struct known *k = lw_xcalloc(1, sizeof(*k));
		k->owner = c->tenant_id;
		k->has_owner = c->has_tenant;
		cache_put(a, &a->owners, owner_key(c), k);
	}
	decide(c, found);
}

/* Text of a member reached by a path; NULL after as_fail() when a message on the way is missing. */
static const char *path_text(struct as_call *c, const char *path)
{
	const ProtobufCMessage *m = c->req;
	for (;;) {
		size_t n = strcspn(path, ".");
		const char *name = lw_arena_strndup(c->arena, path, n);
		const ProtobufCFieldDescriptor *f =
			protobuf_c_message_descriptor_get_field_by_name(m->descriptor, name);
		BUG_ON(!f);
		const void *v = (const char *)m + f->offset;
		if (!path[n]) {
			const char *s = *(char *const *)v;
			return s ? s : "";
		}
		m = *(ProtobufCMessage *const *)v;
		if (!m) {
			as_fail(c, GRPC_INVALID_ARGUMENT, "%s is missing", name);
			return NULL;
		}
		path += n + 1;
	}
}

static void resolve(struct as_call *c)
{
	enum as_object_kind kind = c->rpc->kind;
	struct as_access *a = c->as->access;

	if (kind == AS_OBJ_NONE) {
		decide(c, true);
		return;
	}
	const char *text = path_text(c, c->rpc->field);
	if (!text)
		return;
	if (kind == AS_OBJ_TENANT_OPTIONAL && !text[0]) {
		decide(c, true);
		return;
	}
	if (kind == AS_OBJ_DEVICE || kind == AS_OBJ_GATEWAY)
		c->object_id = as_eui_arg(c, text, object_words[kind]);
	else
		c->object_id = as_uuid_arg(c, text, object_words[kind]);
	if (!c->object_id)
		return;
	if (c->rpc->field2) {
		text = path_text(c, c->rpc->field2);
		c->object_id2 = text ? as_uuid_arg(c, text, "user_id") : NULL;
		if (!c->object_id2)
			return;
	}
	if (kind == AS_OBJ_USER) {
		decide(c, true);
		return;
	}
	if (kind == AS_OBJ_TENANT || kind == AS_OBJ_TENANT_OPTIONAL || kind == AS_OBJ_TENANT_USER) {
		lw_uuid_parse(&c->tenant_id, c->object_id);
		c->has_tenant = true;
		decide(c, true);
		return;
	}
	const struct known *k = cache_find(a, &a->owners, owner_key(c));
	if (k) {
		c->tenant_id = k->owner;
		c->has_tenant = k->has_owner;
		decide(c, true);
		return;
	}
	as_query_text(c, &owner_stmts[kind], c->object_id, on_owner);
}

/* ---- the caller ---- */

static void with_caller(struct as_call *c, const struct known *k)
{
	struct as_role *roles = lw_arena_memdup(c->arena, k->roles, k->nroles * sizeof(k->roles[0]));
	c->caller = k->caller;
	c->caller.roles = roles;
	c->caller.nroles = k->nroles;
	if (c->caller.kind == AS_CALLER_USER && !c->caller.is_active) {
		as_fail(c, GRPC_UNAUTHENTICATED, "the user is not active");
		return;
	}
	if (strcmp(c->rpc->right, AS_RIGHT_OWN) == 0)
		c->rpc->fn(c);
	else
		resolve(c);
}

static void on_user(struct as_call *c, const struct sql_result *r)
{
	struct as_access *a = c->as->access;
	char id[LW_UUID_TEXT];
	size_t n = sql_rows(r);

	if (n == 0) {
		as_fail(c, GRPC_UNAUTHENTICATED, "the user of this token does not exist");
		return;
	}
	struct known *k = lw_xcalloc(1, sizeof(*k) + n * sizeof(k->roles[0]));
	k->caller = c->caller;
	k->caller.is_active = sql_i64(r, 0, 0) != 0;
	k->caller.is_admin = sql_i64(r, 0, 1) != 0;
	for (size_t i = 0; i < n && !sql_is_null(r, i, 2); i++) {
		struct as_role *role = &k->roles[k->nroles++];
		lw_uuid_parse(&role->tenant_id, sql_text(r, i, 2));
		role->is_admin = sql_i64(r, i, 3) != 0;
		role->is_device_admin = sql_i64(r, i, 4) != 0;
		role->is_gateway_admin = sql_i64(r, i, 5) != 0;
		role->created_at_us = sql_i64(r, i, 6);
		role->updated_at_us = sql_i64(r, i, 7);
	}
	cache_put(a, &a->callers, lw_uuid_print(c->caller.id, id), k);
	with_caller(c, k);
}

static void on_key(struct as_call *c, const struct sql_result *r)
{
	struct as_access *a = c->as->access;
	char id[LW_UUID_TEXT];

	if (sql_rows(r) == 0) {
		as_fail(c, GRPC_UNAUTHENTICATED, "the API key was deleted");
		return;
	}
	struct known *k = lw_xcalloc(1, sizeof(*k));
	k->caller = c->caller;
	k->caller.is_active = true;
	k->caller.is_admin = sql_i64(r, 0, 0) != 0;
	lw_uuid_parse(&k->caller.tenant_id, sql_text(r, 0, 1));
	k->caller.is_read_only = sql_i64(r, 0, 2) != 0;
	cache_put(a, &a->callers, lw_uuid_print(c->caller.id, id), k);
	with_caller(c, k);
}

static bool authenticate(struct as_call *c)
{
	struct as_claims claims;
	const char *h = grpc_call_metadata(c->grpc, "authorization");
	struct lw_span secret = lw_span(c->as->secrets.token, c->as->secrets.token_len);

	if (!h || !h[0]) {
		as_fail(c, GRPC_UNAUTHENTICATED, "no authorization provided");
		return false;
	}
	if (strncasecmp(h, "Bearer ", 7) == 0)
		h += 7;
	h += strspn(h, " ");
	int64_t now_s = rt_loop_now_ns(c->as->loop) / LW_NS_PER_S;
	int rc = as_jwt_verify(h, strlen(h), secret, now_s, &claims);
	if (rc < 0) {
		as_fail(c, GRPC_UNAUTHENTICATED,
			rc == LW_ETIMEDOUT ? "the token has expired" : "the token is not valid");
		return false;
	}
	c->caller.kind = claims.is_key ? AS_CALLER_KEY : AS_CALLER_USER;
	c->caller.id = claims.sub;
	return true;
}

void as_access_enter(struct as_call *c)
{
	struct as_access *a = c->as->access;
	char id[LW_UUID_TEXT];

	if (!c->as->ready) {
		as_fail(c, GRPC_UNAVAILABLE, "the database is not ready yet");
		return;
	}
	if (!c->rpc->right[0]) {
		c->rpc->fn(c);
		return;
	}
	if (!authenticate(c))
		return;
	lw_uuid_print(c->caller.id, id);
	const struct known *k = cache_find(a, &a->callers, id);
	if (k && k->caller.kind == c->caller.kind)
		with_caller(c, k);
	else if (c->caller.kind == AS_CALLER_KEY)
		as_query_text(c, &key_stmt, lw_arena_strdup(c->arena, id), on_key);
	else
		as_query_text(c, &user_stmt, lw_arena_strdup(c->arena, id), on_user);
}
