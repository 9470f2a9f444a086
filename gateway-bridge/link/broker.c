#include "gateway-bridge/link/broker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/bug.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/shed.h"
#include "common/base/xmalloc.h"
#include "common/io/mqtt.h"
#include "gateway-bridge/link/denied.h"
#include "gateway-bridge/link/republish.h"
#include "gateway-bridge/link/spooler.h"
#include "gateway-bridge/store/conn_state.h"
#include "gateway-bridge/store/instance.h"

#define TOPIC_MAX 320
/* More unacknowledged messages than this mean that the broker does not keep up: the rest waits in memory, so that
 * what goes past it does not stand in a queue at the broker. */
#define MAX_PENDING 4000
/* For what goes past. */
#define MAX_URGENT 10000
#define LOOK_MS 100     /* how often the age of the oldest is looked at */
#define REPORT_MS 10000 /* one line of the log for so long */
/* Events that wait in memory for a spool whose disk stalls. */
#define MAX_UNSPOOLED 50000
/* Messages of the spool under way at a time. */
#define DRAIN_BATCH 512
/* Pause before the broker is asked again whether anybody listens. */
#define UNHEARD_MS 300
/* Where the broker denies all that there is, the first is tried again after this pause. */
#define DENIED_PAUSE_MS 2000
/* So many events of denied topics may stand before one of others. */
#define LOOK_MAX 16384
/* Memory of an outgoing record that is kept for the next one. */
#define KEEP_BYTES 4096

/* What one region's events go through. Each has a part of the spool of its own, so that a region to which nobody
 * listens holds up no other. */
/* One round of the spool: what was read of it is sent. Ids are the spool's; 0: none. */
struct drain {
	uint64_t last;   /* dealt with, and all before it */
	uint64_t failed; /* the first that the broker does not have */
	uint64_t held;   /* the first that is passed over and not lost */
	char held_topic[TOPIC_MAX];
	size_t n_sent;
	bool took; /* the broker has one of them */
	bool full; /* no more now */
	bool all;  /* the spool has no more than was read */
};

struct lane {
	struct gb_broker *broker;
	const char *prefix;
	char queue[TOPIC_MAX];   /* its name in the spool */
	struct lw_list to_spool; /* in order, for the spool's next round */
	struct lw_list in_job;   /* … of the round under way */
	size_t n_to_spool;
	bool spooling;   /* the spool holds something: what must keep its order goes behind it */
	size_t draining; /* messages of the spool under way */
	struct drain drain;
	size_t drain_most;        /* so many at a time, see drain_finished() */
	size_t drain_look;        /* read so many, where topics are denied, to find one that is not */
	uint64_t n_taken;         /* events that the broker has */
	uint64_t ack;             /* the spool may forget up to this id */
	struct spool_stats stats; /* of the spool, after its last round */
	/* Nobody listens: a broker that came back may have forgotten its shared subscriptions, and would throw away
	 * what it acknowledges. The spool rests until this fires. */
	struct rt_timer unheard;
};

/* A message under way, kept until the broker has it. */
struct outgoing {
	struct lw_list link; /* gb_broker.idle, gb_broker.waiting or lane.to_spool */
	int64_t since_ns;    /* in gb_broker.waiting */
	struct gb_broker *broker;
	struct lane *lane; /* NULL: a connection state */
	uint64_t spool_id; /* of one from the spool */
	char topic[TOPIC_MAX];
	struct lw_buf payload;
	uintptr_t offline_of; /* OFFLINE: the announcement that it takes back */
	char prefix[TOPIC_MAX];
	char gateway_id[17];
};

struct gb_broker {
	struct gb_broker_opts opts;
	struct mqtt *mqtt;
	struct gb_spooler *spool;
	struct gb_spool_job *jobs;  /* one for each lane */
	struct gb_republish *again; /* what the broker acknowledged lately */
	struct rt_tick *tick;
	struct gb_conn_state announced;
	struct lw_bmap wanted; /* "prefix eui" of gateways that are connected */
	struct lw_list idle;
	struct lw_list waiting; /* the broker is there and does not keep up */
	struct lw_shed policy;
	struct rt_timer look, report;
	uint64_t n_shed, n_reported;
	struct lane *lanes; /* one for each prefix */
	size_t n_pending;
	struct gb_denied denied;
	int64_t denied_ns; /* when that was logged last; 0: never */
	bool progress;     /* the broker took something in this turn */
	bool closing;
	struct {
		struct rt_metric *published;
		struct rt_metric *failed;
		struct rt_metric *spooled;
		struct rt_metric *lost;
		struct rt_metric *spool_items;
		struct rt_metric *spool_bytes;
		struct rt_metric *pending;
		struct rt_metric *waiting;
		struct rt_metric *connects;
		struct rt_metric *stalls;
	} m;
};

static const char *const event_names[] = {"up", "stats", "ack", "exec", "state", "spooled"};
enum event_index { EV_UP, EV_STATS, EV_ACK, EV_EXEC, EV_STATE, EV_SPOOLED };
#define N_EVENTS (sizeof(event_names) / sizeof(event_names[0]))

/* --- outgoing records ------------------------------------------------------------------------------------------- */

