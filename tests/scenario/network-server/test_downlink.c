/* Downlinks: queue, windows, counters, gateways, MAC commands. Names in brackets: scenarios of reference-system.md 8.1
 * (v4) and 8.3 (v3).
 * spec: TS001-1.0.4 §4.3, §3.3 */
#include <string.h>

#include "network-server/domain/channels.h"
#include "network-server/domain/downlink.h"
#include "world.h"

#define DELIVERED LONGWAVE__V1__OUTCOME__DELIVERED
#define DROPPED LONGWAVE__V1__OUTCOME__DROPPED
#define DUPLICATE LONGWAVE__V1__OUTCOME__DUPLICATE
#define PENDING LONGWAVE__V1__OUTCOME__PENDING
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

static struct world_device *joined(struct world *w, enum lw_mac_version v)
{
	struct world_device *d = world_device(w, v);
	world_join(w, d);
	return d;
}

/* [device_queue: one unconfirmed] [DownlinkTXAck: unconfirmed ack]
 * rows: queue-one */
static void one_unconfirmed(void **state)
{
	struct world *w = *state;
	for (int v = 0; v < 2; v++) {
		struct world_device *d = joined(w, v == 0 ? LW_MAC_1_0_3 : LW_MAC_1_1_0);
		size_t downs = w->n_downs;
		size_t acks = world_count(w, KIND(TX_ACK));
		struct lw_uuid id = world_enqueue(w, d, 7, false, "aabbcc");
		char text[LW_UUID_TEXT];
		assert_int_equal(w->n_downs, downs); /* class A waits for an uplink */
		world_up(w, d, &PLAIN);
		assert_int_equal(w->n_downs, downs + 1);
		struct heard h = world_hear(w, d, 0, 0);
		assert_int_equal(h.f_port, 7);
		assert_string_equal(h.data_hex, "aabbcc");
		assert_false(h.fpending);
		assert_true(h.adr);
		world_hear(w, d, 1, 0);
		assert_int_equal(d->n_queue, 1);
		assert_int_equal(d->queue[0].item.state, NS_ITEM_SENT);
		assert_int_equal(world_last_downlink_record(w)->outcome, PENDING);
		world_ack_ok(w);
		assert_int_equal(d->n_queue, 0);
		assert_int_equal(world_count(w, KIND(TX_ACK)), acks + 1);
		const Longwave__Ns__V1__TxAckEvent *e = world_last(w, KIND(TX_ACK))->tx_ack;
		assert_string_equal(e->queue_item_id, lw_uuid_print(id, text));
		assert_int_equal(e->f_cnt_down, 0);
		assert_int_equal(e->tx_info->frequency, 868100000);
		assert_int_equal(world_last_downlink_record(w)->outcome, DELIVERED);
		assert_int_equal(world_last_downlink_record(w)->taken, 0);
		struct ns_session s = world_session(d);
		assert_int_equal(v == 0 ? s.n_f_cnt_down : s.a_f_cnt_down, 1);
		assert_int_equal(v == 0 ? s.a_f_cnt_down : s.n_f_cnt_down, 0);
	}
}

/* [device_queue: two unconfirmed]
 * spec: TS001-1.0.4 §4.3.1.4
 * rows: queue-two */
static void two_items_set_fpending(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	world_enqueue(w, d, 7, false, "01");
	world_enqueue(w, d, 7, false, "02");
	world_up(w, d, &PLAIN);
	struct heard h = world_hear(w, d, 0, 0);
	assert_true(h.fpending);
	assert_string_equal(h.data_hex, "01");
	world_ack_ok(w);
	world_up(w, d, &PLAIN);
	h = world_hear(w, d, 0, 1);
	assert_false(h.fpending);
	assert_string_equal(h.data_hex, "02");
}

/* [device_queue: one confirmed; uplink + ACK] [LW11Uplink: unconfirmed + ACK: ConfFCnt in the MIC]
 * spec: TS001-1.0.4 §4.3.1.2; TS001-1.1 §4.4.2: ConfFCnt
 * rows: queue-confirmed queue-confirmed-11 up-ack up-ack-11 */
static void confirmed_acknowledged(void **state)
{
	struct world *w = *state;
	for (int v = 0; v < 2; v++) {
		struct world_device *d = joined(w, v == 0 ? LW_MAC_1_0_3 : LW_MAC_1_1_0);
		size_t acks = world_count(w, KIND(ACK));
		world_enqueue(w, d, 7, true, "01");
		world_up(w, d, &PLAIN);
		struct heard h = world_hear(w, d, 0, 0);
		assert_true(h.confirmed);
		world_ack_ok(w);
		assert_int_equal(d->n_queue, 1);
		assert_int_equal(d->queue[0].item.state, NS_ITEM_PENDING);
		world_up(w, d, &WITH_ACK);
		assert_outcome(w, DELIVERED, R(REASON_NONE));
		assert_int_equal(world_count(w, KIND(ACK)), acks + 1);
		assert_true(world_last(w, KIND(ACK))->ack->acknowledged);
		assert_int_equal(world_last(w, KIND(ACK))->ack->f_cnt_down, 0);
		assert_int_equal(d->n_queue, 0);
		/* the uplink comes first, its acknowledgement after it */
		assert_int_equal(w->event[w->n_events - 2]->kind_case, KIND(UPLINK));
	}
}

/* Our answer to the acknowledging uplink is itself confirmed, and the device does not hear it: it repeats the uplink
 * with the ConfFCnt that it knows. The repetition is one, is answered with the frame once more, and the next
 * acknowledgement counts for the new one.
 * spec: TS001-1.1 §4.4.2, §4.3.1.2 */
static void acknowledgement_repeated(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_1_0);
	const struct up ack = {.f_port = 10, .data_hex = "01", .ack = true, .confirmed = true, .dr = 5};
	struct air air = world_air();
	struct frame f;
	world_enqueue(w, d, 7, true, "01");
	world_enqueue(w, d, 7, true, "02");
	world_up(w, d, &PLAIN);
	assert_true(world_hear(w, d, 0, 0).confirmed);
	world_ack_ok(w);
	device_frame_up(&d->end, &ack, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(world_session(d).conf_f_cnt, 1);
	world_ack_ok(w);
	size_t acks = world_count(w, KIND(ACK));
	size_t ups = world_count(w, KIND(UPLINK));
	size_t downs = w->n_downs;
	world_pass(w, 3000);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DUPLICATE, R(FCNT_RETRANSMISSION));
	assert_int_equal(world_count(w, KIND(ACK)), acks);
	assert_int_equal(world_count(w, KIND(UPLINK)), ups);
	assert_int_equal(w->n_downs, downs + 1);
	/* after a restart, too: the counters are in the session's stored form */
	world_restart(w);
	world_pass(w, 3000);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DUPLICATE, R(FCNT_RETRANSMISSION));
	/* someone else's MIC is still wrong */
	f.b[f.n - 1] ^= 1;
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(MIC_MISMATCH));
}

/* Uplinks that acknowledge come late, out of a spool, when several more confirmed downlinks have gone out: each names
 * its own in the MIC, and is taken as long as that is one of the last eight.
 * spec: TS001-1.1 §4.4.2: ConfFCnt
 */
