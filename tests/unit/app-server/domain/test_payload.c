#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app-server/domain/payload.h"
#include "common/base/err.h"

static const struct lw_key key = {.b = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
static const uint8_t nonce[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
				  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void test_window(void **state)
{
	struct lw_keycache *kc = *state;
	uint8_t in[51];
	uint8_t window[AS_PAYLOAD_WINDOW * sizeof(in)];
	uint8_t one[sizeof(in)];
	struct lw_devaddr addr = {0x01020304};
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	as_payload_encrypt_down(kc, &key, addr, 0xfffffff8, AS_PAYLOAD_WINDOW, lw_span(in, sizeof(in)), window);
	/* Each entry is what its counter alone gives, across the wrap; no two are alike. */
	for (unsigned k = 0; k < AS_PAYLOAD_WINDOW; k++) {
		as_payload_encrypt_down(kc, &key, addr, 0xfffffff8 + k, 1, lw_span(in, sizeof(in)), one);
		assert_memory_equal(one, window + k * sizeof(in), sizeof(in));
		for (unsigned j = 0; j < k; j++)
			assert_memory_not_equal(one, window + j * sizeof(in), sizeof(in));
	}
}

/* An uplink of the recording tests/vectors/lorawan/recorded.tsv would do; the cipher has its own vectors. Here:
 * decrypting is its own inverse and depends on all inputs. */
static void test_decrypt(void **state)
{
	struct lw_keycache *kc = *state;
	static const uint8_t in[] = "twenty bytes of text";
	uint8_t a[sizeof(in)];
	uint8_t b[sizeof(in)];
	struct lw_devaddr addr = {0x01020304};
	as_payload_decrypt_up(kc, &key, addr, 7, lw_span(in, sizeof(in)), a);
	as_payload_decrypt_up(kc, &key, addr, 7, lw_span(a, sizeof(a)), b);
	assert_memory_equal(b, in, sizeof(in));
	as_payload_decrypt_up(kc, &key, addr, 8, lw_span(a, sizeof(a)), b);
	assert_memory_not_equal(b, in, sizeof(in));
}

static void test_seal(void **state)
{
	struct lw_keycache *kc = *state;
	uint8_t in[AS_PAYLOAD_MAX];
	uint8_t sealed[AS_PAYLOAD_MAX + AS_SEAL_OVERHEAD];
	uint8_t out[AS_PAYLOAD_MAX];
	static const size_t lengths[] = {0, 1, 15, 16, 17, 242, AS_PAYLOAD_MAX};
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7);
	for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
		size_t n = as_payload_seal(kc, &key, "id", nonce, lw_span(in, lengths[l]), sealed);
		assert_int_equal(n, lengths[l] + AS_SEAL_OVERHEAD);
		assert_int_equal(as_payload_unseal(kc, &key, "id", lw_span(sealed, n), out), lengths[l]);
		assert_memory_equal(in, out, lengths[l]);
		for (size_t i = 0; i < n; i++) {
			sealed[i] ^= 1;
			assert_int_equal(as_payload_unseal(kc, &key, "id", lw_span(sealed, n), out), LW_EAUTH);
			sealed[i] ^= 1;
		}
		assert_int_equal(as_payload_unseal(kc, &key, "di", lw_span(sealed, n), out), LW_EAUTH);
	}
	assert_int_equal(as_payload_unseal(kc, &key, "id", lw_span(sealed, AS_SEAL_OVERHEAD - 1), out), LW_EINVAL);
}

static int setup(void **state)
{
	*state = lw_keycache_new(4);
	return 0;
}

static int teardown(void **state)
{
	lw_keycache_free(*state);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_window),
		cmocka_unit_test(test_decrypt),
		cmocka_unit_test(test_seal),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
