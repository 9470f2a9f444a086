/* The OpenAPI 3.1 document of the REST interface, made from the schema and the routes. Pure. */
#pragma once

#include <stddef.h>

#include "common/base/bytes.h"
#include "common/pb/route.h"
#include "common/pb/schema.h"

/* Appends the document as JSON. Component schemas are called by full names ("api.Device") where a response has them,
 * with every member required since REST always prints all; and "api.Device.Input" where a request has them, with none
 * required. Top-level requests keep their name ("api.CreateDeviceRequest"). Returns 0 or LW_EBIG. */
int lw_openapi_build(const struct lw_schema *s, const struct lw_route *routes, size_t n, struct lw_buf *out);
