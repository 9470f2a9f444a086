/* A VFS in front of SQLite's own. Everything but the write-ahead log goes straight to that one. What is written to the
 * log waits in a buffer as long as the pieces follow each other, and goes to the file before anything else happens to
 * it: a sync, a read, a question for its size. Other connections read no further than the log's index says, which is
 * written after the sync. */
#include "common/io/sql_wal.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "common/base/xmalloc.h"

/* SQLite's own writing takes less than 128 KiB at a time. */
#define GATHER_BYTES (120 << 10)

struct wal {
	sqlite3_file base; /* SQLite sees this */
	uint8_t *p;        /* GATHER_BYTES; NULL until something is written */
	int n;
	sqlite3_int64 at; /* where in the file p[0] belongs */
	sqlite3_file real[];
};

/* What could not be written stays. */
static int flush(struct wal *w)
{
	int rc = w->n ? w->real->pMethods->xWrite(w->real, w->p, w->n, w->at) : SQLITE_OK;
	if (rc == SQLITE_OK)
		w->n = 0;
	return rc;
}

/* On behalf of a write or a sync, after whose failure SQLite rolls the transaction back: what could not be written is
 * given up, as it would be without us. After a read that failed a transaction may go on, and needs what it wrote. */
static int flush_or_drop(struct wal *w)
{
	int rc = flush(w);
	w->n = 0;
	return rc;
}

static int wal_close(sqlite3_file *f)
{
	struct wal *w = (void *)f;
	int rc = flush(w);
	int closed = w->real->pMethods->xClose(w->real);
	free(w->p);
	w->p = NULL;
	return rc ? rc : closed;
}

static int wal_read(sqlite3_file *f, void *out, int n, sqlite3_int64 at)
{
	struct wal *w = (void *)f;
	int rc = flush(w);
	return rc ? rc : w->real->pMethods->xRead(w->real, out, n, at);
}

static int wal_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	struct wal *w = (void *)f;
	if (w->n && (at != w->at + w->n || n > GATHER_BYTES - w->n)) {
		int rc = flush_or_drop(w);
		if (rc)
			return rc;
	}
	if (n > GATHER_BYTES)
		return w->real->pMethods->xWrite(w->real, p, n, at);
	if (!w->p)
		w->p = lw_xmalloc(GATHER_BYTES);
	if (!w->n)
		w->at = at;
	memcpy(w->p + w->n, p, (size_t)n);
	w->n += n;
	return SQLITE_OK;
}

static int wal_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct wal *w = (void *)f;
	int rc = flush(w);
	return rc ? rc : w->real->pMethods->xTruncate(w->real, size);
}

static int wal_sync(sqlite3_file *f, int flags)
{
	struct wal *w = (void *)f;
	int rc = flush_or_drop(w);
	return rc ? rc : w->real->pMethods->xSync(w->real, flags);
}

static int wal_size(sqlite3_file *f, sqlite3_int64 *size)
{
	struct wal *w = (void *)f;
	int rc = flush(w);
	return rc ? rc : w->real->pMethods->xFileSize(w->real, size);
}

static int wal_lock(sqlite3_file *f, int level)
{
	struct wal *w = (void *)f;
	return w->real->pMethods->xLock(w->real, level);
}

static int wal_unlock(sqlite3_file *f, int level)
{
	struct wal *w = (void *)f;
	return w->real->pMethods->xUnlock(w->real, level);
}

static int wal_reserved(sqlite3_file *f, int *out)
{
	struct wal *w = (void *)f;
	return w->real->pMethods->xCheckReservedLock(w->real, out);
}

static int wal_control(sqlite3_file *f, int op, void *arg)
{
	struct wal *w = (void *)f;
	return w->real->pMethods->xFileControl(w->real, op, arg);
}

static int wal_sector(sqlite3_file *f)
{
	struct wal *w = (void *)f;
	return w->real->pMethods->xSectorSize(w->real);
}

static int wal_traits(sqlite3_file *f)
{
	struct wal *w = (void *)f;
	return w->real->pMethods->xDeviceCharacteristics(w->real);
}

static const sqlite3_io_methods METHODS = {
	.iVersion = 1,
	.xClose = wal_close,
	.xRead = wal_read,
	.xWrite = wal_write,
	.xTruncate = wal_truncate,
	.xSync = wal_sync,
	.xFileSize = wal_size,
	.xLock = wal_lock,
	.xUnlock = wal_unlock,
	.xCheckReservedLock = wal_reserved,
	.xFileControl = wal_control,
	.xSectorSize = wal_sector,
	.xDeviceCharacteristics = wal_traits,
};

static sqlite3_vfs *below(sqlite3_vfs *v)
{
	return v->pAppData;
}

static int on_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
	sqlite3_vfs *real = below(v);
	if (!(flags & SQLITE_OPEN_WAL))
		return real->xOpen(real, name, f, flags, out_flags);
	struct wal *w = (void *)f;
	*w = (struct wal){0};
	int rc = real->xOpen(real, name, w->real, flags, out_flags);
	if (rc == SQLITE_OK)
		w->base.pMethods = &METHODS;
	else if (w->real->pMethods)
		w->real->pMethods->xClose(w->real);
	return rc;
}

static int on_delete(sqlite3_vfs *v, const char *name, int sync)
{
	return below(v)->xDelete(below(v), name, sync);
}

static int on_access(sqlite3_vfs *v, const char *name, int flags, int *out)
{
	return below(v)->xAccess(below(v), name, flags, out);
}

static int on_path(sqlite3_vfs *v, const char *name, int n, char *out)
{
	return below(v)->xFullPathname(below(v), name, n, out);
}

static int on_random(sqlite3_vfs *v, int n, char *out)
{
	return below(v)->xRandomness(below(v), n, out);
}

static int on_sleep(sqlite3_vfs *v, int us)
{
	return below(v)->xSleep(below(v), us);
}

static int on_time(sqlite3_vfs *v, double *out)
{
	return below(v)->xCurrentTime(below(v), out);
}

static int on_last_error(sqlite3_vfs *v, int n, char *out)
{
	return below(v)->xGetLastError(below(v), n, out);
}

static int on_time_ms(sqlite3_vfs *v, sqlite3_int64 *out)
{
	return below(v)->xCurrentTimeInt64(below(v), out);
}

/* SQLite keeps it in a list of its own, for the life of the process. */
static sqlite3_vfs vfs = {
	.iVersion = 2,
	.zName = "longwave-wal",
	.xOpen = on_open,
	.xDelete = on_delete,
	.xAccess = on_access,
	.xFullPathname = on_path,
	.xRandomness = on_random,
	.xSleep = on_sleep,
	.xCurrentTime = on_time,
	.xGetLastError = on_last_error,
	.xCurrentTimeInt64 = on_time_ms,
};

static void register_once(void)
{
	sqlite3_vfs *real = sqlite3_vfs_find(NULL);
	if (!real || real->iVersion < 2)
		return;
	vfs.pAppData = real;
	vfs.mxPathname = real->mxPathname;
	vfs.szOsFile = (int)sizeof(struct wal) + real->szOsFile;
	sqlite3_vfs_register(&vfs, 0);
}

const char *sql_wal_vfs(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, register_once);
	return sqlite3_vfs_find(vfs.zName) ? vfs.zName : NULL;
}
