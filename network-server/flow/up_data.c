/* Steps of the uplink table: which device, what it says, what follows from it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/lorawan/cipher.h"
#include "network-server/domain/channels.h"
#include "network-server/domain/mac_down.h"
#include "network-server/flow/up_steps.h"

static struct ns_up *up_of(struct rt_flow_ctx *flow)
{
	return (struct ns_up *)(void *)flow;
}

bool up_key(const struct rt_flow_ctx *flow, uint64_t *key)
{
	*key = ((const struct ns_up *)(const void *)flow)->up.phy.u.data.devaddr.v;
	return true;
}

/* ---- fetch ---- */

static void fetched(struct ns_fetch *req)
{
	struct ns_up *u = req->owner;
	if (req->err != 0) {
		ns_drop(&u->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE,
			"the database is away: sessions could not be read");
		rt_flow_resume(&u->c.flow, RT_FLOW_DROP);
		return;
	}
	rt_flow_resume(&u->c.flow, RT_FLOW_NEXT);
}

void up_fetch(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_fetch *req[NS_BATCH];
	size_t n_req = 0;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_up *u = up_of(v[i]);
		if (!ns_hold_passes(u)) {
			ns_drop(&u->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE,
				"an earlier frame of this address waits");
			rt_flow_resume(&u->c.flow, RT_FLOW_DROP);
			continue;
		}
		u->fetch = (struct ns_fetch){.by_devaddr = true,
					     .devaddr = u->up.phy.u.data.devaddr,
					     .arena = &u->c.arena,
					     .done = fetched,
					     .owner = u};
		req[n_req++] = &u->fetch;
	}
	if (n_req > 0)
		f->ports->store.fetch(f->ports->store.self, req, n_req);
}

/* ---- match, authorize ---- */

/* Replicas that were just started serve before they know of each other. */
static bool may_have_others(const struct ns_flows *f)
{
	return f->replicated || f->ports->store.is_shared;
}

/* With replicas what memory has of a session may be old, and an old session can refuse what a new one would take; that
 * nobody has the address may be old, too. What replicas tell each other makes this rare, but can be lost. */
static bool look_again(struct ns_up *u)
{
	struct ns_flows *f = u->c.f;
	bool refused = u->match.kind == NS_MATCH_NO_MIC || u->match.kind == NS_MATCH_REPLAY;
	bool unknown = u->match.kind == NS_MATCH_NO_DEVICE;
	if (!(refused || unknown) || !may_have_others(f) || u->looked_again || f->ports->store.forget == NULL)
		return false;
	if ((unknown || !f->replicated) && !ns_may_look(f, &f->device_looks))
		return false;
	u->looked_again = true;
	f->ports->store.forget(f->ports->store.self, u->up.phy.u.data.devaddr);
	return true;
}

enum rt_flow_rc up_match(struct rt_flow_ctx *flow)
{
	struct ns_up *u = up_of(flow);
	u->match = ns_match(u->c.f->kc, &u->up, u->fetch.devices, u->fetch.n);
	u->dev = u->match.dev;
	u->up.f_cnt = u->match.f_cnt;
	/* Where counters are not checked they still tell what was here before. */
	if (u->in.is_replay && u->match.kind == NS_MATCH_NEW && u->dev->session.has_uplink && !u->match.rekeyed &&
	    u->match.f_cnt < u->dev->session.f_cnt_up)
		u->match.kind = NS_MATCH_REPLAY;
	if (look_again(u))
		return RT_FLOW_AGAIN;
	if (u->match.kind == NS_MATCH_REPLAY && (u->in.is_replay || may_have_others(u->c.f)) && !u->match.rekeyed &&
	    ns_uplink_is_gap(&u->dev->session, u->match.f_cnt))
		u->match.kind = NS_MATCH_LATE;
	switch (u->match.kind) {
	case NS_MATCH_NO_DEVICE:
		return ns_drop_no_device(u);
	case NS_MATCH_NO_MIC:
		return ns_drop_no_mic(u);
	case NS_MATCH_OTHER_REGION:
		return ns_drop_region(u);
	case NS_MATCH_RETRANSMISSION:
	case NS_MATCH_REPLAY:
	case NS_MATCH_LATE:
	case NS_MATCH_NEW:
		break;
	}
	return RT_FLOW_NEXT;
}

