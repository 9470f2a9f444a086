/* Life of the contexts: made, ended with one outcome on record, returned. */
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "network-server/flow/internal.h"

/* Pieces of work memory that wait to be used again. */
#define WORK_POOL_MAX 256
/* A reception: its message, as bytes and decoded. Many wait for their window to close. */
#define UP_MEM 1536
/* What is done with it once the window has closed: the device, the events. */
#define WORK_MEM 6656
/* Empty blocks of contexts that wait for the next burst: 2 MiB, some 400 contexts. Under load as many as were in use at
 * once within the last seconds: they come and go with each batch. */
#define BLOCKS_KEPT 8
#define KEEP_MS 5000
#define UP_SIZE ((sizeof(struct ns_up) + 15) & ~(size_t)15)

void ns_ctx_init(struct ns_ctx *c, struct ns_flows *f, uint8_t *mem, size_t cap)
{
	c->f = f;
	c->start_mono_ns = rt_loop_mono_ns(f->loop);
	c->flow.traced = true;
	lw_arena_init(&c->arena, mem, cap, NS_ARENA_MAX);
}

/* The context's memory and the arena's first block in one piece. */
static void *ctx_new(struct ns_flows *f, size_t size, size_t mem)
{
	size = (size + 15) & ~(size_t)15;
	uint8_t *p = lw_xmalloc(size + mem);
	memset(p, 0, size);
	ns_ctx_init((struct ns_ctx *)(void *)p, f, p + size, mem);
	return p;
}

/* A free piece holds the place of the next one. */
void ns_up_begin_work(struct ns_up *u)
{
	struct ns_flows *f = u->c.f;
	BUG_ON(u->work != NULL);
	if (f->free_work != NULL) {
		u->work = f->free_work;
		memcpy(&f->free_work, u->work, sizeof(void *));
		f->n_free_work--;
	} else {
		u->work = lw_xmalloc(WORK_MEM);
	}
	lw_arena_lend(&u->c.arena, u->work, WORK_MEM);
}

static void end_work(struct ns_flows *f, void *work)
{
	if (work == NULL)
		return;
	if (f->n_free_work >= WORK_POOL_MAX || f->closing) {
		free(work);
		return;
	}
	memcpy(work, &f->free_work, sizeof(void *));
	f->free_work = work;
	f->n_free_work++;
}

static void on_keep(struct rt_timer *t, void *arg)
{
	struct ns_flows *f = arg;
	size_t keep = f->ups.most > BLOCKS_KEPT ? f->ups.most : BLOCKS_KEPT;
	lw_slab_keep(&f->ups, keep);
	if (keep > BLOCKS_KEPT)
		rt_timer_start(t, KEEP_MS);
}

void ns_pools_init(struct ns_flows *f)
{
	rt_timer_init(&f->keep, f->loop, "contexts", on_keep, f);
	lw_slab_init(&f->ups, UP_SIZE + UP_MEM, BLOCKS_KEPT);
}

void ns_pools_free(struct ns_flows *f)
{
	rt_timer_stop(&f->keep);
	lw_slab_deinit(&f->ups);
	while (f->free_work != NULL) {
		void *work = f->free_work;
		memcpy(&f->free_work, work, sizeof(void *));
		free(work);
	}
}

void ns_ctx_free(struct ns_ctx *c)
{
	lw_arena_deinit(&c->arena);
	free(c);
}

struct ns_up *ns_up_new(struct ns_flows *f)
{
	f->in_flight++;
	uint8_t *p = lw_slab_alloc(&f->ups);
	if (f->ups.most > BLOCKS_KEPT && !rt_timer_armed(&f->keep))
		rt_timer_start(&f->keep, KEEP_MS);
	memset(p, 0, UP_SIZE);
	ns_ctx_init((struct ns_ctx *)(void *)p, f, p + UP_SIZE, UP_MEM);
	return (struct ns_up *)(void *)p;
}

void ns_up_free(struct ns_up *u)
{
	struct ns_flows *f = u->c.f;
	f->in_flight--;
	lw_arena_reset(&u->c.arena);
	end_work(f, u->work);
	lw_slab_free(&f->ups, u);
}

struct ns_down *ns_down_new(struct ns_flows *f)
{
	struct ns_down *d = ctx_new(f, sizeof(struct ns_down), NS_CTX_MEM);
	lw_list_init(&d->waiting);
	return d;
}

struct ns_ack *ns_ack_new(struct ns_flows *f)
{
	struct ns_ack *a = ctx_new(f, sizeof(struct ns_ack), NS_CTX_MEM);
	a->taken = -1;
	return a;
}

struct ns_stats *ns_stats_new(struct ns_flows *f)
{
	return ctx_new(f, sizeof(struct ns_stats), NS_CTX_MEM);
}

enum rt_flow_rc ns_drop(struct ns_ctx *c, ns_reason reason, const char *detail)
{
	c->outcome = LONGWAVE__V1__OUTCOME__DROPPED;
	c->reason = reason;
	c->flow.drop_reason = (uint16_t)reason;
	if (detail != NULL) {
		strncpy(c->detail, detail, sizeof(c->detail) - 1);
		c->detail[sizeof(c->detail) - 1] = '\0';
	}
	return RT_FLOW_DROP;
}

const struct ns_region_config *ns_region_of(const struct ns_flows *f, const char *id)
{
	for (size_t i = 0; i < f->cfg.n_regions; i++)
		if (strcmp(f->cfg.regions[i]->id, id) == 0)
			return f->cfg.regions[i];
	return NULL;
}

