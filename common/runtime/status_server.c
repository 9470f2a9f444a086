#include "common/runtime/status_server.h"

#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "common/base/list.h"
#include "common/base/xmalloc.h"

#define MAX_CLIENTS 64
#define MAX_REQUEST 4096
#define IDLE_MS 5000
#define MAX_BODY (8u * 1024u * 1024u)

struct rt_status_server {
	uv_tcp_t tcp;
	struct rt_loop *loop;
	rt_status_fn *fn;
	void *arg;
	unsigned port;
	struct lw_list clients;
	size_t n_clients;
	bool closing;
	bool tcp_closed;
};

struct client {
	uv_tcp_t tcp;
	struct lw_list link;
	struct rt_status_server *server;
	struct rt_timer idle;
	uv_write_t write;
	struct lw_buf out;
	char in[MAX_REQUEST];
	size_t n;
	bool answered;
};

static void maybe_free(struct rt_status_server *s)
{
	if (s->closing && s->tcp_closed && s->n_clients == 0)
		free(s);
}

static void on_client_closed(uv_handle_t *h)
{
	struct client *c = h->data;
	struct rt_status_server *s = c->server;
	lw_list_remove(&c->link);
	s->n_clients--;
	lw_buf_deinit(&c->out);
	free(c);
	maybe_free(s);
}

static void client_close(struct client *c)
{
	rt_timer_stop(&c->idle);
	if (!uv_is_closing((uv_handle_t *)&c->tcp))
		uv_close((uv_handle_t *)&c->tcp, on_client_closed);
}

static void on_idle(struct rt_timer *t, void *arg)
{
	(void)t;
	client_close(arg);
}

static void on_written(uv_write_t *w, int status)
{
	(void)status;
	client_close(w->data);
}

static const char *reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 503:
		return "Service Unavailable";
	}
	return "Error";
}

static void answer(struct client *c, int status, const char *path)
{
	struct rt_status_answer a = {.status = status, .type = "text/plain; charset=utf-8"};
	lw_buf_init(&a.body, MAX_BODY);
	if (path) {
		a.status = 404;
		c->server->fn(c->server->arg, path, &a);
	}
	if (a.body.n == 0)
		lw_buf_printf(&a.body, "%s\n", reason(a.status));
	lw_buf_printf(&c->out,
		      "HTTP/1.0 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
		      "Connection: close\r\n\r\n",
		      a.status, reason(a.status), a.type, a.body.n);
	lw_buf_append_span(&c->out, lw_buf_span(&a.body));
	lw_buf_deinit(&a.body);
	c->answered = true;
	uv_read_stop((uv_stream_t *)&c->tcp);
	uv_buf_t b = uv_buf_init((char *)c->out.p, (unsigned)c->out.n);
	c->write.data = c;
	if (uv_write(&c->write, (uv_stream_t *)&c->tcp, &b, 1, on_written) != 0)
		client_close(c);
}

/* The request line is enough; headers are read to their end and ignored. */
static void try_request(struct client *c)
{
	c->in[c->n] = 0;
	if (!strstr(c->in, "\r\n\r\n") && !strstr(c->in, "\n\n")) {
		if (c->n == sizeof(c->in) - 1)
			answer(c, 400, NULL);
		return;
	}
	char *method = c->in;
	char *path = strchr(method, ' ');
	if (!path) {
		answer(c, 400, NULL);
		return;
	}
	*path++ = 0;
	path[strcspn(path, " ?\r\n")] = 0;
	if (strcmp(method, "GET") != 0)
		answer(c, 405, NULL);
	else
		answer(c, 200, path);
}

static void on_alloc(uv_handle_t *h, size_t want, uv_buf_t *b)
{
	(void)want;
	struct client *c = h->data;
	*b = uv_buf_init(c->in + c->n, (unsigned)(sizeof(c->in) - 1 - c->n));
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
	(void)b;
	struct client *c = h->data;
	if (n < 0) {
		client_close(c);
		return;
	}
	c->n += (size_t)n;
	if (n > 0 && !c->answered)
		try_request(c);
}

