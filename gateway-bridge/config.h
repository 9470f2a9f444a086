/* Settings of the gateway-bridge: the struct that the table in config.c fills. */
#pragma once

#include "common/runtime/conf.h"
#include "common/runtime/daemon.h"

struct gb_listener_conf {
	char *name;
	char *bind;
	char *topic_prefix;
};

struct gb_conf {
	struct rt_daemon_conf daemon;
	struct conf_list listeners; /* struct gb_listener_conf */
	char *state_dir;
	int marshaler; /* enum gb_conf_marshaler */
	struct {
		char *server;
		char *client_id;
		char *username;
		char *password;
		uint64_t qos;
		bool clean_session;
		bool state_retained;
		uint64_t keepalive_ms;
		uint64_t acknowledge_ms;
		int version; /* enum gb_conf_mqtt_version */
		char *ca_file;
		char *cert_file;
		char *key_file;
	} mqtt;
	struct {
		uint64_t receive_buffer;
		int share_packets; /* enum gb_udp_share */
		uint64_t gateway_timeout_ms;
		uint64_t tx_ack_timeout_ms;
		uint64_t max_gateways;
		bool skip_crc_check;
		bool fake_rx_time;
	} udp;
	struct {
		uint64_t max_size;
		uint64_t max_age_ms;
	} spool;
	struct {
		uint64_t max_size;
		uint64_t max_age_ms;
		char *topic;
	} republish;
	struct {
		uint64_t max_waiting;
		uint64_t shed_after_ms;
	} overload;
	struct {
		struct conf_strs net_ids;
		struct conf_strs join_euis;
	} filters;
	struct conf_strs metadata; /* "key=value" */
};

enum gb_conf_marshaler { GB_CONF_PROTOBUF, GB_CONF_JSON };
enum gb_conf_mqtt_version { GB_CONF_MQTT_311, GB_CONF_MQTT_5 };

extern const struct conf_table gb_conf_table;
