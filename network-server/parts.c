/* How the parts are made and joined: store → flows → links. Nothing here decides anything about a frame. */
#include "network-server/parts.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/list.h"
#include "common/base/xmalloc.h"
#include "common/runtime/log.h"
#include "common/runtime/metrics.h"

#define DRAIN_POLL_MS 20
#define DRAIN_QUIET 10    /* polls without a message: the broker has nothing more for us */
#define DRAIN_WRITES 250  /* polls for the counts of links */
#define DRAIN_ANSWERS 100 /* polls for gateways' answers, which nobody else could understand */

/* ---- drops and outcomes, counted by reason ---- */

enum { N_OUTCOMES = 5, N_REASONS = 96, N_FLOWS = 5 };
static const char *const FLOWS[N_FLOWS] = {"uplink", "join", "downlink", "stats", "tx_ack"};
static const char *const DROPS[N_FLOWS] = {"uplink_drops_total", "join_drops_total", "downlink_drops_total",
					   "stats_drops_total", "tx_ack_drops_total"};

struct ns_outcome_metrics {
	const char *reasons[N_REASONS];
	struct rt_metric *delivered;
	struct rt_metric *drops[N_FLOWS];
};

static size_t flow_index(const char *flow)
{
	for (size_t i = 0; i < N_FLOWS; i++)
		if (strcmp(FLOWS[i], flow) == 0)
			return i;
	return 0;
}

static void on_outcome(void *self, const char *flow, Longwave__V1__Outcome outcome, Longwave__V1__Reason reason)
{
	struct ns *ns = self;
	size_t f = flow_index(flow);
	if (outcome == LONGWAVE__V1__OUTCOME__DELIVERED)
		rt_metric_inc_at(ns->outcomes->delivered, f);
	else if (outcome != LONGWAVE__V1__OUTCOME__PENDING && (size_t)reason < N_REASONS)
		rt_metric_inc_at(ns->outcomes->drops[f], (size_t)reason);
}

static struct ns_outcome_metrics *outcome_metrics(struct rt_metrics *m)
{
	struct ns_outcome_metrics *o = lw_xcalloc(1, sizeof(*o));
	for (size_t i = 0; i < N_REASONS; i++) {
		const ProtobufCEnumValue *v =
			protobuf_c_enum_descriptor_get_value(&longwave__v1__reason__descriptor, (int)i);
		o->reasons[i] = v ? v->name : NULL;
	}
	o->delivered = rt_counter_vec(m, "delivered_total", "Frames that reached their end", "flow", FLOWS, N_FLOWS);
	for (size_t i = 0; i < N_FLOWS; i++)
		o->drops[i] = rt_counter_vec(m, DROPS[i], "Frames that ended otherwise, by reason", "reason",
					     o->reasons, N_REASONS);
	return o;
}

static void on_frame(void *self, const Longwave__Ns__V1__Frame *frame)
{
	struct ns *ns = self;
	ns_frame_log_put(ns->frame_log, frame);
}

/* ---- what the parts tell each other ---- */

static int on_message(void *arg, const struct ns_gw_message *m)
{
	struct ns *ns = arg;
	struct ns_inbox in = {.region = m->region,
			      .journal_position = m->journal_position,
			      .received_at_ns = m->received_at_ns,
			      .is_replay = m->is_replay,
			      .said_again = m->said_again,
			      .is_urgent = m->is_urgent};
	switch (m->kind) {
	case NS_GW_UP:
		return ns_flows_uplink(ns->flows, &in, m->payload);
	case NS_GW_ACK:
		return ns_flows_tx_ack(ns->flows, &in, m->payload);
	case NS_GW_STATS:
	default:
		return ns_flows_stats(ns->flows, &in, m->payload);
	}
}

static void on_shed(void *arg, const struct ns_gw_message *m)
{
	(void)m;
	on_outcome(arg, "uplink", LONGWAVE__V1__OUTCOME__DROPPED, LONGWAVE__V1__REASON__OVERLOAD);
}

static void on_room(void *arg)
{
	struct ns *ns = arg;
	if (ns->mqtt)
		ns_gw_mqtt_room(ns->mqtt);
}

static int send_downlink(void *self, const struct ns_region_config *rc, const Gw__DownlinkFrame *frame)
{
	struct ns *ns = self;
	return ns->mqtt ? ns_gw_mqtt_send(ns->mqtt, rc, frame, ns->schema) : LW_EUNAVAILABLE;
}

