/* What a batch of frames changes, in one transaction: sessions by compare-and-set, queue, outbox. Everything of a
 * change hangs on its compare-and-set: the later statements look for this commit's own mark in the device row. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "network-server/store/store_impl.h"

static const struct sql_stmt WRITE_SESSIONS = {
	.name = "write_sessions",
	.text = "UPDATE device SET version = device.version + 1, writer = b.writer, dev_addr = b.dev_addr, state = "
		"b.state"
		" FROM {batch} WHERE device.dev_eui = b.dev_eui AND device.version = b.version RETURNING {b.n}",
	.batch = "dev_eui:l version:l writer:l dev_addr:l state:y",
	.cols = "l",
};

/* The address stays: its index need not be touched. */
static const struct sql_stmt WRITE_STATES = {
	.name = "write_states",
	.text = "UPDATE device SET version = device.version + 1, writer = b.writer, state = b.state"
		" FROM {batch} WHERE device.dev_eui = b.dev_eui AND device.version = b.version RETURNING {b.n}",
	.batch = "dev_eui:l version:l writer:l state:y",
	.cols = "l",
};

#define MINE "(b.writer = 0 OR EXISTS (SELECT 1 FROM device AS d WHERE d.dev_eui = b.dev_eui AND d.writer = b.writer))"

static const struct sql_stmt QUEUE_DELETE = {
	.name = "queue_delete",
	.text = "DELETE FROM queue_item WHERE id IN (SELECT b.id FROM {batch} WHERE " MINE ")",
	.batch = "dev_eui:l writer:l id:u",
};

static const struct sql_stmt QUEUE_MARK = {
	.name = "queue_mark",
	.text = "UPDATE queue_item SET item_state = b.item_state, f_cnt_down = b.f_cnt_down, timeout_after = "
		"b.timeout_after"
		" FROM {batch} WHERE queue_item.id = b.id AND " MINE,
	.batch = "dev_eui:l writer:l id:u item_state:l f_cnt_down:l timeout_after:l",
};

static const struct sql_stmt QUEUE_FLUSH = {
	.name = "queue_flush_all",
	.text = "DELETE FROM queue_item WHERE dev_eui IN (SELECT b.dev_eui FROM {batch} WHERE " MINE ")",
	.batch = "dev_eui:l writer:l",
};

static const struct sql_stmt QUEUE_RELEASE = {
	.name = "queue_release_all",
	.text = "UPDATE queue_item SET item_state = 0, timeout_after = 0 WHERE dev_eui IN (SELECT b.dev_eui FROM "
		"{batch} WHERE " MINE ")",
	.batch = "dev_eui:l writer:l",
};

static const struct sql_stmt WRITE_OUTBOX = {
	.name = "write_outbox",
	.text = "INSERT INTO outbox (origin, seq, body) SELECT $1, b.seq, b.body FROM {batch} WHERE " MINE,
	.params = "t",
	.batch = "dev_eui:l writer:l seq:l body:y",
};

/* In a transaction that fails as a whole where one compare-and-set fails: rows of several events. */
static const struct sql_stmt WRITE_OUTBOX_ROWS = {
	.name = "write_outbox_rows",
	.text = "INSERT INTO outbox (origin, seq, body) SELECT $1, b.seq, b.body FROM {batch} WHERE true",
	.params = "t",
	.batch = "seq:l body:y",
};

struct event {
	uint64_t seq;
	size_t change;
	size_t at, n; /* in `packed` of the flight */
};

struct piece {
	size_t at, n; /* in `blobs` of the flight */
};

/* The changes that a statement writes, in the order of its rows. */
struct rows {
	struct flight *f;
	size_t *change;
	size_t n;
};

struct flight {
	struct ns_store *s;
	size_t n;
	bool is_whole; /* all of it or nothing, see send() */
	struct ns_change **v;
	uint64_t *writer; /* per change; 0: no compare */
	bool *written;
	struct rows sessions, states;
	struct piece *piece; /* per change: its session */
	struct lw_buf blobs;
	struct event *events;
	size_t n_events;
	struct lw_buf packed;
};

static void free_flight(struct flight *f)
{
	if (f->blobs.n)
		lw_wipe(f->blobs.p, f->blobs.n);
	lw_buf_deinit(&f->blobs);
	lw_buf_deinit(&f->packed);
	free(f->events);
	free(f);
}

static struct lw_span blob_of(const struct flight *f, size_t change)
{
	return lw_span(f->blobs.p + f->piece[change].at, f->piece[change].n);
}

