/* Class B: beacon lock, ping slots, timeouts. Names in brackets: scenarios of reference-system.md 8.1 (v4), 8.2, 8.3.
 * spec: TS001-1.0.4 §9.3.1 */
#include <string.h>

#include "common/base/time.h"
#include "network-server/domain/class_b.h"
#include "world.h"

#define R(x) LONGWAVE__V1__REASON__##x
#define KIND(x) LONGWAVE__NS__V1__EVENT__KIND_##x

static const struct up PLAIN = {.f_port = 10, .data_hex = "01"};
static const struct up WITH_ACK = {.f_port = 10, .data_hex = "01", .ack = true};

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

/* Joined, with the network's ping-slot channel, one ping slot in 2^periodicity seconds. */
static struct world_device *device_b(struct world *w, uint8_t periodicity)
{
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	d->rec.profile.supports_class_b = true;
	d->rec.profile.ping_slot_periodicity = periodicity;
	d->rec.profile.ping_slot_dr = 3;
	d->rec.profile.class_b_timeout_s = 3;
	world_join(w, d);
	return d;
}

static void lock(struct world *w, struct world_device *d)
{
	d->end.beacon_locked = true;
	world_up(w, d, &PLAIN);
	world_pass(w, 5000);
	assert_int_equal(world_session(d).enabled_class, LW_CLASS_B);
}

static int64_t gps_now(const struct world *w)
{
	return lw_gps_from_unix_ns(rt_loop_now_ns(w->loop));
}

/* When the last downlink is to start, nanoseconds of GPS time. */
static int64_t at(const struct world *w)
{
	const Gw__Timing *t = world_last_down(w)->items[0]->tx_info->timing;
	assert_int_equal(t->parameters_case, GW__TIMING__PARAMETERS_GPS_EPOCH);
	return t->gps_epoch->time_since_gps_epoch->seconds * LW_NS_PER_S + t->gps_epoch->time_since_gps_epoch->nanos;
}

/* [Class B: beacon start, ping offset, next ping slot] Rand = AES(0, beacon time | DevAddr | 0…), offset mod period.
 * spec: TS001-1.0.4 §11.2 */
static void slots(void **state)
{
	struct world *w = *state;
	struct lw_devaddr addr = {.v = 0x01020304};
	const int64_t beacon = INT64_C(1398600064) * LW_NS_PER_S; /* 128 * 10926563 */
	assert_int_equal(ns_beacon_start(beacon), beacon);
	assert_int_equal(ns_beacon_start(beacon + 127 * LW_NS_PER_S), beacon);
	for (unsigned nb = 1; nb <= 128; nb *= 2) {
		unsigned offset = ns_ping_offset(w->kc, 1398600064, addr, nb);
		assert_true(offset < 4096 / nb);
		int64_t first = beacon + 2120 * LW_NS_PER_MS + offset * 30 * LW_NS_PER_MS;
		assert_int_equal(ns_next_ping_slot(w->kc, beacon, addr, nb), first);
		assert_int_equal(ns_next_ping_slot(w->kc, first, addr, nb), first);
		if (nb > 1)
			assert_int_equal(ns_next_ping_slot(w->kc, first + 1, addr, nb),
					 first + 4096 / nb * 30 * LW_NS_PER_MS);
		/* after the last one: in the next period, at its own offset */
		int64_t next = beacon + 128 * LW_NS_PER_S;
		unsigned other = ns_ping_offset(w->kc, 1398600192, addr, nb);
		assert_int_equal(ns_next_ping_slot(w->kc, first + (4096 - 4096 / nb) * 30 * LW_NS_PER_MS + 1, addr, nb),
				 next + 2120 * LW_NS_PER_MS + other * 30 * LW_NS_PER_MS);
	}
}

/* [trigger beacon locked; unlock] and not for a profile without class B
 * spec: TS001-1.0.4 §4.3.1.7
 * rows: beacon-lock beacon-unlock */
