#include "app-server/link/join_server.h"

#include <stdlib.h>
#include <string.h>

#include "app-server/as.h"
#include "app-server/domain/join.h"
#include "app-server/store/session.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "common/crypto/hash.h"
#include "common/io/http_server.h"
#include "common/io/sql.h"
#include "common/pb/json_in.h"

#define MAX_BODY (512u * 1024)
#define MAX_ANSWER (8u * 1024)
#define MAX_DEPTH 8
/* Questions in one request: an array of them is answered by an array, in the same order. Not in the standard; who asks
 * learns from the header of any answer that it may. */
#define MAX_BUNDLE 500
#define BUNDLE_HEADER "Longwave-Batch"
#define BUNDLE_TEXT "500"
#define MAX_BATCH 1000
#define MAX_WAITING 20000

/* One HTTP request. */
struct bundle {
	struct http_request *r;
	bool is_array;
	size_t n, open;
	char *answers[]; /* of an array, until all are there */
};

struct join {
	struct lw_list node;
	struct as_join *owner;
	struct bundle *bundle;
	size_t place; /* in the bundle */
	struct as_join_req req;
	struct as_join_device dev;
	bool is_known;
	bool is_fresh;   /* the DevNonce was not there when it was written; of rejoins: always */
	bool is_counted; /* the JoinNonce went on by one from the value that the answer uses */
	struct as_join_session session;
};

/* Joins that go through together; no two of one device. */
struct batch {
	struct as_join *owner;
	size_t n;
	struct join *v[MAX_BATCH];
};

struct as_join {
	struct as *as;
	struct http_server *http;
	struct lw_list waiting;
	size_t n_waiting;
	struct lw_map busy; /* DevEUIs in a batch under way */
	struct rt_tick *tick;
	struct lw_buf answer;
	struct rt_metric *results;
};

static const struct sql_stmt select_keys = {
	.name = "as_join_keys",
	.text = "SELECT b.n, k.nwk_key, k.app_key, k.join_nonce, k.rj_count1, (SELECT count(*) FROM dev_nonce AS u"
		" WHERE u.dev_eui = b.dev_eui AND u.join_eui = b.join_eui AND u.dev_nonce = b.dev_nonce),"
		" (SELECT coalesce(max(u.dev_nonce), -1) FROM dev_nonce AS u"
		" WHERE u.dev_eui = b.dev_eui AND u.join_eui = b.join_eui)"
		" FROM {batch} JOIN device_keys AS k ON k.dev_eui = b.dev_eui",
	.batch = "dev_eui:t join_eui:t dev_nonce:l",
	.cols = "lttllll",
};
static const struct sql_stmt insert_nonces = {
	.name = "as_join_nonces",
	.text = "INSERT INTO dev_nonce (dev_eui, join_eui, dev_nonce) SELECT dev_eui, join_eui, dev_nonce FROM {batch}"
		" WHERE true ON CONFLICT (dev_eui, join_eui, dev_nonce) DO NOTHING RETURNING dev_eui",
	.batch = "dev_eui:t join_eui:t dev_nonce:l",
	.cols = "t",
};
static const struct sql_stmt count_on = {
	.name = "as_join_count_on",
	.text = "UPDATE device_keys SET join_nonce = device_keys.join_nonce + 1,"
		" rj_count1 = CASE WHEN b.rj_count1 > device_keys.rj_count1 THEN b.rj_count1"
		" ELSE device_keys.rj_count1 END FROM {batch}"
		" WHERE device_keys.dev_eui = b.dev_eui AND device_keys.join_nonce = b.join_nonce RETURNING {b.n}",
	.batch = "dev_eui:t join_nonce:l rj_count1:l",
	.cols = "l",
};
/* The newest is the latest, whatever the clock says: older ones are removed by their time once it is in use. */
static const struct sql_stmt insert_sessions = {
	.name = "as_join_sessions",
	.text = "INSERT INTO device_session (dev_eui, session_key_id, app_s_key, dev_addr, created_at)"
		" SELECT b.dev_eui, b.id, b.app_s_key, b.dev_addr, coalesce((SELECT max(o.created_at) + 1"
		" FROM device_session AS o WHERE o.dev_eui = b.dev_eui AND o.created_at >= b.now_us), b.now_us)"
		" FROM {batch}",
	.batch = "dev_eui:t id:t app_s_key:t dev_addr:t now_us:l",
};
static const struct sql_stmt note_join_eui = {
	.name = "as_join_note_eui",
	.text = "UPDATE device SET join_eui = b.join_eui FROM {batch} WHERE device.dev_eui = b.dev_eui"
		" AND device.join_eui <> b.join_eui",
	.batch = "dev_eui:t join_eui:t",
};

