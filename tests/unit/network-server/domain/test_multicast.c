/* The set of gateways that covers a group. [8.2: minimum gateway set] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/base/rng.h"
#include "network-server/domain/multicast.h"

static struct ns_mc_heard at(uint32_t device, uint64_t gateway, int margin_ddb)
{
	return (struct ns_mc_heard){
		.device = device, .gateway_id = lw_gateway_id_from_u64(gateway), .margin_ddb = (int16_t)margin_ddb};
}

/* The gateways as bits. */
static uint64_t cover(struct ns_mc_heard *v, size_t n)
{
	struct lw_gateway_id out[512];
	uint64_t bits = 0;
	assert_true(n <= 512);
	size_t found = ns_mc_cover(v, n, out);
	for (size_t i = 0; i < found; i++) {
		uint64_t id = lw_gateway_id_u64(out[i]);
		assert_true(id < 64);
		assert_false(bits >> id & 1);
		bits |= UINT64_C(1) << id;
	}
	return bits;
}

static void test_nobody(void **state)
{
	struct lw_gateway_id out[1];
	(void)state;
	assert_int_equal(ns_mc_cover(NULL, 0, out), 0);
}

/* One device, one gateway; two devices of one; two devices of two that share a third; a chain. */
static void test_small(void **state)
{
	(void)state;
	assert_int_equal(cover((struct ns_mc_heard[]){at(0, 1, 50)}, 1), 1u << 1);
	assert_int_equal(cover((struct ns_mc_heard[]){at(0, 1, 50), at(1, 1, 50)}, 2), 1u << 1);
	assert_int_equal(cover((struct ns_mc_heard[]){at(0, 1, 90), at(0, 3, 10), at(1, 2, 90), at(1, 3, 10)}, 4),
			 1u << 3);
	struct ns_mc_heard chain[] = {at(0, 1, 50), at(1, 1, 50), at(1, 2, 50), at(2, 2, 50),
				      at(2, 3, 50), at(3, 3, 50), at(4, 4, 50)};
	assert_int_equal(cover(chain, 7), 1u << 1 | 1u << 3 | 1u << 4);
}

/* A gateway that hears a device too weakly for the group's data rate does not cover it, unless no other does better. */
static void test_margin(void **state)
{
	(void)state;
	assert_int_equal(cover((struct ns_mc_heard[]){at(0, 1, 50), at(0, 3, -20), at(1, 2, 50), at(1, 3, -20)}, 4),
			 1u << 1 | 1u << 2);
	assert_int_equal(cover((struct ns_mc_heard[]){at(0, 1, -50), at(0, 2, -10), at(0, 3, -20)}, 3), 1u << 2);
}

/* The one that looked best at first may become superfluous. */
static void test_superfluous(void **state)
{
	(void)state;
	struct ns_mc_heard v[] = {at(0, 2, 1), at(0, 1, 2), at(1, 1, 2), at(1, 2, 1), at(2, 1, 2),
				  at(2, 3, 1), at(3, 1, 2), at(3, 3, 1), at(4, 2, 1), at(5, 3, 1)};
	assert_int_equal(cover(v, 10), 1u << 2 | 1u << 3);
}

/* Random groups: every device is reached, no gateway can be left out, and the smallest of all sets is rarely missed. */
static void test_random(void **state)
{
	struct lw_rng rng;
	unsigned smallest = 0, tries = 400;
	(void)state;
	lw_rng_init_seeded(&rng, 11);
	for (unsigned t = 0; t < tries; t++) {
		struct ns_mc_heard v[60];
		uint64_t reach[12] = {0};
		size_t n = 0;
		unsigned devices = 1 + (unsigned)lw_rng_below(&rng, 12), gateways = 1 + (unsigned)lw_rng_below(&rng, 8);
		for (unsigned d = 0; d < devices; d++)
			for (unsigned k = 0; k < 1 + lw_rng_below(&rng, 4); k++) {
				unsigned g = (unsigned)lw_rng_below(&rng, gateways);
				if (reach[d] >> g & 1)
					continue;
				reach[d] |= UINT64_C(1) << g;
				v[n++] = at(d, g, (int)lw_rng_below(&rng, 100));
			}
		uint64_t got = cover(v, n);
		unsigned best = gateways;
		for (unsigned d = 0; d < devices; d++)
			assert_true(got & reach[d]);
		for (uint64_t s = 0; s < UINT64_C(1) << gateways; s++) {
			bool ok = true;
			for (unsigned d = 0; d < devices; d++)
				ok = ok && (s & reach[d]);
			if (ok && (unsigned)__builtin_popcountll(s) < best)
				best = (unsigned)__builtin_popcountll(s);
			assert_false(ok && s != got && (s & got) == s); /* none of ours is superfluous */
		}
		smallest += (unsigned)__builtin_popcountll(got) == best;
	}
	assert_true(smallest > tries * 9 / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody),      cmocka_unit_test(test_small),  cmocka_unit_test(test_margin),
		cmocka_unit_test(test_superfluous), cmocka_unit_test(test_random),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
