/* Rows of devices are taken in the order of their EUIs by whatever changes many of them, on PostgreSQL: replicas, and
 * calls of the API, change the same ones at the same time. */
#include "tests/unit/network-server/store/rig_rows.h"

enum { DEVICES = 40 };

static const struct sql_stmt LOCK_ONE = {
	.name = "test_lock_one", .text = "UPDATE device SET body = body WHERE dev_eui = $1", .params = "l"};
static const struct sql_stmt LOCK_OTHERS = {
	.name = "test_lock_others", .text = "UPDATE device SET body = body WHERE dev_eui > $1", .params = "l"};

/* A table so small is read from its beginning to its end; one with many devices by its index, row by row. */
static const struct sql_stmt AS_IF_LARGE[] = {
	{.name = "test_no_seqscan", .text = "ALTER DATABASE postgres SET enable_seqscan = off"},
	{.name = "test_no_hashjoin", .text = "ALTER DATABASE postgres SET enable_hashjoin = off"},
	{.name = "test_no_mergejoin", .text = "ALTER DATABASE postgres SET enable_mergejoin = off"},
};

static void on_set(void *arg, const struct sql_outcome *outcome)
{
	struct rig_wait *w = arg;
	w->err = outcome->err;
	w->done = true;
}

static void as_if_large(struct rig *r)
{
	for (size_t i = 0; i < sizeof(AS_IF_LARGE) / sizeof(AS_IF_LARGE[0]); i++) {
		struct rig_wait w = {0};
		struct sql_tx *tx = sql_tx_new(r->db);
		sql_tx_add(tx, &AS_IF_LARGE[i], NULL, NULL);
		sql_tx_commit(tx, on_set, &w);
		rig_wait(r, &w);
		assert_int_equal(w.err, 0);
	}
	rig_reopen(r);
}

static int setup(void **state)
{
	struct rig *r = rig_new(true, 0);
	as_if_large(r);
	rig_put_profile(r);
	for (uint64_t eui = 1; eui <= DEVICES; eui++) {
		rig_put_device(r, eui);
		assert_int_equal(rig_activate(r, eui, 0x01000000 + (uint32_t)eui, 1), 0);
	}
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	rig_free(*state);
	return 0;
}

/* As frames come: in no order. */
static uint64_t eui_at(size_t i)
{
	return (i * 7 + 3) % DEVICES + 1;
}

static void commits(void **state)
{
	struct rig *r = *state;
	struct rig_rows other;
	struct lw_arena arena;
	struct ns_session s[DEVICES];
	struct ns_change c[DEVICES];
	lw_arena_init(&arena, NULL, 0, SIZE_MAX);
	for (size_t i = 0; i < DEVICES; i++) {
		uint64_t eui = eui_at(i);
		struct ns_device *d = rig_device(r, &arena, eui);
		s[i] = rig_session(0x01000000 + (uint32_t)eui, 2);
		c[i] = (struct ns_change){
			.dev_eui = rig_eui(eui), .op = NS_SESSION_PUT, .version = d->version, .session = &s[i]};
	}
	rig_rows_begin(&other, r, &LOCK_ONE, &LOCK_OTHERS, 1);
	rig_commit(r, c, DEVICES);
	rig_rows_end(&other);
	for (size_t i = 0; i < DEVICES; i++)
		assert_int_equal(c[i].err, 0);
	lw_arena_deinit(&arena);
}

static void enqueued(void **state)
{
	struct rig *r = *state;
	struct rig_rows other;
	struct rig_wait w = {0};
	Longwave__Ns__V1__QueueItem item[DEVICES], *items[DEVICES];
	Longwave__Ns__V1__EnqueueRequest req = LONGWAVE__NS__V1__ENQUEUE_REQUEST__INIT;
	ProtobufCBinaryData payload = {1, (uint8_t[]){1}};
	char eui[DEVICES][LW_EUI_TEXT], id[DEVICES][LW_UUID_TEXT];
	for (size_t i = 0; i < DEVICES; i++) {
		longwave__ns__v1__queue_item__init(&item[i]);
		item[i].dev_eui = lw_dev_eui_print(rig_eui(eui_at(i)), eui[i]);
		item[i].id = lw_uuid_print(rig_uuid((unsigned)i + 1), id[i]);
		item[i].f_port = 10;
		item[i].frm_payloads = &payload;
		item[i].n_frm_payloads = 1;
		items[i] = &item[i];
	}
	req.items = items;
	req.n_items = DEVICES;
	rig_rows_begin(&other, r, &LOCK_ONE, &LOCK_OTHERS, 1);
	ns_store_enqueue(r->store, &req, NULL, rig_done, &w);
	rig_wait(r, &w);
	rig_rows_end(&other);
	assert_int_equal(w.err, 0);
}

static const struct sql_stmt LOCK_ONE_GATEWAY = {
	.name = "test_lock_one_gateway", .text = "UPDATE gateway SET body = body WHERE gateway_id = $1", .params = "l"};
static const struct sql_stmt LOCK_OTHER_GATEWAYS = {.name = "test_lock_other_gateways",
						    .text = "UPDATE gateway SET body = body WHERE gateway_id > $1",
						    .params = "l"};

static void put_gateway(struct rig *r, uint64_t n)
{
	Longwave__Ns__V1__Gateway g = LONGWAVE__NS__V1__GATEWAY__INIT;
	Longwave__Ns__V1__Change c = LONGWAVE__NS__V1__CHANGE__INIT;
	char id[LW_EUI_TEXT];
	g.gateway_id = lw_gateway_id_print(lw_gateway_id_from_u64(n), id);
	c.change_case = LONGWAVE__NS__V1__CHANGE__CHANGE_PUT_GATEWAY;
	c.put_gateway = &g;
	rig_apply_one(r, &c);
}

static void gateways_heard(void **state)
{
	struct rig *r = *state;
	struct rig_rows other;
	for (uint64_t n = 1; n <= DEVICES; n++)
		put_gateway(r, n);
	rig_rows_begin(&other, r, &LOCK_ONE_GATEWAY, &LOCK_OTHER_GATEWAYS, 1);
	for (size_t i = 0; i < DEVICES; i++)
		r->gateways.seen(r->gateways.self, lw_gateway_id_from_u64(eui_at(i)), 1700000000 * LW_NS_PER_S, NULL);
	ns_catalog_flush_seen(r->store);
	rig_rows_end(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(commits, setup, teardown),
		cmocka_unit_test_setup_teardown(enqueued, setup, teardown),
		cmocka_unit_test_setup_teardown(gateways_heard, setup, teardown),
	};
	return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
