#include "network-server/domain/session_export.h"

#include <string.h>

#include "common/lorawan/region.h"

#define DR_MAX 15
#define NIBBLE_MAX 15

/* ---- out ---- */

static ProtobufCBinaryData octets(struct lw_arena *a, const void *p, size_t n)
{
	return (ProtobufCBinaryData){n, n > 0 ? lw_arena_memdup(a, p, n) : NULL};
}

static void export_counters(const struct ns_session *s, struct lw_arena *a, Longwave__Ns__V1__ExportedSession *out)
{
	Longwave__Ns__V1__SessionCounters *c = LW_ARENA_NEW(a, Longwave__Ns__V1__SessionCounters);
	longwave__ns__v1__session_counters__init(c);
	c->f_cnt_up = s->f_cnt_up;
	c->n_f_cnt_down = s->n_f_cnt_down;
	c->a_f_cnt_down = s->a_f_cnt_down;
	c->conf_f_cnt = s->conf_f_cnt;
	c->conf_f_cnt_before = s->conf_f_cnt_before[0];
	c->conf_f_cnt_older = lw_arena_memdup(a, &s->conf_f_cnt_before[1], (NS_CONF_BEFORE - 1) * sizeof(uint32_t));
	c->n_conf_f_cnt_older = NS_CONF_BEFORE - 1;
	while (c->n_conf_f_cnt_older > 0 && c->conf_f_cnt_older[c->n_conf_f_cnt_older - 1] == 0)
		c->n_conf_f_cnt_older--;
	c->has_uplink = s->has_uplink;
	c->f_cnt_gaps = s->f_cnt_gaps;
	out->counters = c;
}

static void export_radio(const struct ns_session *s, struct lw_arena *a, Longwave__Ns__V1__ExportedSession *out)
{
	Longwave__Ns__V1__SessionReceive *r = LW_ARENA_NEW(a, Longwave__Ns__V1__SessionReceive);
	Longwave__Ns__V1__SessionTransmit *t = LW_ARENA_NEW(a, Longwave__Ns__V1__SessionTransmit);
	longwave__ns__v1__session_receive__init(r);
	r->rx1_delay_s = s->rx1_delay_s;
	r->rx1_dr_offset = s->rx1_dr_offset;
	r->rx2_dr = s->rx2_dr;
	r->rx2_freq_hz = s->rx2_hz;
	out->receive = r;
	longwave__ns__v1__session_transmit__init(t);
	t->dr = s->dr;
	t->tx_power_index = s->tx_power_index;
	t->nb_trans = s->nb_trans;
	t->min_tx_power_index = s->min_tx_power_index;
	t->adr = s->adr;
	t->uplink_dwell_time_400ms = s->uplink_dwell_400ms != 0;
	t->downlink_dwell_time_400ms = s->downlink_dwell_400ms != 0;
	t->max_eirp_index = s->uplink_eirp_index;
	t->max_duty_cycle = s->max_duty_cycle;
	t->adr_ack_limit_exp = s->adr_ack_limit_exp;
	t->adr_ack_delay_exp = s->adr_ack_delay_exp;
	out->transmit = t;
}

static void export_channels(const struct ns_session *s, struct lw_arena *a, Longwave__Ns__V1__ExportedSession *out)
{
	Longwave__Ns__V1__SessionChannels *c = LW_ARENA_NEW(a, Longwave__Ns__V1__SessionChannels);
	longwave__ns__v1__session_channels__init(c);
	c->enabled = LW_ARENA_ARRAY(a, uint32_t, LW_PLAN_CHANNELS);
	for (unsigned i = 0; i < LW_PLAN_CHANNELS; i++)
		if (s->enabled_channels[i / 16] >> i % 16 & 1)
			c->enabled[c->n_enabled++] = i;
	c->added = LW_ARENA_ARRAY(a, Longwave__Ns__V1__SessionChannels__Channel *, LW_PLAN_USER_CHANNELS);
	for (unsigned i = 0; i < LW_PLAN_USER_CHANNELS; i++) {
		if (s->user_channels[i].hz == 0)
			continue;
		Longwave__Ns__V1__SessionChannels__Channel *ch =
			LW_ARENA_NEW(a, Longwave__Ns__V1__SessionChannels__Channel);
		longwave__ns__v1__session_channels__channel__init(ch);
		ch->index = i;
		ch->freq_hz = s->user_channels[i].hz;
		ch->min_dr = s->user_channels[i].min_dr;
		ch->max_dr = s->user_channels[i].max_dr;
		c->added[c->n_added++] = ch;
	}
	c->downlink = LW_ARENA_ARRAY(a, Longwave__Ns__V1__SessionChannels__Downlink *, NS_DL_CHANNELS);
	for (unsigned i = 0; i < NS_DL_CHANNELS; i++) {
		if (s->dl_hz[i] == 0)
			continue;
		Longwave__Ns__V1__SessionChannels__Downlink *d =
			LW_ARENA_NEW(a, Longwave__Ns__V1__SessionChannels__Downlink);
		longwave__ns__v1__session_channels__downlink__init(d);
		d->index = i;
		d->freq_hz = s->dl_hz[i];
		c->downlink[c->n_downlink++] = d;
	}
	out->channels = c;
}