static const char *const result_names[AS_JOIN_RESULTS] = {
	"success", "mic_failed", "join_req_failed", "unknown_dev_eui", "malformed", "unknown_receiver", "other"};

/* ---- answers ---- */

static void respond(struct as_join *j, struct http_request *r)
{
	static const struct http_header batch = {.name = BUNDLE_HEADER, .value = BUNDLE_TEXT};
	http_respond(r, 200, "application/json", j->answer.p, j->answer.n, &batch, 1);
	lw_wipe(j->answer.p, j->answer.n);
}

/* The whole array, once its last answer is there. */
static void respond_array(struct as_join *j, struct bundle *b)
{
	lw_buf_reset(&j->answer);
	for (size_t i = 0; i < b->n; i++) {
		lw_buf_append_str(&j->answer, i ? "," : "[");
		lw_buf_append_str(&j->answer, b->answers[i]);
		lw_wipe(b->answers[i], strlen(b->answers[i]));
		free(b->answers[i]);
	}
	lw_buf_append_str(&j->answer, "]");
	respond(j, b->r);
}

static void answer(struct as_join *j, struct bundle *b, size_t place, const struct as_join_req *req,
		   enum as_join_result result, const char *words, const struct as_join_session *s)
{
	lw_buf_reset(&j->answer);
	as_join_answer(req, result, words, s, &j->answer);
	rt_metric_inc_at(j->results, (size_t)result);
	RT_LOG_DEBUG(j->as->log, "join", rt_str("dev_eui", req->dev_eui_text),
		     rt_str("result", as_join_result_text(result)), rt_str("detail", words));
	if (!b->is_array) {
		respond(j, b->r);
	} else {
		b->answers[place] = lw_xstrndup((const char *)j->answer.p, j->answer.n);
		lw_wipe(j->answer.p, j->answer.n);
	}
	if (--b->open > 0)
		return;
	if (b->is_array)
		respond_array(j, b);
	free(b);
}

/* Ends it; the keys go with it. */
static void finish(struct join *q, enum as_join_result result, const char *words)
{
	struct as_join *j = q->owner;
	answer(j, q->bundle, q->place, &q->req, result, words, result == AS_JOIN_SUCCESS ? &q->session : NULL);
	lw_map_remove(&j->busy, lw_dev_eui_u64(q->req.dev_eui));
	lw_wipe(q, sizeof(*q));
	free(q);
}

static void finish_all(struct batch *b, const char *words)
{
	for (size_t i = 0; i < b->n; i++)
		finish(b->v[i], AS_JOIN_OTHER, words);
	free(b);
}

/* ---- the transaction ---- */

static void on_nonces(void *arg, const struct sql_result *r)
{
	struct batch *b = arg;
	struct lw_map fresh;
	size_t row;
	lw_map_init(&fresh);
	for (row = 0; row < sql_rows(r); row++) {
		struct lw_dev_eui eui;
		if (lw_dev_eui_parse(&eui, sql_text(r, row, 0)) == 0)
			lw_map_put(&fresh, lw_dev_eui_u64(eui), b);
	}
	for (size_t i = 0; i < b->n; i++)
		b->v[i]->is_fresh =
			b->v[i]->is_fresh || lw_map_find(&fresh, lw_dev_eui_u64(b->v[i]->req.dev_eui)) != NULL;
	lw_map_deinit(&fresh);
}

static void on_counted(void *arg, const struct sql_result *r)
{
	struct batch *b = arg;
	for (size_t row = 0; row < sql_rows(r); row++) {
		size_t i = (size_t)sql_i64(r, row, 0);
		if (i < b->n)
			b->v[i]->is_counted = true;
	}
}

