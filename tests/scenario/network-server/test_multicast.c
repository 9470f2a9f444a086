/* Multicast groups: which gateways send, when, in which order, what becomes of refusals. In brackets: scenarios of
 * reference-system.md 8.1 (v4) and 8.3 (v3).
 * spec: TS001-1.0.4 §9.3, §15: multicast */
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/hex.h"
#include "common/base/time.h"
#include "common/lorawan/airtime.h"
#include "common/lorawan/cipher.h"
#include "network-server/domain/class_b.h"
#include "world.h"

#define R(x) LONGWAVE__V1__REASON__##x
#define O(x) LONGWAVE__V1__OUTCOME__##x
#define FOREVER (INT64_MAX / 2)
#define MARGIN_MS 5000

/* ---- the groups' part of the store, in memory; one group ---- */

struct item {
	struct ns_mc_item item;
	uint8_t data[256];
	struct ns_mc_copy copy[WORLD_GATEWAYS];
	size_t n_copies;
};

struct groups {
	struct world *w;
	struct ns_mc_group group;
	bool is_deleted;
	struct lw_gateway_id gateway[WORLD_GATEWAYS];
	size_t n_gateways;
	struct lw_dev_eui device[WORLD_DEVICES];
	size_t n_devices;
	size_t n_strangers; /* further devices, that nobody has heard */
	struct item item[8];
	size_t n_items;
	uint32_t f_cnt;
	int64_t not_before_ns;
	int64_t others_until_ns; /* another network-server has the lease */
	bool away;
	size_t n_commits;
	int64_t elsewhere_ns[WORLD_GATEWAYS]; /* another network-server has heard the gateway */
	size_t n_refreshed;
	struct lw_key app_s_key;
	struct device end; /* one of the group's devices */
};

static bool is_due(const struct item *it, int64_t now_ns)
{
	if (!it->item.planned)
		return true;
	for (size_t i = 0; i < it->n_copies; i++)
		if (!it->copy[i].parked || it->copy[i].due_ns <= now_ns)
			return true;
	return false;
}

static void parked_at(struct ns_mc_take *req, const struct item *it, const struct ns_mc_copy *k)
{
	size_t i = 0;
	if (req->parked == NULL)
		req->parked = LW_ARENA_ARRAY(req->arena, struct ns_mc_parked, WORLD_GATEWAYS);
	while (i < req->n_parked && !lw_gateway_id_eq(req->parked[i].gateway_id, k->gateway_id))
		i++;
	if (i == req->n_parked)
		req->parked[req->n_parked++] = (struct ns_mc_parked){k->gateway_id, it->item.f_cnt, k->due_ns};
	if (k->due_ns < req->parked[i].due_ns)
		req->parked[i].due_ns = k->due_ns;
}

static void take_one(struct groups *g, struct ns_mc_take *req)
{
	req->err = g->away ? LW_EUNAVAILABLE : g->is_deleted ? LW_ENOTFOUND : 0;
	if (req->err == 0 && g->others_until_ns > req->now_ns) {
		req->err = LW_ECONFLICT;
		req->leased_until_ns = g->others_until_ns;
	}
	if (req->err != 0)
		return;
	req->group = g->group;
	req->not_before_ns = g->not_before_ns;
	req->gateways = lw_arena_memdup(req->arena, g->gateway, sizeof(g->gateway));
	req->n_gateways = g->n_gateways;
	for (size_t i = 0; i < g->n_items; i++) {
		struct item *it = &g->item[i];
		if (!req->has_item && is_due(it, req->now_ns)) {
			req->has_item = true;
			req->more = i + 1 < g->n_items;
			req->item = it->item;
			req->item.payload = lw_arena_span(req->arena, it->item.payload);
			req->copies = lw_arena_memdup(req->arena, it->copy, sizeof(it->copy));
			req->n_copies = it->n_copies;
			continue;
		}
		for (size_t k = 0; k < it->n_copies; k++)
			if (it->copy[k].parked && it->copy[k].due_ns > req->now_ns)
				parked_at(req, it, &it->copy[k]);
	}
}

static void store_take(void *self, struct ns_mc_take **v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		take_one(self, v[i]);
		v[i]->done(v[i]);
	}
}

static void store_devices(void *self, struct ns_mc_devices *req)
{
	struct groups *g = self;
	req->err = g->away ? LW_EUNAVAILABLE : 0;
	req->v = LW_ARENA_ARRAY(req->arena, struct lw_dev_eui, g->n_strangers + WORLD_DEVICES);
	for (req->n = 0; req->n < g->n_strangers; req->n++)
		req->v[req->n] = lw_dev_eui_from_u64(0x9000000000000000 + req->n);
	memcpy(req->v + req->n, g->device, g->n_devices * sizeof(g->device[0]));
	req->n += g->n_devices;
	req->done(req);
}

static void remove_item(struct groups *g, size_t at)
{
	g->n_items--;
	for (size_t i = at; i < g->n_items; i++) {
		g->item[i] = g->item[i + 1];
		g->item[i].item.payload.p = g->item[i].data;
	}
}

static void put_copy(struct item *it, const struct ns_mc_copy *k)
{
	for (size_t i = 0; i < it->n_copies; i++)
		if (lw_gateway_id_eq(it->copy[i].gateway_id, k->gateway_id)) {
			it->copy[i] = *k;
			return;
		}
	it->copy[it->n_copies++] = *k;
}

