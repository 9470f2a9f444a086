/* What the broker has acknowledged lately, kept in memory so that it can be said again: first in, first out, in big
 * blocks. Pure but for memory: no clock, no I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/list.h"

struct gb_recent {
	struct lw_list blocks;
	uint64_t first, next; /* numbers of the oldest entry and of the one to come */
	size_t bytes;         /* memory taken */
};

struct gb_recent_entry {
	uint64_t number;
	uint64_t epoch; /* the caller's, never falling */
	int64_t at_ms;
	const char *topic; /* NUL-terminated */
	struct lw_span payload;
};

/* Where a walk stands. Valid until entries are forgotten; adding does no harm. */
struct gb_recent_cursor {
	struct lw_list *block;
	size_t at;
	uint64_t number;
};

void gb_recent_init(struct gb_recent *r);
void gb_recent_deinit(struct gb_recent *r);
/* Copies the entry. */
void gb_recent_add(struct gb_recent *r, const char *topic, struct lw_span payload, uint64_t epoch, int64_t at_ms);
static inline bool gb_recent_empty(const struct gb_recent *r)
{
	return r->first == r->next;
}
/* Of the oldest entry; INT64_MAX when there is none. */
int64_t gb_recent_oldest_ms(const struct gb_recent *r);
void gb_recent_forget_oldest(struct gb_recent *r);
/* Forgets what is older than at_ms from the front on. */
void gb_recent_forget_before(struct gb_recent *r, int64_t at_ms);
/* A walk over the entries whose epoch is at least `epoch`. */
struct gb_recent_cursor gb_recent_seek(const struct gb_recent *r, uint64_t epoch);
/* False at the end. The entry is borrowed until it is forgotten. */
bool gb_recent_walk(const struct gb_recent *r, struct gb_recent_cursor *c, struct gb_recent_entry *out);
/* Entries whose epoch is at least `from` count as of now: they have just been said again. */
void gb_recent_renew(struct gb_recent *r, uint64_t from, uint64_t epoch, int64_t at_ms);
