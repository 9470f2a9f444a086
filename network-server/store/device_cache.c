/* Devices and their sessions in memory, bounded: the longest unused go first. The database stays the truth: a commit
 * compares versions there, and a conflict empties the entry. */
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "network-server/store/store_impl.h"

static void unlink_age(struct ns_store *s, struct ns_cached *c)
{
	*(c->older ? &c->older->newer : &s->oldest) = c->newer;
	*(c->newer ? &c->newer->older : &s->newest) = c->older;
}

static void link_newest(struct ns_store *s, struct ns_cached *c)
{
	c->older = s->newest;
	c->newer = NULL;
	*(s->newest ? &s->newest->newer : &s->oldest) = c;
	s->newest = c;
}

void ns_cache_touch(struct ns_store *s, struct ns_cached *c)
{
	if (s->newest == c)
		return;
	unlink_age(s, c);
	link_newest(s, c);
}

/* A chain in by_addr is complete: it names everyone with the address. Without an entry nothing is known. */
static void unlink_addr(struct ns_store *s, struct ns_cached *c)
{
	struct ns_cached *head = c->has_session ? lw_map_find(&s->by_addr, c->devaddr.v) : NULL;
	if (!head || head == &s->none)
		return;
	if (head == c) {
		lw_map_put(&s->by_addr, c->devaddr.v, c->next_addr ? c->next_addr : &s->none);
	} else {
		while (head->next_addr && head->next_addr != c)
			head = head->next_addr;
		if (head->next_addr)
			head->next_addr = c->next_addr;
	}
	c->next_addr = NULL;
}

static void link_addr(struct ns_store *s, struct ns_cached *c)
{
	struct ns_cached *head = c->has_session ? lw_map_find(&s->by_addr, c->devaddr.v) : NULL;
	c->next_addr = NULL;
	if (!head)
		return; /* whether others have the address is not known */
	if (head != &s->none)
		c->next_addr = head;
	lw_map_put(&s->by_addr, c->devaddr.v, c);
}

static void drop_blob(struct ns_cached *c);

void ns_cached_free(struct ns_cached *c)
{
	if (c)
		drop_blob(c);
	free(c);
}

static void forget(struct ns_store *s, struct ns_cached *c)
{
	/* The chain would not be complete without it. */
	if (c->has_session)
		ns_cache_forget_addr(s, c->devaddr);
	unlink_age(s, c);
	lw_map_remove(&s->devices, lw_dev_eui_u64(c->dev_eui));
	ns_cached_free(c);
}

void ns_cache_forget_addr(struct ns_store *s, struct lw_devaddr devaddr)
{
	struct ns_cached *c = lw_map_remove(&s->by_addr, devaddr.v);
	while (c && c != &s->none) {
		struct ns_cached *next = c->next_addr;
		c->next_addr = NULL;
		c = next;
	}
}

void ns_cache_drop(struct ns_store *s, struct lw_dev_eui dev_eui)
{
	struct ns_cached *c = lw_map_find(&s->devices, lw_dev_eui_u64(dev_eui));
	ns_cache_note(s, dev_eui);
	if (c)
		forget(s, c);
}

void ns_cache_drop_all(struct ns_store *s)
{
	s->generation++;
	s->floor = s->generation; /* answers under way are not kept either */
	while (s->oldest)
		forget(s, s->oldest);
	lw_map_clear(&s->by_addr);
}

/* The next fetch asks the database; what it finds there replaces what is older here. */
void ns_cache_drop_addr(void *store, struct lw_devaddr devaddr)
{
	struct ns_store *s = store;
	ns_cache_forget_addr(s, devaddr);
	ns_cache_note_addr(s, devaddr);
}

/* ---- what changes while the database is asked ---- */

#define CHANGED_MAX 100000

static void note(struct ns_store *s, struct lw_map *map, uint64_t key)
{
	if (!s->n_asking)
		return;
	s->generation++;
	if (lw_map_count(map) >= CHANGED_MAX) {
		lw_map_clear(map);
		s->floor = s->generation;
		return;
	}
	lw_map_put(map, key, (void *)(uintptr_t)s->generation); /* a number, not a place */
}

static bool changed_since(const struct ns_store *s, const struct lw_map *map, uint64_t key, uint64_t generation)
{
	return s->floor > generation || (uintptr_t)lw_map_find(map, key) > generation;
}

void ns_cache_note(struct ns_store *s, struct lw_dev_eui dev_eui)
{
	note(s, &s->changed, lw_dev_eui_u64(dev_eui));
}

void ns_cache_note_addr(struct ns_store *s, struct lw_devaddr devaddr)
{
	note(s, &s->changed_addr, devaddr.v);
}

bool ns_cache_changed_since(const struct ns_store *s, struct lw_dev_eui dev_eui, uint64_t generation)
{
	return changed_since(s, &s->changed, lw_dev_eui_u64(dev_eui), generation);
}

bool ns_cache_addr_changed_since(const struct ns_store *s, struct lw_devaddr devaddr, uint64_t generation)
{
	return changed_since(s, &s->changed_addr, devaddr.v, generation);
}

uint64_t ns_cache_ask(struct ns_store *s)
{
	s->n_asking++;
	return s->generation;
}

