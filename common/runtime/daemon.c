#include "common/runtime/daemon.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/bug.h"
#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/runtime/clock_watch.h"
#include "common/runtime/heap.h"
#include "common/runtime/status_ask.h"
#include "common/runtime/status_server.h"

#define MAX_HEALTH 32
#define ASK_TIMEOUT_MS 3000
#define CLOCK_LOOK_MS 1000

const char *const rt_conf_level_names[] = {"debug", "info", "warn", "error", "off", NULL};
const char *const rt_conf_format_names[] = {"text", "json", NULL};

struct rt_health {
	const char *name;
	struct rt_daemon_run *run;
	bool up;
	bool known; /* set at least once */
	char detail[120];
};

struct rt_daemon_run {
	const struct rt_daemon *d;
	struct rt_daemon_env env;
	const char *conf_path;
	void *conf;
	void *owner;
	struct rt_status_server *status;
	struct rt_signal *signals[3];
	struct rt_timer drain_timer;
	struct rt_timer clock_timer;
	struct rt_clock_watch clock;
	uint64_t clock_steps;
	struct rt_health health[MAX_HEALTH];
	size_t n_health;
	bool ready;
	bool draining;
	int exit_status;
};

/* --- health ----------------------------------------------------------------------------------------------------- */

struct rt_health *rt_health_add(struct rt_daemon_run *run, const char *name)
{
	if (!run) /* tests run parts without a process */
		return NULL;
	BUG_ON(run->n_health == MAX_HEALTH);
	struct rt_health *h = &run->health[run->n_health++];
	*h = (struct rt_health){.name = name, .run = run};
	return h;
}

void rt_health_set(struct rt_health *h, bool up, const char *detail)
{
	if (!h)
		return;
	bool changed = !h->known || h->up != up;
	h->known = true;
	h->up = up;
	snprintf(h->detail, sizeof(h->detail), "%s", detail ? detail : "");
	if (!changed || !h->run->env.log)
		return;
	if (up)
		RT_LOG_INFO(h->run->env.log, "dependency up", rt_str("name", h->name));
	else
		RT_LOG_WARN(h->run->env.log, "dependency down", rt_str("name", h->name), rt_str("detail", h->detail));
}

bool rt_health_ok(const struct rt_daemon_run *run)
{
	bool ok = run->ready && !run->draining;
	for (size_t i = 0; i < run->n_health; i++)
		ok = ok && run->health[i].up;
	return ok;
}

static void put_json_text(struct lw_buf *out, const char *s)
{
	lw_buf_append_str(out, "\"");
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c == '"' || c == '\\')
			lw_buf_printf(out, "\\%c", c);
		else if (c < 0x20)
			lw_buf_printf(out, "\\u%04x", c);
		else
			lw_buf_append_u8(out, c);
	}
	lw_buf_append_str(out, "\"");
}

static void put_health(const struct rt_daemon_run *run, struct lw_buf *out)
{
	const char *status = !run->ready         ? "starting"
			     : run->draining     ? "draining"
			     : rt_health_ok(run) ? "ok"
						 : "degraded";
	lw_buf_printf(out, "{\"status\":\"%s\",\"daemon\":\"%s\",\"version\":\"%s\",\"dependencies\":{", status,
		      run->d->name, run->d->version);
	for (size_t i = 0; i < run->n_health; i++) {
		const struct rt_health *h = &run->health[i];
		lw_buf_printf(out, "%s\"%s\":{\"up\":%s", i ? "," : "", h->name, h->up ? "true" : "false");
		if (h->detail[0]) {
			lw_buf_append_str(out, ",\"detail\":");
			put_json_text(out, h->detail);
		}
		lw_buf_append_str(out, "}");
	}
	lw_buf_append_str(out, "}}\n");
}

static void on_status(void *arg, const char *path, struct rt_status_answer *a)
{
	struct rt_daemon_run *run = arg;
	if (strcmp(path, "/metrics") == 0) {
		a->status = 200;
		a->type = "text/plain; version=0.0.4; charset=utf-8";
		rt_metrics_print(run->env.metrics, &a->body);
	} else if (strcmp(path, "/health") == 0) {
		a->status = rt_health_ok(run) ? 200 : 503;
		a->type = "application/json";
		put_health(run, &a->body);
	}
}

