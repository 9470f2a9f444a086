#include "app-server/domain/join.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/hex.h"
#include "common/lorawan/cipher.h"
#include "common/lorawan/mic.h"
#include "common/lorawan/phy.h"
#include "common/pb/json_in.h"
#include "common/pb/json_out.h"

#define MAX_DEPTH 8

const char *as_join_result_text(enum as_join_result r)
{
	static const char *const names[AS_JOIN_RESULTS] = {
		[AS_JOIN_SUCCESS] = "Success",
		[AS_JOIN_MIC_FAILED] = "MICFailed",
		[AS_JOIN_REQ_FAILED] = "JoinReqFailed",
		[AS_JOIN_UNKNOWN_DEV_EUI] = "UnknownDevEUI",
		[AS_JOIN_MALFORMED] = "MalformedRequest",
		[AS_JOIN_UNKNOWN_RECEIVER] = "UnknownReceiver",
		[AS_JOIN_OTHER] = "Other",
	};
	return names[r];
}

/* ---- reading ---- */

static const struct member {
	const char *name;
	size_t offset, cap;
} text_members[] = {
#define M(name_, member_)                                                                                              \
	{                                                                                                              \
		name_, offsetof(struct as_join_req, member_), sizeof(((struct as_join_req *)0)->member_)               \
	}
	M("ProtocolVersion", protocol_version),
	M("SenderID", sender_id),
	M("ReceiverID", receiver_id),
	M("SenderToken", sender_token),
	M("MessageType", message_type),
	M("MACVersion", mac_version_text),
	M("PHYPayload", phy_text),
	M("DevEUI", dev_eui_text),
	M("DevAddr", devaddr_text),
	M("DLSettings", dl_settings_text),
	M("CFList", cflist_text),
#undef M
};

static int read_text(struct lw_json_in *in, struct as_join_req *req, const struct member *m, struct lw_diag *diag)
{
	struct lw_span text;
	char *at = (char *)req + m->offset;
	int rc = lw_json_string(in, &text);
	if (rc < 0 || text.n >= m->cap || memchr(text.p, 0, text.n) || at[0]) {
		lw_diag_set(diag, "%s is no text, too long, or there twice", m->name);
		return LW_EINVAL;
	}
	/* Hex texts may begin with 0x. */
	memcpy(at, text.p, text.n);
	at[text.n] = 0;
	return 0;
}

static int read_number(struct lw_json_in *in, const char *name, int64_t max, int64_t *out, struct lw_diag *diag)
{
	struct lw_span digits;
	char buf[24], *end = buf;
	int rc = lw_json_number(in, &digits);
	if (rc == 0 && digits.n < sizeof(buf)) {
		memcpy(buf, digits.p, digits.n);
		buf[digits.n] = 0;
		*out = strtoll(buf, &end, 10);
	}
	if (end == buf || *end || *out < 0 || *out > max) {
		lw_diag_set(diag, "%s is no number from 0 to %lld", name, (long long)max);
		return LW_EINVAL;
	}
	return 0;
}

static int read_member(struct lw_json_in *in, struct lw_span name, struct as_join_req *req, int64_t *transaction,
		       struct lw_diag *diag)
{
	for (size_t i = 0; i < sizeof(text_members) / sizeof(text_members[0]); i++) {
		if (!lw_span_eq_str(name, text_members[i].name))
			continue;
		if (lw_json_peek(in) == LW_JSON_NULL)
			return lw_json_literal(in);
		return read_text(in, req, &text_members[i], diag);
	}
	if (lw_span_eq_str(name, "TransactionID"))
		return read_number(in, "TransactionID", UINT32_MAX, transaction, diag);
	if (lw_span_eq_str(name, "RxDelay"))
		return read_number(in, "RxDelay", 15, &req->rx_delay, diag);
	return lw_json_skip(in);
}

int as_join_parse(struct lw_span json, struct as_join_req *out, struct lw_diag *diag)
{
	struct lw_json_in in;
	struct lw_span name;
	bool first = true;
	int64_t transaction = -1;

	memset(out, 0, sizeof(*out));
	out->rx_delay = -1;
	lw_diag_set(diag, "the body is not a JSON object");
	lw_json_in_init(&in, json, MAX_DEPTH);
	int rc = lw_json_enter(&in, LW_JSON_OBJECT);
	while (rc == 0 && (rc = lw_json_next_member(&in, &first, &name)) == 1)
		rc = read_member(&in, name, out, &transaction, diag);
	if (rc == 0)
		rc = lw_json_end(&in);
	lw_json_in_deinit(&in);
	if (rc < 0)
		return LW_EINVAL;
	if (transaction < 0 || !out->sender_id[0] || !out->receiver_id[0] || !out->message_type[0]) {
		lw_diag_set(diag, "SenderID, ReceiverID, TransactionID or MessageType is missing");
		return LW_EINVAL;
	}
	out->transaction_id = (uint32_t)transaction;
	return 0;
}

