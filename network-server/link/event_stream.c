#include "network-server/link/event_stream.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/xmalloc.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

#define MEMORY_MAX (16u << 20) /* bytes of events that wait in memory */
#define READ_LIMIT 500
#define BATCH 256
#define CONSUMER_MAX 64
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
	struct stream *streams; /* the first is served */
	struct pending *first, *last;
	size_t bytes;
	uint64_t sent; /* seq of the last event handed to the stream */
	uint64_t acked;
	struct rt_timer retry;
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

static int send_batch(struct ns_event_stream *s, Longwave__Ns__V1__Event **v, size_t n, uint64_t last)
{
	Longwave__Ns__V1__EventBatch batch = LONGWAVE__NS__V1__EVENT_BATCH__INIT;
	batch.events = v;
	batch.n_events = n;
	int err = grpc_call_send(s->streams->call, &batch.base);
	if (!err) {
		s->sent = last;
		rt_metric_add(s->n_sent, n);
	}
	return err;
}

/* Sends a run of packed events; those that were sent before are skipped. Returns how many of v were dealt with. */
static size_t send_run(struct ns_event_stream *s, const struct ns_stored_event *v, size_t n)
{
	Longwave__Ns__V1__Event *events[BATCH];
	size_t i = 0;
	while (i < n && s->streams && grpc_call_writable(s->streams->call)) {
		size_t k = 0;
		uint64_t last = s->sent;
		for (; i < n && k < BATCH; i++) {
			if (v[i].seq <= last)
				continue;
			events[k] = longwave__ns__v1__event__unpack(NULL, v[i].packed.n, v[i].packed.p);
			if (!events[k])
				continue;
			last = v[i].seq;
			k++;
		}
		int err = k ? send_batch(s, events, k, last) : 0;
		for (size_t e = 0; e < k; e++)
			longwave__ns__v1__event__free_unpacked(events[e], NULL);
		if (err)
			return i - k;
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
	if (!s->streams || !s->streams->opened || !grpc_call_writable(s->streams->call))
		return;
	if (s->mode == BEHIND) {
		read_on(s);
		return;
	}
	while (s->mode == LIVE && s->first && grpc_call_writable(s->streams->call)) {
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

/* ---- streams ---- */

static void serve_first(struct ns_event_stream *s)
{
	drop_memory(s);
	s->mode = IDLE;
	if (!s->streams || !s->streams->opened)
		return;
	s->sent = s->streams->from > s->acked ? s->streams->from : s->acked;
	RT_LOG_INFO(s->log, "application server hears events", rt_str("consumer", s->streams->consumer));
	if (s->read_under_way) {
		s->mode = BEHIND; /* that answer is for another one */
		return;
	}
	read_on(s);
}

static void remove_stream(struct stream *st)
{
	struct ns_event_stream *s = st->owner;
	bool was_first = s->streams == st;
	for (struct stream **at = &s->streams; *at; at = &(*at)->next) {
		if (*at == st) {
			*at = st->next;
			break;
		}
	}
	grpc_call_set_user(st->call, NULL);
	free(st);
	if (was_first)
		serve_first(s);
}

static uint64_t position_of(const struct ns_event_stream *s, const Longwave__Ns__V1__Ack *ack)
{
	for (size_t i = 0; i < ack->n_positions; i++)
		if (strcmp(ack->positions[i]->origin, ns_store_origin(s->store)) == 0)
			return ack->positions[i]->seq;
	return 0;
}

static void on_ack(struct grpc_call *c, const ProtobufCMessage *msg)
{
	struct stream *st = grpc_call_user(c);
	const Longwave__Ns__V1__Ack *ack = (const Longwave__Ns__V1__Ack *)msg;
	if (!st)
		return;
	struct ns_event_stream *s = st->owner;
	uint64_t seq = position_of(s, ack);
	if (seq > s->acked) {
		s->acked = seq;
		ns_store_ack_outbox(s->store, seq);
		rt_metric_inc(s->n_acked);
	}
	if (st->opened) {
		pump(s);
		return;
	}
	st->opened = true;
	st->from = seq;
	strncpy(st->consumer, ack->consumer, sizeof(st->consumer) - 1);
	if (s->streams == st)
		serve_first(s);
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
	if (st && st->owner->streams == st)
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
	while (s->streams) {
		struct grpc_call *c = s->streams->call;
		struct stream *st = s->streams;
		s->streams = st->next;
		grpc_call_set_user(c, NULL);
		free(st);
		grpc_call_finish(c, GRPC_UNAVAILABLE, "this replica stops");
	}
	drop_memory(s);
	s->mode = IDLE;
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
	free(s);
}
