/* Region configurations as the operator's file has them: copies of the ready-made ones with his changes, checked
 * against the regional parameters. Reads settings that are loaded already; knows no file. */
#pragma once

#include "common/runtime/conf.h"
#include "network-server/domain/region_config.h"

/* An element of network.regions. What is left at its default (-1, 0, "", "default") is as in the configuration that it
 * starts from. */
struct ns_conf_region {
	char *id;
	char *base;
	char *description;
	char *topic_prefix;
	int64_t installation_margin;
	int64_t rx_window;
	int64_t rx1_delay;
	int64_t rx1_dr_offset;
	int64_t rx2_dr;
	uint64_t rx2_frequency;
	int64_t rx2_prefer_on_rx1_dr_lt;
	int rx2_prefer_on_link_budget; /* ns_conf_choice */
	int64_t gateway_prefer_min_margin;
	int64_t downlink_tx_power;
	int mac_commands_disabled;
	int adr_disabled;
	int64_t min_dr, max_dr;
	int repeater_compatible;
	int dwell_time_400ms;
	int force_gws_private;
	int64_t class_b_ping_slot_dr;
	uint64_t class_b_ping_slot_frequency;
	uint64_t beacon_frequency;
	int64_t max_duty_cycle;
	int64_t adr_ack_limit_exp, adr_ack_delay_exp;
	int64_t uplink_max_eirp;
	int uplink_dwell_time_400ms, downlink_dwell_time_400ms;
	int64_t rejoin_max_time_n, rejoin_max_count_n;
	int keep_extra_channels;
	struct conf_list extra_channels; /* struct ns_conf_channel */
	struct conf_strs enabled_uplink_channels;
};

enum ns_conf_choice { NS_CONF_AS_BASE = 0, NS_CONF_YES = 1, NS_CONF_NO = 2 };

struct ns_conf_channel {
	uint64_t frequency;
	int64_t min_dr, max_dr; /* -1: those of the region's added channels */
};

extern const struct conf_table ns_conf_region_table;

/* The configurations that are served, in order. */
struct ns_regions {
	const struct ns_region_config **v;
	size_t n;
	struct ns_region_config *own; /* the changed ones */
	size_t n_own;
};

/* list: struct ns_conf_region, which must outlive *out. enabled: ids; none: all. LW_EINVAL with the detail: the
 * element, the setting, and what is wrong with it. */
int ns_regions_make(const struct conf_list *list, const struct conf_strs *enabled, struct ns_regions *out,
		    struct lw_diag *diag);
/* NULL: none of this name, enabled or not. */
const struct ns_region_config *ns_regions_find(const struct ns_regions *r, const char *id);
void ns_regions_deinit(struct ns_regions *r);
