#include "app-server/flow/rows.h"

#include <stdlib.h>
#include <string.h>

#include "app-server/as.h"
#include "app-server/store/row.h"
#include "app-server/store/session.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "common/io/sql.h"
#include "common/pb/json_out.h"
#include "proto/gw/gw.pb-c.h"

#define RETRY_MS 1000
/* A commit costs as much as a hundred rows, and a device that speaks twice need be written once. So only the first few
 * commits of each period happen at once, which is all of them when few devices speak; then rows wait for company. As
 * many as one commit writes in some 30 ms, which is what others on this database wait for it. */
#define COLLECT_MS 2000
#define COLLECT_AT_ONCE 16
#define COLLECT_ROWS 4000
#define MAX_PROPERTIES (64u * 1024)

struct device_row {
	int64_t last_seen_us; /* 0: as it is, like all others */
	int dev_class;        /* -1: as it is */
	char dev_addr[LW_DEVADDR_TEXT];
	int64_t dr;
	int64_t status_us;
	int64_t margin, battery;
	bool prune; /* older sessions than this one are over */
	uint8_t session_key_id[32];
	size_t session_key_id_len;
};

struct gateway_row {
	int64_t last_seen_us;
	bool has_location;
	double latitude, longitude, altitude;
	char *properties; /* NULL: as they are */
};

struct as_rows {
	struct as *as;
	struct lw_map devices;  /* DevEUI → struct device_row */
	struct lw_map gateways; /* gateway id → struct gateway_row */
	bool under_way;
	bool hurry;              /* the end is near: nothing waits for company */
	struct rt_timer collect; /* armed: rows wait */
	int64_t period_ns;       /* began then */
	unsigned commits;        /* in it */
	struct rt_timer retry;
};

static const struct sql_stmt update_devices = {
	.name = "as_rows_devices",
	.text = "UPDATE device SET"
		" last_seen_at = CASE WHEN b.seen > device.last_seen_at THEN b.seen ELSE device.last_seen_at END,"
		" class_enabled = CASE WHEN b.class < 0 THEN device.class_enabled ELSE b.class END,"
		" dev_addr = CASE WHEN b.addr = '' THEN device.dev_addr ELSE b.addr END,"
		" dr = CASE WHEN b.dr < 0 THEN device.dr ELSE b.dr END,"
		" margin = CASE WHEN b.status_at = 0 THEN device.margin ELSE b.margin END,"
		" battery = CASE WHEN b.status_at = 0 THEN device.battery ELSE b.battery END,"
		" status_at = CASE WHEN b.status_at = 0 THEN device.status_at ELSE b.status_at END"
		" FROM {batch} WHERE device.dev_eui = b.dev_eui",
	.batch = "dev_eui:t seen:l class:l addr:t dr:l status_at:l margin:l battery:l",
};
static const struct sql_stmt prune_sessions = {
	.name = "as_rows_prune_sessions",
	.text = "DELETE FROM device_session WHERE (dev_eui, session_key_id) IN (SELECT o.dev_eui, o.session_key_id"
		" FROM {batch} JOIN device_session AS s ON s.dev_eui = b.dev_eui AND s.session_key_id = b.id"
		" JOIN device_session AS o ON o.dev_eui = b.dev_eui AND o.created_at < s.created_at)",
	.batch = "dev_eui:t id:t",
};
static const struct sql_stmt update_gateways = {
	.name = "as_rows_gateways",
	.text = "UPDATE gateway SET"
		" last_seen_at = CASE WHEN b.seen > gateway.last_seen_at THEN b.seen ELSE gateway.last_seen_at END,"
		" latitude = CASE WHEN b.has_location = 0 THEN gateway.latitude ELSE b.latitude END,"
		" longitude = CASE WHEN b.has_location = 0 THEN gateway.longitude ELSE b.longitude END,"
		" altitude = CASE WHEN b.has_location = 0 THEN gateway.altitude ELSE b.altitude END,"
		" properties = CASE WHEN b.properties = '' THEN gateway.properties ELSE b.properties END"
		" FROM {batch} WHERE gateway.gateway_id = b.gateway_id",
	.batch = "gateway_id:t seen:l has_location:l latitude:d longitude:d altitude:d properties:t",
};

