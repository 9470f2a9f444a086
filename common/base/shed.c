#include "common/base/shed.h"

#include "common/base/bug.h"
#include "common/base/clock.h"

void lw_shed_init(struct lw_shed *s, size_t max, uint32_t after_ms)
{
	*s = (struct lw_shed){
		.max = max, .after_ns = after_ms * LW_NS_PER_MS, .open_ns = INT64_MIN, .grace_ns = INT64_MIN};
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

void lw_shed_in(struct lw_shed *s, int64_t now_ns, bool safe)
{
	/* Nobody was expected to take anything before. */
	if (s->in == s->out) {
		s->progress_ns = now_ns;
		if (now_ns >= s->open_ns)
			s->grace_ns = INT64_MIN; /* what there was has been worked off */
	}
	bool behind_safe = s->safe > s->out && now_ns < s->grace_ns;
	s->in++;
	if (safe)
		s->grace_ns = later(s->grace_ns, now_ns + LW_SHED_GRACE_MS * LW_NS_PER_MS);
	if (safe || behind_safe || now_ns < s->open_ns)
		s->safe = s->in;
}

void lw_shed_out(struct lw_shed *s)
{
	BUG_ON(s->in == s->out);
	s->out++;
}

void lw_shed_progress(struct lw_shed *s, int64_t now_ns)
{
	s->progress_ns = now_ns;
}

void lw_shed_outage(struct lw_shed *s, int64_t now_ns, uint32_t open_ms, uint32_t grace_ms)
{
	s->safe = s->in;
	s->open_ns = later(s->open_ns, now_ns + open_ms * LW_NS_PER_MS);
	s->grace_ns = later(s->grace_ns, now_ns + grace_ms * LW_NS_PER_MS);
}

enum lw_shed_verdict lw_shed_head(struct lw_shed *s, int64_t now_ns, int64_t since_ns)
{
	uint64_t n = lw_shed_count(s);
	if (n == 0)
		return LW_SHED_KEEP;
	if (now_ns - s->progress_ns > LW_SHED_STALL_MS * LW_NS_PER_MS)
		lw_shed_outage(s, now_ns, 0, LW_SHED_GRACE_MS);
	if (s->after_ns == 0 || s->safe > s->out)
		return n > s->max ? LW_SHED_FULL : LW_SHED_KEEP;
	return n > s->max || now_ns - since_ns > s->after_ns ? LW_SHED_DROP : LW_SHED_KEEP;
}
