/* The MAC layer: what the network asks of a device, when it asks again, what it learns from answers. Names in brackets:
 * scenarios of reference-system.md 8.1 (v4), 8.3 and 8.4 (v3).
 * spec: TS001-1.0.4 §5 */
#include <stdio.h>
#include <string.h>

#include "common/base/hex.h"
#include "network-server/domain/channels.h"
#include "network-server/domain/activate.h"
#include "world.h"

#define KIND(x) LONGWAVE__NS__V1__EVENT__KIND_##x

static const struct up PLAIN = {.f_port = 10, .data_hex = "01"};

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

/* An uplink with these MAC commands; what the answer's FOpts say, NULL when there is none. */
static const char *say(struct world *w, struct world_device *d, uint8_t dr, const char *fopts)
{
	static struct heard h;
	size_t downs = w->n_downs;
	struct ns_session now = world_session(d), s;
	ns_session_expected(&now, &s);
	world_up(w, d, &(struct up){.f_port = 10, .data_hex = "01", .dr = dr, .fopts_hex = fopts});
	if (w->n_downs == downs)
		return NULL;
	h = world_hear(w, d, 0, s.n_f_cnt_down);
	world_ack_ok(w);
	return h.fopts_hex;
}

#define assert_says(w, d, dr, fopts, want)                                                                             \
	do {                                                                                                           \
		const char *said_ = say(w, d, dr, fopts);                                                              \
		assert_non_null(said_);                                                                                \
		assert_string_equal(said_, want);                                                                      \
	} while (0)
#define assert_silent(w, d, dr, fopts) assert_null(say(w, d, dr, fopts))

/* [adr triggered; acknowledgement of pending adr request] and on to the weakest power
 * spec: TS001-1.0.4 §5.2
 * rows: adr adr-ack */
static void adr_to_the_end(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	d->end.adr = true;
	assert_says(w, d, 3, NULL, "0351ff0001");
	assert_says(w, d, 5, "0307", "0352ff0001");
	struct ns_session s = world_session(d);
	assert_int_equal(s.dr, 5);
	assert_int_equal(s.tx_power_index, 1);
	assert_int_equal(s.n_adr_history, 1); /* it began anew with the new setting */
	for (unsigned i = 3; i <= 7; i++) {
		char want[16];
		snprintf(want, sizeof(want), "035%uff0001", i);
		assert_says(w, d, 5, "0307", want);
	}
	assert_silent(w, d, 5, "0307");
	assert_int_equal(world_session(d).tx_power_index, 7);
	assert_silent(w, d, 5, NULL);
	assert_int_equal(world_session(d).n_mac_pending, 0);
}

/* [device has adr disabled; interval matches but node has no ADR] and off by profile or by network
 * spec: TS001-1.0.4 §4.3.1.1
 * rows: adr-off */
static void adr_off(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	assert_silent(w, d, 3, NULL);
	d->end.adr = true;
	d->rec.profile.adr.mode = NS_ADR_OFF;
	assert_silent(w, d, 3, NULL);
	d->rec.profile.adr.mode = NS_ADR_DYNAMIC;
	strcpy(d->rec.profile.adr_algorithm_id, "none");
	assert_silent(w, d, 3, NULL);
}

/* Static: these values whatever the link is like. Bounds: of the profile before the network's. */
static void adr_by_profile(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	d->end.adr = true;
	d->rec.profile.adr =
		(struct ns_adr_settings){.mode = NS_ADR_STATIC, .dr = 2, .tx_power_index = 3, .nb_trans = 2};
	assert_says(w, d, 5, NULL, "0323ff0002");
	assert_silent(w, d, 2, "0307");
	assert_int_equal(world_session(d).nb_trans, 2);
	d = joined(w, LW_MAC_1_0_3);
	d->end.adr = true;
	d->rec.profile.adr = (struct ns_adr_settings){.has_bounds = true, .min_dr = 1, .max_dr = 4};
	assert_says(w, d, 3, NULL, "0342ff0001");
}

