/* What the two halves of the gRPC client share. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "common/base/backoff.h"
#include "common/base/map.h"
#include "common/io/grpc_client.h"
#include "common/io/grpc_h2.h"
#include "common/runtime/loop.h"

#define GC_STREAM_WINDOW (1u << 20)
#define GC_CONN_WINDOW (16u << 20)
#define GC_MAX_ADDRS 8

enum gc_state {
	GC_IDLE, /* never used */
	GC_RESOLVING,
	GC_CONNECTING,
	GC_READY,
	GC_WAITING, /* for the next attempt */
};

/* One connection; an old one lives on for its calls after the server said GOAWAY. */
struct gc_conn {
	struct lw_list node;
	struct grpc_client *client;
	struct grpc_h2 *h2;
	struct lw_list streams;
	bool settings; /* the server's SETTINGS came: it is an HTTP/2 server */
	bool goaway;
};

struct grpc_client {
	struct rt_loop *loop;
	struct grpc_client_config cfg;
	char *address;
	char host[NET_HOST_LEN];
	uint16_t port;
	enum gc_state state;
	bool failed; /* the last attempt did: calls are refused at once */
	bool zombie; /* freed from inside a callback */
	unsigned busy;
	char reason[192];
	struct sockaddr_storage addrs[GC_MAX_ADDRS];
	size_t n_addrs;
	size_t next_addr;
	struct gc_resolve *resolve;
	struct gc_conn *conn; /* current; NULL unless connecting or ready */
	struct lw_list conns; /* all */
	struct lw_backoff backoff;
	struct lw_rng rng;
	struct rt_timer retry;
	struct rt_timer connect_limit;
	struct rt_timer sweep;
	struct rt_timer completer; /* runs completions outside of the caller */
	struct rt_tick *tick;
	struct lw_list dirty;
	struct lw_list waiting;   /* grpc_stream without a connection */
	struct lw_list completed; /* grpc_stream whose end is to be told */
	struct lw_list drained;
	struct lw_list resumed;
	struct lw_map by_id;
	uint64_t next_id;
	size_t pending;
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	uint8_t *read_mem;
	struct lw_arena arena; /* messages during their callback */
};

struct grpc_stream {
	struct lw_list node; /* in waiting, a connection's streams, or completed */
	struct lw_list drained_node;
	struct lw_list resumed_node;
	struct grpc_client *client;
	struct gc_conn *conn;
	uint64_t id;
	int32_t sid;                         /* HTTP/2 stream; 0: not submitted */
	grpc_done_fn *done;                  /* unary */
	const struct grpc_stream_events *ev; /* streaming */
	void *arg;
	char *path;
	struct lw_buf headers; /* name NUL value NUL … */
	size_t n_headers;
	const ProtobufCMessageDescriptor *output;
	bool wait_for_ready;
	struct rt_timer deadline;
	int64_t deadline_ns; /* 0: none */
	/* request */
	struct lw_buf out;
	size_t out_off;
	bool half_closed;
	bool deferred;
	bool blocked;
	bool sent; /* the request left: it may have been acted upon */
	unsigned retries;
	/* answer */
	struct lw_buf in;
	size_t uncredited;
	size_t header_bytes;
	bool paused;
	bool pumping;
	bool dead;  /* cancelled by the user inside a callback */
	bool ended; /* status is final */
	bool got_status;
	bool bad_content;
	int http_status;
	int status;
	char *message;
};

/* grpc_client.c */
void gc_kick(struct grpc_client *c);

/* grpc_client_stream.c */
void gc_callbacks_init(nghttp2_session_callbacks *cb);
/* Hands a waiting stream to the connection. */
void gc_stream_submit(struct grpc_stream *s, struct gc_conn *conn);
/* The connection is gone: ends the stream, or puts it back to waiting when the request never left. */
void gc_stream_lost(struct grpc_stream *s, const char *reason);
/* Ends with a status of our own; told to the user later. */
void gc_stream_end(struct grpc_stream *s, int status, const char *message);
void gc_stream_pump(struct grpc_stream *s);
/* Tells the user the end and frees it. */
void gc_stream_complete(struct grpc_stream *s);
void gc_stream_free(struct grpc_stream *s);
