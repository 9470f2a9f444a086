#include "common/runtime/gather.h"

/* So many wakes in less than so many ms begin it, when they find little. */
#define BEGIN_WAKES 32
#define BEGIN_NS (BEGIN_WAKES * LW_NS_PER_MS)
#define BEGIN_PIECES (BEGIN_WAKES * 8u)
/* So few pieces in so many looks end it: less than a thousand a second. So many, too: whoever sends may wait for our
 * answers, and what comes while we are busy is gathering enough. */
#define END_LOOKS 16
#define END_FEW (END_LOOKS * RT_GATHER_MS)
#define END_MANY (END_LOOKS * 64u)

static void on_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	struct rt_gather *g = arg;
	g->fn(g->arg);
}

void rt_gather_init(struct rt_gather *g, struct rt_loop *loop, const char *name, rt_gather_fn *fn, void *arg)
{
	*g = (struct rt_gather){.fn = fn, .arg = arg};
	rt_timer_init(&g->timer, loop, name, on_timer, g);
}

static void count_from(struct rt_gather *g, int64_t now)
{
	g->looks = g->pieces = 0;
	g->since_ns = now;
}

bool rt_gather_note(struct rt_gather *g, size_t pieces)
{
	struct rt_loop *loop = g->timer.loop;
	const int64_t grid = RT_GATHER_MS * LW_NS_PER_MS;
	if (rt_loop_is_virtual(loop))
		return false;
	int64_t now = rt_loop_mono_ns(loop);
	if (g->looks == 0)
		g->since_ns = now;
	g->looks++;
	g->pieces += (uint32_t)(pieces < END_MANY ? pieces : END_MANY);
	if (!g->on && g->looks >= BEGIN_WAKES) {
		g->on = now - g->since_ns < BEGIN_NS && g->pieces < BEGIN_PIECES;
		count_from(g, now);
	} else if (g->on && g->looks >= END_LOOKS) {
		g->on = g->pieces >= END_FEW && g->pieces < END_MANY;
		count_from(g, now);
	}
	if (g->on)
		rt_timer_start_at(&g->timer, now - now % grid + grid);
	else
		rt_timer_stop(&g->timer);
	return g->on;
}

void rt_gather_stop(struct rt_gather *g)
{
	g->on = false;
	g->looks = 0;
	rt_timer_stop(&g->timer);
}
