/* Facts: contracts/udp.md; the examples of its §7. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/hex.h"
#include "gateway-bridge/wire/semtech_udp.h"

#define LORA                                                                                                           \
	"\"tmst\":439041101,\"chan\":1,\"rfch\":1,\"freq\":868.3,\"stat\":1,\"modu\":\"LORA\",\"datr\":\"SF9BW125\","  \
	"\"codr\":\"4/5\",\"rssi\":-97,\"lsnr\":4.5,\"size\":14,\"data\":\"QKTzAQGAKQACpZYRKEE=\""

static struct semtech_rxpk rx;

static int parse(const char *element)
{
	return semtech_rxpk_parse(lw_span_str(element), &rx);
}

static int parse_hex(const char *text, struct semtech_datagram *out, uint8_t room[64])
{
	int n = lw_hex_decode(text, strlen(text), room, 64);
	assert_true(n >= 0);
	return semtech_datagram_parse(lw_span(room, (size_t)n), out);
}

static void test_datagrams(void **state)
{
	(void)state;
	struct semtech_datagram d;
	uint8_t room[64], ack[4];
	assert_int_equal(parse_hex("023a7f000016c001f15008127b7d", &d, room), 0);
	assert_int_equal(d.version, 2);
	assert_int_equal(d.type, SEMTECH_PUSH_DATA);
	assert_int_equal(d.token, 0x7f3a);
	assert_true(lw_gateway_id_u64(d.gateway) == UINT64_C(0x0016c001f1500812));
	assert_true(lw_span_eq_str(d.json, "{}"));
	semtech_ack_encode(&d, ack);
	assert_memory_equal(ack, "\x02\x3a\x7f\x01", 4);

	assert_int_equal(parse_hex("013a7f020016c001f1500812", &d, room), 0);
	semtech_ack_encode(&d, ack);
	assert_memory_equal(ack, "\x01\x3a\x7f\x04", 4);

	assert_int_equal(parse_hex("021b2c050016c001f1500812", &d, room), 0);
	assert_int_equal(d.type, SEMTECH_TX_ACK);
	assert_int_equal(d.json.n, 0);

	assert_int_equal(parse_hex("", &d, room), LW_ETRUNC);
	assert_int_equal(parse_hex("023a7f", &d, room), LW_ETRUNC);
	assert_int_equal(parse_hex("0200010000", &d, room), LW_ETRUNC);
	assert_int_equal(parse_hex("033a7f000016c001f15008127b7d", &d, room), LW_EUNSUPPORTED);
	assert_int_equal(parse_hex("003a7f000016c001f15008127b7d", &d, room), LW_EUNSUPPORTED);
	assert_int_equal(parse_hex("023a7f090016c001f1500812", &d, room), LW_EPROTO);
	assert_int_equal(parse_hex("023a7f010016c001f1500812", &d, room), LW_EPROTO);
	assert_int_equal(parse_hex("023a7f020016c001f150081200", &d, room), LW_EBIG);
}

static void test_lora(void **state)
{
	(void)state;
	assert_int_equal(parse("{" LORA ",\"jver\":1,\"mid\":8,\"rssis\":-98,\"foff\":-312}"), 0);
	assert_true(rx.has_tmst);
	assert_int_equal(rx.tmst_us, 439041101);
	assert_false(rx.has_time);
	assert_false(rx.has_tmms);
	assert_int_equal(rx.freq_hz, 868300000);
	assert_int_equal(rx.crc, SEMTECH_CRC_OK);
	assert_int_equal(rx.rate.modulation, SEMTECH_LORA);
	assert_int_equal(rx.rate.spreading_factor, 9);
	assert_int_equal(rx.rate.bandwidth_hz, 125000);
	assert_int_equal(rx.rate.code_rate, SEMTECH_CR_4_5);
	assert_int_equal(rx.rf_chain, 1);
	assert_int_equal(rx.n_antennas, 1);
	assert_int_equal(rx.antenna[0].channel, 1);
	assert_int_equal(rx.antenna[0].rssi_dbm, -97);
	assert_true(rx.antenna[0].snr_db == 4.5f);
	assert_int_equal(rx.phy_n, 14);
	assert_memory_equal(rx.phy, "\x40\xa4\xf3\x01\x01\x80\x29\x00\x02\xa5\x96\x11\x28\x41", 14);
	assert_int_equal(rx.lost, 0);
}

static void test_times(void **state)
{
	(void)state;
	assert_int_equal(
		parse("{" LORA ",\"time\":\"2024-05-01T12:00:00.251307Z\",\"tmms\":1398600018251,\"ftime\":251307123}"),
		0);
	assert_true(rx.has_time && rx.has_tmms && rx.antenna[0].has_ftime);
	assert_true(rx.time_ns == INT64_C(1714564800251307000));
	assert_true(rx.tmms == UINT64_C(1398600018251));
	assert_int_equal(rx.antenna[0].ftime_ns, 251307123);
	/* Forms seen in the field; what cannot be read loses only the time. */
	assert_int_equal(parse("{" LORA ",\"time\":\"2024-05-01 12:00:00 GMT\"}"), 0);
	assert_true(rx.has_time && rx.time_ns == INT64_C(1714564800000000000));
	assert_int_equal(parse("{" LORA ",\"time\":\"yesterday\",\"tmms\":-1,\"ftime\":1000000000}"), 0);
	assert_false(rx.has_time || rx.has_tmms || rx.antenna[0].has_ftime);
	assert_int_equal(parse("{" LORA ",\"time\":\"\"}"), 0);
	assert_false(rx.has_time);
}

