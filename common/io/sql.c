/* The part of the SQL adapter that both engines share: parameters, results, the life of an operation, callbacks. */
#include "common/io/sql.h"

#include <stdio.h>
#include <stdlib.h>

#include <uv.h>

#include "common/base/bug.h"
#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/io/sql_impl.h"
#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"

#define TICK_MS 100

/* ---- parameters ------------------------------------------------------------------------------------------------- */

static void params_init(struct sql_params *p, const struct sql_plan *plan)
{
	static const uint8_t header[SQL_ARRAY_HEADER];
	size_t n = plan->n_scalars + plan->n_batch;
	p->plan = plan;
	p->col = n ? lw_xcalloc(n, sizeof(*p->col)) : NULL;
	for (size_t i = 0; i < n; i++) {
		lw_buf_init(&p->col[i], SQL_COL_MAX);
		if (i >= plan->n_scalars)
			lw_buf_append(&p->col[i], header, sizeof(header));
	}
}

static void params_deinit(struct sql_params *p)
{
	for (size_t i = 0; p->plan && i < p->plan->n_scalars + p->plan->n_batch; i++)
		lw_buf_deinit(&p->col[i]);
	free(p->col);
}

/* The column of the next value, after checking that it takes one of the types; moves on. */
static struct lw_buf *params_next(struct sql_params *p, const char *types)
{
	const struct sql_plan *plan = p->plan;
	size_t n = plan->n_scalars + plan->n_batch;
	BUG_ON(p->next >= n);
	size_t i = p->next++;
	BUG_ON(types && !strchr(types, plan->types[i]));
	if (!types)
		p->has_null[i] = true;
	if (p->next == n && plan->batch) {
		p->next = plan->n_scalars;
		p->rows++;
	}
	return &p->col[i];
}

static void put(struct sql_params *p, struct lw_buf *b, const void *prefix, size_t n_prefix, struct lw_span v)
{
	uint8_t len[4];
	lw_put_be32(len, (uint32_t)(n_prefix + v.n));
	if (v.n > SQL_COL_MAX || lw_buf_append(b, len, 4) || lw_buf_append(b, prefix, n_prefix) ||
	    lw_buf_append_span(b, v))
		p->err = LW_EBIG;
}

static void put_be64(struct sql_params *p, const char *types, uint64_t v)
{
	uint8_t b[8];
	struct lw_buf *col = params_next(p, types);
	lw_put_be64(b, v);
	put(p, col, NULL, 0, lw_span(b, 8));
}

void sql_put_null(struct sql_params *p)
{
	uint8_t len[4];
	lw_put_be32(len, UINT32_MAX);
	if (lw_buf_append(params_next(p, NULL), len, 4))
		p->err = LW_EBIG;
}

void sql_put_bool(struct sql_params *p, bool v)
{
	uint8_t b = v;
	put(p, params_next(p, "b"), NULL, 0, lw_span(&b, 1));
}

void sql_put_i32(struct sql_params *p, int32_t v)
{
	uint8_t b[4];
	lw_put_be32(b, (uint32_t)v);
	put(p, params_next(p, "i"), NULL, 0, lw_span(b, 4));
}

void sql_put_i64(struct sql_params *p, int64_t v)
{
	put_be64(p, "l", (uint64_t)v);
}

void sql_put_f64(struct sql_params *p, double v)
{
	uint64_t bits;
	memcpy(&bits, &v, 8);
	put_be64(p, "d", bits);
}

void sql_put_text_n(struct sql_params *p, struct lw_span v)
{
	static const uint8_t jsonb_version = 1;
	bool json = p->plan->types[p->next] == 'j';
	put(p, params_next(p, "tj"), &jsonb_version, json ? 1 : 0, v);
}

void sql_put_text(struct sql_params *p, const char *v)
{
	if (v)
		sql_put_text_n(p, lw_span_str(v));
	else
		sql_put_null(p);
}

void sql_put_bytes(struct sql_params *p, struct lw_span v)
{
	put(p, params_next(p, "y"), NULL, 0, v);
}

void sql_put_uuid(struct sql_params *p, struct lw_uuid v)
{
	put(p, params_next(p, "u"), NULL, 0, lw_span(v.b, sizeof(v.b)));
}

