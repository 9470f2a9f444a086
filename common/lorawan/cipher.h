/* Encryption of payloads (TS001 §4.3.3), of FOpts (TS001-1.1 §4.3.1.6 with its errata) and of join-accepts (TS001-1.0.4
 * §6.2.6, TS001-1.1 §6.2.3). Encrypting and decrypting are the same operation for FRMPayload and FOpts. in and out may
 * be the same memory. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/crypto/aes.h"
#include "common/lorawan/types.h"

/* FRMPayload: key AppSKey, or NwkSKey / NwkSEncKey for FPort 0. n <= 255. */
void lw_cipher_frm(struct lw_keycache *kc, const struct lw_key *key, enum lw_dir dir, struct lw_devaddr devaddr,
		   uint32_t fcnt, const uint8_t *in, size_t n, uint8_t *out);

/* Which counter an encrypted FOpts field goes with: AFCntDown for a downlink with FPort > 0, else FCntUp or NFCntDown.
 */
enum lw_fopts_counter { LW_FOPTS_FCNT = 0x01, LW_FOPTS_AFCNT_DOWN = 0x02 };
/* FOpts of 1.1, key NwkSEncKey. n <= 15. */
void lw_cipher_fopts(struct lw_keycache *kc, const struct lw_key *nwk_s_enc, enum lw_dir dir,
		     enum lw_fopts_counter which, struct lw_devaddr devaddr, uint32_t fcnt, const uint8_t *in, size_t n,
		     uint8_t *out);

/* Join-accept body and MIC (16 or 32 bytes, without MHDR). The network "encrypts" with the AES decrypt operation, so
 * that a device needs only the encrypt operation. Key: AppKey (1.0.x) or NwkKey; answer to a rejoin-request: JSEncKey.
 * Returns 0, or LW_EINVAL for another length. */
int lw_cipher_join_accept_encrypt(struct lw_keycache *kc, const struct lw_key *key, const uint8_t *in, size_t n,
				  uint8_t *out);
int lw_cipher_join_accept_decrypt(struct lw_keycache *kc, const struct lw_key *key, const uint8_t *in, size_t n,
				  uint8_t *out);