static void test_code_rates(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum semtech_code_rate want;
	} v[] = {{"4/5", SEMTECH_CR_4_5},      {"4/6", SEMTECH_CR_4_6},      {"4/7", SEMTECH_CR_4_7},
		 {"4/8", SEMTECH_CR_4_8},      {"3/8", SEMTECH_CR_3_8},      {"2/6", SEMTECH_CR_2_6},
		 {"1/3", SEMTECH_CR_2_6},      {"2/3", SEMTECH_CR_4_6},      {"1/2", SEMTECH_CR_4_8},
		 {"4/5LI", SEMTECH_CR_LI_4_5}, {"4/8LI", SEMTECH_CR_LI_4_8}, {"OFF", SEMTECH_CR_NONE},
		 {"", SEMTECH_CR_NONE},        {"4\\/5", SEMTECH_CR_4_5}};
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		char text[512];
		snprintf(text, sizeof(text),
			 "{\"freq\":868.3,\"stat\":1,\"modu\":\"LORA\",\"datr\":\"SF9BW125\",\"codr\":\"%s\",\"data\":"
			 "\"AAAA\"}",
			 v[i].text);
		assert_int_equal(parse(text), 0);
		assert_int_equal(rx.rate.code_rate, v[i].want);
		assert_false(rx.has_tmst);
	}
	assert_int_equal(parse("{\"freq\":868.3,\"stat\":1,\"modu\":\"LORA\",\"datr\":\"SF9BW125\",\"data\":\"AAAA\"}"),
			 0);
	assert_int_equal(rx.rate.code_rate, SEMTECH_CR_NONE);
}

static void test_data_rates(void **state)
{
	(void)state;
	char text[512];
	static const struct {
		const char *datr;
		int sf;
		uint32_t bw;
	} good[] = {{"SF5BW125", 5, 125000}, {"SF12BW500", 12, 500000}, {"SF7BW250", 7, 250000},
		    {"SF8BW203", 8, 203000}, {"SF12BW812", 12, 812000}, {"SF7BW1625", 7, 1625000}};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		snprintf(text, sizeof(text), "{\"freq\":868.3,\"modu\":\"LORA\",\"datr\":\"%s\",\"data\":\"AAAA\"}",
			 good[i].datr);
		assert_int_equal(parse(text), 0);
		assert_int_equal(rx.rate.spreading_factor, good[i].sf);
		assert_int_equal(rx.rate.bandwidth_hz, good[i].bw);
	}
	static const char *const bad[] = {"\"SFxBW125\"",
					  "\"SF9\"",
					  "\"SF9BW\"",
					  "\"SF4BW125\"",
					  "\"SF13BW125\"",
					  "\"SF9BW125x\"",
					  "\"sf9bw125\"",
					  "\"\"",
					  "50000",
					  "null",
					  "[]",
					  "\"SF9BW0\"",
					  "\"SF99999999999BW125\""};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "{\"freq\":868.3,\"modu\":\"LORA\",\"datr\":%s,\"data\":\"AAAA\"}",
			 bad[i]);
		assert_int_equal(parse(text), LW_EINVAL);
	}
}

