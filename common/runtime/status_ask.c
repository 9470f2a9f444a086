#include "common/runtime/status_ask.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/runtime/status_server.h"

#define MAX_ANSWER (64u * 1024u)

/* Where a server bound to `host` is reached from this machine. */
static const char *reachable(const char *host)
{
	if (!*host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "localhost") == 0)
		return "127.0.0.1";
	return strcmp(host, "::") == 0 ? "::1" : host;
}

static int open_connection(const char *host, unsigned port, unsigned timeout_ms, struct lw_diag *diag)
{
	char service[16];
	snprintf(service, sizeof(service), "%u", port);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *at = NULL;
	int rc = getaddrinfo(host, service, &hints, &at);
	if (rc != 0) {
		lw_diag_set(diag, "%s: %s", host, gai_strerror(rc));
		return LW_EINVAL;
	}
	struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
	int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
			setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
			connect(fd, at->ai_addr, at->ai_addrlen) < 0)) {
		lw_diag_set(diag, "%s:%u: %s", host, port, strerror(errno));
		close(fd);
		fd = -1;
	}
	freeaddrinfo(at);
	return fd < 0 ? LW_EUNAVAILABLE : fd;
}

static int exchange(int fd, const char *path, struct lw_buf *answer, struct lw_diag *diag)
{
	char request[256];
	int n = snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\n\r\n", path);
	if (n < 0 || (size_t)n >= sizeof(request))
		return LW_EINVAL;
	if (send(fd, request, (size_t)n, MSG_NOSIGNAL) != n) {
		lw_diag_set(diag, "%s", strerror(errno));
		return LW_EUNAVAILABLE;
	}
	for (;;) {
		char part[2048];
		ssize_t got = recv(fd, part, sizeof(part), 0);
		if (got == 0)
			return 0;
		if (got < 0) {
			lw_diag_set(diag, "%s", strerror(errno));
			return LW_EUNAVAILABLE;
		}
		if (answer->n + (size_t)got > MAX_ANSWER)
			return LW_EPROTO;
		lw_buf_append(answer, part, (size_t)got);
	}
}

static int parse(struct lw_buf *answer, struct lw_buf *body)
{
	const char *text = lw_buf_str(answer);
	int status = 0;
	const char *content = strstr(text, "\r\n\r\n");
	if (sscanf(text, "HTTP/1.%*1d %3d ", &status) != 1 || status < 100 || !content)
		return LW_EPROTO;
	lw_buf_append_str(body, content + 4);
	return status;
}

int rt_status_ask(const char *bind, const char *path, unsigned timeout_ms, struct lw_buf *body, struct lw_diag *diag)
{
	char host[64];
	unsigned port = 0;
	if (rt_bind_parse(bind, host, sizeof(host), &port) < 0 || port == 0) {
		lw_diag_set(diag, "\"%s\" has no port that can be asked", bind);
		return LW_EINVAL;
	}
	int fd = open_connection(reachable(host), port, timeout_ms, diag);
	if (fd < 0)
		return fd;
	struct lw_buf answer;
	lw_buf_init(&answer, MAX_ANSWER + 1);
	int rc = exchange(fd, path, &answer, diag);
	close(fd);
	if (rc == 0)
		rc = parse(&answer, body);
	if (rc == LW_EPROTO)
		lw_diag_set(diag, "the answer is not one of this daemon");
	lw_buf_deinit(&answer);
	return rc;
}
