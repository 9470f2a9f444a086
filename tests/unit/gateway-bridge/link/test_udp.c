/* The bridge's socket: batches in, batches out, whatever the sizes. */
#include "gateway-bridge/link/udp.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define LONG_MS 20000
#define ANSWER_MAX 1000
#define BIG 60000

struct rig {
	struct rt_loop *loop;
	struct gb_udp *u;
	int fd; /* the gateway */
	size_t got, want;
	bool all;
};

/* A datagram says its number in its first bytes; all others follow from it. */
static size_t size_of(size_t number)
{
	static const size_t sizes[] = {4, 12, 190, 2240, 2241, 5000, BIG};
	return sizes[number % (sizeof(sizes) / sizeof(sizes[0]))];
}

static void fill(uint8_t *p, size_t number)
{
	lw_put_be32(p, (uint32_t)number);
	for (size_t i = 4; i < size_of(number); i++)
		p[i] = (uint8_t)(number * 7 + i);
}

static void on_batch(void *arg, const struct gb_udp_datagram *v, size_t n)
{
	static uint8_t expected[BIG];
	struct rig *r = arg;
	for (size_t i = 0; i < n; i++) {
		fill(expected, r->got);
		assert_int_equal(v[i].bytes.n, size_of(r->got));
		assert_memory_equal(v[i].bytes.p, expected, v[i].bytes.n);
		size_t most = v[i].bytes.n < ANSWER_MAX ? v[i].bytes.n : ANSWER_MAX;
		gb_udp_send(r->u, &v[i].peer, lw_span(v[i].bytes.p, most));
		r->got++;
	}
	gb_udp_flush(r->u);
	r->all = r->got >= r->want;
}

static int open_udp(struct rig *r, uint32_t receive_buffer, gb_udp_batch_fn *on, enum gb_udp_share share)
{
	struct lw_diag d = {0};
	return gb_udp_open(&r->u,
			   &(struct gb_udp_opts){.loop = r->loop,
						 .bind = "127.0.0.1:0",
						 .receive_buffer = receive_buffer,
						 .share = share,
						 .on_batch = on,
						 .arg = r},
			   &d);
}

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	const int size = 8 << 20;
	const struct timeval patience = {.tv_sec = LONG_MS / 1000};
	r->loop = rt_loop_new();
	if (open_udp(r, 8 << 20, on_batch, GB_UDP_SHARE_LOCAL) < 0)
		return -1;
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(gb_udp_port(r->u)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	r->fd = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(r->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	*state = r;
	return connect(r->fd, (struct sockaddr *)&to, sizeof(to));
}

static int teardown(void **state)
{
	struct rig *r = *state;
	gb_udp_close(r->u);
	rt_loop_free(r->loop);
	close(r->fd);
	free(r);
	return 0;
}

static void expect_answer(struct rig *r, size_t number)
{
	static uint8_t expected[BIG];
	uint8_t answer[2 * ANSWER_MAX];
	size_t n = size_of(number) < ANSWER_MAX ? size_of(number) : ANSWER_MAX;
	fill(expected, number);
	assert_int_equal(recv(r->fd, answer, sizeof(answer), 0), n);
	assert_memory_equal(answer, expected, n);
}

/* More than one batch waits, small and large mixed; then again, in the same room. */
static void test_batches(void **state)
{
	static uint8_t bytes[BIG];
	struct rig *r = *state;
	size_t number = 0;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 20; i++, number++) {
			fill(bytes, number);
			assert_int_equal(send(r->fd, bytes, size_of(number), 0), size_of(number));
		}
		r->want = number;
		r->all = false;
		assert_true(rt_loop_run_until(r->loop, &r->all, LONG_MS));
		for (size_t i = number - 20; i < number; i++)
			expect_answer(r, i);
	}
	struct gb_udp_stats s;
	gb_udp_stats(r->u, &s);
	assert_int_equal(s.received, 60);
	assert_int_equal(s.sent, 60);
	assert_int_equal(s.overflow, 0);
}

