/* The uplink, from a gateway's report to the application's event: read the tables at the end first. */
#include <string.h>

#include "network-server/flow/up_steps.h"

/* Every reception passes here; the last step says which table follows. */
const struct rt_flow_step ns_receive_steps[] = {
	{"decode", .pure = up_decode}, /* protobuf or JSON */
	{"look_up", .io = up_look},    /* at the database, for a gateway that memory does not have */
	{"admit", .pure = up_admit},   /* known gateways only; adds what we know about them */
	{"collect", .io = ns_collect}, /* deduplication window: the first copy carries the others on */
	{"parse", .pure = up_parse},   /* PHYPayload and data rate; data frames and (re)join-requests part here */
};
const size_t ns_receive_n_steps = sizeof(ns_receive_steps) / sizeof(ns_receive_steps[0]);

/* Data frames. */
const struct rt_flow_step ns_uplink_steps[] = {
	{"one_per_address", .key = up_key},        /* from here, one frame per DevAddr */
	{"fetch_devices", .io = up_fetch},         /* all sessions with this address */
	{"match", .pure = up_match},               /* counter and MIC choose the device */
	{"authorize", .pure = up_authorize},       /* disabled devices, private gateways */
	{"fetch_queue", .io = up_fetch_queue},     /* what waits for the device */
	{"decrypt", .pure = up_decrypt},           /* FOpts of 1.1, payload of port 0 */
	{"data_rate", .pure = up_data_rate},       /* changed without being told */
	{"mac_commands", .pure = up_mac_commands}, /* answers and indications change the session */
	{"adapt", .pure = up_adapt},               /* rate, history, the gateways to answer through */
	{"acknowledge", .pure = up_acknowledge},   /* confirmed downlinks: acknowledged or not */
	{"compose", .pure = up_compose},           /* events for the application */
	{"commit", .io = up_commit},               /* session, queue and events in one transaction */
	{"answer", .pure = up_answer},             /* enters the downlink table where there is something to say */
};
const size_t ns_uplink_n_steps = sizeof(ns_uplink_steps) / sizeof(ns_uplink_steps[0]);

/* Frames of the proprietary type. */
const struct rt_flow_step ns_proprietary_steps[] = {
	{"pass_on", .io = up_pass_on}, /* an event for whoever listens */
};
const size_t ns_proprietary_n_steps = sizeof(ns_proprietary_steps) / sizeof(ns_proprietary_steps[0]);

/* After delivery, for profiles that want positions. */
const struct rt_flow_step ns_locate_steps[] = {
	{"resolve", .io = up_resolve},
	{"commit", .io = up_commit_location},
};
const size_t ns_locate_n_steps = sizeof(ns_locate_steps) / sizeof(ns_locate_steps[0]);
