#include "network-server/link/event_stream.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/pb/unpack.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"
#include "network-server/link/event_source.h"

#define READ_LIMIT 500
#define BATCH 256
#define BATCH_BYTES (256u << 10)
#define CONSUMER_MAX 64
#define EVENTS_TAG 1  /* of an EventBatch */
#define DEV_EUI_TAG 4 /* of an Event */
#define ARENA_MAX (64u << 20)
#define RETRY_MS 500
#define POLL_ORPHANS 10  /* retries between two looks at what a replica that is gone may still have written */
#define GRACE_MS 1000    /* for what an application server sent to its broker before it died */
#define GATHER_MS 2000   /* for the streams of the others */
#define BLOCKED_MS 10000 /* a stream that takes nothing for so long holds up the others */
#define BARRIER_MS 20000 /* for acknowledgements before the lanes are divided anew */

struct stream {
	struct stream *next;
	struct ns_event_stream *owner;
	struct grpc_call *call;
	bool opened;    /* its first message came */
	bool is_laid;   /* has a part of the lanes */
	unsigned lanes; /* a bit each */
	char consumer[CONSUMER_MAX];
};

struct ns_event_stream {
	struct rt_loop *loop;
	struct ns_store *store;
	struct rt_log *log;
	bool held;              /* the store is not certain what is in the outbox */
	struct stream *streams; /* in the order of their coming */
	/* How the lanes are divided. Not at all: nobody is served. */
	bool laid;
	bool barrier; /* nothing is sent until all is acknowledged, then the lanes are divided anew */
	size_t n_laid;
	struct stream *owner_of[NS_LANES];
	size_t want; /* streams that are waited for before the lanes are divided */
	int64_t barrier_ns, blocked_ns;
	unsigned retries;
	struct ns_source own;
	struct rt_timer retry, grace, gather;
	struct lw_arena arena; /* of the message that is being made */
	struct rt_metric *n_sent, *n_acked, *n_read;
};

static void pump(struct ns_event_stream *s);
static void pump_source(struct ns_source *src);
static void divide(struct ns_event_stream *s);

/* ---- out ---- */

static bool ready(const struct ns_event_stream *s, const struct ns_source *src)
{
	if (!s->laid || s->barrier || (src->is_own && s->held))
		return false;
	for (const struct stream *st = s->streams; st; st = st->next)
		if (st->is_laid && !grpc_call_writable(st->call))
			return false;
	return true;
}

/* Events go out in the bytes in which they are stored. To protobuf-c they are fields that it does not know, which it
 * writes as they are. */
struct parcel {
	struct stream *to;
	size_t n;
	ProtobufCMessageUnknownField events[BATCH];
};

static struct parcel *parcel_for(struct parcel *v, size_t *n, struct stream *to)
{
	for (size_t i = 0; i < *n; i++)
		if (v[i].to == to)
			return &v[i];
	struct parcel *p = &v[(*n)++];
	p->to = to;
	p->n = 0;
	return p;
}

/* Length and bytes, as they stand behind the field's tag. */
static void enclose(struct ns_event_stream *s, struct parcel *p, struct lw_span packed)
{
	uint8_t head[10];
	size_t n = lw_pb_put_varint(head, packed.n);
	uint8_t *at = lw_arena_alloc(&s->arena, n + packed.n);
	BUG_ON(!at); /* a batch is far smaller than the arena may be */
	memcpy(at, head, n);
	memcpy(at + n, packed.p, packed.n);
	p->events[p->n++] = (ProtobufCMessageUnknownField){
		.tag = EVENTS_TAG, .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, .len = n + packed.n, .data = at};
}

/* What was read back from a database is looked through: one that is damaged must not stand in the way of the others. */
static int lane_of(struct lw_span packed, bool is_read, unsigned *lane)
{
	char dev_eui[LW_EUI_TEXT] = "";
	struct lw_span text;
	int err = is_read ? lw_pb_check(&longwave__ns__v1__event__descriptor, packed) : 0;
	if (!err)
		err = lw_pb_find_bytes(packed, DEV_EUI_TAG, &text);
	if (!err && text.n && text.n < sizeof(dev_eui))
		memcpy(dev_eui, text.p, text.n);
	*lane = ns_event_lane(dev_eui);
	return err;
}

/* Puts v into parcels, one for each stream that gets something; events that were sent before or are safe are passed
 * over. Returns how many of v. */
