/* Packets of MQTT 3.1.1 and 5 as a client needs them: encoding into a buffer, decoding from a span. QoS 0 and 1. Pure:
 * no I/O, no clock, no state. Facts: OASIS MQTT 3.1.1 and 5.0, chapters 2 and 3. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

enum mqtt_packet_type {
	MQTT_CONNECT = 1,
	MQTT_CONNACK = 2,
	MQTT_PUBLISH = 3,
	MQTT_PUBACK = 4,
	MQTT_SUBSCRIBE = 8,
	MQTT_SUBACK = 9,
	MQTT_UNSUBSCRIBE = 10,
	MQTT_UNSUBACK = 11,
	MQTT_PINGREQ = 12,
	MQTT_PINGRESP = 13,
	MQTT_DISCONNECT = 14,
};

/* Reason codes that somebody asks for by name (5.0, 2.4). */
enum mqtt_reason {
	MQTT_NO_MATCHING_SUBSCRIBERS = 0x10,
	MQTT_REFUSED = 0x80, /* this and everything above */
	MQTT_BAD_USER = 0x86,
	MQTT_NOT_AUTHORIZED = 0x87,
	MQTT_BANNED = 0x8a,
	MQTT_QUOTA_EXCEEDED = 0x97,
};

/* User property of a message that was published before. */
#define MQTT_AGAIN "longwave-again"

/* A topic can be this long, and no packet longer than that can be described. */
#define MQTT_TEXT_MAX 65535u
#define MQTT_PACKET_MAX 268435455u

struct mqtt_wire_connect {
	bool v5;
	bool clean;
	uint16_t keepalive_s;
	const char *client_id;
	const char *username, *password; /* NULL: none */
	uint32_t session_expiry_s;       /* v5 */
	uint16_t receive_maximum;        /* v5 */
	uint32_t max_packet;             /* v5 */
	const char *will_topic;          /* NULL: no will */
	struct lw_span will;
	uint8_t will_qos;
	bool will_retain;
};

struct mqtt_wire_publish {
	struct lw_span topic; /* not NUL-terminated when decoded */
	struct lw_span payload;
	uint8_t qos;
	bool retain;
	bool again;   /* the user property MQTT_AGAIN is there (v5) */
	uint16_t mid; /* QoS 1 */
};

/* All append one packet; errors stay in the buffer. */
void mqtt_wire_put_connect(struct lw_buf *out, const struct mqtt_wire_connect *c);
void mqtt_wire_put_publish(struct lw_buf *out, bool v5, const struct mqtt_wire_publish *p);
void mqtt_wire_put_puback(struct lw_buf *out, uint16_t mid);
void mqtt_wire_put_subscribe(struct lw_buf *out, bool v5, uint16_t mid, const char *filter, uint8_t qos);
void mqtt_wire_put_unsubscribe(struct lw_buf *out, bool v5, uint16_t mid, const char *filter);
void mqtt_wire_put_pingreq(struct lw_buf *out);
/* `forget` (v5): the session ends with the connection, whatever was agreed. */
void mqtt_wire_put_disconnect(struct lw_buf *out, bool forget);
/* Bytes that mqtt_wire_put_publish() adds at most. */
size_t mqtt_wire_publish_size(const struct mqtt_wire_publish *p);

struct mqtt_packet {
	uint8_t type, flags;
	size_t head;      /* bytes before the body */
	size_t remaining; /* bytes of the body, all of which may not be there yet */
	struct lw_span body;
};

/* The packet at the front: 1 whole, 0 not all of it is there (head and remaining are set once the header is, head 0
 * before), LW_EPROTO. */
int mqtt_wire_next(struct lw_span in, struct mqtt_packet *out);

struct mqtt_wire_connack {
	bool session_present;
	uint8_t reason;           /* 3.1.1: the return code */
	uint16_t receive_maximum; /* 65535 when not said */
	uint16_t keepalive_s;     /* the server's, 0 when not said */
	uint8_t max_qos;
	bool retains;        /* the server takes messages to retain */
	uint32_t max_packet; /* 0: no limit */
};

/* All return 0 or LW_EPROTO. Spans refer to the packet. */
int mqtt_wire_get_connack(struct lw_span body, bool v5, struct mqtt_wire_connack *out);
/* `body` may end inside the payload: what was decoded before it holds. */
int mqtt_wire_get_publish(struct lw_span body, uint8_t flags, bool v5, struct mqtt_wire_publish *out);
int mqtt_wire_get_puback(struct lw_span body, uint16_t *mid, uint8_t *reason);
/* The first of the codes; more were never asked for. */
int mqtt_wire_get_suback(struct lw_span body, bool v5, uint16_t *mid, uint8_t *code);
/* 0 where it says none. */
uint8_t mqtt_wire_get_disconnect(struct lw_span body);

/* 3.1.1 (return codes of CONNACK) and 5. Never NULL. */
const char *mqtt_reason_text(bool v5, uint8_t reason);

/* Well-formed UTF-8 without NUL and surrogates, at most MQTT_TEXT_MAX bytes. */
bool mqtt_text_ok(const char *p, size_t n);
/* A name to publish to: not empty, no wildcards. */
bool mqtt_topic_ok(const char *topic);
/* Wildcards stand alone in their level, "#" is the last. */
bool mqtt_filter_ok(const char *filter);
