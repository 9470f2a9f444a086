#include "common/runtime/loop.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "common/base/bug.h"
#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "common/runtime/log.h"
#include "common/runtime/loop_internal.h"

/* Rounds of the tick before the loop looks at its sockets again. */
#define MAX_ROUNDS 8
/* Virtual mode: more turns at one moment are a loop that never ends. */
#define MAX_AT_ONE_TIME 10000000u

/* --- watchdog --------------------------------------------------------------------------------------------------- */

int64_t rt_loop_note_call(struct rt_loop *l, const char *kind, const char *name, int64_t t0)
{
	int64_t now = lw_mono_ns();
	int64_t ns = now - t0;
	l->stats.busy_ns += (uint64_t)ns;
	if ((uint64_t)ns > l->stats.slowest_ns) {
		l->stats.slowest_ns = (uint64_t)ns;
		l->stats.slowest = name;
	}
	if (ns < l->slow_ns)
		return now;
	l->stats.slow++;
	/* A hiccup is for the developer; a loop that stood for a second is an operator's problem. */
	RT_LOG(l->log, ns >= LW_NS_PER_S ? RT_WARN : RT_DEBUG, "slow callback", rt_str("kind", kind),
	       rt_str("name", name), rt_f64("ms", (double)ns / 1e6));
	return now;
}

/* --- tick ------------------------------------------------------------------------------------------------------- */

/* Since t0; returns the time now. */
static int64_t run_deferred(struct rt_loop *l, int64_t t0)
{
	/* What a deferred call defers runs in the next round. */
	size_t n = l->deferred_n;
	if (n == 0)
		return t0;
	for (size_t i = 0; i < n; i++) {
		struct deferred d = l->deferred[i];
		d.fn(d.arg);
		t0 = rt_loop_note_call(l, "deferred", "deferred", t0);
		l->activity++;
	}
	l->deferred_n -= n;
	if (l->deferred_n)
		memmove(l->deferred, l->deferred + n, l->deferred_n * sizeof(*l->deferred));
	return t0;
}

static void drop_dead_ticks(struct rt_loop *l)
{
	size_t n = 0;
	for (size_t i = 0; i < l->ticks_n; i++) {
		if (l->ticks[i]->dead)
			free(l->ticks[i]);
		else
			l->ticks[n++] = l->ticks[i];
	}
	l->ticks_n = n;
	l->ticks_dirty = false;
}

static void run_ticks(struct rt_loop *l)
{
	l->in_tick = true;
	int round = 0;
	int64_t t0 = lw_mono_ns();
	do {
		l->again = false;
		t0 = run_deferred(l, t0);
		for (size_t i = 0; i < l->ticks_n; i++) {
			struct rt_tick *t = l->ticks[i];
			if (t->dead)
				continue;
			t->fn(t->arg);
			t0 = rt_loop_note_call(l, "tick", t->name, t0);
		}
		if (l->again)
			l->activity++;
	} while ((l->again || l->deferred_n) && ++round < MAX_ROUNDS);
	l->in_tick = false;
	if (l->ticks_dirty)
		drop_dead_ticks(l);
}

static void on_idle(uv_idle_t *h)
{
	uv_idle_stop(h);
}

static void on_prepare(uv_prepare_t *h)
{
	struct rt_loop *l = h->data;
	l->stats.turns++;
	run_ticks(l);
	if (l->again || l->deferred_n)
		uv_idle_start(&l->idle, on_idle);
	if (!l->is_virtual)
		rt_loop_arm_uv_timer(l);
	/* A timer or tick of this turn may have set it: the turn must not block any more. */
	if (l->until_flag && *l->until_flag)
		uv_stop(&l->uv);
}

