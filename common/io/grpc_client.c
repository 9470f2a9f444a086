/* gRPC client: resolution, connection, attempts. Calls and streams are in grpc_client_stream.c. */
#include "common/io/grpc_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_client_internal.h"

#define SWEEP_MS 1000

/* Outlives the client while libuv's pool works on it. */
struct gc_resolve {
	uv_getaddrinfo_t req;
	struct grpc_client *client; /* NULL: nobody waits any more */
};

static void client_connect(struct grpc_client *c);
static void try_next_addr(struct grpc_client *c);

/* --- state --- */

static void set_reason(struct grpc_client *c, const char *reason)
{
	snprintf(c->reason, sizeof(c->reason), "%s: %s", c->address, reason);
}

/* No connection for now: refuses the calls that do not want to wait, tries again later. */
static void attempt_failed(struct grpc_client *c, const char *reason)
{
	rt_timer_stop(&c->connect_limit);
	set_reason(c, reason);
	c->state = GC_WAITING;
	c->failed = true;
	LW_LIST_FOREACH (node, tmp, &c->waiting) {
		struct grpc_stream *s = LW_CONTAINER_OF(node, struct grpc_stream, node);
		if (!s->wait_for_ready)
			gc_stream_end(s, GRPC_UNAVAILABLE, c->reason);
	}
	rt_timer_start(&c->retry, lw_backoff_next_ms(&c->backoff, &c->rng));
}

static void on_retry(struct rt_timer *t, void *arg)
{
	(void)t;
	client_connect(arg);
}

static void conn_free(struct gc_conn *conn, const char *reason)
{
	struct grpc_client *c = conn->client;
	if (c->conn == conn)
		c->conn = NULL;
	lw_list_remove(&conn->node);
	LW_LIST_FOREACH (node, tmp, &conn->streams)
		gc_stream_lost(LW_CONTAINER_OF(node, struct grpc_stream, node), reason);
	free(conn);
	if (lw_list_empty(&c->conns))
		rt_timer_stop(&c->sweep);
}

static void on_closed(struct grpc_h2 *h, void *owner, const char *reason)
{
	(void)h;
	struct gc_conn *conn = owner;
	struct grpc_client *c = conn->client;
	bool current = c->conn == conn;
	bool worked = conn->settings;
	enum gc_state state = c->state;
	conn_free(conn, reason);
	if (!current) {
		/* An old one: what it did not send goes to the current one. */
		gc_kick(c);
		return;
	}
	if (state == GC_CONNECTING && c->next_addr < c->n_addrs) {
		set_reason(c, reason);
		try_next_addr(c);
		return;
	}
	if (!worked) {
		attempt_failed(c, reason);
		return;
	}
	/* A connection that worked and was lost: soon again, and calls made meanwhile wait for that attempt. */
	set_reason(c, reason);
	c->state = GC_WAITING;
	rt_timer_start(&c->retry, lw_backoff_next_ms(&c->backoff, &c->rng));
	if (c->cfg.on_state)
		c->cfg.on_state(c->cfg.on_state_arg, false, c->reason);
}

static void on_connected(struct grpc_h2 *h, void *owner)
{
	struct gc_conn *conn = owner;
	struct grpc_client *c = conn->client;
	if (nghttp2_session_client_new2(&h->session, c->callbacks, h, c->option) != 0)
		abort(); /* out of memory */
	nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, GC_STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 32u << 10},
	};
	nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0]));
	nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, (int32_t)GC_CONN_WINDOW);
	/* Ready once the server's SETTINGS are there; the time limit runs until then. */
	grpc_h2_mark(h);
}

static void conn_ready(struct grpc_client *c)
{
	rt_timer_stop(&c->connect_limit);
	lw_backoff_reset(&c->backoff);
	c->state = GC_READY;
	c->failed = false;
	gc_kick(c);
	if (c->cfg.on_state)
		c->cfg.on_state(c->cfg.on_state_arg, true, "");
}

static void run_completions(struct grpc_client *c);

static void client_leave(struct grpc_client *c)
{
	if (--c->busy == 0 && c->zombie)
		grpc_client_free(c);
}

