#include "common/runtime/flow.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "common/runtime/metrics.h"

/* How exactly a deadline is kept by a context that waits for its key. */
#define KEY_LATE_MS 20

enum state { AT_DOOR = 1, RUNNING, IN_IO, AT_KEY };

/* A busy key and who waits for it, in order of arrival. */
struct busy {
	struct lw_list waiting;
	struct busy *next_free;
};

struct step {
	struct lw_list door;
	struct rt_flow_stats st;
};

struct rt_flow {
	struct rt_flow_opts o;
	struct rt_loop *loop;
	struct rt_tick *tick;
	struct rt_timer late; /* runs while contexts with a deadline wait for a key */
	struct rt_metrics *metrics;
	struct step *steps;
	struct rt_flow_ctx **vec;
	struct lw_list in_io;
	struct lw_map busy; /* key → struct busy */
	struct busy *free_busy;
	size_t first_behind_key; /* step; 0 without a key step */
	size_t in_flight;
	size_t at_doors;
	bool was_full;
	bool sweeping;
	bool freeing;
};

static struct rt_flow_ctx *ctx_of(struct lw_list *n)
{
	return LW_CONTAINER_OF(n, struct rt_flow_ctx, link);
}

/* --- movement --------------------------------------------------------------------------------------------------- */

static void trace(struct rt_flow *f, struct rt_flow_ctx *c, const char *step, int64_t now_ns)
{
	if (c->traced && f->o.on_trace)
		f->o.on_trace(f->o.owner, c, step, now_ns);
}

static void to_door(struct rt_flow *f, struct rt_flow_ctx *c, size_t s)
{
	c->step = (uint16_t)s;
	c->state = AT_DOOR;
	lw_list_push_back(&f->steps[s].door, &c->link);
	f->steps[s].st.waiting++;
	f->at_doors++;
	if (!f->sweeping)
		rt_loop_again(f->loop);
}

static void advance(struct rt_flow *f, struct rt_flow_ctx *c, enum rt_flow_rc rc);

static void release_key(struct rt_flow *f, uint64_t key)
{
	struct busy *b = lw_map_find(&f->busy, key);
	BUG_ON(!b);
	struct lw_list *n = lw_list_pop_front(&b->waiting);
	if (n) {
		struct rt_flow_ctx *next = ctx_of(n);
		f->steps[next->step].st.waiting--;
		next->has_key = true;
		advance(f, next, RT_FLOW_NEXT);
		return;
	}
	lw_map_remove(&f->busy, key);
	b->next_free = f->free_busy;
	f->free_busy = b;
}

static void end(struct rt_flow *f, struct rt_flow_ctx *c, enum rt_flow_rc rc)
{
	bool has_key = c->has_key;
	uint64_t key = c->key;
	if (c->traced)
		trace(f, c, NULL, rt_loop_mono_ns(f->loop));
	f->in_flight--;
	c->flow = NULL;
	f->o.on_end(f->o.owner, c, rc); /* c may be gone */
	if (has_key && !f->freeing)
		release_key(f, key);
}

static void advance(struct rt_flow *f, struct rt_flow_ctx *c, enum rt_flow_rc rc)
{
	if (rc == RT_FLOW_DROP)
		f->steps[c->step].st.drops++;
	if (rc == RT_FLOW_AGAIN)
		to_door(f, c, f->first_behind_key);
	else if (rc != RT_FLOW_NEXT)
		end(f, c, rc);
	else if (c->step + 1u == f->o.n_steps)
		end(f, c, RT_FLOW_DONE);
	else
		to_door(f, c, c->step + 1u);
}

static bool is_late(const struct rt_flow_ctx *c, int64_t now_ns)
{
	return c->deadline_ns && now_ns > c->deadline_ns;
}

static void drop_late(struct rt_flow *f, struct rt_flow_ctx *c)
{
	c->drop_reason = f->o.late_reason;
	f->steps[c->step].st.late++;
	advance(f, c, RT_FLOW_DROP);
}

/* --- keys ------------------------------------------------------------------------------------------------------- */

static struct busy *busy_new(struct rt_flow *f)
{
	struct busy *b = f->free_busy;
	if (b)
		f->free_busy = b->next_free;
	else
		b = lw_xmalloc(sizeof(*b));
	lw_list_init(&b->waiting);
	return b;
}

static void claim(struct rt_flow *f, struct rt_flow_ctx *c)
{
	uint64_t key = 0;
	if (!f->o.steps[c->step].key(c, &key)) {
		advance(f, c, RT_FLOW_NEXT);
		return;
	}
	c->key = key;
	struct busy *b = lw_map_find(&f->busy, key);
	if (!b) {
		lw_map_put(&f->busy, key, busy_new(f));
		c->has_key = true;
		advance(f, c, RT_FLOW_NEXT);
		return;
	}
	c->state = AT_KEY;
	lw_list_push_back(&b->waiting, &c->link);
	f->steps[c->step].st.waiting++;
	if (c->deadline_ns && !rt_timer_armed(&f->late))
		rt_timer_start(&f->late, KEY_LATE_MS);
}

