/* AU915-928 (RP001 and RP002 to 1.0.5), as const tables. The first revisions had the data rates of US915. */
#include "common/lorawan/region/tables.h"

static const struct lw_channel_run up[] = {
	{.first = 0, .count = 64, .min_dr = 0, .max_dr = 5, .first_hz = 915200000, .step_hz = 200000},
	{.first = 64, .count = 8, .min_dr = 6, .max_dr = 7, .first_hz = 915900000, .step_hz = 1600000},
};

static const struct lw_channel_run legacy_up[] = {
	{.first = 0, .count = 64, .min_dr = 0, .max_dr = 3, .first_hz = 915200000, .step_hz = 200000},
	{.first = 64, .count = 8, .min_dr = 4, .max_dr = 4, .first_hz = 915900000, .step_hz = 1600000},
};

static const struct lw_channel_run down[] = {
	{.first = 0, .count = 8, .min_dr = 8, .max_dr = 13, .first_hz = 923300000, .step_hz = 600000},
};

static const struct lw_payload_row payload_down[] = {
	{MAC_NOT_1_0_4, RP_ALL, ANY, DIRECT, {[8] = 61, 137, 250, 250, 250, 250}},
	{MAC_NOT_1_0_4, RP_ALL, ANY, REPEATER, {[8] = 41, 117, 230, 230, 230, 230}},
	{MAC(1_0_4), RP_002_0_TO_4, ANY, DIRECT, {[8] = 61, 137, 250, 250, 250, 250}},
	{MAC(1_0_4), RP_002_BEFORE_2, ANY, REPEATER, {[8] = 41, 117, 230, 230, 230, 230}},
	{MAC(1_0_4), RP_002_2_TO_4, ANY, REPEATER, {[8] = 61, 137, 230, 230, 230, 230}},
	{MAC(1_0_4), RP(002_1_0_5), ANY, DIRECT, {250, [8] = 61, 137, 250, 250, 250, 250, 250}},
	{MAC(1_0_4), RP(002_1_0_5), ANY, REPEATER, {230, [8] = 61, 137, 230, 230, 230, 230, 230}},
};

#define MID (MAC(1_0_2) | MAC(1_0_3) | MAC(1_1_0))

/* Devices before 1.0.3 cannot be told a dwell time; the profile's word for one still counts. */
static const struct lw_payload_row payload_up[] = {
	{MAC(1_0_0) | MAC(1_0_1), RP_ALL, ANY, ANY, {19, 61, 134, 250, 250}},
	{MID, RP_ALL, NO_DWELL, DIRECT, {59, 59, 59, 123, 250, 250, 250}},
	{MID, RP_ALL, NO_DWELL, REPEATER, {59, 59, 59, 123, 230, 230, 230}},
	{MID, RP_ALL, DWELL, ANY, {0, 0, 19, 61, 133, 250, 250}},
	{MAC(1_0_4), RP_002_BEFORE_2, NO_DWELL, DIRECT, {59, 59, 59, 123, 250, 250, 250}},
	{MAC(1_0_4), RP_002_BEFORE_2, NO_DWELL, REPEATER, {59, 59, 59, 123, 230, 230, 230}},
	{MAC(1_0_4), RP_002_BEFORE_2, DWELL, DIRECT, {0, 0, 19, 61, 133, 250, 250}},
	{MAC(1_0_4), RP_002_BEFORE_2, DWELL, REPEATER, {0, 0, 19, 61, 133, 230, 230}},
	{MAC(1_0_4), RP_002_FROM_2, NO_DWELL, DIRECT, {59, 59, 59, 123, 250, 250, 250, 58}},
	{MAC(1_0_4), RP_002_FROM_2, NO_DWELL, REPEATER, {59, 59, 59, 123, 230, 230, 230, 58}},
	{MAC(1_0_4), RP_002_FROM_2, DWELL, DIRECT, {0, 0, 19, 61, 133, 250, 250, 58}},
	{MAC(1_0_4), RP_002_FROM_2, DWELL, REPEATER, {0, 0, 19, 61, 133, 230, 230, 58}},
};

static const struct lw_downlink_power downlink_power[] = {
	{0, UINT32_MAX, 30},
};

static const struct lw_sub_band sub_bands[] = {
	{915000000, 928000000, 1000, 3000},
};

static const struct lw_tx_power_row tx_powers[] = {
	{{MAC(1_0_0) | MAC(1_0_1) | MAC(1_0_2), RP_ALL}, {10, 3000, {0, -2, -4, -6, -8, -10, -12, -14, -16, -18, -20}}},
	{{MAC(1_1_0), RP(A)}, {10, 3000, {0, -2, -4, -6, -8, -10, -12, -14, -16, -18, -20}}},
};

