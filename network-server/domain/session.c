/* The session's packed form: version octet, then sections of tag (1), length (2, little endian), content. Lists write
 * one section per element. A reader takes as much of a section as it knows; what is missing stays zero. */
#include "network-server/domain/session.h"

#include <string.h>

#include "common/base/bug.h"
#include "common/base/err.h"

#define BLOB_VERSION 1

enum section {
	SEC_IDENTITY = 1,
	SEC_KEYS = 2,
	SEC_COUNTERS = 3,
	SEC_RECEIVE = 4,
	SEC_TRANSMIT = 5,
	SEC_ENABLED = 6,
	SEC_USER_CHANNEL = 7,
	SEC_ADR_ENTRY = 8,
	SEC_MAC_PENDING = 9,
	SEC_MAC_ERRORS = 10,
	SEC_MAC_STATE = 11,
	SEC_UPLINK = 12,
	SEC_RX_GATEWAY = 13,
	SEC_REGION = 14,
	SEC_KEY_ID = 15,
	SEC_MAC_RETRY = 16,
	SEC_MAC_REJECTED = 17,
	SEC_MAC_MORE = 18,
	SEC_DL_CHANNEL = 19,
	SEC_REJOIN = 20,
	SEC_REKEY = 21,
	SEC_MAC_QUEUE = 22,
	SEC_GAPS = 23,
	SEC_JOIN_OFFER = 24,
	SEC_REKEY_BEFORE = 25,
	SEC_JOIN_OFFER_BEFORE = 26,
	SEC_CONFIRMED = 27,
};

/* ---- writing ---- */

static size_t begin(struct lw_buf *b, enum section tag)
{
	uint8_t head[3] = {(uint8_t)tag, 0, 0};
	lw_buf_append(b, head, sizeof(head));
	return b->n;
}

static void end(struct lw_buf *b, size_t start)
{
	if (b->err == 0)
		lw_put_le16(b->p + start - 2, (uint16_t)(b->n - start));
}

static void put8(struct lw_buf *b, uint8_t v)
{
	lw_buf_append_u8(b, v);
}

static void put16(struct lw_buf *b, uint16_t v)
{
	uint8_t p[2];
	lw_put_le16(p, v);
	lw_buf_append(b, p, sizeof(p));
}

static void put32(struct lw_buf *b, uint32_t v)
{
	uint8_t p[4];
	lw_put_le32(p, v);
	lw_buf_append(b, p, sizeof(p));
}

static void put64(struct lw_buf *b, uint64_t v)
{
	uint8_t p[8];
	lw_put_le64(p, v);
	lw_buf_append(b, p, sizeof(p));
}

static void put_confirmed(const struct ns_session *s, struct lw_buf *b)
{
	uint32_t any = 0;
	for (size_t i = 1; i < NS_CONF_BEFORE; i++)
		any |= s->conf_f_cnt_before[i];
	if (any == 0)
		return;
	size_t at = begin(b, SEC_CONFIRMED);
	for (size_t i = 1; i < NS_CONF_BEFORE; i++)
		put32(b, s->conf_f_cnt_before[i]);
	end(b, at);
}