/* A device that cannot send at all rates of the region: its channels say so, and neither ADR nor a static setting asks
 * for the others. */
static void supported_rates(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	d->rec.profile.uplink_drs = 1U << 0 | 1U << 1 | 1U << 2 | 1U << 4;
	size_t downs = w->n_downs;
	world_up(w, d, &(struct up){.f_port = 10, .dr = 5});
	assert_int_equal(w->n_downs, downs + 1);
	struct heard h = world_hear(w, d, 0, world_session(d).n_f_cnt_down - 1);
	/* 867.1, 867.3, 867.5 MHz, which came with the join: DR0 to DR4 instead of DR5; a gap cannot be said */
	assert_string_equal(h.data_hex, "0703184f84400704e85684400705b85e8440");
	world_ack_ok(w);
	assert_says(w, d, 2, "070307030703",
		    "07068866844007"
		    "07586e8440");
	d->end.adr = true;
	/* DR3 and DR5 are passed over: four steps from DR2 are two to DR4 and two of power */
	assert_says(w, d, 2, "07030703", "0342ff0001");
	d->rec.profile.adr = (struct ns_adr_settings){.mode = NS_ADR_STATIC, .dr = 3, .tx_power_index = 2};
	assert_silent(w, d, 4, "0307");
	struct ns_session s = world_session(d);
	assert_int_equal(s.dr, 4);
	assert_int_equal(s.tx_power_index, 2);
	assert_int_equal(s.user_channels[4].max_dr, 4);
	d->rec.profile.adr.dr = 1;
	assert_says(w, d, 4, NULL, "0312ff0001");
}

/* [adr backoff triggered]: a slower rate without being told: power and history are reset
 * spec: TS001-1.0.4 §4.3.1.1
 * rows: adr-backoff */
static void adr_backoff(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	d->end.adr = true;
	say(w, d, 3, NULL);
	say(w, d, 5, "0307");
	assert_int_equal(world_session(d).tx_power_index, 1);
	d->rec.profile.adr.mode = NS_ADR_OFF;
	say(w, d, 4, NULL);
	struct ns_session s = world_session(d);
	assert_int_equal(s.tx_power_index, 0);
	assert_int_equal(s.n_adr_history, 1);
	assert_int_equal(s.dr, 4);
}

/* A request without an answer goes out again after 1, 2, 4, 8 … uplinks, not with each. */
static void repeated_with_backoff(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	unsigned sent_at[8];
	unsigned n = 0;
	d->end.adr = true;
	for (unsigned i = 0; i < 64; i++)
		if (say(w, d, 5, NULL) != NULL)
			sent_at[n++] = i;
	static const unsigned want[] = {0, 1, 3, 7, 15, 31, 63};
	assert_int_equal(n, sizeof(want) / sizeof(want[0]));
	assert_memory_equal(sent_at, want, sizeof(want));
	assert_int_equal(world_session(d).mac_pending[0].tries, 7);
	/* a late answer counts, then it goes on at once */
	assert_says(w, d, 5, "0307", "0352ff0001");
	/* acknowledgements do not carry it either while it waits */
	say(w, d, 5, NULL);
	world_up(w, d, &(struct up){.f_port = 10, .confirmed = true, .dr = 5});
	assert_string_equal(world_hear(w, d, 0, world_session(d).n_f_cnt_down - 1).fopts_hex, "");
}

/* Refused by the gateways, which have too much to send: the counter is free again, the request comes later and later,
 * but not as late as one that the device leaves unanswered. */
