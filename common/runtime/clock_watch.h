/* Whether the wall clock was set: by someone, by a time server that steps it, or while the machine slept. Nothing here
 * depends on it but what is shown, said to devices, and kept across restarts; an operator wants to know. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rt_clock_watch {
	int64_t offset_ns; /* of the wall clock from the one that nobody sets */
	bool known;
};

/* True when it was set since the last look; by how much is in `by_ns` (negative: back). A clock that is slewed is not
 * set. */
bool rt_clock_watch_look(struct rt_clock_watch *w, int64_t now_ns, int64_t mono_ns, int64_t *by_ns);
