#include "common/runtime/conf_value.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/hex.h"
#include "common/base/xmalloc.h"

void *conf_at(const struct conf_item *item, void *base)
{
	return (char *)base + item->offset;
}

const void *conf_at_const(const struct conf_item *item, const void *base)
{
	return (const char *)base + item->offset;
}

/* --- numbers with units ----------------------------------------------------------------------------------------- */

struct unit {
	const char *name;
	uint64_t factor;
};

static int parse_with_unit(const char *text, const struct unit *units, uint64_t *out)
{
	if (!isdigit((unsigned char)text[0]))
		return LW_EINVAL;
	char *end;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (errno)
		return LW_ERANGE;
	while (*end == ' ')
		end++;
	for (const struct unit *u = units; u->name; u++) {
		if (strcmp(end, u->name) == 0)
			return __builtin_mul_overflow(v, u->factor, out) ? LW_ERANGE : 0;
	}
	return LW_EINVAL;
}

int conf_parse_duration_ms(const char *text, uint64_t *out)
{
	static const struct unit units[] = {{"", 1},        {"ms", 1},      {"s", 1000},     {"m", 60000},
					    {"min", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
	return parse_with_unit(text, units, out);
}

int conf_parse_size(const char *text, uint64_t *out)
{
	static const struct unit units[] = {
		{"", 1},      {"B", 1},     {"KiB", 1024},   {"MiB", 1048576},   {"GiB", 1073741824},
		{"kB", 1000}, {"KB", 1000}, {"MB", 1000000}, {"GB", 1000000000}, {NULL, 0}};
	return parse_with_unit(text, units, out);
}

/* --- scalars ---------------------------------------------------------------------------------------------------- */

static int expected(const struct conf_item *item, const char *text, const char *what, struct lw_diag *diag)
{
	if (item->flags & CONF_SECRET)
		lw_diag_set(diag, "%s: expected %s", item->key, what);
	else
		lw_diag_set(diag, "%s: expected %s, found \"%.40s\"", item->key, what, text);
	return LW_EINVAL;
}

static int check_range(const struct conf_item *item, double v, struct lw_diag *diag)
{
	if (item->min == 0 && item->max == 0)
		return 0;
	bool low = v<item->min, high = item->max> item->min && v > item->max;
	if (!low && !high)
		return 0;
	const char *unit = item->unit                    ? item->unit
			   : item->type == CONF_DURATION ? "ms"
			   : item->type == CONF_SIZE     ? "bytes"
							 : "";
	if (item->max > item->min)
		lw_diag_set(diag, "%s: must be %.15g to %.15g%s%s", item->key, item->min, item->max, *unit ? " " : "",
			    unit);
	else
		lw_diag_set(diag, "%s: must be at least %.15g%s%s", item->key, item->min, *unit ? " " : "", unit);
	return LW_ERANGE;
}

static int set_bool(const struct conf_item *item, bool *at, const char *text, struct lw_diag *diag)
{
	static const char *const yes[] = {"true", "yes", "on", "1"}, *const no[] = {"false", "no", "off", "0"};
	for (size_t i = 0; i < 4; i++) {
		if (strcasecmp(text, yes[i]) == 0 || strcasecmp(text, no[i]) == 0) {
			*at = strcasecmp(text, yes[i]) == 0;
			return 0;
		}
	}
	return expected(item, text, "true or false", diag);
}

static int set_number(const struct conf_item *item, void *at, const char *text, struct lw_diag *diag)
{
	char *end = NULL;
	errno = 0;
	int rc;
	/* "Digits only" also keeps out what strto* accepts and people do not mean: spaces, 0x, a sign of an unsigned.
	 */
	bool sign_ok = item->type != CONF_UINT;
	if (!(isdigit((unsigned char)text[0]) || (sign_ok && text[0] == '-' && isdigit((unsigned char)text[1]))))
		return expected(item, text, item->type == CONF_DOUBLE ? "a number" : "a whole number", diag);
	if (item->type == CONF_INT) {
		long long v = strtoll(text, &end, 10);
		if (*end || errno)
			return expected(item, text, "a whole number", diag);
		rc = check_range(item, (double)v, diag);
		if (rc == 0)
			*(int64_t *)at = v;
	} else if (item->type == CONF_UINT) {
		unsigned long long v = strtoull(text, &end, 10);
		if (*end || errno)
			return expected(item, text, "a whole number", diag);
		rc = check_range(item, (double)v, diag);
		if (rc == 0)
			*(uint64_t *)at = v;
	} else {
		double v = strtod(text, &end);
		if (*end || !isfinite(v))
			return expected(item, text, "a number", diag);
		rc = check_range(item, v, diag);
		if (rc == 0)
			*(double *)at = v;
	}
	return rc;
}

static int set_with_unit(const struct conf_item *item, uint64_t *at, const char *text, struct lw_diag *diag)
{
	uint64_t v;
	bool time = item->type == CONF_DURATION;
	int rc = time ? conf_parse_duration_ms(text, &v) : conf_parse_size(text, &v);
	if (rc < 0)
		return expected(item, text,
				time ? "a duration such as 200ms, 5s, 2m, 1h, 1d" : "a size such as 64KiB, 1MiB, 2GiB",
				diag);
	rc = check_range(item, (double)v, diag);
	if (rc == 0)
		*at = v;
	return rc;
}

static int set_enum(const struct conf_item *item, int *at, const char *text, struct lw_diag *diag)
{
	char all[160] = "one of";
	for (int i = 0; item->names[i]; i++) {
		if (strcmp(item->names[i], text) == 0) {
			*at = i;
			return 0;
		}
		size_t n = strlen(all);
		snprintf(all + n, sizeof(all) - n, "%s %s", i ? "," : "", item->names[i]);
	}
	return expected(item, text, all, diag);
}

static int set_hex(const struct conf_item *item, uint8_t *at, const char *text, struct lw_diag *diag)
{
	size_t n = strlen(text);
	if (n == 0 && (item->flags & CONF_OPTIONAL)) {
		memset(at, 0, item->size);
		return 0;
	}
	char what[40];
	snprintf(what, sizeof(what), "%zu hex digits", item->size * 2);
	if (n != item->size * 2)
		return expected(item, text, what, diag);
	uint8_t *tmp = lw_xmalloc(item->size + 1);
	int rc = lw_hex_decode(text, n, tmp, item->size);
	if (rc >= 0)
		memcpy(at, tmp, item->size);
	lw_wipe(tmp, item->size);
	free(tmp);
	return rc < 0 ? expected(item, text, what, diag) : 0;
}

static void free_text(const struct conf_item *item, char *s)
{
	if (s && (item->flags & CONF_SECRET))
		lw_wipe(s, strlen(s));
	free(s);
}

int conf_set_text(const struct conf_item *item, void *base, const char *text, struct lw_diag *diag)
{
	void *at = conf_at(item, base);
	switch (item->type) {
	case CONF_STR: {
		char *copy = lw_xstrdup(text);
		free_text(item, *(char **)at);
		*(char **)at = copy;
		return 0;
	}
	case CONF_BOOL:
		return set_bool(item, at, text, diag);
	case CONF_INT:
	case CONF_UINT:
	case CONF_DOUBLE:
		return set_number(item, at, text, diag);
	case CONF_DURATION:
	case CONF_SIZE:
		return set_with_unit(item, at, text, diag);
	case CONF_ENUM:
		return set_enum(item, at, text, diag);
	case CONF_HEX:
		return set_hex(item, at, text, diag);
	case CONF_STR_LIST:
	case CONF_LIST:
		break;
	}
	return expected(item, text, "a list", diag);
}

/* --- lists ------------------------------------------------------------------------------------------------------ */

static size_t max_elements(const struct conf_item *item)
{
	return item->max > 0 ? (size_t)item->max : CONF_MAX_ELEMENTS;
}

int conf_strs_add(const struct conf_item *item, void *base, const char *text, struct lw_diag *diag)
{
	struct conf_strs *l = conf_at(item, base);
	if (l->n >= max_elements(item)) {
		lw_diag_set(diag, "%s: more than %zu elements", item->key, max_elements(item));
		return LW_ERANGE;
	}
	l->v = lw_xreallocarray(l->v, l->n + 1, sizeof(char *));
	l->v[l->n++] = lw_xstrdup(text);
	return 0;
}

void conf_strs_clear(const struct conf_item *item, void *base)
{
	struct conf_strs *l = conf_at(item, base);
	for (size_t i = 0; i < l->n; i++)
		free_text(item, l->v[i]);
	free(l->v);
	*l = (struct conf_strs){0};
}

int conf_strs_split(const struct conf_item *item, void *base, const char *text, struct lw_diag *diag)
{
	char *copy = lw_xstrdup(text), *save = NULL;
	int rc = 0;
	for (char *p = strtok_r(copy, ",", &save); p && rc == 0; p = strtok_r(NULL, ",", &save)) {
		while (isspace((unsigned char)*p))
			p++;
		size_t n = strlen(p);
		while (n && isspace((unsigned char)p[n - 1]))
			p[--n] = 0;
		if (n)
			rc = conf_strs_add(item, base, p, diag);
	}
	free(copy);
	return rc;
}

void *conf_list_add(const struct conf_item *item, void *base, struct lw_diag *diag)
{
	struct conf_list *l = conf_at(item, base);
	size_t size = item->sub->size;
	if (l->n >= max_elements(item)) {
		lw_diag_set(diag, "%s: more than %zu elements", item->key, max_elements(item));
		return NULL;
	}
	l->v = lw_xreallocarray(l->v, l->n + 1, size);
	void *e = (char *)l->v + l->n++ * size;
	memset(e, 0, size);
	return e;
}

void conf_list_clear(const struct conf_item *item, void *base)
{
	struct conf_list *l = conf_at(item, base);
	for (size_t i = 0; i < l->n; i++)
		conf_release(item->sub, (char *)l->v + i * item->sub->size);
	free(l->v);
	*l = (struct conf_list){0};
}

void conf_release(const struct conf_table *t, void *conf)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_item *item = &t->items[i];
		if (item->type == CONF_STR)
			free_text(item, *(char **)conf_at(item, conf));
		else if (item->type == CONF_STR_LIST)
			conf_strs_clear(item, conf);
		else if (item->type == CONF_LIST)
			conf_list_clear(item, conf);
	}
	lw_wipe(conf, t->size);
}

