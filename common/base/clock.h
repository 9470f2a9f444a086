/* Time as a parameter. All times are nanoseconds in int64_t: wall time since 1970 UTC, monotonic since some start. */
#pragma once

#include <stdint.h>

#define LW_NS_PER_US INT64_C(1000)
#define LW_NS_PER_MS INT64_C(1000000)
#define LW_NS_PER_S INT64_C(1000000000)

struct lw_clock {
	int64_t (*now_ns)(const struct lw_clock *c);  /* wall clock (CLOCK_REALTIME) */
	int64_t (*mono_ns)(const struct lw_clock *c); /* monotonic */
	int64_t manual_now_ns;                        /* used by the manual clock only */
	int64_t manual_mono_ns;
};

/* The system's clocks, directly. */
int64_t lw_now_ns(void);
int64_t lw_mono_ns(void);

void lw_clock_init_system(struct lw_clock *c);
/* A clock that stands still until it is advanced; monotonic time starts at 1 s. */
void lw_clock_init_manual(struct lw_clock *c, int64_t now_ns);
void lw_clock_advance(struct lw_clock *c, int64_t by_ns);

static inline int64_t lw_clock_now_ns(const struct lw_clock *c)
{
	return c->now_ns(c);
}
static inline int64_t lw_clock_mono_ns(const struct lw_clock *c)
{
	return c->mono_ns(c);
}
