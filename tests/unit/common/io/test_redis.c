/* The Redis adapter against a real server on a free port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/io/redis.h"
#include "common/runtime/loop.h"
#include "tests/fixtures/servers.h"

#define WAIT_MS 60000

struct ctx {
	struct fix_server server;
	struct rt_loop *loop;
	struct redis *r;
	bool up;
	int changes;
};

static void on_state(void *arg, bool up, const char *detail)
{
	struct ctx *c = arg;
	assert_non_null(detail);
	c->up = up;
	c->changes++;
}

static void open_redis(struct ctx *c, const struct redis_options *base)
{
	struct redis_options opt = *base;
	struct lw_diag diag = {""};
	if (!opt.url)
		opt.url = c->server.url;
	opt.on_state = on_state;
	opt.arg = c;
	if (redis_open(&c->r, c->loop, &opt, &diag) != 0)
		fail_msg("%s", diag.text);
}

static void run_until_up(struct ctx *c, bool up)
{
	bool never = false;
	int64_t end = lw_mono_ns() + WAIT_MS * LW_NS_PER_MS;
	while ((c->up != up || redis_is_up(c->r) != up) && lw_mono_ns() < end)
		rt_loop_run_until(c->loop, &never, 5);
	assert_true(c->up == up);
}

static int setup(void **state)
{
	struct ctx *c = lw_xcalloc(1, sizeof(*c));
	fix_redis_start(&c->server);
	c->loop = rt_loop_new();
	open_redis(c, &(struct redis_options){0});
	run_until_up(c, true);
	*state = c;
	return 0;
}

static int teardown(void **state)
{
	struct ctx *c = *state;
	redis_free(c->r);
	rt_loop_turn(c->loop);
	rt_loop_free(c->loop);
	fix_stop(&c->server);
	free(c);
	return 0;
}

struct answer {
	bool done;
	int err;
	enum redis_type type;
	int64_t i64;
	size_t len;
	char text[128];
	int *order; /* counter of answers */
	int nth;
};

static void on_answer(void *arg, int err, const struct redis_reply *reply)
{
	struct answer *a = arg;
	assert_false(a->done);
	a->done = true;
	a->err = err;
	a->type = redis_reply_type(reply);
	a->i64 = redis_reply_i64(reply);
	a->len = redis_reply_len(reply);
	snprintf(a->text, sizeof(a->text), "%s", redis_reply_text(reply));
	if (a->order)
		a->nth = (*a->order)++;
}

static void await(struct ctx *c, struct answer *a)
{
	assert_false(a->done);
	assert_true(rt_loop_run_until(c->loop, &a->done, WAIT_MS));
}

static void test_commands(void **state)
{
	struct ctx *c = *state;
	struct answer a[6] = {0};
	int order = 0;
	for (int i = 0; i < 6; i++)
		a[i].order = &order;
	const char raw[] = {'a', 0, 'b', ' ', 'c'};
	redis_cmd(c->r, on_answer, &a[0], "SET %s %b", "key with space", raw, sizeof(raw));
	redis_cmd(c->r, on_answer, &a[1], "STRLEN %s", "key with space");
	const struct lw_span argv[] = {lw_span_str("GET"), lw_span_str("nothing")};
	redis_argv(c->r, on_answer, &a[2], 2, argv);
	redis_cmd(c->r, on_answer, &a[3], "INCR %s", "key with space");
	redis_cmd(c->r, on_answer, &a[4], "RPUSH l %lld %u", 1LL << 40, 7U);
	redis_cmd(c->r, on_answer, &a[5], "LRANGE l 0 -1");
	redis_cmd(c->r, NULL, NULL, "PING");
	await(c, &a[5]);
	for (int i = 0; i < 6; i++)
		assert_int_equal(a[i].nth, i);
	assert_int_equal(a[0].type, REDIS_STATUS);
	assert_string_equal(a[0].text, "OK");
	assert_int_equal(a[1].i64, 5);
	assert_int_equal(a[2].err, 0);
	assert_int_equal(a[2].type, REDIS_NIL);
	assert_int_equal(a[3].err, LW_EPROTO);
	assert_int_equal(a[3].type, REDIS_ERROR);
	assert_non_null(strstr(a[3].text, "not an integer"));
	assert_int_equal(a[4].i64, 2);
	assert_int_equal(a[5].len, 2);
	struct redis_stats st;
	redis_get_stats(c->r, &st);
	assert_int_equal(st.commands, 7);
	assert_int_equal(st.errors, 1);
	/* All went together; what follows their answers is another exchange. */
	uint64_t before = st.round_trips;
	assert_in_range(before, 1, 3); /* with what the connection itself began with */
	for (int i = 0; i < 100; i++)
		redis_cmd(c->r, NULL, NULL, "PING");
	a[0] = (struct answer){0};
	redis_cmd(c->r, on_answer, &a[0], "PING");
	await(c, &a[0]);
	a[1] = (struct answer){0};
	redis_cmd(c->r, on_answer, &a[1], "PING");
	await(c, &a[1]);
	redis_get_stats(c->r, &st);
	assert_int_equal(st.round_trips, before + 2);
}