static void test_fsk_and_lr_fhss(void **state)
{
	(void)state;
	assert_int_equal(parse("{\"tmst\":1,\"freq\":868.8,\"stat\":1,\"modu\":\"FSK\",\"datr\":50000,\"rssi\":-75,"
			       "\"data\":\"AAAA\"}"),
			 0);
	assert_int_equal(rx.rate.modulation, SEMTECH_FSK);
	assert_int_equal(rx.rate.bitrate, 50000);
	assert_true(rx.antenna[0].snr_db == 0);
	assert_int_equal(parse("{\"freq\":868.3,\"modu\":\"FSK\",\"datr\":\"SF9BW125\",\"data\":\"AAAA\"}"), LW_EINVAL);
	assert_int_equal(parse("{\"freq\":868.3,\"modu\":\"FSK\",\"datr\":0,\"data\":\"AAAA\"}"), LW_EINVAL);

	assert_int_equal(parse("{\"freq\":868.3,\"modu\":\"LR-FHSS\",\"datr\":\"M0CW137\",\"codr\":\"1/"
			       "3\",\"hpw\":52,\"data\":\"AAAA\"}"),
			 0);
	assert_int_equal(rx.rate.modulation, SEMTECH_LR_FHSS);
	assert_int_equal(rx.rate.channel_width_hz, 137000);
	assert_int_equal(rx.rate.code_rate, SEMTECH_CR_2_6);
	assert_int_equal(rx.rate.grid_steps, 52);
	assert_int_equal(parse("{\"freq\":868.3,\"modu\":\"LR-FHSS\",\"datr\":\"M0\",\"data\":\"AAAA\"}"), LW_EINVAL);

	assert_int_equal(parse("{\"freq\":868.3,\"modu\":\"OOK\",\"datr\":\"SF9BW125\",\"data\":\"AAAA\"}"),
			 LW_EUNSUPPORTED);
	/* Without modu the data rate says it. */
	assert_int_equal(parse("{\"freq\":868.3,\"datr\":\"SF9BW125\",\"data\":\"AAAA\"}"), 0);
	assert_int_equal(rx.rate.modulation, SEMTECH_LORA);
	assert_int_equal(parse("{\"freq\":868.3,\"datr\":50000,\"data\":\"AAAA\"}"), 0);
	assert_int_equal(rx.rate.modulation, SEMTECH_FSK);
}

static void test_antennas(void **state)
{
	(void)state;
	assert_int_equal(parse("{\"tmst\":1,\"freq\":868.3,\"stat\":1,\"modu\":\"LORA\",\"datr\":\"SF9BW125\",\"codr\":"
			       "\"4/5\",\"data\":\"AAAA\","
			       "\"rsig\":[{\"ant\":0,\"chan\":7,\"rssic\":-104,\"lsnr\":9.2,\"etime\":"
			       "\"42QMzOlYSSPMMeqVPrY0fQ==\",\"foff\":-24},"
			       "{\"ant\":\"x\",\"rssic\":-1}, 5,"
			       "{\"ant\":1,\"chan\":23,\"rssic\":-109,\"rssis\":-110,\"rssisd\":1,\"lsnr\":-1.5,"
			       "\"ftime\":251307000}]}"),
			 0);
	assert_int_equal(rx.n_antennas, 2);
	assert_int_equal(rx.lost, 2);
	assert_int_equal(rx.antenna[0].antenna, 0);
	assert_int_equal(rx.antenna[0].channel, 7);
	assert_int_equal(rx.antenna[0].rssi_dbm, -104);
	assert_true(rx.antenna[0].snr_db == 9.2f);
	assert_false(rx.antenna[0].has_ftime);
	assert_string_equal(rx.antenna[0].etime, "42QMzOlYSSPMMeqVPrY0fQ==");
	assert_string_equal(rx.antenna[1].etime, "");
	assert_false(rx.has_aesk);
	assert_int_equal(rx.antenna[1].antenna, 1);
	assert_int_equal(rx.antenna[1].channel, 23);
	assert_true(rx.antenna[1].snr_db == -1.5f);
	assert_int_equal(rx.antenna[1].ftime_ns, 251307000);
	/* An empty or wrong rsig leaves what the element itself says. */
	assert_int_equal(parse("{" LORA ",\"rsig\":[]}"), 0);
	assert_int_equal(rx.n_antennas, 1);
	assert_int_equal(rx.antenna[0].rssi_dbm, -97);
	assert_int_equal(parse("{" LORA ",\"rsig\":{}}"), 0);
	assert_int_equal(rx.n_antennas, 1);
	assert_int_equal(rx.lost, 1);
}

