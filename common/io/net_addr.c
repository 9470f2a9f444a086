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
