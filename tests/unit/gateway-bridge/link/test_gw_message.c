/* Facts: contracts/gw.md; the first and third PUSH_DATA and the first downlink of tests/vectors/bridge-udp.json. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/hex.h"
#include "gateway-bridge/link/gw_message.h"

#define LORA                                                                                                           \
	"\"tmst\":439041101,\"chan\":1,\"rfch\":1,\"freq\":868.3,\"stat\":1,\"modu\":\"LORA\",\"datr\":\"SF9BW125\","  \
	"\"codr\":\"4/5\",\"rssi\":-97,\"lsnr\":4.5,\"size\":14,\"data\":\"QKTzAQGAKQACpZYRKEE=\""

static const struct gb_position nowhere;
static const struct gb_marshaler protobuf;

static void expect(const char *element, size_t antenna, uint16_t token, const char *hex)
{
	static struct semtech_rxpk rx;
	struct gb_uplink_message m;
	struct lw_buf out;
	char text[1024];
	assert_int_equal(semtech_rxpk_parse(lw_span_str(element), &rx), 0);
	gb_uplink_message_init(&m, &rx, antenna, "0016c001f1500812", token, &nowhere);
	lw_buf_init(&out, 500);
	assert_int_equal(gb_marshal(&protobuf, &m.frame.base, &out), 0);
	assert_string_equal(lw_hex_encode(out.p, out.n, text), hex);
	lw_buf_deinit(&out);
}

static void test_uplinks(void **state)
{
	(void)state;
	expect("{" LORA "}", 0, 0x0110,
	       "0a0e40a4f3010180290002a596112841221208e0e9849e03120a1a0808c8d007100928012a320a1030303136633030316631353"
	       "0"
	       "3038313210"
	       "9002309fffffffffffffffff013d00009040400148016a041a2b3c4d800102");
	expect("{" LORA ",\"time\":\"2024-05-01T12:00:00.251307Z\",\"tmms\":1398600018251}", 0, 0x0210,
	       "0a0e40a4f3010180290002a596112841221208e0e9849e03120a1a0808c8d007100928012a4c0a1030303136633030316631353"
	       "0"
	       "303831321090041a0b08c0ddc8b10610f8c7ea77220b08d2e2f39a0510c0e9d777309fffffffffffffffff013d0000904040014"
	       "8"
	       "016a041a2b3c4d800102");
	/* One antenna of two. */
	expect("{\"tmst\":439041101,\"rfch\":1,\"freq\":868.3,\"stat\":1,\"modu\":\"LORA\",\"datr\":\"SF9BW125\","
	       "\"codr\":\"4/"
	       "5\",\"data\":\"QKTzAQGAKQACpZYRKEE=\",\"rsig\":[{\"ant\":0,\"chan\":7,\"rssic\":-104,\"lsnr\":9.2},"
	       "{\"ant\":1,\"chan\":23,\"rssic\":-109,\"lsnr\":-1.5}]}",
	       1, 0x1310,
	       "0a0e40a4f3010180290002a596112841221208e0e9849e03120a1a0808c8d007100928012a340a1030303136633030316631353"
	       "0"
	       "3038313210902630"
	       "93ffffffffffffffff013d0000c0bf4017480158016a041a2b3c4d800102");
}

/* Two gateways that heard the same frame must describe the transmission in the same bytes. */
static void test_tx_info_is_the_same_for_all(void **state)
{
	(void)state;
	static struct semtech_rxpk a, b;
	struct gb_uplink_message ma, mb;
	uint8_t pa[256], pb[256];
	assert_int_equal(semtech_rxpk_parse(lw_span_str("{" LORA "}"), &a), 0);
	assert_int_equal(semtech_rxpk_parse(lw_span_str("{\"data\":\"QKTzAQGAKQACpZYRKEE\",\"datr\":\"SF9BW125\","
							"\"codr\":\"4/5\",\"freq\":868.300000,"
							"\"stat\":1,\"modu\":\"LORA\",\"rssi\":-12,\"lsnr\":-3,"
							"\"tmst\":5,\"brd\":1,\"meta\":{\"a\":\"b\"}}"),
					    &b),
			 0);
	gb_uplink_message_init(&ma, &a, 0, "0016c001f1500812", 1, &nowhere);
	gb_uplink_message_init(&mb, &b, 0, "0000000000000002", 2, &nowhere);
	size_t na = gw__uplink_tx_info__pack(&ma.tx, pa), nb = gw__uplink_tx_info__pack(&mb.tx, pb);
	assert_int_equal(na, nb);
	assert_memory_equal(pa, pb, na);
}

