/* Which of the gateways that heard a device sends the answer. Pure. */
#pragma once

#include "common/base/rng.h"
#include "network-server/domain/uplink.h"

struct ns_gateway_candidate {
	const struct ns_rx_gateway *rx;
	uint32_t priority; /* downlink_priority */
};

/* Sorts by margin above the demodulation floor of the uplink's data rate, then by signal strength; then draws the first
 * among those that have at least min_margin_db, weighted by priority. The others follow as alternatives. */
void ns_choose_gateway(struct ns_gateway_candidate *v, size_t n, const struct lw_modulation *uplink_mod,
		       unsigned min_margin_db, struct lw_rng *rng);
