/* A property of all downlinks, whatever befalls them: no two of them go on the air with one counter of one session,
 * none comes to a device with a counter below one that it has heard, and each is handed out before its window opens.
 * Devices of 1.0.x and 1.1, class A and C, send, join anew and acknowledge at random; gateways take, refuse, answer
 * late or never, and send all the same; the store is slow or meets conflicts; the broker is away; the network-server is
 * restarted.
 * spec: TS001-1.0.4 §4.3.1.5; TS001-1.1 §4.3.1.5 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "world.h"

#define N_DEVICES 6
#define N_GATEWAYS 5
#define JOINS_MAX 12 /* the world's memory of nonces */
#define N_ACKS 64
#define NONE UINT32_MAX

enum fate { TAKEN, REFUSED, SILENT, SILENT_YET_SENT };

struct late_ack {
	Gw__DownlinkFrame *msg;
	const struct ns_region_config *rc;
	int64_t due_ns;
	int taken; /* index of the item; -1: all refused */
};

/* What a device has heard of its session; two counters with 1.1. */
struct ear {
	uint32_t last[2];
	bool owes_ack;
};

/* The frames of one downlink, for RX1 and RX2: they may go out through one gateway after the other. */
struct downlink {
	struct frame frame[2];
	size_t n;
};

struct life {
	struct world *w;
	struct lw_rng rng;
	struct lw_map aired; /* struct downlink, by session, counter and its value */
	struct world_device *d[N_DEVICES];
	struct ear ear[N_DEVICES];
	unsigned joins[N_DEVICES];
	struct late_ack ack[N_ACKS];
	size_t n_acks;
	size_t seen;           /* of w->down */
	int64_t slow_until_ns; /* questions to the store may still be open */
	uint64_t handed, sent, data, refused, silent, again, restarts;
};

static bool chance(struct life *l, unsigned percent)
{
	return lw_rng_below(&l->rng, 100) < percent;
}

/* ---- gateways ---- */

static void answer_later(struct life *l, const struct world_down *down, int taken, uint32_t after_ms)
{
	uint8_t buf[4096];
	if (l->n_acks == N_ACKS)
		return;
	size_t n = gw__downlink_frame__pack(down->msg, buf);
	l->ack[l->n_acks++] = (struct late_ack){.msg = gw__downlink_frame__unpack(NULL, n, buf),
						.rc = down->rc,
						.due_ns = rt_loop_now_ns(l->w->loop) + (int64_t)after_ms * 1000000,
						.taken = taken};
}

static void answer(struct life *l, const struct late_ack *a)
{
	Gw__DownlinkTxAck m = GW__DOWNLINK_TX_ACK__INIT;
	Gw__DownlinkTxAckItem item[2];
	Gw__DownlinkTxAckItem *items[2];
	uint8_t buf[256];
	m.downlink_id = a->msg->downlink_id;
	m.gateway_id = a->msg->gateway_id;
	m.items = items;
	for (m.n_items = 0; m.n_items < a->msg->n_items; m.n_items++) {
		gw__downlink_tx_ack_item__init(&item[m.n_items]);
		item[m.n_items].status = a->taken == (int)m.n_items ? GW__TX_ACK_STATUS__OK
					 : a->taken >= 0 && (int)m.n_items > a->taken
						 ? GW__TX_ACK_STATUS__IGNORED
						 : GW__TX_ACK_STATUS__COLLISION_PACKET;
		items[m.n_items] = &item[m.n_items];
	}
	struct ns_inbox in = {.region = a->rc, .received_at_ns = rt_loop_now_ns(l->w->loop)};
	size_t n = gw__downlink_tx_ack__pack(&m, buf);
	assert_int_equal(ns_flows_tx_ack(l->w->flows, &in, lw_span(buf, n)), 0);
}

static void answers_due(struct life *l)
{
	for (size_t i = 0; i < l->n_acks;) {
		struct late_ack a = l->ack[i];
		if (a.due_ns > rt_loop_now_ns(l->w->loop)) {
			i++;
			continue;
		}
		l->ack[i] = l->ack[--l->n_acks];
		answer(l, &a);
		gw__downlink_frame__free_unpacked(a.msg, NULL);
	}
}

