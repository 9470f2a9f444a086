/* The owner of the flows: what comes in is copied into a context and enters its table. */
#include "network-server/flow/flows.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "network-server/flow/internal.h"

#define KEY_CACHE_SLOTS 4096
#define PAYLOAD_MAX (64 * 1024)

void ns_flow_config_defaults(struct ns_flow_config *c)
{
	memset(c, 0, sizeof(*c));
	c->deduplication_window_ms = 200;
	c->deduplication_adaptive = true;
	c->downlink_data_delay_ms = 100;
	c->tx_ack_timeout_ms = 30000;
	c->max_mac_command_error_count = 1;
	c->rx_timestamp_max_drift_ms = 30000;
	c->max_in_flight = 8000;
	c->max_devices = 300000;
	c->flood = (struct ns_flood_limits){.airtime_percent = 25, .joins = 30, .minutes = 3, .duration_s = 600};
	c->multicast_class_c_margin_ms = 5000;
	c->multicast_class_b_margin_ms = 5000;
}

/* Every device of class B or C whose gateways are away waits in the flow for its next try. */
#define DOWN_MAX 1000000

static struct rt_flow *flow_new(struct ns_flows *f, const char *name, const struct rt_flow_step *steps, size_t n,
				rt_flow_end_fn *on_end)
{
	struct rt_flow_opts o = {
		.name = name,
		.steps = steps,
		.n_steps = n,
		.owner = f,
		.on_end = on_end,
		.on_trace = ns_ctx_traced,
		.max_in_flight = steps == ns_downlink_steps ? DOWN_MAX : f->cfg.max_in_flight,
		.max_batch = NS_BATCH,
		.late_reason = LONGWAVE__V1__REASON__OVERLOAD,
	};
	return rt_flow_new(f->loop, &o);
}

struct ns_flows *ns_flows_new(struct rt_loop *loop, const struct ns_ports *ports, const struct ns_flow_config *config,
			      struct lw_rng *rng)
{
	struct ns_flows *f = lw_xcalloc(1, sizeof(*f));
	f->loop = loop;
	f->ports = ports;
	f->cfg = *config;
	f->rng = rng;
	if (f->cfg.max_in_flight == 0)
		f->cfg.max_in_flight = 20000;
	if (f->cfg.devaddr_prefix.len == 0)
		f->cfg.devaddr_prefix = lw_netid_prefix(f->cfg.netid);
	f->kc = lw_keycache_new(KEY_CACHE_SLOTS);
	ns_windows_init(f);
	ns_plans_init(f);
	ns_multicast_init(f);
	ns_flood_init(&f->flood, &f->cfg.flood);
	lw_map_init(&f->held);
	lw_map_init(&f->tx);
	lw_map_init(&f->tx_by_device);
	lw_map_init(&f->down_by_device);
	lw_list_init(&f->waiting);
	lw_list_init(&f->sharing);
	ns_pools_init(f);
	/* In the order in which they hand contexts on, so that one pass of the loop takes a frame through. */
	f->receive = flow_new(f, "receive", ns_receive_steps, ns_receive_n_steps, ns_up_ended);
	f->uplink = flow_new(f, "uplink", ns_uplink_steps, ns_uplink_n_steps, ns_up_ended);
	f->join = flow_new(f, "join", ns_join_steps, ns_join_n_steps, ns_up_ended);
	f->proprietary = flow_new(f, "proprietary", ns_proprietary_steps, ns_proprietary_n_steps, ns_up_ended);
	f->locate = flow_new(f, "locate", ns_locate_steps, ns_locate_n_steps, ns_up_ended);
	f->tx_ack = flow_new(f, "tx_ack", ns_tx_ack_steps, ns_tx_ack_n_steps, ns_ack_ended);
	f->downlink = flow_new(f, "downlink", ns_downlink_steps, ns_downlink_n_steps, ns_down_ended);
	f->stats = flow_new(f, "stats", ns_stats_steps, ns_stats_n_steps, ns_stats_ended);
	f->multicast = flow_new(f, "multicast", ns_multicast_steps, ns_multicast_n_steps, ns_multicast_ended);
	return f;
}

static void free_tx(struct ns_flows *f)
{
	size_t it = 0;
	uint64_t key;
	void *value;
	while (lw_map_next(&f->tx, &it, &key, &value)) {
		struct ns_tx *tx = value;
		rt_timer_stop(&tx->timer);
		ns_tx_free(tx);
	}
	lw_map_deinit(&f->tx);
	lw_map_deinit(&f->tx_by_device);
	lw_map_deinit(&f->down_by_device);
}

