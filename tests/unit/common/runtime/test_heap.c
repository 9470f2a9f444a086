#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/xmalloc.h"
#include "common/runtime/heap.h"

#define MB ((size_t)1 << 20)

static void test_due(void **state)
{
	struct rt_heap_watch w = {0};
	(void)state;
	assert_false(rt_heap_due(&w, 10 * MB, false)); /* the first look only learns */
	assert_false(rt_heap_due(&w, 17 * MB, false));
	assert_true(rt_heap_due(&w, 18 * MB, false));
	rt_heap_done(&w, 16 * MB); /* it was needed */
	assert_false(rt_heap_due(&w, 18 * MB, false));
	assert_true(rt_heap_due(&w, 24 * MB, false));
	/* What is large is looked at less often. */
	rt_heap_done(&w, 100 * MB);
	assert_false(rt_heap_due(&w, 120 * MB, false));
	assert_true(rt_heap_due(&w, 125 * MB, false));
	/* It shrank by itself: growth counts from there. */
	assert_false(rt_heap_due(&w, 20 * MB, false));
	assert_true(rt_heap_due(&w, 40 * MB, false));
}

/* What a busy process has freed it needs in a moment; but it is not busy for an excuse for ever. */
static void test_busy(void **state)
{
	struct rt_heap_watch w = {0};
	(void)state;
	assert_false(rt_heap_due(&w, 10 * MB, true));
	for (int i = 1; i < RT_HEAP_BUSY_LOOKS; i++)
		assert_false(rt_heap_due(&w, 40 * MB, true));
	assert_true(rt_heap_due(&w, 40 * MB, true));
	rt_heap_done(&w, 30 * MB);
	/* From the beginning, after that and after a look with nothing to give back. */
	for (int i = 1; i < RT_HEAP_BUSY_LOOKS; i++)
		assert_false(rt_heap_due(&w, 40 * MB, true));
	assert_false(rt_heap_due(&w, 31 * MB, true));
	for (int i = 1; i < RT_HEAP_BUSY_LOOKS; i++)
		assert_false(rt_heap_due(&w, 40 * MB, true));
	for (int i = 0; i < 2 * RT_HEAP_BUSY_LOOKS; i++)
		assert_false(rt_heap_due(&w, 31 * MB, true));
	assert_false(rt_heap_due(&w, 40 * MB, true));
	assert_true(rt_heap_due(&w, 40 * MB, false));
}

/* An eighth of the time since the look before, however it was until then. */
static void test_share(void **state)
{
	const int64_t s = LW_NS_PER_S;
	struct rt_heap_watch w = {.busy_ns = 1000 * (uint64_t)s, .at_ns = 5000 * s};
	(void)state;
	assert_true(rt_heap_busy(&w, 1001 * (uint64_t)s, 5008 * s));
	assert_false(rt_heap_busy(&w, 1001 * (uint64_t)s, 5016 * s));
	assert_true(rt_heap_busy(&w, 1002 * (uint64_t)s, 5024 * s));
	assert_false(rt_heap_busy(&w, 1003 * (uint64_t)s - 1, 5032 * s));
}

/* Much memory in small pieces, and one that stays behind at the end of the heap: glibc by itself keeps it all. */
static void test_given_back(void **state)
{
	enum { N = 65536, SIZE = 1000 };
	(void)state;
	rt_heap_settings();
	struct rt_loop *loop = rt_loop_new_virtual(0);
	struct rt_heap *h = rt_heap_new(loop);
	rt_loop_advance(loop, 5000);
	size_t before = rt_heap_resident();
	assert_true(before > 0);
	char **v = lw_xmalloc(N * sizeof(char *));
	for (size_t i = 0; i < N; i++)
		v[i] = memset(lw_xmalloc(SIZE), 1, SIZE);
	char *last = lw_xmalloc(SIZE);
	for (size_t i = 0; i < N; i++)
		free(v[i]);
	free(v);
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_true(rt_heap_resident() > before + 40 * MB);
	rt_loop_advance(loop, 5000);
	while (rt_loop_work_count(loop))
		rt_loop_turn(loop);
	assert_true(rt_heap_resident() < before + 16 * MB);
#else
	rt_loop_advance(loop, 5000);
	while (rt_loop_work_count(loop))
		rt_loop_turn(loop);
#endif
	free(last);
	rt_heap_free(h);
	rt_loop_free(loop);
}

/* The end comes while memory is being given back. */
static void test_freed_meanwhile(void **state)
{
	(void)state;
	struct rt_loop *loop = rt_loop_new_virtual(0);
	struct rt_heap *h = rt_heap_new(loop);
	rt_loop_advance(loop, 5000);
	char *p = memset(lw_xmalloc(64 * MB), 1, 64 * MB);
	rt_loop_advance(loop, 5000);
	rt_heap_free(h);
	free(p);
	rt_loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_due), cmocka_unit_test(test_busy),
					   cmocka_unit_test(test_share), cmocka_unit_test(test_given_back),
					   cmocka_unit_test(test_freed_meanwhile)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