static void put_device(struct sql_params *p, uint64_t eui, const struct device_row *row)
{
	char text[LW_EUI_TEXT];
	sql_put_text(p, lw_dev_eui_print(lw_dev_eui_from_u64(eui), text));
	sql_put_i64(p, row->last_seen_us);
	sql_put_i64(p, row->dev_class);
	sql_put_text(p, row->dev_addr);
	sql_put_i64(p, row->dr);
	sql_put_i64(p, row->status_us);
	sql_put_i64(p, row->margin);
	sql_put_i64(p, row->battery);
}

static void add_devices(struct as_rows *r, struct sql_tx *tx)
{
	size_t it = 0;
	uint64_t key;
	void *value;
	struct sql_params *p = sql_tx_add(tx, &update_devices, NULL, NULL);
	while (lw_map_next(&r->devices, &it, &key, &value))
		put_device(p, key, value);
	p = sql_tx_add(tx, &prune_sessions, NULL, NULL);
	for (it = 0; lw_map_next(&r->devices, &it, &key, &value);) {
		const struct device_row *row = value;
		char eui[LW_EUI_TEXT], id[65];
		if (!row->prune)
			continue;
		sql_put_text(p, lw_dev_eui_print(lw_dev_eui_from_u64(key), eui));
		sql_put_text(p, as_session_id_text(lw_span(row->session_key_id, row->session_key_id_len), id));
	}
}

static void add_gateways(struct as_rows *r, struct sql_tx *tx)
{
	size_t it = 0;
	uint64_t key;
	void *value;
	struct sql_params *p = sql_tx_add(tx, &update_gateways, NULL, NULL);
	while (lw_map_next(&r->gateways, &it, &key, &value)) {
		const struct gateway_row *row = value;
		char id[LW_EUI_TEXT];
		sql_put_text(p, lw_gateway_id_print(lw_gateway_id_from_u64(key), id));
		sql_put_i64(p, row->last_seen_us);
		sql_put_i64(p, row->has_location);
		sql_put_f64(p, row->latitude);
		sql_put_f64(p, row->longitude);
		sql_put_f64(p, row->altitude);
		sql_put_text(p, row->properties ? row->properties : "");
	}
}

static void clear(struct as_rows *r)
{
	size_t it = 0;
	uint64_t key;
	void *value;
	while (lw_map_next(&r->devices, &it, &key, &value))
		free(value);
	lw_map_clear(&r->devices);
	for (it = 0; lw_map_next(&r->gateways, &it, &key, &value);) {
		free(((struct gateway_row *)value)->properties);
		free(value);
	}
	lw_map_clear(&r->gateways);
}

static void write_rows(struct as_rows *r);

static size_t waiting(const struct as_rows *r)
{
	return lw_map_count(&r->devices) + lw_map_count(&r->gateways);
}

static void on_collected(struct rt_timer *t, void *arg)
{
	(void)t;
	write_rows(arg);
}

static void collect(struct as_rows *r)
{
	int64_t now = rt_loop_mono_ns(r->as->loop);
	if (r->under_way || rt_timer_armed(&r->collect) || waiting(r) == 0)
		return;
	int64_t passed_ms = (now - r->period_ns) / LW_NS_PER_MS;
	if (passed_ms >= COLLECT_MS) {
		r->period_ns = now;
		r->commits = 0;
	}
	rt_timer_start(&r->collect, r->commits < COLLECT_AT_ONCE ? 0 : (uint64_t)(COLLECT_MS - passed_ms));
}

static void written(struct as_rows *r)
{
	r->under_way = false;
	if (r->hurry || waiting(r) >= COLLECT_ROWS)
		write_rows(r);
	else
		collect(r);
}

static void on_committed(void *arg, const struct sql_outcome *o)
{
	struct as_rows *r = arg;
	if (o->err == LW_ECANCELLED) {
		r->under_way = false;
		return;
	}
	if (o->err < 0) {
		RT_LOG_WARN(r->as->log, "rows of devices and gateways not updated",
			    rt_str("statement", o->stmt ? o->stmt : ""), rt_err(o->err),
			    rt_str("detail", o->diag.text));
		rt_timer_start(&r->retry, RETRY_MS);
		return;
	}
	written(r);
}

static void on_retry(struct rt_timer *t, void *arg)
{
	(void)t;
	written(arg);
}

static void write_rows(struct as_rows *r)
{
	if (r->under_way || waiting(r) == 0)
		return;
	rt_timer_stop(&r->collect);
	r->commits++;
	struct sql_tx *tx = sql_tx_new(r->as->db);
	if (lw_map_count(&r->devices) > 0)
		add_devices(r, tx);
	if (lw_map_count(&r->gateways) > 0)
		add_gateways(r, tx);
	clear(r);
	r->under_way = true;
	sql_tx_commit(tx, on_committed, r);
}

