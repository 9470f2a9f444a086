/* Timers of the loop: a binary heap over one uv timer. */
#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/runtime/loop_internal.h"

static bool before(const struct rt_timer *a, const struct rt_timer *b)
{
	return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->seq < b->seq;
}

static void place(struct rt_loop *l, size_t i, struct rt_timer *t)
{
	l->heap[i] = t;
	t->pos = (uint32_t)i + 1;
}

static void sift_up(struct rt_loop *l, size_t i, struct rt_timer *t)
{
	while (i > 0 && before(t, l->heap[(i - 1) / 2])) {
		place(l, i, l->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(l, i, t);
}

static void sift_down(struct rt_loop *l, size_t i, struct rt_timer *t)
{
	for (;;) {
		size_t c = 2 * i + 1;
		if (c >= l->heap_n)
			break;
		if (c + 1 < l->heap_n && before(l->heap[c + 1], l->heap[c]))
			c++;
		if (!before(l->heap[c], t))
			break;
		place(l, i, l->heap[c]);
		i = c;
	}
	place(l, i, t);
}

static void heap_add(struct rt_loop *l, struct rt_timer *t)
{
	if (l->heap_n == l->heap_cap) {
		BUG_ON(l->heap_cap > UINT32_MAX / 4);
		l->heap_cap = l->heap_cap ? l->heap_cap * 2 : 64;
		l->heap = lw_xreallocarray(l->heap, l->heap_cap, sizeof(struct rt_timer *));
	}
	sift_up(l, l->heap_n++, t);
}

static void heap_remove(struct rt_loop *l, struct rt_timer *t)
{
	size_t i = t->pos - 1;
	t->pos = 0;
	struct rt_timer *last = l->heap[--l->heap_n];
	if (last == t)
		return;
	if (i > 0 && before(last, l->heap[(i - 1) / 2]))
		sift_up(l, i, last);
	else
		sift_down(l, i, last);
}

void rt_loop_fire_due(struct rt_loop *l)
{
	int64_t now = rt_loop_mono_ns(l);
	/* What is armed by these callbacks waits for the next turn, or a delay of 0 would starve the sockets. */
	uint64_t limit = l->seq;
	while (l->heap_n && l->heap[0]->due_ns <= now && l->heap[0]->seq <= limit) {
		struct rt_timer *t = l->heap[0];
		heap_remove(l, t);
		if (t->every_ms) {
			int64_t step = (int64_t)t->every_ms * LW_NS_PER_MS;
			t->due_ns += step;
			if (t->due_ns <= now)
				t->due_ns = now + step;
			t->seq = ++l->seq;
			heap_add(l, t);
		}
		const char *name = t->name;
		int64_t t0 = lw_mono_ns();
		t->fn(t, t->arg); /* may free t */
		rt_loop_note_call(l, "timer", name, t0);
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
	int64_t due = l->heap[0]->due_ns;
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

static void arm(struct rt_timer *t, int64_t due_ns, uint32_t every_ms)
{
	struct rt_loop *l = t->loop;
	BUG_ON(!l || !t->fn);
	if (t->pos)
		heap_remove(l, t);
	t->due_ns = due_ns;
	t->every_ms = every_ms;
	t->seq = ++l->seq;
	heap_add(l, t);
}

void rt_timer_start(struct rt_timer *t, uint64_t delay_ms)
{
	/* A century is for ever, and keeps the sum in range. */
	uint64_t ms = delay_ms > UINT64_C(3153600000000) ? UINT64_C(3153600000000) : delay_ms;
	arm(t, rt_loop_mono_ns(t->loop) + (int64_t)ms * LW_NS_PER_MS, 0);
}

void rt_timer_start_at(struct rt_timer *t, int64_t mono_ns)
{
	int64_t now = rt_loop_mono_ns(t->loop);
	arm(t, mono_ns > now ? mono_ns : now, 0);
}

void rt_timer_start_every(struct rt_timer *t, uint32_t every_ms)
{
	BUG_ON(every_ms == 0);
	arm(t, rt_loop_mono_ns(t->loop) + (int64_t)every_ms * LW_NS_PER_MS, every_ms);
}

void rt_timer_stop(struct rt_timer *t)
{
	if (t->pos)
		heap_remove(t->loop, t);
}
