#include "common/runtime/flow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rng.h"
#include "common/base/xmalloc.h"
#include "common/runtime/metrics.h"

enum { LATE = 9, ODD = 3 };

struct frame {
	struct rt_flow_ctx ctx; /* first */
	uint64_t device;
	unsigned id;
	bool drop_odd;
	bool ready_after_io;
};

struct rig {
	struct rt_loop *loop;
	struct rt_flow *flow;
	struct rt_flow_ctx *held[256]; /* contexts inside the io step that answers later */
	size_t n_held;
	size_t batches[64];
	size_t n_batches;
	char ended[4096]; /* "id:rc/reason " */
	char trace[1024];
	int busy[16]; /* frames of a device inside the exclusive part */
	int overlaps;
	unsigned next_id[16]; /* per device: lowest that may come */
	int disorder;
	int rooms;
};

static struct frame *frame_of(struct rt_flow_ctx *c)
{
	return (struct frame *)(void *)c;
}

static void on_end(void *owner, struct rt_flow_ctx *c, enum rt_flow_rc rc)
{
	struct rig *r = owner;
	struct frame *f = frame_of(c);
	if (f->device < 16 && r->busy[f->device])
		r->busy[f->device]--;
	size_t n = strlen(r->ended);
	snprintf(r->ended + n, sizeof(r->ended) - n, "%u:%s%u ", f->id, rc == RT_FLOW_DROP ? "drop" : "ok",
		 c->drop_reason);
	free(f);
}

static void on_trace(void *owner, struct rt_flow_ctx *c, const char *step, int64_t mono_ns)
{
	struct rig *r = owner;
	(void)c;
	(void)mono_ns;
	size_t n = strlen(r->trace);
	snprintf(r->trace + n, sizeof(r->trace) - n, "%s ", step ? step : "end");
}

static void on_room(void *owner)
{
	((struct rig *)owner)->rooms++;
}

static enum rt_flow_rc step_check(struct rt_flow_ctx *c)
{
	if (frame_of(c)->drop_odd && (frame_of(c)->id & 1)) {
		c->drop_reason = ODD;
		return RT_FLOW_DROP;
	}
	return RT_FLOW_NEXT;
}

static bool step_key(const struct rt_flow_ctx *c, uint64_t *key)
{
	*key = ((const struct frame *)(const void *)c)->device;
	return *key != 15; /* device 15 needs no exclusion */
}

static void step_io(struct rt_flow *f, void *owner, struct rt_flow_ctx **v, size_t n)
{
	(void)f;
	struct rig *r = owner;
	r->batches[r->n_batches++ % 64] = n;
	for (size_t i = 0; i < n; i++) {
		uint64_t device = frame_of(v[i])->device;
		if (device < 15 && r->busy[device]++)
			r->overlaps++;
		r->disorder += device < 15 && frame_of(v[i])->id < r->next_id[device];
		if (device < 15)
			r->next_id[device] = frame_of(v[i])->id + 1;
		if (frame_of(v[i])->ready_after_io)
			rt_flow_resume(v[i], RT_FLOW_NEXT);
		else
			r->held[r->n_held++] = v[i];
	}
}

static enum rt_flow_rc step_last(struct rt_flow_ctx *c)
{
	(void)c;
	return RT_FLOW_NEXT;
}

static const struct rt_flow_step STEPS[] = {
	{"check", .pure = step_check},
	{"claim", .key = step_key},
	{"store", .io = step_io},
	{"last", .pure = step_last},
};

static int setup(void **state)
{
	struct rig *r = lw_xcalloc(1, sizeof(*r));
	r->loop = rt_loop_new_virtual(0);
	*state = r;
	return 0;
}

static void make(struct rig *r, size_t cap, size_t batch, uint32_t deadline_ms)
{
	struct rt_flow_opts o = {
		.name = "up",
		.steps = STEPS,
		.n_steps = 4,
		.owner = r,
		.on_end = on_end,
		.on_trace = on_trace,
		.on_room = on_room,
		.max_in_flight = cap,
		.max_batch = batch,
		.deadline_ms = deadline_ms,
		.late_reason = LATE,
	};
	r->flow = rt_flow_new(r->loop, &o);
}

