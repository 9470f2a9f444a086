/* Counts of links on both engines: what is written, what memory still holds, growing old, replicas. */
#include "network-server/store/link_store.h"
#include "tests/fixtures/sqlite_work.h"
#include "tests/unit/network-server/store/rig.h"
#include "tests/unit/network-server/store/rig_rows.h"

#define KIND(name) LONGWAVE__NS__V1__LINK_TALLY__KIND__##name
#define EUI 0x0102030405060708ULL

struct links {
	struct rig *r;
	struct ns_link_store *s;
	struct ns_link_port port;
};

static void open_links(struct links *l, struct rig *r, const char *origin)
{
	struct ns_link_store_opts o = {.loop = r->loop, .log = r->log, .db = r->db, .origin = origin};
	assert_int_equal(ns_link_set_time_zone("UTC"), 0);
	l->r = r;
	l->s = ns_link_store_new(&o);
	ns_link_store_open(l->s);
	ns_link_store_fill_port(l->s, &l->port);
}

static int setup_any(void **state, bool pg)
{
	struct links *l = lw_xcalloc(1, sizeof(*l));
	open_links(l, rig_new(pg, 0), "one");
	*state = l;
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
	struct links *l = *state;
	rig_close(l->r);
	ns_link_store_free(l->s);
	rt_loop_free(l->r->loop);
	rt_log_free(l->r->log);
	free(l->r);
	free(l);
	return 0;
}

static int64_t now_s(const struct links *l)
{
	return rt_loop_now_ns(l->r->loop) / LW_NS_PER_S;
}

static void heard(struct links *l, uint64_t eui, int64_t at_s, int64_t n, uint32_t hz)
{
	struct ns_tally v[] = {{KIND(RX), 0, n}, {KIND(RSSI_DBM), 0, -100 * n}, {KIND(RX_FREQUENCY), hz, n}};
	l->port.device(l->port.self, lw_dev_eui_from_u64(eui), at_s * LW_NS_PER_S, v, 3);
}

static void settle(struct links *l)
{
	int64_t end = rt_loop_mono_ns(l->r->loop) + RIG_WAIT_MS * LW_NS_PER_MS;
	ns_link_store_write(l->s);
	while (!ns_link_store_is_idle(l->s)) {
		bool never = false;
		rt_loop_run_until(l->r->loop, &never, 1);
		assert_true(rt_loop_mono_ns(l->r->loop) < end);
	}
}

struct got {
	bool done;
	int err;
	size_t n;
	int64_t begin_s[NS_LINK_BUCKETS_MAX], rx[NS_LINK_BUCKETS_MAX];
	int64_t total, rssi;
	size_t n_bands;
	struct ns_duty_band band[8];
	size_t band_bucket;
};

static void on_read(void *arg, int err, const struct ns_link_bucket *v, size_t n)
{
	struct got *g = arg;
	g->done = true;
	g->err = err;
	g->n = n;
	for (size_t i = 0; i < n; i++) {
		g->begin_s[i] = v[i].begin_s;
		g->rx[i] = ns_link_get(&v[i].counts, KIND(RX), 0);
		g->total += g->rx[i];
		g->rssi += ns_link_get(&v[i].counts, KIND(RSSI_DBM), 0);
		for (size_t k = 0; k < v[i].counts.n_bands && g->n_bands < 8; k++) {
			g->band[g->n_bands++] = v[i].counts.band[k];
			g->band_bucket = i;
		}
	}
}

static struct got *ask(struct links *l, enum ns_link_subject subject, enum ns_span span, int64_t start_s, int64_t end_s)
{
	static struct got g;
	memset(&g, 0, sizeof(g));
	ns_link_store_read(l->s, subject, EUI, span, start_s, end_s, on_read, &g);
	assert_true(rt_loop_run_until(l->r->loop, &g.done, RIG_WAIT_MS));
	return &g;
}

