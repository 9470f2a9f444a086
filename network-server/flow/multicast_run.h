/* A run of the multicast table: what its steps share, and what they have for each other. */
#pragma once

#include "network-server/flow/internal.h"

#define NS_MC_LEASE_NS (20 * LW_NS_PER_S)
/* A wait that is longer gives the lease back. */
#define NS_MC_HOLD_NS (10 * LW_NS_PER_S)
#define NS_MC_RETRY_NS (5 * LW_NS_PER_S)
enum { NS_MC_GONE_MAX = 16, NS_MC_CHUNK = 32 };

/* A group that has something to send. */
struct ns_mc_state {
	struct ns_flows *f;
	struct lw_uuid id;
	struct rt_timer timer;
	bool running, again;
	unsigned in_flight; /* gateways that have not answered */
};

struct ns_mc_gone {
	struct lw_gateway_id gateway_id;
	bool has_gateway;
	ns_reason reason;
	const char *text;
};

/* One run. */
struct ns_mc_run {
	struct ns_ctx c;
	struct ns_mc_state *st;
	struct ns_mc_take take;
	struct ns_mc_devices devices;
	struct ns_mc_change change;
	int64_t wake_ns; /* 0: nothing is to be waited for */
	bool again;

	/* who hears the devices */
	struct lw_arena chunk;
	struct ns_fetch fetch[NS_MC_CHUNK];
	size_t next, open;
	struct rt_timer pause;
	bool going, failed;
	struct ns_mc_heard *heard;
	size_t n_heard, cap_heard;
	struct ns_mc_refresh refresh;

	struct lw_gateway_id *gateways; /* of an item that is being planned */
	size_t n_gateways;
	struct ns_mc_copy *put; /* the copies that are left */
	size_t n_put;
	struct lw_gateway_id *remove;
	size_t n_remove;
	struct lw_gateway_id *overdue; /* earlier items go there first */
	size_t n_overdue;
	struct ns_mc_copy **send; /* of put */
	size_t n_send;
	int64_t gps_ns; /* then; 0: at once */
	struct ns_mc_gone gone[NS_MC_GONE_MAX];
	size_t n_gone;
};

static inline struct ns_mc_run *ns_mc_run_of(struct rt_flow_ctx *flow)
{
	return (struct ns_mc_run *)(void *)flow;
}
/* There is an item, and nothing has ended it. */
static inline bool ns_mc_is_open(const struct ns_mc_run *m)
{
	return m->take.has_item && !m->change.delete_item;
}
/* The group is looked at again then, or before. */
static inline void ns_mc_wake(struct ns_mc_run *m, int64_t at_ns)
{
	if (m->wake_ns == 0 || at_ns < m->wake_ns)
		m->wake_ns = at_ns;
}

/* --- multicast_table.c -------------------------------------------------------------------------------------------- */
/* The region configuration by which the gateway (NULL: any) is reached: where its statistics come from, else the
 * region's first. NULL: none of that region is enabled. */
const struct ns_region_config *ns_mc_region_of(const struct ns_flows *f, enum lw_region_id region,
					       const struct lw_gateway_id *gateway);
/* A gateway (NULL: none in particular) does not send the item: goes on record with the commit. */
void ns_mc_gone(struct ns_mc_run *m, const struct lw_gateway_id *gateway, ns_reason reason, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The item goes, on record at each gateway that was to send it. */
void ns_mc_item_gone(struct ns_mc_run *m, ns_reason reason, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* --- multicast_cover.c -------------------------------------------------------------------------------------------- */
rt_flow_io_fn mc_devices, mc_receptions, mc_gateways;
rt_flow_pure_fn mc_cover;
/* What a run keeps of the devices. */
void ns_mc_cover_init(struct ns_mc_run *m);
void ns_mc_cover_deinit(struct ns_mc_run *m);

/* --- multicast_decide.c ------------------------------------------------------------------------------------------- */
rt_flow_pure_fn mc_decide;
