#include "gateway-bridge/link/republish.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/rng.h"
#include "common/base/xmalloc.h"
#include "common/runtime/log.h"
#include "gateway-bridge/domain/recent.h"

#define BATCH 512
#define MARK_MS 1000
/* The broker's answer to the question for the marker. */
#define ASK_MS 5000
/* Pause before the broker is asked again whether anybody listens. */
#define UNHEARD_MS 300
#define PROBE "?"

enum phase {
	AWAY,
	ASKING, /* which marker the broker still has */
	SAYING,
	UP_TO_DATE,
};

struct again_lane {
	struct gb_republish *r;
	struct gb_recent recent;
	struct gb_recent_cursor at, batch; /* SAYING: the next entry, the first of this batch */
	uint64_t end;                      /* number of the first entry that is none of this */
	size_t under_way;
	bool failed;
	bool saying;
	struct rt_timer unheard;
};

struct gb_republish {
	struct gb_republish_opts o;
	char *topic;
	struct mqtt *mqtt;
	enum phase phase;
	struct rt_timer mark_timer, ask_timer;
	char nonce[17];  /* of this process: what an earlier one marked says nothing about our memory */
	uint64_t given;  /* number of the last marker published */
	uint64_t marked; /* … and acknowledged: the epoch of what is acknowledged now */
	uint64_t from;   /* SAYING: the first epoch */
	bool unmarked;   /* events were acknowledged since the last marker */
	bool mark_under_way;
	bool warned;
	size_t under_way;
	uint64_t said;
	struct again_lane *lanes;
	struct rt_metric *m_said, *m_bytes, *m_evicted;
};

static int64_t now_ms(const struct gb_republish *r)
{
	return rt_loop_mono_ns(r->o.loop) / LW_NS_PER_MS;
}

/* --- keeping ---------------------------------------------------------------------------------------------------- */

static uint64_t bytes_of(const struct gb_republish *r)
{
	uint64_t n = 0;
	for (size_t i = 0; i < r->o.n_lanes; i++)
		n += r->lanes[i].recent.bytes;
	return n;
}

static bool evict_oldest(struct gb_republish *r)
{
	struct again_lane *oldest = NULL;
	for (size_t i = 0; i < r->o.n_lanes; i++) {
		struct again_lane *l = &r->lanes[i];
		if (!gb_recent_empty(&l->recent) &&
		    (!oldest || gb_recent_oldest_ms(&l->recent) < gb_recent_oldest_ms(&oldest->recent)))
			oldest = l;
	}
	if (oldest)
		gb_recent_forget_oldest(&oldest->recent);
	return oldest != NULL;
}

/* Only while the broker is there: what it acknowledged just before its end must outlive its absence. */
static void forget_old(struct gb_republish *r)
{
	if (r->phase != UP_TO_DATE)
		return;
	int64_t before = now_ms(r) - (int64_t)r->o.max_age_ms;
	for (size_t i = 0; i < r->o.n_lanes; i++)
		gb_recent_forget_before(&r->lanes[i].recent, before);
	while (bytes_of(r) > r->o.max_bytes && evict_oldest(r))
		rt_metric_inc(r->m_evicted);
}

void gb_republish_acked(struct gb_republish *r, size_t lane, const char *topic, struct lw_span payload)
{
	if (r->o.max_age_ms == 0 || r->o.qos == 0)
		return;
	/* Nothing is forgotten while entries are being said again. */
	if (r->phase == SAYING && bytes_of(r) > r->o.max_bytes) {
		rt_metric_inc(r->m_evicted);
		return;
	}
	gb_recent_add(&r->lanes[lane].recent, topic, payload, r->marked, now_ms(r));
	r->unmarked = true;
	if (r->lanes[lane].recent.bytes >= r->o.max_bytes)
		forget_old(r);
}

/* --- marker ----------------------------------------------------------------------------------------------------- */

static void on_marked(void *arg, int err)
{
	struct gb_republish *r = arg;
	r->mark_under_way = false;
	r->under_way--;
	if (err == 0 || err == LW_ENOTFOUND) { /* nobody listens, and nobody needs to */
		r->marked = r->given;
		return;
	}
	r->unmarked = true;
	if (err == LW_ECLOSED || err == LW_ECANCELLED || r->warned)
		return;
	r->warned = true;
	RT_LOG_WARN(r->o.log,
		    "the broker refuses the marker: after each reconnect all events acknowledged lately are published "
		    "again",
		    rt_str("topic", r->topic), rt_err(err));
}

