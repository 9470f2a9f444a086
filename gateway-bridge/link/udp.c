#include "gateway-bridge/link/udp.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/bug.h"
#include "common/base/xmalloc.h"
#include "common/io/net_addr.h"
#include "common/runtime/gather.h"

#define BATCH 64
#define GATHER_FROM 1000 /* wakes a second */
/* Gateways go on without their answers: only a full turn of reading is too much to gather. */
#define GATHER_FEW BATCH
#define GATHER_MANY (BATCH * READ_ROUNDS / 2)
/* A datagram can be this long; the pages of the room are used only as far as datagrams reach. */
#define DATAGRAM_MAX 65536
/* From one datagram to the next: an odd number of cache lines more than whole pages, so that the first lines of a batch
 * do not all compete for the same few sets of the cache. */
#define ROOM_STEP (DATAGRAM_MAX + 17 * 64)
/* Rounds of reading before others get their turn. */
#define READ_ROUNDS 16
/* Answers leave when all that there is has been read, or so many bytes: some milliseconds of work, of the 100 that a
 * gateway waits for them. */
#define ANSWER_BYTES (256u * 1024)

struct gb_udp {
	struct rt_watch *watch;
	struct rt_tick *tick;
	int fd;
	uint16_t port;
	bool reading;
	struct rt_gather gather;
	gb_udp_batch_fn *on_batch;
	void *arg;
	struct gb_udp_stats stats;
	uint32_t last_overflow;

	uint8_t *room; /* BATCH datagrams */
	struct mmsghdr in[BATCH];
	struct iovec in_iov[BATCH];
	struct sockaddr_in6 in_addr[BATCH];
	/* Of the first datagram of a batch: what the kernel dropped is a count of all so far. */
	char in_control[CMSG_SPACE(sizeof(uint32_t))];
	struct gb_udp_datagram datagrams[BATCH];

	struct gb_udp_out *out;
	size_t unanswered; /* bytes read since the last flush */
};

static_assert(sizeof(struct sockaddr_in6) <= GB_PEER_MAX, "a peer holds any address");

static uint32_t set_receive_buffer(int fd, uint32_t wanted)
{
	int v = wanted > INT32_MAX / 2 ? INT32_MAX / 2 : (int)wanted;
	/* FORCE passes the system's limit where the process may. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &v, sizeof(v)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &v, sizeof(v));
	socklen_t n = sizeof(v);
	if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &v, &n) < 0)
		return 0;
	return (uint32_t)v / 2; /* the kernel answers twice what one asked for */
}

static int open_socket(struct gb_udp *u, const char *bind_text, uint32_t receive_buffer, struct lw_diag *diag)
{
	struct sockaddr_storage addr;
	const int on = 1;
	int err = net_addr_parse(bind_text, &addr);
	if (err < 0) {
		lw_diag_set(diag, "\"%s\" is not address:port", bind_text);
		return err;
	}
	u->fd = socket(addr.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (u->fd < 0 || bind(u->fd, (struct sockaddr *)&addr, net_addr_len((struct sockaddr *)&addr)) < 0) {
		err = -errno;
		lw_diag_set(diag, "cannot listen on UDP %s: %s", bind_text, lw_err_text(err));
		return err;
	}
	setsockopt(u->fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on));
	u->stats.receive_buffer = set_receive_buffer(u->fd, receive_buffer);
	socklen_t n = sizeof(addr);
	getsockname(u->fd, (struct sockaddr *)&addr, &n);
	u->port = net_addr_port((struct sockaddr *)&addr);
	return 0;
}

static void note_overflow(struct gb_udp *u, const struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)h, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_RXQ_OVFL)
			continue;
		uint32_t total;
		memcpy(&total, CMSG_DATA(c), sizeof(total));
		u->stats.overflow += (uint32_t)(total - u->last_overflow);
		u->last_overflow = total;
	}
}

static void prepare_in(struct gb_udp *u)
{
	for (size_t i = 0; i < BATCH; i++) {
		u->in_iov[i] = (struct iovec){.iov_base = u->room + i * ROOM_STEP, .iov_len = DATAGRAM_MAX};
		u->in[i].msg_hdr = (struct msghdr){.msg_name = &u->in_addr[i],
						   .msg_namelen = sizeof(u->in_addr[i]),
						   .msg_iov = &u->in_iov[i],
						   .msg_iovlen = 1};
	}
}

