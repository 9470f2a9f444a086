/* A network-server's store on a real database, with calls that wait for their answer. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/base/xmalloc.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"
#include "network-server/store/store.h"
#include "network-server/store/store_impl.h"
#include "tests/fixtures/servers.h"

#define RIG_WAIT_MS 60000
#define RIG_PROFILE "11111111-2222-3333-4444-555555555555"
static char rig_profile_id[] = RIG_PROFILE;

struct rig {
	bool pg;
	char dsn[256];
	char origin[32];
	size_t max_cached;
	uint32_t max_pending; /* of the database; 0: the usual */
	struct rt_loop *loop;
	struct rt_log *log;
	struct lw_rng rng;
	struct sql_db *db;
	struct ns_store *store;
	struct ns_store_port port;
	struct ns_gateway_port gateways;
	bool ready;
	int ready_err;
	/* on_events */
	uint64_t seq[4096];
	size_t n_events;
	void (*on_events)(struct rig *r, const struct ns_stored_event *v, size_t n);
	int gaps_opened, gaps_closed;
	void (*on_gap)(struct rig *r, bool open);
	size_t n_told;
	void (*tell)(struct rig *r, const char *kind, struct lw_span body);
	void *user;
};

static struct {
	struct fix_server pg;
	char dir[32];
	int n;
	uint32_t max_queue; /* of the stores that are opened next; 0: their default */
} rig_fix;

static inline int rig_group_setup(void **state)
{
	(void)state;
	strcpy(rig_fix.dir, "/tmp/lw_ns_XXXXXX");
	fix_pg_start(&rig_fix.pg);
	return mkdtemp(rig_fix.dir) ? 0 : -1;
}

static inline int rig_group_teardown(void **state)
{
	char cmd[64];
	(void)state;
	fix_stop(&rig_fix.pg);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", rig_fix.dir);
	return system(cmd);
}

static inline void rig_on_ready(void *arg, int err, const char *detail)
{
	struct rig *r = arg;
	if (err)
		fprintf(stderr, "store: %s\n", detail);
	r->ready = true;
	r->ready_err = err;
}

static inline void rig_on_events(void *arg, const struct ns_stored_event *v, size_t n)
{
	struct rig *r = arg;
	if (r->on_events) {
		r->on_events(r, v, n);
		return;
	}
	for (size_t i = 0; i < n && r->n_events < 4096; i++)
		r->seq[r->n_events++] = v[i].seq;
}

static inline void rig_on_gap(void *arg, bool open)
{
	struct rig *r = arg;
	*(open ? &r->gaps_opened : &r->gaps_closed) += 1;
	if (r->on_gap)
		r->on_gap(r, open);
}

static inline void rig_tell(void *arg, const char *kind, struct lw_span body)
{
	struct rig *r = arg;
	if (r->tell)
		r->tell(r, kind, body);
}

static inline void rig_open(struct rig *r)
{
	struct lw_diag diag = {""};
	struct sql_options opt = {.dsn = r->dsn, .max_pending = r->max_pending};
	if (sql_open(&r->db, r->loop, &opt, &diag) != 0)
		fail_msg("%s", diag.text);
	struct ns_store_opts o = {.loop = r->loop,
				  .log = r->log,
				  .db = r->db,
				  .origin = r->origin,
				  .max_cached = r->max_cached,
				  .max_queue = rig_fix.max_queue,
				  .max_multicast_queue = rig_fix.max_queue,
				  .rng = &r->rng,
				  .on_ready = rig_on_ready,
				  .on_events = rig_on_events,
				  .on_gap = rig_on_gap,
				  .tell = rig_tell,
				  .arg = r};
	r->ready = false;
	r->n_events = 0;
	r->store = ns_store_new(&o);
	assert_true(rt_loop_run_until(r->loop, &r->ready, RIG_WAIT_MS));
	assert_int_equal(r->ready_err, 0);
	ns_store_fill_port(r->store, &r->port);
	ns_store_fill_gateway_port(r->store, &r->gateways);
}

static inline void rig_close(struct rig *r)
{
	ns_store_flush(r->store);
	sql_free(r->db);
	ns_store_free(r->store);
	for (int i = 0; i < 20; i++)
		rt_loop_turn(r->loop);
}

/* As after a crash: what was not written is gone. */
static inline void rig_reopen(struct rig *r)
{
	sql_free(r->db);
	ns_store_free(r->store);
	rig_open(r);
}

static inline struct rig *rig_new(bool pg, size_t max_cached)
{
	struct rig *r = lw_xcalloc(1, sizeof(*r));
	r->pg = pg;
	r->max_cached = max_cached;
	rig_fix.n++;
	if (pg)
		snprintf(r->dsn, sizeof(r->dsn), "%s?schema=t%d", rig_fix.pg.url, rig_fix.n);
	else
		snprintf(r->dsn, sizeof(r->dsn), "sqlite://%s/t%d.db", rig_fix.dir, rig_fix.n);
	snprintf(r->origin, sizeof(r->origin), "ns-test");
	r->loop = rt_loop_new();
	r->log = rt_log_new(2, RT_LOG_TEXT, RT_ERROR);
	lw_rng_init_system(&r->rng);
	rig_open(r);
	return r;
}

