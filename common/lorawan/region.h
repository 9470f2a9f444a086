/* Regional parameters (RP001, RP002) as const tables, one file per plan under region/, and the rules shared by all
 * plans. A plan is data: to add one, add its file and a row in region.c. */
#pragma once

#include "common/base/bytes.h"
#include "common/lorawan/cflist.h"
#include "common/lorawan/types.h"

/* Numbered as in the API's common.Region; the plans of CN470 that it does not tell apart follow after 0x100. */
enum lw_region_id {
	LW_REGION_EU868 = 0,
	LW_REGION_US915 = 2,
	LW_REGION_CN779 = 3,
	LW_REGION_EU433 = 4,
	LW_REGION_AU915 = 5,
	LW_REGION_CN470 = 6,
	LW_REGION_AS923 = 7,
	LW_REGION_KR920 = 8,
	LW_REGION_IN865 = 9,
	LW_REGION_RU864 = 10,
	LW_REGION_ISM2400 = 11,
	LW_REGION_AS923_2 = 12,
	LW_REGION_AS923_3 = 13,
	LW_REGION_AS923_4 = 14,
	/* RP002-1.0.1 and later: 0x100 + common join channel, which decides frequencies of RX2, beacon and ping slots.
	 * The join channels of a plan of 26 MHz are all alike. */
	LW_REGION_CN470_20A_0 = 0x100,
	LW_REGION_CN470_20A_1 = 0x101,
	LW_REGION_CN470_20A_2 = 0x102,
	LW_REGION_CN470_20A_3 = 0x103,
	LW_REGION_CN470_20A_4 = 0x104,
	LW_REGION_CN470_20A_5 = 0x105,
	LW_REGION_CN470_20A_6 = 0x106,
	LW_REGION_CN470_20A_7 = 0x107,
	LW_REGION_CN470_20B_0 = 0x108,
	LW_REGION_CN470_20B_1 = 0x109,
	LW_REGION_CN470_26A = 0x10A,
	LW_REGION_CN470_26B = 0x10F,
};

/* The region as the API numbers it: a device profile names it, whatever the plan. */
static inline enum lw_region_id lw_region_base(enum lw_region_id id)
{
	return (unsigned)id >= 0x100U ? LW_REGION_CN470 : id;
}

#define LW_DR_COUNT 16
#define LW_RX1_OFFSETS 8
#define LW_PLAN_CHANNELS 96
#define LW_PLAN_USER_CHANNELS 16
#define LW_PLAN_WORDS (LW_PLAN_CHANNELS / 16)

/* `count` channels, spaced evenly, from index `first`. */
struct lw_channel_run {
	uint8_t first;
	uint8_t count;
	uint8_t min_dr;
	uint8_t max_dr;
	uint32_t first_hz;
	uint32_t step_hz;
};

enum lw_rx1_rule {
	LW_RX1_SAME_FREQUENCY,
	LW_RX1_INDEX_MODULO, /* downlink channel = uplink index mod number of downlink channels */
};

/* What the values of ChMaskCntl mean: see adr_mask.h. */
enum lw_mask_control {
	LW_MASK_16,     /* plans with added channels */
	LW_MASK_64_8,   /* US915, AU915 */
	LW_MASK_BLOCKS, /* blocks of 16, and two values for all on and all off */
};

/* Frequencies that depend on time or address: base + step * k, k in 0..count-1; a fixed one has count 1. */
struct lw_hop {
	uint32_t base_hz;
	uint32_t step_hz;
	uint8_t count;
	uint8_t dr;
};

/* A set of versions: bit per enum lw_mac_version, bit per enum lw_reg_params. */
struct lw_versions {
	uint8_t mac_versions;
	uint8_t reg_params;
};

/* Powers of TXPower indices 0..max_index relative to the maximum EIRP. */
struct lw_tx_power {
	uint8_t max_index;
	int16_t eirp_cdbm; /* hundredths of a dBm */
	int8_t db[LW_DR_COUNT];
};

/* Where a revision differs from struct lw_region's own powers. */
struct lw_tx_power_row {
	struct lw_versions versions;
	struct lw_tx_power power;
};

