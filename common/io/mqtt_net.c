/* The connection under the MQTT client: name, TCP, TLS. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/io/mqtt_internal.h"
#include "common/io/net_addr.h"

/* For one of several addresses, and for all that comes after the last. */
#define ADDRESS_MS 4000
#define READ_BYTES ((size_t)64 * 1024)
#define WIRE_MAX ((size_t)64 * 1024 * 1024)
/* Plain text given to TLS at a time. */
#define TLS_PIECE ((size_t)256 * 1024)

struct mqtt_resolve {
	uv_getaddrinfo_t req;
	struct mqtt *owner; /* NULL: nobody waits any more */
};

static void try_next(struct mqtt *m, int err);

static void on_socket(struct rt_watch *w, unsigned events, void *arg)
{
	(void)w;
	struct mqtt *m = arg;
	struct mqtt_net *n = &m->net;
	if (n->connected) {
		mqtt_net_event(m, events);
		return;
	}
	int err = 0;
	socklen_t len = sizeof(err);
	getsockopt(n->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err) {
		try_next(m, err);
		return;
	}
	if (!(events & RT_WRITE))
		return;
	n->connected = true;
	rt_timer_start(&m->timer, MQTT_HANDSHAKE_MS);
	rt_watch_set(n->watch, RT_READ);
	mqtt_net_ready(m);
}

static void drop_socket(struct mqtt_net *n)
{
	rt_watch_free(n->watch);
	n->watch = NULL;
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
	n->connected = false;
}

