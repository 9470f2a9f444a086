/* AS923-1 to AS923-4 (RP001 and RP002 to 1.0.5), as const tables: one plan, each group moved by its offset. */
#include "common/lorawan/region/tables.h"

#define FIRST 923200000U
#define SECOND 923400000U

/* Only 1.0.4 knows a revision with SF5/SF6; DR2 grew with RP002-1.0.1. */
static const struct lw_payload_row payload_down[] = {
	{MAC_NOT_1_0_4, RP_ALL, NO_DWELL, DIRECT, {59, 59, 59, 123, 250, 250, 250, 250}},
	{MAC_NOT_1_0_4, RP_ALL, NO_DWELL, REPEATER, {59, 59, 59, 123, 230, 230, 230, 230}},
	{MAC_NOT_1_0_4, RP_ALL, DWELL, DIRECT, {0, 0, 19, 61, 133, 250, 250, 250}},
	{MAC_NOT_1_0_4 & ~(MAC(1_0_0) | MAC(1_0_1)), RP_ALL, DWELL, REPEATER, {0, 0, 19, 61, 133, 250, 250, 250}},
	{MAC(1_0_0) | MAC(1_0_1), RP_ALL, DWELL, REPEATER, {0, 0, 19, 61, 133, 230, 230, 230}},
	{MAC(1_0_4), RP(002_1_0_0), NO_DWELL, DIRECT, {59, 59, 59, 123, 250, 250, 250, 250}},
	{MAC(1_0_4), RP(002_1_0_0), NO_DWELL, REPEATER, {59, 59, 59, 123, 230, 230, 230, 230}},
	{MAC(1_0_4), RP_002_1_TO_4, NO_DWELL, DIRECT, {59, 59, 123, 123, 250, 250, 250, 250}},
	{MAC(1_0_4), RP_002_1_TO_4, NO_DWELL, REPEATER, {59, 59, 123, 123, 230, 230, 230, 230}},
	{MAC(1_0_4), RP_002_0_TO_4, DWELL, DIRECT, {0, 0, 19, 61, 133, 250, 250, 250}},
	{MAC(1_0_4), RP_002_0_TO_4, DWELL, REPEATER, {0, 0, 19, 61, 133, 230, 230, 230}},
	{MAC(1_0_4), RP(002_1_0_5), NO_DWELL, DIRECT, {59, 59, 123, 123, 250, 250, 250, 250, [12] = 250, 250}},
	{MAC(1_0_4), RP(002_1_0_5), NO_DWELL, REPEATER, {59, 59, 123, 123, 230, 230, 230, 230, [12] = 230, 230}},
	{MAC(1_0_4), RP(002_1_0_5), DWELL, DIRECT, {0, 0, 19, 61, 133, 250, 250, 250, [12] = 250, 250}},
	{MAC(1_0_4), RP(002_1_0_5), DWELL, REPEATER, {0, 0, 19, 61, 133, 230, 230, 230, [12] = 230, 230}},
};

static const struct lw_downlink_power downlink_power[] = {
	{0, UINT32_MAX, 16},
};

/* The first revision had six powers below 14 dBm. */
static const struct lw_tx_power_row tx_powers[] = {
	{{MAC(1_0_0) | MAC(1_0_1), RP_ALL}, {5, 1400, {0, -2, -4, -6, -8, -10}}},
	{{MAC(1_0_2), RP(A)}, {5, 1400, {0, -2, -4, -6, -8, -10}}},
};

static const struct lw_boot_dwell boot_dwell[] = {
	{{MAC(1_0_2), RP(B)}, true, true},
	{{MAC(1_0_3) | MAC(1_0_4) | MAC(1_1_0), RP_ALL}, true, false},
};

/* With a dwell time on downlinks RX1 goes no slower than DR2. In RP001 it goes no faster than DR5. */
/* clang-format off */
#define RX1_DR0_TO_DR3                                                                                                 \
	[0] = {0, 0, 0, 0, 0, 0, 1, 2},                                                                                \
	[1] = {1, 0, 0, 0, 0, 0, 2, 3},                                                                                \
	[2] = {2, 1, 0, 0, 0, 0, 3, 4},                                                                                \
	[3] = {3, 2, 1, 0, 0, 0, 4, 5}
#define RX1_DWELL_DR0_TO_DR3                                                                                           \
	[0] = {2, 2, 2, 2, 2, 2, 2, 2},                                                                                \
	[1] = {2, 2, 2, 2, 2, 2, 2, 3},                                                                                \
	[2] = {2, 2, 2, 2, 2, 2, 3, 4},                                                                                \
	[3] = {3, 2, 2, 2, 2, 2, 4, 5}
/* clang-format on */

static const int8_t rx1_dr_dwell[LW_DR_COUNT][LW_RX1_OFFSETS] = {
	RX1_DWELL_DR0_TO_DR3,
	[4] = {4, 3, 2, 2, 2, 2, 5, 6},
	[5] = {5, 4, 3, 2, 2, 2, 6, 7},
	[6] = {6, 5, 4, 3, 2, 2, 7, 7},
	[7] = {7, 6, 5, 4, 3, 2, 7, 7},
	RX1_NO_DR8_TO_DR11,
	[12] = {12, 5, 4, 3, 2, 2, 13, 13},
	[13] = {13, 12, 5, 4, 3, 2, 13, 13},
	RX1_NO_DR14_DR15,
};

static const int8_t rp001_rx1_dr_dwell[LW_DR_COUNT][LW_RX1_OFFSETS] = {
	RX1_DWELL_DR0_TO_DR3,
	[4] = {4, 3, 2, 2, 2, 2, 5, 5},
	[5] = {5, 4, 3, 2, 2, 2, 5, 5},
	[6] = {5, 5, 4, 3, 2, 2, 5, 5},
	[7] = {5, 5, 5, 4, 3, 2, 5, 5},
	RX1_NO_DR8_TO_DR11,
	RX1_NO_SF6_SF5,
	RX1_NO_DR14_DR15,
};

