#include "gateway-bridge/wire/semtech_udp.h"

#include "common/base/base64.h"
#include "common/base/err.h"
#include "common/base/time.h"

#define HEAD_LEN 4
#define GATEWAY_HEAD_LEN 12

int semtech_datagram_parse(struct lw_span bytes, struct semtech_datagram *out)
{
	if (bytes.n < HEAD_LEN)
		return LW_ETRUNC;
	uint8_t version = bytes.p[0], type = bytes.p[3];
	if (version != 1 && version != 2)
		return LW_EUNSUPPORTED;
	if (type != SEMTECH_PUSH_DATA && type != SEMTECH_PULL_DATA && type != SEMTECH_TX_ACK)
		return LW_EPROTO;
	if (bytes.n < GATEWAY_HEAD_LEN)
		return LW_ETRUNC;
	if (type == SEMTECH_PULL_DATA && bytes.n != GATEWAY_HEAD_LEN)
		return LW_EBIG;
	*out = (struct semtech_datagram){
		.version = version,
		.type = (enum semtech_type)type,
		.token = lw_get_le16(bytes.p + 1),
		.gateway = lw_gateway_id_from_be(bytes.p + 4),
		.json = lw_span(bytes.p + GATEWAY_HEAD_LEN, bytes.n - GATEWAY_HEAD_LEN),
	};
	return 0;
}

void semtech_ack_encode(const struct semtech_datagram *request, uint8_t out[SEMTECH_ACK_LEN])
{
	out[0] = request->version;
	lw_put_le16(out + 1, request->token);
	out[3] = request->type == SEMTECH_PUSH_DATA ? SEMTECH_PUSH_ACK : SEMTECH_PULL_ACK;
}

/* --- words ------------------------------------------------------------------------------------------------------ */

static const struct {
	const char *text;
	enum semtech_code_rate rate;
} code_rates[] = {
	{"4/5", SEMTECH_CR_4_5},
	{"4/6", SEMTECH_CR_4_6},
	{"4/7", SEMTECH_CR_4_7},
	{"4/8", SEMTECH_CR_4_8},
	{"3/8", SEMTECH_CR_3_8},
	{"2/6", SEMTECH_CR_2_6},
	{"1/4", SEMTECH_CR_1_4},
	{"1/6", SEMTECH_CR_1_6},
	{"5/6", SEMTECH_CR_5_6},
	{"4/5LI", SEMTECH_CR_LI_4_5},
	{"4/6LI", SEMTECH_CR_LI_4_6},
	{"4/8LI", SEMTECH_CR_LI_4_8},
	/* Other spellings of the same, read only. */
	{"2/3", SEMTECH_CR_4_6},
	{"1/2", SEMTECH_CR_4_8},
	{"2/4", SEMTECH_CR_4_8},
	{"1/3", SEMTECH_CR_2_6},
};

static enum semtech_code_rate find_code_rate(struct lw_span text)
{
	for (size_t i = 0; i < sizeof(code_rates) / sizeof(code_rates[0]); i++) {
		if (lw_span_eq_str(text, code_rates[i].text))
			return code_rates[i].rate;
	}
	return SEMTECH_CR_NONE;
}

const char *semtech_code_rate_text(enum semtech_code_rate rate)
{
	for (size_t i = 0; i < sizeof(code_rates) / sizeof(code_rates[0]); i++) {
		if (code_rates[i].rate == rate)
			return code_rates[i].text;
	}
	return NULL;
}

/* The text between the quotes; an escape inside goes through `room`. False: not a string, or longer than the room. */
static bool string_text(struct lw_span value, char *room, size_t cap, struct lw_span *out)
{
	if (gb_json_plain(value, out))
		return true;
	int n = gb_json_string(value, room, cap);
	if (n < 0)
		return false;
	*out = lw_span(room, (size_t)n);
	return true;
}