static void on_committed(void *arg, const struct sql_outcome *o)
{
	struct batch *b = arg;
	if (o->err < 0) {
		RT_LOG_ERROR(b->owner->as->log, "joins could not be stored",
			     rt_str("statement", o->stmt ? o->stmt : ""), rt_err(o->err),
			     rt_str("detail", o->diag.text));
		finish_all(b, "the join server's database is not available");
		return;
	}
	for (size_t i = 0; i < b->n; i++) {
		struct join *q = b->v[i];
		if (!q->is_fresh)
			finish(q, AS_JOIN_REQ_FAILED, "DevNonce has been used before");
		else if (!q->is_counted)
			finish(q, AS_JOIN_OTHER, "the device joined elsewhere at the same time");
		else
			finish(q, AS_JOIN_SUCCESS, NULL);
	}
	free(b);
}

static void put_session(struct sql_params *p, const struct join *q, int64_t now_us)
{
	char eui[LW_EUI_TEXT], id[65], key[LW_KEY_TEXT], addr[LW_DEVADDR_TEXT];
	sql_put_text(p, lw_dev_eui_print(q->req.dev_eui, eui));
	sql_put_text(p, as_session_id_text(lw_span(q->session.id, sizeof(q->session.id)), id));
	sql_put_text(p, lw_key_print(q->session.keys.app_s, key));
	sql_put_text(p, lw_devaddr_print(q->req.accept.devaddr, addr));
	sql_put_i64(p, now_us);
	lw_wipe(key, sizeof(key));
}

static void commit(struct batch *b)
{
	struct as *as = b->owner->as;
	int64_t now_us = rt_loop_now_ns(as->loop) / LW_NS_PER_US;
	struct sql_tx *tx = sql_tx_new(as->db);
	char eui[LW_EUI_TEXT], join_eui[LW_EUI_TEXT];
	struct sql_params *p = NULL;
	for (size_t i = 0; i < b->n; i++) {
		b->v[i]->is_fresh = as_join_is_rejoin(&b->v[i]->req);
		if (b->v[i]->is_fresh)
			continue;
		if (!p)
			p = sql_tx_add(tx, &insert_nonces, on_nonces, b);
		sql_put_text(p, lw_dev_eui_print(b->v[i]->req.dev_eui, eui));
		sql_put_text(p, lw_join_eui_print(b->v[i]->req.join_eui, join_eui));
		sql_put_i64(p, b->v[i]->req.dev_nonce);
	}
	p = sql_tx_add(tx, &count_on, on_counted, b);
	for (size_t i = 0; i < b->n; i++) {
		sql_put_text(p, lw_dev_eui_print(b->v[i]->req.dev_eui, eui));
		sql_put_i64(p, b->v[i]->dev.join_nonce);
		/* The next one; 0 leaves it. */
		sql_put_i64(p, b->v[i]->req.type == LW_JOIN_REQ_REJOIN_1 ? b->v[i]->req.dev_nonce + 1 : 0);
	}
	p = sql_tx_add(tx, &insert_sessions, NULL, NULL);
	for (size_t i = 0; i < b->n; i++)
		put_session(p, b->v[i], now_us);
	p = sql_tx_add(tx, &note_join_eui, NULL, NULL);
	for (size_t i = 0; i < b->n; i++) {
		sql_put_text(p, lw_dev_eui_print(b->v[i]->req.dev_eui, eui));
		sql_put_text(p, lw_join_eui_print(b->v[i]->req.join_eui, join_eui));
	}
	sql_tx_commit(tx, on_committed, b);
}

/* ---- the read ---- */

static void verify(struct join *q, const struct sql_result *r, size_t row)
{
	struct as_join_device *d = &q->dev;
	int64_t nonce = sql_i64(r, row, 3);
	q->is_known = lw_key_parse(&d->nwk_key, sql_text(r, row, 1)) == 0 &&
		      lw_key_parse(&d->app_key, sql_text(r, row, 2)) == 0;
	d->join_nonce = nonce < 0 || nonce > AS_JOIN_MAX_NONCE ? AS_JOIN_MAX_NONCE + 1 : (uint32_t)nonce;
	d->rj_count1 = (uint32_t)sql_i64(r, row, 4);
	d->nonce_used = sql_i64(r, row, 5) > 0;
	d->last_nonce = (int32_t)sql_i64(r, row, 6);
}

