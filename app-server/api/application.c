/* Applications. */
#include <stdlib.h>
#include <string.h>

#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/link/nsync.h"
#include "app-server/store/row.h"
#include "common/base/bug.h"
#include "common/pb/unpack.h"
#include "proto/api/application.pb-c.h"
#include "proto/api/device.pb-c.h"
#include "proto/api/device_profile.pb-c.h"

static const struct sql_stmt insert = {
	.name = "as_application_insert",
	.text = "INSERT INTO application (id, tenant_id, name, description, tags, created_at, updated_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, $6)",
	.params = "tttttl",
};
static const struct sql_stmt select_one = {
	.name = "as_application_get",
	.text = "SELECT id, tenant_id, name, description, tags, created_at, updated_at FROM application WHERE id = $1",
	.params = "t",
	.cols = "tttttll",
};
static const struct sql_stmt update = {
	.name = "as_application_update",
	.text = "UPDATE application SET name = $2, description = $3, tags = $4, updated_at = $5 WHERE id = $1",
	.params = "ttttl",
};
static const struct sql_stmt intents_devices = {
	.name = "as_application_intents",
	.text = "INSERT INTO ns_intent (kind, id, created_at) SELECT 'device', dev_eui, $2 FROM device"
		" WHERE application_id = $1 ON CONFLICT (kind, id) DO NOTHING",
	.params = "tl",
};
static const struct sql_stmt intents_groups = {
	.name = "as_application_intents_groups",
	.text = "INSERT INTO ns_intent (kind, id, created_at) SELECT 'multicast_group', id, $2 FROM multicast_group"
		" WHERE application_id = $1 ON CONFLICT (kind, id) DO NOTHING",
	.params = "tl",
};
static const struct sql_stmt delete_one = {
	.name = "as_application_delete",
	.text = "DELETE FROM application WHERE id = $1",
	.params = "t",
};
#define MATCH " FROM application WHERE ($1 = '' OR tenant_id = $1) AND lower(name) LIKE lower($2) ESCAPE '\\'"
static const struct sql_stmt count = {
	.name = "as_application_count",
	.text = "SELECT count(*)" MATCH,
	.params = "tt",
	.cols = "l",
};
static const struct sql_stmt page = {
	.name = "as_application_page",
	.text = "SELECT id, created_at, updated_at, name, description" MATCH " ORDER BY name, id LIMIT $3 OFFSET $4",
	.params = "ttll",
	.cols = "tlltt",
};
static const struct sql_stmt profile_bodies = {
	.name = "as_application_profile_bodies",
	.text = "SELECT body, id FROM device_profile WHERE id IN"
		" (SELECT device_profile_id FROM device WHERE application_id = $1)",
	.params = "t",
	.cols = "yt",
};
static const struct sql_stmt profiles = {
	.name = "as_application_profiles",
	.text = "SELECT id, name FROM device_profile WHERE id IN"
		" (SELECT device_profile_id FROM device WHERE application_id = $1) ORDER BY name, id",
	.params = "t",
	.cols = "tt",
};
static const struct sql_stmt tags = {
	.name = "as_application_tags",
	.text = "SELECT DISTINCT tags FROM device WHERE application_id = $1 AND tags <> '{}'",
	.params = "t",
	.cols = "t",
};

static void created(struct as_call *c, const struct sql_result *r)
{
	(void)r;
	Api__CreateApplicationResponse resp = API__CREATE_APPLICATION_RESPONSE__INIT;
	resp.id = c->state;
	as_reply(c, &resp.base);
}

