/* SQLite behind the SQL adapter: one thread writes, one reads (WAL), each with a connection and prepared statements of
 * its own. A look-up by keys that finds the writer idle is done by the writer, whose page cache stays good: the
 * reader's is empty after each commit. Everything that waits for the writer is one SQLite transaction with a savepoint
 * for each of ours, so that many share one fsync. Never touches the loop except to wake it. */
#include <stdlib.h>
#include <stdio.h>

#include <sqlite3.h>
#include <uv.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/io/sql_impl.h"
#include "common/io/sql_wal.h"

#define GROUP_MAX 1024 /* transactions in one group */
#define READS_MAX 64   /* reads that share a snapshot; their answers come together */
#define BUSY_MS 5000

struct lite_thread {
	struct lite *lite;
	uv_thread_t thread;
	sqlite3 *h;
	sqlite3_stmt **prepared; /* by plan index */
	size_t n_prepared;
	uv_mutex_t lock; /* protects queue, busy and stop */
	uv_cond_t cond;
	struct lw_list queue;
	bool busy; /* has taken a group */
	bool stop;
};

struct lite {
	struct sql_db *db;
	struct lite_thread writer;
	struct lite_thread reader;
	uv_mutex_t lock; /* protects done */
	struct lw_list done;
};

int sql_sqlite_err(int extended)
{
	switch (extended) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
		return LW_EEXISTS;
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		return LW_ENOTFOUND;
	case SQLITE_BUSY_SNAPSHOT:
		return LW_ECONFLICT;
	default:
		break;
	}
	switch (extended & 0xff) {
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_RANGE:
		return LW_EINVAL;
	case SQLITE_TOOBIG:
		return LW_EBIG;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_CANTOPEN:
		return LW_EUNAVAILABLE;
	case SQLITE_FULL:
		return LW_EFULL;
	case SQLITE_IOERR:
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_READONLY:
		return LW_EIO;
	default:
		return LW_EINTERNAL;
	}
}

/* ---- one statement ---------------------------------------------------------------------------------------------- */

static void fail(struct lite_thread *t, struct sql_op *op, const struct sql_plan *plan)
{
	sql_op_fail(op, sql_sqlite_err(sqlite3_extended_errcode(t->h)), false, plan ? plan->stmt->name : NULL,
		    sqlite3_errmsg(t->h));
}

static sqlite3_stmt *prepare(struct lite_thread *t, const struct sql_plan *plan)
{
	if (plan->index >= t->n_prepared) {
		size_t n = plan->index + 16;
		t->prepared = lw_xreallocarray(t->prepared, n, sizeof(sqlite3_stmt *));
		memset(t->prepared + t->n_prepared, 0, (n - t->n_prepared) * sizeof(sqlite3_stmt *));
		t->n_prepared = n;
	}
	sqlite3_stmt **slot = &t->prepared[plan->index];
	if (!*slot && plan->row_text &&
	    sqlite3_prepare_v3(t->h, plan->row_text, -1, SQLITE_PREPARE_PERSISTENT, slot, NULL) == SQLITE_OK)
		return *slot;
	if (!*slot && sqlite3_prepare_v3(t->h, plan->text, -1, SQLITE_PREPARE_PERSISTENT, slot, NULL) != SQLITE_OK)
		return NULL;
	return *slot;
}

static int bind_value(sqlite3_stmt *s, int i, char type, bool null, struct lw_span v)
{
	if (i > sqlite3_bind_parameter_count(s))
		return SQLITE_OK; /* not used by the text */
	if (null)
		return sqlite3_bind_null(s, i);
	switch (type) {
	case 'b':
		return sqlite3_bind_int(s, i, v.p[0]);
	case 'i':
		return sqlite3_bind_int(s, i, (int)lw_get_be32(v.p));
	case 'l':
		return sqlite3_bind_int64(s, i, (int64_t)lw_get_be64(v.p));
	case 's':
		return sqlite3_bind_int64(s, i, (int64_t)lw_get_be64(v.p) + SQL_PG_EPOCH_US);
	case 'd': {
		uint64_t bits = lw_get_be64(v.p);
		double d;
		memcpy(&d, &bits, 8);
		return sqlite3_bind_double(s, i, d);
	}
	case 't':
		return sqlite3_bind_text(s, i, v.n ? (const char *)v.p : "", (int)v.n, SQLITE_STATIC);
	case 'j':
		return sqlite3_bind_text(s, i, (const char *)v.p + 1, (int)v.n - 1, SQLITE_STATIC);
	default:
		return sqlite3_bind_blob(s, i, v.n ? (const void *)v.p : "", (int)v.n, SQLITE_STATIC);
	}
}

