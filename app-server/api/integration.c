/* Integrations of an application: their configuration (api.ApplicationService). What they do is in
 * app-server/integration.
 */
#include <string.h>

#include "app-server/api/handlers.h"
#include "app-server/integration/http.h"
#include "app-server/integration/outlets.h"
#include "app-server/store/row.h"
#include "common/base/bug.h"
#include "common/pb/unpack.h"
#include "proto/api/application.pb-c.h"

#define MAX_BODY (256u * 1024)

static const struct sql_stmt insert = {
	.name = "as_integration_insert",
	.text = "INSERT INTO integration (application_id, kind, version, body, created_at, updated_at)"
		" VALUES ($1, $2, 1, $3, $4, $4)",
	.params = "tlyl",
};
static const struct sql_stmt update = {
	.name = "as_integration_update",
	.text = "UPDATE integration SET version = version + 1, body = $3, updated_at = $4"
		" WHERE application_id = $1 AND kind = $2 AND version = $5",
	.params = "tlyll",
};
static const struct sql_stmt delete_one = {
	.name = "as_integration_delete",
	.text = "DELETE FROM integration WHERE application_id = $1 AND kind = $2",
	.params = "tl",
};
/* Without an endpoint nobody can ask for them. */
static const struct sql_stmt delete_events = {
	.name = "as_integration_delete_events",
	.text = "DELETE FROM integration_event WHERE application_id = $1 AND NOT EXISTS"
		" (SELECT 1 FROM integration WHERE application_id = $1)",
	.params = "t",
};
static const struct sql_stmt select_one = {
	.name = "as_integration_get",
	.text = "SELECT body, version FROM integration WHERE application_id = $1 AND kind = $2",
	.params = "tl",
	.cols = "yl",
};
static const struct sql_stmt select_kinds = {
	.name = "as_integration_kinds",
	.text = "SELECT kind FROM integration WHERE application_id = $1 ORDER BY kind",
	.params = "t",
	.cols = "l",
};
static const struct sql_stmt select_endpoints = {
	.name = "as_integration_endpoints",
	.text = "SELECT p.id, p.target, i.version FROM integration AS i LEFT JOIN integration_endpoint AS p"
		" ON p.application_id = i.application_id AND p.kind = i.kind"
		" WHERE i.application_id = $1 AND i.kind = $2 ORDER BY p.id",
	.params = "tl",
	.cols = "ltl",
};
static const struct sql_stmt insert_endpoints = {
	.name = "as_integration_endpoint_insert",
	.text = "INSERT INTO integration_endpoint (application_id, kind, target, owner, beat, delivered, last_ok_at,"
		" failing_since, next_at, last_error, last_error_at)"
		" SELECT $1, $2, target, '', 0, 0, 0, 0, 0, '', 0 FROM {batch} WHERE true",
	.params = "tl",
	.batch = "target:t",
};
static const struct sql_stmt move_endpoints = {
	.name = "as_integration_endpoint_move",
	.text = "UPDATE integration_endpoint SET target = b.target FROM {batch} WHERE integration_endpoint.id = b.id",
	.batch = "id:l target:t",
};
static const struct sql_stmt delete_endpoints = {
	.name = "as_integration_endpoint_delete",
	.text = "DELETE FROM integration_endpoint WHERE id IN (SELECT id FROM {batch})",
	.batch = "id:l",
};

static struct sql_query *query_kind(struct as_call *c, const struct sql_stmt *stmt, int kind)
{
	struct sql_query *q = sql_query_new(c->as->db, stmt);
	sql_put_text(sql_query_params(q), c->object_id);
	sql_put_i64(sql_query_params(q), kind);
	return q;
}

static void changed(struct as_call *c, const struct sql_result *r)
{
	(void)r;
	as_outlets_changed(c->as, c->object_id);
	as_reply_empty(c);
}

static void removed(struct as_call *c, const struct sql_result *r)
{
	(void)r;
	as_outlets_changed(c->as, NULL);
	as_reply_empty(c);
}

static void put_body(struct as_call *c, struct sql_params *p, const ProtobufCMessage *msg)
{
	struct lw_buf b;
	(void)c;
	lw_buf_init(&b, MAX_BODY);
	lw_pb_pack(msg, &b);
	sql_put_bytes(p, lw_buf_span(&b));
	if (b.p)
		lw_wipe(b.p, b.n);
	lw_buf_deinit(&b);
}

/* ---- HTTP ---- */

