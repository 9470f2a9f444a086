/* CN470-510, as const tables: the plan of 96 channels (RP001), and the plans of 20 and 26 MHz (RP002-1.0.1 and later),
 * where the common join channel that a device used decides plan, RX2, beacon and ping slots. */
#include "common/lorawan/region/tables.h"

static const struct lw_downlink_power downlink_power[] = {
	{0, UINT32_MAX, 19},
};

static const struct lw_sub_band sub_bands[] = {
	{470000000, 510000000, 1000, 1915},
};

#define RUN(FIRST_INDEX, COUNT, MIN_DR, HZ)                                                                            \
	{                                                                                                              \
		.first = (FIRST_INDEX), .count = (COUNT), .min_dr = (MIN_DR), .max_dr = 5, .first_hz = (HZ),           \
		.step_hz = 200000                                                                                      \
	}

#define COMMON                                                                                                         \
	.min_hz = 470000000, .max_hz = 510000000, .step_hz = 100, .mask_control = LW_MASK_BLOCKS,                      \
	.rx1_rule = LW_RX1_INDEX_MODULO, .max_rx1_dr_offset = 5, .max_tx_power_index = 7, .tx_power_step_db = -2,      \
	.device_eirp_cdbm = 1915, TABLE(downlink_power, downlink_power), TABLE(sub_bands, sub_bands),                  \
	.cflist_type = LW_CFLIST_MASKS, .adr_max_dr = 5, TIMING

/* ---- 96 channels ---- */

static const struct lw_channel_run up[] = {RUN(0, 96, 0, 470300000)};
static const struct lw_channel_run down[] = {RUN(0, 48, 0, 500300000)};

/* Since RP002-1.0.1 no emission lasts a second or more, which leaves nothing for DR0. */
static const struct lw_payload_row payload_down[] = {
	{MAC(1_0_0) | MAC(1_0_1), RP_ALL, ANY, ANY, {59, 59, 59, 123, 230, 230}},
	{MAC(1_0_2) | MAC(1_0_3) | MAC(1_1_0), RP_ALL, ANY, DIRECT, {59, 59, 59, 123, 250, 250}},
	{MAC(1_0_2) | MAC(1_0_3) | MAC(1_1_0), RP_ALL, ANY, REPEATER, {59, 59, 59, 123, 230, 230}},
	{MAC(1_0_4), RP(002_1_0_0), ANY, DIRECT, {59, 59, 59, 123, 250, 250}},
	{MAC(1_0_4), RP(002_1_0_0), ANY, REPEATER, {59, 59, 59, 123, 230, 230}},
	{MAC(1_0_4), RP(002_1_0_1), ANY, REPEATER, {0, 31, 94, 172, 230, 230, 230, 230}},
	{MAC(1_0_4), RP_002_FROM_1, ANY, DIRECT, {0, 31, 94, 192, 250, 250, 250, 250}},
	{MAC(1_0_4), RP_002_FROM_2, ANY, REPEATER, {0, 31, 94, 192, 230, 230, 230, 230}},
};

/* The first revisions count from 17 dBm, in uneven steps. */
static const struct lw_tx_power_row tx_powers[] = {
	{{MAC(1_0_0) | MAC(1_0_1), RP_ALL}, {7, 1700, {0, -1, -3, -5, -7, -10, -12, -15}}},
	{{MAC(1_0_2), RP(A)}, {7, 1700, {0, -1, -3, -5, -7, -10, -12, -15}}},
};

const struct lw_region lw_region_cn470 = {
	COMMON,
	.id = LW_REGION_CN470,
	.name = "CN470",
	.up_dr = {SF12_TO_SF7, LORA(7, 500), FSK(50000)},
	.down_dr = {SF12_TO_SF7, LORA(7, 500), FSK(50000)},
	TABLE(up, up),
	TABLE(down, down),
	.first_user_channel = 96,
	.mask_all_on = 6,
	.rx1_dr = {RX1_DR0_TO_DR5, RX1_NO_DR6_DR7, RX1_NO_DR8_TO_DR11, RX1_NO_SF6_SF5, RX1_NO_DR14_DR15},
	.rx2_hz = 505300000,
	.rx2_dr = 0,
	TABLE(payload_down, payload_down),
	TABLE(tx_powers, tx_powers),
	.ping_slot = {.base_hz = 508300000, .step_hz = 200000, .count = 8, .dr = 2},
	.beacon = {.base_hz = 508300000, .step_hz = 200000, .count = 8, .dr = 2},
};

