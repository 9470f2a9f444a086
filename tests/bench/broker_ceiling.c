/* What the broker alone can carry: one publisher, one subscriber, a payload of a given size, at a given QoS. The figure
 * that throughput is quoted against. With a filter the publisher puts one of 100 gateway ids in the place of its "+",
 * in turn: what the broker carries of messages with the topics of the bridge.
 *
 *   longwave-broker-ceiling pub|sub SERVER QOS BYTES SECONDS [FILTER]
 *
 * prints messages per second; a subscriber also their mean payload, in bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/io/mqtt.h"

#define TOPIC "longwave/bench/ceiling"
#define TOPICS 100 /* as many gateways as longwave-bridge-load has */
#define TOPIC_MAX 128
#define WINDOW 2000 /* publishes that wait for the broker's acknowledgement */

struct bench {
	struct rt_loop *loop;
	struct mqtt *mqtt;
	struct rt_timer end;
	bool publisher;
	uint8_t qos;
	uint8_t *payload;
	size_t n;
	char topics[TOPICS][TOPIC_MAX];
	size_t n_topics, turn;
	uint64_t count, bytes;
	int64_t first_ns, last_ns;
	uint32_t seconds;
	bool running;
};

static void fill(struct bench *b);

static void on_done(void *arg, int err)
{
	struct bench *b = arg;
	if (!err)
		b->count++;
	b->last_ns = lw_mono_ns();
	if (b->running && mqtt_pending(b->mqtt) < WINDOW / 2)
		fill(b);
}

static void fill(struct bench *b)
{
	while (b->running && mqtt_pending(b->mqtt) < WINDOW) {
		b->turn = b->turn + 1 < b->n_topics ? b->turn + 1 : 0;
		if (mqtt_publish(b->mqtt, b->topics[b->turn], b->payload, b->n, b->qos, false, on_done, b))
			return;
	}
}

static void make_topics(struct bench *b, const char *filter)
{
	const char *plus = strchr(filter, '+');
	b->n_topics = plus ? TOPICS : 1;
	for (size_t i = 0; i < b->n_topics; i++) {
		if (plus)
			snprintf(b->topics[i], TOPIC_MAX, "%.*s%016x%s", (int)(plus - filter), filter, (unsigned)i,
				 plus + 1);
		else
			snprintf(b->topics[i], TOPIC_MAX, "%s", filter);
	}
}

static void on_message(void *arg, const struct mqtt_message *m)
{
	struct bench *b = arg;
	b->last_ns = lw_mono_ns();
	b->bytes += m->payload.n;
	if (!b->count++)
		b->first_ns = b->last_ns;
}

static void on_end(struct rt_timer *t, void *arg)
{
	struct bench *b = arg;
	(void)t;
	b->running = false;
	rt_loop_stop(b->loop);
}

static void on_connect(void *arg, bool session_present)
{
	struct bench *b = arg;
	(void)session_present;
	if (rt_timer_armed(&b->end))
		return;
	rt_timer_start(&b->end, (uint64_t)b->seconds * 1000);
	b->running = true;
	if (b->publisher) {
		b->first_ns = lw_mono_ns();
		fill(b);
	}
}

int main(int argc, char **argv)
{
	static struct bench b;
	struct lw_diag diag = {""};
	if (argc != 6 && argc != 7) {
		fprintf(stderr, "usage: longwave-broker-ceiling pub|sub SERVER QOS BYTES SECONDS [FILTER]\n");
		return 2;
	}
	b.publisher = strcmp(argv[1], "pub") == 0;
	b.qos = (uint8_t)(atoi(argv[3]) & 1);
	b.n = (size_t)strtoul(argv[4], NULL, 10) % 65536;
	b.seconds = (uint32_t)strtoul(argv[5], NULL, 10);
	b.payload = lw_xcalloc(1, b.n + 1);
	const char *filter = argc > 6 ? argv[6] : TOPIC;
	make_topics(&b, filter);
	b.loop = rt_loop_new();
	rt_timer_init(&b.end, b.loop, "end", on_end, &b);
	struct mqtt_opts opts = {.server = argv[2],
				 .client_id = b.publisher ? "bench-pub" : "bench-sub",
				 .clean_session = true,
				 /* reads much at a time, so that the cores are for the broker */
				 .gather_from = b.publisher ? 0 : 1,
				 .on_message = on_message,
				 .on_connect = on_connect,
				 .arg = &b};
	b.mqtt = mqtt_new(b.loop, NULL, &opts, &diag);
	if (!b.mqtt) {
		fprintf(stderr, "%s\n", diag.text);
		return 1;
	}
	if (!b.publisher)
		mqtt_subscribe(b.mqtt, filter, b.qos);
	rt_loop_run(b.loop);
	double s = (double)(b.last_ns - b.first_ns) / 1e9;
	printf("%.0f", s > 0 ? (double)b.count / s : 0);
	if (!b.publisher)
		printf(" %.0f", b.count ? (double)b.bytes / (double)b.count : 0);
	printf("\n");
	mqtt_free(b.mqtt);
	rt_loop_free(b.loop);
	free(b.payload);
	return 0;
}
