/* Who sends when, who hears whom. */
#include "tools/sim/sim.h"

#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/err.h"
#include "common/base/xmalloc.h"

#define GIVE_UP_REPEATS 3

int64_t sim_now_us(void)
{
	return lw_mono_ns() / 1000;
}

static double distance_m(double lat1, double lon1, double lat2, double lon2)
{
	double x = (lon2 - lon1) * cos((lat1 + lat2) / 2 * M_PI / 180) * 111320.0;
	double y = (lat2 - lat1) * 111320.0;
	return sqrt(x * x + y * y);
}

/* ---- what a device does next ---- */

static int64_t interval_us(const struct sim *s)
{
	return (int64_t)(1e6 * s->o.devices / s->o.rate);
}

/* Windows of the last frame are over this long after its end. */
static int64_t windows_us(const struct sim_device *d, const struct sim_options *o)
{
	int64_t delay2 = d->joining ? o->region->join_accept_delay2_s : d->rx1_delay_s + 1;
	return delay2 * 1000000 + 200000;
}

static void arm_at(struct sim_player *p, int64_t at_us)
{
	int64_t now = sim_now_us();
	rt_timer_start(&p->timer, at_us > now ? (uint64_t)((at_us - now + 999) / 1000) : 0);
}

static void transmit(struct sim_player *p, bool confirmed, bool repeat)
{
	struct sim *s = p->sim;
	struct sim_uplink up;
	int64_t now = sim_now_us();
	bool was_joined = p->dev.joined;
	if (sim_device_send(&p->dev, &s->o, s->kc, &s->rng, confirmed, repeat, now, &up))
		return;
	s->c.join_requests += up.is_join;
	s->c.uplinks += !up.is_join && !repeat;
	s->c.confirmed += !up.is_join && !repeat && confirmed;
	s->c.repeats += repeat;
	for (uint32_t i = 0; i < p->n_heard_by; i++) {
		struct sim_gateway *g = &s->gateways[p->heard_by[i]];
		if (lw_rng_unit(&s->rng) < s->o.loss) {
			s->c.lost_copies++;
			continue;
		}
		uint32_t delay = s->o.spread_ms ? (uint32_t)lw_rng_below(&s->rng, s->o.spread_ms + 1) : 0;
		double m = distance_m(p->dev.lat, p->dev.lon, g->lat, g->lon);
		sim_gateway_hear(g, p->heard_by[i], &up, was_joined ? (uint32_t)(p - s->players) : UINT32_MAX, m,
				 delay);
	}
}

/* With a fast traffic the next frame comes before the windows of this one are over; then nobody waits for them. */
static void on_timer(struct rt_timer *t, void *arg)
{
	struct sim_player *p = arg;
	struct sim *s = p->sim;
	struct sim_device *d = &p->dev;
	int64_t now = sim_now_us();
	(void)t;
	if (!s->traffic_on)
		return;
	if (p->waits_windows) {
		p->waits_windows = false;
		d->listening = false;
		if (d->joined && d->awaits_ack) {
			if (d->repeats < GIVE_UP_REPEATS) {
				transmit(p, true, true);
				p->waits_windows = true;
				arm_at(p, now + windows_us(d, &s->o));
				return;
			}
			d->awaits_ack = false;
			s->c.unacked++;
		}
		if (p->next_at_us > now) {
			arm_at(p, p->next_at_us);
			return;
		}
	}
	bool confirmed = d->joined && lw_rng_unit(&s->rng) < s->o.confirmed;
	transmit(p, confirmed, false);
	int64_t every = interval_us(s);
	if (!d->joined) {
		p->waits_windows = true;
		p->next_at_us = now + 6500000 + (int64_t)lw_rng_below(&s->rng, 3000000);
		arm_at(p, p->next_at_us);
		return;
	}
	p->next_at_us = p->next_at_us + every > now ? p->next_at_us + every : now + every;
	p->waits_windows = confirmed || every > 5000000;
	int64_t windows = now + windows_us(d, &s->o);
	arm_at(p, p->waits_windows && (confirmed || windows < p->next_at_us) ? windows : p->next_at_us);
}