void ns_cache_answered(struct ns_store *s)
{
	if (--s->n_asking)
		return;
	lw_map_clear(&s->changed);
	lw_map_clear(&s->changed_addr);
}

#define BLOB_STEP 32u /* a session grows and shrinks by a few bytes all the time */

static void drop_blob(struct ns_cached *c)
{
	if (c->blob)
		lw_wipe(c->blob, c->blob_len);
	free(c->blob);
	c->blob = NULL;
	c->blob_len = c->blob_cap = 0;
}

/* What is left behind in the same memory is wiped: it may be part of a key. */
static void set_blob(struct ns_cached *c, struct lw_span blob)
{
	c->has_session = blob.p != NULL;
	if (!blob.p || blob.n > c->blob_cap || blob.n + 4 * BLOB_STEP < c->blob_cap)
		drop_blob(c);
	if (!blob.p)
		return;
	if (!c->blob) {
		c->blob_cap = (uint32_t)(blob.n + BLOB_STEP) & ~(BLOB_STEP - 1);
		c->blob = lw_xmalloc(c->blob_cap);
	} else if (blob.n < c->blob_len) {
		lw_wipe(c->blob + blob.n, c->blob_len - blob.n);
	}
	memcpy(c->blob, blob.p, blob.n);
	c->blob_len = (uint32_t)blob.n;
}

void ns_cache_set_session(struct ns_store *s, struct ns_cached *c, uint64_t version, struct lw_devaddr devaddr,
			  struct lw_span blob)
{
	bool moves = c->has_session != (blob.p != NULL) || !lw_devaddr_eq(c->devaddr, devaddr);
	if (moves)
		unlink_addr(s, c);
	set_blob(c, blob);
	c->version = version;
	c->devaddr = devaddr;
	if (moves)
		link_addr(s, c);
}

struct ns_cached *ns_cached_new(struct ns_store *s, const Longwave__Ns__V1__Device *body, uint64_t version,
				struct lw_devaddr devaddr, struct lw_span blob)
{
	struct lw_dev_eui eui;
	/* A deleted profile has no devices, but a row may have been read before. */
	struct ns_profile_row *profile = lw_bmap_find(&s->profiles, lw_span_str(body->device_profile_id));
	if (!profile || lw_dev_eui_parse(&eui, body->dev_eui))
		return NULL;
	struct ns_cached *c = lw_xcalloc(1, sizeof(*c));
	c->dev_eui = eui;
	c->profile = profile;
	c->is_disabled = body->is_disabled;
	c->skip_f_cnt_check = body->skip_fcnt_check;
	c->may_have_queue = true;
	c->queue_stamp = ++s->queue_stamp;
	if (lw_join_eui_parse(&c->join_eui, body->join_eui))
		memset(&c->join_eui, 0, sizeof(c->join_eui));
	if (lw_uuid_parse(&c->tenant_id, body->tenant_id))
		memset(&c->tenant_id, 0, sizeof(c->tenant_id));
	set_blob(c, blob);
	c->version = version;
	c->devaddr = devaddr;
	return c;
}

void ns_cache_insert(struct ns_store *s, struct ns_cached *c)
{
	struct ns_cached *old = lw_map_find(&s->devices, lw_dev_eui_u64(c->dev_eui));
	if (old)
		forget(s, old);
	while (s->oldest && lw_map_count(&s->devices) >= s->o.max_cached)
		forget(s, s->oldest);
	lw_map_put(&s->devices, lw_dev_eui_u64(c->dev_eui), c);
	link_newest(s, c);
	link_addr(s, c);
}

void ns_cache_enqueued(struct ns_store *s, struct lw_dev_eui dev_eui, uint64_t version)
{
	struct ns_cached *c = lw_map_find(&s->devices, lw_dev_eui_u64(dev_eui));
	ns_cache_note(s, dev_eui);
	if (!c)
		return;
	if (version != c->version + 1) { /* someone else wrote too */
		forget(s, c);
		return;
	}
	c->version = version;
	c->may_have_queue = true;
	c->queue_stamp = ++s->queue_stamp;
}

struct ns_device *ns_cache_copy(struct ns_store *s, const struct ns_cached *c, struct lw_arena *arena)
{
	struct ns_device *d = LW_ARENA_NEW(arena, struct ns_device);
	if (!d)
		return NULL;
	d->dev_eui = c->dev_eui;
	d->join_eui = c->join_eui;
	d->tenant_id = c->tenant_id;
	d->is_disabled = c->is_disabled;
	d->skip_f_cnt_check = c->skip_f_cnt_check;
	d->profile = c->profile->profile;
	d->version = c->version;
	d->may_have_queue = c->may_have_queue;
	int err = c->has_session ? ns_session_decode(lw_span(c->blob, c->blob_len), &d->session) : 0;
	if (err) {
		char eui[LW_EUI_TEXT];
		ns_store_damaged(s, "device", lw_dev_eui_print(c->dev_eui, eui), "state");
	}
	d->has_session = c->has_session && !err;
	return d;
}

void ns_cache_deinit(struct ns_store *s)
{
	while (s->oldest)
		forget(s, s->oldest);
	lw_map_deinit(&s->devices);
	lw_map_deinit(&s->by_addr);
	lw_map_deinit(&s->changed);
	lw_map_deinit(&s->changed_addr);
}
