/* What the two halves of the gRPC server share, and the way in without a socket for tests and fuzzing. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "common/io/grpc_h2.h"
#include "common/io/grpc_server.h"
#include "common/runtime/loop.h"

/* Receive windows. The connection's is credited at once, so that a paused call never blocks another; a stream's bounds
 * what one call can hold. */
#define GS_STREAM_WINDOW (1u << 20)
#define GS_CONN_WINDOW (16u << 20)
/* Bytes of unfinished requests, and of answers not yet taken, of one connection. */
#define GS_CONN_IN_MAX ((size_t)64 << 20)
#define GS_CONN_OUT_MAX ((size_t)128 << 20)

struct grpc_server {
	struct rt_loop *loop;
	struct grpc_server_config cfg;
	uv_tcp_t *listener; /* freed by its close callback */
	int port;
	struct rt_tick *tick;
	struct rt_timer sweep;
	struct lw_list conns;
	struct lw_list dirty;   /* grpc_h2 with something to send */
	struct lw_list drained; /* gs_stream whose queue became low */
	struct lw_list resumed; /* gs_stream that wants messages again */
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	uint8_t *read_mem;
	struct grpc_server_stats stats;
	bool draining;
	void (*drain_done)(void *arg);
	void *drain_arg;
};

struct gs_conn {
	struct lw_list node;
	struct grpc_server *server;
	struct grpc_h2 *h2;
	struct lw_list streams;
	size_t in_bytes;
	size_t out_bytes;
};

struct gs_stream {
	struct lw_list node;
	struct lw_list drained_node;
	struct lw_list resumed_node;
	struct gs_conn *conn;
	int32_t id;
	struct grpc_call *call; /* NULL before it begins and after it ended */
	struct rt_timer deadline;
	/* request */
	char *path;
	struct lw_buf headers; /* name NUL value NUL … */
	size_t header_bytes;
	size_t n_headers;
	int64_t deadline_ns;
	bool post;
	bool grpc;
	bool encoded; /* a grpc-encoding that is not identity */
	bool bad_timeout;
	bool begun;
	bool client_streaming;
	bool paused;
	bool remote_closed;
	bool pumping;
	struct lw_buf in;
	size_t uncredited; /* bytes received whose window was not given back */
	/* answer */
	bool headers_sent;
	bool finished;
	bool deferred; /* nghttp2 waits for nghttp2_session_resume_data() */
	struct lw_buf out;
	size_t out_off;
	int status;
	struct lw_buf message; /* percent-encoded */
};

/* grpc_server_stream.c */
void gs_callbacks_init(nghttp2_session_callbacks *cb);
/* Frees a stream; an unfinished call is cancelled. */
void gs_stream_free(struct gs_stream *s);
/* Gives a resumed call the messages that wait. */
void gs_stream_resume(struct gs_stream *s);

/* A connection without a socket; NULL when the server is at its limit. Feed with grpc_h2_feed(), flush with
 * grpc_h2_flush(), read h->out; end with grpc_server_memory_close(). */
struct grpc_h2 *grpc_server_memory(struct grpc_server *s);
void grpc_server_memory_close(struct grpc_h2 *h);