static void export_mac(const struct ns_session *s, struct lw_arena *a, Longwave__Ns__V1__ExportedSession *out)
{
	Longwave__Ns__V1__SessionMac *m = LW_ARENA_NEW(a, Longwave__Ns__V1__SessionMac);
	longwave__ns__v1__session_mac__init(m);
	m->pending = LW_ARENA_ARRAY(a, Longwave__Ns__V1__SessionMac__Pending *, NS_MAC_PENDING);
	for (size_t i = 0; i < s->n_mac_pending; i++) {
		const struct ns_mac_pending *p = &s->mac_pending[i];
		Longwave__Ns__V1__SessionMac__Pending *o = LW_ARENA_NEW(a, Longwave__Ns__V1__SessionMac__Pending);
		longwave__ns__v1__session_mac__pending__init(o);
		o->cid = p->cid;
		o->bytes = octets(a, p->bytes, p->len);
		o->tries = p->tries;
		o->wait = p->wait;
		m->pending[m->n_pending++] = o;
	}
	m->rejected = LW_ARENA_ARRAY(a, Longwave__Ns__V1__SessionMac__Rejected *, NS_MAC_REJECTED);
	for (size_t i = 0; i < s->n_mac_rejected; i++) {
		Longwave__Ns__V1__SessionMac__Rejected *o = LW_ARENA_NEW(a, Longwave__Ns__V1__SessionMac__Rejected);
		longwave__ns__v1__session_mac__rejected__init(o);
		o->what = s->mac_rejected[i].what;
		o->value = s->mac_rejected[i].value;
		m->rejected[m->n_rejected++] = o;
	}
	m->errors = LW_ARENA_ARRAY(a, Longwave__Ns__V1__SessionMac__Errors *, NS_MAC_ERRORS);
	for (size_t i = 0; i < s->n_mac_errors; i++) {
		Longwave__Ns__V1__SessionMac__Errors *o = LW_ARENA_NEW(a, Longwave__Ns__V1__SessionMac__Errors);
		longwave__ns__v1__session_mac__errors__init(o);
		o->cid = s->mac_errors[i].cid;
		o->count = s->mac_errors[i].count;
		m->errors[m->n_errors++] = o;
	}
	m->queue = octets(a, s->mac_queue, s->mac_queue_len);
	m->queue_sent = s->mac_queue_sent;
	m->dev_status_req_at_ns = s->dev_status_req_at_ns;
	m->rejoin_max_time_n = s->rejoin_max_time_n;
	m->rejoin_max_count_n = s->rejoin_max_count_n;
	m->rejoin_enabled = s->rejoin_enabled;
	out->mac = m;
}

static void export_class_b(const struct ns_session *s, struct lw_arena *a, Longwave__Ns__V1__ExportedSession *out)
{
	Longwave__Ns__V1__SessionClassB *b = LW_ARENA_NEW(a, Longwave__Ns__V1__SessionClassB);
	longwave__ns__v1__session_class_b__init(b);
	b->ping_slot_nb = s->ping_slot_nb;
	b->ping_slot_dr = s->ping_slot_dr;
	b->ping_slot_freq_hz = s->ping_slot_hz;
	b->ping_slot_used_ns = s->ping_slot_used_ns;
	b->beacon_locked = s->beacon_locked;
	b->beacon_freq_hz = s->beacon_hz;
	out->class_b = b;
}

