/* Pieces of one size that come and go in thousands, such as the frames under way. They lie in blocks of their own,
 * which go back to the system when nothing in them is used: a burst leaves no holes in the heap for what lives long to
 * settle in. Not thread-safe. Under AddressSanitizer each piece is malloc'ed, so that it sees misuse. */
#pragma once

#include <stddef.h>

#include "common/base/list.h"

struct lw_slab {
	size_t size; /* of a piece with its header */
	size_t per_block;
	size_t keep; /* empty blocks that stay */
	size_t n_empty;
	size_t n_blocks;        /* read only; for statistics */
	size_t used;            /* read only: pieces handed out */
	size_t most;            /* read only: blocks in use at once since lw_slab_keep() */
	struct lw_list partial; /* blocks with free pieces, those with used ones in front */
};

#define LW_SLAB_BLOCK ((size_t)256 << 10)

/* Pieces of `size` bytes, at most a quarter of a block; up to `keep` empty blocks are kept for the next burst. */
void lw_slab_init(struct lw_slab *s, size_t size, size_t keep);
/* From now on up to `keep` empty blocks are kept; what is empty beyond that goes back to the system. An owner under a
 * steady load keeps what it had in use at once (`most`), or the same pages go and come with each batch. */
void lw_slab_keep(struct lw_slab *s, size_t keep);
/* What has not been given back stays where it is. */
void lw_slab_deinit(struct lw_slab *s);
/* Content undefined, aligned for every type. Never NULL. */
void *lw_slab_alloc(struct lw_slab *s);
/* NULL is harmless. */
void lw_slab_free(struct lw_slab *s, void *piece);