static size_t collect(struct ns_source *src, const struct ns_stored_event *v, size_t n, bool is_read,
		      struct parcel *parcels, size_t *n_parcels)
{
	struct ns_event_stream *s = src->owner;
	size_t i = 0, bytes = 0, taken = 0;
	for (; i < n && taken < BATCH && bytes < BATCH_BYTES; i++) {
		if (v[i].seq <= src->sent)
			continue;
		unsigned lane;
		int err = lane_of(v[i].packed, is_read, &lane);
		src->sent = v[i].seq;
		if (err) {
			RT_LOG_ERROR(s->log, "an event of the outbox cannot be read", rt_u64("seq", v[i].seq),
				     rt_err(err));
			continue;
		}
		if (ns_source_is_safe(src, v[i].seq, lane))
			continue;
		enclose(s, parcel_for(parcels, n_parcels, s->owner_of[lane]), v[i].packed);
		ns_source_hand(src, v[i].seq, lane);
		taken++;
		bytes += v[i].packed.n;
	}
	return i;
}

static void tell_store(struct ns_event_stream *s, struct ns_source *src)
{
	uint64_t safe = ns_source_settle(src);
	if (safe <= src->acked)
		return;
	src->acked = safe;
	if (src->is_own)
		ns_store_ack_outbox(s->store, safe);
	else
		ns_store_ack_orphans(s->store, src->origin, safe);
	rt_metric_inc(s->n_acked);
}

static void send_parcel(struct ns_event_stream *s, struct parcel *p)
{
	Longwave__Ns__V1__EventBatch batch = LONGWAVE__NS__V1__EVENT_BATCH__INIT;
	batch.split = s->n_laid > 1;
	batch.base.n_unknown_fields = (unsigned)p->n;
	batch.base.unknown_fields = p->events;
	/* Not sent: the stream is at its end, which will be heard in a moment, and all goes again. */
	if (grpc_call_send(p->to->call, &batch.base) == 0)
		rt_metric_add(s->n_sent, p->n);
}

/* Sends a run of packed events; `is_read` from a database. Returns how many of v were dealt with. */
static size_t send_run(struct ns_source *src, const struct ns_stored_event *v, size_t n, bool is_read)
{
	struct ns_event_stream *s = src->owner;
	struct parcel *parcels = NULL;
	size_t i = 0;
	while (i < n && ready(s, src)) {
		size_t n_parcels = 0;
		if (!parcels)
			parcels = lw_xmalloc(s->n_laid * sizeof(*parcels));
		i += collect(src, v + i, n - i, is_read, parcels, &n_parcels);
		for (size_t k = 0; k < n_parcels; k++)
			send_parcel(s, &parcels[k]);
		lw_arena_reset(&s->arena);
	}
	free(parcels);
	/* What was passed over may be all there is. */
	if (!src->n_handed)
		tell_store(s, src);
	return i;
}

static void on_read(void *arg, int err, const struct ns_stored_event *v, size_t n, bool more)
{
	struct ns_source *src = arg;
	struct ns_event_stream *s = src->owner;
	src->read_under_way = false;
	if (src->is_dead) {
		ns_source_deinit(src);
		free(src);
		return;
	}
	if (src->mode != NS_SOURCE_READING) {
		pump_source(src); /* a stream that was opened meanwhile waits for the store */
		return;
	}
	rt_metric_add(s->n_read, n);
	size_t done = err ? 0 : send_run(src, v, n, true);
	if (err || done < n || more || src->overflow) {
		src->mode = NS_SOURCE_BEHIND;
		if (!err)
			pump_source(src);
		return;
	}
	/* What was committed since is in memory. */
	while (src->first && src->first->seq <= src->sent)
		free(ns_source_pop(src));
	src->mode = NS_SOURCE_LIVE;
	pump_source(src);
}

static void read_on(struct ns_source *src)
{
	struct ns_event_stream *s = src->owner;
	if (src->read_under_way)
		return;
	ns_source_drop_memory(src);
	src->overflow = false;
	src->mode = NS_SOURCE_READING;
	src->read_under_way = true;
	ns_store_read_outbox(s->store, src->origin, src->sent, READ_LIMIT, on_read, src);
}

