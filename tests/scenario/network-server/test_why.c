/* "Why did this frame …": faults are injected one by one, and the record must name each as the cause, with its figures.
 * Every text that is looked for names what a record of another cause would not have.
 * spec: none: explanation of what befell a frame */
#include <string.h>

#include "world.h"

#define DELIVERED LONGWAVE__V1__OUTCOME__DELIVERED
#define DROPPED LONGWAVE__V1__OUTCOME__DROPPED
#define DUPLICATE LONGWAVE__V1__OUTCOME__DUPLICATE
#define PENDING LONGWAVE__V1__OUTCOME__PENDING
#define R(x) LONGWAVE__V1__REASON__##x
#define GW0 "0102030405060701"
#define GW1 "0000000000000002"

static const struct up PLAIN = {.f_port = 10, .data_hex = "01"};
static const struct up CONFIRMED = {.f_port = 10, .data_hex = "01", .confirmed = true};

static int setup(void **state)
{
	struct world *w = world_new();
	world_gateway(w, 2);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	world_free(*state);
	return 0;
}

static struct world_device *joined(struct world *w)
{
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	world_join(w, d);
	world_pass(w, 20000);
	return d;
}

static void up_by_both(struct world *w, struct world_device *d, const struct up *up, double snr1)
{
	struct air air = world_air();
	struct frame f;
	device_frame_up(&d->end, up, &f);
	air.context_hex = "aa";
	world_receive(w, &air, &f);
	air.gateway = 1;
	air.snr = snr1;
	air.context_hex = "bb";
	world_receive(w, &air, &f);
	world_pass(w, 400);
}

