/* Message integrity codes of LoRaWAN 1.0.x and 1.1 (TS001-1.0.4 §4.4, §6.2; TS001-1.1 §4.4, §6.2 with its errata).
 * `msg` is always the frame without its last four bytes (struct lw_phy.msg). Schedules come from the key cache. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/crypto/aes.h"
#include "common/lorawan/phy.h"

/* Data frame of 1.0.x in either direction, key NwkSKey. `fcnt` is the full 32-bit counter. */
struct lw_mic lw_mic_data_10(struct lw_keycache *kc, const struct lw_key *nwk_s_key, enum lw_dir dir,
			     struct lw_devaddr devaddr, uint32_t fcnt, struct lw_span msg);

/* Data uplink of 1.1: what only the serving network knows. */
struct lw_mic_up_11 {
	uint16_t conf_fcnt; /* FCntDown of the confirmed downlink that this frame acknowledges, else 0 */
	uint8_t tx_dr;      /* data rate index of the uplink */
	uint8_t tx_ch;      /* channel index of the uplink */
};
struct lw_mic lw_mic_data_up_11(struct lw_keycache *kc, const struct lw_key *f_nwk_s_int,
				const struct lw_key *s_nwk_s_int, const struct lw_mic_up_11 *p,
				struct lw_devaddr devaddr, uint32_t fcnt, struct lw_span msg);
/* The half that a forwarding network can check: the last two bytes of the MIC, keyed with FNwkSIntKey alone. */
bool lw_mic_up_11_check_f(struct lw_keycache *kc, const struct lw_key *f_nwk_s_int, struct lw_devaddr devaddr,
			  uint32_t fcnt, struct lw_span msg, struct lw_mic mic);
/* Data downlink of 1.1, key SNwkSIntKey. conf_fcnt: the FCntUp that this frame acknowledges, else 0. */
struct lw_mic lw_mic_data_down_11(struct lw_keycache *kc, const struct lw_key *s_nwk_s_int, uint16_t conf_fcnt,
				  struct lw_devaddr devaddr, uint32_t fcnt, struct lw_span msg);

/* Join-request (AppKey in 1.0.x, NwkKey in 1.1), rejoin-request (types 0 and 2: SNwkSIntKey; type 1: JSIntKey). */
struct lw_mic lw_mic_plain(struct lw_keycache *kc, const struct lw_key *key, struct lw_span msg);

/* Join-accept with OptNeg unset: msg is MHDR and the plain body, key AppKey (1.0.x) or NwkKey: the same as
 * lw_mic_plain(). With OptNeg set (1.1), key JSIntKey: */
enum lw_join_req_type {
	LW_JOIN_REQ_REJOIN_0 = 0x00,
	LW_JOIN_REQ_REJOIN_1 = 0x01,
	LW_JOIN_REQ_REJOIN_2 = 0x02,
	LW_JOIN_REQ_JOIN = 0xFF
};
struct lw_mic lw_mic_join_accept_11(struct lw_keycache *kc, const struct lw_key *js_int_key, enum lw_join_req_type type,
				    struct lw_join_eui join_eui, uint16_t dev_nonce, struct lw_span msg);

/* Constant time. */
bool lw_mic_eq(struct lw_mic a, struct lw_mic b);