void sql_put_time_us(struct sql_params *p, int64_t unix_us)
{
	put_be64(p, "s", (uint64_t)unix_us - (uint64_t)SQL_PG_EPOCH_US);
}

struct sql_cursor sql_column(const struct sql_params *p, size_t col)
{
	const struct lw_buf *b = &p->col[col];
	size_t skip = col >= p->plan->n_scalars ? SQL_ARRAY_HEADER : 0;
	return (struct sql_cursor){.p = b->p + skip, .end = b->p + b->n};
}

bool sql_cursor_next(struct sql_cursor *c, struct lw_span *value)
{
	BUG_ON(c->end - c->p < 4);
	uint32_t n = lw_get_be32(c->p);
	c->p += 4;
	if (n == UINT32_MAX) {
		*value = lw_span(NULL, 0);
		return false;
	}
	*value = lw_span(c->p, n);
	c->p += n;
	return true;
}

/* ---- results ---------------------------------------------------------------------------------------------------- */

struct sql_cell *sql_result_add_row(struct sql_result *r)
{
	size_t n = r->plan->n_cols;
	if (r->rows == r->cap) {
		r->cap = r->cap ? r->cap * 2 : 4;
		r->cells = lw_xreallocarray(r->cells, r->cap * n, sizeof(*r->cells));
	}
	struct sql_cell *row = r->cells + r->rows++ * n;
	memset(row, 0, n * sizeof(*row));
	for (size_t i = 0; i < n; i++)
		row[i].null = true;
	return row;
}

static const struct sql_cell *cell(const struct sql_result *r, size_t row, size_t col, const char *types)
{
	BUG_ON(row >= r->rows || col >= r->plan->n_cols);
	BUG_ON(types && !strchr(types, r->plan->cols[col]));
	return &r->cells[row * r->plan->n_cols + col];
}

size_t sql_rows(const struct sql_result *r)
{
	return r->rows;
}

uint64_t sql_affected(const struct sql_result *r)
{
	return r->affected;
}

bool sql_is_null(const struct sql_result *r, size_t row, size_t col)
{
	return cell(r, row, col, NULL)->null;
}

bool sql_bool(const struct sql_result *r, size_t row, size_t col)
{
	return cell(r, row, col, "b")->v.i != 0;
}

int32_t sql_i32(const struct sql_result *r, size_t row, size_t col)
{
	return (int32_t)cell(r, row, col, "i")->v.i;
}

int64_t sql_i64(const struct sql_result *r, size_t row, size_t col)
{
	return cell(r, row, col, "il")->v.i;
}

double sql_f64(const struct sql_result *r, size_t row, size_t col)
{
	return cell(r, row, col, "d")->v.d;
}

const char *sql_text(const struct sql_result *r, size_t row, size_t col)
{
	const struct sql_cell *c = cell(r, row, col, "tj");
	return c->p ? (const char *)c->p : "";
}

struct lw_span sql_span(const struct sql_result *r, size_t row, size_t col)
{
	const struct sql_cell *c = cell(r, row, col, "tjyu");
	return lw_span(c->p, c->n);
}

struct lw_uuid sql_uuid(const struct sql_result *r, size_t row, size_t col)
{
	const struct sql_cell *c = cell(r, row, col, "u");
	struct lw_uuid u = {{0}};
	if (c->n == sizeof(u.b))
		memcpy(u.b, c->p, sizeof(u.b));
	return u;
}

int64_t sql_time_us(const struct sql_result *r, size_t row, size_t col)
{
	return cell(r, row, col, "s")->v.i;
}

/* ---- operations ------------------------------------------------------------------------------------------------- */

static struct sql_plan *plan_get(struct sql_db *db, const struct sql_stmt *stmt)
{
	struct sql_plan *p = lw_map_find(&db->plans, (uint64_t)(uintptr_t)stmt);
	if (!p) {
		p = sql_plan_new(stmt, db->dsn.sqlite, db->n_plans++);
		lw_map_put(&db->plans, (uint64_t)(uintptr_t)stmt, p);
	}
	return p;
}

