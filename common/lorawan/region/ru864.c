/* RU864-870 (RP001 and RP002 to 1.0.5), as const tables. */
#include "common/lorawan/region/tables.h"

static const struct lw_channel_run up[] = {
	{.first = 0, .count = 2, .min_dr = 0, .max_dr = 5, .first_hz = 868900000, .step_hz = 200000},
};

/* Only 1.0.4 knows a revision with SF5/SF6. */
static const struct lw_payload_row payload_down[] = {
	{MAC_NOT_1_0_4, RP_ALL, ANY, DIRECT, {59, 59, 59, 123, 250, 250, 250, 250}},
	{MAC_NOT_1_0_4, RP_ALL, ANY, REPEATER, {59, 59, 59, 123, 230, 230, 230, 230}},
	{MAC(1_0_4), RP_002_0_TO_4, ANY, DIRECT, {59, 59, 59, 123, 250, 250, 250, 250}},
	{MAC(1_0_4), RP_002_0_TO_4, ANY, REPEATER, {59, 59, 59, 123, 230, 230, 230, 230}},
	{MAC(1_0_4), RP(002_1_0_5), ANY, DIRECT, {59, 59, 59, 123, 250, 250, 250, 250, [12] = 250, 250}},
	{MAC(1_0_4), RP(002_1_0_5), ANY, REPEATER, {59, 59, 59, 123, 230, 230, 230, 230, [12] = 230, 230}},
};

static const struct lw_downlink_power downlink_power[] = {
	{0, UINT32_MAX, 16},
};

/* Three bands with a duty cycle of their own, and one percent between them. */
static const struct lw_sub_band sub_bands[] = {
	{864000000, 865000000, 1, 2215},  {865000000, 866000000, 10, 2215},  {866000000, 868000000, 10, 2215},
	{868000000, 868700000, 10, 2215}, {868700000, 869200000, 100, 2215}, {869200000, 870000000, 10, 2215},
};

const struct lw_region lw_region_ru864 = {
	.id = LW_REGION_RU864,
	.name = "RU864",
	.min_hz = 864000000,
	.max_hz = 870000000,
	.step_hz = 100,
	.up_dr = {SF12_TO_SF7, LORA(7, 250), FSK(50000), [12] = LORA(6, 125), LORA(5, 125)},
	.down_dr = {SF12_TO_SF7, LORA(7, 250), FSK(50000), [12] = LORA(6, 125), LORA(5, 125)},
	TABLE(up, up),
	.first_user_channel = 2,
	.user_channels = true,
	.user_max_dr = 5,
	.dr_range_codes = true,
	.mask_control = LW_MASK_16,
	.rx1_rule = LW_RX1_SAME_FREQUENCY,
	.max_rx1_dr_offset = 5,
	.rx1_dr = {RX1_DR0_TO_DR5, RX1_DR6_DR7, RX1_NO_DR8_TO_DR11, RX1_SF6_SF5, RX1_NO_DR14_DR15},
	.rx2_hz = 869100000,
	.rx2_dr = 0,
	TABLE(payload_down, payload_down),
	.max_tx_power_index = 7,
	.tx_power_step_db = -2,
	.device_eirp_cdbm = 1600,
	TABLE(downlink_power, downlink_power),
	TABLE(sub_bands, sub_bands),
	.ping_slot = {.base_hz = 868900000, .count = 1, .dr = 3},
	.beacon = {.base_hz = 869100000, .count = 1, .dr = 3},
	.cflist_type = LW_CFLIST_FREQUENCIES,
	.adr_max_dr = 5,
	TIMING,
};
