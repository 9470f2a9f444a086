/* Channel masks of LinkADRReq. A series is an optional command that sets many channels at once, and then one command
 * for each block of 16 that is still wrong; the shortest series wins. */
#include "common/lorawan/adr_mask.h"

#include <string.h>

#include "common/base/err.h"

/* US915, AU915: 64 channels of 125 kHz in blocks 0..3, eight of 500 kHz in block 4. */
#define NARROW_BLOCKS 4
#define WIDE_BLOCK 4
#define CNTL_BANKS 5
#define CNTL_NARROW_ON 6
#define CNTL_NARROW_OFF 7
#define CNTL_ALL_ON_16 6

struct series {
	unsigned n;
	struct lw_adr_mask m[LW_ADR_MASKS_MAX];
};

static void defined_channels(const struct lw_plan *p, uint16_t out[LW_PLAN_WORDS])
{
	memset(out, 0, LW_PLAN_WORDS * sizeof(out[0]));
	for (unsigned i = 0; i < p->n && i < LW_PLAN_CHANNELS; i++) {
		struct lw_channel c;
		if (lw_plan_channel(p, i, &c) == 0 && c.hz != 0)
			out[i / 16] |= (uint16_t)(1U << (i % 16));
	}
}

void lw_adr_wanted(const struct lw_plan *network, const struct lw_plan *device, uint16_t want[LW_PLAN_WORDS])
{
	memset(want, 0, LW_PLAN_WORDS * sizeof(want[0]));
	for (unsigned i = 0; i < LW_PLAN_CHANNELS; i++) {
		struct lw_channel ours;
		struct lw_channel theirs;
		if (lw_plan_enabled(network, i) && lw_plan_channel(network, i, &ours) == 0 &&
		    lw_plan_channel(device, i, &theirs) == 0 && ours.hz == theirs.hz && ours.hz != 0)
			want[i / 16] |= (uint16_t)(1U << (i % 16));
	}
}

/* Bit b of a mask of banks covers channels 8*b..8*b+7. */
static uint16_t block_of_banks(unsigned banks, unsigned block)
{
	unsigned two = banks >> (2 * block);
	return (uint16_t)((two & 1 ? 0x00FFU : 0) | (two & 2 ? 0xFF00U : 0));
}

static int apply_64_8(const struct lw_adr_mask *m, uint16_t enabled[LW_PLAN_WORDS])
{
	unsigned banks = m->cntl == CNTL_BANKS ? m->mask : m->cntl == CNTL_NARROW_ON ? 0xFFU : 0;
	if (m->cntl < NARROW_BLOCKS) {
		enabled[m->cntl] = m->mask;
		return 0;
	}
	if (m->mask > 0xFF)
		return LW_EINVAL;
	for (unsigned b = 0; m->cntl != WIDE_BLOCK && b < NARROW_BLOCKS; b++)
		enabled[b] = block_of_banks(banks, b);
	enabled[WIDE_BLOCK] = m->mask;
	return 0;
}

int lw_adr_mask_apply(const struct lw_plan *device, const struct lw_adr_mask *m, uint16_t enabled[LW_PLAN_WORDS])
{
	const struct lw_region *r = device->region;
	uint16_t defined[LW_PLAN_WORDS];
	if (m->cntl > 7)
		return LW_EINVAL;
	if (r->mask_control == LW_MASK_64_8)
		return apply_64_8(m, enabled);
	defined_channels(device, defined);
	if ((r->mask_control == LW_MASK_16 && m->cntl == CNTL_ALL_ON_16) ||
	    (r->mask_all_on && m->cntl == r->mask_all_on)) {
		memcpy(enabled, defined, sizeof(defined));
		return 0;
	}
	if (r->mask_all_off && m->cntl == r->mask_all_off) {
		memset(enabled, 0, sizeof(defined));
		return 0;
	}
	if (m->cntl >= LW_PLAN_WORDS || (m->cntl > 0 && defined[m->cntl] == 0) || (m->mask & ~defined[m->cntl]))
		return LW_EINVAL;
	enabled[m->cntl] = m->mask;
	return 0;
}

static unsigned bits(uint16_t v)
{
	unsigned n = 0;
	for (; v; v &= (uint16_t)(v - 1))
		n++;
	return n;
}

