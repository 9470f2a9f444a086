/* HTTP server against raw sockets and against our HTTP client: keep-alive, late answers, limits, streams, lost clients,
 * static files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/xmalloc.h"
#include "common/io/http_client.h"
#include "common/io/http_server.h"
#include "common/runtime/loop.h"

#define WAIT_MS 60000

struct fixture {
	struct rt_loop *loop;
	struct http_server *server;
	struct http_client *client;
	struct http_static *files;
	char dir[64];
	struct http_request *held;
	int requests;
	int closes;
	int drains;
	char seen[256];
};

/* --- the application --- */

static void on_close(struct http_request *r, void *arg)
{
	struct fixture *f = arg;
	f->closes++;
	assert_true(http_request_closed(r));
}

static void on_drain(struct http_request *r, void *arg)
{
	(void)r;
	((struct fixture *)arg)->drains++;
}

static void note_pair(void *arg, const char *name, const char *value)
{
	struct fixture *f = arg;
	size_t n = strlen(f->seen);
	snprintf(f->seen + n, sizeof(f->seen) - n, "%s=%s;", name, value);
}

static void on_request(struct http_request *r, void *arg)
{
	struct fixture *f = arg;
	const char *path = http_request_path(r);
	f->requests++;
	if (strcmp(path, "/echo") == 0) {
		struct lw_span b = http_request_body(r);
		struct http_header h = {"X-Method", http_request_method(r)};
		http_respond(r, 200, "application/octet-stream", b.p, b.n, &h, 1);
	} else if (strncmp(path, "/args", 5) == 0) {
		f->seen[0] = 0;
		http_request_each_query(r, note_pair, f);
		const char *a = http_request_query(r, "a");
		const char *h = http_request_header(r, "x-one");
		char text[512];
		snprintf(text, sizeof(text), "%s|%s|%s|%s", path, f->seen, a ? a : "(none)", h ? h : "(none)");
		http_respond_text(r, 200, text);
	} else if (strcmp(path, "/hold") == 0) {
		f->held = r;
		http_request_on_close(r, on_close, f);
	} else if (strcmp(path, "/stream") == 0) {
		struct http_header h = {"Content-Type", "text/event-stream"};
		f->held = r;
		http_request_on_close(r, on_close, f);
		http_stream_on_drain(r, on_drain, f);
		http_stream_begin(r, 200, &h, 1);
	} else {
		http_static_serve(f->files, r, path);
	}
}

