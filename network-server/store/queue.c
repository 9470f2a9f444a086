/* What waits for devices. The body of a row is the item as it was handed in; its state has columns of its own. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/time.h"
#include "common/base/xmalloc.h"
#include "common/pb/unpack.h"
#include "network-server/store/store_impl.h"

static const struct sql_stmt HEADS = {
	.name = "queue_heads",
	.text = "SELECT x.n, x.body, x.item_state, x.f_cnt_down, x.timeout_after, x.total, x.id FROM"
		" (SELECT b.n, b.most, q.id, q.body, q.item_state, q.f_cnt_down, q.timeout_after, q.position,"
		"  count(*) OVER (PARTITION BY b.n) AS total, row_number() OVER (PARTITION BY b.n ORDER BY q.position) "
		"AS place"
		"  FROM {batch} JOIN queue_item AS q ON q.dev_eui = b.dev_eui) AS x"
		" WHERE x.place <= x.most ORDER BY x.n, x.position",
	.batch = "dev_eui:l most:l",
	.cols = "lyllllu",
};

static const struct sql_stmt LIST = {
	.name = "queue_list",
	.text = "SELECT body, item_state, f_cnt_down, timeout_after,"
		" (SELECT count(*) FROM queue_item WHERE dev_eui = $1)"
		" FROM queue_item WHERE dev_eui = $1 ORDER BY position LIMIT $2",
	.params = "ll",
	.cols = "yllll",
};

/* The rows of one batch are seen by those behind them on SQLite, and are not on PostgreSQL: what waits is counted
 * without the positions of this batch, and `ahead` says how many of it come before. */
static const struct sql_stmt INSERT = {
	.name = "queue_insert",
	.text = "INSERT INTO queue_item (id, dev_eui, position, body, item_state, f_cnt_down, timeout_after)"
		" SELECT b.id, b.dev_eui, b.position, b.body, 0, 0, 0 FROM {batch}"
		" WHERE EXISTS (SELECT 1 FROM device AS d WHERE d.dev_eui = b.dev_eui)"
		" AND (SELECT count(*) FROM queue_item AS q WHERE q.dev_eui = b.dev_eui"
		"  AND (q.position < b.first OR q.position >= b.behind)) + b.ahead < b.most"
		" ON CONFLICT (id) DO NOTHING RETURNING id",
	.batch = "id:u dev_eui:l position:l body:y first:l behind:l ahead:l most:l",
	.cols = "u",
};

static const struct sql_stmt THERE = {
	.name = "queue_there",
	.text = "SELECT q.id FROM {batch} JOIN queue_item AS q ON q.id = b.id",
	.batch = "id:u",
	.cols = "u",
};

/* The version rises, so that whoever believes the queue to be empty meets a conflict and looks again. */
static const struct sql_stmt TOUCH = {
	.name = "queue_touch_device",
	.text = "UPDATE device SET version = device.version + 1 FROM {batch} WHERE device.dev_eui = b.dev_eui"
		" RETURNING {b.n}, device.version",
	.batch = "dev_eui:l",
	.cols = "ll",
};

static const struct sql_stmt FLUSH = {
	.name = "queue_flush",
	.text = "DELETE FROM queue_item WHERE dev_eui = $1 AND item_state = 0",
	.params = "l",
};

static const struct sql_stmt REENCRYPT = {
	.name = "queue_reencrypt",
	.text = "UPDATE queue_item SET body = b.body FROM {batch} WHERE queue_item.id = b.id AND queue_item.dev_eui = "
		"b.dev_eui"
		" AND queue_item.item_state <> 2",
	.batch = "id:u dev_eui:l body:y",
};

/* ---- for the flows ---- */

struct heads {
	struct ns_store *s;
	uint32_t *stamps; /* of the cache's entries when they were asked for; 0: none */
	size_t n;
	struct ns_queue_fetch *v[];
};

/* The queue was empty; true still, when nothing was added since. */
static void note_empty(const struct heads *f, size_t i)
{
	struct ns_cached *c = lw_map_find(&f->s->devices, lw_dev_eui_u64(f->v[i]->dev_eui));
	if (c && f->stamps[i] && c->queue_stamp == f->stamps[i])
		c->may_have_queue = false;
}