/* What is no encrypted timestamp is not passed on as one. */
static void test_encrypted_time(void **state)
{
	static const char *const bad[] = {"\"\"", "5", "\"42QMzOlYSSPMMeqVPrY0\"", "\"42QMzOlYSSPMMeqVPrY0fQ==AAAA\"",
					  "\"42QMzOlYSSPMMeqVPrY0f?==\""};
	char text[300];
	(void)state;
	assert_int_equal(
		parse("{" LORA ",\"aesk\":3,\"rsig\":[{\"rssic\":-1,\"etime\":\"42QMzOlYSSPMMeqVPrY0fQ==\"}]}"), 0);
	assert_true(rx.has_aesk);
	assert_int_equal(rx.aesk, 3);
	assert_string_equal(rx.antenna[0].etime, "42QMzOlYSSPMMeqVPrY0fQ==");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "{" LORA ",\"rsig\":[{\"rssic\":-1,\"etime\":%s}]}", bad[i]);
		assert_int_equal(parse(text), 0);
		assert_int_equal(rx.n_antennas, 1);
		assert_string_equal(rx.antenna[0].etime, "");
		assert_false(rx.has_aesk);
	}
}

static void test_many_antennas(void **state)
{
	(void)state;
	char text[2048] = "{" LORA ",\"rsig\":[";
	for (int i = 0; i < SEMTECH_MAX_ANTENNAS + 3; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s{\"ant\":%d,\"rssic\":-1}", i ? "," : "",
			 i);
	strcat(text, "]}");
	assert_int_equal(parse(text), 0);
	assert_int_equal(rx.n_antennas, SEMTECH_MAX_ANTENNAS);
	assert_int_equal(rx.lost, 3);
}

static void test_meta(void **state)
{
	(void)state;
	assert_int_equal(
		parse("{" LORA ",\"meta\":{\"gateway_name\":\"roof\",\"x\":\"\\u00e91\",\"n\":5,\"bad\":\"\xff\"}}"),
		0);
	assert_int_equal(rx.meta.n, 2);
	assert_int_equal(rx.lost, 2);
	assert_string_equal(&rx.meta.text[rx.meta.v[0].key], "gateway_name");
	assert_string_equal(&rx.meta.text[rx.meta.v[0].value], "roof");
	assert_string_equal(&rx.meta.text[rx.meta.v[1].key], "x");
	assert_string_equal(&rx.meta.text[rx.meta.v[1].value], "\xc3\xa9"
							       "1");
	assert_int_equal(parse("{" LORA ",\"meta\":null}"), 0);
	assert_int_equal(rx.lost, 0);
	assert_int_equal(parse("{" LORA ",\"meta\":[]}"), 0);
	assert_int_equal(rx.lost, 1);
	char text[4096] = "{" LORA ",\"meta\":{\"long\":\"";
	size_t n = strlen(text);
	memset(text + n, 'a', 2000);
	strcpy(text + n + 2000, "\",\"k\":\"v\"}}");
	assert_int_equal(parse(text), 0);
	assert_int_equal(rx.meta.n, 1);
	assert_int_equal(rx.lost, 1);
}

static void test_payload(void **state)
{
	(void)state;
	char text[1024], data[800];
	static const char *const bad[] = {"\"***\"", "\"\"", "null", "5", "\"A\""};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "{\"freq\":868.3,\"datr\":\"SF9BW125\",\"data\":%s}", bad[i]);
		assert_int_equal(parse(text), LW_EINVAL);
	}
	assert_int_equal(parse("{\"freq\":868.3,\"datr\":\"SF9BW125\",\"data\":\"QKTzAQGAKQACpZYRKEE\"}"), 0);
	assert_int_equal(rx.phy_n, 14);
	assert_int_equal(parse("{\"freq\":868.3,\"datr\":\"SF9BW125\",\"data\":\"\\/\\/8=\"}"), 0);
	assert_int_equal(rx.phy_n, 2);
	assert_memory_equal(rx.phy, "\xff\xff", 2);
	/* 255 bytes fit, one more does not. */
	memset(data, 'A', sizeof(data));
	snprintf(text, sizeof(text), "{\"freq\":868.3,\"datr\":\"SF9BW125\",\"data\":\"%.340s\"}", data);
	assert_int_equal(parse(text), 0);
	assert_int_equal(rx.phy_n, 255);
	snprintf(text, sizeof(text), "{\"freq\":868.3,\"datr\":\"SF9BW125\",\"data\":\"%.342s\"}", data);
	assert_int_equal(parse(text), LW_EBIG);
}

