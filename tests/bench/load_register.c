/* Creates devices and gives them keys (OTAA) or a session (ABP), over gRPC, as a client that keeps many calls in flight
 * would. The rate counts whole devices: both calls answered. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "proto/api/device.pb-c.h"
#include "proto/google/protobuf/empty.pb-c.h"
#include "tests/bench/load.h"

struct run {
	struct load *l;
	struct grpc_client *client;
	char authorization[1024];
	uint32_t next, done, failed, exists;
	uint32_t open;
};

struct call {
	struct run *r;
	uint32_t n;
};

static void start(struct run *r);

static void send_call(struct call *c, const char *path, const ProtobufCMessage *req, grpc_done_fn *done)
{
	const struct grpc_metadata md = {.name = "authorization", .value = c->r->authorization};
	struct grpc_client_request q = {.path = path,
					.metadata = &md,
					.n_metadata = 1,
					.deadline_ms = 60000,
					.wait_for_ready = true,
					.output = &google__protobuf__empty__descriptor};
	grpc_client_call(c->r->client, &q, req, done, c);
}

static void ended(struct call *c, int status, const char *message)
{
	struct run *r = c->r;
	r->open--;
	if (status == GRPC_OK)
		r->done++;
	else if (r->failed++ == 0)
		fprintf(stderr, "device %u: %s: %s\n", c->n, grpc_status_name(status), message);
	free(c);
	start(r);
}

static void on_second(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	(void)resp;
	ended(arg, status, message);
}

static void activate(struct call *c)
{
	const struct sim_device *d = &c->r->l->devices[c->n];
	char eui[LW_EUI_TEXT], addr[LW_DEVADDR_TEXT], app[LW_KEY_TEXT], enc[LW_KEY_TEXT], s_int[LW_KEY_TEXT],
		f_int[LW_KEY_TEXT];
	Api__DeviceActivation a = API__DEVICE_ACTIVATION__INIT;
	Api__ActivateDeviceRequest req = API__ACTIVATE_DEVICE_REQUEST__INIT;
	a.dev_eui = lw_dev_eui_print(d->dev_eui, eui);
	a.dev_addr = lw_devaddr_print(d->devaddr, addr);
	a.app_s_key = lw_key_print(d->keys.app_s, app);
	a.nwk_s_enc_key = lw_key_print(d->keys.nwk_s_enc, enc);
	a.s_nwk_s_int_key = lw_key_print(d->keys.s_nwk_s_int, s_int);
	a.f_nwk_s_int_key = lw_key_print(d->keys.f_nwk_s_int, f_int);
	req.device_activation = &a;
	send_call(c, "/api.DeviceService/Activate", &req.base, on_second);
}

static void create_keys(struct call *c)
{
	const struct sim_device *d = &c->r->l->devices[c->n];
	char eui[LW_EUI_TEXT], key[LW_KEY_TEXT];
	Api__DeviceKeys k = API__DEVICE_KEYS__INIT;
	Api__CreateDeviceKeysRequest req = API__CREATE_DEVICE_KEYS_REQUEST__INIT;
	k.dev_eui = lw_dev_eui_print(d->dev_eui, eui);
	k.nwk_key = lw_key_print(d->nwk_key, key);
	req.device_keys = &k;
	send_call(c, "/api.DeviceService/CreateKeys", &req.base, on_second);
}

static void on_created(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct call *c = arg;
	(void)resp;
	if (status != GRPC_OK)
		ended(c, status, message);
	else if (c->r->l->otaa)
		create_keys(c);
	else
		activate(c);
}

static void create(struct call *c)
{
	const struct load *l = c->r->l;
	const struct sim_device *d = &l->devices[c->n];
	char eui[LW_EUI_TEXT], join[LW_EUI_TEXT], name[40];
	Api__Device m = API__DEVICE__INIT;
	Api__CreateDeviceRequest req = API__CREATE_DEVICE_REQUEST__INIT;
	m.dev_eui = lw_dev_eui_print(d->dev_eui, eui);
	m.join_eui = lw_join_eui_print(d->join_eui, join);
	snprintf(name, sizeof(name), "sensor %06u", d->n);
	m.name = name;
	m.application_id = (char *)(uintptr_t)l->application;
	m.device_profile_id = (char *)(uintptr_t)l->profile;
	req.device = &m;
	send_call(c, "/api.DeviceService/Create", &req.base, on_created);
}

static void start(struct run *r)
{
	while (r->open < r->l->concurrency && r->next < r->l->o.devices) {
		struct call *c = lw_xmalloc(sizeof(*c));
		*c = (struct call){r, r->next++};
		r->open++;
		create(c);
	}
	if (r->open == 0)
		rt_loop_stop(r->l->loop);
}

int load_register(struct load *l)
{
	struct run r = {.l = l};
	struct grpc_client_config config = {.address = l->grpc};
	snprintf(r.authorization, sizeof(r.authorization), "Bearer %s", l->token);
	r.client = grpc_client_new(l->loop, &config);
	int64_t began = lw_mono_ns();
	start(&r);
	rt_loop_run(l->loop);
	double s = (double)(lw_mono_ns() - began) / 1e9;
	printf("{\"devices\":%u,\"failed\":%u,\"seconds\":%.3f,\"per_s\":%.0f}\n", r.done, r.failed, s, r.done / s);
	grpc_client_free(r.client);
	return r.failed ? 1 : 0;
}
