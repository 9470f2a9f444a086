/* REST: a route, a message made of path, query and body, the same handler as gRPC's, JSON back. */
#pragma once

#include <stdbool.h>

struct as;
struct http_request;

/* Answers any request below /api. */
void as_rest_serve(struct as *as, struct http_request *r);
/* Whether the settings let pages of this origin call the API. */
bool as_rest_origin_allowed(const struct as *as, const char *origin);
