/* An end-device as LoRaWAN defines it: joins, sends, opens its two windows, checks what it hears. Pure: it gets the
 * time and the radio's parameters as arguments and answers with frames and verdicts. */
#pragma once

#include "common/base/ids.h"
#include "common/base/rng.h"
#include "common/crypto/aes.h"
#include "common/lorawan/keys.h"
#include "common/lorawan/phy.h"
#include "common/lorawan/region.h"
#include "tools/sim/options.h"

#define SIM_WINDOW_US 3000 /* how far from its nominal begin a downlink may start */

/* One uplink of the past, by its place in the list: its counter. */
struct sim_sent {
	int64_t at_us;      /* first transmission, monotonic */
	int64_t wire_us;    /* the first copy was given to the kernel; 0: not yet */
	int64_t last_us;    /* the last one */
	uint8_t deliveries; /* events seen */
	bool accepted;      /* a gateway got PUSH_ACK */
};

struct sim_device {
	uint32_t n; /* number in the simulation */
	struct lw_dev_eui dev_eui;
	struct lw_join_eui join_eui;
	struct lw_key app_key;
	struct lw_key nwk_key;
	double lat, lon;

	/* session */
	bool joined;
	bool ever_joined;
	uint32_t joins;
	uint16_t dev_nonce;
	struct lw_devaddr devaddr;
	struct lw_session_keys keys;
	bool v11;
	bool rekey_pending; /* RekeyInd until RekeyConf */
	uint32_t f_cnt_up;
	uint32_t n_f_cnt_down; /* lowest acceptable */
	uint32_t a_f_cnt_down;
	struct lw_plan plan;
	uint8_t dr;
	uint8_t rx1_delay_s;
	uint8_t rx1_dr_offset;
	uint8_t rx2_dr;
	uint32_t rx2_hz;

	/* between frames */
	uint8_t answers[64]; /* MAC commands for the next uplink */
	size_t n_answers;
	bool ack_due; /* the last downlink was confirmed */
	uint16_t conf_f_cnt;

	/* the windows of the last transmission */
	bool listening;
	bool joining;
	int64_t up_end_us;
	uint32_t up_hz;
	uint8_t up_dr;
	bool awaits_ack;
	uint8_t repeats;
	bool got_downlink;

	struct sim_sent *sent;
	size_t n_sent, cap_sent;
	uint32_t sent_base; /* counter of sent[0]; a new session begins a new list */
};

struct sim_uplink {
	uint8_t phy[LW_PHY_MAX];
	size_t n;
	uint32_t hz;
	uint8_t dr;
	bool is_join;
	uint32_t f_cnt;
	bool confirmed;
	bool repeat;
};

enum sim_verdict {
	SIM_OK,        /* for this device, in its window, authentic */
	SIM_NOT_MINE,  /* another device's */
	SIM_BAD_TIME,  /* no window begins then */
	SIM_BAD_RADIO, /* a window begins, with another frequency or data rate */
	SIM_BAD_MIC,
	SIM_FCNT_REPEATED,
	SIM_MALFORMED,
};

/* Everything about device number n follows from the options' seed. ABP devices get their session here. */
void sim_device_init(struct sim_device *d, const struct sim_options *o, uint32_t n);
void sim_device_deinit(struct sim_device *d);

/* The next transmission. With `repeat` the last data frame again (confirmed, no acknowledgement came). */
int sim_device_send(struct sim_device *d, const struct sim_options *o, struct lw_keycache *kc, struct lw_rng *rng,
		    bool confirmed, bool repeat, int64_t now_us, struct sim_uplink *out);
/* A transmission reaches the device; start_us is its begin. On SIM_OK the state is updated; *acked tells that it
 * acknowledged the device's confirmed uplink. */
enum sim_verdict sim_device_hear(struct sim_device *d, const struct sim_options *o, struct lw_keycache *kc,
				 int64_t start_us, uint32_t hz, const struct lw_modulation *mod, struct lw_span phy,
				 bool *acked);
