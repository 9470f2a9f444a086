/* The process's memory: how glibc's allocator is to behave, and that it gives back to the system what it needed only
 * for a moment. Without it a daemon stays for ever as large as its worst second, and each thread gets a heap of its
 * own. Knows nothing of who allocates what. Does nothing under sanitizers and with other C libraries. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/runtime/loop.h"

/* Once, before the first thread. What the environment says (MALLOC_ARENA_MAX and others, GLIBC_TUNABLES) stays. */
void rt_heap_settings(void);

/* Whether to give back now, from what the process had before. Pure. */
struct rt_heap_watch {
	size_t low;     /* bytes that were left the last time; 0: not yet known */
	uint32_t waits; /* looks that would have given back, but for being busy */
	uint64_t busy_ns;
	int64_t at_ns; /* of the last look */
};
/* At each look: whether the loop has worked for a good part of the time since the one before. `busy_ns`: in all. */
bool rt_heap_busy(struct rt_heap_watch *w, uint64_t busy_ns, int64_t now_ns);
/* `resident` now, in bytes. `busy`: what is free is only so between two batches, and would cost its page faults again:
 * then only at every RT_HEAP_BUSY_LOOKS-th look. */
bool rt_heap_due(struct rt_heap_watch *w, size_t resident, bool busy);
#define RT_HEAP_BUSY_LOOKS 60
/* After giving back. */
void rt_heap_done(struct rt_heap_watch *w, size_t resident);

/* Looks every some seconds, gives back on a thread of the pool. */
struct rt_heap;
struct rt_heap *rt_heap_new(struct rt_loop *loop);
void rt_heap_free(struct rt_heap *h);
/* Resident memory of this process in bytes; 0 when the system does not say. */
size_t rt_heap_resident(void);
