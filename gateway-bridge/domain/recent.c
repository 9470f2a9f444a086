#include "gateway-bridge/domain/recent.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"

/* Large enough for the allocator to give it back to the system when it is freed. */
#define BLOCK_BYTES ((size_t)256 * 1024)

struct block {
	struct lw_list link;
	size_t cap, n;
	size_t at; /* of the oldest entry that is left */
	_Alignas(16) uint8_t bytes[];
};

/* Followed by the topic with its NUL and the payload; the next one begins at a multiple of 8. */
struct record {
	uint64_t epoch;
	int64_t at_ms;
	uint32_t topic_n, payload_n;
};

static struct block *block_of(const struct lw_list *node)
{
	return LW_CONTAINER_OF((struct lw_list *)(uintptr_t)node, struct block, link);
}

static size_t size_of(size_t topic_n, size_t payload_n)
{
	return (sizeof(struct record) + topic_n + 1 + payload_n + 7) & ~(size_t)7;
}

static struct record *record_at(struct block *b, size_t at)
{
	return (struct record *)(void *)(b->bytes + at);
}

static size_t size_at(struct block *b, size_t at)
{
	const struct record *e = record_at(b, at);
	return size_of(e->topic_n, e->payload_n);
}

void gb_recent_init(struct gb_recent *r)
{
	*r = (struct gb_recent){0};
	lw_list_init(&r->blocks);
}

static void block_free(struct gb_recent *r, struct block *b)
{
	lw_list_remove(&b->link);
	r->bytes -= sizeof(*b) + b->cap;
	free(b);
}

void gb_recent_deinit(struct gb_recent *r)
{
	while (!lw_list_empty(&r->blocks))
		block_free(r, block_of(r->blocks.next));
	r->first = r->next;
}

static struct block *block_with_room(struct gb_recent *r, size_t n)
{
	if (!lw_list_empty(&r->blocks)) {
		struct block *last = block_of(r->blocks.prev);
		if (last->cap - last->n >= n)
			return last;
	}
	size_t cap = BLOCK_BYTES - sizeof(struct block);
	if (cap < n)
		cap = n;
	struct block *b = lw_xmalloc(sizeof(*b) + cap);
	b->cap = cap;
	b->n = b->at = 0;
	lw_list_push_back(&r->blocks, &b->link);
	r->bytes += sizeof(*b) + cap;
	return b;
}

void gb_recent_add(struct gb_recent *r, const char *topic, struct lw_span payload, uint64_t epoch, int64_t at_ms)
{
	size_t topic_n = strlen(topic);
	BUG_ON(topic_n > UINT32_MAX / 4 || payload.n > UINT32_MAX / 4);
	size_t n = size_of(topic_n, payload.n);
	struct block *b = block_with_room(r, n);
	struct record *e = record_at(b, b->n);
	*e = (struct record){
		.epoch = epoch, .at_ms = at_ms, .topic_n = (uint32_t)topic_n, .payload_n = (uint32_t)payload.n};
	uint8_t *p = (uint8_t *)(e + 1);
	memcpy(p, topic, topic_n + 1);
	if (payload.n)
		memcpy(p + topic_n + 1, payload.p, payload.n);
	b->n += n;
	r->next++;
}

int64_t gb_recent_oldest_ms(const struct gb_recent *r)
{
	if (gb_recent_empty(r))
		return INT64_MAX;
	struct block *b = block_of(r->blocks.next);
	return record_at(b, b->at)->at_ms;
}

void gb_recent_forget_oldest(struct gb_recent *r)
{
	if (gb_recent_empty(r))
		return;
	struct block *b = block_of(r->blocks.next);
	b->at += size_at(b, b->at);
	r->first++;
	if (b->at == b->n)
		block_free(r, b);
}

void gb_recent_forget_before(struct gb_recent *r, int64_t at_ms)
{
	while (gb_recent_oldest_ms(r) < at_ms)
		gb_recent_forget_oldest(r);
}

/* The walk stands on an entry or past the last one. */
static struct record *stand(const struct gb_recent *r, struct gb_recent_cursor *c)
{
	if (c->block == NULL) { /* nothing was there when the walk began */
		c->block = r->blocks.next;
		c->at = c->block == &r->blocks ? 0 : block_of(c->block)->at;
	}
	while (c->block != &r->blocks) {
		struct block *b = block_of(c->block);
		if (c->at < b->n)
			return record_at(b, c->at);
		if (c->block->next == &r->blocks)
			return NULL; /* entries to come may follow here */
		c->block = c->block->next;
		c->at = block_of(c->block)->at;
	}
	c->block = NULL;
	return NULL;
}

struct gb_recent_cursor gb_recent_seek(const struct gb_recent *r, uint64_t epoch)
{
	struct gb_recent_cursor c = {.number = r->first};
	struct gb_recent_entry ignored;
	const struct record *e;
	while ((e = stand(r, &c)) && e->epoch < epoch)
		gb_recent_walk(r, &c, &ignored);
	return c;
}

bool gb_recent_walk(const struct gb_recent *r, struct gb_recent_cursor *c, struct gb_recent_entry *out)
{
	struct record *e = stand(r, c);
	if (!e)
		return false;
	const char *topic = (const char *)(e + 1);
	*out = (struct gb_recent_entry){.number = c->number,
					.epoch = e->epoch,
					.at_ms = e->at_ms,
					.topic = topic,
					.payload = lw_span(topic + e->topic_n + 1, e->payload_n)};
	c->at += size_of(e->topic_n, e->payload_n);
	c->number++;
	return true;
}

void gb_recent_renew(struct gb_recent *r, uint64_t from, uint64_t epoch, int64_t at_ms)
{
	struct gb_recent_cursor c = gb_recent_seek(r, from);
	struct gb_recent_entry ignored;
	struct record *e;
	while ((e = stand(r, &c))) {
		e->epoch = epoch;
		e->at_ms = at_ms;
		gb_recent_walk(r, &c, &ignored);
	}
}