static void test_memory_and_table(void **state)
{
	struct links *l = *state;
	int64_t now = now_s(l), hour = ns_span_begin(NS_SPAN_HOUR, now);
	heard(l, EUI, now, 1, 868100000);
	heard(l, EUI + 1, now, 50, 868100000);
	/* Before it is written, after that, and with more on top; bytes of any value come through both engines. */
	for (int64_t n = 1; n <= 300; n *= 3) {
		struct got *g = ask(l, NS_LINK_DEVICE, NS_SPAN_HOUR, now - 3600, now);
		assert_int_equal(g->err, 0);
		assert_int_equal(g->n, 2);
		assert_int_equal(g->begin_s[1], hour);
		assert_int_equal(g->rx[0], 0);
		assert_int_equal(g->rx[1], n);
		assert_int_equal(g->rssi, -100 * n);
		settle(l);
		assert_int_equal(ask(l, NS_LINK_DEVICE, NS_SPAN_HOUR, now, now)->total, n);
		assert_int_equal(ask(l, NS_LINK_GATEWAY, NS_SPAN_HOUR, now, now)->total, 0);
		heard(l, EUI, now, n, 0xFFFFFFFF - (uint32_t)n);
		heard(l, EUI, now, n, 256);
	}
}

/* A read that comes while rows are being written sees each number once. */
static void test_read_amid_writing(void **state)
{
	struct links *l = *state;
	int64_t now = now_s(l);
	for (uint64_t i = 0; i < 1500; i++)
		heard(l, EUI + i, now, 1, 868100000);
	ns_link_store_write(l->s);
	for (int i = 0; i < 40; i++) {
		bool never = false;
		assert_int_equal(ask(l, NS_LINK_DEVICE, NS_SPAN_HOUR, now, now)->total, 1);
		rt_loop_run_until(l->r->loop, &never, 1);
	}
	settle(l);
	assert_int_equal(ask(l, NS_LINK_DEVICE, NS_SPAN_HOUR, now, now)->total, 1);
}

static void test_two_replicas_and_a_restart(void **state)
{
	struct links *l = *state, other;
	int64_t now = now_s(l);
	open_links(&other, l->r, "two");
	heard(l, EUI, now, 3, 868100000);
	heard(&other, EUI, now, 4, 868300000);
	settle(l);
	settle(&other);
	heard(&other, EUI, now, 10, 868300000);
	settle(&other);
	ns_link_store_free(other.s);
	ns_link_store_free(l->s);
	open_links(l, l->r, "one");
	struct got *g = ask(l, NS_LINK_DEVICE, NS_SPAN_HOUR, now, now);
	assert_int_equal(g->total, 17);
	assert_int_equal(g->rssi, -1700);
}

static void aged(struct links *l)
{
	int64_t end = rt_loop_mono_ns(l->r->loop) + RIG_WAIT_MS * LW_NS_PER_MS;
	while (ns_link_store_is_aging(l->s)) {
		bool never = false;
		rt_loop_run_until(l->r->loop, &never, 2);
		assert_true(rt_loop_mono_ns(l->r->loop) < end);
	}
}

static void age(struct links *l)
{
	ns_link_store_age(l->s);
	aged(l);
}

static const struct sql_stmt ROWS = {.name = "test_link_rows",
				     .text = "SELECT count(*) FROM link_count WHERE span = $1",
				     .params = "l",
				     .cols = "l"};

struct counted {
	bool done;
	int64_t n;
};

static void on_count(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct counted *c = arg;
	assert_int_equal(outcome->err, 0);
	c->n = sql_i64(r, 0, 0);
	c->done = true;
}

static int64_t rows(struct links *l, enum ns_span span)
{
	struct counted c = {0};
	struct sql_query *q = sql_query_new(l->r->db, &ROWS);
	sql_put_i64(sql_query_params(q), span);
	sql_query_send(q, on_count, &c);
	assert_true(rt_loop_run_until(l->r->loop, &c.done, RIG_WAIT_MS));
	return c.n;
}