static void late_acknowledgements(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_1_0);
	enum { SENT = NS_CONF_BEFORE + 2 };
	const struct up ack = {.f_port = 10, .ack = true, .dr = 5};
	struct frame late[SENT];
	struct air air = world_air();
	for (unsigned i = 0; i < SENT; i++) {
		world_enqueue(w, d, 7, true, "01");
		world_up(w, d, &PLAIN);
		assert_true(world_hear(w, d, 0, i).confirmed);
		world_ack_ok(w);
		device_frame_up(&d->end, &ack, &late[i]);
		world_pass(w, 10000);
	}
	world_restart(w); /* they are in the session's stored form */
	air.replay = true;
	size_t ups = world_count(w, KIND(UPLINK));
	for (unsigned i = 1; i < SENT; i++) {
		world_receive(w, &air, &late[i]);
		world_pass(w, 300);
		assert_outcome(w, DELIVERED, R(REASON_NONE));
	}
	assert_int_equal(world_count(w, KIND(UPLINK)), ups + SENT - 1);
	world_receive(w, &air, &late[0]);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(MIC_MISMATCH));
}

/* A gateway with two boards of two antennas: each reception is the application's, the answer goes by the board and
 * antenna that heard best, with the context that they gave.
 * spec: none: gateways with several antennas */
static void boards_and_antennas(void **state)
{
	static const struct {
		unsigned board, antenna;
		double snr;
		const char *context;
	} heard[] = {{0, 0, -3, "00000000"}, {0, 1, 2, "00000001"}, {1, 0, 7.5, "00000010"}, {1, 1, 7, "00000011"}};
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	struct frame f;
	device_frame_up(&d->end, &(struct up){.f_port = 10, .confirmed = true}, &f);
	for (size_t i = 0; i < 4; i++) {
		struct air air = world_air();
		air.board = heard[i].board;
		air.antenna = heard[i].antenna;
		air.snr = heard[i].snr;
		air.context_hex = heard[i].context;
		world_receive(w, &air, &f);
	}
	world_pass(w, 300);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	const Longwave__Ns__V1__UplinkEvent *up = world_last(w, KIND(UPLINK))->uplink;
	assert_int_equal(up->n_rx_info, 4);
	for (size_t i = 0; i < 4; i++) {
		size_t k = 0;
		while (k < 4 &&
		       (up->rx_info[k]->board != heard[i].board || up->rx_info[k]->antenna != heard[i].antenna))
			k++;
		assert_true(k < 4);
		assert_true(up->rx_info[k]->snr == (float)heard[i].snr);
	}
	const Gw__DownlinkTxInfo *t = world_last_down(w)->items[0]->tx_info;
	assert_int_equal(t->board, 1);
	assert_int_equal(t->antenna, 0);
	assert_int_equal(t->context.len, 4);
	assert_memory_equal(t->context.data, "\x00\x00\x00\x10", 4);
	assert_int_equal(world_session(d).n_rx, 1);
	/* and in RX2 */
	assert_memory_equal(world_last_down(w)->items[1]->tx_info->context.data, "\x00\x00\x00\x10", 4);
}

static void confirmed_not_acknowledged(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	world_enqueue(w, d, 7, true, "01");
	world_up(w, d, &PLAIN);
	world_ack_ok(w);
	world_up(w, d, &PLAIN);
	assert_int_equal(world_count(w, KIND(ACK)), 1);
	assert_false(world_last(w, KIND(ACK))->ack->acknowledged);
	assert_int_equal(d->n_queue, 0);
}

/* The tx-ack was lost, yet the device has the frame: its acknowledgement counts. */
static void acknowledged_without_tx_ack(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	world_enqueue(w, d, 7, true, "01");
	world_up(w, d, &PLAIN);
	world_hear(w, d, 0, 0);
	world_up(w, d, &WITH_ACK);
	assert_true(world_last(w, KIND(ACK))->ack->acknowledged);
	assert_int_equal(d->n_queue, 0);
}

/* Silence: the counter stays used, the item goes again with a new one.
 * spec: TS001-1.0.4 §4.3.1.5 */
static void silent_gateway(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	world_enqueue(w, d, 7, true, "0102");
	world_up(w, d, &PLAIN);
	world_hear(w, d, 0, 0);
	world_pass(w, 31000);
	assert_int_equal(world_last_downlink_record(w)->outcome, DROPPED);
	assert_int_equal(world_last_downlink_record(w)->reason, R(GATEWAY_SILENT));
	assert_int_equal(world_session(d).n_f_cnt_down, 1);
	world_up(w, d, &PLAIN);
	struct heard h = world_hear(w, d, 0, 1);
	assert_string_equal(h.data_hex, "0102");
	assert_int_equal(world_count(w, KIND(ACK)), 0);
	world_ack_ok(w);
	world_up(w, d, &WITH_ACK);
	assert_true(world_last(w, KIND(ACK))->ack->acknowledged);
}

/* A restart between "counter used" and the gateway's answer: never the same counter twice, nothing lost.
 * spec: TS001-1.0.4 §4.3.1.5 */
static void restart_before_tx_ack(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	world_enqueue(w, d, 7, false, "01");
	world_up(w, d, &PLAIN);
	world_hear(w, d, 0, 0);
	world_restart(w);
	world_ack_ok(w); /* an answer to nobody */
	assert_int_equal(d->n_queue, 1);
	world_up(w, d, &PLAIN);
	world_hear(w, d, 0, 1);
	world_ack_ok(w);
	assert_int_equal(d->n_queue, 0);
}

/* Refused by the gateway, item after item: RX2 counts; both: the counter goes back, log event, next time again.
 * rows: nack-unconfirmed */
static void refusals(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	world_enqueue(w, d, 7, false, "01");
	world_up(w, d, &PLAIN);
	world_ack(w, (const char *const[]){"COLLISION_PACKET", "OK", NULL});
	assert_int_equal(d->n_queue, 0);
	assert_int_equal(world_last(w, KIND(TX_ACK))->tx_ack->tx_info->frequency, 869525000);
	assert_int_equal(world_last_downlink_record(w)->taken, 1);

	world_enqueue(w, d, 7, false, "02");
	world_up(w, d, &PLAIN);
	assert_int_equal(world_session(d).n_f_cnt_down, 2);
	world_ack(w, (const char *const[]){"TOO_LATE", "TOO_LATE", NULL});
	assert_int_equal(world_session(d).n_f_cnt_down, 1);
	assert_int_equal(world_last(w, KIND(LOG))->log->code, 8);
	assert_string_equal(world_last(w, KIND(LOG))->log->description, "TOO_LATE");
	assert_int_equal(world_last_downlink_record(w)->reason, R(TOO_LATE));
	assert_int_equal(d->queue[0].item.state, NS_ITEM_QUEUED);
	world_up(w, d, &PLAIN);
	assert_string_equal(world_hear(w, d, 0, 1).data_hex, "02");
	world_ack_ok(w);
	assert_int_equal(d->n_queue, 0);
}

/* A counter is not given back when a newer one was used meanwhile.
 * spec: TS001-1.0.4 §4.3.1.5 */
static void late_refusal_gives_nothing_back(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	world_up(w, d, &(struct up){.confirmed = true, .f_port = 10});
	struct world_down first = w->down[w->n_downs - 1];
	world_up(w, d, &(struct up){.confirmed = true, .f_port = 10});
	assert_int_equal(world_session(d).n_f_cnt_down, 2);
	struct world_down second = w->down[w->n_downs - 1];
	w->down[w->n_downs - 1] = first;
	world_ack(w, (const char *const[]){"QUEUE_FULL", "QUEUE_FULL", NULL});
	w->down[w->n_downs - 1] = second;
	assert_int_equal(world_session(d).n_f_cnt_down, 2);
}

