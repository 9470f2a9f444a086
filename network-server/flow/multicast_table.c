/* Downlinks to multicast groups. Each group has at most one run at a time, and one network-server that sends to it. The
 * items of a group go in the order of their counters: one that has a gateway left that is heard holds back those behind
 * it, so that a device between two gateways never hears a higher counter first. At a gateway that is heard again, what
 * it has missed goes before what comes after: no later counter passes an earlier one there. No polling: a run comes
 * when something was enqueued, when gateways have answered, and at the time that the run before it has named. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "common/lorawan/airtime.h"
#include "network-server/flow/internal.h"

#define LEASE_NS (20 * LW_NS_PER_S)
/* A wait that is longer gives the lease back. */
#define HOLD_NS (10 * LW_NS_PER_S)
/* A gateway that is not heard is looked at again after this time, and an item waits so long for it, or for any gateway,
 * when it has no time of its own. */
#define LOOK_NS (30 * LW_NS_PER_S)
#define WAIT_MAX_NS (3600 * LW_NS_PER_S)
#define RETRY_NS (5 * LW_NS_PER_S)
/* How long before a ping slot its frame must leave, at least. */
#define SLOT_LEAD_NS LW_NS_PER_S
#define CHUNK_MEM_MAX (16u << 20)
#define RUN_MEM_MAX (64u << 20) /* a group may have as many devices as there are */
/* Chunks of devices that are all in memory, before others get their turn. */
#define CHUNKS_AT_ONCE 8
enum { ATTEMPTS = 4, GONE_MAX = 16, CHUNK = 32, SHIFTS = 8 };

/* A group that has something to send. */
struct ns_mc_state {
	struct ns_flows *f;
	struct lw_uuid id;
	struct rt_timer timer;
	bool running, again;
	unsigned in_flight; /* gateways that have not answered */
};

struct gone {
	struct lw_gateway_id gateway_id;
	bool has_gateway;
	ns_reason reason;
	const char *text;
};

/* One run. */
struct run {
	struct ns_ctx c;
	struct ns_mc_state *st;
	struct ns_mc_take take;
	struct ns_mc_devices devices;
	struct ns_mc_change change;
	int64_t wake_ns; /* 0: nothing is to be waited for */
	bool again;

	/* who hears the devices */
	struct lw_arena chunk;
	struct ns_fetch fetch[CHUNK];
	size_t next, open;
	struct rt_timer pause;
	bool going, failed;
	struct ns_mc_heard *heard;
	size_t n_heard, cap_heard;
	struct ns_mc_refresh refresh;

	struct lw_gateway_id *gateways; /* of an item that is being planned */
	size_t n_gateways;
	struct ns_mc_copy *put; /* the copies that are left */
	size_t n_put;
	struct lw_gateway_id *remove;
	size_t n_remove;
	struct lw_gateway_id *overdue; /* earlier items go there first */
	size_t n_overdue;
	struct ns_mc_copy **send; /* of put */
	size_t n_send;
	int64_t gps_ns; /* then; 0: at once */
	struct gone gone[GONE_MAX];
	size_t n_gone;
};

static rt_timer_fn on_pause;
static rt_flow_io_fn mc_take, mc_devices, mc_receptions, mc_gateways, mc_commit;
static rt_flow_pure_fn mc_check, mc_cover, mc_decide, mc_send;

const struct rt_flow_step ns_multicast_steps[] = {
	{"take", .io = mc_take},             /* the group's lease, and the item that is first */
	{"check", .pure = mc_check},         /* is there anything to be sent at all */
	{"devices", .io = mc_devices},       /* who is to hear it, where no gateways were chosen */
	{"receptions", .io = mc_receptions}, /* which gateways hear these devices */
	{"gateways", .io = mc_gateways},     /* when they were heard last, by whomever */
	{"cover", .pure = mc_cover},         /* the fewest that reach all */
	{"decide", .pure = mc_decide},       /* gateways and time */
	{"commit", .io = mc_commit},         /* an attempt counts before the frame leaves */
	{"send", .pure = mc_send},
};
const size_t ns_multicast_n_steps = sizeof(ns_multicast_steps) / sizeof(ns_multicast_steps[0]);

static struct run *run_of(struct rt_flow_ctx *flow)
{
	return (struct run *)(void *)flow;
}

/* ---- when ---- */

static void woken(struct rt_timer *t, void *arg)
{
	struct ns_mc_state *st = arg;
	(void)t;
	ns_multicast_try(st->f, st->id);
}

static struct lw_span key_of(const struct lw_uuid *id)
{
	return lw_span(id->b, sizeof(id->b));
}

static struct ns_mc_state *state_of(struct ns_flows *f, struct lw_uuid id)
{
	struct ns_mc_state *st = lw_bmap_find(&f->multicast_groups, key_of(&id));
	if (st != NULL)
		return st;
	st = lw_xcalloc(1, sizeof(*st));
	st->f = f;
	st->id = id;
	rt_timer_init(&st->timer, f->loop, "multicast", woken, st);
	lw_bmap_put(&f->multicast_groups, key_of(&id), st);
	return st;
}

