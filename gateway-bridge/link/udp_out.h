/* What a socket of the bridge has to say: datagrams wait here until they leave in as few calls as they can. Small ones
 * of one size to one address may share a packet, which the kernel cuts into datagrams (UDP_SEGMENT): the way through
 * its layers, nearly all that an answer of four bytes costs, is gone once for all of them. Datagrams to one address
 * leave in the order in which they came. Knows nothing of what is inside. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/runtime/log.h"
#include "gateway-bridge/domain/peer.h"

#define GB_UDP_OUT_MAX 1000 /* bytes of a datagram */

/* Whose datagrams may share a packet. An interface that cuts packets itself (tx-udp-segmentation) may not do so with
 * pieces of four bytes, so only what stays on this machine does unless the operator says that it may. */
enum gb_udp_share { GB_UDP_SHARE_LOCAL, GB_UDP_SHARE_ALWAYS, GB_UDP_SHARE_NEVER };

struct gb_udp_out;

/* `fd` is the owner's: a datagram socket that does not block. */
struct gb_udp_out *gb_udp_out_new(int fd, struct rt_log *log, enum gb_udp_share share);
void gb_udp_out_free(struct gb_udp_out *o);
/* Queues a copy. Without an address, or when neither queue nor socket have room, it counts as failed. */
void gb_udp_out_add(struct gb_udp_out *o, const struct gb_peer *peer, struct lw_span bytes);
void gb_udp_out_flush(struct gb_udp_out *o);
/* Something waits for room in the socket (after a flush). */
bool gb_udp_out_waits(const struct gb_udp_out *o);

struct gb_udp_out_stats {
	uint64_t sent, failed; /* datagrams */
	uint64_t packets;      /* what was sent, before the kernel cut it */
};
void gb_udp_out_stats(const struct gb_udp_out *o, struct gb_udp_out_stats *out);