static struct sql_op *op_new(struct sql_db *db, bool query)
{
	struct sql_op *op = lw_xcalloc(1, sizeof(*op));
	lw_list_init(&op->node);
	op->db = db;
	op->query = query;
	return op;
}

static struct sql_item *op_add(struct sql_op *op, const struct sql_stmt *stmt)
{
	struct sql_item *it = lw_xcalloc(1, sizeof(*it));
	it->plan = plan_get(op->db, stmt);
	params_init(&it->params, it->plan);
	it->result.plan = it->plan;
	lw_arena_init(&it->result.arena, NULL, 0, SQL_RESULT_MAX);
	if (op->n == op->cap) {
		op->cap = op->cap ? op->cap * 2 : 4;
		op->items = lw_xreallocarray(op->items, op->cap, sizeof(struct sql_item *));
	}
	op->items[op->n++] = it;
	return it;
}

static void op_free(struct sql_op *op)
{
	for (size_t i = 0; i < op->n; i++) {
		struct sql_item *it = op->items[i];
		params_deinit(&it->params);
		free(it->result.cells);
		lw_arena_deinit(&it->result.arena);
		if (it->result.pg)
			sql_pg_result_free(it->result.pg);
		free(it);
	}
	free(op->items);
	free(op);
}

void sql_op_fail(struct sql_op *op, int err, bool unknown, const char *stmt, const char *text)
{
	if (op->outcome.err)
		return;
	op->outcome.err = err;
	op->outcome.unknown = unknown;
	op->outcome.stmt = stmt;
	lw_diag_set(&op->outcome.diag, "%s%s%s", stmt ? stmt : "", stmt ? ": " : "", text ? text : lw_err_text(err));
}

bool sql_item_check(struct sql_op *op, const struct sql_item *it)
{
	uint64_t n = it->result.affected;
	if (!it->expect || (n >= it->expect_min && n <= it->expect_max))
		return true;
	sql_op_fail(op, it->expect_err, false, it->plan->stmt->name, NULL);
	return false;
}

static void op_count(struct sql_db *db, const struct sql_op *op)
{
	struct sql_stats *s = &db->stats;
	s->pending--;
	s->round_trips += op->round_trips;
	if (op->outcome.err)
		s->errors++;
	else if (op->query)
		s->queries++;
	else
		s->transactions++;
	for (size_t i = 0; !op->outcome.err && i < op->n; i++) {
		const struct sql_item *it = op->items[i];
		if (sql_item_empty(it))
			continue;
		s->statements++;
		s->rows += it->plan->batch ? it->params.rows : (uint64_t)(it->plan->n_scalars > 0);
		s->result_rows += it->result.rows;
	}
}

static void op_call(struct sql_op *op)
{
	if (op->query) {
		op->query_fn(op->arg, &op->outcome, op->outcome.err ? NULL : &op->items[0]->result);
		return;
	}
	for (size_t i = 0; !op->outcome.err && i < op->n; i++)
		if (op->items[i]->fn)
			op->items[i]->fn(op->items[i]->arg, &op->items[i]->result);
	if (op->done)
		op->done(op->arg, &op->outcome);
}

void sql_finished(struct sql_db *db, struct sql_op *op)
{
	lw_list_remove(&op->node);
	lw_list_push_back(&db->finished, &op->node);
	sql_wake(db);
}

void sql_dispatch(struct sql_db *db)
{
	if (db->dispatching)
		return;
	db->dispatching = true;
	if (db->state_pending && !db->closing) {
		db->state_pending = false;
		if (db->opt.on_state)
			db->opt.on_state(db->opt.arg, db->up, db->state_text);
	}
	for (struct lw_list *n; (n = lw_list_pop_front(&db->finished));) {
		struct sql_op *op = LW_CONTAINER_OF(n, struct sql_op, node);
		op_count(db, op);
		op_call(op);
		op_free(op);
	}
	db->dispatching = false;
}

