#include "common/runtime/metrics.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/base/bug.h"
#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/runtime/flow.h"

enum kind { COUNTER, GAUGE, HISTOGRAM };

struct rt_metric {
	enum kind kind;
	const char *name, *help, *label;
	const char *const *values; /* NULL: one series without label */
	size_t n;                  /* series, or buckets of a histogram with +Inf */
	uint64_t *counts;          /* COUNTER, HISTOGRAM (not cumulated) */
	double *gauges;            /* GAUGE */
	double *bounds;            /* HISTOGRAM: n - 1 */
	double sum;
};

struct collector {
	rt_metrics_collect_fn *fn;
	void *arg;
};

struct rt_metrics {
	const char *prefix;
	struct rt_metric **v;
	size_t n;
	struct collector *collectors;
	size_t n_collectors;
	const struct rt_flow **flows;
	size_t n_flows;
};

struct rt_metrics *rt_metrics_new(const char *prefix)
{
	struct rt_metrics *m = lw_xcalloc(1, sizeof(*m));
	m->prefix = prefix;
	return m;
}

void rt_metrics_free(struct rt_metrics *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++) {
		free(m->v[i]->counts);
		free(m->v[i]->gauges);
		free(m->v[i]->bounds);
		free(m->v[i]);
	}
	free(m->v);
	free(m->collectors);
	free(m->flows);
	free(m);
}

static struct rt_metric *add(struct rt_metrics *m, enum kind kind, const char *name, const char *help)
{
	for (size_t i = 0; i < m->n; i++)
		BUG_ON(strcmp(m->v[i]->name, name) == 0);
	struct rt_metric *x = lw_xcalloc(1, sizeof(*x));
	x->kind = kind;
	x->name = name;
	x->help = help;
	x->n = 1;
	m->v = lw_xreallocarray(m->v, m->n + 1, sizeof(struct rt_metric *));
	m->v[m->n++] = x;
	return x;
}

static struct rt_metric *add_vec(struct rt_metrics *m, enum kind kind, const char *name, const char *help,
				 const char *label, const char *const *values, size_t n)
{
	BUG_ON(n == 0);
	struct rt_metric *x = add(m, kind, name, help);
	x->label = label;
	x->values = values;
	x->n = n;
	if (kind == COUNTER)
		x->counts = lw_xcalloc(n, sizeof(*x->counts));
	else
		x->gauges = lw_xcalloc(n, sizeof(*x->gauges));
	return x;
}

struct rt_metric *rt_counter(struct rt_metrics *m, const char *name, const char *help)
{
	return add_vec(m, COUNTER, name, help, NULL, NULL, 1);
}

struct rt_metric *rt_gauge(struct rt_metrics *m, const char *name, const char *help)
{
	return add_vec(m, GAUGE, name, help, NULL, NULL, 1);
}

struct rt_metric *rt_counter_vec(struct rt_metrics *m, const char *name, const char *help, const char *label,
				 const char *const *values, size_t n)
{
	return add_vec(m, COUNTER, name, help, label, values, n);
}

struct rt_metric *rt_gauge_vec(struct rt_metrics *m, const char *name, const char *help, const char *label,
			       const char *const *values, size_t n)
{
	return add_vec(m, GAUGE, name, help, label, values, n);
}

struct rt_metric *rt_histogram(struct rt_metrics *m, const char *name, const char *help, const double *bounds, size_t n)
{
	struct rt_metric *x = add(m, HISTOGRAM, name, help);
	x->n = n + 1;
	x->counts = lw_xcalloc(n + 1, sizeof(*x->counts));
	x->bounds = lw_xcalloc(n ? n : 1, sizeof(*x->bounds));
	for (size_t i = 0; i < n; i++) {
		BUG_ON(i > 0 && bounds[i] <= bounds[i - 1]);
		x->bounds[i] = bounds[i];
	}
	return x;
}

struct rt_metric *rt_histogram_seconds(struct rt_metrics *m, const char *name, const char *help)
{
	static const double bounds[] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
	return rt_histogram(m, name, help, bounds, sizeof(bounds) / sizeof(bounds[0]));
}

/* --- values ----------------------------------------------------------------------------------------------------- */

static size_t at(const struct rt_metric *x, size_t i)
{
	return i < x->n ? i : x->n - 1;
}

void rt_metric_add_at(struct rt_metric *c, size_t index, uint64_t n)
{
	if (!c)
		return;
	BUG_ON(c->kind != COUNTER);
	c->counts[at(c, index)] += n;
}

void rt_metric_inc(struct rt_metric *c)
{
	rt_metric_add_at(c, 0, 1);
}

void rt_metric_add(struct rt_metric *c, uint64_t n)
{
	rt_metric_add_at(c, 0, n);
}

void rt_metric_inc_at(struct rt_metric *c, size_t index)
{
	rt_metric_add_at(c, index, 1);
}

void rt_metric_set_at(struct rt_metric *g, size_t index, double v)
{
	if (!g)
		return;
	BUG_ON(g->kind != GAUGE);
	g->gauges[at(g, index)] = v;
}

