/* Inbox journal: what has been taken in and not yet been dealt with, in append-only files. One writer. A record is safe
 * from a crash of the process once journal_commit() has returned, and from a crash of the machine with `fdatasync` on.
 * Records are opaque bytes; order of replay is order of appending. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

struct journal;

#define JOURNAL_MAX_RECORD (1024u * 1024u)

struct journal_opts {
	const char *dir;        /* made when missing (one level) */
	uint64_t segment_bytes; /* a segment is closed when it is larger; 0: 16 MiB */
	uint64_t max_bytes;     /* of all segments; past it journal_append() refuses with LW_EFULL; 0: 4 GiB */
	bool fdatasync;         /* at each commit */
};

struct journal_stats {
	uint64_t open_records; /* appended or replayed and not done */
	uint64_t segments;
	uint64_t bytes;
	uint64_t commits;
	uint64_t cut_bytes; /* torn tails found at opening */
	uint64_t cut_files; /* files that had one */
};

/* Opens or makes the journal and takes its lock (a second process gets LW_EEXISTS). */
int journal_open(struct journal **out, const struct journal_opts *opts, struct lw_diag *diag);
/* Writes what is buffered. NULL is harmless. */
void journal_close(struct journal *j);

/* Returns < 0 to stop; the record is borrowed. */
typedef int journal_replay_fn(void *arg, uint64_t position, struct lw_span record);
/* All records that are not done, oldest first; once, before the first append. */
int journal_replay(struct journal *j, journal_replay_fn *fn, void *arg);

/* Copies into the buffer; *position names the record for journal_done(). LW_EBIG, LW_EFULL. */
int journal_append(struct journal *j, struct lw_span record, uint64_t *position);
/* One write(2) for all appended records and done marks since the last; records that are done by then are left out.
 * Nothing buffered: nothing happens. LW_EIO: what was buffered stays buffered, the next commit tries again. */
int journal_commit(struct journal *j);
/* The same in three steps, for owners that do not want to wait for the disk. Begin takes what is buffered: 1, 0 when
 * there is nothing, or < 0, and the next begin tries again. Write does all the waiting and may run in another thread
 * while this one appends and marks. End takes its result, which it returns; after an error nothing of this commit
 * counts as written, and the next begins with the same records. Between begin and end no other commit and no
 * journal_close(). */
int journal_commit_begin(struct journal *j);
int journal_commit_write(struct journal *j);
int journal_commit_end(struct journal *j, int err);
/* Positions of the record appended last, and of the last up to which all are written (and synced, with `fdatasync`).
 * Both 0 until the first append of this process. */
uint64_t journal_appended(const struct journal *j);
uint64_t journal_durable(const struct journal *j);
/* Position up to which all are written, or done without it: what they were kept for is over. Never less than
 * journal_durable(). */
uint64_t journal_settled(struct journal *j);
/* The record is dealt with; written with the next commit, unless that has not taken the record along yet: then neither
 * is. A repeated or unknown position is ignored. Segments whose records are all done are deleted. */
void journal_done(struct journal *j, uint64_t position);
/* Done marks wait for a commit. */
bool journal_has_marks(const struct journal *j);

void journal_stats(const struct journal *j, struct journal_stats *out);
