/* glibc's settings, and malloc_trim() after a peak. */
#include "common/runtime/heap.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/xmalloc.h"

#define LOOK_MS 5000
/* Busy is a loop that works for one in so many seconds. The network-server does at 1,000 to 2,000 uplinks a second. */
#define BUSY_SHARE 8
/* Giving back walks the whole heap, and what was given back costs a page fault when it is needed again: some
 * milliseconds for 100 MB, so not for less than this. */
#define WORTH ((size_t)8 << 20)

struct rt_heap {
	struct rt_loop *loop;
	struct rt_timer timer;
	struct rt_heap_watch watch;
	bool under_way;
	bool gone; /* the owner is, while work is under way */
};

#ifdef __GLIBC__
static void set_unless(const char *variable, int option, int value)
{
	if (!getenv(variable))
		mallopt(option, value);
}
#endif

void rt_heap_settings(void)
{
#ifdef __GLIBC__
	/* The loop has one heap, all other threads share one. By default each gets its own, and keeps what it once
	 * needed. */
	set_unless("MALLOC_ARENA_MAX", M_ARENA_MAX, 2);
	/* Fixed, so that large pieces (a password's hash takes 19 MiB) are mapped and unmapped: once glibc has seen
	 * one freed it would keep the next in the heap, for ever. That also fixes the threshold below at 128 KiB, and
	 * the end of the heap would move with each batch. */
	set_unless("MALLOC_MMAP_THRESHOLD_", M_MMAP_THRESHOLD, 1 << 20);
	set_unless("MALLOC_TRIM_THRESHOLD_", M_TRIM_THRESHOLD, 4 << 20);
	set_unless("MALLOC_TOP_PAD_", M_TOP_PAD, 128 << 10);
#endif
}

bool rt_heap_busy(struct rt_heap_watch *w, uint64_t busy_ns, int64_t now_ns)
{
	bool busy = (int64_t)(busy_ns - w->busy_ns) * BUSY_SHARE >= now_ns - w->at_ns;
	w->busy_ns = busy_ns;
	w->at_ns = now_ns;
	return busy;
}

bool rt_heap_due(struct rt_heap_watch *w, size_t resident, bool busy)
{
	if (!w->low || resident < w->low)
		w->low = resident;
	size_t more = w->low / 4 > WORTH ? w->low / 4 : WORTH;
	if (resident < w->low + more) {
		w->waits = 0;
		return false;
	}
	return !busy || ++w->waits >= RT_HEAP_BUSY_LOOKS;
}

void rt_heap_done(struct rt_heap_watch *w, size_t resident)
{
	w->low = resident;
	w->waits = 0;
}

size_t rt_heap_resident(void)
{
	char text[128];
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	const char *second = strchr(text, ' '); /* the first is the size */
	return second ? (size_t)strtoull(second, NULL, 10) * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

static void give_back(void *arg)
{
	(void)arg;
#ifdef __GLIBC__
	malloc_trim(WORTH / 16);
#endif
}

static void given_back(void *arg, int status)
{
	struct rt_heap *h = arg;
	(void)status;
	h->under_way = false;
	if (h->gone)
		free(h);
	else
		rt_heap_done(&h->watch, rt_heap_resident());
}

static void look(struct rt_timer *t, void *arg)
{
	struct rt_heap *h = arg;
	struct rt_loop_stats st;
	(void)t;
	rt_loop_stats(h->loop, &st);
	bool busy = rt_heap_busy(&h->watch, st.busy_ns, rt_loop_mono_ns(h->loop));
	if (h->under_way || !rt_heap_due(&h->watch, rt_heap_resident(), busy))
		return;
	h->under_way = true;
	rt_loop_work(h->loop, give_back, given_back, h);
}

struct rt_heap *rt_heap_new(struct rt_loop *loop)
{
	struct rt_heap *h = lw_xcalloc(1, sizeof(*h));
	h->loop = loop;
	rt_timer_init(&h->timer, loop, "memory", look, h);
	rt_timer_start_every(&h->timer, LOOK_MS);
	return h;
}

void rt_heap_free(struct rt_heap *h)
{
	if (!h)
		return;
	rt_timer_stop(&h->timer);
	h->gone = true;
	if (!h->under_way)
		free(h);
}
