/* PostgreSQL behind the SQL adapter: one connection writes, some read, all in pipeline mode. Each transaction or query
 * is one segment that ends in a sync; between two syncs the server runs an implicit transaction, so nothing else has to
 * be sent. Only transactions with expectations use BEGIN, and hold the writer until they are decided. Never blocks. */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/backoff.h"
#include "common/base/bug.h"
#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/io/pq_api.h"
#include "common/io/sql_impl.h"
#include "common/runtime/loop.h"

#define MAX_SEGMENTS 256 /* under way on one connection */
#define CONNECT_MS 10000
#define MAX_ADDRESSES 4

enum seg_kind {
	SEG_PREPARE, /* a statement */
	SEG_OP,      /* an operation without expectations: committed by its sync */
	SEG_TRY,     /* BEGIN and the statements of one with expectations */
	SEG_END,     /* its COMMIT or ROLLBACK */
	SEG_OLDER,   /* at the start of a connection that writes: the one before is ended */
	SEG_ALONE,   /* and waited for */
};

struct seg {
	struct lw_list node;
	enum seg_kind kind;
	const struct sql_plan *plan; /* SEG_PREPARE */
	struct sql_op *op;           /* the others */
	size_t item;                 /* that the next result belongs to */
	bool begun;                  /* SEG_TRY: BEGIN was answered */
	bool failed;
	int64_t sent_ns;
};

enum conn_state { CONN_AWAY, CONN_RESOLVING, CONN_CONNECTING, CONN_READY };

struct resolve;

struct conn {
	struct pg *pg;
	bool writer;
	enum conn_state state;
	PGconn *c;
	struct rt_watch *watch;
	struct resolve *resolve;
	int64_t next_ns; /* CONN_AWAY: when to try; connecting: when to give up */
	struct lw_backoff backoff;
	struct lw_list segs;
	size_t n_segs;
	bool held;  /* a transaction waits for its decision, or the connection before this one for its end */
	bool alone; /* that one is over */
	struct lw_map prepared; /* plan's address + 0 → plan */
	char error[160];
};

struct pg {
	struct sql_db *db;
	struct lw_rng rng;
	struct conn writer;
	struct conn *readers;
	size_t n_readers;
	struct lw_list writes;
	struct lw_list reads;
};

/* ---- errors ------------------------------------------------------------------------------------------------------ */

int sql_pg_err(const char *s)
{
	static const struct {
		const char *state;
		int err;
	} TABLE[] = {
		{"23505", LW_EEXISTS},
		{"23503", LW_ENOTFOUND},
		{"40001", LW_ECONFLICT},
		{"40P01", LW_ECONFLICT},
		{"55P03", LW_ECONFLICT},
		{"57014", LW_ETIMEDOUT},
		{"25006", LW_EUNAVAILABLE},
		{"54000", LW_EBIG},
		{"08", LW_EUNAVAILABLE},
		{"57P", LW_EUNAVAILABLE},
		{"53300", LW_EUNAVAILABLE},
		{"53", LW_EFULL},
		{"28", LW_EAUTH},
		{"3D000", LW_EUNAVAILABLE},
		{"22", LW_EINVAL},
		{"23", LW_EINVAL},
		/* A server that cannot read its files, or is being killed: to be waited for, no reason to drop a frame.
		 */
		{"58", LW_EUNAVAILABLE},
		{"XX", LW_EUNAVAILABLE},
	};
	if (!s)
		return LW_EUNAVAILABLE;
	for (size_t i = 0; i < sizeof(TABLE) / sizeof(TABLE[0]); i++)
		if (strncmp(s, TABLE[i].state, strlen(TABLE[i].state)) == 0)
			return TABLE[i].err;
	return LW_EINTERNAL;
}

/* libpq's texts end in a newline and may have several lines: the first one says it. */
static void first_line(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%.*s", (int)strcspn(text, "\n"), text);
}

