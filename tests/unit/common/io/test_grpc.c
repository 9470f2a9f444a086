/* gRPC server and client against each other over loopback: answers, errors, deadlines, cancellation, sizes, streams
 * with back-pressure, many calls, restart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/xmalloc.h"
#include "common/io/grpc_client_internal.h"
#include "common/io/grpc_server.h"
#include "common/pb/unpack.h"
#include "common/runtime/loop.h"
#include "tests/fixtures/servers.h"
#include "proto/grpc/health/v1/health.pb-c.h"

#define WAIT_MS 60000

/* A message with one text member; the tests need no more. */
typedef Grpc__Health__V1__HealthCheckRequest Text;
#define TEXT_DESC (&grpc__health__v1__health_check_request__descriptor)

static Text text_of(const char *s)
{
	Text t = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	t.service = (char *)(uintptr_t)s;
	return t;
}

struct fixture {
	struct rt_loop *loop;
	struct grpc_methods *methods;
	struct grpc_server *server;
	struct grpc_client *client;
	int port;
	/* what handlers saw */
	struct grpc_call *held;
	int holds;
	int cancels;
	int writables;
	int messages;
	bool half_closed;
	char seen[64];
	int64_t deadline_ns;
	bool want_pause;
};

/* --- methods --- */

static void m_echo(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct fixture *f = arg;
	const char *auth = grpc_call_metadata(c, "authorization");
	snprintf(f->seen, sizeof(f->seen), "%s", auth ? auth : "");
	f->deadline_ns = grpc_call_deadline_ns(c);
	grpc_call_reply(c, req);
}

static void m_fail(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	(void)req;
	(void)arg;
	grpc_call_finish(c, GRPC_NOT_FOUND, "no such thing: 100% \xc3\xbc\n");
}

static void on_cancel_count(struct grpc_call *c)
{
	struct fixture *f = grpc_call_user(c);
	f->cancels++;
	assert_true(grpc_call_cancelled(c));
	Text t = text_of("into the void");
	assert_int_equal(grpc_call_send(c, &t.base), LW_ECANCELLED);
	f->held = NULL;
	grpc_call_finish(c, GRPC_OK, NULL);
}

static const struct grpc_call_events HOLD_EVENTS = {.cancel = on_cancel_count};

static void m_hold(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	(void)req;
	struct fixture *f = arg;
	f->held = c;
	f->holds++;
	grpc_call_set_user(c, f);
	grpc_call_set_events(c, &HOLD_EVENTS);
}

/* Answers from the timer-free next tick: the usual shape of an asynchronous handler. */
static void later(void *arg)
{
	struct grpc_call *c = arg;
	const Text *req = grpc_call_user(c);
	grpc_call_reply(c, &req->base);
}

static void m_later(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct fixture *f = arg;
	grpc_call_set_user(c, (void *)(uintptr_t)req);
	rt_loop_defer(f->loop, later, c);
}

static void m_silent(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	(void)req;
	(void)arg;
	grpc_call_finish(c, GRPC_OK, NULL);
}

/* Server streaming: as many numbers as the request says, as fast as the peer takes them. */
struct counter {
	struct fixture *f;
	int next;
	int end;
	char *pad;
};

static void count_on(struct grpc_call *c)
{
	struct counter *k = grpc_call_user(c);
	k->f->writables++;
	while (k->next < k->end && grpc_call_writable(c)) {
		snprintf(k->pad, 16, "%08d", k->next++);
		k->pad[8] = '.';
		Text t = text_of(k->pad);
		assert_int_equal(grpc_call_send(c, &t.base), 0);
	}
	if (k->next < k->end)
		return;
	free(k->pad);
	free(k);
	grpc_call_finish(c, GRPC_OK, NULL);
}

static void count_cancel(struct grpc_call *c)
{
	struct counter *k = grpc_call_user(c);
	k->f->cancels++;
	k->f->messages = k->next;
	free(k->pad);
	free(k);
	grpc_call_finish(c, GRPC_CANCELLED, NULL);
}

static const struct grpc_call_events COUNT_EVENTS = {.writable = count_on, .cancel = count_cancel};

