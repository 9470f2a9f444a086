/* Streams of the gRPC server: HTTP/2 requests into calls, answers into frames. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_frame.h"
#include "common/io/grpc_server_internal.h"

#define NV(n, v) ((nghttp2_nv){(uint8_t *)(n), (uint8_t *)(v), sizeof(n) - 1, strlen(v), NGHTTP2_NV_FLAG_NO_COPY_NAME})

static void stream_mark(struct gs_stream *s)
{
	grpc_h2_mark(s->conn->h2);
}

static size_t stream_queued(const struct gs_stream *s)
{
	return s->out.n - s->out_off;
}

/* --- answers --- */

static size_t status_nv(struct gs_stream *s, char number[12], nghttp2_nv nv[2])
{
	snprintf(number, 12, "%d", s->status);
	nv[0] = NV("grpc-status", number);
	if (s->message.n == 0)
		return 1;
	nv[1] = NV("grpc-message", lw_buf_str(&s->message));
	return 2;
}

static ssize_t on_read_data(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length, uint32_t *flags,
			    nghttp2_data_source *source, void *user)
{
	(void)user;
	struct gs_stream *s = source->ptr;
	size_t n = stream_queued(s);
	if (n > length)
		n = length;
	if (n) {
		memcpy(buf, s->out.p + s->out_off, n);
		s->out_off += n;
		s->conn->out_bytes -= n;
	}
	if (s->out_off == s->out.n) {
		lw_buf_reset(&s->out);
		s->out_off = 0;
	} else if (s->out_off > (64u << 10) && s->out_off > s->out.n / 2) {
		lw_buf_consume(&s->out, s->out_off);
		s->out_off = 0;
	}
	if (stream_queued(s) == 0 && s->finished) {
		char number[12];
		nghttp2_nv nv[2];
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (nghttp2_submit_trailer(session, id, nv, status_nv(s, number, nv)) != 0)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
		return (ssize_t)n;
	}
	if (s->call && stream_queued(s) <= s->conn->server->cfg.queue_high / 2 && lw_list_empty(&s->drained_node))
		lw_list_push_back(&s->conn->server->drained, &s->drained_node);
	if (n == 0) {
		s->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	return (ssize_t)n;
}

static void stream_resume_data(struct gs_stream *s)
{
	if (s->deferred) {
		s->deferred = false;
		nghttp2_session_resume_data(s->conn->h2->session, s->id);
	}
	stream_mark(s);
}

/* An answer that has no body: plain HTTP refusals, and gRPC's trailers-only form. */
static void submit_headers_only(struct gs_stream *s, const char *http_status, bool grpc)
{
	char number[12];
	nghttp2_nv nv[5];
	size_t n = 0;
	nv[n++] = NV(":status", http_status);
	if (grpc) {
		nv[n++] = NV("content-type", "application/grpc");
		n += status_nv(s, number, nv + n);
		if (s->encoded)
			nv[n++] = NV("grpc-accept-encoding", "identity");
	}
	nghttp2_submit_response(s->conn->h2->session, s->id, nv, n, NULL);
	s->headers_sent = true;
	stream_mark(s);
}

static void stream_refuse(struct gs_stream *s, const char *http_status)
{
	s->finished = true;
	submit_headers_only(s, http_status, false);
}

static void stream_finish(struct gs_stream *s, int status, const char *message)
{
	if (s->finished)
		return;
	s->finished = true;
	s->status = status;
	/* Too long a message is cut: the status is what matters, and peers bound their headers. */
	lw_buf_init(&s->message, 4096);
	grpc_message_encode(&s->message, message);
	rt_timer_stop(&s->deadline);
	if (s->headers_sent)
		stream_resume_data(s);
	else
		submit_headers_only(s, "200", true);
}

/* Ends a call from our side: the peer gets the status, the handler `cancel`. */
static void stream_fail(struct gs_stream *s, int status, const char *message)
{
	if (s->finished)
		return;
	stream_finish(s, status, message);
	struct grpc_call *call = s->call;
	s->call = NULL;
	if (call) {
		grpc_call_cancel(call);
		grpc_call_unref(call);
	}
}

/* --- the call's transport --- */

static int on_call_message(void *arg, const ProtobufCMessage *msg)
{
	struct gs_stream *s = arg;
	const struct grpc_server_config *cfg = &s->conn->server->cfg;
	if (stream_queued(s) > cfg->queue_hard || s->conn->out_bytes > GS_CONN_OUT_MAX)
		return LW_EFULL;
	size_t before = s->out.n;
	s->out.err = 0;
	int rc = grpc_frame_append(&s->out, msg, cfg->max_send_message);
	if (rc)
		return rc;
	s->conn->out_bytes += s->out.n - before;
	if (s->headers_sent) {
		stream_resume_data(s);
		return 0;
	}
	nghttp2_nv nv[] = {NV(":status", "200"), NV("content-type", "application/grpc")};
	nghttp2_data_provider provider = {.source.ptr = s, .read_callback = on_read_data};
	nghttp2_submit_response(s->conn->h2->session, s->id, nv, 2, &provider);
	s->headers_sent = true;
	stream_mark(s);
	return 0;
}

static void on_call_finish(void *arg, int status, const char *message)
{
	struct gs_stream *s = arg;
	stream_finish(s, status, message);
	struct grpc_call *call = s->call;
	s->call = NULL;
	grpc_call_unref(call);
}

static size_t on_call_queued(void *arg)
{
	return stream_queued(arg);
}

static void on_call_pause(void *arg, bool paused)
{
	struct gs_stream *s = arg;
	s->paused = paused;
	/* Later, since the handler may be inside the delivery of a message right now. */
	if (!paused && lw_list_empty(&s->resumed_node)) {
		lw_list_push_back(&s->conn->server->resumed, &s->resumed_node);
		rt_loop_again(s->conn->server->loop);
	}
}

static void on_deadline(struct rt_timer *t, void *arg)
{
	(void)t;
	stream_fail(arg, GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
}

/* --- requests --- */

static void stream_credit(struct gs_stream *s)
{
	if (s->uncredited == 0)
		return;
	nghttp2_session_consume_stream(s->conn->h2->session, s->id, s->uncredited);
	s->uncredited = 0;
	stream_mark(s);
}

static void drop_input(struct gs_stream *s)
{
	s->conn->in_bytes -= s->in.n;
	lw_buf_deinit(&s->in);
	stream_credit(s);
}

static void frame_error(struct gs_stream *s, int rc)
{
	if (rc == LW_EBIG)
		stream_fail(s, GRPC_RESOURCE_EXHAUSTED, "the message is larger than the maximum");
	else if (rc == LW_EUNSUPPORTED)
		stream_fail(s, GRPC_INTERNAL, "a compressed message without grpc-encoding");
	else
		stream_fail(s, GRPC_INTERNAL, "the message frame is malformed");
}

/* Client streaming: gives the handler every whole message, until it pauses. */
static void stream_pump(struct gs_stream *s)
{
	if (s->pumping)
		return;
	s->pumping = true;
	size_t off = 0;
	while (s->call && !s->paused) {
		struct lw_span msg;
		size_t used;
		size_t max = s->conn->server->cfg.max_message;
		int rc = grpc_frame_next(lw_span(s->in.p ? s->in.p + off : NULL, s->in.n - off), max, &msg, &used);
		if (rc == 0)
			break;
		if (rc < 0) {
			frame_error(s, rc);
			break;
		}
		off += used;
		if (grpc_call_push_bytes(s->call, msg) == LW_EPROTO)
			stream_fail(s, GRPC_INTERNAL, "the message cannot be decoded");
	}
	s->pumping = false;
	s->conn->in_bytes -= off;
	lw_buf_consume(&s->in, off);
	if (!s->call) {
		drop_input(s);
		return;
	}
	if (s->paused)
		return;
	stream_credit(s);
	if (!s->remote_closed)
		return;
	if (s->in.n)
		stream_fail(s, GRPC_INTERNAL, "the stream ended inside a message");
	else
		grpc_call_half_close(s->call);
}

/* Unary: looks at the size as soon as it is known; the call starts when the request has ended. */
static void stream_check_unary(struct gs_stream *s)
{
	struct lw_span msg;
	size_t used = 0;
	int rc = grpc_frame_next(lw_buf_span(&s->in), s->conn->server->cfg.max_message, &msg, &used);
	if (rc < 0) {
		frame_error(s, rc);
	} else if (rc == 1 && used < s->in.n) {
		stream_fail(s, GRPC_INTERNAL, "more than one message for a unary method");
	} else if (!s->remote_closed) {
		stream_credit(s);
		return;
	} else if (rc == 0) {
		stream_fail(s, GRPC_INTERNAL, s->in.n ? "the stream ended inside a message" : "no message");
	} else {
		/* The start may end the call, and s->call with it. */
		grpc_call_start_bytes(s->call, msg);
	}
	drop_input(s);
}

static void stream_input(struct gs_stream *s)
{
	if (!s->call || s->finished)
		drop_input(s);
	else if (s->client_streaming)
		stream_pump(s);
	else
		stream_check_unary(s);
}

void gs_stream_resume(struct gs_stream *s)
{
	if (s->call && !s->paused && s->begun)
		stream_input(s);
}

static void make_call(struct gs_stream *s, const struct grpc_method *method)
{
	struct grpc_metadata *md = lw_xcalloc(s->n_headers + 1, sizeof(*md));
	const char *p = (const char *)s->headers.p;
	for (size_t i = 0; i < s->n_headers; i++) {
		md[i].name = p;
		p += strlen(p) + 1;
		md[i].value = p;
		p += strlen(p) + 1;
	}
	struct grpc_local l = {
		.path = s->path,
		.transport = "grpc",
		.peer = s->conn->h2->peer,
		.metadata = md,
		.n_metadata = s->n_headers,
		.deadline_ns = s->deadline_ns,
		/* Structs are larger than their encoding; what is larger still than this was made to be. */
		.arena_max = s->conn->server->cfg.max_message * 16 + (1u << 20),
		.queue_high = s->conn->server->cfg.queue_high,
		.arg = s,
		.message = on_call_message,
		.finish = on_call_finish,
		.queued = on_call_queued,
		.pause = on_call_pause,
	};
	s->call = grpc_call_new(s->conn->server->cfg.methods, &l);
	free(md);
	lw_buf_deinit(&s->headers);
	s->client_streaming = method && method->client_streaming;
	s->conn->server->stats.calls_total++;
	if (s->deadline_ns)
		rt_timer_start_at(&s->deadline, s->deadline_ns);
	if (!method || s->client_streaming)
		grpc_call_start(s->call, NULL);
}

/* The request's headers are complete. */
static void stream_begin(struct gs_stream *s)
{
	s->begun = true;
	if (!s->post) {
		stream_refuse(s, "405");
	} else if (!s->grpc) {
		stream_refuse(s, "415");
	} else if (s->headers.err || s->header_bytes > s->conn->server->cfg.max_header_list) {
		stream_finish(s, GRPC_RESOURCE_EXHAUSTED, "the headers are too large");
	} else if (s->bad_timeout) {
		stream_finish(s, GRPC_INTERNAL, "malformed grpc-timeout");
	} else if (s->encoded) {
		stream_finish(s, GRPC_UNIMPLEMENTED, "compression is not supported");
	} else {
		make_call(s, grpc_methods_find(s->conn->server->cfg.methods, s->path));
	}
}

/* --- nghttp2 callbacks --- */

static struct gs_stream *stream_of(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

static struct gs_conn *conn_of(void *user)
{
	struct grpc_h2 *h = user;
	return h->owner;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct gs_conn *conn = conn_of(user);
	if (!conn)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	const struct grpc_server_config *cfg = &conn->server->cfg;
	struct gs_stream *s = lw_xcalloc(1, sizeof(*s));
	s->conn = conn;
	s->id = frame->hd.stream_id;
	lw_list_init(&s->drained_node);
	lw_list_init(&s->resumed_node);
	lw_buf_init(&s->headers, cfg->max_header_list);
	lw_buf_init(&s->in, cfg->max_message + GRPC_PREFIX_LEN + GS_STREAM_WINDOW);
	lw_buf_init(&s->out, cfg->queue_hard + cfg->max_send_message + 2 * GRPC_PREFIX_LEN);
	rt_timer_init(&s->deadline, conn->server->loop, "grpc deadline", on_deadline, s);
	lw_list_push_back(&conn->streams, &s->node);
	conn->server->stats.calls++;
	nghttp2_session_set_stream_user_data(session, s->id, s);
	return 0;
}

static void note_metadata(struct gs_stream *s, const char *name, size_t name_n, const char *value, size_t value_n)
{
	lw_buf_append(&s->headers, name, name_n + 1);
	lw_buf_append(&s->headers, value, value_n + 1);
	if (!s->headers.err)
		s->n_headers++;
}

/* nghttp2 has checked the characters and terminates both texts. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_n,
		     const uint8_t *value, size_t value_n, uint8_t flags, void *user)
{
	(void)flags;
	if (!conn_of(user))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	struct gs_stream *s = stream_of(session, frame->hd.stream_id);
	if (!s || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	s->header_bytes += name_n + value_n + 32;
	if (s->header_bytes > s->conn->server->cfg.max_header_list)
		return 0;
	const char *n = (const char *)name;
	const char *v = (const char *)value;
	if (strcmp(n, ":method") == 0) {
		s->post = strcmp(v, "POST") == 0;
	} else if (strcmp(n, ":path") == 0 && !s->path) {
		s->path = lw_xstrdup(v);
	} else if (strcmp(n, "content-type") == 0) {
		s->grpc = grpc_content_type_ok(v);
	} else if (strcmp(n, "grpc-timeout") == 0) {
		int64_t ns;
		if (grpc_timeout_parse(v, &ns))
			s->bad_timeout = true;
		else
			s->deadline_ns = rt_loop_mono_ns(s->conn->server->loop) + ns;
	} else if (strcmp(n, "grpc-encoding") == 0) {
		s->encoded = strcmp(v, "identity") != 0;
	} else if (n[0] != ':' && strcmp(n, "te") != 0) {
		/* te: nghttp2 refuses every value but "trailers". Its absence is forgiven, since proxies drop it. */
		note_metadata(s, n, name_n, v, value_n);
	}
	return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	if (!conn_of(user))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	struct gs_stream *s = stream_of(session, frame->hd.stream_id);
	if (!s)
		return 0;
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		s->remote_closed = true;
	if (frame->hd.type == NGHTTP2_HEADERS && !s->begun)
		stream_begin(s);
	if (s->remote_closed)
		stream_input(s);
	return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *user)
{
	(void)flags;
	struct gs_conn *conn = conn_of(user);
	if (!conn)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	nghttp2_session_consume_connection(session, n);
	struct gs_stream *s = stream_of(session, id);
	if (!s) {
		nghttp2_session_consume_stream(session, id, n);
		return 0;
	}
	s->uncredited += n;
	if (!s->call || s->finished) {
		stream_credit(s);
		return 0;
	}
	if (conn->in_bytes + n > GS_CONN_IN_MAX || lw_buf_append(&s->in, data, n)) {
		stream_fail(s, GRPC_RESOURCE_EXHAUSTED, "too much unfinished input");
		drop_input(s);
		return 0;
	}
	conn->in_bytes += n;
	stream_input(s);
	return 0;
}

/* The answer is complete: a peer that still sends its request is told to stop. */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	if (!conn_of(user))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	struct gs_stream *s = stream_of(session, frame->hd.stream_id);
	if (s && !s->remote_closed)
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
	return 0;
}

void gs_stream_free(struct gs_stream *s)
{
	lw_list_remove(&s->node);
	lw_list_remove(&s->drained_node);
	lw_list_remove(&s->resumed_node);
	rt_timer_stop(&s->deadline);
	s->finished = true;
	struct grpc_call *call = s->call;
	s->call = NULL;
	if (call) {
		grpc_call_cancel(call);
		grpc_call_unref(call);
	}
	s->conn->in_bytes -= s->in.n;
	s->conn->out_bytes -= stream_queued(s);
	s->conn->server->stats.calls--;
	lw_buf_deinit(&s->headers);
	lw_buf_deinit(&s->in);
	lw_buf_deinit(&s->out);
	lw_buf_deinit(&s->message);
	free(s->path);
	free(s);
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *user)
{
	(void)error_code;
	if (!conn_of(user))
		return 0;
	struct gs_stream *s = stream_of(session, id);
	if (s) {
		nghttp2_session_set_stream_user_data(session, id, NULL);
		gs_stream_free(s);
	}
	return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
	(void)session;
	(void)frame;
	(void)error;
	struct gs_conn *conn = conn_of(user);
	if (conn)
		conn->server->stats.protocol_errors_total++;
	return 0;
}

void gs_callbacks_init(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
}