static void export_adr(const struct ns_session *s, struct lw_arena *a, Longwave__Ns__V1__ExportedSession *out)
{
	out->adr_history = LW_ARENA_ARRAY(a, Longwave__Ns__V1__SessionAdrEntry *, NS_ADR_HISTORY);
	for (size_t i = 0; i < s->n_adr_history; i++) {
		const struct ns_adr_entry *e = &s->adr_history[i];
		Longwave__Ns__V1__SessionAdrEntry *o = LW_ARENA_NEW(a, Longwave__Ns__V1__SessionAdrEntry);
		longwave__ns__v1__session_adr_entry__init(o);
		o->f_cnt = e->f_cnt;
		o->max_snr_ddb = e->max_snr_ddb;
		o->max_rssi_dbm = e->max_rssi_dbm;
		o->tx_power_index = e->tx_power_index;
		o->gateway_count = e->gateway_count;
		out->adr_history[out->n_adr_history++] = o;
	}
}

static void export_last(const struct ns_session *s, struct lw_arena *a, Longwave__Ns__V1__ExportedSession *out)
{
	Longwave__Ns__V1__SessionLastUplink *u = LW_ARENA_NEW(a, Longwave__Ns__V1__SessionLastUplink);
	char text[LW_EUI_TEXT];
	longwave__ns__v1__session_last_uplink__init(u);
	u->at_ns = s->last_uplink_at_ns;
	u->freq_hz = s->last_uplink_hz;
	u->confirmed = s->last_uplink_confirmed;
	u->answered = s->answered;
	u->gateways = LW_ARENA_ARRAY(a, Longwave__Ns__V1__SessionLastUplink__Gateway *, NS_RX_GATEWAYS);
	for (size_t i = 0; i < s->n_rx; i++) {
		const struct ns_rx_gateway *g = &s->rx[i];
		Longwave__Ns__V1__SessionLastUplink__Gateway *o =
			LW_ARENA_NEW(a, Longwave__Ns__V1__SessionLastUplink__Gateway);
		longwave__ns__v1__session_last_uplink__gateway__init(o);
		o->gateway_id = lw_arena_strdup(a, lw_gateway_id_print(g->gateway_id, text));
		o->rssi_dbm = g->rssi_dbm;
		o->snr_ddb = g->snr_ddb;
		o->board = g->board;
		o->antenna = g->antenna;
		o->context = octets(a, g->context, g->context_len);
		u->gateways[u->n_gateways++] = o;
	}
	out->last_uplink = u;
}

static Longwave__Ns__V1__SessionRejoin__Offer *export_offer(const struct ns_rekey *r, struct lw_arena *a)
{
	if (!r->present)
		return NULL;
	Longwave__Ns__V1__SessionRejoin__Offer *o = LW_ARENA_NEW(a, Longwave__Ns__V1__SessionRejoin__Offer);
	longwave__ns__v1__session_rejoin__offer__init(o);
	o->type = r->type;
	o->f_nwk_s_int_key = octets(a, r->f_nwk_s_int_key.b, 16);
	o->s_nwk_s_int_key = octets(a, r->s_nwk_s_int_key.b, 16);
	o->nwk_s_enc_key = octets(a, r->nwk_s_enc_key.b, 16);
	o->session_key_id = octets(a, r->session_key_id, r->session_key_id_len);
	o->dl_settings = r->dl_settings;
	o->rx_delay_s = r->rx_delay_s;
	o->cflist = octets(a, r->cflist, r->has_cflist ? sizeof(r->cflist) : 0);
	o->is_foreign = r->is_foreign;
	o->app_s_key_kek = lw_arena_strdup(a, r->app_s_key_kek);
	o->app_s_key = octets(a, r->app_s_key, r->app_s_key_len);
	if (r->type != NS_REKEY_JOIN)
		return o;
	char text[LW_EUI_TEXT];
	o->join_eui = lw_arena_strdup(a, lw_join_eui_print(r->join_eui, text));
	o->dev_nonce = r->dev_nonce;
	o->mac_version = (Common__MacVersion)r->mac_version;
	o->joined_at_ns = r->at_ns;
	return o;
}

static void export_rejoin(const struct ns_session *s, struct lw_arena *a, Longwave__Ns__V1__ExportedSession *out)
{
	out->rejoin = LW_ARENA_NEW(a, Longwave__Ns__V1__SessionRejoin);
	longwave__ns__v1__session_rejoin__init(out->rejoin);
	out->rejoin->rj_count0 = s->rj_count0;
	out->rejoin->offer = export_offer(&s->rekey, a);
	out->rejoin->offer_before = export_offer(&s->rekey_before[0], a);
}

