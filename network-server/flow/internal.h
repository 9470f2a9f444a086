/* What the files of this folder share: the owner of all flows, the contexts that travel through them, and the small
 * helpers that build events and records. Nobody outside includes this. */
#pragma once

#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/slab.h"
#include "common/base/time.h"
#include "common/crypto/aes.h"
#include "common/runtime/flow.h"
#include "common/runtime/loop.h"
#include "network-server/domain/downlink.h"
#include "network-server/domain/mac_up.h"
#include "network-server/domain/planner.h"
#include "network-server/domain/uplink.h"
#include "network-server/flow/flows.h"
#include "proto/integration/integration.pb-c.h"

typedef Longwave__V1__Outcome ns_outcome;
typedef Longwave__V1__Reason ns_reason;

#define NS_STEPS 24
#define NS_NOTES 4
#define NS_CTX_MEM 6144
#define NS_ARENA_MAX (256 * 1024)
#define NS_TRIES 5                      /* commits of one frame that may meet a conflict */
#define NS_QUEUE_LOOK 4                 /* items of the queue read at once */
#define NS_TX_GATEWAYS NS_PLAN_GATEWAYS /* gateways that a downlink may be offered to */
#define NS_ADDR_DRAWS 8
#define NS_BATCH 256                /* contexts per call of an I/O step */
#define NS_MARGIN_UNKNOWN INT16_MIN /* of a gateway that has heard nobody for this downlink */

/* What every context begins with. */
struct ns_ctx {
	struct rt_flow_ctx flow;
	struct ns_flows *f;
	struct lw_arena arena;
	int64_t start_mono_ns;
	ns_outcome outcome;
	ns_reason reason;
	char detail[200];
	unsigned tries;
	struct {
		const char *name;
		uint32_t after_us;
	} step[NS_STEPS];
	unsigned n_steps;
	/* What a person should know of a step, where something is unusual; in the arena. */
	struct {
		const char *step, *text;
	} note[NS_NOTES];
	unsigned n_notes;
};

enum ns_up_next { NS_UP_END, NS_UP_DATA, NS_UP_JOIN, NS_UP_PROPRIETARY, NS_UP_LOCATE };

struct ns_window;

/* A reception of this transmission that another network-server was given. */
struct ns_foreign {
	struct ns_foreign *next;
	struct lw_gateway_id gateway_id;
	Gw__UplinkRxInfo *rx;
};
struct ns_usual;
struct rt_metric;

/* Questions to the database about what memory does not have, in this second. */
struct ns_looks {
	int64_t since_ns;
	unsigned n;
};

/* One reception; the first one of a window carries the others along as its copies. */
struct ns_up {
	struct ns_ctx c;
	struct ns_inbox in;
	const struct ns_region_config *rc;
	struct lw_span payload;
	Gw__UplinkFrame *frame;
	struct lw_gateway_id gateway_id;
	struct ns_gateway_look look;
	struct ns_up *copies; /* chain by next_copy */
	struct ns_up *next_copy;
	void *work;                 /* see ns_up_begin_work() */
	struct ns_foreign *foreign; /* receptions that other network-servers have */
	bool is_shared;             /* others wait to hear that it is dealt with */
	bool merged;                /* belongs to another one: not ended on its own */
	enum ns_up_next next;
	char dedup_id[LW_UUID_TEXT];
	uint64_t receivers; /* who heard it, see domain/usual.h; 0: too many */

	Gw__UplinkRxInfo **rx; /* of all copies, strongest first */
	struct ns_rx_gateway *rx_gw;
	size_t n_rx;
	size_t n_hidden; /* behind them: of private gateways that this device's tenant may not hear */
	struct ns_uplink up;

	struct ns_fetch fetch;
	struct ns_queue_fetch queue;
	struct ns_match match;
	struct ns_device *dev;
	bool retransmission;
	int64_t lost;                /* counters that this one passed over; -1: it is one of those */
	bool looked_again;           /* the sessions were read anew, since memory may have been old */
	struct lw_span mac_commands; /* in the clear */
	struct ns_mac_up mac;

	struct ns_event event[8];
	size_t n_events;
	struct ns_queue_op queue_op[NS_QUEUE_LOOK];
	size_t n_queue_ops;
	size_t n_queued; /* items that can be sent */
	struct ns_change change;