static void says(const Longwave__Ns__V1__Frame *f, const char *text)
{
	if (strstr(f->detail, text) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", f->detail, text);
}

static const char *step_text(const Longwave__Ns__V1__Frame *f, const char *step)
{
	for (size_t i = 0; i < f->n_steps; i++)
		if (strcmp(f->steps[i]->name, step) == 0)
			return f->steps[i]->text;
	fail_msg("no step %s", step);
	return NULL;
}

static void step_says(const Longwave__Ns__V1__Frame *f, const char *step, const char *text)
{
	if (strstr(step_text(f, step), text) == NULL)
		fail_msg("step %s: \"%s\" does not say \"%s\"", step, step_text(f, step), text);
}

/* ---- uplinks and joins: one fault, one record ---- */

static void two_with_one_address(struct world *w, struct world_device *d)
{
	struct world_device *other = world_device(w, LW_MAC_1_0_3);
	world_abp(w, other, "eu868");
	other->end.devaddr = d->end.devaddr;
	world_activate(other, "eu868");
	d->end.keys.f_nwk_s_int.b[0] ^= 1;
	world_up(w, d, &PLAIN);
}

static void wrong_key(struct world *w, struct world_device *d)
{
	d->end.keys.f_nwk_s_int.b[0] ^= 1;
	world_up(w, d, &PLAIN);
}

static void wrong_mac_version(struct world *w, struct world_device *d)
{
	d->end.is_11 = true;
	world_up(w, d, &PLAIN);
}

static void old_frame(struct world *w, struct world_device *d)
{
	d->end.f_cnt_up = 40;
	world_up(w, d, &PLAIN);
	d->end.f_cnt_up = 20;
	world_up(w, d, &PLAIN);
}

static void counter_reset(struct world *w, struct world_device *d)
{
	d->end.f_cnt_up = 1000;
	world_up(w, d, &PLAIN);
	d->end.f_cnt_up = 0;
	world_up(w, d, &PLAIN);
}

static void repeated(struct world *w, struct world_device *d)
{
	struct air air = world_air();
	struct frame f;
	d->end.f_cnt_up = 7;
	world_up(w, d, &PLAIN);
	world_pass(w, 5000);
	device_frame_again(&d->end, &PLAIN, &f);
	air.context_hex = "0a0b";
	world_receive(w, &air, &f);
	world_pass(w, 400);
}

static void address_of_ours(struct world *w, struct world_device *d)
{
	d->end.devaddr.v ^= 0x10;
	world_up(w, d, &PLAIN);
}

static void address_of_others(struct world *w, struct world_device *d)
{
	d->end.devaddr.v = 0x26011122;
	world_up(w, d, &PLAIN);
}

static void session_elsewhere(struct world *w, struct world_device *d)
{
	struct ns_session s = world_session(d);
	strcpy(s.region_config_id, "eu433");
	world_session_put(d, &s);
	world_up(w, d, &PLAIN);
}

static void session_of_no_configuration(struct world *w, struct world_device *d)
{
	struct ns_session s = world_session(d);
	strcpy(s.region_config_id, "eu868_gone");
	world_session_put(d, &s);
	world_up(w, d, &PLAIN);
}

static void profile_elsewhere(struct world *w, struct world_device *d)
{
	d->rec.profile.region = LW_REGION_IN865;
	world_up(w, d, &PLAIN);
}

static void disabled(struct world *w, struct world_device *d)
{
	d->rec.is_disabled = true;
	world_up(w, d, &PLAIN);
}

static void private_gateways(struct world *w, struct world_device *d)
{
	for (size_t i = 0; i < w->n_gateways; i++) {
		w->gateway[i].is_private_up = true;
		w->gateway[i].tenant_id.b[0] = 9;
	}
	up_by_both(w, d, &PLAIN, 5);
	/* the gateways' tenant has it on record, and not whose it was */
	const Longwave__Ns__V1__Frame *hidden = world_last_uplink(w);
	assert_int_equal(hidden->reason, R(PRIVATE_GATEWAY));
	assert_int_equal(hidden->n_rx_info, 2);
	assert_string_equal(hidden->dev_eui, "");
	says(hidden, "of another tenant");
	/* the device's has it without them */
	const Longwave__Ns__V1__Frame *own = w->frame[w->n_frames - 2];
	assert_int_equal(own->n_rx_info, 0);
	assert_string_not_equal(own->dev_eui, "");
	says(own, "private gateways of other tenants, 2 of them");
}

static void store_away(struct world *w, struct world_device *d)
{
	w->store_away = true;
	world_up(w, d, &PLAIN);
	w->store_away = false;
}

static void unknown_gateway(struct world *w, struct world_device *d)
{
	w->n_gateways = 0;
	world_up(w, d, &PLAIN);
}

static void join_request(struct world *w, struct world_device *d)
{
	struct air air = world_air();
	struct frame f;
	device_frame_join(&d->end, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
}

static void nonce_reused(struct world *w, struct world_device *d)
{
	d->end.dev_nonce = 1;
	join_request(w, d);
}

static void wrong_root_key(struct world *w, struct world_device *d)
{
	d->end.dev_nonce = 77;
	struct air air = world_air();
	struct frame f;
	device_frame_join(&d->end, &f);
	f.b[f.n - 1] ^= 4; /* the join server of this world has the device's key: so the MIC is of another one */
	world_receive(w, &air, &f);
	world_pass(w, 400);
}

static void join_server_away(struct world *w, struct world_device *d)
{
	d->end.dev_nonce = 77;
	w->join_result = NS_JOIN_UNAVAILABLE;
	join_request(w, d);
}

static void join_server_unknown(struct world *w, struct world_device *d)
{
	d->end.dev_nonce = 78;
	w->join_result = NS_JOIN_UNKNOWN_EUI;
	join_request(w, d);
}

static void no_otaa(struct world *w, struct world_device *d)
{
	d->rec.profile.supports_otaa = false;
	d->end.dev_nonce = 79;
	join_request(w, d);
}

static void unknown_eui(struct world *w, struct world_device *d)
{
	d->end.dev_eui = (struct lw_dev_eui){{0x70, 0xb3, 0xd5, 0, 0, 0, 0, 0x42}};
	join_request(w, d);
}

static void join_elsewhere(struct world *w, struct world_device *d)
{
	d->rec.profile.region = LW_REGION_US915;
	d->end.dev_nonce = 80;
	join_request(w, d);
}

static void join_other_configuration(struct world *w, struct world_device *d)
{
	strcpy(d->rec.profile.region_config_id, "eu868_other");
	d->end.dev_nonce = 81;
	join_request(w, d);
}

struct fault {
	const char *name;
	void (*inject)(struct world *w, struct world_device *d);
	Longwave__V1__Outcome outcome;
	Longwave__V1__Reason reason;
	const char *text[3];
};

static const struct fault FAULTS[] = {
	{"wrong key", wrong_key, DROPPED, R(MIC_MISMATCH), {"one session with DevAddr", "other keys"}},
	{"two with one address", two_with_one_address, DROPPED, R(MIC_MISMATCH), {"2 sessions have DevAddr"}},
	{"wrong MAC version", wrong_mac_version, DROPPED, R(MIC_MISMATCH), {"is of LoRaWAN 1.1", "of 1.0.3"}},
	{"old frame", old_frame, DROPPED, R(FCNT_REPLAY), {"FCnt 20 was used before; 41 is expected", "older"}},
	{"counter reset", counter_reset, DROPPED, R(FCNT_REPLAY), {"FCnt 0 was used before; 1001", "began anew"}},
	{"repeated", repeated, DUPLICATE, R(FCNT_RETRANSMISSION), {"FCnt 7, the last one, again"}},
	{"unknown address of ours", address_of_ours, DROPPED, R(UNKNOWN_DEVICE), {"which is one of ours"}},
	{"another network", address_of_others, DROPPED, R(UNKNOWN_DEVICE), {"26011122", "another network", "NwkID 19"}},
	{"session elsewhere",
	 session_elsewhere,
	 DROPPED,
	 R(WRONG_REGION),
	 {"configuration eu433; the", "through eu868"}},
	{"session of a configuration that is gone",
	 session_of_no_configuration,
	 DROPPED,
	 R(WRONG_REGION),
	 {"configuration eu868_gone, which is not enabled on this server", "through eu868"}},
	{"profile elsewhere", profile_elsewhere, DROPPED, R(WRONG_REGION), {"is for IN865", "through eu868 (EU868)"}},
	{"disabled", disabled, DROPPED, R(DEVICE_DISABLED), {"the device is disabled"}},
	{"private gateways", private_gateways, DROPPED, R(PRIVATE_GATEWAY), {"of another tenant"}},
	{"store away", store_away, DROPPED, R(STORAGE_UNAVAILABLE), {"the database is away"}},
	{"unknown gateway", unknown_gateway, DROPPED, R(UNKNOWN_GATEWAY), {"gateway " GW0 " is not known"}},
	{"DevNonce reused", nonce_reused, DROPPED, R(DEVNONCE_REUSED), {"DevNonce 1 was used", "flushing"}},
	{"wrong root key",
	 wrong_root_key,
	 DROPPED,
	 R(JOIN_MIC_MISMATCH),
	 {"root key", "AppKey, field nwkKey, of LoRaWAN 1.0.3"}},
	{"join server away", join_server_away, DROPPED, R(JOIN_SERVER_UNAVAILABLE), {"did not answer (JoinEUI"}},
	{"no join server",
	 join_server_unknown,
	 DROPPED,
	 R(JOIN_EUI_UNKNOWN),
	 {"no join server for this", "DevNonce 78"}},
	{"no OTAA", no_otaa, DROPPED, R(OTAA_NOT_SUPPORTED), {"does not support OTAA"}},
	{"unknown DevEUI", unknown_eui, DROPPED, R(UNKNOWN_DEVICE), {"DevEUI 70b3d50000000042", "byte order"}},
	{"join elsewhere", join_elsewhere, DROPPED, R(WRONG_REGION), {"is for US915", "through eu868 (EU868)"}},
	{"join in another configuration",
	 join_other_configuration,
	 DROPPED,
	 R(WRONG_REGION),
	 {"region configuration eu868_other only", "which is not enabled on this server", "through eu868"}},
};

/* Each in a world of its own, after an uplink that is delivered and has nothing to explain. */
static void faults_are_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(FAULTS) / sizeof(FAULTS[0]); i++) {
		const struct fault *fault = &FAULTS[i];
		struct world *w = world_new();
		world_gateway(w, 2);
		struct world_device *d = joined(w);
		world_up(w, d, &PLAIN);
		assert_outcome(w, DELIVERED, R(REASON_NONE));
		assert_string_equal(world_last_uplink(w)->detail, "");
		world_pass(w, 5000);
		size_t before = w->n_frames;
		fault->inject(w, d);
		assert_true(w->n_frames > before);
		const Longwave__Ns__V1__Frame *f = world_last_uplink(w);
		if (f->outcome != fault->outcome || f->reason != fault->reason)
			fail_msg("%s: outcome %d, reason %d (%s)", fault->name, (int)f->outcome, (int)f->reason,
				 f->detail);
		for (size_t k = 0; k < 3 && fault->text[k] != NULL; k++)
			says(f, fault->text[k]);
		/* No other fault's record could be taken for this one. */
		for (size_t k = 0; k < sizeof(FAULTS) / sizeof(FAULTS[0]); k++) {
			bool all = k != i;
			for (size_t t = 0; all && t < 3 && FAULTS[k].text[t] != NULL; t++)
				all = strstr(f->detail, FAULTS[k].text[t]) != NULL;
			if (all)
				fail_msg("%s reads like %s: %s", fault->name, FAULTS[k].name, f->detail);
		}
		world_free(w);
	}
}

