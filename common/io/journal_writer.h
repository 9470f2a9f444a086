/* Commits of a journal without holding up the loop: one thread writes and syncs, at most one commit is under way, and
 * everything appended meanwhile goes with the next. Appending and marking stay with the loop's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/io/journal.h"
#include "common/runtime/loop.h"

struct journal_writer;

/* On the loop, after each commit. 0: everything that was appended when it began is durable, see journal_durable(). < 0:
 * it is not, and is tried again by itself. */
typedef void journal_written_fn(void *arg, int err);

/* The journal is borrowed until journal_writer_free(); nobody else commits it or closes it. `here`: commits run inside
 * journal_writer_commit(), for a journal that does not sync. */
int journal_writer_new(struct journal_writer **out, struct rt_loop *loop, struct journal *j, bool here,
		       journal_written_fn *fn, void *arg, struct lw_diag *diag);
/* What is appended or marked goes now, or with the commit after the one under way, or after the pause that follows a
 * failed one. With `here` the callback may run inside. */
void journal_writer_commit(struct journal_writer *w);
/* Ends the thread and commits what is left on this one; nothing is called back. 0: all is durable. For the end of the
 * process: afterwards only journal_writer_free(). */
int journal_writer_finish(struct journal_writer *w);
/* Waits for the commit under way; what it did not take along stays for journal_close(). NULL is harmless. */
void journal_writer_free(struct journal_writer *w);
