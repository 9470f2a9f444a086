/* The network-server's flows on the virtual clock, for an end-device in another process: commands are lines on stdin,
 * what comes out are lines on stdout, ended by a line with a dot: many commands may be written before the first answer
 * is read. tests/scenario/exchange.py plays the device. Knows one device and one gateway; judges nothing itself.
 *
 *   device VERSION REGION DEV_EUI JOIN_EUI NWK_KEY APP_KEY   a new world; VERSION as an index of lw_mac_version
 *   abp DEV_ADDR FNWKSINT SNWKSINT NWKSENC APPS             activates it so
 *   set WHAT VALUE...                                       of profile or region configuration: see SETTINGS
 *   session DEV_ADDR APP_S_KEY                              for the encryption of queued items
 *   counters UP N A                                         sets those of the stored session
 *   queue PORT CONFIRMED HEX                                an item, in the clear
 *   mac HEX                                                 commands from outside
 *   state                                                   what the network thinks that the device has
 *   up HZ DR SNR HEX                                        a frame at the gateway
 *   ack STATUS...                                           of the last downlink
 *   pass MS */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hex.h"
#include "common/base/time.h"
#include "network-server/domain/activate.h"
#include "world.h"

#define WORDS 8
#define KIND(x) LONGWAVE__NS__V1__EVENT__KIND_##x

struct driver {
	struct world *w;
	struct world_device *d;
	struct ns_region_config rc; /* the region's, with what was set */
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
		printf("status %d %d\n", e->status->margin, (int)e->status->battery);
		break;
	case KIND(MAC_COMMANDS):
		printf("mac ");
		print_hex(e->mac_commands->commands.data, e->mac_commands->commands.len);
		putchar('\n');
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
		if (w->event[i]->kind_case == KIND(REENCRYPT))
			world_reencrypt(w, v->d);
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
}

/* The world's region configuration becomes a copy that can be changed. */
static void take_region(struct driver *v, const char *id)
{
	const struct ns_region_config *rc = ns_region_config_find(id);
	if (rc == NULL) {
		fprintf(stderr, "no region %s\n", id);
		exit(2);
	}
	v->rc = *rc;
	for (size_t i = 0; i < v->w->cfg.n_regions; i++)
		if (v->w->regions[i] == rc)
			v->w->regions[i] = &v->rc;
	world_restart(v->w);
}

static void cmd_device(struct driver *v, char **a)
{
	if (v->w != NULL)
		world_free(v->w);
	v->w = world_new();
	v->shown = 0;
	take_region(v, a[2]);
	v->d = world_device(v->w, (enum lw_mac_version)atoi(a[1]));
	struct world_device *d = v->d;
	d->rec.profile.region = v->rc.region;
	unhex(a[3], d->rec.dev_eui.b, 8);
	unhex(a[4], d->rec.join_eui.b, 8);
	unhex(a[5], d->end.nwk_key.b, 16);
	unhex(d->end.is_11 ? a[6] : a[5], d->end.app_key.b, 16);
	d->end.dev_eui = d->rec.dev_eui;
	d->end.join_eui = d->rec.join_eui;
}

static void cmd_abp(struct driver *v, char **a)
{
	struct device *end = &v->d->end;
	end->devaddr.v = (uint32_t)strtoul(a[1], NULL, 16);
	unhex(a[2], end->keys.f_nwk_s_int.b, 16);
	unhex(a[3], end->keys.s_nwk_s_int.b, 16);
	unhex(a[4], end->keys.nwk_s_enc.b, 16);
	unhex(a[5], end->keys.app_s.b, 16);
	world_activate(v->d, v->rc.id);
}

static void set_class_b(struct driver *v, const uint32_t *n)
{
	v->d->rec.profile.supports_class_b = n[0] != 0;
	v->rc.class_b_ping_slot_dr = (uint8_t)n[1];
	v->rc.class_b_ping_slot_hz = n[2];
}