static int teardown(void **state)
{
	struct rig *r = *state;
	rt_flow_free(r->flow);
	rt_loop_free(r->loop);
	free(r);
	return 0;
}

static struct frame *enter(struct rig *r, unsigned id, uint64_t device)
{
	struct frame *f = lw_xcalloc(1, sizeof(*f));
	f->id = id;
	f->device = device;
	rt_flow_enter(r->flow, &f->ctx);
	return f;
}

static void release(struct rig *r, size_t i, enum rt_flow_rc rc)
{
	struct rt_flow_ctx *c = r->held[i];
	r->held[i] = NULL;
	rt_flow_resume(c, rc);
}

static void release_all(struct rig *r)
{
	size_t n = r->n_held;
	struct rt_flow_ctx *v[256];
	memcpy(v, r->held, n * sizeof(v[0]));
	r->n_held = 0;
	rt_flow_resume_all(v, n, RT_FLOW_NEXT);
}

static void all_that_waits_goes_in_one_batch(void **state)
{
	struct rig *r = *state;
	make(r, 0, 0, 0);
	for (unsigned i = 0; i < 10; i++)
		enter(r, i, i);
	assert_int_equal(r->n_batches, 0);
	rt_loop_turn(r->loop);
	assert_int_equal(r->n_batches, 1);
	assert_int_equal(r->batches[0], 10);
	assert_int_equal(rt_flow_in_flight(r->flow), 10);
	assert_string_equal(rt_flow_step_name(r->held[0]), "store");
	release_all(r);
	rt_loop_turn(r->loop);
	assert_string_equal(r->ended, "0:ok0 1:ok0 2:ok0 3:ok0 4:ok0 5:ok0 6:ok0 7:ok0 8:ok0 9:ok0 ");
	assert_int_equal(rt_flow_in_flight(r->flow), 0);
}

static void batches_are_capped(void **state)
{
	struct rig *r = *state;
	make(r, 0, 4, 0);
	for (unsigned i = 0; i < 10; i++)
		enter(r, i, i);
	rt_loop_turn(r->loop);
	assert_int_equal(r->n_batches, 3);
	assert_int_equal(r->batches[0], 4);
	assert_int_equal(r->batches[1], 4);
	assert_int_equal(r->batches[2], 2);
	release_all(r);
	rt_loop_turn(r->loop);
}

static void drop_ends_with_its_reason(void **state)
{
	struct rig *r = *state;
	make(r, 0, 0, 0);
	enter(r, 1, 1)->drop_odd = true;
	enter(r, 2, 2);
	rt_loop_turn(r->loop);
	assert_string_equal(r->ended, "1:drop3 ");
	rt_flow_resume_drop(r->held[0], 42);
	assert_string_equal(r->ended, "1:drop3 2:drop42 ");
	struct rt_flow_stats st;
	rt_flow_stats(r->flow, 0, &st);
	assert_int_equal(st.in, 2);
	assert_int_equal(st.drops, 1);
	rt_flow_stats(r->flow, 2, &st);
	assert_int_equal(st.drops, 1);
	assert_int_equal(st.waiting, 0);
}

/* A conflict: the first goes again, keeps its key, and is through before the one behind it. */
static void again_keeps_the_key(void **state)
{
	struct rig *r = *state;
	make(r, 0, 0, 0);
	enter(r, 1, 7);
	enter(r, 2, 7);
	rt_loop_turn(r->loop);
	assert_int_equal(r->n_held, 1);
	for (int i = 0; i < 3; i++) {
		struct rt_flow_ctx *first = r->held[0];
		r->n_held = 0;
		r->busy[7] = 0;
		r->next_id[7] = 0;
		rt_flow_resume(first, RT_FLOW_AGAIN);
		rt_loop_turn(r->loop);
		assert_int_equal(r->n_held, 1);
		assert_int_equal(frame_of(r->held[0])->id, 1);
	}
	release_all(r);
	rt_loop_turn(r->loop);
	assert_int_equal(frame_of(r->held[0])->id, 2);
	release_all(r);
	rt_loop_turn(r->loop);
	assert_string_equal(r->ended, "1:ok0 2:ok0 ");
	assert_int_equal(r->overlaps + r->disorder, 0);
}