/* A second gateway is asked at once, while its windows can be met. */
static void refused_goes_elsewhere(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	world_gateway(w, 2);
	world_enqueue(w, d, 7, false, "01");
	device_frame_up(&d->end, &PLAIN, &f);
	air.context_hex = "aa";
	world_receive(w, &air, &f);
	air.gateway = 1;
	air.snr = -5;
	air.context_hex = "bb";
	world_receive(w, &air, &f);
	world_pass(w, 400);
	size_t downs = w->n_downs;
	assert_string_equal(world_last_down(w)->gateway_id, "0102030405060701");
	world_ack(w, (const char *const[]){"COLLISION_PACKET", "COLLISION_PACKET", NULL});
	assert_int_equal(w->n_downs, downs + 1);
	assert_string_equal(world_last_down(w)->gateway_id, "0000000000000002");
	assert_int_equal(world_last_down(w)->items[0]->tx_info->context.data[0], 0xbb);
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, "01"); /* the same frame */
	assert_int_equal(world_count(w, KIND(LOG)), 0);
	/* after RX1 has opened only RX2 is left */
	world_ack(w, (const char *const[]){"TOO_LATE", "OK", NULL});
	assert_int_equal(d->n_queue, 0);
	assert_string_equal(world_last(w, KIND(TX_ACK))->tx_ack->gateway_id, "0000000000000002");
}

/* Sent at once to a device of class C, and its gateway takes long to say no; meanwhile an uplink was answered with the
 * next counter. No other gateway is asked: the device would take the frame for old.
 * spec: TS001-1.0.4 §4.3.1.5 */
static void refused_too_late_to_go_elsewhere(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	d->rec.profile.supports_class_c = true;
	world_gateway(w, 2);
	world_join(w, d);
	for (unsigned i = 0; i < 2; i++) {
		world_pass(w, 10000);
		if (i == 1)
			world_enqueue(w, d, 7, false, "01");
		device_frame_up(&d->end, &(struct up){.f_port = 10, .confirmed = true}, &f);
		air.gateway = 0;
		world_receive(w, &air, &f);
		air.gateway = 1;
		air.snr = 7;
		world_receive(w, &air, &f);
		world_pass(w, 400);
		if (i == 0)
			world_ack_ok(w);
	}
	size_t n = w->n_downs;
	assert_int_equal(w->down[n - 2].msg->items[0]->tx_info->timing->parameters_case,
			 GW__TIMING__PARAMETERS_IMMEDIATELY);
	assert_string_equal(world_hear(w, d, 0, 2).data_hex, "01"); /* nobody knows whether it has it */
	world_ack_ok(w);
	world_ack_at(w, n - 2, (const char *const[]){"COLLISION_PACKET", NULL});
	world_pass(w, 6000);
	assert_int_equal(w->n_downs, n);
	assert_int_equal(d->n_queue, 0);
	assert_int_equal(world_session(d).n_f_cnt_down, 3);
}

/* Nobody to send it: the broker is away. */
static void broker_away(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	w->broker_away = true;
	world_enqueue(w, d, 7, false, "01");
	world_up(w, d, &PLAIN);
	assert_int_equal(world_session(d).n_f_cnt_down, 0);
	assert_int_equal(world_last_downlink_record(w)->reason, R(BROKER_UNAVAILABLE));
	w->broker_away = false;
	world_up(w, d, &PLAIN);
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, "01");
}

/* The counter is durable before the frame leaves.
 * spec: TS001-1.0.4 §4.3.1.5 */
static void commit_before_send(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	size_t downs = w->n_downs;
	device_frame_up(&d->end, &(struct up){.confirmed = true, .f_port = 10}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 250); /* uplink committed, downlink waits */
	w->commit_held = true;
	world_pass(w, 100);
	assert_int_equal(w->n_held, 1);
	assert_int_equal(w->n_downs, downs);
	assert_int_equal(w->held[0]->session->n_f_cnt_down, 1);
	w->commit_held = false;
	w->held[0]->err = 0;
	world_session_put(d, w->held[0]->session);
	w->held[0]->done(w->held[0]);
	world_pass(w, 0);
	assert_int_equal(w->n_downs, downs + 1);
}

static void conflict_builds_anew(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	world_enqueue(w, d, 7, false, "01");
	device_frame_up(&d->end, &PLAIN, &f);
	world_receive(w, &air, &f);
	world_pass(w, 250);
	struct ns_session s = world_session(d);
	s.n_f_cnt_down = 4; /* another replica was here */
	world_session_put(d, &s);
	w->conflicts = 1;
	world_pass(w, 200);
	assert_string_equal(world_hear(w, d, 0, 4).data_hex, "01");
	assert_int_equal(world_session(d).n_f_cnt_down, 5);
}

/* [device_queue: exceeds the max payload size (for dr 0)] and the next item takes its place.
 * spec: RP002-1.0.4 §2: maximum payload size
 * rows: queue-size */
static void too_large(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	char hex[2 * 60 + 1];
	memset(hex, '0', sizeof(hex) - 1);
	hex[sizeof(hex) - 1] = '\0';
	world_enqueue(w, d, 7, false, hex);
	world_enqueue(w, d, 7, false, "02");
	struct air air = world_air();
	struct frame f;
	air.dr = 0;
	device_frame_up(&d->end, &PLAIN, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
	assert_int_equal(world_last(w, KIND(LOG))->log->code, 1);
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, "02");
	assert_false(world_hear(w, d, 0, 0).fpending);
	world_ack_ok(w);
	assert_int_equal(d->n_queue, 0);
}

/* As in the recording: fits RX1, not RX2; RX2's frame announces it. Taken in RX2 it stays queued.
 * spec: RP002-1.0.4 §2: maximum payload size
 * rows: windows-rx2-limit */
static void fits_only_rx1(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	char hex[2 * 100 + 1];
	memset(hex, '1', sizeof(hex) - 1);
	hex[sizeof(hex) - 1] = '\0';
	world_enqueue(w, d, 7, false, hex);
	world_up(w, d, &PLAIN);
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, hex);
	assert_false(world_hear(w, d, 0, 0).fpending);
	struct heard h = world_hear(w, d, 1, 0);
	assert_int_equal(h.f_port, LW_FPORT_NONE);
	assert_true(h.fpending);
	world_ack(w, (const char *const[]){"TOO_LATE", "OK", NULL});
	assert_int_equal(d->n_queue, 1);
	assert_int_equal(world_count(w, KIND(TX_ACK)), 0);
	world_up(w, d, &PLAIN);
	assert_string_equal(world_hear(w, d, 0, 1).data_hex, hex);
}

/* [device_queue: exactly max size for dr 0 + one mac command]
 * spec: TS001-1.0.4 §4.3.1.6
 * rows: queue-mac-first */
