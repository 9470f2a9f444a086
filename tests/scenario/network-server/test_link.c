/* What is counted of the links of devices and gateways. */
#include <stdlib.h>
#include <string.h>

#include "world.h"

#define TALLY(name) LONGWAVE__NS__V1__LINK_TALLY__KIND__##name
#define R(x) LONGWAVE__V1__REASON__##x

static const struct up PLAIN = {.f_port = 10, .data_hex = "01"};

struct links {
	struct world *w;
	struct ns_link_counts device, gateway;
};

static void count_device(void *self, struct lw_dev_eui dev_eui, int64_t at_ns, const struct ns_tally *v, size_t n)
{
	struct links *l = self;
	assert_memory_equal(&dev_eui, &l->w->device[0]->rec.dev_eui, sizeof(dev_eui));
	assert_true(at_ns > 0 && at_ns <= rt_loop_now_ns(l->w->loop));
	for (size_t i = 0; i < n; i++)
		ns_link_add(&l->device, v[i].kind, v[i].key, v[i].n);
}

static void count_gateway(void *self, struct lw_gateway_id id, int64_t at_ns, const struct ns_link_counts *c)
{
	struct links *l = self;
	assert_memory_equal(&id, &l->w->gateway[0].id, sizeof(id));
	assert_int_equal(at_ns, rt_loop_now_ns(l->w->loop));
	for (size_t i = 0; i < c->n; i++)
		ns_link_add(&l->gateway, c->v[i].kind, c->v[i].key, c->v[i].n);
	for (size_t i = 0; i < c->n_bands; i++)
		ns_link_add_band(&l->gateway, &c->band[i]);
}

static int setup(void **state)
{
	struct links *l = calloc(1, sizeof(*l));
	l->w = world_new();
	l->w->ports.link = (struct ns_link_port){l, count_device, count_gateway};
	*state = l;
	return 0;
}

static int teardown(void **state)
{
	struct links *l = *state;
	world_free(l->w);
	ns_link_counts_deinit(&l->device);
	ns_link_counts_deinit(&l->gateway);
	free(l);
	return 0;
}

static int64_t of(const struct links *l, int kind, uint32_t key)
{
	return ns_link_get(&l->device, (ns_tally_kind)kind, key);
}

static void up_at(struct links *l, uint8_t dr, double snr, int rssi)
{
	struct air air = world_air();
	struct up up = PLAIN;
	struct frame f;
	up.dr = dr;
	device_frame_up(&l->w->device[0]->end, &up, &f);
	air.dr = dr;
	air.snr = snr;
	air.rssi = rssi;
	world_receive(l->w, &air, &f);
	world_pass(l->w, 10000);
}

/* A device's uplinks are counted with signal, frequency, rate and air time; so are the counters that it passed over,
 * and its frames that were dropped, by reason. A retransmission is neither.
 * spec: TS001-1.0.4 §4.3.1.5 */
static void device_counts(void **state)
{
	struct links *l = *state;
	struct world_device *d = world_device(l->w, LW_MAC_1_0_3);
	struct frame f;
	struct air air = world_air();
	world_abp(l->w, d, "eu868");
	up_at(l, 5, 8, -60);
	up_at(l, 0, -10, -120);
	assert_int_equal(of(l, TALLY(RX), 0), 2);
	assert_int_equal(of(l, TALLY(RSSI_DBM), 0), -180);
	assert_int_equal(of(l, TALLY(SNR_DDB), 0), -20);
	assert_int_equal(of(l, TALLY(RX_FREQUENCY), 868100000), 2);
	assert_int_equal(of(l, TALLY(RX_DR), 5), 1);
	assert_int_equal(of(l, TALLY(RX_DR), 0), 1);
	/* 14 bytes: 46.3 ms at SF7 and 1,155 ms at SF12 */
	assert_in_range(of(l, TALLY(RX_AIRTIME_US), 0), 1150000 + 46000, 1160000 + 47000);
	assert_int_equal(of(l, TALLY(LOST), 0), 0);
	device_frame_up(&d->end, &PLAIN, &f);
	device_frame_up(&d->end, &PLAIN, &f);
	up_at(l, 5, 8, -60);
	assert_int_equal(of(l, TALLY(LOST), 0), 2);
	struct up wrong = PLAIN;
	wrong.wrong_mic = true;
	device_frame_up(&d->end, &wrong, &f);
	world_receive(l->w, &air, &f);
	world_pass(l->w, 400);
	assert_int_equal(of(l, TALLY(ERROR), R(MIC_MISMATCH)), 1);
	assert_int_equal(of(l, TALLY(RX), 0), 3);
	up_at(l, 5, 8, -60);
	device_frame_again(&d->end, &PLAIN, &f);
	world_receive(l->w, &air, &f);
	world_pass(l->w, 400);
	assert_int_equal(of(l, TALLY(RX), 0), 4);
	assert_int_equal(of(l, TALLY(ERROR), R(MIC_MISMATCH)), 1);
	assert_int_equal(of(l, TALLY(ERROR), R(FCNT_RETRANSMISSION)), 0);
}

/* A downlink counts once a gateway has taken it, with its air time; one that came to nothing under its reason.
 * spec: TS001-1.0.4 §3.3 */
