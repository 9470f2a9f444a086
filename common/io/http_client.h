/* HTTP client on the loop: kept connections, bounded answers, a time limit for each request. Never blocks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

struct rt_loop;
struct http_client;

struct http_client_config {
	/* 0 means the default. */
	uint32_t max_connections_per_host; /* 16; further requests wait */
	uint32_t max_connections;          /* 256 kept */
	uint32_t max_pending;              /* 100000; more are refused with LW_ELIMIT */
};

struct http_client_request {
	const char *method; /* NULL: "GET", or "POST" with a body */
	const char *url;    /* http and https only */
	struct lw_span body;
	const char *content_type;
	const char *const *headers; /* "Name: value" */
	size_t n_headers;
	const char *want_header; /* of the answer, handed on in the response; NULL: none */
	uint32_t timeout_ms;     /* 0: 10000 */
	size_t max_response;     /* 0: 1 MiB */
	/* TLS; files, NULL: none, the system's authorities */
	const char *ca_file;
	const char *cert_file;
	const char *key_file;
	bool insecure;    /* do not check the peer; for tests */
	bool public_only; /* refuse addresses of private, local and reserved networks */
	bool follow;      /* follow up to 5 redirects */
};

struct http_client_response {
	int err;    /* 0, LW_ETIMEDOUT, LW_EUNAVAILABLE, LW_EBIG, LW_EINVAL (URL), LW_EAUTH (TLS), LW_ECANCELLED … */
	int status; /* 0 when there was no answer */
	const char *error; /* text of err, "" without one */
	struct lw_span body;
	const char *content_type; /* "" when absent */
	const char *header;       /* the one that was wanted, "" when absent */
	uint32_t retry_after_s;   /* 0 when absent */
	int64_t duration_us;
};

/* Exactly once per request, never before http_client_send() returned; the response is valid during the callback. */
typedef void http_client_done_fn(void *arg, const struct http_client_response *resp);

struct http_client *http_client_new(struct rt_loop *loop, const struct http_client_config *config);
/* Ends all requests with LW_ECANCELLED. */
void http_client_free(struct http_client *c);
/* Everything in `r` is copied. Returns an id for http_client_cancel(), never 0. */
uint64_t http_client_send(struct http_client *c, const struct http_client_request *r, http_client_done_fn *done,
			  void *arg);
/* Forgets a request: done is not called. */
void http_client_cancel(struct http_client *c, uint64_t id);
size_t http_client_pending(const struct http_client *c);