static void put_fixed(const struct ns_session *s, struct lw_buf *b)
{
	size_t at = begin(b, SEC_IDENTITY);
	put32(b, s->devaddr.v);
	lw_buf_append(b, s->join_eui.b, sizeof(s->join_eui.b));
	put8(b, (uint8_t)s->mac_version);
	put8(b, (uint8_t)s->enabled_class);
	put16(b, s->dev_nonce);
	end(b, at);

	at = begin(b, SEC_KEYS);
	lw_buf_append(b, s->f_nwk_s_int_key.b, 16);
	lw_buf_append(b, s->s_nwk_s_int_key.b, 16);
	lw_buf_append(b, s->nwk_s_enc_key.b, 16);
	end(b, at);

	at = begin(b, SEC_KEY_ID);
	lw_buf_append(b, s->session_key_id, s->session_key_id_len);
	end(b, at);

	at = begin(b, SEC_REGION);
	lw_buf_append_str(b, s->region_config_id);
	end(b, at);

	at = begin(b, SEC_COUNTERS);
	put32(b, s->f_cnt_up);
	put32(b, s->n_f_cnt_down);
	put32(b, s->a_f_cnt_down);
	put32(b, s->conf_f_cnt);
	put8(b, s->has_uplink);
	put32(b, s->conf_f_cnt_before[0]);
	end(b, at);
	put_confirmed(s, b);

	at = begin(b, SEC_RECEIVE);
	put8(b, s->rx1_delay_s);
	put8(b, s->rx1_dr_offset);
	put8(b, s->rx2_dr);
	put32(b, s->rx2_hz);
	end(b, at);

	at = begin(b, SEC_TRANSMIT);
	put8(b, s->dr);
	put8(b, s->tx_power_index);
	put8(b, s->nb_trans);
	put8(b, 0); /* was the highest TXPower index */
	put8(b, s->min_tx_power_index);
	put8(b, s->adr);
	put8(b, s->uplink_dwell_400ms);
	put8(b, s->downlink_dwell_400ms);
	put8(b, s->uplink_eirp_index);
	end(b, at);

	at = begin(b, SEC_ENABLED);
	for (size_t i = 0; i < LW_PLAN_CHANNELS / 16; i++)
		put16(b, s->enabled_channels[i]);
	end(b, at);

	at = begin(b, SEC_MAC_STATE);
	put64(b, (uint64_t)s->dev_status_req_at_ns);
	put8(b, s->ping_slot_nb);
	put8(b, s->ping_slot_dr);
	put32(b, s->ping_slot_hz);
	put8(b, s->beacon_locked);
	put8(b, s->rejoin_max_time_n);
	put8(b, s->rejoin_max_count_n);
	put8(b, s->rejoin_enabled);
	end(b, at);

	at = begin(b, SEC_MAC_MORE);
	put8(b, s->max_duty_cycle);
	put8(b, s->adr_ack_limit_exp);
	put8(b, s->adr_ack_delay_exp);
	put32(b, s->beacon_hz);
	put64(b, (uint64_t)s->ping_slot_used_ns);
	put8(b, s->mac_queue_sent);
	end(b, at);

	at = begin(b, SEC_UPLINK);
	put64(b, (uint64_t)s->last_uplink_at_ns);
	put32(b, s->last_uplink_hz);
	put8(b, s->last_uplink_confirmed);
	put8(b, s->answered);
	end(b, at);
}

static void put_offer(const struct ns_rekey *r, enum section tag, enum section tag_join, struct lw_buf *b)
{
	if (!r->present)
		return;
	size_t at = begin(b, tag);
	put8(b, r->type);
	lw_buf_append(b, r->f_nwk_s_int_key.b, 16);
	lw_buf_append(b, r->s_nwk_s_int_key.b, 16);
	lw_buf_append(b, r->nwk_s_enc_key.b, 16);
	put8(b, r->session_key_id_len);
	lw_buf_append(b, r->session_key_id, NS_KEY_ID_MAX);
	put8(b, r->dl_settings);
	put8(b, r->rx_delay_s);
	put8(b, r->has_cflist);
	lw_buf_append(b, r->cflist, sizeof(r->cflist));
	put8(b, r->is_foreign);
	lw_buf_append(b, r->app_s_key_kek, sizeof(r->app_s_key_kek));
	put8(b, r->app_s_key_len);
	lw_buf_append(b, r->app_s_key, sizeof(r->app_s_key));
	end(b, at);
	if (r->type != NS_REKEY_JOIN)
		return;
	at = begin(b, tag_join);
	lw_buf_append(b, r->join_eui.b, sizeof(r->join_eui.b));
	put16(b, r->dev_nonce);
	put8(b, (uint8_t)r->mac_version);
	put64(b, (uint64_t)r->at_ns);
	lw_buf_append_str(b, r->region_config_id);
	end(b, at);
}

static void put_rekey(const struct ns_session *s, struct lw_buf *b)
{
	size_t at = begin(b, SEC_REJOIN);
	put32(b, s->rj_count0);
	end(b, at);
	put_offer(&s->rekey, SEC_REKEY, SEC_JOIN_OFFER, b);
	for (size_t i = NS_OFFERS_BEFORE; i-- > 0;) /* the newest last */
		put_offer(&s->rekey_before[i], SEC_REKEY_BEFORE, SEC_JOIN_OFFER_BEFORE, b);
}