/* ---- making sense ---- */

/* Exactly n bytes. */
static bool hex(const char *text, uint8_t *out, size_t n)
{
	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		text += 2;
	return strlen(text) == 2 * n && lw_hex_decode(text, 2 * n, out, n) == (int)n;
}

static enum as_join_result malformed(struct lw_diag *diag, const char *why)
{
	lw_diag_set(diag, "%s", why);
	return AS_JOIN_MALFORMED;
}

static enum as_join_result check_accept(struct as_join_req *req, struct lw_diag *diag)
{
	uint8_t settings, addr[4];
	if (!hex(req->devaddr_text, addr, sizeof(addr)))
		return malformed(diag, "DevAddr is not an address of 4 bytes");
	if (!hex(req->dl_settings_text, &settings, 1))
		return malformed(diag, "DLSettings is not one byte");
	if (req->rx_delay < 0)
		return malformed(diag, "RxDelay is missing");
	req->accept.devaddr.v = lw_get_be32(addr);
	req->accept.netid = req->netid;
	req->accept.dl_settings = lw_dl_settings_parse(settings);
	req->accept.rx_delay = (uint8_t)req->rx_delay;
	req->accept.has_cflist = req->cflist_text[0] != 0;
	if (req->accept.has_cflist && !hex(req->cflist_text, req->accept.cflist, LW_CFLIST_LEN))
		return malformed(diag, "CFList is not 16 bytes");
	return AS_JOIN_SUCCESS;
}

/* The frame, of the kind that the message has. */
static bool read_frame(struct as_join_req *req, bool rejoin, struct lw_phy *phy)
{
	static const size_t lengths[] = {AS_JOIN_PHY, 19, AS_JOIN_PHY_MAX};
	for (size_t i = 0; i < 3 && req->phy_len == 0; i++)
		if (hex(req->phy_text, req->phy, lengths[i]))
			req->phy_len = lengths[i];
	if (req->phy_len == 0 || lw_phy_parse(lw_span(req->phy, req->phy_len), phy) < 0)
		return false;
	if (!rejoin) {
		req->type = LW_JOIN_REQ_JOIN;
		req->dev_eui = phy->u.join_request.dev_eui;
		req->join_eui = phy->u.join_request.join_eui;
		req->dev_nonce = phy->u.join_request.dev_nonce;
		return phy->mtype == LW_MTYPE_JOIN_REQUEST;
	}
	if (phy->mtype != LW_MTYPE_REJOIN_REQUEST)
		return false;
	req->type = (enum lw_join_req_type)phy->u.rejoin.type;
	req->dev_eui = phy->u.rejoin.dev_eui;
	req->join_eui = phy->u.rejoin.join_eui;
	req->dev_nonce = phy->u.rejoin.rj_count;
	return true;
}

enum as_join_result as_join_check(struct as_join_req *req, struct lw_diag *diag)
{
	struct lw_phy phy;
	uint8_t netid[3], receiver[8], eui[8];
	bool rejoin = strcmp(req->message_type, "RejoinReq") == 0;

	if (!rejoin && strcmp(req->message_type, "JoinReq") != 0) {
		lw_diag_set(diag, "%s is not supported", req->message_type);
		return AS_JOIN_OTHER;
	}
	if (!hex(req->sender_id, netid, sizeof(netid)))
		return malformed(diag, "SenderID is not a NetID");
	req->netid.v = lw_get_be24(netid);
	if (lw_mac_version_parse(req->mac_version_text, &req->mac_version) < 0)
		return malformed(diag, "MACVersion is not known");
	if (!read_frame(req, rejoin, &phy))
		return malformed(diag,
				 rejoin ? "PHYPayload is not a rejoin-request" : "PHYPayload is not a join-request");
	if (!hex(req->dev_eui_text, eui, sizeof(eui)))
		return malformed(diag, "DevEUI is not an EUI");
	if (!lw_dev_eui_eq(lw_dev_eui_from_be(eui), req->dev_eui))
		return malformed(diag, "DevEUI differs from the join-request's");
	bool says_join_eui = req->type == LW_JOIN_REQ_JOIN || req->type == LW_JOIN_REQ_REJOIN_1;
	bool is_eui = hex(req->receiver_id, receiver, sizeof(receiver));
	if (is_eui && !says_join_eui)
		req->join_eui = lw_join_eui_from_be(receiver);
	if (!is_eui || !lw_join_eui_eq(lw_join_eui_from_be(receiver), req->join_eui)) {
		lw_diag_set(diag, "ReceiverID is not the join-request's JoinEUI");
		return AS_JOIN_UNKNOWN_RECEIVER;
	}
	enum as_join_result result = check_accept(req, diag);
	if (result == AS_JOIN_SUCCESS && rejoin && !req->accept.dl_settings.opt_neg)
		return malformed(diag, "DLSettings of a rejoin are of LoRaWAN 1.1: OptNeg is missing");
	return result;
}

