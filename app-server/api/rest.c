#include "app-server/api/rest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app-server/api/routes.h"
#include "app-server/as.h"
#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_call.h"
#include "common/io/http_server.h"
#include "common/pb/build.h"
#include "common/pb/json_out.h"
#include "common/pb/pbjson.h"
#include "common/pb/route.h"

#define MAX_ANSWER (64u << 20)

/* One request under way. Freed by its last callback, which is `finish` or the client's going away. */
struct rest {
	struct as *as;
	struct http_request *http;
	struct grpc_call *call;
	struct lw_buf body;
};

bool as_rest_origin_allowed(const struct as *as, const char *origin)
{
	for (size_t i = 0; i < as->conf->cors_origins.n; i++) {
		const char *o = as->conf->cors_origins.v[i];
		if (strcmp(o, "*") == 0 || strcmp(o, origin) == 0)
			return true;
	}
	return false;
}

static void respond_json(const struct as *as, struct http_request *r, int status, const struct lw_buf *body)
{
	const char *origin = http_request_header(r, "origin");
	const struct http_header headers[] = {{"access-control-allow-origin", origin}, {"vary", "origin"}};
	bool cors = origin && as_rest_origin_allowed(as, origin);
	http_respond(r, status, "application/json", body->p, body->n, cors ? headers : NULL, cors ? 2 : 0);
}

static void respond_error(const struct as *as, struct http_request *r, int grpc_status, const char *message)
{
	struct lw_buf b;
	lw_buf_init(&b, 64 * 1024);
	lw_buf_printf(&b, "{\"code\":%d,\"message\":", grpc_status);
	lw_json_put_string(&b, lw_span_str(message));
	lw_buf_append_str(&b, ",\"details\":[]}");
	respond_json(as, r, grpc_status_to_http(grpc_status), &b);
	lw_buf_deinit(&b);
}

static void rest_free(struct rest *x)
{
	lw_buf_deinit(&x->body);
	if (x->call)
		grpc_call_unref(x->call);
	free(x);
}

static int on_message(void *arg, const ProtobufCMessage *msg)
{
	struct rest *x = arg;
	return lw_pbjson_encode(x->as->schema, msg, LW_PBJSON_REST, &x->body) < 0 ? LW_EFULL : 0;
}

static void on_finish(void *arg, int status, const char *message)
{
	struct rest *x = arg;
	if (status == GRPC_OK)
		respond_json(x->as, x->http, 200, &x->body);
	else
		respond_error(x->as, x->http, status, message);
	rest_free(x);
}

static void on_close(struct http_request *r, void *arg)
{
	struct rest *x = arg;
	struct grpc_call *call = grpc_call_ref(x->call);
	/* No callback comes after the cancel; the handler may still finish the call later, for nobody. */
	grpc_call_cancel(call);
	grpc_call_unref(call);
	http_respond(r, 499, NULL, NULL, 0, NULL, 0);
	rest_free(x);
}

/* ---- the request ---- */

static void put_escaped(struct lw_buf *b, const char *s)
{
	for (; *s; s++)
		lw_buf_printf(b, "%%%02X", (unsigned char)*s);
}

/* The binder takes an encoded query, the server gives decoded pairs. */
static void add_pair(void *arg, const char *name, const char *value)
{
	struct lw_buf *b = arg;
	lw_buf_append_str(b, b->n ? "&" : "");
	put_escaped(b, name);
	lw_buf_append_str(b, "=");
	put_escaped(b, value);
}

/* The same for path segments: everything but the slashes between them. */
static void put_path(struct lw_buf *b, const char *path)
{
	for (; *path; path++) {
		if (*path == '/' || (*path >= '0' && *path <= '9') || (*path >= 'A' && *path <= 'Z') ||
		    (*path >= 'a' && *path <= 'z') || *path == '-' || *path == '_' || *path == '.')
			lw_buf_append_u8(b, (uint8_t)*path);
		else
			lw_buf_printf(b, "%%%02X", (unsigned char)*path);
	}
}

static const char *authorization(const struct http_request *r)
{
	const char *h = http_request_header(r, "authorization");
	return h ? h : http_request_header(r, "grpc-metadata-authorization");
}

static void start_call(struct as *as, struct http_request *r, const struct lw_route_hit *hit, struct lw_span query)
{
	struct rest *x = lw_xcalloc(1, sizeof(*x));
	const char *auth = authorization(r);
	struct grpc_metadata metadata[] = {{"authorization", auth}};
	struct grpc_local local = {.transport = "rest",
				   .peer = http_request_peer(r),
				   .metadata = metadata,
				   .n_metadata = auth ? 1 : 0,
				   .arg = x,
				   .message = on_message,
				   .finish = on_finish};
	char path[160];
	ProtobufCMessage *req = NULL;
	struct lw_diag diag = {.text = ""};

	x->as = as;
	x->http = r;
	lw_buf_init(&x->body, MAX_ANSWER);
	snprintf(path, sizeof(path), "/%s", hit->route->rpc);
	local.path = path;
	x->call = grpc_call_new(as->methods, &local);
	ProtobufCAllocator allocator = lw_pb_arena_allocator(grpc_call_arena(x->call));
	int rc = lw_route_bind(as->schema, hit, query, http_request_body(r), &allocator, &req, &diag);
	if (rc < 0) {
		grpc_call_cancel(x->call);
		rest_free(x);
		respond_error(as, r, GRPC_INVALID_ARGUMENT, diag.text[0] ? diag.text : lw_err_text(rc));
		return;
	}
	struct grpc_call *call = grpc_call_ref(x->call);
	http_request_on_close(r, on_close, x);
	/* x may be gone when this returns. */
	grpc_call_start(call, req);
	grpc_call_unref(call);
}

void as_rest_serve(struct as *as, struct http_request *r)
{
	struct lw_route_hit hit;
	struct lw_buf query;
	struct lw_buf path;

	lw_buf_init(&path, 16 * 1024);
	lw_buf_init(&query, 256 * 1024);
	put_path(&path, http_request_path(r));
	int rc = lw_route_find(as_routes, as_routes_count, http_request_method(r), lw_buf_span(&path), &hit);
	if (rc == LW_EUNSUPPORTED) {
		respond_error(as, r, GRPC_UNIMPLEMENTED, "Method Not Allowed");
	} else if (rc < 0 || path.err) {
		respond_error(as, r, GRPC_NOT_FOUND, "Not Found");
	} else {
		http_request_each_query(r, add_pair, &query);
		if (query.err)
			respond_error(as, r, GRPC_INVALID_ARGUMENT, "the query is too long");
		else
			start_call(as, r, &hit, lw_buf_span(&query));
	}
	lw_buf_deinit(&query);
	lw_buf_deinit(&path);
}
