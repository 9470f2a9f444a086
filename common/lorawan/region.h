/* Regional parameters (RP001, RP002) as const tables, one file per plan under region/, and the rules shared by all
 * plans. A plan is data: to add one, add its file and a row in region.c. */
#pragma once

#include "common/base/bytes.h"
#include "common/lorawan/cflist.h"
#include "common/lorawan/types.h"

/* Numbered as in the API's common.Region. */
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
};

#define LW_DR_COUNT 16
#define LW_RX1_OFFSETS 8
#define LW_PLAN_CHANNELS 96
#define LW_PLAN_USER_CHANNELS 16

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

/* Frequencies that depend on time or address: base + step * k, k in 0..count-1; a fixed one has count 1. */
struct lw_hop {
	uint32_t base_hz;
	uint32_t step_hz;
	uint8_t count;
	uint8_t dr;
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
	const char *name; /* "EU868", also RFRegion of Backend Interfaces */
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

	enum lw_rx1_rule rx1_rule;
	uint8_t max_rx1_dr_offset;
	int8_t rx1_dr[LW_DR_COUNT][LW_RX1_OFFSETS];   /* -1: undefined */
	const int8_t (*rx1_dr_dwell)[LW_RX1_OFFSETS]; /* with downlink dwell time; NULL: the same */
	uint32_t rx2_hz;
	uint8_t rx2_dr;

	const struct lw_payload_row *payload_down;
	size_t n_payload_down;
	const struct lw_payload_row *payload_up; /* NULL: as downlink */
	size_t n_payload_up;

	uint8_t max_tx_power_index;
	int8_t tx_power_step_db;  /* index i is i * step below the maximum EIRP */
	int16_t device_eirp_cdbm; /* default maximum EIRP of a device, hundredths of a dBm */
	const struct lw_downlink_power *downlink_power;
	size_t n_downlink_power;
	const struct lw_sub_band *sub_bands;
	size_t n_sub_bands;

	struct lw_hop ping_slot;
	struct lw_hop beacon;
	enum lw_cflist_type cflist_type;
	bool tx_param_setup;
	uint8_t adr_min_dr; /* default range of adaptive data rate */
	uint8_t adr_max_dr;

	uint8_t rx1_delay_s;
	uint8_t join_accept_delay1_s;
	uint8_t join_accept_delay2_s;
	uint32_t max_fcnt_gap; /* up to 1.0.3 */
};

/* Const tables; NULL when the plan is not built in. By name: "EU868" in any case, "AS923_2" and "AS923-2". */
const struct lw_region *lw_region_by_id(enum lw_region_id id);
const struct lw_region *lw_region_by_name(const char *name);

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
/* 0, or LW_ENOTFOUND when the data rate does not exist for that version. Versions without rows use the newest. */
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
	unsigned n_user;                         /* they follow the region's channels */
	uint16_t enabled[LW_PLAN_CHANNELS / 16]; /* bit b of word w: channel 16*w+b */
};

/* All of the region's default channels, enabled. */
void lw_plan_init(struct lw_plan *p, const struct lw_region *region);
/* Adds a channel, enabled. Returns its index; LW_EUNSUPPORTED: a fixed plan; LW_EINVAL: frequency or rates outside the
 * plan; LW_EEXISTS: frequency and rates are there; LW_EFULL. */
int lw_plan_add(struct lw_plan *p, uint32_t hz, uint8_t min_dr, uint8_t max_dr);
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
/* The CFList of a join-accept. Returns 1, or 0 when there is nothing to say (no user channels; channel masks
 * before 1.0.3). */
int lw_plan_cflist(const struct lw_plan *p, enum lw_mac_version mac, struct lw_cflist *out);
/* Mask words, for LinkADRReq and CFList. */
static inline unsigned lw_plan_words(const struct lw_plan *p)
{
	return (p->n + 15) / 16;
}

/* Frequency of a hopping beacon or ping slot (RP002: US915, AU915): t is the start of the beacon period in GPS
 * seconds, devaddr 0 for the beacon. */
uint32_t lw_hop_hz(const struct lw_hop *h, uint32_t gps_s, uint32_t devaddr);
