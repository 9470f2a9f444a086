#include "network-server/link/waiting.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/base64.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/shed.h"
#include "common/base/slab.h"
#include "common/base/xmalloc.h"
#include "common/lorawan/phy.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"
#include "common/runtime/metrics.h"

#define RETRY_MIN_MS 500 /* pause before receptions are offered again; doubles until one succeeds */
#define RETRY_MAX_MS 8000
#define LOOK_MS 100     /* how often the age of the oldest is looked at */
#define REPORT_MS 10000 /* one line of the log for so long */
/* After a connection everything that comes at once, and what comes behind it until all is worked off. */
#define RECONNECT_OPEN_MS 2000
#define RECONNECT_GRACE_MS 600000

#define COMMON_BYTES 312 /* most payloads are not longer */
#define BLOCKS_KEPT 4

struct held {
	struct held *next;
	int64_t since_ns;
	struct ns_gw_message m;
	bool is_common; /* of the slab */
	uint8_t bytes[];
};

struct ns_waiting {
	struct ns_waiting_opts o;
	struct lw_map kept;        /* journal position → struct held; also of those in the queue */
	struct held *first, *last; /* the queue */
	struct held *retries;      /* newest first */
	struct lw_slab common;
	struct lw_shed policy;
	struct rt_timer look, retry, report;
	uint32_t retry_ms;
	uint64_t n_shed, n_reported;
	bool full, stopped;
	struct rt_metric *n_waiting, *oldest, *stats_refused;
};

/* ---- what is it ---- */

static int peek_json(struct lw_span s)
{
	static const char name[] = "\"phyPayload\"";
	const char *p = s.n == 0 ? NULL : memmem(s.p, s.n, name, sizeof(name) - 1);
	const char *end = (const char *)s.p + s.n;
	uint8_t head[3];
	if (!p)
		return -1;
	for (p += sizeof(name) - 1; p < end && (*p == ' ' || *p == ':'); p++)
		;
	if (end - p < 5 || *p != '"' || lw_base64_decode(p + 1, 4, head, sizeof(head)) < 1)
		return -1;
	return head[0] >> 5;
}

/* phy_payload is field 1, bytes. Fields may come in any order, but every writer that we know of begins with it. */
int ns_peek_mtype(struct lw_span s)
{
	if (s.n == 0 || s.p[0] != 0x0a)
		return peek_json(s);
	size_t at = s.n > 1 && s.p[1] & 0x80 ? 3 : 2; /* behind the length */
	return s.n > at && s.p[1] != 0 ? s.p[at] >> 5 : -1;
}

static bool is_urgent(const struct ns_gw_message *m)
{
	if (m->kind != NS_GW_UP)
		return m->kind == NS_GW_ACK;
	int mtype = ns_peek_mtype(m->payload);
	return mtype == LW_MTYPE_JOIN_REQUEST || mtype == LW_MTYPE_REJOIN_REQUEST;
}

/* ---- the queue ---- */

static struct held *copy(struct ns_waiting *w, const struct ns_gw_message *m)
{
	bool is_common = m->payload.n <= COMMON_BYTES;
	struct held *h = is_common ? lw_slab_alloc(&w->common) : lw_xmalloc(sizeof(*h) + m->payload.n);
	h->is_common = is_common;
	h->next = NULL;
	h->m = *m;
	if (m->payload.n)
		memcpy(h->bytes, m->payload.p, m->payload.n);
	h->m.payload = lw_span(h->bytes, m->payload.n);
	return h;
}

static void held_free(struct ns_waiting *w, struct held *h)
{
	if (h && h->is_common)
		lw_slab_free(&w->common, h);
	else
		free(h);
}

/* Out of the queue; its copy stays while the journal has it. */
static struct held *pop(struct ns_waiting *w)
{
	struct held *h = w->first;
	w->first = h->next;
	if (!w->first)
		w->last = NULL;
	h->next = NULL;
	lw_shed_out(&w->policy);
	return h;
}