void as_application_create(struct as_call *c)
{
	const Api__Application *a = ((const Api__CreateApplicationRequest *)c->req)->application;
	if (!as_name_arg(c, a->name))
		return;
	c->state = (void *)(uintptr_t)as_new_uuid(c);
	struct sql_tx *tx = sql_tx_new(c->as->db);
	struct sql_params *p = sql_tx_add(tx, &insert, NULL, NULL);
	sql_put_text(p, c->state);
	sql_put_text(p, c->object_id);
	as_row_bind(p, &a->base, "name description tags");
	sql_put_i64(p, as_now_us(c->as));
	c->what = "application";
	as_commit(c, tx, created);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorts and drops repetitions; returns how many are left. */
static size_t unique(char **v, size_t n)
{
	size_t out = 0;
	if (n > 1)
		qsort(v, n, sizeof(*v), by_text);
	for (size_t i = 0; i < n; i++) {
		if (out == 0 || strcmp(v[out - 1], v[i]) != 0)
			v[out++] = v[i];
	}
	return out;
}

static void with_measurements(struct as_call *c, const struct sql_result *r)
{
	Api__GetApplicationResponse *resp = c->state;
	size_t n = 0, kept = 0;
	Api__DeviceProfile **p = LW_ARENA_ARRAY(c->arena, Api__DeviceProfile *, sql_rows(r) + 1);

	for (size_t i = 0; i < sql_rows(r); i++) {
		int rc = lw_pb_unpack(&api__device_profile__descriptor, sql_span(r, i, 0), c->arena,
				      (ProtobufCMessage **)&p[kept]);
		if (rc < 0)
			as_row_damaged(c->as, "device_profile", sql_text(r, i, 1), "body");
		else
			n += p[kept++]->n_measurements;
	}
	resp->measurement_keys = LW_ARENA_ARRAY(c->arena, char *, n + 1);
	for (size_t i = 0, k = 0; i < kept; i++) {
		for (size_t j = 0; j < p[i]->n_measurements; j++)
			resp->measurement_keys[k++] = p[i]->measurements[j]->key;
	}
	resp->n_measurement_keys = unique(resp->measurement_keys, n);
	as_reply(c, &resp->base);
}

static void on_got(struct as_call *c, const struct sql_result *r)
{
	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
		return;
	}
	Api__GetApplicationResponse *resp = as_msg_new(c->arena, &api__get_application_response__descriptor);
	resp->application = as_msg_new(c->arena, &api__application__descriptor);
	as_row_fill(c->arena, &resp->application->base, "id tenant_id name description tags", r, 0, 0);
	as_row_fill(c->arena, &resp->base, "created_at updated_at", r, 0, 5);
	c->state = resp;
	as_query_text(c, &profile_bodies, c->object_id, with_measurements);
}

void as_application_get(struct as_call *c)
{
	as_query_text(c, &select_one, c->object_id, on_got);
}

static void changed(struct as_call *c, const struct sql_result *r)
{
	(void)r;
	as_reply_empty(c);
}

void as_application_update(struct as_call *c)
{
	const Api__Application *a = ((const Api__UpdateApplicationRequest *)c->req)->application;
	if (!as_name_arg(c, a->name))
		return;
	struct sql_tx *tx = sql_tx_new(c->as->db);
	struct sql_params *p = sql_tx_add(tx, &update, NULL, NULL);
	sql_put_text(p, c->object_id);
	as_row_bind(p, &a->base, "name description tags");
	sql_put_i64(p, as_now_us(c->as));
	sql_tx_expect(tx, 1, 1, AS_ROW_MISSING);
	as_commit(c, tx, changed);
}

static void build_delete(const struct as_nsop *op, struct sql_tx *tx)
{
	struct as_call *c = op->arg;
	static const struct sql_stmt *const intents[] = {&intents_devices, &intents_groups};
	for (size_t i = 0; i < 2; i++) {
		struct sql_params *p = sql_tx_add(tx, intents[i], NULL, NULL);
		sql_put_text(p, op->id);
		sql_put_i64(p, as_now_us(c->as));
	}
	sql_put_text(sql_tx_add(tx, &delete_one, NULL, NULL), op->id);
	sql_tx_expect(tx, 1, 1, AS_ROW_MISSING);
	c->forget = true;
}

