/* The plans of this folder, and abbreviations for their tables. Only they and region.c include it. */
#pragma once

#include "common/lorawan/region.h"

extern const struct lw_region lw_region_eu868;
extern const struct lw_region lw_region_us915;
extern const struct lw_region lw_region_cn779;
extern const struct lw_region lw_region_eu433;
extern const struct lw_region lw_region_au915;
extern const struct lw_region lw_region_cn470;
extern const struct lw_region lw_region_cn470_20a_0;
extern const struct lw_region lw_region_cn470_20a_1;
extern const struct lw_region lw_region_cn470_20a_2;
extern const struct lw_region lw_region_cn470_20a_3;
extern const struct lw_region lw_region_cn470_20a_4;
extern const struct lw_region lw_region_cn470_20a_5;
extern const struct lw_region lw_region_cn470_20a_6;
extern const struct lw_region lw_region_cn470_20a_7;
extern const struct lw_region lw_region_cn470_20b_0;
extern const struct lw_region lw_region_cn470_20b_1;
extern const struct lw_region lw_region_cn470_26a;
extern const struct lw_region lw_region_cn470_26b;
extern const struct lw_region lw_region_as923;
extern const struct lw_region lw_region_as923_2;
extern const struct lw_region lw_region_as923_3;
extern const struct lw_region lw_region_as923_4;
extern const struct lw_region lw_region_kr920;
extern const struct lw_region lw_region_in865;
extern const struct lw_region lw_region_ru864;
extern const struct lw_region lw_region_ism2400;

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

#define LORA(sf_, bw_khz)                                                                                              \
	{                                                                                                              \
		.kind = LW_MOD_LORA, .sf = (sf_), .bw_hz = (bw_khz)*1000U, .cr = LW_CR_4_5                             \
	}
#define LORA_LI(sf_, bw_khz)                                                                                           \
	{                                                                                                              \
		.kind = LW_MOD_LORA, .sf = (sf_), .bw_hz = (bw_khz)*1000U, .cr = LW_CR_LI_4_8                          \
	}
#define FSK(bps)                                                                                                       \
	{                                                                                                              \
		.kind = LW_MOD_FSK, .bitrate_bps = (bps)                                                               \
	}
#define LRFHSS(cr_, width_khz)                                                                                         \
	{                                                                                                              \
		.kind = LW_MOD_LRFHSS, .cr = (cr_), .bw_hz = (width_khz)*1000U                                         \
	}

#define SF12_TO_SF7 LORA(12, 125), LORA(11, 125), LORA(10, 125), LORA(9, 125), LORA(8, 125), LORA(7, 125)

/* Rows of RX1 rates that most plans share: one rate lower per step of the offset. */
/* clang-format off */
#define RX1_NONE {-1, -1, -1, -1, -1, -1, -1, -1}
#define RX1_DR0_TO_DR5                                                                                                 \
	[0] = {0, 0, 0, 0, 0, 0, -1, -1},                                                                              \
	[1] = {1, 0, 0, 0, 0, 0, -1, -1},                                                                              \
	[2] = {2, 1, 0, 0, 0, 0, -1, -1},                                                                              \
	[3] = {3, 2, 1, 0, 0, 0, -1, -1},                                                                              \
	[4] = {4, 3, 2, 1, 0, 0, -1, -1},                                                                              \
	[5] = {5, 4, 3, 2, 1, 0, -1, -1}
#define RX1_DR6_DR7                                                                                                    \
	[6] = {6, 5, 4, 3, 2, 1, -1, -1},                                                                              \
	[7] = {7, 6, 5, 4, 3, 2, -1, -1}
#define RX1_NO_DR6_DR7 [6] = RX1_NONE, [7] = RX1_NONE
#define RX1_NO_DR8_TO_DR11 [8] = RX1_NONE, [9] = RX1_NONE, [10] = RX1_NONE, [11] = RX1_NONE
#define RX1_SF6_SF5                                                                                                    \
	[12] = {12, 5, 4, 3, 2, 1, -1, -1},                                                                            \
	[13] = {13, 12, 5, 4, 3, 2, -1, -1}
#define RX1_NO_SF6_SF5 [12] = RX1_NONE, [13] = RX1_NONE
#define RX1_NO_DR14_DR15 [14] = RX1_NONE, [15] = RX1_NONE
/* clang-format on */

/* The same in every plan. */
#define TIMING .rx1_delay_s = 1, .join_accept_delay1_s = 5, .join_accept_delay2_s = 6, .max_fcnt_gap = 16384
#define TABLE(member, t) .member = (t), .n_##member = COUNT_OF(t)

/* Sets of versions. */
#define MAC(v) (1U << LW_MAC_##v)
#define RP(v) (1U << LW_RP_##v)
#define RP_ALL 0xFFU
#define RP_002_0_TO_4 (RP(002_1_0_0) | RP_002_1_TO_4)
#define RP_002_1_TO_4 (RP(002_1_0_1) | RP_002_2_TO_4)
#define RP_002_FROM_1 (RP_002_1_TO_4 | RP(002_1_0_5))
#define RP_002_FROM_2 (RP_002_2_TO_4 | RP(002_1_0_5))
#define RP_002_BEFORE_2 (RP(002_1_0_0) | RP(002_1_0_1))
#define RP_002_2_TO_4 (RP(002_1_0_2) | RP(002_1_0_3) | RP(002_1_0_4))

/* MAC versions that know regional parameters of their own time only, whatever revision a profile names. */
#define MAC_NOT_1_0_4 (MAC(1_0_0) | MAC(1_0_1) | MAC(1_0_2) | MAC(1_0_3) | MAC(1_1_0))

/* struct lw_payload_row: dwell and repeater. */
#define ANY 3U
#define REPEATER 2U
#define DIRECT 1U
#define NO_DWELL 1U
#define DWELL 2U
