/* Why something was dropped, or sent as it was, in words for a person who has to mend it: the cause with its figures.
 * Decides nothing. Nothing in here runs for an uplink that is delivered as usual. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/lorawan/airtime.h"
#include "common/lorawan/mic.h"
#include "network-server/domain/channels.h"
#include "network-server/flow/internal.h"

/* A counter that begins anew is found this near to zero. */
#define FIRST_COUNTERS 16u
#define NAMED 3 /* of many devices or gateways, so many are named in one line */

void ns_note(struct ns_ctx *c, const char *step, const char *fmt, ...)
{
	char text[200];
	va_list ap;
	unsigned i = 0;
	/* A frame that takes a step again says it again. */
	while (i < c->n_notes && strcmp(c->note[i].step, step) != 0)
		i++;
	if (i == NS_NOTES)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	const char *copy = lw_arena_strdup(&c->arena, text);
	if (copy == NULL)
		return;
	c->note[i].step = step;
	c->note[i].text = copy;
	c->n_notes += i == c->n_notes;
}

enum rt_flow_rc ns_drop_f(struct ns_ctx *c, ns_reason reason, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(c->detail, sizeof(c->detail), fmt, ap);
	va_end(ap);
	return ns_drop(c, reason, NULL);
}

/* ---- uplinks ----------------------------------------------------------------------------------------------------- */

enum rt_flow_rc ns_drop_no_device(struct ns_up *u)
{
	const struct ns_flow_config *cfg = &u->c.f->cfg;
	struct lw_devaddr a = u->up.phy.u.data.devaddr;
	char addr[LW_DEVADDR_TEXT];
	lw_devaddr_print(a, addr);
	if (lw_devaddr_in_prefix(a, cfg->devaddr_prefix) || lw_devaddr_in_netid(a, cfg->netid))
		return ns_drop_f(&u->c, LONGWAVE__V1__REASON__UNKNOWN_DEVICE,
				 "no session has DevAddr %s, which is one of ours: its device was deleted, has joined "
				 "again since, or was never activated here",
				 addr);
	return ns_drop_f(&u->c, LONGWAVE__V1__REASON__UNKNOWN_DEVICE,
			 "no session has DevAddr %s, which is of another network (NetID type %d, NwkID %" PRIu32 ")",
			 addr, lw_devaddr_netid_type(a), lw_devaddr_nwkid(a));
}

/* The lower half of a 1.1 MIC is the upper one that the same key gives a 1.0 frame (TS001-1.1 §4.4.2). */
static bool looks_like_11(struct ns_up *u, const struct ns_session *s)
{
	const struct lw_data_frame *d = &u->up.phy.u.data;
	struct lw_mic m = lw_mic_data_10(u->c.f->kc, &s->f_nwk_s_int_key, LW_UP, d->devaddr,
					 lw_fcnt_full(s->f_cnt_up, d->fcnt), u->up.phy.msg);
	return !ns_session_is_11(s) && memcmp(u->up.phy.mic.b + 2, m.b, 2) == 0;
}

static enum rt_flow_rc one_candidate(struct ns_up *u, const struct ns_device *dev, const char *addr)
{
	const struct ns_session *s = &dev->session;
	char eui[LW_EUI_TEXT];
	lw_dev_eui_print(dev->dev_eui, eui);
	if (looks_like_11(u, s))
		return ns_drop_f(
			&u->c, LONGWAVE__V1__REASON__MIC_MISMATCH,
			"the frame is of LoRaWAN 1.1, the session of device %s (DevAddr %s) of %s: its profile "
			"has the wrong MAC version",
			eui, addr, lw_mac_version_text(s->mac_version));
	int dr = ns_uplink_dr(&u->up, &dev->profile);
	if (ns_session_is_11(s) && (dr < 0 || ns_channels_index(u->rc, s, u->up.hz, dr < 0 ? 0 : (unsigned)dr) < 0))
		return ns_drop_f(&u->c, LONGWAVE__V1__REASON__MIC_MISMATCH,
				 "%.3f MHz is no channel that device %s (DevAddr %s) has, so that no MIC of 1.1 can be "
				 "right",
				 u->up.hz / 1e6, eui, addr);
	return ns_drop_f(
		&u->c, LONGWAVE__V1__REASON__MIC_MISMATCH,
		"the keys of the one session with DevAddr %s, of device %s, do not give this MIC: the device has "
		"other keys (has it joined elsewhere?), or a counter far from %" PRIu32 " (it says %u)",
		addr, eui, s->f_cnt_up, (unsigned)u->up.phy.u.data.fcnt);
}