static void not_sent_after_all(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	unsigned sent_at[8];
	unsigned n = 0;
	d->end.adr = true;
	for (unsigned i = 0; i < 64; i++) {
		size_t downs = w->n_downs;
		world_up(w, d, &(struct up){.f_port = 10, .dr = 5});
		if (w->n_downs == downs)
			continue;
		assert_string_equal(world_hear(w, d, 0, 0).fopts_hex, "0351ff0001");
		world_ack(w, (const char *const[]){"TX_FREQ", "TX_FREQ", NULL});
		sent_at[n++] = i;
	}
	static const unsigned want[] = {0, 1, 3, 7, 15, 31, 47, 63};
	assert_int_equal(n, sizeof(want) / sizeof(want[0]));
	assert_memory_equal(sent_at, want, sizeof(want));
}

/* [negative acknowledgement of pending adr request] What it refuses is not proposed again.
 * spec: TS001-1.0.4 §5.2
 * rows: adr-nack */
static void adr_refused(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	w->cfg.max_mac_command_error_count = 10;
	world_restart(w);
	d->end.adr = true;
	assert_says(w, d, 3, NULL, "0351ff0001");
	/* the power: rate 5, then, at full power */
	assert_says(w, d, 3, "0303", "0350ff0001");
	struct ns_session s = world_session(d);
	assert_int_equal(s.dr, 3);
	assert_true(ns_session_rejected(&s, NS_WHAT_LINK_POWER, 1));
	/* the rate: the next lower one */
	assert_says(w, d, 3, "0305", "0340ff0001");
	assert_silent(w, d, 4, "0307");
	assert_int_equal(world_session(d).dr, 4);
	for (unsigned i = 0; i < 5; i++)
		assert_silent(w, d, 4, NULL);
}

/* Keeps refusing: after max_mac_command_error_count no more questions of this kind. */
static void error_count(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	d->end.adr = true;
	assert_says(w, d, 3, NULL, "0351ff0001");
	assert_says(w, d, 3, "0301", "0340ff0001");
	assert_silent(w, d, 3, "0301");
	struct ns_session s = world_session(d);
	assert_int_equal(ns_session_errors(&s, LW_CID_LINK_ADR), 2);
	/* a join wipes the slate */
	world_join(w, d);
	assert_says(w, d, 3, NULL, "0351ff0001");
}

/* Full power refused, which the standard forbids: index 1 from then on. */
static void full_power_refused(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	d->end.adr = true;
	d->rec.profile.adr = (struct ns_adr_settings){.mode = NS_ADR_STATIC, .dr = 5};
	assert_says(w, d, 3, NULL, "0350ff0001");
	assert_says(w, d, 3, "0303", "0351ff0001");
	assert_silent(w, d, 5, "0307");
	assert_int_equal(world_session(d).min_tx_power_index, 1);
}

static struct air us_air(uint8_t dr, uint32_t hz)
{
	struct air air = world_air();
	air.region = "us915_0";
	air.hz = hz;
	air.dr = dr;
	return air;
}

static const char *say_us(struct world *w, struct world_device *d, uint32_t hz, const char *fopts)
{
	static struct heard h;
	size_t downs = w->n_downs;
	struct frame f;
	struct air air = us_air(hz > 902900000 && hz < 903100000 ? 4 : 3, hz);
	char context[9];
	snprintf(context, sizeof(context), "%08x", d->end.f_cnt_up + 1);
	air.context_hex = context;
	device_frame_up(&d->end, &(struct up){.f_port = 10, .fopts_hex = fopts, .dr = air.dr}, &f);
	uint32_t f_cnt = world_session(d).n_f_cnt_down;
	world_receive(w, &air, &f);
	world_pass(w, 400);
	if (w->n_downs == downs)
		return NULL;
	h = world_hear(w, d, 0, f_cnt);
	world_ack_ok(w);
	return h.f_port == 0 ? h.data_hex : h.fopts_hex;
}

static struct world_device *us_abp(struct world *w, enum lw_mac_version v)
{
	struct world_device *d = world_device(w, v);
	world_abp(w, d, "us915_0");
	d->rec.profile.region = LW_REGION_US915;
	return d;
}

