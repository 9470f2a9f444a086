/* The deduplication window: receptions of one transmission become one context. The first one waits for the window and
 * carries the others along. The window closes when its time is over, or as soon as all receivers have reported by which
 * the device was heard all the last times (domain/usual.h). A closed window is remembered for a while, so that
 * stragglers are counted as what they are.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "common/runtime/metrics.h"
#include "network-server/domain/usual.h"
#include "network-server/flow/internal.h"

/* After the configured window, however early it closed. */
#define REMEMBER_MS 1000
/* How long bridges say again what a broker forgot (republish.max_age), with a margin. */
#define UNCOUNTED_MS 90000
#define UNCOUNTED_MAX 200000u
#define KEY_MAX 320
#define SEEN_FIRST 4
#define SEEN_MAX 64
#define PHY_ADDR_END 5 /* MHDR and DevAddr */

/* Which gateway has reported it, and what makes its report unique. */
struct seen {
	struct lw_gateway_id id;
	uint64_t reception;
	uint64_t receiver;
};

struct ns_window {
	struct ns_flows *f;
	struct rt_timer timer;
	struct ns_up *owner; /* NULL: closed */
	bool may_close_early;
	bool crowded;           /* heard by more than we keep */
	bool has_addr;          /* a data frame */
	struct lw_devaddr addr; /* as the frame says, not yet verified */
	uint64_t receivers;     /* the set, see ns_usual_receiver() */
	struct seen first[SEEN_FIRST], *seen;
	size_t n_seen, cap_seen;
	size_t key_len;
	uint8_t key[];
};

enum { CLOSED_EARLY, CLOSED_FULL, N_CLOSED };
static const char *const CLOSED[N_CLOSED] = {"early", "full"};
enum { LATE_USUAL, LATE_OTHER, N_LATE };
static const char *const LATE[N_LATE] = {"heard_before", "other"};

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

static uint64_t receiver_of(const struct ns_up *u)
{
	const Gw__UplinkRxInfo *rx = u->frame->rx_info;
	return ns_usual_receiver(u->gateway_id, rx->board, rx->antenna);
}

static void window_free(struct ns_window *w)
{
	rt_timer_stop(&w->timer);
	if (w->seen != w->first)
		free(w->seen);
	free(w);
}

static void forget(struct ns_window *w)
{
	lw_bmap_remove(&w->f->windows, lw_span(w->key, w->key_len));
	window_free(w);
}

/* True when this receiver had not reported the transmission before. */
static bool remember(struct ns_window *w, const struct ns_up *u)
{
	struct seen s = {u->gateway_id, reception_id(u), receiver_of(u)};
	bool is_new = true;
	for (size_t i = 0; i < w->n_seen && is_new; i++)
		is_new = w->seen[i].receiver != s.receiver;
	if (w->n_seen == SEEN_MAX) {
		w->crowded = w->crowded || is_new;
		return is_new;
	}
	if (w->n_seen == w->cap_seen) {
		struct seen *more = lw_xreallocarray(NULL, 2 * w->cap_seen, sizeof(*more));
		memcpy(more, w->seen, w->n_seen * sizeof(*more));
		if (w->seen != w->first)
			free(w->seen);
		w->seen = more;
		w->cap_seen *= 2;
	}
	w->seen[w->n_seen++] = s;
	if (is_new)
		w->receivers += s.receiver;
	return is_new;
}

/* Open windows of an address, a number in the clothes of a pointer. */
static uintptr_t open_of(const struct ns_flows *f, struct lw_devaddr addr)
{
	return (uintptr_t)lw_map_find(&f->open_windows, addr.v);
}

static void count_open(struct ns_window *w, bool opens)
{
	struct ns_flows *f = w->f;
	if (!w->has_addr)
		return;
	uintptr_t n = opens ? open_of(f, w->addr) + 1 : open_of(f, w->addr) - 1;
	if (n > 0)
		lw_map_put(&f->open_windows, w->addr.v, (void *)n);
	else
		lw_map_remove(&f->open_windows, w->addr.v);
}

