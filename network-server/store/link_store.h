/* Counts of links over SQL: added up in memory, written together every now and then, made coarser as they age. Any
 * number of network-servers may add to the same rows. What was not written is lost with a crash; a read sees it before.
 * Knows nothing of what is counted. */
#pragma once

#include "common/io/sql.h"
#include "network-server/domain/link_counts.h"
#include "network-server/flow/ports.h"

struct rt_loop;
struct rt_log;
struct ns_link_store;

struct ns_link_store_opts {
	struct rt_loop *loop;
	struct rt_log *log;
	struct sql_db *db;
	const char *origin;  /* of this replica */
	uint32_t write_ms;   /* how often; 0: 60000 */
	uint32_t hours;      /* how long hours are kept before they become days; 0: 48 */
	uint32_t days;       /* and days before they become months; 0: 62 */
	uint32_t months;     /* after which nothing is kept; 0: 24 */
	size_t max_subjects; /* hours of devices in memory until they are written; further ones are not counted. 0:
				500000 */
};

enum ns_link_subject { NS_LINK_DEVICE, NS_LINK_GATEWAY };

struct ns_link_store *ns_link_store_new(const struct ns_link_store_opts *o);
/* The tables are there. */
void ns_link_store_open(struct ns_link_store *s);
void ns_link_store_fill_port(struct ns_link_store *s, struct ns_link_port *out);
/* Writes what is in memory now; nothing more is under way once it is idle (also when the database is away). */
void ns_link_store_write(struct ns_link_store *s);
bool ns_link_store_is_idle(const struct ns_link_store *s);
/* Makes coarser and deletes what is old, as it also does every ten minutes. */
void ns_link_store_age(struct ns_link_store *s);
bool ns_link_store_is_aging(const struct ns_link_store *s);
/* After the database was freed, so that every answer under way has come. */
void ns_link_store_free(struct ns_link_store *s);

/* The device or gateway goes, and what was written of it. What memory holds is written later and grows old. */
void ns_link_forget(struct sql_tx *tx, enum ns_link_subject subject, uint64_t eui);

/* One stretch of time after the other, from the one that start_s lies in to that of end_s. The buckets are borrowed
 * during the call. err: LW_EUNAVAILABLE; LW_EBIG more than NS_LINK_BUCKETS_MAX; LW_EINVAL the end is before the start.
 */
#define NS_LINK_BUCKETS_MAX 1500
struct ns_link_bucket {
	int64_t begin_s;
	struct ns_link_counts counts;
};
typedef void ns_link_read_fn(void *arg, int err, const struct ns_link_bucket *v, size_t n);
void ns_link_store_read(struct ns_link_store *s, enum ns_link_subject subject, uint64_t eui, enum ns_span span,
			int64_t start_s, int64_t end_s, ns_link_read_fn *done, void *arg);
