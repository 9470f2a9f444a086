/* A session as a message: everything comes back, each member out of range is refused by its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "network-server/domain/session_export.h"
#include "tests/unit/network-server/domain/full_session.h"

static const struct ns_profile PROFILE = {.region = LW_REGION_EU868,
					  .mac_version = LW_MAC_1_1_0,
					  .reg_params = LW_REG_PARAMS - 1,
					  .supports_class_b = true,
					  .supports_class_c = true};

struct rig {
	struct lw_arena arena;
	struct ns_session session;
	Longwave__Ns__V1__ExportedSession *m;
};

static void make(struct rig *r)
{
	lw_arena_init(&r->arena, NULL, 0, 1 << 20);
	full_session(&r->session);
	r->m = ns_session_export(lw_dev_eui_from_u64(0x0102), &r->session, &r->arena);
}

static void comes_back(void **state)
{
	struct rig r;
	struct ns_session out;
	struct lw_diag diag = {.text = ""};
	(void)state;
	make(&r);
	/* The region of an offer is the session's. */
	strcpy(r.session.rekey_before[0].region_config_id, "eu868");
	/* Of the offers the latest two go along. */
	memset(&r.session.rekey_before[1], 0, sizeof(r.session.rekey_before) - sizeof(r.session.rekey_before[0]));
	assert_int_equal(r.m->version, 1);
	assert_string_equal(r.m->dev_eui, "0000000000000102");
	/* Over the wire, as another server gets it. */
	uint8_t *p = lw_arena_alloc(&r.arena, protobuf_c_message_get_packed_size(&r.m->base));
	size_t n = protobuf_c_message_pack(&r.m->base, p);
	Longwave__Ns__V1__ExportedSession *m = longwave__ns__v1__exported_session__unpack(NULL, n, p);
	assert_non_null(m);
	assert_int_equal(ns_session_import(m, &PROFILE, ns_region_config_find("eu868"), &out, &diag), 0);
	assert_string_equal(diag.text, "");
	assert_memory_equal(&out, &r.session, sizeof(out));
	longwave__ns__v1__exported_session__free_unpacked(m, NULL);
	lw_arena_deinit(&r.arena);
}

/* The offer of a join has more to it. */
static void join_offer_comes_back(void **state)
{
	struct rig r;
	struct ns_session out;
	struct lw_diag diag = {.text = ""};
	(void)state;
	make(&r);
	r.session.rekey = r.session.rekey_before[0];
	strcpy(r.session.rekey.region_config_id, "eu868");
	memset(&r.session.rekey_before, 0, sizeof(r.session.rekey_before)); /* and the one before may be missing */
	r.m = ns_session_export(lw_dev_eui_from_u64(0x0102), &r.session, &r.arena);
	assert_int_equal(ns_session_import(r.m, &PROFILE, ns_region_config_find("eu868"), &out, &diag), 0);
	assert_memory_equal(&out, &r.session, sizeof(out));
	lw_arena_deinit(&r.arena);
}

/* The one before may be of a rejoin-request, too. */
static void rejoin_offers_come_back(void **state)
{
	struct rig r;
	struct ns_session out;
	struct lw_diag diag = {.text = ""};
	(void)state;
	make(&r);
	memset(&r.session.rekey_before, 0, sizeof(r.session.rekey_before));
	r.session.rekey_before[0] = r.session.rekey;
	r.session.rekey_before[0].type = 0;
	r.session.rekey_before[0].s_nwk_s_int_key.b[0] ^= 1;
	r.session.rekey.type = 1;
	r.m = ns_session_export(lw_dev_eui_from_u64(0x0102), &r.session, &r.arena);
	assert_int_equal(ns_session_import(r.m, &PROFILE, ns_region_config_find("eu868"), &out, &diag), 0);
	assert_memory_equal(&out, &r.session, sizeof(out));
	lw_arena_deinit(&r.arena);
}

static void refuse(struct rig *r, const struct ns_profile *profile, int err, const char *text)
{
	struct ns_session out;
	struct lw_diag diag = {.text = ""};
	assert_int_equal(ns_session_import(r->m, profile, ns_region_config_find("eu868"), &out, &diag), err);
	assert_string_equal(diag.text, text);
	/* No key of it stays. */
	assert_int_equal(out.f_nwk_s_int_key.b[0] | out.f_nwk_s_int_key.b[7], 0);
	r->m = ns_session_export(lw_dev_eui_from_u64(0x0102), &r->session, &r->arena);
}

