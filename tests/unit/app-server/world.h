/* An app-server without its process: loop, database in a temporary folder, one tenant with an application, a profile
 * and devices. Header only; failures fail the test. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app-server/as.h"
#include "common/base/time.h"
#include "common/io/sql.h"
#include "common/io/sql_migrate.h"
#include "common/pb/schema.h"
#include "common/pb/unpack.h"
#include "proto/api/device_profile.pb-c.h"

#define WORLD_TENANT "52f14cd4-c6f1-4fbd-8f87-4025e1d49242"
#define WORLD_APP "ca739e26-7b67-4f14-b69e-d568c22a5a75"
#define WORLD_PROFILE "605d08d4-65f5-4d2c-8a5a-3d2457662f79"
#define WORLD_WAIT_MS 60000

extern const struct sql_migration_set as_migrations;

struct world {
	struct as as;
	struct as_conf conf;
	char dir[64];
	char dsn[96];
};

struct world_done {
	bool done;
	int err;
	char text[64];
	size_t rows;
	struct lw_diag diag;
};

static inline void world_on_done(void *arg, const struct sql_outcome *o)
{
	struct world_done *d = arg;
	d->err = o->err;
	d->diag = o->diag;
	d->done = true;
}

static inline void world_on_query(void *arg, const struct sql_outcome *o, const struct sql_result *r)
{
	struct world_done *d = arg;
	d->err = o->err;
	d->diag = o->diag;
	if (!o->err && (d->rows = sql_rows(r)) > 0)
		snprintf(d->text, sizeof(d->text), "%s", sql_text(r, 0, 0));
	d->done = true;
}

/* Commits and waits. */
static inline void world_commit(struct world *w, struct sql_tx *tx)
{
	struct world_done d = {0};
	sql_tx_commit(tx, world_on_done, &d);
	assert_true(rt_loop_run_until(w->as.loop, &d.done, WORLD_WAIT_MS));
	if (d.err)
		fail_msg("%s", d.diag.text);
}

/* First column of the first row as text, "" without one; `p` (may be NULL) is the only parameter. */
static inline const char *world_ask(struct world *w, const struct sql_stmt *stmt, const char *p, size_t *rows)
{
	static struct world_done d;
	d = (struct world_done){0};
	struct sql_query *q = sql_query_new(w->as.db, stmt);
	if (p)
		sql_put_text(sql_query_params(q), p);
	sql_query_send(q, world_on_query, &d);
	assert_true(rt_loop_run_until(w->as.loop, &d.done, WORLD_WAIT_MS));
	if (d.err)
		fail_msg("%s", d.diag.text);
	if (rows)
		*rows = d.rows;
	return d.text;
}

static inline void world_add_base(struct world *w)
{
	static const struct sql_stmt tenant = {
		.name = "w_tenant",
		.text = "INSERT INTO tenant VALUES ($1, 'Acme', '', 1, 0, 0, 0, 0, '{}', '[]', 0, 0)",
		.params = "t"};
	static const struct sql_stmt app = {.name = "w_app",
					    .text = "INSERT INTO application VALUES ($1, $2, 'farm', '', "
						    "'{\"site\":\"north\",\"x\":\"app\"}', 0, 0)",
					    .params = "tt"};
	static const struct sql_stmt profile = {.name = "w_profile",
						.text = "INSERT INTO device_profile VALUES ($1, $2, 'soil-probe', 0, "
							"3, 0, 1, 0, 0, 0, '', '', $3, 0, 0, NULL)",
						.params = "tty"};
	Api__DeviceProfile p = API__DEVICE_PROFILE__INIT;
	Api__DeviceProfile__TagsEntry tag = API__DEVICE_PROFILE__TAGS_ENTRY__INIT;
	Api__DeviceProfile__TagsEntry *tags[] = {&tag};
	struct lw_buf body;
	tag.key = "x";
	tag.value = "profile";
	p.tags = tags;
	p.n_tags = 1;
	lw_buf_init(&body, 1 << 16);
	assert_int_equal(lw_pb_pack(&p.base, &body), 0);
	struct sql_tx *tx = sql_tx_new(w->as.db);
	sql_put_text(sql_tx_add(tx, &tenant, NULL, NULL), WORLD_TENANT);
	struct sql_params *q = sql_tx_add(tx, &app, NULL, NULL);
	sql_put_text(q, WORLD_APP);
	sql_put_text(q, WORLD_TENANT);
	q = sql_tx_add(tx, &profile, NULL, NULL);
	sql_put_text(q, WORLD_PROFILE);
	sql_put_text(q, WORLD_TENANT);
	sql_put_bytes(q, lw_buf_span(&body));
	world_commit(w, tx);
	lw_buf_deinit(&body);
}

