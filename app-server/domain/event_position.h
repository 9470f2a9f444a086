/* How far each origin's events have been dealt with (docs/decisions/0003): what is acknowledged to the network-server,
 * and what the retained position message says. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

#define AS_POSITIONS_MAX 64
#define AS_ORIGIN_MAX 64 /* with "#lane" */

struct as_position {
	char origin[AS_ORIGIN_MAX];
	uint64_t seq;
};

/* The most recently noted origin first; the one that was silent longest makes room. */
struct as_positions {
	size_t n;
	struct as_position v[AS_POSITIONS_MAX];
};

/* 0 for an origin that is not there. */
uint64_t as_positions_get(const struct as_positions *p, const char *origin);
/* Only ever forward. False when the origin's name is empty or too long. */
bool as_positions_note(struct as_positions *p, const char *origin, uint64_t seq);
/* "origin" of a stream that has everything, "origin#lane" where streams share (ns.proto, EventBatch). */
const char *as_position_name(const char *origin, const char *dev_eui, bool split, char out[AS_ORIGIN_MAX]);
/* Somebody has published it. */
bool as_positions_cover(const struct as_positions *p, const char *origin, const char *dev_eui, uint64_t seq);
/* Not all of the room for others. */
void as_positions_copy(struct as_positions *to, const struct as_positions *from);
/* Notes all of `from`. */
void as_positions_join(struct as_positions *p, const struct as_positions *from);
/* {"origin":"seq",…} */
void as_positions_print(const struct as_positions *p, struct lw_buf *out);
/* Notes what the text says. 0, or LW_EINVAL: nothing noted. */
int as_positions_parse(struct as_positions *p, struct lw_span json);
