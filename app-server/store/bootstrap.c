#include "app-server/store/bootstrap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app-server/as.h"
#include "app-server/domain/password.h"
#include "common/base/clock.h"
#include "common/base/hex.h"
#include "common/base/xmalloc.h"
#include "common/crypto/hash.h"
#include "common/io/sql.h"
#include "common/io/sql_migrate.h"

#define RETRY_MS 2000
#define RANDOM_PASSWORD_LEN 20

extern const struct sql_migration_set as_migrations;

static const struct sql_stmt put_setting = {
	.name = "as_setting_put",
	.text = "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
	.params = "tt",
};
static const struct sql_stmt get_settings = {
	.name = "as_setting_get",
	.text = "SELECT name, value FROM setting WHERE name IN ('token_secret', 'seal_key')",
	.cols = "tt",
};
static const struct sql_stmt count_users = {
	.name = "as_bootstrap_users",
	.text = "SELECT count(*) FROM account",
	.cols = "l",
};
static const struct sql_stmt put_admin = {
	.name = "as_bootstrap_admin",
	.text = "INSERT INTO account (id, email, is_admin, is_active, note, password_hash, created_at, updated_at)"
		" VALUES ($1, 'admin', 1, 1, '', $2, $3, $3)",
	.params = "ttl",
};
static const struct sql_stmt put_tenant = {
	.name = "as_bootstrap_tenant",
	.text = "INSERT INTO tenant (id, name, description, can_have_gateways, max_gateway_count, max_device_count,"
		" private_gateways_up, private_gateways_down, tags, dev_addr_prefixes, created_at, updated_at)"
		" SELECT $1, 'Longwave', '', 1, 0, 0, 0, 0, '{}', '[]', $2, $2"
		" WHERE NOT EXISTS (SELECT 1 FROM tenant)",
	.params = "tl",
};

struct as_bootstrap {
	struct as *as;
	void (*ready)(struct as *as);
	void (*failed)(struct as *as, const char *why);
	struct rt_timer retry;
	char password[AS_PASSWORD_MAX + 1];
	char hash[AS_PASSWORD_HASH_MAX];
	bool is_random;
	bool stopped;
	bool migrating; /* then nobody calls back once the database is freed */
	int rc;
};

static void start_secrets(struct as_bootstrap *b);

static void drop(struct as_bootstrap *b)
{
	b->as->bootstrap = NULL;
	lw_wipe(b, sizeof(*b));
	free(b);
}

static void finish(struct as_bootstrap *b)
{
	struct as *as = b->as;
	void (*ready)(struct as *) = b->ready;
	drop(b);
	ready(as);
}

/* The database went away between two steps: the steps can all be repeated. */
static void again(struct as_bootstrap *b, const char *why)
{
	if (b->stopped) {
		drop(b);
		return;
	}
	RT_LOG_WARN(b->as->log, "start waits for the database", rt_str("detail", why));
	rt_timer_start(&b->retry, RETRY_MS);
}

static void on_retry(struct rt_timer *t, void *arg)
{
	(void)t;
	start_secrets(arg);
}

/* ---- the first user ---- */

static void on_admin(void *arg, const struct sql_outcome *o)
{
	struct as_bootstrap *b = arg;
	if (o->err == LW_EEXISTS) {
		finish(b); /* another process was first */
		return;
	}
	if (o->err < 0) {
		again(b, o->diag.text);
		return;
	}
	if (b->is_random) {
		/* Not a log line: logs are kept and copied. */
		printf("\nFirst login: user admin, password %s (shown only now)\n\n", b->password);
		fflush(stdout);
	}
	RT_LOG_INFO(b->as->log, "the user admin was created");
	finish(b);
}

static void work(void *arg)
{
	struct as_bootstrap *b = arg;
	b->rc = as_password_hash(b->password, b->hash);
}

static void hashed(void *arg, int status)
{
	struct as_bootstrap *b = arg;
	char id[LW_UUID_TEXT];
	int64_t now = rt_loop_now_ns(b->as->loop) / LW_NS_PER_US;

	if (status < 0 || b->rc < 0 || b->stopped) {
		drop(b);
		return;
	}
	struct sql_tx *tx = sql_tx_new(b->as->db);
	struct sql_params *p = sql_tx_add(tx, &put_admin, NULL, NULL);
	sql_put_text(p, lw_uuid_print(lw_uuid_new(&b->as->rng), id));
	sql_put_text(p, b->hash);
	sql_put_i64(p, now);
	p = sql_tx_add(tx, &put_tenant, NULL, NULL);
	sql_put_text(p, lw_uuid_print(lw_uuid_new(&b->as->rng), id));
	sql_put_i64(p, now);
	sql_tx_commit(tx, on_admin, b);
}

