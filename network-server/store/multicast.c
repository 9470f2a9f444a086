/* Multicast groups and what waits for them. The body of an item's row is the item as it was handed in. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/time.h"
#include "common/base/xmalloc.h"
#include "common/pb/unpack.h"
#include "network-server/store/store_impl.h"

/* ---- statements of the flow ---- */

static const struct sql_stmt CLAIM = {
	.name = "multicast_claim",
	.text = "UPDATE multicast_group SET lease = b.owner, lease_until = b.until FROM {batch}"
		" WHERE multicast_group.id = b.id"
		" AND (multicast_group.lease = b.owner OR multicast_group.lease_until <= b.now_us)"
		" RETURNING {b.n}, multicast_group.body, multicast_group.not_before",
	.batch = "id:u owner:t until:l now_us:l",
	.cols = "lyl",
};

static const struct sql_stmt HOLDER = {
	.name = "multicast_holder",
	.text = "SELECT b.n, g.lease_until FROM {batch} JOIN multicast_group AS g ON g.id = b.id ORDER BY b.n",
	.batch = "id:u",
	.cols = "ll",
};

static const struct sql_stmt GATEWAYS = {
	.name = "multicast_gateways",
	.text = "SELECT b.n, m.gateway_id FROM {batch} JOIN multicast_gateway AS m ON m.group_id = b.id ORDER BY b.n",
	.batch = "id:u",
	.cols = "ll",
};

/* The first item alone is looked up and read: there may be thousands behind it. */
static const struct sql_stmt FRONT = {
	.name = "multicast_front",
	.text = "SELECT b.n, i.id, i.f_cnt, i.body, i.planned, i.enqueued_at, c.gateway_id, c.due, c.attempts, "
		"c.parked,"
		" i.f_pending, CASE WHEN EXISTS (SELECT 1 FROM multicast_item AS j"
		"  WHERE j.group_id = i.group_id AND j.f_cnt > i.f_cnt) THEN 1 ELSE 0 END"
		" FROM {batch} JOIN multicast_item AS i ON i.id = (SELECT f.id FROM multicast_item AS f"
		"  WHERE f.group_id = b.id AND (f.planned = 0 OR EXISTS (SELECT 1 FROM multicast_copy AS k"
		"  WHERE k.item_id = f.id AND (k.parked = 0 OR k.due <= b.now_us)))"
		"  ORDER BY f.f_cnt, f.enqueued_at LIMIT 1)"
		" LEFT JOIN multicast_copy AS c ON c.item_id = i.id ORDER BY b.n, c.due, c.gateway_id",
	.batch = "id:u now_us:l",
	.cols = "lulyllllllll",
};

static const struct sql_stmt PARKED = {
	.name = "multicast_parked",
	.text = "SELECT b.n, c.gateway_id, min(i.f_cnt), min(c.due)"
		" FROM {batch} JOIN multicast_item AS i ON i.group_id = b.id"
		" JOIN multicast_copy AS c ON c.item_id = i.id WHERE c.parked <> 0 AND c.due > b.now_us"
		" GROUP BY b.n, c.gateway_id ORDER BY b.n",
	.batch = "id:u now_us:l",
	.cols = "llll",
};

static const struct sql_stmt DEVICES = {
	.name = "multicast_devices",
	.text = "SELECT dev_eui FROM multicast_device WHERE group_id = $1 ORDER BY dev_eui",
	.params = "u",
	.cols = "l",
};

/* until: the lease's new end. What follows in the transaction acts only where this has written. */
static const struct sql_stmt RENEW = {
	.name = "multicast_renew",
	.text = "UPDATE multicast_group SET lease_until = b.until, writer = b.writer,"
		" not_before = CASE WHEN b.not_before > 0 THEN b.not_before ELSE multicast_group.not_before END"
		" FROM {batch} WHERE multicast_group.id = b.id AND multicast_group.lease = b.owner RETURNING {b.n}",
	.batch = "id:u owner:t until:l not_before:l writer:l",
	.cols = "l",
};

#define IF_WRITER                                                                                                      \
	" (b.writer = 0 OR EXISTS (SELECT 1 FROM multicast_group AS g WHERE g.id = b.group_id AND g.writer = "         \
	"b.writer))"