static void journal_done(void *self, uint64_t position)
{
	struct ns *ns = self;
	if (ns->mqtt)
		ns_gw_mqtt_done(ns->mqtt, position);
}

static void journal_retry(void *self, uint64_t position)
{
	struct ns *ns = self;
	if (ns->mqtt)
		ns_gw_mqtt_retry(ns->mqtt, position);
}

static void on_enqueued(void *arg, struct lw_dev_eui dev_eui)
{
	struct ns *ns = arg;
	ns_flows_enqueue_hint(ns->flows, dev_eui);
}

static void on_refused(void *arg, const struct ns_device *dev, struct lw_uuid item, const char *why)
{
	struct ns *ns = arg;
	ns_flows_downlink_refused(ns->flows, dev, item, why);
}

static int on_proprietary(void *arg, const struct ns_proprietary *p, uint32_t *downlink_id)
{
	struct ns *ns = arg;
	return ns_flows_send_proprietary(ns->flows, p, downlink_id);
}

static void on_multicast(void *arg, struct lw_uuid group_id)
{
	struct ns *ns = arg;
	ns_flows_multicast_hint(ns->flows, group_id);
}

static void on_waiting_multicast(void *arg, const struct lw_uuid *v, size_t n)
{
	struct ns *ns = arg;
	for (size_t i = 0; ns->flows && i < n; i++)
		ns_flows_multicast_hint(ns->flows, v[i]);
}

/* Word of it is lost on other replicas that are away: they see the flood themselves. */
static void on_flood(void *arg, struct lw_dev_eui dev_eui, bool by_joins, uint32_t measured)
{
	struct ns *ns = arg;
	char text[LW_EUI_TEXT];
	uint8_t b[13];
	rt_metric_inc(ns->quarantines);
	RT_LOG_WARN(ns->env.log, "a device floods and is in quarantine",
		    rt_str("dev_eui", lw_dev_eui_print(dev_eui, text)), rt_str("by", by_joins ? "joins" : "uplinks"),
		    rt_u64("measured", measured));
	lw_put_le64(b, lw_dev_eui_u64(dev_eui));
	b[8] = by_joins;
	lw_put_le32(b + 9, measured);
	ns_replicas_tell(ns->replicas, "quarantine", lw_span(b, sizeof(b)));
}

static bool get_quarantine(void *arg, struct lw_dev_eui dev_eui, struct ns_quarantine *out)
{
	struct ns *ns = arg;
	return ns_flows_quarantine(ns->flows, dev_eui, out);
}

static bool release_quarantine(void *arg, struct lw_dev_eui dev_eui)
{
	struct ns *ns = arg;
	uint8_t b[8];
	lw_put_le64(b, lw_dev_eui_u64(dev_eui));
	ns_replicas_tell(ns->replicas, "release", lw_span(b, sizeof(b)));
	/* Another replica that heard it before may have told us: whoever asks again is not told that it was in none. */
	return ns_flows_release(ns->flows, dev_eui) || ns_replicas_any(ns->replicas);
}

static void on_activated(void *arg, struct lw_devaddr addr)
{
	struct ns *ns = arg;
	ns_flows_address_taken(ns->flows, addr);
}

static void on_events(void *arg, const struct ns_stored_event *v, size_t n)
{
	struct ns *ns = arg;
	if (ns->events)
		ns_event_stream_push(ns->events, v, n);
}

static void on_gap(void *arg, bool open)
{
	struct ns *ns = arg;
	if (ns->events)
		ns_event_stream_hold(ns->events, open);
}

static void tell_replicas(void *arg, const char *kind, struct lw_span body)
{
	struct ns *ns = arg;
	ns_replicas_tell(ns->replicas, kind, body);
}

static void on_encoding(void *arg, struct lw_gateway_id gateway, bool json)
{
	struct ns *ns = arg;
	ns_replicas_tell_encoding(ns->replicas, gateway, json);
}

static void on_db_state(void *arg, bool up, const char *detail)
{
	struct ns *ns = arg;
	rt_health_set(ns->health_db, up, detail);
}

static void on_redis_state(void *arg, bool up, const char *detail)
{
	struct ns *ns = arg;
	rt_health_set(ns->health_redis, up, detail);
}

static void on_mqtt_state(void *arg, bool up, const char *detail)
{
	struct ns *ns = arg;
	rt_health_set(ns->health_mqtt, up, detail);
	if (up && !ns->woken && ns->wake) {
		ns->woken = true;
		ns_wake_all(ns->wake, ns_replicas_any(ns->replicas));
	}
}