static inline void rig_free(struct rig *r)
{
	rig_close(r);
	rt_loop_free(r->loop);
	rt_log_free(r->log);
	free(r);
}

/* ---- calls that wait ---- */

struct rig_wait {
	bool done;
	int err;
	size_t n;
	const char *error[8];
};

static inline void rig_wait(struct rig *r, struct rig_wait *w)
{
	assert_true(rt_loop_run_until(r->loop, &w->done, RIG_WAIT_MS));
}

static inline void rig_on_applied(void *arg, int err, const char *const *errors, size_t n)
{
	struct rig_wait *w = arg;
	w->done = true;
	w->err = err;
	w->n = n;
	for (size_t i = 0; i < n && i < 8; i++)
		w->error[i] = errors[i];
}

static inline struct rig_wait rig_apply(struct rig *r, Longwave__Ns__V1__Change **v, size_t n)
{
	struct rig_wait w = {0};
	Longwave__Ns__V1__ApplyRequest req = LONGWAVE__NS__V1__APPLY_REQUEST__INIT;
	req.changes = v;
	req.n_changes = n;
	ns_store_apply(r->store, &req, rig_on_applied, &w);
	rig_wait(r, &w);
	return w;
}

static inline void rig_apply_one(struct rig *r, Longwave__Ns__V1__Change *c)
{
	struct rig_wait w = rig_apply(r, &c, 1);
	assert_int_equal(w.err, 0);
	assert_string_equal(w.error[0], "");
}

static inline void rig_put_profile(struct rig *r)
{
	Longwave__Ns__V1__DeviceProfile p = LONGWAVE__NS__V1__DEVICE_PROFILE__INIT;
	Longwave__Ns__V1__Change c = LONGWAVE__NS__V1__CHANGE__INIT;
	p.id = rig_profile_id;
	p.region = COMMON__REGION__EU868;
	c.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE_PROFILE;
	c.put_device_profile = &p;
	rig_apply_one(r, &c);
}

static inline struct lw_dev_eui rig_eui(uint64_t n)
{
	struct lw_dev_eui eui;
	char text[24];
	snprintf(text, sizeof(text), "%016llx", (unsigned long long)n);
	assert_int_equal(lw_dev_eui_parse(&eui, text), 0);
	return eui;
}

static inline void rig_put_device_with(struct rig *r, uint64_t n, bool disabled)
{
	Longwave__Ns__V1__Device d = LONGWAVE__NS__V1__DEVICE__INIT;
	Longwave__Ns__V1__Change c = LONGWAVE__NS__V1__CHANGE__INIT;
	char text[LW_EUI_TEXT];
	d.dev_eui = lw_dev_eui_print(rig_eui(n), text);
	d.device_profile_id = rig_profile_id;
	d.is_disabled = disabled;
	c.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE;
	c.put_device = &d;
	rig_apply_one(r, &c);
}

static inline void rig_put_device(struct rig *r, uint64_t n)
{
	rig_put_device_with(r, n, false);
}

static inline void rig_delete_device(struct rig *r, uint64_t n)
{
	Longwave__Ns__V1__Change c = LONGWAVE__NS__V1__CHANGE__INIT;
	char text[LW_EUI_TEXT];
	c.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_DEVICE;
	c.delete_device = lw_dev_eui_print(rig_eui(n), text);
	rig_apply_one(r, &c);
}

static inline void rig_fetched(struct ns_fetch *req)
{
	struct rig_wait *w = req->owner;
	w->done = true;
}

/* The first device, in `arena`; NULL: none. `n` may be NULL. */
static inline struct ns_device *rig_fetch(struct rig *r, struct lw_arena *arena, struct ns_fetch req, size_t *n)
{
	struct rig_wait w = {0};
	struct ns_fetch *v[1] = {&req};
	req.arena = arena;
	req.done = rig_fetched;
	req.owner = &w;
	r->port.fetch(r->port.self, v, 1);
	rig_wait(r, &w);
	assert_int_equal(req.err, 0);
	if (n)
		*n = req.n;
	return req.n ? req.devices[0] : NULL;
}

static inline struct ns_device *rig_device(struct rig *r, struct lw_arena *arena, uint64_t eui)
{
	return rig_fetch(r, arena, (struct ns_fetch){.dev_eui = rig_eui(eui)}, NULL);
}

static inline size_t rig_count_addr(struct rig *r, uint32_t addr)
{
	struct lw_arena arena;
	size_t n;
	lw_arena_init(&arena, NULL, 0, SIZE_MAX);
	rig_fetch(r, &arena, (struct ns_fetch){.by_devaddr = true, .devaddr = {addr}}, &n);
	lw_arena_deinit(&arena);
	return n;
}

