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

#define STREAM_BLOCK ((size_t)32 << 10)
#define MAX_STREAM_WRITE ((size_t)80 << 20)
#define MAX_RUNS 16 /* of MHD in one go, while it says that it has more to do */

struct http_server {
	struct rt_loop *loop;
	struct http_server_config cfg;
	struct MHD_Daemon *mhd;
	struct rt_watch *watch;
	struct rt_tick *tick;
	struct rt_timer timer;
	int port;
	bool need_run;
	bool running; /* inside MHD_run */
	bool stopping;
	bool draining;
	struct lw_list requests;
	struct lw_list drained; /* requests whose queue became empty */
};

enum request_state {
	REQ_READING,  /* the body is coming */
	REQ_REFUSED,  /* 413 was sent */
	REQ_WAITING,  /* handed to the user, no answer yet */
	REQ_ANSWERED, /* the user is done with it */
	REQ_STREAM,   /* the user writes */
};

struct http_request {
	struct lw_list node;
	struct http_server *server; /* NULL once MHD let go of it */
	struct MHD_Connection *conn;
	enum request_state state;
	bool in_handler;
	bool suspended;
	bool queued; /* the response was given to MHD */
	bool closed; /* client gone */
	bool ended;  /* stream: no more will be written */
	bool dropped;
	char method[16];
	char *path;
	char peer[NET_ADDR_LEN];
	struct lw_buf body;
	size_t body_seen;
	struct MHD_Response *response;
	int status;
	struct lw_buf stream;
	size_t stream_off;
	struct rt_watch *hangup;
	void (*on_close)(struct http_request *r, void *arg);
	void *on_close_arg;
	void (*on_drain)(struct http_request *r, void *arg);
	void *on_drain_arg;
	struct lw_list drain_node;
	void *user;
};

static void server_run(struct http_server *s);

/* --- requests --- */

static struct http_request *request_new(struct http_server *s, struct MHD_Connection *conn, const char *method,
					const char *path)
{
	struct http_request *r = lw_xcalloc(1, sizeof(*r));
	r->server = s;
	r->conn = conn;
	snprintf(r->method, sizeof(r->method), "%s", method);
	r->path = lw_xstrdup(path);
	lw_buf_init(&r->body, s->cfg.max_body);
	lw_buf_init(&r->stream, s->cfg.stream_limit + MAX_STREAM_WRITE);
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	if (info && info->client_addr)
		net_addr_format(info->client_addr, r->peer);
	else
		snprintf(r->peer, sizeof(r->peer), "?");
	lw_list_push_back(&s->requests, &r->node);
	lw_list_init(&r->drain_node);
	return r;
}

static void request_free(struct http_request *r)
{
	lw_list_remove(&r->node);
	lw_list_remove(&r->drain_node);
	rt_watch_free(r->hangup);
	if (r->response)
		MHD_destroy_response(r->response);
	lw_buf_deinit(&r->body);
	lw_buf_deinit(&r->stream);
	free(r->path);
	free(r);
}

static void tell_close(struct http_request *r)
{
	r->closed = true;
	void (*fn)(struct http_request *, void *) = r->on_close;
	r->on_close = NULL;
	if (fn && (r->state == REQ_WAITING || r->state == REQ_STREAM))
		fn(r, r->on_close_arg);
}

static void request_resume(struct http_request *r)
{
	if (!r->suspended || !r->conn)
		return;
	r->suspended = false;
	MHD_resume_connection(r->conn);
	r->server->need_run = true;
	rt_loop_again(r->server->loop);
}

/* Ends the connection under MHD's feet: the only way while the peer does not read. */
static void request_cut(struct http_request *r)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	r->dropped = true;
	if (info)
		shutdown(info->connect_fd, SHUT_RDWR);
	request_resume(r);
	r->server->need_run = true;
}

static void on_hangup(struct rt_watch *w, unsigned events, void *arg)
{
	(void)w;
	(void)events;
	struct http_request *r = arg;
	rt_watch_free(r->hangup);
	r->hangup = NULL;
	bool stream = r->state == REQ_STREAM;
	if (stream)
		request_cut(r);
	tell_close(r);
}

/* MHD does not look at a suspended connection, so the loop does. */
static void watch_hangup(struct http_request *r)
{
	if (r->hangup || !r->conn || r->closed)
		return;
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	if (info)
		r->hangup = rt_watch_new(r->server->loop, info->connect_fd, RT_HANGUP, "http hangup", on_hangup, r);
}

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
		r = request_new(s, conn, method, url);
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
		tell_close(r); /* stays until the user is done with it */
	else
		request_free(r);
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
		request_resume(r);
	}
	rt_watch_free(s->watch);
	rt_timer_stop(&s->timer);
	rt_tick_remove(s->tick);
	s->running = true;
	MHD_stop_daemon(s->mhd);
	free(s);
}

/* --- reading a request --- */

const char *http_request_method(const struct http_request *r)
{
	return r->method;
}

const char *http_request_path(const struct http_request *r)
{
	return r->path;
}

const char *http_request_peer(const struct http_request *r)
{
	return r->peer;
}

struct lw_span http_request_body(const struct http_request *r)
{
	return lw_buf_span(&r->body);
}

const char *http_request_header(const struct http_request *r, const char *name)
{
	return r->conn ? MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name) : NULL;
}

const char *http_request_query(const struct http_request *r, const char *name)
{
	const char *value = NULL;
	size_t n;
	if (!r->conn ||
	    MHD_lookup_connection_value_n(r->conn, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value, &n) == MHD_NO)
		return NULL;
	return value ? value : "";
}

