#include "common/runtime/loop.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/rng.h"
#include "common/base/xmalloc.h"

struct trail {
	char text[512];
	struct rt_loop *loop;
};

static void mark(struct trail *t, const char *s)
{
	size_t n = strlen(t->text);
	snprintf(t->text + n, sizeof(t->text) - n, "%s ", s);
}

struct named {
	struct trail *trail;
	const char *name;
	struct rt_timer timer;
	int64_t at_ns;
	int n;
};

static void on_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	struct named *x = arg;
	x->n++;
	x->at_ns = rt_loop_mono_ns(x->timer.loop);
	mark(x->trail, x->name);
}

static void timers_fire_in_order_of_time(void **state)
{
	(void)state;
	struct rt_loop *l = rt_loop_new_virtual(1000);
	struct trail tr = {.loop = l};
	struct named a = {&tr, "a", {0}, 0, 0}, b = {&tr, "b", {0}, 0, 0}, c = {&tr, "c", {0}, 0, 0},
		     d = {&tr, "d", {0}, 0, 0};
	struct named *all[] = {&a, &b, &c, &d};
	for (int i = 0; i < 4; i++)
		rt_timer_init(&all[i]->timer, l, all[i]->name, on_timer, all[i]);
	int64_t t0 = rt_loop_mono_ns(l);
	rt_timer_start(&a.timer, 30);
	rt_timer_start(&b.timer, 10);
	rt_timer_start(&c.timer, 10);
	rt_timer_start(&d.timer, 500);
	rt_loop_advance(l, 9);
	assert_string_equal(tr.text, "");
	rt_loop_advance(l, 100);
	assert_string_equal(tr.text, "b c a ");
	assert_int_equal(a.at_ns - t0, 30 * LW_NS_PER_MS);
	assert_int_equal(b.at_ns - t0, 10 * LW_NS_PER_MS);
	assert_int_equal(rt_loop_mono_ns(l) - t0, 109 * LW_NS_PER_MS);
	assert_int_equal(rt_loop_now_ns(l), 1000 + 109 * LW_NS_PER_MS);
	assert_true(rt_timer_armed(&d.timer));
	rt_timer_stop(&d.timer);
	rt_timer_stop(&d.timer);
	rt_loop_advance(l, 1000);
	assert_int_equal(d.n, 0);
	rt_loop_free(l);
}

static void repeating_timer_skips_what_it_missed(void **state)
{
	(void)state;
	struct rt_loop *l = rt_loop_new_virtual(0);
	struct trail tr = {.loop = l};
	struct named a = {&tr, "a", {0}, 0, 0};
	rt_timer_init(&a.timer, l, "a", on_timer, &a);
	rt_timer_start_every(&a.timer, 10);
	rt_loop_advance(l, 55);
	assert_int_equal(a.n, 5);
	rt_timer_stop(&a.timer);
	rt_loop_advance(l, 55);
	assert_int_equal(a.n, 5);
	rt_loop_free(l);
}

struct shuffle {
	struct rt_timer t;
	int64_t *last;
	size_t *fired;
	size_t *wrong;
};

static void on_shuffle(struct rt_timer *t, void *arg)
{
	struct shuffle *s = arg;
	if (t->due_ns < *s->last)
		(*s->wrong)++;
	*s->last = t->due_ns;
	(*s->fired)++;
}

static void many_timers_armed_stopped_moved(void **state)
{
	(void)state;
	enum { N = 20000 };
	struct rt_loop *l = rt_loop_new_virtual(0);
	struct lw_rng rng;
	lw_rng_init_seeded(&rng, 7);
	struct shuffle *v = lw_xcalloc(N, sizeof(*v));
	int64_t last = 0;
	size_t fired = 0, wrong = 0, stopped = 0;
	for (size_t i = 0; i < N; i++) {
		v[i].last = &last;
		v[i].fired = &fired;
		v[i].wrong = &wrong;
		rt_timer_init(&v[i].t, l, "shuffle", on_shuffle, &v[i]);
		rt_timer_start(&v[i].t, lw_rng_below(&rng, 5000));
	}
	for (size_t i = 0; i < N; i += 3)
		rt_timer_start(&v[i].t, lw_rng_below(&rng, 5000));
	for (size_t i = 0; i < N; i += 7) {
		rt_timer_stop(&v[i].t);
		stopped++;
	}
	rt_loop_advance(l, 5000);
	assert_int_equal(wrong, 0);
	assert_int_equal(fired, N - stopped);
	free(v);
	rt_loop_free(l);
}

/* Delays of which many are alike, two of them (1 and 200) with the same hash. */
static void arm_somehow(struct rt_timer *t, struct lw_rng *rng)
{
	static const uint32_t alike[] = {1, 200, 1000, 50};
	uint64_t how = lw_rng_below(rng, 6);
	if (how < 4)
		rt_timer_start(t, alike[how]);
	else if (how == 4)
		rt_timer_start(t, lw_rng_below(rng, 1200));
	else
		rt_timer_start_at(t, rt_loop_mono_ns(t->loop) + (int64_t)lw_rng_below(rng, 300) * LW_NS_PER_MS);
}