/* ---- 20 and 26 MHz ---- */

static const struct lw_payload_row rp002_payload_down[] = {
	{MAC_NOT_1_0_4 | MAC(1_0_4), RP_ALL, ANY, DIRECT, {0, 31, 94, 192, 250, 250, 250, 250}},
	{MAC_NOT_1_0_4 | MAC(1_0_4), RP_ALL, ANY, REPEATER, {0, 31, 94, 192, 230, 230, 230, 230}},
	{MAC(1_0_4), RP(002_1_0_1), ANY, REPEATER, {0, 31, 94, 172, 230, 230, 230, 230}},
};

#define COMMON_RP002                                                                                                   \
	COMMON, .up_dr = {[1] = LORA(11, 125), LORA(10, 125), LORA(9, 125), LORA(8, 125),                              \
			  LORA(7, 125),        LORA(7, 500),  FSK(50000)},                                             \
		.down_dr = {[1] = LORA(11, 125), LORA(10, 125), LORA(9, 125), LORA(8, 125),                            \
			    LORA(7, 125),        LORA(7, 500),  FSK(50000)},                                           \
		.rx1_dr = {[0] = RX1_NONE,                                                                             \
			   [1] = {1, 1, 1, 1, 1, 1, -1, -1},                                                           \
			   [2] = {2, 1, 1, 1, 1, 1, -1, -1},                                                           \
			   [3] = {3, 2, 1, 1, 1, 1, -1, -1},                                                           \
			   [4] = {4, 3, 2, 1, 1, 1, -1, -1},                                                           \
			   [5] = {5, 4, 3, 2, 1, 1, -1, -1},                                                           \
			   [6] = {6, 5, 4, 3, 2, 1, -1, -1},                                                           \
			   [7] = {7, 6, 5, 4, 3, 2, -1, -1},                                                           \
			   RX1_NO_DR8_TO_DR11,                                                                         \
			   RX1_NO_SF6_SF5,                                                                             \
			   RX1_NO_DR14_DR15},                                                                          \
		.rx2_dr = 1, TABLE(payload_down, rp002_payload_down), .adr_min_dr = 1

static const struct lw_channel_run up_20a[] = {RUN(0, 32, 1, 470300000), RUN(32, 32, 1, 503500000)};
static const struct lw_channel_run down_20a[] = {RUN(0, 32, 1, 483900000), RUN(32, 32, 1, 490300000)};
static const struct lw_channel_run up_20b[] = {RUN(0, 32, 1, 476900000), RUN(32, 32, 1, 496900000)};
static const struct lw_channel_run up_26a[] = {RUN(0, 48, 1, 470300000)};
static const struct lw_channel_run down_26a[] = {RUN(0, 24, 1, 490100000)};
static const struct lw_channel_run up_26b[] = {RUN(0, 48, 1, 480300000)};
static const struct lw_channel_run down_26b[] = {RUN(0, 24, 1, 500100000)};

static const struct lw_join_channel join_20a[] = {
	{470900000, 484500000, 485300000}, {472500000, 486100000, 486900000}, {474100000, 487700000, 488500000},
	{475700000, 489300000, 490100000}, {504100000, 490900000, 491700000}, {505700000, 492500000, 493300000},
	{507300000, 494100000, 494900000}, {508900000, 495700000, 496500000},
};
static const struct lw_join_channel join_20b[] = {
	{479900000, 479900000, 478300000},
	{499900000, 499900000, 498300000},
};
static const struct lw_join_channel join_26a[] = {
	{470300000, 492500000, 492500000}, {472300000, 492500000, 492500000}, {474300000, 492500000, 492500000},
	{476300000, 492500000, 492500000}, {478300000, 492500000, 492500000},
};
static const struct lw_join_channel join_26b[] = {
	{480300000, 502500000, 502500000}, {482300000, 502500000, 502500000}, {484300000, 502500000, 502500000},
	{486300000, 502500000, 502500000}, {488300000, 502500000, 502500000},
};

