/* Building protobuf-c messages member by member, in memory that protobuf_c_message_free_unpacked() can free or that an
 * arena owns. For decoders that have a schema instead of wire bytes. Pure but for the allocator. */
#pragma once

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/pb/schema.h"

/* An allocator that takes from an arena and frees nothing. The arena must outlive what it allocated. */
ProtobufCAllocator lw_pb_arena_allocator(struct lw_arena *a);

/* All take the allocator of the message; NULL is malloc (then nothing returns NULL: out of memory aborts). */
void *lw_pb_alloc(const ProtobufCAllocator *a, size_t n);
void lw_pb_free(const ProtobufCAllocator *a, void *p);
/* An empty message, or NULL. */
ProtobufCMessage *lw_pb_message_new(const ProtobufCMessageDescriptor *c, const ProtobufCAllocator *a);
void lw_pb_message_free(ProtobufCMessage *m, const ProtobufCAllocator *a);
/* Terminated copy, or NULL. */
char *lw_pb_strndup(const ProtobufCAllocator *a, struct lw_span text);

/* Where the value of the field lives: the member itself, or the pointer to the array of a list or map. */
static inline void *lw_pb_slot(const ProtobufCMessage *m, const struct lw_schema_field *f)
{
	return (void *)((uintptr_t)m + f->c->offset);
}

/* Count of a list or map. */
static inline size_t *lw_pb_count(const ProtobufCMessage *m, const struct lw_schema_field *f)
{
	return (size_t *)((uintptr_t)m + f->c->quantifier_offset);
}

/* Number of the member of a oneof that is set, 0 when none is. */
static inline uint32_t *lw_pb_oneof_case(const ProtobufCMessage *m, const struct lw_schema_field *f)
{
	return (uint32_t *)((uintptr_t)m + f->c->quantifier_offset);
}

/* Size of one value of that kind inside a struct or array. */
size_t lw_pb_value_size(enum lw_kind kind);

/* Makes room for one more value at the end of a list or map and returns its slot, zeroed; it counts once
 * lw_pb_appended() is called. NULL: no memory. */
void *lw_pb_append_slot(ProtobufCMessage *m, const struct lw_schema_field *f, const ProtobufCAllocator *a);
static inline void lw_pb_appended(ProtobufCMessage *m, const struct lw_schema_field *f)
{
	++*lw_pb_count(m, f);
}
