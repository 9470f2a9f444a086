#include "app-server/link/event_stream.h"

#include <stdlib.h>

#include "common/base/backoff.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_client.h"
#include "common/pb/unpack.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"

#define ASK_MS 20

enum { EVENTS_ID = 1, SPLIT_ID = 2 }; /* of an EventBatch */

struct as_event_stream {
	struct as_event_stream_opts o;
	struct grpc_client *client; /* NULL: stopped */
	const struct as_positions *safe;
	struct grpc_stream *stream;
	struct rt_timer timer;
	struct lw_backoff backoff;
	bool paused;
	bool heard;             /* something came over this stream */
	struct lw_span *events; /* of the batch that is given on */
	size_t cap;
};

static void send_ack(struct as_event_stream *s, bool first)
{
	Longwave__Ns__V1__Ack ack = LONGWAVE__NS__V1__ACK__INIT;
	Longwave__Ns__V1__Position pos[AS_POSITIONS_MAX];
	Longwave__Ns__V1__Position *list[AS_POSITIONS_MAX];

	for (size_t i = 0; i < s->safe->n; i++) {
		longwave__ns__v1__position__init(&pos[i]);
		pos[i].origin = (char *)(uintptr_t)s->safe->v[i].origin;
		pos[i].seq = s->safe->v[i].seq;
		list[i] = &pos[i];
	}
	ack.n_positions = s->safe->n;
	ack.positions = list;
	if (first) {
		ack.consumer = (char *)(uintptr_t)s->o.consumer;
		ack.others = s->o.others ? s->o.others(s->o.arg) : 0;
	}
	/* Not sent: a later one says the same and more. */
	(void)grpc_stream_send(s->stream, &ack.base);
}

/* An event is unpacked where it stays, and one that cannot be read does not stand in the way of the others. */
static bool on_batch(struct grpc_stream *stream, struct lw_span msg, void *arg)
{
	struct as_event_stream *s = arg;
	bool split = false;
	size_t n = 0;
	(void)stream;
	while (msg.n) {
		struct lw_pb_member m;
		if (lw_pb_next(&msg, &m) < 0)
			return false;
		if (m.id == SPLIT_ID && m.type == PROTOBUF_C_WIRE_TYPE_VARINT)
			split = m.number != 0;
		if (m.id != EVENTS_ID || m.type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
			continue;
		if (n == s->cap) {
			s->cap = s->cap ? 2 * s->cap : 64;
			s->events = lw_xreallocarray(s->events, s->cap, sizeof(*s->events));
		}
		s->events[n++] = m.body;
	}
	if (!s->heard) {
		s->heard = true;
		lw_backoff_reset(&s->backoff);
	}
	s->o.batch(s->o.arg, s->events, n, split);
	return true;
}

static void on_end(struct grpc_stream *stream, int status, const char *message, void *arg)
{
	struct as_event_stream *s = arg;
	(void)stream;
	s->stream = NULL;
	if (s->o.ended)
		s->o.ended(s->o.arg);
	RT_LOG_INFO(s->o.log, "stream of network events ended", rt_i64("status", status), rt_str("detail", message));
	if (s->client)
		rt_timer_start(&s->timer, lw_backoff_next_ms(&s->backoff, s->o.rng));
}

static const struct grpc_stream_events stream_events = {.bytes = on_batch, .end = on_end};

static void open_stream(struct rt_timer *t, void *arg)
{
	struct as_event_stream *s = arg;
	struct grpc_client_request r = {.path = "/longwave.ns.v1.NetworkServer/Events",
					.output = &longwave__ns__v1__event_batch__descriptor};
	if (s->o.may_open && !s->o.may_open(s->o.arg)) {
		rt_timer_start(t, ASK_MS);
		return;
	}
	s->heard = false;
	s->stream = grpc_stream_open(s->client, &r, &stream_events, s);
	send_ack(s, true);
	if (s->paused)
		grpc_stream_pause(s->stream, true);
}

struct as_event_stream *as_event_stream_new(const struct as_event_stream_opts *o)
{
	struct as_event_stream *s = lw_xcalloc(1, sizeof(*s));
	s->o = *o;
	lw_backoff_init(&s->backoff, 100, 5000);
	rt_timer_init(&s->timer, o->loop, "events stream", open_stream, s);
	return s;
}

void as_event_stream_free(struct as_event_stream *s)
{
	if (!s)
		return;
	as_event_stream_stop(s);
	free(s->events);
	free(s);
}

void as_event_stream_start(struct as_event_stream *s, struct grpc_client *client, const struct as_positions *safe)
{
	as_event_stream_stop(s);
	s->client = client;
	s->safe = safe;
	s->paused = false;
	rt_timer_start(&s->timer, 0);
}

void as_event_stream_stop(struct as_event_stream *s)
{
	rt_timer_stop(&s->timer);
	if (s->stream)
		grpc_stream_cancel(s->stream);
	s->stream = NULL;
	s->client = NULL;
}

void as_event_stream_leave(struct as_event_stream *s)
{
	rt_timer_stop(&s->timer);
	s->client = NULL;
	if (s->stream)
		grpc_stream_half_close(s->stream);
}

void as_event_stream_ack(struct as_event_stream *s)
{
	if (s->stream)
		send_ack(s, false);
}

void as_event_stream_pause(struct as_event_stream *s, bool paused)
{
	if (s->paused == paused)
		return;
	s->paused = paused;
	if (s->stream)
		grpc_stream_pause(s->stream, paused);
}

bool as_event_stream_open(const struct as_event_stream *s)
{
	return s->stream != NULL;
}
