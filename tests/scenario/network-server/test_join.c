/* Joins. Names in brackets: scenarios of reference-system.md 8.1 (v4: otaa_test) and 8.3 (v3: OTAA).
 * spec: TS001-1.0.4 §6.2 */
#include <string.h>

#include "network-server/domain/channels.h"
#include "network-server/domain/activate.h"
#include "world.h"

#define DELIVERED LONGWAVE__V1__OUTCOME__DELIVERED
#define DROPPED LONGWAVE__V1__OUTCOME__DROPPED
#define DUPLICATE LONGWAVE__V1__OUTCOME__DUPLICATE
#define R(x) LONGWAVE__V1__REASON__##x
#define KIND(x) LONGWAVE__NS__V1__EVENT__KIND_##x

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

static void request(struct world *w, struct world_device *d)
{
	struct frame f;
	struct air air = world_air();
	device_frame_join(&d->end, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
}

/* [join-request accepted] [+ cflist] on RX1 and RX2, 1.0.x
 * spec: TS001-1.0.4 §6.2.5, §6.2.6
 * rows: join join-cflist */
static void accepted_10(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct lw_join_accept ja;
	struct lw_cflist list;
	request(w, d);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	const Gw__DownlinkFrame *m = world_last_down(w);
	assert_int_equal(m->n_items, 2);
	assert_int_equal(m->items[0]->tx_info->timing->delay->delay->seconds, 5);
	assert_int_equal(m->items[1]->tx_info->timing->delay->delay->seconds, 6);
	assert_int_equal(m->items[0]->tx_info->frequency, 868100000);
	assert_int_equal(m->items[1]->tx_info->frequency, 869525000);
	assert_int_equal(m->items[1]->tx_info->modulation->lora->spreading_factor, 12);
	device_accept(&d->end, m->items[0]->phy_payload.data, m->items[0]->phy_payload.len, &ja);
	assert_false(ja.dl_settings.opt_neg);
	assert_int_equal(ja.rx_delay, 1);
	assert_true(ja.has_cflist);
	assert_int_equal(lw_cflist_parse(ja.cflist, &list), 0);
	assert_int_equal(list.freq_hz[0], 867100000);
	assert_int_equal(list.freq_hz[4], 867900000);
	struct ns_session s = world_session(d);
	assert_int_equal(s.devaddr.v, ja.devaddr.v);
	assert_memory_equal(s.f_nwk_s_int_key.b, d->end.keys.f_nwk_s_int.b, 16);
	assert_memory_equal(s.nwk_s_enc_key.b, d->end.keys.f_nwk_s_int.b, 16);
	assert_int_equal(s.user_channels[4].hz, 867900000);
	assert_int_equal(s.mac_version, LW_MAC_1_0_3);
	assert_int_equal(s.enabled_class, LW_CLASS_A);
	const Longwave__Ns__V1__Event *e = world_last(w, KIND(JOIN));
	assert_int_equal(e->join->session_key_id.len, 16);
	assert_null(e->join->join_server_context);
	assert_int_equal(strlen(e->dev_addr), 8);
	world_ack_ok(w);
	assert_int_equal(world_last_downlink_record(w)->f_type, COMMON__FTYPE__JOIN_ACCEPT);
	assert_int_equal(world_last_downlink_record(w)->outcome, DELIVERED);
	world_up(w, d, &(struct up){.f_port = 10});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
}

/* An uplink under the old session is committed while the join server is asked: the join goes on. */
static void conflict_is_retried(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct lw_join_accept ja;
	request(w, d);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	device_accept(&d->end, world_last_down(w)->items[0]->phy_payload.data,
		      world_last_down(w)->items[0]->phy_payload.len, &ja);
	world_ack_ok(w);
	world_pass(w, 10000);
	d->end.dev_nonce++;
	w->conflicts = 2;
	request(w, d);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_int_equal(w->conflicts, 0);
	const Gw__DownlinkFrame *m = world_last_down(w);
	device_accept(&d->end, m->items[0]->phy_payload.data, m->items[0]->phy_payload.len, &ja);
	struct ns_session s = world_session(d);
	assert_int_equal(s.devaddr.v, ja.devaddr.v);
	assert_memory_equal(s.rekey.f_nwk_s_int_key.b, d->end.keys.f_nwk_s_int.b, 16);
	world_ack_ok(w);
	world_up(w, d, &(struct up){.f_port = 10});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	s = world_session(d);
	assert_memory_equal(s.f_nwk_s_int_key.b, d->end.keys.f_nwk_s_int.b, 16);
	/* Not for ever. */
	world_pass(w, 10000);
	d->end.dev_nonce++;
	w->conflicts = 100;
	request(w, d);
	assert_outcome(w, DROPPED, R(CONFLICT));
	w->conflicts = 0;
}

/* [test_lorawan_11: accepted] and RekeyInd, DeviceModeInd [class A until DeviceModeInd]
 * spec: TS001-1.1 §6.2.2, §6.2.3, §5.10: RekeyInd, §18.1: DeviceModeInd
 * rows: join-11 join-11-class-c */
static void accepted_11(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_1_0);
	d->rec.profile.supports_class_c = true;
	world_join(w, d);
	struct ns_session s = world_session(d);
	assert_int_equal(s.mac_version, LW_MAC_1_1_0);
	assert_int_equal(s.enabled_class, LW_CLASS_A);
	assert_memory_not_equal(s.f_nwk_s_int_key.b, s.s_nwk_s_int_key.b, 16);
	world_up(w, d, &(struct up){.f_port = 10, .fopts_hex = "0b01", .dr = 5});
	assert_string_equal(world_hear(w, d, 0, 0).fopts_hex, "0b01");
	world_ack_ok(w);
	world_up(w, d, &(struct up){.f_port = 10, .fopts_hex = "2002", .dr = 5});
	assert_string_equal(world_hear(w, d, 0, 1).fopts_hex, "2002");
	assert_int_equal(world_session(d).enabled_class, LW_CLASS_C);
	world_ack_ok(w);
	world_up(w, d, &(struct up){.f_port = 10, .fopts_hex = "2000", .dr = 5});
	assert_int_equal(world_session(d).enabled_class, LW_CLASS_A);
}

