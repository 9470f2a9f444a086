#include "app-server/flow/devices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app-server/as.h"
#include "app-server/store/row.h"
#include "app-server/store/session.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "common/io/sql.h"
#include "common/pb/unpack.h"
#include "proto/api/device_profile.pb-c.h"

#define MAX_ENTRIES 20000
#define MAX_KINDS 4096
#define FRESH_NS (30 * LW_NS_PER_S)
#define KIND_FRESH_NS (5 * LW_NS_PER_S) /* what a device shows is no older than both together */
#define MAX_PROFILE (256u * 1024)
#define MAX_TAGS (4u << 20)
#define UUID_TEXT 36
#define KIND_KEY (3 * (UUID_TEXT + 1))

/* What devices of the same tenant, application and profile have in common. */
struct as_device_kind {
	unsigned refs;
	int64_t read_ns;
	const char *tenant_id, *tenant_name, *application_id, *application_name, *profile_id, *profile_name;
	struct as_tags application_tags, profile_tags;
	struct lw_arena mem;
};

struct as_devices {
	struct as *as;
	struct lw_map map;    /* DevEUI → struct as_device */
	struct lw_list lru;   /* oldest first */
	struct lw_bmap kinds; /* ids of tenant, application and profile → struct as_device_kind */
	uint64_t generation;  /* raised by forgetting: what was read before is not kept */
	struct lw_arena scratch;
};

/* A device that was read and whose kind is not known yet. */
struct pending {
	struct as_device *dev;
	size_t key; /* of `keys` */
};

struct fetch {
	struct as_devices *d;
	uint64_t generation;
	as_devices_fn *fn;
	void *arg;
	struct pending *pending;
	size_t n_pending;
	struct lw_bmap key_numbers; /* key of a kind → its number + 1 */
	char (*keys)[KIND_KEY];     /* of the kinds that are asked for */
	size_t n_keys;
	size_t n;
	struct as_device_ask *v[];
};

/* Kinds are few and devices are many: joined here, each device would pay for reading its application again. */
static const struct sql_stmt select_devices = {
	.name = "as_event_devices",
	.text = "SELECT b.n, d.tenant_id, d.application_id, d.device_profile_id, d.name, d.tags, d.dev_eui, "
		"s.app_s_key,"
		" (SELECT count(*) FROM device_session AS o WHERE"
		" o.dev_eui = d.dev_eui AND o.session_key_id <> b.session_key_id)"
		" FROM {batch} JOIN device AS d ON d.dev_eui = b.dev_eui"
		" LEFT JOIN device_session AS s ON s.dev_eui = b.dev_eui AND s.session_key_id = b.session_key_id",
	.batch = "dev_eui:t session_key_id:t",
	.cols = "ltttttttl",
};
static const struct sql_stmt select_kinds = {
	.name = "as_event_device_kinds",
	.text = "SELECT b.n, t.name, a.name, a.tags, p.name, p.body FROM {batch} JOIN tenant AS t ON t.id = b.tenant_id"
		" JOIN application AS a ON a.id = b.application_id JOIN device_profile AS p ON p.id = b.profile_id",
	.batch = "tenant_id:t application_id:t profile_id:t",
	.cols = "ltttty",
};

struct as_devices *as_devices_new(struct as *as)
{
	struct as_devices *d = lw_xcalloc(1, sizeof(*d));
	d->as = as;
	lw_map_init(&d->map);
	lw_list_init(&d->lru);
	lw_bmap_init(&d->kinds);
	lw_arena_init(&d->scratch, NULL, 0, MAX_PROFILE);
	return d;
}

static void kind_unref(struct as_device_kind *k)
{
	if (!k || --k->refs > 0)
		return;
	lw_arena_deinit(&k->mem);
	free(k);
}

void as_device_unref(struct as_device *dev)
{
	if (!dev || --dev->refs > 0)
		return;
	lw_wipe(&dev->app_s_key, sizeof(dev->app_s_key));
	kind_unref(dev->kind);
	lw_arena_deinit(&dev->mem);
	free(dev);
}

static void drop(struct as_devices *d, struct as_device *dev)
{
	lw_map_remove(&d->map, dev->dev_eui);
	lw_list_remove(&dev->lru);
	as_device_unref(dev);
}

static void clear_kinds(struct as_devices *d)
{
	size_t it = 0;
	struct lw_span key;
	void *value;
	while (lw_bmap_next(&d->kinds, &it, &key, &value))
		kind_unref(value);
	lw_bmap_clear(&d->kinds);
}

