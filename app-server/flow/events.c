#include "app-server/flow/events.h"

#include <stdlib.h>
#include <string.h>

#include "app-server/flow/commands.h"
#include "app-server/flow/event_internal.h"
#include "app-server/replicas.h"
#include "app-server/integration/outlets.h"
#include "app-server/link/mqtt.h"
#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/pb/unpack.h"

#define MAX_EVENT (4u << 20)
#define POOL_MAX 256
#define START_POLL_MS 50
#define PUBLISH_RETRY_MS 50
#define ACK_MS 20 /* the network-server only deletes what is acknowledged, and wakes for it */
#define LEAVE_POLL_MS 20
#define LEAVE_POLLS 150

struct ticket {
	struct lw_list node;
	uint64_t no;
	unsigned events;
	bool is_done, is_safe;
	struct as_positions upto;
};

static const char *const drop_names[AS_DROPS] = {
	[AS_DROP_NONE] = "none",
	[AS_DROP_MALFORMED] = "malformed",
	[AS_DROP_UNKNOWN_DEVICE] = "unknown_device",
	[AS_DROP_NOT_REENCRYPTED] = "not_reencrypted",
};

/* ---- contexts ---- */

static struct as_event_ctx *ctx_new(struct as_events *e)
{
	struct lw_list *node = lw_list_pop_front(&e->pool);
	struct as_event_ctx *c;
	if (node) {
		c = LW_CONTAINER_OF(node, struct as_event_ctx, node);
		e->n_pool--;
	} else {
		c = lw_xmalloc(sizeof(*c));
	}
	memset(c, 0, offsetof(struct as_event_ctx, arena));
	lw_arena_init(&c->arena, c->mem, sizeof(c->mem), MAX_EVENT);
	lw_list_init(&c->node);
	c->owner = e;
	return c;
}

static void ctx_free(struct as_event_ctx *c)
{
	struct as_events *e = c->owner;
	as_device_unref(c->dev);
	lw_arena_deinit(&c->arena);
	if (e->n_pool >= POOL_MAX) {
		free(c);
		return;
	}
	lw_list_push_front(&e->pool, &c->node);
	e->n_pool++;
}

/* ---- in ---- */

static void on_batch(void *arg, const struct lw_span *events, size_t n, bool split);

static size_t in_flight(const struct as_events *e)
{
	return (size_t)(e->next_no - e->head_no);
}

static void pause_streams(struct as_events *e, bool paused)
{
	for (size_t i = 0; i < e->n_streams; i++)
		as_event_stream_pause(e->stream[i], paused);
}

static void hold_or_go(struct as_events *e)
{
	if (e->leaving)
		return;
	if (in_flight(e) >= AS_EVENTS_HIGH || e->unacked >= AS_EVENTS_UNACKED_HIGH)
		pause_streams(e, true);
	else if (in_flight(e) <= AS_EVENTS_LOW && e->unacked <= AS_EVENTS_UNACKED_HIGH / 2)
		pause_streams(e, false);
}

static unsigned others(void *arg)
{
	return (unsigned)as_replicas_others(((struct as_events *)arg)->as);
}

/* What this process or another one has published must be known to all before events are offered again: an event that
 * two offer would else be published by both. */
static bool may_open(void *arg)
{
	struct as_events *e = arg;
	if (!e->as->integration || e->looked_up || as_replicas_others(e->as) == 0)
		return true;
	if (!e->looking && e->head_no >= e->passed_no && e->unsaid == 0)
		e->looking = as_integration_look_up(e->as->integration) == 0;
	return false;
}

static void on_stream_ended(void *arg)
{
	struct as_events *e = arg;
	e->looked_up = e->looking = false;
	e->passed_no = e->next_no;
}

static void on_looked_up(void *arg, const struct as_positions *all)
{
	struct as_events *e = arg;
	if (!e->looking)
		return; /* another stream ended since */
	e->looking = false;
	e->looked_up = true;
	as_positions_join(&e->safe, all);
	as_positions_join(&e->taken, all);
	as_positions_join(&e->published, all);
}