enum rt_flow_rc ns_drop_no_mic(struct ns_up *u)
{
	char addr[LW_DEVADDR_TEXT];
	char names[NAMED * (LW_EUI_TEXT + 2) + 8] = "";
	size_t n = 0, at = 0;
	lw_devaddr_print(u->up.phy.u.data.devaddr, addr);
	const struct ns_device *only = NULL;
	for (size_t i = 0; i < u->fetch.n; i++) {
		const struct ns_device *dev = u->fetch.devices[i];
		char eui[LW_EUI_TEXT];
		if (!dev->has_session || !lw_devaddr_eq(dev->session.devaddr, u->up.phy.u.data.devaddr))
			continue;
		only = dev;
		if (n++ < NAMED)
			at += (size_t)snprintf(names + at, sizeof(names) - at, "%s%s", n > 1 ? ", " : "",
					       lw_dev_eui_print(dev->dev_eui, eui));
	}
	if (n == 1)
		return one_candidate(u, only, addr);
	return ns_drop_f(&u->c, LONGWAVE__V1__REASON__MIC_MISMATCH,
			 "%zu sessions have DevAddr %s (of devices %s%s), no key of theirs gives this MIC", n, addr,
			 names, n > NAMED ? " …" : "");
}

enum rt_flow_rc ns_drop_replay(struct ns_up *u)
{
	uint32_t expected = u->dev->session.f_cnt_up;
	if (u->up.f_cnt < FIRST_COUNTERS && expected > 2 * FIRST_COUNTERS)
		return ns_drop_f(&u->c, LONGWAVE__V1__REASON__FCNT_REPLAY,
				 "FCnt %" PRIu32 " was used before; %" PRIu32
				 " is expected: the device's counter began anew, it was reset and did not join",
				 u->up.f_cnt, expected);
	return ns_drop_f(&u->c, LONGWAVE__V1__REASON__FCNT_REPLAY,
			 "FCnt %" PRIu32 " was used before; %" PRIu32
			 " is expected: the device was reset, its session is older, or someone repeats its frames",
			 u->up.f_cnt, expected);
}

static const char *region_name(enum lw_region_id id)
{
	const struct lw_region *r = lw_region_by_id(id);
	return r != NULL ? r->name : "an unknown region";
}

static const char *unless_enabled(const struct ns_flows *f, const char *region_config_id)
{
	return ns_region_of(f, region_config_id) ? "" : ", which is not enabled on this server";
}

enum rt_flow_rc ns_drop_region(struct ns_up *u)
{
	const struct ns_profile *p = &u->dev->profile;
	char eui[LW_EUI_TEXT];
	lw_dev_eui_print(u->dev->dev_eui, eui);
	if (p->region != lw_region_base(u->rc->region))
		return ns_drop_f(&u->c, LONGWAVE__V1__REASON__WRONG_REGION,
				 "the profile of device %s is for %s, the frame came through %s (%s)", eui,
				 region_name(p->region), u->rc->id, region_name(u->rc->region));
	if (lw_mtype_is_data_up(u->up.phy.mtype))
		return ns_drop_f(
			&u->c, LONGWAVE__V1__REASON__WRONG_REGION,
			"the session of device %s belongs to region configuration %s%s; the frame came through %s", eui,
			u->dev->session.region_config_id, unless_enabled(u->c.f, u->dev->session.region_config_id),
			u->rc->id);
	return ns_drop_f(&u->c, LONGWAVE__V1__REASON__WRONG_REGION,
			 "the profile of device %s is for region configuration %s only%s; the frame came through %s",
			 eui, p->region_config_id, unless_enabled(u->c.f, p->region_config_id), u->rc->id);
}

