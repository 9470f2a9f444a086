/* The ready-made region configurations. A further plan is a further row (or a macro of rows for its sub-bands). */
#include "network-server/domain/region_config.h"

#include <string.h>

#define DEFAULTS                                                                                                       \
	.installation_margin_db = 10, .rx1_delay_s = 1, .gateway_prefer_min_margin_db = 10, .downlink_tx_power_dbm = -1

/* Sub-band n of US915: eight channels of 125 kHz and the one of 500 kHz over them. */
#define US915(N)                                                                                                       \
	{                                                                                                              \
		.id = "us915_" #N, .topic_prefix = "us915_" #N, .common_name = "US915",                                \
		.description = "US915 (channels " #N "*8 .. " #N "*8+7, 64+" #N ")", .region = LW_REGION_US915,        \
		DEFAULTS, .rx2_dr = 8, .rx2_hz = 923300000, .min_dr = 0, .max_dr = 3, .class_b_ping_slot_dr = 8,       \
		.enabled_channels = {8 * (N),     8 * (N) + 1, 8 * (N) + 2, 8 * (N) + 3, 8 * (N) + 4,                  \
				     8 * (N) + 5, 8 * (N) + 6, 8 * (N) + 7, 64 + (N)},                                 \
		.n_enabled_channels = 9,                                                                               \
	}

const struct ns_region_config ns_region_configs[] = {
	{
		.id = "eu868",
		.topic_prefix = "eu868",
		.common_name = "EU868",
		.description = "EU868",
		.region = LW_REGION_EU868,
		DEFAULTS,
		.rx2_dr = 0,
		.rx2_hz = 869525000,
		.min_dr = 0,
		.max_dr = 5,
		.class_b_ping_slot_dr = 3,
		.extra_channels =
			{{867100000, 0, 5}, {867300000, 0, 5}, {867500000, 0, 5}, {867700000, 0, 5}, {867900000, 0, 5}},
		.n_extra_channels = 5,
	},
	US915(0),
	US915(1),
	US915(2),
	US915(3),
	US915(4),
	US915(5),
	US915(6),
	US915(7),
};
const size_t ns_region_configs_count = sizeof(ns_region_configs) / sizeof(ns_region_configs[0]);

const struct ns_region_config *ns_region_config_find(const char *id)
{
	for (size_t i = 0; i < ns_region_configs_count; i++)
		if (strcmp(ns_region_configs[i].id, id) == 0)
			return &ns_region_configs[i];
	return NULL;
}

void ns_region_config_plan(const struct ns_region_config *rc, struct lw_plan *out)
{
	lw_plan_init(out, lw_region_by_id(rc->region));
	for (size_t i = 0; i < rc->n_extra_channels; i++)
		lw_plan_add(out, rc->extra_channels[i].hz, rc->extra_channels[i].min_dr, rc->extra_channels[i].max_dr);
	if (rc->n_enabled_channels == 0)
		return;
	lw_plan_disable_all(out);
	for (size_t i = 0; i < rc->n_enabled_channels; i++)
		lw_plan_enable(out, rc->enabled_channels[i], true);
}
