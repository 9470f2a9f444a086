/* Adaptive data rate: which rate, power and number of transmissions a device should use, from what was heard of it.
 *
 * An algorithm is a function from a request to a choice; to add one, add a row to ns_adr_algorithms. It is called with
 * every uplink that may be answered, after the uplink has entered the history; it keeps nothing. The choice starts out
 * as what the device has. Whatever it chooses is bounded afterwards by what the network allows and by what the device
 * has refused. Pure. */
#pragma once

#include "common/base/rng.h"
#include "common/lorawan/region.h"
#include "network-server/domain/session.h"

struct ns_adr_request {
	bool adr;               /* the uplink's ADR bit */
	uint8_t dr;             /* of the uplink */
	uint8_t tx_power_index; /* as the device has it */
	uint8_t nb_trans;
	uint8_t max_tx_power_index;
	uint8_t min_tx_power_index;
	uint8_t min_dr, max_dr;
	uint8_t installation_margin_db;
	const struct lw_region *region;
	uint32_t enabled_drs;               /* bit n: an enabled channel of the device allows uplinks at n */
	const struct ns_adr_entry *history; /* oldest first */
	size_t n_history;
	struct lw_rng *rng; /* may be NULL: then the first of equals */
};

struct ns_adr_choice {
	uint8_t dr;
	uint8_t tx_power_index;
	uint8_t nb_trans;
};

struct ns_adr_algorithm {
	const char *id;
	const char *name;
	void (*choose)(const struct ns_adr_request *req, struct ns_adr_choice *choice);
};

extern const struct ns_adr_algorithm ns_adr_algorithms[];
extern const size_t ns_adr_algorithms_count;
/* The default one for an unknown or empty id. */
const struct ns_adr_algorithm *ns_adr_find(const char *id);
/* Fills the choice with what the device has, then asks the algorithm. */
void ns_adr_choose(const struct ns_adr_algorithm *a, const struct ns_adr_request *req, struct ns_adr_choice *choice);
