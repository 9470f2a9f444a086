/* The store on both engines: each test runs on a SQLite file and in a schema of a PostgreSQL cluster of its own. */
#include "tests/unit/network-server/store/rig.h"

static struct lw_arena arena;

static int setup_any(void **state, bool pg)
{
	lw_arena_init(&arena, NULL, 0, SIZE_MAX);
	struct rig *r = rig_new(pg, 0);
	rig_put_profile(r);
	*state = r;
	return 0;
}

static int setup_lite(void **state)
{
	return setup_any(state, false);
}

static int setup_pg(void **state)
{
	return setup_any(state, true);
}

static int teardown(void **state)
{
	rig_free(*state);
	lw_arena_deinit(&arena);
	return 0;
}

static void no_cache(struct rig *r, uint64_t eui)
{
	ns_cache_drop(r->store, rig_eui(eui));
}

/* ---- sessions ---- */

static void test_compare_and_set(void **state)
{
	struct rig *r = *state;
	rig_put_device(r, 1);
	struct ns_device *d = rig_device(r, &arena, 1);
	assert_false(d->has_session);
	struct ns_session s = rig_session(0x01020304, 7);
	struct ns_change c = {.dev_eui = rig_eui(1), .op = NS_SESSION_PUT, .version = d->version, .session = &s};
	rig_commit(r, &c, 1);
	assert_int_equal(c.err, 0);
	/* The same version again: somebody else was faster. */
	s.f_cnt_up = 99;
	rig_commit(r, &c, 1);
	assert_int_equal(c.err, LW_ECONFLICT);
	for (int cached = 1; cached >= 0; cached--) {
		if (!cached)
			no_cache(r, 1);
		struct ns_device *now = rig_device(r, &arena, 1);
		assert_true(now->has_session);
		assert_int_equal(now->session.f_cnt_up, 7);
		assert_int_equal(now->version, d->version + 1);
		assert_memory_equal(&now->session.f_nwk_s_int_key, &s.f_nwk_s_int_key, sizeof(struct lw_key));
	}
}

struct read {
	bool done;
	int err;
	size_t n;
	bool more;
	uint64_t seq[512];
	char id[512][40];
};

static void on_read(void *arg, int err, const struct ns_stored_event *v, size_t n, bool more)
{
	struct read *rd = arg;
	rd->done = true;
	rd->err = err;
	rd->n = n;
	rd->more = more;
	for (size_t i = 0; i < n && i < 512; i++) {
		Longwave__Ns__V1__Event *e = longwave__ns__v1__event__unpack(NULL, v[i].packed.n, v[i].packed.p);
		assert_non_null(e);
		assert_int_equal(e->seq, v[i].seq);
		assert_string_equal(e->origin, "ns-test");
		rd->seq[i] = v[i].seq;
		snprintf(rd->id[i], sizeof(rd->id[i]), "%s", e->deduplication_id);
		longwave__ns__v1__event__free_unpacked(e, NULL);
	}
}

static struct read read_outbox(struct rig *r, uint64_t after, uint32_t limit)
{
	struct read rd = {0};
	ns_store_read_outbox(r->store, r->origin, after, limit, on_read, &rd);
	assert_true(rt_loop_run_until(r->loop, &rd.done, RIG_WAIT_MS));
	assert_int_equal(rd.err, 0);
	return rd;
}

static void test_conflict_leaves_the_others(void **state)
{
	struct rig *r = *state;
	struct ns_session s[3];
	struct ns_change c[3];
	uint8_t mem[3][64];
	struct ns_event ev[3];
	for (unsigned i = 0; i < 3; i++) {
		rig_put_device(r, i + 1);
		struct ns_device *d = rig_device(r, &arena, i + 1);
		s[i] = rig_session(0x100 + i, 5);
		ev[i] = rig_event(i + 1, "x", mem[i], sizeof(mem[i]));
		c[i] = (struct ns_change){.dev_eui = rig_eui(i + 1),
					  .op = NS_SESSION_PUT,
					  .version = d->version + (i == 1),
					  .session = &s[i],
					  .events = &ev[i],
					  .n_events = 1};
	}
	assert_int_equal(rig_enqueue(r, 2, 1, false), 0);
	struct ns_queue_op op = {.kind = NS_QUEUE_DELETE, .id = rig_uuid(1)};
	c[1].version--; /* enqueue has moved it on */
	c[1].queue_ops = &op;
	c[1].n_queue_ops = 1;
	rig_commit(r, c, 3);
	assert_int_equal(c[0].err, 0);
	assert_int_equal(c[1].err, LW_ECONFLICT);
	assert_int_equal(c[2].err, 0);
	assert_int_equal(r->n_events, 2);
	struct read rd = read_outbox(r, 0, 100);
	assert_int_equal(rd.n, 2);
	for (int i = 0; i < 2; i++)
		assert_int_equal(rd.seq[i], r->seq[i]);
	/* Nothing of the refused one: neither event, nor queue, nor session. */
	assert_int_equal(rig_heads(r, &arena, 2, 4).total, 1);
	no_cache(r, 2);
	assert_false(rig_device(r, &arena, 2)->has_session);
}

static void test_one_device_twice_in_a_batch(void **state)
{
	struct rig *r = *state;
	rig_put_device(r, 1);
	uint64_t version = rig_device(r, &arena, 1)->version;
	struct ns_session s[3] = {rig_session(1, 1), rig_session(1, 2), rig_session(1, 3)};
	struct ns_change c[3];
	for (int i = 0; i < 3; i++)
		c[i] = (struct ns_change){
			.dev_eui = rig_eui(1), .op = NS_SESSION_PUT, .version = version, .session = &s[i]};
	c[1].version++; /* on top of the first; the third is late */
	rig_commit(r, c, 3);
	assert_int_equal(c[0].err, 0);
	assert_int_equal(c[1].err, 0);
	assert_int_equal(c[2].err, LW_ECONFLICT);
	assert_int_equal(rig_device(r, &arena, 1)->session.f_cnt_up, 2);
}

static void test_delete_session(void **state)
{
	struct rig *r = *state;
	rig_put_device(r, 1);
	assert_int_equal(rig_activate(r, 1, 0xAA, 3), 0);
	assert_int_equal(rig_count_addr(r, 0xAA), 1);
	struct ns_device *d = rig_device(r, &arena, 1);
	struct ns_change c = {.dev_eui = rig_eui(1), .op = NS_SESSION_DELETE, .version = d->version};
	rig_commit(r, &c, 1);
	assert_int_equal(c.err, 0);
	assert_int_equal(rig_count_addr(r, 0xAA), 0);
	d = rig_device(r, &arena, 1);
	assert_false(d->has_session);
	no_cache(r, 1);
	assert_false(rig_device(r, &arena, 1)->has_session);
	assert_int_equal(rig_activate(r, 1, 0xAB, 0), 0);
	assert_int_equal(rig_count_addr(r, 0xAB), 1);
}

