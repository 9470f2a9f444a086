#include "app-server/link/mqtt_topic.h"

#include <string.h>

static const char *const var_names[] = {NULL, "application_id", "dev_eui", NULL};

static int add(struct as_topic *t, enum as_topic_var var, const char *p, size_t n, struct lw_diag *diag)
{
	if (t->n == AS_TOPIC_PARTS) {
		lw_diag_set(diag, "the topic has too many parts");
		return LW_EINVAL;
	}
	t->v[t->n].var = var;
	t->v[t->n++].text = lw_span(p, n);
	return 0;
}

static enum as_topic_var var_of(struct lw_span word, const char *name)
{
	for (int i = AS_TOPIC_APPLICATION; i <= AS_TOPIC_DEV_EUI; i++)
		if (lw_span_eq_str(word, var_names[i]))
			return (enum as_topic_var)i;
	return lw_span_eq_str(word, name) ? AS_TOPIC_NAME : AS_TOPIC_TEXT;
}

static int check(const struct as_topic *t, const char *name, struct lw_diag *diag)
{
	unsigned seen[4] = {0};
	for (size_t i = 0; i < t->n; i++) {
		seen[t->v[i].var]++;
		if (i > 0 && t->v[i].var != AS_TOPIC_TEXT && t->v[i - 1].var != AS_TOPIC_TEXT) {
			lw_diag_set(diag, "two variables of the topic follow each other without a text between");
			return LW_EINVAL;
		}
	}
	for (int i = AS_TOPIC_APPLICATION; i <= AS_TOPIC_NAME; i++) {
		if (seen[i] != 1) {
			lw_diag_set(diag, "the topic must contain {{%s}} once",
				    i == AS_TOPIC_NAME ? name : var_names[i]);
			return LW_EINVAL;
		}
	}
	return 0;
}

int as_topic_parse(struct as_topic *t, const char *text, const char *name, struct lw_diag *diag)
{
	t->n = 0;
	if (strlen(text) >= AS_TOPIC_MAX || strpbrk(text, "+#")) {
		lw_diag_set(diag, "the topic is too long or contains a wildcard");
		return LW_EINVAL;
	}
	while (*text) {
		const char *open = strstr(text, "{{");
		size_t n = open ? (size_t)(open - text) : strlen(text);
		if (n > 0 && add(t, AS_TOPIC_TEXT, text, n, diag) < 0)
			return LW_EINVAL;
		if (!open)
			break;
		const char *word = open + 2 + strspn(open + 2, " ");
		const char *close = strstr(word, "}}");
		if (!close) {
			lw_diag_set(diag, "the topic has {{ without }}");
			return LW_EINVAL;
		}
		size_t len = (size_t)(close - word);
		while (len > 0 && word[len - 1] == ' ')
			len--;
		enum as_topic_var var = var_of(lw_span(word, len), name);
		if (var == AS_TOPIC_TEXT) {
			lw_diag_set(diag, "the topic has an unknown variable {{%.*s}}", (int)len, word);
			return LW_EINVAL;
		}
		if (add(t, var, word, len, diag) < 0)
			return LW_EINVAL;
		text = close + 2;
	}
	return check(t, name, diag);
}

static bool put(char *out, size_t cap, size_t *at, const void *p, size_t n)
{
	if (n >= cap - *at)
		return false;
	memcpy(out + *at, p, n);
	*at += n;
	return true;
}

int as_topic_print(const struct as_topic *t, const char *application_id, const char *dev_eui, const char *name,
		   char *out, size_t cap)
{
	size_t at = 0;
	const char *values[] = {NULL, application_id, dev_eui, name};
	for (size_t i = 0; i < t->n; i++) {
		struct lw_span s = t->v[i].var == AS_TOPIC_TEXT ? t->v[i].text : lw_span_str(values[t->v[i].var]);
		if (!put(out, cap, &at, s.p, s.n))
			return LW_EBIG;
	}
	out[at] = 0;
	return (int)at;
}

int as_topic_filter(const struct as_topic *t, const char *prefix, char *out, size_t cap)
{
	char whole[AS_TOPIC_MAX + 8];
	size_t at = 0;
	/* \1 stands for a variable, so that levels can be told apart afterwards. */
	int n = as_topic_print(t, "\1", "\1", "\1", whole, sizeof(whole));
	if (n < 0 || !put(out, cap, &at, prefix, strlen(prefix)))
		return LW_EBIG;
	for (const char *level = whole;; level++) {
		size_t len = strcspn(level, "/");
		bool variable = memchr(level, 1, len) != NULL;
		if (!put(out, cap, &at, variable ? "+" : level, variable ? 1 : len))
			return LW_EBIG;
		level += len;
		if (!*level)
			break;
		if (!put(out, cap, &at, "/", 1))
			return LW_EBIG;
	}
	out[at] = 0;
	return (int)at;
}

/* Length of a variable's value at `p`: up to the next text of the template, or to the end. */
static size_t value_len(const struct as_topic *t, size_t i, const char *p)
{
	size_t level = strcspn(p, "/");
	if (i + 1 == t->n)
		return level;
	struct lw_span next = t->v[i + 1].text;
	for (size_t n = 0; n <= level; n++)
		if (strncmp(p + n, (const char *)next.p, next.n) == 0)
			return n;
	return 0;
}

bool as_topic_match(const struct as_topic *t, const char *topic, struct lw_span *application_id,
		    struct lw_span *dev_eui, struct lw_span *name)
{
	struct lw_span *out[] = {NULL, application_id, dev_eui, name};
	const char *p = topic;
	for (size_t i = 0; i < t->n; i++) {
		if (t->v[i].var == AS_TOPIC_TEXT) {
			if (strncmp(p, (const char *)t->v[i].text.p, t->v[i].text.n) != 0)
				return false;
			p += t->v[i].text.n;
			continue;
		}
		size_t n = value_len(t, i, p);
		if (n == 0)
			return false;
		*out[t->v[i].var] = lw_span(p, n);
		p += n;
	}
	return *p == 0;
}
