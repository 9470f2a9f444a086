#include "network-server/domain/downlink.h"

#include <string.h>

#include "common/base/bug.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/lorawan/airtime.h"
#include "common/lorawan/cipher.h"
#include "common/lorawan/mic.h"
#include "network-server/domain/channels.h"
#include "network-server/domain/class_b.h"

/* How far an item's first counter may lie ahead of the session's: after a counter was given back, some were already
 * encrypted for the next one. Skipping a counter is always allowed. */
#define MAX_F_CNT_SKIP 64
#define FHDR_LEN 7

/* ---- windows ---- */

int8_t ns_down_power(const struct ns_region_config *rc, const struct lw_region *region, uint32_t hz)
{
	int8_t most = (int8_t)lw_region_downlink_eirp_dbm(region, hz);
	return rc->downlink_tx_power_dbm != -1 && rc->downlink_tx_power_dbm < most ? rc->downlink_tx_power_dbm : most;
}

static bool fill(const struct ns_region_config *rc, const struct lw_region *region, struct ns_down_window *w)
{
	w->mod = lw_region_dr(region, LW_DOWN, w->dr);
	w->power_dbm = ns_down_power(rc, region, w->hz);
	return w->mod != NULL;
}

/* Prefers RX2 only when the device's parameters are known to be the configured ones. */
static bool prefer_rx2(const struct ns_device *dev, const struct ns_region_config *rc, const struct ns_down_window *rx1,
		       const struct ns_down_window *rx2)
{
	const struct ns_session *s = &dev->session;
	if (s->rx2_hz != rc->rx2_hz || s->rx2_dr != rc->rx2_dr || s->rx1_dr_offset != rc->rx1_dr_offset ||
	    (s->rx1_delay_s == 0 ? 1 : s->rx1_delay_s) != ns_wanted_rx1_delay(dev, rc))
		return false;
	if (rx1->dr < rc->rx2_prefer_on_rx1_dr_lt)
		return true;
	if (!rc->rx2_prefer_on_link_budget || rx1->mod->kind != LW_MOD_LORA || rx2->mod->kind != LW_MOD_LORA)
		return false;
	int budget1 = rx1->power_dbm - lw_sensitivity_dbm(rx1->mod->bw_hz, rx1->mod->sf);
	int budget2 = rx2->power_dbm - lw_sensitivity_dbm(rx2->mod->bw_hz, rx2->mod->sf);
	return budget2 > budget1;
}

static bool rx1_window(const struct ns_device *dev, const struct ns_region_config *rc, const struct lw_region *region,
		       struct ns_down_window *w)
{
	const struct ns_session *s = &dev->session;
	struct lw_plan plan;
	ns_channels_plan(rc, s, &plan);
	int dr = lw_region_rx1_dr(region, s->dr, s->rx1_dr_offset, s->downlink_dwell_400ms != 0);
	if (dr < 0 || lw_plan_rx1_hz(&plan, s->last_uplink_hz, s->dr, &w->hz) != 0)
		return false;
	int channel = lw_plan_channel_index(&plan, s->last_uplink_hz, s->dr);
	if (channel >= 0 && channel < NS_DL_CHANNELS && s->dl_hz[channel] != 0)
		w->hz = s->dl_hz[channel]; /* DlChannelReq */
	w->dr = (uint8_t)dr;
	w->delay_s = s->rx1_delay_s == 0 ? 1 : s->rx1_delay_s;
	return fill(rc, region, w);
}

unsigned ns_down_windows(const struct ns_device *dev, const struct ns_region_config *rc, enum ns_down_mode mode,
			 struct ns_down_window out[2])
{
	const struct lw_region *region = ns_profile_region(&dev->profile, rc->region);
	const struct ns_session *s = &dev->session;
	struct ns_down_window rx1 = {.rx = 1};
	struct ns_down_window rx2 = {.hz = s->rx2_hz, .dr = s->rx2_dr, .rx = 2};
	rx2.delay_s = (uint8_t)((s->rx1_delay_s == 0 ? 1 : s->rx1_delay_s) + 1);
	bool has2 = fill(rc, region, &rx2);
	if (mode == NS_DOWN_CLASS_C) {
		rx2.immediately = true;
		rx2.rx = 0;
		out[0] = rx2;
		return has2 ? 1 : 0;
	}
	bool has1 = rc->rx_window != 2 && rx1_window(dev, rc, region, &rx1);
	has2 = has2 && rc->rx_window != 1;
	unsigned n = 0;
	if (has1 && has2 && prefer_rx2(dev, rc, &rx1, &rx2)) {
		out[n++] = rx2;
		out[n++] = rx1;
		return n;
	}
	if (has1)
		out[n++] = rx1;
	if (has2)
		out[n++] = rx2;
	return n;
}