/* The URLs; 0: the call is finished. */
static size_t check_http(struct as_call *c, const Api__HttpIntegration *h, struct lw_span *urls)
{
	struct lw_diag diag = {.text = ""};
	int n = as_http_urls(h->event_endpoint_url, urls, &diag);
	int rc = n < 0 ? n : 0;
	if (rc == 0 && h->n_headers > AS_HTTP_HEADERS_MAX) {
		lw_diag_set(&diag, "headers: more than %d", AS_HTTP_HEADERS_MAX);
		rc = LW_EINVAL;
	}
	for (size_t i = 0; rc == 0 && i < h->n_headers; i++)
		rc = as_http_header_check(h->headers[i]->key, h->headers[i]->value, &diag);
	if (rc == 0 && h->encoding != API__ENCODING__JSON && h->encoding != API__ENCODING__PROTOBUF) {
		lw_diag_set(&diag, "encoding is neither JSON nor PROTOBUF");
		rc = LW_EINVAL;
	}
	if (rc == 0 && protobuf_c_message_get_packed_size(&h->base) > MAX_BODY) {
		lw_diag_set(&diag, "the integration is too large");
		rc = LW_EINVAL;
	}
	if (rc == 0)
		return (size_t)n;
	as_fail(c, GRPC_INVALID_ARGUMENT, "%s", diag.text);
	return 0;
}

static void put_target(struct as_call *c, struct sql_params *p, struct lw_span url)
{
	(void)c;
	sql_put_text_n(p, url);
}

void as_integration_http_create(struct as_call *c)
{
	const Api__HttpIntegration *h = ((const Api__CreateHttpIntegrationRequest *)c->req)->integration;
	struct lw_span urls[AS_HTTP_URLS_MAX];
	size_t n = check_http(c, h, urls);
	if (n == 0)
		return;
	struct sql_tx *tx = sql_tx_new(c->as->db);
	struct sql_params *p = sql_tx_add(tx, &insert, NULL, NULL);
	sql_put_text(p, c->object_id);
	sql_put_i64(p, API__INTEGRATION_KIND__HTTP);
	put_body(c, p, &h->base);
	sql_put_i64(p, as_now_us(c->as));
	p = sql_tx_add(tx, &insert_endpoints, NULL, NULL);
	sql_put_text(p, c->object_id);
	sql_put_i64(p, API__INTEGRATION_KIND__HTTP);
	for (size_t i = 0; i < n; i++)
		put_target(c, p, urls[i]);
	c->what = "HTTP integration";
	as_commit(c, tx, changed);
}

/* Values of headers are mostly tokens: only who could set them sees them. */
static void hide_headers(struct as_call *c, Api__HttpIntegration *h)
{
	if (as_may(c, "ApplicationAccess:Update", &c->tenant_id))
		return;
	for (size_t i = 0; i < h->n_headers; i++)
		h->headers[i]->value = lw_arena_strdup(c->arena, "(hidden)");
}

static void on_http(struct as_call *c, const struct sql_result *r)
{
	ProtobufCMessage *msg = NULL;
	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
		return;
	}
	if (lw_pb_unpack(&api__http_integration__descriptor, sql_span(r, 0, 0), c->arena, &msg) < 0) {
		as_fail(c, GRPC_INTERNAL, "the stored integration cannot be read");
		return;
	}
	Api__GetHttpIntegrationResponse *resp = as_msg_new(c->arena, &api__get_http_integration_response__descriptor);
	resp->integration = (Api__HttpIntegration *)(void *)msg;
	resp->integration->application_id = (char *)(uintptr_t)c->object_id;
	hide_headers(c, resp->integration);
	as_reply(c, &resp->base);
}

void as_integration_http_get(struct as_call *c)
{
	as_query(c, query_kind(c, &select_one, API__INTEGRATION_KIND__HTTP), on_http);
}

/* Which URL takes the place of which endpoint. The same URL keeps its queue; of the others the first new one takes the
 * place of the first that is gone: whoever corrects an address wants there what waits. */
struct match {
	size_t n_old, n_new;
	const char *old[AS_HTTP_URLS_MAX];
	int64_t id[AS_HTTP_URLS_MAX];
	bool old_used[AS_HTTP_URLS_MAX], new_used[AS_HTTP_URLS_MAX];
	struct lw_span urls[AS_HTTP_URLS_MAX];
};

static void match_same(struct match *m)
{
	for (size_t i = 0; i < m->n_old; i++) {
		for (size_t k = 0; k < m->n_new; k++) {
			if (m->new_used[k] || !lw_span_eq_str(m->urls[k], m->old[i]))
				continue;
			m->old_used[i] = m->new_used[k] = true;
			break;
		}
	}
}

