/* Channel masks of LinkADRReq (TS001-1.0.4 §5.2, TS001-1.1 §5.3, RP002 per plan): from the channels that a device has
 * enabled to those wanted with the fewest commands, and what a command does to a device. Pure; data rate, power and
 * NbTrans are the caller's. */
#pragma once

#include "common/lorawan/region.h"

struct lw_adr_mask {
	uint8_t cntl; /* ChMaskCntl */
	uint16_t mask;
};

#define LW_ADR_MASKS_MAX (LW_PLAN_WORDS + 1)

/* The channels that a network wants and the device knows, as mask words. On a plan with added channels, one that the
 * device has otherwise or not at all is left out: NewChannelReq comes first. */
void lw_adr_wanted(const struct lw_plan *network, const struct lw_plan *device, uint16_t want[LW_PLAN_WORDS]);

/* The commands, in order, that lead a device from device->enabled to `want`. At least one: when nothing changes, it
 * repeats what is so, for a LinkADRReq that is sent for rate or power. Returns their number; LW_EINVAL: `want` is empty
 * or names a channel that the device does not have.
 *
 * From 1.0.2 on a device takes consecutive LinkADRReq as one. Older ones take them one by one, so that each leaves a
 * channel on; whole banks at once (ChMaskCntl 5 of US915, AU915) are understood from 1.0.3 on. */
int lw_adr_masks(const struct lw_plan *device, enum lw_mac_version mac, const uint16_t want[LW_PLAN_WORDS],
		 struct lw_adr_mask out[LW_ADR_MASKS_MAX]);

/* What one command does to the enabled channels of a device with this plan. 0; LW_EINVAL: a reserved ChMaskCntl, or the
 * mask turns on a channel that is not defined; then nothing changes. */
int lw_adr_mask_apply(const struct lw_plan *device, const struct lw_adr_mask *m, uint16_t enabled[LW_PLAN_WORDS]);
