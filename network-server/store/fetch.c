/* Devices for a batch of frames: from memory, the rest with one statement. */
#include <stdlib.h>

#include "common/base/xmalloc.h"
#include "network-server/store/store_impl.h"

static const struct sql_stmt BY_ADDR = {
	.name = "devices_by_addr",
	.text = "SELECT d.dev_addr, d.body, d.version, d.state FROM {batch} JOIN device AS d ON d.dev_addr = "
		"b.dev_addr",
	.batch = "dev_addr:l",
	.cols = "lyly",
};

static const struct sql_stmt BY_EUI = {
	.name = "devices_by_eui",
	.text = "SELECT d.dev_addr, d.body, d.version, d.state FROM {batch} JOIN device AS d ON d.dev_eui = b.dev_eui",
	.batch = "dev_eui:l",
	.cols = "lyly",
};

struct flight {
	struct ns_store *s;
	uint64_t generation;
	size_t n;
	struct ns_fetch *v[];
};

static bool add(struct ns_fetch *req, const struct ns_cached *c, size_t room)
{
	struct ns_device *d = req->n < room ? ns_cache_copy(c, req->arena) : NULL;
	if (!d)
		return false;
	req->devices[req->n++] = d;
	return true;
}

/* True when memory has the whole answer. */
static bool from_memory(struct ns_store *s, struct ns_fetch *req)
{
	req->err = 0;
	req->n = 0;
	if (!req->by_devaddr) {
		struct ns_cached *c = lw_map_find(&s->devices, lw_dev_eui_u64(req->dev_eui));
		if (!c)
			return false;
		ns_cache_touch(s, c);
		req->devices = LW_ARENA_ARRAY(req->arena, struct ns_device *, 1);
		if (!req->devices || !add(req, c, 1))
			req->err = LW_ENOMEM;
		return true;
	}
	struct ns_cached *head = lw_map_find(&s->by_addr, req->devaddr.v);
	if (!head)
		return false;
	size_t n = 0;
	for (struct ns_cached *c = head; c && c != &s->none; c = c->next_addr)
		n++;
	req->devices = n ? LW_ARENA_ARRAY(req->arena, struct ns_device *, n) : NULL;
	for (struct ns_cached *c = head; n && c && c != &s->none; c = c->next_addr) {
		ns_cache_touch(s, c);
		if (!req->devices || !add(req, c, n)) {
			req->err = LW_ENOMEM;
			break;
		}
	}
	return true;
}

static struct ns_cached *take_row(struct ns_store *s, const struct sql_result *r, size_t row)
{
	struct lw_span packed = sql_span(r, row, 1);
	Longwave__Ns__V1__Device *body = longwave__ns__v1__device__unpack(NULL, packed.n, packed.p);
	struct lw_dev_eui eui;
	if (!body)
		return NULL;
	struct ns_cached *c =
		lw_dev_eui_parse(&eui, body->dev_eui) ? NULL : lw_map_find(&s->devices, lw_dev_eui_u64(eui));
	uint64_t version = (uint64_t)sql_i64(r, row, 2);
	/* A commit that came back meanwhile knows better. */
	if (!c || c->version < version) {
		struct lw_devaddr addr = {(uint32_t)sql_i64(r, row, 0)};
		bool none = sql_is_null(r, row, 3) || sql_is_null(r, row, 0);
		c = ns_cache_put(s, body, version, addr, none ? lw_span(NULL, 0) : sql_span(r, row, 3));
	}
	longwave__ns__v1__device__free_unpacked(body, NULL);
	return c;
}

/* Makes the chain of an address complete, if nothing moved while the database was asked. */
static void complete_chain(struct ns_store *s, struct lw_devaddr addr, const struct sql_result *r)
{
	ns_cache_forget_addr(s, addr);
	if (lw_map_count(&s->by_addr) > 2 * s->o.max_cached) {
		size_t it = 0;
		uint64_t key;
		void *value;
		while (lw_map_next(&s->by_addr, &it, &key, &value)) {
			for (struct ns_cached *c = value, *next; c && c != &s->none; c = next) {
				next = c->next_addr;
				c->next_addr = NULL;
			}
		}
		lw_map_clear(&s->by_addr);
	}
	struct ns_cached *head = &s->none;
	for (size_t i = 0; i < sql_rows(r); i++) {
		if (sql_i64(r, i, 0) != (int64_t)addr.v)
			continue;
		struct lw_span packed = sql_span(r, i, 1);
		Longwave__Ns__V1__Device *body = longwave__ns__v1__device__unpack(NULL, packed.n, packed.p);
		struct lw_dev_eui eui;
		struct ns_cached *c = NULL;
		if (body && lw_dev_eui_parse(&eui, body->dev_eui) == 0)
			c = lw_map_find(&s->devices, lw_dev_eui_u64(eui));
		if (body)
			longwave__ns__v1__device__free_unpacked(body, NULL);
		if (!c || !c->has_session || c->devaddr.v != addr.v)
			continue;
		c->next_addr = head == &s->none ? NULL : head;
		head = c;
	}
	lw_map_put(&s->by_addr, addr.v, head);
}

