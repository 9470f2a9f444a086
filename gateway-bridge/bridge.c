#include "gateway-bridge/bridge.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "gateway-bridge/flow/bridge.h"

#define HOUSEKEEPING_MS 250
#define DRAIN_POLL_MS 10
#define ARENA_MAX (1024u * 1024)
#define MESSAGE_MAX (512u * 1024)

void gb_drop(struct gb_bridge *b, Longwave__V1__Reason reason)
{
	rt_metric_inc_at(b->m.dropped, (size_t)reason);
}

/* --- parts ------------------------------------------------------------------------------------------------------ */

static void collect(void *arg, struct lw_buf *out)
{
	struct gb_bridge *b = arg;
	size_t gateways = 0;
	uint64_t overflow = 0, failed = 0;
	(void)out;
	for (size_t i = 0; i < b->n_listeners; i++) {
		struct gb_udp_stats s;
		gateways += gb_gateways_count(&b->listeners[i].gateways);
		gb_udp_stats(b->listeners[i].udp, &s);
		overflow += s.overflow;
		failed += s.send_failed;
	}
	rt_metric_set(b->m.gateways, (double)gateways);
	/* Counters that live in the sockets: add what is new. */
	rt_metric_add(b->m.overflow, overflow - (uint64_t)rt_metric_get(b->m.overflow));
	rt_metric_add(b->m.send_failed, failed - (uint64_t)rt_metric_get(b->m.send_failed));
}

static int init_metrics(struct gb_bridge *b)
{
	static const char *const types[] = {"push_data", "push_ack", "pull_data", "pull_resp",
					    "pull_ack",  "tx_ack",   "malformed"};
	static const char *const statuses[] = {
		"ignored", "ok",       "too_late",     "too_early",  "collision_packet", "collision_beacon",
		"tx_freq", "tx_power", "gps_unlocked", "queue_full", "internal_error",   "duty_cycle_overflow"};
	static const char *const commands[] = {"down", "config", "exec", "raw", "mesh", "other"};
	static const double ack_bounds[] = {0.5, 0.8, 0.9, 0.95, 0.99, 1};
	struct rt_metrics *r = b->registry;
	struct gb_metrics *m = &b->m;
	const ProtobufCEnumDescriptor *reasons = &longwave__v1__reason__descriptor;
	for (unsigned i = 0; i < reasons->n_values; i++) {
		BUG_ON(reasons->values[i].value >= GB_N_REASONS);
		m->reasons[reasons->values[i].value] = reasons->values[i].name;
	}
	m->received = rt_counter_vec(r, "udp_received_total", "Datagrams from gateways.", "type", types, 7);
	m->sent = rt_counter_vec(r, "udp_sent_total", "Datagrams to gateways.", "type", types, 6);
	m->dropped = rt_counter_vec(r, "dropped_total", "Datagrams, frames, reports and commands that went no further.",
				    "reason", m->reasons, GB_N_REASONS);
	m->uplinks = rt_counter(r, "uplinks_total", "Frames published.");
	m->stats = rt_counter(r, "stats_total", "Statistics reports published.");
	m->downlinks = rt_counter(r, "downlinks_total", "Downlinks sent to gateways.");
	m->tx_acks =
		rt_counter_vec(r, "tx_acks_total", "Outcome of each item of the downlinks.", "status", statuses, 12);
	m->commands = rt_counter_vec(r, "commands_total", "Commands from the broker.", "command", commands, 6);
	m->gateways = rt_gauge(r, "gateways_connected", "Gateways that send PULL_DATA.");
	m->connects = rt_counter(r, "gateway_connects_total", "Gateways that came.");
	m->disconnects = rt_counter(r, "gateway_disconnects_total", "Gateways that went silent.");
	m->overflow = rt_counter(r, "udp_overflow_total",
				 "Datagrams that the kernel dropped because the receive buffer was full.");
	m->send_failed = rt_counter(r, "udp_send_failures_total", "Datagrams that could not be sent.");
	m->lost_parts = rt_counter(r, "unreadable_members_total",
				   "Members of frames and reports that were wrong and left out.");
	m->ack_rate = rt_histogram(r, "gateway_ack_ratio", "Share of acknowledged datagrams, as gateways report it.",
				   ack_bounds, sizeof(ack_bounds) / sizeof(ack_bounds[0]));
	return 0;
}