/* A 1.1 device whose join server speaks 1.0 only: both run as 1.0.
 * spec: TS001-1.1 §6.2.3: OptNeg */
static void join_server_of_10(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_1_0);
	w->join_is_10 = true;
	world_join(w, d);
	assert_true(world_session(d).mac_version < LW_MAC_1_1_0);
	d->end.is_11 = false;
	world_up(w, d, &(struct up){.confirmed = true, .f_port = 10});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	assert_true(world_hear(w, d, 0, 0).ack);
}

/* [+ class-c supported]
 * spec: TS001-1.0.4 §15
 * rows: join-class-c */
static void class_c_of_10(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	d->rec.profile.supports_class_c = true;
	world_join(w, d);
	assert_int_equal(world_session(d).enabled_class, LW_CLASS_C);
	assert_int_equal(world_last(w, KIND(JOIN))->enabled_class, COMMON__DEVICE_CLASS__CLASS_C);
}

/* [dev-nonce already used] [nonce already used]
 * spec: TS001-1.0.4 §6.2.5
 * rows: join-nonce */
static void nonce_reused(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_join(w, d);
	struct ns_session before = world_session(d);
	size_t downs = w->n_downs;
	struct frame f;
	struct air air = world_air();
	world_pass(w, 5000);
	air.context_hex = "bbbb";
	device_frame_join(&d->end, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(DEVNONCE_REUSED));
	const Longwave__Ns__V1__LogEvent *log = world_last(w, KIND(LOG))->log;
	assert_int_equal(log->level, 2);
	assert_int_equal(log->code, 4);
	assert_string_equal(log->description, "DevNonce has already been used");
	assert_int_equal(log->n_context, 3);
	struct ns_session after = world_session(d);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(w->n_downs, downs);
	/* the same frame from the journal after a restart is nothing to complain about */
	size_t logs = world_count(w, KIND(LOG));
	world_restart(w);
	air.replay = true;
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DUPLICATE, R(DEVNONCE_REUSED));
	assert_int_equal(world_count(w, KIND(LOG)), logs);
	/* and so is an older one that a bridge says again, though the session is another's by now */
	world_pass(w, 5000);
	world_join(w, d);
	world_up(w, d, &(struct up){.f_port = 10});
	logs = world_count(w, KIND(LOG));
	world_pass(w, 5000);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DUPLICATE, R(LATE_COPY));
	assert_int_equal(world_count(w, KIND(LOG)), logs);
}

