/* Calls and streams of the gRPC client: requests into frames, frames into answers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_client_internal.h"
#include "common/io/grpc_frame.h"

#define MAX_HEADER_BYTES (32u << 10)
#define MAX_RETRIES 3

static size_t stream_queued(const struct grpc_stream *s)
{
	return s->out.n - s->out_off;
}

static void stream_mark(struct grpc_stream *s)
{
	if (s->conn)
		grpc_h2_mark(s->conn->h2);
}

/* --- life --- */

void gc_stream_free(struct grpc_stream *s)
{
	if (s->pumping) {
		s->dead = true;
		return;
	}
	lw_list_remove(&s->node);
	lw_list_remove(&s->drained_node);
	lw_list_remove(&s->resumed_node);
	rt_timer_stop(&s->deadline);
	lw_map_remove(&s->client->by_id, s->id);
	s->client->pending--;
	lw_buf_deinit(&s->headers);
	lw_buf_deinit(&s->out);
	lw_buf_deinit(&s->in);
	free(s->path);
	free(s->message);
	free(s);
}

/* Takes the stream away from nghttp2; what is still to be sent of it is not. */
static void stream_detach(struct grpc_stream *s)
{
	if (!s->conn)
		return;
	if (s->sid) {
		nghttp2_session_set_stream_user_data(s->conn->h2->session, s->sid, NULL);
		nghttp2_submit_rst_stream(s->conn->h2->session, NGHTTP2_FLAG_NONE, s->sid, NGHTTP2_CANCEL);
		stream_mark(s);
	}
	s->sid = 0;
	s->conn = NULL;
}

static void stream_set_end(struct grpc_stream *s, int status, const char *message)
{
	if (s->ended)
		return;
	s->ended = true;
	s->status = status;
	if (!s->message)
		s->message = lw_xstrdup(message);
	s->conn = NULL;
	s->sid = 0;
	rt_timer_stop(&s->deadline);
	lw_list_remove(&s->node);
	lw_list_push_back(&s->client->completed, &s->node);
	rt_timer_start(&s->client->completer, 0);
}

void gc_stream_end(struct grpc_stream *s, int status, const char *message)
{
	if (s->ended)
		return;
	stream_detach(s);
	free(s->message);
	s->message = NULL;
	/* Our own verdict: messages that wait are not delivered any more. */
	lw_buf_deinit(&s->in);
	stream_set_end(s, status, message);
}

void gc_stream_lost(struct grpc_stream *s, const char *reason)
{
	s->conn = NULL;
	s->sid = 0;
	s->uncredited = 0;
	if (!s->sent && !s->ended) {
		lw_list_remove(&s->node);
		lw_list_push_back(&s->client->waiting, &s->node);
		s->out_off = 0;
		s->deferred = false;
		return;
	}
	char text[224];
	snprintf(text, sizeof(text), "connection lost: %s", reason);
	stream_set_end(s, GRPC_UNAVAILABLE, text);
}

static void complete_unary(struct grpc_stream *s)
{
	struct grpc_client *c = s->client;
	const ProtobufCMessage *resp = NULL;
	int status = s->status;
	const char *message = s->message;
	if (status == GRPC_OK) {
		struct lw_span msg;
		size_t used;
		int rc = grpc_frame_next(lw_buf_span(&s->in), c->cfg.max_message, &msg, &used);
		if (rc == 1 && used == s->in.n)
			resp = grpc_unpack(s->output, msg, &c->arena);
		if (!resp) {
			status = GRPC_INTERNAL;
			message = "the answer cannot be decoded";
		}
	}
	s->pumping = true; /* the callback may cancel by id */
	s->done(s->arg, status, message, resp);
	s->pumping = false;
	lw_arena_reset(&c->arena);
	gc_stream_free(s);
}

void gc_stream_complete(struct grpc_stream *s)
{
	if (s->done) {
		complete_unary(s);
		return;
	}
	gc_stream_pump(s); /* comes back here when all messages are delivered */
}

/* --- streaming: messages to the user --- */

