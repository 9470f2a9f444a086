/* HTTP/1.1 server: libmicrohttpd in external epoll mode. Its epoll descriptor is one watcher of the loop, MHD_run()
 * does what is ready, and a request that is not answered at once is suspended until it is. */
#include "common/io/http_server_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/bug.h"
#include "common/base/list.h"
#include "common/base/xmalloc.h"
#include "common/io/net_addr.h"
#include "common/runtime/loop.h"

#define MAX_RUNS 16 /* of MHD in one go, while it says that it has more to do */

/* --- MHD's callbacks --- */

static enum MHD_Result queue_now(struct http_request *r)
{
	r->queued = true;
	if (r->server->draining)
		MHD_add_response_header(r->response, "Connection", "close");
	return MHD_queue_response(r->conn, (unsigned)r->status, r->response);
}

static enum MHD_Result refuse_body(struct http_request *r)
{
	static const char TEXT[] = "body too large\n";
	r->state = REQ_REFUSED;
	r->status = MHD_HTTP_CONTENT_TOO_LARGE;
	r->response =
		MHD_create_response_from_buffer(sizeof(TEXT) - 1, (void *)(uintptr_t)TEXT, MHD_RESPMEM_PERSISTENT);
	MHD_add_response_header(r->response, "Connection", "close");
	return queue_now(r);
}

static enum MHD_Result on_first(struct http_request *r)
{
	const char *length = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, "Content-Length");
	if (!length)
		return MHD_YES;
	/* MHD has checked that it is a number. */
	unsigned long long n = strtoull(length, NULL, 10);
	if (n > r->server->cfg.max_body)
		return refuse_body(r);
	return MHD_YES;
}

static enum MHD_Result on_upload(struct http_request *r, const char *data, size_t *n)
{
	r->body_seen += *n;
	/* A chunked body without an end: what is over the limit is skipped for a while, so that the client may get to
	 * see the 413, then cut off. */
	if (r->body_seen > r->server->cfg.max_body * 4)
		return MHD_NO;
	lw_buf_append(&r->body, data, *n);
	*n = 0;
	return MHD_YES;
}

static enum MHD_Result on_complete_request(struct http_request *r)
{
	if (r->body.err)
		return refuse_body(r);
	r->state = REQ_WAITING;
	r->in_handler = true;
	r->server->cfg.fn(r, r->server->cfg.arg);
	r->in_handler = false;
	if (r->response)
		return queue_now(r);
	r->suspended = true;
	MHD_suspend_connection(r->conn);
	return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url, const char *method,
				  const char *version, const char *data, size_t *n, void **con_cls)
{
	(void)version;
	struct http_server *s = cls;
	struct http_request *r = *con_cls;
	if (!r) {
		r = http_request_new(s, conn, method, url);
		*con_cls = r;
		return on_first(r);
	}
	if (s->stopping || r->dropped)
		return MHD_NO;
	if (r->state == REQ_READING)
		return *n ? on_upload(r, data, n) : on_complete_request(r);
	if (r->state == REQ_REFUSED) {
		*n = 0;
		return MHD_YES;
	}
	if (r->response && !r->queued)
		return queue_now(r);
	return MHD_YES;
}

/* MHD is done with the request, well or not. */
static void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode code)
{
	(void)cls;
	(void)conn;
	(void)code;
	struct http_request *r = *con_cls;
	*con_cls = NULL;
	if (!r)
		return;
	rt_watch_free(r->hangup);
	r->hangup = NULL;
	r->conn = NULL;
	r->server = NULL;
	lw_list_remove(&r->node);
	lw_list_remove(&r->drain_node);
	if (r->state == REQ_WAITING || r->state == REQ_STREAM)
		http_request_tell_close(r); /* stays until the user is done with it */
	else
		http_request_free(r);
}

/* --- the server's turn --- */

static void server_run(struct http_server *s)
{
	if (s->running)
		return;
	s->running = true;
	unsigned long long ms = 0;
	bool timed = false;
	for (unsigned i = 0; i < MAX_RUNS; i++) {
		s->need_run = false;
		MHD_run(s->mhd);
		timed = MHD_get_timeout(s->mhd, &ms) == MHD_YES;
		if (!s->need_run && (!timed || ms > 0))
			break;
	}
	s->running = false;
	if (timed)
		rt_timer_start(&s->timer, ms);
	else
		rt_timer_stop(&s->timer);
}

static void on_epoll(struct rt_watch *w, unsigned events, void *arg)
{
	(void)w;
	(void)events;
	server_run(arg);
}

static void on_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	server_run(arg);
}

