/* Messages into rows and back, through a real SQLite database. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "app-server/store/row.h"
#include "common/runtime/loop.h"
#include "proto/api/device.pb-c.h"
#include "proto/api/gateway.pb-c.h"
#include "proto/api/tenant.pb-c.h"
#include "proto/google/protobuf/timestamp.pb-c.h"

struct fixture {
	struct rt_loop *loop;
	struct sql_db *db;
	struct lw_arena arena;
	char path[64];
	bool done;
	struct sql_outcome outcome;
	/* What to do with the result. */
	void (*check)(struct fixture *f, const struct sql_result *r);
};

static void on_done(void *arg, const struct sql_outcome *o)
{
	struct fixture *f = arg;
	f->outcome = *o;
	f->done = true;
}

static void on_result(void *arg, const struct sql_outcome *o, const struct sql_result *r)
{
	struct fixture *f = arg;
	assert_int_equal(o->err, 0);
	f->check(f, r);
	f->done = true;
}

static void commit(struct fixture *f, struct sql_tx *tx)
{
	f->done = false;
	sql_tx_commit(tx, on_done, f);
	assert_true(rt_loop_run_until(f->loop, &f->done, 60000));
	if (f->outcome.err < 0)
		fail_msg("%s", f->outcome.diag.text);
}

static void ask(struct fixture *f, const struct sql_stmt *stmt,
		void (*check)(struct fixture *f, const struct sql_result *r))
{
	f->check = check;
	f->done = false;
	sql_query_send(sql_query_new(f->db, stmt), on_result, f);
	assert_true(rt_loop_run_until(f->loop, &f->done, 60000));
}

static const struct sql_stmt create_device = {
	.name = "t_create_device",
	.text = "CREATE TABLE d (dev_eui TEXT, name TEXT, is_disabled BIGINT, variables TEXT, tags TEXT)",
};
static const struct sql_stmt insert_device = {
	.name = "t_insert_device",
	.text = "INSERT INTO d (dev_eui, name, is_disabled, variables, tags) VALUES ($1, $2, $3, $4, $5)",
	.params = "ttltt",
};
static const struct sql_stmt select_device = {
	.name = "t_select_device",
	.text = "SELECT dev_eui, name, 7, is_disabled, variables, tags FROM d",
	.cols = "ttlltt",
};
static const struct sql_stmt select_tags = {
	.name = "t_select_tags",
	.text = "SELECT tags FROM d",
	.cols = "t",
};

#define FIELDS "dev_eui name is_disabled variables tags"

static Api__Device__TagsEntry tag[] = {
	{.base = PROTOBUF_C_MESSAGE_INIT(&api__device__tags_entry__descriptor), .key = "a", .value = "b"},
	{.base = PROTOBUF_C_MESSAGE_INIT(&api__device__tags_entry__descriptor),
	 .key = "q\"\\",
	 .value = "\n{}\":,\xc3\xa9"},
	{.base = PROTOBUF_C_MESSAGE_INIT(&api__device__tags_entry__descriptor), .key = "", .value = ""},
};
static Api__Device__TagsEntry *tags[] = {&tag[0], &tag[1], &tag[2]};

static void check_device(struct fixture *f, const struct sql_result *r)
{
	Api__Device *d = as_msg_new(&f->arena, &api__device__descriptor);
	as_row_fill(&f->arena, &d->base, "dev_eui name - is_disabled variables tags", r, 0, 0);
	assert_string_equal(d->dev_eui, "0102030405060708");
	assert_string_equal(d->name, "it's");
	assert_true(d->is_disabled);
	assert_int_equal(d->n_variables, 0);
	assert_int_equal(d->n_tags, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_string_equal(d->tags[i]->key, tag[i].key);
		assert_string_equal(d->tags[i]->value, tag[i].value);
	}
}

/* The pair is found exactly where it is. */
static void check_pairs(struct fixture *f, const struct sql_result *r)
{
	char text[512];
	snprintf(text, sizeof(text), ",%s", sql_text(r, 0, 0) + 1);
	for (size_t i = 0; i < 3; i++)
		assert_non_null(strstr(text, as_pair_text(&f->arena, tag[i].key, tag[i].value)));
	assert_null(strstr(text, as_pair_text(&f->arena, "a", "B")));
	assert_null(strstr(text, as_pair_text(&f->arena, "\\", "\n")));
	assert_null(strstr(text, as_pair_text(&f->arena, "", "b")));
}