int ns_session_encode(const struct ns_session *s, struct lw_buf *b)
{
	BUG_ON(s->n_rx > NS_RX_GATEWAYS || s->n_adr_history > NS_ADR_HISTORY || s->n_mac_pending > NS_MAC_PENDING ||
	       s->n_mac_errors > NS_MAC_ERRORS || s->session_key_id_len > NS_KEY_ID_MAX);
	put8(b, BLOB_VERSION);
	put_fixed(s, b);
	if (s->f_cnt_gaps) {
		size_t at = begin(b, SEC_GAPS);
		put32(b, s->f_cnt_gaps);
		end(b, at);
	}
	put_rekey(s, b);
	for (uint8_t i = 0; i < LW_PLAN_USER_CHANNELS; i++) {
		const struct lw_channel *c = &s->user_channels[i];
		if (c->hz == 0)
			continue;
		size_t at = begin(b, SEC_USER_CHANNEL);
		put8(b, i);
		put32(b, c->hz);
		put8(b, c->min_dr);
		put8(b, c->max_dr);
		end(b, at);
	}
	for (size_t i = 0; i < s->n_adr_history; i++) {
		const struct ns_adr_entry *e = &s->adr_history[i];
		size_t at = begin(b, SEC_ADR_ENTRY);
		put32(b, e->f_cnt);
		put16(b, (uint16_t)e->max_snr_ddb);
		put16(b, (uint16_t)e->max_rssi_dbm);
		put8(b, e->tx_power_index);
		put8(b, e->gateway_count);
		end(b, at);
	}
	for (size_t i = 0; i < s->n_mac_pending; i++) {
		const struct ns_mac_pending *p = &s->mac_pending[i];
		BUG_ON(p->len > NS_MAC_PENDING_LEN);
		size_t at = begin(b, SEC_MAC_PENDING);
		put8(b, p->cid);
		lw_buf_append(b, p->bytes, p->len);
		end(b, at);
		at = begin(b, SEC_MAC_RETRY);
		put8(b, p->cid);
		put8(b, p->tries);
		put16(b, p->wait);
		end(b, at);
	}
	for (size_t i = 0; i < s->n_mac_rejected; i++) {
		size_t at = begin(b, SEC_MAC_REJECTED);
		put8(b, s->mac_rejected[i].what);
		put64(b, s->mac_rejected[i].value);
		end(b, at);
	}
	if (s->mac_queue_len > 0) {
		size_t at = begin(b, SEC_MAC_QUEUE);
		lw_buf_append(b, s->mac_queue, s->mac_queue_len);
		end(b, at);
	}
	for (uint8_t i = 0; i < NS_DL_CHANNELS; i++) {
		if (s->dl_hz[i] == 0)
			continue;
		size_t at = begin(b, SEC_DL_CHANNEL);
		put8(b, i);
		put32(b, s->dl_hz[i]);
		end(b, at);
	}
	for (size_t i = 0; i < s->n_mac_errors; i++) {
		size_t at = begin(b, SEC_MAC_ERRORS);
		put8(b, s->mac_errors[i].cid);
		put8(b, s->mac_errors[i].count);
		end(b, at);
	}
	for (size_t i = 0; i < s->n_rx; i++) {
		const struct ns_rx_gateway *g = &s->rx[i];
		size_t at = begin(b, SEC_RX_GATEWAY);
		lw_buf_append(b, g->gateway_id.b, sizeof(g->gateway_id.b));
		put16(b, (uint16_t)g->rssi_dbm);
		put16(b, (uint16_t)g->snr_ddb);
		put32(b, g->board);
		put32(b, g->antenna);
		put8(b, g->context_len);
		lw_buf_append(b, g->context, g->context_len);
		end(b, at);
	}
	return b->err;
}

/* ---- reading: takes zero once the section is used up ---- */

static void get(struct lw_span *s, void *out, size_t n)
{
	size_t have = s->n < n ? s->n : n;
	memset(out, 0, n);
	if (have > 0)
		memcpy(out, s->p, have);
	*s = lw_span(have > 0 ? s->p + have : s->p, s->n - have);
}

static uint8_t get8(struct lw_span *s)
{
	uint8_t v;
	get(s, &v, 1);
	return v;
}

static uint16_t get16(struct lw_span *s)
{
	uint8_t p[2];
	get(s, p, sizeof(p));
	return lw_get_le16(p);
}

