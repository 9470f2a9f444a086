/* Region configurations of the network-server, with what the regional parameters say about them. */
#include <string.h>

#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/store/row.h"
#include "common/base/bytes.h"
#include "common/lorawan/region.h"
#include "proto/api/internal.pb-c.h"
#include "proto/google/protobuf/empty.pb-c.h"

void as_region_ask(struct as_call *c, void (*then)(struct as_call *c, const ProtobufCMessage *regions))
{
	Google__Protobuf__Empty req = GOOGLE__PROTOBUF__EMPTY__INIT;
	as_ns(c, "ListRegions", &req.base, &longwave__ns__v1__list_regions_response__descriptor, then);
}

static void on_list(struct as_call *c, const ProtobufCMessage *msg)
{
	const Longwave__Ns__V1__ListRegionsResponse *in = (const void *)msg;
	Api__ListRegionsResponse *resp = as_msg_new(c->arena, &api__list_regions_response__descriptor);
	Api__RegionListItem **v = (void *)as_msg_list(c->arena, &resp->base, "regions", in->n_regions);
	for (size_t i = 0; i < in->n_regions; i++) {
		v[i]->id = in->regions[i]->id;
		v[i]->region = in->regions[i]->region;
		v[i]->description = in->regions[i]->description;
	}
	as_reply(c, &resp->base);
}

void as_region_list(struct as_call *c)
{
	as_region_ask(c, on_list);
}

/* ---- a region_config_id in a request ---- */

static bool of_region(const Longwave__Ns__V1__RegionConfig *rc, uint32_t region)
{
	return lw_region_base((enum lw_region_id)rc->region) == lw_region_base((enum lw_region_id)region);
}

/* Ids of the configurations of `region`, or of all when it has none; *of_it says which. */
static const char *names(struct as_call *c, const Longwave__Ns__V1__ListRegionsResponse *in, uint32_t region,
			 bool *of_it)
{
	struct lw_buf b;
	size_t n = 0;
	*of_it = false;
	for (size_t i = 0; i < in->n_regions; i++)
		*of_it = *of_it || of_region(in->regions[i], region);
	lw_buf_init(&b, SIZE_MAX);
	for (size_t i = 0; i < in->n_regions; i++) {
		if (*of_it && !of_region(in->regions[i], region))
			continue;
		lw_buf_append_str(&b, n++ ? ", " : "");
		lw_buf_append_str(&b, in->regions[i]->id);
	}
	const char *text = lw_arena_strdup(c->arena, n ? lw_buf_str(&b) : "none");
	lw_buf_deinit(&b);
	return text ? text : "";
}

bool as_region_config_arg(struct as_call *c, const ProtobufCMessage *regions, const char *id, uint32_t region)
{
	const Longwave__Ns__V1__ListRegionsResponse *in = (const void *)regions;
	const Longwave__Ns__V1__RegionConfig *rc = NULL;
	const struct lw_region *r = lw_region_by_id((enum lw_region_id)region);
	bool of_it = false;

	for (size_t i = 0; i < in->n_regions && !rc; i++)
		rc = strcmp(in->regions[i]->id, id) == 0 ? in->regions[i] : NULL;
	if (rc && of_region(rc, region))
		return true;
	const char *known = names(c, in, region, &of_it);
	as_fail(c, GRPC_INVALID_ARGUMENT, "region_config_id: %.40s is %s; configured%s%s are: %s", id,
		rc ? "of another region" : "not configured in the network-server", of_it ? " for " : "",
		of_it ? r ? r->name : "the region" : "", known);
	return false;
}

/* ---- of one configuration ---- */

/* Data rates of an uplink frequency: of the plan's channel that has it, else those of added channels. */
static void fill_channel(struct as_call *c, const struct lw_region *r, uint32_t hz, Api__RegionChannel *out)
{
	uint8_t min = r->user_min_dr;
	uint8_t max = r->user_max_dr;

	out->frequency = hz;
	out->data_rates = LW_ARENA_ARRAY(c->arena, uint32_t, LW_DR_COUNT);
	for (size_t i = 0; i < r->n_up; i++) {
		const struct lw_channel_run *run = &r->up[i];
		for (uint32_t k = 0; k < run->count; k++) {
			if (run->first_hz + k * run->step_hz == hz) {
				min = run->min_dr;
				max = run->max_dr;
			}
		}
	}
	for (uint32_t dr = min; dr <= max; dr++)
		out->data_rates[out->n_data_rates++] = dr;
}

static void on_one(struct as_call *c, const ProtobufCMessage *msg)
{
	const Longwave__Ns__V1__ListRegionsResponse *in = (const void *)msg;
	const char *id = ((const Api__GetRegionRequest *)c->req)->id;
	const Longwave__Ns__V1__RegionConfig *rc = NULL;

	for (size_t i = 0; i < in->n_regions && !rc; i++)
		rc = strcmp(in->regions[i]->id, id) == 0 ? in->regions[i] : NULL;
	const struct lw_region *r = rc ? lw_region_by_id((enum lw_region_id)rc->region) : NULL;
	if (!r) {
		as_fail_missing(c, id);
		return;
	}
	Api__GetRegionResponse *resp = as_msg_new(c->arena, &api__get_region_response__descriptor);
	resp->id = rc->id;
	resp->region = rc->region;
	resp->description = rc->description;
	resp->rx1_delay = r->rx1_delay_s;
	resp->rx2_dr = r->rx2_dr;
	resp->rx2_frequency = r->rx2_hz;
	resp->class_b_ping_slot_dr = r->ping_slot.dr;
	resp->class_b_ping_slot_frequency = r->ping_slot.count > 1 ? 0 : r->ping_slot.base_hz;
	Api__RegionChannel **v =
		(void *)as_msg_list(c->arena, &resp->base, "uplink_channels", rc->n_uplink_frequencies_hz);
	for (size_t i = 0; i < rc->n_uplink_frequencies_hz; i++)
		fill_channel(c, r, rc->uplink_frequencies_hz[i], v[i]);
	as_reply(c, &resp->base);
}

void as_region_get(struct as_call *c)
{
	as_region_ask(c, on_one);
}