static enum as_join_result has_join_nonce(const struct as_join_device *dev, struct lw_diag *diag)
{
	if (dev->join_nonce <= AS_JOIN_MAX_NONCE)
		return AS_JOIN_SUCCESS;
	lw_diag_set(diag, "the device has no JoinNonce left");
	return AS_JOIN_REQ_FAILED;
}

static enum as_join_result verify_rejoin(struct lw_keycache *kc, const struct as_join_req *req,
					 const struct as_join_device *dev, struct lw_diag *diag)
{
	struct lw_phy phy;
	struct lw_key js_int, js_enc;
	int rc = lw_phy_parse(lw_span(req->phy, req->phy_len), &phy);
	BUG_ON(rc < 0);
	if (req->type == LW_JOIN_REQ_REJOIN_1) {
		lw_keys_js(kc, &dev->nwk_key, req->dev_eui, &js_int, &js_enc);
		bool ok = lw_mic_eq(lw_mic_plain(kc, &js_int, phy.msg), phy.mic);
		lw_wipe(&js_int, sizeof(js_int));
		lw_wipe(&js_enc, sizeof(js_enc));
		if (!ok) {
			lw_diag_set(diag, "the MIC does not fit the device's key");
			return AS_JOIN_MIC_FAILED;
		}
		if (req->dev_nonce < dev->rj_count1) {
			lw_diag_set(diag, "RJcount1 %u has been used before: %u is the next", (unsigned)req->dev_nonce,
				    (unsigned)dev->rj_count1);
			return AS_JOIN_REQ_FAILED;
		}
	}
	return has_join_nonce(dev, diag);
}

enum as_join_result as_join_verify(struct lw_keycache *kc, const struct as_join_req *req,
				   const struct as_join_device *dev, struct lw_diag *diag)
{
	struct lw_phy phy;
	if (as_join_is_rejoin(req))
		return verify_rejoin(kc, req, dev, diag);
	int rc = lw_phy_parse(lw_span(req->phy, req->phy_len), &phy);
	BUG_ON(rc < 0);
	/* The MIC first: nobody learns from outside which nonces a device has used. */
	if (!lw_mic_eq(lw_mic_plain(kc, &dev->nwk_key, phy.msg), phy.mic)) {
		lw_diag_set(diag, "the MIC does not fit the device's key");
		return AS_JOIN_MIC_FAILED;
	}
	if (dev->nonce_used) {
		lw_diag_set(diag, "DevNonce has been used before");
		return AS_JOIN_REQ_FAILED;
	}
	if (req->mac_version >= LW_MAC_1_0_4 && (int32_t)req->dev_nonce < dev->last_nonce) {
		lw_diag_set(diag, "DevNonce %u is below %d, which was used before: it must rise",
			    (unsigned)req->dev_nonce, (int)dev->last_nonce);
		return AS_JOIN_REQ_FAILED;
	}
	return has_join_nonce(dev, diag);
}

/* ---- answer ---- */

void as_join_accept(struct lw_keycache *kc, const struct as_join_req *req, const struct as_join_device *dev,
		    struct as_join_session *out)
{
	struct lw_join_accept a = req->accept;
	uint8_t frame[LW_JOIN_ACCEPT_MAX] = {LW_MTYPE_JOIN_ACCEPT << 5};
	struct lw_key js_int, js_enc, enc = dev->nwk_key;
	struct lw_mic mic;

