/* The downward half of the protocol: PULL_RESP out, TX_ACK in. */
#include <stdarg.h>
#include <stdio.h>

#include "common/base/base64.h"
#include "common/base/err.h"
#include "gateway-bridge/wire/semtech_udp.h"

#define HEAD_LEN 4

struct text {
	char *p;
	size_t n, cap;
};

static __attribute__((format(printf, 2, 3))) void put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(t->p + t->n, t->cap - t->n, fmt, ap);
	va_end(ap);
	t->n = (size_t)n < t->cap - t->n ? t->n + (size_t)n : t->cap - 1;
}

static const char *bool_text(bool v)
{
	return v ? "true" : "false";
}

static int put_rate(struct text *t, const struct semtech_txpk *tx)
{
	const struct semtech_data_rate *r = &tx->rate;
	if (r->modulation == SEMTECH_FSK) {
		put(t, ",\"modu\":\"FSK\",\"datr\":%u,\"fdev\":%u", r->bitrate, tx->fdev_hz);
		return 0;
	}
	/* The reference forwarder insists on a code rate; 4/5 is what LoRaWAN uses. */
	const char *codr = semtech_code_rate_text(r->code_rate == SEMTECH_CR_NONE ? SEMTECH_CR_4_5 : r->code_rate);
	if (r->modulation != SEMTECH_LORA || !codr)
		return LW_EUNSUPPORTED;
	put(t, ",\"modu\":\"LORA\",\"datr\":\"SF%uBW%u\",\"codr\":\"%s\"", r->spreading_factor, r->bandwidth_hz / 1000,
	    codr);
	return 0;
}

int semtech_pull_resp_encode(uint8_t version, uint16_t token, const struct semtech_txpk *tx, uint8_t *out, size_t cap)
{
	char json[SEMTECH_PULL_RESP_MAX + 1];
	struct text t = {.p = json, .cap = sizeof(json)};
	if (tx->phy.n > SEMTECH_PHY_MAX)
		return LW_EBIG;
	put(&t, "{\"txpk\":{\"imme\":%s", bool_text(tx->timing == SEMTECH_AT_ONCE));
	if (tx->timing == SEMTECH_AT_TMST)
		put(&t, ",\"tmst\":%u", tx->tmst_us);
	else if (tx->timing == SEMTECH_AT_GPS)
		put(&t, ",\"tmms\":%llu", (unsigned long long)tx->tmms);
	put(&t, ",\"freq\":%u.%06u,\"rfch\":%u,\"powe\":%d,\"ant\":%u,\"brd\":%u", tx->freq_hz / 1000000,
	    tx->freq_hz % 1000000, tx->rf_chain, (int)tx->power_dbm, tx->antenna, tx->board);
	int err = put_rate(&t, tx);
	if (err < 0)
		return err;
	put(&t, ",\"ipol\":%s", bool_text(tx->invert_polarity));
	if (tx->preamble)
		put(&t, ",\"prea\":%u", tx->preamble);
	if (tx->no_crc)
		put(&t, ",\"ncrc\":true");
	if (tx->implicit_header)
		put(&t, ",\"nhdr\":true");
	char data[LW_BASE64_LEN(SEMTECH_PHY_MAX) + 1];
	lw_base64_encode(tx->phy.p, tx->phy.n, data);
	put(&t, ",\"size\":%zu,\"data\":\"%s\"}}", tx->phy.n, data);
	/* A text that was cut fills the room. */
	if (HEAD_LEN + t.n > SEMTECH_PULL_RESP_MAX || HEAD_LEN + t.n > cap)
		return LW_EBIG;
	out[0] = version;
	lw_put_le16(out + 1, version == 1 ? 0 : token);
	out[3] = SEMTECH_PULL_RESP;
	memcpy(out + HEAD_LEN, json, t.n);
	return (int)(HEAD_LEN + t.n);
}

static enum semtech_tx_error find_tx_error(struct lw_span text)
{
	static const struct {
		const char *text;
		enum semtech_tx_error error;
	} errors[] = {
		{"", SEMTECH_TX_OK},
		{"NONE", SEMTECH_TX_OK},
		{"TOO_LATE", SEMTECH_TX_TOO_LATE},
		{"TOO_EARLY", SEMTECH_TX_TOO_EARLY},
		{"COLLISION_PACKET", SEMTECH_TX_COLLISION_PACKET},
		{"COLLISION_BEACON", SEMTECH_TX_COLLISION_BEACON},
		{"TX_FREQ", SEMTECH_TX_FREQ},
		{"TX_POWER", SEMTECH_TX_POWER},
		{"GPS_UNLOCKED", SEMTECH_TX_GPS_UNLOCKED},
		{"QUEUE_FULL", SEMTECH_TX_QUEUE_FULL},
		{"DUTY_CYCLE_OVERFLOW", SEMTECH_TX_DUTY_CYCLE_OVERFLOW},
	};
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (lw_span_eq_str(text, errors[i].text))
			return errors[i].error;
	}
	return SEMTECH_TX_OTHER;
}

static void parse_txpk_ack(struct gb_json *j, struct semtech_tx_ack *out)
{
	bool first = true;
	struct lw_span key, v, text;
	if (!gb_json_open(j, '{')) {
		gb_json_skip(j);
		return;
	}
	while (gb_json_member(j, &first, &key) && gb_json_value(j, &v)) {
		if (lw_span_eq_str(key, "error") && v.p[0] != 'n')
			out->error = gb_json_plain(v, &text) ? find_tx_error(text) : SEMTECH_TX_OTHER;
		else if (lw_span_eq_str(key, "warn") && gb_json_plain(v, &text))
			out->warned = find_tx_error(text) != SEMTECH_TX_OK;
	}
}

void semtech_tx_ack_parse(struct lw_span json, struct semtech_tx_ack *out)
{
	*out = (struct semtech_tx_ack){.error = SEMTECH_TX_OK};
	/* One byte is a terminator or padding, not JSON. */
	while (json.n > 0 && json.p[json.n - 1] == '\0')
		json.n--;
	struct gb_json j = gb_json_init(json);
	if (json.n <= 1 || gb_json_at_end(&j))
		return;
	bool first = true;
	struct lw_span key;
	if (!gb_json_open(&j, '{'))
		j.broken = true;
	while (gb_json_member(&j, &first, &key)) {
		if (lw_span_eq_str(key, "txpk_ack"))
			parse_txpk_ack(&j, out);
		else
			gb_json_skip(&j);
	}
	if (!gb_json_at_end(&j))
		out->error = SEMTECH_TX_OTHER;
}
