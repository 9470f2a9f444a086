/* When an input is gathered and when no more: counted in looks, with a descriptor that a test keeps readable. */
#include "common/runtime/gather.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LONG_MS 20000
#define FROM 1000

struct rig {
	struct rt_loop *loop;
	struct rt_gather gather;
	size_t looks, pieces; /* what each look finds */
	bool off;
};

static void look(void *arg)
{
	struct rig *r = arg;
	r->looks++;
	if (!rt_gather_note(&r->gather, r->pieces))
		r->off = true;
}

static void begin(struct rig *r, struct rt_loop *loop)
{
	*r = (struct rig){.loop = loop};
	rt_gather_init(&r->gather, loop, "test", FROM, false, look, r);
}

static void many_wakes_begin_it_and_few_pieces_end_it(void **state)
{
	(void)state;
	struct rig r;
	begin(&r, rt_loop_new());
	/* A machine that stands still for 32 ms between two lines would need another try. */
	for (int i = 0; i < 10000 && !r.gather.on; i++)
		rt_gather_note(&r.gather, 1);
	assert_true(r.gather.on);
	assert_true(rt_timer_armed(&r.gather.timer));
	/* As long as there is enough, it stays. */
	bool never = false;
	r.pieces = 20;
	while (r.looks < 40)
		rt_loop_run_until(r.loop, &never, 2);
	assert_false(r.off);
	/* Then nothing comes. */
	r.pieces = 0;
	assert_true(rt_loop_run_until(r.loop, &r.off, LONG_MS));
	assert_false(r.gather.on);
	assert_false(rt_timer_armed(&r.gather.timer));
	assert_in_range(r.looks, 41, 40 + 2 * 16 + 1);
	rt_loop_free(r.loop);
}

/* Large batches come by themselves. */
static void many_pieces_a_look_are_left_alone(void **state)
{
	(void)state;
	struct rig r;
	begin(&r, rt_loop_new());
	for (int i = 0; i < 1000; i++)
		assert_false(rt_gather_note(&r.gather, 8));
	for (int i = 0; i < 10000 && !r.gather.on; i++)
		rt_gather_note(&r.gather, 1);
	assert_true(r.gather.on);
	r.pieces = 100;
	assert_true(rt_loop_run_until(r.loop, &r.off, LONG_MS));
	assert_in_range(r.looks, 1, 2 * 16);
	rt_loop_free(r.loop);
}

/* What is little and what is much is the owner's to say. */
static void the_sizes_are_the_owners(void **state)
{
	(void)state;
	struct rig r;
	begin(&r, rt_loop_new());
	rt_gather_size(&r.gather, 30, 200);
	for (int i = 0; i < 1000; i++)
		assert_false(rt_gather_note(&r.gather, 30));
	for (int i = 0; i < 10000 && !r.gather.on; i++)
		rt_gather_note(&r.gather, 29);
	assert_true(r.gather.on);
	bool never = false;
	r.pieces = 199;
	while (r.looks < 40)
		rt_loop_run_until(r.loop, &never, 2);
	assert_false(r.off);
	r.pieces = 200;
	assert_true(rt_loop_run_until(r.loop, &r.off, LONG_MS));
	rt_loop_free(r.loop);
}

/* What begins it at a lower rate is also enough to keep it. */
static void the_rate_is_the_owners(void **state)
{
	(void)state;
	struct rig r = {.loop = rt_loop_new()};
	rt_gather_init(&r.gather, r.loop, "test", FROM / 4, false, look, &r);
	for (int i = 0; i < 10000 && !r.gather.on; i++)
		rt_gather_note(&r.gather, 1);
	assert_true(r.gather.on);
	bool never = false;
	r.pieces = 1; /* 16 in 16 looks: more than 8, less than 32 */
	while (r.looks < 40)
		rt_loop_run_until(r.loop, &never, 2);
	assert_false(r.off);
	r.pieces = 0;
	assert_true(rt_loop_run_until(r.loop, &r.off, LONG_MS));
	rt_loop_free(r.loop);
}

