/* EU863-870 (RP002-1.0.4 §2.4, 1.0.5 §3.4 and their predecessors), as const tables. */
#include "common/lorawan/region/tables.h"

static const struct lw_channel_run up[] = {
	{.first = 0, .count = 3, .min_dr = 0, .max_dr = 5, .first_hz = 868100000, .step_hz = 200000},
};

/* Only 1.0.4 knows revisions with LR-FHSS and SF5/SF6; the other versions keep the first table whatever the revision.
 */
static const struct lw_payload_row payload[] = {
	{MAC_NOT_1_0_4, RP_ALL, ANY, DIRECT, {59, 59, 59, 123, 250, 250, 250, 250}},
	{MAC_NOT_1_0_4, RP_ALL, ANY, REPEATER, {59, 59, 59, 123, 230, 230, 230, 230}},
	{MAC(1_0_4), RP_002_BEFORE_2, ANY, DIRECT, {59, 59, 59, 123, 250, 250, 250, 250}},
	{MAC(1_0_4), RP_002_BEFORE_2, ANY, REPEATER, {59, 59, 59, 123, 230, 230, 230, 230}},
	{MAC(1_0_4), RP_002_2_TO_4, ANY, DIRECT, {59, 59, 59, 123, 250, 250, 250, 250, 58, 123, 58, 123}},
	{MAC(1_0_4), RP_002_2_TO_4, ANY, REPEATER, {59, 59, 59, 123, 230, 230, 230, 230, 58, 123, 58, 123}},
	{MAC(1_0_4), RP(002_1_0_5), ANY, DIRECT, {59, 59, 59, 123, 250, 250, 250, 250, 58, 123, 58, 123, 250, 250}},
	{MAC(1_0_4), RP(002_1_0_5), ANY, REPEATER, {59, 59, 59, 123, 230, 230, 230, 230, 58, 123, 58, 123, 230, 230}},
};

/* 27 dBm ERP are allowed in one sub-band, 14 dBm ERP (16 dBm EIRP) elsewhere. */
static const struct lw_downlink_power downlink_power[] = {
	{869400000, 869650000, 29},
	{0, UINT32_MAX, 16},
};

static const struct lw_sub_band sub_bands[] = {
	{863000000, 865000000, 1, 1615}, {865000000, 868000000, 10, 1615},  {868000000, 868600000, 10, 1615},
	{868700000, 869200000, 1, 1615}, {869400000, 869650000, 100, 2915}, {869700000, 870000000, 10, 1615},
};

/* Until 1.0.2 A there were six powers. */
static const struct lw_tx_power_row tx_powers[] = {
	{{MAC(1_0_0) | MAC(1_0_1), RP_ALL}, {5, 1600, {0, -2, -4, -6, -8, -10}}},
	{{MAC(1_0_2), RP(A)}, {5, 1600, {0, -2, -4, -6, -8, -10}}},
};

const struct lw_region lw_region_eu868 =
	{
		.id = LW_REGION_EU868,
		.name = "EU868",
		.min_hz = 863000000,
		.max_hz = 870000000,
		.step_hz = 100,
		.up_dr = {LORA(12, 125), LORA(11, 125), LORA(10, 125), LORA(9, 125), LORA(8, 125), LORA(7, 125),
			  LORA(7, 250), FSK(50000), LRFHSS(LW_CR_2_6, 137), LRFHSS(LW_CR_4_6, 137),
			  LRFHSS(LW_CR_2_6, 336), LRFHSS(LW_CR_4_6, 336), LORA(6, 125), LORA(5, 125)},
		.down_dr = {LORA(12, 125), LORA(11, 125), LORA(10, 125), LORA(9, 125), LORA(8, 125), LORA(7, 125),
			    LORA(7, 250), FSK(50000), [12] = LORA(6, 125), [13] = LORA(5, 125)},
		.up = up,
		.n_up = COUNT_OF(up),
		.first_user_channel = 3,
		.user_channels = true,
		.user_min_dr = 0,
		.user_max_dr = 5,
		.dr_range_codes = true,
		.mask_control = LW_MASK_16,
		.rx1_rule = LW_RX1_SAME_FREQUENCY,
		.max_rx1_dr_offset = 5,
		.rx1_dr =
			{
				[0] = {0, 0, 0, 0, 0, 0, -1, -1},
				[1] = {1, 0, 0, 0, 0, 0, -1, -1},
				[2] = {2, 1, 0, 0, 0, 0, -1, -1},
				[3] = {3, 2, 1, 0, 0, 0, -1, -1},
				[4] = {4, 3, 2, 1, 0, 0, -1, -1},
				[5] = {5, 4, 3, 2, 1, 0, -1, -1},
				[6] = {6, 5, 4, 3, 2, 1, -1, -1},
				[7] = {7, 6, 5, 4, 3, 2, -1, -1},
				[8] = {1, 0, 0, 0, 0, 0, -1, -1},
				[9] = {2, 1, 0, 0, 0, 0, -1, -1},
				[10] = {1, 0, 0, 0, 0, 0, -1, -1},
				[11] = {2, 1, 0, 0, 0, 0, -1, -1},
				[12] = {12, 5, 4, 3, 2, 1, -1, -1},
				[13] = {13, 12, 5, 4, 3, 2, -1, -1},
				[14] = {-1, -1, -1, -1, -1, -1, -1, -1},
				[15] = {-1, -1, -1, -1, -1, -1, -1, -1},
			},
		.rx2_hz = 869525000,
		.rx2_dr = 0,
		.payload_down = payload,
		.n_payload_down = COUNT_OF(payload),
		.max_tx_power_index = 7,
		.tx_power_step_db = -2,
		.device_eirp_cdbm = 1600,
		TABLE(tx_powers, tx_powers),
		.downlink_power = downlink_power,
		.n_downlink_power = COUNT_OF(downlink_power),
		.sub_bands = sub_bands,
		.n_sub_bands = COUNT_OF(sub_bands),
		.ping_slot = {.base_hz = 869525000, .count = 1, .dr = 3},
		.beacon = {.base_hz = 869525000, .count = 1, .dr = 3},
		.cflist_type = LW_CFLIST_FREQUENCIES,
		.adr_min_dr = 0,
		.adr_max_dr = 5,
		.rx1_delay_s = 1,
		.join_accept_delay1_s = 5,
		.join_accept_delay2_s = 6,
		.max_fcnt_gap = 16384,
};