/* On the same database. */
static inline struct rig *rig_other_replica(const struct rig *a)
{
	struct rig *b = rig_new(a->pg, 0);
	sql_free(b->db);
	ns_store_free(b->store);
	memcpy(b->dsn, a->dsn, sizeof(b->dsn));
	snprintf(b->origin, sizeof(b->origin), "other");
	rig_open(b);
	return b;
}

static inline void rig_committed(struct ns_change *c)
{
	size_t *open = c->owner;
	--*open;
}

/* All in one call; answers are in v. */
static inline void rig_commit(struct rig *r, struct ns_change *v, size_t n)
{
	struct ns_change *p[1024];
	size_t open = n;
	assert_true(n <= 1024);
	for (size_t i = 0; i < n; i++) {
		v[i].done = rig_committed;
		v[i].owner = &open;
		v[i].err = 1;
		p[i] = &v[i];
	}
	r->port.commit(r->port.self, p, n);
	int64_t end = rt_loop_mono_ns(r->loop) + RIG_WAIT_MS * LW_NS_PER_MS;
	while (open) {
		bool never = false;
		rt_loop_run_until(r->loop, &never, 1);
		assert_true(rt_loop_mono_ns(r->loop) < end);
	}
}

static inline struct ns_session rig_session(uint32_t addr, uint32_t f_cnt_up)
{
	struct ns_session s;
	memset(&s, 0, sizeof(s));
	s.devaddr = (struct lw_devaddr){addr};
	s.f_cnt_up = f_cnt_up;
	memset(&s.f_nwk_s_int_key, 7, sizeof(s.f_nwk_s_int_key));
	snprintf(s.region_config_id, sizeof(s.region_config_id), "eu868");
	return s;
}

/* One session written on top of what the store says it is. */
static inline int rig_activate(struct rig *r, uint64_t eui, uint32_t addr, uint32_t f_cnt_up)
{
	struct lw_arena arena;
	lw_arena_init(&arena, NULL, 0, SIZE_MAX);
	struct ns_device *d = rig_device(r, &arena, eui);
	assert_non_null(d);
	struct ns_session s = rig_session(addr, f_cnt_up);
	struct ns_change c = {.dev_eui = rig_eui(eui), .op = NS_SESSION_PUT, .version = d->version, .session = &s};
	rig_commit(r, &c, 1);
	lw_arena_deinit(&arena);
	return c.err;
}

static inline struct ns_event rig_event(uint64_t eui, const char *dedup_id, uint8_t *mem, size_t n_mem)
{
	Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
	e.deduplication_id = (char *)(uintptr_t)dedup_id;
	assert_true(longwave__ns__v1__event__get_packed_size(&e) <= n_mem);
	return (struct ns_event){.dev_eui = rig_eui(eui),
				 .packed = lw_span(mem, longwave__ns__v1__event__pack(&e, mem))};
}

static inline void rig_done(void *arg, int err)
{
	struct rig_wait *w = arg;
	w->done = true;
	w->err = err;
}

/* One item; the id ends with `id`. */
static inline int rig_enqueue(struct rig *r, uint64_t eui, unsigned id, bool flush)
{
	struct rig_wait w = {0};
	Longwave__Ns__V1__QueueItem item = LONGWAVE__NS__V1__QUEUE_ITEM__INIT, *items[1] = {&item};
	Longwave__Ns__V1__EnqueueRequest req = LONGWAVE__NS__V1__ENQUEUE_REQUEST__INIT;
	ProtobufCBinaryData payload = {3, (uint8_t[]){1, 2, (uint8_t)id}};
	char text[LW_EUI_TEXT], uuid[LW_UUID_TEXT];
	snprintf(uuid, sizeof(uuid), "00000000-0000-4000-8000-%012x", id);
	item.dev_eui = lw_dev_eui_print(rig_eui(eui), text);
	item.id = uuid;
	item.f_port = 10;
	item.confirmed = true;
	item.frm_payloads = &payload;
	item.n_frm_payloads = 1;
	req.items = items;
	req.n_items = 1;
	req.flush_queue = flush;
	ns_store_enqueue(r->store, &req, NULL, rig_done, &w);
	rig_wait(r, &w);
	return w.err;
}

static inline struct lw_uuid rig_uuid(unsigned id)
{
	char text[LW_UUID_TEXT];
	struct lw_uuid out;
	snprintf(text, sizeof(text), "00000000-0000-4000-8000-%012x", id);
	assert_int_equal(lw_uuid_parse(&out, text), 0);
	return out;
}

static inline void rig_heads_done(struct ns_queue_fetch *req)
{
	struct rig_wait *w = req->owner;
	w->done = true;
}

static inline struct ns_queue_fetch rig_heads(struct rig *r, struct lw_arena *arena, uint64_t eui, size_t max)
{
	struct rig_wait w = {0};
	struct ns_queue_fetch req = {
		.dev_eui = rig_eui(eui), .max = max, .arena = arena, .done = rig_heads_done, .owner = &w};
	struct ns_queue_fetch *v[1] = {&req};
	r->port.queue_head(r->port.self, v, 1);
	rig_wait(r, &w);
	assert_int_equal(req.err, 0);
	return req;
}
