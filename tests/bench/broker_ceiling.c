/* What the broker alone can carry: one publisher, one subscriber, a payload of a given size, at a given QoS. The figure
 * that throughput is quoted against.
 *
 *   longwave-broker-ceiling pub|sub SERVER QOS BYTES SECONDS [TOPIC]      prints messages per second */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/io/mqtt.h"

#define TOPIC "longwave/bench/ceiling"
#define WINDOW 2000 /* publishes that wait for the broker's acknowledgement */

struct bench {
	struct rt_loop *loop;
	struct mqtt *mqtt;
	struct rt_timer end;
	bool publisher;
	uint8_t qos;
	uint8_t *payload;
	size_t n;
	uint64_t count;
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
	while (b->running && mqtt_pending(b->mqtt) < WINDOW)
		if (mqtt_publish(b->mqtt, TOPIC, b->payload, b->n, b->qos, false, on_done, b))
			return;
}

static void on_message(void *arg, const struct mqtt_message *m)
{
	struct bench *b = arg;
	(void)m;
	b->last_ns = lw_mono_ns();
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
	struct bench b = {0};
	struct lw_diag diag = {""};
	if (argc != 6 && argc != 7) {
		fprintf(stderr, "usage: longwave-broker-ceiling pub|sub SERVER QOS BYTES SECONDS [TOPIC]\n");
		return 2;
	}
	b.publisher = strcmp(argv[1], "pub") == 0;
	b.qos = (uint8_t)(atoi(argv[3]) & 1);
	b.n = (size_t)strtoul(argv[4], NULL, 10) % 65536;
	b.seconds = (uint32_t)strtoul(argv[5], NULL, 10);
	b.payload = lw_xcalloc(1, b.n + 1);
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
		mqtt_subscribe(b.mqtt, argc > 6 ? argv[6] : TOPIC, b.qos);
	rt_loop_run(b.loop);
	double s = (double)(b.last_ns - b.first_ns) / 1e9;
	printf("%.0f\n", s > 0 ? (double)b.count / s : 0);
	mqtt_free(b.mqtt);
	rt_loop_free(b.loop);
	free(b.payload);
	return 0;
}