static void on_tick(void *arg)
{
	struct http_server *s = arg;
	struct lw_list now;
	struct lw_list *n;
	lw_list_init(&now);
	lw_list_splice_back(&now, &s->drained);
	while ((n = lw_list_pop_front(&now))) {
		struct http_request *r = LW_CONTAINER_OF(n, struct http_request, drain_node);
		if (r->state == REQ_STREAM && !r->closed && r->on_drain && http_stream_queued(r) == 0)
			r->on_drain(r, r->on_drain_arg);
	}
	if (s->need_run)
		server_run(s);
}

/* --- life --- */

static int open_listener(struct http_server *s, const char *bind_text, struct lw_diag *diag)
{
	struct sockaddr_storage sa;
	if (net_addr_parse(bind_text, &sa)) {
		lw_diag_set(diag, "\"%s\" is not an address with a port", bind_text);
		return LW_EINVAL;
	}
	int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int one = 1;
	socklen_t len = sizeof(sa);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, net_addr_len((struct sockaddr *)&sa)) || listen(fd, 1024) ||
	    getsockname(fd, (struct sockaddr *)&sa, &len)) {
		int err = -errno;
		lw_diag_set(diag, "cannot listen on %s: %s", bind_text, lw_err_text(err));
		close(fd);
		return err;
	}
	s->port = net_addr_port((struct sockaddr *)&sa);
	return fd;
}

static void no_log(void *arg, const char *fmt, va_list ap)
{
	/* What MHD says is about its clients' mistakes. */
	(void)arg;
	(void)fmt;
	(void)ap;
}

static void set_defaults(struct http_server_config *c)
{
	if (!c->max_body)
		c->max_body = (size_t)4 << 20;
	if (!c->max_headers)
		c->max_headers = (size_t)32 << 10;
	if (!c->max_connections)
		c->max_connections = 1024;
	if (!c->idle_timeout_s)
		c->idle_timeout_s = 60;
	if (!c->stream_limit)
		c->stream_limit = (size_t)1 << 20;
}

static int start_mhd(struct http_server *s, int listen_fd)
{
	s->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
				  on_request, s, MHD_OPTION_EXTERNAL_LOGGER, no_log, NULL, MHD_OPTION_STRICT_FOR_CLIENT,
				  1, MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
				  NULL, MHD_OPTION_CONNECTION_LIMIT, (unsigned)s->cfg.max_connections,
				  MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)s->cfg.idle_timeout_s,
				  MHD_OPTION_CONNECTION_MEMORY_LIMIT, s->cfg.max_headers, MHD_OPTION_END);
	if (!s->mhd)
		return LW_EINTERNAL;
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return LW_EINTERNAL;
	s->watch = rt_watch_new(s->loop, info->epoll_fd, RT_READ, "http", on_epoll, s);
	return s->watch ? 0 : LW_EINTERNAL;
}

int http_server_new(struct rt_loop *loop, const struct http_server_config *config, struct http_server **out,
		    struct lw_diag *diag)
{
	struct http_server *s = lw_xcalloc(1, sizeof(*s));
	s->loop = loop;
	s->cfg = *config;
	set_defaults(&s->cfg);
	lw_list_init(&s->requests);
	lw_list_init(&s->drained);
	rt_timer_init(&s->timer, loop, "http timeout", on_timer, s);
	int fd = open_listener(s, config->bind, diag);
	s->cfg.bind = NULL;
	if (fd < 0) {
		free(s);
		return fd;
	}
	int rc = start_mhd(s, fd);
	if (rc) {
		lw_diag_set(diag, "the HTTP server does not start");
		if (s->mhd)
			MHD_stop_daemon(s->mhd);
		else
			close(fd);
		free(s);
		return rc;
	}
	s->tick = rt_loop_on_tick(loop, RT_TICK_OUTPUT, "http", on_tick, s);
	*out = s;
	return 0;
}

int http_server_port(const struct http_server *s)
{
	return s->port;
}

size_t http_server_connections(const struct http_server *s)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->mhd, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
	return info ? info->num_connections : 0;
}

void http_server_drain(struct http_server *s)
{
	if (s->draining)
		return;
	s->draining = true;
	MHD_socket fd = MHD_quiesce_daemon(s->mhd);
	if (fd != MHD_INVALID_SOCKET)
		close(fd);
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	BUG_ON(s->running); /* called by a handler */
	s->stopping = true;
	LW_LIST_FOREACH (node, tmp, &s->requests) {
		struct http_request *r = LW_CONTAINER_OF(node, struct http_request, node);
		r->dropped = true;
		/* MHD refuses to stop with suspended connections. */
		http_request_resume(r);
	}
	rt_watch_free(s->watch);
	rt_timer_stop(&s->timer);
	rt_tick_remove(s->tick);
	s->running = true;
	MHD_stop_daemon(s->mhd);
	free(s);
}
