/* Rejoin-requests of 1.1: answered as an offer, taken by the device's first uplink under the new keys. Names in
 * brackets: scenarios of reference-system.md 8.3 (v3).
 * spec: TS001-1.1 §6.2.4 */
#include <string.h>

#include "world.h"

#define DELIVERED LONGWAVE__V1__OUTCOME__DELIVERED
#define DUPLICATE LONGWAVE__V1__OUTCOME__DUPLICATE
#define DROPPED LONGWAVE__V1__OUTCOME__DROPPED
#define R(x) LONGWAVE__V1__REASON__##x
#define KIND(x) LONGWAVE__NS__V1__EVENT__KIND_##x

static const struct up PLAIN = {.f_port = 10, .data_hex = "01", .dr = 5};

static int setup(void **state)
{
	*state = world_new();
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

static struct world_device *joined(struct world *w)
{
	struct world_device *d = world_device(w, LW_MAC_1_1_0);
	world_join(w, d);
	return d;
}

/* Sends a rejoin-request. The network's keys stay the end-device's until it takes the answer. */
static void rejoin(struct world *w, struct world_device *d, uint8_t type, uint16_t count, unsigned gateway)
{
	struct frame f;
	struct air air = world_air();
	air.gateway = gateway;
	device_frame_rejoin(&d->end, type, count, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
}

static struct lw_join_accept take_accept(struct world *w, struct world_device *d)
{
	struct lw_join_accept ja;
	const Gw__DownlinkFrame *m = world_last_down(w);
	assert_int_equal(m->n_items, 2);
	assert_int_equal(m->items[0]->tx_info->timing->delay->delay->seconds, 5);
	assert_int_equal(m->items[1]->tx_info->timing->delay->delay->seconds, 6);
	device_accept(&d->end, m->items[0]->phy_payload.data, m->items[0]->phy_payload.len, &ja);
	world_ack_ok(w);
	return ja;
}

/* A session that has moved on: counters, rate, power, channels. */
static void move_on(struct world *w, struct world_device *d)
{
	for (unsigned i = 0; i < 3; i++)
		world_up(w, d, &PLAIN);
	struct ns_session s = world_session(d);
	s.tx_power_index = 3;
	s.n_f_cnt_down = 7;
	s.a_f_cnt_down = 9;
	s.rx1_dr_offset = 1;
	world_session_put(d, &s);
}

/* [Rejoin type 0: valid] Everything starts anew, once the device uses it.
 * spec: TS001-1.1 §6.2.4.1
 * rows: rejoin-0 */
static void type_0(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	move_on(w, d);
	size_t joins = world_count(w, KIND(JOIN));
	struct ns_session before = world_session(d);
	rejoin(w, d, 0, 0, 0);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(world_last_uplink(w)->f_type, COMMON__FTYPE__REJOIN_REQUEST);
	assert_int_equal(world_count(w, KIND(JOIN)), joins); /* not yet */
	struct ns_session s = world_session(d);
	assert_true(s.rekey.present);
	assert_memory_equal(&s.s_nwk_s_int_key, &before.s_nwk_s_int_key, 16);
	/* it did not hear the answer and goes on */
	struct device old = d->end;
	world_up(w, d, &PLAIN);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(world_session(d).f_cnt_up, 4);
	old.f_cnt_up = d->end.f_cnt_up;
	/* now it did */
	rejoin(w, d, 0, 1, 0);
	struct lw_join_accept ja = take_accept(w, d);
	assert_int_equal(ja.devaddr.v, before.devaddr.v);
	assert_true(ja.has_cflist);
	s = world_session(d);
	uint8_t key_id[16];
	memcpy(key_id, s.rekey.session_key_id, 16);
	world_up(w, d, &(struct up){.f_port = 10, .data_hex = "01", .dr = 3, .fopts_hex = "0b01"});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	s = world_session(d);
	assert_false(s.rekey.present);
	assert_memory_equal(s.session_key_id, key_id, 16);
	assert_int_equal(s.f_cnt_up, 1);
	assert_int_equal(s.n_f_cnt_down, 1); /* RekeyConf */
	assert_int_equal(s.a_f_cnt_down, 0);
	assert_int_equal(s.tx_power_index, 0);
	assert_int_equal(s.rx1_dr_offset, 0);
	assert_int_equal(s.rj_count0, 0);
	assert_string_equal(world_hear(w, d, 0, 0).fopts_hex, "0b01");
	/* the application hears of the new session before its first uplink */
	assert_int_equal(world_count(w, KIND(JOIN)), joins + 1);
	assert_int_equal(w->event[w->n_events - 2]->kind_case, KIND(JOIN));
	assert_memory_equal(w->event[w->n_events - 2]->join->session_key_id.data, key_id, 16);
	assert_int_equal(w->event[w->n_events - 1]->kind_case, KIND(UPLINK));
	assert_memory_equal(w->event[w->n_events - 1]->uplink->session_key_id.data, key_id, 16);
	/* the old keys are gone */
	struct frame f;
	struct air air = world_air();
	device_frame_up(&old, &PLAIN, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(MIC_MISMATCH));
}

/* [Rejoin type 2: valid] Keys and counters only; the radio stays as it is.
 * spec: TS001-1.1 §6.2.4.1
 * rows: rejoin-2 */
static void type_2(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	move_on(w, d);
	rejoin(w, d, 2, 0, 0);
	take_accept(w, d);
	world_up(w, d, &PLAIN);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	struct ns_session s = world_session(d);
	assert_int_equal(s.f_cnt_up, 1);
	assert_int_equal(s.a_f_cnt_down, 0);
	assert_int_equal(s.tx_power_index, 3);
	assert_true(s.user_channels[0].hz != 0);
}

/* Says it on channel 4, 867.3 MHz. */
static void up_on_4(struct world *w, const struct world_device *d, uint32_t conf_f_cnt, const char *context_hex)
{
	struct air air = world_air();
	struct frame f;
	struct device end = d->end; /* a frame that is refused uses up no counter */
	air.hz = 867300000;
	air.context_hex = context_hex;
	end.conf_f_cnt = conf_f_cnt;
	device_frame_up(
		&end,
		&(struct up){
			.f_port = 10, .data_hex = "01", .dr = 5, .channel = 4, .ack = true, .fopts_hex = "0b010703"},
		&f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
}

/* The radio stays, that is with the channel that the device has made and not said so yet. And it may still owe an
 * acknowledgement of the old session: that opens the new one, and acknowledges nothing there.
 * spec: TS001-1.1 §4.4.2, §5.7, §6.2.4.1 */
static void type_2_with_answers_due(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	world_up(w, d, &(struct up){.f_port = 10, .data_hex = "01", .dr = 5, .fopts_hex = "0b01"});
	world_hear(w, d, 0, 0);
	struct ns_session s = world_session(d);
	s.user_channels[1].hz = 0; /* channel 4 */
	s.enabled_channels[0] &= (uint16_t) ~(1u << 4);
	s.a_f_cnt_down = 9;
	world_session_put(d, &s);
	world_enqueue(w, d, 7, true, "aabb");
	world_up(w, d, &PLAIN);
	struct heard h = world_hear(w, d, 0, 9);
	assert_string_equal(h.fopts_hex, "0704e8568450");
	assert_true(h.confirmed);
	world_ack_ok(w);
	rejoin(w, d, 2, 0, 0);
	take_accept(w, d);
	up_on_4(w, d, 5, "0badcafe"); /* that downlink there never was */
	assert_outcome(w, DROPPED, R(MIC_MISMATCH));
	assert_true(world_session(d).rekey.present);
	up_on_4(w, d, 9, "0badcaff");
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(world_count(w, KIND(ACK)), 0);
	s = world_session(d);
	assert_false(s.rekey.present);
	assert_int_equal(s.f_cnt_up, 1);
	assert_int_equal(s.user_channels[1].hz, 867300000);
	/* said twice: it is known */
	up_on_4(w, d, 9, "0badcafd");
	assert_outcome(w, DUPLICATE, R(FCNT_RETRANSMISSION));
	assert_int_equal(world_session(d).f_cnt_up, 1);
}

/* A device with a session listens for the accept as its session has it, only later.
 * spec: TS001-1.1 §6.2.3 */
static void windows(void **state)
{
	struct world *w = *state;
	for (uint8_t type = 0; type < 3; type++) {
		struct world_device *d = joined(w);
		move_on(w, d); /* RX1 offset 1 */
		struct ns_session s = world_session(d);
		s.rx2_hz = 868300000;
		s.rx2_dr = 3;
		s.rx1_delay_s = 4;
		s.dl_hz[0] = 867500000;
		world_session_put(d, &s);
		rejoin(w, d, type, 0, 0);
		const Gw__DownlinkFrame *m = world_last_down(w);
		assert_int_equal(m->items[0]->tx_info->frequency, 867500000);
		assert_int_equal(m->items[0]->tx_info->modulation->lora->spreading_factor, 8);
		assert_int_equal(m->items[1]->tx_info->frequency, 868300000);
		assert_int_equal(m->items[1]->tx_info->modulation->lora->spreading_factor, 9);
		take_accept(w, d);
	}
}

/* [Rejoin type 0, 2: valid with KEK] Another join server answers: what it gives of the AppSKey waits with the offer,
 * and is the application's once the device uses the new session. spec: TS001-1.1 §6.2.4.1 rows: rejoin-0-kek
 * rejoin-2-kek */
static void with_envelope(void **state)
{
	struct world *w = *state;
	for (uint8_t type = 0; type <= 2; type += 2) {
		w->join_kek = NULL;
		struct world_device *d = joined(w);
		world_up(w, d, &PLAIN);
		w->join_kek = type == 0 ? "lora-app" : "";
		size_t joins = world_count(w, KIND(JOIN));
		rejoin(w, d, type, 0, 0);
		take_accept(w, d);
		assert_int_equal(world_count(w, KIND(JOIN)), joins);
		world_up(w, d, &(struct up){.f_port = 10, .data_hex = "01", .dr = 5, .fopts_hex = "0b01"});
		assert_int_equal(world_count(w, KIND(JOIN)), joins + 1);
		const Common__JoinServerContext *c = world_last(w, KIND(JOIN))->join->join_server_context;
		assert_non_null(c);
		assert_string_equal(c->app_s_key->kek_label, w->join_kek);
		assert_int_equal(c->app_s_key->aes_key.len, w->join_app_s_key_len);
		assert_memory_equal(c->app_s_key->aes_key.data, w->join_app_s_key, w->join_app_s_key_len);
	}
}

/* Type 1: from a device that lost its network; the join server knows it.
 * spec: TS001-1.1 §6.2.4.2 */
static void type_1(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	world_up(w, d, &PLAIN);
	rejoin(w, d, 1, 40, 0);
	take_accept(w, d);
	world_up(w, d, &(struct up){.f_port = 10, .data_hex = "01", .dr = 5, .fopts_hex = "0b01"});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(world_session(d).f_cnt_up, 1);
	/* without a session: a new one, as by a join */
	struct world_device *lost = world_device(w, LW_MAC_1_1_0);
	size_t joins = world_count(w, KIND(JOIN));
	rejoin(w, lost, 1, 7, 0);
	take_accept(w, lost);
	assert_int_equal(world_count(w, KIND(JOIN)), joins + 1);
	world_up(w, lost, &PLAIN);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
}

/* [Rejoin type 0: invalid counter] and other refusals, each with its reason
 * spec: TS001-1.1 §6.2.4.1
 * rows: rejoin-0-counter */
static void refused(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	struct frame f;
	struct air air = world_air();
	size_t downs = w->n_downs;
	rejoin(w, d, 0, 5, 0);
	assert_int_equal(w->n_downs, downs + 1);
	rejoin(w, d, 0, 5, 0);
	world_pass(w, 1000);
	rejoin(w, d, 2, 4, 0);
	assert_outcome(w, DROPPED, R(DEVNONCE_REUSED));
	assert_int_equal(w->n_downs, downs + 1);
	/* wrong MIC */
	device_frame_rejoin(&d->end, 0, 9, &f);
	f.b[f.n - 1] ^= 1;
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(JOIN_MIC_MISMATCH));
	/* another network */
	d->end.dev_nonce = 0;
	device_frame_rejoin(&d->end, 0, 10, &f);
	f.b[2] = 7;
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(FILTERED));
	/* the join server says no: log event, the session stays */
	size_t logs = world_count(w, KIND(LOG));
	w->join_result = NS_JOIN_REFUSED;
	rejoin(w, d, 0, 11, 0);
	assert_outcome(w, DROPPED, R(JOIN_SERVER_REFUSED));
	assert_int_equal(world_count(w, KIND(LOG)), logs + 1);
	w->join_result = NS_JOIN_UNAVAILABLE;
	rejoin(w, d, 0, 12, 0);
	assert_outcome(w, DROPPED, R(JOIN_SERVER_UNAVAILABLE));
	assert_int_equal(world_session(d).rj_count0, 6);
	w->join_result = NS_JOIN_OK;
	/* no session; not of 1.1; nobody's */
	struct world_device *fresh = world_device(w, LW_MAC_1_1_0);
	rejoin(w, fresh, 0, 0, 0);
	assert_outcome(w, DROPPED, R(NOT_ACTIVATED));
	struct world_device *old = world_device(w, LW_MAC_1_0_3);
	rejoin(w, old, 1, 0, 0);
	assert_outcome(w, DROPPED, R(UNSUPPORTED_FRAME_TYPE));
	old->end.dev_eui.b[0] ^= 1;
	rejoin(w, old, 1, 0, 0);
	assert_outcome(w, DROPPED, R(UNKNOWN_DEVICE));
	assert_int_equal(w->n_downs, downs + 1);
}

/* [Rejoin.GatewayFiltering: three cases]
 * spec: none: private gateways
 * rows: rejoin-private */
static void gateway_filtering(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	struct lw_uuid tenant = lw_uuid_new(&w->rng);
	size_t downs = w->n_downs;
	w->gateway[0].is_private_up = true;
	w->gateway[0].tenant_id = tenant;
	rejoin(w, d, 0, 0, 0);
	assert_outcome(w, DROPPED, R(PRIVATE_GATEWAY));
	assert_int_equal(w->n_downs, downs);
	d->rec.tenant_id = tenant;
	rejoin(w, d, 0, 1, 0);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	w->gateway[0].is_private_up = false;
	d->rec.tenant_id = (struct lw_uuid){{0}};
	rejoin(w, d, 0, 2, 0);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
}

/* The queue lives on: what was sent and not acknowledged goes again, encrypted for the new session. */
static void queue_over_rejoin(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	world_enqueue(w, d, 7, true, "aabb");
	world_up(w, d, &PLAIN);
	world_hear(w, d, 0, 0);
	world_ack_ok(w);
	assert_int_equal(d->queue[0].item.state, NS_ITEM_PENDING);
	rejoin(w, d, 2, 0, 0);
	take_accept(w, d);
	struct frame f;
	struct air air = world_air();
	device_frame_up(&d->end, &PLAIN, &f);
	world_receive(w, &air, &f);
	world_pass(w, 250);
	assert_int_equal(world_count(w, KIND(ACK)), 0);
	assert_int_equal(world_last(w, KIND(REENCRYPT))->reencrypt->n_items, 1);
	assert_int_equal(world_last(w, KIND(REENCRYPT))->reencrypt->next_f_cnt, 0);
	world_reencrypt(w, d);
	world_pass(w, 200);
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, "aabb");
}

