/* The network-server's flows on the virtual clock, for an end-device in another process: commands are lines on stdin,
 * what comes out are lines on stdout, ended by a line with a dot. tests/scenario/exchange plays the device. Knows one
 * device and one gateway; judges nothing itself.
 *
 *   device VERSION REGION DEV_EUI JOIN_EUI NWK_KEY APP_KEY   a new world; VERSION as an index of lw_mac_version
 *   session DEV_ADDR APP_S_KEY                              for the encryption of queued items
 *   counters UP N A                                         sets those of the stored session
 *   status N                                                DevStatusReq a day
 *   queue PORT CONFIRMED HEX                                an item, in the clear
 *   up HZ DR SNR HEX                                        a frame at the gateway
 *   ack STATUS...                                           of the last downlink
 *   pass MS */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/time.h"
#include "world.h"

#define WORDS 8
#define KIND(x) LONGWAVE__NS__V1__EVENT__KIND_##x

struct driver {
	struct world *w;
	struct world_device *d;
	char region[32];
	uint32_t uplinks;
	size_t shown; /* downlinks of the world's log that were printed */
};

static void unhex(const char *text, void *out, size_t n)
{
	if (lw_hex_decode(text, strlen(text), out, n) != (int)n) {
		fprintf(stderr, "%zu octets of hex expected: %s\n", n, text);
		exit(2);
	}
}

static void print_hex(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		printf("%02x", p[i]);
	if (n == 0)
		putchar('-');
}

static void print_item(const Gw__DownlinkFrameItem *item)
{
	const Gw__DownlinkTxInfo *tx = item->tx_info;
	const Gw__Modulation *m = tx->modulation;
	const Google__Protobuf__Duration *delay =
		tx->timing->parameters_case == GW__TIMING__PARAMETERS_DELAY ? tx->timing->delay->delay : NULL;
	printf("item %" PRId64 " %u ", delay != NULL ? (int64_t)delay->seconds * 1000 + delay->nanos / 1000000 : -1,
	       tx->frequency);
	if (m->parameters_case == GW__MODULATION__PARAMETERS_FSK)
		printf("FSK%u ", m->fsk->datarate);
	else
		printf("SF%u/%u %d ", m->lora->spreading_factor, m->lora->bandwidth / 1000,
		       m->lora->polarization_inversion);
	print_hex(item->phy_payload.data, item->phy_payload.len);
	putchar('\n');
}

static void print_event(const Longwave__Ns__V1__Event *e)
{
	switch (e->kind_case) {
	case KIND(UPLINK):
		printf("uplink %u %u %u %d ", e->uplink->f_cnt, e->uplink->f_port, e->uplink->dr, e->uplink->confirmed);
		print_hex(e->uplink->frm_payload.data, e->uplink->frm_payload.len);
		putchar('\n');
		break;
	case KIND(JOIN):
		printf("join\n");
		break;
	case KIND(ACK):
		printf("acked %u %d\n", e->ack->f_cnt_down, e->ack->acknowledged);
		break;
	case KIND(STATUS):
		printf("status\n");
		break;
	case KIND(LOG):
		printf("log %d %s\n", (int)e->log->code, e->log->description);
		break;
	default:
		break;
	}
}

/* Says what came out since the last time, and forgets it: a world's log is short. */
static void report(struct driver *v)
{
	struct world *w = v->w;
	for (size_t i = 0; i < w->n_events; i++) {
		print_event(w->event[i]);
		longwave__ns__v1__event__free_unpacked(w->event[i], NULL);
	}
	for (size_t i = 0; i < w->n_frames; i++) {
		const Longwave__Ns__V1__Frame *f = w->frame[i];
		if (f->uplink)
			printf("outcome %d %d\n", (int)f->outcome, (int)f->reason);
		longwave__ns__v1__frame__free_unpacked(w->frame[i], NULL);
	}
	for (size_t i = v->shown; i < w->n_downs; i++) {
		printf("down %zu\n", w->down[i].msg->n_items);
		for (size_t k = 0; k < w->down[i].msg->n_items; k++)
			print_item(w->down[i].msg->items[k]);
	}
	/* the last downlink stays: its tx-ack is to come */
	for (size_t i = 0; i + 1 < w->n_downs; i++)
		gw__downlink_frame__free_unpacked(w->down[i].msg, NULL);
	if (w->n_downs > 1)
		w->down[0] = w->down[w->n_downs - 1];
	w->n_downs = v->shown = w->n_downs > 0;
	w->n_events = w->n_frames = w->n_journal_done = w->n_journal_retry = 0;
	printf(".\n");
	fflush(stdout);
}