/* ---- downlinks --------------------------------------------------------------------------------------------------- */

const char *ns_window_name(const struct ns_down_window *w)
{
	if (w->immediately)
		return "at once";
	return w->rx == 1 ? "RX1" : w->rx == 2 ? "RX2" : "ping slot";
}

static const char *status_text(unsigned status)
{
	switch ((Gw__TxAckStatus)status) {
	case GW__TX_ACK_STATUS__OK:
		return "taken";
	case GW__TX_ACK_STATUS__IGNORED:
		return "not looked at";
	case GW__TX_ACK_STATUS__TOO_LATE:
		return "refused: too late";
	case GW__TX_ACK_STATUS__TOO_EARLY:
		return "refused: too early";
	case GW__TX_ACK_STATUS__COLLISION_PACKET:
		return "refused: it sends another frame then";
	case GW__TX_ACK_STATUS__COLLISION_BEACON:
		return "refused: it sends a beacon then";
	case GW__TX_ACK_STATUS__TX_FREQ:
		return "refused: it cannot send on this frequency";
	case GW__TX_ACK_STATUS__TX_POWER:
		return "refused: it cannot send with this power";
	case GW__TX_ACK_STATUS__GPS_UNLOCKED:
		return "refused: it has no GPS time";
	case GW__TX_ACK_STATUS__QUEUE_FULL:
		return "refused: its queue is full";
	case GW__TX_ACK_STATUS__DUTY_CYCLE_OVERFLOW:
		return "refused: its duty cycle is used up";
	default:
		return "refused: an error of its own";
	}
}

/* NULL: none has come. Items behind one that is taken are not looked at. */
static const char *answer_text(const struct ns_tx_gateway *g, unsigned frame)
{
	bool other = false;
	for (unsigned i = 0; i < 2; i++)
		other = other || (i != frame && g->answer[i] == 1 + GW__TX_ACK_STATUS__OK);
	if (other && g->offered & 1u << frame && g->answer[frame] <= 1 + GW__TX_ACK_STATUS__IGNORED)
		return "not needed";
	if (g->answer[frame] != 0)
		return status_text(g->answer[frame] - 1u);
	return g->is_silent && g->offered & 1u << frame ? "no answer" : NULL;
}

enum ns_plan_rank ns_tx_rank(const struct ns_tx *tx)
{
	if (tx->is_proprietary)
		return NS_PLAN_DATA;
	return tx->is_join ? NS_PLAN_JOIN : tx->ack || !tx->has_item ? NS_PLAN_ACK : NS_PLAN_DATA;
}

struct ns_looked_at ns_tx_looked_at(const struct ns_tx *tx)
{
	return (struct ns_looked_at){.f = tx->f,
				     .rc = tx->rc,
				     .rank = ns_tx_rank(tx),
				     .frame = tx->frame,
				     .n_frames = tx->n_frames,
				     .gw = tx->gw,
				     .n_gw = tx->n_gw,
				     .plan = &tx->plan,
				     .cur = tx->n_offers > 0 ? (int)tx->cur : -1};
}

struct ns_looked_at ns_down_looked_at(const struct ns_down *d)
{
	return (struct ns_looked_at){.f = d->c.f,
				     .rc = d->rc,
				     .rank = d->rank,
				     .frame = d->out->frame,
				     .n_frames = d->out->n_frames,
				     .gw = d->gw,
				     .n_gw = d->n_gw,
				     .plan = d->plan,
				     .cur = -1};
}