static void test_wrong_members(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"5",
		"[]",
		"null",
		"\"\"",
		"{}",
		"{\"tmst\":\"x\",\"freq\":868.3,\"datr\":\"SF9BW125\",\"data\":\"AAAA\"}",
		"{\"tmst\":4294967296,\"freq\":868.3,\"datr\":\"SF9BW125\",\"data\":\"AAAA\"}",
		"{\"datr\":\"SF9BW125\",\"data\":\"AAAA\"}",
		"{\"freq\":\"868.3\",\"datr\":\"SF9BW125\",\"data\":\"AAAA\"}",
		"{\"freq\":-1,\"datr\":\"SF9BW125\",\"data\":\"AAAA\"}",
		"{\"freq\":4295,\"datr\":\"SF9BW125\",\"data\":\"AAAA\"}",
		"{\"freq\":868.3,\"stat\":2,\"datr\":\"SF9BW125\",\"data\":\"AAAA\"}",
		"{\"freq\":868.3,\"modu\":5,\"datr\":\"SF9BW125\",\"data\":\"AAAA\"}",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse(bad[i]) != LW_EINVAL)
			fail_msg("accepted: %s", bad[i]);
	}
	/* Members that are not essential cost only themselves. */
	assert_int_equal(
		parse("{\"tmst\":7,\"chan\":\"a\",\"rfch\":null,\"rssi\":{},\"lsnr\":\"x\",\"brd\":-1,\"freq\":868.3,"
		      "\"stat\":1,\"datr\":\"SF9BW125\",\"data\":\"AAAA\"}"),
		0);
	assert_int_equal(rx.antenna[0].channel, 0);
	assert_int_equal(rx.antenna[0].rssi_dbm, 0);
	/* Some forwarders give a fraction here. */
	assert_int_equal(parse("{\"rssi\":-97.4,\"freq\":868.3,\"datr\":\"SF9BW125\",\"data\":\"AAAA\"}"), 0);
	assert_int_equal(rx.antenna[0].rssi_dbm, -97);
}

static size_t elements(const char *json, bool *broken)
{
	struct semtech_push p;
	struct lw_span e;
	size_t n = 0;
	int err = semtech_push_open(lw_span_str(json), &p);
	*broken = err < 0 || p.broken;
	if (err < 0)
		return 999;
	while (semtech_push_element(&p, &e))
		n++;
	return n;
}

static void test_push(void **state)
{
	(void)state;
	bool broken;
	assert_int_equal(elements("{}", &broken), 0);
	assert_false(broken);
	assert_int_equal(elements("{\"rxpk\":[]}", &broken), 0);
	assert_int_equal(elements("{\"yyy\":{},\"rxpk\":[{\"a\":1},5, {}],\"z\":[1]}", &broken), 3);
	assert_false(broken);
	assert_int_equal(elements("{\"rxpk\":{}}", &broken), 0);
	assert_false(broken);
	/* A text that was cut: the elements before the cut are there. */
	assert_int_equal(elements("{\"rxpk\":[{\"a\":1},{\"b\":", &broken), 1);
	assert_true(broken);
	assert_int_equal(elements("{\"rxpk\":[{\"a\":1}]", &broken), 1);
	assert_true(broken);
	assert_int_equal(elements("{\"rxpk\":[{\"a\":", &broken), 999);
	assert_int_equal(elements("{not json", &broken), 999);
	assert_int_equal(elements("", &broken), 999);
	assert_int_equal(elements("[]", &broken), 999);
	assert_int_equal(elements("{} x", &broken), 999);
	struct semtech_push p;
	assert_int_equal(semtech_push_open(lw_span("{}\0", 3), &p), 0);
	assert_false(p.broken);
	/* The last "rxpk" counts, and a value that is none hides those before it. */
	assert_int_equal(elements("{\"rxpk\":[1,2,3],\"rxpk\":[4]}", &broken), 1);
	assert_int_equal(elements("{\"rxpk\":[1,2,3],\"rxpk\":null}", &broken), 0);
}

