/* HTTP/2 connection: socket, TLS and session pumped together. */
#include "common/io/grpc_h2.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/bug.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "common/io/tls.h"
#include "common/runtime/loop.h"

/* Above this the session is not asked for more until the socket took it: the frames wait in their streams, where the
 * back-pressure of each call sees them. */
#define OUT_HIGH ((size_t)256 << 10)
#define OUT_MAX ((size_t)64 << 20)
#define PLAIN_IN_MAX ((size_t)1 << 20)

static struct grpc_h2 *h2_new(struct rt_loop *loop, struct lw_list *dirty_list, uint8_t *read_mem,
			      const struct grpc_h2_owner *ops)
{
	struct grpc_h2 *h = lw_xcalloc(1, sizeof(*h));
	h->loop = loop;
	h->ops = ops;
	h->dirty_list = dirty_list;
	h->read_mem = read_mem;
	lw_list_init(&h->dirty);
	lw_buf_init(&h->plain_in, PLAIN_IN_MAX);
	lw_buf_init(&h->plain_out, OUT_MAX);
	lw_buf_init(&h->out, OUT_MAX);
	lw_buf_init(&h->flight, OUT_MAX);
	h->last_rx_ns = rt_loop_mono_ns(loop);
	return h;
}

static void h2_free_if_done(struct grpc_h2 *h)
{
	if (!h->closing || h->in_session || !h->uv_closed)
		return;
	nghttp2_session_del(h->session);
	tls_session_free(h->tls);
	lw_buf_deinit(&h->plain_in);
	lw_buf_deinit(&h->plain_out);
	lw_buf_deinit(&h->out);
	lw_buf_deinit(&h->flight);
	free(h);
}

static void on_uv_closed(uv_handle_t *handle)
{
	struct grpc_h2 *h = handle->data;
	h->uv_closed = true;
	h2_free_if_done(h);
}

void grpc_h2_close(struct grpc_h2 *h)
{
	if (h->closing)
		return;
	h->closing = true;
	h->owner = NULL;
	lw_list_remove(&h->dirty);
	if (h->has_tcp) {
		uv_close((uv_handle_t *)&h->tcp, on_uv_closed);
		return;
	}
	h->uv_closed = true;
	h2_free_if_done(h);
}

static void h2_lost(struct grpc_h2 *h, const char *reason)
{
	if (h->closing)
		return;
	void *owner = h->owner;
	const struct grpc_h2_owner *ops = h->ops;
	char text[160];
	snprintf(text, sizeof(text), "%s", reason);
	grpc_h2_close(h);
	if (owner)
		ops->closed(h, owner, text);
}

/* --- out --- */

void grpc_h2_mark(struct grpc_h2 *h)
{
	if (!h->closing && lw_list_empty(&h->dirty))
		lw_list_push_back(h->dirty_list, &h->dirty);
}

static void on_written(uv_write_t *req, int status)
{
	struct grpc_h2 *h = req->data;
	h->in_flight = false;
	lw_buf_reset(&h->flight);
	if (h->closing)
		return;
	if (status < 0) {
		h2_lost(h, uv_strerror(status));
		return;
	}
	grpc_h2_mark(h);
}

/* Takes frames from the session until the buffer is full. Returns false on a broken session. */
static bool fill_out(struct grpc_h2 *h)
{
	struct lw_buf *to = h->tls ? &h->plain_out : &h->out;
	bool ok = true;
	h->in_session = true;
	while (h->session && !h->closing && to->n < OUT_HIGH && h->out.n < OUT_HIGH) {
		const uint8_t *p;
		ssize_t n = nghttp2_session_mem_send(h->session, &p);
		if (n < 0)
			ok = false;
		if (n <= 0)
			break;
		if (lw_buf_append(to, p, (size_t)n)) {
			ok = false;
			break;
		}
	}
	h->in_session = false;
	if (ok && !h->closing && h->tls && h->plain_out.n) {
		ok = tls_session_write(h->tls, lw_buf_span(&h->plain_out), &h->out) == 0;
		lw_buf_reset(&h->plain_out);
	}
	return ok;
}