static uint32_t get32(struct lw_span *s)
{
	uint8_t p[4];
	get(s, p, sizeof(p));
	return lw_get_le32(p);
}

static uint64_t get64(struct lw_span *s)
{
	uint8_t p[8];
	get(s, p, sizeof(p));
	return lw_get_le64(p);
}

static void read_identity(struct lw_span v, struct ns_session *s)
{
	s->devaddr.v = get32(&v);
	get(&v, s->join_eui.b, sizeof(s->join_eui.b));
	uint8_t mac = get8(&v);
	uint8_t class = get8(&v);
	s->mac_version = mac < LW_MAC_VERSIONS ? (enum lw_mac_version)mac : LW_MAC_1_0_0;
	s->enabled_class = class <= LW_CLASS_C ? (enum lw_class) class : LW_CLASS_A;
	s->dev_nonce = get16(&v);
}

static void read_mac_state(struct lw_span v, struct ns_session *s)
{
	s->dev_status_req_at_ns = (int64_t)get64(&v);
	uint8_t nb = get8(&v);
	s->ping_slot_nb = nb <= 128 && (nb & (nb - 1)) == 0 ? nb : 0;
	s->ping_slot_dr = get8(&v);
	s->ping_slot_hz = get32(&v);
	s->beacon_locked = get8(&v) != 0;
	s->rejoin_max_time_n = get8(&v);
	s->rejoin_max_count_n = get8(&v);
	s->rejoin_enabled = get8(&v) != 0;
}

static void read_transmit(struct lw_span v, struct ns_session *s)
{
	s->dr = get8(&v);
	s->tx_power_index = get8(&v);
	s->nb_trans = get8(&v);
	(void)get8(&v);
	s->min_tx_power_index = get8(&v);
	s->adr = get8(&v) != 0;
	s->uplink_dwell_400ms = get8(&v);
	s->downlink_dwell_400ms = get8(&v);
	s->uplink_eirp_index = get8(&v);
}

static void read_user_channel(struct lw_span v, struct ns_session *s)
{
	uint8_t i = get8(&v);
	if (i >= LW_PLAN_USER_CHANNELS)
		return;
	struct lw_channel c = {.hz = get32(&v)};
	c.min_dr = get8(&v);
	c.max_dr = get8(&v);
	s->user_channels[i] = c.hz != 0 ? c : (struct lw_channel){0};
}

static void read_adr_entry(struct lw_span v, struct ns_session *s)
{
	if (s->n_adr_history == NS_ADR_HISTORY)
		return;
	struct ns_adr_entry *e = &s->adr_history[s->n_adr_history++];
	e->f_cnt = get32(&v);
	e->max_snr_ddb = (int16_t)get16(&v);
	e->max_rssi_dbm = (int16_t)get16(&v);
	e->tx_power_index = get8(&v);
	e->gateway_count = get8(&v);
}

static void read_rx_gateway(struct lw_span v, struct ns_session *s)
{
	if (s->n_rx == NS_RX_GATEWAYS)
		return;
	struct ns_rx_gateway *g = &s->rx[s->n_rx++];
	get(&v, g->gateway_id.b, sizeof(g->gateway_id.b));
	g->rssi_dbm = (int16_t)get16(&v);
	g->snr_ddb = (int16_t)get16(&v);
	g->board = get32(&v);
	g->antenna = get32(&v);
	uint8_t n = get8(&v);
	g->context_len = n <= NS_CONTEXT_MAX ? n : NS_CONTEXT_MAX;
	get(&v, g->context, g->context_len);
}

static void read_retry(struct lw_span v, struct ns_session *s)
{
	struct ns_mac_pending *p = ns_session_pending(s, get8(&v));
	if (p == NULL)
		return;
	p->tries = get8(&v);
	p->wait = get16(&v);
}

static void read_more(struct lw_span v, struct ns_session *s)
{
	s->max_duty_cycle = get8(&v);
	s->adr_ack_limit_exp = get8(&v);
	s->adr_ack_delay_exp = get8(&v);
	s->beacon_hz = get32(&v);
	s->ping_slot_used_ns = (int64_t)get64(&v);
	s->mac_queue_sent = get8(&v) != 0;
}