static void remove_copy(struct item *it, struct lw_gateway_id id)
{
	for (size_t i = 0; i < it->n_copies; i++)
		if (lw_gateway_id_eq(it->copy[i].gateway_id, id)) {
			it->copy[i] = it->copy[--it->n_copies];
			return;
		}
}

static void change_item(struct groups *g, size_t at, const struct ns_mc_change *c)
{
	struct item *it = &g->item[at];
	it->item.planned = it->item.planned || c->plan;
	if (c->fix_f_pending)
		it->item.f_pending = c->f_pending;
	for (size_t i = 0; i < c->n_put; i++)
		put_copy(it, &c->put[i]);
	for (size_t i = 0; i < c->n_remove; i++)
		remove_copy(it, c->remove[i]);
	if (c->delete_item || (c->n_remove > 0 && it->item.planned && it->n_copies == 0))
		remove_item(g, at);
}

static void wake_copies(struct item *it, const struct ns_mc_change *c)
{
	for (size_t i = 0; i < it->n_copies; i++)
		for (size_t k = 0; k < c->n_wake; k++)
			if (it->copy[i].parked && lw_gateway_id_eq(it->copy[i].gateway_id, c->wake[k]) &&
			    it->copy[i].due_ns > c->wake_ns)
				it->copy[i].due_ns = c->wake_ns;
}

static void commit_one(struct groups *g, struct ns_mc_change *c)
{
	g->n_commits++;
	c->err = g->away ? LW_EUNAVAILABLE : 0;
	if (c->err == 0 && c->needs_lease && g->others_until_ns > rt_loop_now_ns(g->w->loop))
		c->err = LW_ECONFLICT;
	if (c->err != 0)
		return;
	for (size_t i = 0; i < g->n_items; i++)
		wake_copies(&g->item[i], c);
	if (c->needs_lease && c->not_before_ns != 0)
		g->not_before_ns = c->not_before_ns;
	for (size_t i = 0; i < g->n_items; i++)
		if (lw_uuid_eq(g->item[i].item.id, c->item_id)) {
			change_item(g, i, c);
			return;
		}
}

static void store_commit(void *self, struct ns_mc_change **v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		commit_one(self, v[i]);
		v[i]->done(v[i]);
	}
}

static void store_refresh(void *self, struct ns_mc_refresh *req)
{
	struct groups *g = self;
	for (size_t i = 0; i < req->n; i++)
		for (size_t k = 0; k < g->w->n_gateways; k++)
			if (lw_gateway_id_eq(g->w->gateway[k].id, req->v[i]) && g->elsewhere_ns[k] != 0)
				g->w->gateway[k].last_seen_ns = g->elsewhere_ns[k];
	g->n_refreshed += req->n;
	req->done(req);
}

/* ---- the stage ---- */

static int setup(void **state)
{
	struct groups *g = calloc(1, sizeof(*g));
	struct world *w = world_new();
	g->w = w;
	w->ports.multicast = (struct ns_multicast_port){g, store_take, store_devices, store_commit, store_refresh};
	w->gateway[0].last_seen_ns = FOREVER;
	g->group = (struct ns_mc_group){.id = lw_uuid_new(&w->rng),
					.region = LW_REGION_EU868,
					.addr = {.v = 0x01020304},
					.mode = NS_MC_C_SPACED,
					.dr = 3,
					.hz = 868300000,
					.ping_slot_nb = 128};
	lw_rng_fill(&w->rng, g->group.nwk_s_key.b, 16);
	lw_rng_fill(&w->rng, g->app_s_key.b, 16);
	g->f_cnt = 10;
	g->end.kc = w->kc;
	g->end.devaddr = g->group.addr;
	g->end.keys.f_nwk_s_int = g->end.keys.s_nwk_s_int = g->end.keys.nwk_s_enc = g->group.nwk_s_key;
	g->end.keys.app_s = g->app_s_key;
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct groups *g = *state;
	world_free(g->w);
	free(g);
	return 0;
}

/* One more gateway, which is heard. */
static unsigned gateway(struct groups *g)
{
	struct world *w = g->w;
	world_gateway(w, 0x0102030405060701 + w->n_gateways);
	w->gateway[w->n_gateways - 1].last_seen_ns = FOREVER;
	return (unsigned)w->n_gateways - 1;
}

static void by_hand(struct groups *g, unsigned gateway_index)
{
	g->gateway[g->n_gateways++] = g->w->gateway[gateway_index].id;
}

/* As the API does: with the next counter, in the queue for good, then a hint. */
static void enqueue(struct groups *g, const char *hex)
{
	struct item *it = &g->item[g->n_items++];
	memset(it, 0, sizeof(*it));
	int n = lw_hex_decode(hex, strlen(hex), it->data, sizeof(it->data));
	assert_true(n >= 0);
	lw_cipher_frm(g->w->kc, &g->app_s_key, LW_DOWN, g->group.addr, g->f_cnt, it->data, (size_t)n, it->data);
	it->item = (struct ns_mc_item){.id = lw_uuid_new(&g->w->rng),
				       .f_cnt = g->f_cnt++,
				       .f_port = 5,
				       .payload = lw_span(it->data, (size_t)n),
				       .f_pending = -1,
				       .enqueued_at_ns = rt_loop_now_ns(g->w->loop)};
	ns_flows_multicast_hint(g->w->flows, g->group.id);
	world_pass(g->w, 0);
}