/* Contexts that wait for a key are at no door, so no sweep sees their deadline. */
static void on_late_timer(struct rt_timer *t, void *arg)
{
	struct rt_flow *f = arg;
	int64_t now = rt_loop_mono_ns(f->loop);
	bool more = false;
	struct lw_list late;
	lw_list_init(&late);
	size_t it = 0;
	uint64_t key;
	void *value;
	while (lw_map_next(&f->busy, &it, &key, &value)) {
		struct busy *b = value;
		LW_LIST_FOREACH (n, tmp, &b->waiting) {
			struct rt_flow_ctx *c = ctx_of(n);
			if (is_late(c, now)) {
				lw_list_remove(n);
				lw_list_push_back(&late, n);
			} else if (c->deadline_ns && c->deadline_ns != RT_FLOW_NO_DEADLINE) {
				more = true;
			}
		}
	}
	for (struct lw_list *n; (n = lw_list_pop_front(&late));) {
		struct rt_flow_ctx *c = ctx_of(n);
		f->steps[c->step].st.waiting--;
		drop_late(f, c);
	}
	if (more)
		rt_timer_start(t, KEY_LATE_MS);
}

/* --- sweep ------------------------------------------------------------------------------------------------------ */

static void run_batch(struct rt_flow *f, size_t s, size_t n)
{
	const struct rt_flow_step *step = &f->o.steps[s];
	struct rt_flow_stats *st = &f->steps[s].st;
	st->in += n;
	st->batches++;
	if (n > st->max_batch)
		st->max_batch = n;
	if (step->io) {
		for (size_t i = 0; i < n; i++) {
			f->vec[i]->state = IN_IO;
			lw_list_push_back(&f->in_io, &f->vec[i]->link);
			st->waiting++;
		}
		step->io(f, f->o.owner, f->vec, n);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct rt_flow_ctx *c = f->vec[i];
		if (step->key)
			claim(f, c);
		else
			advance(f, c, step->pure(c));
	}
}

/* From t0 on. Returns the time now: the clock is read once for a step, not for each context. */
static int64_t run_step(struct rt_flow *f, size_t s, int64_t t0)
{
	struct lw_list todo;
	lw_list_init(&todo);
	lw_list_splice_back(&todo, &f->steps[s].door);
	int64_t now_ns = rt_loop_is_virtual(f->loop) ? rt_loop_mono_ns(f->loop) : t0;
	while (!lw_list_empty(&todo)) {
		size_t n = 0;
		for (struct lw_list *e; n < f->o.max_batch && (e = lw_list_pop_front(&todo));) {
			struct rt_flow_ctx *c = ctx_of(e);
			f->steps[s].st.waiting--;
			f->at_doors--;
			c->state = RUNNING;
			if (is_late(c, now_ns)) {
				drop_late(f, c);
				continue;
			}
			trace(f, c, f->o.steps[s].name, now_ns);
			f->vec[n++] = c;
		}
		if (n)
			run_batch(f, s, n);
	}
	int64_t t1 = lw_mono_ns();
	f->steps[s].st.ns += (uint64_t)(t1 - t0);
	return t1;
}

static void give_room(struct rt_flow *f)
{
	/* A little hysteresis, so that the source is not switched for every frame. */
	if (!f->was_full || f->in_flight > f->o.max_in_flight - f->o.max_in_flight / 4)
		return;
	f->was_full = false;
	if (f->o.on_room)
		f->o.on_room(f->o.owner);
}

void rt_flow_sweep(struct rt_flow *f)
{
	BUG_ON(f->sweeping);
	if (f->at_doors) {
		int64_t now = lw_mono_ns();
		f->sweeping = true;
		for (size_t s = 0; s < f->o.n_steps && f->at_doors; s++) {
			if (!lw_list_empty(&f->steps[s].door))
				now = run_step(f, s, now);
		}
		f->sweeping = false;
		/* A released key has let someone in at an earlier door. */
		if (f->at_doors)
			rt_loop_again(f->loop);
	}
	give_room(f);
}

static void on_tick(void *arg)
{
	rt_flow_sweep(arg);
}

/* --- interface -------------------------------------------------------------------------------------------------- */

struct rt_flow *rt_flow_new(struct rt_loop *loop, const struct rt_flow_opts *opts)
{
	BUG_ON(!opts->n_steps || opts->n_steps > UINT16_MAX || !opts->on_end);
	size_t n_keys = 0;
	for (size_t i = 0; i < opts->n_steps; i++) {
		const struct rt_flow_step *s = &opts->steps[i];
		BUG_ON((s->pure != NULL) + (s->io != NULL) + (s->key != NULL) != 1);
		n_keys += s->key != NULL;
	}
	BUG_ON(n_keys > 1); /* two keys held at once could wait for each other */

