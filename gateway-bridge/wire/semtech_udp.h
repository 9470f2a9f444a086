/* The Semtech UDP packet-forwarder protocol, versions 1 and 2: datagrams and their JSON to structs and back. Pure: no
 * I/O, clock or allocation. Reads tolerantly, element by element: what is wrong loses only itself, and the caller
 * learns why. Facts: contracts/udp.md. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "gateway-bridge/wire/json_pull.h"

/* A gateway reads at most this many bytes of a PULL_RESP. */
#define SEMTECH_PULL_RESP_MAX 999
#define SEMTECH_ACK_LEN 4
#define SEMTECH_PHY_MAX 255
#define SEMTECH_MAX_ANTENNAS 16
#define SEMTECH_MAX_META 16
#define SEMTECH_META_TEXT 1024

enum semtech_type {
	SEMTECH_PUSH_DATA = 0,
	SEMTECH_PUSH_ACK = 1,
	SEMTECH_PULL_DATA = 2,
	SEMTECH_PULL_RESP = 3,
	SEMTECH_PULL_ACK = 4,
	SEMTECH_TX_ACK = 5,
};
#define SEMTECH_N_TYPES 6

/* A datagram from a gateway: PUSH_DATA, PULL_DATA or TX_ACK. */
struct semtech_datagram {
	uint8_t version; /* 1 or 2 */
	enum semtech_type type;
	uint16_t token; /* as the network uses it: first byte is the lower one */
	struct lw_gateway_id gateway;
	struct lw_span json; /* what follows the EUI; may be empty */
};

/* Returns 0; LW_EUNSUPPORTED: another version; LW_EPROTO: a type that a gateway does not send; LW_ETRUNC, LW_EBIG:
 * wrong length for the type. */
int semtech_datagram_parse(struct lw_span bytes, struct semtech_datagram *out);
/* PUSH_ACK or PULL_ACK with the version and token of the request. */
void semtech_ack_encode(const struct semtech_datagram *request, uint8_t out[SEMTECH_ACK_LEN]);

enum semtech_modulation { SEMTECH_LORA, SEMTECH_FSK, SEMTECH_LR_FHSS };

/* Numbers equal those of gw.CodeRate. */
enum semtech_code_rate {
	SEMTECH_CR_NONE, /* not said, or OFF */
	SEMTECH_CR_4_5,
	SEMTECH_CR_4_6,
	SEMTECH_CR_4_7,
	SEMTECH_CR_4_8,
	SEMTECH_CR_3_8,
	SEMTECH_CR_2_6,
	SEMTECH_CR_1_4,
	SEMTECH_CR_1_6,
	SEMTECH_CR_5_6,
	SEMTECH_CR_LI_4_5,
	SEMTECH_CR_LI_4_6,
	SEMTECH_CR_LI_4_8,
};

/* "4/5"; NULL for a value without a text. */
const char *semtech_code_rate_text(enum semtech_code_rate rate);

struct semtech_data_rate {
	enum semtech_modulation modulation;
	enum semtech_code_rate code_rate; /* not FSK */
	uint32_t bandwidth_hz;            /* LoRa */
	uint8_t spreading_factor;         /* LoRa */
	uint32_t bitrate;                 /* FSK, bit/s */
	uint32_t channel_width_hz;        /* LR-FHSS: operating channel width */
	uint32_t grid_steps;              /* LR-FHSS */
};

enum semtech_crc { SEMTECH_CRC_BAD = -1, SEMTECH_CRC_NONE = 0, SEMTECH_CRC_OK = 1 };

/* How one antenna heard a frame. */
struct semtech_antenna {
	uint32_t antenna;
	uint32_t channel;
	int32_t rssi_dbm;
	float snr_db; /* 0 for FSK */
	bool has_ftime;
	uint32_t ftime_ns; /* since the last full second of the gateway */
	char etime[25];    /* encrypted fine timestamp, 16 bytes as base64; "": none */
};

/* Free text members: key and value are offsets into `text`, terminated, valid UTF-8. */
struct semtech_meta {
	size_t n;
	size_t used;
	struct {
		uint16_t key;
		uint16_t value;
	} v[SEMTECH_MAX_META];
	char text[SEMTECH_META_TEXT];
};

