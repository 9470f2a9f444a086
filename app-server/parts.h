/* The parts of the process in their order of start, for main.c. */
#pragma once

#include "common/runtime/daemon.h"

int as_base_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag);
void as_base_deinit(void *owner);
int as_database_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag);
void as_database_deinit(void *owner);
int as_ns_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag);
void as_ns_deinit(void *owner);
int as_grpc_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag);
void as_grpc_deinit(void *owner);

/* SIGTERM: no new calls, those under way are finished. */
void as_drain(void *owner, struct rt_daemon_run *run);