static void on_connection(uv_stream_t *h, int status)
{
	struct rt_status_server *s = h->data;
	if (status < 0)
		return;
	struct client *c = lw_xcalloc(1, sizeof(*c));
	c->server = s;
	lw_buf_init(&c->out, MAX_BODY + 1024);
	uv_tcp_init(h->loop, &c->tcp);
	c->tcp.data = c;
	lw_list_push_back(&s->clients, &c->link);
	s->n_clients++;
	rt_timer_init(&c->idle, s->loop, "status.idle", on_idle, c);
	if (uv_accept(h, (uv_stream_t *)&c->tcp) != 0 || s->n_clients > MAX_CLIENTS) {
		client_close(c);
		return;
	}
	rt_timer_start(&c->idle, IDLE_MS);
	uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
}

int rt_bind_parse(const char *text, char *host, size_t cap, unsigned *port)
{
	const char *colon = strrchr(text, ':');
	if (!colon || !isdigit((unsigned char)colon[1]))
		return LW_EINVAL;
	char *end;
	unsigned long p = strtoul(colon + 1, &end, 10);
	if (*end || p > 65535 || end - colon > 6)
		return LW_EINVAL;
	size_t n = (size_t)(colon - text);
	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	} else if (memchr(text, ':', n)) {
		return LW_EINVAL;
	}
	if (n >= cap)
		return LW_EINVAL;
	memcpy(host, text, n);
	host[n] = 0;
	*port = (unsigned)p;
	return 0;
}

static int listen_on(struct rt_status_server *s, const char *host, unsigned port)
{
	struct sockaddr_storage a = {0};
	const char *at = *host ? host : "0.0.0.0";
	int rc = uv_ip4_addr(strcmp(at, "localhost") == 0 ? "127.0.0.1" : at, (int)port, (struct sockaddr_in *)&a);
	if (rc < 0)
		rc = uv_ip6_addr(at, (int)port, (struct sockaddr_in6 *)&a);
	if (rc == 0)
		rc = uv_tcp_bind(&s->tcp, (const struct sockaddr *)&a, 0);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&s->tcp, 32, on_connection);
	int len = sizeof(a);
	if (rc == 0)
		rc = uv_tcp_getsockname(&s->tcp, (struct sockaddr *)&a, &len);
	if (rc == 0)
		s->port = ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
							: ((struct sockaddr_in *)&a)->sin_port);
	return rc;
}

static void on_server_closed(uv_handle_t *h)
{
	struct rt_status_server *s = h->data;
	s->tcp_closed = true;
	maybe_free(s);
}

int rt_status_server_new(struct rt_status_server **out, struct rt_loop *loop, const char *bind, rt_status_fn *fn,
			 void *arg, struct lw_diag *diag)
{
	char host[64];
	unsigned port;
	*out = NULL;
	if (rt_bind_parse(bind, host, sizeof(host), &port) < 0) {
		lw_diag_set(diag, "\"%s\" is not address:port", bind);
		return LW_EINVAL;
	}
	struct rt_status_server *s = lw_xcalloc(1, sizeof(*s));
	s->loop = loop;
	s->fn = fn;
	s->arg = arg;
	lw_list_init(&s->clients);
	uv_tcp_init(rt_loop_uv(loop), &s->tcp);
	s->tcp.data = s;
	int rc = listen_on(s, host, port);
	if (rc < 0) {
		lw_diag_set(diag, "cannot listen on %s: %s", bind, uv_strerror(rc));
		rt_status_server_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

unsigned rt_status_server_port(const struct rt_status_server *s)
{
	return s->port;
}

void rt_status_server_free(struct rt_status_server *s)
{
	if (!s)
		return;
	s->closing = true;
	LW_LIST_FOREACH (n, tmp, &s->clients)
		client_close(LW_CONTAINER_OF(n, struct client, link));
	uv_close((uv_handle_t *)&s->tcp, on_server_closed);
}
