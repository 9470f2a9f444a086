/* Settings of the network-server: the table is in config.c, --print-defaults and the documentation follow from it. */
#pragma once

#include "common/runtime/conf.h"
#include "common/runtime/daemon.h"
#include "network-server/regions.h"

/* Which join server answers for which JoinEUIs. */
struct ns_conf_join_server {
	char *join_eui_prefix; /* leading hex digits */
	char *url;
	char *authorization;
};

struct ns_conf_kek {
	char *label;
	char *kek; /* hex */
};

struct ns_conf {
	struct rt_daemon_conf common;
	char *state_dir;
	char *replica;
	uint64_t replica_lease_ms;
	char *dsn;
	char *redis_url;
	char *grpc_bind;
	char *net_id;
	uint64_t deduplication_ms;
	bool deduplication_adaptive;
	uint64_t downlink_delay_ms;
	uint64_t tx_ack_timeout_ms;
	uint64_t multicast_class_c_margin_ms;
	uint64_t multicast_class_b_margin_ms;
	uint64_t device_queue_items;
	uint64_t multicast_queue_items;
	bool allow_unknown_gateways;
	bool mac_commands_disabled;
	struct conf_strs regions;
	struct conf_list own_regions; /* struct ns_conf_region */
	struct conf_strs enforce_duty_cycle;
	char *mqtt_server;
	char *mqtt_username;
	char *mqtt_password;
	char *mqtt_ca;
	char *mqtt_cert;
	char *mqtt_key;
	char *mqtt_share;
	int64_t mqtt_qos;
	uint64_t mqtt_acknowledge_ms;
	char *join_url;
	uint64_t join_timeout_ms;
	struct conf_list join_servers; /* struct ns_conf_join_server */
	struct conf_list keks;         /* struct ns_conf_kek */
	char *geo_address;
	uint64_t frame_log_device;
	uint64_t frame_log_gateway;
	uint64_t flood_percent;
	uint64_t flood_joins;
	uint64_t flood_minutes;
	uint64_t flood_duration_ms;
	bool link_metrics;
	char *link_time_zone;
	uint64_t link_write_ms;
	uint64_t link_hours;
	uint64_t link_days;
	uint64_t link_months;
	bool journal_sync;
	uint64_t max_cached_devices;
	uint64_t max_waiting;
	uint64_t shed_after_ms;
};

extern const struct conf_table ns_conf_table;
