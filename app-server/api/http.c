#include "app-server/api/http.h"

#include <stdlib.h>
#include <string.h>

#include "app-server/api/rest.h"
#include "app-server/api/routes.h"
#include "app-server/as.h"
#include "app-server/link/live.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_web.h"
#include "common/io/http_server.h"
#include "common/pb/openapi.h"

#define OPENAPI_MAX (4u << 20)

struct as_http {
	struct as *as;
	struct http_server *server;
	struct http_static *ui; /* NULL: none */
	struct lw_buf openapi;
};

static bool is_api(const char *path)
{
	return strncmp(path, "/api", 4) == 0 && (path[4] == '/' || path[4] == 0);
}

/* Answers a browser's question before a call from another origin. */
static bool preflight(const struct as_http *h, struct http_request *r)
{
	const char *origin = http_request_header(r, "origin");
	if (strcmp(http_request_method(r), "OPTIONS") != 0)
		return false;
	if (!origin || !as_rest_origin_allowed(h->as, origin)) {
		http_respond(r, 204, NULL, NULL, 0, (const struct http_header[]){{"allow", "GET, POST, PUT, DELETE"}},
			     1);
		return true;
	}
	const struct http_header headers[] = {{"access-control-allow-origin", origin},
					      {"access-control-allow-methods", "GET, POST, PUT, DELETE, OPTIONS"},
					      {"access-control-allow-headers",
					       "authorization, grpc-metadata-authorization, content-type, x-grpc-web,"
					       " x-user-agent, grpc-timeout"},
					      {"access-control-max-age", "3600"},
					      {"vary", "origin"}};
	http_respond(r, 204, NULL, NULL, 0, headers, sizeof(headers) / sizeof(headers[0]));
	return true;
}

static void serve(struct http_request *r, void *arg)
{
	struct as_http *h = arg;
	const char *path = http_request_path(r);

	if (preflight(h, r) || grpc_web_serve(h->as->methods, r) || as_live_serve(h->as, r))
		return;
	if (strcmp(path, "/api/openapi.json") == 0 && strcmp(http_request_method(r), "GET") == 0)
		http_respond(r, 200, "application/json", h->openapi.p, h->openapi.n, NULL, 0);
	else if (is_api(path))
		as_rest_serve(h->as, r);
	else if (h->ui)
		http_static_serve(h->ui, r, path);
	else
		http_respond_text(r, 404, "no web UI is installed here; the API is below /api\n");
}

int as_http_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct as *as = owner;
	struct as_http *h = lw_xcalloc(1, sizeof(*h));
	(void)env;

	h->as = as;
	lw_buf_init(&h->openapi, OPENAPI_MAX);
	int rc = lw_openapi_build(as->schema, as_routes, as_routes_count, &h->openapi);
	if (rc == 0 && as->conf->ui_dir[0]) {
		rc = http_static_new(as->conf->ui_dir, &h->ui);
		if (rc < 0)
			lw_diag_set(diag, "ui.dir %s: %s", as->conf->ui_dir, lw_err_text(rc));
	}
	if (rc == 0) {
		struct http_server_config c = {.bind = as->conf->http_bind, .fn = serve, .arg = h};
		rc = http_server_new(as->loop, &c, &h->server, diag);
	}
	as->http = h;
	if (rc < 0) {
		as_http_deinit(as);
		return rc;
	}
	RT_LOG_INFO(as->log, "HTTP is served", rt_str("bind", as->conf->http_bind),
		    rt_u64("port", (uint64_t)http_server_port(h->server)));
	return 0;
}

void as_http_deinit(void *owner)
{
	struct as *as = owner;
	struct as_http *h = as->http;
	if (!h)
		return;
	if (h->server)
		http_server_free(h->server);
	if (h->ui)
		http_static_free(h->ui);
	lw_buf_deinit(&h->openapi);
	free(h);
	as->http = NULL;
}

void as_http_drain(struct as *as)
{
	if (as->http)
		http_server_drain(as->http->server);
}
