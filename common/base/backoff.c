/* Delays between attempts. */
#include "common/base/backoff.h"

void lw_backoff_init(struct lw_backoff *b, uint32_t min_ms, uint32_t max_ms)
{
	*b = (struct lw_backoff){.min_ms = min_ms, .max_ms = max_ms < min_ms ? min_ms : max_ms, .next_ms = min_ms};
}

uint32_t lw_backoff_next_ms(struct lw_backoff *b, struct lw_rng *rng)
{
	uint32_t ms = b->next_ms;
	b->next_ms = ms > b->max_ms / 2 ? b->max_ms : ms * 2;
	return ms - (uint32_t)lw_rng_below(rng, ms / 4 + 1);
}

void lw_backoff_reset(struct lw_backoff *b)
{
	b->next_ms = b->min_ms;
}
