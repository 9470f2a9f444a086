/* HTTP/2 and gRPC frames into a server's session without a socket: whatever a peer sends, the server lives, keeps
 * within its limits, and every call that begins ends. The input is cut into reads by its first byte; the client's
 * preface is put before it unless that byte's top bit is set. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/io/grpc_server_internal.h"
#include "proto/grpc/health/v1/health.pb-c.h"

#define TEXT_DESC (&grpc__health__v1__health_check_request__descriptor)

static size_t open_calls;

static void on_message(struct grpc_call *c, const ProtobufCMessage *msg)
{
	grpc_call_send(c, msg);
	if (!grpc_call_writable(c))
		grpc_call_pause(c, true);
}

static void on_writable(struct grpc_call *c)
{
	grpc_call_pause(c, false);
}

static void on_end(struct grpc_call *c)
{
	open_calls--;
	grpc_call_finish(c, GRPC_OK, NULL);
}

static const struct grpc_call_events EVENTS = {on_message, on_end, on_writable, on_end};

static void m_unary(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	(void)arg;
	grpc_call_reply(c, req);
}

static void m_stream(struct grpc_call *c, const ProtobufCMessage *req, void *arg)
{
	(void)req;
	(void)arg;
	open_calls++;
	grpc_call_set_events(c, &EVENTS);
}

struct world {
	struct rt_loop *loop;
	struct grpc_methods *methods;
	struct grpc_server *server;
};

static struct world *world_new(void)
{
	struct world *w = lw_xcalloc(1, sizeof(*w));
	w->loop = rt_loop_new_virtual(0);
	w->methods = grpc_methods_new();
	struct grpc_method rows[] = {{"/t.T/U", TEXT_DESC, TEXT_DESC, false, false, m_unary, NULL},
				     {"/t.T/B", TEXT_DESC, TEXT_DESC, true, true, m_stream, NULL}};
	grpc_methods_add(w->methods, &rows[0]);
	grpc_methods_add(w->methods, &rows[1]);
	struct grpc_server_config sc = {.methods = w->methods,
					.max_message = 4096,
					.max_send_message = 8192,
					.queue_high = 1024,
					.queue_hard = 4096};
	if (grpc_server_new(w->loop, &sc, &w->server, NULL))
		abort();
	return w;
}

static void world_free(struct world *w)
{
	grpc_server_free(w->server);
	grpc_methods_free(w->methods);
	rt_loop_free(w->loop);
	free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char PREFACE[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
	if (size < 1)
		return 0;
	struct world *w = world_new();
	struct grpc_h2 *h = grpc_server_memory(w->server);
	size_t step = (size_t)(data[0] & 0x7f) * 8 + 1;
	bool alive = true;
	if (!(data[0] & 0x80))
		alive = grpc_h2_feed(h, (const uint8_t *)PREFACE, sizeof(PREFACE));
	struct grpc_server_stats stats;
	for (size_t at = 1; alive && at < size; at += step) {
		alive = grpc_h2_feed(h, data + at, size - at < step ? size - at : step);
		rt_loop_turn(w->loop);
		grpc_server_stats(w->server, &stats);
		alive = stats.connections == 1;
		if (alive)
			lw_buf_reset(&h->out);
	}
	if (alive)
		grpc_server_memory_close(h);
	grpc_server_stats(w->server, &stats);
	BUG_ON(stats.connections != 0 || stats.calls != 0 || open_calls != 0);
	world_free(w);
	return 0;
}