/* Moves on as far as the peers take it. */
static void pump_source(struct ns_source *src)
{
	struct ns_event_stream *s = src->owner;
	if (!ready(s, src))
		return;
	if (src->mode == NS_SOURCE_BEHIND) {
		read_on(src);
		return;
	}
	while (src->mode == NS_SOURCE_LIVE && src->first && ready(s, src)) {
		struct ns_stored_event v[BATCH];
		size_t n = 0;
		for (struct ns_source_event *p = src->first; p && n < BATCH; p = p->next)
			v[n++] = (struct ns_stored_event){p->seq, lw_span(p->bytes, p->n)};
		size_t done = send_run(src, v, n, false);
		for (size_t i = 0; i < done; i++)
			free(ns_source_pop(src));
		if (done < n)
			return;
	}
}

static void pump(struct ns_event_stream *s)
{
	for (struct ns_source *src = &s->own; src; src = src->next)
		pump_source(src);
}

void ns_event_stream_push(struct ns_event_stream *s, const struct ns_stored_event *v, size_t n)
{
	struct ns_source *src = &s->own;
	if (src->mode == NS_SOURCE_IDLE || src->mode == NS_SOURCE_BEHIND)
		return;
	if (src->mode == NS_SOURCE_LIVE && !src->first) {
		size_t done = send_run(src, v, n, false);
		v += done;
		n -= done;
	}
	for (size_t i = 0; i < n; i++) {
		if (ns_source_keep(src, &v[i]))
			continue;
		src->overflow = true;
		if (src->mode == NS_SOURCE_LIVE) {
			ns_source_drop_memory(src);
			src->mode = NS_SOURCE_BEHIND;
		}
		return;
	}
}

void ns_event_stream_hold(struct ns_event_stream *s, bool hold)
{
	s->held = hold;
	if (s->own.mode == NS_SOURCE_IDLE)
		return;
	/* An answer under way may have been read too early. */
	ns_source_drop_memory(&s->own);
	s->own.mode = NS_SOURCE_BEHIND;
	pump_source(&s->own);
}

/* ---- who gets what ---- */

static size_t n_opened(const struct ns_event_stream *s)
{
	size_t n = 0;
	for (const struct stream *st = s->streams; st; st = st->next)
		n += st->opened;
	return n;
}

static bool all_safe(const struct ns_event_stream *s)
{
	for (const struct ns_source *src = &s->own; src; src = src->next)
		if (src->n_handed)
			return false;
	return true;
}

static void stop_all(struct ns_event_stream *s)
{
	s->laid = s->barrier = false;
	s->n_laid = 0;
	memset(s->owner_of, 0, sizeof(s->owner_of));
	for (struct stream *st = s->streams; st; st = st->next) {
		st->is_laid = false;
		st->lanes = 0;
	}
	for (struct ns_source *src = &s->own; src; src = src->next) {
		ns_source_drop_memory(src);
		src->mode = NS_SOURCE_IDLE;
	}
}

static int by_consumer(const void *a, const void *b)
{
	const struct stream *const *x = a, *const *y = b;
	return strcmp((*x)->consumer, (*y)->consumer);
}

/* Lanes go in turn to the streams in the order of their names: the same in every replica. */
static void divide(struct ns_event_stream *s)
{
	struct stream *v[NS_LANES]; /* more stand by */
	size_t n = 0;
	stop_all(s);
	rt_timer_stop(&s->gather);
	s->want = 0;
	s->blocked_ns = 0;
	for (struct stream *st = s->streams; st && n < NS_LANES; st = st->next)
		if (st->opened)
			v[n++] = st;
	if (!n)
		return;
	qsort(v, n, sizeof(v[0]), by_consumer);
	for (unsigned i = 0; i < NS_LANES; i++) {
		s->owner_of[i] = v[i % n];
		v[i % n]->is_laid = true;
		v[i % n]->lanes |= 1u << i;
	}
	s->n_laid = n;
	s->laid = true;
	RT_LOG_INFO(s->log, "application server hears events", rt_str("consumer", v[0]->consumer),
		    rt_u64("streams", n));
	for (struct ns_source *src = &s->own; src; src = src->next)
		ns_source_restart(src);
	pump(s);
}

static void gather(struct ns_event_stream *s)
{
	size_t n = n_opened(s);
	if (s->laid || rt_timer_armed(&s->grace) || !n)
		return;
	if (n >= s->want)
		divide(s);
	else if (!rt_timer_armed(&s->gather))
		rt_timer_start(&s->gather, GATHER_MS);
}

static void on_gather(struct rt_timer *t, void *arg)
{
	(void)t;
	divide(arg);
}

