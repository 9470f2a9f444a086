/* Region configurations as the API shows them, and what it says of one that is not there. */
#include <string.h>

#include "common/base/bytes.h"
#include "common/runtime/log.h"
#include "network-server/link/api_impl.h"

#define WARN_MAX 20 /* profiles told one by one when the server starts */

const struct ns_region_config *ns_api_region(const struct ns_api *a, const char *id)
{
	for (size_t i = 0; i < a->o.n_regions; i++)
		if (strcmp(a->o.regions[i]->id, id) == 0)
			return a->o.regions[i];
	return NULL;
}

const char *ns_api_region_names(const struct ns_api *a, enum lw_region_id region, struct lw_arena *arena)
{
	const struct lw_region *r = lw_region_by_id(region);
	struct lw_buf b;
	size_t n = 0;
	lw_buf_init(&b, SIZE_MAX);
	for (int all = 0; all < 2 && n == 0; all++) {
		lw_buf_append_str(&b, all ? (r ? "none of its region is; enabled are " : "enabled are ") : "");
		for (size_t i = 0; i < a->o.n_regions; i++) {
			const struct ns_region_config *rc = a->o.regions[i];
			if (!all && (!r || lw_region_base(rc->region) != lw_region_base(region)))
				continue;
			if (!all && n == 0)
				lw_buf_append_str(&b, "of its region are enabled: ");
			lw_buf_append_str(&b, n++ ? ", " : "");
			lw_buf_append_str(&b, rc->id);
		}
	}
	const char *text = lw_arena_strdup(arena, lw_buf_str(&b));
	lw_buf_deinit(&b);
	return text ? text : "";
}

void ns_api_warn_of_region(const struct ns_api *a, const char *id, const char *region_config_id)
{
	if (region_config_id[0] && !ns_api_region(a, region_config_id))
		RT_LOG_WARN(
			a->o.log,
			"a device profile names a region configuration that is not enabled: its devices cannot join",
			rt_str("device_profile_id", id), rt_str("region_config_id", region_config_id));
}

struct looking {
	const struct ns_api *api;
	size_t n;
};

static void look(void *arg, const struct ns_profile *p)
{
	struct looking *l = arg;
	char id[LW_UUID_TEXT];
	if (!p->region_config_id[0] || ns_api_region(l->api, p->region_config_id))
		return;
	if (++l->n <= WARN_MAX)
		ns_api_warn_of_region(l->api, lw_uuid_print(p->id, id), p->region_config_id);
}

void ns_api_warn_of_regions(const struct ns_api *a)
{
	struct looking l = {.api = a};
	ns_store_each_profile(a->o.store, look, &l);
	if (l.n > WARN_MAX)
		RT_LOG_WARN(a->o.log, "more device profiles name region configurations that are not enabled",
			    rt_u64("profiles", l.n), rt_u64("told", WARN_MAX));
}

void ns_api_list_regions(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	struct ns_api *a = arg;
	struct lw_arena *arena = grpc_call_arena(c);
	Longwave__Ns__V1__ListRegionsResponse resp = LONGWAVE__NS__V1__LIST_REGIONS_RESPONSE__INIT;
	(void)req;
	resp.regions = LW_ARENA_ARRAY(arena, Longwave__Ns__V1__RegionConfig *, a->o.n_regions);
	for (size_t i = 0; i < a->o.n_regions; i++) {
		const struct ns_region_config *rc = a->o.regions[i];
		Longwave__Ns__V1__RegionConfig *out = LW_ARENA_NEW(arena, Longwave__Ns__V1__RegionConfig);
		struct lw_plan plan;
		longwave__ns__v1__region_config__init(out);
		out->id = lw_arena_strdup(arena, rc->id);
		out->region = (Common__Region)lw_region_base(rc->region);
		out->description = lw_arena_strdup(arena, rc->description);
		out->topic_prefix = lw_arena_strdup(arena, rc->topic_prefix);
		ns_region_config_plan(rc, &plan);
		out->uplink_frequencies_hz = LW_ARENA_ARRAY(arena, uint32_t, plan.n);
		for (unsigned k = 0; k < plan.n; k++) {
			struct lw_channel ch;
			if (lw_plan_enabled(&plan, k) && lw_plan_channel(&plan, k, &ch) == 0)
				out->uplink_frequencies_hz[out->n_uplink_frequencies_hz++] = ch.hz;
		}
		resp.regions[resp.n_regions++] = out;
	}
	grpc_call_reply(c, &resp.base);
}
