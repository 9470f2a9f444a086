/* Gateways and device profiles: few enough to be kept in memory whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "network-server/store/store_impl.h"

#define HEARD_MS 50 /* others know that soon that a gateway is back */

static const struct sql_stmt LOAD_PROFILES = {
	.name = "load_profiles",
	.text = "SELECT body, id FROM device_profile",
	.cols = "yt",
};

static const struct sql_stmt LOAD_GATEWAYS = {
	.name = "load_gateways",
	.text = "SELECT body, last_seen, region, gateway_id FROM gateway",
	.cols = "yltl",
};

static const struct sql_stmt SEEN_GATEWAYS = {
	.name = "seen_gateways",
	.text = "UPDATE gateway SET last_seen = b.last_seen, body = coalesce(b.body, gateway.body),"
		" region = coalesce(b.region, gateway.region) FROM {batch}"
		" WHERE gateway.gateway_id = b.gateway_id",
	.batch = "gateway_id:l last_seen:l body:y region:t",
};

static void uuid_or_zero(const char *text, struct lw_uuid *out)
{
	if (lw_uuid_parse(out, text))
		memset(out, 0, sizeof(*out));
}

static void profile_from_body(const Longwave__Ns__V1__DeviceProfile *b, struct ns_profile *p)
{
	*p = (struct ns_profile){
		.region = (enum lw_region_id)b->region,
		.mac_version = (enum lw_mac_version)b->mac_version,
		.reg_params = (enum lw_reg_params)b->reg_params_revision,
		.supports_otaa = b->supports_otaa,
		.supports_class_b = b->supports_class_b,
		.supports_class_c = b->supports_class_c,
		.abp_rx1_delay_s = (uint8_t)(b->abp_rx1_delay_s & 15),
		.abp_rx1_dr_offset = (uint8_t)(b->abp_rx1_dr_offset & 7),
		.abp_rx2_dr = (uint8_t)(b->abp_rx2_dr & 15),
		.abp_rx2_hz = b->abp_rx2_freq_hz,
		.uplink_interval_s = b->uplink_interval_s,
		.device_status_req_interval = b->device_status_req_interval,
		.flush_queue_on_activate = b->flush_queue_on_activate,
		.wants_position = b->wants_position,
		.class_b_timeout_s = b->class_b_timeout_s,
		.class_c_timeout_s = b->class_c_timeout_s,
		.ping_slot_periodicity = (uint8_t)(b->class_b_ping_slot_periodicity & 7),
		.ping_slot_dr = (uint8_t)(b->class_b_ping_slot_dr & 15),
		.ping_slot_hz = b->class_b_ping_slot_freq_hz,
		.rx1_delay_s = (uint8_t)(b->rx1_delay_s & 15),
		.allow_roaming = b->allow_roaming,
		.class_b_downlink_only = b->class_b_downlink_only,
		.uplink_drs = (uint16_t)b->uplink_data_rates,
	};
	/* Checked when it was put. */
	(void)ns_adr_settings_from_pb(b->adr, &p->adr);
	(void)ns_mac_settings_from_pb(b->mac, lw_region_by_id(p->region), &p->mac);
	uuid_or_zero(b->id, &p->id);
	uuid_or_zero(b->tenant_id, &p->tenant_id);
	strncpy(p->region_config_id, b->region_config_id, sizeof(p->region_config_id) - 1);
	strncpy(p->adr_algorithm_id, b->adr_algorithm_id, sizeof(p->adr_algorithm_id) - 1);
}

struct ns_profile_row *ns_catalog_put_profile(struct ns_store *s, const Longwave__Ns__V1__DeviceProfile *body)
{
	struct ns_profile_row *row = lw_bmap_find(&s->profiles, lw_span_str(body->id));
	if (!row) {
		row = lw_xcalloc(1, sizeof(*row));
		strncpy(row->id, body->id, sizeof(row->id) - 1);
		lw_bmap_put(&s->profiles, lw_span_str(body->id), row);
	}
	profile_from_body(body, &row->profile);
	row->deleted = false;
	row->loaded = s->load;
	row->fresh = s->loading ? s->load : 0;
	return row;
}

