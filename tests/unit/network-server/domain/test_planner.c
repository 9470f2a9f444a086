/* The planner's rules one by one; a million random plans with enforcement on against an exact, independent account of
 * what each gateway then does. How much more arrives than by chance: test_planner_delivery.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/xmalloc.h"
#include "common/lorawan/airtime.h"
#include "network-server/domain/planner.h"

#define S 1000000000LL
#define MS 1000000LL
#define N_GATEWAYS 8

/* ---- rules ---- */

static struct ns_plan_in two_windows(int64_t now_ns, unsigned n_gateways)
{
	struct ns_plan_in in = {
		.now_ns = now_ns,
		.region = lw_region_by_id(LW_REGION_EU868),
		.min_margin_ddb = 100,
		.window = {{.start_ns = now_ns + S, .hz = 868100000, .airtime_us = 60000},
			   {.start_ns = now_ns + 2 * S, .hz = 869525000, .airtime_us = 1500000}},
		.n_windows = 2,
		.n_gateways = n_gateways,
	};
	for (unsigned i = 0; i < n_gateways; i++)
		in.gateway[i] = (struct ns_plan_gateway){.margin_ddb = (int16_t)(200 - (int)i * 20), .priority = 1};
	return in;
}

static void free_gateway_sends_in_rx1(void **state)
{
	struct lw_rng rng;
	struct ns_plan p;
	struct ns_plan_in in = two_windows(0, 1);
	(void)state;
	lw_rng_init_seeded(&rng, 1);
	ns_plan_downlink(&in, &rng, &p);
	assert_true(p.found && !p.forced);
	assert_int_equal(p.gateway, 0);
	assert_int_equal(p.n_windows, 2);
	assert_int_equal(p.window[0], 0);
	assert_int_equal(p.window[1], 1);
	assert_true(p.start_ns == S);
}

static void busy_gateway_is_passed(void **state)
{
	struct lw_rng rng;
	struct ns_plan p;
	struct ns_timeline busy = {0};
	struct ns_plan_in in = two_windows(0, 2);
	(void)state;
	lw_rng_init_seeded(&rng, 1);
	ns_timeline_plan(&busy, 1, S - 100 * MS, 400000, NULL);
	in.gateway[0].timeline = &busy;
	for (int i = 0; i < 20; i++) {
		ns_plan_downlink(&in, &rng, &p);
		assert_int_equal(p.gateway, 1);
		assert_int_equal(p.why[0][0], NS_PLAN_BUSY);
		assert_int_equal(p.why[0][1], NS_PLAN_FREE);
	}
	in.n_gateways = 1;
	ns_plan_downlink(&in, &rng, &p);
	assert_int_equal(p.gateway, 0);
	assert_int_equal(p.chosen, 1);
	assert_int_equal(p.window[0], 0); /* its own queue may see it differently */
	assert_int_equal(p.window[1], 1);
	in.enforce = true;
	ns_plan_downlink(&in, &rng, &p);
	assert_int_equal(p.n_windows, 1);
}

static void weak_gateway_serves_when_no_other_is_free(void **state)
{
	struct lw_rng rng;
	struct ns_plan p;
	struct ns_timeline busy = {0};
	struct ns_plan_in in = two_windows(0, 2);
	(void)state;
	lw_rng_init_seeded(&rng, 1);
	in.gateway[1].margin_ddb = 10;
	for (int i = 0; i < 20; i++) {
		ns_plan_downlink(&in, &rng, &p);
		assert_int_equal(p.gateway, 0);
	}
	ns_timeline_plan(&busy, 1, 0, 4000000, NULL);
	in.gateway[0].timeline = &busy;
	ns_plan_downlink(&in, &rng, &p);
	assert_int_equal(p.gateway, 1);
	assert_int_equal(p.window[0], 0);
	assert_false(p.forced);
}