static void test_growing_old(void **state)
{
	struct links *l = *state;
	int64_t now = now_s(l), start = now - 200 * 86400;
	/* One each six hours for 200 days: more rows than are looked at together. */
	for (int64_t at = start; at <= now; at += 6 * 3600)
		heard(l, EUI, at, 1, 868100000);
	for (int64_t at = start; at <= now; at += 24 * 3600)
		heard(l, EUI + 1, at, 1, 868100000);
	settle(l);
	int64_t n = ask(l, NS_LINK_DEVICE, NS_SPAN_MONTH, start, now)->total;
	assert_int_equal(n, 801);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(ask(l, NS_LINK_DEVICE, NS_SPAN_MONTH, start, now)->total, n);
		assert_int_equal(ask(l, NS_LINK_DEVICE, NS_SPAN_MONTH, start, now)->rssi, -100 * n);
		age(l);
	}
	/* Two whole days and today of hours, whole months and 62 days of days. */
	assert_true(rows(l, NS_SPAN_HOUR) <= 3 * 4 + 3 + 3 && rows(l, NS_SPAN_HOUR) >= 2 * 4);
	assert_true(rows(l, NS_SPAN_DAY) >= 2 * 59 && rows(l, NS_SPAN_DAY) <= 2 * 93);
	assert_true(rows(l, NS_SPAN_MONTH) >= 2 * 4);
	struct got *g = ask(l, NS_LINK_DEVICE, NS_SPAN_DAY, now - 10 * 86400, now - 86400);
	assert_int_equal(g->n, 10);
	for (size_t i = 1; i < g->n; i++)
		assert_int_equal(g->rx[i], 4);
	/* Somebody counts in a day that is one row already. */
	heard(l, EUI, now - 10 * 86400, 5, 868100000);
	settle(l);
	age(l);
	assert_int_equal(ask(l, NS_LINK_DEVICE, NS_SPAN_MONTH, start, now)->total, n + 5);
}

/* Both want to make the same rows coarser: nothing is added twice. */
static void test_two_that_age(void **state)
{
	struct links *l = *state, other;
	int64_t now = now_s(l);
	open_links(&other, l->r, "two");
	for (int64_t at = now - 10 * 86400; at <= now; at += 3600)
		heard(l, EUI, at, 1, 868100000);
	settle(l);
	int64_t n = ask(l, NS_LINK_DEVICE, NS_SPAN_DAY, now - 11 * 86400, now)->total;
	assert_int_equal(n, 241);
	for (int i = 0; i < 3; i++) {
		ns_link_store_age(other.s);
		age(l);
		aged(&other);
		assert_int_equal(ask(l, NS_LINK_DEVICE, NS_SPAN_DAY, now - 11 * 86400, now)->total, n);
	}
	assert_true(rows(l, NS_SPAN_HOUR) <= 72);
	ns_link_store_free(other.s);
}

static void test_gateway(void **state)
{
	struct links *l = *state;
	int64_t now = now_s(l);
	struct ns_link_counts c = {0};
	ns_link_add(&c, KIND(RX), 0, 7);
	ns_link_add_band(&c, &(struct ns_duty_band){868000000, 868600000, 3600, 36000, 1200, 1});
	l->port.gateway(l->port.self, lw_gateway_id_from_u64(EUI), now * LW_NS_PER_S, &c);
	c.band[0].used_ms = 1300;
	l->port.gateway(l->port.self, lw_gateway_id_from_u64(EUI), now * LW_NS_PER_S, &c);
	for (int i = 0; i < 2; i++) {
		struct got *g = ask(l, NS_LINK_GATEWAY, NS_SPAN_MINUTE, now - 600, now);
		assert_int_equal(g->n, 11);
		assert_int_equal(g->n_bands, 1);
		assert_int_equal(g->band_bucket, 10);
		assert_int_equal(g->band[0].used_ms, 1300);
		assert_true(g->band[0].counted_by > 1);
		assert_int_equal(g->total, 0);
		assert_int_equal(ask(l, NS_LINK_GATEWAY, NS_SPAN_DAY, now, now)->total, 14);
		settle(l);
	}
	/* Minutes are kept for two hours. */
	l->port.gateway(l->port.self, lw_gateway_id_from_u64(EUI), (now - 3 * 3600) * LW_NS_PER_S, &c);
	settle(l);
	assert_int_equal(rows(l, NS_SPAN_MINUTE), 2);
	age(l);
	assert_int_equal(rows(l, NS_SPAN_MINUTE), 1);
	ns_link_counts_deinit(&c);
}

/* Another device that is given the EUI later begins with nothing; a gateway with the same EUI keeps its own. */
static void test_deleted_device(void **state)
{
	struct links *l = *state;
	int64_t now = now_s(l);
	struct ns_link_counts c = {0};
	rig_put_profile(l->r);
	rig_put_device(l->r, EUI);
	ns_link_add(&c, KIND(RX), 0, 7);
	heard(l, EUI, now, 3, 868100000);
	heard(l, EUI, now - 86400 * 5, 3, 868100000);
	l->port.gateway(l->port.self, lw_gateway_id_from_u64(EUI), now * LW_NS_PER_S, &c);
	settle(l);
	age(l);
	rig_delete_device(l->r, EUI);
	assert_int_equal(ask(l, NS_LINK_DEVICE, NS_SPAN_MONTH, now - 86400 * 5, now)->total, 0);
	assert_int_equal(ask(l, NS_LINK_GATEWAY, NS_SPAN_MONTH, now, now)->total, 7);
	ns_link_counts_deinit(&c);
}

