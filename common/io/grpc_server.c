/* gRPC server: listening, connections, their life. Streams are in grpc_server_stream.c. */
#include "common/io/grpc_server.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_server_internal.h"

#define SWEEP_MS 1000

static void conn_free(struct gs_conn *c)
{
	struct grpc_server *server = c->server;
	LW_LIST_FOREACH (node, tmp, &c->streams)
		gs_stream_free(LW_CONTAINER_OF(node, struct gs_stream, node));
	lw_list_remove(&c->node);
	server->stats.connections--;
	free(c);
	if (server->stats.connections == 0)
		rt_timer_stop(&server->sweep);
	if (server->draining && server->drain_done && server->stats.connections == 0) {
		void (*done)(void *arg) = server->drain_done;
		server->drain_done = NULL;
		done(server->drain_arg);
	}
}

static void on_closed(struct grpc_h2 *h, void *owner, const char *reason)
{
	(void)h;
	(void)reason;
	conn_free(owner);
}

static const struct grpc_h2_owner OWNER = {.closed = on_closed};

/* --- connections --- */

static void make_session(struct gs_conn *c)
{
	struct grpc_server *server = c->server;
	if (nghttp2_session_server_new2(&c->h2->session, server->callbacks, c->h2, server->option) != 0)
		abort(); /* out of memory, as everywhere */
	nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, server->cfg.max_streams},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, GS_STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, server->cfg.max_header_list},
	};
	nghttp2_submit_settings(c->h2->session, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0]));
	nghttp2_session_set_local_window_size(c->h2->session, NGHTTP2_FLAG_NONE, 0, (int32_t)GS_CONN_WINDOW);
}

static struct gs_conn *conn_new(struct grpc_server *server, struct grpc_h2 *h)
{
	struct gs_conn *c = lw_xcalloc(1, sizeof(*c));
	c->server = server;
	c->h2 = h;
	lw_list_init(&c->streams);
	lw_list_push_back(&server->conns, &c->node);
	server->stats.connections++;
	if (!rt_timer_armed(&server->sweep))
		rt_timer_start_every(&server->sweep, SWEEP_MS);
	make_session(c);
	grpc_h2_start(h, c);
	return c;
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct grpc_server *server = listener->data;
	if (status < 0 || !server)
		return;
	struct grpc_h2 *h =
		grpc_h2_accept(server->loop, listener, server->cfg.tls, &server->dirty, server->read_mem, &OWNER);
	if (!h)
		return;
	if (server->draining || server->stats.connections >= server->cfg.max_connections)
		grpc_h2_close(h);
	else
		conn_new(server, h);
}

struct grpc_h2 *grpc_server_memory(struct grpc_server *server)
{
	if (server->stats.connections >= server->cfg.max_connections)
		return NULL;
	struct grpc_h2 *h = grpc_h2_memory(server->loop, &server->dirty, &OWNER);
	conn_new(server, h);
	return h;
}

void grpc_server_memory_close(struct grpc_h2 *h)
{
	struct gs_conn *c = h->owner;
	grpc_h2_close(h);
	conn_free(c);
}

/* --- tick --- */

static void on_tick(void *arg)
{
	struct grpc_server *server = arg;
	/* Handlers that are told of room send more; a bounded number of rounds keeps one of them from taking the loop.
	 */
	for (unsigned round = 0; round < 8; round++) {
		struct lw_list now;
		struct lw_list *n;
		lw_list_init(&now);
		lw_list_splice_back(&now, &server->resumed);
		while ((n = lw_list_pop_front(&now)))
			gs_stream_resume(LW_CONTAINER_OF(n, struct gs_stream, resumed_node));
		grpc_h2_flush_all(&server->dirty);
		lw_list_splice_back(&now, &server->drained);
		while ((n = lw_list_pop_front(&now))) {
			struct gs_stream *s = LW_CONTAINER_OF(n, struct gs_stream, drained_node);
			if (s->call)
				grpc_call_drained(s->call);
		}
		if (lw_list_empty(&server->dirty) && lw_list_empty(&server->resumed))
			return;
	}
	rt_loop_again(server->loop);
}

static void on_sweep(struct rt_timer *t, void *arg)
{
	(void)t;
	struct grpc_server *server = arg;
	LW_LIST_FOREACH (node, tmp, &server->conns) {
		struct gs_conn *c = LW_CONTAINER_OF(node, struct gs_conn, node);
		grpc_h2_keepalive(c->h2, server->cfg.keepalive_ms, server->cfg.keepalive_timeout_ms);
	}
}

/* --- life --- */

static void on_listener_closed(uv_handle_t *handle)
{
	free(handle);
}

static void stop_listening(struct grpc_server *server)
{
	if (!server->listener)
		return;
	server->listener->data = NULL;
	uv_close((uv_handle_t *)server->listener, on_listener_closed);
	server->listener = NULL;
}