static void test_script(void **state)
{
	static const struct redis_script script = {
		.name = "add",
		.text = "return redis.call('INCRBY', KEYS[1], ARGV[1])",
	};
	struct ctx *c = *state;
	const struct lw_span key = lw_span_str("n");
	const struct lw_span arg = lw_span_str("5");
	for (int i = 1; i <= 6; i++) {
		struct answer a = {0};
		struct answer flush = {0};
		redis_eval(c->r, on_answer, &a, &script, 1, &key, 1, &arg);
		await(c, &a);
		assert_int_equal(a.err, 0);
		assert_int_equal(a.i64, 5 * i);
		/* The server forgets its scripts: nobody notices. */
		if (i == 3) {
			redis_cmd(c->r, on_answer, &flush, "SCRIPT FLUSH");
			await(c, &flush);
		}
	}
	/* EVALSHA was used, and not only EVAL. */
	struct answer info = {0};
	redis_cmd(c->r, on_answer, &info, "EVAL %s 0",
		  "local s = redis.call('INFO', 'commandstats') return string.match(s, 'cmdstat_evalsha:calls=(%d+)')");
	await(c, &info);
	assert_in_range(info.i64, 3, 6);
}

static void test_timeout(void **state)
{
	struct ctx *c = *state;
	redis_free(c->r);
	c->up = false;
	open_redis(c, &(struct redis_options){.timeout_ms = 200});
	run_until_up(c, true);
	struct answer late = {0};
	struct answer after = {0};
	fix_freeze(c->server.pid);
	redis_cmd(c->r, on_answer, &late, "PING");
	redis_cmd(c->r, on_answer, &after, "PING");
	await(c, &late);
	assert_int_equal(late.err, LW_ETIMEDOUT);
	if (!after.done)
		await(c, &after);
	assert_true(after.err == LW_ETIMEDOUT || after.err == LW_EUNAVAILABLE);
	run_until_up(c, false);
	fix_thaw(c->server.pid);
	/* A busy machine may need longer than those 200 ms again. */
	struct answer again;
	for (int i = 0; i < 50; i++) {
		again = (struct answer){0};
		run_until_up(c, true);
		redis_cmd(c->r, on_answer, &again, "PING");
		await(c, &again);
		if (!again.err)
			break;
	}
	assert_int_equal(again.err, 0);
}

/* On a connection of its own: whatever came to the server before is done when this returns. */
static void push_aside(const struct ctx *c, const char *key)
{
	char text[128];
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)c->server.port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	int n = snprintf(text, sizeof(text), "LPUSH %s x\r\nPING\r\n", key);
	assert_int_equal(write(fd, text, (size_t)n), n);
	for (n = 0; n < 2;) { /* two lines */
		char ch;
		assert_int_equal(read(fd, &ch, 1), 1);
		n += ch == '\n';
	}
	close(fd);
}

