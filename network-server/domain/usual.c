/* A hash table of buckets with eight entries, the last used one first; a full bucket gives up its last one. The table
 * doubles while it may. */
#include "network-server/domain/usual.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/xmalloc.h"

#define WAYS 8
#define FIRST_BUCKETS 32

/* Length of the row in the lowest bits of the set, which has enough others. */
#define ROW UINT64_C(7)

struct entry {
	uint64_t set_and_row;
	uint32_t addr;
	uint32_t device; /* what tells it from others with this address; 0: free */
};

struct ns_usual {
	struct entry (*bucket)[WAYS];
	size_t n_buckets; /* power of two */
	size_t max_buckets;
	size_t n;
};

struct ns_usual *ns_usual_new(size_t max_devices)
{
	struct ns_usual *u = lw_xcalloc(1, sizeof(*u));
	u->n_buckets = FIRST_BUCKETS;
	u->max_buckets = FIRST_BUCKETS;
	while (u->max_buckets * WAYS < max_devices)
		u->max_buckets *= 2;
	u->bucket = lw_xcalloc(u->n_buckets, sizeof(*u->bucket));
	return u;
}

void ns_usual_free(struct ns_usual *u)
{
	if (u == NULL)
		return;
	free(u->bucket);
	free(u);
}

uint64_t ns_usual_receiver(struct lw_gateway_id id, uint32_t board, uint32_t antenna)
{
	return lw_hash_u64(lw_gateway_id_u64(id) ^ lw_hash_u64(((uint64_t)board << 32 | antenna) + 1));
}

static struct entry *bucket_of(const struct ns_usual *u, uint32_t addr)
{
	return u->bucket[lw_hash_u64(addr) & (u->n_buckets - 1)];
}

static struct entry *find(const struct ns_usual *u, uint32_t addr)
{
	struct entry *b = bucket_of(u, addr);
	for (size_t i = 0; i < WAYS; i++)
		if (b[i].device != 0 && b[i].addr == addr)
			return &b[i];
	return NULL;
}

bool ns_usual_complete(const struct ns_usual *u, struct lw_devaddr addr, uint64_t set)
{
	const struct entry *e = find(u, addr.v);
	return e != NULL && e->set_and_row == ((set & ~ROW) | NS_USUAL_STREAK);
}

/* In front of its bucket; the others move back up to `at`, whose entry is overwritten. */
static void to_front(struct entry *bucket, size_t at, struct entry e)
{
	memmove(bucket + 1, bucket, at * sizeof(*bucket));
	bucket[0] = e;
}

/* Returns 1 when the number of entries grew. */
static size_t insert(struct ns_usual *u, struct entry e)
{
	struct entry *b = bucket_of(u, e.addr);
	size_t at = 0;
	while (at < WAYS - 1 && b[at].device != 0)
		at++;
	size_t grew = b[at].device == 0;
	to_front(b, at, e);
	return grew;
}

static void grow(struct ns_usual *u)
{
	struct entry(*old)[WAYS] = u->bucket;
	size_t n_old = u->n_buckets;
	u->n_buckets *= 2;
	u->bucket = lw_xcalloc(u->n_buckets, sizeof(*u->bucket));
	u->n = 0;
	for (size_t i = 0; i < n_old; i++)
		for (size_t k = WAYS; k-- > 0;)
			if (old[i][k].device != 0)
				u->n += insert(u, old[i][k]);
	free(old);
}

void ns_usual_heard(struct ns_usual *u, struct lw_devaddr addr, struct lw_dev_eui dev_eui, uint64_t set)
{
	uint32_t device = (uint32_t)lw_hash_u64(lw_dev_eui_u64(dev_eui)) | 1u;
	struct entry *e = find(u, addr.v);
	uint64_t row = 1;
	if (e == NULL) {
		if (2 * u->n >= u->n_buckets * WAYS && u->n_buckets < u->max_buckets)
			grow(u);
		u->n += insert(u, (struct entry){(set & ~ROW) | row, addr.v, device});
		return;
	}
	if (e->device == device && (e->set_and_row & ~ROW) == (set & ~ROW)) {
		row = e->set_and_row & ROW;
		row += row < NS_USUAL_STREAK;
	}
	struct entry *b = bucket_of(u, addr.v);
	to_front(b, (size_t)(e - b), (struct entry){(set & ~ROW) | row, addr.v, device});
}

void ns_usual_repeated(struct ns_usual *u, struct lw_devaddr addr, uint64_t set)
{
	const struct entry *e = find(u, addr.v);
	if (e != NULL && (e->set_and_row & ~ROW) != (set & ~ROW))
		ns_usual_forget(u, addr);
}

void ns_usual_forget(struct ns_usual *u, struct lw_devaddr addr)
{
	struct entry *e = find(u, addr.v);
	if (e == NULL)
		return;
	struct entry *b = bucket_of(u, addr.v);
	size_t behind = WAYS - 1 - (size_t)(e - b);
	memmove(e, e + 1, behind * sizeof(*e));
	memset(&b[WAYS - 1], 0, sizeof(b[0]));
	u->n--;
}

void ns_usual_clear(struct ns_usual *u)
{
	free(u->bucket);
	u->n_buckets = FIRST_BUCKETS;
	u->bucket = lw_xcalloc(u->n_buckets, sizeof(*u->bucket));
	u->n = 0;
}

size_t ns_usual_count(const struct ns_usual *u)
{
	return u->n;
}
