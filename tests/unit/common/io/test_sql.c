/* The SQL adapter on both engines: each test runs on a SQLite file and on a PostgreSQL cluster of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/io/sql.h"
#include "common/io/sql_migrate.h"
#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"
#include "tests/fixtures/servers.h"

#define WAIT_MS 60000

struct ctx {
	bool pg;
	char dsn[256];
	struct rt_loop *loop;
	struct sql_db *db;
	struct rt_metrics *metrics;
	int states; /* calls of on_state */
	bool up;
	char detail[160];
};

static struct {
	struct fix_server pg;
	char dir[32];
	int schemas;
} fix;

static const struct sql_migration_set SET = {
	.v =
		(const struct sql_migration[]){
			{1, "item",
			 "CREATE TABLE parent (id BIGINT PRIMARY KEY);\n"
			 "CREATE TABLE item (key {bytea} PRIMARY KEY, version BIGINT NOT NULL, name TEXT, flag "
			 "BOOLEAN, "
			 "small INTEGER, ratio DOUBLE PRECISION, at {timestamp}, uid {uuid}, doc {json}, "
			 "parent BIGINT REFERENCES parent (id), CHECK (version >= 0));\n"
			 "CREATE INDEX ON item USING hash (name); -- only:postgres\n"
			 "CREATE INDEX item_name ON item (name); -- only:sqlite\n"},
			{2, "log", "CREATE TABLE log (id {id}, body TEXT NOT NULL);"},
		},
	.n = 2,
};

static void on_state(void *arg, bool up, const char *detail)
{
	struct ctx *c = arg;
	assert_non_null(detail);
	c->states++;
	c->up = up;
	snprintf(c->detail, sizeof(c->detail), "%s", detail);
}

static void ctx_open_with(struct ctx *c, const struct sql_options *base)
{
	struct sql_options opt = *base;
	struct lw_diag diag = {""};
	opt.dsn = c->dsn;
	opt.on_state = on_state;
	opt.arg = c;
	if (!c->metrics)
		c->metrics = rt_metrics_new("test_");
	opt.metrics = c->metrics;
	c->loop = rt_loop_new();
	if (sql_open(&c->db, c->loop, &opt, &diag) != 0)
		fail_msg("%s", diag.text);
}

static int setup_dsn(struct ctx *c, bool pg)
{
	memset(c, 0, sizeof(*c));
	c->pg = pg;
	fix.schemas++;
	if (pg)
		snprintf(c->dsn, sizeof(c->dsn), "%s?schema=t%d", fix.pg.url, fix.schemas);
	else
		snprintf(c->dsn, sizeof(c->dsn), "sqlite://%s/t%d.db", fix.dir, fix.schemas);
	return 0;
}

static int setup(void **state, bool pg)
{
	struct ctx *c = lw_xcalloc(1, sizeof(*c));
	struct lw_diag diag = {""};
	size_t applied = 0;
	setup_dsn(c, pg);
	if (sql_migrate_now(c->dsn, &SET, &applied, &diag) != 0)
		fail_msg("%s", diag.text);
	assert_int_equal(applied, 2);
	ctx_open_with(c, &(struct sql_options){0});
	*state = c;
	return 0;
}

static int setup_lite(void **state)
{
	return setup(state, false);
}

static int setup_pg(void **state)
{
	return setup(state, true);
}

static const char *metrics_of(struct ctx *c, struct lw_buf *text)
{
	lw_buf_init(text, 1 << 20);
	rt_metrics_print(c->metrics, text);
	assert_int_equal(lw_buf_append(text, "", 1), 0);
	return (const char *)text->p;
}

static int teardown(void **state)
{
	struct ctx *c = *state;
	struct lw_buf text;
	sql_free(c->db);
	/* What was freed is not asked any more. */
	assert_null(strstr(metrics_of(c, &text), "sql_"));
	lw_buf_deinit(&text);
	rt_metrics_free(c->metrics);
	rt_loop_turn(c->loop);
	rt_loop_free(c->loop);
	free(c);
	return 0;
}

/* ---- waiting for answers -------------------------------------------------------------------------------------------
 */

struct answer {
	bool done;
	struct sql_outcome outcome;
	size_t rows;
	size_t results; /* number of result callbacks */
	uint64_t affected;
	int64_t i64[1100];
	char text[64];
};

static void on_done(void *arg, const struct sql_outcome *o)
{
	struct answer *a = arg;
	assert_false(a->done);
	a->done = true;
	a->outcome = *o;
}

static void on_result(void *arg, const struct sql_result *r)
{
	struct answer *a = arg;
	assert_false(a->done);
	a->results++;
	a->rows = sql_rows(r);
	a->affected = sql_affected(r);
	for (size_t i = 0; i < a->rows && i < 1100; i++)
		a->i64[i] = sql_i64(r, i, 0);
}

static void on_query(void *arg, const struct sql_outcome *o, const struct sql_result *r)
{
	struct answer *a = arg;
	assert_true((r == NULL) == (o->err != 0));
	if (r)
		on_result(a, r);
	on_done(a, o);
}

static void await(struct ctx *c, struct answer *a)
{
	if (!rt_loop_run_until(c->loop, &a->done, WAIT_MS))
		fail_msg("no answer");
}

static int commit(struct ctx *c, struct sql_tx *tx, struct answer *a)
{
	sql_tx_commit(tx, on_done, a);
	assert_false(a->done); /* never from inside the call */
	await(c, a);
	return a->outcome.err;
}

/* ---- statements ----------------------------------------------------------------------------------------------------
 */

