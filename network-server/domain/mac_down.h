/* What the network asks of a device in the next class A downlink: one table of requesters in the order in which they
 * are sent. Pure: nothing is remembered until ns_mac_down_sent(). */
#pragma once

#include "common/lorawan/mac.h"
#include "network-server/domain/device.h"
#include "network-server/domain/region_config.h"

#define NS_MAC_REQUESTS_MAX 96
#define NS_MAC_BLOCKS 12

struct ns_mac_down {
	/* in */
	const struct ns_device *dev;
	const struct ns_region_config *rc;
	int64_t now_ns;
	unsigned max_error_count;
	struct lw_rng *rng; /* may be NULL */
	/* out: blocks of commands with one identifier each */
	uint8_t bytes[NS_MAC_REQUESTS_MAX];
	size_t n;
	struct {
		uint8_t cid;
		uint8_t at, len;
	} block[NS_MAC_BLOCKS];
	size_t n_blocks;
};

/* Fills in what is due now. */
void ns_mac_down(struct ns_mac_down *m);
/* Keeps only the blocks that fit in max bytes, in order. */
void ns_mac_down_limit(struct ns_mac_down *m, size_t max);
/* They go out: remembers them in the session as pending. */
void ns_mac_down_sent(const struct ns_mac_down *m, struct ns_session *s);
/* RX1 delay that the device should have. */
uint8_t ns_wanted_rx1_delay(const struct ns_device *dev, const struct ns_region_config *rc);