/* The i-th downlink of all, as a device of the group hears it. */
static void heard_more(struct groups *g, size_t i, uint32_t f_cnt, const char *hex, bool f_pending)
{
	struct heard h;
	assert_true(i < g->w->n_downs);
	const Gw__DownlinkFrame *m = g->w->down[i].msg;
	assert_int_equal(m->n_items, 1);
	device_hear(&g->end, m->items[0]->phy_payload.data, m->items[0]->phy_payload.len, f_cnt, 0, &h);
	assert_int_equal(h.f_cnt, f_cnt);
	assert_int_equal(h.f_port, 5);
	assert_string_equal(h.data_hex, hex);
	assert_false(h.confirmed || h.ack || h.adr);
	assert_int_equal(h.fpending, f_pending);
	assert_string_equal(h.fopts_hex, "");
	assert_int_equal(m->items[0]->tx_info->context.len, 0);
}

static void heard(struct groups *g, size_t i, uint32_t f_cnt, const char *hex)
{
	heard_more(g, i, f_cnt, hex, false);
}

static void answer(struct groups *g, size_t i, const char *status)
{
	world_ack_at(g->w, i, (const char *const[]){status, NULL});
}

static bool went_to(const struct groups *g, size_t i, unsigned gateway_index)
{
	char id[LW_EUI_TEXT];
	return strcmp(g->w->down[i].msg->gateway_id, lw_gateway_id_print(g->w->gateway[gateway_index].id, id)) == 0;
}

static int64_t gps_of(const struct groups *g, size_t i)
{
	const Gw__Timing *t = g->w->down[i].msg->items[0]->tx_info->timing;
	assert_int_equal(t->parameters_case, GW__TIMING__PARAMETERS_GPS_EPOCH);
	return t->gps_epoch->time_since_gps_epoch->seconds * LW_NS_PER_S + t->gps_epoch->time_since_gps_epoch->nanos;
}

static int64_t gps_now(const struct groups *g)
{
	return lw_gps_from_unix_ns(rt_loop_now_ns(g->w->loop));
}

static const Longwave__Ns__V1__Frame *record(const struct groups *g)
{
	return world_last_downlink_record(g->w);
}

/* ---- class C, one gateway after the other ---- */

/* [nothing in queue] A hint without an item sends nothing, and the group is forgotten.
 * rows: mc-nothing */
static void nothing(void **state)
{
	struct groups *g = *state;
	by_hand(g, 0);
	ns_flows_multicast_hint(g->w->flows, g->group.id);
	world_pass(g->w, 120000);
	assert_int_equal(g->w->n_downs, 0);
	assert_int_equal(g->n_commits, 1); /* the lease is given back */
	g->is_deleted = true;
	ns_flows_multicast_hint(g->w->flows, g->group.id);
	world_pass(g->w, 120000);
	assert_int_equal(g->w->n_downs, 0);
}

/* [one item in queue] [ack] At once, with the group's frequency and data rate; gone when the gateway has taken it.
 * rows: mc-one mc-ack */
static void one_item(void **state)
{
	struct groups *g = *state;
	by_hand(g, 0);
	enqueue(g, "0102");
	assert_int_equal(g->w->n_downs, 1);
	const Gw__DownlinkTxInfo *t = g->w->down[0].msg->items[0]->tx_info;
	assert_int_equal(t->timing->parameters_case, GW__TIMING__PARAMETERS_IMMEDIATELY);
	assert_int_equal(t->frequency, 868300000);
	assert_int_equal(t->modulation->lora->spreading_factor, 9);
	assert_int_equal(t->power, 16);
	heard(g, 0, 10, "0102");
	assert_int_equal(g->n_items, 1); /* until it is known what became of it */
	assert_int_equal(record(g)->outcome, O(PENDING));
	answer(g, 0, "OK");
	assert_int_equal(g->n_items, 0);
	assert_int_equal(record(g)->outcome, O(DELIVERED));
	assert_string_equal(record(g)->dev_eui, "");
	assert_string_equal(record(g)->dev_addr, "01020304");
	assert_int_equal(record(g)->f_cnt, 10);
	char id[LW_UUID_TEXT];
	assert_string_equal(record(g)->multicast_group_id, lw_uuid_print(g->group.id, id));
	assert_int_equal(g->w->n_events, 0); /* a txack event is a device's */
	world_pass(g->w, 60000);
	assert_int_equal(g->w->n_downs, 1);
}

/* A configured power that some frequencies allow is limited where the region allows less. */
static void power_of_the_frequency(void **state)
{
	struct groups *g = *state;
	struct ns_region_config strong = *ns_region_config_find("eu868");
	strong.downlink_tx_power_dbm = 27;
	for (size_t i = 0; i < g->w->cfg.n_regions; i++)
		if (strcmp(g->w->regions[i]->id, "eu868") == 0)
			g->w->regions[i] = &strong;
	world_restart(g->w);
	by_hand(g, 0);
	enqueue(g, "0102");
	assert_int_equal(g->w->down[0].msg->items[0]->tx_info->frequency, 868300000);
	assert_int_equal(g->w->down[0].msg->items[0]->tx_info->power, 16);
	answer(g, 0, "OK");
	world_pass(g->w, 60000);
	g->group.hz = 869525000;
	enqueue(g, "0102");
	assert_int_equal(g->w->n_downs, 2);
	assert_int_equal(g->w->down[1].msg->items[0]->tx_info->frequency, 869525000);
	assert_int_equal(g->w->down[1].msg->items[0]->tx_info->power, 27);
	answer(g, 1, "OK");
}

/* [two items in queue] The second with the next counter, a margin later.
 * rows: mc-two */
