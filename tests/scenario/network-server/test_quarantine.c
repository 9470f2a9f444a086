/* Devices that flood. */
#include <string.h>

#include "world.h"

#define DELIVERED LONGWAVE__V1__OUTCOME__DELIVERED
#define DROPPED LONGWAVE__V1__OUTCOME__DROPPED
#define R(x) LONGWAVE__V1__REASON__##x

static const struct up PLAIN = {.f_port = 10, .data_hex = "01"};

static size_t n_began;

static void began(void *self, struct lw_dev_eui dev_eui, bool by_joins, uint32_t measured)
{
	struct world *w = self;
	assert_memory_equal(&dev_eui, &w->device[0]->rec.dev_eui, sizeof(dev_eui));
	assert_true(measured > 25);
	(void)by_joins;
	n_began++;
}

static int setup(void **state)
{
	struct world *w = world_new();
	w->cfg.flood = (struct ns_flood_limits){.airtime_percent = 25, .joins = 30, .minutes = 2, .duration_s = 600};
	w->ports.flood = (struct ns_flood_port){w, began};
	world_restart(w);
	n_began = 0;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

/* 1.2 s at DR0. */
static void up(struct world *w, struct world_device *d, uint32_t then_ms)
{
	struct air air = world_air();
	struct up frame = PLAIN;
	struct frame f;
	air.dr = frame.dr = 0;
	device_frame_up(&d->end, &frame, &f);
	world_receive(w, &air, &f);
	world_pass(w, then_ms);
	w->n_frames = w->n_frames > WORLD_LOG - 8 ? 0 : w->n_frames;
}

/* A device whose uplinks fill more of the time than is allowed, for minutes: its frames are dropped with that as their
 * reason, in words with the figures; others go on. It ends by itself, and no later uplink is lost to the counter.
 * spec: EN 300 220-2 V3.2.1 §4.3.3 */
static void flood_of_uplinks(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3), *other = world_device(w, LW_MAC_1_0_3);
	world_abp(w, d, "eu868");
	world_abp(w, other, "eu868");
	unsigned n = 0;
	while (n_began == 0 && n++ < 100)
		up(w, d, 2000);
	assert_in_range(n, 31, 60);
	up(w, d, 2000);
	const Longwave__Ns__V1__Frame *f = world_last_uplink(w);
	assert_int_equal(f->outcome, DROPPED);
	assert_int_equal(f->reason, R(QUARANTINED));
	assert_non_null(strstr(f->detail, "25 % are allowed"));
	struct ns_quarantine q;
	assert_true(ns_flows_quarantine(w->flows, d->rec.dev_eui, &q));
	assert_int_equal(q.limit, 25);
	assert_int_equal(q.dropped, 1);
	assert_true(q.since_ns <= rt_loop_now_ns(w->loop) && q.until_ns > rt_loop_now_ns(w->loop) + 590 * LW_NS_PER_S);
	up(w, other, 400);
	assert_int_equal(world_last_uplink(w)->outcome, DELIVERED);
	world_pass(w, 600000);
	up(w, d, 2000);
	assert_int_equal(world_last_uplink(w)->outcome, DELIVERED);
	assert_false(ns_flows_quarantine(w->flows, d->rec.dev_eui, &q));
	assert_int_equal(n_began, 1);
}

/* Somebody who has mended the device lets it out at once.
 * spec: EN 300 220-2 V3.2.1 §4.3.3 */
static void released_by_hand(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_abp(w, d, "eu868");
	ns_flows_quarantine_began(w->flows, d->rec.dev_eui, NS_FLOOD_UPLINKS, 77);
	up(w, d, 2000);
	assert_int_equal(world_last_uplink(w)->reason, R(QUARANTINED));
	assert_true(ns_flows_release(w->flows, d->rec.dev_eui));
	assert_false(ns_flows_release(w->flows, d->rec.dev_eui));
	up(w, d, 2000);
	assert_int_equal(world_last_uplink(w)->outcome, DELIVERED);
}

/* A device that asks to join again and again: one request in half a minute passes, so that it comes back once it hears
 * its join-accept; what it says in its session is taken.
 * spec: TS001-1.0.4 §7 */
static void flood_of_joins(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	world_join(w, d);
	ns_flows_quarantine_began(w->flows, d->rec.dev_eui, NS_FLOOD_JOINS, 99);
	size_t dropped = 0, answered = w->n_downs;
	for (int i = 0; i < 6; i++) {
		d->end.dev_nonce++;
		device_frame_join(&d->end, &f);
		world_receive(w, &air, &f);
		world_pass(w, 10000);
		dropped += w->outcomes[R(QUARANTINED)];
		w->outcomes[R(QUARANTINED)] = 0;
	}
	assert_int_equal(dropped, 5);
	assert_int_equal(w->n_downs - answered, 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(flood_of_uplinks),
		TEST(released_by_hand),
		TEST(flood_of_joins),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
