/* protobuf bytes from outside into messages, bounded. protobuf-c alone recurses without limit and takes any bytes as
 * text, so everything that arrives from a network or a broker comes through here. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"

/* Deepest nesting of messages accepted: what lw_pbjson_decode() can make of LW_PBJSON_MAX_DEPTH levels of JSON. */
#define LW_PB_MAX_DEPTH 200

/* Checks structure, nesting and UTF-8 without allocating. 0, LW_ETRUNC, LW_EINVAL or LW_ELIMIT. */
int lw_pb_check(const ProtobufCMessageDescriptor *type, struct lw_span wire);

/* Unpacks into the arena, whose maximum bounds the memory (a few bytes of input can become a large struct). The message
 * does not refer to the input; it lives as long as the arena and is never freed on its own. Returns 0, the errors of
 * lw_pb_check(), or LW_ENOMEM. */
int lw_pb_unpack(const ProtobufCMessageDescriptor *type, struct lw_span wire, struct lw_arena *arena,
		 ProtobufCMessage **out);

/* A member at the top level of a serialized message. */
struct lw_pb_member {
	uint32_t id;
	ProtobufCWireType type;
	uint64_t number;     /* of a varint */
	struct lw_span body; /* of all others, borrowed */
};

/* Takes the first member from `wire`, which is not empty. 0, LW_ETRUNC or LW_EINVAL. */
int lw_pb_next(struct lw_span *wire, struct lw_pb_member *out);

/* The last occurrence of a text, bytes or message field at the top level of a serialized message, without unpacking it;
 * empty when there is none. 0, LW_ETRUNC or LW_EINVAL. */
int lw_pb_find_bytes(struct lw_span wire, uint32_t tag, struct lw_span *out);

/* Writes v as protobuf does, one to ten bytes. Returns how many. */
size_t lw_pb_put_varint(uint8_t out[10], uint64_t v);

/* Appends the serialized message. 0 or LW_EBIG. */
int lw_pb_pack(const ProtobufCMessage *m, struct lw_buf *out);

/* The serialized message in the arena; p is NULL when that is full. */
struct lw_span lw_pb_pack_arena(const ProtobufCMessage *m, struct lw_arena *arena);
