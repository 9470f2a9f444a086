/* The join: a join-request that has passed the receive table becomes a session; a rejoin-request becomes the offer of
 * one, which the device's first uplink under the new keys takes (TS001-1.1 §6.2.4). */
#include <stdio.h>
#include <string.h>

#include "common/base/err.h"
#include "common/lorawan/mic.h"
#include "network-server/domain/activate.h"
#include "network-server/domain/channels.h"
#include "network-server/domain/mac_down.h"
#include "network-server/flow/internal.h"

static rt_flow_key_fn join_key;
static rt_flow_io_fn join_fetch, join_draw_address, join_ask, join_commit;
static rt_flow_pure_fn join_authorize, join_accept, join_send;

const struct rt_flow_step ns_join_steps[] = {
	{"one_per_device", .key = join_key},
	{"fetch_device", .io = join_fetch},
	{"authorize", .pure = join_authorize},     /* known, enabled, OTAA, gateways it may be heard by */
	{"draw_address", .io = join_draw_address}, /* a DevAddr that nobody has */
	{"ask_join_server", .io = join_ask},
	{"accept", .pure = join_accept}, /* the new session, or the log event that says why not */
	{"commit", .io = join_commit},
	{"send", .pure = join_send}, /* join-accept to a gateway */
};
const size_t ns_join_n_steps = sizeof(ns_join_steps) / sizeof(ns_join_steps[0]);

static struct ns_up *up_of(struct rt_flow_ctx *flow)
{
	return (struct ns_up *)(void *)flow;
}

static bool is_rejoin(const struct ns_up *u)
{
	return u->up.phy.mtype == LW_MTYPE_REJOIN_REQUEST;
}

static struct lw_dev_eui dev_eui_of(const struct ns_up *u)
{
	return is_rejoin(u) ? u->up.phy.u.rejoin.dev_eui : u->up.phy.u.join_request.dev_eui;
}

static bool join_key(const struct rt_flow_ctx *flow, uint64_t *key)
{
	*key = lw_dev_eui_u64(dev_eui_of((const struct ns_up *)(const void *)flow));
	return true;
}

static void fetched(struct ns_fetch *req)
{
	struct ns_up *u = req->owner;
	if (req->err != 0) {
		ns_drop(&u->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE,
			"the database is away: the device could not be read");
		rt_flow_resume(&u->c.flow, RT_FLOW_DROP);
		return;
	}
	rt_flow_resume(&u->c.flow, RT_FLOW_NEXT);
}

static void join_fetch(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_fetch *req[NS_BATCH];
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_up *u = up_of(v[i]);
		u->fetch =
			(struct ns_fetch){.dev_eui = dev_eui_of(u), .arena = &u->c.arena, .done = fetched, .owner = u};
		req[i] = &u->fetch;
	}
	f->ports->store.fetch(f->ports->store.self, req, n);
}

static bool may_hear(const struct ns_up *u, struct lw_gateway_id id)
{
	const struct ns_gateway_port *p = &u->c.f->ports->gateways;
	const struct ns_gateway *g = p->find(p->self, id);
	if (g == NULL)
		return u->c.f->cfg.allow_unknown_gateways;
	return (!g->is_private_up && !u->rc->force_gws_private) || lw_uuid_eq(g->tenant_id, u->dev->tenant_id);
}

static bool signed_with(const struct ns_up *u, const struct lw_key *key)
{
	return lw_mic_eq(lw_mic_plain(u->c.f->kc, key, u->up.phy.msg), u->up.phy.mic);
}

static bool enter(struct ns_up *u, const struct ns_rekey *offer)
{
	struct ns_session next;
	if (!offer->present || strcmp(ns_rekey_region(&u->dev->session, offer), u->rc->id) != 0 ||
	    !signed_with(u, &offer->s_nwk_s_int_key))
		return false;
	ns_session_rekeyed(u->dev, offer, u->rc, &next);
	u->dev->session = next;
	u->has_entered = true;
	lw_wipe(&next, sizeof(next));
	return true;
}

