/* Load for the gateway-bridge alone: PUSH_DATA with one frame each, from a number of gateways, as fast as the bridge
 * acknowledges them. Never more than WINDOW datagrams without their PUSH_ACK, so that what is measured is the bridge
 * and not the kernel's buffer. Each gateway has an address of its own (127.1.0.1, 127.1.0.2, …) and no two datagrams in
 * a row come from the same one, as in the field. It shares the machine with what it measures, so it is cheap: datagrams
 * are patched and not printed, and it sleeps between its looks instead of being woken by each answer.
 *
 *   longwave-bridge-load PORT SECONDS [RATE]     prints frames acknowledged per second; RATE 0: as fast as it goes */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
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
#define BATCH 128
#define WINDOW 1024
#define HEAD 12
#define LOOK_NS 400000 /* a window lasts ten milliseconds at 100,000/s */
/* What changes in a frame stands in its first fifteen bytes, which are so many characters of base64. */
#define CHANGED 15
#define CHANGED_TEXT 20
#define TMST_DIGITS 10

struct load {
	int fd;
	uint32_t number;
	uint64_t sent, acked;
	struct sockaddr_in to;
	uint8_t datagram[BATCH][400];
	size_t at_tmst, at_data, n; /* the same in each */
	struct iovec iov[BATCH];
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control[BATCH];
	struct mmsghdr out[BATCH], in[BATCH];
	uint8_t ack[BATCH][16];
	struct iovec ack_iov[BATCH];
};

static void make_template(struct load *l, uint8_t *p)
{
	static const uint8_t phy[23] = {0x40};
	char data[64];
	data[lw_base64_encode(phy, sizeof(phy), data)] = 0;
	p[0] = 2;
	p[3] = 0;
	char *json = (char *)p + HEAD;
	int k = snprintf(
		json, 400 - HEAD,
		"{\"rxpk\":[{\"tmst\":1000000000,\"chan\":2,\"rfch\":0,\"freq\":868.500000,\"stat\":1,\"modu\":"
		"\"LORA\",\"datr\":\"SF7BW125\",\"codr\":\"4/"
		"5\",\"lsnr\":9.5,\"rssi\":-57,\"size\":23,\"data\":\"%s\"}]}",
		data);
	l->n = HEAD + (size_t)k;
	l->at_tmst = (size_t)(strstr(json, "1000000000") - json) + HEAD;
	l->at_data = (size_t)(strstr(json, data) - json) + HEAD;
}

/* A data frame that no other has: address and counter are its number. */
static void patch(struct load *l, size_t i)
{
	uint8_t *p = l->datagram[i], phy[CHANGED] = {0x40};
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
	lw_put_be64(p + 4, 0x0016000000000000u + n % GATEWAYS);
	struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(0x7f010001u + n % GATEWAYS)};
	memcpy(CMSG_DATA(&l->control[i].head), &info, sizeof(info));
}

static void send_some(struct load *l, size_t n)
{
	uint32_t before = l->number;
	for (size_t i = 0; i < n; i++)
		patch(l, i);
	int sent = sendmmsg(l->fd, l->out, (unsigned)n, 0);
	if (sent < 0 && errno != EAGAIN && errno != ENOBUFS && errno != EINTR) {
		perror("sendmmsg");
		exit(1);
	}
	l->sent += sent > 0 ? (uint64_t)sent : 0;
	l->number = before + (sent > 0 ? (uint32_t)sent : 0);
}

static void take_acks(struct load *l)
{
	int n;
	do {
		n = recvmmsg(l->fd, l->in, BATCH, MSG_DONTWAIT, NULL);
		l->acked += n > 0 ? (uint64_t)n : 0;
	} while (n == BATCH);
}

static int open_socket(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	const int size = 4 << 20;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0) {
		perror("socket");
		exit(1);
	}
	return fd;
}

static void prepare(struct load *l, unsigned port)
{
	l->fd = open_socket();
	l->to = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	for (size_t i = 0; i < BATCH; i++) {
		make_template(l, l->datagram[i]);
		l->iov[i] = (struct iovec){l->datagram[i], l->n};
		l->control[i].head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo)),
						      .cmsg_level = IPPROTO_IP,
						      .cmsg_type = IP_PKTINFO};
		l->out[i].msg_hdr = (struct msghdr){.msg_name = &l->to,
						    .msg_namelen = sizeof(l->to),
						    .msg_iov = &l->iov[i],
						    .msg_iovlen = 1,
						    .msg_control = &l->control[i],
						    .msg_controllen = sizeof(l->control[i])};
		l->ack_iov[i] = (struct iovec){l->ack[i], sizeof(l->ack[i])};
		l->in[i].msg_hdr = (struct msghdr){.msg_iov = &l->ack_iov[i], .msg_iovlen = 1};
	}
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: longwave-bridge-load PORT SECONDS [RATE]\n");
		return 2;
	}
	static struct load l;
	const struct timespec look = {.tv_nsec = LOOK_NS};
	double rate = argc > 3 ? strtod(argv[3], NULL) : 0, seconds = strtod(argv[2], NULL);
	prepare(&l, (unsigned)strtoul(argv[1], NULL, 10));
	prctl(PR_SET_TIMERSLACK, 1000UL);
	int64_t began = lw_mono_ns(), end = began + (int64_t)(seconds * 1e9), now;
	while ((now = lw_mono_ns()) < end) {
		double due = rate > 0 ? (double)(now - began) / 1e9 * rate - (double)l.sent : BATCH;
		uint64_t room = WINDOW - (l.sent - l.acked);
		size_t n = due < BATCH ? (size_t)due : BATCH;
		n = n < room ? n : (size_t)room;
		if (n > 0)
			send_some(&l, n);
		if (n < BATCH)
			nanosleep(&look, NULL);
		take_acks(&l);
	}
	double s = (double)(lw_mono_ns() - began) / 1e9;
	printf("%.0f %llu %llu\n", (double)l.acked / s, (unsigned long long)l.sent, (unsigned long long)l.acked);
	close(l.fd);
	return 0;
}
