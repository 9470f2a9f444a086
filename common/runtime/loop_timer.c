/* Timers of the loop: a heap over one uv timer. Each entry has its time beside it, and four children, so that moving
 * one looks at few lines of memory and at no timer.
 *
 * What is armed again and again with the same delay (thousands of deduplication windows) comes due in the order of
 * arming: it queues behind the one armed before it, and only the head of such a queue is in the heap. */
#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/runtime/loop_internal.h"

#define CHILDREN 4
#define QUEUED UINT32_MAX /* pos of a timer behind another */

static bool before(const struct due *a, const struct due *b)
{
	return a->ns != b->ns ? a->ns < b->ns : a->timer->seq < b->timer->seq;
}

static void place(struct rt_loop *l, size_t i, const struct due *d)
{
	l->heap[i] = *d;
	d->timer->pos = (uint32_t)i + 1;
}

static void sift_up(struct rt_loop *l, size_t i, struct rt_timer *t)
{
	struct due d = {t->due_ns, t};
	while (i > 0 && before(&d, &l->heap[(i - 1) / CHILDREN])) {
		place(l, i, &l->heap[(i - 1) / CHILDREN]);
		i = (i - 1) / CHILDREN;
	}
	place(l, i, &d);
}

static void sift_down(struct rt_loop *l, size_t i, struct rt_timer *t)
{
	struct due d = {t->due_ns, t};
	for (;;) {
		size_t first = CHILDREN * i + 1;
		if (first >= l->heap_n)
			break;
		size_t end = first + CHILDREN < l->heap_n ? first + CHILDREN : l->heap_n;
		size_t least = first;
		for (size_t c = first + 1; c < end; c++) {
			if (before(&l->heap[c], &l->heap[least]))
				least = c;
		}
		if (!before(&l->heap[least], &d))
			break;
		place(l, i, &l->heap[least]);
		i = least;
	}
	place(l, i, &d);
}

static void heap_add(struct rt_loop *l, struct rt_timer *t)
{
	if (l->heap_n == l->heap_cap) {
		BUG_ON(l->heap_cap > UINT32_MAX / 4);
		l->heap_cap = l->heap_cap ? l->heap_cap * 2 : 64;
		l->heap = lw_xreallocarray(l->heap, l->heap_cap, sizeof(*l->heap));
	}
	sift_up(l, l->heap_n++, t);
}

static void heap_remove(struct rt_loop *l, size_t i)
{
	struct rt_timer *last = l->heap[--l->heap_n].timer;
	if (i == l->heap_n)
		return;
	struct due d = {last->due_ns, last};
	if (i > 0 && before(&d, &l->heap[(i - 1) / CHILDREN]))
		sift_up(l, i, last);
	else
		sift_down(l, i, last);
}

/* Fibonacci hashing: delays are round numbers. */
static uint32_t queue_of(uint64_t delay_ms)
{
	return (uint32_t)((delay_ms * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - TIMER_QUEUES_LOG2));
}

/* Behind the one armed last with this delay (or another of the same hash), if it is due before. Otherwise t begins a
 * queue, and the one before grows no more. */
static bool queue_add(struct rt_loop *l, struct rt_timer *t, uint64_t delay_ms)
{
	uint32_t at = queue_of(delay_ms);
	struct rt_timer *last = l->last[at];
	l->last[at] = t;
	t->queue = at + 1;
	if (!last || last->due_ns > t->due_ns)
		return false;
	last->next = t;
	t->prev = last;
	t->pos = QUEUED;
	return true;
}

static void add(struct rt_loop *l, struct rt_timer *t, uint64_t delay_ms)
{
	t->next = t->prev = NULL;
	t->queue = 0;
	l->timers++;
	if (delay_ms && queue_add(l, t, delay_ms))
		return;
	heap_add(l, t);
}

