/* Inside of live: sources that are followed, and the watchers of each kind. */
#pragma once

#include "app-server/as.h"
#include "app-server/link/event_log.h"
#include "app-server/link/live.h"
#include "common/base/map.h"
#include "common/io/redis.h"

#define AS_LIVE_HISTORY 50 /* stored frames shown first */
#define AS_LIVE_EVENTS 10  /* events kept of a device, as the reference does */
#define AS_LIVE_ID_MAX 64

struct as_live {
	struct as *as;
	struct redis *redis; /* NULL: none is configured */
	struct redis_streams *streams;
	struct as_event_log *events; /* NULL: as redis */
	struct rt_health *health;
	struct lw_list sources;
	struct lw_list watchers; /* struct sse of live_sse.c */
	struct rt_timer keepalive;
	/* Overview: what changed since the last flush; recorded only while someone looks. */
	size_t n_overviews;
	struct lw_map devices, gateways;
	bool too_many;
	struct rt_timer flush;
	struct lw_buf buf;
};

/* ---- sources ---- */

enum as_live_kind { AS_LIVE_DEVICE_FRAMES, AS_LIVE_GATEWAY_FRAMES, AS_LIVE_DEVICE_EVENTS, AS_LIVE_OVERVIEW };

struct as_live_source;
/* An event as it was published; all valid during the call. */
struct as_live_item {
	const char *id;
	const char *name; /* NULL: a frame */
	const ProtobufCMessage *msg;
};
typedef void as_live_item_fn(void *arg, const struct as_live_item *item);

/* History first, then what is new, until it is freed. `eui` is canonical. `after_id` (may be "") is the last item
 * known. */
struct as_live_source *as_live_follow(struct as_live *l, enum as_live_kind kind, const char *eui, const char *after_id,
				      as_live_item_fn *fn, void *arg);
/* May be called from inside the callback. */
void as_live_unfollow(struct as_live_source *s);
/* Frames only: holds the network-server back. */
void as_live_pause(struct as_live_source *s, bool paused);

/* ---- overview (live_overview.c) ---- */

void as_live_overview_init(struct as_live *l);
void as_live_overview_deinit(struct as_live *l);
void as_live_overview_device(struct as_live *l, const Longwave__Ns__V1__Event *e, const struct as_live_device *dev);

/* ---- server-sent events (live_sse.c) ---- */

void as_live_sse_init(struct as_live *l);
void as_live_sse_deinit(struct as_live *l);
/* To every overview that may see this tenant (NULL: to all). */
void as_live_sse_overview(struct as_live *l, const struct lw_uuid *tenant, const char *event, struct lw_span data);
