/* Commits through the gathering VFS: few writes, nothing missing in the files once COMMIT has returned, and a disk that
 * refuses is reported and harms nothing. Under it lies a VFS that counts and refuses. */
#include "common/io/sql_wal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <sqlite3.h>

struct counted {
	sqlite3_file base;
	sqlite3_file real[];
};

static struct {
	sqlite3_vfs vfs, *real;
	sqlite3_io_methods methods;
	unsigned writes, syncs;
	bool refuse;
	char dir[64], path[96];
} t;

static sqlite3_file *under(sqlite3_file *f)
{
	return ((struct counted *)(void *)f)->real;
}

static int c_close(sqlite3_file *f)
{
	return under(f)->pMethods->xClose(under(f));
}

static int c_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	return under(f)->pMethods->xRead(under(f), p, n, at);
}

static int c_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	t.writes++;
	return t.refuse ? SQLITE_FULL : under(f)->pMethods->xWrite(under(f), p, n, at);
}

static int c_truncate(sqlite3_file *f, sqlite3_int64 n)
{
	return under(f)->pMethods->xTruncate(under(f), n);
}

static int c_sync(sqlite3_file *f, int flags)
{
	t.syncs++;
	return under(f)->pMethods->xSync(under(f), flags);
}

static int c_size(sqlite3_file *f, sqlite3_int64 *n)
{
	return under(f)->pMethods->xFileSize(under(f), n);
}

static int c_lock(sqlite3_file *f, int level)
{
	return under(f)->pMethods->xLock(under(f), level);
}

static int c_unlock(sqlite3_file *f, int level)
{
	return under(f)->pMethods->xUnlock(under(f), level);
}

static int c_reserved(sqlite3_file *f, int *out)
{
	return under(f)->pMethods->xCheckReservedLock(under(f), out);
}

static int c_control(sqlite3_file *f, int op, void *arg)
{
	return under(f)->pMethods->xFileControl(under(f), op, arg);
}

static int c_sector(sqlite3_file *f)
{
	return under(f)->pMethods->xSectorSize(under(f));
}

static int c_traits(sqlite3_file *f)
{
	return under(f)->pMethods->xDeviceCharacteristics(under(f));
}

static int c_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
	(void)v;
	if (!(flags & SQLITE_OPEN_WAL))
		return t.real->xOpen(t.real, name, f, flags, out);
	f->pMethods = &t.methods;
	return t.real->xOpen(t.real, name, under(f), flags, out);
}

static int group_setup(void **state)
{
	(void)state;
	t.real = sqlite3_vfs_find(NULL);
	t.methods = (sqlite3_io_methods){1,      c_close,  c_read,     c_write,   c_truncate, c_sync,   c_size,
					 c_lock, c_unlock, c_reserved, c_control, c_sector,   c_traits, NULL,
					 NULL,   NULL,     NULL,       NULL,      NULL};
	t.vfs = *t.real;
	t.vfs.pNext = NULL;
	t.vfs.zName = "counted";
	t.vfs.szOsFile = (int)sizeof(struct counted) + t.real->szOsFile;
	t.vfs.xOpen = c_open;
	sqlite3_vfs_register(&t.vfs, 1);
	strcpy(t.dir, "/tmp/lw_sqlwal_XXXXXX");
	return mkdtemp(t.dir) ? 0 : -1;
}

static int group_teardown(void **state)
{
	char cmd[96];
	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", t.dir);
	return system(cmd);
}