/* The row stays: cached devices and answers under way may point at it. */
bool ns_catalog_delete_profile(struct ns_store *s, const char *id)
{
	struct ns_profile_row *row = ns_catalog_profile(s, id);
	if (row)
		row->deleted = true;
	return row != NULL;
}

struct ns_profile_row *ns_catalog_profile(const struct ns_store *s, const char *id)
{
	struct ns_profile_row *row = lw_bmap_find(&s->profiles, lw_span_str(id));
	return row && !row->deleted ? row : NULL;
}

const struct ns_profile *ns_store_find_profile(const struct ns_store *s, const char *id)
{
	struct ns_profile_row *row = ns_catalog_profile(s, id);
	return row ? &row->profile : NULL;
}

void ns_store_each_profile(const struct ns_store *s, ns_profile_fn *fn, void *arg)
{
	size_t it = 0;
	struct lw_span name;
	void *value;
	while (lw_bmap_next(&s->profiles, &it, &name, &value)) {
		const struct ns_profile_row *row = value;
		if (!row->deleted)
			fn(arg, &row->profile);
	}
}

static void apply_body(struct ns_gateway_row *row, const Longwave__Ns__V1__Gateway *b)
{
	struct ns_gateway *g = &row->gateway;
	uuid_or_zero(b->tenant_id, &g->tenant_id);
	g->has_location = b->location && (b->location->latitude != 0 || b->location->longitude != 0);
	g->latitude = b->location ? b->location->latitude : 0;
	g->longitude = b->location ? b->location->longitude : 0;
	g->altitude = b->location ? b->location->altitude : 0;
	g->stats_interval_s = b->stats_interval_s;
	g->is_private_up = b->is_private_up;
	g->is_private_down = b->is_private_down;
	g->downlink_priority = b->downlink_priority;
}

static Longwave__Ns__V1__Gateway *copy_body(const Longwave__Ns__V1__Gateway *b)
{
	size_t n = longwave__ns__v1__gateway__get_packed_size(b);
	uint8_t *bytes = lw_xmalloc(n ? n : 1);
	longwave__ns__v1__gateway__pack(b, bytes);
	Longwave__Ns__V1__Gateway *copy = longwave__ns__v1__gateway__unpack(NULL, n, bytes);
	free(bytes);
	return copy;
}

void ns_catalog_put_gateway(struct ns_store *s, const Longwave__Ns__V1__Gateway *body, int64_t last_seen_ns)
{
	struct lw_gateway_id id;
	if (lw_gateway_id_parse(&id, body->gateway_id))
		return;
	struct ns_gateway_row *row = lw_map_find(&s->gateways, lw_gateway_id_u64(id));
	if (!row) {
		row = lw_xcalloc(1, sizeof(*row));
		row->gateway.id = id;
		row->gateway.last_seen_ns = last_seen_ns;
		lw_map_put(&s->gateways, lw_gateway_id_u64(id), row);
	}
	if (row->body)
		longwave__ns__v1__gateway__free_unpacked(row->body, NULL);
	row->body = copy_body(body);
	row->loaded = s->load;
	row->fresh = s->loading ? s->load : 0;
	apply_body(row, row->body);
}

static void free_gateway(struct ns_gateway_row *row)
{
	if (row && row->body)
		longwave__ns__v1__gateway__free_unpacked(row->body, NULL);
	free(row);
}

void ns_catalog_delete_gateway(struct ns_store *s, struct lw_gateway_id id)
{
	s->n_gone++;
	free_gateway(lw_map_remove(&s->gateways, lw_gateway_id_u64(id)));
}