unsigned ns_join_windows(const struct ns_profile *profile, const struct ns_region_config *rc, uint32_t up_hz,
			 unsigned up_dr, struct ns_down_window out[2])
{
	const struct lw_region *region = ns_profile_region(profile, rc->region);
	struct lw_plan plan;
	unsigned n = 0;
	ns_region_config_plan(rc, &plan);
	struct ns_down_window rx1 = {.delay_s = region->join_accept_delay1_s, .rx = 1};
	int dr = lw_region_rx1_dr(region, up_dr, 0, false);
	if (rc->rx_window != 2 && dr >= 0 && lw_plan_join_rx1_hz(&plan, up_hz, up_dr, &rx1.hz) == 0) {
		rx1.dr = (uint8_t)dr;
		if (fill(rc, region, &rx1))
			out[n++] = rx1;
	}
	/* A device that joins knows nothing of the network's RX2: the region's own. */
	struct ns_down_window rx2 = {
		.hz = region->rx2_hz, .dr = region->rx2_dr, .delay_s = region->join_accept_delay2_s, .rx = 2};
	if (rc->rx_window != 1 && fill(rc, region, &rx2)) {
		if (n == 1 && rx1.dr < rc->rx2_prefer_on_rx1_dr_lt) {
			out[1] = out[0];
			out[0] = rx2;
			return 2;
		}
		out[n++] = rx2;
	}
	return n;
}

unsigned ns_rejoin_windows(const struct ns_device *dev, const struct ns_region_config *rc, uint32_t up_hz,
			   unsigned up_dr, struct ns_down_window out[2])
{
	const struct lw_region *region = ns_profile_region(&dev->profile, rc->region);
	struct ns_device now = *dev;
	if (!dev->has_session)
		return ns_join_windows(&dev->profile, rc, up_hz, up_dr, out);
	now.session.last_uplink_hz = up_hz;
	now.session.dr = (uint8_t)up_dr;
	unsigned n = ns_down_windows(&now, rc, NS_DOWN_CLASS_A, out);
	for (unsigned i = 0; i < n; i++)
		out[i].delay_s = out[i].rx == 1 ? region->join_accept_delay1_s : region->join_accept_delay2_s;
	return n;
}

bool ns_ping_window(const struct ns_device *dev, const struct ns_region_config *rc, int64_t slot_gps_ns,
		    struct ns_down_window *out)
{
	const struct lw_region *region = ns_profile_region(&dev->profile, rc->region);
	const struct ns_session *s = &dev->session;
	uint32_t beacon_s = (uint32_t)(ns_beacon_start(slot_gps_ns) / LW_NS_PER_S);
	*out = (struct ns_down_window){.gps_ns = slot_gps_ns, .dr = s->ping_slot_dr, .hz = s->ping_slot_hz};
	if (out->hz == 0)
		out->hz = lw_hop_hz(&region->ping_slot, beacon_s, s->devaddr.v);
	return fill(rc, region, out);
}

/* ---- the queue's items ---- */

enum ns_fit ns_item_fit(const struct ns_session *s, const struct ns_queue_item *item, unsigned *index, uint32_t *f_cnt)
{
	uint32_t next = ns_session_next_f_cnt_down(s, true);
	uint32_t ahead = item->first_f_cnt - next;
	*index = 0;
	*f_cnt = next;
	if (item->is_encrypted_by_caller) {
		if (item->n_payloads == 0 || ahead >= 0x80000000u)
			return NS_FIT_DEAD;
		*f_cnt = item->first_f_cnt;
		return NS_FIT_OK;
	}
	if (item->session_key_id_len != 0 &&
	    (item->session_key_id_len != s->session_key_id_len ||
	     memcmp(item->session_key_id, s->session_key_id, s->session_key_id_len) != 0))
		return NS_FIT_STALE;
	if (ahead == 0 || ahead >= 0x80000000u) {
		uint32_t behind = next - item->first_f_cnt;
		if (behind >= item->n_payloads)
			return NS_FIT_STALE;
		*index = behind;
		return NS_FIT_OK;
	}
	if (ahead > MAX_F_CNT_SKIP || item->n_payloads == 0)
		return NS_FIT_STALE;
	*f_cnt = item->first_f_cnt;
	return NS_FIT_OK;
}