struct rt_tick *rt_loop_on_tick(struct rt_loop *l, int order, const char *name, rt_tick_fn *fn, void *arg)
{
	struct rt_tick *t = lw_xmalloc(sizeof(*t));
	*t = (struct rt_tick){.loop = l, .name = name, .fn = fn, .arg = arg, .order = order};
	if (l->ticks_n == l->ticks_cap) {
		l->ticks_cap = l->ticks_cap ? l->ticks_cap * 2 : 16;
		l->ticks = lw_xreallocarray(l->ticks, l->ticks_cap, sizeof(struct rt_tick *));
	}
	size_t at = l->ticks_n;
	while (at > 0 && l->ticks[at - 1]->order > order)
		at--;
	memmove(l->ticks + at + 1, l->ticks + at, (l->ticks_n - at) * sizeof(struct rt_tick *));
	l->ticks[at] = t;
	l->ticks_n++;
	/* Registered inside a tick it may have shifted the one that runs; another round costs nothing. */
	l->again = l->again || l->in_tick;
	return t;
}

void rt_tick_remove(struct rt_tick *t)
{
	if (!t)
		return;
	struct rt_loop *l = t->loop;
	t->dead = true;
	l->ticks_dirty = true;
	if (!l->in_tick)
		drop_dead_ticks(l);
}

void rt_loop_again(struct rt_loop *l)
{
	if (l->in_tick)
		l->again = true;
}

void rt_loop_defer(struct rt_loop *l, rt_tick_fn *fn, void *arg)
{
	if (l->deferred_n == l->deferred_cap) {
		l->deferred_cap = l->deferred_cap ? l->deferred_cap * 2 : 32;
		l->deferred = lw_xreallocarray(l->deferred, l->deferred_cap, sizeof(*l->deferred));
	}
	l->deferred[l->deferred_n++] = (struct deferred){fn, arg};
}

/* --- loop ------------------------------------------------------------------------------------------------------- */

static struct rt_loop *loop_new(void)
{
	struct rt_loop *l = lw_xcalloc(1, sizeof(*l));
	int rc = uv_loop_init(&l->uv);
	BUG_ON(rc != 0);
	uv_prepare_init(&l->uv, &l->prepare);
	uv_timer_init(&l->uv, &l->timer);
	uv_timer_init(&l->uv, &l->until);
	uv_idle_init(&l->uv, &l->idle);
	l->prepare.data = l->timer.data = l->until.data = l->idle.data = l;
	uv_prepare_start(&l->prepare, on_prepare);
	lw_list_init(&l->jobs);
	l->slow_ns = 50 * LW_NS_PER_MS;
	return l;
}

struct rt_loop *rt_loop_new(void)
{
	struct rt_loop *l = loop_new();
	lw_clock_init_system(&l->clock);
	return l;
}

struct rt_loop *rt_loop_new_virtual(int64_t start_ns)
{
	struct rt_loop *l = loop_new();
	lw_clock_init_manual(&l->clock, start_ns);
	l->is_virtual = true;
	return l;
}

