/* JSON Web Tokens with HMAC-SHA256 (RFC 7519), in the one form that this API knows. Reads no clock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/ids.h"

#define AS_JWT_MAX 1024

struct as_claims {
	struct lw_uuid sub;
	bool is_key;   /* typ "key" (an API key); otherwise "user" */
	int64_t exp_s; /* seconds since 1970; 0: never expires */
};

/* Writes the token with its NUL. Returns its length. */
size_t as_jwt_sign(const struct as_claims *claims, struct lw_span secret, char out[AS_JWT_MAX]);
/* 0; LW_EINVAL when it is no token of ours in form; LW_EAUTH when the signature is wrong; LW_ETIMEDOUT when expired. */
int as_jwt_verify(const char *token, size_t n, struct lw_span secret, int64_t now_s, struct as_claims *claims);