static void on_written(void *arg, const struct sql_result *r)
{
	struct rows *rows = arg;
	for (size_t i = 0; i < sql_rows(r); i++) {
		size_t row = (size_t)sql_i64(r, i, 0);
		if (row < rows->n)
			rows->f->written[rows->change[row]] = true;
	}
}

static void refresh_cache(struct flight *f, size_t i)
{
	struct ns_store *s = f->s;
	const struct ns_change *c = f->v[i];
	struct ns_cached *entry = lw_map_find(&s->devices, lw_dev_eui_u64(c->dev_eui));
	bool put = c->op == NS_SESSION_PUT;
	struct lw_devaddr addr = put ? c->session->devaddr : (struct lw_devaddr){0};
	ns_cache_note(s, c->dev_eui);
	if (put && (!entry || !entry->has_session || !lw_devaddr_eq(entry->devaddr, addr))) {
		ns_cache_note_addr(s, addr);
		ns_tell_addr(s, c->dev_eui, addr);
	} else if (!put) {
		ns_tell_device(s, c->dev_eui);
	}
	if (!entry) {
		if (put)
			ns_cache_forget_addr(s, addr);
		return;
	}
	/* Read again after this commit was made: then it is newer than the commit itself. */
	if (entry->version > c->version + 1)
		return;
	ns_cache_set_session(s, entry, c->version + 1, addr, put ? blob_of(f, i) : lw_span(NULL, 0));
}

/* Where conflicts are frequent, a transaction in the hope that there is none is mostly made in vain. */
#define DOUBTS 32

static void send(struct ns_store *s, struct ns_change **v, size_t n, bool is_whole);

static void on_done(void *arg, const struct sql_outcome *outcome)
{
	struct flight *f = arg;
	struct ns_store *s = f->s;
	s->stats.commits++;
	s->n_flights--;
	if (f->is_whole && outcome->err == LW_ECONFLICT) {
		/* With new numbers: higher ones may have been handed on meanwhile. */
		s->doubts = DOUBTS;
		send(s, f->v, f->n, false);
		free_flight(f);
		return;
	}
	for (size_t i = 0; i < f->n; i++) {
		struct ns_change *c = f->v[i];
		c->err = outcome->err ? LW_EUNAVAILABLE : 0;
		if (outcome->err && f->writer[i] && outcome->unknown) {
			ns_cache_drop(s, c->dev_eui);
			if (c->op == NS_SESSION_PUT) {
				ns_cache_note_addr(s, c->session->devaddr);
				ns_cache_forget_addr(s, c->session->devaddr);
			}
		}
		if (outcome->err || !f->writer[i])
			continue;
		if (f->written[i]) {
			refresh_cache(f, i);
		} else {
			c->err = LW_ECONFLICT;
			s->stats.conflicts++;
			ns_cache_drop(s, c->dev_eui);
		}
	}
	/* Only PostgreSQL leaves one in doubt: there the first event has a row of its own. */
	if (outcome->err && outcome->unknown && outcome->err != LW_ECANCELLED && f->n_events)
		ns_outbox_fence(s, f->events[0].seq);
	if (!outcome->err && f->n_events) {
		struct ns_stored_event *v = lw_xcalloc(f->n_events, sizeof(*v));
		size_t n = 0;
		for (size_t i = 0; i < f->n_events; i++)
			if (f->v[f->events[i].change]->err == 0)
				v[n++] = (struct ns_stored_event){
					f->events[i].seq, lw_span(f->packed.p + f->events[i].at, f->events[i].n)};
		if (n)
			s->o.on_events(s->o.arg, v, n);
		free(v);
	}
	for (size_t i = 0; i < f->n; i++)
		f->v[i]->done(f->v[i]);
	free_flight(f);
}

/* Two members appended to the packed message: protobuf readers merge them (origin = 1, seq = 2). `in_row`: with its
 * length before it. */
static void complete_event(struct flight *f, const struct ns_event *e, struct event *out, bool in_row)
{
	Longwave__Ns__V1__Event tail = LONGWAVE__NS__V1__EVENT__INIT;
	uint8_t bytes[96];
	tail.origin = f->s->origin;
	tail.seq = out->seq;
	size_t n = longwave__ns__v1__event__pack(&tail, bytes);
	if (in_row)
		ns_outbox_put_length(&f->packed, e->packed.n + n);
	out->at = f->packed.n;
	lw_buf_append_span(&f->packed, e->packed);
	lw_buf_append(&f->packed, bytes, n);
	out->n = f->packed.n - out->at;
}

