#include "network-server/link/event_stream.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/xmalloc.h"
#include "common/pb/unpack.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

#define MEMORY_MAX (16u << 20) /* bytes of events that wait in memory */
#define READ_LIMIT 500
#define BATCH 256
#define BATCH_BYTES (256u << 10)
#define CONSUMER_MAX 64
#define ARENA_MAX (64u << 20)
#define RETRY_MS 500

struct pending {
	struct pending *next;
	uint64_t seq;
	size_t n;
	uint8_t bytes[];
};

enum mode {
	IDLE,    /* no stream */
	READING, /* the store is asked for what comes after `sent` */
	BEHIND,  /* more is in the store than was read, and the peer does not take more now */
	LIVE,    /* memory holds everything after `sent` */
};

struct stream {
	struct stream *next;
	struct ns_event_stream *owner;
	struct grpc_call *call;
	bool opened; /* its first message came */
	uint64_t from;
	char consumer[CONSUMER_MAX];
};

struct ns_event_stream {
	struct ns_store *store;
	struct rt_log *log;
	enum mode mode;
	bool read_under_way;
	bool overflow;          /* memory was full while reading: read again */
	bool held;              /* the store is not certain what is in the outbox */
	struct stream *streams; /* in the order of their coming */
	struct stream *served;  /* NULL: nobody */
	struct pending *first, *last;
	size_t bytes;
	uint64_t sent; /* seq of the last event handed to the stream */
	uint64_t acked;
	struct rt_timer retry;
	struct lw_arena arena; /* of the message that is being made */
	struct rt_metric *n_sent, *n_acked, *n_read;
};

static void pump(struct ns_event_stream *s);

static void drop_memory(struct ns_event_stream *s)
{
	while (s->first) {
		struct pending *p = s->first;
		s->first = p->next;
		free(p);
	}
	s->last = NULL;
	s->bytes = 0;
}

static struct pending *pop(struct ns_event_stream *s)
{
	struct pending *p = s->first;
	s->first = p->next;
	if (!s->first)
		s->last = NULL;
	s->bytes -= p->n;
	return p;
}

static bool ready(const struct ns_event_stream *s)
{
	return s->served && !s->held && grpc_call_writable(s->served->call);
}

/* Collects from v what makes a message; events that were sent before are passed over. Returns how many of v. */
static size_t collect(struct ns_event_stream *s, const struct ns_stored_event *v, size_t n,
		      Longwave__Ns__V1__EventBatch *batch, uint64_t *last)
{
	size_t i = 0, bytes = 0;
	*last = s->sent;
	for (; i < n && batch->n_events < BATCH && bytes < BATCH_BYTES; i++) {
		if (v[i].seq <= *last)
			continue;
		ProtobufCMessage *e = NULL;
		int err = lw_pb_unpack(&longwave__ns__v1__event__descriptor, v[i].packed, &s->arena, &e);
		*last = v[i].seq;
		if (err) {
			RT_LOG_ERROR(s->log, "an event of the outbox cannot be read", rt_u64("seq", v[i].seq),
				     rt_err(err));
			continue;
		}
		batch->events[batch->n_events++] = (Longwave__Ns__V1__Event *)e;
		bytes += v[i].packed.n;
	}
	return i;
}

/* Sends a run of packed events. Returns how many of v were dealt with. */
static size_t send_run(struct ns_event_stream *s, const struct ns_stored_event *v, size_t n)
{
	Longwave__Ns__V1__Event *events[BATCH];
	size_t i = 0;
	while (i < n && ready(s)) {
		Longwave__Ns__V1__EventBatch batch = LONGWAVE__NS__V1__EVENT_BATCH__INIT;
		uint64_t last;
		batch.events = events;
		size_t k = collect(s, v + i, n - i, &batch, &last);
		int err = batch.n_events ? grpc_call_send(s->served->call, &batch.base) : 0;
		lw_arena_reset(&s->arena);
		if (err)
			return i;
		rt_metric_add(s->n_sent, batch.n_events);
		s->sent = last;
		i += k;
	}
	return i;
}

static void on_read(void *arg, int err, const struct ns_stored_event *v, size_t n)
{
	struct ns_event_stream *s = arg;
	s->read_under_way = false;
	if (s->mode != READING) {
		pump(s); /* a stream that was opened meanwhile waits for the store */
		return;
	}
	rt_metric_add(s->n_read, n);
	size_t done = err ? 0 : send_run(s, v, n);
	if (err || done < n || n == READ_LIMIT || s->overflow) {
		s->mode = BEHIND;
		if (!err)
			pump(s);
		return;
	}
	/* What was committed since is in memory. */
	while (s->first && s->first->seq <= s->sent)
		free(pop(s));
	s->mode = LIVE;
	pump(s);
}