/* The device may be in a session that was offered, and nothing that it said there was heard but this: its key tells. */
static bool enter_offered(struct ns_up *u)
{
	if (enter(u, &u->dev->session.rekey))
		return true;
	for (size_t i = 0; i < NS_OFFERS_BEFORE; i++)
		if (enter(u, &u->dev->session.rekey_before[i]))
			return true;
	return false;
}

/* Types 0 and 2 go to the network that serves the device, which checks them itself; type 1 goes to its join server. */
static enum rt_flow_rc authorize_rejoin(struct ns_up *u)
{
	const struct lw_rejoin_frame *r = &u->up.phy.u.rejoin;
	const struct ns_session *s = &u->dev->session;
	if (u->dev->profile.mac_version < LW_MAC_1_1_0 || (u->dev->has_session && !ns_session_is_11(s)))
		return ns_drop(&u->c, LONGWAVE__V1__REASON__UNSUPPORTED_FRAME_TYPE,
			       "a rejoin-request of a device that is not of 1.1");
	if (r->type == 1)
		return RT_FLOW_NEXT;
	if (!u->dev->has_session)
		return ns_drop(&u->c, LONGWAVE__V1__REASON__NOT_ACTIVATED, "a rejoin-request without a session");
	if (r->netid.v != u->c.f->cfg.netid.v)
		return ns_drop(&u->c, LONGWAVE__V1__REASON__FILTERED, "the rejoin-request is for another network");
	if (!signed_with(u, &s->s_nwk_s_int_key) && !enter_offered(u))
		return ns_drop(&u->c, LONGWAVE__V1__REASON__JOIN_MIC_MISMATCH,
			       "the session's key does not give this MIC");
	if (r->rj_count < s->rj_count0) {
		ns_drop_f(&u->c, LONGWAVE__V1__REASON__DEVNONCE_REUSED,
			  "RJcount0 %u was used before; %u is expected, or a join", (unsigned)r->rj_count,
			  (unsigned)s->rj_count0);
		if (u->in.is_replay)
			u->c.outcome = LONGWAVE__V1__OUTCOME__DUPLICATE;
		return RT_FLOW_DROP;
	}
	return RT_FLOW_NEXT;
}

static enum rt_flow_rc unknown(struct ns_up *u)
{
	char dev[LW_EUI_TEXT];
	char join[LW_EUI_TEXT];
	lw_dev_eui_print(dev_eui_of(u), dev);
	if (is_rejoin(u))
		return ns_drop_f(&u->c, LONGWAVE__V1__REASON__UNKNOWN_DEVICE,
				 "no device has DevEUI %s, which sends a rejoin-request", dev);
	lw_join_eui_print(u->up.phy.u.join_request.join_eui, join);
	return ns_drop_f(&u->c, LONGWAVE__V1__REASON__UNKNOWN_DEVICE,
			 "no device has DevEUI %s (JoinEUI %s): is it added, and the EUI's byte order right?", dev,
			 join);
}

/* A join-request that may have waited, of a device which has a session. A request that was refused or never answered
 * has left its nonce unspent, and the device may have joined with a later one since: answered now, the old one would
 * replace the session that the device uses by one that it will never hear of. A device that still wants to join asks
 * again. */
static enum rt_flow_rc replayed_join(struct ns_up *u)
{
	const struct ns_session *s = &u->dev->session;
	uint16_t nonce = u->up.phy.u.join_request.dev_nonce;
	bool answered = s->dev_nonce == nonce || (s->rekey.type == NS_REKEY_JOIN && s->rekey.dev_nonce == nonce);
	for (size_t i = 0; i < NS_OFFERS_BEFORE; i++)
		answered |= s->rekey_before[i].present && s->rekey_before[i].type == NS_REKEY_JOIN &&
			    s->rekey_before[i].dev_nonce == nonce;
	if (answered)
		ns_drop(&u->c, LONGWAVE__V1__REASON__DEVNONCE_REUSED, "answered before the restart");
	else
		ns_drop(&u->c, LONGWAVE__V1__REASON__LATE_COPY,
			"an earlier join-request once more: the device may have joined since, its session stays");
	u->c.outcome = LONGWAVE__V1__OUTCOME__DUPLICATE;
	return RT_FLOW_DROP;
}