/* The row that has the version which the change was made for has this address, as far as memory knows. */
static bool keeps_address(const struct ns_store *s, const struct ns_change *c)
{
	const struct ns_cached *known = lw_map_find(&s->devices, lw_dev_eui_u64(c->dev_eui));
	return c->op == NS_SESSION_PUT && known && known->version == c->version && known->has_session &&
	       lw_devaddr_eq(known->devaddr, c->session->devaddr);
}

static void put_session(struct flight *f, struct sql_params *p, size_t i, bool with_address)
{
	const struct ns_change *c = f->v[i];
	sql_put_i64(p, ns_i64(lw_dev_eui_u64(c->dev_eui)));
	sql_put_i64(p, ns_i64(c->version));
	sql_put_i64(p, ns_i64(f->writer[i]));
	if (c->op != NS_SESSION_PUT) {
		sql_put_null(p);
		sql_put_null(p);
		return;
	}
	if (with_address)
		sql_put_i64(p, (int64_t)c->session->devaddr.v);
	sql_put_bytes(p, blob_of(f, i));
}

static void encode_sessions(struct flight *f)
{
	for (size_t i = 0; i < f->n; i++) {
		const struct ns_change *c = f->v[i];
		if (c->op == NS_SESSION_KEEP)
			continue;
		f->writer[i] = f->s->next_writer++;
		f->piece[i].at = f->blobs.n;
		if (c->op == NS_SESSION_PUT)
			ns_session_encode(c->session, &f->blobs);
		f->piece[i].n = f->blobs.n - f->piece[i].at;
		struct rows *r = keeps_address(f->s, c) ? &f->states : &f->sessions;
		r->change[r->n++] = i;
	}
}

static int by_device(const void *a, const void *b, void *flight)
{
	const struct flight *f = flight;
	uint64_t x = lw_dev_eui_u64(f->v[*(const size_t *)a]->dev_eui);
	uint64_t y = lw_dev_eui_u64(f->v[*(const size_t *)b]->dev_eui);
	return (x > y) - (x < y);
}

/* Whoever writes many devices takes their rows in this order: two that share some wait, and do not lock each other out.
 */
static void sort_rows(struct rows *r)
{
	qsort_r(r->change, r->n, sizeof(*r->change), by_device, r->f);
}

static void add_sessions(struct flight *f, struct sql_tx *tx)
{
	encode_sessions(f);
	if (!sql_is_sqlite(f->s->db)) {
		sort_rows(&f->sessions);
		sort_rows(&f->states);
	}
	if (f->sessions.n) {
		struct sql_params *p = sql_tx_add(tx, &WRITE_SESSIONS, on_written, &f->sessions);
		if (f->is_whole)
			sql_tx_expect(tx, f->sessions.n, f->sessions.n, LW_ECONFLICT);
		for (size_t k = 0; k < f->sessions.n; k++)
			put_session(f, p, f->sessions.change[k], true);
	}
	if (f->states.n) {
		struct sql_params *p = sql_tx_add(tx, &WRITE_STATES, on_written, &f->states);
		if (f->is_whole)
			sql_tx_expect(tx, f->states.n, f->states.n, LW_ECONFLICT);
		for (size_t k = 0; k < f->states.n; k++)
			put_session(f, p, f->states.change[k], false);
	}
}

static void add_queue_ops(struct flight *f, struct sql_tx *tx, enum ns_queue_op_kind kind, const struct sql_stmt *stmt)
{
	struct sql_params *p = NULL;
	for (size_t i = 0; i < f->n; i++) {
		const struct ns_change *c = f->v[i];
		for (size_t k = 0; k < c->n_queue_ops; k++) {
			const struct ns_queue_op *op = &c->queue_ops[k];
			if (op->kind != kind)
				continue;
			if (!p)
				p = sql_tx_add(tx, stmt, NULL, NULL);
			sql_put_i64(p, ns_i64(lw_dev_eui_u64(c->dev_eui)));
			sql_put_i64(p, ns_i64(f->writer[i]));
			if (kind == NS_QUEUE_DELETE || kind == NS_QUEUE_MARK)
				sql_put_uuid(p, op->id);
			if (kind == NS_QUEUE_MARK) {
				sql_put_i64(p, op->state);
				sql_put_i64(p, op->f_cnt_down);
				sql_put_i64(p, op->timeout_after_ns / LW_NS_PER_US);
			}
		}
	}
}