void sql_pg_result_free(void *pg)
{
	PQclear(pg);
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

static bool read_int(struct sql_cell *c, char type)
{
	switch (c->n) {
	case 1:
		c->v.i = c->p[0];
		return type == 'b';
	case 2:
		c->v.i = (int16_t)lw_get_be16(c->p);
		break;
	case 4:
		c->v.i = (int32_t)lw_get_be32(c->p);
		break;
	case 8:
		c->v.i = (int64_t)lw_get_be64(c->p);
		break;
	default:
		return false;
	}
	return type != 'b' && (type != 'i' || (c->v.i >= INT32_MIN && c->v.i <= INT32_MAX));
}

/* What the server sends as `oid` can be read as `type`. */
static bool type_fits(char type, Oid oid)
{
	if (oid == sql_type_oid(type))
		return true;
	switch (type) {
	case 'i':
	case 'l':
		return oid == 21 || oid == 23 || oid == 20;
	case 't':
		return oid == 1043 || oid == 1042 || oid == 19 || oid == 705; /* varchar, char, name, unknown */
	case 'd':
		return oid == 700;
	default:
		return false;
	}
}

static bool read_cell(struct sql_cell *c, char type)
{
	switch (type) {
	case 'd':
		if (c->n == 8) {
			uint64_t bits = lw_get_be64(c->p);
			memcpy(&c->v.d, &bits, 8);
		} else {
			uint32_t bits = lw_get_be32(c->p);
			float f;
			memcpy(&f, &bits, 4);
			c->v.d = (double)f;
		}
		return true;
	case 's':
		c->v.i = (int64_t)(lw_get_be64(c->p) + (uint64_t)SQL_PG_EPOCH_US);
		return true;
	case 'j': /* a version byte comes first */
		c->p++;
		c->n--;
		return true;
	case 't':
	case 'y':
	case 'u':
		return true;
	default:
		return read_int(c, type);
	}
}

/* Fills the item's result; the cells point into `res`, which the item then owns. Returns an error text, or NULL. */
static const char *read_result(struct sql_item *it, PGresult *res)
{
	const struct sql_plan *plan = it->plan;
	struct sql_result *r = &it->result;
	r->affected = strtoull(PQcmdTuples(res), NULL, 10);
	if (!plan->n_cols)
		return NULL;
	if ((size_t)PQnfields(res) != plan->n_cols)
		return "number of columns differs from the declaration";
	for (size_t i = 0; i < plan->n_cols; i++)
		if (!type_fits(plan->cols[i], PQftype(res, (int)i)))
			return "type of a column differs from the declaration";
	r->pg = res;
	for (int row = 0; row < PQntuples(res); row++) {
		struct sql_cell *cells = sql_result_add_row(r);
		for (size_t i = 0; i < plan->n_cols; i++) {
			cells[i].null = PQgetisnull(res, row, (int)i);
			if (cells[i].null)
				continue;
			cells[i].p = (const uint8_t *)PQgetvalue(res, row, (int)i);
			cells[i].n = (size_t)PQgetlength(res, row, (int)i);
			if (!read_cell(&cells[i], plan->cols[i]))
				return "a value does not fit its declared type";
		}
	}
	return NULL;
}

/* ---- connection lost --------------------------------------------------------------------------------------------- */

static void resolve_cancel(struct conn *c);
static void pump(struct pg *pg);

static void seg_free(struct conn *c, struct seg *s)
{
	lw_list_remove(&s->node);
	c->n_segs--;
	free(s);
}

/* Closes the connection; what was sent fails with `err`, and for writes nobody knows whether it took effect. */
static void conn_drop(struct conn *c, int err, const char *text)
{
	struct sql_db *db = c->pg->db;
	bool was_ready = c->state == CONN_READY && c->alone;
	first_line(c->error, sizeof(c->error), text);
	resolve_cancel(c);
	rt_watch_free(c->watch);
	c->watch = NULL;
	PQfinish(c->c);
	c->c = NULL;
	c->state = CONN_AWAY;
	c->held = c->alone = false;
	lw_map_clear(&c->prepared);
	if (was_ready)
		lw_backoff_reset(&c->backoff);
	c->next_ns = lw_mono_ns() + lw_backoff_next_ms(&c->backoff, &c->pg->rng) * LW_NS_PER_MS;
	LW_LIST_FOREACH (n, tmp, &c->segs) {
		struct seg *s = LW_CONTAINER_OF(n, struct seg, node);
		if (s->op) {
			/* A transaction that was refused already cannot have taken effect. */
			sql_op_fail(s->op, err, c->writer && s->kind != SEG_TRY, NULL, c->error);
			sql_finished(db, s->op);
		}
		seg_free(c, s);
	}
	if (c->writer)
		sql_set_state(db, false, c->error);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

static void on_ready_fd(struct rt_watch *w, unsigned events, void *arg);

static bool conn_flush(struct conn *c)
{
	int rc = PQflush(c->c);
	if (rc < 0)
		return false;
	rt_watch_set(c->watch, rc == 1 ? RT_READ | RT_WRITE : RT_READ);
	return true;
}

static struct seg *seg_new(struct conn *c, enum seg_kind kind, struct sql_op *op)
{
	struct seg *s = lw_xcalloc(1, sizeof(*s));
	s->kind = kind;
	s->op = op;
	s->sent_ns = lw_mono_ns();
	lw_list_push_back(&c->segs, &s->node);
	c->n_segs++;
	return s;
}

/* A sync of its own: its failure then harms no transaction, those that use the statement fail with a text. */
static bool send_prepare(struct conn *c, const struct sql_plan *plan)
{
	Oid types[SQL_MAX_PARAMS];
	size_t n = plan->n_scalars + plan->n_batch;
	if (lw_map_find(&c->prepared, (uint64_t)(uintptr_t)plan))
		return true;
	for (size_t i = 0; i < n; i++)
		types[i] = i < plan->n_scalars ? sql_type_oid(plan->types[i]) : sql_type_array_oid(plan->types[i]);
	lw_map_put(&c->prepared, (uint64_t)(uintptr_t)plan, (void *)(uintptr_t)plan);
	struct seg *s = seg_new(c, SEG_PREPARE, NULL);
	s->plan = plan;
	return PQsendPrepare(c->c, plan->stmt->name, plan->text, (int)n, types) && PQpipelineSync(c->c);
}

/* The column as the value of an array parameter. */
static void finish_array(const struct sql_params *p, size_t col)
{
	uint8_t *h = p->col[col].p;
	lw_put_be32(h, 1); /* dimensions */
	lw_put_be32(h + 4, p->has_null[col]);
	lw_put_be32(h + 8, sql_type_oid(p->plan->types[col]));
	lw_put_be32(h + 12, (uint32_t)p->rows);
	lw_put_be32(h + 16, 1); /* lower bound */
}

static bool send_item(struct conn *c, const struct sql_item *it)
{
	const struct sql_plan *plan = it->plan;
	const char *values[SQL_MAX_PARAMS];
	int lengths[SQL_MAX_PARAMS];
	int formats[SQL_MAX_PARAMS];
	size_t n = plan->n_scalars + plan->n_batch;
	for (size_t i = 0; i < n; i++) {
		const struct lw_buf *col = &it->params.col[i];
		struct lw_span v = lw_buf_span(col);
		if (i < plan->n_scalars) {
			struct sql_cursor cur = sql_column(&it->params, i);
			values[i] = sql_cursor_next(&cur, &v) ? (const char *)v.p : NULL;
		} else {
			finish_array(&it->params, i);
			values[i] = (const char *)v.p;
		}
		lengths[i] = (int)v.n;
		formats[i] = 1;
	}
	return PQsendQueryPrepared(c->c, plan->stmt->name, (int)n, values, lengths, formats, 1);
}

static bool send_text(struct conn *c, const char *sql)
{
	return PQsendQueryParams(c->c, sql, 0, NULL, NULL, NULL, NULL, 1);
}

static bool send_op(struct conn *c, struct sql_op *op)
{
	bool ok = true;
	for (size_t i = 0; ok && i < op->n; i++)
		if (!sql_item_empty(op->items[i]))
			ok = send_prepare(c, op->items[i]->plan);
	struct seg *s = seg_new(c, op->expects ? SEG_TRY : SEG_OP, op);
	op->round_trips = 1;
	if (op->expects) {
		c->held = true;
		ok = ok && send_text(c, "BEGIN");
	}
	while (s->item < op->n && sql_item_empty(op->items[s->item]))
		s->item++;
	for (size_t i = 0; ok && i < op->n; i++)
		if (!sql_item_empty(op->items[i]))
			ok = send_item(c, op->items[i]);
	return ok && PQpipelineSync(c->c);
}

/* Who writes holds a lock of the session. Its server process may outlive the connection, and us: it waits for a row or
 * the disk, or for the rest of a message from a host that is gone. It is ended, if it may be, and waited for. */
#define WRITER_KEY "hashtext('longwave writer ' || current_setting('search_path')), hashtext($1)"
#define END_OLDER                                                                                                      \
	"SELECT pg_terminate_backend(l.pid) FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid"            \
	" JOIN pg_database AS d ON d.oid = l.database, (SELECT " WRITER_KEY ") AS k (c, o)"                            \
	" WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND d.datname = current_database()"           \
	" AND l.classid::bigint = k.c & 4294967295 AND l.objid::bigint = k.o & 4294967295"                             \
	" AND a.usename = current_user AND l.pid <> pg_backend_pid()"

#define LOCK "SELECT pg_advisory_lock(" WRITER_KEY ")"

/* In two pieces: where nothing can be ended, there still may be the lock. */
static bool send_alone(struct conn *c)
{
	static const struct {
		enum seg_kind kind;
		const char *text;
	} PIECE[] = {{SEG_OLDER, END_OLDER}, {SEG_ALONE, LOCK}};
	bool ok = true;
	c->held = true;
	for (size_t i = 0; ok && i < sizeof(PIECE) / sizeof(PIECE[0]); i++) {
		seg_new(c, PIECE[i].kind, NULL);
		ok = PQsendQueryParams(c->c, PIECE[i].text, 1, (const Oid[]){sql_type_oid('t')}, &c->pg->db->opt.writer,
				       NULL, NULL, 1) &&
		     PQpipelineSync(c->c);
	}
	return ok && conn_flush(c);
}

/* Others that speak PostgreSQL's protocol do not have all of its functions. */
static bool is_not_there(const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	return state && (strncmp(state, "0A", 2) == 0 || strncmp(state, "42", 2) == 0);
}

static void pump_conn(struct conn *c, struct lw_list *queue)
{
	bool sent = false;
	while (c->state == CONN_READY && !c->held && c->n_segs < MAX_SEGMENTS && !lw_list_empty(queue)) {
		struct sql_op *op = LW_CONTAINER_OF(lw_list_pop_front(queue), struct sql_op, node);
		if (!send_op(c, op)) {
			conn_drop(c, LW_EUNAVAILABLE, PQerrorMessage(c->c));
			return;
		}
		sent = true;
	}
	if (sent && !conn_flush(c))
		conn_drop(c, LW_EUNAVAILABLE, PQerrorMessage(c->c));
}

static struct conn *least_busy(struct pg *pg)
{
	struct conn *best = NULL;
	for (size_t i = 0; i < pg->n_readers; i++) {
		struct conn *c = &pg->readers[i];
		if (c->state == CONN_READY && (!best || c->n_segs < best->n_segs))
			best = c;
	}
	return best;
}

static void pump(struct pg *pg)
{
	pump_conn(&pg->writer, &pg->writes);
	while (!lw_list_empty(&pg->reads)) {
		struct conn *c = least_busy(pg);
		if (!c || c->n_segs >= MAX_SEGMENTS)
			return;
		struct lw_list one;
		lw_list_init(&one);
		lw_list_push_back(&one, lw_list_pop_front(&pg->reads));
		pump_conn(c, &one);
	}
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

/* The connection ends with this error: the server says so (FATAL), or libpq has met the end of what there is to read,
 * for which there is no SQLSTATE. It stands in the place of whatever answer was next, also of that to a sync whose
 * transaction is through. */
static bool is_the_end(const PGresult *res)
{
	const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
	return !PQresultErrorField(res, PG_DIAG_SQLSTATE) ||
	       (severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0));
}

/* After this error nobody knows whether the operation took effect. One with expectations was not decided yet. */
static bool is_open(const struct seg *s, const PGresult *res)
{
	return !s->op->query && s->kind != SEG_TRY && is_the_end(res);
}

static void op_error(struct seg *s, const PGresult *res)
{
	struct sql_op *op = s->op;
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *stmt = s->item < op->n ? op->items[s->item]->plan->stmt->name : NULL;
	char line[160];
	first_line(line, sizeof(line), text ? text : PQresultErrorMessage(res));
	s->failed = true;
	sql_op_fail(op, sql_pg_err(state), is_open(s, res), stmt, line);
}

/* One result of a statement of the operation; takes `res`. */
static void op_result(struct seg *s, PGresult *res)
{
	struct sql_op *op = s->op;
	if (s->kind == SEG_TRY && !s->begun) {
		s->begun = true;
		s->failed = PQresultStatus(res) != PGRES_COMMAND_OK;
		if (s->failed)
			op_error(s, res);
		PQclear(res);
		return;
	}
	if (s->item >= op->n || s->failed) {
		PQclear(res);
		return;
	}
	struct sql_item *it = op->items[s->item];
	const char *wrong = read_result(it, res);
	if (wrong) {
		/* It was executed: the caller must not take the transaction for undone. */
		sql_op_fail(op, LW_EINTERNAL, !op->query, it->plan->stmt->name, wrong);
		s->failed = true;
	}
	if (it->result.pg != res)
		PQclear(res);
	do
		s->item++;
	while (s->item < op->n && sql_item_empty(op->items[s->item]));
}

/* All statements of a transaction with expectations were answered: decide. */
static bool end_try(struct conn *c, struct seg *s)
{
	struct sql_op *op = s->op;
	for (size_t i = 0; !s->failed && i < op->n; i++)
		s->failed = !sql_item_check(op, op->items[i]);
	if (s->failed)
		op->outcome.unknown = false;
	op->round_trips++;
	struct seg *end = seg_new(c, SEG_END, op);
	end->failed = s->failed;
	return send_text(c, s->failed ? "ROLLBACK" : "COMMIT") && PQpipelineSync(c->c) && conn_flush(c);
}

static void conn_up(struct conn *c, bool locked)
{
	c->alone = true;
	lw_backoff_reset(&c->backoff);
	if (c->writer)
		sql_set_state(
			c->pg->db, true,
			locked ? "connected"
			       : "connected; it has no locks of sessions: what a killed server left may come late");
}

/* The sync at the end of the first segment came in. False: the connection is broken. */
static bool seg_end(struct conn *c, struct seg *s)
{
	struct sql_op *op = s->op;
	bool ok = true;
	switch (s->kind) {
	case SEG_PREPARE:
		break;
	case SEG_OLDER:
		break;
	case SEG_ALONE:
		c->held = false;
		conn_up(c, !s->failed);
		break;
	case SEG_TRY:
		ok = end_try(c, s);
		break;
	case SEG_END:
		c->held = false;
		sql_finished(c->pg->db, op);
		break;
	case SEG_OP:
		sql_finished(c->pg->db, op);
		break;
	}
	seg_free(c, s);
	return ok;
}

static void seg_error(struct conn *c, struct seg *s, const PGresult *res)
{
	if (s->kind == SEG_OLDER || s->kind == SEG_ALONE) {
		s->failed = true;
		if (!is_not_there(res))
			conn_drop(c, LW_EUNAVAILABLE, PQresultErrorMessage(res));
		return;
	}
	if (s->kind != SEG_PREPARE) {
		op_error(s, res);
		return;
	}
	/* The operations behind it will be told that there is no such statement; this is why. */
	lw_map_remove(&c->prepared, (uint64_t)(uintptr_t)s->plan);
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	/* A server that ends says so to whatever it reads next, a statement to be prepared, too. */
	int err = sql_pg_err(PQresultErrorField(res, PG_DIAG_SQLSTATE));
	char line[160];
	first_line(line, sizeof(line), text ? text : PQresultErrorMessage(res));
	LW_LIST_FOREACH (n, tmp, &c->segs) {
		const struct seg *behind = LW_CONTAINER_OF(n, struct seg, node);
		struct sql_op *op = behind->op;
		for (size_t i = 0; op && i < op->n; i++)
			if (op->items[i]->plan == s->plan)
				sql_op_fail(op, err, is_open(behind, res), s->plan->stmt->name, line);
	}
}

/* Takes `res`. False: the connection is broken. */
static bool on_result(struct conn *c, PGresult *res)
{
	if (lw_list_empty(&c->segs)) {
		PQclear(res);
		return false;
	}
	struct seg *s = LW_CONTAINER_OF(c->segs.next, struct seg, node);
	switch (PQresultStatus(res)) {
	case PGRES_PIPELINE_SYNC:
		PQclear(res);
		return seg_end(c, s);
	case PGRES_TUPLES_OK:
	case PGRES_COMMAND_OK:
		if (s->op && s->kind != SEG_END)
			op_result(s, res);
		else
			PQclear(res);
		return true;
	case PGRES_PIPELINE_ABORTED:
		PQclear(res);
		return true;
	default:
		seg_error(c, s, res);
		PQclear(res);
		return true;
	}
}

static void read_results(struct conn *c)
{
	unsigned nulls = 0;
	/* Two NULLs in a row: nothing more for now, although libpq does not call itself busy. */
	while (c->state == CONN_READY && !lw_list_empty(&c->segs) && nulls < 2 && !PQisBusy(c->c)) {
		PGresult *res = PQgetResult(c->c);
		nulls = res ? 0 : nulls + 1;
		if (res && !on_result(c, res)) {
			conn_drop(c, LW_EUNAVAILABLE, PQerrorMessage(c->c));
			return;
		}
	}
	if (c->state == CONN_READY && PQstatus(c->c) == CONNECTION_BAD)
		conn_drop(c, LW_EUNAVAILABLE, PQerrorMessage(c->c));
}

static void on_ready_fd(struct rt_watch *w, unsigned events, void *arg)
{
	(void)w;
	struct conn *c = arg;
	struct pg *pg = c->pg;
	bool ok = true;
	if (events & (RT_READ | RT_HANGUP)) {
		ok = PQconsumeInput(c->c) != 0;
		/* What came in before the end still counts. */
		read_results(c);
	}
	if (c->state == CONN_READY && (!ok || !conn_flush(c)))
		conn_drop(c, LW_EUNAVAILABLE, PQerrorMessage(c->c));
	pump(pg);
	sql_dispatch(pg->db);
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */

/* A name is looked up on the thread pool, since libpq would do it on ours. */
struct resolve {
	struct conn *conn; /* NULL: nobody wants it any more */
	char *host;
	char addresses[MAX_ADDRESSES][64];
	size_t n;
	int rc;
};

static void resolve_cancel(struct conn *c)
{
	if (c->resolve)
		c->resolve->conn = NULL;
	c->resolve = NULL;
}

static void resolve_work(void *arg)
{
	struct resolve *r = arg;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	r->rc = getaddrinfo(r->host, NULL, &hints, &list);
	for (const struct addrinfo *a = list; a && r->n < MAX_ADDRESSES; a = a->ai_next)
		if (getnameinfo(a->ai_addr, a->ai_addrlen, r->addresses[r->n], sizeof(r->addresses[0]), NULL, 0,
				NI_NUMERICHOST) == 0)
			r->n++;
	if (list)
		freeaddrinfo(list);
}

static void connect_start(struct conn *c, const struct resolve *resolved);

static void resolve_done(void *arg, int status)
{
	struct resolve *r = arg;
	struct conn *c = r->conn;
	if (c) {
		c->resolve = NULL;
		if (status == 0 && r->n > 0)
			connect_start(c, r);
		else
			conn_drop(c, LW_EUNAVAILABLE, r->rc ? gai_strerror(r->rc) : "name not found");
		sql_dispatch(c->pg->db);
	}
	free(r->host);
	free(r);
}

static void on_connect_fd(struct rt_watch *w, unsigned events, void *arg);

static void ignore_notice(void *arg, const PGresult *res)
{
	(void)arg;
	(void)res;
}

static void conn_ready(struct conn *c)
{
	if (PQsetnonblocking(c->c, 1) != 0 || !PQenterPipelineMode(c->c)) {
		conn_drop(c, LW_EUNAVAILABLE, PQerrorMessage(c->c));
		return;
	}
	c->watch = rt_watch_new(c->pg->db->loop, PQsocket(c->c), RT_READ, "sql_pg", on_ready_fd, c);
	if (!c->watch) {
		conn_drop(c, LW_EUNAVAILABLE, "socket cannot be watched");
		return;
	}
	c->state = CONN_READY;
	c->pg->db->stats.connects++;
	if (!c->writer || !c->pg->db->opt.writer)
		conn_up(c, true);
	else if (!send_alone(c))
		conn_drop(c, LW_EUNAVAILABLE, PQerrorMessage(c->c));
	pump(c->pg);
}

/* libpq may open another socket at each step, so the watch lives for one step only. */
static void connect_step(struct conn *c, PostgresPollingStatusType st)
{
	if (st == PGRES_POLLING_OK) {
		conn_ready(c);
		return;
	}
	if (st == PGRES_POLLING_FAILED) {
		conn_drop(c, LW_EUNAVAILABLE, PQerrorMessage(c->c));
		return;
	}
	c->watch = rt_watch_new(c->pg->db->loop, PQsocket(c->c), st == PGRES_POLLING_READING ? RT_READ : RT_WRITE,
				"sql_pg", on_connect_fd, c);
	if (!c->watch)
		conn_drop(c, LW_EUNAVAILABLE, "socket cannot be watched");
}

static void on_connect_fd(struct rt_watch *w, unsigned events, void *arg)
{
	(void)w;
	(void)events;
	struct conn *c = arg;
	struct pg *pg = c->pg;
	rt_watch_free(c->watch);
	c->watch = NULL;
	connect_step(c, PQconnectPoll(c->c));
	sql_dispatch(pg->db);
}

static void connect_start(struct conn *c, const struct resolve *resolved)
{
	struct sql_db *db = c->pg->db;
	struct sql_pg_params params;
	struct lw_arena arena;
	struct lw_diag diag = {""};
	const char *addresses[MAX_ADDRESSES];
	size_t n = 0;
	for (; resolved && n < resolved->n; n++)
		addresses[n] = resolved->addresses[n];
	lw_arena_init(&arena, NULL, 0, 1 << 20);
	c->state = CONN_CONNECTING;
	c->next_ns = lw_mono_ns() + CONNECT_MS * LW_NS_PER_MS;
	if (sql_pg_params(&params, &arena, &db->dsn, db->opt.timeout_ms, addresses, n, &diag) == 0)
		c->c = PQconnectStartParams(params.keys, params.values, 0);
	lw_arena_deinit(&arena);
	if (!c->c || PQstatus(c->c) == CONNECTION_BAD) {
		conn_drop(c, LW_EUNAVAILABLE, c->c ? PQerrorMessage(c->c) : diag.text);
		return;
	}
	PQsetNoticeReceiver(c->c, ignore_notice, NULL);
	connect_step(c, PGRES_POLLING_WRITING);
}

static void conn_connect(struct conn *c)
{
	struct sql_db *db = c->pg->db;
	struct sql_pg_params params;
	struct lw_arena arena;
	lw_arena_init(&arena, NULL, 0, 1 << 20);
	int rc = sql_pg_params(&params, &arena, &db->dsn, db->opt.timeout_ms, NULL, 0, NULL);
	if (rc == 0 && params.host) {
		struct resolve *r = lw_xcalloc(1, sizeof(*r));
		r->conn = c;
		r->host = lw_xstrdup(params.host);
		c->resolve = r;
		c->state = CONN_RESOLVING;
		c->next_ns = lw_mono_ns() + CONNECT_MS * LW_NS_PER_MS;
		rt_loop_work(db->loop, resolve_work, resolve_done, r);
	} else {
		connect_start(c, NULL);
	}
	lw_arena_deinit(&arena);
}

/* ---- parameters of a connection ---------------------------------------------------------------------------------- */

static void add_param(struct sql_pg_params *out, size_t *n, const char *key, const char *value)
{
	if (*n + 1 < sizeof(out->keys) / sizeof(out->keys[0])) {
		out->keys[*n] = key;
		out->values[*n] = value;
		out->keys[++*n] = NULL;
		out->values[*n] = NULL;
	}
}

/* "x,x,x" of `n` times the same, or the list itself. */
static const char *join(struct lw_arena *a, const char *const *v, size_t n, bool repeat)
{
	const char *out = v[0];
	for (size_t i = 1; out && i < n; i++)
		out = lw_arena_printf(a, "%s,%s", out, repeat ? v[0] : v[i]);
	return out;
}

int sql_pg_params(struct sql_pg_params *out, struct lw_arena *a, const struct sql_dsn *dsn, uint32_t timeout_ms,
		  const char *const *addresses, size_t n_addresses, struct lw_diag *diag)
{
	char *error = NULL;
	int loaded = lw_pq_load(diag);
	if (loaded < 0)
		return loaded;
	PQconninfoOption *list = PQconninfoParse(dsn->uri, &error);
	if (!list) {
		char line[160];
		first_line(line, sizeof(line), error ? error : "not understood");
		lw_diag_set(diag, "database DSN: %s", line);
		PQfreemem(error);
		return LW_EINVAL;
	}
	size_t n = 0;
	const char *options = "";
	const char *host = NULL;
	bool hostaddr = false;
	memset(out, 0, sizeof(*out));
	for (const PQconninfoOption *o = list; o->keyword; o++) {
		if (!o->val || !*o->val)
			continue;
		const char *value = lw_arena_strdup(a, o->val);
		if (strcmp(o->keyword, "options") == 0)
			options = value;
		else if (strcmp(o->keyword, "host") == 0)
			host = value;
		else
			add_param(out, &n, lw_arena_strdup(a, o->keyword), value);
		hostaddr = hostaddr || strcmp(o->keyword, "hostaddr") == 0;
	}
	PQconninfoFree(list);
	if (host && n_addresses) {
		const char *const hosts[] = {host};
		add_param(out, &n, "host", join(a, hosts, n_addresses, true));
		add_param(out, &n, "hostaddr", join(a, addresses, n_addresses, false));
	} else if (host) {
		add_param(out, &n, "host", host);
	}
	/* A list of hosts and a folder with a socket are left to libpq. */
	if (host && !hostaddr && *host != '/' && *host != '@' && !strchr(host, ','))
		out->host = host;
	const char *path = dsn->schema[0] ? lw_arena_printf(a, " -c search_path=%s", dsn->schema) : "";
	add_param(out, &n, "options",
		  lw_arena_printf(a, "%s -c statement_timeout=%u%s", options, (unsigned)timeout_ms, path));
	add_param(out, &n, "client_encoding", "UTF8");
	add_param(out, &n, "fallback_application_name", "longwave");
	return 0;
}

/* ---- engine ------------------------------------------------------------------------------------------------------ */

static void conn_init(struct conn *c, struct pg *pg, bool writer)
{
	c->pg = pg;
	c->writer = writer;
	lw_list_init(&c->segs);
	lw_map_init(&c->prepared);
	lw_backoff_init(&c->backoff, 100, 5000);
}

static int pg_open(struct sql_db *db, struct lw_diag *diag)
{
	struct sql_pg_params params;
	struct lw_arena arena;
	lw_arena_init(&arena, NULL, 0, 1 << 20);
	int rc = sql_pg_params(&params, &arena, &db->dsn, db->opt.timeout_ms, NULL, 0, diag);
	lw_arena_deinit(&arena);
	if (rc)
		return rc;
	struct pg *pg = lw_xcalloc(1, sizeof(*pg));
	pg->db = db;
	pg->n_readers = db->opt.readers;
	pg->readers = lw_xcalloc(pg->n_readers, sizeof(*pg->readers));
	lw_rng_init_system(&pg->rng);
	lw_list_init(&pg->writes);
	lw_list_init(&pg->reads);
	db->impl = pg;
	conn_init(&pg->writer, pg, true);
	conn_connect(&pg->writer);
	for (size_t i = 0; i < pg->n_readers; i++) {
		conn_init(&pg->readers[i], pg, false);
		conn_connect(&pg->readers[i]);
	}
	return 0;
}

static void pg_submit(struct sql_db *db, struct sql_op *op)
{
	struct pg *pg = db->impl;
	lw_list_push_back(op->query ? &pg->reads : &pg->writes, &op->node);
	pump(pg);
}

static void conn_tick(struct conn *c, int64_t now_ns)
{
	const struct sql_options *opt = &c->pg->db->opt;
	if (c->state == CONN_AWAY && now_ns >= c->next_ns) {
		conn_connect(c);
	} else if ((c->state == CONN_RESOLVING || c->state == CONN_CONNECTING) && now_ns >= c->next_ns) {
		conn_drop(c, LW_EUNAVAILABLE, "connecting takes too long");
	} else if (!lw_list_empty(&c->segs)) {
		/* The server's own limit comes first; this is for a server that does not answer at all. */
		const struct seg *s = LW_CONTAINER_OF(c->segs.next, struct seg, node);
		if (now_ns - s->sent_ns > ((int64_t)opt->timeout_ms + 1000) * LW_NS_PER_MS)
			conn_drop(c, LW_ETIMEDOUT, "no answer");
	}
}

/* Gives up what has waited too long in a queue. */
static void queue_tick(struct pg *pg, struct lw_list *queue, const struct conn *c, int64_t now_ns)
{
	const struct sql_options *opt = &pg->db->opt;
	bool away = !c || c->state != CONN_READY || !c->alone;
	uint32_t limit_ms = away ? opt->wait_ms : opt->timeout_ms;
	LW_LIST_FOREACH (n, tmp, queue) {
		struct sql_op *op = LW_CONTAINER_OF(n, struct sql_op, node);
		if (now_ns - op->queued_ns < limit_ms * LW_NS_PER_MS)
			continue;
		const struct conn *why = c ? c : &pg->readers[0];
		sql_op_fail(op, away ? LW_EUNAVAILABLE : LW_ETIMEDOUT, false, NULL,
			    away ? why->error : "waited too long for its turn");
		sql_finished(pg->db, op);
	}
}

static void pg_tick(struct sql_db *db, int64_t now_ns)
{
	struct pg *pg = db->impl;
	conn_tick(&pg->writer, now_ns);
	for (size_t i = 0; i < pg->n_readers; i++)
		conn_tick(&pg->readers[i], now_ns);
	pump(pg);
	queue_tick(pg, &pg->writes, &pg->writer, now_ns);
	queue_tick(pg, &pg->reads, least_busy(pg), now_ns);
}

static void conn_close(struct conn *c)
{
	conn_drop(c, LW_ECANCELLED, "closed");
	lw_map_deinit(&c->prepared);
}

static void queue_close(struct sql_db *db, struct lw_list *queue)
{
	LW_LIST_FOREACH (n, tmp, queue) {
		struct sql_op *op = LW_CONTAINER_OF(n, struct sql_op, node);
		sql_op_fail(op, LW_ECANCELLED, false, NULL, NULL);
		sql_finished(db, op);
	}
}

static void pg_close(struct sql_db *db)
{
	struct pg *pg = db->impl;
	conn_close(&pg->writer);
	for (size_t i = 0; i < pg->n_readers; i++)
		conn_close(&pg->readers[i]);
	queue_close(db, &pg->writes);
	queue_close(db, &pg->reads);
	free(pg->readers);
	free(pg);
	db->impl = NULL;
}

const struct sql_engine sql_engine_pg = {
	.open = pg_open,
	.submit = pg_submit,
	.tick = pg_tick,
	.close = pg_close,
};