static const struct sql_stmt PUT_COPIES = {
	.name = "multicast_put_copies",
	.text = "INSERT INTO multicast_copy (item_id, gateway_id, due, attempts, parked)"
		" SELECT b.item_id, b.gateway_id, b.due, b.attempts, b.parked FROM {batch}"
		" WHERE EXISTS (SELECT 1 FROM multicast_item AS i WHERE i.id = b.item_id) AND" IF_WRITER
		" ON CONFLICT (item_id, gateway_id) DO UPDATE SET due = excluded.due, attempts = excluded.attempts,"
		" parked = excluded.parked",
	.batch = "group_id:u writer:l item_id:u gateway_id:l due:l attempts:l parked:l",
};

static const struct sql_stmt PLANNED = {
	.name = "multicast_planned",
	.text = "UPDATE multicast_item SET planned = 1 FROM {batch} WHERE multicast_item.id = b.item_id AND" IF_WRITER,
	.batch = "group_id:u writer:l item_id:u",
};

static const struct sql_stmt F_PENDING = {
	.name = "multicast_f_pending",
	.text = "UPDATE multicast_item SET f_pending = b.f_pending FROM {batch}"
		" WHERE multicast_item.id = b.item_id AND" IF_WRITER,
	.batch = "group_id:u writer:l item_id:u f_pending:l",
};

static const struct sql_stmt REMOVE_COPIES = {
	.name = "multicast_remove_copies",
	.text = "DELETE FROM multicast_copy WHERE (item_id, gateway_id) IN"
		" (SELECT b.item_id, b.gateway_id FROM {batch} WHERE" IF_WRITER ")",
	.batch = "group_id:u writer:l item_id:u gateway_id:l",
};

static const struct sql_stmt WAKE_COPIES = {
	.name = "multicast_wake_copies",
	.text = "UPDATE multicast_copy SET due = b.due FROM {batch}"
		" WHERE multicast_copy.gateway_id = b.gateway_id AND multicast_copy.parked <> 0"
		" AND multicast_copy.due > b.due AND multicast_copy.item_id IN"
		" (SELECT i.id FROM multicast_item AS i WHERE i.group_id = b.group_id) AND" IF_WRITER,
	.batch = "group_id:u writer:l gateway_id:l due:l",
};

static const struct sql_stmt REMOVE_ITEMS = {
	.name = "multicast_remove_items",
	.text = "DELETE FROM multicast_item WHERE id IN (SELECT b.item_id FROM {batch} WHERE" IF_WRITER ")",
	.batch = "group_id:u writer:l item_id:u",
};

static const struct sql_stmt REMOVE_DONE = {
	.name = "multicast_remove_done",
	.text = "DELETE FROM multicast_item WHERE planned <> 0 AND id IN (SELECT b.item_id FROM {batch})"
		" AND NOT EXISTS (SELECT 1 FROM multicast_copy AS c WHERE c.item_id = multicast_item.id)",
	.batch = "item_id:u",
};

/* ---- take ---- */

struct taking {
	struct ns_store *s;
	size_t n;
	struct ns_mc_take *v[];
};

static struct ns_mc_take *taken(const struct taking *t, const struct sql_result *r, size_t row)
{
	size_t at = (size_t)sql_i64(r, row, 0);
	return at < t->n ? t->v[at] : NULL;
}

static void group_from_body(const Longwave__Ns__V1__MulticastGroup *b, struct ns_mc_group *out)
{
	*out = (struct ns_mc_group){.region = (enum lw_region_id)b->region,
				    .mode = (enum ns_mc_mode)b->mode,
				    .dr = (uint8_t)(b->dr & 15),
				    .hz = b->freq_hz,
				    .ping_slot_nb = (uint8_t)(128u >> (b->ping_slot_periodicity & 7))};
	/* Checked when it was put. */
	(void)lw_uuid_parse(&out->id, b->id);
	if (lw_uuid_parse(&out->tenant_id, b->tenant_id) != 0)
		out->tenant_id = (struct lw_uuid){{0}};
	(void)lw_devaddr_parse(&out->addr, b->mc_addr);
	if (b->mc_nwk_s_key.len == sizeof(out->nwk_s_key.b))
		memcpy(out->nwk_s_key.b, b->mc_nwk_s_key.data, sizeof(out->nwk_s_key.b));
}

static void on_claimed(void *arg, const struct sql_result *r)
{
	struct taking *t = arg;
	for (size_t i = 0; i < sql_rows(r); i++) {
		struct ns_mc_take *req = taken(t, r, i);
		struct lw_span packed = sql_span(r, i, 1);
		Longwave__Ns__V1__MulticastGroup *b =
			longwave__ns__v1__multicast_group__unpack(NULL, packed.n, packed.p);
		if (req != NULL && b == NULL) {
			char id[LW_UUID_TEXT];
			ns_store_damaged(t->s, "multicast_group", lw_uuid_print(req->group_id, id), "body");
		}
		if (req == NULL || b == NULL) {
			if (b != NULL)
				longwave__ns__v1__multicast_group__free_unpacked(b, NULL);
			continue;
		}
		group_from_body(b, &req->group);
		req->not_before_ns = sql_i64(r, i, 2) * LW_NS_PER_US;
		req->err = 0;
		lw_wipe(b->mc_nwk_s_key.data, b->mc_nwk_s_key.len);
		longwave__ns__v1__multicast_group__free_unpacked(b, NULL);
	}
}

