/* What the simulator is asked to do. Filled from the command line; everything has a default. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/lorawan/region.h"

struct sim_options {
	const char *server; /* host:port of the gateway-bridge, UDP */
	const char *mqtt;   /* tcp://host:port of the broker, where application events are counted; NULL: not counted */
	const char *report; /* file for the JSON report; NULL: none */
	const char *region_name;
	const struct lw_region *region;
	uint32_t sub_band; /* US915: channels 8*n..8*n+7 and 64+n */
	uint32_t gateways;
	uint32_t devices;
	uint32_t first_device; /* number of the first one: several simulators can share a network */
	uint32_t first_gateway;
	uint32_t f_cnt;
	bool abp;
	enum lw_mac_version version;
	double rate;            /* uplinks per second over all devices */
	uint32_t join_spread_s; /* devices switch on within this time */
	uint32_t duration_s;    /* 0: until told to stop */
	uint32_t settle_s;      /* after that, how long late events are waited for */
	uint32_t copies;        /* the nearest gateways hear; 0: all that the signal reaches */
	double loss;            /* of each copy */
	double refuse;          /* of downlinks: the gateway answers COLLISION_PACKET */
	double confirmed;       /* share of confirmed uplinks */
	uint32_t spread_ms;     /* backhaul delay of a gateway, evenly up to this */
	uint32_t window_ms;     /* deduplication window of the server: subtracted in the report */
	uint64_t seed;
	bool fine; /* fine timestamps */
	bool adr;
	bool deaf;        /* devices never answer MAC commands */
	bool silent_acks; /* gateways send no TX_ACK */
	bool print_plan;  /* print devices and gateways as JSON, then end */
	bool quiet;
	double latitude, longitude;
	double radius_m;
};

/* Returns 0, 1 (ended as asked, --help), or negative after a message on standard error. */
int sim_options_parse(struct sim_options *o, int argc, char **argv);
