/* The network-server's parts in one owner; main.c makes them in order and takes them down in reverse. */
#pragma once

#include "common/base/rng.h"
#include "common/io/redis.h"
#include "common/io/sql.h"
#include "common/pb/schema.h"
#include "common/runtime/daemon.h"
#include "network-server/config.h"
#include "network-server/flow/flows.h"
#include "network-server/flow/ports.h"
#include "network-server/link/api_server.h"
#include "network-server/link/event_stream.h"
#include "network-server/link/frame_log.h"
#include "network-server/link/geo_client.h"
#include "network-server/link/gw_mqtt.h"
#include "network-server/link/join_client.h"
#include "network-server/replicas.h"
#include "network-server/store/link_store.h"
#include "network-server/store/store.h"

struct ns_outcome_metrics;

struct ns {
	struct rt_daemon_env env;
	const struct ns_conf *conf;
	struct lw_schema *schema;
	/* The system's randomness, fetched by the handful: names of frames and downlinks, addresses. Never copied. */
	struct lw_rng rng;
	uint8_t random[512];
	size_t n_random;
	struct sql_db *db;
	struct redis *redis;
	struct ns_store *store;
	struct ns_frame_log *frame_log;
	struct ns_link_store *links;
	struct ns_join_client *join;
	struct ns_geo_client *geo;
	struct ns_event_stream *events;
	struct ns_gw_mqtt *mqtt;
	struct ns_api *api;
	struct ns_replicas *replicas;
	struct ns_ports ports;
	struct ns_outcome_metrics *outcomes;
	struct rt_metric *quarantines;
	struct ns_flow_config flow_config;
	struct ns_flows *flows;
	struct ns_wake *wake;
	bool woken; /* once, when there is somebody to send by */
	struct ns_regions all_regions;
	const struct ns_region_config **regions; /* of these, those that are served */
	size_t n_regions;
	const struct ns_region_config **enforce; /* of these */
	size_t n_enforce;
	char origin[64];
	struct rt_health *health_db, *health_mqtt, *health_redis;
	struct rt_timer drain_timer;
	struct rt_daemon_run *draining;
	uint64_t drain_received;
	unsigned drain_polls, drain_quiet, drain_writes;
};
