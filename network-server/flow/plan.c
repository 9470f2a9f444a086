/* Between the planner's rules and the flows: the timelines of all gateways, and what a downlink asks of them. Decides
 * nothing itself and sends nothing. */
#include <stdlib.h>
#include <string.h>

#include "common/base/xmalloc.h"
#include "common/lorawan/airtime.h"
#include "network-server/flow/internal.h"

/* Timelines that say nothing any more are swept out when so many have come to be. */
#define SWEEP_MIN 256

void ns_plans_init(struct ns_flows *f)
{
	lw_map_init(&f->timelines);
	f->sweep_at = SWEEP_MIN;
}

void ns_plans_free(struct ns_flows *f)
{
	size_t it = 0;
	uint64_t key;
	void *value;
	while (lw_map_next(&f->timelines, &it, &key, &value))
		free(value);
	lw_map_deinit(&f->timelines);
}

/* Those that sent nothing within the hour that counts. Their round trips are learned again. */
static void sweep(struct ns_flows *f)
{
	size_t it = 0;
	uint64_t key;
	void *value;
	int64_t now_ns = rt_loop_mono_ns(f->loop);
	while (lw_map_next(&f->timelines, &it, &key, &value)) {
		struct ns_timeline *t = value;
		ns_timeline_advance(t, now_ns);
		if (ns_timeline_depth(t) > 0 || ns_timeline_hour_us(t) > 0)
			continue;
		lw_map_remove(&f->timelines, key);
		free(t);
	}
	f->sweep_at = lw_map_count(&f->timelines) * 2 + SWEEP_MIN;
}

static struct ns_timeline *find(struct ns_flows *f, struct lw_gateway_id id)
{
	struct ns_timeline *t = lw_map_find(&f->timelines, lw_gateway_id_u64(id));
	if (t != NULL)
		ns_timeline_advance(t, rt_loop_mono_ns(f->loop));
	return t;
}

const struct ns_timeline *ns_plan_timeline(struct ns_flows *f, struct lw_gateway_id id)
{
	return find(f, id);
}

static struct ns_timeline *find_or_new(struct ns_flows *f, struct lw_gateway_id id)
{
	struct ns_timeline *t = find(f, id);
	if (t != NULL)
		return t;
	if (lw_map_count(&f->timelines) >= f->sweep_at)
		sweep(f);
	t = lw_xcalloc(1, sizeof(*t));
	ns_timeline_advance(t, rt_loop_mono_ns(f->loop));
	lw_map_put(&f->timelines, lw_gateway_id_u64(id), t);
	return t;
}

static bool better(const struct ns_tx_gateway *a, const struct ns_tx_gateway *b)
{
	/* All have the same demodulation floor, so the margin orders like the SNR itself. */
	if (a->rx.snr_ddb != b->rx.snr_ddb)
		return a->rx.snr_ddb > b->rx.snr_ddb;
	return a->rx.rssi_dbm > b->rx.rssi_dbm;
}

unsigned ns_plan_gateways(const struct ns_flows *f, struct lw_uuid tenant, const struct lw_modulation *uplink_mod,
			  const struct ns_rx_gateway *rx, size_t n_rx, struct ns_tx_gateway out[NS_TX_GATEWAYS])
{
	unsigned n = 0;
	for (size_t i = 0; i < n_rx; i++) {
		struct ns_tx_gateway g = {.rx = rx[i]};
		if (!ns_gateway_may_send(f, rx[i].gateway_id, tenant, &g.priority))
			continue;
		g.margin_ddb = (int16_t)ns_snr_margin_ddb(uplink_mod, rx[i].snr_ddb);
		unsigned k = n < NS_TX_GATEWAYS ? n++ : NS_TX_GATEWAYS - 1;
		if (k == NS_TX_GATEWAYS - 1 && n == NS_TX_GATEWAYS && i >= NS_TX_GATEWAYS && !better(&g, &out[k]))
			continue;
		for (; k > 0 && better(&g, &out[k - 1]); k--)
			out[k] = out[k - 1];
		out[k] = g;
	}
	return n;
}

static struct ns_plan_window window(struct ns_flows *f, const struct ns_down_frame *fr, int64_t uplink_at_ns)
{
	const struct ns_down_window *w = &fr->window;
	int64_t at_ns = w->gps_ns != 0 ? lw_gps_to_unix_ns(w->gps_ns) : uplink_at_ns + w->delay_s * LW_NS_PER_S;
	/* The plan's clock is the one that nobody sets. */
	return (struct ns_plan_window){.start_ns = rt_loop_mono_ns(f->loop) + (at_ns - ns_now(f)),
				       .hz = w->hz,
				       .airtime_us = lw_airtime_us(w->mod, LW_DOWN, fr->n),
				       .immediately = w->immediately};
}

static bool enforced(const struct ns_flows *f, const struct ns_region_config *rc)
{
	for (size_t i = 0; i < f->cfg.n_enforce; i++)
		if (f->cfg.enforce[i] == rc)
			return true;
	return false;
}

