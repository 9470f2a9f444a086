#include "app-server/link/nsync_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"

#define BATCH_MAX 512
#define LATER_MS 65000
#define APPLY_DEADLINE_MS 10000

static const struct sql_stmt intent_add = {
	.name = "as_intent_add",
	.text = "INSERT INTO ns_intent (kind, id, created_at, owner) SELECT kind, id, created_at, owner FROM {batch}"
		" WHERE true ON CONFLICT (kind, id) DO NOTHING",
	.batch = "kind:t id:t created_at:l owner:t",
};
const struct sql_stmt as_nsync_intent_remove = {
	.name = "as_intent_remove",
	.text = "DELETE FROM ns_intent WHERE (kind, id) IN (SELECT kind, id FROM {batch})",
	.batch = "kind:t id:t",
};

static void cycle(void *arg);
static void next_single(struct as_nsync *s);
static void run_deletes(struct as_nsync *s);

static struct as_nsop *op_of(struct lw_list *node)
{
	return LW_CONTAINER_OF(node, struct as_nsop, node);
}

static void finish(struct as_nsync *s, struct as_nsop *op, const struct sql_outcome *o)
{
	lw_list_remove(&op->node);
	s->n_pending--;
	op->done(op, o);
}

static void finish_err(struct as_nsync *s, struct as_nsop *op, int err, const char *text)
{
	struct sql_outcome o = {.err = err};
	lw_diag_set(&o.diag, "%s", text);
	finish(s, op, &o);
}

static void finish_all(struct as_nsync *s, struct lw_list *list, const struct sql_outcome *o)
{
	LW_LIST_FOREACH (node, tmp, list)
		finish(s, op_of(node), o);
}

static void add_keys(struct sql_params *p, struct lw_list *list, const int64_t *now_us, const char *owner)
{
	LW_LIST_FOREACH (node, tmp, list) {
		sql_put_text(p, op_of(node)->kind);
		sql_put_text(p, op_of(node)->id);
		if (now_us) {
			sql_put_i64(p, *now_us);
			sql_put_text(p, owner);
		}
	}
}

static int64_t now_us(const struct as_nsync *s)
{
	return rt_loop_now_ns(s->as->loop) / LW_NS_PER_US;
}

/* ---- the end of a cycle, and the time of the next ---- */

void as_nsync_mark_dirty(struct as_nsync *s)
{
	s->dirty = true;
	if (!rt_timer_armed(&s->retry))
		rt_timer_start(&s->retry, s->retry_ms);
}

void as_nsync_end_cycle(struct as_nsync *s)
{
	finish_all(s, &s->settled, &(struct sql_outcome){.err = 0});
	lw_arena_reset(&s->arena);
	s->busy = false;
	if (!lw_list_empty(&s->waiting) || (s->dirty && s->due))
		rt_loop_defer(s->as->loop, cycle, s);
}

static void on_retry(struct rt_timer *t, void *arg)
{
	struct as_nsync *s = arg;
	(void)t;
	s->due = true;
	if (!s->busy)
		rt_loop_defer(s->as->loop, cycle, s);
}

/* ---- calls ---- */

void as_nsync_apply(struct as_nsync *s, grpc_done_fn *done)
{
	longwave__ns__v1__apply_request__init(&s->request);
	s->request.n_changes = s->n_changes;
	s->request.changes = s->changes;
	struct grpc_client_request r = {.path = "/longwave.ns.v1.NetworkServer/Apply",
					.deadline_ms = APPLY_DEADLINE_MS,
					.output = &longwave__ns__v1__apply_response__descriptor};
	s->call_at = s->as->ns;
	s->call = grpc_client_call(s->call_at, &r, &s->request.base, done, s);
}

const char *as_nsync_error(const ProtobufCMessage *resp, size_t i)
{
	const Longwave__Ns__V1__ApplyResponse *a = (const void *)resp;
	return i < a->n_errors && a->errors[i] ? a->errors[i] : "";
}

/* ---- deletes ---- */

static void after_deletes(struct as_nsync *s)
{
	if (!lw_list_empty(&s->settled) || (s->dirty && s->due))
		as_nsync_settle(s);
	else
		as_nsync_end_cycle(s);
}

struct delete_ctx {
	struct as_nsync *s;
	struct as_nsop *op;
};

static void on_delete(void *arg, const struct sql_outcome *o)
{
	struct delete_ctx *d = arg;
	struct as_nsync *s = d->s;
	struct as_nsop *op = d->op;
	free(d);
	if (s->closing)
		return;
	if (o->err < 0) {
		finish(s, op, o);
	} else {
		lw_list_remove(&op->node);
		lw_list_push_back(&s->settled, &op->node);
	}
	if (--s->deletes_open == 0)
		after_deletes(s);
}