static void nothing_free_goes_out_all_the_same(void **state)
{
	struct lw_rng rng;
	struct ns_plan p;
	struct ns_timeline busy = {0};
	struct ns_plan_in in = two_windows(0, 2);
	(void)state;
	lw_rng_init_seeded(&rng, 1);
	ns_timeline_plan(&busy, 1, 0, 4000000, NULL);
	in.gateway[0].timeline = in.gateway[1].timeline = &busy;
	ns_plan_downlink(&in, &rng, &p);
	assert_true(p.found && p.forced);
	assert_int_equal(p.gateway, 0);
	assert_int_equal(p.window[0], 0);
	assert_int_equal(p.n_windows, 2);
	in.gateway[0].refused[0] = in.gateway[0].refused[1] = true;
	ns_plan_downlink(&in, &rng, &p);
	assert_int_equal(p.gateway, 1);
	in.gateway[1].refused[0] = in.gateway[1].refused[1] = true;
	ns_plan_downlink(&in, &rng, &p);
	assert_false(p.found);
	in.gateway[1].refused[0] = in.gateway[1].refused[1] = false;
	in.enforce = true;
	ns_plan_downlink(&in, &rng, &p);
	assert_false(p.found);
}

static void too_late_is_tried_last_and_past_never(void **state)
{
	struct lw_rng rng;
	struct ns_plan p;
	struct ns_plan_in in = two_windows(0, 1);
	(void)state;
	lw_rng_init_seeded(&rng, 1);
	in.now_ns = S - 100 * MS;
	ns_plan_downlink(&in, &rng, &p);
	assert_int_equal(p.why[0][0], NS_PLAN_LATE);
	assert_int_equal(p.window[0], 1);
	in.now_ns = S + 1;
	ns_plan_downlink(&in, &rng, &p);
	assert_int_equal(p.n_windows, 1);
	assert_int_equal(p.window[0], 1);
	in.now_ns = 2 * S + 1;
	ns_plan_downlink(&in, &rng, &p);
	assert_false(p.found);
}

static void slow_gateway_needs_more_lead(void **state)
{
	struct lw_rng rng;
	struct ns_plan p;
	struct ns_timeline slow = {0};
	struct ns_plan_in in = two_windows(0, 1);
	(void)state;
	lw_rng_init_seeded(&rng, 1);
	for (int i = 0; i < 5; i++)
		ns_timeline_rtt(&slow, 980);
	in.gateway[0].timeline = &slow;
	ns_plan_downlink(&in, &rng, &p);
	assert_int_equal(p.why[0][0], NS_PLAN_LATE);
	assert_int_equal(p.window[0], 1);
}

static void bulk_leaves_room_for_joins(void **state)
{
	struct lw_rng rng;
	struct ns_plan p;
	struct ns_timeline used = {0};
	struct ns_plan_in in = two_windows(100 * S, 1);
	const struct lw_sub_band *g1 = lw_region_sub_band(in.region, 868100000);
	(void)state;
	lw_rng_init_seeded(&rng, 1);
	in.n_windows = 1;
	in.enforce = true;
	ns_timeline_advance(&used, 100 * S);
	ns_timeline_plan(&used, 1, 100 * S, 28790000, g1); /* of 36 s */
	ns_timeline_advance(&used, 140 * S);
	in.now_ns = 140 * S;
	in.window[0].start_ns = 141 * S;
	in.gateway[0].timeline = &used;
	ns_plan_downlink(&in, &rng, &p);
	assert_false(p.found);
	assert_int_equal(p.why[0][0], NS_PLAN_DUTY_CYCLE);
	in.rank = NS_PLAN_ACK;
	ns_plan_downlink(&in, &rng, &p);
	assert_true(p.found);
	ns_timeline_plan(&used, 2, 140 * S, 3700000, g1);
	ns_plan_downlink(&in, &rng, &p);
	assert_false(p.found);
	in.rank = NS_PLAN_JOIN;
	ns_timeline_advance(&used, 150 * S);
	in.now_ns = 150 * S;
	in.window[0].start_ns = 151 * S;
	ns_plan_downlink(&in, &rng, &p);
	assert_true(p.found);
}

static void dwell_time(void **state)
{
	struct lw_rng rng;
	struct ns_plan p;
	struct ns_plan_in in = two_windows(0, 1);
	(void)state;
	lw_rng_init_seeded(&rng, 1);
	in.enforce = true;
	in.max_dwell_us = 400000;
	ns_plan_downlink(&in, &rng, &p);
	assert_int_equal(p.n_windows, 1);
	assert_int_equal(p.why[0][1], NS_PLAN_DWELL);
}