static void on_holders(void *arg, const struct sql_result *r)
{
	struct taking *t = arg;
	for (size_t i = 0; i < sql_rows(r); i++) {
		struct ns_mc_take *req = taken(t, r, i);
		if (req == NULL || req->err == 0)
			continue;
		req->err = LW_ECONFLICT;
		req->leased_until_ns = sql_i64(r, i, 1) * LW_NS_PER_US;
	}
}

static void on_gateways(void *arg, const struct sql_result *r)
{
	struct taking *t = arg;
	for (size_t i = 0; i < sql_rows(r); i++) {
		struct ns_mc_take *req = taken(t, r, i);
		if (req == NULL)
			continue;
		if (req->gateways == NULL)
			req->gateways = LW_ARENA_ARRAY(req->arena, struct lw_gateway_id, sql_rows(r) - i);
		if (req->gateways == NULL)
			req->err = LW_ENOMEM;
		else
			req->gateways[req->n_gateways++] = lw_gateway_id_from_u64((uint64_t)sql_i64(r, i, 1));
	}
}

/* The payload that is encrypted for this counter. */
static bool item_from_body(struct lw_span packed, uint32_t f_cnt, struct lw_arena *a, struct ns_mc_item *out)
{
	Longwave__Ns__V1__MulticastItem *b = longwave__ns__v1__multicast_item__unpack(NULL, packed.n, packed.p);
	bool ok = b != NULL && f_cnt - b->first_f_cnt < b->n_frm_payloads && b->f_port >= 1 && b->f_port <= 255;
	if (ok) {
		const ProtobufCBinaryData *p = &b->frm_payloads[f_cnt - b->first_f_cnt];
		out->f_port = (uint8_t)b->f_port;
		out->payload = lw_arena_span(a, lw_span(p->data, p->len));
		out->expires_at_ns = b->expires_at ? lw_join_ns(b->expires_at->seconds, b->expires_at->nanos) : 0;
	}
	if (b != NULL)
		longwave__ns__v1__multicast_item__free_unpacked(b, NULL);
	return ok;
}

static void on_front(void *arg, const struct sql_result *r)
{
	struct taking *t = arg;
	for (size_t i = 0; i < sql_rows(r); i++) {
		struct ns_mc_take *req = taken(t, r, i);
		if (req == NULL)
			continue;
		if (!req->has_item) {
			req->has_item = true;
			req->item = (struct ns_mc_item){.id = sql_uuid(r, i, 1),
							.f_cnt = (uint32_t)sql_i64(r, i, 2),
							.planned = sql_i64(r, i, 4) != 0,
							.enqueued_at_ns = sql_i64(r, i, 5) * LW_NS_PER_US,
							.f_pending = (int8_t)sql_i64(r, i, 10)};
			req->more = sql_i64(r, i, 11) != 0;
			if (!item_from_body(sql_span(r, i, 3), req->item.f_cnt, req->arena, &req->item)) {
				char id[LW_UUID_TEXT];
				ns_store_damaged(t->s, "multicast_item", lw_uuid_print(req->item.id, id), "body");
				req->item.is_damaged = true;
			}
			req->copies = LW_ARENA_ARRAY(req->arena, struct ns_mc_copy, sql_rows(r) - i);
		}
		if (sql_is_null(r, i, 6))
			continue;
		if (req->copies == NULL)
			req->err = LW_ENOMEM;
		else
			req->copies[req->n_copies++] =
				(struct ns_mc_copy){.gateway_id = lw_gateway_id_from_u64((uint64_t)sql_i64(r, i, 6)),
						    .due_ns = sql_i64(r, i, 7) * LW_NS_PER_US,
						    .attempts = (uint8_t)sql_i64(r, i, 8),
						    .parked = sql_i64(r, i, 9) != 0};
	}
}

