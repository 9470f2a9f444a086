#include "app-server/api/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "app-server/api/access.h"
#include "app-server/api/routes.h"
#include "app-server/flow/events.h"
#include "app-server/store/row.h"
#include "common/base/bug.h"
#include "common/pb/schema.h"
#include "common/pb/unpack.h"
#include "proto/google/protobuf/empty.pb-c.h"

/* A row of the table with its owner and its right looked up. */
struct bound {
	struct as *as;
	struct as_rpc rpc;
};

static void enter(struct grpc_call *g, const ProtobufCMessage *req, void *arg)
{
	const struct bound *b = arg;
	struct lw_arena *arena = grpc_call_arena(g);
	struct as_call *c = LW_ARENA_NEW(arena, struct as_call);

	if (!c) {
		grpc_call_finish(g, GRPC_RESOURCE_EXHAUSTED, "request too large");
		return;
	}
	c->as = b->as;
	c->grpc = g;
	c->arena = arena;
	c->rpc = &b->rpc;
	c->began_ns = rt_loop_mono_ns(b->as->loop);
	c->req = req;
	c->object_id = "";
	c->object_id2 = "";
	grpc_call_set_user(g, c);
	as_access_enter(c);
}

static const char *route_right(const char *rpc)
{
	for (size_t i = 0; i < as_routes_count; i++) {
		if (strcmp(as_routes[i].rpc, rpc) == 0)
			return as_routes[i].right;
	}
	return lw_bug(__FILE__, __LINE__, rpc), NULL;
}

int as_api_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	static const char *statuses[GRPC_UNAUTHENTICATED + 1];
	struct as *as = owner;
	(void)diag;
	for (int i = 0; i <= GRPC_UNAUTHENTICATED; i++)
		statuses[i] = grpc_status_name(i);
	as->api_metrics.calls = rt_counter_vec(env->metrics, "api_calls_total", "Calls of the API, by gRPC status.",
					       "status", statuses, GRPC_UNAUTHENTICATED + 1);
	as->api_metrics.seconds =
		rt_histogram_seconds(env->metrics, "api_call_seconds", "Time from a request of the API to its answer.");
	for (size_t i = 0; i < as_rpcs_count; i++) {
		const struct as_rpc *rpc = &as_rpcs[i];
		const struct lw_schema_method *m = lw_schema_find_method(as->schema, rpc->path);
		BUG_ON(!m);
		struct bound *b = LW_ARENA_NEW(&as->arena, struct bound);
		BUG_ON(!b);
		b->as = as;
		b->rpc = *rpc;
		if (!b->rpc.right)
			b->rpc.right = route_right(rpc->path);
		struct grpc_method row = {.path = lw_arena_printf(&as->arena, "/%s", rpc->path),
					  .input = m->input->c,
					  .output = m->output->c,
					  .client_streaming = m->client_streaming,
					  .server_streaming = m->server_streaming,
					  .fn = enter,
					  .arg = b};
		int rc = grpc_methods_add(as->methods, &row);
		BUG_ON(rc < 0);
	}
	return 0;
}

static void count(struct as_call *c, int status)
{
	const struct as_api_metrics *m = &c->as->api_metrics;
	rt_metric_inc_at(m->calls, (size_t)status);
	rt_metric_observe(m->seconds, (double)(rt_loop_mono_ns(c->as->loop) - c->began_ns) / (double)LW_NS_PER_S);
}

/* What events say about devices may be different from now on. */
static void forget_changed(const struct as_call *c)
{
	const char *method = strrchr(c->rpc->path, '/') + 1;
	if (strcmp(method, "Update") != 0 && strcmp(method, "Delete") != 0 && strcmp(method, "Activate") != 0)
		return;
	switch (c->rpc->kind) {
	case AS_OBJ_DEVICE:
		as_events_forget(c->as, c->object_id);
		break;
	case AS_OBJ_TENANT:
	case AS_OBJ_APPLICATION:
	case AS_OBJ_DEVICE_PROFILE:
		as_events_forget(c->as, NULL);
		break;
	default:
		break;
	}
}

void as_reply(struct as_call *c, const ProtobufCMessage *msg)
{
	count(c, GRPC_OK);
	grpc_call_reply(c->grpc, msg);
}

void as_reply_empty(struct as_call *c)
{
	Google__Protobuf__Empty e = GOOGLE__PROTOBUF__EMPTY__INIT;
	forget_changed(c);
	as_reply(c, &e.base);
}

void as_fail(struct as_call *c, int grpc_status, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	count(c, grpc_status);
	grpc_call_finish(c->grpc, grpc_status, text);
}

void as_fail_missing(struct as_call *c, const char *id)
{
	as_fail(c, GRPC_NOT_FOUND, "Object does not exist (id: %s)", id);
}

