/* Asks the geo-server where a device is; all questions of a tick go in one call. */
#pragma once

#include "network-server/flow/ports.h"

struct rt_loop;
struct ns_geo_client;

struct ns_geo_client *ns_geo_client_new(struct rt_loop *loop, const char *address);
void ns_geo_client_free(struct ns_geo_client *c);
void ns_geo_client_fill_port(struct ns_geo_client *c, struct ns_geo_port *out);
