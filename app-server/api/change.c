/* Calls that change what the network-server knows, and calls to it. */
#include <stdio.h>

#include "app-server/api/access.h"
#include "app-server/link/nsync.h"
#include "common/base/bug.h"
#include "common/io/grpc_client.h"

#define CALL_DEADLINE_MS 10000

static void on_done(struct as_nsop *op, const struct sql_outcome *o)
{
	struct as_call *c = op->arg;
	switch (o->err) {
	case 0:
		if (c->forget)
			as_access_forget(c->as->access);
		if (c->then_put)
			c->then_put(c);
		else
			as_reply_empty(c);
		return;
	case AS_ROW_MISSING:
		as_fail_missing(c, op->id);
		return;
	case LW_ELIMIT:
		as_fail(c, GRPC_INVALID_ARGUMENT, "Not allowed: the tenant has its maximum of %ss", c->what);
		return;
	case LW_EPRECONDITION:
		as_fail(c, GRPC_FAILED_PRECONDITION, "the network-server refuses: %s", o->diag.text);
		return;
	case LW_EUNAVAILABLE:
		as_fail(c, GRPC_UNAVAILABLE, "%s", o->diag.text[0] ? o->diag.text : "the database is not available");
		return;
	default:
		as_fail_sql(c, o, c->what);
	}
}

static struct as_nsop *new_op(struct as_call *c, const char *kind, const char *id, const char *what)
{
	struct as_nsop *op = LW_ARENA_NEW(c->arena, struct as_nsop);
	BUG_ON(!op);
	op->kind = kind;
	op->id = id;
	op->done = on_done;
	op->arg = c;
	c->what = what;
	return op;
}

void as_put(struct as_call *c, const char *kind, const char *id, Longwave__Ns__V1__Change *change,
	    const struct sql_stmt *stmt, bool returns, void (*bind)(const struct as_nsop *op, struct sql_params *p),
	    const char *what)
{
	struct as_nsop *op = new_op(c, kind, id, what);
	op->change = change;
	op->stmt = stmt;
	op->no_return = !returns;
	op->bind = bind;
	op->miss = c->miss;
	op->also = c->also;
	if (c->limited) {
		op->exclusive = "limited";
		op->miss = LW_ELIMIT;
	}
	as_nsync_submit(c->as->nsync, op);
}

void as_push(struct as_call *c, const char *kind, const char *id,
	     void (*build)(const struct as_nsop *op, struct sql_tx *tx), const char *what)
{
	struct as_nsop *op = new_op(c, kind, id, what);
	op->build = build;
	as_nsync_submit(c->as->nsync, op);
}

static void on_answer(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct as_call *c = arg;
	if (status != GRPC_OK)
		as_fail(c, status, "network-server: %s", message);
	else
		c->then_ns(c, resp);
}

static void on_answer_or_none(void *arg, int status, const char *message, const ProtobufCMessage *resp)
{
	struct as_call *c = arg;
	(void)message;
	c->then_ns(c, status == GRPC_OK ? resp : NULL);
}

static void ask(struct as_call *c, const char *method, const ProtobufCMessage *req,
		const ProtobufCMessageDescriptor *output, grpc_done_fn *done,
		void (*then)(struct as_call *c, const ProtobufCMessage *resp))
{
	char path[96];
	snprintf(path, sizeof(path), "/longwave.ns.v1.NetworkServer/%s", method);
	struct grpc_client_request r = {.path = path, .deadline_ms = CALL_DEADLINE_MS, .output = output};
	c->then_ns = then;
	grpc_client_call(c->as->ns, &r, req, done, c);
}

void as_ns_if(struct as_call *c, const char *method, const ProtobufCMessage *req,
	      const ProtobufCMessageDescriptor *output, void (*then)(struct as_call *c, const ProtobufCMessage *resp))
{
	ask(c, method, req, output, on_answer_or_none, then);
}

void as_ns(struct as_call *c, const char *method, const ProtobufCMessage *req, const ProtobufCMessageDescriptor *output,
	   void (*then)(struct as_call *c, const ProtobufCMessage *resp))
{
	ask(c, method, req, output, on_answer, then);
}