static void set_barrier(struct ns_event_stream *s)
{
	s->barrier = true;
	s->barrier_ns = rt_loop_mono_ns(s->loop);
	if (all_safe(s))
		divide(s);
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

/* Ends one without looking after what it had. */
static void drop_stream(struct stream *st, int status, const char *why)
{
	struct grpc_call *c = st->call;
	take_out(st);
	grpc_call_set_user(c, NULL);
	free(st);
	grpc_call_finish(c, status, why);
}

/* All open their streams anew: they look up what the others have published, and say what is safe. */
static void all_anew(struct ns_event_stream *s)
{
	size_t n = 0;
	rt_timer_stop(&s->grace);
	stop_all(s);
	for (struct stream *st = s->streams, *next; st; st = next) {
		next = st->next;
		if (!st->opened)
			continue;
		drop_stream(st, GRPC_ABORTED, "the events are divided anew, open again");
		n++;
	}
	s->want = n;
}

static void on_grace(struct rt_timer *t, void *arg)
{
	(void)t;
	all_anew(arg);
}

/* `said` : it took its leave, everything that it had is safe or never went further. */
static void remove_stream(struct stream *st, bool said)
{
	struct ns_event_stream *s = st->owner;
	bool was_laid = st->is_laid, open = false, others = false;
	char consumer[CONSUMER_MAX];
	for (const struct ns_source *src = &s->own; src && was_laid; src = src->next)
		open = open || ns_source_open_in(src, st->lanes);
	memcpy(consumer, st->consumer, sizeof(consumer));
	take_out(st);
	for (unsigned i = 0; i < NS_LANES; i++)
		if (s->owner_of[i] == st)
			s->owner_of[i] = NULL;
	grpc_call_set_user(st->call, NULL);
	free(st);
	for (const struct stream *o = s->streams; o; o = o->next)
		others = others || (o->opened && strcmp(o->consumer, consumer) != 0);
	if (!was_laid)
		return;
	if (!others) {
		stop_all(s);
		gather(s);
	} else if (!open) {
		set_barrier(s);
	} else if (said) {
		all_anew(s);
	} else {
		stop_all(s);
		rt_timer_start(&s->grace, GRACE_MS);
	}
}

/* ---- in ---- */

static uint64_t most_of(const struct ns_event_stream *s, const struct ns_source *src, bool opening)
{
	if (!opening)
		return src->sent;
	return src->is_own ? ns_store_last_seq(s->store) : UINT64_MAX;
}

static bool take_ack(struct ns_event_stream *s, const Longwave__Ns__V1__Ack *ack, bool opening)
{
	bool believed = true;
	for (struct ns_source *src = &s->own; src; src = src->next) {
		if (!ns_source_claim(src, ack, most_of(s, src, opening)))
			believed = false;
		tell_store(s, src);
	}
	return believed;
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
		remove_stream(old, false);
		grpc_call_finish(c, GRPC_ABORTED, "a newer stream of the same consumer was opened");
		return;
	}
}

static void open_stream(struct stream *st, const Longwave__Ns__V1__Ack *ack)
{
	struct ns_event_stream *s = st->owner;
	strncpy(st->consumer, ack->consumer, sizeof(st->consumer) - 1);
	if (!take_ack(s, ack, true))
		RT_LOG_WARN(s->log, "application server names a position that no event has had; all are offered",
			    rt_str("consumer", st->consumer));
	if (ack->others < NS_LANES && s->want < ack->others + 1u)
		s->want = ack->others + 1u;
	replace_older(st);
	st->opened = true;
	if (s->laid)
		set_barrier(s);
	else
		gather(s);
}

static void on_ack(struct grpc_call *c, const ProtobufCMessage *msg)
{
	struct stream *st = grpc_call_user(c);
	const Longwave__Ns__V1__Ack *ack = (const Longwave__Ns__V1__Ack *)msg;
	if (!st)
		return;
	struct ns_event_stream *s = st->owner;
	if (!st->opened) {
		open_stream(st, ack);
		return;
	}
	/* Only what was handed out can be safe with anyone. */
	take_ack(s, ack, false);
	if (s->barrier && all_safe(s))
		divide(s);
	else
		pump(s);
}

static void on_half_close(struct grpc_call *c)
{
	struct stream *st = grpc_call_user(c);
	if (st)
		remove_stream(st, true);
	grpc_call_finish(c, GRPC_OK, NULL);
}

static void on_writable(struct grpc_call *c)
{
	struct stream *st = grpc_call_user(c);
	if (st && st->is_laid)
		pump(st->owner);
}

