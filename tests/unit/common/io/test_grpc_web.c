/* gRPC-web over the HTTP server, from a raw browser's view: frames, base64, trailers, streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/base64.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_call.h"
#include "common/io/grpc_web.h"
#include "common/io/http_client.h"
#include "common/io/http_server.h"
#include "common/runtime/loop.h"
#include "proto/grpc/health/v1/health.pb-c.h"

typedef Grpc__Health__V1__HealthCheckRequest Text;
#define TEXT_DESC (&grpc__health__v1__health_check_request__descriptor)
#define WAIT_MS 60000

struct fixture {
	struct rt_loop *loop;
	struct grpc_methods *methods;
	struct http_server *server;
	struct http_client *client;
	char seen[64];
	int cancels;
	int writables;
	/* the answer */
	bool done;
	int err;
	int status;
	char type[64];
	struct lw_buf body;
};

static void m_echo(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct fixture *f = arg;
	const char *auth = grpc_call_metadata(c, "authorization");
	snprintf(f->seen, sizeof(f->seen), "%s %s %d", grpc_call_transport(c), auth ? auth : "-",
		 grpc_call_deadline_ns(c) != INT64_MAX);
	grpc_call_reply(c, req);
}

static void m_fail(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	(void)req;
	(void)arg;
	grpc_call_finish(c, GRPC_PERMISSION_DENIED, "no\xc3\xbc");
}

struct counter {
	struct fixture *f;
	int next;
	int end;
};

static void count_on(struct grpc_call *c)
{
	struct counter *k = grpc_call_user(c);
	static char pad[4097];
	memset(pad, '.', sizeof(pad) - 1);
	Text t = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	t.service = pad;
	k->f->writables++;
	while (k->next < k->end && grpc_call_writable(c)) {
		k->next++;
		assert_int_equal(grpc_call_send(c, &t.base), 0);
	}
	if (k->next == k->end)
		grpc_call_finish(c, GRPC_OK, NULL);
}

static void count_cancel(struct grpc_call *c)
{
	struct counter *k = grpc_call_user(c);
	k->f->cancels++;
	grpc_call_finish(c, GRPC_CANCELLED, NULL);
}

static const struct grpc_call_events COUNT_EVENTS = {.writable = count_on, .cancel = count_cancel};

static void m_count(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct counter *k = lw_arena_calloc(grpc_call_arena(c), 1, sizeof(*k));
	k->f = arg;
	k->end = atoi(((const Text *)req)->service);
	grpc_call_set_user(c, k);
	grpc_call_set_events(c, &COUNT_EVENTS);
	count_on(c);
}

static void on_request(struct http_request *r, void *arg)
{
	struct fixture *f = arg;
	if (!grpc_web_serve(f->methods, r))
		http_respond_text(r, 404, "not gRPC-web");
}

static int setup(void **state)
{
	struct fixture *f = lw_xcalloc(1, sizeof(*f));
	f->loop = rt_loop_new();
	f->methods = grpc_methods_new();
	const struct grpc_method rows[] = {{"/t.T/Echo", TEXT_DESC, TEXT_DESC, false, false, m_echo, f},
					   {"/t.T/Fail", TEXT_DESC, TEXT_DESC, false, false, m_fail, f},
					   {"/t.T/Count", TEXT_DESC, TEXT_DESC, false, true, m_count, f}};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		grpc_methods_add(f->methods, &rows[i]);
	struct http_server_config sc = {
		.bind = "127.0.0.1:0", .fn = on_request, .arg = f, .max_body = 8u << 20, .stream_limit = 1u << 20};
	assert_int_equal(http_server_new(f->loop, &sc, &f->server, NULL), 0);
	f->client = http_client_new(f->loop, NULL);
	lw_buf_init(&f->body, 64u << 20);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	http_client_free(f->client);
	http_server_free(f->server);
	grpc_methods_free(f->methods);
	rt_loop_free(f->loop);
	lw_buf_deinit(&f->body);
	free(f);
	return 0;
}

static void on_response(void *arg, const struct http_client_response *resp)
{
	struct fixture *f = arg;
	f->done = true;
	f->err = resp->err;
	f->status = resp->status;
	snprintf(f->type, sizeof(f->type), "%s", resp->content_type);
	lw_buf_reset(&f->body);
	lw_buf_append_span(&f->body, resp->body);
}

static uint64_t post(struct fixture *f, const char *path, const char *type, struct lw_span body, uint32_t timeout_ms)
{
	char url[128];
	static const char *const HEADERS[] = {"Authorization: Bearer w", "grpc-timeout: 50S", "X-Grpc-Web: 1"};
	snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", http_server_port(f->server), path);
	struct http_client_request q = {.url = url,
					.method = "POST",
					.body = body,
					.content_type = type,
					.headers = HEADERS,
					.n_headers = 3,
					.timeout_ms = timeout_ms,
					.max_response = 32u << 20};
	f->done = false;
	return http_client_send(f->client, &q, on_response, f);
}

static void exchange(struct fixture *f, const char *path, const char *type, struct lw_span body)
{
	post(f, path, type, body, WAIT_MS);
	assert_true(rt_loop_run_until(f->loop, &f->done, WAIT_MS));
	assert_int_equal(f->err, 0);
}

