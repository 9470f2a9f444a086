/* When the deduplication window closes: after its time, or as soon as all have reported that usually do.
 * spec: none: operation */
#include <stdio.h>

#include "world.h"

#define DELIVERED LONGWAVE__V1__OUTCOME__DELIVERED
#define DROPPED LONGWAVE__V1__OUTCOME__DROPPED
#define DUPLICATE LONGWAVE__V1__OUTCOME__DUPLICATE
#define R(x) LONGWAVE__V1__REASON__##x
#define KIND(x) LONGWAVE__NS__V1__EVENT__KIND_##x
#define WINDOW_MS 200
#define ROW 5

static int setup(void **state)
{
	struct world *w = world_new();
	while (w->n_gateways < 4)
		world_gateway(w, w->n_gateways + 1);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

/* The reception of one gateway; the context is its own counter, as in real life. */
static void heard_by(struct world *w, const struct frame *f, unsigned gateway)
{
	struct air air = world_air();
	char context[9];
	snprintf(context, sizeof(context), "%08x", (unsigned)(rt_loop_now_ns(w->loop) / 1000) + gateway);
	air.gateway = gateway;
	air.context_hex = context;
	world_receive(w, &air, f);
}

static void data_frame(struct world_device *d, struct frame *f)
{
	device_frame_up(&d->end, &(struct up){.f_port = 10, .data_hex = "01"}, f);
}

/* An uplink that the gateways of the mask report 10 ms apart. Returns after how many milliseconds the application had
 * it. */
static uint32_t uplink_ms(struct world *w, struct world_device *d, unsigned mask)
{
	struct frame f;
	uint32_t ms = 0;
	size_t before = world_count(w, KIND(UPLINK));
	data_frame(d, &f);
	for (unsigned g = 0; g < 4; g++) {
		if (!(mask & 1u << g))
			continue;
		if (ms > 0 || (mask & ((1u << g) - 1))) {
			world_pass(w, 10);
			ms += 10;
		}
		heard_by(w, &f, g);
	}
	for (; world_count(w, KIND(UPLINK)) == before && ms < 1000; ms += 10)
		world_pass(w, 10);
	assert_int_equal(world_count(w, KIND(UPLINK)), before + 1);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	unsigned n = 0;
	for (unsigned g = 0; g < 4; g++)
		n += mask >> g & 1u;
	assert_int_equal(world_last(w, KIND(UPLINK))->uplink->n_rx_info, n);
	world_pass(w, 2000);
	return ms;
}

static void settle(struct world *w, struct world_device *d, unsigned mask)
{
	for (int i = 0; i < ROW; i++)
		assert_int_equal(uplink_ms(w, d, mask), WINDOW_MS);
}

static struct world_device *abp(struct world *w)
{
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_abp(w, d, "eu868");
	return d;
}

static void after_five_in_a_row(void **state)
{
	struct world *w = *state;
	struct world_device *d = abp(w);
	settle(w, d, 7);
	for (int i = 0; i < 10; i++)
		assert_int_equal(uplink_ms(w, d, 7), 20);
}

/* A complete frame does not overtake an earlier one that still waits for a copy: its counter would shut that one out.
 */
static void frames_keep_their_order(void **state)
{
	struct world *w = *state;
	struct world_device *d = abp(w);
	struct frame first, second;
	settle(w, d, 3);
	size_t before = world_count(w, KIND(UPLINK));
	data_frame(d, &first);
	data_frame(d, &second);
	heard_by(w, &first, 0);
	world_pass(w, 10);
	heard_by(w, &second, 0);
	heard_by(w, &second, 1);
	world_pass(w, 2000);
	assert_int_equal(world_count(w, KIND(UPLINK)), before + 2);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
}

static void one_gateway_needs_no_window(void **state)
{
	struct world *w = *state;
	struct world_device *d = abp(w);
	settle(w, d, 2);
	assert_int_equal(uplink_ms(w, d, 2), 0);
}

/* The acknowledgement goes out as early as the frame is known to be complete, through the strongest of the gateways. */
static void an_answer_goes_out_at_once(void **state)
{
	struct world *w = *state;
	struct world_device *d = abp(w);
	struct frame f;
	struct air air = world_air();
	settle(w, d, 3);
	world_pass(w, 10000);
	size_t before = w->n_downs;
	device_frame_up(&d->end, &(struct up){.confirmed = true, .f_port = 10}, &f);
	air.context_hex = "00000011";
	air.snr = -5;
	world_receive(w, &air, &f);
	world_pass(w, 30);
	air.gateway = 1;
	air.context_hex = "00000022";
	air.snr = 9;
	world_receive(w, &air, &f);
	world_pass(w, w->cfg.downlink_data_delay_ms + 10);
	assert_int_equal(w->n_downs, before + 1);
	assert_string_equal(world_last_down(w)->gateway_id, "0000000000000002");
	assert_int_equal(world_last_down(w)->items[0]->tx_info->timing->delay->delay->seconds, 1);
}

static void a_silent_gateway_is_waited_for(void **state)
{
	struct world *w = *state;
	struct world_device *d = abp(w);
	settle(w, d, 7);
	assert_int_equal(uplink_ms(w, d, 5), WINDOW_MS);
	/* the row was broken */
	settle(w, d, 7);
	assert_int_equal(uplink_ms(w, d, 7), 20);
}

static void another_gateway_in_the_window(void **state)
{
	struct world *w = *state;
	struct world_device *d = abp(w);
	settle(w, d, 6);
	/* gateway 0 comes first: the set is never the usual one */
	assert_int_equal(uplink_ms(w, d, 7), WINDOW_MS);
	settle(w, d, 6);
	assert_int_equal(uplink_ms(w, d, 6), 10);
}

/* It is counted, delivered no second time, and the next uplinks wait. */
static void another_gateway_after_the_window(void **state)
{
	struct world *w = *state;
	struct world_device *d = abp(w);
	struct frame f;
	settle(w, d, 1);
	data_frame(d, &f);
	heard_by(w, &f, 0);
	size_t events = world_count(w, KIND(UPLINK));
	size_t done = w->n_journal_done;
	assert_int_equal(events, ROW + 1);
	world_pass(w, 50);
	heard_by(w, &f, 3);
	world_pass(w, 0);
	assert_outcome(w, DUPLICATE, R(LATE_COPY));
	assert_int_equal(w->n_journal_done, done + 1);
	world_pass(w, 2000);
	assert_int_equal(world_count(w, KIND(UPLINK)), events);
	settle(w, d, 1);
	assert_int_equal(uplink_ms(w, d, 1), 0);
}

/* For as long as after a window that stayed open. */
static void late_copies_are_known_long_enough(void **state)
{
	struct world *w = *state;
	struct world_device *d = abp(w);
	struct frame f;
	settle(w, d, 1);
	data_frame(d, &f);
	heard_by(w, &f, 0);
	world_pass(w, WINDOW_MS + 900);
	heard_by(w, &f, 1);
	world_pass(w, 0);
	assert_outcome(w, DUPLICATE, R(LATE_COPY));
}

/* The broker delivers once more what was in the window: no other gateway. */
static void a_redelivery_changes_nothing(void **state)
{
	struct world *w = *state;
	struct world_device *d = abp(w);
	struct air air = world_air();
	struct frame f;
	settle(w, d, 1);
	data_frame(d, &f);
	world_receive(w, &air, &f);
	world_pass(w, 50);
	world_receive(w, &air, &f);
	world_pass(w, 0);
	assert_outcome(w, DUPLICATE, R(LATE_COPY));
	world_pass(w, 2000);
	assert_int_equal(uplink_ms(w, d, 1), 0);
}

/* Two antennas report apart from each other; both are waited for. */
static void antennas(void **state)
{
	struct world *w = *state;
	struct world_device *d = abp(w);
	struct air air = world_air();
	struct frame f;
	for (unsigned i = 0; i <= ROW; i++) {
		size_t before = world_count(w, KIND(UPLINK));
		data_frame(d, &f);
		air.antenna = 0;
		world_receive(w, &air, &f);
		world_pass(w, 10);
		air.antenna = 1;
		world_receive(w, &air, &f);
		world_pass(w, 10);
		assert_int_equal(world_count(w, KIND(UPLINK)), before + (i == ROW));
		world_pass(w, 2000);
		assert_int_equal(world_last(w, KIND(UPLINK))->uplink->n_rx_info, 2);
	}
}

static void joins_wait(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct frame f;
	world_join(w, d);
	settle(w, d, 1);
	assert_int_equal(uplink_ms(w, d, 1), 0);
	size_t before = w->n_downs;
	d->end.dev_nonce++;
	device_frame_join(&d->end, &f);
	heard_by(w, &f, 0);
	world_pass(w, WINDOW_MS - 10);
	assert_int_equal(w->n_downs, before);
	world_pass(w, 10);
	assert_int_equal(w->n_downs, before + 1);
	/* a new session, a new row */
	struct lw_join_accept ja;
	const Gw__DownlinkFrame *m = world_last_down(w);
	device_accept(&d->end, m->items[0]->phy_payload.data, m->items[0]->phy_payload.len, &ja);
	world_ack_ok(w);
	settle(w, d, 1);
}

/* Nobody can say before the MIC is checked whose row it is. */
static void a_shared_address_waits(void **state)
{
	struct world *w = *state;
	struct world_device *a = abp(w), *b = abp(w);
	settle(w, a, 1);
	struct ns_session s = world_session(b);
	s.devaddr = b->end.devaddr = a->end.devaddr;
	world_session_put(b, &s);
	ns_flows_address_taken(w->flows, a->end.devaddr); /* as the API does */
	settle(w, b, 3);
	settle(w, b, 3);
	settle(w, a, 1);
	settle(w, a, 1);
}

static void foreign_frames_teach_nothing(void **state)
{
	struct world *w = *state;
	struct world_device *d = abp(w);
	struct frame f;
	for (int i = 0; i < 2 * ROW; i++) {
		device_frame_up(&d->end, &(struct up){.f_port = 10, .wrong_mic = true}, &f);
		heard_by(w, &f, 0);
		world_pass(w, WINDOW_MS - 10);
		assert_int_equal(w->n_frames, (size_t)i);
		world_pass(w, 2000);
		assert_outcome(w, DROPPED, R(MIC_MISMATCH));
	}
	assert_int_equal(uplink_ms(w, d, 1), WINDOW_MS);
}

/* A device that repeats a frame is heard by whom it is; only new frames make a row. */
static void repetitions_make_no_row(void **state)
{
	struct world *w = *state;
	struct world_device *d = abp(w);
	struct frame f;
	data_frame(d, &f);
	for (int i = 0; i < 2 * ROW; i++) {
		heard_by(w, &f, 0);
		world_pass(w, 3000);
	}
	/* the frame itself was the first one */
	for (int i = 1; i < ROW; i++)
		assert_int_equal(uplink_ms(w, d, 1), WINDOW_MS);
	assert_int_equal(uplink_ms(w, d, 1), 0);
	/* repeated through another gateway: something has changed */
	data_frame(d, &f);
	heard_by(w, &f, 0);
	world_pass(w, 3000);
	heard_by(w, &f, 1);
	world_pass(w, 3000);
	assert_int_equal(uplink_ms(w, d, 1), WINDOW_MS);
}

static void replays_wait_and_teach_nothing(void **state)
{
	struct world *w = *state;
	struct world_device *d = abp(w);
	struct air air = world_air();
	struct frame f;
	air.replay = true;
	for (int i = 0; i < 2 * ROW; i++) {
		data_frame(d, &f);
		world_receive(w, &air, &f);
		world_pass(w, 2000);
	}
	assert_int_equal(world_count(w, KIND(UPLINK)), 2 * ROW);
	settle(w, d, 1);
	data_frame(d, &f);
	world_receive(w, &air, &f);
	world_pass(w, WINDOW_MS - 10);
	assert_int_equal(world_count(w, KIND(UPLINK)), 3 * ROW);
	world_pass(w, 10);
	assert_int_equal(world_count(w, KIND(UPLINK)), 3 * ROW + 1);
}

/* Other replicas take their part of the receptions. */
static void not_among_replicas(void **state)
{
	struct world *w = *state;
	struct world_device *d = abp(w);
	settle(w, d, 1);
	assert_int_equal(uplink_ms(w, d, 1), 0);
	ns_flows_set_early_close(w->flows, false);
	settle(w, d, 1);
	settle(w, d, 1);
	ns_flows_set_early_close(w->flows, true);
	settle(w, d, 1);
	assert_int_equal(uplink_ms(w, d, 1), 0);
}

static void not_where_configured(void **state)
{
	struct world *w = *state;
	w->cfg.deduplication_adaptive = false;
	world_restart(w);
	struct world_device *d = abp(w);
	ns_flows_set_early_close(w->flows, true);
	settle(w, d, 1);
	settle(w, d, 1);
}

#define TEST(x) cmocka_unit_test_setup_teardown(x, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(after_five_in_a_row),
		TEST(frames_keep_their_order),
		TEST(one_gateway_needs_no_window),
		TEST(an_answer_goes_out_at_once),
		TEST(a_silent_gateway_is_waited_for),
		TEST(another_gateway_in_the_window),
		TEST(another_gateway_after_the_window),
		TEST(late_copies_are_known_long_enough),
		TEST(a_redelivery_changes_nothing),
		TEST(antennas),
		TEST(joins_wait),
		TEST(a_shared_address_waits),
		TEST(foreign_frames_teach_nothing),
		TEST(repetitions_make_no_row),
		TEST(replays_wait_and_teach_nothing),
		TEST(not_among_replicas),
		TEST(not_where_configured),
	};
	return cmocka_run_group_tests_name("network-server deduplication window", tests, NULL, NULL);
}
