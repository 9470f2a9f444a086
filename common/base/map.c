/* Hash maps with linear probing. A removed slot leaves a mark until the next rebuild, so that walks may remove. */
#include "common/base/map.h"

#include <stdlib.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"

#define CAP_MIN 16

/* value NULL: never used; value == &gone: removed. */
static char gone;

struct lw_map_slot {
	uint64_t key;
	void *value;
};

static bool live(const void *value)
{
	return value && value != &gone;
}

/* True when one more entry needs another table; *cap is its size. Live entries fill at most half of a new table. */
static bool must_rebuild(size_t n, size_t used, size_t *cap)
{
	if (*cap && (used + 1) * 4 <= *cap * 3)
		return false;
	size_t c = CAP_MIN;
	while ((n + 1) * 2 > c)
		c *= 2;
	*cap = c;
	return true;
}

void lw_map_init(struct lw_map *m)
{
	*m = (struct lw_map){0};
}

void lw_map_deinit(struct lw_map *m)
{
	free(m->slots);
	lw_map_init(m);
}

void lw_map_clear(struct lw_map *m)
{
	if (m->slots)
		memset(m->slots, 0, m->cap * sizeof *m->slots);
	m->n = 0;
	m->used = 0;
}

/* Slot of the key, or NULL. */
static struct lw_map_slot *map_slot(const struct lw_map *m, uint64_t key)
{
	if (m->n == 0)
		return NULL;
	for (size_t i = lw_hash_u64(key) & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct lw_map_slot *s = &m->slots[i];
		if (!s->value)
			return NULL;
		if (s->key == key && s->value != &gone)
			return s;
	}
}

static void map_insert(struct lw_map *m, uint64_t key, void *value)
{
	size_t i = lw_hash_u64(key) & (m->cap - 1);
	while (live(m->slots[i].value))
		i = (i + 1) & (m->cap - 1);
	if (!m->slots[i].value)
		m->used++;
	m->slots[i] = (struct lw_map_slot){.key = key, .value = value};
	m->n++;
}

void *lw_map_find(const struct lw_map *m, uint64_t key)
{
	const struct lw_map_slot *s = map_slot(m, key);
	return s ? s->value : NULL;
}

void *lw_map_put(struct lw_map *m, uint64_t key, void *value)
{
	BUG_ON(!value);
	struct lw_map_slot *s = map_slot(m, key);
	if (s) {
		void *old = s->value;
		s->value = value;
		return old;
	}
	size_t cap = m->cap;
	if (must_rebuild(m->n, m->used, &cap)) {
		struct lw_map bigger = {.slots = lw_xcalloc(cap, sizeof *m->slots), .cap = cap};
		for (size_t i = 0; i < m->cap; i++)
			if (live(m->slots[i].value))
				map_insert(&bigger, m->slots[i].key, m->slots[i].value);
		free(m->slots);
		*m = bigger;
	}
	map_insert(m, key, value);
	return NULL;
}

void *lw_map_remove(struct lw_map *m, uint64_t key)
{
	struct lw_map_slot *s = map_slot(m, key);
	if (!s)
		return NULL;
	void *old = s->value;
	s->value = &gone;
	m->n--;
	return old;
}

bool lw_map_next(const struct lw_map *m, size_t *it, uint64_t *key, void **value)
{
	while (*it < m->cap) {
		const struct lw_map_slot *s = &m->slots[(*it)++];
		if (!live(s->value))
			continue;
		if (key)
			*key = s->key;
		if (value)
			*value = s->value;
		return true;
	}
	return false;
}

struct lw_bmap_slot {
	uint64_t hash;
	struct lw_span key; /* heap copy, owned while live */
	void *value;
};

void lw_bmap_init(struct lw_bmap *m)
{
	*m = (struct lw_bmap){0};
}

static void free_keys(struct lw_bmap *m)
{
	for (size_t i = 0; i < m->cap; i++)
		if (live(m->slots[i].value))
			free((void *)(uintptr_t)m->slots[i].key.p);
}

void lw_bmap_deinit(struct lw_bmap *m)
{
	free_keys(m);
	free(m->slots);
	lw_bmap_init(m);
}

void lw_bmap_clear(struct lw_bmap *m)
{
	free_keys(m);
	if (m->slots)
		memset(m->slots, 0, m->cap * sizeof *m->slots);
	m->n = 0;
	m->used = 0;
}

static struct lw_bmap_slot *bmap_slot(const struct lw_bmap *m, struct lw_span key, uint64_t hash)
{
	if (m->n == 0)
		return NULL;
	for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct lw_bmap_slot *s = &m->slots[i];
		if (!s->value)
			return NULL;
		if (s->value != &gone && s->hash == hash && lw_span_eq(s->key, key))
			return s;
	}
}

static void bmap_insert(struct lw_bmap *m, const struct lw_bmap_slot *entry)
{
	size_t i = entry->hash & (m->cap - 1);
	while (live(m->slots[i].value))
		i = (i + 1) & (m->cap - 1);
	if (!m->slots[i].value)
		m->used++;
	m->slots[i] = *entry;
	m->n++;
}

void *lw_bmap_find(const struct lw_bmap *m, struct lw_span key)
{
	const struct lw_bmap_slot *s = bmap_slot(m, key, lw_hash_bytes(key.p, key.n));
	return s ? s->value : NULL;
}

void *lw_bmap_put(struct lw_bmap *m, struct lw_span key, void *value)
{
	BUG_ON(!value);
	uint64_t hash = lw_hash_bytes(key.p, key.n);
	struct lw_bmap_slot *s = bmap_slot(m, key, hash);
	if (s) {
		void *old = s->value;
		s->value = value;
		return old;
	}
	size_t cap = m->cap;
	if (must_rebuild(m->n, m->used, &cap)) {
		struct lw_bmap bigger = {.slots = lw_xcalloc(cap, sizeof *m->slots), .cap = cap};
		for (size_t i = 0; i < m->cap; i++)
			if (live(m->slots[i].value))
				bmap_insert(&bigger, &m->slots[i]);
		free(m->slots);
		*m = bigger;
	}
	struct lw_bmap_slot entry = {.hash = hash, .key = lw_span(lw_xmemdup(key.p, key.n), key.n), .value = value};
	bmap_insert(m, &entry);
	return NULL;
}

void *lw_bmap_remove(struct lw_bmap *m, struct lw_span key)
{
	struct lw_bmap_slot *s = bmap_slot(m, key, lw_hash_bytes(key.p, key.n));
	if (!s)
		return NULL;
	void *old = s->value;
	free((void *)(uintptr_t)s->key.p);
	s->key = (struct lw_span){0};
	s->value = &gone;
	m->n--;
	return old;
}

bool lw_bmap_next(const struct lw_bmap *m, size_t *it, struct lw_span *key, void **value)
{
	while (*it < m->cap) {
		const struct lw_bmap_slot *s = &m->slots[(*it)++];
		if (!live(s->value))
			continue;
		if (key)
			*key = s->key;
		if (value)
			*value = s->value;
		return true;
	}
	return false;
}
