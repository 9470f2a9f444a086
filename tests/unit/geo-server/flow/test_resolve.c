/* The whole geo-server in one process: its parts, a gRPC client, a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "proto/longwave/geo/v1/geo.pb-c.h"

#include "common/io/grpc_client.h"
#include "common/io/grpc_server.h"
#include "geo-server/server.h"

#define WAIT_MS 20000
#define METHOD "/longwave.geo.v1.GeoServer/Resolve"

struct ctx {
	struct rt_loop *loop;
	struct rt_metrics *metrics;
	struct geo_conf conf;
	struct geo_server g;
	size_t n_up;
	struct grpc_client *client;
	bool done;
	int status;
	char text[128];
	char id[16];
	int method;
	double latitude;
	double uncertainty;
	size_t n;
	bool has_position;
};

static int setup(void **state)
{
	static struct ctx c;
	struct lw_diag diag = {""};
	memset(&c, 0, sizeof(c));
	c.loop = rt_loop_new();
	c.metrics = rt_metrics_new("longwave_geo_");
	assert_int_equal(conf_load(geo_daemon.conf, &c.conf, NULL, NULL, NULL, &diag), 0);
	assert_string_equal(c.conf.bind, "127.0.0.1:8005");
	assert_string_equal(c.conf.common.http_bind, "127.0.0.1:9104");
	struct geo_conf conf = c.conf;
	conf.bind = (char[]){"127.0.0.1:0"};
	const struct rt_daemon_env env = {.loop = c.loop, .metrics = c.metrics, .conf = &conf, .name = "geo-server"};
	if (rt_daemon_parts_up(&geo_daemon, &c.g, &env, &c.n_up, &diag) != 0)
		fail_msg("%s", diag.text);
	char address[32];
	snprintf(address, sizeof(address), "127.0.0.1:%d", grpc_server_port(c.g.server));
	c.client = grpc_client_new(c.loop, &(struct grpc_client_config){.address = address});
	*state = &c;
	return 0;
}

static int teardown(void **state)
{
	struct ctx *c = *state;
	grpc_client_free(c->client);
	rt_daemon_parts_down(&geo_daemon, &c->g, NULL, c->n_up);
	rt_loop_turn(c->loop);
	rt_loop_free(c->loop);
	rt_metrics_free(c->metrics);
	conf_release(geo_daemon.conf, &c->conf);
	return 0;
}

static void on_done(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct ctx *c = arg;
	c->done = true;
	c->status = status;
	snprintf(c->text, sizeof(c->text), "%s", message);
	if (!resp)
		return;
	const Longwave__Geo__V1__ResolveResponse *r = (const Longwave__Geo__V1__ResolveResponse *)(const void *)resp;
	c->n = r->n_results;
	if (!c->n)
		return;
	const Longwave__Geo__V1__ResolveResult *one = r->results[c->n - 1];
	snprintf(c->id, sizeof(c->id), "%s", one->id);
	c->method = (int)one->method;
	c->uncertainty = one->uncertainty_m;
	c->has_position = one->position != NULL;
	c->latitude = one->position ? one->position->latitude : NAN;
}

static void call(struct ctx *c, const Longwave__Geo__V1__ResolveRequest *req)
{
	const struct grpc_client_request r = {.path = METHOD,
					      .deadline_ms = WAIT_MS,
					      .output = &longwave__geo__v1__resolve_response__descriptor,
					      .wait_for_ready = true};
	c->done = false;
	grpc_client_call(c->client, &r, &req->base, on_done, c);
	assert_true(rt_loop_run_until(c->loop, &c->done, WAIT_MS));
}

static void test_resolve(void **state)
{
	struct ctx *c = *state;
	Longwave__Geo__V1__Position pos = LONGWAVE__GEO__V1__POSITION__INIT;
	Longwave__Geo__V1__Reception rec = LONGWAVE__GEO__V1__RECEPTION__INIT;
	Longwave__Geo__V1__Reception nowhere = LONGWAVE__GEO__V1__RECEPTION__INIT;
	Longwave__Geo__V1__Frame frame = LONGWAVE__GEO__V1__FRAME__INIT;
	Longwave__Geo__V1__ResolveItem item[2] = {LONGWAVE__GEO__V1__RESOLVE_ITEM__INIT,
						  LONGWAVE__GEO__V1__RESOLVE_ITEM__INIT};
	Longwave__Geo__V1__ResolveRequest req = LONGWAVE__GEO__V1__RESOLVE_REQUEST__INIT;
	pos.latitude = 48.1;
	pos.longitude = 11.5;
	pos.altitude = 520;
	rec.gateway = &pos;
	rec.rssi_dbm = -90;
	rec.snr_db = 7;
	nowhere.rssi_dbm = -90;
	frame.n_receptions = 2;
	frame.receptions = (Longwave__Geo__V1__Reception *[]){&nowhere, &rec};
	frame.frequency_hz = 868100000;
	frame.spreading_factor = 7;
	item[0].id = (char[]){"empty"};
	item[1].id = (char[]){"one"};
	item[1].n_frames = 1;
	item[1].frames = (Longwave__Geo__V1__Frame *[]){&frame};
	req.n_items = 2;
	req.items = (Longwave__Geo__V1__ResolveItem *[]){&item[0], &item[1]};
	call(c, &req);
	assert_int_equal(c->status, GRPC_OK);
	assert_int_equal(c->n, 2);
	assert_string_equal(c->id, "one");
	assert_int_equal(c->method, LONGWAVE__GEO__V1__METHOD__GATEWAY);
	assert_true(fabs(c->latitude - 48.1) < 1e-9);
	assert_true(c->uncertainty > 50);
	assert_int_equal((int)rt_metric_get_at(c->g.resolve.items, 0), 1);
	assert_int_equal((int)rt_metric_get_at(c->g.resolve.items, 3), 1);
	assert_int_equal((int)rt_metric_get(c->g.resolve.receptions), 2);
	req.n_items = 1;
	call(c, &req);
	assert_string_equal(c->id, "empty");
	assert_int_equal(c->method, LONGWAVE__GEO__V1__METHOD__UNKNOWN);
	assert_false(c->has_position);
	req.n_items = 0;
	call(c, &req);
	assert_int_equal(c->status, GRPC_OK);
	assert_int_equal(c->n, 0);
}

static void test_too_many(void **state)
{
	struct ctx *c = *state;
	static Longwave__Geo__V1__ResolveItem item = LONGWAVE__GEO__V1__RESOLVE_ITEM__INIT;
	static Longwave__Geo__V1__ResolveItem *items[1001];
	Longwave__Geo__V1__ResolveRequest req = LONGWAVE__GEO__V1__RESOLVE_REQUEST__INIT;
	for (size_t i = 0; i < 1001; i++)
		items[i] = &item;
	req.n_items = 1001;
	req.items = items;
	call(c, &req);
	assert_int_equal(c->status, GRPC_INVALID_ARGUMENT);
	req.n_items = 1000;
	call(c, &req);
	assert_int_equal(c->status, GRPC_OK);
	assert_int_equal(c->n, 1000);
}

/* Stops while a request is computed. */
static void test_stop_under_way(void **state)
{
	struct ctx *c = *state;
	static Longwave__Geo__V1__ResolveItem item = LONGWAVE__GEO__V1__RESOLVE_ITEM__INIT;
	Longwave__Geo__V1__ResolveRequest req = LONGWAVE__GEO__V1__RESOLVE_REQUEST__INIT;
	req.n_items = 1;
	req.items = (Longwave__Geo__V1__ResolveItem *[]){&item};
	const struct grpc_client_request r = {
		.path = METHOD, .output = &longwave__geo__v1__resolve_response__descriptor, .wait_for_ready = true};
	c->done = false;
	grpc_client_call(c->client, &r, &req.base, on_done, c);
	for (int i = 0; i < 2000 && lw_list_empty(&c->g.resolve.jobs) && !c->done; i++)
		rt_loop_turn(c->loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_resolve, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop_under_way, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