/* Tests have one network-server without its part. */
static void start_streams(struct as_events *e)
{
	struct as *as = e->as;
	for (size_t i = 0; i < e->n_streams; i++)
		as_event_stream_stop(e->stream[i]);
	for (size_t i = 0; i < (as->n_ns ? as->n_ns : 1); i++) {
		if (i == e->n_streams) {
			struct as_event_stream_opts o = {.loop = as->loop,
							 .log = as->log,
							 .rng = &as->rng,
							 .consumer = as->conf->mqtt_client_id,
							 .batch = on_batch,
							 .others = others,
							 .may_open = may_open,
							 .ended = on_stream_ended,
							 .arg = e};
			e->stream[e->n_streams++] = as_event_stream_new(&o);
		}
		as_event_stream_start(e->stream[i], as->n_ns ? as->ns_replicas[i].client : as->ns, &e->safe);
	}
}

/* The event in memory of its own, or NULL. */
static struct as_event_ctx *read_event(struct as_events *e, struct lw_span wire)
{
	struct as_event_ctx *c = ctx_new(e);
	ProtobufCMessage *ev = NULL;
	int rc = lw_pb_unpack(&longwave__ns__v1__event__descriptor, wire, &c->arena, &ev);
	if (rc < 0) {
		rt_metric_inc(e->unreadable);
		RT_LOG_WARN(e->as->log, "an event of the network-server cannot be read", rt_err(rc));
		ctx_free(c);
		return NULL;
	}
	c->ev = (const Longwave__Ns__V1__Event *)ev;
	return c;
}

static void take(struct as_events *e, struct lw_span wire, bool split)
{
	char name[AS_ORIGIN_MAX];
	struct as_event_ctx *c = read_event(e, wire);
	if (!c)
		return;
	const Longwave__Ns__V1__Event *ev = c->ev;
	if (as_positions_cover(&e->taken, ev->origin, ev->dev_eui, ev->seq)) {
		rt_metric_inc(e->repeated);
		e->ack_due = true; /* who offers it again does not know what is safe */
		ctx_free(c);
		return;
	}
	if (!as_positions_note(&e->taken, as_position_name(ev->origin, ev->dev_eui, split, name), ev->seq)) {
		rt_metric_inc(e->unreadable);
		ctx_free(c);
		return;
	}
	BUG_ON(in_flight(e) >= AS_EVENTS_RING);
	c->no = e->next_no++;
	c->epoch = e->epoch;
	c->split = split;
	e->ring[c->no % AS_EVENTS_RING].state = AS_SLOT_FLOW;
	e->ring[c->no % AS_EVENTS_RING].c = c;
	rt_metric_inc(e->taken_total);
	rt_flow_enter(e->flow, &c->flow);
}

static void on_batch(void *arg, const struct lw_span *events, size_t n, bool split)
{
	struct as_events *e = arg;
	for (size_t i = 0; i < n; i++) {
		/* Flow control works between messages; a message of unusual size is read again later. */
		if (in_flight(e) >= AS_EVENTS_RING - 1) {
			RT_LOG_WARN(e->as->log, "a batch of events was too large, it is asked for again");
			start_streams(e);
			break;
		}
		take(e, events[i], split);
	}
	hold_or_go(e);
}

/* ---- out ---- */

static void say_position(struct as_events *e)
{
	if (e->unsaid == 0)
		return;
	if (!e->as->integration) {
		e->safe = e->published;
		e->unsaid = 0;
		e->ack_due = true;
		return;
	}
	struct ticket *t = lw_xcalloc(1, sizeof(*t));
	t->no = e->next_ticket++;
	t->events = e->unsaid;
	as_positions_copy(&t->upto, &e->published);
	if (as_integration_publish_position(e->as->integration, &e->published, t->no) < 0) {
		free(t); /* the broker went: all begins again from what it has */
		return;
	}
	lw_list_push_back(&e->tickets, &t->node);
	e->unacked += e->unsaid;
	e->unsaid = 0;
}