static void on_mark_timer(struct rt_timer *t, void *arg)
{
	struct gb_republish *r = arg;
	char payload[64];
	(void)t;
	forget_old(r);
	if (r->phase != UP_TO_DATE || !r->unmarked || r->mark_under_way)
		return;
	int n = snprintf(payload, sizeof(payload), "%s %" PRIu64, r->nonce, r->given + 1);
	if (mqtt_publish(r->mqtt, r->topic, payload, (size_t)n, r->o.qos, true, on_marked, r) < 0)
		return;
	r->given++;
	r->unmarked = false;
	r->mark_under_way = true;
	r->under_way++;
}

/* --- saying again ----------------------------------------------------------------------------------------------- */

static void up_to_date(struct gb_republish *r)
{
	r->phase = UP_TO_DATE;
	rt_loop_again(r->o.loop);
}

static void begin(struct gb_republish *r, uint64_t from)
{
	uint64_t n = 0;
	rt_timer_stop(&r->ask_timer);
	mqtt_unsubscribe(r->mqtt, r->topic);
	r->from = from;
	r->said = 0;
	for (size_t i = 0; i < r->o.n_lanes; i++) {
		struct again_lane *l = &r->lanes[i];
		l->at = l->batch = gb_recent_seek(&l->recent, from);
		l->end = l->recent.next;
		l->failed = false;
		l->saying = l->at.number < l->end;
		n += l->end - l->at.number;
	}
	if (n == 0) {
		up_to_date(r);
		return;
	}
	r->phase = SAYING;
	/* With the marker of the last second it is only what came after it, to be sure. */
	RT_LOG(r->o.log, from > 0 && from >= r->marked ? RT_INFO : RT_WARN,
	       "the broker may have forgotten events that it had acknowledged; they are published again",
	       rt_u64("events", n));
	rt_loop_again(r->o.loop);
}

static void finish_lane(struct again_lane *l)
{
	struct gb_republish *r = l->r;
	l->saying = false;
	gb_recent_renew(&l->recent, r->from, r->marked, now_ms(r));
	for (size_t i = 0; i < r->o.n_lanes; i++)
		if (r->lanes[i].saying)
			return;
	RT_LOG_INFO(r->o.log, "events were published again", rt_u64("events", r->said));
	r->unmarked = true;
	up_to_date(r);
}

static void on_said(void *arg, int err)
{
	struct again_lane *l = arg;
	struct gb_republish *r = l->r;
	l->under_way--;
	r->under_way--;
	/* What is refused for another reason was acknowledged once and would be refused forever. */
	if (err == LW_ENOTFOUND || err == LW_ECLOSED || err == LW_ECANCELLED)
		l->failed = true;
	if (err == 0) {
		rt_metric_inc(r->m_said);
		r->said++;
	}
	/* Nobody listens yet: a broker that came back has forgotten its shared subscriptions. */
	if (err == LW_ENOTFOUND && !rt_timer_armed(&l->unheard))
		rt_timer_start(&l->unheard, UNHEARD_MS);
}

static void on_unheard_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	(void)arg; /* the tick of this turn goes on */
}

static void say_more(struct again_lane *l)
{
	struct gb_republish *r = l->r;
	if (l->failed)
		l->at = l->batch;
	l->failed = false;
	l->batch = l->at;
	struct gb_recent_cursor before = l->at;
	struct gb_recent_entry e;
	while (l->under_way < BATCH && l->at.number < l->end && gb_recent_walk(&l->recent, &l->at, &e)) {
		int err = mqtt_republish(r->mqtt, e.topic, e.payload.p, e.payload.n, r->o.qos, on_said, l);
		if (err < 0 && err != LW_EBIG) {
			l->at = before;
			return;
		}
		before = l->at;
		if (err < 0) /* the broker that came back takes less */
			continue;
		l->under_way++;
		r->under_way++;
	}
	if (l->under_way == 0)
		finish_lane(l);
}

void gb_republish_tick(struct gb_republish *r)
{
	for (size_t i = 0; i < r->o.n_lanes && r->phase == SAYING; i++) {
		struct again_lane *l = &r->lanes[i];
		if (l->saying && l->under_way == 0 && !rt_timer_armed(&l->unheard))
			say_more(l);
	}
}

bool gb_republish_holds(const struct gb_republish *r, size_t lane)
{
	return r->phase == ASKING || (r->phase == SAYING && r->lanes[lane].saying);
}

size_t gb_republish_pending(const struct gb_republish *r)
{
	return r->under_way;
}

/* --- connection ------------------------------------------------------------------------------------------------- */