/* ---- unusual, but delivered ---- */

static void missing_before_this_one(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	world_up(w, d, &PLAIN);
	d->end.f_cnt_up += 3;
	world_up(w, d, &PLAIN);
	assert_outcome(w, DELIVERED, R(REASON_NONE));
	says(world_last_uplink(w), "3 frames missing before this one (FCnt 1 to 3)");
	step_says(world_last_uplink(w), "adapt", "3 frames missing");
	world_up(w, d, &PLAIN);
	assert_string_equal(world_last_uplink(w)->detail, "");
}

static void wrong_clock(void **state)
{
	static const struct {
		int64_t clock_s, gps_s;
		const char *text;
	} v[] = {
		{20, 0, ""},
		{3600, 0,
		 "the clock of gateway " GW0 " is 3600.0 s ahead of ours, more than the 30 s allowed: its time is not"},
		{-86400, 0, "is 86400.0 s behind ours, more than the 30 s allowed: its time is not used"},
		{0, 1000000000, "behind ours, more than the 30 s allowed: its GPS time is used"},
	};
	struct world *w = *state;
	struct world_device *d = joined(w);
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct air air = world_air();
		struct frame f;
		air.clock_s = v[i].clock_s;
		air.gps_s = v[i].gps_s;
		device_frame_up(&d->end, &PLAIN, &f);
		world_receive(w, &air, &f);
		world_pass(w, 5000);
		assert_outcome(w, DELIVERED, R(REASON_NONE));
		if (v[i].text[0] == '\0') {
			assert_string_equal(world_last_uplink(w)->detail, "");
			continue;
		}
		says(world_last_uplink(w), v[i].text);
		step_says(world_last_uplink(w), "parse", v[i].text);
	}
}

