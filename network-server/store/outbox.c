/* Events that the application server has not acknowledged. */
#include <stdlib.h>

#include "common/base/xmalloc.h"
#include "network-server/store/store_impl.h"

static const struct sql_stmt READ = {
	.name = "outbox_read",
	.text = "SELECT o.seq, o.body FROM (SELECT seq, sum(n) OVER (ORDER BY seq) - n AS ahead FROM"
		" (SELECT seq, length(body) AS n FROM outbox WHERE origin = $1 AND seq > $2 AND length(body) > 0"
		" ORDER BY seq LIMIT $3) AS y) AS x"
		" JOIN outbox AS o ON o.origin = $1 AND o.seq = x.seq WHERE x.ahead < $4 ORDER BY o.seq",
	.params = "tlll",
	.cols = "ly",
};

static const struct sql_stmt REMOVE = {
	.name = "outbox_remove",
	.text = "DELETE FROM outbox WHERE origin = $1 AND seq <= $2",
	.params = "tl",
};

/* ---- rows of several events ----
 * An octet that no protobuf message begins with, then for each event its length (4, little endian) and the event, as it
 * would stand in a row of its own. Numbers follow each other, the row has the last one: it is read while any of it may
 * be wanted, and removed when all of it is acknowledged. */

#define MANY 0

void ns_outbox_begin_row(struct lw_buf *b)
{
	lw_buf_append_u8(b, MANY);
}

void ns_outbox_put_length(struct lw_buf *b, size_t n)
{
	uint8_t p[4];
	lw_put_le32(p, (uint32_t)n);
	lw_buf_append(b, p, sizeof(p));
}

/* Takes an event off the front. False: that is none. */
static bool next_event(struct lw_span *row, struct lw_span *event)
{
	uint32_t n = row->n < 4 ? 0 : lw_get_le32(row->p);
	if (!n || n > row->n - 4)
		return false;
	*event = lw_span(row->p + 4, n);
	*row = lw_span(row->p + 4 + n, row->n - 4 - n);
	return true;
}

/* 0: the body is one event, or damaged. */
static size_t count_events(struct lw_span body)
{
	struct lw_span event;
	size_t n = 0;
	if (!body.n || body.p[0] != MANY)
		return 0;
	body = lw_span(body.p + 1, body.n - 1);
	for (; body.n; n++)
		if (!next_event(&body, &event))
			return 0;
	return n;
}

struct reading {
	ns_outbox_fn *done;
	void *arg;
	uint64_t after_seq;
	uint32_t limit;
};

/* What a reader is given at once, about. */
#define BYTES_PER_EVENT 1024

static int64_t most_bytes(uint32_t limit)
{
	return (int64_t)limit * BYTES_PER_EVENT;
}

static void on_rows(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct reading *w = arg;
	size_t rows = r ? sql_rows(r) : 0, cap = 0, n = 0, bytes = 0;
	for (size_t i = 0; i < rows; i++) {
		size_t many = count_events(sql_span(r, i, 1));
		cap += many ? many : 1;
		bytes += sql_span(r, i, 1).n;
	}
	struct ns_stored_event *v = lw_xcalloc(cap ? cap : 1, sizeof(*v));
	for (size_t i = 0; i < rows; i++) {
		uint64_t seq = (uint64_t)sql_i64(r, i, 0);
		struct lw_span body = sql_span(r, i, 1);
		size_t many = count_events(body);
		if (!many)
			v[n++] = (struct ns_stored_event){seq, body};
		else
			body = lw_span(body.p + 1, body.n - 1);
		for (size_t k = many; k-- > 0;) {
			struct lw_span event;
			next_event(&body, &event);
			if (seq - k > w->after_seq)
				v[n++] = (struct ns_stored_event){seq - k, event};
		}
	}
	w->done(w->arg, outcome->err, v, n, rows >= w->limit || (int64_t)bytes >= most_bytes(w->limit));
	free(v);
	free(w);
}

void ns_store_read_outbox(struct ns_store *s, const char *origin, uint64_t after_seq, uint32_t limit,
			  ns_outbox_fn *done, void *arg)
{
	struct reading *w = lw_xmalloc(sizeof(*w));
	struct sql_query *q = sql_query_new(s->db, &READ);
	struct sql_params *p = sql_query_params(q);
	*w = (struct reading){done, arg, after_seq, limit};
	sql_put_text(p, origin);
	sql_put_i64(p, ns_i64(after_seq));
	sql_put_i64(p, limit);
	sql_put_i64(p, most_bytes(limit));
	sql_query_send(q, on_rows, w);
}

/* ---- acknowledged ---- */

#define ACK_FLUSH_MS 100