static void on_collect(void *arg, struct lw_buf *out)
{
	struct rt_daemon_run *run = arg;
	const char *p = run->d->metric_prefix;
	struct rt_loop_stats st;
	rt_loop_stats(run->env.loop, &st);
	lw_buf_printf(out, "# HELP %sloop_turns_total Turns of the event loop.\n# TYPE %sloop_turns_total counter\n", p,
		      p);
	lw_buf_printf(out, "%sloop_turns_total %llu\n", p, (unsigned long long)st.turns);
	lw_buf_printf(out,
		      "# HELP %sloop_busy_seconds_total Time in callbacks.\n# TYPE %sloop_busy_seconds_total counter\n",
		      p, p);
	lw_buf_printf(out, "%sloop_busy_seconds_total %.6f\n", p, (double)st.busy_ns / 1e9);
	lw_buf_printf(out, "# HELP %sloop_slow_total Callbacks over the limit.\n# TYPE %sloop_slow_total counter\n", p,
		      p);
	lw_buf_printf(out, "%sloop_slow_total %llu\n", p, (unsigned long long)st.slow);
	lw_buf_printf(out,
		      "# HELP %slog_left_out_total Log lines over their limit.\n# TYPE %slog_left_out_total counter\n",
		      p, p);
	lw_buf_printf(out, "%slog_left_out_total %llu\n", p, (unsigned long long)rt_log_suppressed(run->env.log));
	lw_buf_printf(
		out,
		"# HELP %sclock_steps_total Times that the wall clock was set.\n# TYPE %sclock_steps_total counter\n",
		p, p);
	lw_buf_printf(out, "%sclock_steps_total %llu\n", p, (unsigned long long)run->clock_steps);
	lw_buf_printf(out, "# HELP %sdependency_up 1 when the dependency is there.\n# TYPE %sdependency_up gauge\n", p,
		      p);
	for (size_t i = 0; i < run->n_health; i++)
		lw_buf_printf(out, "%sdependency_up{name=\"%s\"} %d\n", p, run->health[i].name, run->health[i].up);
}

/* --- init table ------------------------------------------------------------------------------------------------- */

void rt_daemon_parts_down(const struct rt_daemon *d, void *owner, struct rt_log *log, size_t n_up)
{
	while (n_up-- > 0) {
		RT_LOG_DEBUG(log, "part down", rt_str("part", d->parts[n_up].name));
		if (d->parts[n_up].deinit)
			d->parts[n_up].deinit(owner);
	}
}

int rt_daemon_parts_up(const struct rt_daemon *d, void *owner, const struct rt_daemon_env *env, size_t *n_up,
		       struct lw_diag *diag)
{
	*n_up = 0;
	for (size_t i = 0; i < d->n_parts; i++) {
		int rc = d->parts[i].init(owner, env, diag);
		if (rc < 0) {
			if (diag && !diag->text[0])
				lw_diag_set(diag, "%s", lw_err_text(rc));
			lw_diag_prefix(diag, "%s", d->parts[i].name);
			rt_daemon_parts_down(d, owner, env->log, i);
			return rc;
		}
		RT_LOG_DEBUG(env->log, "part up", rt_str("part", d->parts[i].name));
		*n_up = i + 1;
	}
	return 0;
}

/* --- signals ---------------------------------------------------------------------------------------------------- */

void rt_daemon_drained(struct rt_daemon_run *run)
{
	if (!run->draining)
		return;
	rt_timer_stop(&run->drain_timer);
	rt_loop_stop(run->env.loop);
}

static void on_clock_timer(struct rt_timer *t, void *arg)
{
	struct rt_daemon_run *run = arg;
	int64_t by_ns = 0;
	(void)t;
	if (!rt_clock_watch_look(&run->clock, rt_loop_now_ns(run->env.loop), rt_loop_mono_ns(run->env.loop), &by_ns))
		return;
	run->clock_steps++;
	RT_LOG_WARN(run->env.log, "the clock was set: times that are shown and said to devices jump with it",
		    rt_i64("by_ms", by_ns / LW_NS_PER_MS));
}

static void on_drain_timeout(struct rt_timer *t, void *arg)
{
	(void)t;
	struct rt_daemon_run *run = arg;
	RT_LOG_WARN(run->env.log, "drain timed out");
	rt_loop_stop(run->env.loop);
}

static const struct rt_daemon_conf *common_conf(const struct rt_daemon *d, const void *conf)
{
	return (const struct rt_daemon_conf *)(const void *)((const char *)conf + d->common_offset);
}

static void begin_drain(struct rt_daemon_run *run)
{
	if (run->draining)
		return;
	run->draining = true;
	rt_timer_start(&run->drain_timer, common_conf(run->d, run->conf)->drain_timeout_ms);
	if (run->d->drain)
		run->d->drain(run->owner, run);
	else
		rt_daemon_drained(run);
}