static void count_batch(void *arg, const struct gb_udp_datagram *v, size_t n)
{
	struct rig *r = arg;
	(void)v;
	r->got += n;
	r->all = v[n - 1].bytes.n == 1; /* the last one */
}

/* Sends the one that tells the count, until it finds room. */
static void tell(struct rig *r, size_t *sent)
{
	r->all = false;
	for (int i = 0; i < 200 && !r->all; i++, ++*sent) {
		assert_int_equal(send(r->fd, "", 1, 0), 1);
		rt_loop_run_until(r->loop, &r->all, 100);
	}
	assert_true(r->all);
}

/* What the kernel had no room for is counted, also by datagrams that come into room used before. */
static void test_overflow(void **state)
{
	struct rig *r = *state;
	static const uint8_t bytes[ANSWER_MAX];
	size_t sent = 0;
	gb_udp_close(r->u);
	assert_int_equal(open_udp(r, 16384, count_batch, GB_UDP_SHARE_LOCAL), 0);
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(gb_udp_port(r->u)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(connect(r->fd, (struct sockaddr *)&to, sizeof(to)), 0);
	for (int round = 0; round < 6; round++) {
		size_t many = round % 2 ? 300 : 1;
		for (size_t i = 0; i < many; i++, sent++)
			assert_int_equal(send(r->fd, bytes, ANSWER_MAX, 0), ANSWER_MAX);
		tell(r, &sent);
	}
	struct gb_udp_stats s;
	int tries = 0;
	do {
		tell(r, &sent);
		gb_udp_stats(r->u, &s);
	} while (s.received + s.overflow != sent && tries++ < 50);
	assert_int_equal(s.received + s.overflow, sent);
	assert_true(s.overflow > 100);
}

static struct gb_peer peer_of(uint32_t address, uint16_t port)
{
	struct gb_peer p = {.n = sizeof(struct sockaddr_in)};
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(address)};
	memcpy(p.addr, &a, sizeof(a));
	return p;
}

/* More than the queue holds, and among them some that the system refuses: the others arrive, whole and in order. */
static void test_many_answers(void **state)
{
	struct rig *r = *state;
	struct sockaddr_in me;
	socklen_t n = sizeof(me);
	assert_int_equal(getsockname(r->fd, (struct sockaddr *)&me, &n), 0);
	struct gb_peer good = peer_of(INADDR_LOOPBACK, ntohs(me.sin_port));
	struct gb_peer bad = peer_of(INADDR_BROADCAST, 9); /* not without SO_BROADCAST */
	struct gb_peer none = {.n = 0};
	size_t refused = 0;
	uint8_t bytes[ANSWER_MAX];
	for (size_t i = 0; i < 2500; i++) {
		lw_put_be32(bytes, (uint32_t)i);
		memset(bytes + 4, (int)(i & 0xff), 96);
		if (i % 97 == 5) {
			gb_udp_send(r->u, &bad, lw_span(bytes, 4));
			refused++;
		}
		if (i % 500 == 7) {
			gb_udp_send(r->u, &none, lw_span(bytes, 4));
			refused++;
		}
		gb_udp_send(r->u, &good, lw_span(bytes, 4 + i % 97));
	}
	gb_udp_flush(r->u);
	for (size_t i = 0; i < 2500; i++) {
		uint8_t got[ANSWER_MAX];
		assert_int_equal(recv(r->fd, got, sizeof(got), 0), 4 + i % 97);
		assert_int_equal(lw_get_be32(got), i);
		for (size_t k = 4; k < 4 + i % 97; k++)
			assert_int_equal(got[k], i & 0xff);
	}
	struct gb_udp_stats s;
	gb_udp_stats(r->u, &s);
	assert_int_equal(s.sent, 2500);
	assert_int_equal(s.send_failed, refused);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_batches, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overflow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_answers, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