static const struct sql_stmt INSERT = {
	.name = "item_insert",
	.text = "INSERT INTO item (key, version, name) SELECT key, version, name FROM {batch} WHERE true"
		" ON CONFLICT (key) DO NOTHING",
	.batch = "key:y version:l name:t",
};
static const struct sql_stmt INSERT_STRICT = {
	.name = "item_insert_strict",
	.text = "INSERT INTO item (key, version, parent) VALUES ($1, $2, $3)",
	.params = "yll",
};
static const struct sql_stmt CAS = {
	.name = "item_cas",
	.text = "UPDATE item SET version = item.version + 1, name = b.name FROM {batch}"
		" WHERE item.key = b.key AND item.version = b.version RETURNING {b.n}, item.version",
	.batch = "key:y version:l name:t",
	.cols = "ll",
};
static const struct sql_stmt COUNT = {.name = "item_count", .text = "SELECT count(*) FROM item", .cols = "l"};
static const struct sql_stmt FIND_MANY = {
	.name = "item_find_many",
	.text = "SELECT b.n, item.version FROM {batch} LEFT JOIN item ON item.key = b.key WHERE $1 ORDER BY b.n",
	.params = "b",
	.batch = "key:y",
	.cols = "ll",
};
static const struct sql_stmt DELETE_MANY = {
	.name = "item_delete_many",
	.text = "DELETE FROM item WHERE key IN (SELECT key FROM {batch})",
	.batch = "key:y",
};
static const struct sql_stmt INSERT_PARENT = {
	.name = "parent_insert",
	.text = "INSERT INTO parent (id) VALUES ($1)",
	.params = "l",
};
static const struct sql_stmt BROKEN = {.name = "broken", .text = "SELECT no_such_column FROM item", .cols = "l"};
static const struct sql_stmt WRONG_COLS = {.name = "wrong_cols", .text = "SELECT count(*), 1 FROM item", .cols = "l"};
static const struct sql_stmt LOG = {
	.name = "log_insert",
	.text = "INSERT INTO log (body) SELECT body FROM {batch} WHERE true RETURNING id",
	.batch = "body:t",
	.cols = "l",
};

static struct lw_span key_of(uint32_t i, uint8_t b[8])
{
	lw_put_be64(b, i);
	return lw_span(b, 8);
}

static void put_item(struct sql_params *p, uint32_t key, int64_t version, const char *name)
{
	uint8_t b[8];
	sql_put_bytes(p, key_of(key, b));
	sql_put_i64(p, version);
	sql_put_text(p, name);
}

static int64_t count_items(struct ctx *c)
{
	struct answer a = {0};
	sql_query_send(sql_query_new(c->db, &COUNT), on_query, &a);
	await(c, &a);
	assert_int_equal(a.outcome.err, 0);
	return a.i64[0];
}

static void insert_items(struct ctx *c, uint32_t first, uint32_t n)
{
	struct answer a = {0};
	struct sql_tx *tx = sql_tx_new(c->db);
	struct sql_params *p = sql_tx_add(tx, &INSERT, NULL, NULL);
	for (uint32_t i = 0; i < n; i++)
		put_item(p, first + i, 1, "name");
	assert_int_equal(commit(c, tx, &a), 0);
}

/* ---- tests
 * ----------------------------------------------------------------------------------------------------------- */

static void test_batch_sizes(void **state)
{
	struct ctx *c = *state;
	insert_items(c, 0, 1);
	assert_int_equal(count_items(c), 1);
	insert_items(c, 0, 1000);
	assert_int_equal(count_items(c), 1000);
	insert_items(c, 5000, 0);
	assert_int_equal(count_items(c), 1000);
	struct answer a = {0};
	struct sql_tx *tx = sql_tx_new(c->db);
	uint8_t b[8];
	struct sql_params *p = sql_tx_add(tx, &DELETE_MANY, on_result, &a);
	for (uint32_t i = 0; i < 2000; i += 2)
		sql_put_bytes(p, key_of(i, b));
	assert_int_equal(commit(c, tx, &a), 0);
	assert_int_equal(a.affected, 500);
	assert_int_equal(count_items(c), 500);
}

/* Compare-and-set: the rows that still had the version are named by their number. */
static void test_cas(void **state)
{
	struct ctx *c = *state;
	insert_items(c, 0, 100);
	for (int round = 0; round < 2; round++) {
		struct answer a = {0};
		struct sql_tx *tx = sql_tx_new(c->db);
		struct sql_params *p = sql_tx_add(tx, &CAS, on_result, &a);
		for (uint32_t i = 0; i < 100; i++)
			put_item(p, i, i % 10 == 3 ? 77 : 1, "new");
		assert_int_equal(commit(c, tx, &a), 0);
		assert_int_equal(a.rows, round ? 0 : 90);
		bool seen[100] = {false};
		for (size_t i = 0; i < a.rows; i++) {
			assert_in_range(a.i64[i], 0, 99);
			assert_false(seen[a.i64[i]]);
			assert_true(a.i64[i] % 10 != 3);
			seen[a.i64[i]] = true;
		}
	}
}

static void test_read_many(void **state)
{
	struct ctx *c = *state;
	insert_items(c, 0, 3);
	struct answer a = {0};
	struct sql_query *q = sql_query_new(c->db, &FIND_MANY);
	struct sql_params *p = sql_query_params(q);
	uint8_t b[8];
	sql_put_bool(p, true);
	for (uint32_t i = 0; i < 6; i++)
		sql_put_bytes(p, key_of(i, b));
	sql_query_send(q, on_query, &a);
	await(c, &a);
	assert_int_equal(a.outcome.err, 0);
	assert_int_equal(a.rows, 6);
	for (size_t i = 0; i < 6; i++)
		assert_int_equal(a.i64[i], i);
}

/* Look-ups that come before, with and after commits: each is answered and knows all that was committed before it was
 * asked, whichever connection answers. */
#define MIX_ROUNDS 200
#define MIX_LOOKUPS 3

struct mix {
	struct ctx *c;
	uint32_t committed; /* keys below are there */
	size_t asked, answered;
	bool done;
};

