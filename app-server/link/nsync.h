/* The way of changes to the network-server, so that both sides agree at last whatever fails in between.
 *
 * A put (create or update): intent rows are committed; the network-server applies the new state; the change is
 * committed together with the removal of the intents. A delete: rows and intents are committed in one transaction, then
 * the network-server hears of it. Every intent left over, also by an earlier process, is settled by pushing what the
 * database says then. One cycle runs at a time and takes along everything that waits; operations on one object never
 * share a cycle. */
#pragma once

#include "common/base/list.h"
#include "common/io/sql.h"
#include "common/runtime/daemon.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

struct as;
struct as_nsync;

#define AS_KIND_GATEWAY "gateway"
#define AS_KIND_PROFILE "device_profile"
#define AS_KIND_DEVICE "device"
#define AS_KIND_MULTICAST "multicast_group"
/* Ids: "group/eui". */
#define AS_KIND_MULTICAST_DEVICE "multicast_device"
#define AS_KIND_MULTICAST_GATEWAY "multicast_gateway"

/* One operation, in memory of the caller until `done`. */
struct as_nsop {
	const char *kind;
	const char *id;
	/* Put: the new state. NULL: a delete. */
	Longwave__Ns__V1__Change *change;
	/* Put: a batch statement with RETURNING {b.n} (cols "l"): one row that `bind` appends. No row back: `miss`, or
	 * LW_ERANGE. INSERT … SELECT … FROM {batch} cannot return b.n: set no_return. */
	const struct sql_stmt *stmt;
	bool no_return;
	int miss;
	/* Operations with the same text never share a cycle. NULL: kind and id only. An INSERT that is alone in its
	 * statement for that reason may RETURN 0 instead of b.n. */
	const char *exclusive;
	void (*bind)(const struct as_nsop *op, struct sql_params *p);
	/* Put, may be NULL: what else is in the transaction, before `stmt`. Where it leaves intents it sets `leaves`
	 * (from a result): the network-server hears of them before `done`. */
	void (*also)(struct as_nsop *op, struct sql_tx *tx);
	bool leaves;
	/* Delete: adds its statements, the intents among them. */
	void (*build)(const struct as_nsop *op, struct sql_tx *tx);
	/* `err` 0; LW_EUNAVAILABLE: network-server or database away; LW_EPRECONDITION: refused by the network-server;
	 * LW_ERANGE: no such row; else of the database. */
	void (*done)(struct as_nsop *op, const struct sql_outcome *o);
	void *arg;
	struct lw_list node; /* internal from here */
	size_t row;
	bool hit;
};

struct as_nsync *as_nsync_new(struct as *as);
/* Before the database is freed: nothing more is begun. Operations that wait are ended by as_nsync_free(). */
void as_nsync_stop(struct as_nsync *s);
/* Operations that wait end with LW_ECANCELLED. */
void as_nsync_free(struct as_nsync *s);
/* The database is there: settle what an earlier process left. */
void as_nsync_start(struct as_nsync *s);
/* Another replica is gone: what it left is settled once that is certain. */
void as_nsync_later(struct as_nsync *s);
void as_nsync_submit(struct as_nsync *s, struct as_nsop *op);
/* Operations waiting or under way. */
size_t as_nsync_pending(const struct as_nsync *s);
