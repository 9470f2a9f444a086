/* Uplinks of activated devices. Names in brackets: scenarios of reference-system.md 8.1 (v4) and 8.3 (v3).
 * spec: TS001-1.0.4 §4.3 */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/time.h"
#include "world.h"

#define DELIVERED LONGWAVE__V1__OUTCOME__DELIVERED
#define DROPPED LONGWAVE__V1__OUTCOME__DROPPED
#define DUPLICATE LONGWAVE__V1__OUTCOME__DUPLICATE
#define R(x) LONGWAVE__V1__REASON__##x
#define KIND(x) LONGWAVE__NS__V1__EVENT__KIND_##x

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

/* [test_lorawan_10_uplink: unconfirmed uplink with payload] [LW10Uplink: unconfirmed with payload]
 * spec: TS001-1.0.4 §4.3
 * rows: up-unconfirmed */
static void unconfirmed_with_payload(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_abp(w, d, "us915_0");
	d->rec.profile.region = LW_REGION_US915;
	struct air air = world_air();
	struct frame f;
	air.region = "us915_0";
	air.hz = 902300000;
	air.dr = 3;
	device_frame_up(&d->end, &(struct up){.f_port = 10, .data_hex = "0102"}, &f);
	world_receive(w, &air, &f);
	assert_int_equal(w->n_events, 0); /* the window is open */
	world_pass(w, 200);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(w->n_events, 1);
	const Longwave__Ns__V1__Event *e = world_last(w, KIND(UPLINK));
	assert_int_equal(e->uplink->f_cnt, 0);
	assert_int_equal(e->uplink->f_port, 10);
	assert_int_equal(e->uplink->dr, 3);
	assert_false(e->uplink->confirmed);
	assert_int_equal(e->uplink->frm_payload.len, 2);
	assert_int_equal(e->uplink->n_rx_info, 1);
	assert_string_equal(e->region_config_id, "us915_0");
	assert_int_equal(world_session(d).f_cnt_up, 1);
	assert_int_equal(w->n_journal_done, 1);
	world_pass(w, 3000);
	/* all that there is to say: the sub-band, in one command */
	assert_int_equal(w->n_downs, 1);
	assert_string_equal(world_hear(w, d, 0, 0).fopts_hex, "0330010051");
}

/* [GatewayFiltering and deduplication]: three gateways, one event, strongest first, one journal entry each. */
static void three_gateways_one_event(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	world_gateway(w, 2);
	world_gateway(w, 3);
	world_abp(w, d, "eu868");
	device_frame_up(&d->end, &(struct up){.f_port = 10, .data_hex = "01"}, &f);
	for (unsigned g = 0; g < 3; g++) {
		air.gateway = g;
		air.snr = g == 1 ? 9.5 : -3.0 - g;
		air.json = g == 2;
		world_receive(w, &air, &f);
		world_pass(w, 30);
	}
	world_pass(w, 300);
	assert_int_equal(world_count(w, KIND(UPLINK)), 1);
	const Longwave__Ns__V1__Event *e = world_last(w, KIND(UPLINK));
	assert_int_equal(e->uplink->n_rx_info, 3);
	assert_string_equal(e->uplink->rx_info[0]->gateway_id, "0000000000000002");
	assert_string_equal(e->uplink->rx_info[0]->metadata[0]->value, "eu868");
	assert_non_null(e->uplink->rx_info[2]->ns_time);
	assert_int_equal(w->n_journal_done, 3);
	assert_int_equal(world_last_uplink(w)->n_rx_info, 3);
	/* A straggler is counted, not processed. */
	world_gateway(w, 4);
	air.gateway = 3;
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_int_equal(world_count(w, KIND(UPLINK)), 1);
	assert_outcome(w, DUPLICATE, R(LATE_COPY));
	assert_int_equal(w->n_journal_done, 4);
}

/* The broker delivers one reception twice: one rx_info. */
static void redelivered_reception_counts_once(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	world_abp(w, d, "eu868");
	device_frame_up(&d->end, &(struct up){.f_port = 10, .data_hex = "01"}, &f);
	struct lw_rng rng = w->rng;
	world_receive(w, &air, &f);
	w->rng = rng; /* the same uplink_id */
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_int_equal(world_last(w, KIND(UPLINK))->uplink->n_rx_info, 1);
	assert_int_equal(w->n_journal_done, 2);
}

/* [test_lorawan_10_uplink: confirmed uplink with payload]
 * spec: TS001-1.0.4 §4.3.1.2
 * rows: up-confirmed */
static void confirmed_is_acknowledged(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_join(w, d);
	world_up(w, d, &(struct up){.confirmed = true, .f_port = 10, .data_hex = "0102"});
	assert_int_equal(w->n_downs, 2);
	const Gw__DownlinkFrame *m = world_last_down(w);
	assert_int_equal(m->n_items, 2);
	assert_int_equal(m->items[0]->tx_info->frequency, 868100000);
	assert_int_equal(m->items[0]->tx_info->power, 16);
	assert_int_equal(m->items[0]->tx_info->timing->delay->delay->seconds, 1);
	assert_int_equal(m->items[1]->tx_info->frequency, 869525000);
	assert_int_equal(m->items[1]->tx_info->power, 29);
	assert_int_equal(m->items[1]->tx_info->timing->delay->delay->seconds, 2);
	struct heard h = world_hear(w, d, 0, 0);
	assert_true(h.ack);
	assert_false(h.confirmed);
	assert_int_equal(h.f_port, LW_FPORT_NONE);
	world_ack_ok(w);
	assert_int_equal(world_last_downlink_record(w)->outcome, DELIVERED);
	assert_int_equal(world_session(d).n_f_cnt_down, 1);
	/* an acknowledgement is nobody's queue item */
	assert_int_equal(world_count(w, KIND(TX_ACK)), 0);
}

