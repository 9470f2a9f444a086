/* One program for what ./longwave bench asks beside uplinks: devices over gRPC, storms of joins, class C fan-out.
 * Devices and keys are the simulator's (tools/sim/device.c), so that both can play the same network. */
#pragma once

#include <netinet/in.h>

#include "common/crypto/aes.h"
#include "common/io/grpc_client.h"
#include "common/io/mqtt.h"
#include "common/runtime/loop.h"
#include "tools/sim/device.h"

#define LOAD_LEAD_US 42500                            /* a gateway refuses what comes later than this before its time */
#define LOAD_GATEWAY_EUI UINT64_C(0x0016c001f1500000) /* as in tools/sim/gateway.c */

struct load;

struct load_gateway {
	struct load *load;
	uint64_t eui;
	int fd;
	uint16_t token;
	struct rt_watch *watch;
};

/* What a PULL_RESP says. */
struct load_downlink {
	int64_t now_us;
	bool at_once;
	uint32_t tmst_us;
	const char *data; /* Base64 text */
	size_t n_data;
};

struct load {
	struct sim_options o;
	const char *verb;
	const char *grpc, *token, *application, *profile, *mqtt, *via;
	uint32_t concurrency;
	uint32_t seconds; /* how long what is still missing is waited for */
	bool otaa;
	struct rt_loop *loop;
	struct lw_rng rng;
	struct lw_keycache *kc;
	struct sim_device *devices;
	struct load_gateway *gateways;
	struct rt_timer tick, keepalive, end;
	void (*on_downlink)(struct load *l, const struct load_downlink *d);
	uint64_t pull_resps;
};

/* load_air.c */
int load_air_open(struct load *l);
void load_air_close(struct load *l);
/* The gateway hears a frame at counter value tmst_us. */
void load_air_hear(struct load *l, uint32_t gateway, const struct sim_uplink *up, uint32_t tmst_us);

/* The verbs. 0 when done; the result is one JSON object on standard output. */
int load_register(struct load *l);
int load_joins(struct load *l);
int load_fanout(struct load *l);
