/* Load for the gateway-bridge alone: PUSH_DATA with one frame each, from a number of gateways, as fast as the bridge
 * acknowledges them. Never more than WINDOW datagrams without their PUSH_ACK, so that what is measured is the bridge
 * and not the kernel's buffer. Each gateway has an address of its own (127.1.0.1, 127.1.0.2, …) and says TRAIN
 * datagrams in a row. It shares the machine with what it measures, so it is cheap: datagrams are patched and not
 * printed, a train goes to the kernel as one piece (UDP_SEGMENT) and its PUSH_ACKs are read as they come in one
 * (UDP_GRO), and it sleeps between its looks instead of being woken by each answer.
 *
 *   longwave-bridge-load PORT SECONDS [RATE [GATEWAYS [TRAIN]]]
 *
 * prints frames acknowledged per second; RATE 0: as fast as it goes. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/base64.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"

#define GATEWAYS 100
#define MAX_GATEWAYS 65000
#define TRAIN 4
#define MAX_TRAIN 16
#define BATCH 128
#define DATAGRAM_MAX 400
#define ACK 4
#define WINDOW 1024
#define HEAD 12
#define LOOK_NS 400000 /* a window lasts ten milliseconds at 100,000/s */
/* What changes in a frame stands in its first fifteen bytes, which are so many characters of base64. */
#define CHANGED 15
#define CHANGED_TEXT 20
#define TMST_DIGITS 10

/* What is said of a train beside its bytes. */
union about {
	struct cmsghdr head;
	char room[CMSG_SPACE(sizeof(struct in_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
};

struct load {
	int fd;
	uint32_t number, gateways;
	size_t train; /* datagrams */
	uint64_t sent, acked;
	struct sockaddr_in to;
	uint8_t bytes[BATCH * DATAGRAM_MAX]; /* datagrams of n bytes, one after the other */
	size_t at_tmst, at_data, n;          /* the same in each */
	struct iovec iov[BATCH];
	union about about[BATCH];
	struct mmsghdr out[BATCH], in[BATCH];
	uint8_t ack[BATCH][64 * ACK];
	struct iovec ack_iov[BATCH];
};

static void make_template(struct load *l)
{
	uint8_t *p = l->bytes;
	static const uint8_t phy[23] = {0x40};
	char data[64];
	data[lw_base64_encode(phy, sizeof(phy), data)] = 0;
	p[0] = 2;
	p[3] = 0;
	char *json = (char *)p + HEAD;
	int k = snprintf(
		json, DATAGRAM_MAX - HEAD,
		"{\"rxpk\":[{\"tmst\":1000000000,\"chan\":2,\"rfch\":0,\"freq\":868.500000,\"stat\":1,\"modu\":"
		"\"LORA\",\"datr\":\"SF7BW125\",\"codr\":\"4/"
		"5\",\"lsnr\":9.5,\"rssi\":-57,\"size\":23,\"data\":\"%s\"}]}",
		data);
	l->n = HEAD + (size_t)k;
	l->at_tmst = (size_t)(strstr(json, "1000000000") - json) + HEAD;
	l->at_data = (size_t)(strstr(json, data) - json) + HEAD;
	for (size_t i = 1; i < BATCH; i++)
		memcpy(p + i * l->n, p, l->n);
}

/* A data frame that no other has: address and counter are its number. */
static void patch(struct load *l, uint8_t *p, uint32_t gateway)
{
	uint8_t phy[CHANGED] = {0x40};
	char text[CHANGED_TEXT + 4];
	uint32_t n = l->number++, tmst = n % 1000000000;
	lw_put_le32(phy + 1, n % 50000);
	lw_put_le16(phy + 6, (uint16_t)(n / 50000));
	lw_put_le32(phy + 9, n);
	lw_base64_encode(phy, sizeof(phy), text);
	memcpy(p + l->at_data, text, CHANGED_TEXT);
	for (size_t k = TMST_DIGITS - 1; k > 0; k--, tmst /= 10)
		p[l->at_tmst + k] = (uint8_t)('0' + tmst % 10);
	lw_put_le16(p + 1, (uint16_t)n);
	lw_put_be64(p + 4, 0x0016000000000000u + gateway);
}

static void prepare_train(struct load *l, size_t i)
{
	uint32_t gateway = l->number / (uint32_t)l->train % l->gateways;
	for (size_t k = 0; k < l->train; k++)
		patch(l, l->bytes + (i * l->train + k) * l->n, gateway);
	struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(0x7f010001u + gateway)};
	memcpy(CMSG_DATA(&l->about[i].head), &info, sizeof(info));
}

/* n datagrams, whole trains. */
static void send_some(struct load *l, size_t n)
{
	uint32_t before = l->number;
	for (size_t i = 0; i < n / l->train; i++)
		prepare_train(l, i);
	int sent = sendmmsg(l->fd, l->out, (unsigned)(n / l->train), 0);
	if (sent < 0 && errno != EAGAIN && errno != ENOBUFS && errno != EINTR) {
		perror("sendmmsg");
		exit(1);
	}
	size_t done = sent > 0 ? (size_t)sent * l->train : 0;
	l->sent += done;
	l->number = before + (uint32_t)done;
}

static void take_acks(struct load *l)
{
	int n;
	do {
		n = recvmmsg(l->fd, l->in, BATCH, MSG_DONTWAIT, NULL);
		for (int i = 0; i < n; i++)
			l->acked += l->in[i].msg_len / ACK;
	} while (n == BATCH);
}

static int open_socket(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	const int size = 4 << 20, on = 1;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)); /* without it each comes alone */
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0) {
		perror("socket");
		exit(1);
	}
	return fd;
}

