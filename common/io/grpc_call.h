/* One call of one RPC, whatever carried it: gRPC, gRPC-web, REST, or our own process. A handler is written once on
 * protobuf-c structs and registered in a method table; every transport makes calls against that table. Knows no socket.
 *
 * Life of a call: the transport makes it and runs the handler; the handler answers then or later with
 * grpc_call_send() for each message (at most one unless server_streaming) and exactly one grpc_call_finish() (or
 * grpc_call_reply(), which is both). Until that, the pointer is valid, even when the peer has gone: then `cancel` is
 * called once, grpc_call_cancelled() says true, and answers go nowhere, but the call must still be finished. Whoever
 * wants to look at a call after finishing it takes a reference first. Single-threaded: the loop's thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/io/grpc_status.h"

struct grpc_call;
struct grpc_methods;

/* Unary and server streaming: called once with the request, which is valid until the call is finished. Client streaming
 * and bidi: called once with req = NULL before the first message; it sets the call's events. */
typedef void grpc_handler_fn(struct grpc_call *c, const ProtobufCMessage *req, void *arg);

struct grpc_method {
	const char *path; /* "/api.DeviceService/Create" */
	const ProtobufCMessageDescriptor *input;
	const ProtobufCMessageDescriptor *output;
	bool client_streaming;
	bool server_streaming;
	grpc_handler_fn *fn;
	void *arg;
};

/* --- the method table --- */

struct grpc_methods *grpc_methods_new(void);
/* Not before every server that uses it is freed. */
void grpc_methods_free(struct grpc_methods *m);
/* Copies the row; the path is copied too, descriptors and arg are borrowed. LW_EEXISTS when the path is there. */
int grpc_methods_add(struct grpc_methods *m, const struct grpc_method *method);
/* Borrowed row, or NULL. */
const struct grpc_method *grpc_methods_find(const struct grpc_methods *m, const char *path);
/* Called (with req = NULL) for a path that is not in the table, on every transport; it has to finish the call. Without
 * it such calls end with UNIMPLEMENTED. */
void grpc_methods_set_fallback(struct grpc_methods *m, grpc_handler_fn *fn, void *arg);
/* Rows in order of registration: *it starts at 0; NULL at the end. */
const struct grpc_method *grpc_methods_next(const struct grpc_methods *m, size_t *it);

/* --- for handlers --- */

/* All optional. Never called after the call was finished. */
struct grpc_call_events {
	/* Client streaming: a message of the peer, valid during the callback only. */
	void (*message)(struct grpc_call *c, const ProtobufCMessage *msg);
	/* Client streaming: the peer will send no more. */
	void (*half_close)(struct grpc_call *c);
	/* The queue went below the low mark after grpc_call_writable() said false. */
	void (*writable)(struct grpc_call *c);
	/* Peer gone, call cancelled by it, deadline passed, or server stopped. Finish the call here or later. */
	void (*cancel)(struct grpc_call *c);
};

/* `ev` is borrowed for the life of the call (usually a static const). NULL removes. */
void grpc_call_set_events(struct grpc_call *c, const struct grpc_call_events *ev);
void grpc_call_set_user(struct grpc_call *c, void *user);
void *grpc_call_user(const struct grpc_call *c);

const char *grpc_call_path(const struct grpc_call *c);
/* The row of the method; NULL in the fallback handler. */
const struct grpc_method *grpc_call_method(const struct grpc_call *c);
/* First value of a metadata entry, or NULL. Lower-case name. Values of names ending in "-bin" are base64 as received.
 */
const char *grpc_call_metadata(const struct grpc_call *c, const char *name);
/* Walks all metadata; start with *it = 0. */
bool grpc_call_metadata_next(const struct grpc_call *c, size_t *it, const char **name, const char **value);
/* "127.0.0.1:51234"; for other transports what they said, never NULL. */
const char *grpc_call_peer(const struct grpc_call *c);
/* "grpc", "grpc-web", "rest", "local": for logs. */
const char *grpc_call_transport(const struct grpc_call *c);
/* Monotonic time (lw_mono_ns) at which the peer loses interest; INT64_MAX when it never said. */
int64_t grpc_call_deadline_ns(const struct grpc_call *c);
/* Memory that lives as long as the call: requests lie in it, handlers may build their answer in it. */
struct lw_arena *grpc_call_arena(struct grpc_call *c);