static bool may_hear(const struct ns_up *u, struct lw_gateway_id id)
{
	const struct ns_gateway_port *p = &u->c.f->ports->gateways;
	const struct ns_gateway *g = p->find(p->self, id);
	if (g == NULL)
		return u->c.f->cfg.allow_unknown_gateways;
	if (!g->is_private_up && !u->rc->force_gws_private)
		return true;
	return lw_uuid_eq(g->tenant_id, u->dev->tenant_id);
}

void ns_up_swap(struct ns_up *u, size_t a, size_t b)
{
	struct ns_rx_gateway gw = u->rx_gw[a];
	Gw__UplinkRxInfo *rx = u->rx[a];
	u->rx_gw[a] = u->rx_gw[b];
	u->rx[a] = u->rx[b];
	u->rx_gw[b] = gw;
	u->rx[b] = rx;
}

/* Leaves only what this device's tenant may hear; the others go behind. */
static void filter_receptions(struct ns_up *u)
{
	size_t n = 0;
	u->up.n_gateways = 0;
	for (size_t i = 0; i < u->n_rx; i++) {
		if (!may_hear(u, u->rx_gw[i].gateway_id))
			continue;
		if (n != i)
			ns_up_swap(u, n, i);
		bool first = true;
		for (size_t k = 0; k < n; k++)
			first = first && !lw_gateway_id_eq(u->rx_gw[k].gateway_id, u->rx_gw[n].gateway_id);
		u->up.n_gateways += first;
		n++;
	}
	u->n_hidden = u->n_rx - n;
	u->n_rx = n;
	u->up.rx = u->rx_gw;
	u->up.n_rx = (unsigned)n;
	u->up.best_snr_ddb = n > 0 ? u->rx_gw[0].snr_ddb : 0;
	u->up.best_rssi_dbm = INT16_MIN;
	for (size_t i = 0; i < n; i++)
		if (u->rx_gw[i].rssi_dbm > u->up.best_rssi_dbm)
			u->up.best_rssi_dbm = u->rx_gw[i].rssi_dbm;
}

enum rt_flow_rc up_authorize(struct rt_flow_ctx *flow)
{
	struct ns_up *u = up_of(flow);
	if (u->dev->is_disabled)
		return ns_drop(&u->c, LONGWAVE__V1__REASON__DEVICE_DISABLED,
			       "the device is disabled: nothing of it is passed on or answered");
	if (!ns_flood_passes(u, false))
		return RT_FLOW_DROP;
	if (u->dev->profile.region != lw_region_base(u->rc->region))
		return ns_drop_region(u);
	filter_receptions(u);
	if (u->n_rx == 0)
		return ns_drop_f(&u->c, LONGWAVE__V1__REASON__PRIVATE_GATEWAY,
				 "heard only by private gateways of other tenants, %zu of them", u->n_hidden);
	u->retransmission = u->match.kind == NS_MATCH_RETRANSMISSION;
	return RT_FLOW_NEXT;
}

/* ---- queue ---- */

static void queue_fetched(struct ns_queue_fetch *req)
{
	struct ns_up *u = req->owner;
	if (req->err != 0) {
		ns_drop(&u->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE,
			"the database is away: the queue could not be read");
		rt_flow_resume(&u->c.flow, RT_FLOW_DROP);
		return;
	}
	u->n_queued = req->total;
	rt_flow_resume(&u->c.flow, RT_FLOW_NEXT);
}

void up_fetch_queue(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_queue_fetch *req[NS_BATCH];
	size_t n_req = 0;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_up *u = up_of(v[i]);
		u->n_queued = 0;
		u->queue = (struct ns_queue_fetch){.dev_eui = u->dev->dev_eui,
						   .max = NS_QUEUE_LOOK,
						   .arena = &u->c.arena,
						   .done = queue_fetched,
						   .owner = u};
		if (u->dev->may_have_queue && u->match.kind == NS_MATCH_NEW)
			req[n_req++] = &u->queue;
		else
			rt_flow_resume(v[i], RT_FLOW_NEXT);
	}
	if (n_req > 0)
		f->ports->store.queue_head(f->ports->store.self, req, n_req);
}

