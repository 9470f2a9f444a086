/* The channels that a device has, as opposed to those that the network wants: built from its session. Pure. */
#pragma once

#include "common/lorawan/region.h"
#include "network-server/domain/region_config.h"
#include "network-server/domain/session.h"

/* What a device starts with: the region's default channels, all enabled, no others. */
void ns_channels_boot(const struct ns_region_config *rc, struct ns_session *s);
/* After a join-accept with this channel list. */
void ns_channels_cflist(const struct ns_region_config *rc, const struct lw_cflist *list, struct ns_session *s);
/* The device's own plan. Channels that it may have been given in gaps keep their index. */
void ns_channels_plan(const struct ns_region_config *rc, const struct ns_session *s, struct lw_plan *out);
/* Channel index of an uplink as the device counts, LW_ENOTFOUND. */
int ns_channels_index(const struct ns_region_config *rc, const struct ns_session *s, uint32_t hz, unsigned dr);
/* The device has accepted this channel. 0 Hz removes it. */
void ns_channels_put(const struct ns_region_config *rc, struct ns_session *s, unsigned index, struct lw_channel ch);
/* An uplink came on this channel. A device that hears nothing ends its back-off with all default channels enabled
 * (TS001 §4.3.1.1): to be seen by an uplink on a disabled one, or by ADRACKReq at the slowest rate. */
void ns_channels_heard(const struct ns_region_config *rc, struct ns_session *s, uint32_t hz, unsigned dr,
		       bool adr_ack_req);