static enum rt_flow_rc join_authorize(struct rt_flow_ctx *flow)
{
	struct ns_up *u = up_of(flow);
	if (u->fetch.n == 0)
		return unknown(u);
	u->dev = u->fetch.devices[0];
	const struct ns_profile *p = &u->dev->profile;
	if (!ns_flood_passes(u, true))
		return RT_FLOW_DROP;
	if (u->dev->is_disabled)
		return ns_drop(&u->c, LONGWAVE__V1__REASON__DEVICE_DISABLED, "the device is disabled: it may not join");
	if (!p->supports_otaa)
		return ns_drop(
			&u->c, LONGWAVE__V1__REASON__OTAA_NOT_SUPPORTED,
			"the device's profile does not support OTAA: it is activated by ABP, and this device joins");
	if (p->region != lw_region_base(u->rc->region) ||
	    (p->region_config_id[0] != '\0' && strcmp(p->region_config_id, u->rc->id) != 0))
		return ns_drop_region(u);
	if (!is_rejoin(u) && u->in.is_replay && u->dev->has_session && u->dev->session.session_key_id_len > 0)
		return replayed_join(u);
	size_t n = 0;
	for (size_t i = 0; i < u->n_rx; i++) {
		if (!may_hear(u, u->rx_gw[i].gateway_id))
			continue;
		if (n != i)
			ns_up_swap(u, n, i);
		n++;
	}
	u->n_hidden = u->n_rx - n;
	u->n_rx = n;
	if (n == 0)
		return ns_drop_f(&u->c, LONGWAVE__V1__REASON__PRIVATE_GATEWAY,
				 "heard only by private gateways of other tenants, %zu of them", u->n_hidden);
	return is_rejoin(u) ? authorize_rejoin(u) : RT_FLOW_NEXT;
}

/* ---- address ---- */

static void addr_checked(struct ns_addr_check *req)
{
	struct ns_up *u = req->owner;
	if (--u->addr_open > 0)
		return;
	bool unavailable = false;
	for (size_t i = 0; i < NS_ADDR_DRAWS; i++) {
		unavailable = unavailable || u->addr[i].err != 0;
		if (u->addr[i].err != 0 || u->addr[i].in_use)
			continue;
		u->ask.devaddr = u->addr[i].addr;
		rt_flow_resume(&u->c.flow, RT_FLOW_NEXT);
		return;
	}
	if (unavailable)
		ns_drop(&u->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE,
			"the database is away: addresses could not be checked");
	else
		ns_drop(&u->c, LONGWAVE__V1__REASON__NO_DEVADDR_LEFT, "every address drawn is in use");
	rt_flow_resume(&u->c.flow, RT_FLOW_DROP);
}

/* A device that has a session from a join keeps its address: the new session waits beside it until the device uses it.
 */
static bool keeps_address(const struct ns_up *u)
{
	if (!u->dev->has_session)
		return false;
	return is_rejoin(u) || (u->dev->session.session_key_id_len > 0 &&
				lw_devaddr_in_prefix(u->dev->session.devaddr, u->c.f->cfg.devaddr_prefix));
}

static void join_draw_address(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_addr_check *req[NS_BATCH * NS_ADDR_DRAWS];
	size_t n_req = 0;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_up *u = up_of(v[i]);
		if (keeps_address(u)) {
			u->ask.devaddr = u->dev->session.devaddr; /* stays */
			rt_flow_resume(v[i], RT_FLOW_NEXT);
			continue;
		}
		u->addr_open = NS_ADDR_DRAWS;
		for (size_t k = 0; k < NS_ADDR_DRAWS; k++) {
			u->addr[k] = (struct ns_addr_check){.addr = ns_random_devaddr(f->cfg.devaddr_prefix, f->rng),
							    .done = addr_checked,
							    .owner = u};
			req[n_req++] = &u->addr[k];
		}
	}
	if (n_req > 0)
		f->ports->store.addr_check(f->ports->store.self, req, n_req);
}

/* ---- join server ---- */