static void m_count(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	const Text *t = (const Text *)req;
	struct counter *k = lw_xcalloc(1, sizeof(*k));
	k->f = arg;
	k->end = atoi(t->service);
	k->pad = lw_xmalloc(4097);
	memset(k->pad, '.', 4096);
	k->pad[4096] = 0;
	grpc_call_set_user(c, k);
	grpc_call_set_events(c, &COUNT_EVENTS);
	count_on(c);
}

/* Bidi: echoes; pauses when told. */
static void bidi_message(struct grpc_call *c, const ProtobufCMessage *msg)
{
	struct fixture *f = grpc_call_user(c);
	f->messages++;
	grpc_call_send(c, msg);
	if (f->want_pause) {
		f->held = c;
		grpc_call_pause(c, true);
	}
}

static void bidi_half_close(struct grpc_call *c)
{
	struct fixture *f = grpc_call_user(c);
	f->half_closed = true;
	grpc_call_finish(c, GRPC_OK, NULL);
}

static const struct grpc_call_events BIDI_EVENTS = {
	.message = bidi_message, .half_close = bidi_half_close, .cancel = on_cancel_count};

static void m_bidi(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	assert_null(req);
	grpc_call_set_user(c, arg);
	grpc_call_set_events(c, &BIDI_EVENTS);
}

/* --- fixture --- */

static void add_method(struct fixture *f, const char *path, bool cs, bool ss, grpc_handler_fn *fn)
{
	struct grpc_method m = {path, TEXT_DESC, TEXT_DESC, cs, ss, fn, f};
	assert_int_equal(grpc_methods_add(f->methods, &m), 0);
}

static void start_server(struct fixture *f, const char *bind)
{
	struct grpc_server_config sc = {.bind = bind, .methods = f->methods, .max_message = 8u << 20};
	struct lw_diag diag = {""};
	int rc = grpc_server_new(f->loop, &sc, &f->server, &diag);
	if (rc)
		fail_msg("%s", diag.text);
	f->port = grpc_server_port(f->server);
}

static struct grpc_client *start_client(struct fixture *f)
{
	char address[64];
	snprintf(address, sizeof(address), "127.0.0.1:%d", f->port);
	struct grpc_client_config cc = {
		.address = address, .max_message = 8u << 20, .backoff_min_ms = 5, .backoff_max_ms = 50};
	return grpc_client_new(f->loop, &cc);
}

