/* gRPC-web (binary and base64 text, unary and server streaming) on the HTTP server, against the same method table as
 * gRPC. */
#pragma once

#include <stdbool.h>

struct grpc_methods;
struct http_request;

/* True when the request is a gRPC-web call (POST with content type application/grpc-web…): then it is taken over and
 * answered. Metadata are the HTTP headers. */
bool grpc_web_serve(const struct grpc_methods *m, struct http_request *r);