static void set_class_c(struct driver *v, const uint32_t *n)
{
	v->d->rec.profile.supports_class_c = n[0] != 0;
}

static void set_status(struct driver *v, const uint32_t *n)
{
	v->d->rec.profile.device_status_req_interval = n[0];
}

static void set_delay(struct driver *v, const uint32_t *n)
{
	v->d->rec.profile.rx1_delay_s = (uint8_t)n[0];
}

static void set_offset(struct driver *v, const uint32_t *n)
{
	v->rc.rx1_dr_offset = (uint8_t)n[0];
}

static void set_rx2(struct driver *v, const uint32_t *n)
{
	v->rc.rx2_dr = (uint8_t)n[0];
	v->rc.rx2_hz = n[1];
}

static void set_duty(struct driver *v, const uint32_t *n)
{
	v->d->rec.profile.mac.has_duty_cycle = true;
	v->d->rec.profile.mac.max_duty_cycle = (uint8_t)n[0];
}

static void set_adrack(struct driver *v, const uint32_t *n)
{
	v->d->rec.profile.mac.has_adr_ack = true;
	v->d->rec.profile.mac.adr_ack_limit_exp = (uint8_t)n[0];
	v->d->rec.profile.mac.adr_ack_delay_exp = (uint8_t)n[1];
}

static void set_tx(struct driver *v, const uint32_t *n)
{
	v->d->rec.profile.mac.has_tx_params = true;
	v->d->rec.profile.mac.uplink_dwell_400ms = n[0] != 0;
	v->d->rec.profile.mac.downlink_dwell_400ms = n[1] != 0;
	v->d->rec.profile.mac.max_eirp_dbm = (int8_t)n[2];
}

static void set_rejoin(struct driver *v, const uint32_t *n)
{
	v->d->rec.profile.mac.has_rejoin = true;
	v->d->rec.profile.mac.rejoin_max_time_n = (uint8_t)n[0];
	v->d->rec.profile.mac.rejoin_max_count_n = (uint8_t)n[1];
}

static void set_beacon(struct driver *v, const uint32_t *n)
{
	v->d->rec.profile.mac.beacon_hz = n[0];
}

static void set_dl(struct driver *v, const uint32_t *n)
{
	v->d->rec.profile.mac.n_dl_channels = 1;
	v->d->rec.profile.mac.dl_channels[0].index = (uint8_t)n[0];
	v->d->rec.profile.mac.dl_channels[0].hz = n[1];
}

static void set_channel(struct driver *v, const uint32_t *n)
{
	if (n[0] >= NS_EXTRA_CHANNELS || n[0] > v->rc.n_extra_channels)
		exit(2);
	v->rc.extra_channels[n[0]] = (struct lw_channel){n[1], (uint8_t)n[2], (uint8_t)n[3]};
	if (n[0] == v->rc.n_extra_channels)
		v->rc.n_extra_channels++;
}

static const struct {
	const char *name;
	size_t n;
	void (*fn)(struct driver *v, const uint32_t *n);
} SETTINGS[] = {
	{"status", 1, set_status},                              /* DevStatusReq a day */
	{"delay", 1, set_delay},                                /* RX1 delay, s */
	{"offset", 1, set_offset},   {"rx2", 2, set_rx2},       /* DR HZ */
	{"duty", 1, set_duty},       {"adrack", 2, set_adrack}, /* exponents */
	{"tx", 3, set_tx},                                      /* dwell up and down, EIRP */
	{"rejoin", 2, set_rejoin},                              /* exponents */
	{"beacon", 1, set_beacon},   {"dl", 2, set_dl},         /* INDEX HZ */
	{"channel", 4, set_channel},                            /* which of the extra ones, HZ, DRs */
	{"class_b", 3, set_class_b},                            /* yes, ping slot's DR HZ */
	{"class_c", 1, set_class_c},
};

