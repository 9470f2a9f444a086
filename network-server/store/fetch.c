/* Devices for a batch of frames: from memory, the rest with one statement. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/xmalloc.h"
#include "network-server/store/store_impl.h"

#define COLUMNS                                                                                                        \
	"d.dev_addr, d.body, d.version, d.state, EXISTS (SELECT 1 FROM queue_item AS q WHERE q.dev_eui = d.dev_eui),"  \
	" d.dev_eui"

static const struct sql_stmt BY_ADDR = {
	.name = "devices_by_addr",
	.text = "SELECT " COLUMNS " FROM {batch} JOIN device AS d ON d.dev_addr = b.dev_addr",
	.batch = "dev_addr:l",
	.cols = "lylybl",
};

static const struct sql_stmt BY_EUI = {
	.name = "devices_by_eui",
	.text = "SELECT " COLUMNS " FROM {batch} JOIN device AS d ON d.dev_eui = b.dev_eui",
	.batch = "dev_eui:l",
	.cols = "lylybl",
};

struct flight {
	struct ns_store *s;
	const struct sql_stmt *stmt;
	uint64_t generation;
	bool looked; /* for profiles that were not known */
	size_t n;
	struct ns_fetch *v[];
};

static bool add(struct ns_store *s, struct ns_fetch *req, const struct ns_cached *c, size_t room)
{
	struct ns_device *d = req->n < room ? ns_cache_copy(s, c, req->arena) : NULL;
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
		if (!req->devices || !add(s, req, c, 1))
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
		if (!req->devices || !add(s, req, c, n)) {
			req->err = LW_ENOMEM;
			break;
		}
	}
	return true;
}

/* One row of an answer. */
struct row {
	struct ns_cached *c; /* the row, or what memory knows better; NULL: cannot be used */
	bool is_ours;        /* not in the cache */
	struct lw_dev_eui dev_eui;
	uint32_t addr; /* as the database has it */
	bool has_addr;
	char no_profile[LW_UUID_TEXT]; /* the profile that memory does not have */
};

static void read_row(struct ns_store *s, const struct sql_result *r, size_t i, struct row *out)
{
	struct lw_span packed = sql_span(r, i, 1);
	Longwave__Ns__V1__Device *body = longwave__ns__v1__device__unpack(NULL, packed.n, packed.p);
	bool none = sql_is_null(r, i, 3) || sql_is_null(r, i, 0);
	*out = (struct row){.addr = (uint32_t)sql_i64(r, i, 0), .has_addr = !sql_is_null(r, i, 0)};
	if (!body) {
		char eui[LW_EUI_TEXT];
		ns_store_damaged(s, "device", lw_dev_eui_print(lw_dev_eui_from_u64((uint64_t)sql_i64(r, i, 5)), eui),
				 "body");
		return;
	}
	struct ns_cached *row = ns_cached_new(s, body, (uint64_t)sql_i64(r, i, 2), (struct lw_devaddr){out->addr},
					      none ? lw_span(NULL, 0) : sql_span(r, i, 3));
	if (!row && !lw_bmap_find(&s->profiles, lw_span_str(body->device_profile_id)))
		snprintf(out->no_profile, sizeof(out->no_profile), "%s", body->device_profile_id);
	longwave__ns__v1__device__free_unpacked(body, NULL);
	if (!row)
		return;
	row->may_have_queue = sql_bool(r, i, 4);
	struct ns_cached *known = lw_map_find(&s->devices, lw_dev_eui_u64(row->dev_eui));
	out->dev_eui = row->dev_eui;
	out->is_ours = !known || known->version < row->version;
	out->c = out->is_ours ? row : known; /* a commit that came back meanwhile knows better */
	if (!out->is_ours)
		ns_cached_free(row);
}

static bool answers(const struct ns_fetch *req, const struct ns_cached *c)
{
	if (!c)
		return false;
	return req->by_devaddr ? c->has_session && lw_devaddr_eq(c->devaddr, req->devaddr)
			       : lw_dev_eui_eq(c->dev_eui, req->dev_eui);
}

static void answer(struct ns_store *s, struct ns_fetch *req, const struct row *rows, size_t n)
{
	size_t hits = 0;
	req->err = 0;
	req->n = 0;
	for (size_t i = 0; i < n; i++)
		hits += answers(req, rows[i].c);
	req->devices = hits ? LW_ARENA_ARRAY(req->arena, struct ns_device *, hits) : NULL;
	for (size_t i = 0; hits && i < n; i++) {
		if (answers(req, rows[i].c) && (!req->devices || !add(s, req, rows[i].c, hits))) {
			req->err = LW_ENOMEM;
			req->n = 0;
			return;
		}
	}
}

/* Makes the chain of an address complete, if nobody got the address while the database was asked and everyone who has
 * it found room in the cache. */