/* Room for the newest of them. */
static struct ns_rekey *offer_before(struct ns_session *s)
{
	memmove(&s->rekey_before[1], &s->rekey_before[0], (NS_OFFERS_BEFORE - 1) * sizeof(s->rekey_before[0]));
	return &s->rekey_before[0];
}

static void read_rekey(struct lw_span v, struct ns_rekey *r)
{
	memset(r, 0, sizeof(*r));
	r->present = true;
	r->type = get8(&v);
	get(&v, r->f_nwk_s_int_key.b, 16);
	get(&v, r->s_nwk_s_int_key.b, 16);
	get(&v, r->nwk_s_enc_key.b, 16);
	uint8_t n = get8(&v);
	r->session_key_id_len = n <= NS_KEY_ID_MAX ? n : NS_KEY_ID_MAX;
	get(&v, r->session_key_id, NS_KEY_ID_MAX);
	r->dl_settings = get8(&v);
	r->rx_delay_s = get8(&v);
	r->has_cflist = get8(&v) != 0;
	get(&v, r->cflist, sizeof(r->cflist));
	r->is_foreign = get8(&v) != 0;
	get(&v, r->app_s_key_kek, sizeof(r->app_s_key_kek));
	r->app_s_key_kek[sizeof(r->app_s_key_kek) - 1] = '\0';
	n = get8(&v);
	r->app_s_key_len = n <= NS_WRAPPED_KEY_MAX ? n : NS_WRAPPED_KEY_MAX;
	get(&v, r->app_s_key, sizeof(r->app_s_key));
}

static void read_region(struct lw_span v, char out[NS_REGION_ID_MAX])
{
	memset(out, 0, NS_REGION_ID_MAX);
	if (v.n > 0)
		memcpy(out, v.p, strnlen((const char *)v.p, v.n < NS_REGION_ID_MAX - 1 ? v.n : NS_REGION_ID_MAX - 1));
}

/* Follows the offer that it belongs to; of any other, nothing is taken. */
static void read_join_offer(struct lw_span v, struct ns_rekey *r)
{
	if (!r->present || r->type != NS_REKEY_JOIN)
		return;
	get(&v, r->join_eui.b, sizeof(r->join_eui.b));
	r->dev_nonce = get16(&v);
	uint8_t mac = get8(&v);
	r->mac_version = mac < LW_MAC_VERSIONS ? (enum lw_mac_version)mac : LW_MAC_1_0_0;
	r->at_ns = (int64_t)get64(&v);
	read_region(v, r->region_config_id);
}

