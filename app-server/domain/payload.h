/* Application payloads: LoRaWAN encryption with the AppSKey, and the sealing under which the network-server keeps the
 * clear text for us. Pure but for the key schedules' cache. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/crypto/aes.h"

#define AS_PAYLOAD_MAX 255
/* Coming counters that a queued downlink is encrypted for. */
#define AS_PAYLOAD_WINDOW 16
#define AS_SEAL_OVERHEAD 24

/* Uplink payload of a port above 0. n <= AS_PAYLOAD_MAX; out has n bytes. */
void as_payload_decrypt_up(struct lw_keycache *keys, const struct lw_key *app_s_key, struct lw_devaddr addr,
			   uint32_t f_cnt, struct lw_span in, uint8_t *out);
/* The payload for `window` counters from `first`, one after the other: out has window * in.n bytes. */
void as_payload_encrypt_down(struct lw_keycache *keys, const struct lw_key *app_s_key, struct lw_devaddr addr,
			     uint32_t first, unsigned window, struct lw_span in, uint8_t *out);

/* nonce (16) | clear text in counter mode | CMAC cut to 8 bytes, bound to the item's id. out has in.n +
 * AS_SEAL_OVERHEAD bytes; returns that length. */
size_t as_payload_seal(struct lw_keycache *keys, const struct lw_key *key, const char *id, const uint8_t nonce[16],
		       struct lw_span in, uint8_t *out);
/* out has sealed.n - AS_SEAL_OVERHEAD bytes. Returns the length; LW_EINVAL too short or long, LW_EAUTH not ours. */
int as_payload_unseal(struct lw_keycache *keys, const struct lw_key *key, const char *id, struct lw_span sealed,
		      uint8_t *out);
