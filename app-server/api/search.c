/* Search over names, identifiers and tags of everything that the user may see. */
#include <stdlib.h>
#include <string.h>

#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/domain/similarity.h"
#include "app-server/store/row.h"
#include "common/base/bug.h"
#include "proto/api/internal.pb-c.h"

/* Candidates of each kind that are scored; the shortest names first, being the most alike. */
#define CANDIDATES "200"
#define MAX_LIMIT 1000

/* $1 pattern, $2 user ('' sees all), $3 the pair ,"key":"value" or ''. */
#define MINE(t) " AND ($2 = '' OR " t " IN (SELECT tu.tenant_id FROM tenant_user AS tu WHERE tu.user_id = $2))"
#define TAGGED(t) "($3 <> '' AND replace(',' || substr(" t ", 2), $3, '') <> ',' || substr(" t ", 2))"
static const struct sql_stmt search = {
	.name = "as_search",
	.text = "SELECT * FROM (SELECT 'tenant' AS kind, t.id, t.name, '', '', '', '', '', '' FROM tenant AS t"
		" WHERE (lower(t.name) LIKE lower($1) ESCAPE '\\' OR " TAGGED("t.tags") ")" MINE(
			"t.id") " ORDER BY length(t.name), t.id LIMIT " CANDIDATES ") AS a UNION ALL"
				" SELECT * FROM (SELECT 'application' AS kind, t.id, t.name, p.id, p.name, '', '', '', "
				"''"
				" FROM application AS p JOIN tenant AS t ON t.id = p.tenant_id"
				" WHERE (lower(p.name) LIKE lower($1) ESCAPE '\\' OR " TAGGED("p.tags") ")" MINE(
					"t.id") " ORDER BY length(p.name), p.id LIMIT " CANDIDATES ") AS b UNION ALL"
						" SELECT * FROM (SELECT 'device' AS kind, t.id, t.name, p.id, p.name, "
						"d.dev_eui, d.name, '', ''"
						" FROM device AS d JOIN application AS p ON p.id = d.application_id "
						"JOIN tenant AS t"
						" ON t.id = d.tenant_id WHERE (lower(d.name) LIKE lower($1) ESCAPE "
						"'\\' OR d.dev_eui LIKE lower($1)"
						" ESCAPE '\\' OR d.dev_addr LIKE lower($1) ESCAPE '\\' OR " TAGGED(
							"d.tags") ")" MINE("t.id") " ORDER BY length(d.name), "
										   "d.dev_eui LIMIT " CANDIDATES
										   ") AS c UNION ALL"
										   " SELECT * FROM (SELECT 'gateway' "
										   "AS kind, t.id, t.name, '', '', '', "
										   "'', g.gateway_id, g.name"
										   " FROM gateway AS g JOIN tenant AS "
										   "t ON t.id = g.tenant_id"
										   " WHERE (lower(g.name) LIKE "
										   "lower($1) ESCAPE '\\' OR "
										   "g.gateway_id LIKE lower($1) ESCAPE "
										   "'\\' OR " TAGGED("g.tags") ")" MINE(
											   "t.id") " ORDER BY "
												   "length(g.name), "
												   "g.gateway_id "
												   "LIMIT " CANDIDATES
												   ") AS d",
	.params = "ttt",
	.cols = "ttttttttt",
};

static const char *name_of(const Api__GlobalSearchResult *r)
{
	switch (r->kind[0]) {
	case 't':
		return r->tenant_name;
	case 'a':
		return r->application_name;
	case 'd':
		return r->device_name;
	default:
		return r->gateway_name;
	}
}

static float score_of(const char *query, const Api__GlobalSearchResult *r)
{
	float best = as_similarity(query, name_of(r));
	const char *ids[] = {r->device_dev_eui, r->gateway_id};
	for (size_t i = 0; i < 2; i++) {
		float s = ids[i][0] ? as_similarity(query, ids[i]) : 0.0f;
		best = s > best ? s : best;
	}
	return best;
}

static int by_score(const void *a, const void *b)
{
	const Api__GlobalSearchResult *x = *(Api__GlobalSearchResult *const *)a;
	const Api__GlobalSearchResult *y = *(Api__GlobalSearchResult *const *)b;
	if (x->score != y->score)
		return x->score < y->score ? 1 : -1;
	int rc = strcmp(name_of(x), name_of(y));
	return rc ? rc : strcmp(x->kind, y->kind);
}

static void on_rows(struct as_call *c, const struct sql_result *r)
{
	const Api__GlobalSearchRequest *req = c->req;
	Api__GlobalSearchResponse *resp = as_msg_new(c->arena, &api__global_search_response__descriptor);
	size_t n = sql_rows(r);
	Api__GlobalSearchResult **v = (void *)as_msg_list(c->arena, &resp->base, "result", n);

	for (size_t i = 0; i < n; i++) {
		as_row_fill(c->arena, &v[i]->base,
			    "kind tenant_id tenant_name application_id application_name device_dev_eui device_name "
			    "gateway_id gateway_name",
			    r, i, 0);
		v[i]->score = score_of(req->search, v[i]);
	}
	if (n > 1)
		qsort(v, n, sizeof(*v), by_score);
	size_t offset = (size_t)req->offset < n ? (size_t)req->offset : n;
	size_t limit = (size_t)req->limit < n - offset ? (size_t)req->limit : n - offset;
	resp->result = v + offset;
	resp->n_result = limit;
	as_reply(c, &resp->base);
}

void as_global_search(struct as_call *c)
{
	const Api__GlobalSearchRequest *req = c->req;
	const char *colon = strchr(req->search, ':');
	char id[LW_UUID_TEXT];

	if (req->limit < 0 || req->offset < 0 || req->limit > MAX_LIMIT) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "limit and offset are not in range");
		return;
	}
	struct sql_query *q = sql_query_new(c->as->db, &search);
	struct sql_params *p = sql_query_params(q);
	sql_put_text(p, as_search_pattern(c, req->search));
	sql_put_text(p, c->caller.is_admin ? "" : lw_uuid_print(c->caller.id, id));
	if (colon) {
		char *key = lw_arena_strndup(c->arena, req->search, (size_t)(colon - req->search));
		sql_put_text(p, as_pair_text(c->arena, key, colon + 1));
	} else {
		sql_put_text(p, "");
	}
	as_query(c, q, on_rows);
}
