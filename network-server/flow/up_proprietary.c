/* Frames of the proprietary type: nobody's session, passed on as they are. */
#include <string.h>

#include "network-server/flow/up_steps.h"

static void passed_on(struct ns_change *req)
{
	struct ns_up *u = req->owner;
	if (req->err == 0) {
		u->c.outcome = LONGWAVE__V1__OUTCOME__DELIVERED;
		rt_flow_resume(&u->c.flow, RT_FLOW_DONE);
		return;
	}
	ns_drop(&u->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE, "the event could not be written");
	rt_flow_resume(&u->c.flow, RT_FLOW_DROP);
}

static struct ns_event compose(struct ns_up *u)
{
	Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
	Longwave__Ns__V1__ProprietaryEvent p = LONGWAVE__NS__V1__PROPRIETARY_EVENT__INIT;
	struct ns_subject s = {.rc = u->rc, .dedup_id = u->dedup_id, .time_ns = u->up.time_ns};
	struct lw_span body = u->up.phy.u.proprietary;
	size_t mic = body.n >= LW_MIC_LEN ? LW_MIC_LEN : 0;
	p.mac_payload.data = (uint8_t *)(uintptr_t)body.p;
	p.mac_payload.len = body.n - mic;
	p.mic.data = (uint8_t *)(uintptr_t)body.p + (body.n - mic);
	p.mic.len = mic;
	p.rx_info = u->rx;
	p.n_rx_info = u->n_rx;
	p.tx_info = u->frame->tx_info;
	e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_PROPRIETARY;
	e.proprietary = &p;
	return ns_event_pack(&u->c.arena, &s, &e);
}

void up_pass_on(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_change *req[NS_BATCH];
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_up *u = (struct ns_up *)(void *)v[i];
		u->event[0] = compose(u);
		u->change = (struct ns_change){.op = NS_SESSION_KEEP,
					       .events = u->event,
					       .n_events = u->event[0].packed.n > 0,
					       .done = passed_on,
					       .owner = u};
		req[i] = &u->change;
	}
	f->ports->store.commit(f->ports->store.self, req, n);
}