struct mix_lookup {
	struct mix *m;
	uint32_t at_least; /* committed when it was asked */
};

static void mix_write(struct mix *m);

static void on_mix_lookup(void *arg, const struct sql_outcome *o, const struct sql_result *r)
{
	struct mix_lookup *l = arg;
	assert_int_equal(o->err, 0);
	assert_int_equal(sql_rows(r), 2);
	assert_int_equal(sql_is_null(r, 0, 1), l->at_least == 0);
	assert_true(sql_is_null(r, 1, 1)); /* nobody has this key */
	l->m->answered++;
	l->m->done = l->m->committed == MIX_ROUNDS && l->m->answered == l->m->asked;
	free(l);
}

static void mix_lookup(struct mix *m)
{
	uint8_t b[8];
	struct mix_lookup *l = lw_xmalloc(sizeof(*l));
	struct sql_query *q = sql_query_new(m->c->db, &FIND_MANY);
	*l = (struct mix_lookup){m, m->committed};
	sql_put_bool(sql_query_params(q), true);
	sql_put_bytes(sql_query_params(q), key_of(m->committed ? m->committed - 1 : 0, b));
	sql_put_bytes(sql_query_params(q), key_of(1000000, b));
	m->asked++;
	sql_query_send(q, on_mix_lookup, l);
}

static void on_mix_commit(void *arg, const struct sql_outcome *o)
{
	struct mix *m = arg;
	assert_int_equal(o->err, 0);
	m->committed++;
	for (size_t i = 0; i < MIX_LOOKUPS; i++)
		mix_lookup(m);
	if (m->committed < MIX_ROUNDS)
		mix_write(m);
}

static void mix_write(struct mix *m)
{
	struct sql_tx *tx = sql_tx_new(m->c->db);
	put_item(sql_tx_add(tx, &INSERT, NULL, NULL), m->committed, 1, "name");
	sql_tx_commit(tx, on_mix_commit, m);
	if (m->committed)
		mix_lookup(m);
}

static void test_lookups_among_commits(void **state)
{
	struct mix m = {.c = *state};
	mix_lookup(&m);
	while (!m.answered)
		rt_loop_turn(m.c->loop);
	mix_write(&m);
	assert_true(rt_loop_run_until(m.c->loop, &m.done, 60000));
	assert_int_equal(m.asked, 1 + MIX_ROUNDS * MIX_LOOKUPS + MIX_ROUNDS - 1);
	assert_int_equal(count_items(m.c), MIX_ROUNDS);
}

static void test_returning_id(void **state)
{
	struct ctx *c = *state;
	struct answer a = {0};
	struct sql_tx *tx = sql_tx_new(c->db);
	struct sql_params *p = sql_tx_add(tx, &LOG, on_result, &a);
	for (int i = 0; i < 5; i++)
		sql_put_text(p, "it's {batch} $1");
	assert_int_equal(commit(c, tx, &a), 0);
	assert_int_equal(a.rows, 5);
	for (size_t i = 1; i < 5; i++)
		assert_true(a.i64[i] > a.i64[i - 1]);
}

struct types {
	bool done;
	int err;
	char diag[256];
};

static const uint8_t BYTES[4] = {0, 1, 0xff, '\''};
static const struct lw_uuid UID = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

static void on_types(void *arg, const struct sql_outcome *o, const struct sql_result *r)
{
	struct types *t = arg;
	t->done = true;
	t->err = o->err;
	snprintf(t->diag, sizeof(t->diag), "%s", o->diag.text);
	if (!r)
		return;
	assert_int_equal(sql_rows(r), 2);
	assert_true(lw_span_eq(sql_span(r, 0, 0), lw_span(BYTES, 4)));
	assert_true(sql_i64(r, 0, 1) == INT64_MAX);
	assert_string_equal(sql_text(r, 0, 2), "grüße");
	assert_true(sql_bool(r, 0, 3));
	assert_int_equal(sql_i32(r, 0, 4), INT32_MIN);
	assert_true(sql_i64(r, 0, 4) == INT32_MIN);
	assert_true(sql_f64(r, 0, 5) == -0.1);
	assert_true(sql_time_us(r, 0, 6) == INT64_C(1700000000123456));
	assert_true(lw_uuid_eq(sql_uuid(r, 0, 7), UID));
	assert_string_equal(sql_text(r, 0, 8), "{\"a\": [1]}");
	for (size_t col = 2; col <= 8; col++)
		assert_true(sql_is_null(r, 1, col));
	assert_string_equal(sql_text(r, 1, 2), "");
	assert_int_equal(sql_span(r, 1, 7).n, 0);
	assert_int_equal(sql_span(r, 1, 0).n, 1);
}

