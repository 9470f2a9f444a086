/* How often a device is heard as a rule, and how many of its uplinks have failed to come since: from the times of its
 * last ones, when someone asks. Pure; keeps nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS_CADENCE_MAX 64 /* the last so many uplinks count */
#define NS_CADENCE_MIN 5  /* fewer say nothing */

struct ns_cadence {
	int64_t interval_ns; /* the median */
	int64_t last_ns;
	int64_t next_ns;  /* when the next one was or is expected after the last */
	uint32_t missing; /* expected by now, half an interval of grace, and not come */
};

/* times_ns: of uplinks that came, rising. False: too few, or the device has no rhythm (half of the intervals lie
 * outside of half to one and a half times the median). */
bool ns_cadence_of(const int64_t *times_ns, size_t n, int64_t now_ns, struct ns_cadence *out);
