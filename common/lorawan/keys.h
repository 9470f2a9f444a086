/* Derivation of session and lifetime keys (TS001-1.0.4 §6.2.6; TS001-1.1 §6.1.1.4, §6.2.3, §6.2.5). */
#pragma once

#include "common/base/ids.h"
#include "common/crypto/aes.h"

/* In 1.0.x the three network keys are the same, NwkSKey. */
struct lw_session_keys {
	struct lw_key f_nwk_s_int;
	struct lw_key s_nwk_s_int;
	struct lw_key nwk_s_enc;
	struct lw_key app_s;
};

/* join_nonce (AppNonce): 24 bits. */
void lw_keys_session_10(struct lw_keycache *kc, const struct lw_key *app_key, uint32_t join_nonce,
			struct lw_netid netid, uint16_t dev_nonce, struct lw_session_keys *out);
/* OptNeg set. dev_nonce: of the join-request, or RJcount of the rejoin-request that is answered. */
void lw_keys_session_11(struct lw_keycache *kc, const struct lw_key *nwk_key, const struct lw_key *app_key,
			uint32_t join_nonce, struct lw_join_eui join_eui, uint16_t dev_nonce,
			struct lw_session_keys *out);
/* Lifetime keys of a 1.1 device, from NwkKey. */
void lw_keys_js(struct lw_keycache *kc, const struct lw_key *nwk_key, struct lw_dev_eui dev_eui, struct lw_key *js_int,
		struct lw_key *js_enc);
