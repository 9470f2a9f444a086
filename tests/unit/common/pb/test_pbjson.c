/* The transcoder: the examples of the contracts byte for byte, the REST shape, what must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "common/pb/build.h"
#include "common/pb/pbjson.h"
#include "common/pb/unpack.h"
#include "proto/api/device.pb-c.h"
#include "proto/api/internal.pb-c.h"
#include "proto/gw/gw.pb-c.h"
#include "proto/integration/integration.pb-c.h"

/* Source: contracts integration.md §5 and gw.md §6 (examples as the reference's network-server prints them). */
static const struct golden {
	const char *name;
	const char *type;
	const char *json;
} goldens[] = {
	/* clang-format off */
	{
		"up", "integration.UplinkEvent",
		"{\"deduplicationId\":\"6c7b4ce5-33a1-4e0c-9e7c-3b0a6c1d2e4f\",\"time\":\"2024-05-01T12:00:00.251"
		"307+00:00\",\"deviceInfo\":{\"tenantId\":\"52f14cd4-c6f1-4fbd-8f87-4025e1d49242\",\"tenantName\""
		":\"Acme\",\"applicationId\":\"ca739e26-7b67-4f14-b69e-d568c22a5a75\",\"applicationName\":\"farm\""
		",\"deviceProfileId\":\"605d08d4-65f5-4d2c-8a5a-3d2457662f79\",\"deviceProfileName\":\"soil-probe"
		"\",\"deviceName\":\"probe-7\",\"devEui\":\"70b3d57ed0001a2b\",\"deviceClassEnabled\":\"CLASS_A\""
		",\"tags\":{\"site\":\"north\"}},\"devAddr\":\"0101f3a4\",\"adr\":true,\"dr\":3,\"fCnt\":41,\"fPo"
		"rt\":2,\"confirmed\":false,\"data\":\"AWcA3A==\",\"object\":{\"temperature\":22.0,\"valid\":true"
		"},\"rxInfo\":[{\"gatewayId\":\"0016c001f1500812\",\"uplinkId\":2451872135,\"gwTime\":\"2024-05-0"
		"1T12:00:00.251307+00:00\",\"nsTime\":\"2024-05-01T12:00:00.301112500+00:00\",\"timeSinceGpsEpoch"
		"\":\"1398600018.251s\",\"rssi\":-97,\"snr\":4.5,\"channel\":1,\"rfChain\":1,\"location\":{\"lati"
		"tude\":52.3731,\"longitude\":4.8922,\"altitude\":12.0},\"context\":\"Gis8TQ==\",\"metadata\":{\""
		"region_common_name\":\"EU868\",\"region_config_id\":\"eu868\"},\"crcStatus\":\"CRC_OK\"}],\"txIn"
		"fo\":{\"frequency\":868300000,\"modulation\":{\"lora\":{\"bandwidth\":125000,\"spreadingFactor\""
		":9,\"codeRate\":\"CR_4_5\"}}},\"regionConfigId\":\"eu868\"}",
	},
	{
		"up without codec, fPort 0", "integration.UplinkEvent",
		"{\"deduplicationId\":\"6c7b4ce5-33a1-4e0c-9e7c-3b0a6c1d2e4f\",\"time\":\"2024-05-01T12:00:00.251"
		"307+00:00\",\"deviceInfo\":{\"tenantId\":\"52f14cd4-c6f1-4fbd-8f87-4025e1d49242\",\"tenantName\""
		":\"Acme\",\"applicationId\":\"ca739e26-7b67-4f14-b69e-d568c22a5a75\",\"applicationName\":\"farm\""
		",\"deviceProfileId\":\"605d08d4-65f5-4d2c-8a5a-3d2457662f79\",\"deviceProfileName\":\"soil-probe"
		"\",\"deviceName\":\"probe-7\",\"devEui\":\"70b3d57ed0001a2b\",\"deviceClassEnabled\":\"CLASS_A\""
		",\"tags\":{\"site\":\"north\"}},\"devAddr\":\"0101f3a4\",\"adr\":false,\"dr\":3,\"fCnt\":0,\"fPo"
		"rt\":0,\"confirmed\":false,\"data\":\"\",\"rxInfo\":[{\"gatewayId\":\"0016c001f1500812\",\"uplin"
		"kId\":2451872135,\"gwTime\":\"2024-05-01T12:00:00.251307+00:00\",\"nsTime\":\"2024-05-01T12:00:0"
		"0.301112500+00:00\",\"timeSinceGpsEpoch\":\"1398600018.251s\",\"rssi\":-97,\"snr\":4.5,\"channel"
		"\":1,\"rfChain\":1,\"location\":{\"latitude\":52.3731,\"longitude\":4.8922,\"altitude\":12.0},\""
		"context\":\"Gis8TQ==\",\"metadata\":{\"region_common_name\":\"EU868\",\"region_config_id\":\"eu8"
		"68\"},\"crcStatus\":\"CRC_OK\"}],\"txInfo\":{\"frequency\":868300000,\"modulation\":{\"lora\":{\""
		"bandwidth\":125000,\"spreadingFactor\":9,\"codeRate\":\"CR_4_5\"}}},\"regionConfigId\":\"eu868\""
		"}",
	},
	{
		"join", "integration.JoinEvent",
		"{\"deduplicationId\":\"6c7b4ce5-33a1-4e0c-9e7c-3b0a6c1d2e4f\",\"time\":\"2024-05-01T12:00:00.251"
		"307+00:00\",\"deviceInfo\":{\"tenantId\":\"52f14cd4-c6f1-4fbd-8f87-4025e1d49242\",\"tenantName\""
		":\"Acme\",\"applicationId\":\"ca739e26-7b67-4f14-b69e-d568c22a5a75\",\"applicationName\":\"farm\""
		",\"deviceProfileId\":\"605d08d4-65f5-4d2c-8a5a-3d2457662f79\",\"deviceProfileName\":\"soil-probe"
		"\",\"deviceName\":\"probe-7\",\"devEui\":\"70b3d57ed0001a2b\",\"deviceClassEnabled\":\"CLASS_A\""
		",\"tags\":{\"site\":\"north\"}},\"devAddr\":\"0101f3a4\",\"regionConfigId\":\"eu868\"}",
	},
	{
		"join with external join-server", "integration.JoinEvent",
		"{\"deduplicationId\":\"6c7b4ce5-33a1-4e0c-9e7c-3b0a6c1d2e4f\",\"time\":\"2024-05-01T12:00:00.251"
		"307+00:00\",\"deviceInfo\":{\"tenantId\":\"52f14cd4-c6f1-4fbd-8f87-4025e1d49242\",\"tenantName\""
		":\"Acme\",\"applicationId\":\"ca739e26-7b67-4f14-b69e-d568c22a5a75\",\"applicationName\":\"farm\""
		",\"deviceProfileId\":\"605d08d4-65f5-4d2c-8a5a-3d2457662f79\",\"deviceProfileName\":\"soil-probe"
		"\",\"deviceName\":\"probe-7\",\"devEui\":\"70b3d57ed0001a2b\",\"deviceClassEnabled\":\"CLASS_A\""
		",\"tags\":{\"site\":\"north\"}},\"devAddr\":\"0101f3a4\",\"joinServerContext\":{\"sessionKeyId\""
		":\"0a1b2c3d\"},\"regionConfigId\":\"eu868\"}",
	},
	{
		"ack", "integration.AckEvent",
		"{\"deduplicationId\":\"6c7b4ce5-33a1-4e0c-9e7c-3b0a6c1d2e4f\",\"time\":\"2024-05-01T12:00:00.251"
		"307+00:00\",\"deviceInfo\":{\"tenantId\":\"52f14cd4-c6f1-4fbd-8f87-4025e1d49242\",\"tenantName\""
		":\"Acme\",\"applicationId\":\"ca739e26-7b67-4f14-b69e-d568c22a5a75\",\"applicationName\":\"farm\""
		",\"deviceProfileId\":\"605d08d4-65f5-4d2c-8a5a-3d2457662f79\",\"deviceProfileName\":\"soil-probe"
		"\",\"deviceName\":\"probe-7\",\"devEui\":\"70b3d57ed0001a2b\",\"deviceClassEnabled\":\"CLASS_A\""
		",\"tags\":{\"site\":\"north\"}},\"queueItemId\":\"9f7b2c10-57a6-4b39-a0f3-2d9e9a6f1b22\",\"ackno"
		"wledged\":true,\"fCntDown\":12}",
	},
	{
		"txack", "integration.TxAckEvent",
		"{\"downlinkId\":3921170512,\"time\":\"2024-05-01T12:00:01.402+00:00\",\"deviceInfo\":{\"tenantId"
		"\":\"52f14cd4-c6f1-4fbd-8f87-4025e1d49242\",\"tenantName\":\"Acme\",\"applicationId\":\"ca739e26"
		"-7b67-4f14-b69e-d568c22a5a75\",\"applicationName\":\"farm\",\"deviceProfileId\":\"605d08d4-65f5-"
		"4d2c-8a5a-3d2457662f79\",\"deviceProfileName\":\"soil-probe\",\"deviceName\":\"probe-7\",\"devEu"
		"i\":\"70b3d57ed0001a2b\",\"deviceClassEnabled\":\"CLASS_A\",\"tags\":{}},\"queueItemId\":\"9f7b2"
		"c10-57a6-4b39-a0f3-2d9e9a6f1b22\",\"fCntDown\":12,\"gatewayId\":\"0016c001f1500812\",\"txInfo\":"
		"{\"frequency\":868300000,\"power\":16,\"modulation\":{\"lora\":{\"bandwidth\":125000,\"spreading"
		"Factor\":9,\"codeRate\":\"CR_4_5\",\"polarizationInversion\":true}},\"timing\":{\"delay\":{\"del"
		"ay\":\"1s\"}},\"context\":\"Gis8TQ==\"}}",
	},
	{
		"log", "integration.LogEvent",
		"{\"time\":\"2024-05-01T12:00:01.402+00:00\",\"deviceInfo\":{\"tenantId\":\"52f14cd4-c6f1-4fbd-8f"
		"87-4025e1d49242\",\"tenantName\":\"Acme\",\"applicationId\":\"ca739e26-7b67-4f14-b69e-d568c22a5a"
		"75\",\"applicationName\":\"farm\",\"deviceProfileId\":\"605d08d4-65f5-4d2c-8a5a-3d2457662f79\",\""
		"deviceProfileName\":\"soil-probe\",\"deviceName\":\"probe-7\",\"devEui\":\"70b3d57ed0001a2b\",\""
		"deviceClassEnabled\":\"CLASS_A\",\"tags\":{\"site\":\"north\"}},\"level\":\"ERROR\",\"code\":\"D"
		"OWNLINK_GATEWAY\",\"description\":\"TOO_LATE\",\"context\":{}}",
	},
	{
		"status", "integration.StatusEvent",
		"{\"deduplicationId\":\"6c7b4ce5-33a1-4e0c-9e7c-3b0a6c1d2e4f\",\"time\":\"2024-05-01T12:00:00.251"
		"307+00:00\",\"deviceInfo\":{\"tenantId\":\"52f14cd4-c6f1-4fbd-8f87-4025e1d49242\",\"tenantName\""
		":\"Acme\",\"applicationId\":\"ca739e26-7b67-4f14-b69e-d568c22a5a75\",\"applicationName\":\"farm\""
		",\"deviceProfileId\":\"605d08d4-65f5-4d2c-8a5a-3d2457662f79\",\"deviceProfileName\":\"soil-probe"
		"\",\"deviceName\":\"probe-7\",\"devEui\":\"70b3d57ed0001a2b\",\"deviceClassEnabled\":\"CLASS_A\""
		",\"tags\":{\"site\":\"north\"}},\"margin\":7,\"externalPowerSource\":false,\"batteryLevelUnavail"
		"able\":false,\"batteryLevel\":75.19685}",
	},
	{
		"location", "integration.LocationEvent",
		"{\"deduplicationId\":\"6c7b4ce5-33a1-4e0c-9e7c-3b0a6c1d2e4f\",\"time\":\"2024-05-01T12:00:00.251"
		"307+00:00\",\"deviceInfo\":{\"tenantId\":\"52f14cd4-c6f1-4fbd-8f87-4025e1d49242\",\"tenantName\""
		":\"Acme\",\"applicationId\":\"ca739e26-7b67-4f14-b69e-d568c22a5a75\",\"applicationName\":\"farm\""
		",\"deviceProfileId\":\"605d08d4-65f5-4d2c-8a5a-3d2457662f79\",\"deviceProfileName\":\"soil-probe"
		"\",\"deviceName\":\"probe-7\",\"devEui\":\"70b3d57ed0001a2b\",\"deviceClassEnabled\":\"CLASS_A\""
		",\"tags\":{\"site\":\"north\"}},\"location\":{\"latitude\":52.3731,\"longitude\":4.8922,\"altitu"
		"de\":2.0,\"source\":\"GEO_RESOLVER_GNSS\",\"accuracy\":20.0}}",
	},
	{
		"gateway up", "gw.UplinkFrame",
		"{\"phyPayload\":\"QAQDAgGAAQACpZYRKEE=\",\"txInfo\":{\"frequency\":868100000,\"modulation\":{\"l"
		"ora\":{\"bandwidth\":125000,\"spreadingFactor\":7,\"codeRate\":\"CR_4_5\"}}},\"rxInfo\":{\"gatew"
		"ayId\":\"0102030405060708\",\"uplinkId\":1234567890,\"gwTime\":\"2024-05-01T12:00:00.123456+00:0"
		"0\",\"timeSinceGpsEpoch\":\"1398600018.123456s\",\"rssi\":-57,\"snr\":9.5,\"channel\":2,\"rfChai"
		"n\":1,\"context\":\"ABAgMA==\",\"crcStatus\":\"CRC_OK\"}}",
	},
	{
		"gateway down", "gw.DownlinkFrame",
		"{\"downlinkId\":305419896,\"items\":[{\"phyPayload\":\"YAQDAgGgAQACVgcQ\",\"txInfo\":{\"frequenc"
		"y\":868100000,\"power\":16,\"modulation\":{\"lora\":{\"bandwidth\":125000,\"spreadingFactor\":7,"
		"\"codeRate\":\"CR_4_5\",\"polarizationInversion\":true}},\"timing\":{\"delay\":{\"delay\":\"1s\""
		"}},\"context\":\"ABAgMA==\"}},{\"phyPayload\":\"YAQDAgGgAQACVgcQ\",\"txInfo\":{\"frequency\":869"
		"525000,\"power\":29,\"modulation\":{\"lora\":{\"bandwidth\":125000,\"spreadingFactor\":12,\"code"
		"Rate\":\"CR_4_5\",\"polarizationInversion\":true}},\"timing\":{\"delay\":{\"delay\":\"2s\"}},\"c"
		"ontext\":\"ABAgMA==\"}}],\"gatewayId\":\"0102030405060708\"}",
	},
	{
		"gateway ack", "gw.DownlinkTxAck",
		"{\"gatewayId\":\"0102030405060708\",\"downlinkId\":305419896,\"items\":[{\"status\":\"TOO_LATE\""
		"},{\"status\":\"OK\"}]}",
	},
	/* clang-format on */
};