/* 20 MHz, A: join channel J has the eight downlink channels from 8*J for beacon and ping slots, and RX2 on the last. */
#define PLAN_20A(J, HZ)                                                                                                \
	const struct lw_region lw_region_cn470_20a_##J = {                                                             \
		COMMON_RP002,                                                                                          \
		.id = LW_REGION_CN470_20A_##J,                                                                         \
		.name = "CN470-20A-" #J,                                                                               \
		TABLE(up, up_20a),                                                                                     \
		TABLE(down, down_20a),                                                                                 \
		.first_user_channel = 64,                                                                              \
		.mask_all_on = 6,                                                                                      \
		.mask_all_off = 7,                                                                                     \
		.rx2_hz = (HZ) + 7 * 200000,                                                                           \
		.abp_rx2_hz = 486900000,                                                                               \
		TABLE(join_channels, join_20a),                                                                        \
		.ping_slot = {.base_hz = (HZ), .step_hz = 200000, .count = 8, .dr = 2},                                \
		.beacon = {.base_hz = (HZ), .step_hz = 200000, .count = 8, .dr = 2},                                   \
	}

PLAN_20A(0, 483900000);
PLAN_20A(1, 485500000);
PLAN_20A(2, 487100000);
PLAN_20A(3, 488700000);
PLAN_20A(4, 490300000);
PLAN_20A(5, 491900000);
PLAN_20A(6, 493500000);
PLAN_20A(7, 495100000);

/* 20 MHz, B: a join channel in each half, which has 32 frequencies for ping slots and one for the beacon. */
#define PLAN_20B(J, HZ)                                                                                                \
	const struct lw_region lw_region_cn470_20b_##J = {                                                             \
		COMMON_RP002,                                                                                          \
		.id = LW_REGION_CN470_20B_##J,                                                                         \
		.name = "CN470-20B-" #J,                                                                               \
		TABLE(up, up_20b),                                                                                     \
		TABLE(down, up_20b),                                                                                   \
		.first_user_channel = 64,                                                                              \
		.mask_all_on = 6,                                                                                      \
		.mask_all_off = 7,                                                                                     \
		.rx2_hz = (HZ) + 7 * 200000,                                                                           \
		.abp_rx2_hz = 498300000,                                                                               \
		TABLE(join_channels, join_20b),                                                                        \
		.ping_slot = {.base_hz = (HZ), .step_hz = 200000, .count = 32, .dr = 2},                               \
		.beacon = {.base_hz = (HZ) + 23 * 200000, .count = 1, .dr = 2},                                        \
	}

PLAN_20B(0, 476900000);
PLAN_20B(1, 496900000);

/* 26 MHz: one frequency for each purpose. */
#define PLAN_26(LOWER, UPPER, RX2_HZ, BEACON_HZ)                                                                       \
	const struct lw_region lw_region_cn470_26##LOWER = {                                                           \
		COMMON_RP002,                                                                                          \
		.id = LW_REGION_CN470_26##UPPER,                                                                       \
		.name = "CN470-26" #UPPER,                                                                             \
		TABLE(up, up_26##LOWER),                                                                               \
		TABLE(down, down_26##LOWER),                                                                           \
		.first_user_channel = 48,                                                                              \
		.mask_all_on = 3,                                                                                      \
		.mask_all_off = 4,                                                                                     \
		.rx2_hz = (RX2_HZ),                                                                                    \
		TABLE(join_channels, join_26##LOWER),                                                                  \
		.ping_slot = {.base_hz = (BEACON_HZ), .count = 1, .dr = 2},                                            \
		.beacon = {.base_hz = (BEACON_HZ), .count = 1, .dr = 2},                                               \
	}

PLAN_26(a, A, 492500000, 494900000);
PLAN_26(b, B, 502500000, 504900000);
