/* How long a frame is on the air, and how weak it may be (SX1276 data sheet §4.1.1, AN1200.13; LR-FHSS: AN1200.64). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/lorawan/types.h"

struct lw_airtime_lora {
	uint32_t bw_hz;
	uint8_t sf;           /* 5..12 */
	enum lw_code_rate cr; /* 4/5..4/8, long interleaved forms count as their plain ones */
	uint16_t preamble;    /* symbols, 0 means 8 */
	bool implicit_header;
	bool crc;
};

/* Microseconds on the air of `n` bytes of PHYPayload; 0 when the parameters make no sense. Low data rate optimisation
 * is on when a symbol takes 16 ms or more, as devices do. */
uint32_t lw_airtime_lora_us(const struct lw_airtime_lora *p, size_t n);
/* GFSK: preamble 5 bytes, sync word 3, length 1, CRC 2. */
uint32_t lw_airtime_fsk_us(uint32_t bitrate_bps, size_t n);
/* LR-FHSS uplink: 488.28125 bit/s, code rate 2/6 (three headers) or 4/6 (two headers); `headers` 0: by code rate. */
uint32_t lw_airtime_lrfhss_us(enum lw_code_rate cr, unsigned headers, size_t n);
/* By modulation, with LoRaWAN's settings: preamble 8, explicit header, CRC on uplinks only. */
uint32_t lw_airtime_us(const struct lw_modulation *m, enum lw_dir dir, size_t n);

/* Demodulation floor of a LoRa spreading factor in tenths of a dB (SF7: -75 … SF12: -200); SF5, SF6: -25, -50. */
int lw_required_snr_ddb(uint8_t sf);
/* Sensitivity of a gateway in dBm at 125 kHz noise figure 6 dB: -174 + 10*log10(bw) + 6 + required SNR, rounded. */
int lw_sensitivity_dbm(uint32_t bw_hz, uint8_t sf);