struct semtech_rxpk {
	bool has_tmst;
	uint32_t tmst_us;
	bool has_time;
	int64_t time_ns; /* wall time, since 1970 */
	bool has_tmms;
	uint64_t tmms; /* ms since the GPS epoch */
	uint32_t freq_hz;
	enum semtech_crc crc;
	struct semtech_data_rate rate;
	uint32_t rf_chain;
	uint32_t board;
	bool has_aesk;
	uint32_t aesk;     /* which of the concentrator's keys etime is encrypted with */
	size_t n_antennas; /* at least 1 */
	struct semtech_antenna antenna[SEMTECH_MAX_ANTENNAS];
	size_t phy_n;
	uint8_t phy[SEMTECH_PHY_MAX];
	struct semtech_meta meta;
	unsigned lost; /* antennas and meta entries that could not be read */
};

struct semtech_stat {
	bool has_time;
	int64_t time_ns;
	bool has_position; /* any of the three given and not zero */
	double latitude;
	double longitude;
	double altitude_m;
	bool has_rxnb, has_rxok, has_dwnb, has_txnb;
	uint32_t rxnb; /* frames received */
	uint32_t rxok; /* with a good CRC */
	uint32_t rxfw; /* forwarded */
	uint32_t dwnb; /* downlink datagrams received */
	uint32_t txnb; /* frames sent */
	bool has_ackr;
	double ackr; /* percent of upstream datagrams that were acknowledged */
	bool has_temp;
	double temp; /* degrees Celsius */
	struct semtech_meta meta;
	unsigned lost; /* members that could not be read */
};

/* A concentrator hands over up to sixteen frames at a time. */
#define SEMTECH_KNOWN_ELEMENTS 16

/* The JSON of a PUSH_DATA, opened. */
struct semtech_push {
	bool has_stat;
	struct lw_span stat;
	bool broken;                                    /* the text ends in an error; what came before it can be read */
	struct lw_span element[SEMTECH_KNOWN_ELEMENTS]; /* the first ones of rxpk, found when the text was checked */
	size_t n_elements, next_element;
	struct gb_json rxpk; /* behind them */
	bool in_rxpk;
	bool first;
};

/* Returns 0 or LW_EINVAL: no JSON object, or broken before the first whole element. */
int semtech_push_open(struct lw_span json, struct semtech_push *out);
/* Next element of rxpk, whatever it is; false: there is none left. */
bool semtech_push_element(struct semtech_push *p, struct lw_span *element);
/* Reads one element: 0; LW_EUNSUPPORTED: unknown modulation; LW_EBIG: payload too long; LW_EINVAL: anything else. */
int semtech_rxpk_parse(struct lw_span element, struct semtech_rxpk *out);
/* Reads the stat object: 0, or LW_EINVAL when it is no object. Wrong members count as absent. */
int semtech_stat_parse(const struct semtech_push *p, struct semtech_stat *out);

enum semtech_timing { SEMTECH_AT_ONCE, SEMTECH_AT_TMST, SEMTECH_AT_GPS };

struct semtech_txpk {
	enum semtech_timing timing;
	uint32_t tmst_us;
	uint64_t tmms;
	uint32_t freq_hz;
	uint32_t rf_chain;
	int32_t power_dbm;
	uint32_t antenna;
	uint32_t board;
	struct semtech_data_rate rate; /* LoRa or FSK */
	uint32_t fdev_hz;              /* FSK */
	bool invert_polarity;
	uint32_t preamble;    /* symbols; 0: the gateway's default, not printed */
	bool no_crc;          /* printed when true */
	bool implicit_header; /* printed when true */
	struct lw_span phy;
};

/* A whole PULL_RESP. Returns its length; LW_EBIG: does not fit into cap or SEMTECH_PULL_RESP_MAX; LW_EUNSUPPORTED:
 * LR-FHSS, or a code rate without a text. */
int semtech_pull_resp_encode(uint8_t version, uint16_t token, const struct semtech_txpk *tx, uint8_t *out, size_t cap);

/* What a TX_ACK says; the order is that of `error` in contracts/udp.md §4. */
enum semtech_tx_error {
	SEMTECH_TX_OK,
	SEMTECH_TX_TOO_LATE,
	SEMTECH_TX_TOO_EARLY,
	SEMTECH_TX_COLLISION_PACKET,
	SEMTECH_TX_COLLISION_BEACON,
	SEMTECH_TX_FREQ,
	SEMTECH_TX_POWER,
	SEMTECH_TX_GPS_UNLOCKED,
	SEMTECH_TX_QUEUE_FULL,
	SEMTECH_TX_DUTY_CYCLE_OVERFLOW,
	SEMTECH_TX_OTHER, /* UNKNOWN, a text we do not know, or unreadable */
};

struct semtech_tx_ack {
	enum semtech_tx_error error;
	bool warned; /* sent, but not exactly as asked */
};
void semtech_tx_ack_parse(struct lw_span json, struct semtech_tx_ack *out);
