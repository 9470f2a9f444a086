/* Inside of the loop: its struct, shared by loop.c and loop_timer.c. */
#pragma once

#include <uv.h>

#include "common/runtime/loop.h"

struct rt_tick {
	struct rt_loop *loop;
	const char *name;
	rt_tick_fn *fn;
	void *arg;
	int order;
	bool dead;
};

struct deferred {
	rt_tick_fn *fn;
	void *arg;
};

/* An entry of the heap: when, and who. */
struct due {
	int64_t ns; /* the timer's due_ns */
	struct rt_timer *timer;
};

#define TIMER_QUEUES_LOG2 5
#define TIMER_QUEUES (1 << TIMER_QUEUES_LOG2)

struct rt_loop {
	uv_loop_t uv;
	uv_prepare_t prepare;
	uv_timer_t timer;                /* fires the top of the heap */
	uv_idle_t idle;                  /* active: the next poll does not block */
	uv_timer_t until;                /* time limit of rt_loop_run_until() */
	const volatile bool *until_flag; /* what it waits for */
	struct lw_clock clock;
	bool is_virtual;
	bool stopped;
	bool in_tick;
	bool again;
	bool closing;

	struct due *heap;
	size_t heap_n, heap_cap;
	struct rt_timer *last[TIMER_QUEUES]; /* of each queue, by a hash of the delay; NULL: not armed any more */
	size_t timers;                       /* armed */
	uint64_t seq;
	int64_t timer_due_ns; /* what the uv timer is set to; 0: not set */

	struct rt_tick **ticks;
	size_t ticks_n, ticks_cap;
	bool ticks_dirty;

	struct deferred *deferred;
	size_t deferred_n, deferred_cap;

	struct lw_list jobs;
	size_t jobs_n;

	struct rt_log *log;
	int64_t slow_ns;
	struct rt_loop_stats stats;
	uint64_t activity; /* callbacks that may have produced work; the virtual loop settles on it */
};

/* The watchdog's account of one callback that began at t0 (system's monotonic clock). Returns the time now: when the
 * next one begins. */
int64_t rt_loop_note_call(struct rt_loop *l, const char *kind, const char *name, int64_t t0);
/* Runs the timers that are due. */
void rt_loop_fire_due(struct rt_loop *l);
/* Sets the uv timer to the first of the heap. */
void rt_loop_arm_uv_timer(struct rt_loop *l);