static void submit(struct sql_op *op)
{
	struct sql_db *db = op->db;
	op->queued_ns = lw_mono_ns();
	db->stats.pending++;
	for (size_t i = 0; i < op->n; i++) {
		const struct sql_params *p = &op->items[i]->params;
		BUG_ON(p->next != (p->plan->batch ? p->plan->n_scalars : p->plan->n_scalars + p->plan->n_batch));
		if (p->err)
			sql_op_fail(op, p->err, false, p->plan->stmt->name, NULL);
	}
	if (db->closing)
		sql_op_fail(op, LW_ECANCELLED, false, NULL, NULL);
	else if (db->stats.pending > db->opt.max_pending)
		sql_op_fail(op, LW_EFULL, false, NULL, "too many database operations are waiting");
	bool empty = true;
	for (size_t i = 0; i < op->n; i++)
		empty = empty && sql_item_empty(op->items[i]) && !op->items[i]->expect;
	if (op->outcome.err || empty)
		sql_finished(db, op);
	else
		db->engine->submit(db, op);
}

/* ---- reads and transactions -------------------------------------------------------------------------------------- */

/* Both are an operation; the names keep the compiler from mixing them up. */
static struct sql_op *op_of_query(struct sql_query *q)
{
	return (struct sql_op *)(void *)q;
}

static struct sql_op *op_of_tx(struct sql_tx *tx)
{
	return (struct sql_op *)(void *)tx;
}

struct sql_query *sql_query_new(struct sql_db *db, const struct sql_stmt *stmt)
{
	struct sql_op *op = op_new(db, true);
	op_add(op, stmt);
	return (struct sql_query *)(void *)op;
}

struct sql_params *sql_query_params(struct sql_query *q)
{
	return &op_of_query(q)->items[0]->params;
}

void sql_query_send(struct sql_query *q, sql_query_fn *fn, void *arg)
{
	struct sql_op *op = op_of_query(q);
	BUG_ON(!fn);
	op->query_fn = fn;
	op->arg = arg;
	submit(op);
}

void sql_query_discard(struct sql_query *q)
{
	if (q)
		op_free(op_of_query(q));
}

struct sql_tx *sql_tx_new(struct sql_db *db)
{
	return (struct sql_tx *)(void *)op_new(db, false);
}

struct sql_params *sql_tx_add(struct sql_tx *tx, const struct sql_stmt *stmt, sql_result_fn *result, void *arg)
{
	struct sql_item *it = op_add(op_of_tx(tx), stmt);
	it->fn = result;
	it->arg = arg;
	return &it->params;
}

void sql_tx_expect(struct sql_tx *tx, uint64_t min, uint64_t max, int err)
{
	struct sql_op *op = op_of_tx(tx);
	BUG_ON(op->n == 0 || err >= 0);
	struct sql_item *it = op->items[op->n - 1];
	it->expect = true;
	it->expect_min = min;
	it->expect_max = max;
	it->expect_err = err;
	op->expects = true;
}

void sql_tx_commit(struct sql_tx *tx, sql_done_fn *done, void *arg)
{
	struct sql_op *op = op_of_tx(tx);
	op->done = done;
	op->arg = arg;
	submit(op);
}

void sql_tx_discard(struct sql_tx *tx)
{
	if (tx)
		op_free(op_of_tx(tx));
}

/* ---- the database ------------------------------------------------------------------------------------------------ */

void sql_wake(struct sql_db *db)
{
	uv_async_send(db->wake);
}

void sql_set_state(struct sql_db *db, bool up, const char *text)
{
	if (db->up == up && up)
		return;
	bool news = db->up != up || strncmp(db->state_text, text, sizeof(db->state_text) - 1) != 0;
	db->up = up;
	snprintf(db->state_text, sizeof(db->state_text), "%s", text);
	if (news) {
		db->state_pending = true;
		sql_wake(db);
	}
}

static void on_wake(uv_async_t *h)
{
	struct sql_db *db = h->data;
	if (db->closing)
		return;
	if (db->engine->woken)
		db->engine->woken(db);
	sql_dispatch(db);
}

static void on_tick(uv_timer_t *h)
{
	struct sql_db *db = h->data;
	db->engine->tick(db, lw_mono_ns());
	sql_dispatch(db);
}