void as_fail_sql(struct as_call *c, const struct sql_outcome *o, const char *what)
{
	switch (o->err) {
	case LW_EEXISTS:
		as_fail(c, GRPC_ALREADY_EXISTS, "%s exists already", what ? what : "object");
		return;
	case LW_ENOTFOUND:
		as_fail(c, GRPC_NOT_FOUND, "%s refers to something that does not exist", what ? what : "object");
		return;
	case LW_EUNAVAILABLE:
	case LW_ETIMEDOUT:
	case LW_EFULL:
	case LW_ECANCELLED:
		as_fail(c, GRPC_UNAVAILABLE, "the database is not available");
		return;
	case LW_ECONFLICT:
		as_fail(c, GRPC_ABORTED, "changed by someone else meanwhile");
		return;
	default:
		RT_LOG_ERROR(c->as->log, "statement failed", rt_str("rpc", c->rpc->path),
			     rt_str("statement", o->stmt ? o->stmt : ""), rt_err(o->err),
			     rt_str("detail", o->diag.text));
		as_fail(c, GRPC_INTERNAL, "internal error");
	}
}

void as_fail_row(struct as_call *c, const char *table, const char *id, const char *column)
{
	as_row_damaged(c->as, table, id, column);
	as_fail(c, GRPC_DATA_LOSS, "the stored %s %s is damaged: its %s cannot be read", table, id, column);
}

bool as_unpack(struct as_call *c, const ProtobufCMessageDescriptor *d, struct lw_span packed, const char *table,
	       const char *id, const char *column, ProtobufCMessage **out)
{
	if (lw_pb_unpack(d, packed, c->arena, out) == 0)
		return true;
	as_fail_row(c, table, id, column);
	return false;
}

static void on_query(void *arg, const struct sql_outcome *o, const struct sql_result *r)
{
	struct as_call *c = arg;
	if (o->err < 0)
		as_fail_sql(c, o, NULL);
	else
		c->then(c, r);
}

void as_query(struct as_call *c, struct sql_query *q, void (*then)(struct as_call *c, const struct sql_result *r))
{
	c->then = then;
	sql_query_send(q, on_query, c);
}

void as_query_text(struct as_call *c, const struct sql_stmt *stmt, const char *p,
		   void (*then)(struct as_call *c, const struct sql_result *r))
{
	struct sql_query *q = sql_query_new(c->as->db, stmt);
	sql_put_text(sql_query_params(q), p);
	as_query(c, q, then);
}

static void on_commit(void *arg, const struct sql_outcome *o)
{
	struct as_call *c = arg;
	if (o->err == AS_ROW_MISSING)
		as_fail_missing(c, c->object_id2[0] ? c->object_id2 : c->object_id);
	else if (o->err < 0)
		as_fail_sql(c, o, c->what);
	else
		c->then(c, NULL);
}

void as_commit(struct as_call *c, struct sql_tx *tx, void (*then)(struct as_call *c, const struct sql_result *r))
{
	c->then = then;
	sql_tx_commit(tx, on_commit, c);
}

static int right_of(const struct as_call *c, const char *text, const struct as_object *o)
{
	const struct as_right *right;
	enum as_action action;
	int rc = as_right_parse(text, &right, &action);
	BUG_ON(rc < 0);
	return as_right_check(right, action, &c->caller, o);
}

bool as_may(const struct as_call *c, const char *right, const struct lw_uuid *tenant_id)
{
	return right_of(c, right, &(struct as_object){.tenant_id = tenant_id}) == 0;
}

bool as_allowed_object(struct as_call *c, const char *text, const struct as_object *o)
{
	int rc = right_of(c, text, o);
	if (rc < 0)
		as_fail(c, rc == LW_EPERM ? GRPC_PERMISSION_DENIED : GRPC_UNAUTHENTICATED, "not permitted: %s", text);
	return rc == 0;
}

bool as_allowed(struct as_call *c, const char *right, const struct lw_uuid *tenant_id)
{
	return as_allowed_object(c, right, &(struct as_object){.tenant_id = tenant_id});
}

const char *as_uuid_arg(struct as_call *c, const char *text, const char *name)
{
	struct lw_uuid id;
	char out[LW_UUID_TEXT];
	if (lw_uuid_parse(&id, text ? text : "") < 0) {
		as_fail(c, GRPC_INVALID_ARGUMENT, text && text[0] ? "%s is not a UUID" : "%s is missing", name);
		return NULL;
	}
	return lw_arena_strdup(c->arena, lw_uuid_print(id, out));
}