struct ordered {
	struct rt_timer t;
	struct order *o;
	int64_t due_ns; /* as armed, and the how manieth */
	uint64_t seq;
	bool armed;
};

struct order {
	int64_t due_ns;
	uint64_t seq, armed;
	size_t n_armed, fired, wrong;
	struct lw_rng rng;
};

static void arm_ordered(struct ordered *x)
{
	x->o->n_armed += !x->armed;
	x->armed = true;
	arm_somehow(&x->t, &x->o->rng);
	x->due_ns = x->t.due_ns;
	x->seq = ++x->o->armed;
}

static void on_ordered(struct rt_timer *t, void *arg)
{
	struct ordered *x = arg;
	struct order *o = x->o;
	if (!x->armed || rt_timer_armed(t) || x->due_ns != rt_loop_mono_ns(t->loop) || x->due_ns < o->due_ns ||
	    (x->due_ns == o->due_ns && x->seq < o->seq))
		o->wrong++;
	o->due_ns = x->due_ns;
	o->seq = x->seq;
	o->fired++;
	o->n_armed--;
	x->armed = false;
	if (lw_rng_below(&o->rng, 4) == 0)
		arm_ordered(x);
}

static void timers_of_one_delay_keep_the_order_of_all(void **state)
{
	(void)state;
	enum { N = 500 };
	struct rt_loop *l = rt_loop_new_virtual(0);
	struct order o = {0};
	lw_rng_init_seeded(&o.rng, 11);
	struct ordered *v = lw_xcalloc(N, sizeof(*v));
	for (size_t i = 0; i < N; i++) {
		v[i].o = &o;
		rt_timer_init(&v[i].t, l, "ordered", on_ordered, &v[i]);
	}
	for (int round = 0; round < 3000; round++) {
		for (int i = 0; i < 40; i++) {
			struct ordered *x = &v[lw_rng_below(&o.rng, N)];
			if (lw_rng_below(&o.rng, 5) > 0) {
				arm_ordered(x); /* also one that is armed */
				continue;
			}
			rt_timer_stop(&x->t);
			o.n_armed -= x->armed;
			x->armed = false;
		}
		rt_loop_advance(l, lw_rng_below(&o.rng, 30));
		struct rt_loop_stats st;
		rt_loop_stats(l, &st);
		assert_int_equal(st.timers, o.n_armed);
	}
	rt_loop_advance(l, 100000);
	assert_int_equal(o.wrong, 0);
	assert_int_equal(o.n_armed, 0);
	assert_true(o.fired > 10000);
	free(v);
	rt_loop_free(l);
}

static void on_stop(struct rt_timer *t, void *arg)
{
	(void)arg;
	rt_loop_stop(t->loop);
}

static void real_loop_keeps_time(void **state)
{
	(void)state;
	struct rt_loop *l = rt_loop_new();
	struct rt_timer t, later;
	rt_timer_init(&t, l, "stop", on_stop, NULL);
	rt_timer_init(&later, l, "later", on_stop, NULL);
	int64_t t0 = rt_loop_mono_ns(l);
	rt_timer_start(&t, 30);
	rt_timer_start(&later, 60000); /* which is what a loop that sleeps too long would wake for */
	rt_loop_run(l);
	int64_t ms = (rt_loop_mono_ns(l) - t0) / LW_NS_PER_MS;
	assert_true(ms >= 30);
	assert_true(rt_timer_armed(&later));
	rt_timer_stop(&later);
	rt_loop_free(l);
}

static void tick_a(void *arg)
{
	mark(arg, "a");
}
static void tick_b(void *arg)
{
	mark(arg, "b");
}
static void tick_deferred(void *arg)
{
	mark(arg, "deferred");
}
static void tick_again(void *arg)
{
	struct trail *t = arg;
	if (strlen(t->text) < 20)
		rt_loop_again(t->loop);
}

static void ticks_run_in_their_order_after_deferred(void **state)
{
	(void)state;
	struct rt_loop *l = rt_loop_new_virtual(0);
	struct trail tr = {.loop = l};
	struct rt_tick *b = rt_loop_on_tick(l, 20, "b", tick_b, &tr);
	rt_loop_on_tick(l, 10, "a", tick_a, &tr);
	rt_loop_defer(l, tick_deferred, &tr);
	rt_loop_turn(l);
	assert_string_equal(tr.text, "deferred a b ");
	rt_loop_turn(l);
	assert_string_equal(tr.text, "deferred a b a b ");
	rt_tick_remove(b);
	rt_loop_turn(l);
	assert_string_equal(tr.text, "deferred a b a b a ");
	/* One more round in the same turn while something asks for it. */
	tr.text[0] = 0;
	rt_loop_on_tick(l, 5, "again", tick_again, &tr);
	rt_loop_turn(l);
	assert_true(strlen(tr.text) >= 4);
	rt_loop_free(l);
}