/* The next of the flight, numbered. */
static struct event *take_event(struct flight *f, size_t change, size_t k, bool in_row)
{
	struct event *e = &f->events[f->n_events++];
	e->seq = f->s->next_seq++;
	e->change = change;
	complete_event(f, &f->v[change]->events[k], e, in_row);
	return e;
}

/* Rows of some events each; a row has the number of its last. */
static void add_rows(struct flight *f, struct sql_tx *tx, size_t n)
{
	struct sql_params *p = sql_tx_add(tx, &WRITE_OUTBOX_ROWS, NULL, NULL);
	size_t row = 0;
	sql_put_text(p, f->s->origin);
	for (size_t i = 0; i < f->n; i++) {
		for (size_t k = 0; k < f->v[i]->n_events; k++) {
			if (row == f->packed.n)
				ns_outbox_begin_row(&f->packed);
			const struct event *e = take_event(f, i, k, true);
			if (f->packed.n - row < NS_OUTBOX_ROW && f->n_events < n)
				continue;
			sql_put_i64(p, ns_i64(e->seq));
			sql_put_bytes(p, lw_span(f->packed.p + row, f->packed.n - row));
			row = f->packed.n;
		}
	}
}

static void add_events(struct flight *f, struct sql_tx *tx)
{
	struct ns_store *s = f->s;
	size_t n = 0;
	for (size_t i = 0; i < f->n; i++)
		n += f->v[i]->n_events;
	if (!n)
		return;
	f->events = lw_xcalloc(n, sizeof(*f->events));
	if (f->is_whole && n > 1) {
		add_rows(f, tx, n);
		return;
	}
	struct sql_params *p = sql_tx_add(tx, &WRITE_OUTBOX, NULL, NULL);
	sql_put_text(p, s->origin);
	for (size_t i = 0; i < f->n; i++) {
		for (size_t k = 0; k < f->v[i]->n_events; k++) {
			const struct event *e = take_event(f, i, k, false);
			sql_put_i64(p, ns_i64(lw_dev_eui_u64(f->v[i]->dev_eui)));
			sql_put_i64(p, ns_i64(f->writer[i]));
			sql_put_i64(p, ns_i64(e->seq));
			sql_put_bytes(p, lw_span(f->packed.p + e->at, e->n));
		}
	}
}

#define BLOBS_MAX (512u * NS_SESSION_BLOB_MAX)
#define PACKED_MAX (256u << 20)

static struct flight *flight_new(struct ns_store *s, struct ns_change **v, size_t n, bool is_whole)
{
	/* All arrays in one piece, the widest members first. */
	size_t per_change = sizeof(struct piece) + sizeof(struct ns_change *) + sizeof(uint64_t) + 2 * sizeof(size_t) +
			    sizeof(bool);
	struct flight *f = lw_xcalloc(1, sizeof(*f) + n * per_change);
	f->s = s;
	f->n = n;
	f->is_whole = is_whole;
	f->piece = (void *)(f + 1);
	f->v = (void *)(f->piece + n);
	f->writer = (void *)(f->v + n);
	f->sessions = (struct rows){.f = f, .change = (void *)(f->writer + n)};
	f->states = (struct rows){.f = f, .change = f->sessions.change + n};
	f->written = (void *)(f->states.change + n);
	memcpy(f->v, v, n * sizeof(f->v[0]));
	lw_buf_init(&f->blobs, BLOBS_MAX);
	lw_buf_init(&f->packed, PACKED_MAX);
	return f;
}

/* `is_whole`: in the hope that no compare-and-set fails, so that no event hangs on one, and events can share a row.
 * Where one fails, nothing is done, and all goes again without that hope. */
static void send(struct ns_store *s, struct ns_change **v, size_t n, bool is_whole)
{
	struct flight *f = flight_new(s, v, n, is_whole);
	struct sql_tx *tx = sql_tx_new(s->db);
	add_sessions(f, tx);
	add_queue_ops(f, tx, NS_QUEUE_DELETE, &QUEUE_DELETE);
	add_queue_ops(f, tx, NS_QUEUE_MARK, &QUEUE_MARK);
	add_queue_ops(f, tx, NS_QUEUE_FLUSH, &QUEUE_FLUSH);
	add_queue_ops(f, tx, NS_QUEUE_RELEASE_ALL, &QUEUE_RELEASE);
	add_events(f, tx);
	s->n_flights++;
	sql_tx_commit(tx, on_done, f);
}

/* SQLite has one writer, and nearly every compare-and-set succeeds. PostgreSQL would take a round trip more for a
 * transaction that depends on it. Nothing may follow one that perhaps goes again. */
