/* The reference's recordings (tests/vectors/ns, from ../shared/vectors) played to our flows byte for byte: same keys,
 * same address, same join nonce. Join-accepts must be equal octet for octet; downlinks in frequency, power, modulation,
 * timing, context, flags, port, payload and MAC commands; events in kind, order and content. Downlink counters are our
 * own: each accepted downlink uses one. What is meant to differ stands in tests/vectors/intended-differences.json under
 * "ns", and an entry that no step needs is an error.
 * spec: none: the reference's recordings */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/base64.h"
#include "common/base/hex.h"
#include "common/lorawan/cipher.h"
#include "world.h"

struct replay {
	struct world *w;
	struct world_device *d;
	const char *recording;
	const char *story;
	int step;
	const struct ns_region_config *rc;
	struct json_object *differences;
	uint32_t own[2];                /* next counters: network, application (1.1) */
	int last_f_port;                /* of our last downlink */
	char item_id[16][LW_UUID_TEXT]; /* the recording's */
	struct lw_uuid own_item_id[16];
	size_t n_items;
};

static const char *str(struct json_object *o, const char *key)
{
	struct json_object *v;
	return json_object_object_get_ex(o, key, &v) ? json_object_get_string(v) : NULL;
}

static int64_t num(struct json_object *o, const char *key)
{
	struct json_object *v;
	return json_object_object_get_ex(o, key, &v) ? json_object_get_int64(v) : 0;
}

static struct json_object *get(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;
	json_object_object_get_ex(o, key, &v);
	return v;
}

static size_t len(struct json_object *array)
{
	return array == NULL ? 0 : json_object_array_length(array);
}

/* "steps": [from, to] */
static int first_of(struct json_object *e)
{
	return json_object_get_int(json_object_array_get_idx(get(e, "steps"), 0));
}

static int last_of(struct json_object *e)
{
	return json_object_get_int(json_object_array_get_idx(get(e, "steps"), 1));
}

/* The entry that allows `what` at this step. */
static struct json_object *difference(struct replay *r, const char *what)
{
	for (size_t i = 0; i < len(r->differences); i++) {
		struct json_object *e = json_object_array_get_idx(r->differences, i);
		struct json_object *step = get(e, "step");
		if (strcmp(str(e, "what"), what) != 0 || strcmp(str(e, "story"), r->story) != 0)
			continue;
		if (step != NULL && json_object_get_int(step) != r->step)
			continue;
		if (get(e, "steps") != NULL && (r->step < first_of(e) || r->step > last_of(e)))
			continue;
		if (str(e, "recording") != NULL && strcmp(str(e, "recording"), r->recording) != 0)
			continue;
		json_object_object_add(e, "used", json_object_new_boolean(1));
		return e;
	}
	return NULL;
}

