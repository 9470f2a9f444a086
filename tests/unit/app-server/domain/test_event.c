/* Integration messages, member by member, against the examples of contracts/integration.md §5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "app-server/domain/event.h"
#include "app-server/domain/payload.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/time.h"
#include "common/lorawan/cipher.h"
#include "common/pb/pbjson.h"

#define NOW_NS (INT64_C(1714564800) * LW_NS_PER_S + 251307000)
#define DEDUP "6c7b4ce5-33a1-4e0c-9e7c-3b0a6c1d2e4f"
#define INFO_WITH(tags)                                                                                                \
	"\"deviceInfo\":{\"tenantId\":\"52f14cd4-c6f1-4fbd-8f87-4025e1d49242\",\"tenantName\":\"Acme\","               \
	"\"applicationId\":\"ca739e26-7b67-4f14-b69e-d568c22a5a75\",\"applicationName\":\"farm\","                     \
	"\"deviceProfileId\":\"605d08d4-65f5-4d2c-8a5a-3d2457662f79\",\"deviceProfileName\":\"soil-probe\","           \
	"\"deviceName\":\"probe-7\",\"devEui\":\"70b3d57ed0001a2b\",\"deviceClassEnabled\":\"CLASS_A\",\"tags\":" tags \
	"}"
#define INFO INFO_WITH("{\"site\":\"north\"}")
#define HEAD "{\"deduplicationId\":\"" DEDUP "\",\"time\":\"2024-05-01T12:00:00.251307+00:00\"," INFO
#define RADIO                                                                                                          \
	"\"rxInfo\":[{\"gatewayId\":\"0016c001f1500812\",\"uplinkId\":2451872135,\"gwTime\":\"2024-05-01T12:00:00."    \
	"251307+"                                                                                                      \
	"00:00\",\"nsTime\":\"2024-05-01T12:00:00.301112500+00:00\",\"rssi\":-97,\"snr\":4.5,\"channel\":1,"           \
	"\"rfChain\":1,"                                                                                               \
	"\"location\":{\"latitude\":52.3731,\"longitude\":4.8922,\"altitude\":12.0},\"context\":\"Gis8TQ==\","         \
	"\"metadata\":"                                                                                                \
	"{\"region_common_name\":\"EU868\",\"region_config_id\":\"eu868\"},\"crcStatus\":\"CRC_OK\"}],\"txInfo\":{"    \
	"\"frequency\":868300000,\"modulation\":{\"lora\":{\"bandwidth\":125000,\"spreadingFactor\":9,\"codeRate\":"   \
	"\"CR_4_5\"}}},\"regionConfigId\":\"eu868\"}"

struct fixture {
	struct lw_schema *schema;
	struct lw_keycache *keys;
	struct lw_arena arena;
	struct lw_buf json;
	struct as_event_device dev;
	Integration__DeviceInfo__TagsEntry site;
	Integration__DeviceInfo__TagsEntry *tags[1];
	Longwave__Ns__V1__Event e;
	Google__Protobuf__Timestamp time, gw_time, ns_time;
	Longwave__Ns__V1__UplinkEvent up;
	Gw__UplinkRxInfo rx;
	Gw__UplinkRxInfo *rxs[1];
	Gw__UplinkRxInfo__MetadataEntry md[2];
	Gw__UplinkRxInfo__MetadataEntry *mds[2];
	Common__Location location;
	uint8_t context[4];
	Gw__UplinkTxInfo tx;
	Gw__Modulation modulation;
	Gw__LoraModulationInfo lora;
};

static Google__Protobuf__Timestamp at(int64_t ns)
{
	Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	t.seconds = lw_split_ns(ns).sec;
	t.nanos = lw_split_ns(ns).nanos;
	return t;
}

static void make_radio(struct fixture *f)
{
	static const uint8_t context[] = {0x1a, 0x2b, 0x3c, 0x4d};
	gw__uplink_rx_info__init(&f->rx);
	f->rx.gateway_id = "0016c001f1500812";
	f->rx.uplink_id = 2451872135u;
	f->gw_time = at(NOW_NS);
	f->ns_time = at(NOW_NS - 251307000 + 301112500);
	f->rx.gw_time = &f->gw_time;
	f->rx.ns_time = &f->ns_time;
	f->rx.rssi = -97;
	f->rx.snr = 4.5F;
	f->rx.channel = 1;
	f->rx.rf_chain = 1;
	common__location__init(&f->location);
	f->location.latitude = 52.3731;
	f->location.longitude = 4.8922;
	f->location.altitude = 12;
	f->rx.location = &f->location;
	memcpy(f->context, context, sizeof(context));
	f->rx.context = (ProtobufCBinaryData){.len = 4, .data = f->context};
	for (size_t i = 0; i < 2; i++) {
		gw__uplink_rx_info__metadata_entry__init(&f->md[i]);
		f->md[i].key = i ? "region_config_id" : "region_common_name";
		f->md[i].value = i ? "eu868" : "EU868";
		f->mds[i] = &f->md[i];
	}
	f->rx.metadata = f->mds;
	f->rx.n_metadata = 2;
	f->rx.crc_status = GW__CRCSTATUS__CRC_OK;
	f->rxs[0] = &f->rx;
	gw__uplink_tx_info__init(&f->tx);
	gw__modulation__init(&f->modulation);
	gw__lora_modulation_info__init(&f->lora);
	f->tx.frequency = 868300000;
	f->tx.modulation = &f->modulation;
	f->modulation.parameters_case = GW__MODULATION__PARAMETERS_LORA;
	f->modulation.lora = &f->lora;
	f->lora.bandwidth = 125000;
	f->lora.spreading_factor = 9;
	f->lora.code_rate = GW__CODE_RATE__CR_4_5;
	longwave__ns__v1__uplink_event__init(&f->up);
	f->up.rx_info = f->rxs;
	f->up.n_rx_info = 1;
	f->up.tx_info = &f->tx;
}

static int setup(void **state)
{
	static struct fixture f;
	memset(&f, 0, sizeof(f));
	f.schema = lw_schema_new();
	f.keys = lw_keycache_new(16);
	lw_arena_init(&f.arena, NULL, 0, 1 << 20);
	lw_buf_init(&f.json, 1 << 20);
	integration__device_info__tags_entry__init(&f.site);
	f.site.key = "site";
	f.site.value = "north";
	f.tags[0] = &f.site;
	f.dev = (struct as_event_device){.tenant_id = "52f14cd4-c6f1-4fbd-8f87-4025e1d49242",
					 .tenant_name = "Acme",
					 .application_id = "ca739e26-7b67-4f14-b69e-d568c22a5a75",
					 .application_name = "farm",
					 .device_profile_id = "605d08d4-65f5-4d2c-8a5a-3d2457662f79",
					 .device_profile_name = "soil-probe",
					 .device_name = "probe-7",
					 .dev_eui = "70b3d57ed0001a2b",
					 .tags = {f.tags, 1}};
	longwave__ns__v1__event__init(&f.e);
	f.time = at(NOW_NS);
	f.e.time = &f.time;
	f.e.dev_eui = "70b3d57ed0001a2b";
	f.e.dev_addr = "0101f3a4";
	f.e.deduplication_id = DEDUP;
	f.e.region_config_id = "eu868";
	make_radio(&f);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	lw_schema_free(f->schema);
	lw_keycache_free(f->keys);
	lw_arena_deinit(&f->arena);
	lw_buf_deinit(&f->json);
	return 0;
}

static void expect(struct fixture *f, const struct lw_key *key, const char *name, const char *json)
{
	struct as_event out;
	assert_int_equal(as_event_build(&f->e, &f->dev, key, f->keys, &f->arena, &out), 0);
	assert_string_equal(out.name, name);
	lw_buf_reset(&f->json);
	assert_int_equal(lw_pbjson_encode(f->schema, out.msg, LW_PBJSON_EVENT, &f->json), 0);
	assert_string_equal(lw_buf_str(&f->json), json);
}

static void test_up(void **state)
{
	struct fixture *f = *state;
	static const uint8_t clear[] = {0x01, 0x67, 0x00, 0xdc};
	struct lw_key key;
	uint8_t air[4];
	assert_int_equal(lw_key_parse(&key, "000102030405060708090a0b0c0d0e0f"), 0);
	lw_cipher_frm(f->keys, &key, LW_UP, (struct lw_devaddr){0x0101f3a4}, 41, clear, 4, air);
	assert_memory_not_equal(air, clear, 4);
	f->e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_UPLINK;
	f->e.uplink = &f->up;
	f->up.adr = true;
	f->up.dr = 3;
	f->up.f_cnt = 41;
	f->up.f_port = 2;
	f->up.frm_payload = (ProtobufCBinaryData){.len = 4, .data = air};
	expect(f, &key, "up",
	       HEAD ",\"devAddr\":\"0101f3a4\",\"adr\":true,\"dr\":3,\"fCnt\":41,\"fPort\":2,\"confirmed\":false,"
		    "\"data\":\"AWcA3A==\"," RADIO);
}

static void test_up_port_0(void **state)
{
	struct fixture *f = *state;
	uint8_t mac[] = {1, 2, 3};
	f->e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_UPLINK;
	f->e.uplink = &f->up;
	f->up.dr = 3;
	f->up.frm_payload = (ProtobufCBinaryData){.len = 3, .data = mac};
	expect(f, NULL, "up",
	       HEAD ",\"devAddr\":\"0101f3a4\",\"adr\":false,\"dr\":3,\"fCnt\":0,\"fPort\":0,\"confirmed\":false,"
		    "\"data\":\"\"," RADIO);
}

static void test_up_without_key(void **state)
{
	struct fixture *f = *state;
	uint8_t air[] = {1, 2, 3};
	uint8_t id[] = {0x0a, 0x1b, 0x2c, 0x3d};
	struct as_event out;
	f->e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_UPLINK;
	f->e.uplink = &f->up;
	f->up.f_port = 7;
	f->up.frm_payload = (ProtobufCBinaryData){.len = 3, .data = air};
	f->up.session_key_id = (ProtobufCBinaryData){.len = 4, .data = id};
	assert_true(lw_span_eq(as_event_session(&f->e), lw_span(id, 4)));
	assert_int_equal(as_event_build(&f->e, &f->dev, NULL, f->keys, &f->arena, &out), 0);
	const Integration__UplinkEvent *u = (const void *)out.msg;
	assert_memory_equal(u->data.data, air, 3);
	assert_non_null(u->join_server_context);
	assert_string_equal(u->join_server_context->session_key_id, "0a1b2c3d");
	/* Longer than any frame: refused, not cut. */
	f->up.frm_payload.len = AS_PAYLOAD_MAX + 1;
	assert_int_equal(as_event_build(&f->e, &f->dev, NULL, f->keys, &f->arena, &out), LW_EINVAL);
}