struct each_pair {
	http_pair_fn *fn;
	void *arg;
};

static enum MHD_Result on_pair(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	(void)kind;
	const struct each_pair *e = cls;
	e->fn(e->arg, name, value ? value : "");
	return MHD_YES;
}

static void each_pair(const struct http_request *r, enum MHD_ValueKind kind, http_pair_fn *fn, void *arg)
{
	struct each_pair e = {fn, arg};
	if (r->conn)
		MHD_get_connection_values(r->conn, kind, on_pair, &e);
}

void http_request_each_query(const struct http_request *r, http_pair_fn *fn, void *arg)
{
	each_pair(r, MHD_GET_ARGUMENT_KIND, fn, arg);
}

void http_request_each_header(const struct http_request *r, http_pair_fn *fn, void *arg)
{
	each_pair(r, MHD_HEADER_KIND, fn, arg);
}

void http_request_set_user(struct http_request *r, void *user)
{
	r->user = user;
}

void *http_request_user(const struct http_request *r)
{
	return r->user;
}

void http_request_on_close(struct http_request *r, void (*fn)(struct http_request *r, void *arg), void *arg)
{
	r->on_close = fn;
	r->on_close_arg = arg;
	if (fn)
		watch_hangup(r);
}

bool http_request_closed(const struct http_request *r)
{
	return r->closed;
}

/* --- answers --- */

/* Takes the response and gives it to MHD, now (the handler is still running) or by waking the connection. */
static void request_answer(struct http_request *r, int status, struct MHD_Response *response)
{
	BUG_ON(r->state != REQ_WAITING || r->response);
	r->status = status;
	r->response = response;
	if (!r->in_handler)
		request_resume(r);
}

static void add_headers(struct MHD_Response *response, const struct http_header *headers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		MHD_add_response_header(response, headers[i].name, headers[i].value);
}

static void answer_whole(struct http_request *r, int status, struct MHD_Response *response)
{
	if (!r->conn) {
		MHD_destroy_response(response);
		request_free(r);
		return;
	}
	r->on_close = NULL;
	request_answer(r, status, response);
	r->state = REQ_ANSWERED;
}

void http_respond(struct http_request *r, int status, const char *content_type, const void *body, size_t n,
		  const struct http_header *headers, size_t n_headers)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(n, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);
	if (!response)
		abort(); /* out of memory */
	if (content_type)
		MHD_add_response_header(response, "Content-Type", content_type);
	add_headers(response, headers, n_headers);
	answer_whole(r, status, response);
}

void http_respond_text(struct http_request *r, int status, const char *text)
{
	http_respond(r, status, "text/plain; charset=utf-8", text, strlen(text), NULL, 0);
}

void http_respond_fd(struct http_request *r, int status, const struct http_header *headers, size_t n_headers, int fd,
		     uint64_t size)
{
	struct MHD_Response *response = MHD_create_response_from_fd64(size, fd);
	if (!response)
		abort(); /* out of memory */
	add_headers(response, headers, n_headers);
	answer_whole(r, status, response);
}

/* --- streams --- */

static ssize_t on_stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	(void)pos;
	struct http_request *r = cls;
	if (r->dropped || r->server->stopping)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	size_t n = r->stream.n - r->stream_off;
	if (n > max)
		n = max;
	if (n) {
		memcpy(buf, r->stream.p + r->stream_off, n);
		r->stream_off += n;
		if (r->stream_off == r->stream.n) {
			lw_buf_reset(&r->stream);
			r->stream_off = 0;
		} else if (r->stream_off > r->stream.n / 2) {
			lw_buf_consume(&r->stream, r->stream_off);
			r->stream_off = 0;
		}
		return (ssize_t)n;
	}
	if (r->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (r->on_drain && lw_list_empty(&r->drain_node)) {
		lw_list_push_back(&r->server->drained, &r->drain_node);
		rt_loop_again(r->server->loop);
	}
	r->suspended = true;
	MHD_suspend_connection(r->conn);
	return 0;
}

void http_stream_begin(struct http_request *r, int status, const struct http_header *headers, size_t n_headers)
{
	if (!r->conn) {
		r->state = REQ_STREAM;
		return;
	}
	struct MHD_Response *response =
		MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, on_stream_read, r, NULL);
	if (!response)
		abort(); /* out of memory */
	add_headers(response, headers, n_headers);
	request_answer(r, status, response);
	r->state = REQ_STREAM;
	watch_hangup(r);
}

int http_stream_write(struct http_request *r, const void *p, size_t n)
{
	BUG_ON(r->state != REQ_STREAM);
	if (!r->conn || r->closed || r->dropped)
		return LW_ECLOSED;
	if (http_stream_queued(r) > r->server->cfg.stream_limit || n > MAX_STREAM_WRITE) {
		request_cut(r);
		return LW_EFULL;
	}
	if (r->stream_off) {
		lw_buf_consume(&r->stream, r->stream_off);
		r->stream_off = 0;
	}
	lw_buf_append(&r->stream, p, n);
	request_resume(r);
	return 0;
}

size_t http_stream_queued(const struct http_request *r)
{
	return r->stream.n - r->stream_off;
}

void http_stream_on_drain(struct http_request *r, void (*fn)(struct http_request *r, void *arg), void *arg)
{
	r->on_drain = fn;
	r->on_drain_arg = arg;
}

void http_stream_end(struct http_request *r)
{
	BUG_ON(r->state != REQ_STREAM);
	r->state = REQ_ANSWERED;
	r->on_close = NULL;
	r->on_drain = NULL;
	if (!r->conn) {
		request_free(r);
		return;
	}
	r->ended = true;
	request_resume(r);
}