static void mac_command_first(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	char hex[2 * 51 + 1];
	memset(hex, '1', sizeof(hex) - 1);
	hex[sizeof(hex) - 1] = '\0';
	d->rec.profile.device_status_req_interval = 1;
	world_enqueue(w, d, 7, false, hex);
	struct air air = world_air();
	struct frame f;
	air.dr = 0;
	device_frame_up(&d->end, &PLAIN, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
	struct heard h = world_hear(w, d, 0, 0);
	assert_string_equal(h.fopts_hex, "06");
	assert_int_equal(h.f_port, LW_FPORT_NONE);
	assert_true(h.fpending);
	world_ack_ok(w);
	air.context_hex = "77";
	device_frame_up(&d->end, &(struct up){.f_port = 10, .fopts_hex = "06ff14"}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
	assert_string_equal(world_hear(w, d, 0, 1).data_hex, hex);
	/* [reporting device-status] */
	assert_int_equal(world_last(w, KIND(STATUS))->status->battery, 255);
	assert_int_equal(world_last(w, KIND(STATUS))->status->margin, 20);
}

static void expired(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	size_t downs = w->n_downs;
	world_enqueue(w, d, 7, false, "01");
	d->queue[0].item.expires_at_ns = rt_loop_now_ns(w->loop) - 1;
	world_up(w, d, &PLAIN);
	assert_int_equal(w->n_downs, downs);
	assert_int_equal(d->n_queue, 0);
	assert_int_equal(world_last(w, KIND(LOG))->log->code, 11);
}

/* [encrypted downlink]: sent as it is; dead once its counter is used.
 * spec: TS001-1.0.4 §4.3.3
 * rows: e2e-down */
static void encrypted_by_the_caller(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	world_enqueue(w, d, 7, false, "0102");
	d->queue[0].item.is_encrypted_by_caller = true;
	d->queue[0].item.n_payloads = 1;
	d->queue[0].item.session_key_id_len = 0;
	world_up(w, d, &PLAIN);
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, "0102");
	world_ack_ok(w);
	world_enqueue(w, d, 7, false, "0304");
	d->queue[0].item.is_encrypted_by_caller = true;
	d->queue[0].item.first_f_cnt = 0;
	world_up(w, d, &PLAIN);
	assert_int_equal(world_last(w, KIND(LOG))->log->code, 10);
	assert_int_equal(d->n_queue, 0);
}

/* The window of counters is used up: asked with the uplink, answered in time, sent in the same windows. */
static void encrypted_anew(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	world_enqueue(w, d, 7, false, "0102");
	struct ns_session s = world_session(d);
	s.n_f_cnt_down = 16;
	world_session_put(d, &s);
	struct air air = world_air();
	struct frame f;
	size_t downs = w->n_downs;
	device_frame_up(&d->end, &PLAIN, &f);
	world_receive(w, &air, &f);
	world_pass(w, 210);
	const Longwave__Ns__V1__ReencryptEvent *e = world_last(w, KIND(REENCRYPT))->reencrypt;
	assert_int_equal(e->next_f_cnt, 16);
	assert_int_equal(e->n_items, 1);
	assert_int_equal(e->items[0]->sealed.len, 2);
	world_pass(w, 200);
	assert_int_equal(w->n_downs, downs); /* nothing else was to be said */
	world_reencrypt(w, d);
	world_pass(w, 0);
	assert_int_equal(w->n_downs, downs + 1);
	assert_string_equal(world_hear(w, d, 0, 16).data_hex, "0102");
}

/* Fifteen MAC downlinks in between do not make an item stale; 1.0.x has one counter. */
static void window_of_counters(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	world_enqueue(w, d, 7, false, "0102");
	struct ns_session s = world_session(d);
	s.n_f_cnt_down = 15;
	world_session_put(d, &s);
	world_up(w, d, &PLAIN);
	assert_string_equal(world_hear(w, d, 0, 15).data_hex, "0102");
}

/* Queued while the windows can be met: sent at once; a second one waits for the next uplink. */
static void enqueued_in_time(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	size_t downs = w->n_downs;
	world_up(w, d, &PLAIN); /* 400 ms later: nothing to say */
	assert_int_equal(w->n_downs, downs);
	world_enqueue(w, d, 7, false, "01");
	assert_int_equal(w->n_downs, downs + 1);
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, "01");
	world_enqueue(w, d, 7, false, "02");
	world_pass(w, 100);
	assert_int_equal(w->n_downs, downs + 1);
	world_ack_ok(w);
	world_up(w, d, &PLAIN);
	world_ack_ok(w);
	/* RX1 has passed: RX2 alone */
	world_up(w, d, &PLAIN);
	world_pass(w, 1000);
	world_enqueue(w, d, 7, false, "03");
	assert_int_equal(world_last_down(w)->n_items, 1);
	assert_int_equal(world_last_down(w)->items[0]->tx_info->frequency, 869525000);
	world_ack_ok(w);
	/* both have */
	world_up(w, d, &PLAIN);
	world_pass(w, 2000);
	downs = w->n_downs;
	world_enqueue(w, d, 7, false, "04");
	world_pass(w, 100);
	assert_int_equal(w->n_downs, downs);
	assert_int_equal(world_session(d).n_f_cnt_down, 3);
}

/* An item queued by the application as its reaction to the uplink goes along with the acknowledgement. */
static void reaction_rides_along(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	size_t downs = w->n_downs;
	device_frame_up(&d->end, &(struct up){.confirmed = true, .f_port = 10}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 250);
	assert_int_equal(world_count(w, KIND(UPLINK)), 1);
	assert_int_equal(w->n_downs, downs);
	world_enqueue(w, d, 7, false, "01");
	world_pass(w, 60);
	assert_int_equal(w->n_downs, downs + 1);
	struct heard h = world_hear(w, d, 0, 0);
	assert_true(h.ack);
	assert_string_equal(h.data_hex, "01");
}

/* A rate that carries nothing, as CN470's DR0 since RP002: the other window alone.
 * spec: TS001-1.0.4 §3.3 */
static void window_without_room(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_4);
	struct air air = world_air();
	struct frame f;
	d->rec.profile.region = LW_REGION_CN470;
	d->rec.profile.reg_params = LW_RP_002_1_0_3;
	world_abp(w, d, "cn470_0");
	struct ns_session s = world_session(d);
	s.rx1_dr_offset = 5;
	s.rx2_dr = 4;
	world_session_put(d, &s);
	air.region = "cn470_0";
	air.hz = 470300000;
	device_frame_up(&d->end, &(struct up){.f_port = 10, .data_hex = "01", .confirmed = true}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
	assert_int_equal(w->n_downs, 1);
	const Gw__DownlinkFrame *m = world_last_down(w);
	assert_int_equal(m->n_items, 1);
	assert_int_equal(m->items[0]->tx_info->timing->delay->delay->seconds, 2);
	assert_int_equal(m->items[0]->tx_info->modulation->lora->spreading_factor, 8);
	assert_true(world_hear(w, d, 0, 0).ack);
}

/* [test_lorawan_11_receive_window_selection] [prefer RX2 DR]
 * spec: TS001-1.0.4 §3.3
 * rows: windows */
static void windows_by_configuration(void **state)
{
	struct world *w = *state;
	struct ns_region_config rc = *ns_region_config_find("eu868");
	struct ns_device dev = {.has_session = true, .profile = {.mac_version = LW_MAC_1_1_0}};
	struct ns_down_window win[2];
	(void)w;
	dev.session.rx2_hz = rc.rx2_hz;
	dev.session.rx1_delay_s = 1;
	dev.session.last_uplink_hz = 868300000;
	dev.session.dr = 2;
	ns_channels_boot(&rc, &dev.session);
	assert_int_equal(ns_down_windows(&dev, &rc, NS_DOWN_CLASS_A, win), 2);
	assert_int_equal(win[0].hz, 868300000);
	assert_int_equal(win[0].dr, 2);
	rc.rx_window = 1;
	assert_int_equal(ns_down_windows(&dev, &rc, NS_DOWN_CLASS_A, win), 1);
	assert_int_equal(win[0].hz, 868300000);
	rc.rx_window = 2;
	assert_int_equal(ns_down_windows(&dev, &rc, NS_DOWN_CLASS_A, win), 1);
	assert_int_equal(win[0].hz, 869525000);
	assert_int_equal(win[0].delay_s, 2);
	rc.rx_window = 0;
	rc.rx2_prefer_on_rx1_dr_lt = 3;
	assert_int_equal(ns_down_windows(&dev, &rc, NS_DOWN_CLASS_A, win), 2);
	assert_int_equal(win[0].hz, 869525000);
	dev.session.rx1_dr_offset = 1; /* not yet as configured: RX1 first */
	assert_int_equal(ns_down_windows(&dev, &rc, NS_DOWN_CLASS_A, win), 2);
	assert_int_equal(win[0].hz, 868300000);
	assert_int_equal(win[0].dr, 1);
	dev.session.rx1_dr_offset = 0;
	rc.rx2_prefer_on_rx1_dr_lt = 0;
	rc.rx2_prefer_on_link_budget = true; /* 29 dBm at SF12 against 16 dBm */
	assert_int_equal(ns_down_windows(&dev, &rc, NS_DOWN_CLASS_A, win), 2);
	assert_int_equal(win[0].hz, 869525000);
	rc.downlink_tx_power_dbm = 10;
	ns_down_windows(&dev, &rc, NS_DOWN_CLASS_A, win);
	assert_int_equal(win[0].power_dbm, 10);
	rc = *ns_region_config_find("us915_0");
	dev.session.last_uplink_hz = 902300000 + 200000 * 9;
	dev.session.dr = 0;
	dev.session.rx2_dr = 8;
	dev.session.rx2_hz = 923300000;
	ns_channels_boot(&rc, &dev.session);
	assert_int_equal(ns_down_windows(&dev, &rc, NS_DOWN_CLASS_A, win), 2);
	assert_int_equal(win[0].hz, 923300000 + 600000); /* channel 9 mod 8 */
	assert_int_equal(win[0].dr, 10);
	assert_int_equal(win[0].power_dbm, 21);
}