static void class_b_without_profile(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	d->end.beacon_locked = true;
	world_up(w, d, &PLAIN);
	step_says(world_last_uplink(w), "mac_commands", "class B");
}

static void new_encryption_is_asked_for(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	world_up(w, d, &PLAIN);
	world_pass(w, 5000);
	world_enqueue(w, d, 7, false, "01");
	struct ns_session s = world_session(d);
	s.n_f_cnt_down += 100;
	world_session_put(d, &s);
	world_up(w, d, &PLAIN);
	step_says(world_last_uplink(w), "compose",
		  "1 queue item has to be encrypted anew: the next downlink counter is");
}

static void one_private_gateway_of_two(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	w->gateway[0].is_private_up = true;
	w->gateway[0].tenant_id.b[0] = 9;
	up_by_both(w, d, &PLAIN, 5);
	const Longwave__Ns__V1__Frame *hidden = world_last_uplink(w);
	assert_int_equal(hidden->outcome, DROPPED);
	assert_int_equal(hidden->n_rx_info, 1);
	assert_string_equal(hidden->rx_info[0]->gateway_id, GW0);
	const Longwave__Ns__V1__Frame *own = w->frame[w->n_frames - 2];
	assert_int_equal(own->outcome, DELIVERED);
	assert_int_equal(own->n_rx_info, 1);
	assert_string_equal(own->rx_info[0]->gateway_id, GW1);
}

/* ---- downlinks ---- */

static const Longwave__Ns__V1__Considered *at(const Longwave__Ns__V1__Frame *f, const char *gateway)
{
	for (size_t i = 0; i < f->n_considered; i++)
		if (strcmp(f->considered[i]->gateway_id, gateway) == 0)
			return f->considered[i];
	fail_msg("gateway %s was not considered", gateway);
	return NULL;
}