#define COMMON(GROUP, TEXT, MIN_HZ, MAX_HZ, LOWER_HZ)                                                                  \
	.id = LW_REGION_##GROUP, .name = TEXT, .min_hz = (MIN_HZ), .max_hz = (MAX_HZ), .step_hz = 100,                 \
	TABLE(up, GROUP##_up), .first_user_channel = 2, .user_channels = true, .user_max_dr = 5,                       \
	.mask_control = LW_MASK_16, .rx1_rule = LW_RX1_SAME_FREQUENCY, .max_rx1_dr_offset = 7,                         \
	.rx2_hz = FIRST - (LOWER_HZ), .rx2_dr = 2, TABLE(payload_down, payload_down), .max_tx_power_index = 7,         \
	.tx_power_step_db = -2, .device_eirp_cdbm = 1600, TABLE(tx_powers, tx_powers),                                 \
	TABLE(downlink_power, downlink_power), TABLE(sub_bands, GROUP##_sub_bands),                                    \
	.ping_slot = {.base_hz = SECOND - (LOWER_HZ), .count = 1, .dr = 3},                                            \
	.beacon = {.base_hz = SECOND - (LOWER_HZ), .count = 1, .dr = 3}, .cflist_type = LW_CFLIST_FREQUENCIES,         \
	.tx_param_setup = true, TABLE(boot_dwell, boot_dwell), .adr_max_dr = 5, TIMING

/* A group with its variant for RP001. */
#define PLAN(TABLE_NAME, GROUP, TEXT, MIN_HZ, MAX_HZ, LOWER_HZ)                                                        \
	static const struct lw_channel_run GROUP##_up[] = {                                                            \
		{.first = 0, .count = 2, .min_dr = 0, .max_dr = 5, .first_hz = FIRST - (LOWER_HZ), .step_hz = 200000}, \
	};                                                                                                             \
	static const struct lw_region GROUP##_rp001 = {                                                                \
		COMMON(GROUP, TEXT, MIN_HZ, MAX_HZ, LOWER_HZ),                                                         \
		.up_dr = {SF12_TO_SF7, LORA(7, 250), FSK(50000)},                                                      \
		.down_dr = {SF12_TO_SF7, LORA(7, 250), FSK(50000)},                                                    \
		.rx1_dr = {RX1_DR0_TO_DR3, [4] = {4, 3, 2, 1, 0, 0, 5, 5}, [5] = {5, 4, 3, 2, 1, 0, 5, 5},             \
			   [6] = {5, 5, 4, 3, 2, 1, 5, 5}, [7] = {5, 5, 5, 4, 3, 2, 5, 5}, RX1_NO_DR8_TO_DR11,         \
			   RX1_NO_SF6_SF5, RX1_NO_DR14_DR15},                                                          \
		.rx1_dr_dwell = rp001_rx1_dr_dwell,                                                                    \
	};                                                                                                             \
	static const struct lw_region_variant GROUP##_variants[] = {                                                   \
		{{MAC(1_0_0) | MAC(1_0_1) | MAC(1_0_2) | MAC(1_0_3), RP_ALL}, &GROUP##_rp001},                         \
		{{MAC(1_1_0), RP(A) | RP(B)}, &GROUP##_rp001},                                                         \
	};                                                                                                             \
	const struct lw_region TABLE_NAME = {                                                                          \
		COMMON(GROUP, TEXT, MIN_HZ, MAX_HZ, LOWER_HZ),                                                         \
		.up_dr = {SF12_TO_SF7, LORA(7, 250), FSK(50000), [12] = LORA(6, 125), LORA(5, 125)},                   \
		.down_dr = {SF12_TO_SF7, LORA(7, 250), FSK(50000), [12] = LORA(6, 125), LORA(5, 125)},                 \
		.dr_range_codes = true,                                                                                \
		.rx1_dr =                                                                                              \
			{RX1_DR0_TO_DR3, [4] = {4, 3, 2, 1, 0, 0, 5, 6}, [5] = {5, 4, 3, 2, 1, 0, 6, 7},               \
			 [6] = {6, 5, 4, 3, 2, 1, 7, 7}, [7] = {7, 6, 5, 4, 3, 2, 7, 7},                               \
			 RX1_NO_DR8_TO_DR11, [12] = {12, 5, 4, 3, 2, 1, 13, 13}, [13] = {13, 12, 5, 4, 3, 2, 13, 13},  \
			 RX1_NO_DR14_DR15},                                                                            \
		.rx1_dr_dwell = rx1_dr_dwell,                                                                          \
		TABLE(variants, GROUP##_variants),                                                                     \
	}

static const struct lw_sub_band AS923_sub_bands[] = {{923000000, 923500000, 10, 1600}};
static const struct lw_sub_band AS923_2_sub_bands[] = {{921400000, 922000000, 10, 1600}};
static const struct lw_sub_band AS923_3_sub_bands[] = {{916500000, 917000000, 10, 1600}};
static const struct lw_sub_band AS923_4_sub_bands[] = {{917300000, 917500000, 10, 1600}};

PLAN(lw_region_as923, AS923, "AS923", 915000000, 928000000, 0);
PLAN(lw_region_as923_2, AS923_2, "AS923-2", 920000000, 923000000, 1800000);
PLAN(lw_region_as923_3, AS923_3, "AS923-3", 915000000, 921000000, 6600000);
PLAN(lw_region_as923_4, AS923_4, "AS923-4", 917000000, 920000000, 5900000);