static int setup(void **state)
{
	*state = lw_schema_new();
	return 0;
}

static int teardown(void **state)
{
	lw_schema_free(*state);
	return 0;
}

static const ProtobufCMessageDescriptor *type_of(const struct lw_schema *s, const char *name)
{
	const struct lw_schema_message *m = lw_schema_find_message(s, name);
	assert_non_null(m);
	return m->c;
}

/* Reads and prints again; the caller frees the buffer. */
static int transcode(const struct lw_schema *s, const char *type, const char *json, enum lw_pbjson_profile profile,
		     struct lw_buf *out, struct lw_diag *diag)
{
	ProtobufCMessage *m;
	lw_buf_init(out, 1 << 20);
	int rc = lw_pbjson_decode(s, type_of(s, type), lw_span_str(json), NULL, &m, diag);
	if (rc == 0)
		rc = lw_pbjson_encode(s, m, profile, out);
	lw_pb_message_free(m, NULL);
	return rc;
}

static void expect_json(const struct lw_schema *s, const char *type, const char *json, enum lw_pbjson_profile profile,
			const char *expected)
{
	struct lw_diag diag = {0};
	struct lw_buf out;
	int rc = transcode(s, type, json, profile, &out, &diag);
	if (rc != 0)
		print_error("%s: %s\n", json, diag.text);
	assert_int_equal(rc, 0);
	assert_string_equal(lw_buf_str(&out), expected);
	lw_buf_deinit(&out);
}