static void two_items(void **state)
{
	struct groups *g = *state;
	by_hand(g, 0);
	enqueue(g, "01");
	enqueue(g, "02");
	assert_int_equal(g->w->n_downs, 1);
	answer(g, 0, "OK");
	assert_int_equal(g->w->n_downs, 1);
	world_pass(g->w, MARGIN_MS - 10);
	assert_int_equal(g->w->n_downs, 1);
	world_pass(g->w, 20);
	assert_int_equal(g->w->n_downs, 2);
	heard(g, 0, 10, "01");
	heard(g, 1, 11, "02");
	answer(g, 1, "OK");
	assert_int_equal(g->n_items, 0);
}

/* [item discarded because of payload size] and the next one follows.
 * rows: mc-size */
static void too_large(void **state)
{
	struct groups *g = *state;
	char hex[2 * 116 + 1];
	memset(hex, '0', sizeof(hex) - 1);
	hex[sizeof(hex) - 1] = '\0';
	by_hand(g, 0);
	enqueue(g, hex); /* DR3 carries 115 */
	assert_int_equal(g->w->n_downs, 0);
	assert_int_equal(g->n_items, 0);
	assert_int_equal(record(g)->outcome, O(DROPPED));
	assert_int_equal(record(g)->reason, R(PAYLOAD_SIZE));
	assert_string_equal(record(g)->detail, "116 bytes are more than the 115 that DR3 carries");
	assert_string_equal(record(g)->gateway_id, "0102030405060701");
	hex[2 * 115] = '\0';
	enqueue(g, hex);
	assert_int_equal(g->w->n_downs, 1);
	heard(g, 0, 11, hex);
}

/* [item discarded because it has expired]
 * rows: mc-expired */
static void expired(void **state)
{
	struct groups *g = *state;
	by_hand(g, 0);
	enqueue(g, "01");
	enqueue(g, "02");
	g->item[1].item.expires_at_ns = rt_loop_now_ns(g->w->loop) + 2 * LW_NS_PER_S;
	enqueue(g, "03");
	answer(g, 0, "OK");
	world_pass(g->w, MARGIN_MS + 10);
	assert_int_equal(g->w->n_downs, 2);
	heard(g, 1, 12, "03");
	bool found = false;
	for (size_t i = 0; i < g->w->n_frames; i++)
		found = found || (g->w->frame[i]->f_cnt == 11 && g->w->frame[i]->reason == R(EXPIRED) &&
				  g->w->frame[i]->outcome == O(DROPPED));
	assert_true(found);
}

/* [nack] The same frame once more, later and later, four times in all; then the next item.
 * rows: mc-nack */
static void refused(void **state)
{
	struct groups *g = *state;
	by_hand(g, 0);
	enqueue(g, "01");
	enqueue(g, "02");
	static const uint32_t after_s[] = {5, 10, 20};
	for (size_t i = 0; i < 3; i++) {
		answer(g, i, "TX_FREQ");
		assert_int_equal(record(g)->outcome, O(DROPPED));
		assert_int_equal(record(g)->reason, R(TX_FREQ));
		world_pass(g->w, after_s[i] * 1000 - 100);
		assert_int_equal(g->w->n_downs, i + 1);
		world_pass(g->w, 200);
		assert_int_equal(g->w->n_downs, i + 2);
		heard(g, i + 1, 10, "01");
	}
	assert_int_equal(g->n_items, 2);
	answer(g, 3, "TX_FREQ");
	world_pass(g->w, MARGIN_MS);
	assert_int_equal(g->n_items, 1);
	heard(g, 4, 11, "02");
	answer(g, 4, "OK");
	assert_int_equal(g->n_items, 0);
}

/* Two gateways: the same frame, a margin apart; a refusal of the first comes after the second has sent; no other
 * counter before both are through. */
static void spaced(void **state)
{
	struct groups *g = *state;
	by_hand(g, 0);
	by_hand(g, gateway(g));
	enqueue(g, "01");
	enqueue(g, "02");
	assert_int_equal(g->w->n_downs, 1);
	answer(g, 0, "QUEUE_FULL");
	world_pass(g->w, MARGIN_MS + 10);
	assert_int_equal(g->w->n_downs, 2);
	heard(g, 0, 10, "01");
	heard(g, 1, 10, "01");
	assert_memory_equal(g->w->down[0].msg->items[0]->phy_payload.data,
			    g->w->down[1].msg->items[0]->phy_payload.data,
			    g->w->down[0].msg->items[0]->phy_payload.len);
	assert_false(went_to(g, 0, 0) == went_to(g, 1, 0));
	answer(g, 1, "OK");
	world_pass(g->w, MARGIN_MS + 10);
	assert_int_equal(g->w->n_downs, 3);
	heard(g, 2, 10, "01");
	assert_string_equal(g->w->down[2].msg->gateway_id, g->w->down[0].msg->gateway_id);
	answer(g, 2, "OK");
	world_pass(g->w, MARGIN_MS + 10);
	heard(g, 3, 11, "02");
}

/* A gateway that does not answer is asked again; the others go on meanwhile. */
static void silent(void **state)
{
	struct groups *g = *state;
	by_hand(g, 0);
	enqueue(g, "01");
	world_pass(g->w, 30010);
	assert_int_equal(record(g)->reason, R(GATEWAY_SILENT));
	assert_int_equal(g->w->n_downs, 1);
	world_pass(g->w, 5010);
	assert_int_equal(g->w->n_downs, 2);
	heard(g, 1, 10, "01");
	answer(g, 1, "OK");
	assert_int_equal(g->n_items, 0);
}