static void item_from_body(const Longwave__Ns__V1__QueueItem *b, struct lw_uuid id, struct lw_arena *a,
			   struct ns_queue_item *out)
{
	*out = (struct ns_queue_item){
		.id = id,
		.f_port = (uint8_t)b->f_port,
		.confirmed = b->confirmed,
		.is_encrypted_by_caller = b->is_encrypted_by_caller,
		.first_f_cnt = b->first_f_cnt,
		.expires_at_ns = b->expires_at ? lw_join_ns(b->expires_at->seconds, b->expires_at->nanos) : 0,
		.sealed = lw_arena_span(a, lw_span(b->sealed.data, b->sealed.len)),
	};
	for (size_t i = 0; i < b->n_frm_payloads && i < NS_QUEUE_PAYLOADS; i++)
		out->payload[out->n_payloads++] =
			lw_arena_span(a, lw_span(b->frm_payloads[i].data, b->frm_payloads[i].len));
	out->session_key_id_len =
		(uint8_t)(b->session_key_id.len < NS_KEY_ID_MAX ? b->session_key_id.len : NS_KEY_ID_MAX);
	if (out->session_key_id_len)
		memcpy(out->session_key_id, b->session_key_id.data, out->session_key_id_len);
}

/* One that cannot be read is an item all the same: who plans downlinks says what becomes of it. */
static void read_item(struct ns_store *s, struct lw_span packed, struct lw_uuid id, struct lw_arena *a,
		      struct ns_queue_item *out)
{
	Longwave__Ns__V1__QueueItem *b = longwave__ns__v1__queue_item__unpack(NULL, packed.n, packed.p);
	char text[LW_UUID_TEXT];
	if (b && b->f_port >= 1 && b->f_port <= 255) {
		item_from_body(b, id, a, out);
	} else {
		*out = (struct ns_queue_item){.id = id, .is_damaged = true};
		ns_store_damaged(s, "queue_item", lw_uuid_print(id, text), "body");
	}
	if (b)
		longwave__ns__v1__queue_item__free_unpacked(b, NULL);
}

static void on_heads(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct heads *f = arg;
	for (size_t i = 0; i < f->n; i++) {
		f->v[i]->err = outcome->err ? LW_EUNAVAILABLE : 0;
		f->v[i]->n = f->v[i]->total = 0;
		f->v[i]->items = NULL;
	}
	for (size_t i = 0; r && i < sql_rows(r); i++) {
		size_t at = (size_t)sql_i64(r, i, 0);
		struct ns_queue_fetch *req = at < f->n ? f->v[at] : NULL;
		if (!req || req->n == req->max)
			continue;
		if (!req->items)
			req->items = LW_ARENA_ARRAY(req->arena, struct ns_queue_item, req->max);
		if (!req->items) {
			req->err = LW_ENOMEM;
		} else {
			struct ns_queue_item *item = &req->items[req->n++];
			read_item(f->s, sql_span(r, i, 1), sql_uuid(r, i, 6), req->arena, item);
			item->state = (enum ns_item_state)sql_i64(r, i, 2);
			item->f_cnt_down = (uint32_t)sql_i64(r, i, 3);
			item->timeout_after_ns = sql_i64(r, i, 4) * LW_NS_PER_US;
			req->total = (size_t)sql_i64(r, i, 5);
		}
	}
	for (size_t i = 0; !outcome->err && i < f->n; i++)
		if (!f->v[i]->err && !f->v[i]->n)
			note_empty(f, i);
	for (size_t i = 0; i < f->n; i++)
		f->v[i]->done(f->v[i]);
	free(f->stamps);
	free(f);
}

void ns_store_queue_head(void *self, struct ns_queue_fetch **v, size_t n)
{
	struct ns_store *s = self;
	struct heads *f = lw_xmalloc(sizeof(*f) + n * sizeof(f->v[0]));
	struct sql_query *q = sql_query_new(s->db, &HEADS);
	f->s = s;
	f->n = n;
	f->stamps = lw_xcalloc(n, sizeof(*f->stamps));
	for (size_t i = 0; i < n; i++) {
		const struct ns_cached *c = lw_map_find(&s->devices, lw_dev_eui_u64(v[i]->dev_eui));
		f->stamps[i] = c ? c->queue_stamp : 0;
		f->v[i] = v[i];
		sql_put_i64(sql_query_params(q), ns_i64(lw_dev_eui_u64(v[i]->dev_eui)));
		sql_put_i64(sql_query_params(q), (int64_t)v[i]->max);
	}
	sql_query_send(q, on_heads, f);
}

/* ---- for the API ---- */

struct waiting {
	ns_store_done_fn *done;
	void *arg;
};

