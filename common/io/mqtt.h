/* MQTT client on the loop: 3.1.1 and 5, QoS 0 and 1, TCP or TLS. Connects by itself with growing delays, subscribes
 * again after each connect. One read for all that has come, one write for all that a turn has to say.
 *
 * Order that receivers can rely on: in one turn all messages there are are handed to on_message, then before_ack runs,
 * and only then the acknowledgements of QoS 1 messages are written. What before_ack has made durable is therefore never
 * lost: if the process dies earlier, the broker delivers again (clean_session false). A receiver that does not want to
 * wait for its disk says false from before_ack, and mqtt_acks_go() later; meanwhile messages go on being handed over.
 * Acknowledgements without other output wait up to ack_wait_ms for more of their kind, so before_ack runs once for many
 * messages. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"

struct mqtt;
struct rt_metric;

enum mqtt_version { MQTT_V311 = 4, MQTT_V5 = 5 };

struct mqtt_message {
	const char *topic;
	struct lw_span payload;
	uint8_t qos;
	bool retain;
	bool again; /* V5: the sender says that it may have come before, see mqtt_republish() */
};

/* Strings are borrowed for the call. Runs inside the read loop: keep it short, enter a flow or append to a journal. */
typedef void mqtt_message_fn(void *arg, const struct mqtt_message *m);
/* Messages were handed over since the last call, and their acknowledgements are about to be written (those of QoS 0
 * have none: then it runs in the same loop turn). False: the acknowledgements of all messages so far wait for
 * mqtt_acks_go(); it is not asked again before that, except by mqtt_free(), and for another connection. */
typedef bool mqtt_before_ack_fn(void *arg);
typedef void mqtt_connect_fn(void *arg, bool session_present);
/* `err` negative code; retries go on. */
typedef void mqtt_disconnect_fn(void *arg, int err, const char *text);
/* 0: the broker has it (QoS 0: handed to the socket). LW_ECLOSED: connection lost before that (for QoS 1 the broker may
 * have it or not); LW_EUNAVAILABLE: not connected; LW_EAUTH: refused by the broker; LW_ENOTFOUND: nobody
 * listens (report_unheard); LW_ECANCELLED: mqtt_free(). */
typedef void mqtt_done_fn(void *arg, int err);

struct mqtt_opts {
	const char *
		server; /* tcp://host:port (also mqtt://) or ssl://host:port (also mqtts://); port default 1883, 8883 */
	const char *client_id; /* "" with clean_session: made by the library */
	const char *username;  /* "" or NULL: none */
	const char *password;
	bool clean_session;
	uint16_t keepalive_s;      /* 0: 30 */
	enum mqtt_version version; /* 0: V5 */
	uint32_t session_expiry_s; /* V5 without clean_session; 0: never expires */
	uint16_t receive_maximum;  /* QoS 1 messages the broker may have unacknowledged towards us; 0: 65535 */
	const char *ca_file;       /* ssl: NULL or "" uses the system's store */
	const char *cert_file;     /* client certificate; NULL: none */
	const char *key_file;
	struct {
		const char *topic; /* NULL: no will */
		const void *payload;
		size_t n;
		uint8_t qos;
		bool retain;
	} will;
	uint32_t backoff_min_ms; /* 0: 250 */
	uint32_t backoff_max_ms; /* 0: 15000 */
	size_t max_message;      /* larger incoming payloads are dropped and counted; 0: 1 MiB */
	size_t max_queued;       /* publishes not yet done; 0: 100000 */
	bool report_unheard;     /* V5: a QoS 1 message that no subscriber matched is done with LW_ENOTFOUND */
	uint32_t ack_wait_ms;    /* 0: 5; longer ones do not go along with other output either */
	uint32_t
		acknowledge_ms; /* a broker that answers pings and acknowledges nothing for so long is left; 0: 60000 */
	struct rt_metric *stalls; /* counts these; NULL: none */
	uint32_t gather_from;     /* at more reads a second look only every 2 ms (rt_gather); 0: never */
	uint32_t gather_bulk;     /* not before so many packets a second, but then however many each look finds, since
				   * the broker waits for none of our answers before it sends on; 0: few a look only */
	mqtt_message_fn *on_message;
	mqtt_before_ack_fn *before_ack;
	mqtt_connect_fn *on_connect;
	mqtt_disconnect_fn *on_disconnect;
	void *arg;
};

/* Everything in opts is copied. Connecting begins in the next turn. NULL with diag when options are wrong. */
struct mqtt *mqtt_new(struct rt_loop *loop, struct rt_log *log, const struct mqtt_opts *opts, struct lw_diag *diag);
/* Sends DISCONNECT when connected (so no will), pending publishes are done with LW_ECANCELLED. NULL is harmless. Not
 * from inside a callback of the same client. */
void mqtt_free(struct mqtt *m);
/* V5, before mqtt_free(): the broker keeps nothing for this client id any more. */
void mqtt_forget_session(struct mqtt *m);

/* Kept and made again after each connect. LW_EINVAL for a bad filter. */
int mqtt_subscribe(struct mqtt *m, const char *filter, uint8_t qos);
/* True once the broker has confirmed all subscriptions of this connection. */
bool mqtt_subscribed(const struct mqtt *m);
/* Also of a session that was there before; LW_ENOTFOUND when this process never asked for it. */
int mqtt_unsubscribe(struct mqtt *m, const char *filter);

/* Queues one message; written together with all others of this turn. `done` (may be NULL) is called exactly once, never
 * from inside this call, unless an error is returned (then never): LW_EUNAVAILABLE not connected, LW_EFULL too many
 * pending, LW_EINVAL bad topic, LW_EBIG more than the broker takes at all. A broker that takes only QoS 0, or retains
 * nothing, is given what it takes, and a warning is logged. */
int mqtt_publish(struct mqtt *m, const char *topic, const void *payload, size_t n, uint8_t qos, bool retain,
		 mqtt_done_fn *done, void *arg);

/* The same for something that the broker had before and may have forgotten: over V5 the user property "longwave-again"
 * goes along, by which our own receivers know that they may have had it. */
int mqtt_republish(struct mqtt *m, const char *topic, const void *payload, size_t n, uint8_t qos, mqtt_done_fn *done,
		   void *arg);

/* Acknowledgements that before_ack kept back may go; harmless when there are none. Not from inside before_ack. */
void mqtt_acks_go(struct mqtt *m);
/* May acknowledgements, those kept back and those to come, wait on without the broker running out of what it may send?
 * To be asked again every 20 ms of such a wait: it is found out by what comes meanwhile. */
bool mqtt_acks_may_wait(struct mqtt *m);

/* Hands over no more messages and stops reading from the socket (back-pressure towards the broker). Nested calls do not
 * count. Acknowledgements of what we publish wait as long. */
void mqtt_pause(struct mqtt *m);
void mqtt_resume(struct mqtt *m);

bool mqtt_connected(const struct mqtt *m);
/* Publishes whose done has not been called. */
size_t mqtt_pending(const struct mqtt *m);

struct mqtt_stats {
	uint64_t received;
	uint64_t published;
	uint64_t acked;
	uint64_t failed;
	uint64_t oversize;
	uint64_t connects;
	uint64_t reads;  /* turns with input */
	uint64_t writes; /* flushes */
};
void mqtt_stats(const struct mqtt *m, struct mqtt_stats *out);

/* True when a topic matches a filter ("+", "#", "$share/group/" prefix understood). Pure. */
bool mqtt_topic_matches(const char *filter, const char *topic);