static void take_out(struct rt_loop *l, struct rt_timer *t)
{
	uint32_t pos = t->pos;
	t->pos = 0;
	l->timers--;
	if (t->queue && l->last[t->queue - 1] == t)
		l->last[t->queue - 1] = t->prev;
	if (t->next)
		t->next->prev = t->prev;
	if (t->prev)
		t->prev->next = t->next;
	if (pos == QUEUED)
		return;
	if (t->next)
		sift_down(l, pos - 1, t->next);
	else
		heap_remove(l, pos - 1);
}

void rt_loop_fire_due(struct rt_loop *l)
{
	int64_t now = rt_loop_mono_ns(l);
	/* What is armed by these callbacks waits for the next turn, or a delay of 0 would starve the sockets. */
	uint64_t limit = l->seq;
	int64_t t0 = lw_mono_ns();
	while (l->heap_n && l->heap[0].ns <= now && l->heap[0].timer->seq <= limit) {
		struct rt_timer *t = l->heap[0].timer;
		take_out(l, t);
		if (t->every_ms) {
			int64_t step = (int64_t)t->every_ms * LW_NS_PER_MS;
			t->due_ns += step;
			if (t->due_ns <= now)
				t->due_ns = now + step;
			t->seq = ++l->seq;
			add(l, t, 0);
		}
		const char *name = t->name;
		t->fn(t, t->arg); /* may free t */
		t0 = rt_loop_note_call(l, "timer", name, t0);
		l->activity++;
	}
}

static void on_uv_timer(uv_timer_t *h)
{
	struct rt_loop *l = h->data;
	l->timer_due_ns = 0;
	rt_loop_fire_due(l);
}

void rt_loop_arm_uv_timer(struct rt_loop *l)
{
	if (!l->heap_n) {
		if (l->timer_due_ns) {
			uv_timer_stop(&l->timer);
			l->timer_due_ns = 0;
		}
		return;
	}
	int64_t due = l->heap[0].ns;
	if (due == l->timer_due_ns)
		return;
	int64_t ns = due - lw_mono_ns();
	uint64_t ms = ns <= 0 ? 0 : (uint64_t)((ns + LW_NS_PER_MS - 1) / LW_NS_PER_MS);
	uv_update_time(&l->uv);
	uv_timer_start(&l->timer, on_uv_timer, ms, 0);
	l->timer_due_ns = due;
}

void rt_timer_init(struct rt_timer *t, struct rt_loop *loop, const char *name, rt_timer_fn *fn, void *arg)
{
	*t = (struct rt_timer){.loop = loop, .fn = fn, .arg = arg, .name = name};
}

/* delay_ms: by which it may queue with others; 0: it does not. */
static void arm(struct rt_timer *t, int64_t due_ns, uint32_t every_ms, uint64_t delay_ms)
{
	struct rt_loop *l = t->loop;
	BUG_ON(!l || !t->fn);
	if (t->pos)
		take_out(l, t);
	t->due_ns = due_ns;
	t->every_ms = every_ms;
	t->seq = ++l->seq;
	add(l, t, delay_ms);
}

void rt_timer_start(struct rt_timer *t, uint64_t delay_ms)
{
	/* A century is for ever, and keeps the sum in range. */
	uint64_t ms = delay_ms > UINT64_C(3153600000000) ? UINT64_C(3153600000000) : delay_ms;
	arm(t, rt_loop_mono_ns(t->loop) + (int64_t)ms * LW_NS_PER_MS, 0, ms);
}

void rt_timer_start_at(struct rt_timer *t, int64_t mono_ns)
{
	int64_t now = rt_loop_mono_ns(t->loop);
	arm(t, mono_ns > now ? mono_ns : now, 0, 0);
}

void rt_timer_start_every(struct rt_timer *t, uint32_t every_ms)
{
	BUG_ON(every_ms == 0);
	arm(t, rt_loop_mono_ns(t->loop) + (int64_t)every_ms * LW_NS_PER_MS, every_ms, 0);
}

void rt_timer_stop(struct rt_timer *t)
{
	if (t->pos)
		take_out(t->loop, t);
}