static void write_file(const struct fixture *f, const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int setup(void **state)
{
	struct fixture *f = lw_xcalloc(1, sizeof(*f));
	f->loop = rt_loop_new();
	strcpy(f->dir, "/tmp/lw_http_XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	write_file(f, "index.html", "<p>page</p>");
	write_file(f, "plain.txt", "plain");
	write_file(f, "plain.txt.gz", "not really gzip");
	write_file(f, ".secret", "secret");
	char sub[80];
	snprintf(sub, sizeof(sub), "%s/assets", f->dir);
	assert_int_equal(mkdir(sub, 0700), 0);
	write_file(f, "assets/app.js", "let x;");
	write_file(f, "index-B4xY_9aQ.css", "p{}");
	assert_int_equal(http_static_new(f->dir, &f->files), 0);
	struct http_server_config sc = {.bind = "127.0.0.1:0",
					.fn = on_request,
					.arg = f,
					.max_body = 1u << 20,
					.stream_limit = 1u << 20,
					.max_headers = 16u << 10};
	struct lw_diag diag = {""};
	if (http_server_new(f->loop, &sc, &f->server, &diag))
		fail_msg("%s", diag.text);
	f->client = http_client_new(f->loop, NULL);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	http_client_free(f->client);
	http_server_free(f->server);
	http_static_free(f->files);
	rt_loop_free(f->loop);
	static const char *const FILES[] = {"index.html", "plain.txt",     "plain.txt.gz",
					    ".secret",    "assets/app.js", "index-B4xY_9aQ.css"};
	char path[256];
	for (size_t i = 0; i < sizeof(FILES) / sizeof(FILES[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, FILES[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/assets", f->dir);
	rmdir(path);
	rmdir(f->dir);
	free(f);
	return 0;
}

/* --- a raw client --- */

static void turn(struct fixture *f, uint32_t ms)
{
	bool never = false;
	rt_loop_run_until(f->loop, &never, ms);
}

static int raw_open(struct fixture *f)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)http_server_port(f->server))};
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void raw_send(int fd, const char *text)
{
	size_t n = strlen(text);
	assert_int_equal(send(fd, text, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* Reads until the text was seen, or the end when NULL. True when found. */
static bool raw_until(struct fixture *f, int fd, struct lw_buf *got, const char *what)
{
	for (int i = 0; i < WAIT_MS / 2; i++) {
		if (what && got->n && strstr(lw_buf_str(got), what))
			return true;
		char buf[16384];
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		if (n > 0) {
			lw_buf_append(got, buf, (size_t)n);
			i = 0;
		} else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
			return what == NULL;
		} else {
			turn(f, 2);
		}
	}
	return false;
}

static void exchange(struct fixture *f, const char *request, const char *expect)
{
	struct lw_buf got;
	lw_buf_init(&got, 1u << 20);
	int fd = raw_open(f);
	raw_send(fd, request);
	if (!raw_until(f, fd, &got, expect))
		fail_msg("%s\n--- did not give \"%s\" but\n%s", request, expect, lw_buf_str(&got));
	close(fd);
	lw_buf_deinit(&got);
	turn(f, 2);
}

/* --- tests --- */

static void test_keep_alive(void **state)
{
	struct fixture *f = *state;
	struct lw_buf got;
	lw_buf_init(&got, 1u << 20);
	int fd = raw_open(f);
	for (int i = 0; i < 3; i++) {
		lw_buf_reset(&got);
		raw_send(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
		assert_true(raw_until(f, fd, &got, "\r\n\r\nhello"));
		assert_non_null(strstr(lw_buf_str(&got), "HTTP/1.1 200"));
		assert_non_null(strstr(lw_buf_str(&got), "X-Method: POST"));
	}
	/* Pipelined: both are answered, in order. */
	lw_buf_reset(&got);
	raw_send(fd,
		 "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\noneGET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_true(raw_until(f, fd, &got, "X-Method: GET"));
	assert_non_null(strstr(lw_buf_str(&got), "\r\n\r\none"));
	assert_int_equal(http_server_connections(f->server), 1);
	assert_int_equal(f->requests, 5);
	close(fd);
	lw_buf_deinit(&got);
}

static void test_query_and_headers(void **state)
{
	struct fixture *f = *state;
	exchange(f, "GET /args%20x?a=1%2B1&b&a=2 HTTP/1.1\r\nHost: x\r\nX-One: yes\r\n\r\n",
		 "/args x|a=1+1;b=;a=2;|1+1|yes");
	exchange(f, "GET /args HTTP/1.1\r\nHost: x\r\n\r\n", "/args||(none)|(none)");
}

static void test_late_answer(void **state)
{
	struct fixture *f = *state;
	struct lw_buf got;
	lw_buf_init(&got, 1u << 20);
	int fd = raw_open(f);
	for (int i = 0; i < 2; i++) {
		lw_buf_reset(&got);
		f->held = NULL;
		raw_send(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
		for (int k = 0; k < 1000 && !f->held; k++)
			turn(f, 2);
		assert_non_null(f->held);
		char byte;
		turn(f, 20);
		assert_int_equal(recv(fd, &byte, 1, 0), -1);
		http_respond_text(f->held, 202, "at last");
		assert_true(raw_until(f, fd, &got, "at last"));
		assert_non_null(strstr(lw_buf_str(&got), "HTTP/1.1 202"));
	}
	assert_int_equal(f->closes, 0);
	close(fd);
	lw_buf_deinit(&got);
}

/* The client goes while its answer is being made. */
static void test_client_gone(void **state)
{
	struct fixture *f = *state;
	int fd = raw_open(f);
	raw_send(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
	for (int k = 0; k < 1000 && !f->held; k++)
		turn(f, 2);
	close(fd);
	for (int k = 0; k < 1000 && !f->closes; k++)
		turn(f, 2);
	assert_int_equal(f->closes, 1);
	http_respond_text(f->held, 200, "for nobody");
	for (int k = 0; k < 1000 && http_server_connections(f->server); k++)
		turn(f, 2);
	assert_int_equal(http_server_connections(f->server), 0);
	assert_int_equal(f->closes, 1);
}

static void test_limits(void **state)
{
	struct fixture *f = *state;
	exchange(f, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n", "HTTP/1.1 413");
	exchange(f, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", "HTTP/1.1 4");
	exchange(f, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 400");
	exchange(f, "GET /echo HTTP/1.1\r\n\r\n", "HTTP/1.1 400");
	assert_int_equal(f->requests, 0);
	/* Headers larger than allowed. */
	char *big = lw_xmalloc(40001);
	memset(big, 'a', 40000);
	big[40000] = 0;
	char *req = lw_xmalloc(41000);
	snprintf(req, 41000, "GET /echo HTTP/1.1\r\nHost: x\r\nX-Big: %s\r\n\r\n", big);
	exchange(f, req, "HTTP/1.1 4");
	assert_int_equal(f->requests, 0);
	/* A chunked body larger than allowed: refused at its end. */
	struct lw_buf got;
	lw_buf_init(&got, 1u << 20);
	int fd = raw_open(f);
	raw_send(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 40; i++) {
		raw_send(fd, "8000\r\n");
		big[0x8000] = 0;
		raw_send(fd, big);
		raw_send(fd, "\r\n");
		turn(f, 2);
	}
	raw_send(fd, "0\r\n\r\n");
	assert_true(raw_until(f, fd, &got, "HTTP/1.1 413"));
	assert_int_equal(f->requests, 0);
	close(fd);
	lw_buf_deinit(&got);
	free(big);
	free(req);
}

static void wait_held(struct fixture *f)
{
	for (int k = 0; k < 1000 && !f->held; k++)
		turn(f, 2);
	assert_non_null(f->held);
}

static void test_stream(void **state)
{
	struct fixture *f = *state;
	struct lw_buf got;
	lw_buf_init(&got, 1u << 20);
	int fd = raw_open(f);
	raw_send(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_held(f);
	assert_true(raw_until(f, fd, &got, "text/event-stream"));
	for (int i = 0; i < 5; i++) {
		char event[32];
		int n = snprintf(event, sizeof(event), "data: event %d\n\n", i);
		assert_int_equal(http_stream_write(f->held, event, (size_t)n), 0);
		event[n - 2] = 0;
		assert_true(raw_until(f, fd, &got, event));
	}
	assert_int_equal(http_stream_queued(f->held), 0);
	for (int k = 0; k < 100 && !f->drains; k++)
		turn(f, 2);
	assert_true(f->drains > 0);
	http_stream_end(f->held);
	assert_true(raw_until(f, fd, &got, "\r\n0\r\n\r\n"));
	/* The connection goes on. */
	raw_send(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_true(raw_until(f, fd, &got, "X-Method: GET"));
	assert_int_equal(f->closes, 0);
	close(fd);
	lw_buf_deinit(&got);
}

static void test_stream_gone(void **state)
{
	struct fixture *f = *state;
	struct lw_buf got;
	lw_buf_init(&got, 1u << 20);
	int fd = raw_open(f);
	raw_send(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_held(f);
	assert_true(raw_until(f, fd, &got, "text/event-stream"));
	close(fd);
	/* Noticed without a write. */
	for (int k = 0; k < 1000 && !f->closes; k++)
		turn(f, 2);
	assert_int_equal(f->closes, 1);
	assert_int_equal(http_stream_write(f->held, "x", 1), LW_ECLOSED);
	http_stream_end(f->held);
	for (int k = 0; k < 1000 && http_server_connections(f->server); k++)
		turn(f, 2);
	assert_int_equal(http_server_connections(f->server), 0);
	lw_buf_deinit(&got);
}

/* A browser that does not read is dropped at the limit. */
static void test_stream_slow(void **state)
{
	struct fixture *f = *state;
	int fd = raw_open(f);
	raw_send(fd, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_held(f);
	char *block = lw_xcalloc(1, 65536);
	int rc = 0;
	for (int i = 0; i < 2000 && rc == 0; i++) {
		rc = http_stream_write(f->held, block, 65536);
		assert_true(http_stream_queued(f->held) <= (1u << 20) + 65536);
		if (i % 4 == 0)
			turn(f, 1);
	}
	assert_int_equal(rc, LW_EFULL);
	for (int k = 0; k < 1000 && !f->closes; k++)
		turn(f, 2);
	assert_int_equal(f->closes, 1);
	http_stream_end(f->held);
	for (int k = 0; k < 1000 && http_server_connections(f->server); k++)
		turn(f, 2);
	assert_int_equal(http_server_connections(f->server), 0);
	close(fd);
	free(block);
}

/* The server goes while a request waits and a stream is open. */
static void test_free_with_open(void **state)
{
	struct fixture *f = *state;
	int fd1 = raw_open(f);
	raw_send(fd1, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_held(f);
	struct http_request *hold = f->held;
	f->held = NULL;
	int fd2 = raw_open(f);
	raw_send(fd2, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_held(f);
	turn(f, 10);
	http_server_free(f->server);
	f->server = NULL;
	assert_int_equal(f->closes, 2);
	assert_string_equal(http_request_path(hold), "/hold");
	assert_null(http_request_header(hold, "Host"));
	http_respond_text(hold, 200, "x");
	http_stream_end(f->held);
	close(fd1);
	close(fd2);
}

static void test_static(void **state)
{
	struct fixture *f = *state;
	exchange(f, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "<p>page</p>");
	exchange(f, "GET /devices/42 HTTP/1.1\r\nHost: x\r\n\r\n", "<p>page</p>");
	exchange(f, "GET /plain.txt HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n\r\nplain");
	exchange(f, "GET /plain.txt HTTP/1.1\r\nHost: x\r\nAccept-Encoding: br, gzip\r\n\r\n", "not really gzip");
	exchange(f, "GET /plain.txt HTTP/1.1\r\nHost: x\r\nAccept-Encoding: br, gzip\r\n\r\n",
		 "Content-Encoding: gzip");
	exchange(f, "GET /plain.txt HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip;q=0\r\n\r\n", "\r\n\r\nplain");
	exchange(f, "GET /assets/app.js HTTP/1.1\r\nHost: x\r\n\r\n", "immutable");
	exchange(f, "GET /index-B4xY_9aQ.css HTTP/1.1\r\nHost: x\r\n\r\n", "immutable");
	exchange(f, "GET /index.html HTTP/1.1\r\nHost: x\r\n\r\n", "no-cache");
	exchange(f, "GET /none.js HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404");
	exchange(f, "GET /assets HTTP/1.1\r\nHost: x\r\n\r\n", "<p>page</p>");
	exchange(f, "HEAD /plain.txt HTTP/1.1\r\nHost: x\r\n\r\n", "Content-Length: 5");
	exchange(f, "POST /plain.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 405");
	/* Outside, or hidden. */
	static const char *const BAD[] = {"/../passwd.txt",
					  "/%2e%2e/passwd.txt",
					  "/assets/../../../../../../etc/passwd",
					  "/assets/..%2f..%2f..%2f..%2fetc%2fpasswd",
					  "//etc/hosts.conf",
					  "/.secret",
					  "/assets/.%2e/.secret",
					  "/assets//app.js",
					  "/..%5c..%5cx.txt",
					  "/plain.txt%00.js/../x.y"};
	for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]) - 1; i++) {
		char req[256];
		snprintf(req, sizeof(req), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", BAD[i]);
		exchange(f, req, "HTTP/1.1 404");
	}
}

static void test_etag(void **state)
{
	struct fixture *f = *state;
	struct lw_buf got;
	lw_buf_init(&got, 1u << 20);
	int fd = raw_open(f);
	raw_send(fd, "GET /plain.txt HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_true(raw_until(f, fd, &got, "\r\n\r\nplain"));
	char etag[80] = "";
	assert_int_equal(sscanf(strstr(lw_buf_str(&got), "ETag: "), "ETag: %79s", etag), 1);
	char req[256];
	snprintf(req, sizeof(req), "GET /plain.txt HTTP/1.1\r\nHost: x\r\nIf-None-Match: %s\r\n\r\n", etag);
	lw_buf_reset(&got);
	raw_send(fd, req);
	assert_true(raw_until(f, fd, &got, "HTTP/1.1 304"));
	lw_buf_reset(&got);
	raw_send(fd, "GET /plain.txt HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"other\"\r\n\r\n");
	assert_true(raw_until(f, fd, &got, "HTTP/1.1 200"));
	close(fd);
	lw_buf_deinit(&got);
}

static void test_drain(void **state)
{
	struct fixture *f = *state;
	struct lw_buf got;
	lw_buf_init(&got, 1u << 20);
	int fd = raw_open(f);
	raw_send(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_held(f);
	http_server_drain(f->server);
	http_respond_text(f->held, 200, "bye");
	assert_true(raw_until(f, fd, &got, NULL));
	assert_non_null(strstr(lw_buf_str(&got), "Connection: close"));
	assert_non_null(strstr(lw_buf_str(&got), "bye"));
	assert_int_equal(http_server_connections(f->server), 0);
	close(fd);
	lw_buf_deinit(&got);
}

/* --- our client --- */

struct result {
	bool done;
	int *left;
	int err;
	int status;
	char body[64];
	size_t body_n;
	char type[64];
};

static void on_response(void *arg, const struct http_client_response *resp)
{
	struct result *r = arg;
	r->err = resp->err;
	r->status = resp->status;
	r->body_n = resp->body.n;
	snprintf(r->body, sizeof(r->body), "%.*s", (int)(resp->body.n < 60 ? resp->body.n : 60),
		 resp->body.n ? (const char *)resp->body.p : "");
	snprintf(r->type, sizeof(r->type), "%s", resp->content_type);
	assert_int_equal(resp->err != 0, resp->error[0] != 0);
	r->done = !r->left || --*r->left == 0;
}

static uint64_t client_get(struct fixture *f, const char *path, uint32_t timeout_ms, struct result *r)
{
	char url[128];
	snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", http_server_port(f->server), path);
	struct http_client_request q = {.url = url, .timeout_ms = timeout_ms};
	return http_client_send(f->client, &q, on_response, r);
}

static void test_client(void **state)
{
	struct fixture *f = *state;
	struct result r = {0};
	char url[128];
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/echo", http_server_port(f->server));
	struct http_client_request q = {.url = url, .body = lw_span_str("ping"), .content_type = "text/plain"};
	http_client_send(f->client, &q, on_response, &r);
	assert_false(r.done);
	assert_true(rt_loop_run_until(f->loop, &r.done, WAIT_MS));
	assert_int_equal(r.err, 0);
	assert_int_equal(r.status, 200);
	assert_string_equal(r.body, "ping");
	assert_string_equal(r.type, "application/octet-stream");

	struct result n = {0};
	client_get(f, "/none.js", 0, &n);
	assert_true(rt_loop_run_until(f->loop, &n.done, WAIT_MS));
	assert_int_equal(n.err, 0);
	assert_int_equal(n.status, 404);

	struct result bad = {0};
	struct http_client_request b = {.url = "ftp://127.0.0.1/x"};
	http_client_send(f->client, &b, on_response, &bad);
	assert_true(rt_loop_run_until(f->loop, &bad.done, WAIT_MS));
	assert_int_equal(bad.err, LW_EINVAL);
	/* Header injection is refused. */
	static const char *const EVIL[] = {"X: a\r\nY: b"};
	struct http_client_request e = {.url = url, .headers = EVIL, .n_headers = 1};
	struct result evil = {0};
	http_client_send(f->client, &e, on_response, &evil);
	assert_true(rt_loop_run_until(f->loop, &evil.done, WAIT_MS));
	assert_int_equal(evil.err, LW_EINVAL);
	/* Bounded answer. */
	struct result big = {0};
	struct http_client_request l = {.url = url, .body = lw_span_str("0123456789"), .max_response = 5};
	http_client_send(f->client, &l, on_response, &big);
	assert_true(rt_loop_run_until(f->loop, &big.done, WAIT_MS));
	assert_int_equal(big.err, LW_EBIG);
}

static void test_client_timeout_cancel(void **state)
{
	struct fixture *f = *state;
	struct result r;
	/* On a busy machine the time may be over before the request has left. */
	for (uint32_t ms = 50; !f->held && ms < WAIT_MS; ms *= 2) {
		r = (struct result){0};
		client_get(f, "/hold", ms, &r);
		assert_true(rt_loop_run_until(f->loop, &r.done, WAIT_MS));
		assert_int_equal(r.err, LW_ETIMEDOUT);
		assert_int_equal(r.status, 0);
		for (int k = 0; k < 20; k++)
			rt_loop_turn(f->loop);
	}
	assert_non_null(f->held);
	for (int k = 0; k < 1000 && !f->closes; k++)
		turn(f, 2);
	http_respond_text(f->held, 200, "late");
	f->held = NULL;

	struct result c = {0};
	uint64_t id = client_get(f, "/hold", 0, &c);
	wait_held(f);
	http_client_cancel(f->client, id);
	http_client_cancel(f->client, id);
	for (int k = 0; k < 1000 && f->closes < 2; k++)
		turn(f, 2);
	assert_false(c.done);
	http_respond_text(f->held, 200, "late");
	assert_int_equal(http_client_pending(f->client), 0);

	/* Nobody listens. */
	struct result u = {0};
	struct http_client_request q = {.url = "http://127.0.0.1:1/"};
	http_client_send(f->client, &q, on_response, &u);
	assert_true(rt_loop_run_until(f->loop, &u.done, WAIT_MS));
	assert_int_equal(u.err, LW_EUNAVAILABLE);
}

/* A join server's load in small: many short posts over a few kept connections. */
static void test_client_many(void **state)
{
	struct fixture *f = *state;
	enum { N = 2000 };
	struct result *r = lw_xcalloc(N, sizeof(*r));
	int left = N;
	char url[128];
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/echo", http_server_port(f->server));
	for (int i = 0; i < N; i++) {
		char body[32];
		snprintf(body, sizeof(body), "body %d", i);
		r[i].left = &left;
		struct http_client_request q = {.url = url, .body = lw_span_str(body), .timeout_ms = 120000};
		http_client_send(f->client, &q, on_response, &r[i]);
	}
	for (int i = 0; i < WAIT_MS && left; i++)
		turn(f, 2);
	assert_int_equal(left, 0);
	for (int i = 0; i < N; i++) {
		char body[32];
		snprintf(body, sizeof(body), "body %d", i);
		assert_int_equal(r[i].err, 0);
		assert_string_equal(r[i].body, body);
	}
	assert_true(http_server_connections(f->server) <= 16);
	free(r);
}

static void free_in_callback(void *arg, const struct http_client_response *resp)
{
	(void)resp;
	struct fixture *f = arg;
	http_client_free(f->client);
	f->client = NULL;
}

static void test_client_free(void **state)
{
	struct fixture *f = *state;
	struct result h = {0};
	client_get(f, "/hold", 0, &h);
	wait_held(f);
	char url[128];
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/echo", http_server_port(f->server));
	struct http_client_request q = {.url = url};
	http_client_send(f->client, &q, free_in_callback, f);
	assert_true(rt_loop_run_until(f->loop, &h.done, WAIT_MS));
	assert_int_equal(h.err, LW_ECANCELLED);
	http_respond_text(f->held, 200, "late");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_keep_alive, setup, teardown),
		cmocka_unit_test_setup_teardown(test_query_and_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_late_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream_slow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_free_with_open, setup, teardown),
		cmocka_unit_test_setup_teardown(test_static, setup, teardown),
		cmocka_unit_test_setup_teardown(test_etag, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_timeout_cancel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_free, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
