#include "network-server/config.h"

#include <string.h>

#define OFF(m) offsetof(struct ns_conf, m)
#define STR(key_, member_, def_, sentence_)                                                                            \
	{                                                                                                              \
		.key = (key_), .type = CONF_STR, .offset = OFF(member_), .def = (def_), .sentence = (sentence_)        \
	}
#define SECRET(key_, member_, def_, sentence_)                                                                         \
	{                                                                                                              \
		.key = (key_), .type = CONF_STR, .offset = OFF(member_), .def = (def_), .flags = CONF_SECRET,          \
		.sentence = (sentence_)                                                                                \
	}

static const struct conf_item join_items[] = {
	{.key = "join_eui_prefix",
	 .type = CONF_STR,
	 .offset = offsetof(struct ns_conf_join_server, join_eui_prefix),
	 .def = "",
	 .flags = CONF_REQUIRED,
	 .sentence = "Leading hex digits of the JoinEUIs that this server answers for."},
	{.key = "url",
	 .type = CONF_STR,
	 .offset = offsetof(struct ns_conf_join_server, url),
	 .def = "",
	 .flags = CONF_REQUIRED,
	 .sentence = "Where JoinReq is posted."},
	{.key = "authorization",
	 .type = CONF_STR,
	 .offset = offsetof(struct ns_conf_join_server, authorization),
	 .def = "",
	 .flags = CONF_SECRET,
	 .sentence = "Content of the Authorization header; empty: none."},
};
static const struct conf_table join_table = CONF_TABLE(join_items, struct ns_conf_join_server, NULL);

static const struct conf_item kek_items[] = {
	{.key = "label",
	 .type = CONF_STR,
	 .offset = offsetof(struct ns_conf_kek, label),
	 .def = "",
	 .flags = CONF_REQUIRED,
	 .sentence = "KEKLabel as join servers write it."},
	{.key = "kek",
	 .type = CONF_STR,
	 .offset = offsetof(struct ns_conf_kek, kek),
	 .def = "",
	 .flags = CONF_REQUIRED | CONF_SECRET,
	 .sentence = "Key encryption key, 32 hex digits."},
};
static const struct conf_table kek_table = CONF_TABLE(kek_items, struct ns_conf_kek, NULL);

