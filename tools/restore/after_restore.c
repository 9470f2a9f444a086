/* longwave-after-restore: makes restored databases safe to go on with. A backup is a look into the past: downlink
 * counters and JoinNonces handed out since then must never come again. Which ones they were nobody knows any more, so
 * all go ahead by a jump that is larger than what can have been used, and smaller than what a device refuses
 * (MAX_FCNT_GAP, 16,384, until LoRaWAN 1.0.3). Runs while the daemons are stopped; running it twice jumps twice, which
 * does no harm. Never touches uplink counters: a lower one only accepts again what was accepted before.
 *
 *   longwave-after-restore [--jump N] --ns DSN --app DSN */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "common/io/sql.h"
#include "common/runtime/loop.h"
#include "network-server/domain/session.h"

#define PAGE 1000
#define JUMP 4096
#define JUMP_MAX 16000
#define JOIN_NONCE_MAX 16777215 /* three octets */
#define WAIT_MS 120000

#define STR_(x) #x
#define STR(x) STR_(x)

static const struct sql_stmt READ_SESSIONS = {
	.name = "read_sessions",
	.text = "SELECT dev_eui, version, state FROM device WHERE state IS NOT NULL AND dev_eui >= $1 ORDER BY dev_eui"
		" LIMIT " STR(PAGE),
	.params = "l",
	.cols = "lly",
};

static const struct sql_stmt WRITE_SESSIONS = {
	.name = "write_sessions",
	.text = "UPDATE device SET version = device.version + 1, writer = 0, state = b.state FROM {batch}"
		" WHERE device.dev_eui = b.dev_eui AND device.version = b.version",
	.batch = "dev_eui:l version:l state:y",
};

static const struct sql_stmt JUMP_NONCES = {
	.name = "jump_nonces",
	.text = "UPDATE device_keys SET join_nonce = CASE WHEN join_nonce + $1 > " STR(JOIN_NONCE_MAX) " THEN " STR(
		JOIN_NONCE_MAX) " ELSE join_nonce + $1 END",
	.params = "l",
};

static const struct sql_stmt COUNT_KEYS = {
	.name = "count_keys",
	.text = "SELECT count(*) FROM device_keys",
	.cols = "l",
};

struct job {
	struct rt_loop *loop;
	struct sql_db *db;
	struct sql_tx *tx; /* of the page that is being read */
	uint32_t jump;
	int64_t from, last; /* devices of the page */
	uint64_t sessions, keys;
	size_t page;
	bool done;
	int err;
	struct lw_diag diag;
};

static void finish(struct job *j, const struct sql_outcome *outcome)
{
	if (outcome->err && !j->err) {
		j->err = outcome->err;
		j->diag = outcome->diag;
	}
	j->done = true;
}

static int wait_for(struct job *j)
{
	if (!rt_loop_run_until(j->loop, &j->done, WAIT_MS)) {
		lw_diag_set(&j->diag, "the database does not answer");
		j->err = LW_ETIMEDOUT;
	}
	j->done = false;
	return j->err;
}

static uint32_t ahead(uint32_t counter, uint32_t jump)
{
	return counter > UINT32_MAX - jump ? UINT32_MAX : counter + jump;
}

static int put_session(struct job *j, struct sql_params *p, const struct sql_result *r, size_t row)
{
	struct ns_session s;
	struct lw_buf blob;
	int err = ns_session_decode(sql_span(r, row, 2), &s);
	if (err) {
		lw_diag_set(&j->diag, "the session of device %016llx cannot be read",
			    (unsigned long long)sql_i64(r, row, 0));
		return err;
	}
	s.n_f_cnt_down = ahead(s.n_f_cnt_down, j->jump);
	s.a_f_cnt_down = ahead(s.a_f_cnt_down, j->jump);
	lw_buf_init(&blob, NS_SESSION_BLOB_MAX);
	err = ns_session_encode(&s, &blob);
	if (!err) {
		sql_put_i64(p, sql_i64(r, row, 0));
		sql_put_i64(p, sql_i64(r, row, 1));
		sql_put_bytes(p, lw_buf_span(&blob));
	}
	lw_buf_deinit(&blob);
	return err;
}

