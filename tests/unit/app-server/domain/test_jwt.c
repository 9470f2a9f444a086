#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app-server/domain/jwt.h"
#include "common/base/base64.h"
#include "common/base/err.h"
#include "common/crypto/hash.h"

static const char secret_text[] = "0123456789abcdef0123456789abcdef";
#define SECRET lw_span(secret_text, sizeof(secret_text) - 1)
#define ID "290d6f4f-38eb-4b93-80b9-aca70193fbb4"

static size_t sign_text(const char *header, const char *body, char *out)
{
	uint8_t mac[LW_SHA256_LEN];
	size_t n = lw_base64url_encode(header, strlen(header), out);
	out[n++] = '.';
	n += lw_base64url_encode(body, strlen(body), out + n);
	lw_hmac_sha256(SECRET.p, SECRET.n, out, n, mac);
	out[n++] = '.';
	return n + lw_base64url_encode(mac, sizeof(mac), out + n);
}

static void test_round_trip(void **state)
{
	struct as_claims in = {.exp_s = 2000};
	struct as_claims out;
	char token[AS_JWT_MAX];
	(void)state;
	lw_uuid_parse(&in.sub, ID);
	size_t n = as_jwt_sign(&in, SECRET, token);
	assert_int_equal(n, strlen(token));
	assert_int_equal(as_jwt_verify(token, n, SECRET, 1999, &out), 0);
	assert_true(lw_uuid_eq(in.sub, out.sub));
	assert_false(out.is_key);
	assert_int_equal(as_jwt_verify(token, n, SECRET, 2000, &out), LW_ETIMEDOUT);
	in.is_key = true;
	in.exp_s = 0;
	n = as_jwt_sign(&in, SECRET, token);
	assert_int_equal(as_jwt_verify(token, n, SECRET, INT64_MAX, &out), 0);
	assert_true(out.is_key);
}

static void test_every_changed_character(void **state)
{
	struct as_claims in = {.exp_s = 2000};
	struct as_claims out;
	char token[AS_JWT_MAX];
	(void)state;
	lw_uuid_parse(&in.sub, ID);
	size_t n = as_jwt_sign(&in, SECRET, token);
	/* The last character carries bits that belong to no byte. */
	for (size_t i = 0; i < n - 1; i++) {
		char was = token[i];
		token[i] = was == 'A' ? 'B' : 'A';
		assert_true(as_jwt_verify(token, n, SECRET, 0, &out) < 0);
		token[i] = was;
	}
	for (size_t i = 0; i < n; i++)
		assert_true(as_jwt_verify(token, i, SECRET, 0, &out) < 0);
	assert_int_equal(as_jwt_verify(token, n, lw_span("another secret of enough length!", 32), 0, &out), LW_EAUTH);
}

static void test_signed_but_not_ours(void **state)
{
	static const char *const bodies[] = {
		"{}",
		"[]",
		"{\"aud\":\"chirpstack\",\"iss\":\"chirpstack\",\"sub\":\"" ID
		"\",\"typ\":\"user\"}", /* lives for ever */
		"{\"aud\":\"x\",\"iss\":\"chirpstack\",\"sub\":\"" ID "\",\"typ\":\"key\"}",
		"{\"aud\":\"chirpstack\",\"iss\":\"x\",\"sub\":\"" ID "\",\"typ\":\"key\"}",
		"{\"aud\":\"chirpstack\",\"iss\":\"chirpstack\",\"sub\":\"1\",\"typ\":\"key\"}",
		"{\"aud\":\"chirpstack\",\"iss\":\"chirpstack\",\"sub\":\"" ID "\",\"typ\":\"root\"}",
		"{\"aud\":\"chirpstack\",\"iss\":\"chirpstack\",\"sub\":\"" ID "\",\"typ\":\"key\"",
	};
	struct as_claims out;
	char token[AS_JWT_MAX];
	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		size_t n = sign_text("{\"typ\":\"JWT\",\"alg\":\"HS256\"}", bodies[i], token);
		assert_int_equal(as_jwt_verify(token, n, SECRET, 0, &out), LW_EINVAL);
	}
	size_t n =
		sign_text("{\"alg\":\"none\"}",
			  "{\"aud\":\"chirpstack\",\"iss\":\"chirpstack\",\"sub\":\"" ID "\",\"typ\":\"key\"}", token);
	assert_int_equal(as_jwt_verify(token, n, SECRET, 0, &out), LW_EINVAL);
}

/* Order of members, unknown ones and blanks do not matter: tokens of the reference are taken over. */
static void test_other_makers(void **state)
{
	struct as_claims out;
	char token[AS_JWT_MAX];
	(void)state;
	size_t n = sign_text("{\"alg\":\"HS256\",\"kid\":[1,{\"a\":null}],\"typ\":\"JWT\"}",
			     "{ \"typ\":\"user\", \"x\":{}, \"exp\":3000, \"sub\":\"" ID
			     "\", \"iss\":\"chirpstack\", \"aud\":\"chirpstack\" }",
			     token);
	assert_int_equal(as_jwt_verify(token, n, SECRET, 0, &out), 0);
	assert_int_equal(out.exp_s, 3000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_every_changed_character),
		cmocka_unit_test(test_signed_but_not_ours),
		cmocka_unit_test(test_other_makers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