static struct outgoing *outgoing_take(struct gb_broker *b)
{
	struct lw_list *node = lw_list_pop_front(&b->idle);
	struct outgoing *o;
	if (node) {
		o = LW_CONTAINER_OF(node, struct outgoing, link);
	} else {
		o = lw_xcalloc(1, sizeof(*o));
		lw_list_init(&o->link);
		o->broker = b;
		lw_buf_init(&o->payload, 1024 * 1024);
	}
	o->offline_of = 0;
	o->lane = NULL;
	return o;
}

static void outgoing_give(struct outgoing *o)
{
	if (o->payload.cap > KEEP_BYTES)
		lw_buf_deinit(&o->payload);
	lw_buf_reset(&o->payload);
	lw_list_push_front(&o->broker->idle, &o->link);
}

static void outgoing_free_all(struct lw_list *list)
{
	struct lw_list *node;
	while ((node = lw_list_pop_front(list))) {
		struct outgoing *o = LW_CONTAINER_OF(node, struct outgoing, link);
		lw_buf_deinit(&o->payload);
		free(o);
	}
}

static size_t lane_number(const struct lane *l)
{
	return (size_t)(l - l->broker->lanes);
}

/* --- spool ------------------------------------------------------------------------------------------------------ */

/* The disk may stall while the broker is away: memory for what it has not taken is bounded, too. */
static void to_spool(struct outgoing *o)
{
	struct lane *l = o->lane;
	lw_list_push_back(&l->to_spool, &o->link);
	if (++l->n_to_spool <= MAX_UNSPOOLED)
		return;
	outgoing_give(LW_CONTAINER_OF(lw_list_pop_front(&l->to_spool), struct outgoing, link));
	l->n_to_spool--;
	rt_metric_inc(l->broker->m.lost);
}

/* What waits goes to the spool's next round; true when there is anything. */
static bool fill_job(struct gb_broker *b, struct lane *l, struct gb_spool_job *j)
{
	LW_LIST_FOREACH (node, tmp, &l->to_spool) {
		struct outgoing *o = LW_CONTAINER_OF(node, struct outgoing, link);
		lw_list_remove(node);
		lw_list_push_back(&l->in_job, node);
		gb_spool_job_add(j, lw_span_str(o->topic), lw_buf_span(&o->payload));
		l->spooling = true;
	}
	l->n_to_spool = 0;
	j->ack = l->ack;
	l->ack = 0;
	if (!b->closing && l->spooling && l->draining == 0 && mqtt_connected(b->mqtt) && !rt_timer_armed(&l->unheard) &&
	    !gb_republish_holds(b->again, lane_number(l)))
		j->peek = gb_denied_any(&b->denied) ? l->drain_look : l->drain_most;
	j->now_ns = rt_loop_now_ns(b->opts.loop);
	return j->n_items > 0 || j->ack || j->peek;
}

static void on_unheard_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	(void)arg; /* the tick of this turn drains */
}

static void note_unheard(struct lane *l)
{
	if (rt_timer_armed(&l->unheard))
		return;
	RT_LOG_WARN(l->broker->opts.log, "nobody listens to these gateway events at the broker; they wait in the spool",
		    rt_str("topic_prefix", l->prefix));
	rt_timer_start(&l->unheard, UNHEARD_MS);
}

/* What becomes of a publication that nobody heard. The answer to a command is for who asked: when they are gone it is
 * done, and must not hold up the events behind it. */
static int unheard_error(const struct outgoing *o, int err)
{
	if (err != LW_ENOTFOUND)
		return err;
	const char *name = strrchr(o->topic, '/');
	return name != NULL && strcmp(name + 1, event_names[EV_EXEC]) == 0 ? 0 : err;
}

static void acknowledged(const struct outgoing *o)
{
	gb_republish_acked(o->broker->again, lane_number(o->lane), o->topic, lw_buf_span(&o->payload));
}

static int64_t mono_ns(const struct gb_broker *b)
{
	return rt_loop_mono_ns(b->opts.loop);
}

static void say_denied(struct gb_broker *b, const char *topic, const char *what)
{
	int64_t now = mono_ns(b);
	if (b->denied_ns && now - b->denied_ns < REPORT_MS * LW_NS_PER_MS)
		return;
	RT_LOG_ERROR(b->opts.log, what, rt_str("topic", topic));
	b->denied_ns = now;
}

static void lose_denied(struct gb_broker *b, const char *topic)
{
	rt_metric_inc(b->m.lost);
	say_denied(b, topic, "events lost: the broker does not allow us to publish them");
}

/* True when it is lost with that. */
static bool denied(struct lane *l, const char *topic)
{
	struct gb_broker *b = l->broker;
	bool lost = gb_denied_note(&b->denied, topic, l->n_taken, mono_ns(b));
	if (lost)
		lose_denied(b, topic);
	else
		say_denied(b, topic, "events wait: the broker does not allow us to publish them");
	return lost;
}

/* The clock is not read for each event where nothing is denied. */
static enum gb_rules rules_of(struct gb_broker *b, const char *topic)
{
	return gb_denied_any(&b->denied) ? gb_denied_rules(&b->denied, topic, mono_ns(b)) : GB_MAY_GO;
}

