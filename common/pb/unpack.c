#include "common/pb/unpack.h"

#include <string.h>

#include "common/base/err.h"
#include "common/pb/utf8.h"
#include "common/pb/wire.h"

#define WIRE_VARINT PROTOBUF_C_WIRE_TYPE_VARINT
#define WIRE_64 PROTOBUF_C_WIRE_TYPE_64BIT
#define WIRE_BYTES PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED
#define WIRE_32 PROTOBUF_C_WIRE_TYPE_32BIT

static int take_varint(struct lw_span *s, uint64_t *v)
{
	*v = 0;
	for (unsigned i = 0; i < 10; i++) {
		if (s->n == 0)
			return LW_ETRUNC;
		uint8_t byte = *s->p++;
		s->n--;
		*v |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (!(byte & 0x80))
			return 0;
	}
	return LW_EINVAL;
}

static int take_bytes(struct lw_span *s, uint64_t n, struct lw_span *out)
{
	if (n > s->n)
		return LW_ETRUNC;
	*out = lw_span(s->p, (size_t)n);
	s->p += n;
	s->n -= (size_t)n;
	return 0;
}

int lw_pb_next(struct lw_span *s, struct lw_pb_member *m)
{
	uint64_t tag, v;
	int rc = take_varint(s, &tag);
	if (rc < 0)
		return rc;
	if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
		return LW_EINVAL;
	*m = (struct lw_pb_member){.id = (uint32_t)(tag >> 3), .type = (ProtobufCWireType)(tag & 7)};
	switch (tag & 7) {
	case WIRE_VARINT:
		return take_varint(s, &m->number);
	case WIRE_64:
		return take_bytes(s, 8, &m->body);
	case WIRE_32:
		return take_bytes(s, 4, &m->body);
	case WIRE_BYTES:
		rc = take_varint(s, &v);
		return rc == 0 ? take_bytes(s, v, &m->body) : rc;
	default:
		return LW_EINVAL;
	}
}