static void test_device_deleted_under_a_frame(void **state)
{
	struct rig *r = *state;
	rig_put_device(r, 1);
	assert_int_equal(rig_activate(r, 1, 0xAA, 3), 0);
	struct ns_device *d = rig_device(r, &arena, 1);
	rig_delete_device(r, 1);
	struct ns_session s = rig_session(0xAA, 4);
	struct ns_change c = {.dev_eui = rig_eui(1), .op = NS_SESSION_PUT, .version = d->version, .session = &s};
	rig_commit(r, &c, 1);
	assert_true(c.err == LW_ECONFLICT || c.err == LW_ENOTFOUND);
	assert_null(rig_device(r, &arena, 1));
	assert_int_equal(rig_count_addr(r, 0xAA), 0);
	/* Made anew: what was meant for the first one does not fit the second, whatever happened to both. */
	rig_put_device(r, 1);
	for (int i = 0; i < 3; i++) {
		rig_commit(r, &c, 1);
		assert_int_equal(c.err, LW_ECONFLICT);
		assert_int_equal(rig_activate(r, 1, 0xAC, (uint32_t)i), 0);
	}
}

/* ---- the cache ---- */

static void test_many_devices_with_one_address(void **state)
{
	struct rig *r = *state;
	for (unsigned i = 1; i <= 5; i++) {
		rig_put_device(r, i);
		assert_int_equal(rig_activate(r, i, 0xAA, i), 0);
		assert_int_equal(rig_count_addr(r, 0xAA), i);
	}
	rig_reopen(r);
	assert_int_equal(rig_count_addr(r, 0xAA), 5);
	uint64_t hits = r->store->stats.cache_hits;
	assert_int_equal(rig_count_addr(r, 0xAA), 5);
	assert_int_equal(r->store->stats.cache_hits, hits + 1);
	/* One moves away, one comes. */
	assert_int_equal(rig_activate(r, 3, 0xBB, 0), 0);
	assert_int_equal(rig_count_addr(r, 0xAA), 4);
	assert_int_equal(rig_count_addr(r, 0xBB), 1);
	rig_put_device(r, 6);
	assert_int_equal(rig_count_addr(r, 0xCC), 0); /* known to be nobody's */
	assert_int_equal(rig_activate(r, 6, 0xCC, 0), 0);
	assert_int_equal(rig_count_addr(r, 0xCC), 1);
	rig_delete_device(r, 1);
	assert_int_equal(rig_count_addr(r, 0xAA), 3);
}

static void test_small_cache(void **state)
{
	struct rig *r = *state;
	r->max_cached = 3;
	rig_reopen(r);
	for (unsigned i = 1; i <= 9; i++) {
		rig_put_device(r, i);
		assert_int_equal(rig_activate(r, i, i <= 5 ? 0xAA : 0xB0 + i, i), 0);
	}
	for (int round = 0; round < 3; round++) {
		assert_int_equal(rig_count_addr(r, 0xAA), 5); /* more than there is room for */
		for (unsigned i = 1; i <= 9; i++) {
			struct ns_device *d = rig_device(r, &arena, i);
			assert_int_equal(d->session.f_cnt_up, i + 10 * (unsigned)round);
			assert_int_equal(rig_activate(r, i, i <= 5 ? 0xAA : 0xB0 + i, i + 10 * (unsigned)round + 10),
					 0);
			struct ns_store_stats st;
			ns_store_get_stats(r->store, &st);
			assert_true(st.cached_devices <= 3);
		}
		for (unsigned i = 6; i <= 9; i++)
			assert_int_equal(rig_count_addr(r, 0xB0 + i), 1);
	}
}

/* Many questions in one call, of both kinds, some for nobody. */
static void test_mixed_batch(void **state)
{
	struct rig *r = *state;
	enum { N = 60 };
	struct ns_fetch req[N], *v[N];
	struct rig_wait w[N];
	for (unsigned i = 1; i <= 20; i++) {
		rig_put_device(r, i);
		assert_int_equal(rig_activate(r, i, 0x1000 + i / 2, i), 0);
	}
	rig_reopen(r);
	for (int round = 0; round < 2; round++) { /* from the database, then from memory */
		for (unsigned i = 0; i < N; i++) {
			w[i] = (struct rig_wait){0};
			req[i] = (struct ns_fetch){.by_devaddr = i % 2,
						   .devaddr = {0x1000 + i / 4},
						   .dev_eui = rig_eui(i / 2 + 1),
						   .arena = &arena,
						   .done = rig_fetched,
						   .owner = &w[i]};
			v[i] = &req[i];
		}
		r->port.fetch(r->port.self, v, N);
		for (unsigned i = 0; i < N; i++) {
			rig_wait(r, &w[i]);
			assert_int_equal(req[i].err, 0);
			if (i % 2) {
				unsigned addr = i / 4;
				assert_int_equal(req[i].n, addr > 10 ? 0 : addr == 0 || addr == 10 ? 1 : 2);
			} else {
				assert_int_equal(req[i].n, i / 2 + 1 <= 20);
			}
			for (size_t k = 0; k < req[i].n; k++)
				assert_int_equal(req[i].devices[k]->session.devaddr.v,
						 i % 2 ? 0x1000 + i / 4 : 0x1000 + (i / 2 + 1) / 2);
		}
	}
}