static void equal_keys_pass_one_after_the_other(void **state)
{
	struct rig *r = *state;
	make(r, 0, 0, 0);
	enter(r, 1, 7);
	enter(r, 2, 7);
	enter(r, 3, 7);
	enter(r, 4, 8);
	enter(r, 5, 15);
	enter(r, 6, 15);
	rt_loop_turn(r->loop);
	/* The first of 7, the one of 8, and both without a key. */
	assert_int_equal(r->n_held, 4);
	assert_int_equal(frame_of(r->held[0])->id, 1);
	struct rt_flow_stats st;
	rt_flow_stats(r->flow, 1, &st);
	assert_int_equal(st.waiting, 2);
	release_all(r);
	rt_loop_turn(r->loop);
	assert_int_equal(r->n_held, 1);
	assert_int_equal(frame_of(r->held[0])->id, 2);
	release_all(r);
	rt_loop_turn(r->loop);
	assert_int_equal(frame_of(r->held[0])->id, 3);
	release_all(r);
	rt_loop_turn(r->loop);
	assert_string_equal(r->ended, "1:ok0 4:ok0 5:ok0 6:ok0 2:ok0 3:ok0 ");
	assert_int_equal(r->overlaps, 0);
}

static void random_load_never_overlaps_and_keeps_order(void **state)
{
	struct rig *r = *state;
	make(r, 0, 8, 0);
	struct lw_rng rng;
	lw_rng_init_seeded(&rng, 99);
	unsigned id = 0;
	for (int round = 0; round < 400; round++) {
		for (uint64_t k = lw_rng_below(&rng, 6); k > 0 && id < 200; k--) {
			struct frame *f = enter(r, id++, lw_rng_below(&rng, 5));
			f->ready_after_io = lw_rng_below(&rng, 4) == 0;
		}
		rt_loop_turn(r->loop);
		for (size_t i = 0; i < r->n_held; i++) {
			if (r->held[i] && lw_rng_below(&rng, 3) == 0)
				release(r, i, lw_rng_below(&rng, 5) ? RT_FLOW_NEXT : RT_FLOW_DONE);
		}
	}
	for (int i = 0; i < 200; i++) {
		rt_loop_turn(r->loop);
		for (size_t k = 0; k < r->n_held; k++) {
			if (r->held[k])
				release(r, k, RT_FLOW_NEXT);
		}
	}
	assert_int_equal(id, 200);
	assert_int_equal(r->disorder, 0);
	assert_int_equal(rt_flow_in_flight(r->flow), 0);
	assert_int_equal(r->overlaps, 0);
}

static void full_flow_says_so_and_gives_room_later(void **state)
{
	struct rig *r = *state;
	make(r, 8, 0, 0);
	for (unsigned i = 0; i < 7; i++)
		enter(r, i, i);
	assert_false(rt_flow_full(r->flow));
	enter(r, 7, 7);
	assert_true(rt_flow_full(r->flow));
	rt_loop_turn(r->loop);
	assert_int_equal(r->rooms, 0);
	release(r, 0, RT_FLOW_DONE);
	rt_loop_turn(r->loop);
	assert_false(rt_flow_full(r->flow));
	assert_int_equal(r->rooms, 0); /* not for a single one */
	release(r, 1, RT_FLOW_DONE);
	rt_loop_turn(r->loop);
	assert_int_equal(r->rooms, 1);
	for (size_t i = 2; i < 8; i++)
		release(r, i, RT_FLOW_DONE);
	rt_loop_turn(r->loop);
	assert_int_equal(r->rooms, 1);
}

