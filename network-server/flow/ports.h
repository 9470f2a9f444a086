/* Everything the flows need from the world, as small tables of functions: the daemon plugs in SQL, MQTT, HTTP and
 * Redis, a scenario test plugs in memory. Requests are structs of the caller; the implementation fills in the answer
 * and calls done() exactly once for each, before the call returns or at any later time on the loop. A request and what
 * its inputs point to stay valid until then. Answers with variable length are allocated from the request's arena (a
 * copy, valid as long as the frame lives). No function blocks. */
#pragma once

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "network-server/domain/device.h"
#include "network-server/domain/link_counts.h"
#include "network-server/domain/region_config.h"
#include "network-server/flow/multicast_port.h"
#include "proto/gw/gw.pb-c.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"
#include "proto/longwave/v1/reason.pb-c.h"

/* ---- store ------------------------------------------------------------------------------------------------------- */

/* Devices whose session has the address; or one device by its EUI with or without a session. */
struct ns_fetch {
	bool by_devaddr;
	struct lw_devaddr devaddr;
	struct lw_dev_eui dev_eui;
	struct lw_arena *arena;
	/* answer */
	int err; /* 0 (also when nothing was found: n == 0), LW_EUNAVAILABLE */
	struct ns_device **devices;
	size_t n;
	void (*done)(struct ns_fetch *req);
	void *owner; /* the caller's */
};

/* The oldest items of a device's queue. */
struct ns_queue_fetch {
	struct lw_dev_eui dev_eui;
	size_t max; /* items wanted */
	struct lw_arena *arena;
	/* answer */
	int err;
	struct ns_queue_item *items; /* oldest first; SENT and PENDING ones included */
	size_t n;
	size_t total; /* items of the device */
	void (*done)(struct ns_queue_fetch *req);
	void *owner;
};

enum ns_queue_op_kind {
	NS_QUEUE_DELETE,      /* the item */
	NS_QUEUE_MARK,        /* the item gets state, f_cnt_down, timeout_after_ns */
	NS_QUEUE_FLUSH,       /* all items of the device */
	NS_QUEUE_RELEASE_ALL, /* all items of the device become QUEUED (a new session) */
};

struct ns_queue_op {
	enum ns_queue_op_kind kind;
	struct lw_uuid id;
	enum ns_item_state state;
	uint32_t f_cnt_down;
	int64_t timeout_after_ns;
};

/* One longwave.ns.v1.Event, packed, without origin and seq: the store appends those two fields to the bytes (protobuf
 * merges concatenated messages). */
struct ns_event {
	struct lw_dev_eui dev_eui; /* zero: gateway_stats */
	struct lw_span packed;
};

enum ns_session_op { NS_SESSION_KEEP, NS_SESSION_PUT, NS_SESSION_DELETE };

/* What one frame changes. All or nothing; a conflict of one does not touch the others of the batch. */
struct ns_change {
	struct lw_dev_eui dev_eui; /* zero: only events, no compare */
	/* PUT and DELETE happen only if the row still has `version` (then the row gets version + 1); with KEEP there is
	 * no compare. PUT of a device that was deleted meanwhile is LW_ENOTFOUND. */
	enum ns_session_op op;
	uint64_t version;
	const struct ns_session *session; /* PUT: borrowed until done */
	const struct ns_queue_op *queue_ops;
	size_t n_queue_ops;
	const struct ns_event *events;
	size_t n_events;
	/* answer */
	int err; /* 0, LW_ECONFLICT, LW_ENOTFOUND, LW_EUNAVAILABLE */
	void (*done)(struct ns_change *req);
	void *owner;
};

/* True when another device's session, or none, has the address. */
struct ns_addr_check {
	struct lw_devaddr addr;
	int err;
	bool in_use;
	void (*done)(struct ns_addr_check *req);
	void *owner;
};