static void on_page(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct job *j = arg;
	j->page = outcome->err ? 0 : sql_rows(r);
	if (j->page) {
		struct sql_params *p = sql_tx_add(j->tx, &WRITE_SESSIONS, NULL, NULL);
		for (size_t i = 0; i < j->page && !j->err; i++)
			j->err = put_session(j, p, r, i);
		j->last = sql_i64(r, j->page - 1, 0);
	}
	finish(j, outcome);
}

static void on_commit(void *arg, const struct sql_outcome *outcome)
{
	finish(arg, outcome);
}

static int jump_sessions(struct job *j)
{
	j->from = INT64_MIN;
	do {
		struct sql_query *q = sql_query_new(j->db, &READ_SESSIONS);
		sql_put_i64(sql_query_params(q), j->from);
		j->tx = sql_tx_new(j->db);
		sql_query_send(q, on_page, j);
		if (wait_for(j)) {
			sql_tx_discard(j->tx);
			return j->err;
		}
		if (j->page)
			sql_tx_expect(j->tx, j->page, j->page, LW_ECONFLICT);
		sql_tx_commit(j->tx, on_commit, j);
		if (wait_for(j) == LW_ECONFLICT)
			lw_diag_set(&j->diag, "sessions change while they are read: stop the network-server first");
		if (!j->err)
			j->sessions += j->page;
		j->from = j->last + (j->last < INT64_MAX);
	} while (!j->err && j->page == PAGE && j->last < INT64_MAX);
	return j->err;
}

static void on_count(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct job *j = arg;
	if (!outcome->err)
		j->keys = (uint64_t)sql_i64(r, 0, 0);
	finish(j, outcome);
}

static int jump_nonces(struct job *j)
{
	struct sql_tx *tx = sql_tx_new(j->db);
	sql_put_i64(sql_tx_add(tx, &JUMP_NONCES, NULL, NULL), j->jump);
	sql_tx_commit(tx, on_commit, j);
	if (wait_for(j))
		return j->err;
	sql_query_send(sql_query_new(j->db, &COUNT_KEYS), on_count, j);
	return wait_for(j);
}

static int with_database(struct job *j, const char *dsn, int (*work)(struct job *))
{
	struct sql_options o = {.dsn = dsn, .wait_ms = 10000};
	j->err = sql_open(&j->db, j->loop, &o, &j->diag);
	if (!j->err)
		j->err = work(j);
	sql_free(j->db);
	j->db = NULL;
	if (j->err)
		fprintf(stderr, "longwave-after-restore: %s: %s\n", work == jump_nonces ? "app" : "ns",
			j->diag.text[0] ? j->diag.text : lw_err_text(j->err));
	return j->err;
}

static int usage(void)
{
	fputs("usage: longwave-after-restore [--jump N] --ns DSN --app DSN\n\n"
	      "After a backup was put back and before the daemons start: downlink counters and JoinNonces go ahead by "
	      "N\n"
	      "(" STR(JUMP) "), because those used since the backup must not come again.\n",
	      stderr);
	return 2;
}

int main(int argc, char **argv)
{
	const char *ns = NULL, *app = NULL;
	struct job j = {.jump = JUMP};
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--ns"))
			ns = argv[i + 1];
		else if (!strcmp(argv[i], "--app"))
			app = argv[i + 1];
		else if (!strcmp(argv[i], "--jump"))
			j.jump = (uint32_t)strtoul(argv[i + 1], NULL, 10);
		else
			return usage();
	}
	if (argc % 2 == 0 || !ns || !app || !j.jump || j.jump > JUMP_MAX)
		return usage();
	j.loop = rt_loop_new();
	int err = with_database(&j, ns, jump_sessions);
	if (!err)
		err = with_database(&j, app, jump_nonces);
	if (!err)
		printf("%llu sessions and the JoinNonces of %llu devices went ahead by %u\n",
		       (unsigned long long)j.sessions, (unsigned long long)j.keys, j.jump);
	rt_loop_free(j.loop);
	return err ? 1 : 0;
}
