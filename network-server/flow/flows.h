/* The network-server's flows as one object: what comes from the gateways goes in here, everything else through the
 * ports. Single-threaded, on the daemon's loop. */
#pragma once

#include "common/base/rng.h"
#include "common/lorawan/netid.h"
#include "network-server/domain/proprietary.h"
#include "network-server/domain/flood.h"
#include "network-server/flow/ports.h"

struct rt_loop;
struct lw_schema;
struct ns_flows;

struct ns_flow_config {
	struct lw_netid netid;
	uint32_t deduplication_window_ms;    /* 200 */
	bool deduplication_adaptive;         /* true: the window closes once all have reported that usually do */
	uint32_t downlink_data_delay_ms;     /* 100: time for an application to answer the very uplink */
	uint32_t tx_ack_timeout_ms;          /* 30000: then the gateway counts as silent */
	uint8_t max_mac_command_error_count; /* 1 */
	bool mac_commands_disabled;
	bool allow_unknown_gateways;
	int64_t rx_timestamp_max_drift_ms;    /* 30000: a gateway's own time counts when it is nearer than this */
	size_t max_in_flight;                 /* receptions; 0: 20000. Join-requests: twice as many */
	size_t max_devices;                   /* whose usual gateways are remembered, about */
	uint32_t multicast_class_c_margin_ms; /* 5000: between transmissions to a group, and before one by GPS time */
	uint32_t multicast_class_b_margin_ms; /* 5000: so long before a ping slot gateways get its frame */
	const struct ns_region_config *const *regions; /* the enabled ones */
	size_t n_regions;
	/* Of these: where duty cycles, dwell times and planned transmissions forbid a downlink instead of being
	 * avoided. */
	const struct ns_region_config *const *enforce;
	size_t n_enforce;
	struct ns_flood_limits flood;
	struct lw_devaddr_prefix devaddr_prefix; /* of addresses that we assign; len 0: the NetID's */
	const struct lw_schema *schema;          /* for JSON */
	void (*on_room)(void *arg);              /* may be NULL: ns_flows_uplink() said LW_EFULL and would take again */
	void *on_room_arg;
};

void ns_flow_config_defaults(struct ns_flow_config *c);

/* Where a message came from. */
struct ns_inbox {
	const struct ns_region_config *region;
	uint64_t journal_position; /* 0: none */
	int64_t received_at_ns;    /* wall clock of the MQTT callback (of the first arrival, for a replay) */
	bool is_replay;            /* may have been here before: from the journal, or said again by a bridge */
	bool said_again;           /* the latter */
	bool is_urgent;            /* there is room for it when there is for no other */
};

/* `ports` and what config points to are borrowed until ns_flows_free(). */
struct ns_flows *ns_flows_new(struct rt_loop *loop, const struct ns_ports *ports, const struct ns_flow_config *config,
			      struct lw_rng *rng);
/* Ends everything under way: no port is called any more. The journal keeps what was not done. */
void ns_flows_free(struct ns_flows *f);

/* gw.UplinkFrame, gw.DownlinkTxAck, gw.GatewayStats as they came from the topic, protobuf or JSON; copied. Return 0, or
 * LW_EFULL (uplink): too much in flight, offer it again later (stop reading from the broker until then). */
int ns_flows_uplink(struct ns_flows *f, const struct ns_inbox *in, struct lw_span payload);
int ns_flows_tx_ack(struct ns_flows *f, const struct ns_inbox *in, struct lw_span payload);
int ns_flows_stats(struct ns_flows *f, const struct ns_inbox *in, struct lw_span payload);

/* Items were enqueued or encrypted anew, durably: sends at once when a receive window of the last uplink can still be
 * met (class C: now). */
void ns_flows_enqueue_hint(struct ns_flows *f, struct lw_dev_eui dev_eui);

/* An item was not taken into the device's queue: a log event says so to its application. `dev` is only read now. */
void ns_flows_downlink_refused(struct ns_flows *f, const struct ns_device *dev, struct lw_uuid item, const char *why);

/* It was given to the gateway, whose answer is in its frame log; or LW_ENOTFOUND: its region is not known; LW_EINVAL:
 * outside the region, or too long. It could not be asked: LW_EUNAVAILABLE: the broker is away; LW_ETIMEDOUT: its time
 * is past; LW_ERANGE: further ahead than is planned. Where the duty cycle is enforced LW_EEXHAUSTED: it is used up;
 * LW_EBIG: longer on the air than the dwell time; LW_EAGAIN: the gateway sends something else then. */
int ns_flows_send_proprietary(struct ns_flows *f, const struct ns_proprietary *p, uint32_t *downlink_id);

/* Something waits for the multicast group. */
void ns_flows_multicast_hint(struct ns_flows *f, struct lw_uuid group_id);

/* A device that can be sent to at any time may have something waiting, from `delay_ms` on. */
void ns_flows_wake(struct ns_flows *f, struct lw_dev_eui dev_eui, uint32_t delay_ms);

/* False while other replicas take their part of the receptions: nobody sees then whether all have reported, and every
 * window stays open for its whole time. True at first, where the configuration allows it. */
void ns_flows_set_early_close(struct ns_flows *f, bool on);
/* A device was given this address: what is known of the one that had it before says nothing of this one. */
void ns_flows_address_taken(struct ns_flows *f, struct lw_devaddr addr);

/* Is the device in quarantine? */
bool ns_flows_quarantine(struct ns_flows *f, struct lw_dev_eui dev_eui, struct ns_quarantine *out);
/* Ends it. False: it was in none. */
bool ns_flows_release(struct ns_flows *f, struct lw_dev_eui dev_eui);
/* Another network-server has put it there. */
void ns_flows_quarantine_began(struct ns_flows *f, struct lw_dev_eui dev_eui, enum ns_flood_kind kind,
			       uint32_t measured);

/* Another network-server works on the same database: memory may be old, and a device's uplinks may come in another
 * order than it sent them. Stays so for good once it was said. */
void ns_flows_set_replicated(struct ns_flows *f);

/* Per-step counters of all tables. The registry must be gone before the flows, see rt_flow_register_metrics(). */
struct rt_metrics;
void ns_flows_register_metrics(struct ns_flows *f, struct rt_metrics *m);

/* Contexts under way, for drain at SIGTERM and for tests. */
size_t ns_flows_in_flight(const struct ns_flows *f);
/* Downlinks that a gateway has and not yet answered. */
size_t ns_flows_unanswered(const struct ns_flows *f);
