/* Devices that have something in their queue, page by page. */
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "network-server/store/store_impl.h"

/* A device's own columns are the same in each row of it: max() keeps them out of GROUP BY, which then goes along the
 * queue's index and ends with the page. */
static const struct sql_stmt PAGE = {
	.name = "queued_devices",
	.text = "SELECT q.dev_eui, max(d.device_profile_id), max(CASE WHEN q.item_state = 1 THEN 1 ELSE 0 END),"
		" max(CASE WHEN q.item_state = 2 THEN q.timeout_after ELSE 0 END), max(d.version)"
		" FROM queue_item AS q JOIN device AS d ON d.dev_eui = q.dev_eui"
		" WHERE q.dev_eui >= $1 AND d.dev_addr IS NOT NULL"
		" GROUP BY q.dev_eui ORDER BY q.dev_eui LIMIT $2",
	.params = "ll",
	.cols = "ltlll",
};

struct asking {
	struct ns_store *s;
	ns_queued_fn *fn;
	void *arg;
};

/* What memory has of a device that another replica served may be old, and would say that nothing can be sent. */
static void forget_older(struct ns_store *s, struct lw_dev_eui dev_eui, uint64_t version)
{
	const struct ns_cached *c = lw_map_find(&s->devices, lw_dev_eui_u64(dev_eui));
	if (c && c->version < version)
		ns_cache_drop(s, dev_eui);
}

static void on_page(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct asking a = *(struct asking *)arg;
	size_t n = outcome->err ? 0 : sql_rows(r);
	free(arg);
	if (outcome->err == LW_ECANCELLED)
		return;
	struct ns_queued *v = lw_xcalloc(n + 1, sizeof(*v));
	for (size_t i = 0; i < n; i++) {
		const struct ns_profile *p = ns_store_find_profile(a.s, sql_text(r, i, 1));
		v[i] = (struct ns_queued){
			.place = sql_i64(r, i, 0),
			.dev_eui = lw_dev_eui_from_u64((uint64_t)sql_i64(r, i, 0)),
			.at_any_time = p && (p->supports_class_b || p->supports_class_c),
			.half_sent = sql_i64(r, i, 2) != 0,
			.timeout_after_ns = sql_i64(r, i, 3) * LW_NS_PER_US,
		};
		forget_older(a.s, v[i].dev_eui, (uint64_t)sql_i64(r, i, 4));
	}
	a.fn(a.arg, outcome->err ? LW_EUNAVAILABLE : 0, v, n);
	free(v);
}

void ns_store_queued_page(struct ns_store *s, int64_t from, uint32_t limit, ns_queued_fn *done, void *arg)
{
	struct asking *a = lw_xmalloc(sizeof(*a));
	struct sql_query *q = sql_query_new(s->db, &PAGE);
	*a = (struct asking){s, done, arg};
	sql_put_i64(sql_query_params(q), from);
	sql_put_i64(sql_query_params(q), limit);
	sql_query_send(q, on_page, a);
}