/* Whether a device limits itself to 400 ms before any TxParamSetupReq. */
struct lw_boot_dwell {
	struct lw_versions versions;
	bool up;
	bool down;
};

/* A revision that differs in data rates: its own table. */
struct lw_region_variant {
	struct lw_versions versions;
	const struct lw_region *region;
};

/* CN470 since RP002-1.0.1: the channel of a join-request decides plan and windows. */
struct lw_join_channel {
	uint32_t hz;
	uint32_t rx1_hz;
	uint32_t rx2_hz;
};

/* Largest payloads for a set of versions. m[dr] is MACPayload (M); 0: the data rate does not exist there. N is M - 8.
 */
struct lw_payload_row {
	uint8_t mac_versions; /* bit per enum lw_mac_version */
	uint8_t reg_params;   /* bit per enum lw_reg_params */
	uint8_t dwell;        /* bit 0: without a limit of 400 ms, bit 1: with one */
	uint8_t repeater;     /* bit 0: not repeater compatible, bit 1: compatible */
	uint8_t m[LW_DR_COUNT];
};

/* A range of frequencies with its own limits. */
struct lw_sub_band {
	uint32_t min_hz;        /* inclusive */
	uint32_t max_hz;        /* exclusive */
	uint16_t duty_permille; /* 1000: no limit */
	int16_t max_eirp_cdbm;  /* hundredths of a dBm, of end-devices */
};

/* Power of a gateway's downlink by frequency; the first row that contains it counts. */
struct lw_downlink_power {
	uint32_t min_hz; /* inclusive */
	uint32_t max_hz; /* exclusive */
	int8_t eirp_dbm;
};

struct lw_region {
	enum lw_region_id id;
	/* "EU868"; also RFRegion of Backend Interfaces, of a plan of CN470 that of its base. */
	const char *name;
	uint32_t min_hz;
	uint32_t max_hz;
	uint32_t step_hz; /* of 24-bit frequency fields */

	/* Data rates by direction; kind LW_MOD_NONE: undefined. */
	struct lw_modulation up_dr[LW_DR_COUNT];
	struct lw_modulation down_dr[LW_DR_COUNT];

	const struct lw_channel_run *up;
	size_t n_up;
	const struct lw_channel_run *down; /* the fixed downlink channels of LW_RX1_INDEX_MODULO */
	size_t n_down;
	uint8_t first_user_channel; /* index of the first channel that can be added */
	bool user_channels;         /* NewChannelReq and extra channels are possible */
	uint8_t user_min_dr;        /* data rates of channels in a CFList of frequencies */
	uint8_t user_max_dr;
	bool dr_range_codes; /* pairs with the larger rate first are sets of RP002-1.0.5, see lw_region_dr_range() */
	enum lw_mask_control mask_control;
	uint8_t mask_all_on; /* LW_MASK_BLOCKS: ChMaskCntl; 0: no such value */
	uint8_t mask_all_off;

	enum lw_rx1_rule rx1_rule;
	uint8_t max_rx1_dr_offset;
	int8_t rx1_dr[LW_DR_COUNT][LW_RX1_OFFSETS];   /* -1: undefined */
	const int8_t (*rx1_dr_dwell)[LW_RX1_OFFSETS]; /* with downlink dwell time; NULL: the same */
	uint32_t rx2_hz;
	uint8_t rx2_dr;
	uint32_t abp_rx2_hz;                         /* of devices that did not join; 0: as rx2_hz */
	const struct lw_join_channel *join_channels; /* n_join_channels 0: joins use the plan's channels */
	size_t n_join_channels;

	const struct lw_payload_row *payload_down;
	size_t n_payload_down;
	const struct lw_payload_row *payload_up; /* NULL: as downlink */
	size_t n_payload_up;

	uint8_t max_tx_power_index;
	int8_t tx_power_step_db;  /* index i is i * step below the maximum EIRP */
	int16_t device_eirp_cdbm; /* default maximum EIRP of a device, hundredths of a dBm */
	const struct lw_tx_power_row *tx_powers;
	size_t n_tx_powers;
	const struct lw_downlink_power *downlink_power;
	size_t n_downlink_power;
	const struct lw_sub_band *sub_bands;
	size_t n_sub_bands;

