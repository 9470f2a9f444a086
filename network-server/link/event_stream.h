/* Events for application servers: offered in order, repeated until acknowledged. What is durable in the outbox goes out
 * of memory while a stream keeps up, and is read from the store when it does not.
 *
 * One stream is served at a time, the one that was opened first; others stand by and take over when it ends. A stream
 * of a consumer whose name is there already replaces the older one, which its peer has lost. */
#pragma once

#include "common/io/grpc_call.h"
#include "network-server/store/store.h"

struct ns_event_stream;
struct rt_metrics;

struct ns_event_stream *ns_event_stream_new(struct rt_loop *loop, struct ns_store *store, struct rt_log *log,
					    struct rt_metrics *metrics);
/* After the database was freed: a read of the outbox may be under way. */
void ns_event_stream_free(struct ns_event_stream *s);
/* From the store, in order, once durable. */
void ns_event_stream_push(struct ns_event_stream *s, const struct ns_stored_event *v, size_t n);
/* The store is not certain what the outbox holds (true), and is again (false): until then nothing is handed on. */
void ns_event_stream_hold(struct ns_event_stream *s, bool hold);
/* The gRPC method. */
void ns_event_stream_handle(struct grpc_call *c, const ProtobufCMessage *req, void *arg);
/* Ends all streams, so that application servers go to another replica. */
void ns_event_stream_drain(struct ns_event_stream *s);
