/* What redis.c and redis_streams.c share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/backoff.h"
#include "common/base/bytes.h"
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
	bool quiet_ok; /* the server keeps quiet when told to: bulks are one exchange */
	/* Commands of a bulk that is not over; `buf` holds what of them has not gone yet. */
	struct {
		struct lw_buf buf;
		size_t n;
		struct lw_rng dice; /* not the system's, which is a system call each time */
	} bulk;
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

#define REDIS_XADD_FIELDS 16u
#define REDIS_XADD_ARGS (6 + 2 * REDIS_XADD_FIELDS)
/* The words of an XADD; maxlen NULL: it does not cut the stream. Returns how many. */
size_t redis_xadd_args(struct lw_span v[REDIS_XADD_ARGS], const char *key, const char *maxlen, size_t n,
		       const struct redis_field *fields);
/* Appends a command as it goes over the wire. */
void redis_format(struct lw_buf *out, size_t n, const struct lw_span *argv);
/* A command as it goes over the wire, never refused for being one too many: its answer is that of `counted` commands,
 * which stats.pending counts already. */
void redis_send_for(struct redis *r, redis_fn *fn, void *arg, size_t counted, struct lw_span formatted);
void redis_bulk_init(struct redis *r);
/* The connection is lost: what was not over never will be. */
void redis_bulk_drop(struct redis *r);