static void clear(struct as_devices *d)
{
	while (!lw_list_empty(&d->lru))
		drop(d, LW_CONTAINER_OF(d->lru.next, struct as_device, lru));
	clear_kinds(d);
}

void as_devices_free(struct as_devices *d)
{
	if (!d)
		return;
	clear(d);
	lw_map_deinit(&d->map);
	lw_bmap_deinit(&d->kinds);
	lw_arena_deinit(&d->scratch);
	free(d);
}

void as_devices_forget(struct as_devices *d, const char *dev_eui)
{
	struct lw_dev_eui eui;
	d->generation++;
	if (!dev_eui) {
		clear(d);
		return;
	}
	struct as_device *dev = lw_dev_eui_parse(&eui, dev_eui) == 0 ? lw_map_find(&d->map, lw_dev_eui_u64(eui)) : NULL;
	if (dev)
		drop(d, dev);
}

size_t as_devices_count(const struct as_devices *d)
{
	return lw_map_count(&d->map);
}

struct as_device *as_devices_find(struct as_devices *d, uint64_t dev_eui, struct lw_span session_key_id)
{
	struct as_device *dev = lw_map_find(&d->map, dev_eui);
	if (!dev || rt_loop_mono_ns(d->as->loop) - dev->read_ns > FRESH_NS)
		return NULL;
	if (session_key_id.n && !lw_span_eq(session_key_id, lw_span(dev->session_key_id, dev->session_key_id_len)))
		return NULL;
	lw_list_remove(&dev->lru);
	lw_list_push_back(&d->lru, &dev->lru);
	dev->refs++;
	return dev;
}

/* The profile's tags in the form of device info's; both kinds of entry have the same members. */
static struct as_tags profile_tags(struct as_devices *d, struct lw_arena *mem, struct lw_span body)
{
	struct as_tags out = {0};
	ProtobufCMessage *msg = NULL;
	lw_arena_reset(&d->scratch);
	if (lw_pb_unpack(&api__device_profile__descriptor, body, &d->scratch, &msg) < 0)
		return out;
	const Api__DeviceProfile *p = (const void *)msg;
	out.v = lw_arena_calloc(mem, p->n_tags + 1, sizeof(*out.v));
	for (size_t i = 0; out.v && i < p->n_tags; i++) {
		Integration__DeviceInfo__TagsEntry *e = LW_ARENA_NEW(mem, Integration__DeviceInfo__TagsEntry);
		if (!e)
			break;
		integration__device_info__tags_entry__init(e);
		e->key = lw_arena_strdup(mem, p->tags[i]->key);
		e->value = lw_arena_strdup(mem, p->tags[i]->value);
		out.v[out.n++] = e;
	}
	return out;
}

static struct as_tags row_tags(struct lw_arena *mem, const struct sql_result *r, size_t row, size_t col)
{
	Integration__DeviceInfo info = INTEGRATION__DEVICE_INFO__INIT;
	as_row_fill(mem, &info.base, "tags", r, row, col);
	return (struct as_tags){info.tags, info.n_tags};
}

/* ---- kinds ---- */

static void kind_key(char key[KIND_KEY], const char *tenant, const char *application, const char *profile)
{
	memset(key, 0, KIND_KEY);
	snprintf(key, UUID_TEXT + 1, "%s", tenant);
	snprintf(key + UUID_TEXT + 1, UUID_TEXT + 1, "%s", application);
	snprintf(key + 2 * (UUID_TEXT + 1), UUID_TEXT + 1, "%s", profile);
}

static struct as_device_kind *kind_from_row(struct as_devices *d, const char key[KIND_KEY], const struct sql_result *r,
					    size_t row)
{
	struct as_device_kind *k = lw_xcalloc(1, sizeof(*k));
	struct lw_arena *m = &k->mem;
	lw_arena_init(m, NULL, 0, MAX_TAGS);
	k->refs = 1;
	k->read_ns = rt_loop_mono_ns(d->as->loop);
	k->tenant_id = lw_arena_strdup(m, key);
	k->application_id = lw_arena_strdup(m, key + UUID_TEXT + 1);
	k->profile_id = lw_arena_strdup(m, key + 2 * (UUID_TEXT + 1));
	k->tenant_name = lw_arena_strdup(m, sql_text(r, row, 1));
	k->application_name = lw_arena_strdup(m, sql_text(r, row, 2));
	k->application_tags = row_tags(m, r, row, 3);
	k->profile_name = lw_arena_strdup(m, sql_text(r, row, 4));
	k->profile_tags = profile_tags(d, m, sql_span(r, row, 5));
	return k;
}