/* A commit that ends while the database is being asked: the older answer must not stay in memory. */
static void test_answer_overtaken_by_a_commit(void **state)
{
	struct rig *r = *state;
	rig_put_device(r, 1);
	assert_int_equal(rig_activate(r, 1, 0xAA, 1), 0);
	for (unsigned i = 1; i <= 50; i++) {
		struct rig_wait w = {0}, wa = {0};
		uint32_t from = i % 2 ? 0xAA : 0xAB, to = i % 2 ? 0xAB : 0xAA;
		uint64_t version = rig_device(r, &arena, 1)->version;
		no_cache(r, 1);
		ns_cache_forget_addr(r->store, (struct lw_devaddr){to});
		struct ns_fetch f = {.dev_eui = rig_eui(1), .arena = &arena, .done = rig_fetched, .owner = &w};
		struct ns_fetch fa = {
			.by_devaddr = true, .devaddr = {to}, .arena = &arena, .done = rig_fetched, .owner = &wa};
		struct ns_fetch *v[2] = {&f, &fa};
		struct ns_session s = rig_session(to, i + 1);
		struct ns_change c = {.dev_eui = rig_eui(1), .op = NS_SESSION_PUT, .version = version, .session = &s};
		r->port.fetch(r->port.self, v, 2);
		rig_commit(r, &c, 1);
		assert_int_equal(c.err, 0);
		rig_wait(r, &w);
		rig_wait(r, &wa);
		struct ns_device *d = rig_device(r, &arena, 1);
		assert_int_equal(d->version, version + 1);
		assert_int_equal(d->session.f_cnt_up, i + 1);
		assert_int_equal(rig_count_addr(r, from), 0);
		assert_int_equal(rig_count_addr(r, to), 1);
	}
}

static void on_addr_checked(struct ns_addr_check *req)
{
	struct rig_wait *w = req->owner;
	w->done = true;
	w->err = req->err;
}

static void test_address_in_use(void **state)
{
	struct rig *r = *state;
	rig_put_device(r, 1);
	assert_int_equal(rig_activate(r, 1, 0xAA, 1), 0);
	struct rig_wait w[2] = {{0}};
	struct ns_addr_check c[2] = {{.addr = {0xAA}, .done = on_addr_checked, .owner = &w[0]},
				     {.addr = {0xAB}, .done = on_addr_checked, .owner = &w[1]}};
	struct ns_addr_check *v[2] = {&c[0], &c[1]};
	r->port.addr_check(r->port.self, v, 2);
	rig_wait(r, &w[0]);
	rig_wait(r, &w[1]);
	assert_int_equal(w[0].err, 0);
	assert_true(c[0].in_use);
	assert_false(c[1].in_use);
}

/* ---- queue ---- */

/* A database that takes nothing more is no full queue: who hears that takes the items for refused, or, where there are
 * several, for stored. */
static void test_full_database_is_no_full_queue(void **state)
{
	struct rig *r = *state;
	enum { CALLS = 40, ITEMS = 2 };
	struct rig_wait w[CALLS] = {0};
	enum ns_enqueue_result results[CALLS][ITEMS] = {0};
	Longwave__Ns__V1__QueueItem item[CALLS][ITEMS], *items[CALLS][ITEMS];
	Longwave__Ns__V1__EnqueueRequest req[CALLS];
	char text[LW_EUI_TEXT], uuid[CALLS][ITEMS][LW_UUID_TEXT];
	size_t refused = 0;
	rig_put_device(r, 1);
	r->max_pending = 8;
	rig_reopen(r);
	for (unsigned i = 0; i < CALLS; i++) {
		longwave__ns__v1__enqueue_request__init(&req[i]);
		for (unsigned k = 0; k < ITEMS; k++) {
			snprintf(uuid[i][k], LW_UUID_TEXT, "00000000-0000-4000-8000-%012x", 100 + i * ITEMS + k);
			longwave__ns__v1__queue_item__init(&item[i][k]);
			item[i][k].dev_eui = lw_dev_eui_print(rig_eui(1), text);
			item[i][k].id = uuid[i][k];
			item[i][k].f_port = 10;
			items[i][k] = &item[i][k];
		}
		req[i].items = items[i];
		req[i].n_items = ITEMS;
		ns_store_enqueue(r->store, &req[i], results[i], rig_done, &w[i]);
	}
	for (unsigned i = 0; i < CALLS; i++) {
		rig_wait(r, &w[i]);
		if (w[i].err == 0)
			continue;
		refused++;
		assert_int_equal(w[i].err, LW_EUNAVAILABLE);
	}
	assert_int_equal(refused, CALLS - 8);
}

static void test_queue_known_to_be_empty(void **state)
{
	struct rig *r = *state;
	rig_put_device(r, 1);
	assert_false(rig_device(r, &arena, 1)->may_have_queue);
	assert_int_equal(rig_enqueue(r, 1, 1, false), 0);
	assert_true(rig_device(r, &arena, 1)->may_have_queue);
	no_cache(r, 1);
	assert_true(rig_device(r, &arena, 1)->may_have_queue);
	/* Emptied by the API: memory finds out with the next look. */
	struct rig_wait w = {0};
	ns_store_flush_queue(r->store, rig_eui(1), rig_done, &w);
	rig_wait(r, &w);
	assert_int_equal(rig_heads(r, &arena, 1, 4).total, 0);
	assert_false(rig_device(r, &arena, 1)->may_have_queue);
	/* A look that began before an item came does not hide it. */
	for (unsigned i = 10; i < 40; i++) {
		struct rig_wait wh = {0};
		struct ns_queue_fetch req = {
			.dev_eui = rig_eui(1), .max = 4, .arena = &arena, .done = rig_heads_done, .owner = &wh};
		struct ns_queue_fetch *v[1] = {&req};
		r->port.queue_head(r->port.self, v, 1);
		assert_int_equal(rig_enqueue(r, 1, i, true), 0);
		rig_wait(r, &wh);
		assert_true(rig_device(r, &arena, 1)->may_have_queue);
	}
}

static void rig_looked(struct ns_gateway_look *req)
{
	struct rig_wait *w = req->owner;
	w->err = req->err;
	w->done = true;
}

