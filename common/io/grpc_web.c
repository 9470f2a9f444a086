/* gRPC-web on the HTTP server: one POST is one call; the answer is a stream of frames, of which the last, marked 0x80,
 * holds the trailers as text (gRPC's PROTOCOL-WEB document). The text form is the same in base64, each flush padded. */
#include "common/io/grpc_web.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/base64.h"
#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_call.h"
#include "common/io/grpc_frame.h"
#include "common/io/http_server.h"

#define TRAILER_FLAG 0x80
#define MAX_MESSAGE ((size_t)4 << 20)
#define MAX_SEND ((size_t)64 << 20)
#define QUEUE_HIGH ((size_t)256 << 10)
#define MAX_HEADERS 64

struct web_call {
	struct http_request *req;
	struct grpc_call *call;
	bool text;
	bool streaming; /* else the answer is sent whole, at its end */
	bool begun;
	bool finished; /* the trailers are in `frame` and wait for the queue to drain */
	const char *type;
	struct lw_buf frame;
};

static void web_free(struct web_call *w)
{
	struct grpc_call *call = w->call;
	lw_buf_deinit(&w->frame);
	free(w);
	grpc_call_unref(call);
}

/* --- answers --- */

static void begin(struct web_call *w)
{
	if (w->begun)
		return;
	w->begun = true;
	struct http_header h[] = {{"Content-Type", w->type}, {"Cache-Control", "no-store"}};
	http_stream_begin(w->req, 200, h, sizeof(h) / sizeof(h[0]));
}

/* Sends what is in w->frame. */
static int flush_frame(struct web_call *w)
{
	begin(w);
	int rc;
	if (w->text) {
		char *text = lw_xmalloc(LW_BASE64_LEN(w->frame.n) + 1);
		size_t n = lw_base64_encode(w->frame.p, w->frame.n, text);
		rc = http_stream_write(w->req, text, n);
		free(text);
	} else {
		rc = http_stream_write(w->req, w->frame.p, w->frame.n);
	}
	lw_buf_reset(&w->frame);
	return rc;
}

static int on_message(void *arg, const ProtobufCMessage *msg)
{
	struct web_call *w = arg;
	w->frame.err = 0;
	int rc = grpc_frame_append(&w->frame, msg, MAX_SEND);
	if (rc || !w->streaming)
		return rc;
	return flush_frame(w);
}

static void append_trailers(struct web_call *w, int status, const char *message)
{
	struct lw_buf trailers;
	lw_buf_init(&trailers, 8192);
	lw_buf_printf(&trailers, "grpc-status:%d\r\n", status);
	if (*message) {
		lw_buf_append_str(&trailers, "grpc-message:");
		grpc_message_encode(&trailers, message);
		lw_buf_append_str(&trailers, "\r\n");
	}
	uint8_t prefix[GRPC_PREFIX_LEN] = {TRAILER_FLAG};
	lw_put_be32(prefix + 1, (uint32_t)trailers.n);
	lw_buf_append(&w->frame, prefix, sizeof(prefix));
	lw_buf_append_span(&w->frame, lw_buf_span(&trailers));
	lw_buf_deinit(&trailers);
}

static void respond_whole(struct web_call *w)
{
	struct http_header no_store = {"Cache-Control", "no-store"};
	if (w->text) {
		char *text = lw_xmalloc(LW_BASE64_LEN(w->frame.n) + 1);
		size_t n = lw_base64_encode(w->frame.p, w->frame.n, text);
		http_respond(w->req, 200, w->type, text, n, &no_store, 1);
		free(text);
	} else {
		http_respond(w->req, 200, w->type, w->frame.p, w->frame.n, &no_store, 1);
	}
}

static void on_finish(void *arg, int status, const char *message)
{
	struct web_call *w = arg;
	append_trailers(w, status, message);
	if (!w->begun) {
		respond_whole(w);
		web_free(w);
	} else if (http_stream_queued(w->req) > QUEUE_HIGH) {
		w->finished = true;
	} else {
		flush_frame(w);
		http_stream_end(w->req);
		web_free(w);
	}
}

static size_t on_queued(void *arg)
{
	const struct web_call *w = arg;
	return w->begun ? http_stream_queued(w->req) : 0;
}

static void on_http_close(struct http_request *r, void *arg)
{
	struct web_call *w = arg;
	struct grpc_call *call = grpc_call_ref(w->call);
	if (w->begun)
		http_stream_end(r);
	else
		http_respond(r, 499, NULL, NULL, 0, NULL, 0);
	grpc_call_cancel(call);
	web_free(w);
	grpc_call_unref(call);
}

static void on_http_drain(struct http_request *r, void *arg)
{
	struct web_call *w = arg;
	if (!w->finished) {
		grpc_call_drained(w->call);
		return;
	}
	flush_frame(w);
	http_stream_end(r);
	web_free(w);
}

/* --- requests --- */

