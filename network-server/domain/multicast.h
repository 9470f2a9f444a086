/* Multicast groups: which gateways a group needs, the frame that its devices hear. Pure. */
#pragma once

#include "common/crypto/aes.h"
#include "network-server/domain/device.h"
#include "network-server/domain/downlink.h"
#include "network-server/domain/region_config.h"

/* As longwave.ns.v1.MulticastGroup.Mode. */
enum ns_mc_mode {
	NS_MC_C_SPACED, /* one gateway after the other */
	NS_MC_C_GPS,    /* all gateways at the same moment */
	NS_MC_B,        /* in the ping slots of the group's address */
};

struct ns_mc_group {
	struct lw_uuid id;
	struct lw_uuid tenant_id;
	enum lw_region_id region;
	struct lw_devaddr addr;
	struct lw_key nwk_s_key;
	enum ns_mc_mode mode;
	uint8_t dr;
	uint8_t ping_slot_nb; /* class B: 1, 2, 4 … 128 */
	uint32_t hz;          /* class B: 0 means the region's */
};

struct ns_mc_item {
	struct lw_uuid id;
	uint32_t f_cnt;
	uint8_t f_port;
	struct lw_span payload; /* encrypted for f_cnt */
	int64_t expires_at_ns;  /* 0: never */
	int64_t enqueued_at_ns;
	bool is_damaged;  /* what was stored cannot be read */
	bool planned;     /* its gateways are chosen */
	int8_t f_pending; /* in every transmission; -1: there was none yet */
};

/* One gateway's transmission of an item. */
struct ns_mc_copy {
	struct lw_gateway_id gateway_id;
	int64_t due_ns; /* not before */
	uint8_t attempts;
	bool parked; /* the gateway is not heard: others pass it */
};

/* A gateway heard a device's last uplink. margin_ddb: by how much its SNR lies above what the group's data rate needs,
 * tenths of a dB. */
struct ns_mc_heard {
	uint32_t device;
	struct lw_gateway_id gateway_id;
	int16_t margin_ddb;
};

/* A small set of gateways from which every device of `v` can be reached: a gateway reaches a device with a margin of 0
 * or more; a device that none reaches so has the one that hears it best. Greedy, then without those that have become
 * superfluous. `v` is sorted. Writes up to n gateways to `out`, the one with most devices first; returns how many. */
size_t ns_mc_cover(struct ns_mc_heard *v, size_t n, struct lw_gateway_id *out);

/* The window of a transmission at gps_ns (0: at once). False: the data rate does not exist there. */
bool ns_mc_window(const struct ns_mc_group *g, const struct ns_region_config *rc, int64_t gps_ns,
		  struct ns_down_window *out);
/* The longest FRMPayload at the group's data rate, -1: no such rate. */
int ns_mc_max_payload(const struct ns_mc_group *g, const struct ns_region_config *rc);
/* The frame; the same in every window and from every gateway. */
void ns_mc_build(struct lw_keycache *kc, const struct ns_mc_group *g, const struct ns_mc_item *item,
		 const struct ns_down_window *window, struct ns_down_frame *out);
/* The next ping slot of the group from this moment on, nanoseconds since the GPS epoch. */
int64_t ns_mc_ping_slot(struct lw_keycache *kc, const struct ns_mc_group *g, int64_t after_gps_ns);