/* ---- content ---- */

static bool repeated(const struct ns_up *u)
{
	return u->match.kind != NS_MATCH_NEW && u->match.kind != NS_MATCH_LATE;
}

enum rt_flow_rc up_decrypt(struct rt_flow_ctx *flow)
{
	struct ns_up *u = up_of(flow);
	const struct ns_session *s = &u->dev->session;
	struct lw_data_frame *d = &u->up.phy.u.data;
	struct lw_keycache *kc = u->c.f->kc;
	uint8_t *p;
	u->mac_commands = lw_span(NULL, 0);
	if (d->fport == 0 && d->frm.n > 0) {
		p = lw_arena_alloc(&u->c.arena, d->frm.n);
		if (p == NULL)
			return ns_drop(&u->c, LONGWAVE__V1__REASON__OVERLOAD, NULL);
		lw_cipher_frm(kc, &s->nwk_s_enc_key, LW_UP, s->devaddr, u->up.f_cnt, d->frm.p, d->frm.n, p);
		u->mac_commands = lw_span(p, d->frm.n);
	} else if (d->fopts.n > 0 && ns_session_is_11(s)) {
		p = lw_arena_alloc(&u->c.arena, d->fopts.n);
		if (p == NULL)
			return ns_drop(&u->c, LONGWAVE__V1__REASON__OVERLOAD, NULL);
		lw_cipher_fopts(kc, &s->nwk_s_enc_key, LW_UP, LW_FOPTS_FCNT, s->devaddr, u->up.f_cnt, d->fopts.p,
				d->fopts.n, p);
		u->mac_commands = lw_span(p, d->fopts.n);
	} else {
		u->mac_commands = d->fopts;
	}
	return RT_FLOW_NEXT;
}

/* A device that changed its rate without being told has its power at the default again. Before its MAC commands are
 * read: an answer to LinkADRReq says what the new rate is due to. */
enum rt_flow_rc up_data_rate(struct rt_flow_ctx *flow)
{
	struct ns_up *u = up_of(flow);
	struct ns_session *s = &u->dev->session;
	int dr = ns_uplink_dr(&u->up, &u->dev->profile);
	if (dr >= 0)
		u->up.dr = (uint8_t)dr;
	if (u->match.kind == NS_MATCH_REPLAY || u->match.kind == NS_MATCH_LATE || s->dr == u->up.dr)
		return RT_FLOW_NEXT;
	s->dr = u->up.dr;
	s->tx_power_index = 0;
	s->n_adr_history = 0;
	return RT_FLOW_NEXT;
}

/* The device is not what its profile says. */
static void note_class(struct ns_up *u, enum lw_class before)
{
	const struct ns_device *dev = u->dev;
	if (dev->session.enabled_class != before && dev->session.enabled_class == LW_CLASS_C &&
	    !dev->profile.supports_class_c)
		ns_note(&u->c, "mac_commands", "the device says that it is of class C, its profile does not have it");
	if (u->up.phy.u.data.fctrl.class_b && !dev->profile.supports_class_b)
		ns_note(&u->c, "mac_commands",
			"the device listens in ping slots (class B), its profile does not have it: nothing is sent "
			"then");
}

enum rt_flow_rc up_mac_commands(struct rt_flow_ctx *flow)
{
	struct ns_up *u = up_of(flow);
	memset(&u->mac, 0, sizeof(u->mac));
	if (repeated(u) || u->match.kind == NS_MATCH_LATE || u->c.f->cfg.mac_commands_disabled ||
	    u->rc->mac_commands_disabled)
		return RT_FLOW_NEXT;
	u->mac.up = &u->up;
	u->mac.profile = &u->dev->profile;
	u->mac.s = &u->dev->session;
	u->dev->session.adr = u->up.phy.u.data.fctrl.adr;
	ns_channels_heard(u->rc, &u->dev->session, u->up.hz, u->up.dr, u->up.phy.u.data.fctrl.adr_ack_req);
	enum lw_class class_before = u->dev->session.enabled_class;
	ns_mac_up(&u->mac, u->mac_commands);
	note_class(u, class_before);
	ns_session_pending_tick(&u->dev->session);
	if (u->mac.unknown_cid != 0)
		snprintf(u->c.detail, sizeof(u->c.detail), "MAC command 0x%02x is unknown, the rest was not read",
			 (unsigned)u->mac.unknown_cid);
	return RT_FLOW_NEXT;
}