void ns_flows_free(struct ns_flows *f)
{
	if (f == NULL)
		return;
	f->closing = true;
	ns_windows_free(f);
	ns_share_free(f);
	ns_hold_free(f);
	ns_plans_free(f);
	LW_LIST_FOREACH (n, tmp, &f->waiting) {
		struct ns_down *d = LW_CONTAINER_OF(n, struct ns_down, waiting);
		rt_timer_stop(&d->timer);
		lw_list_remove(n);
	}
	rt_flow_free(f->receive);
	rt_flow_free(f->uplink);
	rt_flow_free(f->join);
	rt_flow_free(f->proprietary);
	rt_flow_free(f->locate);
	rt_flow_free(f->tx_ack);
	rt_flow_free(f->downlink);
	rt_flow_free(f->stats);
	rt_flow_free(f->multicast);
	ns_multicast_free(f);
	free_tx(f);
	ns_pools_free(f);
	ns_flood_deinit(&f->flood);
	lw_keycache_free(f->kc);
	free(f);
}

int ns_flows_uplink(struct ns_flows *f, const struct ns_inbox *in, struct lw_span payload)
{
	if (payload.n > PAYLOAD_MAX)
		payload.n = 0; /* ends as malformed, on record */
	if (f->in_flight >= (in->is_urgent ? 2 : 1) * f->cfg.max_in_flight) {
		f->was_full = true;
		return LW_EFULL;
	}
	struct ns_up *u = ns_up_new(f);
	u->in = *in;
	u->payload = lw_arena_span(&u->c.arena, payload);
	rt_flow_enter(f->receive, &u->c.flow);
	return 0;
}

int ns_flows_tx_ack(struct ns_flows *f, const struct ns_inbox *in, struct lw_span payload)
{
	if (payload.n > PAYLOAD_MAX)
		return LW_EBIG;
	struct ns_ack *a = ns_ack_new(f);
	a->in = *in;
	a->payload = lw_arena_span(&a->c.arena, payload);
	rt_flow_enter(f->tx_ack, &a->c.flow);
	return 0;
}

int ns_flows_stats(struct ns_flows *f, const struct ns_inbox *in, struct lw_span payload)
{
	if (payload.n > PAYLOAD_MAX)
		return LW_EBIG;
	if (rt_flow_full(f->stats))
		return LW_EFULL;
	struct ns_stats *st = ns_stats_new(f);
	st->in = *in;
	st->payload = lw_arena_span(&st->c.arena, payload);
	rt_flow_enter(f->stats, &st->c.flow);
	return 0;
}

void ns_flows_enqueue_hint(struct ns_flows *f, struct lw_dev_eui dev_eui)
{
	ns_down_try(f, dev_eui);
}

void ns_flows_multicast_hint(struct ns_flows *f, struct lw_uuid group_id)
{
	ns_multicast_try(f, group_id);
}

void ns_flows_wake(struct ns_flows *f, struct lw_dev_eui dev_eui, uint32_t delay_ms)
{
	if (delay_ms == 0)
		ns_down_try(f, dev_eui);
	else
		ns_down_try_later(f, dev_eui, delay_ms, 0);
}

void ns_flows_set_replicated(struct ns_flows *f)
{
	f->replicated = true;
}

void ns_flows_register_metrics(struct ns_flows *f, struct rt_metrics *m)
{
	ns_windows_register_metrics(f, m);
	rt_flow_register_metrics(f->receive, m);
	rt_flow_register_metrics(f->uplink, m);
	rt_flow_register_metrics(f->join, m);
	rt_flow_register_metrics(f->proprietary, m);
	rt_flow_register_metrics(f->locate, m);
	rt_flow_register_metrics(f->tx_ack, m);
	rt_flow_register_metrics(f->downlink, m);
	rt_flow_register_metrics(f->stats, m);
	rt_flow_register_metrics(f->multicast, m);
}

size_t ns_flows_in_flight(const struct ns_flows *f)
{
	return f->in_flight + rt_flow_in_flight(f->downlink) - f->n_later + rt_flow_in_flight(f->tx_ack) +
	       rt_flow_in_flight(f->stats) + rt_flow_in_flight(f->multicast);
}

size_t ns_flows_unanswered(const struct ns_flows *f)
{
	return lw_map_count(&f->tx);
}
