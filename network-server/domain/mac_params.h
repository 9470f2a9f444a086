/* The parameters that a network sets by MAC command: one row each, with the two halves of its life side by side. `want`
 * compares what the device has with what the network wants and adds the requests that lead there; `settle` reads the
 * device's answer: accepted values become what the device has, refused ones are remembered and not proposed again.
 * When a request goes out, how often, and what is pending, is the same for all and decided in mac_down.c. Pure. */
#pragma once

#include "network-server/domain/mac_down.h"
#include "network-server/domain/mac_up.h"

/* An answer with the request that it belongs to. */
struct ns_mac_answer {
	const struct ns_uplink *up;
	struct ns_session *s;
	const struct lw_mac_cmd *req; /* n_req == 0: nothing was pending */
	size_t n_req;
	const struct lw_mac_cmd *ans;
	size_t n_ans;
};

struct ns_mac_param {
	uint8_t cid;
	bool sticky; /* the device repeats its answer until it hears a downlink: TS001-1.0.4 §5.4, §5.7, §12.3 */
	bool only_11;
	void (*want)(struct ns_mac_down *m);
	void (*settle)(struct ns_mac_answer *a);
};

/* In the order in which the requests stand in a downlink. */
extern const struct ns_mac_param ns_mac_params[];
extern const size_t ns_mac_params_count;
const struct ns_mac_param *ns_mac_param_find(uint8_t cid);

/* LinkADRReq has a file of its own. */
void ns_mac_want_link(struct ns_mac_down *m);
void ns_mac_settle_link(struct ns_mac_answer *a);
/* Counts refusals in a row. */
void ns_mac_settled(struct ns_mac_answer *a, bool accepted);
/* Adds one command to the downlink that is being put together. */
void ns_mac_down_add(struct ns_mac_down *m, const struct lw_mac_cmd *cmd);