static int check(const ProtobufCMessageDescriptor *type, struct lw_span s, unsigned depth)
{
	if (depth > LW_PB_MAX_DEPTH)
		return LW_ELIMIT;
	while (s.n) {
		struct lw_pb_member m;
		int rc = lw_pb_next(&s, &m);
		if (rc < 0)
			return rc;
		const ProtobufCFieldDescriptor *f =
			m.type == WIRE_BYTES ? protobuf_c_message_descriptor_get_field(type, m.id) : NULL;
		if (!f)
			continue;
		if (f->type == PROTOBUF_C_TYPE_STRING && !lw_utf8_valid(m.body.p, m.body.n))
			return LW_EINVAL;
		if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
			rc = check(f->descriptor, m.body, depth + 1);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

int lw_pb_find_bytes(struct lw_span wire, uint32_t tag, struct lw_span *out)
{
	*out = (struct lw_span){0};
	while (wire.n) {
		struct lw_pb_member m;
		int rc = lw_pb_next(&wire, &m);
		if (rc < 0)
			return rc;
		if (m.id == tag && m.type == WIRE_BYTES)
			*out = m.body;
	}
	return 0;
}

int lw_pb_check(const ProtobufCMessageDescriptor *type, struct lw_span wire)
{
	return check(type, wire, 1);
}

/* ---- in one pass ------------------------------------------------------------------------------------------------- */

/* protobuf-c goes over a message twice, behind lw_pb_check(). What a sender of ours writes is taken in one pass; this
 * gives up where anything is unusual, and then those two decide what it means and whether it is allowed. It gives up on
 * members that are unknown, required, or have another type on the wire; on numbers that are repeated and not packed, or
 * packed in pieces; on messages that stand there twice and on two members of a oneof. */
static bool take_message(const ProtobufCMessageDescriptor *type, struct lw_span s, struct lw_arena *arena,
			 unsigned depth, ProtobufCMessage **out);

static bool quick_varint(struct lw_span *s, uint64_t *v)
{
	if (s->n && s->p[0] < 0x80) {
		*v = s->p[0];
		s->p++;
		s->n--;
		return true;
	}
	return take_varint(s, v) == 0;
}

static bool quick_bytes(struct lw_span *s, struct lw_span *out)
{
	uint64_t n;
	return quick_varint(s, &n) && take_bytes(s, n, out) == 0;
}

static bool take_number(ProtobufCType type, struct lw_span *s, void *at)
{
	uint64_t v;
	struct lw_span fixed;
	switch (lw_pb_wire_type(type)) {
	case WIRE_32:
		if (take_bytes(s, 4, &fixed) < 0)
			return false;
		*(uint32_t *)at = lw_get_le32(fixed.p);
		return true;
	case WIRE_64:
		if (take_bytes(s, 8, &fixed) < 0)
			return false;
		*(uint64_t *)at = lw_get_le64(fixed.p);
		return true;
	default:
		break;
	}
	if (!quick_varint(s, &v))
		return false;
	switch (type) {
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)at = v != 0;
		break;
	case PROTOBUF_C_TYPE_SINT32:
		*(uint32_t *)at = (uint32_t)v >> 1 ^ (0 - ((uint32_t)v & 1));
		break;
	case PROTOBUF_C_TYPE_SINT64:
		*(uint64_t *)at = v >> 1 ^ (0 - (v & 1));
		break;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_UINT64:
		*(uint64_t *)at = v;
		break;
	default:
		*(uint32_t *)at = (uint32_t)v;
	}
	return true;
}

static bool take_value(const ProtobufCFieldDescriptor *f, struct lw_span *s, struct lw_arena *arena, unsigned depth,
		       void *at)
{
	struct lw_span body;
	char *text;
	ProtobufCBinaryData *data = at;
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		if (!quick_bytes(s, &body) || !lw_utf8_valid(body.p, body.n))
			return false;
		*(char **)at = text = lw_arena_alloc(arena, body.n + 1);
		if (!text)
			return false;
		memcpy(text, body.p, body.n);
		text[body.n] = 0;
		return true;
	case PROTOBUF_C_TYPE_BYTES:
		if (!quick_bytes(s, &body))
			return false;
		*data = (ProtobufCBinaryData){.len = body.n, .data = NULL};
		if (body.n)
			data->data = lw_arena_memdup(arena, body.p, body.n);
		return !body.n || data->data;
	case PROTOBUF_C_TYPE_MESSAGE:
		return !*(void **)at && quick_bytes(s, &body) &&
		       take_message(f->descriptor, body, arena, depth + 1, at);
	default:
		return take_number(f->type, s, at);
	}
}

/* A member of this key, whose value s starts with, and all that follow. */
static size_t count_members(uint64_t key, struct lw_span s)
{
	struct lw_span skipped;
	uint64_t v, k = key;
	size_t n = 0;
	do {
		n += k == key;
		bool ok = (k & 7) == WIRE_BYTES    ? quick_bytes(&s, &skipped)
			  : (k & 7) == WIRE_VARINT ? quick_varint(&s, &v)
						   : take_bytes(&s, (k & 7) == WIRE_32 ? 4 : 8, &skipped) == 0;
		if (!ok)
			break; /* it is met again */
	} while (s.n && quick_varint(&s, &k));
	return n;
}

static size_t count_packed(ProtobufCType type, struct lw_span s)
{
	ProtobufCWireType wire = lw_pb_wire_type(type);
	size_t n = 0;
	if (wire != WIRE_VARINT)
		return s.n / (wire == WIRE_32 ? 4 : 8);
	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] < 0x80;
	return n;
}

