/* A device's session: everything that the network knows about one activation, the MAC state included, and its form as
 * an opaque blob in the store. Pure memory: no I/O, no clock. Keys in here never reach a log. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/lorawan/region.h"
#include "common/lorawan/types.h"

#define NS_REGION_ID_MAX 24
#define NS_MAC_QUEUE_MAX 48 /* bytes of commands queued from outside */
#define NS_KEY_ID_MAX 16    /* SessionKeyID */
#define NS_KEK_LABEL_MAX 32
#define NS_WRAPPED_KEY_MAX 24
#define NS_RX_GATEWAYS 16 /* gateways remembered of the last uplink */
#define NS_CONTEXT_MAX 32 /* gw.UplinkRxInfo.context; longer ones are cut off from downlinks */
#define NS_ADR_HISTORY 20
#define NS_MAC_PENDING 12 /* requests without an answer */
#define NS_MAC_PENDING_LEN 30
#define NS_MAC_ERRORS 16
#define NS_MAC_REJECTED 24 /* values that the device has refused; the oldest gives way */
#define NS_DL_CHANNELS 16  /* channels whose RX1 frequency can be set apart */
#define NS_DR_UNKNOWN 0xFF

/* One gateway that received the last uplink: what a downlink through it needs. */
struct ns_rx_gateway {
	struct lw_gateway_id gateway_id;
	int16_t rssi_dbm;
	int16_t snr_ddb; /* tenths of a dB */
	uint32_t board;
	uint32_t antenna;
	uint8_t context_len;
	uint8_t context[NS_CONTEXT_MAX];
};

struct ns_adr_entry {
	uint32_t f_cnt;
	int16_t max_snr_ddb;
	int16_t max_rssi_dbm;
	uint8_t tx_power_index;
	uint8_t gateway_count;
};

/* The requests of one kind that were sent and are not answered, as encoded (a block of commands with the same cid). */
struct ns_mac_pending {
	uint8_t cid;
	uint8_t len;
	uint8_t bytes[NS_MAC_PENDING_LEN];
	uint8_t tries; /* how often it was sent */
	uint16_t wait; /* so many unanswered uplinks until it is sent again */
};

/* What a refused value is a value of. Part of the blob: never renumber. */
enum ns_mac_what {
	NS_WHAT_RX2_HZ = 1,
	NS_WHAT_RX2_DR = 2,
	NS_WHAT_RX1_DR_OFFSET = 3,
	NS_WHAT_CHANNEL = 4, /* ns_channel_value() */
	NS_WHAT_LINK_DR = 5,
	NS_WHAT_LINK_POWER = 6, /* TXPower index */
	NS_WHAT_LINK_MASK = 7,  /* a hash of the masks */
	NS_WHAT_DL_CHANNEL = 8, /* index << 32 | Hz */
	NS_WHAT_PING_SLOT_HZ = 9,
	NS_WHAT_PING_SLOT_DR = 10,
	NS_WHAT_BEACON_HZ = 11,
	NS_WHAT_REJOIN_TIME = 12,
};

struct ns_mac_rejected {
	uint8_t what;
	uint64_t value;
};

struct ns_mac_errors {
	uint8_t cid;
	uint8_t count; /* negative answers in a row */
};

#define NS_OFFERS_BEFORE 8
#define NS_CONF_BEFORE 7
#define NS_REKEY_JOIN 3 /* ns_rekey.type: it answers a join-request */

/* A session that a join-accept offered and the device has not used yet: its first uplink makes it the session. The
 * address stays the same. */
