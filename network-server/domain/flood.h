/* Devices that fill the air: how much each sends within a minute, and which are in quarantine for it. Of almost all
 * devices nothing is kept: a table of fixed size, in which devices share cells, tells who is worth a look. A flood
 * lasts for minutes; what comes at once after an outage, though it was sent over hours, is none. Time is nanoseconds of
 * one clock that never jumps. Knows no frame and no session. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/map.h"

#define NS_FLOOD_WINDOW_S 60
#define NS_FLOOD_CELLS 65536
#define NS_FLOOD_SUSPECTS 20000  /* looked at one by one; further ones only in the next minute */
#define NS_FLOOD_JOIN_EVERY_S 30 /* of a quarantined device so often one join-request passes */

struct ns_flood_limits {
	uint32_t airtime_percent; /* of a minute that a device's uplinks may fill; 0: any */
	uint32_t joins;           /* join-requests in a minute; 0: any */
	uint32_t minutes;         /* so many in a row above a limit are a flood; 0 counts as 1 */
	uint32_t duration_s;      /* of a quarantine */
};

enum ns_flood_kind { NS_FLOOD_NONE, NS_FLOOD_UPLINKS, NS_FLOOD_JOINS };

/* As it is shown: times are of the wall clock. */
struct ns_quarantine {
	enum ns_flood_kind kind;
	uint32_t measured, limit;
	int64_t since_ns, until_ns;
	uint64_t dropped;
};

struct ns_suspect {
	uint32_t airtime_ms, joins; /* within the window */
	uint32_t minutes[2];        /* before it, that were above the limit of airtime, of joins */
	enum ns_flood_kind kind;    /* in quarantine for that */
	uint32_t measured;          /* when it began: percent of the time, or joins a minute */
	int64_t since_ns, until_ns;
	int64_t join_passed_ns;
	uint64_t dropped;
};

struct ns_flood {
	struct ns_flood_limits limits;
	uint32_t *airtime_ms; /* NS_FLOOD_CELLS each */
	uint16_t *joins;
	struct lw_map suspects; /* by EUI */
	int64_t window;         /* number of the minute */
	size_t n_quarantined;
};

void ns_flood_init(struct ns_flood *f, const struct ns_flood_limits *limits);
void ns_flood_deinit(struct ns_flood *f);
/* In quarantine now, and for what; NULL: no. Borrowed until the next call. */
const struct ns_suspect *ns_flood_find(struct ns_flood *f, uint64_t eui, int64_t now_ns);
/* A frame of the device that counts: one that is certainly its own. Returns the suspect when this one began a
 * quarantine. */
const struct ns_suspect *ns_flood_uplink(struct ns_flood *f, uint64_t eui, uint32_t airtime_us, int64_t now_ns);
/* A join-request in its name: anybody can send that. */
const struct ns_suspect *ns_flood_join(struct ns_flood *f, uint64_t eui, int64_t now_ns);
/* A frame of a device in quarantine. False: it passes, as one join-request does now and then. */
bool ns_flood_drops(struct ns_flood *f, uint64_t eui, bool is_join, int64_t now_ns);
/* As another network-server says. */
void ns_flood_begin(struct ns_flood *f, uint64_t eui, enum ns_flood_kind kind, uint32_t measured, int64_t now_ns,
		    int64_t until_ns);
/* By hand, or because of another's word. False: it was in none. */
bool ns_flood_release(struct ns_flood *f, uint64_t eui);