/* [test_lorawan_10_uplink: just FPort; confirmed without payload]
 * spec: TS001-1.0.4 §4.3.2
 * rows: up-fport up-confirmed-empty */
static void frames_without_payload(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_join(w, d);
	world_up(w, d, &(struct up){.f_port = 1});
	assert_int_equal(world_last(w, KIND(UPLINK))->uplink->f_port, 1);
	assert_int_equal(world_last(w, KIND(UPLINK))->uplink->frm_payload.len, 0);
	world_up(w, d, &(struct up){.confirmed = true, .f_port = LW_FPORT_NONE});
	assert_int_equal(world_count(w, KIND(UPLINK)), 2);
	assert_true(world_hear(w, d, 0, 0).ack);
}

/* [test_lorawan_10_errors: did not increment] plus what the reference leaves out: it is acknowledged again.
 * spec: TS001-1.0.4 §4.3.1.2
 * rows: fcnt-same */
static void retransmission_is_acknowledged_not_delivered(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	struct up up = {.confirmed = true, .f_port = 10, .data_hex = "0102"};
	world_join(w, d);
	world_up(w, d, &up);
	world_ack_ok(w);
	assert_int_equal(w->n_downs, 2);
	device_frame_again(&d->end, &up, &f);
	world_pass(w, 2500);
	air.context_hex = "0a0b0c0d";
	world_receive(w, &air, &f);
	world_pass(w, 400);
	assert_outcome(w, DUPLICATE, R(FCNT_RETRANSMISSION));
	assert_int_equal(world_count(w, KIND(UPLINK)), 1);
	assert_int_equal(world_last(w, KIND(LOG))->log->code, 7);
	assert_int_equal(w->n_downs, 3);
	struct heard h = world_hear(w, d, 0, 1);
	assert_true(h.ack);
	assert_int_equal(world_last_down(w)->items[0]->tx_info->context.data[0], 0x0a);
	assert_int_equal(world_session(d).f_cnt_up, 1);
}

