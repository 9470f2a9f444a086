#include "tools/sim/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"

enum kind { K_STR, K_U32, K_U64, K_F64, K_FLAG };

struct row {
	const char *name;
	enum kind kind;
	size_t offset;
	const char *text;
};

#define ROW(name_, kind_, member_, text_)                                                                              \
	{                                                                                                              \
		name_, kind_, offsetof(struct sim_options, member_), text_                                             \
	}
static const struct row ROWS[] = {
	ROW("server", K_STR, server, "HOST:PORT of the gateway-bridge (127.0.0.1:1700)"),
	ROW("mqtt", K_STR, mqtt, "tcp://HOST:PORT of the broker: count what reaches the applications"),
	ROW("report", K_STR, report, "FILE for the report as JSON"),
	ROW("region", K_STR, region_name, "EU868 or US915 (EU868)"),
	ROW("sub-band", K_U32, sub_band, "US915: sub-band 0..7 (0)"),
	ROW("gateways", K_U32, gateways, "number of gateways (2)"),
	ROW("devices", K_U32, devices, "number of devices (10)"),
	ROW("first-device", K_U32, first_device, "number of the first device (0)"),
	ROW("first-gateway", K_U32, first_gateway, "number of the first gateway (0)"),
	ROW("f-cnt", K_U32, f_cnt, "ABP: counter of the first uplink, to go on where an earlier run ended (0)"),
	ROW("abp", K_FLAG, abp, "devices are activated already (OTAA otherwise)"),
	ROW("rate", K_F64, rate, "uplinks per second, all devices together (1)"),
	ROW("join-spread", K_U32, join_spread_s, "seconds within which the devices switch on (5)"),
	ROW("duration", K_U32, duration_s, "seconds of traffic; 0: until SIGINT (0)"),
	ROW("settle", K_U32, settle_s, "seconds to wait for late events at the end (3)"),
	ROW("copies", K_U32, copies, "gateways that hear each uplink; 0: by signal (0)"),
	ROW("loss", K_F64, loss, "probability that a copy is lost (0)"),
	ROW("refuse", K_F64, refuse, "probability that a gateway refuses a downlink (0)"),
	ROW("confirmed", K_F64, confirmed, "share of confirmed uplinks (0)"),
	ROW("spread", K_U32, spread_ms, "greatest backhaul delay of a copy, ms (50)"),
	ROW("window", K_U32, window_ms, "the server's deduplication window, ms (200)"),
	ROW("seed", K_U64, seed, "seed of everything random (1)"),
	ROW("fine", K_FLAG, fine, "gateways give fine timestamps"),
	ROW("adr", K_FLAG, adr, "devices set the ADR bit"),
	ROW("deaf", K_FLAG, deaf, "devices never answer MAC commands"),
	ROW("silent-acks", K_FLAG, silent_acks, "gateways never answer downlinks"),
	ROW("print-plan", K_FLAG, print_plan, "print devices and gateways as JSON and end"),
	ROW("quiet", K_FLAG, quiet, "no line per second"),
	ROW("latitude", K_F64, latitude, "centre of the area (52.3731)"),
	ROW("longitude", K_F64, longitude, "centre of the area (4.8922)"),
	ROW("radius", K_F64, radius_m, "radius of the area, metres (3000)"),
};

static void usage(FILE *out)
{
	fputs("longwave-sim: gateways and devices that speak real UDP\n\n", out);
	fputs("  --version V          LoRaWAN version of the devices: 1.0.3 or 1.1.0 (1.0.3)\n", out);
	for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++)
		fprintf(out, "  --%-18s %s\n", ROWS[i].name, ROWS[i].text);
}

static int put(struct sim_options *o, const struct row *row, const char *value)
{
	char *at = (char *)o + row->offset;
	char *end = NULL;
	errno = 0;
	if (row->kind == K_STR) {
		memcpy(at, &value, sizeof(value));
		return 0;
	}
	if (row->kind == K_F64) {
		double d = strtod(value, &end);
		memcpy(at, &d, sizeof(d));
	} else {
		unsigned long long u = strtoull(value, &end, 10);
		if (row->kind == K_U32 && u > UINT32_MAX)
			return LW_EINVAL;
		if (row->kind == K_U32) {
			uint32_t v = (uint32_t)u;
			memcpy(at, &v, sizeof(v));
		} else {
			uint64_t v = u;
			memcpy(at, &v, sizeof(v));
		}
	}
	return errno || end == value || *end ? LW_EINVAL : 0;
}

static int check(struct sim_options *o)
{
	o->region = lw_region_by_name(o->region_name);
	if (!o->region)
		fprintf(stderr, "longwave-sim: no region %s\n", o->region_name);
	else if (o->gateways < 1 || o->gateways > 1000 || o->devices > 1000000)
		fprintf(stderr, "longwave-sim: 1 to 1000 gateways, at most 1000000 devices\n");
	else if (!(o->rate > 0) || o->spread_ms > 900 || o->sub_band > 7)
		fprintf(stderr, "longwave-sim: rate above 0, spread at most 900, sub-band at most 7\n");
	else
		return 0;
	return LW_EINVAL;
}

int sim_options_parse(struct sim_options *o, int argc, char **argv)
{
	*o = (struct sim_options){
		.server = "127.0.0.1:1700",
		.region_name = "EU868",
		.gateways = 2,
		.devices = 10,
		.version = LW_MAC_1_0_3,
		.rate = 1,
		.join_spread_s = 5,
		.settle_s = 3,
		.spread_ms = 50,
		.window_ms = 200,
		.seed = 1,
		.latitude = 52.3731,
		.longitude = 4.8922,
		.radius_m = 3000,
	};
	for (int i = 1; i < argc; i++) {
		const char *name = argv[i];
		if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
			usage(stdout);
			return 1;
		}
		const struct row *row = NULL;
		for (size_t k = 0; k < sizeof(ROWS) / sizeof(ROWS[0]); k++)
			if (!strncmp(name, "--", 2) && !strcmp(name + 2, ROWS[k].name))
				row = &ROWS[k];
		if (row && row->kind == K_FLAG) {
			*(bool *)((char *)o + row->offset) = true;
			continue;
		}
		const char *value = i + 1 < argc ? argv[++i] : NULL;
		int err = LW_EINVAL;
		if (value && row)
			err = put(o, row, value);
		else if (value && !strcmp(name, "--version"))
			err = lw_mac_version_parse(value, &o->version);
		if (err) {
			fprintf(stderr, "longwave-sim: wrong option or value: %s %s\n", name, value ? value : "");
			return err;
		}
	}
	return check(o);
}