struct ns_rekey {
	bool present; /* else the rest is not kept */
	uint8_t type; /* of the rejoin-request. 0, 1: all starts anew; 2: keys and counters only; or NS_REKEY_JOIN */
	struct lw_key f_nwk_s_int_key;
	struct lw_key s_nwk_s_int_key;
	struct lw_key nwk_s_enc_key;
	uint8_t session_key_id[NS_KEY_ID_MAX];
	uint8_t session_key_id_len;
	uint8_t dl_settings;
	uint8_t rx_delay_s;
	bool has_cflist;
	uint8_t cflist[16];
	/* Of another join server: the AppSKey as it wrapped it. */
	bool is_foreign;
	char app_s_key_kek[NS_KEK_LABEL_MAX];
	uint8_t app_s_key[NS_WRAPPED_KEY_MAX];
	uint8_t app_s_key_len;
	/* NS_REKEY_JOIN only: what the session will be. */
	struct lw_join_eui join_eui;
	uint16_t dev_nonce;
	enum lw_mac_version mac_version;
	char region_config_id[NS_REGION_ID_MAX];
	int64_t at_ns; /* when the join-request was received */
};

struct ns_session {
	struct lw_devaddr devaddr;
	struct lw_join_eui join_eui;
	/* 1.0.x: NwkSKey in all three. */
	struct lw_key f_nwk_s_int_key;
	struct lw_key s_nwk_s_int_key;
	struct lw_key nwk_s_enc_key;
	uint8_t session_key_id[NS_KEY_ID_MAX];
	uint8_t session_key_id_len;      /* 0: ABP */
	enum lw_mac_version mac_version; /* as negotiated: a 1.1 profile on a 1.0 join server runs as 1.0 */
	enum lw_class enabled_class;
	char region_config_id[NS_REGION_ID_MAX];
	uint16_t dev_nonce; /* of the join-request that led here */

	/* Counters: the next one expected, the next ones that will be used. 1.0.x uses n_f_cnt_down only. */
	uint32_t f_cnt_up;
	uint32_t n_f_cnt_down;
	uint32_t a_f_cnt_down;
	uint32_t conf_f_cnt; /* counter of the last confirmed downlink: part of the MIC of the 1.1 uplink that
				acknowledges it */
	/* The same of those before, the newest first. A device that did not hear our confirmed answer repeats its
	 * acknowledgement with the one before (1.1); an uplink out of a spool comes when several more have gone out. */
	uint32_t conf_f_cnt_before[NS_CONF_BEFORE];
	bool has_uplink; /* one came since the activation */
	/* Bit i: the uplink with counter f_cnt_up - 1 - i never came. Two network-servers may take a device's uplinks
	 * in another order than it sent them. */
	uint32_t f_cnt_gaps;

	/* Receive parameters as the device has them. */
	uint8_t rx1_delay_s;
	uint8_t rx1_dr_offset;
	uint8_t rx2_dr;
	uint32_t rx2_hz;

	/* Transmit parameters as the device has them. */
	uint8_t dr;
	uint8_t tx_power_index;
	uint8_t nb_trans;
	uint8_t min_tx_power_index; /* 1 once the device refused index 0, which it must not */
	bool adr;
	uint8_t uplink_dwell_400ms;
	uint8_t downlink_dwell_400ms;
	uint8_t uplink_eirp_index;

	/* Channels as the device has them. user[i] is channel first_user_channel + i of the region; 0 Hz: not there. */
	uint16_t enabled_channels[LW_PLAN_CHANNELS / 16];
	struct lw_channel user_channels[LW_PLAN_USER_CHANNELS];

	struct ns_adr_entry adr_history[NS_ADR_HISTORY]; /* oldest first */
	uint8_t n_adr_history;
	struct ns_mac_pending mac_pending[NS_MAC_PENDING];
	uint8_t n_mac_pending;
	struct ns_mac_errors mac_errors[NS_MAC_ERRORS];
	uint8_t n_mac_errors;
	struct ns_mac_rejected mac_rejected[NS_MAC_REJECTED]; /* oldest first */
	uint8_t n_mac_rejected;

	/* MAC commands queued from outside, as on the air; sent as they are with the next class A downlink. */
	uint8_t mac_queue[NS_MAC_QUEUE_MAX];
	uint8_t mac_queue_len;
	bool mac_queue_sent; /* some were, and nothing was heard of them yet */