/* Even right after the window: the same gateway with another counter has heard the device again. */
static void quick_repeat_is_no_late_copy(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	world_join(w, d);
	device_frame_up(&d->end, &(struct up){.confirmed = true, .f_port = 10}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
	air.context_hex = "0a0b0c0d";
	world_receive(w, &air, &f);
	world_pass(w, 400);
	assert_outcome(w, DUPLICATE, R(FCNT_RETRANSMISSION));
}

/* Two network-servers may take a device's uplinks in another order than it sent them: each is delivered, once. */
static void late_counter_is_taken_once(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f[4];
	world_join(w, d);
	for (size_t i = 0; i < 4; i++)
		device_frame_up(&d->end, &(struct up){.confirmed = true, .f_port = 10}, &f[i]);
	world_receive(w, &air, &f[0]);
	world_pass(w, 2000);
	world_ack_ok(w);
	air.context_hex = "00000003";
	world_receive(w, &air, &f[3]);
	world_pass(w, 2000);
	world_ack_ok(w);
	size_t events = w->n_events, downs = w->n_downs;
	struct ns_session before = world_session(d);
	/* Alone it is what it looks like. */
	air.context_hex = "00000001";
	world_receive(w, &air, &f[1]);
	world_pass(w, 2000);
	assert_outcome(w, DROPPED, R(FCNT_REPLAY));
	ns_flows_set_replicated(w->flows);
	air.context_hex = "00000002";
	world_receive(w, &air, &f[2]);
	world_pass(w, 2000);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(world_last(w, KIND(UPLINK))->uplink->f_cnt, 2);
	assert_int_equal(w->n_downs, downs); /* nothing of it is answered */
	struct ns_session after = world_session(d);
	assert_int_equal(after.f_cnt_up, before.f_cnt_up);
	assert_int_equal(after.n_f_cnt_down, before.n_f_cnt_down);
	events = w->n_events;
	/* Once. */
	air.context_hex = "00000022";
	world_receive(w, &air, &f[2]);
	world_pass(w, 2000);
	assert_outcome(w, DROPPED, R(FCNT_REPLAY));
	air.context_hex = "00000000";
	world_receive(w, &air, &f[0]);
	world_pass(w, 2000);
	assert_outcome(w, DROPPED, R(FCNT_REPLAY));
	for (size_t i = events; i < w->n_events; i++)
		assert_int_not_equal(w->event[i]->kind_case, KIND(UPLINK));
}

/* The same in the first moments after a start, before the replicas have seen each other: the other one, to which the
 * broker handed the newer frame of an outage, has written first. */
static void late_counter_among_strangers(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f[3];
	world_join(w, d);
	w->ports.store.is_shared = true;
	for (size_t i = 0; i < 3; i++)
		device_frame_up(&d->end, &(struct up){.confirmed = true, .f_port = 10}, &f[i]);
	world_receive(w, &air, &f[0]);
	world_pass(w, 2000);
	world_ack_ok(w);
	air.context_hex = "00000002";
	world_receive(w, &air, &f[2]);
	world_pass(w, 2000);
	world_ack_ok(w);
	size_t downs = w->n_downs;
	air.context_hex = "00000001";
	world_receive(w, &air, &f[1]);
	world_pass(w, 2000);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(world_last(w, KIND(UPLINK))->uplink->f_cnt, 1);
	assert_int_equal(w->n_downs, downs);
	size_t told = world_count(w, KIND(UPLINK));
	air.context_hex = "00000011";
	world_receive(w, &air, &f[1]);
	world_pass(w, 2000);
	assert_outcome(w, DROPPED, R(FCNT_REPLAY));
	assert_int_equal(world_count(w, KIND(UPLINK)), told);
}

/* [test_lorawan_10_errors: reset] A counter that is far behind is refused and said.
 * spec: TS001-1.0.4 §4.3.1.5
 * rows: fcnt-reset */
static void replay_is_refused(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame first;
	world_join(w, d);
	device_frame_up(&d->end, &(struct up){.confirmed = true, .f_port = 10}, &first);
	world_receive(w, &air, &first);
	world_pass(w, 2000);
	world_ack_ok(w);
	world_up(w, d, &(struct up){.f_port = 10});
	world_up(w, d, &(struct up){.f_port = 10});
	struct ns_session before = world_session(d);
	size_t downs = w->n_downs;
	air.context_hex = "99999999";
	world_pass(w, 3000);
	world_receive(w, &air, &first);
	world_pass(w, 400);
	assert_outcome(w, DROPPED, R(FCNT_REPLAY));
	assert_int_equal(world_last(w, KIND(LOG))->log->code, 5);
	assert_int_equal(w->n_downs, downs);
	struct ns_session after = world_session(d);
	assert_memory_equal(&before, &after, sizeof(before));
}

/* [test_lorawan_10_errors: invalid mic]
 * spec: TS001-1.0.4 §4.4
 * rows: mic */
static void wrong_mic(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_join(w, d);
	size_t events = w->n_events;
	world_up(w, d, &(struct up){.f_port = 10, .wrong_mic = true});
	assert_outcome(w, DROPPED, R(MIC_MISMATCH));
	assert_int_equal(w->n_events, events);
	assert_int_equal(world_session(d).f_cnt_up, 0);
	assert_int_equal(strlen(world_last_uplink(w)->dev_eui), 16);
}

static void unknown_device(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_abp(w, d, "eu868");
	d->end.devaddr.v ^= 1;
	world_up(w, d, &(struct up){.f_port = 10});
	assert_outcome(w, DROPPED, R(UNKNOWN_DEVICE));
	assert_string_equal(world_last_uplink(w)->dev_eui, "");
	assert_int_equal(w->n_journal_done, 1);
}

/* Another replica has joined the device, and what it said of that was lost: memory still says that nobody has the
 * address. The database is asked before the frame is refused, once for a frame. */
static void unknown_to_memory_alone(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_abp(w, d, "eu868");
	w->addresses_old = true;
	world_up(w, d, &(struct up){.f_port = 10});
	assert_outcome(w, DROPPED, R(UNKNOWN_DEVICE)); /* alone, memory is right */
	assert_int_equal(w->n_forgotten, 0);
	ns_flows_set_replicated(w->flows);
	world_up(w, d, &(struct up){.f_port = 10});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(w->n_forgotten, 1);
	d->end.devaddr.v ^= 1;
	world_up(w, d, &(struct up){.f_port = 10});
	assert_outcome(w, DROPPED, R(UNKNOWN_DEVICE));
	assert_int_equal(w->n_forgotten, 2); /* once for a frame */
}

/* The same in the first moments, before the replicas have seen each other: the database may be shared. */
static void unknown_to_memory_and_strangers(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_abp(w, d, "eu868");
	w->ports.store.is_shared = true;
	w->addresses_old = true;
	world_up(w, d, &(struct up){.f_port = 10});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(w->n_forgotten, 1);
}

/* Two devices share an address: the key decides. [session lookup] */
static void shared_address(void **state)
{
	struct world *w = *state;
	struct world_device *a = world_device(w, LW_MAC_1_0_3);
	struct world_device *b = world_device(w, LW_MAC_1_1_0);
	world_abp(w, a, "eu868");
	world_abp(w, b, "eu868");
	struct ns_session s = world_session(b);
	s.devaddr = a->end.devaddr;
	world_session_put(b, &s);
	b->end.devaddr = a->end.devaddr;
	world_up(w, b, &(struct up){.f_port = 10, .data_hex = "01"});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(world_session(b).f_cnt_up, 1);
	assert_int_equal(world_session(a).f_cnt_up, 0);
	world_up(w, a, &(struct up){.f_port = 10, .data_hex = "01"});
	assert_int_equal(world_session(a).f_cnt_up, 1);
	world_up(w, a, &(struct up){.f_port = 10, .wrong_mic = true});
	assert_outcome(w, DROPPED, R(MIC_MISMATCH));
	assert_string_equal(world_last_uplink(w)->dev_eui, ""); /* nobody can say whose it was */
}

/* [session lookup: 16-LSB rollover]
 * spec: TS001-1.0.4 §4.3.1.5 */
static void counter_wraps_16_bits(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_abp(w, d, "eu868");
	struct ns_session s = world_session(d);
	s.f_cnt_up = 65535;
	s.has_uplink = true;
	world_session_put(d, &s);
	d->end.f_cnt_up = 65535;
	world_up(w, d, &(struct up){.f_port = 10});
	world_up(w, d, &(struct up){.f_port = 10});
	assert_int_equal(world_last(w, KIND(UPLINK))->uplink->f_cnt, 65536);
	d->end.f_cnt_up += 40000;
	world_up(w, d, &(struct up){.f_port = 10});
	assert_int_equal(world_last(w, KIND(UPLINK))->uplink->f_cnt, 65537 + 40000);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
}

/* [test_lorawan_10_skip_f_cnt] [LW10RelaxFrameCounter]
 * spec: none: setting of the device
 * rows: skip-fcnt skip-fcnt-0 */
static void skip_f_cnt_check(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_abp(w, d, "eu868");
	struct ns_session s = world_session(d);
	s.f_cnt_up = 10;
	s.has_uplink = true;
	world_session_put(d, &s);
	d->end.f_cnt_up = 7;
	world_up(w, d, &(struct up){.f_port = 10});
	assert_outcome(w, DROPPED, R(FCNT_REPLAY));
	d->rec.skip_f_cnt_check = true;
	world_up(w, d, &(struct up){.f_port = 10});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(world_session(d).f_cnt_up, 9);
	d->end.f_cnt_up = 0;
	world_up(w, d, &(struct up){.f_port = 10});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(world_session(d).f_cnt_up, 1);
}

/* What a bridge says again because a broker may have lost it: counted, not delivered, no fault of the device's, whether
 * its counter is the last one or an older one, and also where counters are not checked. What was lost is delivered. */
static void said_again(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f[4];
	world_abp(w, d, "eu868");
	for (unsigned i = 0; i < 3; i++) {
		device_frame_up(&d->end, &(struct up){.f_port = 10}, &f[i]);
		world_receive(w, &air, &f[i]);
		world_pass(w, 5000);
		assert_outcome(w, DELIVERED, R(REASON_NONE));
	}
	device_frame_up(&d->end, &(struct up){.f_port = 10}, &f[3]);
	size_t events = w->n_events, ups = world_count(w, KIND(UPLINK));
	air.said_again = true;
	for (int skip = 0; skip < 2; skip++) {
		d->rec.skip_f_cnt_check = skip;
		for (unsigned i = 0; i < 3; i++) {
			world_receive(w, &air, &f[i]);
			world_pass(w, 5000);
			assert_int_equal(world_last_uplink(w)->outcome, LONGWAVE__V1__OUTCOME__DUPLICATE);
			assert_int_equal(w->n_events, events);
		}
	}
	world_receive(w, &air, &f[3]);
	world_pass(w, 5000);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(world_count(w, KIND(UPLINK)), ups + 1);
}

/* [test_lorawan_10_device_disabled]
 * spec: none: operation
 * rows: disabled */
static void disabled(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_abp(w, d, "eu868");
	d->rec.is_disabled = true;
	world_up(w, d, &(struct up){.confirmed = true, .f_port = 10});
	assert_outcome(w, DROPPED, R(DEVICE_DISABLED));
	assert_int_equal(world_session(d).f_cnt_up, 0);
	assert_int_equal(w->n_downs, 0);
}

/* [test_gateway_filtering] [GatewayFiltering: public, private same, private different]
 * spec: none: private gateways
 * rows: private-own private-foreign private-public */
static void private_gateways(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_abp(w, d, "eu868");
	w->gateway[0].is_private_up = true;
	w->gateway[0].tenant_id.b[0] = 1;
	world_up(w, d, &(struct up){.f_port = 10});
	assert_outcome(w, DROPPED, R(PRIVATE_GATEWAY));
	assert_int_equal(world_session(d).f_cnt_up, 0);
	d->rec.tenant_id.b[0] = 1;
	world_up(w, d, &(struct up){.f_port = 10});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	/* private downlink: another tenant's device may be heard, not answered */
	w->gateway[0].is_private_up = false;
	w->gateway[0].is_private_down = true;
	w->gateway[0].tenant_id.b[0] = 2;
	size_t downs = w->n_downs;
	uint32_t counter = world_session(d).n_f_cnt_down;
	world_up(w, d, &(struct up){.confirmed = true, .f_port = 10});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(w->n_downs, downs);
	assert_int_equal(world_last_downlink_record(w)->reason, R(NO_GATEWAY));
	assert_int_equal(world_session(d).n_f_cnt_down, counter);
}

static void unknown_gateway(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct frame f;
	struct air air = world_air();
	world_abp(w, d, "eu868");
	air.gateway = 3; /* id 0: not there */
	device_frame_up(&d->end, &(struct up){.f_port = 10}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(UNKNOWN_GATEWAY));
	w->cfg.allow_unknown_gateways = true;
	world_restart(w);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
}

/* Registered at another replica a moment ago: the database is asked, for every copy, and never twice for one that is
 * known then. While it is away the frame waits in the journal. */
static void gateway_made_elsewhere(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct frame f;
	struct air air = world_air();
	world_abp(w, d, "eu868");
	w->n_gateways_unseen = w->n_gateways;
	w->store_ms = 5;
	w->store_away = true;
	device_frame_up(&d->end, &(struct up){.f_port = 10}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(STORAGE_UNAVAILABLE));
	assert_int_equal(w->n_journal_retry, 1);
	assert_int_equal(w->n_journal_done, 0);
	w->store_away = false;
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(w->n_gateway_looks, 2);
	world_up(w, d, &(struct up){.f_port = 10});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(w->n_gateway_looks, 2);
	/* Strangers do not ask without end. */
	air.gateway = 3;
	for (int i = 0; i < 300; i++) {
		device_frame_up(&d->end, &(struct up){.f_port = 10}, &f);
		world_receive(w, &air, &f);
	}
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(UNKNOWN_GATEWAY));
	assert_true(w->n_gateway_looks >= 201 && w->n_gateway_looks <= 202);
}