static void add_history(struct ns_up *u)
{
	struct ns_session *s = &u->dev->session;
	if (s->n_adr_history == NS_ADR_HISTORY) {
		memmove(s->adr_history, s->adr_history + 1, (NS_ADR_HISTORY - 1) * sizeof(s->adr_history[0]));
		s->n_adr_history--;
	}
	if (s->n_adr_history > 0 && s->adr_history[s->n_adr_history - 1].f_cnt == u->up.f_cnt)
		return;
	s->adr_history[s->n_adr_history++] = (struct ns_adr_entry){
		.f_cnt = u->up.f_cnt,
		.max_snr_ddb = u->up.best_snr_ddb,
		.max_rssi_dbm = u->up.best_rssi_dbm,
		.tx_power_index = s->tx_power_index,
		.gateway_count = (uint8_t)(u->up.n_gateways > 255 ? 255 : u->up.n_gateways),
	};
}

/* The receptions through which an answer can go; one entry per gateway, the strongest. */
static void remember_receptions(struct ns_up *u)
{
	struct ns_session *s = &u->dev->session;
	s->n_rx = 0;
	for (size_t i = 0; i < u->n_rx && s->n_rx < NS_RX_GATEWAYS; i++) {
		bool known = false;
		for (size_t k = 0; k < s->n_rx; k++)
			known = known || lw_gateway_id_eq(s->rx[k].gateway_id, u->rx_gw[i].gateway_id);
		if (!known)
			s->rx[s->n_rx++] = u->rx_gw[i];
	}
	s->last_uplink_at_ns = u->up.received_ns;
	s->last_uplink_hz = u->up.hz;
	s->answered = false;
}

enum rt_flow_rc up_adapt(struct rt_flow_ctx *flow)
{
	struct ns_up *u = up_of(flow);
	struct ns_session *s = &u->dev->session;
	const struct lw_data_frame *d = &u->up.phy.u.data;
	if (u->match.kind == NS_MATCH_REPLAY)
		return RT_FLOW_NEXT;
	/* The device has gone on since: it is the application's, and nothing of it is answered or obeyed. */
	u->lost = 0;
	if (u->match.kind == NS_MATCH_LATE) {
		u->lost = -1;
		ns_uplink_count(s, u->up.f_cnt);
		return RT_FLOW_NEXT;
	}
	remember_receptions(u);
	if (u->retransmission)
		return RT_FLOW_NEXT;
	s->adr = d->fctrl.adr;
	if (s->has_uplink && u->up.f_cnt > s->f_cnt_up) {
		u->lost = u->up.f_cnt - s->f_cnt_up;
		ns_note(&u->c, "adapt", "%" PRIu32 " frame%s missing before this one (FCnt %" PRIu32 " to %" PRIu32 ")",
			u->up.f_cnt - s->f_cnt_up, u->up.f_cnt - s->f_cnt_up == 1 ? "" : "s", s->f_cnt_up,
			u->up.f_cnt - 1);
	}
	ns_uplink_count(s, u->up.f_cnt);
	s->has_uplink = true;
	s->last_uplink_confirmed = u->up.phy.mtype == LW_MTYPE_CONFIRMED_UP;
	add_history(u);
	return RT_FLOW_NEXT;
}

/* ---- confirmed downlinks ---- */

static struct ns_subject subject(const struct ns_up *u)
{
	return ns_subject_of(u->dev, u->rc, u->dedup_id, u->up.time_ns);
}

static void add_event(struct ns_up *u, struct ns_event e)
{
	if (u->n_events < sizeof(u->event) / sizeof(u->event[0]) && e.packed.n > 0)
		u->event[u->n_events++] = e;
}