/* LinkCheckReq and DeviceTimeReq; [two commands (FOpts), (FRMPayload)] [LW11MACCommands (encrypted FOpts)]
 * spec: TS001-1.0.4 §5.1, §5.9; TS001-1.1 §4.3.1.6: encrypted FOpts
 * rows: two-fopts two-port0 fopts-11 */
static void link_check_and_time(void **state)
{
	struct world *w = *state;
	for (int v = 0; v < 3; v++) {
		struct world_device *d = joined(w, v == 2 ? LW_MAC_1_1_0 : LW_MAC_1_0_3);
		struct up up = {.f_port = 10, .data_hex = "01", .fopts_hex = "020d"};
		struct frame f;
		struct air air = world_air();
		if (v == 1)
			up = (struct up){.f_port = 0, .data_hex = "020d"};
		up.dr = 5;
		air.gps_s = 1398600018;
		device_frame_up(&d->end, &up, &f);
		world_receive(w, &air, &f);
		world_pass(w, 400);
		assert_string_equal(world_hear(w, d, 0, 0).fopts_hex, "020f010d52f15c5300");
		assert_int_equal(world_last_uplink(w)->n_mac_commands, 2);
		assert_string_equal(world_last_uplink(w)->mac_commands[0]->name, "LinkCheckReq");
		assert_string_equal(world_last_downlink_record(w)->mac_commands[0]->text, "margin=15 gateways=1");
		world_ack_ok(w);
	}
}

/* A frame full of requests gets one answer; an unknown command ends the reading, not the frame.
 * spec: TS001-1.0.4 §5 */
static void strange_commands(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	world_up(w, d, &(struct up){.f_port = 0, .data_hex = "0202020202020202020202020202020202020202020202"});
	assert_string_equal(world_hear(w, d, 0, 0).fopts_hex, "020f01");
	world_ack_ok(w);
	world_up(w, d, &(struct up){.f_port = 10, .fopts_hex = "02ff02"});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_string_equal(world_hear(w, d, 0, 1).fopts_hex, "020f01");
	assert_non_null(strstr(world_last_uplink(w)->detail, "0xff"));
	world_ack_ok(w);
	size_t downs = w->n_downs;
	/* answers to nothing */
	world_up(w, d, &(struct up){.f_port = 10, .fopts_hex = "0703030705070807"});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_true(w->n_downs >= downs);
}

/* [adr ack requested]
 * spec: TS001-1.0.4 §4.3.1.1
 * rows: adr-ack-req */
static void adr_ack_req_is_answered(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	d->end.adr = true;
	d->end.adr_ack_req = true;
	d->rec.profile.adr.mode = NS_ADR_OFF; /* nothing else to say */
	world_up(w, d, &PLAIN);
	struct heard h = world_hear(w, d, 0, 0);
	assert_false(h.ack);
	assert_int_equal(h.f_port, LW_FPORT_NONE);
	assert_string_equal(h.fopts_hex, "");
}

/* As in the recording abp_other_rx: all that the network wants otherwise, three channels at a time, on port 0. */
static void abp_with_other_parameters(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_2);
	d->rec.profile.abp_rx1_delay_s = 3;
	d->rec.profile.abp_rx1_dr_offset = 1;
	d->rec.profile.abp_rx2_hz = 868100000;
	world_abp(w, d, "eu868");
	world_up(w, d, &(struct up){.f_port = 10, .dr = 3});
	const Gw__DownlinkFrame *m = world_last_down(w);
	assert_int_equal(m->items[0]->tx_info->modulation->lora->spreading_factor, 10);
	assert_int_equal(m->items[0]->tx_info->timing->delay->delay->seconds, 3);
	assert_int_equal(m->items[1]->tx_info->frequency, 868100000);
	assert_int_equal(m->items[1]->tx_info->timing->delay->delay->seconds, 4);
	struct heard h = world_hear(w, d, 0, 0);
	assert_int_equal(h.f_port, 0);
	assert_string_equal(h.data_hex, "0703184f84500704e85684500705b85e84500500d2ad840801");
	world_ack_ok(w);
	world_up(w, d, &(struct up){.f_port = 10, .dr = 3, .fopts_hex = "070307030703050708"});
	m = world_last_down(w);
	assert_int_equal(m->items[0]->tx_info->timing->delay->delay->seconds, 1);
	assert_int_equal(m->items[1]->tx_info->frequency, 869525000);
	h = world_hear(w, d, 0, 1);
	assert_string_equal(h.fopts_hex, "0706886684500707586e8450");
	world_ack_ok(w);
	struct ns_session s = world_session(d);
	assert_int_equal(s.user_channels[2].hz, 867500000);
	assert_int_equal(s.rx1_delay_s, 1);
	/* one accepted, one refused: the refused one is not proposed again */
	size_t downs = w->n_downs;
	world_up(w, d, &(struct up){.f_port = 10, .dr = 3, .fopts_hex = "07030700"});
	world_up(w, d, &(struct up){.f_port = 10, .dr = 3});
	assert_int_equal(w->n_downs, downs);
	s = world_session(d);
	assert_int_equal(s.user_channels[3].hz, 867700000);
	assert_int_equal(s.user_channels[4].hz, 0);
}

/* [test_lorawan_10_rx_delay] [RxTimingSetupAns is answered with an empty downlink]
 * spec: TS001-1.0.4 §5.7
 * rows: rx-delay rx-delay-larger rx-delay-request rx-delay-answer */
static void rx_delay(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	d->rec.profile.rx1_delay_s = 5;
	world_up(w, d, &PLAIN);
	assert_string_equal(world_hear(w, d, 0, 0).fopts_hex, "0805");
	assert_int_equal(world_last_down(w)->items[0]->tx_info->timing->delay->delay->seconds, 1);
	world_ack_ok(w);
	world_up(w, d, &(struct up){.f_port = 10, .fopts_hex = "08"});
	struct heard h = world_hear(w, d, 0, 1);
	assert_string_equal(h.fopts_hex, "");
	assert_int_equal(world_last_down(w)->items[0]->tx_info->timing->delay->delay->seconds, 5);
	assert_int_equal(world_last_down(w)->items[1]->tx_info->timing->delay->delay->seconds, 6);
	/* 2 s after the uplink the windows are still ahead */
	world_ack_ok(w);
	world_up(w, d, &PLAIN);
	world_pass(w, 2000);
	world_enqueue(w, d, 7, false, "01");
	assert_string_equal(world_hear(w, d, 0, 2).data_hex, "01");
}

