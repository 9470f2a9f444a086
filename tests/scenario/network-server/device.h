/* An end-device as the standard describes it, for scenarios: it joins, sends, receives and checks. It shares nothing
 * with the network-server but the protocol library. */
#pragma once

#include "common/crypto/aes.h"
#include "common/lorawan/join.h"
#include "common/lorawan/keys.h"
#include "common/lorawan/mac.h"
#include "common/lorawan/mic.h"
#include "common/lorawan/phy.h"

struct device {
	struct lw_keycache *kc;
	struct lw_dev_eui dev_eui;
	struct lw_join_eui join_eui;
	struct lw_key app_key; /* 1.0.x: AppKey */
	struct lw_key nwk_key;
	bool is_11;
	uint16_t dev_nonce;          /* of the last join-request, or RJcount of the last rejoin-request */
	enum lw_join_req_type asked; /* what the next join-accept answers */
	struct lw_devaddr devaddr;
	struct lw_session_keys keys;
	uint32_t f_cnt_up;
	uint32_t conf_f_cnt; /* of the last confirmed downlink: ConfFCnt of an uplink that acknowledges it */
	bool adr;
	bool adr_ack_req;
	bool beacon_locked;
};

struct frame {
	uint8_t b[LW_PHY_MAX];
	size_t n;
};

struct up {
	bool confirmed;
	bool ack;
	int f_port;           /* LW_FPORT_NONE: no port */
	const char *data_hex; /* in the clear; for port 0 MAC commands */
	const char *fopts_hex;
	uint8_t dr; /* 1.1: in the MIC */
	uint8_t channel;
	bool wrong_mic;
};

/* What a received downlink says, after all checks. */
struct heard {
	bool confirmed;
	bool ack;
	bool adr;
	bool fpending;
	uint32_t f_cnt;
	int f_port;
	char fopts_hex[2 * LW_FOPTS_MAX + 1];
	char data_hex[2 * LW_PHY_MAX + 1];
};

/* type 0 and 2: with this RJcount0; type 1: RJcount1. */
void device_frame_rejoin(struct device *d, uint8_t type, uint16_t rj_count, struct frame *out);
void device_frame_join(struct device *d, struct frame *out);
/* Takes the session from a join-accept; aborts the test when it does not verify. */
void device_accept(struct device *d, const uint8_t *phy, size_t n, struct lw_join_accept *out);
/* Uses up a counter. */
void device_frame_up(struct device *d, const struct up *up, struct frame *out);
/* The same counter once more. */
void device_frame_again(struct device *d, const struct up *up, struct frame *out);
/* Verifies and decrypts. ack_f_cnt_up: the uplink that this downlink may acknowledge (1.1). Fails the test when the MIC
 * is wrong. */
void device_hear(struct device *d, const uint8_t *phy, size_t n, uint32_t f_cnt, uint32_t ack_f_cnt_up,
		 struct heard *out);
