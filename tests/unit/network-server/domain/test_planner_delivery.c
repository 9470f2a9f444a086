/* How many downlinks are sent with the planner, and how many with a random gateway of enough margin, under rising load
 * and with 10 % refusals: the table that `./longwave test unit` prints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/xmalloc.h"
#include "common/lorawan/airtime.h"
#include "network-server/domain/planner.h"

#define MS 1000000LL
#define N_GATEWAYS 8

/* Gateways as they are: one transmission at a time, duty cycle kept by themselves, every tenth is refused for reasons
 * of their own. */
struct fleet {
	struct ns_timeline t[N_GATEWAYS];
	uint32_t next_id;
};

static bool gateway_takes(struct fleet *f, unsigned g, const struct ns_plan_in *in, unsigned window, struct lw_rng *rng,
			  bool refuses)
{
	const struct ns_plan_window *w = &in->window[window];
	const struct lw_sub_band *band = lw_region_sub_band(in->region, w->hz);
	(void)rng;
	ns_timeline_advance(&f->t[g], in->now_ns);
	return !refuses && w->start_ns > in->now_ns &&
	       ns_timeline_conflict(&f->t[g], w->start_ns, w->airtime_us) == NULL &&
	       ns_timeline_duty_ok(&f->t[g], band, w->airtime_us, 100) &&
	       ns_timeline_plan(&f->t[g], ++f->next_id, w->start_ns, w->airtime_us, band);
}

static bool random_choice(struct fleet *f, struct ns_plan_in *in, const unsigned *id, struct lw_rng *rng)
{
	unsigned good[NS_PLAN_GATEWAYS], n = 0;
	for (unsigned i = 0; i < in->n_gateways; i++)
		if (in->gateway[i].margin_ddb >= in->min_margin_ddb)
			good[n++] = i;
	unsigned g = n > 0 ? good[lw_rng_below(rng, n)] : 0;
	bool refuses = lw_rng_below(rng, 10) == 0;
	return gateway_takes(f, id[g], in, 0, rng, refuses) || gateway_takes(f, id[g], in, 1, rng, refuses);
}

static bool planned_choice(struct fleet *f, struct ns_timeline *known, struct ns_plan_in *in, const unsigned *id,
			   struct lw_rng *rng)
{
	struct ns_plan p;
	for (unsigned i = 0; i < in->n_gateways; i++) {
		ns_timeline_advance(&known[id[i]], in->now_ns);
		in->gateway[i].timeline = &known[id[i]];
	}
	for (;;) {
		ns_plan_downlink(in, rng, &p);
		if (!p.found)
			return false;
		unsigned g = id[p.gateway];
		bool refuses = lw_rng_below(rng, 10) == 0;
		for (unsigned i = 0; i < p.n_windows; i++) {
			const struct ns_plan_window *w = &in->window[p.window[i]];
			if (gateway_takes(f, g, in, p.window[i], rng, refuses)) {
				ns_timeline_plan(&known[g], f->next_id, w->start_ns, w->airtime_us,
						 lw_region_sub_band(in->region, w->hz));
				return true;
			}
			in->gateway[p.gateway].refused[p.window[i]] = true;
		}
		in->now_ns += 60 * MS; /* until the refusal is here */
	}
}

/* Share that was sent, in tenths of a percent. */
static unsigned delivered(bool planned, unsigned per_minute)
{
	struct fleet *f = lw_xcalloc(1, sizeof(*f));
	struct ns_timeline *known = lw_xcalloc(N_GATEWAYS, sizeof(*known));
	struct lw_rng rng;
	const struct lw_region *region = lw_region_by_id(LW_REGION_EU868);
	struct lw_rng air;
	int64_t now_ns = 0;
	unsigned sent = 0, n = per_minute * 90; /* an hour and a half */
	lw_rng_init_seeded(&rng, 99);
	lw_rng_init_seeded(&air, 98);
	for (unsigned k = 0; k < n; k++) {
		unsigned id[NS_PLAN_GATEWAYS];
		struct ns_plan_in in = {.region = region, .min_margin_ddb = 100, .n_windows = 2};
		struct lw_modulation up = {
			.kind = LW_MOD_LORA, .bw_hz = 125000, .sf = (uint8_t)(7 + lw_rng_below(&air, 6))};
		struct lw_modulation rx2 = {.kind = LW_MOD_LORA, .bw_hz = 125000, .sf = 12};
		now_ns += (int64_t)lw_rng_below(&air, 120000 / per_minute) * MS;
		in.now_ns = now_ns;
		in.window[0] = (struct ns_plan_window){.start_ns = now_ns + 800 * MS,
						       .hz = lw_rng_below(&air, 2) != 0 ? 868100000 : 867100000,
						       .airtime_us = lw_airtime_us(&up, LW_DOWN, 24)};
		in.window[1] = (struct ns_plan_window){.start_ns = now_ns + 1800 * MS,
						       .hz = 869525000,
						       .airtime_us = lw_airtime_us(&rx2, LW_DOWN, 24)};
		in.n_gateways = 3;
		unsigned first = (unsigned)lw_rng_below(&air, N_GATEWAYS);
		for (unsigned i = 0; i < 3; i++) {
			id[i] = (first + i) % N_GATEWAYS;
			in.gateway[i] =
				(struct ns_plan_gateway){.margin_ddb = (int16_t)(220 - (int)i * 50), .priority = 1};
		}
		sent += planned ? planned_choice(f, known, &in, id, &rng) : random_choice(f, &in, id, &rng);
	}
	free(f);
	free(known);
	return sent * 1000 / n;
}

static void more_arrives_than_by_chance(void **state)
{
	static const unsigned load[] = {5, 15, 30, 60, 120, 240};
	/* Tenths of a percent; from 60 on the hour has no room for all, and at 240 both do what it allows. */
	static const unsigned least[] = {998, 997, 995, 862, 570, 290};
	(void)state;
	print_message("downlinks/min, 8 gateways, 3 hear each device, 10 %% refusals, EU868 duty cycle kept by the "
		      "gateways\n");
	print_message("%14s %22s %10s\n", "downlinks/min", "random, enough margin", "planner");
	for (size_t i = 0; i < sizeof(load) / sizeof(load[0]); i++) {
		unsigned chance = delivered(false, load[i]);
		unsigned plan = delivered(true, load[i]);
		print_message("%14u %20.1f %% %8.1f %%\n", load[i], chance / 10.0, plan / 10.0);
		assert_true(plan >= least[i]);
		assert_true(load[i] == 240 ? plan + 5 >= chance : plan >= chance + 40);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_arrives_than_by_chance),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