static sqlite3 *open_db(const char *path, const char *vfs)
{
	sqlite3 *h = NULL;
	assert_int_equal(
		sqlite3_open_v2(path, &h, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_EXRESCODE, vfs),
		SQLITE_OK);
	assert_int_equal(sqlite3_exec(h, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", NULL, NULL, NULL),
			 SQLITE_OK);
	return h;
}

static int exec(sqlite3 *h, const char *sql)
{
	return sqlite3_exec(h, sql, NULL, NULL, NULL);
}

static int count(sqlite3 *h)
{
	sqlite3_stmt *s = NULL;
	assert_int_equal(sqlite3_prepare_v2(h, "SELECT count(*) FROM x", -1, &s, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(s), SQLITE_ROW);
	int n = sqlite3_column_int(s, 0);
	sqlite3_finalize(s);
	return n;
}

/* What another would find if we ended here: files as they are now, opened without us. */
static int count_in_copy(void)
{
	char cmd[900], copy[128];
	snprintf(copy, sizeof(copy), "%s/copy.db", t.dir);
	snprintf(cmd, sizeof(cmd), "rm -f %s*; cp %s %s && cp %s-wal %s-wal", copy, t.path, copy, t.path, copy);
	assert_int_equal(system(cmd), 0);
	sqlite3 *h = open_db(copy, t.real->zName);
	int n = count(h);
	sqlite3_close(h);
	return n;
}

#define ROWS(n)                                                                                                        \
	"BEGIN IMMEDIATE; WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < " #n                \
	") INSERT INTO x SELECT randomblob(1000) FROM c; COMMIT"

static sqlite3 *fresh(const char *name)
{
	snprintf(t.path, sizeof(t.path), "%s/%s.db", t.dir, name);
	assert_string_equal(sql_wal_vfs(), "longwave-wal");
	sqlite3 *h = open_db(t.path, sql_wal_vfs());
	assert_int_equal(exec(h, "CREATE TABLE x (v BLOB)"), SQLITE_OK);
	return h;
}

static void test_few_writes(void **state)
{
	(void)state;
	sqlite3 *h = fresh("few"), *other = open_db(t.path, sql_wal_vfs());
	t.writes = t.syncs = 0;
	assert_int_equal(exec(h, ROWS(100)), SQLITE_OK); /* 34 pages, 68 pieces */
	assert_true(t.writes <= 3);
	assert_true(t.syncs >= 1);
	assert_int_equal(count(other), 100);
	assert_int_equal(count_in_copy(), 100);
	sqlite3_close(other);
	sqlite3_close(h);
}

/* More pages than SQLite keeps: it writes some before the commit and reads them back. */
static void test_spilled_pages(void **state)
{
	(void)state;
	sqlite3 *h = fresh("spilled");
	assert_int_equal(exec(h, "PRAGMA cache_size=20"), SQLITE_OK);
	assert_int_equal(exec(h, "CREATE INDEX x_v ON x (v)"), SQLITE_OK);
	for (int i = 0; i < 3; i++)
		assert_int_equal(exec(h, ROWS(1000)), SQLITE_OK);
	assert_int_equal(exec(h, "BEGIN IMMEDIATE; INSERT INTO x SELECT randomblob(1000) FROM x; ROLLBACK"), SQLITE_OK);
	assert_int_equal(count(h), 3000);
	assert_int_equal(count_in_copy(), 3000);
	assert_int_equal(exec(h, "PRAGMA wal_checkpoint(TRUNCATE)"), SQLITE_OK);
	assert_int_equal(exec(h, ROWS(10)), SQLITE_OK);
	assert_int_equal(count_in_copy(), 3010);
	sqlite3_close(h);
	h = open_db(t.path, t.real->zName);
	assert_int_equal(count(h), 3010);
	sqlite3_close(h);
}

static void test_full_disk(void **state)
{
	(void)state;
	sqlite3 *h = fresh("full");
	assert_int_equal(exec(h, ROWS(10)), SQLITE_OK);
	t.refuse = true;
	int rc = exec(h, ROWS(20));
	t.refuse = false;
	assert_int_equal(rc & 0xff, SQLITE_FULL);
	if (!sqlite3_get_autocommit(h))
		assert_int_equal(exec(h, "ROLLBACK"), SQLITE_OK);
	assert_int_equal(count(h), 10);
	assert_int_equal(exec(h, ROWS(5)), SQLITE_OK);
	assert_int_equal(count(h), 15);
	assert_int_equal(count_in_copy(), 15);
	sqlite3_close(h);
}

/* A statement that fails to read is undone alone; the transaction goes on with what it had written before. */
static void test_full_disk_at_a_read(void **state)
{
	(void)state;
	sqlite3 *h = fresh("read");
	assert_int_equal(exec(h, "CREATE TABLE y (v BLOB UNIQUE); PRAGMA cache_size=10"), SQLITE_OK);
	assert_int_equal(exec(h, "BEGIN IMMEDIATE; WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE"
				 " i < 60) INSERT INTO x SELECT randomblob(1000) FROM c"),
			 SQLITE_OK);
	t.refuse = true;
	int rc = exec(h, "INSERT INTO y SELECT v FROM x");
	t.refuse = false;
	assert_int_equal(rc & 0xff, SQLITE_FULL);
	assert_int_equal(sqlite3_get_autocommit(h), 0);
	assert_int_equal(count(h), 60);
	assert_int_equal(exec(h, "COMMIT"), SQLITE_OK);
	assert_int_equal(count_in_copy(), 60);
	sqlite3_close(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_few_writes),
		cmocka_unit_test(test_spilled_pages),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_full_disk_at_a_read),
	};
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