	/* join */
	struct ns_addr_check addr[NS_ADDR_DRAWS];
	unsigned addr_open;
	struct ns_join_ask ask;
	struct ns_rekey *offer; /* the session that the join leads to; in the arena */
	bool is_offer;          /* which waits beside the one that there is */
	bool has_entered;       /* a rejoin-request was the first that was heard of the session that it is signed in */

	struct ns_geo_ask geo;
};

/* A gateway that may send a downlink. */
struct ns_tx_gateway {
	struct ns_rx_gateway rx;
	uint32_t priority;
	int16_t margin_ddb; /* of the uplink, above the demodulation floor */
	uint8_t refused;    /* windows that it has said no to, bit per frame */
	uint8_t offered;    /* windows that it was asked for */
	uint8_t offer;      /* 1: the first that was asked, 2: the next …; 0: not asked */
	uint8_t answer[2];  /* 1 + Gw__TxAckStatus by frame; 0: none */
	bool is_silent;
};

/* One downlink on its way to a decision. */
struct ns_down {
	struct ns_ctx c;
	struct lw_dev_eui dev_eui;
	const struct ns_region_config *rc;
	bool by_hint;
	uint8_t attempt; /* class C: how often its gateways have failed in a row */
	uint32_t delay_ms;
	struct rt_timer timer;
	struct lw_list waiting;
	bool is_waiting;

	bool ack;
	bool force;
	uint8_t answers[NS_MAC_ANSWERS_MAX];
	size_t n_answers;
	char dedup_id[LW_UUID_TEXT];

	struct ns_fetch fetch;
	struct ns_queue_fetch queue;
	struct ns_device *dev;
	struct ns_queue_item *items; /* those that can be sent */
	size_t n_items;
	enum ns_down_mode mode;
	int64_t ping_slot_gps_ns;
	struct ns_down_out *out;
	struct ns_tx_gateway *gw; /* the strongest first */
	unsigned n_gw;
	struct ns_plan *plan;         /* why nothing is sent; NULL: not asked */
	enum ns_plan_rank rank;       /* that it was asked with */
	int64_t dev_status_req_at_ns; /* before this downlink */
	/* Items that leave the queue unsent or unheard, for the record once that is written. */
	struct ns_gone {
		ns_reason reason;
		const char *text;
		uint32_t f_cnt;
		uint8_t f_port;
		bool confirmed;
	} gone[NS_QUEUE_LOOK + NS_DOWN_ITEMS_MAX];
	unsigned n_gone;

	struct ns_event event[NS_QUEUE_LOOK + NS_DOWN_ITEMS_MAX + 1];
	size_t n_events;
	struct ns_queue_op queue_op[NS_QUEUE_LOOK + NS_DOWN_ITEMS_MAX + 1];
	size_t n_queue_ops;
	struct ns_change change;
};

/* A downlink that a gateway has and not yet answered. */
struct ns_tx {
	struct ns_flows *f;
	struct rt_timer timer;
	uint32_t downlink_id;
	uint32_t record_id; /* the first downlink_id: one record, however many gateways are asked */
	unsigned n_offers;
	bool broker_away;
	int64_t ahead_ms; /* the last gateway was asked so long before the window */
	uint8_t ahead_of; /* which one */
	const struct ns_region_config *rc;
	bool is_join;
	struct lw_dev_eui dev_eui;
	struct lw_devaddr devaddr;
	uint8_t session_key_id[NS_KEY_ID_MAX]; /* not of a join */
	uint8_t session_key_id_len;
	enum lw_class enabled_class;
	char dedup_id[LW_UUID_TEXT];
	int64_t uplink_at_ns; /* class A windows count from here */
	struct ns_down_frame frame[2];
	unsigned n_frames;
	bool has_item;
	bool item_confirmed;
	struct lw_uuid item_id;
	uint8_t attempt;
	/* Class B and C: how long to wait for the device, 0: until its next uplink. */
	int64_t item_timeout_ns;
	int64_t dev_status_req_at_ns;
	struct ns_tx_gateway gw[NS_TX_GATEWAYS]; /* the strongest first */
	unsigned n_gw;
	unsigned cur;         /* the gateway that has it */
	struct ns_plan plan;  /* the latest */
	int64_t sent_mono_ns; /* to that gateway */
	bool maybe_sent;      /* a gateway that had it did not answer in time: its counter stays used */
	bool overtaken; /* a later downlink of the device has left: its own counter is too old for another gateway */
	uint8_t offered[2]; /* indices of the frames in the message that it got */
	unsigned n_offered;
	ns_reason last_error;
	uint8_t mac_bytes[NS_MAC_BYTES_MAX];
	size_t n_mac_bytes;
	uint8_t mac_request[NS_MAC_BLOCKS]; /* kinds of requests in it */
	size_t n_mac_requests;
	uint8_t mac_queue[NS_MAC_QUEUE_MAX]; /* what came from outside, to be put back when nobody sends it */
	uint8_t mac_queue_len;
	bool ack;
	/* To a multicast group: no device, one gateway, an item of the group's queue. */
	bool is_multicast;
	bool is_proprietary;          /* nobody's */
	struct lw_modulation own_mod; /* of a proprietary one */
	struct lw_uuid group_id;
};