struct build {
	const struct ns_down_in *in;
	struct ns_down_out *out;
	struct ns_down_window window[2];
	unsigned n_windows;
	uint8_t max_m[2]; /* MACPayload by window */
	bool mac_on_port_0;
	struct lw_span payload; /* of the chosen item */
	uint32_t item_f_cnt;
	bool carried; /* the item is in at least one window's frame */
};

static uint8_t max_m(const struct ns_down_in *in, unsigned dr)
{
	struct lw_max_payload mp;
	const struct ns_profile *p = &in->dev->profile;
	int err = lw_region_max_payload(
		lw_region_by_id(in->rc->region), LW_DOWN, p->mac_version, p->reg_params, in->rc->repeater_compatible,
		in->rc->dwell_time_400ms || in->dev->session.downlink_dwell_400ms != 0, dr, &mp);
	return err == 0 ? mp.m : 0;
}

static void discard(struct build *b, const struct ns_queue_item *item, enum ns_discard why)
{
	struct ns_down_out *out = b->out;
	out->discard[out->n_discard].item = item;
	out->discard[out->n_discard].why = why;
	out->discard[out->n_discard++].max_size = (unsigned)(b->max_m[0] > FHDR_LEN ? b->max_m[0] - FHDR_LEN - 1 : 0);
}

/* The oldest item that can be sent. Those that never can are marked for deletion on the way. */
static void choose_item(struct build *b)
{
	const struct ns_down_in *in = b->in;
	for (size_t i = 0; i < in->n_items && i < NS_DOWN_ITEMS_MAX; i++) {
		const struct ns_queue_item *item = &in->items[i];
		unsigned index;
		if (item->is_damaged) {
			discard(b, item, NS_DISCARD_DAMAGED);
			continue;
		}
		if (item->expires_at_ns != 0 && item->expires_at_ns <= in->now_ns) {
			discard(b, item, NS_DISCARD_EXPIRED);
			continue;
		}
		if (item->n_payloads > 0 && FHDR_LEN + 1 + item->payload[0].n > b->max_m[0]) {
			discard(b, item, NS_DISCARD_SIZE);
			continue;
		}
		switch (ns_item_fit(&in->dev->session, item, &index, &b->item_f_cnt)) {
		case NS_FIT_DEAD:
			discard(b, item, NS_DISCARD_F_CNT);
			continue;
		case NS_FIT_STALE:
			b->out->stale = item;
			return;
		case NS_FIT_OK:
			b->out->item = item;
			b->payload = item->payload[index];
			return;
		}
	}
}

/* Answers first, then requests, as much as the first window carries. */
static void choose_mac(struct build *b)
{
	const struct ns_down_in *in = b->in;
	struct ns_down_out *out = b->out;
	size_t n_answers = in->answers.n;
	out->mac.dev = in->dev;
	out->mac.rc = in->rc;
	out->mac.now_ns = in->now_ns;
	out->mac.max_error_count = in->max_mac_error_count;
	out->mac.rng = in->rng;
	if (in->mac_requests)
		ns_mac_down(&out->mac);
	/* On FPort 0 they need a port octet; in FOpts at most 15. */
	size_t room = b->max_m[0] > FHDR_LEN + 1 ? (size_t)b->max_m[0] - FHDR_LEN - 1 : 0;
	if (room < LW_FOPTS_MAX && (size_t)b->max_m[0] - FHDR_LEN < LW_FOPTS_MAX)
		room = (size_t)b->max_m[0] - FHDR_LEN;
	if (n_answers > room) {
		struct lw_mac_iter it;
		struct lw_mac_cmd cmd;
		size_t used = 0;
		lw_mac_iter_init(&it, LW_DOWN, in->answers);
		while (lw_mac_iter_next(&it, &cmd) == 1 && in->answers.n - it.rest.n <= room)
			used = in->answers.n - it.rest.n;
		n_answers = used;
	}
	const struct ns_session *s = &in->dev->session;
	size_t n = n_answers;
	if (n_answers > 0)
		memcpy(out->mac_bytes, in->answers.p, n_answers);
	if (in->mac_queue && s->mac_queue_len <= room - n) {
		out->n_mac_queue = s->mac_queue_len;
		memcpy(out->mac_bytes + n, s->mac_queue, s->mac_queue_len);
		n += s->mac_queue_len;
	}
	ns_mac_down_limit(&out->mac, room - n);
	memcpy(out->mac_bytes + n, out->mac.bytes, out->mac.n);
	out->n_mac_bytes = n + out->mac.n;
	b->mac_on_port_0 = out->n_mac_bytes > LW_FOPTS_MAX;
}