static bool read_cell(struct sql_result *r, struct sql_cell *c, char type, sqlite3_stmt *s, int i)
{
	c->null = sqlite3_column_type(s, i) == SQLITE_NULL;
	if (c->null)
		return true;
	const void *p;
	switch (type) {
	case 'b':
	case 'i':
	case 'l':
	case 's':
		c->v.i = sqlite3_column_int64(s, i);
		return type != 'i' || (c->v.i >= INT32_MIN && c->v.i <= INT32_MAX);
	case 'd':
		c->v.d = sqlite3_column_double(s, i);
		return true;
	case 't':
	case 'j':
		p = sqlite3_column_text(s, i);
		break;
	default:
		p = sqlite3_column_blob(s, i);
		break;
	}
	c->n = (size_t)sqlite3_column_bytes(s, i);
	c->p = (const uint8_t *)lw_arena_strndup(&r->arena, p ? p : "", 0);
	if (c->n) {
		uint8_t *copy = lw_arena_alloc(&r->arena, c->n + 1);
		if (!copy)
			return false;
		memcpy(copy, p, c->n);
		copy[c->n] = '\0';
		c->p = copy;
	}
	return c->p != NULL;
}

static bool read_row(struct sql_op *op, struct sql_item *it, sqlite3_stmt *s)
{
	const struct sql_plan *plan = it->plan;
	if (!plan->n_cols)
		return true;
	if ((size_t)sqlite3_column_count(s) != plan->n_cols) {
		sql_op_fail(op, LW_EINTERNAL, false, plan->stmt->name,
			    "number of columns differs from the declaration");
		return false;
	}
	struct sql_cell *row = sql_result_add_row(&it->result);
	for (size_t i = 0; i < plan->n_cols; i++)
		if (!read_cell(&it->result, &row[i], plan->cols[i], s, (int)i)) {
			sql_op_fail(op, LW_EBIG, false, plan->stmt->name, "a value does not fit its declared type");
			return false;
		}
	return true;
}

/* The statement's text has no RETURNING {b.n}: so often it would have given the row's number. */
static void add_changed(struct sql_item *it, uint64_t changed, size_t row)
{
	for (uint64_t i = 0; i < changed; i++) {
		struct sql_cell *c = sql_result_add_row(&it->result);
		c->null = false;
		c->v.i = (int64_t)row;
	}
}

/* Steps to the end. `row` of the batch. */
static bool run_bound(struct lite_thread *t, struct sql_op *op, struct sql_item *it, sqlite3_stmt *s, size_t row)
{
	bool counts = it->plan->row_counts && sqlite3_column_count(s) == 0;
	uint64_t rows = 0;
	int rc;
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		rows++;
		if (!read_row(op, it, s))
			break;
	}
	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		fail(t, op, it->plan);
	if (rc == SQLITE_DONE)
		it->result.affected += sqlite3_stmt_readonly(s) ? rows : (uint64_t)sqlite3_changes64(t->h);
	if (rc == SQLITE_DONE && counts)
		add_changed(it, (uint64_t)sqlite3_changes64(t->h), row);
	sqlite3_reset(s);
	return rc == SQLITE_DONE;
}

