#include "network-server/domain/uplink.h"

#include <string.h>

#include "common/lorawan/airtime.h"
#include "common/lorawan/mac.h"
#include "common/lorawan/mic.h"
#include "network-server/domain/activate.h"
#include "network-server/domain/channels.h"

int ns_uplink_dr(const struct ns_uplink *up, const struct ns_profile *profile)
{
	return lw_region_dr_index(ns_profile_region(profile, up->rc->region), LW_UP, &up->mod);
}

/* What of the frame's way is part of a 1.1 MIC, as the device numbers it. -1: it has no number. */
struct sent_at {
	int dr;
	int channel;
	int asked; /* of a channel that the device may have here by now; -1: there is no other */
};

/* A channel that the device was asked to make here. It may use it in the very uplink with the answer, and what that
 * says is read only when the frame verifies. -1: none. */
static int asked_channel(const struct ns_session *s, uint32_t hz)
{
	struct lw_mac_iter it;
	struct lw_mac_cmd req;
	for (size_t i = 0; i < s->n_mac_pending; i++) {
		const struct ns_mac_pending *p = &s->mac_pending[i];
		if (p->cid != LW_CID_NEW_CHANNEL)
			continue;
		lw_mac_iter_init(&it, LW_DOWN, lw_span(p->bytes, p->len));
		while (lw_mac_iter_next(&it, &req) == 1)
			if (req.cid == LW_CID_NEW_CHANNEL && req.u.new_channel_req.freq_hz == hz)
				return req.u.new_channel_req.index;
	}
	return -1;
}

static struct sent_at sent_at(const struct ns_uplink *up, const struct ns_profile *profile, const struct ns_session *s)
{
	struct sent_at at = {-1, -1, -1};
	if (!ns_session_is_11(s))
		return at;
	at.dr = ns_uplink_dr(up, profile);
	at.channel = ns_channels_index(up->rc, s, up->hz, at.dr < 0 ? 0 : (unsigned)at.dr);
	at.asked = asked_channel(s, up->hz);
	if (at.asked == at.channel)
		at.asked = -1;
	return at;
}

/* conf_f_cnt: of the downlink that the frame acknowledges, if it is one of 1.1 that does. */
static bool mic_ok(struct lw_keycache *kc, const struct ns_uplink *up, const struct ns_session *s, uint32_t f_cnt,
		   uint32_t conf_f_cnt, int dr, int channel)
{
	const struct lw_data_frame *d = &up->phy.u.data;
	struct lw_mic mic;
	if (ns_session_is_11(s)) {
		if (channel < 0 || dr < 0)
			return false;
		struct lw_mic_up_11 p = {
			.conf_fcnt = d->fctrl.ack ? (uint16_t)conf_f_cnt : 0,
			.tx_dr = (uint8_t)dr,
			.tx_ch = (uint8_t)channel,
		};
		mic = lw_mic_data_up_11(kc, &s->f_nwk_s_int_key, &s->s_nwk_s_int_key, &p, d->devaddr, f_cnt,
					up->phy.msg);
	} else {
		mic = lw_mic_data_10(kc, &s->f_nwk_s_int_key, LW_UP, d->devaddr, f_cnt, up->phy.msg);
	}
	return lw_mic_eq(mic, up->phy.mic);
}

/* With the last confirmed downlink as the one that it acknowledges, or with one before, which a device repeats that
 * never heard the last, or has acknowledged in an uplink that comes late. */
static bool verifies_on(struct lw_keycache *kc, const struct ns_uplink *up, const struct ns_session *s, uint32_t f_cnt,
			int dr, int channel, uint32_t *conf_f_cnt)
{
	*conf_f_cnt = s->conf_f_cnt;
	if (mic_ok(kc, up, s, f_cnt, *conf_f_cnt, dr, channel))
		return true;
	if (!ns_session_is_11(s) || !up->phy.u.data.fctrl.ack)
		return false;
	for (size_t i = 0; i < NS_CONF_BEFORE; i++) {
		if (s->conf_f_cnt_before[i] == *conf_f_cnt)
			continue; /* there were no more */
		*conf_f_cnt = s->conf_f_cnt_before[i];
		if (mic_ok(kc, up, s, f_cnt, *conf_f_cnt, dr, channel))
			return true;
	}
	return false;
}

static bool verifies(struct lw_keycache *kc, const struct ns_uplink *up, const struct ns_session *s, uint32_t f_cnt,
		     const struct sent_at *at, uint32_t *conf_f_cnt)
{
	return verifies_on(kc, up, s, f_cnt, at->dr, at->channel, conf_f_cnt) ||
	       (at->asked >= 0 && verifies_on(kc, up, s, f_cnt, at->dr, at->asked, conf_f_cnt));
}

/* The counters to try, the likely one first: the next with these bits, the last one before the expected, and the bare
 * 16 bits of a device that started anew. */
static unsigned counters(const struct ns_session *s, uint16_t bits, uint32_t out[3])
{
	unsigned n = 0;
	uint32_t next = lw_fcnt_full(s->f_cnt_up, bits);
	out[n++] = next;
	if (s->f_cnt_up > 0) {
		uint32_t before = next - 0x10000u;
		if (before < s->f_cnt_up)
			out[n++] = before;
		if (bits < s->f_cnt_up && bits != before)
			out[n++] = bits;
	}
	return n;
}