static void on_ask_timer(struct rt_timer *t, void *arg)
{
	struct gb_republish *r = arg;
	(void)t;
	RT_LOG_DEBUG(r->o.log, "no answer about the marker", rt_str("topic", r->topic));
	begin(r, 0);
}

void gb_republish_connected(struct gb_republish *r)
{
	bool empty = true;
	for (size_t i = 0; i < r->o.n_lanes; i++)
		empty = empty && gb_recent_empty(&r->lanes[i].recent);
	if (empty) {
		up_to_date(r);
		return;
	}
	r->phase = ASKING;
	rt_timer_start(&r->ask_timer, ASK_MS);
	/* What is retained comes before the echo of the probe: whichever arrives first is the answer. */
	mqtt_subscribe(r->mqtt, r->topic, 0);
	mqtt_publish(r->mqtt, r->topic, PROBE, sizeof(PROBE) - 1, 0, false, NULL, NULL);
}

void gb_republish_disconnected(struct gb_republish *r)
{
	r->phase = AWAY;
	rt_timer_stop(&r->ask_timer);
	mqtt_unsubscribe(r->mqtt, r->topic);
	for (size_t i = 0; i < r->o.n_lanes; i++) {
		rt_timer_stop(&r->lanes[i].unheard);
		r->lanes[i].saying = false;
	}
}

/* The first epoch that the broker may have forgotten. */
static uint64_t epoch_of(const struct gb_republish *r, const struct mqtt_message *m)
{
	size_t n = sizeof(r->nonce) - 1;
	char text[32];
	if (!m->retain || m->payload.n <= n + 1 || m->payload.n - n - 1 >= sizeof(text) ||
	    memcmp(m->payload.p, r->nonce, n) != 0)
		return 0;
	memcpy(text, m->payload.p + n + 1, m->payload.n - n - 1);
	text[m->payload.n - n - 1] = '\0';
	uint64_t epoch = strtoull(text, NULL, 10);
	return epoch <= r->given ? epoch : 0;
}

bool gb_republish_message(struct gb_republish *r, const struct mqtt_message *m)
{
	if (strcmp(m->topic, r->topic) != 0)
		return false;
	if (r->phase == ASKING)
		begin(r, epoch_of(r, m));
	return true;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static void collect(void *arg, struct lw_buf *out)
{
	struct gb_republish *r = arg;
	(void)out;
	rt_metric_set(r->m_bytes, (double)bytes_of(r));
}

struct gb_republish *gb_republish_new(const struct gb_republish_opts *opts)
{
	struct gb_republish *r = lw_xcalloc(1, sizeof(*r));
	struct lw_rng rng;
	r->o = *opts;
	r->topic = lw_xstrdup(opts->topic);
	lw_rng_init_system(&rng);
	snprintf(r->nonce, sizeof(r->nonce), "%016" PRIx64, lw_rng_u64(&rng));
	r->lanes = lw_xcalloc(opts->n_lanes ? opts->n_lanes : 1, sizeof(*r->lanes));
	for (size_t i = 0; i < opts->n_lanes; i++) {
		r->lanes[i].r = r;
		gb_recent_init(&r->lanes[i].recent);
		rt_timer_init(&r->lanes[i].unheard, opts->loop, "said unheard", on_unheard_timer, &r->lanes[i]);
	}
	rt_timer_init(&r->mark_timer, opts->loop, "marker", on_mark_timer, r);
	rt_timer_init(&r->ask_timer, opts->loop, "marker asked for", on_ask_timer, r);
	rt_timer_start_every(&r->mark_timer, MARK_MS);
	r->m_said = rt_counter(opts->metrics, "republished_total",
			       "Events published again because the broker may have forgotten them.");
	r->m_bytes = rt_gauge(opts->metrics, "republish_bytes", "Memory of events acknowledged lately.");
	r->m_evicted = rt_counter(opts->metrics, "republish_evicted_total",
				  "Events acknowledged lately that were not kept as long as configured: no room.");
	rt_metrics_on_collect(opts->metrics, collect, r);
	return r;
}

void gb_republish_free(struct gb_republish *r)
{
	if (!r)
		return;
	rt_metrics_remove_collect(r->o.metrics, r);
	rt_timer_stop(&r->mark_timer);
	rt_timer_stop(&r->ask_timer);
	for (size_t i = 0; i < r->o.n_lanes; i++) {
		rt_timer_stop(&r->lanes[i].unheard);
		gb_recent_deinit(&r->lanes[i].recent);
	}
	free(r->lanes);
	free(r->topic);
	free(r);
}

void gb_republish_set_client(struct gb_republish *r, struct mqtt *mqtt)
{
	r->mqtt = mqtt;
}
