/* The spool on a thread of its own: the disk may stall for seconds, the thread that receives datagrams may not. One
 * round of jobs at a time, one job for each queue. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/io/spool.h"
#include "common/runtime/loop.h"

struct gb_spooler;

/* What was read; refers to the job's `bytes`. */
struct gb_spool_peeked {
	uint64_t id;
	size_t topic_at, topic_n, data_at, data_n;
};

/* Done in this order: forget, append, read. Nobody else touches it while the round lasts. */
struct gb_spool_job {
	const char *queue;
	/* What to do. */
	uint64_t ack; /* forget up to this id; 0: nothing */
	struct spool_item *items;
	size_t n_items, cap_items;
	size_t peek; /* read so many from the front */
	int64_t now_ns;
	/* What came of it. */
	int ack_err;
	int append_err;   /* of the first part that failed */
	uint64_t lost;    /* items not written */
	uint64_t dropped; /* old ones that had to make room */
	int peek_err;
	struct lw_buf bytes;
	struct gb_spool_peeked *peeked;
	size_t n_peeked, cap_peeked;
	struct spool_stats stats;
};

void gb_spool_job_init(struct gb_spool_job *j, const char *queue);
void gb_spool_job_deinit(struct gb_spool_job *j);
/* The spans are borrowed until the round is over. */
void gb_spool_job_add(struct gb_spool_job *j, struct lw_span topic, struct lw_span data);
/* Nothing to do any more; what came of it is forgotten. */
void gb_spool_job_reset(struct gb_spool_job *j);

/* Opens the file. `on_done` runs on the loop after each round. */
int gb_spooler_new(struct gb_spooler **out, struct rt_loop *loop, const struct spool_opts *opts,
		   void (*on_done)(void *arg), void *arg, struct lw_diag *diag);
/* See spool_was_damaged(). */
bool gb_spooler_was_damaged(const struct gb_spooler *s);
/* Ends the thread when the round under way is done (its on_done does not run any more), closes the file. NULL is
 * harmless. */
void gb_spooler_free(struct gb_spooler *s);
/* Begins a round; not while one is under way. */
void gb_spooler_run(struct gb_spooler *s, struct gb_spool_job *jobs, size_t n);
bool gb_spooler_busy(const struct gb_spooler *s);
/* Waits for the round under way; then the caller's thread may run rounds itself, until the end. */
void gb_spooler_stop(struct gb_spooler *s);
/* A round on this thread; only after gb_spooler_stop() or before the first round. */
void gb_spooler_run_here(struct gb_spooler *s, struct gb_spool_job *jobs, size_t n);
