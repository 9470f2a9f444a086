/* A storm of joins: every device asks once, at an even rate. A join-accept is in time when it is at the gateway before
 * RX1 less what the gateway needs. Which device it is for says its time: the counter value of each request is its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "tests/bench/load.h"

#define STEP_US 16
#define RX1_US 5000000u
#define RX2_US 6000000u
#define MAX_DEVICES (1000000u / STEP_US) /* else RX2 of one is RX1 of another */

static struct storm {
	uint32_t next, in_time, late, rx2, again;
	int64_t began_us, last_us;
	int64_t *sent_us;
	uint32_t *waited_us;
} S;

static int64_t now_us(void)
{
	return lw_mono_ns() / 1000;
}

static void on_downlink(struct load *l, const struct load_downlink *d)
{
	uint32_t n = (d->tmst_us - RX1_US) / STEP_US;
	bool is_rx2 = n >= MAX_DEVICES;
	if (is_rx2)
		n = (d->tmst_us - RX2_US) / STEP_US;
	if (n >= l->o.devices || !S.sent_us[n])
		return;
	if (S.waited_us[n]) {
		S.again++;
		return;
	}
	int64_t waited = d->now_us - S.sent_us[n];
	S.waited_us[n] = (uint32_t)(waited > 0 ? waited : 1);
	S.rx2 += is_rx2;
	if (!is_rx2 && waited < RX1_US - LOAD_LEAD_US)
		S.in_time++;
	else
		S.late++;
	S.last_us = d->now_us;
	if (S.in_time + S.late == l->o.devices)
		rt_loop_stop(l->loop);
}

static uint64_t due_by_now(const struct load *l)
{
	int64_t us = now_us() - S.began_us;
	return us > 0 ? (uint64_t)((double)us / 1e6 * l->o.rate) : 0;
}

static void on_tick(struct rt_timer *t, void *arg)
{
	struct load *l = arg;
	(void)t;
	uint64_t due = due_by_now(l);
	for (; S.next < l->o.devices && S.next < due; S.next++) {
		struct sim_uplink up;
		int64_t now = now_us();
		if (sim_device_send(&l->devices[S.next], &l->o, l->kc, &l->rng, false, false, now, &up))
			continue;
		S.sent_us[S.next] = now;
		for (uint32_t k = 0; k < l->o.copies; k++)
			load_air_hear(l, S.next + k, &up, S.next * STEP_US);
	}
	if (S.next == l->o.devices && !rt_timer_armed(&l->end))
		rt_timer_start(&l->end, (uint64_t)l->seconds * 1000);
}

static void on_end(struct rt_timer *t, void *arg)
{
	(void)t;
	rt_loop_stop(((struct load *)arg)->loop);
}

static int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

int load_joins(struct load *l)
{
	if (l->o.devices > MAX_DEVICES) {
		fprintf(stderr, "at most %u devices\n", MAX_DEVICES);
		return 1;
	}
	S.sent_us = lw_xcalloc(l->o.devices, sizeof(*S.sent_us));
	S.waited_us = lw_xcalloc(l->o.devices, sizeof(*S.waited_us));
	l->on_downlink = on_downlink;
	int err = load_air_open(l);
	if (err)
		return 1;
	rt_timer_init(&l->tick, l->loop, "tick", on_tick, l);
	rt_timer_init(&l->end, l->loop, "end", on_end, l);
	S.began_us = now_us() + 500000;
	rt_timer_start_every(&l->tick, 1);
	rt_loop_run(l->loop);
	rt_timer_stop(&l->tick);
	rt_timer_stop(&l->end);
	uint32_t accepted = S.in_time + S.late;
	qsort(S.waited_us, l->o.devices, sizeof(*S.waited_us), ascending);
	const uint32_t *v = S.waited_us + (l->o.devices - accepted);
	double s = (double)(S.last_us - S.began_us) / 1e6;
	printf("{\"requests\":%u,\"accepted\":%u,\"in_time\":%u,\"late\":%u,\"rx2\":%u,\"again\":%u,\"seconds\":%.3f,"
	       "\"per_s\":%.0f,\"p50_ms\":%.1f,\"p99_ms\":%.1f,\"max_ms\":%.1f}\n",
	       S.next, accepted, S.in_time, S.late, S.rx2, S.again, s, s > 0 ? accepted / s : 0,
	       accepted ? v[accepted / 2] / 1e3 : 0, accepted ? v[accepted * 99u / 100] / 1e3 : 0,
	       accepted ? v[accepted - 1] / 1e3 : 0);
	load_air_close(l);
	free(S.sent_us);
	free(S.waited_us);
	return 0;
}