/* ---- class C, by GPS time ---- */

/* All gateways at the same moment, far enough ahead, and no two items closer than the margin. */
static void gps_time(void **state)
{
	struct groups *g = *state;
	g->group.mode = NS_MC_C_GPS;
	by_hand(g, 0);
	by_hand(g, gateway(g));
	by_hand(g, gateway(g));
	enqueue(g, "01");
	enqueue(g, "02");
	assert_int_equal(g->w->n_downs, 3);
	for (size_t i = 0; i < 3; i++) {
		heard(g, i, 10, "01");
		assert_int_equal(gps_of(g, i), gps_of(g, 0));
	}
	assert_int_equal(gps_of(g, 0) - gps_now(g), MARGIN_MS * LW_NS_PER_MS);
	int64_t first = gps_of(g, 0);
	/* one has no GPS: it alone is asked again */
	answer(g, 0, "OK");
	answer(g, 1, "GPS_UNLOCKED");
	assert_int_equal(g->w->n_downs, 3);
	answer(g, 2, "OK");
	assert_int_equal(g->w->n_downs, 4);
	heard(g, 3, 10, "01");
	assert_string_equal(g->w->down[3].msg->gateway_id, g->w->down[1].msg->gateway_id);
	assert_true(gps_of(g, 3) >= first + MARGIN_MS * LW_NS_PER_MS);
	answer(g, 3, "OK");
	assert_int_equal(g->w->n_downs, 4); /* too far ahead for a gateway's queue */
	world_pass(g->w, 2 * MARGIN_MS + 500);
	assert_int_equal(g->w->n_downs, 7);
	for (size_t i = 4; i < 7; i++) {
		heard(g, i, 11, "02");
		assert_int_equal(gps_of(g, i), gps_of(g, 4));
	}
	assert_true(gps_of(g, 4) >= gps_of(g, 3) + MARGIN_MS * LW_NS_PER_MS);
}

/* A moment at which one of the gateways sends something else is no moment for the group. */
static void gps_free(void **state)
{
	struct groups *g = *state;
	struct groups other = *g;
	g->group.mode = NS_MC_C_GPS;
	g->group.dr = 0;
	by_hand(g, 0);
	by_hand(g, gateway(g));
	enqueue(g, "0102030405060708090a");
	int64_t first = gps_of(g, 0);
	uint32_t us = lw_airtime_us(lw_region_dr(lw_region_by_id(LW_REGION_EU868), LW_DOWN, 0), LW_DOWN,
				    (unsigned)g->w->down[0].msg->items[0]->phy_payload.len);
	/* another group, of one of the two gateways, wants the same moment */
	answer(g, 0, "OK");
	answer(g, 1, "OK");
	assert_int_equal(g->n_items, 0);
	g->group.id = other.group.id = lw_uuid_new(&g->w->rng);
	g->group.mode = NS_MC_C_GPS;
	g->n_gateways = 1;
	g->not_before_ns = 0;
	enqueue(g, "0102030405060708090a");
	assert_int_equal(g->w->n_downs, 3);
	assert_true(gps_of(g, 2) >= first + us * LW_NS_PER_US);
	assert_true(gps_of(g, 2) < first + us * LW_NS_PER_US + LW_NS_PER_S);
}

/* ---- class B ---- */

/* In the ping slots of the group's address, on all gateways at once, one item in each slot.
 * spec: TS001-1.0.4 §9.3, §11.2 */
static void ping_slots(void **state)
{
	struct groups *g = *state;
	g->group.mode = NS_MC_B;
	g->group.hz = 0;
	by_hand(g, 0);
	by_hand(g, gateway(g));
	enqueue(g, "01");
	enqueue(g, "02");
	assert_int_equal(g->w->n_downs, 2);
	assert_int_equal(gps_of(g, 0), ns_next_ping_slot(g->w->kc, gps_now(g) + LW_NS_PER_S, g->group.addr, 128));
	assert_int_equal(gps_of(g, 1), gps_of(g, 0));
	assert_int_equal(g->w->down[0].msg->items[0]->tx_info->frequency, 869525000);
	heard(g, 0, 10, "01");
	heard(g, 1, 10, "01");
	answer(g, 0, "OK");
	answer(g, 1, "TOO_LATE");
	assert_int_equal(g->w->n_downs, 3);
	heard(g, 2, 10, "01");
	assert_true(gps_of(g, 2) > gps_of(g, 0));
	assert_int_equal(gps_of(g, 2), ns_next_ping_slot(g->w->kc, gps_of(g, 2), g->group.addr, 128));
	answer(g, 2, "OK");
	assert_int_equal(g->w->n_downs, 5);
	heard(g, 3, 11, "02");
	assert_true(gps_of(g, 3) > gps_of(g, 2));
	assert_int_equal(gps_of(g, 4), gps_of(g, 3));
}

/* FPending says in class B that more follows: a device whose ping slots collide goes on listening to this group. What
 * an item said first it says in every repetition, whatever came meanwhile: one counter, one frame.
 * spec: TS001-1.0.4 §9.2: FPending */
