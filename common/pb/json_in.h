/* A strict pull parser for JSON (RFC 8259): bounded depth, valid UTF-8 only, no allocation but for decoded texts.
 * Works on borrowed bytes; pure. After the first error every call returns that error again. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

enum lw_json_type {
	LW_JSON_NULL,
	LW_JSON_FALSE,
	LW_JSON_TRUE,
	LW_JSON_NUMBER,
	LW_JSON_STRING,
	LW_JSON_OBJECT,
	LW_JSON_ARRAY,
};

struct lw_json_in {
	const uint8_t *start;
	const uint8_t *p;
	const uint8_t *end;
	unsigned depth;
	unsigned max_depth;
	int err;
	struct lw_buf text; /* of the last string that had escapes */
};

/* The input is borrowed until lw_json_in_deinit(). */
void lw_json_in_init(struct lw_json_in *in, struct lw_span json, unsigned max_depth);
void lw_json_in_deinit(struct lw_json_in *in);
/* Offset of what is read next; where the error was found, after an error. */
size_t lw_json_in_offset(const struct lw_json_in *in);

/* Type of the value that comes next (an enum lw_json_type), or LW_EINVAL. Consumes white space only. */
int lw_json_peek(struct lw_json_in *in);
/* Consume a value of that type. A text is valid until the next call that reads a text. A number is the characters as
 * written, checked against the grammar. */
int lw_json_string(struct lw_json_in *in, struct lw_span *text);
int lw_json_number(struct lw_json_in *in, struct lw_span *digits);
int lw_json_literal(struct lw_json_in *in); /* null, true or false */
/* Consumes a value of any type. */
int lw_json_skip(struct lw_json_in *in);

/* Containers: after enter, call next until it returns 0 (1: a member or element follows; its value must be consumed
 * before the next call). Start with *first = true. */
int lw_json_enter(struct lw_json_in *in, enum lw_json_type type); /* LW_JSON_OBJECT or LW_JSON_ARRAY */
int lw_json_next_member(struct lw_json_in *in, bool *first, struct lw_span *name);
int lw_json_next_element(struct lw_json_in *in, bool *first);
/* Only white space may be left. */
int lw_json_end(struct lw_json_in *in);
