#include "common/io/mqtt_wire.h"

#include <string.h>

enum property {
	PROP_SESSION_EXPIRY = 0x11,
	PROP_SERVER_KEEPALIVE = 0x13,
	PROP_RECEIVE_MAXIMUM = 0x21,
	PROP_MAXIMUM_QOS = 0x24,
	PROP_RETAIN_AVAILABLE = 0x25,
	PROP_USER = 0x26,
	PROP_MAXIMUM_PACKET = 0x27,
};

#define FLAG_DUP 8u
#define FLAG_RETAIN 1u
/* Fixed header with the longest length, length of the topic, mid, properties with the only one that we send. */
#define PUBLISH_OVERHEAD (5 + 2 + 2 + 1 + 5 + sizeof(MQTT_AGAIN) + 1)

/* --- encoding --------------------------------------------------------------------------------------------------- */

static uint8_t *var_put(uint8_t *p, size_t n)
{
	do {
		uint8_t b = (uint8_t)(n & 127);
		n >>= 7;
		*p++ = (uint8_t)(b | (n ? 128 : 0));
	} while (n);
	return p;
}

static uint8_t *u16_put(uint8_t *p, size_t v)
{
	lw_put_be16(p, (uint16_t)v);
	return p + 2;
}

static uint8_t *bytes_put(uint8_t *p, const void *b, size_t n)
{
	if (n)
		memcpy(p, b, n);
	return p + n;
}

/* Length and bytes. */
static uint8_t *text_put(uint8_t *p, const void *b, size_t n)
{
	return bytes_put(u16_put(p, n), b, n);
}

static uint8_t *begin(struct lw_buf *out, enum mqtt_packet_type type, unsigned flags, size_t remaining)
{
	uint8_t *p = lw_buf_reserve(out, 5 + remaining);
	if (!p)
		return NULL;
	*p++ = (uint8_t)((unsigned)type << 4 | flags);
	return var_put(p, remaining);
}

static void finish(struct lw_buf *out, const uint8_t *end)
{
	lw_buf_commit(out, (size_t)(end - (out->p + out->n)));
}

static size_t property_bytes_of(const struct mqtt_wire_connect *c)
{
	return (c->clean ? 0 : 5) + 3 + 5;
}

static uint8_t *connect_properties_put(uint8_t *p, const struct mqtt_wire_connect *c)
{
	p = var_put(p, property_bytes_of(c));
	if (!c->clean) {
		*p++ = PROP_SESSION_EXPIRY;
		lw_put_be32(p, c->session_expiry_s);
		p += 4;
	}
	*p++ = PROP_RECEIVE_MAXIMUM;
	p = u16_put(p, c->receive_maximum);
	*p++ = PROP_MAXIMUM_PACKET;
	lw_put_be32(p, c->max_packet);
	return p + 4;
}

static size_t text_size(const char *s)
{
	return s ? 2 + strlen(s) : 0;
}

void mqtt_wire_put_connect(struct lw_buf *out, const struct mqtt_wire_connect *c)
{
	size_t n = 10 + (c->v5 ? 1 + property_bytes_of(c) : 0) + text_size(c->client_id) + text_size(c->username) +
		   text_size(c->password);
	unsigned flags = c->clean ? 2 : 0;
	if (c->will_topic) {
		n += (c->v5 ? 1 : 0) + text_size(c->will_topic) + 2 + c->will.n;
		flags |= 4u | (unsigned)c->will_qos << 3 | (c->will_retain ? 32u : 0);
	}
	flags |= (c->username ? 128u : 0) | (c->password ? 64u : 0);
	uint8_t *p = begin(out, MQTT_CONNECT, 0, n);
	if (!p)
		return;
	p = text_put(p, "MQTT", 4);
	*p++ = c->v5 ? 5 : 4;
	*p++ = (uint8_t)flags;
	p = u16_put(p, c->keepalive_s);
	if (c->v5)
		p = connect_properties_put(p, c);
	p = text_put(p, c->client_id, strlen(c->client_id));
	if (c->will_topic) {
		if (c->v5)
			*p++ = 0;
		p = text_put(p, c->will_topic, strlen(c->will_topic));
		p = text_put(p, c->will.p, c->will.n);
	}
	if (c->username)
		p = text_put(p, c->username, strlen(c->username));
	if (c->password)
		p = text_put(p, c->password, strlen(c->password));
	finish(out, p);
}

size_t mqtt_wire_publish_size(const struct mqtt_wire_publish *m)
{
	return PUBLISH_OVERHEAD + m->topic.n + m->payload.n;
}

