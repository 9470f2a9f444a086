#include "app-server/domain/jwt.h"

#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "common/base/base64.h"
#include "common/base/err.h"
#include "common/crypto/hash.h"

/* Audience and issuer are interface facts: tokens made for a v4 API stay valid here under the same secret. */
#define ISSUER "chirpstack"

static const char header[] = "{\"typ\":\"JWT\",\"alg\":\"HS256\"}";

size_t as_jwt_sign(const struct as_claims *claims, struct lw_span secret, char out[AS_JWT_MAX])
{
	char id[LW_UUID_TEXT];
	char exp[32] = "";
	char body[256];

	if (claims->exp_s)
		snprintf(exp, sizeof(exp), ",\"exp\":%lld", (long long)claims->exp_s);
	int n = snprintf(body, sizeof(body), "{\"aud\":\"" ISSUER "\",\"iss\":\"" ISSUER "\",\"sub\":\"%s\",\"typ\":\"%s\"%s}",
			 lw_uuid_print(claims->sub, id), claims->is_key ? "key" : "user", exp);
	size_t len = lw_base64url_encode(header, sizeof(header) - 1, out);
	out[len++] = '.';
	len += lw_base64url_encode(body, (size_t)n, out + len);
	uint8_t mac[LW_SHA256_LEN];
	lw_hmac_sha256(secret.p, secret.n, out, len, mac);
	out[len++] = '.';
	return len + lw_base64url_encode(mac, sizeof(mac), out + len);
}

static json_object *parse_part(const char *p, size_t n)
{
	uint8_t text[AS_JWT_MAX];
	int len = lw_base64_decode(p, n, text, sizeof(text) - 1);
	if (len <= 0)
		return NULL;
	text[len] = 0;
	json_object *o = json_tokener_parse((const char *)text);
	if (o && !json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		return NULL;
	}
	return o;
}

static bool member_is(json_object *o, const char *key, const char *want)
{
	json_object *v = NULL;
	return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string) &&
	       strcmp(json_object_get_string(v), want) == 0;
}

static int read_claims(json_object *o, struct as_claims *claims)
{
	json_object *v = NULL;

	if (!member_is(o, "iss", ISSUER) || !member_is(o, "aud", ISSUER))
		return LW_EINVAL;
	claims->is_key = member_is(o, "typ", "key");
	if (!claims->is_key && !member_is(o, "typ", "user"))
		return LW_EINVAL;
	if (!json_object_object_get_ex(o, "sub", &v) || !json_object_is_type(v, json_type_string) ||
	    lw_uuid_parse(&claims->sub, json_object_get_string(v)) < 0)
		return LW_EINVAL;
	claims->exp_s = 0;
	if (json_object_object_get_ex(o, "exp", &v))
		claims->exp_s = json_object_get_int64(v);
	/* Only keys live for ever. */
	return claims->is_key || claims->exp_s > 0 ? 0 : LW_EINVAL;
}

int as_jwt_verify(const char *token, size_t n, struct lw_span secret, int64_t now_s, struct as_claims *claims)
{
	memset(claims, 0, sizeof(*claims));
	if (n >= AS_JWT_MAX)
		return LW_EINVAL;
	const char *dot = memchr(token, '.', n);
	if (!dot)
		return LW_EINVAL;
	const char *body = dot + 1;
	const char *dot2 = memchr(body, '.', n - (size_t)(body - token));
	if (!dot2)
		return LW_EINVAL;
	const char *sig = dot2 + 1;
	uint8_t got[LW_SHA256_LEN];
	if (lw_base64_decode(sig, n - (size_t)(sig - token), got, sizeof(got)) != LW_SHA256_LEN)
		return LW_EINVAL;
	uint8_t want[LW_SHA256_LEN];
	lw_hmac_sha256(secret.p, secret.n, token, (size_t)(dot2 - token), want);
	if (!lw_ct_equal(got, want, sizeof(want)))
		return LW_EAUTH;

	json_object *h = parse_part(token, (size_t)(dot - token));
	bool hs256 = h && member_is(h, "alg", "HS256");
	json_object_put(h);
	if (!hs256)
		return LW_EINVAL;
	json_object *o = parse_part(body, (size_t)(dot2 - body));
	if (!o)
		return LW_EINVAL;
	int rc = read_claims(o, claims);
	json_object_put(o);
	if (rc == 0 && claims->exp_s && claims->exp_s <= now_s)
		rc = LW_ETIMEDOUT;
	return rc;
}