/* An offer that is not taken is replaced by the next one; a join ends it. */
static void offers(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	rejoin(w, d, 0, 0, 0);
	struct ns_session first = world_session(d);
	rejoin(w, d, 2, 1, 0);
	struct ns_session second = world_session(d);
	assert_memory_not_equal(first.rekey.session_key_id, second.rekey.session_key_id, 16);
	assert_int_equal(second.rekey.type, 2);
	world_join(w, d);
	struct ns_session third = world_session(d);
	assert_int_equal(third.rekey.type, NS_REKEY_JOIN);
	assert_false(third.rekey_before[0].present);
	world_up(w, d, &PLAIN);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_false(world_session(d).rekey.present);
}

/* It took what a rejoin-request was answered with, nothing that it said was heard, and it looks for a network by one of
 * type 1: in vain, it goes on as it was.
 * spec: TS001-1.1 §6.2.4.2 */
static void type_1_after_silence(void **state)
{
	struct world *w = *state;
	for (uint8_t type = 0; type < 3; type++) {
		struct world_device *d = joined(w);
		world_up(w, d, &PLAIN);
		rejoin(w, d, type, 0, 0);
		take_accept(w, d);
		world_pass(w, 10000);
		rejoin(w, d, 1, 40, 0);
		assert_outcome(w, DELIVERED, R(REASON_NONE));
		world_ack_ok(w); /* not heard */
		world_up(w, d, &(struct up){.f_port = 10, .data_hex = "01", .dr = 5, .fopts_hex = "0b01"});
		assert_outcome(w, DELIVERED, R(REASON_NONE));
		struct ns_session s = world_session(d);
		assert_false(s.rekey.present);
		assert_false(s.rekey_before[0].present);
		assert_memory_equal(&s.s_nwk_s_int_key, &d->end.keys.s_nwk_s_int, 16);
	}
}