void rt_metric_set(struct rt_metric *g, double v)
{
	rt_metric_set_at(g, 0, v);
}

void rt_metric_observe(struct rt_metric *h, double v)
{
	if (!h)
		return;
	BUG_ON(h->kind != HISTOGRAM);
	size_t i = 0;
	while (i + 1 < h->n && !(v <= h->bounds[i]))
		i++;
	h->counts[i]++;
	h->sum += v;
}

double rt_metric_get_at(const struct rt_metric *x, size_t index)
{
	if (!x || index >= x->n)
		return 0;
	return x->kind == GAUGE ? x->gauges[index] : (double)x->counts[index];
}

double rt_metric_get(const struct rt_metric *x)
{
	return rt_metric_get_at(x, 0);
}

/* --- collectors ------------------------------------------------------------------------------------------------- */

void rt_metrics_on_collect(struct rt_metrics *m, rt_metrics_collect_fn *fn, void *arg)
{
	m->collectors = lw_xreallocarray(m->collectors, m->n_collectors + 1, sizeof(*m->collectors));
	m->collectors[m->n_collectors++] = (struct collector){fn, arg};
}

void rt_metrics_remove_collect(struct rt_metrics *m, void *arg)
{
	size_t n = 0;
	for (size_t i = 0; i < m->n_collectors; i++) {
		if (m->collectors[i].arg != arg)
			m->collectors[n++] = m->collectors[i];
	}
	m->n_collectors = n;
}

void rt_metrics_add_flow(struct rt_metrics *m, const struct rt_flow *f)
{
	m->flows = lw_xreallocarray(m->flows, m->n_flows + 1, sizeof(struct rt_flow *));
	m->flows[m->n_flows++] = f;
}

void rt_metrics_remove_flow(struct rt_metrics *m, const struct rt_flow *f)
{
	size_t n = 0;
	for (size_t i = 0; i < m->n_flows; i++) {
		if (m->flows[i] != f)
			m->flows[n++] = m->flows[i];
	}
	m->n_flows = n;
}

const char *rt_metrics_prefix(const struct rt_metrics *m)
{
	return m->prefix;
}

/* --- text ------------------------------------------------------------------------------------------------------- */

static void put_escaped(struct lw_buf *out, const char *s, bool quote)
{
	for (; *s; s++) {
		if (*s == '\n')
			lw_buf_append_str(out, "\\n");
		else if (*s == '\\' || (quote && *s == '"'))
			lw_buf_printf(out, "\\%c", *s);
		else
			lw_buf_append_u8(out, (uint8_t)*s);
	}
}

static void put_head(struct lw_buf *out, const char *prefix, const char *name, const char *help, const char *type)
{
	lw_buf_printf(out, "# HELP %s%s ", prefix, name);
	put_escaped(out, help, false);
	lw_buf_printf(out, "\n# TYPE %s%s %s\n", prefix, name, type);
}

static void put_number(struct lw_buf *out, double v)
{
	if (isnan(v))
		lw_buf_append_str(out, "NaN\n");
	else if (isinf(v))
		lw_buf_append_str(out, v > 0 ? "+Inf\n" : "-Inf\n");
	else
		lw_buf_printf(out, "%.15g\n", v);
}

static void put_series(struct lw_buf *out, const char *prefix, const struct rt_metric *x, size_t i)
{
	if (x->values && !x->values[i])
		return;
	lw_buf_printf(out, "%s%s", prefix, x->name);
	if (x->values) {
		lw_buf_printf(out, "{%s=\"", x->label);
		put_escaped(out, x->values[i], true);
		lw_buf_append_str(out, "\"}");
	}
	lw_buf_append_str(out, " ");
	if (x->kind == COUNTER)
		lw_buf_printf(out, "%llu\n", (unsigned long long)x->counts[i]);
	else
		put_number(out, x->gauges[i]);
}

static void put_histogram(struct lw_buf *out, const char *prefix, const struct rt_metric *x)
{
	uint64_t total = 0;
	for (size_t i = 0; i < x->n; i++) {
		total += x->counts[i];
		lw_buf_printf(out, "%s%s_bucket{le=\"", prefix, x->name);
		if (i + 1 < x->n)
			lw_buf_printf(out, "%g", x->bounds[i]);
		else
			lw_buf_append_str(out, "+Inf");
		lw_buf_printf(out, "\"} %llu\n", (unsigned long long)total);
	}
	lw_buf_printf(out, "%s%s_sum ", prefix, x->name);
	put_number(out, x->sum);
	lw_buf_printf(out, "%s%s_count %llu\n", prefix, x->name, (unsigned long long)total);
}

static double flow_value(const struct rt_flow_stats *s, int which)
{
	switch (which) {
	case 0:
		return (double)s->in;
	case 1:
		return (double)s->batches;
	case 2:
		return (double)s->drops;
	case 3:
		return (double)s->late;
	case 4:
		return (double)s->ns / 1e9;
	default:
		return (double)s->waiting;
	}
}

