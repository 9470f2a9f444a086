/* Class B timing (TS001 §9 to §13): beacon periods of 128 s, slots of 30 ms, the ping slots of a device. Times are
 * nanoseconds since the GPS epoch. Pure. */
#pragma once

#include "common/base/ids.h"
#include "common/crypto/aes.h"

#define NS_BEACON_PERIOD_S 128
#define NS_PING_SLOTS 4096 /* in a beacon period */

/* Start of the beacon period that this moment lies in. */
int64_t ns_beacon_start(int64_t gps_ns);
/* Slots between a period's first one and the device's; below 4096 / ping_nb. beacon_gps_s: start of the period. */
unsigned ns_ping_offset(struct lw_keycache *kc, uint32_t beacon_gps_s, struct lw_devaddr devaddr, unsigned ping_nb);
/* The device's first ping slot that starts at or after this moment. ping_nb: 1, 2, 4 … 128. */
int64_t ns_next_ping_slot(struct lw_keycache *kc, int64_t after_gps_ns, struct lw_devaddr devaddr, unsigned ping_nb);