/* Nobody tells the other one: what it does not have in memory it finds in the database. */
static void test_made_elsewhere(void **state)
{
	struct rig *a = *state;
	struct rig *b = rig_other_replica(a);
	Longwave__Ns__V1__DeviceProfile p = LONGWAVE__NS__V1__DEVICE_PROFILE__INIT;
	Longwave__Ns__V1__Device d = LONGWAVE__NS__V1__DEVICE__INIT;
	Longwave__Ns__V1__Gateway g = LONGWAVE__NS__V1__GATEWAY__INIT;
	Longwave__Ns__V1__Change c[3] = {LONGWAVE__NS__V1__CHANGE__INIT, LONGWAVE__NS__V1__CHANGE__INIT,
					 LONGWAVE__NS__V1__CHANGE__INIT};
	char profile[] = "99999999-2222-3333-4444-555555555555", eui[] = "0000000000000009";
	p.id = profile;
	p.region = COMMON__REGION__US915;
	c[0].change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE_PROFILE;
	c[0].put_device_profile = &p;
	g.gateway_id = eui;
	c[1].change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_GATEWAY;
	c[1].put_gateway = &g;
	d.dev_eui = eui;
	d.device_profile_id = profile;
	c[2].change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE;
	c[2].put_device = &d;
	rig_apply_one(a, &c[0]);
	rig_apply_one(a, &c[1]);
	assert_null(ns_store_find_profile(b->store, profile));
	rig_apply_one(b, &c[2]); /* the database knows the profile */
	assert_int_equal(rig_activate(a, 9, 0x99, 1), 0);
	/* A device with a profile that was never heard of, by its address and by its EUI. */
	assert_int_equal(rig_count_addr(b, 0x99), 1);
	assert_int_equal(rig_device(b, &arena, 9)->profile.region, LW_REGION_US915);

	assert_null(b->gateways.find(b->gateways.self, (struct lw_gateway_id){{0, 0, 0, 0, 0, 0, 0, 9}}));
	assert_int_equal(b->gateways.look != NULL, a->pg); /* a SQLite file has one process */
	assert_int_equal(b->port.is_shared, a->pg);
	struct rig_wait w = {0};
	struct ns_gateway_look look[2] = {{.done = rig_looked, .owner = &w}, {.done = rig_looked, .owner = &w}};
	struct ns_gateway_look *v[2] = {&look[0], &look[1]};
	assert_int_equal(lw_gateway_id_parse(&look[0].id, eui), 0);
	assert_int_equal(lw_gateway_id_parse(&look[1].id, "00000000000000aa"), 0);
	ns_catalog_look(b->store, v, 2);
	rig_wait(b, &w);
	assert_int_equal(w.err, 0);
	assert_non_null(b->gateways.find(b->gateways.self, look[0].id));
	assert_null(b->gateways.find(b->gateways.self, look[1].id));
	rig_free(b);
}

/* Said while the catalog is being read, or while it cannot be: it is read once more. */
static void test_missed_while_loading(void **state)
{
	struct rig *a = *state;
	struct rig *b = rig_other_replica(a);
	char id[] = "99999999-2222-3333-4444-555555555555";
	Longwave__Ns__V1__DeviceProfile p = LONGWAVE__NS__V1__DEVICE_PROFILE__INIT;
	Longwave__Ns__V1__Change c = LONGWAVE__NS__V1__CHANGE__INIT;
	p.id = id;
	p.region = COMMON__REGION__EU868;
	c.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE_PROFILE;
	c.put_device_profile = &p;
	ns_store_resync(b->store); /* its answer is read only later */
	rig_apply_one(a, &c);
	ns_store_resync(b->store);
	int64_t end = rt_loop_mono_ns(b->loop) + RIG_WAIT_MS * LW_NS_PER_MS;
	while (!ns_store_find_profile(b->store, id)) {
		rt_loop_turn(b->loop);
		assert_true(rt_loop_mono_ns(b->loop) < end);
	}
	rig_free(b);
}

/* Another replica adds an item: this one believes the queue to be empty until its commit is refused. */
static void test_queue_filled_elsewhere(void **state)
{
	struct rig *a = *state;
	rig_put_device(a, 1);
	assert_int_equal(rig_activate(a, 1, 0xAA, 1), 0);
	struct rig *b = rig_other_replica(a);
	struct ns_device *d = rig_device(a, &arena, 1);
	assert_false(d->may_have_queue);
	assert_int_equal(rig_enqueue(b, 1, 1, false), 0);
	struct ns_session s = rig_session(0xAA, 2);
	struct ns_change c = {.dev_eui = rig_eui(1), .op = NS_SESSION_PUT, .version = d->version, .session = &s};
	rig_commit(a, &c, 1);
	assert_int_equal(c.err, LW_ECONFLICT);
	assert_true(rig_device(a, &arena, 1)->may_have_queue);
	rig_free(b);
}

static void test_queue_operations(void **state)
{
	struct rig *r = *state;
	rig_put_device(r, 1);
	rig_put_device(r, 2);
	for (unsigned i = 1; i <= 6; i++)
		assert_int_equal(rig_enqueue(r, 1, i, false), 0);
	assert_int_equal(rig_enqueue(r, 2, 20, false), 0);
	assert_int_equal(rig_enqueue(r, 2, 20, false), LW_EEXISTS);
	assert_int_equal(rig_enqueue(r, 3, 30, false), LW_ENOTFOUND);

	struct ns_queue_fetch q = rig_heads(r, &arena, 1, 4);
	assert_int_equal(q.total, 6);
	assert_int_equal(q.n, 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(lw_uuid_eq(q.items[i].id, rig_uuid(i + 1)));
		assert_int_equal(q.items[i].payload[0].p[2], i + 1);
		assert_int_equal(q.items[i].f_port, 10);
		assert_true(q.items[i].confirmed);
		assert_int_equal(q.items[i].state, NS_ITEM_QUEUED);
	}
	struct ns_queue_op ops[2] = {{.kind = NS_QUEUE_DELETE, .id = rig_uuid(1)},
				     {.kind = NS_QUEUE_MARK,
				      .id = rig_uuid(2),
				      .state = NS_ITEM_PENDING,
				      .f_cnt_down = 77,
				      .timeout_after_ns = 5 * LW_NS_PER_S}};
	struct ns_change c = {.dev_eui = rig_eui(1), .op = NS_SESSION_KEEP, .queue_ops = ops, .n_queue_ops = 2};
	rig_commit(r, &c, 1);
	assert_int_equal(c.err, 0);
	q = rig_heads(r, &arena, 1, 4);
	assert_int_equal(q.total, 5);
	assert_true(lw_uuid_eq(q.items[0].id, rig_uuid(2)));
	assert_int_equal(q.items[0].state, NS_ITEM_PENDING);
	assert_int_equal(q.items[0].f_cnt_down, 77);
	assert_true(q.items[0].timeout_after_ns == 5 * LW_NS_PER_S);

	/* The API removes only what waits. */
	struct rig_wait w = {0};
	ns_store_flush_queue(r->store, rig_eui(1), rig_done, &w);
	rig_wait(r, &w);
	assert_int_equal(rig_heads(r, &arena, 1, 4).total, 1);

	/* State survives a restart, and so does the order. */
	assert_int_equal(rig_enqueue(r, 1, 40, false), 0);
	rig_reopen(r);
	assert_int_equal(rig_enqueue(r, 1, 41, false), 0);
	q = rig_heads(r, &arena, 1, 4);
	assert_int_equal(q.total, 3);
	assert_int_equal(q.items[0].state, NS_ITEM_PENDING);
	assert_true(lw_uuid_eq(q.items[1].id, rig_uuid(40)));
	assert_true(lw_uuid_eq(q.items[2].id, rig_uuid(41)));

	ops[0] = (struct ns_queue_op){.kind = NS_QUEUE_RELEASE_ALL};
	c.n_queue_ops = 1;
	rig_commit(r, &c, 1);
	assert_int_equal(rig_heads(r, &arena, 1, 4).items[0].state, NS_ITEM_QUEUED);
	ops[0].kind = NS_QUEUE_FLUSH;
	rig_commit(r, &c, 1);
	assert_int_equal(rig_heads(r, &arena, 1, 4).total, 0);
	assert_int_equal(rig_heads(r, &arena, 2, 4).total, 1);
	rig_delete_device(r, 2);
	rig_put_device(r, 2);
	assert_int_equal(rig_heads(r, &arena, 2, 4).total, 0);
}