static void more_in_ping_slots(void **state)
{
	struct groups *g = *state;
	g->group.mode = NS_MC_B;
	g->group.hz = 0;
	g->group.ping_slot_nb = 1;
	by_hand(g, 0);
	enqueue(g, "01");
	enqueue(g, "02");
	enqueue(g, "03");
	for (size_t i = 0; i < 4; i++) {
		for (int k = 0; k < 60 && g->w->n_downs == i; k++)
			world_pass(g->w, MARGIN_MS);
		assert_int_equal(g->w->n_downs, i + 1);
		if (i == 2) { /* the last one is out, and refused, when one more comes */
			heard_more(g, i, 12, "03", false);
			enqueue(g, "04");
			answer(g, i, "TOO_LATE");
			continue;
		}
		heard_more(g, i, i < 3 ? 10 + (uint32_t)i : 12, i == 0 ? "01" : i == 1 ? "02" : "03", i < 2);
		answer(g, i, "OK");
	}
	for (int k = 0; k < 60 && g->w->n_downs == 4; k++)
		world_pass(g->w, MARGIN_MS);
	heard_more(g, 4, 13, "04", false);
	answer(g, 4, "OK");
	assert_int_equal(g->n_items, 0);
}

/* A slot in two minutes is waited for here, not in a gateway's queue. */
static void far_slot(void **state)
{
	struct groups *g = *state;
	g->group.mode = NS_MC_B;
	g->group.ping_slot_nb = 1;
	by_hand(g, 0);
	int64_t slot = ns_next_ping_slot(g->w->kc, gps_now(g) + 20 * LW_NS_PER_S, g->group.addr, 1);
	/* to where the next one is at least 20 s away */
	int64_t near = ns_next_ping_slot(g->w->kc, gps_now(g), g->group.addr, 1);
	if (near != slot) {
		world_pass(g->w, (uint32_t)((near - gps_now(g)) / LW_NS_PER_MS) + 1);
		slot = ns_next_ping_slot(g->w->kc, gps_now(g), g->group.addr, 1);
	}
	enqueue(g, "01");
	assert_int_equal(g->w->n_downs, 0);
	int64_t ahead_ms = (slot - gps_now(g)) / LW_NS_PER_MS;
	assert_true(ahead_ms > MARGIN_MS);
	world_pass(g->w, (uint32_t)ahead_ms - MARGIN_MS - 10);
	assert_int_equal(g->w->n_downs, 0);
	world_pass(g->w, 20);
	assert_int_equal(g->w->n_downs, 1);
	assert_int_equal(gps_of(g, 0), slot);
}

/* ---- which gateways ---- */

/* A device of the group, whose last uplink was heard by these gateways. */
static void member(struct groups *g, const unsigned *gateways, size_t n)
{
	struct world *w = g->w;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct frame f;
	struct air air = world_air();
	world_abp(w, d, "eu868");
	device_frame_up(&d->end, &(struct up){.f_port = 10, .data_hex = "01"}, &f);
	for (size_t i = 0; i < n; i++) {
		air.gateway = gateways[i];
		world_receive(w, &air, &f);
	}
	world_pass(w, 3000);
	g->device[g->n_devices++] = d->rec.dev_eui;
}

/* Without gateways chosen by hand: the fewest that reach all devices, by who heard them last. */
static void covered(void **state)
{
	struct groups *g = *state;
	unsigned a = 0, b = gateway(g), c = gateway(g);
	member(g, (const unsigned[]){a, b}, 2);
	member(g, (const unsigned[]){b, c}, 2);
	size_t downs = g->w->n_downs;
	enqueue(g, "01");
	assert_int_equal(g->w->n_downs, downs + 1);
	assert_true(went_to(g, downs, b));
	answer(g, downs, "OK");
	assert_int_equal(g->n_items, 0);
	/* one more that only c hears, and one that only a hears */
	member(g, (const unsigned[]){c}, 1);
	member(g, (const unsigned[]){a}, 1);
	downs = g->w->n_downs;
	enqueue(g, "02");
	answer(g, downs, "OK");
	world_pass(g->w, MARGIN_MS + 10);
	assert_int_equal(g->w->n_downs, downs + 2);
	assert_true(went_to(g, downs, a) || went_to(g, downs, c));
	assert_true(went_to(g, downs + 1, a) || went_to(g, downs + 1, c));
	answer(g, downs + 1, "OK");
	assert_int_equal(g->n_items, 0);
	/* c is gone: b takes its place for the second device, the third has nobody */
	g->w->gateway[c].last_seen_ns = 1;
	downs = g->w->n_downs;
	world_pass(g->w, MARGIN_MS);
	enqueue(g, "03");
	answer(g, downs, "OK");
	world_pass(g->w, MARGIN_MS + 10);
	answer(g, downs + 1, "OK");
	assert_int_equal(g->w->n_downs, downs + 2);
	assert_false(went_to(g, downs, c) || went_to(g, downs + 1, c));
	assert_int_equal(g->n_items, 0);
}

static struct {
	void (*fetch)(void *self, struct ns_fetch **v, size_t n);
	unsigned n, depth, deepest;
} fetches;

static void counted_fetch(void *self, struct ns_fetch **v, size_t n)
{
	fetches.n++;
	if (++fetches.depth > fetches.deepest)
		fetches.deepest = fetches.depth;
	fetches.fetch(self, v, n);
	fetches.depth--;
}

/* All are in memory, which answers at once: the stack does not grow with the group, and others get their turn. */
static void very_many_devices(void **state)
{
	struct groups *g = *state;
	member(g, (const unsigned[]){0}, 1);
	g->n_strangers = 20000;
	fetches.fetch = g->w->ports.store.fetch;
	fetches.n = fetches.deepest = 0;
	g->w->ports.store.fetch = counted_fetch;
	size_t downs = g->w->n_downs;
	enqueue(g, "01");
	world_pass(g->w, 1000);
	assert_true(fetches.n > 600);
	assert_int_equal(fetches.deepest, 1);
	assert_int_equal(g->w->n_downs, downs + 1);
	answer(g, downs, "OK");
	assert_int_equal(g->n_items, 0);
}

