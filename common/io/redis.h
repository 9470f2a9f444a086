/* Redis on the loop: pipelined commands, scripts, streams. Redis holds only what may be lost (architecture §5), so
 * everything here fails fast: while the server is away commands are answered LW_EUNAVAILABLE at the next turn.
 *
 * URL: redis://[user:password@|:password@]host[:port][/db], or unix:///path/redis.sock[?db=N].
 * Commands of one turn leave in one write; replies come in order. Callbacks run on the loop's thread, never from inside
 * the call that caused them. Never logs arguments. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

struct rt_loop;
struct redis;
struct redis_reply;

struct rt_metrics;

struct redis_options {
	const char *url;
	uint32_t timeout_ms;  /* per command; 0: 2000 */
	uint32_t max_pending; /* commands under way; more fail with LW_EFULL; 0: 50000 */
	void (*on_state)(void *arg, bool up, const char *detail); /* may be NULL */
	void *arg;
	struct rt_metrics *metrics; /* shows round_trips; NULL: nothing is shown. For one connection of a process */
};

/* Checks the URL and starts to connect; retried with back-off for ever. LW_EINVAL. */
int redis_open(struct redis **out, struct rt_loop *loop, const struct redis_options *options, struct lw_diag *diag);
/* Pending commands are answered LW_ECANCELLED before this returns; memory is released once the loop ran the close
 * callbacks. NULL is allowed. Not from inside a callback of this connection. */
void redis_free(struct redis *r);
bool redis_is_up(const struct redis *r);

struct redis_stats {
	uint64_t commands;
	uint64_t errors; /* error replies */
	uint64_t timeouts;
	uint64_t unavailable; /* refused or lost because the server was away */
	uint64_t connects;
	/* Exchanges: commands that went out one behind the other, without a pause in which nothing was left to send,
	 * count once, however many they are. */
	uint64_t round_trips;
	size_t pending;
};
void redis_get_stats(const struct redis *r, struct redis_stats *out);

/* ---- replies ---------------------------------------------------------------------------------------------------- */

enum redis_type { REDIS_NIL, REDIS_STRING, REDIS_STATUS, REDIS_INTEGER, REDIS_ARRAY, REDIS_ERROR };
/* All accept NULL (a nil). Borrowed until the callback returns. */
enum redis_type redis_reply_type(const struct redis_reply *reply);
/* Integer, or the number in a string; 0 otherwise. */
int64_t redis_reply_i64(const struct redis_reply *reply);
/* String, status or error text; empty otherwise. Terminated. */
struct lw_span redis_reply_span(const struct redis_reply *reply);
const char *redis_reply_text(const struct redis_reply *reply);
/* Elements of an array; NULL outside of it. */
size_t redis_reply_len(const struct redis_reply *reply);
const struct redis_reply *redis_reply_at(const struct redis_reply *reply, size_t i);

/* err: 0 · LW_EUNAVAILABLE away (or lost after sending: may have run) · LW_ETIMEDOUT · LW_EFULL · LW_ECANCELLED ·
 * LW_EPROTO the server answered with an error (then `reply` holds its text). */
typedef void redis_fn(void *arg, int err, const struct redis_reply *reply);

/* ---- commands --------------------------------------------------------------------------------------------------- */

/* Each %-conversion is one argument or part of one, never split at spaces: %s text, %b pointer and size_t, %d %u %lld
 * %llu numbers. `fn` may be NULL. */
void redis_cmd(struct redis *r, redis_fn *fn, void *arg, const char *fmt, ...);
void redis_argv(struct redis *r, redis_fn *fn, void *arg, size_t n, const struct lw_span *argv);

/* A Lua script, declared static const; its address is its identity. Sent as EVALSHA, in full when the server lost it.
 */
struct redis_script {
	const char *name;
	const char *text;
};
void redis_eval(struct redis *r, redis_fn *fn, void *arg, const struct redis_script *script, size_t n_keys,
		const struct lw_span *keys, size_t n_args, const struct lw_span *args);

/* ---- streams ---------------------------------------------------------------------------------------------------- */

struct redis_field {
	struct lw_span name;
	struct lw_span value;
};

struct rt_loop *redis_loop(const struct redis *r);

/* XADD key MAXLEN ~ maxlen * fields…; maxlen 0: unbounded. Any number of calls in one turn are one write. */
void redis_xadd(struct redis *r, redis_fn *fn, void *arg, const char *key, size_t maxlen, size_t n,
		const struct redis_field *fields);

/* ---- bulks: commands whose answers nobody wants ------------------------------------------------------------------
 *
 * Any number of them, then redis_bulk_end() in the same turn: they leave in large pieces and are one exchange, which
 * costs both sides much less than as many commands with a callback of NULL. Any other command ends the bulk, too; order
 * is kept. The server says nothing about any of them, errors included. Commands count for `max_pending` one by one, and
 * what is too many is dropped. A server that does not know CLIENT REPLY gets them as commands of their own. */
void redis_bulk_argv(struct redis *r, size_t n, const struct lw_span *argv);
/* XADD key * fields…, at most 16 of them. `maxlen` as in redis_xadd(); from 64 on only one command of eight, by chance,
 * cuts the stream, which then is longer by 7 entries on average. */
void redis_bulk_xadd(struct redis *r, const char *key, size_t maxlen, size_t n, const struct redis_field *fields);
/* Nothing happens when there is none. */
void redis_bulk_end(struct redis *r);

struct redis_entry {
	const char *id;
	size_t n;
	const struct redis_field *fields;
};
typedef void redis_entry_fn(void *arg, const struct redis_entry *entry);

/* Follows streams: one blocking connection for any number of keys, opened when the first one is followed. */
struct redis_streams;
struct redis_sub;
/* `r` is used for history and to interrupt the blocking read; it must outlive the reader. */
struct redis_streams *redis_streams_new(struct redis *r);
/* All subscriptions end; nothing is called any more. */
void redis_streams_free(struct redis_streams *s);
/* The last `history` entries first (oldest first), then each new one, without a gap between, until redis_sub_free().
 * Across a lost connection it goes on after the last entry seen. Several may follow one key. `caught_up` (may be NULL)
 * is called once, after the history. */
struct redis_sub *redis_streams_follow(struct redis_streams *s, const char *key, size_t history, redis_entry_fn *fn,
				       void (*caught_up)(void *arg), void *arg);
/* May be called from inside its callback. */
void redis_sub_free(struct redis_sub *sub);