Longwave__Ns__V1__ExportedSession *ns_session_export(struct lw_dev_eui dev_eui, const struct ns_session *s,
						     struct lw_arena *a)
{
	Longwave__Ns__V1__ExportedSession *out = LW_ARENA_NEW(a, Longwave__Ns__V1__ExportedSession);
	char text[LW_EUI_TEXT];
	char addr[LW_DEVADDR_TEXT];
	longwave__ns__v1__exported_session__init(out);
	out->version = NS_SESSION_EXPORT_VERSION;
	out->dev_eui = lw_arena_strdup(a, lw_dev_eui_print(dev_eui, text));
	out->join_eui = lw_arena_strdup(a, lw_join_eui_print(s->join_eui, text));
	out->dev_addr = lw_arena_strdup(a, lw_devaddr_print(s->devaddr, addr));
	out->f_nwk_s_int_key = octets(a, s->f_nwk_s_int_key.b, 16);
	out->s_nwk_s_int_key = octets(a, s->s_nwk_s_int_key.b, 16);
	out->nwk_s_enc_key = octets(a, s->nwk_s_enc_key.b, 16);
	out->session_key_id = octets(a, s->session_key_id, s->session_key_id_len);
	out->mac_version = (Common__MacVersion)s->mac_version;
	out->enabled_class = (Common__DeviceClass)s->enabled_class;
	out->region_config_id = lw_arena_strdup(a, s->region_config_id);
	out->dev_nonce = s->dev_nonce;
	export_counters(s, a, out);
	export_radio(s, a, out);
	export_channels(s, a, out);
	export_mac(s, a, out);
	export_class_b(s, a, out);
	export_adr(s, a, out);
	export_last(s, a, out);
	export_rejoin(s, a, out);
	return out;
}

/* ---- in: the first thing that is wrong is told, the rest is read all the same ---- */

struct reader {
	const struct lw_region *region;
	struct lw_diag *diag;
	int err;
};

static void wrong(struct reader *r, int err, const char *name, const char *what)
{
	if (r->err == 0) {
		r->err = err;
		lw_diag_set(r->diag, "%s %s", name, what);
	}
}

static uint32_t upto(struct reader *r, uint32_t v, uint32_t max, const char *name)
{
	if (v <= max)
		return v;
	if (r->err == 0) {
		r->err = LW_EINVAL;
		lw_diag_set(r->diag, "%s is above %u", name, (unsigned)max);
	}
	return 0;
}

static uint8_t small(struct reader *r, uint32_t v, uint8_t max, const char *name)
{
	return (uint8_t)upto(r, v, max, name);
}

static int16_t signed16(struct reader *r, int32_t v, const char *name)
{
	if (v < INT16_MIN || v > INT16_MAX) {
		wrong(r, LW_EINVAL, name, "has more than 16 bit");
		return 0;
	}
	return (int16_t)v;
}

static int64_t time_ns(struct reader *r, int64_t v, const char *name)
{
	if (v < 0)
		wrong(r, LW_EINVAL, name, "is negative");
	return v < 0 ? 0 : v;
}

static uint32_t frequency(struct reader *r, uint32_t hz, bool optional, const char *name)
{
	if (!(optional && hz == 0) && !lw_region_freq_ok(r->region, hz))
		wrong(r, LW_EINVAL, name, "is outside the region");
	return hz;
}

static size_t at_most(struct reader *r, size_t n, size_t max, const char *name)
{
	return upto(r, n < UINT32_MAX ? (uint32_t)n : UINT32_MAX, (uint32_t)max, name);
}

static size_t take(struct reader *r, const ProtobufCBinaryData *in, uint8_t *out, size_t max, const char *name)
{
	if (in->len > max) {
		if (r->err == 0) {
			r->err = LW_EINVAL;
			lw_diag_set(r->diag, "%s has more than %zu octets", name, max);
		}
		return 0;
	}
	if (in->len > 0)
		memcpy(out, in->data, in->len);
	return in->len;
}

static void key(struct reader *r, const ProtobufCBinaryData *in, struct lw_key *out, const char *name)
{
	if (in->len != sizeof(out->b))
		wrong(r, LW_EINVAL, name, "is not a key of 16 octets");
	else
		memcpy(out->b, in->data, sizeof(out->b));
}