/* ---- frames ---- */

static void seal(const struct ns_down_in *in, struct ns_down_frame *f, struct lw_phy *phy, uint8_t *fopts, uint8_t *frm)
{
	const struct ns_session *s = &in->dev->session;
	struct lw_data_frame *d = &phy->u.data;
	if (d->fport == 0)
		lw_cipher_frm(in->kc, &s->nwk_s_enc_key, LW_DOWN, s->devaddr, f->f_cnt, frm, d->frm.n, frm);
	if (ns_session_is_11(s) && d->fopts.n > 0)
		lw_cipher_fopts(in->kc, &s->nwk_s_enc_key, LW_DOWN, d->fport > 0 ? LW_FOPTS_AFCNT_DOWN : LW_FOPTS_FCNT,
				s->devaddr, f->f_cnt, fopts, d->fopts.n, fopts);
	int n = lw_phy_encode(phy, f->phy, sizeof(f->phy));
	BUG_ON(n < 0);
	f->n = (uint8_t)n;
	struct lw_span msg = lw_span(f->phy, (size_t)n - LW_MIC_LEN);
	struct lw_mic mic =
		ns_session_is_11(s)
			? lw_mic_data_down_11(in->kc, &s->s_nwk_s_int_key, in->ack ? (uint16_t)in->ack_f_cnt_up : 0,
					      s->devaddr, f->f_cnt, msg)
			: lw_mic_data_10(in->kc, &s->f_nwk_s_int_key, LW_DOWN, s->devaddr, f->f_cnt, msg);
	lw_phy_set_mic(f->phy, (size_t)n, mic);
}

/* Whether the chosen item goes into this window's frame. */
static bool carries(const struct build *b, unsigned w)
{
	size_t fopts_len = b->mac_on_port_0 ? 0 : b->out->n_mac_bytes;
	return b->out->item != NULL && !b->mac_on_port_0 && FHDR_LEN + fopts_len + 1 + b->payload.n <= b->max_m[w];
}

/* One window's frame; what does not fit is left for later and announced by FPending. False: not even the MAC commands
 * fit. */
static bool compose(const struct build *b, unsigned w, struct ns_down_frame *f)
{
	const struct ns_down_in *in = b->in;
	const struct ns_down_out *out = b->out;
	size_t n_mac = out->n_mac_bytes;
	size_t fopts_len = b->mac_on_port_0 ? 0 : n_mac;
	uint8_t fopts[LW_FOPTS_MAX];
	uint8_t frm[LW_PHY_MAX];
	struct lw_phy phy = {.mtype = LW_MTYPE_UNCONFIRMED_DOWN};
	struct lw_data_frame *d = &phy.u.data;

	memset(f, 0, sizeof(*f));
	f->window = b->window[w];
	if (FHDR_LEN + fopts_len + (b->mac_on_port_0 ? 1 + n_mac : 0) > b->max_m[w])
		return false;
	f->carries_item = carries(b, w);
	size_t waiting = in->n_queued - out->n_discard;
	f->fpending = waiting > (f->carries_item ? 1 : 0);
	d->devaddr = in->dev->session.devaddr;
	d->fctrl = (struct lw_fctrl){.adr = !in->rc->adr_disabled, .ack = in->ack, .fpending = f->fpending};
	d->fport = LW_FPORT_NONE;
	if (fopts_len > 0)
		memcpy(fopts, out->mac_bytes, fopts_len);
	d->fopts = lw_span(fopts, fopts_len);
	if (b->mac_on_port_0) {
		memcpy(frm, out->mac_bytes, n_mac);
		d->fport = 0;
		d->frm = lw_span(frm, n_mac);
	} else if (f->carries_item) {
		f->f_port = out->item->f_port;
		f->confirmed = out->item->confirmed;
		d->fport = out->item->f_port;
		d->frm = b->payload;
		if (f->confirmed)
			phy.mtype = LW_MTYPE_CONFIRMED_DOWN;
	}
	/* 1.0.x has one counter, so that all frames of this downlink have the item's. */
	bool is_11 = ns_session_is_11(&in->dev->session);
	f->application_counter = f->carries_item && is_11;
	f->f_cnt = f->carries_item || (b->carried && !is_11) ? b->item_f_cnt : in->dev->session.n_f_cnt_down;
	d->fcnt = (uint16_t)f->f_cnt;
	seal(in, f, &phy, fopts, frm);
	return true;
}

