/* When a queue of messages gives up its oldest. Pure: told what comes and goes and what time it is, it answers what is
 * to be done with the head; the queue itself is the caller's.
 *
 * Two things fill a queue, and they want opposite treatment. Overload: the other side takes all the time, and less than
 * comes in; then what has waited longest is worth least, and goes. An outage: the other side has stopped, or a backlog
 * of a time when something was away comes in one go; then nothing may be lost, and who feeds the queue has to wait.
 * Told apart by progress, and by what the caller knows of outages: entries that came with one, and those behind them,
 * are safe. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Without any progress for so long it is an outage. */
#define LW_SHED_STALL_MS 1500
/* Entries behind safe ones are safe, but not longer than this after the last sign of an outage. */
#define LW_SHED_GRACE_MS 60000

struct lw_shed {
	size_t max;       /* entries that may wait */
	int64_t after_ns; /* longest wait; 0: nothing is ever shed */
	uint64_t in, out; /* entries so far */
	uint64_t safe;    /* the first so many of all entries are not shed */
	int64_t progress_ns;
	int64_t open_ns;  /* until then every new entry is safe */
	int64_t grace_ns; /* until then those behind safe ones are */
};

enum lw_shed_verdict {
	LW_SHED_KEEP,
	LW_SHED_DROP, /* the head, and ask again */
	LW_SHED_FULL, /* nothing may be lost and nothing more fits: stop taking in */
};

/* All times are monotonic. */
void lw_shed_init(struct lw_shed *s, size_t max, uint32_t after_ms);
/* An entry came in behind the others. safe: it has a past, it comes from a spool or a journal. */
void lw_shed_in(struct lw_shed *s, int64_t now_ns, bool safe);
/* The head left, on its way or dropped. */
void lw_shed_out(struct lw_shed *s);
/* The other side has finished something. */
void lw_shed_progress(struct lw_shed *s, int64_t now_ns);
/* Something was away: what waits is safe, and so is what comes in the next open_ms and, for grace_ms, behind it. */
void lw_shed_outage(struct lw_shed *s, int64_t now_ns, uint32_t open_ms, uint32_t grace_ms);
/* About the head, which came in at since_ns. */
enum lw_shed_verdict lw_shed_head(struct lw_shed *s, int64_t now_ns, int64_t since_ns);

static inline uint64_t lw_shed_count(const struct lw_shed *s)
{
	return s->in - s->out;
}