static void taken(struct lane *l, const char *topic)
{
	l->n_taken++;
	gb_denied_taken(&l->broker->denied, topic);
}

static void hold(struct lane *l, const char *topic, uint64_t id)
{
	if (l->drain.held && l->drain.held < id)
		return;
	l->drain.held = id;
	snprintf(l->drain.held_topic, sizeof(l->drain.held_topic), "%s", topic);
}

/* Something was passed over, and is still the first in the spool. */
static void held_up(struct lane *l)
{
	struct gb_broker *b = l->broker;
	uint32_t pause_ms = UNHEARD_MS;
	if (l->drain.took) {
		gb_denied_again(&b->denied, l->drain.held_topic);
		return;
	}
	if (l->drain.n_sent == 0 && !l->drain.all && l->drain_look < LOOK_MAX) {
		l->drain_look *= 2;
		return;
	}
	if (l->drain.n_sent == 0) {
		gb_denied_again(&b->denied, l->drain.held_topic);
		pause_ms = DENIED_PAUSE_MS;
	}
	if (!rt_timer_armed(&l->unheard))
		rt_timer_start(&l->unheard, pause_ms);
}

static void drain_failed(struct lane *l, uint64_t id)
{
	if (!l->drain.failed || id < l->drain.failed)
		l->drain.failed = id;
}

/* After a failure one goes alone: Mosquitto 2.0 leaves a client whose publication it denies, and where others follow
 * closely its answer, which says so, does not arrive. */
static void drain_finished(struct lane *l)
{
	if (l->drain.held) {
		drain_failed(l, l->drain.held);
		held_up(l);
	} else {
		l->drain_look = DRAIN_BATCH;
	}
	l->ack = l->drain.failed ? l->drain.failed - 1 : l->drain.last;
	l->drain_most = l->drain.failed ? 1 : l->drain_most < DRAIN_BATCH / 2 ? 2 * l->drain_most : DRAIN_BATCH;
	rt_loop_again(l->broker->opts.loop);
}

static void on_drained_one(void *arg, int err)
{
	struct outgoing *o = arg;
	struct gb_broker *b = o->broker;
	struct lane *l = o->lane;
	l->draining--;
	b->n_pending--;
	err = unheard_error(o, err);
	if (err == LW_ENOTFOUND)
		note_unheard(l);
	else if ((err == LW_EPROTO || err == LW_ELIMIT) && !rt_timer_armed(&l->unheard))
		rt_timer_start(&l->unheard, UNHEARD_MS); /* not now, it says */
	if (err < 0) {
		if (err != LW_EAUTH)
			drain_failed(l, o->spool_id);
		else if (!denied(l, o->topic))
			hold(l, o->topic, o->spool_id);
	} else {
		rt_metric_inc_at(b->m.published, EV_SPOOLED);
		taken(l, o->topic);
		l->drain.took = true;
		acknowledged(o);
	}
	outgoing_give(o);
	if (l->draining == 0)
		drain_finished(l);
}

static bool drain_goes(struct lane *l, const char *topic, uint64_t id)
{
	switch (rules_of(l->broker, topic)) {
	case GB_IS_LOST:
		/* Behind one that waits it is met again. */
		if (!l->drain.held) {
			lose_denied(l->broker, topic);
			l->drain.last = id;
		}
		return false;
	case GB_WAITS:
		hold(l, topic, id);
		return false;
	case GB_MAY_GO:
		break;
	}
	/* Behind one that waits one alone shows what the broker takes; it is sent once more. */
	l->drain.full = l->draining >= (l->drain.held ? 1 : l->drain_most);
	return !l->drain.full;
}

static void drain_one(struct lane *l, struct lw_span topic, struct lw_span data, uint64_t id)
{
	struct gb_broker *b = l->broker;
	if (topic.n >= TOPIC_MAX) { /* not ours */
		l->drain.last = id;
		return;
	}
	struct outgoing *o = outgoing_take(b);
	o->lane = l;
	o->spool_id = id;
	memcpy(o->topic, topic.p, topic.n);
	o->topic[topic.n] = '\0';
	lw_buf_append_span(&o->payload, data);
	if (!drain_goes(l, o->topic, id)) {
		outgoing_give(o);
		return;
	}
	int err = mqtt_publish(b->mqtt, o->topic, o->payload.p, o->payload.n, b->opts.qos, false, on_drained_one, o);
	if (err == 0) {
		l->draining++;
		l->drain.n_sent++;
		b->n_pending++;
	} else {
		outgoing_give(o);
	}
	if (err == LW_EINVAL || err == LW_EBIG) /* can never be sent */
		rt_metric_inc(b->m.lost);
	else if (err < 0)
		drain_failed(l, id);
	if (!l->drain.failed)
		l->drain.last = id;
}

