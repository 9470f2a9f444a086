#include "gateway-bridge/config.h"

#include <stddef.h>
#include <string.h>

#define OFF(member) offsetof(struct gb_conf, member)
#define PREFIX_MAX 200

static const char *const marshalers[] = {"protobuf", "json", NULL};
static const char *const mqtt_versions[] = {"3.1.1", "5", NULL};
static const char *const shares[] = {"local", "always", "never", NULL};

static const struct conf_item listener_items[] = {
	{.key = "name",
	 .type = CONF_STR,
	 .offset = offsetof(struct gb_listener_conf, name),
	 .def = "",
	 .sentence = "Name in logs; empty takes the topic prefix."},
	{.key = "bind",
	 .type = CONF_STR,
	 .offset = offsetof(struct gb_listener_conf, bind),
	 .def = "0.0.0.0:1700",
	 .flags = CONF_REQUIRED,
	 .sentence = "Address and UDP port that packet-forwarders send to."},
	{.key = "topic_prefix",
	 .type = CONF_STR,
	 .offset = offsetof(struct gb_listener_conf, topic_prefix),
	 .def = "eu868",
	 .sentence = "What its MQTT topics begin with: the identifier of the region configuration; may be empty."},
};
static const struct conf_table listener_table = CONF_TABLE(listener_items, struct gb_listener_conf, NULL);

