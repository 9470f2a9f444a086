/* What the network-server knows of devices, profiles and gateways apart from their sessions, and of what waits for a
 * device. Pure memory. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "network-server/domain/mac_settings.h"
#include "network-server/domain/session.h"

struct ns_profile {
	struct lw_uuid id;
	struct lw_uuid tenant_id; /* zero: every tenant's */
	enum lw_region_id region;
	char region_config_id[NS_REGION_ID_MAX]; /* "": any configuration of the region */
	enum lw_mac_version mac_version;
	enum lw_reg_params reg_params;
	bool supports_otaa;
	bool supports_class_b;
	bool supports_class_c;
	/* ABP factory values; 0 means the region's default. */
	uint8_t abp_rx1_delay_s;
	uint8_t abp_rx1_dr_offset;
	uint8_t abp_rx2_dr;
	uint32_t abp_rx2_hz;
	uint32_t uplink_interval_s;
	uint32_t device_status_req_interval; /* requests a day, 0: none */
	bool flush_queue_on_activate;
	bool wants_position;
	uint32_t class_b_timeout_s;
	uint32_t class_c_timeout_s;
	uint8_t ping_slot_periodicity;
	uint8_t ping_slot_dr;
	uint32_t ping_slot_hz;
	uint8_t rx1_delay_s; /* 0: the configuration's */
	char adr_algorithm_id[32];
	struct ns_adr_settings adr;
	struct ns_mac_settings mac;
	bool allow_roaming;
	bool class_b_downlink_only; /* items of the queue wait for ping slots while it is of class B */
	uint16_t uplink_drs;        /* bit n: the device can send at DRn; 0: at all of the region */
};

/* A device with its profile and its session, as one fetch brings them. A copy: nobody else changes it. */
struct ns_device {
	struct lw_dev_eui dev_eui;
	struct lw_join_eui join_eui;
	struct lw_uuid tenant_id;
	bool is_disabled;
	bool skip_f_cnt_check;
	struct ns_profile profile;
	/* Of the session's row; what a commit compares and sets. 0: there was never one. Rises with every commit,
	 * also when a session is removed or replaced. */
	uint64_t version;
	bool has_session;
	struct ns_session session; /* only with has_session */
	bool may_have_queue;       /* false only when the queue is certainly empty */
};

/* The region's table for a device of this profile, as far as its revision differs. */
static inline const struct lw_region *ns_profile_region(const struct ns_profile *p, enum lw_region_id plan)
{
	return lw_region_revision(lw_region_by_id(plan), p->mac_version, p->reg_params);
}

/* Those of `drs` that the device can send at. */
static inline uint16_t ns_profile_drs(const struct ns_profile *p, uint16_t drs)
{
	return p->uplink_drs != 0 ? drs & p->uplink_drs : drs;
}

#define NS_STATS_INTERVAL_S 30 /* of a gateway that names none */

struct ns_gateway {
	struct lw_gateway_id id;
	struct lw_uuid tenant_id;
	bool has_location;
	double latitude, longitude, altitude;
	uint32_t stats_interval_s;
	bool is_private_up;
	bool is_private_down;
	uint32_t downlink_priority; /* 1..10, 0 counts as 1 */
	int64_t last_seen_ns;       /* 0: never; another network-server may have heard it since */
	/* That its last statistics came in; "": not known here. */
	char region_config_id[NS_REGION_ID_MAX];
};

/* False: no statistics for two intervals. */
static inline bool ns_gateway_is_heard(const struct ns_gateway *g, int64_t now_ns)
{
	int64_t interval_s = g->stats_interval_s != 0 ? g->stats_interval_s : NS_STATS_INTERVAL_S;
	return g->last_seen_ns != 0 && now_ns - g->last_seen_ns <= 2 * interval_s * LW_NS_PER_S;
}

#define NS_QUEUE_PAYLOADS 16

/* How far an item has come. SENT: its counter is used and the frame went to the gateway, which has not answered (after
 * a restart: nobody knows); PENDING: transmitted, waits for the device's acknowledgement. SENT and PENDING items are
 * the API's is_pending when the item is confirmed. */
enum ns_item_state { NS_ITEM_QUEUED = 0, NS_ITEM_SENT = 1, NS_ITEM_PENDING = 2 };

struct ns_queue_item {
	struct lw_uuid id;
	uint8_t f_port; /* 1..255 */
	bool confirmed;
	bool is_encrypted_by_caller;
	bool is_damaged; /* what was stored cannot be read: nothing but id and state is known */
	enum ns_item_state state;
	/* Ciphertexts for first_f_cnt, first_f_cnt + 1, …; all of one length. */
	uint32_t first_f_cnt;
	unsigned n_payloads;
	struct lw_span payload[NS_QUEUE_PAYLOADS];
	int64_t expires_at_ns;    /* 0: never */
	uint32_t f_cnt_down;      /* of SENT and PENDING */
	int64_t timeout_after_ns; /* of PENDING; 0: the next uplink without acknowledgement */
	struct lw_span sealed;    /* the application server's, opaque */
	uint8_t session_key_id[NS_KEY_ID_MAX];
	uint8_t session_key_id_len;
};
