/* Inside of mqtt: its struct, shared by mqtt.c (connection, input, output) and mqtt_pub.c (publishes, subscriptions).
 */
#pragma once

#include <mosquitto.h>

#include "common/base/backoff.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/io/mqtt.h"
#include "common/io/mqtt_text.h"

enum state { DOWN, CONNECTING, HANDSHAKE, UP };

struct sub {
	struct lw_list link;
	char *filter;
	int qos;
	int mid;
	bool confirmed;
};

struct pub {
	struct lw_list link;
	mqtt_done_fn *done;
	void *arg;
	int err;
	/* Only while it waits with us: */
	char *topic;
	void *payload;
	size_t n;
	int qos;
	bool retain;
	bool again;
};

/* User property of a message that was published before. */
#define MQTT_AGAIN "longwave-again"

struct mqtt {
	struct rt_loop *loop;
	struct rt_log *log;
	struct mqtt_opts o; /* strings owned */
	struct mqtt_server server;
	enum state state;
	struct mosquitto *mosq;
	struct mqtt_connector *connector;
	struct rt_watch *watch;
	struct rt_tick *tick;
	struct rt_timer timer; /* DOWN: next attempt; HANDSHAKE: time limit */
	struct rt_timer misc;
	struct rt_timer ack;
	struct lw_backoff backoff;
	struct lw_rng rng;

	struct lw_list subs;
	struct lw_map in_library; /* mid → struct pub */
	struct lw_list waiting;   /* struct pub, not yet given to the library */
	struct lw_list finished;  /* struct pub, done to be called */
	size_t pending;
	size_t queued_packets; /* of ours, without acknowledgements, since the last flush */
	size_t unacked;        /* QoS 1 messages handed over since the last flush */
	bool ack_now;
	bool handed; /* messages of any QoS were handed over since before_ack ran last */

	bool blocked; /* the socket takes no more; waiting for RT_WRITE */
	bool forget_session;
	bool paused;
	bool lost; /* the library has closed the connection */
	bool said_down;
	int lost_err;
	char lost_text[120];
	struct mqtt_stats st;
};

/* Gives waiting publishes to the library as far as its window allows. */
void mqtt_give_waiting(struct mqtt *m);
/* Calls done of what is finished. May run any code of the owner's. */
void mqtt_call_finished(struct mqtt *m);
/* Finishes all publishes with `err`; their done is called by mqtt_call_finished(). */
void mqtt_fail_all(struct mqtt *m, int err);
void mqtt_on_publish(struct mosquitto *mosq, void *arg, int mid, int reason, const mosquitto_property *props);

void mqtt_subscribe_all(struct mqtt *m);
void mqtt_forget_subscriptions(struct mqtt *m);
void mqtt_on_subscribe(struct mosquitto *mosq, void *arg, int mid, int n, const int *granted);
