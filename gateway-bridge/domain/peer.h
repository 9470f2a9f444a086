/* Where datagrams of a gateway come from and go to: a socket address as bytes, so that the rules need no sockets. */
#pragma once

#include <stdint.h>

#define GB_PEER_MAX 28 /* sockaddr_in6 */

struct gb_peer {
	_Alignas(8) uint8_t addr[GB_PEER_MAX];
	uint8_t n; /* 0: unknown */
};