static void test_goldens(void **state)
{
	for (size_t i = 0; i < sizeof(goldens) / sizeof(goldens[0]); i++)
		expect_json(*state, goldens[i].type, goldens[i].json, LW_PBJSON_EVENT, goldens[i].json);
}

/* Each golden survives the way over the wire, unpacked into an arena. */
static void test_goldens_over_the_wire(void **state)
{
	const struct lw_schema *s = *state;
	for (size_t i = 0; i < sizeof(goldens) / sizeof(goldens[0]); i++) {
		struct lw_arena arena;
		struct lw_buf wire, out;
		ProtobufCMessage *m, *copy;
		lw_arena_init(&arena, NULL, 0, 1 << 20);
		lw_buf_init(&wire, 1 << 16);
		lw_buf_init(&out, 1 << 16);
		ProtobufCAllocator allocator = lw_pb_arena_allocator(&arena);
		assert_int_equal(lw_pbjson_decode(s, type_of(s, goldens[i].type), lw_span_str(goldens[i].json),
						  &allocator, &m, NULL),
				 0);
		assert_int_equal(lw_pb_pack(m, &wire), 0);
		assert_int_equal(lw_pb_unpack(m->descriptor, lw_buf_span(&wire), &arena, &copy), 0);
		assert_int_equal(lw_pbjson_encode(s, copy, LW_PBJSON_EVENT, &out), 0);
		assert_string_equal(lw_buf_str(&out), goldens[i].json);
		lw_buf_deinit(&wire);
		lw_buf_deinit(&out);
		lw_arena_deinit(&arena);
	}
}

