/* Method table and transport-independent calls. */
#include "common/io/grpc_call.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_frame.h"

#define ARENA_INLINE 1536
#define ARENA_MAX_DEFAULT ((size_t)64 << 20)
#define QUEUE_HIGH_DEFAULT ((size_t)256 << 10)

/* --- method table --- */

struct grpc_methods {
	struct lw_bmap by_path;
	struct grpc_method **rows;
	size_t n;
	grpc_handler_fn *fallback;
	void *fallback_arg;
};

struct grpc_methods *grpc_methods_new(void)
{
	struct grpc_methods *m = lw_xcalloc(1, sizeof(*m));
	lw_bmap_init(&m->by_path);
	return m;
}

void grpc_methods_free(struct grpc_methods *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->n; i++) {
		free((char *)m->rows[i]->path);
		free(m->rows[i]);
	}
	free(m->rows);
	lw_bmap_deinit(&m->by_path);
	free(m);
}

int grpc_methods_add(struct grpc_methods *m, const struct grpc_method *method)
{
	BUG_ON(!method->path || !method->fn || !method->input || !method->output);
	if (grpc_methods_find(m, method->path))
		return LW_EEXISTS;
	struct grpc_method *row = lw_xmemdup(method, sizeof(*method));
	row->path = lw_xstrdup(method->path);
	m->rows = lw_xreallocarray(m->rows, m->n + 1, sizeof(struct grpc_method *));
	m->rows[m->n++] = row;
	lw_bmap_put(&m->by_path, lw_span_str(row->path), row);
	return 0;
}

const struct grpc_method *grpc_methods_find(const struct grpc_methods *m, const char *path)
{
	return lw_bmap_find(&m->by_path, lw_span_str(path));
}

void grpc_methods_set_fallback(struct grpc_methods *m, grpc_handler_fn *fn, void *arg)
{
	m->fallback = fn;
	m->fallback_arg = arg;
}

const struct grpc_method *grpc_methods_next(const struct grpc_methods *m, size_t *it)
{
	return *it < m->n ? m->rows[(*it)++] : NULL;
}

/* --- calls --- */

struct grpc_call {
	unsigned refs;
	bool started;
	bool finished;
	bool cancelled;
	bool answered;    /* one message was sent */
	bool half_closed; /* by the peer */
	bool paused;
	bool blocked; /* writable() said false */
	bool has_method;
	struct grpc_method method; /* a copy: the table may go before the call */
	grpc_handler_fn *fn;
	void *fn_arg;
	struct grpc_local t; /* the transport; texts point into the arena */
	const struct grpc_call_events *ev;
	void *user;
	struct lw_arena arena;
	struct lw_arena msg_arena; /* messages of a client stream, reset after each */
	uint8_t inline_mem[ARENA_INLINE];
};

static const char *arena_text(struct lw_arena *a, const char *s)
{
	const char *copy = lw_arena_strdup(a, s);
	return copy ? copy : "";
}

static void copy_metadata(struct grpc_call *c, const struct grpc_local *l)
{
	struct grpc_metadata *md = lw_arena_calloc(&c->arena, l->n_metadata, sizeof(*md));
	c->t.metadata = md;
	c->t.n_metadata = md ? l->n_metadata : 0;
	for (size_t i = 0; i < c->t.n_metadata; i++) {
		md[i].name = arena_text(&c->arena, l->metadata[i].name);
		md[i].value = arena_text(&c->arena, l->metadata[i].value);
	}
}

struct grpc_call *grpc_call_new(const struct grpc_methods *m, const struct grpc_local *l)
{
	struct grpc_call *c = lw_xmalloc(sizeof(*c));
	memset(c, 0, offsetof(struct grpc_call, inline_mem));
	c->refs = 1;
	size_t max = l->arena_max ? l->arena_max : ARENA_MAX_DEFAULT;
	lw_arena_init(&c->arena, c->inline_mem, sizeof(c->inline_mem), max);
	lw_arena_init(&c->msg_arena, NULL, 0, max);
	c->t = *l;
	if (!c->t.queue_high)
		c->t.queue_high = QUEUE_HIGH_DEFAULT;
	c->t.path = arena_text(&c->arena, l->path);
	c->t.peer = arena_text(&c->arena, l->peer ? l->peer : "local");
	c->t.transport = l->transport ? l->transport : "local";
	copy_metadata(c, l);
	const struct grpc_method *row = grpc_methods_find(m, l->path);
	if (row) {
		c->method = *row;
		c->method.path = c->t.path;
		c->has_method = true;
		c->fn = row->fn;
		c->fn_arg = row->arg;
	} else {
		c->fn = m->fallback;
		c->fn_arg = m->fallback_arg;
	}
	return c;
}

