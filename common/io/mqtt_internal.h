/* Inside of mqtt: its struct, shared by mqtt.c (life, input, output), mqtt_net.c (the connection) and mqtt_pub.c
 * (publishes, subscriptions). */
#pragma once

#include <sys/socket.h>

#include "common/base/backoff.h"
#include "common/base/list.h"
#include "common/io/mqtt.h"
#include "common/io/mqtt_text.h"
#include "common/io/mqtt_wire.h"
#include "common/io/tls.h"
#include "common/runtime/gather.h"

/* Packet ids of publishes are 1 to this, those of subscriptions follow. */
#define MQTT_PUB_IDS 60000u
#define MQTT_MAX_ADDRS 8
/* Until CONNACK. */
#define MQTT_HANDSHAKE_MS 15000

enum state { DOWN, CONNECTING, HANDSHAKE, UP };

struct sub {
	struct lw_list link;
	char *filter;
	uint8_t qos;
	uint16_t mid;
	bool confirmed;
	int64_t asked_ns; /* 0: answered */
};

/* Given to the connection, not yet done. */
struct pub {
	mqtt_done_fn *done;
	void *arg;
	uint64_t end; /* QoS 0: done when so much of the stream is written */
	bool over;    /* QoS 1: acknowledged, but not the one before it */
};

struct pub_ring {
	struct pub *v;
	size_t cap, head, n; /* cap a power of two */
};

/* Beyond the broker's window: a copy waits. */
struct waiting_pub {
	struct lw_list link;
	mqtt_done_fn *done;
	void *arg;
	struct mqtt_wire_publish m; /* refers to bytes */
	uint8_t bytes[];
};

struct mqtt_resolve;

struct mqtt_net {
	int fd; /* -1: none */
	struct rt_watch *watch;
	struct mqtt_resolve *resolve;
	struct sockaddr_storage addrs[MQTT_MAX_ADDRS];
	size_t n_addrs, next_addr;
	bool connected;
	struct tls_context *tls_context;
	struct tls_session *tls; /* NULL: plain */
	struct lw_buf wire;      /* TLS: what the socket has not taken yet */
	size_t wire_at;
};

struct mqtt {
	struct rt_loop *loop;
	struct rt_log *log;
	struct mqtt_opts o; /* strings owned */
	struct mqtt_server server;
	enum state state;
	struct mqtt_net net;
	struct rt_tick *tick;
	struct rt_timer timer; /* DOWN: next attempt; until UP: time limit */
	struct rt_timer misc;
	struct rt_timer ack;
	struct rt_gather gather;
	size_t n_packets; /* seen in this look */
	struct lw_backoff backoff;
	struct lw_rng rng;

	/* What the broker said in its CONNACK. */
	size_t window;
	uint32_t max_packet; /* 0: any */
	uint8_t max_qos;
	bool retains;
	uint32_t keepalive_s;

	struct lw_buf in; /* in.p + in_at: not yet looked at */
	size_t in_at;
	size_t skip;        /* bytes of a packet that is too large */
	struct lw_buf text; /* topic of the message that is handed over */
	struct lw_buf acks; /* of messages handed over since the last flush */
	size_t unacked;     /* how many */
	bool ack_now;
	struct lw_buf held; /* acknowledgements that before_ack keeps back */
	size_t n_held;
	bool holds;
	bool wide;      /* the broker has had more under way than a narrow one sends */
	bool narrow;    /* it has once let us wait in vain for that, unless wide */
	size_t borne;   /* so many were without acknowledgement, and another one came */
	size_t stalled; /* it sent nothing more for a while when it bore so many */
	size_t no_more; /* so many are as much as it should have to bear; 0: not known */
	int64_t last_publish_ns;
	bool handed; /* messages of any QoS were handed over since before_ack ran last */

	struct lw_buf out; /* out.p + out_at: not yet written */
	size_t out_at;
	uint64_t n_out;  /* bytes of the stream written */
	size_t n_urgent; /* packets queued since the last write, acknowledgements left out */
	bool blocked;    /* the socket takes no more; waiting for RT_WRITE */
	int64_t last_out_ns, last_in_ns, front_since_ns;
	bool pinged;
	uint32_t ping_looks; /* of the misc timer since PINGREQ */
	uint32_t up_looks;   /* and since CONNACK */

	struct lw_list subs;
	uint16_t last_sub_mid;
	struct pub_ring sent;    /* QoS 1, in the order of their ids */
	uint16_t first_mid;      /* of the ring's first */
	struct pub_ring written; /* QoS 0 */
	struct lw_list waiting;  /* struct waiting_pub */
	size_t pending;

	bool forget_session;
	bool paused;
	bool lost; /* the connection has ended and is to be taken down */
	bool said_down;
	int lost_err;
	char lost_text[120];
	struct mqtt_stats st;
};

/* Notes the end of the connection; it is taken down when the stack is back in the module's entry points. */
void mqtt_note_lost(struct mqtt *m, int err, const char *text);

/* --- mqtt_net.c ------------------------------------------------------------------------------------------------- */

/* Begins to connect; goes on with mqtt_net_ready() or mqtt_net_failed(). */
void mqtt_net_connect(struct mqtt *m);
/* An address that does not answer; true: there was another one. */
bool mqtt_net_next_address(struct mqtt *m);
/* Before an orderly close: what has come and was not read would otherwise make the kernel throw away what was sent. */
void mqtt_net_end(struct mqtt *m);
void mqtt_net_close(struct mqtt *m);
/* Checks the files of TLS. */
int mqtt_net_check(const struct mqtt *m, struct lw_diag *diag);
/* Appends to m->in what is there, up to some ten kilobytes. True: there may be more. */
bool mqtt_net_read(struct mqtt *m);
/* Something is not yet with the socket. */
bool mqtt_net_to_send(const struct mqtt *m);
/* Writes from m->out what the socket takes. */
void mqtt_net_write(struct mqtt *m);
void mqtt_net_watch(struct mqtt *m, unsigned events);
/* In mqtt.c: */
void mqtt_net_ready(struct mqtt *m);
void mqtt_net_failed(struct mqtt *m, int err, const char *text);
void mqtt_net_event(struct mqtt *m, unsigned events);

/* --- mqtt_pub.c ------------------------------------------------------------------------------------------------- */

/* Queues waiting publishes as far as the broker's window allows. */
void mqtt_give_waiting(struct mqtt *m);
/* A PUBACK. */
void mqtt_acked(struct mqtt *m, uint16_t mid, uint8_t reason);
/* QoS 0 is done as far as the stream is written. */
void mqtt_finish_written(struct mqtt *m);
/* All publishes are done with `err`, in their order. */
void mqtt_fail_all(struct mqtt *m, int err);
/* A connection begins: nothing is under way. */
void mqtt_pub_begin(struct mqtt *m);
void mqtt_pub_free(struct mqtt *m);

void mqtt_subscribe_all(struct mqtt *m);
/* When the oldest of those was sent that the broker has not answered; 0: all are. */
int64_t mqtt_subscribing_since(const struct mqtt *m);
/* Answers were not looked at until now. */
void mqtt_subscribing_anew(struct mqtt *m);
void mqtt_subscribed_to(struct mqtt *m, uint16_t mid, uint8_t code);