/* Every type, as scalar and in a batch, null too. */
static void test_types(void **state)
{
	static const struct sql_stmt scalar = {
		.name = "types_scalar",
		.text = "INSERT INTO item (key, version, name, flag, small, ratio, at, uid, doc)"
			" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		.params = "yltbidsuj",
	};
	static const struct sql_stmt batch = {
		.name = "types_batch",
		.text = "INSERT INTO item (key, version, name, flag, small, ratio, at, uid, doc)"
			" SELECT key, version, name, flag, small, ratio, at, uid, doc FROM {batch}",
		.batch = "key:y version:l name:t flag:b small:i ratio:d at:s uid:u doc:j",
	};
	static const struct sql_stmt read = {
		.name = "types_read",
		.text = "SELECT key, version, name, flag, small, ratio, at, uid, doc FROM item ORDER BY version DESC",
		.cols = "yltbidsuj",
	};
	static const struct sql_stmt clear = {.name = "types_clear", .text = "DELETE FROM item"};
	struct ctx *c = *state;
	for (int i = 0; i < 2; i++) {
		struct answer a = {0};
		struct sql_tx *tx = sql_tx_new(c->db);
		struct sql_params *p = sql_tx_add(tx, i ? &batch : &scalar, NULL, NULL);
		for (int row = 0; row < 2; row++) {
			if (row && !i)
				p = sql_tx_add(tx, &scalar, NULL, NULL);
			sql_put_bytes(p, lw_span(BYTES, row ? 1 : 4));
			sql_put_i64(p, row ? 0 : INT64_MAX);
			if (row) {
				for (int k = 0; k < 7; k++)
					sql_put_null(p);
				continue;
			}
			sql_put_text(p, "grüße");
			sql_put_bool(p, true);
			sql_put_i32(p, INT32_MIN);
			sql_put_f64(p, -0.1);
			sql_put_time_us(p, INT64_C(1700000000123456));
			sql_put_uuid(p, UID);
			sql_put_text(p, "{\"a\": [1]}");
		}
		assert_int_equal(commit(c, tx, &a), 0);
		struct types t = {0};
		sql_query_send(sql_query_new(c->db, &read), on_types, &t);
		assert_true(rt_loop_run_until(c->loop, &t.done, WAIT_MS));
		if (t.err)
			fail_msg("%s", t.diag);
		struct answer d = {0};
		tx = sql_tx_new(c->db);
		sql_tx_add(tx, &clear, NULL, NULL);
		assert_int_equal(commit(c, tx, &d), 0);
	}
}

static int insert_strict(struct ctx *c, uint32_t key, int64_t version, int64_t parent)
{
	struct answer a = {0};
	uint8_t b[8];
	struct sql_tx *tx = sql_tx_new(c->db);
	/* Something before it, which must be rolled back with it. */
	put_item(sql_tx_add(tx, &INSERT, on_result, &a), 1000 + key, 1, "before");
	struct sql_params *p = sql_tx_add(tx, &INSERT_STRICT, on_result, &a);
	sql_put_bytes(p, key_of(key, b));
	sql_put_i64(p, version);
	if (parent)
		sql_put_i64(p, parent);
	else
		sql_put_null(p);
	int rc = commit(c, tx, &a);
	if (rc) {
		assert_false(a.outcome.unknown);
		assert_string_equal(a.outcome.stmt, "item_insert_strict");
		assert_true(strlen(a.outcome.diag.text) > 10);
		assert_int_equal(a.results, 0);
	} else {
		assert_int_equal(a.results, 2);
	}
	return rc;
}

static void test_constraints_and_rollback(void **state)
{
	struct ctx *c = *state;
	assert_int_equal(insert_strict(c, 1, 1, 0), 0);
	assert_int_equal(count_items(c), 2);
	assert_int_equal(insert_strict(c, 1, 1, 0), LW_EEXISTS);
	assert_int_equal(insert_strict(c, 2, 1, 99), LW_ENOTFOUND);
	assert_int_equal(insert_strict(c, 3, -1, 0), LW_EINVAL);
	assert_int_equal(count_items(c), 2);
	/* Good and bad ones sent together: each stands for itself. */
	struct answer a[30] = {0};
	for (uint32_t i = 0; i < 30; i++) {
		uint8_t b[8];
		struct sql_tx *tx = sql_tx_new(c->db);
		struct sql_params *p = sql_tx_add(tx, &INSERT_STRICT, NULL, NULL);
		sql_put_bytes(p, key_of(i % 3 == 0 ? 1 : 100 + i, b));
		sql_put_i64(p, 1);
		sql_put_null(p);
		sql_tx_commit(tx, on_done, &a[i]);
	}
	for (uint32_t i = 0; i < 30; i++) {
		await(c, &a[i]);
		assert_int_equal(a[i].outcome.err, i % 3 == 0 ? LW_EEXISTS : 0);
	}
	assert_int_equal(count_items(c), 22);
}

static void test_broken_statements(void **state)
{
	struct ctx *c = *state;
	for (int round = 0; round < 2; round++) {
		struct answer a[3] = {0};
		sql_query_send(sql_query_new(c->db, &BROKEN), on_query, &a[0]);
		sql_query_send(sql_query_new(c->db, &WRONG_COLS), on_query, &a[1]);
		sql_query_send(sql_query_new(c->db, &COUNT), on_query, &a[2]);
		for (int i = 0; i < 3; i++)
			await(c, &a[i]);
		assert_int_equal(a[0].outcome.err, LW_EINTERNAL);
		assert_non_null(strstr(a[0].outcome.diag.text, "no_such_column"));
		assert_int_equal(a[1].outcome.err, LW_EINTERNAL);
		assert_int_equal(a[2].outcome.err, 0);
	}
}

static void test_expect(void **state)
{
	struct ctx *c = *state;
	insert_items(c, 0, 1);
	struct answer a[3] = {0};
	for (uint32_t i = 0; i < 3; i++) {
		struct sql_tx *tx = sql_tx_new(c->db);
		put_item(sql_tx_add(tx, &INSERT, NULL, NULL), 10 + i, 1, "with");
		put_item(sql_tx_add(tx, &CAS, NULL, NULL), 0, i == 2 ? 2 : 1, "cas");
		sql_tx_expect(tx, 1, 1, LW_ECONFLICT);
		sql_tx_commit(tx, on_done, &a[i]);
	}
	/* All under way at once: the first takes version 1, the second finds it gone, the third continues from 2. */
	for (int i = 0; i < 3; i++)
		await(c, &a[i]);
	assert_int_equal(a[0].outcome.err, 0);
	assert_int_equal(a[1].outcome.err, LW_ECONFLICT);
	assert_false(a[1].outcome.unknown);
	assert_string_equal(a[1].outcome.stmt, "item_cas");
	assert_int_equal(a[2].outcome.err, 0);
	assert_int_equal(count_items(c), 3);
	/* A statement that fails inside such a transaction. */
	struct answer e = {0};
	struct sql_tx *tx = sql_tx_new(c->db);
	uint8_t b[8];
	struct sql_params *p = sql_tx_add(tx, &INSERT_STRICT, NULL, NULL);
	sql_put_bytes(p, key_of(0, b));
	sql_put_i64(p, 1);
	sql_put_null(p);
	sql_tx_expect(tx, 1, 1, LW_ECONFLICT);
	assert_int_equal(commit(c, tx, &e), LW_EEXISTS);
	assert_int_equal(insert_strict(c, 50, 1, 0), 0);
}

