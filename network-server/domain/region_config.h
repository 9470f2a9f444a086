/* Region configurations: a regional plan with the choices of a network in it. The ready-made ones are a const table; an
 * operator's file changes copies of them. */
#pragma once

#include "common/lorawan/region.h"
#include "network-server/domain/mac_settings.h"

#define NS_EXTRA_CHANNELS 16
#define NS_ENABLED_CHANNELS LW_PLAN_CHANNELS

/* Names and meaning as the reference's [regions.network]. */
struct ns_region_config {
	const char *id; /* "eu868", "us915_0" */
	const char *description;
	const char *topic_prefix; /* of the gateways' topics, without the slash; normally the id */
	const char *common_name;  /* "EU868": metadata of receptions */
	enum lw_region_id region;

	uint8_t installation_margin_db;
	uint8_t rx_window; /* 0 both, 1 RX1 only, 2 RX2 only */
	uint8_t rx1_delay_s;
	uint8_t rx1_dr_offset;
	uint8_t rx2_dr;
	uint32_t rx2_hz;
	uint8_t rx2_prefer_on_rx1_dr_lt;
	bool rx2_prefer_on_link_budget;
	uint8_t gateway_prefer_min_margin_db;
	int8_t downlink_tx_power_dbm; /* -1: the region's */
	bool mac_commands_disabled;
	bool adr_disabled;
	uint8_t min_dr;
	uint8_t max_dr;
	bool repeater_compatible;
	bool dwell_time_400ms;
	bool force_gws_private;
	uint8_t class_b_ping_slot_dr;
	uint32_t class_b_ping_slot_hz; /* 0: the region's */
	struct ns_mac_settings mac;
	struct lw_channel extra_channels[NS_EXTRA_CHANNELS];
	uint8_t n_extra_channels;
	/* Indices; none: all of the plan. */
	uint8_t enabled_channels[NS_ENABLED_CHANNELS];
	uint8_t n_enabled_channels;
};

extern const struct ns_region_config ns_region_configs[];
extern const size_t ns_region_configs_count;
const struct ns_region_config *ns_region_config_find(const char *id);
/* The plan with extra channels and enabled channels applied. */
void ns_region_config_plan(const struct ns_region_config *rc, struct lw_plan *out);
