/* Unit tests of common/crypto against the vectors of the standards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/hex.h"
#include "common/base/rng.h"
#include "common/crypto/aes.h"
#include "common/crypto/hash.h"
#include "common/crypto/keywrap.h"

static size_t bytes(const char *hex, uint8_t *out, size_t cap)
{
	int n = lw_hex_decode(hex, strlen(hex), out, cap);
	assert_true(n >= 0);
	return (size_t)n;
}

static struct lw_key key_of(const char *hex)
{
	struct lw_key k;
	assert_int_equal(lw_key_parse(&k, hex), 0);
	return k;
}

#define RFC4493_KEY "2b7e151628aed2a6abf7158809cf4f3c"
#define RFC4493_MSG                                                                                                    \
	"6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"                                             \
	"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"

/* RFC 4493 §4, each message also cut in two at every place. */
static void test_cmac(void **state)
{
	(void)state;
	static const struct {
		size_t n;
		const char *mac;
	} cases[] = {
		{0, "bb1d6929e95937287fa37d129b756746"},
		{16, "070a16b46b4d4144f79bdd9dd04a287c"},
		{40, "dfa66747de9ae63030ca32611497c827"},
		{64, "51f0bebf7e3b9d92fc49741779363cfe"},
	};
	struct lw_key key = key_of(RFC4493_KEY);
	struct lw_aes *aes = lw_aes_new(&key);
	uint8_t msg[64];
	uint8_t want[16];
	uint8_t got[16];
	bytes(RFC4493_MSG, msg, sizeof msg);
	for (size_t i = 0; i < 4; i++) {
		bytes(cases[i].mac, want, sizeof want);
		for (size_t cut = 0; cut <= cases[i].n; cut++) {
			struct lw_span parts[3] = {lw_span(msg, cut), lw_span(NULL, 0),
						   lw_span(msg + cut, cases[i].n - cut)};
			lw_aes_cmac(aes, parts, 3, got);
			assert_memory_equal(got, want, 16);
		}
	}
	lw_aes_free(aes);
	lw_aes_free(NULL);
}

/* FIPS 197 appendix C.1. */
static void test_ecb(void **state)
{
	(void)state;
	struct lw_key key = key_of("000102030405060708090a0b0c0d0e0f");
	struct lw_aes *aes = lw_aes_new(&key);
	uint8_t in[32];
	uint8_t want[32];
	uint8_t got[32];
	bytes("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", in, sizeof in);
	bytes("69c4e0d86a7b0430d8cdb78070b4c55a69c4e0d86a7b0430d8cdb78070b4c55a", want, sizeof want);
	lw_aes_encrypt(aes, in, got, 2);
	assert_memory_equal(got, want, 32);
	lw_aes_decrypt(aes, got, got, 2);
	assert_memory_equal(got, in, 32);
	lw_aes_encrypt(aes, in, got, 0);
	lw_aes_free(aes);
}

/* A cache with fewer slots than keys answers as single schedules do, in both directions, whatever the order. */
static void test_keycache(void **state)
{
	(void)state;
	enum { KEYS = 40 };
	struct lw_rng rng;
	struct lw_key keys[KEYS];
	lw_rng_init_seeded(&rng, 11);
	lw_rng_fill(&rng, keys, sizeof keys);
	struct lw_keycache *kc = lw_keycache_new(7);
	for (int i = 0; i < 3000; i++) {
		const struct lw_key *k = &keys[lw_rng_below(&rng, KEYS)];
		struct lw_aes *one = lw_aes_new(k);
		struct lw_aes *cached = lw_keycache_get(kc, k);
		uint8_t in[16];
		uint8_t a[16];
		uint8_t b[16];
		lw_rng_fill(&rng, in, sizeof in);
		struct lw_span part = lw_span(in, lw_rng_below(&rng, 17));
		lw_aes_cmac(one, &part, 1, a);
		lw_aes_cmac(cached, &part, 1, b);
		assert_memory_equal(a, b, 16);
		if (i % 3 == 0) {
			lw_aes_decrypt(one, in, a, 1);
			lw_aes_decrypt(cached, in, b, 1);
			assert_memory_equal(a, b, 16);
		}
		lw_aes_free(one);
	}
	assert_true(lw_keycache_hits(kc) > 0 && lw_keycache_misses(kc) > 8);
	assert_true(lw_keycache_hits(kc) + lw_keycache_misses(kc) == 3000);
	uint64_t misses = lw_keycache_misses(kc);
	(void)lw_keycache_get(kc, &keys[0]);
	(void)lw_keycache_get(kc, &keys[0]);
	assert_true(lw_keycache_misses(kc) <= misses + 1);
	lw_keycache_free(kc);
	lw_keycache_free(NULL);
}

/* RFC 3394 §4.1. */
static void test_keywrap(void **state)
{
	(void)state;
	struct lw_key kek = key_of("000102030405060708090a0b0c0d0e0f");
	uint8_t plain[16];
	uint8_t want[24];
	uint8_t got[24];
	uint8_t back[16];
	bytes("00112233445566778899aabbccddeeff", plain, sizeof plain);
	bytes("1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5", want, sizeof want);
	assert_int_equal(lw_keywrap(&kek, plain, 16, got), 24);
	assert_memory_equal(got, want, 24);
	assert_int_equal(lw_keyunwrap(&kek, got, 24, back), 16);
	assert_memory_equal(back, plain, 16);
	for (int i = 0; i < 24; i++) {
		got[i] ^= 1;
		assert_int_equal(lw_keyunwrap(&kek, got, 24, back), LW_EAUTH);
		got[i] ^= 1;
	}
	assert_int_equal(lw_keywrap(&kek, plain, 8, got), LW_EINVAL);
	assert_int_equal(lw_keyunwrap(&kek, got, 23, back), LW_EINVAL);
	assert_int_equal(lw_keyunwrap(&kek, got, 16, back), LW_EINVAL);
}

static void test_hash(void **state)
{
	(void)state;
	uint8_t want[32];
	uint8_t got[32];
	/* FIPS 180-2 appendix B.1 */
	bytes("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", want, sizeof want);
	lw_sha256("abc", 3, got);
	assert_memory_equal(got, want, 32);
	/* RFC 4231 §4.3 */
	bytes("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", want, sizeof want);
	lw_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, got);
	assert_memory_equal(got, want, 32);
	/* Empty key and message. */
	bytes("b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad", want, sizeof want);
	lw_hmac_sha256(NULL, 0, "", 0, got);
	assert_memory_equal(got, want, 32);
	lw_random_bytes(want, 32);
	lw_random_bytes(got, 32);
	assert_memory_not_equal(want, got, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cmac),    cmocka_unit_test(test_ecb),  cmocka_unit_test(test_keycache),
		cmocka_unit_test(test_keywrap), cmocka_unit_test(test_hash),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