static bool run_item(struct lite_thread *t, struct sql_op *op, struct sql_item *it)
{
	const struct sql_plan *plan = it->plan;
	const struct sql_params *params = &it->params;
	struct sql_cursor cur[SQL_MAX_PARAMS];
	struct lw_span v;
	sqlite3_stmt *s = prepare(t, plan);
	if (!s) {
		fail(t, op, plan);
		return false;
	}
	size_t n = plan->n_scalars + plan->n_batch;
	int rc = SQLITE_OK;
	for (size_t i = 0; i < n; i++)
		cur[i] = sql_column(params, i);
	for (size_t i = 0; i < plan->n_scalars && rc == SQLITE_OK; i++) {
		bool null = !sql_cursor_next(&cur[i], &v);
		rc = bind_value(s, (int)i + 1, plan->types[i], null, v);
	}
	bool ok = true;
	for (size_t row = 0; ok && rc == SQLITE_OK && row < (plan->batch ? params->rows : 1); row++) {
		for (size_t i = plan->n_scalars; i < n && rc == SQLITE_OK; i++) {
			bool null = !sql_cursor_next(&cur[i], &v);
			rc = bind_value(s, (int)i + 1, plan->types[i], null, v);
		}
		if (plan->batch && rc == SQLITE_OK && (int)n + 1 <= sqlite3_bind_parameter_count(s))
			rc = sqlite3_bind_int64(s, (int)n + 1, (int64_t)row);
		if (rc == SQLITE_OK)
			ok = run_bound(t, op, it, s, row);
	}
	if (rc != SQLITE_OK)
		fail(t, op, plan);
	sqlite3_clear_bindings(s);
	return ok && rc == SQLITE_OK;
}

static bool run_items(struct lite_thread *t, struct sql_op *op)
{
	for (size_t i = 0; i < op->n; i++) {
		struct sql_item *it = op->items[i];
		if (!sql_item_empty(it) && !run_item(t, op, it))
			return false;
		if (!sql_item_check(op, it))
			return false;
	}
	return true;
}

/* ---- groups ----------------------------------------------------------------------------------------------------- */

