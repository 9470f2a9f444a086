/* Towards the gateway: the message, the table of those that wait for a gateway's answer, the next gateway when one
 * refuses. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "network-server/flow/internal.h"

struct ns_tx *ns_tx_new(struct ns_flows *f)
{
	struct ns_tx *tx = lw_xcalloc(1, sizeof(*tx));
	tx->f = f;
	return tx;
}

void ns_tx_take(struct ns_tx *tx)
{
	struct ns_flows *f = tx->f;
	uint64_t dev = lw_dev_eui_u64(tx->dev_eui);
	rt_timer_stop(&tx->timer);
	lw_map_remove(&f->tx, tx->downlink_id);
	if (lw_map_find(&f->tx_by_device, dev) == tx)
		lw_map_remove(&f->tx_by_device, dev);
}

static struct ns_tx *latest_of(const struct ns_tx *tx)
{
	return lw_map_find(&tx->f->tx_by_device, lw_dev_eui_u64(tx->dev_eui));
}

/* The one before, should its gateway not have answered yet, is none for another gateway any more: the device may hear
 * this one first, and takes no older counter. */
static void latest_of_device(struct ns_tx *tx)
{
	struct ns_tx *before = latest_of(tx);
	if (before != NULL && before != tx)
		before->overtaken = true;
	lw_map_put(&tx->f->tx_by_device, lw_dev_eui_u64(tx->dev_eui), tx);
}

static bool is_overtaken(const struct ns_tx *tx)
{
	const struct ns_tx *latest = latest_of(tx);
	return tx->overtaken ||
	       (tx->n_offers > 0 && !tx->is_multicast && !tx->is_proprietary && latest != NULL && latest != tx);
}

void ns_tx_free(struct ns_tx *tx)
{
	free(tx);
}

/* The counter is used and stays so; an item of the queue goes again with the next opportunity. */
static void silent(struct rt_timer *t, void *arg)
{
	struct ns_tx *tx = arg;
	struct ns_flows *f = tx->f;
	struct ns_ctx c = {.f = f, .start_mono_ns = rt_loop_mono_ns(f->loop)};
	char id[LW_EUI_TEXT];
	(void)t;
	ns_tx_take(tx);
	tx->gw[tx->cur].is_silent = true;
	if (tx->is_multicast) { /* goes again like a refused one */
		struct ns_ack *a = ns_ack_new(f);
		a->tx = tx;
		tx->last_error = LONGWAVE__V1__REASON__GATEWAY_SILENT;
		rt_flow_enter(f->tx_ack, &a->c.flow);
		return;
	}
	lw_arena_init(&c.arena, NULL, 0, NS_ARENA_MAX);
	snprintf(c.detail, sizeof(c.detail),
		 "gateway %s did not answer within %" PRId64 " s: is it off, or its connection?",
		 lw_gateway_id_print(tx->gw[tx->cur].rx.gateway_id, id),
		 (c.start_mono_ns - tx->sent_mono_ns) / LW_NS_PER_S);
	ns_record_tx(tx, &c, LONGWAVE__V1__OUTCOME__DROPPED, LONGWAVE__V1__REASON__GATEWAY_SILENT, -1, c.detail);
	ns_count_tx(tx, LONGWAVE__V1__OUTCOME__DROPPED, LONGWAVE__V1__REASON__GATEWAY_SILENT, -1);
	f->ports->log.outcome(f->ports->log.self, "downlink", LONGWAVE__V1__OUTCOME__DROPPED,
			      LONGWAVE__V1__REASON__GATEWAY_SILENT);
	lw_arena_deinit(&c.arena);
	ns_down_failed(tx);
	ns_tx_free(tx);
}

/* The one that was asked has not taken it, another one is asked. */
static void record_elsewhere(struct ns_tx *tx)
{
	struct ns_ctx c = {.f = tx->f, .start_mono_ns = rt_loop_mono_ns(tx->f->loop)};
	lw_arena_init(&c.arena, NULL, 0, NS_ARENA_MAX);
	ns_record_tx(tx, &c, LONGWAVE__V1__OUTCOME__PENDING, LONGWAVE__V1__REASON__REASON_NONE, -1, NULL);
	lw_arena_deinit(&c.arena);
}

/* A gateway that answers fast as a rule has not: the other window goes to another one. Should the first have sent it,
 * the device hears the same frame twice, or not at all the second time; its counter stays used in any case. */
