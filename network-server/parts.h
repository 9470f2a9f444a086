/* The network-server's init table; see parts.c. */
#pragma once

#include "network-server/ns.h"

rt_init_fn ns_init_base, ns_init_store, ns_init_flows, ns_init_api;
rt_deinit_fn ns_deinit_base, ns_deinit_store, ns_deinit_flows, ns_deinit_api;
void ns_drain(void *owner, struct rt_daemon_run *run);