static void forget(struct ns_mc_state *st)
{
	rt_timer_stop(&st->timer);
	lw_bmap_remove(&st->f->multicast_groups, key_of(&st->id));
	free(st);
}

void ns_multicast_try(struct ns_flows *f, struct lw_uuid group_id)
{
	if (f->ports->multicast.self == NULL)
		return;
	struct ns_mc_state *st = state_of(f, group_id);
	rt_timer_stop(&st->timer);
	if (st->running || st->in_flight > 0) {
		st->again = true;
		return;
	}
	struct run *m = lw_xcalloc(1, sizeof(*m));
	ns_ctx_init(&m->c, f, NULL, 0);
	m->c.arena.max = RUN_MEM_MAX;
	lw_arena_init(&m->chunk, NULL, 0, CHUNK_MEM_MAX);
	rt_timer_init(&m->pause, f->loop, "multicast devices", on_pause, m);
	m->st = st;
	st->running = true;
	st->again = false;
	rt_flow_enter(f->multicast, &m->c.flow);
}

void ns_multicast_init(struct ns_flows *f)
{
	lw_bmap_init(&f->multicast_groups);
}

void ns_multicast_free(struct ns_flows *f)
{
	size_t it = 0;
	struct lw_span key;
	void *value;
	while (lw_bmap_next(&f->multicast_groups, &it, &key, &value)) {
		struct ns_mc_state *st = value;
		rt_timer_stop(&st->timer);
		free(st);
	}
	lw_bmap_deinit(&f->multicast_groups);
}

const struct ns_region_config *ns_gateway_reports_in(const struct ns_flows *f, struct lw_gateway_id id)
{
	const struct ns_gateway *g = f->ports->gateways.find(f->ports->gateways.self, id);
	for (size_t i = 0; g != NULL && i < f->cfg.n_regions; i++)
		if (strcmp(g->region_config_id, f->cfg.regions[i]->id) == 0)
			return f->cfg.regions[i];
	return NULL;
}

/* The region configuration by which the gateway is reached: where its statistics come from, else the region's first. */
static const struct ns_region_config *region_of(const struct ns_flows *f, enum lw_region_id region,
						const struct lw_gateway_id *gateway)
{
	const struct ns_region_config *rc = gateway != NULL ? ns_gateway_reports_in(f, *gateway) : NULL;
	if (rc != NULL && rc->region == region)
		return rc;
	for (size_t i = 0; i < f->cfg.n_regions; i++)
		if (f->cfg.regions[i]->region == region)
			return f->cfg.regions[i];
	return NULL;
}

/* ---- take ---- */

static void taken(struct ns_mc_take *req)
{
	struct run *m = req->owner;
	rt_flow_resume(&m->c.flow, RT_FLOW_NEXT);
}

static void mc_take(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_mc_take *req[NS_BATCH];
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct run *m = run_of(v[i]);
		m->take = (struct ns_mc_take){.group_id = m->st->id,
					      .now_ns = ns_now(f),
					      .lease_until_ns = ns_now(f) + LEASE_NS,
					      .arena = &m->c.arena,
					      .done = taken,
					      .owner = m};
		req[i] = &m->take;
	}
	f->ports->multicast.take(f->ports->multicast.self, req, n);
}

