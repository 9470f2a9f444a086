/* A frame of the proprietary type that goes out on one gateway: nobody's session, no counter, no window. What the
 * gateway says of it is in its frame log. */
#include <string.h>

#include "common/base/err.h"
#include "network-server/flow/internal.h"

/* No more than the region's downlinks have on this frequency. */
static int8_t power(const struct ns_proprietary *p, const struct ns_region_config *rc, const struct lw_region *region)
{
	int8_t most = ns_down_power(rc, region, p->hz);
	return p->power_dbm != 0 && p->power_dbm < most ? p->power_dbm : most;
}

static bool fill(const struct ns_proprietary *p, struct ns_tx *tx)
{
	const struct lw_region *region = lw_region_by_id(tx->rc->region);
	struct ns_down_frame *fr = &tx->frame[0];
	if (!lw_region_freq_ok(region, p->hz) || p->payload.n == 0 || p->payload.n > LW_PHY_MAX - 1)
		return false;
	tx->own_mod = p->mod;
	fr->window = (struct ns_down_window){
		.hz = p->hz,
		.immediately = p->gps_ns == 0,
		.gps_ns = p->gps_ns,
		.plain_polarity = p->plain_polarity,
		.power_dbm = power(p, tx->rc, region),
		.mod = &tx->own_mod,
	};
	fr->phy[0] = LW_MTYPE_PROPRIETARY << 5;
	memcpy(fr->phy + 1, p->payload.p, p->payload.n);
	fr->n = (uint8_t)(1 + p->payload.n);
	tx->n_frames = 1;
	return true;
}

static int not_asked(ns_reason why)
{
	switch (why) {
	case LONGWAVE__V1__REASON__BROKER_UNAVAILABLE:
		return LW_EUNAVAILABLE;
	case LONGWAVE__V1__REASON__TOO_LATE:
		return LW_ETIMEDOUT;
	case LONGWAVE__V1__REASON__TOO_EARLY:
		return LW_ERANGE;
	case LONGWAVE__V1__REASON__DUTY_CYCLE_OVERFLOW:
		return LW_EEXHAUSTED;
	case LONGWAVE__V1__REASON__PAYLOAD_SIZE:
		return LW_EBIG;
	default:
		return LW_EAGAIN;
	}
}

int ns_flows_send_proprietary(struct ns_flows *f, const struct ns_proprietary *p, uint32_t *downlink_id)
{
	const struct ns_region_config *rc = p->rc;
	if (rc == NULL)
		rc = ns_gateway_reports_in(f, p->gateway_id);
	if (rc == NULL)
		return LW_ENOTFOUND;
	struct ns_tx *tx = ns_tx_new(f);
	tx->is_proprietary = true;
	tx->rc = rc;
	tx->uplink_at_ns = ns_now(f);
	tx->n_gw = 1;
	tx->gw[0] = (struct ns_tx_gateway){.rx.gateway_id = p->gateway_id, .margin_ddb = NS_MARGIN_UNKNOWN};
	if (!fill(p, tx)) {
		ns_tx_free(tx);
		return LW_EINVAL;
	}
	struct ns_ctx c = {.f = f, .start_mono_ns = rt_loop_mono_ns(f->loop)};
	lw_arena_init(&c.arena, NULL, 0, NS_ARENA_MAX);
	int err = ns_tx_send_elsewhere(tx) ? 0 : not_asked(ns_tx_unsent_reason(tx));
	if (err == 0) {
		*downlink_id = tx->downlink_id;
		ns_record_tx(tx, &c, LONGWAVE__V1__OUTCOME__PENDING, LONGWAVE__V1__REASON__REASON_NONE, -1, NULL);
	} else {
		ns_record_tx(tx, &c, LONGWAVE__V1__OUTCOME__DROPPED, ns_tx_unsent_reason(tx), -1, NULL);
		ns_tx_free(tx);
	}
	lw_arena_deinit(&c.arena);
	return err;
}