/* Writes what the socket takes at once; hands the rest to libuv. 0 or a uv error. */
static int write_out(struct grpc_h2 *h)
{
	if (!h->has_tcp || h->out.n == 0 || h->in_flight)
		return 0;
	uv_buf_t b = uv_buf_init((char *)h->out.p, (unsigned)h->out.n);
	int n = uv_try_write((uv_stream_t *)&h->tcp, &b, 1);
	if (n < 0 && n != UV_EAGAIN)
		return n;
	if (n > 0)
		lw_buf_consume(&h->out, (size_t)n);
	if (h->out.n == 0)
		return 0;
	struct lw_buf swap = h->flight;
	h->flight = h->out;
	h->out = swap;
	h->in_flight = true;
	h->write_req.data = h;
	b = uv_buf_init((char *)h->flight.p, (unsigned)h->flight.n);
	return uv_write(&h->write_req, (uv_stream_t *)&h->tcp, &b, 1, on_written);
}

void grpc_h2_flush(struct grpc_h2 *h)
{
	lw_list_remove(&h->dirty);
	if (h->closing || !h->up || h->in_flight)
		return;
	/* A few rounds: one connection with much to send must not hold the others up. */
	for (unsigned round = 0; round < 4; round++) {
		if (!fill_out(h)) {
			h2_lost(h, "HTTP/2 session failed");
			return;
		}
		if (h->closing) {
			h2_free_if_done(h);
			return;
		}
		if (h->out.n == 0)
			break;
		int rc = write_out(h);
		if (rc < 0) {
			h2_lost(h, uv_strerror(rc));
			return;
		}
		if (h->in_flight || !h->has_tcp)
			break;
	}
	bool more = h->session && nghttp2_session_want_write(h->session);
	if (more && !h->in_flight && h->out.n == 0) {
		grpc_h2_mark(h);
		return;
	}
	if (h->session && !more && !h->in_flight && h->out.n == 0 && !nghttp2_session_want_read(h->session))
		h2_lost(h, "session ended");
}

void grpc_h2_flush_all(struct lw_list *dirty_list)
{
	/* What becomes dirty again meanwhile gets another turn, a bounded number of times. */
	for (unsigned round = 0; round < 64 && !lw_list_empty(dirty_list); round++) {
		struct lw_list now;
		lw_list_init(&now);
		lw_list_splice_back(&now, dirty_list);
		struct lw_list *n;
		while ((n = lw_list_pop_front(&now)))
			grpc_h2_flush(LW_CONTAINER_OF(n, struct grpc_h2, dirty));
	}
}

/* --- in --- */

bool grpc_h2_feed(struct grpc_h2 *h, const uint8_t *p, size_t n)
{
	h->last_rx_ns = rt_loop_mono_ns(h->loop);
	h->ping_out = false;
	h->in_session = true;
	ssize_t rc = nghttp2_session_mem_recv(h->session, p, n);
	h->in_session = false;
	if (h->closing) {
		h2_free_if_done(h);
		return false;
	}
	if (rc < 0) {
		h2_lost(h, nghttp2_strerror((int)rc));
		return false;
	}
	grpc_h2_mark(h);
	if (h->ops->received)
		h->ops->received(h, h->owner);
	return true;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	(void)suggested;
	struct grpc_h2 *h = handle->data;
	*buf = uv_buf_init((char *)h->read_mem, GRPC_H2_READ_LEN);
}

static void feed_tls(struct grpc_h2 *h, struct lw_span in)
{
	bool was_ready = tls_session_ready(h->tls);
	int rc = tls_session_feed(h->tls, in, &h->plain_in, &h->out);
	if (!was_ready && tls_session_ready(h->tls)) {
		/* gRPC's peers insist on h2; a peer without ALPN at all is let through. */
		const char *alpn = tls_session_alpn(h->tls);
		if (*alpn && strcmp(alpn, "h2") != 0) {
			h2_lost(h, "peer does not speak h2");
			return;
		}
		if (!h->session && h->ops->connected)
			h->ops->connected(h, h->owner);
	}
	if (h->closing)
		return;
	if (h->plain_in.n && h->session) {
		bool alive = grpc_h2_feed(h, h->plain_in.p, h->plain_in.n);
		if (!alive)
			return;
		lw_buf_reset(&h->plain_in);
	}
	if (rc < 0) {
		const char *why = tls_session_error(h->tls);
		/* The alert for the peer, if there is one. */
		if (h->out.n)
			write_out(h);
		h2_lost(h, *why ? why : lw_err_text(rc));
		return;
	}
	grpc_h2_mark(h);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct grpc_h2 *h = stream->data;
	if (h->closing || n == 0)
		return;
	if (n < 0) {
		h2_lost(h, n == UV_EOF ? "closed by the peer" : uv_strerror((int)n));
		return;
	}
	const uint8_t *p = (const uint8_t *)buf->base;
	if (h->tls)
		feed_tls(h, lw_span(p, (size_t)n));
	else
		grpc_h2_feed(h, p, (size_t)n);
}