/* Decimal digits at *p, at most 4; false when there is none. */
static bool take_number(struct lw_span *s, uint32_t *out)
{
	size_t i = 0;
	uint32_t v = 0;
	for (; i < s->n && i < 4 && s->p[i] >= '0' && s->p[i] <= '9'; i++)
		v = v * 10 + (uint32_t)(s->p[i] - '0');
	*out = v;
	*s = lw_span(s->p + i, s->n - i);
	return i > 0;
}

static bool take_text(struct lw_span *s, const char *text)
{
	size_t n = strlen(text);
	if (s->n < n || memcmp(s->p, text, n) != 0)
		return false;
	*s = lw_span(s->p + n, s->n - n);
	return true;
}

/* "SF9BW125" */
static bool parse_lora_rate(struct lw_span s, struct semtech_data_rate *r)
{
	uint32_t sf, khz;
	if (!take_text(&s, "SF") || !take_number(&s, &sf) || !take_text(&s, "BW") || !take_number(&s, &khz) || s.n != 0)
		return false;
	if (sf < 5 || sf > 12 || khz == 0)
		return false;
	r->spreading_factor = (uint8_t)sf;
	r->bandwidth_hz = khz * 1000;
	return true;
}

/* "M0CW137" */
static bool parse_lr_fhss_rate(struct lw_span s, struct semtech_data_rate *r)
{
	uint32_t type, khz;
	if (!take_text(&s, "M") || !take_number(&s, &type) || !take_text(&s, "CW") || !take_number(&s, &khz) ||
	    s.n != 0 || khz == 0)
		return false;
	r->channel_width_hz = khz * 1000;
	return true;
}

/* RFC 3339, and the form with a space and " GMT" or " UTC" at its end. */
static bool parse_time(struct lw_span value, int64_t *ns)
{
	char room[64];
	struct lw_span s;
	if (!string_text(value, room, sizeof(room), &s))
		return false;
	if (s.n > 4 && (memcmp(s.p + s.n - 4, " GMT", 4) == 0 || memcmp(s.p + s.n - 4, " UTC", 4) == 0))
		s.n -= 4;
	return s.n > 0 && lw_rfc3339_parse_n((const char *)s.p, s.n, ns) == 0;
}

static bool read_u32(struct lw_span value, uint32_t *out)
{
	int64_t v;
	if (!gb_json_fixed(value, 0, 0, UINT32_MAX, &v))
		return false;
	*out = (uint32_t)v;
	return true;
}

static bool read_i32(struct lw_span value, int32_t *out)
{
	int64_t v;
	if (!gb_json_fixed(value, 0, INT32_MIN, INT32_MAX, &v))
		return false;
	*out = (int32_t)v;
	return true;
}

static bool read_float(struct lw_span value, float *out)
{
	double v;
	if (!gb_json_double(value, &v) || v < -1000 || v > 1000)
		return false;
	*out = (float)v;
	return true;
}

/* Appends one terminated UTF-8 text to the pool; returns its offset or -1. */
static int meta_text(struct semtech_meta *m, struct lw_span value)
{
	size_t room = sizeof(m->text) - m->used;
	if (room == 0)
		return -1;
	int n = gb_json_string(value, m->text + m->used, room - 1);
	if (n < 0 || !gb_utf8_valid(m->text + m->used, (size_t)n))
		return -1;
	int at = (int)m->used;
	m->text[m->used + (size_t)n] = '\0';
	m->used += (size_t)n + 1;
	return at;
}

