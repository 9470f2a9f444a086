#include "network-server/regions.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/xmalloc.h"
#include "network-server/domain/session.h"

#define OFF(m) offsetof(struct ns_conf_region, m)
#define TEXT(key_, member_, sentence_)                                                                                 \
	{                                                                                                              \
		.key = (key_), .type = CONF_STR, .offset = OFF(member_), .def = "", .sentence = (sentence_)            \
	}
/* -1: as in the base. */
#define NUMBER(key_, member_, max_, sentence_)                                                                         \
	{                                                                                                              \
		.key = (key_), .type = CONF_INT, .offset = OFF(member_), .def = "-1", .min = -1, .max = (max_),        \
		.sentence = (sentence_)                                                                                \
	}
#define HERTZ(key_, member_, sentence_)                                                                                \
	{                                                                                                              \
		.key = (key_), .type = CONF_UINT, .offset = OFF(member_), .def = "0", .max = UINT32_MAX, .unit = "Hz", \
		.sentence = (sentence_)                                                                                \
	}
#define CHOICE(key_, member_, sentence_)                                                                               \
	{                                                                                                              \
		.key = (key_), .type = CONF_ENUM, .offset = OFF(member_), .def = "default", .names = choices,          \
		.sentence = (sentence_)                                                                                \
	}

static const char *const choices[] = {"default", "true", "false", NULL};

static const struct conf_item channel_items[] = {
	{.key = "frequency",
	 .type = CONF_UINT,
	 .offset = offsetof(struct ns_conf_channel, frequency),
	 .def = "0",
	 .max = UINT32_MAX,
	 .unit = "Hz",
	 .flags = CONF_REQUIRED,
	 .sentence = "Of uplinks, and of RX1."},
	{.key = "min_dr",
	 .type = CONF_INT,
	 .offset = offsetof(struct ns_conf_channel, min_dr),
	 .def = "-1",
	 .min = -1,
	 .max = 15,
	 .sentence = "Lowest data rate; -1: the region's of such channels."},
	{.key = "max_dr",
	 .type = CONF_INT,
	 .offset = offsetof(struct ns_conf_channel, max_dr),
	 .def = "-1",
	 .min = -1,
	 .max = 15,
	 .sentence = "Highest data rate; -1: the region's of such channels."},
};
static const struct conf_table channel_table = CONF_TABLE(channel_items, struct ns_conf_channel, NULL);