#define BINARY "application/grpc-web+proto"
#define TEXT "application/grpc-web-text"
static const uint8_t HI[] = {0, 0, 0, 0, 4, 0x0a, 2, 'h', 'i'};

static void test_binary(void **state)
{
	struct fixture *f = *state;
	exchange(f, "/t.T/Echo", BINARY, lw_span(HI, sizeof(HI)));
	assert_int_equal(f->status, 200);
	assert_string_equal(f->type, BINARY);
	assert_string_equal(f->seen, "grpc-web Bearer w 1");
	static const char TRAILERS[] = "grpc-status:0\r\n";
	assert_int_equal(f->body.n, sizeof(HI) + 5 + sizeof(TRAILERS) - 1);
	assert_memory_equal(f->body.p, HI, sizeof(HI));
	assert_int_equal(f->body.p[sizeof(HI)], 0x80);
	assert_int_equal(lw_get_be32(f->body.p + sizeof(HI) + 1), sizeof(TRAILERS) - 1);
	assert_memory_equal(f->body.p + sizeof(HI) + 5, TRAILERS, sizeof(TRAILERS) - 1);
}

static void test_errors(void **state)
{
	struct fixture *f = *state;
	exchange(f, "/t.T/Fail", BINARY, lw_span(HI, sizeof(HI)));
	assert_int_equal(f->status, 200);
	assert_int_equal(f->body.p[0], 0x80);
	assert_string_equal((char *)f->body.p + 5, "grpc-status:7\r\ngrpc-message:no%C3%BC\r\n");
	exchange(f, "/t.T/None", "application/grpc-web", lw_span(HI, sizeof(HI)));
	assert_non_null(strstr((char *)f->body.p + 5, "grpc-status:12\r\n"));
	exchange(f, "/t.T/Echo", BINARY, lw_span(HI, 4));
	assert_non_null(strstr((char *)f->body.p + 5, "grpc-status:13\r\n"));
	exchange(f, "/t.T/Echo", BINARY, lw_span("\1\0\0\0\0", 5));
	assert_non_null(strstr((char *)f->body.p + 5, "grpc-status:12\r\n"));
	exchange(f, "/t.T/Echo", BINARY, lw_span("\0\377\377\377\377", 5));
	assert_non_null(strstr((char *)f->body.p + 5, "grpc-status:8\r\n"));
	exchange(f, "/t.T/Echo", "application/json", lw_span("{}", 2));
	assert_int_equal(f->status, 404);
	exchange(f, "/t.T/Echo", "application/grpc-webfoo", lw_span("{}", 2));
	assert_int_equal(f->status, 404);
}

static void test_text(void **state)
{
	struct fixture *f = *state;
	char body[64];
	/* In two padded pieces, as a browser that flushes does. */
	size_t n = lw_base64_encode(HI, 4, body);
	n += lw_base64_encode(HI + 4, sizeof(HI) - 4, body + n);
	exchange(f, "/t.T/Echo", TEXT, lw_span(body, n));
	assert_string_equal(f->type, "application/grpc-web-text+proto");
	uint8_t out[64];
	int got = lw_base64_decode((char *)f->body.p, f->body.n, out, sizeof(out));
	assert_true(got > 0);
	assert_memory_equal(out, HI, sizeof(HI));
	assert_memory_equal(out + sizeof(HI) + 5, "grpc-status:0", 13);
	exchange(f, "/t.T/Echo", TEXT, lw_span("!!!!", 4));
	got = lw_base64_decode((char *)f->body.p, f->body.n, out, sizeof(out));
	assert_true(got > 5);
	assert_memory_equal(out + 5, "grpc-status:13", 14);
}

/* 8 MB through a stream that would be dropped at 1 MB: the producer is held back. */
static void test_stream(void **state)
{
	struct fixture *f = *state;
	static const uint8_t ASK[] = {0, 0, 0, 0, 6, 0x0a, 4, '2', '0', '0', '0'};
	exchange(f, "/t.T/Count", BINARY, lw_span(ASK, sizeof(ASK)));
	size_t at = 0;
	int messages = 0;
	while (at + 5 <= f->body.n && f->body.p[at] == 0) {
		assert_int_equal(lw_get_be32(f->body.p + at + 1), 4099);
		at += 5 + 4099;
		messages++;
	}
	assert_int_equal(messages, 2000);
	assert_int_equal(f->body.p[at], 0x80);
	assert_string_equal((char *)f->body.p + at + 5, "grpc-status:0\r\n");
	assert_true(f->writables > 1);
}

static void test_gone(void **state)
{
	struct fixture *f = *state;
	static const uint8_t ASK[] = {0, 0, 0, 0, 10, 0x0a, 8, '9', '9', '9', '9', '9', '9', '9', '9'};
	uint64_t id = post(f, "/t.T/Count", BINARY, lw_span(ASK, sizeof(ASK)), WAIT_MS);
	bool never = false;
	for (int i = 0; i < 5000 && !f->writables; i++)
		rt_loop_run_until(f->loop, &never, 2);
	http_client_cancel(f->client, id);
	for (int i = 0; i < 5000 && !f->cancels; i++)
		rt_loop_run_until(f->loop, &never, 2);
	assert_int_equal(f->cancels, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_binary, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_text, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
