/* PostgreSQL or SQLite behind one interface, asynchronous on the loop; chosen by the DSN:
 *
 *   sqlite:///var/lib/longwave/ns.db      sqlite://relative.db      (?sync=normal: without waiting for the disk)
 *   postgres://user:pass@host:port/db?schema=ns                     (also postgresql://; the rest as libpq takes it)
 *
 * There is one text per statement for both engines (sql/README.md has the rules). Nothing here blocks the loop:
 * PostgreSQL is spoken in pipeline mode, SQLite runs in threads of its own. All functions are called on the loop's
 * thread, all callbacks run there, never from inside the call that caused them.
 *
 * Writes are transactions: a list of statements that is sent as a whole, without a round trip between them. Decisions
 * therefore belong into the SQL (ON CONFLICT, WHERE version = …, RETURNING) or into sql_tx_expect(). A statement may be
 * a batch: it carries many rows and costs one execution on PostgreSQL (array parameters) and a prepared loop on SQLite.
 *
 * This module never retries a transaction and never logs parameter values. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/ids.h"

struct rt_loop;
struct rt_metrics;
struct sql_db;
struct sql_tx;
struct sql_params;
struct sql_result;

/* A statement, declared once as static const; its address is its identity.
 *
 * Types: b bool · i int32 · l int64 · d double · t text · y bytes · u UUID · s timestamp (int64 µs since 1970 UTC) ·
 *        j JSON text. PostgreSQL types: boolean, integer, bigint, double precision, text, bytea, uuid, timestamptz,
 * jsonb.
 *
 * `text` uses $1, $2 … for `params`. When `batch` is set, {batch} in a FROM clause is the table of the batch's rows,
 * alias b, with the named columns and b.n, the row's number from 0:
 *
 *   .text  = "INSERT INTO outbox (origin, seq, body) SELECT origin, seq, body FROM {batch} WHERE true"
 *            " ON CONFLICT (origin, seq) DO NOTHING",
 *   .batch = "origin:t seq:l body:y",
 *
 *   .text  = "UPDATE session SET version = session.version + 1, state = b.state FROM {batch}"
 *            " WHERE session.dev_eui = b.dev_eui AND session.version = b.version RETURNING {b.n}",
 *   .batch = "dev_eui:y version:l state:y", .cols = "l",
 *
 * {b.x} in braces is a column of the batch where SQLite would not accept b.x: in RETURNING of UPDATE (an INSERT can
 * return only its own columns). UPDATE takes no alias: qualify by the table's name, also in RETURNING. Rows of one
 * batch must not touch the same table row twice. */
struct sql_stmt {
	const char *name;   /* unique within the database; at most 60 characters; metric label and prepared statement */
	const char *text;   /* one statement, no semicolon */
	const char *params; /* types of $1…; NULL or "": none */
	const char *batch;  /* "name:type name:type …"; NULL: not a batch */
	const char *cols;   /* types of the result's columns; NULL or "": no result wanted */
};

#define SQL_MAX_PARAMS 48 /* scalars and batch columns together */
#define SQL_MAX_COLS 64

struct sql_options {
	const char *dsn;
	uint32_t readers;     /* PostgreSQL connections for sql_query(); 0: 2. SQLite has one reader */
	uint32_t wait_ms;     /* how long a call waits for a database that is away; 0: 2000 */
	uint32_t timeout_ms;  /* answer of the database to what was sent; then the connection is given up; 0: 30000 */
	uint32_t max_pending; /* transactions and queries waiting or under way; more fail with LW_EFULL; 0: 10000 */
	/* PostgreSQL: the name of the only one who writes here under it, or NULL. A connection that writes then ends
	 * the one before it, also of a process that is gone, and waits until what that had under way is decided: no
	 * transaction comes later than one that was sent after it. Copied. */
	const char *writer;
	struct rt_metrics *metrics; /* gets sql_… counters; outlives the database. NULL: none */
	/* Called when the database becomes reachable or is lost (with the reason). May be NULL. */
	void (*on_state)(void *arg, bool up, const char *detail);
	void *arg;
};

/* Checks the DSN and starts to connect; an unreachable PostgreSQL is no error here, it is retried with back-off for
 * ever. SQLite: the file is opened and created now. Strings are copied. LW_EINVAL (DSN), LW_EIO (file). */
int sql_open(struct sql_db **out, struct rt_loop *loop, const struct sql_options *options, struct lw_diag *diag);
/* Pending calls are answered with LW_ECANCELLED before this returns (a transaction under way has an unknown outcome;
 * with SQLite what is queued is still executed). The memory is released once the loop has run the close callbacks. NULL
 * is allowed. Not from inside a callback of this database. */
void sql_free(struct sql_db *db);

bool sql_is_up(const struct sql_db *db);
bool sql_is_sqlite(const struct sql_db *db);

struct sql_stats {
	uint64_t transactions; /* committed */
	uint64_t queries;
	uint64_t statements;  /* executions of a statement; a batch is one */
	uint64_t rows;        /* rows sent as parameters */
	uint64_t result_rows; /* rows received */
	uint64_t round_trips; /* groups that were waited for: syncs of a pipeline, SQLite commits and reads */
	uint64_t errors;      /* failed transactions and queries */
	uint64_t connects;
	size_t pending; /* now */
};
void sql_get_stats(const struct sql_db *db, struct sql_stats *out);

