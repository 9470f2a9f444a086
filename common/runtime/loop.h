/* The event loop of a daemon: one thread, libuv inside. Adds to it what a daemon needs: a tick (the point of each turn
 * where batches are flushed), cheap timers, file descriptor watchers, blocking work on other threads, and a watchdog
 * that names a slow callback. In virtual mode time moves only when a test says so.
 * Not thread-safe: everything here is called on the loop's thread. Never logs input. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/clock.h"
#include "common/base/list.h"

struct rt_loop;
struct rt_log;
struct uv_loop_s;

struct rt_loop *rt_loop_new(void);
/* A loop whose clocks stand still until rt_loop_advance(); wall time starts at start_ns, monotonic time at 1 s.
 * File descriptors and work still function; rt_loop_run() is not for it, rt_loop_turn() is. */
struct rt_loop *rt_loop_new_virtual(int64_t start_ns);
/* Ends the loop. Every watcher, timer and tick should be gone before; handles of others that are still open on the uv
 * loop are closed without a word. */
void rt_loop_free(struct rt_loop *loop);

/* Runs until rt_loop_stop(). */
void rt_loop_run(struct rt_loop *loop);
/* May be called from any callback; the turn is finished first. */
void rt_loop_stop(struct rt_loop *loop);
/* One turn without blocking: tick, then whatever is ready. For tests. */
void rt_loop_turn(struct rt_loop *loop);
/* Turns until *flag is true or `timeout_ms` of real time have passed. Returns *flag. For tests. */
bool rt_loop_run_until(struct rt_loop *loop, const bool *flag, uint32_t timeout_ms);
/* Virtual mode only: moves time on by `ms`, firing timers in the order of their time (each sees the clock at its own
 * time) with a full turn after each moment. */
void rt_loop_advance(struct rt_loop *loop, uint64_t ms);
bool rt_loop_is_virtual(const struct rt_loop *loop);

/* Wall and monotonic clock; real mode reads the system's clocks at each call. */
int64_t rt_loop_now_ns(const struct rt_loop *loop);
int64_t rt_loop_mono_ns(const struct rt_loop *loop);
/* The same as a clock to hand down. Borrowed from the loop. */
const struct lw_clock *rt_loop_clock(const struct rt_loop *loop);
/* The uv loop, for adapters (common/runtime, common/io and the daemons' link/ only). */
struct uv_loop_s *rt_loop_uv(struct rt_loop *loop);

/* Where slow callbacks are reported (may be NULL). */
void rt_loop_set_log(struct rt_loop *loop, struct rt_log *log);
/* A callback that takes longer is counted and logged by name. Default 50 ms. */
void rt_loop_set_slow_ms(struct rt_loop *loop, uint32_t ms);

struct rt_loop_stats {
	uint64_t turns;
	uint64_t slow;       /* callbacks over the limit */
	uint64_t busy_ns;    /* time spent in callbacks seen by the loop */
	uint64_t timers;     /* armed now */
	const char *slowest; /* name of the slowest callback so far, or NULL */
	uint64_t slowest_ns;
};
void rt_loop_stats(const struct rt_loop *loop, struct rt_loop_stats *out);

/* --- tick: once per turn, just before the loop blocks for I/O -------------------------------------------------- */

typedef void rt_tick_fn(void *arg);
struct rt_tick;

/* Usual orders: what runs first produces work for what runs later. */
enum rt_tick_order {
	RT_TICK_INPUT = 100,  /* pollers that feed flows */
	RT_TICK_FLOW = 200,   /* flow sweeps */
	RT_TICK_COMMIT = 300, /* group commits */
	RT_TICK_OUTPUT = 400, /* flushing of sockets */
};
/* Calls fn in each turn in rising order (equal orders: as registered). A turn repeats its ticks until no tick produced
 * more work for an earlier one, see rt_loop_again(). `name` is kept by reference. */