static void __attribute__((format(printf, 4, 5)))
gone(struct run *m, const struct lw_gateway_id *gateway, ns_reason reason, const char *fmt, ...)
{
	char text[200];
	va_list ap;
	if (m->n_gone == GONE_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	struct gone *g = &m->gone[m->n_gone++];
	*g = (struct gone){.has_gateway = gateway != NULL, .reason = reason};
	if (gateway != NULL)
		g->gateway_id = *gateway;
	g->text = lw_arena_strdup(&m->c.arena, text);
}

/* The item goes, on record at each gateway that was to send it. */
static void __attribute__((format(printf, 3, 4))) item_gone(struct run *m, ns_reason reason, const char *fmt, ...)
{
	char text[200];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	m->change.delete_item = true;
	m->again = true;
	const struct ns_mc_take *t = &m->take;
	size_t n = t->n_copies > 0 ? t->n_copies : t->n_gateways;
	for (size_t i = 0; i < n; i++)
		gone(m, t->n_copies > 0 ? &t->copies[i].gateway_id : &t->gateways[i], reason, "%s", text);
	if (n == 0)
		gone(m, NULL, reason, "%s", text);
}

static void wake(struct run *m, int64_t at_ns)
{
	if (m->wake_ns == 0 || at_ns < m->wake_ns)
		m->wake_ns = at_ns;
}

static void wake_parked(struct run *m)
{
	for (size_t i = 0; i < m->take.n_parked; i++)
		wake(m, m->take.parked[i].due_ns);
}

/* What ends an item without any gateway. */
static bool ends_item(struct run *m)
{
	const struct ns_mc_take *t = &m->take;
	const struct ns_mc_item *item = &t->item;
	const struct ns_region_config *rc = region_of(m->c.f, t->group.region, NULL);
	int64_t now_ns = ns_now(m->c.f);
	if (item->is_damaged) {
		item_gone(m, LONGWAVE__V1__REASON__INTERNAL_ERROR,
			  "the item is damaged in the database: it cannot be read");
		return true;
	}
	if (item->expires_at_ns != 0 && item->expires_at_ns <= now_ns) {
		item_gone(m, LONGWAVE__V1__REASON__EXPIRED, "the item expired %.1f s before it could be sent",
			  (double)(now_ns - item->expires_at_ns) / LW_NS_PER_S);
		return true;
	}
	if (rc == NULL) {
		item_gone(m, LONGWAVE__V1__REASON__UNKNOWN_REGION,
			  "no region configuration of the group's region is enabled");
		return true;
	}
	int max = ns_mc_max_payload(&t->group, rc);
	if ((int)item->payload.n > max) {
		item_gone(m, LONGWAVE__V1__REASON__PAYLOAD_SIZE, "%zu bytes are more than the %d that DR%u carries",
			  item->payload.n, max < 0 ? 0 : max, (unsigned)t->group.dr);
		return true;
	}
	return false;
}

static enum rt_flow_rc mc_check(struct rt_flow_ctx *flow)
{
	struct run *m = run_of(flow);
	int64_t now_ns = ns_now(m->c.f);
	switch (m->take.err) {
	case 0:
		break;
	case LW_ECONFLICT:
		wake(m, m->take.leased_until_ns > now_ns ? m->take.leased_until_ns : now_ns + LW_NS_PER_S);
		return RT_FLOW_DONE;
	case LW_ENOTFOUND:
		return RT_FLOW_DONE;
	case LW_EPROTO: /* an item of ours that cannot be read is of no use to anybody */
		m->change = (struct ns_mc_change){.item_id = m->take.item.id};
		item_gone(m, LONGWAVE__V1__REASON__MALFORMED, "the item cannot be read");
		return RT_FLOW_NEXT;
	default:
		wake(m, now_ns + RETRY_NS);
		return ns_drop(&m->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE, "the group could not be read");
	}
	m->change = (struct ns_mc_change){.item_id = m->take.item.id};
	if (!m->take.has_item)
		wake_parked(m);
	else
		(void)ends_item(m);
	return RT_FLOW_NEXT;
}

static bool is_open(const struct run *m)
{
	return m->take.has_item && !m->change.delete_item;
}

/* ---- the gateways that cover the devices ---- */

static bool wants_cover(const struct run *m)
{
	return is_open(m) && !m->take.item.planned && m->take.n_gateways == 0;
}

static void devices_read(struct ns_mc_devices *req)
{
	struct run *m = req->owner;
	m->failed = req->err != 0;
	rt_flow_resume(&m->c.flow, RT_FLOW_NEXT);
}

static void mc_devices(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct run *m = run_of(v[i]);
		if (!wants_cover(m)) {
			rt_flow_resume(v[i], RT_FLOW_NEXT);
			continue;
		}
		m->devices = (struct ns_mc_devices){
			.group_id = m->st->id, .arena = &m->c.arena, .done = devices_read, .owner = m};
		f->ports->multicast.devices(f->ports->multicast.self, &m->devices);
	}
}

static bool is_heard(const struct ns_flows *f, const struct ns_gateway *g)
{
	return ns_gateway_is_heard(g, ns_now(f));
}

/* Gateways of the device's last uplink that may send to the group. */
static void hear(struct run *m, uint32_t device, const struct ns_session *s)
{
	struct ns_flows *f = m->c.f;
	const struct lw_modulation *mod =
		lw_region_dr(lw_region_by_id(m->take.group.region), LW_DOWN, m->take.group.dr);
	for (size_t i = 0; i < s->n_rx; i++) {
		uint32_t priority;
		if (!ns_gateway_may_send(f, s->rx[i].gateway_id, m->take.group.tenant_id, &priority))
			continue;
		if (m->n_heard == m->cap_heard) {
			m->cap_heard = m->cap_heard * 2 + 64;
			m->heard = lw_xrealloc(m->heard, m->cap_heard * sizeof(*m->heard));
		}
		m->heard[m->n_heard++] = (struct ns_mc_heard){
			.device = device,
			.gateway_id = s->rx[i].gateway_id,
			.margin_ddb = (int16_t)(mod != NULL ? ns_snr_margin_ddb(mod, s->rx[i].snr_ddb) : 0)};
	}
}

static void next_chunks(struct run *m);