static const struct lw_versions no_tx_param[] = {
	{MAC(1_0_2), RP_ALL},
	{MAC(1_1_0), RP(A)},
};

static const struct lw_boot_dwell boot_dwell[] = {
	{{MAC(1_0_3) | MAC(1_0_4), RP_ALL}, true, false},
	{{MAC(1_1_0), RP_ALL & ~RP(A)}, true, false},
};

#define COMMON                                                                                                         \
	.id = LW_REGION_AU915, .name = "AU915", .min_hz = 915000000, .max_hz = 928000000, .step_hz = 100,              \
	TABLE(down, down), .first_user_channel = 72, .mask_control = LW_MASK_64_8, .rx1_rule = LW_RX1_INDEX_MODULO,    \
	.rx2_hz = 923300000, .rx2_dr = 8, TABLE(payload_down, payload_down), TABLE(payload_up, payload_up),            \
	.max_tx_power_index = 14, .tx_power_step_db = -2, .device_eirp_cdbm = 3000, TABLE(tx_powers, tx_powers),       \
	TABLE(downlink_power, downlink_power), TABLE(sub_bands, sub_bands),                                            \
	.ping_slot = {.base_hz = 923300000, .step_hz = 600000, .count = 8, .dr = 8},                                   \
	.beacon = {.base_hz = 923300000, .step_hz = 600000, .count = 8, .dr = 8}, .cflist_type = LW_CFLIST_MASKS,      \
	TIMING

static const struct lw_region legacy = {
	COMMON,
	.up_dr = {LORA(10, 125), LORA(9, 125), LORA(8, 125), LORA(7, 125), LORA(8, 500)},
	.down_dr = {[8] = LORA(12, 500), LORA(11, 500), LORA(10, 500), LORA(9, 500), LORA(8, 500), LORA(7, 500)},
	TABLE(up, legacy_up),
	.max_rx1_dr_offset = 3,
	.rx1_dr =
		{
			[0] = {10, 9, 8, 8, -1, -1, -1, -1},
			[1] = {11, 10, 9, 8, -1, -1, -1, -1},
			[2] = {12, 11, 10, 9, -1, -1, -1, -1},
			[3] = {13, 12, 11, 10, -1, -1, -1, -1},
			[4] = {13, 13, 12, 11, -1, -1, -1, -1},
			[5] = RX1_NONE,
			RX1_NO_DR6_DR7,
			RX1_NO_DR8_TO_DR11,
			RX1_NO_SF6_SF5,
			RX1_NO_DR14_DR15,
		},
	.adr_max_dr = 3,
};

/* The rule also names 1.0.2 with revision A. Profiles carry A where nobody chose, and devices of 1.0.2 in the field
 * have the later rates. */
static const struct lw_region_variant variants[] = {
	{{MAC(1_0_0) | MAC(1_0_1), RP_ALL}, &legacy},
};

const struct lw_region lw_region_au915 =
	{
		COMMON,
		.up_dr = {SF12_TO_SF7, LORA(8, 500), LRFHSS(LW_CR_2_6, 1523), [9] = LORA(6, 125), LORA(5, 125)},
		.down_dr = {[0] = LORA(5, 500),
			    [8] = LORA(12, 500),
			    LORA(11, 500),
			    LORA(10, 500),
			    LORA(9, 500),
			    LORA(8, 500),
			    LORA(7, 500),
			    LORA(6, 500)},
		TABLE(up, up),
		.max_rx1_dr_offset = 5,
		.rx1_dr =
			{
				[0] = {8, 8, 8, 8, 8, 8, -1, -1},
				[1] = {9, 8, 8, 8, 8, 8, -1, -1},
				[2] = {10, 9, 8, 8, 8, 8, -1, -1},
				[3] = {11, 10, 9, 8, 8, 8, -1, -1},
				[4] = {12, 11, 10, 9, 8, 8, -1, -1},
				[5] = {13, 12, 11, 10, 9, 8, -1, -1},
				[6] = {13, 13, 12, 11, 10, 9, -1, -1},
				[7] = {9, 8, 8, 8, 8, 8, -1, -1},
				[8] = RX1_NONE,
				[9] = {14, 13, 12, 11, 10, 9, -1, -1},
				[10] = {0, 14, 13, 12, 11, 10, -1, -1},
				[11] = RX1_NONE,
				RX1_NO_SF6_SF5,
				RX1_NO_DR14_DR15,
			},
		.tx_param_setup = true,
		TABLE(no_tx_param, no_tx_param),
		TABLE(boot_dwell, boot_dwell),
		.adr_max_dr = 5,
		TABLE(variants, variants),
};
