/* Longwave's own: state of an application's endpoints, dead letters, replay (longwave.app.v1.IntegrationService). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "app-server/api/handlers.h"
#include "app-server/integration/outlets.h"
#include "app-server/store/row.h"
#include "proto/api/application.pb-c.h"
#include "proto/longwave/app/v1/integration.pb-c.h"

#define MAX_IDS 10000

static const struct sql_stmt endpoints = {
	.name = "as_spool_endpoints",
	.text = "SELECT p.id, p.kind, p.target, p.delivered, p.last_ok_at, p.failing_since, p.next_at, p.last_error,"
		" p.last_error_at,"
		" (SELECT count(*) FROM integration_delivery AS d WHERE d.endpoint_id = p.id),"
		" (SELECT count(*) FROM integration_dead AS d WHERE d.endpoint_id = p.id),"
		" coalesce((SELECT e.received_at FROM integration_event AS e WHERE e.seq ="
		" (SELECT min(d.event_seq) FROM integration_delivery AS d WHERE d.endpoint_id = p.id)), 0),"
		" coalesce((SELECT min(e.received_at) FROM integration_event AS e WHERE e.application_id = $1), 0)"
		" FROM integration_endpoint AS p WHERE p.application_id = $1 ORDER BY p.kind, p.id",
	.params = "t",
	.cols = "lltlllltlllll",
};
#define DEAD                                                                                                           \
	" FROM integration_dead AS d JOIN integration_endpoint AS p ON p.id = d.endpoint_id"                           \
	" JOIN integration_event AS e ON e.seq = d.event_seq WHERE p.application_id = $1 AND ($2 = 0 OR p.id = $2)"
static const struct sql_stmt count_dead = {
	.name = "as_spool_dead_count",
	.text = "SELECT count(*)" DEAD,
	.params = "tl",
	.cols = "l",
};
static const struct sql_stmt page_dead = {
	.name = "as_spool_dead_page",
	.text = "SELECT d.event_seq, d.endpoint_id, e.dev_eui, e.name, e.received_at, d.dead_at, d.attempts, d.status,"
		" d.error, e.idempotency" DEAD " ORDER BY d.event_seq, d.endpoint_id LIMIT $3 OFFSET $4",
	.params = "tlll",
	.cols = "llttlllltt",
};
#define OF_ENDPOINT "p.application_id = $1 AND ($2 = 0 OR p.id = $2)"
static const struct sql_stmt retry_all = {
	.name = "as_spool_retry_all",
	.text = "INSERT INTO integration_delivery (endpoint_id, event_seq, queued_at)"
		" SELECT d.endpoint_id, d.event_seq, $3 FROM integration_dead AS d"
		" JOIN integration_endpoint AS p ON p.id = d.endpoint_id WHERE " OF_ENDPOINT
		" ON CONFLICT (endpoint_id, event_seq) DO NOTHING",
	.params = "tll",
};
static const struct sql_stmt discard_all = {
	.name = "as_spool_discard_all",
	.text = "DELETE FROM integration_dead WHERE endpoint_id IN (SELECT p.id FROM integration_endpoint AS p "
		"WHERE " OF_ENDPOINT ")",
	.params = "tl",
};
static const struct sql_stmt retry_some = {
	.name = "as_spool_retry",
	.text = "INSERT INTO integration_delivery (endpoint_id, event_seq, queued_at)"
		" SELECT d.endpoint_id, d.event_seq, $3 FROM {batch} JOIN integration_dead AS d ON d.event_seq = b.seq"
		" JOIN integration_endpoint AS p ON p.id = d.endpoint_id WHERE " OF_ENDPOINT
		" ON CONFLICT (endpoint_id, event_seq) DO NOTHING",
	.params = "tll",
	.batch = "seq:l",
};
static const struct sql_stmt discard_some = {
	.name = "as_spool_discard",
	.text = "DELETE FROM integration_dead WHERE (endpoint_id, event_seq) IN (SELECT p.id, b.seq FROM {batch}"
		" JOIN integration_endpoint AS p ON " OF_ENDPOINT ")",
	.params = "tl",
	.batch = "seq:l",
};
#define SINCE                                                                                                          \
	" FROM integration_endpoint AS p JOIN integration_event AS e ON e.application_id = p.application_id"           \
	" WHERE " OF_ENDPOINT " AND e.received_at >= $3"
static const struct sql_stmt replay = {
	.name = "as_spool_replay",
	.text = "INSERT INTO integration_delivery (endpoint_id, event_seq, queued_at) SELECT p.id, e.seq, $4" SINCE
		" ON CONFLICT (endpoint_id, event_seq) DO NOTHING",
	.params = "tlll",
};
/* They are on their way again. */
static const struct sql_stmt forget_dead = {
	.name = "as_spool_replay_dead",
	.text = "DELETE FROM integration_dead WHERE (endpoint_id, event_seq) IN (SELECT p.id, e.seq" SINCE ")",
	.params = "tll",
};

