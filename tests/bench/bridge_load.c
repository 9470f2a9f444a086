/* Load for the gateway-bridge alone: PUSH_DATA with one frame each, from a number of gateways, as fast as the bridge
 * acknowledges them. Never more than WINDOW datagrams without their PUSH_ACK, so that what is measured is the bridge
 * and not the kernel's buffer.
 *
 *   longwave-bridge-load PORT SECONDS [RATE]     prints frames acknowledged per second; RATE 0: as fast as it goes */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/base64.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"

#define GATEWAYS 100
#define BATCH 64
#define WINDOW 1024
#define HEAD 12

struct load {
	int fd;
	uint32_t number;
	uint64_t sent, acked;
	uint8_t datagram[BATCH][400];
	struct iovec iov[BATCH];
	struct mmsghdr out[BATCH], in[BATCH];
	uint8_t ack[BATCH][16];
	struct iovec ack_iov[BATCH];
};

/* A data frame that no other has: address and counter are its number. */
static size_t make(struct load *l, uint8_t *p)
{
	uint8_t phy[23] = {0x40};
	char text[64];
	uint32_t n = l->number++;
	lw_put_le32(phy + 1, n % 50000);
	lw_put_le16(phy + 6, (uint16_t)(n / 50000));
	lw_put_le32(phy + 9, n);
	size_t n_text = lw_base64_encode(phy, sizeof(phy), text);
	p[0] = 2;
	lw_put_le16(p + 1, (uint16_t)n);
	p[3] = 0;
	lw_put_be64(p + 4, 0x0016000000000000u + n % GATEWAYS);
	int k = snprintf((char *)p + HEAD, 400 - HEAD,
			 "{\"rxpk\":[{\"tmst\":%u,\"chan\":2,\"rfch\":0,\"freq\":868.500000,\"stat\":1,\"modu\":"
			 "\"LORA\",\"datr\":"
			 "\"SF7BW125\",\"codr\":\"4/5\",\"lsnr\":9.5,\"rssi\":-57,\"size\":23,\"data\":\"%.*s\"}]}",
			 n, (int)n_text, text);
	return HEAD + (size_t)k;
}

static void send_some(struct load *l, size_t n)
{
	for (size_t i = 0; i < n; i++)
		l->iov[i].iov_len = make(l, l->datagram[i]);
	int sent = sendmmsg(l->fd, l->out, (unsigned)n, 0);
	if (sent > 0)
		l->sent += (uint64_t)sent;
}

static void take_acks(struct load *l, int wait_ms)
{
	struct pollfd p = {.fd = l->fd, .events = POLLIN};
	if (poll(&p, 1, wait_ms) <= 0)
		return;
	int n;
	while ((n = recvmmsg(l->fd, l->in, BATCH, MSG_DONTWAIT, NULL)) > 0)
		l->acked += (uint64_t)n;
}

static int open_socket(unsigned port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int size = 4 << 20;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		perror("socket");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: longwave-bridge-load PORT SECONDS [RATE]\n");
		return 2;
	}
	static struct load l;
	double rate = argc > 3 ? strtod(argv[3], NULL) : 0, seconds = strtod(argv[2], NULL);
	l.fd = open_socket((unsigned)strtoul(argv[1], NULL, 10));
	for (size_t i = 0; i < BATCH; i++) {
		l.iov[i].iov_base = l.datagram[i];
		l.out[i].msg_hdr = (struct msghdr){.msg_iov = &l.iov[i], .msg_iovlen = 1};
		l.ack_iov[i] = (struct iovec){l.ack[i], sizeof(l.ack[i])};
		l.in[i].msg_hdr = (struct msghdr){.msg_iov = &l.ack_iov[i], .msg_iovlen = 1};
	}
	int64_t began = lw_mono_ns(), end = began + (int64_t)(seconds * 1e9), now;
	while ((now = lw_mono_ns()) < end) {
		double due = rate > 0 ? (double)(now - began) / 1e9 * rate - (double)l.sent : BATCH;
		uint64_t open = l.sent - l.acked;
		if (due >= 1 && open < WINDOW)
			send_some(&l, due < BATCH ? (size_t)due : BATCH);
		take_acks(&l, open >= WINDOW || due < 1 ? 1 : 0);
	}
	while (l.acked < l.sent && lw_mono_ns() < end + 2000000000)
		take_acks(&l, 10);
	printf("%.0f %llu %llu\n", (double)l.acked / ((double)(lw_mono_ns() - began) / 1e9), (unsigned long long)l.sent,
	       (unsigned long long)l.acked);
	close(l.fd);
	return 0;
}
