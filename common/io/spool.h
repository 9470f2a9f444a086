/* Durable queues in one SQLite file: first in, first out, bounded by bytes and age. For what could not be handed on:
 * events while the broker is away, integration deliveries not yet accepted. Calls block for one small transaction: call
 * them once per turn with a batch. One process per file. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

struct spool;

struct spool_opts {
	const char *path;    /* file; ":memory:" for tests */
	uint64_t max_bytes;  /* per queue, payloads and their headers; the oldest are dropped; 0: 256 MiB */
	uint64_t max_age_ms; /* 0: no limit */
	int fsync;           /* 0: survives a crash of the process; 1: also of the machine */
};

struct spool_item {
	uint64_t id;          /* rising within the file */
	int64_t at_ns;        /* wall time of appending */
	struct lw_span topic; /* a short text of the caller's: topic, URL, kind; at most 1 KiB */
	struct lw_span data;  /* at most 16 MiB */
};

struct spool_stats {
	uint64_t items;
	uint64_t bytes;
	uint64_t dropped_size; /* since opening */
	uint64_t dropped_age;
	int64_t oldest_ns; /* 0 when empty */
};

/* A file that is damaged is renamed to <path>.damaged, and a new one is begun. */
int spool_open(struct spool **out, const struct spool_opts *opts, struct lw_diag *diag);
/* What an earlier process had spooled was put aside at opening: worth an error in the log. */
bool spool_was_damaged(const struct spool *s);
void spool_close(struct spool *s);

/* Appends all or nothing. `queue` at most 255 bytes; `now_ns` wall time. id is not read; at_ns 0 means now. Returns the
 * number of items dropped from the front to make room, or negative. */
int spool_append(struct spool *s, const char *queue, const struct spool_item *v, size_t n, int64_t now_ns);
/* Calls fn for the first up to n items with id > after_id (0: from the front). Items are borrowed for the call; fn
 * must not call the spool and returns < 0 to stop. Returns the number seen. Items past their age are dropped first. */
typedef int spool_peek_fn(void *arg, const struct spool_item *item);
int spool_peek(struct spool *s, const char *queue, uint64_t after_id, size_t n, int64_t now_ns, spool_peek_fn *fn,
	       void *arg);
/* Removes all items of the queue with id <= up_to. Returns how many. */
int spool_ack(struct spool *s, const char *queue, uint64_t up_to);
/* Removes one item. Returns 1 or 0. */
int spool_remove(struct spool *s, const char *queue, uint64_t id);
int spool_stats(struct spool *s, const char *queue, struct spool_stats *out);
/* Calls fn with the name of each queue that has items. */
int spool_queues(struct spool *s, void (*fn)(void *arg, const char *queue), void *arg);
/* Removes a queue and its items. */
int spool_drop_queue(struct spool *s, const char *queue);