/* Sends what was read; switches to direct sending when nothing is left. */
static void drain(struct lane *l, const struct gb_spool_job *j)
{
	l->drain = (struct drain){.all = j->n_peeked < j->peek};
	if (j->peek_err < 0) {
		RT_LOG_ERROR(l->broker->opts.log, "spool cannot be read", rt_err(j->peek_err));
		rt_timer_start(&l->unheard, UNHEARD_MS);
	} else if (j->n_peeked == 0) {
		l->spooling = false;
	}
	for (size_t i = 0; i < j->n_peeked && !l->drain.failed && !l->drain.full; i++) {
		const struct gb_spool_peeked *p = &j->peeked[i];
		drain_one(l, lw_span(j->bytes.p + p->topic_at, p->topic_n), lw_span(j->bytes.p + p->data_at, p->data_n),
			  p->id);
	}
	if (j->n_peeked > 0 && l->draining == 0)
		drain_finished(l);
}

static void take_job(struct gb_broker *b, struct lane *l, struct gb_spool_job *j)
{
	if (j->ack_err < 0)
		RT_LOG_ERROR(b->opts.log, "spool cannot be written; events will be sent again", rt_err(j->ack_err));
	if (j->append_err < 0)
		RT_LOG_ERROR(b->opts.log, "events lost: the spool cannot be written", rt_err(j->append_err),
			     rt_u64("events", j->lost));
	rt_metric_add(b->m.spooled, j->n_items - j->lost);
	rt_metric_add(b->m.lost, j->lost + j->dropped);
	LW_LIST_FOREACH (node, tmp, &l->in_job) {
		lw_list_remove(node);
		outgoing_give(LW_CONTAINER_OF(node, struct outgoing, link));
	}
	l->stats = j->stats;
	if (j->peek && !b->closing)
		drain(l, j);
	gb_spool_job_reset(j);
}

static void on_spooled(void *arg)
{
	struct gb_broker *b = arg;
	for (size_t i = 0; i < b->opts.n_prefixes; i++)
		take_job(b, &b->lanes[i], &b->jobs[i]);
	rt_loop_again(b->opts.loop);
}

static void pump(struct gb_broker *b);

static void on_tick(void *arg)
{
	struct gb_broker *b = arg;
	bool any = false;
	if (b->progress) /* once a turn, not with each event */
		lw_shed_progress(&b->policy, rt_loop_mono_ns(b->opts.loop));
	b->progress = false;
	gb_republish_tick(b->again);
	if (!lw_list_empty(&b->waiting))
		pump(b);
	if (gb_spooler_busy(b->spool))
		return;
	for (size_t i = 0; i < b->opts.n_prefixes; i++)
		any |= fill_job(b, &b->lanes[i], &b->jobs[i]);
	if (any)
		gb_spooler_run(b->spool, b->jobs, b->opts.n_prefixes);
}

static struct lane *lane_of(struct gb_broker *b, const char *prefix)
{
	for (size_t i = 0; i < b->opts.n_prefixes; i++)
		if (b->lanes[i].prefix == prefix || strcmp(b->lanes[i].prefix, prefix) == 0)
			return &b->lanes[i];
	BUG_ON(true);
}

/* --- publishing ------------------------------------------------------------------------------------------------- */

static void on_published(void *arg, int err)
{
	struct outgoing *o = arg;
	struct gb_broker *b = o->broker;
	b->n_pending--;
	err = unheard_error(o, err);
	if (err == LW_ENOTFOUND)
		note_unheard(o->lane);
	if (err < 0) {
		rt_metric_inc(b->m.failed);
		if (err == LW_EAUTH && denied(o->lane, o->topic))
			outgoing_give(o);
		else
			to_spool(o);
		return;
	}
	taken(o->lane, o->topic);
	acknowledged(o);
	b->progress = true;
	outgoing_give(o);
}

static enum event_index event_index(const char *name)
{
	for (size_t i = 0; i < N_EVENTS; i++) {
		if (strcmp(event_names[i], name) == 0)
			return (enum event_index)i;
	}
	BUG_ON(true);
}

static int publish(struct gb_broker *b, struct outgoing *o)
{
	int err = mqtt_publish(b->mqtt, o->topic, o->payload.p, o->payload.n, b->opts.qos, false, on_published, o);
	if (err == 0)
		b->n_pending++;
	return err;
}

/* This broker will never take it: it must not stand in the way of the others. */
static void too_large(struct gb_broker *b, struct outgoing *o)
{
	RT_LOG_WARN(b->opts.log, "event lost: the broker takes no packets of its size", rt_str("topic", o->topic),
		    rt_u64("bytes", o->payload.n));
	rt_metric_inc(b->m.lost);
	outgoing_give(o);
}

static struct outgoing *pop_waiting(struct gb_broker *b)
{
	lw_shed_out(&b->policy);
	return LW_CONTAINER_OF(lw_list_pop_front(&b->waiting), struct outgoing, link);
}

/* The broker is away, or as good as: nothing that waits may be lost now. */
static void waiting_to_spool(struct gb_broker *b)
{
	while (!lw_list_empty(&b->waiting)) {
		struct outgoing *o = pop_waiting(b);
		to_spool(o);
	}
}

/* What must keep its order goes behind what is there. */
static bool goes_to_spool(const struct lane *l)
{
	return l->spooling || !lw_list_empty(&l->to_spool) || gb_republish_holds(l->broker->again, lane_number(l));
}