static void use_counters(struct ns_down_out *out)
{
	struct ns_session *s = &out->session;
	for (unsigned i = 0; i < out->n_frames; i++) {
		const struct ns_down_frame *f = &out->frame[i];
		if (f->application_counter)
			s->a_f_cnt_down = f->f_cnt + 1;
		else
			s->n_f_cnt_down = f->f_cnt + 1;
		if (f->confirmed && f->f_cnt != s->conf_f_cnt) {
			memmove(&s->conf_f_cnt_before[1], &s->conf_f_cnt_before[0],
				(NS_CONF_BEFORE - 1) * sizeof(s->conf_f_cnt_before[0]));
			s->conf_f_cnt_before[0] = s->conf_f_cnt;
			s->conf_f_cnt = f->f_cnt;
		}
	}
	if (!out->frame[0].window.immediately && out->frame[0].window.gps_ns == 0)
		s->answered = true;
	if (out->frame[0].window.gps_ns != 0)
		s->ping_slot_used_ns = out->frame[0].window.gps_ns;
	if (out->n_mac_queue > 0) {
		s->mac_queue_len = 0;
		s->mac_queue_sent = true;
	}
	ns_mac_down_sent(&out->mac, s);
}

/* Windows that have not opened yet: the gateway would only refuse the others. */
static unsigned open_windows(const struct ns_down_in *in, struct ns_down_window out[2])
{
	struct ns_down_window all[2];
	unsigned n = 0;
	if (in->mode == NS_DOWN_CLASS_B)
		return ns_ping_window(in->dev, in->rc, in->ping_slot_gps_ns, &out[0]) ? 1 : 0;
	unsigned n_all = ns_down_windows(in->dev, in->rc, in->mode, all);
	for (unsigned i = 0; i < n_all; i++)
		if (all[i].immediately ||
		    in->dev->session.last_uplink_at_ns + all[i].delay_s * LW_NS_PER_S > in->now_ns)
			out[n++] = all[i];
	return n;
}

#define PING_WAIT_S 300 /* for a ping slot */
#define SKEW_S 1        /* between the clocks of replicas */

bool ns_item_timed_out(const struct ns_device *dev, const struct ns_queue_item *item, int64_t at_ns, int64_t now_ns)
{
	const struct ns_profile *p = &dev->profile;
	int64_t c = p->class_c_timeout_s != 0 ? p->class_c_timeout_s : NS_RESP_TIMEOUT_S;
	int64_t b = PING_WAIT_S + (p->class_b_timeout_s != 0 ? p->class_b_timeout_s : NS_RESP_TIMEOUT_S);
	int64_t most_ns = ((p->supports_class_b && b > c ? b : c) + SKEW_S) * LW_NS_PER_S;
	return item->timeout_after_ns <= at_ns || item->timeout_after_ns - now_ns > most_ns;
}

void ns_down_build(const struct ns_down_in *in, struct ns_down_out *out)
{
	struct build b = {.in = in, .out = out};
	memset(out, 0, sizeof(*out));
	out->session = in->dev->session;
	unsigned n_open = open_windows(in, b.window);
	for (unsigned i = 0; i < n_open; i++) {
		uint8_t m = max_m(in, b.window[i].dr);
		if (m < FHDR_LEN)
			continue; /* there are rates that carry nothing: CN470's DR0 since RP002 */
		b.window[b.n_windows] = b.window[i];
		b.max_m[b.n_windows++] = m;
	}
	if (b.n_windows == 0)
		return;
	choose_item(&b);
	choose_mac(&b);
	if (out->item == NULL && out->n_mac_bytes == 0 && !in->ack && !in->force)
		return;
	for (unsigned w = 0; w < b.n_windows; w++)
		b.carried = b.carried || carries(&b, w);
	for (unsigned w = 0; w < b.n_windows; w++) {
		struct ns_down_frame f;
		if (!compose(&b, w, &f))
			continue;
		out->frame[out->n_frames++] = f;
	}
	if (!b.carried)
		out->item = NULL;
	if (out->n_frames > 0)
		use_counters(out);
}

bool ns_down_return(struct ns_session *s, const struct ns_down_frame *frames, unsigned n)
{
	bool any = false;
	for (unsigned i = 0; i < n; i++) {
		uint32_t *counter = frames[i].application_counter ? &s->a_f_cnt_down : &s->n_f_cnt_down;
		if (*counter == frames[i].f_cnt + 1) {
			*counter = frames[i].f_cnt;
			any = true;
		}
	}
	return any;
}