/* The join server is away when a device asks; it asks again, and is in. Then a bridge says the first request again,
 * whose nonce nobody has used: the device's session must stay. */
static void unanswered_request_once_more(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	d->end.dev_nonce++;
	device_frame_join(&d->end, &f);
	w->join_result = NS_JOIN_UNAVAILABLE;
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(JOIN_SERVER_UNAVAILABLE));
	w->join_result = NS_JOIN_OK;
	world_pass(w, 7000);
	world_join(w, d);
	struct ns_session before = world_session(d);
	size_t downs = w->n_downs, joins = world_count(w, KIND(JOIN));
	world_pass(w, 7000);
	air.replay = true;
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DUPLICATE, R(LATE_COPY));
	struct ns_session after = world_session(d);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(w->n_downs, downs);
	assert_int_equal(world_count(w, KIND(JOIN)), joins);
	world_up(w, d, &(struct up){.f_port = 10});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
}

static void refusals(void **state)
{
	static const struct {
		enum ns_join_result result;
		Longwave__V1__Reason reason;
	} v[] = {
		{NS_JOIN_MIC, R(JOIN_MIC_MISMATCH)},
		{NS_JOIN_UNKNOWN_DEV, R(JOIN_SERVER_REFUSED)},
		{NS_JOIN_UNKNOWN_EUI, R(JOIN_EUI_UNKNOWN)},
		{NS_JOIN_REFUSED, R(JOIN_SERVER_REFUSED)},
		{NS_JOIN_UNAVAILABLE, R(JOIN_SERVER_UNAVAILABLE)},
	};
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		w->join_result = v[i].result;
		d->end.dev_nonce++;
		request(w, d);
		assert_outcome(w, DROPPED, v[i].reason);
		assert_int_equal(world_last(w, KIND(LOG))->log->code, 4);
		assert_false(d->rec.has_session);
		/* what the application is told, and more */
		const char *told = world_last(w, KIND(LOG))->log->description;
		assert_memory_equal(world_last_uplink(w)->detail, told, strlen(told));
	}
	assert_int_equal(w->n_downs, 0);
	w->join_result = NS_JOIN_OK;
	/* a wrong MIC for real */
	d->end.app_key.b[0] ^= 1;
	struct frame f;
	struct air air = world_air();
	device_frame_join(&d->end, &f);
	d->end.app_key.b[0] ^= 1;
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(JOIN_MIC_MISMATCH));
}

/* [device disabled] and others that are not even asked about
 * spec: none: operation
 * rows: join-disabled */
static void not_asked(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct frame f;
	struct air air = world_air();
	d->rec.is_disabled = true;
	request(w, d);
	assert_outcome(w, DROPPED, R(DEVICE_DISABLED));
	d->rec.is_disabled = false;
	d->rec.profile.supports_otaa = false;
	d->end.dev_nonce++;
	request(w, d);
	assert_outcome(w, DROPPED, R(OTAA_NOT_SUPPORTED));
	d->rec.profile.supports_otaa = true;
	d->rec.profile.region = LW_REGION_US915;
	d->end.dev_nonce++;
	request(w, d);
	assert_outcome(w, DROPPED, R(WRONG_REGION));
	strcpy(d->rec.profile.region_config_id, "us915_1");
	air.region = "us915_0";
	air.hz = 902300000;
	air.dr = 3;
	d->end.dev_nonce++;
	device_frame_join(&d->end, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(WRONG_REGION));
	d->end.dev_eui.b[0] ^= 1;
	request(w, d);
	assert_outcome(w, DROPPED, R(UNKNOWN_DEVICE));
	assert_int_equal(d->n_nonces, 0);
}

