/* Each piece has the place of its block in front of it. A block hands out its pieces one after the other, then those
 * that came back, the last one first. */
#include "common/base/slab.h"

#include <stdalign.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"

#if defined(__SANITIZE_ADDRESS__)
#define PLAIN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLAIN 1
#endif
#endif
#ifndef PLAIN
#define PLAIN 0
#endif

struct block {
	struct lw_list node;
	void *free;   /* first of those that came back; each begins with the place of the next */
	size_t fresh; /* handed out at least once */
	size_t used;
	alignas(max_align_t) unsigned char mem[];
};

struct piece {
	struct block *block;
	alignas(max_align_t) unsigned char mem[];
};

void lw_slab_init(struct lw_slab *s, size_t size, size_t keep)
{
	size_t step = alignof(max_align_t);
	*s = (struct lw_slab){.size = (sizeof(struct piece) + size + step - 1) / step * step, .keep = keep};
	BUG_ON(size < sizeof(void *) || size > LW_SLAB_BLOCK / 4);
	s->per_block = (LW_SLAB_BLOCK - sizeof(struct block)) / s->size;
	lw_list_init(&s->partial);
}

static struct block *block_new(struct lw_slab *s)
{
	struct block *b = mmap(NULL, LW_SLAB_BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	BUG_ON(b == MAP_FAILED); /* as lw_xmalloc() */
	s->n_blocks++;
	return b;
}

static void block_free(struct lw_slab *s, struct block *b)
{
	lw_list_remove(&b->node);
	munmap(b, LW_SLAB_BLOCK);
	s->n_blocks--;
}

void lw_slab_keep(struct lw_slab *s, size_t keep)
{
	s->keep = keep;
	s->most = s->n_blocks - s->n_empty;
	while (s->n_empty > keep) { /* they are the last ones */
		block_free(s, LW_CONTAINER_OF(s->partial.prev, struct block, node));
		s->n_empty--;
	}
}

void lw_slab_deinit(struct lw_slab *s)
{
	LW_LIST_FOREACH (n, tmp, &s->partial) {
		struct block *b = LW_CONTAINER_OF(n, struct block, node);
		if (b->used == 0)
			block_free(s, b);
	}
}

void *lw_slab_alloc(struct lw_slab *s)
{
	s->used++;
	if (PLAIN)
		return lw_xmalloc(s->size);
	if (lw_list_empty(&s->partial)) {
		lw_list_push_back(&s->partial, &block_new(s)->node);
		s->n_empty++;
	}
	struct block *b = LW_CONTAINER_OF(s->partial.next, struct block, node);
	struct piece *p = b->free;
	if (p)
		b->free = *(void **)(void *)p->mem;
	else
		p = (struct piece *)(void *)(b->mem + s->size * b->fresh++);
	p->block = b;
	if (b->used == 0 && s->n_blocks - --s->n_empty > s->most)
		s->most = s->n_blocks - s->n_empty;
	if (++b->used == s->per_block)
		lw_list_remove(&b->node);
	return p->mem;
}

void lw_slab_free(struct lw_slab *s, void *piece)
{
	if (!piece)
		return;
	s->used--;
	if (PLAIN) {
		free(piece);
		return;
	}
	struct piece *p = LW_CONTAINER_OF(piece, struct piece, mem);
	struct block *b = p->block;
	*(void **)(void *)p->mem = b->free;
	b->free = p;
	if (b->used-- == s->per_block)
		lw_list_push_front(&s->partial, &b->node);
	if (b->used > 0)
		return;
	if (s->n_empty == s->keep) {
		block_free(s, b);
		return;
	}
	s->n_empty++;
	lw_list_remove(&b->node);
	lw_list_push_back(&s->partial, &b->node);
}