static void init_meta(struct gb_bridge *b)
{
	const struct conf_strs *v = &b->conf->metadata;
	b->meta = lw_xcalloc(v->n + 1, sizeof(b->meta[0]));
	for (size_t i = 0; i < v->n; i++) {
		/* The configuration has checked that there is one. */
		char *equals = strchr(v->v[i], '=');
		b->meta[i].key = lw_xstrndup(v->v[i], (size_t)(equals - v->v[i]));
		b->meta[i].value = equals + 1;
	}
	b->n_meta = v->n;
}

static int init_rules(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct gb_bridge *b = owner;
	b->conf = env->conf;
	b->loop = env->loop;
	b->log = env->log;
	b->registry = env->metrics;
	b->run = env->run;
	int err = gb_filter_init(&b->filter, b->conf->filters.net_ids.v, b->conf->filters.net_ids.n,
				 b->conf->filters.join_euis.v, b->conf->filters.join_euis.n, diag);
	if (err < 0)
		return err;
	b->schema = lw_schema_new();
	b->marshaler = (struct gb_marshaler){.json = b->conf->marshaler == GB_CONF_JSON, .schema = b->schema};
	lw_arena_init(&b->arena, NULL, 0, ARENA_MAX);
	lw_buf_init(&b->out, MESSAGE_MAX);
	init_meta(b);
	return init_metrics(b);
}

static void deinit_rules(void *owner)
{
	struct gb_bridge *b = owner;
	for (size_t i = 0; i < b->n_meta; i++)
		free((void *)(uintptr_t)b->meta[i].key);
	free(b->meta);
	lw_buf_deinit(&b->out);
	lw_arena_deinit(&b->arena);
	lw_schema_free(b->schema);
	gb_filter_deinit(&b->filter);
}

static int init_flows(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	(void)env;
	(void)diag;
	gb_up_init(owner);
	gb_down_init(owner);
	return 0;
}

static void deinit_flows(void *owner)
{
	gb_down_deinit(owner);
	gb_up_deinit(owner);
}

static void init_listeners(struct gb_bridge *b)
{
	const struct gb_listener_conf *conf = b->conf->listeners.v;
	b->n_listeners = b->conf->listeners.n;
	b->listeners = lw_xcalloc(b->n_listeners, sizeof(b->listeners[0]));
	b->prefixes = lw_xcalloc(b->n_listeners, sizeof(b->prefixes[0]));
	for (size_t i = 0; i < b->n_listeners; i++) {
		struct gb_listener *l = &b->listeners[i];
		size_t n = strlen(conf[i].topic_prefix);
		l->bridge = b;
		l->name = conf[i].name[0] ? conf[i].name : conf[i].topic_prefix;
		l->prefix = lw_xmalloc(n + 2);
		bool slash = n > 0 && conf[i].topic_prefix[n - 1] != '/';
		sprintf(l->prefix, "%s%s", conf[i].topic_prefix, slash ? "/" : "");
		gb_gateways_init(&l->gateways, b->conf->udp.max_gateways);
		b->prefixes[i] = l->prefix;
	}
}

static void free_listeners(struct gb_bridge *b)
{
	for (size_t i = 0; i < b->n_listeners; i++) {
		gb_gateways_deinit(&b->listeners[i].gateways);
		free(b->listeners[i].prefix);
	}
	free(b->listeners);
	free(b->prefixes);
	b->listeners = NULL;
	b->n_listeners = 0;
}

/* mkdir -p for the last two levels, which is what a fresh machine lacks. */
static int make_folder(const char *path, struct lw_diag *diag)
{
	char parent[4096];
	snprintf(parent, sizeof(parent), "%s", path);
	char *slash = strrchr(parent, '/');
	if (slash && slash != parent) {
		*slash = '\0';
		mkdir(parent, 0750);
	}
	if (mkdir(path, 0750) == 0 || errno == EEXIST)
		return 0;
	int err = -errno;
	lw_diag_set(diag, "state_dir: cannot make %s: %s", path, lw_err_text(err));
	return err;
}

static void on_command(void *arg, const struct gb_command *c)
{
	gb_down_command(arg, c);
}