static void read_on(struct ns_event_stream *s)
{
	if (s->read_under_way)
		return;
	drop_memory(s);
	s->overflow = false;
	s->mode = READING;
	s->read_under_way = true;
	ns_store_read_outbox(s->store, s->sent, READ_LIMIT, on_read, s);
}

/* Moves on as far as the peer takes it. */
static void pump(struct ns_event_stream *s)
{
	if (!ready(s))
		return;
	if (s->mode == BEHIND) {
		read_on(s);
		return;
	}
	while (s->mode == LIVE && s->first && ready(s)) {
		struct ns_stored_event v[BATCH];
		size_t n = 0;
		for (struct pending *p = s->first; p && n < BATCH; p = p->next)
			v[n++] = (struct ns_stored_event){p->seq, lw_span(p->bytes, p->n)};
		size_t done = send_run(s, v, n);
		for (size_t i = 0; i < done; i++)
			free(pop(s));
		if (done < n)
			return;
	}
}

void ns_event_stream_push(struct ns_event_stream *s, const struct ns_stored_event *v, size_t n)
{
	if (s->mode == IDLE || s->mode == BEHIND)
		return;
	if (s->mode == LIVE && !s->first) {
		size_t done = send_run(s, v, n);
		v += done;
		n -= done;
	}
	for (size_t i = 0; i < n; i++) {
		if (s->bytes + v[i].packed.n > MEMORY_MAX) {
			s->overflow = true;
			if (s->mode == LIVE) {
				drop_memory(s);
				s->mode = BEHIND;
			}
			return;
		}
		struct pending *p = lw_xmalloc(sizeof(*p) + v[i].packed.n);
		p->next = NULL;
		p->seq = v[i].seq;
		p->n = v[i].packed.n;
		memcpy(p->bytes, v[i].packed.p, v[i].packed.n);
		*(s->last ? &s->last->next : &s->first) = p;
		s->last = p;
		s->bytes += p->n;
	}
}

void ns_event_stream_hold(struct ns_event_stream *s, bool hold)
{
	s->held = hold;
	if (s->mode == IDLE)
		return;
	/* An answer under way may have been read too early. */
	drop_memory(s);
	s->mode = BEHIND;
	pump(s);
}

/* ---- streams ---- */

static void serve_next(struct ns_event_stream *s)
{
	drop_memory(s);
	s->mode = IDLE;
	for (s->served = s->streams; s->served && !s->served->opened;)
		s->served = s->served->next;
	if (!s->served)
		return;
	s->sent = s->served->from > s->acked ? s->served->from : s->acked;
	RT_LOG_INFO(s->log, "application server hears events", rt_str("consumer", s->served->consumer));
	s->mode = BEHIND; /* an answer under way was meant for another one */
	pump(s);
}

static void take_out(struct stream *st)
{
	for (struct stream **at = &st->owner->streams; *at; at = &(*at)->next) {
		if (*at == st) {
			*at = st->next;
			return;
		}
	}
}

static void remove_stream(struct stream *st)
{
	struct ns_event_stream *s = st->owner;
	bool was_served = s->served == st;
	take_out(st);
	grpc_call_set_user(st->call, NULL);
	free(st);
	if (was_served)
		serve_next(s);
}

static uint64_t position_of(const struct ns_event_stream *s, const Longwave__Ns__V1__Ack *ack)
{
	for (size_t i = 0; i < ack->n_positions; i++)
		if (strcmp(ack->positions[i]->origin, ns_store_origin(s->store)) == 0)
			return ack->positions[i]->seq;
	return 0;
}

static void acknowledge(struct ns_event_stream *s, uint64_t seq)
{
	if (seq <= s->acked)
		return;
	s->acked = seq;
	ns_store_ack_outbox(s->store, seq);
	rt_metric_inc(s->n_acked);
}

