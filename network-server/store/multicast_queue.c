/* What the API asks and changes of the queues of multicast groups. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/pb/unpack.h"
#include "network-server/store/store_impl.h"

/* The counter is taken and the item stored in one transaction: no two items have the same, whoever else enqueues. */
static const struct sql_stmt COUNT_UP = {
	.name = "multicast_count_up",
	.text = "UPDATE multicast_group SET f_cnt = multicast_group.f_cnt + 1, writer = b.writer FROM {batch}"
		" WHERE multicast_group.id = b.id AND multicast_group.f_cnt >= b.low AND multicast_group.f_cnt < b.high"
		" AND (SELECT count(*) FROM multicast_item AS i WHERE i.group_id = b.id) < b.most"
		" RETURNING multicast_group.f_cnt",
	.batch = "id:u low:l high:l writer:l most:l",
	.cols = "l",
};

static const struct sql_stmt INSERT = {
	.name = "multicast_insert",
	.text = "INSERT INTO multicast_item (id, group_id, f_cnt, body, planned, enqueued_at)"
		" SELECT b.id, b.group_id, g.f_cnt - 1, b.body, 0, b.now_us FROM {batch}"
		" JOIN multicast_group AS g ON g.id = b.group_id AND g.writer = b.writer",
	.batch = "id:u group_id:u body:y now_us:l writer:l",
};

static const struct sql_stmt EXISTING = {
	.name = "multicast_existing",
	.text = "SELECT (SELECT count(*) FROM multicast_item WHERE group_id = $1) FROM multicast_group WHERE id = $1",
	.params = "u",
	.cols = "l",
};

static const struct sql_stmt GET = {
	.name = "multicast_get",
	.text = "SELECT f_cnt, body FROM multicast_group WHERE id = $1",
	.params = "u",
	.cols = "ly",
};

static const struct sql_stmt LIST = {
	.name = "multicast_list",
	.text = "SELECT f_cnt, body, (SELECT count(*) FROM multicast_item WHERE group_id = $1)"
		" FROM multicast_item WHERE group_id = $1 ORDER BY f_cnt LIMIT $2",
	.params = "ul",
	.cols = "lyl",
};

static const struct sql_stmt FLUSH = {
	.name = "multicast_flush",
	.text = "DELETE FROM multicast_item WHERE group_id = $1",
	.params = "u",
};

static const struct sql_stmt WAITING = {
	.name = "multicast_waiting",
	.text = "SELECT DISTINCT group_id FROM multicast_item",
	.cols = "u",
};

/* ---- enqueue ---- */

struct enqueuing {
	ns_multicast_enqueued_fn *done;
	void *arg;
	bool added;
	bool exists;
	bool full;
	uint32_t most;
	uint32_t f_cnt;
};

static void on_counted(void *arg, const struct sql_result *r)
{
	struct enqueuing *e = arg;
	e->added = sql_rows(r) > 0;
	if (e->added)
		e->f_cnt = (uint32_t)(sql_i64(r, 0, 0) - 1);
}

static void on_existing(void *arg, const struct sql_result *r)
{
	struct enqueuing *e = arg;
	e->exists = sql_rows(r) > 0;
	e->full = e->exists && sql_i64(r, 0, 0) >= (int64_t)e->most;
}

static void on_enqueued(void *arg, const struct sql_outcome *outcome)
{
	struct enqueuing *e = arg;
	int err = outcome->err ? outcome->err
		  : e->added   ? 0
		  : e->full    ? LW_EFULL
		  : e->exists  ? LW_ECONFLICT
			       : LW_ENOTFOUND;
	e->done(e->arg, err, e->f_cnt);
	free(e);
}

void ns_store_enqueue_multicast(struct ns_store *s, const Longwave__Ns__V1__MulticastItem *item,
				ns_multicast_enqueued_fn *done, void *arg)
{
	struct enqueuing *e = lw_xcalloc(1, sizeof(*e));
	struct sql_tx *tx = sql_tx_new(s->db);
	uint64_t writer = s->next_writer++;
	struct lw_uuid group = {{0}}, id = {{0}};
	e->done = done;
	e->arg = arg;
	e->most = s->o.max_multicast_queue;
	(void)lw_uuid_parse(&group, item->multicast_group_id); /* checked by the caller */
	(void)lw_uuid_parse(&id, item->id);
	struct sql_params *p = sql_tx_add(tx, &COUNT_UP, on_counted, e);
	sql_put_uuid(p, group);
	sql_put_i64(p, item->first_f_cnt);
	/* The last counter of all is never used: there is none behind it. */
	int64_t high = (int64_t)item->first_f_cnt + (int64_t)item->n_frm_payloads;
	sql_put_i64(p, high > UINT32_MAX ? UINT32_MAX : high);
	sql_put_i64(p, ns_i64(writer));
	sql_put_i64(p, e->most);
	p = sql_tx_add(tx, &INSERT, NULL, NULL);
	sql_put_uuid(p, id);
	sql_put_uuid(p, group);
	size_t n = longwave__ns__v1__multicast_item__get_packed_size(item);
	uint8_t *body = lw_xmalloc(n ? n : 1);
	longwave__ns__v1__multicast_item__pack(item, body);
	sql_put_bytes(p, lw_span(body, n));
	free(body);
	sql_put_i64(p, rt_loop_now_ns(s->o.loop) / LW_NS_PER_US);
	sql_put_i64(p, ns_i64(writer));
	sql_put_uuid(sql_tx_add(tx, &EXISTING, on_existing, e), group);
	sql_tx_commit(tx, on_enqueued, e);
}

