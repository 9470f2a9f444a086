/* Hash maps in memory, open addressing: 64-bit key or byte-string key to a borrowed pointer. Values are not owned;
 * NULL is not a value. Pointers to slots are never handed out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

struct lw_map_slot;

struct lw_map {
	struct lw_map_slot *slots;
	size_t cap; /* power of two, or 0 */
	size_t n;
	size_t used; /* live and deleted slots */
};

void lw_map_init(struct lw_map *m);
void lw_map_deinit(struct lw_map *m);
void lw_map_clear(struct lw_map *m);
/* Borrowed value, or NULL. */
void *lw_map_find(const struct lw_map *m, uint64_t key);
/* Stores and returns the value that was there before, or NULL. */
void *lw_map_put(struct lw_map *m, uint64_t key, void *value);
/* Removes and returns the value, or NULL. */
void *lw_map_remove(struct lw_map *m, uint64_t key);
static inline size_t lw_map_count(const struct lw_map *m)
{
	return m->n;
}
/* Walks all entries in no order: start with *it = 0. The current entry may be removed, nothing may be put meanwhile. */
bool lw_map_next(const struct lw_map *m, size_t *it, uint64_t *key, void **value);

struct lw_bmap_slot;

/* The same with byte strings as keys; the map keeps copies of the keys. */
struct lw_bmap {
	struct lw_bmap_slot *slots;
	size_t cap;
	size_t n;
	size_t used;
};

void lw_bmap_init(struct lw_bmap *m);
void lw_bmap_deinit(struct lw_bmap *m);
void lw_bmap_clear(struct lw_bmap *m);
void *lw_bmap_find(const struct lw_bmap *m, struct lw_span key);
void *lw_bmap_put(struct lw_bmap *m, struct lw_span key, void *value);
void *lw_bmap_remove(struct lw_bmap *m, struct lw_span key);
static inline size_t lw_bmap_count(const struct lw_bmap *m)
{
	return m->n;
}
/* `key` is borrowed from the map until the entry is removed. */
bool lw_bmap_next(const struct lw_bmap *m, size_t *it, struct lw_span *key, void **value);
