/* IN865-867 (RP001 and RP002 to 1.0.5), as const tables. DR6 is not used. */
#include "common/lorawan/region/tables.h"

static const struct lw_channel_run up[] = {
	{.first = 0, .count = 1, .min_dr = 0, .max_dr = 5, .first_hz = 865062500},
	{.first = 1, .count = 1, .min_dr = 0, .max_dr = 5, .first_hz = 865402500},
	{.first = 2, .count = 1, .min_dr = 0, .max_dr = 5, .first_hz = 865985000},
};

/* Only 1.0.4 knows a revision with SF5/SF6. */
static const struct lw_payload_row payload_down[] = {
	{MAC_NOT_1_0_4, RP_ALL, ANY, DIRECT, {59, 59, 59, 123, 250, 250, 0, 250}},
	{MAC_NOT_1_0_4, RP_ALL, ANY, REPEATER, {59, 59, 59, 123, 230, 230, 0, 230}},
	{MAC(1_0_4), RP_002_0_TO_4, ANY, DIRECT, {59, 59, 59, 123, 250, 250, 0, 250}},
	{MAC(1_0_4), RP_002_0_TO_4, ANY, REPEATER, {59, 59, 59, 123, 230, 230, 0, 230}},
	{MAC(1_0_4), RP(002_1_0_5), ANY, DIRECT, {59, 59, 59, 123, 250, 250, 0, 250, [12] = 250, 250}},
	{MAC(1_0_4), RP(002_1_0_5), ANY, REPEATER, {59, 59, 59, 123, 230, 230, 0, 230, [12] = 230, 230}},
};

static const struct lw_downlink_power downlink_power[] = {
	{0, UINT32_MAX, 30},
};

static const struct lw_sub_band sub_bands[] = {
	{865000000, 867000000, 1000, 1615},
};

/* clang-format off */
#define RX1_DR0_TO_DR4                                                                                                 \
	[0] = {0, 0, 0, 0, 0, 0, 1, 2},                                                                                \
	[1] = {1, 0, 0, 0, 0, 0, 2, 3},                                                                                \
	[2] = {2, 1, 0, 0, 0, 0, 3, 4},                                                                                \
	[3] = {3, 2, 1, 0, 0, 0, 4, 5},                                                                                \
	[4] = {4, 3, 2, 1, 0, 0, 5, 5}
/* clang-format on */

#define COMMON                                                                                                         \
	.id = LW_REGION_IN865, .name = "IN865", .min_hz = 865000000, .max_hz = 867000000, .step_hz = 100,              \
	TABLE(up, up), .first_user_channel = 3, .user_channels = true, .user_max_dr = 5, .mask_control = LW_MASK_16,   \
	.rx1_rule = LW_RX1_SAME_FREQUENCY, .max_rx1_dr_offset = 7, .rx2_hz = 866550000, .rx2_dr = 2,                   \
	TABLE(payload_down, payload_down), .max_tx_power_index = 10, .tx_power_step_db = -2, .device_eirp_cdbm = 3000, \
	TABLE(downlink_power, downlink_power), TABLE(sub_bands, sub_bands),                                            \
	.ping_slot = {.base_hz = 866550000, .count = 1, .dr = 4},                                                      \
	.beacon = {.base_hz = 866550000, .count = 1, .dr = 4}, .cflist_type = LW_CFLIST_FREQUENCIES, .adr_max_dr = 5,  \
	TIMING

/* RP001: RX1 goes no faster than DR5. */
static const struct lw_region rp001 = {
	COMMON,
	.up_dr = {SF12_TO_SF7, [7] = FSK(50000)},
	.down_dr = {SF12_TO_SF7, [7] = FSK(50000)},
	.rx1_dr =
		{
			RX1_DR0_TO_DR4,
			[5] = {5, 4, 3, 2, 1, 0, 5, 5},
			[6] = RX1_NONE,
			[7] = {5, 5, 5, 4, 3, 2, 5, 5},
			RX1_NO_DR8_TO_DR11,
			RX1_NO_SF6_SF5,
			RX1_NO_DR14_DR15,
		},
};

static const struct lw_region_variant variants[] = {
	{{MAC(1_0_0) | MAC(1_0_1) | MAC(1_0_2) | MAC(1_0_3), RP_ALL}, &rp001},
	{{MAC(1_1_0), RP(A) | RP(B)}, &rp001},
};

const struct lw_region lw_region_in865 = {
	COMMON,
	.up_dr = {SF12_TO_SF7, [7] = FSK(50000), [12] = LORA(6, 125), LORA(5, 125)},
	.down_dr = {SF12_TO_SF7, [7] = FSK(50000), [12] = LORA(6, 125), LORA(5, 125)},
	.dr_range_codes = true,
	.rx1_dr =
		{
			RX1_DR0_TO_DR4,
			[5] = {5, 4, 3, 2, 1, 0, 5, 7},
			[6] = RX1_NONE,
			[7] = {7, 5, 5, 4, 3, 2, 7, 7},
			RX1_NO_DR8_TO_DR11,
			[12] = {12, 5, 4, 3, 2, 1, 13, 13},
			[13] = {13, 12, 5, 4, 3, 2, 13, 13},
			RX1_NO_DR14_DR15,
		},
	TABLE(variants, variants),
};
