/* What changed in a tenant, once a second: each device and gateway at most once, however often it was heard. Known of
 * what this process saw; recorded only while someone looks. */
#include <stdlib.h>
#include <string.h>

#include "app-server/link/live_internal.h"
#include "common/base/time.h"
#include "common/base/xmalloc.h"
#include "common/io/sql.h"
#include "common/pb/json_out.h"

#define FLUSH_MS 1000
#define MAX_CHANGED 5000

struct changed {
	struct lw_uuid tenant_id;
	int64_t time_ns;
	char application_id[LW_UUID_TEXT];
	char name[101];
};

static const struct sql_stmt select_gateways = {
	.name = "as_live_gateways",
	.text = "SELECT b.n, g.gateway_id, g.tenant_id, g.name FROM {batch} JOIN gateway AS g"
		" ON g.gateway_id = b.gateway_id",
	.batch = "gateway_id:t seen:l",
	.cols = "lttt",
};

struct lookup {
	struct as_live *live;
	size_t n;
	int64_t time_ns[];
};

static void put_member(struct lw_buf *out, const char *name, const char *value)
{
	lw_buf_printf(out, "%s\"%s\":", out->n ? "," : "{", name);
	lw_json_put_string(out, lw_span_str(value));
}

static void put_time(struct lw_buf *out, int64_t ns)
{
	char text[LW_RFC3339_MAX];
	put_member(out, "lastSeenAt", lw_rfc3339_format(ns, LW_FRAC_AUTO, "Z", text));
}

static void tell_device(struct as_live *l, uint64_t key, const struct changed *c)
{
	char eui[LW_EUI_TEXT];
	lw_buf_reset(&l->buf);
	put_member(&l->buf, "devEui", lw_dev_eui_print(lw_dev_eui_from_u64(key), eui));
	put_member(&l->buf, "name", c->name);
	put_member(&l->buf, "applicationId", c->application_id);
	put_time(&l->buf, c->time_ns);
	lw_buf_append_str(&l->buf, "}");
	as_live_sse_overview(l, &c->tenant_id, "device", lw_buf_span(&l->buf));
}

static void on_gateways(void *arg, const struct sql_outcome *o, const struct sql_result *r)
{
	struct lookup *w = arg;
	struct as_live *l = w->live;
	/* Cancelled: the live streams may be gone. */
	for (size_t row = 0; o->err == 0 && row < sql_rows(r); row++) {
		size_t i = (size_t)sql_i64(r, row, 0);
		struct lw_uuid tenant;
		if (i >= w->n || lw_uuid_parse(&tenant, sql_text(r, row, 2)) < 0)
			continue;
		lw_buf_reset(&l->buf);
		put_member(&l->buf, "gatewayId", sql_text(r, row, 1));
		put_member(&l->buf, "name", sql_text(r, row, 3));
		put_member(&l->buf, "state", "ONLINE");
		put_time(&l->buf, w->time_ns[i]);
		lw_buf_append_str(&l->buf, "}");
		as_live_sse_overview(l, &tenant, "gateway", lw_buf_span(&l->buf));
	}
	free(w);
}

static void clear(struct lw_map *m)
{
	size_t it = 0;
	uint64_t key;
	void *value;
	while (lw_map_next(m, &it, &key, &value))
		free(value);
	lw_map_clear(m);
}

static void look_up_gateways(struct as_live *l)
{
	size_t n = lw_map_count(&l->gateways);
	size_t it = 0;
	uint64_t key;
	void *value;
	if (n == 0 || !l->as->db || !l->as->ready)
		return;
	struct lookup *w = lw_xcalloc(1, sizeof(*w) + n * sizeof(w->time_ns[0]));
	struct sql_query *q = sql_query_new(l->as->db, &select_gateways);
	w->live = l;
	while (lw_map_next(&l->gateways, &it, &key, &value)) {
		char id[LW_EUI_TEXT];
		w->time_ns[w->n] = ((struct changed *)value)->time_ns;
		sql_put_text(sql_query_params(q), lw_gateway_id_print(lw_gateway_id_from_u64(key), id));
		sql_put_i64(sql_query_params(q), w->time_ns[w->n++]);
	}
	sql_query_send(q, on_gateways, w);
}

static void on_flush(struct rt_timer *t, void *arg)
{
	struct as_live *l = arg;
	size_t it = 0;
	uint64_t key;
	void *value;
	(void)t;
	if (l->too_many)
		as_live_sse_overview(l, NULL, "refresh", lw_span_str("{}"));
	l->too_many = false;
	while (lw_map_next(&l->devices, &it, &key, &value))
		tell_device(l, key, value);
	clear(&l->devices);
	look_up_gateways(l);
	clear(&l->gateways);
}

static struct changed *note(struct as_live *l, struct lw_map *m, uint64_t key)
{
	struct changed *c = lw_map_find(m, key);
	if (c || l->n_overviews == 0)
		return c;
	if (lw_map_count(m) >= MAX_CHANGED) {
		l->too_many = true;
		return NULL;
	}
	c = lw_xcalloc(1, sizeof(*c));
	lw_map_put(m, key, c);
	if (!rt_timer_armed(&l->flush))
		rt_timer_start(&l->flush, FLUSH_MS);
	return c;
}

static int64_t time_of(const Longwave__Ns__V1__Event *e)
{
	return e->time ? lw_join_ns(e->time->seconds, e->time->nanos) : 0;
}

void as_live_overview_device(struct as_live *l, const Longwave__Ns__V1__Event *e, const struct as_live_device *dev)
{
	struct changed *c = note(l, &l->devices, dev->dev_eui);
	if (!c)
		return;
	c->tenant_id = dev->tenant_id;
	c->time_ns = time_of(e);
	strncpy(c->name, dev->text->device_name, sizeof(c->name) - 1);
	strncpy(c->application_id, dev->text->application_id, sizeof(c->application_id) - 1);
}

void as_live_gateway(struct as_live *l, const Longwave__Ns__V1__Event *e)
{
	struct lw_gateway_id id;
	if (!e->gateway_stats->stats || lw_gateway_id_parse(&id, e->gateway_stats->stats->gateway_id) < 0)
		return;
	struct changed *c = note(l, &l->gateways, lw_gateway_id_u64(id));
	if (c)
		c->time_ns = time_of(e);
}

void as_live_overview_init(struct as_live *l)
{
	lw_map_init(&l->devices);
	lw_map_init(&l->gateways);
	rt_timer_init(&l->flush, l->as->loop, "live overview", on_flush, l);
}

void as_live_overview_deinit(struct as_live *l)
{
	rt_timer_stop(&l->flush);
	clear(&l->devices);
	clear(&l->gateways);
	lw_map_deinit(&l->devices);
	lw_map_deinit(&l->gateways);
}