static bool exec(struct lite_thread *t, const char *sql)
{
	return sqlite3_exec(t->h, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static void drop_results(struct sql_op *op)
{
	for (size_t i = 0; i < op->n; i++) {
		op->items[i]->result.rows = 0;
		op->items[i]->result.affected = 0;
		lw_arena_reset(&op->items[i]->result.arena);
	}
}

/* Everything in the group fails that has not failed on its own. */
static void fail_all(struct lite_thread *t, struct lw_list *group)
{
	LW_LIST_FOREACH (n, tmp, group)
		fail(t, LW_CONTAINER_OF(n, struct sql_op, node), NULL);
	if (!sqlite3_get_autocommit(t->h))
		exec(t, "ROLLBACK");
}

/* Runs one of several transactions inside the group's. False: the engine gave up the whole group (disk full …). */
static bool run_member(struct lite_thread *t, struct sql_op *op)
{
	if (!exec(t, "SAVEPOINT op")) {
		fail(t, op, NULL);
		return false;
	}
	if (run_items(t, op))
		return exec(t, "RELEASE op");
	drop_results(op);
	return !sqlite3_get_autocommit(t->h) && exec(t, "ROLLBACK TO op") && exec(t, "RELEASE op");
}

static void forget_outcome(struct sql_op *op)
{
	memset(&op->outcome, 0, sizeof(op->outcome));
	drop_results(op);
}

/* All in one SQLite transaction without savepoints, which cost a copy of each page that is touched. False: one of them
 * failed, and nothing was done. */
static bool run_hopefully(struct lite_thread *t, struct lw_list *group)
{
	if (!exec(t, "BEGIN IMMEDIATE")) {
		fail_all(t, group);
		return true;
	}
	bool ok = true, first = true;
	LW_LIST_FOREACH (n, tmp, group) {
		struct sql_op *op = LW_CONTAINER_OF(n, struct sql_op, node);
		op->round_trips = first;
		first = false;
		ok = ok && run_items(t, op);
	}
	if (ok && exec(t, "COMMIT"))
		return true;
	if (!sqlite3_get_autocommit(t->h))
		exec(t, "ROLLBACK");
	LW_LIST_FOREACH (n, tmp, group)
		forget_outcome(LW_CONTAINER_OF(n, struct sql_op, node));
	return false;
}

/* Executes the operations of `group`, which stay in it, all in one SQLite transaction. False: it was rolled back as a
 * whole, after it had begun. */
static bool run_group(struct lite_thread *t, struct lw_list *group)
{
	if (!exec(t, "BEGIN IMMEDIATE")) {
		fail_all(t, group);
		return true;
	}
	bool first = true;
	bool alive = true;
	LW_LIST_FOREACH (n, tmp, group) {
		struct sql_op *op = LW_CONTAINER_OF(n, struct sql_op, node);
		op->round_trips = first;
		first = false;
		alive = run_member(t, op);
		if (!alive)
			break;
	}
	if (alive && exec(t, "COMMIT"))
		return true;
	fail_all(t, group);
	return false;
}

/* A group of which the engine rolled back everything is repeated one by one, so that one bad member harms no other. */
static void run_writes(struct lite_thread *t, struct lw_list *group)
{
	struct lw_list single;
	struct lw_list done;
	if (run_hopefully(t, group) || run_group(t, group) || group->next == group->prev)
		return;
	lw_list_init(&single);
	lw_list_init(&done);
	for (struct lw_list *a; (a = lw_list_pop_front(group));) {
		struct sql_op *op = LW_CONTAINER_OF(a, struct sql_op, node);
		forget_outcome(op);
		lw_list_push_back(&single, a);
		run_group(t, &single);
		lw_list_splice_back(&done, &single);
	}
	lw_list_splice_back(group, &done);
}

/* In one transaction: else every row of every batch takes and gives back the locks of a snapshot of its own. */
static void run_reads(struct lite_thread *t, struct lw_list *group)
{
	bool begun = exec(t, "BEGIN");
	bool first = true;
	LW_LIST_FOREACH (n, tmp, group) {
		struct sql_op *op = LW_CONTAINER_OF(n, struct sql_op, node);
		op->round_trips = first;
		first = false;
		run_items(t, op);
	}
	if (begun && !sqlite3_get_autocommit(t->h))
		exec(t, "COMMIT");
}

/* ---- threads ---------------------------------------------------------------------------------------------------- */

static bool is_query(const struct lw_list *node)
{
	return LW_CONTAINER_OF(node, struct sql_op, node)->query;
}

/* Moves up to GROUP_MAX transactions or READS_MAX queries; waits for the first. False: stop, and nothing is left. */
static bool take_group(struct lite_thread *t, struct lw_list *group)
{
	lw_list_init(group);
	uv_mutex_lock(&t->lock);
	t->busy = false;
	while (lw_list_empty(&t->queue) && !t->stop)
		uv_cond_wait(&t->cond, &t->lock);
	t->busy = true;
	bool reads = !lw_list_empty(&t->queue) && is_query(t->queue.next);
	for (size_t i = 0; i < (reads ? READS_MAX : GROUP_MAX) && !lw_list_empty(&t->queue); i++) {
		if (is_query(t->queue.next) != reads)
			break;
		lw_list_push_back(group, lw_list_pop_front(&t->queue));
	}
	uv_mutex_unlock(&t->lock);
	return !lw_list_empty(group);
}

static void thread_main(void *arg)
{
	struct lite_thread *t = arg;
	struct lw_list group;
	while (take_group(t, &group)) {
		if (!is_query(group.next))
			run_writes(t, &group);
		else
			run_reads(t, &group);
		uv_mutex_lock(&t->lite->lock);
		lw_list_splice_back(&t->lite->done, &group);
		uv_mutex_unlock(&t->lite->lock);
		sql_wake(t->lite->db);
	}
}

/* Of the file's size at the start: about what its indexes over keys take, so that a row costs one page from the file.
 * The reader loses its cache with each commit, so it needs one for a single snapshot only. */
static bool set_cache(struct lite_thread *t)
{
	enum { READER_KIB = 1024, LEAST_KIB = 2048, MOST_KIB = 24576, PART = 24 };
	sqlite3_stmt *s = NULL;
	int64_t kib = 0;
	char text[64];
	if (sqlite3_prepare_v2(t->h, "SELECT page_count * page_size / 1024 FROM pragma_page_count, pragma_page_size",
			       -1, &s, NULL) == SQLITE_OK &&
	    sqlite3_step(s) == SQLITE_ROW)
		kib = sqlite3_column_int64(s, 0) / PART;
	sqlite3_finalize(s);
	kib = kib < LEAST_KIB ? LEAST_KIB : kib > MOST_KIB ? MOST_KIB : kib;
	if (t == &t->lite->reader)
		kib = READER_KIB;
	snprintf(text, sizeof(text), "PRAGMA cache_size=-%lld", (long long)kib);
	return exec(t, text);
}

/* Debian's build overwrites what is deleted, and so writes each page of the outbox once more when it is freed. Still
 * done where the page is written anyway. */
#define SECURE_DELETE "PRAGMA secure_delete=FAST"

static bool connect_file(struct lite_thread *t, const struct sql_dsn *dsn, struct lw_diag *diag)
{
	int rc = sqlite3_open_v2(dsn->path, &t->h,
				 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
					 SQLITE_OPEN_EXRESCODE,
				 dsn->sync_full ? sql_wal_vfs() : NULL);
	if (rc == SQLITE_OK) {
		sqlite3_busy_timeout(t->h, BUSY_MS);
		if (exec(t, "PRAGMA journal_mode=WAL") &&
		    exec(t, dsn->sync_full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL") &&
		    exec(t, "PRAGMA foreign_keys=ON") && exec(t, "PRAGMA temp_store=MEMORY") &&
		    exec(t, SECURE_DELETE) && set_cache(t) && exec(t, "PRAGMA wal_autocheckpoint=4000"))
			return true;
	}
	lw_diag_set(diag, "database %s: %s", dsn->path, t->h ? sqlite3_errmsg(t->h) : sqlite3_errstr(rc));
	return false;
}

static bool thread_open(struct lite *l, struct lite_thread *t, struct lw_diag *diag)
{
	t->lite = l;
	lw_list_init(&t->queue);
	uv_mutex_init(&t->lock);
	uv_cond_init(&t->cond);
	if (!connect_file(t, &l->db->dsn, diag))
		return false;
	BUG_ON(uv_thread_create(&t->thread, thread_main, t) != 0);
	return true;
}

/* The thread finishes what is queued. */
static void thread_close(struct lite_thread *t, bool running)
{
	if (running) {
		uv_mutex_lock(&t->lock);
		t->stop = true;
		uv_cond_signal(&t->cond);
		uv_mutex_unlock(&t->lock);
		uv_thread_join(&t->thread);
	}
	for (size_t i = 0; i < t->n_prepared; i++)
		sqlite3_finalize(t->prepared[i]);
	free(t->prepared);
	sqlite3_close_v2(t->h);
	uv_cond_destroy(&t->cond);
	uv_mutex_destroy(&t->lock);
}

/* ---- engine ----------------------------------------------------------------------------------------------------- */

static int lite_open(struct sql_db *db, struct lw_diag *diag)
{
	struct lite *l = lw_xcalloc(1, sizeof(*l));
	l->db = db;
	uv_mutex_init(&l->lock);
	lw_list_init(&l->done);
	bool writer = thread_open(l, &l->writer, diag);
	if (writer && thread_open(l, &l->reader, diag)) {
		db->impl = l;
		db->stats.connects = 2;
		sql_set_state(db, true, "open");
		return 0;
	}
	if (writer)
		thread_close(&l->reader, false);
	thread_close(&l->writer, writer);
	uv_mutex_destroy(&l->lock);
	free(l);
	return LW_EIO;
}

static void lite_submit(struct sql_db *db, struct sql_op *op)
{
	struct lite *l = db->impl;
	struct lite_thread *t = &l->writer;
	uv_mutex_lock(&t->lock);
	if (op->query && (t->busy || !lw_list_empty(&t->queue) || !op->items[0]->plan->batch)) {
		uv_mutex_unlock(&t->lock);
		t = &l->reader;
		uv_mutex_lock(&t->lock);
	}
	lw_list_push_back(&t->queue, &op->node);
	uv_mutex_unlock(&t->lock);
	/* Not before: whoever is woken wants the lock. */
	uv_cond_signal(&t->cond);
}

static void lite_woken(struct sql_db *db)
{
	struct lite *l = db->impl;
	struct lw_list done;
	lw_list_init(&done);
	uv_mutex_lock(&l->lock);
	lw_list_splice_back(&done, &l->done);
	uv_mutex_unlock(&l->lock);
	lw_list_splice_back(&db->finished, &done);
}

static void lite_tick(struct sql_db *db, int64_t now_ns)
{
	(void)db;
	(void)now_ns;
}

static void lite_close(struct sql_db *db)
{
	struct lite *l = db->impl;
	thread_close(&l->writer, true);
	thread_close(&l->reader, true);
	lite_woken(db);
	uv_mutex_destroy(&l->lock);
	free(l);
	db->impl = NULL;
}

const struct sql_engine sql_engine_sqlite = {
	.open = lite_open,
	.submit = lite_submit,
	.tick = lite_tick,
	.woken = lite_woken,
	.close = lite_close,
};
