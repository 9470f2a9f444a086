/* What one gateway is going to send and has sent: its planned transmissions, its use of each sub-band within the last
 * hour, and how long it takes to answer. All times are nanoseconds of one clock that never jumps (the daemon's
 * monotonic one). Pure; knows nothing of devices, frames or why something is sent. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/lorawan/region.h"

#define NS_TIMELINE_SLOTS 32 /* planned transmissions at a time */
#define NS_TIMELINE_BANDS 6  /* sub-bands in use; EU868, the region with most, has six */
#define NS_RTT_SAMPLES 32
/* An hour in buckets of two minutes: the one of now and thirty before, one more for what reaches into the oldest, and
 * two for what is ahead. */
#define NS_DUTY_BUCKET_S 120
#define NS_DUTY_BUCKETS 34
#define NS_DUTY_WINDOW_S 3600
#define NS_TIMELINE_AHEAD_NS (2 * NS_DUTY_BUCKET_S * 1000000000LL) /* nothing is planned later than that */

/* Between two transmissions: a packet-forwarder needs as long to load the next one, and receive times at the server
 * vary by a few milliseconds. */
#define NS_TIMELINE_GUARD_NS (40 * 1000000LL)
/* How long before its start a transmission must leave the server while the gateway's own round trip is not known. */
#define NS_TIMELINE_LEAD_NS (150 * 1000000LL)
#define NS_RTT_MIN_SAMPLES 5
/* What a gateway needs between the arrival of a transmission and its start, on top of the round trip. */
#define NS_TIMELINE_PREPARE_NS (50 * 1000000LL)

struct ns_emission {
	uint32_t id; /* names it for ns_timeline_release(); 0: free slot */
	uint32_t airtime_us;
	int64_t start_ns;
	const struct lw_sub_band *band; /* may be NULL: no limit there */
};

struct ns_band_use {
	const struct lw_sub_band *band;
	uint32_t us[NS_DUTY_BUCKETS]; /* air time by bucket, a ring indexed by bucket number */
};

struct ns_timeline {
	struct ns_emission slot[NS_TIMELINE_SLOTS];
	struct ns_band_use use[NS_TIMELINE_BANDS];
	int64_t bucket; /* the newest that the rings hold; all zero is a valid start */
	int64_t now_bucket;
	uint16_t rtt_ms[NS_RTT_SAMPLES];
	uint8_t n_rtt;
	uint8_t next_rtt;
};

/* Forgets transmissions that are over and buckets older than an hour. Every other call expects it to have been made for
 * the present time. */
void ns_timeline_advance(struct ns_timeline *t, int64_t now_ns);

/* The planned transmission that one from start_ns on would meet (within the guard), or NULL. */
const struct ns_emission *ns_timeline_conflict(const struct ns_timeline *t, int64_t start_ns, uint32_t airtime_us);

/* The earliest start from from_ns on that meets no planned transmission. */
int64_t ns_timeline_first_free(const struct ns_timeline *t, int64_t from_ns, uint32_t airtime_us);

/* Whether one more transmission keeps every hour within percent of what the sub-band allows (0..100 of its duty cycle).
 * Never says yes too often; may say no up to four minutes too long. A band of NULL or without limit: yes. */
bool ns_timeline_duty_ok(const struct ns_timeline *t, const struct lw_sub_band *band, uint32_t airtime_us,
			 unsigned percent);

/* Air time used in the last hour, and what is planned, microseconds. */
uint64_t ns_timeline_used_us(const struct ns_timeline *t, const struct lw_sub_band *band);
/* The same over all bands. */
uint64_t ns_timeline_hour_us(const struct ns_timeline *t);
/* Over all bands, of the last two to four minutes: how busy the gateway is now. */
uint64_t ns_timeline_recent_us(const struct ns_timeline *t);

/* Transmissions planned and not over. */
unsigned ns_timeline_depth(const struct ns_timeline *t);

/* Plans a transmission. False: more than NS_TIMELINE_SLOTS are planned; it is accounted in its band all the same,
 * because whoever asks is going to send it. The id must not be 0 and not be planned already. */
bool ns_timeline_plan(struct ns_timeline *t, uint32_t id, int64_t start_ns, uint32_t airtime_us,
		      const struct lw_sub_band *band);
/* A gateway refused it, or took another window: gives back room and air time. Unknown ids are ignored (it is over). */
void ns_timeline_release(struct ns_timeline *t, uint32_t id);

/* A gateway answered so long after it was asked. Answers that came after the transmission's start say nothing about the
 * way to the gateway (some confirm only what they have sent): the caller leaves these out. */
void ns_timeline_rtt(struct ns_timeline *t, uint32_t rtt_ms);
/* The 90th percentile of the last answers, or -1 while fewer than NS_RTT_MIN_SAMPLES are known. */
int ns_timeline_rtt_p90_ms(const struct ns_timeline *t);
/* How long before its start a transmission has to leave for this gateway: the uplink's way here and the downlink's way
 * there are one round trip, and the gateway needs a moment. */
int64_t ns_timeline_lead_ns(const struct ns_timeline *t);