static void each_gateway(struct gb_bridge *b, void (*fn)(struct gb_broker *, const char *, const char *))
{
	for (size_t i = 0; i < b->n_listeners; i++) {
		struct gb_listener *l = &b->listeners[i];
		LW_LIST_FOREACH (node, tmp, &l->gateways.by_age)
			fn(b->broker, l->prefix, LW_CONTAINER_OF(node, struct gb_gateway, by_age)->id_text);
	}
}

static void on_connected(void *arg)
{
	struct gb_bridge *b = arg;
	if (!b->draining)
		each_gateway(b, gb_broker_online);
}

static void on_shed(void *arg)
{
	gb_drop(arg, LONGWAVE__V1__REASON__OVERLOAD);
}

static int init_broker(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct gb_bridge *b = owner;
	const struct gb_conf *c = b->conf;
	int err = make_folder(c->state_dir, diag);
	if (err < 0)
		return err;
	init_listeners(b);
	struct gb_broker_opts o = {
		.loop = b->loop,
		.log = b->log,
		.metrics = b->registry,
		.health = env->run ? rt_health_add(env->run, "mqtt") : NULL,
		.marshaler = &b->marshaler,
		.prefixes = b->prefixes,
		.n_prefixes = b->n_listeners,
		.server = c->mqtt.server,
		.client_id = c->mqtt.client_id,
		.username = c->mqtt.username,
		.password = c->mqtt.password,
		.ca_file = c->mqtt.ca_file,
		.cert_file = c->mqtt.cert_file,
		.key_file = c->mqtt.key_file,
		.clean_session = c->mqtt.clean_session,
		.mqtt_v5 = c->mqtt.version == GB_CONF_MQTT_5,
		.keepalive_s = (uint16_t)(c->mqtt.keepalive_ms / 1000),
		.acknowledge_ms = (uint32_t)c->mqtt.acknowledge_ms,
		.qos = (uint8_t)c->mqtt.qos,
		.state_retained = c->mqtt.state_retained,
		.state_dir = c->state_dir,
		.spool_bytes = c->spool.max_size,
		.spool_age_ms = c->spool.max_age_ms,
		.marker_topic = c->republish.topic,
		.republish_bytes = c->republish.max_size,
		.republish_age_ms = c->republish.max_age_ms,
		.max_waiting = c->overload.max_waiting,
		.shed_after_ms = (uint32_t)c->overload.shed_after_ms,
		.on_shed = on_shed,
		.on_command = on_command,
		.on_connected = on_connected,
		.arg = b,
	};
	err = gb_broker_new(&b->broker, &o, diag);
	if (err < 0)
		free_listeners(b);
	return err;
}

static void deinit_broker(void *owner)
{
	struct gb_bridge *b = owner;
	gb_broker_free(b->broker);
	free_listeners(b);
}

static void close_sockets(struct gb_bridge *b)
{
	for (size_t i = 0; i < b->n_listeners; i++) {
		gb_udp_close(b->listeners[i].udp);
		b->listeners[i].udp = NULL;
	}
}

static int init_sockets(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct gb_bridge *b = owner;
	const struct gb_listener_conf *conf = b->conf->listeners.v;
	(void)env;
	for (size_t i = 0; i < b->n_listeners; i++) {
		struct gb_listener *l = &b->listeners[i];
		int err = gb_udp_open(&l->udp,
				      &(struct gb_udp_opts){.loop = b->loop,
							    .log = b->log,
							    .bind = conf[i].bind,
							    .receive_buffer = (uint32_t)b->conf->udp.receive_buffer,
							    .share = (enum gb_udp_share)b->conf->udp.share_packets,
							    .on_batch = gb_up_datagrams,
							    .arg = l},
				      diag);
		if (err < 0) {
			lw_diag_prefix(diag, "listeners.%zu.bind", i);
			close_sockets(b);
			return err;
		}
		struct gb_udp_stats s;
		gb_udp_stats(l->udp, &s);
		RT_LOG_INFO(b->log, "listening", rt_str("listener", l->name), rt_str("bind", conf[i].bind),
			    rt_u64("port", gb_udp_port(l->udp)), rt_str("topic_prefix", l->prefix),
			    rt_u64("receive_buffer", s.receive_buffer));
	}
	rt_metrics_on_collect(b->registry, collect, b);
	return 0;
}