/* ---- outbox ---- */

static void write_events(struct rig *r, unsigned from, unsigned n)
{
	for (unsigned i = from; i < from + n; i++) {
		uint8_t mem[64];
		char id[16];
		snprintf(id, sizeof(id), "e%u", i);
		struct ns_event ev = rig_event(1, id, mem, sizeof(mem));
		struct ns_change c = {.op = NS_SESSION_KEEP, .events = &ev, .n_events = 1};
		rig_commit(r, &c, 1);
		assert_int_equal(c.err, 0);
	}
}

/* After many changes the next wait for company; after few they do not. */
static void test_transactions_keep_apart_under_load(void **state)
{
	struct rig *r = *state;
	uint8_t mem[64];
	struct ns_event ev = rig_event(1, "e", mem, sizeof(mem));
	struct ns_change c[600];
	for (size_t i = 0; i < 600; i++)
		c[i] = (struct ns_change){.op = NS_SESSION_KEEP, .events = &ev, .n_events = 1};
	rig_commit(r, c, 10);
	assert_true(lw_pace_next_ns(&r->store->pace) == r->store->pace.begun_ns);
	double quiet = r->store->pace.per_s;
	rig_commit(r, c, 600);
	assert_true(r->store->pace.per_s > quiet);
	/* A rate that no slow machine lets age before the next. */
	r->store->pace.per_s = 1e12;
	r->store->pace.begun_ns = lw_mono_ns();
	int64_t next_ns = lw_pace_next_ns(&r->store->pace);
	/* However few, they wait, and then they go. */
	rig_commit(r, c, 1);
	assert_true(r->store->pace.begun_ns >= next_ns);
	assert_int_equal(c[0].err, 0);
}

static void test_outbox(void **state)
{
	struct rig *r = *state;
	write_events(r, 0, 10);
	assert_int_equal(r->n_events, 10);
	struct read rd = read_outbox(r, 0, 100);
	assert_int_equal(rd.n, 10);
	for (unsigned i = 0; i < 10; i++) {
		char id[16];
		snprintf(id, sizeof(id), "e%u", i);
		assert_string_equal(rd.id[i], id);
		assert_int_equal(rd.seq[i], r->seq[i]);
		assert_true(i == 0 || rd.seq[i] > rd.seq[i - 1]);
	}
	assert_int_equal(read_outbox(r, rd.seq[3], 4).n, 4);
	assert_string_equal(read_outbox(r, rd.seq[3], 4).id[0], "e4");
	uint64_t last = rd.seq[9];
	rig_reopen(r);
	write_events(r, 10, 1);
	assert_true(r->seq[0] > last); /* never the same number twice */
	assert_int_equal(read_outbox(r, 0, 100).n, 11);
	/* Acknowledged a little later, all at once. A number that was never given is no reason to remove anything. */
	ns_store_ack_outbox(r->store, r->seq[0] + 1);
	ns_store_ack_outbox(r->store, rd.seq[4]);
	ns_store_ack_outbox(r->store, rd.seq[6]);
	size_t n = 11;
	for (int i = 0; i < 500 && n != 4; i++) {
		bool never = false;
		rt_loop_run_until(r->loop, &never, 10);
		n = read_outbox(r, 0, 100).n;
	}
	assert_int_equal(n, 4);
	assert_string_equal(read_outbox(r, 0, 100).id[0], "e7");
}

static void on_rows_counted(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	int64_t *n = arg;
	assert_int_equal(outcome->err, 0);
	*n = sql_i64(r, 0, 0);
}

static int64_t outbox_rows(struct rig *r)
{
	static const struct sql_stmt stmt = {
		.name = "t_outbox_rows", .text = "SELECT count(*) FROM outbox", .cols = "l"};
	int64_t n = -1;
	bool never = false;
	sql_query_send(sql_query_new(r->db, &stmt), on_rows_counted, &n);
	for (int i = 0; i < 10000 && n < 0; i++)
		rt_loop_run_until(r->loop, &never, 1);
	assert_true(n >= 0);
	return n;
}

enum { SHARED = 300, SHARED_BYTES = 700 };

/* Events of one commit, named e0, e1 …, with something to carry. */
static void write_together(struct rig *r, size_t bytes)
{
	struct ns_event *ev = lw_xcalloc(SHARED, sizeof(*ev));
	struct ns_change *c = lw_xcalloc(SHARED, sizeof(*c));
	uint8_t *mem = lw_xcalloc(SHARED, SHARED_BYTES + 64);
	for (unsigned i = 0; i < SHARED; i++) {
		char id[16], text[SHARED_BYTES + 1];
		uint8_t *at = mem + (size_t)i * (SHARED_BYTES + 64);
		Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
		snprintf(id, sizeof(id), "e%u", i);
		memset(text, 'x', bytes);
		text[bytes] = 0;
		e.deduplication_id = id;
		e.dev_eui = text;
		ev[i] = (struct ns_event){.dev_eui = rig_eui(1 + i % 7),
					  .packed = lw_span(at, longwave__ns__v1__event__pack(&e, at))};
		c[i] = (struct ns_change){.op = NS_SESSION_KEEP, .events = &ev[i], .n_events = 1};
	}
	rig_commit(r, c, SHARED);
	for (unsigned i = 0; i < SHARED; i++)
		assert_int_equal(c[i].err, 0);
	free(ev);
	free(c);
	free(mem);
}

