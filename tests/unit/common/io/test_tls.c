/* TLS sessions between memory buffers, and gRPC over them: trust, names, client certificates, ALPN, garbage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "common/base/xmalloc.h"
#include "common/io/grpc_client.h"
#include "common/io/grpc_server.h"
#include "common/io/tls.h"
#include "common/runtime/loop.h"
#include "proto/grpc/health/v1/health.pb-c.h"

#define TEXT_DESC (&grpc__health__v1__health_check_request__descriptor)
#define WAIT_MS 20000

struct files {
	char dir[64];
	char cert[96]; /* localhost, 127.0.0.1 */
	char key[96];
	char other_cert[96];
	char other_key[96];
};

static void make_cert(const char *cert, const char *key, const char *cn)
{
	char cmd[640];
	snprintf(cmd, sizeof(cmd),
		 "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=%s "
		 "-addext subjectAltName=DNS:%s,IP:127.0.0.1 -keyout %s -out %s 2>/dev/null",
		 cn, cn, key, cert);
	assert_int_equal(system(cmd), 0);
}

static int setup(void **state)
{
	struct files *f = lw_xcalloc(1, sizeof(*f));
	strcpy(f->dir, "/tmp/lw_tls_XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->cert, sizeof(f->cert), "%s/cert.pem", f->dir);
	snprintf(f->key, sizeof(f->key), "%s/key.pem", f->dir);
	snprintf(f->other_cert, sizeof(f->other_cert), "%s/other.pem", f->dir);
	snprintf(f->other_key, sizeof(f->other_key), "%s/other.key", f->dir);
	make_cert(f->cert, f->key, "localhost");
	make_cert(f->other_cert, f->other_key, "other");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct files *f = *state;
	unlink(f->cert);
	unlink(f->key);
	unlink(f->other_cert);
	unlink(f->other_key);
	rmdir(f->dir);
	free(f);
	return 0;
}

static struct tls_context *context(const struct tls_config *c)
{
	struct tls_context *t;
	struct lw_diag diag = {""};
	if (tls_context_new(c, &t, &diag))
		fail_msg("%s", diag.text);
	return t;
}

struct pipe {
	struct tls_session *client;
	struct tls_session *server;
	struct lw_buf to_server;
	struct lw_buf to_client;
	struct lw_buf client_plain;
	struct lw_buf server_plain;
	int client_rc;
	int server_rc;
};

/* Carries bytes to and fro until nothing moves. */
static void pump(struct pipe *p)
{
	p->client_rc = tls_session_feed(p->client, lw_span(NULL, 0), &p->client_plain, &p->to_server);
	while ((p->to_server.n || p->to_client.n) && !p->client_rc && !p->server_rc) {
		struct lw_buf in = p->to_server;
		lw_buf_init(&p->to_server, 1u << 20);
		if (in.n)
			p->server_rc = tls_session_feed(p->server, lw_buf_span(&in), &p->server_plain, &p->to_client);
		lw_buf_deinit(&in);
		in = p->to_client;
		lw_buf_init(&p->to_client, 1u << 20);
		if (in.n)
			p->client_rc = tls_session_feed(p->client, lw_buf_span(&in), &p->client_plain, &p->to_server);
		lw_buf_deinit(&in);
	}
}

static void pipe_init(struct pipe *p, struct tls_context *client, struct tls_context *server, const char *name)
{
	memset(p, 0, sizeof(*p));
	p->client = tls_session_new(client, name);
	p->server = tls_session_new(server, NULL);
	lw_buf_init(&p->to_server, 1u << 20);
	lw_buf_init(&p->to_client, 1u << 20);
	lw_buf_init(&p->client_plain, 1u << 20);
	lw_buf_init(&p->server_plain, 1u << 20);
}

static void pipe_deinit(struct pipe *p)
{
	tls_session_free(p->client);
	tls_session_free(p->server);
	lw_buf_deinit(&p->to_server);
	lw_buf_deinit(&p->to_client);
	lw_buf_deinit(&p->client_plain);
	lw_buf_deinit(&p->server_plain);
}

static void test_session(void **state)
{
	const struct files *f = *state;
	struct tls_context *server =
		context(&(struct tls_config){.server = true, .cert_file = f->cert, .key_file = f->key, .alpn = "h2"});
	struct tls_context *client = context(&(struct tls_config){.ca_file = f->cert, .alpn = "h2"});
	struct pipe p;
	pipe_init(&p, client, server, "localhost");
	/* Written before the handshake: waits for it. */
	assert_int_equal(tls_session_write(p.client, lw_span_str("early"), &p.to_server), 0);
	pump(&p);
	assert_true(tls_session_ready(p.client) && tls_session_ready(p.server));
	assert_string_equal(lw_buf_str(&p.server_plain), "early");
	assert_string_equal(tls_session_alpn(p.server), "h2");
	assert_string_equal(tls_session_peer_name(p.client), "localhost");
	/* More than one record. */
	char *big = lw_xmalloc(100001);
	memset(big, 'b', 100000);
	big[100000] = 0;
	assert_int_equal(tls_session_write(p.server, lw_span_str(big), &p.to_client), 0);
	assert_true(p.to_client.n > 100000);
	pump(&p);
	assert_string_equal(lw_buf_str(&p.client_plain), big);
	free(big);
	/* Garbage in an open session. */
	lw_buf_reset(&p.to_server);
	assert_int_equal(tls_session_feed(p.server, lw_span_str("garbage garbage"), &p.server_plain, &p.to_client),
			 LW_EPROTO);
	assert_string_not_equal(tls_session_error(p.server), "");
	pipe_deinit(&p);
	tls_context_free(client);
	tls_context_free(server);
}

static void refused(struct tls_context *client, struct tls_context *server, const char *name, bool by_client)
{
	struct pipe p;
	pipe_init(&p, client, server, name);
	pump(&p);
	int rc = by_client ? p.client_rc : p.server_rc;
	assert_true(rc == LW_EAUTH || rc == LW_EPROTO);
	assert_string_not_equal(tls_session_error(by_client ? p.client : p.server), "");
	pipe_deinit(&p);
}

static void test_trust(void **state)
{
	const struct files *f = *state;
	struct tls_context *server =
		context(&(struct tls_config){.server = true, .cert_file = f->cert, .key_file = f->key});
	struct tls_context *good = context(&(struct tls_config){.ca_file = f->cert});
	struct tls_context *stranger = context(&(struct tls_config){.ca_file = f->other_cert});
	struct tls_context *careless = context(&(struct tls_config){.insecure = true});
	refused(stranger, server, "localhost", true);
	refused(good, server, "example.org", true);
	refused(good, server, "127.0.0.2", true);
	struct pipe p;
	pipe_init(&p, good, server, "127.0.0.1");
	pump(&p);
	assert_true(tls_session_ready(p.client));
	pipe_deinit(&p);
	pipe_init(&p, careless, server, "example.org");
	pump(&p);
	assert_true(tls_session_ready(p.client));
	pipe_deinit(&p);
	tls_context_free(good);
	tls_context_free(stranger);
	tls_context_free(careless);
	tls_context_free(server);
}

static void test_client_certificate(void **state)
{
	const struct files *f = *state;
	struct tls_context *server = context(&(struct tls_config){
		.server = true, .cert_file = f->cert, .key_file = f->key, .ca_file = f->other_cert});
	struct tls_context *known =
		context(&(struct tls_config){.ca_file = f->cert, .cert_file = f->other_cert, .key_file = f->other_key});
	struct tls_context *unknown =
		context(&(struct tls_config){.ca_file = f->cert, .cert_file = f->cert, .key_file = f->key});
	struct tls_context *none = context(&(struct tls_config){.ca_file = f->cert});
	struct pipe p;
	pipe_init(&p, known, server, "localhost");
	pump(&p);
	assert_true(tls_session_ready(p.server));
	assert_string_equal(tls_session_peer_name(p.server), "other");
	pipe_deinit(&p);
	refused(unknown, server, "localhost", false);
	refused(none, server, "localhost", false);
	tls_context_free(known);
	tls_context_free(unknown);
	tls_context_free(none);
	tls_context_free(server);
}

static void test_bad_config(void **state)
{
	const struct files *f = *state;
	struct tls_context *t;
	struct lw_diag diag;
	const struct tls_config BAD[] = {
		{.server = true},
		{.server = true, .cert_file = f->cert, .key_file = f->other_key},
		{.server = true, .cert_file = "/nonexistent", .key_file = f->key},
		{.server = true, .cert_file = f->cert, .key_file = f->cert},
		{.ca_file = "/nonexistent"},
	};
	for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
		diag.text[0] = 0;
		assert_int_equal(tls_context_new(&BAD[i], &t, &diag), LW_EINVAL);
		assert_string_not_equal(diag.text, "");
	}
}

