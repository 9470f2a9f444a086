/* The facts of one received data frame that the rules look at, and which session it belongs to. Pure. */
#pragma once

#include "common/crypto/aes.h"
#include "common/lorawan/phy.h"
#include "network-server/domain/device.h"
#include "network-server/domain/region_config.h"

struct ns_uplink {
	const struct ns_region_config *rc;
	const struct lw_region *region;
	struct lw_modulation mod;
	uint32_t hz;
	uint8_t dr;
	struct lw_phy phy;
	uint32_t f_cnt;      /* complete, once matched */
	int64_t received_ns; /* wall clock of the network-server */
	int64_t time_ns;     /* best known time of reception: GPS, the gateway's clock, ours */
	int64_t gps_ns;      /* since the GPS epoch, from time_ns or a gateway's GPS receiver */
	int16_t best_snr_ddb;
	int16_t best_rssi_dbm;
	unsigned n_gateways;
	const struct ns_rx_gateway *rx; /* those that this device may be heard by, best first */
	unsigned n_rx;
};

enum ns_match_kind {
	NS_MATCH_NO_DEVICE,      /* nobody has the address */
	NS_MATCH_NO_MIC,         /* no candidate's key gives this MIC */
	NS_MATCH_NEW,            /* f_cnt was not used yet (or the device may repeat: skip_f_cnt_check) */
	NS_MATCH_RETRANSMISSION, /* the last counter again */
	NS_MATCH_REPLAY,         /* an older counter */
	NS_MATCH_LATE,           /* an older counter that never came; see ns_uplink_is_gap() */
	NS_MATCH_OTHER_REGION,   /* its session lives in another region configuration */
};

struct ns_match {
	enum ns_match_kind kind;
	struct ns_device *dev; /* not for NO_DEVICE; for NO_MIC the only candidate, or NULL */
	uint32_t f_cnt;
	uint32_t conf_f_cnt; /* of the confirmed downlink that it acknowledges, where it acknowledges one */
	bool rekeyed;        /* by the session that a rejoin-accept offered; dev->session is that one now */
};

/* Changes the candidate that it finds only when that is rekeyed. Tries every candidate with every counter that the 16
 * bits can mean. up->f_cnt is not looked at. */
/* The counter is below the expected one by no more than 32 and never came. */
bool ns_uplink_is_gap(const struct ns_session *s, uint32_t f_cnt);
/* It came: raises the expected counter and remembers what was passed over, or closes a gap. */
void ns_uplink_count(struct ns_session *s, uint32_t f_cnt);

struct ns_match ns_match(struct lw_keycache *kc, const struct ns_uplink *up, struct ns_device *const *candidates,
			 size_t n);

/* Data rate index as a device of this profile counts; LW_ENOTFOUND. */
int ns_uplink_dr(const struct ns_uplink *up, const struct ns_profile *profile);

/* Margin above the demodulation floor of the uplink's data rate, tenths of a dB; 0 for what is not LoRa. */
int ns_snr_margin_ddb(const struct lw_modulation *m, int snr_ddb);