static void late(struct rt_timer *t, void *arg)
{
	struct ns_tx *tx = arg;
	struct ns_flows *f = tx->f;
	uint8_t all = (uint8_t)((1U << tx->n_frames) - 1);
	(void)t;
	uint32_t downlink_id = tx->downlink_id;
	unsigned cur = tx->cur;
	unsigned n_offered = tx->n_offered;
	uint8_t offered[2] = {tx->offered[0], tx->offered[1]};
	uint8_t refused = tx->gw[cur].refused;
	struct ns_plan plan = tx->plan;
	tx->gw[cur].refused = all;
	tx->gw[cur].is_silent = true;
	tx->maybe_sent = true;
	ns_tx_take(tx);
	if (ns_tx_send_elsewhere(tx)) {
		record_elsewhere(tx);
		return;
	}
	/* There is no other: its answer is waited for as before. */
	tx->gw[cur].refused = refused;
	tx->gw[cur].is_silent = false;
	tx->broker_away = false;
	tx->cur = cur;
	tx->plan = plan;
	tx->n_offered = n_offered;
	memcpy(tx->offered, offered, sizeof(offered));
	tx->downlink_id = downlink_id;
	tx->maybe_sent = false;
	lw_map_put(&f->tx, tx->downlink_id, tx);
	if (!tx->overtaken)
		latest_of_device(tx);
	rt_timer_init(&tx->timer, f->loop, "tx-ack timeout", silent, tx);
	rt_timer_start(&tx->timer, f->cfg.tx_ack_timeout_ms);
}

static Gw__Modulation *modulation(struct lw_arena *a, const struct lw_modulation *m, bool plain_polarity)
{
	Gw__Modulation *out = LW_ARENA_NEW(a, Gw__Modulation);
	gw__modulation__init(out);
	if (m->kind == LW_MOD_FSK) {
		out->parameters_case = GW__MODULATION__PARAMETERS_FSK;
		out->fsk = LW_ARENA_NEW(a, Gw__FskModulationInfo);
		gw__fsk_modulation_info__init(out->fsk);
		out->fsk->datarate = m->bitrate_bps;
		out->fsk->frequency_deviation = m->bitrate_bps / 2;
		return out;
	}
	out->parameters_case = GW__MODULATION__PARAMETERS_LORA;
	out->lora = LW_ARENA_NEW(a, Gw__LoraModulationInfo);
	gw__lora_modulation_info__init(out->lora);
	out->lora->bandwidth = m->bw_hz;
	out->lora->spreading_factor = m->sf;
	out->lora->code_rate = (Gw__CodeRate)(m->cr != LW_CR_NONE ? m->cr : LW_CR_4_5);
	out->lora->polarization_inversion = !plain_polarity;
	return out;
}

static Gw__Timing *timing(struct lw_arena *a, const struct ns_down_window *w)
{
	Gw__Timing *t = LW_ARENA_NEW(a, Gw__Timing);
	gw__timing__init(t);
	if (w->immediately) {
		t->parameters_case = GW__TIMING__PARAMETERS_IMMEDIATELY;
		t->immediately = LW_ARENA_NEW(a, Gw__ImmediatelyTimingInfo);
		gw__immediately_timing_info__init(t->immediately);
		return t;
	}
	if (w->gps_ns != 0) {
		struct lw_sec_nanos at = lw_split_ns(w->gps_ns);
		t->parameters_case = GW__TIMING__PARAMETERS_GPS_EPOCH;
		t->gps_epoch = LW_ARENA_NEW(a, Gw__GPSEpochTimingInfo);
		gw__gpsepoch_timing_info__init(t->gps_epoch);
		t->gps_epoch->time_since_gps_epoch = LW_ARENA_NEW(a, Google__Protobuf__Duration);
		google__protobuf__duration__init(t->gps_epoch->time_since_gps_epoch);
		t->gps_epoch->time_since_gps_epoch->seconds = at.sec;
		t->gps_epoch->time_since_gps_epoch->nanos = at.nanos;
		return t;
	}
	t->parameters_case = GW__TIMING__PARAMETERS_DELAY;
	t->delay = LW_ARENA_NEW(a, Gw__DelayTimingInfo);
	gw__delay_timing_info__init(t->delay);
	t->delay->delay = LW_ARENA_NEW(a, Google__Protobuf__Duration);
	google__protobuf__duration__init(t->delay->delay);
	t->delay->delay->seconds = w->delay_s;
	return t;
}

