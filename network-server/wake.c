#include "network-server/wake.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"
#include "network-server/flow/flows.h"
#include "network-server/store/store.h"

/* 1,000 devices a second: what they are sent takes the gateways longer. */
enum { PAGE = 200, PAGE_EVERY_MS = 200, RETRY_MS = 5000 };
/* A replica that is sending has its gateway's answer by then. */
#define HALF_SENT_MS 30000
#define TIMEOUT_MS_MAX 86400000u

struct ns_wake {
	struct rt_loop *loop;
	struct rt_log *log;
	struct ns_store *store;
	struct ns_flows *flows;
	struct rt_timer timer;
	int64_t next; /* the first EUI of the next page, as the database counts them */
	size_t n;     /* tried in this run */
	bool running, again, others, stopped;
};

static void ask(struct ns_wake *w);

static void on_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	ask(arg);
}

static void try_one(struct ns_wake *w, const struct ns_queued *q)
{
	uint32_t delay_ms = 0;
	int64_t wait_ns = q->timeout_after_ns - rt_loop_now_ns(w->loop);
	if (!q->at_any_time)
		return; /* class A is answered when it speaks */
	if (wait_ns > 0)
		delay_ms = wait_ns / LW_NS_PER_MS < TIMEOUT_MS_MAX ? (uint32_t)(wait_ns / LW_NS_PER_MS) + 1
								   : TIMEOUT_MS_MAX;
	else if (q->half_sent && w->others)
		delay_ms = HALF_SENT_MS;
	w->n++;
	ns_flows_wake(w->flows, q->dev_eui, delay_ms);
}

static void ended(struct ns_wake *w)
{
	if (w->n)
		RT_LOG_INFO(w->log, "devices of class B and C with a queue are tried", rt_u64("devices", w->n));
	w->running = false;
	if (w->again) {
		w->again = false;
		ns_wake_all(w, w->others);
	}
}

static void on_page(void *arg, int err, const struct ns_queued *v, size_t n)
{
	struct ns_wake *w = arg;
	if (w->stopped)
		return;
	if (err) {
		rt_timer_start(&w->timer, RETRY_MS);
		return;
	}
	for (size_t i = 0; i < n; i++)
		try_one(w, &v[i]);
	if (n < PAGE || v[n - 1].place == INT64_MAX) {
		ended(w);
		return;
	}
	w->next = v[n - 1].place + 1;
	rt_timer_start(&w->timer, PAGE_EVERY_MS);
}

static void ask(struct ns_wake *w)
{
	ns_store_queued_page(w->store, w->next, PAGE, on_page, w);
}

void ns_wake_all(struct ns_wake *w, bool others)
{
	w->others = others;
	if (w->stopped)
		return;
	if (w->running) {
		w->again = true;
		return;
	}
	w->running = true;
	w->next = INT64_MIN;
	w->n = 0;
	ask(w);
}

void ns_wake_stop(struct ns_wake *w)
{
	w->stopped = true;
	w->running = false;
	rt_timer_stop(&w->timer);
}

bool ns_wake_is_running(const struct ns_wake *w)
{
	return w->running;
}

struct ns_wake *ns_wake_new(struct rt_loop *loop, struct rt_log *log, struct ns_store *store, struct ns_flows *flows)
{
	struct ns_wake *w = lw_xcalloc(1, sizeof(*w));
	*w = (struct ns_wake){.loop = loop, .log = log, .store = store, .flows = flows};
	rt_timer_init(&w->timer, loop, "wake", on_timer, w);
	return w;
}

void ns_wake_free(struct ns_wake *w)
{
	if (!w)
		return;
	rt_timer_stop(&w->timer);
	free(w);
}