void mqtt_wire_put_publish(struct lw_buf *out, bool v5, const struct mqtt_wire_publish *m)
{
	static const char again[] = MQTT_AGAIN;
	size_t properties = m->again ? 1 + 2 + sizeof(again) - 1 + 2 + 1 : 0;
	size_t n = 2 + m->topic.n + (m->qos ? 2 : 0) + (v5 ? 1 + properties : 0) + m->payload.n;
	uint8_t *p = begin(out, MQTT_PUBLISH, (unsigned)m->qos << 1 | (m->retain ? FLAG_RETAIN : 0), n);
	if (!p)
		return;
	p = text_put(p, m->topic.p, m->topic.n);
	if (m->qos)
		p = u16_put(p, m->mid);
	if (v5) {
		p = var_put(p, properties);
		if (m->again) {
			*p++ = PROP_USER;
			p = text_put(p, again, sizeof(again) - 1);
			p = text_put(p, "1", 1);
		}
	}
	finish(out, bytes_put(p, m->payload.p, m->payload.n));
}

void mqtt_wire_put_puback(struct lw_buf *out, uint16_t mid)
{
	uint8_t p[4] = {MQTT_PUBACK << 4, 2};
	lw_put_be16(p + 2, mid);
	lw_buf_append(out, p, sizeof(p));
}

void mqtt_wire_put_subscribe(struct lw_buf *out, bool v5, uint16_t mid, const char *filter, uint8_t qos)
{
	size_t n = strlen(filter);
	uint8_t *p = begin(out, MQTT_SUBSCRIBE, 2, 2u + (v5 ? 1u : 0u) + 2u + n + 1u);
	if (!p)
		return;
	p = u16_put(p, mid);
	if (v5)
		*p++ = 0;
	p = text_put(p, filter, n);
	*p++ = qos;
	finish(out, p);
}

void mqtt_wire_put_unsubscribe(struct lw_buf *out, bool v5, uint16_t mid, const char *filter)
{
	size_t n = strlen(filter);
	uint8_t *p = begin(out, MQTT_UNSUBSCRIBE, 2, 2u + (v5 ? 1u : 0u) + 2u + n);
	if (!p)
		return;
	p = u16_put(p, mid);
	if (v5)
		*p++ = 0;
	finish(out, text_put(p, filter, n));
}

void mqtt_wire_put_pingreq(struct lw_buf *out)
{
	lw_buf_append(out, (const uint8_t[]){MQTT_PINGREQ << 4, 0}, 2);
}

void mqtt_wire_put_disconnect(struct lw_buf *out, bool forget)
{
	static const uint8_t plain[] = {MQTT_DISCONNECT << 4, 0};
	static const uint8_t ends[] = {MQTT_DISCONNECT << 4, 7, 0, 5, PROP_SESSION_EXPIRY, 0, 0, 0, 0};
	lw_buf_append(out, forget ? ends : plain, forget ? sizeof(ends) : sizeof(plain));
}

/* --- decoding --------------------------------------------------------------------------------------------------- */

/* A cursor; after the first error everything reads as 0 and `bad` stays. */
struct reader {
	const uint8_t *p, *end;
	bool bad;
};

static bool take(struct reader *r, size_t n)
{
	if (r->bad || (size_t)(r->end - r->p) < n)
		r->bad = true;
	return !r->bad;
}

static uint8_t get_u8(struct reader *r)
{
	return take(r, 1) ? *r->p++ : 0;
}

static uint16_t get_u16(struct reader *r)
{
	if (!take(r, 2))
		return 0;
	r->p += 2;
	return lw_get_be16(r->p - 2);
}

static uint32_t get_u32(struct reader *r)
{
	if (!take(r, 4))
		return 0;
	r->p += 4;
	return lw_get_be32(r->p - 4);
}

static struct lw_span get_text(struct reader *r)
{
	size_t n = get_u16(r);
	if (!take(r, n))
		return lw_span(NULL, 0);
	r->p += n;
	return lw_span(r->p - n, n);
}

static uint32_t get_var(struct reader *r)
{
	uint32_t v = 0;
	for (unsigned shift = 0; shift < 28; shift += 7) {
		uint8_t b = get_u8(r);
		v |= (uint32_t)(b & 127) << shift;
		if (!(b & 128))
			return v;
	}
	r->bad = true;
	return 0;
}

int mqtt_wire_next(struct lw_span in, struct mqtt_packet *out)
{
	*out = (struct mqtt_packet){0};
	size_t n = 0, shift = 0, at = 1;
	for (;; at++, shift += 7) {
		if (shift > 21)
			return LW_EPROTO;
		if (at >= in.n)
			return 0;
		n |= (size_t)(in.p[at] & 127) << shift;
		if (!(in.p[at] & 128))
			break;
	}
	out->type = in.p[0] >> 4;
	out->flags = in.p[0] & 15;
	out->head = at + 1;
	out->remaining = n;
	size_t have = in.n - out->head;
	out->body = lw_span(in.p + out->head, have < n ? have : n);
	return have >= n;
}