/* Returns how many were read. */
static int read_batch(struct gb_udp *u)
{
	u->in[0].msg_hdr.msg_control = u->in_control;
	u->in[0].msg_hdr.msg_controllen = sizeof(u->in_control);
	int n = recvmmsg(u->fd, u->in, BATCH, MSG_DONTWAIT, NULL);
	if (n > 0)
		note_overflow(u, &u->in[0].msg_hdr);
	for (int i = 0; i < n; i++) {
		struct msghdr *h = &u->in[i].msg_hdr;
		struct gb_udp_datagram *d = &u->datagrams[i];
		d->bytes = lw_span(u->in_iov[i].iov_base, u->in[i].msg_len);
		u->unanswered += d->bytes.n;
		d->peer.n = (uint8_t)(h->msg_namelen <= GB_PEER_MAX ? h->msg_namelen : 0);
		memcpy(d->peer.addr, &u->in_addr[i], d->peer.n);
		/* What the kernel has written is said anew for the next time. */
		h->msg_namelen = sizeof(u->in_addr[i]);
		h->msg_controllen = 0;
	}
	if (n <= 0)
		return 0;
	u->stats.received += (uint64_t)n;
	u->on_batch(u->arg, u->datagrams, (size_t)n);
	if (u->unanswered >= ANSWER_BYTES)
		gb_udp_flush(u);
	return n;
}

static void update_watch(struct gb_udp *u)
{
	unsigned events = (u->reading && !u->gather.on ? RT_READ : 0u) | (gb_udp_out_waits(u->out) ? RT_WRITE : 0u);
	if (rt_watch_events(u->watch) != events)
		rt_watch_set(u->watch, events);
}

static void look(void *arg)
{
	struct gb_udp *u = arg;
	int n = 0, got = BATCH;
	for (int i = 0; u->reading && got == BATCH && i < READ_ROUNDS; i++) {
		got = read_batch(u);
		n += got;
	}
	gb_udp_flush(u);
	if (!u->reading)
		return;
	rt_gather_note(&u->gather, (size_t)n);
	update_watch(u);
}

static void on_ready(struct rt_watch *w, unsigned events, void *arg)
{
	(void)w;
	struct gb_udp *u = arg;
	if (events & RT_WRITE)
		gb_udp_flush(u);
	if (events & RT_READ)
		look(u);
}

static void on_tick(void *arg)
{
	gb_udp_flush(arg);
}

int gb_udp_open(struct gb_udp **out, const struct gb_udp_opts *opts, struct lw_diag *diag)
{
	struct gb_udp *u = lw_xcalloc(1, sizeof(*u));
	u->on_batch = opts->on_batch;
	u->arg = opts->arg;
	u->fd = -1;
	int err = open_socket(u, opts->bind, opts->receive_buffer, diag);
	if (err < 0) {
		if (u->fd >= 0)
			close(u->fd);
		free(u);
		return err;
	}
	u->room = lw_xmalloc((size_t)BATCH * ROOM_STEP);
	prepare_in(u);
	u->out = gb_udp_out_new(u->fd, opts->log, opts->share);
	u->reading = true;
	rt_gather_init(&u->gather, opts->loop, "udp", GATHER_FROM, true, look, u);
	rt_gather_size(&u->gather, GATHER_FEW, GATHER_MANY);
	u->watch = rt_watch_new(opts->loop, u->fd, RT_READ, "udp", on_ready, u);
	BUG_ON(!u->watch);
	u->tick = rt_loop_on_tick(opts->loop, RT_TICK_OUTPUT, "udp", on_tick, u);
	*out = u;
	return 0;
}

void gb_udp_close(struct gb_udp *u)
{
	if (!u)
		return;
	gb_udp_flush(u);
	rt_gather_stop(&u->gather);
	rt_tick_remove(u->tick);
	rt_watch_free(u->watch);
	close(u->fd);
	free(u->room);
	gb_udp_out_free(u->out);
	free(u);
}

void gb_udp_stop_reading(struct gb_udp *u)
{
	u->reading = false;
	rt_gather_stop(&u->gather);
	update_watch(u);
}

void gb_udp_send(struct gb_udp *u, const struct gb_peer *peer, struct lw_span bytes)
{
	gb_udp_out_add(u->out, peer, bytes);
}

void gb_udp_flush(struct gb_udp *u)
{
	u->unanswered = 0;
	gb_udp_out_flush(u->out);
	update_watch(u);
}

uint16_t gb_udp_port(const struct gb_udp *u)
{
	return u->port;
}

void gb_udp_stats(const struct gb_udp *u, struct gb_udp_stats *out)
{
	struct gb_udp_out_stats o;
	gb_udp_out_stats(u->out, &o);
	*out = u->stats;
	out->sent = o.sent;
	out->send_failed = o.failed;
}