static void downlink_says_what_was_considered(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	up_by_both(w, d, &CONFIRMED, -6);
	const Longwave__Ns__V1__Frame *f = world_last_downlink_record(w);
	assert_int_equal(f->outcome, PENDING);
	assert_int_equal(f->n_considered, 2);
	const Longwave__Ns__V1__Considered *a = at(f, GW0), *b = at(f, GW1);
	assert_true(a->chosen);
	assert_int_equal(a->offer, 1);
	assert_int_equal(a->margin_ddb, 80 + 75); /* SF7 */
	assert_int_equal(a->n_verdicts, 2);
	assert_string_equal(a->verdicts[0]->window, "RX1");
	assert_string_equal(a->verdicts[1]->window, "RX2");
	assert_true(a->verdicts[0]->offered && a->verdicts[1]->offered);
	assert_string_equal(a->verdicts[0]->text, "free");
	assert_string_equal(a->verdicts[0]->answer, "");
	assert_false(b->chosen);
	assert_int_equal(b->offer, 0);
	assert_string_equal(b->verdicts[0]->text, "free, less margin");
	step_says(f, "send", GW0 " (15.5 dB): RX1 asked, RX2 asked; " GW1 " (1.5 dB) has less margin");
	world_ack(w, (const char *const[]){"COLLISION_PACKET", "OK", NULL});
	f = world_last_downlink_record(w);
	assert_int_equal(f->outcome, DELIVERED);
	assert_string_equal(at(f, GW0)->verdicts[0]->answer, "refused: it sends another frame then");
	assert_string_equal(at(f, GW0)->verdicts[1]->answer, "taken");
	assert_string_equal(step_text(f, "read"),
			    GW0 " (15.5 dB): RX1 refused: it sends another frame then, RX2 taken");
	/* of two that were asked for, the first one is enough */
	world_pass(w, 5000);
	up_by_both(w, d, &CONFIRMED, -6);
	world_ack(w, (const char *const[]){"OK", "IGNORED", NULL});
	f = world_last_downlink_record(w);
	assert_string_equal(at(f, GW0)->verdicts[1]->answer, "not needed");
	assert_string_equal(step_text(f, "read"), GW0 " (15.5 dB): RX1 taken, RX2 not needed");
}

static void busy_gateway_is_named(void **state)
{
	struct world *w = *state;
	struct world_device *a = joined(w);
	struct world_device *b = joined(w);
	struct air air = world_air();
	struct frame f;
	world_pass(w, 60000);
	device_frame_up(&a->end, &CONFIRMED, &f);
	world_receive(w, &air, &f);
	up_by_both(w, b, &CONFIRMED, 7);
	const Longwave__Ns__V1__Frame *r = world_last_downlink_record(w);
	assert_true(at(r, GW1)->chosen);
	assert_string_equal(at(r, GW0)->verdicts[0]->text, "sends something else then");
	assert_int_equal(at(r, GW0)->offer, 0);
	step_says(r, "send", GW0 " (15.5 dB): RX1 sends something else then, RX2 free");
}

/* Refused by one, taken by the other: one record, in the order in which they were asked. */
static void refused_by_one_taken_by_the_other(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	world_enqueue(w, d, 7, false, "01");
	up_by_both(w, d, &PLAIN, -6);
	uint32_t id = world_last_downlink_record(w)->downlink_id;
	world_ack(w, (const char *const[]){"TX_FREQ", "TX_POWER", NULL});
	const Longwave__Ns__V1__Frame *f = world_last_downlink_record(w);
	assert_int_equal(f->outcome, PENDING);
	assert_int_equal(f->downlink_id, id);
	assert_int_equal(at(f, GW1)->offer, 2);
	assert_true(at(f, GW1)->chosen);
	assert_false(at(f, GW0)->chosen);
	assert_string_equal(at(f, GW0)->verdicts[0]->answer, "refused: it cannot send on this frequency");
	world_ack_ok(w);
	f = world_last_downlink_record(w);
	assert_int_equal(f->outcome, DELIVERED);
	assert_int_equal(f->downlink_id, id);
	assert_string_equal(f->gateway_id, GW1);
	says(f, GW0 " (15.5 dB): RX1 refused: it cannot send on this frequency, RX2 refused: it cannot send with this "
		    "power; " GW1 " (1.5 dB): RX1 taken, RX2 not needed");
}

