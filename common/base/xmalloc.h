/* Allocation that never fails: out of memory aborts. Sizes that come from outside are capped by the caller first. */
#pragma once

#include <stddef.h>

void *lw_xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *lw_xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *lw_xrealloc(void *p, size_t size) __attribute__((returns_nonnull));
/* Array form: aborts when n * size overflows. */
void *lw_xreallocarray(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
char *lw_xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *lw_xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
void *lw_xmemdup(const void *p, size_t n) __attribute__((malloc, returns_nonnull));