/* The tables are there: from here frames are taken and calls are served. */
static void on_store_ready(void *arg, int err, const char *detail)
{
	struct ns *ns = arg;
	struct lw_diag diag = {""};
	if (!err) {
		char dir[512];
		snprintf(dir, sizeof(dir), "%s/inbox", ns->conf->state_dir);
		struct ns_gw_mqtt_opts o = {
			.loop = ns->env.loop,
			.log = ns->env.log,
			.metrics = ns->env.metrics,
			.mqtt = {.server = ns->conf->mqtt_server,
				 .client_id = ns->origin,
				 .username = ns->conf->mqtt_username,
				 .password = ns->conf->mqtt_password,
				 .ca_file = ns->conf->mqtt_ca[0] ? ns->conf->mqtt_ca : NULL,
				 .cert_file = ns->conf->mqtt_cert[0] ? ns->conf->mqtt_cert : NULL,
				 .key_file = ns->conf->mqtt_key[0] ? ns->conf->mqtt_key : NULL,
				 .acknowledge_ms = (uint32_t)ns->conf->mqtt_acknowledge_ms,
				 .stalls = rt_counter(
					 ns->env.metrics, "mqtt_stalls_total",
					 "Connections to the broker that were left because it acknowledged nothing")},
			.share = ns->conf->mqtt_share,
			.qos = (int)ns->conf->mqtt_qos,
			.journal_dir = dir,
			.journal_sync = ns->conf->journal_sync,
			.regions = ns->regions,
			.n_regions = ns->n_regions,
			.max_waiting = ns->conf->max_waiting,
			.shed_after_ms = (uint32_t)ns->conf->shed_after_ms,
			.on_message = on_message,
			.on_shed = on_shed,
			.on_state = on_mqtt_state,
			.on_encoding = on_encoding,
			.arg = ns,
		};
		err = ns_gw_mqtt_new(&ns->mqtt, &o, &diag);
		detail = diag.text;
	}
	if (err) {
		RT_LOG_ERROR(ns->env.log, "cannot start", rt_str("detail", detail), rt_err(err));
		rt_daemon_stop(ns->env.run, 1);
		return;
	}
	ns_replicas_set_links(ns->replicas, ns->mqtt, ns->events);
	ns_link_store_open(ns->links);
	ns_api_open(ns->api);
	ns_store_waiting_multicast(ns->store, on_waiting_multicast, ns);
	RT_LOG_INFO(ns->env.log, "serving", rt_u64("regions", ns->n_regions));
}

/* ---- parts, in order ---- */

static int choose_regions(struct ns *ns, struct lw_diag *diag)
{
	const struct conf_strs *enforce = &ns->conf->enforce_duty_cycle;
	int err = ns_regions_make(&ns->conf->own_regions, &ns->conf->regions, &ns->all_regions, diag);
	if (err != 0)
		return err;
	ns->regions = ns->all_regions.v;
	ns->n_regions = ns->all_regions.n;
	ns->enforce = lw_xcalloc(enforce->n + 1, sizeof(*ns->enforce));
	for (size_t i = 0; i < enforce->n; i++) {
		const struct ns_region_config *rc = ns_regions_find(&ns->all_regions, enforce->v[i]);
		if (rc != NULL) /* the configuration was checked */
			ns->enforce[ns->n_enforce++] = rc;
	}
	return 0;
}

static void fill_random(struct lw_rng *rng, void *out, size_t n)
{
	struct ns *ns = LW_CONTAINER_OF(rng, struct ns, rng);
	struct lw_rng system;
	if (n > sizeof(ns->random) || n > ns->n_random) {
		lw_rng_init_system(&system);
		if (n > sizeof(ns->random)) {
			lw_rng_fill(&system, out, n);
			return;
		}
		lw_rng_fill(&system, ns->random, sizeof(ns->random));
		ns->n_random = sizeof(ns->random);
	}
	ns->n_random -= n;
	memcpy(out, ns->random + ns->n_random, n);
	lw_wipe(ns->random + ns->n_random, n);
}

