#include "gateway-bridge/domain/gateway.h"

#include <stdlib.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"

void gb_gateways_init(struct gb_gateways *g, size_t max)
{
	lw_map_init(&g->by_id);
	lw_list_init(&g->by_age);
	g->max = max;
}

void gb_gateways_deinit(struct gb_gateways *g)
{
	while (!lw_list_empty(&g->by_age))
		gb_gateways_remove(g, LW_CONTAINER_OF(g->by_age.next, struct gb_gateway, by_age));
	lw_map_deinit(&g->by_id);
}

struct gb_gateway *gb_gateways_find(const struct gb_gateways *g, struct lw_gateway_id id)
{
	return lw_map_find(&g->by_id, lw_gateway_id_u64(id));
}

struct gb_gateway *gb_gateways_pull(struct gb_gateways *g, struct lw_gateway_id id, uint8_t version,
				    const struct gb_peer *peer, int64_t now_ns, bool *is_new)
{
	struct gb_gateway *gw = gb_gateways_find(g, id);
	*is_new = !gw;
	if (!gw) {
		if (gb_gateways_count(g) >= g->max)
			return NULL;
		gw = lw_xcalloc(1, sizeof(*gw));
		gw->id = id;
		lw_gateway_id_print(id, gw->id_text);
		lw_list_init(&gw->by_age);
		lw_list_init(&gw->downlinks);
		lw_map_put(&g->by_id, lw_gateway_id_u64(id), gw);
	}
	gw->version = version;
	gw->peer = *peer;
	gw->seen_ns = now_ns;
	lw_list_remove(&gw->by_age);
	lw_list_push_back(&g->by_age, &gw->by_age);
	return gw;
}

struct gb_gateway *gb_gateways_stale(const struct gb_gateways *g, int64_t before_ns)
{
	if (lw_list_empty(&g->by_age))
		return NULL;
	struct gb_gateway *gw = LW_CONTAINER_OF(g->by_age.next, struct gb_gateway, by_age);
	return gw->seen_ns < before_ns ? gw : NULL;
}

void gb_gateways_remove(struct gb_gateways *g, struct gb_gateway *gw)
{
	BUG_ON(!lw_list_empty(&gw->downlinks));
	lw_map_remove(&g->by_id, lw_gateway_id_u64(gw->id));
	lw_list_remove(&gw->by_age);
	gb_counters_deinit(&gw->counters);
	free(gw);
}
