/* What every API handler works with: the call with its known caller, database reads and failures in one line each.
 *
 * A handler is entered after authentication and the right named in its row of api/table.c was checked. It answers with
 * exactly one of as_reply(), as_reply_empty(), as_fail…(); everything it makes lies in the call's arena. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "app-server/as.h"
#include "app-server/domain/rights.h"
#include "common/io/grpc_call.h"
#include "common/io/sql.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

struct as_get;
struct as_list;
struct as_nsop;
struct as_rpc;

struct as_call {
	struct as *as;
	struct grpc_call *grpc;
	struct lw_arena *arena;
	const struct as_rpc *rpc;
	int64_t began_ns; /* monotonic */
	const void *req;  /* protobuf-c struct of the method's input */
	struct as_caller caller;
	struct lw_uuid tenant_id; /* owner of the object that the row names; zero: none */
	bool has_tenant;
	const char *object_id;  /* canonical text of the object's id (lower case), or "" */
	const char *object_id2; /* of the second id field, or "" */
	void *state;            /* the handler's own, across its waits */
	void (*then)(struct as_call *c, const struct sql_result *r);
	void (*then_ns)(struct as_call *c, const ProtobufCMessage *resp);
	/* After as_put(); NULL: reply empty. */
	void (*then_put)(struct as_call *c);
	const char *what; /* for "… exists already" */
	/* as_put() of something that is counted: the statement inserts nothing and returns nothing when the tenant has
	 * its maximum. */
	bool limited;
	void (*also)(struct as_nsop *op, struct sql_tx *tx); /* as_put(): as in struct as_nsop */
	int miss;    /* as_put(): the error when its statement finds no row; 0: AS_ROW_MISSING */
	bool forget; /* owners or rights changed: drop the cache once it is done */
	const struct as_get *get;
	struct as_list *list;
};

typedef void as_handler_fn(struct as_call *c);

/* What the id field of a row names, and so whose tenant the right is checked against. */
enum as_object_kind {
	AS_OBJ_NONE,
	AS_OBJ_TENANT,
	AS_OBJ_TENANT_OPTIONAL, /* may be empty: only those with a global right pass */
	AS_OBJ_USER,
	AS_OBJ_TENANT_USER, /* id field: tenant; second field: user */
	AS_OBJ_API_KEY,
	AS_OBJ_APPLICATION,
	AS_OBJ_DEVICE,
	AS_OBJ_GATEWAY,
	AS_OBJ_DEVICE_PROFILE,
	AS_OBJ_MULTICAST,
};

/* One RPC: a row in api/table.c. */
struct as_rpc {
	const char *path; /* "api.DeviceService/Get" */
	as_handler_fn *fn;
	enum as_object_kind kind;
	const char *field;  /* "device.dev_eui" */
	const char *field2; /* second id, see kinds */
	/* NULL: as in the route of the RPC (api/routes.c; "" there means no authentication). AS_RIGHT_OWN:
	 * authenticated, the handler checks the rest itself. */
	const char *right;
};

#define AS_RIGHT_OWN "-"

extern const struct as_rpc as_rpcs[];
extern const size_t as_rpcs_count;

/* Adds all rows to as->methods. */
int as_api_init(void *owner, const struct rt_daemon_env *env, struct lw_diag *diag);