/* --- gRPC over TLS --- */

static void m_echo(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	(void)arg;
	grpc_call_reply(c, req);
}

struct result {
	bool done;
	int status;
	char message[256];
	size_t n;
};

static void on_done(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct result *r = arg;
	r->done = true;
	r->status = status;
	snprintf(r->message, sizeof(r->message), "%s", message);
	if (resp)
		r->n = strlen(((const Grpc__Health__V1__HealthCheckRequest *)resp)->service);
}

static void call_over(struct rt_loop *loop, int port, const char *host, struct tls_context *tls, size_t n,
		      struct result *r)
{
	char address[80];
	snprintf(address, sizeof(address), "%s:%d", host, port);
	struct grpc_client_config cc = {.address = address, .tls = tls};
	struct grpc_client *client = grpc_client_new(loop, &cc);
	struct grpc_client_request q = {.path = "/t.T/Echo", .output = TEXT_DESC, .deadline_ms = WAIT_MS};
	Grpc__Health__V1__HealthCheckRequest t = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
	t.service = lw_xcalloc(1, n + 1);
	memset(t.service, 'x', n);
	memset(r, 0, sizeof(*r));
	grpc_client_call(client, &q, &t.base, on_done, r);
	assert_true(rt_loop_run_until(loop, &r->done, WAIT_MS));
	free(t.service);
	grpc_client_free(client);
}