/* "duty cycle used up: 868.0 to 868.6 MHz, 32.1 of 36.0 s of the hour". */
static const char *duty_text(const struct ns_looked_at *q, unsigned gw, unsigned frame, char *out, size_t cap)
{
	const struct ns_timeline *t = ns_plan_timeline(q->f, q->gw[gw].rx.gateway_id);
	const struct lw_sub_band *b = lw_region_sub_band(lw_region_by_id(q->rc->region), q->frame[frame].window.hz);
	if (t == NULL || b == NULL)
		return ns_plan_why_text(NS_PLAN_DUTY_CYCLE);
	double allowed_s = NS_DUTY_WINDOW_S * b->duty_permille / 1e3 * ns_plan_rank_percent(q->rank) / 100;
	snprintf(out, cap, "%s (%.1f to %.1f MHz: %.1f of %.1f s within the hour)",
		 ns_plan_why_text(NS_PLAN_DUTY_CYCLE), b->min_hz / 1e6, b->max_hz / 1e6,
		 (double)ns_timeline_used_us(t, b) / 1e6, allowed_s);
	return out;
}

static const char *verdict_text(const struct ns_looked_at *q, unsigned gw, unsigned frame, char *out, size_t cap)
{
	const struct ns_tx_gateway *g = &q->gw[gw];
	enum ns_plan_why why = q->plan->why[gw][frame];
	if (g->is_silent)
		return "it did not answer in time";
	if (g->answer[frame] > 1 + GW__TX_ACK_STATUS__OK)
		return status_text(g->answer[frame] - 1u);
	if (why == NS_PLAN_DUTY_CYCLE)
		return duty_text(q, gw, frame, out, cap);
	if (why == NS_PLAN_FREE && g->offer == 0 && q->n_gw > 1 &&
	    g->margin_ddb < q->rc->gateway_prefer_min_margin_db * 10)
		return "free, less margin";
	return ns_plan_why_text(why);
}

struct line {
	char text[800];
	size_t n;
};

static void __attribute__((format(printf, 2, 3))) say(struct line *l, const char *fmt, ...)
{
	va_list ap;
	if (l->n + 1 >= sizeof(l->text))
		return;
	va_start(ap, fmt);
	int n = vsnprintf(l->text + l->n, sizeof(l->text) - l->n, fmt, ap);
	va_end(ap);
	l->n += n > 0 ? (size_t)n : 0;
	if (l->n >= sizeof(l->text))
		l->n = sizeof(l->text) - 1;
}

/* "0102030405060701 (13.5 dB): RX1 refused: too late, RX2 taken". */
static void say_gateway(struct line *l, const struct ns_looked_at *q, unsigned gw)
{
	const struct ns_tx_gateway *g = &q->gw[gw];
	char id[LW_EUI_TEXT];
	bool all_free = g->offer == 0;
	for (unsigned w = 0; w < q->n_frames; w++)
		all_free = all_free && q->plan->why[gw][w] == NS_PLAN_FREE;
	say(l, "%s%s", l->n > 0 ? "; " : "", lw_gateway_id_print(g->rx.gateway_id, id));
	if (g->margin_ddb != NS_MARGIN_UNKNOWN)
		say(l, " (%.1f dB)", g->margin_ddb / 10.0);
	if (all_free) {
		say(l, g->margin_ddb < q->rc->gateway_prefer_min_margin_db * 10 ? " has less margin" : " is free, too");
		return;
	}
	for (unsigned w = 0; w < q->n_frames; w++) {
		char text[128];
		const char *name = ns_window_name(&q->frame[w].window);
		if (answer_text(g, w) != NULL)
			say(l, "%s %s %s", w > 0 ? "," : ":", name, answer_text(g, w));
		else if (g->offered & 1u << w && q->plan->why[gw][w] == NS_PLAN_FREE)
			say(l, "%s %s asked", w > 0 ? "," : ":", name);
		else
			say(l, "%s %s %s%s", w > 0 ? "," : ":", name, g->offered & 1u << w ? "asked, though " : "",
			    verdict_text(q, gw, w, text, sizeof(text)));
	}
}