void as_reply(struct as_call *c, const ProtobufCMessage *msg);
void as_reply_empty(struct as_call *c);
void as_fail(struct as_call *c, int grpc_status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* "Object does not exist (id: …)" */
void as_fail_missing(struct as_call *c, const char *id);
/* Of a transaction or query: words that help and no database's own. `what` is "device" etc. for duplicates. */
void as_fail_sql(struct as_call *c, const struct sql_outcome *o, const char *what);

/* Error of sql_tx_expect() that stands for "the object of the call has no row": told apart from a foreign key. */
#define AS_ROW_MISSING LW_ERANGE

/* Sends the query; `then` is entered with the result, unless the query fails (then the call is finished). */
void as_query(struct as_call *c, struct sql_query *q, void (*then)(struct as_call *c, const struct sql_result *r));
/* One text parameter. */
void as_query_text(struct as_call *c, const struct sql_stmt *stmt, const char *p,
		   void (*then)(struct as_call *c, const struct sql_result *r));
/* Commits; `then` is entered with NULL, unless the transaction fails. */
void as_commit(struct as_call *c, struct sql_tx *tx, void (*then)(struct as_call *c, const struct sql_result *r));

/* A second check inside a handler, against another tenant. True when allowed; otherwise the call is finished. */
bool as_allowed(struct as_call *c, const char *right, const struct lw_uuid *tenant_id);
/* The same without an end: only asks. */
bool as_may(const struct as_call *c, const char *right, const struct lw_uuid *tenant_id);
/* For handlers with a right of their own choice: NULL tenant and user allowed. */
bool as_allowed_object(struct as_call *c, const char *right, const struct as_object *o);

/* Ids from requests: canonical text in the arena, or NULL after as_fail(INVALID_ARGUMENT). `name` for the message. */
const char *as_uuid_arg(struct as_call *c, const char *text, const char *name);
const char *as_eui_arg(struct as_call *c, const char *text, const char *name);
/* The same where empty is allowed: gives 16 zeros. */
const char *as_eui_arg_optional(struct as_call *c, const char *text, const char *name);
/* 32 hex digits, lower case; empty gives zeros. */
const char *as_key_arg(struct as_call *c, const char *text, const char *name);
/* False after as_fail(). */
bool as_name_arg(struct as_call *c, const char *name);

int64_t as_now_us(const struct as *as);
const char *as_new_uuid(struct as_call *c);
/* "%…%" with %, _ and \ escaped; for LIKE … ESCAPE '\'. "%" for an empty search. */
const char *as_search_pattern(struct as_call *c, const char *search);

/* A list RPC: `count` gives the total, then `page` the rows, with limit and offset as its last two parameters. Both
 * have the parameters that `bind` puts. The answer has members total_count and result; `fields` names the members of an
 * item in the order of page's columns. */
struct as_list {
	const struct sql_stmt *count;
	const struct sql_stmt *page;
	void (*bind)(struct as_call *c, struct sql_params *p);
	const char *fields;
	const ProtobufCMessageDescriptor *response;
	/* Completes item i from its row; may be NULL. */
	void (*item)(struct as_call *c, const struct sql_result *r, size_t i, ProtobufCMessage *item);
	int64_t limit;
	int64_t offset;
};
/* `l` is copied. */
void as_list(struct as_call *c, const struct as_list *l);

/* A get RPC: one row; `member` is the sub-message filled from the columns by `member_fields`, the answer's own members
 * follow by `fields`. No row: NOT_FOUND with object_id. */
struct as_get {
	const struct sql_stmt *stmt; /* parameter: object_id */
	const ProtobufCMessageDescriptor *response;
	const char *member;
	const char *member_fields;
	const char *fields;
	/* Completes the answer; may be NULL. */
	void (*complete)(struct as_call *c, const struct sql_result *r, ProtobufCMessage *member,
			 ProtobufCMessage *msg);
};
/* `g` is borrowed (static const). */
void as_get(struct as_call *c, const struct as_get *g);

/* ---- changes that concern the network-server (link/nsync.h); `then` is entered once both sides have it ---- */

/* Create or update: the network-server first. `what` for messages; `stmt`, `bind` as in struct as_nsop, op->arg is the
 * call; `returns`: the statement gives back {b.n}. */
void as_put(struct as_call *c, const char *kind, const char *id, Longwave__Ns__V1__Change *change,
	    const struct sql_stmt *stmt, bool returns, void (*bind)(const struct as_nsop *op, struct sql_params *p),
	    const char *what);
/* Our database first, intents included, then the network-server is told: deletes and what concerns many objects.
 * Replies empty. `build` finds the call in op->arg. */
void as_push(struct as_call *c, const char *kind, const char *id,
	     void (*build)(const struct as_nsop *op, struct sql_tx *tx), const char *what);

/* A unary call to the network-server ("GetSession"); its errors are passed on. `resp` is valid inside `then`. */
void as_ns(struct as_call *c, const char *method, const ProtobufCMessage *req, const ProtobufCMessageDescriptor *output,
	   void (*then)(struct as_call *c, const ProtobufCMessage *resp));
/* The same for what may be missing: on an error `then` gets NULL. */
void as_ns_if(struct as_call *c, const char *method, const ProtobufCMessage *req,
	      const ProtobufCMessageDescriptor *output, void (*then)(struct as_call *c, const ProtobufCMessage *resp));

/* A stored column cannot be read: told as as_row_damaged() does, and the call ends with DATA_LOSS and the row's name.
 */
void as_fail_row(struct as_call *c, const char *table, const char *id, const char *column);
/* Takes a stored message apart; false after as_fail_row(). */
bool as_unpack(struct as_call *c, const ProtobufCMessageDescriptor *d, struct lw_span packed, const char *table,
	       const char *id, const char *column, ProtobufCMessage **out);

/* The network-server's region configurations, for as_region_config_arg(). */
void as_region_ask(struct as_call *c, void (*then)(struct as_call *c, const ProtobufCMessage *regions));
/* Of `region` (common.Region) and configured; false: the call was refused, with the names of those that are. */
bool as_region_config_arg(struct as_call *c, const ProtobufCMessage *regions, const char *id, uint32_t region);
