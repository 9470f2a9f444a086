/* Which gateway sends a downlink, and in which window: by link budget and by what each gateway has still to send. It
 * prefers and explains; unless duty cycles are enforced it withholds nothing: when no window is free, the frame goes to
 * the best gateway all the same, whose own queue decides. Pure; all times on the timelines' clock. */
#pragma once

#include "common/base/rng.h"
#include "network-server/domain/timeline.h"

#define NS_PLAN_GATEWAYS 8
#define NS_PLAN_WINDOWS 2

/* How much of a sub-band's duty cycle may be used by what kind of downlink, so that bulk leaves room for the rest. */
enum ns_plan_rank {
	NS_PLAN_DATA, /* 80 % */
	NS_PLAN_ACK,  /* acknowledgements and answers to MAC commands: 90 % */
	NS_PLAN_JOIN, /* 100 % */
};

/* Why a window at a gateway is not the first choice. */
enum ns_plan_why {
	NS_PLAN_FREE,
	NS_PLAN_LATE,       /* it could not be there in time */
	NS_PLAN_EARLY,      /* further ahead than is planned */
	NS_PLAN_BUSY,       /* the gateway transmits something else then */
	NS_PLAN_QUEUE_FULL, /* too much is planned there */
	NS_PLAN_DUTY_CYCLE, /* the sub-band's share of the hour is used up */
	NS_PLAN_DWELL,      /* longer on the air than the region allows */
	NS_PLAN_REFUSED,    /* the gateway has said no */
};

struct ns_plan_window {
	int64_t start_ns; /* immediately: not looked at */
	uint32_t hz;
	uint32_t airtime_us;
	bool immediately;
};

struct ns_plan_gateway {
	const struct ns_timeline *timeline; /* NULL: nothing is known, which is a free one */
	int16_t margin_ddb;                 /* above the demodulation floor, tenths of a dB */
	uint32_t priority;                  /* the operator's weight, 0 counts as 1 */
	bool refused[NS_PLAN_WINDOWS];
};

struct ns_plan_in {
	int64_t now_ns;
	const struct lw_region *region;
	enum ns_plan_rank rank;
	bool enforce;          /* duty cycles, dwell time and overlaps forbid instead of being avoided */
	uint32_t max_dwell_us; /* 0: none */
	int16_t min_margin_ddb;
	/* In the order in which the device or the operator prefers them. */
	struct ns_plan_window window[NS_PLAN_WINDOWS];
	unsigned n_windows;
	/* The strongest first. */
	struct ns_plan_gateway gateway[NS_PLAN_GATEWAYS];
	unsigned n_gateways;
};

struct ns_plan {
	bool found;
	uint8_t gateway;  /* index in the input */
	uint8_t chosen;   /* the window that is planned */
	int64_t start_ns; /* of it */
	/* The windows to offer to it, in that order: all that may serve, as they are preferred. The gateway's own queue
	 * knows better than this plan whether one before the chosen one is free after all. Those for which it is late
	 * come last. */
	uint8_t window[NS_PLAN_WINDOWS];
	unsigned n_windows;
	bool forced; /* none was free */
	enum ns_plan_why why[NS_PLAN_GATEWAYS][NS_PLAN_WINDOWS];
};

/* Fills *out. Among gateways with a free window and enough margin it draws by priority and by how little each has sent
 * lately; one with less margin serves when no other has a free window. */
void ns_plan_downlink(const struct ns_plan_in *in, struct lw_rng *rng, struct ns_plan *out);

/* The share of a sub-band's duty cycle that a downlink of this rank may use up to, percent. */
unsigned ns_plan_rank_percent(enum ns_plan_rank rank);

/* "busy", "duty cycle used up" …: part of a sentence for a person. */
const char *ns_plan_why_text(enum ns_plan_why why);
