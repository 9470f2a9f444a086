/* Method table and calls without a socket: what REST and gRPC-web build on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/io/grpc_call.h"
#include "common/io/grpc_server.h"
#include "proto/grpc/health/v1/health.pb-c.h"

typedef Grpc__Health__V1__HealthCheckRequest Text;
typedef Grpc__Health__V1__HealthCheckResponse Health;
#define TEXT_DESC (&grpc__health__v1__health_check_request__descriptor)

struct fixture {
	struct grpc_methods *methods;
	struct grpc_call *held;
	int cancels;
	int messages;
	int half_closes;
	int writables;
	char seen[64];
	/* the transport */
	size_t queued;
	int answers;
	char answer[64];
	int health;
	int finishes;
	int status;
	char message[64];
	bool paused;
};

static int t_message(void *arg, const ProtobufCMessage *msg)
{
	struct fixture *f = arg;
	f->answers++;
	if (msg->descriptor == TEXT_DESC)
		snprintf(f->answer, sizeof(f->answer), "%s", ((const Text *)msg)->service);
	else
		f->health = (int)((const Health *)msg)->status;
	return 0;
}

static void t_finish(void *arg, int status, const char *message)
{
	struct fixture *f = arg;
	f->finishes++;
	f->status = status;
	snprintf(f->message, sizeof(f->message), "%s", message);
}

static size_t t_queued(void *arg)
{
	return ((struct fixture *)arg)->queued;
}

static void t_pause(void *arg, bool paused)
{
	((struct fixture *)arg)->paused = paused;
}

static void m_echo(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct fixture *f = arg;
	const char *auth = grpc_call_metadata(c, "authorization");
	snprintf(f->seen, sizeof(f->seen), "%s %s %s", grpc_call_transport(c), grpc_call_peer(c), auth ? auth : "-");
	grpc_call_reply(c, req);
	/* The call is gone now: nothing may follow. */
}

static void m_twice(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	(void)arg;
	assert_int_equal(grpc_call_send(c, req), 0);
	assert_int_equal(grpc_call_send(c, req), LW_EPRECONDITION);
	grpc_call_finish(c, GRPC_OK, NULL);
}

static void on_cancel(struct grpc_call *c)
{
	struct fixture *f = grpc_call_user(c);
	f->cancels++;
}

static void on_message(struct grpc_call *c, const ProtobufCMessage *msg)
{
	struct fixture *f = grpc_call_user(c);
	f->messages++;
	snprintf(f->seen, sizeof(f->seen), "%s", ((const Text *)msg)->service);
	if (strcmp(f->seen, "pause") == 0)
		grpc_call_pause(c, true);
}

static void on_half_close(struct grpc_call *c)
{
	struct fixture *f = grpc_call_user(c);
	f->half_closes++;
}

static void on_writable(struct grpc_call *c)
{
	struct fixture *f = grpc_call_user(c);
	f->writables++;
}

static const struct grpc_call_events EVENTS = {on_message, on_half_close, on_writable, on_cancel};

static void m_hold(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	(void)req;
	struct fixture *f = arg;
	f->held = c;
	grpc_call_set_user(c, f);
	grpc_call_set_events(c, &EVENTS);
}

static void m_fallback(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	(void)arg;
	assert_null(req);
	assert_null(grpc_call_method(c));
	grpc_call_finishf(c, GRPC_UNAUTHENTICATED, "what is %s", grpc_call_path(c));
}

static void add(struct fixture *f, const char *path, bool cs, bool ss, grpc_handler_fn *fn)
{
	struct grpc_method m = {path, TEXT_DESC, TEXT_DESC, cs, ss, fn, f};
	assert_int_equal(grpc_methods_add(f->methods, &m), 0);
	assert_int_equal(grpc_methods_add(f->methods, &m), LW_EEXISTS);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	f->methods = grpc_methods_new();
	add(f, "/t.T/Echo", false, false, m_echo);
	add(f, "/t.T/Twice", false, false, m_twice);
	add(f, "/t.T/Hold", false, true, m_hold);
	add(f, "/t.T/Collect", true, false, m_hold);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	grpc_methods_free(f->methods);
	free(f);
	return 0;
}

