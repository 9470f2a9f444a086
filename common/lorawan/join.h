/* The body of a join-accept, in the clear, and its fields (TS001-1.0.4 §6.2.6, TS001-1.1 §6.2.3). Join-requests:
 * phy.h. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/lorawan/types.h"

#define LW_CFLIST_LEN 16
#define LW_JOIN_ACCEPT_BODY_MAX 28 /* 12 and a CFList */
#define LW_JOIN_ACCEPT_MAX 33      /* MHDR, body, MIC */

struct lw_dl_settings {
	bool opt_neg;          /* 1.1 */
	uint8_t rx1_dr_offset; /* 0..7 */
	uint8_t rx2_dr;        /* 0..15 */
};
uint8_t lw_dl_settings_encode(struct lw_dl_settings s);
struct lw_dl_settings lw_dl_settings_parse(uint8_t octet);

struct lw_join_accept {
	uint32_t join_nonce; /* 24 bits */
	struct lw_netid netid;
	struct lw_devaddr devaddr;
	struct lw_dl_settings dl_settings;
	uint8_t rx_delay; /* seconds; 0 means 1 */
	bool has_cflist;
	uint8_t cflist[LW_CFLIST_LEN];
};

/* body: the decrypted 12 or 28 bytes between MHDR and MIC. Returns 0, LW_ETRUNC or LW_EBIG for another length. */
int lw_join_accept_parse(struct lw_span body, struct lw_join_accept *out);
/* Returns 12 or 28; LW_EINVAL when a value does not fit its field, LW_EBIG when cap is too small. */
int lw_join_accept_encode(const struct lw_join_accept *ja, uint8_t *out, size_t cap);
