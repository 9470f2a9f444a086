/* Time on the air and demodulation floors. */
#include "common/lorawan/airtime.h"

#include <math.h>
#include <stddef.h>

/* Extra symbols per block of 4: 1 for 4/5 … 4 for 4/8; 0 when the rate is none of LoRa's. */
static unsigned redundancy(enum lw_code_rate cr)
{
	switch (cr) {
	case LW_CR_4_5:
	case LW_CR_LI_4_5:
		return 1;
	case LW_CR_4_6:
	case LW_CR_LI_4_6:
		return 2;
	case LW_CR_4_7:
		return 3;
	case LW_CR_4_8:
	case LW_CR_LI_4_8:
		return 4;
	default:
		return 0;
	}
}

uint32_t lw_airtime_lora_us(const struct lw_airtime_lora *p, size_t n)
{
	unsigned cr = redundancy(p->cr);
	if (p->sf < 5 || p->sf > 12 || p->bw_hz == 0 || cr == 0 || n > 4096)
		return 0;
	int sf = p->sf;
	uint64_t symbol_ns = ((uint64_t)1000000000 << sf) / p->bw_hz;
	int bits_per_symbol = symbol_ns >= 16000000 ? sf - 2 : sf;
	/* The first eight symbols after the preamble hold the header and the first bits; SF5 and SF6 hold 8 bits less.
	 */
	int bits = 8 * (int)n - 4 * sf + (p->crc ? 16 : 0) + (p->implicit_header ? 0 : 20) + (sf >= 7 ? 8 : 0);
	int blocks = bits > 0 ? (bits + 4 * bits_per_symbol - 1) / (4 * bits_per_symbol) : 0;
	uint64_t payload_symbols = 8 + (uint64_t)blocks * (4 + cr);
	uint64_t preamble = p->preamble ? p->preamble : 8;
	uint64_t quarters = 4 * preamble + (sf >= 7 ? 17 : 25) + 4 * payload_symbols;
	uint64_t num = quarters * ((uint64_t)1000000 << sf);
	uint64_t den = 4 * (uint64_t)p->bw_hz;
	return (uint32_t)((num + den / 2) / den);
}

uint32_t lw_airtime_fsk_us(uint32_t bitrate_bps, size_t n)
{
	if (bitrate_bps == 0 || n > 4096)
		return 0;
	uint64_t bits = 8 * (5 + 3 + 1 + (uint64_t)n + 2);
	return (uint32_t)((bits * 1000000 + bitrate_bps / 2) / bitrate_bps);
}

uint32_t lw_airtime_lrfhss_us(enum lw_code_rate cr, unsigned headers, size_t n)
{
	if ((cr != LW_CR_2_6 && cr != LW_CR_4_6) || n > 4096 || headers > 4)
		return 0;
	if (headers == 0)
		headers = cr == LW_CR_2_6 ? 3 : 2;
	/* Payload and CRC, six tail bits, coded; sent in hops of 48 bits that carry 2 more each. */
	uint64_t bits = ((uint64_t)n + 2) * 8 + 6;
	bits = cr == LW_CR_2_6 ? bits * 3 : bits * 3 / 2;
	uint64_t hops = (bits + 47) / 48;
	uint64_t total = 114 * (uint64_t)headers + bits + 2 * hops;
	return (uint32_t)(total * 2048); /* one bit at 488.28125 bit/s lasts 2048 us */
}

uint32_t lw_airtime_us(const struct lw_modulation *m, enum lw_dir dir, size_t n)
{
	switch (m->kind) {
	case LW_MOD_LORA: {
		struct lw_airtime_lora p = {
			.bw_hz = m->bw_hz,
			.sf = m->sf,
			.cr = m->cr == LW_CR_NONE ? LW_CR_4_5 : m->cr,
			.crc = dir == LW_UP,
		};
		return lw_airtime_lora_us(&p, n);
	}
	case LW_MOD_FSK:
		return lw_airtime_fsk_us(m->bitrate_bps, n);
	case LW_MOD_LRFHSS:
		return lw_airtime_lrfhss_us(m->cr, 0, n);
	case LW_MOD_NONE:
	default:
		return 0;
	}
}

int lw_required_snr_ddb(uint8_t sf)
{
	if (sf < 5)
		return 0;
	return -25 * ((sf > 12 ? 12 : sf) - 4);
}

int lw_sensitivity_dbm(uint32_t bw_hz, uint8_t sf)
{
	double noise = -174.0 + 10.0 * log10(bw_hz ? (double)bw_hz : 1.0) + 6.0;
	return (int)lround(noise + lw_required_snr_ddb(sf) / 10.0);
}