static void assert_events(const struct rig *r, const struct read *rd, size_t from)
{
	for (size_t i = 0; i < rd->n; i++) {
		char id[16];
		snprintf(id, sizeof(id), "e%zu", from + i);
		assert_string_equal(rd->id[i], id);
		assert_int_equal(rd->seq[i], r->seq[from + i]);
	}
}

/* Events of a commit share rows: read from any place, and none goes before it is acknowledged. */
static void test_events_share_rows(void **state)
{
	struct rig *r = *state;
	write_together(r, SHARED_BYTES);
	assert_int_equal(r->n_events, SHARED);
	int64_t rows = outbox_rows(r);
	if (r->pg)
		assert_int_equal(rows, SHARED);
	else
		assert_in_range(rows, 2, 10);
	struct read rd = read_outbox(r, 0, 1000);
	assert_int_equal(rd.n, SHARED);
	assert_false(rd.more);
	assert_events(r, &rd, 0);
	for (size_t at = 0; at < SHARED; at += 37) {
		rd = read_outbox(r, r->seq[at], 1000);
		assert_int_equal(rd.n, SHARED - 1 - at);
		assert_events(r, &rd, at + 1);
	}
	/* In pieces, none of them much larger than was asked for. */
	size_t at = 0, pieces = 0;
	for (rd.more = true; rd.more; pieces++) {
		rd = read_outbox(r, at ? r->seq[at - 1] : 0, 5);
		assert_events(r, &rd, at);
		assert_in_range(rd.n, rd.more, 5 + 2 * NS_OUTBOX_ROW / SHARED_BYTES);
		at += rd.n;
	}
	assert_int_equal(at, SHARED);
	assert_in_range(pieces, 4, SHARED);
	/* In the middle of a row: what is behind stays. */
	uint64_t seq[] = {r->seq[0], r->seq[120], r->seq[SHARED - 2]};
	for (size_t i = 0; i < 3; i++) {
		ns_store_ack_outbox(r->store, seq[i]);
		ns_outbox_flush_acks(r->store);
		write_events(r, SHARED + (unsigned)i, 1); /* SQLite: behind it */
		rd = read_outbox(r, seq[i], 1000);
		assert_int_equal(rd.n, r->seq[SHARED - 1] - seq[i] + 1 + i);
	}
	assert_true(outbox_rows(r) < rows + 3);
	rig_reopen(r);
	rd = read_outbox(r, seq[2], 1000);
	assert_int_equal(rd.n, 4);
	assert_string_equal(rd.id[0], "e299");
	assert_string_equal(rd.id[3], "e302");
	write_events(r, 0, 1);
	ns_store_ack_outbox(r->store, r->seq[0]);
	ns_outbox_flush_acks(r->store);
	for (int i = 0; i < 500 && outbox_rows(r); i++)
		;
	assert_int_equal(outbox_rows(r), 0);
}

/* After a conflict nothing is hoped for a while, then again. */
static void test_events_share_no_rows_amid_conflicts(void **state)
{
	struct rig *r = *state;
	struct ns_session s = rig_session(1, 1);
	rig_put_device(r, 1);
	struct ns_change late = {.dev_eui = rig_eui(1), .op = NS_SESSION_PUT, .version = 77, .session = &s};
	rig_commit(r, &late, 1);
	assert_int_equal(late.err, LW_ECONFLICT);
	write_together(r, 1);
	assert_int_equal(outbox_rows(r), SHARED);
	struct read rd = read_outbox(r, 0, 1000);
	assert_int_equal(rd.n, SHARED);
	assert_events(r, &rd, 0);
	for (int i = 0; i < 40; i++)
		write_events(r, 0, 1);
	r->n_events = 0;
	write_together(r, 1);
	if (!r->pg)
		assert_in_range(outbox_rows(r), SHARED + 41, SHARED + 50);
	rd = read_outbox(r, r->seq[0] - 1, 1000);
	assert_int_equal(rd.n, SHARED);
	assert_events(r, &rd, 0);
}

struct found {
	bool done;
	size_t n;
	struct ns_stored_event v[8];
	uint8_t first[8];
};

static void on_found(void *arg, int err, const struct ns_stored_event *v, size_t n, bool more)
{
	struct found *f = arg;
	assert_int_equal(err, 0);
	assert_false(more);
	f->done = true;
	f->n = n;
	for (size_t i = 0; i < n && i < 8; i++) {
		f->v[i] = v[i];
		f->first[i] = v[i].packed.p[0];
	}
}

static void on_put(void *arg, const struct sql_outcome *outcome)
{
	assert_int_equal(outcome->err, 0);
	*(bool *)arg = true;
}

/* Of two devices whose address stays, as with most uplinks, another replica has served one meanwhile. */
static void test_another_was_faster(void **state)
{
	struct rig *r = *state;
	static const struct sql_stmt raise = {
		.name = "t_raise", .text = "UPDATE device SET version = version + 1 WHERE dev_eui = $1", .params = "l"};
	struct ns_session s[2];
	struct ns_change c[2];
	struct ns_event ev[2];
	uint8_t mem[2][64];
	for (unsigned i = 0; i < 2; i++) {
		rig_put_device(r, i + 1);
		s[i] = rig_session(0x100 + i, 5);
		c[i] = (struct ns_change){.dev_eui = rig_eui(i + 1),
					  .op = NS_SESSION_PUT,
					  .version = rig_device(r, &arena, i + 1)->version,
					  .session = &s[i]};
	}
	rig_commit(r, c, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(c[i].err, 0);
		s[i].f_cnt_up = 6;
		ev[i] = rig_event(i + 1, i ? "late" : "first", mem[i], sizeof(mem[i]));
		c[i].version++;
		c[i].events = &ev[i];
		c[i].n_events = 1;
	}
	struct sql_tx *tx = sql_tx_new(r->db);
	bool raised = false;
	sql_put_i64(sql_tx_add(tx, &raise, NULL, NULL), 2);
	sql_tx_commit(tx, on_put, &raised);
	assert_true(rt_loop_run_until(r->loop, &raised, RIG_WAIT_MS));
	rig_commit(r, c, 2);
	assert_int_equal(c[0].err, 0);
	assert_int_equal(c[1].err, LW_ECONFLICT);
	struct read rd = read_outbox(r, 0, 10);
	assert_int_equal(rd.n, 1);
	assert_string_equal(rd.id[0], "first");
	assert_int_equal(rig_device(r, &arena, 1)->session.f_cnt_up, 6);
	assert_int_equal(rig_device(r, &arena, 2)->session.f_cnt_up, 5);
}