static void other_region_configuration(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct frame f;
	struct air air = world_air();
	d->rec.profile.region = LW_REGION_US915;
	world_abp(w, d, "us915_0");
	air.region = "us915_1";
	air.hz = 903900000;
	air.dr = 3;
	device_frame_up(&d->end, &(struct up){.f_port = 10}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(WRONG_REGION));
}

/* [test_lorawan_11_errors: invalid frequency, invalid data-rate]
 * spec: TS001-1.1 §4.4.2
 * rows: mic-frequency mic-rate */
static void mic_of_11_covers_rate_and_channel(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_1_0);
	struct frame f;
	struct air air = world_air();
	world_join(w, d);
	air.hz = 868300000;
	device_frame_up(&d->end, &(struct up){.f_port = 10, .dr = 5, .channel = 0}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(MIC_MISMATCH));
	device_frame_up(&d->end, &(struct up){.f_port = 10, .dr = 4, .channel = 1}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(MIC_MISMATCH));
	device_frame_up(&d->end, &(struct up){.f_port = 10, .dr = 5, .channel = 1}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	/* a channel of the join-accept's list */
	air.hz = 867500000;
	device_frame_up(&d->end, &(struct up){.f_port = 10, .dr = 5, .channel = 5}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
}

/* Malformed.
 * spec: TS001-1.0.4 §4 */
static void malformed(void **state)
{
	struct world *w = *state;
	static const struct {
		const char *hex;
		Longwave__V1__Reason reason;
	} v[] = {
		{"40010203", R(MALFORMED)},
		{"c00000000038cb51cafc42a7020000281fc7e2", R(UNKNOWN_DEVICE)},
		{"600102030400000001020304", R(UNSUPPORTED_FRAME_TYPE)},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct frame f;
		struct air air = world_air();
		f.n = strlen(v[i].hex) / 2;
		for (size_t k = 0; k < f.n; k++) {
			char byte[3] = {v[i].hex[2 * k], v[i].hex[2 * k + 1], 0};
			f.b[k] = (uint8_t)strtoul(byte, NULL, 16);
		}
		world_receive(w, &air, &f);
		world_pass(w, 300);
		assert_outcome(w, DROPPED, v[i].reason);
	}
	/* not even a message */
	struct ns_inbox in = {.region = w->regions[0], .journal_position = 77};
	size_t done = w->n_journal_done;
	static const char *garbage[] = {"", "\xff\xff\xff", "{\"gatewayId\":", "{}",
					("\x0a\x05"
					 "abc")};
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(ns_flows_uplink(w->flows, &in, lw_span_str(garbage[i])), 0);
	world_pass(w, 300);
	assert_int_equal(w->n_journal_done, done + 5);
	assert_int_equal(w->outcomes[R(MALFORMED)], 1 + 5);
	assert_int_equal(w->n_events, 0);
}

/* A conflict of the session's version is met by starting over from what is there. */
static void conflict_is_retried(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_abp(w, d, "eu868");
	w->conflicts = 2;
	world_up(w, d, &(struct up){.f_port = 10, .data_hex = "01"});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(world_count(w, KIND(UPLINK)), 1);
	w->conflicts = 100;
	world_up(w, d, &(struct up){.f_port = 10, .data_hex = "01"});
	assert_outcome(w, DROPPED, R(CONFLICT));
	assert_int_equal(world_count(w, KIND(UPLINK)), 1);
	w->conflicts = 0;
}

/* Nothing is said to be done while the store is away, and nothing leaves. */
static void store_away(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_join(w, d);
	size_t done = w->n_journal_done;
	size_t downs = w->n_downs;
	w->store_away = true;
	world_up(w, d, &(struct up){.confirmed = true, .f_port = 10});
	assert_outcome(w, DROPPED, R(STORAGE_UNAVAILABLE));
	assert_int_equal(w->n_journal_done, done);
	assert_int_equal(w->n_journal_retry, 1);
	assert_int_equal(w->n_downs, downs);
}

/* Replayed after a restart: what was taken is not delivered again, what was not is. */
static void journal_replay(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct frame taken, fresh;
	struct air air = world_air();
	world_join(w, d);
	device_frame_up(&d->end, &(struct up){.f_port = 10}, &taken);
	world_receive(w, &air, &taken);
	world_pass(w, 400);
	device_frame_up(&d->end, &(struct up){.confirmed = true, .f_port = 10}, &fresh);
	size_t downs = w->n_downs;
	size_t logs = world_count(w, KIND(LOG));
	world_restart(w);
	air.replay = true;
	world_receive(w, &air, &taken);
	world_receive(w, &air, &fresh);
	world_pass(w, 5000);
	assert_int_equal(world_count(w, KIND(UPLINK)), 2);
	assert_int_equal(world_count(w, KIND(LOG)), logs);
	assert_int_equal(w->n_downs, downs + 1);
}

/* Frames of one device keep their order although the store takes its time. */
static void order_per_device(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	world_abp(w, d, "eu868");
	w->store_ms = 150;
	for (unsigned i = 0; i < 5; i++) {
		struct frame f;
		device_frame_up(&d->end, &(struct up){.f_port = 10}, &f);
		world_receive(w, &air, &f);
	}
	for (unsigned i = 0; i < 40; i++)
		world_pass(w, 100);
	assert_int_equal(world_count(w, KIND(UPLINK)), 5);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(w->event[i]->uplink->f_cnt, i);
	assert_int_equal(ns_flows_in_flight(w->flows), 0);
}

/* The database was away for one frame: the device's next one waits behind it, or it would be refused as old. */
static void order_over_an_absent_store(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame first, second, third;
	world_abp(w, d, "eu868");
	device_frame_up(&d->end, &(struct up){.f_port = 10}, &first);
	device_frame_up(&d->end, &(struct up){.f_port = 10}, &second);
	device_frame_up(&d->end, &(struct up){.f_port = 10}, &third);
	w->store_away = true;
	world_receive(w, &air, &first);
	uint64_t position = w->next_position;
	world_pass(w, 400);
	w->store_away = false;
	world_receive(w, &air, &second);
	world_pass(w, 400);
	assert_outcome(w, DROPPED, R(STORAGE_UNAVAILABLE));
	assert_int_equal(w->n_journal_retry, 2);
	assert_int_equal(world_count(w, KIND(UPLINK)), 0);
	/* another try, as the journal's reader makes it */
	air.replay = true;
	for (uint64_t i = 0; i < 2; i++) {
		w->next_position = position + i - 1;
		world_receive(w, &air, i == 0 ? &first : &second);
		world_pass(w, 400);
		assert_outcome(w, DELIVERED, R(REASON_NONE));
	}
	air.replay = false;
	world_receive(w, &air, &third);
	world_pass(w, 400);
	assert_int_equal(world_count(w, KIND(UPLINK)), 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(w->event[i]->uplink->f_cnt, i);
	assert_int_equal(w->n_journal_retry, 2);
}

static void full_says_so(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	struct ns_inbox in = {.region = w->regions[0]};
	world_abp(w, d, "eu868");
	w->cfg.max_in_flight = 4;
	world_restart(w);
	for (unsigned i = 0; i < 4; i++) {
		device_frame_up(&d->end, &(struct up){.f_port = 10}, &f);
		world_receive(w, &air, &f);
	}
	assert_true(ns_flows_uplink(w->flows, &in, lw_span("x", 1)) < 0);
	world_pass(w, 300);
	assert_int_equal(ns_flows_uplink(w->flows, &in, lw_span("x", 1)), 0);
	world_pass(w, 300);
}

/* Location.
 * spec: none: operation */
static void location(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_abp(w, d, "eu868");
	d->rec.profile.wants_position = true;
	world_up(w, d, &(struct up){.f_port = 10});
	assert_int_equal(world_count(w, KIND(LOCATION)), 0); /* nothing can be said */
	w->geo_answers = true;
	world_up(w, d, &(struct up){.f_port = 10});
	assert_int_equal(world_count(w, KIND(LOCATION)), 1);
	assert_true(world_last(w, KIND(LOCATION))->location->location->latitude > 52);
	assert_string_equal(world_last(w, KIND(LOCATION))->location->method, "rssi");
	assert_string_equal(world_last(w, KIND(LOCATION))->deduplication_id,
			    world_last(w, KIND(UPLINK))->deduplication_id);
	assert_int_equal(ns_flows_in_flight(w->flows), 0);
}

/* Ends while frames are under way: nothing is called any more, nothing leaks (sanitizers). */
static void stops_in_the_middle(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	world_join(w, d);
	world_up(w, d, &(struct up){.confirmed = true, .f_port = 10}); /* waits for a tx-ack */
	device_frame_up(&d->end, &(struct up){.confirmed = true, .f_port = 10}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 250); /* waits for the downlink's delay */
	device_frame_up(&d->end, &(struct up){.f_port = 10}, &f);
	world_receive(w, &air, &f); /* waits for the window */
	size_t done = w->n_journal_done;
	world_restart(w);
	assert_int_equal(w->n_journal_done, done);
	world_pass(w, 60000);
}

static Gw__DownlinkTxInfo *only_tx_info(const struct world *w)
{
	const Gw__DownlinkFrame *m = world_last_down(w);
	assert_int_equal(m->n_items, 1);
	return m->items[0]->tx_info;
}

/* [Proprietary: downlink iPol true; iPol false] As it was handed in, on that gateway alone, at any region's rates.
 * spec: TS001-1.0.4 §4.2.1: proprietary
 * rows: proprietary-down */
static void proprietary_down(void **state)
{
	struct world *w = *state;
	uint32_t id = 0;
	struct ns_proprietary p = {.gateway_id = world_gateway(w, 2),
				   .rc = ns_region_config_find("eu868"),
				   .mod = {.kind = LW_MOD_LORA, .bw_hz = 250000, .sf = 6, .cr = LW_CR_4_8},
				   .hz = 869525000,
				   .payload = lw_span("hello", 5)};
	for (int v = 0; v < 2; v++) {
		p.plain_polarity = v == 1;
		p.power_dbm = v == 1 ? 10 : 0;
		size_t downs = w->n_downs;
		assert_int_equal(ns_flows_send_proprietary(w->flows, &p, &id), 0);
		assert_int_equal(w->n_downs, downs + 1);
		const Gw__DownlinkFrame *m = world_last_down(w);
		const Gw__DownlinkTxInfo *t = only_tx_info(w);
		assert_int_equal(m->downlink_id, id);
		assert_string_equal(m->gateway_id, "0000000000000002");
		assert_int_equal(m->items[0]->phy_payload.len, 6);
		assert_memory_equal(m->items[0]->phy_payload.data, "\xe0hello", 6);
		assert_int_equal(t->frequency, 869525000);
		assert_int_equal(t->power, v == 1 ? 10 : 29);
		assert_int_equal(t->timing->parameters_case, GW__TIMING__PARAMETERS_IMMEDIATELY);
		assert_int_equal(t->modulation->lora->spreading_factor, 6);
		assert_int_equal(t->modulation->lora->bandwidth, 250000);
		assert_int_equal(t->modulation->lora->code_rate, GW__CODE_RATE__CR_4_8);
		assert_int_equal(t->modulation->lora->polarization_inversion, v == 0);
		assert_int_equal(world_last_downlink_record(w)->f_type, COMMON__FTYPE__PROPRIETARY);
		assert_string_equal(world_last_downlink_record(w)->dev_eui, "");
		world_ack_ok(w);
		assert_int_equal(world_last_downlink_record(w)->outcome, DELIVERED);
	}
	/* FSK, at a GPS time */
	p.mod = (struct lw_modulation){.kind = LW_MOD_FSK, .bitrate_bps = 50000};
	p.gps_ns = (lw_gps_from_unix_ns(rt_loop_now_ns(w->loop)) / LW_NS_PER_S + 20) * LW_NS_PER_S + 7;
	assert_int_equal(ns_flows_send_proprietary(w->flows, &p, &id), 0);
	assert_int_equal(only_tx_info(w)->timing->parameters_case, GW__TIMING__PARAMETERS_GPS_EPOCH);
	assert_int_equal(only_tx_info(w)->timing->gps_epoch->time_since_gps_epoch->nanos, 7);
	assert_int_equal(only_tx_info(w)->modulation->fsk->datarate, 50000);
	/* refused: nobody's counter, nobody's event, in the gateway's log */
	size_t events = w->n_events;
	world_ack(w, (const char *const[]){"TOO_LATE", NULL});
	assert_int_equal(w->n_events, events);
	assert_int_equal(world_last_downlink_record(w)->reason, R(TOO_LATE));
	assert_string_equal(world_last_downlink_record(w)->gateway_id, "0000000000000002");
}

/* The region's power, or the configuration's, is what it has without one of its own, and never more than that. */
static void proprietary_down_power(void **state)
{
	struct world *w = *state;
	struct ns_region_config weak = *ns_region_config_find("eu868");
	weak.downlink_tx_power_dbm = 10;
	struct ns_proprietary p = {.gateway_id = world_gateway(w, 2),
				   .mod = {.kind = LW_MOD_LORA, .bw_hz = 125000, .sf = 7},
				   .payload = lw_span("x", 1)};
	const struct {
		const struct ns_region_config *rc;
		uint32_t hz;
		int8_t asked, sent;
	} v[] = {
		{ns_region_config_find("eu868"), 868100000, 0, 16},
		{ns_region_config_find("eu868"), 868100000, 60, 16},
		{ns_region_config_find("eu868"), 868100000, 14, 14},
		{ns_region_config_find("eu868"), 868100000, -3, -3},
		{ns_region_config_find("eu868"), 869525000, 60, 29},
		{&weak, 869525000, 0, 10},
		{&weak, 869525000, 20, 10},
		{&weak, 869525000, 5, 5},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		uint32_t id = 0;
		p.rc = v[i].rc;
		p.hz = v[i].hz;
		p.power_dbm = v[i].asked;
		assert_int_equal(ns_flows_send_proprietary(w->flows, &p, &id), 0);
		assert_int_equal(only_tx_info(w)->power, v[i].sent);
		world_ack_ok(w);
	}
}

static void proprietary_down_refused(void **state)
{
	struct world *w = *state;
	uint32_t id = 0;
	struct ns_proprietary p = {.gateway_id = world_gateway(w, 2),
				   .mod = {.kind = LW_MOD_LORA, .bw_hz = 125000, .sf = 7},
				   .hz = 868100000,
				   .payload = lw_span("x", 1)};
	/* nobody knows where it is */
	assert_int_equal(ns_flows_send_proprietary(w->flows, &p, &id), LW_ENOTFOUND);
	p.rc = ns_region_config_find("eu868");
	p.hz = 915000000;
	assert_int_equal(ns_flows_send_proprietary(w->flows, &p, &id), LW_EINVAL);
	p.hz = 868100000;
	w->broker_away = true;
	assert_int_equal(ns_flows_send_proprietary(w->flows, &p, &id), LW_EUNAVAILABLE);
	assert_int_equal(w->n_downs, 0);
	w->broker_away = false;
	/* no answer from the gateway */
	assert_int_equal(ns_flows_send_proprietary(w->flows, &p, &id), 0);
	world_pass(w, 60000);
	assert_int_equal(world_last_downlink_record(w)->reason, R(GATEWAY_SILENT));
	/* its time */
	int64_t now_ns = lw_gps_from_unix_ns(rt_loop_now_ns(w->loop));
	p.gps_ns = now_ns - LW_NS_PER_S;
	assert_int_equal(ns_flows_send_proprietary(w->flows, &p, &id), LW_ETIMEDOUT);
	assert_int_equal(world_last_downlink_record(w)->reason, R(TOO_LATE));
	p.gps_ns = now_ns + 240 * LW_NS_PER_S;
	assert_int_equal(ns_flows_send_proprietary(w->flows, &p, &id), LW_ERANGE);
	assert_int_equal(world_last_downlink_record(w)->reason, R(TOO_EARLY));
	assert_int_equal(w->n_downs, 1);
	p.gps_ns = now_ns + 239 * LW_NS_PER_S;
	assert_int_equal(ns_flows_send_proprietary(w->flows, &p, &id), 0);
	assert_int_equal(w->n_events, 0);
}

/* Where the duty cycle counts: 250 bytes of SF12 are nine seconds of the hour's 36, and longer than a dwell time. */
static void proprietary_down_enforced(void **state)
{
	struct world *w = *state;
	struct ns_region_config dwell = *ns_region_config_find("eu868");
	const struct ns_region_config *enforce[2] = {ns_region_config_find("eu868"), &dwell};
	static const uint8_t bytes[250];
	uint32_t id = 0;
	dwell.dwell_time_400ms = true;
	w->cfg.enforce = enforce;
	w->cfg.n_enforce = 2;
	world_restart(w);
	struct ns_proprietary p = {.gateway_id = world_gateway(w, 2),
				   .rc = &dwell,
				   .mod = {.kind = LW_MOD_LORA, .bw_hz = 125000, .sf = 12},
				   .hz = 868100000,
				   .payload = lw_span(bytes, sizeof(bytes))};
	assert_int_equal(ns_flows_send_proprietary(w->flows, &p, &id), LW_EBIG);
	p.rc = enforce[0];
	unsigned sent = 0;
	int err;
	while ((err = ns_flows_send_proprietary(w->flows, &p, &id)) == 0 && sent++ < 9) {
		world_ack_ok(w);
		world_pass(w, 20000);
	}
	assert_int_equal(err, LW_EEXHAUSTED);
	assert_int_equal(sent, 3);
	/* Something else is on the air at that time. */
	p.hz = 869525000;
	p.gps_ns = lw_gps_from_unix_ns(rt_loop_now_ns(w->loop)) + 30 * LW_NS_PER_S;
	assert_int_equal(ns_flows_send_proprietary(w->flows, &p, &id), 0);
	assert_int_equal(ns_flows_send_proprietary(w->flows, &p, &id), LW_EAGAIN);
}

/* [Proprietary: uplink] Passed on once, with all receptions, whatever its data rate.
 * spec: TS001-1.0.4 §4.2.1: proprietary
 * rows: proprietary */
static void proprietary(void **state)
{
	struct world *w = *state;
	struct air air = world_air();
	struct frame f = {.b = {0xE0, 1, 2, 3, 4, 5, 6}, .n = 7};
	world_gateway(w, 2);
	world_receive(w, &air, &f);
	air.gateway = 1;
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_int_equal(w->n_events, 1);
	const Longwave__Ns__V1__Event *e = world_last(w, KIND(PROPRIETARY));
	assert_string_equal(e->dev_eui, "");
	assert_string_equal(e->region_config_id, "eu868");
	assert_int_equal(e->proprietary->n_rx_info, 2);
	assert_int_equal(e->proprietary->mac_payload.len, 2);
	assert_memory_equal(e->proprietary->mac_payload.data, "\1\2", 2);
	assert_memory_equal(e->proprietary->mic.data, "\3\4\5\6", 4);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(world_last_uplink(w)->f_type, COMMON__FTYPE__PROPRIETARY);
	assert_int_equal(w->n_journal_done, 2);
	/* said again by a bridge: known by its receptions; the same bytes sent anew are another frame */
	world_pass(w, 30000);
	air.said_again = true;
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_int_equal(w->n_events, 1);
	assert_outcome(w, DUPLICATE, R(LATE_COPY));
	air.context_hex = "0badcafe";
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_int_equal(w->n_events, 2);
	air.said_again = false;
	air.context_hex = world_air().context_hex;
	/* the store away: kept in the journal */
	w->store_away = true;
	f.b[1] = 9;
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_int_equal(w->n_journal_retry, 1);
}

#define TEST(x) cmocka_unit_test_setup_teardown(x, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(proprietary_down),
		TEST(proprietary_down_power),
		TEST(proprietary_down_refused),
		TEST(proprietary_down_enforced),
		TEST(proprietary),
		TEST(unconfirmed_with_payload),
		TEST(three_gateways_one_event),
		TEST(redelivered_reception_counts_once),
		TEST(confirmed_is_acknowledged),
		TEST(frames_without_payload),
		TEST(retransmission_is_acknowledged_not_delivered),
		TEST(quick_repeat_is_no_late_copy),
		TEST(late_counter_is_taken_once),
		TEST(late_counter_among_strangers),
		TEST(replay_is_refused),
		TEST(wrong_mic),
		TEST(unknown_device),
		TEST(unknown_to_memory_alone),
		TEST(unknown_to_memory_and_strangers),
		TEST(shared_address),
		TEST(counter_wraps_16_bits),
		TEST(skip_f_cnt_check),
		TEST(said_again),
		TEST(disabled),
		TEST(private_gateways),
		TEST(unknown_gateway),
		TEST(gateway_made_elsewhere),
		TEST(other_region_configuration),
		TEST(mic_of_11_covers_rate_and_channel),
		TEST(malformed),
		TEST(conflict_is_retried),
		TEST(store_away),
		TEST(journal_replay),
		TEST(order_per_device),
		TEST(order_over_an_absent_store),
		TEST(full_says_so),
		TEST(location),
		TEST(stops_in_the_middle),
	};
	return cmocka_run_group_tests_name("network-server uplink", tests, NULL, NULL);
}