struct pipe_test {
	int n;
	unsigned events;
	bool flag;
};

static void on_pipe(struct rt_watch *w, unsigned events, void *arg)
{
	struct pipe_test *p = arg;
	p->n++;
	p->events = events;
	p->flag = true;
	rt_watch_set(w, 0);
}

static void watch_sees_input_and_end(void **state)
{
	(void)state;
	struct rt_loop *l = rt_loop_new();
	int fd[2];
	assert_int_equal(pipe(fd), 0);
	struct pipe_test p = {0};
	struct rt_watch *w = rt_watch_new(l, fd[0], RT_READ, "pipe", on_pipe, &p);
	assert_non_null(w);
	rt_loop_turn(l);
	assert_int_equal(p.n, 0);
	assert_int_equal(write(fd[1], "x", 1), 1);
	assert_true(rt_loop_run_until(l, &p.flag, 60000));
	assert_true(p.events & RT_READ);
	/* No interest: no call, though a byte waits. */
	p.flag = false;
	rt_loop_turn(l);
	assert_int_equal(p.n, 1);
	rt_watch_set(w, RT_READ);
	assert_true(rt_loop_run_until(l, &p.flag, 60000));
	assert_int_equal(p.n, 2);
	rt_watch_free(w);
	close(fd[0]);
	close(fd[1]);
	rt_loop_free(l);
}

static void run_until_gives_up(void **state)
{
	(void)state;
	struct rt_loop *l = rt_loop_new();
	bool never = false;
	assert_false(rt_loop_run_until(l, &never, 20));
	rt_loop_free(l);
}

struct job {
	int in, out, status, done;
};
static void work(void *arg)
{
	struct job *j = arg;
	j->out = j->in * 2;
}
static void work_done(void *arg, int status)
{
	struct job *j = arg;
	j->status = status;
	j->done++;
}

static void work_runs_elsewhere_and_ends_here(void **state)
{
	(void)state;
	struct rt_loop *l = rt_loop_new_virtual(0);
	struct job j[8] = {0};
	for (int i = 0; i < 8; i++) {
		j[i].in = i;
		rt_loop_work(l, work, work_done, &j[i]);
	}
	/* A virtual loop waits for the work before it moves the time. */
	rt_loop_advance(l, 1);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(j[i].out, 2 * i);
		assert_int_equal(j[i].done, 1);
	}
	assert_int_equal(rt_loop_work_count(l), 0);
	struct job late[40] = {0};
	for (int i = 0; i < 40; i++)
		rt_loop_work(l, work, work_done, &late[i]);
	rt_loop_free(l);
	for (int i = 0; i < 40; i++) {
		assert_int_equal(late[i].done, 1);
		assert_true(late[i].status == 0 || late[i].status == LW_ECANCELLED);
	}
}

static void on_signal(int signum, void *arg)
{
	*(int *)arg = signum;
}

static void signal_reaches_the_loop(void **state)
{
	(void)state;
	struct rt_loop *l = rt_loop_new();
	int got = 0;
	struct rt_signal *s = rt_signal_new(l, SIGUSR1, on_signal, &got);
	raise(SIGUSR1);
	for (int i = 0; i < 100 && !got; i++)
		rt_loop_turn(l);
	assert_int_equal(got, SIGUSR1);
	rt_signal_free(s);
	rt_loop_free(l);
}

static void on_slow(struct rt_timer *t, void *arg)
{
	(void)arg;
	int64_t until = lw_mono_ns() + 3 * LW_NS_PER_MS;
	while (lw_mono_ns() < until)
		;
	rt_loop_stop(t->loop);
}

static void watchdog_names_the_slow_one(void **state)
{
	(void)state;
	struct rt_loop *l = rt_loop_new_virtual(0);
	rt_loop_set_slow_ms(l, 1);
	struct rt_timer t;
	rt_timer_init(&t, l, "molasses", on_slow, NULL);
	rt_timer_start(&t, 1);
	rt_loop_advance(l, 1);
	struct rt_loop_stats st;
	rt_loop_stats(l, &st);
	assert_true(st.slow >= 1);
	assert_string_equal(st.slowest, "molasses");
	assert_true(st.slowest_ns >= 3 * (uint64_t)LW_NS_PER_MS);
	rt_loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_fire_in_order_of_time),
		cmocka_unit_test(repeating_timer_skips_what_it_missed),
		cmocka_unit_test(many_timers_armed_stopped_moved),
		cmocka_unit_test(timers_of_one_delay_keep_the_order_of_all),
		cmocka_unit_test(real_loop_keeps_time),
		cmocka_unit_test(ticks_run_in_their_order_after_deferred),
		cmocka_unit_test(watch_sees_input_and_end),
		cmocka_unit_test(run_until_gives_up),
		cmocka_unit_test(work_runs_elsewhere_and_ends_here),
		cmocka_unit_test(signal_reaches_the_loop),
		cmocka_unit_test(watchdog_names_the_slow_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
