/* This app-server among its replicas: tells and hears what changed in the common database, and takes over the commands
 * that the broker keeps for one that is gone. Its name is mqtt.client_id. */
#pragma once

#include <stddef.h>

#include "common/runtime/daemon.h"

struct as;

/* Init table, behind the MQTT integration. */
int as_replicas_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag);
void as_replicas_deinit(void *owner);
/* Other app-servers that are there. */
size_t as_replicas_others(const struct as *as);
/* "access": rights changed; "device": its names, tags or keys, or with "" anybody's. */
void as_replicas_tell(struct as *as, const char *kind, const char *what);
/* The same where it may have come a moment ago. "integration": of an application, or with "" any. */
void as_replicas_announce(struct as *as, const char *kind, const char *what);
/* The others need not wait for the end of the lease. */
void as_replicas_leave(struct as *as);
