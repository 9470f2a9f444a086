/* Inside of the integrations' spool. */
#pragma once

#include "app-server/as.h"
#include "app-server/integration/kind.h"
#include "app-server/integration/lane.h"
#include "app-server/integration/outlets.h"
#include "common/base/backoff.h"
#include "common/io/sql.h"

#define AS_OUTLET_WINDOW 64      /* rows of one endpoint in memory */
#define AS_OUTLET_MAX_ROWS 16384 /* of all endpoints */
#define AS_OUTLET_READ_MAX 64    /* endpoints in one statement */
#define AS_OUTLET_BEAT_MS 2000   /* how often a replica says that it lives */
#define AS_OUTLET_STALE_MS 9000  /* silent for so long: another one takes over */
#define AS_OUTLET_LEASE_MS 6000  /* without a successful beat for so long: it stops by itself */
#define AS_OUTLET_ERROR_TEXT 160

/* An application that has integrations. */
struct as_outlet_app {
	struct lw_list endpoints;
	uint64_t mark; /* of the refresh, or of the change, that saw it last */
};

struct as_endpoint {
	struct as_outlets *o;
	int64_t id;
	struct as_outlet_app *app;
	struct lw_list app_node;
	char application_id[LW_UUID_TEXT];
	char *target;
	char *config;
	size_t config_len;
	int64_t version;
	const struct as_outlet_kind *kind;
	size_t kind_index;
	uint64_t mark; /* of the refresh that saw it last */

	/* Lease. */
	char *owner;
	int64_t beat;
	int64_t beat_seen_ns; /* when it was seen to change */
	bool mine;

	/* Spool. */
	struct as_lanes lanes;
	int64_t cursor;          /* rows up to it have been read */
	uint64_t epoch;          /* raised when the cursor goes back: answers to earlier reads do not count */
	size_t counted;          /* queued rows that o->n_rows knows of */
	bool dirty;              /* there may be rows to read */
	struct lw_list due_node; /* in o->due: to be pumped */

	/* Delivery. */
	void *state; /* the kind's; NULL: not open */
	bool broken; /* its configuration cannot be used */
	unsigned in_flight;
	unsigned failures;     /* in a row */
	int64_t down_until_ns; /* 0: not down */
	int64_t last_ok_ns;
	struct lw_backoff backoff;
	struct rt_timer timer;

	/* What the API shows; written with the beat. */
	int64_t delivered; /* not written yet */
	int64_t last_ok_us, failing_since_us, next_us, last_error_us;
	char last_error[AS_OUTLET_ERROR_TEXT];
	int64_t oldest_us; /* of what waits; 0: nothing */
};

struct as_settle {
	int64_t endpoint_id, seq;
	bool dead;
	int64_t attempts, status;
	char error[AS_OUTLET_ERROR_TEXT];
};

struct as_outlets {
	struct as *as;
	char owner[96];
	struct lw_map endpoints;     /* id → struct as_endpoint */
	struct lw_bmap applications; /* id → struct as_outlet_app */
	bool started, loaded, stopping;
	bool refreshing, refresh_again;
	uint64_t mark;
	int64_t lease_until_ns;
	struct lw_list due;
	bool reading;
	struct as_settle *settle; /* to be committed */
	size_t n_settle, cap_settle;
	struct as_settle *settling; /* being committed */
	size_t n_settling;
	bool settle_held; /* after a failure, until the timer */
	bool beat_soon, beating, polling, pruning;
	struct lw_list intake; /* batches being written */
	size_t n_rows;
	struct rt_timer beat_timer, poll_timer, settle_timer, prune_timer;
	struct rt_tick *tick;
	void (*stop_done)(void *arg);
	void *stop_arg;
	struct rt_metric *delivered, *retried, *dead, *dropped, *written, *waiting_age, *failing, *known;
};

/* outlets.c */
void as_outlets_refresh(struct as_outlets *o);

/* run.c */
void as_endpoint_init(struct as_outlets *o, struct as_endpoint *e);
/* Begins to serve it. */
void as_endpoint_take(struct as_endpoint *e);
/* Stops, forgets what is in memory. */
void as_endpoint_leave(struct as_endpoint *e);
void as_endpoint_free(struct as_endpoint *e);
/* Something may be there to do: at the next tick. */
void as_endpoint_wake(struct as_endpoint *e);
void as_outlets_run(void *arg);
void as_outlets_settle_again(struct rt_timer *t, void *arg);

/* intake.c */
void as_intake_free(struct as_outlets *o);

/* prune.c */
void as_outlets_prune(struct rt_timer *t, void *arg);
