/* From a network event to what applications see: one integration message (contracts/integration.md §1, §4). Pure; the
 * messages borrow from the network event, the device and the arena. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/ids.h"
#include "common/crypto/aes.h"
#include "proto/integration/integration.pb-c.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

/* How a time that a gateway gives may differ from the server's. */
#define AS_EVENT_TIME_TOLERANCE_NS (INT64_C(30) * 1000000000)

struct as_tags {
	Integration__DeviceInfo__TagsEntry **v;
	size_t n;
};

/* What events say about a device besides the event itself. */
struct as_event_device {
	const char *tenant_id, *tenant_name, *application_id, *application_name, *device_profile_id,
		*device_profile_name, *device_name, *dev_eui;
	struct as_tags tags;      /* application, then profile, then device: the later wins */
	struct as_tags tags_down; /* of txack: profile and device only */
};

/* In order of first appearance; entries are borrowed, the list lies in the arena. */
struct as_tags as_tags_merge(struct lw_arena *a, const struct as_tags *layers, size_t n);

/* An event ready to be encoded. `name` is NULL when applications see nothing of it. */
struct as_event {
	const char *name; /* "up", "join", "ack", "txack", "log", "status", "location" */
	const ProtobufCMessage *msg;
};

/* `app_s_key` NULL: not known here, so an uplink's payload stays encrypted and the session is named instead. Returns 0,
 * LW_EINVAL (the event contradicts itself), LW_ENOMEM (the arena's limit). */
int as_event_build(const Longwave__Ns__V1__Event *e, const struct as_event_device *dev, const struct lw_key *app_s_key,
		   struct lw_keycache *keys, struct lw_arena *a, struct as_event *out);

/* Session whose AppSKey the event needs; empty for none. */
struct lw_span as_event_session(const Longwave__Ns__V1__Event *e);

/* §4: GPS time of the first gateway that has it, else a gateway's clock, each only when within 30 s of the server's
 * time; else that. */
int64_t as_event_time_ns(int64_t server_ns, Gw__UplinkRxInfo *const *rx, size_t n);