const struct ns_gateway *ns_catalog_find(void *self, struct lw_gateway_id id)
{
	struct ns_store *s = self;
	struct ns_gateway_row *row = lw_map_find(&s->gateways, lw_gateway_id_u64(id));
	return row ? &row->gateway : NULL;
}

/* It is there again, or elsewhere: others want to know soon. */
static void changed(struct ns_store *s, struct ns_gateway_row *row)
{
	row->dirty = row->untold = true;
	if (!rt_timer_armed(&s->heard_timer))
		rt_timer_start(&s->heard_timer, HEARD_MS);
}

void ns_catalog_seen(void *self, struct lw_gateway_id id, int64_t now_ns, const Common__Location *location)
{
	struct ns_store *s = self;
	struct ns_gateway_row *row = lw_map_find(&s->gateways, lw_gateway_id_u64(id));
	if (!row)
		return;
	if (!ns_gateway_is_heard(&row->gateway, now_ns))
		changed(s, row);
	row->gateway.last_seen_ns = now_ns;
	row->dirty = true;
	if (!location)
		return;
	if (!row->body->location) {
		row->body->location = lw_xmalloc(sizeof(Common__Location));
		common__location__init(row->body->location);
	}
	row->body->location->latitude = location->latitude;
	row->body->location->longitude = location->longitude;
	row->body->location->altitude = location->altitude;
	row->body_dirty = true;
	apply_body(row, row->body);
}

void ns_catalog_region(void *self, struct lw_gateway_id id, const char *region_config_id)
{
	struct ns_store *s = self;
	struct ns_gateway_row *row = lw_map_find(&s->gateways, lw_gateway_id_u64(id));
	if (!row || strcmp(row->gateway.region_config_id, region_config_id) == 0)
		return;
	snprintf(row->gateway.region_config_id, sizeof(row->gateway.region_config_id), "%s", region_config_id);
	row->region_dirty = true;
	changed(s, row);
}

void ns_catalog_heard(struct ns_store *s, struct lw_gateway_id id, int64_t last_seen_ns, const char *region_config_id)
{
	struct ns_gateway_row *row = lw_map_find(&s->gateways, lw_gateway_id_u64(id));
	if (!row)
		return;
	struct ns_gateway *g = &row->gateway;
	bool is_newer = last_seen_ns > g->last_seen_ns;
	if (is_newer)
		g->last_seen_ns = last_seen_ns;
	if (region_config_id[0] && (is_newer || !g->region_config_id[0]) && !row->region_dirty)
		snprintf(g->region_config_id, sizeof(g->region_config_id), "%s", region_config_id);
}

#define TELL_MAX (32u * 1024)
#define HEARD_HEAD 17

/* Those that came back or moved, to the other replicas: id, time, length of the region, region. */
void ns_catalog_tell_heard(struct ns_store *s)
{
	struct lw_buf b;
	size_t it = 0;
	uint64_t key;
	void *value;
	lw_buf_init(&b, SIZE_MAX);
	while (lw_map_next(&s->gateways, &it, &key, &value)) {
		struct ns_gateway_row *row = value;
		const struct ns_gateway *g = &row->gateway;
		size_t n = strlen(g->region_config_id);
		uint8_t head[HEARD_HEAD];
		if (!row->untold)
			continue;
		row->untold = false;
		lw_put_le64(head, key);
		lw_put_le64(head + 8, (uint64_t)g->last_seen_ns);
		head[16] = (uint8_t)n;
		lw_buf_append(&b, head, sizeof(head));
		lw_buf_append(&b, g->region_config_id, n);
		if (b.n > TELL_MAX) {
			ns_tell(s, "heard", lw_span(b.p, b.n));
			lw_buf_reset(&b);
		}
	}
	if (b.n > 0)
		ns_tell(s, "heard", lw_span(b.p, b.n));
	lw_buf_deinit(&b);
}

