/* A session as a message that other network-servers read (proto/longwave/ns/v1/session.proto), and back. Pure. */
#pragma once

#include "common/base/arena.h"
#include "common/base/err.h"
#include "network-server/domain/device.h"
#include "network-server/domain/region_config.h"
#include "proto/longwave/ns/v1/session.pb-c.h"

#define NS_SESSION_EXPORT_VERSION 1

/* Everything of the session; in the arena. */
Longwave__Ns__V1__ExportedSession *ns_session_export(struct lw_dev_eui dev_eui, const struct ns_session *s,
						     struct lw_arena *arena);
/* LW_EINVAL: a member is out of its range; LW_EPRECONDITION: it does not fit the profile. Both name the member in
 * `diag`, and *out is not to be used. rc: the configuration that it goes on in. */
int ns_session_import(const Longwave__Ns__V1__ExportedSession *in, const struct ns_profile *profile,
		      const struct ns_region_config *rc, struct ns_session *out, struct lw_diag *diag);
