/* Commands whose answers nobody wants, many in one go. The server is told to keep quiet for as long as they last, so
 * that there is one answer for all of them; they are formatted into one buffer that is used again and again, and go
 * from there to the socket, past hiredis' own buffer, which would be made larger by copying and given back each time.
 * Never reorders: what does not fit into the socket waits in hiredis' buffer, and then all that follows does. */
#include <errno.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/io/redis_impl.h"

/* Enough for few system calls, and stays in the cache of the processor. */
#define PIECE (64u * 1024u)
#define MAX_COMMANDS_BYTES ((size_t)1 << 30)
#define QUIET "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n"
#define AUDIBLE "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$2\r\nON\r\n"
/* A stream of at least so many entries is cut with one of so many commands. */
#define RARELY_FROM 64u
#define RARELY 8u

void redis_bulk_init(struct redis *r)
{
	lw_buf_init(&r->bulk.buf, MAX_COMMANDS_BYTES);
	lw_rng_init_seeded(&r->bulk.dice, lw_rng_u64(&r->rng));
}

static void add_count(struct lw_buf *out, char kind, size_t n)
{
	char text[24];
	size_t at = sizeof(text);
	text[--at] = '\n';
	text[--at] = '\r';
	do
		text[--at] = (char)('0' + n % 10);
	while (n /= 10);
	text[--at] = kind;
	lw_buf_append(out, text + at, sizeof(text) - at);
}

void redis_format(struct lw_buf *out, size_t n, const struct lw_span *argv)
{
	add_count(out, '*', n);
	for (size_t i = 0; i < n; i++) {
		add_count(out, '$', argv[i].n);
		lw_buf_append_span(out, argv[i]);
		lw_buf_append(out, "\r\n", 2);
	}
}

/* Any error is hiredis' to find: the bytes wait with it, and it tries and closes. */
static void hand_over(struct redis *r)
{
	struct lw_span rest = lw_buf_span(&r->bulk.buf);
	while (!r->want_write && rest.n) {
		ssize_t n = send(r->ac->c.fd, rest.p, rest.n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		rest.p += n;
		rest.n -= (size_t)n;
	}
	if (rest.n) {
		redisAppendFormattedCommand(&r->ac->c, (const char *)rest.p, rest.n);
		r->ac->ev.addWrite(r->ac->ev.data);
	}
	lw_buf_reset(&r->bulk.buf);
}

/* Refused by the server, although it was asked before: the answers that follow cannot be told apart. */
static void on_audible(void *arg, int err, const struct redis_reply *reply)
{
	struct redis *r = arg;
	(void)reply;
	if (err == LW_EPROTO && r->ac)
		redisAsyncFree(r->ac);
}

void redis_bulk_argv(struct redis *r, size_t n, const struct lw_span *argv)
{
	if (!r->quiet_ok || r->state != REDIS_READY || r->closing) {
		redis_argv(r, NULL, NULL, n, argv);
		return;
	}
	r->stats.commands++;
	if (r->stats.pending >= r->opt.max_pending)
		return;
	if (!r->bulk.n)
		lw_buf_append_str(&r->bulk.buf, QUIET);
	redis_format(&r->bulk.buf, n, argv);
	r->bulk.n++;
	r->stats.pending++;
	if (r->bulk.buf.n >= PIECE)
		hand_over(r);
}

void redis_bulk_end(struct redis *r)
{
	size_t n = r->bulk.n;
	if (!n)
		return;
	hand_over(r);
	r->bulk.n = 0;
	redis_send_for(r, on_audible, r, n, lw_span_str(AUDIBLE));
}

void redis_bulk_drop(struct redis *r)
{
	r->stats.pending -= r->bulk.n;
	r->stats.unavailable += r->bulk.n;
	r->bulk.n = 0;
	lw_buf_reset(&r->bulk.buf);
}

void redis_bulk_xadd(struct redis *r, const char *key, size_t maxlen, size_t n, const struct redis_field *fields)
{
	struct lw_span v[REDIS_XADD_ARGS];
	char count[24];
	/* By chance, not by counting: devices may come in turn. */
	bool cuts = maxlen && (maxlen < RARELY_FROM || lw_rng_below(&r->bulk.dice, RARELY) == 0);
	snprintf(count, sizeof(count), "%zu", maxlen);
	redis_bulk_argv(r, redis_xadd_args(v, key, cuts ? count : NULL, n, fields), v);
}
