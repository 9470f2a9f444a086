/* Allocation that aborts instead of failing. */
#include "common/base/xmalloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void out_of_memory(size_t size)
{
	fprintf(stderr, "out of memory (%zu bytes asked for)\n", size);
	abort();
}

void *lw_xmalloc(size_t size)
{
	void *p = malloc(size ? size : 1);
	if (!p)
		out_of_memory(size);
	return p;
}

void *lw_xcalloc(size_t n, size_t size)
{
	void *p = n && size ? calloc(n, size) : calloc(1, 1);
	if (!p)
		out_of_memory(size);
	return p;
}

void *lw_xrealloc(void *p, size_t size)
{
	void *q = realloc(p, size ? size : 1);
	if (!q)
		out_of_memory(size);
	return q;
}

void *lw_xreallocarray(void *p, size_t n, size_t size)
{
	size_t total;
	if (__builtin_mul_overflow(n, size, &total))
		out_of_memory(n);
	return lw_xrealloc(p, total);
}

char *lw_xstrdup(const char *s)
{
	return lw_xmemdup(s, strlen(s) + 1);
}

char *lw_xstrndup(const char *s, size_t n)
{
	n = strnlen(s, n);
	char *p = lw_xmalloc(n + 1);
	memcpy(p, s, n);
	p[n] = '\0';
	return p;
}

void *lw_xmemdup(const void *p, size_t n)
{
	void *q = lw_xmalloc(n);
	if (n)
		memcpy(q, p, n);
	return q;
}