/* --- life --- */

static void note_peer(struct grpc_h2 *h)
{
	struct sockaddr_storage sa;
	int len = sizeof(sa);
	if (uv_tcp_getpeername(&h->tcp, (struct sockaddr *)&sa, &len) == 0)
		net_addr_format((struct sockaddr *)&sa, h->peer);
	else
		snprintf(h->peer, sizeof(h->peer), "?");
}

struct grpc_h2 *grpc_h2_accept(struct rt_loop *loop, uv_stream_t *listener, struct tls_context *tls,
			       struct lw_list *dirty_list, uint8_t *read_mem, const struct grpc_h2_owner *ops)
{
	struct grpc_h2 *h = h2_new(loop, dirty_list, read_mem, ops);
	uv_tcp_init(rt_loop_uv(loop), &h->tcp);
	h->tcp.data = h;
	h->has_tcp = true;
	if (uv_accept(listener, (uv_stream_t *)&h->tcp) != 0) {
		grpc_h2_close(h);
		return NULL;
	}
	uv_tcp_nodelay(&h->tcp, 1);
	note_peer(h);
	if (tls)
		h->tls = tls_session_new(tls, NULL);
	h->up = true;
	return h;
}

void grpc_h2_start(struct grpc_h2 *h, void *owner)
{
	h->owner = owner;
	if (h->has_tcp)
		uv_read_start((uv_stream_t *)&h->tcp, on_alloc, on_read);
	grpc_h2_mark(h);
}

static void on_connect(uv_connect_t *req, int status)
{
	struct grpc_h2 *h = req->data;
	if (h->closing)
		return;
	if (status < 0) {
		h2_lost(h, uv_strerror(status));
		return;
	}
	uv_tcp_nodelay(&h->tcp, 1);
	note_peer(h);
	h->up = true;
	uv_read_start((uv_stream_t *)&h->tcp, on_alloc, on_read);
	if (h->tls)
		feed_tls(h, lw_span(NULL, 0));
	else
		h->ops->connected(h, h->owner);
}

struct grpc_h2 *grpc_h2_connect(struct rt_loop *loop, const struct sockaddr *to, struct tls_context *tls,
				const char *server_name, struct lw_list *dirty_list, uint8_t *read_mem,
				const struct grpc_h2_owner *ops, void *owner)
{
	struct grpc_h2 *h = h2_new(loop, dirty_list, read_mem, ops);
	uv_tcp_init(rt_loop_uv(loop), &h->tcp);
	h->tcp.data = h;
	h->has_tcp = true;
	h->owner = owner;
	if (tls)
		h->tls = tls_session_new(tls, server_name);
	h->connect_req.data = h;
	if (uv_tcp_connect(&h->connect_req, &h->tcp, to, on_connect) != 0) {
		grpc_h2_close(h);
		return NULL;
	}
	return h;
}

struct grpc_h2 *grpc_h2_memory(struct rt_loop *loop, struct lw_list *dirty_list, const struct grpc_h2_owner *ops)
{
	struct grpc_h2 *h = h2_new(loop, dirty_list, NULL, ops);
	snprintf(h->peer, sizeof(h->peer), "memory");
	h->up = true;
	return h;
}

bool grpc_h2_keepalive(struct grpc_h2 *h, uint32_t interval_ms, uint32_t timeout_ms)
{
	int64_t now = rt_loop_mono_ns(h->loop);
	if (h->ping_out) {
		if (now - h->ping_sent_ns > (int64_t)timeout_ms * LW_NS_PER_MS) {
			h2_lost(h, "no answer to keepalive");
			return false;
		}
	} else if (h->session && now - h->last_rx_ns > (int64_t)interval_ms * LW_NS_PER_MS) {
		nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL);
		h->ping_out = true;
		h->ping_sent_ns = now;
		grpc_h2_mark(h);
	}
	return true;
}