/* More than are remembered: the others are found by reading on, in order, and also before a cut. */
static void test_many_elements(void **state)
{
	(void)state;
	static const char *const ends[] = {"]}", "", ",", ",{\"a\":"};
	for (size_t many = 0; many <= 3 * SEMTECH_KNOWN_ELEMENTS; many++) {
		for (size_t end = many ? 0 : 3; end < 4; end++) {
			char json[1024] = "{\"rxpk\":[";
			struct semtech_push p;
			struct lw_span e;
			size_t n = strlen(json), found = 0;
			for (size_t i = 0; i < many; i++)
				n += (size_t)sprintf(json + n, "%s %zu ", i ? "," : "", i);
			strcpy(json + n, many ? ends[end] : "]}");
			assert_int_equal(semtech_push_open(lw_span_str(json), &p), 0);
			assert_int_equal(p.broken, many > 0 && end > 0);
			while (semtech_push_element(&p, &e)) {
				char text[8];
				sprintf(text, "%zu", found++);
				assert_true(lw_span_eq_str(e, text));
			}
			assert_int_equal(found, many);
		}
	}
}

static int parse_stat(const char *json, struct semtech_stat *out)
{
	struct semtech_push p;
	assert_int_equal(semtech_push_open(lw_span_str(json), &p), 0);
	return semtech_stat_parse(&p, out);
}

static void test_stat(void **state)
{
	(void)state;
	struct semtech_stat s;
	assert_int_equal(
		parse_stat("{\"stat\":{\"time\":\"2024-05-01 12:00:00 GMT\",\"lati\":52.2,\"long\":-4.9,\"alti\":145,"
			   "\"rxnb\":10,\"rxok\":8,\"rxfw\":7,\"ackr\":95.5,\"dwnb\":4,\"txnb\":3,\"temp\":31.5,"
			   "\"pfrm\":\"IMST\",\"mail\":\"a@b.example\",\"meta\":{\"k\":\"v\"}}}",
			   &s),
		0);
	assert_true(s.has_time && s.time_ns == INT64_C(1714564800000000000));
	assert_true(s.has_position && s.latitude == 52.2 && s.longitude == -4.9 && s.altitude_m == 145);
	assert_int_equal(s.rxnb, 10);
	assert_int_equal(s.rxok, 8);
	assert_int_equal(s.rxfw, 7);
	assert_int_equal(s.dwnb, 4);
	assert_int_equal(s.txnb, 3);
	assert_true(s.has_ackr && s.ackr == 95.5);
	assert_true(s.has_temp && s.temp == 31.5);
	assert_int_equal(s.meta.n, 1);
	assert_int_equal(s.lost, 0);

	assert_int_equal(
		parse_stat("{\"stat\":{\"time\":\"2024-05-01T12:00:00Z\",\"lati\":0,\"long\":0,\"alti\":0}}", &s), 0);
	assert_true(s.has_time);
	assert_false(s.has_position);
	assert_int_equal(parse_stat("{\"stat\":{\"time\":5,\"lati\":91,\"rxnb\":-1,\"rxok\":\"8\",\"txnb\":2}}", &s),
			 0);
	assert_false(s.has_time || s.has_position || s.has_rxnb || s.has_rxok);
	assert_int_equal(s.txnb, 2);
	assert_int_equal(s.lost, 4);
	assert_int_equal(parse_stat("{\"stat\":[]}", &s), LW_EINVAL);
	assert_int_equal(parse_stat("{}", &s), LW_EINVAL);
}