/* How many bytes a property's value has; 0: a text, 1 a byte …; -1: two texts, -2: a variable number, -3: unknown. */
static int shape_of(uint32_t id)
{
	switch (id) {
	case 0x01:
	case 0x17:
	case 0x19:
	case 0x24:
	case 0x25:
	case 0x28:
	case 0x29:
	case 0x2a:
		return 1;
	case 0x13:
	case 0x21:
	case 0x22:
	case 0x23:
		return 2;
	case 0x02:
	case 0x11:
	case 0x18:
	case 0x27:
		return 4;
	case 0x03:
	case 0x08:
	case 0x09:
	case 0x12:
	case 0x15:
	case 0x16:
	case 0x1a:
	case 0x1c:
	case 0x1f:
		return 0;
	case 0x26:
		return -1;
	case 0x0b:
		return -2;
	default:
		return -3;
	}
}

struct property_value {
	uint32_t id;
	uint32_t number;
	struct lw_span text;
};

static void get_property(struct reader *r, struct property_value *out)
{
	*out = (struct property_value){.id = get_var(r)};
	switch (shape_of(out->id)) {
	case 0:
		out->text = get_text(r);
		break;
	case 1:
		out->number = get_u8(r);
		break;
	case 2:
		out->number = get_u16(r);
		break;
	case 4:
		out->number = get_u32(r);
		break;
	case -1:
		out->text = get_text(r);
		get_text(r);
		break;
	case -2:
		out->number = get_var(r);
		break;
	default:
		r->bad = true;
	}
}

/* The reader of the properties that come next, which the outer one passes over. */
static struct reader get_properties(struct reader *r)
{
	size_t n = get_var(r);
	if (!take(r, n))
		return (struct reader){.bad = true};
	r->p += n;
	return (struct reader){.p = r->p - n, .end = r->p};
}

int mqtt_wire_get_connack(struct lw_span body, bool v5, struct mqtt_wire_connack *out)
{
	struct reader r = {.p = body.p, .end = body.p + body.n};
	*out = (struct mqtt_wire_connack){.receive_maximum = UINT16_MAX, .max_qos = 2, .retains = true};
	uint8_t flags = get_u8(&r);
	out->session_present = flags & 1;
	out->reason = get_u8(&r);
	/* A server that knows no MQTT 5 refuses in the old form. */
	if (r.bad || (flags & ~1u) || (!v5 && body.n != 2) || (v5 && body.n == 2 && out->reason == 0))
		return LW_EPROTO;
	if (!v5 || body.n == 2)
		return 0;
	struct reader props = get_properties(&r);
	while (!props.bad && props.p < props.end) {
		struct property_value v;
		get_property(&props, &v);
		if (v.id == PROP_RECEIVE_MAXIMUM)
			out->receive_maximum = (uint16_t)v.number;
		else if (v.id == PROP_SERVER_KEEPALIVE)
			out->keepalive_s = (uint16_t)v.number;
		else if (v.id == PROP_MAXIMUM_QOS)
			out->max_qos = (uint8_t)v.number;
		else if (v.id == PROP_RETAIN_AVAILABLE)
			out->retains = v.number != 0;
		else if (v.id == PROP_MAXIMUM_PACKET)
			out->max_packet = v.number;
	}
	return r.bad || props.bad || out->receive_maximum == 0 ? LW_EPROTO : 0;
}

int mqtt_wire_get_publish(struct lw_span body, uint8_t flags, bool v5, struct mqtt_wire_publish *out)
{
	struct reader r = {.p = body.p, .end = body.p + body.n};
	*out = (struct mqtt_wire_publish){.qos = (flags >> 1) & 3, .retain = flags & FLAG_RETAIN};
	out->topic = get_text(&r);
	if (out->qos)
		out->mid = get_u16(&r);
	if (r.bad || out->qos > 1 || (out->qos && out->mid == 0) || out->topic.n == 0 ||
	    memchr(out->topic.p, 0, out->topic.n))
		return LW_EPROTO;
	if (v5) {
		struct reader props = get_properties(&r);
		while (!props.bad && props.p < props.end) {
			struct property_value v;
			get_property(&props, &v);
			out->again |= v.id == PROP_USER && lw_span_eq_str(v.text, MQTT_AGAIN);
		}
		if (props.bad)
			return LW_EPROTO;
	}
	out->payload = lw_span(r.p, (size_t)(r.end - r.p));
	return 0;
}

int mqtt_wire_get_puback(struct lw_span body, uint16_t *mid, uint8_t *reason)
{
	struct reader r = {.p = body.p, .end = body.p + body.n};
	*mid = get_u16(&r);
	*reason = body.n > 2 ? get_u8(&r) : 0;
	return r.bad || *mid == 0 ? LW_EPROTO : 0;
}

