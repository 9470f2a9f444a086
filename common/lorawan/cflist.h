/* The channel list of a join-accept: frequencies (type 0) or channel masks (type 1). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/lorawan/join.h"

enum lw_cflist_type { LW_CFLIST_FREQUENCIES = 0, LW_CFLIST_MASKS = 1 };

#define LW_CFLIST_FREQS 5
#define LW_CFLIST_MASK_COUNT 7

struct lw_cflist {
	enum lw_cflist_type type;
	uint32_t freq_hz[LW_CFLIST_FREQS];   /* type 0; 0: unused */
	uint16_t mask[LW_CFLIST_MASK_COUNT]; /* type 1; bit b of mask m: channel 16*m+b */
};

/* Returns 0; LW_EINVAL: a type that is neither 0 nor 1. */
int lw_cflist_parse(const uint8_t bytes[LW_CFLIST_LEN], struct lw_cflist *out);
/* Returns 0, or LW_EINVAL when a frequency does not fit the field. */
int lw_cflist_encode(const struct lw_cflist *l, uint8_t out[LW_CFLIST_LEN]);

/* 24-bit frequency fields of all commands and the CFList: units of 100 Hz, or of 200 Hz from 2.4 GHz on (a raw value of
 * 12,000,000 and more). Encode: 0 or LW_EINVAL (not a multiple, or too large). */
int lw_freq24_encode(uint32_t hz, uint8_t out[3]);
uint32_t lw_freq24_parse(const uint8_t in[3]);
