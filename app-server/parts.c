#include "app-server/parts.h"

#include <stdio.h>
#include <string.h>

#include "app-server/api/access.h"
#include "app-server/api/http.h"
#include "app-server/as.h"
#include "app-server/flow/events.h"
#include "app-server/integration/outlets.h"
#include "app-server/link/enqueue.h"
#include "app-server/link/nsync.h"
#include "app-server/replicas.h"
#include "app-server/store/bootstrap.h"
#include "common/io/grpc_client.h"
#include "common/io/grpc_server.h"
#include "common/io/sql.h"
#include "common/pb/schema.h"

#define KEY_SLOTS 1024

int as_base_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct as *as = owner;
	(void)diag;
	as->conf = env->conf;
	as->run = env->run;
	as->loop = env->loop;
	as->log = env->log;
	as->metrics = env->metrics;
	as->damaged_rows = rt_counter(env->metrics, "damaged_rows_total",
				      "Rows of the database that could not be read; the log names them.");
	lw_rng_init_system(&as->rng);
	lw_arena_init(&as->arena, NULL, 0, SIZE_MAX / 2);
	as->schema = lw_schema_new();
	as->keys = lw_keycache_new(KEY_SLOTS);
	as->methods = grpc_methods_new();
	as->access = as_access_new(as);
	as->enqueuer = as_enqueuer_new(as);
	return 0;
}

void as_base_deinit(void *owner)
{
	struct as *as = owner;
	as_enqueuer_free(as->enqueuer);
	as_access_free(as->access);
	grpc_methods_free(as->methods);
	lw_keycache_free(as->keys);
	lw_schema_free(as->schema);
	lw_arena_deinit(&as->arena);
	lw_wipe(&as->secrets, sizeof(as->secrets));
}

/* ---- database ---- */

static void on_db_state(void *arg, bool up, const char *detail)
{
	struct as *as = arg;
	/* Up means usable: the tables are there and the first user is made; on_ready() says so the first time. */
	if (!up || as->ready)
		rt_health_set(as->db_health, up, detail);
}

static void on_ready(struct as *as)
{
	as->ready = true;
	rt_health_set(as->db_health, sql_is_up(as->db), NULL);
	as_nsync_start(as->nsync);
	as_outlets_start(as);
	RT_LOG_INFO(as->log, "database is ready");
}

static void on_failed(struct as *as, const char *why)
{
	RT_LOG_ERROR(as->log, "the database cannot be used", rt_str("detail", why));
	rt_daemon_stop(as->run, 1);
}

int as_database_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct as *as = owner;
	as->db_health = rt_health_add(env->run, "database");
	struct sql_options o = {.dsn = as->conf->dsn, .metrics = env->metrics, .on_state = on_db_state, .arg = as};
	int rc = sql_open(&as->db, as->loop, &o, diag);
	if (rc < 0)
		return rc;
	as->nsync = as_nsync_new(as);
	as_bootstrap(as, on_ready, on_failed);
	return 0;
}

void as_database_deinit(void *owner)
{
	struct as *as = owner;
	as->ready = false;
	as_bootstrap_stop(as);
	as_nsync_stop(as->nsync);
	as_enqueuer_stop(as->enqueuer);
	sql_free(as->db);
	as->db = NULL;
	as_nsync_free(as->nsync);
	as->nsync = NULL;
}

/* ---- network-server ---- */

static void on_ns_state(void *arg, bool up, const char *reason)
{
	struct as_ns_replica *r = arg;
	struct as *as = r->as;
	const struct as_ns_replica *best = NULL;
	r->up = up;
	snprintf(r->reason, sizeof(r->reason), "%s", reason ? reason : "");
	for (size_t i = 0; i < as->n_ns && !best; i++)
		if (as->ns_replicas[i].up)
			best = &as->ns_replicas[i];
	/* Calls under way stay where they are; whoever has one to cancel remembers its client. */
	if (best)
		as->ns = best->client;
	rt_health_set(as->ns_health, best != NULL, best ? NULL : r->reason);
}

/* "host:port, host:port": one for each replica. */
static int connect_replicas(struct as *as, struct lw_diag *diag)
{
	const char *at = as->conf->network_server;
	while (*at) {
		char address[256];
		size_t n = strcspn(at, ", ");
		if (n >= sizeof(address) || (n && as->n_ns == AS_NS_MAX)) {
			lw_diag_set(diag, "network_server.address: at most %d addresses", AS_NS_MAX);
			return LW_EINVAL;
		}
		if (n) {
			struct as_ns_replica *r = &as->ns_replicas[as->n_ns++];
			struct grpc_client_config c = {.address = address,
						       .max_message = 64u << 20,
						       .on_state = on_ns_state,
						       .on_state_arg = r};
			memcpy(address, at, n);
			address[n] = 0;
			r->as = as;
			r->client = grpc_client_new(as->loop, &c);
		}
		at += n;
		at += strspn(at, ", ");
	}
	if (as->n_ns == 0) {
		lw_diag_set(diag, "network_server.address is empty");
		return LW_EINVAL;
	}
	return 0;
}

int as_ns_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct as *as = owner;
	as->ns_health = rt_health_add(env->run, "network-server");
	int rc = connect_replicas(as, diag);
	if (rc < 0) {
		as_ns_deinit(as);
		return rc;
	}
	as->ns = as->ns_replicas[0].client;
	for (size_t i = 0; i < as->n_ns; i++)
		grpc_client_connect(as->ns_replicas[i].client);
	return 0;
}

void as_ns_deinit(void *owner)
{
	struct as *as = owner;
	/* Callbacks of ended calls may begin others: the one that they would go to is freed last. */
	for (size_t i = 0; i < as->n_ns; i++)
		if (as->ns_replicas[i].client != as->ns)
			grpc_client_free(as->ns_replicas[i].client);
	grpc_client_free(as->ns);
	as->ns = NULL;
	as->n_ns = 0;
}

/* ---- gRPC ---- */

int as_grpc_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct as *as = owner;
	(void)env;
	as->grpc_health = grpc_health_new(as->methods);
	as->reflection = grpc_reflection_new(as->methods, as->schema);
	struct grpc_server_config c = {.bind = as->conf->grpc_bind, .methods = as->methods};
	int rc = grpc_server_new(as->loop, &c, &as->grpc, diag);
	if (rc < 0) {
		as_grpc_deinit(as);
		return rc;
	}
	RT_LOG_INFO(as->log, "gRPC is served", rt_str("bind", as->conf->grpc_bind),
		    rt_u64("port", (uint64_t)grpc_server_port(as->grpc)));
	return 0;
}

void as_grpc_deinit(void *owner)
{
	struct as *as = owner;
	if (as->grpc)
		grpc_server_free(as->grpc);
	as->grpc = NULL;
	grpc_reflection_free(as->reflection);
	grpc_health_free(as->grpc_health);
}

/* ---- end ---- */

static void on_outlets_stopped(void *arg)
{
	rt_daemon_drained(arg);
}

static void on_left(struct as *as)
{
	as_replicas_leave(as);
	as_outlets_stop(as, on_outlets_stopped, as->run);
}

static void on_drained(void *arg)
{
	as_events_leave(arg, on_left);
}

void as_drain(void *owner, struct rt_daemon_run *run)
{
	struct as *as = owner;
	as_http_drain(as);
	(void)run;
	grpc_server_drain(as->grpc, on_drained, as);
}