static void run_deletes(struct as_nsync *s)
{
	if (lw_list_empty(&s->deletes)) {
		after_deletes(s);
		return;
	}
	LW_LIST_FOREACH (node, tmp, &s->deletes)
		s->deletes_open++;
	LW_LIST_FOREACH (node, tmp, &s->deletes) {
		struct delete_ctx *d = lw_xcalloc(1, sizeof(*d));
		d->s = s;
		d->op = op_of(node);
		struct sql_tx *tx = sql_tx_new(s->as->db);
		d->op->build(d->op, tx);
		sql_tx_commit(tx, on_delete, d);
	}
}

/* ---- puts: intent, apply, commit ---- */

static void on_rows(void *arg, const struct sql_result *r)
{
	struct lw_list *list = arg;
	/* Which statement answered is not said: the first one without an answer did, in order of adding. */
	const struct sql_stmt *stmt = NULL;
	LW_LIST_FOREACH (node, tmp, list) {
		struct as_nsop *op = op_of(node);
		if (op->row == SIZE_MAX || op->no_return)
			continue;
		if (!stmt)
			stmt = op->stmt;
		if (op->stmt != stmt)
			continue;
		for (size_t i = 0; i < sql_rows(r) && !op->hit; i++)
			op->hit = sql_i64(r, i, 0) == (int64_t)op->row;
		op->row = SIZE_MAX;
	}
}

/* Statements in order of their first operation; each takes the rows of all operations that name it. */
static void add_statements(struct sql_tx *tx, struct lw_list *list)
{
	LW_LIST_FOREACH (node, tmp, list) {
		struct as_nsop *first = op_of(node);
		if (first->row != SIZE_MAX)
			continue;
		struct sql_params *p =
			sql_tx_add(tx, first->stmt, first->no_return ? NULL : on_rows, first->no_return ? NULL : list);
		size_t row = 0;
		LW_LIST_FOREACH (n2, tmp2, list) {
			struct as_nsop *op = op_of(n2);
			if (op->stmt != first->stmt)
				continue;
			op->row = row++;
			op->hit = op->no_return;
			op->bind(op, p);
		}
	}
	add_keys(sql_tx_add(tx, &as_nsync_intent_remove, NULL, NULL), list, NULL, NULL);
}

static void commit_list(struct as_nsync *s, struct lw_list *list, sql_done_fn *done)
{
	struct sql_tx *tx = sql_tx_new(s->as->db);
	LW_LIST_FOREACH (node, tmp, list) {
		struct as_nsop *op = op_of(node);
		op->row = SIZE_MAX;
		op->leaves = false;
		if (op->also)
			op->also(op, tx);
	}
	add_statements(tx, list);
	sql_tx_commit(tx, done, s);
}

/* The row was gone or refused: what the network-server was just told must be taken back. */
static void lost(struct as_nsync *s, struct as_nsop *op)
{
	struct sql_tx *tx = sql_tx_new(s->as->db);
	struct sql_params *p = sql_tx_add(tx, &intent_add, NULL, NULL);
	sql_put_text(p, op->kind);
	sql_put_text(p, op->id);
	sql_put_i64(p, now_us(s));
	sql_put_text(p, s->as->conf->mqtt_client_id);
	sql_tx_commit(tx, NULL, NULL);
	s->due = true;
	as_nsync_mark_dirty(s);
	finish_err(s, op, op->miss ? op->miss : LW_ERANGE, "does not exist");
}

static void finish_hits(struct as_nsync *s, struct lw_list *list, const struct sql_outcome *o)
{
	LW_LIST_FOREACH (node, tmp, list) {
		struct as_nsop *op = op_of(node);
		if (!op->hit) {
			lost(s, op);
		} else if (op->leaves) {
			lw_list_remove(&op->node);
			lw_list_push_back(&s->settled, &op->node);
		} else {
			finish(s, op, o);
		}
	}
}

static void on_single(void *arg, const struct sql_outcome *o)
{
	struct as_nsync *s = arg;

	if (s->closing)
		return;
	if (o->err < 0) {
		s->due = true;
		as_nsync_mark_dirty(s); /* the intent is still there */
		finish_all(s, &s->puts, o);
	} else {
		finish_hits(s, &s->puts, o);
	}
	next_single(s);
}

static void next_single(struct as_nsync *s)
{
	struct lw_list *node = lw_list_pop_front(&s->singles);
	if (!node) {
		run_deletes(s);
		return;
	}
	lw_list_push_back(&s->puts, node);
	commit_list(s, &s->puts, on_single);
}

static void on_committed(void *arg, const struct sql_outcome *o)
{
	struct as_nsync *s = arg;

	if (s->closing)
		return;
	if (o->err == 0) {
		finish_hits(s, &s->puts, o);
		run_deletes(s);
		return;
	}
	lw_list_splice_back(&s->singles, &s->puts);
	next_single(s);
}