static void import_identity(struct reader *r, const Longwave__Ns__V1__ExportedSession *in,
			    const struct ns_profile *profile, struct ns_session *s)
{
	if (in->version != NS_SESSION_EXPORT_VERSION)
		wrong(r, LW_EINVAL, "version", "is none that this server reads: it reads 1");
	if (lw_devaddr_parse(&s->devaddr, in->dev_addr) != 0)
		wrong(r, LW_EINVAL, "dev_addr", "is not an address of 8 hexadecimal digits");
	if (in->join_eui[0] && lw_join_eui_parse(&s->join_eui, in->join_eui) != 0)
		wrong(r, LW_EINVAL, "join_eui", "is not an EUI of 16 hexadecimal digits");
	key(r, &in->f_nwk_s_int_key, &s->f_nwk_s_int_key, "f_nwk_s_int_key");
	key(r, &in->s_nwk_s_int_key, &s->s_nwk_s_int_key, "s_nwk_s_int_key");
	key(r, &in->nwk_s_enc_key, &s->nwk_s_enc_key, "nwk_s_enc_key");
	s->session_key_id_len =
		(uint8_t)take(r, &in->session_key_id, s->session_key_id, NS_KEY_ID_MAX, "session_key_id");
	s->dev_nonce = (uint16_t)upto(r, in->dev_nonce, UINT16_MAX, "dev_nonce");
	s->mac_version = (enum lw_mac_version)upto(r, (uint32_t)in->mac_version, LW_MAC_VERSIONS - 1, "mac_version");
	if (s->mac_version >= LW_MAC_1_1_0 && profile->mac_version < LW_MAC_1_1_0)
		wrong(r, LW_EPRECONDITION, "mac_version", "is 1.1, that of the device profile is not");
	s->enabled_class = (enum lw_class)upto(r, (uint32_t)in->enabled_class, LW_CLASS_C, "enabled_class");
	if ((s->enabled_class == LW_CLASS_B && !profile->supports_class_b) ||
	    (s->enabled_class == LW_CLASS_C && !profile->supports_class_c))
		wrong(r, LW_EPRECONDITION, "enabled_class", "is one that the device profile does not support");
}

static void import_counters(struct reader *r, const Longwave__Ns__V1__SessionCounters *c, struct ns_session *s)
{
	if (c == NULL) {
		wrong(r, LW_EINVAL, "counters", "are missing");
		return;
	}
	s->f_cnt_up = c->f_cnt_up;
	s->n_f_cnt_down = c->n_f_cnt_down;
	s->a_f_cnt_down = c->a_f_cnt_down;
	s->conf_f_cnt = c->conf_f_cnt;
	s->conf_f_cnt_before[0] = c->conf_f_cnt_before;
	size_t n = at_most(r, c->n_conf_f_cnt_older, NS_CONF_BEFORE - 1, "number of counters.conf_f_cnt_older");
	for (size_t i = 0; i < n; i++)
		s->conf_f_cnt_before[i + 1] = c->conf_f_cnt_older[i];
	s->has_uplink = c->has_uplink;
	s->f_cnt_gaps = c->f_cnt_gaps;
}

static void import_receive(struct reader *r, const Longwave__Ns__V1__SessionReceive *in, struct ns_session *s)
{
	if (in == NULL) {
		wrong(r, LW_EINVAL, "receive", "is missing");
		return;
	}
	s->rx1_delay_s = small(r, in->rx1_delay_s, NIBBLE_MAX, "receive.rx1_delay_s");
	if (s->rx1_delay_s == 0)
		s->rx1_delay_s = 1;
	s->rx1_dr_offset = small(r, in->rx1_dr_offset, r->region->max_rx1_dr_offset, "receive.rx1_dr_offset");
	s->rx2_dr = small(r, in->rx2_dr, DR_MAX, "receive.rx2_dr");
	s->rx2_hz = frequency(r, in->rx2_freq_hz, false, "receive.rx2_freq_hz");
}