/* [test_gateway_filtering] [OTAA.GatewayFiltering]
 * spec: none: private gateways
 * rows: join-private */
static void private_gateways(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	w->gateway[0].is_private_up = true;
	w->gateway[0].tenant_id.b[0] = 1;
	d->end.dev_nonce++;
	request(w, d);
	assert_outcome(w, DROPPED, R(PRIVATE_GATEWAY));
	d->rec.tenant_id.b[0] = 1;
	world_join(w, d);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
}

/* Several copies of a join-request, one answer. */
static void heard_by_two(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct frame f;
	struct air air = world_air();
	world_gateway(w, 2);
	device_frame_join(&d->end, &f);
	air.snr = -10;
	world_receive(w, &air, &f);
	air.gateway = 1;
	air.snr = -2;
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_int_equal(w->n_downs, 1);
	assert_string_equal(world_last_down(w)->gateway_id, "0000000000000002");
	assert_int_equal(d->n_nonces, 1);
}

/* US915: channel masks from 1.0.3 on; RX1 follows the channel.
 * spec: RP002-1.0.4 §2.3.2: CFList type 1 */
static void us915(void **state)
{
	struct world *w = *state;
	for (int v = 0; v < 2; v++) {
		struct world_device *d = world_device(w, v == 0 ? LW_MAC_1_0_3 : LW_MAC_1_0_2);
		struct frame f;
		struct air air = world_air();
		struct lw_join_accept ja;
		d->rec.profile.region = LW_REGION_US915;
		air.region = "us915_1";
		air.hz = 903900000 + 200000 * 2; /* channel 10 */
		air.dr = 0;
		device_frame_join(&d->end, &f);
		world_receive(w, &air, &f);
		world_pass(w, 300);
		const Gw__DownlinkFrame *m = world_last_down(w);
		assert_int_equal(m->items[0]->tx_info->frequency, 923300000 + 2 * 600000);
		assert_int_equal(m->items[0]->tx_info->modulation->lora->spreading_factor, 10);
		assert_int_equal(m->items[0]->tx_info->modulation->lora->bandwidth, 500000);
		assert_int_equal(m->items[1]->tx_info->frequency, 923300000);
		device_accept(&d->end, m->items[0]->phy_payload.data, m->items[0]->phy_payload.len, &ja);
		assert_int_equal(ja.dl_settings.rx2_dr, 8);
		assert_int_equal(ja.has_cflist, v == 0);
		struct ns_session s = world_session(d);
		assert_int_equal(s.enabled_channels[0], v == 0 ? 0xFF00 : 0xFFFF);
		assert_string_equal(s.region_config_id, "us915_1");
	}
}

/* Before 1.0.2 AU915 had the rates of US915: its DR0 was SF10. The accept's RX1 follows the device's own table.
 * spec: RP002-1.0.4 §2.8.7; LoRaWAN 1.0.1 §7.5.7 */
static void au915_by_revision(void **state)
{
	static const struct {
		enum lw_mac_version mac;
		uint8_t dr; /* of the uplink, by today's numbers */
		uint8_t rx1_sf;
	} v[] = {
		{LW_MAC_1_0_0, 2, 10}, /* its DR0 -> DR10 */
		{LW_MAC_1_0_1, 3, 9},  /* its DR1 -> DR11 */
		{LW_MAC_1_0_1, 5, 7},  /* its DR3 -> DR13 */
		{LW_MAC_1_0_1, 6, 7},  /* its DR4 -> DR13 */
		{LW_MAC_1_0_3, 2, 10}, {LW_MAC_1_0_3, 5, 7}, {LW_MAC_1_0_3, 6, 7},
	};
	struct world *w = *state;
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct world_device *d = world_device(w, v[i].mac);
		struct frame f;
		struct air air = world_air();
		d->rec.profile.region = LW_REGION_AU915;
		air.region = "au915_0";
		air.hz = v[i].dr == 6 ? 915900000 : 915200000;
		air.dr = v[i].dr;
		device_frame_join(&d->end, &f);
		world_receive(w, &air, &f);
		world_pass(w, 300);
		assert_outcome(w, DELIVERED, R(REASON_NONE));
		const Gw__DownlinkFrame *m = world_last_down(w);
		assert_int_equal(m->n_items, 2);
		assert_int_equal(m->items[0]->tx_info->frequency, 923300000);
		assert_int_equal(m->items[0]->tx_info->modulation->lora->spreading_factor, v[i].rx1_sf);
		world_ack_ok(w);
	}
}

