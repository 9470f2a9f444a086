/* Bump allocator for the memory of one flow: many small pieces, released at once. Not thread-safe. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

struct lw_arena_block;

struct lw_arena {
	uint8_t *first; /* caller's memory, or NULL */
	size_t first_cap;
	uint8_t *p; /* free range of the current block */
	uint8_t *end;
	struct lw_arena_block *blocks; /* heap blocks, newest first */
	size_t used;                   /* bytes handed out since the last reset */
	size_t max;                    /* most that may be handed out between two resets */
};

/* `inline_mem` (may be NULL with 0) is used before the heap; it stays the caller's. */
void lw_arena_init(struct lw_arena *a, void *inline_mem, size_t inline_cap, size_t max);
/* What comes next is taken from this memory of the caller's, which must outlive the next reset; then from the heap. */
void lw_arena_lend(struct lw_arena *a, void *mem, size_t cap);
/* Frees all heap blocks; usable again. */
void lw_arena_reset(struct lw_arena *a);
/* Takes back what was handed out since `then`, a copy of *a made before; no reset since. */
void lw_arena_rewind(struct lw_arena *a, const struct lw_arena *then);
void lw_arena_deinit(struct lw_arena *a);
/* Aligned for every type, content undefined. NULL only when `max` would be passed. n = 0 gives a valid pointer. */
void *lw_arena_alloc(struct lw_arena *a, size_t n);
void *lw_arena_calloc(struct lw_arena *a, size_t n, size_t size);
/* Copies; the text is terminated. NULL as above. */
void *lw_arena_memdup(struct lw_arena *a, const void *p, size_t n);
char *lw_arena_strdup(struct lw_arena *a, const char *s);
char *lw_arena_strndup(struct lw_arena *a, const char *s, size_t n);
char *lw_arena_printf(struct lw_arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A copy of the range; {NULL, 0} when it is empty or there is no room. */
struct lw_span lw_arena_span(struct lw_arena *a, struct lw_span s);

#define LW_ARENA_NEW(a, type) ((type *)lw_arena_calloc((a), 1, sizeof(type)))
#define LW_ARENA_ARRAY(a, type, n) ((type *)lw_arena_calloc((a), (n), sizeof(type)))