/* An old connection whose last call has ended. */
static bool retired(const struct gc_conn *conn)
{
	return conn->goaway && conn->client->conn != conn && lw_list_empty(&conn->streams);
}

static void on_received(struct grpc_h2 *h, void *owner)
{
	(void)h;
	struct gc_conn *conn = owner;
	struct grpc_client *c = conn->client;
	c->busy++;
	if (conn == c->conn && conn->settings && c->state == GC_CONNECTING)
		conn_ready(c);
	if (conn->goaway && conn == c->conn) {
		/* It serves what it has; new calls go to a new one. */
		c->conn = NULL;
		if (c->cfg.on_state && c->state == GC_READY)
			c->cfg.on_state(c->cfg.on_state_arg, false, "the server is going away");
		c->state = GC_WAITING;
		set_reason(c, "the server is going away");
		rt_timer_start(&c->retry, lw_backoff_next_ms(&c->backoff, &c->rng));
	}
	run_completions(c);
	client_leave(c);
}

static const struct grpc_h2_owner OWNER = {.connected = on_connected, .received = on_received, .closed = on_closed};

/* --- connecting --- */

static void try_next_addr(struct grpc_client *c)
{
	struct gc_conn *conn = lw_xcalloc(1, sizeof(*conn));
	conn->client = c;
	lw_list_init(&conn->streams);
	c->state = GC_CONNECTING;
	const struct sockaddr *sa = (const struct sockaddr *)&c->addrs[c->next_addr++];
	conn->h2 = grpc_h2_connect(c->loop, sa, c->cfg.tls, c->host, &c->dirty, c->read_mem, &OWNER, conn);
	if (!conn->h2) {
		free(conn);
		attempt_failed(c, "cannot connect");
		return;
	}
	lw_list_push_back(&c->conns, &conn->node);
	c->conn = conn;
	if (!rt_timer_armed(&c->sweep))
		rt_timer_start_every(&c->sweep, SWEEP_MS);
	rt_timer_start(&c->connect_limit, c->cfg.connect_timeout_ms);
}

static void on_connect_limit(struct rt_timer *t, void *arg)
{
	(void)t;
	struct grpc_client *c = arg;
	if (c->state == GC_RESOLVING) {
		c->resolve->client = NULL;
		c->resolve = NULL;
		attempt_failed(c, "the name was not resolved in time");
		return;
	}
	struct gc_conn *conn = c->conn;
	BUG_ON(!conn || c->state != GC_CONNECTING);
	grpc_h2_close(conn->h2);
	on_closed(conn->h2, conn, "no connection in time");
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct gc_resolve *r = LW_CONTAINER_OF(req, struct gc_resolve, req);
	struct grpc_client *c = r->client;
	if (c) {
		c->resolve = NULL;
		c->n_addrs = 0;
		for (struct addrinfo *a = res; a && c->n_addrs < GC_MAX_ADDRS; a = a->ai_next)
			memcpy(&c->addrs[c->n_addrs++], a->ai_addr, a->ai_addrlen);
		c->next_addr = 0;
		if (status < 0 || c->n_addrs == 0)
			attempt_failed(c, status < 0 ? uv_strerror(status) : "the name has no address");
		else
			try_next_addr(c);
	}
	uv_freeaddrinfo(res);
	free(r);
}

static void client_connect(struct grpc_client *c)
{
	rt_timer_stop(&c->retry);
	c->next_addr = 0;
	if (net_addr_parse(c->address, &c->addrs[0]) == 0) {
		c->n_addrs = 1;
		try_next_addr(c);
		return;
	}
	char service[8];
	snprintf(service, sizeof(service), "%u", c->port);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
	struct gc_resolve *r = lw_xcalloc(1, sizeof(*r));
	r->client = c;
	int rc = c->host[0] ? uv_getaddrinfo(rt_loop_uv(c->loop), &r->req, on_resolved, c->host, service, &hints)
			    : UV_EINVAL;
	if (rc < 0) {
		free(r);
		attempt_failed(c, "not an address with a port");
		return;
	}
	c->resolve = r;
	c->state = GC_RESOLVING;
	rt_timer_start(&c->connect_limit, c->cfg.connect_timeout_ms);
}