static void shed(struct gb_broker *b)
{
	struct outgoing *o = pop_waiting(b);
	if (b->n_shed++ == b->n_reported && !rt_timer_armed(&b->report)) {
		RT_LOG_WARN(
			b->opts.log, "overload: the broker does not keep up, the oldest uplinks are shed",
			rt_u64("waiting", lw_shed_count(&b->policy)),
			rt_u64("oldest_ms", (uint64_t)((rt_loop_mono_ns(b->opts.loop) - o->since_ns) / LW_NS_PER_MS)));
		rt_timer_start(&b->report, REPORT_MS);
	}
	b->opts.on_shed(b->opts.arg);
	outgoing_give(o);
}

/* Sends what there is room for; what has waited too long goes. */
static void pump(struct gb_broker *b)
{
	int64_t now = rt_loop_mono_ns(b->opts.loop);
	while (!lw_list_empty(&b->waiting)) {
		struct outgoing *o = LW_CONTAINER_OF(b->waiting.next, struct outgoing, link);
		enum lw_shed_verdict v = lw_shed_head(&b->policy, now, o->since_ns);
		if (v == LW_SHED_FULL) {
			waiting_to_spool(b);
		} else if (v == LW_SHED_DROP) {
			shed(b);
		} else if (goes_to_spool(o->lane)) {
			pop_waiting(b);
			to_spool(o);
		} else {
			bool room = mqtt_connected(b->mqtt) && b->n_pending < MAX_PENDING;
			int err = room ? publish(b, o) : LW_EFULL;
			if (err < 0 && err != LW_EBIG)
				break;
			pop_waiting(b);
			if (err == LW_EBIG)
				too_large(b, o);
			else
				rt_metric_inc_at(b->m.published, EV_UP);
		}
	}
	if (lw_list_empty(&b->waiting))
		rt_timer_stop(&b->look);
	else if (!rt_timer_armed(&b->look))
		rt_timer_start_every(&b->look, LOOK_MS);
}

static void on_look(struct rt_timer *t, void *arg)
{
	(void)t;
	pump(arg);
}

static void on_report(struct rt_timer *t, void *arg)
{
	struct gb_broker *b = arg;
	uint64_t n = b->n_shed - b->n_reported;
	if (n == 0) {
		RT_LOG_INFO(b->opts.log, "overload is over", rt_u64("shed_since_start", b->n_shed));
		return;
	}
	RT_LOG_WARN(b->opts.log, "overload: uplinks were shed", rt_u64("uplinks", n),
		    rt_u64("seconds", REPORT_MS / 1000), rt_u64("waiting", lw_shed_count(&b->policy)));
	b->n_reported = b->n_shed;
	rt_timer_start(t, REPORT_MS);
}

static char *put_text(char *to, const char *end, const char *text)
{
	size_t n = strlen(text);
	BUG_ON(n >= (size_t)(end - to)); /* prefixes are checked with the settings */
	memcpy(to, text, n + 1);
	return to + n;
}

/* "<prefix>gateway/<id>/event/<name>"; one for each frame, so not by printf. */
static void event_topic(char out[TOPIC_MAX], const char *prefix, const char *gateway_id, const char *event)
{
	const char *end = out + TOPIC_MAX;
	char *p = put_text(out, end, prefix);
	p = put_text(p, end, "gateway/");
	p = put_text(p, end, gateway_id);
	p = put_text(p, end, "/event/");
	put_text(p, end, event);
}

void gb_broker_event(struct gb_broker *b, const char *prefix, const char *gateway_id, const char *event,
		     struct lw_span payload, bool in_order)
{
	struct outgoing *o = outgoing_take(b);
	event_topic(o->topic, prefix, gateway_id, event);
	enum gb_rules rules = rules_of(b, o->topic);
	if (rules == GB_IS_LOST) {
		lose_denied(b, o->topic);
		outgoing_give(o);
		return;
	}
	lw_buf_append_span(&o->payload, payload);
	struct lane *l = o->lane = lane_of(b, prefix);
	if (rules == GB_WAITS) {
		to_spool(o);
		return;
	}
	enum event_index kind = event_index(event);
	bool there = mqtt_connected(b->mqtt) && !(in_order && goes_to_spool(l));
	bool may_wait = in_order && kind == EV_UP;
	size_t most = may_wait ? MAX_PENDING : MAX_PENDING + MAX_URGENT;
	bool now = there && !(may_wait && !lw_list_empty(&b->waiting)) && b->n_pending < most;
	int err = now ? publish(b, o) : LW_EFULL;
	if (err == 0) {
		rt_metric_inc_at(b->m.published, kind);
		return;
	}
	if (err == LW_EBIG) {
		too_large(b, o);
		return;
	}
	if (there && may_wait) {
		o->since_ns = rt_loop_mono_ns(b->opts.loop);
		lw_shed_in(&b->policy, o->since_ns, false);
		lw_list_push_back(&b->waiting, &o->link);
		return; /* the tick of this turn looks */
	}
	to_spool(o);
}

static void state_payload(struct gb_broker *b, const char *gateway_id, bool online, struct lw_buf *out)
{
	Gw__ConnState state = GW__CONN_STATE__INIT;
	state.gateway_id = (char *)(uintptr_t)gateway_id;
	state.state = online ? GW__CONN_STATE__STATE__ONLINE : GW__CONN_STATE__STATE__OFFLINE;
	BUG_ON(gb_marshal(b->opts.marshaler, &state.base, out) < 0);
}

