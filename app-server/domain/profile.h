/* Rules of device profiles. Pure. */
#pragma once

#include "common/base/err.h"
#include "proto/api/device_profile.pb-c.h"

/* 0, or LW_EINVAL with words. */
int as_profile_check(const Api__DeviceProfile *p, struct lw_diag *diag);
/* Members whose switch is off fall back to their defaults, as clients expect to read them back (api-observed.md). */
void as_profile_normalise(Api__DeviceProfile *p);
