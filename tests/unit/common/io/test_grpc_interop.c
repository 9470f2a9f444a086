/* Our gRPC server against a stock client, our client against a stock server (python3-grpcio), with and without TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/xmalloc.h"
#include "common/io/grpc_client.h"
#include "common/io/grpc_server.h"
#include "common/io/tls.h"
#include "common/pb/schema.h"
#include "common/runtime/loop.h"
#include "proto/grpc/health/v1/health.pb-c.h"

#define SCRIPT LW_SOURCE_DIR "/tests/unit/common/io/grpc_peer.py"
#define PYTHON "/usr/bin/python3"
#define WAIT_MS 60000

typedef Grpc__Health__V1__HealthCheckRequest Text;
#define TEXT_DESC (&grpc__health__v1__health_check_request__descriptor)

struct child {
	pid_t pid;
	int in;
	int out;
};

static struct child spawn(const char *const argv[])
{
	int in[2];
	int out[2];
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	assert_true(pid > 0);
	close(in[0]);
	close(out[1]);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	return (struct child){pid, in[1], out[0]};
}

static int child_end(struct child *c)
{
	int status = -1;
	close(c->in);
	close(c->out);
	waitpid(c->pid, &status, 0);
	return status;
}

static void turn(struct rt_loop *loop, uint32_t ms)
{
	bool never = false;
	rt_loop_run_until(loop, &never, ms);
}

/* Runs the loop until the child wrote a line, or its end. */
static bool child_line(struct rt_loop *loop, struct child *c, char *line, size_t cap)
{
	size_t n = 0;
	for (int i = 0; i < WAIT_MS / 2; i++) {
		ssize_t got = read(c->out, line + n, cap - 1 - n);
		if (got > 0) {
			n += (size_t)got;
			line[n] = 0;
			char *nl = strchr(line, '\n');
			if (nl) {
				*nl = 0;
				return true;
			}
		} else if (got == 0) {
			return false;
		}
		turn(loop, 2);
	}
	return false;
}

/* --- the server's methods --- */

static void m_echo(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	(void)arg;
	grpc_call_reply(c, req);
}

static void m_fail(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	(void)req;
	(void)arg;
	grpc_call_finish(c, GRPC_NOT_FOUND, "no such thing: 100% \xc3\xbc\n");
}

struct counts {
	int holds, cancels;
};

static void end_call(struct grpc_call *c)
{
	struct counts *n = grpc_call_user(c);
	n->cancels++;
	grpc_call_finish(c, GRPC_CANCELLED, NULL);
}

static const struct grpc_call_events HOLD_EVENTS = {.cancel = end_call};

static void m_hold(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct counts *n = arg;
	(void)req;
	n->holds++;
	grpc_call_set_user(c, arg);
	grpc_call_set_events(c, &HOLD_EVENTS);
}

/* How many calls were held until now. */
static void m_held(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	const struct counts *n = arg;
	char text[16];
	Text t = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	(void)req;
	snprintf(text, sizeof(text), "%d", n->holds);
	t.service = text;
	grpc_call_reply(c, &t.base);
}

struct counter {
	int next;
	int end;
	struct counts *counts;
};

static void count_on(struct grpc_call *c)
{
	struct counter *k = grpc_call_user(c);
	char pad[1001];
	memset(pad, '.', sizeof(pad) - 1);
	pad[sizeof(pad) - 1] = 0;
	Text t = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	t.service = pad;
	while (k->next < k->end && grpc_call_writable(c)) {
		char number[16];
		memcpy(pad, number, (size_t)snprintf(number, sizeof(number), "%08d", k->next++));
		grpc_call_send(c, &t.base);
	}
	if (k->next < k->end)
		return;
	grpc_call_finish(c, GRPC_OK, NULL);
}

static void count_cancel(struct grpc_call *c)
{
	struct counter *k = grpc_call_user(c);
	k->counts->cancels++;
	grpc_call_finish(c, GRPC_CANCELLED, NULL);
}

static const struct grpc_call_events COUNT_EVENTS = {.writable = count_on, .cancel = count_cancel};

