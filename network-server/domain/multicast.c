#include "network-server/domain/multicast.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/time.h"
#include "common/base/xmalloc.h"
#include "common/lorawan/mic.h"
#include "network-server/domain/class_b.h"

#define FHDR_LEN 7

/* ---- which gateways ---- */

/* A pair of device and gateway that counts, by numbers from 0. */
struct edge {
	uint32_t device, gateway;
};

struct cover {
	struct edge *e; /* by device */
	size_t n;
	size_t *by_gateway;   /* the edges, by gateway */
	size_t *first;        /* where a gateway's begin in by_gateway; one more at the end */
	uint32_t *first_edge; /* where a device's begin in e; one more at the end */
	uint32_t n_devices;
	uint32_t n_gateways;
	uint32_t *uncovered; /* devices that a gateway would cover in addition */
	uint32_t *covered;   /* chosen gateways that reach a device */
	struct lw_gateway_id *id;
};

static int by_device(const void *a, const void *b)
{
	const struct ns_mc_heard *x = a, *y = b;
	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	if (x->margin_ddb != y->margin_ddb)
		return x->margin_ddb > y->margin_ddb ? -1 : 1;
	uint64_t p = lw_gateway_id_u64(x->gateway_id), q = lw_gateway_id_u64(y->gateway_id);
	return p < q ? -1 : p > q;
}

/* Edges that count: of each device those with a margin, at least its first. */
static void take_edges(struct cover *c, const struct ns_mc_heard *v, size_t n)
{
	struct lw_map numbers; /* 1 + number by gateway */
	lw_map_init(&numbers);
	for (size_t i = 0; i < n; i++) {
		bool is_first = i == 0 || v[i].device != v[i - 1].device;
		if (is_first)
			c->first_edge[c->n_devices++] = (uint32_t)c->n;
		if (!is_first && v[i].margin_ddb < 0)
			continue;
		uint64_t id = lw_gateway_id_u64(v[i].gateway_id);
		uintptr_t number = (uintptr_t)lw_map_find(&numbers, id);
		if (number == 0) {
			c->id[c->n_gateways] = v[i].gateway_id;
			number = ++c->n_gateways;
			lw_map_put(&numbers, id, (void *)number);
		}
		c->e[c->n++] = (struct edge){c->n_devices - 1, (uint32_t)number - 1};
	}
	c->first_edge[c->n_devices] = (uint32_t)c->n;
	lw_map_deinit(&numbers);
}

static void index_gateways(struct cover *c)
{
	for (size_t i = 0; i < c->n; i++)
		c->first[c->e[i].gateway + 1]++;
	for (uint32_t g = 0; g < c->n_gateways; g++) {
		c->uncovered[g] = (uint32_t)c->first[g + 1];
		c->first[g + 1] += c->first[g];
	}
	size_t *at = lw_xcalloc(c->n_gateways + 1, sizeof(*at));
	memcpy(at, c->first, c->n_gateways * sizeof(*at));
	for (size_t i = 0; i < c->n; i++)
		c->by_gateway[at[c->e[i].gateway]++] = i;
	free(at);
}

static void choose(struct cover *c, uint32_t g)
{
	for (size_t i = c->first[g]; i < c->first[g + 1]; i++) {
		uint32_t d = c->e[c->by_gateway[i]].device;
		if (c->covered[d]++ > 0)
			continue;
		for (uint32_t k = c->first_edge[d]; k < c->first_edge[d + 1]; k++)
			c->uncovered[c->e[k].gateway]--;
	}
}

/* Every device that it reaches has another. */
static bool superfluous(const struct cover *c, uint32_t g)
{
	for (size_t i = c->first[g]; i < c->first[g + 1]; i++)
		if (c->covered[c->e[c->by_gateway[i]].device] < 2)
			return false;
	return true;
}

static size_t greedy(struct cover *c, struct lw_gateway_id *out)
{
	uint32_t *chosen = lw_xcalloc(c->n_gateways + 1, sizeof(*chosen));
	size_t n = 0, kept = 0;
	for (;;) {
		uint32_t best = 0;
		for (uint32_t g = 1; g < c->n_gateways; g++)
			if (c->uncovered[g] > c->uncovered[best])
				best = g;
		if (c->n_gateways == 0 || c->uncovered[best] == 0)
			break;
		chosen[n++] = best;
		choose(c, best);
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t g = chosen[i];
		if (!superfluous(c, g)) {
			out[kept++] = c->id[g];
			continue;
		}
		for (size_t k = c->first[g]; k < c->first[g + 1]; k++)
			c->covered[c->e[c->by_gateway[k]].device]--;
	}
	free(chosen);
	return kept;
}