/* In the order of publishing, as brokers have to do it; one that does not is waited for. */
static void on_position_done(void *arg, uint64_t no, int err)
{
	struct as_events *e = arg;
	LW_LIST_FOREACH (node, tmp, &e->tickets) {
		struct ticket *t = LW_CONTAINER_OF(node, struct ticket, node);
		if (t->no == no) {
			t->is_done = true;
			/* A refusal (no right to the topic) must not stop the events: a restart may then repeat some.
			 */
			t->is_safe = err == 0 || err == LW_EAUTH;
			break;
		}
	}
	while (!lw_list_empty(&e->tickets)) {
		struct ticket *t = LW_CONTAINER_OF(e->tickets.next, struct ticket, node);
		if (!t->is_done)
			break;
		e->unacked -= t->events;
		if (t->is_safe) {
			as_positions_join(&e->safe, &t->upto);
			e->ack_due = true;
		}
		lw_list_remove(&t->node);
		free(t);
	}
	hold_or_go(e);
}

/* True when the context's turn is over. */
static bool publish_one(struct as_events *e, struct as_event_ctx *c)
{
	if (!c->out.name || !e->as->integration)
		return true;
	int rc = as_integration_publish(e->as->integration, &c->out, &c->dev->text);
	if (rc == LW_EUNAVAILABLE) {
		if (!rt_timer_armed(&e->publish_timer))
			rt_timer_start(&e->publish_timer, PUBLISH_RETRY_MS);
		return false;
	}
	if (rc < 0)
		RT_LOG_ERROR(e->as->log, "an event cannot be published", rt_str("event", c->out.name),
			     rt_eui("dev_eui", c->dev_eui), rt_err(rc));
	return true;
}

void as_events_advance(struct as_events *e)
{
	while (e->head_no < e->next_no) {
		size_t at = e->head_no % AS_EVENTS_RING;
		enum as_slot_state state = e->ring[at].state;
		struct as_event_ctx *c = e->ring[at].c;
		bool current = c->epoch == e->epoch;
		if (state == AS_SLOT_FLOW || (current && state == AS_SLOT_READY && !publish_one(e, c)))
			break;
		if (current) {
			char name[AS_ORIGIN_MAX];
			as_positions_note(&e->published,
					  as_position_name(c->ev->origin, c->ev->dev_eui, c->split, name), c->ev->seq);
			e->unsaid++;
		}
		e->ring[at].state = AS_SLOT_EMPTY;
		e->head_no++;
		c->passed = true;
		if (state == AS_SLOT_READY)
			rt_flow_resume(&c->flow, RT_FLOW_DONE);
		else
			ctx_free(c);
		if (e->unsaid >= AS_POSITION_EVERY)
			say_position(e);
	}
	e->advance_due = false;
}

static void on_end(void *owner, struct rt_flow_ctx *f, enum rt_flow_rc rc)
{
	struct as_events *e = owner;
	struct as_event_ctx *c = as_event_ctx_of(f);
	if (rc == RT_FLOW_DROP && !c->passed)
		rt_metric_inc_at(e->dropped, f->drop_reason < AS_DROPS ? f->drop_reason : AS_DROP_NONE);
	if (c->passed) {
		ctx_free(c);
		return;
	}
	/* Dropped: its place in the order is passed when its turn comes. */
	e->ring[c->no % AS_EVENTS_RING].state = AS_SLOT_DROPPED;
	e->advance_due = true;
}

static void on_tick(void *arg)
{
	struct as_events *e = arg;
	if (e->advance_due)
		as_events_advance(e);
	say_position(e);
	if (e->ack_due && !rt_timer_armed(&e->ack_timer))
		rt_timer_start(&e->ack_timer, ACK_MS);
	hold_or_go(e);
}