/* [channel re-configuration triggered; new channel re-configuration ack-ed] with the fewest commands of the version
 * spec: TS001-1.0.4 §5.2
 * rows: mask mask-ack */
static void channel_mask(void **state)
{
	struct world *w = *state;
	struct world_device *d = us_abp(w, LW_MAC_1_0_2);
	assert_string_equal(say_us(w, d, 902300000, NULL), "03300100710330ff0001");
	assert_null(say_us(w, d, 902300000, "03070307"));
	struct ns_session s = world_session(d);
	assert_int_equal(s.enabled_channels[0], 0x00FF);
	assert_int_equal(s.enabled_channels[1], 0);
	assert_int_equal(s.enabled_channels[4], 0x0001);
	d = us_abp(w, LW_MAC_1_0_4);
	assert_string_equal(say_us(w, d, 902300000, NULL), "0330010051");
	assert_null(say_us(w, d, 902300000, "0307"));
	s = world_session(d);
	assert_int_equal(s.enabled_channels[0], 0x00FF);
	assert_int_equal(s.enabled_channels[4], 0x0001);
	/* it has all its channels again, having heard nothing for long: seen by a channel that it should not use */
	assert_string_equal(say_us(w, d, 904300000, NULL), "0330010051");
	assert_null(say_us(w, d, 902300000, "0307"));
}

/* [new channel re-configuration not ack-ed]: not asked again, and rate and power go by what it has
 * spec: TS001-1.0.4 §5.2
 * rows: mask-nack */
static void channel_mask_refused(void **state)
{
	struct world *w = *state;
	struct world_device *d = us_abp(w, LW_MAC_1_0_4);
	assert_string_equal(say_us(w, d, 902300000, NULL), "0330010051");
	assert_null(say_us(w, d, 902300000, "0306"));
	assert_int_equal(world_session(d).enabled_channels[1], 0xFFFF);
	assert_null(say_us(w, d, 902300000, NULL));
	d->end.adr = true;
	assert_string_equal(say_us(w, d, 902300000, NULL), "0331ffff01");
}

/* [channel re-configuration and adr triggered]: one request
 * spec: TS001-1.0.4 §5.2
 * rows: mask-adr */
static void channel_mask_with_adr(void **state)
{
	struct world *w = *state;
	struct world_device *d = us_abp(w, LW_MAC_1_0_4);
	d->end.adr = true;
	assert_string_equal(say_us(w, d, 902300000, NULL), "0331010051");
	assert_string_equal(say_us(w, d, 902300000, "0307"), "0332ff0001");
	struct ns_session s = world_session(d);
	assert_int_equal(s.tx_power_index, 1);
	assert_int_equal(s.enabled_channels[4], 0x0001);
}

/* Without ADR only the mask must be followed (1.0.4, 4.3.1.1): what was acknowledged counts.
 * spec: TS001-1.0.4 §4.3.1.1 */
static void adr_off_takes_mask_only(void **state)
{
	struct world *w = *state;
	struct world_device *d = us_abp(w, LW_MAC_1_0_4);
	assert_string_equal(say_us(w, d, 902300000, NULL), "0330010051");
	/* the rate acknowledged too, the power not: the rate stays that of the uplink, which RX1 follows */
	uint8_t dr = world_session(d).dr;
	assert_null(say_us(w, d, 902300000, "0303"));
	struct ns_session s = world_session(d);
	assert_int_equal(s.dr, dr);
	assert_int_equal(s.enabled_channels[1], 0);
	assert_int_equal(ns_session_errors(&s, LW_CID_LINK_ADR), 0);
}

/* [RXParamSetup ack; nack] A refused part is left as it is, the rest is asked for.
 * spec: TS001-1.0.4 §5.4 */