struct ns_store_port {
	void *self;
	void (*fetch)(void *self, struct ns_fetch **v, size_t n);
	void (*queue_head)(void *self, struct ns_queue_fetch **v, size_t n);
	/* Session, queue and outbox in one transaction for the whole batch. done() only once it is durable; the store
	 * announces the events to its streams itself. */
	void (*commit)(void *self, struct ns_change **v, size_t n);
	void (*addr_check)(void *self, struct ns_addr_check **v, size_t n);
	/* What is in memory of the sessions with this address may be old: the next fetch reads them. May be NULL. */
	void (*forget)(void *self, struct lw_devaddr devaddr);
	bool is_shared; /* other processes may write the same database, known or not */
};

/* ---- gateways, in memory -------------------------------------------------------------------------------------------
 */

/* A gateway that memory does not have. */
struct ns_gateway_look {
	struct lw_gateway_id id;
	int err; /* answer: 0 (also when it is not there), LW_EUNAVAILABLE */
	void (*done)(struct ns_gateway_look *req);
	void *owner;
};

struct ns_gateway_port {
	void *self;
	/* Borrowed until the loop is reached again; NULL: unknown. */
	const struct ns_gateway *(*find)(void *self, struct lw_gateway_id id);
	/* Another process may have added them a moment ago: reads them from the database. done() when find() has the
	 * answer. NULL: nobody else writes there. */
	void (*look)(void *self, struct ns_gateway_look **v, size_t n);
	/* A statistics report came: remembers the time, and the position when `location` is not NULL. Durable at
	 * leisure. */
	void (*seen)(void *self, struct lw_gateway_id id, int64_t now_ns, const Common__Location *location);
	/* It came in this region configuration; durable at leisure. */
	void (*region)(void *self, struct lw_gateway_id id, const char *region_config_id);
};

/* ---- radio: towards the gateways
 * ------------------------------------------------------------------------------------- */

struct ns_radio_port {
	void *self;
	/* Publishes the command at once, in the encoding that the gateway uses. 0, or LW_EUNAVAILABLE (nothing was
	 * sent). The frame is borrowed during the call. */
	int (*send_downlink)(void *self, const struct ns_region_config *rc, const Gw__DownlinkFrame *frame);
};

/* ---- join server --------------------------------------------------------------------------------------------------
 */

enum ns_join_result {
	NS_JOIN_OK,
	NS_JOIN_MIC,          /* MICFailed */
	NS_JOIN_NONCE_REUSED, /* FrameReplayed */
	NS_JOIN_UNKNOWN_DEV,  /* UnknownDevEUI */
	NS_JOIN_UNKNOWN_EUI,  /* no join server for the JoinEUI */
	NS_JOIN_REFUSED,      /* any other result */
	NS_JOIN_UNAVAILABLE,  /* not reached, no answer in time */
};

struct ns_join_ask {
	struct lw_join_eui join_eui;
	struct lw_dev_eui dev_eui;
	struct lw_devaddr devaddr;
	struct lw_netid netid;
	enum lw_mac_version mac_version;
	struct lw_span phy; /* the join-request or rejoin-request */
	bool is_rejoin;
	uint8_t rejoin_type; /* 0, 1, 2 */
	uint8_t dl_settings;
	uint8_t rx_delay_s;
	bool has_cflist;
	uint8_t cflist[16];
	struct lw_arena *arena;
	/* answer */
	enum ns_join_result result;
	char detail[96];       /* the join server's own words, for the log event */
	struct lw_span accept; /* PHYPayload of the join-accept */
	struct lw_key f_nwk_s_int_key, s_nwk_s_int_key, nwk_s_enc_key; /* unwrapped; 1.0.x: NwkSKey in all three */
	bool is_10; /* NwkSKey was answered instead of the three keys */
	uint8_t session_key_id[NS_KEY_ID_MAX];
	uint8_t session_key_id_len;
	/* Where it is not our own application server: the envelope to pass on. */
	bool is_foreign;
	const char *app_s_key_kek; /* "" when the key is plain */
	struct lw_span app_s_key;
	void (*done)(struct ns_join_ask *req);
	void *owner;
};