static void on_ack_timer(struct rt_timer *t, void *arg)
{
	struct as_events *e = arg;
	(void)t;
	e->ack_due = false;
	for (size_t i = 0; i < e->n_streams; i++)
		as_event_stream_ack(e->stream[i]);
}

static void on_publish_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	as_events_advance(arg);
}

/* ---- life ---- */

static void go(struct as_events *e)
{
	e->taken = e->published;
	e->going = true;
	start_streams(e);
}

static void on_start_timer(struct rt_timer *t, void *arg)
{
	struct as_events *e = arg;
	if (!e->as->ready || !as_outlets_loaded(e->as) || !e->as->ns || (e->as->integration && !e->broker_up))
		return;
	rt_timer_stop(t);
	as_commands_start(e->commands);
	if (!e->going)
		go(e);
}

static void on_broker_up(void *arg, const struct as_positions *has)
{
	struct as_events *e = arg;
	as_positions_join(&e->safe, has);
	e->published = e->safe;
	e->broker_up = true;
	rt_timer_start_every(&e->start_timer, START_POLL_MS);
}

static void on_broker_down(void *arg)
{
	struct as_events *e = arg;
	struct lw_list *node;
	e->broker_up = false;
	e->looking = e->looked_up = false;
	e->going = false;
	e->epoch++;
	e->unsaid = 0;
	rt_timer_stop(&e->start_timer);
	for (size_t i = 0; i < e->n_streams; i++)
		as_event_stream_stop(e->stream[i]);
	while ((node = lw_list_pop_front(&e->tickets)))
		free(LW_CONTAINER_OF(node, struct ticket, node));
	e->unacked = 0;
	e->advance_due = true;
}

static void on_command(void *arg, const struct mqtt_message *m)
{
	as_commands_take(((struct as_events *)arg)->commands, m);
}

static bool on_before_ack(void *arg)
{
	return as_commands_commit(((struct as_events *)arg)->commands);
}

/* What was taken is published and acknowledged, then the network-servers hear the farewell. */
static void on_leave_timer(struct rt_timer *t, void *arg)
{
	struct as_events *e = arg;
	bool busy = in_flight(e) > 0 || e->unsaid > 0 || e->unacked > 0 || e->ack_due ||
		    as_commands_waiting(e->commands) || !as_rows_idle(e->rows);
	if (busy && e->going && ++e->leave_polls < LEAVE_POLLS)
		return;
	if (e->left) {
		for (size_t i = 0; i < e->n_streams; i++)
			as_event_stream_leave(e->stream[i]);
		void (*left)(struct as * as) = e->left;
		e->left = NULL;
		e->leave_polls = LEAVE_POLLS;
		/* The farewell is written in the meantime. */
		rt_timer_stop(t);
		left(e->as);
	}
}

void as_events_leave(struct as *as, void (*left)(struct as *as))
{
	struct as_events *e = as->events;
	e->left = left;
	if (as->integration && as_replicas_others(as) > 0)
		as_integration_leave(as->integration);
	pause_streams(e, true);
	e->leaving = true;
	as_rows_hurry(e->rows);
	rt_timer_start_every(&e->leave_timer, LEAVE_POLL_MS);
}