/* ---- the rest ---- */

struct asking {
	struct lw_arena *arena;
	ns_multicast_got_fn *got;
	ns_multicast_list_fn *list;
	ns_store_done_fn *done;
	ns_multicast_waiting_fn *waiting;
	void *arg;
};

static struct asking *asking(struct asking with)
{
	struct asking *a = lw_xmalloc(sizeof(*a));
	*a = with;
	return a;
}

static void ask(struct ns_store *s, const struct sql_stmt *stmt, struct lw_uuid group, sql_query_fn *fn,
		struct asking *a)
{
	struct sql_query *q = sql_query_new(s->db, stmt);
	sql_put_uuid(sql_query_params(q), group);
	sql_query_send(q, fn, a);
}

static void on_got(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct asking *a = arg;
	ProtobufCMessage *m = NULL;
	int err = outcome->err;
	if (!err && sql_rows(r) == 0)
		err = LW_ENOTFOUND;
	if (!err)
		err = lw_pb_unpack(&longwave__ns__v1__multicast_group__descriptor, sql_span(r, 0, 1), a->arena, &m);
	Longwave__Ns__V1__MulticastGroup *g = (Longwave__Ns__V1__MulticastGroup *)(void *)m;
	if (!err)
		g->f_cnt = (uint32_t)sql_i64(r, 0, 0);
	a->got(a->arg, err, g);
	free(a);
}

void ns_store_get_multicast(struct ns_store *s, struct lw_uuid group, struct lw_arena *arena, ns_multicast_got_fn *got,
			    void *arg)
{
	ask(s, &GET, group, on_got, asking((struct asking){.arena = arena, .got = got, .arg = arg}));
}

static void on_list(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct asking *a = arg;
	size_t n = r ? sql_rows(r) : 0, kept = 0, total = n ? (size_t)sql_i64(r, 0, 2) : 0;
	int err = outcome->err;
	Longwave__Ns__V1__MulticastItem **v = LW_ARENA_ARRAY(a->arena, Longwave__Ns__V1__MulticastItem *, n + 1);
	for (size_t i = 0; v && !err && i < n; i++) {
		ProtobufCMessage *m = NULL;
		if (lw_pb_unpack(&longwave__ns__v1__multicast_item__descriptor, sql_span(r, i, 1), a->arena, &m))
			continue;
		Longwave__Ns__V1__MulticastItem *item = (Longwave__Ns__V1__MulticastItem *)(void *)m;
		item->f_cnt = (uint32_t)sql_i64(r, i, 0);
		size_t at = item->f_cnt - item->first_f_cnt;
		if (at >= item->n_frm_payloads)
			continue;
		item->frm_payloads[0] = item->frm_payloads[at];
		item->n_frm_payloads = 1;
		v[kept++] = item;
	}
	a->list(a->arg, v ? err : LW_ENOMEM, v, kept, total);
	free(a);
}

uint32_t ns_store_max_multicast_queue(const struct ns_store *s)
{
	return s->o.max_multicast_queue;
}

void ns_store_list_multicast(struct ns_store *s, struct lw_uuid group, size_t limit, struct lw_arena *arena,
			     ns_multicast_list_fn *list, void *arg)
{
	struct sql_query *q = sql_query_new(s->db, &LIST);
	sql_put_uuid(sql_query_params(q), group);
	sql_put_i64(sql_query_params(q), (int64_t)limit);
	sql_query_send(q, on_list, asking((struct asking){.arena = arena, .list = list, .arg = arg}));
}

static void on_flushed(void *arg, const struct sql_outcome *outcome)
{
	struct asking *a = arg;
	a->done(a->arg, outcome->err);
	free(a);
}

void ns_store_flush_multicast(struct ns_store *s, struct lw_uuid group, ns_store_done_fn *done, void *arg)
{
	struct sql_tx *tx = sql_tx_new(s->db);
	sql_put_uuid(sql_tx_add(tx, &FLUSH, NULL, NULL), group);
	sql_tx_commit(tx, on_flushed, asking((struct asking){.done = done, .arg = arg}));
}

static void on_waiting(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct asking *a = arg;
	size_t n = outcome->err ? 0 : sql_rows(r);
	struct lw_uuid *v = lw_xcalloc(n + 1, sizeof(*v));
	for (size_t i = 0; i < n; i++)
		v[i] = sql_uuid(r, i, 0);
	if (outcome->err != LW_ECANCELLED)
		a->waiting(a->arg, v, n);
	free(v);
	free(a);
}

void ns_store_waiting_multicast(struct ns_store *s, ns_multicast_waiting_fn *waiting, void *arg)
{
	sql_query_send(sql_query_new(s->db, &WAITING), on_waiting,
		       asking((struct asking){.waiting = waiting, .arg = arg}));
}