static void resolve_item(struct ns_up *u, struct ns_queue_item *item, bool acknowledged)
{
	struct ns_subject s = subject(u);
	add_event(u, ns_ack_event(&u->c.arena, &s, item->id, acknowledged, item->f_cnt_down));
	u->queue_op[u->n_queue_ops++] = (struct ns_queue_op){.kind = NS_QUEUE_DELETE, .id = item->id};
	u->n_queued--;
	if (!acknowledged)
		ns_note(&u->c, "acknowledge", "the confirmed downlink with FCnt %" PRIu32 " was not acknowledged",
			item->f_cnt_down);
}

/* The item left for its gateway, which has not answered yet, after this uplink came: an acknowledgement of 1.0 does not
 * tell of what, and this one is of an item before, given up meanwhile. */
static bool left_after(const struct ns_up *u, const struct ns_queue_item *item)
{
	const struct ns_flows *f = u->c.f;
	const struct ns_tx *tx = lw_map_find(&f->tx_by_device, lw_dev_eui_u64(u->dev->dev_eui));
	if (item->state != NS_ITEM_SENT || tx == NULL || !tx->has_item || !lw_uuid_eq(tx->item_id, item->id))
		return false;
	return rt_loop_mono_ns(f->loop) - tx->sent_mono_ns < ns_now(f) - u->up.received_ns;
}

/* Item by item: acknowledged, not acknowledged, still waiting, or free to be sent. Leaves in queue.items those that can
 * be sent. */
enum rt_flow_rc up_acknowledge(struct rt_flow_ctx *flow)
{
	struct ns_up *u = up_of(flow);
	bool ack = u->up.phy.u.data.fctrl.ack;
	size_t n = 0;
	u->n_events = 0;
	u->n_queue_ops = 0;
	if (u->match.rekeyed) {
		/* What was sent in the old session goes again in the new one. */
		uint8_t type = u->dev->session.rekey.type;
		/* A join has flushed when it was accepted; what came since is for this session. */
		bool flush = u->dev->profile.flush_queue_on_activate && type != 2 && type != NS_REKEY_JOIN;
		u->queue_op[u->n_queue_ops++] =
			(struct ns_queue_op){.kind = flush ? NS_QUEUE_FLUSH : NS_QUEUE_RELEASE_ALL};
		for (size_t i = 0; i < u->queue.n; i++)
			u->queue.items[i].state = NS_ITEM_QUEUED;
		if (flush)
			u->n_queued = u->queue.n = 0;
		return RT_FLOW_NEXT;
	}
	for (size_t i = 0; i < u->queue.n; i++) {
		struct ns_queue_item *item = &u->queue.items[i];
		if (item->confirmed && item->state != NS_ITEM_QUEUED && ack &&
		    item->f_cnt_down == u->match.conf_f_cnt && !left_after(u, item)) {
			resolve_item(u, item, true);
			continue;
		}
		if (item->state == NS_ITEM_PENDING) {
			if (item->timeout_after_ns == 0 ||
			    ns_item_timed_out(u->dev, item, u->up.received_ns, ns_now(u->c.f)))
				resolve_item(u, item, false);
			else
				u->n_queued--;
			continue;
		}
		u->queue.items[n++] = *item;
	}
	u->queue.n = n;
	return RT_FLOW_NEXT;
}

/* ---- events ---- */

static void put_first(struct ns_up *u, struct ns_event e)
{
	const size_t max = sizeof(u->event) / sizeof(u->event[0]);
	memmove(u->event + 1, u->event, (max - 1) * sizeof(u->event[0]));
	u->event[0] = e;
	if (u->n_events < max)
		u->n_events++;
}

