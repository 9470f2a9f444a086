/* What a gateway received and sent since its last report, by frequency, data rate and outcome. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "gateway-bridge/wire/semtech_udp.h"

/* Further frequencies or data rates of one report are not told apart, only left out. */
#define GB_COUNTERS_MAX 256
#define GB_N_TX_STATUS 12

struct gb_freq_count {
	uint32_t freq_hz;
	uint32_t n;
};

/* fdev_hz only for FSK downlinks, polarity only for LoRa downlinks. */
struct gb_modulation {
	struct semtech_data_rate rate;
	uint32_t fdev_hz;
	bool invert_polarity;
	uint32_t preamble;
	bool no_crc;
};

struct gb_rate_count {
	struct gb_modulation modulation;
	uint32_t n;
};

struct gb_traffic {
	struct gb_freq_count *freq;
	size_t n_freq;
	struct gb_rate_count *rate;
	size_t n_rate;
};

struct gb_counters {
	struct gb_traffic rx;
	struct gb_traffic tx;
	uint32_t tx_status[GB_N_TX_STATUS]; /* index: gw.TxAckStatus */
	uint32_t n_rx;
	uint32_t n_tx;
};

/* A zeroed struct is ready. */
void gb_counters_deinit(struct gb_counters *c);
void gb_counters_reset(struct gb_counters *c);
void gb_counters_received(struct gb_counters *c, uint32_t freq_hz, const struct gb_modulation *m, uint32_t n);
/* The gateway has accepted a frame. */
void gb_counters_sent(struct gb_counters *c, uint32_t freq_hz, const struct gb_modulation *m);
/* Outcome of one item of a downlink. */
void gb_counters_status(struct gb_counters *c, int status);
