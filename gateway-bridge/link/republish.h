/* A broker that was killed forgets what it had acknowledged: Mosquitto acknowledges before it stores, and comes back
 * with its state of the last autosave. So the bridge keeps what was acknowledged lately and, when the broker returns
 * with less than it had, publishes it again before anything newer. Receivers drop what they have had.
 *
 * How far the broker's memory reaches is asked of the broker itself: once a second with traffic a small numbered
 * message is published and retained (the marker), in the same stream as the events. The one that the broker gives back
 * after a reconnect tells which events were acknowledged after what it still knows. None at all, or somebody else's:
 * all of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/io/mqtt.h"
#include "common/runtime/metrics.h"

struct gb_republish;

struct gb_republish_opts {
	struct rt_loop *loop;
	struct rt_log *log;
	struct rt_metrics *metrics;
	size_t n_lanes;      /* streams whose order is kept, each in itself */
	const char *topic;   /* of the marker; copied */
	uint64_t max_bytes;  /* memory for all lanes together; the oldest go first */
	uint64_t max_age_ms; /* how long before its end the broker may have acknowledged in vain; 0: nothing is kept */
	uint8_t qos;
};

struct gb_republish *gb_republish_new(const struct gb_republish_opts *opts);
void gb_republish_free(struct gb_republish *r);
/* Before anything else of this module; must be freed after the last callback of the client. */
void gb_republish_set_client(struct gb_republish *r, struct mqtt *mqtt);

/* The broker has acknowledged an event of the lane. */
void gb_republish_acked(struct gb_republish *r, size_t lane, const char *topic, struct lw_span payload);
/* True while events of the lane that keep their order have to wait for older ones. */
bool gb_republish_holds(const struct gb_republish *r, size_t lane);
/* Under way and not acknowledged. */
size_t gb_republish_pending(const struct gb_republish *r);

void gb_republish_connected(struct gb_republish *r);
void gb_republish_disconnected(struct gb_republish *r);
/* True when the message was the marker's. */
bool gb_republish_message(struct gb_republish *r, const struct mqtt_message *m);
/* Once per loop turn: goes on with what is to be said again. */
void gb_republish_tick(struct gb_republish *r);
