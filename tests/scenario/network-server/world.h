/* A world for the network-server's flows: virtual time, a store, gateways, a join server and a geo-server in memory,
 * and everything that comes out kept for inspection. Sessions pass through their blob, as in the real store. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/list.h"
#include "common/base/rng.h"
#include "common/pb/schema.h"
#include "common/runtime/loop.h"
#include "device.h"
#include "network-server/flow/flows.h"

#define WORLD_DEVICES 8
#define WORLD_GATEWAYS 6
#define WORLD_LOG 512

struct world_item {
	struct ns_queue_item item;
	uint8_t data[NS_QUEUE_PAYLOADS][256];
	uint8_t sealed[256];
};

struct world_device {
	struct ns_device rec; /* session unused: see blob */
	struct lw_buf blob;
	struct world_item queue[16];
	size_t n_queue;
	struct device end; /* the end-device itself */
	uint16_t nonces[16];
	size_t n_nonces;
};

struct world_down {
	Gw__DownlinkFrame *msg;
	const struct ns_region_config *rc;
	int64_t at_ns;
};

struct world {
	struct rt_loop *loop;
	struct lw_rng rng;
	struct lw_schema *schema;
	struct lw_keycache *kc;
	struct ns_ports ports;
	struct ns_flow_config cfg;
	const struct ns_region_config *regions[64];
	struct ns_flows *flows;

	struct world_device *device[WORLD_DEVICES];
	size_t n_devices;
	struct ns_gateway gateway[WORLD_GATEWAYS];
	size_t n_gateways;

	/* what came out */
	Longwave__Ns__V1__Event *event[WORLD_LOG];
	size_t n_events;
	Longwave__Ns__V1__Frame *frame[WORLD_LOG];
	size_t n_frames;
	struct world_down down[WORLD_LOG];
	size_t n_downs;
	uint64_t journal_done[WORLD_LOG];
	size_t n_journal_done;
	size_t n_journal_retry;
	size_t n_commits;
	size_t outcomes[256]; /* by reason */

	/* what goes wrong */
	unsigned conflicts;                 /* so many commits of sessions meet one */
	const struct ns_session *meanwhile; /* what is written then; NULL: nothing new */
	bool store_away;
	bool addresses_old; /* memory says that nobody has an address, until it is told to forget */
	size_t n_forgotten;
	size_t n_gateways_unseen; /* the last of them: in the database, not in memory until it is asked */
	size_t n_gateway_looks;
	bool broker_away;
	uint32_t store_ms;               /* every answer of the store takes so long; 0: at once */
	struct lw_list laters;           /* those that are under way */
	bool commit_held;                /* commits stay unanswered until world_release() */
	enum ns_join_result join_result; /* NS_JOIN_OK: the join server decides */
	bool join_is_10;
	/* Another join server than the application server's: its AppSKey comes wrapped, under this label; "": in the
	 * clear; "-": not at all, only named. NULL: our own. */
	const char *join_kek;
	uint8_t join_app_s_key[24]; /* as it was handed out last */
	size_t join_app_s_key_len;
	uint32_t join_nonce;
	bool geo_answers;
	struct ns_change *held[32];
	size_t n_held;
	uint64_t next_position;
};

struct world *world_new(void);
void world_free(struct world *w);
/* What came out so far is done with: the logs are empty again. */
void world_forget(struct world *w);
/* Before the first uplink: applies changes of cfg. */
void world_restart(struct world *w);

struct lw_gateway_id world_gateway(struct world *w, uint64_t id);
/* A device with random keys, profile of EU868 and the given version, OTAA, not activated. */
struct world_device *world_device(struct world *w, enum lw_mac_version version);
/* Activates it by an ABP session with random keys; the end-device knows them. */
void world_abp(struct world *w, struct world_device *d, const char *region_config);
/* The same with the address and keys that the end-device has. */
void world_activate(struct world_device *d, const char *region_config);
/* Joins over gateway 0: request, window, accept, tx-ack. */
void world_join(struct world *w, struct world_device *d);
/* The stored session. */
struct ns_session world_session(const struct world_device *d);
void world_session_put(struct world_device *d, const struct ns_session *s);

struct air {
	uint32_t hz;
	uint8_t dr;
	double snr;
	int rssi;
	unsigned gateway; /* index */
	unsigned antenna;
	unsigned board;
	const char *region; /* region configuration */
	const char *context_hex;
	bool json;
	bool replay;
	bool said_again; /* by a bridge */
	int64_t gps_s;   /* 0: none */
	int64_t clock_s; /* the gateway's clock is so far from ours; 0: it reports none */
};
struct air world_air(void); /* 868.1 MHz, DR5, SNR 8, RSSI -60, gateway 0 */
void world_receive(struct world *w, const struct air *air, const struct frame *f);
/* Builds, receives over the default air, closes the window. */
void world_up(struct world *w, struct world_device *d, const struct up *up);
/* Lets time pass. */
void world_pass(struct world *w, uint32_t ms);
/* Somebody sets the wall clock, by so much; the monotonic one goes on. */
void world_set_clock(struct world *w, int64_t by_s);
/* The last downlink's gateway answers with these statuses ("OK", "TOO_LATE" …), NULL-terminated. */
void world_ack(struct world *w, const char *const *statuses);
/* The same for the i-th of all. */
void world_ack_at(struct world *w, size_t i, const char *const *statuses);
void world_ack_ok(struct world *w);

/* An item with the payload encrypted for the next counters, as the application server does. Hints the flows. */
struct lw_uuid world_enqueue(struct world *w, struct world_device *d, uint8_t f_port, bool confirmed, const char *hex);
/* The application server answers a reencrypt event. */
void world_reencrypt(struct world *w, struct world_device *d);

/* Item i of the last downlink, as the device hears it. f_cnt: expected counter. */
struct heard world_hear(struct world *w, struct world_device *d, unsigned i, uint32_t f_cnt);
const Gw__DownlinkFrame *world_last_down(const struct world *w);
const Longwave__Ns__V1__Frame *world_last_uplink(const struct world *w);
const Longwave__Ns__V1__Frame *world_last_downlink_record(const struct world *w);
/* Number of events of a kind since `from`, and the last of them. */
size_t world_count(const struct world *w, Longwave__Ns__V1__Event__KindCase kind);
const Longwave__Ns__V1__Event *world_last(const struct world *w, Longwave__Ns__V1__Event__KindCase kind);
/* The last uplink's record says this. */
void assert_outcome(const struct world *w, Longwave__V1__Outcome outcome, Longwave__V1__Reason reason);
