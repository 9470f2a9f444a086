/* A packet-forwarder of protocol version 2: PUSH_DATA, PULL_DATA, TX_ACK, a just-in-time queue. Knows no keys. */
#include <errno.h>
#include <json-c/json.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/base64.h"
#include "common/base/err.h"
#include "common/base/time.h"
#include "common/base/xmalloc.h"
#include "common/lorawan/airtime.h"
#include "tools/sim/sim.h"

enum { PUSH_DATA = 0, PUSH_ACK = 1, PULL_DATA = 2, PULL_RESP = 3, PULL_ACK = 4, TX_ACK = 5 };

#define LEAD_US 42500 /* a transmission that begins earlier than this is too late */
#define SPEED_OF_LIGHT_M_S 299792458.0
#define TOKENS (sizeof(((struct sim_gateway *)0)->tokens) / sizeof(struct sim_token))

static void head(uint8_t *p, uint16_t token, uint8_t type, uint64_t eui)
{
	p[0] = 2;
	lw_put_be16(p + 1, token);
	p[3] = type;
	lw_put_be64(p + 4, eui);
}

static uint32_t counter(const struct sim_gateway *g, int64_t at_us)
{
	return (uint32_t)at_us + g->clock_offset_us;
}

/* Our time of a counter value near now. */
static int64_t from_counter(const struct sim_gateway *g, uint32_t tmst, int64_t now_us)
{
	return now_us + (int32_t)(tmst - counter(g, now_us));
}

static void send_now(struct sim_gateway *g, const void *p, size_t n)
{
	if (send(g->fd, p, n, MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != ECONNREFUSED)
		fprintf(stderr, "longwave-sim: send: %m\n");
}

void sim_gateway_pull(struct sim_gateway *g)
{
	uint8_t b[12];
	head(b, g->next_token++, PULL_DATA, g->eui);
	send_now(g, b, sizeof(b));
}

void sim_gateway_stat(struct sim_gateway *g)
{
	uint8_t b[512];
	char when[LW_RFC3339_MAX];
	lw_rfc3339_format(lw_now_ns(), LW_FRAC_0, " GMT", when);
	when[10] = ' ';
	double ackr = g->sent_datagrams ? 100.0 * (double)g->acked_datagrams / (double)g->sent_datagrams : 100.0;
	head(b, g->next_token++, PUSH_DATA, g->eui);
	int n = snprintf(
		(char *)b + 12, sizeof(b) - 12,
		"{\"stat\":{\"time\":\"%s\",\"lati\":%.5f,\"long\":%.5f,\"alti\":12,\"rxnb\":%llu,\"rxok\":%llu,"
		"\"rxfw\":%llu,\"ackr\":%.1f,\"dwnb\":%llu,\"txnb\":%llu}}",
		when, g->lat, g->lon, (unsigned long long)g->rx_received, (unsigned long long)g->rx_received,
		(unsigned long long)g->rx_forwarded, fmin(ackr, 100.0), (unsigned long long)g->tx_received,
		(unsigned long long)g->tx_emitted);
	g->rx_received = g->rx_forwarded = g->tx_received = g->tx_emitted = 0;
	g->sent_datagrams = g->acked_datagrams = 0;
	send_now(g, b, 12 + (size_t)n);
}

static size_t print_datr(const struct lw_modulation *m, char *out, size_t cap)
{
	return (size_t)snprintf(out, cap, "SF%uBW%u", m->sf, m->bw_hz / 1000);
}

void sim_gateway_hear(struct sim_gateway *g, uint32_t number, const struct sim_uplink *up, uint32_t device,
		      double distance_m, uint32_t delay_ms)
{
	struct sim *s = g->sim;
	const struct lw_modulation *mod = lw_region_dr(s->o.region, LW_UP, up->dr);
	struct sim_datagram *d = s->pool;
	if (!mod || mod->kind != LW_MOD_LORA)
		return;
	if (d)
		s->pool = d->next;
	else
		d = lw_xmalloc(sizeof(*d));
	int64_t now_ns = lw_now_ns();
	double km = fmax(distance_m, 20) / 1000;
	double rssi = 14 - 118 - 29 * log10(km) + 3 * (lw_rng_unit(&s->rng) + lw_rng_unit(&s->rng) - 1);
	rssi = fmin(fmax(rssi, -139), -30);
	double snr = fmin(rssi + 117, 7 + 3 * lw_rng_unit(&s->rng));
	char datr[16], data[LW_BASE64_LEN(LW_PHY_MAX) + 1], fine[96] = "";
	print_datr(mod, datr, sizeof(datr));
	lw_base64_encode(up->phy, up->n, data);
	if (s->o.fine) {
		int64_t gps_ns = lw_gps_from_unix_ns(now_ns) + (int64_t)(distance_m / SPEED_OF_LIGHT_M_S * 1e9);
		snprintf(fine, sizeof(fine), ",\"tmms\":%lld,\"ftime\":%lld", (long long)(gps_ns / 1000000),
			 (long long)(gps_ns % 1000000000));
	}
	uint16_t token = g->next_token++;
	g->tokens[token % TOKENS] = (struct sim_token){.device = device, .f_cnt = up->f_cnt};
	head(d->bytes, token, PUSH_DATA, g->eui);
	int n = snprintf(
		(char *)d->bytes + 12, sizeof(d->bytes) - 12,
		"{\"rxpk\":[{\"jver\":1,\"tmst\":%u%s,\"chan\":0,\"rfch\":0,\"freq\":%u.%06u,\"mid\":8,\"stat\":1,"
		"\"modu\":\"LORA\",\"datr\":\"%s\",\"codr\":\"4/5\",\"rssis\":%d,\"lsnr\":%.1f,\"foff\":0,\"rssi\":%d,"
		"\"size\":%zu,\"data\":\"%s\"}]}",
		counter(g, sim_now_us()), fine, up->hz / 1000000, up->hz % 1000000, datr, (int)rssi, snr, (int)rssi,
		up->n, data);
	if (n < 0 || (size_t)n >= sizeof(d->bytes) - 12) {
		d->next = s->pool;
		s->pool = d;
		return;
	}
	d->gateway = number;
	d->n = 12 + (uint32_t)n;
	size_t slot = (size_t)(s->now_ms + 1 + delay_ms) % SIM_SLOTS;
	d->next = s->calendar[slot];
	s->calendar[slot] = d;
	g->rx_received++;
}

/* The uplink that a datagram with this token carries, NULL when it is none of a session. */
static struct sim_sent *sent_by(struct sim_gateway *g, uint16_t token)
{
	const struct sim_token *t = &g->tokens[token % TOKENS];
	if (t->device == UINT32_MAX)
		return NULL;
	struct sim_device *d = &g->sim->players[t->device].dev;
	uint32_t i = t->f_cnt - d->sent_base;
	return i < d->n_sent ? &d->sent[i] : NULL;
}

/* Everything that leaves in this millisecond, in as few system calls as the kernel allows. */
void sim_gateway_flush(struct sim_gateway *g)
{
	struct sim *s = g->sim;
	while (g->batch) {
		struct mmsghdr msgs[64];
		struct iovec iov[64];
		unsigned n = 0;
		int64_t now_us = sim_now_us();
		for (struct sim_datagram *d = g->batch; d && n < 64; d = d->next, n++) {
			struct sim_sent *sent = sent_by(g, lw_get_be16(d->bytes + 1));
			if (sent && !sent->wire_us)
				sent->wire_us = now_us;
			if (sent && !sent->deliveries)
				sent->last_us = now_us;
			iov[n] = (struct iovec){.iov_base = d->bytes, .iov_len = d->n};
			msgs[n] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[n], .msg_iovlen = 1}};
		}
		if (sendmmsg(g->fd, msgs, n, MSG_DONTWAIT) < 0 && errno != ECONNREFUSED && errno != EAGAIN)
			fprintf(stderr, "longwave-sim: sendmmsg: %m\n");
		s->c.datagrams += n;
		g->rx_forwarded += n;
		g->sent_datagrams += n;
		while (n--) {
			struct sim_datagram *d = g->batch;
			g->batch = d->next;
			d->next = s->pool;
			s->pool = d;
		}
	}
}

