/* Numbered migrations, embedded at build time (cmake: lw_embed_sql(<target> <folder> <symbol>)) and run at start.
 *
 * A folder holds NNNN_name.sql, numbered from 0001 without gaps. One text serves both engines: tokens {id} {uuid}
 * {bytea} {timestamp} {json} stand for the engine's type, a line ending in "-- only:postgres" or "-- only:sqlite" is
 * dropped for the other one (sql/README.md). Each migration is one transaction; a lock keeps replicas apart. What was
 * applied is in the table schema_migrations; a database that knows a higher number than the program, or whose text of
 * an applied migration was different, is refused. Never migrates downwards. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/io/sql.h"

struct sql_migration {
	uint32_t number;
	const char *name;
	const char *text;
};

struct sql_migration_set {
	const struct sql_migration *v;
	size_t n;
};

/* Brings the database up to date in a thread, with a connection of its own. While the database is away it is tried
 * again with back-off, for ever; `done` is called once, with 0 or a permanent error and its text. Nothing is called
 * after sql_free(db). `set` stays valid. */
typedef void sql_migrate_fn(void *arg, int err, const struct lw_diag *diag);
void sql_migrate(struct sql_db *db, const struct sql_migration_set *set, sql_migrate_fn *done, void *arg);

/* The same at once, blocking; for tools and tests. `applied` (may be NULL): how many were run. LW_EUNAVAILABLE:
 * database away; LW_EPRECONDITION: newer or different than this program; LW_EINTERNAL: a migration failed; LW_EINVAL:
 * DSN. */
int sql_migrate_now(const char *dsn, const struct sql_migration_set *set, size_t *applied, struct lw_diag *diag);