/* `at` is the list, with room made at its first member. */
static bool take_repeated(const ProtobufCFieldDescriptor *f, uint64_t key, struct lw_span *s, struct lw_arena *arena,
			  unsigned depth, size_t *n, uint8_t **at)
{
	size_t width = lw_pb_width(f->type);
	if (lw_pb_wire_type(f->type) == WIRE_BYTES) {
		if (!*at)
			*at = lw_arena_calloc(arena, count_members(key, *s), width);
		if (!*at || !take_value(f, s, arena, depth, *at + *n * width))
			return false;
		*n += 1;
		return true;
	}
	struct lw_span body;
	if (*at || !quick_bytes(s, &body))
		return false;
	size_t count = count_packed(f->type, body);
	if (!count)
		return body.n == 0;
	*at = lw_arena_alloc(arena, count * width);
	for (; *at && *n < count; *n += 1)
		if (!take_number(f->type, &body, *at + *n * width))
			return false;
	return *at && body.n == 0;
}

static bool take_field(const ProtobufCFieldDescriptor *f, uint64_t key, struct lw_span *s, struct lw_arena *arena,
		       unsigned depth, uint8_t *m)
{
	void *quantifier = m + f->quantifier_offset, *at = m + f->offset;
	bool list = f->label == PROTOBUF_C_LABEL_REPEATED;
	bool packed = list && lw_pb_wire_type(f->type) != WIRE_BYTES;
	if ((key & 7) != (packed ? WIRE_BYTES : lw_pb_wire_type(f->type)) || f->label == PROTOBUF_C_LABEL_REQUIRED)
		return false;
	if (list)
		return take_repeated(f, key, s, arena, depth, quantifier, at);
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
		if (*(uint32_t *)quantifier)
			return false;
		*(uint32_t *)quantifier = f->id;
	} else if (f->quantifier_offset) {
		*(protobuf_c_boolean *)quantifier = 1;
	}
	return take_value(f, s, arena, depth, at);
}

static bool take_message(const ProtobufCMessageDescriptor *type, struct lw_span s, struct lw_arena *arena,
			 unsigned depth, ProtobufCMessage **out)
{
	uint64_t key;
	unsigned next = 0; /* members mostly come in the order of the descriptor */
	ProtobufCMessage *m = depth <= LW_PB_MAX_DEPTH ? lw_arena_alloc(arena, type->sizeof_message) : NULL;
	if (!m)
		return false;
	protobuf_c_message_init(type, m);
	while (s.n) {
		if (!quick_varint(&s, &key))
			return false;
		if (next == type->n_fields || type->fields[next].id > key >> 3)
			next = 0;
		while (next < type->n_fields && type->fields[next].id < key >> 3)
			next++;
		if (next == type->n_fields || type->fields[next].id != key >> 3 ||
		    !take_field(&type->fields[next], key, &s, arena, depth, (uint8_t *)m))
			return false;
	}
	*out = m;
	return true;
}

/* ---- in general -------------------------------------------------------------------------------------------------- */

struct limited {
	struct lw_arena *arena;
	bool full;
};

static void *limited_alloc(void *data, size_t n)
{
	struct limited *l = data;
	void *p = lw_arena_alloc(l->arena, n);
	if (!p)
		l->full = true;
	return p;
}

static void limited_free(void *data, void *p)
{
	(void)data;
	(void)p;
}

int lw_pb_unpack(const ProtobufCMessageDescriptor *type, struct lw_span wire, struct lw_arena *arena,
		 ProtobufCMessage **out)
{
	struct lw_arena before = *arena;
	*out = NULL;
	if (take_message(type, wire, arena, 1, out))
		return 0;
	lw_arena_rewind(arena, &before);
	int rc = lw_pb_check(type, wire);
	if (rc < 0)
		return rc;
	struct limited limited = {.arena = arena};
	ProtobufCAllocator allocator = {.alloc = limited_alloc, .free = limited_free, .allocator_data = &limited};
	*out = protobuf_c_message_unpack(type, &allocator, wire.n, wire.p);
	if (!*out)
		return limited.full ? LW_ENOMEM : LW_EINVAL;
	return 0;
}