struct ns_join_port {
	void *self;
	void (*ask)(void *self, struct ns_join_ask **v, size_t n);
};

/* ---- geolocation ----------------------------------------------------------------------------------------------------
 */

struct ns_geo_ask {
	struct lw_dev_eui dev_eui;
	const Gw__UplinkTxInfo *tx_info;
	Gw__UplinkRxInfo **rx_info; /* with location where known */
	size_t n_rx_info;
	/* answer */
	int err; /* 0; LW_ENOTFOUND: nothing can be said; LW_EUNAVAILABLE */
	Common__Location location;
	char method[32];
	void (*done)(struct ns_geo_ask *req);
	void *owner;
};

struct ns_geo_port {
	void *self; /* NULL: there is no geo-server */
	void (*resolve)(void *self, struct ns_geo_ask *req);
};

/* ---- records ------------------------------------------------------------------------------------------------------
 */

struct ns_log_port {
	void *self;
	/* Frame log: under the device when dev_eui is set, under each gateway of rx_info and under gateway_id. A later
	 * record with the same downlink_id (not 0) completes an earlier one. Borrowed during the call; may lose. */
	void (*frame)(void *self, const Longwave__Ns__V1__Frame *frame);
	/* Metrics. `flow`: "uplink", "join", "downlink", "stats", "tx_ack". */
	void (*outcome)(void *self, const char *flow, Longwave__V1__Outcome outcome, Longwave__V1__Reason reason);
};

/* Counts of links, added up for the API; may be lost with a crash. Borrowed during the call. */
struct ns_link_port {
	void *self;
	/* NULL: nothing is counted. */
	void (*device)(void *self, struct lw_dev_eui dev_eui, int64_t at_ns, const struct ns_tally *v, size_t n);
	void (*gateway)(void *self, struct lw_gateway_id id, int64_t at_ns, const struct ns_link_counts *c);
};

/* A device is in quarantine from now on; for the log and other network-servers. May be NULL. */
struct ns_flood_port {
	void *self;
	void (*began)(void *self, struct lw_dev_eui dev_eui, bool by_joins, uint32_t measured);
};

/* The inbox journal: the reception at this position has had its effect, durably, and need not be replayed. */
struct ns_journal_port {
	void *self;
	void (*done)(void *self, uint64_t position);
	/* The store was away: offer the reception again, as a replay, when it is back. */
	void (*retry)(void *self, uint64_t position);
};

/* ---- receptions that other network-servers have ---------------------------------------------------------------------
 */

/* What one of them said of a transmission, in the order in which they said it. */
struct ns_shared {
	bool is_ours;
	bool is_settled;     /* whoever said it has dealt with the transmission, durably */
	struct lw_span body; /* else: a reception */
};

/* err: nothing is known. LW_ECANCELLED: everything ends, touch nothing. */
typedef void ns_shared_fn(void *arg, int err, const struct ns_shared *v, size_t n);

/* Short-lived and may be lost. All calls of one turn are one round trip. */
struct ns_share_port {
	void *self; /* NULL: there are no others */
	bool (*active)(void *self);
	/* `settled`: the transmission is dealt with, body is not used. */
	void (*put)(void *self, struct lw_span key, bool settled, struct lw_span body, uint32_t keep_ms);
	void (*get)(void *self, struct lw_span key, ns_shared_fn *fn, void *arg);
};

struct ns_ports {
	struct ns_store_port store;
	struct ns_gateway_port gateways;
	struct ns_radio_port radio;
	struct ns_join_port join;
	struct ns_geo_port geo;
	struct ns_log_port log;
	struct ns_link_port link;
	struct ns_flood_port flood;
	struct ns_journal_port journal;
	struct ns_share_port share;
	struct ns_multicast_port multicast;
};
