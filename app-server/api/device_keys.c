/* Root keys of devices and the nonces that the join server has seen. */
#include "app-server/api/access.h"
#include "app-server/api/handlers.h"
#include "app-server/store/row.h"
#include "proto/api/device.pb-c.h"

static const struct sql_stmt insert = {
	.name = "as_device_keys_insert",
	.text = "INSERT INTO device_keys (dev_eui, nwk_key, app_key, gen_app_key, join_nonce, created_at, updated_at)"
		" VALUES ($1, $2, $3, $4, 1, $5, $5)",
	.params = "ttttl",
};
/* The JoinNonce goes on: a device compares it with the last one it has seen. */
static const struct sql_stmt update = {
	.name = "as_device_keys_update",
	.text = "UPDATE device_keys SET nwk_key = $2, app_key = $3, gen_app_key = $4, updated_at = $5 WHERE dev_eui = "
		"$1",
	.params = "ttttl",
};
static const struct sql_stmt select_one = {
	.name = "as_device_keys_get",
	.text = "SELECT dev_eui, nwk_key, app_key, gen_app_key, created_at, updated_at FROM device_keys"
		" WHERE dev_eui = $1",
	.params = "t",
	.cols = "ttttll",
};
static const struct sql_stmt delete_one = {
	.name = "as_device_keys_delete",
	.text = "DELETE FROM device_keys WHERE dev_eui = $1",
	.params = "t",
};
static const struct sql_stmt exists = {
	.name = "as_device_keys_exist",
	.text = "SELECT 1 FROM device_keys WHERE dev_eui = $1",
	.params = "t",
	.cols = "i",
};
static const struct sql_stmt flush = {
	.name = "as_device_nonces_flush",
	.text = "DELETE FROM dev_nonce WHERE dev_eui = $1",
	.params = "t",
};

static const struct sql_stmt flush_rejoin = {
	.name = "as_device_rejoin_flush",
	.text = "UPDATE device_keys SET rj_count1 = 0 WHERE dev_eui = $1",
	.params = "t",
};

static void changed(struct as_call *c, const struct sql_result *r)
{
	(void)r;
	as_reply_empty(c);
}

static void write_keys(struct as_call *c, const struct sql_stmt *stmt, const Api__DeviceKeys *k)
{
	const char *nwk = as_key_arg(c, k->nwk_key, "nwk_key");
	const char *app = nwk ? as_key_arg(c, k->app_key, "app_key") : NULL;
	const char *gen = app ? as_key_arg(c, k->gen_app_key, "gen_app_key") : NULL;
	if (!gen)
		return;
	struct sql_tx *tx = sql_tx_new(c->as->db);
	struct sql_params *p = sql_tx_add(tx, stmt, NULL, NULL);
	sql_put_text(p, c->object_id);
	sql_put_text(p, nwk);
	sql_put_text(p, app);
	sql_put_text(p, gen);
	sql_put_i64(p, as_now_us(c->as));
	if (stmt == &update)
		sql_tx_expect(tx, 1, 1, AS_ROW_MISSING);
	c->what = "the keys of this device";
	as_commit(c, tx, changed);
}

void as_device_keys_create(struct as_call *c)
{
	write_keys(c, &insert, ((const Api__CreateDeviceKeysRequest *)c->req)->device_keys);
}

void as_device_keys_update(struct as_call *c)
{
	write_keys(c, &update, ((const Api__UpdateDeviceKeysRequest *)c->req)->device_keys);
}

void as_device_keys_get(struct as_call *c)
{
	static const struct as_get get = {.stmt = &select_one,
					  .response = &api__get_device_keys_response__descriptor,
					  .member = "device_keys",
					  .member_fields = "dev_eui nwk_key app_key gen_app_key",
					  .fields = "created_at updated_at"};
	as_get(c, &get);
}

void as_device_keys_delete(struct as_call *c)
{
	struct sql_tx *tx = sql_tx_new(c->as->db);
	sql_put_text(sql_tx_add(tx, &delete_one, NULL, NULL), c->object_id);
	sql_tx_expect(tx, 1, 1, AS_ROW_MISSING);
	as_commit(c, tx, changed);
}

static void flush_nonces(struct as_call *c, const struct sql_result *r)
{
	if (sql_rows(r) == 0) {
		as_fail_missing(c, c->object_id);
		return;
	}
	struct sql_tx *tx = sql_tx_new(c->as->db);
	sql_put_text(sql_tx_add(tx, &flush, NULL, NULL), c->object_id);
	sql_put_text(sql_tx_add(tx, &flush_rejoin, NULL, NULL), c->object_id);
	as_commit(c, tx, changed);
}

void as_device_flush_nonces(struct as_call *c)
{
	as_query_text(c, &exists, c->object_id, flush_nonces);
}