static void close_window(struct ns_window *w, bool early)
{
	struct ns_up *u = w->owner;
	w->owner = NULL;
	count_open(w, false);
	u->receivers = w->crowded ? 0 : w->receivers;
	rt_timer_start(&w->timer, REMEMBER_MS + (early ? w->f->cfg.deduplication_window_ms : 0));
	rt_metric_inc_at(w->f->windows_closed, early ? CLOSED_EARLY : CLOSED_FULL);
	if (u->is_shared)
		ns_share_close(u);
	else
		rt_flow_resume(&u->c.flow, RT_FLOW_NEXT);
}

/* Not past an earlier frame of the address that still waits: its counter would be the lower one then. */
static void close_if_complete(struct ns_window *w)
{
	if (w->may_close_early && w->f->early_close && !w->crowded && open_of(w->f, w->addr) == 1 &&
	    ns_usual_complete(w->f->usual, w->addr, w->receivers))
		close_window(w, true);
}

static void on_timer(struct rt_timer *t, void *arg)
{
	struct ns_window *w = arg;
	(void)t;
	if (w->owner == NULL)
		forget(w);
	else
		close_window(w, false);
}

/* The address in the clear of a data frame. */
static bool address_of(const struct ns_up *u, struct lw_devaddr *out)
{
	struct lw_span phy = lw_span(u->frame->phy_payload.data, u->frame->phy_payload.len);
	if (phy.n < PHY_ADDR_END || !lw_mtype_is_data_up((enum lw_mtype)(phy.p[0] >> 5)))
		return false;
	out->v = lw_get_le32(phy.p + 1);
	return true;
}

static struct ns_window *open_window(struct ns_flows *f, struct ns_up *u, const uint8_t *key, size_t key_len)
{
	struct ns_window *w = lw_xmalloc(sizeof(*w) + key_len);
	*w = (struct ns_window){.f = f, .owner = u, .cap_seen = SEEN_FIRST, .key_len = key_len};
	w->seen = w->first;
	w->has_addr = address_of(u, &w->addr);
	count_open(w, true);
	/* What comes from the journal comes when it comes. */
	w->may_close_early = w->has_addr && !u->in.is_replay;
	memcpy(w->key, key, key_len);
	rt_timer_init(&w->timer, f->loop, "deduplication window", on_timer, w);
	lw_bmap_put(&f->windows, lw_span(w->key, w->key_len), w);
	remember(w, u);
	rt_timer_start(&w->timer, f->cfg.deduplication_window_ms);
	if (ns_share_active(f))
		ns_share_put(u);
	return w;
}

enum heard { SEEN_NOT, SEEN_GATEWAY, SEEN_RECEPTION };

static enum heard heard(const struct ns_window *w, const struct ns_up *u)
{
	enum heard s = SEEN_NOT;
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
	bool repeat = is_repeat(owner, u);
	if (!repeat && owner->is_shared)
		ns_share_put(u);
	if (repeat)
		u->frame->rx_info = NULL; /* its journal entry ends with the owner's, its reception counts once */
	u->merged = true;
	u->next_copy = owner->copies;
	owner->copies = u;
	rt_flow_resume(&u->c.flow, RT_FLOW_DONE);
}

static void late(struct ns_window *w, struct ns_up *u)
{
	bool other = remember(w, u);
	rt_metric_inc_at(w->f->late_copies, other ? LATE_OTHER : LATE_USUAL);
	if (other && w->has_addr)
		ns_usual_forget(w->f->usual, w->addr);
	ns_drop(&u->c, LONGWAVE__V1__REASON__LATE_COPY, "a copy after the window had closed");
	u->c.outcome = LONGWAVE__V1__OUTCOME__DUPLICATE;
	rt_flow_resume(&u->c.flow, RT_FLOW_DROP);
}

