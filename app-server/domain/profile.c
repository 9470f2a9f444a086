#include "app-server/domain/profile.h"

#include <string.h>

#include "common/lorawan/region.h"
#include "common/lorawan/types.h"

/* A region's rates and frequencies are those of all its plans, and of the revision that the profile names. */
static bool is_rate(const Api__DeviceProfile *p, enum lw_dir dir, uint32_t dr)
{
	for (unsigned i = 0; i <= LW_REGION_CN470_26B; i++) {
		const struct lw_region *r = lw_region_by_id((enum lw_region_id)i);
		if (r == NULL || lw_region_base(r->id) != (enum lw_region_id)p->region)
			continue;
		const struct lw_region *old = lw_region_revision(r, (enum lw_mac_version)p->mac_version,
								 (enum lw_reg_params)p->reg_params_revision);
		if (lw_region_dr(r, dir, dr) != NULL || lw_region_dr(old, dir, dr) != NULL)
			return true;
	}
	return false;
}

/* 0 is the region's default in all of these. */
static int check_rate(const Api__DeviceProfile *p, const char *name, uint32_t dr, struct lw_diag *diag)
{
	if (dr == 0 || is_rate(p, LW_DOWN, dr))
		return 0;
	lw_diag_set(diag, "%s: %u is no data rate of downlinks in %s", name, (unsigned)dr,
		    lw_region_by_id((enum lw_region_id)p->region)->name);
	return LW_EINVAL;
}

static int check_frequency(const Api__DeviceProfile *p, const char *name, uint32_t hz, struct lw_diag *diag)
{
	const struct lw_region *r = lw_region_by_id((enum lw_region_id)p->region);
	if (hz == 0 || lw_region_freq_ok(r, hz))
		return 0;
	lw_diag_set(diag, "%s: %u Hz is outside %s", name, (unsigned)hz, r->name);
	return LW_EINVAL;
}

/* What only counts with OTAA off, or with class B, is not looked at otherwise: it is set to 0 then. */
static int check_radio(const Api__DeviceProfile *p, struct lw_diag *diag)
{
	const struct lw_region *r = lw_region_by_id((enum lw_region_id)p->region);
	int rc = 0;
	if (!p->supports_otaa) {
		if (p->abp_rx1_dr_offset > r->max_rx1_dr_offset) {
			lw_diag_set(diag, "abp_rx1_dr_offset is above %u, the highest of %s",
				    (unsigned)r->max_rx1_dr_offset, r->name);
			return LW_EINVAL;
		}
		rc = check_rate(p, "abp_rx2_dr", p->abp_rx2_dr, diag);
		if (rc == 0)
			rc = check_frequency(p, "abp_rx2_freq", p->abp_rx2_freq, diag);
	}
	if (rc == 0 && p->supports_class_b)
		rc = check_rate(p, "class_b_ping_slot_dr", p->class_b_ping_slot_dr, diag);
	if (rc == 0 && p->supports_class_b)
		rc = check_frequency(p, "class_b_ping_slot_freq", p->class_b_ping_slot_freq, diag);
	for (size_t i = 0; rc == 0 && i < p->n_supported_uplink_data_rates; i++) {
		if (is_rate(p, LW_UP, p->supported_uplink_data_rates[i]))
			continue;
		lw_diag_set(diag, "supported_uplink_data_rates: %u is no data rate of uplinks in %s",
			    (unsigned)p->supported_uplink_data_rates[i], r->name);
		rc = LW_EINVAL;
	}
	return rc;
}

/* Those of the network-server (network-server/domain/adr.c); empty is the default one. */
static bool is_adr_algorithm(const char *id)
{
	static const char *const known[] = {"", "default", "lr_fhss", "lora_lr_fhss", "none"};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i], id) == 0)
			return true;
	return false;
}

int as_profile_check(const Api__DeviceProfile *p, struct lw_diag *diag)
{
	const struct {
		const char *name;
		uint32_t value;
		uint32_t max;
	} limits[] = {
		{"mac_version", (uint32_t)p->mac_version, LW_MAC_VERSIONS - 1},
		{"reg_params_revision", (uint32_t)p->reg_params_revision, LW_REG_PARAMS - 1},
		{"abp_rx1_delay", p->abp_rx1_delay, 15},
		{"rx1_delay", p->rx1_delay, 15},
		{"abp_rx1_dr_offset", p->abp_rx1_dr_offset, 7},
		{"abp_rx2_dr", p->abp_rx2_dr, 15},
		{"class_b_ping_slot_periodicity", p->class_b_ping_slot_periodicity, 7},
		{"class_b_ping_slot_dr", p->class_b_ping_slot_dr, 15},
	};
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		if (limits[i].value > limits[i].max) {
			lw_diag_set(diag, "%s is above %u", limits[i].name, limits[i].max);
			return LW_EINVAL;
		}
	}
	if (!protobuf_c_enum_descriptor_get_value(&common__region__descriptor, (int)p->region)) {
		lw_diag_set(diag, "region is unknown");
		return LW_EINVAL;
	}
	if (!is_adr_algorithm(p->adr_algorithm_id)) {
		lw_diag_set(diag, "adr_algorithm_id: there is no %.40s", p->adr_algorithm_id);
		return LW_EINVAL;
	}
	return check_radio(p, diag);
}

static void clear_relay(Api__DeviceProfile *p)
{
	p->relay_enabled = false;
	p->relay_cad_periodicity = 0;
	p->relay_default_channel_index = 0;
	p->relay_second_channel_freq = 0;
	p->relay_second_channel_dr = 0;
	p->relay_second_channel_ack_offset = 0;
	p->relay_join_req_limit_reload_rate = 0;
	p->relay_notify_limit_reload_rate = 0;
	p->relay_global_uplink_limit_reload_rate = 0;
	p->relay_overall_limit_reload_rate = 0;
	p->relay_join_req_limit_bucket_size = 0;
	p->relay_notify_limit_bucket_size = 0;
	p->relay_global_uplink_limit_bucket_size = 0;
	p->relay_overall_limit_bucket_size = 0;
}

static void clear_relay_ed(Api__DeviceProfile *p)
{
	p->relay_ed_relay_only = false;
	p->relay_ed_activation_mode = 0;
	p->relay_ed_smart_enable_level = 0;
	p->relay_ed_back_off = 0;
	p->relay_ed_uplink_limit_bucket_size = 0;
	p->relay_ed_uplink_limit_reload_rate = 0;
}

void as_profile_normalise(Api__DeviceProfile *p)
{
	if (p->supports_otaa) {
		p->abp_rx1_delay = 0;
		p->abp_rx1_dr_offset = 0;
		p->abp_rx2_dr = 0;
		p->abp_rx2_freq = 0;
	}
	if (!p->supports_class_b) {
		p->class_b_timeout = 0;
		p->class_b_ping_slot_periodicity = 0;
		p->class_b_ping_slot_dr = 0;
		p->class_b_ping_slot_freq = 0;
		p->class_b_downlink_only = false;
	}
	if (!p->supports_class_c)
		p->class_c_timeout = 0;
	if (!p->is_relay)
		clear_relay(p);
	if (!p->is_relay_ed)
		clear_relay_ed(p);
}