static void asked(struct ns_join_ask *req)
{
	struct ns_up *u = req->owner;
	rt_flow_resume(&u->c.flow, RT_FLOW_NEXT);
}

static struct lw_join_eui join_eui_of(const struct ns_up *u)
{
	if (!is_rejoin(u))
		return u->up.phy.u.join_request.join_eui;
	if (u->up.phy.u.rejoin.type == 1)
		return u->up.phy.u.rejoin.join_eui;
	static const struct lw_join_eui none;
	return memcmp(&u->dev->session.join_eui, &none, sizeof(none)) != 0 ? u->dev->session.join_eui
									   : u->dev->join_eui;
}

static void prepare(struct ns_up *u)
{
	struct lw_plan plan;
	struct lw_cflist list;
	struct ns_join_ask *a = &u->ask;
	a->join_eui = join_eui_of(u);
	a->dev_eui = dev_eui_of(u);
	a->is_rejoin = is_rejoin(u);
	a->rejoin_type = a->is_rejoin ? u->up.phy.u.rejoin.type : 0;
	a->netid = u->c.f->cfg.netid;
	a->mac_version = u->dev->profile.mac_version;
	a->phy = lw_span(u->frame->phy_payload.data, u->frame->phy_payload.len);
	a->dl_settings = lw_dl_settings_encode((struct lw_dl_settings){
		.opt_neg = u->dev->profile.mac_version >= LW_MAC_1_1_0,
		.rx1_dr_offset = u->rc->rx1_dr_offset,
		.rx2_dr = u->rc->rx2_dr,
	});
	a->rx_delay_s = ns_wanted_rx1_delay(u->dev, u->rc);
	ns_region_config_plan(u->rc, &plan);
	a->has_cflist = lw_plan_cflist(&plan, a->mac_version, &list) == 1 && lw_cflist_encode(&list, a->cflist) == 0;
	a->arena = &u->c.arena;
	a->done = asked;
	a->owner = u;
}

static void join_ask(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_join_ask *req[NS_BATCH];
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		prepare(up_of(v[i]));
		req[i] = &up_of(v[i])->ask;
	}
	f->ports->join.ask(f->ports->join.self, req, n);
}

/* ---- session ---- */

static const struct {
	ns_reason reason;
	const char *text; /* NULL: the join server's words */
} REFUSAL[] = {
	[NS_JOIN_MIC] = {LONGWAVE__V1__REASON__JOIN_MIC_MISMATCH, "Invalid MIC"},
	[NS_JOIN_NONCE_REUSED] = {LONGWAVE__V1__REASON__DEVNONCE_REUSED, "DevNonce has already been used"},
	[NS_JOIN_UNKNOWN_DEV] = {LONGWAVE__V1__REASON__JOIN_SERVER_REFUSED, "The join server does not know the device"},
	[NS_JOIN_UNKNOWN_EUI] = {LONGWAVE__V1__REASON__JOIN_EUI_UNKNOWN, "There is no join server for this JoinEUI"},
	[NS_JOIN_REFUSED] = {LONGWAVE__V1__REASON__JOIN_SERVER_REFUSED, NULL},
	[NS_JOIN_UNAVAILABLE] = {LONGWAVE__V1__REASON__JOIN_SERVER_UNAVAILABLE, "The join server did not answer"},
};

