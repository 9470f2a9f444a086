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

/* `bind` is address:port ("0.0.0.0:1700", "[::]:1700"). LW_EINVAL for a text that is none, -errno when binding fails.
 */
int gb_udp_open(struct gb_udp **out, struct rt_loop *loop, struct rt_log *log, const char *bind,
		uint32_t receive_buffer, gb_udp_batch_fn *on_batch, void *arg, struct lw_diag *diag);
void gb_udp_close(struct gb_udp *u);
/* Reads no more; sending goes on. */
void gb_udp_stop_reading(struct gb_udp *u);
/* Queues a copy of a datagram (at most 1000 bytes); it leaves with the next flush, at the latest at the end of the
 * turn. */
void gb_udp_send(struct gb_udp *u, const struct gb_peer *peer, struct lw_span bytes);
void gb_udp_flush(struct gb_udp *u);
uint16_t gb_udp_port(const struct gb_udp *u);
void gb_udp_stats(const struct gb_udp *u, struct gb_udp_stats *out);