/* Wakes alone do not begin it, and what would keep it does not. */
static void the_least_is_the_owners(void **state)
{
	(void)state;
	struct rig r = {.loop = rt_loop_new()};
	rt_gather_init(&r.gather, r.loop, "test", FROM / 4, false, look, &r);
	rt_gather_least(&r.gather, 2000);
	for (int i = 0; i < 1000; i++)
		assert_false(rt_gather_note(&r.gather, 0));
	for (int i = 0; i < 10000 && !r.gather.on; i++)
		rt_gather_note(&r.gather, 1);
	assert_true(r.gather.on);
	bool never = false;
	r.pieces = 7;
	while (r.looks < 40)
		rt_loop_run_until(r.loop, &never, 2);
	assert_false(r.off);
	r.pieces = 3; /* 48 in 16 looks: more than 8, less than 64 */
	assert_true(rt_loop_run_until(r.loop, &r.off, LONG_MS));
	rt_loop_free(r.loop);
}

/* With a piece each `ns`, or later. */
static void note_each(struct rig *r, int64_t ns)
{
	int64_t at = rt_loop_mono_ns(r->loop);
	while (rt_loop_mono_ns(r->loop) - at < ns)
		;
	rt_gather_note(&r->gather, 1);
}

/* Pieces a second, however fast or slow the wakes are that bring them. */
static void the_least_is_a_rate(void **state)
{
	(void)state;
	struct rig r = {.loop = rt_loop_new()};
	rt_gather_init(&r.gather, r.loop, "test", 1, false, look, &r);
	rt_gather_least(&r.gather, 2000);
	for (int i = 0; i < 100 && !r.gather.on; i++)
		note_each(&r, LW_NS_PER_MS);
	assert_false(r.gather.on);
	/* A machine that stands still amid 32 of them has another try. */
	for (int i = 0; i < 100000 && !r.gather.on; i++)
		note_each(&r, LW_NS_PER_S / 20000);
	assert_true(r.gather.on);
	rt_gather_stop(&r.gather);
	rt_loop_free(r.loop);
}

/* Every millisecond while it brings little, every second one when it brings more. */
static void what_is_awaited_waits_less(void **state)
{
	(void)state;
	bool never = false;
	struct rig r = {.loop = rt_loop_new()};
	rt_gather_init(&r.gather, r.loop, "test", FROM, true, look, &r);
	for (int i = 0; i < 10000 && !r.gather.on; i++)
		rt_gather_note(&r.gather, 1);
	assert_int_equal(r.gather.every_ms, 1);
	r.pieces = 2;
	while (r.looks < 40)
		rt_loop_run_until(r.loop, &never, 2);
	assert_int_equal(r.gather.every_ms, 1);
	r.pieces = 20;
	while (r.looks < 80)
		rt_loop_run_until(r.loop, &never, 2);
	assert_int_equal(r.gather.every_ms, RT_GATHER_MS);
	r.pieces = 3;
	while (r.looks < 120)
		rt_loop_run_until(r.loop, &never, 2);
	assert_int_equal(r.gather.every_ms, 1);
	assert_false(r.off);
	rt_gather_stop(&r.gather);
	rt_loop_free(r.loop);
}

static void a_stop_ends_it_at_once(void **state)
{
	(void)state;
	struct rig r;
	begin(&r, rt_loop_new());
	for (int i = 0; i < 10000 && !r.gather.on; i++)
		rt_gather_note(&r.gather, 1);
	rt_gather_stop(&r.gather);
	assert_false(r.gather.on);
	assert_false(rt_timer_armed(&r.gather.timer));
	assert_false(rt_gather_note(&r.gather, 1));
	rt_loop_free(r.loop);
}

static void never_in_virtual_time(void **state)
{
	(void)state;
	struct rig r;
	begin(&r, rt_loop_new_virtual(0));
	for (int i = 0; i < 1000; i++)
		assert_false(rt_gather_note(&r.gather, 1));
	rt_loop_free(r.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_wakes_begin_it_and_few_pieces_end_it),
		cmocka_unit_test(many_pieces_a_look_are_left_alone),
		cmocka_unit_test(the_sizes_are_the_owners),
		cmocka_unit_test(the_rate_is_the_owners),
		cmocka_unit_test(the_least_is_the_owners),
		cmocka_unit_test(the_least_is_a_rate),
		cmocka_unit_test(what_is_awaited_waits_less),
		cmocka_unit_test(a_stop_ends_it_at_once),
		cmocka_unit_test(never_in_virtual_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