static const struct conf_item items[] = {
	RT_DAEMON_CONF(struct gb_conf, daemon, "127.0.0.1:9101"),
	{.key = "listeners",
	 .type = CONF_LIST,
	 .offset = OFF(listeners),
	 .max = 64,
	 .sub = &listener_table,
	 .def_list = "[{bind: \"0.0.0.0:1700\", topic_prefix: eu868}]",
	 .sentence = "UDP ports for packet-forwarders, one for each region that this process serves."},
	{.key = "state_dir",
	 .type = CONF_STR,
	 .offset = OFF(state_dir),
	 .def = "/var/lib/longwave/gateway-bridge",
	 .flags = CONF_REQUIRED,
	 .sentence = "Folder for the spool and the list of announced gateways; made when it is not there."},
	{.key = "marshaler",
	 .type = CONF_ENUM,
	 .offset = OFF(marshaler),
	 .def = "protobuf",
	 .names = marshalers,
	 .sentence = "Encoding of MQTT payloads in both directions."},

	{.key = "mqtt.server",
	 .type = CONF_STR,
	 .offset = OFF(mqtt.server),
	 .def = "tcp://127.0.0.1:1883",
	 .flags = CONF_REQUIRED,
	 .sentence = "Broker, as tcp://host:port or ssl://host:port."},
	{.key = "mqtt.client_id",
	 .type = CONF_STR,
	 .offset = OFF(mqtt.client_id),
	 .def = "",
	 .sentence =
		 "Client id; empty takes a random one. A gateway id makes the broker say OFFLINE for that gateway when "
		 "the connection is lost."},
	{.key = "mqtt.username",
	 .type = CONF_STR,
	 .offset = OFF(mqtt.username),
	 .def = "",
	 .sentence = "User name for the broker; empty for none."},
	{.key = "mqtt.password",
	 .type = CONF_STR,
	 .offset = OFF(mqtt.password),
	 .def = "",
	 .flags = CONF_SECRET,
	 .sentence = "Password for the broker."},
	{.key = "mqtt.qos",
	 .type = CONF_UINT,
	 .offset = OFF(mqtt.qos),
	 .def = "1",
	 .max = 1,
	 .sentence =
		 "Quality of service of everything published and subscribed. 0 may lose events with the connection."},
	{.key = "mqtt.clean_session",
	 .type = CONF_BOOL,
	 .offset = OFF(mqtt.clean_session),
	 .def = "true",
	 .sentence =
		 "Start without what the broker kept. Downlinks are worthless after a second, so this is right here."},
	{.key = "mqtt.state_retained",
	 .type = CONF_BOOL,
	 .offset = OFF(mqtt.state_retained),
	 .def = "true",
	 .sentence = "Publish connection states as retained messages."},
	{.key = "mqtt.keep_alive",
	 .type = CONF_DURATION,
	 .offset = OFF(mqtt.keepalive_ms),
	 .def = "30s",
	 .min = 5000,
	 .max = 600000,
	 .sentence = "How soon a silent connection is noticed."},
	{.key = "mqtt.acknowledge_timeout",
	 .type = CONF_DURATION,
	 .offset = OFF(mqtt.acknowledge_ms),
	 .def = "60s",
	 .min = 1000,
	 .max = 3600000,
	 .sentence = "A broker that answers pings and acknowledges nothing for so long is left, and asked anew."},
	{.key = "mqtt.version",
	 .type = CONF_ENUM,
	 .offset = OFF(mqtt.version),
	 .def = "5",
	 .names = mqtt_versions,
	 .sentence = "Protocol version. Only with 5 the broker says that nobody listens, and events wait instead of "
		     "getting lost."},
	{.key = "mqtt.ca_file",
	 .type = CONF_STR,
	 .offset = OFF(mqtt.ca_file),
	 .def = "",
	 .sentence = "Certificates that the broker's is checked against with ssl://; empty takes the system's."},
	{.key = "mqtt.cert_file",
	 .type = CONF_STR,
	 .offset = OFF(mqtt.cert_file),
	 .def = "",
	 .sentence = "Client certificate; empty for none."},
	{.key = "mqtt.key_file",
	 .type = CONF_STR,
	 .offset = OFF(mqtt.key_file),
	 .def = "",
	 .sentence = "Key of the client certificate."},

	{.key = "udp.receive_buffer",
	 .type = CONF_SIZE,
	 .offset = OFF(udp.receive_buffer),
	 .def = "8MiB",
	 .min = 65536,
	 .max = 1073741824,
	 .sentence = "Receive buffer of each socket; the system's limit (net.core.rmem_max) may cut it."},
	{.key = "udp.share_packets",
	 .type = CONF_ENUM,
	 .offset = OFF(udp.share_packets),
	 .def = "local",
	 .names = shares,
	 .sentence = "Answers to one address that wait together leave in one packet, cut by the system: only on this "
		     "machine "
		     "(local), or always where the network interface cuts pieces of four bytes well."},
	{.key = "udp.gateway_timeout",
	 .type = CONF_DURATION,
	 .offset = OFF(udp.gateway_timeout_ms),
	 .def = "60s",
	 .min = 100,
	 .max = 86400000,
	 .sentence = "A gateway that sends no PULL_DATA for so long is OFFLINE."},
	{.key = "udp.tx_ack_timeout",
	 .type = CONF_DURATION,
	 .offset = OFF(udp.tx_ack_timeout_ms),
	 .def = "15s",
	 .min = 100,
	 .max = 600000,
	 .sentence = "How long a TX_ACK is waited for. Silence is not reported: the frame may have been sent."},
	{.key = "udp.max_gateways",
	 .type = CONF_UINT,
	 .offset = OFF(udp.max_gateways),
	 .def = "100000",
	 .min = 1,
	 .max = 10000000,
	 .sentence = "Most gateways of one listener; more are refused."},
	{.key = "udp.skip_crc_check",
	 .type = CONF_BOOL,
	 .offset = OFF(udp.skip_crc_check),
	 .def = "false",
	 .sentence = "Also publish frames whose CRC is wrong or missing."},
	{.key = "udp.fake_rx_time",
	 .type = CONF_BOOL,
	 .offset = OFF(udp.fake_rx_time),
	 .def = "false",
	 .sentence = "Give frames without a time of reception the time of their arrival here."},

	{.key = "spool.max_size",
	 .type = CONF_SIZE,
	 .offset = OFF(spool.max_size),
	 .def = "256MiB",
	 .min = 1048576,
	 .max = 1e13,
	 .sentence = "Disk space for events while the broker is away; the oldest go first."},
	{.key = "spool.max_age",
	 .type = CONF_DURATION,
	 .offset = OFF(spool.max_age_ms),
	 .def = "7d",
	 .max = 31536000000.0,
	 .sentence = "Events older than this are not sent any more; 0 keeps them."},

	{.key = "republish.max_age",
	 .type = CONF_DURATION,
	 .offset = OFF(republish.max_age_ms),
	 .def = "60s",
	 .max = 86400000,
	 .sentence =
		 "Events are kept in memory so long after the broker acknowledged them, and published again when it "
		 "comes back without them: not less than its autosave interval. 0 keeps none."},
	{.key = "republish.max_size",
	 .type = CONF_SIZE,
	 .offset = OFF(republish.max_size),
	 .def = "32MiB",
	 .min = 1048576,
	 .max = 1e11,
	 .sentence = "Most memory for them; the oldest go first."},
	{.key = "republish.topic",
	 .type = CONF_STR,
	 .offset = OFF(republish.topic),
	 .def = "longwave/gateway-bridge",
	 .flags = CONF_REQUIRED,
	 .sentence =
		 "Under this topic, followed by /ID/marker, the bridge keeps a retained message from which it learns "
		 "what a broker that comes back still knows. Needs the right to publish and subscribe there."},
	{.key = "overload.shed_after",
	 .type = CONF_DURATION,
	 .offset = OFF(overload.shed_after_ms),
	 .def = "2s",
	 .max = 3600000,
	 .sentence = "While the broker is there and does not keep up, uplinks that waited longer are dropped, oldest "
		     "first; never because of an outage. 0 drops none: they go to the spool."},
	{.key = "overload.max_waiting",
	 .type = CONF_UINT,
	 .offset = OFF(overload.max_waiting),
	 .def = "50000",
	 .min = 100,
	 .max = 100000000,
	 .sentence = "Uplinks that may wait in memory for it; past it the oldest are dropped, or while nothing moves "
		     "all go to the spool."},

	{.key = "filters.net_ids",
	 .type = CONF_STR_LIST,
	 .offset = OFF(filters.net_ids),
	 .def = "",
	 .sentence = "Pass only data frames of these networks (six hex digits each); empty passes all."},
	{.key = "filters.join_euis",
	 .type = CONF_STR_LIST,
	 .offset = OFF(filters.join_euis),
	 .def = "",
	 .sentence = "Pass only join-requests for these JoinEUIs, as FROM-TO; empty passes all."},
	{.key = "metadata",
	 .type = CONF_STR_LIST,
	 .offset = OFF(metadata),
	 .def = "",
	 .max = 64,
	 .sentence = "Entries \"key=value\" for the metadata of every statistics report."},
};