struct as_rows *as_rows_new(struct as *as)
{
	struct as_rows *r = lw_xcalloc(1, sizeof(*r));
	r->as = as;
	lw_map_init(&r->devices);
	lw_map_init(&r->gateways);
	rt_timer_init(&r->retry, as->loop, "rows of devices", on_retry, r);
	rt_timer_init(&r->collect, as->loop, "rows to be written", on_collected, r);
	return r;
}

void as_rows_free(struct as_rows *r)
{
	if (!r)
		return;
	rt_timer_stop(&r->collect);
	rt_timer_stop(&r->retry);
	clear(r);
	lw_map_deinit(&r->devices);
	lw_map_deinit(&r->gateways);
	free(r);
}

bool as_rows_idle(const struct as_rows *r)
{
	return !r->under_way && waiting(r) == 0;
}

void as_rows_hurry(struct as_rows *r)
{
	r->hurry = true;
	write_rows(r);
}

/* Something has been noted. */
static void noted(struct as_rows *r)
{
	if (r->hurry || waiting(r) >= COLLECT_ROWS)
		write_rows(r);
	else
		collect(r);
}

static struct device_row *device_of(struct as_rows *r, uint64_t eui)
{
	struct device_row *row = lw_map_find(&r->devices, eui);
	if (!row) {
		row = lw_xcalloc(1, sizeof(*row));
		row->dev_class = -1;
		row->dr = -1;
		lw_map_put(&r->devices, eui, row);
	}
	return row;
}

static void note_session(struct device_row *row, struct as_device *dev)
{
	if (!dev->has_old_sessions)
		return;
	dev->has_old_sessions = false;
	row->prune = true;
	memcpy(row->session_key_id, dev->session_key_id, dev->session_key_id_len);
	row->session_key_id_len = dev->session_key_id_len;
}

void as_rows_note(struct as_rows *r, const Longwave__Ns__V1__Event *e, struct as_device *dev)
{
	int64_t now_us = as_timestamp_us(e->time);
	struct lw_devaddr addr;
	struct device_row *row;

	switch (e->kind_case) {
	case LONGWAVE__NS__V1__EVENT__KIND_UPLINK:
		row = device_of(r, dev->dev_eui);
		row->last_seen_us = now_us;
		row->dr = e->uplink->dr;
		row->dev_class = (int)e->enabled_class;
		note_session(row, dev);
		break;
	case LONGWAVE__NS__V1__EVENT__KIND_JOIN:
		row = device_of(r, dev->dev_eui);
		row->dev_class = (int)e->enabled_class;
		break;
	case LONGWAVE__NS__V1__EVENT__KIND_STATUS:
		row = device_of(r, dev->dev_eui);
		row->status_us = now_us;
		row->margin = e->status->margin;
		row->battery = e->status->battery;
		break;
	default:
		return;
	}
	if (lw_devaddr_parse(&addr, e->dev_addr) == 0)
		lw_devaddr_print(addr, row->dev_addr);
	noted(r);
}

static char *properties_of(const Gw__GatewayStats *s)
{
	struct lw_buf out;
	if (s->n_metadata == 0)
		return NULL;
	lw_buf_init(&out, MAX_PROPERTIES);
	const char *text = as_strings_to_json(&s->base, "metadata", &out);
	char *copy = out.err ? NULL : lw_xstrdup(text);
	lw_buf_deinit(&out);
	return copy;
}

void as_rows_note_gateway(struct as_rows *r, const Longwave__Ns__V1__Event *e)
{
	const Gw__GatewayStats *s = e->gateway_stats->stats;
	struct lw_gateway_id id;
	if (!s || lw_gateway_id_parse(&id, s->gateway_id) < 0)
		return;
	struct gateway_row *row = lw_map_find(&r->gateways, lw_gateway_id_u64(id));
	if (!row) {
		row = lw_xcalloc(1, sizeof(*row));
		lw_map_put(&r->gateways, lw_gateway_id_u64(id), row);
	}
	row->last_seen_us = as_timestamp_us(e->time);
	if (s->location) {
		row->has_location = true;
		row->latitude = s->location->latitude;
		row->longitude = s->location->longitude;
		row->altitude = s->location->altitude;
	}
	char *properties = properties_of(s);
	if (properties) {
		free(row->properties);
		row->properties = properties;
	}
	noted(r);
}
