#include "common/runtime/conf.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "common/base/xmalloc.h"
#include "common/runtime/conf_value.h"

#define MAX_KEY 128

struct load {
	yaml_document_t *doc;
	const char *name; /* of the file */
	struct lw_diag *diag;
};

static int table_defaults(const struct conf_table *t, void *base, struct lw_diag *diag);

/* --- the nearest right key -------------------------------------------------------------------------------------- */

/* Edit distance with swapped neighbours counted once; long keys are cut. */
static size_t distance(const char *a, const char *b)
{
	size_t n = strnlen(a, MAX_KEY), m = strnlen(b, MAX_KEY);
	size_t row[3][MAX_KEY + 1];
	for (size_t j = 0; j <= m; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t *cur = row[i % 3], *prev = row[(i + 2) % 3], *prev2 = row[(i + 1) % 3];
		cur[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t d = prev[j - 1] + (a[i - 1] != b[j - 1]);
			if (prev[j] + 1 < d)
				d = prev[j] + 1;
			if (cur[j - 1] + 1 < d)
				d = cur[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && prev2[j - 2] + 1 < d)
				d = prev2[j - 2] + 1;
			cur[j] = d;
		}
	}
	return row[n % 3][m];
}

static const char *last_part(const char *key)
{
	const char *dot = strrchr(key, '.');
	return dot ? dot + 1 : key;
}

/* The key or section of the table that looks most like `key`; "" when none is near. */
static void suggest(const struct conf_table *t, const char *key, char out[MAX_KEY])
{
	size_t best = strlen(key) / 2 + 2;
	out[0] = 0;
	for (size_t i = 0; i < t->n; i++) {
		const char *cand = t->items[i].key;
		/* Each section that leads to the key, then the key itself. */
		for (size_t n = 1; n <= strlen(cand); n++) {
			if (cand[n] != '.' && cand[n] != 0)
				continue;
			char part[MAX_KEY];
			snprintf(part, sizeof(part), "%.*s", (int)n, cand);
			size_t d = distance(key, part);
			/* The right name in the wrong section. */
			if (strcmp(last_part(key), last_part(part)) == 0 && d > 2)
				d = 2;
			if (d < best) {
				best = d;
				memcpy(out, part, MAX_KEY);
			}
		}
	}
}

static int unknown_key(const struct conf_table *t, const char *shown, const char *key, struct lw_diag *diag)
{
	char near[MAX_KEY];
	suggest(t, key, near);
	if (near[0])
		lw_diag_set(diag, "unknown key \"%.60s\"; did you mean \"%s\"?", shown, near);
	else
		lw_diag_set(diag, "unknown key \"%.60s\"", shown);
	return LW_EINVAL;
}

/* --- YAML ------------------------------------------------------------------------------------------------------- */

static int at_line(const struct load *ld, const yaml_node_t *node, int rc)
{
	if (rc < 0)
		lw_diag_prefix(ld->diag, "%s:%zu", ld->name, node->start_mark.line + 1);
	return rc;
}

static const char *scalar(const yaml_node_t *node)
{
	return (const char *)node->data.scalar.value;
}

/* "key:" with nothing behind, "~" and "null". */
static bool is_null(const yaml_node_t *node)
{
	if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	const char *s = scalar(node);
	return !*s || strcmp(s, "~") == 0 || strcmp(s, "null") == 0;
}

static int has_nul(const struct conf_item *item, const yaml_node_t *node, struct lw_diag *diag)
{
	if (strlen(scalar(node)) == node->data.scalar.length)
		return 0;
	lw_diag_set(diag, "%s: contains a NUL character", item->key);
	return LW_EINVAL;
}

static int apply_mapping(struct load *ld, const struct conf_table *t, void *base, const char *prefix,
			 const yaml_node_t *node);