static int setup(void **state)
{
	struct fixture *f = lw_xcalloc(1, sizeof(*f));
	f->loop = rt_loop_new();
	f->methods = grpc_methods_new();
	add_method(f, "/t.T/Echo", false, false, m_echo);
	add_method(f, "/t.T/Fail", false, false, m_fail);
	add_method(f, "/t.T/Hold", false, false, m_hold);
	add_method(f, "/t.T/Later", false, false, m_later);
	add_method(f, "/t.T/Silent", false, false, m_silent);
	add_method(f, "/t.T/Count", false, true, m_count);
	add_method(f, "/t.T/Bidi", true, true, m_bidi);
	/* Some tests start it again on its port, which nobody else may have taken meanwhile. */
	char bind[64];
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", fix_free_port());
	start_server(f, bind);
	f->client = start_client(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	grpc_client_free(f->client);
	grpc_server_free(f->server);
	grpc_methods_free(f->methods);
	rt_loop_free(f->loop);
	free(f);
	return 0;
}

/* --- unary calls --- */

struct result {
	bool done;
	int calls;
	int status;
	char message[256];
	char *text;
	int *countdown;
};

static void on_done(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct result *r = arg;
	r->calls++;
	r->status = status;
	snprintf(r->message, sizeof(r->message), "%s", message);
	assert_int_equal(status == GRPC_OK, resp != NULL);
	if (resp) {
		free(r->text);
		r->text = lw_xstrdup(((const Text *)resp)->service);
	}
	r->done = !r->countdown || --*r->countdown == 0;
}

static uint64_t call(struct fixture *f, const char *path, const char *text, uint32_t deadline_ms, struct result *r)
{
	struct grpc_metadata md = {"authorization", "Bearer abc"};
	struct grpc_client_request req = {
		.path = path, .metadata = &md, .n_metadata = 1, .deadline_ms = deadline_ms, .output = TEXT_DESC};
	Text t = text_of(text);
	return grpc_client_call(f->client, &req, &t.base, on_done, r);
}

static void wait_done(struct fixture *f, struct result *r)
{
	assert_true(rt_loop_run_until(f->loop, &r->done, WAIT_MS));
}

static void test_unary(void **state)
{
	struct fixture *f = *state;
	struct result r = {0};
	call(f, "/t.T/Echo", "hello", WAIT_MS, &r);
	assert_false(r.done);
	wait_done(f, &r);
	assert_int_equal(r.status, GRPC_OK);
	assert_string_equal(r.text, "hello");
	assert_string_equal(f->seen, "Bearer abc");
	int64_t left = f->deadline_ns - rt_loop_mono_ns(f->loop);
	assert_true(left > 0 && left <= WAIT_MS * LW_NS_PER_MS);
	assert_true(grpc_client_connected(f->client));
	assert_int_equal(grpc_client_pending(f->client), 0);
	free(r.text);
}

static void test_empty_message(void **state)
{
	struct fixture *f = *state;
	struct result r = {0};
	call(f, "/t.T/Later", "", 0, &r);
	wait_done(f, &r);
	assert_int_equal(r.status, GRPC_OK);
	assert_string_equal(r.text, "");
	free(r.text);
}

static void test_errors(void **state)
{
	struct fixture *f = *state;
	struct result r = {0};
	call(f, "/t.T/Fail", "x", 0, &r);
	wait_done(f, &r);
	assert_int_equal(r.status, GRPC_NOT_FOUND);
	assert_string_equal(r.message, "no such thing: 100% \xc3\xbc\n");

	struct result u = {0};
	call(f, "/t.T/Unknown", "x", 0, &u);
	wait_done(f, &u);
	assert_int_equal(u.status, GRPC_UNIMPLEMENTED);

	struct result s = {0};
	call(f, "/t.T/Silent", "x", 0, &s);
	wait_done(f, &s);
	assert_int_equal(s.status, GRPC_INTERNAL);
}

static void test_deadline(void **state)
{
	struct fixture *f = *state;
	/* On a busy machine the deadline may pass before the server hears of the call. */
	for (uint32_t ms = 60; !f->holds && ms < WAIT_MS; ms *= 2) {
		struct result r = {0};
		call(f, "/t.T/Hold", "x", ms, &r);
		wait_done(f, &r);
		assert_int_equal(r.status, GRPC_DEADLINE_EXCEEDED);
		for (int i = 0; i < 20; i++)
			rt_loop_turn(f->loop);
	}
	assert_int_equal(f->holds, 1);
	/* The server finds out by itself or by the reset, once. */
	bool seen = false;
	for (int i = 0; i < 1000 && !seen; i++) {
		rt_loop_run_until(f->loop, &seen, 5);
		seen = f->cancels > 0;
	}
	assert_int_equal(f->cancels, 1);
}

static void wait_for(struct fixture *f, const int *what, int n)
{
	bool never = false;
	for (int i = 0; i < WAIT_MS / 2 && *what < n; i++)
		rt_loop_run_until(f->loop, &never, 2);
	assert_int_equal(*what, n);
}

static void wait_held(struct fixture *f)
{
	bool held = false;
	for (int i = 0; i < WAIT_MS / 2 && !f->held; i++)
		rt_loop_run_until(f->loop, &held, 2);
	assert_non_null(f->held);
}

static void test_cancel(void **state)
{
	struct fixture *f = *state;
	struct result r = {0};
	uint64_t id = call(f, "/t.T/Hold", "x", 0, &r);
	wait_held(f);
	grpc_client_cancel(f->client, id);
	grpc_client_cancel(f->client, id);
	wait_for(f, &f->cancels, 1);
	assert_int_equal(r.calls, 0);
	/* Cancelled before it was sent: the server never hears of it. */
	id = call(f, "/t.T/Hold", "x", 0, &r);
	grpc_client_cancel(f->client, id);
	struct result e = {0};
	call(f, "/t.T/Echo", "after", 0, &e);
	wait_done(f, &e);
	assert_string_equal(e.text, "after");
	assert_null(f->held);
	assert_int_equal(r.calls, 0);
	free(e.text);
}

/* A handler may hold a reference past the end, and finish twice. */
static void test_reference(void **state)
{
	struct fixture *f = *state;
	struct result r = {0};
	call(f, "/t.T/Hold", "x", 0, &r);
	wait_held(f);
	struct grpc_call *c = grpc_call_ref(f->held);
	grpc_call_finish(c, GRPC_ABORTED, "one");
	grpc_call_finish(c, GRPC_OK, "two");
	assert_true(grpc_call_finished(c));
	Text t = text_of("late");
	assert_int_equal(grpc_call_send(c, &t.base), LW_EPRECONDITION);
	wait_done(f, &r);
	assert_int_equal(r.status, GRPC_ABORTED);
	assert_string_equal(r.message, "one");
	grpc_call_unref(c);
}

static void test_large(void **state)
{
	struct fixture *f = *state;
	size_t n = 7u << 20;
	char *big = lw_xmalloc(n + 1);
	memset(big, 'x', n);
	big[n] = 0;
	struct result r = {0};
	call(f, "/t.T/Echo", big, 0, &r);
	wait_done(f, &r);
	assert_int_equal(r.status, GRPC_OK);
	assert_string_equal(r.text, big);
	free(r.text);
	free(big);

	n = 9u << 20;
	big = lw_xmalloc(n + 1);
	memset(big, 'x', n);
	big[n] = 0;
	struct result t = {0};
	call(f, "/t.T/Echo", big, 0, &t);
	wait_done(f, &t);
	assert_int_equal(t.status, GRPC_RESOURCE_EXHAUSTED);
	free(big);
	/* The connection is not hurt. */
	struct result e = {0};
	call(f, "/t.T/Echo", "still here", 0, &e);
	wait_done(f, &e);
	assert_string_equal(e.text, "still here");
	free(e.text);
}

static void test_many(void **state)
{
	struct fixture *f = *state;
	enum { N = 3000 };
	struct result *r = lw_xcalloc(N, sizeof(*r));
	int left = N;
	for (int i = 0; i < N; i++) {
		char text[32];
		snprintf(text, sizeof(text), "call %d", i);
		r[i].countdown = &left;
		call(f, i % 2 ? "/t.T/Echo" : "/t.T/Later", text, WAIT_MS, &r[i]);
	}
	bool never = false;
	for (int i = 0; i < WAIT_MS && left > 0; i++)
		rt_loop_run_until(f->loop, &never, 1);
	assert_int_equal(left, 0);
	for (int i = 0; i < N; i++) {
		char text[32];
		snprintf(text, sizeof(text), "call %d", i);
		assert_int_equal(r[i].status, GRPC_OK);
		assert_string_equal(r[i].text, text);
		assert_int_equal(r[i].calls, 1);
		free(r[i].text);
	}
	free(r);
	struct grpc_server_stats stats;
	grpc_server_stats(f->server, &stats);
	assert_int_equal(stats.calls_total, N);
	assert_int_equal(stats.connections, 1);
	assert_int_equal(stats.calls, 0);
}

/* --- streams --- */

struct stream_result {
	struct grpc_stream *s;
	bool ended;
	int ends;
	int status;
	int messages;
	int writables;
	int pause_at;
	int cancel_at;
	char last[16];
};

static void s_message(struct grpc_stream *s, const ProtobufCMessage *msg, void *arg)
{
	struct stream_result *r = arg;
	assert_true(s == r->s);
	snprintf(r->last, sizeof(r->last), "%.8s", ((const Text *)msg)->service);
	r->messages++;
	if (r->messages == r->pause_at)
		grpc_stream_pause(s, true);
	if (r->messages == r->cancel_at) {
		r->s = NULL;
		grpc_stream_cancel(s);
	}
}

static void s_writable(struct grpc_stream *s, void *arg)
{
	(void)s;
	((struct stream_result *)arg)->writables++;
}

static void s_end(struct grpc_stream *s, int status, const char *message, void *arg)
{
	(void)s;
	(void)message;
	struct stream_result *r = arg;
	r->ended = true;
	r->ends++;
	r->status = status;
	r->s = NULL;
}

static const struct grpc_stream_events STREAM_EVENTS = {.message = s_message, .writable = s_writable, .end = s_end};

static void open_stream(struct fixture *f, const char *path, struct stream_result *r)
{
	struct grpc_client_request req = {.path = path, .output = TEXT_DESC};
	r->s = grpc_stream_open(f->client, &req, &STREAM_EVENTS, r);
}

static void stream_send(struct grpc_stream *s, const char *text)
{
	Text t = text_of(text);
	assert_int_equal(grpc_stream_send(s, &t.base), 0);
}

static void test_server_stream(void **state)
{
	struct fixture *f = *state;
	struct stream_result r = {0};
	open_stream(f, "/t.T/Count", &r);
	stream_send(r.s, "2000");
	grpc_stream_half_close(r.s);
	assert_true(rt_loop_run_until(f->loop, &r.ended, WAIT_MS));
	assert_int_equal(r.status, GRPC_OK);
	assert_int_equal(r.messages, 2000);
	assert_string_equal(r.last, "00001999");
}

/* The bytes as they came; who refuses them ends the stream. */
static bool s_bytes(struct grpc_stream *s, struct lw_span msg, void *arg)
{
	struct stream_result *r = arg;
	struct lw_span text;
	assert_true(s == r->s);
	assert_int_equal(lw_pb_find_bytes(msg, TEXT_DESC->fields[0].id, &text), 0);
	snprintf(r->last, sizeof(r->last), "%.*s", (int)text.n, (const char *)text.p);
	if (++r->messages == r->pause_at)
		grpc_stream_pause(s, true);
	return r->messages != r->cancel_at;
}

static void test_bytes(void **state)
{
	struct fixture *f = *state;
	static const struct grpc_stream_events events = {.bytes = s_bytes, .end = s_end};
	struct grpc_client_request req = {.path = "/t.T/Count", .output = TEXT_DESC};
	struct stream_result r = {0}, refused = {.cancel_at = 7}, late = {.cancel_at = 3, .pause_at = 2};
	bool never = false;
	r.s = grpc_stream_open(f->client, &req, &events, &r);
	stream_send(r.s, "100");
	grpc_stream_half_close(r.s);
	assert_true(rt_loop_run_until(f->loop, &r.ended, WAIT_MS));
	assert_int_equal(r.status, GRPC_OK);
	assert_int_equal(r.messages, 100);
	assert_memory_equal(r.last, "00000099", 8);
	refused.s = grpc_stream_open(f->client, &req, &events, &refused);
	stream_send(refused.s, "100");
	grpc_stream_half_close(refused.s);
	assert_true(rt_loop_run_until(f->loop, &refused.ended, WAIT_MS));
	assert_int_equal(refused.status, GRPC_INTERNAL);
	assert_int_equal(refused.messages, 7);
	/* So does who refuses them when the server has ended it well, and only they were left. */
	late.s = grpc_stream_open(f->client, &req, &events, &late);
	stream_send(late.s, "5");
	grpc_stream_half_close(late.s);
	wait_for(f, &late.messages, 2);
	for (int i = 0; i < WAIT_MS && !late.s->ended; i++)
		rt_loop_run_until(f->loop, &never, 1);
	assert_true(late.s->ended);
	assert_false(late.ended);
	grpc_stream_pause(late.s, false);
	assert_true(rt_loop_run_until(f->loop, &late.ended, WAIT_MS));
	assert_int_equal(late.status, GRPC_INTERNAL);
	assert_int_equal(late.messages, 3);
}

/* A reader that stops holds the writer back after a bounded number of messages; then everything arrives, in order. */
static void test_back_pressure(void **state)
{
	struct fixture *f = *state;
	struct stream_result r = {.pause_at = 10};
	open_stream(f, "/t.T/Count", &r);
	stream_send(r.s, "5000"); /* 20 MB */
	grpc_stream_half_close(r.s);
	wait_for(f, &r.messages, 10);
	/* Until nothing moves any more. */
	int writables;
	bool never = false;
	do {
		writables = f->writables;
		rt_loop_run_until(f->loop, &never, 100);
	} while (writables != f->writables);
	assert_int_equal(r.messages, 10);
	assert_false(r.ended);
	/* Another call of the same connection is not held up by it. */
	struct result e = {0};
	call(f, "/t.T/Echo", "past", 0, &e);
	wait_done(f, &e);
	assert_string_equal(e.text, "past");
	free(e.text);
	grpc_stream_pause(r.s, false);
	assert_true(rt_loop_run_until(f->loop, &r.ended, WAIT_MS));
	assert_int_equal(r.messages, 5000);
	assert_int_equal(r.status, GRPC_OK);
}

static void test_stream_cancel(void **state)
{
	struct fixture *f = *state;
	struct stream_result r = {.cancel_at = 5};
	open_stream(f, "/t.T/Count", &r);
	stream_send(r.s, "1000000");
	grpc_stream_half_close(r.s);
	wait_for(f, &f->cancels, 1);
	assert_int_equal(r.messages, 5);
	assert_int_equal(r.ends, 0);
	/* The producer was stopped by flow control long before its end. */
	assert_true(f->messages < 10000);
	assert_int_equal(grpc_client_pending(f->client), 0);
}

static void test_bidi(void **state)
{
	struct fixture *f = *state;
	struct stream_result r = {0};
	open_stream(f, "/t.T/Bidi", &r);
	for (int i = 0; i < 100; i++) {
		char text[32];
		snprintf(text, sizeof(text), "%08d", i);
		stream_send(r.s, text);
	}
	wait_for(f, &r.messages, 100);
	assert_string_equal(r.last, "00000099");
	assert_false(r.ended);
	stream_send(r.s, "lastword");
	grpc_stream_half_close(r.s);
	Text t = text_of("too late");
	assert_int_equal(grpc_stream_send(r.s, &t.base), LW_EPRECONDITION);
	assert_true(rt_loop_run_until(f->loop, &r.ended, WAIT_MS));
	assert_true(f->half_closed);
	assert_int_equal(r.messages, 101);
	assert_string_equal(r.last, "lastword");
	assert_int_equal(r.status, GRPC_OK);
}

/* The server pauses: the client's queue grows to its limits and says so, then drains. */
static void test_bidi_pause(void **state)
{
	struct fixture *f = *state;
	struct stream_result r = {0};
	char *pad = lw_xmalloc(4097);
	memset(pad, '.', 4096);
	pad[4096] = 0;
	f->want_pause = true;
	open_stream(f, "/t.T/Bidi", &r);
	int sent = 0;
	bool never = false;
	for (int quiet = 0; quiet < 20;) {
		if (grpc_stream_writable(r.s)) {
			quiet = 0;
			stream_send(r.s, pad);
			sent++;
		} else {
			quiet++;
			rt_loop_run_until(f->loop, &never, 5);
		}
		assert_true(sent < 20000);
	}
	assert_int_equal(f->messages, 1);
	assert_true(grpc_stream_queued(r.s) > 128u << 10);
	f->want_pause = false;
	grpc_call_pause(f->held, false);
	wait_for(f, &f->messages, sent);
	assert_true(r.writables > 0);
	assert_true(grpc_stream_writable(r.s));
	grpc_stream_half_close(r.s);
	assert_true(rt_loop_run_until(f->loop, &r.ended, WAIT_MS));
	assert_int_equal(r.messages, sent);
	free(pad);
}

/* --- connections --- */

static void test_unavailable(void **state)
{
	struct fixture *f = *state;
	grpc_server_free(f->server);
	f->server = NULL;
	struct result r = {0};
	call(f, "/t.T/Echo", "x", 10000, &r);
	wait_done(f, &r);
	assert_int_equal(r.status, GRPC_UNAVAILABLE);
	/* The next one is refused without a wait. */
	struct result q = {0};
	call(f, "/t.T/Echo", "x", 10000, &q);
	assert_false(q.done);
	wait_done(f, &q);
	assert_int_equal(q.status, GRPC_UNAVAILABLE);
	/* One that wants to wait gets through when the server is back. */
	struct grpc_client_request req = {.path = "/t.T/Echo", .output = TEXT_DESC, .wait_for_ready = true};
	struct result w = {0};
	Text t = text_of("patience");
	grpc_client_call(f->client, &req, &t.base, on_done, &w);
	char bind[64];
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", f->port);
	start_server(f, bind);
	wait_done(f, &w);
	assert_int_equal(w.status, GRPC_OK);
	assert_string_equal(w.text, "patience");
	free(w.text);
}

static void test_restart(void **state)
{
	struct fixture *f = *state;
	struct result h = {0};
	struct stream_result s = {0};
	call(f, "/t.T/Hold", "x", 0, &h);
	open_stream(f, "/t.T/Bidi", &s);
	stream_send(s.s, "one");
	wait_held(f);
	wait_for(f, &s.messages, 1);
	grpc_server_free(f->server);
	assert_int_equal(f->cancels, 2);
	wait_done(f, &h);
	assert_int_equal(h.status, GRPC_UNAVAILABLE);
	assert_true(rt_loop_run_until(f->loop, &s.ended, WAIT_MS));
	assert_int_equal(s.status, GRPC_UNAVAILABLE);
	char bind[64];
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", f->port);
	start_server(f, bind);
	/* Without a call: the client comes back by itself. */
	bool up = false;
	for (int i = 0; i < WAIT_MS / 2 && !up; i++) {
		rt_loop_run_until(f->loop, &up, 2);
		up = grpc_client_connected(f->client);
	}
	assert_true(up);
	struct result e = {0};
	call(f, "/t.T/Echo", "again", 0, &e);
	wait_done(f, &e);
	assert_string_equal(e.text, "again");
	free(e.text);
}

static void set_flag(void *arg)
{
	*(bool *)arg = true;
}

/* Draining: running calls end well, new ones go elsewhere (here: nowhere), then the connection closes. */
static void test_drain(void **state)
{
	struct fixture *f = *state;
	struct result h = {0};
	call(f, "/t.T/Hold", "x", 0, &h);
	wait_held(f);
	bool drained = false;
	grpc_server_drain(f->server, set_flag, &drained);
	bool never = false;
	rt_loop_run_until(f->loop, &never, 50);
	assert_false(drained);
	struct result n = {0};
	call(f, "/t.T/Echo", "new", 0, &n);
	wait_done(f, &n);
	assert_int_equal(n.status, GRPC_UNAVAILABLE);
	Text t = text_of("kept");
	grpc_call_reply(f->held, &t.base);
	wait_done(f, &h);
	assert_int_equal(h.status, GRPC_OK);
	assert_string_equal(h.text, "kept");
	assert_true(rt_loop_run_until(f->loop, &drained, WAIT_MS));
	free(h.text);
}

/* Freed inside a callback, with calls of all kinds open. */
static void free_client(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	(void)status;
	(void)message;
	(void)resp;
	struct fixture *f = arg;
	grpc_client_free(f->client);
	f->client = NULL;
}

static void test_free_inside(void **state)
{
	struct fixture *f = *state;
	struct result h = {0};
	struct stream_result s = {0};
	call(f, "/t.T/Hold", "x", 0, &h);
	open_stream(f, "/t.T/Bidi", &s);
	stream_send(s.s, "one");
	wait_held(f);
	struct grpc_client_request req = {.path = "/t.T/Echo", .output = TEXT_DESC};
	Text t = text_of("x");
	grpc_client_call(f->client, &req, &t.base, free_client, f);
	wait_done(f, &h);
	assert_int_equal(h.status, GRPC_CANCELLED);
	assert_true(s.ended);
	assert_int_equal(s.status, GRPC_CANCELLED);
	assert_null(f->client);
	wait_for(f, &f->cancels, 2);
}

static void test_bad_bind(void **state)
{
	struct fixture *f = *state;
	struct grpc_server *s;
	struct lw_diag diag = {""};
	struct grpc_server_config sc = {.bind = "nonsense", .methods = f->methods};
	assert_int_equal(grpc_server_new(f->loop, &sc, &s, &diag), LW_EINVAL);
	assert_string_not_equal(diag.text, "");
	char bind[64];
	snprintf(bind, sizeof(bind), "127.0.0.1:%d", f->port);
	sc.bind = bind;
	assert_true(grpc_server_new(f->loop, &sc, &s, &diag) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_unary, setup, teardown),
		cmocka_unit_test_setup_teardown(test_empty_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reference, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_back_pressure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream_cancel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bidi, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bidi_pause, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unavailable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_inside, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_bind, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