/* [must request device-status; interval has not yet expired; + downlink payload]
 * spec: TS001-1.0.4 §5.5
 * rows: status status-early status-fopts status-payload status-report */
static void device_status(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	d->rec.profile.device_status_req_interval = 24;
	world_enqueue(w, d, 7, false, "01");
	world_up(w, d, &PLAIN);
	struct heard h = world_hear(w, d, 0, 0);
	assert_string_equal(h.fopts_hex, "06");
	assert_string_equal(h.data_hex, "01");
	world_ack_ok(w);
	size_t downs = w->n_downs;
	world_up(w, d, &PLAIN);
	assert_int_equal(w->n_downs, downs);
	world_pass(w, 3600 * 1000);
	world_up(w, d, &PLAIN);
	assert_int_equal(w->n_downs, downs + 1);
	/* refused by the gateway: it was never asked */
	world_ack(w, (const char *const[]){"TX_FREQ", "TX_FREQ", NULL});
	world_up(w, d, &PLAIN);
	assert_string_equal(world_hear(w, d, 0, 1).fopts_hex, "06");
}

/* [network.mac_commands_disabled]
 * spec: none: setting of the network
 * rows: mac-disabled */
static void mac_commands_disabled(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	w->cfg.mac_commands_disabled = true;
	world_restart(w);
	size_t downs = w->n_downs;
	d->rec.profile.device_status_req_interval = 24;
	world_up(w, d, &(struct up){.f_port = 10, .fopts_hex = "02"});
	assert_int_equal(w->n_downs, downs);
}

/* Class C: at once, over RX2; the next when the gateway has answered; a confirmed one holds the others back.
 * spec: TS001-1.0.4 §15
 * rows: class-c class-c-lock class-c-confirmed */
static void class_c(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	d->rec.profile.supports_class_c = true;
	d->rec.profile.class_c_timeout_s = 3;
	world_join(w, d);
	assert_int_equal(world_session(d).enabled_class, LW_CLASS_C);
	size_t downs = w->n_downs;
	world_enqueue(w, d, 7, false, "01"); /* before its first uplink: [nothing] */
	assert_int_equal(w->n_downs, downs);
	world_up(w, d, &PLAIN);
	world_hear(w, d, 0, 0);
	world_ack_ok(w);
	world_pass(w, 10000);
	downs = w->n_downs;
	world_enqueue(w, d, 7, false, "02");
	world_enqueue(w, d, 7, true, "03");
	world_enqueue(w, d, 7, false, "04");
	assert_int_equal(w->n_downs, downs + 1);
	const Gw__DownlinkFrame *m = world_last_down(w);
	assert_int_equal(m->n_items, 1);
	assert_int_equal(m->items[0]->tx_info->timing->parameters_case, GW__TIMING__PARAMETERS_IMMEDIATELY);
	assert_int_equal(m->items[0]->tx_info->frequency, 869525000);
	assert_int_equal(m->items[0]->tx_info->context.len, 4);
	assert_string_equal(world_hear(w, d, 0, 1).data_hex, "02");
	world_ack_ok(w);
	assert_int_equal(w->n_downs, downs + 2);
	assert_true(world_hear(w, d, 0, 2).confirmed);
	world_ack_ok(w);
	assert_int_equal(w->n_downs, downs + 2); /* waits for the acknowledgement */
	assert_true(d->queue[0].item.timeout_after_ns > 0);
	world_up(w, d, &WITH_ACK);
	assert_true(world_last(w, KIND(ACK))->ack->acknowledged);
	assert_string_equal(world_hear(w, d, 0, 3).data_hex, "04");
	world_ack_ok(w);
	/* [class_c: confirmed, no ACK within the class C timeout] the next one follows then */
	world_pass(w, 10000);
	world_enqueue(w, d, 7, true, "05");
	world_enqueue(w, d, 7, false, "06");
	assert_string_equal(world_hear(w, d, 0, 4).data_hex, "05");
	world_ack_ok(w);
	downs = w->n_downs;
	world_pass(w, 2900);
	assert_int_equal(w->n_downs, downs);
	world_pass(w, 200);
	assert_false(world_last(w, KIND(ACK))->ack->acknowledged);
	assert_string_equal(world_hear(w, d, 0, 5).data_hex, "06");
}

/* [class_c: has not yet sent an uplink; confirmed data; 300 bytes] [DownlinkTXAck class C: nack] Nobody waits for a
 * poll.
 * spec: TS001-1.0.4 §15
 * rows: class-c-silent class-c-confirmed class-c-size class-c-nack */
static void class_c_refused(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	char hex[2 * 52 + 1];
	d->rec.profile.supports_class_c = true;
	world_join(w, d);
	world_up(w, d, &PLAIN);
	world_pass(w, 10000);
	size_t downs = w->n_downs;
	world_enqueue(w, d, 7, true, "01");
	assert_int_equal(w->n_downs, downs + 1); /* in the same turn of the loop */
	assert_int_equal(w->down[downs].at_ns, rt_loop_now_ns(w->loop));
	world_ack(w, (const char *const[]){"COLLISION_PACKET", NULL});
	assert_int_equal(world_session(d).n_f_cnt_down, 0); /* given back */
	assert_int_equal(world_last(w, KIND(LOG))->log->code, 8);
	/* again after 5 s, then 10 s */
	world_pass(w, 4900);
	assert_int_equal(w->n_downs, downs + 1);
	world_pass(w, 200);
	assert_int_equal(w->n_downs, downs + 2);
	world_ack(w, (const char *const[]){"COLLISION_PACKET", NULL});
	world_pass(w, 9900);
	assert_int_equal(w->n_downs, downs + 2);
	world_pass(w, 200);
	assert_int_equal(w->n_downs, downs + 3);
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, "01");
	/* silence: the counter stays used, and once more */
	world_pass(w, 30000);
	assert_int_equal(world_last_downlink_record(w)->reason, R(GATEWAY_SILENT));
	world_pass(w, 20100);
	assert_int_equal(w->n_downs, downs + 4);
	assert_string_equal(world_hear(w, d, 0, 1).data_hex, "01");
	world_ack_ok(w);
	world_up(w, d, &WITH_ACK);
	assert_true(world_last(w, KIND(ACK))->ack->acknowledged);
	assert_int_equal(d->n_queue, 0);
	/* too large for RX2's data rate: discarded, and the next one goes */
	world_pass(w, 10000);
	memset(hex, '0', sizeof(hex) - 1);
	hex[sizeof(hex) - 1] = '\0';
	world_enqueue(w, d, 7, false, hex);
	assert_int_equal(world_last(w, KIND(LOG))->log->code, 1);
	assert_int_equal(d->n_queue, 0);
	assert_int_equal(w->n_downs, downs + 4);
}

/* The database is away when an item for a device of class C comes, at each of the steps that need it: nobody waits for
 * its next uplink.
 * spec: TS001-1.0.4 §15 */
static void class_c_without_a_database(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	d->rec.profile.supports_class_c = true;
	world_join(w, d);
	world_up(w, d, &PLAIN);
	world_pass(w, 10000);
	size_t downs = w->n_downs;
	w->store_away = true;
	world_enqueue(w, d, 7, false, "01");
	world_pass(w, 4900);
	assert_int_equal(w->n_downs, downs);
	assert_int_equal(world_last_downlink_record(w)->reason, R(STORAGE_UNAVAILABLE));
	/* again after 5 s, then 10 s */
	world_pass(w, 200);
	w->store_away = false;
	world_pass(w, 9700);
	assert_int_equal(w->n_downs, downs);
	world_pass(w, 400);
	assert_int_equal(w->n_downs, downs + 1);
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, "01");
	world_ack_ok(w);
	world_pass(w, 60000);
	assert_int_equal(w->n_downs, downs + 1);
}