static void test_empty_and_order(void **state)
{
	struct ctx *c = *state;
	struct answer a = {0};
	assert_int_equal(commit(c, sql_tx_new(c->db), &a), 0);
	struct answer b = {0};
	struct sql_tx *tx = sql_tx_new(c->db);
	sql_tx_add(tx, &INSERT, on_result, &b);
	assert_int_equal(commit(c, tx, &b), 0);
	assert_int_equal(b.results, 1);
	assert_int_equal(b.rows, 0);
	/* Statements see those before them in the transaction; transactions are executed in order. */
	struct answer d[2] = {0};
	for (int i = 0; i < 2; i++) {
		tx = sql_tx_new(c->db);
		if (i == 0)
			sql_put_i64(sql_tx_add(tx, &INSERT_PARENT, NULL, NULL), 5);
		uint8_t k[8];
		struct sql_params *p = sql_tx_add(tx, &INSERT_STRICT, NULL, NULL);
		sql_put_bytes(p, key_of((uint32_t)i, k));
		sql_put_i64(p, 1);
		sql_put_i64(p, 5);
		sql_tx_commit(tx, on_done, &d[i]);
	}
	for (int i = 0; i < 2; i++) {
		await(c, &d[i]);
		assert_int_equal(d[i].outcome.err, 0);
	}
	sql_tx_discard(sql_tx_new(c->db));
	sql_query_discard(sql_query_new(c->db, &COUNT));
}

static void test_free_with_pending(void **state)
{
	struct ctx *c = *state;
	struct answer a[50] = {0};
	for (uint32_t i = 0; i < 50; i++) {
		struct sql_tx *tx = sql_tx_new(c->db);
		put_item(sql_tx_add(tx, &INSERT, NULL, NULL), i, 1, "x");
		sql_tx_commit(tx, on_done, &a[i]);
	}
	sql_free(c->db);
	for (int i = 0; i < 50; i++) {
		assert_true(a[i].done);
		assert_true(a[i].outcome.err == 0 || a[i].outcome.err == LW_ECANCELLED);
	}
	rt_loop_turn(c->loop);
	rt_loop_free(c->loop);
	ctx_open_with(c, &(struct sql_options){0});
}

static void test_limit(void **state)
{
	struct ctx *c = *state;
	sql_free(c->db);
	rt_loop_turn(c->loop);
	rt_loop_free(c->loop);
	ctx_open_with(c, &(struct sql_options){.max_pending = 10});
	struct answer a[15] = {0};
	int full = 0;
	for (uint32_t i = 0; i < 15; i++) {
		struct sql_tx *tx = sql_tx_new(c->db);
		put_item(sql_tx_add(tx, &INSERT, NULL, NULL), i, 1, "x");
		sql_tx_commit(tx, on_done, &a[i]);
	}
	for (int i = 0; i < 15; i++) {
		await(c, &a[i]);
		full += a[i].outcome.err == LW_EFULL;
	}
	assert_int_equal(full, 5);
	assert_int_equal(count_items(c), 10);
}

/* The rate is for who reads it; what is tested is that nothing goes one by one. */
static void test_rate(void **state)
{
	struct ctx *c = *state;
	enum { TX = 200, ROWS = 100 };
	struct answer *a = lw_xcalloc(TX, sizeof(*a));
	int64_t start = lw_mono_ns();
	for (uint32_t t = 0; t < TX; t++) {
		struct sql_tx *tx = sql_tx_new(c->db);
		struct sql_params *p = sql_tx_add(tx, &INSERT, NULL, NULL);
		for (uint32_t i = 0; i < ROWS; i++)
			put_item(p, t * ROWS + i, 1, "a name of some length");
		sql_tx_commit(tx, on_done, &a[t]);
	}
	for (int i = 0; i < TX; i++) {
		await(c, &a[i]);
		assert_int_equal(a[i].outcome.err, 0);
	}
	double s = (double)(lw_mono_ns() - start) / 1e9;
	struct sql_stats st;
	sql_get_stats(c->db, &st);
	print_message("%s: %.0f rows/s inserted, %llu round trips\n", c->pg ? "postgres" : "sqlite", TX * ROWS / s,
		      (unsigned long long)st.round_trips);
	assert_int_equal(count_items(c), TX * ROWS);
	assert_int_equal(st.transactions, TX);
	assert_int_equal(st.rows, TX * ROWS);
	assert_int_equal(st.pending, 0);
	struct lw_buf text;
	assert_non_null(strstr(metrics_of(c, &text), "\ntest_sql_rows_total 20000\n"));
	lw_buf_deinit(&text);
	assert_true(st.round_trips <= TX);
	assert_true(st.statements <= 4 * TX);
	free(a);
}

/* ---- SQLite only
 * -------------------------------------------------------------------------------------------------- */

