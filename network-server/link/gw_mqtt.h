/* The broker's side towards the gateways: events in, through the inbox journal; commands out. One connection for all
 * regions. Knows topics and encodings, not what a frame means. */
#pragma once

#include <stdbool.h>

#include "common/io/mqtt.h"
#include "network-server/domain/region_config.h"
#include "network-server/flow/ports.h"

struct rt_loop;
struct rt_log;
struct rt_metrics;
struct lw_schema;
struct ns_gw_mqtt;

enum ns_gw_event { NS_GW_UP, NS_GW_STATS, NS_GW_ACK };

struct ns_gw_message {
	enum ns_gw_event kind;
	const struct ns_region_config *region;
	struct lw_span payload;
	uint64_t journal_position; /* 0: not in the journal */
	int64_t received_at_ns;
	bool is_replay;  /* may have been here before */
	bool said_again; /* a copy that a bridge sent in case the broker had lost the first */
	bool is_urgent;  /* passes what waits */
};

/* 0, or LW_EFULL: offer it again after ns_gw_mqtt_room(). */
typedef int ns_gw_message_fn(void *arg, const struct ns_gw_message *m);

struct ns_gw_mqtt_opts {
	struct rt_loop *loop;
	struct rt_log *log;
	struct rt_metrics *metrics;
	struct mqtt_opts mqtt; /* server and login; the rest is filled in here */
	const char *share;
	int qos;
	const char *journal_dir;
	bool journal_sync;
	const struct ns_region_config *const *regions; /* borrowed */
	size_t n_regions;
	size_t max_waiting;     /* uplinks that may wait in memory for room; 0: 100000 */
	uint32_t shed_after_ms; /* under overload the oldest go when they waited longer; 0: never, the broker keeps what
				   has no room */
	ns_gw_message_fn *on_message;
	void (*on_shed)(void *arg, const struct ns_gw_message *m); /* may be NULL; an uplink was given up */
	void (*on_state)(void *arg, bool up, const char *detail);
	/* A gateway turned out to speak JSON, or no longer. May be NULL. */
	void (*on_encoding)(void *arg, struct lw_gateway_id gateway, bool json);
	void *arg;
};

/* Opens the journal, hands over what is in it (on_message is called from inside), then connects. */
int ns_gw_mqtt_new(struct ns_gw_mqtt **out, const struct ns_gw_mqtt_opts *o, struct lw_diag *diag);
/* Stops taking in; what is in flight goes on. */
void ns_gw_mqtt_pause(struct ns_gw_mqtt *g);
/* on_message said LW_EFULL and would take again. */
void ns_gw_mqtt_room(struct ns_gw_mqtt *g);
/* Stops taking its share of receptions, which go to the other replicas; what is on its way and answers to downlinks
 * still come. */
void ns_gw_mqtt_leave(struct ns_gw_mqtt *g);
/* Messages taken from the broker. */
uint64_t ns_gw_mqtt_received(const struct ns_gw_mqtt *g);
/* Takes what the broker kept for a replica that is gone, in its name, and leaves nothing behind there. `done` is called
 * unless disinherit is. */
void ns_gw_mqtt_inherit(struct ns_gw_mqtt *g, const char *client_id, void (*done)(void *arg, const char *client_id),
			void *arg);
/* It is back. */
void ns_gw_mqtt_disinherit(struct ns_gw_mqtt *g, const char *client_id);
/* True: that is new. */
bool ns_gw_mqtt_note_json(struct ns_gw_mqtt *g, struct lw_gateway_id gateway, bool json);
void ns_gw_mqtt_free(struct ns_gw_mqtt *g);
/* Both for the flows' ports; `self` may be filled in later, before the first message. */
int ns_gw_mqtt_send(struct ns_gw_mqtt *g, const struct ns_region_config *rc, const Gw__DownlinkFrame *frame,
		    const struct lw_schema *schema);
void ns_gw_mqtt_done(struct ns_gw_mqtt *g, uint64_t position);
/* It could not have its effect now: it is offered again, as a replay. */
void ns_gw_mqtt_retry(struct ns_gw_mqtt *g, uint64_t position);