static void tx_ack(struct sim_gateway *g, uint16_t token, const char *error)
{
	if (g->sim->o.silent_acks)
		return;
	uint8_t b[128];
	head(b, token, TX_ACK, g->eui);
	int n = snprintf((char *)b + 12, sizeof(b) - 12, "{\"txpk_ack\":{\"error\":\"%s\"}}", error);
	send_now(g, b, 12 + (size_t)n);
}

static const char *plan_tx(struct sim_gateway *g, int64_t start_us, int64_t length_us, int64_t now_us)
{
	struct sim_tx *slot = NULL;
	if (start_us - now_us < LEAD_US)
		return "TOO_LATE";
	if (lw_rng_unit(&g->sim->rng) < g->sim->o.refuse)
		return "COLLISION_PACKET";
	for (size_t i = 0; i < SIM_JIT; i++) {
		struct sim_tx *t = &g->jit[i];
		if (t->end_us < now_us)
			slot = t;
		else if (start_us < t->end_us && t->start_us < start_us + length_us)
			return "COLLISION_PACKET";
	}
	if (!slot)
		return "COLLISION_PACKET";
	*slot = (struct sim_tx){.start_us = start_us, .end_us = start_us + length_us};
	return "NONE";
}

static json_object *member(json_object *o, const char *name, json_type type)
{
	json_object *v = NULL;
	if (!json_object_object_get_ex(o, name, &v))
		return NULL;
	if (type == json_type_double && json_object_is_type(v, json_type_int))
		return v;
	return json_object_is_type(v, type) ? v : NULL;
}

