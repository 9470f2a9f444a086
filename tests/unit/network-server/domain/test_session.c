/* The session's blob: everything comes back, damage is refused or harmless, newer sections are skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/rng.h"
#include "network-server/domain/session.h"
#include "tests/unit/network-server/domain/full_session.h"

static void comes_back(void **state)
{
	struct ns_session a, b;
	struct lw_buf blob;
	(void)state;
	full_session(&a);
	lw_buf_init(&blob, NS_SESSION_BLOB_MAX);
	assert_int_equal(ns_session_encode(&a, &blob), 0);
	assert_int_equal(ns_session_decode(lw_span(blob.p, blob.n), &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	lw_buf_deinit(&blob);
	/* the empty one, too */
	memset(&a, 0, sizeof(a));
	assert_int_equal(ns_session_encode(&a, &blob), 0);
	assert_int_equal(ns_session_decode(lw_span(blob.p, blob.n), &b), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	lw_buf_deinit(&blob);
}

static void damaged(void **state)
{
	struct ns_session a, b;
	struct lw_buf blob;
	struct lw_rng rng;
	size_t refused = 0;
	(void)state;
	full_session(&a);
	lw_rng_init_seeded(&rng, 5);
	lw_buf_init(&blob, NS_SESSION_BLOB_MAX);
	assert_int_equal(ns_session_encode(&a, &blob), 0);
	for (size_t n = 0; n < blob.n; n++)
		refused += ns_session_decode(lw_span(blob.p, n), &b) != 0;
	assert_true(refused > blob.n / 2);
	blob.p[0] = 9;
	assert_int_equal(ns_session_decode(lw_span(blob.p, blob.n), &b), LW_EPROTO);
	blob.p[0] = 1;
	for (unsigned k = 0; k < 20000; k++) {
		size_t at = 1 + (size_t)lw_rng_below(&rng, blob.n - 1);
		uint8_t old = blob.p[at];
		blob.p[at] = (uint8_t)lw_rng_u32(&rng);
		if (ns_session_decode(lw_span(blob.p, blob.n), &b) == 0) {
			struct lw_buf again;
			lw_buf_init(&again, 2 * NS_SESSION_BLOB_MAX);
			assert_int_equal(ns_session_encode(&b, &again), 0); /* within all bounds */
			assert_true(b.ping_slot_nb <= 128 && (b.ping_slot_nb & (b.ping_slot_nb - 1)) == 0);
			lw_buf_deinit(&again);
		}
		blob.p[at] = old;
	}
	lw_buf_deinit(&blob);
}

static void other_versions(void **state)
{
	/* version 1; identity with the address alone; an unknown section */
	static const uint8_t blob[] = {1, 1, 4, 0, 0x04, 0x03, 0x02, 0x01, 200, 2, 0, 0xAA, 0xBB};
	struct ns_session s;
	(void)state;
	assert_int_equal(ns_session_decode(lw_span(blob, sizeof(blob)), &s), 0);
	assert_int_equal(s.devaddr.v, 0x01020304);
	assert_int_equal(s.dev_nonce, 0);
}

static void counters(void **state)
{
	struct ns_session s = {.mac_version = LW_MAC_1_0_4, .n_f_cnt_down = 3, .a_f_cnt_down = 9};
	(void)state;
	assert_int_equal(ns_session_next_f_cnt_down(&s, true), 3);
	assert_int_equal(ns_session_next_f_cnt_down(&s, false), 3);
	s.mac_version = LW_MAC_1_1_0;
	assert_int_equal(ns_session_next_f_cnt_down(&s, true), 9);
	assert_int_equal(ns_session_next_f_cnt_down(&s, false), 3);
}

static void pending_and_errors(void **state)
{
	struct ns_session s = {0};
	uint8_t b[40] = {0};
	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		ns_session_pending_put(&s, (uint8_t)i, b, 3);
		ns_session_error_add(&s, (uint8_t)i);
	}
	assert_int_equal(s.n_mac_pending, NS_MAC_PENDING);
	assert_int_equal(s.n_mac_errors, NS_MAC_ERRORS);
	ns_session_pending_put(&s, 3, b, 40); /* too long: the old one stays */
	assert_int_equal(ns_session_pending(&s, 3)->len, 3);
	ns_session_pending_remove(&s, 3);
	ns_session_pending_remove(&s, 3);
	assert_null(ns_session_pending(&s, 3));
	assert_int_equal(s.n_mac_pending, NS_MAC_PENDING - 1);
	for (unsigned i = 0; i < 300; i++)
		ns_session_error_add(&s, 5);
	assert_int_equal(ns_session_errors(&s, 5), 255);
	ns_session_error_clear(&s, 5);
	assert_int_equal(ns_session_errors(&s, 5), 0);
}

/* Due again after 1, 2, 4, 8 … uplinks; one that no gateway took after 16 at the latest. */
static void back_off(void **state)
{
	struct ns_session s = {0};
	static const uint8_t cid[] = {3};
	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		ns_session_pending_put(&s, 3, cid, 1);
		struct ns_mac_pending *p = ns_session_pending(&s, 3);
		assert_int_equal(p->tries, i + 1);
		assert_int_equal(p->wait, 1u << (i < 15 ? i : 15));
		for (unsigned k = p->wait; k > 0; k--)
			ns_session_pending_tick(&s);
		ns_session_pending_tick(&s);
		assert_int_equal(p->wait, 0);
	}
	ns_session_pending_refused(&s, cid, 1);
	ns_session_pending_put(&s, 3, cid, 1);
	ns_session_pending_refused(&s, cid, 1);
	assert_int_equal(ns_session_pending(&s, 3)->wait, 16);
	ns_session_pending_remove(&s, 3);
	ns_session_pending_refused(&s, cid, 1);
	for (unsigned i = 0; i < 5; i++) {
		ns_session_pending_put(&s, 3, cid, 1);
		ns_session_pending_refused(&s, cid, 1);
		assert_int_equal(ns_session_pending(&s, 3)->wait, 1u << i);
	}
}

static void rejected(void **state)
{
	struct ns_session s = {0};
	(void)state;
	for (uint64_t i = 0; i < NS_MAC_REJECTED + 3; i++) {
		ns_session_reject(&s, NS_WHAT_RX2_HZ, i);
		ns_session_reject(&s, NS_WHAT_RX2_HZ, i);
	}
	assert_int_equal(s.n_mac_rejected, NS_MAC_REJECTED);
	assert_false(ns_session_rejected(&s, NS_WHAT_RX2_HZ, 2)); /* the oldest gave way */
	assert_true(ns_session_rejected(&s, NS_WHAT_RX2_HZ, 3));
	assert_false(ns_session_rejected(&s, NS_WHAT_RX2_DR, 3));
	ns_session_mac_reset(&s);
	assert_int_equal(s.n_mac_rejected, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_back),         cmocka_unit_test(damaged),
		cmocka_unit_test(other_versions),     cmocka_unit_test(counters),
		cmocka_unit_test(pending_and_errors), cmocka_unit_test(back_off),
		cmocka_unit_test(rejected),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