int ns_init_base(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct ns *ns = owner;
	ns->env = *env;
	ns->conf = env->conf;
	ns->rng = (struct lw_rng){.fill = fill_random};
	ns->schema = lw_schema_new();
	snprintf(ns->origin, sizeof(ns->origin), "longwave-ns-%s", ns->conf->replica);
	ns->outcomes = outcome_metrics(env->metrics);
	if (mkdir(ns->conf->state_dir, 0750) && errno != EEXIST) {
		lw_diag_set(diag, "state_dir %s: %s", ns->conf->state_dir, strerror(errno));
		return LW_EIO;
	}
	if (ns_link_set_time_zone(ns->conf->link_time_zone) < 0) {
		lw_diag_set(diag, "link_metrics.time_zone: there is no time zone \"%s\"", ns->conf->link_time_zone);
		return LW_EINVAL;
	}
	return choose_regions(ns, diag);
}

void ns_deinit_base(void *owner)
{
	struct ns *ns = owner;
	lw_schema_free(ns->schema);
	ns_regions_deinit(&ns->all_regions);
	free(ns->enforce);
	free(ns->outcomes);
}

int ns_init_store(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct ns *ns = owner;
	struct sql_options sql = {.dsn = ns->conf->dsn,
				  .writer = ns->origin,
				  .metrics = env->metrics,
				  .on_state = on_db_state,
				  .arg = ns};
	struct redis_options redis = {
		.url = ns->conf->redis_url, .on_state = on_redis_state, .arg = ns, .metrics = env->metrics};
	ns->health_db = rt_health_add(env->run, "database");
	ns->health_mqtt = rt_health_add(env->run, "mqtt");
	ns->health_redis = rt_health_add(env->run, "redis");
	int err = sql_open(&ns->db, env->loop, &sql, diag);
	if (err)
		return err;
	err = redis_open(&ns->redis, env->loop, &redis, diag);
	if (err) {
		sql_free(ns->db);
		return err;
	}
	struct ns_replicas_opts replicas = {.loop = env->loop,
					    .log = env->log,
					    .redis_url = ns->conf->redis_url,
					    .share = ns->conf->mqtt_share,
					    .origin = ns->origin,
					    .lease_ms = (uint32_t)ns->conf->replica_lease_ms};
	ns->replicas = ns_replicas_new(&replicas, diag);
	if (!ns->replicas) {
		redis_free(ns->redis);
		sql_free(ns->db);
		return LW_EINVAL;
	}
	struct ns_store_opts o = {.loop = env->loop,
				  .log = env->log,
				  .db = ns->db,
				  .origin = ns->origin,
				  .max_cached = ns->conf->max_cached_devices,
				  .max_queue = (uint32_t)ns->conf->device_queue_items,
				  .max_multicast_queue = (uint32_t)ns->conf->multicast_queue_items,
				  .rng = &ns->rng,
				  .damaged = rt_counter(env->metrics, "damaged_rows_total",
							"Rows of the database that could not be read; the log "
							"names them."),
				  .on_ready = on_store_ready,
				  .on_events = on_events,
				  .on_gap = on_gap,
				  .tell = tell_replicas,
				  .arg = ns};
	ns->store = ns_store_new(&o);
	ns_replicas_set_store(ns->replicas, ns->store);
	ns->frame_log = ns_frame_log_new(ns->redis, ns->conf->frame_log_device, ns->conf->frame_log_gateway);
	struct ns_link_store_opts links = {.loop = env->loop,
					   .log = env->log,
					   .db = ns->db,
					   .origin = ns->origin,
					   .write_ms = (uint32_t)ns->conf->link_write_ms,
					   .hours = (uint32_t)ns->conf->link_hours,
					   .days = (uint32_t)ns->conf->link_days,
					   .months = (uint32_t)ns->conf->link_months};
	ns->links = ns_link_store_new(&links);
	return 0;
}

/* Every question to the database is answered now, while those who asked are still there. The first part that is taken
 * down calls it. */
static void close_database(struct ns *ns)
{
	if (!ns->db)
		return;
	ns_replicas_stop(ns->replicas);
	ns_store_flush(ns->store);
	sql_free(ns->db);
	ns->db = NULL;
}

void ns_deinit_store(void *owner)
{
	struct ns *ns = owner;
	close_database(ns);
	ns_replicas_free(ns->replicas);
	ns->replicas = NULL;
	ns_frame_log_free(ns->frame_log);
	ns_link_store_free(ns->links);
	ns_store_free(ns->store);
	redis_free(ns->redis);
}

