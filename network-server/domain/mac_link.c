/* LinkADRReq: data rate, power, number of transmissions and channel mask travel in one request. */
#include <string.h>

#include "common/lorawan/adr_mask.h"
#include "network-server/domain/adr.h"
#include "network-server/domain/channels.h"
#include "network-server/domain/mac_params.h"

static bool rejected(const struct ns_mac_down *m, enum ns_mac_what what, uint64_t value)
{
	return ns_session_rejected(&m->dev->session, what, value);
}

static uint64_t mask_value(const struct lw_adr_mask *v, size_t n)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	for (size_t i = 0; i < n; i++) {
		h = (h ^ v[i].cntl) * UINT64_C(0x100000001b3);
		h = (h ^ v[i].mask) * UINT64_C(0x100000001b3);
	}
	return h;
}

/* Masks that enable the network's channels among those that the device has; what is so when they agree, or the device
 * has refused these. *changes: whether they change something. Returns how many. */
static size_t choose_masks(const struct ns_mac_down *m, struct lw_adr_mask out[LW_ADR_MASKS_MAX], bool *changes)
{
	const struct ns_session *s = &m->dev->session;
	struct lw_plan network;
	struct lw_plan device;
	uint16_t want[LW_PLAN_WORDS];
	ns_region_config_plan(m->rc, &network);
	ns_channels_plan(m->rc, s, &device);
	lw_adr_wanted(&network, &device, want);
	*changes = memcmp(want, s->enabled_channels, sizeof(want)) != 0;
	int n = lw_adr_masks(&device, s->mac_version, want, out);
	if (n > 0 && (!*changes || !rejected(m, NS_WHAT_LINK_MASK, mask_value(out, (size_t)n))))
		return (size_t)n;
	*changes = false;
	n = lw_adr_masks(&device, s->mac_version, s->enabled_channels, out);
	return n > 0 ? (size_t)n : 0;
}

static uint32_t enabled_drs(const struct ns_mac_down *m)
{
	struct lw_plan plan;
	struct lw_channel ch;
	uint32_t drs = 0;
	ns_channels_plan(m->rc, &m->dev->session, &plan);
	for (unsigned i = 0; i < plan.n; i++)
		if (lw_plan_enabled(&plan, i) && lw_plan_channel(&plan, i, &ch) == 0)
			drs |= lw_region_dr_range(plan.region, ch.min_dr, ch.max_dr);
	return ns_profile_drs(&m->dev->profile, (uint16_t)drs);
}

/* The highest power index below every refused one. */
static uint8_t max_power_index(const struct ns_mac_down *m)
{
	struct lw_tx_power power;
	lw_region_tx_power(lw_region_by_id(m->rc->region), m->dev->session.mac_version, m->dev->profile.reg_params,
			   &power);
	uint8_t max = power.max_index;
	for (uint8_t i = 1; i <= max; i++)
		if (rejected(m, NS_WHAT_LINK_POWER, i))
			return (uint8_t)(i - 1);
	return max;
}

static struct ns_adr_choice choose(const struct ns_mac_down *m)
{
	const struct ns_session *s = &m->dev->session;
	const struct ns_adr_settings *set = &m->dev->profile.adr;
	struct ns_adr_choice c = {s->dr, s->tx_power_index, s->nb_trans == 0 ? 1 : s->nb_trans};
	struct ns_adr_request r = {
		.adr = s->adr,
		.dr = s->dr,
		.tx_power_index = s->tx_power_index,
		.nb_trans = s->nb_trans,
		.max_tx_power_index = max_power_index(m),
		.min_tx_power_index = s->min_tx_power_index,
		.min_dr = set->has_bounds ? set->min_dr : m->rc->min_dr,
		.max_dr = set->has_bounds ? set->max_dr : m->rc->max_dr,
		.installation_margin_db = m->rc->installation_margin_db,
		.region = ns_profile_region(&m->dev->profile, m->rc->region),
		.enabled_drs = enabled_drs(m),
		.history = s->adr_history,
		.n_history = s->n_adr_history,
		.rng = m->rng,
	};
	if (!s->adr || m->rc->adr_disabled || set->mode == NS_ADR_OFF)
		return c;
	if (set->mode == NS_ADR_STATIC) {
		c = (struct ns_adr_choice){set->dr, set->tx_power_index, set->nb_trans == 0 ? 1 : set->nb_trans};
	} else {
		ns_adr_choose(ns_adr_find(m->dev->profile.adr_algorithm_id), &r, &c);
		if (c.dr < r.min_dr)
			c.dr = r.min_dr;
	}
	if (ns_profile_drs(&m->dev->profile, (uint16_t)(1U << c.dr)) == 0)
		c.dr = s->dr;
	/* What the device has refused is not proposed again: a rate below it, or the one that it has. */
	while (c.dr > s->dr && rejected(m, NS_WHAT_LINK_DR, c.dr))
		c.dr--;
	if (rejected(m, NS_WHAT_LINK_DR, c.dr))
		c.dr = s->dr;
	if (c.tx_power_index > r.max_tx_power_index)
		c.tx_power_index = r.max_tx_power_index;
	if (c.tx_power_index < r.min_tx_power_index)
		c.tx_power_index = r.min_tx_power_index;
	return c;
}

