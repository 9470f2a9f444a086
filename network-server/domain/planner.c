#include "network-server/domain/planner.h"

#include "common/base/bug.h"

static const unsigned rank_percent[] = {[NS_PLAN_DATA] = 80, [NS_PLAN_ACK] = 90, [NS_PLAN_JOIN] = 100};

unsigned ns_plan_rank_percent(enum ns_plan_rank rank)
{
	return rank_percent[rank];
}

/* So many are a sign that the gateway does not send what it gets. */
#define DEPTH_MAX (NS_TIMELINE_SLOTS - 8)

static int64_t lead_ns(const struct ns_plan_gateway *g)
{
	return g->timeline != NULL ? ns_timeline_lead_ns(g->timeline) : NS_TIMELINE_LEAD_NS;
}

/* An immediate transmission starts when the gateway is free: its queue puts it there, and so does the plan. */
static int64_t start_of(const struct ns_plan_in *in, const struct ns_plan_gateway *g, const struct ns_plan_window *w)
{
	if (!w->immediately)
		return w->start_ns;
	int64_t soonest_ns = in->now_ns + lead_ns(g);
	return g->timeline != NULL ? ns_timeline_first_free(g->timeline, soonest_ns, w->airtime_us) : soonest_ns;
}

static enum ns_plan_why look(const struct ns_plan_in *in, unsigned gateway, unsigned window)
{
	const struct ns_plan_gateway *g = &in->gateway[gateway];
	const struct ns_plan_window *w = &in->window[window];
	int64_t start_ns = start_of(in, g, w);
	if (g->refused[window])
		return NS_PLAN_REFUSED;
	if (in->max_dwell_us != 0 && w->airtime_us > in->max_dwell_us)
		return NS_PLAN_DWELL;
	if (start_ns < in->now_ns + lead_ns(g))
		return NS_PLAN_LATE;
	if (start_ns >= in->now_ns + NS_TIMELINE_AHEAD_NS)
		return NS_PLAN_EARLY;
	if (g->timeline == NULL)
		return NS_PLAN_FREE;
	if (ns_timeline_conflict(g->timeline, start_ns, w->airtime_us) != NULL)
		return NS_PLAN_BUSY;
	if (ns_timeline_depth(g->timeline) >= DEPTH_MAX)
		return NS_PLAN_QUEUE_FULL;
	if (!ns_timeline_duty_ok(g->timeline, lw_region_sub_band(in->region, w->hz), w->airtime_us,
				 rank_percent[in->rank]))
		return NS_PLAN_DUTY_CYCLE;
	return NS_PLAN_FREE;
}

/* The gateway's priority, divided by what it has sent lately: 1024 for an idle one, half of that at four seconds. */
static uint64_t weight(const struct ns_plan_gateway *g)
{
	uint64_t recent_us = g->timeline != NULL ? ns_timeline_recent_us(g->timeline) : 0;
	uint64_t priority = g->priority != 0 ? g->priority : 1;
	return priority * 1024 * 4000000 / (4000000 + recent_us) + 1;
}

/* Draws among the gateways for which the window is free. Returns its index or -1. */
static int draw(const struct ns_plan_in *in, const struct ns_plan *p, unsigned window, struct lw_rng *rng)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < in->n_gateways; i++)
		if (p->why[i][window] == NS_PLAN_FREE && in->gateway[i].margin_ddb >= in->min_margin_ddb)
			sum += weight(&in->gateway[i]);
	if (sum == 0)
		return -1;
	uint64_t r = lw_rng_below(rng, sum);
	for (unsigned i = 0; i < in->n_gateways; i++) {
		if (p->why[i][window] != NS_PLAN_FREE || in->gateway[i].margin_ddb < in->min_margin_ddb)
			continue;
		if (r < weight(&in->gateway[i]))
			return (int)i;
		r -= weight(&in->gateway[i]);
	}
	return -1;
}

/* The strongest gateway for which it is free. */
static int strongest(const struct ns_plan_in *in, const struct ns_plan *p, unsigned window)
{
	for (unsigned i = 0; i < in->n_gateways; i++)
		if (p->why[i][window] == NS_PLAN_FREE)
			return (int)i;
	return -1;
}

/* Not free, but not hopeless: the gateway's own queue has the last word. */
static bool may_be_forced(enum ns_plan_why why)
{
	return why != NS_PLAN_REFUSED && why != NS_PLAN_EARLY;
}

static bool still_ahead(const struct ns_plan_in *in, unsigned window)
{
	return in->window[window].immediately || in->window[window].start_ns > in->now_ns;
}

/* None is free: the strongest gateway that has not said no to everything, with the windows in their order. */
static int force(const struct ns_plan_in *in, const struct ns_plan *p, unsigned *window)
{
	for (*window = 0; *window < in->n_windows; (*window)++)
		for (unsigned i = 0; i < in->n_gateways && still_ahead(in, *window); i++)
			if (may_be_forced(p->why[i][*window]))
				return (int)i;
	return -1;
}

static void offer(const struct ns_plan_in *in, struct ns_plan *p, int gateway, unsigned window)
{
	const struct ns_plan_gateway *g = &in->gateway[gateway];
	p->found = true;
	p->gateway = (uint8_t)gateway;
	p->chosen = (uint8_t)window;
	p->start_ns = start_of(in, g, &in->window[window]);
	for (unsigned late = 0; late < 2; late++)
		for (unsigned w = 0; w < in->n_windows; w++) {
			enum ns_plan_why why = p->why[gateway][w];
			if ((why == NS_PLAN_LATE) == late && still_ahead(in, w) &&
			    (in->enforce ? why == NS_PLAN_FREE : may_be_forced(why)))
				p->window[p->n_windows++] = (uint8_t)w;
		}
}

void ns_plan_downlink(const struct ns_plan_in *in, struct lw_rng *rng, struct ns_plan *out)
{
	BUG_ON(in->n_gateways > NS_PLAN_GATEWAYS || in->n_windows > NS_PLAN_WINDOWS);
	*out = (struct ns_plan){.found = false};
	for (unsigned g = 0; g < in->n_gateways; g++)
		for (unsigned w = 0; w < in->n_windows; w++)
			out->why[g][w] = look(in, g, w);
	for (unsigned w = 0; w < in->n_windows && !out->found; w++) {
		int g = draw(in, out, w, rng);
		if (g >= 0)
			offer(in, out, g, w);
	}
	for (unsigned w = 0; w < in->n_windows && !out->found; w++) {
		int g = strongest(in, out, w);
		if (g >= 0)
			offer(in, out, g, w);
	}
	unsigned w = 0;
	if (out->found || in->enforce)
		return;
	int g = force(in, out, &w);
	if (g < 0)
		return;
	offer(in, out, g, w);
	out->forced = true;
}

const char *ns_plan_why_text(enum ns_plan_why why)
{
	switch (why) {
	case NS_PLAN_FREE:
		return "free";
	case NS_PLAN_LATE:
		return "too late for it";
	case NS_PLAN_EARLY:
		return "too far ahead";
	case NS_PLAN_BUSY:
		return "sends something else then";
	case NS_PLAN_QUEUE_FULL:
		return "has too much planned";
	case NS_PLAN_DUTY_CYCLE:
		return "duty cycle used up";
	case NS_PLAN_DWELL:
		return "longer on the air than the dwell time";
	case NS_PLAN_REFUSED:
		return "refused by the gateway";
	}
	return "";
}
