/* What a network may want of a device by MAC command, beyond channels and receive windows. A profile's settings go
 * before those of the region configuration; what neither sets stays as the device has it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/lorawan/region.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

#define NS_DL_CHANNEL_SETTINGS 8

struct ns_mac_settings {
	bool has_duty_cycle;
	uint8_t max_duty_cycle; /* 0..15: 1/2^n */

	bool has_adr_ack;
	uint8_t adr_ack_limit_exp; /* 0..15: 2^n uplinks */
	uint8_t adr_ack_delay_exp;

	bool has_tx_params;
	bool uplink_dwell_400ms;
	bool downlink_dwell_400ms;
	int8_t max_eirp_dbm;

	bool has_rejoin;
	uint8_t rejoin_max_time_n;  /* 0..15: 2^(n+10) s */
	uint8_t rejoin_max_count_n; /* 0..15: 2^(n+4) uplinks */

	uint32_t beacon_hz; /* 0: not set */

	/* RX1 of these uplink channels at another frequency. */
	uint8_t n_dl_channels;
	struct {
		uint8_t index;
		uint32_t hz;
	} dl_channels[NS_DL_CHANNEL_SETTINGS];
};

enum ns_adr_mode {
	NS_ADR_DYNAMIC = 0, /* the profile's algorithm, between min_dr and max_dr */
	NS_ADR_STATIC = 1,  /* always the values below */
	NS_ADR_OFF = 2,     /* the device keeps what it has */
};

struct ns_adr_settings {
	enum ns_adr_mode mode;
	bool has_bounds; /* else the region configuration's */
	uint8_t min_dr;
	uint8_t max_dr;
	/* static */
	uint8_t dr;
	uint8_t tx_power_index;
	uint8_t nb_trans;
};

/* From the API's messages (NULL: nothing is set). Return NULL, or what is wrong with them; then *out is as if nothing
 * had been set. */
const char *ns_adr_settings_from_pb(const Longwave__Ns__V1__AdrSettings *in, struct ns_adr_settings *out);
const char *ns_mac_settings_from_pb(const Longwave__Ns__V1__MacSettings *in, const struct lw_region *region,
				    struct ns_mac_settings *out);