/* Bytes that this process has given to the kernel. */
static long long written(void)
{
	char line[128];
	long long n = -1;
	FILE *f = fopen("/proc/self/io", "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "wchar: %lld", &n) == 1)
			break;
	fclose(f);
	return n;
}

/* Pages that are free are not written once more. */
static void test_freed_pages(void **state)
{
	struct ctx *c = *state;
	enum { ITEMS = 300, LONG = 12000 };
	char *name = lw_xmalloc(LONG + 1);
	memset(name, 'x', LONG);
	name[LONG] = '\0';
	long long before = written();
	struct sql_tx *tx = sql_tx_new(c->db);
	struct sql_params *p = sql_tx_add(tx, &INSERT, NULL, NULL);
	for (uint32_t i = 0; i < ITEMS; i++)
		put_item(p, i, 1, name);
	struct answer a = {0};
	assert_int_equal(commit(c, tx, &a), 0);
	long long filled = written();
	tx = sql_tx_new(c->db);
	p = sql_tx_add(tx, &DELETE_MANY, NULL, NULL);
	for (uint32_t i = 0; i < ITEMS; i++) {
		uint8_t key[8];
		sql_put_bytes(p, key_of(i, key));
	}
	a = (struct answer){0};
	assert_int_equal(commit(c, tx, &a), 0);
	assert_int_equal(count_items(c), 0);
	assert_true(filled - before > (long long)ITEMS * LONG);
	assert_true(written() - filled < (filled - before) / 4);
	free(name);
}

/* ---- PostgreSQL only
 * -------------------------------------------------------------------------------------------------- */

static void run_until_state(struct ctx *c, bool up)
{
	int64_t end = lw_mono_ns() + WAIT_MS * LW_NS_PER_MS;
	bool never = false;
	while (c->up != up && lw_mono_ns() < end)
		rt_loop_run_until(c->loop, &never, 10);
	assert_true(c->up == up);
}

static const struct sql_stmt UNPREPARED = {.name = "unprepared", .text = "SELECT count(*) + 1 FROM item", .cols = "l"};

/* The server ends a session, and the next thing it would have read there is a statement to be prepared: that is no
 * fault of the statement. */
static void test_ended_before_a_statement_was_prepared(void **state)
{
	struct ctx *c = *state;
	char cmd[400];
	struct answer warm[4] = {0}, q[4] = {0};
	for (int i = 0; i < 4; i++)
		sql_query_send(sql_query_new(c->db, &COUNT), on_query, &warm[i]);
	for (int i = 0; i < 4; i++)
		await(c, &warm[i]);
	snprintf(cmd, sizeof(cmd),
		 FIX_PG_BIN
		 "/psql -q -X -o /dev/null '%s' -c \"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
		 " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()\"",
		 fix.pg.url);
	assert_int_equal(system(cmd), 0);
	for (int i = 0; i < 4; i++)
		sql_query_send(sql_query_new(c->db, &UNPREPARED), on_query, &q[i]);
	for (int i = 0; i < 4; i++) {
		await(c, &q[i]);
		if (q[i].outcome.err != 0 && q[i].outcome.err != LW_EUNAVAILABLE)
			fail_msg("%d %s", q[i].outcome.err, q[i].outcome.diag.text);
	}
}

static const struct sql_stmt SLEEP = {
	.name = "item_sleep",
	.text = "UPDATE item SET version = version WHERE (SELECT pg_sleep(1000)) IS NOT NULL",
};

static const struct sql_stmt END_SESSION = {
	.name = "item_end_session",
	.text = "UPDATE item SET version = version WHERE pg_terminate_backend(pg_backend_pid())",
};

/* What came instead of the answer is the end of the connection: whether the transaction is through, nobody knows. */
static void test_end_instead_of_an_answer(void **state)
{
	struct ctx *c = *state;
	char cmd[600];
	bool never = false;
	insert_items(c, 0, 1);
	/* Told by the server. */
	struct answer fatal = {0};
	struct sql_tx *tx = sql_tx_new(c->db);
	sql_tx_add(tx, &END_SESSION, NULL, NULL);
	assert_int_equal(commit(c, tx, &fatal), LW_EUNAVAILABLE);
	assert_true(fatal.outcome.unknown);
	/* Found by libpq. */
	struct answer cut = {0};
	run_until_state(c, true);
	tx = sql_tx_new(c->db);
	sql_tx_add(tx, &SLEEP, NULL, NULL);
	sql_tx_commit(tx, on_done, &cut);
	snprintf(cmd, sizeof(cmd),
		 FIX_PG_BIN "/psql -q -X -o /dev/null '%s' -c \"DO \\$\\$ BEGIN WHILE NOT EXISTS (SELECT FROM "
			    "pg_stat_activity WHERE"
			    " state = 'active' AND query LIKE '%%pg_sleep(1000)%%' AND pid <> pg_backend_pid()) LOOP"
			    " EXIT WHEN clock_timestamp() > now() + interval '30 ms'; PERFORM pg_sleep(0.005);"
			    " PERFORM pg_stat_clear_snapshot(); END LOOP; END \\$\\$\"",
		 fix.pg.url);
	for (int i = 0; i < 10; i++) { /* it is sent, and under way */
		rt_loop_run_until(c->loop, &never, 10);
		assert_int_equal(system(cmd), 0);
	}
	assert_false(cut.done);
	fix_kill9(&fix.pg);
	await(c, &cut);
	assert_int_equal(cut.outcome.err, LW_EUNAVAILABLE);
	assert_true(cut.outcome.unknown);
	fix_pg_run(&fix.pg);
	run_until_state(c, true);
}

static const struct sql_stmt SLEEPING = {
	.name = "sleeping",
	.text = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(1000)%'"
		" AND pid <> pg_backend_pid()",
	.cols = "l",
};

static void open_as(struct ctx *c, const struct ctx *like, const char *writer)
{
	*c = (struct ctx){.pg = true};
	snprintf(c->dsn, sizeof(c->dsn), "%s", like->dsn);
	ctx_open_with(c, &(struct sql_options){.writer = writer});
	run_until_state(c, true);
}

static void close_ctx(struct ctx *c)
{
	sql_free(c->db);
	rt_metrics_free(c->metrics);
	rt_loop_turn(c->loop);
	rt_loop_free(c->loop);
}

/* What an earlier one of this name has under way at the server is over before a later one writes; others go on. */
static void test_who_writes_is_alone(void **state)
{
	struct ctx *c = *state, first, second, other;
	struct answer late = {0}, now = {0}, on_other = {0}, asleep;
	bool never = false;
	insert_items(c, 0, 1);
	open_as(&other, c, "two");
	open_as(&first, c, "one");
	struct sql_tx *tx = sql_tx_new(first.db);
	sql_tx_add(tx, &SLEEP, NULL, NULL);
	sql_tx_commit(tx, on_done, &late);
	int64_t end = lw_mono_ns() + WAIT_MS * LW_NS_PER_MS;
	do {
		rt_loop_run_until(first.loop, &never, 10);
		asleep = (struct answer){0};
		sql_query_send(sql_query_new(c->db, &SLEEPING), on_query, &asleep);
		await(c, &asleep);
	} while (asleep.i64[0] == 0 && lw_mono_ns() < end);
	assert_int_equal(asleep.i64[0], 1);
	open_as(&second, c, "one");
	asleep = (struct answer){0};
	sql_query_send(sql_query_new(c->db, &SLEEPING), on_query, &asleep);
	await(c, &asleep);
	assert_int_equal(asleep.i64[0], 0);
	tx = sql_tx_new(second.db);
	put_item(sql_tx_add(tx, &INSERT, NULL, NULL), 100, 1, "second");
	assert_int_equal(commit(&second, tx, &now), 0);
	assert_false(late.done);
	await(&first, &late);
	assert_int_equal(late.outcome.err, LW_EUNAVAILABLE);
	assert_true(late.outcome.unknown);
	close_ctx(&first);
	tx = sql_tx_new(other.db);
	put_item(sql_tx_add(tx, &INSERT, NULL, NULL), 101, 1, "other");
	assert_int_equal(commit(&other, tx, &on_other), 0);
	assert_int_equal(other.states, 1);
	close_ctx(&other);
	close_ctx(&second);
}

/* One that speaks the protocol and has no such locks is used as it is, and called so. */
static void test_no_locks_of_sessions(void **state)
{
	struct ctx *c = *state, plain;
	struct answer a = {0};
	char command[1024];
	snprintf(command, sizeof(command),
		 FIX_PG_BIN
		 "/psql -q -X -v ON_ERROR_STOP=1 -o /dev/null '%s' -c \"CREATE FUNCTION t%d.pg_advisory_lock("
		 "integer, integer) RETURNS void LANGUAGE plpgsql AS \\$\\$ BEGIN RAISE EXCEPTION 'not "
		 "implemented' USING ERRCODE = '0A000'; END \\$\\$\"",
		 fix.pg.url, fix.schemas);
	assert_int_equal(system(command), 0);
	open_as(&plain, c, "one");
	assert_string_equal(plain.detail, "connected");
	close_ctx(&plain);
	snprintf(c->dsn, sizeof(c->dsn), "%s?options=-csearch_path%%3Dt%d,pg_catalog", fix.pg.url, fix.schemas);
	open_as(&plain, c, "one");
	assert_non_null(strstr(plain.detail, "it has no locks of sessions"));
	struct sql_tx *tx = sql_tx_new(plain.db);
	put_item(sql_tx_add(tx, &INSERT, NULL, NULL), 1, 1, "plain");
	assert_int_equal(commit(&plain, tx, &a), 0);
	close_ctx(&plain);
}

static void test_reconnect(void **state)
{
	struct ctx *c = *state;
	insert_items(c, 0, 10);
	struct answer a[20] = {0};
	for (uint32_t i = 0; i < 20; i++) {
		struct sql_tx *tx = sql_tx_new(c->db);
		put_item(sql_tx_add(tx, &INSERT, NULL, NULL), 100 + i, 1, "in flight");
		sql_tx_commit(tx, on_done, &a[i]);
	}
	fix_kill9(&fix.pg);
	int64_t unsure = 0;
	int64_t sure = 0;
	for (int i = 0; i < 20; i++) {
		await(c, &a[i]);
		if (a[i].outcome.err) {
			assert_int_equal(a[i].outcome.err, LW_EUNAVAILABLE);
			unsure += a[i].outcome.unknown;
		} else {
			sure++;
		}
	}
	run_until_state(c, false);
	/* While it is away: fails after the time to wait, not sooner, not later, and surely not done. */
	struct answer w = {0};
	struct answer q = {0};
	struct sql_tx *tx = sql_tx_new(c->db);
	put_item(sql_tx_add(tx, &INSERT, NULL, NULL), 1000, 1, "lost");
	sql_tx_commit(tx, on_done, &w);
	sql_query_send(sql_query_new(c->db, &COUNT), on_query, &q);
	await(c, &w);
	await(c, &q);
	assert_int_equal(w.outcome.err, LW_EUNAVAILABLE);
	assert_false(w.outcome.unknown);
	assert_int_equal(q.outcome.err, LW_EUNAVAILABLE);
	/* Comes back while a call waits: the call succeeds. */
	struct answer v = {0};
	fix_pg_run(&fix.pg);
	run_until_state(c, true);
	tx = sql_tx_new(c->db);
	put_item(sql_tx_add(tx, &INSERT, NULL, NULL), 2000, 1, "again");
	assert_int_equal(commit(c, tx, &v), 0);
	/* Readers connect on their own, later than the writer. */
	struct answer r = {0};
	int64_t end = lw_mono_ns() + 30 * LW_NS_PER_S;
	do {
		r = (struct answer){0};
		sql_query_send(sql_query_new(c->db, &COUNT), on_query, &r);
		await(c, &r);
	} while (r.outcome.err == LW_EUNAVAILABLE && lw_mono_ns() < end);
	assert_int_equal(r.outcome.err, 0);
	assert_in_range(r.i64[0], 11 + sure, 11 + sure + unsure);
}

static void test_away_at_start(void **state)
{
	(void)state;
	struct ctx c;
	setup_dsn(&c, true);
	fix_kill9(&fix.pg);
	ctx_open_with(&c, &(struct sql_options){.wait_ms = 100});
	struct answer a = {0};
	sql_query_send(sql_query_new(c.db, &COUNT), on_query, &a);
	await(&c, &a);
	assert_int_equal(a.outcome.err, LW_EUNAVAILABLE);
	assert_true(strlen(a.outcome.diag.text) > 5);
	struct lw_diag diag = {""};
	assert_int_equal(sql_migrate_now(c.dsn, &SET, NULL, &diag), LW_EUNAVAILABLE);
	fix_pg_run(&fix.pg);
	run_until_state(&c, true);
	sql_free(c.db);
	rt_metrics_free(c.metrics);
	rt_loop_turn(c.loop);
	rt_loop_free(c.loop);
}

/* ---- migrations
 * -------------------------------------------------------------------------------------------------------- */

struct migrated {
	bool done;
	int err;
	struct lw_diag diag;
};

static void on_migrated(void *arg, int err, const struct lw_diag *diag)
{
	struct migrated *m = arg;
	m->done = true;
	m->err = err;
	m->diag = *diag;
}

static void test_migrate(void **state)
{
	struct ctx *c = *state;
	struct lw_diag diag = {""};
	size_t applied = 9;
	assert_int_equal(sql_migrate_now(c->dsn, &SET, &applied, &diag), 0);
	assert_int_equal(applied, 0);
	/* Older program. */
	struct sql_migration_set older = {.v = SET.v, .n = 1};
	assert_int_equal(sql_migrate_now(c->dsn, &older, NULL, &diag), LW_EPRECONDITION);
	assert_non_null(strstr(diag.text, "older than the database"));
	/* Changed text. */
	struct sql_migration v[4] = {SET.v[0], {2, "log", "CREATE TABLE log (other TEXT)"}};
	assert_int_equal(sql_migrate_now(c->dsn, &(struct sql_migration_set){v, 2}, NULL, &diag), LW_EPRECONDITION);
	/* The fourth fails in its second statement: the third stays, of the fourth nothing does. */
	v[1] = SET.v[1];
	v[2] = (struct sql_migration){3, "good", "CREATE TABLE good (a INTEGER);"};
	v[3] = (struct sql_migration){4, "bad", "CREATE TABLE half (a INTEGER); INSERT INTO nowhere VALUES (1);"};
	struct sql_migration_set four = {v, 4};
	assert_int_equal(sql_migrate_now(c->dsn, &four, &applied, &diag), LW_EINTERNAL);
	assert_int_equal(applied, 1);
	assert_non_null(strstr(diag.text, "0004_bad"));
	v[3].text = "CREATE TABLE half (a INTEGER);";
	struct migrated m = {0};
	sql_migrate(c->db, &four, on_migrated, &m);
	assert_true(rt_loop_run_until(c->loop, &m.done, WAIT_MS));
	if (m.err)
		fail_msg("%s", m.diag.text);
	/* Freed while one is under way: no callback. */
	struct migrated never = {0};
	sql_migrate(c->db, &four, on_migrated, &never);
	sql_free(c->db);
	rt_loop_turn(c->loop);
	rt_loop_free(c->loop);
	assert_false(never.done);
	ctx_open_with(c, &(struct sql_options){0});
}

static void test_dsn(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"",
		"mysql://x",
		"sqlite://",
		"sqlite:///tmp/x?sync=off",
		"sqlite:///nonexistent/dir/x.db",
		"postgres://h/db?schema=Bad;drop",
		"postgres://h/db?no_such_option=1",
		NULL,
	};
	struct rt_loop *loop = rt_loop_new();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct lw_diag diag = {""};
		struct sql_db *db;
		int rc = sql_open(&db, loop, &(struct sql_options){.dsn = bad[i]}, &diag);
		assert_true(rc == LW_EINVAL || rc == LW_EIO);
		assert_null(db);
		assert_true(strlen(diag.text) > 10);
	}
	rt_loop_turn(loop);
	rt_loop_free(loop);
}

