/* The ready-made region configurations: identifiers, topic prefixes and values of the reference, and the plans of CN470
 * that it does not have. A further plan is a further row (or a macro of rows for its sub-bands). */
#include "network-server/domain/region_config.h"

#include <string.h>

#define DEFAULTS                                                                                                       \
	.installation_margin_db = 10, .rx1_delay_s = 1, .gateway_prefer_min_margin_db = 10, .downlink_tx_power_dbm = -1

#define EIGHT(FIRST) (FIRST), (FIRST) + 1, (FIRST) + 2, (FIRST) + 3, (FIRST) + 4, (FIRST) + 5, (FIRST) + 6, (FIRST) + 7

/* A plan with its default channels only. */
#define PLAIN(ID, COMMON_NAME, REGION, RX2_HZ, RX2_DR, MAX_DR, PING_SLOT_DR)                                           \
	{                                                                                                              \
		.id = (ID), .topic_prefix = (ID), .common_name = (COMMON_NAME), .description = (COMMON_NAME),          \
		.region = LW_REGION_##REGION, DEFAULTS, .rx2_dr = (RX2_DR), .rx2_hz = (RX2_HZ), .max_dr = (MAX_DR),    \
		.class_b_ping_slot_dr = (PING_SLOT_DR),                                                                \
	}

/* Sub-band N: eight channels of 125 kHz and the one of 500 kHz over them. */
#define SUB_BAND_64_8(ID, COMMON_NAME, N, CHANNELS, MAX_DR)                                                            \
	{                                                                                                              \
		.id = ID #N, .topic_prefix = ID #N, .common_name = #COMMON_NAME,                                       \
		.description = #COMMON_NAME " (channels " CHANNELS ")", .region = LW_REGION_##COMMON_NAME, DEFAULTS,   \
		.rx2_dr = 8, .rx2_hz = 923300000, .max_dr = (MAX_DR), .class_b_ping_slot_dr = 8,                       \
		.enabled_channels = {EIGHT(8 * (N)), 64 + (N)}, .n_enabled_channels = 9,                               \
	}

#define US915(N, CHANNELS) SUB_BAND_64_8("us915_", US915, N, CHANNELS, 3)
#define AU915(N, CHANNELS) SUB_BAND_64_8("au915_", AU915, N, CHANNELS, 5)

/* Eight channels of a plan of CN470. */
#define CN470_PLAN(ID, TEXT, REGION, RX2_HZ, RX2_DR, FIRST)                                                            \
	{                                                                                                              \
		.id = (ID), .topic_prefix = (ID), .common_name = "CN470", .description = "CN470 (" TEXT ")",           \
		.region = LW_REGION_##REGION, DEFAULTS, .rx2_dr = (RX2_DR), .rx2_hz = (RX2_HZ), .min_dr = (RX2_DR),    \
		.max_dr = 5, .class_b_ping_slot_dr = 2, .enabled_channels = {EIGHT(FIRST)}, .n_enabled_channels = 8,   \
	}

#define CN470(N, CHANNELS) CN470_PLAN("cn470_" #N, "channels " CHANNELS, CN470, 505300000, 0, 8 * (N))

/* Since RP002-1.0.1 the channel of the join-request decides plan and RX2. Its eight channels are enabled. */
#define CN470_20A(N, CHANNELS)                                                                                         \
	CN470_PLAN("cn470_20a_" #N, "20 MHz plan A, channels " CHANNELS, CN470_20A_##N, 485300000 + 1600000 * (N), 1,  \
		   8 * (N))
#define CN470_20B(N, CHANNELS)                                                                                         \
	CN470_PLAN("cn470_20b_" #N, "20 MHz plan B, channels " CHANNELS, CN470_20B_##N, 478300000 + 20000000 * (N), 1, \
		   8 + 32 * (N))