	struct lw_hop ping_slot;
	struct lw_hop beacon;
	enum lw_cflist_type cflist_type;
	bool tx_param_setup;
	const struct lw_versions *no_tx_param; /* revisions without it, apart from MAC versions before 1.0.2 */
	size_t n_no_tx_param;
	const struct lw_boot_dwell *boot_dwell; /* other revisions have no limit */
	size_t n_boot_dwell;
	uint8_t adr_min_dr; /* default range of adaptive data rate */
	uint8_t adr_max_dr;

	uint8_t rx1_delay_s;
	uint8_t join_accept_delay1_s;
	uint8_t join_accept_delay2_s;
	uint32_t max_fcnt_gap; /* up to 1.0.3 */

	const struct lw_region_variant *variants;
	size_t n_variants;
};

/* Const tables; NULL when the plan is not built in. By name: "EU868" in any case, "AS923_2" and "AS923-2". */
const struct lw_region *lw_region_by_id(enum lw_region_id id);
const struct lw_region *lw_region_by_name(const char *name);

/* The table for a device of these versions: r, or a variant where data rates or RX1 rates of a revision differ. The
 * rates that came with LR-FHSS, SF5 and SF6 make no variant: lw_region_max_payload() tells who has them. */
const struct lw_region *lw_region_revision(const struct lw_region *r, enum lw_mac_version mac, enum lw_reg_params rp);

/* Data rate index of a modulation in a direction, LW_ENOTFOUND when the plan has none. The code rate of LoRa and the
 * bit rate's deviation do not matter. */
int lw_region_dr_index(const struct lw_region *r, enum lw_dir dir, const struct lw_modulation *m);
/* NULL when undefined. */
const struct lw_modulation *lw_region_dr(const struct lw_region *r, enum lw_dir dir, unsigned dr);

/* Data rate of RX1: LW_EINVAL when the uplink rate or the offset has no entry. */
int lw_region_rx1_dr(const struct lw_region *r, unsigned uplink_dr, unsigned offset, bool downlink_dwell);

struct lw_max_payload {
	uint8_t m; /* MACPayload: FHDR, FPort, FRMPayload */
	uint8_t n; /* FRMPayload, when FOpts is empty */
};
/* 0, or LW_ENOTFOUND when the data rate does not exist for that version, or carries nothing within the dwell time.
 * Versions without rows use the newest. */
int lw_region_max_payload(const struct lw_region *r, enum lw_dir dir, enum lw_mac_version mac, enum lw_reg_params rp,
			  bool repeater, bool dwell, unsigned dr, struct lw_max_payload *out);

/* EIRP of a gateway in dBm at a frequency, where the operator has set none. */
int lw_region_downlink_eirp_dbm(const struct lw_region *r, uint32_t hz);
/* The sub-band of a frequency, or NULL. */
const struct lw_sub_band *lw_region_sub_band(const struct lw_region *r, uint32_t hz);
/* Whether the frequency lies inside the plan. */
bool lw_region_freq_ok(const struct lw_region *r, uint32_t hz);
/* Downlink power of a device's TXPower index relative to its maximum, dB (0, -2 …); LW_EINVAL beyond the plan's last.
 */
int lw_region_tx_power_db(const struct lw_region *r, unsigned index, int *db);
/* The powers of a device of these versions. */
void lw_region_tx_power(const struct lw_region *r, enum lw_mac_version mac, enum lw_reg_params rp,
			struct lw_tx_power *out);
/* Whether a device of these versions knows TxParamSetupReq. */
bool lw_region_tx_param_setup(const struct lw_region *r, enum lw_mac_version mac, enum lw_reg_params rp);
/* Dwell time limits of such a device after a reset or join. */
void lw_region_boot_dwell(const struct lw_region *r, enum lw_mac_version mac, enum lw_reg_params rp, bool *up,
			  bool *down);