int as_events_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct as *as = owner;
	(void)env;
	struct as_events *e = lw_xcalloc(1, sizeof(*e));
	as->events = e;
	e->as = as;
	lw_list_init(&e->tickets);
	lw_list_init(&e->waiting);
	lw_list_init(&e->again);
	lw_list_init(&e->pool);
	rt_timer_init(&e->start_timer, as->loop, "events start", on_start_timer, e);
	rt_timer_init(&e->fetch_timer, as->loop, "events devices", as_events_fetch_again, e);
	rt_timer_init(&e->again_timer, as->loop, "events reencrypt", as_events_try_again, e);
	rt_timer_init(&e->ack_timer, as->loop, "events acknowledge", on_ack_timer, e);
	rt_timer_init(&e->leave_timer, as->loop, "events leave", on_leave_timer, e);
	rt_timer_init(&e->publish_timer, as->loop, "events publish", on_publish_timer, e);
	e->taken_total = rt_counter(as->metrics, "events_total", "Events of the network-server taken in");
	e->repeated = rt_counter(as->metrics, "events_repeated_total", "Events that came again and were skipped");
	e->unreadable = rt_counter(as->metrics, "events_unreadable_total", "Events that could not be read");
	e->no_key = rt_counter(as->metrics, "events_without_key_total",
			       "Uplinks delivered encrypted: AppSKey not known here");
	e->dropped =
		rt_counter_vec(as->metrics, "events_dropped_total", "Events dropped", "reason", drop_names, AS_DROPS);
	e->devices = as_devices_new(as);
	e->rows = as_rows_new(as);
	struct rt_flow_opts fo = {.name = "event",
				  .steps = as_event_steps,
				  .n_steps = as_event_steps_count,
				  .owner = e,
				  .on_end = on_end,
				  .max_in_flight = AS_EVENTS_RING};
	e->flow = rt_flow_new(as->loop, &fo);
	rt_flow_register_metrics(e->flow, as->metrics);
	e->tick = rt_loop_on_tick(as->loop, RT_TICK_COMMIT - 1, "events position", on_tick, e);
	int rc = as_commands_new(as, &e->commands, diag);
	if (rc < 0)
		as_events_deinit(as);
	return rc;
}

int as_events_start(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct as *as = owner;
	struct as_integration_listener l = {.up = on_broker_up,
					    .down = on_broker_down,
					    .looked_up = on_looked_up,
					    .position_done = on_position_done,
					    .command = on_command,
					    .before_ack = on_before_ack,
					    .arg = as->events};
	(void)env;
	if (!as->integration) {
		rt_timer_start_every(&as->events->start_timer, START_POLL_MS);
		return 0;
	}
	int rc = as_commands_replay(as->events->commands);
	if (rc < 0) {
		lw_diag_set(diag, "state_dir: %s", lw_err_text(rc));
		return rc;
	}
	as_integration_listen(as->integration, &l);
	return 0;
}

void as_events_deinit(void *owner)
{
	struct as *as = owner;
	struct as_events *e = as->events;
	struct lw_list *node;
	if (!e)
		return;
	rt_timer_stop(&e->start_timer);
	rt_timer_stop(&e->fetch_timer);
	rt_timer_stop(&e->again_timer);
	rt_timer_stop(&e->publish_timer);
	rt_timer_stop(&e->leave_timer);
	rt_timer_stop(&e->ack_timer);
	rt_tick_remove(e->tick);
	for (size_t i = 0; i < e->n_streams; i++)
		as_event_stream_free(e->stream[i]);
	as_commands_free(e->commands);
	rt_metrics_remove_flow(as->metrics, e->flow);
	rt_flow_free(e->flow);
	for (; e->head_no < e->next_no; e->head_no++)
		ctx_free(e->ring[e->head_no % AS_EVENTS_RING].c);
	while ((node = lw_list_pop_front(&e->pool)))
		free(LW_CONTAINER_OF(node, struct as_event_ctx, node));
	while ((node = lw_list_pop_front(&e->tickets)))
		free(LW_CONTAINER_OF(node, struct ticket, node));
	as_rows_free(e->rows);
	as_devices_free(e->devices);
	free(e);
	as->events = NULL;
}

struct as_devices *as_events_devices(struct as_events *e)
{
	return e->devices;
}

void as_events_hear(struct as *as, const char *dev_eui)
{
	if (as->events)
		as_devices_forget(as->events->devices, dev_eui);
}

void as_events_forget(struct as *as, const char *dev_eui)
{
	as_events_hear(as, dev_eui);
	as_replicas_tell(as, "device", dev_eui ? dev_eui : "");
}