/* Never together with new channels: a mask would speak of channels that are not settled. */
void ns_mac_want_link(struct ns_mac_down *m)
{
	const struct ns_session *s = &m->dev->session;
	struct lw_adr_mask mask[LW_ADR_MASKS_MAX];
	if (s->dr >= LW_DR_COUNT)
		return;
	for (size_t i = 0; i < m->n_blocks; i++)
		if (m->block[i].cid == LW_CID_NEW_CHANNEL)
			return;
	struct ns_adr_choice c = choose(m);
	bool changes;
	size_t n = choose_masks(m, mask, &changes);
	uint8_t nb = s->nb_trans == 0 ? 1 : s->nb_trans;
	if (!changes && c.dr == s->dr && c.tx_power_index == s->tx_power_index && c.nb_trans == nb)
		return;
	for (size_t i = 0; i < n; i++) {
		struct lw_mac_cmd cmd = {.cid = LW_CID_LINK_ADR, .dir = LW_DOWN};
		cmd.u.link_adr_req.dr = c.dr;
		cmd.u.link_adr_req.tx_power = c.tx_power_index;
		cmd.u.link_adr_req.nb_trans = c.nb_trans;
		cmd.u.link_adr_req.ch_mask = mask[i].mask;
		cmd.u.link_adr_req.ch_mask_cntl = mask[i].cntl;
		ns_mac_down_add(m, &cmd);
	}
}

/* All answers of a block say the same; before 1.0.2 each spoke for its own command. */
static void combine(const struct ns_mac_answer *a, bool *mask_ok, bool *dr_ok, bool *power_ok)
{
	*mask_ok = *dr_ok = *power_ok = true;
	for (size_t i = 0; i < a->n_ans; i++) {
		*mask_ok = *mask_ok && a->ans[i].u.link_adr_ans.ch_mask_ack;
		*dr_ok = *dr_ok && a->ans[i].u.link_adr_ans.dr_ack;
		*power_ok = *power_ok && a->ans[i].u.link_adr_ans.power_ack;
	}
}

static void take_masks(struct ns_mac_answer *a, const struct lw_adr_mask *mask)
{
	struct lw_plan plan;
	uint16_t enabled[LW_PLAN_WORDS];
	ns_channels_plan(a->up->rc, a->s, &plan);
	memcpy(enabled, plan.enabled, sizeof(enabled));
	for (size_t i = 0; i < a->n_req; i++)
		if (lw_adr_mask_apply(&plan, &mask[i], enabled) != 0)
			return;
	memcpy(a->s->enabled_channels, enabled, sizeof(enabled));
}

static void take_rate(struct ns_session *s, const struct lw_mac_cmd *r)
{
	uint8_t nb = r->u.link_adr_req.nb_trans == 0 ? 1 : r->u.link_adr_req.nb_trans;
	uint8_t new_dr = r->u.link_adr_req.dr;
	uint8_t new_power = r->u.link_adr_req.tx_power;
	/* What was heard before says nothing about the new setting. */
	if (new_dr != s->dr || new_power != s->tx_power_index || nb != s->nb_trans)
		s->n_adr_history = 0;
	s->dr = new_dr;
	s->tx_power_index = new_power;
	s->nb_trans = nb;
}

void ns_mac_settle_link(struct ns_mac_answer *a)
{
	struct lw_adr_mask mask[LW_ADR_MASKS_MAX];
	bool mask_ok, dr_ok, power_ok;
	if (a->n_req == 0 || a->n_req > LW_ADR_MASKS_MAX)
		return;
	/* Rate, power and transmissions of the last command count. */
	const struct lw_mac_cmd *last = &a->req[a->n_req - 1];
	for (size_t i = 0; i < a->n_req; i++)
		mask[i] = (struct lw_adr_mask){a->req[i].u.link_adr_req.ch_mask_cntl, a->req[i].u.link_adr_req.ch_mask};
	combine(a, &mask_ok, &dr_ok, &power_ok);
	bool all = mask_ok && dr_ok && power_ok;
	/* Without ADR the device need only follow the mask (TS001-1.0.4 §4.3.1.1). */
	if (all || (!a->s->adr && mask_ok)) {
		take_masks(a, mask);
		if (all) /* else the rate is what this very uplink has: RX1 follows it */
			take_rate(a->s, last);
		ns_mac_settled(a, true);
		return;
	}
	uint8_t power = last->u.link_adr_req.tx_power;
	if (!power_ok && power == 0) {
		/* Some devices refuse full power, which they must not: the next lower one, then. */
		a->s->tx_power_index = 1;
		a->s->min_tx_power_index = 1;
	} else if (!power_ok) {
		ns_session_reject(a->s, NS_WHAT_LINK_POWER, power);
	}
	if (!dr_ok)
		ns_session_reject(a->s, NS_WHAT_LINK_DR, last->u.link_adr_req.dr);
	if (!mask_ok)
		ns_session_reject(a->s, NS_WHAT_LINK_MASK, mask_value(mask, a->n_req));
	ns_mac_settled(a, false);
}
