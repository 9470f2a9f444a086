/* Another replica, on a connection of its own: has the row with the lowest key and, once somebody waits for that, wants
 * all others. Whoever takes rows in the order of their keys waits for it and has nothing that it wants; else PostgreSQL
 * finds a deadlock a second later and ends one of both. */
#pragma once

#include "tests/unit/network-server/store/rig.h"

struct rig_rows {
	struct rig *r;
	struct sql_db *db;
	int err;
};

static const struct sql_stmt rig_rows_until = {
	.name = "rig_rows_until",
	.text = "DO $$ BEGIN WHILE NOT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted) LOOP"
		" PERFORM pg_sleep(0.01); END LOOP; END $$"};
static const struct sql_stmt rig_rows_waits = {
	.name = "rig_rows_waits",
	.text = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'DO %'",
	.cols = "l"};

static inline void rig_rows_on_end(void *arg, const struct sql_outcome *outcome)
{
	struct rig_rows *o = arg;
	o->err = outcome->err;
}

static inline void rig_rows_on_count(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	int64_t *n = arg;
	*n = outcome->err ? 0 : sql_i64(r, 0, 0);
}

/* `one` and `others` want a key: of the row, and below the rows. Returns when the first row is taken. */
static inline void rig_rows_begin(struct rig_rows *o, struct rig *r, const struct sql_stmt *one,
				  const struct sql_stmt *others, uint64_t key)
{
	struct sql_options opt = {.dsn = r->dsn};
	struct lw_diag diag;
	*o = (struct rig_rows){.r = r, .err = 1};
	assert_int_equal(sql_open(&o->db, r->loop, &opt, &diag), 0);
	struct sql_tx *tx = sql_tx_new(o->db);
	sql_put_i64(sql_tx_add(tx, one, NULL, NULL), ns_i64(key));
	sql_tx_add(tx, &rig_rows_until, NULL, NULL);
	sql_put_i64(sql_tx_add(tx, others, NULL, NULL), ns_i64(key));
	sql_tx_commit(tx, rig_rows_on_end, o);
	/* Whoever writes by a timer may have come to wait already, and then this may be at its end already. */
	for (int64_t n = 0; n <= 0 && o->err == 1;) {
		bool answered = false;
		n = -1;
		sql_query_send(sql_query_new(r->db, &rig_rows_waits), rig_rows_on_count, &n);
		while (n < 0)
			rt_loop_run_until(r->loop, &answered, 1);
	}
}

/* Both came through. */
static inline void rig_rows_end(struct rig_rows *o)
{
	struct sql_stats st;
	int64_t end = rt_loop_mono_ns(o->r->loop) + RIG_WAIT_MS * LW_NS_PER_MS;
	while (o->err == 1) {
		bool never = false;
		rt_loop_run_until(o->r->loop, &never, 1);
		assert_true(rt_loop_mono_ns(o->r->loop) < end);
	}
	assert_int_equal(o->err, 0);
	sql_get_stats(o->r->db, &st);
	assert_int_equal(st.errors, 0);
	sql_free(o->db);
}
