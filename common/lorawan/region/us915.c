/* US902-928 (RP002-1.0.4 §2.5, 1.0.5 §3.5 and their predecessors), as const tables. */
#include "common/lorawan/region/tables.h"

static const struct lw_channel_run up[] = {
	{.first = 0, .count = 64, .min_dr = 0, .max_dr = 3, .first_hz = 902300000, .step_hz = 200000},
	{.first = 64, .count = 8, .min_dr = 4, .max_dr = 6, .first_hz = 903000000, .step_hz = 1600000},
};

static const struct lw_channel_run down[] = {
	{.first = 0, .count = 8, .min_dr = 8, .max_dr = 13, .first_hz = 923300000, .step_hz = 600000},
};

static const struct lw_payload_row payload_down[] = {
	{MAC_NOT_1_0_4, RP_ALL, ANY, DIRECT, {[8] = 61, 137, 250, 250, 250, 250}},
	{MAC_NOT_1_0_4, RP_ALL, ANY, REPEATER, {[8] = 41, 117, 230, 230, 230, 230}},
	{MAC(1_0_4), RP_002_BEFORE_2 | RP_002_2_TO_4, ANY, DIRECT, {[8] = 61, 137, 250, 250, 250, 250}},
	{MAC(1_0_4), RP_002_BEFORE_2, ANY, REPEATER, {[8] = 41, 117, 230, 230, 230, 230}},
	{MAC(1_0_4), RP_002_2_TO_4, ANY, REPEATER, {[8] = 61, 137, 230, 230, 230, 230}},
	{MAC(1_0_4), RP(002_1_0_5), ANY, DIRECT, {250, [8] = 61, 137, 250, 250, 250, 250, 250}},
	{MAC(1_0_4), RP(002_1_0_5), ANY, REPEATER, {230, [8] = 61, 137, 230, 230, 230, 230, 230}},
};

#define MID (MAC(1_0_2) | MAC(1_0_3) | MAC(1_1_0))

static const struct lw_payload_row payload_up[] = {
	{MAC(1_0_0), RP_ALL, ANY, ANY, {19, 61, 137, 250, 250}},
	{MAC(1_0_1), RP_ALL, ANY, ANY, {19, 61, 134, 250, 250}},
	{MID, RP_ALL, ANY, ANY, {19, 61, 133, 250, 250}},
	{MAC(1_0_4), RP_002_BEFORE_2, ANY, DIRECT, {19, 61, 133, 250, 250}},
	{MAC(1_0_4), RP_002_BEFORE_2, ANY, REPEATER, {19, 61, 133, 230, 230}},
	{MAC(1_0_4), RP_002_FROM_2, ANY, DIRECT, {19, 61, 133, 250, 250, 58, 133}},
	{MAC(1_0_4), RP_002_FROM_2, ANY, REPEATER, {19, 61, 133, 230, 230, 58, 133}},
};

/* A careful default, not a limit: 36 dBm would be allowed with the usual antennas. */
static const struct lw_downlink_power downlink_power[] = {
	{0, UINT32_MAX, 21},
};

static const struct lw_sub_band sub_bands[] = {
	{902300000, 914900000, 1000, 2315},
	{923300000, 927500000, 1000, 2815},
};

/* Until 1.0.2 there were eleven powers. */
static const struct lw_tx_power_row tx_powers[] = {
	{{MAC(1_0_0) | MAC(1_0_1) | MAC(1_0_2), RP_ALL}, {10, 3000, {0, -2, -4, -6, -8, -10, -12, -14, -16, -18, -20}}},
};

const struct lw_region lw_region_us915 =
	{
		.id = LW_REGION_US915,
		.name = "US915",
		.min_hz = 902000000,
		.max_hz = 928000000,
		.step_hz = 100,
		.up_dr = {LORA(10, 125), LORA(9, 125), LORA(8, 125), LORA(7, 125), LORA(8, 500),
			  LRFHSS(LW_CR_2_6, 1523), LRFHSS(LW_CR_4_6, 1523), LORA(6, 125), LORA(5, 125)},
		.down_dr = {[0] = LORA(5, 500),
			    [8] = LORA(12, 500),
			    LORA(11, 500),
			    LORA(10, 500),
			    LORA(9, 500),
			    LORA(8, 500),
			    LORA(7, 500),
			    LORA(6, 500)},
		.up = up,
		.n_up = COUNT_OF(up),
		.down = down,
		.n_down = COUNT_OF(down),
		.first_user_channel = 72,
		.user_channels = false,
		.mask_control = LW_MASK_64_8,
		.rx1_rule = LW_RX1_INDEX_MODULO,
		.max_rx1_dr_offset = 3,
		.rx1_dr =
			{
				[0] = {10, 9, 8, 8, -1, -1, -1, -1},
				[1] = {11, 10, 9, 8, -1, -1, -1, -1},
				[2] = {12, 11, 10, 9, -1, -1, -1, -1},
				[3] = {13, 12, 11, 10, -1, -1, -1, -1},
				[4] = {13, 13, 12, 11, -1, -1, -1, -1},
				[5] = {10, 9, 8, 8, -1, -1, -1, -1},
				[6] = {11, 10, 9, 8, -1, -1, -1, -1},
				[7] = {14, 13, 12, 11, -1, -1, -1, -1},
				[8] = {0, 14, 13, 12, -1, -1, -1, -1},
				[9] = {-1, -1, -1, -1, -1, -1, -1, -1},
				[10] = {-1, -1, -1, -1, -1, -1, -1, -1},
				[11] = {-1, -1, -1, -1, -1, -1, -1, -1},
				[12] = {-1, -1, -1, -1, -1, -1, -1, -1},
				[13] = {-1, -1, -1, -1, -1, -1, -1, -1},
				[14] = {-1, -1, -1, -1, -1, -1, -1, -1},
				[15] = {-1, -1, -1, -1, -1, -1, -1, -1},
			},
		.rx2_hz = 923300000,
		.rx2_dr = 8,
		.payload_down = payload_down,
		.n_payload_down = COUNT_OF(payload_down),
		.payload_up = payload_up,
		.n_payload_up = COUNT_OF(payload_up),
		.max_tx_power_index = 14,
		.tx_power_step_db = -2,
		.device_eirp_cdbm = 3000,
		TABLE(tx_powers, tx_powers),
		.downlink_power = downlink_power,
		.n_downlink_power = COUNT_OF(downlink_power),
		.sub_bands = sub_bands,
		.n_sub_bands = COUNT_OF(sub_bands),
		.ping_slot = {.base_hz = 923300000, .step_hz = 600000, .count = 8, .dr = 8},
		.beacon = {.base_hz = 923300000, .step_hz = 600000, .count = 8, .dr = 8},
		.cflist_type = LW_CFLIST_MASKS,
		.adr_min_dr = 0,
		.adr_max_dr = 3,
		.rx1_delay_s = 1,
		.join_accept_delay1_s = 5,
		.join_accept_delay2_s = 6,
		.max_fcnt_gap = 16384,
};
