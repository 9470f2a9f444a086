/* The steps of the uplink tables. */
#pragma once

#include "network-server/flow/internal.h"

rt_flow_pure_fn up_decode, up_admit, up_parse;
rt_flow_key_fn up_key;
rt_flow_io_fn up_look, up_fetch, up_fetch_queue, up_commit, up_resolve, up_commit_location, up_pass_on;
rt_flow_pure_fn up_match, up_authorize, up_decrypt, up_data_rate, up_mac_commands, up_adapt, up_acknowledge, up_compose,
	up_answer;