/* ---- downlinks ---- */

static void count_verdict(struct sim *s, enum sim_verdict v)
{
	s->c.bad_time += v == SIM_BAD_TIME;
	s->c.bad_radio += v == SIM_BAD_RADIO;
	s->c.bad_mic += v == SIM_BAD_MIC;
	s->c.f_cnt_repeated += v == SIM_FCNT_REPEATED;
	s->c.malformed += v == SIM_MALFORMED;
}

static void heard(struct sim_player *p, bool was_joining, bool acked)
{
	struct sim *s = p->sim;
	struct sim_device *d = &p->dev;
	s->c.downlinks_ok++;
	s->c.acks += acked;
	if (!was_joining)
		return;
	s->c.joins++;
	s->c.rejoins += d->joins > 1;
	lw_map_put(&s->by_devaddr, d->devaddr.v, p);
	p->waits_windows = false;
	p->next_at_us = sim_now_us() + (int64_t)lw_rng_below(&s->rng, (uint64_t)interval_us(s) + 1);
	arm_at(p, p->next_at_us);
}

/* Only a device that waits for one can be meant by a join-accept; whose it is says the MIC. */
static enum sim_verdict try_joining(struct sim *s, const struct sim_flight *f, bool *acked)
{
	enum sim_verdict best = SIM_NOT_MINE;
	for (uint32_t i = 0; i < s->o.devices; i++) {
		struct sim_player *p = &s->players[i];
		if (!p->dev.listening || !p->dev.joining)
			continue;
		enum sim_verdict v = sim_device_hear(&p->dev, &s->o, s->kc, f->start_us, f->hz, &f->mod,
						     lw_span(f->phy, f->n), acked);
		if (v == SIM_OK) {
			heard(p, true, false);
			return SIM_OK;
		}
		if (v == SIM_BAD_MIC || v == SIM_BAD_RADIO)
			best = v;
	}
	return best;
}

static void on_flight(struct rt_timer *t, void *arg)
{
	struct sim_flight *f = arg;
	struct sim *s = f->sim;
	struct lw_phy phy;
	bool acked;
	(void)t;
	if (lw_phy_parse(lw_span(f->phy, f->n), &phy)) {
		s->c.malformed++;
	} else if (phy.mtype == LW_MTYPE_JOIN_ACCEPT) {
		enum sim_verdict v = try_joining(s, f, &acked);
		s->c.unknown += v == SIM_NOT_MINE;
		count_verdict(s, v);
	} else {
		struct sim_player *p =
			lw_mtype_is_data_down(phy.mtype) ? lw_map_find(&s->by_devaddr, phy.u.data.devaddr.v) : NULL;
		enum sim_verdict v = SIM_NOT_MINE;
		if (p)
			v = sim_device_hear(&p->dev, &s->o, s->kc, f->start_us, f->hz, &f->mod, lw_span(f->phy, f->n),
					    &acked);
		if (v == SIM_OK)
			heard(p, false, acked);
		s->c.unknown += v == SIM_NOT_MINE;
		count_verdict(s, v);
	}
	free(f);
}

void sim_fly(struct sim *s, int64_t start_us, uint32_t hz, const struct lw_modulation *mod, const uint8_t *phy,
	     size_t n)
{
	struct sim_flight *f = lw_xcalloc(1, sizeof(*f));
	f->sim = s;
	f->start_us = start_us;
	f->hz = hz;
	f->mod = *mod;
	f->n = n;
	memcpy(f->phy, phy, n);
	rt_timer_init(&f->timer, s->loop, "downlink", on_flight, f);
	int64_t now = sim_now_us();
	rt_timer_start(&f->timer, start_us > now ? (uint64_t)(start_us - now) / 1000 : 0);
}

/* ---- time ---- */

