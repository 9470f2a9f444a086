/* What the files of the sql adapter share. Included by common/io/sql*.c only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/io/sql.h"

struct rt_loop;
struct uv_async_s;
struct uv_timer_s;

#define SQL_COL_MAX ((size_t)256 << 20) /* bytes of one parameter column */
#define SQL_RESULT_MAX ((size_t)1 << 30)
/* PostgreSQL's timestamps count from 2000-01-01. */
#define SQL_PG_EPOCH_US INT64_C(946684800000000)

/* ---- DSN -------------------------------------------------------------------------------------------------------- */

struct sql_dsn {
	bool sqlite;
	bool sync_full;
	char *path;      /* SQLite: file */
	char *uri;       /* PostgreSQL: without our own parameters */
	char schema[64]; /* PostgreSQL: "" or a plain lower-case identifier */
};
int sql_dsn_parse(struct sql_dsn *d, const char *text, struct lw_diag *diag);
void sql_dsn_deinit(struct sql_dsn *d);

/* ---- statements ------------------------------------------------------------------------------------------------- */

/* A statement, compiled for an engine: tokens replaced, types known. Immutable, so that threads may share it. */
struct sql_plan {
	const struct sql_stmt *stmt;
	size_t index; /* from 0 within the database, for caches of prepared statements */
	char *text;
	/* SQLite: the same for a single row of the batch, for less; NULL: there is none, or it does not compile. */
	char *row_text;
	bool row_counts; /* row_text returns nothing: the changed rows are counted, b.n is the result */
	size_t n_scalars;
	size_t n_batch;
	bool batch;
	char types[SQL_MAX_PARAMS]; /* scalars, then batch columns */
	size_t n_cols;
	const char *cols;
};
/* Aborts on a malformed declaration (a bug of ours). */
struct sql_plan *sql_plan_new(const struct sql_stmt *stmt, bool sqlite, size_t index);
void sql_plan_free(struct sql_plan *p);
/* OIDs of the PostgreSQL type and of its array; 0 for an unknown letter. */
uint32_t sql_type_oid(char type);
uint32_t sql_type_array_oid(char type);

/* ---- values ----------------------------------------------------------------------------------------------------- */

/* Each parameter column is kept in PostgreSQL's binary form: elements of a big-endian length (-1: null) and content. A
 * batch column starts with SQL_ARRAY_HEADER bytes that are filled in when it is sent. */
#define SQL_ARRAY_HEADER 20

struct sql_params {
	const struct sql_plan *plan;
	size_t next; /* column that the next value belongs to */
	size_t rows; /* complete rows of the batch */
	int err;
	bool has_null[SQL_MAX_PARAMS];
	struct lw_buf *col; /* one per parameter */
};

/* Walks the elements of a column. */
struct sql_cursor {
	const uint8_t *p;
	const uint8_t *end;
};
struct sql_cursor sql_column(const struct sql_params *p, size_t col);
/* Next element: false when it is null. */
bool sql_cursor_next(struct sql_cursor *c, struct lw_span *value);

struct sql_cell {
	const uint8_t *p; /* t, j, y, u: content, terminated for t and j */
	size_t n;
	union {
		int64_t i; /* b, i, l, s */
		double d;
	} v;
	bool null;
};

struct sql_result {
	const struct sql_plan *plan;
	struct sql_cell *cells;
	size_t rows;
	size_t cap; /* rows that fit */
	uint64_t affected;
	struct lw_arena arena; /* SQLite: contents */
	void *pg;              /* PostgreSQL: the PGresult that cells point into */
};
/* Room for one more row, all null; borrowed. */
struct sql_cell *sql_result_add_row(struct sql_result *r);

/* ---- operations ------------------------------------------------------------------------------------------------- */

struct sql_item {
	const struct sql_plan *plan;
	struct sql_params params;
	struct sql_result result;
	sql_result_fn *fn;
	void *arg;
	bool expect;
	uint64_t expect_min;
	uint64_t expect_max;
	int expect_err;
};