void ns_catalog_hear(struct ns_store *s, struct lw_span body)
{
	char region[NS_REGION_ID_MAX];
	while (body.n >= HEARD_HEAD && body.p[16] < sizeof(region) && body.n - HEARD_HEAD >= body.p[16]) {
		size_t n = body.p[16];
		memcpy(region, body.p + HEARD_HEAD, n);
		region[n] = '\0';
		ns_catalog_heard(s, lw_gateway_id_from_u64(lw_get_le64(body.p)), (int64_t)lw_get_le64(body.p + 8),
				 region);
		body = lw_span(body.p + HEARD_HEAD + n, body.n - HEARD_HEAD - n);
	}
}

struct flushed_row {
	uint64_t key;
	bool body, region; /* written, too */
};

/* What a flush writes, to be written again when it fails. */
struct flush {
	struct ns_store *s;
	size_t n;
	struct flushed_row *v;
};

static void flushed(void *arg, const struct sql_outcome *outcome)
{
	struct flush *f = arg;
	for (size_t i = 0; outcome->err && i < f->n; i++) {
		struct ns_gateway_row *row = lw_map_find(&f->s->gateways, f->v[i].key);
		if (!row)
			continue;
		row->dirty = true;
		row->body_dirty |= f->v[i].body;
		row->region_dirty |= f->v[i].region;
	}
	free(f->v);
	free(f);
}

static int by_key(const void *a, const void *b)
{
	uint64_t x = ((const struct flushed_row *)a)->key, y = ((const struct flushed_row *)b)->key;
	return x < y ? -1 : x > y;
}

/* What is to be written, in one order for all replicas: or two of them would wait for each other's rows. NULL: nothing.
 */
static struct flush *flush_new(struct ns_store *s)
{
	struct flush *f = NULL;
	size_t it = 0, cap = 0;
	uint64_t key;
	void *value;
	while (lw_map_next(&s->gateways, &it, &key, &value)) {
		const struct ns_gateway_row *row = value;
		if (!row->dirty)
			continue;
		if (!f) {
			f = lw_xcalloc(1, sizeof(*f));
			f->s = s;
		}
		if (f->n == cap) {
			cap = cap * 2 + 16;
			f->v = lw_xreallocarray(f->v, cap, sizeof(*f->v));
		}
		/* While an Apply is under way the body here is older than what it writes. */
		f->v[f->n++] = (struct flushed_row){
			.key = key, .body = row->body_dirty && !s->n_applying, .region = row->region_dirty};
	}
	if (f)
		qsort(f->v, f->n, sizeof(*f->v), by_key);
	return f;
}

static void put_row(struct sql_params *p, const struct flushed_row *r, struct ns_gateway_row *row)
{
	sql_put_i64(p, ns_i64(r->key));
	sql_put_i64(p, row->gateway.last_seen_ns / LW_NS_PER_US);
	if (r->body) {
		size_t n = longwave__ns__v1__gateway__get_packed_size(row->body);
		uint8_t *bytes = lw_xmalloc(n ? n : 1);
		longwave__ns__v1__gateway__pack(row->body, bytes);
		sql_put_bytes(p, lw_span(bytes, n));
		free(bytes);
	} else {
		sql_put_null(p);
	}
	sql_put_text(p, r->region ? row->gateway.region_config_id : NULL);
	row->region_dirty = false;
	row->body_dirty = row->body_dirty && !r->body;
	row->dirty = row->body_dirty;
}

/* One statement for all gateways that reported since the last time. What is lost with a crash is a last-seen time. */
void ns_catalog_flush_seen(struct ns_store *s)
{
	if (!s->ready || !sql_is_up(s->db))
		return;
	struct flush *f = flush_new(s);
	if (!f)
		return;
	struct sql_tx *tx = sql_tx_new(s->db);
	struct sql_params *p = sql_tx_add(tx, &SEEN_GATEWAYS, NULL, NULL);
	for (size_t i = 0; i < f->n; i++)
		put_row(p, &f->v[i], lw_map_find(&s->gateways, f->v[i].key));
	sql_tx_commit(tx, flushed, f);
}