/* A proprietary frame has no counter by which one that is said again could be told: its receptions are remembered. */
static bool was_here(struct ns_flows *f, const struct ns_up *u, const uint8_t *key, size_t key_len)
{
	int64_t now = rt_loop_mono_ns(f->loop);
	if (key[key_len - u->frame->phy_payload.len] >> 5 != LW_MTYPE_PROPRIETARY)
		return false;
	if (now - f->uncounted_since_ns > UNCOUNTED_MS * LW_NS_PER_MS ||
	    lw_map_count(&f->uncounted[0]) >= UNCOUNTED_MAX) {
		lw_map_clear(&f->uncounted[1]);
		struct lw_map oldest = f->uncounted[1];
		f->uncounted[1] = f->uncounted[0];
		f->uncounted[0] = oldest;
		f->uncounted_since_ns = now;
	}
	uint64_t id = lw_hash_bytes(key, key_len) ^ lw_hash_u64(reception_id(u)) ^ receiver_of(u);
	bool known = lw_map_find(&f->uncounted[0], id) || lw_map_find(&f->uncounted[1], id);
	lw_map_put(&f->uncounted[0], id, f);
	return known && u->in.said_again;
}

static void drop_repeated(struct ns_up *u)
{
	ns_drop(&u->c, LONGWAVE__V1__REASON__LATE_COPY, "said again, and had been here");
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
		if (was_here(f, u, key, key_len)) {
			drop_repeated(u);
			continue;
		}
		struct ns_window *w = lw_bmap_find(&f->windows, lw_span(key, key_len));
		if (w != NULL && w->owner != NULL) {
			remember(w, u);
			merge(w->owner, u);
			close_if_complete(w);
			continue;
		}
		if (w != NULL) {
			/* A gateway that has reported this transmission and now reports these bytes again has heard
			 * the device repeat them. A reception that comes from the journal again has had no effect
			 * yet, or the session's counter will tell. */
			if (heard(w, u) != SEEN_GATEWAY && !u->in.is_replay) {
				late(w, u);
				continue;
			}
			forget(w);
		}
		close_if_complete(open_window(f, u, key, key_len));
	}
}

void ns_windows_learn(const struct ns_up *u)
{
	struct ns_flows *f = u->c.f;
	struct lw_devaddr addr = u->up.phy.u.data.devaddr;
	if (!f->early_close || u->in.is_replay)
		return;
	/* Of several devices with one address nobody can say which one is heard before its MIC is checked. */
	if (u->fetch.n != 1 || u->receivers == 0)
		ns_usual_forget(f->usual, addr);
	else if (u->retransmission)
		ns_usual_repeated(f->usual, addr, u->receivers);
	else
		ns_usual_heard(f->usual, addr, u->dev->dev_eui, u->receivers);
}

void ns_windows_init(struct ns_flows *f)
{
	lw_bmap_init(&f->windows);
	lw_map_init(&f->open_windows);
	lw_map_init(&f->uncounted[0]);
	lw_map_init(&f->uncounted[1]);
	f->usual = ns_usual_new(f->cfg.max_devices);
	f->early_close = f->cfg.deduplication_adaptive;
}

void ns_flows_set_early_close(struct ns_flows *f, bool on)
{
	f->early_close = on && f->cfg.deduplication_adaptive;
	if (!f->early_close)
		ns_usual_clear(f->usual);
}

void ns_flows_address_taken(struct ns_flows *f, struct lw_devaddr addr)
{
	ns_usual_forget(f->usual, addr);
}

void ns_windows_register_metrics(struct ns_flows *f, struct rt_metrics *m)
{
	f->windows_closed = rt_counter_vec(m, "deduplication_windows_total",
					   "Deduplication windows, by how they closed", "closed", CLOSED, N_CLOSED);
	f->late_copies = rt_counter_vec(m, "deduplication_late_copies_total",
					"Copies after the window had closed, by whether the antenna had reported "
					"the frame before",
					"from", LATE, N_LATE);
}

void ns_windows_free(struct ns_flows *f)
{
	size_t it = 0;
	struct lw_span key;
	void *value;
	while (lw_bmap_next(&f->windows, &it, &key, &value)) {
		window_free(value);
	}
	lw_bmap_deinit(&f->windows);
	lw_map_deinit(&f->open_windows);
	lw_map_deinit(&f->uncounted[0]);
	lw_map_deinit(&f->uncounted[1]);
	ns_usual_free(f->usual);
}
