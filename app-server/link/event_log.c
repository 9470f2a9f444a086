#include "app-server/link/event_log.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/bytes.h"
#include "common/base/xmalloc.h"
#include "common/pb/unpack.h"
#include "common/runtime/loop.h"

/* Events wait for company: one write, one wake of Redis for a hundred of them. */
#define FLUSH_MS 100
#define FLUSH_BYTES (256u * 1024u)
#define MAX_BUFFER (2u * 1024u * 1024u)

struct entry {
	struct lw_dev_eui dev_eui;
	const char *name; /* of the kind, static */
	size_t at, n;     /* in `buf` */
	bool keep_alive;
};

struct as_event_log {
	struct redis *redis;
	size_t per_device;
	int64_t ttl_ms;
	struct rt_timer timer;
	struct lw_buf buf;
	struct entry *entries;
	size_t n, cap;
};

static void on_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	as_event_log_flush(arg);
}

struct as_event_log *as_event_log_new(struct redis *redis, size_t per_device, int64_t ttl_ms)
{
	struct as_event_log *l = lw_xcalloc(1, sizeof(*l));
	l->redis = redis;
	l->per_device = per_device;
	l->ttl_ms = ttl_ms;
	lw_buf_init(&l->buf, MAX_BUFFER);
	rt_timer_init(&l->timer, redis_loop(redis), "event_log", on_timer, l);
	return l;
}

void as_event_log_free(struct as_event_log *l)
{
	if (!l)
		return;
	as_event_log_flush(l);
	lw_buf_deinit(&l->buf);
	free(l->entries);
	free(l);
}

void as_event_log_key(struct lw_dev_eui dev_eui, char out[AS_EVENT_LOG_KEY])
{
	char eui[LW_EUI_TEXT];
	snprintf(out, AS_EVENT_LOG_KEY, "device:{%s}:stream:event", lw_dev_eui_print(dev_eui, eui));
}

void as_event_log_put(struct as_event_log *l, struct lw_dev_eui dev_eui, const struct as_event *event, bool keep_alive)
{
	if (!redis_is_up(l->redis))
		return;
	size_t at = l->buf.n;
	if (lw_pb_pack(event->msg, &l->buf) < 0) {
		l->buf.n = at;
		return;
	}
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->entries = lw_xreallocarray(l->entries, l->cap, sizeof(*l->entries));
	}
	l->entries[l->n++] = (struct entry){dev_eui, event->name, at, l->buf.n - at, keep_alive};
	if (l->buf.n >= FLUSH_BYTES)
		as_event_log_flush(l);
	else if (!rt_timer_armed(&l->timer))
		rt_timer_start(&l->timer, FLUSH_MS);
}

void as_event_log_flush(struct as_event_log *l)
{
	bool up = redis_is_up(l->redis);
	char ttl[24];
	snprintf(ttl, sizeof(ttl), "%lld", (long long)l->ttl_ms);
	for (size_t i = 0; up && i < l->n; i++) {
		const struct entry *e = &l->entries[i];
		struct redis_field field = {lw_span_str(e->name), lw_span(l->buf.p + e->at, e->n)};
		char key[AS_EVENT_LOG_KEY];
		as_event_log_key(e->dev_eui, key);
		redis_bulk_xadd(l->redis, key, l->per_device, 1, &field);
		if (e->keep_alive) {
			const struct lw_span v[] = {lw_span_str("PEXPIRE"), lw_span_str(key), lw_span_str(ttl)};
			redis_bulk_argv(l->redis, 3, v);
		}
	}
	if (up)
		redis_bulk_end(l->redis);
	l->n = 0;
	lw_buf_reset(&l->buf);
	rt_timer_stop(&l->timer);
}