/* The uplink's time travels in its context. */
static void check_in_time(struct life *l, const struct world_down *down)
{
	for (size_t i = 0; i < down->msg->n_items; i++) {
		const Gw__DownlinkTxInfo *tx = down->msg->items[i]->tx_info;
		int64_t up_ns;
		if (tx->timing->parameters_case != GW__TIMING__PARAMETERS_DELAY)
			continue;
		assert_int_equal(tx->context.len, sizeof(up_ns));
		memcpy(&up_ns, tx->context.data, sizeof(up_ns));
		assert_true(down->at_ns < up_ns + tx->timing->delay->delay->seconds * INT64_C(1000000000));
	}
	(void)l;
}

/* ---- the air ---- */

/* Of the session that the device has: an address may be given twice, a key is not. */
static bool is_of(const struct world_device *d, const struct lw_phy *phy)
{
	const struct device *e = &d->end;
	const struct lw_data_frame *f = &phy->u.data;
	struct lw_mic mic =
		e->is_11 ? lw_mic_data_down_11(e->kc, &e->keys.s_nwk_s_int,
					       f->fctrl.ack ? (uint16_t)(e->f_cnt_up - 1) : 0, e->devaddr, f->fcnt,
					       phy->msg)
			 : lw_mic_data_10(e->kc, &e->keys.f_nwk_s_int, LW_DOWN, e->devaddr, f->fcnt, phy->msg);
	return lw_devaddr_eq(f->devaddr, e->devaddr) && memcmp(mic.b, phy->mic.b, LW_MIC_LEN) == 0;
}

static struct downlink *downlink_of(const Gw__DownlinkFrame *m)
{
	struct downlink *d = lw_xcalloc(1, sizeof(*d));
	for (; d->n < m->n_items && d->n < 2; d->n++) {
		d->frame[d->n].n = m->items[d->n]->phy_payload.len;
		assert_true(d->frame[d->n].n <= sizeof(d->frame[0].b));
		memcpy(d->frame[d->n].b, m->items[d->n]->phy_payload.data, d->frame[d->n].n);
	}
	return d;
}

static bool has_frame(const struct downlink *d, const ProtobufCBinaryData *phy)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->frame[i].n == phy->len && memcmp(d->frame[i].b, phy->data, phy->len) == 0)
			return true;
	return false;
}

/* A frame leaves an antenna. */
static void on_air(struct life *l, const Gw__DownlinkFrame *m, size_t item)
{
	const ProtobufCBinaryData *bytes = &m->items[item]->phy_payload;
	struct lw_phy phy;
	assert_int_equal(lw_phy_parse(lw_span(bytes->data, bytes->len), &phy), 0);
	if (!lw_mtype_is_data_down(phy.mtype))
		return;
	const struct lw_data_frame *f = &phy.u.data;
	l->data++;
	for (size_t i = 0; i < N_DEVICES; i++) {
		struct world_device *d = l->d[i];
		struct ear *e = &l->ear[i];
		struct heard h;
		if (!is_of(d, &phy))
			continue;
		unsigned counter = d->end.is_11 && f->fport > 0;
		uint64_t key =
			(uint64_t)lw_get_le32(d->end.keys.f_nwk_s_int.b) << 20 | (uint64_t)counter << 16 | f->fcnt;
		const struct downlink *before = lw_map_find(&l->aired, key);
		if (before != NULL && !has_frame(before, bytes))
			fail_msg("%08" PRIx32 ": counter %u for two downlinks", f->devaddr.v, (unsigned)f->fcnt);
		l->again += before != NULL;
		if (before == NULL)
			lw_map_put(&l->aired, key, downlink_of(m));
		if (chance(l, 20))
			return; /* lost on the way */
		if (e->last[counter] == f->fcnt)
			return;
		assert_true(e->last[counter] == NONE || f->fcnt > e->last[counter]);
		device_hear(&d->end, bytes->data, bytes->len, f->fcnt, d->end.f_cnt_up - 1, &h);
		e->last[counter] = f->fcnt;
		e->owes_ack = e->owes_ack || h.confirmed;
		return;
	}
}