static void stream_credit(struct grpc_stream *s)
{
	if (s->uncredited == 0 || !s->conn)
		return;
	nghttp2_session_consume_stream(s->conn->h2->session, s->sid, s->uncredited);
	s->uncredited = 0;
	stream_mark(s);
}

static bool give_message(struct grpc_stream *s, struct lw_span bytes)
{
	if (s->ev->bytes)
		return s->ev->bytes(s, bytes, s->arg);
	const ProtobufCMessage *msg = grpc_unpack(s->output, bytes, &s->client->arena);
	if (msg)
		s->ev->message(s, msg, s->arg);
	return msg != NULL;
}

/* Delivers whole messages until paused. Returns an error text for a broken stream, else NULL. */
static const char *pump_messages(struct grpc_stream *s, int *status)
{
	struct grpc_client *c = s->client;
	const char *error = NULL;
	size_t off = 0;
	while (!s->paused && !s->dead && !error) {
		struct lw_span span;
		size_t used;
		int rc = grpc_frame_next(lw_span(s->in.p + off, s->in.n - off), c->cfg.max_message, &span, &used);
		if (rc == 0)
			break;
		if (rc == 1 && give_message(s, span)) {
			off += used;
		} else {
			*status = rc == LW_EBIG ? GRPC_RESOURCE_EXHAUSTED : GRPC_INTERNAL;
			error = rc == LW_EBIG ? "the message is larger than the maximum"
					      : "the message cannot be decoded";
		}
		lw_arena_reset(&c->arena);
	}
	lw_buf_consume(&s->in, off);
	return error;
}

void gc_stream_pump(struct grpc_stream *s)
{
	if (s->pumping)
		return;
	int status = GRPC_INTERNAL;
	s->pumping = true;
	const char *error = pump_messages(s, &status);
	s->pumping = false;
	if (s->dead) {
		stream_detach(s);
		gc_stream_free(s);
		return;
	}
	if (s->ended) {
		if (error && s->status == GRPC_OK) {
			s->status = status;
			free(s->message);
			s->message = lw_xstrdup(error);
		}
		if (s->paused && s->in.n && !error)
			return;
		s->pumping = true; /* `end` may call grpc_stream_cancel() */
		s->ev->end(s, s->status, s->message, s->arg);
		s->pumping = false;
		gc_stream_free(s);
		return;
	}
	if (error)
		gc_stream_end(s, status, error);
	else if (!s->paused)
		stream_credit(s);
}

/* --- sending --- */

static ssize_t on_read_data(nghttp2_session *session, int32_t sid, uint8_t *buf, size_t length, uint32_t *flags,
			    nghttp2_data_source *source, void *user)
{
	(void)source;
	(void)user;
	struct grpc_stream *s = nghttp2_session_get_stream_user_data(session, sid);
	if (!s)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	size_t n = stream_queued(s);
	if (n > length)
		n = length;
	if (n)
		memcpy(buf, s->out.p + s->out_off, n);
	s->out_off += n;
	/* A unary request is kept whole, in case it has to be sent again. */
	if (!s->done && (s->out_off == s->out.n || s->out_off > (64u << 10))) {
		lw_buf_consume(&s->out, s->out_off);
		s->out_off = 0;
	}
	if (stream_queued(s) == 0 && s->half_closed) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		return (ssize_t)n;
	}
	if (s->blocked && stream_queued(s) <= s->client->cfg.queue_high / 2 && lw_list_empty(&s->drained_node))
		lw_list_push_back(&s->client->drained, &s->drained_node);
	if (n == 0) {
		s->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)n;
}

static nghttp2_nv nv_of(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value),
			    NGHTTP2_NV_FLAG_NONE};
}