/* Soon after an uplink RX1 is the sooner way; what comes later goes at once over RX2.
 * spec: TS001-1.0.4 §15
 * rows: up-class-c */
static void class_c_after_uplink(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	d->rec.profile.supports_class_c = true;
	world_join(w, d);
	world_up(w, d, &PLAIN); /* 400 ms */
	world_enqueue(w, d, 7, false, "01");
	const Gw__DownlinkFrame *m = world_last_down(w);
	assert_int_equal(m->items[0]->tx_info->timing->delay->delay->seconds, 1);
	assert_int_equal(m->items[0]->tx_info->frequency, 868100000);
	world_ack_ok(w);
	world_enqueue(w, d, 7, false, "02");
	m = world_last_down(w);
	assert_int_equal(m->items[0]->tx_info->timing->parameters_case, GW__TIMING__PARAMETERS_IMMEDIATELY);
	world_ack_ok(w);
	world_up(w, d, &PLAIN);
	world_pass(w, 700);
	world_enqueue(w, d, 7, false, "03");
	m = world_last_down(w);
	assert_int_equal(m->items[0]->tx_info->timing->parameters_case, GW__TIMING__PARAMETERS_IMMEDIATELY);
	assert_string_equal(world_hear(w, d, 0, 2).data_hex, "03");
}

/* The clock is set back by an hour: what was to end a few seconds later does not wait for an hour.
 * spec: TS001-1.0.4 §15 */
static void class_c_clock_back(void **state)
{
	const int64_t hour_ns = 3600 * LW_NS_PER_S;
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	d->rec.profile.supports_class_c = true;
	world_join(w, d);
	world_up(w, d, &PLAIN);
	struct ns_session s = world_session(d);
	s.last_uplink_at_ns += hour_ns;
	s.answered = false;
	world_session_put(d, &s);
	world_enqueue(w, d, 7, true, "01"); /* not for RX1, which would be met in an hour */
	const Gw__DownlinkFrame *m = world_last_down(w);
	assert_int_equal(m->items[0]->tx_info->timing->parameters_case, GW__TIMING__PARAMETERS_IMMEDIATELY);
	world_ack_ok(w);
	assert_int_equal(d->queue[0].item.state, NS_ITEM_PENDING);
	d->queue[0].item.timeout_after_ns += hour_ns;
	world_enqueue(w, d, 7, false, "02");
	world_pass(w, 6000);
	assert_string_equal(world_hear(w, d, 0, 1).data_hex, "02");
	assert_false(world_last(w, KIND(ACK))->ack->acknowledged);
}

/* The next uplink of the device, which closes its window 200 ms later. */
static void receive(struct world *w, struct world_device *d, const struct up *up)
{
	struct frame f;
	struct air air = world_air();
	struct up u = *up;
	u.dr = air.dr;
	device_frame_up(&d->end, &u, &f);
	world_receive(w, &air, &f);
}

/* An uplink that came just before a confirmed item went out says nothing about it, however late it is dealt with.
 * spec: TS001-1.0.4 §15 */
static void class_c_uplink_before_the_item(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	d->rec.profile.supports_class_c = true;
	world_join(w, d);
	world_up(w, d, &PLAIN);
	world_pass(w, 10000);
	receive(w, d, &PLAIN);
	world_pass(w, 50);
	world_enqueue(w, d, 7, true, "01");
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, "01");
	world_ack_ok(w);
	world_enqueue(w, d, 7, false, "02");
	world_pass(w, 400);
	assert_int_equal(world_count(w, KIND(ACK)), 0);
	assert_int_equal(d->queue[0].item.state, NS_ITEM_PENDING);
	world_up(w, d, &WITH_ACK);
	assert_true(world_last(w, KIND(ACK))->ack->acknowledged);
	assert_string_equal(world_hear(w, d, 0, 1).data_hex, "02");
}

/* An acknowledgement that came before an item went out is not for that item: refused by the gateway, it goes again.
 * spec: TS001-1.0.4 §15 */
static void class_c_acknowledgement_of_the_one_before(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	d->rec.profile.supports_class_c = true;
	d->rec.profile.class_c_timeout_s = 5;
	world_join(w, d);
	world_up(w, d, &PLAIN);
	world_pass(w, 10000);
	world_enqueue(w, d, 7, true, "01");
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, "01");
	world_ack_ok(w);
	world_enqueue(w, d, 7, true, "02");
	world_pass(w, 4900);
	size_t downs = w->n_downs;
	receive(w, d, &WITH_ACK);
	world_pass(w, 150); /* the first one's time is over before the uplink's window closes */
	assert_int_equal(world_count(w, KIND(ACK)), 1);
	assert_false(world_last(w, KIND(ACK))->ack->acknowledged);
	assert_int_equal(w->n_downs, downs + 1);
	assert_int_equal(d->queue[0].item.state, NS_ITEM_SENT);
	world_pass(w, 400);
	assert_int_equal(world_count(w, KIND(ACK)), 1);
	assert_int_equal(d->n_queue, 1);
	world_ack(w, (const char *const[]){"TOO_LATE", NULL});
	world_pass(w, 6000);
	world_ack_ok(w);
	world_up(w, d, &WITH_ACK);
	assert_int_equal(world_count(w, KIND(ACK)), 2);
	assert_true(world_last(w, KIND(ACK))->ack->acknowledged);
	assert_int_equal(d->n_queue, 0);
}

/* Asked to listen on another frequency, and not heard of since: on which of both it listens nobody knows, so that what
 * is queued waits for its next uplink, with the answer or without.
 * spec: TS001-1.0.4 §5.4 */
static void class_c_between_two_frequencies(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_4);
	d->rec.profile.supports_class_c = true;
	world_join(w, d);
	struct ns_session s = world_session(d);
	s.rx2_hz = 868100000;
	world_session_put(d, &s);
	world_up(w, d, &PLAIN);
	assert_string_equal(world_hear(w, d, 0, 0).fopts_hex, "0500d2ad84");
	world_ack_ok(w);
	world_pass(w, 10000);
	size_t downs = w->n_downs;
	world_enqueue(w, d, 7, false, "01");
	world_pass(w, 60000);
	assert_int_equal(w->n_downs, downs);
	/* it has not heard the request: it is asked again, */
	world_up(w, d, &PLAIN);
	assert_string_equal(world_hear(w, d, 0, 1).fopts_hex, "0500d2ad84");
	assert_string_equal(world_hear(w, d, 0, 1).data_hex, "01");
	world_ack_ok(w);
	world_pass(w, 10000);
	world_enqueue(w, d, 7, false, "02");
	assert_int_equal(w->n_downs, downs + 1);
	/* and has not heard that either: it listens where it did */
	world_up(w, d, &PLAIN);
	assert_string_equal(world_hear(w, d, 0, 2).data_hex, "02");
	world_ack_ok(w);
	world_pass(w, 10000);
	world_enqueue(w, d, 7, false, "03");
	assert_int_equal(world_last_down(w)->items[0]->tx_info->frequency, 868100000);
	world_ack_ok(w);
	/* asked once more, but no gateway sends it */
	world_up(w, d, &PLAIN);
	assert_string_equal(world_hear(w, d, 0, 4).fopts_hex, "0500d2ad84");
	world_ack(w, (const char *const[]){"TX_FREQ", "TX_FREQ", NULL});
	world_pass(w, 10000);
	downs = w->n_downs;
	world_enqueue(w, d, 7, false, "04");
	assert_int_equal(w->n_downs, downs + 1);
	world_ack_ok(w);
	world_enqueue(w, d, 7, false, "05");
	assert_int_equal(w->n_downs, downs + 2);
	world_ack_ok(w);
	world_up(w, d, &(struct up){.f_port = 10, .data_hex = "01", .fopts_hex = "0507"});
	world_ack_ok(w);
	world_pass(w, 10000);
	world_enqueue(w, d, 7, false, "06");
	assert_int_equal(world_last_down(w)->items[0]->tx_info->frequency, 869525000);
}

