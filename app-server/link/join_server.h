/* The join server: LoRaWAN Backend Interfaces over HTTP on join.bind. All requests of a loop turn go through together:
 * one read of keys and nonces, one transaction that makes DevNonce, JoinNonce and the new session durable, then the
 * answers. A request may also be an array of questions (header Longwave-Batch of every answer). Session keys leave it,
 * root keys and AppSKeys never. */
#pragma once

#include "common/runtime/daemon.h"

struct as_join;

/* Init table, before the database, so that it goes after it. */
int as_join_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag);
void as_join_deinit(void *owner);
/* For tests: the port it listens on. */
int as_join_port(const struct as_join *j);
