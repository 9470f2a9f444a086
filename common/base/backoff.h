/* Delays between attempts: doubling from min to max, each shortened by up to a quarter at random, so that clients of
 * one peer do not return all at once. Pure apart from the randomness passed in. */
#pragma once

#include <stdint.h>

#include "common/base/rng.h"

struct lw_backoff {
	uint32_t min_ms;
	uint32_t max_ms;
	uint32_t next_ms;
};

void lw_backoff_init(struct lw_backoff *b, uint32_t min_ms, uint32_t max_ms);
/* Delay before the next attempt. */
uint32_t lw_backoff_next_ms(struct lw_backoff *b, struct lw_rng *rng);
/* After a success. */
void lw_backoff_reset(struct lw_backoff *b);