/* What helps, beyond what the application is told. */
static void explain(struct ns_up *u, ns_reason reason, const char *text)
{
	char eui[LW_EUI_TEXT];
	char what[40];
	lw_join_eui_print(join_eui_of(u), eui);
	if (is_rejoin(u))
		snprintf(what, sizeof(what), "RJcount%u %u", u->up.phy.u.rejoin.type == 1,
			 (unsigned)u->up.phy.u.rejoin.rj_count);
	else
		snprintf(what, sizeof(what), "DevNonce %u", (unsigned)u->up.phy.u.join_request.dev_nonce);
	switch (reason) {
	case LONGWAVE__V1__REASON__DEVNONCE_REUSED:
		(void)ns_drop_f(&u->c, reason,
				"%s was used before%s: the device was reset or someone repeats its request; flushing "
				"the device's nonces lets it join",
				what,
				!is_rejoin(u) && u->dev->profile.mac_version >= LW_MAC_1_0_4
					? " or does not rise, as it must from LoRaWAN 1.0.4 on"
					: "");
		return;
	case LONGWAVE__V1__REASON__JOIN_MIC_MISMATCH:
		(void)ns_drop_f(&u->c, reason,
				"%s: the root key of the device is not the one in the join server of JoinEUI %s (%s of "
				"LoRaWAN %s)",
				text, eui,
				u->dev->profile.mac_version >= LW_MAC_1_1_0 ? "NwkKey" : "AppKey, field nwkKey,",
				lw_mac_version_text(u->dev->profile.mac_version));
		return;
	case LONGWAVE__V1__REASON__JOIN_EUI_UNKNOWN:
	case LONGWAVE__V1__REASON__JOIN_SERVER_UNAVAILABLE:
	case LONGWAVE__V1__REASON__JOIN_SERVER_REFUSED:
		(void)ns_drop_f(&u->c, reason, "%s (JoinEUI %s, %s)", text, eui, what);
		return;
	default:
		(void)ns_drop(&u->c, reason, text);
		return;
	}
}

/* Not accepted: the reason goes to the application as a log event, then the frame ends. */
static enum rt_flow_rc refused(struct ns_up *u, ns_reason reason, const char *text)
{
	char eui[LW_EUI_TEXT];
	char nonce[8];
	const char *what = is_rejoin(u) ? "rj_count" : "dev_nonce";
	unsigned count = is_rejoin(u) ? u->up.phy.u.rejoin.rj_count : u->up.phy.u.join_request.dev_nonce;
	snprintf(nonce, sizeof(nonce), "%u", count);
	lw_join_eui_print(join_eui_of(u), eui);
	const char *context[] = {"join_eui", eui, what, nonce, "deduplication_id", u->dedup_id, NULL};
	struct ns_subject s = ns_subject_of(u->dev, u->rc, u->dedup_id, u->up.time_ns);
	explain(u, reason, text);
	if (u->in.is_replay && reason == LONGWAVE__V1__REASON__DEVNONCE_REUSED) {
		/* Answered when it came the first time: nobody's fault. */
		u->c.outcome = LONGWAVE__V1__OUTCOME__DUPLICATE;
		return RT_FLOW_DROP;
	}
	u->event[0] = ns_log_event(&u->c.arena, &s, INTEGRATION__LOG_LEVEL__ERROR, INTEGRATION__LOG_CODE__OTAA, text,
				   context);
	u->n_events = 1;
	u->n_queue_ops = 0;
	u->change = (struct ns_change){.op = NS_SESSION_KEEP};
	return RT_FLOW_NEXT;
}

/* False: the answer makes no sense. */
static bool make_offer(const struct ns_up *u, struct ns_rekey *r)
{
	const struct ns_join_ask *a = &u->ask;
	const struct ns_profile *p = &u->dev->profile;
	if ((a->is_rejoin && a->is_10) || a->app_s_key.n > NS_WRAPPED_KEY_MAX ||
	    (a->app_s_key_kek != NULL && strlen(a->app_s_key_kek) >= NS_KEK_LABEL_MAX))
		return false;
	memset(r, 0, sizeof(*r));
	r->present = true;
	r->f_nwk_s_int_key = a->f_nwk_s_int_key;
	r->s_nwk_s_int_key = a->s_nwk_s_int_key;
	r->nwk_s_enc_key = a->nwk_s_enc_key;
	memcpy(r->session_key_id, a->session_key_id, a->session_key_id_len);
	r->session_key_id_len = a->session_key_id_len;
	r->dl_settings = a->dl_settings;
	r->rx_delay_s = a->rx_delay_s;
	r->has_cflist = a->has_cflist;
	memcpy(r->cflist, a->cflist, sizeof(r->cflist));
	r->is_foreign = a->is_foreign;
	if (a->app_s_key_kek != NULL)
		memcpy(r->app_s_key_kek, a->app_s_key_kek, strlen(a->app_s_key_kek));
	r->app_s_key_len = (uint8_t)a->app_s_key.n;
	if (a->app_s_key.n > 0)
		memcpy(r->app_s_key, a->app_s_key.p, a->app_s_key.n);
	r->type = a->is_rejoin && u->dev->has_session ? a->rejoin_type : NS_REKEY_JOIN;
	if (r->type != NS_REKEY_JOIN)
		return true;
	r->join_eui = a->join_eui;
	r->dev_nonce = is_rejoin(u) ? 0 : u->up.phy.u.join_request.dev_nonce;
	r->mac_version = p->mac_version;
	if (a->is_10 && p->mac_version >= LW_MAC_1_1_0)
		r->mac_version = LW_MAC_1_0_3; /* a 1.1 device behind a 1.0 join server */
	strncpy(r->region_config_id, u->rc->id, sizeof(r->region_config_id) - 1);
	r->at_ns = u->up.received_ns;
	return true;
}