struct downlink {
	Gw__DownlinkFrameItem item;
	Gw__DownlinkTxInfo info;
	Gw__Modulation modulation;
	Gw__LoraModulationInfo lora;
	Gw__FskModulationInfo fsk;
	Gw__LrFhssModulationInfo lr_fhss;
	Gw__Timing timing;
	Gw__ImmediatelyTimingInfo at_once;
	Gw__DelayTimingInfo delay;
	Gw__GPSEpochTimingInfo gps;
	Google__Protobuf__Duration duration;
	uint8_t phy[256];
	uint8_t context[12];
};

static void make(struct downlink *d)
{
	gw__downlink_frame_item__init(&d->item);
	gw__downlink_tx_info__init(&d->info);
	gw__modulation__init(&d->modulation);
	gw__lora_modulation_info__init(&d->lora);
	gw__fsk_modulation_info__init(&d->fsk);
	gw__lr_fhss_modulation_info__init(&d->lr_fhss);
	gw__timing__init(&d->timing);
	gw__immediately_timing_info__init(&d->at_once);
	gw__delay_timing_info__init(&d->delay);
	gw__gpsepoch_timing_info__init(&d->gps);
	google__protobuf__duration__init(&d->duration);
	d->item.phy_payload = (ProtobufCBinaryData){.len = 12, .data = d->phy};
	d->item.tx_info = &d->info;
	d->info.frequency = 868300000;
	d->info.power = -2;
	d->info.modulation = &d->modulation;
	d->modulation.parameters_case = GW__MODULATION__PARAMETERS_LORA;
	d->modulation.lora = &d->lora;
	d->lora.bandwidth = 125000;
	d->lora.spreading_factor = 9;
	d->lora.code_rate = GW__CODE_RATE__CR_4_5;
	d->lora.polarization_inversion = true;
	d->info.timing = &d->timing;
	d->timing.parameters_case = GW__TIMING__PARAMETERS_DELAY;
	d->timing.delay = &d->delay;
	d->delay.delay = &d->duration;
	d->duration.seconds = 1;
	lw_put_be32(d->context, 0xffffffc0);
	d->info.context = (ProtobufCBinaryData){.len = 4, .data = d->context};
}

static void test_downlink(void **state)
{
	(void)state;
	static struct downlink d;
	struct semtech_txpk tx;
	make(&d);
	assert_int_equal(gb_downlink_item(&d.item, &tx), 0);
	assert_int_equal(tx.timing, SEMTECH_AT_TMST);
	assert_int_equal(tx.tmst_us, 1000000 - 64); /* the counter has wrapped */
	assert_int_equal(tx.power_dbm, -2);
	assert_true(tx.invert_polarity);
	d.duration.nanos = 500000000;
	d.info.context.len = 12;
	assert_int_equal(gb_downlink_item(&d.item, &tx), 0);
	assert_int_equal(tx.tmst_us, 1500000 - 64);

	d.timing.parameters_case = GW__TIMING__PARAMETERS_GPS_EPOCH;
	d.timing.gps_epoch = &d.gps;
	d.gps.time_since_gps_epoch = &d.duration;
	d.duration.seconds = 1398600018;
	d.duration.nanos = 251000000;
	d.info.context.len = 0;
	assert_int_equal(gb_downlink_item(&d.item, &tx), 0);
	assert_int_equal(tx.timing, SEMTECH_AT_GPS);
	assert_true(tx.tmms == UINT64_C(1398600018251));

	d.timing.parameters_case = GW__TIMING__PARAMETERS_IMMEDIATELY;
	d.timing.immediately = &d.at_once;
	d.modulation.parameters_case = GW__MODULATION__PARAMETERS_FSK;
	d.modulation.fsk = &d.fsk;
	d.fsk.datarate = 50000;
	d.fsk.frequency_deviation = 25000;
	assert_int_equal(gb_downlink_item(&d.item, &tx), 0);
	assert_int_equal(tx.timing, SEMTECH_AT_ONCE);
	assert_int_equal(tx.rate.bitrate, 50000);
	assert_int_equal(tx.fdev_hz, 25000);
}

