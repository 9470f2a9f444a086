/* The join server's rules (LoRaWAN Backend Interfaces, TS002; contracts/backend-interfaces.md): JoinReq or RejoinReq
 * in, session keys and join-accept out. Pure but for the key schedules' cache. The AppSKey is never part of an answer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/ids.h"
#include "common/crypto/aes.h"
#include "common/lorawan/join.h"
#include "common/lorawan/keys.h"
#include "common/lorawan/mic.h"
#include "common/lorawan/types.h"

#define AS_JOIN_ID_MAX 40
#define AS_JOIN_TOKEN_MAX 128
#define AS_JOIN_PHY 23     /* join-request */
#define AS_JOIN_PHY_MAX 24 /* rejoin-request of type 1 */
#define AS_JOIN_MAX_NONCE 0xFFFFFFu

enum as_join_result {
	AS_JOIN_SUCCESS,
	AS_JOIN_MIC_FAILED,
	AS_JOIN_REQ_FAILED,
	AS_JOIN_UNKNOWN_DEV_EUI,
	AS_JOIN_MALFORMED,
	AS_JOIN_UNKNOWN_RECEIVER,
	AS_JOIN_OTHER,
	AS_JOIN_RESULTS,
};
/* "MICFailed" etc. */
const char *as_join_result_text(enum as_join_result r);

struct as_join_req {
	/* Members of every message, as they were sent. */
	char protocol_version[16];
	char sender_id[AS_JOIN_ID_MAX], receiver_id[AS_JOIN_ID_MAX];
	char sender_token[AS_JOIN_TOKEN_MAX]; /* "" : none */
	char message_type[32];
	uint32_t transaction_id;
	/* Of a JoinReq or RejoinReq; filled by as_join_parse() as far as they are there, made sense of by
	 * as_join_check(). */
	char mac_version_text[16], phy_text[80], dev_eui_text[24], devaddr_text[16], dl_settings_text[8],
		cflist_text[48];
	int64_t rx_delay; /* -1: absent */
	enum lw_mac_version mac_version;
	struct lw_netid netid; /* the sender's */
	uint8_t phy[AS_JOIN_PHY_MAX];
	size_t phy_len;
	enum lw_join_req_type type;
	struct lw_join_eui join_eui; /* rejoin types 0 and 2 do not say it: the receiver */
	struct lw_dev_eui dev_eui;
	uint16_t dev_nonce;           /* or RJcount */
	struct lw_join_accept accept; /* but for the nonce */
};

/* Reads the members. LW_EINVAL: no JSON object, or without the members that every message has: there is nobody to
 * answer to. */
int as_join_parse(struct lw_span json, struct as_join_req *out, struct lw_diag *diag);
static inline bool as_join_is_rejoin(const struct as_join_req *req)
{
	return req->type != LW_JOIN_REQ_JOIN;
}
/* Whether it is a join- or rejoin-request that can be answered. */
enum as_join_result as_join_check(struct as_join_req *req, struct lw_diag *diag);

struct as_join_device {
	struct lw_key nwk_key; /* 1.0.x: the AppKey, as the API keeps it */
	struct lw_key app_key;
	uint32_t join_nonce; /* the next one */
	bool nonce_used;     /* the request's DevNonce was used with this JoinEUI */
	int32_t last_nonce;  /* the highest one used with this JoinEUI; -1: none */
	uint32_t rj_count1;  /* the next one */
};
/* MIC and nonces. A DevNonce is taken once for a JoinEUI; from LoRaWAN 1.0.4 on it is a counter, which must rise
 * (TS001-1.0.4 §6.2.5): a repeated request is refused also after the list of used ones was lost in part. A
 * rejoin-request of type 1 has a MIC of ours and a counter that rises over all joins (TS001-1.1 §6.2.4.2); of types 0
 * and 2 the session's network has checked both, with a key that is its own. */
enum as_join_result as_join_verify(struct lw_keycache *kc, const struct as_join_req *req,
				   const struct as_join_device *dev, struct lw_diag *diag);

struct as_join_session {
	uint8_t accept[LW_JOIN_ACCEPT_MAX];
	size_t accept_len;
	struct lw_session_keys keys;
	bool is_11;
	uint8_t id[16]; /* SessionKeyID; chosen by the caller */
};
/* Encrypted join-accept and session keys for dev->join_nonce. */
void as_join_accept(struct lw_keycache *kc, const struct as_join_req *req, const struct as_join_device *dev,
		    struct as_join_session *out);

/* Appends the answer. `s` only with AS_JOIN_SUCCESS. */
void as_join_answer(const struct as_join_req *req, enum as_join_result result, const char *description,
		    const struct as_join_session *s, struct lw_buf *out);
