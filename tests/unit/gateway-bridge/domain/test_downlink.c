#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "gateway-bridge/domain/downlink.h"

#define TOO_LATE 2
#define TX_FREQ 6

struct fixture {
	struct gb_gateways gateways;
	struct gb_gateway *gw;
	struct gb_downlinks all;
	struct semtech_txpk tx[3];
};

static int setup(void **state)
{
	static struct fixture f;
	struct gb_peer peer = {.n = 16};
	bool is_new;
	gb_gateways_init(&f.gateways, 10);
	f.gw = gb_gateways_pull(&f.gateways, lw_gateway_id_from_u64(1), 2, &peer, 1, &is_new);
	gb_downlinks_init(&f.all);
	for (size_t i = 0; i < 3; i++)
		f.tx[i] = (struct semtech_txpk){
			.timing = SEMTECH_AT_TMST,
			.tmst_us = (uint32_t)i,
			.freq_hz = 868100000,
			.rate = {.modulation = SEMTECH_LORA, .spreading_factor = 7, .bandwidth_hz = 125000},
			.phy = lw_span("x", 1)};
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	gb_gateways_deinit(&f->gateways);
	return 0;
}

static void test_first_taken(void **state)
{
	struct fixture *f = *state;
	const int ok[3] = {0};
	struct gb_downlink *d = gb_downlink_new(f->gw, 1023, f->tx, ok, 2);
	assert_int_equal(d->token, 1023);
	assert_ptr_equal(gb_downlink_current(d), &d->items[0]);
	gb_downlink_sent(&f->all, d, 10);
	assert_ptr_equal(gb_downlink_find(f->gw, 1023), d);
	gb_downlink_answer(d, GB_TX_OK);
	assert_null(gb_downlink_current(d));
	assert_int_equal(d->items[0].status, GB_TX_OK);
	assert_int_equal(d->items[1].status, GB_TX_IGNORED);
	assert_int_equal(f->gw->counters.n_tx, 1);
	gb_downlink_free(&f->all, d);
	assert_int_equal(f->all.n, 0);
	assert_null(gb_downlink_find(f->gw, 1023));
}

static void test_alternatives(void **state)
{
	struct fixture *f = *state;
	/* The middle one could not be encoded. */
	const int err[3] = {0, LW_EINVAL, 0};
	struct gb_downlink *d = gb_downlink_new(f->gw, 7, f->tx, err, 3);
	gb_downlink_sent(&f->all, d, 10);
	uint16_t first = d->token;
	gb_downlink_answer(d, TOO_LATE);
	assert_ptr_equal(gb_downlink_current(d), &d->items[2]);
	/* The same answer again, as a network may bring it, is nobody's. */
	assert_null(gb_downlink_find(f->gw, first));
	assert_int_equal(lw_get_le16(d->items[2].datagram + 1), d->token);
	gb_downlink_sent(&f->all, d, 20);
	assert_int_equal(f->all.n, 1);
	gb_downlink_answer(d, TX_FREQ);
	assert_null(gb_downlink_current(d));
	assert_int_equal(d->items[0].status, TOO_LATE);
	assert_int_equal(d->items[1].status, GB_TX_INTERNAL_ERROR);
	assert_int_equal(d->items[2].status, TX_FREQ);
	assert_int_equal(f->gw->counters.n_tx, 0);
	assert_int_equal(f->gw->counters.tx_status[TOO_LATE], 1);
	gb_downlink_free(&f->all, d);
}

static void test_nothing_to_send(void **state)
{
	struct fixture *f = *state;
	const int err[2] = {LW_EINVAL, LW_EUNSUPPORTED};
	struct gb_downlink *d = gb_downlink_new(f->gw, 7, f->tx, err, 2);
	assert_null(gb_downlink_current(d));
	gb_downlink_free(&f->all, d);
	assert_int_equal(f->all.n, 0);
}

/* Two of one turn, made before the first is sent. */
static void test_tokens_differ_unsent(void **state)
{
	struct fixture *f = *state;
	const int ok[3] = {0};
	struct gb_downlink *a = gb_downlink_new(f->gw, 3, f->tx, ok, 1);
	struct gb_downlink *b = gb_downlink_new(f->gw, 0x10003, f->tx, ok, 1);
	assert_int_equal(a->token, 3);
	assert_int_not_equal(b->token, 3);
	gb_downlink_sent(&f->all, a, 10);
	gb_downlink_sent(&f->all, b, 10);
	assert_ptr_equal(gb_downlink_find(f->gw, a->token), a);
	assert_ptr_equal(gb_downlink_find(f->gw, b->token), b);
	gb_downlink_free(&f->all, a);
	/* One that is never sent gives its token back, too. */
	struct gb_downlink *c = gb_downlink_new(f->gw, 3, f->tx, ok, 1);
	assert_int_equal(c->token, 3);
	gb_downlink_free(&f->all, c);
	gb_downlink_free(&f->all, b);
	assert_null(gb_downlink_find(f->gw, 3));
	assert_int_equal(f->all.n, 0);
}

static void test_tokens_differ(void **state)
{
	struct fixture *f = *state;
	const int ok[1] = {0};
	struct gb_downlink *d[5];
	for (uint32_t i = 0; i < 5; i++) {
		d[i] = gb_downlink_new(f->gw, 7 + (i << 16), f->tx, ok, 1);
		gb_downlink_sent(&f->all, d[i], i);
		for (uint32_t k = 0; k < i; k++)
			assert_int_not_equal(d[i]->token, d[k]->token);
		/* The datagram carries the token that was chosen. */
		assert_int_equal(lw_get_le16(d[i]->items[0].datagram + 1), d[i]->token);
	}
	for (size_t i = 0; i < 5; i++)
		assert_ptr_equal(gb_downlink_find(f->gw, d[i]->token), d[i]);
	for (size_t i = 0; i < 5; i++)
		gb_downlink_free(&f->all, d[i]);
}

static void test_silence(void **state)
{
	struct fixture *f = *state;
	const int ok[2] = {0};
	struct gb_downlink *a = gb_downlink_new(f->gw, 1, f->tx, ok, 2), *b = gb_downlink_new(f->gw, 2, f->tx, ok, 1);
	gb_downlink_sent(&f->all, a, 100);
	gb_downlink_sent(&f->all, b, 150);
	assert_null(gb_downlinks_stale(&f->all, 100));
	assert_ptr_equal(gb_downlinks_stale(&f->all, 101), a);
	/* A second attempt starts the clock again. */
	gb_downlink_answer(a, TOO_LATE);
	gb_downlink_sent(&f->all, a, 200);
	assert_ptr_equal(gb_downlinks_stale(&f->all, 201), b);
	gb_downlink_free(&f->all, b);
	assert_ptr_equal(gb_downlinks_stale(&f->all, 201), a);
	gb_downlink_free(&f->all, a);
	assert_null(gb_downlinks_stale(&f->all, 1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_first_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_alternatives, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_to_send, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tokens_differ, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tokens_differ_unsent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silence, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