/* What was answered while we stood still is an answer. */
static void test_standing_still(void **state)
{
	enum { TIMEOUT_MS = 1000 };
	struct ctx *c = *state;
	struct answer a = {0};
	redis_free(c->r);
	for (int i = 0; i < 10; i++) {
		c->up = false;
		open_redis(c, &(struct redis_options){.timeout_ms = TIMEOUT_MS});
		run_until_up(c, true);
		a = (struct answer){0};
		redis_cmd(c->r, on_answer, &a, "BLPOP wake 0");
		int64_t end = lw_mono_ns() + (TIMEOUT_MS + 200) * LW_NS_PER_MS;
		for (int k = 0; k < 10; k++)
			rt_loop_turn(c->loop);
		push_aside(c, "wake");
		bool in_time = !a.done && lw_mono_ns() < end - 400 * LW_NS_PER_MS;
		while (lw_mono_ns() < end)
			fix_nap();
		if (!a.done)
			await(c, &a);
		if (in_time || i == 9)
			break;
		redis_free(c->r);
	}
	assert_int_equal(a.err, 0);
	assert_int_equal(a.len, 2);
}

static void test_kill_and_reconnect(void **state)
{
	struct ctx *c = *state;
	struct answer blocked = {0};
	redis_cmd(c->r, on_answer, &blocked, "BLPOP nothing 0");
	struct answer ping = {0};
	fix_kill9(&c->server);
	await(c, &blocked);
	assert_int_equal(blocked.err, LW_EUNAVAILABLE);
	run_until_up(c, false);
	redis_cmd(c->r, on_answer, &ping, "PING");
	assert_false(ping.done);
	await(c, &ping);
	assert_int_equal(ping.err, LW_EUNAVAILABLE);
	fix_redis_run(&c->server);
	run_until_up(c, true);
	struct answer again = {0};
	redis_cmd(c->r, on_answer, &again, "PING");
	await(c, &again);
	assert_int_equal(again.err, 0);
}

static void test_limit_and_free(void **state)
{
	struct ctx *c = *state;
	redis_free(c->r);
	c->up = false;
	open_redis(c, &(struct redis_options){.max_pending = 5});
	run_until_up(c, true);
	struct answer a[8] = {0};
	for (int i = 0; i < 8; i++)
		redis_cmd(c->r, on_answer, &a[i], "PING");
	await(c, &a[7]);
	for (int i = 0; i < 8; i++) {
		if (!a[i].done)
			await(c, &a[i]);
		assert_int_equal(a[i].err, i < 5 ? 0 : LW_EFULL);
	}
	struct answer b[3] = {0};
	for (int i = 0; i < 3; i++)
		redis_cmd(c->r, on_answer, &b[i], "BLPOP nothing 0");
	redis_free(c->r);
	for (int i = 0; i < 3; i++) {
		assert_true(b[i].done);
		assert_int_equal(b[i].err, LW_ECANCELLED);
	}
	open_redis(c, &(struct redis_options){0});
}

static void test_password_and_db(void **state)
{
	struct ctx *c = *state;
	struct answer a = {0};
	redis_cmd(c->r, on_answer, &a, "CONFIG SET requirepass %s", "p@ss:w/rd");
	await(c, &a);
	redis_free(c->r);
	char url[128];
	c->up = false;
	snprintf(url, sizeof(url), "redis://localhost:%d", c->server.port);
	open_redis(c, &(struct redis_options){.url = url});
	run_until_up(c, false);
	struct answer no = {0};
	redis_cmd(c->r, on_answer, &no, "PING");
	await(c, &no);
	assert_int_equal(no.err, LW_EUNAVAILABLE);
	redis_free(c->r);
	snprintf(url, sizeof(url), "redis://:p%%40ss%%3aw%%2frd@127.0.0.1:%d/3", c->server.port);
	c->up = false;
	open_redis(c, &(struct redis_options){.url = url});
	run_until_up(c, true);
	struct answer info = {0};
	redis_cmd(c->r, on_answer, &info, "CLIENT INFO");
	await(c, &info);
	assert_non_null(strstr(info.text, "id="));
	struct answer db = {0};
	redis_cmd(c->r, on_answer, &db, "EVAL %s 0", "redis.call('SET', 'k', '1') return redis.call('DBSIZE')");
	await(c, &db);
	assert_int_equal(db.i64, 1);
	struct answer sel = {0};
	struct answer size = {0};
	redis_cmd(c->r, on_answer, &sel, "SELECT 0");
	redis_cmd(c->r, on_answer, &size, "DBSIZE");
	await(c, &size);
	assert_int_equal(size.i64, 0);
}