uint64_t ns_store_last_seq(const struct ns_store *s)
{
	return s->next_seq - 1;
}

void ns_store_ack_outbox(struct ns_store *s, uint64_t up_to_seq)
{
	if (up_to_seq <= s->ack_seq || up_to_seq >= s->next_seq)
		return;
	s->ack_seq = up_to_seq;
	s->ack_dirty = true;
	if (!rt_timer_armed(&s->ack_timer))
		rt_timer_start(&s->ack_timer, ACK_FLUSH_MS);
}

void ns_store_ack_orphans(struct ns_store *s, const char *origin, uint64_t up_to_seq)
{
	if (!s->ready || !sql_is_up(s->db))
		return;
	struct sql_tx *tx = sql_tx_new(s->db);
	struct sql_params *p = sql_tx_add(tx, &REMOVE, NULL, NULL);
	sql_put_text(p, origin);
	sql_put_i64(p, ns_i64(up_to_seq));
	sql_tx_commit(tx, NULL, NULL);
}

/* Lost with a crash: the rows are offered again and acknowledged again. */
void ns_outbox_flush_acks(struct ns_store *s)
{
	if (!s->ack_dirty || !s->ready || s->fences || !sql_is_up(s->db))
		return;
	struct sql_tx *tx = sql_tx_new(s->db);
	struct sql_params *p = sql_tx_add(tx, &REMOVE, NULL, NULL);
	sql_put_text(p, s->origin);
	sql_put_i64(p, ns_i64(s->ack_seq));
	sql_tx_commit(tx, NULL, NULL);
	s->ack_dirty = false;
}

static void on_ack_timer(struct rt_timer *t, void *arg)
{
	struct ns_store *s = arg;
	ns_outbox_flush_acks(s);
	if (s->ack_dirty)
		rt_timer_start(t, ACK_FLUSH_MS);
}

/* ---- fences ----
 * A server may still be executing what a lost connection had sent. An empty row with the number of its first event
 * waits for that: either the event is there, or the row takes its place and the late transaction fails on it. */

#define FENCE_RETRY_MS 500

struct ns_fence {
	struct ns_fence *next;
	struct ns_store *s;
	uint64_t seq;
	bool under_way;
};

static const struct sql_stmt FENCE = {
	.name = "outbox_fence",
	.text = "INSERT INTO outbox (origin, seq, body) VALUES ($1, $2, $3) ON CONFLICT (origin, seq) DO NOTHING",
	.params = "tly",
};

static void on_fence(void *arg, const struct sql_outcome *outcome)
{
	struct ns_fence *f = arg;
	struct ns_store *s = f->s;
	f->under_way = false;
	if (outcome->err) {
		if (outcome->err != LW_ECANCELLED && !rt_timer_armed(&s->fence_timer))
			rt_timer_start(&s->fence_timer, FENCE_RETRY_MS);
		return;
	}
	struct ns_fence **at = &s->fences;
	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	free(f);
	if (!s->fences)
		s->o.on_gap(s->o.arg, false);
}

static void set_fences(struct ns_store *s)
{
	for (struct ns_fence *f = s->fences; f; f = f->next) {
		if (f->under_way)
			continue;
		struct sql_tx *tx = sql_tx_new(s->db);
		struct sql_params *p = sql_tx_add(tx, &FENCE, NULL, NULL);
		f->under_way = true;
		sql_put_text(p, s->origin);
		sql_put_i64(p, ns_i64(f->seq));
		sql_put_bytes(p, lw_span("", 0));
		sql_tx_commit(tx, on_fence, f);
	}
}

static void on_fence_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	set_fences(arg);
}

void ns_outbox_fence(struct ns_store *s, uint64_t seq)
{
	struct ns_fence *f = lw_xcalloc(1, sizeof(*f));
	bool first = !s->fences;
	f->s = s;
	f->seq = seq;
	f->next = s->fences;
	s->fences = f;
	if (first)
		s->o.on_gap(s->o.arg, true);
	if (!rt_timer_armed(&s->fence_timer))
		rt_timer_start(&s->fence_timer, 0);
}

void ns_outbox_init(struct ns_store *s)
{
	rt_timer_init(&s->ack_timer, s->o.loop, "outbox_acks", on_ack_timer, s);
	rt_timer_init(&s->fence_timer, s->o.loop, "outbox_fence", on_fence_timer, s);
}

void ns_outbox_deinit(struct ns_store *s)
{
	rt_timer_stop(&s->ack_timer);
	rt_timer_stop(&s->fence_timer);
	while (s->fences) {
		struct ns_fence *f = s->fences;
		s->fences = f->next;
		free(f);
	}
}
