/* The listener on :8080: web UI, REST, gRPC-web, the OpenAPI document and live events. */
#pragma once

#include "common/runtime/daemon.h"

struct as;
struct http_request;

int as_http_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag);
void as_http_deinit(void *owner);
/* Takes no new connections. */
void as_http_drain(struct as *as);
