/* lw_buf_append() where most pieces are short and there is room: a third of what JSON costs is in its calls. Of this
 * folder only. */
#pragma once

#include "common/base/bytes.h"

static inline void lw_pb_append(struct lw_buf *b, const void *p, size_t n)
{
	if (b->err || b->cap - b->n <= n || b->max - b->n < n) {
		lw_buf_append(b, p, n);
		return;
	}
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = 0;
}