static void test_join(void **state)
{
	struct fixture *f = *state;
	Longwave__Ns__V1__JoinEvent j = LONGWAVE__NS__V1__JOIN_EVENT__INIT;
	Common__JoinServerContext ctx = COMMON__JOIN_SERVER_CONTEXT__INIT;
	f->e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_JOIN;
	f->e.join = &j;
	expect(f, NULL, "join", HEAD ",\"devAddr\":\"0101f3a4\",\"regionConfigId\":\"eu868\"}");
	ctx.session_key_id = "0a1b2c3d";
	j.join_server_context = &ctx;
	expect(f, NULL, "join",
	       HEAD ",\"devAddr\":\"0101f3a4\",\"joinServerContext\":{\"sessionKeyId\":\"0a1b2c3d\"},"
		    "\"regionConfigId\":\"eu868\"}");
}

static void test_ack(void **state)
{
	struct fixture *f = *state;
	Longwave__Ns__V1__AckEvent a = LONGWAVE__NS__V1__ACK_EVENT__INIT;
	a.queue_item_id = "9f7b2c10-57a6-4b39-a0f3-2d9e9a6f1b22";
	a.acknowledged = true;
	a.f_cnt_down = 12;
	f->e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_ACK;
	f->e.ack = &a;
	expect(f, NULL, "ack",
	       HEAD ",\"queueItemId\":\"9f7b2c10-57a6-4b39-a0f3-2d9e9a6f1b22\",\"acknowledged\":true,\"fCntDown\":12}");
}