static void test_questions(void **state)
{
	struct links *l = *state;
	int64_t now = now_s(l);
	assert_int_equal(ask(l, NS_LINK_DEVICE, NS_SPAN_HOUR, now, now - 1)->err, LW_EINVAL);
	assert_int_equal(ask(l, NS_LINK_DEVICE, NS_SPAN_MINUTE, now - 86400 * 3, now)->err, LW_EBIG);
	assert_int_equal(ask(l, NS_LINK_DEVICE, NS_SPAN_HOUR, now - 3600 * (NS_LINK_BUCKETS_MAX - 1), now)->n,
			 NS_LINK_BUCKETS_MAX);
}

/* Each hour that grows old has as many rows as there are devices: they are not sorted for each piece that is taken. */
static void test_old_rows_are_not_sorted(void **state)
{
	struct links *l = *state;
	int64_t now = now_s(l);
	work_watch();
	rig_reopen(l->r);
	work_ignore();
	ns_link_store_free(l->s);
	open_links(l, l->r, "one");
	for (uint64_t i = 0; i < 600; i++)
		heard(l, EUI + i, now - 5 * 86400, 1, 868100000);
	settle(l);
	unsigned before = atomic_load(&work_sorts);
	age(l);
	assert_int_equal(atomic_load(&work_sorts), before);
	assert_int_equal(rows(l, NS_SPAN_HOUR), 0);
	assert_int_equal(rows(l, NS_SPAN_DAY), 600);
}

/* More months than go at once. */
static void test_forgotten(void **state)
{
	struct links *l = *state;
	int64_t now = now_s(l);
	for (uint64_t i = 0; i < 600; i++)
		heard(l, EUI + i, now - 900 * 86400, 1, 868100000);
	heard(l, EUI, now - 100 * 86400, 1, 868100000);
	settle(l);
	age(l);
	assert_int_equal(rows(l, NS_SPAN_HOUR) + rows(l, NS_SPAN_DAY), 0);
	assert_int_equal(rows(l, NS_SPAN_MONTH), 1);
}

static const struct sql_stmt LOCK_ONE = {
	.name = "test_lock_one", .text = "UPDATE link_count SET parts = parts WHERE eui = $1", .params = "l"};
static const struct sql_stmt LOCK_OTHERS = {
	.name = "test_lock_others", .text = "UPDATE link_count SET parts = parts WHERE eui > $1", .params = "l"};

static void test_rows_are_taken_in_order(void **state)
{
	struct links *l = *state;
	struct rig_rows other;
	int64_t now = now_s(l);
	for (int round = 0; round < 2; round++) {
		for (uint64_t i = 0; i < 200; i++)
			heard(l, EUI + i, now, 1, 868100000);
		if (round == 1)
			rig_rows_begin(&other, l->r, &LOCK_ONE, &LOCK_OTHERS, EUI);
		settle(l);
	}
	rig_rows_end(&other);
	assert_int_equal(ask(l, NS_LINK_DEVICE, NS_SPAN_HOUR, now, now)->total, 2);
}

#define BOTH(fn)                                                                                                       \
	{#fn " [sqlite]", fn, setup_lite, teardown, NULL},                                                             \
	{                                                                                                              \
#fn " [postgres]", fn, setup_pg, teardown, NULL                                                        \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(test_memory_and_table),
		BOTH(test_read_amid_writing),
		BOTH(test_two_replicas_and_a_restart),
		BOTH(test_growing_old),
		BOTH(test_two_that_age),
		BOTH(test_gateway),
		BOTH(test_questions),
		BOTH(test_deleted_device),
		BOTH(test_forgotten),
		cmocka_unit_test_setup_teardown(test_old_rows_are_not_sorted, setup_lite, teardown),
		cmocka_unit_test_setup_teardown(test_rows_are_taken_in_order, setup_pg, teardown),
	};
	return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