static void read_section(uint8_t tag, struct lw_span v, struct ns_session *s)
{
	switch (tag) {
	case SEC_IDENTITY:
		read_identity(v, s);
		break;
	case SEC_KEYS:
		get(&v, s->f_nwk_s_int_key.b, 16);
		get(&v, s->s_nwk_s_int_key.b, 16);
		get(&v, s->nwk_s_enc_key.b, 16);
		break;
	case SEC_KEY_ID:
		memset(s->session_key_id, 0, sizeof(s->session_key_id));
		s->session_key_id_len = (uint8_t)(v.n < NS_KEY_ID_MAX ? v.n : NS_KEY_ID_MAX);
		get(&v, s->session_key_id, s->session_key_id_len);
		break;
	case SEC_REGION:
		read_region(v, s->region_config_id);
		break;
	case SEC_COUNTERS:
		s->f_cnt_up = get32(&v);
		s->n_f_cnt_down = get32(&v);
		s->a_f_cnt_down = get32(&v);
		s->conf_f_cnt = get32(&v);
		s->has_uplink = get8(&v) != 0;
		s->conf_f_cnt_before[0] = get32(&v);
		break;
	case SEC_CONFIRMED:
		for (size_t i = 1; i < NS_CONF_BEFORE; i++)
			s->conf_f_cnt_before[i] = get32(&v);
		break;
	case SEC_RECEIVE:
		s->rx1_delay_s = get8(&v);
		s->rx1_dr_offset = get8(&v);
		s->rx2_dr = get8(&v);
		s->rx2_hz = get32(&v);
		break;
	case SEC_TRANSMIT:
		read_transmit(v, s);
		break;
	case SEC_ENABLED:
		for (size_t i = 0; i < LW_PLAN_CHANNELS / 16; i++)
			s->enabled_channels[i] = get16(&v);
		break;
	case SEC_USER_CHANNEL:
		read_user_channel(v, s);
		break;
	case SEC_ADR_ENTRY:
		read_adr_entry(v, s);
		break;
	case SEC_MAC_PENDING: {
		uint8_t cid = get8(&v);
		ns_session_pending_put(s, cid, v.p, v.n < NS_MAC_PENDING_LEN ? v.n : NS_MAC_PENDING_LEN);
		break;
	}
	case SEC_MAC_ERRORS:
		if (s->n_mac_errors < NS_MAC_ERRORS) {
			s->mac_errors[s->n_mac_errors].cid = get8(&v);
			s->mac_errors[s->n_mac_errors++].count = get8(&v);
		}
		break;
	case SEC_MAC_STATE:
		read_mac_state(v, s);
		break;
	case SEC_UPLINK:
		s->last_uplink_at_ns = (int64_t)get64(&v);
		s->last_uplink_hz = get32(&v);
		s->last_uplink_confirmed = get8(&v) != 0;
		s->answered = get8(&v) != 0;
		break;
	case SEC_GAPS:
		s->f_cnt_gaps = get32(&v);
		break;
	case SEC_REJOIN:
		s->rj_count0 = get32(&v);
		break;
	case SEC_MAC_QUEUE:
		memset(s->mac_queue, 0, sizeof(s->mac_queue));
		s->mac_queue_len = (uint8_t)(v.n < NS_MAC_QUEUE_MAX ? v.n : NS_MAC_QUEUE_MAX);
		get(&v, s->mac_queue, s->mac_queue_len);
		break;
	case SEC_REKEY:
		read_rekey(v, &s->rekey);
		break;
	case SEC_JOIN_OFFER:
		read_join_offer(v, &s->rekey);
		break;
	case SEC_REKEY_BEFORE:
		read_rekey(v, offer_before(s));
		break;
	case SEC_JOIN_OFFER_BEFORE:
		read_join_offer(v, &s->rekey_before[0]);
		break;
	case SEC_MAC_RETRY:
		read_retry(v, s);
		break;
	case SEC_MAC_REJECTED: {
		uint8_t what = get8(&v);
		ns_session_reject(s, (enum ns_mac_what)what, get64(&v));
		break;
	}
	case SEC_MAC_MORE:
		read_more(v, s);
		break;
	case SEC_DL_CHANNEL: {
		uint8_t i = get8(&v);
		if (i < NS_DL_CHANNELS)
			s->dl_hz[i] = get32(&v);
		break;
	}
	case SEC_RX_GATEWAY:
		read_rx_gateway(v, s);
		break;
	default: /* of a newer version */
		break;
	}
}

int ns_session_decode(struct lw_span blob, struct ns_session *out)
{
	memset(out, 0, sizeof(*out));
	ns_session_mac_reset(out);
	if (blob.n == 0)
		return LW_ETRUNC;
	if (blob.p[0] != BLOB_VERSION)
		return LW_EPROTO;
	size_t at = 1;
	while (at < blob.n) {
		if (blob.n - at < 3)
			return LW_ETRUNC;
		size_t n = lw_get_le16(blob.p + at + 1);
		if (blob.n - at - 3 < n)
			return LW_ETRUNC;
		read_section(blob.p[at], lw_span(blob.p + at + 3, n), out);
		at += 3 + n;
	}
	return 0;
}

/* ---- rules ---- */

bool ns_session_is_11(const struct ns_session *s)
{
	return s->mac_version >= LW_MAC_1_1_0;
}

bool ns_session_is_joining(const struct ns_session *s)
{
	return s->rekey.present && s->rekey.type == NS_REKEY_JOIN && s->last_uplink_at_ns <= s->rekey.at_ns;
}

void ns_session_offer_push(struct ns_session *s, uint8_t type)
{
	if (s->rekey.present && (s->rekey.type == NS_REKEY_JOIN || type == 1))
		*offer_before(s) = s->rekey;
	memset(&s->rekey, 0, sizeof(s->rekey));
}

uint32_t ns_session_next_f_cnt_down(const struct ns_session *s, bool application)
{
	return application && ns_session_is_11(s) ? s->a_f_cnt_down : s->n_f_cnt_down;
}