/* Addresses in use are avoided; when none is left, that is said. */
static void addresses(void **state)
{
	struct world *w = *state;
	w->cfg.devaddr_prefix = (struct lw_devaddr_prefix){.addr = {0x01020304}, .len = 31};
	world_restart(w);
	struct world_device *a = world_device(w, LW_MAC_1_0_3);
	struct world_device *b = world_device(w, LW_MAC_1_0_3);
	struct world_device *c = world_device(w, LW_MAC_1_0_3);
	world_join(w, a);
	world_join(w, b);
	assert_int_not_equal(world_session(a).devaddr.v, world_session(b).devaddr.v);
	assert_int_equal(world_session(a).devaddr.v & ~1u, 0x01020304);
	c->end.dev_nonce++;
	request(w, c);
	assert_outcome(w, DROPPED, R(NO_DEVADDR_LEFT));
}

/* The queue over a join: flushed, or kept and encrypted for the new session. */
static void queue_over_join(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_join(w, d);
	world_enqueue(w, d, 7, true, "0102");
	world_up(w, d, &(struct up){.f_port = 10});
	world_ack_ok(w);
	assert_int_equal(d->queue[0].item.state, NS_ITEM_PENDING);
	world_join(w, d);
	assert_int_equal(d->queue[0].item.state, NS_ITEM_PENDING); /* the device may be in the old session yet */
	world_up(w, d, &(struct up){.f_port = 10});
	assert_int_equal(world_count(w, KIND(ACK)), 0);
	assert_int_equal(world_last(w, KIND(REENCRYPT))->reencrypt->next_f_cnt, 0);
	world_reencrypt(w, d);
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, "0102");
	world_ack_ok(w);
	d->rec.profile.flush_queue_on_activate = true;
	world_join(w, d);
	assert_int_equal(d->n_queue, 0);
	/* what comes after the join is for the new session and stays */
	world_enqueue(w, d, 8, false, "03");
	world_up(w, d, &(struct up){.f_port = 10});
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, "03");
}

static void up_is_delivered(struct world *w, struct world_device *d)
{
	world_up(w, d, &(struct up){.f_port = 10, .dr = 5});
	assert_outcome(w, DELIVERED, R(REASON_NONE));
}

/* A join-request that a broker, a bridge's spool or a dead replica had kept: its DevNonce is unspent, nothing says that
 * it is old, the device has joined with a later one since. Whenever it comes, the device stays in.
 * spec: LoRaWAN 1.0.3 §6.2.4: DevNonce is random */
static void late_request(void **state)
{
	struct world *w = *state;
	for (unsigned v = 0; v < 3; v++) {
		struct world_device *d = world_device(w, v == 2 ? LW_MAC_1_1_0 : LW_MAC_1_0_3);
		struct air air = world_air();
		struct frame late;
		world_join(w, d);
		up_is_delivered(w, d);
		d->end.dev_nonce += 5;
		device_frame_join(&d->end, &late);
		world_pass(w, 10000);
		world_join(w, d);
		if (v == 0)
			up_is_delivered(w, d);
		struct ns_session before = world_session(d);
		world_pass(w, 10000);
		world_receive(w, &air, &late);
		world_pass(w, 300);
		assert_outcome(w, DELIVERED, R(REASON_NONE)); /* nobody can tell */
		world_ack_ok(w);
		assert_int_equal(world_session(d).devaddr.v, before.devaddr.v);
		up_is_delivered(w, d);
		up_is_delivered(w, d);
		world_pass(w, 10000);
		struct ns_session now = world_session(d);
		world_enqueue(w, d, 7, false, "0102");
		up_is_delivered(w, d);
		assert_string_equal(world_hear(w, d, 0, ns_session_next_f_cnt_down(&now, true)).data_hex, "0102");
		world_ack_ok(w);
		struct ns_session after = world_session(d);
		assert_memory_equal(after.f_nwk_s_int_key.b, d->end.keys.f_nwk_s_int.b, 16);
		/* and joins again when it wants to */
		world_pass(w, 10000);
		d->end.dev_nonce += 50;
		world_join(w, d);
		up_is_delivered(w, d);
	}
}