/* What an answer means for a copy in a group's queue. */
struct ns_mc_answer {
	struct ns_mc_change change; /* points to the others */
	struct ns_mc_copy copy;
	struct lw_gateway_id gateway_id;
	bool given_up;
};

/* An answer of a gateway. */
struct ns_ack {
	struct ns_ctx c;
	struct ns_inbox in;
	struct lw_span payload;
	Gw__DownlinkTxAck *msg;
	struct ns_tx *tx;
	int taken; /* index of the item that is sent, -1: none */
	struct ns_fetch fetch;
	struct ns_device *dev;
	struct ns_event event[2];
	size_t n_events;
	struct ns_queue_op queue_op;
	struct ns_change change;
	struct ns_mc_answer multicast;
};

struct ns_stats {
	struct ns_ctx c;
	struct ns_inbox in;
	struct lw_span payload;
	Gw__GatewayStats *msg;
	struct lw_gateway_id gateway_id;
	struct ns_gateway_look look;
	struct ns_event event;
	struct ns_change change;
};

struct ns_flows {
	struct rt_loop *loop;
	const struct ns_ports *ports;
	struct ns_flow_config cfg;
	struct lw_rng *rng;
	struct lw_keycache *kc;
	struct rt_flow *receive, *uplink, *join, *proprietary, *locate, *downlink, *tx_ack, *stats, *multicast;
	struct lw_bmap windows;     /* struct ns_window by what makes receptions copies of one transmission */
	struct lw_map open_windows; /* how many by DevAddr */
	struct ns_usual *usual;     /* who hears a device */
	/* Receptions of proprietary frames, which have no counter: of the last minute and of the one before. */
	struct lw_map uncounted[2];
	int64_t uncounted_since_ns;
	struct ns_flood flood;
	bool early_close;
	struct rt_metric *windows_closed, *late_copies;
	struct lw_map held;              /* by DevAddr: frames that wait for the database, see hold.c */
	struct lw_map tx;                /* struct ns_tx by downlink_id */
	struct lw_map tx_by_device;      /* the latest struct ns_tx by DevEUI */
	struct lw_map down_by_device;    /* struct ns_down before its decision, by DevEUI */
	struct lw_list waiting;          /* struct ns_down in their delay */
	size_t n_later;                  /* of these: for nothing that came in, and found again after a restart */
	struct lw_bmap multicast_groups; /* struct ns_mc_state by id, of groups with something to send */
	struct lw_map timelines;         /* struct ns_timeline by gateway, of those that send */
	size_t sweep_at;
	struct lw_slab ups; /* struct ns_up */
	struct rt_timer keep;
	void *free_work; /* the first of n_free_work */
	size_t n_free_work;
	size_t in_flight;
	bool was_full;
	struct lw_list sharing; /* waiting for others */
	bool replicated;        /* other network-servers write the same sessions */
	struct ns_looks gateway_looks, device_looks;
	bool closing;
};

/* The tables, each in its file. */
extern const struct rt_flow_step ns_receive_steps[], ns_uplink_steps[], ns_locate_steps[], ns_join_steps[],
	ns_proprietary_steps[], ns_downlink_steps[], ns_tx_ack_steps[], ns_stats_steps[], ns_multicast_steps[];
extern const size_t ns_receive_n_steps, ns_uplink_n_steps, ns_locate_n_steps, ns_join_n_steps, ns_proprietary_n_steps,
	ns_downlink_n_steps, ns_tx_ack_n_steps, ns_stats_n_steps, ns_multicast_n_steps;

/* --- context.c: life of contexts -------------------------------------------------------------------------------------
 */
