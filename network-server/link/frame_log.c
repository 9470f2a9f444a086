#include "network-server/link/frame_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/xmalloc.h"
#include "common/pb/unpack.h"
#include "common/runtime/loop.h"

/* Frames wait for company: many leave with one write, and those of a gateway as one entry. */
#define FLUSH_MS 100
#define FLUSH_BYTES (256u * 1024u)
#define MAX_BUFFER (1024u * 1024u)
#define MAX_ENTRY_FRAMES 16u
#define MAX_HISTORY 1000u
/* Entries of devices are a frame in field "f". Entries of gateways are a ListFramesResponse in field "l". */
#define LIST_TAG 0x0a

struct kept {
	size_t at, n;     /* in `buf` */
	uint64_t dev_eui; /* 0: nobody's */
};

/* A gateway has to do with a kept frame. */
struct heard {
	uint64_t gateway;
	size_t frame; /* of `kept` */
};

struct ns_frame_log {
	struct redis *redis;
	struct redis_streams *streams;
	size_t per_device, per_gateway;
	struct rt_timer timer;
	struct lw_buf buf;
	struct kept *kept;
	size_t n_kept, cap_kept;
	struct heard *heard;
	size_t n_heard, cap_heard;
	struct lw_buf list; /* the entry that is being made */
};

struct ns_frame_follow {
	struct redis_sub *sub;
	ns_frame_fn *fn;
	void (*caught_up)(void *arg);
	void *arg;
	/* Until it has caught up: the last `history` frames, a ring. */
	Longwave__Ns__V1__Frame **past;
	size_t history, n_past;
	bool is_live;
	bool in_callback, gone;
};

static void on_timer(struct rt_timer *t, void *arg);
static void flush(struct ns_frame_log *l);

struct ns_frame_log *ns_frame_log_new(struct redis *redis, size_t per_device, size_t per_gateway)
{
	struct ns_frame_log *l = lw_xcalloc(1, sizeof(*l));
	l->redis = redis;
	l->streams = redis ? redis_streams_new(redis) : NULL;
	l->per_device = per_device;
	l->per_gateway = per_gateway;
	lw_buf_init(&l->buf, MAX_BUFFER);
	lw_buf_init(&l->list, MAX_BUFFER);
	if (redis)
		rt_timer_init(&l->timer, redis_loop(redis), "frame_log", on_timer, l);
	return l;
}

void ns_frame_log_free(struct ns_frame_log *l)
{
	if (!l)
		return;
	if (l->redis) {
		flush(l);
		rt_timer_stop(&l->timer);
	}
	redis_streams_free(l->streams);
	lw_buf_deinit(&l->buf);
	lw_buf_deinit(&l->list);
	free(l->kept);
	free(l->heard);
	free(l);
}

bool ns_frame_log_is_up(const struct ns_frame_log *l)
{
	return !l->redis || redis_is_up(l->redis);
}

static void device_key(const char *dev_eui, char out[64])
{
	snprintf(out, 64, "lw:ns:device:%.16s:frames", dev_eui);
}

static void gateway_key(const char *gateway_id, char out[64])
{
	snprintf(out, 64, "lw:ns:gateway:%.16s:frames", gateway_id);
}

/* ---- writing ---- */

static void add_heard(struct ns_frame_log *l, const char *gateway_id)
{
	struct lw_gateway_id id;
	if (lw_gateway_id_parse(&id, gateway_id))
		return;
	if (l->n_heard == l->cap_heard) {
		l->cap_heard = l->cap_heard ? 2 * l->cap_heard : 64;
		l->heard = lw_xreallocarray(l->heard, l->cap_heard, sizeof(*l->heard));
	}
	l->heard[l->n_heard++] = (struct heard){lw_gateway_id_u64(id), l->n_kept - 1};
}

static bool keep(struct ns_frame_log *l, const Longwave__Ns__V1__Frame *frame)
{
	size_t at = l->buf.n;
	if (lw_pb_pack(&frame->base, &l->buf) < 0)
		return false;
	if (l->n_kept == l->cap_kept) {
		l->cap_kept = l->cap_kept ? 2 * l->cap_kept : 64;
		l->kept = lw_xreallocarray(l->kept, l->cap_kept, sizeof(*l->kept));
	}
	struct lw_dev_eui eui;
	bool has_eui = l->per_device && frame->dev_eui[0] && lw_dev_eui_parse(&eui, frame->dev_eui) == 0;
	l->kept[l->n_kept++] = (struct kept){at, l->buf.n - at, has_eui ? lw_dev_eui_u64(eui) : 0};
	return true;
}