static void on_state_published(void *arg, int err)
{
	struct outgoing *o = arg;
	struct gb_broker *b = o->broker;
	b->n_pending--;
	/* On failure nothing is lost: connecting again announces what is, and takes back what is no more. */
	if ((err == 0 || err == LW_ENOTFOUND) && o->offline_of)
		gb_conn_state_remove(&b->announced, o->prefix, o->gateway_id, o->offline_of);
	outgoing_give(o);
}

static void publish_state(struct gb_broker *b, const char *prefix, const char *gateway_id, bool online,
			  uintptr_t offline_of)
{
	struct outgoing *o = outgoing_take(b);
	snprintf(o->topic, sizeof(o->topic), "%sgateway/%s/state/conn", prefix, gateway_id);
	snprintf(o->prefix, sizeof(o->prefix), "%s", prefix);
	snprintf(o->gateway_id, sizeof(o->gateway_id), "%s", gateway_id);
	o->offline_of = offline_of;
	state_payload(b, gateway_id, online, &o->payload);
	int err = mqtt_publish(b->mqtt, o->topic, o->payload.p, o->payload.n, b->opts.qos, b->opts.state_retained,
			       on_state_published, o);
	if (err < 0) {
		rt_metric_inc(b->m.failed);
		outgoing_give(o);
		return;
	}
	b->n_pending++;
	rt_metric_inc_at(b->m.published, EV_STATE);
}

static struct lw_span wanted_key(char out[TOPIC_MAX], const char *prefix, const char *gateway_id)
{
	int n = snprintf(out, TOPIC_MAX, "%s %s", prefix, gateway_id);
	return lw_span(out, (size_t)n < TOPIC_MAX ? (size_t)n : TOPIC_MAX - 1);
}

static void command_filter(char out[TOPIC_MAX], const char *prefix, const char *gateway_id)
{
	snprintf(out, TOPIC_MAX, "%sgateway/%s/command/#", prefix, gateway_id);
}

void gb_broker_online(struct gb_broker *b, const char *prefix, const char *gateway_id)
{
	char text[TOPIC_MAX];
	struct lw_span key = wanted_key(text, prefix, gateway_id);
	if (!lw_bmap_find(&b->wanted, key)) {
		lw_bmap_put(&b->wanted, key, b);
		command_filter(text, prefix, gateway_id);
		mqtt_subscribe(b->mqtt, text, b->opts.qos);
	}
	if (!mqtt_connected(b->mqtt))
		return;
	int err = gb_conn_state_add(&b->announced, prefix, gateway_id);
	if (err < 0)
		RT_LOG_WARN(b->opts.log, "cannot note that a gateway was announced", rt_err(err));
	publish_state(b, prefix, gateway_id, true, 0);
}

void gb_broker_offline(struct gb_broker *b, const char *prefix, const char *gateway_id)
{
	char text[TOPIC_MAX];
	if (lw_bmap_remove(&b->wanted, wanted_key(text, prefix, gateway_id))) {
		command_filter(text, prefix, gateway_id);
		mqtt_unsubscribe(b->mqtt, text);
	}
	if (mqtt_connected(b->mqtt))
		publish_state(b, prefix, gateway_id, false, gb_conn_state_find(&b->announced, prefix, gateway_id));
}

/* --- connection ------------------------------------------------------------------------------------------------- */

static void take_back(void *arg, const char *prefix, const char *gateway_id)
{
	struct gb_broker *b = arg;
	char room[TOPIC_MAX];
	if (!lw_bmap_find(&b->wanted, wanted_key(room, prefix, gateway_id)))
		publish_state(b, prefix, gateway_id, false, gb_conn_state_find(&b->announced, prefix, gateway_id));
}

static void on_connect(void *arg, bool session_present)
{
	struct gb_broker *b = arg;
	(void)session_present; /* Mosquitto has sessions of its last autosave: the marker says more */
	rt_metric_inc(b->m.connects);
	rt_health_set(b->opts.health, true, NULL);
	gb_republish_connected(b->again);
	gb_conn_state_each(&b->announced, take_back, b);
	b->opts.on_connected(b->opts.arg);
}

static void on_disconnect(void *arg, int err, const char *text)
{
	struct gb_broker *b = arg;
	(void)err;
	gb_republish_disconnected(b->again);
	waiting_to_spool(b); /* behind what was under way, which has failed by now */
	rt_health_set(b->opts.health, false, text);
}

/* "<prefix>gateway/<id>/command/<name>" */
static void on_message(void *arg, const struct mqtt_message *m)
{
	static const char before[] = "gateway/", after[] = "/command/";
	struct gb_broker *b = arg;
	if (gb_republish_message(b->again, m))
		return;
	for (size_t i = 0; i < b->opts.n_prefixes; i++) {
		const char *prefix = b->opts.prefixes[i];
		size_t n = strlen(prefix);
		const char *p = m->topic + n;
		char id[17];
		if (strncmp(m->topic, prefix, n) != 0 || strncmp(p, before, sizeof(before) - 1) != 0)
			continue;
		p += sizeof(before) - 1;
		if (strlen(p) < 16 || strncmp(p + 16, after, sizeof(after) - 1) != 0)
			continue;
		memcpy(id, p, 16);
		id[16] = '\0';
		b->opts.on_command(b->opts.arg, &(struct gb_command){.prefix = prefix,
								     .listener = i,
								     .gateway_id = id,
								     .name = p + 16 + sizeof(after) - 1,
								     .payload = m->payload});
		return;
	}
}

