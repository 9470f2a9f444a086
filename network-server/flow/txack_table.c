/* A gateway's answer to a downlink: transmitted, or refused; what that means for counter, queue and application. */
#include <string.h>

#include "common/base/err.h"
#include "network-server/flow/internal.h"

static rt_flow_pure_fn ack_decode, ack_find, ack_read, ack_elsewhere, ack_settle;
static rt_flow_key_fn ack_key;
static rt_flow_io_fn ack_fetch, ack_commit;

const struct rt_flow_step ns_tx_ack_steps[] = {
	{"decode", .pure = ack_decode},       {"find", .pure = ack_find}, /* the downlink that it answers */
	{"read", .pure = ack_read},                                       /* which item was taken, or why none */
	{"elsewhere", .pure = ack_elsewhere}, /* refused: another gateway, while there is time */
	{"one_per_device", .key = ack_key},   {"fetch_device", .io = ack_fetch}, /* refused: the counter goes back */
	{"settle", .pure = ack_settle},       {"commit", .io = ack_commit},
};
const size_t ns_tx_ack_n_steps = sizeof(ns_tx_ack_steps) / sizeof(ns_tx_ack_steps[0]);

static struct ns_ack *ack_of(struct rt_flow_ctx *flow)
{
	return (struct ns_ack *)(void *)flow;
}

static enum rt_flow_rc ack_decode(struct rt_flow_ctx *flow)
{
	struct ns_ack *a = ack_of(flow);
	ProtobufCMessage *m = NULL;
	if (a->tx != NULL)
		return RT_FLOW_NEXT; /* no gateway could be asked */
	if (ns_decode(&a->c, &gw__downlink_tx_ack__descriptor, a->payload, &m) != 0)
		return ns_drop(&a->c, LONGWAVE__V1__REASON__MALFORMED, NULL);
	a->msg = (Gw__DownlinkTxAck *)(void *)m;
	return RT_FLOW_NEXT;
}

static enum rt_flow_rc ack_find(struct rt_flow_ctx *flow)
{
	struct ns_ack *a = ack_of(flow);
	struct lw_gateway_id id;
	if (a->tx != NULL)
		return RT_FLOW_NEXT;
	struct ns_tx *tx = lw_map_find(&a->c.f->tx, a->msg->downlink_id);
	/* Answered before, given up, or another replica's. */
	if (tx == NULL && a->c.f->replicated) {
		a->c.outcome = LONGWAVE__V1__OUTCOME__PENDING;
		return RT_FLOW_DONE;
	}
	if (tx == NULL)
		return ns_drop(&a->c, LONGWAVE__V1__REASON__CONFLICT, "no downlink waits for this answer");
	if (lw_gateway_id_parse(&id, a->msg->gateway_id) != 0 || !lw_gateway_id_eq(id, tx->gw[tx->cur].rx.gateway_id))
		return ns_drop(&a->c, LONGWAVE__V1__REASON__UNKNOWN_GATEWAY, "the answer comes from another gateway");
	if (a->msg->n_items == 0 || a->msg->n_items > tx->n_offered)
		return ns_drop(&a->c, LONGWAVE__V1__REASON__MALFORMED, "more or fewer items than were offered");
	ns_tx_take(tx);
	a->tx = tx;
	return RT_FLOW_NEXT;
}

static ns_reason reason_of(Gw__TxAckStatus status)
{
	switch (status) {
	case GW__TX_ACK_STATUS__TOO_LATE:
		return LONGWAVE__V1__REASON__TOO_LATE;
	case GW__TX_ACK_STATUS__TOO_EARLY:
		return LONGWAVE__V1__REASON__TOO_EARLY;
	case GW__TX_ACK_STATUS__COLLISION_PACKET:
		return LONGWAVE__V1__REASON__COLLISION_PACKET;
	case GW__TX_ACK_STATUS__COLLISION_BEACON:
		return LONGWAVE__V1__REASON__COLLISION_BEACON;
	case GW__TX_ACK_STATUS__TX_FREQ:
		return LONGWAVE__V1__REASON__TX_FREQ;
	case GW__TX_ACK_STATUS__TX_POWER:
		return LONGWAVE__V1__REASON__TX_POWER;
	case GW__TX_ACK_STATUS__GPS_UNLOCKED:
		return LONGWAVE__V1__REASON__GPS_UNLOCKED;
	case GW__TX_ACK_STATUS__QUEUE_FULL:
		return LONGWAVE__V1__REASON__QUEUE_FULL;
	case GW__TX_ACK_STATUS__DUTY_CYCLE_OVERFLOW:
		return LONGWAVE__V1__REASON__DUTY_CYCLE_OVERFLOW;
	default:
		return LONGWAVE__V1__REASON__INTERNAL_ERROR;
	}
}

