/* The app-server: users, tenants, devices and keys; the API; what applications hear. */
#include "app-server/api/call.h"
#include "app-server/api/http.h"
#include "app-server/as.h"
#include "app-server/flow/events.h"
#include "app-server/integration/outlets.h"
#include "app-server/link/join_server.h"
#include "app-server/link/live.h"
#include "app-server/link/mqtt.h"
#include "app-server/replicas.h"
#include "app-server/parts.h"

static const struct rt_daemon_part parts[] = {
	{"base", as_base_init, as_base_deinit},
	{"integrations", as_outlets_init, as_outlets_deinit},
	/* Taken down after the network-server's client and the database: their last callbacks still come here. */
	{"events", as_events_init, as_events_deinit},
	{"mqtt", as_integration_init, as_integration_deinit},
	{"event-stream", as_events_start, NULL},
	{"replicas", as_replicas_init, as_replicas_deinit},
	{"live", as_live_init, as_live_deinit},
	{"join-server", as_join_init, as_join_deinit},
	{"network-server", as_ns_init, as_ns_deinit},
	{"database", as_database_init, as_database_deinit},
	{"api", as_api_init, NULL},
	{"grpc", as_grpc_init, as_grpc_deinit},
	{"http", as_http_init, as_http_deinit},
};

static const struct rt_daemon daemon_table = {
	.name = "app-server",
	.metric_prefix = "longwave_as_",
	.sentence = "users, tenants, devices and keys; the API; what applications hear",
	.version = LW_VERSION,
	.conf = &as_conf_table,
	.common_offset = offsetof(struct as_conf, common),
	.owner_size = sizeof(struct as),
	.parts = parts,
	.n_parts = sizeof(parts) / sizeof(parts[0]),
	.drain = as_drain,
};

int main(int argc, char **argv)
{
	return rt_daemon_main(argc, argv, &daemon_table);
}