static void rx_params(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_0_3);
	w->cfg.max_mac_command_error_count = 5;
	world_restart(w);
	d->rec.profile.abp_rx1_dr_offset = 2;
	d->rec.profile.abp_rx2_hz = 868500000;
	world_abp(w, d, "eu868");
	struct ns_session s = world_session(d);
	struct lw_plan plan; /* has the network's channels already */
	ns_region_config_plan(ns_region_config_find("eu868"), &plan);
	memcpy(s.user_channels, plan.user, sizeof(s.user_channels));
	memcpy(s.enabled_channels, plan.enabled, sizeof(s.enabled_channels));
	world_session_put(d, &s);
	assert_says(w, d, 5, NULL, "0500d2ad84");
	/* frequency refused: offset alone; answers of this kind want a downlink in any case */
	assert_says(w, d, 5, "0506", "0500c88584" /* 868.5 MHz */);
	assert_says(w, d, 5, "0507", "");
	s = world_session(d);
	assert_int_equal(s.rx1_dr_offset, 0);
	assert_int_equal(s.rx2_hz, 868500000);
	assert_silent(w, d, 5, NULL);
	/* answers once more, as it has heard no downlink: heard, not taken twice */
	assert_says(w, d, 5, "0507", "");
}

/* [TxParamSetup (request; acked; pending missing; no band support)]
 * spec: TS001-1.0.4 §5.8 */
