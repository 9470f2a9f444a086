/* What a broker may send: a stream of packets, taken apart as the client does. The first byte chooses the version. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/io/mqtt_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t touch(struct lw_span s)
{
	size_t sum = 0;
	for (size_t i = 0; i < s.n; i++)
		sum += s.p[i];
	return sum;
}

static size_t decode(const struct mqtt_packet *p, bool v5)
{
	struct mqtt_wire_connack c;
	struct mqtt_wire_publish m;
	uint16_t mid;
	uint8_t code;
	switch (p->type) {
	case MQTT_CONNACK:
		return mqtt_wire_get_connack(p->body, v5, &c) == 0 && c.session_present;
	case MQTT_PUBLISH:
		return mqtt_wire_get_publish(p->body, p->flags, v5, &m) == 0 ? touch(m.topic) + touch(m.payload) : 0;
	case MQTT_PUBACK:
		return mqtt_wire_get_puback(p->body, &mid, &code) == 0 ? mid : 0;
	case MQTT_SUBACK:
		return mqtt_wire_get_suback(p->body, v5, &mid, &code) == 0 ? code : 0;
	default:
		return strlen(mqtt_reason_text(v5, mqtt_wire_get_disconnect(p->body)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	volatile size_t sum = 0; /* keeps what is decoded from being optimised away */
	(void)sum;
	if (size == 0)
		return 0;
	bool v5 = data[0] & 1;
	/* Memory of its own, so that a byte too far is seen. */
	uint8_t *copy = malloc(size);
	memcpy(copy, data + 1, size - 1);
	struct lw_span left = lw_span(copy, size - 1);
	struct mqtt_packet p;
	int rc;
	while ((rc = mqtt_wire_next(left, &p)) > 0) {
		sum += decode(&p, v5);
		left = lw_span(left.p + p.head + p.remaining, left.n - p.head - p.remaining);
	}
	if (rc == 0 && p.head && p.type == MQTT_PUBLISH) /* one that is too large is passed over */
		sum += decode(&p, v5);
	char *text = malloc(left.n + 1);
	if (left.n)
		memcpy(text, left.p, left.n);
	text[left.n] = 0;
	sum += mqtt_topic_ok(text) + mqtt_filter_ok(text);
	free(text);
	free(copy);
	return 0;
}
