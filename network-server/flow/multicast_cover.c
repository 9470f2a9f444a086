/* Steps of the multicast table: which gateways reach the devices of a group whose gateways nobody has chosen, by who
 * heard their last uplinks. Never decides when. */
#include <stdlib.h>

#include "common/base/xmalloc.h"
#include "network-server/flow/multicast_run.h"

#define CHUNK_MEM_MAX (16u << 20)
/* Chunks of devices that are all in memory, before others get their turn. */
#define CHUNKS_AT_ONCE 8

static bool wants_cover(const struct ns_mc_run *m)
{
	return ns_mc_is_open(m) && !m->take.item.planned && m->take.n_gateways == 0;
}

static void devices_read(struct ns_mc_devices *req)
{
	struct ns_mc_run *m = req->owner;
	m->failed = req->err != 0;
	rt_flow_resume(&m->c.flow, RT_FLOW_NEXT);
}

void mc_devices(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_mc_run *m = ns_mc_run_of(v[i]);
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
static void hear(struct ns_mc_run *m, uint32_t device, const struct ns_session *s)
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

static void next_chunks(struct ns_mc_run *m);

static void fetched(struct ns_fetch *req)
{
	struct ns_mc_run *m = req->owner;
	m->failed = m->failed || req->err != 0;
	if (req->err == 0 && req->n > 0 && req->devices[0]->has_session)
		hear(m, (uint32_t)(m->next - NS_MC_CHUNK + (size_t)(req - m->fetch)), &req->devices[0]->session);
	if (--m->open == 0 && !m->going)
		next_chunks(m);
}

/* Some devices at a time: a session is large, and what is wanted of it is small. */
static void next_chunk(struct ns_mc_run *m)
{
	struct ns_flows *f = m->c.f;
	struct ns_fetch *req[NS_MC_CHUNK];
	size_t left = m->devices.n - m->next, n = left < NS_MC_CHUNK ? left : NS_MC_CHUNK;
	lw_arena_reset(&m->chunk);
	for (size_t i = 0; i < n; i++) {
		m->fetch[i] = (struct ns_fetch){
			.dev_eui = m->devices.v[m->next + i], .arena = &m->chunk, .done = fetched, .owner = m};
		req[i] = &m->fetch[i];
	}
	m->open = n;
	m->next += NS_MC_CHUNK;
	f->ports->store.fetch(f->ports->store.self, req, n);
}

/* Devices in memory are answered from inside the question: their chunks go one after the other, not one in the other.
 */
static void next_chunks(struct ns_mc_run *m)
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

void ns_mc_cover_init(struct ns_mc_run *m)
{
	lw_arena_init(&m->chunk, NULL, 0, CHUNK_MEM_MAX);
	rt_timer_init(&m->pause, m->c.f->loop, "multicast devices", on_pause, m);
}

void ns_mc_cover_deinit(struct ns_mc_run *m)
{
	rt_timer_stop(&m->pause);
	lw_arena_deinit(&m->chunk);
	free(m->heard);
}

void mc_receptions(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	(void)flow;
	(void)owner;
	for (size_t i = 0; i < n; i++) {
		struct ns_mc_run *m = ns_mc_run_of(v[i]);
		if (m->devices.n > 0)
			next_chunks(m);
		else
			rt_flow_resume(v[i], RT_FLOW_NEXT);
	}
}

/* What memory has of a gateway may be all that there is, or old: its statistics may go to another network-server. */
static void ask_for(struct ns_mc_run *m, struct lw_map *asked, struct lw_gateway_id *v, struct lw_gateway_id id)
{
	const struct ns_gateway *g = m->c.f->ports->gateways.find(m->c.f->ports->gateways.self, id);
	if (g != NULL && is_heard(m->c.f, g) && g->region_config_id[0] != '\0')
		return;
	if (lw_map_put(asked, lw_gateway_id_u64(id), m) == NULL)
		v[m->refresh.n++] = id;
}

static void refreshed(struct ns_mc_refresh *req)
{
	struct ns_mc_run *m = req->owner;
	rt_flow_resume(&m->c.flow, RT_FLOW_NEXT);
}

static void refresh(struct ns_mc_run *m)
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

void mc_gateways(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	(void)flow;
	(void)owner;
	for (size_t i = 0; i < n; i++) {
		struct ns_mc_run *m = ns_mc_run_of(v[i]);
		if (ns_mc_is_open(m) && !m->failed)
			refresh(m);
		else
			rt_flow_resume(v[i], RT_FLOW_NEXT);
	}
}

/* Of those that hear the devices, the ones that are there themselves. */
static void drop_silent(struct ns_mc_run *m)
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

enum rt_flow_rc mc_cover(struct rt_flow_ctx *flow)
{
	struct ns_mc_run *m = ns_mc_run_of(flow);
	drop_silent(m);
	if (m->failed) {
		ns_mc_wake(m, ns_now(m->c.f) + NS_MC_RETRY_NS);
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