	int64_t dev_status_req_at_ns; /* last DevStatusReq; 0: none */
	uint8_t ping_slot_nb;         /* 0: unknown */
	uint8_t ping_slot_dr;
	uint32_t ping_slot_hz;
	int64_t ping_slot_used_ns; /* the last one that was sent in, since the GPS epoch */
	bool beacon_locked;
	uint8_t rejoin_max_time_n;
	uint8_t rejoin_max_count_n;
	bool rejoin_enabled;
	uint8_t max_duty_cycle;    /* 1/2^n */
	uint8_t adr_ack_limit_exp; /* 2^n uplinks */
	uint8_t adr_ack_delay_exp;
	uint32_t beacon_hz;             /* 0: the region's */
	uint32_t dl_hz[NS_DL_CHANNELS]; /* RX1 frequency by uplink channel; 0: the uplink's */

	/* The last uplink. */
	int64_t last_uplink_at_ns;
	uint32_t last_uplink_hz;
	bool last_uplink_confirmed;
	bool answered; /* a downlink was handed to a gateway for its receive windows: class A gets one */
	struct ns_rx_gateway rx[NS_RX_GATEWAYS];
	uint8_t n_rx;

	uint32_t rj_count0; /* the next one acceptable of rejoin-requests of type 0 and 2 */
	struct ns_rekey rekey;
	/* The offers before, the newest first, that answered join-requests: join-requests that come late must not cost
	 * the device the session that it has joined with meanwhile (decision 0014). */
	struct ns_rekey rekey_before[NS_OFFERS_BEFORE];
};

/* A packed form, tagged section by section: readers skip what they do not know, missing sections read as zero.
 * encode appends to out (needs up to NS_SESSION_BLOB_MAX bytes). decode: 0, LW_EPROTO or LW_ETRUNC. */
#define NS_SESSION_BLOB_MAX 6144
int ns_session_encode(const struct ns_session *s, struct lw_buf *out);
int ns_session_decode(struct lw_span blob, struct ns_session *out);

/* Factory state of what only MAC commands change: as after a reset, a join or an activation. */
void ns_session_mac_reset(struct ns_session *s);

bool ns_session_is_11(const struct ns_session *s);
/* A join was accepted and the old session was not heard of since: the device is most likely in the new one. */
bool ns_session_is_joining(const struct ns_session *s);
/* Makes room for a further offer, of this type. Offers that the device may have taken before it asked stay beside it:
 * those of joins, for a join-request can be an old one; and any, when it asks by a rejoin-request of type 1, which no
 * session signs (0 and 2 come in the session that there is; a join ends what a rejoin-request led to). */
void ns_session_offer_push(struct ns_session *s, uint8_t type);
/* The counter that the next downlink uses: application frame (FPort > 0) or network frame. */
uint32_t ns_session_next_f_cnt_down(const struct ns_session *s, bool application);

struct ns_mac_pending *ns_session_pending(struct ns_session *s, uint8_t cid);
/* It goes out, once more or for the first time. Unanswered, it is due again after 1, 2, 4, 8 … uplinks. */
void ns_session_pending_put(struct ns_session *s, uint8_t cid, const uint8_t *bytes, size_t n);
void ns_session_pending_remove(struct ns_session *s, uint8_t cid);
/* A request of this kind went out since the last uplink: whether the device does it already, nobody knows. */
bool ns_session_unsettled(const struct ns_session *s, uint8_t cid);
/* One more uplink came without an answer to what is pending. */
void ns_session_pending_tick(struct ns_session *s);
/* No gateway took the downlink with these requests: due again like one without an answer, but after 16 uplinks at the
 * latest. */
void ns_session_pending_refused(struct ns_session *s, const uint8_t *cids, size_t n);
bool ns_session_rejected(const struct ns_session *s, enum ns_mac_what what, uint64_t value);
void ns_session_reject(struct ns_session *s, enum ns_mac_what what, uint64_t value);
/* Appends, or with `front` puts back. LW_EFULL: no room. */
int ns_session_mac_enqueue(struct ns_session *s, struct lw_span commands, bool front);
unsigned ns_session_errors(const struct ns_session *s, uint8_t cid);
void ns_session_error_add(struct ns_session *s, uint8_t cid);
void ns_session_error_clear(struct ns_session *s, uint8_t cid);
