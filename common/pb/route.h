/* REST routes as data: which RPC a method and path stand for, and how path, query and body become its request message.
 * The table itself is app-server/api/routes.c. Pure but for the allocator. */
#pragma once

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/pb/schema.h"

struct lw_route {
	const char *method; /* GET */
	const char
		*path; /* /api/devices/{device.dev_eui}: a variable is one segment and names a member of the request */
	const char *rpc;   /* api.DeviceService/Update */
	const char *body;  /* "*": the body is the request; NULL: there is none, the query fills the request */
	const char *right; /* DeviceAccess:Update; "" for RPCs open to all */
};

#define LW_ROUTE_MAX_VARIABLES 4
/* Longest decoded path variable or query part. */
#define LW_ROUTE_MAX_TEXT 4096

struct lw_route_hit {
	const struct lw_route *route;
	size_t n;
	struct {
		struct lw_span name;  /* device.dev_eui: part of the table's path */
		struct lw_span value; /* still percent-encoded: part of the caller's path */
	} variables[LW_ROUTE_MAX_VARIABLES];
};

/* Finds the route; where several match, the one whose first difference is a literal segment. The path has no query.
 * 0, LW_ENOTFOUND (no such path), or LW_EUNSUPPORTED (the path exists, but not with this method). */
int lw_route_find(const struct lw_route *table, size_t n, const char *method, struct lw_span path,
		  struct lw_route_hit *hit);

/* Makes the request message of a hit. The body must be JSON where the route has one; an empty body is an empty request.
 * Path variables win over the body. Query names are camelCase or snake_case, with dots for nested members, repeated for
 * lists, tags[key]=value for maps; unknown names are ignored, as unknown members of bodies are. Ownership and errors as
 * lw_pbjson_decode(). */
int lw_route_bind(const struct lw_schema *s, const struct lw_route_hit *hit, struct lw_span query, struct lw_span body,
		  const ProtobufCAllocator *allocator, ProtobufCMessage **out, struct lw_diag *diag);