static void test_device(void **state)
{
	struct fixture *f = *state;
	Api__Device d = API__DEVICE__INIT;
	d.dev_eui = "0102030405060708";
	d.name = "it's";
	d.is_disabled = true;
	d.tags = tags;
	d.n_tags = 3;
	struct sql_tx *tx = sql_tx_new(f->db);
	sql_tx_add(tx, &create_device, NULL, NULL);
	as_row_bind(sql_tx_add(tx, &insert_device, NULL, NULL), &d.base, FIELDS);
	commit(f, tx);
	ask(f, &select_device, check_device);
	ask(f, &select_tags, check_pairs);
}

static const struct sql_stmt select_gateway = {
	.name = "t_select_gateway",
	.text = "SELECT 'id', 1700000000123456, 0, 1, 52.25",
	.cols = "tllld",
};

static void check_gateway(struct fixture *f, const struct sql_result *r)
{
	Api__GatewayListItem *g = as_msg_new(&f->arena, &api__gateway_list_item__descriptor);
	as_row_fill(&f->arena, &g->base, "gateway_id created_at last_seen_at state", r, 0, 0);
	assert_string_equal(g->gateway_id, "id");
	assert_int_equal(g->created_at->seconds, 1700000000);
	assert_int_equal(g->created_at->nanos, 123456000);
	assert_int_equal(as_timestamp_us(g->created_at), 1700000000123456);
	assert_null(g->last_seen_at);
	assert_int_equal(g->state, API__GATEWAY_STATE__ONLINE);
	Common__Location *l = as_msg_new(&f->arena, &common__location__descriptor);
	as_row_fill(&f->arena, &l->base, "latitude", r, 0, 4);
	assert_true(l->latitude > 52.24 && l->latitude < 52.26);
}

static void test_gateway(void **state)
{
	ask(*state, &select_gateway, check_gateway);
}

static const struct sql_stmt create_tenant = {.name = "t_create_tenant", .text = "CREATE TABLE t (p TEXT)"};
static const struct sql_stmt insert_tenant = {
	.name = "t_insert_tenant", .text = "INSERT INTO t (p) VALUES ($1)", .params = "t"};
static const struct sql_stmt select_tenant = {.name = "t_select_tenant", .text = "SELECT p FROM t", .cols = "t"};

static void check_tenant(struct fixture *f, const struct sql_result *r)
{
	Api__Tenant *t = as_msg_new(&f->arena, &api__tenant__descriptor);
	assert_string_equal(sql_text(r, 0, 0), "[\"01000000/8\",\"26\\\"\"]");
	as_row_fill(&f->arena, &t->base, "dev_addr_prefixes", r, 0, 0);
	assert_int_equal(t->n_dev_addr_prefixes, 2);
	assert_string_equal(t->dev_addr_prefixes[1], "26\"");
}

static void test_strings(void **state)
{
	struct fixture *f = *state;
	char *prefixes[] = {"01000000/8", "26\""};
	Api__Tenant t = API__TENANT__INIT;
	t.dev_addr_prefixes = prefixes;
	t.n_dev_addr_prefixes = 2;
	struct sql_tx *tx = sql_tx_new(f->db);
	sql_tx_add(tx, &create_tenant, NULL, NULL);
	as_row_bind(sql_tx_add(tx, &insert_tenant, NULL, NULL), &t.base, "dev_addr_prefixes");
	commit(f, tx);
	ask(f, &select_tenant, check_tenant);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char dsn[96];
	struct lw_diag diag;
	strcpy(f->path, "/tmp/as_row_XXXXXX");
	int fd = mkstemp(f->path);
	assert_true(fd >= 0);
	close(fd);
	f->loop = rt_loop_new();
	lw_arena_init(&f->arena, NULL, 0, 1 << 20);
	snprintf(dsn, sizeof(dsn), "sqlite://%s", f->path);
	assert_int_equal(sql_open(&f->db, f->loop, &(struct sql_options){.dsn = dsn}, &diag), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	static const char *const ends[] = {"", "-wal", "-shm"};
	sql_free(f->db);
	rt_loop_turn(f->loop);
	rt_loop_free(f->loop);
	lw_arena_deinit(&f->arena);
	for (size_t i = 0; i < 3; i++) {
		char path[96];
		snprintf(path, sizeof(path), "%s%s", f->path, ends[i]);
		unlink(path);
	}
	free(f);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_device),
		cmocka_unit_test(test_gateway),
		cmocka_unit_test(test_strings),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
