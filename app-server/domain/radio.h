/* Rules of the radio settings of a device profile. Pure. */
#pragma once

#include "common/base/err.h"
#include "proto/common/common.pb-c.h"
#include "proto/longwave/app/v1/device_profile.pb-c.h"

/* 0, or LW_EINVAL with words that begin with the member's name. */
int as_radio_check(const Longwave__App__V1__DeviceProfileRadio *r, Common__Region region, struct lw_diag *diag);