static void complete_chain(struct ns_store *s, struct lw_devaddr addr, const struct row *rows, size_t n,
			   uint64_t generation)
{
	struct ns_cached *head = &s->none;
	if (ns_cache_addr_changed_since(s, addr, generation))
		return;
	for (size_t i = 0; i < n; i++)
		if (rows[i].has_addr && rows[i].addr == addr.v &&
		    (!rows[i].c || !lw_map_find(&s->devices, lw_dev_eui_u64(rows[i].dev_eui))))
			return;
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
	for (size_t i = 0; i < n; i++) {
		struct ns_cached *c = rows[i].has_addr && rows[i].addr == addr.v
					      ? lw_map_find(&s->devices, lw_dev_eui_u64(rows[i].dev_eui))
					      : NULL;
		if (!c || !c->has_session || !lw_devaddr_eq(c->devaddr, addr))
			continue;
		c->next_addr = head == &s->none ? NULL : head;
		head = c;
	}
	lw_map_put(&s->by_addr, addr.v, head);
}

static void send(struct flight *f);

static void on_profiles(void *arg, int err)
{
	struct flight *f = arg;
	if (!err) {
		send(f);
		return;
	}
	for (size_t i = 0; i < f->n; i++) {
		f->v[i]->err = LW_EUNAVAILABLE;
		f->v[i]->n = 0;
		f->v[i]->done(f->v[i]);
	}
	free(f);
}

/* A device may be older news than its profile: another process put both a moment ago. True when profiles are asked for;
 * all begins again then. */
static bool look_for_profiles(struct flight *f, struct row *rows, size_t n)
{
	const char **ids = lw_xcalloc(n + 1, sizeof(*ids));
	size_t n_ids = 0;
	for (size_t i = 0; i < n && !f->looked; i++)
		if (rows[i].no_profile[0])
			ids[n_ids++] = rows[i].no_profile;
	if (n_ids) {
		f->looked = true;
		for (size_t i = 0; i < n; i++)
			if (rows[i].is_ours)
				ns_cached_free(rows[i].c);
		ns_cache_answered(f->s);
		ns_catalog_look_profiles(f->s, ids, n_ids, on_profiles, f);
	}
	free(ids);
	return n_ids > 0;
}

/* Answers first, from the rows themselves: what the cache keeps of them is its own affair. */
static void on_rows(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct flight *f = arg;
	struct ns_store *s = f->s;
	size_t n = r ? sql_rows(r) : 0;
	struct row *rows = lw_xcalloc(n ? n : 1, sizeof(*rows));
	for (size_t i = 0; i < n; i++)
		read_row(s, r, i, &rows[i]);
	if (look_for_profiles(f, rows, n)) {
		free(rows);
		return;
	}
	for (size_t i = 0; i < f->n; i++) {
		if (outcome->err) {
			f->v[i]->err = LW_EUNAVAILABLE;
			f->v[i]->n = 0;
		} else {
			answer(f->s, f->v[i], rows, n);
		}
	}
	for (size_t i = 0; i < n; i++) {
		if (!rows[i].is_ours)
			continue;
		struct ns_cached *known = lw_map_find(&s->devices, lw_dev_eui_u64(rows[i].dev_eui));
		if (ns_cache_changed_since(s, rows[i].dev_eui, f->generation) ||
		    (known && known->version >= rows[i].c->version))
			ns_cached_free(rows[i].c);
		else
			ns_cache_insert(s, rows[i].c);
	}
	for (size_t i = 0; !outcome->err && i < f->n; i++)
		if (f->v[i]->by_devaddr && !lw_map_find(&s->by_addr, f->v[i]->devaddr.v))
			complete_chain(s, f->v[i]->devaddr, rows, n, f->generation);
	ns_cache_answered(s);
	free(rows);
	for (size_t i = 0; i < f->n; i++)
		f->v[i]->done(f->v[i]);
	free(f);
}

static void send(struct flight *f)
{
	struct sql_query *q = sql_query_new(f->s->db, f->stmt);
	struct lw_map asked; /* each key once */
	f->generation = ns_cache_ask(f->s);
	lw_map_init(&asked);
	for (size_t i = 0; i < f->n; i++) {
		const struct ns_fetch *v = f->v[i];
		uint64_t key = v->by_devaddr ? v->devaddr.v : lw_dev_eui_u64(v->dev_eui);
		if (!lw_map_put(&asked, key, f))
			sql_put_i64(sql_query_params(q), ns_i64(key));
	}
	lw_map_deinit(&asked);
	sql_query_send(q, on_rows, f);
}

static void ask(struct ns_store *s, const struct sql_stmt *stmt, struct ns_fetch **v, size_t n)
{
	struct flight *f = lw_xmalloc(sizeof(*f) + n * sizeof(f->v[0]));
	*f = (struct flight){.s = s, .stmt = stmt, .n = n};
	memcpy(f->v, v, n * sizeof(v[0]));
	s->stats.cache_misses += n;
	send(f);
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