void rt_daemon_stop(struct rt_daemon_run *run, int status)
{
	run->exit_status = status;
	begin_drain(run);
}

static void on_term(int signum, void *arg)
{
	struct rt_daemon_run *run = arg;
	if (run->draining) {
		RT_LOG_WARN(run->env.log, "second signal, exiting at once", rt_i64("signal", signum));
		_exit(1);
	}
	RT_LOG_INFO(run->env.log, "stopping", rt_i64("signal", signum));
	begin_drain(run);
}

static void on_hup(int signum, void *arg)
{
	(void)signum;
	struct rt_daemon_run *run = arg;
	const struct rt_daemon *d = run->d;
	struct lw_diag diag = {0};
	void *fresh = lw_xcalloc(1, d->conf->size);
	if (conf_load(d->conf, fresh, run->conf_path, environ, d->name, &diag) < 0) {
		RT_LOG_ERROR(run->env.log, "configuration not reloaded", rt_str("detail", diag.text));
		free(fresh);
		return;
	}
	if (conf_diff_reloadable(d->conf, run->conf, fresh, &diag) < 0)
		RT_LOG_WARN(run->env.log, "configuration not reloaded", rt_str("detail", diag.text));
	else {
		int level = common_conf(d, fresh)->log_level;
		((struct rt_daemon_conf *)(void *)((char *)run->conf + d->common_offset))->log_level = level;
		rt_log_set_level(run->env.log, (enum rt_level)level);
		if (d->reload)
			d->reload(run->owner, fresh);
		RT_LOG_INFO(run->env.log, "configuration reloaded");
	}
	conf_release(d->conf, fresh);
	free(fresh);
}

/* --- run -------------------------------------------------------------------------------------------------------- */

static int start_status(struct rt_daemon_run *run, struct lw_diag *diag)
{
	const char *bind = common_conf(run->d, run->conf)->http_bind;
	if (!*bind)
		return 0;
	int rc = rt_status_server_new(&run->status, run->env.loop, bind, on_status, run, diag);
	if (rc < 0)
		lw_diag_prefix(diag, "metrics.bind");
	return rc;
}

static int serve(struct rt_daemon_run *run, struct lw_diag *diag)
{
	const struct rt_daemon *d = run->d;
	int rc = start_status(run, diag);
	if (rc < 0)
		return rc;
	run->signals[0] = rt_signal_new(run->env.loop, SIGTERM, on_term, run);
	run->signals[1] = rt_signal_new(run->env.loop, SIGINT, on_term, run);
	run->signals[2] = rt_signal_new(run->env.loop, SIGHUP, on_hup, run);
	size_t n_up = 0;
	rc = rt_daemon_parts_up(d, run->owner, &run->env, &n_up, diag);
	if (rc == 0) {
		run->ready = true;
		RT_LOG_INFO(run->env.log, "ready", rt_str("version", d->version),
			    rt_u64("status_port", run->status ? rt_status_server_port(run->status) : 0));
		/* A part may have asked for the end already. */
		if (!run->draining)
			rt_loop_run(run->env.loop);
		rt_daemon_parts_down(d, run->owner, run->env.log, n_up);
		RT_LOG_INFO(run->env.log, "stopped");
	}
	for (size_t i = 0; i < 3; i++)
		rt_signal_free(run->signals[i]);
	rt_status_server_free(run->status);
	return rc;
}

static int run_daemon(const struct rt_daemon *d, void *conf, const char *conf_path)
{
	const struct rt_daemon_conf *c = common_conf(d, conf);
	rt_heap_settings();
	struct rt_daemon_run *run = lw_xcalloc(1, sizeof(*run));
	run->d = d;
	run->conf = conf;
	run->conf_path = conf_path;
	run->owner = lw_xcalloc(1, d->owner_size ? d->owner_size : 1);
	run->env = (struct rt_daemon_env){
		.run = run,
		.loop = rt_loop_new(),
		.log = rt_log_new(STDERR_FILENO, (enum rt_log_format)c->log_format, (enum rt_level)c->log_level),
		.metrics = rt_metrics_new(d->metric_prefix),
		.conf = conf,
		.name = d->name,
		.version = d->version,
	};
	rt_log_set_daemon(run->env.log, d->name);
	rt_loop_set_log(run->env.loop, run->env.log);
	rt_metrics_on_collect(run->env.metrics, on_collect, run);
	rt_timer_init(&run->drain_timer, run->env.loop, "daemon.drain", on_drain_timeout, run);
	rt_timer_init(&run->clock_timer, run->env.loop, "daemon.clock", on_clock_timer, run);
	rt_timer_start_every(&run->clock_timer, CLOCK_LOOK_MS);
	on_clock_timer(&run->clock_timer, run);
	signal(SIGPIPE, SIG_IGN);

	struct lw_diag diag = {0};
	struct rt_heap *heap = rt_heap_new(run->env.loop);
	int rc = serve(run, &diag);
	rt_heap_free(heap);
	if (rc < 0)
		RT_LOG_ERROR(run->env.log, "cannot start", rt_str("detail", diag.text));
	int status = rc < 0 ? 1 : run->exit_status;
	/* Closing handles may still log. */
	rt_timer_stop(&run->drain_timer);
	rt_timer_stop(&run->clock_timer);
	rt_loop_free(run->env.loop);
	rt_metrics_free(run->env.metrics);
	rt_log_free(run->env.log);
	free(run->owner);
	free(run);
	return status;
}