static void collect(void *arg, struct lw_buf *out)
{
	struct gb_broker *b = arg;
	double items = 0, bytes = 0;
	(void)out;
	for (size_t i = 0; i < b->opts.n_prefixes; i++) {
		items += (double)b->lanes[i].stats.items;
		bytes += (double)b->lanes[i].stats.bytes;
	}
	rt_metric_set(b->m.spool_items, items);
	rt_metric_set(b->m.spool_bytes, bytes);
	rt_metric_set(b->m.pending, (double)b->n_pending);
	rt_metric_set(b->m.waiting, (double)lw_shed_count(&b->policy));
}

static void init_metrics(struct gb_broker *b)
{
	struct rt_metrics *m = b->opts.metrics;
	b->m.published = rt_counter_vec(m, "mqtt_published_total", "Messages handed to the broker.", "event",
					event_names, N_EVENTS);
	b->m.failed = rt_counter(m, "mqtt_publish_failures_total",
				 "Messages whose delivery to the broker failed; events then go to the spool.");
	b->m.spooled = rt_counter(m, "spooled_total", "Events written to the spool.");
	b->m.lost = rt_counter(
		m, "spool_lost_total",
		"Events lost: the spool was full, too old or not writable, or the broker denies their topic.");
	b->m.spool_items = rt_gauge(m, "spool_events", "Events waiting in the spool.");
	b->m.spool_bytes = rt_gauge(m, "spool_bytes", "Bytes waiting in the spool.");
	b->m.pending = rt_gauge(m, "mqtt_pending", "Messages the broker has not acknowledged yet.");
	b->m.waiting =
		rt_gauge(m, "waiting_uplinks", "Uplinks that wait in memory because the broker does not keep up.");
	b->m.connects = rt_counter(m, "mqtt_connects_total", "Connections made to the broker.");
	rt_metrics_on_collect(m, collect, b);
}

static void init_lanes(struct gb_broker *b)
{
	size_t n = b->opts.n_prefixes;
	b->lanes = lw_xcalloc(n ? n : 1, sizeof(*b->lanes));
	b->jobs = lw_xcalloc(n ? n : 1, sizeof(*b->jobs));
	for (size_t i = 0; i < n; i++) {
		struct lane *l = &b->lanes[i];
		l->broker = b;
		l->drain_most = l->drain_look = DRAIN_BATCH;
		l->prefix = b->opts.prefixes[i];
		snprintf(l->queue, sizeof(l->queue), "events %.200s", l->prefix);
		lw_list_init(&l->to_spool);
		lw_list_init(&l->in_job);
		rt_timer_init(&l->unheard, b->opts.loop, "unheard", on_unheard_timer, l);
		gb_spool_job_init(&b->jobs[i], l->queue);
	}
	gb_spooler_run_here(b->spool, b->jobs, n); /* what an earlier process left */
	for (size_t i = 0; i < n; i++) {
		b->lanes[i].stats = b->jobs[i].stats;
		b->lanes[i].spooling = b->jobs[i].stats.items > 0;
	}
}

static void free_lanes(struct gb_broker *b)
{
	gb_spooler_free(b->spool);
	for (size_t i = 0; i < b->opts.n_prefixes; i++) {
		rt_timer_stop(&b->lanes[i].unheard);
		gb_spool_job_deinit(&b->jobs[i]);
	}
	free(b->jobs);
	free(b->lanes);
}

/* The end: everything that was not acknowledged goes to the disk, however long that takes. */
static void spool_rest(struct gb_broker *b)
{
	size_t n = b->opts.n_prefixes;
	gb_spooler_stop(b->spool);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < n; i++)
			take_job(b, &b->lanes[i], &b->jobs[i]);
		for (size_t i = 0; i < n; i++)
			fill_job(b, &b->lanes[i], &b->jobs[i]);
		gb_spooler_run_here(b->spool, b->jobs, n);
	}
	for (size_t i = 0; i < n; i++)
		take_job(b, &b->lanes[i], &b->jobs[i]);
}

static int open_files(struct gb_broker *b, struct lw_diag *diag)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/announced", b->opts.state_dir);
	int err = gb_conn_state_open(&b->announced, path, diag);
	if (err < 0)
		return err;
	snprintf(path, sizeof(path), "%s/spool.db", b->opts.state_dir);
	struct spool_opts spool = {
		.path = path, .max_bytes = b->opts.spool_bytes, .max_age_ms = b->opts.spool_age_ms, .fsync = 1};
	err = gb_spooler_new(&b->spool, b->opts.loop, &spool, on_spooled, b, diag);
	if (err < 0) {
		gb_conn_state_close(&b->announced);
		return err;
	}
	if (gb_spooler_was_damaged(b->spool))
		RT_LOG_ERROR(b->opts.log, "the spool was damaged: what it held is lost, the file is kept as .damaged",
			     rt_str("file", path));
	init_lanes(b);
	return 0;
}