static void test_txack(void **state)
{
	struct fixture *f = *state;
	Longwave__Ns__V1__TxAckEvent a = LONGWAVE__NS__V1__TX_ACK_EVENT__INIT;
	Gw__DownlinkTxInfo tx = GW__DOWNLINK_TX_INFO__INIT;
	Gw__Timing timing = GW__TIMING__INIT;
	Gw__DelayTimingInfo delay = GW__DELAY_TIMING_INFO__INIT;
	Google__Protobuf__Duration one = GOOGLE__PROTOBUF__DURATION__INIT;
	one.seconds = 1;
	delay.delay = &one;
	timing.parameters_case = GW__TIMING__PARAMETERS_DELAY;
	timing.delay = &delay;
	tx.frequency = 868300000;
	tx.power = 16;
	tx.modulation = &f->modulation;
	f->lora.polarization_inversion = true;
	tx.timing = &timing;
	tx.context = f->rx.context;
	a.downlink_id = 3921170512u;
	a.queue_item_id = "9f7b2c10-57a6-4b39-a0f3-2d9e9a6f1b22";
	a.f_cnt_down = 12;
	a.gateway_id = "0016c001f1500812";
	a.tx_info = &tx;
	f->time = at(INT64_C(1714564801) * LW_NS_PER_S + 402000000);
	f->e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_TX_ACK;
	f->e.tx_ack = &a;
	/* Without the application's tags. */
	expect(f, NULL, "txack",
	       "{\"downlinkId\":3921170512,\"time\":\"2024-05-01T12:00:01.402+00:00\"," INFO_WITH(
		       "{}") ",\"queueItemId\":\"9f7b2c10-57a6-4b39-a0f3-2d9e9a6f1b22\",\"fCntDown\":12,\"gatewayId\":"
			     "\"0016c001f1500812\",\"txInfo\":{\"frequency\":868300000,\"power\":16,\"modulation\":{"
			     "\"lora\":{"
			     "\"bandwidth\":125000,\"spreadingFactor\":9,\"codeRate\":\"CR_4_5\","
			     "\"polarizationInversion\":true}},"
			     "\"timing\":{\"delay\":{\"delay\":\"1s\"}},\"context\":\"Gis8TQ==\"}}");
}