static void tx_params(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	d->rec.profile.mac = (struct ns_mac_settings){.has_tx_params = true, .max_eirp_dbm = 16};
	assert_silent(w, d, 5, NULL); /* not in EU868 */
	d = world_device(w, LW_MAC_1_0_3);
	d->rec.profile.region = LW_REGION_AS923;
	d->rec.profile.mac = (struct ns_mac_settings){
		.has_tx_params = true, .uplink_dwell_400ms = false, .downlink_dwell_400ms = true, .max_eirp_dbm = 15};
	world_abp(w, d, "as923");
	assert_true(world_session(d).uplink_dwell_400ms); /* so it starts */
	struct air air = world_air();
	struct frame f;
	air.region = "as923";
	air.hz = 923200000;
	device_frame_up(&d->end, &(struct up){.f_port = 10}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
	assert_non_null(strstr(world_hear(w, d, 0, 0).fopts_hex, "0924")); /* downlink dwell, 14 dBm: not above 15 */
	world_ack_ok(w);
	air.context_hex = "02";
	device_frame_up(&d->end, &(struct up){.f_port = 10, .fopts_hex = "09"}, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
	struct ns_session s = world_session(d);
	assert_false(s.uplink_dwell_400ms);
	assert_true(s.downlink_dwell_400ms);
	assert_int_equal(s.uplink_eirp_index, 4);
}

/* Settings of the profile go before the network's, each with its answer. */
static void settings(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_1_0);
	d->rec.profile.mac = (struct ns_mac_settings){
		.has_duty_cycle = true,
		.max_duty_cycle = 7,
		.has_adr_ack = true,
		.adr_ack_limit_exp = 5,
		.adr_ack_delay_exp = 4,
		.has_rejoin = true,
		.rejoin_max_time_n = 3,
		.rejoin_max_count_n = 6,
	};
	assert_says(w, d, 5, NULL,
		    "0f360407"
		    "0c54");
	/* no clock: [rejoin params: time not ok] */
	assert_silent(w, d, 5, "0f00040c");
	struct ns_session s = world_session(d);
	assert_int_equal(s.max_duty_cycle, 7);
	assert_int_equal(s.adr_ack_limit_exp, 5);
	assert_int_equal(s.adr_ack_delay_exp, 4);
	assert_true(s.rejoin_enabled);
	assert_int_equal(s.rejoin_max_count_n, 6);
	assert_int_equal(s.rejoin_max_time_n, 0);
	assert_silent(w, d, 5, NULL);
	/* 1.0: [rejoin: 1.0 ignored] */
	struct world_device *old = joined(w, LW_MAC_1_0_3);
	old->rec.profile.mac = d->rec.profile.mac;
	assert_says(w, old, 5, NULL, "0407");
	assert_silent(w, old, 5, "04");
}

/* DlChannelReq: RX1 of one channel elsewhere; refused: as before.
 * spec: TS001-1.0.4 §5.6: DlChannelReq */
static void dl_channel(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	d->rec.profile.mac.n_dl_channels = 2;
	d->rec.profile.mac.dl_channels[0].index = 0;
	d->rec.profile.mac.dl_channels[0].hz = 867100000;
	d->rec.profile.mac.dl_channels[1].index = 1;
	d->rec.profile.mac.dl_channels[1].hz = 867300000;
	assert_says(w, d, 5, NULL, "0a00184f840a01e85684");
	assert_int_equal(world_last_down(w)->items[0]->tx_info->frequency, 868100000);
	assert_says(w, d, 5, "0a030a02", ""); /* sticky: wants a downlink */
	assert_int_equal(world_last_down(w)->items[0]->tx_info->frequency, 867100000);
	struct ns_session s = world_session(d);
	assert_int_equal(s.dl_hz[0], 867100000);
	assert_int_equal(s.dl_hz[1], 0);
	assert_silent(w, d, 5, NULL);
	/* A channel that is made anew answers on its own frequency, until the device is told again. */
	d->rec.profile.mac.dl_channels[0].index = 3;
	s.dl_hz[3] = 867100000;
	s.user_channels[0].max_dr = 4;
	world_session_put(d, &s);
	assert_says(w, d, 5, NULL, "0703184f8450");
	assert_says(w, d, 5, "0703", "0a03184f84");
	assert_int_equal(world_session(d).dl_hz[3], 0);
	/* A channel that the device does not have: it would refuse, and the value would count as refused. */
	d = joined(w, LW_MAC_1_0_3);
	d->rec.profile.mac.n_dl_channels = 1;
	d->rec.profile.mac.dl_channels[0].index = 9;
	d->rec.profile.mac.dl_channels[0].hz = 867100000;
	assert_silent(w, d, 5, NULL);
	d->rec.profile.mac.dl_channels[0].index = 7;
	assert_says(w, d, 5, NULL, "0a07184f84");
	/* LoRaWAN 1.0.1 does not have the command. */
	d = joined(w, LW_MAC_1_0_1);
	d->rec.profile.mac.n_dl_channels = 1;
	d->rec.profile.mac.dl_channels[0].hz = 867100000;
	assert_silent(w, d, 5, NULL);
}

/* A 1.1 device answers NewChannelReq on the new channel: its index is part of the MIC, and the answer is behind it.
 * spec: TS001-1.1 §5.7 */
static void new_channel_used_at_once(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_1_0);
	world_up(w, d, &(struct up){.f_port = 10, .dr = 5, .fopts_hex = "0b01"});
	struct ns_session s = world_session(d);
	s.user_channels[1].hz = 0; /* 867.3 MHz, channel 4 */
	s.enabled_channels[0] &= (uint16_t) ~(1u << 4);
	world_session_put(d, &s);
	assert_says(w, d, 5, NULL, "0704e8568450");
	struct air air = world_air();
	struct frame f;
	air.hz = 867300000;
	air.context_hex = "0badcafe";
	struct up up = {.f_port = 10, .data_hex = "01", .dr = 5, .channel = 4, .fopts_hex = "0703"};
	/* another index is not what was asked */
	struct up other = up;
	other.channel = 5;
	device_frame_up(&d->end, &other, &f);
	world_receive(w, &air, &f);
	world_pass(w, 400);
	assert_outcome(w, LONGWAVE__V1__OUTCOME__DROPPED, LONGWAVE__V1__REASON__MIC_MISMATCH);
	device_frame_up(&d->end, &up, &f);
	air.context_hex = "0badcaff";
	world_receive(w, &air, &f);
	world_pass(w, 400);
	assert_outcome(w, LONGWAVE__V1__OUTCOME__DELIVERED, LONGWAVE__V1__REASON__REASON_NONE);
	assert_int_equal(world_session(d).user_channels[1].hz, 867300000);
}

