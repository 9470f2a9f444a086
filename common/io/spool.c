#include "common/io/spool.h"

#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"

#define MAX_TOPIC 1024u
#define MAX_DATA (16u * 1024u * 1024u)
#define MAX_QUEUE 255u
/* What an item costs besides its bytes. */
#define ITEM_OVERHEAD 64u

struct queue {
	int64_t id;
	uint64_t items, bytes;
	uint64_t dropped_size, dropped_age;
};

enum statement {
	BEGIN,
	COMMIT,
	ROLLBACK,
	INSERT,
	PEEK,
	FRONT,
	ACK,
	REMOVE,
	SIZE,
	NEW_QUEUE,
	DROP_ITEMS,
	DROP_QUEUE,
	N_STATEMENTS
};

static const char *const texts[N_STATEMENTS] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[INSERT] = "INSERT INTO item (queue, at_ns, topic, data) VALUES (?1, ?2, ?3, ?4)",
	[PEEK] = "SELECT id, at_ns, topic, data FROM item WHERE queue = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
	[FRONT] = "SELECT id, at_ns, length(topic) + length(data) FROM item WHERE queue = ?1 ORDER BY id",
	[ACK] = "DELETE FROM item WHERE queue = ?1 AND id <= ?2",
	[REMOVE] = "DELETE FROM item WHERE queue = ?1 AND id = ?2",
	[SIZE] = ("SELECT count(*), total(length(topic) + length(data)) FROM item WHERE queue = ?1 AND id BETWEEN ?2 "
		  "AND ?3"),
	[NEW_QUEUE] = "INSERT INTO queue (name) VALUES (?1)",
	[DROP_ITEMS] = "DELETE FROM item WHERE queue = ?1",
	[DROP_QUEUE] = "DELETE FROM queue WHERE id = ?1",
};

struct spool {
	sqlite3 *db;
	sqlite3_stmt *st[N_STATEMENTS];
	uint64_t max_bytes, max_age_ms;
	struct lw_bmap queues; /* name → struct queue */
	bool was_damaged;
};

static int fail(struct spool *s, struct lw_diag *diag, const char *what)
{
	lw_diag_set(diag, "%s: %s", what, sqlite3_errmsg(s->db));
	int rc = sqlite3_errcode(s->db);
	return rc == SQLITE_FULL ? LW_EFULL : rc == SQLITE_BUSY || rc == SQLITE_LOCKED ? LW_EEXISTS : LW_EIO;
}

static int run(struct spool *s, enum statement which)
{
	int rc = sqlite3_step(s->st[which]);
	sqlite3_reset(s->st[which]);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : fail(s, NULL, "");
}

/* --- queues ----------------------------------------------------------------------------------------------------- */

static struct queue *queue_find(const struct spool *s, const char *name)
{
	return lw_bmap_find(&s->queues, lw_span_str(name));
}

static int queue_get(struct spool *s, const char *name, struct queue **out)
{
	*out = queue_find(s, name);
	if (*out)
		return 0;
	if (!*name || strlen(name) > MAX_QUEUE)
		return LW_EINVAL;
	sqlite3_bind_text(s->st[NEW_QUEUE], 1, name, -1, SQLITE_STATIC);
	int rc = run(s, NEW_QUEUE);
	if (rc < 0)
		return rc;
	struct queue *q = lw_xcalloc(1, sizeof(*q));
	q->id = sqlite3_last_insert_rowid(s->db);
	lw_bmap_put(&s->queues, lw_span_str(name), q);
	*out = q;
	return 0;
}

