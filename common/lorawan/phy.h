/* PHYPayload: the frame on the air, of every type, parsed into spans of the input and encoded from them (TS001 §4, §6).
 * Knows nothing of keys: MICs are carried, not checked; encrypted parts stay encrypted. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/lorawan/types.h"

#define LW_PHY_MAX 255
#define LW_FOPTS_MAX 15
#define LW_MIC_LEN 4
#define LW_FPORT_NONE (-1)

struct lw_mic {
	uint8_t b[LW_MIC_LEN]; /* order on the air */
};

struct lw_fctrl {
	bool adr;
	bool adr_ack_req; /* uplink only */
	bool ack;
	bool class_b;  /* uplink only */
	bool fpending; /* downlink only */
};

/* MACPayload of a data frame. */
struct lw_data_frame {
	struct lw_devaddr devaddr;
	struct lw_fctrl fctrl;
	uint16_t fcnt;        /* the lower 16 bits, as on the air */
	struct lw_span fopts; /* 0..15 bytes; encrypted in 1.1 */
	int fport;            /* 0..255, or LW_FPORT_NONE when there is neither port nor payload */
	struct lw_span frm;   /* FRMPayload, encrypted */
};

struct lw_join_request_frame {
	struct lw_join_eui join_eui;
	struct lw_dev_eui dev_eui;
	uint16_t dev_nonce;
};

struct lw_rejoin_frame {
	uint8_t type;                /* 0, 1, 2 */
	struct lw_netid netid;       /* types 0, 2 */
	struct lw_join_eui join_eui; /* type 1 */
	struct lw_dev_eui dev_eui;
	uint16_t rj_count; /* RJcount0 or RJcount1 */
};

struct lw_phy {
	enum lw_mtype mtype;
	uint8_t major;     /* 0: LoRaWAN R1 */
	uint8_t mhdr;      /* the octet as received; set by parse, ignored by encode */
	struct lw_mic mic; /* not for join-accept (inside `encrypted`) and proprietary */
	/* Parse: the bytes that a MIC covers, i.e. everything before it. Not for join-accept and proprietary. */
	struct lw_span msg;
	union {
		struct lw_data_frame data;
		struct lw_join_request_frame join_request;
		struct lw_rejoin_frame rejoin;
		struct lw_span encrypted;   /* join-accept: 16 or 32 bytes, payload and MIC still encrypted */
		struct lw_span proprietary; /* everything after MHDR */
	} u;
};

static inline bool lw_mtype_is_data_up(enum lw_mtype t)
{
	return t == LW_MTYPE_UNCONFIRMED_UP || t == LW_MTYPE_CONFIRMED_UP;
}
static inline bool lw_mtype_is_data_down(enum lw_mtype t)
{
	return t == LW_MTYPE_UNCONFIRMED_DOWN || t == LW_MTYPE_CONFIRMED_DOWN;
}
static inline bool lw_mtype_is_confirmed(enum lw_mtype t)
{
	return t == LW_MTYPE_CONFIRMED_UP || t == LW_MTYPE_CONFIRMED_DOWN;
}

/* The spans point into `bytes`. Returns 0; LW_ETRUNC: too short for its type; LW_EBIG: longer than its type allows or
 * than 255; LW_EPROTO: a value the standard forbids (rejoin type, FPort 0 together with FOpts, RFU MHDR bits are
 * ignored); LW_EUNSUPPORTED: a major version other than 0 (mtype, major and mhdr are set). */
int lw_phy_parse(struct lw_span bytes, struct lw_phy *out);

/* Writes the frame with phy->mic as it stands. Returns the length, LW_EBIG when it does not fit cap or 255 bytes,
 * LW_EINVAL when members contradict each other (FOpts too long, payload without port, FOpts with port 0). */
int lw_phy_encode(const struct lw_phy *phy, uint8_t *out, size_t cap);

/* Replaces the last four bytes of an encoded frame of n >= 5 bytes. */
void lw_phy_set_mic(uint8_t *frame, size_t n, struct lw_mic mic);

/* The full counter of a received 16-bit one, when `next` is the lowest counter still acceptable (last + 1; 0 at the
 * start of a session): the smallest value >= next with these lower bits. Passes 0xFFFFFFFF by wrapping to 0. */
uint32_t lw_fcnt_full(uint32_t next, uint16_t fcnt16);
/* The full counter nearest to `last`, before or after it; what tells a retransmission or replay from a jump. */
uint32_t lw_fcnt_nearest(uint32_t last, uint16_t fcnt16);