static void shed(struct ns_waiting *w)
{
	struct held *h = pop(w);
	if (w->n_shed++ == w->n_reported && !rt_timer_armed(&w->report)) {
		RT_LOG_WARN(w->o.log, "overload: the oldest uplinks are shed",
			    rt_u64("waiting", lw_shed_count(&w->policy)),
			    rt_u64("oldest_ms", (uint64_t)((rt_loop_mono_ns(w->o.loop) - h->since_ns) / LW_NS_PER_MS)));
		rt_timer_start(&w->report, REPORT_MS);
	}
	w->o.shed(w->o.arg, &h->m);
	if (h->m.journal_position)
		lw_map_remove(&w->kept, h->m.journal_position);
	held_free(w, h);
}

static void set_full(struct ns_waiting *w, bool full)
{
	if (w->full == full)
		return;
	w->full = full;
	w->o.full(w->o.arg, full);
}

static void look(struct ns_waiting *w)
{
	enum lw_shed_verdict v = LW_SHED_KEEP;
	int64_t now = rt_loop_mono_ns(w->o.loop);
	while (w->first && (v = lw_shed_head(&w->policy, now, w->first->since_ns)) == LW_SHED_DROP)
		shed(w);
	if (v == LW_SHED_FULL)
		set_full(w, true);
	else if (lw_shed_count(&w->policy) <= w->o.max - w->o.max / 8)
		set_full(w, false);
	if (!w->first)
		rt_timer_stop(&w->look);
	else if (!rt_timer_armed(&w->look))
		rt_timer_start_every(&w->look, LOOK_MS);
}

static void on_look(struct rt_timer *t, void *arg)
{
	(void)t;
	look(arg);
}

static void on_report(struct rt_timer *t, void *arg)
{
	struct ns_waiting *w = arg;
	uint64_t n = w->n_shed - w->n_reported;
	if (n == 0) {
		RT_LOG_INFO(w->o.log, "overload is over", rt_u64("shed_since_start", w->n_shed));
		return;
	}
	RT_LOG_WARN(w->o.log, "overload: uplinks were shed", rt_u64("uplinks", n), rt_u64("seconds", REPORT_MS / 1000),
		    rt_u64("waiting", lw_shed_count(&w->policy)));
	w->n_reported = w->n_shed;
	rt_timer_start(t, REPORT_MS);
}

void ns_waiting_put(struct ns_waiting *w, const struct ns_gw_message *in, bool has_past)
{
	struct ns_gw_message m = *in;
	struct held *h = NULL;
	m.is_urgent = is_urgent(&m);
	if (m.journal_position) {
		h = copy(w, &m);
		held_free(w, lw_map_put(&w->kept, m.journal_position, h));
	}
	if ((m.is_urgent || !w->first) && w->o.take(w->o.arg, &m) == 0)
		return;
	if (m.kind == NS_GW_STATS) { /* come again */
		rt_metric_inc(w->stats_refused);
		return;
	}
	if (!h)
		h = copy(w, &m);
	int64_t now = rt_loop_mono_ns(w->o.loop);
	h->since_ns = now;
	*(w->last ? &w->last->next : &w->first) = h;
	w->last = h;
	lw_shed_in(&w->policy, now, has_past);
	look(w);
}

void ns_waiting_room(struct ns_waiting *w)
{
	while (w->first && !w->stopped && w->o.take(w->o.arg, &w->first->m) == 0) {
		struct held *h = pop(w);
		if (!h->m.journal_position)
			held_free(w, h);
	}
	look(w);
}

void ns_waiting_done(struct ns_waiting *w, uint64_t position)
{
	held_free(w, lw_map_remove(&w->kept, position));
	lw_shed_progress(&w->policy, rt_loop_mono_ns(w->o.loop));
	w->retry_ms = RETRY_MIN_MS;
}

void ns_waiting_reconnected(struct ns_waiting *w)
{
	lw_shed_outage(&w->policy, rt_loop_mono_ns(w->o.loop), RECONNECT_OPEN_MS, RECONNECT_GRACE_MS);
}

