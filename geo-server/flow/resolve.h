/* The one RPC: requests go through domain/ on the thread pool. */
#pragma once

#include "common/base/list.h"

struct grpc_methods;
struct rt_loop;
struct rt_metric;

struct geo_resolve {
	struct rt_loop *loop;
	/* Set by the owner before geo_resolve_init(); NULL is allowed. */
	struct rt_metric *items;      /* devices, by method */
	struct rt_metric *receptions; /* that were asked about */
	struct rt_metric *seconds;    /* per request */
	struct lw_list jobs;          /* requests that are being computed */
};

/* Adds longwave.geo.v1.GeoServer to the table. */
void geo_resolve_init(struct geo_resolve *r, struct rt_loop *loop, struct grpc_methods *methods);
/* What is still being computed is answered with CANCELLED when it is ready, without touching `r` any more. */
void geo_resolve_deinit(struct geo_resolve *r);
