/* A step of the multicast table: which gateways send an item now, and when; what the others wait for. */
#include <inttypes.h>
#include <string.h>

#include "common/lorawan/airtime.h"
#include "network-server/flow/multicast_run.h"

/* A gateway that is not heard is looked at again after this time, and an item waits so long for it, or for any gateway,
 * when it has no time of its own. */
#define LOOK_NS (30 * LW_NS_PER_S)
#define WAIT_MAX_NS (3600 * LW_NS_PER_S)
/* How long before a ping slot its frame must leave, at least. */
#define SLOT_LEAD_NS LW_NS_PER_S
enum { SHIFTS = 8 };

/* One more gateway is out of question. */
static void drop_copy(struct ns_mc_run *m, const struct ns_mc_copy *k)
{
	m->remove[m->n_remove++] = k->gateway_id;
}

/* An item before this one waits for the gateway. */
static bool comes_later(const struct ns_mc_run *m, struct lw_gateway_id id)
{
	for (size_t i = 0; i < m->take.n_parked; i++)
		if (lw_gateway_id_eq(m->take.parked[i].gateway_id, id))
			return m->take.parked[i].f_cnt < m->take.item.f_cnt;
	return false;
}

/* Where the item stands with this gateway: stays in put, and is among those that can be sent now; or goes. */
static void look_at(struct ns_mc_run *m, struct ns_mc_copy k, struct ns_mc_copy **ready, size_t *n_ready)
{
	struct ns_flows *f = m->c.f;
	const struct ns_gateway *g = f->ports->gateways.find(f->ports->gateways.self, k.gateway_id);
	const struct ns_mc_item *item = &m->take.item;
	int64_t now_ns = ns_now(f);
	uint32_t priority;
	char id[LW_EUI_TEXT];
	lw_gateway_id_print(k.gateway_id, id);
	if (!ns_gateway_may_send(f, k.gateway_id, m->take.group.tenant_id, &priority)) {
		ns_mc_gone(m, &k.gateway_id, LONGWAVE__V1__REASON__NO_GATEWAY,
			   "gateway %s may not send to this group: it is not registered, or private to another tenant",
			   id);
		drop_copy(m, &k);
		return;
	}
	if (g != NULL && !ns_gateway_is_heard(g, now_ns)) {
		if (item->expires_at_ns == 0 && now_ns - item->enqueued_at_ns > WAIT_MAX_NS) {
			ns_mc_gone(m, &k.gateway_id, LONGWAVE__V1__REASON__GATEWAY_SILENT,
				   "gateway %s has not been heard, and the item waits for an hour", id);
			drop_copy(m, &k);
			return;
		}
		if (!k.parked || k.due_ns <= now_ns) {
			k.parked = true;
			k.due_ns = now_ns + LOOK_NS;
		}
		ns_mc_wake(m, k.due_ns);
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
		ns_mc_wake(m, k.due_ns);
}

static uint32_t airtime_us(const struct ns_mc_run *m, const struct ns_down_window *w)
{
	size_t n = 1 + 7 + 1 + m->take.item.payload.n + LW_MIC_LEN;
	return lw_airtime_us(w->mod, LW_DOWN, n);
}

/* The first moment from here on, nanoseconds of wall clock, at which all of them are free for so long. */
static int64_t first_free(const struct ns_mc_run *m, struct ns_mc_copy *const *v, size_t n, int64_t at_ns, uint32_t us)
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
static void choose_one(struct ns_mc_run *m, struct ns_mc_copy **ready, size_t n)
{
	struct ns_flows *f = m->c.f;
	int64_t now_ns = ns_now(f);
	size_t best = 0;
	if (n > 0 && now_ns < m->take.not_before_ns) {
		ns_mc_wake(m, m->take.not_before_ns);
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
static void choose_gps(struct ns_mc_run *m, struct ns_mc_copy **ready, size_t n, const struct ns_down_window *w)
{
	struct ns_flows *f = m->c.f;
	int64_t now_ns = ns_now(f);
	int64_t margin_ns = f->cfg.multicast_class_c_margin_ms * LW_NS_PER_MS;
	uint32_t us = airtime_us(m, w);
	int64_t at_ns = first_free(m, ready, n, later_of(now_ns + margin_ns, m->take.not_before_ns), us);
	if (n == 0)
		return;
	if (at_ns - now_ns > margin_ns + NS_MC_HOLD_NS) {
		ns_mc_wake(m, at_ns - margin_ns);
		return;
	}
	memcpy(m->send, ready, n * sizeof(ready[0]));
	m->n_send = n;
	m->gps_ns = lw_gps_from_unix_ns(at_ns);
	m->change.not_before_ns = at_ns + us * LW_NS_PER_US + margin_ns;
}

/* All in one ping slot, the first in which all are free, else the first. What is far away is no business of a gateway's
 * queue. */
static void choose_slot(struct ns_mc_run *m, struct ns_mc_copy **ready, size_t n)
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
		const struct ns_region_config *rc = ns_mc_region_of(f, g->region, &ready[0]->gateway_id);
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
		ns_mc_wake(m, at_ns - margin_ns);
		return;
	}
	memcpy(m->send, ready, n * sizeof(ready[0]));
	m->n_send = n;
	m->gps_ns = slot;
	m->change.not_before_ns = at_ns + LW_NS_PER_MS;
}

static void plan(struct ns_mc_run *m)
{
	int64_t now_ns = ns_now(m->c.f);
	m->take.copies = LW_ARENA_ARRAY(&m->c.arena, struct ns_mc_copy, m->n_gateways);
	m->take.n_copies = m->take.copies != NULL ? m->n_gateways : 0;
	for (size_t i = 0; i < m->take.n_copies; i++)
		m->take.copies[i] = (struct ns_mc_copy){.gateway_id = m->gateways[i], .due_ns = now_ns};
	m->change.plan = m->take.n_copies > 0;
}

/* Nobody can send it now. */
static void without_gateway(struct ns_mc_run *m)
{
	const struct ns_mc_item *item = &m->take.item;
	int64_t now_ns = ns_now(m->c.f);
	if (item->expires_at_ns == 0 && now_ns - item->enqueued_at_ns > WAIT_MAX_NS) {
		ns_mc_item_gone(m, LONGWAVE__V1__REASON__NO_GATEWAY,
				"the group has no gateways, and no gateway that is there has heard any of its devices");
		return;
	}
	ns_mc_wake(m, now_ns + LOOK_NS);
	if (item->expires_at_ns != 0)
		ns_mc_wake(m, item->expires_at_ns);
}

static bool choose(struct ns_mc_run *m)
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
	else if (ns_mc_window(g, ns_mc_region_of(m->c.f, g->region, NULL), 1, &w))
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

enum rt_flow_rc mc_decide(struct rt_flow_ctx *flow)
{
	struct ns_mc_run *m = ns_mc_run_of(flow);
	int64_t now_ns = ns_now(m->c.f);
	if (ns_mc_is_open(m) && !m->take.item.planned)
		plan(m);
	if (ns_mc_is_open(m) && m->take.n_copies == 0)
		without_gateway(m);
	else if (ns_mc_is_open(m) && !choose(m))
		return ns_drop(&m->c, LONGWAVE__V1__REASON__OVERLOAD, NULL);
	if (ns_mc_is_open(m) && m->take.n_copies > 0 && m->n_put == 0)
		m->change.delete_item = true;
	m->again = m->again || m->change.delete_item;
	bool waits_long = m->n_send == 0 && !m->again && (m->wake_ns == 0 || m->wake_ns > now_ns + NS_MC_HOLD_NS);
	m->change.group_id = m->st->id;
	m->change.needs_lease = true;
	m->change.lease_until_ns = waits_long ? now_ns : now_ns + NS_MC_LEASE_NS;
	m->change.put = m->put;
	m->change.n_put = m->change.delete_item ? 0 : m->n_put;
	m->change.remove = m->remove;
	m->change.n_remove = m->change.delete_item ? 0 : m->n_remove;
	m->change.wake = m->overdue;
	m->change.n_wake = m->n_overdue;
	m->change.wake_ns = now_ns;
	return RT_FLOW_NEXT;
}
