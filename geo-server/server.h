/* The geo-server: gRPC in, domain/ in the middle, nothing else. Keeps no state and knows nobody. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/runtime/daemon.h"
#include "geo-server/flow/resolve.h"

struct grpc_methods;

struct geo_conf {
	struct rt_daemon_conf common;
	char *bind;
};

struct geo_server {
	struct lw_schema *schema;
	struct grpc_methods *methods;
	struct grpc_health *health;
	struct grpc_reflection *reflection;
	struct grpc_server *server;
	struct geo_resolve resolve;
};

extern const struct rt_daemon geo_daemon;