static bool parse_datr(json_object *tx, struct lw_modulation *mod)
{
	json_object *v = member(tx, "datr", json_type_string);
	unsigned sf, bw;
	if (!v || sscanf(json_object_get_string(v), "SF%uBW%u", &sf, &bw) != 2)
		return false;
	*mod = (struct lw_modulation){.kind = LW_MOD_LORA, .sf = (uint8_t)sf, .bw_hz = bw * 1000, .cr = LW_CR_4_5};
	return true;
}

/* A gateway that cannot read a PULL_RESP says nothing (udp.md §3). */
static void pull_resp(struct sim_gateway *g, uint16_t token, const char *text, size_t n)
{
	struct sim *s = g->sim;
	json_tokener *t = json_tokener_new();
	json_object *root = json_tokener_parse_ex(t, text, (int)n);
	json_tokener_free(t);
	json_object *tx = root ? member(root, "txpk", json_type_object) : NULL;
	struct lw_modulation mod;
	uint8_t phy[LW_PHY_MAX];
	s->c.pull_resps++;
	g->tx_received++;
	json_object *freq = tx ? member(tx, "freq", json_type_double) : NULL;
	json_object *data = tx ? member(tx, "data", json_type_string) : NULL;
	json_object *tmst = tx ? member(tx, "tmst", json_type_int) : NULL;
	json_object *imme = tx ? member(tx, "imme", json_type_boolean) : NULL;
	if (freq && data && parse_datr(tx, &mod)) {
		const char *b64 = json_object_get_string(data);
		int len = lw_base64_decode(b64, strlen(b64), phy, sizeof(phy));
		int64_t now = sim_now_us();
		bool at_once = imme && json_object_get_boolean(imme);
		int64_t start = at_once ? now + 80000
				: tmst  ? from_counter(g, (uint32_t)json_object_get_int64(tmst), now)
					: 0;
		if (len > 0 && start) {
			int64_t us = lw_airtime_us(&mod, LW_DOWN, (size_t)len);
			const char *answer = plan_tx(g, start, us, now);
			tx_ack(g, token, answer);
			if (!strcmp(answer, "NONE")) {
				g->tx_emitted++;
				sim_fly(s, start, (uint32_t)lround(json_object_get_double(freq) * 1e6), &mod, phy,
					(size_t)len);
			} else {
				s->c.tx_refused++;
				s->c.tx_too_late += !strcmp(answer, "TOO_LATE");
			}
		}
	} else {
		s->c.malformed++;
	}
	json_object_put(root);
}

static void push_ack(struct sim_gateway *g, uint16_t token)
{
	struct sim *s = g->sim;
	struct sim_token *t = &g->tokens[token % TOKENS];
	s->c.push_acks++;
	g->acked_datagrams++;
	if (t->device == UINT32_MAX)
		return;
	struct sim_sent *sent = sent_by(g, token);
	if (sent && !sent->accepted) {
		sent->accepted = true;
		s->c.accepted++;
	}
	t->device = UINT32_MAX;
}

static void on_readable(struct rt_watch *w, unsigned events, void *arg)
{
	struct sim_gateway *g = arg;
	char buf[2048];
	(void)w;
	(void)events;
	for (int i = 0; i < 512; i++) {
		ssize_t n = recv(g->fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);
		if (n < 4)
			return;
		uint16_t token = lw_get_be16((const uint8_t *)buf + 1);
		if (buf[3] == PUSH_ACK)
			push_ack(g, token);
		else if (buf[3] == PULL_RESP)
			pull_resp(g, token, buf + 4, (size_t)n - 4);
	}
}

int sim_gateway_init(struct sim_gateway *g, struct sim *s, uint32_t n)
{
	*g = (struct sim_gateway){.sim = s, .fd = -1};
	g->eui = UINT64_C(0x0016c001f1500000) + s->o.first_gateway + n;
	for (size_t i = 0; i < TOKENS; i++)
		g->tokens[i].device = UINT32_MAX;
	double r = n == 0 ? 0 : s->o.radius_m * sqrt((double)n / s->o.gateways);
	double phi = n * 2.399963; /* golden angle: spread evenly */
	g->lat = s->o.latitude + r * cos(phi) / 111320.0;
	g->lon = s->o.longitude + r * sin(phi) / (111320.0 * cos(s->o.latitude * M_PI / 180));
	g->clock_offset_us = (uint32_t)lw_rng_u64(&s->rng);
	if (s->o.print_plan)
		return 0;
	g->fd = socket(s->server.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int size = 4 << 20;
	if (g->fd < 0 || connect(g->fd, (struct sockaddr *)&s->server, s->server_len))
		return -errno;
	setsockopt(g->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	g->watch = rt_watch_new(s->loop, g->fd, RT_READ, "gateway", on_readable, g);
	return g->watch ? 0 : LW_EIO;
}

void sim_gateway_deinit(struct sim_gateway *g)
{
	rt_watch_free(g->watch);
	if (g->fd >= 0)
		close(g->fd);
}
