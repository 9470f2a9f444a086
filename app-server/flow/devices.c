#include "app-server/flow/devices.h"

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
#define FRESH_NS (30 * LW_NS_PER_S)
#define MAX_PROFILE (256u * 1024)

struct as_devices {
	struct as *as;
	struct lw_map map;   /* DevEUI → struct as_device */
	struct lw_list lru;  /* oldest first */
	uint64_t generation; /* raised by forgetting: what was read before is not kept */
	struct lw_arena scratch;
};

struct fetch {
	struct as_devices *d;
	uint64_t generation;
	as_devices_fn *fn;
	void *arg;
	size_t n;
	struct as_device_ask *v[];
};

static const struct sql_stmt select_devices = {
	.name = "as_event_devices",
	.text = "SELECT b.n, d.tenant_id, t.name, d.application_id, a.name, a.tags, d.device_profile_id, p.name, "
		"p.body,"
		" d.name, d.tags, d.dev_eui, s.app_s_key, (SELECT count(*) FROM device_session AS o WHERE"
		" o.dev_eui = d.dev_eui AND o.session_key_id <> b.session_key_id)"
		" FROM {batch} JOIN device AS d ON d.dev_eui = b.dev_eui JOIN tenant AS t ON t.id = d.tenant_id"
		" JOIN application AS a ON a.id = d.application_id JOIN device_profile AS p ON p.id = "
		"d.device_profile_id"
		" LEFT JOIN device_session AS s ON s.dev_eui = b.dev_eui AND s.session_key_id = b.session_key_id",
	.batch = "dev_eui:t session_key_id:t",
	.cols = "ltttttttyttttl",
};

struct as_devices *as_devices_new(struct as *as)
{
	struct as_devices *d = lw_xcalloc(1, sizeof(*d));
	d->as = as;
	lw_map_init(&d->map);
	lw_list_init(&d->lru);
	lw_arena_init(&d->scratch, NULL, 0, MAX_PROFILE);
	return d;
}

void as_device_unref(struct as_device *dev)
{
	if (!dev || --dev->refs > 0)
		return;
	lw_wipe(&dev->app_s_key, sizeof(dev->app_s_key));
	lw_arena_deinit(&dev->mem);
	free(dev);
}

static void drop(struct as_devices *d, struct as_device *dev)
{
	lw_map_remove(&d->map, dev->dev_eui);
	lw_list_remove(&dev->lru);
	as_device_unref(dev);
}

static void clear(struct as_devices *d)
{
	while (!lw_list_empty(&d->lru))
		drop(d, LW_CONTAINER_OF(d->lru.next, struct as_device, lru));
}

void as_devices_free(struct as_devices *d)
{
	if (!d)
		return;
	clear(d);
	lw_map_deinit(&d->map);
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

static struct as_device *from_row(struct as_devices *d, const struct as_device_ask *ask, const struct sql_result *r,
				  size_t row)
{
	struct as_device *dev = lw_xcalloc(1, sizeof(*dev));
	struct lw_arena *m = &dev->mem;
	lw_arena_init(m, dev->inline_mem, sizeof(dev->inline_mem), 4u << 20);
	lw_list_init(&dev->lru);
	dev->refs = 1;
	dev->dev_eui = ask->dev_eui;
	dev->read_ns = rt_loop_mono_ns(d->as->loop);
	lw_uuid_parse(&dev->tenant_id, sql_text(r, row, 1));
	struct as_tags tags[] = {row_tags(m, r, row, 5), profile_tags(d, m, sql_span(r, row, 8)),
				 row_tags(m, r, row, 10)};
	dev->text = (struct as_event_device){
		.tenant_id = lw_arena_strdup(m, sql_text(r, row, 1)),
		.tenant_name = lw_arena_strdup(m, sql_text(r, row, 2)),
		.application_id = lw_arena_strdup(m, sql_text(r, row, 3)),
		.application_name = lw_arena_strdup(m, sql_text(r, row, 4)),
		.device_profile_id = lw_arena_strdup(m, sql_text(r, row, 6)),
		.device_profile_name = lw_arena_strdup(m, sql_text(r, row, 7)),
		.device_name = lw_arena_strdup(m, sql_text(r, row, 9)),
		.dev_eui = lw_arena_strdup(m, sql_text(r, row, 11)),
		.tags = as_tags_merge(m, tags, 3),
		.tags_down = as_tags_merge(m, tags + 1, 2),
	};
	if (ask->session_key_id.n) {
		memcpy(dev->session_key_id, ask->session_key_id.p, ask->session_key_id.n);
		dev->session_key_id_len = ask->session_key_id.n;
		dev->has_key = lw_key_parse(&dev->app_s_key, sql_text(r, row, 12)) == 0;
		dev->has_old_sessions = dev->has_key && sql_i64(r, row, 13) > 0;
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
		if (f->generation == f->d->generation)
			keep(f->d, f->v[i]->dev);
	}
	f->fn(f->arg, o->err, f->v, f->n);
	free(f);
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
	memcpy(f->v, v, n * sizeof(f->v[0]));
	for (size_t i = 0; i < n; i++) {
		char eui[LW_EUI_TEXT], id[65];
		sql_put_text(p, lw_dev_eui_print(lw_dev_eui_from_u64(v[i]->dev_eui), eui));
		sql_put_text(p, as_session_id_text(v[i]->session_key_id, id));
	}
	sql_query_send(q, on_rows, f);
}