/* What the network-server handed out since. */
static void gateways_act(struct life *l)
{
	for (; l->seen < l->w->n_downs; l->seen++) {
		const struct world_down *down = &l->w->down[l->seen];
		unsigned r = (unsigned)lw_rng_below(&l->rng, 100);
		enum fate fate = r < 70 ? TAKEN : r < 88 ? REFUSED : r < 94 ? SILENT : SILENT_YET_SENT;
		size_t item = lw_rng_below(&l->rng, down->msg->n_items);
		l->handed++;
		check_in_time(l, down);
		if (fate == TAKEN || fate == SILENT_YET_SENT) {
			on_air(l, down->msg, item);
			l->sent++;
		}
		l->refused += fate == REFUSED;
		l->silent += fate == SILENT || fate == SILENT_YET_SENT;
		uint32_t after_ms =
			chance(l, 90) ? (uint32_t)lw_rng_below(&l->rng, 300) : (uint32_t)lw_rng_below(&l->rng, 40000);
		if (fate == TAKEN)
			answer_later(l, down, (int)item, after_ms);
		if (fate == REFUSED)
			answer_later(l, down, -1, after_ms);
	}
}

static void pass(struct life *l, uint32_t ms)
{
	while (ms > 0) {
		uint32_t step = ms < 50 ? ms : ms < 2000 ? 50 : 500;
		world_pass(l->w, step);
		gateways_act(l);
		answers_due(l);
		gateways_act(l);
		ms -= step;
	}
}

/* ---- devices ---- */

static void receive(struct life *l, const struct frame *f)
{
	unsigned first = (unsigned)lw_rng_below(&l->rng, N_GATEWAYS);
	unsigned n = 1 + (unsigned)lw_rng_below(&l->rng, 3);
	int64_t now_ns = rt_loop_now_ns(l->w->loop);
	char context[2 * sizeof(now_ns) + 1];
	lw_hex_encode(&now_ns, sizeof(now_ns), context);
	for (unsigned i = 0; i < n; i++) {
		struct air air = world_air();
		air.dr = 5;
		air.gateway = (first + i) % N_GATEWAYS;
		air.snr = (double)lw_rng_below(&l->rng, 16) - 5;
		air.context_hex = context;
		world_receive(l->w, &air, f);
	}
}

static void join(struct life *l, size_t i)
{
	struct world_device *d = l->d[i];
	struct frame f;
	size_t before = l->w->n_downs;
	if (l->joins[i] == JOINS_MAX)
		return;
	l->joins[i]++;
	d->end.dev_nonce++;
	device_frame_join(&d->end, &f);
	receive(l, &f);
	for (unsigned k = 0; k < 100 && l->w->n_downs == before; k++)
		world_pass(l->w, 10);
	/* Another device's downlink may be among them: the accept is the one that is no data. */
	for (size_t k = before; k < l->w->n_downs; k++) {
		const Gw__DownlinkFrameItem *item = l->w->down[k].msg->items[0];
		struct lw_join_accept ja;
		if ((item->phy_payload.data[0] & 0xE0) != 0x20)
			continue;
		if (chance(l, 25) && l->joins[i] > 1)
			break; /* lost: it stays in the session that it has */
		device_accept(&d->end, item->phy_payload.data, item->phy_payload.len, &ja);
		l->ear[i] = (struct ear){.last = {NONE, NONE}};
		break;
	}
	pass(l, 6500);
}

static void uplink(struct life *l, size_t i)
{
	struct world_device *d = l->d[i];
	struct up up = {.f_port = 10, .data_hex = "0102", .dr = 5, .confirmed = chance(l, 30)};
	struct frame f;
	if (l->ear[i].owes_ack && chance(l, 80))
		up.ack = true;
	l->ear[i].owes_ack = false;
	d->end.adr = chance(l, 50);
	device_frame_up(&d->end, &up, &f);
	receive(l, &f);
	if (chance(l, 5)) {
		pass(l, 4000);
		device_frame_again(&d->end, &up, &f);
		receive(l, &f);
	}
}

static void enqueue(struct life *l, size_t i)
{
	char hex[2 * 40 + 1];
	size_t n = 1 + lw_rng_below(&l->rng, 40);
	if (l->d[i]->n_queue > 6)
		return;
	memset(hex, 'a', 2 * n);
	hex[2 * n] = '\0';
	world_enqueue(l->w, l->d[i], (uint8_t)(1 + lw_rng_below(&l->rng, 5)), chance(l, 40), hex);
}

/* ---- what goes wrong ---- */