static void test_grpc(void **state)
{
	const struct files *f = *state;
	struct rt_loop *loop = rt_loop_new();
	struct grpc_methods *methods = grpc_methods_new();
	struct grpc_method m = {"/t.T/Echo", TEXT_DESC, TEXT_DESC, false, false, m_echo, NULL};
	grpc_methods_add(methods, &m);
	struct tls_context *st =
		context(&(struct tls_config){.server = true, .cert_file = f->cert, .key_file = f->key, .alpn = "h2"});
	struct tls_context *good = context(&(struct tls_config){.ca_file = f->cert, .alpn = "h2"});
	struct tls_context *stranger = context(&(struct tls_config){.ca_file = f->other_cert, .alpn = "h2"});
	struct grpc_server_config sc = {.bind = "127.0.0.1:0", .methods = methods, .tls = st};
	struct grpc_server *server;
	assert_int_equal(grpc_server_new(loop, &sc, &server, NULL), 0);
	int port = grpc_server_port(server);
	struct result r;
	call_over(loop, port, "localhost", good, 5, &r);
	assert_int_equal(r.status, GRPC_OK);
	assert_int_equal(r.n, 5);
	call_over(loop, port, "127.0.0.1", good, 3u << 20, &r);
	assert_int_equal(r.status, GRPC_OK);
	assert_int_equal(r.n, 3u << 20);
	call_over(loop, port, "localhost", stranger, 5, &r);
	assert_int_equal(r.status, GRPC_UNAVAILABLE);
	assert_non_null(strstr(r.message, "certificate"));
	/* Plain text into a TLS port. */
	call_over(loop, port, "localhost", NULL, 5, &r);
	assert_int_equal(r.status, GRPC_UNAVAILABLE);
	grpc_server_free(server);
	grpc_methods_free(methods);
	tls_context_free(st);
	tls_context_free(good);
	tls_context_free(stranger);
	rt_loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_trust),
		cmocka_unit_test(test_client_certificate),
		cmocka_unit_test(test_bad_config),
		cmocka_unit_test(test_grpc),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
