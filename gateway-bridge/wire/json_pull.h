/* A strict pull reader for JSON text (RFC 8259) in memory: walks values in place, hands out spans of the input. Never
 * allocates, never recurses without bound, never reads past the end. What is not asked for is skipped and still
 * checked.
 *
 * A reader is a cursor. The first mistake of the text sets `broken`, from then on every call fails; what was read
 * before stays valid. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

#define GB_JSON_MAX_DEPTH 32

enum gb_json_kind {
	GB_JSON_BROKEN, /* no value here: end of text, or not JSON */
	GB_JSON_NULL,
	GB_JSON_BOOL,
	GB_JSON_NUMBER,
	GB_JSON_STRING,
	GB_JSON_ARRAY,
	GB_JSON_OBJECT,
};

struct gb_json {
	const char *p;
	const char *end;
	bool broken;
};

static inline struct gb_json gb_json_init(struct lw_span text)
{
	const char *p = text.n ? (const char *)text.p : "";
	return (struct gb_json){.p = p, .end = p + text.n};
}

/* Kind of the value at the cursor. */
enum gb_json_kind gb_json_peek(struct gb_json *j);
/* Steps over the value and gives its text (quotes and brackets included). False: broken. */
bool gb_json_value(struct gb_json *j, struct lw_span *out);
bool gb_json_skip(struct gb_json *j);
/* Nothing but white space is left. */
bool gb_json_at_end(struct gb_json *j);

/* Into an object: gb_json_open(), then gb_json_member() until it is false; each time the cursor is at the member's
 * value, which must be consumed. `key` is the text between the quotes, escapes as written. `first` is the loop's own
 * state. */
bool gb_json_open(struct gb_json *j, char bracket);
bool gb_json_member(struct gb_json *j, bool *first, struct lw_span *key);
/* The same for an array; true: the cursor is at an element. */
bool gb_json_element(struct gb_json *j, bool *first);

/* The text of a value as gb_json_value() gave it, read as something. All return false for another kind or range. */

/* value * 10^decimals, rounded to the nearest integer (half away from zero). */
bool gb_json_fixed(struct lw_span value, int decimals, int64_t min, int64_t max, int64_t *out);
bool gb_json_double(struct lw_span value, double *out);
/* Unescapes a string into out; returns its length or -1 (no string, no room, a lone surrogate). Not terminated. */
int gb_json_string(struct lw_span value, char *out, size_t cap);
/* The text between the quotes when nothing in it is escaped; false otherwise. */
bool gb_json_plain(struct lw_span value, struct lw_span *out);
/* Well-formed UTF-8 without NUL: what a protobuf string may hold. */
bool gb_utf8_valid(const char *s, size_t n);