static void on_done(void *arg, const struct sql_outcome *outcome)
{
	struct waiting *w = arg;
	w->done(w->arg, outcome->err);
	free(w);
}

static void commit(struct sql_tx *tx, ns_store_done_fn *done, void *arg)
{
	struct waiting *w = lw_xmalloc(sizeof(*w));
	*w = (struct waiting){done, arg};
	sql_tx_commit(tx, on_done, w);
}

static void put_body(struct sql_params *p, const Longwave__Ns__V1__QueueItem *item)
{
	size_t n = longwave__ns__v1__queue_item__get_packed_size(item);
	uint8_t *bytes = lw_xmalloc(n ? n : 1);
	longwave__ns__v1__queue_item__pack(item, bytes);
	sql_put_bytes(p, lw_span(bytes, n));
	free(bytes);
}

struct enqueueing {
	struct ns_store *s;
	ns_store_done_fn *done;
	void *arg;
	const Longwave__Ns__V1__EnqueueRequest *req;
	enum ns_enqueue_result *results; /* per item */
	size_t n_added;
	size_t n; /* devices */
	struct lw_dev_eui *dev_eui;
	struct lw_map there;  /* those of them that the database has */
	struct lw_bmap added; /* ids */
	struct lw_bmap known; /* ids that were there already */
};

static void on_touched(void *arg, const struct sql_result *r)
{
	struct enqueueing *e = arg;
	for (size_t i = 0; i < sql_rows(r); i++) {
		size_t at = (size_t)sql_i64(r, i, 0);
		if (at >= e->n)
			continue;
		lw_map_put(&e->there, lw_dev_eui_u64(e->dev_eui[at]), e);
		ns_cache_enqueued(e->s, e->dev_eui[at], (uint64_t)sql_i64(r, i, 1));
	}
}

static void on_added(void *arg, const struct sql_result *r)
{
	struct enqueueing *e = arg;
	e->n_added += sql_rows(r);
	for (size_t i = 0; e->results && i < sql_rows(r); i++) {
		struct lw_uuid id = sql_uuid(r, i, 0);
		lw_bmap_put(&e->added, lw_span(id.b, sizeof(id.b)), e);
	}
}

static enum ns_enqueue_result result_of(const struct enqueueing *e, const Longwave__Ns__V1__QueueItem *item)
{
	struct lw_dev_eui eui = {0};
	struct lw_uuid id = {0};
	lw_dev_eui_parse(&eui, item->dev_eui);
	lw_uuid_parse(&id, item->id);
	if (!lw_map_find(&e->there, lw_dev_eui_u64(eui)))
		return NS_ENQUEUE_NO_DEVICE;
	if (lw_bmap_find(&e->added, lw_span(id.b, sizeof(id.b))))
		return NS_ENQUEUED;
	return lw_bmap_find(&e->known, lw_span(id.b, sizeof(id.b))) ? NS_ENQUEUE_EXISTS : NS_ENQUEUE_FULL;
}

static void end_enqueueing(struct enqueueing *e, int err)
{
	bool full = false;
	for (size_t i = 0; !err && i < e->req->n_items; i++) {
		enum ns_enqueue_result r = result_of(e, e->req->items[i]);
		full = full || r == NS_ENQUEUE_FULL;
		if (e->results)
			e->results[i] = r;
	}
	if (!err && e->n_added == 0)
		err = full ? LW_EFULL : lw_map_count(&e->there) ? LW_EEXISTS : LW_ENOTFOUND;
	e->done(e->arg, err);
	lw_map_deinit(&e->there);
	lw_bmap_deinit(&e->added);
	lw_bmap_deinit(&e->known);
	free(e->dev_eui);
	free(e);
}

static void on_there(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct enqueueing *e = arg;
	for (size_t i = 0; r && i < sql_rows(r); i++) {
		struct lw_uuid id = sql_uuid(r, i, 0);
		lw_bmap_put(&e->known, lw_span(id.b, sizeof(id.b)), e);
	}
	/* Some may have been added: whoever gets an error asks again, with the same ids. */
	end_enqueueing(e, outcome->err ? LW_EUNAVAILABLE : 0);
}

/* What the database says of itself (full, away, a deadlock) is no word about the queue or the items: asked again, they
 * may be taken. */