static void import_transmit(struct reader *r, const Longwave__Ns__V1__SessionTransmit *in, struct ns_session *s)
{
	if (in == NULL) {
		wrong(r, LW_EINVAL, "transmit", "is missing");
		return;
	}
	s->dr = in->dr == NS_DR_UNKNOWN ? NS_DR_UNKNOWN : small(r, in->dr, DR_MAX, "transmit.dr");
	s->tx_power_index = small(r, in->tx_power_index, NIBBLE_MAX, "transmit.tx_power_index");
	s->nb_trans = small(r, in->nb_trans, NIBBLE_MAX, "transmit.nb_trans");
	if (s->nb_trans == 0)
		s->nb_trans = 1;
	s->min_tx_power_index = small(r, in->min_tx_power_index, 1, "transmit.min_tx_power_index");
	s->adr = in->adr;
	s->uplink_dwell_400ms = in->uplink_dwell_time_400ms ? 1 : 0;
	s->downlink_dwell_400ms = in->downlink_dwell_time_400ms ? 1 : 0;
	s->uplink_eirp_index = small(r, in->max_eirp_index, NIBBLE_MAX, "transmit.max_eirp_index");
	s->max_duty_cycle = small(r, in->max_duty_cycle, NIBBLE_MAX, "transmit.max_duty_cycle");
	s->adr_ack_limit_exp = small(r, in->adr_ack_limit_exp, NIBBLE_MAX, "transmit.adr_ack_limit_exp");
	s->adr_ack_delay_exp = small(r, in->adr_ack_delay_exp, NIBBLE_MAX, "transmit.adr_ack_delay_exp");
}

static void import_channels(struct reader *r, const Longwave__Ns__V1__SessionChannels *in, struct ns_session *s)
{
	if (in == NULL || in->n_enabled == 0) {
		wrong(r, LW_EINVAL, "channels.enabled", "is empty");
		return;
	}
	for (size_t i = 0; i < in->n_enabled; i++) {
		unsigned n = upto(r, in->enabled[i], LW_PLAN_CHANNELS - 1, "channels.enabled");
		s->enabled_channels[n / 16] = (uint16_t)(s->enabled_channels[n / 16] | 1U << n % 16);
	}
	for (size_t i = 0; i < in->n_added; i++) {
		const Longwave__Ns__V1__SessionChannels__Channel *c = in->added[i];
		uint32_t n = upto(r, c->index, LW_PLAN_USER_CHANNELS - 1, "channels.added.index");
		s->user_channels[n].hz = frequency(r, c->freq_hz, false, "channels.added.freq_hz");
		s->user_channels[n].min_dr = small(r, c->min_dr, DR_MAX, "channels.added.min_dr");
		s->user_channels[n].max_dr = small(r, c->max_dr, DR_MAX, "channels.added.max_dr");
		if (lw_region_dr_range(r->region, c->min_dr, c->max_dr) == 0)
			wrong(r, LW_EINVAL, "channels.added.min_dr", "and max_dr are no range of data rates");
	}
	for (size_t i = 0; i < in->n_downlink; i++) {
		uint32_t n = upto(r, in->downlink[i]->index, NS_DL_CHANNELS - 1, "channels.downlink.index");
		s->dl_hz[n] = frequency(r, in->downlink[i]->freq_hz, false, "channels.downlink.freq_hz");
	}
}

static void import_pending(struct reader *r, const Longwave__Ns__V1__SessionMac *in, struct ns_session *s)
{
	size_t n = at_most(r, in->n_pending, NS_MAC_PENDING, "number of mac.pending");
	for (size_t i = 0; i < n; i++) {
		const Longwave__Ns__V1__SessionMac__Pending *p = in->pending[i];
		uint8_t cid = small(r, p->cid, UINT8_MAX, "mac.pending.cid");
		if (ns_session_pending(s, cid) != NULL) {
			wrong(r, LW_EINVAL, "mac.pending.cid", "is there twice");
			return;
		}
		struct ns_mac_pending *o = &s->mac_pending[s->n_mac_pending++];
		o->cid = cid;
		o->len = (uint8_t)take(r, &p->bytes, o->bytes, NS_MAC_PENDING_LEN, "mac.pending.bytes");
		o->tries = small(r, p->tries, UINT8_MAX, "mac.pending.tries");
		o->wait = (uint16_t)upto(r, p->wait, UINT16_MAX, "mac.pending.wait");
	}
}

