#include "network-server/domain/channels.h"

#include <string.h>

#include "common/base/err.h"

void ns_channels_boot(const struct ns_region_config *rc, struct ns_session *s)
{
	struct lw_plan plan;
	lw_plan_init(&plan, lw_region_by_id(rc->region));
	memset(s->user_channels, 0, sizeof(s->user_channels));
	memcpy(s->enabled_channels, plan.enabled, sizeof(s->enabled_channels));
}

void ns_channels_put(const struct ns_region_config *rc, struct ns_session *s, unsigned index, struct lw_channel ch)
{
	const struct lw_region *region = lw_region_by_id(rc->region);
	if (!region->user_channels || index < region->first_user_channel)
		return;
	unsigned i = index - region->first_user_channel;
	if (i >= LW_PLAN_USER_CHANNELS || index >= LW_PLAN_CHANNELS)
		return;
	s->user_channels[i] = ch;
	uint16_t bit = (uint16_t)(1u << (index % 16));
	if (ch.hz != 0)
		s->enabled_channels[index / 16] |= bit;
	else
		s->enabled_channels[index / 16] &= (uint16_t)~bit;
}

void ns_channels_cflist(const struct ns_region_config *rc, const struct lw_cflist *list, struct ns_session *s)
{
	const struct lw_region *region = lw_region_by_id(rc->region);
	if (list->type == LW_CFLIST_MASKS) {
		struct lw_plan plan;
		lw_plan_init(&plan, region);
		for (size_t w = 0; w < LW_PLAN_CHANNELS / 16; w++)
			s->enabled_channels[w] =
				(uint16_t)(w < LW_CFLIST_MASK_COUNT ? list->mask[w] & plan.enabled[w] : 0);
		return;
	}
	for (unsigned i = 0; i < LW_CFLIST_FREQS; i++)
		if (list->freq_hz[i] != 0)
			ns_channels_put(
				rc, s, region->first_user_channel + i,
				(struct lw_channel){list->freq_hz[i], region->user_min_dr, region->user_max_dr});
}

void ns_channels_plan(const struct ns_region_config *rc, const struct ns_session *s, struct lw_plan *out)
{
	const struct lw_region *region = lw_region_by_id(rc->region);
	lw_plan_init(out, region);
	if (region->user_channels) {
		memcpy(out->user, s->user_channels, sizeof(out->user));
		for (unsigned i = 0; i < LW_PLAN_USER_CHANNELS; i++)
			if (s->user_channels[i].hz != 0)
				out->n_user = i + 1;
		out->n = region->first_user_channel + out->n_user;
	}
	memcpy(out->enabled, s->enabled_channels, sizeof(out->enabled));
}

int ns_channels_index(const struct ns_region_config *rc, const struct ns_session *s, uint32_t hz, unsigned dr)
{
	struct lw_plan plan;
	ns_channels_plan(rc, s, &plan);
	return lw_plan_channel_index(&plan, hz, dr);
}

void ns_channels_heard(const struct ns_region_config *rc, struct ns_session *s, uint32_t hz, unsigned dr,
		       bool adr_ack_req)
{
	const struct lw_region *region = lw_region_by_id(rc->region);
	struct lw_plan plan, defaults;
	ns_channels_plan(rc, s, &plan);
	int channel = lw_plan_channel_index(&plan, hz, dr);
	bool disabled = channel >= 0 && !lw_plan_enabled(&plan, (unsigned)channel);
	if (!disabled && !(adr_ack_req && dr <= region->adr_min_dr))
		return;
	lw_plan_init(&defaults, region);
	for (unsigned w = 0; w < LW_PLAN_WORDS; w++)
		s->enabled_channels[w] |= defaults.enabled[w];
}