static void immediate_takes_the_first_gap(void **state)
{
	struct lw_rng rng;
	struct ns_plan p;
	struct ns_timeline t = {0};
	struct ns_plan_in in = two_windows(0, 1);
	(void)state;
	lw_rng_init_seeded(&rng, 1);
	in.n_windows = 1;
	in.window[0].immediately = true;
	in.gateway[0].timeline = &t;
	ns_plan_downlink(&in, &rng, &p);
	assert_true(p.found && p.start_ns == NS_TIMELINE_LEAD_NS);
	ns_timeline_plan(&t, 1, p.start_ns, 60000, NULL);
	ns_plan_downlink(&in, &rng, &p);
	assert_true(p.found && p.start_ns == NS_TIMELINE_LEAD_NS + 60 * MS + NS_TIMELINE_GUARD_NS);
}

static void load_and_priority_are_spread(void **state)
{
	struct lw_rng rng;
	struct ns_plan p;
	struct ns_timeline t = {0};
	struct ns_plan_in in = two_windows(60 * S, 2);
	unsigned n[2] = {0};
	(void)state;
	lw_rng_init_seeded(&rng, 1);
	for (int i = 0; i < 4000; i++) {
		ns_plan_downlink(&in, &rng, &p);
		n[p.gateway]++;
	}
	assert_in_range(n[0], 1800, 2200);
	/* The first has sent twelve seconds in the last minutes: a quarter of the weight. */
	ns_timeline_advance(&t, 60 * S);
	for (uint32_t i = 0; i < 12; i++)
		ns_timeline_plan(&t, i + 1, 10 * S, 1000000, lw_region_sub_band(in.region, 869525000));
	ns_timeline_advance(&t, 60 * S);
	in.gateway[0].timeline = &t;
	n[0] = 0;
	for (int i = 0; i < 4000; i++) {
		ns_plan_downlink(&in, &rng, &p);
		n[0] += p.gateway == 0;
	}
	assert_in_range(n[0], 700, 900);
	in.gateway[0].priority = 4;
	n[0] = 0;
	for (int i = 0; i < 4000; i++) {
		ns_plan_downlink(&in, &rng, &p);
		n[0] += p.gateway == 0;
	}
	assert_in_range(n[0], 1800, 2200);
}

/* ---- a million random plans ---- */

/* What a gateway really sent. */
struct sent {
	int64_t start_ns;
	int64_t end_ns;
	const struct lw_sub_band *band;
};

struct log {
	struct sent *v;
	size_t n, cap;
};

struct world {
	struct lw_rng rng;
	const struct lw_region *region;
	uint32_t max_dwell_us;
	struct ns_timeline t[N_GATEWAYS];
	struct log log[N_GATEWAYS];
	int64_t now_ns;
	uint32_t next_id;
	unsigned refuse_percent;
	uint64_t planned, accepted, withheld, refused;
};

static void log_add(struct log *l, struct sent s)
{
	if (l->n == l->cap) {
		l->cap = l->cap != 0 ? l->cap * 2 : 1024;
		l->v = lw_xrealloc(l->v, l->cap * sizeof(*l->v));
	}
	l->v[l->n++] = s;
}

static int by_start(const void *a, const void *b)
{
	const struct sent *x = a, *y = b;
	return x->start_ns < y->start_ns ? -1 : x->start_ns > y->start_ns;
}

/* Air time of this emission within an hour that ends at `end`. */
static int64_t within(const struct sent *s, int64_t end)
{
	int64_t from = end - 3600 * S > s->start_ns ? end - 3600 * S : s->start_ns;
	return s->end_ns > from ? (s->end_ns < end ? s->end_ns : end) - from : 0;
}

