/* Configuration: one table of settings per daemon, from which follow the parser of the YAML file, the environment
 * override,
 * --check, --print-defaults and the documentation. An unknown or wrong key is an error that names file, line and the
 * nearest right key. Reads files; never logs.
 *
 * Environment: LONGWAVE_ + the key in upper case with "." written as "__" and "-" as "_": mqtt.server is
 * LONGWAVE_MQTT__SERVER. Elements of lists are numbered: listeners.0.bind is LONGWAVE_LISTENERS__0__BIND; a number
 * equal to the length of the list adds an element. With a daemon's own name first the variable is for that daemon only
 * and wins: LONGWAVE_NETWORK_SERVER__MQTT__SERVER. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

enum conf_type {
	CONF_STR,      /* char *, owned by the configuration; never NULL */
	CONF_BOOL,     /* bool: true/false/yes/no/on/off */
	CONF_INT,      /* int64_t, min..max */
	CONF_UINT,     /* uint64_t, min..max */
	CONF_DOUBLE,   /* double, min..max */
	CONF_DURATION, /* uint64_t milliseconds, min..max in ms; text "200ms", "5s", "2m", "1h", "1d"; a bare number is
			  ms */
	CONF_SIZE,     /* uint64_t bytes; text "64KiB", "1MiB", "2GiB", "10MB"; a bare number is bytes */
	CONF_ENUM,     /* int: index in `names` */
	CONF_HEX,      /* uint8_t[size], exactly 2*size digits; "" leaves zeroes when `optional` */
	CONF_STR_LIST, /* struct conf_strs */
	CONF_LIST,     /* struct conf_list of sub-structs, described by `sub` */
};

enum conf_flags {
	CONF_SECRET = 1,     /* value is not shown by any printing */
	CONF_RELOADABLE = 2, /* may change at SIGHUP */
	CONF_REQUIRED = 4,   /* must be given and not empty */
	CONF_OPTIONAL = 8,   /* HEX: may be empty */
};

struct conf_strs {
	char **v;
	size_t n;
};

/* n elements of the sub-table's struct, one after the other. */
struct conf_list {
	void *v;
	size_t n;
};

struct conf_item {
	const char *key; /* dotted path: "mqtt.server" */
	enum conf_type type;
	size_t offset;    /* in the daemon's (or the element's) struct */
	const char *def;  /* default as text in YAML form; STR_LIST: "a, b"; LIST: see def_list */
	double min, max;  /* numbers: inclusive; both 0: no limits. LIST, STR_LIST: max elements when max > 0 */
	const char *unit; /* shown in the documentation */
	unsigned flags;
	const char *sentence;         /* what it does */
	const char *const *names;     /* ENUM: NULL-terminated */
	size_t size;                  /* HEX: bytes */
	const struct conf_table *sub; /* LIST */
	const char *def_list;         /* LIST: default as a YAML sequence in flow or block form; NULL: empty */
};

struct conf_table {
	const struct conf_item *items;
	size_t n;
	size_t size; /* of the struct */
	/* Cross-field checks; may be NULL. Returns 0 or LW_EINVAL with the detail set. */
	int (*check)(const void *conf, struct lw_diag *diag);
};

#define CONF_TABLE(items_, type_, check_)                                                                              \
	{                                                                                                              \
		.items = (items_), .n = sizeof(items_) / sizeof((items_)[0]), .size = sizeof(type_), .check = (check_) \
	}

#define CONF_MAX_FILE (1024u * 1024u)

/* Fills `conf` (table->size bytes, uninitialised) with defaults, then the file (path NULL: none), then the environment
 * (envp NULL: none; `daemon` "network-server" or NULL). On error everything is released again and diag says
 * "file:line: …". */
int conf_load(const struct conf_table *t, void *conf, const char *path, char *const *envp, const char *daemon,
	      struct lw_diag *diag);
/* The same from text in memory; `name` stands for the file. */
int conf_load_text(const struct conf_table *t, void *conf, struct lw_span text, const char *name, char *const *envp,
		   const char *daemon, struct lw_diag *diag);
/* Frees strings and lists inside. Secrets are wiped. */
void conf_release(const struct conf_table *t, void *conf);

/* Commented YAML with all defaults; loading it gives the defaults. */
void conf_print_defaults(const struct conf_table *t, struct lw_buf *out);
/* Markdown: one table row per setting. */
void conf_print_docs(const struct conf_table *t, struct lw_buf *out);
/* Keys whose value differs and that are not reloadable are named in diag (LW_EINVAL); for SIGHUP. */
int conf_diff_reloadable(const struct conf_table *t, const void *old_conf, const void *new_conf, struct lw_diag *diag);

/* "200ms" → 200 etc.; bare number as ms. LW_EINVAL or LW_ERANGE. */
int conf_parse_duration_ms(const char *text, uint64_t *out);
int conf_parse_size(const char *text, uint64_t *out);
