#include "common/runtime/clock_watch.h"

#include "common/base/clock.h"

#define STEP_NS LW_NS_PER_S

bool rt_clock_watch_look(struct rt_clock_watch *w, int64_t now_ns, int64_t mono_ns, int64_t *by_ns)
{
	int64_t offset_ns = now_ns - mono_ns;
	*by_ns = w->known ? offset_ns - w->offset_ns : 0;
	w->offset_ns = offset_ns;
	w->known = true;
	return *by_ns >= STEP_NS || *by_ns <= -STEP_NS;
}
