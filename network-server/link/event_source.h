/* One origin's way through the outbox to the streams: what was sent, what of it is safe, what waits in memory. Used by
 * event_stream.c only, which decides who gets what. */
#pragma once

#include <stdbool.h>

#include "common/base/arena.h"
#include "network-server/store/store.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

#define NS_LANES 8
#define NS_ORIGIN_MAX 64

struct rt_log;

enum ns_source_mode {
	NS_SOURCE_IDLE,    /* nobody listens */
	NS_SOURCE_READING, /* the store is asked for what comes after `sent` */
	NS_SOURCE_BEHIND,  /* more is in the store than was read, and the peers do not take more now */
	NS_SOURCE_LIVE,    /* memory holds everything after `sent` */
};

struct ns_source_event {
	struct ns_source_event *next;
	uint64_t seq;
	size_t n;
	uint8_t bytes[];
};

struct ns_source {
	struct ns_source *next;
	void *owner;
	char origin[NS_ORIGIN_MAX];
	bool is_own;
	bool is_dead; /* freed when its question to the store is answered */
	bool read_under_way;
	bool overflow; /* memory was full while reading: read again */
	enum ns_source_mode mode;
	struct ns_source_event *first, *last;
	size_t bytes;
	uint64_t sent;  /* seq of the last event handed to a stream, or passed over */
	uint64_t acked; /* as the store was told */
	/* Safe with some application server: all up to `all`, of a lane up to lane[]. */
	uint64_t all, lane[NS_LANES];
	/* Sent and not known to be safe, in order. */
	struct ns_handed {
		uint64_t seq;
		unsigned lane;
	} * handed;
	size_t head, n_handed, cap_handed; /* a ring; cap is a power of two */
};

void ns_source_drop_memory(struct ns_source *s);
void ns_source_deinit(struct ns_source *s);
/* Takes an event into memory. False: it is full, what is missing must be read. */
bool ns_source_keep(struct ns_source *s, const struct ns_stored_event *e);
struct ns_source_event *ns_source_pop(struct ns_source *s);
bool ns_source_is_safe(const struct ns_source *s, uint64_t seq, unsigned lane);
void ns_source_hand(struct ns_source *s, uint64_t seq, unsigned lane);
/* What is safe is forgotten. Returns the seq up to which all is. */
uint64_t ns_source_settle(struct ns_source *s);
/* True when an event of one of these lanes (a bit each) is under way. */
bool ns_source_open_in(const struct ns_source *s, unsigned lanes);
/* Notes what a peer says to be safe; names of other origins are passed over. Of our own events none after `most` can
 * be: such a word is not believed. Returns false when there was one. */
bool ns_source_claim(struct ns_source *s, const Longwave__Ns__V1__Ack *ack, uint64_t most);
/* Everything that is not safe goes again. */
void ns_source_restart(struct ns_source *s);