/* The session stays until the device uses the new one. */
static void offer_session(struct ns_up *u, const struct ns_rekey *offer)
{
	struct ns_session *s = &u->dev->session;
	ns_session_offer_push(s, offer->type);
	s->rekey = *offer;
	if (is_rejoin(u) && u->ask.rejoin_type != 1)
		s->rj_count0 = u->up.phy.u.rejoin.rj_count + 1u;
}

/* The device as it was: a commit that meets a conflict asks what has changed since. */
static void remember(struct ns_up *u)
{
	struct ns_device *before = LW_ARENA_NEW(&u->c.arena, struct ns_device);
	if (before != NULL)
		*before = *u->dev;
	u->fetch.devices[0] = before;
}

/* As its first uplink would have said: the session is another, what was sent in the old one goes again. */
static void add_entered(struct ns_up *u)
{
	const struct ns_rekey *r = &u->dev->session.rekey;
	struct ns_subject s = ns_subject_of(u->dev, u->rc, u->dedup_id, u->up.time_ns);
	bool flush = u->dev->profile.flush_queue_on_activate && r->type < 2;
	u->queue_op[u->n_queue_ops++] = (struct ns_queue_op){.kind = flush ? NS_QUEUE_FLUSH : NS_QUEUE_RELEASE_ALL};
	if (r->type != NS_REKEY_JOIN) /* of a join it has heard */
		u->event[u->n_events++] = ns_join_event(&u->c.arena, &s, &u->dev->session, r->is_foreign,
							r->app_s_key_kek, lw_span(r->app_s_key, r->app_s_key_len));
}

static void add_join_event(struct ns_up *u, const struct ns_session *session)
{
	const struct ns_join_ask *a = &u->ask;
	struct ns_subject s = ns_subject_of(u->dev, u->rc, u->dedup_id, u->up.time_ns);
	s.enabled_class = session->enabled_class;
	u->event[u->n_events++] =
		ns_join_event(&u->c.arena, &s, session, a->is_foreign, a->app_s_key_kek, a->app_s_key);
}

/* Beside the session that there is. What was sent under that and waits for an acknowledgement stays with it until the
 * device speaks under the new one. */
static void join_offered(struct ns_up *u, const struct ns_rekey *offer)
{
	if (u->has_entered)
		add_entered(u);
	offer_session(u, offer);
	u->is_offer = true;
	if (offer->type != NS_REKEY_JOIN)
		return;
	struct ns_session next;
	ns_flows_address_taken(u->c.f, u->dev->session.devaddr); /* it may be elsewhere by now */
	ns_session_joined(offer, u->dev->session.devaddr, &u->dev->profile, u->rc, &next);
	add_join_event(u, &next);
	if (u->dev->profile.flush_queue_on_activate)
		u->queue_op[u->n_queue_ops++] = (struct ns_queue_op){.kind = NS_QUEUE_FLUSH};
	lw_wipe(&next, sizeof(next));
}

/* There was none, or one that the address does not suit. */
static void join_replaces(struct ns_up *u, const struct ns_rekey *offer)
{
	remember(u);
	ns_session_joined(offer, u->ask.devaddr, &u->dev->profile, u->rc, &u->dev->session);
	ns_flows_address_taken(u->c.f, u->ask.devaddr);
	u->dev->has_session = true;
	add_join_event(u, &u->dev->session);
	u->queue_op[u->n_queue_ops++] = (struct ns_queue_op){
		.kind = u->dev->profile.flush_queue_on_activate ? NS_QUEUE_FLUSH : NS_QUEUE_RELEASE_ALL};
}