static void test_urls(void **state)
{
	struct ctx *c = *state;
	static const char *const bad[] = {"",
					  "http://x",
					  "redis://",
					  "redis://:6379",
					  "redis://h:0",
					  "redis://h:99999",
					  "redis://h/x",
					  "redis://user@h",
					  "redis://h?x=1",
					  "unix://",
					  "unix:///x?y=1",
					  "redis://[::1",
					  NULL};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct redis *r;
		struct lw_diag diag = {""};
		assert_int_equal(redis_open(&r, c->loop, &(struct redis_options){.url = bad[i]}, &diag), LW_EINVAL);
		assert_null(r);
		assert_true(strlen(diag.text) > 10);
	}
}

/* ---- streams
 * ---------------------------------------------------------------------------------------------------------- */

struct follower {
	bool enough; /* n == want */
	size_t n;
	size_t want;
	int64_t next; /* number that the next entry must have */
	bool caught_up;
	size_t n_at_caught_up;
	struct redis_sub *sub;
	bool free_at_once;
};

static void on_entry(void *arg, const struct redis_entry *e)
{
	struct follower *f = arg;
	assert_int_equal(e->n, 2);
	assert_true(lw_span_eq_str(e->fields[0].name, "n"));
	assert_true(lw_span_eq_str(e->fields[1].name, "body"));
	assert_int_equal(e->fields[1].value.n, 3);
	assert_non_null(strchr(e->id, '-'));
	int64_t v = strtoll((const char *)e->fields[0].value.p, NULL, 10);
	if (f->next)
		assert_int_equal(v, f->next);
	f->next = v + 1;
	f->enough = ++f->n == f->want;
	if (f->free_at_once)
		redis_sub_free(f->sub);
}

static void on_caught_up(void *arg)
{
	struct follower *f = arg;
	assert_false(f->caught_up);
	f->caught_up = true;
	f->n_at_caught_up = f->n;
}

static void add(struct ctx *c, const char *key, int from, int to)
{
	for (int i = from; i <= to; i++) {
		char text[16];
		snprintf(text, sizeof(text), "%d", i);
		const struct redis_field fields[] = {
			{lw_span_str("n"), lw_span_str(text)},
			{lw_span_str("body"), lw_span("x\0y", 3)},
		};
		redis_xadd(c->r, NULL, NULL, key, 1000, 2, fields);
	}
}

static void expect_entries(struct ctx *c, struct follower *f, size_t want)
{
	f->want = want;
	f->enough = f->n == want;
	if (!rt_loop_run_until(c->loop, &f->enough, WAIT_MS))
		fail_msg("%zu entries instead of %zu", f->n, want);
}

static void follow(struct redis_streams *s, struct follower *f, const char *key, size_t history)
{
	f->sub = redis_streams_follow(s, key, history, on_entry, on_caught_up, f);
}

