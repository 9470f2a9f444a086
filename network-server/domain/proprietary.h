/* A frame of the proprietary type that somebody wants sent. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/lorawan/types.h"
#include "network-server/domain/region_config.h"

struct ns_proprietary {
	struct lw_gateway_id gateway_id;
	const struct ns_region_config *rc; /* NULL: where the gateway's statistics come from */
	struct lw_modulation mod;
	bool plain_polarity; /* LoRa: not inverted, as devices send */
	uint32_t hz;
	int8_t power_dbm;       /* EIRP; 0: the region's */
	int64_t gps_ns;         /* since the GPS epoch; 0: at once */
	struct lw_span payload; /* what follows MHDR */
};