/* Downlinks wait in the gateways; they go before the gateways do. */
static void forget_downlinks(struct gb_bridge *b)
{
	for (size_t i = 0; i < b->n_listeners; i++) {
		LW_LIST_FOREACH (node, tmp, &b->listeners[i].gateways.by_age)
			gb_down_forget_gateway(b, LW_CONTAINER_OF(node, struct gb_gateway, by_age));
	}
}

static void deinit_sockets(void *owner)
{
	struct gb_bridge *b = owner;
	rt_metrics_remove_collect(b->registry, b);
	forget_downlinks(b);
	close_sockets(b);
}

static void on_housekeeping(struct rt_timer *t, void *arg)
{
	struct gb_bridge *b = arg;
	int64_t now = rt_loop_mono_ns(b->loop);
	(void)t;
	gb_down_expire(b, now - (int64_t)b->conf->udp.tx_ack_timeout_ms * LW_NS_PER_MS);
	for (size_t i = 0; i < b->n_listeners; i++) {
		struct gb_listener *l = &b->listeners[i];
		struct gb_gateway *gw;
		int64_t before = now - (int64_t)b->conf->udp.gateway_timeout_ms * LW_NS_PER_MS;
		while ((gw = gb_gateways_stale(&l->gateways, before))) {
			rt_metric_inc(b->m.disconnects);
			RT_LOG_INFO(b->log, "gateway silent", rt_str("gateway_id", gw->id_text),
				    rt_str("listener", l->name));
			gb_broker_offline(b->broker, l->prefix, gw->id_text);
			gb_down_forget_gateway(b, gw);
			gb_gateways_remove(&l->gateways, gw);
		}
	}
}

static void on_drain_poll(struct rt_timer *t, void *arg)
{
	struct gb_bridge *b = arg;
	(void)t;
	/* Without a broker there is nothing to wait for: OFFLINE follows at the next start. */
	if (gb_broker_connected(b->broker) && gb_broker_pending(b->broker) > 0)
		return;
	rt_timer_stop(&b->drain_timer);
	rt_daemon_drained(b->run);
}

static int init_timers(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct gb_bridge *b = owner;
	(void)env;
	(void)diag;
	rt_timer_init(&b->drain_timer, b->loop, "drain", on_drain_poll, b);
	rt_timer_init(&b->housekeeping, b->loop, "housekeeping", on_housekeeping, b);
	rt_timer_start_every(&b->housekeeping, HOUSEKEEPING_MS);
	return 0;
}

static void deinit_timers(void *owner)
{
	struct gb_bridge *b = owner;
	rt_timer_stop(&b->housekeeping);
	rt_timer_stop(&b->drain_timer);
}

/* Reads no more datagrams, says OFFLINE for everyone and waits until the broker has it all. */
static void drain(void *owner, struct rt_daemon_run *run)
{
	struct gb_bridge *b = owner;
	(void)run;
	b->draining = true;
	rt_timer_stop(&b->housekeeping);
	for (size_t i = 0; i < b->n_listeners; i++)
		gb_udp_stop_reading(b->listeners[i].udp);
	each_gateway(b, gb_broker_offline);
	rt_timer_start_every(&b->drain_timer, DRAIN_POLL_MS);
}

static const struct rt_daemon_part parts[] = {
	{"rules", init_rules, deinit_rules},    {"flows", init_flows, deinit_flows},
	{"broker", init_broker, deinit_broker}, {"sockets", init_sockets, deinit_sockets},
	{"timers", init_timers, deinit_timers},
};

const struct rt_daemon gb_daemon = {
	.name = "gateway-bridge",
	.metric_prefix = "longwave_gb_",
	.sentence =
		"Turns what LoRa packet-forwarders say over UDP into MQTT messages, and commands back into downlinks.",
	.version = LW_VERSION,
	.conf = &gb_conf_table,
	.common_offset = offsetof(struct gb_conf, daemon),
	.owner_size = sizeof(struct gb_bridge),
	.parts = parts,
	.n_parts = sizeof(parts) / sizeof(parts[0]),
	.drain = drain,
};
