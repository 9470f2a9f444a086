/* The app-server's owner: everything that lives as long as the process, made and unmade by the init table in main.c. */
#pragma once

#include "app-server/config.h"
#include "common/base/arena.h"
#include "common/base/rng.h"
#include "common/crypto/aes.h"
#include "common/runtime/daemon.h"

struct as_access;
struct as_replicas;
struct as_bootstrap;
struct as_http;
struct as_nsync;
struct as_outlets;
struct as_payload_keys;
struct as_live;
struct as_events;
struct as_enqueuer;
struct as_integration;
struct as_join;
struct grpc_client;
struct grpc_health;
struct grpc_methods;
struct grpc_reflection;
struct grpc_server;
struct lw_schema;
struct sql_db;

/* Secrets of this installation, kept in the table `setting`. */
struct as_secrets {
	uint8_t token[128]; /* signs JWTs */
	size_t token_len;
	struct lw_key seal; /* wraps clear payloads that the network-server keeps for us */
};

#define AS_NS_MAX 8 /* replicas of the network-server */

struct as_ns_replica {
	struct as *as;
	struct grpc_client *client;
	bool up;
	char reason[96];
};

struct rt_metric;

/* Of the API; other parts keep their own. */
struct as_api_metrics {
	struct rt_metric *calls;   /* by gRPC status */
	struct rt_metric *seconds; /* from the request to the answer */
};

struct as {
	const struct as_conf *conf;
	struct rt_daemon_run *run;
	struct rt_loop *loop;
	struct rt_log *log;
	struct rt_metrics *metrics;
	struct rt_metric *damaged_rows; /* see as_row_damaged(); may be NULL */
	struct lw_arena arena;          /* of what lives as long as the process */
	struct lw_rng rng;
	struct lw_schema *schema;
	struct lw_keycache *keys; /* AppSKey schedules */
	struct as_secrets secrets;
	bool ready; /* the database is migrated and the secrets are loaded; until then calls are answered UNAVAILABLE */

	struct sql_db *db;
	struct rt_health *db_health;
	struct as_bootstrap *bootstrap; /* until `ready` */
	struct grpc_client *ns;         /* calls go here: the first replica that is up; changes when that one goes */
	struct as_ns_replica ns_replicas[AS_NS_MAX]; /* events are heard from all of them */
	size_t n_ns;
	struct rt_health *ns_health;
	struct as_access *access;     /* who is calling: cache of users, keys and owners of objects */
	struct as_nsync *nsync;       /* changes on their way to the network-server */
	struct as_enqueuer *enqueuer; /* downlinks on their way there */

	struct as_api_metrics api_metrics;
	struct grpc_methods *methods;
	struct grpc_server *grpc;
	struct grpc_health *grpc_health;
	struct grpc_reflection *reflection;
	struct as_http *http;

	struct as_events *events;           /* the network-server's event stream */
	struct as_integration *integration; /* MQTT */
	struct as_outlets *outlets;         /* all other integrations */
	struct as_join *join;               /* join server */
	struct as_replicas *replicas;       /* NULL: no Redis */
	struct as_live *live;               /* SSE and gRPC streams of frames and events */
};
