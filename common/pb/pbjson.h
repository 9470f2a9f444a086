/* protobuf <-> proto3 JSON, driven by the schema. Three output profiles, one tolerant input.
 * Contracts: gw.md §6, integration.md §5, api.md §1 (REST). */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/pb/schema.h"

enum lw_pbjson_profile {
	/* Gateways, as the bridge prints: members with default values left out; times with Z; numbers as JavaScript
	 * prints them; NaN and infinities are null. */
	LW_PBJSON_GW,
	/* Application events: members of package integration are always present, unset messages excepted; those of
	 * every other package only when not default. Times with +00:00; floating-point numbers always with a fraction
	 * or an exponent; NaN and infinities are null. */
	LW_PBJSON_EVENT,
	/* REST: every member present, unset messages null, unset oneofs left out; times with Z; numbers as JavaScript
	 * prints them; NaN and infinities as strings. */
	LW_PBJSON_REST,
};

/* Deepest nesting read or written. */
#define LW_PBJSON_MAX_DEPTH 60

/* Appends the compact JSON of the message. Returns 0, LW_EBIG (buffer's maximum; the buffer keeps its error),
 * LW_ELIMIT (nested too deeply) or LW_EINVAL (a message type outside the schema). */
int lw_pbjson_encode(const struct lw_schema *s, const ProtobufCMessage *m, enum lw_pbjson_profile profile,
		     struct lw_buf *out);

/* Reads one JSON object into a new message. Accepts both spellings of names, numbers as text, enum names and numbers,
 * any base64, null as absent; ignores unknown members; refuses duplicate members, two members of one oneof, unknown
 * enum values, text that is no UTF-8 or contains NUL, and what does not fit the type. On success the caller owns *out
 * and frees it by lw_pb_message_free(*out, allocator), or with the arena behind the allocator. Returns 0, LW_EINVAL,
 * LW_ERANGE, LW_ELIMIT (nesting), LW_ENOMEM (the allocator's limit); diag (may be NULL) then names the member. The
 * caller bounds the size of the input. */
int lw_pbjson_decode(const struct lw_schema *s, const ProtobufCMessageDescriptor *type, struct lw_span json,
		     const ProtobufCAllocator *allocator, ProtobufCMessage **out, struct lw_diag *diag);

/* Reads one value from plain text, as in a query or a path: "true", "12", "CLASS_A", an RFC 3339 time, base64, a JSON
 * object for a Struct. Stores it in the field of the message, appends it to a list. For a map the key is given (NULL
 * for all others); a key that is there already is refused. Errors as above. Lists and maps must have been built by this
 * module, not by protobuf_c_message_unpack(). */
int lw_pbtext_set(ProtobufCMessage *m, const struct lw_schema_field *f, const struct lw_span *key, struct lw_span text,
		  const ProtobufCAllocator *allocator, struct lw_diag *diag);
