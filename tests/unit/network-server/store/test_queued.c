/* Which devices have something in their queue, page by page, on both engines. */
#include "tests/fixtures/sqlite_work.h"
#include "tests/unit/network-server/store/rig.h"

static struct lw_arena arena;

static int setup_any(void **state, bool pg)
{
	lw_arena_init(&arena, NULL, 0, SIZE_MAX);
	*state = rig_new(pg, 0);
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

static void put_profile(struct rig *r, bool class_b, bool class_c)
{
	Longwave__Ns__V1__DeviceProfile p = LONGWAVE__NS__V1__DEVICE_PROFILE__INIT;
	Longwave__Ns__V1__Change c = LONGWAVE__NS__V1__CHANGE__INIT;
	p.id = rig_profile_id;
	p.region = COMMON__REGION__EU868;
	p.supports_class_b = class_b;
	p.supports_class_c = class_c;
	c.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_DEVICE_PROFILE;
	c.put_device_profile = &p;
	rig_apply_one(r, &c);
}

struct page {
	struct rig_wait w;
	int err;
	struct ns_queued v[8];
	size_t n;
};

static void on_page(void *arg, int err, const struct ns_queued *v, size_t n)
{
	struct page *p = arg;
	p->err = err;
	p->n = n;
	assert_true(n <= 8);
	if (n)
		memcpy(p->v, v, n * sizeof(v[0]));
	p->w.done = true;
}

static struct page page(struct rig *r, int64_t from, uint32_t limit)
{
	struct page p = {.err = 1};
	ns_store_queued_page(r->store, from, limit, on_page, &p);
	rig_wait(r, &p.w);
	assert_int_equal(p.err, 0);
	return p;
}

static void give_session(struct rig *r, uint64_t n, const struct ns_queue_op *ops, size_t n_ops)
{
	struct ns_device *d = rig_device(r, &arena, n);
	struct ns_session s = rig_session((uint32_t)n & 0xFFFF, 7);
	struct ns_change c = {.dev_eui = rig_eui(n),
			      .op = NS_SESSION_PUT,
			      .version = d->version,
			      .session = &s,
			      .queue_ops = ops,
			      .n_queue_ops = n_ops};
	rig_commit(r, &c, 1);
	assert_int_equal(c.err, 0);
}

/* EUIs with the upper bit come first: the database's numbers are signed. */
static void pages(void **state)
{
	static const uint64_t eui[] = {0x8000000000000001, 0xFFFFFFFFFFFFFFFF, 5, 6, 7};
	struct rig *r = *state;
	put_profile(r, false, true);
	assert_int_equal(page(r, INT64_MIN, 8).n, 0);
	for (size_t i = 0; i < 5; i++) {
		rig_put_device(r, eui[i]);
		give_session(r, eui[i], NULL, 0);
		assert_int_equal(rig_enqueue(r, eui[i], (unsigned)i, false), 0);
	}
	assert_int_equal(rig_enqueue(r, 6, 10, false), 0); /* once, however many items */
	rig_put_device(r, 8);                              /* no session */
	assert_int_equal(rig_enqueue(r, 8, 20, false), 0);
	rig_put_device(r, 9); /* no queue */
	give_session(r, 9, NULL, 0);
	int64_t from = INT64_MIN;
	size_t seen = 0;
	for (;;) {
		struct page p = page(r, from, 2);
		for (size_t i = 0; i < p.n; i++) {
			assert_int_equal(lw_dev_eui_u64(p.v[i].dev_eui), eui[seen++]);
			assert_true(p.v[i].at_any_time);
			assert_false(p.v[i].half_sent);
			assert_int_equal(p.v[i].timeout_after_ns, 0);
		}
		if (p.n < 2)
			break;
		from = p.v[p.n - 1].place + 1;
	}
	assert_int_equal(seen, 5);
}

static void states(void **state)
{
	struct rig *r = *state;
	put_profile(r, false, false);
	rig_put_device(r, 1);
	rig_put_device(r, 2);
	give_session(r, 1, NULL, 0);
	give_session(r, 2, NULL, 0);
	assert_int_equal(rig_enqueue(r, 1, 1, false), 0);
	assert_int_equal(rig_enqueue(r, 2, 2, false), 0);
	assert_false(page(r, INT64_MIN, 8).v[0].at_any_time);
	put_profile(r, true, false);
	assert_true(page(r, INT64_MIN, 8).v[0].at_any_time);
	put_profile(r, false, true);
	struct ns_queue_op sent = {
		.kind = NS_QUEUE_MARK, .id = rig_uuid(1), .state = NS_ITEM_SENT, .timeout_after_ns = 1000000};
	struct ns_queue_op waits = {.kind = NS_QUEUE_MARK,
				    .id = rig_uuid(2),
				    .state = NS_ITEM_PENDING,
				    .timeout_after_ns = INT64_C(1700000000123456000)};
	give_session(r, 1, &sent, 1);
	give_session(r, 2, &waits, 1);
	struct page p = page(r, INT64_MIN, 8);
	assert_int_equal(p.n, 2);
	assert_true(p.v[0].at_any_time && p.v[0].half_sent && p.v[0].timeout_after_ns == 0);
	assert_true(p.v[1].at_any_time && !p.v[1].half_sent);
	assert_int_equal(p.v[1].timeout_after_ns, INT64_C(1700000000123456000));
}

static void on_raised(void *arg, const struct sql_outcome *outcome)
{
	assert_int_equal(outcome->err, 0);
	*(bool *)arg = true;
}

/* What memory has of a device is forgotten when another replica has written it since, and only then. */
static void older_ones_are_forgotten(void **state)
{
	struct rig *r = *state;
	static const struct sql_stmt raise = {.name = "t_raise", .text = "UPDATE device SET version = version + 1"};
	put_profile(r, false, true);
	rig_put_device(r, 1);
	give_session(r, 1, NULL, 0);
	assert_int_equal(rig_enqueue(r, 1, 1, false), 0);
	uint64_t version = rig_device(r, &arena, 1)->version;
	assert_int_equal(page(r, INT64_MIN, 8).n, 1);
	assert_non_null(lw_map_find(&r->store->devices, 1));
	struct sql_tx *tx = sql_tx_new(r->db);
	bool raised = false;
	sql_tx_add(tx, &raise, NULL, NULL);
	sql_tx_commit(tx, on_raised, &raised);
	assert_true(rt_loop_run_until(r->loop, &raised, RIG_WAIT_MS));
	assert_int_equal(page(r, INT64_MIN, 8).n, 1);
	assert_null(lw_map_find(&r->store->devices, 1));
	assert_int_equal(rig_device(r, &arena, 1)->version, version + 1);
}

/* With 100,000 of them 500 pages are asked for: each looks at what it gives. */
static void pages_are_not_sorted(void **state)
{
	struct rig *r = *state;
	put_profile(r, false, true);
	for (uint64_t eui = 1; eui <= 5; eui++) {
		rig_put_device(r, eui);
		give_session(r, eui, NULL, 0);
		assert_int_equal(rig_enqueue(r, eui, (unsigned)eui, false), 0);
	}
	work_watch();
	rig_reopen(r);
	work_ignore();
	unsigned before = atomic_load(&work_sorts);
	assert_int_equal(page(r, INT64_MIN, 2).n, 2);
	assert_int_equal(atomic_load(&work_sorts), before);
}

#define BOTH(fn)                                                                                                       \
	{#fn " [sqlite]", fn, setup_lite, teardown, NULL},                                                             \
	{                                                                                                              \
#fn " [postgres]", fn, setup_pg, teardown, NULL                                                        \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(pages),
		BOTH(states),
		BOTH(older_ones_are_forgotten),
		cmocka_unit_test_setup_teardown(pages_are_not_sorted, setup_lite, teardown),
	};
	return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
