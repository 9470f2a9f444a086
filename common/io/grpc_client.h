/* gRPC client: one HTTP/2 connection to one address, kept and re-made as needed. All frames of a loop tick leave in one
 * write. Never blocks, except for the resolution of names in libuv's pool. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/err.h"
#include "common/io/grpc_call.h"
#include "common/io/grpc_status.h"

struct rt_loop;
struct tls_context;
struct grpc_client;
struct grpc_stream;

struct grpc_client_config {
	const char *address;     /* "127.0.0.1:8000", "host:8000", "[::1]:8000"; copied */
	struct tls_context *tls; /* NULL: plain text; borrowed */
	/* 0 means the default. */
	size_t max_message;            /* bytes of one received message: 4 MiB */
	uint32_t connect_timeout_ms;   /* 5000 */
	uint32_t backoff_min_ms;       /* 100 */
	uint32_t backoff_max_ms;       /* 10000 */
	uint32_t keepalive_ms;         /* 30000 */
	uint32_t keepalive_timeout_ms; /* 20000 */
	size_t queue_high;             /* of a stream: grpc_stream_writable() becomes false above; 256 KiB */
	size_t queue_hard;             /* of a stream: LW_EFULL above; 16 MiB */
	uint32_t max_pending;          /* calls that wait for a connection or an answer: 100000 */
	/* Called (if set) with each change: connected, or lost with the reason. */
	void (*on_state)(void *arg, bool connected, const char *reason);
	void *on_state_arg;
};

/* What a call is about. All borrowed for the time of the function. */
struct grpc_client_request {
	const char *path; /* "/longwave.ns.v1.NetworkService/Enqueue" */
	const struct grpc_metadata *metadata;
	size_t n_metadata;
	uint32_t deadline_ms;                     /* 0: none. Told to the server and enforced here. */
	const ProtobufCMessageDescriptor *output; /* of the answers */
	bool wait_for_ready; /* wait for a connection until the deadline; else UNAVAILABLE as soon as connecting failed
			      */
};

/* Exactly once per call, never before grpc_client_call() returned. `resp` is set exactly when status is GRPC_OK, and is
 * valid during the callback. `message` is never NULL. */
typedef void grpc_done_fn(void *arg, int status, const char *message, const ProtobufCMessage *resp);

struct grpc_client *grpc_client_new(struct rt_loop *loop, const struct grpc_client_config *config);
/* Ends all calls with CANCELLED (done and end are called from here). */
void grpc_client_free(struct grpc_client *c);
bool grpc_client_connected(const struct grpc_client *c);
/* Calls and streams not ended yet. */
size_t grpc_client_pending(const struct grpc_client *c);
/* Starts to connect without a call, and keeps the connection from then on. */
void grpc_client_connect(struct grpc_client *c);

/* A unary call. Returns an id for grpc_client_cancel(), never 0. */
uint64_t grpc_client_call(struct grpc_client *c, const struct grpc_client_request *r, const ProtobufCMessage *req,
			  grpc_done_fn *done, void *arg);
/* Forgets a call: done is not called. An id of an ended call does nothing. */
void grpc_client_cancel(struct grpc_client *c, uint64_t id);

struct grpc_stream_events {
	void (*message)(struct grpc_stream *s, const ProtobufCMessage *msg, void *arg); /* valid during the callback */
	/* Instead of `message`: the bytes as they came, for who unpacks only parts of them or keeps what is inside.
	 * False ends the stream as a message that cannot be decoded does. */
	bool (*bytes)(struct grpc_stream *s, struct lw_span msg, void *arg);
	void (*writable)(struct grpc_stream *s, void *arg); /* optional */
	/* Exactly once, unless grpc_stream_cancel() was called; the stream is invalid when it returns. */
	void (*end)(struct grpc_stream *s, int status, const char *message, void *arg);
};

/* Any kind of streaming call; a stream is bound to one connection and not re-made. `ev` is borrowed for its life. */
struct grpc_stream *grpc_stream_open(struct grpc_client *c, const struct grpc_client_request *r,
				     const struct grpc_stream_events *ev, void *arg);
/* 0, LW_EFULL (queue at its hard limit), LW_EBIG, LW_EPRECONDITION (after half close). */
int grpc_stream_send(struct grpc_stream *s, const ProtobufCMessage *msg);
/* No more will be sent. */
void grpc_stream_half_close(struct grpc_stream *s);
/* Resets the stream; no callback comes after, the pointer is invalid. Allowed inside `message` and `writable`. */
void grpc_stream_cancel(struct grpc_stream *s);
/* Stops and restarts the delivery of messages; the server is held back by flow control. */
void grpc_stream_pause(struct grpc_stream *s, bool paused);
bool grpc_stream_writable(struct grpc_stream *s);
size_t grpc_stream_queued(const struct grpc_stream *s);
