/* The replicas of one daemon, as they know each other through Redis: a lease that each renews, and a stream of short
 * messages to all others. Everything here may be lost: without Redis nobody is declared gone and nothing is heard; who
 * keeps something in memory because of what it would have heard is told to forget it (`resync`).
 *
 * Alone it costs one command a second. Knows nothing of what is said. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

struct redis;
struct rt_log;
struct rt_loop;
struct peers;

#define PEERS_ID_MAX 64

struct peers_opts {
	struct rt_loop *loop;
	struct rt_log *log;
	const char *redis_url; /* connections of its own */
	const char *group;     /* "ns": in the names of the keys */
	const char *id;        /* stable and different for each replica; shorter than PEERS_ID_MAX */
	uint32_t lease_ms;     /* 0: 5000; renewed five times in this */
	/* Others came or went. */
	void (*on_change)(void *arg);
	/* Messages may have been missed: forget what they would have told. Also while Redis is away, again and again,
	 * as long as others were there before. */
	void (*on_resync)(void *arg);
	/* From another replica, in order per sender. */
	void (*on_message)(void *arg, const char *kind, struct lw_span body);
	void *arg;
};

/* NULL with diag when the URL is wrong. */
struct peers *peers_new(const struct peers_opts *o, struct lw_diag *diag);
/* Keeps the lease, which then ends by itself; after peers_leave() there is none. */
void peers_free(struct peers *p);
/* Gives the lease back: the others need not wait for its end. */
void peers_leave(struct peers *p);

/* Another replica is there, as far as is known. */
bool peers_any(const struct peers *p);
/* Names of the others, sorted; borrowed until the loop is reached again. */
size_t peers_list(const struct peers *p, const char *const **out);
/* This replica has no lease although everybody who is there had the time to say so. */
bool peers_is_gone(const struct peers *p, const char *id);
/* Of those who are there, this is the one who looks after what the others left. */
bool peers_is_first(const struct peers *p);

/* Names of those whose lease ended and who were not buried yet; they are forgotten with Redis. */
size_t peers_gone(const struct peers *p, const char *const **out);
/* Nothing of it is left to look after. */
void peers_bury(struct peers *p, const char *id);

/* To all others; nothing happens when there are none. */
void peers_tell(struct peers *p, const char *kind, struct lw_span body);
/* Also to those who have just come and whom this replica has not seen yet. For what is rare: it is said in any case. */
void peers_announce(struct peers *p, const char *kind, struct lw_span body);
/* The connection, for commands of one's own. */
struct redis *peers_redis(struct peers *p);