/* An object of strings. Returns how many entries could not be taken. */
static unsigned parse_meta(struct lw_span value, struct semtech_meta *m)
{
	struct gb_json j = gb_json_init(value);
	bool first = true;
	unsigned lost = 0;
	struct lw_span key, v;
	if (!gb_json_open(&j, '{'))
		return gb_json_peek(&j) != GB_JSON_NULL;
	while (gb_json_member(&j, &first, &key) && gb_json_value(&j, &v)) {
		size_t mark = m->used;
		int k = -1, t = -1;
		if (m->n < SEMTECH_MAX_META) {
			/* The key with its quotes is a string value. */
			k = meta_text(m, lw_span(key.p - 1, key.n + 2));
			t = k < 0 ? -1 : meta_text(m, v);
		}
		if (t < 0) {
			m->used = mark;
			lost++;
			continue;
		}
		m->v[m->n].key = (uint16_t)k;
		m->v[m->n].value = (uint16_t)t;
		m->n++;
	}
	return lost;
}

/* Members are told apart by one comparison: all but two of their names have four characters. */
#define KEY(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* 0 for a name of another length. */
static uint32_t key4(struct lw_span key)
{
	return key.n == 4 ? lw_get_le32(key.p) : 0;
}

/* --- PUSH_DATA -------------------------------------------------------------------------------------------------- */

/* At the value of "rxpk": notes where it is. True: at least one element of it is whole. */
static bool open_rxpk(struct semtech_push *out, struct gb_json *j)
{
	struct lw_span element;
	out->in_rxpk = false;
	out->n_elements = 0;
	out->rxpk = *j;
	if (!gb_json_open(&out->rxpk, '[')) {
		gb_json_skip(j);
		return false;
	}
	struct gb_json inside = out->rxpk;
	bool first = true, any = false;
	out->in_rxpk = true;
	out->first = true;
	while (gb_json_element(&inside, &first) && gb_json_value(&inside, &element)) {
		any = true;
		if (out->n_elements == SEMTECH_KNOWN_ELEMENTS)
			continue;
		out->element[out->n_elements++] = element;
		out->rxpk = inside;
		out->first = false;
	}
	*j = inside;
	return any;
}

int semtech_push_open(struct lw_span json, struct semtech_push *out)
{
	struct gb_json j = gb_json_init(json);
	bool first = true, any = false;
	struct lw_span key;
	out->has_stat = out->broken = out->in_rxpk = out->first = false;
	out->stat = lw_span(NULL, 0);
	out->n_elements = out->next_element = 0;
	if (!gb_json_open(&j, '{'))
		return LW_EINVAL;
	while (gb_json_member(&j, &first, &key)) {
		switch (key4(key)) {
		case KEY('r', 'x', 'p', 'k'):
			any |= open_rxpk(out, &j);
			break;
		case KEY('s', 't', 'a', 't'): {
			struct lw_span stat;
			if (gb_json_value(&j, &stat)) {
				out->stat = stat;
				out->has_stat = any = true;
			}
			break;
		}
		default:
			gb_json_skip(&j);
		}
	}
	/* A NUL at the end of the text is a habit of some forwarders; other bytes behind the object are an error. */
	while (!j.broken && j.p < j.end && *j.p == '\0')
		j.p++;
	out->broken = !gb_json_at_end(&j);
	return out->broken && !any ? LW_EINVAL : 0;
}

struct rxpk_raw {
	struct lw_span datr, codr, modu, data, rsig, meta, stat, freq, tmst;
	struct semtech_antenna antenna;
	uint32_t hpw;
};

/* Names of other lengths. */
static void rxpk_other(struct lw_span key, struct lw_span v, struct semtech_rxpk *out, struct rxpk_raw *raw)
{
	int64_t n;
	if (lw_span_eq_str(key, "ftime") && gb_json_fixed(v, 0, 0, 999999999, &n)) {
		raw->antenna.has_ftime = true;
		raw->antenna.ftime_ns = (uint32_t)n;
	} else if (lw_span_eq_str(key, "brd")) {
		read_u32(v, &out->board);
	} else if (lw_span_eq_str(key, "aesk")) {
		out->has_aesk = read_u32(v, &out->aesk);
	} else if (lw_span_eq_str(key, "hpw")) {
		read_u32(v, &raw->hpw);
	}
}

