/* What people watch: frames and events of a device or gateway, and what changed in a tenant, as server-sent events
 * below /api/live and as streams of api.InternalService. Events are kept for a while in Redis (contracts/integration.md
 * §3), frames by the network-server. Nothing here holds anything up or is needed for delivery: without Redis only this
 * is missing. */
#pragma once

#include "app-server/domain/event.h"
#include "common/runtime/daemon.h"

struct as;
struct as_live;
struct http_request;

/* Init table, before the database and the network-server's client. */
int as_live_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag);
void as_live_deinit(void *owner);

/* A device of whom an event came. */
struct as_live_device {
	uint64_t dev_eui;
	struct lw_uuid tenant_id;
	const struct as_event_device *text;
	int64_t *stream_until_ns; /* kept by the caller with the device */
};
void as_live_event(struct as_live *l, const Longwave__Ns__V1__Event *e, const struct as_event *out,
		   const struct as_live_device *dev);
void as_live_gateway(struct as_live *l, const Longwave__Ns__V1__Event *e);

/* Answers requests for paths below /api/live/; false for others. */
bool as_live_serve(struct as *as, struct http_request *r);
