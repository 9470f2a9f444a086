/* Integrations of applications besides the broker's. An event of an application that has one is written to the database
 * before the network-server may forget it; from there each endpoint is served on its own: order kept per device, retry
 * with back-off, dead letters, replay. Of several app-servers on one database one serves an endpoint at a time. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/runtime/daemon.h"

struct as;
struct as_outlets;

/* Init table; must stand before the database, so that it is taken down after it. */
int as_outlets_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag);
void as_outlets_deinit(void *owner);
/* The database is ready. */
void as_outlets_start(struct as *as);
/* At the end: nothing more is sent and the endpoints are given up for other replicas; then `done`. */
void as_outlets_stop(struct as *as, void (*done)(void *arg), void *arg);

/* It is known which applications have integrations. Events are not to be taken in before. */
bool as_outlets_loaded(const struct as *as);
/* Whether events of the application have to be written. */
bool as_outlets_wants(const struct as *as, const char *application_id);

struct as_intake_item {
	const char *application_id, *dev_eui, *origin;
	uint64_t origin_seq;
	const char *name;
	const ProtobufCMessage *msg; /* of package integration */
	void *ctx;
};
/* Everything is copied. `done` is called once all are stored for good, with the items' ctx; the database being away
 * only delays it. Never called when the process ends first. */
typedef void as_intake_fn(void *arg, void *const *ctx, size_t n);
void as_outlets_write(struct as *as, const struct as_intake_item *v, size_t n, as_intake_fn *done, void *arg);

/* The API changed an integration, or put rows of it back into the queue; other replicas are told. NULL: any
 * application's. */
void as_outlets_changed(struct as *as, const char *application_id);
/* Another replica's API did. */
void as_outlets_hear(struct as *as, const char *application_id);