struct grpc_call *grpc_call_ref(struct grpc_call *c)
{
	BUG_ON(c->refs == 0);
	c->refs++;
	return c;
}

void grpc_call_unref(struct grpc_call *c)
{
	BUG_ON(c->refs == 0);
	if (--c->refs > 0)
		return;
	lw_arena_deinit(&c->msg_arena);
	lw_arena_deinit(&c->arena);
	free(c);
}

/* The start of every kind; after it the handler owes a finish. */
static void call_begin(struct grpc_call *c)
{
	BUG_ON(c->started);
	c->started = true;
	grpc_call_ref(c);
}

void grpc_call_start(struct grpc_call *c, const ProtobufCMessage *req)
{
	grpc_call_ref(c);
	call_begin(c);
	if (!c->has_method) {
		if (c->fn)
			c->fn(c, NULL, c->fn_arg);
		else
			grpc_call_finishf(c, GRPC_UNIMPLEMENTED, "unknown method %s", c->t.path);
	} else if (c->method.client_streaming) {
		c->fn(c, NULL, c->fn_arg);
		if (req) {
			grpc_call_push(c, req);
			grpc_call_half_close(c);
		}
	} else if (!req) {
		grpc_call_finish(c, GRPC_INVALID_ARGUMENT, "the request is missing");
	} else {
		c->half_closed = true;
		c->fn(c, req, c->fn_arg);
	}
	grpc_call_unref(c);
}

void grpc_call_start_bytes(struct grpc_call *c, struct lw_span bytes)
{
	const ProtobufCMessage *req = NULL;
	if (c->has_method) {
		req = grpc_unpack(c->method.input, bytes, &c->arena);
		if (!req) {
			call_begin(c);
			grpc_call_finish(c, GRPC_INTERNAL, "the request cannot be decoded");
			return;
		}
	}
	grpc_call_start(c, req);
}

int grpc_call_push(struct grpc_call *c, const ProtobufCMessage *msg)
{
	if (c->finished || c->cancelled || c->half_closed)
		return LW_ECLOSED;
	if (c->paused)
		return LW_EAGAIN;
	grpc_call_ref(c);
	if (c->ev && c->ev->message)
		c->ev->message(c, msg);
	grpc_call_unref(c);
	return 0;
}

int grpc_call_push_bytes(struct grpc_call *c, struct lw_span bytes)
{
	if (c->finished || c->cancelled || c->half_closed)
		return LW_ECLOSED;
	if (c->paused)
		return LW_EAGAIN;
	if (!c->has_method)
		return 0;
	const ProtobufCMessage *msg = grpc_unpack(c->method.input, bytes, &c->msg_arena);
	if (!msg)
		return LW_EPROTO;
	grpc_call_ref(c);
	int rc = grpc_call_push(c, msg);
	lw_arena_reset(&c->msg_arena);
	grpc_call_unref(c);
	return rc;
}

void grpc_call_half_close(struct grpc_call *c)
{
	if (c->half_closed)
		return;
	c->half_closed = true;
	if (c->finished || c->cancelled || !c->ev || !c->ev->half_close)
		return;
	grpc_call_ref(c);
	c->ev->half_close(c);
	grpc_call_unref(c);
}

void grpc_call_cancel(struct grpc_call *c)
{
	if (c->finished || c->cancelled)
		return;
	c->cancelled = true;
	if (!c->started || !c->ev || !c->ev->cancel)
		return;
	grpc_call_ref(c);
	c->ev->cancel(c);
	grpc_call_unref(c);
}