void ns_ctx_init(struct ns_ctx *c, struct ns_flows *f, uint8_t *mem, size_t cap);
struct ns_up *ns_up_new(struct ns_flows *f);
void ns_up_free(struct ns_up *u);
/* Its window has closed: from here it needs more memory than while it waited. */
void ns_up_begin_work(struct ns_up *u);
void ns_pools_init(struct ns_flows *f);
void ns_pools_free(struct ns_flows *f);
struct ns_down *ns_down_new(struct ns_flows *f);
struct ns_ack *ns_ack_new(struct ns_flows *f);
struct ns_stats *ns_stats_new(struct ns_flows *f);
/* For the types without a pool. */
void ns_ctx_free(struct ns_ctx *c);
/* Sets outcome and reason; returns RT_FLOW_DROP for `return ns_drop(...)`. The detail may be NULL. */
enum rt_flow_rc ns_drop(struct ns_ctx *c, ns_reason reason, const char *detail);
/* The configuration of this id; NULL: it is not enabled. */
const struct ns_region_config *ns_region_of(const struct ns_flows *f, const char *id);
/* The enabled region configuration that the gateway's statistics came in last; NULL: not known. */
const struct ns_region_config *ns_gateway_reports_in(const struct ns_flows *f, struct lw_gateway_id id);
int64_t ns_now(const struct ns_flows *f);
rt_flow_end_fn ns_up_ended, ns_down_ended, ns_ack_ended, ns_stats_ended, ns_multicast_ended;
rt_flow_trace_fn ns_ctx_traced;

/* --- decode.c ----------------------------------------------------------------------------------------------------- */
/* protobuf or JSON, into the arena; 0 or an LW_E code. */
int ns_decode(struct ns_ctx *c, const ProtobufCMessageDescriptor *type, struct lw_span payload, ProtobufCMessage **out);
/* The modulation of a reception; kind LW_MOD_NONE when it has none that we know. */
struct lw_modulation ns_modulation(const Gw__Modulation *m);
/* Adds or replaces an entry; the strings are borrowed. */
void ns_metadata_put(struct lw_arena *a, Gw__UplinkRxInfo *rx, const char *key, const char *value);

/* --- up_receive.c ------------------------------------------------------------------------------------------------- */
/* False: enough for this second. */
bool ns_may_look(const struct ns_flows *f, struct ns_looks *l);
/* Whether the database is to be asked for a gateway that memory does not have. */
bool ns_wants_look(struct ns_flows *f, struct lw_gateway_id id);

/* --- hold.c ------------------------------------------------------------------------------------------------------- */
/* This reception of the address waits in the journal for another try; or no longer. */
void ns_hold_put(struct ns_flows *f, struct lw_devaddr addr, uint64_t position);
void ns_hold_remove(struct ns_flows *f, struct lw_devaddr addr, uint64_t position);
/* False: an earlier frame of its address waits. */
bool ns_hold_passes(const struct ns_up *u);
void ns_hold_free(struct ns_flows *f);

/* --- collect.c ---------------------------------------------------------------------------------------------------- */
rt_flow_io_fn ns_collect;
void ns_windows_init(struct ns_flows *f);
void ns_windows_free(struct ns_flows *f);
/* The frame is its device's, for certain, and has had its effect: it is remembered who heard it. */
void ns_windows_learn(const struct ns_up *u);
void ns_windows_register_metrics(struct ns_flows *f, struct rt_metrics *m);

/* --- share.c ------------------------------------------------------------------------------------------------------ */
bool ns_share_active(const struct ns_flows *f);
/* Tells other network-servers of this reception. */
void ns_share_put(struct ns_up *u);
/* The window has closed: goes on with what the others have; or, when another one was first, ends here once that one has
 * dealt with it. */
void ns_share_close(struct ns_up *u);
/* It is dealt with. */
void ns_share_settle(const struct ns_up *u);
void ns_share_free(struct ns_flows *f);

/* --- events.c ----------------------------------------------------------------------------------------------------- */
/* Who an event is about. */
struct ns_subject {
	struct lw_dev_eui dev_eui;
	struct lw_devaddr devaddr;
	bool has_devaddr;
	enum lw_class enabled_class;
	const struct ns_region_config *rc;
	const char *dedup_id;
	int64_t time_ns;
};
struct ns_subject ns_subject_of(const struct ns_device *dev, const struct ns_region_config *rc, const char *dedup_id,
				int64_t time_ns);