/* Source: contracts integration.md §5, the command examples. */
static void test_commands(void **state)
{
	expect_json(*state, "integration.DownlinkCommand",
		    "{\"devEui\":\"70b3d57ed0001a2b\",\"confirmed\":false,\"fPort\":10,\"data\":\"AQID\"}",
		    LW_PBJSON_EVENT,
		    "{\"id\":\"\",\"devEui\":\"70b3d57ed0001a2b\",\"confirmed\":false,\"fPort\":10,\"data\":\"AQID\"}");
	expect_json(
		*state, "integration.DownlinkCommand",
		"{\"id\":\"9f7b2c10\",\"devEui\":\"70b3d57ed0001a2b\",\"confirmed\":true,\"fPort\":10,"
		"\"object\":{\"valve\":1},\"expiresAt\":\"2024-05-01T13:00:00Z\"}",
		LW_PBJSON_EVENT,
		"{\"id\":\"9f7b2c10\",\"devEui\":\"70b3d57ed0001a2b\",\"confirmed\":true,\"fPort\":10,\"data\":\"\","
		"\"object\":{\"valve\":1.0},\"expiresAt\":\"2024-05-01T13:00:00+00:00\"}");
}

/* Source: vectors bridge-udp.json, case lora_gps with the JSON marshaler. */
static void test_gateway_profile(void **state)
{
	static const char json[] =
		"{\"phyPayload\":\"QKTzAQGAKQACpZYRKEE=\",\"txInfo\":{\"frequency\":868300000,\"modulation\":{\"lora\":"
		"{\"bandwidth\":125000,\"spreadingFactor\":9,\"codeRate\":\"CR_4_5\"}}},\"rxInfo\":{\"gatewayId\":"
		"\"0016c001f1500812\",\"uplinkId\":528,\"gwTime\":\"2024-05-01T12:00:00.251307Z\","
		"\"timeSinceGpsEpoch\":"
		"\"1398600018.251s\",\"rssi\":-97,\"snr\":4.5,\"channel\":1,\"rfChain\":1,\"context\":\"Gis8TQ==\","
		"\"crcStatus\":\"CRC_OK\"}}";
	expect_json(*state, "gw.UplinkFrame", json, LW_PBJSON_GW, json);
	expect_json(*state, "gw.UplinkRxInfo", "{\"snr\":-7.0}", LW_PBJSON_GW, "{\"snr\":-7}");
	expect_json(*state, "gw.UplinkRxInfo", "{\"snr\":-7}", LW_PBJSON_EVENT, "{\"snr\":-7.0}");
	expect_json(*state, "gw.DownlinkTxAck", "{\"items\":[{\"status\":\"IGNORED\"}]}", LW_PBJSON_GW,
		    "{\"items\":[{}]}");
	expect_json(*state, "gw.Timing", "{\"immediately\":{}}", LW_PBJSON_GW, "{\"immediately\":{}}");
	expect_json(*state, "gw.GatewayStats", "{\"rxPacketsPerFrequency\":{\"868100000\":4}}", LW_PBJSON_GW,
		    "{\"rxPacketsPerFrequency\":{\"868100000\":4}}");
}