static void import_mac(struct reader *r, const Longwave__Ns__V1__SessionMac *in, struct ns_session *s)
{
	if (in == NULL)
		return;
	import_pending(r, in, s);
	size_t n = at_most(r, in->n_rejected, NS_MAC_REJECTED, "number of mac.rejected");
	for (size_t i = 0; i < n; i++) {
		uint8_t what = small(r, in->rejected[i]->what, NS_WHAT_REJOIN_TIME, "mac.rejected.what");
		if (what == 0)
			wrong(r, LW_EINVAL, "mac.rejected.what", "is 0");
		ns_session_reject(s, (enum ns_mac_what)what, in->rejected[i]->value);
	}
	n = at_most(r, in->n_errors, NS_MAC_ERRORS, "number of mac.errors");
	for (size_t i = 0; i < n; i++) {
		uint8_t cid = small(r, in->errors[i]->cid, UINT8_MAX, "mac.errors.cid");
		if (ns_session_errors(s, cid) != 0)
			wrong(r, LW_EINVAL, "mac.errors.cid", "is there twice");
		s->mac_errors[s->n_mac_errors].cid = cid;
		s->mac_errors[s->n_mac_errors++].count = small(r, in->errors[i]->count, UINT8_MAX, "mac.errors.count");
	}
	s->mac_queue_len = (uint8_t)take(r, &in->queue, s->mac_queue, NS_MAC_QUEUE_MAX, "mac.queue");
	s->mac_queue_sent = in->queue_sent;
	s->dev_status_req_at_ns = time_ns(r, in->dev_status_req_at_ns, "mac.dev_status_req_at_ns");
	s->rejoin_max_time_n = small(r, in->rejoin_max_time_n, NIBBLE_MAX, "mac.rejoin_max_time_n");
	s->rejoin_max_count_n = small(r, in->rejoin_max_count_n, NIBBLE_MAX, "mac.rejoin_max_count_n");
	s->rejoin_enabled = in->rejoin_enabled;
}

static void import_class_b(struct reader *r, const Longwave__Ns__V1__SessionClassB *in, struct ns_session *s)
{
	if (in == NULL)
		return;
	s->ping_slot_nb = small(r, in->ping_slot_nb, 128, "class_b.ping_slot_nb");
	if ((s->ping_slot_nb & (s->ping_slot_nb - 1)) != 0)
		wrong(r, LW_EINVAL, "class_b.ping_slot_nb", "is no power of two");
	s->ping_slot_dr = small(r, in->ping_slot_dr, DR_MAX, "class_b.ping_slot_dr");
	s->ping_slot_hz = frequency(r, in->ping_slot_freq_hz, true, "class_b.ping_slot_freq_hz");
	s->ping_slot_used_ns = time_ns(r, in->ping_slot_used_ns, "class_b.ping_slot_used_ns");
	s->beacon_locked = in->beacon_locked;
	s->beacon_hz = frequency(r, in->beacon_freq_hz, true, "class_b.beacon_freq_hz");
}

static void import_adr(struct reader *r, const Longwave__Ns__V1__ExportedSession *in, struct ns_session *s)
{
	size_t n = at_most(r, in->n_adr_history, NS_ADR_HISTORY, "number of adr_history");
	for (size_t i = 0; i < n; i++) {
		const Longwave__Ns__V1__SessionAdrEntry *e = in->adr_history[i];
		struct ns_adr_entry *o = &s->adr_history[s->n_adr_history++];
		o->f_cnt = e->f_cnt;
		o->max_snr_ddb = signed16(r, e->max_snr_ddb, "adr_history.max_snr_ddb");
		o->max_rssi_dbm = signed16(r, e->max_rssi_dbm, "adr_history.max_rssi_dbm");
		o->tx_power_index = small(r, e->tx_power_index, NIBBLE_MAX, "adr_history.tx_power_index");
		o->gateway_count = small(r, e->gateway_count, UINT8_MAX, "adr_history.gateway_count");
	}
}

static void import_last(struct reader *r, const Longwave__Ns__V1__SessionLastUplink *in, struct ns_session *s)
{
	if (in == NULL)
		return;
	s->last_uplink_at_ns = time_ns(r, in->at_ns, "last_uplink.at_ns");
	s->last_uplink_hz = in->freq_hz;
	s->last_uplink_confirmed = in->confirmed;
	s->answered = in->answered;
	size_t n = at_most(r, in->n_gateways, NS_RX_GATEWAYS, "number of last_uplink.gateways");
	for (size_t i = 0; i < n; i++) {
		const Longwave__Ns__V1__SessionLastUplink__Gateway *g = in->gateways[i];
		struct ns_rx_gateway *o = &s->rx[s->n_rx++];
		if (lw_gateway_id_parse(&o->gateway_id, g->gateway_id) != 0)
			wrong(r, LW_EINVAL, "last_uplink.gateways.gateway_id", "is not 16 hexadecimal digits");
		o->rssi_dbm = signed16(r, g->rssi_dbm, "last_uplink.gateways.rssi_dbm");
		o->snr_ddb = signed16(r, g->snr_ddb, "last_uplink.gateways.snr_ddb");
		o->board = g->board;
		o->antenna = g->antenna;
		o->context_len =
			(uint8_t)take(r, &g->context, o->context, NS_CONTEXT_MAX, "last_uplink.gateways.context");
	}
}

