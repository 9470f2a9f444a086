/* Configuration, metrics and parts of the geo-server. */
#include "geo-server/server.h"

#include "common/io/grpc_server.h"
#include "common/pb/schema.h"

static const struct conf_item ITEMS[] = {
	RT_DAEMON_CONF(struct geo_conf, common, "127.0.0.1:9104"),
	{.key = "bind",
	 .type = CONF_STR,
	 .offset = offsetof(struct geo_conf, bind),
	 .def = "127.0.0.1:8005",
	 .flags = CONF_REQUIRED,
	 .sentence = "Address and port of the gRPC service."},
};

static const struct conf_table CONF = CONF_TABLE(ITEMS, struct geo_conf, NULL);

static int init_service(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	static const char *const methods[] = {"unknown", "tdoa", "rssi", "gateway"};
	struct geo_server *g = owner;
	(void)diag;
	g->resolve.items = rt_counter_vec(env->metrics, "resolved_total", "Devices by the method of their position.",
					  "method", methods, sizeof(methods) / sizeof(methods[0]));
	g->resolve.receptions = rt_counter(env->metrics, "receptions_total", "Receptions in requests.");
	g->resolve.seconds = rt_histogram_seconds(env->metrics, "resolve_seconds", "Time to answer a request.");
	g->schema = lw_schema_new();
	g->methods = grpc_methods_new();
	geo_resolve_init(&g->resolve, env->loop, g->methods);
	g->health = grpc_health_new(g->methods);
	grpc_health_set(g->health, "longwave.geo.v1.GeoServer", true);
	g->reflection = grpc_reflection_new(g->methods, g->schema);
	return 0;
}

static void deinit_service(void *owner)
{
	struct geo_server *g = owner;
	geo_resolve_deinit(&g->resolve);
	grpc_reflection_free(g->reflection);
	grpc_health_free(g->health);
	grpc_methods_free(g->methods);
	lw_schema_free(g->schema);
}

static int init_listen(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct geo_server *g = owner;
	const struct geo_conf *conf = env->conf;
	const struct grpc_server_config config = {.bind = conf->bind, .methods = g->methods};
	int rc = grpc_server_new(env->loop, &config, &g->server, diag);
	if (rc)
		return rc;
	RT_LOG_INFO(env->log, "listening", rt_str("bind", conf->bind),
		    rt_u64("port", (uint64_t)grpc_server_port(g->server)));
	return 0;
}

static void deinit_listen(void *owner)
{
	struct geo_server *g = owner;
	grpc_server_free(g->server);
	g->server = NULL;
}

static void on_drained(void *run)
{
	rt_daemon_drained(run);
}

static void drain(void *owner, struct rt_daemon_run *run)
{
	struct geo_server *g = owner;
	grpc_server_drain(g->server, on_drained, run);
}

static const struct rt_daemon_part PARTS[] = {
	{"service", init_service, deinit_service},
	{"grpc", init_listen, deinit_listen},
};

const struct rt_daemon geo_daemon = {
	.name = "geo-server",
	.metric_prefix = "longwave_geo_",
	.sentence = "Positions of devices from what gateways heard of them.",
	.version = "0.1.0",
	.conf = &CONF,
	.common_offset = offsetof(struct geo_conf, common),
	.owner_size = sizeof(struct geo_server),
	.parts = PARTS,
	.n_parts = sizeof(PARTS) / sizeof(PARTS[0]),
	.drain = drain,
};