static int load_queues(struct spool *s, struct lw_diag *diag)
{
	sqlite3_stmt *st;
	if (sqlite3_prepare_v2(
		    s->db,
		    "SELECT q.id, q.name, count(i.id), coalesce(sum(length(i.topic) + length(i.data)), 0) FROM queue q "
		    "LEFT JOIN item i ON i.queue = q.id GROUP BY q.id",
		    -1, &st, NULL) != SQLITE_OK)
		return fail(s, diag, "spool");
	while (sqlite3_step(st) == SQLITE_ROW) {
		struct queue *q = lw_xcalloc(1, sizeof(*q));
		q->id = sqlite3_column_int64(st, 0);
		q->items = (uint64_t)sqlite3_column_int64(st, 2);
		q->bytes = (uint64_t)sqlite3_column_int64(st, 3) + q->items * ITEM_OVERHEAD;
		lw_bmap_put(&s->queues, lw_span_str((const char *)sqlite3_column_text(st, 1)), q);
	}
	return sqlite3_finalize(st) == SQLITE_OK ? 0 : fail(s, diag, "spool");
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static int prepare(struct spool *s, const struct spool_opts *opts, struct lw_diag *diag)
{
	/* One process: exclusive locking needs no shared memory file, and a second process is refused. */
	char pragmas[256];
	snprintf(pragmas, sizeof(pragmas),
		 "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = %s;"
		 "PRAGMA journal_size_limit = 8388608; PRAGMA cache_size = -1024; "
		 "PRAGMA secure_delete = FAST;",
		 opts->fsync ? "FULL" : "NORMAL");
	static const char schema[] =
		"CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
		"CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY AUTOINCREMENT, queue INTEGER NOT NULL,"
		" at_ns INTEGER NOT NULL, topic BLOB NOT NULL, data BLOB NOT NULL);"
		"CREATE INDEX IF NOT EXISTS item_queue ON item (queue, id);"
		"BEGIN IMMEDIATE; COMMIT;";
	if (sqlite3_exec(s->db, pragmas, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_exec(s->db, schema, NULL, NULL, NULL) != SQLITE_OK)
		return fail(s, diag, opts->path);
	for (int i = 0; i < N_STATEMENTS; i++) {
		if (sqlite3_prepare_v3(s->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &s->st[i], NULL) != SQLITE_OK)
			return fail(s, diag, opts->path);
	}
	return load_queues(s, diag);
}

/* 1: the file is damaged. */
static int open_file(struct spool **out, const struct spool_opts *opts, struct lw_diag *diag)
{
	struct spool *s = lw_xcalloc(1, sizeof(*s));
	s->max_bytes = opts->max_bytes ? opts->max_bytes : 256u << 20;
	s->max_age_ms = opts->max_age_ms;
	lw_bmap_init(&s->queues);
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
	int rc = 0;
	if (sqlite3_open_v2(opts->path, &s->db, flags, NULL) != SQLITE_OK)
		rc = fail(s, diag, opts->path);
	if (rc == 0)
		rc = prepare(s, opts, diag);
	if (rc < 0) {
		int code = sqlite3_errcode(s->db) & 0xff;
		spool_close(s);
		return code == SQLITE_CORRUPT || code == SQLITE_NOTADB ? 1 : rc;
	}
	*out = s;
	return 0;
}

/* What it held may be read by a person; what comes must not be lost for it. */
static int put_aside(const char *path, struct lw_diag *diag)
{
	static const char *const ends[] = {"", "-wal", "-shm"};
	char from[PATH_MAX], to[PATH_MAX + 16];
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		snprintf(from, sizeof(from), "%s%s", path, ends[i]);
		snprintf(to, sizeof(to), "%s.damaged%s", path, ends[i]);
		if (rename(from, to) != 0 && errno != ENOENT) {
			lw_diag_set(diag, "%s is damaged and cannot be put aside: %s", path, strerror(errno));
			return LW_EIO;
		}
	}
	return 0;
}

int spool_open(struct spool **out, const struct spool_opts *opts, struct lw_diag *diag)
{
	*out = NULL;
	int rc = open_file(out, opts, diag);
	if (rc <= 0)
		return rc;
	rc = put_aside(opts->path, diag);
	if (rc == 0)
		rc = open_file(out, opts, diag);
	if (rc == 0)
		(*out)->was_damaged = true;
	return rc > 0 ? LW_EIO : rc;
}

bool spool_was_damaged(const struct spool *s)
{
	return s->was_damaged;
}

void spool_close(struct spool *s)
{
	if (!s)
		return;
	for (int i = 0; i < N_STATEMENTS; i++)
		sqlite3_finalize(s->st[i]);
	sqlite3_close(s->db);
	size_t it = 0;
	struct lw_span name;
	void *q;
	while (lw_bmap_next(&s->queues, &it, &name, &q))
		free(q);
	lw_bmap_deinit(&s->queues);
	free(s);
}

/* --- bounds ----------------------------------------------------------------------------------------------------- */

static int delete_up_to(struct spool *s, struct queue *q, int64_t up_to, uint64_t items, uint64_t bytes)
{
	sqlite3_bind_int64(s->st[ACK], 1, q->id);
	sqlite3_bind_int64(s->st[ACK], 2, up_to);
	int rc = run(s, ACK);
	if (rc < 0)
		return rc;
	q->items -= items;
	q->bytes -= bytes;
	return 0;
}

/* Drops from the front what is too old, and as much as makes the queue hold at most `room` bytes. Returns how many. */
static int drop_front(struct spool *s, struct queue *q, uint64_t room, int64_t now_ns)
{
	int64_t oldest = s->max_age_ms ? now_ns - (int64_t)s->max_age_ms * LW_NS_PER_MS : INT64_MIN;
	sqlite3_stmt *st = s->st[FRONT];
	sqlite3_bind_int64(st, 1, q->id);
	int64_t up_to = 0;
	uint64_t items = 0, bytes = 0, by_age = 0;
	while (sqlite3_step(st) == SQLITE_ROW) {
		bool old = sqlite3_column_int64(st, 1) < oldest;
		if (!old && q->bytes - bytes <= room)
			break;
		up_to = sqlite3_column_int64(st, 0);
		bytes += (uint64_t)sqlite3_column_int64(st, 2) + ITEM_OVERHEAD;
		items++;
		by_age += old;
	}
	sqlite3_reset(st);
	if (items == 0)
		return 0;
	int rc = delete_up_to(s, q, up_to, items, bytes);
	if (rc < 0)
		return rc;
	q->dropped_age += by_age;
	q->dropped_size += items - by_age;
	return (int)items;
}

static int rollback(struct spool *s, struct queue *q, const struct queue *before, int rc)
{
	run(s, ROLLBACK);
	*q = *before;
	return rc;
}

/* --- use -------------------------------------------------------------------------------------------------------- */

static int insert(struct spool *s, struct queue *q, const struct spool_item *item, int64_t now_ns)
{
	sqlite3_stmt *st = s->st[INSERT];
	sqlite3_bind_int64(st, 1, q->id);
	sqlite3_bind_int64(st, 2, item->at_ns ? item->at_ns : now_ns);
	/* A NULL pointer would bind NULL. */
	sqlite3_bind_blob64(st, 3, item->topic.n ? (const void *)item->topic.p : "", item->topic.n, SQLITE_STATIC);
	sqlite3_bind_blob64(st, 4, item->data.n ? (const void *)item->data.p : "", item->data.n, SQLITE_STATIC);
	int rc = run(s, INSERT);
	if (rc == 0) {
		q->items++;
		q->bytes += item->topic.n + item->data.n + ITEM_OVERHEAD;
	}
	return rc;
}

int spool_append(struct spool *s, const char *queue, const struct spool_item *v, size_t n, int64_t now_ns)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < n; i++) {
		if (v[i].topic.n > MAX_TOPIC || v[i].data.n > MAX_DATA)
			return LW_EBIG;
		bytes += v[i].topic.n + v[i].data.n + ITEM_OVERHEAD;
	}
	if (bytes > s->max_bytes)
		return LW_EBIG;
	if (n == 0)
		return 0;
	struct queue *q;
	int rc = queue_get(s, queue, &q);
	if (rc < 0)
		return rc;
	struct queue before = *q;
	rc = run(s, BEGIN);
	if (rc < 0)
		return rc;
	int dropped = drop_front(s, q, s->max_bytes - bytes, now_ns);
	if (dropped < 0)
		return rollback(s, q, &before, dropped);
	for (size_t i = 0; i < n; i++) {
		rc = insert(s, q, &v[i], now_ns);
		if (rc < 0)
			return rollback(s, q, &before, rc);
	}
	rc = run(s, COMMIT);
	return rc < 0 ? rollback(s, q, &before, rc) : dropped;
}