/* The next address of the name; after the last one the attempt has failed with `err` (an errno). */
static void try_next(struct mqtt *m, int err)
{
	struct mqtt_net *n = &m->net;
	drop_socket(n);
	while (n->next_addr < n->n_addrs) {
		const struct sockaddr *a = (const struct sockaddr *)&n->addrs[n->next_addr++];
		n->fd = socket(a->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (n->fd >= 0 && (connect(n->fd, a, net_addr_len(a)) == 0 || errno == EINPROGRESS)) {
			/* What is written in one turn goes in one piece; nothing waits for company. */
			setsockopt(n->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
			n->watch = rt_watch_new(m->loop, n->fd, RT_WRITE, "mqtt", on_socket, m);
			BUG_ON(!n->watch);
			if (n->next_addr < n->n_addrs)
				rt_timer_start(&m->timer, ADDRESS_MS);
			else if (n->n_addrs > 1)
				rt_timer_start(&m->timer, MQTT_HANDSHAKE_MS);
			return;
		}
		err = errno;
		drop_socket(n);
	}
	mqtt_net_failed(m, LW_EUNAVAILABLE, strerror(err));
}

bool mqtt_net_next_address(struct mqtt *m)
{
	if (m->net.connected || m->net.fd < 0 || m->net.next_addr == m->net.n_addrs)
		return false;
	try_next(m, ETIMEDOUT);
	return true;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
	struct mqtt_resolve *r = LW_CONTAINER_OF(req, struct mqtt_resolve, req);
	struct mqtt *m = r->owner;
	if (m) {
		struct mqtt_net *n = &m->net;
		n->resolve = NULL;
		for (struct addrinfo *a = list; a && n->n_addrs < MQTT_MAX_ADDRS; a = a->ai_next)
			memcpy(&n->addrs[n->n_addrs++], a->ai_addr, a->ai_addrlen);
		if (status < 0 || n->n_addrs == 0)
			mqtt_net_failed(m, LW_EUNAVAILABLE,
					status < 0 ? uv_strerror(status) : "the name has no address");
		else
			try_next(m, 0);
	}
	uv_freeaddrinfo(list);
	free(r);
}

static int make_context(const struct mqtt *m, struct tls_context **out, struct lw_diag *diag)
{
	const struct mqtt_opts *o = &m->o;
	bool cert = o->cert_file && *o->cert_file;
	return tls_context_new(&(struct tls_config){.ca_file = o->ca_file && *o->ca_file ? o->ca_file : NULL,
						    .cert_file = cert ? o->cert_file : NULL,
						    .key_file = cert ? o->key_file : NULL},
			       out, diag);
}

int mqtt_net_check(const struct mqtt *m, struct lw_diag *diag)
{
	struct tls_context *t = NULL;
	int err = m->server.tls ? make_context(m, &t, diag) : 0;
	tls_context_free(t);
	return err;
}

void mqtt_net_connect(struct mqtt *m)
{
	struct mqtt_net *n = &m->net;
	struct lw_diag diag = {0};
	n->n_addrs = n->next_addr = 0;
	if (m->server.tls) {
		/* Made anew each time: the files may have been. */
		if (make_context(m, &n->tls_context, &diag) < 0) {
			mqtt_net_failed(m, LW_EUNAVAILABLE, diag.text);
			return;
		}
		n->tls = tls_session_new(n->tls_context, m->server.host);
	}
	char text[NET_HOST_LEN + 16], service[8];
	bool v6 = strchr(m->server.host, ':') != NULL;
	snprintf(text, sizeof(text), v6 ? "[%s]:%d" : "%s:%d", m->server.host, m->server.port);
	if (net_addr_parse(text, &n->addrs[0]) == 0) {
		n->n_addrs = 1;
		try_next(m, 0);
		return;
	}
	snprintf(service, sizeof(service), "%d", m->server.port);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
	struct mqtt_resolve *r = lw_xcalloc(1, sizeof(*r));
	r->owner = m;
	if (uv_getaddrinfo(rt_loop_uv(m->loop), &r->req, on_resolved, m->server.host, service, &hints) < 0) {
		free(r);
		mqtt_net_failed(m, LW_EUNAVAILABLE, "the name cannot be looked up");
		return;
	}
	n->resolve = r;
}

void mqtt_net_end(struct mqtt *m)
{
	if (m->net.fd < 0 || !m->net.connected)
		return;
	shutdown(m->net.fd, SHUT_WR);
	for (int i = 0; i < 64 && recv(m->net.fd, NULL, (size_t)1 << 20, MSG_DONTWAIT | MSG_TRUNC) > 0; i++)
		;
}

void mqtt_net_close(struct mqtt *m)
{
	struct mqtt_net *n = &m->net;
	drop_socket(n);
	if (n->resolve)
		n->resolve->owner = NULL;
	n->resolve = NULL;
	tls_session_free(n->tls);
	tls_context_free(n->tls_context);
	n->tls = NULL;
	n->tls_context = NULL;
	lw_buf_deinit(&n->wire);
	lw_buf_init(&n->wire, WIRE_MAX);
	n->wire_at = 0;
}

void mqtt_net_watch(struct mqtt *m, unsigned events)
{
	if (m->net.watch && m->net.connected && rt_watch_events(m->net.watch) != events)
		rt_watch_set(m->net.watch, events);
}

/* --- bytes ------------------------------------------------------------------------------------------------------ */

static void note_error(struct mqtt *m, int err)
{
	mqtt_note_lost(m, LW_ECLOSED, err ? strerror(err) : "the broker closed the connection");
}

/* Sends from *at on; true when all is gone. */
static bool send_buf(struct mqtt *m, struct lw_buf *b, size_t *at)
{
	while (*at < b->n) {
		ssize_t n = send(m->net.fd, b->p + *at, b->n - *at, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN && errno != EWOULDBLOCK)
				note_error(m, errno);
			return false;
		}
		*at += (size_t)n;
	}
	lw_buf_reset(b);
	*at = 0;
	return true;
}

static void read_tls(struct mqtt *m, struct lw_span got)
{
	struct mqtt_net *n = &m->net;
	int rc = tls_session_feed(n->tls, got, &m->in, &n->wire);
	if (n->wire.n > n->wire_at && !send_buf(m, &n->wire, &n->wire_at))
		m->blocked = !m->lost;
	if (rc >= 0)
		return;
	const char *text = tls_session_error(n->tls);
	mqtt_note_lost(m, rc == LW_ECLOSED ? LW_ECLOSED : LW_EUNAVAILABLE,
		       *text ? text : "the broker ended the TLS session");
}

bool mqtt_net_to_send(const struct mqtt *m)
{
	return m->out.n > m->out_at || m->net.wire.n > m->net.wire_at;
}

bool mqtt_net_read(struct mqtt *m)
{
	struct mqtt_net *n = &m->net;
	uint8_t sealed[16384];
	uint8_t *p = n->tls ? sealed : lw_buf_reserve(&m->in, READ_BYTES);
	size_t cap = n->tls ? sizeof(sealed) : READ_BYTES;
	ssize_t got;
	if (!p) {
		mqtt_note_lost(m, LW_EPROTO, "a packet larger than was agreed");
		return false;
	}
	do {
		got = recv(n->fd, p, cap, 0);
	} while (got < 0 && errno == EINTR);
	if (got <= 0) {
		if (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
			note_error(m, got == 0 ? 0 : errno);
		return false;
	}
	if (n->tls)
		read_tls(m, lw_span(sealed, (size_t)got));
	else
		lw_buf_commit(&m->in, (size_t)got);
	return (size_t)got == cap;
}

static void write_tls(struct mqtt *m)
{
	struct mqtt_net *n = &m->net;
	for (;;) {
		if (n->wire.n > n->wire_at && !send_buf(m, &n->wire, &n->wire_at))
			break;
		size_t left = m->out.n - m->out_at;
		if (left == 0 || !tls_session_ready(n->tls))
			break;
		size_t piece = left < TLS_PIECE ? left : TLS_PIECE;
		if (tls_session_write(n->tls, lw_span(m->out.p + m->out_at, piece), &n->wire) < 0) {
			mqtt_note_lost(m, LW_ECLOSED, tls_session_error(n->tls));
			return;
		}
		m->out_at += piece;
		m->n_out += piece;
	}
	m->blocked = n->wire.n > n->wire_at;
	if (m->out_at == m->out.n) {
		lw_buf_reset(&m->out);
		m->out_at = 0;
	}
}

void mqtt_net_write(struct mqtt *m)
{
	if (m->net.tls) {
		if (m->net.wire.n == 0 && !tls_session_ready(m->net.tls))
			read_tls(m, lw_span(NULL, 0)); /* begins the session */
		write_tls(m);
		return;
	}
	size_t before = m->out_at, n = m->out.n;
	bool all = send_buf(m, &m->out, &m->out_at);
	m->n_out += all ? n - before : m->out_at - before;
	m->blocked = !all && !m->lost;
	/* What is left moves down when it is little or much has gone. */
	if (m->out_at > (size_t)1 << 20 && m->out_at > m->out.n / 2) {
		lw_buf_consume(&m->out, m->out_at);
		m->out_at = 0;
	}
}
