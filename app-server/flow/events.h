/* The way of network events to applications: the stream in, the flow of flow/event_table.c, the position out.
 *
 * Exactly once at the application's topic (docs/decisions/0005-position-after-each-batch.md): events are published in
 * the order of the stream; after each run of at most AS_POSITION_EVERY of them a retained message says how far it went,
 * on the same connection. Only once the broker has that message are they acknowledged to the network-server. At each
 * connect the retained message is read first and what it covers is skipped. */
#pragma once

#include "app-server/flow/devices.h"
#include "app-server/flow/rows.h"
#include "common/runtime/daemon.h"

struct as;
struct as_events;

#define AS_POSITION_EVERY 64

/* Init table. Must stand before the database, the network-server's client and the MQTT integration, so that it is taken
 * down after them: their last callbacks still come here. */
int as_events_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag);
void as_events_deinit(void *owner);
/* Init table, after the integration: listens to it. */
int as_events_start(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag);

/* Takes nothing more in; calls back when what is inside is published and acknowledged, or after three seconds. */
void as_events_leave(struct as *as, void (*left)(struct as *as));

struct as_devices *as_events_devices(struct as_events *e);
/* The API changed something that events show; NULL: it may concern any device. Harmless before init. */
void as_events_forget(struct as *as, const char *dev_eui);
/* The same when another replica says so. */
void as_events_hear(struct as *as, const char *dev_eui);