/* Members that are simply left out when they are wrong. */
static void rxpk_optional(struct lw_span key, struct lw_span v, struct semtech_rxpk *out, struct rxpk_raw *raw)
{
	int64_t n;
	switch (key4(key)) {
	case KEY('t', 'i', 'm', 'e'):
		out->has_time = parse_time(v, &out->time_ns);
		break;
	case KEY('t', 'm', 'm', 's'):
		if (gb_json_fixed(v, 0, 0, INT64_MAX / 1000000, &n)) {
			out->has_tmms = true;
			out->tmms = (uint64_t)n;
		}
		break;
	case KEY('c', 'h', 'a', 'n'):
		read_u32(v, &raw->antenna.channel);
		break;
	case KEY('r', 'f', 'c', 'h'):
		read_u32(v, &out->rf_chain);
		break;
	case KEY('r', 's', 's', 'i'):
		read_i32(v, &raw->antenna.rssi_dbm);
		break;
	case KEY('l', 's', 'n', 'r'):
		read_float(v, &raw->antenna.snr_db);
		break;
	default:
		rxpk_other(key, v, out, raw);
	}
}

/* Where the text of a member is kept until all are there; NULL: it is read at once. */
static struct lw_span *rxpk_kept(struct lw_span key, struct rxpk_raw *raw)
{
	switch (key4(key)) {
	case KEY('d', 'a', 't', 'a'):
		return &raw->data;
	case KEY('d', 'a', 't', 'r'):
		return &raw->datr;
	case KEY('c', 'o', 'd', 'r'):
		return &raw->codr;
	case KEY('m', 'o', 'd', 'u'):
		return &raw->modu;
	case KEY('f', 'r', 'e', 'q'):
		return &raw->freq;
	case KEY('t', 'm', 's', 't'):
		return &raw->tmst;
	case KEY('s', 't', 'a', 't'):
		return &raw->stat;
	case KEY('r', 's', 'i', 'g'):
		return &raw->rsig;
	case KEY('m', 'e', 't', 'a'):
		return &raw->meta;
	default:
		return NULL;
	}
}

static bool rxpk_members(struct lw_span element, struct semtech_rxpk *out, struct rxpk_raw *raw)
{
	struct gb_json j = gb_json_init(element);
	bool first = true;
	struct lw_span key, v;
	if (!gb_json_open(&j, '{'))
		return false;
	while (gb_json_member(&j, &first, &key) && gb_json_value(&j, &v)) {
		struct lw_span *kept = rxpk_kept(key, raw);
		if (kept)
			*kept = v;
		else
			rxpk_optional(key, v, out, raw);
	}
	return !j.broken;
}

static bool is_null(struct lw_span v)
{
	return v.n == 0 || v.p[0] == 'n';
}

static int rxpk_modulation(const struct rxpk_raw *raw, struct semtech_data_rate *r)
{
	char room[32];
	struct lw_span modu, text = {0};
	*r = (struct semtech_data_rate){0};
	bool is_text = string_text(raw->datr, room, sizeof(room), &text);
	if (is_null(raw->modu)) /* the data rate says it as well */
		r->modulation = !is_text ? SEMTECH_FSK : text.n && text.p[0] == 'M' ? SEMTECH_LR_FHSS : SEMTECH_LORA;
	else if (!gb_json_plain(raw->modu, &modu))
		return LW_EINVAL;
	else if (lw_span_eq_str(modu, "LORA"))
		r->modulation = SEMTECH_LORA;
	else if (lw_span_eq_str(modu, "FSK"))
		r->modulation = SEMTECH_FSK;
	else if (lw_span_eq_str(modu, "LR-FHSS"))
		r->modulation = SEMTECH_LR_FHSS;
	else
		return LW_EUNSUPPORTED;

	if (r->modulation == SEMTECH_FSK)
		return read_u32(raw->datr, &r->bitrate) && r->bitrate > 0 ? 0 : LW_EINVAL;
	struct lw_span codr;
	char codr_room[16];
	if (string_text(raw->codr, codr_room, sizeof(codr_room), &codr))
		r->code_rate = find_code_rate(codr);
	if (r->modulation == SEMTECH_LORA)
		return is_text && parse_lora_rate(text, r) ? 0 : LW_EINVAL;
	r->grid_steps = raw->hpw;
	return is_text && parse_lr_fhss_rate(text, r) ? 0 : LW_EINVAL;
}

