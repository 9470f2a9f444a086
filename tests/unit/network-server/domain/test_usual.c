/* Who usually hears a device: rows of equal sets, addresses that change hands, bounded memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "network-server/domain/usual.h"

#define ADDR(v_) ((struct lw_devaddr){(v_)})
#define DEV(v_) lw_dev_eui_from_u64(v_)

static uint64_t receiver(uint64_t gateway, uint32_t antenna)
{
	return ns_usual_receiver(lw_gateway_id_from_u64(gateway), 0, antenna);
}

static void hear(struct ns_usual *u, uint32_t addr, uint64_t dev, uint64_t set, unsigned times)
{
	while (times--)
		ns_usual_heard(u, ADDR(addr), DEV(dev), set);
}

static void five_in_a_row(void **state)
{
	struct ns_usual *u = ns_usual_new(100);
	uint64_t a = receiver(1, 0), b = receiver(2, 0);
	(void)state;
	hear(u, 7, 1, a + b, NS_USUAL_STREAK - 1);
	assert_false(ns_usual_complete(u, ADDR(7), a + b));
	hear(u, 7, 1, b + a, 1);
	assert_true(ns_usual_complete(u, ADDR(7), a + b));
	assert_false(ns_usual_complete(u, ADDR(7), a));
	assert_false(ns_usual_complete(u, ADDR(7), a + b + receiver(3, 0)));
	assert_false(ns_usual_complete(u, ADDR(8), a + b));
	hear(u, 7, 1, a + b, 20);
	assert_true(ns_usual_complete(u, ADDR(7), a + b));
	/* Once otherwise: from the start. */
	hear(u, 7, 1, a, 1);
	assert_false(ns_usual_complete(u, ADDR(7), a + b));
	hear(u, 7, 1, a + b, NS_USUAL_STREAK - 1);
	assert_false(ns_usual_complete(u, ADDR(7), a + b));
	hear(u, 7, 1, a + b, 1);
	assert_true(ns_usual_complete(u, ADDR(7), a + b));
	ns_usual_free(u);
}

static void antennas_are_receivers(void **state)
{
	(void)state;
	assert_int_not_equal(receiver(1, 0), receiver(1, 1));
	assert_int_not_equal(ns_usual_receiver(lw_gateway_id_from_u64(1), 1, 0), receiver(1, 1));
	assert_int_not_equal(receiver(1, 0) + receiver(2, 1), receiver(1, 1) + receiver(2, 0));
}

static void another_device_begins_a_row(void **state)
{
	struct ns_usual *u = ns_usual_new(100);
	uint64_t a = receiver(1, 0);
	(void)state;
	hear(u, 7, 1, a, NS_USUAL_STREAK);
	hear(u, 7, 2, a, 1);
	assert_false(ns_usual_complete(u, ADDR(7), a));
	for (int i = 0; i < 20; i++) {
		hear(u, 7, 1, a, 1);
		hear(u, 7, 2, a, 1);
	}
	assert_false(ns_usual_complete(u, ADDR(7), a));
	hear(u, 7, 2, a, NS_USUAL_STREAK - 1);
	assert_true(ns_usual_complete(u, ADDR(7), a));
	ns_usual_free(u);
}

static void forgotten(void **state)
{
	struct ns_usual *u = ns_usual_new(100);
	(void)state;
	hear(u, 7, 1, receiver(1, 0), 9);
	hear(u, 8, 2, receiver(1, 0), 9);
	ns_usual_repeated(u, ADDR(7), receiver(1, 0));
	assert_true(ns_usual_complete(u, ADDR(7), receiver(1, 0)));
	ns_usual_repeated(u, ADDR(7), receiver(2, 0));
	ns_usual_repeated(u, ADDR(7), receiver(2, 0));
	ns_usual_forget(u, ADDR(7));
	ns_usual_forget(u, ADDR(9));
	assert_false(ns_usual_complete(u, ADDR(7), receiver(1, 0)));
	assert_true(ns_usual_complete(u, ADDR(8), receiver(1, 0)));
	assert_int_equal(ns_usual_count(u), 1);
	ns_usual_clear(u);
	assert_int_equal(ns_usual_count(u), 0);
	assert_false(ns_usual_complete(u, ADDR(8), receiver(1, 0)));
	ns_usual_free(u);
}

/* All fit while there is room; past it the count stands and those used last are kept. */
static void bounded(void **state)
{
	enum { N = 4096 };
	struct ns_usual *u = ns_usual_new(N);
	uint64_t a = receiver(1, 0);
	size_t kept = 0;
	(void)state;
	for (uint32_t i = 0; i < N / 2; i++)
		hear(u, i * 97, i + 1, a, NS_USUAL_STREAK);
	for (uint32_t i = 0; i < N / 2; i++)
		kept += ns_usual_complete(u, ADDR(i * 97), a);
	assert_true(kept > N / 2 - N / 20);
	assert_int_equal(kept, ns_usual_count(u));
	for (uint32_t i = N; i < 40 * N; i++)
		hear(u, i * 97, i + 1, a, NS_USUAL_STREAK);
	assert_in_range(ns_usual_count(u), N / 2, N);
	assert_true(ns_usual_complete(u, ADDR((40 * N - 1) * 97), a));
	assert_false(ns_usual_complete(u, ADDR(97), a));
	ns_usual_free(u);
}

/* Who speaks stays, who is silent goes. */
static void the_silent_go_first(void **state)
{
	enum { N = 256 };
	struct ns_usual *u = ns_usual_new(N);
	uint64_t a = receiver(1, 0);
	(void)state;
	for (uint32_t i = 1; i < 100 * N; i++) {
		hear(u, i, i, a, 1);
		hear(u, 0, 77777777, a, 1);
	}
	assert_true(ns_usual_complete(u, ADDR(0), a));
	ns_usual_free(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(five_in_a_row),
		cmocka_unit_test(antennas_are_receivers),
		cmocka_unit_test(another_device_begins_a_row),
		cmocka_unit_test(forgotten),
		cmocka_unit_test(bounded),
		cmocka_unit_test(the_silent_go_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