/* Nobody hears any of its devices: the item waits, and goes when one is heard. */
static void nobody(void **state)
{
	struct groups *g = *state;
	enqueue(g, "01");
	world_pass(g->w, 40000);
	assert_int_equal(g->w->n_downs, 0);
	assert_int_equal(g->n_items, 1);
	member(g, (const unsigned[]){0}, 1);
	size_t downs = g->w->n_downs; /* the device's own */
	world_pass(g->w, 30000);
	assert_int_equal(g->w->n_downs, downs + 1);
	heard(g, downs, 10, "01");
	answer(g, downs, "OK");
	/* and does not wait for ever */
	g->n_devices = 0;
	enqueue(g, "02");
	for (int i = 0; i < 62; i++)
		world_pass(g->w, 60000);
	assert_int_equal(g->n_items, 0);
	assert_int_equal(record(g)->reason, R(NO_GATEWAY));
}

/* A gateway that is not heard: its part waits, later items pass it, and it gets them in their order once it is back. */
static void gone_gateway(void **state)
{
	struct groups *g = *state;
	unsigned b = gateway(g);
	by_hand(g, 0);
	by_hand(g, b);
	g->w->gateway[b].last_seen_ns = rt_loop_now_ns(g->w->loop) - 61 * LW_NS_PER_S;
	enqueue(g, "01");
	enqueue(g, "02");
	answer(g, 0, "OK");
	world_pass(g->w, MARGIN_MS + 10);
	answer(g, 1, "OK");
	assert_int_equal(g->w->n_downs, 2);
	assert_true(went_to(g, 0, 0) && went_to(g, 1, 0));
	heard(g, 1, 11, "02");
	assert_int_equal(g->n_items, 2);
	world_pass(g->w, 70000);
	assert_int_equal(g->w->n_downs, 2);
	g->w->gateway[b].last_seen_ns = FOREVER;
	world_pass(g->w, 30000);
	assert_int_equal(g->w->n_downs, 3);
	heard(g, 2, 10, "01");
	answer(g, 2, "OK");
	for (int i = 0; i < 8 && g->w->n_downs == 3; i++)
		world_pass(g->w, MARGIN_MS);
	heard(g, 3, 11, "02");
	assert_true(went_to(g, 2, b) && went_to(g, 3, b));
	answer(g, 3, "OK");
	assert_int_equal(g->n_items, 0);
}

/* A gateway is heard again just as the next item comes: what it has missed goes first, whatever was to be looked at
 * when. A device refuses a lower counter, so the other order would lose the earlier items. */
static void back_in_order(void **state)
{
	struct groups *g = *state;
	unsigned b = gateway(g);
	by_hand(g, 0);
	by_hand(g, b);
	g->w->gateway[b].last_seen_ns = 0;
	enqueue(g, "01");
	answer(g, 0, "OK");
	world_pass(g->w, MARGIN_MS + 10);
	enqueue(g, "02");
	answer(g, 1, "OK");
	world_pass(g->w, MARGIN_MS + 10);
	g->w->gateway[b].last_seen_ns = FOREVER;
	enqueue(g, "03");
	for (uint32_t sent = 2; sent < 6; sent++) {
		for (int i = 0; i < 8 && g->w->n_downs == sent; i++)
			world_pass(g->w, MARGIN_MS);
		assert_int_equal(g->w->n_downs, sent + 1);
		answer(g, sent, "OK");
	}
	assert_int_equal(g->n_items, 0);
	uint32_t expected = 10;
	for (size_t i = 2; i < 6; i++) {
		const Gw__DownlinkFrame *m = g->w->down[i].msg;
		if (went_to(g, i, b))
			assert_int_equal(lw_get_le16(m->items[0]->phy_payload.data + 6), expected++);
	}
	assert_int_equal(expected, 13);
}

/* A private gateway of another tenant sends nothing for this one. */
static void private_gateway(void **state)
{
	struct groups *g = *state;
	unsigned b = gateway(g);
	g->w->gateway[b].is_private_down = true;
	g->w->gateway[b].tenant_id = lw_uuid_new(&g->w->rng);
	by_hand(g, b);
	by_hand(g, 0);
	enqueue(g, "01");
	assert_int_equal(g->w->n_downs, 1);
	assert_true(went_to(g, 0, 0));
	answer(g, 0, "OK");
	assert_int_equal(g->n_items, 0);
	g->group.tenant_id = g->w->gateway[b].tenant_id;
	enqueue(g, "02");
	world_pass(g->w, MARGIN_MS + 10);
	answer(g, 1, "OK");
	world_pass(g->w, MARGIN_MS + 10);
	answer(g, 2, "OK");
	assert_int_equal(g->w->n_downs, 3);
	assert_int_equal(g->n_items, 0);
}