static void on_applied(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct as_nsync *s = arg;
	size_t i = 0;

	if (s->closing)
		return;

	s->call = 0;
	if (status != GRPC_OK) {
		struct sql_outcome o = {.err = LW_EUNAVAILABLE};
		lw_diag_set(&o.diag, "network-server: %s", message);
		as_nsync_mark_dirty(s);
		finish_all(s, &s->puts, &o);
		run_deletes(s);
		return;
	}
	LW_LIST_FOREACH (node, tmp, &s->puts) {
		const char *error = as_nsync_error(resp, i++);
		if (error[0]) {
			as_nsync_mark_dirty(s);
			finish_err(s, op_of(node), LW_EPRECONDITION, error);
		}
	}
	if (lw_list_empty(&s->puts))
		run_deletes(s);
	else
		commit_list(s, &s->puts, on_committed);
}

static void on_intents(void *arg, const struct sql_outcome *o)
{
	struct as_nsync *s = arg;

	if (s->closing)
		return;
	if (o->err < 0) {
		finish_all(s, &s->puts, o);
		run_deletes(s);
		return;
	}
	s->n_changes = 0;
	s->changes = LW_ARENA_ARRAY(&s->arena, Longwave__Ns__V1__Change *, BATCH_MAX);
	LW_LIST_FOREACH (node, tmp, &s->puts)
		s->changes[s->n_changes++] = op_of(node)->change;
	as_nsync_apply(s, on_applied);
}

/* Takes what waits, but never two operations on one object. */
static size_t take(struct as_nsync *s)
{
	struct lw_bmap keys;
	size_t n = 0;

	lw_bmap_init(&keys);
	LW_LIST_FOREACH (node, tmp, &s->waiting) {
		struct as_nsop *op = op_of(node);
		char key[128];
		if (n == BATCH_MAX)
			break;
		int len = snprintf(key, sizeof(key), "%s %s", op->kind, op->id);
		if (op->exclusive && lw_bmap_find(&keys, lw_span_str(op->exclusive)))
			continue;
		if (lw_bmap_put(&keys, lw_span(key, (size_t)len), op))
			continue;
		if (op->exclusive)
			lw_bmap_put(&keys, lw_span_str(op->exclusive), op);
		lw_list_remove(node);
		lw_list_push_back(op->change ? &s->puts : &s->deletes, node);
		n++;
	}
	lw_bmap_deinit(&keys);
	return n;
}

static void cycle(void *arg)
{
	struct as_nsync *s = arg;
	if (s->busy || s->closing)
		return;
	if (take(s) == 0 && !(s->dirty && s->due))
		return;
	s->busy = true;
	if (lw_list_empty(&s->puts)) {
		run_deletes(s);
		return;
	}
	int64_t now = now_us(s);
	struct sql_tx *tx = sql_tx_new(s->as->db);
	add_keys(sql_tx_add(tx, &intent_add, NULL, NULL), &s->puts, &now, s->as->conf->mqtt_client_id);
	sql_tx_commit(tx, on_intents, s);
}

/* ---- outside ---- */

struct as_nsync *as_nsync_new(struct as *as)
{
	struct as_nsync *s = lw_xcalloc(1, sizeof(*s));
	s->as = as;
	s->retry_ms = AS_NSYNC_RETRY_MIN_MS;
	lw_list_init(&s->waiting);
	lw_list_init(&s->puts);
	lw_list_init(&s->singles);
	lw_list_init(&s->deletes);
	lw_list_init(&s->settled);
	lw_arena_init(&s->arena, NULL, 0, SIZE_MAX / 2);
	rt_timer_init(&s->retry, as->loop, "as_nsync", on_retry, s);
	return s;
}

void as_nsync_stop(struct as_nsync *s)
{
	s->closing = true;
	rt_timer_stop(&s->retry);
	if (s->call)
		grpc_client_cancel(s->call_at, s->call);
	s->call = 0;
}

void as_nsync_free(struct as_nsync *s)
{
	if (!s)
		return;
	as_nsync_stop(s);
	struct lw_list *lists[] = {&s->waiting, &s->puts, &s->singles, &s->deletes, &s->settled};
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		finish_all(s, lists[i], &(struct sql_outcome){.err = LW_ECANCELLED});
	lw_arena_deinit(&s->arena);
	free(s);
}

void as_nsync_start(struct as_nsync *s)
{
	s->dirty = true;
	s->due = true;
	rt_loop_defer(s->as->loop, cycle, s);
}

void as_nsync_later(struct as_nsync *s)
{
	if (s->closing)
		return;
	s->dirty = true;
	if (!rt_timer_armed(&s->retry))
		rt_timer_start(&s->retry, LATER_MS);
}

void as_nsync_submit(struct as_nsync *s, struct as_nsop *op)
{
	lw_list_init(&op->node);
	if (s->closing) {
		op->done(op, &(struct sql_outcome){.err = LW_ECANCELLED});
		return;
	}
	lw_list_push_back(&s->waiting, &op->node);
	s->n_pending++;
	if (!s->busy)
		rt_loop_defer(s->as->loop, cycle, s);
}

size_t as_nsync_pending(const struct as_nsync *s)
{
	return s->n_pending;
}