static void test_streams(void **state)
{
	struct ctx *c = *state;
	struct redis_streams *s = redis_streams_new(c->r);
	struct follower a = {0};
	struct follower b = {0};
	struct follower d = {0};
	add(c, "a", 1, 20);
	follow(s, &a, "a", 5);
	expect_entries(c, &a, 5);
	assert_true(rt_loop_run_until(c->loop, &a.caught_up, WAIT_MS));
	assert_int_equal(a.n_at_caught_up, 5);
	assert_int_equal(a.next, 21);
	add(c, "a", 21, 30);
	expect_entries(c, &a, 15);
	/* A key more while the read blocks, for 15 s if nobody ends that; and without history. */
	follow(s, &b, "b", 0);
	assert_true(rt_loop_run_until(c->loop, &b.caught_up, 14000));
	b.want = 3;
	add(c, "b", 1, 3);
	assert_true(rt_loop_run_until(c->loop, &b.enough, 14000));
	/* A second one on a key, joining in the middle of the stream of entries: no gap, nothing twice. */
	add(c, "a", 31, 60);
	follow(s, &d, "a", 10);
	add(c, "a", 61, 200);
	expect_entries(c, &a, 185);
	assert_true(rt_loop_run_until(c->loop, &d.caught_up, WAIT_MS));
	expect_entries(c, &d, 150);
	/* Ends from inside its own callback; the other goes on. */
	d.free_at_once = true;
	add(c, "a", 201, 210);
	expect_entries(c, &a, 195);
	assert_int_equal(d.n, 151);
	/* Across a lost connection. */
	struct answer kill = {0};
	redis_cmd(c->r, on_answer, &kill, "CLIENT KILL TYPE normal SKIPME yes");
	add(c, "a", 211, 220);
	expect_entries(c, &a, 205);
	add(c, "b", 4, 5);
	expect_entries(c, &b, 5);
	redis_sub_free(a.sub);
	add(c, "a", 221, 221);
	add(c, "b", 6, 6);
	expect_entries(c, &b, 6);
	assert_int_equal(a.n, 205);
	redis_streams_free(s);
}

/* FLUSHALL and a restart lose entries, but following goes on. */
static void test_streams_survive(void **state)
{
	struct ctx *c = *state;
	struct redis_streams *s = redis_streams_new(c->r);
	struct follower a = {0};
	follow(s, &a, "a", 10);
	assert_true(rt_loop_run_until(c->loop, &a.caught_up, WAIT_MS));
	add(c, "a", 1, 2);
	expect_entries(c, &a, 2);
	/* Redis numbers anew in an empty stream: in the same millisecond it would repeat positions. */
	for (int64_t end = lw_mono_ns() + 3 * LW_NS_PER_MS; lw_mono_ns() < end;)
		rt_loop_turn(c->loop);
	redis_cmd(c->r, NULL, NULL, "FLUSHALL");
	add(c, "a", 3, 4);
	expect_entries(c, &a, 4);
	fix_kill9(&c->server);
	run_until_up(c, false);
	/* Asked for while the server is away. */
	struct follower b = {0};
	follow(s, &b, "b", 3);
	fix_redis_run(&c->server);
	run_until_up(c, true);
	add(c, "a", 5, 6);
	expect_entries(c, &a, 6);
	assert_true(rt_loop_run_until(c->loop, &b.caught_up, WAIT_MS));
	add(c, "b", 1, 1);
	expect_entries(c, &b, 1);
	redis_streams_free(s);
}

static void test_rate(void **state)
{
	struct ctx *c = *state;
	enum { N = 20000 };
	struct answer last = {0};
	redis_free(c->r);
	c->up = false;
	open_redis(c, &(struct redis_options){.timeout_ms = WAIT_MS});
	run_until_up(c, true);
	int64_t start = lw_mono_ns();
	add(c, "bulk", 1, N - 1);
	redis_cmd(c->r, on_answer, &last, "XLEN bulk");
	await(c, &last);
	double s = (double)(lw_mono_ns() - start) / 1e9;
	print_message("redis: %.0f XADD/s\n", N / s);
	assert_in_range(last.i64, 1000, 1200);
}

/* ---- bulks
 * ------------------------------------------------------------------------------------------------------------ */

static void reopen(struct ctx *c, uint32_t max_pending)
{
	redis_free(c->r);
	c->up = false;
	open_redis(c, &(struct redis_options){.timeout_ms = WAIT_MS, .max_pending = max_pending});
	run_until_up(c, true);
}

static void bulk_push(struct ctx *c, const char *key, int from, int to, size_t padding)
{
	char *pad = lw_xcalloc(1, padding + 1);
	memset(pad, 'x', padding);
	for (int i = from; i < to; i++) {
		char text[16];
		snprintf(text, sizeof(text), "%d", i);
		const struct lw_span v[] = {lw_span_str("RPUSH"), lw_span_str(key), lw_span_str(text),
					    lw_span(pad, padding)};
		redis_bulk_argv(c->r, padding ? 4 : 3, v);
	}
	free(pad);
}