static void on_parked(void *arg, const struct sql_result *r)
{
	struct taking *t = arg;
	for (size_t i = 0; i < sql_rows(r); i++) {
		struct ns_mc_take *req = taken(t, r, i);
		if (req == NULL)
			continue;
		if (req->parked == NULL)
			req->parked = LW_ARENA_ARRAY(req->arena, struct ns_mc_parked, sql_rows(r) - i);
		if (req->parked == NULL)
			req->err = LW_ENOMEM;
		else
			req->parked[req->n_parked++] =
				(struct ns_mc_parked){.gateway_id = lw_gateway_id_from_u64((uint64_t)sql_i64(r, i, 1)),
						      .f_cnt = (uint32_t)sql_i64(r, i, 2),
						      .due_ns = sql_i64(r, i, 3) * LW_NS_PER_US};
	}
}

static void on_taken(void *arg, const struct sql_outcome *outcome)
{
	struct taking *t = arg;
	for (size_t i = 0; i < t->n; i++) {
		if (outcome->err)
			t->v[i]->err = LW_EUNAVAILABLE;
		t->v[i]->done(t->v[i]);
	}
	free(t);
}

static void take(void *self, struct ns_mc_take **v, size_t n)
{
	struct ns_store *s = self;
	struct taking *t = lw_xmalloc(sizeof(*t) + n * sizeof(t->v[0]));
	struct sql_tx *tx = sql_tx_new(s->db);
	const struct {
		const struct sql_stmt *stmt;
		sql_result_fn *fn;
		bool wants_now;
	} reads[] = {{&HOLDER, on_holders, false},
		     {&GATEWAYS, on_gateways, false},
		     {&FRONT, on_front, true},
		     {&PARKED, on_parked, true}};
	t->s = s;
	t->n = n;
	struct sql_params *p = sql_tx_add(tx, &CLAIM, on_claimed, t);
	for (size_t i = 0; i < n; i++) {
		struct ns_mc_take *req = t->v[i] = v[i];
		req->err = LW_ENOTFOUND;
		sql_put_uuid(p, req->group_id);
		sql_put_text(p, s->origin);
		sql_put_i64(p, req->lease_until_ns / LW_NS_PER_US);
		sql_put_i64(p, req->now_ns / LW_NS_PER_US);
	}
	for (size_t k = 0; k < sizeof(reads) / sizeof(reads[0]); k++) {
		p = sql_tx_add(tx, reads[k].stmt, reads[k].fn, t);
		for (size_t i = 0; i < n; i++) {
			sql_put_uuid(p, v[i]->group_id);
			if (reads[k].wants_now)
				sql_put_i64(p, v[i]->now_ns / LW_NS_PER_US);
		}
	}
	sql_tx_commit(tx, on_taken, t);
}

/* ---- devices ---- */

static void on_devices(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct ns_mc_devices *req = arg;
	req->err = outcome->err ? LW_EUNAVAILABLE : 0;
	req->n = 0;
	size_t n = r ? sql_rows(r) : 0;
	req->v = n > 0 ? LW_ARENA_ARRAY(req->arena, struct lw_dev_eui, n) : NULL;
	if (n > 0 && !req->v)
		req->err = LW_ENOMEM;
	for (size_t i = 0; req->v && i < n; i++)
		req->v[req->n++] = lw_dev_eui_from_u64((uint64_t)sql_i64(r, i, 0));
	req->done(req);
}

static void devices(void *self, struct ns_mc_devices *req)
{
	struct ns_store *s = self;
	struct sql_query *q = sql_query_new(s->db, &DEVICES);
	sql_put_uuid(sql_query_params(q), req->group_id);
	sql_query_send(q, on_devices, req);
}

/* ---- commit ---- */

struct committing {
	size_t n;
	struct {
		struct ns_mc_change *req;
		bool held;
	} v[];
};

static void on_renewed(void *arg, const struct sql_result *r)
{
	struct committing *c = arg;
	size_t seen = 0;
	/* Row k of the statement is the k-th change that needs its lease. */
	for (size_t i = 0; i < c->n; i++) {
		if (!c->v[i].req->needs_lease)
			continue;
		for (size_t k = 0; k < sql_rows(r); k++)
			c->v[i].held = c->v[i].held || sql_i64(r, k, 0) == (int64_t)seen;
		seen++;
	}
}

static void on_committed(void *arg, const struct sql_outcome *outcome)
{
	struct committing *c = arg;
	for (size_t i = 0; i < c->n; i++) {
		struct ns_mc_change *req = c->v[i].req;
		req->err = outcome->err ? LW_EUNAVAILABLE : !c->v[i].held ? LW_ECONFLICT : 0;
		req->done(req);
	}
	free(c);
}