static void test_log(void **state)
{
	struct fixture *f = *state;
	Longwave__Ns__V1__LogEvent l = LONGWAVE__NS__V1__LOG_EVENT__INIT;
	Longwave__Ns__V1__LogEvent__ContextEntry entry = LONGWAVE__NS__V1__LOG_EVENT__CONTEXT_ENTRY__INIT;
	Longwave__Ns__V1__LogEvent__ContextEntry *entries[] = {&entry};
	l.level = INTEGRATION__LOG_LEVEL__ERROR;
	l.code = INTEGRATION__LOG_CODE__DOWNLINK_GATEWAY;
	l.description = "TOO_LATE";
	f->time = at(INT64_C(1714564801) * LW_NS_PER_S + 402000000);
	f->e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_LOG;
	f->e.log = &l;
#define LOG(context)                                                                                                   \
	"{\"time\":\"2024-05-01T12:00:01.402+00:00\"," INFO                                                            \
	",\"level\":\"ERROR\",\"code\":\"DOWNLINK_GATEWAY\",\"description\":\"TOO_LATE\",\"context\":{" context "}}"
	expect(f, NULL, "log", LOG(""));
	entry.key = "queue_item_id";
	entry.value = "x";
	l.context = entries;
	l.n_context = 1;
	expect(f, NULL, "log", LOG("\"queue_item_id\":\"x\""));
}

static void test_mac_commands(void **state)
{
	struct fixture *f = *state;
	Longwave__Ns__V1__MacCommandsEvent m = LONGWAVE__NS__V1__MAC_COMMANDS_EVENT__INIT;
	uint8_t commands[] = {0x80, 0x01, 0xff};
	m.commands = (ProtobufCBinaryData){sizeof(commands), commands};
	f->time = at(INT64_C(1714564801) * LW_NS_PER_S + 402000000);
	f->e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_MAC_COMMANDS;
	f->e.mac_commands = &m;
	expect(f, NULL, "log",
	       "{\"time\":\"2024-05-01T12:00:01.402+00:00\"," INFO
	       ",\"level\":\"INFO\",\"code\":\"UNKNOWN\",\"description\":\"MAC commands of the device\","
	       "\"context\":{\"mac_commands\":\"8001ff\"}}");
}

static void test_status(void **state)
{
	struct fixture *f = *state;
	Longwave__Ns__V1__StatusEvent s = LONGWAVE__NS__V1__STATUS_EVENT__INIT;
	f->e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_STATUS;
	f->e.status = &s;
	s.margin = 7;
	s.battery = 191;
	expect(f, NULL, "status",
	       HEAD ",\"margin\":7,\"externalPowerSource\":false,\"batteryLevelUnavailable\":false,\"batteryLevel\":"
		    "75.19685}");
	s.battery = 0;
	expect(f, NULL, "status",
	       HEAD
	       ",\"margin\":7,\"externalPowerSource\":true,\"batteryLevelUnavailable\":false,\"batteryLevel\":0.0}");
	s.battery = 255;
	expect(f, NULL, "status",
	       HEAD
	       ",\"margin\":7,\"externalPowerSource\":false,\"batteryLevelUnavailable\":true,\"batteryLevel\":0.0}");
}