static void fetched(struct ns_fetch *req)
{
	struct run *m = req->owner;
	m->failed = m->failed || req->err != 0;
	if (req->err == 0 && req->n > 0 && req->devices[0]->has_session)
		hear(m, (uint32_t)(m->next - CHUNK + (size_t)(req - m->fetch)), &req->devices[0]->session);
	if (--m->open == 0 && !m->going)
		next_chunks(m);
}

/* Some devices at a time: a session is large, and what is wanted of it is small. */
static void next_chunk(struct run *m)
{
	struct ns_flows *f = m->c.f;
	struct ns_fetch *req[CHUNK];
	size_t left = m->devices.n - m->next, n = left < CHUNK ? left : CHUNK;
	lw_arena_reset(&m->chunk);
	for (size_t i = 0; i < n; i++) {
		m->fetch[i] = (struct ns_fetch){
			.dev_eui = m->devices.v[m->next + i], .arena = &m->chunk, .done = fetched, .owner = m};
		req[i] = &m->fetch[i];
	}
	m->open = n;
	m->next += CHUNK;
	f->ports->store.fetch(f->ports->store.self, req, n);
}

/* Devices in memory are answered from inside the question: their chunks go one after the other, not one in the other.
 */
static void next_chunks(struct run *m)
{
	unsigned n = 0;
	m->going = true;
	while (m->open == 0 && m->next < m->devices.n && !m->failed && n++ < CHUNKS_AT_ONCE)
		next_chunk(m);
	m->going = false;
	if (m->open > 0)
		return;
	if (m->next < m->devices.n && !m->failed)
		rt_timer_start(&m->pause, 0);
	else
		rt_flow_resume(&m->c.flow, RT_FLOW_NEXT);
}

static void on_pause(struct rt_timer *t, void *arg)
{
	(void)t;
	next_chunks(arg);
}

static void mc_receptions(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	(void)flow;
	(void)owner;
	for (size_t i = 0; i < n; i++) {
		struct run *m = run_of(v[i]);
		if (m->devices.n > 0)
			next_chunks(m);
		else
			rt_flow_resume(v[i], RT_FLOW_NEXT);
	}
}

/* What memory has of a gateway may be all that there is, or old: its statistics may go to another network-server. */
static void ask_for(struct run *m, struct lw_map *asked, struct lw_gateway_id *v, struct lw_gateway_id id)
{
	const struct ns_gateway *g = m->c.f->ports->gateways.find(m->c.f->ports->gateways.self, id);
	if (g != NULL && is_heard(m->c.f, g) && g->region_config_id[0] != '\0')
		return;
	if (lw_map_put(asked, lw_gateway_id_u64(id), m) == NULL)
		v[m->refresh.n++] = id;
}

static void refreshed(struct ns_mc_refresh *req)
{
	struct run *m = req->owner;
	rt_flow_resume(&m->c.flow, RT_FLOW_NEXT);
}

static void refresh(struct run *m)
{
	const struct ns_mc_take *t = &m->take;
	size_t most = t->n_copies + t->n_gateways + m->n_heard;
	struct lw_gateway_id *v = LW_ARENA_ARRAY(&m->c.arena, struct lw_gateway_id, most + 1);
	struct lw_map asked;
	lw_map_init(&asked);
	m->refresh = (struct ns_mc_refresh){.v = v, .done = refreshed, .owner = m};
	for (size_t i = 0; v != NULL && i < t->n_copies; i++)
		ask_for(m, &asked, v, t->copies[i].gateway_id);
	for (size_t i = 0; v != NULL && i < t->n_gateways && !t->item.planned; i++)
		ask_for(m, &asked, v, t->gateways[i]);
	for (size_t i = 0; v != NULL && i < m->n_heard; i++)
		ask_for(m, &asked, v, m->heard[i].gateway_id);
	lw_map_deinit(&asked);
	if (m->refresh.n > 0)
		m->c.f->ports->multicast.refresh(m->c.f->ports->multicast.self, &m->refresh);
	else
		rt_flow_resume(&m->c.flow, RT_FLOW_NEXT);
}

static void mc_gateways(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	(void)flow;
	(void)owner;
	for (size_t i = 0; i < n; i++) {
		struct run *m = run_of(v[i]);
		if (is_open(m) && !m->failed)
			refresh(m);
		else
			rt_flow_resume(v[i], RT_FLOW_NEXT);
	}
}

/* Of those that hear the devices, the ones that are there themselves. */
static void drop_silent(struct run *m)
{
	size_t kept = 0;
	for (size_t i = 0; i < m->n_heard; i++) {
		const struct ns_gateway *g =
			m->c.f->ports->gateways.find(m->c.f->ports->gateways.self, m->heard[i].gateway_id);
		if (g == NULL || is_heard(m->c.f, g))
			m->heard[kept++] = m->heard[i];
	}
	m->n_heard = kept;
}