/* A number in a text: 0 for "", -1 after as_fail(). */
static int64_t id_arg(struct as_call *c, const char *text, const char *name)
{
	char *end;
	if (!text[0])
		return 0;
	long long v = strtoll(text, &end, 10);
	if (*end || v <= 0 || strlen(text) > 18 || text[0] < '0' || text[0] > '9') {
		as_fail(c, GRPC_INVALID_ARGUMENT, "%s is not an id", name);
		return -1;
	}
	return v;
}

static char *id_text(struct as_call *c, int64_t id)
{
	return lw_arena_printf(c->arena, "%" PRId64, id);
}

/* ---- status ---- */

static void fill_endpoint(struct as_call *c, Longwave__App__V1__Endpoint *p, const struct sql_result *r, size_t i)
{
	const ProtobufCEnumValue *kind =
		protobuf_c_enum_descriptor_get_value(&api__integration_kind__descriptor, (int)sql_i64(r, i, 1));
	const char *target = sql_text(r, i, 2);
	int64_t ok = sql_i64(r, i, 4), failing = sql_i64(r, i, 5);
	p->id = id_text(c, sql_i64(r, i, 0));
	p->kind = lw_arena_strdup(c->arena, kind ? kind->name : "");
	p->target = lw_arena_strndup(c->arena, target, strcspn(target, "?#"));
	p->state = failing ? LONGWAVE__APP__V1__ENDPOINT_STATE__FAILING
		   : ok    ? LONGWAVE__APP__V1__ENDPOINT_STATE__WORKING
			   : LONGWAVE__APP__V1__ENDPOINT_STATE__IDLE;
	p->delivered = (uint64_t)sql_i64(r, i, 3);
	p->waiting = (uint64_t)sql_i64(r, i, 9);
	p->dead_letters = (uint64_t)sql_i64(r, i, 10);
	p->oldest_waiting_at = as_timestamp(c->arena, sql_i64(r, i, 11));
	p->last_success_at = as_timestamp(c->arena, ok);
	p->failing_since = as_timestamp(c->arena, failing);
	p->next_attempt_at = as_timestamp(c->arena, failing ? sql_i64(r, i, 6) : 0);
	p->last_error = lw_arena_strdup(c->arena, sql_text(r, i, 7));
	p->last_error_at = as_timestamp(c->arena, sql_i64(r, i, 8));
}

static void on_status(struct as_call *c, const struct sql_result *r)
{
	Longwave__App__V1__GetIntegrationStatusResponse *resp =
		as_msg_new(c->arena, &longwave__app__v1__get_integration_status_response__descriptor);
	ProtobufCMessage **items = as_msg_list(c->arena, &resp->base, "endpoints", sql_rows(r));
	for (size_t i = 0; i < sql_rows(r); i++)
		fill_endpoint(c, (void *)items[i], r, i);
	if (sql_rows(r) > 0)
		resp->oldest_event_at = as_timestamp(c->arena, sql_i64(r, 0, 12));
	as_reply(c, &resp->base);
}

void as_integration_status(struct as_call *c)
{
	as_query_text(c, &endpoints, c->object_id, on_status);
}

/* ---- dead letters ---- */

static void bind_dead(struct as_call *c, struct sql_params *p)
{
	sql_put_text(p, c->object_id);
	/* It was checked. */
	sql_put_i64(p, strtoll(((const Longwave__App__V1__ListDeadLettersRequest *)c->req)->endpoint_id, NULL, 10));
}

static void fill_dead(struct as_call *c, const struct sql_result *r, size_t i, ProtobufCMessage *item)
{
	Longwave__App__V1__DeadLetter *d = (void *)item;
	d->id = id_text(c, sql_i64(r, i, 0));
	d->endpoint_id = id_text(c, sql_i64(r, i, 1));
}

void as_integration_dead_list(struct as_call *c)
{
	const Longwave__App__V1__ListDeadLettersRequest *req = c->req;
	if (id_arg(c, req->endpoint_id, "endpoint_id") < 0)
		return;
	as_list(c, &(struct as_list){
			   .count = &count_dead,
			   .page = &page_dead,
			   .bind = bind_dead,
			   .fields = "- - dev_eui event received_at dead_at attempts status error idempotency_key",
			   .response = &longwave__app__v1__list_dead_letters_response__descriptor,
			   .item = fill_dead,
			   .limit = req->limit,
			   .offset = req->offset});
}

