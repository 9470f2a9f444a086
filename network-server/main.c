/* longwave-network-server: devices on the air. This file is its parts in the order in which they start. */
#include "network-server/parts.h"

static const struct rt_daemon_part PARTS[] = {
	{"base", ns_init_base, ns_deinit_base},
	{"store", ns_init_store, ns_deinit_store},
	{"flows", ns_init_flows, ns_deinit_flows},
	{"api", ns_init_api, ns_deinit_api},
};

static const struct rt_daemon DAEMON = {
	.name = "network-server",
	.metric_prefix = "longwave_ns_",
	.sentence = "Sessions, radio rules, downlinks: everything between gateways and the application server.",
	.version = LW_VERSION,
	.conf = &ns_conf_table,
	.common_offset = offsetof(struct ns_conf, common),
	.owner_size = sizeof(struct ns),
	.parts = PARTS,
	.n_parts = sizeof(PARTS) / sizeof(PARTS[0]),
	.drain = ns_drain,
};

int main(int argc, char **argv)
{
	return rt_daemon_main(argc, argv, &DAEMON);
}