/* A transaction or a query, from its creation until its callback. Owned by one place at a time: the caller, an engine's
 * queue or thread, or the list of finished ones. */
struct sql_op {
	struct lw_list node;
	struct sql_db *db;
	bool query;
	bool expects; /* some item has an expectation */
	size_t n;
	size_t cap;
	struct sql_item **items;
	sql_done_fn *done;
	sql_query_fn *query_fn;
	void *arg;
	int64_t queued_ns; /* monotonic */
	uint64_t round_trips;
	struct sql_outcome outcome;
};

static inline bool sql_item_empty(const struct sql_item *it)
{
	return it->plan->batch && it->params.rows == 0;
}
/* Checks the expectation after the item has its result; on failure sets the outcome. */
bool sql_item_check(struct sql_op *op, const struct sql_item *it);
/* Sets the outcome of a failed operation; `stmt` and `text` may be NULL. */
void sql_op_fail(struct sql_op *op, int err, bool unknown, const char *stmt, const char *text);

/* ---- engines ---------------------------------------------------------------------------------------------------- */

struct sql_engine {
	int (*open)(struct sql_db *db, struct lw_diag *diag);
	/* Takes the operation; it comes back through sql_finished(). */
	void (*submit)(struct sql_db *db, struct sql_op *op);
	/* Called every 100 ms: deadlines, attempts to connect. */
	void (*tick)(struct sql_db *db, int64_t now_ns);
	/* On the loop's thread after sql_wake(). */
	void (*woken)(struct sql_db *db);
	/* Gives back every operation, closes and frees what it has. */
	void (*close)(struct sql_db *db);
};
extern const struct sql_engine sql_engine_pg;
extern const struct sql_engine sql_engine_sqlite;

struct sql_db {
	struct rt_loop *loop;
	struct sql_dsn dsn;
	char *dsn_text;
	struct sql_options opt; /* defaults filled in */
	const struct sql_engine *engine;
	void *impl;
	struct lw_map plans; /* statement's address → plan */
	size_t n_plans;
	struct sql_stats stats;
	bool up;
	bool state_pending; /* on_state is due */
	char state_text[160];
	struct lw_list finished;
	bool dispatching;
	bool closing;
	struct uv_async_s *wake;
	struct uv_timer_s *ticker;
	int handles;               /* of the two above that are not yet closed */
	struct lw_list migrations; /* jobs of sql_migrate.c */
};

/* Loop's thread: hands the operation to the list of finished ones; its callback runs at the next dispatch. */
void sql_finished(struct sql_db *db, struct sql_op *op);
/* Runs callbacks now; for the end of an engine's own event handlers. */
void sql_dispatch(struct sql_db *db);
void sql_set_state(struct sql_db *db, bool up, const char *text);
/* The only one for other threads. */
void sql_wake(struct sql_db *db);
/* Ends all jobs of sql_migrate.c for a database that is being freed. */
void sql_migrate_cancel(struct sql_db *db);

/* Keyword and value lists for libpq, terminated by NULL; `addresses` (may be NULL) is put as hostaddr with host
 * repeated as often. Memory in the arena. LW_EINVAL. */
struct sql_pg_params {
	const char *keys[64];
	const char *values[64];
	const char *host; /* what would have to be resolved, or NULL */
};
int sql_pg_params(struct sql_pg_params *out, struct lw_arena *a, const struct sql_dsn *dsn, uint32_t timeout_ms,
		  const char *const *addresses, size_t n_addresses, struct lw_diag *diag);
/* Frees a PGresult. */
void sql_pg_result_free(void *pg);
/* LW_E… of a SQLSTATE (five characters, or NULL: connection). */
int sql_pg_err(const char *sqlstate);
/* LW_E… of an SQLite result code. */
int sql_sqlite_err(int extended);
