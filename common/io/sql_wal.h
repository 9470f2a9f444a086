/* Fewer and larger writes to SQLite's write-ahead log. SQLite writes two pieces for each page of a transaction, a
 * header of 24 bytes and the page; this hands a run of them to the kernel as one when they are to be synced. */
#pragma once

/* Registers it with SQLite once in a process; NULL: not possible, the default is to be used. Only for connections with
 * synchronous=FULL: there each commit syncs the log before others may look at it, so nothing in memory is ever missed.
 */
const char *sql_wal_vfs(void);
