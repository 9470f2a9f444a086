/* HTTP/1.1 server on the loop: REST, static files, server-sent events, the join server's endpoint. Answers come at once
 * or later; bodies and headers are bounded. Knows no route.
 *
 * Life of a request: the handler is called once with the whole body; the request is valid until it is answered with
 * exactly one of http_respond(), http_static_serve() or http_stream_begin()…http_stream_end(), also when the client has
 * gone (then the answer goes nowhere). Loop's thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

struct rt_loop;
struct http_server;
struct http_request;
struct http_static;

typedef void http_handler_fn(struct http_request *r, void *arg);

struct http_server_config {
	const char *bind; /* "0.0.0.0:8080", port 0: any */
	http_handler_fn *fn;
	void *arg;
	/* 0 means the default. */
	size_t max_body;          /* 413 above: 4 MiB */
	size_t max_headers;       /* request line and headers, 431 above: 32 KiB */
	uint32_t max_connections; /* 1024 */
	uint32_t idle_timeout_s;  /* of a kept connection without a request: 60 */
	size_t stream_limit;      /* bytes that may wait for a slow reader before it is dropped: 1 MiB */
};

struct http_header {
	const char *name;
	const char *value;
};

/* Binds and listens. 0, or an error with detail in `diag` (may be NULL). */
int http_server_new(struct rt_loop *loop, const struct http_server_config *config, struct http_server **out,
		    struct lw_diag *diag);
int http_server_port(const struct http_server *s);
/* Connections now. */
size_t http_server_connections(const struct http_server *s);
/* Accepts no new connections; kept ones are closed after their answer. */
void http_server_drain(struct http_server *s);
/* Closes everything. Requests not answered get their `close` callback and stay valid until they are answered. */
void http_server_free(struct http_server *s);

/* --- the request; all texts are borrowed until it is answered --- */

const char *http_request_method(const struct http_request *r); /* "GET" */
const char *http_request_path(const struct http_request *r);   /* percent-decoded, without the query */
/* First value of a query argument, decoded; NULL when absent, "" when it has no value. */
const char *http_request_query(const struct http_request *r, const char *name);
/* NULL when absent. Case does not matter. */
const char *http_request_header(const struct http_request *r, const char *name);
struct lw_span http_request_body(const struct http_request *r);
/* "192.0.2.7:51234" */
const char *http_request_peer(const struct http_request *r);
typedef void http_pair_fn(void *arg, const char *name, const char *value);
void http_request_each_query(const struct http_request *r, http_pair_fn *fn, void *arg);
void http_request_each_header(const struct http_request *r, http_pair_fn *fn, void *arg);
void http_request_set_user(struct http_request *r, void *user);
void *http_request_user(const struct http_request *r);
/* Watches for a client that goes before the answer is complete: called at most once, never after the answer was
 * given or ended. NULL stops watching. */
void http_request_on_close(struct http_request *r, void (*fn)(struct http_request *r, void *arg), void *arg);
bool http_request_closed(const struct http_request *r);

/* --- answers --- */

/* Copies everything. content_type may be NULL (no body). */
void http_respond(struct http_request *r, int status, const char *content_type, const void *body, size_t n,
		  const struct http_header *headers, size_t n_headers);
/* text/plain, for the plain cases. */
void http_respond_text(struct http_request *r, int status, const char *text);

/* A body of unknown length. */
void http_stream_begin(struct http_request *r, int status, const struct http_header *headers, size_t n_headers);
/* Queues. 0; LW_ECLOSED: client gone; LW_EFULL: more than stream_limit waited already: the client is dropped (on_close
 * is called later). One write may be larger than the limit. */
int http_stream_write(struct http_request *r, const void *p, size_t n);
/* Bytes queued, to hold a producer back instead of losing the client. */
size_t http_stream_queued(const struct http_request *r);
/* Called whenever the queue has become empty. */
void http_stream_on_drain(struct http_request *r, void (*fn)(struct http_request *r, void *arg), void *arg);
/* Sends what is queued and ends the answer; the request is invalid afterwards. */
void http_stream_end(struct http_request *r);

/* --- static files --- */

/* Serves files below `dir`: content type by name, ETag and 304, `<file>.gz` when the client takes it, a year of caching
 * for names with a content hash (below "assets/" or "name-<8 or more of [A-Za-z0-9_-]>.ext"), else revalidation.
 * Unknown paths without a dot in the last part get index.html (the page routes itself). LW_ENOTFOUND when there is no
 * such folder. */
int http_static_new(const char *dir, struct http_static **out);
void http_static_free(struct http_static *st);
/* Answers GET and HEAD (404 and 405 included). `path` is usually http_request_path(). */
void http_static_serve(struct http_static *st, struct http_request *r, const char *path);