int spool_peek(struct spool *s, const char *queue, uint64_t after_id, size_t n, int64_t now_ns, spool_peek_fn *fn,
	       void *arg)
{
	struct queue *q = queue_find(s, queue);
	if (!q || q->items == 0)
		return 0;
	int rc = drop_front(s, q, UINT64_MAX, now_ns);
	if (rc < 0)
		return rc;
	sqlite3_stmt *st = s->st[PEEK];
	sqlite3_bind_int64(st, 1, q->id);
	sqlite3_bind_int64(st, 2, (int64_t)after_id);
	sqlite3_bind_int64(st, 3, n > INT32_MAX ? INT32_MAX : (int64_t)n);
	int seen = 0;
	int step;
	while ((step = sqlite3_step(st)) == SQLITE_ROW) {
		struct spool_item item = {
			.id = (uint64_t)sqlite3_column_int64(st, 0),
			.at_ns = sqlite3_column_int64(st, 1),
			.topic = lw_span(sqlite3_column_blob(st, 2), (size_t)sqlite3_column_bytes(st, 2)),
			.data = lw_span(sqlite3_column_blob(st, 3), (size_t)sqlite3_column_bytes(st, 3)),
		};
		seen++;
		if (fn(arg, &item) < 0)
			break;
	}
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		seen = fail(s, NULL, "");
	sqlite3_reset(st);
	return seen;
}

