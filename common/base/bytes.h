/* Borrowed byte ranges, a growing buffer with a maximum, and integers in either byte order. Never does I/O. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A borrowed range of bytes. `p` may be NULL only when n is 0. */
struct lw_span {
	const uint8_t *p;
	size_t n;
};

static inline struct lw_span lw_span(const void *p, size_t n)
{
	return (struct lw_span){.p = p, .n = n};
}

static inline struct lw_span lw_span_str(const char *s)
{
	return (struct lw_span){.p = (const uint8_t *)s, .n = strlen(s)};
}

static inline bool lw_span_eq(struct lw_span a, struct lw_span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* True when the span holds exactly the characters of `s`. */
static inline bool lw_span_eq_str(struct lw_span a, const char *s)
{
	return lw_span_eq(a, lw_span_str(s));
}

/* A heap buffer that grows up to `max` bytes. After the first error it stays in error (sticky `err`), so that a
 * sequence of appends needs one check at its end. `p` is NULL while nothing was appended. `p[n]` is always a readable
 * NUL once something was appended, so the content can be used as text. */
struct lw_buf {
	uint8_t *p;
	size_t n;
	size_t cap;
	size_t max; /* highest n allowed */
	int err;    /* 0 or LW_EBIG */
};

void lw_buf_init(struct lw_buf *b, size_t max);
/* Frees the memory; the buffer is empty and usable again with the same maximum. */
void lw_buf_deinit(struct lw_buf *b);
/* Empties the buffer and clears the error, keeps the memory. */
void lw_buf_reset(struct lw_buf *b);
/* All appends return 0, or LW_EBIG when the maximum would be passed (then nothing is appended). */
int lw_buf_append_far(struct lw_buf *b, const void *p, size_t n); /* the rest of lw_buf_append() */
static inline int lw_buf_append(struct lw_buf *b, const void *p, size_t n)
{
	/* Most pieces are short and find room: a call for each was a third of what JSON cost. */
	if (b->err || b->cap - b->n <= n || b->max - b->n < n)
		return lw_buf_append_far(b, p, n);
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = 0;
	return 0;
}
int lw_buf_append_span(struct lw_buf *b, struct lw_span s);
int lw_buf_append_str(struct lw_buf *b, const char *s);
int lw_buf_append_u8(struct lw_buf *b, uint8_t v);
int lw_buf_printf(struct lw_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int lw_buf_vprintf(struct lw_buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Makes room for n more bytes and returns where to write them (NULL: LW_EBIG); lw_buf_commit() then adds what was
 * really written (at most n). */
uint8_t *lw_buf_reserve(struct lw_buf *b, size_t n);
void lw_buf_commit(struct lw_buf *b, size_t n);
/* Removes n bytes (at most all) at the front; the rest moves down. */
void lw_buf_consume(struct lw_buf *b, size_t n);
/* Content as NUL-terminated text, "" when empty. Borrowed until the next change. */
const char *lw_buf_str(const struct lw_buf *b);
/* Takes the content out of the buffer: caller owns the NUL-terminated memory (free()), the buffer becomes empty. */
char *lw_buf_take(struct lw_buf *b, size_t *n);
static inline struct lw_span lw_buf_span(const struct lw_buf *b)
{
	return (struct lw_span){.p = b->p, .n = b->n};
}

/* Compares without a data-dependent branch; for MICs, tokens and keys. */
bool lw_ct_equal(const void *a, const void *b, size_t n);
/* Overwrites a secret; the compiler does not remove it. */
void lw_wipe(void *p, size_t n);
/* Hash of bytes for tables in memory (not stable across versions, not for untrusted-key flooding on its own). */
uint64_t lw_hash_bytes(const void *p, size_t n);
/* Mixes the bits of an integer key. */
uint64_t lw_hash_u64(uint64_t v);

static inline uint16_t lw_get_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | (p[1] << 8));
}

static inline uint32_t lw_get_le24(const uint8_t *p)
{
	return (uint32_t)p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16);
}

static inline uint32_t lw_get_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16) | ((uint32_t)p[3] << 24);
}

static inline uint64_t lw_get_le64(const uint8_t *p)
{
	return (uint64_t)lw_get_le32(p) | ((uint64_t)lw_get_le32(p + 4) << 32);
}

static inline uint16_t lw_get_be16(const uint8_t *p)
{
	return (uint16_t)((p[0] << 8) | p[1]);
}

static inline uint32_t lw_get_be24(const uint8_t *p)
{
	return ((uint32_t)p[0] << 16) | ((uint32_t)p[1] << 8) | (uint32_t)p[2];
}

static inline uint32_t lw_get_be32(const uint8_t *p)
{
	return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | (uint32_t)p[3];
}

static inline uint64_t lw_get_be64(const uint8_t *p)
{
	return ((uint64_t)lw_get_be32(p) << 32) | (uint64_t)lw_get_be32(p + 4);
}

static inline void lw_put_le16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void lw_put_le24(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
}

static inline void lw_put_le32(uint8_t *p, uint32_t v)
{
	lw_put_le16(p, (uint16_t)v);
	lw_put_le16(p + 2, (uint16_t)(v >> 16));
}

static inline void lw_put_le64(uint8_t *p, uint64_t v)
{
	lw_put_le32(p, (uint32_t)v);
	lw_put_le32(p + 4, (uint32_t)(v >> 32));
}

static inline void lw_put_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void lw_put_be24(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 16);
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)v;
}

static inline void lw_put_be32(uint8_t *p, uint32_t v)
{
	lw_put_be16(p, (uint16_t)(v >> 16));
	lw_put_be16(p + 2, (uint16_t)v);
}

static inline void lw_put_be64(uint8_t *p, uint64_t v)
{
	lw_put_be32(p, (uint32_t)(v >> 32));
	lw_put_be32(p + 4, (uint32_t)v);
}
