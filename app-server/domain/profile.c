#include "app-server/domain/profile.h"

#include "common/lorawan/region.h"
#include "common/lorawan/types.h"

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
	for (size_t i = 0; i < p->n_supported_uplink_data_rates; i++) {
		if (p->supported_uplink_data_rates[i] > 15) {
			lw_diag_set(diag, "supported_uplink_data_rates: %u is no data rate",
				    p->supported_uplink_data_rates[i]);
			return LW_EINVAL;
		}
	}
	return 0;
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