static struct grpc_call *call_new(struct fixture *f, const char *path)
{
	struct grpc_metadata md[] = {{"authorization", "Bearer a"}, {"authorization", "second"}};
	struct grpc_local l = {.path = path,
			       .transport = "rest",
			       .peer = "192.0.2.1:5",
			       .metadata = md,
			       .n_metadata = 2,
			       .queue_high = 100,
			       .arg = f,
			       .message = t_message,
			       .finish = t_finish,
			       .queued = t_queued,
			       .pause = t_pause};
	return grpc_call_new(f->methods, &l);
}

static void test_table(void **state)
{
	struct fixture *f = *state;
	assert_null(grpc_methods_find(f->methods, "/t.T/None"));
	assert_non_null(grpc_methods_find(f->methods, "/t.T/Hold"));
	size_t it = 0;
	int n = 0;
	while (grpc_methods_next(f->methods, &it))
		n++;
	assert_int_equal(n, 4);
}

static void test_unary(void **state)
{
	struct fixture *f = *state;
	struct grpc_call *c = call_new(f, "/t.T/Echo");
	Text t = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	t.service = lw_arena_strdup(grpc_call_arena(c), "hello");
	grpc_call_start(c, &t.base);
	assert_int_equal(f->answers, 1);
	assert_string_equal(f->answer, "hello");
	assert_int_equal(f->finishes, 1);
	assert_int_equal(f->status, GRPC_OK);
	assert_string_equal(f->seen, "rest 192.0.2.1:5 Bearer a");
	assert_true(grpc_call_finished(c));
	grpc_call_cancel(c);
	assert_int_equal(f->cancels, 0);
	grpc_call_unref(c);
}

static void test_bytes(void **state)
{
	struct fixture *f = *state;
	struct grpc_call *c = call_new(f, "/t.T/Echo");
	grpc_call_start_bytes(c, lw_span("\x0a\2hi", 4));
	assert_string_equal(f->answer, "hi");
	grpc_call_unref(c);
	c = call_new(f, "/t.T/Echo");
	grpc_call_start_bytes(c, lw_span("\x0a\x20hi", 4));
	assert_int_equal(f->status, GRPC_INTERNAL);
	assert_int_equal(f->answers, 1);
	grpc_call_unref(c);
}

static void test_refusals(void **state)
{
	struct fixture *f = *state;
	struct grpc_call *c = call_new(f, "/t.T/None");
	grpc_call_start(c, NULL);
	assert_int_equal(f->status, GRPC_UNIMPLEMENTED);
	grpc_call_unref(c);
	c = call_new(f, "/t.T/Echo");
	grpc_call_start(c, NULL);
	assert_int_equal(f->status, GRPC_INVALID_ARGUMENT);
	grpc_call_unref(c);
	grpc_methods_set_fallback(f->methods, m_fallback, f);
	c = call_new(f, "/t.T/None");
	grpc_call_start_bytes(c, lw_span("anything", 8));
	assert_int_equal(f->status, GRPC_UNAUTHENTICATED);
	assert_string_equal(f->message, "what is /t.T/None");
	grpc_call_unref(c);
	assert_int_equal(f->finishes, 3);
	/* A second answer of a unary method does not leave. */
	c = call_new(f, "/t.T/Twice");
	grpc_call_start_bytes(c, lw_span("", 0));
	assert_int_equal(f->answers, 1);
	assert_int_equal(f->status, GRPC_OK);
	grpc_call_unref(c);
}

/* The transport goes before the handler answers. */
static void test_cancel(void **state)
{
	struct fixture *f = *state;
	struct grpc_call *c = call_new(f, "/t.T/Hold");
	grpc_call_start_bytes(c, lw_span("", 0));
	assert_non_null(f->held);
	grpc_call_cancel(c);
	grpc_call_cancel(c);
	grpc_call_unref(c);
	assert_int_equal(f->cancels, 1);
	assert_true(grpc_call_cancelled(f->held));
	assert_false(grpc_call_writable(f->held));
	Text t = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	assert_int_equal(grpc_call_send(f->held, &t.base), LW_ECANCELLED);
	grpc_call_finish(f->held, GRPC_OK, NULL);
	assert_int_equal(f->answers, 0);
	assert_int_equal(f->finishes, 0);
	/* Never started: no handler ever saw it. */
	c = call_new(f, "/t.T/Hold");
	grpc_call_cancel(c);
	grpc_call_unref(c);
	assert_int_equal(f->cancels, 1);
}