static enum rt_flow_rc mc_cover(struct rt_flow_ctx *flow)
{
	struct run *m = run_of(flow);
	drop_silent(m);
	if (m->failed) {
		wake(m, ns_now(m->c.f) + RETRY_NS);
		return ns_drop(&m->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE, "the devices could not be read");
	}
	m->gateways = m->take.gateways;
	m->n_gateways = m->take.n_gateways;
	if (m->n_heard == 0)
		return RT_FLOW_NEXT;
	m->gateways = LW_ARENA_ARRAY(&m->c.arena, struct lw_gateway_id, m->n_heard);
	if (m->gateways != NULL)
		m->n_gateways = ns_mc_cover(m->heard, m->n_heard, m->gateways);
	return RT_FLOW_NEXT;
}

/* ---- decide ---- */

/* One more gateway is out of question. */
static void drop_copy(struct run *m, const struct ns_mc_copy *k)
{
	m->remove[m->n_remove++] = k->gateway_id;
}

/* An item before this one waits for the gateway. */
static bool comes_later(const struct run *m, struct lw_gateway_id id)
{
	for (size_t i = 0; i < m->take.n_parked; i++)
		if (lw_gateway_id_eq(m->take.parked[i].gateway_id, id))
			return m->take.parked[i].f_cnt < m->take.item.f_cnt;
	return false;
}

/* Where the item stands with this gateway: stays in put, and is among those that can be sent now; or goes. */
static void look_at(struct run *m, struct ns_mc_copy k, struct ns_mc_copy **ready, size_t *n_ready)
{
	struct ns_flows *f = m->c.f;
	const struct ns_gateway *g = f->ports->gateways.find(f->ports->gateways.self, k.gateway_id);
	const struct ns_mc_item *item = &m->take.item;
	int64_t now_ns = ns_now(f);
	uint32_t priority;
	char id[LW_EUI_TEXT];
	lw_gateway_id_print(k.gateway_id, id);
	if (!ns_gateway_may_send(f, k.gateway_id, m->take.group.tenant_id, &priority)) {
		gone(m, &k.gateway_id, LONGWAVE__V1__REASON__NO_GATEWAY,
		     "gateway %s may not send to this group: it is not registered, or private to another tenant", id);
		drop_copy(m, &k);
		return;
	}
	if (g != NULL && !is_heard(f, g)) {
		if (item->expires_at_ns == 0 && now_ns - item->enqueued_at_ns > WAIT_MAX_NS) {
			gone(m, &k.gateway_id, LONGWAVE__V1__REASON__GATEWAY_SILENT,
			     "gateway %s has not been heard, and the item waits for an hour", id);
			drop_copy(m, &k);
			return;
		}
		if (!k.parked || k.due_ns <= now_ns) {
			k.parked = true;
			k.due_ns = now_ns + LOOK_NS;
		}
		wake(m, k.due_ns);
		m->put[m->n_put++] = k;
		return;
	}
	if (k.parked) {
		k.parked = false;
		k.due_ns = now_ns;
	}
	m->put[m->n_put++] = k;
	if (comes_later(m, k.gateway_id)) {
		m->overdue[m->n_overdue++] = k.gateway_id;
		m->again = true;
		return;
	}
	if (k.due_ns <= now_ns)
		ready[(*n_ready)++] = &m->put[m->n_put - 1];
	else
		wake(m, k.due_ns);
}

static uint32_t airtime_us(const struct run *m, const struct ns_down_window *w)
{
	size_t n = 1 + 7 + 1 + m->take.item.payload.n + LW_MIC_LEN;
	return lw_airtime_us(w->mod, LW_DOWN, n);
}

/* The first moment from here on, nanoseconds of wall clock, at which all of them are free for so long. */
static int64_t first_free(const struct run *m, struct ns_mc_copy *const *v, size_t n, int64_t at_ns, uint32_t us)
{
	struct ns_flows *f = m->c.f;
	int64_t mono_ns = rt_loop_mono_ns(f->loop) - ns_now(f);
	for (unsigned tries = 0; tries < SHIFTS; tries++) {
		int64_t before_ns = at_ns;
		for (size_t i = 0; i < n; i++) {
			const struct ns_timeline *t = ns_plan_timeline(f, v[i]->gateway_id);
			if (t != NULL)
				at_ns = ns_timeline_first_free(t, at_ns + mono_ns, us) - mono_ns;
		}
		if (at_ns == before_ns)
			break;
	}
	return at_ns;
}