static void put_flows(struct lw_buf *out, const struct rt_metrics *m)
{
	static const struct {
		const char *name, *help, *type;
	} family[] = {
		{"flow_step_in_total", "Frames that went into a step.", "counter"},
		{"flow_step_batches_total", "Batches that a step has run.", "counter"},
		{"flow_step_dropped_total", "Frames that ended in a step as dropped.", "counter"},
		{"flow_step_late_total", "Frames dropped because their deadline had passed.", "counter"},
		{"flow_step_seconds_total", "Time spent in the functions of a step.", "counter"},
		{"flow_step_waiting", "Frames that wait at a step now.", "gauge"},
	};
	if (!m->n_flows)
		return;
	for (size_t k = 0; k < sizeof(family) / sizeof(family[0]); k++) {
		put_head(out, m->prefix, family[k].name, family[k].help, family[k].type);
		for (size_t i = 0; i < m->n_flows; i++) {
			for (size_t s = 0; s < rt_flow_n_steps(m->flows[i]); s++) {
				struct rt_flow_stats st;
				rt_flow_stats(m->flows[i], s, &st);
				lw_buf_printf(out, "%s%s{flow=\"%s\",step=\"%s\"} ", m->prefix, family[k].name,
					      rt_flow_name(m->flows[i]), st.step);
				put_number(out, flow_value(&st, (int)k));
			}
		}
	}
	put_head(out, m->prefix, "flow_in_flight", "Frames inside a flow now.", "gauge");
	for (size_t i = 0; i < m->n_flows; i++)
		lw_buf_printf(out, "%sflow_in_flight{flow=\"%s\"} %zu\n", m->prefix, rt_flow_name(m->flows[i]),
			      rt_flow_in_flight(m->flows[i]));
}

/* Field 22 of /proc/self/stat (start after boot, in ticks) as wall time in seconds; 0 when it cannot be read. */
static double start_time_s(void)
{
	char text[1024];
	FILE *f = fopen("/proc/self/stat", "r");
	if (!f)
		return 0;
	size_t n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	/* The name in brackets may contain anything; what follows the last bracket is numbers. */
	char *p = strrchr(text, ')');
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	struct timespec boot;
	if (!p || clock_gettime(CLOCK_BOOTTIME, &boot) != 0)
		return 0;
	double started = (double)strtoull(p + 1, NULL, 10) / (double)sysconf(_SC_CLK_TCK);
	return (double)lw_now_ns() / 1e9 - ((double)boot.tv_sec + (double)boot.tv_nsec / 1e9 - started);
}

static size_t open_fds(void)
{
	size_t n = 0;
	DIR *d = opendir("/proc/self/fd");
	if (!d)
		return 0;
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n ? n - 1 : 0; /* the folder's own */
}

/* Second number of /proc/self/statm. */
static unsigned long long rss_pages(void)
{
	char text[128] = "";
	FILE *f = fopen("/proc/self/statm", "r");
	if (!f)
		return 0;
	size_t n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	const char *second = strchr(text, ' ');
	return second ? strtoull(second, NULL, 10) : 0;
}

static void put_process(struct lw_buf *out)
{
	struct rusage ru;
	getrusage(RUSAGE_SELF, &ru);
	double cpu = (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
		     (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
	put_head(out, "", "process_resident_memory_bytes", "Resident memory.", "gauge");
	lw_buf_printf(out, "process_resident_memory_bytes %llu\n",
		      rss_pages() * (unsigned long long)sysconf(_SC_PAGESIZE));
	put_head(out, "", "process_cpu_seconds_total", "CPU time, user and system.", "counter");
	lw_buf_printf(out, "process_cpu_seconds_total %.6f\n", cpu);
	put_head(out, "", "process_open_fds", "Open file descriptors.", "gauge");
	lw_buf_printf(out, "process_open_fds %zu\n", open_fds());
	put_head(out, "", "process_start_time_seconds", "Start of the process since 1970 UTC.", "gauge");
	lw_buf_printf(out, "process_start_time_seconds %.2f\n", start_time_s());
}

void rt_metrics_print(struct rt_metrics *m, struct lw_buf *out)
{
	/* Collectors may set gauges printed below, and their own text must not stand inside another family. */
	struct lw_buf extra;
	lw_buf_init(&extra, out->max);
	for (size_t i = 0; i < m->n_collectors; i++)
		m->collectors[i].fn(m->collectors[i].arg, &extra);
	for (size_t i = 0; i < m->n; i++) {
		static const char *const types[] = {"counter", "gauge", "histogram"};
		const struct rt_metric *x = m->v[i];
		put_head(out, m->prefix, x->name, x->help, types[x->kind]);
		if (x->kind == HISTOGRAM) {
			put_histogram(out, m->prefix, x);
			continue;
		}
		for (size_t k = 0; k < x->n; k++)
			put_series(out, m->prefix, x, k);
	}
	put_flows(out, m);
	lw_buf_append_span(out, lw_buf_span(&extra));
	lw_buf_deinit(&extra);
	put_process(out);
}