static enum rt_flow_rc join_accept(struct rt_flow_ctx *flow)
{
	struct ns_up *u = up_of(flow);
	const struct ns_join_ask *a = &u->ask;
	struct ns_rekey *offer = LW_ARENA_NEW(&u->c.arena, struct ns_rekey);
	if (offer == NULL)
		return ns_drop(&u->c, LONGWAVE__V1__REASON__OVERLOAD, NULL);
	if (a->result != NS_JOIN_OK) {
		const char *text = REFUSAL[a->result].text;
		if (text == NULL)
			text = a->detail[0] != '\0' ? a->detail : "The join server refused";
		return refused(u, REFUSAL[a->result].reason, text);
	}
	if (a->accept.n == 0 || a->accept.n > LW_JOIN_ACCEPT_MAX || a->session_key_id_len > NS_KEY_ID_MAX ||
	    !make_offer(u, offer))
		return refused(u, LONGWAVE__V1__REASON__JOIN_SERVER_REFUSED, "The join server's answer makes no sense");
	u->n_events = 0;
	u->n_queue_ops = 0;
	u->is_offer = false;
	u->offer = offer;
	if (keeps_address(u))
		join_offered(u, offer);
	else
		join_replaces(u, offer);
	u->change = (struct ns_change){.op = NS_SESSION_PUT};
	return RT_FLOW_NEXT;
}

static void committed(struct ns_change *req);

static void commit_one(struct ns_up *u)
{
	struct ns_flows *f = u->c.f;
	struct ns_change *req[] = {&u->change};
	u->change.version = u->dev->version;
	u->change.session = &u->dev->session;
	f->ports->store.commit(f->ports->store.self, req, 1);
}

/* The session that the join replaces has moved on by an uplink or a downlink, which it may; but it must be the same
 * one: another join that came between is the newer. */
static bool is_same_session(const struct ns_device *before, const struct ns_device *now)
{
	return before != NULL && before->has_session == now->has_session &&
	       lw_devaddr_eq(before->session.devaddr, now->session.devaddr) &&
	       before->session.session_key_id_len == now->session.session_key_id_len &&
	       memcmp(before->session.session_key_id, now->session.session_key_id, now->session.session_key_id_len) ==
		       0;
}

/* The session that this rejoin-request is signed in is entered, here or by an uplink meanwhile. */
static bool is_entered(struct ns_up *u)
{
	if (!signed_with(u, &u->dev->session.s_nwk_s_int_key))
		return enter_offered(u);
	u->change.n_events = u->change.n_queue_ops = 0;
	return true;
}

static void fetched_again(struct ns_fetch *req)
{
	struct ns_up *u = req->owner;
	const struct ns_device *before = u->fetch.devices[0];
	struct ns_device *now = req->err == 0 && req->n > 0 ? req->devices[0] : NULL;
	if (req->err != 0) {
		ns_drop(&u->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE, "the device could not be read");
	} else if (now == NULL) {
		ns_drop(&u->c, LONGWAVE__V1__REASON__UNKNOWN_DEVICE, "the device was deleted meanwhile");
	} else if (u->is_offer) { /* made to the session as it is now */
		u->dev = now;
		if (now->has_session && lw_devaddr_eq(now->session.devaddr, u->ask.devaddr) &&
		    (!u->has_entered || is_entered(u))) {
			offer_session(u, u->offer);
			commit_one(u);
			return;
		}
		ns_drop(&u->c, LONGWAVE__V1__REASON__CONFLICT, "the session ended while it joined");
	} else if (is_same_session(before, now)) {
		u->dev->version = now->version;
		commit_one(u);
		return;
	} else {
		ns_drop(&u->c, LONGWAVE__V1__REASON__CONFLICT, "the session was replaced while it joined");
	}
	rt_flow_resume(&u->c.flow, RT_FLOW_DROP);
}