static void trouble(struct life *l)
{
	struct world *w = l->w;
	switch (lw_rng_below(&l->rng, 40)) {
	case 0:
		w->conflicts = 1 + (unsigned)lw_rng_below(&l->rng, 3);
		break;
	case 1:
		w->store_ms = (uint32_t)lw_rng_below(&l->rng, 400);
		break;
	case 2:
		l->slow_until_ns = rt_loop_now_ns(w->loop) + (w->store_ms != 0 ? INT64_C(1000000000) : 0);
		w->store_ms = 0;
		break;
	case 3:
		w->broker_away = !w->broker_away;
		break;
	case 4:
		/* The world's store cannot be left with a question; what waits for gateways is forgotten. */
		if (w->store_ms != 0 || rt_loop_now_ns(w->loop) < l->slow_until_ns)
			break;
		world_restart(w);
		l->restarts++;
		break;
	default:
		w->broker_away = false;
	}
}

static struct life *begin(uint64_t seed, bool enforce, const struct ns_region_config **one)
{
	static const enum lw_mac_version version[N_DEVICES] = {LW_MAC_1_0_2, LW_MAC_1_0_3, LW_MAC_1_0_4,
							       LW_MAC_1_1_0, LW_MAC_1_1_0, LW_MAC_1_0_3};
	struct life *l = lw_xcalloc(1, sizeof(*l));
	lw_rng_init_seeded(&l->rng, seed);
	lw_map_init(&l->aired);
	l->w = world_new();
	for (uint64_t i = 1; i < N_GATEWAYS; i++)
		world_gateway(l->w, i + 1);
	if (enforce) {
		*one = ns_region_config_find("eu868");
		l->w->cfg.enforce = one;
		l->w->cfg.n_enforce = 1;
		world_restart(l->w);
	}
	for (size_t i = 0; i < N_DEVICES; i++) {
		l->d[i] = world_device(l->w, version[i]);
		l->d[i]->rec.profile.supports_class_c = i >= 4;
		do
			join(l, i);
		while (l->d[i]->end.devaddr.v == 0);
	}
	return l;
}

static void end(struct life *l)
{
	for (size_t i = 0; i < l->n_acks; i++)
		gw__downlink_frame__free_unpacked(l->ack[i].msg, NULL);
	size_t it = 0;
	void *downlink;
	while (lw_map_next(&l->aired, &it, NULL, &downlink))
		free(downlink);
	lw_map_deinit(&l->aired);
	world_free(l->w);
	free(l);
}

static void live(uint64_t seed, bool enforce, unsigned steps)
{
	const struct ns_region_config *one = NULL;
	struct life *l = begin(seed, enforce, &one);
	for (unsigned k = 0; k < steps; k++) {
		size_t i = lw_rng_below(&l->rng, N_DEVICES);
		unsigned what = (unsigned)lw_rng_below(&l->rng, 200);
		trouble(l);
		if (what == 0)
			join(l, i);
		else if (what < 90)
			enqueue(l, i);
		else
			uplink(l, i);
		for (size_t n = 0; n < N_DEVICES; n++)
			if (chance(l, 20))
				world_reencrypt(l->w, l->d[n]);
		pass(l, chance(l, 70) ? (uint32_t)lw_rng_below(&l->rng, 3000) : (uint32_t)lw_rng_below(&l->rng, 60000));
		world_forget(l->w);
		l->seen = 0;
	}
	print_message("seed %" PRIu64 "%s: %" PRIu64 " downlinks handed out, %zu counters on the air, %" PRIu64
		      " sent, %" PRIu64 " refused, %" PRIu64 " without an answer, %" PRIu64 " by two gateways, %" PRIu64
		      " restarts\n",
		      seed, enforce ? ", duty cycle enforced" : "", l->handed, lw_map_count(&l->aired), l->sent,
		      l->refused, l->silent, l->again, l->restarts);
	assert_true(l->sent > steps / 5 && l->refused > 0 && l->silent > 0 && l->restarts > 0);
	/* hardly any was of a session that its device does not have */
	assert_true(lw_map_count(&l->aired) * 10 > l->data * 8);
	end(l);
}

/* Downlinks at random, with refusals, silence, restarts and joins: never a counter twice, never too late. */
static void no_counter_twice(void **state)
{
	const char *more = getenv("LONGWAVE_SEEDS"); /* how many, by hand */
	uint64_t n = more != NULL ? strtoull(more, NULL, 10) : 4;
	(void)state;
	for (uint64_t seed = 1; seed <= n; seed++)
		live(seed, seed % 2 == 0, 1500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_counter_twice),
	};
	return cmocka_run_group_tests_name("network-server downlink counters", tests, NULL, NULL);
}