/* Source: vectors rest.json (GatewayService.Get, DeviceProfile members), api.md §1. */
static void test_rest_profile(void **state)
{
	expect_json(*state, "api.GetDeviceResponse", "{}", LW_PBJSON_REST,
		    "{\"device\":null,\"createdAt\":null,\"updatedAt\":null,\"lastSeenAt\":null,\"deviceStatus\":null,"
		    "\"classEnabled\":\"CLASS_A\"}");
	expect_json(
		*state, "api.GetGatewayResponse",
		"{\"gateway\":{\"gatewayId\":\"0b6eab105bdbda4b\",\"name\":\"roof\",\"location\":{\"latitude\":52.1,"
		"\"longitude\":4.9,\"altitude\":10.0},\"tags\":{\"a\":\"b\"},\"statsInterval\":\"30\"},"
		"\"createdAt\":\"2026-11-22T16:44:30.623556+01:00\"}",
		LW_PBJSON_REST,
		"{\"gateway\":{\"gatewayId\":\"0b6eab105bdbda4b\",\"name\":\"roof\",\"description\":\"\",\"location\":"
		"{\"latitude\":52.1,\"longitude\":4.9,\"altitude\":10,\"source\":\"UNKNOWN\",\"accuracy\":0},"
		"\"tenantId\":\"\",\"tags\":{\"a\":\"b\"},\"metadata\":{},\"statsInterval\":30,\"downlinkPriority\":0},"
		"\"createdAt\":\"2026-11-22T15:44:30.623556Z\",\"updatedAt\":null,\"lastSeenAt\":null}");
	expect_json(*state, "api.GlobalSearchRequest",
		    "{\"search\":\"x\",\"limit\":10,\"offset\":\"-9223372036854775808\"}", LW_PBJSON_REST,
		    "{\"search\":\"x\",\"limit\":\"10\",\"offset\":\"-9223372036854775808\"}");
	expect_json(*state, "api.GetDevicesSummaryResponse", "{\"drCount\":{\"5\":2}}", LW_PBJSON_REST,
		    "{\"activeCount\":0,\"inactiveCount\":0,\"drCount\":{\"5\":2},\"neverSeenCount\":0}");
	expect_json(*state, "gw.Modulation", "{}", LW_PBJSON_REST, "{}");
	expect_json(*state, "google.protobuf.Empty", "{\"any\":1}", LW_PBJSON_REST, "{}");
}

