/* Topics that the broker's rules deny. Rules that are wrong for a moment deny all that we have: then everything waits.
 * Rules that mean one gateway must not stop the others: what they deny is lost, an operator's mistake that a repetition
 * does not mend. To tell one from the other a topic that is denied is passed over, others are tried, and then it is
 * tried once more (decision 0006). Knows nothing of the broker; times are monotonic. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/map.h"

struct gb_denied {
	struct lw_bmap topics;
};

enum gb_rules { GB_MAY_GO, GB_WAITS, GB_IS_LOST };

void gb_denied_init(struct gb_denied *d);
void gb_denied_deinit(struct gb_denied *d);
bool gb_denied_any(const struct gb_denied *d);
/* The broker denied it. `taken`: how many others of the region it has taken so far; more than at the first denial say
 * that the rules mean this topic. True: then what was denied is lost. */
bool gb_denied_note(struct gb_denied *d, const char *topic, uint64_t taken, int64_t now_ns);
/* What becomes of an event of this topic. */
enum gb_rules gb_denied_rules(struct gb_denied *d, const char *topic, int64_t now_ns);
/* The broker took one. */
void gb_denied_taken(struct gb_denied *d, const char *topic);
/* Its next event is tried. */
void gb_denied_again(struct gb_denied *d, const char *topic);
