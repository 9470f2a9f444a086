#include "app-server/domain/similarity.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>

#define MAX_PIECES 512

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

/* Words are padded by two blanks before and one after, so that beginnings weigh more than ends. Sorted, distinct. */
static unsigned pieces(const char *s, uint32_t out[MAX_PIECES])
{
	unsigned n = 0;
	while (*s && n < MAX_PIECES) {
		uint32_t last = ' ' << 8 | ' ';
		while (*s && !isalnum((unsigned char)*s) && (unsigned char)*s < 0x80)
			s++;
		if (!*s)
			break;
		for (; n < MAX_PIECES && *s && (isalnum((unsigned char)*s) || (unsigned char)*s >= 0x80); s++) {
			last = (last << 8 | (uint32_t)tolower((unsigned char)*s)) & 0xffffff;
			out[n++] = last;
		}
		if (n < MAX_PIECES)
			out[n++] = (last << 8 | ' ') & 0xffffff;
	}
	qsort(out, n, sizeof(*out), by_value);
	unsigned m = 0;
	for (unsigned i = 0; i < n; i++) {
		if (m == 0 || out[m - 1] != out[i])
			out[m++] = out[i];
	}
	return m;
}

float as_similarity(const char *a, const char *b)
{
	uint32_t x[MAX_PIECES];
	uint32_t y[MAX_PIECES];
	unsigned nx = pieces(a, x);
	unsigned ny = pieces(b, y);
	unsigned common = 0;

	for (unsigned i = 0, j = 0; i < nx && j < ny;) {
		if (x[i] == y[j]) {
			common++;
			i++;
			j++;
		} else if (x[i] < y[j]) {
			i++;
		} else {
			j++;
		}
	}
	unsigned all = nx + ny - common;
	return all ? (float)common / (float)all : 0.0f;
}