static void test_struct(void **state)
{
	static const char json[] =
		"{\"a\":null,\"b\":[1.0,\"x\",{\"c\":false}],\"d\":{},\"e\":[],\"\\\"\\\\\\n\\u0001é😀\":-0.5}";
	expect_json(*state, "google.protobuf.Struct", json, LW_PBJSON_EVENT, json);
	expect_json(*state, "google.protobuf.Struct", "{\"\\ud83d\\ude00\":22}", LW_PBJSON_REST, "{\"😀\":22}");
}

static void test_tolerated_input(void **state)
{
	static const char expected[] = "{\"devEui\":\"aa\",\"fPort\":10,\"data\":\"+/8=\"}";
	static const char *const inputs[] = {
		" { \"devEui\" : \"aa\" ,\t\"fPort\":10,\"data\":\"+/8=\" }\r\n",
		"{\"dev_eui\":\"aa\",\"f_port\":\"10\",\"data\":\"-_8\"}",
		"{\"devEui\":\"aa\",\"fPort\":1e1,\"data\":\"-_8=\",\"isPending\":null,\"new\":[{\"a\":1},2,\"x\"]}",
		"{\"devEui\":\"\\u0061a\",\"fPort\":10.0,\"data\":\"+/8\",\"object\":null,\"unknown\":1,\"unknown\":2}",
	};
	for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++)
		expect_json(*state, "api.DeviceQueueItem", inputs[i], LW_PBJSON_GW, expected);
	expect_json(*state, "gw.DownlinkTxAckItem", "{\"status\":2}", LW_PBJSON_GW, "{\"status\":\"TOO_LATE\"}");
	expect_json(*state, "gw.UplinkRxInfo", "{\"snr\":\"NaN\"}", LW_PBJSON_EVENT, "{\"snr\":null}");
	expect_json(*state, "gw.UplinkRxInfo", "{\"snr\":\"-Infinity\"}", LW_PBJSON_REST,
		    "{\"gatewayId\":\"\",\"uplinkId\":0,\"gwTime\":null,\"nsTime\":null,\"timeSinceGpsEpoch\":null,"
		    "\"fineTimeSinceGpsEpoch\":null,\"rssi\":0,\"snr\":\"-Infinity\",\"channel\":0,\"rfChain\":0,"
		    "\"board\":0,"
		    "\"antenna\":0,\"location\":null,\"context\":\"\",\"metadata\":{},\"crcStatus\":\"NO_CRC\"}");
}