/* The peer of an older stream has gone without our hearing of it; the new one takes its place. */
static void replace_older(struct stream *st)
{
	struct ns_event_stream *s = st->owner;
	for (struct stream *old = s->streams; old; old = old->next) {
		if (old == st || !old->opened || !st->consumer[0] || strcmp(old->consumer, st->consumer) != 0)
			continue;
		struct grpc_call *c = old->call;
		RT_LOG_INFO(s->log, "event stream replaced by a newer one", rt_str("consumer", st->consumer));
		take_out(st);
		st->next = old->next;
		old->next = st;
		remove_stream(old);
		grpc_call_finish(c, GRPC_ABORTED, "a newer stream of the same consumer was opened");
		return;
	}
}

static void open_stream(struct stream *st, const Longwave__Ns__V1__Ack *ack, uint64_t seq)
{
	struct ns_event_stream *s = st->owner;
	strncpy(st->consumer, ack->consumer, sizeof(st->consumer) - 1);
	if (seq > ns_store_last_seq(s->store)) {
		RT_LOG_WARN(s->log, "application server names a position that no event has had; all are offered",
			    rt_str("consumer", st->consumer), rt_u64("seq", seq));
		seq = 0;
	}
	acknowledge(s, seq);
	st->opened = true;
	st->from = seq;
	replace_older(st);
	if (!s->served)
		serve_next(s);
}

static void on_ack(struct grpc_call *c, const ProtobufCMessage *msg)
{
	struct stream *st = grpc_call_user(c);
	const Longwave__Ns__V1__Ack *ack = (const Longwave__Ns__V1__Ack *)msg;
	if (!st)
		return;
	struct ns_event_stream *s = st->owner;
	uint64_t seq = position_of(s, ack);
	if (!st->opened) {
		open_stream(st, ack, seq);
		return;
	}
	/* Only what was handed out can be safe with anyone. */
	if (s->served == st && seq <= s->sent)
		acknowledge(s, seq);
	pump(s);
}

static void on_half_close(struct grpc_call *c)
{
	struct stream *st = grpc_call_user(c);
	if (st)
		remove_stream(st);
	grpc_call_finish(c, GRPC_OK, NULL);
}

static void on_writable(struct grpc_call *c)
{
	struct stream *st = grpc_call_user(c);
	if (st && st->owner->served == st)
		pump(st->owner);
}

static void on_cancel(struct grpc_call *c)
{
	struct stream *st = grpc_call_user(c);
	if (st)
		remove_stream(st);
	grpc_call_finish(c, GRPC_CANCELLED, NULL);
}

static const struct grpc_call_events EVENTS = {
	.message = on_ack, .half_close = on_half_close, .writable = on_writable, .cancel = on_cancel};

void ns_event_stream_handle(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct ns_event_stream *s = arg;
	struct stream *st = lw_xcalloc(1, sizeof(*st));
	(void)req;
	st->owner = s;
	st->call = c;
	struct stream **at = &s->streams;
	while (*at)
		at = &(*at)->next;
	*at = st;
	grpc_call_set_user(c, st);
	grpc_call_set_events(c, &EVENTS);
}

void ns_event_stream_drain(struct ns_event_stream *s)
{
	s->served = NULL;
	s->mode = IDLE;
	while (s->streams) {
		struct grpc_call *c = s->streams->call;
		struct stream *st = s->streams;
		s->streams = st->next;
		grpc_call_set_user(c, NULL);
		free(st);
		grpc_call_finish(c, GRPC_UNAVAILABLE, "this replica stops");
	}
	drop_memory(s);
}

/* The store may have been away when it was asked. */
static void on_retry(struct rt_timer *t, void *arg)
{
	(void)t;
	pump(arg);
}

struct ns_event_stream *ns_event_stream_new(struct rt_loop *loop, struct ns_store *store, struct rt_log *log,
					    struct rt_metrics *metrics)
{
	struct ns_event_stream *s = lw_xcalloc(1, sizeof(*s));
	s->store = store;
	lw_arena_init(&s->arena, NULL, 0, ARENA_MAX);
	rt_timer_init(&s->retry, loop, "event_stream", on_retry, s);
	rt_timer_start_every(&s->retry, RETRY_MS);
	s->log = log;
	s->n_sent = rt_counter(metrics, "events_sent_total", "Events handed to an application server");
	s->n_acked = rt_counter(metrics, "event_acks_total", "Acknowledgements of application servers");
	s->n_read = rt_counter(metrics, "events_read_total", "Events read back from the outbox");
	return s;
}

void ns_event_stream_free(struct ns_event_stream *s)
{
	if (!s)
		return;
	ns_event_stream_drain(s);
	rt_timer_stop(&s->retry);
	lw_arena_deinit(&s->arena);
	free(s);
}