static struct as_device_kind *kind_find(struct as_devices *d, const char key[KIND_KEY])
{
	struct as_device_kind *k = lw_bmap_find(&d->kinds, lw_span(key, KIND_KEY));
	return k && rt_loop_mono_ns(d->as->loop) - k->read_ns <= KIND_FRESH_NS ? k : NULL;
}

static void kind_keep(struct as_devices *d, const char key[KIND_KEY], struct as_device_kind *k)
{
	if (lw_bmap_count(&d->kinds) >= MAX_KINDS)
		clear_kinds(d);
	k->refs++;
	kind_unref(lw_bmap_put(&d->kinds, lw_span(key, KIND_KEY), k));
}

/* Completes a device; from now on its text may be read. */
static void set_kind(struct as_device *dev, struct as_device_kind *k)
{
	struct as_event_device *t = &dev->text;
	struct as_tags layers[] = {k->application_tags, k->profile_tags, t->tags};
	dev->kind = k;
	k->refs++;
	t->tenant_id = k->tenant_id;
	t->tenant_name = k->tenant_name;
	t->application_id = k->application_id;
	t->application_name = k->application_name;
	t->device_profile_id = k->profile_id;
	t->device_profile_name = k->profile_name;
	t->tags_down = layers[1].n && layers[2].n ? as_tags_merge(&dev->mem, layers + 1, 2)
		       : layers[1].n              ? layers[1]
						  : layers[2];
	if (layers[0].n)
		t->tags = as_tags_merge(&dev->mem, layers, 3);
	else
		t->tags = t->tags_down;
}

/* ---- devices ---- */

/* Without what its kind knows; `text.tags` are its own. */
static struct as_device *from_row(struct as_devices *d, const struct as_device_ask *ask, const struct sql_result *r,
				  size_t row)
{
	const char *name = sql_text(r, row, 4), *tags = sql_text(r, row, 5), *eui = sql_text(r, row, 6);
	/* Most devices have no tags of their own; a guess for those who have. */
	size_t room = strlen(name) + strlen(eui) + 64 + (strlen(tags) > 2 ? 4 * strlen(tags) + 256 : 0);
	struct as_device *dev = lw_xmalloc(sizeof(*dev) + room);
	struct lw_arena *m = &dev->mem;
	memset(dev, 0, sizeof(*dev));
	lw_arena_init(m, dev->inline_mem, room, MAX_TAGS);
	lw_list_init(&dev->lru);
	dev->refs = 1;
	dev->dev_eui = ask->dev_eui;
	dev->read_ns = rt_loop_mono_ns(d->as->loop);
	lw_uuid_parse(&dev->tenant_id, sql_text(r, row, 1));
	dev->text.device_name = lw_arena_strdup(m, name);
	dev->text.dev_eui = lw_arena_strdup(m, eui);
	if (strcmp(tags, "{}") != 0)
		dev->text.tags = row_tags(m, r, row, 5);
	if (ask->session_key_id.n) {
		memcpy(dev->session_key_id, ask->session_key_id.p, ask->session_key_id.n);
		dev->session_key_id_len = ask->session_key_id.n;
		dev->has_key = lw_key_parse(&dev->app_s_key, sql_text(r, row, 7)) == 0;
		dev->has_old_sessions = dev->has_key && sql_i64(r, row, 8) > 0;
	}
	return dev;
}

static void keep(struct as_devices *d, struct as_device *dev)
{
	struct as_device *old = lw_map_find(&d->map, dev->dev_eui);
	if (old) {
		dev->stream_until_ns = old->stream_until_ns;
		drop(d, old);
	}
	if (lw_map_count(&d->map) >= MAX_ENTRIES)
		drop(d, LW_CONTAINER_OF(d->lru.next, struct as_device, lru));
	lw_map_put(&d->map, dev->dev_eui, dev);
	lw_list_push_back(&d->lru, &dev->lru);
	dev->refs++;
}

static void finish(struct fetch *f, int err)
{
	for (size_t i = 0; i < f->n; i++) {
		struct as_device *dev = f->v[i]->dev;
		if (dev && (err || !dev->kind)) { /* without a kind: deleted meanwhile, with its application */
			as_device_unref(dev);
			f->v[i]->dev = NULL;
		} else if (dev && f->generation == f->d->generation) {
			keep(f->d, dev);
		}
	}
	f->fn(f->arg, err, f->v, f->n);
	lw_bmap_deinit(&f->key_numbers);
	free(f->pending);
	free(f->keys);
	free(f);
}

