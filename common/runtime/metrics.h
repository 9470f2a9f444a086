/* Metrics: counters, gauges and histograms with at most one label whose values are known beforehand, printed in the
 * Prometheus text format. A metric is a handle; adding to it is one addition. Not thread-safe: the loop's thread only.
 * Labels never carry a device or gateway id. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

struct rt_flow;
struct rt_metrics;
struct rt_metric;

/* `prefix` is put before each name ("longwave_ns_"); names, help, labels and label values are kept by reference. */
struct rt_metrics *rt_metrics_new(const char *prefix);
void rt_metrics_free(struct rt_metrics *m);

/* Registering twice under one name is a bug. Counter names end in _total. */
struct rt_metric *rt_counter(struct rt_metrics *m, const char *name, const char *help);
struct rt_metric *rt_gauge(struct rt_metrics *m, const char *name, const char *help);
/* One series per value; values[i] NULL leaves that index out of the text (enums with gaps). */
struct rt_metric *rt_counter_vec(struct rt_metrics *m, const char *name, const char *help, const char *label,
				 const char *const *values, size_t n);
struct rt_metric *rt_gauge_vec(struct rt_metrics *m, const char *name, const char *help, const char *label,
			       const char *const *values, size_t n);
/* Upper bounds in rising order, without +Inf. Copied. */
struct rt_metric *rt_histogram(struct rt_metrics *m, const char *name, const char *help, const double *bounds,
			       size_t n);
/* Bounds for latencies in seconds: 0.5 ms to 10 s. */
struct rt_metric *rt_histogram_seconds(struct rt_metrics *m, const char *name, const char *help);

/* A NULL metric is ignored by all of these. An index outside the values is counted under the last one. */
void rt_metric_inc(struct rt_metric *c);
void rt_metric_add(struct rt_metric *c, uint64_t n);
void rt_metric_inc_at(struct rt_metric *c, size_t index);
void rt_metric_add_at(struct rt_metric *c, size_t index, uint64_t n);
void rt_metric_set(struct rt_metric *g, double v);
void rt_metric_set_at(struct rt_metric *g, size_t index, double v);
void rt_metric_observe(struct rt_metric *h, double v);
double rt_metric_get(const struct rt_metric *m);
double rt_metric_get_at(const struct rt_metric *m, size_t index);

/* Called before each printing: sets gauges whose value lives elsewhere, or appends whole series to `out` in the text
 * format (names complete, with HELP and TYPE). */
typedef void rt_metrics_collect_fn(void *arg, struct lw_buf *out);
void rt_metrics_on_collect(struct rt_metrics *m, rt_metrics_collect_fn *fn, void *arg);
void rt_metrics_remove_collect(struct rt_metrics *m, void *arg);
/* Used by rt_flow_register_metrics(): per-step series of the flow, until it is taken out. */
void rt_metrics_add_flow(struct rt_metrics *m, const struct rt_flow *f);
void rt_metrics_remove_flow(struct rt_metrics *m, const struct rt_flow *f);
/* The prefix, for collectors that write series themselves. */
const char *rt_metrics_prefix(const struct rt_metrics *m);

/* Appends everything, with process_resident_memory_bytes, process_cpu_seconds_total, process_open_fds and
 * process_start_time_seconds. */
void rt_metrics_print(struct rt_metrics *m, struct lw_buf *out);
