#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "network-server/domain/flood.h"

#define S LW_NS_PER_S
#define T0 (1000 * 60 * S) /* at the beginning of a minute */
#define EUI 0x70b3d57ed0000001ULL

static const struct ns_flood_limits LIMITS = {.airtime_percent = 25, .joins = 30, .minutes = 3, .duration_s = 600};

static int setup(void **state)
{
	static struct ns_flood f;
	ns_flood_init(&f, &LIMITS);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	ns_flood_deinit(*state);
	return 0;
}

/* Uplinks of ms each, one every interval, from t0 until t1; when a quarantine began, or 0. */
static int64_t send(struct ns_flood *f, uint64_t eui, uint32_t ms, int64_t interval_ns, int64_t t0, int64_t t1)
{
	for (int64_t t = t0; t < t1; t += interval_ns)
		if (ns_flood_uplink(f, eui, ms * 1000, t))
			return t;
	return 0;
}

static void a_flood_lasts_for_minutes(void **state)
{
	struct ns_flood *f = *state;
	/* A third of the time: in the third minute it is one. */
	int64_t at = send(f, EUI, 1000, 3 * S, T0, T0 + 600 * S);
	assert_in_range(at - T0, 120 * S + 45 * S, 180 * S);
	const struct ns_suspect *s = ns_flood_find(f, EUI, at);
	assert_non_null(s);
	assert_int_equal(s->kind, NS_FLOOD_UPLINKS);
	assert_in_range(s->measured, 33, 36);
	assert_int_equal(s->until_ns, at + 600 * S);
	assert_int_equal(f->n_quarantined, 1);
	assert_true(ns_flood_drops(f, EUI, false, at + S));
	assert_false(ns_flood_drops(f, EUI + 1, false, at + S));
	/* It ends by itself, and begins anew. */
	assert_non_null(ns_flood_find(f, EUI, at + 600 * S - 1));
	assert_null(ns_flood_find(f, EUI, at + 600 * S));
	assert_int_equal(f->n_quarantined, 0);
	assert_false(ns_flood_drops(f, EUI, false, at + 601 * S));
	assert_true(send(f, EUI, 1000, 3 * S, at + 660 * S, at + 660 * S + 120 * S) == 0);
}

/* Below the limit for ever, and far above it for a minute, as what was kept during an outage comes: none of these is a
 * flood. */
static void what_is_none(void **state)
{
	struct ns_flood *f = *state;
	assert_true(send(f, EUI, 1000, 5 * S, T0, T0 + 3600 * S) == 0);
	for (int i = 0; i < 5; i++) {
		int64_t t = T0 + (10000 + i * 180) * S;
		assert_true(send(f, EUI + 1, 1500, S / 100, t, t + 59 * S) == 0);
	}
	assert_int_equal(f->n_quarantined, 0);
	assert_in_range(lw_map_count(&f->suspects), 0, 2);
}

/* A cell that many devices share says nothing of any of them. */
static void many_devices(void **state)
{
	struct ns_flood *f = *state;
	for (int64_t t = T0; t < T0 + 300 * S; t += 10 * S)
		for (uint64_t i = 0; i < 100000; i++)
			assert_null(ns_flood_uplink(f, EUI + i, 300000, t));
	assert_int_equal(f->n_quarantined, 0);
	assert_in_range(lw_map_count(&f->suspects), 0, NS_FLOOD_SUSPECTS);
}

static void joins(void **state)
{
	struct ns_flood *f = *state;
	int64_t at = 0;
	for (int64_t t = T0; !at; t += S)
		at = ns_flood_join(f, EUI, t) ? t : 0;
	assert_in_range(at - T0, 120 * S + 29 * S, 180 * S);
	assert_int_equal(ns_flood_find(f, EUI, at)->kind, NS_FLOOD_JOINS);
	/* One in 30 s passes: a device that was mended comes back; its session, if it has one, goes on. */
	int passed = 0;
	for (int64_t t = at + S; t <= at + 301 * S; t += S)
		passed += !ns_flood_drops(f, EUI, true, t);
	assert_int_equal(passed, 10);
	assert_false(ns_flood_drops(f, EUI, false, at + 302 * S));
	assert_int_equal(ns_flood_find(f, EUI, at + 302 * S)->dropped, 291);
	/* As often as is allowed. */
	for (int64_t t = T0 + 3600 * S; t < T0 + 7200 * S; t += 2 * S)
		assert_null(ns_flood_join(f, EUI + 1, t));
}

static void by_hand_and_by_others(void **state)
{
	struct ns_flood *f = *state;
	assert_false(ns_flood_release(f, EUI));
	ns_flood_begin(f, EUI, NS_FLOOD_UPLINKS, 40, T0, T0 + 600 * S);
	ns_flood_begin(f, EUI, NS_FLOOD_UPLINKS, 50, T0, T0 + 900 * S);
	assert_int_equal(ns_flood_find(f, EUI, T0 + S)->measured, 40);
	assert_true(ns_flood_release(f, EUI));
	assert_null(ns_flood_find(f, EUI, T0 + S));
	assert_int_equal(f->n_quarantined, 0);
	assert_true(send(f, EUI, 1000, 3 * S, T0 + 60 * S, T0 + 180 * S) == 0);
}

static void without_limits(void **state)
{
	struct ns_flood f;
	struct ns_flood_limits none = {.duration_s = 600};
	(void)state;
	ns_flood_init(&f, &none);
	assert_true(send(&f, EUI, 1000, S, T0, T0 + 3600 * S) == 0);
	for (int i = 0; i < 100000; i++)
		assert_null(ns_flood_join(&f, EUI, T0));
	ns_flood_deinit(&f);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_flood_lasts_for_minutes), TEST(what_is_none),   TEST(many_devices), TEST(joins),
		TEST(by_hand_and_by_others),     TEST(without_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