static bool prefix_ok(const char *p)
{
	size_t n = strlen(p);
	return n <= PREFIX_MAX && strcspn(p, "+# \t\r\n") == n && (n == 0 || p[0] != '$');
}

static int check_listeners(const struct gb_conf *c, struct lw_diag *diag)
{
	const struct gb_listener_conf *l = c->listeners.v;
	if (c->listeners.n == 0) {
		lw_diag_set(diag, "listeners: at least one is needed");
		return LW_EINVAL;
	}
	for (size_t i = 0; i < c->listeners.n; i++) {
		if (!prefix_ok(l[i].topic_prefix)) {
			lw_diag_set(diag, "listeners.%zu.topic_prefix: \"%s\" cannot begin a topic", i,
				    l[i].topic_prefix);
			return LW_EINVAL;
		}
		for (size_t k = 0; k < i; k++) {
			if (strcmp(l[i].topic_prefix, l[k].topic_prefix) != 0)
				continue;
			lw_diag_set(diag, "listeners.%zu.topic_prefix: \"%s\" is taken by listeners.%zu", i,
				    l[i].topic_prefix, k);
			return LW_EINVAL;
		}
	}
	return 0;
}

static int check(const void *conf, struct lw_diag *diag)
{
	const struct gb_conf *c = conf;
	for (size_t i = 0; i < c->metadata.n; i++) {
		if (strchr(c->metadata.v[i], '=') > c->metadata.v[i])
			continue;
		lw_diag_set(diag, "metadata: \"%s\" is not key=value", c->metadata.v[i]);
		return LW_EINVAL;
	}
	if (!prefix_ok(c->republish.topic)) {
		lw_diag_set(diag, "republish.topic: \"%s\" cannot begin a topic", c->republish.topic);
		return LW_EINVAL;
	}
	return check_listeners(c, diag);
}

const struct conf_table gb_conf_table = CONF_TABLE(items, struct gb_conf, check);