static void downlinks_count_with_their_end(void **state)
{
	struct links *l = *state;
	struct world_device *d = world_device(l->w, LW_MAC_1_0_3);
	world_abp(l->w, d, "eu868");
	up_at(l, 5, 8, -60);
	world_enqueue(l->w, d, 10, false, "0102");
	world_up(l->w, d, &PLAIN);
	assert_int_equal(of(l, TALLY(TX), 0), 0);
	world_ack_ok(l->w);
	world_pass(l->w, 10);
	assert_int_equal(of(l, TALLY(TX), 0), 1);
	assert_in_range(of(l, TALLY(TX_AIRTIME_US), 0), 40000, 80000);
	world_pass(l->w, 10000);
	world_enqueue(l->w, d, 10, false, "0102");
	world_up(l->w, d, &PLAIN);
	world_ack(l->w, (const char *const[]){"TX_FREQ", "TX_FREQ", NULL});
	world_pass(l->w, 10);
	assert_int_equal(of(l, TALLY(TX), 0), 1);
	assert_int_equal(of(l, TALLY(ERROR), R(TX_FREQ)), 1);
}

/* What a gateway reports of itself is taken over: frames by frequency, rate and status. Where it does not report its
 * duty cycle, ours of what we sent through it stands for that, with the limit of the sub-band.
 * spec: RP002-1.0.4 §2.4.2 */
static void gateway_counts(void **state)
{
	struct links *l = *state;
	struct world *w = l->w;
	static const char json[] =
		"{\"gatewayId\":\"0102030405060701\",\"rxPacketsReceived\":9,\"rxPacketsReceivedOk\":5,"
		"\"txPacketsEmitted\":2,"
		"\"rxPacketsPerFrequency\":{\"868100000\":4,\"868300000\":1},\"txPacketsPerFrequency\":{\"869525000\":"
		"2},"
		"\"rxPacketsPerModulation\":[{\"count\":5,\"modulation\":{\"lora\":{\"bandwidth\":125000,"
		"\"spreadingFactor\":9,\"codeRate\":\"CR_4_5\"}}}],"
		"\"txPacketsPerModulation\":[{\"count\":2,\"modulation\":{\"lora\":{\"bandwidth\":125000,"
		"\"spreadingFactor\":12,\"codeRate\":\"CR_4_5\",\"polarizationInversion\":true}}}],"
		"\"txPacketsPerStatus\":{\"OK\":2,\"TOO_LATE\":1,\"NONSENSE\":7}}";
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_abp(w, d, "eu868");
	world_enqueue(w, d, 10, false, "0102");
	world_up(w, d, &PLAIN);
	world_ack_ok(w);
	world_pass(w, 10);
	const struct ns_region_config *eu868 = ns_region_config_find("eu868");
	struct ns_inbox in = {.region = eu868, .received_at_ns = rt_loop_now_ns(w->loop)};
	assert_int_equal(ns_flows_stats(w->flows, &in, lw_span_str(json)), 0);
	world_pass(w, 0);
	const struct ns_link_counts *g = &l->gateway;
	assert_int_equal(ns_link_get(g, TALLY(RX), 0), 5);
	assert_int_equal(ns_link_get(g, TALLY(TX), 0), 2);
	assert_int_equal(ns_link_get(g, TALLY(RX_FREQUENCY), 868100000), 4);
	assert_int_equal(ns_link_get(g, TALLY(TX_FREQUENCY), 869525000), 2);
	assert_int_equal(ns_link_get(g, TALLY(RX_DR), 3), 5);
	assert_int_equal(ns_link_get(g, TALLY(TX_DR), 0), 2);
	assert_int_equal(ns_link_get(g, TALLY(TX_STATUS), GW__TX_ACK_STATUS__OK), 2);
	assert_int_equal(ns_link_get(g, TALLY(TX_STATUS), GW__TX_ACK_STATUS__TOO_LATE), 1);
	assert_int_equal(g->n, 9);
	assert_int_equal(g->n_bands, 1);
	assert_true(g->band[0].min_hz <= 868100000 && g->band[0].max_hz > 868100000);
	assert_int_equal(g->band[0].max_ms, 36000);
	assert_int_equal(g->band[0].window_s, 3600);
	assert_in_range(g->band[0].used_ms, 40, 80);
	assert_int_equal(g->band[0].counted_by, 1);
}

/* A gateway that knows its duty cycle is believed: it also knows of other servers' downlinks.
 * spec: RP002-1.0.4 §2.4.2 */
static void gateway_reports_its_duty_cycle(void **state)
{
	struct links *l = *state;
	struct world *w = l->w;
	static const char json[] =
		"{\"gatewayId\":\"0102030405060701\",\"dutyCycleStats\":{\"window\":\"3600s\",\"bands\":[{"
		"\"name\":\"M\",\"frequencyMin\":868000000,\"frequencyMax\":868600000,"
		"\"loadMax\":\"36s\",\"loadTracked\":\"1.5s\"}]}}";
	struct ns_inbox in = {.region = ns_region_config_find("eu868"), .received_at_ns = rt_loop_now_ns(w->loop)};
	assert_int_equal(ns_flows_stats(w->flows, &in, lw_span_str(json)), 0);
	world_pass(w, 0);
	assert_int_equal(l->gateway.n_bands, 1);
	assert_int_equal(l->gateway.band[0].used_ms, 1500);
	assert_int_equal(l->gateway.band[0].max_ms, 36000);
	assert_int_equal(l->gateway.band[0].window_s, 3600);
	assert_int_equal(l->gateway.band[0].counted_by, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(device_counts),
		TEST(downlinks_count_with_their_end),
		TEST(gateway_counts),
		TEST(gateway_reports_its_duty_cycle),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