void ns_frame_log_put(struct ns_frame_log *l, const Longwave__Ns__V1__Frame *frame)
{
	if (!l->redis || (!l->per_device && !l->per_gateway) || !redis_is_up(l->redis))
		return;
	if (!keep(l, frame)) {
		flush(l);
		if (!keep(l, frame))
			return;
	}
	for (size_t i = 0; l->per_gateway && i < frame->n_rx_info; i++)
		add_heard(l, frame->rx_info[i]->gateway_id);
	if (l->per_gateway && frame->gateway_id[0])
		add_heard(l, frame->gateway_id);
	if (l->buf.n >= FLUSH_BYTES)
		flush(l);
	else if (!rt_timer_armed(&l->timer))
		rt_timer_start(&l->timer, FLUSH_MS);
}

static void add_to_list(struct lw_buf *list, struct lw_span frame)
{
	uint8_t head[1 + 10];
	size_t n = 0;
	head[n++] = LIST_TAG;
	for (uint64_t v = frame.n; n < sizeof(head); v >>= 7) {
		head[n++] = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
		if (v <= 0x7f)
			break;
	}
	lw_buf_append(list, head, n);
	lw_buf_append_span(list, frame);
}

static int by_gateway(const void *a, const void *b)
{
	const struct heard *x = a, *y = b;
	if (x->gateway != y->gateway)
		return x->gateway < y->gateway ? -1 : 1;
	return x->frame < y->frame ? -1 : x->frame > y->frame;
}

/* How many entries of `n` frames are about as many frames as wanted. */
static size_t entries_of(size_t wanted, size_t n)
{
	size_t entries = wanted / n;
	return entries > 0 ? entries : 1;
}

static void flush_devices(struct ns_frame_log *l)
{
	for (size_t i = 0; i < l->n_kept; i++) {
		const struct kept *k = &l->kept[i];
		char key[64], eui[LW_EUI_TEXT];
		if (!k->dev_eui)
			continue;
		struct redis_field field = {.name = lw_span("f", 1), .value = lw_span(l->buf.p + k->at, k->n)};
		device_key(lw_dev_eui_print(lw_dev_eui_from_u64(k->dev_eui), eui), key);
		redis_bulk_xadd(l->redis, key, l->per_device, 1, &field);
	}
}

static void flush_gateways(struct ns_frame_log *l)
{
	if (!l->n_heard)
		return;
	qsort(l->heard, l->n_heard, sizeof(*l->heard), by_gateway);
	for (size_t at = 0, n; at < l->n_heard; at += n) {
		char key[64], id[LW_EUI_TEXT];
		lw_buf_reset(&l->list);
		for (n = 0;
		     n < MAX_ENTRY_FRAMES && at + n < l->n_heard && l->heard[at + n].gateway == l->heard[at].gateway;
		     n++) {
			struct kept k = l->kept[l->heard[at + n].frame];
			add_to_list(&l->list, lw_span(l->buf.p + k.at, k.n));
		}
		struct redis_field field = {.name = lw_span("l", 1), .value = lw_buf_span(&l->list)};
		gateway_key(lw_gateway_id_print(lw_gateway_id_from_u64(l->heard[at].gateway), id), key);
		redis_bulk_xadd(l->redis, key, entries_of(l->per_gateway, n), 1, &field);
	}
}

static void flush(struct ns_frame_log *l)
{
	if (redis_is_up(l->redis)) {
		flush_devices(l);
		flush_gateways(l);
		redis_bulk_end(l->redis);
	}
	l->n_heard = 0;
	l->n_kept = 0;
	lw_buf_reset(&l->buf);
	rt_timer_stop(&l->timer);
}

static void on_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	flush(arg);
}

/* ---- reading ---- */

/* False: the reader has gone. */
static bool deliver(struct ns_frame_follow *f, Longwave__Ns__V1__Frame *frame)
{
	f->in_callback = true;
	f->fn(f->arg, frame);
	f->in_callback = false;
	longwave__ns__v1__frame__free_unpacked(frame, NULL);
	return !f->gone;
}

