/* How far apart pieces of work keep under load, so that one serves many: not at all while little comes, and further
 * and further the more comes. It follows the rate, not the last piece: between "alone" and "together" there is no edge
 * at which a steady rate falls to one side or the other. Pure: told what was done and when, it says when the next may
 * begin. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct lw_pace {
	uint32_t from_per_s, full_per_s; /* no gap up to this rate, the whole gap from that one on */
	int64_t gap_ns;
	double per_s; /* of the last LW_PACE_MEMORY_MS, older ones count less and less */
	int64_t begun_ns;
};

#define LW_PACE_MEMORY_MS 100

void lw_pace_init(struct lw_pace *p, uint32_t from_per_s, uint32_t full_per_s, uint32_t gap_ms, int64_t now_ns);
/* A piece with n things in it begins now. */
void lw_pace_begun(struct lw_pace *p, int64_t now_ns, size_t n);
/* The next begins no sooner. Monotonic, as all times here. */
int64_t lw_pace_next_ns(const struct lw_pace *p);
