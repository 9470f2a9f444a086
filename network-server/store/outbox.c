/* Events that the application server has not acknowledged. */
#include <stdlib.h>

#include "common/base/xmalloc.h"
#include "network-server/store/store_impl.h"

static const struct sql_stmt READ = {
	.name = "outbox_read",
	.text = "SELECT seq, body FROM outbox WHERE origin = $1 AND seq > $2 AND length(body) > 0 ORDER BY seq LIMIT "
		"$3",
	.params = "tll",
	.cols = "ly",
};

static const struct sql_stmt REMOVE = {
	.name = "outbox_remove",
	.text = "DELETE FROM outbox WHERE origin = $1 AND seq <= $2",
	.params = "tl",
};

struct reading {
	ns_outbox_fn *done;
	void *arg;
};

static void on_rows(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct reading *w = arg;
	size_t n = r ? sql_rows(r) : 0;
	struct ns_stored_event *v = lw_xcalloc(n ? n : 1, sizeof(*v));
	for (size_t i = 0; i < n; i++)
		v[i] = (struct ns_stored_event){(uint64_t)sql_i64(r, i, 0), sql_span(r, i, 1)};
	w->done(w->arg, outcome->err, v, n);
	free(v);
	free(w);
}

void ns_store_read_outbox(struct ns_store *s, const char *origin, uint64_t after_seq, uint32_t limit,
			  ns_outbox_fn *done, void *arg)
{
	struct reading *w = lw_xmalloc(sizeof(*w));
	struct sql_query *q = sql_query_new(s->db, &READ);
	struct sql_params *p = sql_query_params(q);
	*w = (struct reading){done, arg};
	sql_put_text(p, origin);
	sql_put_i64(p, ns_i64(after_seq));
	sql_put_i64(p, limit);
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
