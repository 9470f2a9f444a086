#include "gateway-bridge/link/udp_out.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/bug.h"
#include "common/base/err.h"
#include "common/base/xmalloc.h"

#define BATCH 64
#define QUEUE 1024
/* Datagrams up to SMALL bytes may share the room of one cache line. */
#define ROOM 64
#define SMALL 16
#define SLOT_BITS 9
#define NONE UINT16_MAX

struct packet {
	uint8_t room[ROOM]; /* n datagrams of `each` bytes, when they are small */
	struct gb_peer peer;
	uint32_t at; /* of a large one, in gb_udp_out.large */
	uint16_t each;
	uint16_t n;
};

struct gb_udp_out {
	int fd;
	struct rt_log *log;
	enum gb_udp_share share;
	struct packet *v; /* QUEUE */
	size_t n;
	struct lw_buf large;
	/* The last packet to an address with this hash, or another's: then the next begins one of its own. */
	uint16_t last[1u << SLOT_BITS];
	struct gb_udp_out_stats stats;
};

static void forget_last(struct gb_udp_out *o)
{
	memset(o->last, 0xff, sizeof(o->last));
}

struct gb_udp_out *gb_udp_out_new(int fd, struct rt_log *log, enum gb_udp_share share)
{
	struct gb_udp_out *o = lw_xcalloc(1, sizeof(*o));
	o->fd = fd;
	o->log = log;
	/* An older system would ignore the wish, and send the packet whole. */
	int size;
	socklen_t n = sizeof(size);
	bool can = getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, &n) == 0;
	o->share = can ? share : GB_UDP_SHARE_NEVER;
	o->v = lw_xmalloc(QUEUE * sizeof(o->v[0]));
	lw_buf_init(&o->large, QUEUE * GB_UDP_OUT_MAX);
	forget_last(o);
	return o;
}

void gb_udp_out_free(struct gb_udp_out *o)
{
	if (!o)
		return;
	free(o->v);
	lw_buf_deinit(&o->large);
	free(o);
}

static bool is_local(const struct gb_peer *peer)
{
	union {
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = {0};
	memcpy(&a, peer->addr, peer->n);
	if (a.v4.sin_family == AF_INET)
		return ntohl(a.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr) ||
	       (IN6_IS_ADDR_V4MAPPED(&a.v6.sin6_addr) && a.v6.sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
}

static bool may_share(const struct gb_udp_out *o, const struct gb_peer *peer)
{
	return o->share == GB_UDP_SHARE_ALWAYS || (o->share == GB_UDP_SHARE_LOCAL && is_local(peer));
}

static uint16_t *last_of(struct gb_udp_out *o, const struct gb_peer *peer)
{
	uint64_t w[4] = {0};
	memcpy(w, peer->addr, peer->n);
	uint64_t h = (w[0] ^ w[1] ^ w[2] ^ w[3]) * UINT64_C(0x9e3779b97f4a7c15);
	return &o->last[h >> (64 - SLOT_BITS)];
}

/* Goes along with the last datagram to this address? */
static bool joins(struct packet *p, const struct gb_peer *peer, struct lw_span bytes)
{
	if (p->each != bytes.n || (size_t)(p->n + 1) * bytes.n > ROOM || p->peer.n != peer->n ||
	    memcmp(p->peer.addr, peer->addr, peer->n) != 0)
		return false;
	memcpy(p->room + (size_t)p->n * p->each, bytes.p, bytes.n);
	p->n++;
	return true;
}

void gb_udp_out_add(struct gb_udp_out *o, const struct gb_peer *peer, struct lw_span bytes)
{
	BUG_ON(bytes.n > GB_UDP_OUT_MAX);
	uint16_t *last = last_of(o, peer);
	bool small = bytes.n > 0 && bytes.n <= SMALL;
	if (small && *last < o->n && may_share(o, peer) && joins(&o->v[*last], peer, bytes))
		return;
	if (o->n == QUEUE)
		gb_udp_out_flush(o);
	if (o->n == QUEUE || peer->n == 0) {
		o->stats.failed++;
		return;
	}
	*last = (uint16_t)o->n;
	struct packet *p = &o->v[o->n++];
	p->peer = *peer;
	p->each = (uint16_t)bytes.n;
	p->n = 1;
	p->at = (uint32_t)o->large.n;
	if (small)
		memcpy(p->room, bytes.p, bytes.n);
	else
		lw_buf_append_span(&o->large, bytes);
}

static struct iovec bytes_of(struct gb_udp_out *o, struct packet *p, size_t first, size_t n)
{
	bool small = p->each > 0 && p->each <= SMALL;
	return (struct iovec){.iov_base = small ? p->room + first * p->each : o->large.p + p->at,
			      .iov_len = n * p->each};
}

static bool no_room(int err)
{
	return err == EAGAIN || err == EWOULDBLOCK || err == ENOBUFS;
}

/* The first packet cannot be sent as it is: its datagrams one by one. True when it is done with, false when the socket
 * has no room. What is refused now is so for a reason of its own (unreachable, refused): the others may pass. */
static bool send_apart(struct gb_udp_out *o, struct packet *p, int err)
{
	bool shared = p->n > 1;
	for (; p->n > 0; p->n--) {
		struct iovec iov = bytes_of(o, p, 0, 1);
		struct msghdr h = {
			.msg_name = p->peer.addr, .msg_namelen = p->peer.n, .msg_iov = &iov, .msg_iovlen = 1};
		bool sent = shared && sendmsg(o->fd, &h, MSG_DONTWAIT) >= 0;
		err = shared && !sent ? errno : err;
		if (!sent && no_room(err))
			return false;
		if (sent && o->share != GB_UDP_SHARE_NEVER) {
			o->share = GB_UDP_SHARE_NEVER;
			RT_LOG_INFO(o->log, "the system cuts no packets into datagrams: each answer is sent alone");
		}
		if (!sent)
			RT_LOG_DEBUG(o->log, "datagram not sent", rt_err(-err));
		o->stats.sent += sent;
		o->stats.packets += sent;
		o->stats.failed += !sent;
		memmove(p->room, p->room + p->each, p->each <= SMALL ? (size_t)(p->n - 1) * p->each : 0);
	}
	return true;
}

union segment {
	struct cmsghdr head;
	char room[CMSG_SPACE(sizeof(uint16_t))];
};

static void cut(struct msghdr *h, union segment *c, uint16_t each)
{
	c->head = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(each)), .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT};
	memcpy(CMSG_DATA(&c->head), &each, sizeof(each));
	h->msg_control = c;
	h->msg_controllen = sizeof(*c);
}