static int error_of(const struct sql_outcome *outcome)
{
	switch (outcome->err) {
	case 0:
	case LW_EBIG:
	case LW_EINVAL:
	case LW_EINTERNAL:
	case LW_ECANCELLED:
		return outcome->err;
	default:
		return LW_EUNAVAILABLE;
	}
}

static void on_enqueued(void *arg, const struct sql_outcome *outcome)
{
	struct enqueueing *e = arg;
	struct sql_query *q = NULL;
	struct lw_uuid id;
	/* It may have been done: what memory knows is no longer certain. */
	for (size_t i = 0; outcome->err && outcome->unknown && i < e->n; i++)
		ns_cache_drop(e->s, e->dev_eui[i]);
	/* Why not, of those that were not added: is it there, or is there no room? */
	for (size_t i = 0; !outcome->err && i < e->req->n_items; i++) {
		if (result_of(e, e->req->items[i]) != NS_ENQUEUE_FULL || lw_uuid_parse(&id, e->req->items[i]->id))
			continue;
		if (!q)
			q = sql_query_new(e->s->db, &THERE);
		sql_put_uuid(sql_query_params(q), id);
	}
	if (q)
		sql_query_send(q, on_there, e);
	else
		end_enqueueing(e, error_of(outcome));
}

static int by_eui(const void *a, const void *b)
{
	uint64_t x = lw_dev_eui_u64(*(const struct lw_dev_eui *)a), y = lw_dev_eui_u64(*(const struct lw_dev_eui *)b);
	return (x > y) - (x < y);
}

/* The devices of the items, each once, in the order in which commits take them, too. */
static void collect_devices(struct enqueueing *e, const Longwave__Ns__V1__EnqueueRequest *req)
{
	struct lw_map seen;
	struct lw_dev_eui eui;
	lw_map_init(&seen);
	e->dev_eui = lw_xcalloc(req->n_items ? req->n_items : 1, sizeof(*e->dev_eui));
	for (size_t i = 0; i < req->n_items; i++)
		if (lw_dev_eui_parse(&eui, req->items[i]->dev_eui) == 0 && !lw_map_put(&seen, lw_dev_eui_u64(eui), e))
			e->dev_eui[e->n++] = eui;
	lw_map_deinit(&seen);
	qsort(e->dev_eui, e->n, sizeof(*e->dev_eui), by_eui);
}

/* The item's parameters. How many of its device came before it in the request is counted in `ahead`. */
static void put_item(struct sql_params *p, struct ns_store *s, const Longwave__Ns__V1__QueueItem *item, uint64_t first,
		     size_t n, struct lw_map *ahead)
{
	struct lw_dev_eui eui = {0};
	struct lw_uuid id = {0};
	lw_dev_eui_parse(&eui, item->dev_eui);
	lw_uuid_parse(&id, item->id);
	uintptr_t before = (uintptr_t)lw_map_find(ahead, lw_dev_eui_u64(eui));
	lw_map_put(ahead, lw_dev_eui_u64(eui), (void *)(before + 1));
	sql_put_uuid(p, id);
	sql_put_i64(p, ns_i64(lw_dev_eui_u64(eui)));
	sql_put_i64(p, ns_i64(s->next_position++));
	put_body(p, item);
	sql_put_i64(p, ns_i64(first));
	sql_put_i64(p, ns_i64(first + n));
	sql_put_i64(p, (int64_t)before);
	sql_put_i64(p, s->o.max_queue);
}

void ns_store_enqueue(struct ns_store *s, const Longwave__Ns__V1__EnqueueRequest *req, enum ns_enqueue_result *results,
		      ns_store_done_fn *done, void *arg)
{
	struct sql_tx *tx = sql_tx_new(s->db);
	struct enqueueing *e = lw_xcalloc(1, sizeof(*e));
	uint64_t first = s->next_position;
	struct lw_map ahead;
	struct lw_dev_eui eui;
	struct lw_uuid id;
	*e = (struct enqueueing){.s = s, .done = done, .arg = arg, .req = req, .results = results};
	lw_map_init(&e->there);
	lw_bmap_init(&e->added);
	lw_bmap_init(&e->known);
	lw_map_init(&ahead);
	collect_devices(e, req);
	struct sql_params *p = sql_tx_add(tx, &TOUCH, on_touched, e);
	for (size_t i = 0; i < e->n; i++)
		sql_put_i64(p, ns_i64(lw_dev_eui_u64(e->dev_eui[i])));
	for (size_t i = 0; req->flush_queue && i < e->n; i++)
		sql_put_i64(sql_tx_add(tx, &FLUSH, NULL, NULL), ns_i64(lw_dev_eui_u64(e->dev_eui[i])));
	p = sql_tx_add(tx, &INSERT, on_added, e);
	for (size_t i = 0; i < req->n_items; i++)
		if (!lw_uuid_parse(&id, req->items[i]->id) && !lw_dev_eui_parse(&eui, req->items[i]->dev_eui))
			put_item(p, s, req->items[i], first, req->n_items, &ahead);
	lw_map_deinit(&ahead);
	sql_tx_commit(tx, on_enqueued, e);
}

