/* MAC commands one after the other as the API shows them: by name, with values that can be read. Pure. */
#pragma once

#include "common/base/arena.h"
#include "common/lorawan/mac.h"
#include "proto/longwave/ns/v1/ns.pb-c.h"

/* The commands of the list, in the arena; *n of them, at most 32. From the first one that nobody here can read (a
 * proprietary one, whose length is unknown, or one that is cut off) all the rest is one of this identifier, without a
 * name, its bytes in hexadecimal. NULL with *n 0: there are none, or no memory is left. */
Longwave__Ns__V1__MacCommand **ns_mac_list(struct lw_arena *a, enum lw_dir dir, struct lw_span commands, size_t *n);
