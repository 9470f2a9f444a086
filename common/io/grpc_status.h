/* gRPC's status codes and their relatives: our error codes and HTTP's. Pure. */
#pragma once

enum grpc_status {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_ALREADY_EXISTS = 6,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_ABORTED = 10,
	GRPC_OUT_OF_RANGE = 11,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_DATA_LOSS = 15,
	GRPC_UNAUTHENTICATED = 16,
};

/* "NOT_FOUND"; "UNKNOWN" for a number that is none. */
const char *grpc_status_name(int status);
/* The status that says the same as one of our error codes (0 gives GRPC_OK, an errno gives GRPC_INTERNAL). */
int grpc_status_from_err(int err);
/* The LW_E… that says the same as a status, 0 for GRPC_OK. */
int grpc_status_to_err(int status);
/* HTTP status for REST (NOT_FOUND: 404 …), as the usual gRPC gateways map it. */
int grpc_status_to_http(int status);
/* gRPC status of a peer (a proxy, say) that answered with plain HTTP instead of gRPC. */
int grpc_status_from_http(int http_status);