static void m_count(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct counter *k = lw_arena_calloc(grpc_call_arena(c), 1, sizeof(*k));
	k->end = atoi(((const Text *)req)->service);
	k->counts = arg;
	grpc_call_set_user(c, k);
	grpc_call_set_events(c, &COUNT_EVENTS);
	count_on(c);
}

static void bidi_message(struct grpc_call *c, const ProtobufCMessage *msg)
{
	grpc_call_send(c, msg);
}

static void bidi_half_close(struct grpc_call *c)
{
	grpc_call_finish(c, GRPC_OK, NULL);
}

static const struct grpc_call_events BIDI_EVENTS = {
	.message = bidi_message, .half_close = bidi_half_close, .cancel = end_call};

static void m_bidi(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	(void)req;
	grpc_call_set_user(c, arg);
	grpc_call_set_events(c, &BIDI_EVENTS);
}

static void stock_client(const char *cert, const char *key)
{
	struct counts n = {0};
	struct rt_loop *loop = rt_loop_new();
	struct lw_schema *schema = lw_schema_new();
	struct grpc_methods *methods = grpc_methods_new();
	const struct grpc_method rows[] = {
		{"/t.T/Echo", TEXT_DESC, TEXT_DESC, false, false, m_echo, NULL},
		{"/t.T/Fail", TEXT_DESC, TEXT_DESC, false, false, m_fail, NULL},
		{"/t.T/Hold", TEXT_DESC, TEXT_DESC, false, false, m_hold, &n},
		{"/t.T/Held", TEXT_DESC, TEXT_DESC, false, false, m_held, &n},
		{"/t.T/Count", TEXT_DESC, TEXT_DESC, false, true, m_count, &n},
		{"/t.T/Bidi", TEXT_DESC, TEXT_DESC, true, true, m_bidi, &n},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(grpc_methods_add(methods, &rows[i]), 0);
	struct grpc_health *health = grpc_health_new(methods);
	struct grpc_reflection *reflection = grpc_reflection_new(methods, schema);
	struct lw_diag diag = {""};
	struct tls_context *tls = NULL;
	struct tls_config tc = {.server = true, .cert_file = cert, .key_file = key, .alpn = "h2"};
	if (cert && tls_context_new(&tc, &tls, &diag))
		fail_msg("%s", diag.text);
	struct grpc_server_config sc = {.bind = "127.0.0.1:0", .methods = methods, .max_message = 8u << 20, .tls = tls};
	struct grpc_server *server;
	assert_int_equal(grpc_server_new(loop, &sc, &server, NULL), 0);

	char address[64];
	char line[512] = "";
	snprintf(address, sizeof(address), "127.0.0.1:%d", grpc_server_port(server));
	const char *argv[] = {PYTHON, SCRIPT, "client", address, cert, NULL};
	struct child c = spawn(argv);
	bool fine = child_line(loop, &c, line, sizeof(line)) && strcmp(line, "fine") == 0;
	struct grpc_server_stats stats;
	for (int i = 0; i < WAIT_MS / 2; i++) {
		grpc_server_stats(server, &stats);
		if (stats.calls == 0)
			break;
		turn(loop, 2);
	}
	child_end(&c);
	grpc_server_free(server);
	grpc_health_free(health);
	grpc_reflection_free(reflection);
	grpc_methods_free(methods);
	tls_context_free(tls);
	lw_schema_free(schema);
	rt_loop_free(loop);
	assert_true(fine);
	assert_int_equal(stats.calls, 0);
	assert_in_range(n.holds, 1, 20);
	assert_int_equal(n.cancels, n.holds + 1); /* the deadline, the endless count */
}

static void test_stock_client(void **state)
{
	(void)state;
	stock_client(NULL, NULL);
}

static void test_stock_client_tls(void **state)
{
	(void)state;
	char dir[] = "/tmp/lw_tls_XXXXXX";
	char cert[64];
	char key[64];
	char cmd[512];
	assert_non_null(mkdtemp(dir));
	snprintf(cert, sizeof(cert), "%s/cert.pem", dir);
	snprintf(key, sizeof(key), "%s/key.pem", dir);
	snprintf(
		cmd, sizeof(cmd),
		"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
		"-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout %s -out %s 2>/dev/null",
		key, cert);
	assert_int_equal(system(cmd), 0);
	stock_client(cert, key);
	unlink(cert);
	unlink(key);
	rmdir(dir);
}

/* --- our client --- */

struct result {
	bool done;
	int status;
	char message[128];
	char text[64];
};

static void on_done(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct result *r = arg;
	r->done = true;
	r->status = status;
	snprintf(r->message, sizeof(r->message), "%s", message);
	if (resp)
		snprintf(r->text, sizeof(r->text), "%.60s", ((const Text *)resp)->service);
}

struct stream_result {
	bool ended;
	int status;
	int messages;
};

static void s_message(struct grpc_stream *s, const ProtobufCMessage *msg, void *arg)
{
	(void)s;
	struct stream_result *r = arg;
	char expect[16];
	snprintf(expect, sizeof(expect), "%08d", r->messages++);
	assert_int_equal(strncmp(((const Text *)msg)->service, expect, 8), 0);
}

static void s_end(struct grpc_stream *s, int status, const char *message, void *arg)
{
	(void)s;
	(void)message;
	struct stream_result *r = arg;
	r->ended = true;
	r->status = status;
}

static const struct grpc_stream_events STREAM_EVENTS = {.message = s_message, .end = s_end};

static void unary(struct rt_loop *loop, struct grpc_client *client, const char *path, const char *text, uint32_t ms,
		  struct result *r)
{
	struct grpc_client_request q = {.path = path, .output = TEXT_DESC, .deadline_ms = ms};
	Text t = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	t.service = (char *)(uintptr_t)text;
	memset(r, 0, sizeof(*r));
	grpc_client_call(client, &q, &t.base, on_done, r);
	assert_true(rt_loop_run_until(loop, &r->done, WAIT_MS));
}

static void run_stream(struct rt_loop *loop, struct grpc_client *client, const char *path, int n)
{
	struct stream_result r = {0};
	struct grpc_client_request q = {.path = path, .output = TEXT_DESC};
	struct grpc_stream *s = grpc_stream_open(client, &q, &STREAM_EVENTS, &r);
	Text t = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	char text[16];
	t.service = text;
	bool bidi = strcmp(path, "/t.T/Bidi") == 0;
	for (int i = 0; i < (bidi ? n : 1); i++) {
		snprintf(text, sizeof(text), "%08d", bidi ? i : n);
		assert_int_equal(grpc_stream_send(s, &t.base), 0);
	}
	grpc_stream_half_close(s);
	assert_true(rt_loop_run_until(loop, &r.ended, WAIT_MS));
	assert_int_equal(r.status, GRPC_OK);
	assert_int_equal(r.messages, n);
}

static void test_stock_server(void **state)
{
	(void)state;
	struct rt_loop *loop = rt_loop_new();
	const char *argv[] = {PYTHON, SCRIPT, "server", NULL};
	struct child c = spawn(argv);
	char line[64];
	char address[80];
	assert_true(child_line(loop, &c, line, sizeof(line)));
	snprintf(address, sizeof(address), "localhost:%s", line);
	struct grpc_client_config cc = {.address = address};
	struct grpc_client *client = grpc_client_new(loop, &cc);
	struct result r;
	unary(loop, client, "/t.T/Echo", "hello", WAIT_MS, &r);
	assert_int_equal(r.status, GRPC_OK);
	assert_string_equal(r.text, "hello");
	unary(loop, client, "/t.T/Fail", "", WAIT_MS, &r);
	assert_int_equal(r.status, GRPC_FAILED_PRECONDITION);
	assert_string_equal(r.message, "n\xc3\xb6: 50%");
	unary(loop, client, "/t.T/Nope", "", WAIT_MS, &r);
	assert_int_equal(r.status, GRPC_UNIMPLEMENTED);
	unary(loop, client, "/t.T/Slow", "", 100, &r);
	assert_int_equal(r.status, GRPC_DEADLINE_EXCEEDED);
	run_stream(loop, client, "/t.T/Count", 2000);
	run_stream(loop, client, "/t.T/Bidi", 300);
	grpc_client_free(client);
	child_end(&c);
	rt_loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stock_client),
		cmocka_unit_test(test_stock_client_tls),
		cmocka_unit_test(test_stock_server),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