/* [ping-slot channel (request; ack; nack; nothing pending)] and BeaconFreqReq
 * spec: TS001-1.0.4 §12.2, §12.3 */
static void class_b_parameters(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_0_3);
	d->rec.profile.supports_class_b = true;
	d->rec.profile.mac.beacon_hz = 869000000;
	/* the network's ping slots: the region's frequency (0), DR3 */
	assert_says(w, d, 5, NULL,
		    "1100000003"
		    "13509984");
	assert_says(w, d, 5, "11031300", ""); /* repeated until it hears something */
	struct ns_session s = world_session(d);
	assert_int_equal(s.ping_slot_dr, 3);
	assert_int_equal(s.beacon_hz, 0);
	assert_true(ns_session_rejected(&s, NS_WHAT_BEACON_HZ, 869000000));
	assert_silent(w, d, 5, NULL);
	/* another one is taken; without a setting the device goes back to the region's */
	d->rec.profile.mac.beacon_hz = 868900000;
	assert_says(w, d, 5, NULL, "13689584");
	assert_silent(w, d, 5, "1301");
	assert_int_equal(world_session(d).beacon_hz, 868900000);
	d->rec.profile.mac.beacon_hz = 0;
	assert_says(w, d, 5, NULL, "13000000");
	assert_silent(w, d, 5, "1301");
	assert_int_equal(world_session(d).beacon_hz, 0);
	d = joined(w, LW_MAC_1_0_3);
	d->rec.profile.supports_class_b = true;
	assert_says(w, d, 5, NULL, "1100000003");
	assert_says(w, d, 5, "1101", ""); /* the rate refused */
	assert_silent(w, d, 5, NULL);
	assert_int_equal(world_session(d).ping_slot_dr, 0);
}

/* [Reset (1.1)] An ABP device that lost its state: factory settings, nothing pending, nothing held against it.
 * spec: TS001-1.1 §5.1: ResetInd */
static void reset_ind(void **state)
{
	struct world *w = *state;
	struct world_device *d = world_device(w, LW_MAC_1_1_0);
	d->rec.profile.abp_rx1_delay_s = 2;
	world_abp(w, d, "eu868");
	d->end.adr = true;
	say(w, d, 5, NULL);
	struct ns_session s = world_session(d);
	s.tx_power_index = 4;
	s.rx1_delay_s = 1;
	ns_session_reject(&s, NS_WHAT_LINK_DR, 5);
	ns_session_error_add(&s, LW_CID_LINK_ADR);
	s.enabled_class = LW_CLASS_C;
	world_session_put(d, &s);
	world_up(w, d, &(struct up){.f_port = 10, .dr = 5, .fopts_hex = "0101"});
	struct heard h = world_hear(w, d, 0, 1);
	assert_int_equal(strncmp(h.f_port == 0 ? h.data_hex : h.fopts_hex, "0101", 4), 0);
	s = world_session(d);
	assert_int_equal(s.tx_power_index, 0);
	assert_int_equal(s.rx1_delay_s, 2);
	assert_int_equal(s.n_mac_rejected, 0);
	assert_int_equal(s.n_mac_errors, 0);
	assert_int_equal(s.enabled_class, LW_CLASS_A); /* until it says DeviceModeInd again */
	assert_int_equal(s.f_cnt_up, 2);               /* counters live on */
}

/* [two uplink commands (FRMPayload)] [answers to nothing] */
static void answers_to_nothing(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_1_0);
	struct ns_session before = world_session(d);
	world_up(w, d, &(struct up){.f_port = 0, .dr = 5, .data_hex = "030704070309110313010f010c"});
	struct ns_session s = world_session(d);
	assert_int_equal(s.tx_power_index, before.tx_power_index);
	assert_int_equal(s.n_mac_rejected, 0);
	assert_int_equal(s.n_mac_errors, 0);
	assert_memory_equal(s.enabled_channels, before.enabled_channels, sizeof(s.enabled_channels));
	world_up(w, d, &PLAIN);
}