static void out_of_range(void **state)
{
	struct rig r;
	(void)state;
	make(&r);
#define REFUSE(change, text)                                                                                           \
	do {                                                                                                           \
		change;                                                                                                \
		refuse(&r, &PROFILE, LW_EINVAL, text);                                                                 \
	} while (0)
	REFUSE(r.m->version = 2, "version is none that this server reads: it reads 1");
	REFUSE(r.m->version = 0, "version is none that this server reads: it reads 1");
	REFUSE(r.m->dev_addr[3] = 'x', "dev_addr is not an address of 8 hexadecimal digits");
	REFUSE(r.m->join_eui[3] = 'x', "join_eui is not an EUI of 16 hexadecimal digits");
	REFUSE(r.m->s_nwk_s_int_key.len = 15, "s_nwk_s_int_key is not a key of 16 octets");
	REFUSE(r.m->dev_nonce = 65536, "dev_nonce is above 65535");
	REFUSE(r.m->mac_version = (Common__MacVersion)99, "mac_version is above 5");
	REFUSE(r.m->counters = NULL, "counters are missing");
	REFUSE(r.m->receive = NULL, "receive is missing");
	REFUSE(r.m->receive->rx1_delay_s = 16, "receive.rx1_delay_s is above 15");
	REFUSE(r.m->receive->rx1_dr_offset = 6, "receive.rx1_dr_offset is above 5");
	REFUSE(r.m->receive->rx2_freq_hz = 915000000, "receive.rx2_freq_hz is outside the region");
	REFUSE(r.m->transmit = NULL, "transmit is missing");
	REFUSE(r.m->transmit->dr = 16, "transmit.dr is above 15");
	REFUSE(r.m->transmit->nb_trans = 16, "transmit.nb_trans is above 15");
	REFUSE(r.m->transmit->max_duty_cycle = 256, "transmit.max_duty_cycle is above 15");
	REFUSE(r.m->channels->n_enabled = 0, "channels.enabled is empty");
	REFUSE(r.m->channels->enabled[1] = 96, "channels.enabled is above 95");
	REFUSE(r.m->channels->added[1]->index = 16, "channels.added.index is above 15");
	REFUSE(r.m->channels->added[1]->freq_hz = 0, "channels.added.freq_hz is outside the region");
	REFUSE(r.m->channels->downlink[0]->index = 16, "channels.downlink.index is above 15");
	REFUSE(r.m->mac->pending[1]->cid = r.m->mac->pending[0]->cid, "mac.pending.cid is there twice");
	REFUSE(r.m->mac->pending[0]->tries = 256, "mac.pending.tries is above 255");
	REFUSE(r.m->mac->rejected[0]->what = 13, "mac.rejected.what is above 12");
	REFUSE(r.m->mac->rejected[0]->what = 0, "mac.rejected.what is 0");
	REFUSE(r.m->mac->dev_status_req_at_ns = -1, "mac.dev_status_req_at_ns is negative");
	REFUSE(r.m->class_b->ping_slot_nb = 3, "class_b.ping_slot_nb is no power of two");
	REFUSE(r.m->class_b->beacon_freq_hz = 1, "class_b.beacon_freq_hz is outside the region");
	REFUSE(r.m->adr_history[2]->max_snr_ddb = 40000, "adr_history.max_snr_ddb has more than 16 bit");
	REFUSE(r.m->last_uplink->gateways[0]->gateway_id[0] = 'x',
	       "last_uplink.gateways.gateway_id is not 16 hexadecimal digits");
	REFUSE(r.m->rejoin->offer->type = 4, "rejoin.offer.type is above 3");
	REFUSE(r.m->rejoin->offer->cflist.len = 15, "rejoin.offer.cflist is not 16 octets");
	REFUSE(r.m->rejoin->offer_before->type = 4, "rejoin.offer_before.type is above 3");
	REFUSE(r.m->rejoin->offer_before->dev_nonce = 65536, "rejoin.offer_before.dev_nonce is above 65535");
	REFUSE(r.m->rejoin->offer_before->nwk_s_enc_key.len = 0,
	       "rejoin.offer_before.nwk_s_enc_key is not a key of 16 octets");
#undef REFUSE
	lw_arena_deinit(&r.arena);
}

static void too_many(void **state)
{
	struct rig r;
	Longwave__Ns__V1__SessionAdrEntry *v[NS_ADR_HISTORY + 1];
	uint8_t many[NS_MAC_QUEUE_MAX + 1] = {0};
	(void)state;
	make(&r);
	memcpy(v, r.m->adr_history, NS_ADR_HISTORY * sizeof(v[0]));
	v[NS_ADR_HISTORY] = v[0];
	r.m->adr_history = v;
	r.m->n_adr_history = NS_ADR_HISTORY + 1;
	refuse(&r, &PROFILE, LW_EINVAL, "number of adr_history is above 20");
	r.m->mac->queue = (ProtobufCBinaryData){sizeof(many), many};
	refuse(&r, &PROFILE, LW_EINVAL, "mac.queue has more than 48 octets");
	lw_arena_deinit(&r.arena);
}

static void other_profile(void **state)
{
	struct rig r;
	struct ns_profile p = PROFILE;
	(void)state;
	make(&r);
	p.supports_class_c = false;
	refuse(&r, &p, LW_EPRECONDITION, "enabled_class is one that the device profile does not support");
	p = PROFILE;
	p.mac_version = LW_MAC_1_0_4;
	refuse(&r, &p, LW_EPRECONDITION, "mac_version is 1.1, that of the device profile is not");
	lw_arena_deinit(&r.arena);
}

/* What is optional may be left out: a session that was written by hand. */
static void least(void **state)
{
	struct rig r;
	struct ns_session out;
	struct lw_diag diag = {.text = ""};
	(void)state;
	make(&r);
	r.m->mac = NULL;
	r.m->class_b = NULL;
	r.m->last_uplink = NULL;
	r.m->rejoin = NULL;
	r.m->n_adr_history = 0;
	r.m->transmit->dr = 255;
	assert_int_equal(ns_session_import(r.m, &PROFILE, ns_region_config_find("eu868"), &out, &diag), 0);
	assert_int_equal(out.dr, NS_DR_UNKNOWN);
	assert_int_equal(out.n_mac_pending, 0);
	assert_false(out.rekey.present);
	lw_arena_deinit(&r.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(join_offer_comes_back),
		cmocka_unit_test(rejoin_offers_come_back),
		cmocka_unit_test(comes_back),
		cmocka_unit_test(out_of_range),
		cmocka_unit_test(too_many),
		cmocka_unit_test(other_profile),
		cmocka_unit_test(least),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
