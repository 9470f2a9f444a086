/* Growing buffer, constant-time comparison, hashes. */
#include "common/base/bytes.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/bug.h"
#include "common/base/err.h"
#include "common/base/xmalloc.h"

void lw_buf_init(struct lw_buf *b, size_t max)
{
	*b = (struct lw_buf){.max = max};
}

void lw_buf_deinit(struct lw_buf *b)
{
	free(b->p);
	lw_buf_init(b, b->max);
}

void lw_buf_reset(struct lw_buf *b)
{
	b->n = 0;
	b->err = 0;
	if (b->p)
		b->p[0] = 0;
}

/* Room for n more bytes and the terminating NUL. */
static int make_room(struct lw_buf *b, size_t n)
{
	if (b->err)
		return b->err;
	if (n > b->max || b->n > b->max - n) {
		b->err = LW_EBIG;
		return LW_EBIG;
	}
	size_t need = b->n + n + 1;
	if (need <= b->cap)
		return 0;
	size_t cap = b->cap < 64 ? 64 : b->cap;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	if (cap > b->max && b->max < SIZE_MAX)
		cap = b->max + 1;
	b->p = lw_xrealloc(b->p, cap);
	b->cap = cap;
	return 0;
}

int lw_buf_append_far(struct lw_buf *b, const void *p, size_t n)
{
	int rc = make_room(b, n);
	if (rc < 0)
		return rc;
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = 0;
	return 0;
}

int lw_buf_append_span(struct lw_buf *b, struct lw_span s)
{
	return lw_buf_append(b, s.p, s.n);
}

int lw_buf_append_str(struct lw_buf *b, const char *s)
{
	return lw_buf_append(b, s, strlen(s));
}

int lw_buf_append_u8(struct lw_buf *b, uint8_t v)
{
	return lw_buf_append(b, &v, 1);
}

int lw_buf_printf(struct lw_buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int rc = lw_buf_vprintf(b, fmt, ap);
	va_end(ap);
	return rc;
}

int lw_buf_vprintf(struct lw_buf *b, const char *fmt, va_list ap)
{
	if (b->err)
		return b->err;
	va_list again;
	va_copy(again, ap);
	size_t room = b->cap - b->n;
	int n = vsnprintf(room ? (char *)b->p + b->n : NULL, room, fmt, ap);
	BUG_ON(n < 0);
	int rc = 0;
	if ((size_t)n >= room || (size_t)n > b->max - b->n) {
		rc = make_room(b, (size_t)n);
		if (rc == 0)
			vsnprintf((char *)b->p + b->n, b->cap - b->n, fmt, again);
		else if (room)
			b->p[b->n] = 0;
	}
	va_end(again);
	if (rc == 0)
		b->n += (size_t)n;
	return rc;
}

uint8_t *lw_buf_reserve(struct lw_buf *b, size_t n)
{
	return make_room(b, n) < 0 ? NULL : b->p + b->n;
}

void lw_buf_commit(struct lw_buf *b, size_t n)
{
	BUG_ON(n > 0 && (n >= b->cap || b->n > b->cap - n - 1));
	b->n += n;
	if (b->p)
		b->p[b->n] = 0;
}

void lw_buf_consume(struct lw_buf *b, size_t n)
{
	if (n >= b->n) {
		b->n = 0;
	} else if (n) {
		memmove(b->p, b->p + n, b->n - n);
		b->n -= n;
	}
	if (b->p)
		b->p[b->n] = 0;
}

const char *lw_buf_str(const struct lw_buf *b)
{
	return b->p ? (const char *)b->p : "";
}

char *lw_buf_take(struct lw_buf *b, size_t *n)
{
	char *p = b->p ? (char *)b->p : lw_xstrdup("");
	if (n)
		*n = b->n;
	lw_buf_init(b, b->max);
	return p;
}

bool lw_ct_equal(const void *a, const void *b, size_t n)
{
	const volatile uint8_t *x = a;
	const volatile uint8_t *y = b;
	uint8_t diff = 0;
	for (size_t i = 0; i < n; i++)
		diff = (uint8_t)(diff | (x[i] ^ y[i]));
	return diff == 0;
}

void lw_wipe(void *p, size_t n)
{
	explicit_bzero(p, n);
}

uint64_t lw_hash_u64(uint64_t v)
{
	/* Finalizer of MurmurHash3: every input bit reaches every output bit. */
	v ^= v >> 33;
	v *= UINT64_C(0xff51afd7ed558ccd);
	v ^= v >> 33;
	v *= UINT64_C(0xc4ceb9fe1a85ec53);
	v ^= v >> 33;
	return v;
}

uint64_t lw_hash_bytes(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint64_t h = UINT64_C(0x9e3779b97f4a7c15) ^ n;
	while (n >= 8) {
		h = lw_hash_u64(h ^ lw_get_le64(b));
		b += 8;
		n -= 8;
	}
	uint64_t tail = 0;
	for (size_t i = 0; i < n; i++)
		tail |= (uint64_t)b[i] << (8 * i);
	return lw_hash_u64(h ^ tail);
}