/* Items of the range, to keep the queue's totals. */
static int measure(struct spool *s, const struct queue *q, uint64_t from, uint64_t to, uint64_t *items, uint64_t *bytes)
{
	sqlite3_stmt *st = s->st[SIZE];
	sqlite3_bind_int64(st, 1, q->id);
	sqlite3_bind_int64(st, 2, (int64_t)from);
	sqlite3_bind_int64(st, 3, to > INT64_MAX ? INT64_MAX : (int64_t)to);
	int rc = sqlite3_step(st) == SQLITE_ROW ? 0 : fail(s, NULL, "");
	*items = (uint64_t)sqlite3_column_int64(st, 0);
	*bytes = (uint64_t)sqlite3_column_int64(st, 1) + *items * ITEM_OVERHEAD;
	sqlite3_reset(st);
	return rc;
}

static int delete_range(struct spool *s, const char *queue, uint64_t from, uint64_t to)
{
	struct queue *q = queue_find(s, queue);
	uint64_t items, bytes;
	if (!q)
		return 0;
	int rc = measure(s, q, from, to, &items, &bytes);
	if (rc < 0 || items == 0)
		return rc;
	enum statement which = from == to ? REMOVE : ACK;
	sqlite3_bind_int64(s->st[which], 1, q->id);
	sqlite3_bind_int64(s->st[which], 2, to > INT64_MAX ? INT64_MAX : (int64_t)to);
	rc = run(s, which);
	if (rc < 0)
		return rc;
	q->items -= items;
	q->bytes -= bytes;
	return items > INT32_MAX ? INT32_MAX : (int)items;
}

int spool_ack(struct spool *s, const char *queue, uint64_t up_to)
{
	return up_to ? delete_range(s, queue, 0, up_to) : 0;
}

int spool_remove(struct spool *s, const char *queue, uint64_t id)
{
	return id ? delete_range(s, queue, id, id) : 0;
}

int spool_stats(struct spool *s, const char *queue, struct spool_stats *out)
{
	*out = (struct spool_stats){0};
	struct queue *q = queue_find(s, queue);
	if (!q)
		return 0;
	*out = (struct spool_stats){
		.items = q->items, .bytes = q->bytes, .dropped_size = q->dropped_size, .dropped_age = q->dropped_age};
	sqlite3_bind_int64(s->st[FRONT], 1, q->id);
	if (sqlite3_step(s->st[FRONT]) == SQLITE_ROW)
		out->oldest_ns = sqlite3_column_int64(s->st[FRONT], 1);
	sqlite3_reset(s->st[FRONT]);
	return 0;
}

int spool_queues(struct spool *s, void (*fn)(void *arg, const char *queue), void *arg)
{
	size_t it = 0;
	struct lw_span name;
	void *value;
	int n = 0;
	while (lw_bmap_next(&s->queues, &it, &name, &value)) {
		if (((struct queue *)value)->items == 0)
			continue;
		char text[MAX_QUEUE + 1];
		snprintf(text, sizeof(text), "%.*s", (int)name.n, (const char *)name.p);
		fn(arg, text);
		n++;
	}
	return n;
}

int spool_drop_queue(struct spool *s, const char *queue)
{
	struct queue *q = queue_find(s, queue);
	if (!q)
		return 0;
	struct queue before = *q;
	int rc = run(s, BEGIN);
	if (rc < 0)
		return rc;
	sqlite3_bind_int64(s->st[DROP_ITEMS], 1, q->id);
	sqlite3_bind_int64(s->st[DROP_QUEUE], 1, q->id);
	rc = run(s, DROP_ITEMS);
	if (rc == 0)
		rc = run(s, DROP_QUEUE);
	if (rc == 0)
		rc = run(s, COMMIT);
	if (rc < 0)
		return rollback(s, q, &before, rc);
	lw_bmap_remove(&s->queues, lw_span_str(queue));
	free(q);
	return (int)before.items;
}