static Longwave__Ns__V1__Considered *considered(struct lw_arena *a, const struct ns_looked_at *q, unsigned gw)
{
	const struct ns_tx_gateway *g = &q->gw[gw];
	char id[LW_EUI_TEXT];
	Longwave__Ns__V1__Considered *out = LW_ARENA_NEW(a, Longwave__Ns__V1__Considered);
	if (out == NULL)
		return NULL;
	longwave__ns__v1__considered__init(out);
	out->gateway_id = lw_arena_strdup(a, lw_gateway_id_print(g->rx.gateway_id, id));
	out->margin_ddb = g->margin_ddb != NS_MARGIN_UNKNOWN ? g->margin_ddb : 0;
	out->chosen = q->cur == (int)gw;
	out->offer = g->offer;
	out->verdicts = LW_ARENA_ARRAY(a, Longwave__Ns__V1__Considered__Verdict *, q->n_frames);
	for (unsigned w = 0; out->verdicts != NULL && w < q->n_frames; w++) {
		char text[128];
		Longwave__Ns__V1__Considered__Verdict *v = LW_ARENA_NEW(a, Longwave__Ns__V1__Considered__Verdict);
		if (v == NULL)
			break;
		longwave__ns__v1__considered__verdict__init(v);
		v->window = (char *)(uintptr_t)ns_window_name(&q->frame[w].window);
		v->offered = (g->offered & 1u << w) != 0;
		if (answer_text(g, w) != NULL)
			v->answer = (char *)(uintptr_t)answer_text(g, w);
		v->text = lw_arena_strdup(a, verdict_text(q, gw, w, text, sizeof(text)));
		if (v->text == NULL)
			break;
		out->verdicts[out->n_verdicts++] = v;
	}
	return out->gateway_id != NULL ? out : NULL;
}

/* In the order in which they were asked, then the others by strength. */
static void say_all(struct line *l, const struct ns_looked_at *q, bool asked_only)
{
	for (unsigned offer = 1; offer <= NS_PLAN_GATEWAYS * NS_PLAN_WINDOWS; offer++)
		for (unsigned i = 0; i < q->n_gw; i++)
			if (q->gw[i].offer == offer)
				say_gateway(l, q, i);
	for (unsigned i = 0; i < q->n_gw && !asked_only; i++)
		if (q->gw[i].offer == 0)
			say_gateway(l, q, i);
}

const char *ns_why_considered(struct lw_arena *a, const struct ns_looked_at *q, Longwave__Ns__V1__Frame *fr)
{
	struct line l = {.n = 0};
	if (q->n_gw == 0)
		return NULL;
	fr->considered = LW_ARENA_ARRAY(a, Longwave__Ns__V1__Considered *, q->n_gw);
	for (unsigned i = 0; fr->considered != NULL && i < q->n_gw; i++) {
		Longwave__Ns__V1__Considered *c = considered(a, q, i);
		if (c == NULL)
			break;
		fr->considered[fr->n_considered++] = c;
	}
	say_all(&l, q, false);
	if (q->plan->forced)
		say(&l, "; no window was free, the gateway's own queue decides");
	return lw_arena_strdup(a, l.text);
}

const char *ns_why_asked(struct lw_arena *a, const struct ns_looked_at *q)
{
	struct line l = {.n = 0};
	say_all(&l, q, true);
	return lw_arena_strdup(a, l.text);
}

static ns_reason no_room_reason(enum ns_plan_why why)
{
	switch (why) {
	case NS_PLAN_DUTY_CYCLE:
		return LONGWAVE__V1__REASON__DUTY_CYCLE_OVERFLOW;
	case NS_PLAN_LATE:
		return LONGWAVE__V1__REASON__TOO_LATE;
	case NS_PLAN_EARLY:
		return LONGWAVE__V1__REASON__TOO_EARLY;
	case NS_PLAN_DWELL:
		return LONGWAVE__V1__REASON__PAYLOAD_SIZE;
	case NS_PLAN_QUEUE_FULL:
		return LONGWAVE__V1__REASON__QUEUE_FULL;
	default:
		return LONGWAVE__V1__REASON__COLLISION_PACKET;
	}
}

