/* The frame log against a real Redis: history, live, a wiped and an absent server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/xmalloc.h"
#include "common/runtime/loop.h"
#include "network-server/link/frame_log.h"
#include "tests/fixtures/servers.h"

#define DEV "0102030405060708"
#define GW_A "aaaaaaaaaaaaaaaa"
#define GW_B "bbbbbbbbbbbbbbbb"

struct world {
	struct fix_server server;
	struct rt_loop *loop;
	struct redis *redis;
	struct ns_frame_log *log;
	bool up;
};

struct reader {
	size_t n;
	uint32_t f_cnt[64];
	char id[64][32];
	bool caught_up;
	size_t at_caught_up;
	struct ns_frame_follow *f;
	size_t stop_after;
};

static void on_state(void *arg, bool up, const char *detail)
{
	(void)detail;
	((struct world *)arg)->up = up;
}

static void open_log(struct world *w, size_t per_device, size_t per_gateway)
{
	struct redis_options o = {.url = w->server.url, .on_state = on_state, .arg = w};
	assert_int_equal(redis_open(&w->redis, w->loop, &o, NULL), 0);
	w->log = ns_frame_log_new(w->redis, per_device, per_gateway);
}

static int setup(void **state)
{
	struct world *w = lw_xcalloc(1, sizeof(*w));
	fix_redis_start(&w->server);
	w->loop = rt_loop_new();
	open_log(w, 20, 20);
	*state = w;
	return rt_loop_run_until(w->loop, &w->up, 20000) ? 0 : -1;
}

static int teardown(void **state)
{
	struct world *w = *state;
	ns_frame_log_free(w->log);
	redis_free(w->redis);
	for (int i = 0; i < 20; i++)
		rt_loop_turn(w->loop);
	rt_loop_free(w->loop);
	fix_stop(&w->server);
	free(w);
	return 0;
}

static void put(struct world *w, const char *dev, uint32_t f_cnt)
{
	Longwave__Ns__V1__Frame f = LONGWAVE__NS__V1__FRAME__INIT;
	Gw__UplinkRxInfo rx[2] = {GW__UPLINK_RX_INFO__INIT, GW__UPLINK_RX_INFO__INIT}, *v[2] = {&rx[0], &rx[1]};
	char a[] = GW_A, b[] = GW_B;
	rx[0].gateway_id = a;
	rx[1].gateway_id = b;
	f.dev_eui = (char *)(uintptr_t)dev;
	f.f_cnt = f_cnt;
	f.rx_info = v;
	f.n_rx_info = 2;
	ns_frame_log_put(w->log, &f);
}

static void on_frame(void *arg, Longwave__Ns__V1__Frame *f)
{
	struct reader *r = arg;
	assert_true(r->n < 64);
	snprintf(r->id[r->n], sizeof(r->id[r->n]), "%s", f->id);
	r->f_cnt[r->n++] = f->f_cnt;
	if (r->stop_after && r->n == r->stop_after) {
		ns_frame_log_unfollow(r->f);
		r->f = NULL;
	}
}

static void on_caught_up(void *arg)
{
	struct reader *r = arg;
	r->caught_up = true;
	r->at_caught_up = r->n;
}

static void follow(struct world *w, struct reader *r, const char *dev, const char *gw, size_t history)
{
	memset(r, 0, sizeof(*r));
	r->f = ns_frame_log_follow(w->log, dev, gw, history, on_frame, on_caught_up, r);
	assert_non_null(r->f);
}

static void wait_count(struct world *w, const struct reader *r, size_t want)
{
	bool never = false;
	for (int i = 0; i < 20000 && r->n < want; i++)
		rt_loop_run_until(w->loop, &never, 1);
	assert_int_equal(r->n, want);
}

static void test_history_then_live(void **state)
{
	struct world *w = *state;
	struct reader dev, gw, other;
	for (uint32_t i = 0; i < 8; i++)
		put(w, DEV, i);
	follow(w, &dev, DEV, NULL, 5);
	assert_true(rt_loop_run_until(w->loop, &dev.caught_up, 20000));
	assert_int_equal(dev.at_caught_up, 5);
	follow(w, &gw, NULL, GW_B, 2);
	follow(w, &other, "0000000000000009", NULL, 5);
	assert_true(rt_loop_run_until(w->loop, &gw.caught_up, 20000));
	assert_true(rt_loop_run_until(w->loop, &other.caught_up, 20000));
	put(w, DEV, 8);
	put(w, "", 9); /* nobody's: only its gateways see it */
	wait_count(w, &gw, 4);
	wait_count(w, &dev, 6);
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(dev.f_cnt[i], 3 + i);
	assert_int_equal(gw.f_cnt[3], 9);
	assert_int_equal(other.n, 0);
	assert_true(dev.id[0][0] != 0 && strcmp(dev.id[0], dev.id[1]) != 0);
	ns_frame_log_unfollow(dev.f);
	ns_frame_log_unfollow(gw.f);
	ns_frame_log_unfollow(other.f);
	ns_frame_log_unfollow(NULL);
}