static struct ns_join_client *new_join_client(struct ns *ns)
{
	const struct ns_conf *c = ns->conf;
	const struct ns_conf_join_server *others = c->join_servers.v;
	const struct ns_conf_kek *conf_keks = c->keks.v;
	struct ns_join_server *servers = lw_xcalloc(c->join_servers.n + 1, sizeof(*servers));
	struct ns_kek *keks = lw_xcalloc(c->keks.n + 1, sizeof(*keks));
	size_t n = 0;
	if (c->join_url[0])
		servers[n++] = (struct ns_join_server){"", c->join_url, "", true};
	for (size_t i = 0; i < c->join_servers.n; i++)
		servers[n++] = (struct ns_join_server){others[i].join_eui_prefix, others[i].url,
						       others[i].authorization, false};
	for (size_t i = 0; i < c->keks.n; i++) {
		keks[i].label = conf_keks[i].label;
		lw_key_parse(&keks[i].key, conf_keks[i].kek);
	}
	struct ns_join_client_opts o = {.loop = ns->env.loop,
					.log = ns->env.log,
					.rng = &ns->rng,
					.timeout_ms = (uint32_t)c->join_timeout_ms,
					.servers = servers,
					.n_servers = n,
					.keks = keks,
					.n_keks = c->keks.n};
	struct ns_join_client *client = ns_join_client_new(&o);
	lw_wipe(keks, (c->keks.n + 1) * sizeof(*keks));
	free(keks);
	free(servers);
	return client;
}

int ns_init_flows(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct ns *ns = owner;
	(void)diag;
	ns->join = new_join_client(ns);
	ns->geo = ns->conf->geo_address[0] ? ns_geo_client_new(env->loop, ns->conf->geo_address) : NULL;
	ns_store_fill_port(ns->store, &ns->ports.store);
	ns_store_fill_gateway_port(ns->store, &ns->ports.gateways);
	ns_store_fill_multicast_port(ns->store, &ns->ports.multicast);
	ns_join_client_fill_port(ns->join, &ns->ports.join);
	ns_geo_client_fill_port(ns->geo, &ns->ports.geo);
	ns->ports.radio = (struct ns_radio_port){ns, send_downlink};
	ns->ports.log = (struct ns_log_port){ns, on_frame, on_outcome};
	ns->ports.journal = (struct ns_journal_port){ns, journal_done, journal_retry};
	ns_replicas_fill_port(ns->replicas, &ns->ports.share);
	if (ns->conf->link_metrics)
		ns_link_store_fill_port(ns->links, &ns->ports.link);
	ns->quarantines = rt_counter(env->metrics, "quarantines_total", "Devices put in quarantine because they flood");
	ns->ports.flood = (struct ns_flood_port){ns, on_flood};
	ns_flow_config_defaults(&ns->flow_config);
	lw_netid_parse(&ns->flow_config.netid, ns->conf->net_id);
	ns->flow_config.deduplication_window_ms = (uint32_t)ns->conf->deduplication_ms;
	ns->flow_config.deduplication_adaptive = ns->conf->deduplication_adaptive;
	ns->flow_config.max_devices = ns->conf->max_cached_devices;
	ns->flow_config.downlink_data_delay_ms = (uint32_t)ns->conf->downlink_delay_ms;
	ns->flow_config.tx_ack_timeout_ms = (uint32_t)ns->conf->tx_ack_timeout_ms;
	ns->flow_config.mac_commands_disabled = ns->conf->mac_commands_disabled;
	ns->flow_config.allow_unknown_gateways = ns->conf->allow_unknown_gateways;
	ns->flow_config.multicast_class_c_margin_ms = (uint32_t)ns->conf->multicast_class_c_margin_ms;
	ns->flow_config.multicast_class_b_margin_ms = (uint32_t)ns->conf->multicast_class_b_margin_ms;
	ns->flow_config.regions = ns->regions;
	ns->flow_config.n_regions = ns->n_regions;
	ns->flow_config.enforce = ns->enforce;
	ns->flow_config.n_enforce = ns->n_enforce;
	ns->flow_config.flood = (struct ns_flood_limits){
		.airtime_percent = (uint32_t)ns->conf->flood_percent,
		.joins = (uint32_t)ns->conf->flood_joins,
		.minutes = (uint32_t)ns->conf->flood_minutes,
		.duration_s = (uint32_t)(ns->conf->flood_duration_ms / 1000),
	};
	ns->flow_config.schema = ns->schema;
	ns->flow_config.on_room = on_room;
	ns->flow_config.on_room_arg = ns;
	ns->flows = ns_flows_new(env->loop, &ns->ports, &ns->flow_config, &ns->rng);
	ns_flows_register_metrics(ns->flows, env->metrics);
	ns_replicas_set_flows(ns->replicas, ns->flows);
	ns->wake = ns_wake_new(env->loop, env->log, ns->store, ns->flows);
	ns_replicas_set_wake(ns->replicas, ns->wake);
	return 0;
}

