/* Inside of mqtt: the server's URL. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/base/err.h"

struct mqtt_server {
	char host[256];
	int port;
	bool tls;
};

/* tcp://, mqtt:// (1883) or ssl://, tls://, mqtts:// (8883); host[:port] alone is tcp. LW_EINVAL with diag. */
int mqtt_server_parse(const char *url, struct mqtt_server *out, struct lw_diag *diag);