void as_application_delete(struct as_call *c)
{
	as_push(c, "application", c->object_id, build_delete, "application");
}

static void bind_list(struct as_call *c, struct sql_params *p)
{
	sql_put_text(p, c->object_id);
	sql_put_text(p, as_search_pattern(c, ((const Api__ListApplicationsRequest *)c->req)->search));
}

void as_application_list(struct as_call *c)
{
	const Api__ListApplicationsRequest *req = c->req;
	as_list(c, &(struct as_list){.count = &count,
				     .page = &page,
				     .bind = bind_list,
				     .fields = "id created_at updated_at name description",
				     .response = &api__list_applications_response__descriptor,
				     .limit = req->limit,
				     .offset = req->offset});
}

static void on_profiles(struct as_call *c, const struct sql_result *r)
{
	ProtobufCMessage *resp = as_msg_new(c->arena, &api__list_application_device_profiles_response__descriptor);
	ProtobufCMessage **items = as_msg_list(c->arena, resp, "result", sql_rows(r));
	for (size_t i = 0; i < sql_rows(r); i++)
		as_row_fill(c->arena, items[i], "id name", r, i, 0);
	as_reply(c, resp);
}

void as_application_list_profiles(struct as_call *c)
{
	as_query_text(c, &profiles, c->object_id, on_profiles);
}

struct pair {
	char *key;
	char *value;
};

static int by_pair(const void *a, const void *b)
{
	const struct pair *x = a;
	const struct pair *y = b;
	int rc = strcmp(x->key, y->key);
	return rc ? rc : strcmp(x->value, y->value);
}

/* Keys in order, each with its distinct values in order. */
static void group_pairs(struct as_call *c, struct pair *v, size_t n, Api__ListApplicationDeviceTagsResponse *resp)
{
	Api__ApplicationDeviceTagListItem *item = NULL;

	qsort(v, n, sizeof(*v), by_pair);
	resp->result = LW_ARENA_ARRAY(c->arena, Api__ApplicationDeviceTagListItem *, n + 1);
	for (size_t i = 0; i < n; i++) {
		if (!item || strcmp(item->key, v[i].key) != 0) {
			item = as_msg_new(c->arena, &api__application_device_tag_list_item__descriptor);
			item->key = v[i].key;
			item->values = LW_ARENA_ARRAY(c->arena, char *, n - i);
			resp->result[resp->n_result++] = item;
		}
		if (item->n_values == 0 || strcmp(item->values[item->n_values - 1], v[i].value) != 0)
			item->values[item->n_values++] = v[i].value;
	}
}

static void on_tags(struct as_call *c, const struct sql_result *r)
{
	Api__ListApplicationDeviceTagsResponse *resp =
		as_msg_new(c->arena, &api__list_application_device_tags_response__descriptor);
	Api__Device **d = LW_ARENA_ARRAY(c->arena, Api__Device *, sql_rows(r) + 1);
	size_t n = 0;

	for (size_t i = 0; i < sql_rows(r); i++) {
		d[i] = as_msg_new(c->arena, &api__device__descriptor);
		as_row_fill(c->arena, &d[i]->base, "tags", r, i, 0);
		n += d[i]->n_tags;
	}
	struct pair *v = LW_ARENA_ARRAY(c->arena, struct pair, n + 1);
	for (size_t i = 0, k = 0; i < sql_rows(r); i++) {
		for (size_t j = 0; j < d[i]->n_tags; j++, k++)
			v[k] = (struct pair){d[i]->tags[j]->key, d[i]->tags[j]->value};
	}
	group_pairs(c, v, n, resp);
	as_reply(c, &resp->base);
}

void as_application_list_tags(struct as_call *c)
{
	as_query_text(c, &tags, c->object_id, on_tags);
}

/* Client certificates for the broker need a certificate authority, which cannot be configured yet. */
void as_certificate(struct as_call *c)
{
	as_fail(c, GRPC_FAILED_PRECONDITION, "no certificate authority is configured");
}
