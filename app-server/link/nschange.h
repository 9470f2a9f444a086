/* The identity that the network-server needs, as changes for its Apply. All made in the given arena; texts are
 * borrowed. NULL: what was stored cannot be read. */
#pragma once

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/crypto/aes.h"
#include "proto/api/device_profile.pb-c.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

struct as_ns_device {
	const char *dev_eui, *join_eui, *tenant_id, *device_profile_id;
	bool is_disabled, skip_fcnt_check;
};

struct as_ns_gateway {
	const char *gateway_id, *tenant_id;
	double latitude, longitude, altitude;
	uint32_t stats_interval_s, downlink_priority;
	bool is_private_up, is_private_down;
};

Longwave__Ns__V1__Change *as_change_device(struct lw_arena *a, const struct as_ns_device *d);
Longwave__Ns__V1__Change *as_change_gateway(struct lw_arena *a, const struct as_ns_gateway *g);
/* A profile wants positions when it has the tag "geolocation" with a value other than "", "0", "false" and "off". */
/* radio: the packed longwave.app.v1.DeviceProfileRadio as it is stored, may be empty. */
Longwave__Ns__V1__Change *as_change_profile(struct lw_arena *a, const char *id, const char *tenant_id,
					    const Api__DeviceProfile *p, struct lw_span radio);
struct as_ns_group {
	const char *id, *tenant_id, *mc_addr, *mc_nwk_s_key, *mc_app_s_key;
	uint32_t f_cnt, dr, frequency, periodicity;
	int region, group_type, scheduling; /* as in api.MulticastGroup */
};
/* The McAppSKey stays here: the network-server gets what changes with it. */
Longwave__Ns__V1__Change *as_change_group(struct lw_arena *a, struct lw_keycache *keys, const struct as_ns_group *g);
/* id: "group/eui". */
Longwave__Ns__V1__Change *as_change_member(struct lw_arena *a, const char *id, bool gateway, bool put);
/* `kind` is one of AS_KIND_… (nsync.h). */
Longwave__Ns__V1__Change *as_change_delete(struct lw_arena *a, const char *kind, const char *id);
