#include "gateway-bridge/domain/downlink.h"

#include <stdlib.h>

#include "common/base/bug.h"
#include "common/base/bytes.h"
#include "common/base/xmalloc.h"

void gb_downlinks_init(struct gb_downlinks *all)
{
	lw_list_init(&all->by_age);
	all->n = 0;
}

struct gb_downlink *gb_downlink_find(struct gb_gateway *gw, uint16_t token)
{
	LW_LIST_FOREACH (node, tmp, &gw->downlinks) {
		struct gb_downlink *d = LW_CONTAINER_OF(node, struct gb_downlink, in_gateway);
		if (d->token == token)
			return d;
	}
	return NULL;
}

uint16_t gb_downlink_token(struct gb_gateway *gw, uint16_t wanted)
{
	uint16_t token = wanted;
	/* Ends: far fewer than 65536 can wait at one gateway before they time out. */
	for (int i = 0; i <= UINT16_MAX && gb_downlink_find(gw, token); i++)
		token = ++gw->next_token;
	return token;
}

struct gb_downlink *gb_downlink_new(struct gb_gateway *gw, uint32_t id, const struct semtech_txpk *tx, const int *err,
				    size_t n)
{
	BUG_ON(n == 0 || n > GB_DOWNLINK_MAX_ITEMS);
	struct gb_downlink *d = lw_xcalloc(1, sizeof(*d) + n * sizeof(d->items[0]));
	lw_list_init(&d->in_gateway);
	lw_list_init(&d->by_age);
	d->gateway = gw;
	d->id = id;
	d->token = gb_downlink_token(gw, (uint16_t)id);
	d->n_items = n;
	for (size_t i = 0; i < n; i++) {
		struct gb_downlink_item *item = &d->items[i];
		int len = err[i] ? err[i]
				 : semtech_pull_resp_encode(gw->version, d->token, &tx[i], item->datagram,
							    sizeof(item->datagram));
		item->sendable = len > 0;
		item->status = item->sendable ? GB_TX_IGNORED : GB_TX_INTERNAL_ERROR;
		item->len = item->sendable ? (uint16_t)len : 0;
		item->freq_hz = tx[i].freq_hz;
		item->modulation = (struct gb_modulation){.rate = tx[i].rate,
							  .fdev_hz = tx[i].fdev_hz,
							  .invert_polarity = tx[i].invert_polarity,
							  .preamble = tx[i].preamble,
							  .no_crc = tx[i].no_crc};
	}
	/* From now on the token is taken: the next one may be made before this one is sent. */
	lw_list_push_back(&gw->downlinks, &d->in_gateway);
	return d;
}

static bool waiting(const struct gb_downlink *d)
{
	return !lw_list_empty(&d->by_age);
}

void gb_downlink_free(struct gb_downlinks *all, struct gb_downlink *d)
{
	if (waiting(d))
		all->n--;
	lw_list_remove(&d->in_gateway);
	lw_list_remove(&d->by_age);
	free(d);
}

struct gb_downlink_item *gb_downlink_current(struct gb_downlink *d)
{
	while (d->current < d->n_items && !d->items[d->current].sendable)
		d->current++;
	return d->current < d->n_items ? &d->items[d->current] : NULL;
}

void gb_downlink_sent(struct gb_downlinks *all, struct gb_downlink *d, int64_t now_ns)
{
	if (!waiting(d))
		all->n++;
	d->sent_ns = now_ns;
	lw_list_remove(&d->by_age);
	lw_list_push_back(&all->by_age, &d->by_age);
	lw_list_remove(&d->in_gateway);
	lw_list_push_back(&d->gateway->downlinks, &d->in_gateway);
}

void gb_downlink_answer(struct gb_downlink *d, int status)
{
	BUG_ON(d->current >= d->n_items);
	struct gb_downlink_item *item = &d->items[d->current];
	item->status = status;
	gb_counters_status(&d->gateway->counters, status);
	if (status == GB_TX_OK) {
		gb_counters_sent(&d->gateway->counters, item->freq_hz, &item->modulation);
		d->current = d->n_items; /* the others are not needed */
		return;
	}
	d->current++;
	struct gb_downlink_item *next = gb_downlink_current(d);
	if (!next)
		return;
	/* A token of its own: the network may bring the answer to the alternative before once more, and a refusal that
	 * is taken for this one's would give a counter back that has been sent. */
	d->token = gb_downlink_token(d->gateway, (uint16_t)(d->token + 1));
	if (d->gateway->version >= 2)
		lw_put_le16(next->datagram + 1, d->token);
}

struct gb_downlink *gb_downlinks_stale(const struct gb_downlinks *all, int64_t before_ns)
{
	if (lw_list_empty(&all->by_age))
		return NULL;
	struct gb_downlink *d = LW_CONTAINER_OF(all->by_age.next, struct gb_downlink, by_age);
	return d->sent_ns < before_ns ? d : NULL;
}
