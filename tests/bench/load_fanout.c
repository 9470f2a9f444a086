/* Class C fan-out: each device is heard once, then each gets one downlink, by MQTT command or by gRPC, all at once.
 * Counted is what the gateways are told to send. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/base64.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "common/lorawan/phy.h"
#include "proto/api/device.pb-c.h"
#include "tests/bench/load.h"

#define WINDOWS_MS 6000 /* RX1 of the uplink must be over; else the downlink would wait for it */
#define PORT 10

static struct fan {
	struct load *l;
	struct mqtt *mqtt;
	struct grpc_client *client;
	char authorization[1024];
	uint32_t heard, asked, open, refused, sent, twice;
	int64_t began_us, enqueued_us, last_us;
	bool is_on;
	struct lw_map by_addr;
	uint8_t *got;
} F;

static int64_t now_us(void)
{
	return lw_mono_ns() / 1000;
}

static void on_downlink(struct load *l, const struct load_downlink *d)
{
	uint8_t phy[LW_PHY_MAX];
	struct lw_phy p;
	int n = lw_base64_decode(d->data, d->n_data, phy, sizeof(phy));
	if (!F.is_on || n < 0 || lw_phy_parse(lw_span(phy, (size_t)n), &p) || !lw_mtype_is_data_down(p.mtype) ||
	    p.u.data.fport != PORT)
		return;
	const struct sim_device *dev = lw_map_find(&F.by_addr, p.u.data.devaddr.v);
	if (!dev)
		return;
	size_t i = (size_t)(dev - l->devices);
	F.last_us = d->now_us;
	F.twice += F.got[i];
	F.sent += !F.got[i];
	F.got[i] = 1;
	if (F.sent == l->o.devices)
		rt_loop_stop(l->loop);
}

static void ask(void);

static void answered(bool ok)
{
	F.open--;
	F.refused += !ok;
	F.enqueued_us = now_us();
	ask();
}

static void on_published(void *arg, int err)
{
	(void)arg;
	answered(err == 0);
}

static void on_enqueued(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	(void)arg;
	(void)resp;
	if (status != GRPC_OK && !F.refused)
		fprintf(stderr, "enqueue: %s: %s\n", grpc_status_name(status), message);
	answered(status == GRPC_OK);
}

static void by_mqtt(const struct sim_device *d)
{
	char topic[160], body[128], eui[LW_EUI_TEXT];
	lw_dev_eui_print(d->dev_eui, eui);
	snprintf(topic, sizeof(topic), "application/%s/device/%s/command/down", F.l->application, eui);
	int n = snprintf(body, sizeof(body), "{\"devEui\":\"%s\",\"fPort\":%d,\"data\":\"AQIDBAUGBwg=\"}", eui, PORT);
	if (mqtt_publish(F.mqtt, topic, body, (size_t)n, 1, false, on_published, NULL))
		F.refused++, F.open--;
}

static void by_grpc(const struct sim_device *d)
{
	static uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	char eui[LW_EUI_TEXT];
	const struct grpc_metadata md = {.name = "authorization", .value = F.authorization};
	Api__DeviceQueueItem item = API__DEVICE_QUEUE_ITEM__INIT;
	Api__EnqueueDeviceQueueItemRequest req = API__ENQUEUE_DEVICE_QUEUE_ITEM_REQUEST__INIT;
	struct grpc_client_request q = {.path = "/api.DeviceService/Enqueue",
					.metadata = &md,
					.n_metadata = 1,
					.deadline_ms = 60000,
					.wait_for_ready = true,
					.output = &api__enqueue_device_queue_item_response__descriptor};
	item.dev_eui = lw_dev_eui_print(d->dev_eui, eui);
	item.f_port = PORT;
	item.data = (ProtobufCBinaryData){.len = sizeof(bytes), .data = bytes};
	req.queue_item = &item;
	grpc_client_call(F.client, &q, &req.base, on_enqueued, NULL);
}

