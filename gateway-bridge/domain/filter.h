/* Which frames are of interest: by the network of the DevAddr, by the JoinEUI of a join-request. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/base/ids.h"

struct gb_eui_range {
	uint64_t from, to; /* inclusive */
};

struct gb_filter {
	struct lw_netid *net_ids; /* none: all pass */
	size_t n_net_ids;
	struct gb_eui_range *join_euis; /* none: all pass */
	size_t n_join_euis;
};

/* Texts as configured: "000013", "0000000000000000-00000000ffffffff" or a single EUI. LW_EINVAL with the detail. */
int gb_filter_init(struct gb_filter *f, char *const *net_ids, size_t n_net_ids, char *const *join_euis,
		   size_t n_join_euis, struct lw_diag *diag);
void gb_filter_deinit(struct gb_filter *f);
/* Data frames and rejoin-requests 0 and 2 by NetID, join-requests and rejoin-request 1 by JoinEUI. What is neither, or
 * cannot be read, passes: judging it is the network's business. */
bool gb_filter_pass(const struct gb_filter *f, struct lw_span phy);