void ns_store_flush_queue(struct ns_store *s, struct lw_dev_eui dev_eui, ns_store_done_fn *done, void *arg)
{
	struct sql_tx *tx = sql_tx_new(s->db);
	sql_put_i64(sql_tx_add(tx, &FLUSH, NULL, NULL), ns_i64(lw_dev_eui_u64(dev_eui)));
	commit(tx, done, arg);
}

struct listing {
	struct ns_store *s;
	struct lw_dev_eui dev_eui;
	struct lw_arena *arena;
	ns_queue_list_fn *done;
	void *arg;
};

static void on_list(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct listing *l = arg;
	char eui[LW_EUI_TEXT];
	size_t n = r ? sql_rows(r) : 0, kept = 0, total = n ? (size_t)sql_i64(r, 0, 4) : 0;
	int err = outcome->err;
	Longwave__Ns__V1__QueueItem **v = n ? LW_ARENA_ARRAY(l->arena, Longwave__Ns__V1__QueueItem *, n) : NULL;
	if (n && !v)
		err = LW_ENOMEM;
	for (size_t i = 0; !err && i < n; i++) {
		ProtobufCMessage *m = NULL;
		if (lw_pb_unpack(&longwave__ns__v1__queue_item__descriptor, sql_span(r, i, 0), l->arena, &m)) {
			ns_store_damaged(l->s, "queue_item of device", lw_dev_eui_print(l->dev_eui, eui), "body");
			continue;
		}
		Longwave__Ns__V1__QueueItem *item = (Longwave__Ns__V1__QueueItem *)m;
		int64_t state = sql_i64(r, i, 1), timeout_us = sql_i64(r, i, 3);
		item->is_pending = item->confirmed && state != NS_ITEM_QUEUED;
		item->f_cnt_down = (uint32_t)sql_i64(r, i, 2);
		if (timeout_us) {
			item->timeout_after = LW_ARENA_NEW(l->arena, Google__Protobuf__Timestamp);
			if (item->timeout_after) {
				google__protobuf__timestamp__init(item->timeout_after);
				item->timeout_after->seconds = timeout_us / 1000000;
				item->timeout_after->nanos = (int32_t)(timeout_us % 1000000) * 1000;
			}
		}
		v[kept++] = item;
	}
	l->done(l->arg, err, v, kept, total);
	free(l);
}

uint32_t ns_store_max_queue(const struct ns_store *s)
{
	return s->o.max_queue;
}

void ns_store_list_queue(struct ns_store *s, struct lw_dev_eui dev_eui, size_t limit, struct lw_arena *arena,
			 ns_queue_list_fn *done, void *arg)
{
	struct listing *l = lw_xmalloc(sizeof(*l));
	struct sql_query *q = sql_query_new(s->db, &LIST);
	*l = (struct listing){s, dev_eui, arena, done, arg};
	sql_put_i64(sql_query_params(q), ns_i64(lw_dev_eui_u64(dev_eui)));
	sql_put_i64(sql_query_params(q), (int64_t)limit);
	sql_query_send(q, on_list, l);
}

void ns_store_reencrypt(struct ns_store *s, const Longwave__Ns__V1__ReencryptRequest *req, ns_store_done_fn *done,
			void *arg)
{
	struct sql_tx *tx = sql_tx_new(s->db);
	struct sql_params *p = sql_tx_add(tx, &REENCRYPT, NULL, NULL);
	struct lw_dev_eui eui = {0};
	struct lw_uuid id;
	lw_dev_eui_parse(&eui, req->dev_eui);
	for (size_t i = 0; i < req->n_items; i++) {
		if (lw_uuid_parse(&id, req->items[i]->id))
			continue;
		sql_put_uuid(p, id);
		sql_put_i64(p, ns_i64(lw_dev_eui_u64(eui)));
		put_body(p, req->items[i]);
	}
	commit(tx, done, arg);
}
