/* The stream of network events that the app-server opens at the network-server and acknowledges
 * (longwave.ns.v1.NetworkServer/Events). Opened again after a loss, with growing delays; interprets nothing. */
#pragma once

#include "app-server/domain/event_position.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

struct grpc_client;
struct rt_log;
struct rt_loop;
struct lw_rng;
struct as_event_stream;

struct as_event_stream_opts {
	struct rt_loop *loop;
	struct rt_log *log;
	struct lw_rng *rng;
	const char *consumer; /* stable name; borrowed */
	/* The events of a batch as they came, valid during the callback; `split` as in EventBatch. */
	void (*batch)(void *arg, const struct lw_span *events, size_t n, bool split);
	/* Other application servers that share the events. May be NULL, as the next two. */
	unsigned (*others)(void *arg);
	/* False: not now, it is asked again in a moment. */
	bool (*may_open)(void *arg);
	void (*ended)(void *arg);
	void *arg;
};

struct as_event_stream *as_event_stream_new(const struct as_event_stream_opts *o);
void as_event_stream_free(struct as_event_stream *s);
/* Keeps a stream open from now on. `client` and `safe` are borrowed until stop: each time the stream is opened it names
 * what `safe` says then. */
void as_event_stream_start(struct as_event_stream *s, struct grpc_client *client, const struct as_positions *safe);
void as_event_stream_stop(struct as_event_stream *s);
/* Says farewell: what was not acknowledged goes to others at once. */
void as_event_stream_leave(struct as_event_stream *s);
/* Everything up to `safe` may be forgotten. Does nothing while no stream is open: the next one says it. */
void as_event_stream_ack(struct as_event_stream *s);
/* Holds the network-server back. */
void as_event_stream_pause(struct as_event_stream *s, bool paused);
bool as_event_stream_open(const struct as_event_stream *s);