static void ask(void)
{
	struct load *l = F.l;
	while (F.asked < l->o.devices && F.open < l->concurrency) {
		const struct sim_device *d = &l->devices[F.asked++];
		F.open++;
		if (F.mqtt)
			by_mqtt(d);
		else
			by_grpc(d);
	}
}

static void on_end(struct rt_timer *t, void *arg)
{
	struct load *l = arg;
	(void)t;
	if (F.is_on) {
		rt_loop_stop(l->loop);
		return;
	}
	F.is_on = true;
	F.began_us = now_us();
	rt_timer_start(&l->end, (uint64_t)l->seconds * 1000);
	ask();
}

static uint64_t due_by_now(const struct load *l)
{
	int64_t us = now_us() - F.began_us;
	return us > 0 ? (uint64_t)((double)us / 1e6 * l->o.rate) : 0;
}

/* Every device is heard once, through one gateway. */
static void on_tick(struct rt_timer *t, void *arg)
{
	struct load *l = arg;
	uint64_t due = due_by_now(l);
	for (; F.heard < l->o.devices && F.heard < due; F.heard++) {
		struct sim_uplink up;
		if (sim_device_send(&l->devices[F.heard], &l->o, l->kc, &l->rng, false, false, now_us(), &up) == 0)
			load_air_hear(l, F.heard, &up, (uint32_t)now_us());
	}
	if (F.heard < l->o.devices)
		return;
	rt_timer_stop(t);
	rt_timer_start(&l->end, WINDOWS_MS);
}

static int connect_sides(struct load *l)
{
	struct lw_diag diag = {""};
	if (strcmp(l->via, "grpc") == 0) {
		struct grpc_client_config config = {.address = l->grpc};
		snprintf(F.authorization, sizeof(F.authorization), "Bearer %s", l->token);
		F.client = grpc_client_new(l->loop, &config);
		grpc_client_connect(F.client);
		return 0;
	}
	struct mqtt_opts opts = {.server = l->mqtt, .client_id = "bench-fanout", .clean_session = true};
	F.mqtt = mqtt_new(l->loop, NULL, &opts, &diag);
	if (!F.mqtt)
		fprintf(stderr, "%s\n", diag.text);
	return F.mqtt ? 0 : 1;
}

int load_fanout(struct load *l)
{
	F.l = l;
	F.got = lw_xcalloc(l->o.devices, 1);
	lw_map_init(&F.by_addr);
	for (uint32_t i = 0; i < l->o.devices; i++)
		lw_map_put(&F.by_addr, l->devices[i].devaddr.v, &l->devices[i]);
	l->on_downlink = on_downlink;
	if (load_air_open(l) || connect_sides(l))
		return 1;
	rt_timer_init(&l->tick, l->loop, "tick", on_tick, l);
	rt_timer_init(&l->end, l->loop, "end", on_end, l);
	F.began_us = now_us() + 500000;
	rt_timer_start_every(&l->tick, 1);
	rt_loop_run(l->loop);
	rt_timer_stop(&l->end);
	double s = (double)(F.last_us - F.began_us) / 1e6, e = (double)(F.enqueued_us - F.began_us) / 1e6;
	printf("{\"enqueued\":%u,\"refused\":%u,\"sent\":%u,\"twice\":%u,\"seconds\":%.3f,\"per_s\":%.0f,"
	       "\"enqueue_seconds\":%.3f,\"enqueued_per_s\":%.0f}\n",
	       F.asked, F.refused, F.sent, F.twice, s, s > 0 ? F.sent / s : 0, e, e > 0 ? F.asked / e : 0);
	mqtt_free(F.mqtt);
	grpc_client_free(F.client);
	load_air_close(l);
	lw_map_deinit(&F.by_addr);
	free(F.got);
	return F.sent == l->o.devices ? 0 : 1;
}