static int64_t later_of(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* The one that has failed least, then the one that waits longest. */
static void choose_one(struct run *m, struct ns_mc_copy **ready, size_t n)
{
	struct ns_flows *f = m->c.f;
	int64_t now_ns = ns_now(f);
	size_t best = 0;
	if (n > 0 && now_ns < m->take.not_before_ns) {
		wake(m, m->take.not_before_ns);
		return;
	}
	for (size_t i = 1; i < n; i++)
		if (ready[i]->attempts < ready[best]->attempts ||
		    (ready[i]->attempts == ready[best]->attempts && ready[i]->due_ns < ready[best]->due_ns))
			best = i;
	if (n == 0)
		return;
	m->send[m->n_send++] = ready[best];
	m->change.not_before_ns = now_ns + f->cfg.multicast_class_c_margin_ms * LW_NS_PER_MS;
}

/* All at one moment that leaves time for the way to the gateways. */
static void choose_gps(struct run *m, struct ns_mc_copy **ready, size_t n, const struct ns_down_window *w)
{
	struct ns_flows *f = m->c.f;
	int64_t now_ns = ns_now(f);
	int64_t margin_ns = f->cfg.multicast_class_c_margin_ms * LW_NS_PER_MS;
	uint32_t us = airtime_us(m, w);
	int64_t at_ns = first_free(m, ready, n, later_of(now_ns + margin_ns, m->take.not_before_ns), us);
	if (n == 0)
		return;
	if (at_ns - now_ns > margin_ns + HOLD_NS) {
		wake(m, at_ns - margin_ns);
		return;
	}
	memcpy(m->send, ready, n * sizeof(ready[0]));
	m->n_send = n;
	m->gps_ns = lw_gps_from_unix_ns(at_ns);
	m->change.not_before_ns = at_ns + us * LW_NS_PER_US + margin_ns;
}

/* All in one ping slot, the first in which all are free, else the first. What is far away is no business of a gateway's
 * queue. */
static void choose_slot(struct run *m, struct ns_mc_copy **ready, size_t n)
{
	struct ns_flows *f = m->c.f;
	const struct ns_mc_group *g = &m->take.group;
	int64_t now_ns = ns_now(f);
	int64_t margin_ns = f->cfg.multicast_class_b_margin_ms * LW_NS_PER_MS;
	int64_t after_ns = later_of(now_ns + SLOT_LEAD_NS, m->take.not_before_ns);
	int64_t first = ns_mc_ping_slot(f->kc, g, lw_gps_from_unix_ns(after_ns));
	int64_t slot = first;
	struct ns_down_window w;
	if (n == 0)
		return;
	for (unsigned tries = 0; tries < SHIFTS; tries++) {
		const struct ns_region_config *rc = region_of(f, g->region, &ready[0]->gateway_id);
		int64_t at_ns = lw_gps_to_unix_ns(slot);
		if (at_ns - now_ns > margin_ns || !ns_mc_window(g, rc, slot, &w))
			break;
		if (first_free(m, ready, n, at_ns, airtime_us(m, &w)) == at_ns)
			break;
		slot = ns_mc_ping_slot(f->kc, g, slot + 1);
	}
	if (lw_gps_to_unix_ns(slot) - now_ns > margin_ns)
		slot = first;
	int64_t at_ns = lw_gps_to_unix_ns(slot);
	if (at_ns - now_ns > margin_ns) {
		wake(m, at_ns - margin_ns);
		return;
	}
	memcpy(m->send, ready, n * sizeof(ready[0]));
	m->n_send = n;
	m->gps_ns = slot;
	m->change.not_before_ns = at_ns + LW_NS_PER_MS;
}

static void plan(struct run *m)
{
	int64_t now_ns = ns_now(m->c.f);
	m->take.copies = LW_ARENA_ARRAY(&m->c.arena, struct ns_mc_copy, m->n_gateways);
	m->take.n_copies = m->take.copies != NULL ? m->n_gateways : 0;
	for (size_t i = 0; i < m->take.n_copies; i++)
		m->take.copies[i] = (struct ns_mc_copy){.gateway_id = m->gateways[i], .due_ns = now_ns};
	m->change.plan = m->take.n_copies > 0;
}

/* Nobody can send it now. */
static void without_gateway(struct run *m)
{
	const struct ns_mc_item *item = &m->take.item;
	int64_t now_ns = ns_now(m->c.f);
	if (item->expires_at_ns == 0 && now_ns - item->enqueued_at_ns > WAIT_MAX_NS) {
		item_gone(m, LONGWAVE__V1__REASON__NO_GATEWAY,
			  "the group has no gateways, and no gateway that is there has heard any of its devices");
		return;
	}
	wake(m, now_ns + LOOK_NS);
	if (item->expires_at_ns != 0)
		wake(m, item->expires_at_ns);
}

static bool choose(struct run *m)
{
	const struct ns_mc_group *g = &m->take.group;
	size_t n = m->take.n_copies, n_ready = 0;
	struct ns_mc_copy **ready = LW_ARENA_ARRAY(&m->c.arena, struct ns_mc_copy *, n + 1);
	struct ns_down_window w;
	m->put = LW_ARENA_ARRAY(&m->c.arena, struct ns_mc_copy, n + 1);
	m->remove = LW_ARENA_ARRAY(&m->c.arena, struct lw_gateway_id, n + 1);
	m->send = LW_ARENA_ARRAY(&m->c.arena, struct ns_mc_copy *, n + 1);
	m->overdue = LW_ARENA_ARRAY(&m->c.arena, struct lw_gateway_id, n + 1);
	if (ready == NULL || m->put == NULL || m->remove == NULL || m->send == NULL || m->overdue == NULL)
		return false;
	for (size_t i = 0; i < n; i++)
		look_at(m, m->take.copies[i], ready, &n_ready);
	if (g->mode == NS_MC_C_SPACED)
		choose_one(m, ready, n_ready);
	else if (g->mode == NS_MC_B)
		choose_slot(m, ready, n_ready);
	else if (ns_mc_window(g, region_of(m->c.f, g->region, NULL), 1, &w))
		choose_gps(m, ready, n_ready, &w);
	if (m->n_send > 0 && m->take.item.f_pending < 0) {
		m->take.item.f_pending = g->mode == NS_MC_B && m->take.more;
		m->change.fix_f_pending = true;
		m->change.f_pending = m->take.item.f_pending > 0;
	}
	/* It counts as an attempt from here, and nobody sends it again before its gateway could answer. */
	int64_t until_ns = m->gps_ns != 0 ? lw_gps_to_unix_ns(m->gps_ns) : ns_now(m->c.f);
	for (size_t i = 0; i < m->n_send; i++) {
		m->send[i]->attempts++;
		m->send[i]->due_ns = until_ns + m->c.f->cfg.tx_ack_timeout_ms * LW_NS_PER_MS;
	}
	return true;
}

static enum rt_flow_rc mc_decide(struct rt_flow_ctx *flow)
{
	struct run *m = run_of(flow);
	int64_t now_ns = ns_now(m->c.f);
	if (is_open(m) && !m->take.item.planned)
		plan(m);
	if (is_open(m) && m->take.n_copies == 0)
		without_gateway(m);
	else if (is_open(m) && !choose(m))
		return ns_drop(&m->c, LONGWAVE__V1__REASON__OVERLOAD, NULL);
	if (is_open(m) && m->take.n_copies > 0 && m->n_put == 0)
		m->change.delete_item = true;
	m->again = m->again || m->change.delete_item;
	bool waits_long = m->n_send == 0 && !m->again && (m->wake_ns == 0 || m->wake_ns > now_ns + HOLD_NS);
	m->change.group_id = m->st->id;
	m->change.needs_lease = true;
	m->change.lease_until_ns = waits_long ? now_ns : now_ns + LEASE_NS;
	m->change.put = m->put;
	m->change.n_put = m->change.delete_item ? 0 : m->n_put;
	m->change.remove = m->remove;
	m->change.n_remove = m->change.delete_item ? 0 : m->n_remove;
	m->change.wake = m->overdue;
	m->change.n_wake = m->n_overdue;
	m->change.wake_ns = now_ns;
	return RT_FLOW_NEXT;
}

/* ---- commit ---- */

static void committed(struct ns_mc_change *req)
{
	struct run *m = req->owner;
	if (req->err == 0) {
		rt_flow_resume(&m->c.flow, RT_FLOW_NEXT);
		return;
	}
	m->again = false;
	m->wake_ns = 0;
	wake(m, ns_now(m->c.f) + (req->err == LW_ECONFLICT ? LEASE_NS : RETRY_NS));
	ns_drop(&m->c,
		req->err == LW_ECONFLICT ? LONGWAVE__V1__REASON__CONFLICT : LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE,
		"the plan could not be written");
	rt_flow_resume(&m->c.flow, RT_FLOW_DROP);
}

static void mc_commit(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_mc_change *req[NS_BATCH];
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct run *m = run_of(v[i]);
		m->change.done = committed;
		m->change.owner = m;
		req[i] = &m->change;
	}
	f->ports->multicast.commit(f->ports->multicast.self, req, n);
}