/* It is in a session that was offered, and a rejoin-request is the first that is heard of it: that key signs it, and
 * the count begins anew. The session is entered as by an uplink, and the answer is an offer beside it.
 * spec: TS001-1.1 §6.2.4.1 */
static void again_before_an_uplink(void **state)
{
	struct world *w = *state;
	for (uint8_t type = 0; type <= NS_REKEY_JOIN; type++) {
		struct world_device *d = joined(w);
		world_enqueue(w, d, 7, true, "aabb");
		world_up(w, d, &PLAIN);
		world_hear(w, d, 0, 0);
		world_ack_ok(w);
		size_t joins = world_count(w, KIND(JOIN));
		if (type == NS_REKEY_JOIN) {
			world_join(w, d);
			assert_true(world_session(d).rekey.present);
		} else {
			rejoin(w, d, type, 9, 0);
			take_accept(w, d);
			assert_int_equal(world_count(w, KIND(JOIN)), joins);
		}
		world_pass(w, 10000);
		struct lw_key key = d->end.keys.s_nwk_s_int;
		uint8_t key_id[16];
		memcpy(key_id, world_session(d).rekey.session_key_id, 16);
		rejoin(w, d, 0, 0, 0);
		assert_outcome(w, DELIVERED, R(REASON_NONE));
		assert_int_equal(world_count(w, KIND(JOIN)), joins + 1);
		assert_memory_equal(world_last(w, KIND(JOIN))->join->session_key_id.data, key_id, 16);
		assert_int_equal(d->queue[0].item.state, NS_ITEM_QUEUED);
		struct ns_session s = world_session(d);
		assert_memory_equal(&s.s_nwk_s_int_key, &key, 16);
		assert_int_equal(s.rj_count0, 1);
		assert_true(s.rekey.present);
		/* the answer is not heard: the count goes on, and so does the session */
		world_ack_ok(w);
		world_pass(w, 10000);
		rejoin(w, d, 0, 0, 0);
		assert_outcome(w, DROPPED, R(DEVNONCE_REUSED));
		rejoin(w, d, 0, 1, 0);
		take_accept(w, d);
		assert_int_equal(world_count(w, KIND(JOIN)), joins + 1);
		world_up(w, d, &(struct up){.f_port = 10, .data_hex = "01", .dr = 5, .fopts_hex = "0b01"});
		assert_outcome(w, DELIVERED, R(REASON_NONE));
		assert_int_equal(world_count(w, KIND(JOIN)), joins + 2);
	}
}