static void compose_uplink(struct ns_up *u)
{
	Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
	Longwave__Ns__V1__UplinkEvent up = LONGWAVE__NS__V1__UPLINK_EVENT__INIT;
	const struct lw_data_frame *d = &u->up.phy.u.data;
	struct ns_session *s = &u->dev->session;
	struct ns_subject subj = subject(u);
	up.adr = d->fctrl.adr;
	up.dr = u->up.dr;
	up.f_cnt = u->up.f_cnt;
	up.confirmed = u->up.phy.mtype == LW_MTYPE_CONFIRMED_UP;
	if (d->fport > 0) {
		up.f_port = (uint32_t)d->fport;
		up.frm_payload.data = (uint8_t *)(uintptr_t)d->frm.p;
		up.frm_payload.len = d->frm.n;
	}
	up.rx_info = u->rx;
	up.n_rx_info = u->n_rx;
	up.tx_info = u->frame->tx_info;
	up.session_key_id.data = s->session_key_id;
	up.session_key_id.len = s->session_key_id_len;
	e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_UPLINK;
	e.uplink = &up;
	/* First of all events of this frame: an acknowledgement follows the uplink that carried it. */
	put_first(u, ns_event_pack(&u->c.arena, &subj, &e));
}

/* The session that a rejoin-accept offered has begun. */
static void compose_rekeyed(struct ns_up *u)
{
	struct ns_subject s = subject(u);
	const struct ns_rekey *r = &u->dev->session.rekey;
	put_first(u, ns_join_event(&u->c.arena, &s, &u->dev->session, r->is_foreign, r->app_s_key_kek,
				   lw_span(r->app_s_key, r->app_s_key_len)));
}

static void compose_status(struct ns_up *u)
{
	Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
	Longwave__Ns__V1__StatusEvent st = LONGWAVE__NS__V1__STATUS_EVENT__INIT;
	struct ns_subject s = subject(u);
	st.margin = u->mac.margin_db;
	st.battery = u->mac.battery;
	e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_STATUS;
	e.status = &st;
	add_event(u, ns_event_pack(&u->c.arena, &s, &e));
}

static void compose_mac_commands(struct ns_up *u)
{
	Longwave__Ns__V1__Event e = LONGWAVE__NS__V1__EVENT__INIT;
	Longwave__Ns__V1__MacCommandsEvent m = LONGWAVE__NS__V1__MAC_COMMANDS_EVENT__INIT;
	struct ns_subject s = subject(u);
	m.commands.data = u->mac.foreign;
	m.commands.len = u->mac.n_foreign;
	e.kind_case = LONGWAVE__NS__V1__EVENT__KIND_MAC_COMMANDS;
	e.mac_commands = &m;
	add_event(u, ns_event_pack(&u->c.arena, &s, &e));
}

/* Items whose encryption no longer fits are asked for with the uplink, so that the answer may still catch its windows.
 */
static void compose_reencrypt(struct ns_up *u)
{
	struct ns_queue_item *stale = LW_ARENA_ARRAY(&u->c.arena, struct ns_queue_item, u->queue.n + 1);
	size_t n = 0;
	for (size_t i = 0; stale != NULL && i < u->queue.n; i++) {
		unsigned index;
		uint32_t f_cnt;
		if (ns_item_fit(&u->dev->session, &u->queue.items[i], &index, &f_cnt) == NS_FIT_STALE)
			stale[n++] = u->queue.items[i];
	}
	if (n == 0)
		return;
	ns_note(&u->c, "compose", "%zu queue item%s to be encrypted anew: the next downlink counter is %" PRIu32, n,
		n == 1 ? " has" : "s have", ns_session_next_f_cnt_down(&u->dev->session, true));
	struct ns_subject s = subject(u);
	add_event(u, ns_reencrypt_event(&u->c.arena, &s, &u->dev->session, stale, n));
}

static void compose_repeated(struct ns_up *u)
{
	struct ns_subject s = subject(u);
	char f_cnt[12];
	snprintf(f_cnt, sizeof(f_cnt), "%u", u->up.f_cnt);
	const char *context[] = {"deduplication_id", u->dedup_id, "f_cnt_up", f_cnt, NULL};
	if (u->retransmission)
		add_event(u, ns_log_event(&u->c.arena, &s, INTEGRATION__LOG_LEVEL__WARNING,
					  INTEGRATION__LOG_CODE__UPLINK_F_CNT_RETRANSMISSION,
					  "Uplink was flagged as re-transmission / frame-counter did not increment",
					  context));
	else
		add_event(u, ns_log_event(&u->c.arena, &s, INTEGRATION__LOG_LEVEL__WARNING,
					  INTEGRATION__LOG_CODE__UPLINK_F_CNT_RESET,
					  "Frame-counter reset or rollover detected", context));
}

