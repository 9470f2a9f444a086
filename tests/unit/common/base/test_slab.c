#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/slab.h"

#define SIZE 1000
#define N 2000
#define KEEP 2

#if defined(__SANITIZE_ADDRESS__)
#define PLAIN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLAIN 1
#endif
#endif
#ifndef PLAIN
#define PLAIN 0
#endif

static uint8_t *v[N];

static void fill(uint8_t *p, size_t i)
{
	assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
	memset(p, (int)(i * 7 + 1), SIZE);
}

static void check(const uint8_t *p, size_t i)
{
	for (size_t k = 0; k < SIZE; k++)
		assert_int_equal(p[k], (uint8_t)(i * 7 + 1));
}

/* In any order, nothing overlaps, and a burst is gone when it is over. */
static void test_burst(void **state)
{
	struct lw_slab s;
	(void)state;
	lw_slab_init(&s, SIZE, KEEP);
	for (size_t i = 0; i < N; i++)
		fill(v[i] = lw_slab_alloc(&s), i);
	size_t most = s.n_blocks;
	for (size_t i = 0; i < N; i++)
		check(v[i], i);
	assert_int_equal(s.used, N);
	for (size_t i = 0; i < N; i += 2)
		lw_slab_free(&s, v[i]);
	assert_int_equal(s.n_blocks, most); /* each has some left */
	for (size_t i = 0; i < N; i += 2)
		fill(v[i] = lw_slab_alloc(&s), i);
	assert_int_equal(s.n_blocks, most); /* holes first */
	for (size_t i = 0; i < N; i++)
		check(v[i], i);
	for (size_t i = 0; i < N; i++)
		lw_slab_free(&s, v[N - 1 - i]);
	assert_int_equal(s.used, 0);
	if (!PLAIN) {
		assert_true(most > N * SIZE / LW_SLAB_BLOCK);
		assert_int_equal(s.n_blocks, KEEP);
	}
	lw_slab_deinit(&s);
	assert_int_equal(s.n_blocks, 0);
}

/* What was in use at once may be kept for the next batch, and goes when it is not kept any more. */
static void test_batches(void **state)
{
	struct lw_slab s;
	(void)state;
	lw_slab_init(&s, SIZE, KEEP);
	for (int batch = 0; batch < 3; batch++) {
		for (size_t i = 0; i < N; i++) {
			fill(v[i] = lw_slab_alloc(&s), i);
			if (!PLAIN)
				assert_int_equal(s.most, s.n_blocks);
		}
		size_t all = s.n_blocks;
		lw_slab_keep(&s, s.most);
		assert_int_equal(s.n_blocks, all);
		for (size_t i = 0; i < N; i++)
			lw_slab_free(&s, v[i]);
		assert_int_equal(s.n_blocks, all);
		assert_int_equal(s.most, all);
	}
	v[0] = lw_slab_alloc(&s);
	lw_slab_keep(&s, KEEP);
	if (!PLAIN) {
		assert_int_equal(s.n_blocks, KEEP + 1);
		assert_int_equal(s.most, 1);
	}
	fill(v[0], 0);
	check(v[0], 0);
	lw_slab_free(&s, v[0]);
	lw_slab_keep(&s, 0);
	assert_int_equal(s.n_blocks, 0);
	lw_slab_deinit(&s);
}

/* Old ones go while new ones come, as frames do: no more blocks than are needed at once, about. */
static void test_stream(void **state)
{
	enum { UNDER_WAY = 700 };
	struct lw_slab s;
	size_t most = 0;
	(void)state;
	lw_slab_init(&s, SIZE, KEEP);
	for (size_t i = 0; i < 20 * UNDER_WAY; i++) {
		size_t at = i % UNDER_WAY;
		if (i >= UNDER_WAY) {
			check(v[at], i - UNDER_WAY);
			lw_slab_free(&s, v[at]);
		}
		fill(v[at] = lw_slab_alloc(&s), i);
		most = s.n_blocks > most ? s.n_blocks : most;
	}
	assert_true(most <= UNDER_WAY * (SIZE + 32) / LW_SLAB_BLOCK + 1 + KEEP);
	for (size_t i = 0; i < UNDER_WAY; i++)
		lw_slab_free(&s, v[i]);
	lw_slab_deinit(&s);
}

static void test_random(void **state)
{
	struct lw_slab s;
	size_t held[N] = {0};
	(void)state;
	lw_slab_init(&s, SIZE, 0);
	memset(v, 0, sizeof(v));
	srand(1);
	for (size_t i = 1; i < 50000; i++) {
		size_t at = (size_t)rand() % N;
		if (v[at]) {
			check(v[at], held[at]);
			lw_slab_free(&s, v[at]);
			v[at] = NULL;
		} else {
			held[at] = i;
			fill(v[at] = lw_slab_alloc(&s), i);
		}
	}
	for (size_t i = 0; i < N; i++)
		lw_slab_free(&s, v[i]);
	assert_int_equal(s.n_blocks, 0);
	lw_slab_deinit(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_burst), cmocka_unit_test(test_batches),
					   cmocka_unit_test(test_stream), cmocka_unit_test(test_random)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
