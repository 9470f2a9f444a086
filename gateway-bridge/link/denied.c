#include "gateway-bridge/link/denied.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"

/* So long a topic is not tried: Mosquitto 2.0 denies, and leaves the client. */
#define DENIED_NS (60 * LW_NS_PER_S)
#define TOPICS_MAX 10000

struct denial {
	int64_t at_ns;
	uint64_t taken; /* when it was denied first */
	bool confirmed; /* denied again after others were taken */
	bool again;     /* to be tried */
};

static void forget(struct gb_denied *d)
{
	size_t it = 0;
	struct lw_span key;
	void *value;
	while (lw_bmap_next(&d->topics, &it, &key, &value))
		free(value);
	lw_bmap_clear(&d->topics);
}

void gb_denied_init(struct gb_denied *d)
{
	lw_bmap_init(&d->topics);
}

void gb_denied_deinit(struct gb_denied *d)
{
	forget(d);
	lw_bmap_deinit(&d->topics);
}

bool gb_denied_any(const struct gb_denied *d)
{
	return lw_bmap_count(&d->topics) > 0;
}

bool gb_denied_note(struct gb_denied *d, const char *topic, uint64_t taken, int64_t now_ns)
{
	struct denial *t = lw_bmap_find(&d->topics, lw_span_str(topic));
	if (!t) {
		if (lw_bmap_count(&d->topics) >= TOPICS_MAX)
			forget(d);
		t = lw_xcalloc(1, sizeof(*t));
		t->taken = taken;
		lw_bmap_put(&d->topics, lw_span_str(topic), t);
	}
	t->confirmed = t->confirmed || taken != t->taken;
	t->at_ns = now_ns;
	t->again = false;
	return t->confirmed;
}

enum gb_rules gb_denied_rules(struct gb_denied *d, const char *topic, int64_t now_ns)
{
	struct denial *t = gb_denied_any(d) ? lw_bmap_find(&d->topics, lw_span_str(topic)) : NULL;
	if (t && now_ns - t->at_ns >= DENIED_NS)
		t->again = true;
	return !t || t->again ? GB_MAY_GO : t->confirmed ? GB_IS_LOST : GB_WAITS;
}

void gb_denied_taken(struct gb_denied *d, const char *topic)
{
	if (gb_denied_any(d))
		free(lw_bmap_remove(&d->topics, lw_span_str(topic)));
}

void gb_denied_again(struct gb_denied *d, const char *topic)
{
	struct denial *t = lw_bmap_find(&d->topics, lw_span_str(topic));
	if (t)
		t->again = true;
}