/* The first OK counts; else the last item's status is the error. */
static enum rt_flow_rc ack_read(struct rt_flow_ctx *flow)
{
	struct ns_ack *a = ack_of(flow);
	struct ns_tx *tx = a->tx;
	a->taken = -1;
	if (a->msg == NULL)
		return RT_FLOW_NEXT;
	for (size_t i = 0; i < a->msg->n_items; i++) {
		Gw__TxAckStatus status = a->msg->items[i]->status;
		tx->gw[tx->cur].answer[tx->offered[i]] = (uint8_t)(1 + (unsigned)status % 32);
		if (status == GW__TX_ACK_STATUS__OK) {
			a->taken = tx->offered[i];
			break;
		}
		if (status != GW__TX_ACK_STATUS__IGNORED || i + 1 == a->msg->n_items)
			tx->last_error = reason_of(status);
	}
	ns_plan_answered(tx, a->taken);
	return RT_FLOW_NEXT;
}

static enum rt_flow_rc ack_elsewhere(struct rt_flow_ctx *flow)
{
	struct ns_ack *a = ack_of(flow);
	struct ns_tx *tx = a->tx;
	if (a->taken >= 0 || a->msg == NULL)
		return RT_FLOW_NEXT;
	ns_reason refused = tx->last_error;
	if (!ns_tx_send_elsewhere(tx))
		return RT_FLOW_NEXT;
	ns_record_tx(tx, &a->c, LONGWAVE__V1__OUTCOME__PENDING, LONGWAVE__V1__REASON__REASON_NONE, -1, NULL);
	a->tx = NULL; /* it waits for the next answer */
	return ns_drop(&a->c, refused, "refused, offered elsewhere");
}

static bool ack_key(const struct rt_flow_ctx *flow, uint64_t *key)
{
	const struct ns_tx *tx = ((const struct ns_ack *)(const void *)flow)->tx;
	if (tx->is_proprietary)
		return false;
	*key = tx->is_multicast ? lw_uuid_hash(tx->group_id) : lw_dev_eui_u64(tx->dev_eui);
	return true;
}

static void fetched(struct ns_fetch *req)
{
	struct ns_ack *a = req->owner;
	if (req->err == 0 && req->n > 0) {
		a->dev = req->devices[0];
		rt_flow_resume(&a->c.flow, RT_FLOW_NEXT);
		return;
	}
	/* Then the counter stays used, which is always safe. */
	rt_flow_resume(&a->c.flow, RT_FLOW_NEXT);
}

static void ack_fetch(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_fetch *req[NS_BATCH];
	size_t n_req = 0;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_ack *a = ack_of(v[i]);
		a->dev = NULL;
		a->fetch =
			(struct ns_fetch){.dev_eui = a->tx->dev_eui, .arena = &a->c.arena, .done = fetched, .owner = a};
		if (a->taken < 0 && !a->tx->is_join && !a->tx->is_multicast && !a->tx->is_proprietary)
			req[n_req++] = &a->fetch;
		else
			rt_flow_resume(v[i], RT_FLOW_NEXT);
	}
	if (n_req > 0)
		f->ports->store.fetch(f->ports->store.self, req, n_req);
}

static struct ns_subject subject(const struct ns_ack *a)
{
	const struct ns_tx *tx = a->tx;
	return (struct ns_subject){.dev_eui = tx->dev_eui,
				   .devaddr = tx->devaddr,
				   .has_devaddr = true,
				   .enabled_class = tx->enabled_class,
				   .rc = tx->rc,
				   .dedup_id = tx->dedup_id,
				   .time_ns = ns_now(a->c.f)};
}

