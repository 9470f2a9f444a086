/* One HTTP/2 connection over TCP (or memory, for tests and fuzzing), with or without TLS: moves bytes between an
 * nghttp2 session and the socket, batches writes, watches for silence. Shared by gRPC's server and client, for nobody
 * else. Knows no streams: the owner makes the session with its own callbacks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <nghttp2/nghttp2.h>
#include <uv.h>

#include "common/base/bytes.h"
#include "common/base/list.h"
#include "common/io/net_addr.h"

struct rt_loop;
struct tls_context;
struct tls_session;
struct grpc_h2;

#define GRPC_H2_READ_LEN (64u << 10)

struct grpc_h2_owner {
	/* TCP and TLS are up (client); the owner makes the session now. */
	void (*connected)(struct grpc_h2 *h, void *owner);
	/* After a read was given to the session: deliver what it brought. Not called once closed. */
	void (*received)(struct grpc_h2 *h, void *owner);
	/* The connection is of no more use: once, never after grpc_h2_close(). `h` must not be used afterwards. */
	void (*closed)(struct grpc_h2 *h, void *owner, const char *reason);
};

struct grpc_h2 {
	struct rt_loop *loop;
	nghttp2_session *session; /* made by the owner, deleted here */
	struct tls_session *tls;
	const struct grpc_h2_owner *ops;
	void *owner;          /* NULL once closed: nghttp2 callbacks then fail */
	struct lw_list dirty; /* in dirty_list while something may be to send */
	struct lw_list *dirty_list;
	uint8_t *read_mem; /* GRPC_H2_READ_LEN bytes, shared, the owner's */
	uv_tcp_t tcp;
	uv_connect_t connect_req;
	uv_write_t write_req;
	struct lw_buf plain_in;
	struct lw_buf plain_out;
	struct lw_buf out;    /* waits for the socket */
	struct lw_buf flight; /* belongs to write_req */
	bool has_tcp;
	bool up;
	bool in_flight;
	bool in_session; /* inside nghttp2: the session must not be deleted */
	bool uv_closed;
	bool closing;
	bool ping_out;
	int64_t last_rx_ns;
	int64_t ping_sent_ns;
	char peer[NET_ADDR_LEN];
};

/* Returns NULL when the connection is gone already. The session is to be made right after. */
struct grpc_h2 *grpc_h2_accept(struct rt_loop *loop, uv_stream_t *listener, struct tls_context *tls,
			       struct lw_list *dirty_list, uint8_t *read_mem, const struct grpc_h2_owner *ops);
struct grpc_h2 *grpc_h2_connect(struct rt_loop *loop, const struct sockaddr *to, struct tls_context *tls,
				const char *server_name, struct lw_list *dirty_list, uint8_t *read_mem,
				const struct grpc_h2_owner *ops, void *owner);
/* Without a socket: bytes by grpc_h2_feed(), answers in h->out. */
struct grpc_h2 *grpc_h2_memory(struct rt_loop *loop, struct lw_list *dirty_list, const struct grpc_h2_owner *ops);
/* Begins to read (a server's connection, once its session is there). */
void grpc_h2_start(struct grpc_h2 *h, void *owner);
/* Gives plain bytes to the session. False when the connection was closed by it. */
bool grpc_h2_feed(struct grpc_h2 *h, const uint8_t *p, size_t n);
/* There may be something to send: flushed in this tick. */
void grpc_h2_mark(struct grpc_h2 *h);
/* Sends what the session and the socket take. May call `closed`. */
void grpc_h2_flush(struct grpc_h2 *h);
/* Flushes every connection of a dirty list, until it is empty. */
void grpc_h2_flush_all(struct lw_list *dirty_list);
/* Pings after interval_ms of silence, closes (with the callback) after timeout_ms without an answer. False: closed. */
bool grpc_h2_keepalive(struct grpc_h2 *h, uint32_t interval_ms, uint32_t timeout_ms);
/* Ends the connection without the callback; memory goes when libuv and nghttp2 let go of it. */
void grpc_h2_close(struct grpc_h2 *h);