enum rt_flow_rc up_compose(struct rt_flow_ctx *flow)
{
	struct ns_up *u = up_of(flow);
	if (u->in.is_replay && repeated(u)) {
		/* It came from the journal after a restart and had been taken before. */
		ns_drop(&u->c, LONGWAVE__V1__REASON__FCNT_RETRANSMISSION, "taken before the restart");
		u->c.outcome = LONGWAVE__V1__OUTCOME__DUPLICATE;
		return RT_FLOW_DROP;
	}
	if (repeated(u)) {
		compose_repeated(u);
		return RT_FLOW_NEXT;
	}
	compose_uplink(u);
	if (u->match.rekeyed && u->dev->session.rekey.type != NS_REKEY_JOIN)
		compose_rekeyed(u); /* of a join it has heard when that was accepted */
	if (u->mac.has_status)
		compose_status(u);
	if (u->mac.n_foreign > 0)
		compose_mac_commands(u);
	compose_reencrypt(u);
	return RT_FLOW_NEXT;
}

/* ---- commit ---- */

static void committed(struct ns_change *req)
{
	struct ns_up *u = req->owner;
	if (req->err == 0) {
		rt_flow_resume(&u->c.flow, RT_FLOW_NEXT);
		return;
	}
	if ((req->err == LW_ECONFLICT || req->err == LW_EUNAVAILABLE) && ++u->c.tries < NS_TRIES) {
		/* Someone else changed the session meanwhile, or nobody knows whether it was written: once more with
		 * what is there now, before the address's next frame, whose higher counter would shut this one out. */
		rt_flow_resume(&u->c.flow, RT_FLOW_AGAIN);
		return;
	}
	if (req->err == LW_ECONFLICT)
		ns_drop(&u->c, LONGWAVE__V1__REASON__CONFLICT, "the session kept changing");
	else if (req->err == LW_ENOTFOUND)
		ns_drop(&u->c, LONGWAVE__V1__REASON__UNKNOWN_DEVICE, "the device was deleted meanwhile");
	else
		ns_drop(&u->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE,
			"the database is away: the session could not be written");
	rt_flow_resume(&u->c.flow, RT_FLOW_DROP);
}

void up_commit(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_change *req[NS_BATCH];
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_up *u = up_of(v[i]);
		u->change = (struct ns_change){
			.dev_eui = u->dev->dev_eui,
			.op = u->match.kind == NS_MATCH_REPLAY ? NS_SESSION_KEEP : NS_SESSION_PUT,
			.version = u->dev->version,
			.session = &u->dev->session,
			.queue_ops = u->queue_op,
			.n_queue_ops = u->n_queue_ops,
			.events = u->event,
			.n_events = u->n_events,
			.done = committed,
			.owner = u,
		};
		req[i] = &u->change;
	}
	f->ports->store.commit(f->ports->store.self, req, n);
}

/* ---- answer ---- */

enum rt_flow_rc up_answer(struct rt_flow_ctx *flow)
{
	struct ns_up *u = up_of(flow);
	if (u->match.kind == NS_MATCH_REPLAY)
		return ns_drop_replay(u);
	if (u->match.kind == NS_MATCH_LATE) {
		u->c.outcome = LONGWAVE__V1__OUTCOME__DELIVERED;
		return RT_FLOW_DONE;
	}
	ns_windows_learn(u);
	ns_answer_uplink(u);
	if (u->retransmission) {
		ns_drop_f(&u->c, LONGWAVE__V1__REASON__FCNT_RETRANSMISSION,
			  "FCnt %" PRIu32 ", the last one, again: it is answered again, not passed on again",
			  u->up.f_cnt);
		u->c.outcome = LONGWAVE__V1__OUTCOME__DUPLICATE;
		return RT_FLOW_DROP;
	}
	u->c.outcome = LONGWAVE__V1__OUTCOME__DELIVERED;
	ns_flood_count(u);
	if (u->dev->profile.wants_position && u->c.f->ports->geo.self != NULL)
		u->next = NS_UP_LOCATE;
	return RT_FLOW_DONE;
}
