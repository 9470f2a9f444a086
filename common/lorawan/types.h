/* The vocabulary of LoRaWAN shared by all modules of this folder: versions, directions, message types, modulations.
 * Everything in common/lorawan is pure: no I/O, clock, allocation, log or global. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Numbered as in the API's common.MacVersion. */
enum lw_mac_version {
	LW_MAC_1_0_0 = 0,
	LW_MAC_1_0_1 = 1,
	LW_MAC_1_0_2 = 2,
	LW_MAC_1_0_3 = 3,
	LW_MAC_1_0_4 = 4,
	LW_MAC_1_1_0 = 5,
};
#define LW_MAC_VERSIONS 6

/* Numbered as in the API's common.RegParamsRevision. */
enum lw_reg_params {
	LW_RP_A = 0,
	LW_RP_B = 1,
	LW_RP_002_1_0_0 = 2,
	LW_RP_002_1_0_1 = 3,
	LW_RP_002_1_0_2 = 4,
	LW_RP_002_1_0_3 = 5,
	LW_RP_002_1_0_4 = 6,
	LW_RP_002_1_0_5 = 7,
};
#define LW_REG_PARAMS 8

/* "1.0.3" etc. as in Backend Interfaces ("1.1.0" printed; "1.1" is also understood). Parse: 0 or LW_EINVAL. */
const char *lw_mac_version_text(enum lw_mac_version v);
int lw_mac_version_parse(const char *text, enum lw_mac_version *out);
/* "A", "B", "RP002-1.0.3" … */
const char *lw_reg_params_text(enum lw_reg_params v);
int lw_reg_params_parse(const char *text, enum lw_reg_params *out);

enum lw_dir { LW_UP = 0, LW_DOWN = 1 };

/* MHDR bits 7..5 (TS001 4.2.1). */
enum lw_mtype {
	LW_MTYPE_JOIN_REQUEST = 0,
	LW_MTYPE_JOIN_ACCEPT = 1,
	LW_MTYPE_UNCONFIRMED_UP = 2,
	LW_MTYPE_UNCONFIRMED_DOWN = 3,
	LW_MTYPE_CONFIRMED_UP = 4,
	LW_MTYPE_CONFIRMED_DOWN = 5,
	LW_MTYPE_REJOIN_REQUEST = 6,
	LW_MTYPE_PROPRIETARY = 7,
};
/* "UnconfirmedDataUp" etc., for logs. */
const char *lw_mtype_text(enum lw_mtype t);

enum lw_class { LW_CLASS_A = 0, LW_CLASS_B = 1, LW_CLASS_C = 2 };

enum lw_modulation_kind { LW_MOD_NONE = 0, LW_MOD_LORA, LW_MOD_FSK, LW_MOD_LRFHSS };

/* Numbered as gw.CodeRate. */
enum lw_code_rate {
	LW_CR_NONE = 0,
	LW_CR_4_5 = 1,
	LW_CR_4_6 = 2, /* also LR-FHSS 2/3 */
	LW_CR_4_7 = 3,
	LW_CR_4_8 = 4,
	LW_CR_3_8 = 5,
	LW_CR_2_6 = 6, /* LR-FHSS 1/3 */
	LW_CR_1_4 = 7,
	LW_CR_1_6 = 8,
	LW_CR_5_6 = 9,
	LW_CR_LI_4_5 = 10,
	LW_CR_LI_4_6 = 11,
	LW_CR_LI_4_8 = 12,
};

/* "4/5" … "2/6", "4/6LI"; "" for LW_CR_NONE. Parse understands "1/3" and "2/3" as LR-FHSS writes them: 0 or LW_EINVAL.
 */
const char *lw_code_rate_text(enum lw_code_rate cr);
int lw_code_rate_parse(const char *text, enum lw_code_rate *out);

/* How a frame is modulated. Members that do not belong to the kind are 0. */
struct lw_modulation {
	enum lw_modulation_kind kind;
	uint32_t bw_hz;       /* LoRa: bandwidth; LR-FHSS: operating channel width as named (137000, 336000, 1523000) */
	uint32_t bitrate_bps; /* FSK */
	uint8_t sf;           /* LoRa: 5..12 */
	enum lw_code_rate cr; /* LoRa, LR-FHSS */
};
