/* Randomness: getrandom(2), and xoshiro256** for reproducible runs. */
#include "common/base/rng.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/bug.h"
#include "common/base/bytes.h"

static void fill_system(struct lw_rng *rng, void *out, size_t n)
{
	(void)rng;
	uint8_t *p = out;
	while (n) {
		ssize_t got = getrandom(p, n, 0);
		if (got < 0) {
			BUG_ON(errno != EINTR);
			continue;
		}
		p += got;
		n -= (size_t)got;
	}
}

void lw_rng_init_system(struct lw_rng *rng)
{
	*rng = (struct lw_rng){.fill = fill_system};
}

static uint64_t rotl(uint64_t x, unsigned k)
{
	return x << k | x >> (64 - k);
}

static uint64_t xoshiro_next(uint64_t s[4])
{
	uint64_t result = rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

static void fill_seeded(struct lw_rng *rng, void *out, size_t n)
{
	uint8_t *p = out;
	while (n) {
		uint8_t word[8];
		lw_put_le64(word, xoshiro_next(rng->s));
		size_t take = n < sizeof word ? n : sizeof word;
		memcpy(p, word, take);
		p += take;
		n -= take;
	}
}

void lw_rng_init_seeded(struct lw_rng *rng, uint64_t seed)
{
	*rng = (struct lw_rng){.fill = fill_seeded};
	for (int i = 0; i < 4; i++) {
		seed += UINT64_C(0x9e3779b97f4a7c15);
		uint64_t z = seed;
		z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
		rng->s[i] = z ^ (z >> 31);
	}
}

uint32_t lw_rng_u32(struct lw_rng *rng)
{
	uint8_t b[4];
	lw_rng_fill(rng, b, sizeof b);
	return lw_get_le32(b);
}

uint64_t lw_rng_u64(struct lw_rng *rng)
{
	uint8_t b[8];
	lw_rng_fill(rng, b, sizeof b);
	return lw_get_le64(b);
}

uint64_t lw_rng_below(struct lw_rng *rng, uint64_t bound)
{
	BUG_ON(bound == 0);
	/* Values below 2^64 mod bound are refused, so that each remainder is as likely as any other. */
	uint64_t min = (0 - bound) % bound;
	uint64_t v;
	do {
		v = lw_rng_u64(rng);
	} while (v < min);
	return v % bound;
}

double lw_rng_unit(struct lw_rng *rng)
{
	return (double)(lw_rng_u64(rng) >> 11) * 0x1.0p-53;
}
