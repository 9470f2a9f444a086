#include "common/runtime/gather.h"

#include "common/base/bug.h"

/* It begins when so many wakes come faster than `from`, and find little. */
#define BEGIN_WAKES 32
#define FEW 8
/* It ends when so many looks find less than `from` a second. Or so much that whoever sends may wait for our answers,
 * and that what comes while we are busy is gathering enough. */
#define END_LOOKS 16
#define MANY 64
/* What is awaited waits the whole 2 ms from so many pieces a millisecond. */
#define AWAITED_FEW 4u

/* After BEGIN_WAKES wakes that took so long. */
static bool begins(const struct rt_gather *g, int64_t ns)
{
	return ns < BEGIN_WAKES * LW_NS_PER_S / g->from && g->pieces < BEGIN_WAKES * g->few &&
	       (int64_t)g->pieces * LW_NS_PER_S >= ns * g->least;
}

/* After END_LOOKS looks. */
static void judge(struct rt_gather *g)
{
	uint32_t ms = END_LOOKS * g->every_ms;
	g->on = g->pieces >= ms * g->least / 1000 && g->pieces < END_LOOKS * g->many;
	g->every_ms = g->awaited && g->pieces < ms * AWAITED_FEW ? 1 : RT_GATHER_MS;
}

static void on_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	struct rt_gather *g = arg;
	g->fn(g->arg);
}

void rt_gather_init(struct rt_gather *g, struct rt_loop *loop, const char *name, uint32_t from, bool awaited,
		    rt_gather_fn *fn, void *arg)
{
	BUG_ON(from == 0 || from > 10000);
	*g = (struct rt_gather){
		.fn = fn, .arg = arg, .from = from, .least = from, .few = FEW, .many = MANY, .awaited = awaited};
	g->every_ms = awaited ? 1 : RT_GATHER_MS;
	rt_timer_init(&g->timer, loop, name, on_timer, g);
}

void rt_gather_size(struct rt_gather *g, uint32_t few, uint32_t many)
{
	BUG_ON(few == 0 || few > many || many > RT_GATHER_MOST);
	g->few = few;
	g->many = many;
}

void rt_gather_least(struct rt_gather *g, uint32_t pieces_per_s)
{
	BUG_ON(pieces_per_s == 0 || pieces_per_s > 100000);
	g->least = pieces_per_s;
}

static void count_from(struct rt_gather *g, int64_t now)
{
	g->looks = g->pieces = 0;
	g->since_ns = now;
}

bool rt_gather_note(struct rt_gather *g, size_t pieces)
{
	struct rt_loop *loop = g->timer.loop;
	if (rt_loop_is_virtual(loop))
		return false;
	int64_t now = rt_loop_mono_ns(loop);
	if (g->looks == 0)
		g->since_ns = now;
	g->looks++;
	g->pieces += (uint32_t)(pieces < RT_GATHER_MOST ? pieces : RT_GATHER_MOST);
	if (!g->on && g->looks >= BEGIN_WAKES) {
		g->on = begins(g, now - g->since_ns);
		count_from(g, now);
	} else if (g->on && g->looks >= END_LOOKS) {
		judge(g);
		count_from(g, now);
	}
	int64_t grid = (int64_t)g->every_ms * LW_NS_PER_MS;
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
