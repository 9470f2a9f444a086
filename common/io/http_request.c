/* Requests of the HTTP server: what the handler reads of them, answers and streams. */
#include "common/io/http_server_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"

#define STREAM_BLOCK ((size_t)32 << 10)

/* --- life --- */

struct http_request *http_request_new(struct http_server *s, struct MHD_Connection *conn, const char *method,
				      const char *path)
{
	struct http_request *r = lw_xcalloc(1, sizeof(*r));
	r->server = s;
	r->conn = conn;
	snprintf(r->method, sizeof(r->method), "%s", method);
	r->path = lw_xstrdup(path);
	lw_buf_init(&r->body, s->cfg.max_body);
	lw_buf_init(&r->stream, s->cfg.stream_limit + HTTP_MAX_STREAM_WRITE);
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	if (info && info->client_addr)
		net_addr_format(info->client_addr, r->peer);
	else
		snprintf(r->peer, sizeof(r->peer), "?");
	lw_list_push_back(&s->requests, &r->node);
	lw_list_init(&r->drain_node);
	return r;
}

void http_request_free(struct http_request *r)
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

void http_request_tell_close(struct http_request *r)
{
	r->closed = true;
	void (*fn)(struct http_request *, void *) = r->on_close;
	r->on_close = NULL;
	if (fn && (r->state == REQ_WAITING || r->state == REQ_STREAM))
		fn(r, r->on_close_arg);
}

void http_request_resume(struct http_request *r)
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
	http_request_resume(r);
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
	http_request_tell_close(r);
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
		http_request_resume(r);
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
		http_request_free(r);
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
	if (http_stream_queued(r) > r->server->cfg.stream_limit || n > HTTP_MAX_STREAM_WRITE) {
		request_cut(r);
		return LW_EFULL;
	}
	if (r->stream_off) {
		lw_buf_consume(&r->stream, r->stream_off);
		r->stream_off = 0;
	}
	lw_buf_append(&r->stream, p, n);
	http_request_resume(r);
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
		http_request_free(r);
		return;
	}
	r->ended = true;
	http_request_resume(r);
}