static void deadline_drops_where_it_waits(void **state)
{
	struct rig *r = *state;
	make(r, 0, 0, 100);
	enter(r, 1, 7);
	enter(r, 2, 7);
	enter(r, 3, 7)->ctx.deadline_ns = RT_FLOW_NO_DEADLINE;
	rt_loop_turn(r->loop);
	assert_int_equal(r->n_held, 1);
	rt_loop_advance(r->loop, 90);
	assert_string_equal(r->ended, "");
	/* 2 waits for the key of 1; 3 may wait for ever. */
	rt_loop_advance(r->loop, 60);
	assert_string_equal(r->ended, "2:drop9 ");
	/* 1 is inside the io step; its result comes too late to go on. */
	release(r, 0, RT_FLOW_NEXT);
	r->n_held = 0;
	assert_string_equal(r->ended, "2:drop9 1:drop9 ");
	rt_loop_turn(r->loop);
	assert_int_equal(frame_of(r->held[0])->id, 3);
	rt_loop_advance(r->loop, 100000);
	release_all(r);
	rt_loop_turn(r->loop);
	assert_string_equal(r->ended, "2:drop9 1:drop9 3:ok0 ");
	struct rt_flow_stats st;
	rt_flow_stats(r->flow, 1, &st);
	assert_int_equal(st.late, 1);
	rt_flow_stats(r->flow, 2, &st);
	assert_int_equal(st.late, 1);
}

static void success_in_an_io_step_is_not_undone_by_the_deadline(void **state)
{
	struct rig *r = *state;
	make(r, 0, 0, 100);
	enter(r, 1, 1);
	rt_loop_turn(r->loop);
	rt_loop_advance(r->loop, 500);
	release(r, 0, RT_FLOW_DONE);
	assert_string_equal(r->ended, "1:ok0 ");
}

static void trace_names_each_step(void **state)
{
	struct rig *r = *state;
	make(r, 0, 0, 0);
	enter(r, 1, 1)->ctx.traced = true;
	enter(r, 2, 2);
	rt_loop_turn(r->loop);
	release_all(r);
	rt_loop_turn(r->loop);
	assert_string_equal(r->trace, "check claim store last end ");
}

static void free_ends_everything_inside(void **state)
{
	struct rig *r = *state;
	make(r, 0, 0, 0);
	enter(r, 1, 7); /* in io */
	enter(r, 2, 7); /* waits for the key */
	rt_loop_turn(r->loop);
	enter(r, 3, 8); /* at the door */
	rt_flow_free(r->flow);
	r->flow = NULL;
	assert_non_null(strstr(r->ended, "1:drop0"));
	assert_non_null(strstr(r->ended, "2:drop0"));
	assert_non_null(strstr(r->ended, "3:drop0"));
}

static void steps_show_in_the_metrics(void **state)
{
	struct rig *r = *state;
	make(r, 0, 0, 0);
	struct rt_metrics *m = rt_metrics_new("t_");
	rt_flow_register_metrics(r->flow, m);
	enter(r, 1, 1)->drop_odd = true;
	enter(r, 2, 2);
	rt_loop_turn(r->loop);
	struct lw_buf out;
	lw_buf_init(&out, 1u << 20);
	rt_metrics_print(m, &out);
	assert_non_null(strstr(lw_buf_str(&out), "t_flow_step_in_total{flow=\"up\",step=\"check\"} 2\n"));
	assert_non_null(strstr(lw_buf_str(&out), "t_flow_step_dropped_total{flow=\"up\",step=\"check\"} 1\n"));
	assert_non_null(strstr(lw_buf_str(&out), "t_flow_step_waiting{flow=\"up\",step=\"store\"} 1\n"));
	assert_non_null(strstr(lw_buf_str(&out), "t_flow_in_flight{flow=\"up\"} 1\n"));
	release_all(r);
	rt_flow_free(r->flow);
	r->flow = NULL;
	lw_buf_reset(&out);
	rt_metrics_print(m, &out);
	assert_null(strstr(lw_buf_str(&out), "flow_step"));
	lw_buf_deinit(&out);
	rt_metrics_free(m);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(all_that_waits_goes_in_one_batch),
		T(batches_are_capped),
		T(drop_ends_with_its_reason),
		T(equal_keys_pass_one_after_the_other),
		T(again_keeps_the_key),
		T(random_load_never_overlaps_and_keeps_order),
		T(full_flow_says_so_and_gives_room_later),
		T(deadline_drops_where_it_waits),
		T(success_in_an_io_step_is_not_undone_by_the_deadline),
		T(trace_names_each_step),
		T(free_ends_everything_inside),
		T(steps_show_in_the_metrics),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
