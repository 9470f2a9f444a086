/* Packets of MQTT: bytes of the specification, every cut, nonsense. */
#include "common/io/mqtt_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/hex.h"

static void expect(struct lw_buf *b, const char *hex)
{
	char have[1024] = "";
	for (size_t i = 0; i < b->n; i++)
		sprintf(have + 2 * i, "%02x", b->p[i]);
	assert_string_equal(have, hex);
	lw_buf_reset(b);
}

static void what_is_sent(void **state)
{
	(void)state;
	struct lw_buf b;
	lw_buf_init(&b, 1 << 20);
	struct mqtt_wire_connect c = {.v5 = true,
				      .keepalive_s = 30,
				      .client_id = "ab",
				      .username = "u",
				      .password = "pw",
				      .session_expiry_s = 0xffffffff,
				      .receive_maximum = 0xffff,
				      .max_packet = 0x10000,
				      .will_topic = "w",
				      .will = lw_span("gone", 4),
				      .will_qos = 1,
				      .will_retain = true};
	mqtt_wire_put_connect(&b, &c);
	expect(&b, "102d00044d51545405ec001e0d11ffffffff21ffff270001000000026162000001770004676f6e6500017500027077");
	c = (struct mqtt_wire_connect){.clean = true, .keepalive_s = 5, .client_id = "x"};
	mqtt_wire_put_connect(&b, &c);
	expect(&b, "100d00044d5154540402000500"
		   "0178");
	struct mqtt_wire_publish p = {.topic = lw_span_str("a/b"), .payload = lw_span("hi", 2), .qos = 1, .mid = 258};
	mqtt_wire_put_publish(&b, false, &p);
	expect(&b, "3209"
		   "0003612f62"
		   "0102"
		   "6869");
	p.retain = true;
	p.qos = 0;
	p.payload.n = 0;
	mqtt_wire_put_publish(&b, true, &p);
	expect(&b, "3106"
		   "0003612f62"
		   "00");
	p.again = true;
	mqtt_wire_put_publish(&b, true, &p);
	expect(&b, "311a"
		   "0003612f62"
		   "14"
		   "26000e6c6f6e67776176652d616761696e000131");
	assert_true(mqtt_wire_publish_size(&p) >= 0x1c);
	mqtt_wire_put_puback(&b, 0xfffe);
	expect(&b, "4002fffe");
	mqtt_wire_put_subscribe(&b, true, 1, "a/#", 1);
	expect(&b, "820900010000"
		   "03612f2301");
	mqtt_wire_put_unsubscribe(&b, false, 2, "a");
	expect(&b, "a2050002000161");
	mqtt_wire_put_pingreq(&b);
	mqtt_wire_put_disconnect(&b, false);
	mqtt_wire_put_disconnect(&b, true);
	expect(&b, "c000e000e00700051100000000");
	lw_buf_deinit(&b);
}

/* What was encoded is read back; cut anywhere it is "not whole yet", never wrong. */
static void publish_there_and_back(void **state)
{
	static const size_t sizes[] = {0, 1, 100, 127, 128, 16000, 16384, 2097152};
	(void)state;
	for (size_t i = 0; i < 8 * sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = sizes[i / 8];
		bool v5 = i & 1, again = v5 && (i & 4);
		uint8_t *payload = calloc(1, n + 1);
		struct lw_buf b;
		lw_buf_init(&b, 1 << 24);
		struct mqtt_wire_publish p = {.topic = lw_span_str("eu868/gateway/0016c001f1500812/event/up"),
					      .payload = lw_span(payload, n),
					      .qos = (i & 2) ? 1 : 0,
					      .retain = i & 4,
					      .again = again,
					      .mid = 777};
		mqtt_wire_put_publish(&b, v5, &p);
		assert_int_equal(b.err, 0);
		assert_true(b.n <= mqtt_wire_publish_size(&p));
		struct mqtt_packet k;
		assert_int_equal(mqtt_wire_next(lw_buf_span(&b), &k), 1);
		assert_int_equal(k.type, MQTT_PUBLISH);
		assert_int_equal(k.head + k.remaining, b.n);
		struct mqtt_wire_publish q;
		assert_int_equal(mqtt_wire_get_publish(k.body, k.flags, v5, &q), 0);
		assert_true(lw_span_eq(q.topic, p.topic) && lw_span_eq(q.payload, p.payload));
		assert_int_equal(q.qos, p.qos);
		assert_int_equal(q.retain, p.retain);
		assert_int_equal(q.again, again);
		if (q.qos)
			assert_int_equal(q.mid, 777);
		for (size_t cut = 0; cut < b.n && cut < 400; cut++)
			assert_int_equal(mqtt_wire_next(lw_span(b.p, cut), &k), 0);
		free(payload);
		lw_buf_deinit(&b);
	}
}

static struct lw_span bytes(const char *hex)
{
	static uint8_t room[256];
	int n = lw_hex_decode(hex, strlen(hex), room, sizeof(room));
	assert_true(n >= 0);
	return lw_span(room, (size_t)n);
}