/* n devices from DevEUI `first`, with keys; NwkKey and AppKey of device i are i in their last bytes. */
static inline void world_add_devices(struct world *w, uint64_t first, size_t n)
{
	static const struct sql_stmt device = {.name = "w_device",
					       .text = "INSERT INTO device SELECT eui, tenant, app, profile, 'probe', "
						       "'', '0000000000000000', 0, 0, '{}',"
						       " '{}', 0, 0, '', -1, 0, 0, 255, 0, 0 FROM {batch}",
					       .batch = "eui:t tenant:t app:t profile:t"};
	static const struct sql_stmt keys = {
		.name = "w_keys",
		.text = "INSERT INTO device_keys SELECT eui, nwk, app, '', 1, 0, 0, 0 FROM {batch}",
		.batch = "eui:t nwk:t app:t"};
	char eui[LW_EUI_TEXT], nwk[40], app[40];
	struct sql_tx *tx = sql_tx_new(w->as.db);
	struct sql_params *p = sql_tx_add(tx, &device, NULL, NULL);
	for (size_t i = 0; i < n; i++) {
		sql_put_text(p, lw_dev_eui_print(lw_dev_eui_from_u64(first + i), eui));
		sql_put_text(p, WORLD_TENANT);
		sql_put_text(p, WORLD_APP);
		sql_put_text(p, WORLD_PROFILE);
	}
	p = sql_tx_add(tx, &keys, NULL, NULL);
	for (size_t i = 0; i < n; i++) {
		snprintf(nwk, sizeof(nwk), "11%030zx", i);
		snprintf(app, sizeof(app), "22%030zx", i);
		sql_put_text(p, lw_dev_eui_print(lw_dev_eui_from_u64(first + i), eui));
		sql_put_text(p, nwk);
		sql_put_text(p, app);
	}
	world_commit(w, tx);
}

static inline void world_open(struct world *w)
{
	struct lw_diag diag = {0};
	memset(w, 0, sizeof(*w));
	strcpy(w->dir, "/tmp/lw-as-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->dsn, sizeof(w->dsn), "sqlite://%s/app.db", w->dir);
	if (sql_migrate_now(w->dsn, &as_migrations, NULL, &diag) < 0)
		fail_msg("%s", diag.text);
	/* All settings at their defaults that are texts are empty. */
	w->conf.mqtt_server = w->conf.redis_url = w->conf.join_bind = "";
	w->conf.mqtt_client_id = "test";
	w->conf.state_dir = w->dir;
	w->as.conf = &w->conf;
	w->as.loop = rt_loop_new();
	w->as.log = rt_log_new(2, RT_LOG_TEXT, RT_OFF);
	w->as.metrics = rt_metrics_new("t_");
	lw_rng_init_system(&w->as.rng);
	w->as.schema = lw_schema_new();
	w->as.keys = lw_keycache_new(64);
	memset(w->as.secrets.seal.b, 0x5a, sizeof(w->as.secrets.seal.b));
	struct sql_options o = {.dsn = w->dsn};
	if (sql_open(&w->as.db, w->as.loop, &o, &diag) < 0)
		fail_msg("%s", diag.text);
	w->as.ready = true;
	world_add_base(w);
}

/* After the parts under test whose place in the init table is behind the database; before the others. */
static inline void world_close_db(struct world *w)
{
	sql_free(w->as.db);
	w->as.db = NULL;
}

static inline void world_close(struct world *w)
{
	char command[96];
	lw_keycache_free(w->as.keys);
	lw_schema_free(w->as.schema);
	rt_metrics_free(w->as.metrics);
	rt_loop_turn(w->as.loop);
	rt_loop_free(w->as.loop);
	rt_log_free(w->as.log);
	snprintf(command, sizeof(command), "rm -rf %s", w->dir);
	assert_int_equal(system(command), 0);
}