static void close_handle(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

void rt_loop_free(struct rt_loop *l)
{
	if (!l)
		return;
	BUG_ON(l->in_tick);
	l->closing = true;
	LW_LIST_FOREACH (n, tmp, &l->jobs) {
		/* The list node leads the job, followed by the request. */
		uv_cancel((uv_req_t *)(void *)(n + 1));
	}
	while (l->jobs_n)
		uv_run(&l->uv, UV_RUN_ONCE);
	uv_walk(&l->uv, close_handle, NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	int rc = uv_loop_close(&l->uv);
	BUG_ON(rc != 0);
	for (size_t i = 0; i < l->ticks_n; i++)
		free(l->ticks[i]);
	free(l->ticks);
	free(l->heap);
	free(l->deferred);
	free(l);
}

void rt_loop_run(struct rt_loop *l)
{
	BUG_ON(l->is_virtual);
	l->stopped = false;
	while (!l->stopped)
		uv_run(&l->uv, UV_RUN_DEFAULT);
}

void rt_loop_stop(struct rt_loop *l)
{
	l->stopped = true;
	uv_stop(&l->uv);
}

void rt_loop_turn(struct rt_loop *l)
{
	if (l->is_virtual)
		rt_loop_fire_due(l);
	uv_run(&l->uv, UV_RUN_NOWAIT);
}

static void on_until(uv_timer_t *h)
{
	*(bool *)h->data = true;
	/* uv_run() fires timers before it polls; without this it would then wait for another event. */
	uv_stop(h->loop);
}

bool rt_loop_run_until(struct rt_loop *l, const bool *flag, uint32_t timeout_ms)
{
	bool over = false;
	l->until.data = &over;
	l->until_flag = flag;
	uv_update_time(&l->uv);
	uv_timer_start(&l->until, on_until, timeout_ms, 0);
	while (!*(const volatile bool *)flag && !over) {
		if (l->is_virtual)
			rt_loop_fire_due(l);
		uv_run(&l->uv, l->is_virtual ? UV_RUN_NOWAIT : UV_RUN_ONCE);
	}
	uv_timer_stop(&l->until);
	l->until_flag = NULL;
	return *flag;
}

/* Turns until nothing happens any more; blocking work is waited for, so that a scenario does not depend on threads. */
static void settle(struct rt_loop *l)
{
	uint64_t seen;
	unsigned n = 0;
	do {
		seen = l->activity;
		rt_loop_turn(l);
		while (l->jobs_n)
			uv_run(&l->uv, UV_RUN_ONCE);
		BUG_ON(++n > MAX_AT_ONE_TIME);
	} while (l->activity != seen);
}

void rt_loop_advance(struct rt_loop *l, uint64_t ms)
{
	BUG_ON(!l->is_virtual);
	int64_t target = rt_loop_mono_ns(l) + (int64_t)ms * LW_NS_PER_MS;
	settle(l);
	while (l->heap_n && l->heap[0].ns <= target) {
		int64_t by = l->heap[0].ns - rt_loop_mono_ns(l);
		if (by > 0)
			lw_clock_advance(&l->clock, by);
		settle(l);
	}
	lw_clock_advance(&l->clock, target - rt_loop_mono_ns(l));
	settle(l);
}

bool rt_loop_is_virtual(const struct rt_loop *l)
{
	return l->is_virtual;
}

int64_t rt_loop_now_ns(const struct rt_loop *l)
{
	return lw_clock_now_ns(&l->clock);
}

int64_t rt_loop_mono_ns(const struct rt_loop *l)
{
	return lw_clock_mono_ns(&l->clock);
}

const struct lw_clock *rt_loop_clock(const struct rt_loop *l)
{
	return &l->clock;
}

struct uv_loop_s *rt_loop_uv(struct rt_loop *l)
{
	return &l->uv;
}

void rt_loop_set_log(struct rt_loop *l, struct rt_log *log)
{
	l->log = log;
}

void rt_loop_set_slow_ms(struct rt_loop *l, uint32_t ms)
{
	l->slow_ns = (int64_t)ms * LW_NS_PER_MS;
}

void rt_loop_stats(const struct rt_loop *l, struct rt_loop_stats *out)
{
	*out = l->stats;
	out->timers = l->timers;
}

/* --- file descriptors ------------------------------------------------------------------------------------------- */

struct rt_watch {
	uv_poll_t poll;
	struct rt_loop *loop;
	const char *name;
	rt_watch_fn *fn;
	void *arg;
	unsigned events;
};

static void on_poll(uv_poll_t *h, int status, int uv_events)
{
	struct rt_watch *w = h->data;
	struct rt_loop *l = w->loop;
	const char *name = w->name;
	unsigned events = 0;
	if (status < 0) {
		/* libuv has stopped watching. */
		w->events = 0;
		events = RT_READ | RT_HANGUP;
	}
	if (uv_events & UV_READABLE)
		events |= RT_READ;
	if (uv_events & UV_WRITABLE)
		events |= RT_WRITE;
	if (uv_events & UV_DISCONNECT)
		events |= RT_HANGUP;
	int64_t t0 = lw_mono_ns();
	w->fn(w, events, w->arg); /* may free w */
	rt_loop_note_call(l, "watch", name, t0);
	l->activity++;
}

static int uv_events_of(unsigned events)
{
	return ((events & RT_READ) ? UV_READABLE : 0) | ((events & RT_WRITE) ? UV_WRITABLE : 0) |
	       ((events & RT_HANGUP) ? UV_DISCONNECT : 0);
}

struct rt_watch *rt_watch_new(struct rt_loop *l, int fd, unsigned events, const char *name, rt_watch_fn *fn, void *arg)
{
	struct rt_watch *w = lw_xcalloc(1, sizeof(*w));
	if (uv_poll_init(&l->uv, &w->poll, fd) != 0) {
		free(w);
		return NULL;
	}
	w->poll.data = w;
	w->loop = l;
	w->name = name;
	w->fn = fn;
	w->arg = arg;
	rt_watch_set(w, events);
	return w;
}

void rt_watch_set(struct rt_watch *w, unsigned events)
{
	if (w->events == events)
		return;
	w->events = events;
	if (events)
		uv_poll_start(&w->poll, uv_events_of(events), on_poll);
	else
		uv_poll_stop(&w->poll);
}

unsigned rt_watch_events(const struct rt_watch *w)
{
	return w->events;
}

static void on_watch_closed(uv_handle_t *h)
{
	free(h->data);
}

void rt_watch_free(struct rt_watch *w)
{
	if (!w)
		return;
	uv_poll_stop(&w->poll);
	uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

/* --- work ------------------------------------------------------------------------------------------------------- */

struct job {
	struct lw_list node; /* first, see rt_loop_free() */
	uv_work_t req;
	struct rt_loop *loop;
	rt_work_fn *work;
	rt_work_done_fn *done;
	void *arg;
};
_Static_assert(offsetof(struct job, req) == sizeof(struct lw_list), "the request follows the list node");

static void on_work(uv_work_t *req)
{
	struct job *j = req->data;
	j->work(j->arg);
}

static void on_work_done(uv_work_t *req, int status)
{
	struct job *j = req->data;
	struct rt_loop *l = j->loop;
	lw_list_remove(&j->node);
	l->jobs_n--;
	l->activity++;
	int64_t t0 = lw_mono_ns();
	if (j->done)
		j->done(j->arg, status == 0 ? 0 : LW_ECANCELLED);
	rt_loop_note_call(l, "work", "done", t0);
	free(j);
}

void rt_loop_work(struct rt_loop *l, rt_work_fn *work, rt_work_done_fn *done, void *arg)
{
	BUG_ON(l->closing);
	struct job *j = lw_xcalloc(1, sizeof(*j));
	j->req.data = j;
	j->loop = l;
	j->work = work;
	j->done = done;
	j->arg = arg;
	lw_list_push_back(&l->jobs, &j->node);
	l->jobs_n++;
	int rc = uv_queue_work(&l->uv, &j->req, on_work, on_work_done);
	BUG_ON(rc != 0);
}

size_t rt_loop_work_count(const struct rt_loop *l)
{
	return l->jobs_n;
}

/* --- signals ---------------------------------------------------------------------------------------------------- */

struct rt_signal {
	uv_signal_t uv;
	struct rt_loop *loop;
	rt_signal_fn *fn;
	void *arg;
};

static void on_signal(uv_signal_t *h, int signum)
{
	struct rt_signal *s = h->data;
	s->loop->activity++;
	s->fn(signum, s->arg);
}

struct rt_signal *rt_signal_new(struct rt_loop *l, int signum, rt_signal_fn *fn, void *arg)
{
	struct rt_signal *s = lw_xcalloc(1, sizeof(*s));
	uv_signal_init(&l->uv, &s->uv);
	s->uv.data = s;
	s->loop = l;
	s->fn = fn;
	s->arg = arg;
	int rc = uv_signal_start(&s->uv, on_signal, signum);
	BUG_ON(rc != 0);
	return s;
}

static void on_signal_closed(uv_handle_t *h)
{
	free(h->data);
}

void rt_signal_free(struct rt_signal *s)
{
	if (s)
		uv_close((uv_handle_t *)&s->uv, on_signal_closed);
}
