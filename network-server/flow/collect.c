/* The deduplication window: receptions of one transmission become one context. The first one waits for the window and
 * carries the others along. A closed window is remembered for a while, so that stragglers are counted as what they are.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "network-server/flow/internal.h"

#define REMEMBER_MS 1000
#define KEY_MAX 320
#define SEEN_MAX 24

struct ns_window {
	struct ns_flows *f;
	struct rt_timer timer;
	struct ns_up *owner; /* NULL: closed */
	size_t key_len;
	uint8_t key[KEY_MAX];
	/* Which gateways have reported it, and what makes their report unique. */
	struct {
		struct lw_gateway_id id;
		uint64_t reception;
	} seen[SEEN_MAX];
	size_t n_seen;
};

/* Region configuration, frequency, modulation and bytes. The code rate is left out: not every gateway reports it. */
static size_t make_key(const struct ns_up *u, uint8_t key[KEY_MAX])
{
	const Gw__UplinkFrame *fr = u->frame;
	struct lw_modulation m = ns_modulation(fr->tx_info->modulation);
	uint64_t region = (uint64_t)(uintptr_t)u->rc;
	size_t n = 0;
	lw_put_le64(key, region);
	lw_put_le32(key + 8, fr->tx_info->frequency);
	lw_put_le32(key + 12, m.kind == LW_MOD_FSK ? m.bitrate_bps : m.bw_hz);
	key[16] = (uint8_t)m.kind;
	key[17] = m.sf;
	n = 18;
	memcpy(key + n, fr->phy_payload.data, fr->phy_payload.len);
	return n + fr->phy_payload.len;
}

/* Tells two receptions of one gateway apart: its context holds the concentrator's counter. */
static uint64_t reception_id(const struct ns_up *u)
{
	const Gw__UplinkRxInfo *rx = u->frame->rx_info;
	if (rx->context.len > 0)
		return lw_hash_bytes(rx->context.data, rx->context.len);
	return lw_hash_u64(rx->uplink_id);
}

static void forget(struct ns_window *w)
{
	rt_timer_stop(&w->timer);
	lw_bmap_remove(&w->f->windows, lw_span(w->key, w->key_len));
	free(w);
}

static void remember(struct ns_window *w, const struct ns_up *u)
{
	if (w->n_seen == SEEN_MAX)
		return;
	w->seen[w->n_seen].id = u->gateway_id;
	w->seen[w->n_seen++].reception = reception_id(u);
}

static void on_timer(struct rt_timer *t, void *arg)
{
	struct ns_window *w = arg;
	struct ns_up *u = w->owner;
	if (u == NULL) {
		forget(w);
		return;
	}
	w->owner = NULL;
	rt_timer_start(t, REMEMBER_MS);
	rt_flow_resume(&u->c.flow, RT_FLOW_NEXT);
}

static void open_window(struct ns_flows *f, struct ns_up *u, const uint8_t *key, size_t key_len)
{
	struct ns_window *w = lw_xmalloc(sizeof(*w));
	w->f = f;
	w->owner = u;
	w->key_len = key_len;
	w->n_seen = 0;
	memcpy(w->key, key, key_len);
	rt_timer_init(&w->timer, f->loop, "deduplication window", on_timer, w);
	lw_bmap_put(&f->windows, lw_span(w->key, w->key_len), w);
	remember(w, u);
	rt_timer_start(&w->timer, f->cfg.deduplication_window_ms);
}

enum seen { SEEN_NOT, SEEN_GATEWAY, SEEN_RECEPTION };

static enum seen seen(const struct ns_window *w, const struct ns_up *u)
{
	enum seen s = SEEN_NOT;
	uint64_t reception = reception_id(u);
	for (size_t i = 0; i < w->n_seen; i++) {
		if (!lw_gateway_id_eq(w->seen[i].id, u->gateway_id))
			continue;
		if (w->seen[i].reception == reception)
			return SEEN_RECEPTION;
		s = SEEN_GATEWAY;
	}
	return s;
}

/* The same reception twice, as a broker or a replay may bring it: not a second antenna. */
static bool is_repeat(const struct ns_up *owner, const struct ns_up *u)
{
	const struct ns_up *k = owner;
	do {
		const Gw__UplinkRxInfo *a = k->frame->rx_info;
		const Gw__UplinkRxInfo *b = u->frame->rx_info;
		/* Without a reception: itself a repeat of one that is compared anyway. */
		if (a != NULL && lw_gateway_id_eq(k->gateway_id, u->gateway_id) && a->uplink_id == b->uplink_id &&
		    a->antenna == b->antenna && a->board == b->board && a->rssi == b->rssi &&
		    lw_span_eq(lw_span(a->context.data, a->context.len), lw_span(b->context.data, b->context.len)))
			return true;
		k = k == owner ? owner->copies : k->next_copy;
	} while (k != NULL);
	return false;
}

static void merge(struct ns_up *owner, struct ns_up *u)
{
	if (is_repeat(owner, u))
		u->frame->rx_info = NULL; /* its journal entry ends with the owner's, its reception counts once */
	u->merged = true;
	u->next_copy = owner->copies;
	owner->copies = u;
	rt_flow_resume(&u->c.flow, RT_FLOW_DONE);
}

static void late(struct ns_up *u)
{
	ns_drop(&u->c, LONGWAVE__V1__REASON__LATE_COPY, "a copy after the window had closed");
	u->c.outcome = LONGWAVE__V1__OUTCOME__DUPLICATE;
	rt_flow_resume(&u->c.flow, RT_FLOW_DROP);
}

void ns_collect(struct rt_flow *flow, void *owner, struct rt_flow_ctx **v, size_t n)
{
	struct ns_flows *f = owner;
	(void)flow;
	for (size_t i = 0; i < n; i++) {
		struct ns_up *u = (struct ns_up *)(void *)v[i];
		uint8_t key[KEY_MAX];
		size_t key_len = make_key(u, key);
		struct ns_window *w = lw_bmap_find(&f->windows, lw_span(key, key_len));
		if (w != NULL && w->owner != NULL) {
			remember(w, u);
			merge(w->owner, u);
			continue;
		}
		if (w != NULL) {
			/* A gateway that has reported this transmission and now reports these bytes again has heard
			 * the device repeat them. */
			if (seen(w, u) != SEEN_GATEWAY) {
				remember(w, u);
				late(u);
				continue;
			}
			forget(w);
		}
		open_window(f, u, key, key_len);
	}
}

void ns_windows_free(struct ns_flows *f)
{
	size_t it = 0;
	struct lw_span key;
	void *value;
	while (lw_bmap_next(&f->windows, &it, &key, &value)) {
		struct ns_window *w = value;
		rt_timer_stop(&w->timer);
		free(w);
	}
	lw_bmap_deinit(&f->windows);
}