static void on_keys(void *arg, const struct sql_outcome *o, const struct sql_result *r)
{
	struct batch *b = arg;
	struct as *as = b->owner->as;
	size_t kept = 0;
	if (o->err < 0) {
		finish_all(b, "the join server's database is not available");
		return;
	}
	for (size_t row = 0; row < sql_rows(r); row++) {
		size_t i = (size_t)sql_i64(r, row, 0);
		if (i < b->n)
			verify(b->v[i], r, row);
	}
	for (size_t i = 0; i < b->n; i++) {
		struct join *q = b->v[i];
		struct lw_diag diag = {.text = "no device with this DevEUI has keys"};
		enum as_join_result result =
			q->is_known ? as_join_verify(as->keys, &q->req, &q->dev, &diag) : AS_JOIN_UNKNOWN_DEV_EUI;
		if (result != AS_JOIN_SUCCESS) {
			finish(q, result, diag.text);
			continue;
		}
		lw_random_bytes(q->session.id, sizeof(q->session.id));
		as_join_accept(as->keys, &q->req, &q->dev, &q->session);
		b->v[kept++] = q;
	}
	b->n = kept;
	if (kept > 0)
		commit(b);
	else
		free(b);
}

static void on_tick(void *arg)
{
	struct as_join *j = arg;
	struct batch *b = NULL;
	struct sql_query *q = NULL;
	if (j->n_waiting == 0)
		return;
	LW_LIST_FOREACH (node, tmp, &j->waiting) {
		struct join *join = LW_CONTAINER_OF(node, struct join, node);
		char eui[LW_EUI_TEXT], join_eui[LW_EUI_TEXT];
		uint64_t key = lw_dev_eui_u64(join->req.dev_eui);
		if (lw_map_find(&j->busy, key))
			continue;
		if (!b) {
			b = lw_xmalloc(sizeof(*b));
			b->owner = j;
			b->n = 0;
			q = sql_query_new(j->as->db, &select_keys);
		}
		lw_map_put(&j->busy, key, join);
		lw_list_remove(&join->node);
		j->n_waiting--;
		sql_put_text(sql_query_params(q), lw_dev_eui_print(join->req.dev_eui, eui));
		sql_put_text(sql_query_params(q), lw_join_eui_print(join->req.join_eui, join_eui));
		sql_put_i64(sql_query_params(q), join->req.dev_nonce);
		b->v[b->n++] = join;
		if (b->n == MAX_BATCH)
			break;
	}
	if (b)
		sql_query_send(q, on_keys, b);
}

/* ---- requests ---- */

/* One question. False: it is none. */
static bool ask(struct as_join *j, struct bundle *b, size_t place, struct lw_span json, struct lw_diag *diag)
{
	struct join *q = lw_xcalloc(1, sizeof(*q));
	if (as_join_parse(json, &q->req, diag) < 0) {
		free(q);
		return false;
	}
	enum as_join_result result = as_join_check(&q->req, diag);
	if (result == AS_JOIN_SUCCESS && (!j->as->ready || j->n_waiting >= MAX_WAITING)) {
		result = AS_JOIN_OTHER;
		lw_diag_set(diag, j->as->ready ? "the join server is overloaded" : "the join server is not ready yet");
	}
	if (result != AS_JOIN_SUCCESS) {
		answer(j, b, place, &q->req, result, diag->text, NULL);
		free(q);
		return true;
	}
	q->owner = j;
	q->bundle = b;
	q->place = place;
	lw_list_push_back(&j->waiting, &q->node);
	j->n_waiting++;
	return true;
}