static void test_downlink_refused(void **state)
{
	(void)state;
	static struct downlink d;
	struct semtech_txpk tx;
#define REFUSED(change, want)                                                                                          \
	do {                                                                                                           \
		make(&d);                                                                                              \
		change;                                                                                                \
		assert_int_equal(gb_downlink_item(&d.item, &tx), want);                                                \
	} while (0)
	REFUSED(d.item.tx_info = NULL, LW_EINVAL);
	REFUSED(d.item.phy_payload.len = 0, LW_EINVAL);
	REFUSED(d.item.phy_payload.len = 256, LW_EBIG);
	REFUSED(d.info.frequency = 0, LW_EINVAL);
	REFUSED(d.info.context.len = 0, LW_EINVAL);
	REFUSED(d.info.context.len = 3, LW_EINVAL);
	REFUSED(d.info.timing = NULL, LW_EINVAL);
	REFUSED(d.timing.parameters_case = GW__TIMING__PARAMETERS__NOT_SET, LW_EINVAL);
	REFUSED(d.duration.seconds = -1, LW_EINVAL);
	REFUSED(d.info.modulation = NULL, LW_EINVAL);
	REFUSED(d.modulation.parameters_case = GW__MODULATION__PARAMETERS__NOT_SET, LW_EUNSUPPORTED);
	REFUSED((d.modulation.parameters_case = GW__MODULATION__PARAMETERS_LR_FHSS, d.modulation.lr_fhss = &d.lr_fhss),
		LW_EUNSUPPORTED);
	REFUSED(d.lora.spreading_factor = 13, LW_EINVAL);
	REFUSED(d.lora.bandwidth = 0, LW_EINVAL);
}

static void test_statistics(void **state)
{
	(void)state;
	struct lw_arena arena;
	struct gb_counters c = {.n_rx = 5, .n_tx = 2};
	struct semtech_stat stat = {.has_rxnb = true, .rxnb = 10, .dwnb = 4};
	const struct gb_static_meta meta[] = {{"a", "1"}, {"b", "2"}};
	lw_arena_init(&arena, NULL, 0, 65536);
	const Gw__GatewayStats *m = gb_stats_message(&arena, &stat, &c, "0016c001f1500812", meta, 2);
	assert_non_null(m);
	assert_string_equal(m->gateway_id, "0016c001f1500812");
	assert_null(m->time);
	assert_null(m->location);
	assert_int_equal(m->rx_packets_received, 10);
	assert_int_equal(m->rx_packets_received_ok, 5); /* not said: what the bridge has counted */
	assert_int_equal(m->tx_packets_received, 4);
	assert_int_equal(m->tx_packets_emitted, 2);
	assert_int_equal(m->n_metadata, 2);
	/* An entry of the gateway gives way to the operator's. */
	memcpy(stat.meta.text, "b\0x\0c\0y", 8);
	stat.meta.n = 2;
	stat.meta.v[0].key = 0;
	stat.meta.v[0].value = 2;
	stat.meta.v[1].key = 4;
	stat.meta.v[1].value = 6;
	m = gb_stats_message(&arena, &stat, &c, "0016c001f1500812", meta, 2);
	assert_int_equal(m->n_metadata, 3);
	assert_string_equal(m->metadata[0]->key, "b");
	assert_string_equal(m->metadata[0]->value, "2");
	lw_arena_deinit(&arena);
	/* No room is an answer, not a crash. */
	lw_arena_init(&arena, NULL, 0, 64);
	assert_null(gb_stats_message(&arena, &stat, &c, "0016c001f1500812", meta, 2));
	lw_arena_deinit(&arena);
}

static void test_statuses(void **state)
{
	(void)state;
	assert_int_equal(gb_tx_status(SEMTECH_TX_OK), GW__TX_ACK_STATUS__OK);
	assert_int_equal(gb_tx_status(SEMTECH_TX_GPS_UNLOCKED), GW__TX_ACK_STATUS__GPS_UNLOCKED);
	assert_int_equal(gb_tx_status(SEMTECH_TX_OTHER), GW__TX_ACK_STATUS__INTERNAL_ERROR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uplinks),    cmocka_unit_test(test_tx_info_is_the_same_for_all),
		cmocka_unit_test(test_downlink),   cmocka_unit_test(test_downlink_refused),
		cmocka_unit_test(test_statistics), cmocka_unit_test(test_statuses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