static void refused_by_all(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	up_by_both(w, d, &CONFIRMED, -6);
	world_ack(w, (const char *const[]){"QUEUE_FULL", "QUEUE_FULL", NULL});
	world_ack(w, (const char *const[]){"COLLISION_BEACON", "GPS_UNLOCKED", NULL});
	const Longwave__Ns__V1__Frame *f = world_last_downlink_record(w);
	assert_int_equal(f->outcome, DROPPED);
	assert_int_equal(f->reason, R(GPS_UNLOCKED));
	says(f, "its queue is full");
	says(f, "it has no GPS time");
}

static void too_late_says_by_how_much(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	for (int i = 0; i < 6; i++) {
		world_pass(w, 30000);
		size_t downs = w->n_downs;
		struct air air = world_air();
		struct frame f;
		device_frame_up(&d->end, &CONFIRMED, &f);
		world_receive(w, &air, &f);
		while (w->n_downs == downs)
			world_pass(w, 1);
		world_pass(w, 70);
		if (i < 5)
			world_ack_ok(w);
	}
	world_ack(w, (const char *const[]){"TOO_LATE", "TOO_LATE", NULL});
	const Longwave__Ns__V1__Frame *f = world_last_downlink_record(w);
	assert_int_equal(f->outcome, DROPPED);
	assert_int_equal(f->reason, R(TOO_LATE));
	/* The window closes early and the application has 100 ms; the answer to the join took 100 ms, the others 70. */
	says(f, GW0 " says it is too late: it was asked 900 ms before RX1; its round trip (p90) is 100 ms");
}

static void silent_gateway(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	world_up(w, d, &CONFIRMED);
	world_pass(w, 31000);
	const Longwave__Ns__V1__Frame *f = world_last_downlink_record(w);
	assert_int_equal(f->reason, R(GATEWAY_SILENT));
	says(f, "gateway " GW0 " did not answer within 30 s");
	assert_string_equal(at(f, GW0)->verdicts[0]->answer, "no answer");
}

static void broker_away(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	w->broker_away = true;
	world_up(w, d, &CONFIRMED);
	const Longwave__Ns__V1__Frame *f = world_last_downlink_record(w);
	assert_int_equal(f->reason, R(BROKER_UNAVAILABLE));
	says(f, "the MQTT broker is away");
	assert_int_equal(at(f, GW0)->offer, 0);
}

static void no_gateway_may_send(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	for (size_t i = 0; i < w->n_gateways; i++) {
		w->gateway[i].is_private_down = true;
		w->gateway[i].tenant_id.b[0] = 9;
	}
	up_by_both(w, d, &CONFIRMED, 5);
	const Longwave__Ns__V1__Frame *f = world_last_downlink_record(w);
	assert_int_equal(f->reason, R(NO_GATEWAY));
	says(f, "none of the 2 gateways that heard the last uplink may send");
}

static void enforce(struct world *w, struct ns_region_config *rx1_only, const struct ns_region_config **one)
{
	*rx1_only = *ns_region_config_find("eu868");
	rx1_only->rx_window = 1;
	*one = rx1_only;
	for (size_t i = 0; i < w->cfg.n_regions; i++)
		if (strcmp(w->regions[i]->id, "eu868") == 0)
			w->regions[i] = rx1_only;
	w->cfg.enforce = one;
	w->cfg.n_enforce = 1;
	world_restart(w);
}

static void duty_cycle_with_band_and_seconds(void **state)
{
	struct world *w = *state;
	struct ns_region_config rx1_only;
	const struct ns_region_config *one;
	enforce(w, &rx1_only, &one);
	struct world_device *d = joined(w);
	struct air air = world_air();
	air.dr = 0;
	for (int i = 0; i < 40; i++) {
		struct frame f;
		size_t downs = w->n_downs;
		device_frame_up(&d->end, &CONFIRMED, &f);
		world_receive(w, &air, &f);
		world_pass(w, 5000);
		if (w->n_downs > downs)
			world_ack_ok(w);
	}
	const Longwave__Ns__V1__Frame *f = world_last_downlink_record(w);
	assert_int_equal(f->reason, R(DUTY_CYCLE_OVERFLOW));
	says(f, GW0 ": duty cycle used up (868.0 to 868.6 MHz: 3");
	says(f, " of 32.4 s within the hour)"); /* 90 % of 1 % */
	step_says(f, "decide", "RX1 duty cycle used up (868.0 to 868.6 MHz");
	assert_int_equal(at(f, GW0)->offer, 0);
}

