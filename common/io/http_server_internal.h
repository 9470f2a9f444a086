/* What the parts of the HTTP server share. */
#pragma once

#include <microhttpd.h>

#include "common/base/list.h"
#include "common/io/http_server.h"
#include "common/io/net_addr.h"
#include "common/runtime/loop.h"

/* Longest single write to a stream; what it may have queued is the configured limit and one of these. */
#define HTTP_MAX_STREAM_WRITE ((size_t)80 << 20)

struct http_server {
	struct rt_loop *loop;
	struct http_server_config cfg;
	struct MHD_Daemon *mhd;
	struct rt_watch *watch;
	struct rt_tick *tick;
	struct rt_timer timer;
	int port;
	bool need_run;
	bool running; /* inside MHD_run */
	bool stopping;
	bool draining;
	struct lw_list requests;
	struct lw_list drained; /* requests whose queue became empty */
};

enum request_state {
	REQ_READING,  /* the body is coming */
	REQ_REFUSED,  /* 413 was sent */
	REQ_WAITING,  /* handed to the user, no answer yet */
	REQ_ANSWERED, /* the user is done with it */
	REQ_STREAM,   /* the user writes */
};

struct http_request {
	struct lw_list node;
	struct http_server *server; /* NULL once MHD let go of it */
	struct MHD_Connection *conn;
	enum request_state state;
	bool in_handler;
	bool suspended;
	bool queued; /* the response was given to MHD */
	bool closed; /* client gone */
	bool ended;  /* stream: no more will be written */
	bool dropped;
	char method[16];
	char *path;
	char peer[NET_ADDR_LEN];
	struct lw_buf body;
	size_t body_seen;
	struct MHD_Response *response;
	int status;
	struct lw_buf stream;
	size_t stream_off;
	struct rt_watch *hangup;
	void (*on_close)(struct http_request *r, void *arg);
	void *on_close_arg;
	void (*on_drain)(struct http_request *r, void *arg);
	void *on_drain_arg;
	struct lw_list drain_node;
	void *user;
};

/* http_request.c */
struct http_request *http_request_new(struct http_server *s, struct MHD_Connection *conn, const char *method,
				      const char *path);
void http_request_free(struct http_request *r);
/* Lets MHD look at a suspended request again, in this tick. */
void http_request_resume(struct http_request *r);
/* The client has gone: tells the user, once, if it is still at work on the request. */
void http_request_tell_close(struct http_request *r);
/* Answers with `size` bytes of a regular file; takes fd. */
void http_respond_fd(struct http_request *r, int status, const struct http_header *headers, size_t n_headers, int fd,
		     uint64_t size);
