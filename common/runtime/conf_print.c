/* The configuration table as commented YAML and as documentation. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/runtime/conf_value.h"

#define COMMENT_WIDTH 100

static const char *type_text(const struct conf_item *item)
{
	switch (item->type) {
	case CONF_STR:
		return "text";
	case CONF_BOOL:
		return "true or false";
	case CONF_INT:
	case CONF_UINT:
		return "whole number";
	case CONF_DOUBLE:
		return "number";
	case CONF_DURATION:
		return "duration";
	case CONF_SIZE:
		return "size";
	case CONF_ENUM:
		return "choice";
	case CONF_HEX:
		return "hex";
	case CONF_STR_LIST:
		return "list of texts";
	case CONF_LIST:
		return "list";
	}
	return "";
}

static void put_indent(struct lw_buf *out, int depth, bool comment)
{
	for (int i = 0; i < depth; i++)
		lw_buf_append_str(out, "  ");
	if (comment)
		lw_buf_append_str(out, "# ");
}

/* "One of a, b. 1 to 65535 s. Environment …" behind the sentence. */
static void put_details(struct lw_buf *out, const struct conf_item *item)
{
	if (item->type == CONF_ENUM) {
		lw_buf_append_str(out, " One of:");
		for (int i = 0; item->names[i]; i++)
			lw_buf_printf(out, "%s %s", i ? "," : "", item->names[i]);
		lw_buf_append_str(out, ".");
	}
	const char *unit = item->unit ? item->unit : item->type == CONF_DURATION ? "ms" : "";
	if (item->type == CONF_LIST || item->type == CONF_STR_LIST) {
		if (item->max > 0)
			lw_buf_printf(out, " At most %.0f elements.", item->max);
	} else if (item->max > item->min) {
		lw_buf_printf(out, " %.15g to %.15g%s%s.", item->min, item->max, *unit ? " " : "", unit);
	} else if (item->min > 0) {
		lw_buf_printf(out, " At least %.15g%s%s.", item->min, *unit ? " " : "", unit);
	} else if (*unit && item->type != CONF_DURATION) {
		lw_buf_printf(out, " In %s.", unit);
	}
	if (item->type == CONF_HEX)
		lw_buf_printf(out, " %zu hex digits.", item->size * 2);
	if (item->flags & CONF_REQUIRED)
		lw_buf_append_str(out, " Must be given.");
	if (item->flags & CONF_RELOADABLE)
		lw_buf_append_str(out, " May be changed at run time (SIGHUP).");
}

/* Words of the text in comment lines of a bounded width. */
static void put_comment(struct lw_buf *out, const struct conf_item *item, int depth, const char *mark)
{
	struct lw_buf text;
	lw_buf_init(&text, 8192);
	lw_buf_append_str(&text, item->sentence ? item->sentence : "");
	put_details(&text, item);
	const char *p = lw_buf_str(&text);
	while (*p) {
		size_t n = strlen(p);
		if (n > COMMENT_WIDTH) {
			n = COMMENT_WIDTH;
			while (n > 0 && p[n] != ' ')
				n--;
			if (n == 0)
				n = COMMENT_WIDTH;
		}
		put_indent(out, depth, false);
		lw_buf_printf(out, "%s%.*s\n", mark, (int)n, p);
		p += n;
		while (*p == ' ')
			p++;
	}
	lw_buf_deinit(&text);
}

static void put_quoted(struct lw_buf *out, const char *s, size_t n)
{
	lw_buf_append_str(out, "\"");
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '"' || s[i] == '\\')
			lw_buf_append_str(out, "\\");
		lw_buf_append_u8(out, (uint8_t)s[i]);
	}
	lw_buf_append_str(out, "\"");
}

static void put_str_list(struct lw_buf *out, const char *def)
{
	lw_buf_append_str(out, "[");
	bool first = true;
	while (*def) {
		while (*def == ' ' || *def == ',')
			def++;
		size_t n = strcspn(def, ",");
		size_t len = n;
		while (len && def[len - 1] == ' ')
			len--;
		if (len) {
			lw_buf_append_str(out, first ? "" : ", ");
			put_quoted(out, def, len);
			first = false;
		}
		def += n;
	}
	lw_buf_append_str(out, "]");
}

static void put_default(struct lw_buf *out, const struct conf_item *item)
{
	const char *def = item->def ? item->def : "";
	if (item->type == CONF_STR_LIST && def[0] != '[')
		put_str_list(out, def);
	else if (item->type == CONF_STR || item->type == CONF_HEX)
		put_quoted(out, def, strlen(def));
	else if (!*def)
		lw_buf_append_str(out, item->type == CONF_BOOL ? "false" : "0");
	else
		lw_buf_append_str(out, def);
}

