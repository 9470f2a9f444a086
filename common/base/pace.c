/* The gap between pieces of work, by their rate. */
#include "common/base/pace.h"

#include "common/base/bug.h"
#include "common/base/clock.h"

#define MEMORY_S (LW_PACE_MEMORY_MS / 1000.0)

void lw_pace_init(struct lw_pace *p, uint32_t from_per_s, uint32_t full_per_s, uint32_t gap_ms, int64_t now_ns)
{
	BUG_ON(from_per_s >= full_per_s);
	*p = (struct lw_pace){.from_per_s = from_per_s,
			      .full_per_s = full_per_s,
			      .gap_ns = gap_ms * LW_NS_PER_MS,
			      .begun_ns = now_ns};
}

void lw_pace_begun(struct lw_pace *p, int64_t now_ns, size_t n)
{
	double s = now_ns > p->begun_ns ? (double)(now_ns - p->begun_ns) / (double)LW_NS_PER_S : 0;
	p->per_s += ((double)n - p->per_s * s) / (MEMORY_S + s);
	p->begun_ns = now_ns;
}

int64_t lw_pace_next_ns(const struct lw_pace *p)
{
	if (p->per_s <= p->from_per_s)
		return p->begun_ns;
	double part = (p->per_s - p->from_per_s) / (p->full_per_s - p->from_per_s);
	return p->begun_ns + (part >= 1 ? p->gap_ns : (int64_t)(part * (double)p->gap_ns));
}
