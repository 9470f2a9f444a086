#include "app-server/link/live.h"

#include <stdio.h>
#include <stdlib.h>

#include "app-server/link/live_internal.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_client.h"
#include "common/pb/unpack.h"
#include "proto/integration/integration.pb-c.h"

#define MAX_VALUE (1u << 20)
#define STREAM_TTL_NS (24 * 3600 * LW_NS_PER_S)
#define REOPEN_MS 1000

struct as_live_source {
	struct lw_list node;
	struct as_live *live;
	enum as_live_kind kind;
	char eui[LW_EUI_TEXT];
	char last_id[AS_LIVE_ID_MAX];
	as_live_item_fn *fn;
	void *arg;
	struct redis_sub *sub;      /* events */
	struct grpc_stream *stream; /* frames */
	bool paused;
	bool is_calling, is_dead;
	struct rt_timer reopen;
	struct lw_arena arena;
};

static const struct {
	const char *name;
	const ProtobufCMessageDescriptor *type;
} event_types[] = {
	{"up", &integration__uplink_event__descriptor},         {"join", &integration__join_event__descriptor},
	{"ack", &integration__ack_event__descriptor},           {"txack", &integration__tx_ack_event__descriptor},
	{"log", &integration__log_event__descriptor},           {"status", &integration__status_event__descriptor},
	{"location", &integration__location_event__descriptor},
};

/* ---- in ---- */

void as_live_event(struct as_live *l, const Longwave__Ns__V1__Event *e, const struct as_event *out,
		   const struct as_live_device *dev)
{
	if (!out->name)
		return;
	if (e->kind_case == LONGWAVE__NS__V1__EVENT__KIND_UPLINK || e->kind_case == LONGWAVE__NS__V1__EVENT__KIND_JOIN)
		as_live_overview_device(l, e, dev);
	if (!l->events)
		return;
	/* Forgotten with time; said again now and then, not with every event. */
	int64_t now = rt_loop_mono_ns(l->as->loop);
	bool keep_alive = *dev->stream_until_ns < now + STREAM_TTL_NS / 2;
	if (keep_alive)
		*dev->stream_until_ns = now + STREAM_TTL_NS;
	as_event_log_put(l->events, lw_dev_eui_from_u64(dev->dev_eui), out, keep_alive);
}

/* ---- sources ---- */

static void source_free(struct as_live_source *s)
{
	lw_list_remove(&s->node);
	rt_timer_stop(&s->reopen);
	if (s->sub)
		redis_sub_free(s->sub);
	if (s->stream)
		grpc_stream_cancel(s->stream);
	lw_arena_deinit(&s->arena);
	free(s);
}

static void give(struct as_live_source *s, const struct as_live_item *item)
{
	s->is_calling = true;
	s->fn(s->arg, item);
	s->is_calling = false;
	if (s->is_dead)
		source_free(s);
}

/* "ms-seq" of a Redis stream: whether a comes after b. */
static bool id_after(const char *a, const char *b)
{
	unsigned long long am = 0, as = 0, bm = 0, bs = 0;
	if (sscanf(b, "%llu-%llu", &bm, &bs) < 1 || sscanf(a, "%llu-%llu", &am, &as) < 1)
		return true;
	return am > bm || (am == bm && as > bs);
}

static void on_entry(void *arg, const struct redis_entry *entry)
{
	struct as_live_source *s = arg;
	ProtobufCMessage *msg = NULL;
	if (entry->n == 0 || (s->last_id[0] && !id_after(entry->id, s->last_id)))
		return;
	snprintf(s->last_id, sizeof(s->last_id), "%s", entry->id);
	for (size_t i = 0; i < sizeof(event_types) / sizeof(event_types[0]); i++) {
		if (!lw_span_eq_str(entry->fields[0].name, event_types[i].name))
			continue;
		lw_arena_reset(&s->arena);
		if (lw_pb_unpack(event_types[i].type, entry->fields[0].value, &s->arena, &msg) == 0) {
			give(s, &(struct as_live_item){s->last_id, event_types[i].name, msg});
			return;
		}
	}
}

static void on_frame(struct grpc_stream *stream, const ProtobufCMessage *msg, void *arg)
{
	struct as_live_source *s = arg;
	const Longwave__Ns__V1__Frame *f = (const Longwave__Ns__V1__Frame *)msg;
	(void)stream;
	snprintf(s->last_id, sizeof(s->last_id), "%s", f->id);
	give(s, &(struct as_live_item){s->last_id, NULL, msg});
}

