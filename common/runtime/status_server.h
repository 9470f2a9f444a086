/* A small HTTP/1.0 responder for metrics and health: GET of a fixed path, answer, close. Never for anything that a user
 * or a device reaches. */
#pragma once

#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/runtime/loop.h"

struct rt_status_server;

struct rt_status_answer {
	int status; /* HTTP status */
	const char *type;
	struct lw_buf body;
};

/* Fills the answer for a path; leaves status 404 for one it does not know. */
typedef void rt_status_fn(void *arg, const char *path, struct rt_status_answer *answer);

/* `bind` is address:port, [v6]:port or :port (all addresses); port 0 takes a free one. */
int rt_status_server_new(struct rt_status_server **out, struct rt_loop *loop, const char *bind, rt_status_fn *fn,
			 void *arg, struct lw_diag *diag);
unsigned rt_status_server_port(const struct rt_status_server *s);
void rt_status_server_free(struct rt_status_server *s);

/* Splits "address:port" (see above) into a zero-terminated address and a number. LW_EINVAL. */
int rt_bind_parse(const char *text, char *host, size_t cap, unsigned *port);
