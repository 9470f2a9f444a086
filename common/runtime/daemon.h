/* The main function that all daemons share: options, configuration, log, signals, metrics and health over HTTP, and an
 * init table that is unwound in reverse. A daemon's main.c is its tables and one call.
 *
 * Start: options → configuration → log → loop → init table → "ready". SIGTERM or SIGINT: drain callback, which ends
 * with rt_daemon_drained() (or the drain timeout does); then the table in reverse. A second signal exits at once
 * with 1. A dependency away at start is the init function's business: it starts its connection, retries on the loop,
 * and says so through its health entry; init fails only on what a person must change. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/runtime/conf.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"

/* Settings that every daemon has; embed as a member and add RT_DAEMON_CONF(type, member, bind) to the table. */
struct rt_daemon_conf {
	int log_level;
	int log_format;
	char *http_bind; /* address:port of metrics and health; "" switches them off */
	uint64_t drain_timeout_ms;
};

extern const char *const rt_conf_level_names[];
extern const char *const rt_conf_format_names[];

#define RT_DAEMON_CONF(type_, member_, default_bind)                                                                   \
	{.key = "log.level",                                                                                           \
	 .type = CONF_ENUM,                                                                                            \
	 .offset = offsetof(type_, member_.log_level),                                                                 \
	 .def = "info",                                                                                                \
	 .flags = CONF_RELOADABLE,                                                                                     \
	 .names = rt_conf_level_names,                                                                                 \
	 .sentence = "Lowest level that is written: error and warn mean that a person should act."},                   \
		{.key = "log.format",                                                                                  \
		 .type = CONF_ENUM,                                                                                    \
		 .offset = offsetof(type_, member_.log_format),                                                        \
		 .def = "text",                                                                                        \
		 .names = rt_conf_format_names,                                                                        \
		 .sentence = "Lines for people or for machines."},                                                     \
		{.key = "metrics.bind",                                                                                \
		 .type = CONF_STR,                                                                                     \
		 .offset = offsetof(type_, member_.http_bind),                                                         \
		 .def = default_bind,                                                                                  \
		 .sentence = "Address and port of GET /metrics and GET /health; empty switches them off."},            \
	{                                                                                                              \
		.key = "drain_timeout", .type = CONF_DURATION, .offset = offsetof(type_, member_.drain_timeout_ms),    \
		.def = "10s", .max = 3600000,                                                                          \
		.sentence = "How long work in progress may take to finish after SIGTERM."                              \
	}

struct rt_daemon_run;

/* Handed to the init functions. `owner` is the daemon's struct, zeroed; it holds whatever the functions make. */
struct rt_daemon_env {
	struct rt_daemon_run *run;
	struct rt_loop *loop;
	struct rt_log *log;
	struct rt_metrics *metrics;
	const void *conf;
	const char *name;
	const char *version;
};

/* 0 or negative with diag set. On failure it has already undone its own part. */
typedef int rt_init_fn(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag);
typedef void rt_deinit_fn(void *owner);

struct rt_daemon_part {
	const char *name;
	rt_init_fn *init;
	rt_deinit_fn *deinit; /* may be NULL */
};

struct rt_daemon {
	const char *name;          /* "network-server" */
	const char *metric_prefix; /* "longwave_ns_" */
	const char *sentence;      /* for --help */
	const char *version;
	const struct conf_table *conf;
	size_t common_offset; /* of struct rt_daemon_conf in the configuration struct */
	size_t owner_size;
	const struct rt_daemon_part *parts;
	size_t n_parts;
	/* Stop taking in, finish what is inside, then rt_daemon_drained(). NULL: nothing to drain. */
	void (*drain)(void *owner, struct rt_daemon_run *run);
	/* SIGHUP with a configuration that differs only in reloadable keys: `conf` is the new one (the daemon keeps
	 * using the old pointer afterwards; values are copied into it). May be NULL. */
	void (*reload)(void *owner, const void *conf);
};

/* Options: -c/--config FILE, --check, --health, --print-defaults, --print-docs, --version, --help. Returns the exit
 * status. */
int rt_daemon_main(int argc, char **argv, const struct rt_daemon *d);

/* From drain (or later): the loop may stop. */
void rt_daemon_drained(struct rt_daemon_run *run);
/* Asks for an orderly end, as SIGTERM does; exit status of the process afterwards. */
void rt_daemon_stop(struct rt_daemon_run *run, int status);

/* --- health: GET /health is 200 {"status":"ok"} when no entry is down, else 503 naming the entries ---------------- */

struct rt_health;
/* `name` by reference ("mqtt", "database"). Starts as down. */
struct rt_health *rt_health_add(struct rt_daemon_run *run, const char *name);
/* Logs each change once: info when up, warn when down. `detail` is copied, may be NULL. NULL entry is ignored. */
void rt_health_set(struct rt_health *h, bool up, const char *detail);
bool rt_health_ok(const struct rt_daemon_run *run);

/* For tests: runs the init table and unwinds it, without process, options, signals. */
int rt_daemon_parts_up(const struct rt_daemon *d, void *owner, const struct rt_daemon_env *env, size_t *n_up,
		       struct lw_diag *diag);
void rt_daemon_parts_down(const struct rt_daemon *d, void *owner, struct rt_log *log, size_t n_up);