/* Where the elements of an array are. Returns their number, 0 when it is no array of 1 to MAX_BUNDLE values. */
static size_t split(struct lw_span json, struct lw_span v[MAX_BUNDLE])
{
	struct lw_json_in in;
	bool first = true;
	size_t n = 0;
	lw_json_in_init(&in, json, MAX_DEPTH);
	int rc = lw_json_enter(&in, LW_JSON_ARRAY);
	while (rc == 0 && (rc = lw_json_next_element(&in, &first)) == 1) {
		rc = n < MAX_BUNDLE ? lw_json_peek(&in) : LW_EBIG;
		if (rc < 0)
			break;
		size_t at = lw_json_in_offset(&in);
		rc = lw_json_skip(&in);
		v[n++] = lw_span(json.p + at, lw_json_in_offset(&in) - at);
	}
	if (rc == 0)
		rc = lw_json_end(&in);
	lw_json_in_deinit(&in);
	return rc < 0 ? 0 : n;
}

/* All of them are questions, or none is taken. */
static void serve_array(struct as_join *j, struct http_request *r, struct lw_span body)
{
	struct lw_span v[MAX_BUNDLE];
	struct as_join_req probe;
	struct lw_diag diag = {.text = "not an array of questions"};
	size_t n = split(body, v);
	for (size_t i = 0; i < n; i++)
		if (as_join_parse(v[i], &probe, &diag) < 0)
			n = 0;
	if (n == 0) {
		http_respond_text(r, 400, diag.text);
		return;
	}
	struct bundle *b = lw_xcalloc(1, sizeof(*b) + n * sizeof(b->answers[0]));
	*b = (struct bundle){.r = r, .is_array = true, .n = n, .open = n + 1};
	for (size_t i = 0; i < n; i++)
		ask(j, b, i, v[i], &(struct lw_diag){0});
	if (--b->open > 0)
		return;
	respond_array(j, b);
	free(b);
}

static void serve(struct http_request *r, void *arg)
{
	struct as_join *j = arg;
	struct lw_span body = http_request_body(r);
	struct lw_diag diag = {0};

	if (strcmp(http_request_method(r), "POST") != 0) {
		http_respond_text(r, 405, "only POST\n");
		return;
	}
	if (body.n > 0 && body.p[0] == '[') {
		serve_array(j, r, body);
		return;
	}
	struct bundle *b = lw_xcalloc(1, sizeof(*b));
	*b = (struct bundle){.r = r, .n = 1, .open = 1};
	if (!ask(j, b, 0, body, &diag)) {
		http_respond_text(r, 400, diag.text);
		free(b);
	}
}

/* ---- life ---- */

int as_join_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct as *as = owner;
	(void)env;
	if (!as->conf->join_bind[0])
		return 0;
	struct as_join *j = lw_xcalloc(1, sizeof(*j));
	as->join = j;
	j->as = as;
	lw_list_init(&j->waiting);
	lw_map_init(&j->busy);
	lw_buf_init(&j->answer, MAX_BUNDLE * MAX_ANSWER);
	j->results = rt_counter_vec(as->metrics, "joins_total", "Join-requests answered", "result", result_names,
				    AS_JOIN_RESULTS);
	j->tick = rt_loop_on_tick(as->loop, RT_TICK_COMMIT, "joins", on_tick, j);
	struct http_server_config c = {.bind = as->conf->join_bind, .fn = serve, .arg = j, .max_body = MAX_BODY};
	int rc = http_server_new(as->loop, &c, &j->http, diag);
	if (rc < 0) {
		as_join_deinit(as);
		return rc;
	}
	RT_LOG_INFO(as->log, "join server is served", rt_str("bind", as->conf->join_bind),
		    rt_u64("port", (uint64_t)http_server_port(j->http)));
	return 0;
}

void as_join_deinit(void *owner)
{
	struct as *as = owner;
	struct as_join *j = as->join;
	struct lw_list *node;
	if (!j)
		return;
	rt_tick_remove(j->tick);
	/* The database is gone and has answered what it was asked; these were not asked yet. */
	while ((node = lw_list_pop_front(&j->waiting)))
		finish(LW_CONTAINER_OF(node, struct join, node), AS_JOIN_OTHER, "the join server stops");
	if (j->http)
		http_server_free(j->http);
	lw_map_deinit(&j->busy);
	lw_buf_deinit(&j->answer);
	free(j);
	as->join = NULL;
}

int as_join_port(const struct as_join *j)
{
	return http_server_port(j->http);
}