/* ---- send ---- */

static void record_gone(struct run *m, const struct gone *g)
{
	const struct ns_log_port *log = &m->c.f->ports->log;
	Longwave__Ns__V1__Frame fr = LONGWAVE__NS__V1__FRAME__INIT;
	char gw[LW_EUI_TEXT];
	char addr[LW_DEVADDR_TEXT];
	char group[LW_UUID_TEXT];
	fr.time = ns_timestamp(&m->c.arena, ns_now(m->c.f));
	fr.multicast_group_id = lw_uuid_print(m->st->id, group);
	fr.dev_addr = lw_devaddr_print(m->take.group.addr, addr);
	fr.f_type = COMMON__FTYPE__UNCONFIRMED_DATA_DOWN;
	fr.taken = -1;
	fr.f_cnt = m->take.item.f_cnt;
	fr.f_port = m->take.item.f_port;
	fr.dr = m->take.group.dr;
	fr.outcome = LONGWAVE__V1__OUTCOME__DROPPED;
	fr.reason = g->reason;
	fr.detail = (char *)(uintptr_t)(g->text != NULL ? g->text : "");
	if (g->has_gateway)
		fr.gateway_id = lw_gateway_id_print(g->gateway_id, gw);
	log->frame(log->self, &fr);
	log->outcome(log->self, "downlink", LONGWAVE__V1__OUTCOME__DROPPED, g->reason);
}