size_t ns_mc_cover(struct ns_mc_heard *v, size_t n, struct lw_gateway_id *out)
{
	struct cover c = {.n = 0};
	if (n == 0)
		return 0;
	qsort(v, n, sizeof(*v), by_device);
	c.e = lw_xcalloc(n, sizeof(*c.e));
	c.by_gateway = lw_xcalloc(n, sizeof(*c.by_gateway));
	c.first = lw_xcalloc(n + 1, sizeof(*c.first));
	c.first_edge = lw_xcalloc(n + 1, sizeof(*c.first_edge));
	c.uncovered = lw_xcalloc(n, sizeof(*c.uncovered));
	c.covered = lw_xcalloc(n, sizeof(*c.covered));
	c.id = lw_xcalloc(n, sizeof(*c.id));
	take_edges(&c, v, n);
	index_gateways(&c);
	size_t kept = greedy(&c, out);
	free(c.e);
	free(c.by_gateway);
	free(c.first);
	free(c.first_edge);
	free(c.uncovered);
	free(c.covered);
	free(c.id);
	return kept;
}

/* ---- the frame ---- */

bool ns_mc_window(const struct ns_mc_group *g, const struct ns_region_config *rc, int64_t gps_ns,
		  struct ns_down_window *out)
{
	const struct lw_region *region = lw_region_by_id(rc->region);
	*out = (struct ns_down_window){.hz = g->hz, .dr = g->dr, .gps_ns = gps_ns, .immediately = gps_ns == 0};
	if (out->hz == 0 && gps_ns != 0)
		out->hz = lw_hop_hz(&region->ping_slot, (uint32_t)(ns_beacon_start(gps_ns) / LW_NS_PER_S), g->addr.v);
	out->mod = lw_region_dr(region, LW_DOWN, g->dr);
	out->power_dbm = ns_down_power(rc, region, out->hz);
	return out->mod != NULL && out->hz != 0;
}

int ns_mc_max_payload(const struct ns_mc_group *g, const struct ns_region_config *rc)
{
	struct lw_max_payload mp;
	/* The devices may be of several versions: the newest parameters count, as they do for who has no profile. */
	if (lw_region_max_payload(lw_region_by_id(rc->region), LW_DOWN, LW_MAC_1_0_4, LW_RP_002_1_0_4,
				  rc->repeater_compatible, rc->dwell_time_400ms, g->dr, &mp) != 0)
		return -1;
	return mp.m - FHDR_LEN - 1;
}

/* Of a multicast frame the standard wants: unconfirmed, no ACK, no commands, FPort above 0 (TS001-1.0.4, class B and C:
 * multicast). */
void ns_mc_build(struct lw_keycache *kc, const struct ns_mc_group *g, const struct ns_mc_item *item,
		 const struct ns_down_window *window, struct ns_down_frame *out)
{
	struct lw_phy phy = {.mtype = LW_MTYPE_UNCONFIRMED_DOWN};
	phy.u.data = (struct lw_data_frame){
		.devaddr = g->addr, .fcnt = (uint16_t)item->f_cnt, .fport = item->f_port, .frm = item->payload};
	memset(out, 0, sizeof(*out));
	out->window = *window;
	phy.u.data.fctrl.fpending = item->f_pending > 0;
	out->fpending = item->f_pending > 0;
	out->carries_item = true;
	out->f_port = item->f_port;
	out->f_cnt = item->f_cnt;
	int n = lw_phy_encode(&phy, out->phy, sizeof(out->phy));
	BUG_ON(n < 0); /* ns_mc_max_payload() was asked */
	out->n = (uint8_t)n;
	struct lw_span msg = lw_span(out->phy, (size_t)n - LW_MIC_LEN);
	lw_phy_set_mic(out->phy, (size_t)n, lw_mic_data_10(kc, &g->nwk_s_key, LW_DOWN, g->addr, item->f_cnt, msg));
}

int64_t ns_mc_ping_slot(struct lw_keycache *kc, const struct ns_mc_group *g, int64_t after_gps_ns)
{
	return ns_next_ping_slot(kc, after_gps_ns, g->addr, g->ping_slot_nb);
}
