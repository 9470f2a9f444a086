/* gRPC server: HTTP/2 on one listening socket, calls against a method table. All frames of a loop tick leave in one
 * write per connection. Knows nothing of what the methods do. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/io/grpc_call.h"

struct rt_loop;
struct tls_context;
struct lw_schema;
struct grpc_server;

struct grpc_server_config {
	const char *bind; /* "127.0.0.1:8000", "0.0.0.0:8081", "[::]:8081", port 0: any */
	const struct grpc_methods *methods;
	struct tls_context *tls; /* NULL: plain text; borrowed */
	/* 0 means the default. */
	size_t max_message;            /* bytes of one received message: 4 MiB */
	size_t max_send_message;       /* 64 MiB */
	uint32_t max_streams;          /* concurrent calls of a connection: 1024 */
	uint32_t max_connections;      /* 4096; more are closed at once */
	uint32_t max_header_list;      /* bytes of one request's headers: 32 KiB */
	size_t queue_high;             /* of a call: grpc_call_writable() becomes false above; 256 KiB */
	size_t queue_hard;             /* of a call: LW_EFULL above; 16 MiB */
	uint32_t keepalive_ms;         /* ping after that much silence: 30000 */
	uint32_t keepalive_timeout_ms; /* close when no answer: 20000 */
};

struct grpc_server_stats {
	uint64_t connections; /* now */
	uint64_t calls;       /* now */
	uint64_t calls_total;
	uint64_t protocol_errors_total;
};

/* Binds and listens; calls are served while the loop runs. 0, or an error with detail in `diag` (may be NULL). The
 * loop, the methods and the TLS context outlive the server. */
int grpc_server_new(struct rt_loop *loop, const struct grpc_server_config *config, struct grpc_server **out,
		    struct lw_diag *diag);
/* Port in use, also when 0 was asked for. */
int grpc_server_port(const struct grpc_server *s);
void grpc_server_stats(const struct grpc_server *s, struct grpc_server_stats *out);
/* Stops accepting, tells the peers to send no new calls (GOAWAY) and closes each connection after its last call. `done`
 * (may be NULL) is called once, when all are closed; at once when there are none. */
void grpc_server_drain(struct grpc_server *s, void (*done)(void *arg), void *arg);
/* Closes everything; unfinished calls get `cancel` and stay valid until they are finished. */
void grpc_server_free(struct grpc_server *s);

/* grpc.health.v1.Health: status of a service ("" is the server as a whole, always known and serving at first). */
struct grpc_health;
struct grpc_health *grpc_health_new(struct grpc_methods *m);
void grpc_health_set(struct grpc_health *h, const char *service, bool serving);
/* Ends the watchers with CANCELLED; after the servers are freed. */
void grpc_health_free(struct grpc_health *h);

/* grpc.reflection.v1 and v1alpha over all services of the table that the schema knows. The schema is borrowed. */
struct grpc_reflection;
struct grpc_reflection *grpc_reflection_new(struct grpc_methods *m, const struct lw_schema *schema);
void grpc_reflection_free(struct grpc_reflection *r);