static const struct conf_item items[] = {
	RT_DAEMON_CONF(struct ns_conf, common, "127.0.0.1:9102"),
	STR("state_dir", state_dir, "network-server", "Folder of the inbox journal; each replica has its own."),
	STR("replica", replica, "ns1", "Stable name of this replica: its MQTT client id and the origin of its events."),
	{.key = "replica_lease",
	 .type = CONF_DURATION,
	 .offset = OFF(replica_lease_ms),
	 .def = "5s",
	 .min = 500,
	 .max = 600000,
	 .sentence = "After so long without a sign of life another replica looks after what this one left."},
	{.key = "database.dsn",
	 .type = CONF_STR,
	 .offset = OFF(dsn),
	 .def = "sqlite://longwave-ns.db",
	 .flags = CONF_REQUIRED | CONF_SECRET,
	 .sentence = "sqlite:///path or postgres://user:password@host/database?schema=ns."},
	SECRET("redis.url", redis_url, "redis://127.0.0.1:6379",
	       "Redis for the frame log, and for what replicas tell each other."),
	STR("grpc.bind", grpc_bind, "127.0.0.1:8000", "Address and port of the gRPC service."),
	STR("network.net_id", net_id, "000000", "NetID, six hex digits: device addresses are made from it."),
	{.key = "network.deduplication_window",
	 .type = CONF_DURATION,
	 .offset = OFF(deduplication_ms),
	 .def = "200ms",
	 .min = 1,
	 .max = 3000,
	 .sentence = "How long copies of one uplink from several gateways are collected."},
	{.key = "network.deduplication_adaptive",
	 .type = CONF_BOOL,
	 .offset = OFF(deduplication_adaptive),
	 .def = "true",
	 .sentence = "Close the window as soon as all gateways have reported that heard each of the device's last five "
		     "uplinks."},
	{.key = "network.downlink_delay",
	 .type = CONF_DURATION,
	 .offset = OFF(downlink_delay_ms),
	 .def = "100ms",
	 .max = 2000,
	 .sentence = "How long an application may take to answer an uplink that is to be answered anyway, so that both "
		     "go in one "
		     "frame."},
	{.key = "network.tx_ack_timeout",
	 .type = CONF_DURATION,
	 .offset = OFF(tx_ack_timeout_ms),
	 .def = "30s",
	 .min = 1000,
	 .max = 600000,
	 .sentence = "After this a gateway that did not answer a downlink counts as silent."},
	{.key = "network.multicast_class_c_margin",
	 .type = CONF_DURATION,
	 .offset = OFF(multicast_class_c_margin_ms),
	 .def = "5s",
	 .min = 500,
	 .max = 60000,
	 .sentence = "Time between two transmissions to a class C multicast group, and how long ahead one by GPS time "
		     "is sent to the gateways."},
	{.key = "network.multicast_class_b_margin",
	 .type = CONF_DURATION,
	 .offset = OFF(multicast_class_b_margin_ms),
	 .def = "5s",
	 .min = 1500,
	 .max = 60000,
	 .sentence = "How long before a multicast group's ping slot the gateways get its frame."},
	{.key = "network.allow_unknown_gateways",
	 .type = CONF_BOOL,
	 .offset = OFF(allow_unknown_gateways),
	 .def = "false",
	 .sentence = "Take frames of gateways that are not registered."},
	{.key = "network.mac_commands_disabled",
	 .type = CONF_BOOL,
	 .offset = OFF(mac_commands_disabled),
	 .def = "false",
	 .sentence = "Neither answer nor send MAC commands."},
	{.key = "network.enabled_regions",
	 .type = CONF_STR_LIST,
	 .offset = OFF(regions),
	 .max = 128,
	 .sentence = "Region configurations that are served (eu868, us915_0 …); empty: all."},
	{.key = "network.regions",
	 .type = CONF_LIST,
	 .offset = OFF(own_regions),
	 .sub = &ns_conf_region_table,
	 .max = 128,
	 .sentence = "Changes of the ready-made region configurations, and new ones that start from one."},
	{.key = "network.enforce_duty_cycle",
	 .type = CONF_STR_LIST,
	 .offset = OFF(enforce_duty_cycle),
	 .max = 128,
	 .sentence = "Region configurations in which a downlink waits rather than break a gateway's duty cycle or "
		     "dwell time. "
		     "Elsewhere both are accounted and avoided, and the gateway decides."},
	STR("mqtt.server", mqtt_server, "tcp://127.0.0.1:1883", "Broker of the gateways."),
	STR("mqtt.username", mqtt_username, "", "Broker login."),
	SECRET("mqtt.password", mqtt_password, "", "Broker password."),
	STR("mqtt.ca", mqtt_ca, "", "File of trusted certificates."),
	STR("mqtt.cert", mqtt_cert, "", "Client certificate file."),
	STR("mqtt.key", mqtt_key, "", "Client key file."),
	STR("mqtt.share", mqtt_share, "longwave", "Subscription group that all replicas share."),
	{.key = "mqtt.qos",
	 .type = CONF_INT,
	 .offset = OFF(mqtt_qos),
	 .def = "1",
	 .max = 1,
	 .sentence = "Quality of service towards the gateways; 0 may lose frames."},
	STR("join_server.url", join_url, "http://127.0.0.1:8003",
	    "Join server (Backend Interfaces) of all JoinEUIs that no other one answers for; of all its replicas, "
	    "separated by commas."),
	{.key = "join_server.timeout",
	 .type = CONF_DURATION,
	 .offset = OFF(join_timeout_ms),
	 .def = "3s",
	 .min = 100,
	 .max = 5000,
	 .sentence = "How long an answer may take; the join-accept goes out 5 s after the request."},
	{.key = "join_server.others",
	 .type = CONF_LIST,
	 .offset = OFF(join_servers),
	 .sub = &join_table,
	 .max = 256,
	 .sentence = "Join servers of others, by JoinEUI; the longest prefix counts."},
	{.key = "join_server.keks",
	 .type = CONF_LIST,
	 .offset = OFF(keks),
	 .sub = &kek_table,
	 .max = 256,
	 .sentence = "Keys that unwrap the session keys of other join servers."},
	STR("geo.address", geo_address, "127.0.0.1:8005", "gRPC address of the geo-server; empty: no positions."),
	{.key = "frame_log.per_device",
	 .type = CONF_UINT,
	 .offset = OFF(frame_log_device),
	 .def = "100",
	 .max = 100000,
	 .sentence = "Frames kept in Redis for each device, about; 0: no frame log."},
	{.key = "frame_log.per_gateway",
	 .type = CONF_UINT,
	 .offset = OFF(frame_log_gateway),
	 .def = "500",
	 .max = 100000,
	 .sentence = "Frames kept in Redis for each gateway, about."},
	{.key = "quarantine.airtime_percent",
	 .type = CONF_UINT,
	 .offset = OFF(flood_percent),
	 .def = "25",
	 .max = 100,
	 .sentence = "A device whose uplinks fill more of the time than this is put in quarantine; 0: none is."},
	{.key = "quarantine.joins",
	 .type = CONF_UINT,
	 .offset = OFF(flood_joins),
	 .def = "30",
	 .max = 60000,
	 .sentence =
		 "A device that asks to join more often than this in a minute: one request in 30 s passes; 0: all do."},
	{.key = "quarantine.after",
	 .type = CONF_UINT,
	 .offset = OFF(flood_minutes),
	 .def = "3",
	 .min = 1,
	 .max = 60,
	 .sentence = "So many minutes in a row above a limit are a flood; what comes at once after an outage is none."},
	{.key = "quarantine.duration",
	 .type = CONF_DURATION,
	 .offset = OFF(flood_duration_ms),
	 .def = "10m",
	 .min = 1000,
	 .max = 86400000,
	 .sentence = "How long frames of such a device are dropped; then it begins anew."},
	{.key = "link_metrics.enabled",
	 .type = CONF_BOOL,
	 .offset = OFF(link_metrics),
	 .def = "true",
	 .sentence = "Count receptions, signal, rates, losses and air time of every device and gateway."},
	STR("link_metrics.time_zone", link_time_zone, "UTC",
	    "Where a day begins at midnight (Europe/Berlin); empty: what the system says."),
	{.key = "link_metrics.write_interval",
	 .type = CONF_DURATION,
	 .offset = OFF(link_write_ms),
	 .def = "1m",
	 .min = 100,
	 .max = 3600000,
	 .sentence = "How often counts are written; a crash loses what was counted since."},
	{.key = "link_metrics.hours",
	 .type = CONF_UINT,
	 .offset = OFF(link_hours),
	 .def = "48",
	 .min = 24,
	 .max = 8784,
	 .sentence = "So many hours are kept one by one; older ones become days."},
	{.key = "link_metrics.days",
	 .type = CONF_UINT,
	 .offset = OFF(link_days),
	 .def = "62",
	 .min = 31,
	 .max = 3660,
	 .sentence = "So many days are kept one by one; older ones become months."},
	{.key = "link_metrics.months",
	 .type = CONF_UINT,
	 .offset = OFF(link_months),
	 .def = "24",
	 .min = 1,
	 .max = 240,
	 .sentence = "After so many months nothing is kept."},
	{.key = "journal.sync",
	 .type = CONF_BOOL,
	 .offset = OFF(journal_sync),
	 .def = "true",
	 .sentence = "Wait for the disk before the broker hears that a frame was received: survives a loss of power."},
	{.key = "overload.shed_after",
	 .type = CONF_DURATION,
	 .offset = OFF(shed_after_ms),
	 .def = "2s",
	 .max = 3600000,
	 .sentence =
		 "When more comes in than can be carried, uplinks that waited longer are dropped, oldest first; never "
		 "because of an outage. 0 drops none: what has no room stays at the broker."},
	{.key = "overload.max_waiting",
	 .type = CONF_UINT,
	 .offset = OFF(max_waiting),
	 .def = "100000",
	 .min = 100,
	 .max = 100000000,
	 .sentence =
		 "Uplinks that may wait in memory (about 300 bytes each); past it the oldest are dropped, or after an "
		 "outage the broker keeps the rest."},
	{.key = "cache.devices",
	 .type = CONF_UINT,
	 .offset = OFF(max_cached_devices),
	 .def = "300000",
	 .min = 1000,
	 .max = 100000000,
	 .sentence = "Devices kept in memory; the others are read when they send."},
};

static int check(const void *conf, struct lw_diag *diag)
{
	const struct ns_conf *c = conf;
	if (strlen(c->net_id) != 6 || strspn(c->net_id, "0123456789abcdefABCDEF") != 6) {
		lw_diag_set(diag, "network.net_id is not six hex digits");
		return LW_EINVAL;
	}
	if (!c->replica[0] || strlen(c->replica) > 40) {
		lw_diag_set(diag, "replica wants 1 to 40 characters");
		return LW_EINVAL;
	}
	struct ns_regions regions;
	int err = ns_regions_make(&c->own_regions, &c->regions, &regions, diag);
	for (size_t i = 0; err == 0 && i < c->enforce_duty_cycle.n; i++) {
		if (ns_regions_find(&regions, c->enforce_duty_cycle.v[i]) != NULL)
			continue;
		lw_diag_set(diag, "network.enforce_duty_cycle: there is no region configuration \"%s\"",
			    c->enforce_duty_cycle.v[i]);
		err = LW_EINVAL;
	}
	ns_regions_deinit(&regions);
	return err;
}

const struct conf_table ns_conf_table = CONF_TABLE(items, struct ns_conf, check);