/* Scenario worlds take the first nine. */
const struct ns_region_config ns_region_configs[] = {
	{
		.id = "eu868",
		.topic_prefix = "eu868",
		.common_name = "EU868",
		.description = "EU868",
		.region = LW_REGION_EU868,
		DEFAULTS,
		.rx2_dr = 0,
		.rx2_hz = 869525000,
		.min_dr = 0,
		.max_dr = 5,
		.class_b_ping_slot_dr = 3,
		.extra_channels =
			{{867100000, 0, 5}, {867300000, 0, 5}, {867500000, 0, 5}, {867700000, 0, 5}, {867900000, 0, 5}},
		.n_extra_channels = 5,
	},
	US915(0, "0-7 + 64"),
	US915(1, "8-15 + 65"),
	US915(2, "16-23 + 66"),
	US915(3, "24-31 + 67"),
	US915(4, "32-39 + 68"),
	US915(5, "40-47 + 69"),
	US915(6, "48-55 + 70"),
	US915(7, "56-63 + 71"),
	PLAIN("as923", "AS923", AS923, 923200000, 2, 5, 3),
	/* The reference has DR0 for RX2 here, which its other groups and the regional parameters do not. */
	PLAIN("as923_2", "AS923_2", AS923_2, 921400000, 2, 5, 3),
	PLAIN("as923_3", "AS923_3", AS923_3, 916600000, 2, 5, 3),
	PLAIN("as923_4", "AS923_4", AS923_4, 917300000, 2, 5, 3),
	AU915(0, "0-7 + 64"),
	AU915(1, "8-15 + 65"),
	AU915(2, "16-23 + 66"),
	AU915(3, "24-31 + 67"),
	AU915(4, "32-39 + 68"),
	AU915(5, "40-47 + 69"),
	AU915(6, "48-55 + 70"),
	AU915(7, "56-63 + 71"),
	CN470(0, "0-7"),
	CN470(1, "8-15"),
	CN470(2, "16-23"),
	CN470(3, "24-31"),
	CN470(4, "32-39"),
	CN470(5, "40-47"),
	CN470(6, "48-55"),
	CN470(7, "56-63"),
	CN470(8, "64-71"),
	CN470(9, "72-79"),
	CN470(10, "80-87"),
	CN470(11, "88-95"),
	CN470_20A(0, "0-7"),
	CN470_20A(1, "8-15"),
	CN470_20A(2, "16-23"),
	CN470_20A(3, "24-31"),
	CN470_20A(4, "32-39"),
	CN470_20A(5, "40-47"),
	CN470_20A(6, "48-55"),
	CN470_20A(7, "56-63"),
	CN470_20B(0, "8-15"),
	CN470_20B(1, "40-47"),
	CN470_PLAN("cn470_26a", "26 MHz plan A, channels 0-7", CN470_26A, 492500000, 1, 0),
	CN470_PLAN("cn470_26b", "26 MHz plan B, channels 0-7", CN470_26B, 502500000, 1, 0),
	PLAIN("cn779", "CN779", CN779, 786000000, 0, 5, 3),
	PLAIN("eu433", "EU433", EU433, 434665000, 0, 5, 3),
	PLAIN("in865", "IN865", IN865, 866550000, 2, 5, 4),
	PLAIN("ism2400", "ISM2400", ISM2400, 2423000000, 0, 7, 0),
	PLAIN("kr920", "KR920", KR920, 921900000, 0, 5, 3),
	PLAIN("ru864", "RU864", RU864, 869100000, 0, 5, 3),
};
const size_t ns_region_configs_count = sizeof(ns_region_configs) / sizeof(ns_region_configs[0]);

const struct ns_region_config *ns_region_config_find(const char *id)
{
	for (size_t i = 0; i < ns_region_configs_count; i++)
		if (strcmp(ns_region_configs[i].id, id) == 0)
			return &ns_region_configs[i];
	return NULL;
}

void ns_region_config_plan(const struct ns_region_config *rc, struct lw_plan *out)
{
	lw_plan_init(out, lw_region_by_id(rc->region));
	for (size_t i = 0; i < rc->n_extra_channels; i++)
		lw_plan_add(out, rc->extra_channels[i].hz, rc->extra_channels[i].min_dr, rc->extra_channels[i].max_dr);
	if (rc->n_enabled_channels == 0)
		return;
	lw_plan_disable_all(out);
	for (size_t i = 0; i < rc->n_enabled_channels; i++)
		lw_plan_enable(out, rc->enabled_channels[i], true);
}
