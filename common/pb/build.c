#include "common/pb/build.h"

#include <stdlib.h>

#include "common/base/xmalloc.h"

static void *arena_alloc(void *arena, size_t n)
{
	return lw_arena_alloc(arena, n);
}

static void arena_free(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

ProtobufCAllocator lw_pb_arena_allocator(struct lw_arena *a)
{
	return (ProtobufCAllocator){.alloc = arena_alloc, .free = arena_free, .allocator_data = a};
}

void *lw_pb_alloc(const ProtobufCAllocator *a, size_t n)
{
	return a ? a->alloc(a->allocator_data, n) : lw_xmalloc(n);
}

void lw_pb_free(const ProtobufCAllocator *a, void *p)
{
	if (!p)
		return;
	if (a)
		a->free(a->allocator_data, p);
	else
		free(p);
}

ProtobufCMessage *lw_pb_message_new(const ProtobufCMessageDescriptor *c, const ProtobufCAllocator *a)
{
	ProtobufCMessage *m = lw_pb_alloc(a, c->sizeof_message);
	if (m)
		protobuf_c_message_init(c, m);
	return m;
}

void lw_pb_message_free(ProtobufCMessage *m, const ProtobufCAllocator *a)
{
	if (m)
		protobuf_c_message_free_unpacked(m, (ProtobufCAllocator *)(uintptr_t)a);
}

char *lw_pb_strndup(const ProtobufCAllocator *a, struct lw_span text)
{
	char *s = lw_pb_alloc(a, text.n + 1);
	if (s) {
		if (text.n)
			memcpy(s, text.p, text.n);
		s[text.n] = '\0';
	}
	return s;
}

size_t lw_pb_value_size(enum lw_kind kind)
{
	switch (kind) {
	case LW_KIND_BOOL:
		return sizeof(protobuf_c_boolean);
	case LW_KIND_INT32:
	case LW_KIND_UINT32:
	case LW_KIND_ENUM:
		return sizeof(int32_t);
	case LW_KIND_FLOAT:
		return sizeof(float);
	case LW_KIND_INT64:
	case LW_KIND_UINT64:
		return sizeof(int64_t);
	case LW_KIND_DOUBLE:
		return sizeof(double);
	case LW_KIND_BYTES:
		return sizeof(ProtobufCBinaryData);
	case LW_KIND_STRING:
	case LW_KIND_MESSAGE:
		break;
	}
	return sizeof(void *);
}

void *lw_pb_append_slot(ProtobufCMessage *m, const struct lw_schema_field *f, const ProtobufCAllocator *a)
{
	uint8_t **array = lw_pb_slot(m, f);
	size_t size = lw_pb_value_size(f->kind);
	size_t n = *lw_pb_count(m, f);
	/* The capacity is not stored: it is the power of two from 4 on that holds n. */
	if (n == 0 || (n >= 4 && (n & (n - 1)) == 0)) {
		uint8_t *grown = n == 0 && *array ? *array : lw_pb_alloc(a, (n < 4 ? 4 : n * 2) * size);
		if (!grown)
			return NULL;
		if (n) {
			memcpy(grown, *array, n * size);
			lw_pb_free(a, *array);
		}
		*array = grown;
	}
	uint8_t *slot = *array + n * size;
	memset(slot, 0, size);
	return slot;
}