static int listen_on(struct grpc_server *server, struct lw_diag *diag)
{
	const char *bind = server->cfg.bind;
	struct sockaddr_storage sa;
	if (net_addr_parse(bind, &sa)) {
		lw_diag_set(diag, "\"%s\" is not an address with a port", bind);
		return LW_EINVAL;
	}
	server->listener = lw_xcalloc(1, sizeof(*server->listener));
	uv_tcp_init(rt_loop_uv(server->loop), server->listener);
	server->listener->data = server;
	int rc = uv_tcp_bind(server->listener, (struct sockaddr *)&sa, 0);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)server->listener, 1024, on_connection);
	int len = sizeof(sa);
	if (rc == 0)
		rc = uv_tcp_getsockname(server->listener, (struct sockaddr *)&sa, &len);
	if (rc) {
		lw_diag_set(diag, "cannot listen on %s: %s", bind, uv_strerror(rc));
		return rc;
	}
	server->port = net_addr_port((struct sockaddr *)&sa);
	return 0;
}

static void set_defaults(struct grpc_server_config *c)
{
	if (!c->max_message)
		c->max_message = (size_t)4 << 20;
	if (!c->max_send_message)
		c->max_send_message = (size_t)64 << 20;
	if (!c->max_streams)
		c->max_streams = 1024;
	if (!c->max_connections)
		c->max_connections = 4096;
	if (!c->max_header_list)
		c->max_header_list = 32u << 10;
	if (!c->queue_high)
		c->queue_high = (size_t)256 << 10;
	if (!c->queue_hard)
		c->queue_hard = (size_t)16 << 20;
	if (!c->keepalive_ms)
		c->keepalive_ms = 30000;
	if (!c->keepalive_timeout_ms)
		c->keepalive_timeout_ms = 20000;
}

int grpc_server_new(struct rt_loop *loop, const struct grpc_server_config *config, struct grpc_server **out,
		    struct lw_diag *diag)
{
	struct grpc_server *server = lw_xcalloc(1, sizeof(*server));
	server->loop = loop;
	server->cfg = *config;
	set_defaults(&server->cfg);
	lw_list_init(&server->conns);
	lw_list_init(&server->dirty);
	lw_list_init(&server->drained);
	lw_list_init(&server->resumed);
	rt_timer_init(&server->sweep, loop, "grpc keepalive", on_sweep, server);
	server->read_mem = lw_xmalloc(GRPC_H2_READ_LEN);
	if (nghttp2_session_callbacks_new(&server->callbacks) != 0 || nghttp2_option_new(&server->option) != 0)
		abort();
	gs_callbacks_init(server->callbacks);
	nghttp2_option_set_no_auto_window_update(server->option, 1);
	nghttp2_option_set_no_closed_streams(server->option, 1);
	server->tick = rt_loop_on_tick(loop, RT_TICK_OUTPUT, "grpc server", on_tick, server);
	int rc = server->cfg.bind ? listen_on(server, diag) : 0;
	/* The caller's text need not live on. */
	server->cfg.bind = NULL;
	if (rc) {
		grpc_server_free(server);
		return rc;
	}
	*out = server;
	return 0;
}

int grpc_server_port(const struct grpc_server *s)
{
	return s->port;
}

void grpc_server_stats(const struct grpc_server *s, struct grpc_server_stats *out)
{
	*out = s->stats;
}

void grpc_server_drain(struct grpc_server *s, void (*done)(void *arg), void *arg)
{
	if (s->draining)
		return;
	s->draining = true;
	stop_listening(s);
	if (s->stats.connections == 0) {
		if (done)
			done(arg);
		return;
	}
	s->drain_done = done;
	s->drain_arg = arg;
	LW_LIST_FOREACH (node, tmp, &s->conns) {
		struct gs_conn *c = LW_CONTAINER_OF(node, struct gs_conn, node);
		int32_t last = nghttp2_session_get_last_proc_stream_id(c->h2->session);
		nghttp2_submit_goaway(c->h2->session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
		grpc_h2_mark(c->h2);
	}
}

void grpc_server_free(struct grpc_server *s)
{
	if (!s)
		return;
	s->drain_done = NULL;
	stop_listening(s);
	LW_LIST_FOREACH (node, tmp, &s->conns) {
		struct gs_conn *c = LW_CONTAINER_OF(node, struct gs_conn, node);
		BUG_ON(c->h2->in_session); /* called by a handler */
		grpc_h2_close(c->h2);
		conn_free(c);
	}
	rt_timer_stop(&s->sweep);
	rt_tick_remove(s->tick);
	nghttp2_session_callbacks_del(s->callbacks);
	nghttp2_option_del(s->option);
	free(s->read_mem);
	free(s);
}