void gc_kick(struct grpc_client *c)
{
	if (c->state == GC_IDLE && !c->zombie) {
		client_connect(c);
	} else if (c->state == GC_READY) {
		struct lw_list *n;
		while ((n = lw_list_pop_front(&c->waiting)))
			gc_stream_submit(LW_CONTAINER_OF(n, struct grpc_stream, node), c->conn);
	}
}

/* --- tick --- */

static void run_resumed(struct grpc_client *c)
{
	struct lw_list now;
	struct lw_list *n;
	lw_list_init(&now);
	lw_list_splice_back(&now, &c->resumed);
	while ((n = lw_list_pop_front(&now)))
		gc_stream_pump(LW_CONTAINER_OF(n, struct grpc_stream, resumed_node));
}

static void run_drained(struct grpc_client *c)
{
	struct lw_list now;
	struct lw_list *n;
	lw_list_init(&now);
	lw_list_splice_back(&now, &c->drained);
	while ((n = lw_list_pop_front(&now))) {
		struct grpc_stream *s = LW_CONTAINER_OF(n, struct grpc_stream, drained_node);
		s->blocked = false;
		if (s->ev->writable && !s->ended)
			s->ev->writable(s, s->arg);
	}
}

static void run_completions(struct grpc_client *c)
{
	struct lw_list now;
	struct lw_list *n;
	run_resumed(c);
	lw_list_init(&now);
	lw_list_splice_back(&now, &c->completed);
	while ((n = lw_list_pop_front(&now)))
		gc_stream_complete(LW_CONTAINER_OF(n, struct grpc_stream, node));
}

static void on_completer(struct rt_timer *t, void *arg)
{
	(void)t;
	struct grpc_client *c = arg;
	c->busy++;
	run_completions(c);
	client_leave(c);
}

static void on_tick(void *arg)
{
	struct grpc_client *c = arg;
	c->busy++;
	for (unsigned round = 0; round < 8; round++) {
		run_resumed(c);
		grpc_h2_flush_all(&c->dirty);
		run_drained(c);
		if (lw_list_empty(&c->dirty) && lw_list_empty(&c->resumed))
			break;
	}
	if (!lw_list_empty(&c->dirty) || !lw_list_empty(&c->resumed))
		rt_loop_again(c->loop);
	client_leave(c);
}

static void on_sweep(struct rt_timer *t, void *arg)
{
	(void)t;
	struct grpc_client *c = arg;
	c->busy++;
	LW_LIST_FOREACH (node, tmp, &c->conns) {
		struct gc_conn *conn = LW_CONTAINER_OF(node, struct gc_conn, node);
		if (retired(conn)) {
			grpc_h2_close(conn->h2);
			conn_free(conn, "retired");
			continue;
		}
		grpc_h2_keepalive(conn->h2, c->cfg.keepalive_ms, c->cfg.keepalive_timeout_ms);
	}
	client_leave(c);
}

/* --- life --- */

static void set_defaults(struct grpc_client_config *c)
{
	if (!c->max_message)
		c->max_message = (size_t)4 << 20;
	if (!c->connect_timeout_ms)
		c->connect_timeout_ms = 5000;
	if (!c->backoff_min_ms)
		c->backoff_min_ms = 100;
	if (!c->backoff_max_ms)
		c->backoff_max_ms = 10000;
	if (!c->keepalive_ms)
		c->keepalive_ms = 30000;
	if (!c->keepalive_timeout_ms)
		c->keepalive_timeout_ms = 20000;
	if (!c->queue_high)
		c->queue_high = (size_t)256 << 10;
	if (!c->queue_hard)
		c->queue_hard = (size_t)16 << 20;
	if (!c->max_pending)
		c->max_pending = 100000;
}

