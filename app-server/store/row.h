/* Between protobuf messages and SQL rows, by field name: what is stored as it is spoken needs no code of its own.
 * Conversions: string ↔ text; bool, integers and enums ↔ bigint; double ↔ double precision; Timestamp ↔ bigint of
 * microseconds (0: unset); map<string,string> and repeated string ↔ compact JSON text. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/io/sql.h"

struct as;
/* What a row holds in `column` cannot be read: its place in the log, and counted. Whoever read it goes on with the
 * others. */
void as_row_damaged(struct as *as, const char *table, const char *id, const char *column);

/* Appends the members named in `fields` ("name description tags"), in that order. */
void as_row_bind(struct sql_params *p, const ProtobufCMessage *msg, const char *fields);
/* Sets the members named in `fields` from consecutive columns, beginning with `col`. "-" skips a column. */
void as_row_fill(struct lw_arena *arena, ProtobufCMessage *msg, const char *fields, const struct sql_result *r,
		 size_t row, size_t col);

/* A zeroed message in the arena. */
void *as_msg_new(struct lw_arena *arena, const ProtobufCMessageDescriptor *d);
/* Of a message that goes before the copy may, such as the network-server's answer when its handler returns. */
void *as_msg_copy(struct lw_arena *arena, const ProtobufCMessage *m);
/* Sets the repeated message member `name` to n new items and returns them. */
ProtobufCMessage **as_msg_list(struct lw_arena *arena, ProtobufCMessage *msg, const char *name, size_t n);
/* google.protobuf.Timestamp, NULL for 0. */
struct Google__Protobuf__Timestamp *as_timestamp(struct lw_arena *arena, int64_t unix_us);
int64_t as_timestamp_us(const struct Google__Protobuf__Timestamp *t);

/* Compact JSON object of a map<string,string> member's entries, or array of a repeated string. In the arena. */
const char *as_strings_to_json(const ProtobufCMessage *msg, const char *field, struct lw_buf *out);
/* The piece that a JSON object with this pair contains, its opening brace taken as a comma: ,"key":"value". Quotes
 * inside texts are escaped, so it is found exactly where the pair is. */
const char *as_pair_text(struct lw_arena *arena, const char *key, const char *value);
