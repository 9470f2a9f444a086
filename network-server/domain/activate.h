/* Sessions that do not come from a join: ABP, or handed over; and the session as the API shows it. Pure. */
#pragma once

#include "common/base/arena.h"
#include "common/base/rng.h"
#include "common/lorawan/netid.h"
#include "network-server/domain/device.h"
#include "network-server/domain/region_config.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

/* Builds the session of a device with this profile. Receive parameters: the profile's abp_* members, 0 meaning the
 * region's default (the data rate 0 next to a frequency is one); channels: the region's defaults. rc: the configuration
 * it starts in (the session names it, else the profile, else the first of the region). LW_EINVAL: an address or key
 * that cannot be read (`why` says which one). */
int ns_activate(const Longwave__Ns__V1__Session *in, const struct ns_profile *profile,
		const struct ns_region_config *rc, struct ns_session *out, const char **why);
/* What MAC commands and channels are like right after a start of the device: the session's version must be set. */
void ns_session_boot(struct ns_session *s, const struct ns_profile *profile, const struct ns_region_config *rc);
/* Receive windows and channels as a join-accept set them. */
void ns_session_accepted(struct ns_session *s, const struct ns_profile *profile, const struct ns_region_config *rc,
			 uint8_t dl_settings, uint8_t rx_delay_s, const uint8_t *cflist);
/* The session that a join offers, on this address. */
void ns_session_joined(const struct ns_rekey *offer, struct lw_devaddr devaddr, const struct ns_profile *profile,
		       const struct ns_region_config *rc, struct ns_session *out);
/* The region configuration of an offer made to the session. */
static inline const char *ns_rekey_region(const struct ns_session *s, const struct ns_rekey *offer)
{
	return offer->type == NS_REKEY_JOIN ? offer->region_config_id : s->region_config_id;
}
/* The session that an offer made to dev->session is of. out->rekey is that offer, no longer present. */
void ns_session_rekeyed(const struct ns_device *dev, const struct ns_rekey *offer, const struct ns_region_config *rc,
			struct ns_session *out);
/* What to show and to encrypt for: the session, or the one that the device is joining with. Keys, identity and counters
 * of the latter only. */
void ns_session_expected(const struct ns_session *s, struct ns_session *out);
/* Receive windows of a device that did not join. */
void ns_session_factory_rx(struct ns_session *s, const struct ns_profile *profile, const struct ns_region_config *rc);
/* Fills a message whose strings and bytes live in the arena. */
void ns_session_to_pb(struct lw_dev_eui dev_eui, const struct ns_session *s, struct lw_arena *arena,
		      Longwave__Ns__V1__Session *out);
/* An address of the block. */
struct lw_devaddr ns_random_devaddr(struct lw_devaddr_prefix prefix, struct lw_rng *rng);
