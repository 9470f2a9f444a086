/* Answers that share packets: nothing is lost, cut wrongly, or out of order, and less packets than datagrams leave. */
#include "gateway-bridge/link/udp_out.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define GATEWAYS 40
#define LONG_S 20
#define PER_GATEWAY 30

struct rig {
	int fd;
	int gateways[GATEWAYS];
	struct gb_peer peers[GATEWAYS];
	struct gb_udp_out *o;
};

static int open_socket(int family, struct gb_peer *peer)
{
	const struct timeval patience = {.tv_sec = LONG_S};
	struct sockaddr_in6 a = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&a;
	socklen_t n = family == AF_INET ? sizeof(*v4) : sizeof(a);
	if (family == AF_INET)
		*v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	else
		a = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(family, SOCK_DGRAM, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	*peer = (struct gb_peer){.n = (uint8_t)n};
	memcpy(peer->addr, &a, n);
	return fd;
}

static void open_rig(struct rig *r, int family, enum gb_udp_share share)
{
	struct gb_peer own;
	r->fd = open_socket(family, &own);
	for (size_t i = 0; i < GATEWAYS; i++)
		r->gateways[i] = open_socket(family, &r->peers[i]);
	r->o = gb_udp_out_new(r->fd, NULL, share);
}

static void close_rig(struct rig *r)
{
	gb_udp_out_free(r->o);
	close(r->fd);
	for (size_t i = 0; i < GATEWAYS; i++)
		close(r->gateways[i]);
}

/* Answers of four bytes; every seventh datagram of a gateway is larger. */
static size_t size_of(size_t k)
{
	return k % 7 == 6 ? 17 + k : 4;
}

static void say(struct rig *r, size_t gateway, size_t k)
{
	uint8_t bytes[64];
	memset(bytes, (int)k, sizeof(bytes));
	bytes[0] = (uint8_t)gateway;
	gb_udp_out_add(r->o, &r->peers[gateway], lw_span(bytes, size_of(k)));
}

static void expect(struct rig *r, size_t gateway, size_t k)
{
	uint8_t got[256];
	assert_int_equal(recv(r->gateways[gateway], got, sizeof(got), 0), size_of(k));
	assert_int_equal(got[0], gateway);
	for (size_t i = 1; i < size_of(k); i++)
		assert_int_equal(got[i], k);
}

/* All gateways in turn, PER_GATEWAY datagrams each. */
static struct gb_udp_out_stats exchange(struct rig *r)
{
	struct gb_udp_out_stats s;
	for (size_t k = 0; k < PER_GATEWAY; k++)
		for (size_t i = 0; i < GATEWAYS; i++)
			say(r, i, k);
	gb_udp_out_flush(r->o);
	assert_false(gb_udp_out_waits(r->o));
	for (size_t i = 0; i < GATEWAYS; i++) {
		uint8_t none[4];
		for (size_t k = 0; k < PER_GATEWAY; k++)
			expect(r, i, k);
		assert_int_equal(recv(r->gateways[i], none, sizeof(none), MSG_DONTWAIT), -1);
	}
	gb_udp_out_stats(r->o, &s);
	assert_int_equal(s.failed, 0);
	return s;
}

/* A system without UDP_SEGMENT sends each alone, and loses nothing by it. */
static bool can_cut(int fd)
{
	int size;
	socklen_t n = sizeof(size);
	return getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, &n) == 0;
}

static void check(int family, enum gb_udp_share share, bool shared)
{
	struct rig r;
	open_rig(&r, family, share);
	struct gb_udp_out_stats s = exchange(&r);
	assert_int_equal(s.sent, GATEWAYS * PER_GATEWAY);
	if (shared && can_cut(r.fd))
		assert_true(s.packets < s.sent / 2);
	else
		assert_int_equal(s.packets, s.sent);
	close_rig(&r);
}

/* Not every machine has IPv6. */
static bool has_ipv6(void)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);
	bool has = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
	if (fd >= 0)
		close(fd);
	return has;
}

static void test_shared(void **state)
{
	(void)state;
	check(AF_INET, GB_UDP_SHARE_LOCAL, true);
	if (has_ipv6())
		check(AF_INET6, GB_UDP_SHARE_LOCAL, true);
	check(AF_INET, GB_UDP_SHARE_ALWAYS, true);
	check(AF_INET, GB_UDP_SHARE_NEVER, false);
}