static int rxpk_payload(struct lw_span value, struct semtech_rxpk *out)
{
	char room[LW_BASE64_LEN(SEMTECH_PHY_MAX) + 8];
	struct lw_span text;
	if (!string_text(value, room, sizeof(room), &text))
		return LW_EINVAL;
	int n = lw_base64_decode((const char *)text.p, text.n, out->phy, sizeof(out->phy));
	if (n <= 0)
		return n == LW_EBIG ? LW_EBIG : LW_EINVAL;
	out->phy_n = (size_t)n;
	return 0;
}

/* Passed on as it is, if it is one. */
static void read_etime(struct lw_span value, struct semtech_antenna *a)
{
	uint8_t cipher[16];
	if (gb_json_string(value, a->etime, sizeof(a->etime)) != LW_BASE64_LEN(sizeof(cipher)) ||
	    lw_base64_decode(a->etime, LW_BASE64_LEN(sizeof(cipher)), cipher, sizeof(cipher)) != (int)sizeof(cipher))
		a->etime[0] = 0;
}

static bool parse_antenna(struct lw_span element, struct semtech_antenna *a)
{
	struct gb_json j = gb_json_init(element);
	bool first = true, heard = false;
	struct lw_span key, v;
	int64_t n;
	if (!gb_json_open(&j, '{'))
		return false;
	while (gb_json_member(&j, &first, &key) && gb_json_value(&j, &v)) {
		if (lw_span_eq_str(key, "ant") && !read_u32(v, &a->antenna))
			return false;
		if (lw_span_eq_str(key, "chan"))
			read_u32(v, &a->channel);
		else if (lw_span_eq_str(key, "rssic"))
			heard = read_i32(v, &a->rssi_dbm);
		else if (lw_span_eq_str(key, "lsnr"))
			read_float(v, &a->snr_db);
		else if (lw_span_eq_str(key, "etime"))
			read_etime(v, a);
		else if (lw_span_eq_str(key, "ftime") && gb_json_fixed(v, 0, 0, 999999999, &n)) {
			a->has_ftime = true;
			a->ftime_ns = (uint32_t)n;
		}
	}
	return heard;
}

/* Signal per antenna; without a usable rsig there is one antenna, described by the element itself. */
static void rxpk_antennas(const struct rxpk_raw *raw, struct semtech_rxpk *out)
{
	out->n_antennas = 0;
	if (!is_null(raw->rsig)) {
		struct gb_json j = gb_json_init(raw->rsig);
		bool first = true;
		struct lw_span v;
		if (!gb_json_open(&j, '['))
			out->lost++;
		else
			while (gb_json_element(&j, &first) && gb_json_value(&j, &v)) {
				struct semtech_antenna a = {.channel = raw->antenna.channel};
				if (out->n_antennas == SEMTECH_MAX_ANTENNAS || !parse_antenna(v, &a))
					out->lost++;
				else
					out->antenna[out->n_antennas++] = a;
			}
	}
	if (out->n_antennas == 0)
		out->antenna[out->n_antennas++] = raw->antenna;
}