static const struct semtech_txpk EXAMPLE = {
	.timing = SEMTECH_AT_TMST,
	.tmst_us = 440041101,
	.freq_hz = 868300000,
	.power_dbm = 14,
	.rate = {.modulation = SEMTECH_LORA,
		 .spreading_factor = 9,
		 .bandwidth_hz = 125000,
		 .code_rate = SEMTECH_CR_4_5},
	.invert_polarity = true,
	.phy = {(const uint8_t *)"\x60\xa4\xf3\x01\x01\xa0\x0c\x00\x0a\x56\x07\x10", 12},
};

static const char *encode(const struct semtech_txpk *tx)
{
	static char out[1000];
	int n = semtech_pull_resp_encode(2, 0x2c1b, tx, (uint8_t *)out, sizeof(out) - 1);
	assert_true(n > 4);
	assert_memory_equal(out, "\x02\x1b\x2c\x03", 4);
	out[n] = '\0';
	return out + 4;
}

static void test_pull_resp(void **state)
{
	(void)state;
	struct semtech_txpk tx = EXAMPLE;
	assert_string_equal(
		encode(&tx),
		"{\"txpk\":{\"imme\":false,\"tmst\":440041101,\"freq\":868.300000,\"rfch\":0,\"powe\":14,\"ant\":0,"
		"\"brd\":0,\"modu\":\"LORA\",\"datr\":\"SF9BW125\",\"codr\":\"4/5\",\"ipol\":true,\"size\":12,"
		"\"data\":\"YKTzAQGgDAAKVgcQ\"}}");
	tx.timing = SEMTECH_AT_ONCE;
	tx.power_dbm = -3;
	tx.antenna = 1;
	tx.board = 2;
	tx.rf_chain = 1;
	tx.preamble = 10;
	tx.no_crc = true;
	tx.implicit_header = true;
	tx.freq_hz = 868123400;
	tx.rate.code_rate = SEMTECH_CR_NONE;
	assert_string_equal(
		encode(&tx),
		"{\"txpk\":{\"imme\":true,\"freq\":868.123400,\"rfch\":1,\"powe\":-3,\"ant\":1,\"brd\":2,"
		"\"modu\":\"LORA\",\"datr\":\"SF9BW125\",\"codr\":\"4/5\",\"ipol\":true,\"prea\":10,\"ncrc\":true,"
		"\"nhdr\":true,\"size\":12,\"data\":\"YKTzAQGgDAAKVgcQ\"}}");
	tx = EXAMPLE;
	tx.timing = SEMTECH_AT_GPS;
	tx.tmms = UINT64_C(1398600018251);
	tx.rate = (struct semtech_data_rate){.modulation = SEMTECH_FSK, .bitrate = 50000};
	tx.fdev_hz = 25000;
	tx.invert_polarity = false;
	assert_string_equal(
		encode(&tx),
		"{\"txpk\":{\"imme\":false,\"tmms\":1398600018251,\"freq\":868.300000,\"rfch\":0,\"powe\":14,\"ant\":0,"
		"\"brd\":0,\"modu\":\"FSK\",\"datr\":50000,\"fdev\":25000,\"ipol\":false,\"size\":12,"
		"\"data\":\"YKTzAQGgDAAKVgcQ\"}}");
}

static void test_pull_resp_limits(void **state)
{
	(void)state;
	struct semtech_txpk tx = EXAMPLE;
	uint8_t out[SEMTECH_PULL_RESP_MAX], phy[256] = {0};
	/* Version 1 has no token. */
	assert_true(semtech_pull_resp_encode(1, 0x2c1b, &tx, out, sizeof(out)) > 0);
	assert_memory_equal(out, "\x01\x00\x00\x03", 4);
	tx.phy = lw_span(phy, 255);
	assert_true(semtech_pull_resp_encode(2, 1, &tx, out, sizeof(out)) > 0);
	tx.phy = lw_span(phy, 256);
	assert_int_equal(semtech_pull_resp_encode(2, 1, &tx, out, sizeof(out)), LW_EBIG);
	tx = EXAMPLE;
	assert_int_equal(semtech_pull_resp_encode(2, 1, &tx, out, 100), LW_EBIG);
	tx.rate.modulation = SEMTECH_LR_FHSS;
	assert_int_equal(semtech_pull_resp_encode(2, 1, &tx, out, sizeof(out)), LW_EUNSUPPORTED);
	tx = EXAMPLE;
	tx.rate.code_rate = (enum semtech_code_rate)77;
	assert_int_equal(semtech_pull_resp_encode(2, 1, &tx, out, sizeof(out)), LW_EUNSUPPORTED);
}

