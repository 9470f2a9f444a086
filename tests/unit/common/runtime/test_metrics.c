#include "common/runtime/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const reasons[] = {"ok", NULL, "mic \"bad\""};

static void on_collect(void *arg, struct lw_buf *out)
{
	rt_metric_set(arg, 42);
	lw_buf_append_str(out, "extra_total 1\n");
}

static void text_is_prometheus(void **state)
{
	(void)state;
	struct rt_metrics *m = rt_metrics_new("x_");
	struct rt_metric *c = rt_counter(m, "frames_total", "Frames.\nAll.");
	struct rt_metric *v = rt_counter_vec(m, "drops_total", "Drops.", "reason", reasons, 3);
	struct rt_metric *g = rt_gauge(m, "depth", "Depth.");
	struct rt_metric *late = rt_gauge(m, "late", "Set by a collector.");
	struct rt_metric *h = rt_histogram(m, "latency_seconds", "Latency.", (const double[]){0.1, 1}, 2);
	rt_metrics_on_collect(m, on_collect, late);
	rt_metric_inc(c);
	rt_metric_add(c, 4);
	rt_metric_inc_at(v, 2);
	rt_metric_inc_at(v, 77); /* counted under the last */
	rt_metric_inc_at(v, 1);  /* a gap is not shown */
	rt_metric_set(g, -1.5);
	rt_metric_observe(h, 0.1);
	rt_metric_observe(h, 0.5);
	rt_metric_observe(h, 3);
	rt_metric_inc(NULL);
	assert_true(rt_metric_get(c) == 5);
	assert_true(rt_metric_get_at(v, 2) == 2);

	struct lw_buf out;
	lw_buf_init(&out, 1u << 16);
	rt_metrics_print(m, &out);
	const char *s = lw_buf_str(&out);
	static const char want[] =
		"# HELP x_frames_total Frames.\\nAll.\n# TYPE x_frames_total counter\nx_frames_total 5\n"
		"# HELP x_drops_total Drops.\n# TYPE x_drops_total counter\n"
		"x_drops_total{reason=\"ok\"} 0\nx_drops_total{reason=\"mic \\\"bad\\\"\"} 2\n"
		"# HELP x_depth Depth.\n# TYPE x_depth gauge\nx_depth -1.5\n"
		"# HELP x_late Set by a collector.\n# TYPE x_late gauge\nx_late 42\n"
		"# HELP x_latency_seconds Latency.\n# TYPE x_latency_seconds histogram\n"
		"x_latency_seconds_bucket{le=\"0.1\"} 1\nx_latency_seconds_bucket{le=\"1\"} 2\n"
		"x_latency_seconds_bucket{le=\"+Inf\"} 3\nx_latency_seconds_sum 3.6\n"
		"x_latency_seconds_count 3\nextra_total 1\n";
	assert_int_equal(strncmp(s, want, sizeof(want) - 1), 0);
	double rss = 0, cpu = 0, start = 0;
	const char *p = strstr(s, "\nprocess_resident_memory_bytes ");
	assert_non_null(p);
	assert_int_equal(sscanf(p, "\nprocess_resident_memory_bytes %lf", &rss), 1);
	assert_true(rss > 100e3);
	p = strstr(s, "\nprocess_cpu_seconds_total ");
	assert_int_equal(sscanf(p, "\nprocess_cpu_seconds_total %lf", &cpu), 1);
	assert_true(cpu >= 0 && cpu < 1000);
	p = strstr(s, "\nprocess_start_time_seconds ");
	assert_int_equal(sscanf(p, "\nprocess_start_time_seconds %lf", &start), 1);
	assert_true(start > 1.6e9);
	rt_metrics_remove_collect(m, late);
	lw_buf_reset(&out);
	rt_metrics_print(m, &out);
	assert_null(strstr(lw_buf_str(&out), "extra_total"));
	lw_buf_deinit(&out);
	rt_metrics_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(text_is_prometheus)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
