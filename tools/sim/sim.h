/* The simulation: devices, gateways, the calendar between them, and what was counted. One owner, passed down. */
#pragma once

#include <netinet/in.h>

#include "common/base/map.h"
#include "common/io/mqtt.h"
#include "common/runtime/loop.h"
#include "tools/sim/device.h"
#include "tools/sim/options.h"

#define SIM_SLOTS 1024       /* milliseconds that the calendar of datagrams holds */
#define SIM_JIT 32           /* a gateway's queue of planned transmissions, as in real ones */
#define SIM_LATENCIES 200000 /* samples kept; further ones replace random ones */

struct sim_counts {
	uint64_t uplinks; /* data frames with a counter of their own */
	uint64_t confirmed;
	uint64_t repeats; /* confirmed frames sent again */
	uint64_t join_requests;
	uint64_t datagrams;   /* PUSH_DATA sent */
	uint64_t lost_copies; /* by the simulated radio */
	uint64_t push_acks;
	uint64_t accepted; /* uplinks of which at least one copy was acknowledged */
	uint64_t pull_resps;
	uint64_t tx_refused; /* by the gateway, for what reason ever */
	uint64_t tx_too_late;
	uint64_t downlinks_ok; /* heard in the window, authentic */
	uint64_t joins;
	uint64_t rejoins; /* a device that had joined joined again */
	uint64_t acks;    /* confirmed uplinks that were acknowledged */
	uint64_t unacked; /* given up */
	uint64_t bad_time, bad_radio, bad_mic, f_cnt_repeated, malformed, unknown;
	uint64_t delivered;      /* uplinks seen on the application's topic */
	uint64_t duplicates;     /* seen once more */
	uint64_t strange_events; /* of no uplink of ours */
};

/* A datagram under way from a gateway to the server. */
struct sim_datagram {
	struct sim_datagram *next;
	uint32_t gateway;
	uint32_t n;
	uint32_t device; /* UINT32_MAX: no data frame */
	uint32_t f_cnt;
	uint8_t bytes[640];
};

struct sim_tx {
	int64_t start_us;
	int64_t end_us;
};

struct sim_token {
	uint32_t device;
	uint32_t f_cnt;
};

struct sim_gateway {
	struct sim *sim;
	uint64_t eui;
	int fd;
	struct rt_watch *watch;
	double lat, lon;
	uint32_t clock_offset_us; /* of its counter against ours */
	uint16_t next_token;
	struct sim_token tokens[65536 / 16];
	struct sim_tx jit[SIM_JIT];
	uint64_t rx_received, rx_forwarded, tx_emitted, tx_received;
	uint64_t sent_datagrams, acked_datagrams;
	struct sim_datagram *batch; /* collected in this millisecond */
	size_t n_batch;
};

struct sim_player {
	struct sim *sim;
	struct sim_device dev;
	struct rt_timer timer; /* next transmission, or the end of the windows */
	bool waits_windows;
	uint32_t *heard_by; /* gateways by distance, nearest first */
	uint32_t n_heard_by;
	int64_t next_at_us;
};

/* A downlink in the air: reaches devices at its start. */
struct sim_flight {
	struct rt_timer timer;
	struct sim *sim;
	int64_t start_us;
	uint32_t hz;
	struct lw_modulation mod;
	size_t n;
	uint8_t phy[LW_PHY_MAX];
};

struct sim {
	struct sim_options o;
	struct rt_loop *loop;
	struct lw_rng rng;
	struct lw_keycache *kc;
	struct sockaddr_storage server;
	socklen_t server_len;
	struct sim_gateway *gateways;
	struct sim_player *players;
	struct lw_map by_devaddr; /* chains are not needed: the server gives each device its own */
	struct lw_map by_dev_eui;
	struct sim_datagram *calendar[SIM_SLOTS];
	int64_t now_ms; /* last millisecond that was flushed */
	struct sim_datagram *pool;
	struct rt_timer tick, keepalive, stats, second, end;
	struct mqtt *mqtt;
	bool traffic_on;
	int64_t began_us, traffic_until_us;
	struct sim_counts c, last;
	uint32_t *latency_us;
	uint32_t *beyond_us; /* the same without what the deduplication waits */
	size_t n_latency;
	uint64_t seen_latency;
	uint32_t heard_joining;
};

/* sim.c */
int sim_init(struct sim *s, struct rt_loop *loop);
void sim_start(struct sim *s);
/* No new traffic; the loop ends after the settling time. */
void sim_finish(struct sim *s);
void sim_deinit(struct sim *s);
int64_t sim_now_us(void);
/* A gateway begins to send: reaches devices then. */
void sim_fly(struct sim *s, int64_t start_us, uint32_t hz, const struct lw_modulation *mod, const uint8_t *phy,
	     size_t n);

/* gateway.c */
int sim_gateway_init(struct sim_gateway *g, struct sim *s, uint32_t n);
void sim_gateway_deinit(struct sim_gateway *g);
void sim_gateway_pull(struct sim_gateway *g);
void sim_gateway_stat(struct sim_gateway *g);
/* The frame reaches the gateway now; its datagram leaves `delay_ms` later. */
void sim_gateway_hear(struct sim_gateway *g, uint32_t number, const struct sim_uplink *up, uint32_t device,
		      double distance_m, uint32_t delay_ms);
void sim_gateway_flush(struct sim_gateway *g);

/* watch.c: application events */
int sim_watch_init(struct sim *s);

/* report.c */
void sim_report_line(struct sim *s);
int sim_report_write(struct sim *s);
void sim_print_plan(struct sim *s);
