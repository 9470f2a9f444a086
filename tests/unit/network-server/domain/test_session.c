/* The session's blob: everything comes back, damage is refused or harmless, newer sections are skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/err.h"
#include "common/base/rng.h"
#include "network-server/domain/session.h"

/* Every member other than zero, within its bounds. */
static void fill(struct ns_session *s)
{
	struct lw_rng rng;
	lw_rng_init_seeded(&rng, 3);
	memset(s, 0, sizeof(*s));
	s->devaddr.v = 0x01020304;
	lw_rng_fill(&rng, s->join_eui.b, 8);
	lw_rng_fill(&rng, s->f_nwk_s_int_key.b, 16);
	lw_rng_fill(&rng, s->s_nwk_s_int_key.b, 16);
	lw_rng_fill(&rng, s->nwk_s_enc_key.b, 16);
	lw_rng_fill(&rng, s->session_key_id, 16);
	s->session_key_id_len = 16;
	s->mac_version = LW_MAC_1_1_0;
	s->enabled_class = LW_CLASS_C;
	strcpy(s->region_config_id, "us915_7");
	s->dev_nonce = 0xABCD;
	s->f_cnt_up = 0xFFFFFFFF;
	s->n_f_cnt_down = 70000;
	s->a_f_cnt_down = 80000;
	s->conf_f_cnt = 79999;
	s->has_uplink = true;
	s->f_cnt_gaps = 0x80000006;
	s->rx1_delay_s = 15;
	s->rx1_dr_offset = 3;
	s->rx2_dr = 8;
	s->rx2_hz = 923300000;
	s->dr = 5;
	s->tx_power_index = 4;
	s->nb_trans = 2;

	s->min_tx_power_index = 1;
	s->adr = true;
	s->uplink_dwell_400ms = 1;
	s->downlink_dwell_400ms = 1;
	s->uplink_eirp_index = 13;
	for (unsigned i = 0; i < LW_PLAN_CHANNELS / 16; i++)
		s->enabled_channels[i] = (uint16_t)(0x1111 * (i + 1));
	for (unsigned i = 0; i < LW_PLAN_USER_CHANNELS; i += 2)
		s->user_channels[i] = (struct lw_channel){867100000 + 200000 * i, 0, 5};
	for (unsigned i = 0; i < NS_ADR_HISTORY; i++)
		s->adr_history[s->n_adr_history++] = (struct ns_adr_entry){i, (int16_t)(-200 + (int)i), -120, 2, 3};
	ns_session_pending_put(s, 5, (const uint8_t *)"\x05\x01\x02\x03\x04", 5);
	ns_session_pending_put(s, 6, NULL, 0);
	ns_session_error_add(s, 7);
	ns_session_error_add(s, 7);
	s->dev_status_req_at_ns = INT64_C(1714564800000000001);
	s->ping_slot_nb = 16;
	s->ping_slot_dr = 3;
	s->ping_slot_hz = 869525000;
	s->beacon_locked = true;
	s->ping_slot_used_ns = INT64_C(1398600064000000003);
	s->rejoin_max_time_n = 3;
	s->rejoin_max_count_n = 4;
	s->rejoin_enabled = true;
	s->last_uplink_at_ns = INT64_C(1714564800123456789);
	s->last_uplink_hz = 904300000;
	s->last_uplink_confirmed = true;
	s->answered = true;
	s->max_duty_cycle = 4;
	s->adr_ack_limit_exp = 5;
	s->adr_ack_delay_exp = 4;
	s->beacon_hz = 869000000;
	s->dl_hz[0] = 867100000;
	s->dl_hz[NS_DL_CHANNELS - 1] = 867300000;
	for (uint64_t i = 0; i < NS_MAC_REJECTED; i++)
		ns_session_reject(s, NS_WHAT_CHANNEL, i << 48 | 868100000);
	s->mac_queue_sent = true;
	s->mac_queue_len = NS_MAC_QUEUE_MAX;
	memset(s->mac_queue, 0x80, NS_MAC_QUEUE_MAX);
	s->rj_count0 = 65536;
	s->rekey.present = true;
	s->rekey.type = 2;
	lw_rng_fill(&rng, s->rekey.f_nwk_s_int_key.b, 16);
	lw_rng_fill(&rng, s->rekey.s_nwk_s_int_key.b, 16);
	lw_rng_fill(&rng, s->rekey.nwk_s_enc_key.b, 16);
	lw_rng_fill(&rng, s->rekey.session_key_id, 16);
	s->rekey.session_key_id_len = 16;
	s->rekey.dl_settings = 0x83;
	s->rekey.rx_delay_s = 5;
	s->rekey.has_cflist = true;
	lw_rng_fill(&rng, s->rekey.cflist, 16);
	s->rekey.is_foreign = true;
	memset(s->rekey.app_s_key_kek, 'k', NS_KEK_LABEL_MAX - 1);
	lw_rng_fill(&rng, s->rekey.app_s_key, NS_WRAPPED_KEY_MAX);
	s->rekey.app_s_key_len = NS_WRAPPED_KEY_MAX;
	for (unsigned i = 0; i < NS_RX_GATEWAYS; i++) {
		struct ns_rx_gateway *g = &s->rx[s->n_rx++];
		g->gateway_id = lw_gateway_id_from_u64(0x1000 + i);
		g->rssi_dbm = (int16_t)(-100 - (int)i);
		g->snr_ddb = (int16_t)(-75 + (int)i);
		g->board = i;
		g->antenna = i + 1;
		g->context_len = NS_CONTEXT_MAX;
		memset(g->context, (int)i, NS_CONTEXT_MAX);
	}
}

static void comes_back(void **state)
{
	struct ns_session a, b;
	struct lw_buf blob;
	(void)state;
	fill(&a);
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
	fill(&a);
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