void ns_deinit_flows(void *owner)
{
	struct ns *ns = owner;
	close_database(ns);
	ns_replicas_set_flows(ns->replicas, NULL);
	ns_replicas_set_links(ns->replicas, NULL, NULL);
	ns_replicas_set_wake(ns->replicas, NULL);
	ns_wake_free(ns->wake);
	ns->wake = NULL;
	/* They answer what is under way, for which the flows must be there. */
	ns_geo_client_free(ns->geo);
	ns_join_client_free(ns->join);
	ns_flows_free(ns->flows);
	ns_gw_mqtt_free(ns->mqtt);
	ns->mqtt = NULL;
}

int ns_init_api(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct ns *ns = owner;
	ns->events = ns_event_stream_new(env->loop, ns->store, env->log, env->metrics);
	struct ns_api_opts o = {.loop = env->loop,
				.log = env->log,
				.rng = &ns->rng,
				.schema = ns->schema,
				.bind = ns->conf->grpc_bind,
				.store = ns->store,
				.events = ns->events,
				.frame_log = ns->frame_log,
				.links = ns->links,
				.regions = ns->regions,
				.n_regions = ns->n_regions,
				.devaddr_prefix = lw_netid_prefix(ns->flow_config.netid),
				.on_enqueued = on_enqueued,
				.on_refused = on_refused,
				.on_multicast = on_multicast,
				.on_proprietary = on_proprietary,
				.on_activated = on_activated,
				.quarantine = get_quarantine,
				.release = release_quarantine,
				.arg = ns};
	int err = ns_api_new(&ns->api, &o, diag);
	if (err) {
		ns_event_stream_free(ns->events);
		ns->events = NULL;
	}
	return err;
}

void ns_deinit_api(void *owner)
{
	struct ns *ns = owner;
	close_database(ns);
	ns_event_stream_free(ns->events);
	ns->events = NULL;
	ns_api_free(ns->api);
}

/* ---- SIGTERM: take nothing in, finish what is inside ---- */

/* With replicas: our share of the receptions goes to them, what is on its way to us still comes, and so do answers of
 * gateways. Alone: the broker keeps everything until we are back. */
static bool is_drained(struct ns *ns)
{
	if (ns_flows_in_flight(ns->flows) > 0)
		return false;
	if (!ns->mqtt || !ns_replicas_any(ns->replicas))
		return true;
	uint64_t received = ns_gw_mqtt_received(ns->mqtt);
	ns->drain_quiet = received == ns->drain_received ? ns->drain_quiet + 1 : 0;
	ns->drain_received = received;
	ns->drain_polls++;
	return ns->drain_quiet >= DRAIN_QUIET &&
	       (ns_flows_unanswered(ns->flows) == 0 || ns->drain_polls > DRAIN_ANSWERS);
}

static void on_drain_timer(struct rt_timer *t, void *arg)
{
	struct ns *ns = arg;
	(void)t;
	if (ns->drain_polls == UINT_MAX) { /* the word that we leave is out */
		ns_link_store_write(ns->links);
		if (!ns_link_store_is_idle(ns->links) && ns->drain_writes++ < DRAIN_WRITES)
			return;
		rt_timer_stop(&ns->drain_timer);
		rt_daemon_drained(ns->draining);
	} else if (is_drained(ns)) {
		if (ns->mqtt)
			ns_gw_mqtt_pause(ns->mqtt);
		ns_event_stream_drain(ns->events);
		ns_api_drain(ns->api);
		ns_replicas_leave(ns->replicas);
		ns->drain_polls = UINT_MAX;
	}
}

void ns_drain(void *owner, struct rt_daemon_run *run)
{
	struct ns *ns = owner;
	ns->draining = run;
	ns_replicas_stop(ns->replicas);
	ns_wake_stop(ns->wake);
	if (ns->mqtt && ns_replicas_any(ns->replicas))
		ns_gw_mqtt_leave(ns->mqtt);
	else if (ns->mqtt)
		ns_gw_mqtt_pause(ns->mqtt);
	rt_timer_init(&ns->drain_timer, ns->env.loop, "drain", on_drain_timer, ns);
	rt_timer_start_every(&ns->drain_timer, DRAIN_POLL_MS);
}