/* Adds a command for each block that differs after the series so far: larger blocks first when each command counts for
 * itself, so that no step is without a channel. False: more than out has room for. */
static bool finish(const struct lw_plan *p, const uint16_t want[LW_PLAN_WORDS], bool one_by_one, struct series *s)
{
	uint16_t state[LW_PLAN_WORDS];
	unsigned start = s->n;
	memcpy(state, p->enabled, sizeof(state));
	for (unsigned i = 0; i < s->n; i++)
		if (lw_adr_mask_apply(p, &s->m[i], state) < 0)
			return false;
	for (unsigned b = 0; b < LW_PLAN_WORDS; b++) {
		if (state[b] == want[b])
			continue;
		if (s->n == LW_ADR_MASKS_MAX)
			return false;
		unsigned at = s->n++;
		for (; one_by_one && at > start && bits(s->m[at - 1].mask) < bits(want[b]); at--)
			s->m[at] = s->m[at - 1];
		s->m[at] = (struct lw_adr_mask){.cntl = (uint8_t)b, .mask = want[b]};
	}
	return true;
}

/* Takes the series that begins with `first` (NULL: with none) when it is shorter than *best. */
static void consider(const struct lw_plan *p, const uint16_t want[LW_PLAN_WORDS], bool one_by_one, bool turns_off,
		     const struct lw_adr_mask *first, struct series *best)
{
	struct series s = {0};
	if (first)
		s.m[s.n++] = *first;
	if (!finish(p, want, one_by_one, &s) || s.n == 0)
		return;
	/* A command that leaves nothing on may not stand before others. */
	if (one_by_one && turns_off && s.n > 1)
		return;
	if (best->n == 0 || s.n < best->n)
		*best = s;
}

/* Of equal length the series that leans least on what the device is thought to have wins: it comes first. */
static void consider_64_8(const struct lw_plan *p, enum lw_mac_version mac, const uint16_t want[LW_PLAN_WORDS],
			  struct series *best)
{
	bool one_by_one = mac < LW_MAC_1_0_2;
	struct lw_adr_mask m = {.cntl = CNTL_NARROW_OFF, .mask = want[WIDE_BLOCK]};
	consider(p, want, one_by_one, true, &m, best);
	m.cntl = CNTL_NARROW_ON;
	consider(p, want, one_by_one, false, &m, best);
	for (unsigned banks = 0; mac >= LW_MAC_1_0_3 && banks <= 0xFF; banks++) {
		m = (struct lw_adr_mask){.cntl = CNTL_BANKS, .mask = (uint16_t)banks};
		consider(p, want, one_by_one, false, &m, best);
	}
}

int lw_adr_masks(const struct lw_plan *device, enum lw_mac_version mac, const uint16_t want[LW_PLAN_WORDS],
		 struct lw_adr_mask out[LW_ADR_MASKS_MAX])
{
	const struct lw_region *r = device->region;
	bool one_by_one = mac < LW_MAC_1_0_2;
	struct series best = {0};
	uint16_t defined[LW_PLAN_WORDS];
	unsigned first = LW_PLAN_WORDS;
	bool same = true;
	defined_channels(device, defined);
	for (unsigned b = LW_PLAN_WORDS; b-- > 0;) {
		if (want[b] & ~defined[b])
			return LW_EINVAL;
		if (want[b])
			first = b;
		same = same && want[b] == device->enabled[b];
	}
	if (first == LW_PLAN_WORDS)
		return LW_EINVAL;
	if (same) {
		out[0] = (struct lw_adr_mask){.cntl = (uint8_t)first, .mask = want[first]};
		return 1;
	}
	if (r->mask_control == LW_MASK_64_8)
		consider_64_8(device, mac, want, &best);
	if (r->mask_all_off)
		consider(device, want, one_by_one, true, &(struct lw_adr_mask){.cntl = r->mask_all_off}, &best);
	if (r->mask_all_on)
		consider(device, want, one_by_one, false, &(struct lw_adr_mask){.cntl = r->mask_all_on}, &best);
	consider(device, want, one_by_one, false, NULL, &best);
	memcpy(out, best.m, best.n * sizeof(out[0]));
	return (int)best.n;
}