void gc_stream_submit(struct grpc_stream *s, struct gc_conn *conn)
{
	nghttp2_nv *nv = lw_xcalloc(s->n_headers + 8, sizeof(*nv));
	size_t n = 0;
	char timeout[GRPC_TIMEOUT_LEN];
	nv[n++] = nv_of(":method", "POST");
	nv[n++] = nv_of(":scheme", s->client->cfg.tls ? "https" : "http");
	nv[n++] = nv_of(":path", s->path);
	nv[n++] = nv_of(":authority", s->client->address);
	nv[n++] = nv_of("te", "trailers");
	nv[n++] = nv_of("content-type", "application/grpc");
	nv[n++] = nv_of("user-agent", "longwave/" LW_VERSION);
	if (s->deadline_ns) {
		grpc_timeout_format(s->deadline_ns - rt_loop_mono_ns(s->client->loop), timeout);
		nv[n++] = nv_of("grpc-timeout", timeout);
	}
	const char *p = (const char *)s->headers.p;
	for (size_t i = 0; i < s->n_headers; i++) {
		const char *value = p + strlen(p) + 1;
		nv[n++] = nv_of(p, value);
		p = value + strlen(value) + 1;
	}
	nghttp2_data_provider provider = {.read_callback = on_read_data};
	int32_t sid = nghttp2_submit_request(conn->h2->session, NULL, nv, n, &provider, s);
	free(nv);
	lw_list_remove(&s->node);
	if (sid < 0) {
		stream_set_end(s, GRPC_UNAVAILABLE, nghttp2_strerror(sid));
		return;
	}
	s->conn = conn;
	s->sid = sid;
	lw_list_push_back(&conn->streams, &s->node);
	stream_mark(s);
}

/* --- nghttp2 callbacks --- */

