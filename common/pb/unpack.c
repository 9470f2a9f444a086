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

static int check(const ProtobufCMessageDescriptor *type, struct lw_span s, unsigned depth)
{
	if (depth > LW_PB_MAX_DEPTH)
		return LW_ELIMIT;
	while (s.n) {
		uint64_t tag, v;
		struct lw_span body = {0};
		int rc = take_varint(&s, &tag);
		if (rc < 0)
			return rc;
		if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
			return LW_EINVAL;
		switch (tag & 7) {
		case WIRE_VARINT:
			rc = take_varint(&s, &v);
			break;
		case WIRE_64:
			rc = take_bytes(&s, 8, &body);
			break;
		case WIRE_32:
			rc = take_bytes(&s, 4, &body);
			break;
		case WIRE_BYTES:
			rc = take_varint(&s, &v);
			if (rc == 0)
				rc = take_bytes(&s, v, &body);
			break;
		default:
			rc = LW_EINVAL;
		}
		if (rc < 0)
			return rc;
		const ProtobufCFieldDescriptor *f =
			(tag & 7) == WIRE_BYTES ? protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3))
						: NULL;
		if (!f)
			continue;
		if (f->type == PROTOBUF_C_TYPE_STRING && !lw_utf8_valid(body.p, body.n))
			return LW_EINVAL;
		if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
			rc = check(f->descriptor, body, depth + 1);
			if (rc < 0)
				return rc;
		}
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

int lw_pb_pack(const ProtobufCMessage *m, struct lw_buf *out)
{
	size_t n = protobuf_c_message_get_packed_size(m);
	if (n == 0)
		return out->err;
	uint8_t *room = lw_buf_reserve(out, n);
	if (!room)
		return out->err ? out->err : LW_EBIG;
	lw_buf_commit(out, protobuf_c_message_pack(m, room));
	return 0;
}