static int64_t ask(struct ctx *c, const char *text)
{
	struct answer a = {0};
	redis_cmd(c->r, on_answer, &a, "EVAL %s 0", text);
	await(c, &a);
	if (a.err)
		fail_msg("%d %s", a.err, a.text);
	return a.i64;
}

/* How many numbers are in list "l", which must be 0, 1, 2 …, each followed by `padding` letters if not 0. */
static int64_t ask_list(struct ctx *c, size_t padding)
{
	char text[512];
	snprintf(text, sizeof(text),
		 "local v, step, n = redis.call('LRANGE', 'l', 0, -1), %d, 0 for i = 1, #v, step do "
		 "if v[i] ~= tostring(n) or (step == 2 and #v[i + 1] ~= %zu) then return -1 end n = n + 1 end return n",
		 padding ? 2 : 1, padding);
	return ask(c, text);
}

#define REPLY_CALLS                                                                                                    \
	"return tonumber(string.match(redis.call('INFO', 'commandstats'), 'cmdstat_client|reply:calls=(%d+)') or '0')"

static void test_bulk(void **state)
{
	struct ctx *c = *state;
	struct redis_stats before, st;
	reopen(c, 0);
	int64_t quiet = ask(c, REPLY_CALLS);
	redis_bulk_end(c->r); /* nothing */
	redis_get_stats(c->r, &before);
	bulk_push(c, "l", 0, 1000, 1000);
	redis_bulk_end(c->r);
	redis_get_stats(c->r, &st);
	assert_int_equal(st.pending, 1000);
	assert_int_equal(ask_list(c, 1000), 1000);
	redis_get_stats(c->r, &st);
	assert_int_equal(st.pending, 0);
	assert_int_equal(st.commands, before.commands + 1001);
	assert_int_equal(st.round_trips, before.round_trips + 1);
	assert_int_equal(ask(c, REPLY_CALLS), quiet + 2); /* off and on: there was one answer */
	/* Another command ends it, and sees what came before. */
	bulk_push(c, "l", 1000, 1010, 1000);
	assert_int_equal(ask_list(c, 1000), 1010);
	/* One that is wrong disturbs nobody. */
	bulk_push(c, "l", 1010, 1011, 1000);
	const struct lw_span wrong[] = {lw_span_str("INCR"), lw_span_str("l")};
	redis_bulk_argv(c->r, 2, wrong);
	bulk_push(c, "l", 1011, 1012, 1000);
	redis_bulk_end(c->r);
	assert_int_equal(ask_list(c, 1000), 1012);
	redis_get_stats(c->r, &st);
	assert_int_equal(st.connects, 1);
}

/* More than the socket takes waits behind it, in order. */
static void test_bulk_not_read(void **state)
{
	struct ctx *c = *state;
	reopen(c, 0);
	fix_freeze(c->server.pid);
	for (int i = 0; i < 200; i++) {
		bulk_push(c, "l", 100 * i, 100 * i + 100, 1500);
		redis_bulk_end(c->r);
		rt_loop_turn(c->loop);
	}
	fix_thaw(c->server.pid);
	assert_int_equal(ask_list(c, 1500), 20000);
	struct redis_stats st;
	redis_get_stats(c->r, &st);
	assert_int_equal(st.pending, 0);
	assert_int_equal(st.connects, 1);
}

static void test_bulk_limit(void **state)
{
	struct ctx *c = *state;
	reopen(c, 5);
	bulk_push(c, "l", 0, 8, 0);
	redis_bulk_end(c->r);
	struct redis_stats st;
	redis_get_stats(c->r, &st);
	assert_int_equal(st.pending, 5);
	struct answer full = {0};
	redis_cmd(c->r, on_answer, &full, "PING");
	await(c, &full);
	assert_int_equal(full.err, LW_EFULL);
	bool never = false;
	for (; st.pending; redis_get_stats(c->r, &st))
		rt_loop_run_until(c->loop, &never, 1);
	assert_int_equal(ask_list(c, 0), 5);
}