/* Exact: no two emissions overlap, and no hour that ends with an emission has more than the band's share. */
static void check_gateway(struct log *l)
{
	size_t first = 0;
	qsort(l->v, l->n, sizeof(*l->v), by_start);
	for (size_t i = 1; i < l->n; i++)
		assert_true(l->v[i].start_ns >= l->v[i - 1].end_ns);
	for (size_t b = 0; b < 8; b++) {
		/* The bands in the order of the first emissions that use them. */
		const struct lw_sub_band *band = NULL;
		size_t seen = 0;
		const struct lw_sub_band *known[8];
		for (size_t i = 0; i < l->n && band == NULL; i++) {
			bool is_known = l->v[i].band == NULL;
			for (size_t k = 0; k < seen; k++)
				is_known = is_known || known[k] == l->v[i].band;
			if (!is_known)
				known[seen++] = l->v[i].band;
			if (seen == b + 1)
				band = known[b];
		}
		if (band == NULL)
			break;
		int64_t total = 0;
		first = 0;
		for (size_t i = 0; i < l->n; i++) {
			if (l->v[i].band != band)
				continue;
			total += l->v[i].end_ns - l->v[i].start_ns;
			while (l->v[first].band != band || l->v[first].end_ns <= l->v[i].end_ns - 3600 * S) {
				if (l->v[first].band == band)
					total -= l->v[first].end_ns - l->v[first].start_ns;
				first++;
			}
			/* What the first one did before the hour does not count. */
			int64_t before =
				(l->v[first].end_ns - l->v[first].start_ns) - within(&l->v[first], l->v[i].end_ns);
			assert_true(total - before <= 3600 * S / 1000 * band->duty_permille);
		}
	}
}

static void random_windows(struct world *w, struct ns_plan_in *in)
{
	static const uint32_t hz[] = {868100000, 868300000, 868500000, 867100000, 867300000, 868800000};
	size_t n = 12 + lw_rng_below(&w->rng, 52);
	struct lw_modulation m = {.kind = LW_MOD_LORA, .bw_hz = 125000, .sf = (uint8_t)(7 + lw_rng_below(&w->rng, 6))};
	struct lw_modulation rx2 = {.kind = LW_MOD_LORA, .bw_hz = 125000, .sf = 12};
	int64_t delay_ns = in->rank == NS_PLAN_JOIN ? 5 * S : (int64_t)(1 + lw_rng_below(&w->rng, 3)) * S;
	/* Some of it has passed already. */
	int64_t up_ns = w->now_ns - (int64_t)lw_rng_below(&w->rng, 1200) * MS;
	in->window[0] = (struct ns_plan_window){.start_ns = up_ns + delay_ns,
						.hz = hz[lw_rng_below(&w->rng, 6)],
						.airtime_us = lw_airtime_us(&m, LW_DOWN, n)};
	in->window[1] = (struct ns_plan_window){.start_ns = up_ns + delay_ns + S,
						.hz = in->region->rx2_hz,
						.airtime_us = lw_airtime_us(&rx2, LW_DOWN, n)};
	in->n_windows = 2;
	if (lw_rng_below(&w->rng, 5) == 0) { /* class C */
		in->window[0] = in->window[1];
		in->window[0].immediately = true;
		in->n_windows = 1;
	} else if (lw_rng_below(&w->rng, 8) == 0) { /* a ping slot */
		in->window[0].start_ns = w->now_ns + (int64_t)lw_rng_below(&w->rng, 128000) * MS;
		in->n_windows = 1;
	}
}

static void random_gateways(struct world *w, struct ns_plan_in *in)
{
	unsigned first = (unsigned)lw_rng_below(&w->rng, N_GATEWAYS);
	in->n_gateways = 1 + (unsigned)lw_rng_below(&w->rng, 4);
	for (unsigned i = 0; i < in->n_gateways; i++)
		in->gateway[i] = (struct ns_plan_gateway){
			.timeline = &w->t[(first + i) % N_GATEWAYS],
			.margin_ddb = (int16_t)(250 - (int)(i * 30) - (int)lw_rng_below(&w->rng, 200)),
			.priority = 1 + (uint32_t)lw_rng_below(&w->rng, 10),
		};
}