static void on_cancel(struct grpc_call *c)
{
	struct stream *st = grpc_call_user(c);
	if (st)
		remove_stream(st, false);
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
	rt_timer_stop(&s->grace);
	rt_timer_stop(&s->gather);
	stop_all(s);
	while (s->streams)
		drop_stream(s->streams, GRPC_UNAVAILABLE, "this replica stops");
}

/* ---- replicas that are gone ---- */

static struct ns_source **find_source(struct ns_event_stream *s, const char *origin)
{
	struct ns_source **at = &s->own.next;
	while (*at && strcmp((*at)->origin, origin) != 0)
		at = &(*at)->next;
	return at;
}

bool ns_event_stream_serves(const struct ns_event_stream *s, const char *origin)
{
	return *find_source((struct ns_event_stream *)(uintptr_t)s, origin) != NULL;
}

void ns_event_stream_adopt(struct ns_event_stream *s, const char *origin)
{
	struct ns_source **at = find_source(s, origin);
	if (*at || strlen(origin) >= NS_ORIGIN_MAX)
		return;
	struct ns_source *src = lw_xcalloc(1, sizeof(*src));
	src->owner = s;
	strncpy(src->origin, origin, sizeof(src->origin) - 1);
	*at = src;
	RT_LOG_INFO(s->log, "serving the events of a replica that is gone", rt_str("origin", origin));
	if (s->laid)
		all_anew(s);
}

void ns_event_stream_give_back(struct ns_event_stream *s, const char *origin)
{
	struct ns_source **at = find_source(s, origin);
	struct ns_source *src = *at;
	if (!src)
		return;
	*at = src->next;
	src->is_dead = true;
	if (!src->read_under_way) {
		ns_source_deinit(src);
		free(src);
	}
	if (s->barrier && all_safe(s))
		divide(s);
}

/* ---- life ---- */

/* One that takes nothing holds up all others: after a while they go on without it. */
static void check_blocked(struct ns_event_stream *s)
{
	int64_t now = rt_loop_mono_ns(s->loop);
	if (s->barrier && now - s->barrier_ns > BARRIER_MS * LW_NS_PER_MS) {
		RT_LOG_WARN(s->log, "application servers do not acknowledge, their streams are opened anew");
		all_anew(s);
		return;
	}
	for (struct stream *st = s->streams; st && s->laid && s->n_laid > 1; st = st->next) {
		if (!st->is_laid || grpc_call_writable(st->call))
			continue;
		if (!s->blocked_ns) {
			s->blocked_ns = now;
		} else if (now - s->blocked_ns > BLOCKED_MS * LW_NS_PER_MS) {
			struct grpc_call *c = st->call;
			RT_LOG_WARN(s->log, "application server takes no events", rt_str("consumer", st->consumer));
			remove_stream(st, false);
			grpc_call_finish(c, GRPC_ABORTED, "the stream takes no events");
		}
		return;
	}
	s->blocked_ns = 0;
}

/* The store may have been away when it was asked. */
static void on_retry(struct rt_timer *t, void *arg)
{
	struct ns_event_stream *s = arg;
	(void)t;
	check_blocked(s);
	if (++s->retries % POLL_ORPHANS == 0)
		for (struct ns_source *src = s->own.next; src; src = src->next)
			if (src->mode == NS_SOURCE_LIVE)
				src->mode = NS_SOURCE_BEHIND;
	pump(s);
}

struct ns_event_stream *ns_event_stream_new(struct rt_loop *loop, struct ns_store *store, struct rt_log *log,
					    struct rt_metrics *metrics)
{
	struct ns_event_stream *s = lw_xcalloc(1, sizeof(*s));
	s->loop = loop;
	s->store = store;
	s->own.owner = s;
	s->own.is_own = true;
	strncpy(s->own.origin, ns_store_origin(store), sizeof(s->own.origin) - 1);
	lw_arena_init(&s->arena, NULL, 0, ARENA_MAX);
	rt_timer_init(&s->retry, loop, "event_stream", on_retry, s);
	rt_timer_init(&s->grace, loop, "event_stream grace", on_grace, s);
	rt_timer_init(&s->gather, loop, "event_stream gather", on_gather, s);
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
	while (s->own.next) {
		struct ns_source *src = s->own.next;
		s->own.next = src->next;
		ns_source_deinit(src);
		free(src);
	}
	ns_source_deinit(&s->own);
	rt_timer_stop(&s->retry);
	lw_arena_deinit(&s->arena);
	free(s);
}