/* Packs and queues one message; `msg` is borrowed for the time of the call. Returns 0, LW_ECANCELLED (peer gone:
 * nothing sent), LW_EPRECONDITION (finished, or a second answer of a unary method), LW_EBIG (above the maximum size) or
 * LW_EFULL (stream's queue is at its hard limit; honour grpc_call_writable and this never happens). */
int grpc_call_send(struct grpc_call *c, const ProtobufCMessage *msg);
/* Ends the call. `message` may be NULL and is copied; UTF-8. The pointer is invalid afterwards, unless a reference is
 * held: then a second finish does nothing. OK without an answer of a unary method becomes INTERNAL. */
void grpc_call_finish(struct grpc_call *c, int status, const char *message);
void grpc_call_finishf(struct grpc_call *c, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* grpc_call_send + OK; when the message cannot be sent, the matching error status instead. */
void grpc_call_reply(struct grpc_call *c, const ProtobufCMessage *msg);

bool grpc_call_cancelled(const struct grpc_call *c);
bool grpc_call_finished(const struct grpc_call *c);
/* False while more than the high mark waits to be sent; then wait for the `writable` event. False when cancelled. */
bool grpc_call_writable(struct grpc_call *c);
/* Bytes that wait to be sent. */
size_t grpc_call_queued(const struct grpc_call *c);
/* Client streaming: stops and restarts the delivery of messages; the peer is held back by flow control. */
void grpc_call_pause(struct grpc_call *c, bool paused);

struct grpc_call *grpc_call_ref(struct grpc_call *c);
void grpc_call_unref(struct grpc_call *c);

/* --- for transports: REST, gRPC-web, calls inside the process --- */

struct grpc_metadata {
	const char *name; /* lower case */
	const char *value;
};

struct grpc_local {
	const char *path;
	const char *transport; /* static text; NULL: "local" */
	const char *peer;      /* NULL: "local" */
	const struct grpc_metadata *metadata;
	size_t n_metadata;
	int64_t deadline_ns; /* 0: none. The transport itself cancels when it passes. */
	size_t arena_max;    /* 0: default, 64 MiB */
	size_t queue_high;   /* grpc_call_writable() is false above; 0: 256 KiB */
	void *arg;
	/* An answer; borrowed during the callback. Returns 0, or LW_EFULL to refuse. */
	int (*message)(void *arg, const ProtobufCMessage *msg);
	/* Exactly once unless the call was cancelled; the last callback. message is never NULL. May come before
	 * grpc_call_start() returns. */
	void (*finish)(void *arg, int status, const char *message);
	/* Bytes that wait in the transport; NULL: always 0. */
	size_t (*queued)(void *arg);
	/* The handler wants messages (false) or none (true); NULL: grpc_call_push() answers LW_EAGAIN while paused. */
	void (*pause)(void *arg, bool paused);
};

/* Makes a call that has not begun, with one reference of the caller (grpc_call_unref when done with it). Never NULL:
 * an unknown path is answered through finish. Strings are copied. */
struct grpc_call *grpc_call_new(const struct grpc_methods *m, const struct grpc_local *l);
/* Runs the handler. `req`: the request, NULL for client streaming methods; valid until the call is freed, which is
 * easiest when it lies in the call's arena. When req is NULL for a method that wants one: INVALID_ARGUMENT. */
void grpc_call_start(struct grpc_call *c, const ProtobufCMessage *req);
/* The same with a serialized request, unpacked into the arena; INTERNAL when it cannot be, as other gRPC servers do. */
void grpc_call_start_bytes(struct grpc_call *c, struct lw_span req);
/* Client streaming: gives the handler a message. LW_EAGAIN while paused, LW_ECLOSED after the end. */
int grpc_call_push(struct grpc_call *c, const ProtobufCMessage *msg);
int grpc_call_push_bytes(struct grpc_call *c, struct lw_span msg);
void grpc_call_half_close(struct grpc_call *c);
/* The peer went away. No callback of the transport comes after this. */
void grpc_call_cancel(struct grpc_call *c);
/* The transport's queue went below its low mark. */
void grpc_call_drained(struct grpc_call *c);
