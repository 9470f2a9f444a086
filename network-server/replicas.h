/* This network-server among its replicas: tells and hears what changed in the common database, and looks after what a
 * replica that is gone has left with the broker and in the outbox. Decides nothing about a frame. */
#pragma once

#include "common/io/peers.h"
#include "network-server/flow/flows.h"
#include "network-server/link/event_stream.h"
#include "network-server/link/gw_mqtt.h"
#include "network-server/wake.h"

struct ns_replicas;

struct ns_replicas_opts {
	struct rt_loop *loop;
	struct rt_log *log;
	const char *redis_url;
	const char *share;  /* subscription group: whoever has it belongs together */
	const char *origin; /* name of this replica */
	uint32_t lease_ms;
};

struct ns_replicas *ns_replicas_new(const struct ns_replicas_opts *o, struct lw_diag *diag);
void ns_replicas_free(struct ns_replicas *r);
/* The parts, as they come to be; NULL when they go. */
void ns_replicas_set_store(struct ns_replicas *r, struct ns_store *store);
void ns_replicas_set_flows(struct ns_replicas *r, struct ns_flows *flows);
void ns_replicas_set_links(struct ns_replicas *r, struct ns_gw_mqtt *mqtt, struct ns_event_stream *events);
void ns_replicas_set_wake(struct ns_replicas *r, struct ns_wake *wake);
void ns_replicas_tell(struct ns_replicas *r, const char *kind, struct lw_span body);
void ns_replicas_tell_encoding(struct ns_replicas *r, struct lw_gateway_id gateway, bool json);
void ns_replicas_fill_port(struct ns_replicas *r, struct ns_share_port *out);
bool ns_replicas_any(const struct ns_replicas *r);
struct peers *ns_replicas_peers(struct ns_replicas *r);
/* Nothing more is taken over. */
void ns_replicas_stop(struct ns_replicas *r);
/* The others need not wait for the end of the lease. */
void ns_replicas_leave(struct ns_replicas *r);
