/* A UDP socket of the bridge: reads datagrams in batches, sends what one turn has to say in as few calls as it can.
 * Knows nothing of what is inside. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/runtime/log.h"
#include "common/runtime/loop.h"
#include "gateway-bridge/domain/peer.h"
#include "gateway-bridge/link/udp_out.h"

struct gb_udp;

struct gb_udp_datagram {
	struct lw_span bytes;
	struct gb_peer peer;
};

/* Borrowed for the call. */
typedef void gb_udp_batch_fn(void *arg, const struct gb_udp_datagram *v, size_t n);

struct gb_udp_stats {
	uint64_t received;
	uint64_t sent;
	uint64_t send_failed;    /* refused by the system, or no room in the queue */
	uint64_t overflow;       /* datagrams that the kernel dropped because the receive buffer was full */
	uint32_t receive_buffer; /* bytes, what the kernel granted */
};

struct gb_udp_opts {
	struct rt_loop *loop;
	struct rt_log *log;
	const char *bind;        /* address:port ("0.0.0.0:1700", "[::]:1700") */
	uint32_t receive_buffer; /* bytes asked for */
	enum gb_udp_share share;
	gb_udp_batch_fn *on_batch;
	void *arg;
};

/* LW_EINVAL for a `bind` that is none, -errno when binding fails. */
int gb_udp_open(struct gb_udp **out, const struct gb_udp_opts *opts, struct lw_diag *diag);
void gb_udp_close(struct gb_udp *u);
/* Reads no more; sending goes on. */
void gb_udp_stop_reading(struct gb_udp *u);
/* Queues a copy of a datagram (at most GB_UDP_OUT_MAX bytes); it leaves with the next flush: when what waited in the
 * socket has been read, at the latest at the end of the turn. */
void gb_udp_send(struct gb_udp *u, const struct gb_peer *peer, struct lw_span bytes);
void gb_udp_flush(struct gb_udp *u);
uint16_t gb_udp_port(const struct gb_udp *u);
void gb_udp_stats(const struct gb_udp *u, struct gb_udp_stats *out);