/* Fills in the common members of e (its kind is set by the caller), packs it. */
struct ns_event ns_event_pack(struct lw_arena *a, const struct ns_subject *s, Longwave__Ns__V1__Event *e);
/* level, code: as integration.LogLevel and integration.LogCode. context: pairs of key and value, ended by NULL. */
struct ns_event ns_log_event(struct lw_arena *a, const struct ns_subject *s, unsigned level, unsigned code,
			     const char *description, const char *const *context);
struct ns_event ns_ack_event(struct lw_arena *a, const struct ns_subject *s, struct lw_uuid item, bool acknowledged,
			     uint32_t f_cnt_down);
struct ns_event ns_reencrypt_event(struct lw_arena *a, const struct ns_subject *s, const struct ns_session *session,
				   const struct ns_queue_item *items, size_t n);
/* app_s_key: of another join server, as it wrapped it. */
struct ns_event ns_join_event(struct lw_arena *a, const struct ns_subject *s, const struct ns_session *session,
			      bool is_foreign, const char *app_s_key_kek, struct lw_span app_s_key);
Google__Protobuf__Timestamp *ns_timestamp(struct lw_arena *a, int64_t ns);

/* --- record.c ----------------------------------------------------------------------------------------------------- */
void ns_record_uplink(struct ns_up *u);
void ns_record_tx(struct ns_tx *tx, struct ns_ctx *c, ns_outcome outcome, ns_reason reason, int taken,
		  const char *detail);
/* A downlink that came to nothing before there was a frame. */
void ns_record_no_downlink(struct ns_down *d);
/* An item of the queue that nobody will hear. */
void ns_record_gone(struct ns_down *d, const struct ns_gone *g);

/* --- quarantine.c ------------------------------------------------------------------------------------------------- */
/* False: the frame ends here, its device floods. A join-request that passes is counted. */
bool ns_flood_passes(struct ns_up *u, bool is_join);
/* The frame is its device's, for certain, and new. */
void ns_flood_count(struct ns_up *u);

/* --- count.c ------------------------------------------------------------------------------------------------------ */
void ns_count_uplink(const struct ns_up *u);
void ns_count_tx(const struct ns_tx *tx, ns_outcome outcome, ns_reason reason, int taken);
/* A downlink that came to nothing before there was a frame. */
void ns_count_dropped(const struct ns_flows *f, struct lw_dev_eui dev_eui, ns_outcome outcome, ns_reason reason);
void ns_count_stats(const struct ns_stats *st);

/* --- why.c: texts for a person. Only drops, downlinks and what is unusual have any. ----------------------------------
 */
