/* Gateways of the load program: packet-forwarders that hear what they are told and acknowledge every downlink. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/base64.h"
#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "tests/bench/load.h"

enum { PUSH_DATA = 0, PULL_DATA = 2, PULL_RESP = 3, TX_ACK = 5 };

static size_t head(uint8_t *p, uint16_t token, uint8_t type, uint64_t eui)
{
	p[0] = 2;
	lw_put_be16(p + 1, token);
	p[3] = type;
	lw_put_be64(p + 4, eui);
	return 12;
}

static void send_now(struct load_gateway *g, const void *p, size_t n)
{
	if (send(g->fd, p, n, 0) < 0 && errno != ECONNREFUSED)
		perror("send");
}

static void pull(struct load_gateway *g)
{
	uint8_t b[12];
	send_now(g, b, head(b, g->token++, PULL_DATA, g->eui));
}

static void on_keepalive(struct rt_timer *t, void *arg)
{
	struct load *l = arg;
	(void)t;
	for (uint32_t i = 0; i < l->o.gateways; i++)
		pull(&l->gateways[i]);
}

void load_air_hear(struct load *l, uint32_t gateway, const struct sim_uplink *up, uint32_t tmst_us)
{
	struct load_gateway *g = &l->gateways[gateway % l->o.gateways];
	const struct lw_modulation *mod = lw_region_dr(l->o.region, LW_UP, up->dr);
	uint8_t b[640];
	char data[LW_BASE64_LEN(LW_PHY_MAX) + 1];
	size_t n = head(b, g->token++, PUSH_DATA, g->eui);
	lw_base64_encode(up->phy, up->n, data);
	n += (size_t)snprintf(
		(char *)b + n, sizeof(b) - n,
		"{\"rxpk\":[{\"tmst\":%u,\"chan\":0,\"rfch\":0,\"freq\":%u.%06u,\"stat\":1,\"modu\":\"LORA\","
		"\"datr\":\"SF%uBW%u\",\"codr\":\"4/5\",\"lsnr\":7.0,\"rssi\":-60,\"size\":%zu,\"data\":\"%s\"}]}",
		tmst_us, up->hz / 1000000, up->hz % 1000000, mod->sf, mod->bw_hz / 1000, up->n, data);
	send_now(g, b, n);
}

/* Our own bridge's compact JSON; only what is counted is looked at. */
static void pull_resp(struct load_gateway *g, const char *text, uint16_t token)
{
	struct load *l = g->load;
	struct load_downlink d = {.now_us = lw_mono_ns() / 1000};
	uint8_t b[64];
	const char *tmst = strstr(text, "\"tmst\":"), *data = strstr(text, "\"data\":\"");
	d.at_once = strstr(text, "\"imme\":true") != NULL;
	d.tmst_us = tmst ? (uint32_t)strtoul(tmst + 7, NULL, 10) : 0;
	if (data) {
		d.data = data + 8;
		d.n_data = strcspn(d.data, "\"");
	}
	size_t n = head(b, token, TX_ACK, g->eui);
	n += (size_t)snprintf((char *)b + n, sizeof(b) - n, "{\"txpk_ack\":{\"error\":\"NONE\"}}");
	send_now(g, b, n);
	l->pull_resps++;
	l->on_downlink(l, &d);
}

static void on_readable(struct rt_watch *w, unsigned events, void *arg)
{
	struct load_gateway *g = arg;
	char buf[2048];
	(void)w;
	(void)events;
	for (;;) {
		ssize_t n = recv(g->fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);
		if (n < 4)
			return;
		buf[n] = 0;
		if (buf[3] == PULL_RESP)
			pull_resp(g, buf + 4, lw_get_be16((const uint8_t *)buf + 1));
	}
}

static int resolve(struct load *l, struct addrinfo **out)
{
	char host[256];
	const char *colon = strrchr(l->o.server, ':');
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
	if (!colon || (size_t)(colon - l->o.server) >= sizeof(host))
		return LW_EINVAL;
	memcpy(host, l->o.server, (size_t)(colon - l->o.server));
	host[colon - l->o.server] = 0;
	return getaddrinfo(host, colon + 1, &hints, out) ? LW_ENOTFOUND : 0;
}

int load_air_open(struct load *l)
{
	struct addrinfo *to = NULL;
	int err = resolve(l, &to), size = 4 << 20;
	if (err)
		return err;
	l->gateways = lw_xcalloc(l->o.gateways, sizeof(*l->gateways));
	for (uint32_t i = 0; i < l->o.gateways; i++) {
		struct load_gateway *g = &l->gateways[i];
		*g = (struct load_gateway){.load = l, .eui = LOAD_GATEWAY_EUI + i};
		g->fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (g->fd < 0 || connect(g->fd, to->ai_addr, to->ai_addrlen)) {
			freeaddrinfo(to);
			return LW_EIO;
		}
		setsockopt(g->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
		g->watch = rt_watch_new(l->loop, g->fd, RT_READ, "gateway", on_readable, g);
		pull(g);
	}
	freeaddrinfo(to);
	rt_timer_init(&l->keepalive, l->loop, "keepalive", on_keepalive, l);
	rt_timer_start_every(&l->keepalive, 5000);
	return 0;
}

void load_air_close(struct load *l)
{
	rt_timer_stop(&l->keepalive);
	for (uint32_t i = 0; l->gateways && i < l->o.gateways; i++) {
		rt_watch_free(l->gateways[i].watch);
		if (l->gateways[i].fd > 0)
			close(l->gateways[i].fd);
	}
	free(l->gateways);
	l->gateways = NULL;
}