	a.join_nonce = dev->join_nonce;
	int n = lw_join_accept_encode(&a, frame + 1, LW_JOIN_ACCEPT_BODY_MAX);
	BUG_ON(n < 0);
	struct lw_span msg = lw_span(frame, 1 + (size_t)n);
	out->is_11 = a.dl_settings.opt_neg;
	if (out->is_11) {
		lw_keys_js(kc, &dev->nwk_key, req->dev_eui, &js_int, &js_enc);
		mic = lw_mic_join_accept_11(kc, &js_int, req->type, req->join_eui, req->dev_nonce, msg);
		lw_keys_session_11(kc, &dev->nwk_key, &dev->app_key, a.join_nonce, req->join_eui, req->dev_nonce,
				   &out->keys);
		lw_wipe(&js_int, sizeof(js_int));
		if (as_join_is_rejoin(req))
			enc = js_enc;
		lw_wipe(&js_enc, sizeof(js_enc));
	} else {
		mic = lw_mic_plain(kc, &dev->nwk_key, msg);
		lw_keys_session_10(kc, &dev->nwk_key, a.join_nonce, a.netid, req->dev_nonce, &out->keys);
	}
	memcpy(frame + 1 + n, mic.b, LW_MIC_LEN);
	out->accept[0] = frame[0];
	out->accept_len = 1 + (size_t)n + LW_MIC_LEN;
	int rc = lw_cipher_join_accept_encrypt(kc, &enc, frame + 1, out->accept_len - 1, out->accept + 1);
	lw_wipe(&enc, sizeof(enc));
	BUG_ON(rc < 0);
}

static void put_text(struct lw_buf *out, const char *name, const char *value)
{
	lw_buf_printf(out, ",\"%s\":", name);
	lw_json_put_string(out, lw_span_str(value));
}

static void put_hex(struct lw_buf *out, const char *name, const uint8_t *p, size_t n)
{
	char text[2 * LW_JOIN_ACCEPT_MAX + 1];
	BUG_ON(n > LW_JOIN_ACCEPT_MAX);
	lw_buf_printf(out, ",\"%s\":\"%s\"", name, lw_hex_encode(p, n, text));
	lw_wipe(text, sizeof(text));
}

/* Plain: the connection is the protection (loopback, or TLS in front). */
static void put_key(struct lw_buf *out, const char *name, const struct lw_key *key)
{
	char text[LW_KEY_TEXT];
	lw_buf_printf(out, ",\"%s\":{\"KEKLabel\":\"\",\"AESKey\":\"%s\"}", name, lw_key_print(*key, text));
	lw_wipe(text, sizeof(text));
}

static void put_answer_type(const struct as_join_req *req, struct lw_buf *out)
{
	char type[sizeof(req->message_type) + 1];
	size_t n = strlen(req->message_type);
	memcpy(type, req->message_type, n + 1);
	if (n > 3 && strcmp(type + n - 3, "Req") == 0)
		memcpy(type + n - 3, "Ans", 3);
	put_text(out, "MessageType", type);
}

void as_join_answer(const struct as_join_req *req, enum as_join_result result, const char *description,
		    const struct as_join_session *s, struct lw_buf *out)
{
	lw_buf_append_str(out, "{\"ProtocolVersion\":");
	lw_json_put_string(out, lw_span_str(req->protocol_version[0] ? req->protocol_version : "1.0"));
	put_text(out, "SenderID", req->receiver_id);
	put_text(out, "ReceiverID", req->sender_id);
	lw_buf_printf(out, ",\"TransactionID\":%u", req->transaction_id);
	put_answer_type(req, out);
	if (req->sender_token[0])
		put_text(out, "ReceiverToken", req->sender_token);
	lw_buf_append_str(out, ",\"Result\":{\"ResultCode\":");
	lw_json_put_string(out, lw_span_str(as_join_result_text(result)));
	if (description && description[0])
		put_text(out, "Description", description);
	lw_buf_append_str(out, "}");
	if (result == AS_JOIN_SUCCESS && s) {
		put_hex(out, "PHYPayload", s->accept, s->accept_len);
		lw_buf_append_str(out, ",\"Lifetime\":0");
		if (s->is_11) {
			put_key(out, "SNwkSIntKey", &s->keys.s_nwk_s_int);
			put_key(out, "FNwkSIntKey", &s->keys.f_nwk_s_int);
			put_key(out, "NwkSEncKey", &s->keys.nwk_s_enc);
		} else {
			put_key(out, "NwkSKey", &s->keys.f_nwk_s_int);
		}
		put_hex(out, "SessionKeyID", s->id, sizeof(s->id));
	}
	lw_buf_append_str(out, "}");
}