static void add_endpoints(struct as_call *c, struct match *m, struct sql_tx *tx)
{
	struct sql_params *p = sql_tx_add(tx, &move_endpoints, NULL, NULL);
	for (size_t i = 0, k = 0; i < m->n_old; i++) {
		while (k < m->n_new && m->new_used[k])
			k++;
		if (m->old_used[i] || k == m->n_new)
			continue;
		m->old_used[i] = m->new_used[k] = true;
		sql_put_i64(p, m->id[i]);
		put_target(c, p, m->urls[k]);
	}
	p = sql_tx_add(tx, &delete_endpoints, NULL, NULL);
	for (size_t i = 0; i < m->n_old; i++) {
		if (!m->old_used[i])
			sql_put_i64(p, m->id[i]);
	}
	p = sql_tx_add(tx, &insert_endpoints, NULL, NULL);
	sql_put_text(p, c->object_id);
	sql_put_i64(p, API__INTEGRATION_KIND__HTTP);
	for (size_t k = 0; k < m->n_new; k++) {
		if (!m->new_used[k])
			put_target(c, p, m->urls[k]);
	}
}

static void on_endpoints(struct as_call *c, const struct sql_result *r)
{
	const Api__HttpIntegration *h = ((const Api__UpdateHttpIntegrationRequest *)c->req)->integration;
	struct match m = {0};
	struct lw_diag diag;
	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
		return;
	}
	int n = as_http_urls(h->event_endpoint_url, m.urls, &diag);
	BUG_ON(n < 0); /* it was checked */
	m.n_new = (size_t)n;
	for (size_t i = 0; i < sql_rows(r) && m.n_old < AS_HTTP_URLS_MAX; i++) {
		if (sql_is_null(r, i, 0))
			continue;
		m.id[m.n_old] = sql_i64(r, i, 0);
		m.old[m.n_old++] = sql_text(r, i, 1);
	}
	match_same(&m);
	struct sql_tx *tx = sql_tx_new(c->as->db);
	struct sql_params *p = sql_tx_add(tx, &update, NULL, NULL);
	sql_put_text(p, c->object_id);
	sql_put_i64(p, API__INTEGRATION_KIND__HTTP);
	put_body(c, p, &h->base);
	sql_put_i64(p, as_now_us(c->as));
	sql_put_i64(p, sql_i64(r, 0, 2));
	sql_tx_expect(tx, 1, 1, LW_ECONFLICT);
	add_endpoints(c, &m, tx);
	as_commit(c, tx, changed);
}

void as_integration_http_update(struct as_call *c)
{
	const Api__HttpIntegration *h = ((const Api__UpdateHttpIntegrationRequest *)c->req)->integration;
	struct lw_span urls[AS_HTTP_URLS_MAX];
	if (check_http(c, h, urls) > 0)
		as_query(c, query_kind(c, &select_endpoints, API__INTEGRATION_KIND__HTTP), on_endpoints);
}

static void delete_kind(struct as_call *c, int kind)
{
	struct sql_tx *tx = sql_tx_new(c->as->db);
	struct sql_params *p = sql_tx_add(tx, &delete_one, NULL, NULL);
	sql_put_text(p, c->object_id);
	sql_put_i64(p, kind);
	sql_tx_expect(tx, 1, 1, AS_ROW_MISSING);
	sql_put_text(sql_tx_add(tx, &delete_events, NULL, NULL), c->object_id);
	as_commit(c, tx, removed);
}

void as_integration_http_delete(struct as_call *c)
{
	delete_kind(c, API__INTEGRATION_KIND__HTTP);
}

/* ---- list ---- */

static void on_kinds(struct as_call *c, const struct sql_result *r)
{
	size_t n = sql_rows(r);
	Api__ListIntegrationsResponse *resp = as_msg_new(c->arena, &api__list_integrations_response__descriptor);
	ProtobufCMessage **items = as_msg_list(c->arena, &resp->base, "result", n + 1);
	for (size_t i = 0; i < n; i++)
		((Api__IntegrationListItem *)(void *)items[i])->kind = (Api__IntegrationKind)sql_i64(r, i, 0);
	/* The broker's is there for every application. */
	((Api__IntegrationListItem *)(void *)items[n])->kind = API__INTEGRATION_KIND__MQTT_GLOBAL;
	resp->total_count = (uint32_t)n + 1;
	as_reply(c, &resp->base);
}

void as_application_list_integrations(struct as_call *c)
{
	as_query_text(c, &select_kinds, c->object_id, on_kinds);
}
