/* Bump allocator. */
#include "common/base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"

#define BLOCK_MIN 4096

struct lw_arena_block {
	struct lw_arena_block *next;
	size_t cap;
	alignas(max_align_t) uint8_t mem[];
};

static void use_range(struct lw_arena *a, uint8_t *p, size_t n)
{
	size_t skew = (size_t)(-(uintptr_t)p & (alignof(max_align_t) - 1));
	if (skew > n)
		skew = n;
	a->p = p ? p + skew : NULL;
	a->end = p ? p + n : NULL;
}

void lw_arena_init(struct lw_arena *a, void *inline_mem, size_t inline_cap, size_t max)
{
	*a = (struct lw_arena){.first = inline_mem, .first_cap = inline_mem ? inline_cap : 0, .max = max};
	use_range(a, a->first, a->first_cap);
}

void lw_arena_lend(struct lw_arena *a, void *mem, size_t cap)
{
	use_range(a, mem, cap);
}

void lw_arena_reset(struct lw_arena *a)
{
	while (a->blocks) {
		struct lw_arena_block *b = a->blocks;
		a->blocks = b->next;
		free(b);
	}
	a->used = 0;
	use_range(a, a->first, a->first_cap);
}

void lw_arena_rewind(struct lw_arena *a, const struct lw_arena *then)
{
	while (a->blocks != then->blocks) {
		struct lw_arena_block *b = a->blocks;
		a->blocks = b->next;
		free(b);
	}
	*a = *then;
}

void lw_arena_deinit(struct lw_arena *a)
{
	lw_arena_reset(a);
}

void *lw_arena_alloc(struct lw_arena *a, size_t n)
{
	if (n > a->max || a->used > a->max - n)
		return NULL;
	size_t step = alignof(max_align_t);
	size_t size = n ? (n + step - 1) & ~(step - 1) : step;
	if (size < n)
		return NULL;
	if (!a->p || size > (size_t)(a->end - a->p)) {
		size_t cap = a->blocks ? a->blocks->cap * 2 : BLOCK_MIN;
		if (cap > 64 * BLOCK_MIN)
			cap = 64 * BLOCK_MIN;
		if (cap < size)
			cap = size;
		struct lw_arena_block *b = lw_xmalloc(sizeof *b + cap);
		b->cap = cap;
		b->next = a->blocks;
		a->blocks = b;
		use_range(a, b->mem, cap);
	}
	void *out = a->p;
	a->p += size;
	a->used += n;
	return out;
}

void *lw_arena_calloc(struct lw_arena *a, size_t n, size_t size)
{
	size_t total;
	if (__builtin_mul_overflow(n, size, &total))
		return NULL;
	void *p = lw_arena_alloc(a, total);
	if (p)
		memset(p, 0, total);
	return p;
}

void *lw_arena_memdup(struct lw_arena *a, const void *p, size_t n)
{
	void *q = lw_arena_alloc(a, n);
	if (q && n)
		memcpy(q, p, n);
	return q;
}

char *lw_arena_strdup(struct lw_arena *a, const char *s)
{
	return lw_arena_memdup(a, s, strlen(s) + 1);
}

char *lw_arena_strndup(struct lw_arena *a, const char *s, size_t n)
{
	n = strnlen(s, n);
	char *p = lw_arena_alloc(a, n + 1);
	if (!p)
		return NULL;
	memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

char *lw_arena_printf(struct lw_arena *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	BUG_ON(n < 0);
	char *p = lw_arena_alloc(a, (size_t)n + 1);
	if (p)
		vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	return p;
}

struct lw_span lw_arena_span(struct lw_arena *a, struct lw_span s)
{
	void *p = s.n ? lw_arena_memdup(a, s.p, s.n) : NULL;
	return lw_span(p, p ? s.n : 0);
}
