/* Replicas that know each other through a real Redis: leases, messages, who is gone, who looks after it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/xmalloc.h"
#include "common/io/peers.h"
#include "common/io/redis.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"
#include "tests/fixtures/servers.h"

#define LEASE_MS 500

struct one {
	struct peers *p;
	int changes, resyncs, heard;
	char kind[32], body[32];
};

struct ctx {
	struct fix_server server;
	struct rt_loop *loop;
	struct rt_log *log;
	struct one v[3];
};

static void on_change(void *arg)
{
	((struct one *)arg)->changes++;
}

static void on_resync(void *arg)
{
	((struct one *)arg)->resyncs++;
}

static void on_message(void *arg, const char *kind, struct lw_span body)
{
	struct one *o = arg;
	o->heard++;
	snprintf(o->kind, sizeof(o->kind), "%s", kind);
	snprintf(o->body, sizeof(o->body), "%.*s", (int)body.n, (const char *)body.p);
}

static void begin_for(struct ctx *c, size_t i, const char *id, uint32_t lease_ms)
{
	struct lw_diag diag = {""};
	struct peers_opts o = {.loop = c->loop,
			       .log = c->log,
			       .redis_url = c->server.url,
			       .group = "t",
			       .id = id,
			       .lease_ms = lease_ms,
			       .on_change = on_change,
			       .on_resync = on_resync,
			       .on_message = on_message,
			       .arg = &c->v[i]};
	c->v[i] = (struct one){0};
	c->v[i].p = peers_new(&o, &diag);
	if (!c->v[i].p)
		fail_msg("%s", diag.text);
}

static void begin(struct ctx *c, size_t i, const char *id)
{
	begin_for(c, i, id, LEASE_MS);
}

static void end(struct ctx *c, size_t i)
{
	peers_free(c->v[i].p);
	c->v[i].p = NULL;
}

static int setup(void **state)
{
	struct ctx *c = lw_xcalloc(1, sizeof(*c));
	fix_redis_start(&c->server);
	c->loop = rt_loop_new();
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct ctx *c = *state;
	bool never = false;
	for (size_t i = 0; i < 3; i++)
		end(c, i);
	rt_loop_run_until(c->loop, &never, 20);
	rt_loop_free(c->loop);
	fix_stop(&c->server);
	free(c);
	return 0;
}

#define WAIT(cond)                                                                                                     \
	do {                                                                                                           \
		bool never_ = false;                                                                                   \
		for (int t_ = 0; t_ < 4000 && !(cond); t_++)                                                           \
			rt_loop_run_until(c->loop, &never_, 5);                                                        \
		assert_true(cond);                                                                                     \
	} while (0)

/* So many turns, or until something is heard. */
static void turns(struct ctx *c, int n, const int *heard)
{
	bool never = false;
	for (int i = 0; i < n && !*heard; i++)
		rt_loop_run_until(c->loop, &never, 5);
}

static size_t others(const struct peers *p)
{
	const char *const *names;
	return peers_list(p, &names);
}

static void test_two(void **state)
{
	struct ctx *c = *state;
	const char *const *names;
	begin(c, 0, "b");
	WAIT(peers_is_first(c->v[0].p));
	assert_false(peers_any(c->v[0].p));
	peers_tell(c->v[0].p, "nobody", lw_span_str("hears this"));
	begin(c, 1, "a");
	WAIT(others(c->v[0].p) == 1 && others(c->v[1].p) == 1);
	peers_list(c->v[0].p, &names);
	assert_string_equal(names[0], "a");
	assert_true(peers_is_first(c->v[1].p));
	assert_false(peers_is_first(c->v[0].p));
	/* What was said before the other one listened may be missed: both are told so, now and once more. */
	WAIT(c->v[0].resyncs >= 2 && c->v[1].resyncs >= 2);
	/* What is said while Redis does not answer for a moment is not said again; a resync stands in for it. */
	for (int i = 0; i < 40 && !c->v[1].heard; i++) {
		peers_tell(c->v[0].p, "kind", lw_span_str("body"));
		turns(c, 100, &c->v[1].heard);
	}
	assert_true(c->v[1].heard > 0);
	assert_string_equal(c->v[1].kind, "kind");
	assert_string_equal(c->v[1].body, "body");
	assert_int_equal(c->v[0].heard, 0); /* not its own */
}

