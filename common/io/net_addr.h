/* "host:port" texts and socket addresses as texts. No I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <netinet/in.h>
#include <sys/socket.h>

/* Longest text of an address with port: "[v6]:65535". */
#define NET_ADDR_LEN 64
#define NET_HOST_LEN 256

/* Splits "host:port", "[v6]:port" or ":port" (empty host). LW_EINVAL. */
int net_addr_split(const char *text, char host[NET_HOST_LEN], uint16_t *port);
/* A numeric address with port, for binding; an empty host or "*" is every IPv4 address, "localhost" is 127.0.0.1.
 * LW_EINVAL. */
int net_addr_parse(const char *text, struct sockaddr_storage *out);
/* "127.0.0.1:8000", "[::1]:8000", "?" for other families. */
void net_addr_format(const struct sockaddr *sa, char out[NET_ADDR_LEN]);
uint16_t net_addr_port(const struct sockaddr *sa);
/* False for addresses of private, local, link-local, shared, multicast, documentation and reserved networks, for IPv4
 * addresses of such inside of IPv6, and for other families. */
bool net_addr_is_public(const struct sockaddr *sa);
socklen_t net_addr_len(const struct sockaddr *sa);
