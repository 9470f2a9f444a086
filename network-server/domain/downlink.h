/* Builds the downlink for a device: windows, what goes in (acknowledgement, MAC commands, an item of the queue),
 * counters, encryption, MIC; and what it means for session and queue. Pure: nothing has happened until the result is
 * committed. */
#pragma once

#include "common/crypto/aes.h"
#include "common/lorawan/phy.h"
#include "network-server/domain/device.h"
#include "network-server/domain/mac_down.h"
#include "network-server/domain/region_config.h"

/* For the acknowledgement of a confirmed downlink of class B or C, where the profile says nothing: what RP002-1.0.4
 * §2.3 gives a device (CLASS_B_RESP_TIMEOUT, CLASS_C_RESP_TIMEOUT). */
#define NS_RESP_TIMEOUT_S 8

#define NS_DOWN_ITEMS_MAX 4 /* items of the queue looked at */

#define NS_MAC_BYTES_MAX (NS_MAC_REQUESTS_MAX + 64 + NS_MAC_QUEUE_MAX) /* answers, queue, requests */

enum ns_down_mode {
	NS_DOWN_CLASS_A, /* RX1 and RX2 of the last uplink */
	NS_DOWN_CLASS_C, /* now, with RX2's parameters */
	NS_DOWN_CLASS_B, /* in a ping slot */
};

struct ns_down_in {
	struct lw_keycache *kc;
	const struct ns_device *dev;
	const struct ns_region_config *rc;
	enum ns_down_mode mode;
	int64_t now_ns;
	int64_t ping_slot_gps_ns; /* class B */
	/* Asked for by the uplink that is answered. */
	bool ack;
	uint32_t ack_f_cnt_up;
	bool force; /* even when it is empty */
	struct lw_span answers;
	bool mac_requests; /* new ones may go along */
	bool mac_queue;    /* and those queued from outside */
	unsigned max_mac_error_count;
	struct lw_rng *rng; /* may be NULL */
	/* The queue's head, and how many there are. Items that wait for an acknowledgement are not in here. */
	const struct ns_queue_item *items;
	size_t n_items;
	size_t n_queued;
};

struct ns_down_window {
	uint32_t hz;
	uint8_t dr;
	uint8_t rx; /* 1, 2: RX1, RX2 of an uplink; 0: at a time of its own */
	bool immediately;
	bool plain_polarity; /* LoRa: not inverted; of proprietary frames */
	int64_t gps_ns;      /* then, since the GPS epoch; 0: not by GPS */
	uint8_t delay_s;     /* after the uplink */
	int8_t power_dbm;
	const struct lw_modulation *mod;
};

struct ns_down_frame {
	struct ns_down_window window;
	uint8_t phy[LW_PHY_MAX];
	uint8_t n;
	bool carries_item;
	bool confirmed;
	bool fpending;
	uint8_t f_port;           /* 0 with FPort 0 or without port */
	bool application_counter; /* f_cnt counts a_f_cnt_down (1.1, FPort > 0) */
	uint32_t f_cnt;
};

enum ns_discard { NS_DISCARD_NONE, NS_DISCARD_EXPIRED, NS_DISCARD_SIZE, NS_DISCARD_F_CNT, NS_DISCARD_DAMAGED };

struct ns_down_out {
	struct ns_down_frame frame[2];    /* in the order in which the gateway tries them */
	unsigned n_frames;                /* 0: nothing is sent */
	const struct ns_queue_item *item; /* the one that goes along, or NULL */
	/* Items that can never be sent, whether or not anything is sent: to be deleted, with a log event each. */
	struct {
		const struct ns_queue_item *item;
		enum ns_discard why;
		unsigned max_size;
	} discard[NS_DOWN_ITEMS_MAX];
	unsigned n_discard;
	const struct ns_queue_item *stale; /* waits for new encryption */
	struct ns_mac_down mac;            /* requests that go along */
	size_t n_mac_queue;                /* bytes of the session's queue that go along: all or none */
	/* All MAC commands that go along, in the clear, for the record. */
	uint8_t mac_bytes[NS_MAC_BYTES_MAX];
	size_t n_mac_bytes;
	struct ns_session session; /* as it is once the counters count as used */
};

/* The ping slot at this time; false: the device's data rate for them does not exist. */
bool ns_ping_window(const struct ns_device *dev, const struct ns_region_config *rc, int64_t slot_gps_ns,
		    struct ns_down_window *out);

/* The time in which a PENDING item (with a timeout) could be acknowledged was over at at_ns: now, or when the uplink
 * came that is dealt with now, be it before the item went out. One that ends later from now than any can was given
 * before the clock was set back. */
bool ns_item_timed_out(const struct ns_device *dev, const struct ns_queue_item *item, int64_t at_ns, int64_t now_ns);
/* EIRP in dBm on this frequency: as the configuration says, at most what the region allows there. */
int8_t ns_down_power(const struct ns_region_config *rc, const struct lw_region *region, uint32_t hz);
void ns_down_build(const struct ns_down_in *in, struct ns_down_out *out);

/* The windows for an uplink, in the order to be tried. Returns 0..2. */
unsigned ns_down_windows(const struct ns_device *dev, const struct ns_region_config *rc, enum ns_down_mode mode,
			 struct ns_down_window out[2]);
/* Windows of a join-accept. */
unsigned ns_join_windows(const struct ns_profile *profile, const struct ns_region_config *rc, uint32_t up_hz,
			 unsigned up_dr, struct ns_down_window out[2]);
/* Windows of the accept to a rejoin-request: a device with a session listens as that has it, only later (1.1 §6.2.3).
 */
unsigned ns_rejoin_windows(const struct ns_device *dev, const struct ns_region_config *rc, uint32_t up_hz,
			   unsigned up_dr, struct ns_down_window out[2]);

enum ns_fit {
	NS_FIT_OK,
	NS_FIT_STALE, /* needs new encryption */
	NS_FIT_DEAD,  /* its caller encrypted it for a counter that is used up */
};
/* Whether one of the item's ciphertexts goes with the session's counter; *index and *f_cnt say which. */
enum ns_fit ns_item_fit(const struct ns_session *s, const struct ns_queue_item *item, unsigned *index, uint32_t *f_cnt);

/* Gives the counters of a refused downlink back, unless a newer one has used more. False: nothing to give back. */
bool ns_down_return(struct ns_session *s, const struct ns_down_frame *frames, unsigned n);