static void put_key(struct sql_params *p, const struct ns_mc_change *c, uint64_t writer)
{
	sql_put_uuid(p, c->group_id);
	sql_put_i64(p, c->needs_lease ? ns_i64(writer) : 0);
	sql_put_uuid(p, c->item_id);
}

static void put_copies(struct sql_params *p, const struct ns_mc_change *c, uint64_t writer)
{
	for (size_t k = 0; k < c->n_put; k++) {
		put_key(p, c, writer);
		sql_put_i64(p, ns_i64(lw_gateway_id_u64(c->put[k].gateway_id)));
		sql_put_i64(p, c->put[k].due_ns / LW_NS_PER_US);
		sql_put_i64(p, c->put[k].attempts);
		sql_put_i64(p, c->put[k].parked);
	}
}

static void remove_copies(struct sql_params *p, const struct ns_mc_change *c, uint64_t writer)
{
	for (size_t k = 0; k < c->n_remove; k++) {
		put_key(p, c, writer);
		sql_put_i64(p, ns_i64(lw_gateway_id_u64(c->remove[k])));
	}
}

static void wake_copies(struct sql_params *p, const struct ns_mc_change *c, uint64_t writer)
{
	for (size_t k = 0; k < c->n_wake; k++) {
		sql_put_uuid(p, c->group_id);
		sql_put_i64(p, c->needs_lease ? ns_i64(writer) : 0);
		sql_put_i64(p, ns_i64(lw_gateway_id_u64(c->wake[k])));
		sql_put_i64(p, c->wake_ns / LW_NS_PER_US);
	}
}

static void commit(void *self, struct ns_mc_change **v, size_t n)
{
	struct ns_store *s = self;
	struct committing *c = lw_xmalloc(sizeof(*c) + n * sizeof(c->v[0]));
	struct sql_tx *tx = sql_tx_new(s->db);
	uint64_t writer = s->next_writer++;
	c->n = n;
	struct sql_params *p = sql_tx_add(tx, &RENEW, on_renewed, c);
	for (size_t i = 0; i < n; i++) {
		c->v[i].req = v[i];
		c->v[i].held = !v[i]->needs_lease;
		if (!v[i]->needs_lease)
			continue;
		sql_put_uuid(p, v[i]->group_id);
		sql_put_text(p, s->origin);
		sql_put_i64(p, v[i]->lease_until_ns / LW_NS_PER_US);
		sql_put_i64(p, v[i]->not_before_ns / LW_NS_PER_US);
		sql_put_i64(p, ns_i64(writer));
	}
	p = sql_tx_add(tx, &PUT_COPIES, NULL, NULL);
	for (size_t i = 0; i < n; i++)
		put_copies(p, v[i], writer);
	p = sql_tx_add(tx, &PLANNED, NULL, NULL);
	for (size_t i = 0; i < n; i++)
		if (v[i]->plan)
			put_key(p, v[i], writer);
	p = sql_tx_add(tx, &F_PENDING, NULL, NULL);
	for (size_t i = 0; i < n; i++)
		if (v[i]->fix_f_pending) {
			put_key(p, v[i], writer);
			sql_put_i64(p, v[i]->f_pending);
		}
	p = sql_tx_add(tx, &REMOVE_COPIES, NULL, NULL);
	for (size_t i = 0; i < n; i++)
		remove_copies(p, v[i], writer);
	p = sql_tx_add(tx, &WAKE_COPIES, NULL, NULL);
	for (size_t i = 0; i < n; i++)
		wake_copies(p, v[i], writer);
	p = sql_tx_add(tx, &REMOVE_ITEMS, NULL, NULL);
	for (size_t i = 0; i < n; i++)
		if (v[i]->delete_item)
			put_key(p, v[i], writer);
	p = sql_tx_add(tx, &REMOVE_DONE, NULL, NULL);
	for (size_t i = 0; i < n; i++)
		if (v[i]->n_remove > 0)
			sql_put_uuid(p, v[i]->item_id);
	sql_tx_commit(tx, on_committed, c);
}

/* ---- gateways ---- */

static void on_refreshed(void *arg, int err)
{
	struct ns_mc_refresh *req = arg;
	(void)err;
	req->done(req);
}

static void refresh(void *self, struct ns_mc_refresh *req)
{
	ns_catalog_read(self, req->v, req->n, on_refreshed, req);
}

void ns_store_fill_multicast_port(struct ns_store *s, struct ns_multicast_port *out)
{
	*out = (struct ns_multicast_port){
		.self = s, .take = take, .devices = devices, .commit = commit, .refresh = refresh};
}
