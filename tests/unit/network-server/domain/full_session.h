/* A session with everything in it, for tests that a form of it loses nothing. */
#pragma once

#include <string.h>

#include "common/base/rng.h"
#include "network-server/domain/session.h"

/* Every member other than zero, within its bounds; of EU868. */
static void full_session(struct ns_session *s)
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
	strcpy(s->region_config_id, "eu868");
	s->dev_nonce = 0xABCD;
	s->f_cnt_up = 0xFFFFFFFF;
	s->n_f_cnt_down = 70000;
	s->a_f_cnt_down = 80000;
	s->conf_f_cnt = 79999;
	for (unsigned i = 0; i < NS_CONF_BEFORE; i++)
		s->conf_f_cnt_before[i] = 79990 - i;
	s->has_uplink = true;
	s->f_cnt_gaps = 0x80000006;
	s->rx1_delay_s = 15;
	s->rx1_dr_offset = 3;
	s->rx2_dr = 3;
	s->rx2_hz = 869525000;
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
	s->last_uplink_hz = 868300000;
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
	for (unsigned i = 0; i < NS_OFFERS_BEFORE; i++) {
		struct ns_rekey *r = &s->rekey_before[i];
		*r = s->rekey;
		r->type = NS_REKEY_JOIN;
		lw_rng_fill(&rng, r->join_eui.b, 8);
		r->dev_nonce = (uint16_t)(0xFEDC + i);
		r->mac_version = LW_MAC_1_0_3;
		r->at_ns = INT64_C(1714564800123456000) - i;
		strcpy(r->region_config_id, "eu433");
	}
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