static void describe_train(struct load *l, size_t i)
{
	uint16_t n = (uint16_t)l->n;
	struct msghdr *h = &l->out[i].msg_hdr;
	l->iov[i] = (struct iovec){l->bytes + i * l->train * l->n, l->train * l->n};
	*h = (struct msghdr){.msg_name = &l->to,
			     .msg_namelen = sizeof(l->to),
			     .msg_iov = &l->iov[i],
			     .msg_iovlen = 1,
			     .msg_control = &l->about[i],
			     .msg_controllen = CMSG_SPACE(sizeof(struct in_pktinfo))};
	l->about[i].head = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo)), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO};
	if (l->train == 1)
		return;
	h->msg_controllen = sizeof(l->about[i]);
	struct cmsghdr *c = CMSG_NXTHDR(h, &l->about[i].head);
	*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(n)), .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT};
	memcpy(CMSG_DATA(c), &n, sizeof(n));
}

static void prepare(struct load *l, unsigned port)
{
	l->fd = open_socket();
	l->to = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	make_template(l);
	for (size_t i = 0; i < BATCH / l->train; i++)
		describe_train(l, i);
	for (size_t i = 0; i < BATCH; i++) {
		l->ack_iov[i] = (struct iovec){l->ack[i], sizeof(l->ack[i])};
		l->in[i].msg_hdr = (struct msghdr){.msg_iov = &l->ack_iov[i], .msg_iovlen = 1};
	}
}

static size_t number_of(int argc, char **argv, int i, size_t usual, size_t most)
{
	size_t n = argc > i ? strtoul(argv[i], NULL, 10) : usual;
	return n < 1 ? 1 : n < most ? n : most;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: longwave-bridge-load PORT SECONDS [RATE [GATEWAYS [TRAIN]]]\n");
		return 2;
	}
	static struct load l;
	const struct timespec look = {.tv_nsec = LOOK_NS};
	double rate = argc > 3 ? strtod(argv[3], NULL) : 0, seconds = strtod(argv[2], NULL);
	l.gateways = (uint32_t)number_of(argc, argv, 4, GATEWAYS, MAX_GATEWAYS);
	l.train = number_of(argc, argv, 5, TRAIN, MAX_TRAIN);
	prepare(&l, (unsigned)strtoul(argv[1], NULL, 10));
	prctl(PR_SET_TIMERSLACK, 1000UL);
	int64_t began = lw_mono_ns(), end = began + (int64_t)(seconds * 1e9), now;
	while ((now = lw_mono_ns()) < end) {
		double due = rate > 0 ? (double)(now - began) / 1e9 * rate - (double)l.sent : BATCH;
		uint64_t room = WINDOW - (l.sent - l.acked);
		size_t n = due < BATCH ? (size_t)due : BATCH;
		n = n < room ? n : (size_t)room;
		n -= n % l.train;
		if (n > 0)
			send_some(&l, n);
		if (n + l.train <= BATCH)
			nanosleep(&look, NULL);
		take_acks(&l);
	}
	double s = (double)(lw_mono_ns() - began) / 1e9;
	printf("%.0f %llu %llu\n", (double)l.acked / s, (unsigned long long)l.sent, (unsigned long long)l.acked);
	close(l.fd);
	return 0;
}
