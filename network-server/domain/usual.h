/* By which receivers a device was heard lately, so that deduplication knows when nobody else is to be waited for.
 * Memory only, bounded: what was not used for long makes room, and its device waits the full window again. Knows no
 * frames and no time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/ids.h"

struct ns_usual;

/* So many uplinks in a row by the same receivers make them the usual ones. */
#define NS_USUAL_STREAK 5

/* About so many devices are kept, 16 bytes each; memory grows with them. */
struct ns_usual *ns_usual_new(size_t max_devices);
void ns_usual_free(struct ns_usual *u);

/* A receiver is one antenna of a gateway. A set of receivers is the sum of these over its members, in any order. */
uint64_t ns_usual_receiver(struct lw_gateway_id id, uint32_t board, uint32_t antenna);

/* True when the last NS_USUAL_STREAK uplinks of the device with this address were heard by just this set. */
bool ns_usual_complete(const struct ns_usual *u, struct lw_devaddr addr, uint64_t set);
/* A new uplink of a device that its MIC identified, and that is alone with its address. A set other than the last one,
 * or another device than the last one, begins a new row. */
void ns_usual_heard(struct ns_usual *u, struct lw_devaddr addr, struct lw_dev_eui dev_eui, uint64_t set);
/* The device's last uplink once more: it makes no row longer, but another set ends it. */
void ns_usual_repeated(struct ns_usual *u, struct lw_devaddr addr, uint64_t set);
/* Was heard otherwise, or the address changes hands. */
void ns_usual_forget(struct ns_usual *u, struct lw_devaddr addr);
void ns_usual_clear(struct ns_usual *u);

size_t ns_usual_count(const struct ns_usual *u);