int semtech_rxpk_parse(struct lw_span element, struct semtech_rxpk *out)
{
	struct rxpk_raw raw = {0};
	out->has_tmst = out->has_time = out->has_tmms = false;
	out->has_aesk = false;
	out->rf_chain = out->board = 0;
	out->crc = SEMTECH_CRC_NONE;
	out->lost = 0;
	out->meta.n = out->meta.used = 0;
	if (!rxpk_members(element, out, &raw))
		return LW_EINVAL;
	if (!is_null(raw.tmst)) {
		out->has_tmst = read_u32(raw.tmst, &out->tmst_us);
		if (!out->has_tmst)
			return LW_EINVAL;
	}
	int64_t v;
	if (!gb_json_fixed(raw.freq, 6, 1, UINT32_MAX, &v))
		return LW_EINVAL;
	out->freq_hz = (uint32_t)v;
	if (!is_null(raw.stat)) {
		if (!gb_json_fixed(raw.stat, 0, -1, 1, &v))
			return LW_EINVAL;
		out->crc = (enum semtech_crc)v;
	}
	int err = rxpk_modulation(&raw, &out->rate);
	if (err == 0)
		err = rxpk_payload(raw.data, out);
	if (err < 0)
		return err;
	rxpk_antennas(&raw, out);
	if (raw.meta.n)
		out->lost += parse_meta(raw.meta, &out->meta);
	return 0;
}

bool semtech_push_element(struct semtech_push *p, struct lw_span *element)
{
	if (p->in_rxpk && p->next_element < p->n_elements) {
		*element = p->element[p->next_element++];
		return true;
	}
	if (p->in_rxpk && gb_json_element(&p->rxpk, &p->first) && gb_json_value(&p->rxpk, element))
		return true;
	p->in_rxpk = false;
	return false;
}

static bool read_in(struct lw_span value, double min, double max, double *out)
{
	double v;
	if (!gb_json_double(value, &v) || v < min || v > max)
		return false;
	*out = v;
	return true;
}

int semtech_stat_parse(const struct semtech_push *p, struct semtech_stat *out)
{
	struct gb_json j = gb_json_init(p->stat);
	bool first = true;
	struct lw_span key, v;
	/* Everything but the text pool, which needs no clearing. */
	memset(out, 0, offsetof(struct semtech_stat, meta));
	out->meta.n = out->meta.used = 0;
	out->lost = 0;
	if (!p->has_stat || !gb_json_open(&j, '{'))
		return LW_EINVAL;
	while (gb_json_member(&j, &first, &key) && gb_json_value(&j, &v)) {
		bool ok = true;
		if (is_null(v))
			continue;
		if (lw_span_eq_str(key, "time"))
			ok = out->has_time = parse_time(v, &out->time_ns);
		else if (lw_span_eq_str(key, "lati"))
			ok = read_in(v, -90, 90, &out->latitude);
		else if (lw_span_eq_str(key, "long"))
			ok = read_in(v, -180, 180, &out->longitude);
		else if (lw_span_eq_str(key, "alti"))
			ok = read_in(v, -100000, 10000000, &out->altitude_m);
		else if (lw_span_eq_str(key, "rxnb"))
			ok = out->has_rxnb = read_u32(v, &out->rxnb);
		else if (lw_span_eq_str(key, "rxok"))
			ok = out->has_rxok = read_u32(v, &out->rxok);
		else if (lw_span_eq_str(key, "rxfw"))
			ok = read_u32(v, &out->rxfw);
		else if (lw_span_eq_str(key, "dwnb"))
			ok = out->has_dwnb = read_u32(v, &out->dwnb);
		else if (lw_span_eq_str(key, "txnb"))
			ok = out->has_txnb = read_u32(v, &out->txnb);
		else if (lw_span_eq_str(key, "ackr"))
			ok = out->has_ackr = read_in(v, 0, 100, &out->ackr);
		else if (lw_span_eq_str(key, "temp"))
			ok = out->has_temp = read_in(v, -274, 1000, &out->temp);
		else if (lw_span_eq_str(key, "meta"))
			out->lost += parse_meta(v, &out->meta);
		out->lost += !ok;
	}
	out->has_position = out->latitude != 0 || out->longitude != 0 || out->altitude_m != 0;
	return 0;
}