static const struct conf_item items[] = {
	{.key = "id",
	 .type = CONF_STR,
	 .offset = OFF(id),
	 .def = "",
	 .flags = CONF_REQUIRED,
	 .sentence = "The configuration that is changed (eu868), or the name of a new one."},
	TEXT("base", base, "Ready-made configuration that a new one starts from; empty: the one of this name."),
	TEXT("description", description, "For the user interface."),
	TEXT("topic_prefix", topic_prefix, "Of its gateways' MQTT topics; empty: the name of a new one."),
	NUMBER("installation_margin", installation_margin, 40, "ADR leaves so many dB."),
	NUMBER("rx_window", rx_window, 2, "0: RX1, then RX2; 1: RX1 only; 2: RX2 only."),
	NUMBER("rx1_delay", rx1_delay, 15, "Seconds from an uplink to RX1; 0 counts as 1."),
	NUMBER("rx1_dr_offset", rx1_dr_offset, 7, "By this RX1 is slower than the uplink."),
	NUMBER("rx2_dr", rx2_dr, 15, "Data rate of RX2."),
	HERTZ("rx2_frequency", rx2_frequency, "Of RX2."),
	NUMBER("rx2_prefer_on_rx1_dr_lt", rx2_prefer_on_rx1_dr_lt, 15,
	       "RX2 goes first where RX1 would have a lower data rate than this."),
	CHOICE("rx2_prefer_on_link_budget", rx2_prefer_on_link_budget,
	       "RX2 goes first where its link budget is larger."),
	NUMBER("gateway_prefer_min_margin", gateway_prefer_min_margin, 100,
	       "Gateways with so many dB to spare share the downlinks."),
	NUMBER("downlink_tx_power", downlink_tx_power, 36,
	       "EIRP of gateways in dBm, at most what the region allows; -1: as much as the region allows."),
	CHOICE("mac_commands_disabled", mac_commands_disabled, "Neither answer nor send MAC commands."),
	CHOICE("adr_disabled", adr_disabled, "Devices keep their data rate and power."),
	NUMBER("min_dr", min_dr, 15, "ADR goes no lower."),
	NUMBER("max_dr", max_dr, 15, "ADR goes no higher."),
	CHOICE("repeater_compatible", repeater_compatible, "Payloads that fit through a repeater."),
	CHOICE("dwell_time_400ms", dwell_time_400ms, "Payloads and downlinks of at most 400 ms."),
	CHOICE("force_gws_private", force_gws_private, "Every gateway hears its own tenant's devices only."),
	NUMBER("class_b.ping_slot_dr", class_b_ping_slot_dr, 15, "Data rate of ping slots."),
	HERTZ("class_b.ping_slot_frequency", class_b_ping_slot_frequency, "Of ping slots; 0: the region's hopping."),
	HERTZ("class_b.beacon_frequency", beacon_frequency, "BeaconFreqReq; 0: not sent."),
	NUMBER("max_duty_cycle", max_duty_cycle, 15, "DutyCycleReq: devices send 1/2^n of the time; -1: not sent."),
	NUMBER("adr_ack_limit_exp", adr_ack_limit_exp, 15,
	       "ADRParamSetupReq: after 2^n uplinks devices ask for a downlink; with adr_ack_delay_exp. -1: not sent."),
	NUMBER("adr_ack_delay_exp", adr_ack_delay_exp, 15, "ADRParamSetupReq: after 2^n more they slow down."),
	NUMBER("uplink_max_eirp", uplink_max_eirp, 36,
	       "TxParamSetupReq, where the region has it: at most so many dBm, from 8 on; -1: not sent."),
	CHOICE("uplink_dwell_time_400ms", uplink_dwell_time_400ms, "TxParamSetupReq; with uplink_max_eirp."),
	CHOICE("downlink_dwell_time_400ms", downlink_dwell_time_400ms, "TxParamSetupReq; with uplink_max_eirp."),
	NUMBER("rejoin_request.max_time_n", rejoin_max_time_n, 15,
	       "RejoinParamSetupReq: a rejoin-request every 2^(n+10) s; with max_count_n. -1: not sent."),
	NUMBER("rejoin_request.max_count_n", rejoin_max_count_n, 15,
	       "RejoinParamSetupReq: a rejoin-request every 2^(n+4) uplinks."),
	CHOICE("keep_extra_channels", keep_extra_channels,
	       "Those of the base stay, extra_channels come after them; false: extra_channels only."),
	{.key = "extra_channels",
	 .type = CONF_LIST,
	 .offset = OFF(extra_channels),
	 .sub = &channel_table,
	 .max = NS_EXTRA_CHANNELS,
	 .sentence = "Uplink channels beyond the region's default ones, where the plan is not fixed."},
	{.key = "enabled_uplink_channels",
	 .type = CONF_STR_LIST,
	 .offset = OFF(enabled_uplink_channels),
	 .max = LW_PLAN_CHANNELS,
	 .sentence = "Channels that devices use, by index: 8-15, 65; empty: as in the base. The region's default "
		     "channels come first, extra ones behind them."},
};
const struct conf_table ns_conf_region_table = CONF_TABLE(items, struct ns_conf_region, NULL);

/* ---- one configuration ---- */

struct making {
	const struct ns_conf_region *in;
	const struct lw_region *region;
	struct ns_region_config *rc;
	struct lw_diag *diag;
};

static int __attribute__((format(printf, 3, 4)))
wrong(const struct making *m, const char *setting, const char *fmt, ...)
{
	char text[160];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	lw_diag_set(m->diag, "network.regions: %s: %s %s", m->in->id, setting, text);
	return LW_EINVAL;
}

static void set_u8(int64_t v, uint8_t *out)
{
	if (v >= 0)
		*out = (uint8_t)v;
}

static void set_choice(int v, bool *out)
{
	if (v != NS_CONF_AS_BASE)
		*out = v == NS_CONF_YES;
}