const struct ns_region_config *ns_gateway_reports_in(const struct ns_flows *f, struct lw_gateway_id id)
{
	const struct ns_gateway *g = f->ports->gateways.find(f->ports->gateways.self, id);
	return g != NULL ? ns_region_of(f, g->region_config_id) : NULL;
}

int64_t ns_now(const struct ns_flows *f)
{
	return rt_loop_now_ns(f->loop);
}

void ns_ctx_traced(void *owner, struct rt_flow_ctx *flow, const char *step, int64_t mono_ns)
{
	struct ns_ctx *c = (struct ns_ctx *)(void *)flow;
	(void)owner;
	if (step == NULL || c->n_steps == NS_STEPS)
		return;
	c->step[c->n_steps].name = step;
	c->step[c->n_steps++].after_us = (uint32_t)((mono_ns - c->start_mono_ns) / LW_NS_PER_US);
}

/* Another try once the database is back, in order with the address's other frames; else its journal entry ends. */
static void journal(struct ns_up *u, bool is_data, struct lw_devaddr addr, bool again)
{
	struct ns_flows *f = u->c.f;
	const struct ns_journal_port *j = &f->ports->journal;
	if (u->in.journal_position == 0)
		return;
	if (again) {
		if (is_data && j->retry != NULL)
			ns_hold_put(f, addr, u->in.journal_position);
		if (j->retry != NULL)
			j->retry(j->self, u->in.journal_position);
		return;
	}
	if (is_data)
		ns_hold_remove(f, addr, u->in.journal_position);
	if (j->done != NULL)
		j->done(j->self, u->in.journal_position);
}

static void journal_all(struct ns_up *u)
{
	bool is_data = lw_mtype_is_data_up(u->up.phy.mtype);
	struct lw_devaddr addr = is_data ? u->up.phy.u.data.devaddr : (struct lw_devaddr){0};
	bool again = u->c.outcome == LONGWAVE__V1__OUTCOME__DROPPED &&
		     (u->c.reason == LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE ||
		      (is_data && u->c.reason == LONGWAVE__V1__REASON__CONFLICT));
	journal(u, is_data, addr, again);
	for (struct ns_up *k = u->copies; k != NULL; k = k->next_copy) {
		k->c.outcome = u->c.outcome;
		k->c.reason = u->c.reason;
		journal(k, is_data, addr, again);
	}
}

static void room(struct ns_flows *f)
{
	if (f->was_full && f->in_flight < f->cfg.max_in_flight - f->cfg.max_in_flight / 8) {
		f->was_full = false;
		if (f->cfg.on_room != NULL)
			f->cfg.on_room(f->cfg.on_room_arg);
	}
}

static void up_finish(struct ns_up *u, const char *flow)
{
	struct ns_flows *f = u->c.f;
	if (!f->closing && flow != NULL) {
		ns_record_uplink(u);
		ns_count_uplink(u);
		f->ports->log.outcome(f->ports->log.self, flow, u->c.outcome, u->c.reason);
		journal_all(u);
		if (u->is_shared && u->c.reason != LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE)
			ns_share_settle(u);
	}
}

static void up_release(struct ns_up *u)
{
	struct ns_flows *f = u->c.f;
	for (struct ns_up *k = u->copies; k != NULL;) {
		struct ns_up *next = k->next_copy;
		ns_up_free(k);
		k = next;
	}
	ns_up_free(u);
	if (!f->closing)
		room(f);
}

static void enter(struct ns_up *u, struct rt_flow *flow)
{
	bool traced = u->c.flow.traced;
	memset(&u->c.flow, 0, sizeof(u->c.flow));
	u->c.flow.traced = traced;
	u->next = NS_UP_END;
	rt_flow_enter(flow, &u->c.flow);
}

/* End of any of the tables that a reception passes: on into the next one, or the end of its life. */
void ns_up_ended(void *owner, struct rt_flow_ctx *flow, enum rt_flow_rc rc)
{
	struct ns_flows *f = owner;
	struct ns_up *u = (struct ns_up *)(void *)flow;
	struct rt_flow *from = u->c.flow.flow;
	if (u->merged)
		return; /* its owner keeps it */
	if (rc == RT_FLOW_DROP && u->c.outcome == LONGWAVE__V1__OUTCOME__OUTCOME_UNSPECIFIED)
		ns_drop(&u->c, (ns_reason)u->c.flow.drop_reason, NULL);
	if (rc != RT_FLOW_DROP && !f->closing) {
		switch (u->next) {
		case NS_UP_DATA:
			enter(u, f->uplink);
			return;
		case NS_UP_JOIN:
			enter(u, f->join);
			return;
		case NS_UP_PROPRIETARY:
			enter(u, f->proprietary);
			return;
		case NS_UP_LOCATE:
			up_finish(u, "uplink");
			enter(u, f->locate);
			return;
		case NS_UP_END:
			break;
		}
	}
	up_finish(u, from == f->join ? "join" : from == f->locate ? NULL : "uplink");
	up_release(u);
}

void ns_stats_ended(void *owner, struct rt_flow_ctx *flow, enum rt_flow_rc rc)
{
	struct ns_flows *f = owner;
	struct ns_ctx *c = (struct ns_ctx *)(void *)flow;
	if (rc == RT_FLOW_DROP && c->outcome == LONGWAVE__V1__OUTCOME__OUTCOME_UNSPECIFIED)
		ns_drop(c, (ns_reason)c->flow.drop_reason, NULL);
	if (rc != RT_FLOW_DROP)
		c->outcome = LONGWAVE__V1__OUTCOME__DELIVERED;
	if (!f->closing)
		f->ports->log.outcome(f->ports->log.self, "stats", c->outcome, c->reason);
	ns_ctx_free(c);
}
