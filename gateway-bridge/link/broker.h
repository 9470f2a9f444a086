/* The bridge's side of MQTT: events out, commands in, connection states, and the spool on disk for the time the broker
 * is away. Uplinks and statistics keep their order across an outage; acknowledgements, which age fast, go past what
 * waits. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/runtime/daemon.h"
#include "common/runtime/metrics.h"
#include "gateway-bridge/link/gw_message.h"

struct gb_broker;

struct gb_command {
	const char *prefix; /* the listener's, as given to gb_broker_new() */
	size_t listener;
	const char *gateway_id; /* 16 hex digits */
	const char *name;       /* "down", "config" … */
	struct lw_span payload;
};

struct gb_broker_opts {
	struct rt_loop *loop;
	struct rt_log *log;
	struct rt_metrics *metrics;
	struct rt_health *health;
	const struct gb_marshaler *marshaler;
	const char *const *prefixes; /* of the listeners: "" or ending in '/' */
	size_t n_prefixes;
	const char *server;
	const char *client_id;
	const char *username;
	const char *password;
	const char *ca_file, *cert_file, *key_file;
	bool clean_session;
	bool mqtt_v5;
	uint16_t keepalive_s;
	uint32_t acknowledge_ms;
	uint8_t qos;
	bool state_retained;
	const char *state_dir; /* spool and announced states live here */
	uint64_t spool_bytes;
	uint64_t spool_age_ms;
	const char *marker_topic; /* the marker's topic begins so, see link/republish.h */
	uint64_t republish_bytes;
	uint64_t republish_age_ms; /* 0: nothing is published again */
	size_t max_waiting;        /* uplinks in memory while the broker is there and does not keep up */
	uint32_t shed_after_ms;    /* how long they may wait; 0: they go to the spool instead */
	/* An uplink was given up. */
	void (*on_shed)(void *arg);
	/* Everything is borrowed for the call. */
	void (*on_command)(void *arg, const struct gb_command *c);
	/* The broker is (again) there: announce the gateways that are connected. */
	void (*on_connected)(void *arg);
	void *arg;
};

/* Connects by itself; what opts points to must live as long. */
int gb_broker_new(struct gb_broker **out, const struct gb_broker_opts *opts, struct lw_diag *diag);
/* What was not yet acknowledged by the broker goes to the spool. */
void gb_broker_free(struct gb_broker *b);

/* prefix + "gateway/" + id + "/event/" + event. `in_order`: behind what waits; otherwise at once when the broker is
 * there. */
void gb_broker_event(struct gb_broker *b, const char *prefix, const char *gateway_id, const char *event,
		     struct lw_span payload, bool in_order);
/* Subscribes to the gateway's commands and says ONLINE. Nothing when the broker is away: see on_connected. */
void gb_broker_online(struct gb_broker *b, const char *prefix, const char *gateway_id);
/* Unsubscribes and says OFFLINE; when the broker is away, OFFLINE follows at the next connect. */
void gb_broker_offline(struct gb_broker *b, const char *prefix, const char *gateway_id);
bool gb_broker_connected(const struct gb_broker *b);
/* Messages that the broker has not acknowledged yet, those in the spool not counted. */
size_t gb_broker_pending(const struct gb_broker *b);