/* A spool is emptied between the device's join-accept and its first uplink: as many late join-requests as there is room
 * for offers cost nothing, one more costs the session (decision 0014), whichever came first stays until then.
 * spec: LoRaWAN 1.0.3 §6.2.4: DevNonce is random */
static void many_late_requests(void **state)
{
	struct world *w = *state;
	for (unsigned n = NS_OFFERS_BEFORE; n <= NS_OFFERS_BEFORE + 1; n++) {
		struct world_device *d = world_device(w, LW_MAC_1_0_3);
		struct air air = world_air();
		struct frame late[NS_OFFERS_BEFORE + 1];
		world_join(w, d);
		up_is_delivered(w, d);
		for (unsigned i = 0; i < n; i++) {
			d->end.dev_nonce += 5;
			device_frame_join(&d->end, &late[i]);
		}
		d->end.dev_nonce += 5;
		world_pass(w, 10000);
		world_join(w, d);
		for (unsigned i = 0; i < n; i++) {
			world_pass(w, 300);
			world_receive(w, &air, &late[i]);
			world_pass(w, 300);
			assert_outcome(w, DELIVERED, R(REASON_NONE));
			world_ack_ok(w);
		}
		world_up(w, d, &(struct up){.f_port = 10, .dr = 5});
		if (n > NS_OFFERS_BEFORE) {
			assert_outcome(w, DROPPED, R(MIC_MISMATCH));
			continue;
		}
		assert_outcome(w, DELIVERED, R(REASON_NONE));
		struct ns_session s = world_session(d);
		assert_memory_equal(s.f_nwk_s_int_key.b, d->end.keys.f_nwk_s_int.b, 16);
		for (size_t i = 0; i < NS_OFFERS_BEFORE; i++)
			assert_false(s.rekey_before[i].present); /* none outlives it */
		up_is_delivered(w, d);
	}
}

/* The session of before is used until the device speaks under the new one, and not afterwards. Unasked downlinks wait
 * for that: they would be lost in the session that the device does not listen in. */