/* --- names ------------------------------------------------------------------------------------------------------ */

void conf_env_name(const char *key, char *out, size_t cap)
{
	size_t n = 0;
	for (; *key && n + 3 < cap; key++) {
		if (*key == '.') {
			out[n++] = '_';
			out[n++] = '_';
		} else {
			out[n++] = *key == '-' ? '_' : (char)toupper((unsigned char)*key);
		}
	}
	out[n] = 0;
}

/* --- comparison ------------------------------------------------------------------------------------------------- */

static bool same_table(const struct conf_table *t, const void *a, const void *b);

static bool same_value(const struct conf_item *item, const void *a, const void *b)
{
	const void *x = conf_at_const(item, a), *y = conf_at_const(item, b);
	switch (item->type) {
	case CONF_STR:
		return strcmp(*(char *const *)x, *(char *const *)y) == 0;
	case CONF_BOOL:
		return *(const bool *)x == *(const bool *)y;
	case CONF_ENUM:
		return *(const int *)x == *(const int *)y;
	case CONF_INT:
	case CONF_UINT:
	case CONF_DOUBLE:
	case CONF_DURATION:
	case CONF_SIZE:
		return memcmp(x, y, 8) == 0;
	case CONF_HEX:
		return memcmp(x, y, item->size) == 0;
	case CONF_STR_LIST: {
		const struct conf_strs *l = x, *r = y;
		bool same = l->n == r->n;
		for (size_t i = 0; same && i < l->n; i++)
			same = strcmp(l->v[i], r->v[i]) == 0;
		return same;
	}
	case CONF_LIST: {
		const struct conf_list *l = x, *r = y;
		bool same = l->n == r->n;
		for (size_t i = 0; same && i < l->n; i++)
			same = same_table(item->sub, (const char *)l->v + i * item->sub->size,
					  (const char *)r->v + i * item->sub->size);
		return same;
	}
	}
	return false;
}

static bool same_table(const struct conf_table *t, const void *a, const void *b)
{
	for (size_t i = 0; i < t->n; i++) {
		if (!same_value(&t->items[i], a, b))
			return false;
	}
	return true;
}

int conf_diff_reloadable(const struct conf_table *t, const void *old_conf, const void *new_conf, struct lw_diag *diag)
{
	char names[200] = "";
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_item *item = &t->items[i];
		if ((item->flags & CONF_RELOADABLE) || same_value(item, old_conf, new_conf))
			continue;
		size_t n = strlen(names);
		snprintf(names + n, sizeof(names) - n, "%s%s", n ? ", " : "", item->key);
	}
	if (!names[0])
		return 0;
	lw_diag_set(diag, "needs a restart: %s", names);
	return LW_EINVAL;
}
