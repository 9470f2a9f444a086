/* One kind of integration: how an event gets to an endpoint. Everything else (spool, order, retries, dead letters,
 * replay, leases) is the same for all of them, in outlets.c. A new kind is a table of these functions, a row in
 * as_outlet_kinds[] and the handlers of its messages (api/integration.c). */
#pragma once

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/pb/schema.h"

struct as;

enum as_outlet_result {
	AS_OUTLET_DELIVERED,
	AS_OUTLET_RETRY,   /* may succeed later */
	AS_OUTLET_REFUSED, /* never will: a dead letter */
};

struct as_outlet_outcome {
	enum as_outlet_result result;
	bool answered; /* the endpoint is there, it is this event that it does not take */
	int status;    /* of the kind's own protocol; 0: none */
	uint32_t retry_after_ms;
	const char *text; /* why; never NULL, no secrets */
};

/* Exactly once for each send(), not from inside it, never after close(). */
typedef void as_outlet_done_fn(void *arg, const struct as_outlet_outcome *o);

struct as_outlet_item {
	const char *name;        /* "up" … */
	const char *idempotency; /* the same for every repetition of the event, and no other's */
	struct lw_span body;     /* the message of package integration, protobuf */
};

struct as_outlet_opts {
	struct as *as;
	const char *target;    /* the endpoint's address */
	struct lw_span config; /* the integration's message of package api, protobuf */
};

struct as_outlet_kind {
	int kind;         /* api.IntegrationKind */
	const char *name; /* metric label */
	/* NULL: the configuration cannot be used (the API lets none such in). */
	void *(*open)(const struct as_outlet_opts *o, struct lw_diag *diag);
	/* Requests under way are forgotten: no more callbacks. */
	void (*close)(void *state);
	/* 0, or a negative error: this event cannot be sent, `done` is not called. */
	int (*send)(void *state, const struct as_outlet_item *item, as_outlet_done_fn *done, void *arg);
};

extern const struct as_outlet_kind *const as_outlet_kinds[];
extern const size_t as_outlet_kinds_count;

extern const struct as_outlet_kind as_outlet_http;

/* The event as applications read it, JSON (contracts/integration.md §5). 0 or a negative error. */
int as_outlet_json(struct as *as, const struct as_outlet_item *item, struct lw_buf *out);