static void on_kinds(void *arg, const struct sql_outcome *o, const struct sql_result *r)
{
	struct fetch *f = arg;
	size_t rows = o->err == 0 ? sql_rows(r) : 0;
	struct as_device_kind **found = lw_xcalloc(f->n_keys, sizeof(struct as_device_kind *));
	for (size_t row = 0; row < rows; row++) {
		size_t i = (size_t)sql_i64(r, row, 0);
		if (i >= f->n_keys || found[i])
			continue;
		found[i] = kind_from_row(f->d, f->keys[i], r, row);
		if (f->generation == f->d->generation)
			kind_keep(f->d, f->keys[i], found[i]);
	}
	for (size_t i = 0; i < f->n_pending; i++)
		if (found[f->pending[i].key])
			set_kind(f->pending[i].dev, found[f->pending[i].key]);
	for (size_t i = 0; i < f->n_keys; i++)
		kind_unref(found[i]);
	free(found);
	finish(f, o->err);
}

static void fetch_kinds(struct fetch *f)
{
	struct sql_query *q = sql_query_new(f->d->as->db, &select_kinds);
	struct sql_params *p = sql_query_params(q);
	for (size_t i = 0; i < f->n_keys; i++)
		for (size_t k = 0; k < 3; k++)
			sql_put_text(p, f->keys[i] + k * (UUID_TEXT + 1));
	sql_query_send(q, on_kinds, f);
}

/* Attaches the kind, or notes which one has to be read. */
static void find_kind(struct fetch *f, struct as_device *dev, const struct sql_result *r, size_t row)
{
	char key[KIND_KEY];
	kind_key(key, sql_text(r, row, 1), sql_text(r, row, 2), sql_text(r, row, 3));
	struct as_device_kind *k = kind_find(f->d, key);
	if (k) {
		set_kind(dev, k);
		return;
	}
	if (!f->pending)
		f->pending = lw_xcalloc(f->n, sizeof(*f->pending));
	uintptr_t number = (uintptr_t)lw_bmap_find(&f->key_numbers, lw_span(key, KIND_KEY));
	if (!number) {
		f->keys = lw_xreallocarray(f->keys, f->n_keys + 1, KIND_KEY);
		memcpy(f->keys[f->n_keys++], key, KIND_KEY);
		number = f->n_keys;
		lw_bmap_put(&f->key_numbers, lw_span(key, KIND_KEY), (void *)number);
	}
	f->pending[f->n_pending++] = (struct pending){dev, number - 1};
}

static void on_rows(void *arg, const struct sql_outcome *o, const struct sql_result *r)
{
	struct fetch *f = arg;
	for (size_t i = 0; i < f->n; i++)
		f->v[i]->dev = NULL;
	for (size_t row = 0; o->err == 0 && row < sql_rows(r); row++) {
		size_t i = (size_t)sql_i64(r, row, 0);
		if (i >= f->n || f->v[i]->dev)
			continue;
		f->v[i]->dev = from_row(f->d, f->v[i], r, row);
		find_kind(f, f->v[i]->dev, r, row);
	}
	if (f->n_keys)
		fetch_kinds(f);
	else
		finish(f, o->err);
}

void as_devices_fetch(struct as_devices *d, struct as_device_ask **v, size_t n, as_devices_fn *fn, void *arg)
{
	struct fetch *f = lw_xcalloc(1, sizeof(*f) + n * sizeof(f->v[0]));
	struct sql_query *q = sql_query_new(d->as->db, &select_devices);
	struct sql_params *p = sql_query_params(q);
	f->d = d;
	f->generation = d->generation;
	f->fn = fn;
	f->arg = arg;
	f->n = n;
	lw_bmap_init(&f->key_numbers);
	memcpy(f->v, v, n * sizeof(f->v[0]));
	for (size_t i = 0; i < n; i++) {
		char eui[LW_EUI_TEXT], id[65];
		sql_put_text(p, lw_dev_eui_print(lw_dev_eui_from_u64(v[i]->dev_eui), eui));
		sql_put_text(p, as_session_id_text(v[i]->session_key_id, id));
	}
	sql_query_send(q, on_rows, f);
}