static void answer_by_addr(struct ns_store *s, struct ns_fetch *req, struct ns_cached **rows, size_t n)
{
	req->devices = n ? LW_ARENA_ARRAY(req->arena, struct ns_device *, n) : NULL;
	for (size_t i = 0; i < n; i++) {
		struct ns_cached *c = rows[i];
		if (c && c->has_session && c->devaddr.v == req->devaddr.v && req->devices && !add(req, c, n))
			req->err = LW_ENOMEM;
	}
	(void)s;
}

static void on_rows(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct flight *f = arg;
	struct ns_store *s = f->s;
	size_t n = r ? sql_rows(r) : 0;
	struct ns_cached **rows = lw_xcalloc(n ? n : 1, sizeof(*rows));
	/* Eviction must not take a row of this very answer. */
	bool room = lw_map_count(&s->devices) + n < s->o.max_cached;
	uint64_t generation = s->generation;
	for (size_t i = 0; i < n; i++)
		rows[i] = take_row(s, r, i);
	for (size_t i = 0; i < f->n; i++) {
		struct ns_fetch *req = f->v[i];
		req->err = outcome->err ? LW_EUNAVAILABLE : 0;
		if (outcome->err) {
			req->n = 0;
		} else if (!req->by_devaddr) {
			if (!from_memory(s, req))
				req->n = 0;
		} else {
			if (room && f->generation == generation && !lw_map_find(&s->by_addr, req->devaddr.v))
				complete_chain(s, req->devaddr, r);
			if (!from_memory(s, req) && room)
				answer_by_addr(s, req, rows, n);
			else if (!room && !lw_map_find(&s->by_addr, req->devaddr.v))
				req->err = n ? LW_EUNAVAILABLE : 0;
		}
	}
	free(rows);
	for (size_t i = 0; i < f->n; i++)
		f->v[i]->done(f->v[i]);
	free(f);
}

static void ask(struct ns_store *s, const struct sql_stmt *stmt, struct ns_fetch **v, size_t n)
{
	struct flight *f = lw_xmalloc(sizeof(*f) + n * sizeof(f->v[0]));
	struct sql_query *q = sql_query_new(s->db, stmt);
	struct sql_params *p = sql_query_params(q);
	struct lw_map asked; /* each key once */
	f->s = s;
	f->generation = s->generation;
	f->n = n;
	lw_map_init(&asked);
	for (size_t i = 0; i < n; i++) {
		uint64_t key = v[i]->by_devaddr ? v[i]->devaddr.v : lw_dev_eui_u64(v[i]->dev_eui);
		f->v[i] = v[i];
		if (!lw_map_put(&asked, key, f))
			sql_put_i64(p, ns_i64(key));
	}
	lw_map_deinit(&asked);
	s->stats.cache_misses += n;
	sql_query_send(q, on_rows, f);
}

void ns_store_fetch(void *self, struct ns_fetch **v, size_t n)
{
	struct ns_store *s = self;
	struct ns_fetch **by_addr = lw_xmalloc(2 * n * sizeof(struct ns_fetch *) + 1);
	struct ns_fetch **by_eui = by_addr + n;
	size_t n_addr = 0, n_eui = 0, n_done = 0;
	for (size_t i = 0; i < n; i++) {
		if (from_memory(s, v[i])) {
			n_done++;
			continue;
		}
		if (v[i]->by_devaddr)
			by_addr[n_addr++] = v[i];
		else
			by_eui[n_eui++] = v[i];
		v[i] = NULL;
	}
	s->stats.cache_hits += n_done;
	if (n_addr)
		ask(s, &BY_ADDR, by_addr, n_addr);
	if (n_eui)
		ask(s, &BY_EUI, by_eui, n_eui);
	free(by_addr);
	for (size_t i = 0; i < n; i++)
		if (v[i])
			v[i]->done(v[i]);
}

/* ---- addresses in use ---- */

static const struct sql_stmt ADDR_IN_USE = {
	.name = "addr_in_use",
	.text = "SELECT DISTINCT b.n FROM {batch} JOIN device AS d ON d.dev_addr = b.dev_addr",
	.batch = "dev_addr:l",
	.cols = "l",
};

struct addr_flight {
	size_t n;
	struct ns_addr_check *v[];
};

static void on_in_use(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct addr_flight *f = arg;
	for (size_t i = 0; i < f->n; i++) {
		f->v[i]->err = outcome->err ? LW_EUNAVAILABLE : 0;
		f->v[i]->in_use = false;
	}
	for (size_t i = 0; r && i < sql_rows(r); i++) {
		size_t n = (size_t)sql_i64(r, i, 0);
		if (n < f->n)
			f->v[n]->in_use = true;
	}
	for (size_t i = 0; i < f->n; i++)
		f->v[i]->done(f->v[i]);
	free(f);
}

void ns_store_addr_check(void *self, struct ns_addr_check **v, size_t n)
{
	struct ns_store *s = self;
	struct addr_flight *f = lw_xmalloc(sizeof(*f) + n * sizeof(f->v[0]));
	struct sql_query *q = sql_query_new(s->db, &ADDR_IN_USE);
	f->n = n;
	for (size_t i = 0; i < n; i++) {
		f->v[i] = v[i];
		sql_put_i64(sql_query_params(q), (int64_t)v[i]->addr.v);
	}
	sql_query_send(q, on_in_use, f);
}
