/* Stories of single rows of reference-system.md 8.1 (v4) and 8.3 (v3) that no other file tells.
 * spec: TS001-1.0.4 §4.3 */
#include <string.h>

#include "common/base/hex.h"
#include "world.h"

#define DELIVERED LONGWAVE__V1__OUTCOME__DELIVERED
#define DROPPED LONGWAVE__V1__OUTCOME__DROPPED
#define R(x) LONGWAVE__V1__REASON__##x
#define KIND(x) LONGWAVE__NS__V1__EVENT__KIND_##x

static const struct up PLAIN = {.f_port = 10, .data_hex = "01", .dr = 5};
static const char *const REFUSED[] = {"TOO_LATE", "TOO_LATE", NULL};

static int setup(void **state)
{
	*state = world_new();
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

static struct world_device *joined(struct world *w, enum lw_mac_version v)
{
	struct world_device *d = world_device(w, v);
	world_join(w, d);
	return d;
}

/* The second uplink of 1.1 after the keys were confirmed: nothing of the MAC layer rides along any more. */
static struct world_device *settled_11(struct world *w)
{
	struct world_device *d = joined(w, LW_MAC_1_1_0);
	world_up(w, d, &(struct up){.f_port = 10, .data_hex = "01", .fopts_hex = "0b01", .dr = 5});
	world_ack_ok(w);
	return d;
}

/* An uplink at DR 0, by its own context. */
static void up_slow(struct world *w, struct world_device *d, const char *context)
{
	struct air air = world_air();
	struct frame f;
	air.dr = 0;
	air.context_hex = context;
	device_frame_up(&d->end, &(struct up){.f_port = 10, .data_hex = "01", .dr = 0}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
}

/* An uplink by LR-FHSS is delivered with its modulation, and answered by LoRa.
 * spec: RP002-1.0.4 §2.4: LR-FHSS data rates
 * rows: up-lrfhss */
static void lr_fhss(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	world_abp(w, d, "eu868");
	air.dr = 10;
	device_frame_up(&d->end, &(struct up){.confirmed = true, .f_port = 10, .data_hex = "01"}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	const Longwave__Ns__V1__UplinkEvent *e = world_last(w, KIND(UPLINK))->uplink;
	assert_int_equal(e->dr, 10);
	assert_int_equal(e->tx_info->modulation->parameters_case, GW__MODULATION__PARAMETERS_LR_FHSS);
	assert_int_equal(e->tx_info->modulation->lr_fhss->operating_channel_width, 336000);
	const Gw__DownlinkFrame *m = world_last_down(w);
	assert_int_equal(m->items[0]->tx_info->modulation->parameters_case, GW__MODULATION__PARAMETERS_LORA);
	assert_int_equal(m->items[0]->tx_info->frequency, 868100000);
	assert_true(world_hear(w, d, 0, 0).ack);
}

static void assert_envelope(const struct world *w, const struct world_device *d, const char *label)
{
	const Longwave__Ns__V1__JoinEvent *e = world_last(w, KIND(JOIN))->join;
	const Common__JoinServerContext *c = e->join_server_context;
	struct ns_session s = world_session(d);
	char id[2 * NS_KEY_ID_MAX + 1];
	assert_non_null(c);
	assert_string_equal(c->session_key_id, lw_hex_encode(s.session_key_id, s.session_key_id_len, id));
	if (strcmp(label, "-") == 0) {
		assert_null(c->app_s_key);
		return;
	}
	assert_string_equal(c->app_s_key->kek_label, label);
	assert_int_equal(c->app_s_key->aes_key.len, label[0] != '\0' ? 24 : 16);
	assert_memory_equal(c->app_s_key->aes_key.data, w->join_app_s_key, w->join_app_s_key_len);
}

/* [otaa_js: plain-text app_s_key, session_key_id, encrypted app_s_key; OTAA LW11: keys encrypted with KEK] What another
 * join server gives of the AppSKey goes to the application as it is; only the name of the key may be all of it. Our own
 * says nothing of it in an event. (NwkSKeys are unwrapped on the way in: test_join_client.c.)
 * spec: TS001-1.0.4 §6.2
 * rows: join-server e2e-appskey join-11-kek */
static void another_join_server(void **state)
{
	static const char *const label[] = {"", "-", "lora-app"};
	struct world *w = *state;
	for (size_t i = 0; i < 3; i++) {
		w->join_kek = label[i];
		struct world_device *d = joined(w, LW_MAC_1_0_3);
		assert_envelope(w, d, label[i]);
		if (i == 0)
			assert_memory_equal(w->join_app_s_key, d->end.keys.app_s.b, 16);
		world_up(w, d, &PLAIN);
		const Longwave__Ns__V1__UplinkEvent *e = world_last(w, KIND(UPLINK))->uplink;
		assert_memory_equal(e->session_key_id.data, world_session(d).session_key_id, e->session_key_id.len);
		d = joined(w, LW_MAC_1_1_0);
		assert_envelope(w, d, label[i]);
	}
	w->join_kek = NULL;
	joined(w, LW_MAC_1_0_3);
	assert_null(world_last(w, KIND(JOIN))->join->join_server_context);
}

/* The event names the key that decrypts it; the payload is as on the air.
 * spec: TS001-1.0.4 §4.3.3
 * rows: e2e-keyid */
static void payload_stays_encrypted(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	struct ns_session s = world_session(d);
	struct air air = world_air();
	struct frame f;
	device_frame_up(&d->end, &PLAIN, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
	const Longwave__Ns__V1__UplinkEvent *e = world_last(w, KIND(UPLINK))->uplink;
	assert_int_equal(e->session_key_id.len, s.session_key_id_len);
	assert_memory_equal(e->session_key_id.data, s.session_key_id, s.session_key_id_len);
	assert_int_equal(e->frm_payload.len, 1);
	assert_int_equal(e->frm_payload.data[0], f.b[f.n - 5]);
	assert_int_not_equal(e->frm_payload.data[0], 1);
}

/* Two MIC keys, the payload delivered.
 * spec: TS001-1.1 §4.4.2
 * rows: up-11 */
static void unconfirmed_11(void **state)
{
	struct world *w = *state;
	struct world_device *d = settled_11(w);
	size_t n = world_count(w, KIND(UPLINK));
	world_up(w, d, &PLAIN);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(world_count(w, KIND(UPLINK)), n + 1);
	assert_int_equal(world_last(w, KIND(UPLINK))->uplink->f_cnt, 1);
	assert_int_equal(world_session(d).f_cnt_up, 2);
}

/* Items use AFCntDown, one after the other; FPending says that there is more.
 * spec: TS001-1.1 §4.3.1.4, §4.3.1.5
 * rows: queue-two-11 */
static void two_items_11(void **state)
{
	struct world *w = *state;
	struct world_device *d = settled_11(w);
	uint32_t n_f_cnt = world_session(d).n_f_cnt_down;
	world_enqueue(w, d, 7, false, "01");
	world_enqueue(w, d, 7, false, "02");
	world_up(w, d, &PLAIN);
	assert_true(world_hear(w, d, 0, 0).fpending);
	world_ack_ok(w);
	world_up(w, d, &PLAIN);
	assert_false(world_hear(w, d, 0, 1).fpending);
	assert_string_equal(world_hear(w, d, 0, 1).data_hex, "02");
	world_ack_ok(w);
	assert_int_equal(world_session(d).a_f_cnt_down, 2);
	assert_int_equal(world_session(d).n_f_cnt_down, n_f_cnt);
}

/* What does not fit is dropped and said; the largest that fits waits for the MAC command before it.
 * spec: RP002-1.0.4 §2: maximum payload size
 * rows: queue-size-11 queue-mac-first-11 */
static void sizes_11(void **state)
{
	struct world *w = *state;
	struct world_device *d = settled_11(w);
	char hex[2 * 52 + 1];
	memset(hex, '1', sizeof(hex) - 1);
	hex[sizeof(hex) - 1] = '\0';
	world_enqueue(w, d, 7, false, hex);
	up_slow(w, d, "51");
	assert_int_equal(world_last(w, KIND(LOG))->log->code, 1);
	assert_int_equal(d->n_queue, 0);
	hex[2 * 51] = '\0';
	world_pass(w, 5000); /* its windows are over */
	d->rec.profile.device_status_req_interval = 1;
	world_enqueue(w, d, 7, false, hex);
	uint32_t n_f_cnt = world_session(d).n_f_cnt_down;
	up_slow(w, d, "52");
	struct heard h = world_hear(w, d, 0, n_f_cnt);
	assert_string_equal(h.fopts_hex, "06");
	assert_int_equal(h.f_port, LW_FPORT_NONE);
	assert_true(h.fpending);
	world_ack_ok(w);
	world_up(w, d, &(struct up){.f_port = 10, .fopts_hex = "06ff14", .dr = 5});
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, hex);
}

/* A gateway refuses a 1.1 downlink: its counter is free again, the item goes next time.
 * spec: TS001-1.1 §4.3.1.5
 * rows: nack-11 */
static void refused_11(void **state)
{
	struct world *w = *state;
	struct world_device *d = settled_11(w);
	world_enqueue(w, d, 7, false, "01");
	world_up(w, d, &PLAIN);
	assert_int_equal(world_session(d).a_f_cnt_down, 1);
	world_ack(w, REFUSED);
	assert_int_equal(world_session(d).a_f_cnt_down, 0);
	assert_int_equal(d->queue[0].item.state, NS_ITEM_QUEUED);
	assert_int_equal(world_last(w, KIND(LOG))->log->code, 8);
	world_up(w, d, &PLAIN);
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, "01");
}

/* A refused confirmed item waits for no acknowledgement.
 * spec: TS001-1.0.4 §4.3.1.2
 * rows: nack-confirmed */
static void refused_confirmed(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	world_enqueue(w, d, 7, true, "01");
	world_up(w, d, &PLAIN);
	world_ack(w, REFUSED);
	assert_int_equal(d->queue[0].item.state, NS_ITEM_QUEUED);
	assert_int_equal(world_count(w, KIND(ACK)), 0);
	assert_int_equal(world_session(d).n_f_cnt_down, 0);
	world_up(w, d, &PLAIN);
	assert_true(world_hear(w, d, 0, 0).confirmed);
	world_ack_ok(w);
	assert_int_equal(d->queue[0].item.state, NS_ITEM_PENDING);
	assert_int_equal(world_count(w, KIND(ACK)), 0);
}

/* A MAC answer that a gateway takes uses a counter; refused, the counter is free again. The application hears of
 * neither.
 * spec: TS001-1.0.4 §5.1
 * rows: ack-mac nack-mac */
static void mac_answer_and_gateway(void **state)
{
	static const struct up ask = {.f_port = 10, .fopts_hex = "02", .dr = 5};
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	world_up(w, d, &ask);
	assert_string_equal(world_hear(w, d, 0, 0).fopts_hex, "020f01");
	world_ack(w, REFUSED);
	assert_int_equal(world_session(d).n_f_cnt_down, 0);
	world_up(w, d, &ask);
	assert_string_equal(world_hear(w, d, 0, 0).fopts_hex, "020f01");
	world_ack_ok(w);
	assert_int_equal(world_session(d).n_f_cnt_down, 1);
	assert_int_equal(world_count(w, KIND(TX_ACK)), 0);
}

/* MAC commands off: a request on port 0 gets no answer, an answer of the device's changes nothing.
 * spec: none: setting of the network
 * rows: mac-disabled-port0 mac-internal */
static void mac_commands_off(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	w->cfg.mac_commands_disabled = true;
	world_restart(w);
	size_t downs = w->n_downs;
	world_up(w, d, &(struct up){.f_port = 0, .data_hex = "02", .dr = 5});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	world_up(w, d, &(struct up){.f_port = 10, .fopts_hex = "0307", .dr = 5});
	assert_int_equal(w->n_downs, downs);
	assert_int_equal(world_session(d).tx_power_index, 0);
}

/* Receptions carry where the gateway is.
 * spec: none: metadata
 * rows: meta-location */
static void gateway_location(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	w->gateway[0].has_location = true;
	w->gateway[0].latitude = 1.125;
	w->gateway[0].longitude = 2.25;
	w->gateway[0].altitude = 3.5;
	world_up(w, d, &PLAIN);
	const Gw__UplinkRxInfo *rx = world_last(w, KIND(UPLINK))->uplink->rx_info[0];
	assert_non_null(rx->location);
	assert_true(rx->location->latitude == 1.125 && rx->location->longitude == 2.25);
	assert_true(rx->location->altitude == 3.5);
}

/* The session remembers which gateways heard the last uplink, the strongest first, with what a downlink needs.
 * spec: none: operation
 * rows: rx-set */
static void gateways_are_remembered(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	world_gateway(w, 2);
	device_frame_up(&d->end, &PLAIN, &f);
	air.snr = -3;
	air.context_hex = "aa";
	world_receive(w, &air, &f);
	air.snr = 7;
	air.gateway = 1;
	air.context_hex = "bbcc";
	world_receive(w, &air, &f);
	world_pass(w, 400);
	struct ns_session s = world_session(d);
	assert_int_equal(s.n_rx, 2);
	assert_true(lw_gateway_id_eq(s.rx[0].gateway_id, w->gateway[1].id));
	assert_int_equal(s.rx[0].snr_ddb, 70);
	assert_memory_equal(s.rx[0].context, "\xbb\xcc", 2);
	assert_int_equal(s.rx[1].snr_ddb, -30);
}

/* A join of a device whose counters are not checked: so are those of the new session.
 * spec: none: setting of the device
 * rows: join-skip */
static void join_without_counter_check(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	d->rec.skip_f_cnt_check = true;
	world_join(w, d);
	d->end.f_cnt_up = 1000;
	world_up(w, d, &PLAIN);
	d->end.f_cnt_up = 3;
	world_up(w, d, &PLAIN);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(world_session(d).f_cnt_up, 4);
}

/* A class B device starts in class A, with the profile's ping slots, until it says that it hears the beacon.
 * spec: TS001-1.0.4 §4.3.1.7
 * rows: join-class-b join-11-class-b */
static void join_of_class_b(void **state)
{
	struct world *w = *state;
	for (int v = 0; v < 2; v++) {
		struct world_device *d = world_device(w, v == 0 ? LW_MAC_1_0_3 : LW_MAC_1_1_0);
		d->rec.profile.supports_class_b = true;
		d->rec.profile.ping_slot_periodicity = 4;
		world_join(w, d);
		assert_int_equal(world_session(d).enabled_class, LW_CLASS_A);
		assert_int_equal(world_last(w, KIND(JOIN))->enabled_class, COMMON__DEVICE_CLASS__CLASS_A);
		d->end.beacon_locked = true;
		world_up(w, d, &PLAIN);
		assert_int_equal(world_session(d).enabled_class, LW_CLASS_B);
	}
}

/* A DevNonce used before is refused for 1.1 too.
 * spec: TS001-1.1 §6.2.2
 * rows: join-nonce-11 */
static void nonce_reused_11(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_1_0);
	struct ns_session before = world_session(d);
	struct air air = world_air();
	struct frame f;
	size_t downs = w->n_downs;
	world_pass(w, 5000);
	air.context_hex = "bbbb";
	device_frame_join(&d->end, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(DEVNONCE_REUSED));
	assert_int_equal(w->n_downs, downs);
	struct ns_session after = world_session(d);
	assert_memory_equal(&before, &after, sizeof(before));
}

#define TEST(x) cmocka_unit_test_setup_teardown(x, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lr_fhss),
		TEST(payload_stays_encrypted),
		TEST(another_join_server),
		TEST(unconfirmed_11),
		TEST(two_items_11),
		TEST(sizes_11),
		TEST(refused_11),
		TEST(refused_confirmed),
		TEST(mac_answer_and_gateway),
		TEST(mac_commands_off),
		TEST(gateway_location),
		TEST(gateways_are_remembered),
		TEST(join_without_counter_check),
		TEST(join_of_class_b),
		TEST(nonce_reused_11),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