static void test_unfollow_inside(void **state)
{
	struct world *w = *state;
	struct reader r;
	for (uint32_t i = 0; i < 8; i++)
		put(w, DEV, i);
	follow(w, &r, DEV, NULL, 8);
	r.stop_after = 3;
	wait_count(w, &r, 3);
	put(w, DEV, 8);
	struct reader after;
	follow(w, &after, DEV, NULL, 9);
	wait_count(w, &after, 9);
	assert_int_equal(r.n, 3);
	ns_frame_log_unfollow(after.f);
}

static void on_flushed(void *arg, int err, const struct redis_reply *reply)
{
	(void)reply;
	assert_int_equal(err, 0);
	*(bool *)arg = true;
}

static void test_flushall(void **state)
{
	struct world *w = *state;
	struct reader r;
	bool flushed = false;
	put(w, DEV, 1);
	follow(w, &r, DEV, NULL, 5);
	wait_count(w, &r, 1);
	redis_cmd(w->redis, on_flushed, &flushed, "FLUSHALL");
	assert_true(rt_loop_run_until(w->loop, &flushed, 20000));
	put(w, DEV, 2);
	wait_count(w, &r, 2);
	assert_int_equal(r.f_cnt[1], 2);
	ns_frame_log_unfollow(r.f);
}

static void test_redis_away(void **state)
{
	struct world *w = *state;
	struct reader r;
	bool never = false;
	assert_true(ns_frame_log_is_up(w->log));
	follow(w, &r, DEV, NULL, 5);
	assert_true(rt_loop_run_until(w->loop, &r.caught_up, 20000));
	fix_kill9(&w->server);
	for (int i = 0; i < 5000 && w->up; i++)
		rt_loop_run_until(w->loop, &never, 1);
	assert_false(ns_frame_log_is_up(w->log));
	put(w, DEV, 1); /* lost, without harm */
	fix_redis_run(&w->server);
	assert_true(rt_loop_run_until(w->loop, &w->up, 20000));
	put(w, DEV, 2);
	wait_count(w, &r, 1); /* who follows goes on by itself */
	assert_int_equal(r.f_cnt[0], 2);
	ns_frame_log_unfollow(r.f);
}

static void test_without_log(void **state)
{
	(void)state;
	struct world w = {0};
	struct ns_frame_log *l = ns_frame_log_new(NULL, 10, 10);
	w.log = l;
	put(&w, DEV, 1);
	assert_null(ns_frame_log_follow(l, DEV, NULL, 5, on_frame, on_caught_up, NULL));
	ns_frame_log_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_history_then_live, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unfollow_inside, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flushall, setup, teardown),
		cmocka_unit_test_setup_teardown(test_redis_away, setup, teardown),
		cmocka_unit_test(test_without_log),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
