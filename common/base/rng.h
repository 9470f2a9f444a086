/* Randomness as a parameter: the system's for daemons, a seeded generator for tests and simulation. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct lw_rng {
	void (*fill)(struct lw_rng *rng, void *out, size_t n);
	uint64_t s[4]; /* state of the seeded generator; unused by the system's */
};

/* getrandom(2); aborts when the system has none. Holds no state: may be copied. */
void lw_rng_init_system(struct lw_rng *rng);
/* xoshiro256** seeded through splitmix64. Reproducible, never for secrets. */
void lw_rng_init_seeded(struct lw_rng *rng, uint64_t seed);

static inline void lw_rng_fill(struct lw_rng *rng, void *out, size_t n)
{
	rng->fill(rng, out, n);
}
uint32_t lw_rng_u32(struct lw_rng *rng);
uint64_t lw_rng_u64(struct lw_rng *rng);
/* Evenly distributed in [0, bound); bound > 0. */
uint64_t lw_rng_below(struct lw_rng *rng, uint64_t bound);
/* Evenly distributed in [0, 1). */
double lw_rng_unit(struct lw_rng *rng);
