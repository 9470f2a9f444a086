/* Messages into bytes in one pass, the bytes that protobuf-c makes: it measures every message before it writes it, and
 * those inside once more for each level. Here a length is written behind the message and moved in front. Checks
 * nothing: the messages are our own. */
#include <string.h>

#include "common/base/err.h"
#include "common/pb/unpack.h"
#include "common/pb/wire.h"

enum { VARINT = PROTOBUF_C_WIRE_TYPE_VARINT, BYTES = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED };
#define VARINT_MAX 10
/* The room that a tag with its scalar, or with a length, takes at most. */
#define ITEM_MAX (2 * VARINT_MAX)

struct out {
	struct lw_buf *b;        /* grows; NULL: there is no more room than this */
	uint8_t *base, *p, *end; /* of all, where to write, of the room */
	bool full;
};

/* Room for n bytes. What was written is in the buffer before it moves. */
static bool room(struct out *o, size_t n)
{
	if ((size_t)(o->end - o->p) >= n)
		return true;
	if (!o->full && o->b && o->p)
		lw_buf_commit(o->b, (size_t)(o->p - (o->b->p + o->b->n)));
	uint8_t *p = o->full || !o->b ? NULL : lw_buf_reserve(o->b, n);
	if (!p) {
		o->full = true;
		return false;
	}
	o->p = p;
	o->base = o->b->p;
	o->end = o->b->p + (o->b->cap - 1 < o->b->max ? o->b->cap - 1 : o->b->max);
	return true;
}

static uint8_t *varint(uint8_t *p, uint64_t v)
{
	while (v > 0x7f) {
		*p++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*p++ = (uint8_t)v;
	return p;
}

size_t lw_pb_put_varint(uint8_t out[10], uint64_t v)
{
	return (size_t)(varint(out, v) - out);
}

static void put_tag(struct out *o, uint32_t id, unsigned wire)
{
	o->p = varint(o->p, (uint64_t)id << 3 | wire);
}

static void put_raw(struct out *o, uint32_t id, const void *p, size_t n)
{
	if (!room(o, ITEM_MAX + n))
		return;
	put_tag(o, id, BYTES);
	o->p = varint(o->p, n);
	if (n)
		memcpy(o->p, p, n);
	o->p += n;
}

/* The place of a length that is not known yet, one byte wide. */
static size_t begin(struct out *o)
{
	*o->p++ = 0;
	return (size_t)(o->p - o->base);
}

static void end(struct out *o, size_t start)
{
	size_t n = (size_t)(o->p - (o->base + start));
	uint8_t head[VARINT_MAX];
	size_t width = lw_pb_put_varint(head, n);
	if (width > 1) {
		if (!room(o, width - 1))
			return;
		memmove(o->base + start + width - 1, o->base + start, n);
		o->p += width - 1;
	}
	memcpy(o->base + start - 1, head, width);
}

static void put_message(struct out *o, const ProtobufCMessage *m);

/* A number as it stands in a varint; false for the types that have a fixed width. */
static bool as_varint(ProtobufCType type, const void *at, uint64_t *v)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_ENUM:
		*v = (uint64_t)(int64_t) * (const int32_t *)at;
		return true;
	case PROTOBUF_C_TYPE_SINT32: {
		int32_t x = *(const int32_t *)at;
		*v = (uint32_t)x << 1 ^ (x < 0 ? UINT32_MAX : 0);
		return true;
	}
	case PROTOBUF_C_TYPE_UINT32:
		*v = *(const uint32_t *)at;
		return true;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_UINT64:
		*v = *(const uint64_t *)at;
		return true;
	case PROTOBUF_C_TYPE_SINT64: {
		int64_t x = *(const int64_t *)at;
		*v = (uint64_t)x << 1 ^ (x < 0 ? UINT64_MAX : 0);
		return true;
	}
	case PROTOBUF_C_TYPE_BOOL:
		*v = *(const protobuf_c_boolean *)at ? 1 : 0;
		return true;
	default:
		return false;
	}
}

static unsigned fixed_width(ProtobufCType type)
{
	return type == PROTOBUF_C_TYPE_FIXED64 || type == PROTOBUF_C_TYPE_SFIXED64 || type == PROTOBUF_C_TYPE_DOUBLE
		       ? 8
		       : 4;
}

/* Without its tag, into room that is there. */
static void put_number(struct out *o, ProtobufCType type, const void *at)
{
	uint64_t v;
	if (as_varint(type, at, &v)) {
		o->p = varint(o->p, v);
	} else if (fixed_width(type) == 8) {
		memcpy(&v, at, sizeof(v));
		lw_put_le64(o->p, v);
		o->p += 8;
	} else {
		uint32_t w;
		memcpy(&w, at, sizeof(w));
		lw_put_le32(o->p, w);
		o->p += 4;
	}
}

static void put_one(struct out *o, const ProtobufCFieldDescriptor *f, const void *at)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING: {
		const char *text = *(const char *const *)at;
		put_raw(o, f->id, text, text ? strlen(text) : 0);
		break;
	}
	case PROTOBUF_C_TYPE_BYTES: {
		const ProtobufCBinaryData *d = at;
		put_raw(o, f->id, d->data, d->len);
		break;
	}
	case PROTOBUF_C_TYPE_MESSAGE: {
		const ProtobufCMessage *m = *(const ProtobufCMessage *const *)at;
		if (!room(o, ITEM_MAX))
			return;
		put_tag(o, f->id, BYTES);
		size_t start = begin(o);
		if (m)
			put_message(o, m);
		if (!o->full)
			end(o, start);
		break;
	}
	default:
		if (!room(o, ITEM_MAX))
			return;
		put_tag(o, f->id, lw_pb_wire_type(f->type));
		put_number(o, f->type, at);
	}
}