static void on_users(void *arg, const struct sql_outcome *o, const struct sql_result *r)
{
	struct as_bootstrap *b = arg;
	const char *given = b->as->conf->admin_password;

	if (o->err < 0) {
		again(b, o->diag.text);
		return;
	}
	if (sql_i64(r, 0, 0) > 0) {
		finish(b);
		return;
	}
	b->is_random = !given[0];
	if (b->is_random) {
		/* 32 characters without the ones that look alike. */
		static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
		uint8_t bytes[RANDOM_PASSWORD_LEN];
		lw_random_bytes(bytes, sizeof(bytes));
		for (size_t i = 0; i < sizeof(bytes); i++)
			b->password[i] = letters[bytes[i] % 32];
		b->password[sizeof(bytes)] = 0;
	} else {
		snprintf(b->password, sizeof(b->password), "%s", given);
	}
	rt_loop_work(b->as->loop, work, hashed, b);
}

/* ---- secrets ---- */

static void on_settings(void *arg, const struct sql_outcome *o, const struct sql_result *r)
{
	struct as_bootstrap *b = arg;
	struct as_secrets *s = &b->as->secrets;
	const char *secret = b->as->conf->secret;
	bool has_seal = false;

	if (o->err < 0) {
		again(b, o->diag.text);
		return;
	}
	for (size_t i = 0; i < sql_rows(r); i++) {
		if (strcmp(sql_text(r, i, 0), "seal_key") == 0)
			has_seal = lw_key_parse(&s->seal, sql_text(r, i, 1)) == 0;
		else if (!secret[0])
			secret = sql_text(r, i, 1);
	}
	s->token_len = strnlen(secret, sizeof(s->token));
	memcpy(s->token, secret, s->token_len);
	if (!has_seal || s->token_len < 32) {
		b->failed(b->as, "the table setting has no usable secrets");
		drop(b);
		return;
	}
	sql_query_send(sql_query_new(b->as->db, &count_users), on_users, b);
}

static void on_secrets(void *arg, const struct sql_outcome *o)
{
	struct as_bootstrap *b = arg;
	if (o->err < 0)
		again(b, o->diag.text);
	else
		sql_query_send(sql_query_new(b->as->db, &get_settings), on_settings, b);
}

static void start_secrets(struct as_bootstrap *b)
{
	static const struct {
		const char *name;
		size_t bytes;
	} secrets[] = {{"token_secret", 32}, {"seal_key", 16}};
	struct sql_tx *tx = sql_tx_new(b->as->db);

	for (size_t i = 0; i < 2; i++) {
		uint8_t bytes[32];
		char text[65];
		lw_random_bytes(bytes, secrets[i].bytes);
		struct sql_params *p = sql_tx_add(tx, &put_setting, NULL, NULL);
		sql_put_text(p, secrets[i].name);
		sql_put_text(p, lw_hex_encode(bytes, secrets[i].bytes, text));
	}
	sql_tx_commit(tx, on_secrets, b);
}

static void on_migrated(void *arg, int err, const struct lw_diag *diag)
{
	struct as_bootstrap *b = arg;
	b->migrating = false;
	if (err < 0) {
		b->failed(b->as, diag->text);
		drop(b);
		return;
	}
	start_secrets(b);
}

void as_bootstrap(struct as *as, void (*ready)(struct as *as), void (*failed)(struct as *as, const char *why))
{
	struct as_bootstrap *b = lw_xcalloc(1, sizeof(*b));
	b->as = as;
	b->ready = ready;
	b->failed = failed;
	as->bootstrap = b;
	rt_timer_init(&b->retry, as->loop, "as_bootstrap", on_retry, b);
	b->migrating = true;
	sql_migrate(as->db, &as_migrations, on_migrated, b);
}

void as_bootstrap_stop(struct as *as)
{
	struct as_bootstrap *b = as->bootstrap;
	if (!b)
		return;
	b->stopped = true;
	if (b->migrating || rt_timer_armed(&b->retry)) {
		rt_timer_stop(&b->retry);
		drop(b);
	}
}