static void on_frames_end(struct grpc_stream *stream, int status, const char *message, void *arg)
{
	struct as_live_source *s = arg;
	(void)stream;
	(void)status;
	(void)message;
	s->stream = NULL;
	rt_timer_start(&s->reopen, REOPEN_MS);
}

static const struct grpc_stream_events frame_events = {.message = on_frame, .end = on_frames_end};

static void open_frames(struct rt_timer *t, void *arg)
{
	struct as_live_source *s = arg;
	struct grpc_client_request r = {.path = "/longwave.ns.v1.NetworkServer/StreamFrames",
					.output = &longwave__ns__v1__frame__descriptor};
	Longwave__Ns__V1__StreamFramesRequest req = LONGWAVE__NS__V1__STREAM_FRAMES_REQUEST__INIT;
	(void)t;
	if (!s->live->as->ns)
		return;
	if (s->kind == AS_LIVE_DEVICE_FRAMES)
		req.dev_eui = s->eui;
	else
		req.gateway_id = s->eui;
	req.limit = AS_LIVE_HISTORY;
	req.after_id = s->last_id;
	s->stream = grpc_stream_open(s->live->as->ns, &r, &frame_events, s);
	if (grpc_stream_send(s->stream, &req.base) == 0)
		grpc_stream_half_close(s->stream);
	if (s->paused)
		grpc_stream_pause(s->stream, true);
}

struct as_live_source *as_live_follow(struct as_live *l, enum as_live_kind kind, const char *eui, const char *after_id,
				      as_live_item_fn *fn, void *arg)
{
	struct as_live_source *s = lw_xcalloc(1, sizeof(*s));
	s->live = l;
	s->kind = kind;
	s->fn = fn;
	s->arg = arg;
	snprintf(s->eui, sizeof(s->eui), "%s", eui);
	snprintf(s->last_id, sizeof(s->last_id), "%s", after_id ? after_id : "");
	lw_arena_init(&s->arena, NULL, 0, 16 * MAX_VALUE);
	rt_timer_init(&s->reopen, l->as->loop, "live frames", open_frames, s);
	lw_list_push_back(&l->sources, &s->node);
	if (kind == AS_LIVE_DEVICE_EVENTS) {
		char key[AS_EVENT_LOG_KEY];
		struct lw_dev_eui dev_eui;
		if (l->streams && lw_dev_eui_parse(&dev_eui, eui) == 0) {
			as_event_log_key(dev_eui, key);
			as_event_log_flush(l->events); /* it is history */
			s->sub = redis_streams_follow(l->streams, key, AS_LIVE_EVENTS, on_entry, NULL, s);
		}
	} else {
		rt_timer_start(&s->reopen, 0);
	}
	return s;
}

void as_live_unfollow(struct as_live_source *s)
{
	if (!s)
		return;
	s->is_dead = true;
	if (!s->is_calling)
		source_free(s);
}

void as_live_pause(struct as_live_source *s, bool paused)
{
	s->paused = paused;
	if (s->stream)
		grpc_stream_pause(s->stream, paused);
}

/* ---- life ---- */

static void on_redis_state(void *arg, bool up, const char *detail)
{
	struct as_live *l = arg;
	rt_health_set(l->health, up, detail);
}

int as_live_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct as *as = owner;
	struct as_live *l = lw_xcalloc(1, sizeof(*l));
	as->live = l;
	l->as = as;
	lw_list_init(&l->sources);
	lw_list_init(&l->watchers);
	lw_buf_init(&l->buf, MAX_VALUE);
	as_live_overview_init(l);
	as_live_sse_init(l);
	if (!as->conf->redis_url[0])
		return 0;
	l->health = rt_health_add(as->run, "redis");
	struct redis_options o = {
		.url = as->conf->redis_url, .on_state = on_redis_state, .arg = l, .metrics = env->metrics};
	int rc = redis_open(&l->redis, as->loop, &o, diag);
	if (rc < 0) {
		as_live_deinit(as);
		return rc;
	}
	l->streams = redis_streams_new(l->redis);
	l->events = as_event_log_new(l->redis, AS_LIVE_EVENTS, STREAM_TTL_NS / LW_NS_PER_MS);
	return 0;
}

void as_live_deinit(void *owner)
{
	struct as *as = owner;
	struct as_live *l = as->live;
	if (!l)
		return;
	as_live_sse_deinit(l);
	as_live_overview_deinit(l);
	while (!lw_list_empty(&l->sources))
		source_free(LW_CONTAINER_OF(l->sources.next, struct as_live_source, node));
	as_event_log_free(l->events);
	if (l->streams)
		redis_streams_free(l->streams);
	redis_free(l->redis);
	lw_buf_deinit(&l->buf);
	free(l);
	as->live = NULL;
}
