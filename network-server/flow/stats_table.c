/* A gateway's statistics: it is alive, where it stands, what it counted. */
#include <string.h>

#include "common/base/err.h"
#include "network-server/flow/internal.h"

static rt_flow_pure_fn stats_decode, stats_seen, stats_compose;
static rt_flow_io_fn stats_look, stats_commit;

const struct rt_flow_step ns_stats_steps[] = {
	{"decode", .pure = stats_decode},
	{"look_up", .io = stats_look}, /* at the database, for a gateway that memory does not have */
	{"seen", .pure = stats_seen},  /* last seen, position, what it counted */
	{"compose", .pure = stats_compose},
	{"commit", .io = stats_commit},
};
const size_t ns_stats_n_steps = sizeof(ns_stats_steps) / sizeof(ns_stats_steps[0]);

static enum rt_flow_rc stats_decode(struct rt_flow_ctx *flow)
{
	struct ns_stats *st = (struct ns_stats *)(void *)flow;
	ProtobufCMessage *m = NULL;
	if (ns_decode(&st->c, &gw__gateway_stats__descriptor, st->payload, &m) != 0)
		return ns_drop(&st->c, LONGWAVE__V1__REASON__MALFORMED, NULL);
	st->msg = (Gw__GatewayStats *)(void *)m;
	if (lw_gateway_id_parse(&st->gateway_id, st->msg->gateway_id) != 0)
		return ns_drop(&st->c, LONGWAVE__V1__REASON__MALFORMED, NULL);
	return RT_FLOW_NEXT;
}

/* Without the database it is as unknown as it was. */
static void looked(struct ns_gateway_look *req)
{
	struct ns_stats *st = req->owner;
	rt_flow_resume(&st->c.flow, RT_FLOW_NEXT);
}

static void stats_look(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_gateway_look *req[NS_BATCH];
	size_t n_req = 0;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_stats *st = (struct ns_stats *)(void *)v[i];
		if (!ns_wants_look(f, st->gateway_id)) {
			rt_flow_resume(v[i], RT_FLOW_NEXT);
			continue;
		}
		st->look = (struct ns_gateway_look){.id = st->gateway_id, .done = looked, .owner = st};
		req[n_req++] = &st->look;
	}
	if (n_req > 0)
		f->ports->gateways.look(f->ports->gateways.self, req, n_req);
}

static enum rt_flow_rc stats_seen(struct rt_flow_ctx *flow)
{
	struct ns_stats *st = (struct ns_stats *)(void *)flow;
	const struct ns_gateway_port *p = &st->c.f->ports->gateways;
	const Common__Location *loc = st->msg->location;
	struct lw_gateway_id id = st->gateway_id;
	if (p->find(p->self, id) == NULL)
		return ns_drop(&st->c, LONGWAVE__V1__REASON__UNKNOWN_GATEWAY, NULL);
	if (loc != NULL && loc->latitude == 0 && loc->longitude == 0 && loc->altitude == 0)
		loc = NULL;
	p->seen(p->self, id, st->in.received_at_ns, loc);
	p->region(p->self, id, st->in.region->id);
	ns_count_stats(st);
	return RT_FLOW_NEXT;
}

static void metadata_put(struct lw_arena *a, Gw__GatewayStats *m, const char *key, const char *value)
{
	for (size_t i = 0; i < m->n_metadata; i++)
		if (strcmp(m->metadata[i]->key, key) == 0) {
			m->metadata[i]->value = (char *)(uintptr_t)value;
			return;
		}
	Gw__GatewayStats__MetadataEntry **v = LW_ARENA_ARRAY(a, Gw__GatewayStats__MetadataEntry *, m->n_metadata + 1);
	Gw__GatewayStats__MetadataEntry *e = LW_ARENA_NEW(a, Gw__GatewayStats__MetadataEntry);
	if (v == NULL || e == NULL)
		return;
	gw__gateway_stats__metadata_entry__init(e);
	e->key = (char *)(uintptr_t)key;
	e->value = (char *)(uintptr_t)value;
	if (m->n_metadata > 0)
		memcpy(v, m->metadata, m->n_metadata * sizeof(v[0]));
	v[m->n_metadata++] = e;
	m->metadata = v;
}

static enum rt_flow_rc stats_compose(struct rt_flow_ctx *flow)
{
	struct ns_stats *st = (struct ns_stats *)(void *)flow;
	Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
	Longwave__Ns__V1__GatewayStatsEvent gs = LONGWAVE__NS__V1__GATEWAY_STATS_EVENT__INIT;
	struct ns_subject s = {.rc = st->in.region, .time_ns = st->in.received_at_ns};
	metadata_put(&st->c.arena, st->msg, "region_config_id", st->in.region->id);
	metadata_put(&st->c.arena, st->msg, "region_common_name", st->in.region->common_name);
	gs.stats = st->msg;
	e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_GATEWAY_STATS;
	e.gateway_stats = &gs;
	st->event = ns_event_pack(&st->c.arena, &s, &e);
	return RT_FLOW_NEXT;
}

static void committed(struct ns_change *req)
{
	struct ns_stats *st = req->owner;
	if (req->err == 0) {
		rt_flow_resume(&st->c.flow, RT_FLOW_NEXT);
		return;
	}
	ns_drop(&st->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE, NULL);
	rt_flow_resume(&st->c.flow, RT_FLOW_DROP);
}

static void stats_commit(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_change *req[NS_BATCH];
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_stats *st = (struct ns_stats *)(void *)v[i];
		st->change = (struct ns_change){
			.op = NS_SESSION_KEEP, .events = &st->event, .n_events = 1, .done = committed, .owner = st};
		req[i] = &st->change;
	}
	f->ports->store.commit(f->ports->store.self, req, n);
}
