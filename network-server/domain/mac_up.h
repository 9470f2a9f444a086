/* What MAC commands from a device do to its session, and what is answered. One table: command -> handler. Pure. */
#pragma once

#include "common/lorawan/mac.h"
#include "network-server/domain/uplink.h"

#define NS_MAC_ANSWERS_MAX 64

struct ns_mac_up {
	/* in */
	const struct ns_uplink *up;
	const struct ns_profile *profile;
	/* changed */
	struct ns_session *s;
	/* out */
	uint8_t answers[NS_MAC_ANSWERS_MAX];
	size_t n_answers;
	bool force_downlink; /* the device goes on repeating its answer until it hears something */
	bool has_status;
	uint8_t battery;
	int8_t margin_db;
	/* Answers to commands from outside, and from a proprietary command on all the rest. */
	uint8_t foreign[LW_PHY_MAX];
	size_t n_foreign;
	uint32_t unknown_cid; /* the first command that could not be read, 0: none */
};

/* The commands in the clear; and the class B bit of the frame. */
void ns_mac_up(struct ns_mac_up *m, struct lw_span commands);

/* "dr=5 tx_power=1 nb_trans=1": the values of a command by name; "" for one without. Returns out. */
char *ns_mac_text(const struct lw_mac_cmd *cmd, char *out, size_t cap);