/* The nonce is spent, so asking again would not help: the same session over what is there now. */
static bool commit_again(struct ns_up *u)
{
	struct ns_flows *f = u->c.f;
	struct ns_fetch *again = ++u->c.tries < NS_TRIES ? LW_ARENA_NEW(&u->c.arena, struct ns_fetch) : NULL;
	if (again == NULL)
		return false;
	*again = (struct ns_fetch){.dev_eui = u->dev->dev_eui, .arena = &u->c.arena, .done = fetched_again, .owner = u};
	f->ports->store.fetch(f->ports->store.self, &again, 1);
	return true;
}

static void committed(struct ns_change *req)
{
	struct ns_up *u = req->owner;
	if (req->op == NS_SESSION_KEEP) {
		rt_flow_resume(&u->c.flow, RT_FLOW_DROP); /* reason and detail are set */
		return;
	}
	switch (req->err) {
	case 0:
		rt_flow_resume(&u->c.flow, RT_FLOW_NEXT);
		return;
	case LW_ECONFLICT:
		if (commit_again(u))
			return;
		ns_drop(&u->c, LONGWAVE__V1__REASON__CONFLICT, "the session kept changing while it joined");
		break;
	case LW_ENOTFOUND:
		ns_drop(&u->c, LONGWAVE__V1__REASON__UNKNOWN_DEVICE, "the device was deleted meanwhile");
		break;
	default:
		ns_drop(&u->c, LONGWAVE__V1__REASON__STORAGE_UNAVAILABLE, "the session could not be written");
		break;
	}
	rt_flow_resume(&u->c.flow, RT_FLOW_DROP);
}

static void join_commit(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	struct ns_change *req[NS_BATCH];
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_up *u = up_of(v[i]);
		u->change.dev_eui = u->dev->dev_eui;
		u->change.version = u->dev->version;
		u->change.session = &u->dev->session;
		u->change.queue_ops = u->queue_op;
		u->change.n_queue_ops = u->n_queue_ops;
		u->change.events = u->event;
		u->change.n_events = u->n_events;
		u->change.done = committed;
		u->change.owner = u;
		req[i] = &u->change;
	}
	f->ports->store.commit(f->ports->store.self, req, n);
}

/* ---- join-accept ---- */

static void fill_tx(struct ns_up *u, struct ns_tx *tx)
{
	struct ns_down_window w[2];
	int dr = ns_uplink_dr(&u->up, &u->dev->profile); /* as the device's revision numbers it */
	unsigned up_dr = dr < 0 ? u->up.dr : (unsigned)dr;
	unsigned n_windows = u->ask.is_rejoin ? ns_rejoin_windows(u->dev, u->rc, u->up.hz, up_dr, w)
					      : ns_join_windows(&u->dev->profile, u->rc, u->up.hz, up_dr, w);
	for (unsigned i = 0; i < n_windows; i++) {
		struct ns_down_frame *fr = &tx->frame[tx->n_frames++];
		fr->window = w[i];
		fr->n = (uint8_t)u->ask.accept.n;
		memcpy(fr->phy, u->ask.accept.p, u->ask.accept.n);
	}
	tx->n_gw = ns_plan_gateways(u->c.f, u->dev->tenant_id, &u->up.mod, u->rx_gw, u->n_rx, tx->gw);
}

static enum rt_flow_rc join_send(struct rt_flow_ctx *flow)
{
	struct ns_up *u = up_of(flow);
	struct ns_tx *tx = ns_tx_new(u->c.f);
	tx->is_join = true;
	tx->rc = u->rc;
	tx->dev_eui = u->dev->dev_eui;
	tx->devaddr = u->ask.devaddr;
	tx->enabled_class = u->dev->session.enabled_class;
	tx->uplink_at_ns = u->up.received_ns;
	memcpy(tx->dedup_id, u->dedup_id, sizeof(tx->dedup_id));
	fill_tx(u, tx);
	ns_tx_send(tx, &u->c);
	u->c.outcome = LONGWAVE__V1__OUTCOME__DELIVERED;
	return RT_FLOW_DONE;
}
