/* The configuration parser: whatever the file holds, it gives a configuration or one line that says what is wrong. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/runtime/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct element {
	char *name;
	struct conf_strs tags;
	uint64_t wait_ms;
};

struct conf {
	char *text;
	int64_t number;
	uint64_t size;
	double ratio;
	bool flag;
	int choice;
	uint8_t hex[3];
	struct conf_strs strs;
	struct conf_list list;
};

static const char *const names[] = {"one", "two", NULL};

static const struct conf_item element_items[] = {
	{.key = "name", .type = CONF_STR, .offset = offsetof(struct element, name), .flags = CONF_REQUIRED},
	{.key = "sub.tags", .type = CONF_STR_LIST, .offset = offsetof(struct element, tags), .max = 5},
	{.key = "sub.wait", .type = CONF_DURATION, .offset = offsetof(struct element, wait_ms), .def = "1s"},
};
static const struct conf_table element_table = CONF_TABLE(element_items, struct element, NULL);

static const struct conf_item items[] = {
	{.key = "a.text", .type = CONF_STR, .offset = offsetof(struct conf, text), .def = "x", .flags = CONF_SECRET},
	{.key = "a.number", .type = CONF_INT, .offset = offsetof(struct conf, number), .min = -5, .max = 1000},
	{.key = "a.b.size", .type = CONF_SIZE, .offset = offsetof(struct conf, size)},
	{.key = "a.b.ratio", .type = CONF_DOUBLE, .offset = offsetof(struct conf, ratio)},
	{.key = "flag", .type = CONF_BOOL, .offset = offsetof(struct conf, flag)},
	{.key = "choice", .type = CONF_ENUM, .offset = offsetof(struct conf, choice), .def = "one", .names = names},
	{.key = "hex", .type = CONF_HEX, .offset = offsetof(struct conf, hex), .size = 3, .flags = CONF_OPTIONAL},
	{.key = "strs", .type = CONF_STR_LIST, .offset = offsetof(struct conf, strs), .def = "a, b"},
	{.key = "list", .type = CONF_LIST, .offset = offsetof(struct conf, list), .sub = &element_table, .max = 8},
};
static const struct conf_table table = CONF_TABLE(items, struct conf, NULL);

static void load(struct lw_span text, char *const *env)
{
	struct conf c;
	struct lw_diag diag = {0};
	int rc = conf_load_text(&table, &c, text, "fuzz.yml", env, "fuzz", &diag);
	BUG_ON(rc > 0);
	BUG_ON(rc < 0 && !diag.text[0]);
	BUG_ON(memchr(diag.text, 0, sizeof(diag.text)) == NULL);
	if (rc == 0) {
		BUG_ON(c.number < -5 || c.number > 1000 || c.choice < 0 || c.choice > 1 || c.list.n > 8);
		conf_release(&table, &c);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	load(lw_span(data, size), NULL);
	/* The same bytes as the value of variables. */
	char *value = lw_xstrndup((const char *)data, size);
	size_t n = strlen(value) + 64;
	static const char *const prefixes[] = {
		"LONGWAVE_LIST=", "LONGWAVE_STRS=", "LONGWAVE_LIST__0__SUB__WAIT=", "LONGWAVE_FUZZ__"};
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		char *var = lw_xmalloc(n);
		strcpy(var, prefixes[i]);
		strcat(var, value);
		char *env[] = {var, NULL};
		load(lw_span("", 0), env);
		free(var);
	}
	free(value);
	return 0;
}