bool ns_plan_enforced(const struct ns_flows *f, const struct ns_region_config *rc)
{
	return enforced(f, rc);
}

void ns_plan_ask(struct ns_flows *f, const struct ns_plan_question *q, struct ns_plan *out)
{
	struct ns_plan_in in = {.now_ns = rt_loop_mono_ns(f->loop),
				.region = lw_region_by_id(q->rc->region),
				.rank = q->rank,
				.enforce = enforced(f, q->rc),
				.max_dwell_us = q->rc->dwell_time_400ms ? 400000 : 0,
				.min_margin_ddb = (int16_t)(q->rc->gateway_prefer_min_margin_db * 10),
				.n_windows = q->n_frames,
				.n_gateways = q->n_gw};
	for (unsigned i = 0; i < q->n_frames; i++)
		in.window[i] = window(f, &q->frame[i], q->uplink_at_ns);
	for (unsigned i = 0; i < q->n_gw; i++) {
		struct ns_plan_gateway *g = &in.gateway[i];
		g->timeline = find(f, q->gw[i].rx.gateway_id);
		g->margin_ddb = q->gw[i].margin_ddb;
		g->priority = q->gw[i].priority;
		for (unsigned w = 0; w < NS_PLAN_WINDOWS; w++)
			g->refused[w] = (q->gw[i].refused & (1U << w)) != 0;
	}
	ns_plan_downlink(&in, f->rng, out);
}

bool ns_plan_tx(struct ns_tx *tx)
{
	struct ns_plan_question q = {.rc = tx->rc,
				     .rank = ns_tx_rank(tx),
				     .uplink_at_ns = tx->uplink_at_ns,
				     .frame = tx->frame,
				     .n_frames = tx->n_frames,
				     .gw = tx->gw,
				     .n_gw = tx->n_gw};
	ns_plan_ask(tx->f, &q, &tx->plan);
	return tx->plan.found;
}

static const struct lw_sub_band *band_of(const struct ns_tx *tx, unsigned frame)
{
	return lw_region_sub_band(lw_region_by_id(tx->rc->region), tx->frame[frame].window.hz);
}

void ns_plan_sent(struct ns_tx *tx)
{
	struct ns_timeline *t = find_or_new(tx->f, tx->gw[tx->cur].rx.gateway_id);
	unsigned frame = tx->plan.chosen;
	tx->sent_mono_ns = rt_loop_mono_ns(tx->f->loop);
	(void)ns_timeline_plan(t, tx->downlink_id, tx->plan.start_ns,
			       lw_airtime_us(tx->frame[frame].window.mod, LW_DOWN, tx->frame[frame].n),
			       band_of(tx, frame));
}

void ns_plan_answered(struct ns_tx *tx, int taken)
{
	struct ns_flows *f = tx->f;
	struct ns_timeline *t = find(f, tx->gw[tx->cur].rx.gateway_id);
	int64_t now_ns = rt_loop_mono_ns(f->loop);
	if (t != NULL && now_ns < tx->plan.start_ns)
		ns_timeline_rtt(t, (uint32_t)((now_ns - tx->sent_mono_ns) / LW_NS_PER_MS));
	if (taken < 0) {
		for (unsigned i = 0; i < tx->n_offered; i++)
			tx->gw[tx->cur].refused |= (uint8_t)(1U << tx->offered[i]);
		if (t != NULL)
			ns_timeline_release(t, tx->downlink_id);
		return;
	}
	if (t == NULL || taken == tx->plan.chosen)
		return;
	/* It took another window than the one planned. */
	struct ns_plan_window w = window(f, &tx->frame[taken], tx->uplink_at_ns);
	if (w.start_ns < tx->sent_mono_ns || w.start_ns >= now_ns + NS_TIMELINE_AHEAD_NS)
		w.start_ns = now_ns; /* the wall clock was set meanwhile */
	ns_timeline_release(t, tx->downlink_id);
	(void)ns_timeline_plan(t, tx->downlink_id, w.start_ns, w.airtime_us, band_of(tx, (unsigned)taken));
}

int64_t ns_plan_give_up_at_ns(struct ns_tx *tx)
{
	struct ns_timeline *t = find(tx->f, tx->gw[tx->cur].rx.gateway_id);
	int64_t latest_ns = 0;
	/* One that answers only after it has sent, or whose habit is not known, may be sending right now. */
	if (t == NULL || ns_timeline_rtt_p90_ms(t) < 0 || tx->n_frames < 2 || tx->n_gw < 2)
		return 0;
	for (unsigned w = 0; w < tx->n_frames; w++) {
		const struct ns_down_window *win = &tx->frame[w].window;
		if (win->immediately || win->gps_ns != 0)
			return 0;
		int64_t start_ns = window(tx->f, &tx->frame[w], tx->uplink_at_ns).start_ns;
		latest_ns = start_ns > latest_ns ? start_ns : latest_ns;
	}
	return latest_ns - NS_TIMELINE_LEAD_NS - NS_TIMELINE_GUARD_NS;
}