static void test_refused_input(void **state)
{
	static const struct {
		const char *type;
		const char *json;
		int rc;
		const char *diag; /* part of the text */
	} cases[] = {
		{"api.Device", "", LW_EINVAL, "byte 0"},
		{"api.Device", "{", LW_EINVAL, "byte 1"},
		{"api.Device", "{}x", LW_EINVAL, "byte 2"},
		{"api.Device", "[]", LW_EINVAL, "expected an object"},
		{"api.Device", "null", LW_EINVAL, "expected an object"},
		{"api.Device", "{\"name\":\"a\",}", LW_EINVAL, "malformed"},
		{"api.Device", "{name:\"a\"}", LW_EINVAL, "malformed"},
		{"api.Device", "{'name':\"a\"}", LW_EINVAL, "malformed"},
		{"api.Device", "{\"name\" \"a\"}", LW_EINVAL, "malformed"},
		{"api.Device", "{\"name\":\"a\" \"tags\":{}}", LW_EINVAL, "malformed"},
		{"api.Device", "{\"name\":\"a\nb\"}", LW_EINVAL, "malformed"},
		{"api.Device", "{\"name\":\"\\x41\"}", LW_EINVAL, "malformed"},
		{"api.Device", "{\"name\":\"\\ud83d\"}", LW_EINVAL, "malformed"},
		{"api.Device", "{\"name\":\"\\ude00\"}", LW_EINVAL, "malformed"},
		{"api.Device", "{\"name\":\"\\ud83dx\"}", LW_EINVAL, "malformed"},
		{"api.Device", "{\"name\":\"\\u00g0\"}", LW_EINVAL, "malformed"},
		{"api.Device", "{\"name\":\"\xff\"}", LW_EINVAL, "malformed"},
		{"api.Device", "{\"name\":\"\xc0\x80\"}", LW_EINVAL, "malformed"},
		{"api.Device", "{\"name\":\"\xed\xa0\x80\"}", LW_EINVAL, "malformed"},
		{"api.Device", "{\"name\":\"\\u0000\"}", LW_EINVAL, "name: text contains NUL"},
		{"api.Device", "{\"name\":5}", LW_EINVAL, "name: expected a text"},
		{"api.Device", "{\"name\":\"a\",\"name\":\"b\"}", LW_EINVAL, "name: duplicate member"},
		{"api.Device", "{\"devEui\":\"a\",\"dev_eui\":\"b\"}", LW_EINVAL, "dev_eui: duplicate member"},
		{"api.Device", "{\"tags\":{\"a\":\"1\",\"b\":\"2\",\"a\":\"3\"}}", LW_EINVAL, "tags: duplicate name"},
		{"api.Device", "{\"tags\":{\"a\":null}}", LW_EINVAL, "tags: expected a text"},
		{"api.Device", "{\"tags\":[]}", LW_EINVAL, "tags: expected an object"},
		{"api.Device", "{\"isDisabled\":\"true\"}", LW_EINVAL, "is_disabled: expected true or false"},
		{"api.Device", "{\"isDisabled\":trueish}", LW_EINVAL, "malformed"},
		{"api.CreateDeviceRequest", "{\"device\":{\"name\":[]}}", LW_EINVAL, "device: name: expected a text"},
		{"api.DeviceQueueItem", "{\"fPort\":-1}", LW_ERANGE, "f_port: number out of range"},
		{"api.DeviceQueueItem", "{\"fPort\":4294967296}", LW_ERANGE, "out of range"},
		{"api.DeviceQueueItem", "{\"fPort\":1e400}", LW_ERANGE, "out of range"},
		{"api.DeviceQueueItem", "{\"fPort\":1.5}", LW_EINVAL, "expected an integer"},
		{"api.DeviceQueueItem", "{\"fPort\":01}", LW_EINVAL, "malformed"},
		{"api.DeviceQueueItem", "{\"fPort\":+1}", LW_EINVAL, "malformed"},
		{"api.DeviceQueueItem", "{\"fPort\":1.}", LW_EINVAL, "malformed"},
		{"api.DeviceQueueItem", "{\"fPort\":\" 1\"}", LW_EINVAL, "expected a number"},
		{"api.DeviceQueueItem", "{\"fPort\":\"0x1\"}", LW_EINVAL, "expected a number"},
		{"api.DeviceQueueItem", "{\"fPort\":\"\"}", LW_EINVAL, "expected a number"},
		{"api.DeviceQueueItem", "{\"fPort\":true}", LW_EINVAL, "expected a number"},
		{"api.DeviceQueueItem", "{\"data\":\"a*==\"}", LW_EINVAL, "data: expected base64"},
		{"api.DeviceQueueItem", "{\"expiresAt\":\"tomorrow\"}", LW_EINVAL, "expires_at: expected a time"},
		{"api.DeviceQueueItem", "{\"expiresAt\":\"2024-02-30T00:00:00Z\"}", LW_EINVAL, "expected a time"},
		{"api.DeviceQueueItem", "{\"expiresAt\":5}", LW_EINVAL, "expires_at: expected a text"},
		{"api.DeviceQueueItem", "{\"object\":{\"a\":1,\"a\":2}}", LW_EINVAL, "object: duplicate name"},
		{"api.DeviceQueueItem", "{\"object\":[1]}", LW_EINVAL, "object: expected an object"},
		{"api.GlobalSearchRequest", "{\"limit\":9223372036854775808}", LW_ERANGE, "out of range"},
		{"api.GetDevicesSummaryResponse", "{\"drCount\":{\"1\":1,\"1\":2}}", LW_EINVAL, "duplicate name"},
		{"api.GetDevicesSummaryResponse", "{\"drCount\":{\"x\":1}}", LW_EINVAL, "dr_count: expected a number"},
		{"gw.DownlinkTxAckItem", "{\"status\":\"LATE\"}", LW_EINVAL, "unknown value \"LATE\""},
		{"gw.DownlinkTxAckItem", "{\"status\":99}", LW_EINVAL, "unknown value \"99\""},
		{"gw.DownlinkTxAckItem", "{\"status\":\"2\"}", LW_EINVAL, "unknown value"},
		{"gw.Timing", "{\"immediately\":{},\"delay\":{}}", LW_EINVAL, "more than one member of parameters"},
		{"gw.DelayTimingInfo", "{\"delay\":\"1\"}", LW_EINVAL, "delay: expected a duration"},
		{"gw.DelayTimingInfo", "{\"delay\":\"1.0123456789s\"}", LW_EINVAL, "expected a duration"},
		{"gw.UplinkRxInfo", "{\"snr\":1e39}", LW_ERANGE, "out of range"},
		{"gw.UplinkRxInfo", "{\"snr\":\"inf\"}", LW_EINVAL, "expected a number"},
		{"gw.DownlinkFrame", "{\"items\":[{},null]}", LW_EINVAL, "items: expected an object"},
		{"gw.DownlinkFrame", "{\"items\":{}}", LW_EINVAL, "items: expected a list"},
		{"gw.DownlinkFrame", "{\"items\":[{}{}]}", LW_EINVAL, "malformed"},
		{"gw.DownlinkFrame", "{\"items\":[,]}", LW_EINVAL, "malformed"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lw_diag diag = {0};
		struct lw_buf out;
		int rc = transcode(*state, cases[i].type, cases[i].json, LW_PBJSON_GW, &out, &diag);
		if (rc != cases[i].rc || !strstr(diag.text, cases[i].diag))
			fail_msg("%s: %d, \"%s\"", cases[i].json, rc, diag.text);
		lw_buf_deinit(&out);
	}
}

/* n levels of {"a":…} as a Struct. */
static int nested(const struct lw_schema *s, unsigned n, struct lw_buf *out)
{
	struct lw_buf json;
	lw_buf_init(&json, 1 << 20);
	for (unsigned i = 0; i < n; i++)
		lw_buf_append_str(&json, "{\"a\":");
	lw_buf_append_str(&json, "1");
	for (unsigned i = 0; i < n; i++)
		lw_buf_append_u8(&json, '}');
	int rc = transcode(s, "google.protobuf.Struct", lw_buf_str(&json), LW_PBJSON_GW, out, NULL);
	if (rc == 0)
		assert_string_equal(lw_buf_str(out), lw_buf_str(&json));
	lw_buf_deinit(&json);
	return rc;
}

static void test_depth(void **state)
{
	struct lw_buf out;
	assert_int_equal(nested(*state, LW_PBJSON_MAX_DEPTH, &out), 0);
	lw_buf_deinit(&out);
	assert_int_equal(nested(*state, LW_PBJSON_MAX_DEPTH + 1, &out), LW_ELIMIT);
	lw_buf_deinit(&out);
	assert_int_equal(nested(*state, 100000, &out), LW_ELIMIT);
	lw_buf_deinit(&out);
}

static void test_memory_limit(void **state)
{
	struct lw_arena arena;
	ProtobufCMessage *m;
	struct lw_diag diag = {0};
	size_t refused = 0;
	int rc = LW_ENOMEM;
	for (size_t max = 0; rc == LW_ENOMEM; max += 64) {
		lw_arena_init(&arena, NULL, 0, max);
		ProtobufCAllocator allocator = lw_pb_arena_allocator(&arena);
		rc = lw_pbjson_decode(*state, &integration__uplink_event__descriptor, lw_span_str(goldens[0].json),
				      &allocator, &m, &diag);
		refused += rc == LW_ENOMEM && m == NULL;
		lw_arena_deinit(&arena);
	}
	assert_int_equal(rc, 0);
	assert_in_range(refused, 16, 256);
}

/* What C code builds by hand, with members that no JSON could have produced. */
static void test_encode_odd_messages(void **state)
{
	const struct lw_schema *s = *state;
	struct lw_buf out;
	lw_buf_init(&out, 4096);

	Gw__DownlinkTxAckItem item = GW__DOWNLINK_TX_ACK_ITEM__INIT;
	item.status = (Gw__TxAckStatus)77; /* a newer peer's */
	assert_int_equal(lw_pbjson_encode(s, &item.base, LW_PBJSON_GW, &out), 0);
	assert_string_equal(lw_buf_str(&out), "{\"status\":77}");

	lw_buf_reset(&out);
	Gw__ConnState conn = GW__CONN_STATE__INIT;
	conn.gateway_id = (char[]){"a\xff\xc3\xa9\x7f"};
	assert_int_equal(lw_pbjson_encode(s, &conn.base, LW_PBJSON_GW, &out), 0);
	assert_string_equal(lw_buf_str(&out), "{\"gatewayId\":\"a\xef\xbf\xbd\xc3\xa9\x7f\"}");

	lw_buf_reset(&out);
	Google__Protobuf__Value null = GOOGLE__PROTOBUF__VALUE__INIT;
	assert_int_equal(lw_pbjson_encode(s, &null.base, LW_PBJSON_REST, &out), 0);
	assert_string_equal(lw_buf_str(&out), "null");
	lw_buf_deinit(&out);

	struct lw_buf small;
	lw_buf_init(&small, 10);
	assert_int_equal(lw_pbjson_encode(s, &conn.base, LW_PBJSON_GW, &small), LW_EBIG);
	lw_buf_deinit(&small);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goldens),
		cmocka_unit_test(test_goldens_over_the_wire),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_gateway_profile),
		cmocka_unit_test(test_rest_profile),
		cmocka_unit_test(test_struct),
		cmocka_unit_test(test_tolerated_input),
		cmocka_unit_test(test_refused_input),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_memory_limit),
		cmocka_unit_test(test_encode_odd_messages),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
