/* Several network-servers share the gateways' receptions, so that the copies of one transmission lie with different
 * ones. Each tells the others of its receptions while the window is open; who told first goes on with all of them, the
 * others wait until that is done and do it themselves when it is not. Should both do it, the session's counter lets one
 * through. */
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/xmalloc.h"
#include "common/pb/unpack.h"
#include "network-server/flow/internal.h"

#define KEY_MAX 352
#define KEEP_MS 2000 /* behind the window: as long as another one may still wait */
#define HOLD_MS 600  /* for the one that was first */
#define ID 8

struct sharing {
	struct lw_list node;
	struct ns_flows *f;
	struct ns_up *u;
	struct rt_timer timer;
	bool waited; /* for the first one */
	bool asking;
};

bool ns_share_active(const struct ns_flows *f)
{
	const struct ns_share_port *p = &f->ports->share;
	return p->self != NULL && p->active(p->self);
}

/* The same in every process: region configuration, radio parameters, bytes. */
static struct lw_span key_of(const struct ns_up *u, uint8_t out[KEY_MAX])
{
	const Gw__UplinkFrame *fr = u->frame;
	struct lw_modulation m = ns_modulation(fr->tx_info->modulation);
	size_t n = strlen(u->rc->id);
	memcpy(out, u->rc->id, n);
	lw_put_le32(out + n, fr->tx_info->frequency);
	lw_put_le32(out + n + 4, m.kind == LW_MOD_FSK ? m.bitrate_bps : m.bw_hz);
	out[n + 8] = (uint8_t)m.kind;
	out[n + 9] = m.sf;
	n += 10;
	memcpy(out + n, fr->phy_payload.data, fr->phy_payload.len);
	return lw_span(out, n + fr->phy_payload.len);
}

void ns_share_put(struct ns_up *u)
{
	const struct ns_share_port *p = &u->c.f->ports->share;
	const Gw__UplinkRxInfo *rx = u->frame->rx_info;
	uint8_t key[KEY_MAX];
	size_t n = gw__uplink_rx_info__get_packed_size(rx);
	uint8_t *body = lw_arena_alloc(&u->c.arena, ID + n);
	if (body == NULL)
		return;
	lw_put_le64(body, lw_gateway_id_u64(u->gateway_id));
	gw__uplink_rx_info__pack(rx, body + ID);
	u->is_shared = true;
	p->put(p->self, key_of(u, key), false, lw_span(body, ID + n), u->c.f->cfg.deduplication_window_ms + KEEP_MS);
}

void ns_share_settle(const struct ns_up *u)
{
	const struct ns_share_port *p = &u->c.f->ports->share;
	uint8_t key[KEY_MAX];
	if (p->active(p->self))
		p->put(p->self, key_of(u, key), true, lw_span(NULL, 0), KEEP_MS);
}

static bool is_known(const struct ns_up *u, struct lw_gateway_id id, const Gw__UplinkRxInfo *rx)
{
	for (const struct ns_up *k = u; k != NULL; k = k == u ? u->copies : k->next_copy)
		if (lw_gateway_id_eq(k->gateway_id, id) && k->frame->rx_info != NULL &&
		    k->frame->rx_info->uplink_id == rx->uplink_id && k->frame->rx_info->antenna == rx->antenna)
			return true;
	for (const struct ns_foreign *k = u->foreign; k != NULL; k = k->next)
		if (lw_gateway_id_eq(k->gateway_id, id) && k->rx->uplink_id == rx->uplink_id &&
		    k->rx->antenna == rx->antenna)
			return true;
	return false;
}

static void add_foreign(struct ns_up *u, struct lw_span body)
{
	ProtobufCMessage *m = NULL;
	if (body.n <= ID ||
	    lw_pb_unpack(&gw__uplink_rx_info__descriptor, lw_span(body.p + ID, body.n - ID), &u->c.arena, &m) != 0)
		return;
	struct lw_gateway_id id = lw_gateway_id_from_u64(lw_get_le64(body.p));
	Gw__UplinkRxInfo *rx = (Gw__UplinkRxInfo *)(void *)m;
	struct ns_foreign *k = is_known(u, id, rx) ? NULL : LW_ARENA_NEW(&u->c.arena, struct ns_foreign);
	if (k == NULL)
		return;
	*k = (struct ns_foreign){.next = u->foreign, .gateway_id = id, .rx = rx};
	u->foreign = k;
}

static void end(struct sharing *s, bool settled_elsewhere)
{
	struct ns_up *u = s->u;
	rt_timer_stop(&s->timer);
	lw_list_remove(&s->node);
	free(s);
	if (settled_elsewhere) {
		u->is_shared = false;
		ns_drop(&u->c, LONGWAVE__V1__REASON__LATE_COPY, "another network-server has it, with this copy");
		u->c.outcome = LONGWAVE__V1__OUTCOME__DUPLICATE;
		rt_flow_resume(&u->c.flow, RT_FLOW_DROP);
		return;
	}
	rt_flow_resume(&u->c.flow, RT_FLOW_NEXT);
}

static void on_shared(void *arg, int err, const struct ns_shared *v, size_t n)
{
	struct sharing *s = arg;
	if (err == LW_ECANCELLED) {
		if (s->f == NULL)
			free(s);
		return;
	}
	if (s->f == NULL) { /* the flows have gone */
		free(s);
		return;
	}
	s->asking = false;
	bool first = n == 0 || v[0].is_ours, settled = false;
	for (size_t i = 0; i < n; i++) {
		settled = settled || (v[i].is_settled && !v[i].is_ours);
		if (!v[i].is_ours && !v[i].is_settled)
			add_foreign(s->u, v[i].body);
	}
	if (first || settled || s->waited) {
		end(s, settled && !first);
		return;
	}
	s->waited = true;
	rt_timer_start(&s->timer, s->f->cfg.deduplication_window_ms + HOLD_MS);
}

static void ask(struct sharing *s)
{
	const struct ns_share_port *p = &s->f->ports->share;
	uint8_t key[KEY_MAX];
	s->asking = true;
	p->get(p->self, key_of(s->u, key), on_shared, s);
}

static void on_timer(struct rt_timer *t, void *arg)
{
	(void)t;
	ask(arg);
}

void ns_share_close(struct ns_up *u)
{
	struct ns_flows *f = u->c.f;
	struct sharing *s = lw_xcalloc(1, sizeof(*s));
	s->f = f;
	s->u = u;
	lw_list_push_back(&f->sharing, &s->node);
	rt_timer_init(&s->timer, f->loop, "shared reception", on_timer, s);
	ask(s);
}

void ns_share_free(struct ns_flows *f)
{
	struct lw_list *n;
	while ((n = lw_list_pop_front(&f->sharing)) != NULL) {
		struct sharing *s = LW_CONTAINER_OF(n, struct sharing, node);
		rt_timer_stop(&s->timer);
		s->f = NULL; /* an answer under way frees it */
		if (!s->asking)
			free(s);
	}
}