static int apply_list(struct load *ld, const struct conf_item *item, void *base, const yaml_node_t *node)
{
	/* Elements with their own line numbers; a failing element has put its line already. */
	for (const yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++) {
		const yaml_node_t *e = yaml_document_get_node(ld->doc, *i);
		if (item->type == CONF_STR_LIST) {
			int rc = LW_EINVAL;
			if (e->type != YAML_SCALAR_NODE)
				lw_diag_set(ld->diag, "%s: expected text as element", item->key);
			else if ((rc = has_nul(item, e, ld->diag)) == 0)
				rc = conf_strs_add(item, base, scalar(e), ld->diag);
			if (rc < 0)
				return at_line(ld, e, rc);
			continue;
		}
		if (e->type != YAML_MAPPING_NODE) {
			lw_diag_set(ld->diag, "%s: expected key: value pairs as element", item->key);
			return at_line(ld, e, LW_EINVAL);
		}
		void *sub = conf_list_add(item, base, ld->diag);
		if (!sub)
			return at_line(ld, e, LW_ERANGE);
		int rc = table_defaults(item->sub, sub, ld->diag);
		if (rc < 0)
			return at_line(ld, e, rc);
		rc = apply_mapping(ld, item->sub, sub, "", e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int apply_value(struct load *ld, const struct conf_item *item, void *base, const yaml_node_t *key,
		       const yaml_node_t *node)
{
	bool list = item->type == CONF_STR_LIST || item->type == CONF_LIST;
	if (list) {
		if (item->type == CONF_LIST)
			conf_list_clear(item, base);
		else
			conf_strs_clear(item, base);
		if (is_null(node))
			return 0;
		if (node->type == YAML_SEQUENCE_NODE)
			return apply_list(ld, item, base, node);
		lw_diag_set(ld->diag, "%s: expected a list", item->key);
		return at_line(ld, key, LW_EINVAL);
	}
	int rc = LW_EINVAL;
	if (node->type != YAML_SCALAR_NODE)
		lw_diag_set(ld->diag, "%s: expected a single value", item->key);
	else if (is_null(node) && item->type != CONF_STR && !(item->flags & CONF_OPTIONAL))
		lw_diag_set(ld->diag, "%s: has no value", item->key);
	else if ((rc = has_nul(item, node, ld->diag)) == 0)
		rc = conf_set_text(item, base, is_null(node) ? "" : scalar(node), ld->diag);
	return at_line(ld, key, rc);
}

static int apply_pair(struct load *ld, const struct conf_table *t, void *base, const char *prefix,
		      const yaml_node_t *key, const yaml_node_t *value)
{
	if (key->type != YAML_SCALAR_NODE) {
		lw_diag_set(ld->diag, "a key must be text");
		return at_line(ld, key, LW_EINVAL);
	}
	char full[MAX_KEY];
	int len = snprintf(full, sizeof(full), "%s%s%s", prefix, *prefix ? "." : "", scalar(key));
	size_t n = (size_t)len;
	if (n >= sizeof(full)) {
		lw_diag_set(ld->diag, "unknown key \"%.60s\"", full);
		return at_line(ld, key, LW_EINVAL);
	}
	if (strchr(scalar(key), '.')) {
		/* Two ways to write one key would hide that it is given twice. */
		lw_diag_set(ld->diag, "\"%.60s\": write sections as nested keys, not with dots", full);
		return at_line(ld, key, LW_EINVAL);
	}
	bool section = false;
	for (size_t i = 0; i < t->n; i++) {
		const char *k = t->items[i].key;
		if (strcmp(k, full) == 0)
			return apply_value(ld, &t->items[i], base, key, value);
		section = section || (strncmp(k, full, n) == 0 && k[n] == '.');
	}
	if (!section || !*scalar(key))
		return at_line(ld, key, unknown_key(t, full, full, ld->diag));
	if (value->type == YAML_MAPPING_NODE)
		return apply_mapping(ld, t, base, full, value);
	if (is_null(value))
		return 0;
	lw_diag_set(ld->diag, "%s: is a section, expected key: value pairs below it", full);
	return at_line(ld, key, LW_EINVAL);
}

static int apply_mapping(struct load *ld, const struct conf_table *t, void *base, const char *prefix,
			 const yaml_node_t *node)
{
	const yaml_node_pair_t *start = node->data.mapping.pairs.start, *top = node->data.mapping.pairs.top;
	/* Quadratic, but it ends at the first unknown or repeated key: never more pairs than settings. */
	for (const yaml_node_pair_t *p = start; p < top; p++) {
		const yaml_node_t *key = yaml_document_get_node(ld->doc, p->key);
		const yaml_node_t *value = yaml_document_get_node(ld->doc, p->value);
		for (const yaml_node_pair_t *q = start; q < p; q++) {
			const yaml_node_t *other = yaml_document_get_node(ld->doc, q->key);
			if (key->type == YAML_SCALAR_NODE && other->type == YAML_SCALAR_NODE &&
			    strcmp(scalar(key), scalar(other)) == 0) {
				lw_diag_set(ld->diag, "key \"%.60s\" is given twice, first in line %zu", scalar(key),
					    other->start_mark.line + 1);
				return at_line(ld, key, LW_EINVAL);
			}
		}
		int rc = apply_pair(ld, t, base, prefix, key, value);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* On success the caller deletes the document. */
static int parse_document(yaml_document_t *doc, struct lw_span text, const char *name, struct lw_diag *diag)
{
	yaml_parser_t parser;
	if (!yaml_parser_initialize(&parser)) {
		lw_diag_set(diag, "%s: cannot start the parser", name);
		return LW_ENOMEM;
	}
	yaml_parser_set_input_string(&parser, text.n ? text.p : (const uint8_t *)"", text.n);
	int ok = yaml_parser_load(&parser, doc);
	if (!ok)
		lw_diag_set(diag, "%s:%zu: %s%s%s", name, parser.problem_mark.line + 1,
			    parser.context ? parser.context : "", parser.context ? ": " : "",
			    parser.problem ? parser.problem : "not YAML");
	yaml_parser_delete(&parser);
	return ok ? 0 : LW_EINVAL;
}

static int apply_text(const struct conf_table *t, void *conf, struct lw_span text, const char *name,
		      struct lw_diag *diag)
{
	if (text.n > CONF_MAX_FILE) {
		lw_diag_set(diag, "%s: larger than %u bytes", name, CONF_MAX_FILE);
		return LW_EBIG;
	}
	yaml_document_t doc;
	int rc = parse_document(&doc, text, name, diag);
	if (rc < 0)
		return rc;
	struct load ld = {&doc, name, diag};
	const yaml_node_t *root = yaml_document_get_root_node(&doc);
	if (root && root->type == YAML_MAPPING_NODE) {
		rc = apply_mapping(&ld, t, conf, "", root);
	} else if (root && !is_null(root)) {
		lw_diag_set(diag, "expected key: value pairs");
		rc = at_line(&ld, root, LW_EINVAL);
	}
	yaml_document_delete(&doc);
	return rc;
}

/* A list as text, from a default or the environment: YAML in flow form, or for texts also "a, b". */
static int set_list_text(const struct conf_item *item, void *base, const char *text, const char *name,
			 struct lw_diag *diag)
{
	while (isspace((unsigned char)*text))
		text++;
	if (item->type == CONF_STR_LIST && *text != '[') {
		conf_strs_clear(item, base);
		return conf_strs_split(item, base, text, diag);
	}
	yaml_document_t doc;
	int rc = parse_document(&doc, lw_span_str(text), name, diag);
	if (rc < 0)
		return rc;
	struct load ld = {&doc, name, diag};
	const yaml_node_t *root = yaml_document_get_root_node(&doc);
	if (root)
		rc = apply_value(&ld, item, base, root, root);
	yaml_document_delete(&doc);
	return rc;
}

static int table_defaults(const struct conf_table *t, void *base, struct lw_diag *diag)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_item *item = &t->items[i];
		int rc = 0;
		if (item->type == CONF_LIST) {
			if (item->def_list)
				rc = set_list_text(item, base, item->def_list, "default", diag);
		} else if (item->type == CONF_STR_LIST) {
			rc = set_list_text(item, base, item->def ? item->def : "", "default", diag);
		} else if (item->def) {
			rc = conf_set_text(item, base, item->def, diag);
		} else if (item->type == CONF_STR) {
			rc = conf_set_text(item, base, "", diag);
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* --- environment ------------------------------------------------------------------------------------------------ */

/* `name` is what remains of the variable after its prefix. 1: set, 0: no such key, < 0: wrong value. */
static int env_set(const struct conf_table *t, void *base, const char *name, const char *value, const char *variable,
		   struct lw_diag *diag)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_item *item = &t->items[i];
		char want[MAX_KEY * 2];
		conf_env_name(item->key, want, sizeof(want));
		size_t n = strlen(want);
		if (strncmp(name, want, n) != 0)
			continue;
		if (name[n] == 0) {
			int rc = item->type == CONF_LIST || item->type == CONF_STR_LIST
					 ? set_list_text(item, base, value, variable, diag)
					 : conf_set_text(item, base, value, diag);
			return rc < 0 ? rc : 1;
		}
		if (item->type != CONF_LIST || strncmp(name + n, "__", 2) != 0 || !isdigit((unsigned char)name[n + 2]))
			continue;
		char *end;
		unsigned long at = strtoul(name + n + 2, &end, 10);
		if (strncmp(end, "__", 2) != 0)
			continue;
		struct conf_list *l = conf_at(item, base);
		if (at > l->n) {
			lw_diag_set(diag, "%s has %zu elements, so the next number is %zu", item->key, l->n, l->n);
			return LW_EINVAL;
		}
		if (at == l->n) {
			void *e = conf_list_add(item, base, diag);
			int rc = e ? table_defaults(item->sub, e, diag) : LW_ERANGE;
			if (rc < 0)
				return rc;
		}
		return env_set(item->sub, (char *)l->v + at * item->sub->size, end + 2, value, variable, diag);
	}
	return 0;
}

static int by_number(const void *a, const void *b)
{
	return strverscmp(*(const char *const *)a, *(const char *const *)b);
}

/* "NETWORK_SERVER__LOG__LEVL" → "log.levl" for the search of the nearest key. */
static void env_key(const char *name, size_t n, char out[MAX_KEY])
{
	size_t k = 0;
	for (size_t i = 0; i < n && k + 1 < MAX_KEY; i++) {
		if (name[i] == '_' && i + 1 < n && name[i + 1] == '_') {
			out[k++] = '.';
			i++;
		} else {
			out[k++] = (char)tolower((unsigned char)name[i]);
		}
	}
	out[k] = 0;
}

/* Variables of one prefix. A shared environment holds settings of other daemons, so an unknown key is wrong only in the
 * variables of one daemon (`strict`). */
static int apply_env(const struct conf_table *t, void *conf, char **vars, size_t n_vars, const char *prefix,
		     bool strict, struct lw_diag *diag)
{
	size_t n = strlen(prefix);
	for (size_t i = 0; i < n_vars; i++) {
		const char *eq = strchr(vars[i], '=');
		if (!eq || strncmp(vars[i], prefix, n) != 0 || eq < vars[i] + n)
			continue;
		char name[256];
		size_t len = (size_t)(eq - vars[i]);
		if (len >= sizeof(name))
			continue;
		memcpy(name, vars[i], len);
		name[len] = 0;
		int rc = env_set(t, conf, name + n, eq + 1, name, diag);
		if (rc < 0) {
			lw_diag_prefix(diag, "environment %s", name);
			return rc;
		}
		if (rc == 0 && strict) {
			char key[MAX_KEY];
			env_key(name + n, len - n, key);
			return unknown_key(t, name, key, diag);
		}
	}
	return 0;
}

static int apply_environment(const struct conf_table *t, void *conf, char *const *envp, const char *daemon,
			     struct lw_diag *diag)
{
	char **vars = NULL;
	size_t n = 0;
	for (char *const *e = envp; e && *e; e++) {
		if (strncmp(*e, "LONGWAVE_", 9) != 0)
			continue;
		vars = lw_xreallocarray(vars, n + 1, sizeof(char *));
		vars[n++] = *e;
	}
	/* Element 2 of a list must not come before element 1. */
	if (n)
		qsort(vars, n, sizeof(char *), by_number);
	int rc = apply_env(t, conf, vars, n, "LONGWAVE_", false, diag);
	if (rc == 0 && daemon) {
		char upper[MAX_KEY], prefix[MAX_KEY + 16];
		conf_env_name(daemon, upper, sizeof(upper));
		snprintf(prefix, sizeof(prefix), "LONGWAVE_%s__", upper);
		rc = apply_env(t, conf, vars, n, prefix, true, diag);
	}
	free(vars);
	return rc;
}

/* --- load ------------------------------------------------------------------------------------------------------- */

static bool is_empty(const struct conf_item *item, const void *base)
{
	const void *at = conf_at_const(item, base);
	if (item->type == CONF_STR)
		return !**(char *const *)at;
	if (item->type == CONF_STR_LIST)
		return ((const struct conf_strs *)at)->n == 0;
	if (item->type == CONF_LIST)
		return ((const struct conf_list *)at)->n == 0;
	return false;
}

static int check_table(const struct conf_table *t, const void *base, struct lw_diag *diag)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_item *item = &t->items[i];
		if ((item->flags & CONF_REQUIRED) && is_empty(item, base)) {
			lw_diag_set(diag, "%s: must be given", item->key);
			return LW_EINVAL;
		}
		const struct conf_list *l = item->type == CONF_LIST ? conf_at_const(item, base) : NULL;
		for (size_t k = 0; l && k < l->n; k++) {
			int rc = check_table(item->sub, (const char *)l->v + k * item->sub->size, diag);
			if (rc < 0) {
				lw_diag_prefix(diag, "%s[%zu]", item->key, k);
				return rc;
			}
		}
	}
	return t->check ? t->check(base, diag) : 0;
}

int conf_load_text(const struct conf_table *t, void *conf, struct lw_span text, const char *name, char *const *envp,
		   const char *daemon, struct lw_diag *diag)
{
	memset(conf, 0, t->size);
	int rc = table_defaults(t, conf, diag);
	if (rc == 0)
		rc = apply_text(t, conf, text, name, diag);
	if (rc == 0)
		rc = apply_environment(t, conf, envp, daemon, diag);
	if (rc == 0) {
		rc = check_table(t, conf, diag);
		if (rc < 0)
			lw_diag_prefix(diag, "%s", name);
	}
	if (rc < 0)
		conf_release(t, conf);
	return rc;
}

int conf_load(const struct conf_table *t, void *conf, const char *path, char *const *envp, const char *daemon,
	      struct lw_diag *diag)
{
	if (!path)
		return conf_load_text(t, conf, lw_span("", 0), "defaults", envp, daemon, diag);
	FILE *f = fopen(path, "rb");
	if (!f) {
		int rc = -errno;
		lw_diag_set(diag, "%s: %s", path, strerror(errno));
		return rc;
	}
	/* One byte more than allowed shows that the file is too large. */
	size_t cap = CONF_MAX_FILE + 1;
	uint8_t *p = lw_xmalloc(cap);
	size_t n = fread(p, 1, cap, f);
	int rc = ferror(f) ? LW_EIO : 0;
	fclose(f);
	if (rc < 0)
		lw_diag_set(diag, "%s: cannot be read", path);
	else
		rc = conf_load_text(t, conf, lw_span(p, n), path, envp, daemon, diag);
	lw_wipe(p, n); /* it may hold secrets */
	free(p);
	return rc;
}
