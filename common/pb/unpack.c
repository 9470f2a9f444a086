#include "common/pb/unpack.h"

#include "common/base/err.h"
#include "common/pb/utf8.h"

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

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

struct member {
	uint32_t tag;
	enum wire_type type;
	struct lw_span body; /* of WIRE_BYTES */
};

static int take_member(struct lw_span *s, struct member *m)
{
	uint64_t tag, v;
	int rc = take_varint(s, &tag);
	if (rc < 0)
		return rc;
	if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
		return LW_EINVAL;
	m->tag = (uint32_t)(tag >> 3);
	m->type = (enum wire_type)(tag & 7);
	m->body = (struct lw_span){0};
	switch (tag & 7) {
	case WIRE_VARINT:
		return take_varint(s, &v);
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
		struct member m;
		int rc = take_member(&s, &m);
		if (rc < 0)
			return rc;
		const ProtobufCFieldDescriptor *f =
			m.type == WIRE_BYTES ? protobuf_c_message_descriptor_get_field(type, m.tag) : NULL;
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
		struct member m;
		int rc = take_member(&wire, &m);
		if (rc < 0)
			return rc;
		if (m.tag == tag && m.type == WIRE_BYTES)
			*out = m.body;
	}
	return 0;
}

int lw_pb_check(const ProtobufCMessageDescriptor *type, struct lw_span wire)
{
	return check(type, wire, 1);
}

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
	*out = NULL;
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
