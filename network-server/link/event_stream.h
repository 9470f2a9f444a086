/* Events for application servers: offered in order, repeated until acknowledged. What is durable in the outbox goes out
 * of memory while the streams keep up, and is read from the store when they do not.
 *
 * One stream gets everything. Several share: each device belongs to one of eight lanes and each lane to one stream, the
 * same everywhere as long as the same application servers are there. The division changes only when nothing is under
 * way: an application server that comes is waited for until the others have acknowledged what they have; one that goes
 * without a farewell is waited for a moment, then all others open their streams anew and say from where
 * (docs/decisions/0013-events-in-lanes.md). A stream of a consumer whose name is there already replaces the older one,
 * which its peer has lost.
 *
 * Besides its own events it can serve those of a replica that is gone. */
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

/* Serves what a replica that is gone has left in the outbox, until it is back. */
void ns_event_stream_adopt(struct ns_event_stream *s, const char *origin);
void ns_event_stream_give_back(struct ns_event_stream *s, const char *origin);
bool ns_event_stream_serves(const struct ns_event_stream *s, const char *origin);
/* Of a device; 0 to 7. */
unsigned ns_event_lane(const char *dev_eui);
