/* Steps of the locate table: where the device was when it sent. */
#include "common/base/err.h"
#include "network-server/flow/up_steps.h"

static void resolved(struct ns_geo_ask *req)
{
	struct ns_up *u = req->owner;
	rt_flow_resume(&u->c.flow, req->err == 0 ? RT_FLOW_NEXT : RT_FLOW_DONE);
}

void up_resolve(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_up *u = (struct ns_up *)(void *)v[i];
		u->geo = (struct ns_geo_ask){.dev_eui = u->dev->dev_eui,
					     .tx_info = u->frame->tx_info,
					     .rx_info = u->rx,
					     .n_rx_info = u->n_rx,
					     .done = resolved,
					     .owner = u};
		common__location__init(&u->geo.location);
		f->ports->geo.resolve(f->ports->geo.self, &u->geo);
	}
}

static void committed(struct ns_change *req)
{
	struct ns_up *u = req->owner;
	rt_flow_resume(&u->c.flow, RT_FLOW_NEXT);
}

void up_commit_location(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_change *req[NS_BATCH];
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_up *u = (struct ns_up *)(void *)v[i];
		Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
		Longwave__Ns__V1__LocationEvent loc = LONGWAVE__NS__V1__LOCATION_EVENT__INIT;
		struct ns_subject s = ns_subject_of(u->dev, u->rc, u->dedup_id, u->up.time_ns);
		loc.location = &u->geo.location;
		loc.method = u->geo.method;
		e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_LOCATION;
		e.location = &loc;
		u->event[0] = ns_event_pack(&u->c.arena, &s, &e);
		u->change = (struct ns_change){.dev_eui = u->dev->dev_eui,
					       .op = NS_SESSION_KEEP,
					       .events = u->event,
					       .n_events = 1,
					       .done = committed,
					       .owner = u};
		req[i] = &u->change;
	}
	f->ports->store.commit(f->ports->store.self, req, n);
}
