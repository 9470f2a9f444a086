/* The REST routes: the one table of which path stands for which RPC and which right it needs. */
#pragma once

#include <stddef.h>

#include "common/pb/route.h"

/* One row for each RPC that is not a stream. The right is "<validator>:<action>" or "<validator>" as in the permission
 * table, "" where none is needed. RPCs whose right depends on their request (GetRandomDevAddr, the summaries, a list
 * narrowed by a multicast group) have the usual one here and check the rest themselves. */
extern const struct lw_route as_routes[];
extern const size_t as_routes_count;