static void from_outside(struct world_device *d, const char *hex)
{
	struct ns_session s = world_session(d);
	uint8_t b[64];
	int n = lw_hex_decode(hex, strlen(hex), b, sizeof(b));
	assert_int_equal(ns_session_mac_enqueue(&s, lw_span(b, (size_t)n), false), 0);
	world_session_put(d, &s);
}

/* [LW10MACCommandsDisabled: external downlink; answer forwarded] Commands from outside, known and proprietary, go as
 * they are, once; what the device says to them is an event.
 * spec: TS001-1.0.4 §5: proprietary commands
 * rows: mac-external */
static void external_commands(void **state)
{
	struct world *w = *state;
	struct world_device *d = joined(w, LW_MAC_1_1_0);
	from_outside(d, "0e0a23");
	from_outside(d, "80aabb");
	assert_says(w, d, 5, "02", "020f010e0a2380aabb"); /* after our answers */
	assert_silent(w, d, 5, NULL);
	assert_int_equal(world_session(d).mac_queue_len, 0);
	size_t events = world_count(w, KIND(MAC_COMMANDS));
	assert_silent(w, d, 5, "0480ccdd06");
	assert_int_equal(world_count(w, KIND(MAC_COMMANDS)), events + 1);
	const Longwave__Ns__V1__MacCommandsEvent *e = world_last(w, KIND(MAC_COMMANDS))->mac_commands;
	assert_int_equal(e->commands.len, 5);
	assert_memory_equal(e->commands.data, "\x04\x80\xcc\xdd\x06", 5);
	/* refused by the gateway: put back, before what came meanwhile */
	from_outside(d, "0401");
	world_up(w, d, &(struct up){.f_port = 10, .dr = 5});
	assert_int_equal(world_session(d).mac_queue_len, 0);
	from_outside(d, "0402");
	world_ack(w, (const char *const[]){"TX_FREQ", "TX_FREQ", NULL});
	assert_says(w, d, 5, NULL, "04010402");
	/* more than FOpts holds: port 0; more than may wait is refused */
	struct ns_session s = world_session(d);
	uint8_t many[NS_MAC_QUEUE_MAX] = {0x80};
	assert_int_equal(ns_session_mac_enqueue(&s, lw_span(many, sizeof(many)), false), 0);
	assert_true(ns_session_mac_enqueue(&s, lw_span(many, 1), false) < 0);
	world_session_put(d, &s);
	world_up(w, d, &(struct up){.f_port = 10, .dr = 5});
	struct heard h = world_hear(w, d, 0, world_session(d).n_f_cnt_down - 1);
	assert_int_equal(h.f_port, 0);
	assert_int_equal(strlen(h.data_hex), 2 * NS_MAC_QUEUE_MAX);
}

#define TEST(x) cmocka_unit_test_setup_teardown(x, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(adr_to_the_end),
		TEST(adr_off),
		TEST(adr_by_profile),
		TEST(supported_rates),
		TEST(adr_backoff),
		TEST(repeated_with_backoff),
		TEST(not_sent_after_all),
		TEST(adr_refused),
		TEST(error_count),
		TEST(full_power_refused),
		TEST(channel_mask),
		TEST(channel_mask_refused),
		TEST(channel_mask_with_adr),
		TEST(adr_off_takes_mask_only),
		TEST(rx_params),
		TEST(tx_params),
		TEST(settings),
		TEST(dl_channel),
		TEST(new_channel_used_at_once),
		TEST(class_b_parameters),
		TEST(reset_ind),
		TEST(answers_to_nothing),
		TEST(external_commands),
	};
	return cmocka_run_group_tests_name("network-server MAC layer", tests, NULL, NULL);
}