/* --- options ---------------------------------------------------------------------------------------------------- */

static void print_buf(struct lw_buf *b)
{
	fwrite(lw_buf_str(b), 1, b->n, stdout);
	lw_buf_deinit(b);
}

static void print_help(const struct rt_daemon *d)
{
	printf("longwave-%s %s\n%s\n\n"
	       "  -c, --config FILE   configuration; without it defaults and environment only\n"
	       "      --check         check the configuration and exit\n"
	       "      --health        ask the running daemon of this configuration; exit status 0 when it is well\n"
	       "      --print-defaults  commented configuration with all defaults\n"
	       "      --print-docs    all settings as a Markdown table\n"
	       "      --version       version\n"
	       "  -h, --help          this text\n\n"
	       "Each setting can be overridden by the environment: mqtt.server is LONGWAVE_MQTT__SERVER,\n"
	       "for this daemon alone LONGWAVE_<DAEMON>__MQTT__SERVER.\n",
	       d->name, d->version, d->sentence ? d->sentence : "");
}

static int ask_health(const struct rt_daemon *d, const void *conf)
{
	struct lw_diag diag = {0};
	struct lw_buf body;
	lw_buf_init(&body, 1u << 16);
	int rc = rt_status_ask(common_conf(d, conf)->http_bind, "/health", ASK_TIMEOUT_MS, &body, &diag);
	if (rc < 0)
		fprintf(stderr, "longwave-%s: health: %s\n", d->name, diag.text[0] ? diag.text : lw_err_text(rc));
	print_buf(&body);
	return rc == 200 ? 0 : 1;
}

enum verb { RUN, CHECK, HEALTH, DEFAULTS, DOCS, VERSION, HELP };

int rt_daemon_main(int argc, char **argv, const struct rt_daemon *d)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'}, {"check", no_argument, NULL, CHECK},
		{"health", no_argument, NULL, HEALTH},    {"print-defaults", no_argument, NULL, DEFAULTS},
		{"print-docs", no_argument, NULL, DOCS},  {"version", no_argument, NULL, VERSION},
		{"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
	};
	const char *path = NULL;
	enum verb verb = RUN;
	for (int o; (o = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
		if (o == 'c')
			path = optarg;
		else if (o == 'h')
			verb = HELP;
		else if (o >= CHECK && o <= VERSION)
			verb = (enum verb)o;
		else
			return 2;
	}
	if (optind < argc) {
		fprintf(stderr, "unexpected argument: %s\n", argv[optind]);
		return 2;
	}
	struct lw_buf text;
	lw_buf_init(&text, 1u << 20);
	switch (verb) {
	case HELP:
		print_help(d);
		return 0;
	case VERSION:
		printf("longwave-%s %s\n", d->name, d->version);
		return 0;
	case DEFAULTS:
		lw_buf_printf(&text, "# longwave-%s: all settings with their defaults.\n\n", d->name);
		conf_print_defaults(d->conf, &text);
		print_buf(&text);
		return 0;
	case DOCS:
		conf_print_docs(d->conf, &text);
		print_buf(&text);
		return 0;
	case RUN:
	case CHECK:
	case HEALTH:
		break;
	}
	struct lw_diag diag = {0};
	void *conf = lw_xcalloc(1, d->conf->size);
	if (conf_load(d->conf, conf, path, environ, d->name, &diag) < 0) {
		fprintf(stderr, "longwave-%s: configuration: %s\n", d->name, diag.text);
		free(conf);
		return 2;
	}
	int status = 0;
	if (verb == CHECK)
		printf("configuration ok\n");
	else if (verb == HEALTH)
		status = ask_health(d, conf);
	else
		status = run_daemon(d, conf, path);
	conf_release(d->conf, conf);
	free(conf);
	return status;
}
