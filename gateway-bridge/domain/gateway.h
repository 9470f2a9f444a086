/* The gateways of one listener, keyed by EUI: known from a PULL_DATA until none came for a while. Pure: time is a
 * parameter. */
#pragma once

#include "common/base/ids.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "gateway-bridge/domain/counters.h"
#include "gateway-bridge/domain/peer.h"

struct gb_gateway {
	struct lw_gateway_id id;
	char id_text[LW_EUI_TEXT];
	uint8_t version;     /* of the last PULL_DATA */
	struct gb_peer peer; /* source of the last PULL_DATA: where downlinks go */
	int64_t seen_ns;     /* monotonic, last PULL_DATA */
	uint16_t next_token; /* tried when the wanted one is in use */
	struct gb_counters counters;
	struct lw_list by_age;    /* of gb_gateways */
	struct lw_list downlinks; /* gb_downlink.in_gateway: sent, not yet answered */
};

struct gb_gateways {
	struct lw_map by_id;
	struct lw_list by_age; /* least recently seen first */
	size_t max;
};

void gb_gateways_init(struct gb_gateways *g, size_t max);
/* The downlinks of the gateways must be gone. */
void gb_gateways_deinit(struct gb_gateways *g);
/* Borrowed, or NULL. */
struct gb_gateway *gb_gateways_find(const struct gb_gateways *g, struct lw_gateway_id id);
/* Notes a PULL_DATA. *is_new: it was not there. NULL: the table is full. */
struct gb_gateway *gb_gateways_pull(struct gb_gateways *g, struct lw_gateway_id id, uint8_t version,
				    const struct gb_peer *peer, int64_t now_ns, bool *is_new);
/* The one seen least recently, when that was before `before_ns`; else NULL. */
struct gb_gateway *gb_gateways_stale(const struct gb_gateways *g, int64_t before_ns);
/* Frees it. */
void gb_gateways_remove(struct gb_gateways *g, struct gb_gateway *gw);
static inline size_t gb_gateways_count(const struct gb_gateways *g)
{
	return lw_map_count(&g->by_id);
}