	struct rt_flow *f = lw_xcalloc(1, sizeof(*f));
	f->o = *opts;
	f->loop = loop;
	for (size_t i = 0; i < opts->n_steps; i++)
		if (opts->steps[i].key)
			f->first_behind_key = i + 1;
	BUG_ON(f->first_behind_key == opts->n_steps);
	if (!f->o.max_in_flight)
		f->o.max_in_flight = 65536;
	if (!f->o.max_batch)
		f->o.max_batch = 1024;
	f->steps = lw_xcalloc(f->o.n_steps, sizeof(*f->steps));
	for (size_t i = 0; i < f->o.n_steps; i++) {
		lw_list_init(&f->steps[i].door);
		f->steps[i].st.step = f->o.steps[i].name;
	}
	f->vec = lw_xcalloc(f->o.max_batch, sizeof(struct rt_flow_ctx *));
	lw_list_init(&f->in_io);
	lw_map_init(&f->busy);
	rt_timer_init(&f->late, loop, f->o.name, on_late_timer, f);
	f->tick = rt_loop_on_tick(loop, f->o.order ? f->o.order : RT_TICK_FLOW, f->o.name, on_tick, f);
	return f;
}

static void end_list(struct rt_flow *f, struct lw_list *l)
{
	for (struct lw_list *n; (n = lw_list_pop_front(l));)
		end(f, ctx_of(n), RT_FLOW_DROP);
}

void rt_flow_free(struct rt_flow *f)
{
	if (!f)
		return;
	BUG_ON(f->sweeping);
	f->freeing = true;
	rt_tick_remove(f->tick);
	rt_timer_stop(&f->late);
	if (f->metrics)
		rt_metrics_remove_flow(f->metrics, f);
	for (size_t i = 0; i < f->o.n_steps; i++)
		end_list(f, &f->steps[i].door);
	end_list(f, &f->in_io);
	size_t it = 0;
	uint64_t key;
	void *value;
	while (lw_map_next(&f->busy, &it, &key, &value)) {
		end_list(f, &((struct busy *)value)->waiting);
		free(value);
	}
	while (f->free_busy) {
		struct busy *b = f->free_busy;
		f->free_busy = b->next_free;
		free(b);
	}
	lw_map_deinit(&f->busy);
	free(f->vec);
	free(f->steps);
	free(f);
}

void rt_flow_enter(struct rt_flow *f, struct rt_flow_ctx *c)
{
	BUG_ON(f->freeing);
	BUG_ON(f->in_flight >= f->o.max_in_flight * 4);
	c->flow = f;
	c->has_key = false;
	c->enter_ns = rt_loop_mono_ns(f->loop);
	if (!c->deadline_ns && f->o.deadline_ms)
		c->deadline_ns = c->enter_ns + (int64_t)f->o.deadline_ms * LW_NS_PER_MS;
	if (++f->in_flight >= f->o.max_in_flight)
		f->was_full = true;
	to_door(f, c, 0);
}

bool rt_flow_full(const struct rt_flow *f)
{
	return f->in_flight >= f->o.max_in_flight;
}

void rt_flow_resume(struct rt_flow_ctx *c, enum rt_flow_rc rc)
{
	struct rt_flow *f = c->flow;
	BUG_ON(!f || c->state != IN_IO);
	lw_list_remove(&c->link);
	c->state = RUNNING;
	f->steps[c->step].st.waiting--;
	if (rc == RT_FLOW_NEXT && c->step + 1u < f->o.n_steps && is_late(c, rt_loop_mono_ns(f->loop)))
		drop_late(f, c);
	else
		advance(f, c, rc);
}

void rt_flow_resume_all(struct rt_flow_ctx **v, size_t n, enum rt_flow_rc rc)
{
	for (size_t i = 0; i < n; i++)
		rt_flow_resume(v[i], rc);
}

void rt_flow_resume_drop(struct rt_flow_ctx *c, uint16_t reason)
{
	c->drop_reason = reason;
	rt_flow_resume(c, RT_FLOW_DROP);
}

size_t rt_flow_in_flight(const struct rt_flow *f)
{
	return f->in_flight;
}

const char *rt_flow_name(const struct rt_flow *f)
{
	return f->o.name;
}

const char *rt_flow_step_name(const struct rt_flow_ctx *c)
{
	return c->flow ? c->flow->o.steps[c->step].name : "";
}

size_t rt_flow_n_steps(const struct rt_flow *f)
{
	return f->o.n_steps;
}

void rt_flow_stats(const struct rt_flow *f, size_t step, struct rt_flow_stats *out)
{
	BUG_ON(step >= f->o.n_steps);
	*out = f->steps[step].st;
}

void rt_flow_register_metrics(struct rt_flow *f, struct rt_metrics *m)
{
	BUG_ON(f->metrics != NULL);
	f->metrics = m;
	rt_metrics_add_flow(m, f);
}
