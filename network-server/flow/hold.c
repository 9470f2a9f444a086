/* Order over a failing database: when the frame of an address could not be written and waits for another try, those
 * behind it wait too. Taken first, a higher counter would shut the earlier frame out for good. */
#include <stdlib.h>
#include <string.h>

#include "common/base/xmalloc.h"
#include "network-server/flow/internal.h"

/* Journal positions of one address' receptions that wait for another try, rising. */
struct hold {
	size_t n, cap;
	uint64_t v[];
};

static size_t place(const struct hold *h, uint64_t position)
{
	size_t i = 0;
	while (i < h->n && h->v[i] < position)
		i++;
	return i;
}

void ns_hold_put(struct ns_flows *f, struct lw_devaddr addr, uint64_t position)
{
	struct hold *h = lw_map_find(&f->held, addr.v);
	size_t at = h ? place(h, position) : 0;
	if (h && at < h->n && h->v[at] == position)
		return;
	if (!h || h->n == h->cap) {
		size_t cap = h ? 2 * h->cap : 4, n = h ? h->n : 0;
		h = lw_xrealloc(h, sizeof(*h) + cap * sizeof(h->v[0]));
		h->n = n;
		h->cap = cap;
		lw_map_put(&f->held, addr.v, h);
	}
	memmove(h->v + at + 1, h->v + at, (h->n - at) * sizeof(h->v[0]));
	h->v[at] = position;
	h->n++;
}

void ns_hold_remove(struct ns_flows *f, struct lw_devaddr addr, uint64_t position)
{
	struct hold *h = lw_map_find(&f->held, addr.v);
	size_t at = h ? place(h, position) : 0;
	if (!h || at == h->n || h->v[at] != position)
		return;
	memmove(h->v + at, h->v + at + 1, (h->n - at - 1) * sizeof(h->v[0]));
	if (--h->n == 0)
		free(lw_map_remove(&f->held, addr.v));
}

bool ns_hold_passes(const struct ns_up *u)
{
	const struct ns_flows *f = u->c.f;
	const struct hold *h = lw_map_count(&f->held) ? lw_map_find(&f->held, u->up.phy.u.data.devaddr.v) : NULL;
	if (!h)
		return true;
	for (const struct ns_up *k = u; k; k = k == u ? u->copies : k->next_copy)
		if (k->in.journal_position && k->in.journal_position <= h->v[0])
			return true;
	return false;
}

void ns_hold_free(struct ns_flows *f)
{
	size_t it = 0;
	uint64_t addr;
	void *h;
	while (lw_map_next(&f->held, &it, &addr, &h))
		free(h);
	lw_map_deinit(&f->held);
}