/* ---- again ---- */

void ns_waiting_retry(struct ns_waiting *w, uint64_t position)
{
	struct held *h = position ? lw_map_remove(&w->kept, position) : NULL;
	if (!h)
		return;
	if (w->stopped) {
		held_free(w, h);
		return;
	}
	lw_shed_outage(&w->policy, rt_loop_mono_ns(w->o.loop), 0, LW_SHED_GRACE_MS);
	h->next = w->retries;
	w->retries = h;
	if (rt_timer_armed(&w->retry))
		return;
	rt_timer_start(&w->retry, w->retry_ms);
	w->retry_ms = w->retry_ms < RETRY_MAX_MS / 2 ? 2 * w->retry_ms : RETRY_MAX_MS;
}

static void on_retry(struct rt_timer *t, void *arg)
{
	struct ns_waiting *w = arg;
	struct held *all = w->retries, *in_order = NULL;
	(void)t;
	w->retries = NULL;
	while (all) {
		struct held *h = all;
		all = h->next;
		h->next = in_order;
		in_order = h;
	}
	while (in_order) {
		struct held *h = in_order;
		in_order = h->next;
		h->m.is_replay = true;
		h->m.said_again = false; /* it is this one's turn again, not a copy's */
		ns_waiting_put(w, &h->m, true);
		held_free(w, h);
	}
}

/* ---- life ---- */

static void collect(void *arg, struct lw_buf *out)
{
	struct ns_waiting *w = arg;
	(void)out;
	double ns = w->first ? (double)(rt_loop_mono_ns(w->o.loop) - w->first->since_ns) : 0;
	rt_metric_set(w->n_waiting, (double)lw_shed_count(&w->policy));
	rt_metric_set(w->oldest, ns / 1e9);
}

struct ns_waiting *ns_waiting_new(const struct ns_waiting_opts *o)
{
	struct ns_waiting *w = lw_xcalloc(1, sizeof(*w));
	w->o = *o;
	w->retry_ms = RETRY_MIN_MS;
	lw_map_init(&w->kept);
	lw_slab_init(&w->common, sizeof(struct held) + COMMON_BYTES, BLOCKS_KEPT);
	lw_shed_init(&w->policy, o->max, o->shed_after_ms);
	rt_timer_init(&w->look, o->loop, "inbox_waiting", on_look, w);
	rt_timer_init(&w->retry, o->loop, "inbox_retry", on_retry, w);
	rt_timer_init(&w->report, o->loop, "inbox_report", on_report, w);
	w->n_waiting = rt_gauge(o->metrics, "inbox_waiting", "Uplinks taken from the broker that wait for room");
	w->oldest = rt_gauge(o->metrics, "inbox_oldest_seconds", "How long the oldest of them has waited");
	w->stats_refused = rt_counter(o->metrics, "gateway_stats_refused_total",
				      "Statistics of gateways for which there was no room");
	rt_metrics_on_collect(o->metrics, collect, w);
	return w;
}

bool ns_waiting_is_full(const struct ns_waiting *w)
{
	return w->full;
}

void ns_waiting_stop(struct ns_waiting *w)
{
	w->stopped = true;
	rt_timer_stop(&w->retry);
}

void ns_waiting_free(struct ns_waiting *w)
{
	if (!w)
		return;
	rt_metrics_remove_collect(w->o.metrics, w);
	rt_timer_stop(&w->look);
	rt_timer_stop(&w->retry);
	rt_timer_stop(&w->report);
	while (w->first) {
		struct held *h = pop(w);
		if (!h->m.journal_position)
			held_free(w, h);
	}
	while (w->retries) {
		struct held *h = w->retries;
		w->retries = h->next;
		held_free(w, h);
	}
	size_t it = 0;
	uint64_t position;
	void *value;
	while (lw_map_next(&w->kept, &it, &position, &value))
		held_free(w, value);
	lw_map_deinit(&w->kept);
	lw_slab_deinit(&w->common);
	free(w);
}