static struct gc_conn *conn_of(void *user)
{
	struct grpc_h2 *h = user;
	return h->owner;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
		     const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
	(void)flags;
	if (!conn_of(user))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	struct grpc_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (!s || frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	s->header_bytes += name_n + value_n + 32;
	if (s->header_bytes > MAX_HEADER_BYTES)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	const char *n = (const char *)name;
	const char *v = (const char *)value;
	if (strcmp(n, ":status") == 0) {
		s->http_status = atoi(v);
	} else if (strcmp(n, "content-type") == 0) {
		s->bad_content = !grpc_content_type_ok(v);
	} else if (strcmp(n, "grpc-status") == 0 && !s->got_status) {
		char *end;
		long status = strtol(v, &end, 10);
		s->got_status = true;
		s->status = *end || end == v || status < 0 || status > 16 ? GRPC_UNKNOWN : (int)status;
	} else if (strcmp(n, "grpc-message") == 0 && !s->message) {
		s->message = lw_xstrdup(v);
		grpc_message_decode(s->message);
	}
	return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t sid, const uint8_t *data, size_t n,
			 void *user)
{
	(void)flags;
	if (!conn_of(user))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	nghttp2_session_consume_connection(session, n);
	struct grpc_stream *s = nghttp2_session_get_stream_user_data(session, sid);
	if (!s) {
		nghttp2_session_consume_stream(session, sid, n);
		return 0;
	}
	s->uncredited += n;
	if (s->http_status != 200 || s->bad_content) {
		stream_credit(s);
		return 0;
	}
	if (lw_buf_append(&s->in, data, n)) {
		gc_stream_end(s, GRPC_RESOURCE_EXHAUSTED, "the message is larger than the maximum");
		return 0;
	}
	if (s->done) {
		struct lw_span msg;
		size_t used;
		if (grpc_frame_next(lw_buf_span(&s->in), s->client->cfg.max_message, &msg, &used) == LW_EBIG)
			gc_stream_end(s, GRPC_RESOURCE_EXHAUSTED, "the message is larger than the maximum");
		else
			stream_credit(s);
	} else if (lw_list_empty(&s->resumed_node)) {
		/* Delivered outside of nghttp2, once for all that this read brought. */
		lw_list_push_back(&s->client->resumed, &s->resumed_node);
	}
	return 0;
}

static int status_of_h2_error(uint32_t code)
{
	switch (code) {
	case NGHTTP2_REFUSED_STREAM:
		return GRPC_UNAVAILABLE;
	case NGHTTP2_CANCEL:
		return GRPC_CANCELLED;
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return GRPC_RESOURCE_EXHAUSTED;
	case NGHTTP2_INADEQUATE_SECURITY:
		return GRPC_PERMISSION_DENIED;
	default:
		return GRPC_INTERNAL;
	}
}

static int on_stream_close(nghttp2_session *session, int32_t sid, uint32_t code, void *user)
{
	if (!conn_of(user))
		return 0;
	struct grpc_stream *s = nghttp2_session_get_stream_user_data(session, sid);
	if (!s)
		return 0;
	nghttp2_session_set_stream_user_data(session, sid, NULL);
	s->uncredited = 0;
	char text[128];
	if (s->got_status) {
		stream_set_end(s, s->status, "");
	} else if (code == NGHTTP2_REFUSED_STREAM && s->done && s->retries++ < MAX_RETRIES) {
		/* The server says that it did nothing with it: safe to send again. */
		s->sent = false;
		s->http_status = 0;
		lw_buf_reset(&s->in);
		gc_stream_lost(s, "refused");
		gc_kick(s->client);
	} else if (s->http_status && (s->http_status != 200 || s->bad_content)) {
		snprintf(text, sizeof(text), "the peer is no gRPC server (HTTP status %d)", s->http_status);
		stream_set_end(s, grpc_status_from_http(s->http_status), text);
	} else {
		snprintf(text, sizeof(text), "stream closed without a status (%s)", nghttp2_http2_strerror(code));
		stream_set_end(s, code == NGHTTP2_NO_ERROR ? GRPC_UNKNOWN : status_of_h2_error(code), text);
	}
	return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	if (!conn_of(user))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (frame->hd.type == NGHTTP2_HEADERS) {
		struct grpc_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
		if (s)
			s->sent = true;
	}
	return 0;
}

/* A request that nghttp2 gave up on before it left, for example after GOAWAY. */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
	(void)session;
	(void)error;
	struct gc_conn *conn = conn_of(user);
	if (!conn || frame->hd.type != NGHTTP2_HEADERS)
		return 0;
	LW_LIST_FOREACH (node, tmp, &conn->streams) {
		struct grpc_stream *s = LW_CONTAINER_OF(node, struct grpc_stream, node);
		if (s->sid != frame->hd.stream_id || s->sent)
			continue;
		nghttp2_session_set_stream_user_data(session, s->sid, NULL);
		gc_stream_lost(s, "refused");
		gc_kick(conn->client);
		break;
	}
	return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	(void)session;
	struct gc_conn *conn = conn_of(user);
	if (!conn)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK))
		conn->settings = true;
	else if (frame->hd.type == NGHTTP2_GOAWAY)
		conn->goaway = true;
	return 0;
}

void gc_callbacks_init(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
	nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_frame_not_send);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
}

/* --- the user's side --- */