/* Of a load, or (`some`) of those that memory did not have. What was changed here since the question is newer than the
 * answer. */
static void take_gateways(struct ns_store *s, const struct sql_result *r, bool some)
{
	for (size_t i = 0; r && i < sql_rows(r); i++) {
		struct lw_span b = sql_span(r, i, 0);
		struct lw_gateway_id id;
		Longwave__Ns__V1__Gateway *g = longwave__ns__v1__gateway__unpack(NULL, b.n, b.p);
		if (!g) {
			char text[LW_EUI_TEXT];
			id = lw_gateway_id_from_u64((uint64_t)sql_i64(r, i, 3));
			ns_store_damaged(s, "gateway", lw_gateway_id_print(id, text), "body");
			continue;
		}
		struct ns_gateway_row *row = lw_gateway_id_parse(&id, g->gateway_id) == 0
						     ? lw_map_find(&s->gateways, lw_gateway_id_u64(id))
						     : NULL;
		if (!row || (!some && row->fresh != s->load))
			ns_catalog_put_gateway(s, g, sql_i64(r, i, 1) * LW_NS_PER_US);
		if (lw_gateway_id_parse(&id, g->gateway_id) == 0)
			ns_catalog_heard(s, id, sql_i64(r, i, 1) * LW_NS_PER_US, sql_text(r, i, 2));
		longwave__ns__v1__gateway__free_unpacked(g, NULL);
	}
}

static void take_profiles(struct ns_store *s, const struct sql_result *r, bool some)
{
	for (size_t i = 0; r && i < sql_rows(r); i++) {
		struct lw_span b = sql_span(r, i, 0);
		Longwave__Ns__V1__DeviceProfile *p = longwave__ns__v1__device_profile__unpack(NULL, b.n, b.p);
		if (!p) {
			ns_store_damaged(s, "device_profile", sql_text(r, i, 1), "body");
			continue;
		}
		struct ns_profile_row *row = lw_bmap_find(&s->profiles, lw_span_str(p->id));
		if (!row || (!some && row->fresh != s->load))
			ns_catalog_put_profile(s, p);
		longwave__ns__v1__device_profile__free_unpacked(p, NULL);
	}
}

static void on_gateways(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	take_gateways(arg, r, false);
	ns_store_loaded(arg, outcome);
}

static void on_profiles(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct ns_store *s = arg;
	take_profiles(s, r, false);
	if (outcome->err)
		ns_store_loaded(s, outcome);
	else
		sql_query_send(sql_query_new(s->db, &LOAD_GATEWAYS), on_gateways, s);
}

/* ---- some of them ---- */

static const struct sql_stmt SOME_GATEWAYS = {
	.name = "some_gateways",
	.text = "SELECT g.body, g.last_seen, g.region, g.gateway_id FROM {batch} JOIN gateway AS g ON g.gateway_id = "
		"b.gateway_id",
	.batch = "gateway_id:l",
	.cols = "yltl",
};

static const struct sql_stmt SOME_PROFILES = {
	.name = "some_profiles",
	.text = "SELECT p.body, p.id FROM {batch} JOIN device_profile AS p ON p.id = b.id",
	.batch = "id:t",
	.cols = "yt",
};

struct reading {
	struct ns_store *s;
	unsigned n_gone;
	ns_catalog_read_fn *done;
	void *arg;
	size_t n;
	struct lw_gateway_id v[];
};

struct look {
	size_t n;
	struct ns_gateway_look *v[];
};

struct profile_look {
	struct ns_store *s;
	ns_profiles_fn *done;
	void *arg;
};

static void ask_gateways(struct reading *l);

