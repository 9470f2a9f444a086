/* Address texts. */
#include "common/io/net_addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"

static int parse_port(const char *text, uint16_t *port)
{
	unsigned v = 0;
	if (!*text || strlen(text) > 5)
		return LW_EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return LW_EINVAL;
		v = v * 10 + (unsigned)(*text - '0');
	}
	if (v > 65535)
		return LW_EINVAL;
	*port = (uint16_t)v;
	return 0;
}

int net_addr_split(const char *text, char host[NET_HOST_LEN], uint16_t *port)
{
	const char *start = text;
	const char *end;
	const char *colon = strrchr(text, ':');
	if (!colon)
		return LW_EINVAL;
	if (text[0] == '[') {
		start = text + 1;
		end = strchr(start, ']');
		if (!end || end + 1 != colon)
			return LW_EINVAL;
	} else {
		end = colon;
		if (memchr(text, ':', (size_t)(end - start)))
			return LW_EINVAL;
	}
	size_t n = (size_t)(end - start);
	if (n >= NET_HOST_LEN)
		return LW_EINVAL;
	memcpy(host, start, n);
	host[n] = 0;
	return parse_port(colon + 1, port);
}

int net_addr_parse(const char *text, struct sockaddr_storage *out)
{
	char host[NET_HOST_LEN];
	uint16_t port;
	int rc = net_addr_split(text, host, &port);
	if (rc)
		return rc;
	memset(out, 0, sizeof(*out));
	const char *h = host;
	if (!*h || strcmp(h, "*") == 0)
		h = "0.0.0.0";
	else if (strcmp(h, "localhost") == 0)
		h = "127.0.0.1";
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;
	if (inet_pton(AF_INET, h, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return 0;
	}
	if (inet_pton(AF_INET6, h, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		return 0;
	}
	return LW_EINVAL;
}

void net_addr_format(const struct sockaddr *sa, char out[NET_ADDR_LEN])
{
	char ip[INET6_ADDRSTRLEN];
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)sa;
		inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip));
		snprintf(out, NET_ADDR_LEN, "%s:%u", ip, ntohs(v4->sin_port));
	} else if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)sa;
		inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip));
		snprintf(out, NET_ADDR_LEN, "[%s]:%u", ip, ntohs(v6->sin6_port));
	} else {
		snprintf(out, NET_ADDR_LEN, "?");
	}
}

uint16_t net_addr_port(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)(const void *)sa)->sin_port);
	if (sa->sa_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)(const void *)sa)->sin6_port);
	return 0;
}

socklen_t net_addr_len(const struct sockaddr *sa)
{
	return sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static bool v4_is_public(uint32_t a)
{
	static const struct {
		uint32_t net;
		int bits;
	} inner[] = {
		{0x00000000, 8},  /* this network */
		{0x0a000000, 8},  /* private */
		{0x64400000, 10}, /* shared */
		{0x7f000000, 8},  /* loopback */
		{0xa9fe0000, 16}, /* link-local, cloud metadata */
		{0xac100000, 12}, /* private */
		{0xc0000000, 24}, /* protocol assignments */
		{0xc0000200, 24}, /* documentation */
		{0xc0a80000, 16}, /* private */
		{0xc6120000, 15}, /* benchmarks */
		{0xc6336400, 24}, /* documentation */
		{0xcb007100, 24}, /* documentation */
		{0xe0000000, 3},  /* multicast, reserved, broadcast */
	};
	for (size_t i = 0; i < sizeof(inner) / sizeof(inner[0]); i++) {
		if ((a ^ inner[i].net) >> (32 - inner[i].bits) == 0)
			return false;
	}
	return true;
}

static bool v6_is_public(const uint8_t a[16])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
	uint32_t low = (uint32_t)a[12] << 24 | (uint32_t)a[13] << 16 | (uint32_t)a[14] << 8 | a[15];
	if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0)
		return v4_is_public(low);
	if (a[0] == 0x20 && a[1] == 0x02) /* 6to4 */
		return v4_is_public((uint32_t)a[2] << 24 | (uint32_t)a[3] << 16 | (uint32_t)a[4] << 8 | a[5]);
	if (a[0] == 0x20 && a[1] == 0x01 && ((a[2] == 0x0d && a[3] == 0xb8) || (a[2] == 0 && a[3] == 0)))
		return false;         /* documentation, Teredo */
	return (a[0] & 0xe0) == 0x20; /* global unicast */
}

bool net_addr_is_public(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return v4_is_public(ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr));
	if (sa->sa_family == AF_INET6)
		return v6_is_public(((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr.s6_addr);
	return false;
}