static void beacon_lock(void **state)
{
	struct world *w = *state;
	struct world_device *d = device_b(w, 0);
	assert_int_equal(world_session(d).enabled_class, LW_CLASS_A);
	lock(w, d);
	assert_true(world_session(d).beacon_locked);
	d->end.beacon_locked = false;
	world_up(w, d, &PLAIN);
	assert_int_equal(world_session(d).enabled_class, LW_CLASS_A);
	d = world_device(w, LW_MAC_1_0_3);
	world_join(w, d);
	d->end.beacon_locked = true;
	world_up(w, d, &PLAIN);
	assert_int_equal(world_session(d).enabled_class, LW_CLASS_A);
}

/* [class-b downlink; + more data; default band frequency plan]
 * spec: TS001-1.0.4 §9.3.1, §11.2
 * rows: class-b class-b-more class-b-default class-b-lock */
static void downlink(void **state)
{
	struct world *w = *state;
	struct world_device *d = device_b(w, 0);
	lock(w, d);
	struct ns_session s = world_session(d);
	size_t downs = w->n_downs;
	world_enqueue(w, d, 7, false, "01");
	world_enqueue(w, d, 7, false, "02");
	assert_int_equal(w->n_downs, downs + 1);
	const Gw__DownlinkFrame *m = world_last_down(w);
	assert_int_equal(m->n_items, 1);
	assert_int_equal(m->items[0]->tx_info->frequency, 869525000);
	assert_int_equal(m->items[0]->tx_info->modulation->lora->spreading_factor, 9);
	assert_int_equal(at(w), ns_next_ping_slot(w->kc, gps_now(w) + LW_NS_PER_S, s.devaddr, 128));
	struct heard h = world_hear(w, d, 0, s.n_f_cnt_down);
	assert_string_equal(h.data_hex, "01");
	int64_t first = at(w);
	world_ack_ok(w);
	/* the second follows, not in the same slot */
	world_pass(w, 1000);
	if (w->n_downs == downs + 1)
		fail_msg("the second item was not sent");
	assert_true(at(w) > first);
	assert_string_equal(world_hear(w, d, 0, s.n_f_cnt_down + 1).data_hex, "02");
	world_ack_ok(w);
	assert_int_equal(d->n_queue, 0);
}

/* A slot that is far away is waited for; the gateway gets it five seconds before. */
static void far_slot(void **state)
{
	struct world *w = *state;
	struct world_device *d = device_b(w, 7); /* one in 128 s */
	lock(w, d);
	struct ns_session s = world_session(d);
	size_t downs = w->n_downs;
	int64_t slot = ns_next_ping_slot(w->kc, gps_now(w) + LW_NS_PER_S, s.devaddr, 1);
	int64_t ahead = slot - gps_now(w);
	if (ahead < 6 * LW_NS_PER_S) { /* let this one pass */
		world_pass(w, 10000);
		slot = ns_next_ping_slot(w->kc, gps_now(w) + LW_NS_PER_S, s.devaddr, 1);
		ahead = slot - gps_now(w);
	}
	world_enqueue(w, d, 7, false, "01");
	world_pass(w, (uint32_t)(ahead / LW_NS_PER_MS) - 5100);
	assert_int_equal(w->n_downs, downs);
	world_pass(w, 200);
	assert_int_equal(w->n_downs, downs + 1);
	assert_int_equal(at(w), slot);
}

/* [tx_ack test_class_b: timeout_after = ping slot + class B timeout] [class B: ack/nack, confirmed]
 * spec: TS001-1.0.4 §9.3.1: CLASS_B_RESP_TIMEOUT
 * rows: class-b-timeout class-b-nack */