#define CHECK(r, cond)                                                                                                 \
	do {                                                                                                           \
		if (!(cond))                                                                                           \
			fail_msg("%s %s step %d: %s", (r)->recording, (r)->story, (r)->step, #cond);                   \
	} while (0)

/* ---- downlinks ---- */

static size_t decode_b64(const char *text, uint8_t *out, size_t cap)
{
	int n = text == NULL ? 0 : lw_base64_decode(text, strlen(text), out, cap);
	assert_true(n >= 0);
	return (size_t)n;
}

static void compare_tx_info(struct replay *r, struct json_object *want, const Gw__DownlinkTxInfo *have)
{
	struct json_object *lora = get(get(want, "modulation"), "lora");
	struct json_object *delay = get(get(want, "timing"), "delay");
	uint8_t context[64];
	size_t n = decode_b64(str(want, "context"), context, sizeof(context));
	CHECK(r, have->frequency == num(want, "frequency"));
	CHECK(r, have->power == num(want, "power"));
	CHECK(r, have->modulation->lora->spreading_factor == num(lora, "spreadingFactor"));
	CHECK(r, have->modulation->lora->bandwidth == num(lora, "bandwidth"));
	CHECK(r, have->modulation->lora->polarization_inversion == (num(lora, "polarizationInversion") != 0));
	CHECK(r, have->modulation->lora->code_rate == GW__CODE_RATE__CR_4_5 &&
			 strcmp(str(lora, "codeRate"), "CR_4_5") == 0);
	if (delay != NULL)
		CHECK(r,
		      have->timing->delay != NULL && have->timing->delay->delay->seconds == atoi(str(delay, "delay")));
	else
		CHECK(r, have->timing->parameters_case == GW__TIMING__PARAMETERS_IMMEDIATELY);
	CHECK(r, have->context.len == n && memcmp(have->context.data, context, n) == 0);
}

static void hear_recorded(struct replay *r, struct json_object *item, struct heard *out)
{
	uint8_t phy[LW_PHY_MAX];
	const char *hex = str(item, "phy");
	int n = lw_hex_decode(hex, strlen(hex), phy, sizeof(phy));
	device_hear(&r->d->end, phy, (size_t)n, lw_get_le16(phy + 6), r->d->end.f_cnt_up - 1, out);
}

/* The difference may say what our commands are instead. */
static void compare_commands(struct replay *r, const char *want, const char *have)
{
	if (strcmp(want, have) == 0)
		return;
	struct json_object *e = difference(r, "MAC commands");
	/* An entry without "ours" is for commands of which ours are the beginning. */
	if (e != NULL && str(e, "ours") == NULL && strncmp(want, have, strlen(have)) == 0)
		return;
	if (e == NULL || str(e, "ours") == NULL || strcmp(str(e, "ours"), have) != 0)
		fail_msg("%s %s step %d: MAC commands %s instead of %s", r->recording, r->story, r->step, have, want);
}

static void compare_data_item(struct replay *r, struct json_object *want, const Gw__DownlinkFrameItem *have)
{
	struct heard a, b;
	hear_recorded(r, want, &a);
	bool application = r->d->end.is_11 && a.f_port > 0;
	device_hear(&r->d->end, have->phy_payload.data, have->phy_payload.len, r->own[application],
		    r->d->end.f_cnt_up - 1, &b);
	CHECK(r, a.confirmed == b.confirmed);
	CHECK(r, a.ack == b.ack);
	CHECK(r, a.adr == b.adr);
	CHECK(r, a.fpending == b.fpending);
	CHECK(r, a.f_port == b.f_port);
	compare_commands(r, a.fopts_hex, b.fopts_hex);
	CHECK(r, strcmp(a.data_hex, b.data_hex) == 0);
	r->last_f_port = b.f_port;
}

static void compare_join_item(struct replay *r, struct json_object *want, const Gw__DownlinkFrameItem *have)
{
	char hex[2 * LW_PHY_MAX + 1];
	struct lw_join_accept ja;
	CHECK(r, strcmp(lw_hex_encode(have->phy_payload.data, have->phy_payload.len, hex), str(want, "phy")) == 0);
	device_accept(&r->d->end, have->phy_payload.data, have->phy_payload.len, &ja);
	r->own[0] = r->own[1] = 0;
	r->last_f_port = -2;
}

static void answer(struct replay *r, struct json_object *down)
{
	const char *status[4] = {NULL};
	struct json_object *list = get(down, "answered_by_gateway");
	for (size_t i = 0; i < len(list) && i < 3; i++)
		status[i] = json_object_get_string(json_object_array_get_idx(list, i));
	bool ok = false;
	for (size_t i = 0; status[i] != NULL; i++)
		ok = ok || strcmp(status[i], "OK") == 0;
	world_ack(r->w, status);
	if (ok && r->last_f_port != -2)
		r->own[r->d->end.is_11 && r->last_f_port > 0]++;
}

/* A downlink that the reference does not send. */
static void compare_extra(struct replay *r)
{
	struct heard h;
	const Gw__DownlinkFrameItem *item = world_last_down(r->w)->items[0];
	if (item->phy_payload.data[0] == 0x20) {
		CHECK(r, difference(r, "rejoin accepted") != NULL);
		world_ack_ok(r->w);
		return;
	}
	struct json_object *sent = difference(r, "sent");
	if (sent != NULL) {
		device_hear(&r->d->end, item->phy_payload.data, item->phy_payload.len, r->own[0],
			    r->d->end.f_cnt_up - 1, &h);
		const char *commands = h.f_port == 0 ? h.data_hex : h.fopts_hex;
		if (strcmp(commands, str(sent, "ours")) != 0)
			fail_msg("%s %s step %d: sent %s", r->recording, r->story, r->step, commands);
		world_ack_ok(r->w);
		r->own[0]++;
		return;
	}
	CHECK(r, difference(r, "acknowledged again") != NULL);
	device_hear(&r->d->end, item->phy_payload.data, item->phy_payload.len, r->own[0], r->d->end.f_cnt_up - 1, &h);
	CHECK(r, h.ack && h.f_port == LW_FPORT_NONE && h.fopts_hex[0] == '\0');
	world_ack_ok(r->w);
	r->own[0]++;
}

static void compare_down(struct replay *r, struct json_object *step, size_t before)
{
	struct json_object *downs = get(step, "down");
	size_t have = r->w->n_downs - before;
	CHECK(r, len(downs) <= 1 && have <= 1);
	if (len(downs) == 0) {
		if (have == 1)
			compare_extra(r);
		return;
	}
	if (have == 0 && difference(r, "not sent") != NULL)
		return;
	struct json_object *down = json_object_array_get_idx(downs, 0);
	struct json_object *items = get(down, "items");
	bool join = strncmp(str(json_object_array_get_idx(items, 0), "phy"), "20", 2) == 0;
	CHECK(r, have == 1);
	const Gw__DownlinkFrame *m = world_last_down(r->w);
	CHECK(r, m->n_items == len(items));
	for (size_t i = m->n_items; i > 0; i--) {
		struct json_object *want = json_object_array_get_idx(items, i - 1);
		if (i == 1 || difference(r, "RX2") == NULL)
			compare_tx_info(r, get(want, "tx_info"), m->items[i - 1]->tx_info);
		if (join)
			compare_join_item(r, want, m->items[i - 1]);
		else
			compare_data_item(r, want, m->items[i - 1]);
	}
	answer(r, down);
}

/* ---- events ---- */

static const char *kind_name(const Longwave__Ns__V1__Event *e)
{
	switch (e->kind_case) {
	case LONGWAVE__NS__V1__EVENT__KIND_UPLINK:
		return "up";
	case LONGWAVE__NS__V1__EVENT__KIND_JOIN:
		return "join";
	case LONGWAVE__NS__V1__EVENT__KIND_ACK:
		return "ack";
	case LONGWAVE__NS__V1__EVENT__KIND_TX_ACK:
		return "txack";
	case LONGWAVE__NS__V1__EVENT__KIND_LOG:
		return "log";
	case LONGWAVE__NS__V1__EVENT__KIND_STATUS:
		return "status";
	default:
		return "?";
	}
}

static void compare_up(struct replay *r, struct json_object *want, const Longwave__Ns__V1__UplinkEvent *u)
{
	uint8_t data[256];
	uint8_t plain[256];
	size_t n = decode_b64(str(want, "data"), data, sizeof(data));
	CHECK(r, u->adr == (num(want, "adr") != 0));
	CHECK(r, u->dr == num(want, "dr"));
	CHECK(r, u->f_cnt == num(want, "fCnt"));
	CHECK(r, u->f_port == num(want, "fPort"));
	CHECK(r, u->confirmed == (num(want, "confirmed") != 0));
	CHECK(r, u->frm_payload.len == n);
	if (n > 0) {
		lw_cipher_frm(r->w->kc, &r->d->end.keys.app_s, LW_UP, r->d->end.devaddr, u->f_cnt, u->frm_payload.data,
			      n, plain);
		CHECK(r, memcmp(plain, data, n) == 0);
	}
	struct json_object *rx = json_object_array_get_idx(get(want, "rxInfo"), 0);
	CHECK(r, u->n_rx_info == 1);
	CHECK(r, strcmp(u->rx_info[0]->gateway_id, str(rx, "gatewayId")) == 0);
	CHECK(r, u->rx_info[0]->rssi == num(rx, "rssi"));
	CHECK(r, (int)u->rx_info[0]->snr == num(rx, "snr"));
	CHECK(r, u->tx_info->frequency == num(get(want, "txInfo"), "frequency"));
}

static void compare_item_id(struct replay *r, struct json_object *want, const char *have)
{
	char text[LW_UUID_TEXT];
	for (size_t i = 0; i < r->n_items; i++)
		if (strcmp(have, lw_uuid_print(r->own_item_id[i], text)) == 0) {
			/* "mqtt": queued over MQTT, its id was not seen */
			CHECK(r, strcmp(r->item_id[i], str(want, "queueItemId")) == 0 ||
					 strcmp(r->item_id[i], "mqtt") == 0);
			return;
		}
	fail_msg("%s %s step %d: unknown queue item %s", r->recording, r->story, r->step, have);
}

static const char *const LEVELS[] = {"INFO", "WARNING", "ERROR"};
static const char *const CODES[] = {"UNKNOWN",
				    "DOWNLINK_PAYLOAD_SIZE",
				    "UPLINK_CODEC",
				    "DOWNLINK_CODEC",
				    "OTAA",
				    "UPLINK_F_CNT_RESET",
				    "UPLINK_MIC",
				    "UPLINK_F_CNT_RETRANSMISSION",
				    "DOWNLINK_GATEWAY",
				    "RELAY_NEW_END_DEVICE",
				    "F_CNT_DOWN",
				    "EXPIRED"};

static void compare_log(struct replay *r, struct json_object *want, const Longwave__Ns__V1__LogEvent *log)
{
	CHECK(r, strcmp(str(want, "level"), LEVELS[log->level]) == 0);
	CHECK(r, strcmp(str(want, "code"), CODES[log->code]) == 0);
	CHECK(r, strcmp(str(want, "description"), log->description) == 0);
	struct json_object *context = get(want, "context");
	CHECK(r, log->n_context == (size_t)json_object_object_length(context));
	for (size_t i = 0; i < log->n_context; i++) {
		const char *v = str(context, log->context[i]->key);
		CHECK(r, v != NULL);
		if (strcmp(log->context[i]->key, "deduplication_id") != 0)
			CHECK(r, strcmp(v, log->context[i]->value) == 0);
	}
}

static void compare_event(struct replay *r, struct json_object *want, const Longwave__Ns__V1__Event *e)
{
	struct json_object *json = get(want, "json");
	const char *topic = strrchr(str(want, "topic"), '/') + 1;
	CHECK(r, strcmp(topic, kind_name(e)) == 0);
	if (str(json, "devAddr") != NULL)
		CHECK(r, strcmp(str(json, "devAddr"), e->dev_addr) == 0);
	if (str(json, "regionConfigId") != NULL)
		CHECK(r, strcmp(str(json, "regionConfigId"), e->region_config_id) == 0);
	switch (e->kind_case) {
	case LONGWAVE__NS__V1__EVENT__KIND_UPLINK:
		compare_up(r, json, e->uplink);
		break;
	case LONGWAVE__NS__V1__EVENT__KIND_LOG:
		compare_log(r, json, e->log);
		break;
	case LONGWAVE__NS__V1__EVENT__KIND_ACK:
		CHECK(r, e->ack->acknowledged == (num(json, "acknowledged") != 0));
		compare_item_id(r, json, e->ack->queue_item_id);
		break;
	case LONGWAVE__NS__V1__EVENT__KIND_TX_ACK:
		compare_item_id(r, json, e->tx_ack->queue_item_id);
		CHECK(r, e->tx_ack->f_cnt_down == r->own[r->d->end.is_11] - 1);
		break;
	default:
		break;
	}
}

static void compare_events(struct replay *r, struct json_object *step, size_t before)
{
	struct json_object *want = get(step, "events");
	if (r->w->n_events == before + 1 && len(want) == 0 &&
	    r->w->event[before]->kind_case == LONGWAVE__NS__V1__EVENT__KIND_PROPRIETARY &&
	    difference(r, "proprietary event") != NULL)
		return;
	size_t n = r->w->n_events - before;
	if (n == len(want) + 1 &&
	    r->w->event[before + n - 1]->kind_case == LONGWAVE__NS__V1__EVENT__KIND_MAC_COMMANDS &&
	    difference(r, "MAC commands event") != NULL)
		n--;
	CHECK(r, n == len(want));
	for (size_t i = 0; i < len(want); i++)
		compare_event(r, json_object_array_get_idx(want, i), r->w->event[before + i]);
}

/* ---- steps ---- */

static void play_up(struct replay *r, struct json_object *up)
{
	struct air air = world_air();
	struct frame f;
	struct lw_modulation mod = {.kind = LW_MOD_LORA,
				    .bw_hz = (uint32_t)num(up, "bandwidth"),
				    .sf = (uint8_t)num(up, "spreading_factor")};
	const char *hex = str(up, "phy");
	int n = lw_hex_decode(hex, strlen(hex), f.b, sizeof(f.b));
	assert_true(n >= 0);
	f.n = (size_t)n;
	air.region = r->rc->id;
	air.hz = (uint32_t)num(up, "frequency");
	air.dr = (uint8_t)num(up, "dr");
	CHECK(r, lw_region_dr_index(lw_region_by_id(r->rc->region), LW_UP, &mod) == air.dr);
	air.rssi = (int)num(up, "rssi");
	air.snr = json_object_get_double(get(up, "snr"));
	air.context_hex = str(up, "context");
	air.gps_s = 1398600018;
	if (f.n >= 12 && (f.b[0] == 0x40 || f.b[0] == 0x80))
		r->d->end.f_cnt_up = lw_get_le16(f.b + 6) + 1u;
	world_receive(r->w, &air, &f);
	world_pass(r->w, 400);
}

static void play_enqueue(struct replay *r, struct json_object *step)
{
	struct json_object *e = get(step, "enqueue");
	const char *id = str(step, "id");
	if (strncmp(id, "INVALID_ARGUMENT", 16) == 0)
		return; /* the application server's business */
	assert_true(r->n_items < 16);
	strncpy(r->item_id[r->n_items], id, LW_UUID_TEXT - 1);
	r->own_item_id[r->n_items++] =
		world_enqueue(r->w, r->d, (uint8_t)num(e, "f_port"), num(e, "confirmed") != 0, str(e, "data"));
}

static void key(struct json_object *o, const char *name, struct lw_key *out)
{
	assert_int_equal(lw_key_parse(out, str(o, name)), 0);
}

static enum lw_mac_version version_of(struct json_object *story)
{
	const char *v = str(story, "mac_version");
	return strcmp(v, "LORAWAN_1_1_0") == 0   ? LW_MAC_1_1_0
	       : strcmp(v, "LORAWAN_1_0_2") == 0 ? LW_MAC_1_0_2
						 : LW_MAC_1_0_3;
}

static void take_profile(struct replay *r, struct json_object *p)
{
	struct ns_profile *out = &r->d->rec.profile;
	out->region = r->rc->region;
	out->supports_otaa = num(p, "supportsOtaa") != 0;
	out->supports_class_c = num(p, "supportsClassC") != 0;
	out->class_c_timeout_s = (uint32_t)num(p, "classCTimeout");
	out->abp_rx1_delay_s = (uint8_t)num(p, "abpRx1Delay");
	out->abp_rx1_dr_offset = (uint8_t)num(p, "abpRx1DrOffset");
	out->abp_rx2_hz = (uint32_t)num(p, "abpRx2Freq");
	strncpy(out->adr_algorithm_id, str(p, "adrAlgorithmId"), sizeof(out->adr_algorithm_id) - 1);
}

static void activate(struct replay *r, struct json_object *a)
{
	struct lw_session_keys *k = &r->d->end.keys;
	key(a, "nwk_s_key", &k->f_nwk_s_int);
	k->s_nwk_s_int = k->nwk_s_enc = k->f_nwk_s_int;
	key(a, "app_s_key", &k->app_s);
	assert_int_equal(lw_devaddr_parse(&r->d->end.devaddr, str(a, "dev_addr")), 0);
	world_activate(r->d, r->rc->id);
}

/* The join-accept is the recording's when the address is drawn from a block of one. */
static void join_with(struct replay *r, struct json_object *story)
{
	struct json_object *keys = get(story, "keys");
	struct json_object *joined = get(json_object_array_get_idx(get(story, "steps"), 0), "device");
	assert_int_equal(lw_join_eui_parse(&r->d->rec.join_eui, str(keys, "join_eui")), 0);
	r->d->end.join_eui = r->d->rec.join_eui;
	key(keys, "app_key", &r->d->end.app_key);
	key(keys, "nwk_key", &r->d->end.nwk_key);
	r->w->cfg.devaddr_prefix.len = 32;
	assert_int_equal(lw_devaddr_parse(&r->w->cfg.devaddr_prefix.addr, str(joined, "dev_addr")), 0);
	world_restart(r->w);
}

static void play_step(struct replay *r, struct json_object *step)
{
	size_t downs = r->w->n_downs;
	size_t events = r->w->n_events;
	if (get(step, "up") != NULL) {
		/* The nonce is in the frame: octets 17 and 18 of a join-request. */
		const char *hex = str(get(step, "up"), "phy");
		uint8_t nonce[2];
		if (strlen(hex) == 46 && strncmp(hex, "00", 2) == 0 && lw_hex_decode(hex + 34, 4, nonce, 2) == 2)
			r->d->end.dev_nonce = lw_get_le16(nonce);
		r->d->end.asked = LW_JOIN_REQ_JOIN;
		play_up(r, get(step, "up"));
	}
	if (get(step, "enqueue") != NULL)
		play_enqueue(r, step);
	compare_down(r, step, downs);
	/* An uplink's windows pass; after an item was queued, the next step follows at once. */
	world_pass(r->w, get(step, "up") != NULL ? 4600 : 400 + (uint32_t)num(step, "pause_s") * 1000);
	compare_events(r, step, events);
}

static void play_story(const char *recording, struct json_object *story, struct json_object *differences)
{
	struct replay r = {.recording = recording, .story = str(story, "story"), .differences = differences};
	struct json_object *steps = get(story, "steps");
	bool is_11 = version_of(story) == LW_MAC_1_1_0;
	r.w = world_new();
	r.rc = ns_region_config_find(str(story, "region_config"));
	assert_non_null(r.rc);
	r.d = world_device(r.w, version_of(story));
	take_profile(&r, get(story, "profile"));
	assert_int_equal(lw_dev_eui_parse(&r.d->rec.dev_eui, str(story, "dev_eui")), 0);
	assert_int_equal(lw_gateway_id_parse(&r.w->gateway[0].id, str(story, "gateway_id")), 0);
	r.d->end.dev_eui = r.d->rec.dev_eui;
	if (get(story, "activation") != NULL)
		activate(&r, get(story, "activation"));
	else
		join_with(&r, story);
	for (size_t i = 0; i < len(steps); i++) {
		r.step = (int)i;
		play_step(&r, json_object_array_get_idx(steps, i));
		if (r.w->cfg.devaddr_prefix.len == 32) {
			r.w->cfg.devaddr_prefix.len = 0;
			world_restart(r.w);
		}
	}
	struct json_object *end = get(story, "activation_at_end");
	assert_int_equal(world_session(r.d).f_cnt_up, num(end, "fCntUp"));
	if (is_11)
		assert_int_equal(world_session(r.d).a_f_cnt_down, num(end, "aFCntDown"));
	assert_int_equal(world_session(r.d).n_f_cnt_down, r.own[0]);
	world_free(r.w);
}

static void play(const char *file, const char *name)
{
	struct json_object *all = json_object_from_file(LW_SOURCE_DIR "/tests/vectors/intended-differences.json");
	struct json_object *rec = json_object_from_file(file);
	assert_non_null(all);
	assert_non_null(rec);
	struct json_object *differences = get(all, "ns");
	struct json_object *stories = get(rec, "stories");
	assert_int_equal(len(stories), 6);
	for (size_t i = 0; i < len(stories); i++)
		play_story(name, json_object_array_get_idx(stories, i), differences);
	for (size_t i = 0; i < len(differences); i++) {
		struct json_object *e = json_object_array_get_idx(differences, i);
		if (str(e, "recording") != NULL && strcmp(str(e, "recording"), name) != 0)
			continue;
		if (get(e, "used") == NULL)
			fail_msg("no step of %s needs the difference: %s", name, json_object_to_json_string(e));
		assert_non_null(str(e, "reason"));
	}
	json_object_put(rec);
	json_object_put(all);
}

static void replay(void **state)
{
	const char *name = *state;
	char file[256];
	snprintf(file, sizeof(file), LW_SOURCE_DIR "/tests/vectors/%s.json", name);
	play(file, name);
}

#define RECORDING(name)                                                                                                \
	{                                                                                                              \
		name, replay, NULL, NULL, (void *)(uintptr_t)name                                                      \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RECORDING("ns/eu868"), RECORDING("ns/us915_0"), RECORDING("ns/au915_0"),
		RECORDING("ns/cn779"), RECORDING("ns/eu433"),   RECORDING("ns/in865"),
	};
	return cmocka_run_group_tests_name("network-server replay of recordings", tests, NULL, NULL);
}