static void on_some_gateways(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct reading *l = arg;
	if (!outcome->err && l->n_gone != l->s->n_gone) {
		ask_gateways(l); /* one of the answer may be gone */
		return;
	}
	take_gateways(l->s, r, true);
	l->done(l->arg, outcome->err);
	free(l);
}

static void ask_gateways(struct reading *l)
{
	struct sql_query *q = sql_query_new(l->s->db, &SOME_GATEWAYS);
	l->n_gone = l->s->n_gone;
	for (size_t i = 0; i < l->n; i++)
		sql_put_i64(sql_query_params(q), ns_i64(lw_gateway_id_u64(l->v[i])));
	sql_query_send(q, on_some_gateways, l);
}

void ns_catalog_read(struct ns_store *s, const struct lw_gateway_id *v, size_t n, ns_catalog_read_fn *done, void *arg)
{
	struct reading *l = lw_xmalloc(sizeof(*l) + n * sizeof(l->v[0]));
	*l = (struct reading){.s = s, .done = done, .arg = arg, .n = n};
	memcpy(l->v, v, n * sizeof(v[0]));
	ask_gateways(l);
}

static void on_looked(void *arg, int err)
{
	struct look *l = arg;
	for (size_t i = 0; i < l->n; i++) {
		l->v[i]->err = err ? LW_EUNAVAILABLE : 0;
		l->v[i]->done(l->v[i]);
	}
	free(l);
}

void ns_catalog_look(void *self, struct ns_gateway_look **v, size_t n)
{
	struct look *l = lw_xmalloc(sizeof(*l) + n * sizeof(l->v[0]));
	struct lw_gateway_id *ids = lw_xmalloc(n * sizeof(*ids) + 1);
	l->n = n;
	for (size_t i = 0; i < n; i++) {
		l->v[i] = v[i];
		ids[i] = v[i]->id;
	}
	ns_catalog_read(self, ids, n, on_looked, l);
	free(ids);
}

static void on_some_profiles(void *arg, const struct sql_outcome *outcome, const struct sql_result *r)
{
	struct profile_look *l = arg;
	take_profiles(l->s, r, true);
	l->done(l->arg, outcome->err);
	free(l);
}

void ns_catalog_look_profiles(struct ns_store *s, const char *const *ids, size_t n, ns_profiles_fn *done, void *arg)
{
	struct profile_look *l = lw_xmalloc(sizeof(*l));
	struct sql_query *q = sql_query_new(s->db, &SOME_PROFILES);
	*l = (struct profile_look){s, done, arg};
	for (size_t i = 0; i < n; i++)
		sql_put_text(sql_query_params(q), ids[i]);
	sql_query_send(q, on_some_profiles, l);
}

void ns_catalog_sweep(struct ns_store *s)
{
	size_t it = 0;
	uint64_t key;
	struct lw_span name;
	void *value;
	while (lw_bmap_next(&s->profiles, &it, &name, &value)) {
		struct ns_profile_row *row = value;
		row->deleted = row->deleted || row->loaded != s->load;
	}
	it = 0;
	while (lw_map_next(&s->gateways, &it, &key, &value))
		if (((struct ns_gateway_row *)value)->loaded != s->load) {
			s->n_gone++;
			free_gateway(lw_map_remove(&s->gateways, key));
		}
}

void ns_catalog_load(struct ns_store *s)
{
	s->load++;
	s->loading = true;
	s->load_again = false;
	sql_query_send(sql_query_new(s->db, &LOAD_PROFILES), on_profiles, s);
}

void ns_catalog_deinit(struct ns_store *s)
{
	size_t it = 0;
	uint64_t key;
	struct lw_span name;
	void *value;
	while (lw_map_next(&s->gateways, &it, &key, &value))
		free_gateway(value);
	it = 0;
	while (lw_bmap_next(&s->profiles, &it, &name, &value))
		free(value);
	lw_map_deinit(&s->gateways);
	lw_bmap_deinit(&s->profiles);
}
