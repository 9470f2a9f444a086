#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway-bridge/domain/gateway.h"

static struct lw_gateway_id id(uint64_t v)
{
	return lw_gateway_id_from_u64(v);
}

static void test_registry(void **state)
{
	(void)state;
	struct gb_gateways g;
	struct gb_peer a = {.addr = {1}, .n = 16}, b = {.addr = {2}, .n = 16};
	bool is_new;
	gb_gateways_init(&g, 3);
	assert_null(gb_gateways_find(&g, id(1)));
	struct gb_gateway *one = gb_gateways_pull(&g, id(1), 2, &a, 100, &is_new);
	assert_non_null(one);
	assert_true(is_new);
	assert_string_equal(one->id_text, "0000000000000001");
	gb_gateways_pull(&g, id(2), 1, &a, 200, &is_new);
	/* Seen again: the same object with a new address, now the youngest. */
	assert_ptr_equal(gb_gateways_pull(&g, id(1), 2, &b, 300, &is_new), one);
	assert_false(is_new);
	assert_memory_equal(one->peer.addr, b.addr, sizeof(b.addr));
	assert_int_equal(gb_gateways_count(&g), 2);

	assert_null(gb_gateways_stale(&g, 200));
	struct gb_gateway *stale = gb_gateways_stale(&g, 201);
	assert_non_null(stale);
	assert_true(lw_gateway_id_eq(stale->id, id(2)));
	gb_gateways_remove(&g, stale);
	assert_null(gb_gateways_stale(&g, 300));
	assert_ptr_equal(gb_gateways_stale(&g, 301), one);
	assert_null(gb_gateways_find(&g, id(2)));
	gb_gateways_deinit(&g);
}

static void test_registry_is_bounded(void **state)
{
	(void)state;
	struct gb_gateways g;
	struct gb_peer p = {.n = 16};
	bool is_new;
	gb_gateways_init(&g, 2);
	assert_non_null(gb_gateways_pull(&g, id(1), 2, &p, 1, &is_new));
	assert_non_null(gb_gateways_pull(&g, id(2), 2, &p, 1, &is_new));
	assert_null(gb_gateways_pull(&g, id(3), 2, &p, 1, &is_new));
	assert_non_null(gb_gateways_pull(&g, id(2), 2, &p, 2, &is_new));
	gb_gateways_deinit(&g);
}

static void test_counters(void **state)
{
	(void)state;
	struct gb_counters c = {0};
	struct gb_modulation m = {.rate = {.modulation = SEMTECH_LORA, .spreading_factor = 7, .bandwidth_hz = 125000}};
	for (uint32_t i = 0; i < 20; i++) {
		m.rate.spreading_factor = (uint8_t)(7 + i % 6);
		gb_counters_received(&c, 868100000 + 200000 * (i % 3), &m, 1);
	}
	assert_int_equal(c.rx.n_freq, 3);
	assert_int_equal(c.rx.freq[0].n, 7);
	assert_int_equal(c.rx.n_rate, 6);
	assert_int_equal(c.rx.rate[0].n, 4);
	assert_int_equal(c.n_rx, 20);
	gb_counters_sent(&c, 869525000, &m);
	gb_counters_status(&c, 1);
	assert_int_equal(c.tx.freq[0].freq_hz, 869525000);
	assert_int_equal(c.tx_status[1], 1);
	gb_counters_reset(&c);
	assert_int_equal(c.rx.n_freq + c.rx.n_rate + c.tx.n_freq + c.tx.n_rate + c.tx_status[1] + c.n_rx + c.n_tx, 0);
	/* A sender that hops over every frequency there is costs a bounded amount. */
	for (uint32_t i = 0; i < 5000; i++)
		gb_counters_received(&c, 1 + i, &m, 1);
	assert_int_equal(c.rx.n_freq, GB_COUNTERS_MAX);
	assert_int_equal(c.n_rx, 5000);
	gb_counters_deinit(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registry),
		cmocka_unit_test(test_registry_is_bounded),
		cmocka_unit_test(test_counters),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
