/* One value from its text, as JSON strings and numbers, map keys, queries and paths have it. For the decoders of this
 * folder. `diag` (may be NULL) gets the reason; slots are as lw_pb_slot() gives them. */
#pragma once

#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/pb/schema.h"

/* Set the reason and return the error. */
int lw_scalar_bad(struct lw_diag *diag, int err, const char *what);
int lw_scalar_no_memory(struct lw_diag *diag);

/* Follows the grammar of JSON numbers: no blanks, hexadecimal digits or words. */
bool lw_scalar_is_number(struct lw_span text);
/* An integer or real of that kind; reals also "NaN", "Infinity", "-Infinity". LW_EINVAL, LW_ERANGE. */
int lw_scalar_number(struct lw_diag *diag, enum lw_kind kind, struct lw_span text, void *slot);
/* By name, or by number when `number`. LW_EINVAL when there is no such value. */
int lw_scalar_enum(struct lw_diag *diag, const struct lw_schema_enum *type, struct lw_span text, bool number,
		   void *slot);
/* A copy of valid UTF-8 without NUL. LW_EINVAL, LW_ENOMEM. */
int lw_scalar_text(struct lw_diag *diag, struct lw_span text, const ProtobufCAllocator *a, void *slot);
/* From base64. LW_EINVAL, LW_ENOMEM. */
int lw_scalar_bytes(struct lw_diag *diag, struct lw_span text, const ProtobufCAllocator *a, void *slot);
/* Fill a Timestamp or a Duration. LW_EINVAL, LW_ERANGE. */
int lw_scalar_time(struct lw_diag *diag, struct lw_span text, ProtobufCMessage *m);
int lw_scalar_duration(struct lw_diag *diag, struct lw_span text, ProtobufCMessage *m);
/* The key of a map entry. */
int lw_scalar_key(struct lw_diag *diag, const struct lw_schema_field *key, struct lw_span text,
		  const ProtobufCAllocator *a, ProtobufCMessage *entry);

/* True when two entries of the map have the same key. */
bool lw_pb_has_duplicate_keys(const struct lw_schema_field *f, const ProtobufCMessage *m);

/* Reads a JSON document as a message of that type: lw_pbjson_decode() for callers that have the type already. */
int lw_pbjson_read(const struct lw_schema_message *type, struct lw_span json, const ProtobufCAllocator *a,
		   ProtobufCMessage **out, struct lw_diag *diag);