/* The system refuses to cut (here because no checksum is wanted): each datagram goes alone, then and later. */
static void test_refused(void **state)
{
	struct rig r;
	const int on = 1;
	(void)state;
	open_rig(&r, AF_INET, GB_UDP_SHARE_ALWAYS);
	assert_int_equal(setsockopt(r.fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof(on)), 0);
	struct gb_udp_out_stats s = exchange(&r);
	assert_int_equal(s.sent, GATEWAYS * PER_GATEWAY);
	assert_int_equal(s.packets, s.sent);
	s = exchange(&r);
	assert_int_equal(s.sent, 2 * GATEWAYS * PER_GATEWAY);
	assert_int_equal(s.packets, s.sent);
	close_rig(&r);
}

static struct gb_peer broadcast(void)
{
	struct gb_peer p = {.n = sizeof(struct sockaddr_in)};
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_BROADCAST)};
	memcpy(p.addr, &a, sizeof(a));
	return p;
}

/* What shares a packet and cannot be sent is counted one by one, and stops neither the others nor the sharing. */
static void test_unreachable(void **state)
{
	struct rig r;
	struct gb_udp_out_stats s;
	struct gb_peer bad = broadcast(), none = {.n = 0};
	(void)state;
	open_rig(&r, AF_INET, GB_UDP_SHARE_ALWAYS);
	for (size_t k = 0; k < 6; k++) {
		say(&r, 0, k);
		gb_udp_out_add(r.o, &bad, lw_span("answ", 4));
		gb_udp_out_add(r.o, &none, lw_span("answ", 4));
		say(&r, 1, k);
	}
	gb_udp_out_flush(r.o);
	for (size_t k = 0; k < 6; k++) {
		expect(&r, 0, k);
		expect(&r, 1, k);
	}
	gb_udp_out_stats(r.o, &s);
	assert_int_equal(s.sent, 12);
	assert_int_equal(s.packets, 2);
	assert_int_equal(s.failed, 12);
	for (size_t k = 0; k < 6; k++)
		say(&r, 0, k);
	gb_udp_out_flush(r.o);
	gb_udp_out_stats(r.o, &s);
	assert_int_equal(s.packets, 3);
	close_rig(&r);
}

/* A packet takes only so many. */
static void test_full_packets(void **state)
{
	struct rig r;
	struct gb_udp_out_stats s;
	(void)state;
	open_rig(&r, AF_INET, GB_UDP_SHARE_LOCAL);
	for (size_t i = 0; i < 80; i++) {
		uint8_t bytes[16] = {(uint8_t)i, 1, 2, (uint8_t)~i};
		gb_udp_out_add(r.o, &r.peers[0], lw_span(bytes, i < 40 ? 4 : 16));
	}
	gb_udp_out_flush(r.o);
	for (size_t i = 0; i < 80; i++) {
		uint8_t got[17];
		assert_int_equal(recv(r.gateways[0], got, sizeof(got), 0), i < 40 ? 4 : 16);
		assert_int_equal(got[0], i);
		assert_int_equal(got[3], ~i & 0xff);
	}
	gb_udp_out_stats(r.o, &s);
	assert_int_equal(s.packets, 3 + 10);
	close_rig(&r);
}

/* Flush after flush: small and large change places in the same room. */
static void test_many(void **state)
{
	struct rig r;
	struct gb_udp_out_stats s;
	(void)state;
	open_rig(&r, AF_INET, GB_UDP_SHARE_LOCAL);
	for (size_t i = 0; i < 5000; i++) {
		uint8_t bytes[1000] = {(uint8_t)i};
		gb_udp_out_add(r.o, &r.peers[i % GATEWAYS], lw_span(bytes, i % 2 ? 4 : 1000));
		if (i % 100 != 99)
			continue;
		gb_udp_out_flush(r.o);
		for (size_t k = i - 99; k <= i; k++) {
			uint8_t got[1001];
			assert_int_equal(recv(r.gateways[k % GATEWAYS], got, sizeof(got), 0), k % 2 ? 4 : 1000);
			assert_int_equal(got[0], k & 0xff);
		}
	}
	gb_udp_out_stats(r.o, &s);
	assert_int_equal(s.sent, 5000);
	close_rig(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shared),       cmocka_unit_test(test_refused), cmocka_unit_test(test_unreachable),
		cmocka_unit_test(test_full_packets), cmocka_unit_test(test_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
