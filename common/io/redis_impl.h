/* What redis.c and redis_streams.c share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/backoff.h"
#include "common/base/list.h"
#include "common/base/map.h"
#include "common/base/rng.h"
#include "common/io/redis.h"

enum redis_state { REDIS_AWAY, REDIS_RESOLVING, REDIS_CONNECTING, REDIS_READY, REDIS_LEAVING };

struct redis_url {
	char *host;
	int port;
	char *socket; /* instead of host and port */
	char *user;
	char *password;
	int db;
};

/* What the server calls a script. */
struct script {
	char sha[41];
	bool asked;
};

struct redis_resolve;
struct uv_async_s;
struct uv_timer_s;

struct redis {
	struct rt_loop *loop;
	struct redis_url url;
	struct redis_options opt;
	enum redis_state state;
	struct redisAsyncContext *ac; /* NULL while away */
	struct rt_watch *watch;
	bool want_read;
	bool want_write;
	int hello;         /* answers missing until the connection is ready */
	int64_t next_ns;   /* away: when to try; connecting: when to give up */
	int64_t looked_ns; /* the tick before: all that came until then has been read since */
	struct lw_backoff backoff;
	struct lw_rng rng;
	struct redis_resolve *resolve;
	struct lw_list pending; /* commands that wait for a reply */
	struct lw_list refused; /* that are answered at the next turn */
	struct lw_map scripts;
	struct redis_stats stats;
	int announced; /* state told: 1 up, -1 down, 0 nothing yet */
	bool state_pending;
	char state_text[128];
	bool closing;
	struct uv_async_s *wake;
	struct uv_timer_s *ticker;
	int handles;
	void (*on_ready)(void *arg); /* at once when the connection can be used */
	void *on_ready_arg;
};

/* Another connection to the same server. */
struct redis *redis_sibling(struct redis *of, uint32_t timeout_ms, void (*on_ready)(void *arg),
			    void (*on_state)(void *arg, bool up, const char *detail), void *arg);