static void destroy(struct ns_frame_follow *f)
{
	for (size_t i = 0; f->past && i < f->history; i++)
		if (f->past[i])
			longwave__ns__v1__frame__free_unpacked(f->past[i], NULL);
	free(f->past);
	free(f);
}

static void set_id(Longwave__Ns__V1__Frame *frame, const char *id)
{
	if (frame->id != (char *)protobuf_c_empty_string)
		free(frame->id);
	frame->id = lw_xstrdup(id);
}

/* False: the reader has gone. */
static bool take(struct ns_frame_follow *f, Longwave__Ns__V1__Frame *frame)
{
	if (!f->past || f->is_live)
		return deliver(f, frame);
	Longwave__Ns__V1__Frame **at = &f->past[f->n_past++ % f->history];
	if (*at)
		longwave__ns__v1__frame__free_unpacked(*at, NULL);
	*at = frame;
	return true;
}

/* Frames of one entry are told apart by their place in it: entry 17-2 has 17-2000, 17-2001 … */
static void take_list(struct ns_frame_follow *f, const char *entry_id, struct lw_span packed)
{
	Longwave__Ns__V1__ListFramesResponse *list =
		longwave__ns__v1__list_frames_response__unpack(NULL, packed.n, packed.p);
	const char *dash = strchr(entry_id, '-');
	bool here = true;
	for (size_t i = 0; list && here && i < list->n_frames; i++) {
		char id[64];
		Longwave__Ns__V1__Frame *frame = list->frames[i];
		list->frames[i] = NULL;
		snprintf(id, sizeof(id), "%.*s-%llu", dash ? (int)(dash - entry_id) : 0, entry_id,
			 (dash ? strtoull(dash + 1, NULL, 10) : 0) * 1000 + i);
		set_id(frame, id);
		here = take(f, frame);
	}
	if (list)
		longwave__ns__v1__list_frames_response__free_unpacked(list, NULL);
	if (!here)
		destroy(f);
}

static void on_entry(void *arg, const struct redis_entry *entry)
{
	struct ns_frame_follow *f = arg;
	if (entry->n < 1)
		return;
	struct lw_span v = entry->fields[0].value;
	if (lw_span_eq(entry->fields[0].name, lw_span("l", 1))) {
		take_list(f, entry->id, v);
		return;
	}
	Longwave__Ns__V1__Frame *frame = longwave__ns__v1__frame__unpack(NULL, v.n, v.p);
	if (!frame)
		return;
	set_id(frame, entry->id);
	if (!take(f, frame))
		destroy(f);
}

static void on_caught_up(void *arg)
{
	struct ns_frame_follow *f = arg;
	f->is_live = true;
	for (size_t i = 0; f->past && i < f->history; i++) {
		Longwave__Ns__V1__Frame **at = &f->past[(f->n_past + i) % f->history], *frame = *at;
		*at = NULL;
		if (frame && !deliver(f, frame)) {
			destroy(f);
			return;
		}
	}
	if (f->caught_up)
		f->caught_up(f->arg); /* may be the end of f */
}

struct ns_frame_follow *ns_frame_log_follow(struct ns_frame_log *l, const char *dev_eui, const char *gateway_id,
					    size_t history, ns_frame_fn *fn, void (*caught_up)(void *arg), void *arg)
{
	char key[64];
	if (!l->streams)
		return NULL;
	flush(l); /* it is history */
	struct ns_frame_follow *f = lw_xcalloc(1, sizeof(*f));
	f->fn = fn;
	f->caught_up = caught_up;
	f->arg = arg;
	f->history = history < MAX_HISTORY ? history : MAX_HISTORY;
	if (gateway_id && f->history)
		f->past = lw_xcalloc(f->history, sizeof(*f->past));
	if (gateway_id)
		gateway_key(gateway_id, key);
	else
		device_key(dev_eui, key);
	f->sub = redis_streams_follow(l->streams, key, history, on_entry, on_caught_up, f);
	return f;
}

void ns_frame_log_unfollow(struct ns_frame_follow *f)
{
	if (!f)
		return;
	redis_sub_free(f->sub);
	if (f->in_callback)
		f->gone = true;
	else
		destroy(f);
}