/* Rows of an older version hold one event. One that is damaged comes whole, for the reader to refuse. */
static void test_rows_of_all_kinds(void **state)
{
	struct rig *r = *state;
	static const struct sql_stmt put = {.name = "t_put_row",
					    .text = "INSERT INTO outbox (origin, seq, body) VALUES ('else', $1, $2)",
					    .params = "ly"};
	static const uint8_t one[] = {0x0a, 1, 'x'}, two[] = {0, 2, 0, 0, 0, 'a', 'b', 1, 0, 0, 0, 'c'},
			     short_[] = {0, 9, 0, 0, 0, 'd'}, bare[] = {0}, huge[] = {0, 255, 255, 255, 255, 'e'},
			     none[] = {0, 0, 0, 0, 0};
	const struct {
		int64_t seq;
		struct lw_span body;
	} rows[] = {{10, lw_span(one, sizeof(one))},       {12, lw_span(two, sizeof(two))},
		    {13, lw_span(short_, sizeof(short_))}, {14, lw_span(bare, sizeof(bare))},
		    {15, lw_span(huge, sizeof(huge))},     {16, lw_span(none, sizeof(none))}};
	struct sql_tx *tx = sql_tx_new(r->db);
	bool written = false;
	for (size_t i = 0; i < 6; i++) {
		struct sql_params *p = sql_tx_add(tx, &put, NULL, NULL);
		sql_put_i64(p, rows[i].seq);
		sql_put_bytes(p, rows[i].body);
	}
	sql_tx_commit(tx, on_put, &written);
	assert_true(rt_loop_run_until(r->loop, &written, RIG_WAIT_MS));
	struct found f = {0};
	ns_store_read_outbox(r->store, "else", 0, 100, on_found, &f);
	assert_true(rt_loop_run_until(r->loop, &f.done, RIG_WAIT_MS));
	assert_int_equal(f.n, 7);
	static const uint8_t first[] = {0x0a, 'a', 'c', 0, 0, 0, 0};
	static const size_t size[] = {sizeof(one), 2, 1, sizeof(short_), sizeof(bare), sizeof(huge), sizeof(none)};
	for (size_t i = 0; i < 7; i++) {
		assert_int_equal(f.v[i].seq, 10 + i);
		assert_int_equal(f.first[i], first[i]);
		assert_int_equal(f.v[i].packed.n, size[i]);
	}
	/* From within a row. */
	memset(&f, 0, sizeof(f));
	ns_store_read_outbox(r->store, "else", 11, 100, on_found, &f);
	assert_true(rt_loop_run_until(r->loop, &f.done, RIG_WAIT_MS));
	assert_int_equal(f.n, 5);
	assert_int_equal(f.first[0], 'c');
}

/* The numbers go on rising even over an empty database: application servers keep the last one they have heard. */
static void test_numbers_of_an_empty_database(void **state)
{
	struct rig *r = *state;
	write_events(r, 0, 1);
	uint64_t before = r->seq[0];
	/* As after 30 more starts in one second. */
	for (int i = 0; i < 3; i++)
		rig_reopen(r);
	write_events(r, 0, 1);
	assert_true(r->seq[0] > before);
	assert_true(before > (uint64_t)1 << 58); /* a time, not a count */
	assert_true(r->seq[0] < (uint64_t)1 << 62);
}

/* An outcome that is not known: nothing is handed on or removed until it is. */
static void test_fence(void **state)
{
	struct rig *r = *state;
	write_events(r, 0, 2);
	ns_outbox_fence(r->store, ns_store_last_seq(r->store) + 1);
	r->store->next_seq++;
	assert_int_equal(r->gaps_opened, 1);
	ns_store_ack_outbox(r->store, r->seq[1]);
	for (int i = 0; i < 2000 && !r->gaps_closed; i++) {
		bool never = false;
		rt_loop_run_until(r->loop, &never, 5);
	}
	assert_int_equal(r->gaps_closed, 1);
	/* The place is taken, but nobody is shown an empty event. */
	struct read rd = read_outbox(r, r->seq[1], 10);
	assert_int_equal(rd.n, 0);
	/* A late transaction with this number fails; here another attempt with it. */
	uint64_t next = r->store->next_seq--;
	uint8_t mem[64];
	struct ns_event ev = rig_event(1, "late", mem, sizeof(mem));
	struct ns_change c = {.op = NS_SESSION_KEEP, .events = &ev, .n_events = 1};
	rig_commit(r, &c, 1);
	assert_int_equal(c.err, LW_EUNAVAILABLE);
	assert_int_equal(r->gaps_opened, 1); /* it surely failed: nothing is in doubt */
	r->store->next_seq = next;
	write_events(r, 2, 1);
	rd = read_outbox(r, 0, 10);
	for (int i = 0; i < 500 && rd.n != 1; i++) {
		bool never = false;
		rt_loop_run_until(r->loop, &never, 10);
		rd = read_outbox(r, 0, 10);
	}
	assert_int_equal(rd.n, 1);
	assert_string_equal(rd.id[0], "e2");
}

/* ---- Apply ---- */

static void test_apply_errors(void **state)
{
	struct rig *r = *state;
	Longwave__Ns__V1__Change c[6], *v[6];
	Longwave__Ns__V1__Gateway g[2];
	Longwave__Ns__V1__Device d[2];
	Longwave__Ns__V1__DeviceProfile p = LONGWAVE__NS__V1__DEVICE_PROFILE__INIT;
	for (int i = 0; i < 6; i++) {
		longwave__ns__v1__change__init(&c[i]);
		v[i] = &c[i];
	}
	for (int i = 0; i < 2; i++) {
		longwave__ns__v1__gateway__init(&g[i]);
		longwave__ns__v1__device__init(&d[i]);
		d[i].device_profile_id = rig_profile_id;
	}
	c[0].change_case = c[1].change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_GATEWAY;
	c[0].put_gateway = &g[0];
	c[1].put_gateway = &g[1];
	g[0].gateway_id = (char[]){"AABBCCDDEEFF0011"};
	g[1].gateway_id = (char[]){"aabbccddeeff0011"}; /* the same one: two statements */
	g[1].downlink_priority = 9;
	c[2].change_case = c[3].change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE;
	c[2].put_device = &d[0];
	c[3].put_device = &d[1];
	d[0].dev_eui = (char[]){"no EUI"};
	d[1].dev_eui = (char[]){"0000000000000001"};
	d[1].device_profile_id = (char[]){"99999999-0000-0000-0000-000000000000"};
	c[4].change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE_PROFILE;
	c[4].put_device_profile = &p;
	p.id = (char[]){"11111111-2222-3333-4444-999999999999"};
	p.region = (Common__Region)99;
	struct rig_wait w = rig_apply(r, v, 6);
	assert_int_equal(w.err, 0);
	assert_int_equal(w.n, 6);
	assert_string_equal(w.error[0], "");
	assert_string_equal(w.error[1], "");
	for (int i = 2; i < 6; i++)
		assert_true(w.error[i][0] != 0);
	struct lw_gateway_id id;
	lw_gateway_id_parse(&id, "aabbccddeeff0011");
	for (int i = 0; i < 2; i++) {
		const struct ns_gateway *found = r->gateways.find(r->gateways.self, id);
		assert_non_null(found);
		assert_int_equal(found->downlink_priority, 9);
		rig_reopen(r);
	}
	assert_null(rig_device(r, &arena, 1));
}