static void take_plain(const struct making *m)
{
	const struct ns_conf_region *in = m->in;
	struct ns_region_config *rc = m->rc;
	rc->id = in->id;
	if (in->base[0]) {
		rc->topic_prefix = in->id;
		rc->description = in->id;
	}
	if (in->topic_prefix[0])
		rc->topic_prefix = in->topic_prefix;
	if (in->description[0])
		rc->description = in->description;
	set_u8(in->installation_margin, &rc->installation_margin_db);
	set_u8(in->rx_window, &rc->rx_window);
	set_u8(in->rx1_delay, &rc->rx1_delay_s);
	set_u8(in->rx1_dr_offset, &rc->rx1_dr_offset);
	set_u8(in->rx2_dr, &rc->rx2_dr);
	if (in->rx2_frequency)
		rc->rx2_hz = (uint32_t)in->rx2_frequency;
	set_u8(in->rx2_prefer_on_rx1_dr_lt, &rc->rx2_prefer_on_rx1_dr_lt);
	set_choice(in->rx2_prefer_on_link_budget, &rc->rx2_prefer_on_link_budget);
	set_u8(in->gateway_prefer_min_margin, &rc->gateway_prefer_min_margin_db);
	if (in->downlink_tx_power >= 0)
		rc->downlink_tx_power_dbm = (int8_t)in->downlink_tx_power;
	set_choice(in->mac_commands_disabled, &rc->mac_commands_disabled);
	set_choice(in->adr_disabled, &rc->adr_disabled);
	set_u8(in->min_dr, &rc->min_dr);
	set_u8(in->max_dr, &rc->max_dr);
	set_choice(in->repeater_compatible, &rc->repeater_compatible);
	set_choice(in->dwell_time_400ms, &rc->dwell_time_400ms);
	set_choice(in->force_gws_private, &rc->force_gws_private);
	set_u8(in->class_b_ping_slot_dr, &rc->class_b_ping_slot_dr);
	if (in->class_b_ping_slot_frequency)
		rc->class_b_ping_slot_hz = (uint32_t)in->class_b_ping_slot_frequency;
}

