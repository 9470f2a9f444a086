/* Devices that flood: what is counted of whom, and what is said of the frames that are dropped. */
#include <inttypes.h>

#include "common/lorawan/airtime.h"
#include "network-server/flow/internal.h"

static int64_t mono_ns(const struct ns_flows *f)
{
	return rt_loop_mono_ns(f->loop);
}

static void began(struct ns_flows *f, struct lw_dev_eui dev_eui, const struct ns_suspect *s)
{
	const struct ns_flood_port *p = &f->ports->flood;
	if (s != NULL && p->began != NULL)
		p->began(p->self, dev_eui, s->kind == NS_FLOOD_JOINS, s->measured);
}

static void explain(struct ns_up *u, const struct ns_suspect *s, int64_t now_ns)
{
	const struct ns_flood_limits *l = &u->c.f->cfg.flood;
	int64_t left_s = (s->until_ns - now_ns) / LW_NS_PER_S + 1;
	if (s->kind == NS_FLOOD_JOINS)
		ns_drop_f(&u->c, LONGWAVE__V1__REASON__QUARANTINED,
			  "%" PRIu32 " join-requests in a minute, %" PRIu32
			  " are allowed: one in %d s passes, for %" PRId64 " s more",
			  s->measured, l->joins, NS_FLOOD_JOIN_EVERY_S, left_s);
	else
		ns_drop_f(&u->c, LONGWAVE__V1__REASON__QUARANTINED,
			  "its uplinks filled %" PRIu32 " %% of the time, %" PRIu32
			  " %% are allowed: nothing of it is taken for %" PRId64 " s more",
			  s->measured, l->airtime_percent, left_s);
}

bool ns_flood_passes(struct ns_up *u, bool is_join)
{
	struct ns_flows *f = u->c.f;
	struct lw_dev_eui dev_eui = u->dev->dev_eui;
	uint64_t eui = lw_dev_eui_u64(dev_eui);
	int64_t now_ns = mono_ns(f);
	if (ns_flood_drops(&f->flood, eui, is_join, now_ns)) {
		explain(u, ns_flood_find(&f->flood, eui, now_ns), now_ns);
		return false;
	}
	if (is_join && !u->in.is_replay)
		began(f, dev_eui, ns_flood_join(&f->flood, eui, now_ns));
	return true;
}

void ns_flood_count(struct ns_up *u)
{
	struct ns_flows *f = u->c.f;
	uint32_t airtime_us = lw_airtime_us(&u->up.mod, LW_UP, u->frame->phy_payload.len);
	if (!u->in.is_replay)
		began(f, u->dev->dev_eui,
		      ns_flood_uplink(&f->flood, lw_dev_eui_u64(u->dev->dev_eui), airtime_us, mono_ns(f)));
}

bool ns_flows_quarantine(struct ns_flows *f, struct lw_dev_eui dev_eui, struct ns_quarantine *out)
{
	int64_t now_ns = mono_ns(f), wall_ns = ns_now(f);
	const struct ns_suspect *s = ns_flood_find(&f->flood, lw_dev_eui_u64(dev_eui), now_ns);
	if (s == NULL)
		return false;
	bool joins = s->kind == NS_FLOOD_JOINS;
	*out = (struct ns_quarantine){.kind = s->kind,
				      .measured = s->measured,
				      .limit = joins ? f->cfg.flood.joins : f->cfg.flood.airtime_percent,
				      .since_ns = wall_ns - (now_ns - s->since_ns),
				      .until_ns = wall_ns + (s->until_ns - now_ns),
				      .dropped = s->dropped};
	return true;
}

bool ns_flows_release(struct ns_flows *f, struct lw_dev_eui dev_eui)
{
	return ns_flood_release(&f->flood, lw_dev_eui_u64(dev_eui));
}

void ns_flows_quarantine_began(struct ns_flows *f, struct lw_dev_eui dev_eui, enum ns_flood_kind kind,
			       uint32_t measured)
{
	int64_t now_ns = mono_ns(f);
	ns_flood_begin(&f->flood, lw_dev_eui_u64(dev_eui), kind, measured, now_ns,
		       now_ns + (int64_t)f->cfg.flood.duration_s * LW_NS_PER_S);
}
