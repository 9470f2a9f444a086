/* The bridge as a whole: its listeners, its broker and its two flows. One owner, handed to every part. */
#pragma once

#include "common/runtime/daemon.h"
#include "common/runtime/flow.h"
#include "gateway-bridge/config.h"
#include "gateway-bridge/domain/downlink.h"
#include "gateway-bridge/domain/filter.h"
#include "gateway-bridge/domain/gateway.h"
#include "gateway-bridge/link/broker.h"
#include "gateway-bridge/link/udp.h"
#include "proto/longwave/v1/reason.pb-c.h"

struct gb_bridge;

struct gb_listener {
	struct gb_bridge *bridge;
	const char *name;
	char *prefix; /* "" or ending in '/' */
	struct gb_udp *udp;
	struct gb_gateways gateways;
};

#define GB_N_REASONS 100

struct gb_metrics {
	struct rt_metric *received; /* by datagram type, the last one: malformed */
	struct rt_metric *sent;
	struct rt_metric *dropped; /* by reason */
	struct rt_metric *uplinks;
	struct rt_metric *stats;
	struct rt_metric *downlinks;
	struct rt_metric *tx_acks; /* by status */
	struct rt_metric *commands;
	struct rt_metric *gateways;
	struct rt_metric *connects;
	struct rt_metric *disconnects;
	struct rt_metric *overflow;
	struct rt_metric *send_failed;
	struct rt_metric *lost_parts;
	struct rt_metric *ack_rate;
	const char *reasons[GB_N_REASONS];
};

struct gb_up;
struct gb_down;

struct gb_bridge {
	const struct gb_conf *conf;
	struct rt_loop *loop;
	struct rt_log *log;
	struct rt_metrics *registry;
	struct rt_daemon_run *run;
	struct lw_schema *schema;
	struct gb_marshaler marshaler;
	struct gb_filter filter;
	struct gb_static_meta *meta;
	size_t n_meta;
	struct gb_metrics m;

	struct gb_listener *listeners;
	size_t n_listeners;
	const char **prefixes;
	struct gb_broker *broker;
	struct gb_downlinks downlinks;
	struct rt_timer housekeeping;
	struct rt_timer drain_timer;
	bool draining;

	struct rt_flow *up;
	struct gb_up *up_idle;
	struct rt_flow *down;
	struct gb_down *down_idle;
	struct lw_arena arena; /* for one message at a time */
	struct lw_buf out;     /* for one message at a time */
};

/* One drop, counted under its reason. */
void gb_drop(struct gb_bridge *b, Longwave__V1__Reason reason);

/* --- flow/up.c: from datagrams to events ------------------------------------------------------------------------ */

void gb_up_init(struct gb_bridge *b);
void gb_up_deinit(struct gb_bridge *b);
/* gb_udp_batch_fn; arg is the struct gb_listener. */
void gb_up_datagrams(void *arg, const struct gb_udp_datagram *v, size_t n);

/* --- flow/down.c: from commands to datagrams, and the gateway's answers ----------------------------------------- */

void gb_down_init(struct gb_bridge *b);
void gb_down_deinit(struct gb_bridge *b);
void gb_down_command(struct gb_bridge *b, const struct gb_command *c);
void gb_down_tx_ack(struct gb_listener *l, const struct semtech_datagram *d);
/* Downlinks that were sent before `before_ns` are given up. */
void gb_down_expire(struct gb_bridge *b, int64_t before_ns);
/* Gives up what the gateway has not answered. */
void gb_down_forget_gateway(struct gb_bridge *b, struct gb_gateway *gw);