static int group_setup(void **state)
{
	(void)state;
	snprintf(fix.dir, sizeof(fix.dir), "/tmp/lw-sql-XXXXXX");
	assert_non_null(mkdtemp(fix.dir));
	fix_pg_start(&fix.pg);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	char cmd[64];
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", fix.dir);
	fix_stop(&fix.pg);
	return system(cmd);
}

#define BOTH(f)                                                                                                        \
	{#f "/sqlite", f, setup_lite, teardown, NULL},                                                                 \
	{                                                                                                              \
#f "/postgres", f, setup_pg, teardown, NULL                                                            \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dsn),
		BOTH(test_batch_sizes),
		BOTH(test_cas),
		BOTH(test_read_many),
		BOTH(test_lookups_among_commits),
		BOTH(test_returning_id),
		BOTH(test_types),
		BOTH(test_constraints_and_rollback),
		BOTH(test_broken_statements),
		BOTH(test_expect),
		BOTH(test_empty_and_order),
		BOTH(test_free_with_pending),
		BOTH(test_limit),
		BOTH(test_rate),
		BOTH(test_migrate),
		{"test_freed_pages", test_freed_pages, setup_lite, teardown, NULL},
		{"test_ended_before_a_statement_was_prepared", test_ended_before_a_statement_was_prepared, setup_pg,
		 teardown, NULL},
		{"test_end_instead_of_an_answer", test_end_instead_of_an_answer, setup_pg, teardown, NULL},
		{"test_who_writes_is_alone", test_who_writes_is_alone, setup_pg, teardown, NULL},
		{"test_no_locks_of_sessions", test_no_locks_of_sessions, setup_pg, teardown, NULL},
		{"test_reconnect", test_reconnect, setup_pg, teardown, NULL},
		cmocka_unit_test(test_away_at_start),
	};
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
