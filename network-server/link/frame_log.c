#include "network-server/link/frame_log.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/bytes.h"
#include "common/base/xmalloc.h"

#define MAX_FRAME (64u * 1024u)

struct ns_frame_log {
	struct redis *redis;
	struct redis_streams *streams;
	size_t per_device, per_gateway;
	struct lw_buf buf;
};

struct ns_frame_follow {
	struct redis_sub *sub;
	ns_frame_fn *fn;
	void (*caught_up)(void *arg);
	void *arg;
};

struct ns_frame_log *ns_frame_log_new(struct redis *redis, size_t per_device, size_t per_gateway)
{
	struct ns_frame_log *l = lw_xcalloc(1, sizeof(*l));
	l->redis = redis;
	l->streams = redis ? redis_streams_new(redis) : NULL;
	l->per_device = per_device;
	l->per_gateway = per_gateway;
	lw_buf_init(&l->buf, MAX_FRAME);
	return l;
}

void ns_frame_log_free(struct ns_frame_log *l)
{
	if (!l)
		return;
	redis_streams_free(l->streams);
	lw_buf_deinit(&l->buf);
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

void ns_frame_log_put(struct ns_frame_log *l, const Longwave__Ns__V1__Frame *frame)
{
	char key[64];
	if (!l->redis || (!l->per_device && !l->per_gateway) || !redis_is_up(l->redis))
		return;
	size_t n = longwave__ns__v1__frame__get_packed_size(frame);
	lw_buf_reset(&l->buf);
	uint8_t *p = lw_buf_reserve(&l->buf, n);
	if (!p)
		return;
	lw_buf_commit(&l->buf, longwave__ns__v1__frame__pack(frame, p));
	struct redis_field field = {.name = lw_span("f", 1), .value = lw_buf_span(&l->buf)};
	if (frame->dev_eui[0] && l->per_device) {
		device_key(frame->dev_eui, key);
		redis_xadd(l->redis, NULL, NULL, key, l->per_device, 1, &field);
	}
	if (!l->per_gateway)
		return;
	for (size_t i = 0; i < frame->n_rx_info; i++) {
		gateway_key(frame->rx_info[i]->gateway_id, key);
		redis_xadd(l->redis, NULL, NULL, key, l->per_gateway, 1, &field);
	}
	if (frame->gateway_id[0]) {
		gateway_key(frame->gateway_id, key);
		redis_xadd(l->redis, NULL, NULL, key, l->per_gateway, 1, &field);
	}
}

static void on_entry(void *arg, const struct redis_entry *entry)
{
	struct ns_frame_follow *f = arg;
	if (entry->n < 1)
		return;
	struct lw_span v = entry->fields[0].value;
	Longwave__Ns__V1__Frame *frame = longwave__ns__v1__frame__unpack(NULL, v.n, v.p);
	if (!frame)
		return;
	if (frame->id != (char *)protobuf_c_empty_string)
		free(frame->id);
	frame->id = lw_xstrdup(entry->id);
	f->fn(f->arg, frame);
	longwave__ns__v1__frame__free_unpacked(frame, NULL);
}

static void on_caught_up(void *arg)
{
	struct ns_frame_follow *f = arg;
	if (f->caught_up)
		f->caught_up(f->arg);
}

struct ns_frame_follow *ns_frame_log_follow(struct ns_frame_log *l, const char *dev_eui, const char *gateway_id,
					    size_t history, ns_frame_fn *fn, void (*caught_up)(void *arg), void *arg)
{
	char key[64];
	if (!l->streams)
		return NULL;
	struct ns_frame_follow *f = lw_xcalloc(1, sizeof(*f));
	f->fn = fn;
	f->caught_up = caught_up;
	f->arg = arg;
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
	free(f);
}