static void test_location(void **state)
{
	struct fixture *f = *state;
	Longwave__Ns__V1__LocationEvent l = LONGWAVE__NS__V1__LOCATION_EVENT__INIT;
	f->location.altitude = 2;
	f->location.accuracy = 20;
	f->location.source = COMMON__LOCATION_SOURCE__GEO_RESOLVER_GNSS;
	l.location = &f->location;
	f->e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_LOCATION;
	f->e.location = &l;
	expect(f, NULL, "location",
	       HEAD ",\"location\":{\"latitude\":52.3731,\"longitude\":4.8922,\"altitude\":2.0,\"source\":"
		    "\"GEO_RESOLVER_GNSS\",\"accuracy\":20.0}}");
}

/* Neither is for applications. */
static void test_inner(void **state)
{
	struct fixture *f = *state;
	Longwave__Ns__V1__GatewayStatsEvent g = LONGWAVE__NS__V1__GATEWAY_STATS_EVENT__INIT;
	struct as_event out;
	f->e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_GATEWAY_STATS;
	f->e.gateway_stats = &g;
	assert_int_equal(as_event_build(&f->e, &f->dev, NULL, f->keys, &f->arena, &out), 0);
	assert_null(out.name);
}

static void test_time(void **state)
{
	(void)state;
	Gw__UplinkRxInfo a = GW__UPLINK_RX_INFO__INIT, b = GW__UPLINK_RX_INFO__INIT;
	Gw__UplinkRxInfo *v[] = {&a, &b};
	Google__Protobuf__Duration gps = GOOGLE__PROTOBUF__DURATION__INIT;
	Google__Protobuf__Timestamp t = at(NOW_NS + 5 * LW_NS_PER_S);
	int64_t gps_ns = lw_gps_from_unix_ns(NOW_NS - 3 * LW_NS_PER_S);
	gps.seconds = lw_split_ns(gps_ns).sec;
	gps.nanos = lw_split_ns(gps_ns).nanos;
	assert_int_equal(as_event_time_ns(NOW_NS, v, 2), NOW_NS);
	a.gw_time = &t;
	assert_int_equal(as_event_time_ns(NOW_NS, v, 2), NOW_NS + 5 * LW_NS_PER_S);
	/* GPS of any gateway goes before a gateway's clock. */
	b.time_since_gps_epoch = &gps;
	assert_int_equal(as_event_time_ns(NOW_NS, v, 2), NOW_NS - 3 * LW_NS_PER_S);
	/* 30 s are near enough, more is not. */
	assert_int_equal(as_event_time_ns(NOW_NS + 27 * LW_NS_PER_S, v, 2), NOW_NS - 3 * LW_NS_PER_S);
	assert_int_equal(as_event_time_ns(NOW_NS + 27 * LW_NS_PER_S + 1, v, 2), NOW_NS + 5 * LW_NS_PER_S);
	assert_int_equal(as_event_time_ns(NOW_NS + 36 * LW_NS_PER_S, v, 2), NOW_NS + 36 * LW_NS_PER_S);
}

static void test_tags(void **state)
{
	struct fixture *f = *state;
	Integration__DeviceInfo__TagsEntry e[] = {
		INTEGRATION__DEVICE_INFO__TAGS_ENTRY__INIT, INTEGRATION__DEVICE_INFO__TAGS_ENTRY__INIT,
		INTEGRATION__DEVICE_INFO__TAGS_ENTRY__INIT, INTEGRATION__DEVICE_INFO__TAGS_ENTRY__INIT};
	Integration__DeviceInfo__TagsEntry *app[] = {&e[0], &e[1]}, *profile[] = {&e[2]}, *dev[] = {&e[3]};
	const char *pairs[][2] = {{"a", "app"}, {"b", "app"}, {"b", "profile"}, {"c", "dev"}};
	struct as_tags layers[] = {{app, 2}, {profile, 1}, {dev, 1}};
	for (size_t i = 0; i < 4; i++) {
		e[i].key = (char *)(uintptr_t)pairs[i][0];
		e[i].value = (char *)(uintptr_t)pairs[i][1];
	}
	struct as_tags out = as_tags_merge(&f->arena, layers, 3);
	assert_int_equal(out.n, 3);
	assert_string_equal(out.v[0]->value, "app");
	assert_string_equal(out.v[1]->value, "profile");
	assert_string_equal(out.v[2]->value, "dev");
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {T(test_up),       T(test_up_port_0),    T(test_up_without_key),
					   T(test_join),     T(test_ack),          T(test_txack),
					   T(test_log),      T(test_mac_commands), T(test_status),
					   T(test_location), T(test_inner),        T(test_time),
					   T(test_tags)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