static void on_handle_closed(uv_handle_t *h)
{
	struct sql_db *db = h->data;
	free(h);
	if (--db->handles > 0)
		return;
	size_t it = 0;
	void *plan;
	while (lw_map_next(&db->plans, &it, NULL, &plan))
		sql_plan_free(plan);
	lw_map_deinit(&db->plans);
	sql_dsn_deinit(&db->dsn);
	lw_wipe(db->dsn_text, strlen(db->dsn_text));
	free(db->dsn_text);
	free((void *)(uintptr_t)db->opt.writer);
	free(db);
}

static void close_handles(struct sql_db *db)
{
	uv_close((uv_handle_t *)db->wake, on_handle_closed);
	uv_close((uv_handle_t *)db->ticker, on_handle_closed);
}

static void set_defaults(struct sql_options *o)
{
	o->dsn = NULL;
	if (!o->readers)
		o->readers = 2;
	if (!o->wait_ms)
		o->wait_ms = 2000;
	if (!o->timeout_ms)
		o->timeout_ms = 30000;
	if (!o->max_pending)
		o->max_pending = 10000;
}

static void collect(void *arg, struct lw_buf *out)
{
	const struct sql_db *db = arg;
	const char *prefix = rt_metrics_prefix(db->opt.metrics);
	const struct {
		const char *name, *help;
		uint64_t v;
	} series[] = {
		{"sql_round_trips_total", "Times that the database was waited for: groups of transactions, reads.",
		 db->stats.round_trips},
		{"sql_transactions_total", "Transactions committed.", db->stats.transactions},
		{"sql_statements_total", "Statements executed; a batch is one.", db->stats.statements},
		{"sql_rows_total", "Rows sent to the database.", db->stats.rows},
		{"sql_errors_total", "Failed transactions and queries.", db->stats.errors},
	};
	for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++)
		lw_buf_printf(out, "# HELP %s%s %s\n# TYPE %s%s counter\n%s%s %llu\n", prefix, series[i].name,
			      series[i].help, prefix, series[i].name, prefix, series[i].name,
			      (unsigned long long)series[i].v);
}

int sql_open(struct sql_db **out, struct rt_loop *loop, const struct sql_options *options, struct lw_diag *diag)
{
	*out = NULL;
	struct sql_dsn dsn;
	int rc = sql_dsn_parse(&dsn, options->dsn, diag);
	if (rc)
		return rc;
	struct sql_db *db = lw_xcalloc(1, sizeof(*db));
	db->loop = loop;
	db->dsn = dsn;
	db->dsn_text = lw_xstrdup(options->dsn);
	db->opt = *options;
	db->opt.writer = options->writer ? lw_xstrdup(options->writer) : NULL;
	set_defaults(&db->opt);
	lw_map_init(&db->plans);
	lw_list_init(&db->finished);
	lw_list_init(&db->migrations);
	uv_loop_t *uv = rt_loop_uv(loop);
	db->wake = lw_xcalloc(1, sizeof(*db->wake));
	db->ticker = lw_xcalloc(1, sizeof(*db->ticker));
	BUG_ON(uv_async_init(uv, db->wake, on_wake) != 0);
	uv_timer_init(uv, db->ticker);
	db->wake->data = db;
	db->ticker->data = db;
	db->handles = 2;
	db->engine = dsn.sqlite ? &sql_engine_sqlite : &sql_engine_pg;
	rc = db->engine->open(db, diag);
	if (rc) {
		db->closing = true;
		close_handles(db);
		return rc;
	}
	uv_timer_start(db->ticker, on_tick, TICK_MS, TICK_MS);
	if (db->opt.metrics)
		rt_metrics_on_collect(db->opt.metrics, collect, db);
	*out = db;
	return 0;
}

void sql_free(struct sql_db *db)
{
	if (!db)
		return;
	BUG_ON(db->dispatching);
	if (db->opt.metrics)
		rt_metrics_remove_collect(db->opt.metrics, db);
	db->closing = true;
	sql_migrate_cancel(db);
	db->engine->close(db);
	sql_dispatch(db);
	close_handles(db);
}

bool sql_is_up(const struct sql_db *db)
{
	return db->up;
}

bool sql_is_sqlite(const struct sql_db *db)
{
	return db->dsn.sqlite;
}

void sql_get_stats(const struct sql_db *db, struct sql_stats *out)
{
	*out = db->stats;
}