static void send_one(struct run *m, const struct ns_mc_copy *k)
{
	struct ns_flows *f = m->c.f;
	const struct ns_mc_group *g = &m->take.group;
	struct ns_down_window w;
	struct ns_tx *tx = ns_tx_new(f);
	tx->is_multicast = true;
	tx->group_id = m->st->id;
	tx->rc = region_of(f, g->region, &k->gateway_id);
	tx->devaddr = g->addr;
	tx->has_item = true;
	tx->item_id = m->take.item.id;
	tx->attempt = k->attempts;
	tx->n_gw = 1;
	tx->gw[0] = (struct ns_tx_gateway){.rx.gateway_id = k->gateway_id, .margin_ddb = NS_MARGIN_UNKNOWN};
	if (ns_mc_window(g, tx->rc, m->gps_ns, &w)) {
		tx->n_frames = 1;
		ns_mc_build(f->kc, g, &m->take.item, &w, &tx->frame[0]);
	}
	m->st->in_flight++;
	ns_tx_send(tx, &m->c);
}

static enum rt_flow_rc mc_send(struct rt_flow_ctx *flow)
{
	struct run *m = run_of(flow);
	for (size_t i = 0; i < m->n_gone; i++)
		record_gone(m, &m->gone[i]);
	for (size_t i = 0; i < m->n_send; i++)
		send_one(m, m->send[i]);
	return RT_FLOW_DONE;
}

static void wait_until(struct ns_mc_state *st, int64_t at_ns)
{
	int64_t ms = (at_ns - ns_now(st->f)) / LW_NS_PER_MS + 1;
	rt_timer_start(&st->timer, ms > 1 ? (uint32_t)(ms < UINT32_MAX ? ms : UINT32_MAX) : 1);
}

void ns_multicast_ended(void *owner, struct rt_flow_ctx *flow, enum rt_flow_rc rc)
{
	struct ns_flows *f = owner;
	struct run *m = run_of(flow);
	struct ns_mc_state *st = m->st;
	(void)rc;
	rt_timer_stop(&m->pause);
	lw_arena_deinit(&m->chunk);
	free(m->heard);
	bool again = m->again || st->again;
	int64_t wake_ns = m->wake_ns;
	ns_ctx_free(&m->c);
	if (f->closing)
		return;
	st->running = false;
	if (st->in_flight > 0)
		return; /* the last answer goes on */
	if (again)
		ns_multicast_try(f, st->id);
	else if (wake_ns != 0)
		wait_until(st, wake_ns);
	else
		forget(st);
}

/* ---- answers ---- */

/* Refusals that are none of this frame's: they end by themselves. */
static bool passes_by(ns_reason reason)
{
	return reason == LONGWAVE__V1__REASON__BROKER_UNAVAILABLE ||
	       reason == LONGWAVE__V1__REASON__DUTY_CYCLE_OVERFLOW || reason == LONGWAVE__V1__REASON__QUEUE_FULL;
}

void ns_multicast_settle(const struct ns_tx *tx, bool taken, struct ns_mc_answer *out)
{
	struct ns_flows *f = tx->f;
	int64_t now_ns = ns_now(f);
	bool counts = tx->n_offers > 0 || !passes_by(tx->last_error);
	out->change = (struct ns_mc_change){.group_id = tx->group_id, .item_id = tx->item_id};
	out->copy = (struct ns_mc_copy){.gateway_id = tx->gw[0].rx.gateway_id,
					.attempts = (uint8_t)(counts ? tx->attempt : tx->attempt - 1)};
	out->gateway_id = tx->gw[0].rx.gateway_id;
	out->given_up = !taken && out->copy.attempts >= ATTEMPTS;
	if (taken || out->given_up) {
		out->change.remove = &out->gateway_id;
		out->change.n_remove = 1;
		return;
	}
	/* In class B the next opportunity is the next slot. */
	bool is_b = tx->n_frames > 0 && tx->frame[0].window.gps_ns != 0;
	out->copy.due_ns = is_b && counts ? now_ns : now_ns + (RETRY_NS << (counts ? tx->attempt - 1 : 0));
	out->change.put = &out->copy;
	out->change.n_put = 1;
}

void ns_multicast_answered(const struct ns_tx *tx)
{
	struct ns_flows *f = tx->f;
	struct ns_mc_state *st = lw_bmap_find(&f->multicast_groups, key_of(&tx->group_id));
	if (st == NULL)
		return;
	if (st->in_flight > 0)
		st->in_flight--;
	if (st->in_flight == 0)
		ns_multicast_try(f, st->id);
}