static void on_deadline(struct rt_timer *t, void *arg)
{
	(void)t;
	gc_stream_end(arg, GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
}

static struct grpc_stream *stream_new(struct grpc_client *c, const struct grpc_client_request *r)
{
	struct grpc_stream *s = lw_xcalloc(1, sizeof(*s));
	s->client = c;
	s->id = ++c->next_id;
	s->path = lw_xstrdup(r->path);
	s->output = r->output;
	s->wait_for_ready = r->wait_for_ready;
	lw_list_init(&s->node);
	lw_list_init(&s->drained_node);
	lw_list_init(&s->resumed_node);
	lw_buf_init(&s->headers, 64u << 10);
	lw_buf_init(&s->out, c->cfg.queue_hard + ((size_t)64 << 20));
	lw_buf_init(&s->in, c->cfg.max_message + GRPC_PREFIX_LEN + GC_STREAM_WINDOW);
	for (size_t i = 0; i < r->n_metadata; i++) {
		lw_buf_append(&s->headers, r->metadata[i].name, strlen(r->metadata[i].name) + 1);
		lw_buf_append(&s->headers, r->metadata[i].value, strlen(r->metadata[i].value) + 1);
		if (!s->headers.err)
			s->n_headers++;
	}
	rt_timer_init(&s->deadline, c->loop, "grpc client deadline", on_deadline, s);
	if (r->deadline_ms) {
		s->deadline_ns = rt_loop_mono_ns(c->loop) + (int64_t)r->deadline_ms * LW_NS_PER_MS;
		rt_timer_start_at(&s->deadline, s->deadline_ns);
	}
	lw_map_put(&c->by_id, s->id, s);
	c->pending++;
	return s;
}

/* The call is ready to go: now, when there is a connection, or with an end that is told later. */
static void stream_enter(struct grpc_stream *s)
{
	struct grpc_client *c = s->client;
	lw_list_push_back(&c->waiting, &s->node);
	if (s->headers.err)
		stream_set_end(s, GRPC_INVALID_ARGUMENT, "the metadata are too large");
	else if (c->pending > c->cfg.max_pending)
		stream_set_end(s, GRPC_RESOURCE_EXHAUSTED, "too many calls are pending");
	else if (c->failed && !s->wait_for_ready)
		stream_set_end(s, GRPC_UNAVAILABLE, c->reason);
	else
		gc_kick(c);
}

uint64_t grpc_client_call(struct grpc_client *c, const struct grpc_client_request *r, const ProtobufCMessage *req,
			  grpc_done_fn *done, void *arg)
{
	struct grpc_stream *s = stream_new(c, r);
	uint64_t id = s->id;
	s->done = done;
	s->arg = arg;
	s->half_closed = true;
	if (grpc_frame_append(&s->out, req, (size_t)64 << 20)) {
		lw_list_push_back(&c->waiting, &s->node);
		stream_set_end(s, GRPC_RESOURCE_EXHAUSTED, "the request is too large");
		return id;
	}
	stream_enter(s);
	return id;
}

struct grpc_stream *grpc_stream_open(struct grpc_client *c, const struct grpc_client_request *r,
				     const struct grpc_stream_events *ev, void *arg)
{
	struct grpc_stream *s = stream_new(c, r);
	s->ev = ev;
	s->arg = arg;
	stream_enter(s);
	return s;
}

void grpc_client_cancel(struct grpc_client *c, uint64_t id)
{
	struct grpc_stream *s = lw_map_find(&c->by_id, id);
	if (!s || !s->done)
		return;
	stream_detach(s);
	gc_stream_free(s);
}

void grpc_stream_cancel(struct grpc_stream *s)
{
	if (!s->pumping)
		stream_detach(s);
	gc_stream_free(s);
}

int grpc_stream_send(struct grpc_stream *s, const ProtobufCMessage *msg)
{
	if (s->half_closed || s->ended)
		return LW_EPRECONDITION;
	if (stream_queued(s) > s->client->cfg.queue_hard)
		return LW_EFULL;
	s->out.err = 0;
	int rc = grpc_frame_append(&s->out, msg, (size_t)64 << 20);
	if (rc)
		return rc;
	if (s->deferred && s->conn) {
		s->deferred = false;
		nghttp2_session_resume_data(s->conn->h2->session, s->sid);
	}
	stream_mark(s);
	return 0;
}

void grpc_stream_half_close(struct grpc_stream *s)
{
	if (s->half_closed)
		return;
	s->half_closed = true;
	if (s->deferred && s->conn) {
		s->deferred = false;
		nghttp2_session_resume_data(s->conn->h2->session, s->sid);
	}
	stream_mark(s);
}

void grpc_stream_pause(struct grpc_stream *s, bool paused)
{
	s->paused = paused;
	if (paused || s->dead || !lw_list_empty(&s->resumed_node))
		return;
	lw_list_push_back(&s->client->resumed, &s->resumed_node);
	rt_loop_again(s->client->loop);
}

size_t grpc_stream_queued(const struct grpc_stream *s)
{
	return stream_queued(s);
}

bool grpc_stream_writable(struct grpc_stream *s)
{
	if (s->half_closed || s->ended)
		return false;
	if (stream_queued(s) <= s->client->cfg.queue_high)
		return true;
	s->blocked = true;
	return false;
}
