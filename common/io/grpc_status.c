/* Tables of gRPC's status codes. */
#include "common/io/grpc_status.h"

#include <stddef.h>

#include "common/base/err.h"

struct status_row {
	const char *name;
	int http;
	int err;
};

static const struct status_row STATUS[] = {
	[GRPC_OK] = {"OK", 200, 0},
	[GRPC_CANCELLED] = {"CANCELLED", 499, LW_ECANCELLED},
	[GRPC_UNKNOWN] = {"UNKNOWN", 500, LW_EINTERNAL},
	[GRPC_INVALID_ARGUMENT] = {"INVALID_ARGUMENT", 400, LW_EINVAL},
	[GRPC_DEADLINE_EXCEEDED] = {"DEADLINE_EXCEEDED", 504, LW_ETIMEDOUT},
	[GRPC_NOT_FOUND] = {"NOT_FOUND", 404, LW_ENOTFOUND},
	[GRPC_ALREADY_EXISTS] = {"ALREADY_EXISTS", 409, LW_EEXISTS},
	[GRPC_PERMISSION_DENIED] = {"PERMISSION_DENIED", 403, LW_EPERM},
	[GRPC_RESOURCE_EXHAUSTED] = {"RESOURCE_EXHAUSTED", 429, LW_EEXHAUSTED},
	[GRPC_FAILED_PRECONDITION] = {"FAILED_PRECONDITION", 400, LW_EPRECONDITION},
	[GRPC_ABORTED] = {"ABORTED", 409, LW_ECONFLICT},
	[GRPC_OUT_OF_RANGE] = {"OUT_OF_RANGE", 400, LW_ERANGE},
	[GRPC_UNIMPLEMENTED] = {"UNIMPLEMENTED", 501, LW_EUNSUPPORTED},
	[GRPC_INTERNAL] = {"INTERNAL", 500, LW_EINTERNAL},
	[GRPC_UNAVAILABLE] = {"UNAVAILABLE", 503, LW_EUNAVAILABLE},
	[GRPC_DATA_LOSS] = {"DATA_LOSS", 500, LW_EIO},
	[GRPC_UNAUTHENTICATED] = {"UNAUTHENTICATED", 401, LW_EAUTH},
};

static const struct status_row *status_row(int status)
{
	if (status < 0 || (size_t)status >= sizeof(STATUS) / sizeof(STATUS[0]))
		return &STATUS[GRPC_UNKNOWN];
	return &STATUS[status];
}

const char *grpc_status_name(int status)
{
	return status_row(status)->name;
}

int grpc_status_to_http(int status)
{
	return status_row(status)->http;
}

int grpc_status_to_err(int status)
{
	return status_row(status)->err;
}

int grpc_status_from_err(int err)
{
	switch (err) {
	case 0:
		return GRPC_OK;
	case LW_EINVAL:
	case LW_ETRUNC:
	case LW_EPROTO:
		return GRPC_INVALID_ARGUMENT;
	case LW_EBIG:
	case LW_EEXHAUSTED:
	case LW_EFULL:
	case LW_ELIMIT:
	case LW_ENOMEM:
		return GRPC_RESOURCE_EXHAUSTED;
	case LW_EAGAIN:
	case LW_ECLOSED:
		return GRPC_UNAVAILABLE;
	default:
		break;
	}
	for (int s = 0; (size_t)s < sizeof(STATUS) / sizeof(STATUS[0]); s++) {
		if (STATUS[s].err == err && s != GRPC_UNKNOWN)
			return s;
	}
	return GRPC_INTERNAL;
}

int grpc_status_from_http(int http_status)
{
	/* The mapping of gRPC's "HTTP to gRPC status code" document. */
	switch (http_status) {
	case 400:
		return GRPC_INTERNAL;
	case 401:
		return GRPC_UNAUTHENTICATED;
	case 403:
		return GRPC_PERMISSION_DENIED;
	case 404:
		return GRPC_UNIMPLEMENTED;
	case 429:
	case 502:
	case 503:
	case 504:
		return GRPC_UNAVAILABLE;
	default:
		return GRPC_UNKNOWN;
	}
}
