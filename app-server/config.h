/* Settings of the app-server. */
#pragma once

#include "common/runtime/daemon.h"

struct as_integrations_conf {
	bool forbid_private;
	int64_t connections; /* to one endpoint */
	char *ca;
	uint64_t timeout_ms;
	uint64_t retry_max_ms;
	uint64_t give_up_ms;
	uint64_t retention_ms;
	uint64_t dead_retention_ms;
	uint64_t max_events;
};

struct as_conf {
	struct rt_daemon_conf common;
	char *http_bind;
	char *grpc_bind;
	char *join_bind;
	char *dsn;
	char *redis_url;
	char *network_server;
	char *mqtt_server;
	char *mqtt_username;
	char *mqtt_password;
	char *mqtt_client_id;
	uint64_t mqtt_acknowledge_ms;
	char *mqtt_ca;
	char *mqtt_cert;
	char *mqtt_key;
	int mqtt_marshaler; /* 0: JSON, 1: protobuf */
	char *event_topic;
	char *command_topic;
	struct as_integrations_conf integrations;
	char *state_dir;
	uint64_t replica_lease_ms;
	char *secret;
	char *admin_password;
	char *ui_dir;
	struct conf_strs cors_origins;
	char *tileserver_url;
	char *map_attribution;
};

extern const struct conf_table as_conf_table;