static void cmd_set(struct driver *v, char **a, size_t n)
{
	uint32_t value[WORDS];
	for (size_t i = 2; i < n; i++)
		value[i - 2] = (uint32_t)strtoul(a[i], NULL, 10);
	for (size_t i = 0; i < sizeof(SETTINGS) / sizeof(SETTINGS[0]); i++) {
		if (strcmp(SETTINGS[i].name, a[1]) == 0 && SETTINGS[i].n == n - 2) {
			SETTINGS[i].fn(v, value);
			return;
		}
	}
	fprintf(stderr, "no setting %s with %zu values\n", a[1], n - 2);
	exit(2);
}

static void cmd_mac(struct driver *v, const char *hex)
{
	uint8_t bytes[NS_MAC_QUEUE_MAX];
	struct ns_session s = world_session(v->d);
	int n = lw_hex_decode(hex, strlen(hex), bytes, sizeof(bytes));
	if (n < 0)
		exit(2);
	if (s.mac_queue_len == 0 && ns_session_mac_enqueue(&s, lw_span(bytes, (size_t)n), false) == 0) {
		world_session_put(v->d, &s);
		printf("queued\n");
	}
}

/* The numbers in the order of struct ns_session; channels that are not there are left out. */
static void cmd_state(struct driver *v)
{
	struct ns_session s = world_session(v->d);
	struct ns_session now;
	ns_session_expected(&s, &now);
	printf("state pending %u up %u n %u a %u delay %u offset %u rx2_dr %u rx2_hz %u dr %u power %u nb %u",
	       s.n_mac_pending, s.f_cnt_up, s.n_f_cnt_down, s.a_f_cnt_down, s.rx1_delay_s, s.rx1_dr_offset, s.rx2_dr,
	       s.rx2_hz, s.dr, s.tx_power_index, s.nb_trans);
	printf(" up_dwell %u down_dwell %u eirp %u duty %u limit %u adr_delay %u rejoin_time %u rejoin_count %u",
	       s.uplink_dwell_400ms, s.downlink_dwell_400ms, s.uplink_eirp_index, s.max_duty_cycle, s.adr_ack_limit_exp,
	       s.adr_ack_delay_exp, s.rejoin_max_time_n, s.rejoin_max_count_n);
	printf(" beacon %u ping_hz %u ping_dr %u ping_nb %u class %d joining %d\n", s.beacon_hz, s.ping_slot_hz,
	       s.ping_slot_dr, s.ping_slot_nb, (int)s.enabled_class, s.rekey.present);
	printf("enabled");
	for (unsigned i = 0; i < LW_PLAN_CHANNELS; i++)
		if (s.enabled_channels[i / 16] >> (i % 16) & 1)
			printf(" %u", i);
	printf("\nchannels");
	for (unsigned i = 0; i < LW_PLAN_USER_CHANNELS; i++)
		if (s.user_channels[i].hz != 0)
			printf(" %u:%u:%u:%u", lw_region_by_id(v->rc.region)->first_user_channel + i,
			       s.user_channels[i].hz, s.user_channels[i].min_dr, s.user_channels[i].max_dr);
	printf("\ndl_hz");
	for (unsigned i = 0; i < NS_DL_CHANNELS; i++)
		if (s.dl_hz[i] != 0)
			printf(" %u:%u", i, s.dl_hz[i]);
	putchar('\n');
}

static void cmd_up(struct driver *v, char **a)
{
	struct air air = world_air();
	struct frame f;
	char context[9];
	snprintf(context, sizeof(context), "%08x", ++v->uplinks);
	air.region = v->rc.id;
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
	} else if (strcmp(a[0], "abp") == 0 && n == 6) {
		cmd_abp(v, a);
	} else if (strcmp(a[0], "set") == 0 && n > 2) {
		cmd_set(v, a, n);
	} else if (strcmp(a[0], "mac") == 0 && n == 2) {
		cmd_mac(v, a[1]);
	} else if (strcmp(a[0], "state") == 0) {
		cmd_state(v);
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
		else
			fflush(stdout);
	}
	if (v.w != NULL)
		world_free(v.w);
	return 0;
}