/* A server that is never quiet gets them one by one; one that no longer is, after the connection was made anew. */
static void test_bulk_aloud(void **state)
{
	struct ctx *c = *state;
	struct redis_stats st;
	struct answer acl = {0}, ping = {0};
	reopen(c, 0);
	redis_cmd(c->r, on_answer, &acl, "ACL SETUSER default -client|reply");
	await(c, &acl);
	assert_int_equal(acl.err, 0);
	bulk_push(c, "x", 0, 10, 0);
	redis_cmd(c->r, on_answer, &ping, "PING");
	await(c, &ping);
	assert_int_equal(ping.err, LW_EUNAVAILABLE);
	run_until_up(c, false);
	run_until_up(c, true);
	redis_get_stats(c->r, &st);
	assert_int_equal(st.pending, 0);
	assert_int_equal(st.connects, 2);
	bulk_push(c, "l", 0, 10, 0);
	redis_bulk_end(c->r);
	assert_int_equal(ask_list(c, 0), 10);
	redis_get_stats(c->r, &st);
	assert_int_equal(st.connects, 2);
	assert_int_equal(st.pending, 0);
}

static void test_bulk_lost(void **state)
{
	struct ctx *c = *state;
	struct redis_stats before, st;
	reopen(c, 0);
	redis_get_stats(c->r, &before);
	fix_kill9(&c->server);
	bulk_push(c, "l", 0, 300, 1000);
	redis_bulk_end(c->r);
	bulk_push(c, "l", 300, 310, 1000); /* and is not over */
	run_until_up(c, false);
	bulk_push(c, "l", 310, 320, 1000); /* away */
	redis_bulk_end(c->r);
	bool never = false;
	rt_loop_run_until(c->loop, &never, 1);
	redis_get_stats(c->r, &st);
	assert_int_equal(st.pending, 0);
	assert_int_equal(st.unavailable, before.unavailable + 320);
	fix_redis_run(&c->server);
	run_until_up(c, true);
	bulk_push(c, "l", 0, 7, 0);
	redis_bulk_end(c->r);
	assert_int_equal(ask_list(c, 0), 7);
}

/* Cut now and then, and never below what is wanted. */
static void test_bulk_streams(void **state)
{
	struct ctx *c = *state;
	const struct redis_field f = {lw_span_str("f"), lw_span_str("value")};
	reopen(c, 0);
	for (int i = 0; i < 5000; i++) {
		redis_bulk_xadd(c->r, "a", 100, 1, &f);
		redis_bulk_xadd(c->r, "b", 3, 1, &f);
		redis_bulk_xadd(c->r, "c", 0, 1, &f);
	}
	assert_in_range(ask(c, "return redis.call('XLEN', 'a')"), 100, 600);
	assert_in_range(ask(c, "return redis.call('XLEN', 'b')"), 3, 200);
	assert_int_equal(ask(c, "return redis.call('XLEN', 'c')"), 5000);
	assert_int_equal(ask(c, "local e = redis.call('XREVRANGE', 'a', '+', '-', 'COUNT', 1)[1][2] "
				"return e[1] == 'f' and e[2] == 'value' and 1 or 0"),
			 1);
	/* With an entry to a node the server cuts where it is told to. */
	redis_cmd(c->r, NULL, NULL, "CONFIG SET stream-node-max-entries 1");
	redis_cmd(c->r, NULL, NULL, "DEL a");
	for (int i = 0; i < 2000; i++) {
		redis_bulk_xadd(c->r, "a", 100, 1, &f);
		redis_bulk_xadd(c->r, "short", 3, 1, &f); /* each time */
	}
	assert_in_range(ask(c, "return redis.call('XLEN', 'a')"), 100, 400);
	assert_int_equal(ask(c, "return redis.call('XLEN', 'short')"), 3);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_commands),
		T(test_script),
		T(test_timeout),
		T(test_standing_still),
		T(test_kill_and_reconnect),
		T(test_limit_and_free),
		T(test_password_and_db),
		T(test_urls),
		T(test_streams),
		T(test_streams_survive),
		T(test_rate),
		T(test_bulk),
		T(test_bulk_not_read),
		T(test_bulk_limit),
		T(test_bulk_aloud),
		T(test_bulk_lost),
		T(test_bulk_streams),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