int mqtt_wire_get_suback(struct lw_span body, bool v5, uint16_t *mid, uint8_t *code)
{
	struct reader r = {.p = body.p, .end = body.p + body.n};
	*mid = get_u16(&r);
	if (v5 && get_properties(&r).bad)
		return LW_EPROTO;
	*code = get_u8(&r);
	return r.bad ? LW_EPROTO : 0;
}

uint8_t mqtt_wire_get_disconnect(struct lw_span body)
{
	return body.n ? body.p[0] : 0;
}

/* --- texts ------------------------------------------------------------------------------------------------------ */

const char *mqtt_reason_text(bool v5, uint8_t reason)
{
	static const char *const v3[] = {"accepted",           "unacceptable protocol version", "client id rejected",
					 "server unavailable", "bad user name or password",     "not authorized"};
	static const struct {
		uint8_t reason;
		const char *text;
	} v[] = {
		{0x04, "disconnected with will"},
		{0x80, "unspecified error"},
		{0x81, "malformed packet"},
		{0x82, "protocol error"},
		{0x83, "implementation specific error"},
		{0x84, "unsupported protocol version"},
		{0x85, "client id not valid"},
		{0x86, "bad user name or password"},
		{0x87, "not authorized"},
		{0x88, "server unavailable"},
		{0x89, "server busy"},
		{0x8a, "banned"},
		{0x8b, "server shutting down"},
		{0x8c, "bad authentication method"},
		{0x8d, "keep alive timeout"},
		{0x8e, "session taken over by another client of the same id"},
		{0x8f, "topic filter not valid"},
		{0x90, "topic name not valid"},
		{0x93, "receive maximum exceeded"},
		{0x94, "topic alias not valid"},
		{0x95, "packet too large"},
		{0x96, "message rate too high"},
		{0x97, "quota exceeded"},
		{0x98, "administrative action"},
		{0x99, "payload format not valid"},
		{0x9a, "retain not supported"},
		{0x9b, "QoS not supported"},
		{0x9c, "use another server"},
		{0x9d, "server moved"},
		{0x9e, "shared subscriptions not supported"},
		{0x9f, "connection rate exceeded"},
		{0xa0, "maximum connect time"},
	};
	if (!v5)
		return reason < sizeof(v3) / sizeof(v3[0]) ? v3[reason] : "unknown return code";
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++)
		if (v[i].reason == reason)
			return v[i].text;
	return reason < MQTT_REFUSED ? "disconnected" : "unknown reason";
}

bool mqtt_text_ok(const char *text, size_t n)
{
	const uint8_t *p = (const uint8_t *)text;
	if (n > MQTT_TEXT_MAX)
		return false;
	for (size_t i = 0; i < n;) {
		uint8_t b = p[i++];
		if (b == 0)
			return false;
		if (b < 0x80)
			continue;
		unsigned more = b >= 0xf0 ? 3 : b >= 0xe0 ? 2 : 1;
		uint32_t v = b & (0x3fu >> more);
		if (b < 0xc2 || b > 0xf4 || n - i < more)
			return false;
		for (unsigned k = 0; k < more; k++, i++) {
			if ((p[i] & 0xc0) != 0x80)
				return false;
			v = v << 6 | (p[i] & 0x3fu);
		}
		if ((more == 2 && v < 0x800) || (more == 3 && (v < 0x10000 || v > 0x10ffff)) ||
		    (v >= 0xd800 && v < 0xe000))
			return false;
	}
	return true;
}

static bool is_ascii(const char *p, size_t n)
{
	uint64_t all = 0, v;
	for (; n >= sizeof(v); n -= sizeof(v), p += sizeof(v)) {
		memcpy(&v, p, sizeof(v));
		all |= v;
	}
	for (; n > 0; n--)
		all |= (uint8_t)*p++;
	return (all & UINT64_C(0x8080808080808080)) == 0;
}

bool mqtt_topic_ok(const char *topic)
{
	/* Once for each message: by routines that look at many bytes at a time. */
	size_t n = strlen(topic);
	return n > 0 && n <= MQTT_TEXT_MAX && !memchr(topic, '+', n) && !memchr(topic, '#', n) &&
	       (is_ascii(topic, n) || mqtt_text_ok(topic, n));
}

bool mqtt_filter_ok(const char *filter)
{
	size_t n = strlen(filter);
	if (n == 0 || !mqtt_text_ok(filter, n))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (filter[i] != '+' && filter[i] != '#')
			continue;
		if ((i > 0 && filter[i - 1] != '/') || (i + 1 < n && (filter[i] == '#' || filter[i + 1] != '/')))
			return false;
	}
	return true;
}