/* Sends up to BATCH packets from `at`; returns how many are done with, 0 when the socket has no room. */
static size_t send_batch(struct gb_udp_out *o, size_t at)
{
	struct mmsghdr v[BATCH];
	struct iovec iov[BATCH];
	union segment control[BATCH];
	size_t n = o->n - at < BATCH ? o->n - at : BATCH;
	for (size_t i = 0; i < n; i++) {
		struct packet *p = &o->v[at + i];
		iov[i] = bytes_of(o, p, 0, p->n);
		v[i].msg_hdr = (struct msghdr){
			.msg_name = p->peer.addr, .msg_namelen = p->peer.n, .msg_iov = &iov[i], .msg_iovlen = 1};
		if (p->n > 1)
			cut(&v[i].msg_hdr, &control[i], p->each);
	}
	int sent = sendmmsg(o->fd, v, (unsigned)n, MSG_DONTWAIT);
	if (sent <= 0)
		return !no_room(errno) && send_apart(o, &o->v[at], errno) ? 1 : 0;
	for (int i = 0; i < sent; i++)
		o->stats.sent += o->v[at + (size_t)i].n;
	o->stats.packets += (uint64_t)sent;
	return (size_t)sent;
}

static void forget_sent(struct gb_udp_out *o, size_t n)
{
	uint32_t bytes = n < o->n ? o->v[n].at : (uint32_t)o->large.n;
	o->n -= n;
	memmove(o->v, o->v + n, o->n * sizeof(o->v[0]));
	lw_buf_consume(&o->large, bytes);
	for (size_t i = 0; i < o->n; i++)
		o->v[i].at -= bytes;
	forget_last(o);
}

void gb_udp_out_flush(struct gb_udp_out *o)
{
	size_t at = 0, n;
	if (o->n == 0)
		return;
	while (at < o->n && (n = send_batch(o, at)) > 0)
		at += n;
	forget_sent(o, at);
}

bool gb_udp_out_waits(const struct gb_udp_out *o)
{
	return o->n > 0;
}

void gb_udp_out_stats(const struct gb_udp_out *o, struct gb_udp_out_stats *out)
{
	*out = o->stats;
}