struct rt_tick *rt_loop_on_tick(struct rt_loop *loop, int order, const char *name, rt_tick_fn *fn, void *arg);
void rt_tick_remove(struct rt_tick *tick);
/* From a tick: runs all ticks once more before the loop blocks (bounded, afterwards the loop does not block). */
void rt_loop_again(struct rt_loop *loop);
/* Runs fn once in the tick of this turn, before the ordered ticks. From inside a tick: in the next round. */
void rt_loop_defer(struct rt_loop *loop, rt_tick_fn *fn, void *arg);

/* --- timers: one heap over one uv timer; resolution 1 ms ------------------------------------------------------- */

struct rt_timer;
typedef void rt_timer_fn(struct rt_timer *t, void *arg);

/* In the caller's memory. All members belong to the loop. */
struct rt_timer {
	struct rt_loop *loop;
	rt_timer_fn *fn;
	void *arg;
	const char *name;
	int64_t due_ns;               /* monotonic */
	uint64_t seq;                 /* keeps equal times in order of arming */
	uint32_t every_ms;            /* 0: once */
	uint32_t pos;                 /* place in the heap + 1, or behind another; 0: not armed */
	struct rt_timer *next, *prev; /* of those armed with the same delay */
	uint32_t queue;               /* of the loop's + 1; 0: none */
};

/* `name` (for the watchdog) is kept by reference. */
void rt_timer_init(struct rt_timer *t, struct rt_loop *loop, const char *name, rt_timer_fn *fn, void *arg);
/* Arms or re-arms; fires once. delay 0 fires in the next turn. */
void rt_timer_start(struct rt_timer *t, uint64_t delay_ms);
/* Fires at the monotonic time, at once when it has passed. */
void rt_timer_start_at(struct rt_timer *t, int64_t mono_ns);
/* Fires after every_ms (> 0) again and again; missed times are skipped, not made up for. */
void rt_timer_start_every(struct rt_timer *t, uint32_t every_ms);
/* Harmless when not armed. After it the callback does not run. */
void rt_timer_stop(struct rt_timer *t);
static inline bool rt_timer_armed(const struct rt_timer *t)
{
	return t->pos != 0;
}

/* --- file descriptors ------------------------------------------------------------------------------------------ */

struct rt_watch;
enum rt_watch_events { RT_READ = 1, RT_WRITE = 2, RT_HANGUP = 4 };
/* `events` says what is ready; on an error of the descriptor RT_HANGUP with RT_READ, so that a read shows it. */
typedef void rt_watch_fn(struct rt_watch *w, unsigned events, void *arg);

/* Watches fd (borrowed, non-blocking) for the events (0: none for now). NULL when the descriptor cannot be watched. */
struct rt_watch *rt_watch_new(struct rt_loop *loop, int fd, unsigned events, const char *name, rt_watch_fn *fn,
			      void *arg);
void rt_watch_set(struct rt_watch *w, unsigned events);
unsigned rt_watch_events(const struct rt_watch *w);
/* Must come before the close of the descriptor. NULL is harmless. */
void rt_watch_free(struct rt_watch *w);

/* --- blocking work on the thread pool ---------------------------------------------------------------------------- */

/* `work` runs on another thread and touches only `arg`; `done` runs afterwards on the loop, status 0 or LW_ECANCELLED.
 * At rt_loop_free() work that has not begun is cancelled and the rest awaited; `done` is called for each. */
typedef void rt_work_fn(void *arg);
typedef void rt_work_done_fn(void *arg, int status);
void rt_loop_work(struct rt_loop *loop, rt_work_fn *work, rt_work_done_fn *done, void *arg);
/* Jobs handed over and not yet done. */
size_t rt_loop_work_count(const struct rt_loop *loop);

/* --- signals ---------------------------------------------------------------------------------------------------- */

struct rt_signal;
typedef void rt_signal_fn(int signum, void *arg);
struct rt_signal *rt_signal_new(struct rt_loop *loop, int signum, rt_signal_fn *fn, void *arg);
void rt_signal_free(struct rt_signal *s);
