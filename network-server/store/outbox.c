/* Events that the application server has not acknowledged. */
#include <stdlib.h>

#include "common/base/xmalloc.h"
#include "network-server/store/store_impl.h"

static const struct sql_stmt READ = {
	.name = "outbox_read",
	.text = "SELECT seq, body FROM outbox WHERE origin = $1 AND seq > $2 ORDER BY seq LIMIT $3",
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

void ns_store_read_outbox(struct ns_store *s, uint64_t after_seq, uint32_t limit, ns_outbox_fn *done, void *arg)
{
	struct reading *w = lw_xmalloc(sizeof(*w));
	struct sql_query *q = sql_query_new(s->db, &READ);
	struct sql_params *p = sql_query_params(q);
	*w = (struct reading){done, arg};
	sql_put_text(p, s->origin);
	sql_put_i64(p, ns_i64(after_seq));
	sql_put_i64(p, limit);
	sql_query_send(q, on_rows, w);
}

void ns_store_ack_outbox(struct ns_store *s, uint64_t up_to_seq)
{
	if (up_to_seq <= s->ack_seq)
		return;
	s->ack_seq = up_to_seq;
	s->ack_dirty = true;
}

/* Lost with a crash: the rows are offered again and acknowledged again. */
void ns_outbox_flush_acks(struct ns_store *s)
{
	if (!s->ack_dirty || !s->ready || !sql_is_up(s->db))
		return;
	struct sql_tx *tx = sql_tx_new(s->db);
	struct sql_params *p = sql_tx_add(tx, &REMOVE, NULL, NULL);
	sql_put_text(p, s->origin);
	sql_put_i64(p, ns_i64(s->ack_seq));
	sql_tx_commit(tx, NULL, NULL);
	s->ack_dirty = false;
}