struct grpc_client *grpc_client_new(struct rt_loop *loop, const struct grpc_client_config *config)
{
	struct grpc_client *c = lw_xcalloc(1, sizeof(*c));
	c->loop = loop;
	c->cfg = *config;
	set_defaults(&c->cfg);
	c->address = lw_xstrdup(config->address);
	c->cfg.address = c->address;
	if (net_addr_split(c->address, c->host, &c->port))
		c->host[0] = 0; /* told when connecting */
	lw_list_init(&c->conns);
	lw_list_init(&c->dirty);
	lw_list_init(&c->waiting);
	lw_list_init(&c->completed);
	lw_list_init(&c->drained);
	lw_list_init(&c->resumed);
	lw_map_init(&c->by_id);
	lw_rng_init_system(&c->rng);
	lw_backoff_init(&c->backoff, c->cfg.backoff_min_ms, c->cfg.backoff_max_ms);
	lw_arena_init(&c->arena, NULL, 0, c->cfg.max_message * 16 + (1u << 20));
	rt_timer_init(&c->retry, loop, "grpc client retry", on_retry, c);
	rt_timer_init(&c->connect_limit, loop, "grpc client connect limit", on_connect_limit, c);
	rt_timer_init(&c->sweep, loop, "grpc client keepalive", on_sweep, c);
	rt_timer_init(&c->completer, loop, "grpc client completion", on_completer, c);
	c->read_mem = lw_xmalloc(GRPC_H2_READ_LEN);
	if (nghttp2_session_callbacks_new(&c->callbacks) != 0 || nghttp2_option_new(&c->option) != 0)
		abort();
	gc_callbacks_init(c->callbacks);
	nghttp2_option_set_no_auto_window_update(c->option, 1);
	nghttp2_option_set_no_closed_streams(c->option, 1);
	c->tick = rt_loop_on_tick(loop, RT_TICK_OUTPUT, "grpc client", on_tick, c);
	return c;
}

static void end_all(struct grpc_client *c)
{
	size_t it = 0;
	uint64_t id;
	void *value;
	while (lw_map_next(&c->by_id, &it, &id, &value))
		gc_stream_end(value, GRPC_CANCELLED, "the client was closed");
	/* Callbacks may begin new calls; they end the same way. A stream paused with its end in wait is not in the
	 * list. */
	while (c->pending) {
		c->failed = true;
		set_reason(c, "the client was closed");
		it = 0;
		if (!lw_map_next(&c->by_id, &it, &id, &value))
			break;
		struct grpc_stream *s = value;
		gc_stream_end(s, GRPC_CANCELLED, "the client was closed");
		s->paused = false;
		gc_stream_complete(s);
	}
}

void grpc_client_free(struct grpc_client *c)
{
	if (!c)
		return;
	c->zombie = true;
	if (c->busy)
		return;
	c->busy++;
	rt_timer_stop(&c->retry);
	rt_timer_stop(&c->connect_limit);
	if (c->resolve)
		c->resolve->client = NULL;
	end_all(c);
	LW_LIST_FOREACH (node, tmp, &c->conns) {
		struct gc_conn *conn = LW_CONTAINER_OF(node, struct gc_conn, node);
		/* The last words (RST_STREAM) to a server that still works for us. */
		if (conn->h2->up)
			grpc_h2_flush(conn->h2);
	}
	LW_LIST_FOREACH (node, tmp, &c->conns) {
		struct gc_conn *conn = LW_CONTAINER_OF(node, struct gc_conn, node);
		grpc_h2_close(conn->h2);
		conn_free(conn, "closed");
	}
	rt_timer_stop(&c->retry);
	rt_timer_stop(&c->connect_limit);
	rt_timer_stop(&c->sweep);
	rt_timer_stop(&c->completer);
	rt_tick_remove(c->tick);
	nghttp2_session_callbacks_del(c->callbacks);
	nghttp2_option_del(c->option);
	lw_map_deinit(&c->by_id);
	lw_arena_deinit(&c->arena);
	free(c->read_mem);
	free(c->address);
	free(c);
}

bool grpc_client_connected(const struct grpc_client *c)
{
	return c->state == GC_READY;
}

size_t grpc_client_pending(const struct grpc_client *c)
{
	return c->pending;
}

void grpc_client_connect(struct grpc_client *c)
{
	gc_kick(c);
}