static void answer_that_took_too_long(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	w->store_ms = 1500;
	struct air air = world_air();
	struct frame f;
	device_frame_up(&d->end, &CONFIRMED, &f);
	world_receive(w, &air, &f);
	for (int i = 0; i < 10; i++)
		world_pass(w, 1000);
	const Longwave__Ns__V1__Frame *r = world_last_downlink_record(w);
	assert_int_equal(r->reason, R(TOO_LATE));
	says(r, "the last receive window was ");
	says(r, " ms ago: the answer took ");
}

/* ---- items of the queue ---- */

static const Longwave__Ns__V1__Frame *record_with(const struct world *w, Longwave__V1__Reason reason)
{
	for (size_t i = w->n_frames; i > 0; i--)
		if (!w->frame[i - 1]->uplink && w->frame[i - 1]->reason == reason)
			return w->frame[i - 1];
	fail_msg("no downlink with reason %d", (int)reason);
	return NULL;
}

static void expired_item(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	world_enqueue(w, d, 7, false, "01");
	d->queue[0].item.expires_at_ns = rt_loop_now_ns(w->loop) + 4 * INT64_C(1000000000);
	world_pass(w, 10000);
	world_up(w, d, &PLAIN);
	const Longwave__Ns__V1__Frame *f = record_with(w, R(EXPIRED));
	says(f, "expired 6.");
	assert_int_equal(f->f_port, 7);
	assert_int_equal(w->outcomes[R(EXPIRED)], 1);
}

static void item_too_large(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	char hex[2 * 100 + 1];
	memset(hex, '0', 200);
	hex[200] = '\0';
	world_enqueue(w, d, 9, false, hex);
	struct air air = world_air();
	struct frame f;
	air.dr = 0;
	device_frame_up(&d->end, &PLAIN, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
	says(record_with(w, R(PAYLOAD_SIZE)), "has 100 bytes, no more than 51 fit");
}

static void item_whose_counter_is_used(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	struct ns_session s = world_session(d);
	s.n_f_cnt_down = 20;
	world_session_put(d, &s);
	world_enqueue(w, d, 7, false, "01");
	d->queue[0].item.is_encrypted_by_caller = true;
	d->queue[0].item.first_f_cnt = 5;
	world_up(w, d, &PLAIN);
	says(record_with(w, R(FCNT_DOWN_USED)),
	     "was encrypted by its sender for FCnt 5, the next one is 20: encrypt it anew");
}

static void wrong_class_in_the_profile(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	d->rec.profile.supports_class_c = true;
	d->rec.profile.class_c_timeout_s = 8;
	world_join(w, d);
	world_up(w, d, &PLAIN);
	world_pass(w, 5000);
	world_enqueue(w, d, 7, true, "01");
	world_pass(w, 100);
	world_ack_ok(w);
	for (int i = 0; i < 20; i++)
		world_pass(w, 1000);
	const Longwave__Ns__V1__Frame *f = record_with(w, R(NOT_ACKNOWLEDGED));
	says(f, "was sent at once, as the profile's class C has it, and not acknowledged within 8 s");
	says(f, "class A does not");
}

static void not_acknowledged_by_the_uplink(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w);
	world_enqueue(w, d, 7, true, "01");
	world_up(w, d, &PLAIN);
	world_ack_ok(w);
	world_pass(w, 5000);
	world_up(w, d, &PLAIN);
	step_says(world_last_uplink(w), "acknowledge", "the confirmed downlink with FCnt 0 was not acknowledged");
}

#define TEST(x) cmocka_unit_test_setup_teardown(x, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(faults_are_named),
		TEST(missing_before_this_one),
		TEST(wrong_clock),
		TEST(class_b_without_profile),
		TEST(new_encryption_is_asked_for),
		TEST(one_private_gateway_of_two),
		TEST(downlink_says_what_was_considered),
		TEST(busy_gateway_is_named),
		TEST(refused_by_one_taken_by_the_other),
		TEST(refused_by_all),
		TEST(too_late_says_by_how_much),
		TEST(silent_gateway),
		TEST(broker_away),
		TEST(no_gateway_may_send),
		TEST(duty_cycle_with_band_and_seconds),
		TEST(answer_that_took_too_long),
		TEST(expired_item),
		TEST(item_too_large),
		TEST(item_whose_counter_is_used),
		TEST(wrong_class_in_the_profile),
		TEST(not_acknowledged_by_the_uplink),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