static int connect_mqtt(struct gb_broker *b, struct lw_diag *diag)
{
	const struct gb_broker_opts *o = &b->opts;
	b->m.stalls = rt_counter(o->metrics, "mqtt_stalls_total",
				 "Connections to the broker that were left because it acknowledged nothing.");
	struct mqtt_opts m = {
		.server = o->server,
		.client_id = o->client_id,
		.username = o->username,
		.password = o->password,
		.clean_session = o->clean_session,
		.keepalive_s = o->keepalive_s,
		.acknowledge_ms = o->acknowledge_ms,
		.stalls = b->m.stalls,
		.version = o->mqtt_v5 ? MQTT_V5 : MQTT_V311,
		.ca_file = o->ca_file,
		.cert_file = o->cert_file,
		.key_file = o->key_file,
		.max_queued = MAX_PENDING + MAX_URGENT + DRAIN_BATCH + 10000,
		.report_unheard = true,
		.gather_from = 1000,
		.on_message = on_message,
		.on_connect = on_connect,
		.on_disconnect = on_disconnect,
		.arg = b,
	};
	/* Only a client that is one gateway has a topic for its will. */
	char topic[TOPIC_MAX];
	struct lw_gateway_id id;
	struct lw_buf will;
	lw_buf_init(&will, 1024);
	if (lw_gateway_id_parse(&id, o->client_id) == 0 && o->n_prefixes > 0) {
		char text[LW_EUI_TEXT];
		state_payload(b, lw_gateway_id_print(id, text), false, &will);
		snprintf(topic, sizeof(topic), "%sgateway/%s/state/conn", o->prefixes[0], text);
		m.will.topic = topic;
		m.will.payload = will.p;
		m.will.n = will.n;
		m.will.qos = o->qos;
		m.will.retain = o->state_retained;
	}
	b->mqtt = mqtt_new(o->loop, o->log, &m, diag);
	lw_buf_deinit(&will);
	return b->mqtt ? 0 : LW_EINVAL;
}

static int init_republish(struct gb_broker *b, struct lw_diag *diag)
{
	char instance[GB_INSTANCE_TEXT], topic[TOPIC_MAX];
	int err = gb_instance_load(b->opts.state_dir, instance, diag);
	if (err < 0)
		return err;
	snprintf(topic, sizeof(topic), "%s/%s/marker", b->opts.marker_topic, instance);
	b->again = gb_republish_new(&(struct gb_republish_opts){.loop = b->opts.loop,
								.log = b->opts.log,
								.metrics = b->opts.metrics,
								.n_lanes = b->opts.n_prefixes,
								.topic = topic,
								.max_bytes = b->opts.republish_bytes,
								.max_age_ms = b->opts.republish_age_ms,
								.qos = b->opts.qos});
	return 0;
}

int gb_broker_new(struct gb_broker **out, const struct gb_broker_opts *opts, struct lw_diag *diag)
{
	struct gb_broker *b = lw_xcalloc(1, sizeof(*b));
	b->opts = *opts;
	lw_list_init(&b->idle);
	lw_list_init(&b->waiting);
	lw_shed_init(&b->policy, opts->max_waiting, opts->shed_after_ms);
	rt_timer_init(&b->look, opts->loop, "waiting", on_look, b);
	rt_timer_init(&b->report, opts->loop, "shed report", on_report, b);
	lw_bmap_init(&b->wanted);
	gb_denied_init(&b->denied);
	int err = open_files(b, diag);
	if (err < 0) {
		free(b);
		return err;
	}
	err = init_republish(b, diag);
	if (err == 0)
		err = connect_mqtt(b, diag);
	if (err < 0) {
		gb_republish_free(b->again);
		free_lanes(b);
		gb_conn_state_close(&b->announced);
		free(b);
		return err;
	}
	gb_republish_set_client(b->again, b->mqtt);
	init_metrics(b);
	b->tick = rt_loop_on_tick(opts->loop, RT_TICK_COMMIT, "spool", on_tick, b);
	*out = b;
	return 0;
}

void gb_broker_free(struct gb_broker *b)
{
	if (!b)
		return;
	b->closing = true;
	rt_tick_remove(b->tick);
	mqtt_free(b->mqtt); /* hands back what is pending */
	gb_republish_free(b->again);
	waiting_to_spool(b);
	rt_timer_stop(&b->look);
	rt_timer_stop(&b->report);
	spool_rest(b);
	rt_metrics_remove_collect(b->opts.metrics, b);
	free_lanes(b);
	gb_conn_state_close(&b->announced);
	outgoing_free_all(&b->idle);
	lw_bmap_deinit(&b->wanted);
	gb_denied_deinit(&b->denied);
	free(b);
}

bool gb_broker_connected(const struct gb_broker *b)
{
	return mqtt_connected(b->mqtt);
}

size_t gb_broker_pending(const struct gb_broker *b)
{
	return b->n_pending;
}