static void confirmed(void **state)
{
	struct world *w = *state;
	struct world_device *d = device_b(w, 0);
	lock(w, d);
	world_enqueue(w, d, 7, true, "01");
	int64_t slot = at(w);
	uint32_t f_cnt = world_session(d).n_f_cnt_down - 1;
	world_hear(w, d, 0, f_cnt);
	world_ack_ok(w);
	assert_int_equal(d->queue[0].item.timeout_after_ns, lw_gps_to_unix_ns(slot) + 3 * LW_NS_PER_S);
	world_up(w, d, &WITH_ACK);
	assert_true(world_last(w, KIND(ACK))->ack->acknowledged);
	world_pass(w, 5000);
	/* no acknowledgement: over after the timeout, without a further uplink */
	world_enqueue(w, d, 7, true, "02");
	world_ack_ok(w);
	world_pass(w, 10000);
	assert_int_equal(world_count(w, KIND(ACK)), 2);
	assert_false(world_last(w, KIND(ACK))->ack->acknowledged);
	assert_int_equal(d->n_queue, 0);
	/* refused: a later slot */
	size_t downs = w->n_downs;
	world_enqueue(w, d, 7, false, "03");
	slot = at(w);
	world_ack(w, (const char *const[]){"GPS_UNLOCKED", NULL});
	assert_int_equal(world_last(w, KIND(LOG))->log->code, 8);
	world_pass(w, 5100);
	assert_int_equal(w->n_downs, downs + 2);
	assert_true(at(w) > slot);
}

/* [no beacon lock] and before the first uplink: class A
 * spec: TS001-1.0.4 §4.3.1.7
 * rows: class-b-no-lock */
static void not_locked(void **state)
{
	struct world *w = *state;
	struct world_device *d = device_b(w, 0);
	size_t downs = w->n_downs;
	world_up(w, d, &PLAIN);
	world_pass(w, 5000);
	world_enqueue(w, d, 7, false, "01");
	world_pass(w, 10000);
	assert_int_equal(w->n_downs, downs);
	world_up(w, d, &PLAIN);
	assert_int_equal(w->n_downs, downs + 1);
	assert_non_null(world_last_down(w)->items[0]->tx_info->timing->delay);
}

/* PingSlotInfoReq changes the rhythm; a set ping-slot frequency is used.
 * spec: TS001-1.0.4 §12.1: PingSlotInfoReq */
static void ping_slot_info(void **state)
{
	struct world *w = *state;
	struct world_device *d = device_b(w, 0);
	d->end.beacon_locked = true;
	world_up(w, d, &(struct up){.f_port = 10, .fopts_hex = "1002"});
	assert_string_equal(world_hear(w, d, 0, 0).fopts_hex, "10");
	world_ack_ok(w);
	struct ns_session s = world_session(d);
	assert_int_equal(s.ping_slot_nb, 32);
	s.ping_slot_hz = 868100000;
	s.ping_slot_dr = 5;
	world_session_put(d, &s);
	world_pass(w, 5000);
	world_enqueue(w, d, 7, false, "01");
	assert_int_equal(world_last_down(w)->items[0]->tx_info->frequency, 868100000);
	assert_int_equal(world_last_down(w)->items[0]->tx_info->modulation->lora->spreading_factor, 7);
	assert_int_equal(at(w), ns_next_ping_slot(w->kc, gps_now(w) + LW_NS_PER_S, s.devaddr, 32));
}

/* Asked to listen on another frequency, and not heard of since: what is queued waits for its next uplink.
 * spec: TS001-1.0.4 §12.3 */
static void between_two_frequencies(void **state)
{
	struct world *w = *state;
	struct world_device *d = device_b(w, 0);
	struct ns_session s = world_session(d);
	s.ping_slot_hz = 868100000;
	world_session_put(d, &s);
	d->end.beacon_locked = true;
	world_up(w, d, &PLAIN);
	assert_string_equal(world_hear(w, d, 0, 0).fopts_hex, "1100000003");
	world_ack_ok(w);
	world_pass(w, 5000);
	size_t downs = w->n_downs;
	world_enqueue(w, d, 7, false, "01");
	world_pass(w, 20000);
	assert_int_equal(w->n_downs, downs);
	world_up(w, d, &(struct up){.f_port = 10, .data_hex = "01", .fopts_hex = "1103"});
	assert_string_equal(world_hear(w, d, 0, 1).data_hex, "01");
	world_ack_ok(w);
	world_pass(w, 5000);
	world_enqueue(w, d, 7, false, "02");
	assert_int_equal(world_last_down(w)->items[0]->tx_info->frequency, 869525000);
	assert_true(at(w) > gps_now(w));
}