/* RX2 of a device activated by personalisation, before the network says otherwise. */
static inline uint32_t lw_region_abp_rx2_hz(const struct lw_region *r)
{
	return r->abp_rx2_hz ? r->abp_rx2_hz : r->rx2_hz;
}
/* The common join channel on a frequency, or NULL. */
const struct lw_join_channel *lw_region_join_channel(const struct lw_region *r, uint32_t hz);

/* The data rates of a channel, bit per rate, as NewChannelReq's DrRange says them: a range, or with RP002-1.0.5 and min
 * in 1..6, max 0: the rates min-1 to 5, 12 and 13. 0: not a range of this region. */
uint16_t lw_region_dr_range(const struct lw_region *r, unsigned min_dr, unsigned max_dr);
/* The reverse: 0 and a pair, or LW_EUNSUPPORTED when no pair says that set. */
int lw_region_dr_range_code(const struct lw_region *r, uint16_t rates, uint8_t *min_dr, uint8_t *max_dr);
/* MaxEIRP of TxParamSetupReq: dBm of index 0..15. */
int lw_max_eirp_dbm(unsigned index);

/* A network's channel plan: the region's channels, those added to it, and which are enabled. Plain memory. */
struct lw_channel {
	uint32_t hz;
	uint8_t min_dr;
	uint8_t max_dr;
};

struct lw_plan {
	const struct lw_region *region;
	unsigned n; /* indices 0..n-1 may be defined */
	struct lw_channel user[LW_PLAN_USER_CHANNELS];
	unsigned n_user;                 /* they follow the region's channels */
	uint16_t enabled[LW_PLAN_WORDS]; /* bit b of word w: channel 16*w+b */
};

/* All of the region's default channels, enabled. */
void lw_plan_init(struct lw_plan *p, const struct lw_region *region);
/* Adds a channel, enabled. Returns its index; LW_EUNSUPPORTED: a fixed plan; LW_EINVAL: frequency or rates outside the
 * plan; LW_EEXISTS: frequency and rates are there; LW_EFULL. */
int lw_plan_add(struct lw_plan *p, uint32_t hz, uint8_t min_dr, uint8_t max_dr);
/* The same for a set of rates that is no plain range; LW_EINVAL also when no pair says it. */
int lw_plan_add_rates(struct lw_plan *p, uint32_t hz, uint16_t rates);
/* 0, or LW_ENOTFOUND: no such channel. */
int lw_plan_enable(struct lw_plan *p, unsigned index, bool on);
void lw_plan_disable_all(struct lw_plan *p);
bool lw_plan_enabled(const struct lw_plan *p, unsigned index);
/* 0 and *out, or LW_ENOTFOUND. */
int lw_plan_channel(const struct lw_plan *p, unsigned index, struct lw_channel *out);
/* Index of the channel of an uplink with this frequency and data rate: one that allows the rate, else any with the
 * frequency; LW_ENOTFOUND. */
int lw_plan_channel_index(const struct lw_plan *p, uint32_t hz, unsigned dr);
/* Frequency of RX1 for an uplink. 0 or LW_ENOTFOUND (the plan derives it from a channel and the uplink used none). */
int lw_plan_rx1_hz(const struct lw_plan *p, uint32_t uplink_hz, unsigned uplink_dr, uint32_t *out_hz);
/* The same for a join-request: a common join channel has its own. */
int lw_plan_join_rx1_hz(const struct lw_plan *p, uint32_t uplink_hz, unsigned uplink_dr, uint32_t *out_hz);
/* The CFList of a join-accept. Returns 1, or 0 when there is nothing to say (no user channels; channel masks
 * before 1.0.3). */
int lw_plan_cflist(const struct lw_plan *p, enum lw_mac_version mac, struct lw_cflist *out);
/* Mask words, for LinkADRReq and CFList. */
static inline unsigned lw_plan_words(const struct lw_plan *p)
{
	return (p->n + 15) / 16;
}

/* Frequency of a hopping beacon or ping slot (RP002: US915, AU915, CN470): t is the start of the beacon period in GPS
 * seconds, devaddr 0 for the beacon. */
uint32_t lw_hop_hz(const struct lw_hop *h, uint32_t gps_s, uint32_t devaddr);