const char *as_eui_arg(struct as_call *c, const char *text, const char *name)
{
	struct lw_dev_eui id;
	char out[LW_EUI_TEXT];
	if (lw_dev_eui_parse(&id, text ? text : "") < 0) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "%s is not an EUI of 16 hexadecimal digits", name);
		return NULL;
	}
	return lw_arena_strdup(c->arena, lw_dev_eui_print(id, out));
}

const char *as_eui_arg_optional(struct as_call *c, const char *text, const char *name)
{
	return text && text[0] ? as_eui_arg(c, text, name) : "0000000000000000";
}

const char *as_key_arg(struct as_call *c, const char *text, const char *name)
{
	struct lw_key key;
	char out[LW_KEY_TEXT];
	if (!text || !text[0])
		return "00000000000000000000000000000000";
	if (lw_key_parse(&key, text) < 0) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "%s is not a key of 32 hexadecimal digits", name);
		return NULL;
	}
	return lw_arena_strdup(c->arena, lw_key_print(key, out));
}

bool as_name_arg(struct as_call *c, const char *name)
{
	if (!name || !name[0]) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "name is not set");
		return false;
	}
	if (strlen(name) > 400) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "name is longer than 400 bytes");
		return false;
	}
	return true;
}

int64_t as_now_us(const struct as *as)
{
	return rt_loop_now_ns(as->loop) / LW_NS_PER_US;
}

const char *as_new_uuid(struct as_call *c)
{
	char out[LW_UUID_TEXT];
	return lw_arena_strdup(c->arena, lw_uuid_print(lw_uuid_new(&c->as->rng), out));
}

const char *as_search_pattern(struct as_call *c, const char *search)
{
	if (!search || !search[0])
		return "%";
	char *out = lw_arena_alloc(c->arena, 2 * strlen(search) + 3);
	char *p = out;
	BUG_ON(!out);
	*p++ = '%';
	for (; *search; search++) {
		if (strchr("%_\\", *search))
			*p++ = '\\';
		*p++ = *search;
	}
	*p++ = '%';
	*p = 0;
	return out;
}

/* ---- lists ---- */

static struct sql_query *list_query(struct as_call *c, const struct sql_stmt *stmt, bool page)
{
	const struct as_list *l = c->list;
	struct sql_query *q = sql_query_new(c->as->db, stmt);
	struct sql_params *p = sql_query_params(q);
	if (l->bind)
		l->bind(c, p);
	if (page) {
		sql_put_i64(p, l->limit);
		sql_put_i64(p, l->offset);
	}
	return q;
}

static ProtobufCMessage *list_response(struct as_call *c)
{
	return c->state;
}

static void on_page(struct as_call *c, const struct sql_result *r)
{
	const struct as_list *l = c->list;
	size_t n = sql_rows(r);
	ProtobufCMessage **items = as_msg_list(c->arena, list_response(c), "result", n);
	for (size_t i = 0; i < n; i++) {
		as_row_fill(c->arena, items[i], l->fields, r, i, 0);
		if (l->item)
			l->item(c, r, i, items[i]);
	}
	as_reply(c, list_response(c));
}

static void on_count(struct as_call *c, const struct sql_result *r)
{
	const struct as_list *l = c->list;
	c->state = as_msg_new(c->arena, l->response);
	as_row_fill(c->arena, list_response(c), "total_count", r, 0, 0);
	if (l->limit == 0 || sql_i64(r, 0, 0) <= l->offset)
		as_reply(c, list_response(c));
	else
		as_query(c, list_query(c, l->page, true), on_page);
}

void as_list(struct as_call *c, const struct as_list *l)
{
	c->list = lw_arena_memdup(c->arena, l, sizeof(*l));
	as_query(c, list_query(c, l->count, false), on_count);
}

/* ---- gets ---- */

static void on_got(struct as_call *c, const struct sql_result *r)
{
	const struct as_get *g = c->get;
	size_t columns = 0;

	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
		return;
	}
	ProtobufCMessage *msg = as_msg_new(c->arena, g->response);
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(g->response, g->member);
	BUG_ON(!f || f->type != PROTOBUF_C_TYPE_MESSAGE);
	ProtobufCMessage *member = as_msg_new(c->arena, f->descriptor);
	*(ProtobufCMessage **)(void *)((char *)msg + f->offset) = member;
	as_row_fill(c->arena, member, g->member_fields, r, 0, 0);
	for (const char *p = g->member_fields; *p; p++)
		columns += *p == ' ';
	if (g->fields)
		as_row_fill(c->arena, msg, g->fields, r, 0, columns + 1);
	if (g->complete)
		g->complete(c, r, member, msg);
	as_reply(c, msg);
}

void as_get(struct as_call *c, const struct as_get *g)
{
	c->get = g;
	as_query_text(c, g->stmt, c->object_id, on_got);
}