static int64_t until_window_ms(const struct ns_flows *f, const struct ns_down_window *w, int64_t uplink_at_ns)
{
	int64_t at_ns = w->gps_ns != 0 ? lw_gps_to_unix_ns(w->gps_ns) : uplink_at_ns + w->delay_s * LW_NS_PER_S;
	return (at_ns - ns_now(f)) / LW_NS_PER_MS;
}

static int rtt_p90_ms(const struct ns_looked_at *q, unsigned gw)
{
	const struct ns_timeline *t = ns_plan_timeline(q->f, q->gw[gw].rx.gateway_id);
	return t != NULL ? ns_timeline_rtt_p90_ms(t) : -1;
}

void ns_drop_no_room(struct ns_ctx *c, const struct ns_looked_at *q, int64_t uplink_at_ns)
{
	enum ns_plan_why why = q->plan->why[0][0];
	const struct ns_down_frame *fr = &q->frame[0];
	char id[LW_EUI_TEXT];
	char text[128];
	lw_gateway_id_print(q->gw[0].rx.gateway_id, id);
	if (why == NS_PLAN_DUTY_CYCLE)
		duty_text(q, 0, 0, text, sizeof(text));
	else if (why == NS_PLAN_LATE)
		snprintf(text, sizeof(text), "too late for %s, which begins in %" PRId64 " ms; round trip p90 %d ms",
			 ns_window_name(&fr->window), until_window_ms(q->f, &fr->window, uplink_at_ns),
			 rtt_p90_ms(q, 0));
	else if (why == NS_PLAN_DWELL)
		snprintf(text, sizeof(text),
			 "%u bytes at DR%u are %.0f ms on the air, more than the dwell time of 400 ms", (unsigned)fr->n,
			 (unsigned)fr->window.dr, lw_airtime_us(fr->window.mod, LW_DOWN, fr->n) / 1e3);
	else
		snprintf(text, sizeof(text), "%s", ns_plan_why_text(why));
	(void)ns_drop_f(c, no_room_reason(why), "no gateway has room: the strongest, %s: %s", id, text);
}

ns_reason ns_tx_unsent_reason(const struct ns_tx *tx)
{
	if (tx->broker_away)
		return LONGWAVE__V1__REASON__BROKER_UNAVAILABLE;
	if (tx->n_gw == 0)
		return LONGWAVE__V1__REASON__NO_GATEWAY;
	return no_room_reason(tx->plan.why[0][0]);
}

void ns_drop_refused(struct ns_ctx *c, const struct ns_tx *tx)
{
	struct ns_looked_at q = ns_tx_looked_at(tx);
	char id[LW_EUI_TEXT];
	if (tx->broker_away && tx->n_offers == 0) {
		(void)ns_drop(c, tx->last_error, "the MQTT broker is away: no gateway could be asked");
		return;
	}
	if (tx->n_gw == 0) {
		(void)ns_drop(c, tx->last_error,
			      "none of the gateways that heard it may send to this device: unknown, or private to "
			      "another tenant");
		return;
	}
	if (tx->n_offers == 0) {
		ns_drop_no_room(c, &q, tx->uplink_at_ns);
		return;
	}
	if (tx->last_error == LONGWAVE__V1__REASON__TOO_LATE) {
		int p90_ms = rtt_p90_ms(&q, tx->cur);
		char rtt[48] = "not known yet";
		if (p90_ms >= 0)
			snprintf(rtt, sizeof(rtt), "%d ms", p90_ms);
		(void)ns_drop_f(c, tx->last_error,
				"%s says it is too late: it was asked %" PRId64
				" ms before %s; its round trip (p90) is %s",
				lw_gateway_id_print(tx->gw[tx->cur].rx.gateway_id, id), tx->ahead_ms,
				ns_window_name(&tx->frame[tx->ahead_of].window), rtt);
		return;
	}
	struct line l = {.n = 0};
	say_all(&l, &q, true);
	(void)ns_drop_f(c, tx->last_error, "%s", l.text);
}