static void note_count(void *arg, const struct sql_result *r)
{
	struct as_call *c = arg;
	uint64_t n = sql_affected(r);
	c->state = lw_arena_memdup(c->arena, &n, sizeof(n));
}

static void answer_count(struct as_call *c, const struct sql_result *r)
{
	Longwave__App__V1__DeadLettersResponse resp = LONGWAVE__APP__V1__DEAD_LETTERS_RESPONSE__INIT;
	(void)r;
	resp.count = c->state ? *(const uint64_t *)c->state : 0;
	as_outlets_changed(c->as, c->object_id);
	as_reply(c, &resp.base);
}

/* The ids as numbers; NULL: the call is finished. */
static int64_t *ids_arg(struct as_call *c, char *const *ids, size_t n)
{
	int64_t *v = LW_ARENA_ARRAY(c->arena, int64_t, n + 1);
	if (n > MAX_IDS || !v) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "ids: more than %d", MAX_IDS);
		return NULL;
	}
	for (size_t i = 0; i < n; i++) {
		v[i] = id_arg(c, ids[i], "ids");
		if (v[i] == 0)
			as_fail(c, GRPC_INVALID_ARGUMENT, "ids: one is empty");
		if (v[i] <= 0)
			return NULL;
	}
	return v;
}

static void put_statement(struct as_call *c, struct sql_tx *tx, const struct sql_stmt *stmt, sql_result_fn *fn,
			  int64_t endpoint, const int64_t *now, const int64_t *ids, size_t n)
{
	struct sql_params *p = sql_tx_add(tx, stmt, fn, c);
	sql_put_text(p, c->object_id);
	sql_put_i64(p, endpoint);
	if (now)
		sql_put_i64(p, *now);
	for (size_t i = 0; i < n; i++)
		sql_put_i64(p, ids[i]);
}

static void change_dead(struct as_call *c, bool retry)
{
	const Longwave__App__V1__DeadLettersRequest *req = c->req;
	int64_t endpoint = id_arg(c, req->endpoint_id, "endpoint_id");
	int64_t now = as_now_us(c->as);
	int64_t *ids = endpoint < 0 ? NULL : ids_arg(c, req->ids, req->n_ids);
	if (!ids)
		return;
	c->state = NULL;
	struct sql_tx *tx = sql_tx_new(c->as->db);
	if (retry)
		put_statement(c, tx, req->n_ids ? &retry_some : &retry_all, NULL, endpoint, &now, ids, req->n_ids);
	put_statement(c, tx, req->n_ids ? &discard_some : &discard_all, note_count, endpoint, NULL, ids, req->n_ids);
	as_commit(c, tx, answer_count);
}

void as_integration_dead_retry(struct as_call *c)
{
	change_dead(c, true);
}

void as_integration_dead_discard(struct as_call *c)
{
	change_dead(c, false);
}

/* ---- replay ---- */

static void answer_replay(struct as_call *c, const struct sql_result *r)
{
	Longwave__App__V1__ReplayResponse resp = LONGWAVE__APP__V1__REPLAY_RESPONSE__INIT;
	(void)r;
	resp.count = c->state ? *(const uint64_t *)c->state : 0;
	as_outlets_changed(c->as, c->object_id);
	as_reply(c, &resp.base);
}

void as_integration_replay(struct as_call *c)
{
	const Longwave__App__V1__ReplayRequest *req = c->req;
	int64_t endpoint = id_arg(c, req->endpoint_id, "endpoint_id");
	int64_t now = as_now_us(c->as);
	if (endpoint < 0)
		return;
	if (!req->since) {
		as_fail(c, GRPC_INVALID_ARGUMENT, "since is missing");
		return;
	}
	int64_t since = as_timestamp_us(req->since);
	int64_t reach = now - (int64_t)c->as->conf->integrations.retention_ms * 1000;
	c->state = NULL;
	struct sql_tx *tx = sql_tx_new(c->as->db);
	struct sql_params *p = sql_tx_add(tx, &replay, note_count, c);
	sql_put_text(p, c->object_id);
	sql_put_i64(p, endpoint);
	sql_put_i64(p, since > reach ? since : reach);
	sql_put_i64(p, now);
	p = sql_tx_add(tx, &forget_dead, NULL, NULL);
	sql_put_text(p, c->object_id);
	sql_put_i64(p, endpoint);
	sql_put_i64(p, since > reach ? since : reach);
	as_commit(c, tx, answer_replay);
}
