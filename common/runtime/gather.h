/* Decides whether an input is looked at when it wakes the loop, or every 2 ms: when it wakes the loop more than so many
 * times a second, each wake for a piece or two, gathering costs a fraction and delays nothing by more than those 2 ms.
 * What somebody waits for is looked at every millisecond as long as that brings less than a few pieces each time. At a
 * rate where each wake finds many pieces anyway it is of no use and ends. All gatherers of a loop look at the same
 * moments, so that one wake serves them all. Does no I/O itself.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/runtime/loop.h"

#define RT_GATHER_MS 2
#define RT_GATHER_MOST 65536 /* pieces of a look that count */

/* Look now. The owner reads and calls rt_gather_note() again. */
typedef void rt_gather_fn(void *arg);

/* In the owner's memory. */
struct rt_gather {
	struct rt_timer timer;
	rt_gather_fn *fn;
	void *arg;
	int64_t since_ns;
	uint32_t from;      /* wakes a second */
	uint32_t least;     /* pieces a second */
	uint32_t few, many; /* pieces a wake, a look */
	uint32_t every_ms;
	bool awaited;
	uint32_t looks, pieces;
	bool on; /* read only: the owner does not watch its descriptor for input now */
};

/* `from`: so many wakes a second begin it, less than so many pieces a second end it. `awaited`: each millisecond
 * counts. */
void rt_gather_init(struct rt_gather *g, struct rt_loop *loop, const char *name, uint32_t from, bool awaited,
		    rt_gather_fn *fn, void *arg);
/* It begins when wakes find less than `few` pieces each (8), and ends when looks find `many` (64). More is for an input
 * whose senders do not wait for our answers before they go on. */
void rt_gather_size(struct rt_gather *g, uint32_t few, uint32_t many);
/* It begins only at so many pieces a second, and ends below that (`from`). For an input that wakes less than once for a
 * piece when it is busy, and whose delay counts when it is not. */
void rt_gather_least(struct rt_gather *g, uint32_t pieces_per_s);
/* After each look, with the pieces (datagrams, packets) that it found. Returns g->on as it is from now on. Never on in
 * virtual mode, where time does not pass by itself. */
bool rt_gather_note(struct rt_gather *g, size_t pieces);
/* Back to being woken. */
void rt_gather_stop(struct rt_gather *g);