static void what_the_broker_says(void **state)
{
	(void)state;
	struct mqtt_wire_connack c;
	assert_int_equal(mqtt_wire_get_connack(bytes("0100"), false, &c), 0);
	assert_true(c.session_present && c.reason == 0 && c.receive_maximum == 65535);
	assert_int_equal(mqtt_wire_get_connack(bytes("0000"
						     "13"
						     "210014"
						     "13003c"
						     "2701000000"
						     "2401"
						     "12000161"
						     "2500"),
					       true, &c),
			 0);
	assert_int_equal(mqtt_wire_get_connack(bytes("0000"
						     "0d"
						     "210014"
						     "13003c"
						     "2701000000"
						     "2401"),
					       true, &c),
			 0);
	assert_int_equal(c.receive_maximum, 20);
	assert_int_equal(c.keepalive_s, 60);
	assert_int_equal(c.max_packet, 0x1000000);
	assert_int_equal(c.max_qos, 1);
	/* an old server refuses a new client in the old form */
	assert_int_equal(mqtt_wire_get_connack(bytes("0001"), true, &c), 0);
	assert_int_equal(c.reason, 1);
	static const char *const bad[] = {"",
					  "00",
					  "0200",
					  "0000",
					  "0000"
					  "03"
					  "210000",
					  "0000"
					  "02"
					  "2100",
					  "0000"
					  "01"
					  "7f",
					  "0000"
					  "05"
					  "210014"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mqtt_wire_get_connack(bytes(bad[i]), true, &c), LW_EPROTO);
	uint16_t mid;
	uint8_t code;
	assert_int_equal(mqtt_wire_get_puback(bytes("0007"), &mid, &code), 0);
	assert_true(mid == 7 && code == 0);
	assert_int_equal(mqtt_wire_get_puback(bytes("000710"), &mid, &code), 0);
	assert_int_equal(code, MQTT_NO_MATCHING_SUBSCRIBERS);
	assert_int_equal(mqtt_wire_get_puback(bytes("0000"), &mid, &code), LW_EPROTO);
	assert_int_equal(mqtt_wire_get_puback(bytes("07"), &mid, &code), LW_EPROTO);
	assert_int_equal(mqtt_wire_get_suback(bytes("ea610080"), true, &mid, &code), 0);
	assert_true(mid == 60001 && code == 0x80);
	assert_int_equal(mqtt_wire_get_suback(bytes("ea6100"), true, &mid, &code), LW_EPROTO);
	assert_int_equal(mqtt_wire_get_disconnect(bytes("8e")), 0x8e);
	assert_string_equal(mqtt_reason_text(false, 5), "not authorized");
	struct mqtt_packet k;
	assert_int_equal(mqtt_wire_next(bytes("30ffffffff7f"), &k), LW_EPROTO);
	assert_int_equal(mqtt_wire_next(bytes("30ffffff7f"), &k), 0);
	assert_int_equal(k.remaining, MQTT_PACKET_MAX);
	/* no topic, QoS 3, id 0, a NUL in the topic */
	static const struct {
		const char *hex;
		uint8_t flags;
	} wrong[] = {{"0000", 0}, {"0001610001", 6}, {"0001610000", 2}, {"000100", 0}, {"000561", 0}};
	struct mqtt_wire_publish p;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(mqtt_wire_get_publish(bytes(wrong[i].hex), wrong[i].flags, false, &p), LW_EPROTO);
}

static void names(void **state)
{
	(void)state;
	static const char *const topics[] = {"a", "a/b", "/", "gr\xc3\xbc\xc3\x9f", "\xf0\x9f\x98\x80"};
	static const char *const no_topics[] = {"",         "a/+",          "#",        "\xff",
						"\xc0\x80", "\xed\xa0\x80", "\xe2\x82", "\xf4\x90\x80\x80"};
	static const char *const filters[] = {"#", "+", "a/#", "a/+/b", "/+", "$share/g/a/#"};
	static const char *const no_filters[] = {"", "a#", "#/a", "a/b+", "+a", "a/#/b", "\xff"};
	for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++)
		assert_true(mqtt_topic_ok(topics[i]) && mqtt_filter_ok(topics[i]));
	for (size_t i = 0; i < sizeof(no_topics) / sizeof(no_topics[0]); i++)
		assert_false(mqtt_topic_ok(no_topics[i]));
	for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++)
		assert_true(mqtt_filter_ok(filters[i]));
	for (size_t i = 0; i < sizeof(no_filters) / sizeof(no_filters[0]); i++)
		assert_false(mqtt_filter_ok(no_filters[i]));
	/* Wherever it stands. */
	for (size_t i = 0; i < 40; i++) {
		static const char wrong[] = {'+', '#', (char)0xff, (char)0xc0};
		for (size_t k = 0; k < sizeof(wrong); k++) {
			char topic[] = "eu868/gateway/0016c001f1500812/event/up+";
			topic[sizeof(topic) - 2] = 'x';
			assert_true(mqtt_topic_ok(topic));
			topic[i] = wrong[k];
			assert_false(mqtt_topic_ok(topic));
		}
	}
	char *endless = malloc(MQTT_TEXT_MAX + 2);
	memset(endless, 'a', MQTT_TEXT_MAX + 1);
	endless[MQTT_TEXT_MAX + 1] = 0;
	assert_false(mqtt_topic_ok(endless));
	endless[MQTT_TEXT_MAX] = 0;
	assert_true(mqtt_topic_ok(endless));
	free(endless);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_sent),
		cmocka_unit_test(publish_there_and_back),
		cmocka_unit_test(what_the_broker_says),
		cmocka_unit_test(names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
