/* The geo-server: gRPC in, domain/ in the middle, nothing else. Keeps no state and knows nobody. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/list.h"
#include "common/runtime/daemon.h"

struct grpc_call;
struct grpc_methods;

struct geo_conf {
	struct rt_daemon_conf common;
	char *bind;
};

struct geo_metrics {
	struct rt_metric *items;      /* by method */
	struct rt_metric *receptions; /* that were asked about */
	struct rt_metric *seconds;    /* per request */
};

struct geo_server {
	struct rt_loop *loop;
	struct lw_schema *schema;
	struct grpc_methods *methods;
	struct grpc_health *health;
	struct grpc_reflection *reflection;
	struct grpc_server *server;
	struct geo_metrics metrics;
	struct lw_list jobs; /* requests that are computed on other threads */
};

extern const struct rt_daemon geo_daemon;

/* flow/resolve.c: adds longwave.geo.v1.GeoServer to the table. */
void geo_resolve_register(struct geo_server *g);
/* Answers what is still computed with CANCELLED when it is ready, without touching the server any more. */
void geo_resolve_deinit(struct geo_server *g);