static void put_list_default(struct lw_buf *out, const char *text, int depth)
{
	if (!strchr(text, '\n')) {
		lw_buf_printf(out, " %s\n", text);
		return;
	}
	lw_buf_append_str(out, "\n");
	while (*text) {
		size_t n = strcspn(text, "\n");
		if (n) {
			put_indent(out, depth + 1, false);
			lw_buf_printf(out, "%.*s\n", (int)n, text);
		}
		text += n + (text[n] == '\n');
	}
}

/* Keys of an element, all commented out. */
static void put_element(struct lw_buf *out, const struct conf_table *sub, int depth)
{
	put_indent(out, depth, false);
	lw_buf_append_str(out, "# Keys of an element:\n");
	for (size_t i = 0; i < sub->n; i++) {
		put_comment(out, &sub->items[i], depth, "#   # ");
		put_indent(out, depth, false);
		lw_buf_printf(out, "#   %s: ", sub->items[i].key);
		if (sub->items[i].type == CONF_LIST)
			lw_buf_append_str(out, "[]");
		else
			put_default(out, &sub->items[i]);
		lw_buf_append_str(out, "\n");
	}
}

static void put_item(struct lw_buf *out, const struct conf_item *item, const char *name, int depth)
{
	put_comment(out, item, depth, "# ");
	if (item->type == CONF_LIST)
		put_element(out, item->sub, depth);
	put_indent(out, depth, false);
	lw_buf_printf(out, "%s:", name);
	if (item->type == CONF_LIST) {
		put_list_default(out, item->def_list ? item->def_list : "[]", depth);
		return;
	}
	lw_buf_append_str(out, " ");
	put_default(out, item);
	lw_buf_append_str(out, "\n");
}

/* All keys below prefix[0..n), each section once, in the order of first appearance. */
static void put_level(struct lw_buf *out, const struct conf_table *t, const char *prefix, size_t n, int depth)
{
	bool first = true;
	for (size_t i = 0; i < t->n; i++) {
		const char *key = t->items[i].key;
		if (strncmp(key, prefix, n) != 0 || (n && key[n] != '.'))
			continue;
		const char *name = key + n + (n ? 1 : 0);
		size_t len = strcspn(name, ".");
		size_t upto = (size_t)(name - key) + len;
		bool seen = false;
		for (size_t k = 0; k < i && !seen; k++)
			seen = strncmp(t->items[k].key, key, upto) == 0 &&
			       (t->items[k].key[upto] == '.' || t->items[k].key[upto] == 0);
		if (seen)
			continue;
		if (!first)
			lw_buf_append_str(out, "\n");
		first = false;
		if (name[len] == 0) {
			put_item(out, &t->items[i], name, depth);
			continue;
		}
		put_indent(out, depth, false);
		lw_buf_printf(out, "%.*s:\n", (int)len, name);
		put_level(out, t, key, upto, depth + 1);
	}
}

void conf_print_defaults(const struct conf_table *t, struct lw_buf *out)
{
	put_level(out, t, "", 0, 0);
}

/* Text inside a Markdown table. */
static void put_cell(struct lw_buf *out, const char *s)
{
	for (; *s; s++) {
		if (*s == '|')
			lw_buf_append_str(out, "\\|");
		else
			lw_buf_append_u8(out, (uint8_t)(*s == '\n' ? ' ' : *s));
	}
}

static void put_rows(struct lw_buf *out, const struct conf_table *t, const char *key_prefix, const char *env_prefix)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_item *item = &t->items[i];
		char env[256], key[256], env_full[512];
		conf_env_name(item->key, env, sizeof(env));
		snprintf(key, sizeof(key), "%s%s", key_prefix, item->key);
		snprintf(env_full, sizeof(env_full), "%s%s", env_prefix, env);
		const char *def = item->type == CONF_LIST ? item->def_list : item->def;
		lw_buf_printf(out, "| `%s` | %s | ", key, type_text(item));
		if (def && *def && strlen(def) <= 60 && !strchr(def, '\n')) {
			lw_buf_append_str(out, "`");
			put_cell(out, def);
			lw_buf_append_str(out, "`");
		} else if (def && *def) {
			lw_buf_append_str(out, "see `--print-defaults`");
		}
		lw_buf_printf(out, " | `%s` | ", env_full);
		put_cell(out, item->sentence ? item->sentence : "");
		put_details(out, item);
		if (item->flags & CONF_SECRET)
			lw_buf_append_str(out, " Secret.");
		lw_buf_append_str(out, " |\n");
		if (item->type == CONF_LIST) {
			char sub_key[300], sub_env[600];
			snprintf(sub_key, sizeof(sub_key), "%s[].", key);
			snprintf(sub_env, sizeof(sub_env), "%s__N__", env_full);
			put_rows(out, item->sub, sub_key, sub_env);
		}
	}
}

void conf_print_docs(const struct conf_table *t, struct lw_buf *out)
{
	lw_buf_append_str(out, "| key | type | default | environment | meaning |\n|---|---|---|---|---|\n");
	put_rows(out, t, "", "LONGWAVE_");
}
