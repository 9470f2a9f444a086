/* The system's clocks, and one that a test moves by hand. */
#include "common/base/clock.h"

#include <time.h>

#include "common/base/bug.h"

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;
	BUG_ON(clock_gettime(id, &ts) != 0);
	return (int64_t)ts.tv_sec * LW_NS_PER_S + ts.tv_nsec;
}

int64_t lw_now_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t lw_mono_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

static int64_t system_now(const struct lw_clock *c)
{
	(void)c;
	return lw_now_ns();
}

static int64_t system_mono(const struct lw_clock *c)
{
	(void)c;
	return lw_mono_ns();
}

static int64_t manual_now(const struct lw_clock *c)
{
	return c->manual_now_ns;
}

static int64_t manual_mono(const struct lw_clock *c)
{
	return c->manual_mono_ns;
}

void lw_clock_init_system(struct lw_clock *c)
{
	*c = (struct lw_clock){.now_ns = system_now, .mono_ns = system_mono};
}

void lw_clock_init_manual(struct lw_clock *c, int64_t now_ns)
{
	*c = (struct lw_clock){
		.now_ns = manual_now, .mono_ns = manual_mono, .manual_now_ns = now_ns, .manual_mono_ns = LW_NS_PER_S};
}

void lw_clock_advance(struct lw_clock *c, int64_t by_ns)
{
	c->manual_now_ns += by_ns;
	c->manual_mono_ns += by_ns;
}