static enum semtech_tx_error answer(const char *json)
{
	struct semtech_tx_ack a;
	semtech_tx_ack_parse(lw_span_str(json), &a);
	return a.error;
}

static void test_tx_ack(void **state)
{
	(void)state;
	struct semtech_tx_ack a;
	static const struct {
		const char *json;
		enum semtech_tx_error want;
	} v[] = {
		{"", SEMTECH_TX_OK},
		{"{}", SEMTECH_TX_OK},
		{" ", SEMTECH_TX_OK},
		{"{\"txpk_ack\":{}}", SEMTECH_TX_OK},
		{"{\"txpk_ack\":{\"error\":\"NONE\"}}", SEMTECH_TX_OK},
		{"{\"txpk_ack\":{\"error\":\"\"}}", SEMTECH_TX_OK},
		{"{\"txpk_ack\":{\"error\":null}}", SEMTECH_TX_OK},
		{"{\"txpk_ack\":{\"error\":\"TOO_LATE\"}}", SEMTECH_TX_TOO_LATE},
		{"{\"txpk_ack\":{\"error\":\"TOO_EARLY\"}}", SEMTECH_TX_TOO_EARLY},
		{"{\"txpk_ack\":{\"error\":\"COLLISION_PACKET\"}}", SEMTECH_TX_COLLISION_PACKET},
		{"{\"txpk_ack\":{\"error\":\"COLLISION_BEACON\"}}", SEMTECH_TX_COLLISION_BEACON},
		{"{\"txpk_ack\":{\"error\":\"TX_FREQ\"}}", SEMTECH_TX_FREQ},
		{"{\"txpk_ack\":{\"error\":\"TX_POWER\"}}", SEMTECH_TX_POWER},
		{"{\"txpk_ack\":{\"error\":\"GPS_UNLOCKED\"}}", SEMTECH_TX_GPS_UNLOCKED},
		{"{\"txpk_ack\":{\"error\":\"QUEUE_FULL\"}}", SEMTECH_TX_QUEUE_FULL},
		{"{\"txpk_ack\":{\"error\":\"DUTY_CYCLE_OVERFLOW\"}}", SEMTECH_TX_DUTY_CYCLE_OVERFLOW},
		{"{\"txpk_ack\":{\"error\":\"UNKNOWN\"}}", SEMTECH_TX_OTHER},
		{"{\"txpk_ack\":{\"error\":\"WEIRD\"}}", SEMTECH_TX_OTHER},
		{"{\"txpk_ack\":{\"error\":5}}", SEMTECH_TX_OTHER},
		{"{\"txpk_ack\":", SEMTECH_TX_OTHER},
		{"garbage", SEMTECH_TX_OTHER},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		if (answer(v[i].json) != v[i].want)
			fail_msg("%s", v[i].json);
	}
	semtech_tx_ack_parse(lw_span("\0", 1), &a);
	assert_int_equal(a.error, SEMTECH_TX_OK);
	semtech_tx_ack_parse(lw_span_str("{\"txpk_ack\":{\"warn\":\"TX_POWER\",\"value\":14}}"), &a);
	assert_int_equal(a.error, SEMTECH_TX_OK);
	assert_true(a.warned);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_datagrams),
		cmocka_unit_test(test_lora),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_code_rates),
		cmocka_unit_test(test_data_rates),
		cmocka_unit_test(test_fsk_and_lr_fhss),
		cmocka_unit_test(test_antennas),
		cmocka_unit_test(test_encrypted_time),
		cmocka_unit_test(test_many_antennas),
		cmocka_unit_test(test_meta),
		cmocka_unit_test(test_payload),
		cmocka_unit_test(test_wrong_members),
		cmocka_unit_test(test_push),
		cmocka_unit_test(test_many_elements),
		cmocka_unit_test(test_stat),
		cmocka_unit_test(test_pull_resp),
		cmocka_unit_test(test_pull_resp_limits),
		cmocka_unit_test(test_tx_ack),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