static int check_names(const struct making *m)
{
	const struct ns_region_config *rc = m->rc;
	if (strlen(rc->id) >= NS_REGION_ID_MAX)
		return wrong(m, "id", "has more than %d characters", NS_REGION_ID_MAX - 1);
	if (rc->id[strspn(rc->id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")])
		return wrong(m, "id", "is not made of letters, digits, _ and -");
	if (strpbrk(rc->topic_prefix, "+#") || rc->topic_prefix[0] == '/')
		return wrong(m, "topic_prefix", "\"%s\" cannot be the beginning of a topic", rc->topic_prefix);
	return 0;
}

static int check_dr(const struct making *m, enum lw_dir dir, uint8_t dr, const char *setting)
{
	if (lw_region_dr(m->region, dir, dr) != NULL)
		return 0;
	return wrong(m, setting, "%u is no data rate of %s in %s", dr, dir == LW_UP ? "uplinks" : "downlinks",
		     m->region->name);
}

static int check_hz(const struct making *m, uint32_t hz, const char *setting)
{
	if (hz == 0 || lw_region_freq_ok(m->region, hz))
		return 0;
	return wrong(m, setting, "%u is outside of %s (%u to %u Hz)", hz, m->region->name, m->region->min_hz,
		     m->region->max_hz);
}

static int check_radio(const struct making *m)
{
	const struct ns_region_config *rc = m->rc;
	if (rc->rx1_dr_offset > m->region->max_rx1_dr_offset)
		return wrong(m, "rx1_dr_offset", "%u is above %u, the highest in %s", rc->rx1_dr_offset,
			     m->region->max_rx1_dr_offset, m->region->name);
	if (rc->min_dr > rc->max_dr)
		return wrong(m, "min_dr", "%u is above max_dr, %u", rc->min_dr, rc->max_dr);
	int most = lw_region_downlink_eirp_dbm(m->region, rc->rx2_hz);
	if (rc->downlink_tx_power_dbm > most)
		return wrong(m, "downlink_tx_power", "%d dBm is above %d, the most that %s allows",
			     rc->downlink_tx_power_dbm, most, m->region->name);
	int err = check_dr(m, LW_DOWN, rc->rx2_dr, "rx2_dr");
	if (err == 0)
		err = check_hz(m, rc->rx2_hz, "rx2_frequency");
	if (err == 0)
		err = check_dr(m, LW_UP, rc->min_dr, "min_dr");
	if (err == 0)
		err = check_dr(m, LW_UP, rc->max_dr, "max_dr");
	if (err == 0)
		err = check_dr(m, LW_DOWN, rc->class_b_ping_slot_dr, "class_b.ping_slot_dr");
	if (err == 0)
		err = check_hz(m, rc->class_b_ping_slot_hz, "class_b.ping_slot_frequency");
	return err;
}

/* ---- MAC parameters ---- */

static int take_mac(const struct making *m)
{
	const struct ns_conf_region *in = m->in;
	struct ns_mac_settings *mac = &m->rc->mac;
	if (in->max_duty_cycle >= 0) {
		mac->has_duty_cycle = true;
		mac->max_duty_cycle = (uint8_t)in->max_duty_cycle;
	}
	if ((in->adr_ack_limit_exp >= 0) != (in->adr_ack_delay_exp >= 0))
		return wrong(m, "adr_ack_limit_exp", "and adr_ack_delay_exp are one command: both, or none");
	if (in->adr_ack_limit_exp >= 0) {
		mac->has_adr_ack = true;
		mac->adr_ack_limit_exp = (uint8_t)in->adr_ack_limit_exp;
		mac->adr_ack_delay_exp = (uint8_t)in->adr_ack_delay_exp;
	}
	if ((in->rejoin_max_time_n >= 0) != (in->rejoin_max_count_n >= 0))
		return wrong(m, "rejoin_request", "wants max_time_n and max_count_n, or none of them");
	if (in->rejoin_max_time_n >= 0) {
		mac->has_rejoin = true;
		mac->rejoin_max_time_n = (uint8_t)in->rejoin_max_time_n;
		mac->rejoin_max_count_n = (uint8_t)in->rejoin_max_count_n;
	}
	if (in->beacon_frequency)
		mac->beacon_hz = (uint32_t)in->beacon_frequency;
	bool dwell = in->uplink_dwell_time_400ms || in->downlink_dwell_time_400ms;
	if (in->uplink_max_eirp < 0 && dwell && !mac->has_tx_params)
		return wrong(m, "uplink_max_eirp", "is wanted with a dwell time: they are one command");
	if (in->uplink_max_eirp >= 0 && in->uplink_max_eirp < 8)
		return wrong(m, "uplink_max_eirp", "is 8 to 36 dBm");
	if (in->uplink_max_eirp >= 0) {
		mac->has_tx_params = true;
		mac->max_eirp_dbm = (int8_t)in->uplink_max_eirp;
	}
	set_choice(in->uplink_dwell_time_400ms, &mac->uplink_dwell_400ms);
	set_choice(in->downlink_dwell_time_400ms, &mac->downlink_dwell_400ms);
	return check_hz(m, mac->beacon_hz, "class_b.beacon_frequency");
}

/* ---- channels ---- */

static int take_extra(const struct making *m, struct lw_plan *plan)
{
	struct ns_region_config *rc = m->rc;
	const struct ns_conf_channel *v = m->in->extra_channels.v;
	if (m->in->keep_extra_channels == NS_CONF_NO)
		rc->n_extra_channels = 0;
	lw_plan_init(plan, m->region);
	for (size_t i = 0; i < rc->n_extra_channels; i++)
		(void)lw_plan_add(plan, rc->extra_channels[i].hz, rc->extra_channels[i].min_dr,
				  rc->extra_channels[i].max_dr);
	for (size_t i = 0; i < m->in->extra_channels.n; i++) {
		uint8_t low = v[i].min_dr >= 0 ? (uint8_t)v[i].min_dr : m->region->user_min_dr;
		uint8_t high = v[i].max_dr >= 0 ? (uint8_t)v[i].max_dr : m->region->user_max_dr;
		unsigned hz = (unsigned)v[i].frequency;
		int err = rc->n_extra_channels < NS_EXTRA_CHANNELS ? lw_plan_add(plan, hz, low, high) : LW_EFULL;
		switch (err) {
		case LW_EUNSUPPORTED:
			return wrong(m, "extra_channels", "are not possible: the channels of %s are fixed",
				     m->region->name);
		case LW_EINVAL:
			return wrong(m, "extra_channels", "%u Hz with DR%u to DR%u does not belong to %s", hz, low,
				     high, m->region->name);
		case LW_EEXISTS:
			return wrong(m, "extra_channels", "%u Hz is there already", hz);
		case LW_EFULL:
			return wrong(m, "extra_channels", "are too many for a device: %u Hz is left over", hz);
		default:
			rc->extra_channels[rc->n_extra_channels++] = (struct lw_channel){hz, low, high};
			break;
		}
	}
	return 0;
}

/* "8" or "8-15" */
static bool read_range(const char *text, unsigned long *first, unsigned long *last)
{
	char *end;
	if (text[0] < '0' || text[0] > '9')
		return false;
	*first = *last = strtoul(text, &end, 10);
	if (*end == '-' && end[1] >= '0' && end[1] <= '9')
		*last = strtoul(end + 1, &end, 10);
	return *end == '\0' && *first <= *last && *last < LW_PLAN_CHANNELS;
}

static int take_enabled(const struct making *m, const struct lw_plan *plan)
{
	struct ns_region_config *rc = m->rc;
	const struct conf_strs *in = &m->in->enabled_uplink_channels;
	uint8_t seen[LW_PLAN_CHANNELS] = {0};
	if (in->n > 0)
		rc->n_enabled_channels = 0;
	for (size_t i = 0; i < in->n; i++) {
		unsigned long first, last;
		if (!read_range(in->v[i], &first, &last))
			return wrong(m, "enabled_uplink_channels", "\"%s\" is no channel and no range of channels",
				     in->v[i]);
		for (unsigned long c = first; c <= last; c++) {
			struct lw_channel ignored;
			if (lw_plan_channel(plan, (unsigned)c, &ignored) != 0)
				return wrong(m, "enabled_uplink_channels", "%lu is no channel of %s%s", c,
					     m->region->name, plan->n_user ? " with the extra channels" : "");
			if (!seen[c])
				rc->enabled_channels[rc->n_enabled_channels++] = (uint8_t)c;
			seen[c] = 1;
		}
	}
	return 0;
}

static int make_one(const struct ns_conf_region *in, struct ns_region_config *rc, struct lw_diag *diag)
{
	const struct ns_region_config *base = ns_region_config_find(in->base[0] ? in->base : in->id);
	struct making m = {.in = in, .rc = rc, .diag = diag};
	struct lw_plan plan;
	if (base == NULL && in->base[0])
		return wrong(&m, "base", "\"%s\" is no ready-made configuration", in->base);
	if (base == NULL)
		return wrong(&m, "id", "is no ready-made configuration; a new one wants a base");
	*rc = *base;
	m.region = lw_region_by_id(rc->region);
	take_plain(&m);
	int err = check_names(&m);
	if (err == 0)
		err = check_radio(&m);
	if (err == 0)
		err = take_mac(&m);
	if (err == 0)
		err = take_extra(&m, &plan);
	if (err == 0)
		err = take_enabled(&m, &plan);
	return err;
}

/* ---- all ---- */

const struct ns_region_config *ns_regions_find(const struct ns_regions *r, const char *id)
{
	for (size_t i = 0; i < r->n_own; i++)
		if (strcmp(r->own[i].id, id) == 0)
			return &r->own[i];
	return ns_region_config_find(id);
}

static int serve(struct ns_regions *r, const struct ns_region_config *rc, struct lw_diag *diag)
{
	for (size_t i = 0; i < r->n; i++) {
		if (r->v[i] == rc)
			return 0;
		if (strcmp(r->v[i]->topic_prefix, rc->topic_prefix) != 0)
			continue;
		lw_diag_set(diag, "network.regions: %s and %s have the same topic_prefix, %s", r->v[i]->id, rc->id,
			    rc->topic_prefix);
		return LW_EINVAL;
	}
	r->v[r->n++] = rc;
	return 0;
}

static int choose(struct ns_regions *r, const struct conf_strs *enabled, struct lw_diag *diag)
{
	int err = 0;
	r->v = lw_xcalloc(ns_region_configs_count + r->n_own + enabled->n, sizeof(*r->v));
	for (size_t i = 0; err == 0 && i < enabled->n; i++) {
		const struct ns_region_config *rc = ns_regions_find(r, enabled->v[i]);
		if (rc == NULL) {
			lw_diag_set(diag, "network.enabled_regions: there is no region configuration \"%s\"",
				    enabled->v[i]);
			return LW_EINVAL;
		}
		err = serve(r, rc, diag);
	}
	for (size_t i = 0; err == 0 && enabled->n == 0 && i < ns_region_configs_count; i++)
		err = serve(r, ns_regions_find(r, ns_region_configs[i].id), diag);
	for (size_t i = 0; err == 0 && enabled->n == 0 && i < r->n_own; i++)
		err = serve(r, &r->own[i], diag);
	return err;
}

int ns_regions_make(const struct conf_list *list, const struct conf_strs *enabled, struct ns_regions *out,
		    struct lw_diag *diag)
{
	const struct ns_conf_region *in = list->v;
	int err = 0;
	*out = (struct ns_regions){.own = lw_xcalloc(list->n + 1, sizeof(*out->own))};
	for (size_t i = 0; err == 0 && i < list->n; i++) {
		err = make_one(&in[i], &out->own[i], diag);
		for (size_t k = 0; err == 0 && k < i; k++) {
			if (strcmp(in[k].id, in[i].id) != 0)
				continue;
			lw_diag_set(diag, "network.regions: %s is there twice", in[i].id);
			err = LW_EINVAL;
		}
		out->n_own += err == 0;
	}
	if (err == 0)
		err = choose(out, enabled, diag);
	if (err != 0)
		ns_regions_deinit(out);
	return err;
}

void ns_regions_deinit(struct ns_regions *r)
{
	free(r->v);
	free(r->own);
	*r = (struct ns_regions){0};
}