/* By the region configuration that the gateway reports in. */
static void gateway_region(void **state)
{
	struct groups *g = *state;
	Gw__GatewayStats m = GW__GATEWAY_STATS__INIT;
	uint8_t buf[64];
	char id[LW_EUI_TEXT];
	g->group.region = LW_REGION_US915;
	g->group.dr = 8;
	g->group.hz = 923300000;
	m.gateway_id = lw_gateway_id_print(g->w->gateway[0].id, id);
	struct ns_inbox in = {.region = ns_region_config_find("us915_3"), .received_at_ns = rt_loop_now_ns(g->w->loop)};
	assert_int_equal(ns_flows_stats(g->w->flows, &in, lw_span(buf, gw__gateway_stats__pack(&m, buf))), 0);
	world_pass(g->w, 0);
	by_hand(g, 0);
	enqueue(g, "01");
	assert_int_equal(g->w->n_downs, 1);
	assert_string_equal(g->w->down[0].rc->id, "us915_3");
}

/* ---- what goes wrong ---- */

/* After a restart: what was through is not sent again, what was not is, with its own counter. */
static void restart(void **state)
{
	struct groups *g = *state;
	by_hand(g, 0);
	by_hand(g, gateway(g));
	enqueue(g, "01");
	enqueue(g, "02");
	answer(g, 0, "OK");
	world_restart(g->w);
	ns_flows_multicast_hint(g->w->flows, g->group.id);
	world_pass(g->w, MARGIN_MS + 10);
	assert_int_equal(g->w->n_downs, 2);
	heard(g, 1, 10, "01");
	assert_string_not_equal(g->w->down[0].msg->gateway_id, g->w->down[1].msg->gateway_id);
	/* nobody knows whether this one was sent: once more, when its gateway could have answered */
	world_restart(g->w);
	ns_flows_multicast_hint(g->w->flows, g->group.id);
	world_pass(g->w, 31000);
	assert_int_equal(g->w->n_downs, 3);
	heard(g, 2, 10, "01");
	answer(g, 2, "OK");
	world_pass(g->w, MARGIN_MS + 10);
	heard(g, 3, 11, "02");
}

/* Its statistics go to another network-server: it is there all the same. */
static void heard_elsewhere(void **state)
{
	struct groups *g = *state;
	unsigned b = gateway(g);
	by_hand(g, b);
	g->w->gateway[b].last_seen_ns = 0;
	g->elsewhere_ns[b] = FOREVER;
	enqueue(g, "01");
	assert_int_equal(g->w->n_downs, 1);
	answer(g, 0, "OK");
	/* one that is known to be there, and where, is not asked for */
	strcpy(g->w->gateway[b].region_config_id, "eu868");
	size_t asked = g->n_refreshed;
	world_pass(g->w, MARGIN_MS);
	enqueue(g, "02");
	assert_int_equal(g->w->n_downs, 2);
	assert_int_equal(g->n_refreshed, asked);
	answer(g, 1, "OK");
	/* the same where it is found by its devices */
	g->n_gateways = 0;
	g->w->gateway[b].last_seen_ns = 0;
	member(g, (const unsigned[]){b}, 1);
	size_t downs = g->w->n_downs;
	world_pass(g->w, MARGIN_MS);
	enqueue(g, "03");
	assert_int_equal(g->w->n_downs, downs + 1);
}

/* Another network-server has the group: not a frame from here before its lease has ended. */
static void other_replica(void **state)
{
	struct groups *g = *state;
	by_hand(g, 0);
	g->others_until_ns = rt_loop_now_ns(g->w->loop) + 20 * LW_NS_PER_S;
	enqueue(g, "01");
	world_pass(g->w, 19900);
	assert_int_equal(g->w->n_downs, 0);
	world_pass(g->w, 200);
	assert_int_equal(g->w->n_downs, 1);
	/* it takes the lease while we wait for an answer: that is noted all the same */
	g->others_until_ns = FOREVER;
	answer(g, 0, "OK");
	assert_int_equal(g->n_items, 0);
}

/* What cannot be written is not sent. */
static void store_away(void **state)
{
	struct groups *g = *state;
	by_hand(g, 0);
	g->away = true;
	enqueue(g, "01");
	world_pass(g->w, 12000);
	assert_int_equal(g->w->n_downs, 0);
	g->away = false;
	world_pass(g->w, 5000);
	assert_int_equal(g->w->n_downs, 1);
	/* nor forgotten when the answer cannot: the same frame again, never another with its counter */
	g->away = true;
	answer(g, 0, "OK");
	world_pass(g->w, 10000);
	g->away = false;
	world_pass(g->w, 40000);
	assert_int_equal(g->w->n_downs, 2);
	heard(g, 1, 10, "01");
	answer(g, 1, "OK");
	assert_int_equal(g->n_items, 0);
}

/* The broker's absence is no attempt. */
static void broker_away(void **state)
{
	struct groups *g = *state;
	by_hand(g, 0);
	g->w->broker_away = true;
	enqueue(g, "01");
	for (int i = 0; i < 60; i++)
		world_pass(g->w, MARGIN_MS);
	assert_int_equal(g->n_items, 1);
	g->w->broker_away = false;
	world_pass(g->w, MARGIN_MS + 10);
	assert_int_equal(g->w->n_downs, 1);
	heard(g, 0, 10, "01");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nothing),
		T(one_item),
		T(two_items),
		T(too_large),
		T(expired),
		T(refused),
		T(spaced),
		T(silent),
		T(gps_time),
		T(gps_free),
		T(ping_slots),
		T(more_in_ping_slots),
		T(far_slot),
		T(covered),
		T(very_many_devices),
		T(nobody),
		T(gone_gateway),
		T(back_in_order),
		T(private_gateway),
		T(gateway_region),
		T(restart),
		T(other_replica),
		T(store_away),
		T(broker_away),
		T(heard_elsewhere),
		T(power_of_the_frequency),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
