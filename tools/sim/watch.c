/* Counts application events: each uplink once, twice is a duplicate, never is a loss. Reads only the two members that
 * it needs, so that watching costs little beside what is measured. */
#include <stdio.h>
#include <stdlib.h>

#include "tools/sim/sim.h"

static const char *find(struct lw_span s, const char *what)
{
	const char *at = memmem(s.p, s.n, what, strlen(what));
	return at ? at + strlen(what) : NULL;
}

static uint32_t clip(int64_t us)
{
	return us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

/* us: since the first copy. What is beyond the deduplication: since the end of the window or, when the event came
 * before that (the window closed early), since the last copy. */
static void count_latency(struct sim *s, const struct sim_sent *sent, int64_t now_us)
{
	int64_t us = now_us - sent->wire_us, window_us = (int64_t)s->o.window_ms * 1000;
	size_t at = s->n_latency < SIM_LATENCIES ? s->n_latency++ : (size_t)lw_rng_below(&s->rng, s->seen_latency + 1);
	s->seen_latency++;
	if (at >= SIM_LATENCIES)
		return;
	s->latency_us[at] = clip(us);
	s->beyond_us[at] = clip(us < window_us ? now_us - sent->last_us : us - window_us);
}

static void on_message(void *arg, const struct mqtt_message *m)
{
	struct sim *s = arg;
	const char *eui = find(m->payload, "\"devEui\":\"");
	const char *f_cnt = find(m->payload, "\"fCnt\":");
	const char *end = (const char *)m->payload.p + m->payload.n;
	struct lw_dev_eui id;
	if (!eui || !f_cnt || end - eui < 17 || lw_dev_eui_parse_n(&id, eui, 16)) {
		s->c.strange_events++;
		return;
	}
	struct sim_player *p = lw_map_find(&s->by_dev_eui, lw_dev_eui_u64(id));
	char number[16] = "";
	size_t n = (size_t)(end - f_cnt) < sizeof(number) - 1 ? (size_t)(end - f_cnt) : sizeof(number) - 1;
	memcpy(number, f_cnt, n);
	uint32_t i = p ? (uint32_t)strtoul(number, NULL, 10) - p->dev.sent_base : UINT32_MAX;
	if (!p || i >= p->dev.n_sent) {
		s->c.strange_events++;
		return;
	}
	struct sim_sent *sent = &p->dev.sent[i];
	if (sent->deliveries < UINT8_MAX)
		sent->deliveries++;
	if (sent->deliveries > 1) {
		s->c.duplicates++;
		return;
	}
	s->c.delivered++;
	if (sent->wire_us)
		count_latency(s, sent, sim_now_us());
}

int sim_watch_init(struct sim *s)
{
	struct lw_diag diag = {""};
	char id[32];
	snprintf(id, sizeof(id), "longwave-sim-%08x", (unsigned)lw_rng_u32(&s->rng));
	struct mqtt_opts opts = {.server = s->o.mqtt,
				 .client_id = id,
				 .clean_session = false,
				 .session_expiry_s = 300,
				 .on_message = on_message,
				 .arg = s};
	s->mqtt = mqtt_new(s->loop, NULL, &opts, &diag);
	if (!s->mqtt) {
		fprintf(stderr, "longwave-sim: %s: %s\n", s->o.mqtt, diag.text);
		return LW_EINVAL;
	}
	return mqtt_subscribe(s->mqtt, "application/+/device/+/event/up", 1);
}