/* A member of an offer, by its full name. */
#define OF(member) (first ? "rejoin.offer." member : "rejoin.offer_before." member)

static void import_join(struct reader *r, const Longwave__Ns__V1__SessionRejoin__Offer *o, bool first,
			const struct ns_session *s, struct ns_rekey *k)
{
	if (o->join_eui[0] && lw_join_eui_parse(&k->join_eui, o->join_eui) != 0)
		wrong(r, LW_EINVAL, OF("join_eui"), "is not an EUI of 16 hexadecimal digits");
	k->dev_nonce = (uint16_t)upto(r, o->dev_nonce, UINT16_MAX, OF("dev_nonce"));
	k->mac_version = (enum lw_mac_version)upto(r, (uint32_t)o->mac_version, LW_MAC_VERSIONS - 1, OF("mac_version"));
	k->at_ns = time_ns(r, o->joined_at_ns, OF("joined_at_ns"));
	memcpy(k->region_config_id, s->region_config_id, sizeof(k->region_config_id));
}

static void import_offer(struct reader *r, const Longwave__Ns__V1__SessionRejoin__Offer *o, bool first,
			 const struct ns_session *s, struct ns_rekey *k)
{
	if (o == NULL)
		return;
	k->present = true;
	k->type = small(r, o->type, NS_REKEY_JOIN, OF("type"));
	if (k->type == NS_REKEY_JOIN)
		import_join(r, o, first, s, k);
	key(r, &o->f_nwk_s_int_key, &k->f_nwk_s_int_key, OF("f_nwk_s_int_key"));
	key(r, &o->s_nwk_s_int_key, &k->s_nwk_s_int_key, OF("s_nwk_s_int_key"));
	key(r, &o->nwk_s_enc_key, &k->nwk_s_enc_key, OF("nwk_s_enc_key"));
	k->session_key_id_len =
		(uint8_t)take(r, &o->session_key_id, k->session_key_id, NS_KEY_ID_MAX, OF("session_key_id"));
	k->dl_settings = small(r, o->dl_settings, UINT8_MAX, OF("dl_settings"));
	k->rx_delay_s = small(r, o->rx_delay_s, NIBBLE_MAX, OF("rx_delay_s"));
	size_t n = take(r, &o->cflist, k->cflist, sizeof(k->cflist), OF("cflist"));
	k->has_cflist = n > 0;
	if (n > 0 && n < sizeof(k->cflist))
		wrong(r, LW_EINVAL, OF("cflist"), "is not 16 octets");
	k->is_foreign = o->is_foreign;
	n = at_most(r, strlen(o->app_s_key_kek), sizeof(k->app_s_key_kek) - 1,
		    first ? "length of rejoin.offer.app_s_key_kek" : "length of rejoin.offer_before.app_s_key_kek");
	memcpy(k->app_s_key_kek, o->app_s_key_kek, n);
	k->app_s_key_len = (uint8_t)take(r, &o->app_s_key, k->app_s_key, NS_WRAPPED_KEY_MAX, OF("app_s_key"));
}

static void import_rejoin(struct reader *r, const Longwave__Ns__V1__SessionRejoin *in, struct ns_session *s)
{
	if (in == NULL)
		return;
	s->rj_count0 = in->rj_count0;
	import_offer(r, in->offer, true, s, &s->rekey);
	import_offer(r, in->offer_before, false, s, &s->rekey_before[0]);
}

int ns_session_import(const Longwave__Ns__V1__ExportedSession *in, const struct ns_profile *profile,
		      const struct ns_region_config *rc, struct ns_session *out, struct lw_diag *diag)
{
	struct reader r = {.region = ns_profile_region(profile, rc->region), .diag = diag};
	memset(out, 0, sizeof(*out));
	import_identity(&r, in, profile, out);
	strncpy(out->region_config_id, rc->id, sizeof(out->region_config_id) - 1);
	import_counters(&r, in->counters, out);
	import_receive(&r, in->receive, out);
	import_transmit(&r, in->transmit, out);
	import_channels(&r, in->channels, out);
	import_mac(&r, in->mac, out);
	import_class_b(&r, in->class_b, out);
	import_adr(&r, in, out);
	import_last(&r, in->last_uplink, out);
	import_rejoin(&r, in->rejoin, out);
	if (r.err != 0)
		lw_wipe(out, sizeof(*out));
	return r.err;
}
