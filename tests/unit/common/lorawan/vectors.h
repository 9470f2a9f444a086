/* Reads tab-separated golden vectors line by line; for tests of regional facts and frames. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/bytes.h"
#include "common/base/hex.h"
#include "common/base/ids.h"

#define VEC_FIELDS 24

struct vec {
	FILE *f;
	char line[2048];
	char *field[VEC_FIELDS]; /* "-" and missing fields are "" */
	size_t n;
	unsigned number;
};

static inline void vec_open(struct vec *v, const char *path)
{
	char full[1024];
	(void)snprintf(full, sizeof full, "%s/%s", LW_SOURCE_DIR, path);
	*v = (struct vec){.f = fopen(full, "r")};
	if (!v->f)
		fail_msg("cannot open %s", full);
}

/* Next line that is neither empty nor a comment; false (and closed) at the end. */
static inline bool vec_next(struct vec *v)
{
	static char empty[] = "";
	while (fgets(v->line, sizeof v->line, v->f)) {
		v->number++;
		v->line[strcspn(v->line, "\n")] = '\0';
		if (v->line[0] == '#' || v->line[0] == '\0')
			continue;
		v->n = 0;
		for (size_t i = 0; i < VEC_FIELDS; i++)
			v->field[i] = empty;
		char *rest = v->line;
		for (char *p; v->n < VEC_FIELDS && (p = strsep(&rest, "\t"));)
			v->field[v->n++] = strcmp(p, "-") == 0 ? empty : p;
		return true;
	}
	fclose(v->f);
	return false;
}

static inline size_t vec_bytes(const char *hex, uint8_t *out, size_t cap)
{
	int n = lw_hex_decode(hex, strlen(hex), out, cap);
	if (n < 0)
		fail_msg("not hex: %s", hex);
	return (size_t)n;
}

static inline struct lw_key vec_key(const char *hex)
{
	struct lw_key k;
	assert_int_equal(lw_key_parse(&k, hex), 0);
	return k;
}