static bool hopes(struct ns_store *s)
{
	if (!sql_is_sqlite(s->db) || !s->doubts)
		return sql_is_sqlite(s->db);
	s->doubts--;
	return false;
}

/* One transaction for all, except that a device which is in the batch twice goes on in a further one: a statement must
 * not touch a row twice. */
static void send_all(struct ns_store *s, struct ns_change **v, size_t n)
{
	size_t begin = 0;
	struct lw_map seen;
	lw_map_init(&seen);
	for (size_t i = 0; n > 1 && i < n; i++) {
		if (v[i]->op == NS_SESSION_KEEP)
			continue;
		if (lw_map_put(&seen, lw_dev_eui_u64(v[i]->dev_eui), v[i])) {
			send(s, v + begin, i - begin, false);
			begin = i;
			lw_map_clear(&seen);
			lw_map_put(&seen, lw_dev_eui_u64(v[i]->dev_eui), v[i]);
		}
	}
	lw_map_deinit(&seen);
	if (n > begin)
		send(s, v + begin, n - begin, !s->n_flights && hopes(s));
}

#define TX_CHANGES 512 /* of one transaction: a longer one holds up those behind it */
/* Transactions under way. What comes meanwhile waits and goes together: at once when there is little to do, in larger
 * and larger pieces the more there is. SQLite writes one at a time anyway; PostgreSQL is a round trip away. */
enum { FLIGHTS_SQLITE = 1, FLIGHTS_PG = 3 };

/* Under load transactions keep apart. Each costs a sync, two wakes of threads and a page for each row however few rows
 * it has; at a rate where nobody needs that, a message leaves as soon as it is stored. */
#define GAP_MS 20
#define GAP_FROM_PER_S 2500
#define GAP_FULL_PER_S 6000

static bool is_too_soon(struct ns_store *s)
{
	int64_t next_ns = lw_pace_next_ns(&s->pace);
	if (s->n_changes >= TX_CHANGES || rt_loop_mono_ns(s->o.loop) >= next_ns)
		return false;
	if (!rt_timer_armed(&s->gap_timer))
		rt_timer_start_at(&s->gap_timer, next_ns);
	return true;
}

/* The turn that it makes goes on to ns_commit_flush(). */
static void on_gap_end(struct rt_timer *t, void *arg)
{
	(void)t;
	(void)arg;
}

void ns_commit_init(struct ns_store *s)
{
	lw_pace_init(&s->pace, GAP_FROM_PER_S, GAP_FULL_PER_S, GAP_MS, rt_loop_mono_ns(s->o.loop));
	rt_timer_init(&s->gap_timer, s->o.loop, "commit_gap", on_gap_end, s);
}

void ns_commit_deinit(struct ns_store *s)
{
	rt_timer_stop(&s->gap_timer);
}

void ns_commit_flush(void *store)
{
	struct ns_store *s = store;
	if (!s->n_changes || is_too_soon(s))
		return;
	size_t at = 0, most = sql_is_sqlite(s->db) ? FLIGHTS_SQLITE : FLIGHTS_PG;
	if (!sql_is_up(s->db)) /* each waits its own time for it */
		most = SIZE_MAX;
	while (at < s->n_changes && s->n_flights < most) {
		size_t n = s->n_changes - at < TX_CHANGES ? s->n_changes - at : TX_CHANGES;
		send_all(s, s->changes + at, n);
		at += n;
	}
	if (at)
		lw_pace_begun(&s->pace, rt_loop_mono_ns(s->o.loop), at);
	s->n_changes -= at;
	if (at && s->n_changes)
		memmove(s->changes, s->changes + at, s->n_changes * sizeof(struct ns_change *));
}

/* Without waiting for those under way. */
void ns_commit_flush_all(struct ns_store *s)
{
	for (size_t at = 0; at < s->n_changes; at += TX_CHANGES)
		send_all(s, s->changes + at, s->n_changes - at < TX_CHANGES ? s->n_changes - at : TX_CHANGES);
	s->n_changes = 0;
}

/* Uplinks, downlinks and answers of gateways that are ready in one turn share a transaction. */
void ns_store_commit(void *self, struct ns_change **v, size_t n)
{
	struct ns_store *s = self;
	if (s->n_changes + n > s->cap_changes) {
		s->cap_changes = 2 * (s->n_changes + n);
		s->changes = lw_xreallocarray(s->changes, s->cap_changes, sizeof(struct ns_change *));
	}
	memcpy(s->changes + s->n_changes, v, n * sizeof(struct ns_change *));
	s->n_changes += n;
}
