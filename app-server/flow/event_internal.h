/* Inside of the event flow: owner and context. */
#pragma once

#include "app-server/as.h"
#include "app-server/domain/event_position.h"
#include "app-server/flow/events.h"
#include "app-server/link/event_stream.h"
#include "common/runtime/flow.h"

#define AS_EVENTS_HIGH 2048 /* in flight: the network-server is held back */
#define AS_EVENTS_LOW 1024
#define AS_EVENTS_UNACKED_HIGH 8192 /* published, not yet acknowledged by the broker */
#define AS_EVENTS_RING 8192

enum as_event_drop {
	AS_DROP_NONE,
	AS_DROP_MALFORMED,
	AS_DROP_UNKNOWN_DEVICE,
	AS_DROP_NOT_REENCRYPTED,
	AS_DROPS,
};

enum as_slot_state { AS_SLOT_EMPTY, AS_SLOT_FLOW, AS_SLOT_READY, AS_SLOT_DROPPED };

struct as_event_ctx {
	struct rt_flow_ctx flow;
	struct as_events *owner;
	uint64_t no;    /* place in the order of the stream */
	uint64_t epoch; /* of the broker connection it came under */
	bool passed;    /* its turn to be published is over */
	bool split;     /* positions count per lane */
	const Longwave__Ns__V1__Event *ev;
	uint64_t dev_eui;
	struct as_device_ask ask;
	struct as_device *dev; /* NULL: a gateway's event */
	struct as_event out;
	unsigned attempts;
	struct lw_list node; /* pool, or waiting for the database or a retry */
	struct lw_arena arena;
	uint8_t mem[4096];
};

struct as_events {
	struct as *as;
	struct as_event_stream *stream[AS_NS_MAX]; /* one to each replica of the network-server */
	size_t n_streams;
	struct rt_flow *flow;
	struct as_devices *devices;
	struct as_rows *rows;
	struct as_commands *commands;
	bool going; /* events are taken in: database ready, broker there (or none configured) */
	bool broker_up;
	uint64_t epoch;
	/* taken ≥ published ≥ safe: entered the flow; handed to the broker in order; the broker's retained message says
	 * so. */
	struct as_positions taken, published, safe, shown;
	uint64_t next_no, head_no;
	struct {
		enum as_slot_state state;
		struct as_event_ctx *c;
	} ring[AS_EVENTS_RING];
	unsigned unsaid; /* passed since the last position */
	uint64_t next_ticket;
	struct lw_list tickets; /* positions on their way to the broker, oldest first */
	size_t unacked;         /* events covered by them */
	bool advance_due, ack_due;
	/* Before a stream is opened beside other replicas: all that was taken until `passed_no` is published, then the
	 * positions of all are looked up. */
	bool looking, looked_up;
	uint64_t passed_no;
	struct rt_timer leave_timer, ack_timer;
	unsigned leave_polls;
	bool leaving;
	void (*left)(struct as *as);
	struct lw_list waiting; /* for the database */
	struct lw_list again;   /* re-encryptions to be tried again */
	struct rt_timer start_timer, fetch_timer, again_timer, publish_timer;
	struct rt_tick *tick;
	struct lw_list pool;
	size_t n_pool;
	struct rt_metric *taken_total, *repeated, *dropped, *unreadable, *no_key;
};

extern const struct rt_flow_step as_event_steps[];
extern const size_t as_event_steps_count;

static inline struct as_event_ctx *as_event_ctx_of(struct rt_flow_ctx *c)
{
	return LW_CONTAINER_OF(c, struct as_event_ctx, flow);
}

/* Publishes what is next in order. */
void as_events_advance(struct as_events *e);
void as_events_try_again(struct rt_timer *t, void *arg);
void as_events_fetch_again(struct rt_timer *t, void *arg);