static void on_tick(struct rt_timer *t, void *arg)
{
	struct sim *s = arg;
	int64_t now_ms = sim_now_us() / 1000;
	(void)t;
	if (now_ms - s->now_ms > SIM_SLOTS)
		s->now_ms = now_ms - SIM_SLOTS;
	while (s->now_ms < now_ms) {
		struct sim_datagram **slot = &s->calendar[(size_t)++s->now_ms % SIM_SLOTS];
		while (*slot) {
			struct sim_datagram *d = *slot;
			*slot = d->next;
			d->next = s->gateways[d->gateway].batch;
			s->gateways[d->gateway].batch = d;
		}
	}
	for (uint32_t i = 0; i < s->o.gateways; i++)
		sim_gateway_flush(&s->gateways[i]);
}

static void on_keepalive(struct rt_timer *t, void *arg)
{
	struct sim *s = arg;
	(void)t;
	for (uint32_t i = 0; i < s->o.gateways; i++)
		sim_gateway_pull(&s->gateways[i]);
}

static void on_stats(struct rt_timer *t, void *arg)
{
	struct sim *s = arg;
	(void)t;
	for (uint32_t i = 0; i < s->o.gateways; i++)
		sim_gateway_stat(&s->gateways[i]);
}

static void on_second(struct rt_timer *t, void *arg)
{
	(void)t;
	sim_report_line(arg);
}

static void on_end(struct rt_timer *t, void *arg)
{
	struct sim *s = arg;
	(void)t;
	if (s->traffic_on)
		sim_finish(s);
	else
		rt_loop_stop(s->loop);
}

void sim_finish(struct sim *s)
{
	if (!s->traffic_on) {
		rt_loop_stop(s->loop);
		return;
	}
	s->traffic_on = false;
	s->traffic_until_us = sim_now_us();
	rt_timer_start(&s->end, (uint64_t)s->o.settle_s * 1000 + 1);
}

/* ---- set-up ---- */