void grpc_call_drained(struct grpc_call *c)
{
	if (!c->blocked || c->finished || c->cancelled)
		return;
	c->blocked = false;
	if (!c->ev || !c->ev->writable)
		return;
	grpc_call_ref(c);
	c->ev->writable(c);
	grpc_call_unref(c);
}

/* --- for handlers --- */

void grpc_call_set_events(struct grpc_call *c, const struct grpc_call_events *ev)
{
	c->ev = ev;
}

void grpc_call_set_user(struct grpc_call *c, void *user)
{
	c->user = user;
}

void *grpc_call_user(const struct grpc_call *c)
{
	return c->user;
}

const char *grpc_call_path(const struct grpc_call *c)
{
	return c->t.path;
}

const struct grpc_method *grpc_call_method(const struct grpc_call *c)
{
	return c->has_method ? &c->method : NULL;
}

const char *grpc_call_metadata(const struct grpc_call *c, const char *name)
{
	for (size_t i = 0; i < c->t.n_metadata; i++) {
		if (strcmp(c->t.metadata[i].name, name) == 0)
			return c->t.metadata[i].value;
	}
	return NULL;
}

bool grpc_call_metadata_next(const struct grpc_call *c, size_t *it, const char **name, const char **value)
{
	if (*it >= c->t.n_metadata)
		return false;
	*name = c->t.metadata[*it].name;
	*value = c->t.metadata[*it].value;
	(*it)++;
	return true;
}

const char *grpc_call_peer(const struct grpc_call *c)
{
	return c->t.peer;
}

const char *grpc_call_transport(const struct grpc_call *c)
{
	return c->t.transport;
}

int64_t grpc_call_deadline_ns(const struct grpc_call *c)
{
	return c->t.deadline_ns ? c->t.deadline_ns : INT64_MAX;
}

struct lw_arena *grpc_call_arena(struct grpc_call *c)
{
	return &c->arena;
}

int grpc_call_send(struct grpc_call *c, const ProtobufCMessage *msg)
{
	if (c->finished)
		return LW_EPRECONDITION;
	if (c->cancelled)
		return LW_ECANCELLED;
	if (c->answered && c->has_method && !c->method.server_streaming)
		return LW_EPRECONDITION;
	int rc = c->t.message(c->t.arg, msg);
	if (rc == 0)
		c->answered = true;
	return rc;
}

void grpc_call_finish(struct grpc_call *c, int status, const char *message)
{
	BUG_ON(!c->started);
	if (c->finished)
		return;
	c->finished = true;
	c->ev = NULL;
	if (!c->cancelled) {
		if (status == GRPC_OK && !c->answered && c->has_method && !c->method.server_streaming) {
			status = GRPC_INTERNAL;
			message = "the method gave no answer";
		}
		c->t.finish(c->t.arg, status, message ? message : "");
	}
	grpc_call_unref(c);
}

void grpc_call_finishf(struct grpc_call *c, int status, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	grpc_call_finish(c, status, text);
}

void grpc_call_reply(struct grpc_call *c, const ProtobufCMessage *msg)
{
	int rc = grpc_call_send(c, msg);
	if (rc == 0)
		grpc_call_finish(c, GRPC_OK, NULL);
	else if (rc == LW_EBIG)
		grpc_call_finish(c, GRPC_RESOURCE_EXHAUSTED, "the answer is too large");
	else
		grpc_call_finish(c, grpc_status_from_err(rc), lw_err_text(rc));
}

bool grpc_call_cancelled(const struct grpc_call *c)
{
	return c->cancelled;
}

bool grpc_call_finished(const struct grpc_call *c)
{
	return c->finished;
}

size_t grpc_call_queued(const struct grpc_call *c)
{
	if (c->finished || c->cancelled || !c->t.queued)
		return 0;
	return c->t.queued(c->t.arg);
}

bool grpc_call_writable(struct grpc_call *c)
{
	if (c->finished || c->cancelled)
		return false;
	if (grpc_call_queued(c) <= c->t.queue_high)
		return true;
	c->blocked = true;
	return false;
}

void grpc_call_pause(struct grpc_call *c, bool paused)
{
	if (c->paused == paused || c->finished || c->cancelled)
		return;
	c->paused = paused;
	if (c->t.pause)
		c->t.pause(c->t.arg, paused);
}