static void tx_ack_event(struct ns_ack *a)
{
	const struct ns_tx *tx = a->tx;
	char item[LW_UUID_TEXT];
	char gw[LW_EUI_TEXT];
	struct ns_subject s = subject(a);
	Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
	Longwave__Ns__V1__TxAckEvent t = LONGWAVE__NS__V1__TX_ACK_EVENT__INIT;
	t.downlink_id = tx->downlink_id;
	t.queue_item_id = lw_uuid_print(tx->item_id, item);
	t.f_cnt_down = tx->frame[a->taken].f_cnt;
	t.gateway_id = lw_gateway_id_print(tx->gw[tx->cur].rx.gateway_id, gw);
	t.tx_info = ns_tx_info(&a->c.arena, &tx->frame[a->taken].window, &tx->gw[tx->cur].rx);
	e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_TX_ACK;
	e.tx_ack = &t;
	a->event[a->n_events++] = ns_event_pack(&a->c.arena, &s, &e);
}

static void settle_taken(struct ns_ack *a)
{
	const struct ns_tx *tx = a->tx;
	a->change = (struct ns_change){.dev_eui = tx->dev_eui, .op = NS_SESSION_KEEP};
	if (!tx->has_item)
		return;
	a->change.queue_ops = &a->queue_op;
	a->change.n_queue_ops = 1;
	a->queue_op = (struct ns_queue_op){.kind = NS_QUEUE_DELETE, .id = tx->item_id};
	if (!tx->frame[a->taken].carries_item) {
		/* The frame of this window had no room for it. */
		a->queue_op.kind = NS_QUEUE_MARK;
		a->queue_op.state = NS_ITEM_QUEUED;
		return;
	}
	tx_ack_event(a);
	if (tx->item_confirmed) {
		a->queue_op.kind = NS_QUEUE_MARK;
		a->queue_op.state = NS_ITEM_PENDING;
		a->queue_op.f_cnt_down = tx->frame[a->taken].f_cnt;
		a->queue_op.timeout_after_ns = tx->item_timeout_ns != 0 ? ns_now(a->c.f) + tx->item_timeout_ns : 0;
	}
}

static void settle_refused(struct ns_ack *a)
{
	const struct ns_tx *tx = a->tx;
	if (tx->is_proprietary) { /* the gateway's log has it */
		a->change = (struct ns_change){.op = NS_SESSION_KEEP};
		return;
	}
	struct ns_subject s = subject(a);
	const ProtobufCEnumValue *v =
		protobuf_c_enum_descriptor_get_value(&longwave__v1__reason__descriptor, (int)tx->last_error);
	a->change = (struct ns_change){.dev_eui = tx->dev_eui, .op = NS_SESSION_KEEP};
	a->event[a->n_events++] =
		ns_log_event(&a->c.arena, &s, INTEGRATION__LOG_LEVEL__ERROR, INTEGRATION__LOG_CODE__DOWNLINK_GATEWAY,
			     v != NULL ? v->name : "INTERNAL_ERROR", NULL);
	if (tx->has_item) {
		a->queue_op = (struct ns_queue_op){.kind = NS_QUEUE_MARK, .id = tx->item_id, .state = NS_ITEM_QUEUED};
		a->change.queue_ops = &a->queue_op;
		a->change.n_queue_ops = 1;
	}
	struct ns_device *dev = a->dev;
	if (tx->maybe_sent)
		return;
	/* Only in the same session: after a join the old counters mean nothing. */
	if (tx->is_join || dev == NULL || !dev->has_session || !lw_devaddr_eq(dev->session.devaddr, tx->devaddr) ||
	    dev->session.session_key_id_len != tx->session_key_id_len ||
	    memcmp(dev->session.session_key_id, tx->session_key_id, tx->session_key_id_len) != 0)
		return;
	if (!ns_down_return(&dev->session, tx->frame, tx->n_frames))
		return;
	(void)ns_session_mac_enqueue(&dev->session, lw_span(tx->mac_queue, tx->mac_queue_len), true);
	ns_session_pending_refused(&dev->session, tx->mac_request, tx->n_mac_requests);
	dev->session.dev_status_req_at_ns = tx->dev_status_req_at_ns;
	if (dev->session.last_uplink_at_ns == tx->uplink_at_ns)
		dev->session.answered = false;
	a->change.op = NS_SESSION_PUT;
	a->change.version = dev->version;
	a->change.session = &dev->session;
}