static int resolve(struct sim *s)
{
	char host[256];
	const char *colon = strrchr(s->o.server, ':');
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found = NULL;
	if (!colon || (size_t)(colon - s->o.server) >= sizeof(host)) {
		fprintf(stderr, "longwave-sim: --server wants HOST:PORT\n");
		return LW_EINVAL;
	}
	memcpy(host, s->o.server, (size_t)(colon - s->o.server));
	host[colon - s->o.server] = 0;
	int err = getaddrinfo(host, colon + 1, &hints, &found);
	if (err) {
		fprintf(stderr, "longwave-sim: %s: %s\n", s->o.server, gai_strerror(err));
		return LW_ENOTFOUND;
	}
	memcpy(&s->server, found->ai_addr, found->ai_addrlen);
	s->server_len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

struct ranked {
	uint32_t gateway;
	double m;
};

static int by_distance(const void *a, const void *b)
{
	double d = ((const struct ranked *)a)->m - ((const struct ranked *)b)->m;
	return d < 0 ? -1 : d > 0;
}

static void choose_gateways(struct sim_player *p, struct ranked *v)
{
	struct sim *s = p->sim;
	for (uint32_t i = 0; i < s->o.gateways; i++)
		v[i] = (struct ranked){i, distance_m(p->dev.lat, p->dev.lon, s->gateways[i].lat, s->gateways[i].lon)};
	qsort(v, s->o.gateways, sizeof(*v), by_distance);
	uint32_t n = s->o.copies && s->o.copies < s->o.gateways ? s->o.copies : s->o.gateways;
	if (!s->o.copies) /* by signal: within reach of the model's weakest frame, and always the nearest one */
		while (n > 1 && v[n - 1].m > 8000)
			n--;
	p->heard_by = lw_xcalloc(n, sizeof(*p->heard_by));
	p->n_heard_by = n;
	for (uint32_t i = 0; i < n; i++)
		p->heard_by[i] = v[i].gateway;
}

int sim_init(struct sim *s, struct rt_loop *loop)
{
	s->loop = loop;
	s->kc = lw_keycache_new(s->o.devices < 4096 ? 4096 : 16384);
	lw_rng_init_seeded(&s->rng, s->o.seed ^ (uint64_t)(s->o.print_plan ? 0 : lw_now_ns()));
	lw_map_init(&s->by_devaddr);
	lw_map_init(&s->by_dev_eui);
	s->latency_us = lw_xcalloc(SIM_LATENCIES, sizeof(*s->latency_us));
	s->beyond_us = lw_xcalloc(SIM_LATENCIES, sizeof(*s->beyond_us));
	s->gateways = lw_xcalloc(s->o.gateways, sizeof(*s->gateways));
	s->players = lw_xcalloc(s->o.devices ? s->o.devices : 1, sizeof(*s->players));
	int err = s->o.print_plan ? 0 : resolve(s);
	for (uint32_t i = 0; !err && i < s->o.gateways; i++)
		err = sim_gateway_init(&s->gateways[i], s, i);
	struct ranked *rank = lw_xcalloc(s->o.gateways, sizeof(*rank));
	for (uint32_t i = 0; i < s->o.devices; i++) {
		struct sim_player *p = &s->players[i];
		p->sim = s;
		sim_device_init(&p->dev, &s->o, s->o.first_device + i);
		choose_gateways(p, rank);
		rt_timer_init(&p->timer, loop, "device", on_timer, p);
		lw_map_put(&s->by_dev_eui, lw_dev_eui_u64(p->dev.dev_eui), p);
		if (p->dev.joined)
			lw_map_put(&s->by_devaddr, p->dev.devaddr.v, p);
	}
	free(rank);
	rt_timer_init(&s->tick, loop, "tick", on_tick, s);
	rt_timer_init(&s->keepalive, loop, "keepalive", on_keepalive, s);
	rt_timer_init(&s->stats, loop, "stats", on_stats, s);
	rt_timer_init(&s->second, loop, "second", on_second, s);
	rt_timer_init(&s->end, loop, "end", on_end, s);
	return err;
}

void sim_start(struct sim *s)
{
	s->began_us = sim_now_us();
	s->now_ms = s->began_us / 1000;
	s->traffic_on = true;
	on_keepalive(NULL, s);
	on_stats(NULL, s);
	rt_timer_start_every(&s->tick, 1);
	rt_timer_start_every(&s->keepalive, 5000);
	rt_timer_start_every(&s->stats, 30000);
	if (!s->o.quiet)
		rt_timer_start_every(&s->second, 1000);
	if (s->o.duration_s)
		rt_timer_start(&s->end, (uint64_t)s->o.duration_s * 1000);
	uint64_t spread = s->o.abp ? (uint64_t)interval_us(s) : (uint64_t)s->o.join_spread_s * 1000000;
	for (uint32_t i = 0; i < s->o.devices; i++) {
		struct sim_player *p = &s->players[i];
		p->next_at_us = s->began_us + 200000 + (int64_t)lw_rng_below(&s->rng, spread + 1);
		arm_at(p, p->next_at_us);
	}
}

void sim_deinit(struct sim *s)
{
	mqtt_free(s->mqtt);
	for (uint32_t i = 0; s->players && i < s->o.devices; i++) {
		if (s->players[i].sim)
			rt_timer_stop(&s->players[i].timer);
		sim_device_deinit(&s->players[i].dev);
		free(s->players[i].heard_by);
	}
	for (uint32_t i = 0; s->gateways && i < s->o.gateways; i++)
		if (s->gateways[i].sim)
			sim_gateway_deinit(&s->gateways[i]);
	while (s->pool) {
		struct sim_datagram *d = s->pool;
		s->pool = d->next;
		free(d);
	}
	free(s->gateways);
	free(s->players);
	free(s->latency_us);
	free(s->beyond_us);
	lw_map_deinit(&s->by_devaddr);
	lw_map_deinit(&s->by_dev_eui);
	lw_keycache_free(s->kc);
}
