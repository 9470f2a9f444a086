/* Stories of the downlink planner: gateways that are busy, slow, silent, or have used up their hour.
 * spec: none: operation */
#include <string.h>

#include "world.h"

#define DROPPED LONGWAVE__V1__OUTCOME__DROPPED
#define R(x) LONGWAVE__V1__REASON__##x
#define KIND(x) LONGWAVE__NS__V1__EVENT__KIND_##x

static const struct up PLAIN = {.f_port = 10, .data_hex = "01"};
static const struct up CONFIRMED = {.f_port = 10, .data_hex = "01", .confirmed = true};

static int setup(void **state)
{
	struct world *w = world_new();
	world_gateway(w, 2);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

static struct world_device *joined(struct world *w)
{
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_join(w, d);
	world_pass(w, 20000);
	return d;
}

/* Heard by gateway 0 and, with another strength, by gateway 1. */
static void up_by_both(struct world *w, struct world_device *d, const struct up *up, uint8_t dr, double snr1)
{
	struct air air = world_air();
	struct frame f;
	device_frame_up(&d->end, up, &f);
	air.dr = dr;
	air.context_hex = "aa";
	world_receive(w, &air, &f);
	air.gateway = 1;
	air.snr = snr1;
	air.context_hex = "bb";
	world_receive(w, &air, &f);
}

static void two_at_once_take_two_gateways(void **state)
{
	struct world *w = *state;
	struct world_device *a = joined(w);
	struct world_device *b = joined(w);
	for (int i = 0; i < 10; i++) {
		world_pass(w, 60000);
		size_t downs = w->n_downs;
		up_by_both(w, a, &CONFIRMED, 5, 8);
		up_by_both(w, b, &CONFIRMED, 5, 8);
		world_pass(w, 400);
		assert_int_equal(w->n_downs, downs + 2);
		assert_string_not_equal(w->down[downs].msg->gateway_id, w->down[downs + 1].msg->gateway_id);
		assert_int_equal(w->down[downs].msg->items[0]->tx_info->timing->delay->delay->seconds, 1);
		assert_int_equal(w->down[downs + 1].msg->items[0]->tx_info->timing->delay->delay->seconds, 1);
	}
}

/* The stronger one sends something else in RX1, the weaker one has too little margin. */
static void strong_in_rx2_before_weak_in_rx1(void **state)
{
	struct world *w = *state;
	struct world_device *a = joined(w);
	struct world_device *b = joined(w);
	world_pass(w, 60000);
	world_up(w, a, &CONFIRMED); /* gateway 0 alone hears it */
	up_by_both(w, b, &CONFIRMED, 5, -6);
	world_pass(w, 400);
	/* b came 600 ms after a: its RX1 and a's do not meet, so gateway 0 has both */
	assert_string_equal(world_last_down(w)->gateway_id, "0102030405060701");
	world_pass(w, 60000);
	struct air air = world_air();
	struct frame f;
	device_frame_up(&a->end, &CONFIRMED, &f);
	world_receive(w, &air, &f);
	up_by_both(w, b, &CONFIRMED, 5, -6);
	world_pass(w, 400);
	assert_string_equal(w->down[w->n_downs - 2].msg->gateway_id, "0102030405060701");
	/* RX2 of gateway 0 has the margin and is free; RX1 of gateway 1 would be weak. */
	assert_string_equal(world_last_down(w)->gateway_id, "0102030405060701");
	/* Its own queue has the last word about RX1. */
	assert_int_equal(world_last_down(w)->n_items, 2);
	assert_int_equal(world_last_down(w)->items[0]->tx_info->timing->delay->delay->seconds, 1);
}

/* No window is free anywhere: out it goes, RX1 first. */
static void busy_everywhere_goes_out_all_the_same(void **state)
{
	struct world *w = *state;
	struct world_device *d[8];
	for (int i = 0; i < 8; i++)
		d[i] = joined(w);
	world_pass(w, 60000);
	size_t downs = w->n_downs;
	for (int i = 0; i < 8; i++)
		up_by_both(w, d[i], &CONFIRMED, 0, 8);
	world_pass(w, 400);
	assert_int_equal(w->n_downs, downs + 8);
	assert_int_equal(world_last_down(w)->n_items, 2);
	assert_int_equal(world_last_down(w)->items[0]->tx_info->timing->delay->delay->seconds, 1);
}

static void teach_round_trip(struct world *w, struct world_device *d, uint32_t ms)
{
	for (int i = 0; i < 6; i++) {
		world_pass(w, 30000);
		size_t downs = w->n_downs;
		up_by_both(w, d, &CONFIRMED, 5, -5);
		while (w->n_downs == downs)
			world_pass(w, 1);
		world_pass(w, ms);
		world_ack_ok(w);
	}
}

/* A gateway at the end of a satellite link: RX1 cannot be met, so RX2 it is, at once. */
static void slow_gateway_gets_rx2(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	teach_round_trip(w, d, 690);
	world_pass(w, 30000);
	struct air air = world_air();
	struct frame f;
	device_frame_up(&d->end, &CONFIRMED, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
	assert_int_equal(world_last_down(w)->items[0]->tx_info->timing->delay->delay->seconds, 2);
	assert_int_equal(world_last_down(w)->items[0]->tx_info->frequency, 869525000);
}

/* One that always answers at once does not: RX2 goes to the other, and the counter stays used whatever it says. */
static void silent_gateway_is_replaced(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	teach_round_trip(w, d, 20);
	world_pass(w, 30000);
	world_enqueue(w, d, 7, false, "c0ffee");
	size_t downs = w->n_downs;
	uint32_t f_cnt = world_session(d).n_f_cnt_down;
	up_by_both(w, d, &PLAIN, 5, -5);
	world_pass(w, 1000);
	assert_int_equal(w->n_downs, downs + 1);
	assert_string_equal(world_last_down(w)->gateway_id, "0102030405060701");
	world_pass(w, 900);
	assert_int_equal(w->n_downs, downs + 2);
	assert_string_equal(world_last_down(w)->gateway_id, "0000000000000002");
	assert_int_equal(world_last_down(w)->n_items, 1);
	assert_int_equal(world_last_down(w)->items[0]->tx_info->timing->delay->delay->seconds, 2);
	assert_string_equal(world_hear(w, d, 0, f_cnt).data_hex, "c0ffee");
	world_ack(w, (const char *const[]){"TOO_LATE", NULL});
	assert_int_equal(world_session(d).n_f_cnt_down, f_cnt + 1);
	assert_int_equal(d->queue[0].item.state, NS_ITEM_QUEUED);
	/* and the other way round: it is taken */
	world_pass(w, 30000);
	up_by_both(w, d, &PLAIN, 5, -5);
	world_pass(w, 1900);
	assert_string_equal(world_last_down(w)->gateway_id, "0000000000000002");
	world_ack_ok(w);
	assert_int_equal(d->n_queue, 0);
	assert_int_equal(world_session(d).n_f_cnt_down, f_cnt + 2);
}

/* Between a downlink and its answer the wall clock is set, back or forward: the window that the gateway took cannot be
 * placed by it any more. Nothing ends, and the next downlink goes as ever. */
static void clock_set_before_the_answer(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	const int64_t by_s[] = {-3600, 3600, 40, -40, 86400 * 365};
	for (size_t i = 0; i < sizeof(by_s) / sizeof(by_s[0]); i++) {
		world_pass(w, 20000);
		size_t downs = w->n_downs;
		world_up(w, d, &CONFIRMED);
		assert_int_equal(w->n_downs, downs + 1);
		assert_int_equal(world_last_down(w)->n_items, 2);
		world_set_clock(w, by_s[i]);
		world_ack(w, (const char *const[]){"COLLISION_PACKET", "OK", NULL});
		assert_int_equal(world_last_downlink_record(w)->outcome, LONGWAVE__V1__OUTCOME__DELIVERED);
	}
	world_pass(w, 20000);
	world_up(w, d, &CONFIRMED);
	assert_int_equal(world_last_down(w)->items[0]->tx_info->timing->delay->delay->seconds, 1);
	world_ack_ok(w);
}

/* SF12 answers in RX1 only: where the duty cycle counts, the gateway stops before its hour is used up, says why, and
 * spends no counter; where it does not, it goes on. */
static void the_hour_is_used_up(void **state)
{
	struct world *w = *state;
	struct ns_region_config rx1_only = *ns_region_config_find("eu868");
	const struct ns_region_config *enforce[1] = {&rx1_only};
	rx1_only.rx_window = 1;
	for (size_t i = 0; i < w->cfg.n_regions; i++)
		if (strcmp(w->regions[i]->id, "eu868") == 0)
			w->regions[i] = &rx1_only;
	for (size_t on = 0; on < 2; on++) {
		w->cfg.enforce = enforce;
		w->cfg.n_enforce = on;
		world_restart(w);
		struct world_device *d = joined(w);
		struct air air = world_air();
		unsigned sent = 0;
		air.dr = 0;
		for (int i = 0; i < 45; i++) {
			struct frame f;
			size_t downs = w->n_downs;
			device_frame_up(&d->end, &CONFIRMED, &f);
			world_receive(w, &air, &f);
			world_pass(w, 5000);
			if (w->n_downs == downs)
				continue;
			sent++;
			world_ack_ok(w);
		}
		assert_int_equal(world_session(d).n_f_cnt_down, sent);
		if (!on) {
			assert_int_equal(sent, 45);
			continue;
		}
		/* 90 % of 36 s, a second or more each. */
		assert_in_range(sent, 20, 33);
		const Longwave__Ns__V1__Frame *rec = world_last_downlink_record(w);
		assert_int_equal(rec->outcome, DROPPED);
		assert_int_equal(rec->reason, R(DUTY_CYCLE_OVERFLOW));
		assert_non_null(strstr(rec->detail, "duty cycle used up"));
	}
}

#define TEST(x) cmocka_unit_test_setup_teardown(x, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(two_at_once_take_two_gateways),
		TEST(strong_in_rx2_before_weak_in_rx1),
		TEST(busy_everywhere_goes_out_all_the_same),
		TEST(slow_gateway_gets_rx2),
		TEST(silent_gateway_is_replaced),
		TEST(clock_set_before_the_answer),
		TEST(the_hour_is_used_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
