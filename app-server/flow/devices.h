/* What events need to know of devices, with the AppSKey of the session in use: read in batches, kept in memory,
 * bounded. An entry is dropped when the API changes something (as_devices_forget) and is read again after half a minute
 * anyhow, since another process may work on the same database. The only place besides the join server where AppSKeys
 * live. */
#pragma once

#include <stdalign.h>

#include "app-server/domain/event.h"
#include "common/base/list.h"

struct as;
struct as_devices;
struct as_device_kind;

struct as_device {
	struct as_event_device text;
	uint64_t dev_eui;
	struct lw_uuid tenant_id;
	uint8_t session_key_id[32];
	size_t session_key_id_len; /* 0: no session was asked for */
	bool has_key;
	struct lw_key app_s_key;
	bool has_old_sessions;   /* others than this one are stored */
	int64_t stream_until_ns; /* until then its stream in Redis does not expire */
	/* Internal. */
	unsigned refs;
	int64_t read_ns;
	struct lw_list lru;
	struct as_device_kind *kind; /* what `text` shares with others */
	struct lw_arena mem;
	alignas(16) uint8_t inline_mem[]; /* its own part of `text` */
};

/* In memory of the caller. */
struct as_device_ask {
	uint64_t dev_eui;
	struct lw_span session_key_id; /* n at most 32; empty: the key does not matter */
	struct as_device *dev;         /* out: a reference, or NULL for an unknown device */
	void *arg;
};

struct as_devices *as_devices_new(struct as *as);
/* Queries that are under way are answered by sql_free() or here never: the database goes first. */
void as_devices_free(struct as_devices *d);
/* A reference, or NULL: not in memory, or too old, or with another session. */
struct as_device *as_devices_find(struct as_devices *d, uint64_t dev_eui, struct lw_span session_key_id);
/* err 0: every ask has its answer. Otherwise the database is away: nothing is known. Frees nothing. */
typedef void as_devices_fn(void *arg, int err, struct as_device_ask **v, size_t n);
/* One statement for all. The array is copied. */
void as_devices_fetch(struct as_devices *d, struct as_device_ask **v, size_t n, as_devices_fn *fn, void *arg);
void as_device_unref(struct as_device *dev);

/* Something that events show has changed; dev_eui NULL: it may concern any device. */
void as_devices_forget(struct as_devices *d, const char *dev_eui);
size_t as_devices_count(const struct as_devices *d);