/* Who has just come hears what is announced before anybody has seen it. */
static void test_announced(void **state)
{
	struct ctx *c = *state;
	begin_for(c, 0, "b", 3600000);
	WAIT(peers_is_first(c->v[0].p));
	begin(c, 1, "a");
	WAIT(c->v[1].resyncs >= 2); /* it came, and it listens */
	assert_int_equal(others(c->v[0].p), 0);
	peers_tell(c->v[0].p, "told", lw_span_str("x"));
	peers_announce(c->v[0].p, "announced", lw_span_str("y"));
	WAIT(c->v[1].heard > 0);
	assert_string_equal(c->v[1].kind, "announced");
	assert_int_equal(others(c->v[0].p), 0);
}

static void test_gone(void **state)
{
	struct ctx *c = *state;
	const char *const *names;
	begin(c, 0, "b");
	begin(c, 1, "a");
	WAIT(others(c->v[0].p) == 1);
	assert_false(peers_is_gone(c->v[0].p, "a"));
	end(c, 1); /* killed: the lease runs out */
	WAIT(peers_gone(c->v[0].p, &names) == 1);
	WAIT(peers_is_gone(c->v[0].p, "a"));
	assert_true(peers_is_first(c->v[0].p));
	assert_int_equal(others(c->v[0].p), 0);
	for (int i = 0; i < 40 && peers_gone(c->v[0].p, &names) > 0; i++) {
		peers_bury(c->v[0].p, "a");
		turns(c, 100, &(int){0});
	}
	assert_int_equal(peers_gone(c->v[0].p, &names), 0);
	WAIT(peers_is_gone(c->v[0].p, "a"));
	/* And back. One that leaves need not be waited for, unless Redis does not hear its leave. */
	bool at_once = false;
	for (int i = 0; i < 5 && !at_once; i++) {
		end(c, 1);
		begin(c, 1, "a");
		WAIT(others(c->v[0].p) == 1);
		assert_false(peers_is_gone(c->v[0].p, "a"));
		peers_leave(c->v[1].p);
		WAIT(others(c->v[0].p) == 0);
		at_once = peers_is_gone(c->v[0].p, "a");
	}
	assert_true(at_once);
	assert_int_equal(peers_gone(c->v[0].p, &names), 1);
}

static const char LEASES[] = "longwave:t:{replicas}";

/* Redis' clock is set: by an hour forward every lease is over at once. Who lives says so with the next renewal. */
static void test_clock_forward(void **state)
{
	struct ctx *c = *state;
	begin(c, 0, "b");
	begin(c, 1, "a");
	WAIT(others(c->v[0].p) == 1 && others(c->v[1].p) == 1);
	for (int i = 0; i < 30; i++)
		rt_loop_turn(c->loop);
	WAIT(peers_is_gone(c->v[0].p, "never seen")); /* it may judge */
	int before = c->v[0].changes;
	bool missed = false;
	for (int i = 0; i < 40 && !missed; i++) {
		redis_cmd(peers_redis(c->v[0].p), NULL, NULL, "ZADD %s 5 a", LEASES);
		for (int k = 0; k < 8 && !missed; k++) {
			bool never = false;
			rt_loop_run_until(c->loop, &never, 5);
			missed = c->v[0].changes > before;
			assert_false(peers_is_gone(c->v[0].p, "a"));
		}
	}
	assert_true(missed);
	WAIT(others(c->v[0].p) == 1);
	assert_false(peers_is_gone(c->v[0].p, "a"));
}

/* By an hour back: a lease of before would last for an hour. */
static void test_clock_back(void **state)
{
	struct ctx *c = *state;
	begin(c, 0, "b");
	begin(c, 1, "a");
	WAIT(others(c->v[0].p) == 1);
	end(c, 1);
	redis_cmd(peers_redis(c->v[0].p), NULL, NULL, "ZADD %s 99999999999999 a", LEASES);
	WAIT(peers_is_gone(c->v[0].p, "a"));
}

static void test_redis_away(void **state)
{
	struct ctx *c = *state;
	begin(c, 0, "b");
	begin(c, 1, "a");
	WAIT(others(c->v[0].p) == 1 && others(c->v[1].p) == 1);
	int before = c->v[0].resyncs;
	fix_kill9(&c->server);
	/* Nobody is declared gone for it, and what is in memory is not trusted for long. */
	WAIT(c->v[0].resyncs > before && !peers_is_gone(c->v[0].p, "never seen"));
	assert_false(peers_is_gone(c->v[0].p, "a"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {T(test_two),           T(test_announced),  T(test_gone),
					   T(test_clock_forward), T(test_clock_back), T(test_redis_away)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