/* Keeps what should be known of a step, one text each; more than NS_NOTES are left out. */
void ns_note(struct ns_ctx *c, const char *step, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As ns_drop(). */
enum rt_flow_rc ns_drop_f(struct ns_ctx *c, ns_reason reason, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
enum rt_flow_rc ns_drop_no_device(struct ns_up *u);
enum rt_flow_rc ns_drop_no_mic(struct ns_up *u);
enum rt_flow_rc ns_drop_replay(struct ns_up *u);
enum rt_flow_rc ns_drop_region(struct ns_up *u);
/* Two of its receptions change places. */
void ns_up_swap(struct ns_up *u, size_t a, size_t b);
/* What was looked at for a downlink. */
struct ns_looked_at {
	struct ns_flows *f;
	const struct ns_region_config *rc;
	enum ns_plan_rank rank;
	const struct ns_down_frame *frame;
	unsigned n_frames;
	const struct ns_tx_gateway *gw;
	unsigned n_gw;
	const struct ns_plan *plan;
	int cur; /* the gateway that has it, -1: none */
};
enum ns_plan_rank ns_tx_rank(const struct ns_tx *tx);
struct ns_looked_at ns_tx_looked_at(const struct ns_tx *tx);
struct ns_looked_at ns_down_looked_at(const struct ns_down *d);
/* Into fr->considered; returns the same in one line, in the arena. */
const char *ns_why_considered(struct lw_arena *a, const struct ns_looked_at *q, Longwave__Ns__V1__Frame *fr);
/* Those that were asked, with their answers. */
const char *ns_why_asked(struct lw_arena *a, const struct ns_looked_at *q);
/* No gateway has room. Reason and detail. */
void ns_drop_no_room(struct ns_ctx *c, const struct ns_looked_at *q, int64_t uplink_at_ns);
/* No gateway took it. */
void ns_drop_refused(struct ns_ctx *c, const struct ns_tx *tx);
/* The reason for a downlink that was not offered to any gateway. */
ns_reason ns_tx_unsent_reason(const struct ns_tx *tx);
const char *ns_window_name(const struct ns_down_window *w);

/* --- send.c: towards the gateway, and what waits for its answer
 * ------------------------------------------------------- */
/* Offers the frame to the gateways in turn until one takes it from us; the tx is in the table then. Takes tx. When
 * nobody does, the tx ends as refused by an own tx-ack context. */
void ns_tx_send(struct ns_tx *tx, struct ns_ctx *c);
/* Offers it to another gateway, or in another window. False: there is none. */
bool ns_tx_send_elsewhere(struct ns_tx *tx);
struct ns_tx *ns_tx_new(struct ns_flows *f);
void ns_tx_take(struct ns_tx *tx); /* out of the table */
void ns_tx_free(struct ns_tx *tx);
Gw__DownlinkTxInfo *ns_tx_info(struct lw_arena *a, const struct ns_down_window *w, const struct ns_rx_gateway *g);

/* --- plan.c ------------------------------------------------------------------------------------------------------- */
struct ns_plan_question {
	const struct ns_region_config *rc;
	enum ns_plan_rank rank;
	int64_t uplink_at_ns; /* windows with a delay count from here */
	const struct ns_down_frame *frame;
	unsigned n_frames;
	const struct ns_tx_gateway *gw;
	unsigned n_gw;
};
void ns_plans_init(struct ns_flows *f);
void ns_plans_free(struct ns_flows *f);
/* Those of rx that may send to a device of the tenant, the strongest first. Returns how many. */
unsigned ns_plan_gateways(const struct ns_flows *f, struct lw_uuid tenant, const struct lw_modulation *uplink_mod,
			  const struct ns_rx_gateway *rx, size_t n_rx, struct ns_tx_gateway out[NS_TX_GATEWAYS]);
/* Whether duty cycles are more than accounted. */
bool ns_plan_enforced(const struct ns_flows *f, const struct ns_region_config *rc);
void ns_plan_ask(struct ns_flows *f, const struct ns_plan_question *q, struct ns_plan *out);
/* Into tx->plan; its found. */
bool ns_plan_tx(struct ns_tx *tx);
/* What is known of a gateway that sends, up to now; NULL: nothing. */
const struct ns_timeline *ns_plan_timeline(struct ns_flows *f, struct lw_gateway_id id);
/* The message to tx->cur is out: it has its place on the gateway's timeline. */
void ns_plan_sent(struct ns_tx *tx);
/* The gateway has taken a frame, or -1 none: measures its round trip, and mends its timeline. */
void ns_plan_answered(struct ns_tx *tx, int taken);
/* When, on the monotonic clock, another gateway is asked if this one has not answered; 0: never. */
int64_t ns_plan_give_up_at_ns(struct ns_tx *tx);

/* --- down_table.c ---------------------------------------------------------------------------------------------------
 */
void ns_answer_uplink(struct ns_up *u);
void ns_down_try(struct ns_flows *f, struct lw_dev_eui dev_eui);
/* The same after a while: a class C device had so long to acknowledge, or its gateways failed for the attempt-th time.
 */
void ns_down_try_later(struct ns_flows *f, struct lw_dev_eui dev_eui, uint32_t ms, uint8_t attempt);
/* Class B and C have no uplink to wait for: once more, later and later. */
void ns_down_failed(const struct ns_tx *tx);
/* --- multicast_table.c -------------------------------------------------------------------------------------------- */
void ns_multicast_init(struct ns_flows *f);
void ns_multicast_free(struct ns_flows *f);
/* Looks what is to be sent to the group, now or after what is under way. */
void ns_multicast_try(struct ns_flows *f, struct lw_uuid group_id);
/* A gateway has taken a frame to a group, or has not. */
void ns_multicast_settle(const struct ns_tx *tx, bool taken, struct ns_mc_answer *out);
/* That is written. */
void ns_multicast_answered(const struct ns_tx *tx);

bool ns_gateway_may_send(const struct ns_flows *f, struct lw_gateway_id id, struct lw_uuid tenant, uint32_t *priority);