/* Someone else writes the session in this moment: it is entered once more, or has been by an uplink. */
static void again_with_a_conflict(void **state)
{
	struct world *w = *state;
	struct up up = {.f_port = 10, .data_hex = "01", .dr = 5, .fopts_hex = "0b01"};
	for (unsigned by_uplink = 0; by_uplink < 2; by_uplink++) {
		struct world_device *d = joined(w);
		world_up(w, d, &PLAIN);
		rejoin(w, d, 2, 0, 0);
		take_accept(w, d);
		world_pass(w, 10000);
		struct ns_session before = world_session(d);
		struct ns_session after = before;
		if (by_uplink) {
			world_up(w, d, &up);
			after = world_session(d);
			assert_false(after.rekey.present);
			world_pass(w, 10000);
			world_session_put(d, &before);
		}
		size_t joins = world_count(w, KIND(JOIN));
		w->conflicts = 1;
		w->meanwhile = &after;
		struct lw_key key = d->end.keys.s_nwk_s_int;
		rejoin(w, d, 0, 0, 0);
		assert_outcome(w, DELIVERED, R(REASON_NONE));
		assert_int_equal(w->conflicts, 0);
		w->meanwhile = NULL;
		assert_int_equal(world_count(w, KIND(JOIN)), joins + !by_uplink);
		struct ns_session s = world_session(d);
		assert_memory_equal(&s.s_nwk_s_int_key, &key, 16);
		assert_int_equal(s.f_cnt_up, by_uplink);
		assert_int_equal(s.rj_count0, 1);
		take_accept(w, d);
		world_up(w, d, &up);
		assert_outcome(w, DELIVERED, R(REASON_NONE));
		assert_false(world_session(d).rekey.present);
	}
	/* the device has joined elsewhere meanwhile: that session is not the one */
	struct world_device *d = joined(w);
	world_up(w, d, &PLAIN);
	struct ns_session other = world_session(d);
	rejoin(w, d, 2, 0, 0);
	take_accept(w, d);
	world_pass(w, 10000);
	w->conflicts = 1;
	w->meanwhile = &other;
	rejoin(w, d, 0, 0, 0);
	assert_outcome(w, DROPPED, R(CONFLICT));
	w->meanwhile = NULL;
}

#define TEST(x) cmocka_unit_test_setup_teardown(x, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(type_0),
		TEST(type_2),
		TEST(type_2_with_answers_due),
		TEST(with_envelope),
		TEST(type_1),
		TEST(windows),
		TEST(refused),
		TEST(gateway_filtering),
		TEST(queue_over_rejoin),
		TEST(offers),
		TEST(type_1_after_silence),
		TEST(again_before_an_uplink),
		TEST(again_with_a_conflict),
	};
	return cmocka_run_group_tests_name("network-server rejoin", tests, NULL, NULL);
}