static void test_profile_in_use(void **state)
{
	struct rig *r = *state;
	Longwave__Ns__V1__Change del = LONGWAVE__NS__V1__CHANGE__INIT, dev = LONGWAVE__NS__V1__CHANGE__INIT;
	Longwave__Ns__V1__Change *v[2] = {&del, &dev};
	Longwave__Ns__V1__Device d = LONGWAVE__NS__V1__DEVICE__INIT;
	rig_put_device(r, 1);
	del.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_DEVICE_PROFILE;
	del.delete_device_profile = rig_profile_id;
	struct rig_wait w = rig_apply(r, v, 1);
	assert_string_equal(w.error[0], "the device profile is in use");
	assert_non_null(ns_store_find_profile(r->store, RIG_PROFILE));
	rig_delete_device(r, 1);
	/* Gone, and a device that comes behind it in the same call finds it gone. */
	dev.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE;
	dev.put_device = &d;
	d.dev_eui = (char[]){"0000000000000002"};
	d.device_profile_id = rig_profile_id;
	w = rig_apply(r, v, 2);
	assert_string_equal(w.error[0], "");
	assert_string_equal(w.error[1], "device profile is unknown");
	assert_null(ns_store_find_profile(r->store, RIG_PROFILE));
	w = rig_apply(r, v, 1); /* again: nothing to do */
	assert_string_equal(w.error[0], "");
	rig_reopen(r);
	assert_null(ns_store_find_profile(r->store, RIG_PROFILE));
	rig_put_profile(r);
	rig_put_device(r, 2);
	assert_non_null(rig_device(r, &arena, 2));
}

static void test_device_changes_under_a_session(void **state)
{
	struct rig *r = *state;
	rig_put_device(r, 1);
	assert_int_equal(rig_activate(r, 1, 0xAA, 5), 0);
	struct ns_device *d = rig_device(r, &arena, 1);
	rig_put_device_with(r, 1, true);
	struct ns_device *now = rig_device(r, &arena, 1);
	assert_true(now->is_disabled);
	assert_true(now->has_session);
	assert_int_equal(now->session.f_cnt_up, 5);
	assert_int_equal(rig_count_addr(r, 0xAA), 1);
	/* What was decided for the device as it was does not fit any more. */
	struct ns_session s = rig_session(0xAA, 6);
	struct ns_change c = {.dev_eui = rig_eui(1), .op = NS_SESSION_PUT, .version = d->version, .session = &s};
	rig_commit(r, &c, 1);
	assert_int_equal(c.err, LW_ECONFLICT);
}

static void test_gateway_seen(void **state)
{
	struct rig *r = *state;
	Longwave__Ns__V1__Gateway g = LONGWAVE__NS__V1__GATEWAY__INIT;
	Longwave__Ns__V1__Change c = LONGWAVE__NS__V1__CHANGE__INIT;
	Common__Location at = COMMON__LOCATION__INIT;
	struct lw_gateway_id id;
	g.gateway_id = (char[]){"0102030405060708"};
	g.stats_interval_s = 30;
	c.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_GATEWAY;
	c.put_gateway = &g;
	rig_apply_one(r, &c);
	lw_gateway_id_parse(&id, g.gateway_id);
	at.latitude = 51.5;
	at.longitude = -0.25;
	r->gateways.seen(r->gateways.self, id, 1700000000 * LW_NS_PER_S, &at);
	r->gateways.region(r->gateways.self, id, "us915_3");
	rig_close(r); /* an orderly end writes it */
	rig_open(r);
	const struct ns_gateway *found = r->gateways.find(r->gateways.self, id);
	assert_string_equal(found->region_config_id, "us915_3"); /* before anything is heard of it */
	assert_true(found->last_seen_ns == 1700000000 * LW_NS_PER_S);
	assert_true(found->has_location && found->latitude == 51.5 && found->longitude == -0.25);
	assert_int_equal(found->stats_interval_s, 30);
	c.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_DELETE_GATEWAY;
	c.delete_gateway = g.gateway_id;
	rig_apply_one(r, &c);
	assert_null(r->gateways.find(r->gateways.self, id));
}

#define BOTH(fn)                                                                                                       \
	{#fn " [sqlite]", fn, setup_lite, teardown, NULL},                                                             \
	{                                                                                                              \
#fn " [postgres]", fn, setup_pg, teardown, NULL                                                        \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_compare_and_set),
		BOTH(test_conflict_leaves_the_others),
		BOTH(test_one_device_twice_in_a_batch),
		BOTH(test_delete_session),
		BOTH(test_device_deleted_under_a_frame),
		BOTH(test_many_devices_with_one_address),
		BOTH(test_small_cache),
		BOTH(test_mixed_batch),
		BOTH(test_answer_overtaken_by_a_commit),
		BOTH(test_address_in_use),
		BOTH(test_full_database_is_no_full_queue),
		BOTH(test_queue_known_to_be_empty),
		BOTH(test_queue_filled_elsewhere),
		BOTH(test_made_elsewhere),
		BOTH(test_missed_while_loading),
		BOTH(test_queue_operations),
		BOTH(test_transactions_keep_apart_under_load),
		BOTH(test_outbox),
		BOTH(test_events_share_rows),
		BOTH(test_events_share_no_rows_amid_conflicts),
		BOTH(test_another_was_faster),
		BOTH(test_rows_of_all_kinds),
		BOTH(test_numbers_of_an_empty_database),
		BOTH(test_fence),
		BOTH(test_apply_errors),
		BOTH(test_profile_in_use),
		BOTH(test_device_changes_under_a_session),
		BOTH(test_gateway_seen),
	};
	return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
