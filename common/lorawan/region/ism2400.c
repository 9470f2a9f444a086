/* ISM2400 (RP002, all revisions), as const tables. */
#include "common/lorawan/region/tables.h"

static const struct lw_channel_run up[] = {
	{.first = 0, .count = 1, .min_dr = 0, .max_dr = 7, .first_hz = 2403000000},
	{.first = 1, .count = 1, .min_dr = 0, .max_dr = 7, .first_hz = 2425000000},
	{.first = 2, .count = 1, .min_dr = 0, .max_dr = 7, .first_hz = 2479000000},
};

static const struct lw_payload_row payload_down[] = {
	{MAC_NOT_1_0_4 | MAC(1_0_4), RP_ALL, ANY, DIRECT, {59, 123, 248, 248, 248, 248, 248, 248}},
	{MAC_NOT_1_0_4 | MAC(1_0_4), RP_ALL, ANY, REPEATER, {59, 123, 228, 228, 228, 228, 228, 228}},
};

static const struct lw_downlink_power downlink_power[] = {
	{0, UINT32_MAX, 10},
};

static const struct lw_sub_band sub_bands[] = {
	{2400000000, 2500000000, 1000, 1015},
};

#define SF12_TO_SF5                                                                                                    \
	LORA_LI(12, 812), LORA_LI(11, 812), LORA_LI(10, 812), LORA_LI(9, 812), LORA_LI(8, 812), LORA_LI(7, 812),       \
		LORA_LI(6, 812), LORA_LI(5, 812)

const struct lw_region lw_region_ism2400 = {
	.id = LW_REGION_ISM2400,
	.name = "ISM2400",
	.min_hz = 2400000000,
	.max_hz = 2480000000,
	.step_hz = 200,
	.up_dr = {SF12_TO_SF5},
	.down_dr = {SF12_TO_SF5},
	TABLE(up, up),
	.first_user_channel = 3,
	.user_channels = true,
	.user_max_dr = 7,
	.mask_control = LW_MASK_16,
	.rx1_rule = LW_RX1_SAME_FREQUENCY,
	.max_rx1_dr_offset = 5,
	.rx1_dr = {RX1_DR0_TO_DR5, RX1_DR6_DR7, RX1_NO_DR8_TO_DR11, RX1_NO_SF6_SF5, RX1_NO_DR14_DR15},
	.rx2_hz = 2423000000,
	.rx2_dr = 0,
	TABLE(payload_down, payload_down),
	.max_tx_power_index = 7,
	.tx_power_step_db = -2,
	.device_eirp_cdbm = 1000,
	TABLE(downlink_power, downlink_power),
	TABLE(sub_bands, sub_bands),
	.ping_slot = {.base_hz = 2424000000, .count = 1, .dr = 3},
	.beacon = {.base_hz = 2424000000, .count = 1, .dr = 3},
	.cflist_type = LW_CFLIST_FREQUENCIES,
	.tx_param_setup = true,
	.adr_max_dr = 7,
	TIMING,
};