static enum ns_match_kind kind_of(const struct ns_device *dev, uint32_t f_cnt)
{
	uint32_t expected = dev->session.f_cnt_up;
	if (f_cnt - expected < 0x80000000u)
		return NS_MATCH_NEW;
	if (dev->skip_f_cnt_check)
		return NS_MATCH_NEW;
	return f_cnt == expected - 1 && dev->session.has_uplink ? NS_MATCH_RETRANSMISSION : NS_MATCH_REPLAY;
}

bool ns_uplink_is_gap(const struct ns_session *s, uint32_t f_cnt)
{
	uint32_t back = s->f_cnt_up - 1 - f_cnt;
	return s->has_uplink && f_cnt < s->f_cnt_up && back < 32 && (s->f_cnt_gaps >> back & 1);
}

void ns_uplink_count(struct ns_session *s, uint32_t f_cnt)
{
	if (ns_uplink_is_gap(s, f_cnt)) {
		s->f_cnt_gaps &= ~(1u << (s->f_cnt_up - 1 - f_cnt));
		return;
	}
	uint32_t missed = f_cnt - s->f_cnt_up;
	if (f_cnt < s->f_cnt_up) { /* a device that started anew, which is allowed */
		s->f_cnt_gaps = 0;
	} else if (missed >= 31) {
		s->f_cnt_gaps = ~1u;
	} else {
		s->f_cnt_gaps = s->f_cnt_gaps << (missed + 1) | ((1u << missed) - 1) << 1;
	}
	/* Before the first uplink nobody knows where the device begins; more than a few were not sent in vain. */
	if (!s->has_uplink && missed >= 31)
		s->f_cnt_gaps = 0;
	s->f_cnt_up = f_cnt + 1;
}

static bool match_offer(struct lw_keycache *kc, const struct ns_uplink *up, struct ns_device *dev,
			const struct ns_rekey *offer, struct ns_match *m)
{
	struct ns_session next;
	uint32_t conf_f_cnt;
	if (!offer->present || strcmp(ns_rekey_region(&dev->session, offer), up->rc->id) != 0)
		return false;
	ns_session_rekeyed(dev, offer, up->rc, &next);
	struct sent_at at = sent_at(up, &dev->profile, &next);
	bool entered = verifies(kc, up, &next, up->phy.u.data.fcnt, &at, &conf_f_cnt);
	if (entered) {
		dev->session = next;
		*m = (struct ns_match){.kind = NS_MATCH_NEW, .dev = dev, .f_cnt = up->phy.u.data.fcnt, .rekeyed = true};
	}
	lw_wipe(&next, sizeof(next));
	return entered;
}

/* The first uplink under new keys. */
static bool match_rekeyed(struct lw_keycache *kc, const struct ns_uplink *up, struct ns_device *dev, struct ns_match *m)
{
	if (match_offer(kc, up, dev, &dev->session.rekey, m))
		return true;
	for (size_t i = 0; i < NS_OFFERS_BEFORE; i++)
		if (match_offer(kc, up, dev, &dev->session.rekey_before[i], m))
			return true;
	return false;
}

struct ns_match ns_match(struct lw_keycache *kc, const struct ns_uplink *up, struct ns_device *const *candidates,
			 size_t n)
{
	struct ns_match best = {.kind = NS_MATCH_NO_DEVICE};
	size_t tried = 0;
	for (size_t i = 0; i < n; i++) {
		struct ns_device *dev = candidates[i];
		if (!dev->has_session || !lw_devaddr_eq(dev->session.devaddr, up->phy.u.data.devaddr))
			continue;
		tried++;
		if (best.kind == NS_MATCH_NO_DEVICE)
			best = (struct ns_match){.kind = NS_MATCH_NO_MIC, .dev = dev};
		const struct ns_session *s = &dev->session;
		struct sent_at at = sent_at(up, &dev->profile, s);
		uint32_t f_cnt[3];
		unsigned n_cnt = counters(s, up->phy.u.data.fcnt, f_cnt);
		for (unsigned k = 0; k < n_cnt; k++) {
			uint32_t conf_f_cnt;
			if (!verifies(kc, up, s, f_cnt[k], &at, &conf_f_cnt))
				continue;
			struct ns_match m = {.kind = kind_of(dev, f_cnt[k]),
					     .dev = dev,
					     .f_cnt = f_cnt[k],
					     .conf_f_cnt = conf_f_cnt};
			if (strcmp(s->region_config_id, up->rc->id) != 0)
				m.kind = NS_MATCH_OTHER_REGION;
			if (m.kind == NS_MATCH_NEW)
				return m;
			if (best.kind == NS_MATCH_NO_MIC)
				best = m;
			break;
		}
		struct ns_match rekeyed;
		if (best.dev != dev || best.kind == NS_MATCH_NO_MIC)
			if (match_rekeyed(kc, up, dev, &rekeyed))
				return rekeyed;
	}
	if (best.kind == NS_MATCH_NO_MIC && tried > 1)
		best.dev = NULL;
	return best;
}

int ns_snr_margin_ddb(const struct lw_modulation *m, int snr_ddb)
{
	return m->kind == LW_MOD_LORA ? snr_ddb - lw_required_snr_ddb(m->sf) : 0;
}
