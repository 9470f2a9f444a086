/* MAC commands of LoRaWAN 1.0.x and 1.1 in both directions: names, lengths, an iterator over FOpts or an FPort 0
 * payload, encoding. What a command means for a session is decided elsewhere. */
#pragma once

#include "common/base/bytes.h"
#include "common/lorawan/types.h"

enum lw_cid {
#define LW_CID(sym, cid, up, up_len, down, down_len) LW_CID_##sym = (cid),
#include "common/lorawan/cid.def"
#undef LW_CID
};

#define LW_CID_PROPRIETARY 0x80 /* this and above: no common meaning, length unknown */
#define LW_MAC_CMD_MAX 6        /* longest command with its identifier */

struct lw_mac_cmd {
	uint8_t cid;
	enum lw_dir dir;
	union {
		/* device to network */
		struct {
			uint8_t minor;
		} reset_ind, rekey_ind;
		struct {
			bool ch_mask_ack, dr_ack, power_ack;
		} link_adr_ans;
		struct {
			bool channel_ack, rx2_dr_ack, rx1_dr_offset_ack;
		} rx_param_setup_ans;
		struct {
			uint8_t battery;  /* 0 external power, 1..254, 255 unknown */
			int8_t margin_db; /* -32..31 */
		} dev_status_ans;
		struct {
			bool freq_ok, dr_ok;
		} new_channel_ans, ping_slot_channel_ans;
		struct {
			bool freq_ok, uplink_freq_exists;
		} dl_channel_ans;
		struct {
			bool time_ok;
		} rejoin_param_setup_ans;
		struct {
			uint8_t periodicity; /* 0..7 */
		} ping_slot_info_req;
		struct {
			bool freq_ok;
		} beacon_freq_ans;
		struct {
			uint8_t device_class; /* 0 A, 2 C */
		} device_mode_ind;

		/* network to device */
		struct {
			uint8_t minor;
		} reset_conf, rekey_conf;
		struct {
			uint8_t margin_db; /* above the demodulation floor, 0..254 */
			uint8_t gw_count;
		} link_check_ans;
		struct {
			uint8_t dr;       /* 0..15; 15 keep */
			uint8_t tx_power; /* 0..15; 15 keep */
			uint16_t ch_mask;
			uint8_t ch_mask_cntl; /* 0..7 */
			uint8_t nb_trans;     /* 0..15 */
		} link_adr_req;
		struct {
			uint8_t max_duty_cycle; /* 0..15: 1/2^n */
		} duty_cycle_req;
		struct {
			uint32_t rx2_hz;
			uint8_t rx2_dr;
			uint8_t rx1_dr_offset;
		} rx_param_setup_req;
		struct {
			uint8_t index;
			uint32_t freq_hz; /* 0 removes the channel */
			uint8_t min_dr, max_dr;
		} new_channel_req;
		struct {
			uint8_t delay_s; /* 0..15; 0 means 1 */
		} rx_timing_setup_req;
		struct {
			bool downlink_dwell, uplink_dwell; /* 400 ms */
			uint8_t max_eirp_index;            /* lw_max_eirp_dbm() */
		} tx_param_setup_req;
		struct {
			uint8_t index;
			uint32_t freq_hz;
		} dl_channel_req;
		struct {
			uint8_t limit_exp, delay_exp; /* 0..15: 2^n uplinks */
		} adr_param_setup_req;
		struct {
			uint32_t gps_s;   /* seconds since the GPS epoch */
			uint8_t frac_256; /* 1/256 s */
		} device_time_ans;
		struct {
			uint8_t period;      /* 0..7 */
			uint8_t max_retries; /* 0..7 */
			uint8_t rejoin_type; /* 0..7 */
			uint8_t dr;          /* 0..15 */
		} force_rejoin_req;
		struct {
			uint8_t max_time_n;  /* 0..15: 2^(n+10) s */
			uint8_t max_count_n; /* 0..15: 2^(n+4) uplinks */
		} rejoin_param_setup_req;
		struct {
			uint32_t freq_hz;
			uint8_t dr;
		} ping_slot_channel_req;
		struct {
			uint16_t delay; /* units of 30 ms */
			uint8_t channel;
		} beacon_timing_ans;
		struct {
			uint32_t freq_hz;
		} beacon_freq_req;
		struct {
			uint8_t device_class;
		} device_mode_conf;
	} u;
};

/* "LinkADRReq"; NULL when the command does not exist in that direction. */
const char *lw_mac_cmd_name(uint8_t cid, enum lw_dir dir);
/* Length of the payload after the identifier; -1 when the command does not exist in that direction. */
int lw_mac_cmd_len(uint8_t cid, enum lw_dir dir);

/* Walks the commands of a buffer. */
struct lw_mac_iter {
	struct lw_span rest; /* what has not been read; after an error, it begins with the command in question */
	enum lw_dir dir;
};
void lw_mac_iter_init(struct lw_mac_iter *it, enum lw_dir dir, struct lw_span commands);
/* 1: *out is the next command; 0: end. LW_EPROTO: an unknown identifier, whose length nobody knows, so that the rest
 * cannot be read; LW_ETRUNC: the last command is cut off. */
int lw_mac_iter_next(struct lw_mac_iter *it, struct lw_mac_cmd *out);

/* Encodes one command to out. Returns its length with the identifier; LW_EINVAL: a value does not fit its field, or no
 * such command; LW_EBIG: more than cap. */
int lw_mac_encode(const struct lw_mac_cmd *cmd, uint8_t *out, size_t cap);
/* Appends to a buffer of cap bytes that holds *n; advances *n. Returns 0 or as above, then nothing is written. */
int lw_mac_append(const struct lw_mac_cmd *cmd, uint8_t *buf, size_t *n, size_t cap);