struct header_list {
	struct grpc_metadata md[MAX_HEADERS];
	size_t n;
	struct lw_arena arena;
	int64_t timeout_ns;
};

static void note_header(void *arg, const char *name, const char *value)
{
	struct header_list *l = arg;
	if (strcasecmp(name, "grpc-timeout") == 0) {
		int64_t ns;
		if (grpc_timeout_parse(value, &ns) == 0)
			l->timeout_ns = ns;
		return;
	}
	char *lower = l->n < MAX_HEADERS ? lw_arena_strdup(&l->arena, name) : NULL;
	if (!lower)
		return;
	for (char *p = lower; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	l->md[l->n++] = (struct grpc_metadata){lower, value};
}

/* The text form may be several padded pieces one after the other. LW_EINVAL, LW_EBIG. */
static int decode_text(struct lw_span in, struct lw_buf *out)
{
	const char *p = (const char *)in.p;
	size_t left = in.n;
	while (left) {
		/* A piece ends at its padding, or with the body. */
		const char *pad = memchr(p, '=', left);
		size_t n = pad ? (size_t)(pad - p) : left;
		size_t with_pad = n;
		while (with_pad < left && p[with_pad] == '=')
			with_pad++;
		size_t cap = LW_BASE64_MAX_BYTES(n) + 1;
		uint8_t *to = lw_buf_reserve(out, cap);
		if (!to)
			return LW_EBIG;
		int got = lw_base64_decode(p, n, to, cap);
		if (got < 0)
			return got;
		lw_buf_commit(out, (size_t)got);
		p += with_pad;
		left -= with_pad;
	}
	return 0;
}

static void start(struct web_call *w, struct lw_span body)
{
	struct lw_buf decoded;
	lw_buf_init(&decoded, MAX_MESSAGE * 2);
	struct lw_span in = body;
	int rc = 0;
	if (w->text) {
		rc = decode_text(body, &decoded);
		in = lw_buf_span(&decoded);
	}
	struct lw_span msg;
	size_t used = 0;
	if (rc == 0)
		rc = grpc_frame_next(in, MAX_MESSAGE, &msg, &used);
	/* A call that begins may be over, and w gone, when the function returns. */
	if (rc == 1 && used == in.n)
		grpc_call_start_bytes(w->call, msg);
	else if (rc == LW_EUNSUPPORTED)
		on_finish(w, GRPC_UNIMPLEMENTED, "compression is not supported");
	else if (rc == LW_EBIG)
		on_finish(w, GRPC_RESOURCE_EXHAUSTED, "the message is larger than the maximum");
	else
		on_finish(w, GRPC_INTERNAL, "the body is not one message");
	lw_buf_deinit(&decoded);
}

static bool web_type(const char *value, bool *text, const char **answer)
{
	static const char BINARY[] = "application/grpc-web";
	if (!value || strncasecmp(value, BINARY, sizeof(BINARY) - 1) != 0)
		return false;
	const char *rest = value + sizeof(BINARY) - 1;
	*text = strncasecmp(rest, "-text", 5) == 0;
	if (*text)
		rest += 5;
	if (strncasecmp(rest, "+proto", 6) == 0)
		rest += 6;
	while (*rest == ' ')
		rest++;
	*answer = *text ? "application/grpc-web-text+proto" : "application/grpc-web+proto";
	return *rest == 0 || *rest == ';';
}

bool grpc_web_serve(const struct grpc_methods *m, struct http_request *r)
{
	bool text;
	const char *type;
	if (strcmp(http_request_method(r), "POST") != 0 ||
	    !web_type(http_request_header(r, "Content-Type"), &text, &type))
		return false;
	struct web_call *w = lw_xcalloc(1, sizeof(*w));
	w->req = r;
	w->text = text;
	w->type = type;
	lw_buf_init(&w->frame, MAX_SEND + (16u << 10)); /* and the trailers */
	struct header_list *headers = lw_xcalloc(1, sizeof(*headers));
	lw_arena_init(&headers->arena, NULL, 0, 64u << 10);
	http_request_each_header(r, note_header, headers);
	struct grpc_local l = {
		.path = http_request_path(r),
		.transport = "grpc-web",
		.peer = http_request_peer(r),
		.metadata = headers->md,
		.n_metadata = headers->n,
		/* Told to the handler only: the browser's fetch ends the call by going away. */
		.deadline_ns = headers->timeout_ns ? lw_mono_ns() + headers->timeout_ns : 0,
		.queue_high = QUEUE_HIGH,
		.arg = w,
		.message = on_message,
		.finish = on_finish,
		.queued = on_queued,
	};
	w->call = grpc_call_new(m, &l);
	const struct grpc_method *method = grpc_call_method(w->call);
	w->streaming = method && method->server_streaming;
	lw_arena_deinit(&headers->arena);
	free(headers);
	http_request_on_close(r, on_http_close, w);
	http_stream_on_drain(r, on_http_drain, w);
	start(w, http_request_body(r));
	return true;
}