static void test_back_pressure(void **state)
{
	struct fixture *f = *state;
	struct grpc_call *c = call_new(f, "/t.T/Hold");
	grpc_call_start_bytes(c, lw_span("", 0));
	assert_true(grpc_call_writable(f->held));
	grpc_call_drained(c);
	assert_int_equal(f->writables, 0); /* nobody waits */
	f->queued = 101;
	assert_int_equal(grpc_call_queued(f->held), 101);
	assert_false(grpc_call_writable(f->held));
	f->queued = 10;
	grpc_call_drained(c);
	grpc_call_drained(c);
	assert_int_equal(f->writables, 1);
	grpc_call_finish(f->held, GRPC_OK, NULL);
	assert_int_equal(f->status, GRPC_OK);
	grpc_call_unref(c);
}

static void test_client_stream(void **state)
{
	struct fixture *f = *state;
	struct grpc_call *c = call_new(f, "/t.T/Collect");
	grpc_call_start(c, NULL);
	assert_int_equal(grpc_call_push_bytes(c, lw_span("\x0a\1a", 3)), 0);
	assert_string_equal(f->seen, "a");
	assert_int_equal(grpc_call_push_bytes(c, lw_span("\x0a\1", 2)), LW_EPROTO);
	assert_int_equal(grpc_call_push_bytes(c, lw_span("\x0a\5pause", 7)), 0);
	assert_true(f->paused);
	assert_int_equal(grpc_call_push_bytes(c, lw_span("\x0a\1b", 3)), LW_EAGAIN);
	grpc_call_pause(f->held, false);
	assert_false(f->paused);
	Text t = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	t.service = (char *)(uintptr_t) "b";
	assert_int_equal(grpc_call_push(c, &t.base), 0);
	assert_int_equal(f->messages, 3);
	grpc_call_half_close(c);
	grpc_call_half_close(c);
	assert_int_equal(f->half_closes, 1);
	assert_int_equal(grpc_call_push(c, &t.base), LW_ECLOSED);
	grpc_call_reply(f->held, &t.base);
	assert_string_equal(f->answer, "b");
	grpc_call_unref(c);
	/* A whole request for a client streaming method, as REST has it: one message and the end. */
	c = call_new(f, "/t.T/Collect");
	grpc_call_start(c, &t.base);
	assert_int_equal(f->messages, 4);
	assert_int_equal(f->half_closes, 2);
	grpc_call_finish(f->held, GRPC_OK, NULL);
	assert_int_equal(f->status, GRPC_INTERNAL); /* no answer was given */
	grpc_call_unref(c);
}

/* The table and its methods may go before the last call. */
static void test_outlives_table(void **state)
{
	struct fixture *f = *state;
	struct grpc_call *c = call_new(f, "/t.T/Hold");
	grpc_call_start_bytes(c, lw_span("", 0));
	grpc_methods_free(f->methods);
	f->methods = grpc_methods_new();
	assert_string_equal(grpc_call_method(f->held)->path, "/t.T/Hold");
	grpc_call_finish(f->held, GRPC_OK, NULL);
	grpc_call_unref(c);
}

static void test_health(void **state)
{
	struct fixture *f = *state;
	struct grpc_health *h = grpc_health_new(f->methods);
	struct grpc_call *check = call_new(f, "/grpc.health.v1.Health/Check");
	grpc_call_start_bytes(check, lw_span("", 0));
	assert_int_equal(f->health, 1);
	grpc_call_unref(check);
	check = call_new(f, "/grpc.health.v1.Health/Check");
	grpc_call_start_bytes(check, lw_span("\x0a\1x", 3));
	assert_int_equal(f->status, GRPC_NOT_FOUND);
	grpc_call_unref(check);

	struct grpc_call *watch = call_new(f, "/grpc.health.v1.Health/Watch");
	grpc_call_start_bytes(watch, lw_span("\x0a\1x", 3));
	assert_int_equal(f->health, 3); /* SERVICE_UNKNOWN */
	grpc_health_set(h, "x", true);
	assert_int_equal(f->health, 1);
	int answers = f->answers;
	grpc_health_set(h, "x", true);
	grpc_health_set(h, "y", false);
	assert_int_equal(f->answers, answers);
	grpc_health_set(h, "x", false);
	assert_int_equal(f->health, 2);
	struct grpc_call *gone = call_new(f, "/grpc.health.v1.Health/Watch");
	grpc_call_start_bytes(gone, lw_span("", 0));
	grpc_call_cancel(gone);
	grpc_call_unref(gone);
	grpc_health_free(h);
	assert_int_equal(f->status, GRPC_CANCELLED);
	grpc_call_unref(watch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unary, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_back_pressure, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(test_outlives_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_health, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