static void put_repeated(struct out *o, const ProtobufCFieldDescriptor *f, size_t n, const uint8_t *v)
{
	size_t width = lw_pb_width(f->type);
	if (!n)
		return;
	if (!(f->flags & PROTOBUF_C_FIELD_FLAG_PACKED)) {
		for (size_t i = 0; i < n && !o->full; i++)
			put_one(o, f, v + i * width);
		return;
	}
	if (!room(o, ITEM_MAX))
		return;
	put_tag(o, f->id, BYTES);
	size_t start = begin(o);
	for (size_t i = 0; i < n && room(o, VARINT_MAX); i++)
		put_number(o, f->type, v + i * width);
	if (!o->full)
		end(o, start);
}

static bool is_zero(const ProtobufCFieldDescriptor *f, const void *at)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING: {
		const char *text = *(const char *const *)at;
		return !text || !text[0];
	}
	case PROTOBUF_C_TYPE_BYTES:
		return ((const ProtobufCBinaryData *)at)->len == 0;
	case PROTOBUF_C_TYPE_MESSAGE:
		return !*(const void *const *)at;
	case PROTOBUF_C_TYPE_FLOAT:
		return *(const float *)at == 0;
	case PROTOBUF_C_TYPE_DOUBLE:
		return *(const double *)at == 0;
	case PROTOBUF_C_TYPE_BOOL:
		return !*(const protobuf_c_boolean *)at;
	default:
		return lw_pb_width(f->type) == 8 ? *(const uint64_t *)at == 0 : *(const uint32_t *)at == 0;
	}
}

/* Whether a field with presence is there. */
static bool is_there(const ProtobufCFieldDescriptor *f, const uint8_t *m, const void *at)
{
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
	    *(const uint32_t *)(const void *)(m + f->quantifier_offset) != f->id)
		return false;
	if (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE) {
		const void *p = *(const void *const *)at;
		return p && p != f->default_value;
	}
	return f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF ||
	       *(const protobuf_c_boolean *)(const void *)(m + f->quantifier_offset);
}

static void put_message(struct out *o, const ProtobufCMessage *message)
{
	const uint8_t *m = (const void *)message;
	const ProtobufCMessageDescriptor *type = message->descriptor;
	for (unsigned i = 0; i < type->n_fields && !o->full; i++) {
		const ProtobufCFieldDescriptor *f = &type->fields[i];
		const void *at = m + f->offset;
		if (f->label == PROTOBUF_C_LABEL_REPEATED)
			put_repeated(o, f, *(const size_t *)(const void *)(m + f->quantifier_offset),
				     *(const uint8_t *const *)at);
		else if (f->label == PROTOBUF_C_LABEL_REQUIRED ||
			 (f->label == PROTOBUF_C_LABEL_OPTIONAL || f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF
				  ? is_there(f, m, at)
				  : !is_zero(f, at)))
			put_one(o, f, at);
	}
	for (unsigned i = 0; i < message->n_unknown_fields; i++) {
		const ProtobufCMessageUnknownField *u = &message->unknown_fields[i];
		if (!room(o, VARINT_MAX + u->len))
			return;
		put_tag(o, u->tag, u->wire_type);
		if (u->len)
			memcpy(o->p, u->data, u->len);
		o->p += u->len;
	}
}

/* Room is asked for generously, so this decides where a buffer is nearly full. */
static int pack_exactly(const ProtobufCMessage *m, struct lw_buf *out)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *p = lw_buf_reserve(out, n);
	if (!p)
		return out->err;
	lw_buf_commit(out, protobuf_c_message_pack(m, p));
	return 0;
}

int lw_pb_pack(const ProtobufCMessage *m, struct lw_buf *out)
{
	size_t before = out->n;
	struct out o = {.b = out};
	if (out->err)
		return out->err;
	if (out->p) {
		o.base = out->p;
		o.p = out->p + out->n;
		o.end = out->p + (out->cap - 1 < out->max ? out->cap - 1 : out->max);
	}
	put_message(&o, m);
	if (o.full) {
		out->n = before;
		out->err = 0;
		return pack_exactly(m, out);
	}
	if (o.p)
		lw_buf_commit(out, (size_t)(o.p - (out->p + out->n)));
	return 0;
}

#define LOCAL 2048

struct lw_span lw_pb_pack_arena(const ProtobufCMessage *m, struct lw_arena *arena)
{
	uint8_t local[LOCAL];
	struct out o = {.base = local, .p = local, .end = local + sizeof(local)};
	put_message(&o, m);
	size_t n = o.full ? protobuf_c_message_get_packed_size(m) : (size_t)(o.p - local);
	uint8_t *p = lw_arena_alloc(arena, n);
	if (p && o.full)
		protobuf_c_message_pack(m, p);
	else if (p)
		memcpy(p, local, n);
	return lw_span(p, p ? n : 0);
}