/* ---- parameters ------------------------------------------------------------------------------------------------- */

/* Values are appended in order: the scalars, then for a batch row after row. A value of the wrong type is a bug and
 * aborts. Bytes are copied. Too much data (256 MiB per column) makes the transaction fail with LW_EBIG. */
void sql_put_null(struct sql_params *p);
void sql_put_bool(struct sql_params *p, bool v);
void sql_put_i32(struct sql_params *p, int32_t v);
void sql_put_i64(struct sql_params *p, int64_t v);
void sql_put_f64(struct sql_params *p, double v);
void sql_put_text(struct sql_params *p, const char *v); /* also JSON; NULL is SQL's null */
void sql_put_text_n(struct sql_params *p, struct lw_span v);
void sql_put_bytes(struct sql_params *p, struct lw_span v);
void sql_put_uuid(struct sql_params *p, struct lw_uuid v);
void sql_put_time_us(struct sql_params *p, int64_t unix_us);

/* ---- results ---------------------------------------------------------------------------------------------------- */

size_t sql_rows(const struct sql_result *r);
/* Rows changed by INSERT, UPDATE, DELETE; rows returned by SELECT. */
uint64_t sql_affected(const struct sql_result *r);
bool sql_is_null(const struct sql_result *r, size_t row, size_t col);
/* The declared type decides which one may be called (i32 columns also by sql_i64, t and j by sql_text and sql_span, y
 * and u by sql_span). Null reads as 0, "" or an empty span. Borrowed until the callback returns; text is terminated. */
bool sql_bool(const struct sql_result *r, size_t row, size_t col);
int32_t sql_i32(const struct sql_result *r, size_t row, size_t col);
int64_t sql_i64(const struct sql_result *r, size_t row, size_t col);
double sql_f64(const struct sql_result *r, size_t row, size_t col);
const char *sql_text(const struct sql_result *r, size_t row, size_t col);
struct lw_span sql_span(const struct sql_result *r, size_t row, size_t col);
struct lw_uuid sql_uuid(const struct sql_result *r, size_t row, size_t col);
int64_t sql_time_us(const struct sql_result *r, size_t row, size_t col);

/* How a transaction or query ended.
 * LW_EEXISTS unique key · LW_ENOTFOUND foreign key · LW_EINVAL other constraint or value the engine refuses ·
 * LW_ECONFLICT serialization failure, deadlock, or an expectation not met · LW_EUNAVAILABLE database away ·
 * LW_ETIMEDOUT · LW_EBIG · LW_EFULL too many pending (or the disk is full) · LW_ECANCELLED sql_free() ·
 * LW_EINTERNAL the statement itself is wrong. */
struct sql_outcome {
	int err; /* 0: done, and for a transaction: committed */
	/* With err: whether the transaction took effect is not known (connection lost or given up after sending). */
	bool unknown;
	const char *stmt; /* name of the statement that failed, or NULL */
	struct lw_diag diag;
};

typedef void sql_result_fn(void *arg, const struct sql_result *r);
typedef void sql_done_fn(void *arg, const struct sql_outcome *outcome);

/* ---- reads ------------------------------------------------------------------------------------------------------ */

struct sql_query;
/* A query outside of any transaction; batch statements are allowed (a join with {batch} reads many keys at once). Fill
 * sql_query_params(), then send. It sees everything that was committed before it was sent. */
struct sql_query *sql_query_new(struct sql_db *db, const struct sql_stmt *stmt);
struct sql_params *sql_query_params(struct sql_query *q);
/* Takes the query. `fn` is called exactly once; `r` is NULL when outcome->err is not 0. */
typedef void sql_query_fn(void *arg, const struct sql_outcome *outcome, const struct sql_result *r);
void sql_query_send(struct sql_query *q, sql_query_fn *fn, void *arg);
void sql_query_discard(struct sql_query *q);

/* ---- transactions ----------------------------------------------------------------------------------------------- */

struct sql_tx *sql_tx_new(struct sql_db *db);
/* Appends a statement; the answer takes its values and is valid until the next sql_tx_… call with this tx. A batch
 * without rows is not executed and gives an empty result. `result` (may be NULL) is called after the commit only, in
 * the order of the statements, before `done`. */
struct sql_params *sql_tx_add(struct sql_tx *tx, const struct sql_stmt *stmt, sql_result_fn *result, void *arg);
/* The statement added last must affect at least `min` and at most `max` rows, otherwise everything is rolled back and
 * the transaction ends with `err` (negative; LW_ENOTFOUND, LW_ECONFLICT …). Costs PostgreSQL one more round trip for
 * the transaction, in which nothing else is written: for API calls, not for the radio path. */
void sql_tx_expect(struct sql_tx *tx, uint64_t min, uint64_t max, int err);
/* Takes the transaction. Transactions of one database are executed in the order of these calls. On SQLite those that
 * wait together share one fsync, each still succeeds or fails on its own. A transaction without statements succeeds.
 * `done` may be NULL. */
void sql_tx_commit(struct sql_tx *tx, sql_done_fn *done, void *arg);
void sql_tx_discard(struct sql_tx *tx);
