#include "app-server/domain/jwt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/base64.h"
#include "common/base/err.h"
#include "common/crypto/hash.h"
#include "common/pb/json_in.h"

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
	int n = snprintf(body, sizeof(body),
			 "{\"aud\":\"" ISSUER "\",\"iss\":\"" ISSUER "\",\"sub\":\"%s\",\"typ\":\"%s\"%s}",
			 lw_uuid_print(claims->sub, id), claims->is_key ? "key" : "user", exp);
	size_t len = lw_base64url_encode(header, sizeof(header) - 1, out);
	out[len++] = '.';
	len += lw_base64url_encode(body, (size_t)n, out + len);
	uint8_t mac[LW_SHA256_LEN];
	lw_hmac_sha256(secret.p, secret.n, out, len, mac);
	out[len++] = '.';
	return len + lw_base64url_encode(mac, sizeof(mac), out + len);
}

struct members {
	char alg[16];
	char iss[32];
	char aud[32];
	char sub[LW_UUID_TEXT];
	char typ[16];
	int64_t exp_s;
};

static void keep(char *out, size_t cap, struct lw_span text)
{
	if (text.n < cap) {
		memcpy(out, text.p, text.n);
		out[text.n] = 0;
	}
}

/* Takes the members we know out of a JSON object; others are skipped. */
static int read_object(struct lw_span json, struct members *m)
{
	const struct {
		const char *name;
		char *out;
		size_t cap;
	} known[] = {{"alg", m->alg, sizeof(m->alg)},
		     {"iss", m->iss, sizeof(m->iss)},
		     {"aud", m->aud, sizeof(m->aud)},
		     {"sub", m->sub, sizeof(m->sub)},
		     {"typ", m->typ, sizeof(m->typ)}};
	struct lw_json_in in;
	struct lw_span name;
	struct lw_span text;
	bool first = true;

	lw_json_in_init(&in, json, 4);
	lw_json_enter(&in, LW_JSON_OBJECT);
	while (lw_json_next_member(&in, &first, &name) == 1) {
		size_t i = 0;
		while (i < 5 && !lw_span_eq_str(name, known[i].name))
			i++;
		bool is_exp = lw_span_eq_str(name, "exp");
		if (i < 5 && lw_json_peek(&in) == LW_JSON_STRING) {
			if (lw_json_string(&in, &text) == 0)
				keep(known[i].out, known[i].cap, text);
		} else if (is_exp && lw_json_peek(&in) == LW_JSON_NUMBER) {
			char digits[24] = "";
			if (lw_json_number(&in, &text) == 0)
				keep(digits, sizeof(digits), text);
			m->exp_s = strtoll(digits, NULL, 10);
		} else {
			lw_json_skip(&in);
		}
	}
	int rc = lw_json_end(&in);
	lw_json_in_deinit(&in);
	return rc;
}

static int read_part(const char *p, size_t n, struct members *m)
{
	uint8_t text[AS_JWT_MAX];
	int len = lw_base64_decode(p, n, text, sizeof(text));
	return len > 0 ? read_object(lw_span(text, (size_t)len), m) : LW_EINVAL;
}

static int to_claims(const struct members *m, struct as_claims *claims)
{
	if (strcmp(m->iss, ISSUER) != 0 || strcmp(m->aud, ISSUER) != 0 || lw_uuid_parse(&claims->sub, m->sub) < 0)
		return LW_EINVAL;
	claims->is_key = strcmp(m->typ, "key") == 0;
	if (!claims->is_key && strcmp(m->typ, "user") != 0)
		return LW_EINVAL;
	claims->exp_s = m->exp_s;
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

	struct members m = {.alg = ""};
	if (read_part(token, (size_t)(dot - token), &m) < 0 || strcmp(m.alg, "HS256") != 0)
		return LW_EINVAL;
	if (read_part(body, (size_t)(dot2 - body), &m) < 0)
		return LW_EINVAL;
	int rc = to_claims(&m, claims);
	if (rc == 0 && claims->exp_s && claims->exp_s <= now_s)
		rc = LW_ETIMEDOUT;
	return rc;
}