static enum rt_flow_rc ack_settle(struct rt_flow_ctx *flow)
{
	struct ns_ack *a = ack_of(flow);
	a->n_events = 0;
	if (a->tx->is_multicast) {
		a->c.outcome = LONGWAVE__V1__OUTCOME__DELIVERED;
		if (a->taken < 0)
			ns_drop_refused(&a->c, a->tx);
		ns_multicast_settle(a->tx, a->taken >= 0, &a->multicast);
		return RT_FLOW_NEXT;
	}
	if (a->taken >= 0) {
		a->c.outcome = LONGWAVE__V1__OUTCOME__DELIVERED;
		settle_taken(a);
	} else {
		ns_drop_refused(&a->c, a->tx);
		settle_refused(a);
	}
	return RT_FLOW_NEXT;
}

static void committed(struct ns_change *req)
{
	struct ns_ack *a = req->owner;
	if (req->err == LW_ECONFLICT && ++a->c.tries < NS_TRIES) {
		/* From the top with the session as it is now; the tx is still ours. */
		struct ns_flows *f = a->c.f;
		struct ns_ack *again = ns_ack_new(f);
		again->tx = a->tx;
		again->c.tries = a->c.tries;
		a->tx = NULL;
		rt_flow_enter(f->tx_ack, &again->c.flow);
	}
	rt_flow_resume(&a->c.flow, RT_FLOW_DONE);
}

/* When it cannot be written, the copy stays, and goes again. */
static void multicast_committed(struct ns_mc_change *req)
{
	struct ns_ack *a = req->owner;
	rt_flow_resume(&a->c.flow, RT_FLOW_DONE);
}

static void commit_multicast(struct ns_ack *a)
{
	const struct ns_multicast_port *p = &a->c.f->ports->multicast;
	struct ns_mc_change *req[1] = {&a->multicast.change};
	req[0]->done = multicast_committed;
	req[0]->owner = a;
	p->commit(p->self, req, 1);
}

static void ack_commit(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_change *req[NS_BATCH];
	size_t n_req = 0;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_ack *a = ack_of(v[i]);
		a->change.events = a->event;
		a->change.n_events = a->n_events;
		a->change.done = committed;
		a->change.owner = a;
		if (a->tx->is_multicast)
			commit_multicast(a);
		else if (a->n_events > 0 || a->change.n_queue_ops > 0 || a->change.op != NS_SESSION_KEEP)
			req[n_req++] = &a->change;
		else
			rt_flow_resume(v[i], RT_FLOW_DONE);
	}
	if (n_req > 0)
		f->ports->store.commit(f->ports->store.self, req, n_req);
}

void ns_ack_ended(void *owner, struct rt_flow_ctx *flow, enum rt_flow_rc rc)
{
	struct ns_flows *f = owner;
	struct ns_ack *a = ack_of(flow);
	struct ns_tx *tx = a->tx;
	(void)rc;
	if (tx != NULL && !f->closing) {
		ns_record_tx(tx, &a->c, a->c.outcome, a->c.reason, a->taken,
			     a->c.detail[0] != '\0' ? a->c.detail : NULL);
		ns_count_tx(tx, a->c.outcome, a->c.reason, a->taken);
		f->ports->log.outcome(f->ports->log.self, "downlink", a->c.outcome, a->c.reason);
		/* Class B and C need not wait for an uplink. */
		if (a->taken >= 0 && tx->enabled_class != LW_CLASS_A)
			ns_down_try(f, tx->dev_eui);
		if (a->taken >= 0 && tx->item_confirmed && tx->item_timeout_ns != 0)
			ns_down_try_later(f, tx->dev_eui, (uint32_t)(tx->item_timeout_ns / LW_NS_PER_MS) + 1, 0);
		if (tx->is_multicast)
			ns_multicast_answered(tx);
		else if (a->taken < 0)
			ns_down_failed(tx);
	}
	if (!f->closing)
		f->ports->log.outcome(f->ports->log.self, "tx_ack", a->c.outcome, a->c.reason);
	if (tx != NULL)
		ns_tx_free(tx);
	ns_ctx_free(&a->c);
}
