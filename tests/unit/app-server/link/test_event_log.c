/* The event log against a real Redis: written together, in order, and what the stream of a device holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "app-server/link/event_log.h"
#include "common/base/xmalloc.h"
#include "common/runtime/loop.h"
#include "proto/integration/integration.pb-c.h"
#include "tests/fixtures/servers.h"

#define TTL_MS 60000

struct world {
	struct fix_server server;
	struct rt_loop *loop;
	struct redis *redis;
	struct redis_streams *streams;
	struct as_event_log *log;
	bool up;
};

struct reader {
	size_t n;
	char name[32][16];
	uint32_t f_cnt[32];
	bool caught_up;
	struct redis_sub *sub;
};

static void on_state(void *arg, bool up, const char *detail)
{
	(void)detail;
	((struct world *)arg)->up = up;
}

static int setup(void **state)
{
	struct world *w = lw_xcalloc(1, sizeof(*w));
	fix_redis_start(&w->server);
	w->loop = rt_loop_new();
	struct redis_options o = {.url = w->server.url, .timeout_ms = 60000, .on_state = on_state, .arg = w};
	assert_int_equal(redis_open(&w->redis, w->loop, &o, NULL), 0);
	w->streams = redis_streams_new(w->redis);
	w->log = as_event_log_new(w->redis, 10, TTL_MS);
	*state = w;
	return rt_loop_run_until(w->loop, &w->up, 20000) ? 0 : -1;
}

static int teardown(void **state)
{
	struct world *w = *state;
	as_event_log_free(w->log);
	redis_streams_free(w->streams);
	redis_free(w->redis);
	for (int i = 0; i < 20; i++)
		rt_loop_turn(w->loop);
	rt_loop_free(w->loop);
	fix_stop(&w->server);
	free(w);
	return 0;
}

static void put(struct world *w, uint64_t dev, const char *name, uint32_t f_cnt, bool keep_alive)
{
	Integration__UplinkEvent up = INTEGRATION__UPLINK_EVENT__INIT;
	up.f_cnt = f_cnt;
	struct as_event e = {name, &up.base};
	as_event_log_put(w->log, lw_dev_eui_from_u64(dev), &e, keep_alive);
}

static void on_entry(void *arg, const struct redis_entry *entry)
{
	struct reader *r = arg;
	assert_true(r->n < 32 && entry->n == 1);
	struct lw_span name = entry->fields[0].name, value = entry->fields[0].value;
	Integration__UplinkEvent *up = integration__uplink_event__unpack(NULL, value.n, value.p);
	assert_non_null(up);
	assert_true(name.n < sizeof(r->name[0]));
	memcpy(r->name[r->n], name.p, name.n);
	r->f_cnt[r->n++] = up->f_cnt;
	integration__uplink_event__free_unpacked(up, NULL);
}

static void on_caught_up(void *arg)
{
	((struct reader *)arg)->caught_up = true;
}

static void follow(struct world *w, struct reader *r, uint64_t dev)
{
	char key[AS_EVENT_LOG_KEY];
	memset(r, 0, sizeof(*r));
	as_event_log_key(lw_dev_eui_from_u64(dev), key);
	r->sub = redis_streams_follow(w->streams, key, 10, on_entry, on_caught_up, r);
}

static void wait_count(struct world *w, const struct reader *r, size_t want)
{
	bool never = false;
	for (int i = 0; i < 20000 && r->n < want; i++)
		rt_loop_run_until(w->loop, &never, 1);
	assert_int_equal(r->n, want);
}

static void test_flushed_is_history_then_live(void **state)
{
	struct world *w = *state;
	struct reader a, b;
	put(w, 1, "up", 1, true);
	put(w, 2, "up", 5, false);
	put(w, 1, "ack", 2, false);
	as_event_log_flush(w->log);
	follow(w, &a, 1);
	follow(w, &b, 2);
	assert_true(rt_loop_run_until(w->loop, &a.caught_up, 20000));
	assert_true(rt_loop_run_until(w->loop, &b.caught_up, 20000));
	assert_int_equal(a.n, 2);
	assert_string_equal(a.name[0], "up");
	assert_string_equal(a.name[1], "ack");
	assert_int_equal(a.f_cnt[1], 2);
	assert_int_equal(b.n, 1);
	put(w, 2, "up", 6, false); /* nobody flushes: the timer does */
	wait_count(w, &b, 2);
	assert_int_equal(b.f_cnt[1], 6);
	assert_int_equal(a.n, 2);
}

static void on_pttl(void *arg, int err, const struct redis_reply *reply)
{
	assert_int_equal(err, 0);
	*(long long *)arg = redis_reply_i64(reply);
}

static long long pttl(struct world *w, uint64_t dev)
{
	char key[AS_EVENT_LOG_KEY];
	long long ms = -100;
	bool never = false;
	as_event_log_key(lw_dev_eui_from_u64(dev), key);
	redis_cmd(w->redis, on_pttl, &ms, "PTTL %s", key);
	for (int i = 0; i < 20000 && ms == -100; i++)
		rt_loop_run_until(w->loop, &never, 1);
	return ms;
}

static void test_streams_are_forgotten(void **state)
{
	struct world *w = *state;
	put(w, 1, "up", 1, true);
	put(w, 2, "up", 1, false);
	as_event_log_flush(w->log);
	long long ms = pttl(w, 1);
	assert_true(ms > 0 && ms <= TTL_MS);
	assert_int_equal(pttl(w, 2), -1);
}

/* More than waits: nothing is missing, nothing out of order. */
static void test_many(void **state)
{
	struct world *w = *state;
	struct reader r;
	follow(w, &r, 3);
	assert_true(rt_loop_run_until(w->loop, &r.caught_up, 20000));
	for (uint32_t i = 0; i < 30000; i++)
		put(w, i % 1000 == 0 ? 3 : 4, "up", i, false);
	wait_count(w, &r, 30);
	for (uint32_t i = 0; i < 30; i++)
		assert_int_equal(r.f_cnt[i], 1000 * i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_flushed_is_history_then_live, setup, teardown),
		cmocka_unit_test_setup_teardown(test_streams_are_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