/* One downlink to its end: planned, offered, refused here and there, planned again. */
static void one_downlink(struct world *w)
{
	struct ns_plan_in in = {.now_ns = w->now_ns,
				.region = w->region,
				.rank = (enum ns_plan_rank)lw_rng_below(&w->rng, 3),
				.enforce = true,
				.max_dwell_us = w->max_dwell_us,
				.min_margin_ddb = 100};
	random_windows(w, &in);
	random_gateways(w, &in);
	for (;;) {
		struct ns_plan p;
		ns_plan_downlink(&in, &w->rng, &p);
		w->planned++;
		if (!p.found) {
			w->withheld++;
			return;
		}
		assert_false(p.forced);
		assert_true(p.n_windows >= 1 && p.gateway < in.n_gateways);
		size_t index = (size_t)(in.gateway[p.gateway].timeline - w->t);
		struct ns_timeline *t = &w->t[index];
		const struct ns_plan_window *win = &in.window[p.chosen];
		uint32_t id = ++w->next_id;
		/* Never too late for the gateway, nor at another time than the device listens. */
		assert_true(p.start_ns >= w->now_ns + ns_timeline_lead_ns(t));
		assert_true(win->immediately || p.start_ns == win->start_ns);
		assert_true(w->max_dwell_us == 0 || win->airtime_us <= w->max_dwell_us);
		for (unsigned i = 0; i < p.n_windows; i++) {
			assert_int_equal(p.why[p.gateway][p.window[i]], NS_PLAN_FREE);
			assert_false(in.gateway[p.gateway].refused[p.window[i]]);
		}
		assert_true(
			ns_timeline_plan(t, id, p.start_ns, win->airtime_us, lw_region_sub_band(w->region, win->hz)));
		if (lw_rng_below(&w->rng, 100) >= w->refuse_percent) {
			log_add(&w->log[index], (struct sent){.start_ns = p.start_ns,
							      .end_ns = p.start_ns + win->airtime_us * 1000LL,
							      .band = lw_region_sub_band(w->region, win->hz)});
			w->accepted++;
			ns_timeline_rtt(t, 5 + (uint32_t)lw_rng_below(&w->rng, 120));
			return;
		}
		ns_timeline_release(t, id);
		w->refused++;
		/* The answer takes its time. */
		in.now_ns = w->now_ns += (int64_t)lw_rng_below(&w->rng, 300) * MS;
		for (unsigned i = 0; i < p.n_windows; i++)
			in.gateway[p.gateway].refused[p.window[i]] = true;
		for (unsigned i = 0; i < N_GATEWAYS; i++)
			ns_timeline_advance(&w->t[i], w->now_ns);
	}
}

static void million(const struct lw_region *region, uint32_t max_dwell_us, uint64_t plans, uint64_t seed)
{
	struct world *w = lw_xcalloc(1, sizeof(*w));
	lw_rng_init_seeded(&w->rng, seed);
	w->region = region;
	w->max_dwell_us = max_dwell_us;
	w->refuse_percent = 10;
	unsigned mean_ms = 20;
	while (w->planned < plans) {
		/* Storms and calm: from two to a thousand milliseconds between downlinks. */
		if (lw_rng_below(&w->rng, 5000) == 0)
			mean_ms = 1U << (1 + lw_rng_below(&w->rng, 10));
		w->now_ns += (int64_t)lw_rng_below(&w->rng, 2 * mean_ms) * MS;
		for (unsigned i = 0; i < N_GATEWAYS; i++)
			ns_timeline_advance(&w->t[i], w->now_ns);
		one_downlink(w);
	}
	for (unsigned i = 0; i < N_GATEWAYS; i++) {
		check_gateway(&w->log[i]);
		free(w->log[i].v);
	}
	print_message("%s: %llu plans over %lld h: %llu sent, %llu refused, %llu withheld\n", region->name,
		      (unsigned long long)w->planned, (long long)(w->now_ns / (3600 * S)),
		      (unsigned long long)w->accepted, (unsigned long long)w->refused, (unsigned long long)w->withheld);
	assert_true(w->accepted > plans / 50 && w->withheld > 0 && w->refused > 0);
	free(w);
}

static void a_million_plans(void **state)
{
	(void)state;
	million(lw_region_by_id(LW_REGION_EU868), 0, 600000, 11);
	million(lw_region_by_id(LW_REGION_AS923), 400000, 200000, 12);
	million(lw_region_by_id(LW_REGION_EU433), 0, 200000, 13);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(free_gateway_sends_in_rx1),
		cmocka_unit_test(busy_gateway_is_passed),
		cmocka_unit_test(weak_gateway_serves_when_no_other_is_free),
		cmocka_unit_test(nothing_free_goes_out_all_the_same),
		cmocka_unit_test(too_late_is_tried_last_and_past_never),
		cmocka_unit_test(slow_gateway_needs_more_lead),
		cmocka_unit_test(bulk_leaves_room_for_joins),
		cmocka_unit_test(dwell_time),
		cmocka_unit_test(immediate_takes_the_first_gap),
		cmocka_unit_test(load_and_priority_are_spread),
		cmocka_unit_test(a_million_plans),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