Gw__DownlinkTxInfo *ns_tx_info(struct lw_arena *a, const struct ns_down_window *w, const struct ns_rx_gateway *g)
{
	Gw__DownlinkTxInfo *t = LW_ARENA_NEW(a, Gw__DownlinkTxInfo);
	gw__downlink_tx_info__init(t);
	t->frequency = w->hz;
	t->power = w->power_dbm;
	t->modulation = modulation(a, w->mod, w->plain_polarity);
	t->board = g->board;
	t->antenna = g->antenna;
	t->timing = timing(a, w);
	t->context.data = (uint8_t *)(uintptr_t)g->context;
	t->context.len = g->context_len;
	return t;
}

/* The gateway whose plan it is now. False: no window is left anywhere, or the broker is away. */
static bool offer(struct ns_tx *tx)
{
	struct ns_flows *f = tx->f;
	struct lw_arena a;
	uint8_t mem[2048];
	char id[LW_EUI_TEXT];
	Gw__DownlinkFrame msg = GW__DOWNLINK_FRAME__INIT;
	Gw__DownlinkFrameItem item[2];
	Gw__DownlinkFrameItem *items[2];
	const struct ns_rx_gateway *g = &tx->gw[tx->plan.gateway].rx;
	lw_arena_init(&a, mem, sizeof(mem), NS_ARENA_MAX);
	unsigned before = tx->cur;
	uint8_t windows = 0;
	tx->cur = tx->plan.gateway;
	tx->n_offered = 0;
	for (unsigned i = 0; i < tx->plan.n_windows; i++) {
		unsigned frame = tx->plan.window[i];
		Gw__DownlinkFrameItem *it = &item[tx->n_offered];
		gw__downlink_frame_item__init(it);
		it->phy_payload.data = tx->frame[frame].phy;
		it->phy_payload.len = tx->frame[frame].n;
		it->tx_info = ns_tx_info(&a, &tx->frame[frame].window, g);
		items[tx->n_offered] = it;
		tx->offered[tx->n_offered++] = (uint8_t)frame;
		windows |= (uint8_t)(1U << frame);
	}
	do {
		tx->downlink_id = lw_rng_u32(f->rng);
	} while (tx->downlink_id == 0 || lw_map_find(&f->tx, tx->downlink_id) != NULL);
	msg.downlink_id = tx->downlink_id;
	msg.gateway_id = lw_gateway_id_print(g->gateway_id, id);
	msg.items = items;
	msg.n_items = tx->n_offered;
	bool ok = f->ports->radio.send_downlink(f->ports->radio.self, tx->rc, &msg) == 0;
	lw_arena_deinit(&a);
	tx->broker_away = !ok;
	if (!ok) {
		tx->cur = before;
	} else {
		tx->gw[tx->cur].offered |= windows;
		tx->ahead_ms = (tx->plan.start_ns - rt_loop_mono_ns(f->loop)) / LW_NS_PER_MS;
		tx->ahead_of = tx->plan.chosen;
		tx->gw[tx->cur].offer = (uint8_t)++tx->n_offers;
		tx->record_id = tx->record_id != 0 ? tx->record_id : tx->downlink_id;
	}
	return ok;
}

static void wait_for_answer(struct ns_tx *tx)
{
	struct ns_flows *f = tx->f;
	int64_t give_up_ns = ns_plan_give_up_at_ns(tx);
	lw_map_put(&f->tx, tx->downlink_id, tx);
	if (!tx->is_multicast && !tx->is_proprietary)
		latest_of_device(tx);
	if (give_up_ns > rt_loop_mono_ns(f->loop)) {
		rt_timer_init(&tx->timer, f->loop, "tx-ack is late", late, tx);
		rt_timer_start_at(&tx->timer, give_up_ns);
		return;
	}
	rt_timer_init(&tx->timer, f->loop, "tx-ack timeout", silent, tx);
	rt_timer_start(&tx->timer, f->cfg.tx_ack_timeout_ms);
}

bool ns_tx_send_elsewhere(struct ns_tx *tx)
{
	if (is_overtaken(tx) || !ns_plan_tx(tx) || !offer(tx))
		return false;
	ns_plan_sent(tx);
	wait_for_answer(tx);
	return true;
}

void ns_tx_send(struct ns_tx *tx, struct ns_ctx *c)
{
	struct ns_flows *f = tx->f;
	if (ns_tx_send_elsewhere(tx)) {
		ns_record_tx(tx, c, LONGWAVE__V1__OUTCOME__PENDING, LONGWAVE__V1__REASON__REASON_NONE, -1, NULL);
		return;
	}
	/* Nobody could be asked: ends like a refusal, which gives the counter back. */
	tx->last_error = ns_tx_unsent_reason(tx);
	struct ns_ack *a = ns_ack_new(f);
	a->tx = tx;
	rt_flow_enter(f->tx_ack, &a->c.flow);
}