/* [one unconfirmed downlink payload in queue (Class-B device / Class-B downlink only)]
 * spec: none: setting of the profile
 * rows: queue-class-b */
static void in_ping_slots_only(void **state)
{
	struct world *w = *state;
	struct world_device *d = device_b(w, 0);
	d->rec.profile.class_b_downlink_only = true;
	world_enqueue(w, d, 7, false, "01");
	d->end.beacon_locked = true;
	size_t downs = w->n_downs;
	world_up(w, d, &(struct up){.confirmed = true, .f_port = 10});
	assert_int_equal(w->n_downs, downs + 1);
	struct heard h = world_hear(w, d, 0, 0);
	assert_true(h.ack);
	assert_int_equal(h.f_port, LW_FPORT_NONE);
	world_ack_ok(w);
	assert_int_equal(w->n_downs, downs + 2);
	assert_true(at(w) > gps_now(w));
	assert_string_equal(world_hear(w, d, 0, 1).data_hex, "01");
	world_ack_ok(w);
	/* nothing else to say: the slot at once */
	world_enqueue(w, d, 7, false, "02");
	world_ack_ok(w);
	world_up(w, d, &PLAIN);
	world_enqueue(w, d, 7, false, "03");
	assert_true(at(w) > gps_now(w));
	/* of class A it gets them as any other */
	d->end.beacon_locked = false;
	world_ack_ok(w);
	world_enqueue(w, d, 7, false, "04");
	world_ack_ok(w);
	world_enqueue(w, d, 7, false, "05");
	assert_true(w->n_downs > downs + 4);
}

/* BeaconTimingReq of 1.0.x: 30 ms units to the next beacon; US915's hops over eight channels.
 * spec: LoRaWAN 1.0.3 §14: BeaconTimingReq, deprecated */
static void beacon_timing(void **state)
{
	struct world *w = *state;
	struct world_device *d = device_b(w, 0);
	struct frame f;
	struct air air = world_air();
	air.gps_s = 1398600064 + 100;
	device_frame_up(&d->end, &(struct up){.f_port = 10, .fopts_hex = "12"}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
	/* 28 s: 933 units */
	assert_int_equal(strncmp(world_hear(w, d, 0, 0).fopts_hex, "12a50300", 8), 0);
	struct world_device *us = world_device(w, LW_MAC_1_0_3);
	us->rec.profile.region = LW_REGION_US915;
	world_abp(w, us, "us915_0");
	air = (struct air){.hz = 902300000, .dr = 3, .snr = 8, .region = "us915_0", .context_hex = "77"};
	air.gps_s = 1398600064 + 127;
	device_frame_up(&us->end, &(struct up){.f_port = 10, .fopts_hex = "12"}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
	/* 1 s: 33 units; the beacon at 128 * 10926564 is on channel 4 */
	assert_int_equal(strncmp(world_hear(w, us, 0, 0).fopts_hex, "12210004", 8), 0);
}

#define TEST(x) cmocka_unit_test_setup_teardown(x, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(slots),          TEST(beacon_lock),
		TEST(downlink),       TEST(far_slot),
		TEST(confirmed),      TEST(not_locked),
		TEST(ping_slot_info), TEST(in_ping_slots_only),
		TEST(beacon_timing),  TEST(between_two_frequencies),
	};
	return cmocka_run_group_tests_name("network-server class B", tests, NULL, NULL);
}
