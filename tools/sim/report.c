/* What was sent, what arrived, how long it took: a line per second for people, one JSON document at the end. */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/sim/sim.h"

static int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

void sim_report_line(struct sim *s)
{
	struct sim_counts *c = &s->c, *l = &s->last;
	fprintf(stderr,
		"%5.0f s  up %llu (%llu/s)  delivered %llu (%llu/s)  twice %llu  joins %llu/%llu  down %llu  bad %llu  "
		"refused %llu\n",
		(double)(sim_now_us() - s->began_us) / 1e6, (unsigned long long)c->uplinks,
		(unsigned long long)(c->uplinks - l->uplinks), (unsigned long long)c->delivered,
		(unsigned long long)(c->delivered - l->delivered), (unsigned long long)c->duplicates,
		(unsigned long long)c->joins, (unsigned long long)c->join_requests, (unsigned long long)c->downlinks_ok,
		(unsigned long long)(c->bad_time + c->bad_radio + c->bad_mic + c->f_cnt_repeated + c->malformed),
		(unsigned long long)c->tx_refused);
	*l = *c;
}

static void add(json_object *o, const char *name, uint64_t v)
{
	json_object_object_add(o, name, json_object_new_int64((int64_t)v));
}

/* Accepted by the bridge and never seen: what "lost" means. Uplinks of earlier sessions are not asked about. */
static uint64_t count_missing(const struct sim *s)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < s->o.devices; i++)
		for (size_t k = 0; k < s->players[i].dev.n_sent; k++)
			n += s->players[i].dev.sent[k].accepted && !s->players[i].dev.sent[k].deliveries;
	return n;
}

static uint64_t count_active(const struct sim *s)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < s->o.devices; i++)
		n += s->players[i].dev.joined;
	return n;
}

static json_object *quantiles(uint32_t *v, size_t n)
{
	static const struct {
		const char *name;
		double q;
	} QS[] = {{"p50", .5}, {"p90", .9}, {"p99", .99}, {"max", 1}};
	json_object *l = json_object_new_object();
	qsort(v, n, sizeof(*v), ascending);
	for (size_t i = 0; i < sizeof(QS) / sizeof(QS[0]); i++) {
		double us = v[(size_t)((double)(n - 1) * QS[i].q)];
		json_object_object_add(l, QS[i].name, json_object_new_double(us / 1000));
	}
	return l;
}

int sim_report_write(struct sim *s)
{
	const struct sim_counts *c = &s->c;
	json_object *o = json_object_new_object();
	double seconds = (double)((s->traffic_until_us ? s->traffic_until_us : sim_now_us()) - s->began_us) / 1e6;
	json_object_object_add(o, "seconds", json_object_new_double(seconds));
	add(o, "devices_active", count_active(s));
	add(o, "uplinks", c->uplinks);
	add(o, "confirmed", c->confirmed);
	add(o, "repeats", c->repeats);
	add(o, "datagrams", c->datagrams);
	add(o, "lost_copies", c->lost_copies);
	add(o, "push_acks", c->push_acks);
	add(o, "accepted", c->accepted);
	add(o, "delivered", c->delivered);
	add(o, "duplicates", c->duplicates);
	add(o, "missing", s->o.mqtt ? count_missing(s) : 0);
	add(o, "strange_events", c->strange_events);
	add(o, "join_requests", c->join_requests);
	add(o, "joins", c->joins);
	add(o, "rejoins", c->rejoins);
	add(o, "acks", c->acks);
	add(o, "unacked", c->unacked);
	add(o, "pull_resps", c->pull_resps);
	add(o, "tx_refused", c->tx_refused);
	add(o, "tx_too_late", c->tx_too_late);
	add(o, "downlinks_ok", c->downlinks_ok);
	add(o, "downlinks_bad_time", c->bad_time);
	add(o, "downlinks_bad_radio", c->bad_radio);
	add(o, "downlinks_bad_mic", c->bad_mic);
	add(o, "downlinks_f_cnt_repeated", c->f_cnt_repeated);
	add(o, "downlinks_malformed", c->malformed);
	add(o, "downlinks_unknown", c->unknown);
	json_object_object_add(o, "delivered_per_s",
			       json_object_new_double(seconds > 0 ? (double)c->delivered / seconds : 0));
	if (s->n_latency) {
		json_object_object_add(o, "latency_ms", quantiles(s->latency_us, s->n_latency));
		json_object_object_add(o, "beyond_ms", quantiles(s->beyond_us, s->n_latency));
		add(o, "window_ms", s->o.window_ms);
	}
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED);
	FILE *f = s->o.report ? fopen(s->o.report, "w") : stdout;
	if (f)
		fprintf(f, "%s\n", text);
	else
		perror(s->o.report);
	int err = !f || (f != stdout ? fclose(f) : fflush(f));
	json_object_put(o);
	return err;
}

static void add_key(json_object *o, const char *name, struct lw_key key)
{
	char text[LW_KEY_TEXT];
	json_object_object_add(o, name, json_object_new_string(lw_key_print(key, text)));
}

/* One JSON object a line: what must be registered before the traffic makes sense. */
void sim_print_plan(struct sim *s)
{
	char text[64];
	for (uint32_t i = 0; i < s->o.gateways; i++)
		printf("{\"gateway\":\"%016llx\",\"latitude\":%.6f,\"longitude\":%.6f}\n",
		       (unsigned long long)s->gateways[i].eui, s->gateways[i].lat, s->gateways[i].lon);
	for (uint32_t i = 0; i < s->o.devices; i++) {
		const struct sim_device *d = &s->players[i].dev;
		json_object *o = json_object_new_object();
		json_object_object_add(o, "device", json_object_new_string(lw_dev_eui_print(d->dev_eui, text)));
		json_object_object_add(o, "joinEui", json_object_new_string(lw_join_eui_print(d->join_eui, text)));
		add_key(o, "nwkKey", d->nwk_key);
		add_key(o, "appKey", d->app_key);
		if (s->o.abp) {
			json_object_object_add(o, "devAddr",
					       json_object_new_string(lw_devaddr_print(d->devaddr, text)));
			add_key(o, "fNwkSIntKey", d->keys.f_nwk_s_int);
			add_key(o, "sNwkSIntKey", d->keys.s_nwk_s_int);
			add_key(o, "nwkSEncKey", d->keys.nwk_s_enc);
			add_key(o, "appSKey", d->keys.app_s);
		}
		puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
		json_object_put(o);
	}
}