static void cmd_device(struct driver *v, char **a)
{
	if (v->w != NULL)
		world_free(v->w);
	v->w = world_new();
	v->shown = 0;
	v->d = world_device(v->w, (enum lw_mac_version)atoi(a[1]));
	snprintf(v->region, sizeof(v->region), "%s", a[2]);
	const struct ns_region_config *rc = ns_region_config_find(v->region);
	if (rc == NULL) {
		fprintf(stderr, "no region %s\n", a[2]);
		exit(2);
	}
	struct world_device *d = v->d;
	d->rec.profile.region = rc->region;
	unhex(a[3], d->rec.dev_eui.b, 8);
	unhex(a[4], d->rec.join_eui.b, 8);
	unhex(a[5], d->end.nwk_key.b, 16);
	unhex(d->end.is_11 ? a[6] : a[5], d->end.app_key.b, 16);
	d->end.dev_eui = d->rec.dev_eui;
	d->end.join_eui = d->rec.join_eui;
}

static void cmd_up(struct driver *v, char **a)
{
	struct air air = world_air();
	struct frame f;
	char context[9];
	snprintf(context, sizeof(context), "%08x", ++v->uplinks);
	air.region = v->region;
	air.context_hex = context;
	air.hz = (uint32_t)strtoul(a[1], NULL, 10);
	air.dr = (uint8_t)atoi(a[2]);
	air.snr = atof(a[3]);
	int n = lw_hex_decode(a[4], strlen(a[4]), f.b, sizeof(f.b));
	if (n < 0)
		exit(2);
	f.n = (size_t)n;
	if (v->d->n_nonces > 12) {
		memmove(v->d->nonces, v->d->nonces + 1, sizeof(v->d->nonces) - sizeof(v->d->nonces[0]));
		v->d->n_nonces--;
	}
	if (v->w->n_downs > 0)
		gw__downlink_frame__free_unpacked(v->w->down[0].msg, NULL);
	v->w->n_downs = v->shown = 0;
	world_receive(v->w, &air, &f);
	world_pass(v->w, 400);
}

static void cmd_counters(struct driver *v, char **a)
{
	struct ns_session s = world_session(v->d);
	s.f_cnt_up = (uint32_t)strtoul(a[1], NULL, 10);
	s.n_f_cnt_down = (uint32_t)strtoul(a[2], NULL, 10);
	s.a_f_cnt_down = (uint32_t)strtoul(a[3], NULL, 10);
	world_session_put(v->d, &s);
}

static void run(struct driver *v, char **a, size_t n)
{
	struct world_device *d = v->d;
	if (strcmp(a[0], "device") == 0 && n == 7) {
		cmd_device(v, a);
	} else if (strcmp(a[0], "up") == 0 && n == 5) {
		cmd_up(v, a);
	} else if (strcmp(a[0], "session") == 0 && n == 3) {
		d->end.devaddr.v = (uint32_t)strtoul(a[1], NULL, 16);
		unhex(a[2], d->end.keys.app_s.b, 16);
		d->n_queue = 0;
	} else if (strcmp(a[0], "counters") == 0 && n == 4) {
		cmd_counters(v, a);
	} else if (strcmp(a[0], "status") == 0 && n == 2) {
		d->rec.profile.device_status_req_interval = (uint32_t)atoi(a[1]);
	} else if (strcmp(a[0], "queue") == 0 && n == 4) {
		if (d->n_queue < 4)
			world_enqueue(v->w, d, (uint8_t)atoi(a[1]), a[2][0] == '1', a[3]);
	} else if (strcmp(a[0], "ack") == 0 && n >= 2 && n <= 3) {
		const char *status[3] = {a[1], n > 2 ? a[2] : NULL, NULL};
		world_ack(v->w, status);
	} else if (strcmp(a[0], "pass") == 0 && n == 2) {
		world_pass(v->w, (uint32_t)atoi(a[1]));
	} else {
		fprintf(stderr, "what is %s with %zu words?\n", a[0], n);
		exit(2);
	}
	report(v);
}

int main(void)
{
	struct driver v = {.w = NULL};
	char line[2048];
	while (fgets(line, sizeof(line), stdin) != NULL) {
		char *a[WORDS];
		size_t n = 0;
		char *save;
		for (char *p = strtok_r(line, " \n", &save); p != NULL && n < WORDS; p = strtok_r(NULL, " \n", &save))
			a[n++] = p;
		if (n > 0)
			run(&v, a, n);
	}
	if (v.w != NULL)
		world_free(v.w);
	return 0;
}