/* Without a timeout in the profile a device has the eight seconds of the standard for its acknowledgement.
 * spec: RP002-1.0.4 §2.3: CLASS_C_RESP_TIMEOUT */
static void class_c_default_timeout(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_4);
	d->rec.profile.supports_class_c = true;
	world_join(w, d);
	world_up(w, d, &PLAIN);
	world_pass(w, 10000);
	world_enqueue(w, d, 7, true, "01");
	world_ack_ok(w);
	world_pass(w, 7900);
	assert_int_equal(world_count(w, KIND(ACK)), 0);
	world_pass(w, 200);
	assert_false(world_last(w, KIND(ACK))->ack->acknowledged);
}

/* Queued while a downlink without an item is under way: it follows when that is settled, whichever way.
 * spec: TS001-1.0.4 §15 */
static void class_c_behind_an_acknowledgement(void **state)
{
	struct world *w = *state;
	for (int v = 0; v < 3; v++) {
		struct world_device *d = world_device(w, LW_MAC_1_0_3);
		d->rec.profile.supports_class_c = true;
		world_join(w, d);
		world_up(w, d, &(struct up){.confirmed = true, .f_port = 10});
		size_t downs = w->n_downs;
		world_enqueue(w, d, 7, false, "01");
		world_pass(w, 100);
		assert_int_equal(w->n_downs, downs);
		if (v == 0)
			world_ack_ok(w);
		if (v == 1)
			world_ack(w, (const char *const[]){"TOO_LATE", "TOO_LATE", NULL});
		world_pass(w, v == 2 ? 36000 : 5100);
		assert_int_equal(w->n_downs, downs + 1);
		assert_string_equal(world_hear(w, d, 0, 1).data_hex, "01");
		world_ack_ok(w);
	}
}

static void gateway_stats(void **state)
{
	struct world *w = *state;
	struct ns_inbox in = {.region = w->regions[0], .received_at_ns = rt_loop_now_ns(w->loop)};
	static const char json[] = "{\"gatewayId\":\"0102030405060701\",\"rxPacketsReceived\":5,"
				   "\"location\":{\"latitude\":1.5,\"longitude\":2.5},\"metadata\":{\"a\":\"b\"}}";
	assert_int_equal(ns_flows_stats(w->flows, &in, lw_span_str(json)), 0);
	world_pass(w, 1);
	assert_true(w->gateway[0].has_location);
	assert_true(w->gateway[0].latitude > 1.4);
	assert_int_equal(w->gateway[0].last_seen_ns, in.received_at_ns);
	const Longwave__Ns__V1__Event *e = world_last(w, KIND(GATEWAY_STATS));
	assert_int_equal(e->gateway_stats->stats->rx_packets_received, 5);
	assert_int_equal(e->gateway_stats->stats->n_metadata, 3);
	static const char unknown[] = "{\"gatewayId\":\"0102030405060709\"}";
	assert_int_equal(ns_flows_stats(w->flows, &in, lw_span_str(unknown)), 0);
	static const char bad[] = "{\"gatewayId\":7}";
	assert_int_equal(ns_flows_stats(w->flows, &in, lw_span_str(bad)), 0);
	world_pass(w, 1);
	assert_int_equal(world_count(w, KIND(GATEWAY_STATS)), 1);
	assert_int_equal(w->outcomes[R(UNKNOWN_GATEWAY)], 1);
	assert_int_equal(w->outcomes[R(MALFORMED)], 1);
	/* One that another network-server was told of is looked up. */
	w->n_gateways_unseen = w->n_gateways;
	in.received_at_ns++;
	assert_int_equal(ns_flows_stats(w->flows, &in, lw_span_str(json)), 0);
	world_pass(w, 1);
	assert_int_equal(w->gateway[0].last_seen_ns, in.received_at_ns);
	assert_int_equal(world_count(w, KIND(GATEWAY_STATS)), 2);
	/* Without the database it stays unknown. */
	w->n_gateways_unseen = w->n_gateways;
	w->store_away = true;
	assert_int_equal(ns_flows_stats(w->flows, &in, lw_span_str(json)), 0);
	world_pass(w, 1);
	assert_int_equal(w->outcomes[R(UNKNOWN_GATEWAY)], 2);
}

/* Answers that answer nothing. */
static void strange_tx_acks(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	struct ns_inbox in = {.region = w->regions[0]};
	world_enqueue(w, d, 7, false, "01");
	world_up(w, d, &PLAIN);
	static const char *text[] = {
		"", "\xff", "{\"gatewayId\":\"0102030405060701\",\"downlinkId\":1,\"items\":[{\"status\":\"OK\"}]}"};
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(ns_flows_tx_ack(w->flows, &in, lw_span_str(text[i])), 0);
	world_pass(w, 1);
	assert_int_equal(d->queue[0].item.state, NS_ITEM_SENT);
	world_ack(w, (const char *const[]){NULL}); /* no items */
	assert_int_equal(d->queue[0].item.state, NS_ITEM_SENT);
	world_ack_ok(w);
	assert_int_equal(d->n_queue, 0);
	world_ack_ok(w); /* twice */
	assert_int_equal(world_count(w, KIND(TX_ACK)), 1);
}

#define TEST(x) cmocka_unit_test_setup_teardown(x, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_unconfirmed),
		TEST(two_items_set_fpending),
		TEST(confirmed_acknowledged),
		TEST(acknowledgement_repeated),
		TEST(late_acknowledgements),
		TEST(boards_and_antennas),
		TEST(confirmed_not_acknowledged),
		TEST(acknowledged_without_tx_ack),
		TEST(silent_gateway),
		TEST(restart_before_tx_ack),
		TEST(refusals),
		TEST(late_refusal_gives_nothing_back),
		TEST(refused_goes_elsewhere),
		TEST(refused_too_late_to_go_elsewhere),
		TEST(broker_away),
		TEST(commit_before_send),
		TEST(conflict_builds_anew),
		TEST(too_large),
		TEST(fits_only_rx1),
		TEST(mac_command_first),
		TEST(expired),
		TEST(encrypted_by_the_caller),
		TEST(encrypted_anew),
		TEST(window_of_counters),
		TEST(enqueued_in_time),
		TEST(reaction_rides_along),
		TEST(window_without_room),
		TEST(windows_by_configuration),
		TEST(link_check_and_time),
		TEST(strange_commands),
		TEST(adr_ack_req_is_answered),
		TEST(abp_with_other_parameters),
		TEST(rx_delay),
		TEST(device_status),
		TEST(mac_commands_disabled),
		TEST(class_c),
		TEST(class_c_refused),
		TEST(class_c_without_a_database),
		TEST(class_c_after_uplink),
		TEST(class_c_clock_back),
		TEST(class_c_uplink_before_the_item),
		TEST(class_c_acknowledgement_of_the_one_before),
		TEST(class_c_behind_an_acknowledgement),
		TEST(class_c_between_two_frequencies),
		TEST(class_c_default_timeout),
		TEST(gateway_stats),
		TEST(strange_tx_acks),
	};
	return cmocka_run_group_tests_name("network-server downlink", tests, NULL, NULL);
}