static void old_session_until_the_first_uplink(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct air air = world_air();
	struct frame f;
	d->rec.profile.supports_class_c = true;
	world_join(w, d);
	up_is_delivered(w, d);
	world_pass(w, 10000);
	struct device old = d->end;
	size_t joins = world_count(w, KIND(JOIN));
	world_join(w, d);
	assert_int_equal(world_count(w, KIND(JOIN)), joins + 1);
	struct ns_session s = world_session(d), seen;
	assert_memory_equal(s.f_nwk_s_int_key.b, old.keys.f_nwk_s_int.b, 16);
	ns_session_expected(&s, &seen);
	assert_memory_equal(seen.f_nwk_s_int_key.b, d->end.keys.f_nwk_s_int.b, 16);
	assert_int_equal(seen.f_cnt_up, 0);
	size_t downs = w->n_downs;
	world_enqueue(w, d, 7, false, "0102");
	world_pass(w, 60000);
	assert_int_equal(w->n_downs, downs);
	up_is_delivered(w, d);
	assert_int_equal(world_count(w, KIND(JOIN)), joins + 1);
	assert_string_equal(world_hear(w, d, 0, 0).data_hex, "0102");
	world_ack_ok(w);
	device_frame_up(&old, &(struct up){.f_port = 10}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_outcome(w, DROPPED, R(MIC_MISMATCH));
	/* MAC commands that were queued from outside meanwhile arrive, too. */
	world_join(w, d);
	s = world_session(d);
	assert_int_equal(ns_session_mac_enqueue(&s, lw_span("\x06", 1), false), 0);
	world_session_put(d, &s);
	up_is_delivered(w, d);
	assert_string_equal(world_hear(w, d, 0, 0).fopts_hex, "06");
	world_ack_ok(w);
	/* One that did not hear the accept goes on as before, and is sent what waits at any time. */
	struct device deaf = d->end;
	world_join(w, d);
	d->end = deaf;
	up_is_delivered(w, d);
	s = world_session(d);
	assert_false(ns_session_is_joining(&s));
	world_pass(w, 10000);
	downs = w->n_downs;
	world_enqueue(w, d, 7, false, "0304");
	world_pass(w, 1000);
	assert_int_equal(w->n_downs, downs + 1);
	assert_string_equal(world_hear(w, d, 0, 1).data_hex, "0304");
}

/* A tx-ack of the old session does not give back a counter of the new one. */
static void refusal_of_the_old_session(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_join(w, d);
	up_is_delivered(w, d);
	world_up(w, d, &(struct up){.f_port = 10, .confirmed = true});
	world_ack_ok(w);
	struct ns_session s = world_session(d);
	assert_int_equal(s.n_f_cnt_down, 1);
	/* a refused join-accept of a further join takes nothing back either */
	struct frame f;
	struct air air = world_air();
	d->end.dev_nonce++;
	device_frame_join(&d->end, &f);
	world_pass(w, 10000);
	world_receive(w, &air, &f);
	world_pass(w, 300);
	world_ack(w, (const char *const[]){"TX_POWER", "TX_POWER", NULL});
	assert_int_equal(world_session(d).n_f_cnt_down, 1);
	up_is_delivered(w, d);
}

static void store_away(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	w->store_away = true;
	request(w, d);
	assert_outcome(w, DROPPED, R(STORAGE_UNAVAILABLE));
	assert_int_equal(w->n_journal_retry, 1);
	assert_int_equal(w->n_downs, 0);
}

/* The join-accept refused by the first gateway goes to the second. */
static void accept_goes_elsewhere(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	struct frame f;
	struct air air = world_air();
	world_gateway(w, 2);
	device_frame_join(&d->end, &f);
	world_receive(w, &air, &f);
	air.gateway = 1;
	air.snr = -5;
	world_receive(w, &air, &f);
	world_pass(w, 300);
	assert_string_equal(world_last_down(w)->gateway_id, "0102030405060701");
	world_ack(w, (const char *const[]){"TX_POWER", "TX_POWER", NULL});
	assert_int_equal(w->n_downs, 2);
	assert_string_equal(world_last_down(w)->gateway_id, "0000000000000002");
	world_ack(w, (const char *const[]){"TX_POWER", "TX_POWER", NULL});
	assert_int_equal(w->n_downs, 2);
	assert_string_equal(world_last(w, KIND(LOG))->log->description, "TX_POWER");
	assert_int_equal(world_last_downlink_record(w)->reason, R(TX_POWER));
}

#define TEST(x) cmocka_unit_test_setup_teardown(x, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(accepted_10),
		TEST(conflict_is_retried),
		TEST(late_request),
		TEST(many_late_requests),
		TEST(old_session_until_the_first_uplink),
		TEST(refusal_of_the_old_session),
		TEST(accepted_11),
		TEST(join_server_of_10),
		TEST(class_c_of_10),
		TEST(nonce_reused),
		TEST(unanswered_request_once_more),
		TEST(refusals),
		TEST(not_asked),
		TEST(private_gateways),
		TEST(heard_by_two),
		TEST(us915),
		TEST(au915_by_revision),
		TEST(addresses),
		TEST(queue_over_join),
		TEST(store_away),
		TEST(accept_goes_elsewhere),
	};
	return cmocka_run_group_tests_name("network-server join", tests, NULL, NULL);
}
