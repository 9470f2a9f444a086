/* The plans of this folder, and abbreviations for their tables. Only they and region.c include it. */
#pragma once

#include "common/lorawan/region.h"

extern const struct lw_region lw_region_eu868;
extern const struct lw_region lw_region_us915;

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

#define LORA(sf_, bw_khz)                                                                                              \
	{                                                                                                              \
		.kind = LW_MOD_LORA, .sf = (sf_), .bw_hz = (bw_khz)*1000U, .cr = LW_CR_4_5                             \
	}
#define FSK(bps)                                                                                                       \
	{                                                                                                              \
		.kind = LW_MOD_FSK, .bitrate_bps = (bps)                                                               \
	}
#define LRFHSS(cr_, width_khz)                                                                                         \
	{                                                                                                              \
		.kind = LW_MOD_LRFHSS, .cr = (cr_), .bw_hz = (width_khz)*1000U                                         \
	}

/* Sets of versions. */
#define MAC(v) (1U << LW_MAC_##v)
#define RP(v) (1U << LW_RP_##v)
#define RP_ALL 0xFFU
#define RP_002_BEFORE_2 (RP(002_1_0_0) | RP(002_1_0_1))
#define RP_002_2_TO_4 (RP(002_1_0_2) | RP(002_1_0_3) | RP(002_1_0_4))

/* struct lw_payload_row: dwell and repeater. */
#define ANY 3U
#define REPEATER 2U
#define DIRECT 1U
